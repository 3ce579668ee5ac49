"""What models are: frozen values that hold the whole JSON object they were read from.

Nothing is lost that this version does not know: unknown fields are attributes like any other,
and `to_dict` gives back what came, key for key, overlaid with what was changed since. Nothing
here parses or checks: `structure.py` does.

Four tricks make this fast and lossless:

1. **The JSON is the instance.** A model's `__dict__` is the parsed JSON object itself, with nested
   models in their places. Making a model is one assignment (`set_values`), `to_dict` is nearly a
   copy, and a field that came is an attribute without any code. attrs' own `__init__` runs only
   where a program makes a model by hand.
2. **Defaults live on the class.** A field that did not come is not in `__dict__`, so Python finds
   the class attribute of that name: its default. So `to_dict` does not invent fields.
3. **Methods are data descriptors.** The API may send a key named like a method (`to_dict`, say).
   Python asks an instance's `__dict__` before a plain function, but after a data descriptor: that
   is why `model` wraps each function of the class in `Method`.
4. **Our own keys are set apart.** A result keeps its response in `__dict__` under `_response`.
   `OURS` names such keys; if the API sends one of these names, it is kept as bytes, so that no key
   of the API hides ours and none is lost (`hidden` and `_shown` convert).
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
    """A method that a received key of the same name does not hide.

    As a data descriptor it goes before the instance's `__dict__`, which holds what the API sent.
    """

    def __init__(self, function: FunctionType) -> None:
        self.__wrapped__ = function

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        return self.__wrapped__.__get__(instance, owner)

    def __set__(self, instance: object, value: object) -> None:
        raise FrozenInstanceError


@dataclass_transform(frozen_default=True, eq_default=False, field_specifiers=(field,))
def model(cls: C) -> C:
    """Make *cls* a frozen attrs class with a `__dict__`, for a declaration of a model."""
    for name, value in list(vars(cls).items()):
        if isinstance(value, FunctionType) and name not in LOOKED_UP_ON_CLASSES:
            setattr(cls, name, Method(value))
    if not cls.__annotations__ and len(cls.__bases__) == 1:  # all as in its base
        return cls
    return frozen(eq=False, slots=False, repr=False)(cls)


@model
class Model:
    """Base of everything that the API answers with.

    The instance's `__dict__` *is* the received JSON object, with nested models in their
    places; fields that did not come read as their class's defaults. Two models are equal when
    they are of one class and stand for the same JSON. `attrs.evolve` keeps what it is not
    told to change, unknown fields included.
    """

    TAGS: ClassVar[tuple[str, ...]] = ()
    OURS: ClassVar[frozenset[str]] = frozenset()
    """Keys in `__dict__` that are not JSON; received ones of these names are there as bytes."""

    received: dict[str, Any] | None = field(default=None, kw_only=True, repr=False)

    @classmethod
    def __attrs_init_subclass__(cls) -> None:
        for attribute in fields(cls):  # type: ignore[arg-type]  # an attrs class
            if attribute.default is not NOTHING and attribute.name != "received":
                setattr(cls, attribute.name, attribute.default)

    def __attrs_post_init__(self) -> None:
        """Keep what was received, and of the fields those that say more than that."""
        values = self.__dict__
        received = values.pop("received")
        set_values(self, {**(received or {}), **_telling(type(self), values, received)})

    def to_dict(self) -> dict[str, Any]:
        """The model as a JSON object: what was received, overlaid with what was changed."""
        ours = type(self).OURS
        values = _shown(self.__dict__, ours) if ours else self.__dict__
        return {k: v if v.__class__ in PLAIN else as_json(v) for k, v in values.items()}

    def to_param(self) -> dict[str, Any]:
        """The model as a part of the next request: exactly what was received."""
        return self.to_dict()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Model) or type(other) is not type(self):
            return NotImplemented
        return self.to_dict() == other.to_dict()

    def __hash__(self) -> int:
        # As JSON text 1 and 1.0 would differ, and yet such models are equal.
        scalars = ((k, v) for k, v in self.__dict__.items() if isinstance(v, (str, int, float)))
        return hash((type(self), frozenset(scalars)))

    def __repr__(self) -> str:  # one for all, because each that attrs makes has to be compiled
        names = [a.name for a in fields(type(self)) if a.repr]  # type: ignore[arg-type]  # as above
        return f"{type(self).__name__}({', '.join(f'{n}={getattr(self, n)!r}' for n in names)})"

    def __reduce_ex__(self, protocol: object) -> tuple[Any, ...]:
        return _rebuilt, (type(self), self.__dict__)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return _rebuilt(type(self), deepcopy(self.__dict__, memo))


M = TypeVar("M", bound=Model)


def _rebuilt(cls: type[M], values: dict[str, Any]) -> M:
    """Make a model of what was in the `__dict__` of another."""
    made = object.__new__(cls)
    set_values(made, dict(values))
    return made


set_values = Model.__dict__["__dict__"].__set__
"""`set_values(model, values)` makes *values* the `__dict__` of a frozen model."""

Model.received = property(lambda self: self.__dict__)  # type: ignore[assignment]  # for attrs.evolve


def _telling(
    cls: type[Model], values: dict[str, Any], received: dict[str, Any] | None
) -> dict[str, Any]:
    """The values that a JSON object has to have: not the defaults that never came."""
    if received is None:
        return {k: v for k, v in values.items() if v is not None}
    defaults = {a.name: a.default for a in fields(cls)}  # type: ignore[arg-type]  # an attrs class
    return {k: v for k, v in values.items() if k in received or v != defaults[k]}


def hidden(data: dict[str, Any], ours: frozenset[str]) -> dict[Any, Any]:
    """Received keys as a model holds them: those that are named like ours as bytes."""
    return {name.encode() if name in ours else name: value for name, value in data.items()}


def _shown(values: dict[Any, Any], ours: frozenset[str]) -> dict[str, Any]:
    """The JSON among a model's values."""
    return {
        name.decode() if name.__class__ is bytes else name: value
        for name, value in values.items()
        if name not in ours
    }


def as_json(value: Any) -> Any:
    """The JSON of a value; models stand in fields and in lists, and nowhere deeper."""
    if isinstance(value, Model):
        return value.to_dict()
    if isinstance(value, (list, tuple)):
        return [item.to_dict() if isinstance(item, Model) else item for item in value]
    return value
