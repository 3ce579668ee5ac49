"""Server-sent events: bytes in, events out.

The rules are those of the WHATWG (https://html.spec.whatwg.org/multipage/server-sent-events.html):
CR, LF and CRLF end a line, a byte order mark may lead, `:` begins a comment, several `data`
lines join, a blank line sends the event off. Bytes may be cut anywhere; what comes out is the
same. U+2028 is text. Work is linear in the bytes, however they are cut.

It does not parse JSON, and knows nothing about messages.
"""

from collections.abc import Iterable, Iterator
from typing import Final

from claude_lite.core.limits import BYTES_PER_LETTER, in_memory
from claude_lite.errors import ResponseTooLarge

BOM: Final = b"\xef\xbb\xbf"


class SSEDecoder:
    """Feed it chunks; it returns the events that they complete, as (event name, data)."""

    __slots__ = ("_after_cr", "_buffer", "_head", "_limit", "_name", "_scanned", "_started")

    def __init__(self, max_event: int | None = None) -> None:
        """No event, finished or not, may take more than *max_event* bytes `in_memory`."""
        self._limit = max_event
        self._buffer = bytearray()
        self._scanned = 0  # the buffer has no blank line that ends before this
        self._started = False
        self._after_cr = False
        self._head, self._name = b"event: \ndata: ", ""

    def receive(self, data: bytes) -> Iterable[tuple[str, bytes]]:
        """Take a chunk; iterating raises `ResponseTooLarge` where an event is past the limit."""
        if not self._started:
            data = self._without_bom(data)
            if not self._started:
                return []
        if self._after_cr or b"\r" in data:
            data = self._without_cr(data)
        first, data = self._joined(data) if self._buffer else ([], data)
        *blocks, rest = data.split(b"\n\n") if data else (b"",)
        if rest:
            self._buffer += rest
            self._scanned = len(rest) - 1
        longest = max(len(data), len(self._buffer), *map(len, first))
        if self._limit is not None and longest > self._limit // BYTES_PER_LETTER:
            return self._up_to_limit([*first, *blocks], self._limit)
        return self._events([*map(bytes, first), *blocks] if first else blocks)

    def _up_to_limit(
        self, blocks: list[bytes | bytearray], limit: int
    ) -> Iterator[tuple[str, bytes]]:
        """The events before the one that is too long, and then the error."""
        unfinished = len(self._buffer) - self._buffer.endswith(b"\n")  # half a blank line
        blocks.reverse()
        while blocks or unfinished:
            size = in_memory(blocks[-1]) if blocks else unfinished
            if size > limit:
                raise ResponseTooLarge.past("max_event", limit, f"an event of over {limit} bytes")
            if not blocks:
                return
            event = self._parse(blocks.pop())  # not held here any longer, as it may be huge
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
        """Make every line end a LF; a CR at the end of one chunk may pair with the next."""
        if self._after_cr and data:
            data = data.removeprefix(b"\n")
            self._after_cr = False
        self._after_cr = self._after_cr or data.endswith(b"\r")
        return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

    def _joined(self, data: bytes) -> tuple[list[bytearray], bytes]:
        """Add to the buffer; the event that this completes, if it does, and what comes after."""
        buffer = self._buffer
        buffer += data
        end = buffer.find(b"\n\n", self._scanned)
        if end < 0:
            self._scanned = len(buffer) - 1
            return [], b""
        rest = bytes(buffer[end + 2 :])
        del buffer[end:]  # it may be huge, and is not copied
        self._buffer = bytearray()
        return [buffer], rest

    def _events(self, blocks: list[bytes]) -> list[tuple[str, bytes]]:
        """The events of whole blocks, of which most begin like the one before them."""
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
        if block.startswith(b"event: "):  # the API's own layout; the next event may begin alike
            end = block.find(b"\n", 7)
            if block.startswith(b"\ndata: ", end) and block.find(b"\n", end + 7) < 0:
                self._head = bytes(block[: end + 7])
                self._name = self._head[7:end].decode("utf-8", "replace")
                if isinstance(block, bytearray):  # it may be huge, and is not copied
                    del block[: end + 7]
                    return self._name, block  # type: ignore[return-value]  # it reads as bytes do
                return self._name, block[end + 7 :]
        name, lines = b"", []
        for line in bytes(block).split(b"\n"):
            key, _, value = line.partition(b":")
            if key == b"data":
                lines.append(value.removeprefix(b" "))
            elif key == b"event":
                name = value.removeprefix(b" ")
        return (name.decode("utf-8", "replace"), b"\n".join(lines)) if lines else None
