"""How a connection is made on an event loop: clocks, proxies, DNS, TCP and TLS.

The only thing that this module sends is the CONNECT that asks a proxy for a tunnel. Every failure
is a `ConnectionFailed`, so that a retry policy knows that the request was not sent.

The race between addresses is run here, because that of asyncio's `create_connection` loses sockets
when it is cancelled, and uvloop has none.
"""

import asyncio
import socket
import ssl
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from errno import ECONNRESET
from math import inf
from typing import TypeVar

from claude_lite.errors import (
    CertificateRefused,
    ClaudeError,
    ConnectionFailed,
    ConnectionLost,
    ConnectTimedOut,
    UnexpectedResponse,
    UsageError,
)
from claude_lite.wire import Request
from claude_lite_transports.shared.dial import (
    Way,
    bare,
    default_context,
    is_timeout,
)
from claude_lite_transports.shared.http1 import ReplyParser, opening
from claude_lite_transports.shared.lookup import (
    HEAD_START,
    Address,
    in_order,
    look_up,
    no_address,
    remember,
)
from claude_lite_transports.shared.places import advice_for
from claude_lite_transports.shared.share import in_thread
from claude_lite_transports.shared.tcp import tcp_socket

P = TypeVar("P", bound=asyncio.BaseProtocol)


async def reach(
    way: Way,
    make: Callable[[], P],
    context: ssl.SSLContext | None,
    limit: float | None,
    deadline: float,
) -> P:
    """Return a protocol, from `make`, on a connection that is ready for a request.

    *limit* is that of the connection, in seconds; *deadline* is that of the whole attempt, in the
    loop's time. Raises `ConnectionFailed`, `CertificateRefused` or `ConnectTimedOut`.
    """
    by = inf if limit is None else asyncio.get_running_loop().time() + limit
    phase = "total" if deadline < by else "connect"
    by = min(by, deadline)
    try:
        async with asyncio.timeout_at(None if by == inf else by):
            return await _connect(way, make, context)
    except OSError as error:
        failure: ClaudeError = _failure(error, f"{way.host}:{way.port}", phase)
    except RuntimeError as error:  # outside of a task, on a closed loop, after the end of all
        failure = UsageError(f"the event loop cannot be used: {error}")
    raise failure


def _failure(error: OSError, where: str, phase: str) -> ConnectionFailed:
    if isinstance(error, ssl.SSLCertVerificationError):
        failure: ConnectionFailed = CertificateRefused(
            f"certificate of {where} refused: {error.verify_message}"
        )
    elif is_timeout(error):
        return ConnectTimedOut(phase)
    else:
        said = f"no connection to {where}: {error.strerror or str(error) or type(error).__name__}"
        failure = ConnectionFailed(said, advice=advice_for(error))
    failure.__cause__ = bare(error)
    return failure


async def _connect(way: Way, make: Callable[[], P], context: ssl.SSLContext | None) -> P:
    loop = asyncio.get_running_loop()
    at = way.proxy or way
    if way.scheme != "https":
        return (await loop.create_connection(make, sock=await _dial(at.host, at.port)))[1]
    tls = context
    if tls is None:  # loading the certificates takes 50 ms the first time
        tls = await in_thread(default_context)
    transport, tunnel = await loop.create_connection(_Tunnel, sock=await _dial(at.host, at.port))
    try:
        if way.proxy is not None:
            to = f"{way.host}:{way.port}"
            transport.write(opening(Request("CONNECT", "", {}), to, to, way.proxy.credential))
            await tunnel.opened()
        _check_open(transport)
        protocol = make()
        protocol.connection_made(transport)  # it pauses and closes what is under TLS
        secure = await loop.start_tls(transport, protocol, tls, server_hostname=way.server_name)
        protocol.connection_made(secure or transport)
    except BaseException:
        transport.abort()
        raise
    return protocol


def _check_open(transport: asyncio.BaseTransport) -> None:
    if transport.is_closing():  # uvloop's TLS would fail without an error that reaches us
        raise ConnectionResetError(ECONNRESET, "closed before TLS")


# TCP


async def _dial(host: str, port: int) -> socket.socket:
    """Race the addresses of a host, families in turn, each with a head start."""
    loop = asyncio.get_running_loop()
    host = host.strip("[]")
    found = look_up(host, port)
    if isinstance(found, Future):
        found = await asyncio.wrap_future(found)
    if isinstance(found, Exception) or not found:
        failure = ConnectionFailed(no_address(host, found))
        failure.__cause__ = bare(found) if isinstance(found, OSError) else None
        raise failure
    addresses = in_order(host, port, found)
    first = addresses[0][4]
    if len(addresses) == 1:
        return await _try(addresses[0])
    tasks: list[asyncio.Task[socket.socket]] = []
    winner = None
    try:
        pending: set[asyncio.Task[socket.socket]] = set()
        while winner is None and (addresses or pending):
            if addresses:
                tasks.append(loop.create_task(_try(addresses.pop(0))))
                pending.add(tasks[-1])
            done, pending = await asyncio.wait(
                pending,
                timeout=HEAD_START if addresses else None,
                return_when=asyncio.FIRST_COMPLETED,
            )
            winner = next((task for task in done if task.exception() is None), None)
        sock = (winner or tasks[0]).result()
        remember(host, port, sock.getpeername(), first)
        return sock
    finally:
        for task in tasks:
            if task is not winner:
                task.cancel()
                task.add_done_callback(_discard)


async def _try(address: Address) -> socket.socket:
    sock = tcp_socket(*address[:3])
    try:
        sock.settimeout(0)
        await asyncio.get_running_loop().sock_connect(sock, address[4])
    except BaseException:
        sock.close()
        raise
    return sock


def _discard(task: "asyncio.Task[socket.socket]") -> None:
    with suppress(asyncio.CancelledError, OSError):
        task.result().close()


# Tunnels


class _Tunnel(asyncio.Protocol):
    """The answer of a proxy to CONNECT (RFC 9110, section 9.3.6)."""

    def __init__(self) -> None:
        self._reply = ReplyParser("CONNECT")
        self._answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def opened(self) -> None:
        """Wait for the tunnel; raises `ConnectionFailed` if the proxy refuses one."""
        answer = await self._answer
        if answer not in map(str, range(200, 300)):
            raise ConnectionFailed(f"no tunnel through the proxy: {answer}")

    def data_received(self, data: bytes) -> None:
        """Read the answer."""
        self._reply.receive(data)
        self._look()

    def eof_received(self) -> None:
        """Take the end of the answer."""
        self._reply.receive(b"")
        self._look()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # asyncio passes it
        """Take the end of the answer."""
        self.eof_received()

    def _look(self) -> None:
        answer = ""
        try:
            if self._reply.has_head():
                answer = str(self._reply.status)
        except (ConnectionLost, UnexpectedResponse) as error:
            answer = error.message
        if answer and not self._answer.done():
            self._answer.set_result(answer)
