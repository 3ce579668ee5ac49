"""A raw server on loopback that does what a script says.

The server only finds where a request ends. The script decides which bytes are sent, when, and
how the connection breaks, so that a case of the conformance suite shows every byte on which it
depends. A connection lives for some seconds at most, so that a client without time limits ends
as well.
"""

import socket
import ssl
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from time import sleep
from types import TracebackType
from typing import Final, Self

from attrs import frozen

SOCKET_TIMEOUT: Final = 3.0  # seconds

Script = Callable[["Peer"], None]


@frozen
class Received:
    """One request as it was on the wire; the names in `headers` keep the case of the client."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def values(self, name: str) -> list[str]:
        """Return the values of all headers with this name, which is in lower case."""
        return [value for key, value in self.headers if key.lower() == name]


class Peer:
    """The server's end of one connection; `number` is that of the connection, from 0."""

    def __init__(self, sock: socket.socket, number: int, received: list[Received]) -> None:
        self.number = number
        self._sock = sock
        self._received = received
        self._buffer = bytearray()
        sock.settimeout(SOCKET_TIMEOUT)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def secure(self, context: ssl.SSLContext) -> None:
        """Start TLS, as a server does."""
        self._sock = context.wrap_socket(self._sock, server_side=True)

    def request(self) -> Received | None:
        """Read a whole request; None if the client closes, or sends no request in time."""
        try:
            head = self.head()
            return head and self.body(head)
        except OSError:
            return None

    def head(self) -> Received | None:
        """Read the head of a request, but not its body."""
        while b"\r\n\r\n" not in self._buffer:
            if not self._read():
                return None
        text, _, rest = self._buffer.partition(b"\r\n\r\n")
        self._buffer = rest
        first, *lines = text.decode("latin-1").split("\r\n")
        method, target, _ = first.split(" ", 2)
        fields = (line.partition(":") for line in lines)
        headers = tuple((name, value.strip(" ")) for name, _, value in fields)
        return Received(method, target, headers, b"")

    def body(self, head: Received) -> Received | None:
        """Read the body that belongs to *head*. A chunked body is kept as it was sent."""
        chunked = head.values("transfer-encoding")
        size = int((head.values("content-length") or ["0"])[0])
        while (not self._buffer.endswith(b"0\r\n\r\n")) if chunked else len(self._buffer) < size:
            if not self._read():
                return None
        size = len(self._buffer) if chunked else size
        whole = Received(head.method, head.target, head.headers, bytes(self._buffer[:size]))
        del self._buffer[:size]
        self._received.append(whole)
        return whole

    def send(self, *pieces: bytes) -> None:
        """Send bytes, if possible each piece in a packet of its own."""
        for piece in pieces:
            self._sock.sendall(piece)

    def gone(self, within: float = 1.0) -> bool:
        """Wait until the client has closed the connection; False if it does not in time."""
        self._sock.settimeout(within)
        try:
            while self._sock.recv(65536):
                pass
        except TimeoutError:
            return False
        except OSError:
            pass
        return True

    def finish(self) -> None:
        """Send no more bytes (FIN), but go on reading."""
        self._sock.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Reset the connection (RST), so that the next read of the client fails."""
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._sock.close()

    def close(self) -> None:
        """Close the connection, also while another thread uses it."""
        with suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)
        self._sock.close()

    def _read(self) -> bytes:
        data = self._sock.recv(65536)
        self._buffer += data
        return data


class LoopbackServer:
    """Runs `script(peer)` in a thread per connection; closes the connection when it returns.

    The server speaks TLS if `tls` is given. It is a context manager: leaving the block ends all
    connections, and raises an error of a script, except for an `OSError`, which a script gets
    when the client closes first. `received` has the whole requests so far, `connections` the
    number of connections.
    """

    def __init__(self, script: Script, tls: ssl.SSLContext | None = None) -> None:
        self.received: list[Received] = []
        self.connections = 0
        self._script = script
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self._peers: list[Peer] = []
        self._threads: list[threading.Thread] = []
        self._errors: list[Exception] = []
        self._closing = False

    def url(self, target: str = "/v1/messages") -> str:
        """Return the URL of a path on this server."""
        scheme = "https" if self._tls else "http"
        return f"{scheme}://127.0.0.1:{self._listener.getsockname()[1]}{target}"

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._closing = True
        with suppress(OSError):  # this connection wakes the thread that accepts
            socket.create_connection(self._listener.getsockname(), SOCKET_TIMEOUT).close()
        self._threads[0].join()
        self._listener.close()
        for peer in self._peers:
            peer.close()
        for thread in self._threads:
            thread.join()
        if error is None and self._errors:
            raise self._errors[0]

    def _start(self, run: Callable[..., None], *args: Peer) -> None:
        thread = threading.Thread(target=run, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:  # the process has no descriptor left
                sleep(0.01)
                continue
            if self._closing:
                sock.close()
                return
            peer = Peer(sock, self.connections, self.received)
            self.connections += 1
            self._peers.append(peer)
            self._start(self._serve, peer)

    def _serve(self, peer: Peer) -> None:
        try:
            if self._tls:
                peer.secure(self._tls)
            self._script(peer)
        except OSError:
            pass  # the client closed first
        except Exception as error:  # noqa: BLE001  # `__exit__` raises it
            self._errors.append(error)
        finally:
            peer.close()


def replying(*replies: bytes) -> Script:
    """Make a script: each request gets the next reply; the last reply is repeated."""
    left = list(replies)
    lock = threading.Lock()

    def script(peer: Peer) -> None:
        while peer.request():
            with lock:
                reply = left.pop(0) if len(left) > 1 else left[0]
            peer.send(reply)

    return script


def reply(
    body: bytes = b"", *headers: str, status: str = "200 OK", length: int | None = None
) -> bytes:
    """Write a reply; *length* is a wrong content-length, None the right one."""
    size = len(body) if length is None else length
    head = "\r\n".join([f"HTTP/1.1 {status}", f"Content-Length: {size}", *headers])
    return head.encode() + b"\r\n\r\n" + body


def chunked(*chunks: bytes, end: bytes = b"0\r\n\r\n") -> bytes:
    """Write a reply in chunks, with *end*, which is empty for a reply without an end."""
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head + b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + end
