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
import weakref
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from functools import partial
from os import getpid
from ssl import SSLContext
from typing import Any, Final, TypeVar, cast

import aiohttp

from claude_lite.errors import ConnectTimedOut, TimedOut, UsageError
from claude_lite.wire import AsyncHead, MaskedStr, Request, Response
from claude_lite_transports._aiohttp_exchange import Reply, ask
from claude_lite_transports._aiohttp_pool import Pool

__all__ = ["AiohttpTransport"]

T = TypeVar("T")

_Key = tuple[int, asyncio.AbstractEventLoop]
_Pools = dict[_Key, tuple[Pool, AsyncGenerator[None, None]]]

_LINGER: Final = 0.1
_FOREIGN: Final[list[object]] = []  # other processes' pools, kept from being finalised


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
        self._pools: _Pools = {}
        weakref.finalize(self, _forget, self._pools)

    def __reduce__(self) -> tuple[Any, ...]:
        if self._session is not None or self._options["ssl"] is not None:
            raise TypeError("a transport with its caller's session or SSLContext cannot be pickled")
        if "@" in (self._options["proxy"] or ""):
            raise TypeError("a proxy's password is not pickled; set HTTPS_PROXY instead")
        return partial(AiohttpTransport, **self._options), ()

    async def send(self, request: Request, /) -> Response:
        """Send one request and read the whole response, of whatever status."""
        attempt = _Attempt(self, request)
        outcome = await attempt.timed(attempt.whole)
        if isinstance(outcome, Response):
            return outcome
        raise outcome

    def stream(self, request: Request, /) -> AbstractAsyncContextManager[AsyncHead]:
        """Send one request and yield the response's head and its chunks, as they arrive."""
        return _Attempt(self, request)

    async def sleep(self, seconds: float, /) -> None:
        """Wait, on the running loop."""
        await asyncio.sleep(seconds)

    async def close(self) -> None:
        """Close the running loop's connections, busy ones too; the next use opens new ones."""
        entry = self._pools.pop((getpid(), asyncio.get_running_loop()), None)
        if entry is not None:
            await entry[1].aclose()

    async def pool(self) -> Pool:
        """Find or open the running loop's connections."""
        key = getpid(), asyncio.get_running_loop()
        entry = self._pools.get(key)
        return entry[0] if entry is not None else await self._open(key)

    async def _open(self, key: _Key) -> Pool:
        _prune(self._pools)
        connector = None
        if self._session is not None:
            connector = self._session.connector
            if connector is None or self._pid != getpid():
                raise UsageError("the session is closed, or it belongs to another process")
        pool = Pool(connector, **self._options)
        keeper = _keep(pool, self._pools, key)
        self._pools[key] = pool, keeper
        await anext(keeper)
        return pool


class _Attempt(AbstractAsyncContextManager[AsyncHead]):
    """One request under way: a context around its reply, and an iterator of the chunks."""

    def __init__(self, transport: AiohttpTransport, request: Request) -> None:
        self._transport = transport
        self._request = request
        self._connected = False
        self._late = False
        self._task: asyncio.Task[Any] | None = None
        self._timer: asyncio.TimerHandle | None = None

    async def timed(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T | TimedOut:
        """Do some work within the total limit."""
        total = self._request.limits.total
        if total is None:
            return await work()
        if total > 0:
            self._task = task = cast("asyncio.Task[Any]", asyncio.current_task())
            others = task.cancelling()
            watch = (await self._transport.pool()).watch
            watch.add(self, total)
            try:
                return await work()
            except asyncio.CancelledError:
                if not self._late or task.uncancel() > others:
                    raise
            finally:
                watch.drop(self)
                self._task = None
                del task  # which, cancelled, has this frame in its traceback
        return TimedOut("total") if self._connected else ConnectTimedOut("total")

    def time_up(self) -> None:
        """The total limit has passed: interrupt the work."""
        self._late = True
        cast("asyncio.Task[Any]", self._task).cancel()

    async def whole(self) -> Response | Exception:
        """Send the request and read the reply; what went wrong is returned."""
        reply = await self._begin(whole=True)
        if isinstance(reply, Exception):
            return reply
        body = await reply.read(self._request.limits.max_response)
        return reply.response(body) if isinstance(body, bytes) else body

    async def _begin(self, *, whole: bool = False) -> Reply | Exception:
        request = self._request
        size = len(request.body) if isinstance(request.body, bytes) else request.body.size
        asyncio.get_running_loop()  # raises where there is none
        await asyncio.sleep(0)  # requests made at once are sent in a row: far less CPU for each
        pool = await self._transport.pool()
        if pool.watch.is_late(self):
            return ConnectTimedOut("total")
        to, target = pool.route(request.url)
        connection = await pool.connect(to, request.limits.connect)
        if isinstance(connection, Exception):
            return connection
        self._connected = True
        return await ask(connection, to, target, request, size, pool.watch, whole=whole)

    async def __aenter__(self) -> AsyncHead:
        self._loop = loop = asyncio.get_running_loop()
        total = self._request.limits.total
        start = loop.time()
        reply = await self.timed(self._begin)
        if isinstance(reply, Exception):
            raise reply
        self._reply = reply
        if total is not None:
            self._timer = loop.call_at(start + total, reply.expire)
        return reply.response(), self

    async def __aexit__(self, *exc_info: object) -> None:
        self._end()

    def _end(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._reply.end()

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if asyncio.get_running_loop() is not self._loop:
            raise UsageError("a stream is read on the event loop that opened it")
        chunk = await self._reply.chunk()
        if isinstance(chunk, bytes) and chunk:
            return chunk
        self._end()
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
            self._end()


async def _keep(pool: Pool, pools: _Pools, key: _Key) -> AsyncGenerator[None, None]:
    """Close `pool` with its loop: `asyncio.run` closes the generators that it saw start."""
    try:
        yield
    finally:
        pools.pop(key, None)
        await pool.close()


def _prune(pools: _Pools) -> None:
    """Let go of the pools on which nothing can be awaited any more."""
    for key in list(pools):
        pid, loop = key
        if pid != getpid():
            _FOREIGN.append((key, pools.pop(key, None)))  # pragma: no cover  # in a forked child
        elif loop.is_closed() and (entry := pools.pop(key, None)) is not None:
            entry[0].bury()


def _forget(pools: _Pools) -> None:
    """Drop the pools of a transport that is gone: their loops close them, one by one."""
    _prune(pools)
    pools.clear()
