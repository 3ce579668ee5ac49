"""What a streamed body is fed to: the protocol `Decoder`, and two that do not know the API.

`BytesDecoder` takes bytes as they are (a file's download), `LinesDecoder` JSON lines (a batch's
results).
"""

from collections import deque
from typing import Any, Final, Generic, Protocol, TypeVar, cast

from claude_lite.core.limits import PIECE_ITSELF, parse_json
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
    """What a streamed operation's bytes are fed to.

    `begun`: the caller has something to lose by starting over. `complete`: the end was seen.
    `error`: what went wrong, after the items returned so far.
    """

    begun: bool
    complete: bool
    error: ClaudeError | None

    def receive(self, data: bytes, /) -> list[Any]:
        """Take a chunk; return the raw items that it completes. Never raises."""
        ...

    def close(self) -> list[Any]:
        """The body is over; return what that completes. If it is too early, `error` is set."""
        ...

    def fail(self, error: ClaudeError, /) -> None:
        """The body broke off with *error*, which is given what is known so far."""

    def item(self, raw: Any, /) -> E_co:
        """The value that one raw item stands for."""
        ...

    def result(self) -> R_co:
        """All of it, so far."""
        ...


class _Body:
    """A body that is complete when it ends, for the transport knows whether that is too early."""

    def __init__(self, head: Response) -> None:
        self.head = head
        self.begun = False
        self.complete = False
        self.error: ClaudeError | None = None

    def fail(self, error: ClaudeError) -> None:
        """The body broke off with *error*."""
        if self.complete or self.error is not None:
            return
        self.error = error.amend(request_id=error.request_id or self.head.request_id)

    def close(self) -> list[Any]:
        """The body is over."""
        self.complete = self.error is None
        return []


class BytesDecoder(_Body):
    """The decoder of a download. Items are pieces of it, and the result is what was not taken.

    So a download that is read piece by piece is not held, however large it is; one that is not
    may have *max_held* bytes.
    """

    def __init__(self, head: Response, max_held: int | None = None) -> None:
        super().__init__(head)
        self._pieces: deque[bytes] = deque()
        self._limit = max_held
        self._held = 0

    def receive(self, data: bytes) -> list[bytes]:
        """Take a chunk and give it back."""
        self.begun = True
        self._pieces.append(data)
        self._held += len(data) + PIECE_ITSELF
        if self._limit is not None and self._held > self._limit + PIECE_ITSELF:
            what = f"over {self._limit} bytes of a download that is not taken piece by piece"
            self.fail(ResponseTooLarge.past("max_event", self._limit, what))
        return [data]

    def item(self, raw: bytes) -> bytes:
        """A piece, as it is; pieces are taken in their order."""
        self._pieces.popleft()
        self._held -= len(raw) + PIECE_ITSELF
        return raw

    def result(self) -> bytes:
        """All that came, unless pieces were taken."""
        return b"".join(self._pieces)


class LinesDecoder(_Body, Generic[T]):
    """The decoder of JSON lines. Items are of *cls*; only what is being read is held."""

    def __init__(
        self,
        head: Response,
        cls: Any,
        max_line: int | None = None,
        limits: Limits = DEFAULT_LIMITS,
    ) -> None:
        super().__init__(head)
        self._hook = hook_for(cls)
        self._limit = max_line
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
            found = self._parsed((bytes(self._rest) + data[:end]).split(NEWLINE))
            self._rest = bytearray(data[end + 1 :])
        self._check_size(self._rest)
        return found

    def close(self) -> list[dict[str, Any]]:
        """The body is over, and with it its last line, which may lack a line end."""
        last = self._parsed([bytes(self._rest)])
        super().close()
        return last

    def item(self, raw: dict[str, Any]) -> T:
        """The value that one line stands for; it fits, or `receive` would not give it."""
        return cast("T", self._hook(raw))

    def result(self) -> None:
        """Nothing: the lines were to be taken one by one."""

    def _parsed(self, lines: list[bytes]) -> list[dict[str, Any]]:
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
                self.fail(unexpected(self.head, "a line that is not what the API sends"))
            else:
                found.append(item)
                self.begun = True
        return found

    def _check_size(self, line: bytes | bytearray) -> None:
        if self._limit is not None and len(line) > self._limit:
            what = f"a line of over {self._limit} bytes"
            self.fail(ResponseTooLarge.past("max_event", self._limit, what))
