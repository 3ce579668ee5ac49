"""How a blocking connection is made: clocks, proxies, DNS, TCP and TLS.

The only thing that this module sends is the CONNECT that asks a proxy for a tunnel, and it keeps
no connection. Every failure is a `ConnectionFailed`, so that a retry policy knows that the request
was not sent.
"""

import math
import os
import re
import select
import socket
import ssl
from collections import deque
from collections.abc import Iterable
from concurrent.futures import Future
from contextlib import suppress
from functools import cache
from math import inf
from time import monotonic
from typing import Final

from attrs import evolve, frozen

from claude_lite.errors import (
    CertificateRefused,
    ConnectionFailed,
    ConnectionLost,
    ConnectTimedOut,
    TimedOut,
    TransportError,
    UnexpectedResponse,
    UsageError,
)
from claude_lite.wire import Limits, MaskedStr, Request
from claude_lite_transports.shared.http1 import ReplyParser, opening
from claude_lite_transports.shared.lookup import (
    HEAD_START,
    Address,
    in_order,
    look_up,
    no_address,
    remember,
)
from claude_lite_transports.shared.options import TransportOptions
from claude_lite_transports.shared.places import advice_for
from claude_lite_transports.shared.proxies import Proxy
from claude_lite_transports.shared.tcp import tcp_socket

RECEIVE: Final = 64 * 1024

_URL: Final = re.compile(r"(https?)://([^/?#]+)([!-\"$-~]*)(?:#[!-~]*)?")
_AUTHORITY: Final = re.compile(
    r"(\[[0-9A-Fa-f:.]+\]|[0-9A-Za-z_-][0-9A-Za-z._-]*)(?::([0-9]{1,5}))?"
)
_PORTS: Final = {"http": 80, "https": 443}
_MAX_PORT: Final = 65535


class Clocks:
    """The limits of one attempt; they run from its start.

    While `connecting` is true, the connect limit applies, from `start_connecting` on; after that,
    the limit on silence.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._began = self._connects_from = monotonic()
        self._phase = "connect"
        self.connecting = True

    def total_left(self) -> float | None:
        """The seconds that are left of the attempt."""
        total = self._limits.total
        return None if total is None else total - (monotonic() - self._began)

    def start_connecting(self) -> None:
        """Let the connect limit run from now: the attempt had to wait for its turn."""
        self._connects_from = monotonic()

    def left(self) -> float | None:
        """The seconds that the next wait may take; raises `TimedOut` if there are none left."""
        now = monotonic()
        gone, limits = now - self._began, self._limits
        if self.connecting:
            self._phase = "connect"
            left = None
            if limits.connect is not None:
                left = limits.connect - (now - self._connects_from)
        else:
            self._phase, left = "read", limits.read
        if limits.total is not None and (left is None or limits.total - gone < left):
            self._phase, left = "total", limits.total - gone
        if left is not None and left <= 0:
            raise self.over()
        return left

    def shorten(self, seconds: float) -> None:
        """End the attempt in *seconds*, or earlier."""
        total = monotonic() - self._began + seconds
        if self._limits.total is None or total < self._limits.total:
            self._limits = evolve(self._limits, total=total)

    def over(self) -> TimedOut:
        """Make the error that says which limit has passed."""
        return ConnectTimedOut(self._phase) if self.connecting else TimedOut(self._phase)


def bare(error: OSError) -> OSError:
    """Remove all but its own words from an error, so that it can be the cause of one of ours.

    Its traceback and the errors that it is chained to would keep frames alive, and show them.
    """
    error.__cause__ = error.__context__ = None
    return error.with_traceback(None)


def is_timeout(error: OSError) -> bool:
    """Whether a socket's own timeout has passed; with ETIMEDOUT the kernel says: peer lost."""
    return isinstance(error, TimeoutError) and error.errno is None


