"""Server-sent events: chunks of bytes in, events out.

The format is that of the WHATWG (https://html.spec.whatwg.org/multipage/server-sent-events.html):
CR, LF or CRLF ends a line, a byte order mark may come first, `:` begins a comment, several `data`
lines are joined, and a blank line ends an event. U+2028 is text, and does not end a line.

Chunks may end anywhere; the events are the same, and the work grows linearly with the bytes. This
module does not parse JSON, and knows nothing of messages.
"""

from collections.abc import Iterable, Iterator
from typing import Final

from claude_lite.core.limits import BYTES_PER_LETTER, in_memory
from claude_lite.errors import ResponseTooLarge

BOM: Final = b"\xef\xbb\xbf"


class SSEDecoder:
    """A decoder of server-sent events. It gives an event as a pair: its name and its data."""

    __slots__ = ("_after_cr", "_buffer", "_head", "_limit", "_name", "_scanned", "_started")

    def __init__(self, max_event: int | None = None) -> None:
        """Make a decoder of events of at most *max_event* bytes, counted by `in_memory`."""
        self._limit = max_event
        self._buffer = bytearray()
        self._scanned = 0  # no blank line ends before this index of the buffer
        self._started = False
        self._after_cr = False
        self._head, self._name = b"event: \ndata: ", ""

    def receive(self, data: bytes) -> Iterable[tuple[str, bytes]]:
        """Take a chunk and give the events that it completes.

        Iterating over the events raises `ResponseTooLarge` in place of an event that is too large.
        """
        if not self._started:
            data = self._without_bom(data)
            if not self._started:
                return []
        if self._after_cr or b"\r" in data:
            data = self._without_cr(data)
        first, data = self._complete_buffer(data) if self._buffer else ([], data)
        *blocks, rest = data.split(b"\n\n") if data else (b"",)
        if rest:
            self._buffer += rest
            self._scanned = len(rest) - 1
        longest = max(len(data), len(self._buffer), *map(len, first))
        if self._limit is not None and longest > self._limit // BYTES_PER_LETTER:
            return self._parse_up_to_limit([*first, *blocks], self._limit)
        return self._parse_all([*map(bytes, first), *blocks] if first else blocks)

    def _parse_up_to_limit(
        self, blocks: list[bytes | bytearray], limit: int
    ) -> Iterator[tuple[str, bytes]]:
        """Yield the events before the event that is too large, then raise the error."""
        # A line end that may be half of a blank line does not count.
        unfinished = len(self._buffer) - self._buffer.endswith(b"\n")
        blocks.reverse()
        while blocks or unfinished:
            size = in_memory(blocks[-1]) if blocks else unfinished
            if size > limit:
                raise ResponseTooLarge.over_limit(
                    "max_event", limit, f"an event of over {limit} bytes"
                )
            if not blocks:
                return
            event = self._parse(blocks.pop())  # removed here at once: it may be huge
            if event is not None:
                yield event

    def _without_bom(self, data: bytes) -> bytes:
        data = bytes(self._buffer) + data
        self._buffer.clear()
        if len(data) < len(BOM) and BOM.startswith(data):
            self._buffer += data
            return b""
        self._started = True
        return data.removeprefix(BOM)

    def _without_cr(self, data: bytes) -> bytes:
        """Turn every line end into LF, also a CRLF that is cut between two chunks."""
        if self._after_cr and data:
            data = data.removeprefix(b"\n")
            self._after_cr = False
        self._after_cr = self._after_cr or data.endswith(b"\r")
        return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

    def _complete_buffer(self, data: bytes) -> tuple[list[bytearray], bytes]:
        """Add a chunk to the buffer. Give the event that it completes, if any, and the rest."""
        buffer = self._buffer
        buffer += data
        end = buffer.find(b"\n\n", self._scanned)
        if end < 0:
            self._scanned = len(buffer) - 1
            return [], b""
        rest = bytes(buffer[end + 2 :])
        del buffer[end:]  # the event is not copied: it may be huge
        self._buffer = bytearray()
        return [buffer], rest

    def _parse_all(self, blocks: list[bytes]) -> list[tuple[str, bytes]]:
        """Parse whole blocks. Most blocks begin with the same bytes as the block before them."""
        events = []
        head, name, start = self._head, self._name, len(self._head)
        for block in blocks:
            if block.startswith(head) and block.find(b"\n", start) < 0:
                events.append((name, block[start:]))
            elif (event := self._parse(block)) is not None:
                events.append(event)
                head, name, start = self._head, self._name, len(self._head)
        return events

    def _parse(self, block: bytes | bytearray) -> tuple[str, bytes] | None:
        if block.startswith(b"event: "):  # the API's layout: most events begin alike
            end = block.find(b"\n", 7)
            if block.startswith(b"\ndata: ", end) and block.find(b"\n", end + 7) < 0:
                self._head = bytes(block[: end + 7])
                self._name = self._head[7:end].decode("utf-8", "replace")
                if isinstance(block, bytearray):  # not copied: it may be huge
                    del block[: end + 7]
                    return self._name, block  # type: ignore[return-value]  # used like bytes
                return self._name, block[end + 7 :]
        name, lines = b"", []
        for line in bytes(block).split(b"\n"):
            key, _, value = line.partition(b":")
            if key == b"data":
                lines.append(value.removeprefix(b" "))
            elif key == b"event":
                name = value.removeprefix(b" ")
        return (name.decode("utf-8", "replace"), b"\n".join(lines)) if lines else None
