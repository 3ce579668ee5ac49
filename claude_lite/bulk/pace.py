"""Slow down many requests together when the API answers with a rate limit.

A single request that meets a rate limit waits and tries again. If dozens of requests that share
a limit did that, all would come back at the same moment, and most would be refused again. So
they share a `Pace`. A refusal stops all requests until the time that the API named, and halves
the number that may be in flight; each success raises the number a little. Requests that were
refused go first; the others go in the order in which they came.
"""

import asyncio
from collections.abc import Awaitable, Callable
from heapq import heappop, heappush
from itertools import count

from claude_lite.wire import Clock


class Pace:
    """The number of requests that may be in flight, for the tasks of one event loop.

    A task awaits `enter`, makes its request, and calls `leave`. Before `leave` it calls
    `speed_up` after an answer, or `slow_down` after a refusal. After a refusal and `leave`, it
    awaits `resumed` before it enters again.
    """

    def __init__(self, most: int, clock: Clock, sleep: Callable[[float], Awaitable[None]]) -> None:
        """Start with the largest number.

        Args:
            most: The largest number of requests in flight.
            clock: A function that returns the time, in seconds.
            sleep: A coroutine function that sleeps for a number of seconds of *clock*.

        """
        self.limit = float(most)
        self.in_flight = 0
        self._most = most
        self._clock = clock
        self._sleep = sleep
        self._resume_at = clock()
        self._numbers = count()
        self._waiting: list[tuple[bool, int, asyncio.Future[None]]] = []

    async def enter(self, *, again: bool = False) -> None:
        """Wait until a request may be made; *again* says that the request was refused before."""
        turn = asyncio.get_running_loop().create_future()
        heappush(self._waiting, (not again, next(self._numbers), turn))
        self._admit()
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():  # the turn was given and the task cancelled at once
                self.leave()
            raise

    def leave(self) -> None:
        """Note that a request has ended."""
        self.in_flight -= 1
        self._admit()

    def speed_up(self) -> None:
        """Note an answer. After as many answers as `limit`, the limit has grown by one."""
        self.limit = min(float(self._most), self.limit + 1 / self.limit)

    def slow_down(self, seconds: float) -> None:
        """Note a refusal: stop all requests for *seconds*, then allow half as many in flight."""
        now = self._clock()
        if now >= self._resume_at:  # else it is of the burst that was refused before
            self.limit = max(1.0, self.limit / 2)
        self._resume_at = max(self._resume_at, now + seconds)

    async def resumed(self) -> None:
        """Wait until requests may be made again. Every task that calls `slow_down` has to wait."""
        while (wait := self._resume_at - self._clock()) > 0:
            await self._sleep(wait)

    def _admit(self) -> None:
        """Wake the tasks that may enter. It is called when their number may change: no polling."""
        while (
            self._waiting and self.in_flight < int(self.limit) and self._clock() >= self._resume_at
        ):
            turn = heappop(self._waiting)[-1]
            if not turn.done():
                self.in_flight += 1
                turn.set_result(None)
