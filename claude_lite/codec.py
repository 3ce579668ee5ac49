"""JSON text to models and back, by one cattrs converter whose hooks are made here.

The hooks are generated, one function a class, at first use. They make the received object the
model's own, and check what a caller relies on: required fields are there and of the right type.
Optional scalars are taken as they come, so that the API may grow. A `StructureError` says
which field of which class did not fit.

Numbers: orjson is fast, and reads integers past 64 bits as floats. A text that holds such a
number is read once more by the standard library, so that nothing is rounded.
"""

import functools
import json
import math
import types
from collections.abc import Callable
from typing import (
    TYPE_CHECKING,
    Any,
    Final,
    TypeVar,
    Union,
    cast,
    get_args,
    get_origin,
    get_type_hints,
)

import orjson
from attrs import NOTHING, Attribute, fields

from claude_lite.errors import UsageError
from claude_lite.models import Model, set_values

if TYPE_CHECKING:
    from cattrs.preconf.orjson import OrjsonConverter

M = TypeVar("M")
Hook = Callable[..., Any]

_INT64: Final = 2.0**63
_SCALARS: Final = {str: "str", int: "int", float: "float", bool: "bool", dict: "dict", list: "list"}


class StructureError(ValueError):
    """The JSON does not have the shape of the model."""


def loads(data: bytes) -> Any:
    """Parse JSON without losing a digit; raises `ValueError` for what is not JSON."""
    value = orjson.loads(data)
    if _has_large_float(value):
        return json.loads(data, parse_constant=_refuse_constant)
    return value


def _has_large_float(value: Any) -> bool:
    """Whether an integer may have become a float.

    Of a message only the blocks are looked at, and not those of text: the rest is counters.
    """
    pending = [value]
    if value.__class__ is dict and value.get("type") == "message":
        blocks = value.get("content")
        pending = blocks.copy() if blocks.__class__ is list else []
    while pending:
        item = pending.pop()
        if item.__class__ is dict:
            if item.get("type") != "text":
                pending.extend(item.values())
        elif item.__class__ is list:
            pending.extend(item)
        elif item.__class__ is float and not -_INT64 < item < _INT64:
            return True
    return False


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def dumps(value: Any) -> bytes:
    """Serialise to compact UTF-8; models become the JSON that they stand for.

    The same value gives the same bytes in every process. Raises `UsageError` for what JSON
    cannot say: NaN, infinities, keys that are not text, objects of other libraries.
    """
    try:
        text = orjson.dumps(value, default=_param)
    except TypeError as error:
        text = _dumps_slowly(value, error)
    if b"null" in text:  # orjson writes NaN as null
        _refuse_nan(value)
    return text


def _param(value: Any) -> Any:
    if isinstance(value, Model):
        return value.to_param()
    if isinstance(value, (set, frozenset)) or not hasattr(value, "__iter__"):
        raise TypeError(f"{type(value).__name__} is not JSON")
    return dict(value) if hasattr(value, "keys") else list(value)


def _dumps_slowly(value: Any, error: TypeError) -> bytes:
    """Integers past 64 bits are JSON, though orjson does not write them."""
    try:
        return json.dumps(
            value, default=_param, ensure_ascii=False, allow_nan=False, separators=(",", ":")
        ).encode()
    except (TypeError, ValueError, RecursionError):
        raise UsageError(f"the request cannot be written as JSON: {error}") from None


def _refuse_nan(value: Any) -> None:
    pending = [value]
    while pending:
        item = pending.pop()
        if isinstance(item, dict):
            pending.extend(item.values())
        elif isinstance(item, (list, tuple)):
            pending.extend(item)
        elif isinstance(item, float) and not math.isfinite(item):
            raise UsageError(f"the request cannot be written as JSON: {item} is not a JSON number")


def structure(data: Any, cls: type[M]) -> M:
    """Read *data*, parsed JSON, as a *cls*; raises `StructureError`."""
    return cast("M", hook_for(cls)(data))


