"""Models: frozen values. A model holds all keys of a JSON object, unknown keys included.

Each key of the JSON object is an attribute. `to_dict` returns all keys. A copy that `attrs.evolve`
makes has all keys, too. `structure.py` makes models of JSON, and has the rules for JSON that does
not fit.

Five techniques make models fast and keep every key:

1. **The JSON object is the instance.** The `__dict__` of a model is the parsed JSON object itself,
   with models in place of nested objects. So a model is made by one assignment (`set_values`),
   each key is an attribute without any code, and `to_dict` is nearly a copy. The `__init__` of
   attrs runs only if a program calls the class.
2. **Defaults are attributes of the class.** If the JSON object lacks a field, Python does not find
   the field in `__dict__`, and reads the class attribute, which is the default. So `to_dict` does
   not add fields that the API has not sent.
3. **Methods are data descriptors.** The API may send a key with the name of a method, such as
   `to_dict`. Python looks a name up among the data descriptors of the class first, then in the
   instance's `__dict__`, and then among the functions of the class. So `model` wraps each function
   of the class in a data descriptor (`Method`).
4. **Internal keys cannot collide with the API's keys.** A result stores its response in `__dict__`,
   under the key `_response`. `INTERNAL_KEYS` names such keys. If the API sends a key with one of
   these names, `escape_keys` stores that key as bytes (`b"_response"`), and `to_dict` turns the
   key back into text. So no key is lost. A required field that does not fit is stored in this way,
   too, and JSON that is not an object is stored under `b""`.
5. **Optional nested models are made when they are first read.** Until then the `__dict__` has their
   JSON. The field is a data descriptor of the class (`Field`), so Python asks the descriptor first.
"""

from collections.abc import Mapping
from copy import deepcopy
from types import FunctionType
from typing import Any, ClassVar, Final, Self, TypeVar, dataclass_transform

from attrs import NOTHING, field, fields, frozen
from attrs.exceptions import FrozenInstanceError

from claude_lite.core.structure import WHOLE, Empty, Field, Record, set_values, structure
from claude_lite.errors import UsageError
from claude_lite.given.spellings import RESULTS, add_hints
from claude_lite.wire import Response

__all__ = ["Model", "Result", "model"]

C = TypeVar("C", bound=type)

# No key can hide these methods when Python and attrs call them. Unwrapped, they are faster.
NOT_WRAPPED: Final = frozenset({"__attrs_post_init__", "__eq__", "__hash__"})
PLAIN: Final = frozenset({str, int, float, bool, type(None)})
# Fields of these types need no `Field`: they read as they came.
AS_RECEIVED: Final = frozenset(
    {Any, str | None, int | None, bool | None, float | None, list[Any] | None, list[str] | None}
    | {dict[str, Any] | None, dict[str, str] | None}
)


class Method:
    """A method that stays reachable if the API sends a key with the method's name (number 3).

    An object with `__set__` is a data descriptor: Python looks there before the `__dict__`.
    """

    def __init__(self, function: FunctionType) -> None:
        self.__wrapped__ = function

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        return self.__wrapped__.__get__(instance, owner)

    def __set__(self, instance: object, value: object) -> None:
        raise FrozenInstanceError


@dataclass_transform(frozen_default=True, eq_default=False, field_specifiers=(field,))
def model(cls: C) -> C:
    """Make *cls* a model: a frozen attrs class with a `__dict__`. A class decorator."""
    for name, value in list(vars(cls).items()):
        if isinstance(value, FunctionType) and name not in NOT_WRAPPED:
            setattr(cls, name, Method(value))
    # Without new fields, and with one base, the class can use all that attrs made for its base.
    if not cls.__annotations__ and len(cls.__bases__) == 1:
        return cls
    return frozen(eq=False, slots=False, repr=False)(cls)