def ready(sock: socket.socket, timeout: float | None, *, write: bool) -> tuple[bool, bool]:
    """Wait until a socket can be read (or has ended) or can be written; say which of the two.

    `poll` is preferred, because `select` fails for descriptors above 1023.
    """
    if hasattr(select, "poll"):
        poll = select.poll()
        poll.register(sock, select.POLLIN | (select.POLLOUT if write else 0))
        events = poll.poll(None if timeout is None else math.ceil(timeout * 1000))
        flags = events[0][1] if events else 0
        return bool(flags & ~select.POLLOUT), bool(flags & select.POLLOUT)
    readers, writers, _ = select.select([sock], [sock] if write else [], [], timeout)
    return bool(readers), bool(writers)


@cache
def default_context() -> ssl.SSLContext:
    """The TLS context where none was given; one for all, as loading certificates takes 50 ms."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    authorities = ssl.get_default_verify_paths().cafile
    if authorities is not None and not context.cert_store_stats()["x509"]:
        # `ssl` says nothing if it cannot open the file, for want of a descriptor. Here that is an
        # error, and no context without certificates is kept.
        with suppress(ssl.SSLError):  # the file may be empty: there may be a folder besides
            context.load_verify_locations(authorities)
    return context


@frozen(eq=False)
class Way:
    """The way to a server: direct, or through a proxy. `host` is as it stands in the URL."""

    scheme: str
    host: str
    port: int
    proxy: Proxy | None = None

    @property
    def tunnel(self) -> bool:
        """Whether there is a proxy that passes all bytes on unread, as TLS needs."""
        return self.proxy is not None and self.scheme == "https"

    @property
    def server_name(self) -> str:
        """The host as TLS has it: without brackets, and without a dot at its end."""
        return self.host.strip("[]").rstrip(".")

    def connect(self, clocks: Clocks, context: ssl.SSLContext | None) -> socket.socket:
        """Open a connection that is ready for a request.

        Raises `ConnectionFailed`, `CertificateRefused` or `ConnectTimedOut`.
        """
        at = self.proxy or self
        sock = _connect(at.host.strip("[]"), at.port, clocks)
        try:
            if self.tunnel and self.proxy is not None:
                _ask_for_tunnel(sock, f"{self.host}:{self.port}", self.proxy.credential, clocks)
            if self.scheme == "https":
                context = context or default_context()
                sock = context.wrap_socket(
                    sock,
                    server_hostname=self.server_name,
                    do_handshake_on_connect=False,
                )
                sock.settimeout(clocks.left())
                sock.do_handshake()
        except OSError as error:
            sock.close()
            raise _failure(error, f"{self.host}:{self.port}", clocks) from bare(error)
        except BaseException:
            sock.close()
            raise
        return sock


def split_url(url: str) -> tuple[str, str, str]:
    """Split a URL into scheme, authority and target, each as it stands, without its fragment.

    Raises `UsageError` if it is no http(s) URL, or if it is not percent-encoded.
    """
    parts = _URL.fullmatch(url)
    if parts is None:
        raise UsageError(
            "a URL has to begin with http:// or https:// and a host, and to be percent-encoded"
        )
    target = parts[3]
    return parts[1], parts[2], target if target.startswith("/") else "/" + target


def find_way(scheme: str, authority: str, options: TransportOptions) -> Way:
    """Find the way to a server.

    Args:
        scheme: "http" or "https".
        authority: Host and perhaps port, as the URL has them.
        options: Of the transport; they say which proxy to use.

    Raises:
        UsageError: The server or its proxy cannot be used.

    """
    parts = _AUTHORITY.fullmatch(authority)
    port = int(parts[2] or _PORTS[scheme]) if parts else 0
    if parts is None or not 0 < port <= _MAX_PORT:
        raise UsageError(
            "the host or the port in a URL cannot be used; a user and a password cannot stand there"
        )
    return Way(scheme, parts[1], port, options.proxy_for(scheme, f"{parts[1]}:{port}"))


def _connect(host: str, port: int, clocks: Clocks) -> socket.socket:
    """Race the addresses of a host: each gets a head start over the next (RFC 8305)."""
    found = look_up(host, port)
    if isinstance(found, Future):
        try:
            found = found.result(timeout=clocks.left())
        except TimeoutError:
            found = clocks.over()
        if isinstance(found, TimedOut):
            raise found
    if isinstance(found, Exception) or not found:
        cause = bare(found) if isinstance(found, OSError) else None
        raise ConnectionFailed(no_address(host, found)) from cause
    addresses = in_order(host, port, found)
    race = _Race(addresses)
    try:
        sock = race.run(clocks)
    except OSError as error:
        raise _failure(error, f"{host}:{port}", clocks) from bare(error)
    finally:
        race.close()
    remember(host, port, race.winner, addresses[0][4])
    return sock


class _Race:
    """Attempts to connect to several addresses, of which the first that succeeds wins."""

    winner: Address = ()

    def __init__(self, addresses: list[Address]) -> None:
        self._left = deque(addresses)
        self._running: dict[socket.socket, Address] = {}
        self._failure = OSError("no address")
        self._next = 0.0

    def run(self, clocks: Clocks) -> socket.socket:
        """Return the socket that has connected first; raises `OSError`, or `ConnectTimedOut`."""
        while self._left or self._running:
            now, wait = monotonic(), clocks.left()
            if self._left and (not self._running or now >= self._next):
                self._next = now + HEAD_START
                self._start(self._left.popleft())
            if not self._running:  # the system has refused at once
                continue
            if self._left:
                wait = min(inf if wait is None else wait, max(0.0, self._next - now))
            for sock in _settled(self._running, wait):
                where = self._running.pop(sock)
                if not (code := sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)):
                    self.winner = where[4]
                    return sock
                sock.close()
                self._failed(OSError(code, os.strerror(code)))
        raise self._failure

    def close(self) -> None:
        """Close the sockets that have lost."""
        for sock in self._running:
            sock.close()
        self._running.clear()

    def _start(self, address: Address) -> None:
        try:
            sock = tcp_socket(*address[:3])
        except OSError as error:
            self._failed(error)
            return
        try:
            sock.settimeout(0)
            sock.connect(address[4])
        except BlockingIOError:
            pass  # it is under way
        except OSError as error:
            sock.close()
            self._failed(error)
            return
        except BaseException:
            sock.close()
            raise
        self._running[sock] = address

    def _failed(self, error: OSError) -> None:
        self._failure = bare(error)
        self._next = 0.0  # the next address need not wait


def _settled(socks: Iterable[socket.socket], timeout: float | None) -> list[socket.socket]:
    """Wait for sockets that have connected, or failed to."""
    if hasattr(select, "poll"):
        by_number = {sock.fileno(): sock for sock in socks}
        poll = select.poll()
        for number in by_number:
            poll.register(number, select.POLLOUT)
        events = poll.poll(None if timeout is None else math.ceil(timeout * 1000))
        return [by_number[number] for number, _ in events]
    every = list(socks)
    if not every:
        return []
    _, connected, failed = select.select([], every, every, timeout)
    return [*connected, *(sock for sock in failed if sock not in connected)]


def _ask_for_tunnel(
    sock: socket.socket, to: str, credential: MaskedStr | None, clocks: Clocks
) -> None:
    """Ask the proxy to connect to the server (RFC 9110, section 9.3.6)."""
    reply = ReplyParser("CONNECT")
    sock.settimeout(clocks.left())
    sock.sendall(opening(Request("CONNECT", "", {}), to, to, credential))
    failure = ""
    try:
        while not reply.has_head():
            sock.settimeout(clocks.left())
            reply.receive(sock.recv(RECEIVE))
    except (ConnectionLost, UnexpectedResponse) as error:
        failure = error.message
    if failure or reply.status not in range(200, 300):
        raise ConnectionFailed(f"no tunnel through the proxy: {failure or reply.status}")


def _failure(error: OSError, where: str, clocks: Clocks) -> TransportError:
    if is_timeout(error):
        return clocks.over()
    if isinstance(error, ssl.SSLCertVerificationError):
        return CertificateRefused(f"certificate of {where} refused: {error.verify_message}")
    said = f"no connection to {where}: {error.strerror or str(error) or type(error).__name__}"
    return ConnectionFailed(said, advice=advice_for(error))
