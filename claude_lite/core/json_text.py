"""JSON text to values and back: no integer is rounded, and the depth is bounded.

orjson is fast, but it reads integers of more than 64 bits as floats. If a text may have such an
integer, the standard library parses the text again. A value that is nested so deep that Python
could not compare, copy or pickle it is refused.
"""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson

from claude_lite.core.model import Model
from claude_lite.errors import UsageError

MAX_DEPTH: Final = 250  # the default of `wire.Limits.max_depth`; `limits.py` says why
SHORT: Final = 2048
INT64: Final = 2.0**63
DIGITS: Final = bytes.maketrans(b"123456789", b"000000000")
ORJSON_BUFFER: Final = 8192
# An integer beyond 64 bits has at least 19 digits: a look at every sixth byte finds three of them.
STEP: Final = 6
THREE_DIGITS: Final = b"000"
PASS_OTHERS_TO_DEFAULT: Final = orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME


class TooDeep(ValueError):
    """The JSON has more levels than are allowed, or than orjson can read."""


def loads(data: bytes, max_depth: int = MAX_DEPTH) -> Any:
    """Parse JSON without rounding any integer.

    Args:
        data: The JSON text.
        max_depth: The most levels of lists and objects.

    Raises:
        TooDeep: The text has more levels.
        ValueError: The text is not JSON.

    """
    try:
        value = orjson.loads(data)
    except ValueError as error:
        if "depth" in str(error):  # orjson reads 1,024 levels
            raise TooDeep(str(error)) from None
        raise
    if len(data) <= SHORT:  # a search for many digits is faster than a walk through the values
        is_flat = len(data) <= 2 * max_depth or _count_brackets(data) <= max_depth
        if is_flat and THREE_DIGITS not in data[::STEP].translate(DIGITS):
            return value
    return json.loads(data) if _is_rounded(value, max_depth) else value


def _count_brackets(data: bytes) -> int:
    """Count the opening brackets. Where there are few, this is faster than `bytes.count`."""
    return len(data) - len(data.replace(b"{", b"").replace(b"[", b""))


def _is_rounded(value: Any, max_depth: int) -> bool:
    """Tell whether an integer may have become a float; raises `TooDeep`."""
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
    """Write *value* as JSON in compact UTF-8. The same value gives the same bytes in every process.

    Args:
        value: Plain data; it may hold models, mappings and sequences of any class.

    Raises:
        UsageError: JSON has no form for a part of the value: NaN, an infinity, a key that is not
            text, a set, an iterator, another object.

    """
    try:
        text = orjson.dumps(value, default=_plain_data, option=PASS_OTHERS_TO_DEFAULT)
    except TypeError:
        return _dumps_slowly(value)
    if text.rfind(b"null") >= 0:  # orjson writes NaN as null; `rfind` is twice as fast as `in`
        _refuse_non_json(value)
    # A short text from orjson keeps its buffer of 8 KB. A copy takes only as much as it needs.
    return b"".join((text, b"")) if len(text) < ORJSON_BUFFER else text


def _plain_data(value: Any) -> Any:
    if isinstance(value, Model):
        return value.to_param()
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Sequence) and not isinstance(value, (bytes, bytearray, memoryview)):
        return list(value)
    raise TypeError(f"{type(value).__name__} is not JSON")


def _dumps_slowly(value: Any) -> bytes:
    """Write *value* with the standard library: orjson cannot write integers beyond 64 bits."""
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
    """Raise `UsageError` for NaN and for keys that are not text, which would be written wrongly."""
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
            pending.append(_plain_data(item))


def _not_json(why: str) -> UsageError:
    return UsageError(f"the request cannot be written as JSON: {why}")
