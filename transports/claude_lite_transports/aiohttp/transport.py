"""The asynchronous transport, on aiohttp's connections.

It sends each request once, as it is, and returns the response or raises an error. It never follows
a redirect, keeps a cookie, decompresses or retries. Connections are opened at the first request, in
a pool per process and running loop, and closed with their loop; so one transport serves threads,
successive `asyncio.run` calls and forked workers. Until then it holds only its options.

A pooled connection that the server has closed is never used. One race remains, which no client can
decide: if a connection ends while a request is on its way, the server may have acted on the request
or not. The error is `ConnectionLost`.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from functools import partial
from math import inf
from os import getpid
from ssl import SSLContext
from typing import Any, Final

import aiohttp

from claude_lite.errors import UsageError
from claude_lite.wire import AsyncHeadAndChunks, Request, Response
from claude_lite_transports.aiohttp.exchange import ask
from claude_lite_transports.aiohttp.pool import AiohttpPool
from claude_lite_transports.aiohttp.reply import OpenReply
from claude_lite_transports.shared.options import KEEPALIVE_TIMEOUT, check_options, checking
from claude_lite_transports.shared.per_loop import PerLoop
from claude_lite_transports.shared.places import PlacesByProcess
from claude_lite_transports.shared.share import Share, running_loop

__all__ = ["AiohttpTransport"]


_LINGER: Final = 0.1  # seconds to wait for the end of a body, so that its connection is kept


class AiohttpTransport:
    """A `claude_lite.wire.AsyncTransport` on aiohttp's connections.

    One transport serves any number of processes, threads and event loops. It can be pickled if
    it has no `session`, no `ssl_context` and no proxy with a password.
    """

    @checking
    def __init__(
        self,
        *,
        session: aiohttp.ClientSession | None = None,
        ssl_context: SSLContext | None = None,
        proxy: str | None = None,
        trust_env: bool = True,
        keepalive_timeout: float = KEEPALIVE_TIMEOUT,
        max_connections: int | None = None,
    ) -> None:
        """Make a transport; its connections are opened at the first request of each loop.

        Args:
            session: A session whose connector is used (its pool, DNS, TLS and limits), and
                never closed here. The session's cookies, headers, redirects and middlewares
                are not used. By default each loop gets a connector of its own, which is
                closed with the loop.
            ssl_context: What verifies the certificates of servers. By default they are
                verified with the certificates of the system.
            proxy: The URL of a proxy for every request, `http://[user:password@]host[:port]`
                or the same with https. NO_PROXY does not apply to it.
            trust_env: Whether HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY decide where
                there is no `proxy`. They are read at a loop's first request to each server.
            keepalive_timeout: Seconds for which an idle connection is kept, 0 for none. The
                connector of a `session` has its own.
            max_connections: How many connections may be open, of all hosts and event loops of
                a process together; further calls wait, first come, first served. By default
                half of the files that the process may open (`ulimit -n`). The connector of a
                `session` has a limit of its own besides.

        Raises:
            UsageError: An option has a wrong type or value.

        """
        self._session = session
        self._options = check_options(
            ssl_context,
            proxy,
            trust_env,
            keepalive_timeout,
            max_connections,
            encrypts_to_proxy=True,
        )
        self._places = PlacesByProcess(max_connections)
        self._pid = getpid()
        self._pools: PerLoop[AiohttpPool] = PerLoop()

    def __reduce__(self) -> tuple[Any, ...]:
        if self._session is not None:
            raise TypeError("a transport with a `session` cannot be pickled")
        return partial(type(self), **self._options.for_pickle()), ()

    async def send(self, request: Request, /) -> Response:
        """Send a request and return the whole response, whatever its status.

        Raises the leaves of `TransportError`, `UnexpectedResponse` if the reply is not HTTP,
        `ResponseTooLarge`, `UsageError` if the request cannot be put on the wire, and what
        the request's body source raises when it is read.
        """
        outcome = await self._whole(request)
        if isinstance(outcome, Response):
            return outcome
        raise outcome

    def stream(self, request: Request, /) -> AbstractAsyncContextManager[AsyncHeadAndChunks]:
        """Send a request; the context gives the head of the response and an iterator of chunks.

        Raises what `send` raises, on entering and while the chunks are read. The iterator has a
        method `finish`, to be awaited when the rest of the chunks is not needed.
        """
        return _Stream(self, request)

    async def sleep(self, seconds: float, /) -> None:
        """Wait *seconds* on the running loop."""
        await asyncio.sleep(seconds)

    async def close(self) -> None:
        """Close the running loop's connections: idle ones now, others when their calls are over.

        The next use opens new ones.
        """
        await self._pools.close()

    async def begin(self, request: Request, *, whole: bool = False) -> OpenReply | Exception:
        """Send a request and wait for the head of the reply; a failure is returned."""
        now, total = running_loop().time(), request.limits.total
        end = inf if total is None else now + total
        await asyncio.sleep(
            0
        )  # sends requests that were made together in a row: far less CPU for each
        return await ask(await self.pool(), request, end, whole=whole)

    async def _whole(self, request: Request) -> Response | Exception:
        reply = await self.begin(request, whole=True)
        if isinstance(reply, Exception):
            return reply
        body = await reply.read(request.limits.max_response)
        return reply.response(body) if isinstance(body, bytes) else body

    async def pool(self) -> AiohttpPool:
        """Return the pool of the running loop, which is made at the first request."""
        return self._pools.here() or await self._pools.open(self._make)

    def _make(self) -> AiohttpPool:
        connector = None
        if self._session is not None:
            connector = self._session.connector
            if connector is None or self._pid != getpid():
                raise UsageError(
                    "the `session` is closed, or it was made in the parent of this process"
                )
        return AiohttpPool(connector, self._options, Share(self._places.here()))


class _Stream(AbstractAsyncContextManager[AsyncHeadAndChunks]):
    """The context around a reply, and the iterator of its chunks."""

    _reply: OpenReply

    def __init__(self, transport: AiohttpTransport, request: Request) -> None:
        self._transport = transport
        self._request = request

    def __del__(self) -> None:  # it may never have been left
        if (reply := getattr(self, "_reply", None)) is not None and not reply.ended:
            reply.forget()

    async def __aenter__(self) -> AsyncHeadAndChunks:
        self._loop = running_loop()
        reply = await self._transport.begin(self._request)
        if isinstance(reply, Exception):
            raise reply
        self._reply = reply
        return reply.response(), self

    async def __aexit__(self, *exc_info: object) -> None:
        self._reply.end()

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if asyncio.get_running_loop() is not self._loop:
            raise UsageError("a stream has to be read on the event loop that opened it")
        chunk = await self._reply.chunk()
        if isinstance(chunk, bytes) and chunk:
            return chunk
        self._reply.end()
        if isinstance(chunk, bytes):
            raise StopAsyncIteration
        raise chunk

    async def finish(self) -> None:
        """Wait a moment for the end of a body whose rest is not needed."""
        timer = asyncio.get_running_loop().call_later(_LINGER, self._reply.expire)
        try:
            while isinstance(chunk := await self._reply.chunk(), bytes) and chunk:
                pass
        finally:
            timer.cancel()
            self._reply.end()
