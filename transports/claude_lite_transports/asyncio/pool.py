"""The connections of one event loop: opened when needed, used again, and watched.

One timer checks all requests under way, ten times a second, in place of a timer per request. A
limit may be noticed up to a tenth of a second late, and a request that is answered in time pays
nothing. While no request is under way, the only timer is that of the oldest idle connection.
"""

import asyncio
from contextlib import suppress
from functools import partial
from math import inf
from typing import Final

from claude_lite.errors import ConnectionFailed, ConnectTimedOut
from claude_lite.wire import Request
from claude_lite_transports.asyncio.connection import Connection
from claude_lite_transports.asyncio.incoming import Incoming
from claude_lite_transports.asyncio.opening import Opening
from claude_lite_transports.asyncio.reach import reach
from claude_lite_transports.shared.dial import Way, find_way, split_url
from claude_lite_transports.shared.http1 import SMALL
from claude_lite_transports.shared.options import TransportOptions
from claude_lite_transports.shared.read_buffer import ReadBuffer

_TICK: Final = 0.1
_HELD_UP: Final = 1.0
_MAX_OPENINGS: Final = 256


class AsyncioPool:
    """Connections by way to a server, idle and busy; the one idle for the shortest time is next."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        options: TransportOptions,
    ) -> None:
        self.buffer = ReadBuffer()
        self._loop = loop
        self._options = options
        self._keepalive = options.keepalive_timeout
        self._closed = False
        self._busy: set[Connection] = set()
        self._idle: dict[Way, list[Connection]] = {}
        self._ways: dict[tuple[str, str], Way] = {}
        self._openings: dict[tuple[str, str, int], Opening] = {}
        self._ticking: asyncio.TimerHandle | None = None
        self._due = 0.0
        self._held_up = False
        self._expiring: asyncio.TimerHandle | None = None

    async def begin(
        self, request: Request, start: float, *, whole: bool
    ) -> tuple[Connection, Incoming]:
        """Send a request; return the connection, and the reply that will come on it.

        The total limit counts from *start*, in the loop's time. Raises `ConnectionFailed`,
        `UsageError`, and whatever the source of the request's body raises.
        """
        now = self._loop.time()
        limits, body = request.limits, request.body
        deadline = inf if limits.total is None else start + limits.total
        if deadline <= now:
            raise ConnectTimedOut("total")
        opening = self._opening(request)
        incoming = Incoming(request, whole=whole)
        size = len(body) if isinstance(body, bytes) else body.size
        small = body if isinstance(body, bytes) and size <= SMALL else b""
        at_once = len(small) == size
        while connection := self._reuse(opening.way, now):
            if connection.start(incoming, opening.with_body(small, size), whole=at_once):
                break
        else:
            connection = await self._open(opening.way, limits.connect, deadline)
            now = self._loop.time()
            if not connection.start(incoming, opening.with_body(small, size), whole=at_once):
                raise ConnectionFailed("the connection was closed before its use")
        connection.deadline = deadline
        connection.silence = inf if limits.read is None else limits.read
        connection.quiet_since = now
        self._busy.add(connection)
        if self._ticking is None:
            self._tick_at(now + _TICK)
        if not at_once:
            try:
                await connection.upload(incoming, body)
            except BaseException:
                connection.drop(incoming)
                raise
        return connection, incoming

    def keep(self, connection: Connection) -> None:
        """Take a connection back whose request is done, and keep it for another request."""
        self._busy.discard(connection)
        if self._closed:
            connection.close()
            return
        connection.idle_since = self._loop.time()
        self._idle.setdefault(connection.way, []).append(connection)
        if self._expiring is None:
            self._expiring = self._loop.call_later(self._keepalive, self._expire)

    def forget(self, connection: Connection) -> None:
        """Forget a connection that is closed, or about to be closed."""
        self._busy.discard(connection)
        idle = self._idle.get(connection.way)
        if idle and not connection.busy:
            with suppress(ValueError):
                idle.remove(connection)

    async def close(self) -> None:
        """Close all. Requests under way fail; those still connecting go on, and none is kept."""
        self._closed = True
        self._openings.clear()
        for timer in (self._ticking, self._expiring):
            if timer is not None:
                timer.cancel()
        self._ticking = self._expiring = None
        for connection in self._connections():
            connection.close()
        for _ in range(2):  # for the last callbacks of transports; with TLS one calls another
            await asyncio.sleep(0)

    def bury(self) -> None:
        """Close all after the loop was closed."""
        for connection in self._connections():
            connection.bury()

    def _connections(self) -> list[Connection]:
        return [*self._busy, *(one for idle in self._idle.values() for one in idle)]

    def _opening(self, request: Request) -> Opening:
        """Find or make the head of a request; the identity of its headers is part of the key."""
        key = request.method, request.url, id(request.headers)
        known = self._openings.get(key)
        if known is not None and known.fits(request.headers):
            return known
        url = split_url(request.url)
        way = self._ways.get(url[:2])
        if way is None:
            way = self._ways[url[:2]] = find_way(*url[:2], self._options)
        made = Opening(request, way, url)
        if len(self._openings) >= _MAX_OPENINGS:
            self._openings.clear()
        self._openings[key] = made
        return made

    def _reuse(self, way: Way, now: float) -> Connection | None:
        idle = self._idle.get(way)
        while idle:
            connection = idle.pop()
            if now - connection.idle_since < self._keepalive and not connection.spoken():
                return connection
            connection.close()
        return None

    async def _open(self, way: Way, limit: float | None, deadline: float) -> Connection:
        return await reach(
            way, partial(Connection, self, way), self._options.ssl_context, limit, deadline
        )

    def _tick_at(self, due: float) -> None:
        self._due = due
        self._ticking = self._loop.call_at(due, self._tick)

    def _tick(self) -> None:
        """Check the limits of the requests under way.

        If the loop was held up, it reads what arrived in the meantime before the next check.
        """
        now = self._loop.time()
        self._ticking = None
        self._held_up = now - self._due > _HELD_UP and not self._held_up
        if not self._held_up:
            for connection in tuple(self._busy):
                connection.check(now)
        if self._busy:
            self._tick_at(now + _TICK)

    def _expire(self) -> None:
        """Close the connections that were idle for too long."""
        self._expiring = None
        latest = self._loop.time() - self._keepalive
        for connection in self._connections():
            if not connection.busy and connection.idle_since <= latest:
                connection.close()
        oldest = min((idle[0].idle_since for idle in self._idle.values() if idle), default=None)
        if oldest is not None:
            self._expiring = self._loop.call_at(oldest + self._keepalive, self._expire)
