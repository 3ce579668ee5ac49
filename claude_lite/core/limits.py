"""What a reply may cost: its JSON is measured before it is parsed.

Two bytes of JSON can become a hundred in memory, and nothing can interrupt a parser.
"""

import functools
import re
from typing import Any, Final

from claude_lite.core.json_text import TooDeep, loads
from claude_lite.errors import ResponseTooLarge
from claude_lite.wire import DEFAULT_LIMITS, Limits

UNLIMITED: Final = 1 << 30
BEFORE_VALUES: Final = b",[{"  # each value, or pair of an object, has one of these before it
OTHER_BYTES: Final = bytes(set(range(256)) - set(BEFORE_VALUES))
FEW_VALUES: Final = 1000
LONG: Final = 1024 * 1024
KEPT: Final = 3  # times `max_values`: what the pieces of a stream may have that all are kept
TEXT_IN_JSON: Final = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
WIDEST: Final = 6


def parse_json(data: bytes, limits: Limits = DEFAULT_LIMITS) -> Any:
    """Parse what a server sent; raises `ResponseTooLarge`, and `ValueError` if it is not JSON."""
    most, deepest = limits.max_values, limits.max_depth
    if most is not None and len(data) > 2 * most and _has_more(data, most):
        raise ResponseTooLarge.past("max_values", most, f"JSON of over {most} values")
    try:
        return loads(data, UNLIMITED if deepest is None else deepest)
    except TooDeep as error:
        raise ResponseTooLarge.past("max_depth", deepest or UNLIMITED, f"JSON {error}") from None


def check_kept(values: int, limits: Limits) -> None:
    """Raise `ResponseTooLarge` if the pieces that are kept of a stream have too many *values*."""
    most = limits.max_values
    if most is not None and values > KEPT * most:
        what = f"a stream of over {KEPT:g} times {most} values, all of which are kept"
        raise ResponseTooLarge.past("max_values", most, what)


def most_values(data: bytes) -> int:
    """How many values there may be in JSON, at most: what is in its texts counts, too."""
    return len(data.translate(None, OTHER_BYTES))


def values_in(data: bytes) -> int:
    """How many values there are in JSON, or a few more: its texts are looked at if it is many."""
    found = most_values(data)
    if found < FEW_VALUES:
        return found
    return len(re.sub(TEXT_IN_JSON, b"", data, flags=re.DOTALL).translate(None, OTHER_BYTES))


def _has_more(data: bytes, most: int) -> bool:
    if len(data) > LONG and _has_few(data, most):
        return False
    return most_values(data) > most and _more_than(most).match(data) is not None


def _has_few(data: bytes, most: int) -> bool:
    """Whether there can be no more values than that; quick in long texts, as most are."""
    found = 0
    for byte in BEFORE_VALUES:
        at = data.find(byte)
        while at >= 0:
            found += 1
            if found > most:
                return False
            at = data.find(byte, at + 1)
    return True


@functools.cache
def _more_than(most: int) -> re.Pattern[bytes]:
    """What matches JSON with more values than that; it stops there, and never goes back."""
    other = rb'[^",\[{]*+'
    return re.compile(
        b"(?:%b(?:%b%b)*+[,\\[{]){%d}+" % (other, TEXT_IN_JSON, other, most + 1), re.DOTALL
    )


def in_memory(text: bytes | bytearray | str) -> int:
    """The bytes that JSON text takes at most once it is parsed, copies for its use included.

    One letter that is not ASCII can make Python store all of a text with four bytes a letter,
    which counts where the text is long.
    """
    if len(text) < LONG:
        return len(text)
    escaped = "\\" in text if isinstance(text, str) else b"\\" in text
    return len(text) * (WIDEST if escaped or not text.isascii() else 1)
