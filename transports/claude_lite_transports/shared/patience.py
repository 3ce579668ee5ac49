"""How long an attempt may still take, and how large its body may be, by a request's limits.

It is for transports that have no network to wait for: the emulator's, and those that play fault
scripts. It neither sleeps nor reads a body: it says how long to sleep, and whether a limit passed.
"""

import math
from types import TracebackType
from typing import Final, Self

from claude_lite.errors import ClaudeError, ResponseTooLarge, TimedOut
from claude_lite.wire import DECISIVE, ERROR_BODY_SECONDS, Clock, Limits, Response

LONGEST: Final = 1e8
"""Seconds, three years: stands for a wait without end, which no clock can sleep."""


class Patience:
    """The read and total limits of one attempt."""

    def __init__(self, limits: Limits, clock: Clock) -> None:
        """Begin an attempt with these limits."""
        self._read = math.inf if limits.read is None else limits.read
        self._clock = clock
        self._deadline = math.inf if limits.total is None else clock() + limits.total
        self._silence = 0.0
        self._over = ""

    def see(self, head: Response) -> None:
        """Note the head of the reply: the body of an error gets little time."""
        if head.status >= DECISIVE:
            self._deadline = min(self._deadline, self._clock() + ERROR_BODY_SECONDS)

    def grant(self, seconds: float) -> float:
        """Return how much of a wait the limits allow; call `check` after the wait."""
        left = {"read": self._read - self._silence, "total": self._deadline - self._clock()}
        phase = min(left, key=lambda name: left[name])
        self._silence += seconds
        self._over = phase if left[phase] < seconds else ""
        return max(0.0, min(seconds, left[phase]))

    def check(self) -> None:
        """Raise `TimedOut` if the limits allowed only a part of the last wait."""
        if self._over:
            raise TimedOut(self._over)

    def hear(self) -> None:
        """Note that bytes arrived; raises `TimedOut` if the total limit had passed before."""
        self._silence = 0.0
        if self._clock() > self._deadline:
            raise TimedOut("total")


class Body:
    """A body that is read whole, up to the limit `max_response`.

    Read the body in a `with` block. If the status decides, an error ends the block, and the part of
    the body that came is kept.
    """

    def __init__(self, limits: Limits, head: Response) -> None:
        """Begin an empty body; raises `ResponseTooLarge` if the head announces too much."""
        self._most = math.inf if limits.max_response is None else limits.max_response
        self._chunks: list[bytes] = []
        self._size = 0
        self._status_decides = head.status >= DECISIVE
        announced = head.headers.get("content-length", "")
        self._check(int(announced) if announced.isdecimal() and not self._status_decides else 0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        return self._status_decides and isinstance(error, ClaudeError)

    def add(self, chunk: bytes) -> None:
        """Add a piece; raises `ResponseTooLarge`."""
        self._size += len(chunk)
        self._check(self._size)
        self._chunks.append(chunk)

    def _check(self, size: int) -> None:
        if size > self._most:
            raise ResponseTooLarge.over_max_response(self._most)

    def joined(self) -> bytes:
        """Return the whole body."""
        return b"".join(self._chunks)
