"""The emulator on a port: HTTP/1.1 by an asyncio protocol, fast enough for benchmarks.

The server uses no web framework, because it must do what a framework prevents: when a fault
script says so, it resets connections, falls silent in the middle of a chunk, sends slowly, or
stops too early. Each chunk of a stream is a write of its own. The server is for loopback and for
private networks: it speaks plain HTTP, without TLS. On a loopback address it answers only requests
whose `Host` is a name of this machine, so that no web page can reach it by a name of its own (DNS
rebinding). Requests that a client sends ahead of the answers are held back in the kernel.

A server cannot refuse a connection from which it has read a request, so the fault `refuse`
resets the connection.
"""

import asyncio
import re
import signal
import socket
import struct
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from concurrent.futures import Future
from contextlib import asynccontextmanager, contextmanager, suppress
from ipaddress import ip_address
from itertools import takewhile
from typing import Any, Final, cast

from claude_lite.emulator.reply import Reply
from claude_lite.emulator.service import Emulator
from claude_lite.emulator.serving.http1 import BadRequest, ParsedRequest, RequestReader, head
from claude_lite.faults.tampering import End
from claude_lite.wire import Request, Sleep

__all__ = ["emulator_server", "run_server", "serve"]

TURN: Final = 32  # chunks that a stream writes before other tasks run
LARGE: Final = 8 * 1024  # bytes; after a larger chunk other tasks run at once
BACKLOG: Final = 1024  # connections that wait to be accepted
RESET: Final = struct.pack("ii", 1, 0)  # SO_LINGER of 0 seconds: closing sends RST
MOST_AHEAD: Final = 64 * 1024  # bytes of later requests that are read during an answer
LOOPBACK: Final = re.compile(
    r"(?i)(localhost|[a-z0-9-]+\.localhost|127(?:\.[0-9]{1,3}){3}|\[::1\])(:[0-9]{1,5})?"
)
CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"


Log = Callable[[str], object]


@asynccontextmanager
async def serve(
    emulator: Emulator | None = None,
    host: str = "127.0.0.1",
    port: int = 0,
    *,
    log: Log | None = None,
) -> AsyncIterator[str]:
    """Serve an emulator in the running event loop; the context manager gives the URL.

    Leaving the block closes every connection.

    Args:
        emulator: The emulator to serve; None makes one.
        host: The address to listen on.
        port: The port to listen on; 0 takes any free port.
        log: Called with a line per request: method, path, status, milliseconds and request id.

    Raises:
        OSError: The port cannot be opened.

    """
    emulator = emulator or Emulator()
    names: list[re.Pattern[str]] = []  # none, until the address is known
    loop = asyncio.get_running_loop()
    connections: set[_Connection] = set()
    server = await loop.create_server(
        lambda: _Connection(emulator, connections, names, log), host, port, backlog=BACKLOG
    )
    bound = server.sockets[0].getsockname()
    if all(ip_address(each.getsockname()[0]).is_loopback for each in server.sockets):
        given = re.compile(rf"(?i)\[?{re.escape(host)}\]?(:[0-9]{{1,5}})?")
        names += LOOPBACK, given  # the address may be written in another way, or have a name
    try:
        yield f"http://{f'[{bound[0]}]' if ':' in bound[0] else bound[0]}:{bound[1]}"
    finally:
        server.close()
        await asyncio.gather(*(connection.drop() for connection in tuple(connections)))
        await server.wait_closed()


