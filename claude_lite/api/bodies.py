"""Decoders of streamed bodies that are not events: of downloads, and of JSON lines.

`claude_lite.core.bodies` says what a decoder is.
"""

from collections import deque
from contextlib import suppress
from typing import Any, Final, Generic, TypeVar, cast

from claude_lite.core.limits import PIECE_OVERHEAD, parse_json
from claude_lite.core.responses import error_from_envelope, unexpected
from claude_lite.core.sse import SSEDecoder
from claude_lite.core.structure import item_reader
from claude_lite.errors import (
    ClaudeError,
    ResponseTooLarge,
    StreamTruncated,
)
from claude_lite.wire import DEFAULT_LIMITS, Limits, Response

__all__ = ["BytesDecoder", "LinesDecoder"]

T = TypeVar("T")

SSE_FIELDS: Final = (b"event", b"data", b"id", b"retry")
NEWLINE: Final = b"\n"


def no_event_stream(head: Response, events: SSEDecoder) -> ClaudeError | None:
    """Return the error for a body that has no event; None if one may have begun.

    It is the API's error if the body is one, and else an `UnexpectedResponse` with the body.

    Args:
        head: The head of the response.
        events: What has decoded the whole body, and found no event.

    """
    name = bytes(events.buffer).lstrip().partition(b"\n")[0].partition(b":")[0]
    if any(field.startswith(name) for field in SSE_FIELDS):
        return None
    with suppress(ValueError, ResponseTooLarge):
        data = parse_json(bytes(events.buffer))
        if isinstance(data, dict) and data.get("type") == "error":
            return error_from_envelope(data, head)
    return unexpected(head, "the body is no event stream", bytes(events.buffer))


class _SimpleDecoder:
    """Base for bodies without an end mark. The transport reports a connection that ends early."""

    def __init__(self, head: Response) -> None:
        self.head = head
        self.begun = False
        self.complete = False
        self.error: ClaudeError | None = None

    def fail(self, error: ClaudeError) -> None:
        """Keep *error*, unless the body is complete or has failed before."""
        if self.complete or self.error is not None:
            return
        self.error = error.update(request_id=error.request_id or self.head.request_id)

    def close(self) -> list[Any]:
        """End the body."""
        self.complete = self.error is None
        return []


class BytesDecoder(_SimpleDecoder):
    """A decoder of a download. Its items are the chunks; its result is all chunks that are kept.

    A chunk is kept from `receive` until `item` is called with the chunk. So a download of any size
    can be read chunk by chunk. The kept chunks may take `Limits.max_in_memory` bytes together,
    where each chunk after the first counts `PIECE_OVERHEAD` bytes more than its length.

    Args:
        head: The head of the response.
        limits: The limits for the body.

    """

    def __init__(self, head: Response, limits: Limits = DEFAULT_LIMITS) -> None:
        super().__init__(head)
        self._pieces: deque[bytes] = deque()  # the chunks that are kept
        self._limit = limits.max_in_memory
        self._setting = "max_event" if self._limit == limits.max_event else "max_response"
        self._held = 0

    def receive(self, data: bytes) -> list[bytes]:
        """Keep a chunk, and return the chunk as the only raw item."""
        self.begun = True
        self._pieces.append(data)
        self._held += len(data) + PIECE_OVERHEAD
        # Plus PIECE_OVERHEAD, so that one chunk may have exactly as many bytes as the limit.
        if self._limit is not None and self._held > self._limit + PIECE_OVERHEAD:
            what = f"over {self._limit} bytes of the download are unread: iterate over the stream"
            self.fail(ResponseTooLarge.over_limit(self._setting, self._limit, what))
        return [data]

    def item(self, raw: bytes) -> bytes:
        """Remove *raw*, the oldest chunk that is kept, and return *raw*."""
        self._pieces.popleft()
        self._held -= len(raw) + PIECE_OVERHEAD
        return raw

    def result(self) -> bytes:
        """Join the chunks that are kept: the whole download if `item` was never called."""
        return b"".join(self._pieces)


class LinesDecoder(_SimpleDecoder, Generic[T]):
    """A decoder of JSON lines. An item is the model of a line. Lines are not kept: no result.

    A line that does not fit is an item, too: its fields are empty, and `to_dict` returns its JSON,
    or its text if it is not JSON. But a body whose first line is not an object is no such body.

    Args:
        head: The head of the response.
        cls: The model of an item.
        limits: The limits for a line.

    """

    def __init__(self, head: Response, cls: Any, limits: Limits = DEFAULT_LIMITS) -> None:
        super().__init__(head)
        self._read = item_reader(cls)
        self._limit = limits.max_event
        self._limits = limits
        self._rest = bytearray()  # the start of a line whose end has not arrived

    def receive(self, data: bytes) -> list[Any]:
        """Decode a chunk, and return the JSON of the lines that are complete now."""
        end = data.rfind(NEWLINE)
        if end < 0:
            found: list[Any] = []
            self._rest += data
        else:
            found = self._parse_lines((bytes(self._rest) + data[:end]).split(NEWLINE))
            self._rest = bytearray(data[end + 1 :])
        self._check_size(self._rest)
        return found

    def close(self) -> list[Any]:
        """End the body. A last line without a line end is complete now, if it is JSON."""
        last = self._parse_lines([bytes(self._rest)])
        if last and last[0].__class__ is str:
            self.fail(StreamTruncated("the body ended within a line"))
            return []
        super().close()
        return last

    def item(self, raw: Any) -> T:
        """Convert the JSON of a line to *cls*."""
        return cast("T", self._read(raw))

    def result(self) -> None:
        """Return None, because lines are not kept."""

    def unreadable(self, line: bytes, error: ResponseTooLarge) -> Any:  # noqa: ARG002  # for others
        """Return the raw item for a line that is too deep, or has too many values: its text."""
        return line.decode("utf-8", "replace")

    def _parse_lines(self, lines: list[bytes]) -> list[Any]:
        found = []
        for line in lines:
            self._check_size(line)
            if self.error is not None or not line.strip():
                continue
            try:
                item = parse_json(line, self._limits)
            except ResponseTooLarge as error:
                item = self.unreadable(line, error)
            except ValueError:
                item = line.decode("utf-8", "replace")
            if self.begun or line.lstrip().startswith(b"{"):
                found.append(item)
                self.begun = True
            else:
                self.fail(unexpected(self.head, "a line is not a JSON object", line))
        return found

    def _check_size(self, line: bytes | bytearray) -> None:
        if self._limit is not None and len(line) > self._limit:
            what = f"a line has over {self._limit} bytes"
            self.fail(ResponseTooLarge.over_limit("max_event", self._limit, what))
