"""The pools of a transport: one per process and running event loop, closed with its loop.

A child process never touches what its parent opened, and never finalises it. An event queue is
shared across `fork`: if the child closed its copy, the loop of the parent would hear of no event.
"""

import asyncio
import weakref
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from os import getpid
from typing import Final, Generic, Protocol, TypeVar, cast

_Key = tuple[int, asyncio.AbstractEventLoop]


class ClosesWithLoop(Protocol):
    """The connections of one loop, or anything else that has to be closed with its loop."""

    async def retire(self) -> bool:
        """Close idle connections now, busy ones when their calls are over; tell if none is busy."""
        ...

    async def close(self) -> None:
        """Close all, busy ones too, and wait until they are closed."""
        ...

    def bury(self) -> None:
        """Close the sockets of a loop that is closed already."""
        ...


P = TypeVar("P", bound=ClosesWithLoop)
_Held = dict[_Key, tuple[P, AsyncGenerator[None, None]]]

_FOREIGN: Final[
    list[object]
] = []  # pools of other processes, held so that they are never finalised


class PerLoop(Generic[P]):
    """The pools of one transport. After the transport, a pool lives until its loop closes it."""

    def __init__(self) -> None:
        self.held: _Held[P] = {}
        weakref.finalize(self, _forget, self.held)

    def here(self) -> P | None:
        """The pool of this process and the running loop, if there is one."""
        entry = self.held.get((getpid(), asyncio.get_running_loop()))
        return None if entry is None else entry[0]

    async def open(self, make: Callable[[], P]) -> P:
        """Make the pool of the running loop."""
        prune(self.held)
        key = getpid(), asyncio.get_running_loop()
        pool = make()
        keeper = _keep(pool, self.held, key)
        self.held[key] = pool, keeper
        await anext(keeper)
        return pool

    async def close(self) -> None:
        """Retire the pool of the running loop; without calls under way it is closed for good."""
        key = getpid(), asyncio.get_running_loop()
        entry = self.held.get(key)
        if entry is not None and await entry[0].retire() and self.held.pop(key, None) is entry:
            await entry[1].aclose()


async def _keep(pool: P, held: _Held[P], key: _Key) -> AsyncGenerator[None, None]:
    """Close *pool* with its loop: `asyncio.run` closes the generators that started in it."""
    try:
        yield
    finally:
        if key in held and held[key][0] is pool:
            del held[key]
        if is_running(key[1]):
            await pool.close()
        else:  # a loop that does not close its generators, as patched ones do in notebooks
            pool.bury()


def is_running(loop: asyncio.AbstractEventLoop) -> bool:
    """Whether *loop* is the one that runs in this thread."""
    try:
        return asyncio.get_running_loop() is loop
    except RuntimeError:
        return False


def prune(held: _Held[P]) -> None:
    """Drop the pools of closed loops, and of other processes."""
    for key in list(held):
        pid, loop = key
        if pid != getpid():
            _FOREIGN.append((key, held.pop(key, None)))  # pragma: no cover  # in a forked child
        elif loop.is_closed() and (entry := held.pop(key, None)) is not None:
            entry[0].bury()


def _forget(held: _Held[P]) -> None:
    """Drop the pools of a transport that is gone; their loops close them."""
    prune(held)
    held.clear()


def close_without_loop(transport: asyncio.BaseTransport) -> None:
    """Close the socket of a transport whose loop is closed: none of its callbacks will run.

    asyncio has no public way to do this; uvloop closes its sockets with the loop.
    """
    with suppress(RuntimeError):  # "Event loop is closed": raised after the useful part
        cast("asyncio.WriteTransport", transport).abort()
    tls = getattr(transport, "_ssl_protocol", None)
    lost = getattr(getattr(tls, "_transport", transport), "_call_connection_lost", None)
    if lost is not None:
        with suppress(RuntimeError):
            lost(None)
