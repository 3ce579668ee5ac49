"""The emulator in the place of a network: the same bytes, waits and failures, no sockets.

    client = Client(transport=EmulatorTransport(Emulator(seed=1)), api_key="any")

One transport a colour around a `claude_lite.emulator.Emulator`, which both may share. Waits
are slept, `request.limits` are held to (read and total; nothing here has to connect), and a
bad end becomes the `TransportError` that it would be on a wire. With a clock and a *sleep* of
one's own, a test of an hour of retries takes no time. No event loop is imported: the async
colour sleeps by asyncio unless it is given another *sleep* (`trio.sleep`, `anyio.sleep`).
"""

import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final

from attrs import evolve

from claude_lite.emulator import Emulator, Reply
from claude_lite.errors import ResponseTooLarge, TimedOut
from claude_lite.faults import End
from claude_lite.wire import AsyncHead, Clock, Head, Limits, Request, Response, Sleep

__all__ = ["AsyncEmulatorTransport", "EmulatorTransport"]

LONGEST: Final = 1e8  # seconds; three years stand for "for good", which no clock can sleep


class EmulatorTransport:
    """A synchronous transport to an emulator; see `claude_lite.wire.Transport`."""

    def __init__(
        self,
        emulator: Emulator | None = None,
        *,
        sleep: Callable[[float], object] = time.sleep,
        **options: Any,
    ) -> None:
        """Connect to *emulator*, or to a new one with these *options*."""
        self.emulator = emulator or Emulator(**options)
        self._sleep = sleep

    def send(self, request: Request, /) -> Response:
        """Return the whole response; raises `TransportError` and `ResponseTooLarge`."""
        with self.stream(request) as (head, chunks):
            body = _Body(request.limits)
            for chunk in chunks:
                body.add(chunk)
            return evolve(head, body=body.joined())

    @contextmanager
    def stream(self, request: Request, /) -> Iterator[Head]:
        """Yield the head and the chunks as they come; raises `TransportError`."""
        reply = self.emulator.reply(request)
        patience = _Patience(request.limits, self.emulator.clock)
        try:
            for step in reply.before:
                if isinstance(step, Sleep):
                    self._wait(patience, step.seconds)
                elif isinstance(step, End):
                    self._fail(patience, step, begun=False)
            yield reply.head, self._chunks(reply, patience)
        finally:
            reply.close()

    def sleep(self, seconds: float, /) -> None:
        """Wait, as the transport itself waits."""
        self._sleep(seconds)

    def monotonic(self) -> float:
        """Tell the time by the emulator's clock."""
        return self.emulator.clock()

    def close(self) -> None:
        """Do nothing: there is no connection."""

    def _chunks(self, reply: Reply, patience: "_Patience") -> Iterator[bytes]:
        for step in reply.steps:
            if isinstance(step, bytes):
                patience.hear()
                yield step
            elif isinstance(step, Sleep):
                self._wait(patience, step.seconds)
            elif step.how != "truncate":
                self._fail(patience, step, begun=True)

    def _wait(self, patience: "_Patience", seconds: float) -> None:
        self._sleep(patience.grant(seconds))
        patience.check()

    def _fail(self, patience: "_Patience", end: End, *, begun: bool) -> None:
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
        """Connect to *emulator*, or to a new one with these *options*."""
        self.emulator = emulator or Emulator(**options)
        self._sleep = sleep or _asyncio_sleep

    async def send(self, request: Request, /) -> Response:
        """Return the whole response; raises `TransportError` and `ResponseTooLarge`."""
        async with self.stream(request) as (head, chunks):
            body = _Body(request.limits)
            async for chunk in chunks:
                body.add(chunk)
            return evolve(head, body=body.joined())

    @asynccontextmanager
    async def stream(self, request: Request, /) -> AsyncIterator[AsyncHead]:
        """Yield the head and the chunks as they come; raises `TransportError`."""
        reply = self.emulator.reply(request)
        patience = _Patience(request.limits, self.emulator.clock)
        try:
            await self._sleep(0)  # a network would let others run, too
            for step in reply.before:
                if isinstance(step, Sleep):
                    await self._wait(patience, step.seconds)
                elif isinstance(step, End):
                    await self._fail(patience, step, begun=False)
            yield reply.head, self._chunks(reply, patience)
        finally:
            reply.close()

    async def sleep(self, seconds: float, /) -> None:
        """Wait, as the transport itself waits."""
        await self._sleep(seconds)

    def monotonic(self) -> float:
        """Tell the time by the emulator's clock."""
        return self.emulator.clock()

    async def close(self) -> None:
        """Do nothing: there is no connection."""

    async def _chunks(self, reply: Reply, patience: "_Patience") -> AsyncIterator[bytes]:
        for step in reply.steps:
            if isinstance(step, bytes):
                patience.hear()
                yield step
            elif isinstance(step, Sleep):
                await self._wait(patience, step.seconds)
            elif step.how != "truncate":
                await self._fail(patience, step, begun=True)

    async def _wait(self, patience: "_Patience", seconds: float) -> None:
        await self._sleep(patience.grant(seconds))
        patience.check()

    async def _fail(self, patience: "_Patience", end: End, *, begun: bool) -> None:
        if end.how == "stall":
            await self._wait(patience, LONGEST)
        raise end.error(begun=begun)


class _Patience:
    """How long one attempt may still take, by its limits."""

    def __init__(self, limits: Limits, clock: Clock) -> None:
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


class _Body:
    """A body that is read whole, up to a limit."""

    def __init__(self, limits: Limits) -> None:
        self._most = math.inf if limits.max_response is None else limits.max_response
        self._chunks: list[bytes] = []
        self._size = 0

    def add(self, chunk: bytes) -> None:
        self._size += len(chunk)
        if self._size > self._most:
            raise ResponseTooLarge(f"the response is larger than {self._most} bytes")
        self._chunks.append(chunk)

    def joined(self) -> bytes:
        return b"".join(self._chunks)


async def _asyncio_sleep(seconds: float) -> None:
    import asyncio  # noqa: PLC0415  # only those who run under it need it

    await asyncio.sleep(seconds)
