"""The connector of aiohttp that a pool makes for itself, and its resolver.

It never gives out a connection that the server has closed, or on which the server has sent
something unasked. It closes without a wait. In a child process it never touches what the parent
opened. The connector of a caller's session is used as it is: see `pool.py`.
"""

import asyncio
import socket
from collections.abc import Iterator
from concurrent.futures import Future
from errno import ECONNRESET
from functools import partial
from math import inf
from operator import itemgetter
from os import getpid
from typing import TYPE_CHECKING, Any, cast

import aiohttp
from aiohttp.abc import AbstractResolver
from aiohttp.client_proto import ResponseHandler

from claude_lite_transports.aiohttp.connection import SPOKEN, Handler, is_usable, let_go
from claude_lite_transports.shared.lookup import in_order, look_up, remember
from claude_lite_transports.shared.per_loop import close_without_loop
from claude_lite_transports.shared.read_buffer import ReadBuffer
from claude_lite_transports.shared.share import Share, on_loop
from claude_lite_transports.shared.tcp import tcp_socket

if TYPE_CHECKING:
    from aiohttp.abc import ResolveResult
    from aiohttp.client_reqrep import ConnectionKey
    from aiohttp.connector import AddrInfoType, Connection
    from aiohttp.tracing import Trace


class Connector(aiohttp.TCPConnector):
    """The connector of one pool, with connections of our own kind."""

    def __init__(self, keepalive_timeout: float, share: Share) -> None:
        self._pid = getpid()
        self._places = share.places
        kept: Any = {"keepalive_timeout": keepalive_timeout}
        if not keepalive_timeout:  # aiohttp would keep such a connection until its next use
            kept = {"force_close": True}
        super().__init__(
            limit=0,
            **kept,
            timeout_ceil_threshold=inf,
            resolver=_Resolver(),
            use_dns_cache=False,  # it would turn the order of addresses round
            socket_factory=_socket,
        )
        made: Any = partial(Handler, self._loop, ReadBuffer())
        self._factory = made
        self._places.add(self)

    def idle(self) -> int:
        """Count the idle connections."""
        return sum(map(len, list(self._conns.values())))

    def close_oldest(self, number: int) -> None:
        """Close some idle connections, from any thread."""
        on_loop(self._loop, self._close_oldest, number)

    def _close_oldest(self, number: int) -> None:
        idle = [(since, protocol) for kept in self._conns.values() for protocol, since in kept]
        for _, protocol in sorted(idle, key=itemgetter(0))[:number]:
            self._close_idle(protocol)

    def retire(self) -> None:
        """Close the idle connections now, and the busy ones when they are released."""
        self._close_oldest(self.idle())
        for protocol in self._acquired:
            if isinstance(protocol, ResponseHandler):  # or it stands for one that is being opened
                protocol.force_close()

    def _close_idle(self, protocol: ResponseHandler) -> None:
        for key, kept in list(self._conns.items()):
            left = [entry for entry in kept if entry[0] is not protocol]
            kept.clear()
            kept.extend(left)
            if not left:
                del self._conns[key]
        protocol.abort()

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
        self._places.make_room(self)
        protocol = await super()._create_connection(req, traces, timeout)
        if not is_usable(protocol):
            protocol.abort()
            raise aiohttp.ServerDisconnectedError
        return protocol

    async def _wrap_create_connection(
        self, *args: Any, **options: Any
    ) -> tuple[asyncio.Transport, ResponseHandler]:
        req, first = options["req"], options["addr_infos"][0][4]
        context = options.pop("ssl", None)
        if context is not None:
            options.pop("server_hostname", None)
            args = (asyncio.Protocol,)
        tcp, made = await super()._wrap_create_connection(*args, **options)
        remember(req.host, req.port, tcp.get_extra_info("peername") or first, first)
        if context is None:
            return tcp, made
        if tcp.is_closing():  # uvloop's TLS would fail without an error that reaches us
            closed = ConnectionResetError(ECONNRESET, "closed before TLS")
            raise options["client_error"](req.connection_key, closed)
        secure: Any = await self._start_tls_connection(
            tcp, req, options["timeout"], options["client_error"]
        )
        return cast("tuple[asyncio.Transport, ResponseHandler]", secure)

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
        """Close all connections at once."""
        for transport in self._transports():
            transport.abort()
        await super().close()

    def bury(self) -> None:
        """Close the sockets of a loop that is closed already."""
        for transport in self._transports():
            close_without_loop(transport)
        self._close()

    def __del__(self, *args: Any) -> None:
        if self._pid == getpid():  # pragma: no branch  # not in a forked child
            super().__del__(*args)


class _Resolver(AbstractResolver):
    """The system's answers, not those of aiodns, in threads that nobody has to wait for."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list["ResolveResult"]:
        """Return the addresses of a host, in the order to try them; raises `socket.gaierror`."""
        found = look_up(host, port)
        if isinstance(found, Future):
            found = await asyncio.wrap_future(found)
        if isinstance(found, Exception):
            raise socket.gaierror(*found.args[:2]) from None
        return [
            {
                "hostname": host,
                "host": f"{at[0]}%{at[3]}" if any(at[3:]) else at[0],
                "port": at[1],
                "family": kind,
                "proto": protocol,
                "flags": socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            }
            for kind, _, protocol, _, at in in_order(host, port, found)
            if family in (socket.AF_UNSPEC, kind)
        ]

    async def close(self) -> None:
        """Do nothing."""


def _socket(address: "AddrInfoType") -> socket.socket:
    return tcp_socket(*address[:3])
