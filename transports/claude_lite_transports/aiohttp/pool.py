"""The connections of the aiohttp transport: where they lead, which can be used, how they close.

aiohttp's connector brings DNS, happy eyeballs, TLS, proxies and the pool. This module adds what
the connector lacks: a place for each call, and a look at each connection of a caller's session.
It closes without a wait. In a child process it never touches what the parent opened: an event queue
is shared across `fork`, and closing the child's copy would make the parent's loop miss its events.

Every failure here happens before anything was sent. A connector never gets the headers of a
request, so it cannot leak the API key.
"""

import asyncio
import re
from functools import lru_cache
from math import inf
from ssl import SSLContext
from typing import TYPE_CHECKING, Final, cast
from weakref import WeakKeyDictionary

import aiohttp
from aiohttp.client_proto import ResponseHandler
from yarl import URL

from claude_lite.errors import (
    CertificateRefused,
    ClaudeError,
    ConnectionFailed,
    ConnectTimedOut,
    UsageError,
)
from claude_lite_transports.aiohttp.connection import SPOKEN, is_usable, let_go
from claude_lite_transports.aiohttp.connector import Connector
from claude_lite_transports.aiohttp.watch import Watch
from claude_lite_transports.shared.hints import KEEP_ALIVE, NOT_AGAIN, idle_time
from claude_lite_transports.shared.options import TransportOptions
from claude_lite_transports.shared.places import advice_for
from claude_lite_transports.shared.proxies import Proxy
from claude_lite_transports.shared.share import Share

if TYPE_CHECKING:
    from aiohttp.client_reqrep import ConnectionKey
    from aiohttp.connector import Connection
    from aiohttp.http import RawResponseMessage

# How many new connections of a session's connector may be useless before the call gives up. Idle
# ones are not counted: the connector gives those first, and there are only so many.
_MAX_USELESS: Final = 3
_TURNS: Final = 3  # turns in which an event loop reads what has come
_URL: Final = re.compile(r"((?i:https?)://[^/?#@\s]+)((?:[/?][!\"$-~]*)?)(?:#.*)?")


