"""A connection of aiohttp: how it is read, whether it can be used, how it is released or closed.

aiohttp's own protocol allocates a buffer for each read, parses before any task waits for the reply,
and learns only in the next turn of its loop that a server has hung up.
"""

import asyncio
import os
import select
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, TypeGuard

import aiohttp
from aiohttp.client_proto import ResponseHandler

from claude_lite.wire import DECISIVE
from claude_lite_transports.shared.read_buffer import ReadBuffer

if TYPE_CHECKING:
    from aiohttp.connector import Connection
    from aiohttp.http import RawResponseMessage

HUNG_UP: Final = getattr(select, "POLLRDHUP", 0)  # `poll` reports errors and full hang-ups anyway
SPOKEN: Final = getattr(select, "POLLIN", 0) | HUNG_UP
HEAD_END: Final = b"\r\n\r\n"
_MOST_UNREAD: Final = 256 * 1024  # bytes; an error that comes before a body is sent is short

_PAUSES_BY_HOOK: Final = hasattr(ResponseHandler, "_pause_transport_reading")  # from 3.14.4 on


class Handler(ResponseHandler, asyncio.BufferedProtocol):
    """The protocol of a connection, which reads into a buffer that all of a loop share.

    The beginning of a reply is parsed by the task that waits for it, not before. Otherwise, with
    thousands of calls in flight, the objects of each parsed head would have to be kept, and be
    looked through by the garbage collector, until all heads that have come are parsed.

    A connection on which the server sends something while it is idle is closed: no request asked
    for it.
    """

    is_idle = False
    tcp: asyncio.Transport | None = None
    """The transport under TLS. It is paused instead of TLS, which could lose undecrypted bytes."""

    def __init__(self, loop: asyncio.AbstractEventLoop, buffer: ReadBuffer) -> None:
        super().__init__(loop)
        self._read_buffer = buffer
        self._unparsed = b""
        self._status = 0
        self._params: dict[str, Any] | None = None  # of a parser that has got no bytes yet

    def set_response_params(self, **params: Any) -> None:
        """Make the parser of the next reply."""
        self._params = params
        super().set_response_params(**params)

    def get_buffer(self, sizehint: int) -> memoryview:
        """Lend the loop the buffer that all connections share."""
        return self._read_buffer.lend(sizehint)

    def buffer_updated(self, nbytes: int) -> None:
        """Take the bytes that the loop has read into the buffer."""
        self.data_received(bytes(self._read_buffer.read(nbytes)))

    def data_received(self, data: bytes) -> None:
        """Take bytes of a reply; uvloop calls this itself, since it borrows no buffer."""
        if data and self.is_idle:
            self.abort()
        elif data and (self._waiter is not None or self._unparsed):
            self._unparsed += data
            self._wake()
        else:
            self._params = None
            super().data_received(data)

    def feed_data(
        self, data: "tuple[RawResponseMessage, aiohttp.StreamReader]", size: int = 0
    ) -> None:
        """Take a head that the parser has completed."""
        self._status = data[0].code
        super().feed_data(data, size)

    async def read(self) -> "tuple[RawResponseMessage, aiohttp.StreamReader]":
        """Wait for the next head."""
        while not (self._buffer or self._eof):
            self._waiter = self._loop.create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
            self._parse()
        return await super().read()

    def pause_reading(self) -> None:
        """Pause the socket; aiohttp calls this when a reader does not keep up."""
        transport = self.transport
        if _PAUSES_BY_HOOK or self.tcp is None:
            super().pause_reading()
        elif transport is not None:
            self.transport = self.tcp  # aiohttp pauses this one
            try:
                super().pause_reading()
            finally:
                self.transport = transport

    def resume_reading(self, *args: Any, **options: Any) -> None:
        """Resume reading if it was paused; aiohttp calls this after each read, paused or not."""
        if self._reading_paused:
            if not _PAUSES_BY_HOOK and self.tcp is not None:
                self._resume_transport_reading()
            super().resume_reading(*args, **options)

    def _pause_transport_reading(self) -> None:
        if self.tcp is None:
            super()._pause_transport_reading()
        elif not self.tcp.is_closing():
            self.tcp.pause_reading()

    def _resume_transport_reading(self) -> None:
        if self.tcp is None:
            super()._resume_transport_reading()
        elif not self.tcp.is_closing():
            self.tcp.resume_reading()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Parse the bytes that have come, then end the reply that is being read."""
        if exc is not None and self.transport is not None:
            self._unparsed += _unread(self.transport)
        self._parse()
        body = self._payload
        if exc is not None and body is not None and not body.is_eof() and self._status < DECISIVE:
            # By itself, aiohttp takes a reset for the end of the body.
            body.set_exception(aiohttp.ClientPayloadError())
        super().connection_lost(exc)

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def _parse(self) -> None:
        if self._unparsed:
            data, self._unparsed = self._unparsed, b""
            params, self._params = self._params, None
            super().data_received(data)
            if params and self._exception is not None and not self._buffer:
                self._parse_head_by_head(data, params)

    def _parse_head_by_head(self, data: bytes, params: dict[str, Any]) -> None:
        """Parse bytes that aiohttp refused: it drops a whole reply if no HTTP follows it."""
        self._exception = None
        super().set_response_params(**params)
        start = 0
        while start < len(data) and self._exception is None:
            end = data.find(HEAD_END, start) + len(HEAD_END)
            end = len(data) if end < len(HEAD_END) else end
            super().data_received(data[start:end])
            start = end


def let_go(connection: "Connection", *, whole: bool = False) -> None:
    """Give a connection back to its pool if the exchange on it was *whole*; otherwise close it now.

    aiohttp by itself would wait for unsent bytes to be sent, and for the peer's end of TLS.
    """
    protocol, transport = connection.protocol, connection.transport
    if whole:
        if isinstance(protocol, Handler):
            protocol.is_idle = True
        connection.release()
    else:
        connection.close()
    if transport is not None and transport.is_closing():
        transport.abort()


def use(protocol: ResponseHandler) -> None:
    """Accept bytes on a connection again: a request is about to be sent."""
    if isinstance(protocol, Handler):
        protocol.is_idle = False


def is_usable(
    protocol: ResponseHandler | None, unwanted: int = HUNG_UP
) -> TypeGuard[ResponseHandler]:
    """Whether a connection is open; `poll` is asked, as the loop may not know of its end yet."""
    transport = None if protocol is None else protocol.transport
    return transport is not None and not (transport.is_closing() or _polled(transport, unwanted))


def _unread(transport: asyncio.BaseTransport) -> bytes:
    """Read what lies on a connection that failed in a write: the server may have answered."""
    sock = transport.get_extra_info("socket")
    if sock is None or transport.get_extra_info("sslcontext") is not None:
        return b""
    read = b""
    with suppress(OSError):  # there is no more, or the socket is closed
        while len(read) < _MOST_UNREAD and (piece := os.read(sock.fileno(), _MOST_UNREAD)):
            read += piece
    return read


def hung_up(transport: asyncio.BaseTransport) -> bool:
    """Whether the peer has closed a connection; the loop may not know it yet."""
    return _polled(transport, HUNG_UP)


def _polled(transport: asyncio.BaseTransport, events: int) -> bool:
    sock = transport.get_extra_info("socket")
    if sock is None:  # a transport that the caller made
        return False
    number = sock.fileno()
    if number < 0:
        return True
    poll = select.poll()
    poll.register(number, events)
    return bool(poll.poll(0))
