"""The limits on the size of replies, and the reasons for their values.

A server, or a proxy on the way, can send anything: gigabytes, a kilobyte of gzip that becomes a
megabyte, two bytes of JSON that take 100 bytes in memory, a million nested lists. The limits
guarantee two things for every reply, on every transport. With the default limits a reply takes at
most 120 MB of memory, and blocks an event loop for at most a tenth of a second.
`tests/test_bounds.py` measures both, with replies that are made to be expensive. The defaults are
as high as the two guarantees allow.

These limits are options of a client. `wire.Limits` has their defaults; None switches a limit off.

- `max_head` (64 KiB) and `max_headers` (256) limit the heads of a reply (also the heads of 1xx
  replies) and the trailers. The transport reads the heads, so the transport checks these limits.
- `max_response` (8 MiB) limits a body that is completely in memory. The transport checks the limit
  while it receives the body; `encoding.py` checks the limit during decompression. If a text has a
  non-ASCII character, Python stores each of its characters in up to four bytes, and parsing needs
  memory for copies: at most six bytes per byte of JSON in total. So 8 MiB can become 48 MiB.
- `max_values` (120,000) limits the values (numbers, texts, lists, objects) of one reply or event. A
  value can be as short as `0,`, and takes up to 100 bytes as a Python object: 120,000 values take
  12 MB. Values are counted before JSON is parsed, because nothing can interrupt the parser.
- `max_depth` (250) limits the levels of nested JSON. orjson writes 254 levels. Python can compare,
  copy and pickle about as many levels before it reaches its own limit of recursion.
- `max_event` (40 MiB) limits one event or line of a stream. The message built from all events is
  limited by the larger of `max_event` and `max_response`. An event can be in memory three times at
  once: raw, parsed, and in the message. `in_memory` counts the bytes of an event.

These limits are constants:

- `COLLECTED_FACTOR`: the collected events of a stream may have three times `max_values` values
  together. A typical text event has five values. Commas in its text are counted, too, about one per
  event. So an event counts as six values, and 360,000 values are about 60,000 events.
- `ERROR_BODY`: only the first megabyte of an error's body is used, because the status already says
  what failed. For the same reason the body of a response with a status of 300 or more gets one
  second (`wire.ERROR_BODY_SECONDS`), which is enough for a megabyte at 10 Mbit/s. A server in
  trouble may send a head and then nothing, and callers should not wait for `timeout` to learn that
  they were refused. The transport enforces this limit.
- `SLICE`: a chunk is decoded in slices of this many bytes, so that the event loop can run other
  tasks in between. A compressed chunk is decoded in slices of `COMPRESSED_SLICE` bytes, because one
  byte of gzip can become a thousand bytes.
- `ZLIB_OUTPUT`: zlib returns at most this many bytes per call. zlib gets at most `ZLIB_INPUT` bytes
  per call, because zlib copies its unused input at each call.
- `PIECE_OVERHEAD`: the memory of an empty `bytes` object in a queue, rounded up to 64 bytes. Each
  piece of a download that is in memory takes this much besides its data.
"""

import functools
import re
from typing import Any, Final

from claude_lite.core.json_text import TooDeep, loads, loads_reply
from claude_lite.errors import ResponseTooLarge
from claude_lite.wire import DEFAULT_LIMITS, Limits

ERROR_BODY: Final = 1024 * 1024
SLICE: Final = 32 * 1024
COMPRESSED_SLICE: Final = 64
ZLIB_OUTPUT: Final = 1024 * 1024
ZLIB_INPUT: Final = 32 * 1024
PIECE_OVERHEAD: Final = 64
COLLECTED_FACTOR: Final = 3

UNLIMITED_DEPTH: Final = 1 << 30
# Each item of a list, and each key of an object, comes after one of these bytes.
BEFORE_VALUES: Final = b",[{"
OTHER_BYTES: Final = bytes(set(range(256)) - set(BEFORE_VALUES))
FEW_VALUES: Final = 1000
FEW_SEPARATORS: Final = 5000  # to find each of more takes longer than to estimate them all
LONG_TEXT: Final = 1024 * 1024
BYTES_PER_LETTER: Final = 6  # measured, as the text at the top says
# One JSON string. `*+` never backtracks, so the search takes linear time.
TEXT_IN_JSON: Final = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'