@contextmanager
def emulator_server(
    emulator: Emulator | None = None, host: str = "127.0.0.1", port: int = 0
) -> Iterator[str]:
    """Serve an emulator on a thread of its own; the context manager gives the URL.

    Leaving the block closes every connection and ends the thread.

    Args:
        emulator: The emulator to serve; None makes one.
        host: The address to listen on.
        port: The port to listen on; 0 takes any free port.

    Raises:
        OSError: The port cannot be opened.

    """
    bound: Future[tuple[str, asyncio.AbstractEventLoop, asyncio.Event]] = Future()

    async def main() -> None:
        stop = asyncio.Event()
        async with serve(emulator, host, port) as url:
            bound.set_result((url, asyncio.get_running_loop(), stop))
            await stop.wait()

    def work() -> None:
        try:
            asyncio.run(main())
        except BaseException as error:
            if bound.done():
                raise
            bound.set_exception(error)  # raised where the URL is awaited

    thread = threading.Thread(target=work, name="emulator", daemon=True)
    thread.start()
    url, loop, stop = bound.result()
    try:
        yield url
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()


def run_server(
    emulator: Emulator | None = None,
    host: str = "127.0.0.1",
    port: int = 0,
    *,
    announce: Callable[[str], object] = lambda _url: None,
    log: Log | None = None,
) -> None:
    """Serve an emulator until SIGINT or SIGTERM.

    Args:
        emulator: The emulator to serve; None makes one.
        host: The address to listen on.
        port: The port to listen on; 0 takes any free port.
        announce: Called with the URL when the port is open.
        log: Called with a line per request: method, path, status, milliseconds and request id.

    Raises:
        OSError: The port cannot be opened.

    """

    async def main() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        async with serve(emulator, host, port, log=log) as url:
            for number in (signal.SIGINT, signal.SIGTERM):
                with suppress(
                    NotImplementedError, ValueError, RuntimeError
                ):  # no signal handlers on Windows or outside the main thread
                    loop.add_signal_handler(number, stop.set)
            announce(url)
            await stop.wait()

    with suppress(KeyboardInterrupt):
        asyncio.run(main())


