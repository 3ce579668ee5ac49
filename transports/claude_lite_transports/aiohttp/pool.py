"""The connections of the aiohttp transport: where they lead, which can be used, how they close.

aiohttp's connector brings DNS, happy eyeballs, TLS, proxies and the pool. This module adds what
the connector lacks. It never hands out a connection that the server has closed, or on which the
server has sent something unasked. It closes without a wait. In a child process it never touches
what the parent opened: an event queue is shared across `fork`, and closing the child's copy would
make the parent's loop miss its events.

Every failure here happens before anything was sent. A connector never gets the headers of a
request, so it cannot leak the API key.
"""

import asyncio
import re
import socket
from collections.abc import Iterator
from errno import ECONNRESET
from functools import lru_cache, partial
from math import inf
from os import getpid
from ssl import SSLContext
from typing import TYPE_CHECKING, Any, Final, cast

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
from claude_lite_transports.aiohttp.connection import SPOKEN, Handler, is_usable, let_go
from claude_lite_transports.aiohttp.watch import Watch
from claude_lite_transports.shared.options import TransportOptions
from claude_lite_transports.shared.per_loop import close_without_loop
from claude_lite_transports.shared.proxies import Proxy
from claude_lite_transports.shared.read_buffer import ReadBuffer
from claude_lite_transports.shared.tcp import tcp_socket

if TYPE_CHECKING:
    from aiohttp.client_reqrep import ConnectionKey
    from aiohttp.connector import AddrInfoType, Connection
    from aiohttp.tracing import Trace

_MAX_STALE: Final = (
    100  # connections of a session's connector that may be closed before one is used
)
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
    ) -> None:
        self._connector = connector or _Connector(options.keepalive_timeout)
        self._options = options
        self._origins: dict[str, Origin] = {}
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
        """Take a connection from the pool or open one; a failure is returned.

        It may take *seconds*, but not longer than until *end*, when the attempt has to be over.
        The connector of a caller's session may give a connection on which something lies that no
        request asked for. Such a connection is closed, and another one is taken.
        """
        for _ in range(_MAX_STALE):
            connection = await self._take(to, seconds, end)
            if isinstance(connection, ClaudeError) or isinstance(self._connector, _Connector):
                return connection
            if await _is_silent(connection.protocol):
                return connection
            let_go(connection)
        return ConnectionFailed("each connection was closed, or spoken on, before its use")

    async def _take(
        self, to: "Origin", seconds: float | None, end: float
    ) -> "Connection | ClaudeError":
        left = end - self.watch.now()
        if left <= 0:
            return ConnectTimedOut("total")
        is_last = left < (inf if seconds is None else seconds)
        try:
            within = _limited_to(left) if is_last else _timeout(seconds)
            return await self._connector.connect(to, [], within)
        except BaseException as error:
            # If a session limits its connections, and this call ends just as its turn comes,
            # aiohttp loses the turn: the calls that wait behind it would wait for ever.
            self._connector._release_waiter()  # noqa: SLF001  # listed in private_names.py
            if not isinstance(error, Exception):
                raise
            if is_last and isinstance(error, TimeoutError):
                return ConnectTimedOut("total")
            return _unconnected(error, f"{to.host}:{to.port}")

    async def close(self) -> None:
        """Close all connections, busy ones too, and wait until they are closed."""
        if isinstance(self._connector, _Connector):
            await self._connector.close()
            await asyncio.sleep(0)  # for the last callbacks of transports

    def bury(self) -> None:
        """Close the sockets of a loop that is closed already."""
        if isinstance(self._connector, _Connector):
            self._connector.bury()

    def _add(self, origin: str) -> "Origin":
        url = URL(f"{origin}/", encoded=True)
        proxy = self._options.proxy_for(url.scheme, f"{url.host_subcomponent}:{url.port}")
        self._origins[origin] = to = Origin(url, self._options.ssl_context, proxy)
        return to


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