@model
class Model(Record):
    """Base class of all models.

    A field that the API has not sent has its default. Two models are equal if they have the same
    class and the same JSON. `attrs.evolve(model, field=...)` keeps all other
    keys, also unknown keys.
    """

    TAGS: ClassVar[tuple[str, ...]] = ()
    """The values of the JSON key `type` for which a base class chooses this subclass."""
    ESSENTIAL: ClassVar[tuple[str, ...] | None] = ()
    """Fields of which one has to fit, or the JSON is refused; None: any declared field."""
    INTERNAL_KEYS: ClassVar[frozenset[str]] = frozenset()
    """Keys that this library adds to `__dict__` (number 4). `to_dict` leaves them out."""

    # Only for `attrs.evolve`: it passes the old `__dict__` as `received`, so unknown keys survive.
    received: dict[Any, Any] | None = field(default=None, kw_only=True, repr=False)

    @classmethod
    def __attrs_init_subclass__(cls) -> None:
        for attribute in fields(cls):  # type: ignore[arg-type]  # an attrs class
            name, default = attribute.name, attribute.default
            if default is NOTHING:
                setattr(cls, name, Empty(name))
            elif attribute.type in AS_RECEIVED or (name == "type" and cls.TAGS):
                setattr(cls, name, default)
            elif name != "received":
                setattr(cls, name, Field(name, default))

    def __attrs_post_init__(self) -> None:
        """Set `__dict__` to the given fields; `attrs.evolve` gives the old one as `received`."""
        given = self.__dict__
        received = given.pop("received")
        if received is None:
            given = {k: v for k, v in given.items() if v is not None}
        else:
            old = _rebuild(type(self), received)
            changed = {k: v for k, v in given.items() if v is not (o := getattr(old, k)) and v != o}
            escaped = {name.encode() for name in changed}
            given = {k: v for k, v in received.items() if k not in escaped} | changed
        set_values(self, given)

    def to_dict(self) -> dict[str, Any]:
        """Return the model as a JSON object: all received keys, with the fields that changed.

        If the server sent other JSON in place of the object, the result is that JSON.
        """
        values: dict[Any, Any] = self.__dict__
        internal = type(self).INTERNAL_KEYS
        if WHOLE in values:
            return values[WHOLE]  # type: ignore[no-any-return]  # the docstring says so
        return {
            k if k.__class__ is str else k.decode(): v if v.__class__ in PLAIN else as_json(v)
            for k, v in values.items()
            if k not in internal
        }

    def to_param(self) -> dict[str, Any]:
        """Return the JSON object to send back to the API. A subclass may leave out some keys."""
        return self.to_dict()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Model) or type(other) is not type(self):
            return NotImplemented
        return self.to_dict() == other.to_dict()

    def __hash__(self) -> int:
        # Not the hash of the JSON text: 1 and 1.0 are equal, but their texts differ.
        scalars = ((k, v) for k, v in self.__dict__.items() if isinstance(v, (str, int, float)))
        return hash((type(self), frozenset(scalars)))

    # One shared `__repr__`: attrs would compile one per class, which slows the import.
    def __repr__(self) -> str:
        names = [a.name for a in fields(type(self)) if a.repr]  # type: ignore[arg-type]  # an attrs class
        return f"{type(self).__name__}({', '.join(f'{n}={getattr(self, n)!r}' for n in names)})"

    def __reduce_ex__(self, protocol: object) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.__dict__)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return _rebuild(type(self), deepcopy(self.__dict__, memo))


M = TypeVar("M", bound=Model)


def _rebuild(cls: type[M], values: dict[str, Any]) -> M:
    """Return a model with a copy of *values* as its `__dict__`. Pickle imports this function."""
    rebuilt = object.__new__(cls)
    set_values(rebuilt, dict(values))
    return rebuilt


add_hints(Model, RESULTS)

# `attrs.evolve` reads `model.received`, and gives the value to `__init__`.
Model.received = property(lambda self: self.__dict__)  # type: ignore[assignment]


def as_json(value: Any) -> Any:
    """Convert a model, or a list of models, to JSON. Other values are returned as they are.

    A list is copied; a dict is copied, but its values are not.
    """
    if isinstance(value, Model):
        return value.to_dict()
    if isinstance(value, (list, tuple)):
        return [as_json(item) for item in value]
    return value.copy() if value.__class__ is dict else value


@model
class Result(Model):
    """Base of the results of calls: a model with `response` (status and headers)."""

    # `_response` is set by `Operation.parse`, `_operation` by `pages.py`.
    INTERNAL_KEYS = frozenset({"_response", "_operation"})
    ESSENTIAL: ClassVar[tuple[str, ...] | None] = None

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
