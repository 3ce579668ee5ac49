"""The share of one event loop in the places of a transport.

It remembers how many places its loop has taken, and gives them all back when the loop is closed
before its calls have ended.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from math import inf
from typing import Any, TypeVar

from claude_lite.errors import UsageError
from claude_lite_transports.shared.per_loop import is_running
from claude_lite_transports.shared.places import Places

R = TypeVar("R")


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
        too_late = False

        def turn() -> None:  # in any thread
            nonlocal too_late
            try:
                self._loop.call_soon_threadsafe(_finish, came)
            except RuntimeError:  # the loop is closed: the place goes to the next
                too_late = True
                raise

        self._waiting += 1
        places.queue(turn)
        try:
            async with asyncio.timeout_at(None if end == inf else end):
                await came
        except BaseException as error:
            if not places.withdraw(turn) and not too_late:
                places.give()
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
    if is_running(loop):
        call(*args)
    else:
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(call, *args)


def running_loop() -> asyncio.AbstractEventLoop:
    """Return the running event loop; raises `UsageError` if there is none."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        pass
    raise UsageError(
        "there is no running asyncio event loop: the transport cannot be used without one",
        advice="Call an AsyncClient within asyncio.run(...), or use a Client.",
    )


def in_thread(call: Callable[..., R], *args: Any) -> "asyncio.Future[R]":
    """Call a function in a thread, or here: as the interpreter ends, no thread can be started."""
    loop = asyncio.get_running_loop()
    try:
        return loop.run_in_executor(None, call, *args)
    except RuntimeError:  # "cannot schedule new futures after interpreter shutdown"
        done: asyncio.Future[R] = loop.create_future()
    try:
        done.set_result(call(*args))
    except Exception as error:  # noqa: BLE001  # raised by whoever awaits it
        done.set_exception(error)
    return done


def _finish(came: "asyncio.Future[None]") -> None:
    if not came.done():
        came.set_result(None)
