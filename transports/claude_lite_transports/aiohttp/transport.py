"""The asynchronous transport, on aiohttp's connections.

It sends each request once, as it is, and says what became of it. Connections are opened on
first use, in a pool for each process and running loop, and closed with their loop; so one
transport serves threads, successive `asyncio.run` calls and forked workers, and it holds
nothing but its options until then.

A pooled connection that the server has closed is never used. What remains is a race that no
client can settle: a connection that dies while the request is on its way was alive when it
was chosen, and the server may have acted. That is a `ConnectionLost`.
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
from claude_lite.wire import AsyncHead, MaskedStr, Request, Response
from claude_lite_transports.aiohttp.exchange import ask
from claude_lite_transports.aiohttp.pool import AiohttpPool
from claude_lite_transports.aiohttp.reply import OpenReply
from claude_lite_transports.shared.per_loop import PerLoop

__all__ = ["AiohttpTransport"]


_LINGER: Final = 0.1


class AiohttpTransport:
    """Sends requests from any number of processes, threads and event loops.

    `session`, a session of the caller's, is used for its connector (pool, DNS, TLS, limits)
    and never closed here; its cookies, headers, redirects and middlewares have no part. By
    default each loop gets a connector without limits, which is closed with it. `ssl` is for
    other certificates than the system's. `proxy` is the URL of an HTTP proxy; without it,
    `trust_env` obeys HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY as they are at a loop's
    first request. An idle connection is kept for `keepalive_timeout` seconds.

    Raises what `claude_lite.wire.Transport` says, `UsageError` for a request that HTTP has no
    form for, and whatever the request's body source raises when it is read.
    """

    def __init__(
        self,
        *,
        session: aiohttp.ClientSession | None = None,
        ssl: SSLContext | None = None,
        proxy: str | None = None,
        trust_env: bool = True,
        keepalive_timeout: float = 30.0,
    ) -> None:
        self._session = session
        self._options: dict[str, Any] = {
            "ssl": ssl,
            "proxy": MaskedStr(proxy) if proxy and "@" in proxy else proxy,
            "trust_env": trust_env,
            "keepalive_timeout": keepalive_timeout,
        }
        self._pid = getpid()
        self._pools: PerLoop[AiohttpPool] = PerLoop()

    def __reduce__(self) -> tuple[Any, ...]:
        if self._session is not None or self._options["ssl"] is not None:
            raise TypeError("a transport with its caller's session or SSLContext cannot be pickled")
        if "@" in (self._options["proxy"] or ""):
            raise TypeError("a proxy's password is not pickled; set HTTPS_PROXY instead")
        return partial(AiohttpTransport, **self._options), ()

    async def send(self, request: Request, /) -> Response:
        """Send one request and read the whole response, of whatever status."""
        outcome = await self._whole(request)
        if isinstance(outcome, Response):
            return outcome
        raise outcome

    def stream(self, request: Request, /) -> AbstractAsyncContextManager[AsyncHead]:
        """Send one request and yield the response's head and its chunks, as they arrive."""
        return _Stream(self, request)

    async def sleep(self, seconds: float, /) -> None:
        """Wait, on the running loop."""
        await asyncio.sleep(seconds)

    async def close(self) -> None:
        """Close the running loop's connections, busy ones too; the next use opens new ones."""
        await self._pools.close()

    async def begin(self, request: Request, *, whole: bool = False) -> OpenReply | Exception:
        """Send one request and wait for the head of the reply; what went wrong is returned."""
        now, total = asyncio.get_running_loop().time(), request.limits.total
        end = inf if total is None else now + total
        await asyncio.sleep(0)  # requests made at once are sent in a row: far less CPU for each
        return await ask(await self.pool(), request, end, whole=whole)

    async def _whole(self, request: Request) -> Response | Exception:
        reply = await self.begin(request, whole=True)
        if isinstance(reply, Exception):
            return reply
        body = await reply.read(request.limits.max_response)
        return reply.response(body) if isinstance(body, bytes) else body

    async def pool(self) -> AiohttpPool:
        """Find or open the running loop's connections."""
        return self._pools.here() or await self._pools.open(self._make)

    def _make(self) -> AiohttpPool:
        connector = None
        if self._session is not None:
            connector = self._session.connector
            if connector is None or self._pid != getpid():
                raise UsageError("the session is closed, or it belongs to another process")
        return AiohttpPool(connector, **self._options)


class _Stream(AbstractAsyncContextManager[AsyncHead]):
    """A context around a reply, and an iterator of its chunks."""

    _reply: OpenReply

    def __init__(self, transport: AiohttpTransport, request: Request) -> None:
        self._transport = transport
        self._request = request

    async def __aenter__(self) -> AsyncHead:
        self._loop = asyncio.get_running_loop()
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
            raise UsageError("a stream is read on the event loop that opened it")
        chunk = await self._reply.chunk()
        if isinstance(chunk, bytes) and chunk:
            return chunk
        self._reply.end()
        if isinstance(chunk, bytes):
            raise StopAsyncIteration
        raise chunk

    async def finish(self) -> None:
        """Wait a moment for the end of a body of which all that matters has come."""
        timer = asyncio.get_running_loop().call_later(_LINGER, self._reply.expire)
        try:
            while isinstance(chunk := await self._reply.chunk(), bytes) and chunk:
                pass
        finally:
            timer.cancel()
            self._reply.end()
