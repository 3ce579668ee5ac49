"""What a reply may cost: the bounds on replies, and the reasons for their values.

A server, or a proxy on the way, can send anything: gigabytes, a kilobyte of gzip that becomes a
megabyte, two bytes of JSON that take a hundred in memory, a million nested lists. So two promises
hold for every reply, on every transport. With the default limits a reply costs at most 120 MB, and
it blocks an event loop for at most a tenth of a second. `tests/test_bounds.py` measures both, with
replies that are made to be expensive. The defaults are as high as the two promises allow.

These limits are options of a client. `wire.Limits` has their defaults; None switches a limit off.

- `max_head` (64 KiB) and `max_headers` (256) bound the heads of a reply, interim heads (1xx) and
  trailers included. The transport reads the heads, so the transport enforces these limits.
- `max_response` (8 MiB) bounds a body that is held whole. The transport bounds the body as it
  comes; `encoding.py` bounds the body once it is decompressed. A text with one character beyond
  ASCII may take four bytes per character in Python, and two more while it is copied, so that 8 MiB
  can become 48 MiB.
- `max_values` (120,000) bounds the values (numbers, texts, lists, objects) of one reply or event. A
  value can be as short as `0,`, and takes up to a hundred bytes as a Python object: 120,000 values
  take 12 MB. Values are counted before JSON is parsed, because nothing can interrupt the parser.
- `max_depth` (250) bounds the levels of JSON. orjson writes 254 levels, and Python can compare,
  copy and pickle about as many before it reaches its own limit of recursion.
- `max_event` (40 MiB) bounds one event or line of a stream. It also bounds the message that all
  events make, unless `max_response` is higher. For a moment an event is held up to three times: as
  it came, parsed, and in the message. `in_memory` says how its bytes are counted.

These bounds are constants:

- `COLLECTED_FACTOR`: a stream whose events are all kept may have three times `max_values` values,
  because each event of a stream has five values besides its content.
- `ERROR_BODY`: of an error's body the first megabyte is read, because the status says enough.
- `SLICE`: a chunk is decoded in slices of this many bytes, so that the event loop can run other
  tasks in between. A compressed chunk is decoded in slices of `COMPRESSED_SLICE` bytes, because
  gzip can make a thousand bytes out of one.
- `ZLIB_OUTPUT`: zlib gives at most this many bytes at a time, and gets at most `ZLIB_INPUT`
  bytes at a time, because it copies the bytes that it has not used yet.
- `PIECE_OVERHEAD`: the Python object of a piece of a download takes this many bytes besides its
  data.
"""

import functools
import re
from typing import Any, Final

from claude_lite.core.json_text import TooDeep, loads
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
BEFORE_VALUES: Final = b",[{"  # one of these stands before each item of a list or an object
OTHER_BYTES: Final = bytes(set(range(256)) - set(BEFORE_VALUES))
FEW_VALUES: Final = 1000
LONG_TEXT: Final = 1024 * 1024
BYTES_PER_LETTER: Final = 6  # at most: four in memory, and two for a copy of an escaped text
TEXT_IN_JSON: Final = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'


def parse_json(data: bytes, limits: Limits = DEFAULT_LIMITS) -> Any:
    """Parse JSON that a server sent.

    Args:
        data: The JSON text.
        limits: The limits; only `max_values` and `max_depth` are used.

    Raises:
        ResponseTooLarge: The text has more values or levels than *limits* allow.
        ValueError: The text is not JSON.

    """
    most, deepest = limits.max_values, limits.max_depth
    if most is not None and len(data) > 2 * most and _has_more(data, most):
        raise ResponseTooLarge.past("max_values", most, f"JSON of over {most} values")
    try:
        return loads(data, UNLIMITED_DEPTH if deepest is None else deepest)
    except TooDeep as error:
        bound = deepest or UNLIMITED_DEPTH
        raise ResponseTooLarge.past("max_depth", bound, f"JSON {error}") from None


def check_collected_values(values: int, limits: Limits) -> None:
    """Raise `ResponseTooLarge` if a stream whose events are all kept has too many *values*."""
    most = limits.max_values
    if most is not None and values > COLLECTED_FACTOR * most:
        what = f"a stream of over {COLLECTED_FACTOR:g} times {most} values, which are all kept"
        raise ResponseTooLarge.past("max_values", most, what)


def estimate_values(data: bytes) -> int:
    """Count the values in JSON fast. The count may be too high: commas within texts count, too."""
    return len(data.translate(None, OTHER_BYTES))


def values_in(data: bytes) -> int:
    """Count the values in JSON. The slow, exact count is made only if there may be many."""
    found = estimate_values(data)
    if found < FEW_VALUES:
        return found
    return len(re.sub(TEXT_IN_JSON, b"", data, flags=re.DOTALL).translate(None, OTHER_BYTES))


def in_memory(text: bytes | bytearray | str) -> int:
    """Give the most bytes that JSON text can take once it is parsed, with the copies of its use.

    A long text counts six times if it is not plain ASCII: one other character can make Python store
    the whole text with four bytes per character.
    """
    if len(text) < LONG_TEXT:
        return len(text)
    escaped = "\\" in text if isinstance(text, str) else b"\\" in text
    return len(text) * (BYTES_PER_LETTER if escaped or not text.isascii() else 1)


def _has_more(data: bytes, most: int) -> bool:
    """Tell whether JSON has more than *most* values; tries the cheapest test first."""
    if len(data) > LONG_TEXT and _has_few(data, most):
        return False
    return estimate_values(data) > most and _more_than(most).match(data) is not None


def _has_few(data: bytes, most: int) -> bool:
    """Tell whether JSON surely has at most *most* values; fast if its texts are long."""
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
    """Compile a pattern for JSON of more than *most* values. It never backtracks."""
    other = rb'[^",\[{]*+'
    return re.compile(
        b"(?:%b(?:%b%b)*+[,\\[{]){%d}+" % (other, TEXT_IN_JSON, other, most + 1), re.DOTALL
    )
