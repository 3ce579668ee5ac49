"""Parsed JSON to models and back.

Each class of models has a hook: a function that makes a model of a parsed JSON object. The hook is
generated at the first use of the class. The JSON object, or a copy with models in place of nested
objects, becomes the `__dict__` of the model.

A hook checks that required fields are there and have the right type, because callers rely on them.
It takes optional scalars of any type, so that the API may change them. A `StructureError` names the
class and the field that did not fit. For types that are not models, cattrs uses the same hooks.
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
    """The JSON does not fit the model."""


def structure(data: Any, cls: type[M]) -> M:
    """Make a *cls* of parsed JSON.

    Args:
        data: The parsed JSON. The model may keep it as its `__dict__`, so do not change it later.
        cls: A model, or any type that cattrs knows, such as a list of models.

    Raises:
        StructureError: The JSON does not fit.

    """
    return cast("M", reader_for(cast("Any", cls))(data))


def unstructure(value: Any) -> Any:
    """Turn a model, or plain data with models in it, into JSON as plain data.

    Args:
        value: The model, or a list of models, for example.

    """
    return converter().unstructure(value)


@functools.cache
def converter() -> "OrjsonConverter":
    """Give the shared cattrs converter, with hooks for all models. It is made at its first use."""
    from cattrs.preconf.orjson import make_converter  # slow to import, and rarely needed

    made = make_converter(detailed_validation=False)
    made.register_structure_hook_factory(_is_model, reader_for)
    made.register_unstructure_hook_factory(_is_model, lambda _: lambda value: value.to_dict())
    return made


def _is_model(cls: Any) -> bool:
    return isinstance(cls, type) and issubclass(cls, Model)


@functools.cache
def reader_for(cls: Any) -> Hook:
    """Give the function that makes a *cls* of a parsed JSON object."""
    if not _is_model(cls):
        return functools.partial(_structured, cls=cls)
    return _family_hook(cls) if any(c.TAGS for c in cls.__subclasses__()) else _class_hook(cls)


def _structured(data: Any, _: object = None, *, cls: Any) -> Any:
    try:
        return converter().structure(data, cls)
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise StructureError(f"{cls} cannot be {_kind(data)} ({error})") from None


def _family_hook(base: type[Model]) -> Hook:
    """Make a hook that chooses a subclass of *base* by the JSON's `type`.

    The subclass without tags takes every type that is not known.
    """
    members: list[Any] = base.__subclasses__()
    classes = {tag: cls for cls in members for tag in cls.TAGS}
    (unknown,) = [_class_hook(cls) for cls in members if not cls.TAGS]
    hooks: dict[str, Hook] = {}  # filled when a tag comes for the first time

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
            raise StructureError(f"{base.__name__}: {_kind(data)} in place of an object") from None

    return hook


@functools.cache
def _class_hook(cls: Any) -> Hook:
    """Generate the function that makes a *cls* of a dict: it checks and converts the fields."""
    hints = get_type_hints(cls)
    scope: dict[str, Any] = {"new": object.__new__, "cls": cls, "fail": _fail, "put": set_values}
    scope |= {"ours": cls.INTERNAL_KEYS, "escape_keys": escape_keys}
    lines = ["def hook(data, _=None):", " if data.__class__ is not dict: fail(cls, '', data)"]
    if cls.INTERNAL_KEYS:
        taken = " or ".join(f"{name!r} in data" for name in sorted(cls.INTERNAL_KEYS))
        lines.append(f" if {taken}: data = escape_keys(data, ours)")
    declared = [a for a in fields(cls) if a.name != "received"]
    lines += [" values = data", " try:", "  pass"]
    for attribute in declared:
        lines += _field_lines(attribute, hints[attribute.name], scope)
    lines += [" except KeyError as error: fail(cls, error.args[0], None)"]
    lines += [" made = new(cls)", " put(made, values)", " return made"]
    exec("\n".join(lines), scope)  # noqa: S102  # the text comes from our classes only
    return cast("Hook", scope["hook"])


def _field_lines(attribute: "Attribute[Any]", hint: Any, scope: dict[str, Any]) -> list[str]:
    """Give statements that check a field if it is required, and convert it if it is nested."""
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
    """Give an expression that converts `value`, and the class that `value` must have.

    An empty expression means that the value stays as it is, an empty class that any is right.
    """
    if get_origin(hint) in (Union, types.UnionType):
        (hint,) = [arg for arg in get_args(hint) if arg is not types.NoneType]
    if _is_model(hint):
        scope[f"hook_{name}"] = reader_for(hint)
        return f"hook_{name}(value)", "dict"
    if get_origin(hint) is list and _is_model(get_args(hint)[0]):
        scope[f"hook_{name}"] = reader_for(get_args(hint)[0])
        return f"list(map(hook_{name}, value))", "list"
    return "", _SCALARS.get(get_origin(hint) or hint, "")


def _kind(value: Any) -> str:
    return "null" if value is None else type(value).__name__


def _fail(cls: type[Model], name: str, value: Any) -> None:
    where = f"{cls.__name__}.{name}" if name else cls.__name__
    why = "is missing or null" if value is None else f"cannot be {type(value).__name__}"
    raise StructureError(f"{where} {why}")


@model
class Result(Model):
    """Base of what a call returns: a model that knows the head of its response."""

    INTERNAL_KEYS = frozenset({"_response", "_operation"})

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Rebuild a result from the JSON object that `to_dict` gave, after a queue for example.

        Args:
            data: The JSON object. The result shares nothing with it.

        Raises:
            UsageError: The JSON object does not fit.

        """
        try:
            return structure(deepcopy(dict(data)), cls)
        except (TypeError, ValueError, RecursionError) as error:
            raise UsageError(f"not a serialised {cls.__name__}: {error}") from None

    @property
    def response(self) -> Response | None:
        """The status and headers of the response, without its body: `to_dict` gives the JSON."""
        return self.__dict__.get("_response")

    @property
    def request_id(self) -> str | None:
        """The API's id for the request (`req_…`); support asks for it."""
        return self.response.request_id if self.response else None
