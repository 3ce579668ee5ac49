"""Server-sent events: bytes in, events out.

The rules are those of the WHATWG (https://html.spec.whatwg.org/multipage/server-sent-events.html):
CR, LF and CRLF end a line, a byte order mark may lead, `:` begins a comment, several `data`
lines join, a blank line sends the event off. Bytes may be cut anywhere; what comes out is the
same. U+2028 is text. Work is linear in the bytes, however they are cut.

It does not parse JSON, and knows nothing about messages.
"""

from typing import Final

from claude_lite.errors import ResponseTooLarge

BOM: Final = b"\xef\xbb\xbf"


class SSEDecoder:
    """Feed it chunks; it returns the events that they complete, as (event name, data)."""

    __slots__ = ("_after_cr", "_buffer", "_limit", "_scanned", "_started")

    def __init__(self, max_event: int | None = None) -> None:
        """No event, finished or not, may be longer than *max_event* bytes."""
        self._limit = max_event
        self._buffer = bytearray()
        self._scanned = 0  # the buffer has no blank line that ends before this
        self._started = False
        self._after_cr = False

    @property
    def pending(self) -> bool:
        """Whether the bytes so far end inside an event."""
        return any(not line.startswith(b":") for line in self._buffer.split(b"\n") if line)

    def receive(self, data: bytes) -> list[tuple[str, bytes]]:
        """Take a chunk; raises `ResponseTooLarge` for an event past the limit."""
        if not self._started:
            data = self._without_bom(data)
            if not self._started:
                return []
        if self._after_cr or b"\r" in data:
            data = self._without_cr(data)
        if self._buffer:
            data = self._joined(data)
        *blocks, rest = data.split(b"\n\n") if data else (b"",)
        if rest:
            self._keep(rest)
        return [event for block in blocks if (event := self._parse(block)) is not None]

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

    def _joined(self, data: bytes) -> bytes:
        """Add to the buffer, and take out all that is complete in it."""
        buffer = self._buffer
        buffer += data
        end = buffer.rfind(b"\n\n", self._scanned)
        if end < 0:
            self._scanned = len(buffer) - 1
            self._check(len(buffer))
            return b""
        complete = bytes(buffer[: end + 2])
        rest = bytes(buffer[end + 2 :])
        buffer.clear()
        return complete + rest

    def _keep(self, rest: bytes) -> None:
        self._buffer += rest
        self._scanned = len(rest) - 1
        self._check(len(rest))

    def _check(self, size: int) -> None:
        if self._limit is not None and size > self._limit:
            raise ResponseTooLarge(
                f"an event of over {self._limit} bytes", advice="Raise max_event to allow it."
            )

    def _parse(self, block: bytes) -> tuple[str, bytes] | None:
        self._check(len(block))
        if block.startswith(b"event: "):  # the API's own layout, in one step
            end = block.find(b"\n", 7)
            if block.startswith(b"\ndata: ", end) and block.find(b"\n", end + 7) < 0:
                return block[7:end].decode("utf-8", "replace"), block[end + 7 :]
        name, lines = b"", []
        for line in block.split(b"\n"):
            key, _, value = line.partition(b":")
            if key == b"data":
                lines.append(value.removeprefix(b" "))
            elif key == b"event":
                name = value.removeprefix(b" ")
        return (name.decode("utf-8", "replace"), b"\n".join(lines)) if lines else None
