"""What a reply may cost, and why these numbers. All bounds on replies are explained here.

A server, or whoever stands in between, can send anything: gigabytes, a kilobyte of gzip that
becomes a megabyte, JSON whose two bytes become a hundred in memory, a million levels of lists.
Two promises hold for every reply, on every transport: by default a reply costs no more than
120 MB, and it holds an event loop for no longer than a tenth of a second. `tests/test_bounds.py`
measures both, with replies made to be expensive; the defaults are what the promises leave.

The options of a client (`wire.Limits` has the defaults; None lifts a limit):

- `max_head` (64 KiB), `max_headers` (256): the heads of a reply, interim ones (1xx) and trailers
  included. The transport holds these limits, because it reads the heads.
- `max_response` (8 MiB): a body that is held whole, as it came and once decompressed. The
  transport bounds what comes, `encoding.py` bounds what it decompresses to. One letter that is not
  ASCII lets Python store all of a text with four bytes per letter, so 8 MiB can become 48.
- `max_values` (120,000): the numbers, texts, lists and objects of one reply or event. A value can
  be as short as `0,` and takes up to a hundred bytes as a Python object: 120,000 take 12 MB. Values
  are counted before they are parsed, because nothing can interrupt a parser.
- `max_depth` (250): orjson writes 254 levels, and Python compares, copies and pickles about as
  many before its own limit of recursion.
- `max_event` (40 MiB): one event or line of a stream, and, unless `max_response` is more, the
  message that all events come to. An event is held up to three times for a moment: as it came,
  parsed, and in the message. Its bytes are counted `in_memory`.

What follows from them, without an option:

- A stream whose pieces are all kept may have `KEPT` times `max_values` values, because each event
  brings five values of its own, whatever it says.
- The first `ERROR_BODY` bytes of an error's body are read: the status says enough.
- A chunk is decoded `STRIDE` bytes at a time, and `COMPRESSED_STRIDE` bytes where it is compressed
  (gzip makes up to a thousand bytes out of one), so that an event loop gets its turn in between.
- A body is decompressed `INFLATED_PIECE` bytes at a time, out of at most `DEFLATED_SLICE` bytes,
  because zlib copies what it leaves over.
- A piece of a download counts `PIECE_ITSELF` bytes more than it holds, for the Python object.
"""

import functools
import re
from typing import Any, Final

from claude_lite.core.json_text import TooDeep, loads
from claude_lite.errors import ResponseTooLarge
from claude_lite.wire import DEFAULT_LIMITS, Limits

ERROR_BODY: Final = 1024 * 1024
STRIDE: Final = 32 * 1024
COMPRESSED_STRIDE: Final = 64
INFLATED_PIECE: Final = 1024 * 1024
DEFLATED_SLICE: Final = 32 * 1024
PIECE_ITSELF: Final = 64
KEPT: Final = 3

UNLIMITED_DEPTH: Final = 1 << 30
BEFORE_VALUES: Final = b",[{"  # each value, or pair of an object, has one of these before it
OTHER_BYTES: Final = bytes(set(range(256)) - set(BEFORE_VALUES))
FEW_VALUES: Final = 1000
LONG_TEXT: Final = 1024 * 1024
BYTES_PER_LETTER: Final = 6  # at most: four in memory, and two more for copies of what is escaped
TEXT_IN_JSON: Final = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'


def parse_json(data: bytes, limits: Limits = DEFAULT_LIMITS) -> Any:
    """Parse JSON that a server sent.

    Args:
        data: The JSON text.
        limits: `max_values` and `max_depth` are applied.

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


def check_kept(values: int, limits: Limits) -> None:
    """Raise `ResponseTooLarge` if a stream whose pieces are kept has brought too many *values*."""
    most = limits.max_values
    if most is not None and values > KEPT * most:
        what = f"a stream of over {KEPT:g} times {most} values, all of which are kept"
        raise ResponseTooLarge.past("max_values", most, what)


def most_values(data: bytes) -> int:
    """Count the values in JSON quickly, and some too many: commas within texts count, too."""
    return len(data.translate(None, OTHER_BYTES))


def values_in(data: bytes) -> int:
    """Count the values in JSON. Texts are looked into only if there may be many values."""
    found = most_values(data)
    if found < FEW_VALUES:
        return found
    return len(re.sub(TEXT_IN_JSON, b"", data, flags=re.DOTALL).translate(None, OTHER_BYTES))


def in_memory(text: bytes | bytearray | str) -> int:
    """Give the bytes that JSON text takes at most once it is parsed, copies for its use included.

    A long text counts six times if it is not plain ASCII: one other letter can make Python store
    all of the text with four bytes per letter.
    """
    if len(text) < LONG_TEXT:
        return len(text)
    escaped = "\\" in text if isinstance(text, str) else b"\\" in text
    return len(text) * (BYTES_PER_LETTER if escaped or not text.isascii() else 1)


def _has_more(data: bytes, most: int) -> bool:
    """Whether JSON has more than *most* values, by the cheapest look that can tell."""
    if len(data) > LONG_TEXT and _has_few(data, most):
        return False
    return most_values(data) > most and _more_than(most).match(data) is not None


def _has_few(data: bytes, most: int) -> bool:
    """Whether there can be no more than *most* values; quick in long texts, as most are."""
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
    """Compile what matches JSON of more than *most* values; it stops there, and never goes back."""
    other = rb'[^",\[{]*+'
    return re.compile(
        b"(?:%b(?:%b%b)*+[,\\[{]){%d}+" % (other, TEXT_IN_JSON, other, most + 1), re.DOTALL
    )
