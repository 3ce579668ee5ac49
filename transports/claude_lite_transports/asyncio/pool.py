"""The connections of one event loop: opened when needed, used again, and watched.

One timer checks all requests under way, ten times a second, in place of a timer per request. A
limit may be noticed up to a tenth of a second late, and a request that is answered in time pays
nothing. While no request is under way, the only timer is that of the oldest idle connection.
"""

import asyncio
from contextlib import suppress
from functools import partial
from math import inf
from typing import Final, NoReturn

from claude_lite.errors import ConnectionFailed, ConnectTimedOut
from claude_lite.wire import Request
from claude_lite_transports.asyncio.connection import Connection
from claude_lite_transports.asyncio.incoming import Incoming
from claude_lite_transports.asyncio.opening import Opening
from claude_lite_transports.asyncio.reach import reach
from claude_lite_transports.shared.dial import Way, find_way, split_url
from claude_lite_transports.shared.hints import idle_time
from claude_lite_transports.shared.http1 import SMALL
from claude_lite_transports.shared.options import TransportOptions
from claude_lite_transports.shared.read_buffer import ReadBuffer
from claude_lite_transports.shared.share import Share, on_loop

_TICK: Final = 0.1
_HELD_UP: Final = 1.0
_MAX_OPENINGS: Final = 256


class AsyncioPool:
    """Connections by way to a server, idle and busy; the one idle for the shortest time is next."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        options: TransportOptions,
        share: Share,
    ) -> None:
        self.buffer = ReadBuffer()
        self._loop = loop
        self._options = options
        self._share = share
        self._epoch = 0
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
        self._expires_at = inf
        share.places.add(self)

    async def begin(
        self, request: Request, since: float, *, whole: bool
    ) -> tuple[Connection, Incoming]:
        """Send a request; return the connection, and the reply that will come on it.

        It waits for a place first. The total limit counts from *since*, in the loop's time.
        Raises `ConnectionFailed`, `UsageError`, and whatever the source of the request's body
        raises.
        """
        now = self._loop.time()
        limits, body = request.limits, request.body
        deadline = inf if limits.total is None else since + limits.total
        if deadline <= now:
            raise ConnectTimedOut("total")
        opening = self._opening(request)
        incoming = Incoming(request, whole=whole)
        size = len(body) if isinstance(body, bytes) else body.size
        small = body if isinstance(body, bytes) and size <= SMALL else b""
        at_once = len(small) == size
        epoch = self._epoch
        if not self._share.take():
            await self._share.wait(deadline)
            now = self._loop.time()
        data = opening.with_body(small, size)
        try:
            while connection := self._reuse(opening.way, now):
                if connection.start(incoming, data, whole=at_once):
                    break
            else:
                connection = await self._open(opening.way, limits.connect, deadline)
                now = self._loop.time()
                if not connection.start(incoming, data, whole=at_once):
                    _refuse_closed()
        except BaseException:
            self._share.give()
            raise
        connection.epoch = epoch
        connection.deadline = deadline
        connection.silence = inf if limits.read is None else limits.read
        connection.quiet_since = now
        self._busy.add(connection)  # from here on, the place is given back with the connection
        if self._ticking is None:
            self._tick_at(now + _TICK)
        if not at_once:
            try:
                await connection.upload(incoming, body)
            except BaseException:
                connection.drop(incoming)
                raise
        return connection, incoming

    def keep(self, connection: Connection, incoming: Incoming) -> None:
        """Take a connection back whose request is done, and keep it for another request."""
        self._release(connection)
        connection.replies += 1
        seconds = idle_time(incoming.status, incoming.headers, connection.replies, self._keepalive)
        if self._closed or connection.epoch != self._epoch or not seconds:
            connection.close()
            return
        connection.idle_since = now = self._loop.time()
        connection.idle_until = until = now + seconds
        self._idle.setdefault(connection.way, []).append(connection)
        if until < self._expires_at:
            self._expire_at(until)

    def forget(self, connection: Connection) -> None:
        """Forget a connection that is closed, or about to be closed."""
        self._release(connection)
        idle = self._idle.get(connection.way)
        if idle and not connection.busy:
            with suppress(ValueError):
                idle.remove(connection)

    def _release(self, connection: Connection) -> None:
        if connection in self._busy:
            self._busy.remove(connection)
            self._share.give()

    def idle(self) -> int:
        """Count the idle connections."""
        return sum(map(len, list(self._idle.values())))

    def close_oldest(self, number: int) -> None:
        """Close some idle connections, from any thread."""
        on_loop(self._loop, self._close_oldest, number)

    def _close_oldest(self, number: int) -> None:
        idle = [connection for kept in self._idle.values() for connection in kept]
        for connection in sorted(idle, key=lambda one: one.idle_since)[:number]:
            connection.close()

    async def retire(self) -> bool:
        """Close the idle connections now, and the busy ones when their calls are over.

        Returns whether no call is under way.
        """
        self._epoch += 1
        self._openings.clear()
        for connection in self._connections():
            if not connection.busy:
                connection.close()
        await _last_callbacks()
        return not self._share.in_use

    async def close(self) -> None:
        """Close all: the loop is about to be closed. Requests under way fail."""
        self._closed = True
        self._openings.clear()
        for timer in (self._ticking, self._expiring):
            if timer is not None:
                timer.cancel()
        self._ticking = self._expiring = None
        for connection in self._connections():
            connection.close()
        self._share.end()
        await _last_callbacks()

    def bury(self) -> None:
        """Close all after the loop was closed."""
        for connection in self._connections():
            connection.bury()
        self._share.end()

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
            if now < connection.idle_until and not connection.spoken():
                return connection
            connection.close()
        return None

    async def _open(self, way: Way, limit: float | None, deadline: float) -> Connection:
        self._share.places.make_room(self)
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

    def _expire_at(self, due: float) -> None:
        if self._expiring is not None:
            self._expiring.cancel()
        self._expires_at = due
        self._expiring = self._loop.call_at(due, self._expire)

    def _expire(self) -> None:
        """Close the connections that were idle for too long."""
        self._expiring, self._expires_at = None, inf
        now = self._loop.time()
        for connection in self._connections():
            if not connection.busy and connection.idle_until <= now:
                connection.close()
        left = (connection.idle_until for idle in self._idle.values() for connection in idle)
        if (due := min(left, default=inf)) < inf:
            self._expire_at(due)


def _refuse_closed() -> NoReturn:
    raise ConnectionFailed("the connection was closed before its use")


async def _last_callbacks() -> None:
    """Wait for the last callbacks of transports; with TLS one calls another."""
    for _ in range(2):
        await asyncio.sleep(0)
