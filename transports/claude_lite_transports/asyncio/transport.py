"""The fast asynchronous transport: HTTP/1.1 on asyncio's own transports and a parser in C.

It does what the aiohttp transport does, for less than half of the CPU, and needs the extra
`fast` (httptools). It sends each request once, and returns the response or raises an error. It
never follows a redirect, keeps a cookie, decompresses or retries.

Connections belong to the process and the running loop that opened them, and are closed with
their loop. A child process never touches what its parent opened, because an epoll descriptor is
shared across `fork`. The transport runs on uvloop as well as on asyncio's own loops.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from ssl import SSLContext
from typing import TYPE_CHECKING, Any, Final

from claude_lite.errors import UsageError
from claude_lite.wire import AsyncHeadAndChunks, Request, Response
from claude_lite_transports.shared.options import KEEPALIVE_TIMEOUT, check_options, checking
from claude_lite_transports.shared.per_loop import PerLoop
from claude_lite_transports.shared.places import PlacesByProcess
from claude_lite_transports.shared.private_names import require_asyncio
from claude_lite_transports.shared.share import Share, on_loop, running_loop
from claude_lite_transports.shared.whole import unless_whole

if TYPE_CHECKING:
    from claude_lite_transports.asyncio.connection import Connection
    from claude_lite_transports.asyncio.incoming import Incoming
    from claude_lite_transports.asyncio.pool import AsyncioPool
else:
    require_asyncio()  # before the modules that use private names of asyncio
    try:
        from claude_lite_transports.asyncio.pool import AsyncioPool
    except ModuleNotFoundError:  # httptools, of the extra `fast`, is not installed
        AsyncioPool = None

__all__ = ["AsyncioTransport"]

_LINGER: Final = 0.1  # seconds to wait for the end of a body, so that its connection is kept

_Begin = Callable[..., Awaitable[tuple["Connection", "Incoming"]]]


class _Stream(AbstractAsyncContextManager[AsyncHeadAndChunks]):
    """A reply under way: a context around its head, and an iterator of its chunks."""

    _connection: "Connection | None" = None
    _incoming: "Incoming"
    _loop: asyncio.AbstractEventLoop

    def __init__(self, begin: "_Begin", request: Request) -> None:
        self._begin = begin
        self._request: Request | None = request

    def __del__(self) -> None:  # it may never have been left
        if self._connection is not None and not self._incoming.over:
            on_loop(self._loop, self._connection.drop, self._incoming)

    async def __aenter__(self) -> AsyncHeadAndChunks:
        request, self._request = self._request, None
        if request is None:
            raise UsageError("a stream can be entered once only: call `stream` again")
        self._loop = running_loop()
        connection, incoming = await self._begin(request, whole=False)
        self._connection, self._incoming = connection, incoming
        del request
        try:
            while not incoming.begun:
                await incoming.wait()
        except BaseException:
            connection.drop(incoming)
            raise
        if incoming.error is not None and not incoming.status:
            raise incoming.failure()
        return Response(incoming.status, incoming.headers), self

    async def __aexit__(self, *exc_info: object) -> None:
        self._drop()

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.drop(self._incoming)

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        incoming = self._incoming
        if asyncio.get_running_loop() is not self._loop:
            raise UsageError("a stream has to be read on the event loop that opened it")
        while not incoming.size:
            if incoming.complete:
                raise StopAsyncIteration
            if incoming.error is not None:
                raise incoming.failure()
            await incoming.wait()
        if incoming.paused and self._connection is not None:
            self._connection.resume(incoming)
        return incoming.take()

    async def finish(self) -> None:
        """Wait a moment for the end of a body whose rest is not needed.

        If the end comes, the connection can be used again; if not, it is closed. The rest of the
        body is dropped. Raises nothing.
        """
        incoming, connection = self._incoming, self._connection
        if incoming.over or connection is None:
            return
        timer = asyncio.get_running_loop().call_later(_LINGER, self._drop)
        try:
            while not incoming.over:
                incoming.take()
                if incoming.paused:
                    connection.resume(incoming)
                await incoming.wait()
        finally:
            timer.cancel()


class AsyncioTransport:
    """A `claude_lite.wire.AsyncTransport` on plain asyncio.

    One transport serves any number of processes, threads and event loops. It can be pickled if
    it has neither an `ssl_context` nor a proxy with a password.

    A connection that the server closes while it is idle is not used again. If the server closes
    it just as a request is under way, nobody can tell whether the request was read: the error
    is `ConnectionLost`.
    """

    @checking
    def __init__(
        self,
        *,
        ssl_context: SSLContext | None = None,
        proxy: str | None = None,
        trust_env: bool = True,
        keepalive_timeout: float = KEEPALIVE_TIMEOUT,
        max_connections: int | None = None,
    ) -> None:
        """Make a transport; its connections are opened at the first request of each loop.

        Args:
            ssl_context: What verifies the certificates of servers. By default one context,
                made at the first use, is shared by all transports.
            proxy: The URL of a proxy for every request, `http://[user:password@]host[:port]`.
                NO_PROXY does not apply to it.
            trust_env: Whether HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY decide where
                there is no `proxy`. They are read at a loop's first request to each server.
            keepalive_timeout: Seconds for which an idle connection is kept, 0 for none.
            max_connections: How many connections may be open, of all hosts and event loops of
                a process together; further calls wait, first come, first served. By default
                half of the files that the process may open (`ulimit -n`).

        Raises:
            UsageError: An option has a wrong type or value, or httptools is not installed.

        """
        self._options = check_options(
            ssl_context, proxy, trust_env, keepalive_timeout, max_connections
        )
        self._places = PlacesByProcess(max_connections)
        self._pools: PerLoop[AsyncioPool] = PerLoop()
        if AsyncioPool is None:
            raise UsageError(
                "the asyncio transport needs httptools, which is not installed",
                advice='Install "claude-lite[fast]".',
            )

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(type(self), **self._options.for_pickle()), ()

    async def send(self, request: Request, /) -> Response:
        """Send a request and return the whole response, whatever its status.

        Raises the leaves of `TransportError`, `UnexpectedResponse` if the reply is not HTTP,
        `ResponseTooLarge`, `UsageError` if the request cannot be put on the wire, and what
        the request's body source raises when it is read.
        """
        connection, incoming = await self._begin(request, whole=True)
        try:
            while not incoming.over:
                await incoming.wait()
        except BaseException:
            connection.drop(incoming)
            raise
        body = incoming.take()
        if incoming.error is not None:
            error = unless_whole(incoming.failure(), incoming.headers, body)
            if error is not None:
                del body  # a server may repeat the API key, and tracebacks may show variables
                raise error
        return Response(incoming.status, incoming.headers, body)

    def stream(self, request: Request, /) -> AbstractAsyncContextManager[AsyncHeadAndChunks]:
        """Send a request; the context gives the head of the response and an iterator of chunks.

        Raises what `send` raises, on entering and while the chunks are read. The iterator has a
        method `finish`, to be awaited when the rest of the chunks is not needed.
        """
        return _Stream(self._begin, request)

    async def sleep(self, seconds: float, /) -> None:
        """Wait *seconds* on the running loop."""
        await asyncio.sleep(seconds)

    async def close(self) -> None:
        """Close the running loop's connections: idle ones now, others when their calls are over.

        The next use opens new ones.
        """
        await self._pools.close()

    async def _begin(self, request: Request, *, whole: bool) -> "tuple[Connection, Incoming]":
        start = running_loop().time()
        await asyncio.sleep(
            0
        )  # sends requests that were made together in a row: far less CPU for each
        pool = self._pools.here() or await self._pools.open(self._make)
        return await pool.begin(request, start, whole=whole)

    def _make(self) -> "AsyncioPool":
        share = Share(self._places.here())
        return AsyncioPool(asyncio.get_running_loop(), self._options, share)
