"""A clock whose time passes only in sleeps: an hour of retries takes milliseconds.

    clock = VirtualClock()
    client = AsyncClient(clock.async_transport(transport), api_key="any")

The sync `sleep` moves the time on at once. Async sleeps share the time: when no task has
anything else to do, the clock moves to the earliest end of a sleep. So tasks wake in the order
of the ends of their sleeps; sleeps with equal ends wake in the order in which they began.

The clock stands still during a call of a transport that `async_transport` wraps, so that a real
server may take real time. The clock does not wait for anything else: not for a task that waits
for a thread or for a socket of its own. It serves one event loop at a time. Sleeps of different
threads add up.
"""

import asyncio
import heapq
import itertools
import threading
from collections.abc import AsyncIterable, AsyncIterator, Iterator
from contextlib import (
    AbstractContextManager,
    AsyncExitStack,
    asynccontextmanager,
    contextmanager,
)
from typing import Final

from claude_lite.wire import (
    AsyncHeadAndChunks,
    AsyncTransport,
    HeadAndChunks,
    Request,
    Response,
    Transport,
)

TURNS: Final = 32
"""Rounds of the event loop without use of the clock, after which all tasks count as waiting."""

Sleeper = tuple[float, int, asyncio.AbstractEventLoop, "asyncio.Future[None]"]


class VirtualClock:
    """A clock for tests, whose time passes only in sleeps. Safe to share between threads."""

    def __init__(self, start: float = 0.0) -> None:
        """Start the clock.

        Args:
            start: The time at the start, in seconds.

        """
        self._now = start
        self._touched = False
        self._numbers = itertools.count()
        self._sleepers: list[Sleeper] = []  # a heap
        self._calling: set[asyncio.Task[object] | None] = set()
        self._watched: asyncio.AbstractEventLoop | None = None
        self._quiet = 0
        self._lock = threading.RLock()

    def monotonic(self) -> float:
        """Return the time in seconds."""
        self._touched = True
        return self._now

    def sleep(self, seconds: float, /) -> None:
        """Move the time on, at once.

        Args:
            seconds: The time to pass.

        """
        with self._lock:
            self._touched = True
            self._advance(self._now + max(0.0, seconds))

    async def sleep_async(self, seconds: float, /) -> None:
        """Wait in virtual time; 0 seconds let other tasks run.

        Args:
            seconds: The time to wait.

        """
        self._touched = True
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        loop = asyncio.get_running_loop()
        end: asyncio.Future[None] = loop.create_future()
        task = asyncio.current_task()
        was_calling = task in self._calling
        self._calling.discard(task)
        with self._lock:
            sleeper = (self._now + seconds, next(self._numbers), loop, end)
            heapq.heappush(self._sleepers, sleeper)
        self._watch(loop)
        try:
            await end
        finally:
            self._touched = True
            if was_calling:
                self._calling.add(task)

    def transport(self, inner: Transport) -> Transport:
        """Wrap a sync transport, so that waits between attempts, and deadlines, use this clock.

        Args:
            inner: The transport to wrap.

        """
        return _Clocked(inner, self)

    def async_transport(self, inner: AsyncTransport) -> AsyncTransport:
        """Wrap an async transport, so that waits between attempts, and deadlines, use this clock.

        The clock stands still while *inner* is at work.

        Args:
            inner: The transport to wrap.

        """
        return _AsyncClocked(inner, self)

    @contextmanager
    def standing(self) -> Iterator[None]:
        """Let no time pass while this task is in the block, unless this task sleeps."""
        task = asyncio.current_task()
        self._calling.add(task)
        try:
            yield
        finally:
            self._calling.discard(task)
            self._watch(asyncio.get_running_loop())

    def _watch(self, loop: asyncio.AbstractEventLoop) -> None:
        """Start `_look`, which runs until no task sleeps, unless it runs already."""
        if self._watched is not loop:  # an earlier loop may have ended before its sleeps
            self._watched = loop
            self._quiet = 0
            loop.call_soon(self._look, loop)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        with self._lock:
            while self._sleepers and self._sleepers[0][3].done():  # cancelled
                heapq.heappop(self._sleepers)
            if self._calling or not self._sleepers:
                self._watched = None
                return
            self._quiet = 0 if self._touched else self._quiet + 1
            self._touched = False
            if self._quiet >= TURNS:
                self._quiet = 0
                self._advance(self._sleepers[0][0])
        loop.call_soon(self._look, loop)

    def _advance(self, to: float) -> None:
        self._now = to
        while self._sleepers and self._sleepers[0][0] <= to:
            _, _, loop, end = heapq.heappop(self._sleepers)
            if not loop.is_closed():
                loop.call_soon_threadsafe(_wake, end)


def _wake(end: "asyncio.Future[None]") -> None:
    if not end.done():
        end.set_result(None)


class _Clocked:
    """A sync transport with another clock."""

    def __init__(self, inner: Transport, clock: VirtualClock) -> None:
        self._inner = inner
        self.governed = getattr(inner, "governed", True)
        self.sleep = clock.sleep
        self.monotonic = clock.monotonic

    def send(self, request: Request, /) -> Response:
        return self._inner.send(request)

    def stream(self, request: Request, /) -> AbstractContextManager[HeadAndChunks]:
        return self._inner.stream(request)

    def close(self) -> None:
        self._inner.close()


class _AsyncClocked:
    """An async transport with another clock."""

    def __init__(self, inner: AsyncTransport, clock: VirtualClock) -> None:
        self._inner = inner
        self.governed = getattr(inner, "governed", True)
        self._clock = clock
        self.sleep = clock.sleep_async
        self.monotonic = clock.monotonic

    async def send(self, request: Request, /) -> Response:
        with self._clock.standing():
            return await self._inner.send(request)

    @asynccontextmanager
    async def stream(self, request: Request, /) -> AsyncIterator[AsyncHeadAndChunks]:
        async with AsyncExitStack() as stack:
            with self._clock.standing():
                head, chunks = await stack.enter_async_context(self._inner.stream(request))
            yield head, _Chunks(chunks, self._clock)

    async def close(self) -> None:
        await self._inner.close()


class _Chunks(AsyncIterator[bytes]):
    """Chunks of a stream; no time passes while a chunk is awaited."""

    def __init__(self, chunks: AsyncIterable[bytes], clock: VirtualClock) -> None:
        self._chunks = aiter(chunks)
        self._clock = clock

    async def __anext__(self) -> bytes:
        with self._clock.standing():
            return await anext(self._chunks)
