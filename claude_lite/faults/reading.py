"""Read plain JSON data into attrs classes, with error messages that name the wrong field.

For configuration that people write by hand: fault scripts, rate limits. The metadata of a field
has its check: a predicate, and the words for the expected value. Values are not converted.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

from attrs import NOTHING, field, fields

from claude_lite.errors import UsageError

T = TypeVar("T")
FieldCheck = tuple[Callable[[Any], bool], str]

HIGHEST_STATUS: Final = 599


def _is_whole(value: Any, least: int = 0) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_headers(value: Any) -> bool:
    return isinstance(value, dict) and all(
        isinstance(name, str) and (text is None or isinstance(text, str))
        for name, text in value.items()
    )


def _is_places(value: Any) -> bool:
    return isinstance(value, list) and value != [] and all(_is_whole(i, 1) for i in value)


IS_COUNT: Final[FieldCheck] = (_is_whole, "a whole number, 0 or more")
IS_POSITIVE: Final[FieldCheck] = (lambda v: _is_whole(v, 1), "a whole number, 1 or more")
IS_STATUS: Final[FieldCheck] = (
    lambda v: _is_whole(v, 200) and v <= HIGHEST_STATUS,
    "a status, 200 to 599",
)
IS_SECONDS: Final[FieldCheck] = (lambda v: _is_number(v) and v >= 0, "seconds, 0 or more")
IS_RATE: Final[FieldCheck] = (lambda v: _is_number(v) and v > 0, "a number above 0")
IS_SHARE: Final[FieldCheck] = (lambda v: _is_number(v) and 0 <= v <= 1, "a number from 0 to 1")
IS_TEXT: Final[FieldCheck] = (lambda v: isinstance(v, str) and v != "", "a text that is not empty")
IS_FLAG: Final[FieldCheck] = (lambda v: isinstance(v, bool), "true or false")
IS_PLACES: Final[FieldCheck] = (_is_places, "a list of positions, from 1")
IS_HEADERS: Final[FieldCheck] = (_is_headers, "an object of texts and nulls")
IS_BODY: Final[FieldCheck] = (lambda v: isinstance(v, str | dict), "a text or an object")


def checked(check: FieldCheck, default: Any = NOTHING) -> Any:
    """Declare an attrs field that `read_fields` checks; null is allowed if the default is None."""
    return field(default=default, metadata={"check": check})


def read_fields(cls: type[T], data: Any, where: str) -> T:
    """Build *cls* from a JSON object; a `UsageError` begins with *where* and the field."""
    if not isinstance(data, Mapping):
        raise UsageError(f"{where}: expected an object, got {data!r}")
    known = {one.name: one for one in fields(cls)}  # type: ignore[arg-type]  # attrs classes only
    for name in data:
        if name not in known:
            raise UsageError(f"{where}.{name}: unknown field; the fields are {', '.join(known)}")
    for name, one in known.items():
        fits, wanted = one.metadata["check"]
        if name not in data:
            if one.default is NOTHING:
                raise UsageError(f"{where}.{name}: missing; expected {wanted}")
        elif not (fits(data[name]) or (data[name] is None and one.default is None)):
            raise UsageError(f"{where}.{name}: expected {wanted}, got {data[name]!r}")
    return cls(**data)