class _Connection(asyncio.Protocol):
    """One connection: reads requests and acts out their replies, one after the other."""

    def __init__(
        self,
        emulator: Emulator,
        connections: "set[_Connection]",
        names: list[re.Pattern[str]],
        log: Log | None,
    ) -> None:
        self._emulator = emulator
        self._connections = connections
        self._names = names
        self._log = log
        self._reader = RequestReader(emulator.largest_body)
        self._transport: asyncio.Transport  # set by connection_made
        self._acting: asyncio.Task[None] | None = None
        self._gone = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc  # a reset and a close are handled alike
        self._connections.discard(self)
        self._gone.set()
        self._writable.set()
        if self._acting is not None:
            self._acting.cancel()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()
        self._advance()

    def data_received(self, data: bytes) -> None:
        self._reader.receive(data)
        self._advance()

    async def drop(self) -> None:
        """Close the connection at once; wait until its task has ended."""
        acting = self._acting
        self._transport.abort()
        await self._gone.wait()
        if acting is not None:
            await asyncio.wait([acting])

    def _advance(self) -> None:
        """Answer the complete requests, up to the first whose answer has to wait."""
        while not self._is_busy and not self._transport.is_closing():
            try:
                received = self._reader.next()
            except BadRequest as error:
                self._refuse(str(error))
                return
            if received is None:
                if self._reader.wants_continue:
                    self._reader.wants_continue = False
                    self._transport.write(CONTINUE)
                return
            self._answer(received)
        # asyncio ignores a second pause, and a resume without a pause.
        if self._is_busy and self._reader.held > MOST_AHEAD:
            self._transport.pause_reading()
        elif not self._transport.is_closing():
            self._transport.resume_reading()

    @property
    def _is_busy(self) -> bool:
        """Whether later requests wait: for an answer, or for a client that does not read."""
        return self._acting is not None or not self._writable.is_set()

    def _refuse(self, why: str, status: int = 400) -> None:
        body = why.encode()
        headers = {"content-type": "text/plain"}
        self._transport.write(head(status, headers, size=len(body), connection="close") + body)
        self._transport.close()
        if self._log is not None:
            self._log(f"refused: {status}, {why}")

    def _report(self, received: ParsedRequest, reply: Reply, began: float) -> None:
        """Log a request that was answered. The query is left out: it may hold anything."""
        if self._log is not None:
            path = received.target.partition("?")[0]
            ms = (time.monotonic() - began) * 1000
            request_id = reply.head.headers.get("request-id", "-")
            self._log(f"{received.method} {path} {reply.head.status} {ms:.1f} ms {request_id}")

    def _answer(self, received: ParsedRequest) -> None:
        host = received.headers.get("host", "localhost")
        if self._names and not any(name.fullmatch(host) for name in self._names):
            self._refuse("the host of the request is not this machine: serve with --host", 403)
            return
        began = time.monotonic()
        url = f"http://{host}{received.target}"
        request = Request(received.method, url, received.headers, received.body)
        if not isinstance(request.body, bytes):
            self._begin(self._work(received, request, began))
            return
        reply = self._emulator.reply(request)
        if not reply.at_once or received.method == "HEAD":
            self._begin(self._act(received, reply, began))
            return
        opening = head(
            reply.head.status,
            reply.head.headers,
            size=reply.size,
            connection="keep-alive" if received.keep_alive else "close",
        )
        self._transport.write(b"".join((opening, *cast("Iterator[bytes]", reply.steps))))
        self._report(received, reply, began)
        if not received.keep_alive:
            self._transport.close()

    def _begin(self, acting: Coroutine[Any, Any, None]) -> None:
        self._acting = asyncio.get_running_loop().create_task(acting)
        self._acting.add_done_callback(self._acted)

    async def _work(self, received: ParsedRequest, request: Request, began: float) -> None:
        """Find the reply on a thread, because reading a large body takes time; then act it out."""
        loop = asyncio.get_running_loop()
        found = loop.run_in_executor(None, self._emulator.reply, request)
        try:
            reply = await asyncio.shield(found)
        except asyncio.CancelledError:
            found.add_done_callback(lambda late: late.result().close())
            raise
        await self._act(received, reply, began)

    def _acted(self, task: "asyncio.Task[None]") -> None:
        self._acting = None
        if not task.cancelled() and (error := task.exception()) is not None:
            self._transport.abort()
            raise error
        self._advance()

    async def _act(self, received: ParsedRequest, reply: Reply, began: float) -> None:
        """Act out a reply step by step."""
        try:
            for step in reply.before:
                if isinstance(step, Sleep):
                    await asyncio.sleep(step.seconds)
                else:
                    await self._end(step)
                    return
            await self._send(received, reply)
        finally:
            reply.close()
            self._report(received, reply, began)

    async def _send(self, received: ParsedRequest, reply: Reply) -> None:
        chunked = reply.size is None and received.chunkable
        keep = received.keep_alive and (chunked or reply.size is not None)
        headers = dict(reply.head.headers)
        if chunked:
            headers["transfer-encoding"] = "chunked"
        self._transport.write(
            head(
                reply.head.status,
                headers,
                size=reply.size,
                connection="keep-alive" if keep else "close",
            )
        )
        heard = takewhile(lambda _: not self._transport.is_closing(), reply.steps)
        for number, step in enumerate(heard, start=1):
            if isinstance(step, bytes):
                if step and received.method != "HEAD":
                    self._transport.write(b"%x\r\n%b\r\n" % (len(step), step) if chunked else step)
                if number % TURN == 0 or len(step) > LARGE:
                    await asyncio.sleep(0)
                await self._writable.wait()
            elif isinstance(step, Sleep):
                await asyncio.sleep(step.seconds)
            elif step.how != "truncate":
                await self._end(step)
                return
        if chunked and received.method != "HEAD":
            self._transport.write(b"0\r\n\r\n")
        if not keep:
            self._transport.close()

    async def _end(self, end: End) -> None:
        if end.how == "stall":
            await asyncio.get_running_loop().create_future()  # until the connection is lost
        elif end.how == "close":
            self._transport.close()
        else:
            self._transport.set_write_buffer_limits(0)
            await self._writable.wait()  # bytes written before the reset should arrive
            sock: socket.socket = self._transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            self._transport.abort()
