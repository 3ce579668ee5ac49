"""What can go wrong with one reply, as values that turn good bytes into bad ones.

A `Fault` says what becomes of a reply: another answer, steps before its head, another head, a
`Tamper` for its chunks. Nothing here waits or touches a socket: waits (`Sleep`) and bad ends
(`End`) are steps for whoever drives it. `claude_lite.faults` chooses among the faults, and its
docstring describes them.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Final, Literal

import orjson
from attrs import evolve, frozen

from claude_lite.errors import (
    ConnectionFailed,
    ConnectionLost,
    StreamInterrupted,
    TimedOut,
    TransportError,
)
from claude_lite.faults.error_bodies import ERRORS, error_response
from claude_lite.faults.reading import (
    IS_BODY,
    IS_COUNT,
    IS_HEADERS,
    IS_POSITIVE,
    IS_RATE,
    IS_SECONDS,
    IS_STATUS,
    IS_TEXT,
    checked,
)
from claude_lite.wire import Response, Sleep

EVENT_STREAM: Final = "text/event-stream"


@frozen
class End:
    """The reply ends here, and not as it should.

    `refuse`: no connection; `reset` and `close`: it broke; `stall`: nothing more, ever;
    `truncate`: a well-formed end (the last HTTP chunk is sent), but too early.
    """

    how: Literal["refuse", "reset", "close", "stall", "truncate"]

    def error(self, *, begun: bool) -> TransportError:
        """Build what a transport raises for it; *begun*: the head of the reply had arrived."""
        if self.how == "refuse":
            return ConnectionFailed("connection refused")
        if self.how == "stall":
            return TimedOut("read")
        if begun:
            return StreamInterrupted("the connection broke before the reply was complete")
        return ConnectionLost("the connection broke before the reply")


Step = bytes | Sleep | End


class Tamper:
    """What becomes of the chunks of one reply; this one lets them pass."""

    def receive(self, chunk: bytes) -> list[Step]:
        """Turn a chunk into the steps to act out; after an `End` there are no more."""
        return [chunk]


class Fault:
    """What goes wrong with one reply; this much of it does nothing."""

    sends: ClassVar[bool] = True  # whether the request reaches the server at all

    def response(self, request_id: str) -> Response | None:
        """Answer in the server's place, or return None."""
        del request_id
        return None

    def before(self) -> tuple[Sleep | End, ...]:
        """List the steps before the head; an `End` there means that no head comes."""
        return ()

    def head(self, head: Response) -> Response:
        """Return the head to send instead."""
        return head

    def size(self, size: int) -> int:
        """Return the length to announce for a body of *size* bytes."""
        return size

    def tamper(self, head: Response) -> Tamper:
        """Start on the chunks of the reply that has this head."""
        del head
        return Tamper()


@frozen
class _Refuse(Fault):
    """No connection: nothing is sent. A port can only reset what it has accepted."""

    sends: ClassVar[bool] = False

    def before(self) -> tuple[Sleep | End, ...]:
        return (End("refuse"),)


@frozen
class Placed(Fault, ABC):
    """A fault that strikes at a place in the body, or before the head."""

    must_be_placed: ClassVar[bool] = False
    after_bytes: int | None = checked(IS_COUNT, None)
    after_events: int | None = checked(IS_COUNT, None)

    @property
    def is_placed(self) -> bool:
        """Whether it strikes in the body."""
        return self.after_bytes is not None or self.after_events is not None

    @abstractmethod
    def strike(self, rest: bytes, head: Response | None) -> tuple[Step, ...]:
        """Put these steps in place of *rest*, what is left of the chunk that was struck."""

    def before(self) -> tuple[Sleep | End, ...]:
        """Strike before the head, unless placed."""
        steps = () if self.is_placed else self.strike(b"", None)
        return tuple(step for step in steps if not isinstance(step, bytes))

    def tamper(self, head: Response) -> Tamper:
        """Let the body pass up to the place."""
        return _Strike(self, head) if self.is_placed else Tamper()


@frozen
class _Reset(Placed):
    """The connection is torn down (RST)."""

    def strike(self, rest: bytes, head: Response | None) -> tuple[Step, ...]:
        del rest, head
        return (End("reset"),)


@frozen
class _Close(Placed):
    """The connection ends (FIN) while more was to come."""

    def strike(self, rest: bytes, head: Response | None) -> tuple[Step, ...]:
        del rest, head
        return (End("close"),)


@frozen
class _Stall(Placed):
    """Silence: for some seconds, or for good."""

    seconds: float | None = checked(IS_SECONDS, None)

    def strike(self, rest: bytes, head: Response | None) -> tuple[Step, ...]:
        del head
        if self.seconds is None:
            return (End("stall"),)
        return (Sleep(self.seconds), rest) if rest else (Sleep(self.seconds),)


@frozen
class _Truncate(Placed):
    """The body ends in good order, but too early."""

    must_be_placed: ClassVar[bool] = True

    def size(self, size: int) -> int:
        return size if self.after_bytes is None else min(size, self.after_bytes)

    def strike(self, rest: bytes, head: Response | None) -> tuple[Step, ...]:
        del rest, head
        return (End("truncate"),)


