"""Models: frozen values that hold the whole JSON object from which they were read.

A model keeps fields that this version does not know: each key of the JSON object is an attribute.
`to_dict` gives the JSON object back, key for key, with the changes that a program has made since.
Nothing here parses or checks JSON; `structure.py` does.

Four tricks make models fast, and keep every key:

1. **The JSON object is the instance.** The `__dict__` of a model is the parsed JSON object itself,
   with models in place of nested objects. So a model is made by one assignment (`set_values`),
   each key is an attribute without any code, and `to_dict` is nearly a copy. The `__init__` of
   attrs runs only where a program makes a model by hand.
2. **Defaults are attributes of the class.** If the JSON object lacks a field, Python does not find
   the field in `__dict__`, and reads the class attribute, which is the default. So `to_dict` does
   not add fields that the API has not sent.
3. **Methods are data descriptors.** The API may send a key with the name of a method, such as
   `to_dict`. Python looks a name up among the data descriptors of the class first, then in the
   instance's `__dict__`, and then among the functions of the class. So `model` wraps each function
   of the class in a data descriptor (`Method`).
4. **Internal keys cannot collide with the API's keys.** A result stores its response in `__dict__`,
   under the key `_response`. `INTERNAL_KEYS` names such keys. If the API sends a key with one of
   these names, `escape_keys` stores that key as bytes (`b"_response"`), and `to_dict` makes the key
   text again. So no key is lost.
"""

from copy import deepcopy
from types import FunctionType
from typing import Any, ClassVar, Final, Self, TypeVar, dataclass_transform

from attrs import NOTHING, field, fields, frozen
from attrs.exceptions import FrozenInstanceError

__all__ = ["Model", "model"]

C = TypeVar("C", bound=type)

LOOKED_UP_ON_CLASSES: Final = frozenset({"__attrs_post_init__", "__eq__", "__hash__"})
PLAIN: Final = frozenset({str, int, float, bool, type(None), dict})


class Method:
    """A method that stays reachable if the API sends a key with the method's name (trick 3)."""

    def __init__(self, function: FunctionType) -> None:
        self.__wrapped__ = function

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        return self.__wrapped__.__get__(instance, owner)

    def __set__(self, instance: object, value: object) -> None:
        raise FrozenInstanceError


@dataclass_transform(frozen_default=True, eq_default=False, field_specifiers=(field,))
def model(cls: C) -> C:
    """Make *cls* a model: a frozen attrs class with a `__dict__`. Use it as a decorator."""
    for name, value in list(vars(cls).items()):
        if isinstance(value, FunctionType) and name not in LOOKED_UP_ON_CLASSES:
            setattr(cls, name, Method(value))
    if not cls.__annotations__ and len(cls.__bases__) == 1:  # attrs has nothing to add
        return cls
    return frozen(eq=False, slots=False, repr=False)(cls)


@model
class Model:
    """Base of everything that the API sends.

    A field that the API has not sent has its default. Two models are equal if they have the same
    class and the same JSON. `attrs.evolve` changes the fields that it is given, and keeps all
    others, unknown fields included.
    """

    TAGS: ClassVar[tuple[str, ...]] = ()
    """The values of the JSON's `type` that stand for this class in a family of classes."""
    INTERNAL_KEYS: ClassVar[frozenset[str]] = frozenset()
    """Our own keys in `__dict__`, which are not JSON (trick 4)."""

    received: dict[str, Any] | None = field(default=None, kw_only=True, repr=False)

    @classmethod
    def __attrs_init_subclass__(cls) -> None:
        for attribute in fields(cls):  # type: ignore[arg-type]  # an attrs class
            if attribute.default is not NOTHING and attribute.name != "received":
                setattr(cls, attribute.name, attribute.default)

    def __attrs_post_init__(self) -> None:
        """Make `__dict__` the JSON object: the received keys, overlaid with the fields given."""
        values = self.__dict__
        received = values.pop("received")
        set_values(self, {**(received or {}), **_drop_defaults(type(self), values, received)})

    def to_dict(self) -> dict[str, Any]:
        """Give the model as a JSON object: all that was received, with the changes made since."""
        ours = type(self).INTERNAL_KEYS
        values = _unescape_keys(self.__dict__, ours) if ours else self.__dict__
        return {k: v if v.__class__ in PLAIN else as_json(v) for k, v in values.items()}

    def to_param(self) -> dict[str, Any]:
        """Give the model as a JSON object for the next request: exactly as it was received."""
        return self.to_dict()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Model) or type(other) is not type(self):
            return NotImplemented
        return self.to_dict() == other.to_dict()

    def __hash__(self) -> int:
        # JSON text would not do: models with 1 and 1.0 are equal, and need equal hashes.
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
    """Make a model with a copy of *values* as its `__dict__`."""
    made = object.__new__(cls)
    set_values(made, dict(values))
    return made


set_values = Model.__dict__["__dict__"].__set__
"""`set_values(model, values)` makes *values* the `__dict__` of a frozen model (trick 1)."""

Model.received = property(lambda self: self.__dict__)  # type: ignore[assignment]  # for attrs.evolve


def _drop_defaults(
    cls: type[Model], values: dict[str, Any], received: dict[str, Any] | None
) -> dict[str, Any]:
    """Drop the values that JSON does not need: None, or the defaults of fields not received."""
    if received is None:
        return {k: v for k, v in values.items() if v is not None}
    defaults = {a.name: a.default for a in fields(cls)}  # type: ignore[arg-type]  # an attrs class
    return {k: v for k, v in values.items() if k in received or v != defaults[k]}


def escape_keys(data: dict[str, Any], ours: frozenset[str]) -> dict[Any, Any]:
    """Copy a received JSON object, with bytes in place of keys that are named like *ours*."""
    return {name.encode() if name in ours else name: value for name, value in data.items()}


def _unescape_keys(values: dict[Any, Any], ours: frozenset[str]) -> dict[str, Any]:
    """Copy the JSON object in a model's `__dict__`: without *ours*, with each key as text."""
    return {
        name.decode() if name.__class__ is bytes else name: value
        for name, value in values.items()
        if name not in ours
    }


def as_json(value: Any) -> Any:
    """Give the JSON of a field's value. Models are found as the value and in a list, no deeper."""
    if isinstance(value, Model):
        return value.to_dict()
    if isinstance(value, (list, tuple)):
        return [item.to_dict() if isinstance(item, Model) else item for item in value]
    return value
