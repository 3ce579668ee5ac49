"""How a blocking connection is made: clocks, proxies, DNS, TCP and TLS.

The only thing that this module sends is the CONNECT that asks a proxy for a tunnel, and it keeps
no connection. Every failure is a `ConnectionFailed`, so that a retry policy knows that the request
was not sent.
"""

import math
import re
import select
import socket
import ssl
from functools import cache
from time import monotonic
from typing import Any, Final

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
from claude_lite_transports.shared.options import TransportOptions
from claude_lite_transports.shared.places import advice_for
from claude_lite_transports.shared.proxies import Proxy
from claude_lite_transports.shared.tcp import tcp_socket

Address = tuple[Any, ...]
"""An address as `socket.getaddrinfo` has it."""

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

        Raises `ConnectionFailed`, `CertificateRefused` or `ConnectTimedOut`. No clock can
        interrupt the resolver: if DNS hangs, the limit is noticed when the resolver returns.
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
    """Try the addresses of a host one after the other, each for its share of the time left."""
    try:
        addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise ConnectionFailed(f"no address for {host}: {error.strerror}") from bare(error)
    except UnicodeError:  # raised by the codec for host names, for empty and too long labels
        addresses = []
    failure = OSError(f"no address for {host}")
    for waiting, address in enumerate(addresses):
        left = clocks.left()
        try:
            return _try(address, left and left / (len(addresses) - waiting))
        except OSError as error:
            failure = bare(error)
    raise _failure(failure, f"{host}:{port}", clocks) from failure


def _try(address: Address, timeout: float | None) -> socket.socket:
    sock = tcp_socket(*address[:3])
    try:
        sock.settimeout(timeout)
        sock.connect(address[4])
    except BaseException:
        sock.close()
        raise
    return sock


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
    said = f"no connection to {where}: {error.strerror or error}"
    return ConnectionFailed(said, advice=advice_for(error))