def parse_json(data: bytes, limits: Limits = DEFAULT_LIMITS, *, strict: bool = False) -> Any:
    """Parse JSON that a server sent.

    Args:
        data: The JSON text.
        limits: The limits; only `max_values` and `max_depth` are used.
        strict: Whether to refuse mistakes that `loads_reply` mends.

    Raises:
        ResponseTooLarge: The text has more values or levels than *limits* allow.
        ValueError: The text is not JSON.

    """
    max_values, max_depth = limits.max_values, limits.max_depth
    # A value takes at least two bytes ("0," or "[]"), so a short text needs no count.
    if max_values is not None and len(data) > 2 * max_values and _has_more(data, max_values):
        message = f"the JSON has more than {max_values} values"
        raise ResponseTooLarge.over_limit("max_values", max_values, message)
    try:
        read = loads if strict else loads_reply
        return read(data, UNLIMITED_DEPTH if max_depth is None else max_depth)
    except TooDeep as error:  # also if `max_depth` is None: orjson refuses over 1,024 levels
        limit = max_depth or UNLIMITED_DEPTH
        message = f"the JSON is too deep: {error}"
        raise ResponseTooLarge.over_limit("max_depth", limit, message) from None


def check_collected_values(values: int, limits: Limits) -> None:
    """Raise `ResponseTooLarge` if the collected events of a stream have too many *values*."""
    max_values = limits.max_values
    if max_values is not None and values > COLLECTED_FACTOR * max_values:
        message = f"the stream has more than {COLLECTED_FACTOR * max_values} values in memory"
        raise ResponseTooLarge.over_limit("max_values", max_values, message)


def estimate_values(data: bytes) -> int:
    """Count the values in JSON fast. The count may be too high: commas within texts count, too."""
    return len(data.translate(None, OTHER_BYTES))


def values_in(data: bytes) -> int:
    """Count the values in JSON.

    Below 1,000 this is the fast estimate. Above, commas and brackets inside texts are not counted,
    which is slower. Both ways count commas and opening brackets, because one of these stands before
    each value. The outermost value has none before it, so it is not counted. An empty list or
    object has a bracket, but no value after it, so it counts one too many.
    """
    found = estimate_values(data)
    if found < FEW_VALUES:
        return found
    return len(re.sub(TEXT_IN_JSON, b"", data, flags=re.DOTALL).translate(None, OTHER_BYTES))


def in_memory(text: bytes | bytearray | str) -> int:
    """Return the bytes that JSON text counts against a limit.

    A text of 1 MiB or more counts the memory that it can take after parsing, copies included: six
    times its length, if it is not plain ASCII. A shorter text counts only its length, because even
    six times of it is little, and most texts are short.
    """
    if len(text) < LONG_TEXT:
        return len(text)
    # An escape such as `\u1234` is ASCII in the JSON, but not in the parsed text.
    escaped = "\\" in text if isinstance(text, str) else b"\\" in text
    return len(text) * (BYTES_PER_LETTER if escaped or not text.isascii() else 1)


def _has_more(data: bytes, max_values: int) -> bool:
    """Tell whether JSON has more than *max_values* values. The cheapest test is tried first."""
    if len(data) > LONG_TEXT and _has_few_separators(data, min(max_values, FEW_SEPARATORS)):
        return False
    if estimate_values(data) <= max_values:
        return False
    return _pattern_for_more_than(max_values).match(data) is not None


def _has_few_separators(data: bytes, limit: int) -> bool:
    """Tell whether JSON has at most *limit* separators, and so at most as many values.

    The search is fast if most of the JSON is long strings, because then there are few separators.
    """
    found = 0
    for byte in BEFORE_VALUES:
        at = data.find(byte)
        while at >= 0:
            found += 1
            if found > limit:
                return False
            at = data.find(byte, at + 1)
    return True


@functools.cache
def _pattern_for_more_than(max_values: int) -> re.Pattern[bytes]:
    """Compile a pattern for JSON of more than *max_values* values.

    The pattern never backtracks, so a match takes linear time.
    """
    other = rb'[^",\[{]*+'
    return re.compile(
        b"(?:%b(?:%b%b)*+[,\\[{]){%d}+" % (other, TEXT_IN_JSON, other, max_values + 1), re.DOTALL
    )
