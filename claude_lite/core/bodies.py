"""Decoders of streamed bodies: the protocol `Decoder`, a decoder of downloads, one of JSON lines.

A decoder does no I/O. An exchange calls it with the chunks of a body. Four words are used with a
fixed meaning:

- A chunk is some bytes of the body, as the transport read them.
- A raw item is a unit of the body: the parsed JSON of an event or line, or the bytes of a chunk.
- An item is the value that the caller gets for a raw item, such as a model.
- The result is one value for the whole body, such as the message that all events make.
"""

from collections import deque
from typing import Any, Final, Generic, Protocol, TypeVar, cast

from claude_lite.core.limits import PIECE_OVERHEAD, parse_json
from claude_lite.core.responses import unexpected
from claude_lite.core.structure import reader_for
from claude_lite.errors import ClaudeError, ResponseTooLarge
from claude_lite.wire import DEFAULT_LIMITS, Limits, Response

__all__ = ["BytesDecoder", "Decoder", "LinesDecoder"]

T = TypeVar("T")
E_co = TypeVar("E_co", covariant=True)
R_co = TypeVar("R_co", covariant=True)

NEWLINE: Final = b"\n"


class Decoder(Protocol[E_co, R_co]):
    """A decoder of one streamed body: chunks in, items out, and a result.

    Attributes:
        begun: Whether content has arrived. After the first content a broken stream is not
            restarted, because the caller may have used the content (unless it is collected).
        complete: Whether the whole body has arrived.
        error: The error that ended the body early, or None. The items that were returned before
            it are still valid: the caller gets them first.

    """

    begun: bool
    complete: bool
    error: ClaudeError | None

    def receive(self, data: bytes, /) -> list[Any]:
        """Decode a chunk of the body. Never raises: an error is kept in `error`.

        Args:
            data: The chunk. A chunk may end anywhere, also within an item.

        Returns:
            The raw items that the chunk completes, in order.

        """
        ...

    def close(self) -> list[Any]:
        """End the body, and set `error` if the end came too early.

        Returns:
            The raw items that the end completes, in order.

        """
        ...

    def fail(self, error: ClaudeError, /) -> None:
        """Keep *error* in `error`, as the reason why the body ended early.

        Args:
            error: The error. The decoder adds the known facts to *error*, such as the request id.

        """

    def item(self, raw: Any, /) -> E_co:
        """Convert a raw item to the item for the caller. Called once per raw item, in order.

        Args:
            raw: A raw item, as `receive` or `close` returned it.

        """
        ...

    def result(self) -> R_co:
        """Return one value for all of the body that has arrived so far."""
        ...


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

    Args:
        head: The head of the response.
        cls: The model of an item.
        limits: The limits for a line.

    """

    def __init__(self, head: Response, cls: Any, limits: Limits = DEFAULT_LIMITS) -> None:
        super().__init__(head)
        self._read = reader_for(cls)
        self._limit = limits.max_event
        self._limits = limits
        self._rest = bytearray()  # the start of a line whose end has not arrived

    def receive(self, data: bytes) -> list[dict[str, Any]]:
        """Decode a chunk, and return the objects of the lines that are complete now."""
        end = data.rfind(NEWLINE)
        if end < 0:
            found = []
            self._rest += data
        else:
            found = self._parse_lines((bytes(self._rest) + data[:end]).split(NEWLINE))
            self._rest = bytearray(data[end + 1 :])
        self._check_size(self._rest)
        return found

    def close(self) -> list[dict[str, Any]]:
        """End the body. A last line without a line end is complete now."""
        last = self._parse_lines([bytes(self._rest)])
        super().close()
        return last

    def item(self, raw: dict[str, Any]) -> T:
        """Convert the object of a line to *cls*. `receive` has already checked the object."""
        return cast("T", self._read(raw))

    def result(self) -> None:
        """Return None, because lines are not kept."""

    def _parse_lines(self, lines: list[bytes]) -> list[dict[str, Any]]:
        found = []
        for line in lines:
            self._check_size(line)
            if self.error is not None or not line.strip():
                continue
            try:
                item = parse_json(line, self._limits)
                self._read({**item})  # checks the shape; a copy, because a model keeps its object
            except ResponseTooLarge as error:
                self.fail(error)
            except (ValueError, TypeError):
                self.fail(unexpected(self.head, "a line is not JSON of the right shape"))
            else:
                found.append(item)
                self.begun = True
        return found

    def _check_size(self, line: bytes | bytearray) -> None:
        if self._limit is not None and len(line) > self._limit:
            what = f"a line has over {self._limit} bytes"
            self.fail(ResponseTooLarge.over_limit("max_event", self._limit, what))
