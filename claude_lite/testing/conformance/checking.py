"""Run cases of the conformance suite.

The test of a transport of your own, with pytest:

    @pytest.mark.parametrize("case", CASES, ids=str)
    def test_conformance(case):
        check_transport(MyTransport, case)

Use `ASYNC_CASES` and `check_async_transport` for an async transport. Each case starts a server
of its own on loopback. The suite is for transports that use a network, because it checks the
bytes on the wire. It needs no particular test runner.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from sys import exc_info
from typing import Final, Self

from claude_lite.testing.conformance import (
    connecting,
    exchanging,
    failing,
    guarding,
    hiding,
)
from claude_lite.testing.conformance.cases import Case
from claude_lite.wire import AsyncHeadAndChunks, AsyncTransport, Request, Response, Transport

CASES: Final = (
    *exchanging.CASES,
    *connecting.CASES,
    *failing.CASES,
    *guarding.CASES,
    *hiding.CASES,
)
ASYNC_CASES: Final = (*CASES, *connecting.ASYNC_CASES)

_THREADS: Final = 32


def check_transport(factory: Callable[[], Transport], case: Case) -> None:
    """Run one case with a new sync transport, which is called from several threads.

    Args:
        factory: Makes the transport; a class will do.
        case: One of `CASES`.

    Raises:
        AssertionError: The transport does not do what the case demands. If the transport raises
            an error where it should give an answer, that error is raised instead.

    """

    async def check() -> None:
        loop = asyncio.get_running_loop()
        loop.set_default_executor(ThreadPoolExecutor(_THREADS))
        await _check(InThreads(factory()), case)

    asyncio.run(check())


def check_async_transport(factory: Callable[[], AsyncTransport], case: Case) -> None:
    """Run one case with a new async transport, which is made in a running event loop.

    Args:
        factory: Makes the transport; a class will do.
        case: One of `ASYNC_CASES`.

    Raises:
        AssertionError: The transport does not do what the case demands. If the transport raises
            an error where it should give an answer, that error is raised instead.

    """

    async def check() -> None:
        await _check(factory(), case)

    asyncio.run(check())


async def _check(transport: AsyncTransport, case: Case) -> None:
    try:
        await case.check(transport)
    finally:
        await transport.close()


class ChunksInThreads:
    """Sync chunks as async ones, with `finish` if the sync ones have it."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        if (finish := getattr(chunks, "finish", None)) is not None:
            self.finish = partial(asyncio.to_thread, finish)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        chunk = await asyncio.to_thread(next, self._chunks, None)
        if chunk is None:
            raise StopAsyncIteration
        return chunk


class InThreads:
    """A sync transport as an async one, so that each case is written once."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def send(self, request: Request, /) -> Response:
        """Send in a thread."""
        return await asyncio.to_thread(self._transport.send, request)

    @asynccontextmanager
    async def stream(self, request: Request, /) -> AsyncIterator[AsyncHeadAndChunks]:
        """Stream, each step in a thread."""
        context = self._transport.stream(request)
        head, chunks = await asyncio.to_thread(context.__enter__)
        try:
            yield head, ChunksInThreads(chunks)
        except BaseException:
            if not await asyncio.to_thread(context.__exit__, *exc_info()):
                raise
        else:
            await asyncio.to_thread(context.__exit__, None, None, None)

    async def sleep(self, seconds: float, /) -> None:
        """Sleep in a thread."""
        await asyncio.to_thread(self._transport.sleep, seconds)

    async def close(self) -> None:
        """Close the transport in a thread."""
        await asyncio.to_thread(self._transport.close)
