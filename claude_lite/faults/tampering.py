"""Faults of one reply, as values that change its head and its bytes.

A `Fault` can give another answer, put steps before the head, change the head, and make a
`Tamper` that changes the chunks of the body. Nothing here waits or touches a socket: waits
(`Sleep`) and broken ends (`End`) are steps for the driver (the emulator's server, or a
transport). `claude_lite.faults.script` describes the faults and chooses among them.
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
    """The broken end of a reply.

    Attributes:
        how: `refuse`: no connection is made. `reset` and `close`: the connection breaks.
            `stall`: nothing more is sent. `truncate`: the reply ends well-formed (the last HTTP
            chunk is sent), but too early.

    """

    how: Literal["refuse", "reset", "close", "stall", "truncate"]

    def error(self, *, begun: bool) -> TransportError:
        """Build the error that a transport raises for this end.

        Args:
            begun: Whether the head of the reply had arrived.

        """
        if self.how == "refuse":
            return ConnectionFailed("connection refused")
        if self.how == "stall":
            return TimedOut("read")
        if begun:
            return StreamInterrupted("the connection broke before the reply was complete")
        return ConnectionLost("the connection broke before the reply")


Step = bytes | Sleep | End


class Tamper:
    """Changes the chunks of one reply; this base class changes nothing."""

    def receive(self, chunk: bytes) -> list[Step]:
        """Return the steps to act out for a chunk; an `End` is the last step of a reply.

        Args:
            chunk: The next bytes of the body.

        """
        return [chunk]


class Fault:
    """A fault of one reply; this base class changes nothing."""

    sends: ClassVar[bool] = True  # whether the request reaches the server

    def response(self, request_id: str) -> Response | None:
        """Return an answer in place of the server's, or None."""
        del request_id
        return None

    def before(self) -> tuple[Sleep | End, ...]:
        """Return the steps before the head; if one is an `End`, no head comes."""
        return ()

    def head(self, head: Response) -> Response:
        """Return the head to send in place of *head*."""
        return head

    def size(self, size: int) -> int:
        """Return the length to announce for a body of *size* bytes."""
        return size

    def tamper(self, head: Response) -> Tamper:
        """Make the `Tamper` for the reply with this head."""
        del head
        return Tamper()


@frozen
class _Refuse(Fault):
    """No connection: nothing is sent. A server can only reset a connection it has accepted."""

    sends: ClassVar[bool] = False

    def before(self) -> tuple[Sleep | End, ...]:
        return (End("refuse"),)


@frozen
class Placed(Fault, ABC):
    """A fault at a place in the body, or before the head."""

    must_be_placed: ClassVar[bool] = False
    after_bytes: int | None = checked(IS_COUNT, None)
    after_events: int | None = checked(IS_COUNT, None)

    @property
    def is_placed(self) -> bool:
        """Whether the fault has a place in the body."""
        return self.after_bytes is not None or self.after_events is not None

    @abstractmethod
    def strike(self, rest: bytes, head: Response | None) -> tuple[Step, ...]:
        """Return the steps in place of *rest*, the rest of the chunk at the place of the fault."""

    def before(self) -> tuple[Sleep | End, ...]:
        """Return the steps of a fault that has no place in the body."""
        steps = () if self.is_placed else self.strike(b"", None)
        return tuple(step for step in steps if not isinstance(step, bytes))

    def tamper(self, head: Response) -> Tamper:
        """Let the body pass up to the place of the fault."""
        return _Strike(self, head) if self.is_placed else Tamper()


@frozen
class _Reset(Placed):
    """The connection is reset (RST)."""

    def strike(self, rest: bytes, head: Response | None) -> tuple[Step, ...]:
        del rest, head
        return (End("reset"),)


@frozen
class _Close(Placed):
    """The connection is closed (FIN) before the body is complete."""

    def strike(self, rest: bytes, head: Response | None) -> tuple[Step, ...]:
        del rest, head
        return (End("close"),)


@frozen
class _Stall(Placed):
    """Nothing is sent for some seconds, or for ever."""

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
    """The body comes slowly, in small pieces."""

    bytes_per_second: float = checked(IS_RATE)
    chunk: int = checked(IS_POSITIVE, 16)

    def tamper(self, head: Response) -> Tamper:
        del head
        return _Trickle(self)


@frozen
class _Status(Fault):
    """Another answer: by default the API's error of that status."""

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
    """Lets chunks pass up to the place of a fault, wherever the chunks are cut."""

    BLANK_LINE: ClassVar = re.compile(rb"\n\r?\n")

    def __init__(self, fault: Placed, head: Response) -> None:
        self._fault = fault
        self._head = head
        self._seen = 0  # bytes or events
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
