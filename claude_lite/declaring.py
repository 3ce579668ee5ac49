"""How an operation is declared: its route, and fields of which each knows where it goes.

Nothing here sends or reads: `claude_lite.operations` does, by what is declared.
"""

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar, cast, dataclass_transform

from attrs import NOTHING, field, fields, frozen

from claude_lite.elsewhere import ELSEWHERE
from claude_lite.retry import Resend

C = TypeVar("C", bound=type)

JSON = Mapping[str, Any]
"""A JSON object, as a dict or as one of the models (which stand for theirs)."""

LOCAL: Final = frozenset({"extra_body", "extra_query", "extra_headers", "betas"})
MEGABYTE: Final = 1024 * 1024
JSON_TYPE: Final = "application/json"


def header(name: str) -> Any:
    """A field that goes into the header *name*."""
    return field(default=None, metadata={"header": name})


def local(default: Any = None) -> Any:
    """A field that is for the library, and is not sent."""
    return field(default=default, metadata={"local": True})


# `header` and `local` are not named to it, so that type checkers take them for default values.
@dataclass_transform(
    kw_only_default=True, frozen_default=True, eq_default=False, field_specifiers=(field,)
)
def operation(cls: C) -> C:
    """Make *cls* a frozen attrs class of keyword fields, for a declaration of an operation.

    Its `__dict__` holds what was given, in the order of declaration; the rest are defaults.
    """
    if not cls.__annotations__ and len(cls.__bases__) == 1:  # the fields are those of its base
        cls.__attrs_init_subclass__()  # type: ignore[attr-defined]  # of Operation, further down
        return cls
    return frozen(kw_only=True, slots=False, init=False, eq=False, repr=False)(cls)


@frozen
class Route:
    """Where an operation goes and what it means to send it twice.

    `name` is the operation's name in logs and queues, and that of the client's method.
    `max_body` is the API's limit in bytes: past it nothing is sent. `betas` are those that
    the operation needs.
    """

    name: str
    method: str
    path: str
    resend: Resend = "safe"
    max_body: int = 32 * MEGABYTE
    has_body: bool = True
    accept: str = JSON_TYPE
    betas: tuple[str, ...] = ()


class _Signature:
    """What `inspect.signature`, and with it help() and notebooks, show: the declared fields."""

    def __get__(self, _: object, cls: Any) -> inspect.Signature:
        keyword = inspect.Parameter.KEYWORD_ONLY
        shown = [
            inspect.Parameter(
                a.name,
                keyword,
                default=inspect.Parameter.empty if a.default is NOTHING else a.default,
                annotation=a.type,
            )
            for a in fields(cls)
        ]
        return inspect.Signature(shown, return_annotation=cls)


SIGNATURE: Final = _Signature()

Converters = tuple[tuple[str, Callable[[Any], Any]], ...]


@functools.lru_cache(maxsize=1024)  # as many as a program has ways to call
def form_of(cls: type, names: tuple[str, ...]) -> tuple[tuple[str, ...], Converters]:
    """What goes into the operation, in the order of declaration, and is converted.

    Besides what was given these are the defaults that are sent: all but None.
    """
    declared = {a.name: a for a in fields(cast("Any", cls))}
    for name in names:
        if name not in declared:
            hint = f": {ELSEWHERE[name]}" if name in ELSEWHERE else ""
            raise TypeError(f"{cls.__name__} has no field {name!r}{hint}")
    missing = [n for n, a in declared.items() if a.default is NOTHING and n not in names]
    if missing:
        raise TypeError(f"{cls.__name__} needs {', '.join(missing)}")
    told = {n for n, a in declared.items() if a.default not in (NOTHING, None) and not a.metadata}
    ordered = tuple(name for name in declared if name in names or name in told)
    converted = [(name, declared[name].converter) for name in ordered]
    return ordered, tuple((name, convert) for name, convert in converted if convert)


@functools.cache
def path_names(path: str) -> tuple[str, ...]:
    """The fields that stand in a route's path."""
    return tuple(part.split("}")[0] for part in path.split("{")[1:])