@frozen
class _Error(Placed):
    """An `error` event ends a stream."""

    must_be_placed: ClassVar[bool] = True
    type: str = checked(IS_TEXT, "overloaded_error")
    message: str | None = checked(IS_TEXT, None)

    def tamper(self, head: Response) -> Tamper:
        return super().tamper(head) if _is_stream(head) else Tamper()

    def strike(self, rest: bytes, head: Response | None) -> tuple[Step, ...]:
        del rest
        usual: dict[str, str] = dict(ERRORS.values())
        message = self.message or usual.get(self.type, "Error")
        event = {
            "type": "error",
            "error": {"type": self.type, "message": message},
            "request_id": head.request_id if head else None,
        }
        return (b"event: error\ndata: " + orjson.dumps(event) + b"\n\n", End("truncate"))


@frozen
class _Slow(Fault):
    """The body trickles in small pieces."""

    bytes_per_second: float = checked(IS_RATE)
    chunk: int = checked(IS_POSITIVE, 16)

    def tamper(self, head: Response) -> Tamper:
        del head
        return _Trickle(self)


@frozen
class _Status(Fault):
    """Another answer: by default the API's own error of that status."""

    sends: ClassVar[bool] = False
    status: int = checked(IS_STATUS)
    body: str | Mapping[str, Any] | None = checked(IS_BODY, None)
    retry_after: float | None = checked(IS_SECONDS, None)
    headers: Mapping[str, str | None] | None = checked(IS_HEADERS, None)

    def response(self, request_id: str) -> Response:
        own = error_response(self.status, request_id)
        if isinstance(self.body, str):
            kind = "text/html" if self.body.lstrip().startswith("<") else "text/plain"
            own = Response(self.status, {"content-type": kind}, self.body.encode())
        elif self.body is not None:
            own = evolve(own, body=orjson.dumps(self.body))
        wait = {} if self.retry_after is None else {"retry-after": f"{self.retry_after:g}"}
        return evolve(own, headers=_overlaid(own.headers, {**wait, **(self.headers or {})}))


@frozen
class _Corrupt(Fault):
    """Some bytes of the body are inverted."""

    at: int = checked(IS_COUNT)
    count: int = checked(IS_POSITIVE, 1)

    def tamper(self, head: Response) -> Tamper:
        del head
        return _Invert(self.at, self.at + self.count)


@frozen
class _Headers(Fault):
    """Headers are added, changed or (None) removed."""

    set: Mapping[str, str | None] = checked(IS_HEADERS)

    def head(self, head: Response) -> Response:
        return evolve(head, headers=_overlaid(head.headers, self.set))


def _overlaid(headers: Mapping[str, str], changes: Mapping[str, str | None]) -> dict[str, str]:
    merged = {**headers, **{name.lower(): value for name, value in changes.items()}}
    return {name: value for name, value in merged.items() if value is not None}


def _is_stream(head: Response) -> bool:
    return head.headers.get("content-type", "").startswith(EVENT_STREAM)


class _Strike(Tamper):
    """Let chunks pass up to the place of a fault, whatever way they are cut."""

    BLANK_LINE: ClassVar = re.compile(rb"\n\r?\n")

    def __init__(self, fault: Placed, head: Response) -> None:
        self._fault = fault
        self._head = head
        self._seen = 0  # bytes or events, whichever count
        self._tail = b""
        self._find = self._event if fault.after_bytes is None else self._byte
        self._struck = fault.after_bytes is None and not _is_stream(head)

    def receive(self, chunk: bytes) -> list[Step]:
        cut = None if self._struck else self._find(chunk)
        if cut is None:
            return [chunk]
        self._struck = True
        passed: list[Step] = [chunk[:cut]] if cut else []
        return [*passed, *self._fault.strike(chunk[cut:], self._head)]

    def _byte(self, chunk: bytes) -> int | None:
        cut = (self._fault.after_bytes or 0) - self._seen
        self._seen += len(chunk)
        return cut if cut <= len(chunk) else None

    def _event(self, chunk: bytes) -> int | None:
        if self._fault.after_events == 0:
            return 0
        data = self._tail + chunk
        counted = 0
        for blank in self.BLANK_LINE.finditer(data):
            counted = blank.end()
            self._seen += 1
            if self._seen == self._fault.after_events:
                return counted - len(self._tail)
        self._tail = data[max(counted, len(data) - 2) :]
        return None


class _Trickle(Tamper):
    def __init__(self, fault: _Slow) -> None:
        self._size = fault.chunk
        self._rate = fault.bytes_per_second

    def receive(self, chunk: bytes) -> list[Step]:
        steps: list[Step] = []
        for start in range(0, len(chunk), self._size):
            piece = chunk[start : start + self._size]
            steps += [Sleep(len(piece) / self._rate), piece]
        return steps


class _Invert(Tamper):
    def __init__(self, start: int, stop: int) -> None:
        self._start, self._stop, self._seen = start, stop, 0

    def receive(self, chunk: bytes) -> list[Step]:
        changed = bytearray(chunk)
        for place in range(max(self._start, self._seen), min(self._stop, self._seen + len(chunk))):
            changed[place - self._seen] ^= 0xFF
        self._seen += len(chunk)
        return [bytes(changed)]


FAULT_KINDS: Final[Mapping[str, type[Fault]]] = {
    "refuse": _Refuse,
    "reset": _Reset,
    "close": _Close,
    "stall": _Stall,
    "slow": _Slow,
    "truncate": _Truncate,
    "status": _Status,
    "error": _Error,
    "corrupt": _Corrupt,
    "headers": _Headers,
}