class AiohttpPool:
    """The connections of one loop, and how each server is reached.

    *connector* is that of the caller's session; without one, the pool makes its own.
    """

    def __init__(
        self,
        connector: aiohttp.BaseConnector | None,
        options: TransportOptions,
        share: Share,
    ) -> None:
        self._own = None if connector is not None else Connector(options.keepalive_timeout, share)
        self._connector: aiohttp.BaseConnector = connector or cast("Connector", self._own)
        self._options = options
        self._share = share
        self._give = share.give  # one object for all calls in flight
        self._epoch = 0
        self._origins: dict[str, Origin] = {}
        self._hinted: WeakKeyDictionary[ResponseHandler, _Hinted] = WeakKeyDictionary()
        self.watch = Watch()

    def way_to(self, url: str) -> "tuple[Origin, str]":
        """Return where to connect to, and the target of the request as it is written there.

        Raises `UsageError` if the URL of the request or of a proxy cannot be used.
        """
        try:
            origin, target = _split(url)
            to = self._origins.get(origin) or self._add(origin)
        except UsageError:
            raise
        except ValueError:
            to, origin, target = None, "", ""
        if to is None:  # raised here, so that the error is chained to none that shows the URL
            raise UsageError(
                "a URL has to begin with http:// or https:// and a host, and to be percent-encoded"
            )
        return to, f"{origin}{target}" if to.proxy is not None and not to.is_ssl() else target

    async def connect(
        self, to: "Origin", seconds: float | None, end: float
    ) -> "Connection | ClaudeError":
        """Wait for a place, then take a connection or open one; a failure is returned.

        It may take *seconds*, from when the place has come, but not longer than until *end*, when
        the attempt has to be over. The place is given back with the connection.
        """
        share, epoch = self._share, self._epoch
        if end <= self.watch.now():
            return ConnectTimedOut("total")
        if not share.take():
            try:
                await share.wait(end)
            except ConnectTimedOut as error:
                return error.with_traceback(None)
        try:
            connection = await self._useful(to, seconds, end)
        except BaseException:
            share.give()
            raise
        if isinstance(connection, ClaudeError):
            share.give()
            return connection
        connection.add_callback(self._give)
        if epoch != self._epoch and connection.protocol is not None:
            connection.protocol.force_close()
        return connection

    async def _useful(
        self, to: "Origin", seconds: float | None, end: float
    ) -> "Connection | ClaudeError":
        """Take connections until there is one that can be used.

        The connector of a caller's session may give a connection on which something lies that no
        request asked for, and it knows of no hints. Such a connection is closed.
        """
        if self._own is not None and not self._hinted:
            return await self._take(to, seconds, end)
        useless = 0
        while useless < _MAX_USELESS:
            was_idle = to.connection_key in self._connector._conns  # noqa: SLF001  # listed in private_names.py
            connection = await self._take(to, seconds, end)
            if isinstance(connection, ClaudeError):
                return connection
            protocol = connection.protocol
            hinted = None if protocol is None else self._hinted.get(protocol)
            in_time = hinted is None or not was_idle or self.watch.now() < hinted.until
            if in_time and (self._own is not None or await _is_silent(protocol)):
                return connection
            let_go(connection)
            useless += not was_idle
        return ConnectionFailed(
            f"{useless} new connections to {to.host}:{to.port} were closed, or spoken on, before "
            "their use"
        )

    async def _take(
        self, to: "Origin", seconds: float | None, end: float
    ) -> "Connection | ClaudeError":
        connector, is_last = self._connector, True
        try:
            if self._own is None and connector._available_connections(to.connection_key) < 1:  # noqa: SLF001  # listed in private_names.py
                await self._wait_for_session(to.connection_key, end)
            left = end - self.watch.now()
            is_last = left < (inf if seconds is None else seconds)
            within = _limited_to(left) if is_last else _timeout(seconds)
            return await connector.connect(to, [], within)
        except BaseException as error:
            # If a session limits its connections, and this call ends just as its turn comes,
            # aiohttp loses the turn: the calls that wait behind it would wait for ever.
            connector._release_waiter()  # noqa: SLF001  # listed in private_names.py
            if isinstance(error, asyncio.CancelledError) and connector.closed:
                task = asyncio.current_task()
                if task is None or not task.cancelling():  # aiohttp cancels who waits for a place
                    return ConnectionFailed("the session was closed while the call waited")
            if not isinstance(error, Exception):
                raise
            if is_last and isinstance(error, TimeoutError):
                return ConnectTimedOut("total")
            return _unconnected(error, f"{to.host}:{to.port}")

    async def _wait_for_session(self, key: "ConnectionKey", end: float) -> None:
        """Wait while the caller's session has no place: no part of the time to connect."""
        connector = self._connector
        if key not in connector._conns:  # noqa: SLF001  # listed in private_names.py
            async with asyncio.timeout_at(None if end == inf else end):
                await connector._wait_for_available_connection(key, [])  # noqa: SLF001  # listed in private_names.py

    def may_keep(self, protocol: ResponseHandler, message: "RawResponseMessage") -> bool:
        """Whether a connection can be kept after a reply; its hints are remembered."""
        if KEEP_ALIVE not in message.headers and message.code not in NOT_AGAIN:
            return True
        hinted = self._hinted.setdefault(protocol, _Hinted())
        hinted.replies += 1
        headers = {KEEP_ALIVE: ", ".join(message.headers.getall(KEEP_ALIVE, ()))}
        seconds = idle_time(message.code, headers, hinted.replies, inf)
        hinted.until = self.watch.now() + seconds
        return seconds > 0

    async def retire(self) -> bool:
        """Close the idle connections now, and the busy ones when their calls are over.

        A caller's session keeps its connections. Returns whether no call is under way.
        """
        self._epoch += 1
        if self._own is not None:
            self._own.retire()
            await asyncio.sleep(0)  # for the last callbacks of transports
        return not self._share.in_use

    async def close(self) -> None:
        """Close all connections, busy ones too, and wait until they are closed."""
        self._share.end()
        if self._own is not None:
            await self._own.close()
            await asyncio.sleep(0)  # for the last callbacks of transports

    def bury(self) -> None:
        """Close the sockets of a loop that is closed already."""
        self._share.end()
        if self._own is not None:
            self._own.bury()

    def _add(self, origin: str) -> "Origin":
        url = URL(f"{origin}/", encoded=True)
        proxy = self._options.proxy_for(url.scheme, f"{url.host_subcomponent}:{url.port}")
        self._origins[origin] = to = Origin(url, self._options.ssl_context, proxy)
        return to


