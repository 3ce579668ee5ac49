"""Parsed JSON to models and back, by one cattrs converter whose hooks are made here.

The hooks are generated, one function a class, at first use. They make the received object the
model's own, and check what a caller relies on: required fields are there and of the right type.
Optional scalars are taken as they come, so that the API may grow. A `StructureError` says
which field of which class did not fit.
"""

import functools
import types
from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import (
    TYPE_CHECKING,
    Any,
    Final,
    Self,
    TypeVar,
    Union,
    cast,
    get_args,
    get_origin,
    get_type_hints,
)

from attrs import NOTHING, Attribute, fields

from claude_lite.core.model import Model, escape_keys, model, set_values
from claude_lite.errors import UsageError
from claude_lite.wire import Response

if TYPE_CHECKING:
    from cattrs.preconf.orjson import OrjsonConverter

__all__ = ["Result", "StructureError", "converter", "structure", "unstructure"]

M = TypeVar("M")
Hook = Callable[..., Any]


_SCALARS: Final = {str: "str", int: "int", float: "float", bool: "bool", dict: "dict", list: "list"}


class StructureError(ValueError):
    """The JSON does not have the shape of the model."""


def structure(data: Any, cls: type[M]) -> M:
    """Read *data*, parsed JSON, as a *cls*; raises `StructureError`."""
    return cast("M", hook_for(cast("Any", cls))(data))


def unstructure(value: Any) -> Any:
    """The JSON that a model, or a list of them, stands for."""
    return converter().unstructure(value)


@functools.cache
def converter() -> "OrjsonConverter":
    """The one converter, for those who build upon it; made at first use."""
    from cattrs.preconf.orjson import make_converter  # dear, and seldom needed

    made = make_converter(detailed_validation=False)
    made.register_structure_hook_factory(_is_model, hook_for)
    made.register_unstructure_hook_factory(_is_model, lambda _: lambda value: value.to_dict())
    return made


def _is_model(cls: Any) -> bool:
    return isinstance(cls, type) and issubclass(cls, Model)


@functools.cache
def hook_for(cls: Any) -> Hook:
    """The function that turns a parsed JSON object into a *cls*."""
    if not _is_model(cls):
        return functools.partial(_structured, cls=cls)
    return _family_hook(cls) if any(c.TAGS for c in cls.__subclasses__()) else _class_hook(cls)


def _structured(data: Any, _: object = None, *, cls: Any) -> Any:
    try:
        return converter().structure(data, cls)
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise StructureError(f"{cls}: {_kind(data)} does not fit ({error})") from None


def _family_hook(base: type[Model]) -> Hook:
    """Choose among the subclasses of *base* by `type`; the tagless one takes the rest."""
    members: list[Any] = base.__subclasses__()
    classes = {tag: cls for cls in members for tag in cls.TAGS}
    (unknown,) = [_class_hook(cls) for cls in members if not cls.TAGS]
    hooks: dict[str, Hook] = {}  # made as their tags come

    def hook(data: Any, _: object = None) -> Any:
        try:
            tag = data.get("type")
            chosen = hooks.get(tag, unknown)
            if chosen is unknown and tag in classes:
                chosen = hooks[tag] = _class_hook(classes[tag])
            return chosen(data)
        except (AttributeError, TypeError):
            if isinstance(data, dict):
                return unknown(data)
            raise StructureError(
                f"{base.__name__}: {_kind(data)} where an object belongs"
            ) from None

    return hook


@functools.cache
def _class_hook(cls: Any) -> Hook:
    """Generate the function that makes one *cls* of a dict, checking and converting."""
    hints = get_type_hints(cls)
    scope: dict[str, Any] = {"new": object.__new__, "cls": cls, "fail": _fail, "put": set_values}
    scope |= {"ours": cls.OURS, "escape_keys": escape_keys}
    lines = ["def hook(data, _=None):", " if data.__class__ is not dict: fail(cls, '', data)"]
    if cls.OURS:
        taken = " or ".join(f"{name!r} in data" for name in sorted(cls.OURS))
        lines.append(f" if {taken}: data = escape_keys(data, ours)")
    declared = [a for a in fields(cls) if a.name != "received"]
    lines += [" values = data", " try:", "  pass"]
    for attribute in declared:
        lines += _field_lines(attribute, hints[attribute.name], scope)
    lines += [" except KeyError as error: fail(cls, error.args[0], None)"]
    lines += [" made = new(cls)", " put(made, values)", " return made"]
    exec("\n".join(lines), scope)  # noqa: S102  # made of our classes only
    return cast("Hook", scope["hook"])


def _field_lines(attribute: "Attribute[Any]", hint: Any, scope: dict[str, Any]) -> list[str]:
    """Statements about one field: what is required is checked, what is nested is converted."""
    name = attribute.name
    convert, kind = _conversion(hint, name, scope)
    lines = [f"value = data[{name!r}]"]
    if kind:
        lines.append(f"if value.__class__ is not {kind}: fail(cls, {name!r}, value)")
    if convert:
        lines += ["if values is data: values = data.copy()", f"values[{name!r}] = {convert}"]
    if attribute.default is NOTHING:
        return ["  " + line for line in lines]
    if not convert:
        return []
    return [f"  if data.get({name!r}) is not None:", *("   " + line for line in lines)]


def _conversion(hint: Any, name: str, scope: dict[str, Any]) -> tuple[str, str]:
    """An expression that converts `value` (empty: as it is), and the class that it has to be."""
    if get_origin(hint) in (Union, types.UnionType):
        (hint,) = [arg for arg in get_args(hint) if arg is not types.NoneType]
    if _is_model(hint):
        scope[f"hook_{name}"] = hook_for(hint)
        return f"hook_{name}(value)", "dict"
    if get_origin(hint) is list and _is_model(get_args(hint)[0]):
        scope[f"hook_{name}"] = hook_for(get_args(hint)[0])
        return f"list(map(hook_{name}, value))", "list"
    return "", _SCALARS.get(get_origin(hint) or hint, "")


def _kind(value: Any) -> str:
    return "nothing" if value is None else type(value).__name__


def _fail(cls: type[Model], name: str, value: Any) -> None:
    where = f"{cls.__name__}.{name}" if name else cls.__name__
    raise StructureError(f"{where}: {_kind(value)} does not fit")


@model
class Result(Model):
    """Base of what a call returns: it can give the head of the `response` it came from."""

    OURS = frozenset({"_response", "_operation"})

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """The result whose `to_dict` is *data*, from a queue, say; raises `UsageError`."""
        try:
            return structure(deepcopy(dict(data)), cls)
        except (TypeError, ValueError, RecursionError) as error:
            raise UsageError(f"this is no {cls.__name__}: {error}") from None

    @property
    def response(self) -> Response | None:
        """Status and headers of the response (its body is what `to_dict` gives)."""
        return self.__dict__.get("_response")

    @property
    def request_id(self) -> str | None:
        """The API's name for the request (`req_…`), to be quoted to support."""
        return self.response.request_id if self.response else None
