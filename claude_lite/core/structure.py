"""Convert parsed JSON to models, and models to JSON.

Each class of models has a reader: a function that converts a parsed JSON object to a model. The
reader is generated at the first use of the class. The JSON object, or a copy with models in place
of nested objects, becomes the `__dict__` of the model.

A reader checks that required fields are there and have the right type, because callers rely on
required fields. Optional text, numbers and objects that are not models are not checked: the API may
change their type later. Fields that are models, or lists of models, are converted, too. A
`StructureError` names the class and the field that did not fit. If `structure` is called with a
type that is not a model, such as `list[Message]`, cattrs converts it, and calls the readers.
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
Reader = Callable[..., Any]

_CHECKED_TYPES: Final = {
    str: "str",
    int: "int",
    float: "float",
    bool: "bool",
    dict: "dict",
    list: "list",
}


class StructureError(ValueError):
    """The JSON does not fit the model."""


def structure(data: Any, cls: type[M]) -> M:
    """Convert parsed JSON to *cls*.

    Args:
        data: The parsed JSON. The model may use this dict as its `__dict__`: do not change the dict
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


def _is_model(cls: Any) -> bool:
    return isinstance(cls, type) and issubclass(cls, Model)


@functools.cache
def reader_for(cls: Any) -> Reader:
    """Return the function that converts parsed JSON to *cls*."""
    if not _is_model(cls):
        return functools.partial(_structured, cls=cls)
    return _union_reader(cls) if any(c.TAGS for c in cls.__subclasses__()) else _class_reader(cls)


# cattrs calls every reader with (value, type), so a reader has a second parameter.
def _structured(data: Any, _: object = None, *, cls: Any) -> Any:
    try:
        return converter().structure(data, cls)
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        expected = cls.__name__ if isinstance(cls, type) else cls
        raise StructureError(f"expected {expected}, not {_kind(data)} ({error})") from None


def _union_reader(base: type[Model]) -> Reader:
    """Return a reader that chooses a subclass of *base* by the JSON key `type`.

    `TAGS` of a subclass has the values of `type` for the subclass. Exactly one subclass has no
    TAGS: it is used for unknown values.
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
        except (AttributeError, TypeError):  # `data` is not a dict, or its `type` is not hashable
            if isinstance(data, dict):
                return unknown(data)
            raise StructureError(
                f"{base.__name__} has to be a JSON object, not {_kind(data)}"
            ) from None

    return read


@functools.cache
def _class_reader(cls: Any) -> Reader:
    """Generate the reader of *cls*.

    The reader of a model with the fields `id: str` and `usage: Usage | None = None`:

        def read(data, _=None):
         if data.__class__ is not dict: fail(cls, '', data, 'dict')
         values = data
         try:
          pass
          value = data['id']
          if value.__class__ is not str: fail(cls, 'id', value, 'str')
          if data.get('usage') is not None:
           value = data['usage']
           if value.__class__ is not dict: fail(cls, 'usage', value, 'dict')
           if values is data: values = data.copy()
           values['usage'] = read_usage(value)
         except KeyError as error: fail(cls, error.args[0], None)
         result = new(cls)
         set_values(result, values)
         return result
    """
    hints = get_type_hints(cls)
    scope: dict[str, Any] = {"new": object.__new__, "cls": cls, "fail": _fail}
    scope |= {"set_values": set_values, "internal": cls.INTERNAL_KEYS, "escape_keys": escape_keys}
    lines = [
        "def read(data, _=None):",
        " if data.__class__ is not dict: fail(cls, '', data, 'dict')",
    ]
    if cls.INTERNAL_KEYS:
        collides = " or ".join(f"{name!r} in data" for name in sorted(cls.INTERNAL_KEYS))
        lines.append(f" if {collides}: data = escape_keys(data, internal)")
    declared = [a for a in fields(cls) if a.name != "received"]  # see `Model.received`
    lines += [" values = data", " try:", "  pass"]
    for attribute in declared:
        lines += _field_lines(attribute, hints[attribute.name], scope)
    lines += [" except KeyError as error: fail(cls, error.args[0], None)"]
    lines += [" result = new(cls)", " set_values(result, values)", " return result"]
    # The generated text contains names that the class declares, and nothing from a server.
    exec("\n".join(lines), scope)  # noqa: S102
    return cast("Reader", scope["read"])


def _field_lines(attribute: "Attribute[Any]", hint: Any, scope: dict[str, Any]) -> list[str]:
    """Return lines of code for one field: they check a required field, and convert models."""
    name = attribute.name
    convert, kind = _conversion(hint, name, scope)
    lines = [f"value = data[{name!r}]"]
    if kind:
        lines.append(f"if value.__class__ is not {kind}: fail(cls, {name!r}, value, {kind!r})")
    if convert:
        lines += ["if values is data: values = data.copy()", f"values[{name!r}] = {convert}"]
    if attribute.default is NOTHING:
        return ["  " + line for line in lines]
    if not convert:
        return []
    return [f"  if data.get({name!r}) is not None:", *("   " + line for line in lines)]


def _conversion(hint: Any, name: str, scope: dict[str, Any]) -> tuple[str, str]:
    """Return an expression that converts `value`, and the class that `value` must have.

    "" as the expression means no conversion. "" as the class means no check.
    """
    if get_origin(hint) in (Union, types.UnionType):  # models declare no union but `X | None`
        (hint,) = [arg for arg in get_args(hint) if arg is not types.NoneType]
    if _is_model(hint):
        scope[f"read_{name}"] = reader_for(hint)
        return f"read_{name}(value)", "dict"
    if get_origin(hint) is list and _is_model(get_args(hint)[0]):
        scope[f"read_{name}"] = reader_for(get_args(hint)[0])
        return f"list(map(read_{name}, value))", "list"
    return "", _CHECKED_TYPES.get(get_origin(hint) or hint, "")


def _kind(value: Any) -> str:
    return "null" if value is None else type(value).__name__


def _fail(cls: type[Model], name: str, value: Any, kind: str = "") -> None:
    where = f"{cls.__name__}.{name}" if name else cls.__name__
    why = "is missing or null" if value is None else f"has to be {kind}, not {type(value).__name__}"
    raise StructureError(f"{where} {why}")


@model
class Result(Model):
    """Base of the results of calls: a model with `response` (status and headers)."""

    # `_response` is set by `Operation.parse`, `_operation` by `pages.py`.
    INTERNAL_KEYS = frozenset({"_response", "_operation"})

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Rebuild a result from the JSON object that `to_dict` returned, after a queue for example.

        Args:
            data: The JSON object. It is copied.

        Raises:
            UsageError: The JSON object does not fit.

        """
        try:
            return structure(deepcopy(dict(data)), cls)
        except (TypeError, ValueError, RecursionError) as error:
            raise UsageError(f"this JSON is not a {cls.__name__} from to_dict: {error}") from None

    @property
    def response(self) -> Response | None:
        """The status and headers of the response. For the JSON of the body, use `to_dict`."""
        return self.__dict__.get("_response")

    @property
    def request_id(self) -> str | None:
        """The API's id for the request (`req_…`). Anthropic's support asks for this id."""
        return self.response.request_id if self.response else None
