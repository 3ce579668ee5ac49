"""Connections for the aiohttp transport: where to, alive when handed out, closed at once.

aiohttp's connector brings DNS, happy eyeballs, TLS, proxies and the pool. This module adds
what it lacks: it never hands out a connection that the server has closed or has spoken on
out of turn, never lingers over a close, and never touches what a parent process opened: an
event queue is shared across `fork`, so that closing "our" copy would deafen the parent's.

Whatever fails here fails before anything was sent. A connector is never told a request's
headers, and so cannot leak the API key.
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
from claude_lite_transports.shared.options import Options
from claude_lite_transports.shared.per_loop import close_without_loop
from claude_lite_transports.shared.proxies import Proxy
from claude_lite_transports.shared.read_buffer import ReadBuffer
from claude_lite_transports.shared.tcp import tcp_socket

if TYPE_CHECKING:
    from aiohttp.client_reqrep import ConnectionKey
    from aiohttp.connector import AddrInfoType, Connection
    from aiohttp.tracing import Trace

_URL: Final = re.compile(r"((?i:https?)://[^/?#@\s]+)((?:[/?][!\"$-~]*)?)(?:#.*)?")


class AiohttpPool:
    """The connections of one loop, and how each origin is reached.

    Takes the options of `AiohttpTransport`, and a connector unless it is to make its own.
    """

    def __init__(
        self,
        connector: aiohttp.BaseConnector | None,
        options: Options,
    ) -> None:
        self._connector = connector or _Connector(options.keepalive_timeout)
        self._options = options
        self._origins: dict[str, Origin] = {}
        self.watch = Watch()

    def way_to(self, url: str) -> "tuple[Origin, str]":
        """Find out where to connect to, and how the target of the request is written there.

        Raises `UsageError` if the URL, or that of a proxy, cannot be used.
        """
        try:
            origin, target = _split(url)
            to = self._origins.get(origin) or self._add(origin)
        except UsageError:
            raise
        except ValueError:
            to, origin, target = None, "", ""
        if to is None:  # raised here, so that the error is chained to none that shows the URL
            raise UsageError("the URL has to begin with http(s)://host, and to be encoded")
        return to, f"{origin}{target}" if to.proxy is not None and not to.is_ssl() else target

    async def connect(
        self, to: "Origin", seconds: float | None, end: float
    ) -> "Connection | ClaudeError":
        """Take a connection from the pool or open one; what went wrong is returned.

        It may take so many seconds, but not longer than to the *end* of the attempt.
        """
        left = end - self.watch.now()
        if left <= 0:
            return ConnectTimedOut("total")
        is_last = left < (inf if seconds is None else seconds)
        try:
            within = _limited_to(left) if is_last else _timeout(seconds)
            connection = await self._connector.connect(to, [], within)
        except BaseException as error:
            # Where connections are limited and this one ends just as it is its turn, aiohttp
            # loses the turn, and those who wait behind it would wait for good.
            self._connector._release_waiter()  # noqa: SLF001  # as said
            if not isinstance(error, Exception):
                raise
            if is_last and isinstance(error, TimeoutError):
                return ConnectTimedOut("total")
            return _unconnected(error, f"{to.host}:{to.port}")
        if not isinstance(self._connector, _Connector) and not is_usable(connection.protocol):
            let_go(connection)
            return ConnectionFailed("the connection was closed before its use")
        return connection

    async def close(self) -> None:
        """Close all connections, those in use as well, and wait until they are."""
        if isinstance(self._connector, _Connector):
            await self._connector.close()
            await asyncio.sleep(0)  # the transports' last callbacks

    def bury(self) -> None:
        """Close the sockets of a loop that is closed itself."""
        if isinstance(self._connector, _Connector):
            self._connector.bury()

    def _add(self, origin: str) -> "Origin":
        url = URL(f"{origin}/", encoded=True)
        proxy = self._options.proxy_for(url.scheme, f"{url.host_subcomponent}:{url.port}")
        self._origins[origin] = to = Origin(url, self._options.ssl_context, proxy)
        return to


class Origin(aiohttp.ClientRequest):
    """Where to connect to, in the form that connectors take; the key is made but once."""

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
        """What connectors find a connection by."""
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
            resolver=aiohttp.ThreadedResolver(),  # the system's answers, aiodns or not
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
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109  # the name that it has
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
        if tcp.is_closing():  # uvloop's TLS would fail where nobody hears of it
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

    async def close(self, *, abort_ssl: bool = True) -> None:  # noqa: ARG002  # always so
        for transport in self._transports():
            transport.abort()
        await super().close()

    def bury(self) -> None:
        for transport in self._transports():
            close_without_loop(transport)
        self._close()

    def __del__(self, *args: Any) -> None:
        if self._pid == getpid():  # pragma: no branch  # else it is in a forked child
            super().__del__(*args)


def _socket(address: "AddrInfoType") -> socket.socket:
    return tcp_socket(*address[:3])


@lru_cache(512)
def _split(url: str) -> tuple[str, str]:
    """Cut a URL into its origin and the rest, which is to be sent byte for byte."""
    match = _URL.fullmatch(url)
    if match is None:
        raise ValueError
    origin, target = match[1], match[2]
    return origin, target if target.startswith("/") else f"/{target}"


def _limited_to(connect: float | None) -> aiohttp.ClientTimeout:
    # aiohttp takes 0 for "no limit"; here it is no time at all.
    connect = connect if connect is None else max(connect, 1e-3)
    return aiohttp.ClientTimeout(connect=connect, ceil_threshold=inf)


_timeout: Final = lru_cache(64)(_limited_to)  # of those that clients are configured with


def _unconnected(error: Exception, place: str) -> ClaudeError:
    match error:
        case TimeoutError():
            return ConnectTimedOut(message=f"no connection to {place} in time")
        case aiohttp.ClientConnectorCertificateError() | aiohttp.ServerFingerprintMismatch():
            return because(error, CertificateRefused, f"the certificate of {place} is refused")
        case aiohttp.ClientHttpProxyError():
            return ConnectionFailed(f"the proxy refused a connection (status {error.status})")
        case _:
            return because(error, ConnectionFailed, f"no connection to {place}")


def because(error: Exception, kind: type[ClaudeError], what: str) -> ClaudeError:
    """Make an error of our own, caused by no more than the operating system's (or TLS's) word.

    What aiohttp raises stays behind, and so do the frames: they hold on to too much.
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
