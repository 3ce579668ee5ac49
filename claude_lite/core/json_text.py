"""JSON text to values and back: no integer is rounded, and the depth is limited.

orjson is fast, but it reads integers of more than 64 bits as floats. If a text may have such an
integer, the standard library parses the text again. JSON that is too deep for Python to compare,
copy or pickle raises `TooDeep`.

`loads` takes JSON only. `loads_reply` also takes what is nearly JSON, because the rest of a reply
is paid for: a mistake costs one character or one number, and what was read can be written again.
"""

import json
import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from enum import Enum
from typing import Any, Final

import orjson

from claude_lite.core.model import Model
from claude_lite.errors import UsageError

MAX_DEPTH: Final = 250  # the default of `wire.Limits.max_depth`; `limits.py` says why
SHORT: Final = 2048  # bytes: in a text up to this length, a search for digits is fast
INT64: Final = 2.0**63  # orjson rounds only integers of at least this absolute value
ORJSON_BUFFER: Final = 8192  # bytes
# An integer of more than 64 bits has at least 19 digits. If every sixth byte of the text is taken,
# at least three of them are digits of this integer, one after the other. `DIGITS` turns all digits
# into zeros, to find `THREE_DIGITS`.
STEP: Final = 6
DIGITS: Final = bytes.maketrans(b"123456789", b"000000000")
THREE_DIGITS: Final = b"000"
# Without these flags orjson writes dataclasses and datetimes; with them it calls `_plain_data`.
PASS_OTHERS_TO_DEFAULT: Final = orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME


class TooDeep(ValueError):
    """The JSON has more levels than the limit, or than orjson can read."""


def loads(data: bytes, max_depth: int = MAX_DEPTH) -> Any:
    """Parse JSON without rounding any integer.

    Args:
        data: The JSON text.
        max_depth: The largest number of levels of lists and objects.

    Raises:
        TooDeep: The text has more levels.
        ValueError: The text is not JSON.

    """
    try:
        value = orjson.loads(data)
    except ValueError as error:
        if "depth" in str(error):  # orjson's error for more than 1,024 levels
            raise TooDeep(str(error)) from None
        raise
    # A short text with few brackets and no long number needs no slow walk through the values.
    if len(data) <= SHORT:
        depth_is_ok = len(data) <= 2 * max_depth or _count_brackets(data) <= max_depth
        if depth_is_ok and THREE_DIGITS not in data[::STEP].translate(DIGITS):
            return value
    return json.loads(data) if _check_depth_and_rounding(value, max_depth) else value


def loads_reply(data: bytes, max_depth: int = MAX_DEPTH) -> Any:
    """Parse JSON of a server that may have mistakes in it.

    Bytes that are not UTF-8, and surrogates without a partner, become U+FFFD. NaN, infinities, and
    numbers too large for Python become None. Control characters within texts are kept. A byte order
    mark, and NULs at the end, are ignored. The standard library reads the same, or less.

    Args:
        data: The JSON text, in UTF-8, UTF-16 or UTF-32.
        max_depth: The largest number of levels of lists and objects.

    Raises:
        TooDeep: The text has more levels.
        ValueError: The text is not JSON.

    """
    try:
        return loads(data, max_depth)
    except TooDeep:
        raise
    except ValueError:
        text = data.decode(json.detect_encoding(data), "replace").rstrip("\0 \t\r\n")
    try:
        value = _decode(text)
        _check_depth_and_rounding(value, max_depth)
        return _without_surrogates(value) if "\\u" in text else value
    except RecursionError as error:
        raise TooDeep(str(error)) from None


def _decode(text: str) -> Any:
    try:
        return LENIENT.decode(text)
    except json.JSONDecodeError:
        raise
    except ValueError:  # an integer of more than 4,300 digits
        return json.JSONDecoder(parse_int=_number, **LENIENCY).decode(text)


def _number(text: str) -> float | None:
    try:
        return int(text)  # raises for more than 4,300 digits
    except ValueError:
        number = float(text)
        return number if math.isfinite(number) else None


LENIENCY: Final[Any] = {"strict": False, "parse_float": _number, "parse_constant": lambda _: None}
LENIENT: Final = json.JSONDecoder(**LENIENCY)  # without `parse_int`, which is slow


def _without_surrogates(value: Any) -> Any:
    """Replace surrogates, which UTF-8 cannot encode. Two that are a pair become their character."""
    if isinstance(value, str):
        if value.isascii():
            return value
        return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    if isinstance(value, dict):
        return {_without_surrogates(k): _without_surrogates(v) for k, v in value.items()}
    return [_without_surrogates(item) for item in value] if isinstance(value, list) else value


def _count_brackets(data: bytes) -> int:
    """Count the opening brackets: faster than `bytes.count` if there are few brackets."""
    return len(data) - len(data.replace(b"{", b"").replace(b"[", b""))


def _check_depth_and_rounding(value: Any, max_depth: int) -> bool:
    """Tell whether orjson may have rounded an integer to a float.

    Raises:
        TooDeep: *value* has more than *max_depth* levels.

    """
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
    raise TooDeep(f"more than {max_depth} levels")


def dumps(value: Any) -> bytes:
    """Write *value* as JSON in compact UTF-8.

    The same value gives the same bytes in every process, so that texts can be compared.

    Args:
        value: Plain data; models, and mappings and sequences of any class, may be in the data.

    Raises:
        UsageError: A part of the value cannot be written as JSON: NaN, an infinity, a key that is
            not text, a set, an iterator, another object.

    """
    try:
        text = orjson.dumps(value, default=_plain_data, option=PASS_OTHERS_TO_DEFAULT)
    except TypeError:
        return _dumps_slowly(value)
    # orjson writes NaN as null: if the text has a null, look for NaN in the value. `rfind` is twice
    # as fast as `in`.
    if text.rfind(b"null") >= 0:
        _refuse_non_json(value)
    # The result of orjson keeps a buffer of 8 KB. `join` copies a short text and frees the buffer.
    return b"".join((text, b"")) if len(text) < ORJSON_BUFFER else text


def _plain_data(value: Any) -> Any:
    if isinstance(value, Enum):  # only orjson knows enums by itself
        return value.value
    if isinstance(value, Model):  # written in the form that the API accepts in a request
        return value.to_param()
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Sequence) and not isinstance(value, (bytes, bytearray, memoryview)):
        return list(value)
    raise TypeError(f"it contains a value of type {type(value).__name__}")


def _dumps_slowly(value: Any) -> bytes:
    """Write *value* with the standard library: orjson writes at most 64-bit integers."""
    try:
        text = json.dumps(
            value, default=_plain_data, ensure_ascii=False, separators=(",", ":")
        ).encode()
    except (TypeError, ValueError) as error:
        raise _not_json(str(error)) from None
    except RecursionError:
        raise _not_json("a value is nested too deep") from None
    _refuse_non_json(value)
    return text


def _refuse_non_json(value: Any) -> None:
    """Raise `UsageError` for NaN and for keys that are not text.

    orjson writes NaN as null. `json` writes NaN as `NaN`, which is not JSON, and the key 1 as "1".
    """
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
            with suppress(TypeError):  # orjson writes a few more types by itself, such as UUID
                pending.append(_plain_data(item))


def _not_json(why: str) -> UsageError:
    return UsageError(f"this value cannot be written as JSON: {why}")
