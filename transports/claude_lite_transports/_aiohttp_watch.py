"""The time that attempts have to end by, watched by one timer a loop while there are any.

A timer of its own for every request costs more than all else that is done about time.
"""

import asyncio
from collections.abc import Callable
from typing import Final

TICK: Final = 0.1

Expire = Callable[[], None]


class Watch:
    """Ends what is late, a tenth of a second after its time at most."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._due: dict[Expire, float] = {}
        self._ticking = False

    def add(self, expire: Expire, seconds: float) -> None:
        """Have *expire* called in so many seconds."""
        self._due[expire] = self._loop.time() + seconds
        if not self._ticking:
            self._ticking = True
            self._loop.call_later(min(TICK, seconds), self._look)

    def drop(self, expire: Expire) -> None:
        """Forget about *expire*."""
        self._due.pop(expire, None)

    def _look(self) -> None:
        now = self._loop.time()
        for expire in [each for each, when in self._due.items() if when <= now]:
            self.drop(expire)
            expire()
        self._ticking = bool(self._due)
        if self._ticking:
            self._loop.call_later(TICK, self._look)
