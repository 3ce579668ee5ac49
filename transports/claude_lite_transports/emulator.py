"""Transports to the emulator: the bytes, waits and failures of a network, without sockets.

    client = Client(transport=EmulatorTransport(Emulator(seed=1)), api_key="any")

There is a sync and an async transport around a `claude_lite.emulator.Emulator`, and both may share
one. They sleep the waits, hold each attempt to `request.limits` (read and total: nothing here has
to connect), and raise the `TransportError` that a bad end would be on a network. With your own
clock and *sleep*, a test of an hour of retries takes no time. This module imports no event loop:
the async transport sleeps by asyncio unless it gets another *sleep* (`trio.sleep`, `anyio.sleep`).
"""

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from attrs import evolve

from claude_lite.emulator import Emulator, Reply
from claude_lite.faults.script import End
from claude_lite.wire import AsyncHeadAndChunks, HeadAndChunks, Request, Response, Sleep
from claude_lite_transports.shared.patience import LONGEST, Body, Patience

__all__ = ["AsyncEmulatorTransport", "EmulatorTransport"]


class EmulatorTransport:
    """A synchronous transport to an emulator; see `claude_lite.wire.Transport`."""

    def __init__(
        self,
        emulator: Emulator | None = None,
        *,
        sleep: Callable[[float], object] = time.sleep,
        **options: Any,
    ) -> None:
        """Connect to an emulator.

        Args:
            emulator: The emulator; by default a new one, made with *options*.
            sleep: What waits for a number of seconds.
            options: Of the new `claude_lite.emulator.Emulator`.

        """
        self.emulator = emulator or Emulator(**options)
        self.governed = self.emulator.limited
        self._sleep = sleep

    def send(self, request: Request, /) -> Response:
        """Return the whole response; raises `TransportError` and `ResponseTooLarge`."""
        with self.stream(request) as (head, chunks):
            with Body(request.limits, head) as body:
                for chunk in chunks:
                    body.add(chunk)
            return evolve(head, body=body.joined())

    @contextmanager
    def stream(self, request: Request, /) -> Iterator[HeadAndChunks]:
        """Yield the head and an iterator of chunks; raises `TransportError`."""
        reply = self.emulator.reply(request)
        patience = Patience(request.limits, self.emulator.clock)
        try:
            for step in reply.before:
                if isinstance(step, Sleep):
                    self._wait(patience, step.seconds)
                else:
                    self._fail(patience, step, begun=False)
            patience.see(reply.head)
            yield reply.head, self._chunks(reply, patience)
        finally:
            reply.close()

    def sleep(self, seconds: float, /) -> None:
        """Wait, as the transport itself waits."""
        self._sleep(seconds)

    def monotonic(self) -> float:
        """Return the time of the emulator's clock."""
        return self.emulator.clock()

    def close(self) -> None:
        """Do nothing: there is no connection."""

    def _chunks(self, reply: Reply, patience: Patience) -> Iterator[bytes]:
        for step in reply.steps:
            if isinstance(step, bytes):
                patience.hear()
                yield step
            elif isinstance(step, Sleep):
                self._wait(patience, step.seconds)
            elif step.how != "truncate":
                self._fail(patience, step, begun=True)

    def _wait(self, patience: Patience, seconds: float) -> None:
        self._sleep(patience.grant(seconds))
        patience.check()

    def _fail(self, patience: Patience, end: End, *, begun: bool) -> None:
        if end.how == "stall":
            self._wait(patience, LONGEST)
        raise end.error(begun=begun)


class AsyncEmulatorTransport:
    """An asynchronous transport to an emulator; see `claude_lite.wire.AsyncTransport`."""

    def __init__(
        self,
        emulator: Emulator | None = None,
        *,
        sleep: Callable[[float], Awaitable[object]] | None = None,
        **options: Any,
    ) -> None:
        """Connect to an emulator.

        Args:
            emulator: The emulator; by default a new one, made with *options*.
            sleep: What waits for a number of seconds; by default `asyncio.sleep`.
            options: Of the new `claude_lite.emulator.Emulator`.

        """
        self.emulator = emulator or Emulator(**options)
        self.governed = self.emulator.limited
        self._sleep = sleep or _asyncio_sleep

    async def send(self, request: Request, /) -> Response:
        """Return the whole response; raises `TransportError` and `ResponseTooLarge`."""
        async with self.stream(request) as (head, chunks):
            with Body(request.limits, head) as body:
                async for chunk in chunks:
                    body.add(chunk)
            return evolve(head, body=body.joined())

    @asynccontextmanager
    async def stream(self, request: Request, /) -> AsyncIterator[AsyncHeadAndChunks]:
        """Yield the head and an iterator of chunks; raises `TransportError`."""
        reply = self.emulator.reply(request)
        patience = Patience(request.limits, self.emulator.clock)
        line = _Line() if self._sleep is _asyncio_sleep else None
        try:
            await self._sleep(0)  # lets other tasks run, as a network would
            for step in reply.before:
                if isinstance(step, Sleep):
                    await self._wait(patience, line, step.seconds, begun=False)
                else:
                    await self._fail(patience, line, step, begun=False)
            patience.see(reply.head)
            yield reply.head, self._chunks(reply, patience, line)
        finally:
            if line is not None:
                line.cut()
            reply.close()

    async def sleep(self, seconds: float, /) -> None:
        """Wait, as the transport itself waits."""
        await self._sleep(seconds)

    def monotonic(self) -> float:
        """Return the time of the emulator's clock."""
        return self.emulator.clock()

    async def close(self) -> None:
        """Do nothing: there is no connection, and calls under way are spared."""

    async def _chunks(
        self, reply: Reply, patience: Patience, line: "_Line | None"
    ) -> AsyncIterator[bytes]:
        for step in reply.steps:
            if isinstance(step, bytes):
                patience.hear()
                yield step
            elif isinstance(step, Sleep):
                await self._wait(patience, line, step.seconds, begun=True)
            elif step.how != "truncate":
                await self._fail(patience, line, step, begun=True)

    async def _wait(
        self, patience: Patience, line: "_Line | None", seconds: float, *, begun: bool
    ) -> None:
        granted = patience.grant(seconds)
        if line is None:
            await self._sleep(granted)
        elif not await line.holds(granted):
            raise End("close").error(begun=begun)
        patience.check()

    async def _fail(
        self, patience: Patience, line: "_Line | None", end: End, *, begun: bool
    ) -> None:
        if end.how == "stall":
            await self._wait(patience, line, LONGEST, begun=begun)
        raise end.error(begun=begun)


class _Line:
    """A stand-in for a connection, in asyncio: a wait on it ends early when it is cut."""

    def __init__(self) -> None:
        import asyncio  # late: trio and anyio do without it

        self._asyncio = asyncio
        self._end = asyncio.get_running_loop().create_future()

    async def holds(self, seconds: float) -> bool:
        """Wait; False if the line was cut."""
        if not self._end.done():
            await self._asyncio.wait([self._end], timeout=seconds)
        return not self._end.done()

    def cut(self) -> None:
        """Cut the line, and wake the task that waits on it."""
        if not self._end.done():
            self._end.set_result(None)


async def _asyncio_sleep(seconds: float) -> None:
    import asyncio  # late: trio and anyio do without it

    await asyncio.sleep(seconds)