def unstructure(value: Any) -> Any:
    """The JSON that a model, or a list of them, stands for."""
    return converter().unstructure(value)


@functools.cache
def converter() -> "OrjsonConverter":
    """The one converter, for those who build upon it; made at first use."""
    from cattrs.preconf.orjson import make_converter  # noqa: PLC0415  # dear, and seldom needed

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
        return functools.partial(converter().structure, cl=cls)
    return _family_hook(cls) if not cls.TAGS and cls.__subclasses__() else _class_hook(cls)


def _family_hook(base: type[Model]) -> Hook:
    """Choose among the subclasses of *base* by `type`; the tagless one takes the rest."""
    members = base.__subclasses__()
    hooks = {tag: _class_hook(cls) for cls in members for tag in cls.TAGS}
    (unknown,) = [_class_hook(cls) for cls in members if not cls.TAGS]

    def hook(data: Any, _: object = None) -> Any:
        try:
            return hooks.get(data.get("type"), unknown)(data)
        except (AttributeError, TypeError):
            if isinstance(data, dict):
                return unknown(data)
            raise StructureError(
                f"{base.__name__}: {_kind(data)} where an object belongs"
            ) from None

    return hook


@functools.cache
def _class_hook(cls: type[Model]) -> Hook:
    """Generate the function that makes one *cls* of a dict, checking and converting."""
    hints = get_type_hints(cls)
    scope: dict[str, Any] = {"new": object.__new__, "cls": cls, "fail": _fail, "put": set_values}
    lines = ["def hook(data, _=None):", " if data.__class__ is not dict: fail(cls, '', data)"]
    body = [
        line
        for attribute in fields(cls)
        if attribute.name != "received"
        for line in _field_lines(attribute, hints[attribute.name], scope)
    ]
    if any("values[" in line for line in body):
        lines.append(" values = data.copy()")
    lines += [" " + line for line in body]
    lines += [
        " made = new(cls)",
        f" put(made, {'values' if len(lines) > len(body) + 2 else 'data'})",
    ]
    exec("\n".join([*lines, " return made"]), scope)  # noqa: S102  # made of our classes only
    return cast("Hook", scope["hook"])


def _field_lines(attribute: "Attribute[Any]", hint: Any, scope: dict[str, Any]) -> list[str]:
    """Statements about one field: what is required is checked, what is nested is converted."""
    name = attribute.name
    convert, check = _conversion(hint, name, scope)
    required = attribute.default is NOTHING
    if not required and not convert:
        return []
    wrong = f"not ({check})" if required else f"value is not None and not ({check})"
    lines = [f"value = data.get({name!r})", f"if {wrong}: fail(cls, {name!r}, value)"]
    if convert:
        lines.append(f"if value is not None: values[{name!r}] = {convert}")
    return lines


def _conversion(hint: Any, name: str, scope: dict[str, Any]) -> tuple[str, str]:
    """An expression that converts `value` (empty: as it is), and one that checks it."""
    if get_origin(hint) in (Union, types.UnionType):
        (hint,) = [arg for arg in get_args(hint) if arg is not types.NoneType]
    if _is_model(hint):
        scope[f"hook_{name}"] = hook_for(hint)
        return f"hook_{name}(value)", "value.__class__ is dict"
    if get_origin(hint) is list and _is_model(get_args(hint)[0]):
        scope[f"hook_{name}"] = hook_for(get_args(hint)[0])
        return f"[hook_{name}(item) for item in value]", "value.__class__ is list"
    plain = get_origin(hint) or hint
    return "", f"value.__class__ is {_SCALARS[plain]}" if plain in _SCALARS else f"{name!r} in data"


def _kind(value: Any) -> str:
    return "nothing" if value is None else type(value).__name__


def _fail(cls: type[Model], name: str, value: Any) -> None:
    where = f"{cls.__name__}.{name}" if name else cls.__name__
    raise StructureError(f"{where}: {_kind(value)} does not fit")
