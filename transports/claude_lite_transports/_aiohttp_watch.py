"""The time that attempts have to end by, watched by one timer a loop while there are any.

A timer of its own for every request costs more than all else that is done about time.
"""

import asyncio
from typing import Final, Protocol

TICK: Final = 0.1


class Timed(Protocol):
    """What has to end by some time."""

    def expire(self) -> None:
        """End: the time is over."""
        ...


class Watch:
    """Ends what is late, a tenth of a second after its time at most."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._due: dict[Timed, float] = {}
        self._ticking = False

    def add(self, timed: Timed, seconds: float) -> None:
        """Have *timed* end in so many seconds."""
        self._due[timed] = self._loop.time() + seconds
        if not self._ticking:
            self._ticking = True
            self._loop.call_later(min(TICK, seconds), self._look)

    def drop(self, timed: Timed) -> None:
        """Forget about *timed*."""
        self._due.pop(timed, None)

    def _look(self) -> None:
        now = self._loop.time()
        for timed in [each for each, when in self._due.items() if when <= now]:
            self.drop(timed)
            timed.expire()
        self._ticking = bool(self._due)
        if self._ticking:
            self._loop.call_later(TICK, self._look)
