"""The share of one event loop in the places of a transport.

It remembers how many places its loop has taken, and gives them all back when the loop is closed
before its calls have ended.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from math import inf

from claude_lite_transports.shared.places import Places


class Share:
    """The places that one event loop has taken."""

    def __init__(self, places: Places) -> None:
        self.places = places
        self._loop = asyncio.get_running_loop()
        self._taken = self._waiting = 0

    @property
    def in_use(self) -> bool:
        """Whether a call of this loop has a place, or waits for one."""
        return self._taken + self._waiting > 0

    def take(self) -> bool:
        """Take a place if one is free and nobody waits."""
        if self.places.take():
            self._taken += 1
            return True
        return False

    async def wait(self, end: float) -> None:
        """Wait for a place until *end*, in the loop's time; raises `ConnectTimedOut`."""
        places = self.places
        came = self._loop.create_future()

        def turn() -> None:  # in any thread
            self._loop.call_soon_threadsafe(_finish, came)

        self._waiting += 1
        places.queue(turn)
        try:
            async with asyncio.timeout_at(None if end == inf else end):
                await came
        except BaseException as error:
            places.leave(turn)
            if not isinstance(error, TimeoutError):
                raise
            late = places.too_late()
        else:
            self._taken += 1
            return
        finally:
            self._waiting -= 1
        raise late

    def give(self) -> None:
        """Give a place back."""
        if self._taken > 0:
            self._taken -= 1
            self.places.give()

    def end(self) -> None:
        """Give back all that was taken: the loop is closed, or about to be."""
        while self._taken:
            self.give()


def on_loop(loop: asyncio.AbstractEventLoop, call: Callable[..., object], *args: object) -> None:
    """Call a function on *loop*, at once if that is the running one; not at all if it is closed."""
    try:
        here = asyncio.get_running_loop() is loop
    except RuntimeError:
        here = False
    if here:
        call(*args)
    else:
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(call, *args)


def _finish(came: "asyncio.Future[None]") -> None:
    if not came.done():
        came.set_result(None)
