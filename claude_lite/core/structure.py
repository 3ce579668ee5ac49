"""Convert parsed JSON to models and lose no part of it: the rules, and the code that applies them.

A server may leave a field out, send null, or change a type. The answer is paid for, so a field that
does not fit never makes the rest unreadable. `to_dict` always returns exactly what was received.

- **A member of a family** (a block, a citation, a delta, an event, a result of a batch) fits if
  each required field is there and has its type. Otherwise it becomes the `Unknown…` member of the
  family, like JSON with a `type` that this version does not know. `kind` is the API's `type`. JSON
  that is not an object becomes such a member, too.
- **A required field of another model** (`Usage.input_tokens`, `Message.id`) that does not fit reads
  as the empty value of its type: 0, "", False, an empty list, dict or model. So a required field
  always has the type that it declares. Integers and floats are both numbers.
- **A field with a default** reads as the default if it is missing or null. It also reads as the
  default if it declares a model, a list of models or a type without None, and the JSON has another
  type. Any other optional field reads as it came, because the API may change its type later.
- **The result of a call** is refused with `StructureError` if none of its fields fits: it is the
  page of a proxy, or the error of a gateway under status 200. `ESSENTIAL` names the field without
  which a result is no answer, such as the content of a message.
- **An item of a page** is never refused.

Each class has a reader, which is generated at the first use of the class. The JSON object becomes
the `__dict__` of the model. If a required field is a model, or a list of models, the `__dict__` is
a copy with the models in place. The reader checks required fields only. A field with a default is
checked, and made a model, when a program first reads it (`Field`): most programs never read the
citations or the container of a message. If something does not fit, `_mend` does the work of the
reader, slowly. It stores a required field that does not fit under a key of bytes (`b"id"`), so that
Python finds the empty value in the class (`Empty`); `to_dict` turns the key back into text.

If `structure` is called with a type that is not a model, such as `list[Message]`, cattrs converts
it, and calls the readers.
"""

import functools
import types
from collections.abc import Callable
from contextlib import suppress
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

from attrs import NOTHING, fields
from attrs.exceptions import FrozenInstanceError

if TYPE_CHECKING:
    from cattrs.preconf.orjson import OrjsonConverter

__all__ = ["StructureError", "converter", "structure", "unstructure"]

M = TypeVar("M")
Reader = Callable[..., Any]

JSON_TYPES: Final = frozenset({str, int, float, bool, dict, list})
NUMBERS: Final = (int, float)
WHOLE: Final = b""
"""The key of a model's `__dict__` under which JSON that is not an object is stored."""


class StructureError(ValueError):
    """The JSON does not fit the model."""


class Record:
    """The base of `Model`: an object whose `__dict__` is a JSON object."""


set_values = Record.__dict__["__dict__"].__set__
"""`set_values(model, values)` makes *values* the `__dict__` of a frozen model."""


def structure(data: Any, cls: type[M]) -> M:
    """Convert parsed JSON to *cls*.

    Args:
        data: The parsed JSON. The model may use this dict as its `__dict__`: do not use the dict
            afterwards.
        cls: A model, or any type that cattrs knows, such as a list of models.

    Raises:
        StructureError: The JSON does not fit.

    """
    return cast("M", reader_for(cast("Any", cls))(data))


def unstructure(value: Any) -> Any:
    """Convert a model, or data that contains models, to dicts and lists.

    Args:
        value: The model, or a list of models, for example.

    """
    return converter().unstructure(value)


@functools.cache
def converter() -> "OrjsonConverter":
    """Return the shared cattrs converter, which knows all models. The first call makes it."""
    from cattrs.preconf.orjson import make_converter  # slow to import, and rarely needed

    shared = make_converter(detailed_validation=False)
    shared.register_structure_hook_factory(_is_model, reader_for)
    shared.register_unstructure_hook_factory(_is_model, lambda _: lambda value: value.to_dict())
    return shared