class _Connector(aiohttp.TCPConnector):
    def __init__(self, keepalive_timeout: float) -> None:
        self._pid = getpid()
        kept: Any = {"keepalive_timeout": keepalive_timeout}
        if not keepalive_timeout:  # aiohttp would keep such a connection until its next use
            kept = {"force_close": True}
        super().__init__(
            limit=0,
            **kept,
            timeout_ceil_threshold=inf,
            resolver=aiohttp.ThreadedResolver(),  # the system's answers, not those of aiodns
            ttl_dns_cache=10,
            socket_factory=_socket,
        )
        made: Any = partial(Handler, self._loop, ReadBuffer())
        self._factory = made

    async def _get(self, key: "ConnectionKey", traces: "list[Trace]") -> "Connection | None":
        while (connection := await super()._get(key, traces)) is not None:
            protocol = connection.protocol
            if is_usable(protocol, SPOKEN) and not protocol.should_close:
                return connection
            let_go(connection)
        return None

    async def _create_connection(
        self,
        req: aiohttp.ClientRequest,
        traces: "list[Trace]",
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109  # aiohttp's name
    ) -> ResponseHandler:
        protocol = await super()._create_connection(req, traces, timeout)
        if not is_usable(protocol):
            protocol.abort()
            raise aiohttp.ServerDisconnectedError
        return protocol

    async def _wrap_create_connection(
        self, *args: Any, **options: Any
    ) -> tuple[asyncio.Transport, ResponseHandler]:
        context = options.pop("ssl", None)
        if context is None:
            return await super()._wrap_create_connection(*args, **options)
        options.pop("server_hostname", None)
        tcp, _ = await super()._wrap_create_connection(asyncio.Protocol, **options)
        if tcp.is_closing():  # uvloop's TLS would fail without an error that reaches us
            closed = ConnectionResetError(ECONNRESET, "closed before TLS")
            raise options["client_error"](options["req"].connection_key, closed)
        made: Any = await self._start_tls_connection(
            tcp, options["req"], options["timeout"], options["client_error"]
        )
        return cast("tuple[asyncio.Transport, ResponseHandler]", made)

    async def _start_tls_connection(
        self, underlying_transport: asyncio.Transport, *args: Any, **options: Any
    ) -> tuple[asyncio.BaseTransport, ResponseHandler]:
        made = await super()._start_tls_connection(underlying_transport, *args, **options)
        cast("Handler", made[1]).tcp = underlying_transport
        return made

    def _transports(self) -> Iterator[asyncio.Transport]:
        idle = [protocol for pool in self._conns.values() for protocol, _ in pool]
        for protocol in [*idle, *self._acquired]:
            if protocol.transport is not None:
                yield protocol.transport

    async def close(self, *, abort_ssl: bool = True) -> None:  # noqa: ARG002  # it is always aborted
        for transport in self._transports():
            transport.abort()
        await super().close()

    def bury(self) -> None:
        for transport in self._transports():
            close_without_loop(transport)
        self._close()

    def __del__(self, *args: Any) -> None:
        if self._pid == getpid():  # pragma: no branch  # not in a forked child
            super().__del__(*args)


def _socket(address: "AddrInfoType") -> socket.socket:
    return tcp_socket(*address[:3])


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
        case aiohttp.ClientHttpProxyError():
            return ConnectionFailed(f"no tunnel through the proxy: {error.status}")
        case _:
            return because(error, ConnectionFailed, f"no connection to {place}")


def because(error: Exception, kind: type[ClaudeError], what: str) -> ClaudeError:
    """Make an error of ours, whose cause is that of the operating system or of TLS, if any.

    The error of aiohttp and all frames are left out: they hold headers and connections.
    """
    cause, name = None, type(error).__name__
    for found in (getattr(error, "os_error", None), error.__cause__, error):
        if isinstance(found, OSError) and not isinstance(found, aiohttp.ClientError):
            found.__cause__ = found.__context__ = found.__traceback__ = None
            reason = getattr(found, "verify_message", None) or found.strerror
            cause, name = found, type(found).__name__ + (f": {reason}" if reason else "")
            break
    failure = kind(message=f"{what} ({name})")
    failure.__cause__ = cause
    return failure
