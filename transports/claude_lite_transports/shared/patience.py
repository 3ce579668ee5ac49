"""How long an attempt may still take, and how large its body may be, by a request's limits.

For transports that act out waits instead of waiting for a network. It neither sleeps nor reads
a body: it says for how long to sleep, and whether that was long enough.
"""

import math
from typing import Final

from claude_lite.errors import ResponseTooLarge, TimedOut
from claude_lite.wire import Clock, Limits, Response

LONGEST: Final = 1e8  # seconds; three years stand for "for good", which no clock can sleep


class Patience:
    """The read and total limits of one attempt."""

    def __init__(self, limits: Limits, clock: Clock) -> None:
        """Begin the attempt."""
        self._read = math.inf if limits.read is None else limits.read
        self._clock = clock
        self._deadline = math.inf if limits.total is None else clock() + limits.total
        self._silence = 0.0
        self._over = ""

    def grant(self, seconds: float) -> float:
        """Say how much of a wait there is time for; `check` then says whether it was enough."""
        left = {"read": self._read - self._silence, "total": self._deadline - self._clock()}
        phase = min(left, key=lambda name: left[name])
        self._silence += seconds
        self._over = phase if left[phase] < seconds else ""
        return max(0.0, min(seconds, left[phase]))

    def check(self) -> None:
        """Raise `TimedOut` if the last wait was longer than granted."""
        if self._over:
            raise TimedOut(self._over)

    def hear(self) -> None:
        """Something arrived; raises `TimedOut` if that was after the end of it all."""
        self._silence = 0.0
        if self._clock() > self._deadline:
            raise TimedOut("total")


class Body:
    """A body that is read whole, up to a limit."""

    def __init__(self, limits: Limits, head: Response) -> None:
        """Begin with nothing; raises `ResponseTooLarge` if the head announces too much."""
        self._most = math.inf if limits.max_response is None else limits.max_response
        self._chunks: list[bytes] = []
        self._size = 0
        announced = head.headers.get("content-length", "")
        self._check(int(announced) if announced.isdecimal() else 0)

    def add(self, chunk: bytes) -> None:
        """Take in another piece; raises `ResponseTooLarge`."""
        self._size += len(chunk)
        self._check(self._size)
        self._chunks.append(chunk)

    def _check(self, size: int) -> None:
        if size > self._most:
            raise ResponseTooLarge.whole(self._most)

    def joined(self) -> bytes:
        """Give all of it."""
        return b"".join(self._chunks)