class Empty:
    """The value of a required field if the JSON has none that fits.

    This is no data descriptor: Python looks in the `__dict__` of the model first.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, instance: object, owner: Any) -> Any:
        kind, read, _ = shape(owner)[self._name]
        if read is None or kind is list:
            return None if kind is None else kind()
        return read({})


class Field:
    """A field with a default. Its value is checked, and made a model, when it is first read."""

    def __init__(self, name: str, default: object) -> None:
        self._name = name
        self._default = default

    def __get__(self, instance: object, owner: Any) -> Any:
        value = None if instance is None else instance.__dict__.get(self._name)
        if value is None:
            return self._default
        kind, read, as_it_came = shape(owner)[self._name]
        if as_it_came or isinstance(value, Record):
            return value
        if not _fits(value, kind):
            return self._default
        if read is not None and not (kind is list and (not value or isinstance(value[0], Record))):
            value = instance.__dict__[self._name] = read(value)
        return value

    def __set__(self, instance: object, value: object) -> None:
        raise FrozenInstanceError


def _is_model(cls: Any) -> bool:
    return isinstance(cls, type) and issubclass(cls, Record)


def _is_family(cls: Any) -> bool:
    return any("TAGS" in vars(member) for member in cls.__subclasses__())


@functools.cache
def reader_for(cls: Any) -> Reader:
    """Return the function that converts parsed JSON to *cls*."""
    if not _is_model(cls):
        return functools.partial(_structured, cls=cls)
    return _family_reader(cls) if _is_family(cls) else _class_reader(cls)


@functools.cache
def item_reader(cls: Any) -> Reader:
    """Return a function that converts parsed JSON to *cls*. A model refuses no JSON here."""
    read = reader_for(cls)

    def read_item(data: Any) -> Any:
        try:
            return read(data)
        except StructureError:
            if not _is_model(cls):
                raise
            return _mend(cls, data, refuse=False)

    return read_item


# cattrs calls every reader with (value, type), so a reader has a second parameter.
def _structured(data: Any, _: object = None, *, cls: Any) -> Any:
    try:
        return converter().structure(data, cls)
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        expected = cls.__name__ if isinstance(cls, type) else cls
        raise StructureError(f"expected {expected}, not {type(data).__name__} ({error})") from None


def _family_reader(base: Any) -> Reader:
    """Return a reader that chooses a subclass of *base* by the JSON key `type`.

    `TAGS` of a subclass has the values of `type` for the subclass. Exactly one subclass has no
    TAGS: it is used for all other JSON.
    """
    members: list[Any] = base.__subclasses__()
    classes = {tag: cls for cls in members for tag in cls.TAGS}
    (unknown,) = [_class_reader(cls) for cls in members if not cls.TAGS]  # exactly one
    readers: dict[str, Reader] = {}  # filled when a tag comes for the first time

    def read(data: Any, _: object = None) -> Any:
        try:
            tag = data.get("type")
            chosen = readers.get(tag, unknown)
            if chosen is unknown and tag in classes:
                chosen = readers[tag] = _class_reader(classes[tag])
            return chosen(data)
        # `data` does not fit, `data` is not a dict, or its `type` is not hashable.
        except (StructureError, AttributeError, TypeError):
            return unknown(data)

    return read


@functools.cache
def shape(cls: Any) -> dict[str, tuple[type | None, Reader | None, bool]]:
    """Return what each field of *cls* declares, by name.

    This is the class that the JSON must have (None: any class), the function that makes models of
    the JSON (None: it stays JSON), and whether JSON of another class is returned as it came.
    """
    hints = get_type_hints(cls)
    return {a.name: _declared(hints[a.name]) for a in fields(cls) if a.name != "received"}


def _declared(hint: Any) -> tuple[type | None, Reader | None, bool]:
    args = get_args(hint)
    if get_origin(hint) in (Union, types.UnionType):
        first, *others = [arg for arg in args if arg is not types.NoneType]
        kind, read, _ = (None, None, True) if others else _declared(first)
        return kind, read, read is None and types.NoneType in args
    if _is_model(hint):
        return (None if _is_family(hint) else dict), reader_for(hint), False
    if get_origin(hint) is list and _is_model(args[0]):
        read_item = item_reader(args[0])
        return list, lambda value: list(map(read_item, value)), False
    kind = get_origin(hint) or hint
    return (kind if kind in JSON_TYPES else None), None, False


def _fits(value: Any, kind: Any) -> bool:
    return kind is None or value.__class__ in (NUMBERS if kind in NUMBERS else (kind,))


@functools.cache
def _class_reader(cls: Any) -> Reader:
    """Generate the reader of *cls*.

    The reader of a model with the fields `id: str`, `usage: Usage` and `speed: str | None = None`:

        def read(data, _=None):
         try:
          if data.__class__ is not dict or data['id'].__class__ is not str
           or data['usage'].__class__ is not dict: return mend(data)
          values = {**data, 'usage': read_usage(data['usage'])}
         except mendable: return mend(data)
         result = new(cls)
         set_values(result, values)
         return result
    """
    scope: dict[str, Any] = {"new": object.__new__, "cls": cls, "set_values": set_values}
    scope |= {"mend": functools.partial(_mend, cls), "mendable": (KeyError, StructureError)}
    odd = ["data.__class__ is not dict", *(f"{n!r} in data" for n in sorted(cls.INTERNAL_KEYS))]
    models = ""
    for name in _required(cls):
        kind, read, _ = shape(cls)[name]
        if kind is not None:
            odd.append(f"data[{name!r}].__class__ is not {kind.__name__}")
        if read is not None:
            scope[f"read_{name}"] = read
            models += f", {name!r}: read_{name}(data[{name!r}])"
    # The generated text contains names that the class declares, and nothing from a server.
    text = f"""def read(data, _=None):
 try:
  if {" or ".join(odd)}: return mend(data)
  values = {f"{{**data{models}}}" if models else "data"}
 except mendable: return mend(data)
 result = new(cls)
 set_values(result, values)
 return result"""
    exec(text, scope)  # noqa: S102
    return cast("Reader", scope["read"])


@functools.cache
def _required(cls: Any) -> tuple[str, ...]:
    return tuple(a.name for a in fields(cls) if a.default is NOTHING)


def _mend(cls: Any, data: Any, *, refuse: bool = True) -> Any:
    """Convert JSON in which something may not fit; raise `StructureError` if *refuse* allows it."""
    is_object = data.__class__ is dict
    values: dict[str, Any] = dict(data) if is_object else {}
    wrong = set(_required(cls))
    for name in _required(cls):
        kind, read, _ = shape(cls)[name]
        with suppress(StructureError):
            if name in values and _fits(values[name], kind):
                values[name] = values[name] if read is None else read(values[name])
                wrong.remove(name)
    if refuse and _is_refused(cls, data, wrong):
        why = f"missing or of a wrong type: {', '.join(sorted(wrong))}" if wrong else "nothing fits"
        raise StructureError(f"{cls.__name__}: {why if is_object else 'not a JSON object'}")
    result: Any = object.__new__(cls)
    wrong |= cls.INTERNAL_KEYS
    escaped = {k.encode() if k in wrong else k: value for k, value in values.items()}
    set_values(result, escaped if is_object else {WHOLE: data})
    return result


def _is_refused(cls: Any, data: Any, wrong: set[str]) -> bool:
    """Tell whether *data* cannot be a *cls*; *wrong* has the required fields that do not fit."""
    fitting = set(data) - wrong if data.__class__ is dict else set()
    if cls.TAGS:
        return bool(wrong) or not isinstance(data, dict)
    if isinstance(data, dict) and data.get("type") == "error":
        fitting.discard("type")
    needed = shape(cls) if cls.ESSENTIAL is None else cls.ESSENTIAL
    return bool(needed) and not any(data[name] is not None for name in fitting.intersection(needed))
