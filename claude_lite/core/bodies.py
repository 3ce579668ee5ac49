"""Decoders of streamed bodies: the protocol `Decoder`, and two decoders for any API.

`BytesDecoder` gives the bytes of a download unchanged. `LinesDecoder` reads JSON lines, such as the
results of a batch. Decoders do no I/O: an exchange feeds them the chunks of a body.
"""

from collections import deque
from typing import Any, Final, Generic, Protocol, TypeVar, cast

from claude_lite.core.limits import PIECE_OVERHEAD, parse_json
from claude_lite.core.responses import unexpected
from claude_lite.core.structure import hook_for
from claude_lite.errors import ClaudeError, ResponseTooLarge
from claude_lite.wire import DEFAULT_LIMITS, Limits, Response

__all__ = ["BytesDecoder", "Decoder", "LinesDecoder"]

T = TypeVar("T")
E_co = TypeVar("E_co", covariant=True)
R_co = TypeVar("R_co", covariant=True)

NEWLINE: Final = b"\n"


class Decoder(Protocol[E_co, R_co]):
    """A reader of one streamed body: chunks in, items out, and a result.

    Attributes:
        begun: Whether the body has brought content. From then on a stream is not started over,
            because the caller may have used the content.
        complete: Whether the body has brought its end.
        error: What went wrong after the items returned so far; None if nothing went wrong.

    """

    begun: bool
    complete: bool
    error: ClaudeError | None

    def receive(self, data: bytes, /) -> list[Any]:
        """Take a chunk of the body. Raises nothing: what goes wrong is put into `error`.

        Args:
            data: The chunk; it may end anywhere, also within an item.

        Returns:
            The raw items that the chunk completes, in order.

        """
        ...

    def close(self) -> list[Any]:
        """Take the end of the body, and set `error` if the body ends too early.

        Returns:
            The raw items that the end completes, in order.

        """
        ...

    def fail(self, error: ClaudeError, /) -> None:
        """Take the error with which the body broke off, and keep it as `error`.

        Args:
            error: The error. The decoder adds to it what is known so far, such as the request id.

        """

    def item(self, raw: Any, /) -> E_co:
        """Turn a raw item into the value for the caller. Called once per raw item, in order.

        Args:
            raw: A raw item, as `receive` or `close` returned it.

        """
        ...

    def result(self) -> R_co:
        """Give all that the body has brought so far, as one value."""
        ...


class _Body:
    """Base for a body that is complete when it ends: the transport reports an end too early."""

    def __init__(self, head: Response) -> None:
        self.head = head
        self.begun = False
        self.complete = False
        self.error: ClaudeError | None = None

    def fail(self, error: ClaudeError) -> None:
        """Keep the error with which the body broke off, unless the body has ended or failed."""
        if self.complete or self.error is not None:
            return
        self.error = error.amend(request_id=error.request_id or self.head.request_id)

    def close(self) -> list[Any]:
        """Take the end of the body."""
        self.complete = self.error is None
        return []


class BytesDecoder(_Body):
    """The decoder of a download. Its items are pieces; its result is all pieces that wait.

    A piece waits from `receive` until `item` takes it. So a download of any size can be read piece
    by piece. Pieces that nobody takes may have `Limits.max_whole` bytes together.

    Args:
        head: The head of the response.
        limits: The limits for the body.

    """

    def __init__(self, head: Response, limits: Limits = DEFAULT_LIMITS) -> None:
        super().__init__(head)
        self._pieces: deque[bytes] = deque()
        self._limit = limits.max_whole
        self._held = 0

    def receive(self, data: bytes) -> list[bytes]:
        """Take a chunk and return it as a piece."""
        self.begun = True
        self._pieces.append(data)
        self._held += len(data) + PIECE_OVERHEAD
        if self._limit is not None and self._held > self._limit + PIECE_OVERHEAD:
            what = f"a download of over {self._limit} bytes that is not read piece by piece"
            self.fail(ResponseTooLarge.past("max_event", self._limit, what))
        return [data]

    def item(self, raw: bytes) -> bytes:
        """Take the piece that has waited longest, which is *raw*."""
        self._pieces.popleft()
        self._held -= len(raw) + PIECE_OVERHEAD
        return raw

    def result(self) -> bytes:
        """Join the pieces that wait: the whole download if `item` took none."""
        return b"".join(self._pieces)


class LinesDecoder(_Body, Generic[T]):
    """The decoder of JSON lines. It holds only the line being read, and gives no result.

    Args:
        head: The head of the response.
        cls: The model of an item, which is a line.
        limits: The limits for a line.

    """

    def __init__(self, head: Response, cls: Any, limits: Limits = DEFAULT_LIMITS) -> None:
        super().__init__(head)
        self._hook = hook_for(cls)
        self._limit = limits.max_event
        self._limits = limits
        self._rest = bytearray()

    error: ClaudeError | None

    def receive(self, data: bytes) -> list[dict[str, Any]]:
        """Take a chunk and return the objects whose lines it completes."""
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
        """Take the end of the body: it completes a last line that has no line end."""
        last = self._parse_lines([bytes(self._rest)])
        super().close()
        return last

    def item(self, raw: dict[str, Any]) -> T:
        """Turn the object of a line into a *cls*. It fits, because `receive` has checked it."""
        return cast("T", self._hook(raw))

    def result(self) -> None:
        """Give None: only single lines can be taken."""

    def _parse_lines(self, lines: list[bytes]) -> list[dict[str, Any]]:
        found = []
        for line in lines:
            self._check_size(line)
            if self.error is not None or not line.strip():
                continue
            try:
                item = parse_json(line, self._limits)
                self._hook({**item})
            except ResponseTooLarge as error:
                self.fail(error)
            except (ValueError, TypeError):
                self.fail(unexpected(self.head, "a line that is not JSON of the right shape"))
            else:
                found.append(item)
                self.begun = True
        return found

    def _check_size(self, line: bytes | bytearray) -> None:
        if self._limit is not None and len(line) > self._limit:
            what = f"a line of over {self._limit} bytes"
            self.fail(ResponseTooLarge.past("max_event", self._limit, what))
