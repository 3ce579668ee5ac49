"""JSON text to models and back, by one cattrs converter whose hooks are made here.

The hooks are generated, one function a class, at first use. They make the received object the
model's own, and check what a caller relies on: required fields are there and of the right type.
Optional scalars are taken as they come, so that the API may grow. A `StructureError` says
which field of which class did not fit.

Numbers: orjson is fast, and reads integers past 64 bits as floats. A text that holds such a
number is read once more by the standard library, so that nothing is rounded. Depth: what is
nested so deep that Python could not compare, copy or pickle it is refused.
"""

import functools
import json
import math
import types
from collections.abc import Callable, Mapping, Sequence
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
from claude_lite.model import Model, hidden, set_values

if TYPE_CHECKING:
    from cattrs.preconf.orjson import OrjsonConverter

M = TypeVar("M")
Hook = Callable[..., Any]

MAX_DEPTH: Final = 250  # orjson writes 254 levels, Python copies and compares about as many
SHORT: Final = 2048
INT64: Final = 2.0**63
DIGITS: Final = bytes.maketrans(b"123456789", b"000000000")
ROOM: Final = 8192
STEP: Final = 6  # of 19 digits in a row, the fewest past 64 bits, three are seen at this step
ROW: Final = b"000"
NOTHING_OF_ITS_OWN: Final = orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME
_SCALARS: Final = {str: "str", int: "int", float: "float", bool: "bool", dict: "dict", list: "list"}


class StructureError(ValueError):
    """The JSON does not have the shape of the model."""


class TooDeep(ValueError):
    """The JSON has more levels than are wanted, or than there can be."""


def loads(data: bytes, max_depth: int = MAX_DEPTH) -> Any:
    """Parse JSON without losing a digit; raises `ValueError` for what is not JSON, or `TooDeep`."""
    try:
        value = orjson.loads(data)
    except ValueError as error:
        if "depth" in str(error):  # it reads 1,024 levels
            raise TooDeep(str(error)) from None
        raise
    if len(data) <= SHORT:  # to look for a long row of digits is quicker than to walk
        is_flat = len(data) <= 2 * max_depth or _brackets(data) <= max_depth
        if is_flat and ROW not in data[::STEP].translate(DIGITS):
            return value
    return json.loads(data) if _is_rounded(value, max_depth) else value


def _brackets(data: bytes) -> int:
    """How many there are to open; quicker, where they are few, than `count`."""
    return len(data) - len(data.replace(b"{", b"").replace(b"[", b""))


def _is_rounded(value: Any, max_depth: int) -> bool:
    """Whether an integer may have become a float; raises `TooDeep`."""
    rounded = False
    level: list[Any] = [[value]]
    for _ in range(max_depth + 1):
        below = []
        for item in level:
            for inner in item.values() if item.__class__ is dict else item:
                kind = inner.__class__
                if kind is str or kind is int or inner is None or kind is bool:
                    continue
                if kind is not float:
                    below.append(inner)
                elif not -INT64 < inner < INT64:
                    rounded = True
        if not below:
            return rounded
        level = below
    raise TooDeep(f"nested over {max_depth} levels deep")


def dumps(value: Any) -> bytes:
    """Serialise to compact UTF-8; models become the JSON that they stand for.

    The same value gives the same bytes in every process. Raises `UsageError` for what JSON
    cannot say: NaN, infinities, keys that are not text, sets, iterators, other objects.
    """
    try:
        text = orjson.dumps(value, default=_param, option=NOTHING_OF_ITS_OWN)
    except TypeError:
        return _dumps_slowly(value)
    if text.rfind(b"null") >= 0:  # orjson writes NaN as null; twice as quick as `in`
        _refuse(value)
    # Of a short text orjson keeps the 8 KB that it was written in; a copy takes what it needs.
    return b"".join((text, b"")) if len(text) < ROOM else text


def _param(value: Any) -> Any:
    if isinstance(value, Model):
        return value.to_param()
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Sequence) and not isinstance(value, (bytes, bytearray, memoryview)):
        return list(value)
    raise TypeError(f"{type(value).__name__} is not JSON")


def _dumps_slowly(value: Any) -> bytes:
    """Integers past 64 bits are JSON, though orjson does not write them."""
    try:
        text = json.dumps(value, default=_param, ensure_ascii=False, separators=(",", ":")).encode()
    except (TypeError, ValueError) as error:
        raise _not_json(str(error)) from None
    except RecursionError:
        raise _not_json("it is nested too deep") from None
    _refuse(value)
    return text


def _refuse(value: Any) -> None:
    """Raise for what would be written as something else: NaN, and keys that are not text."""
    pending = [value]
    while pending:
        item = pending.pop()
        if isinstance(item, (str, int)) or item is None:
            continue
        if isinstance(item, dict):
            for key in item:
                if not isinstance(key, str):
                    raise _not_json(f"the key {key!r} is not text")
            pending.extend(item.values())
        elif isinstance(item, (list, tuple)):
            pending.extend(item)
        elif isinstance(item, float):
            if not math.isfinite(item):
                raise _not_json(f"{item} is not a JSON number")
        else:
            pending.append(_param(item))


def _not_json(why: str) -> UsageError:
    return UsageError(f"the request cannot be written as JSON: {why}")


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
    scope |= {"ours": cls.OURS, "hidden": hidden}
    lines = ["def hook(data, _=None):", " if data.__class__ is not dict: fail(cls, '', data)"]
    if cls.OURS:
        taken = " or ".join(f"{name!r} in data" for name in sorted(cls.OURS))
        lines.append(f" if {taken}: data = hidden(data, ours)")
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