class _Hinted:
    """What a server has said about a connection."""

    until = inf
    replies = 0


async def _is_silent(protocol: ResponseHandler | None) -> bool:
    """Whether a connection is open, and nothing lies on it: no reply that no request asked for.

    Bytes to read may also be a ticket of TLS after a handshake: the loop gets a few turns to read.
    """
    for _ in range(_TURNS):
        if not is_usable(protocol) or protocol.should_close:
            return False
        if is_usable(protocol, SPOKEN):
            return True
        await asyncio.sleep(0)
    return False


class Origin(aiohttp.ClientRequest):
    """A server to connect to, in the form that connectors take; its key is made once."""

    _key: "ConnectionKey | None" = None

    def __init__(self, url: URL, context: SSLContext | None, proxy: Proxy | None) -> None:
        via: URL | None = None
        headers: dict[str, str] = {}
        if proxy is not None:
            via = URL.build(scheme=proxy.scheme, host=proxy.host.strip("[]"), port=proxy.port)
            if proxy.credential is not None:
                headers["proxy-authorization"] = proxy.credential
        self.credential = proxy and proxy.credential
        super().__init__(
            "GET",
            url,
            loop=asyncio.get_running_loop(),
            ssl=context or True,
            proxy=via,
            proxy_headers=headers or None,
            server_hostname=(url.raw_host or "").rstrip("."),
        )

    @property
    def connection_key(self) -> "ConnectionKey":
        """The key by which a connector finds idle connections to this server."""
        if self._key is None:
            self._key = super().connection_key
        return self._key


@lru_cache(512)
def _split(url: str) -> tuple[str, str]:
    """Cut a URL into scheme and host, and the rest, which is sent byte for byte."""
    match = _URL.fullmatch(url)
    if match is None:
        raise ValueError
    origin, target = match[1], match[2]
    return origin, target if target.startswith("/") else f"/{target}"


def _limited_to(connect: float | None) -> aiohttp.ClientTimeout:
    # aiohttp takes 0 for no limit; here 0 is no time at all.
    connect = connect if connect is None else max(connect, 1e-3)
    return aiohttp.ClientTimeout(connect=connect, ceil_threshold=inf)


_timeout: Final = lru_cache(64)(_limited_to)  # for the limits that clients are configured with


def _unconnected(error: Exception, place: str) -> ClaudeError:
    match error:
        case TimeoutError():
            return ConnectTimedOut(message=f"no connection to {place} in time")
        case aiohttp.ClientConnectorCertificateError() | aiohttp.ServerFingerprintMismatch():
            return because(error, CertificateRefused, f"certificate of {place} refused")
        case RuntimeError():  # outside of a task, on a closed loop, after the end of all
            return UsageError(f"the event loop cannot be used: {error}")
        case aiohttp.ClientHttpProxyError():
            return ConnectionFailed(f"no tunnel through the proxy: {error.status}")
        case _:
            return because(error, ConnectionFailed, f"no connection to {place}")


def because(error: Exception, kind: type[ClaudeError], what: str) -> ClaudeError:
    """Make an error of ours, whose cause is that of the operating system or of TLS, if any.

    The error of aiohttp and all frames are left out: they hold headers and connections.
    """
    cause: OSError | None = None
    advice: str | None = None
    name = type(error).__name__
    for found in (getattr(error, "os_error", None), error.__cause__, error):
        if isinstance(found, OSError) and not isinstance(found, aiohttp.ClientError):
            found.__cause__ = found.__context__ = found.__traceback__ = None
            reason = getattr(found, "verify_message", None) or found.strerror
            cause, name = found, type(found).__name__ + (f": {reason}" if reason else "")
            advice = advice_for(found)
            break
    failure = kind(message=f"{what} ({name})", advice=advice)
    failure.__cause__ = cause
    return failure
