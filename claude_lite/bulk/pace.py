"""How fast to ask, when many ask at once: hold back together where the API says "too fast".

One caller that meets a rate limit waits and tries again. Where dozens share a limit, they would
all come back at the same moment, and all but a few would be refused again. So they share a
`Pace`: a refusal stops everyone until the moment that the API named, and halves how many may
be in flight; each success lets a little more in. Who was refused goes first, the others in
the order in which they came.
"""

import asyncio
from collections.abc import Awaitable, Callable
from heapq import heappop, heappush
from itertools import count

from claude_lite.wire import Clock


class Pace:
    """Admit at most *most* requests at a time. For the tasks of one event loop.

    A turn is `enter`, ask, `leave`; before leaving, say `speed_up` of an answer or `slow_down`
    of a refusal, and after that, having left, wait until it has `resumed`.
    """

    def __init__(self, most: int, clock: Clock, sleep: Callable[[float], Awaitable[None]]) -> None:
        """Start at full speed. *sleep* takes seconds, of which *clock* tells the time."""
        self.limit = float(most)
        self.in_flight = 0
        self._most = most
        self._clock = clock
        self._sleep = sleep
        self._resume_at = clock()
        self._numbers = count()
        self._waiting: list[tuple[bool, int, asyncio.Future[None]]] = []

    async def enter(self, *, again: bool = False) -> None:
        """Wait for a turn; *again*: after a refusal."""
        turn = asyncio.get_running_loop().create_future()
        heappush(self._waiting, (not again, next(self._numbers), turn))
        self._admit()
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():  # it was given a turn in the same moment
                self.leave()
            raise

    def leave(self) -> None:
        """End a turn."""
        self.in_flight -= 1
        self._admit()

    def speed_up(self) -> None:
        """A request was answered: after as many as are let in now, let in one more."""
        self.limit = min(float(self._most), self.limit + 1 / self.limit)

    def slow_down(self, seconds: float) -> None:
        """A request was refused: nobody asks for so long, and then fewer at a time."""
        now = self._clock()
        if now >= self._resume_at:  # else this refusal belongs to the burst before the stop
            self.limit = max(1.0, self.limit / 2)
        self._resume_at = max(self._resume_at, now + seconds)

    async def resumed(self) -> None:
        """Wait until asking is allowed again. Whoever calls `slow_down` has to."""
        while (wait := self._resume_at - self._clock()) > 0:
            await self._sleep(wait)

    def _admit(self) -> None:
        """Let in whoever may enter. Called where that can change, so that nobody has to poll."""
        while (
            self._waiting and self.in_flight < int(self.limit) and self._clock() >= self._resume_at
        ):
            turn = heappop(self._waiting)[-1]
            if not turn.done():
                self.in_flight += 1
                turn.set_result(None)
