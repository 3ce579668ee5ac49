"""JSON text to values and back: no digit lost, no depth unbounded.

Numbers: orjson is fast, and reads integers past 64 bits as floats. A text that holds such a
number is read once more by the standard library, so that nothing is rounded. Depth: what is
nested so deep that Python could not compare, copy or pickle it is refused.
"""

import json
import math
from collections.abc import Mapping, Sequence
from typing import (
    Any,
    Final,
    TypeVar,
)

import orjson

from claude_lite.core.model import Model
from claude_lite.errors import UsageError

M = TypeVar("M")

MAX_DEPTH: Final = 250  # the default of `wire.Limits.max_depth`; `limits.py` says why
SHORT: Final = 2048
INT64: Final = 2.0**63
DIGITS: Final = bytes.maketrans(b"123456789", b"000000000")
ROOM: Final = 8192
STEP: Final = 6  # of 19 digits in a row, the fewest past 64 bits, three are seen at this step
ROW: Final = b"000"
NOTHING_OF_ITS_OWN: Final = orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME


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
