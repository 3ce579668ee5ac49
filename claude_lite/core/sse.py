"""Server-sent events: chunks of bytes in, events out.

The WHATWG defines the format (https://html.spec.whatwg.org/multipage/server-sent-events.html):
CR, LF or CRLF ends a line, a byte order mark may come first, `:` begins a comment, several `data`
lines are joined, and a blank line ends an event. U+2028 is text, and does not end a line.

A chunk may end anywhere: the events do not depend on the cuts. The time grows linearly with the
number of bytes. This module does not parse JSON, and knows nothing of messages.
"""

from collections.abc import Iterable, Iterator
from typing import Final

from claude_lite.core.limits import BYTES_PER_LETTER, in_memory
from claude_lite.errors import ResponseTooLarge

BOM: Final = b"\xef\xbb\xbf"


class SSEDecoder:
    """A decoder of server-sent events. Each event is a pair: name and data.

    Attributes:
        buffer: The start of an event whose end has not arrived.

    """

    __slots__ = ("_after_cr", "_limit", "_name", "_prefix", "_searched", "_started", "buffer")

    def __init__(self, max_event: int | None = None) -> None:
        """Make a decoder that refuses events of over *max_event* bytes, counted by `in_memory`."""
        self._limit = max_event
        self.buffer = bytearray()
        self._searched = 0  # up to this index, the buffer has no blank line
        self._started = False  # whether the start, where a byte order mark may be, has been read
        self._after_cr = False  # whether the last chunk ended with CR
        self._prefix, self._name = b"event: \ndata: ", ""  # of the last event; see `_parse_all`

    def receive(self, data: bytes) -> Iterable[tuple[str, bytes]]:
        """Add a chunk, and return the events that are complete now.

        Iterating over the events raises `ResponseTooLarge` in place of an event that is too large.
        """
        if not self._started:
            data = self._without_bom(data)
            if not self._started:
                return []
        if self._after_cr or b"\r" in data:
            data = self._without_cr(data)
        first, data = self._complete_buffer(data) if self.buffer else ([], data)
        *blocks, rest = data.split(b"\n\n") if data else (b"",)
        if rest:
            self.buffer += rest
            self._searched = len(rest) - 1  # the last byte may be the first half of "\n\n"
        longest = max(len(data), len(self.buffer), *map(len, first))
        # Text takes at most six times its bytes in memory: most events need no exact count.
        if self._limit is not None and longest > self._limit // BYTES_PER_LETTER:
            return self._parse_up_to_limit([*first, *blocks], self._limit)
        return self._parse_all([*map(bytes, first), *blocks] if first else blocks)

    def unfinished(self) -> tuple[str, bytes] | None:
        """Return the event that the next blank line would complete; None if there is none."""
        return self._parse(bytes(self.buffer).rstrip(b"\n"))

    def _parse_up_to_limit(
        self, blocks: list[bytes | bytearray], limit: int
    ) -> Iterator[tuple[str, bytes]]:
        """Yield the events before the event that is too large, then raise the error."""
        # A newline at the end of the buffer may belong to the blank line, so it is not counted.
        unfinished = len(self.buffer) - self.buffer.endswith(b"\n")
        blocks.reverse()
        while blocks or unfinished:
            size = in_memory(blocks[-1]) if blocks else unfinished
            if size > limit:
                raise ResponseTooLarge.over_limit(
                    "max_event", limit, f"an event may take over {limit} bytes of memory"
                )
            if not blocks:
                return
            event = self._parse(blocks.pop())  # popped, so that a huge event is freed soon
            if event is not None:
                yield event

    def _without_bom(self, data: bytes) -> bytes:
        data = bytes(self.buffer) + data
        self.buffer.clear()
        if len(data) < len(BOM) and BOM.startswith(data):
            self.buffer += data
            return b""
        self._started = True
        return data.removeprefix(BOM)

    def _without_cr(self, data: bytes) -> bytes:
        """Turn each line end into LF, also a CRLF that is cut between two chunks."""
        if self._after_cr and data:
            data = data.removeprefix(b"\n")
            self._after_cr = False
        self._after_cr = self._after_cr or data.endswith(b"\r")
        return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

    def _complete_buffer(self, data: bytes) -> tuple[list[bytearray], bytes]:
        """Add a chunk to the buffer. Return the complete event, if any, and the bytes after it."""
        buffer = self.buffer
        buffer += data
        end = buffer.find(b"\n\n", self._searched)
        if end < 0:
            self._searched = len(buffer) - 1
            return [], b""
        rest = bytes(buffer[end + 2 :])
        del buffer[end:]  # cut, not copied: the event may be huge
        self.buffer = bytearray()
        return [buffer], rest

    def _parse_all(self, blocks: list[bytes]) -> list[tuple[str, bytes]]:
        """Parse whole blocks.

        Most events have the same name as the previous event, and one line of data. The block of
        such an event starts with the same bytes as the previous block, up to the data, and needs no
        parsing.
        """
        events = []
        prefix, name, start = self._prefix, self._name, len(self._prefix)
        for block in blocks:
            if block.startswith(prefix) and block.find(b"\n", start) < 0:
                events.append((name, block[start:]))
            elif (event := self._parse(block)) is not None:
                events.append(event)
                prefix, name, start = self._prefix, self._name, len(self._prefix)
        return events

    def _parse(self, block: bytes | bytearray) -> tuple[str, bytes] | None:
        if block.startswith(b"event: "):  # the API's layout: "event: NAME\ndata: JSON"
            end = block.find(b"\n", 7)  # both "event: " and "\ndata: " have 7 bytes
            if block.startswith(b"\ndata: ", end) and block.find(b"\n", end + 7) < 0:
                self._prefix = bytes(block[: end + 7])
                self._name = self._prefix[7:end].decode("utf-8", "replace")
                if isinstance(block, bytearray):  # cut, not copied: the event may be huge
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
