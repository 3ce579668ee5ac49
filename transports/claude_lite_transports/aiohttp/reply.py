"""A reply whose head has arrived, on a connection of aiohttp, whose parser reads the body.

It holds the connection until the body has come, too, or the attempt is over. Errors are returned
and not raised, because a traceback through the frames here would show headers.
"""

from collections import deque
from contextlib import suppress
from functools import lru_cache
from typing import TYPE_CHECKING, Final

import aiohttp
from aiohttp.http import HttpProcessingError

from claude_lite.errors import ClaudeError, ResponseTooLarge, StreamInterrupted, TimedOut
from claude_lite.wire import DECISIVE, ERROR_BODY_SECONDS, Limits, Response
from claude_lite_transports.aiohttp.connection import let_go
from claude_lite_transports.aiohttp.pool import AiohttpPool, because
from claude_lite_transports.shared.http1 import head_too_long, too_many_headers
from claude_lite_transports.shared.share import on_loop
from claude_lite_transports.shared.whole import unless_whole

if TYPE_CHECKING:
    import asyncio

    from aiohttp.client_proto import ResponseHandler
    from aiohttp.connector import Connection
    from aiohttp.http import RawResponseMessage

LARGEST_LIMIT: Final = 1 << 30
"""Stands for no limit: aiohttp takes only numbers."""
_NONE: Final[deque[bytes]] = deque()


class OpenReply:
    """A reply whose head has arrived; it holds the connection until the body has come, too."""

    __slots__ = (
        *("_closed", "_connection", "_content", "_end", "_late", "_limits", "_loop", "_message"),
        *("_pool", "_protocol", "_status_decides", "_watch"),
    )

    def __init__(
        self,
        connection: "Connection",
        protocol: "ResponseHandler",
        message: "RawResponseMessage",
        content: aiohttp.StreamReader,
        limits: Limits,
        pool: AiohttpPool,
        end: float,
    ) -> None:
        self._limits = limits
        self._pool = pool
        self._watch = watch = pool.watch
        self._loop = watch.loop
        self._status_decides = message.code >= DECISIVE
        if self._status_decides:
            end = min(end, watch.now() + ERROR_BODY_SECONDS)
        self._end = end
        self._connection: Connection | None = connection
        self._message = message
        self._content = content
        self._protocol = protocol
        self._late = False
        self._closed: asyncio.Future[None] | None = None
        watch.add(self, end)
        if not content.is_eof():
            protocol.read_timeout = None  # aiohttp would set its timer again for every read
            protocol.start_timeout()
            # If a body is malformed, aiohttp closes the connection and does not tell the reader.
            self._closed = protocol.closed
            if self._closed is not None:
                self._closed.add_done_callback(self._lost)
            else:
                self._wake()

    def response(self, body: bytes = b"") -> Response:
        """Return the head, with *body*, as the response that the core knows."""
        headers: dict[str, str] = {}
        for raw_name, raw_value in self._message.raw_headers:
            name, value = _name(raw_name), raw_value.decode("latin-1").strip(" \t")
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        return Response(self._message.code, headers, body)

    async def read(self, limit: int | None) -> bytes | ClaudeError:
        """Read the body and release the connection; a failure is returned."""
        body = bytearray()
        try:
            content = self._content
            came = content.is_eof() and content.exception() is None
            if came and (limit is None or content.total_bytes <= limit):
                return _all_of(content)
            length = int(self._message.headers.get("content-length", 0))
            if self._status_decides:
                length = 0
            while limit is None or max(length, len(body)) <= limit:
                piece = await self.chunk()
                if isinstance(piece, ClaudeError):
                    return unless_whole(piece, self.response().headers, body) or bytes(body)
                if not piece:
                    return bytes(body)
                body += piece  # joined at once: there may be millions of pieces, of two bytes each
        finally:
            self.end()
        too_large = self._of(ResponseTooLarge.over_max_response(limit))
        return bytes(body) if self._status_decides else too_large

    async def chunk(self) -> bytes | ClaudeError:
        """Wait for a part of the body, b"" at its end; a failure is returned."""
        content = self._content
        try:
            while not (_buffer(content) or content.is_eof() or content.exception()):
                await self._more()
            return _all_of(content)
        except Exception as error:  # noqa: BLE001  # every error of aiohttp becomes one of ours
            if self._connection is not None and (
                left := self._content._read_nowait(-1)  # noqa: SLF001  # listed in private_names.py
            ):
                return left
            failure = self._failure(error)
            return b"" if self._status_decides else failure

    async def _more(self) -> None:
        """Wait until something comes, for as long as silence is allowed."""
        watch, silence = self._watch, self._limits.read
        if silence is not None:
            watch.add(self, min(watch.now() + silence, self._end))
        try:
            await self._content._wait("chunk")  # noqa: SLF001  # listed in private_names.py
        finally:
            watch.drop(self)
            if self._connection is not None:
                watch.add(self, self._end)

    def time_up(self) -> None:
        """End the attempt if its time is up, or tell the reader of a silence that was too long."""
        came_while_the_loop_was_held = _buffer(self._content) or self._content.is_eof()
        if self._watch.now() >= self._end:
            self.expire()
        elif not came_while_the_loop_was_held:
            self._content.set_exception(aiohttp.SocketTimeoutError())

    @property
    def ended(self) -> bool:
        """Whether the connection was given back, or closed."""
        return self._connection is None

    def end(self) -> None:
        """Give the connection back to its pool if the reply has ended; otherwise close it."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        self._watch.drop(self)
        transport = self._protocol.transport
        whole = False
        if transport is not None and not transport.is_closing():  # one of TLS cannot be asked then
            whole = self._content.is_eof() and not transport.get_write_buffer_size()
        whole = whole and self._pool.may_keep(self._protocol, self._message)
        if self._closed is not None:
            self._closed.remove_done_callback(self._lost)
            self._closed.remove_done_callback(_seen)
            self._closed.add_done_callback(_seen)
        let_go(connection, whole=whole)
        if not whole:
            self._wake()

    def forget(self) -> None:
        """End a reply that nobody will read any more, from any thread, and without a loop."""
        if not self._loop.is_closed():
            on_loop(self._loop, self.end)
        elif self._connection is not None:
            self._pool.bury()
            with suppress(RuntimeError):  # "Event loop is closed": the connector of a session
                self._connection.close()

    def expire(self) -> None:
        """End the attempt because its time is up; the reader gets the error when it reads."""
        self._late = True
        self.end()

    def _lost(self, closed: "asyncio.Future[None]") -> None:
        _seen(closed)
        self._wake()

    def _wake(self) -> None:
        if not self._content.is_eof() and self._content.exception() is None:
            self._content.set_exception(aiohttp.ClientPayloadError())

    def _failure(self, error: Exception) -> ClaudeError:
        error.__traceback__ = None  # the body keeps the error, which would keep our frames
        if self._late:
            return self._of(TimedOut("total"))
        if isinstance(error, aiohttp.SocketTimeoutError):
            return self._of(TimedOut("read"))
        large = limit_passed(self._protocol.exception(), self._limits)  # of trailers
        return self._of(large or because(error, StreamInterrupted, "the reply broke off"))

    def _of(self, failure: ClaudeError) -> ClaudeError:
        request_id = self._message.headers.get("request-id")
        return failure.update(status=self._message.code, request_id=request_id)


def _buffer(content: aiohttp.StreamReader) -> "deque[bytes]":
    return getattr(content, "_buffer", _NONE)  # an empty body has no buffer


def _all_of(content: aiohttp.StreamReader) -> bytes:
    """Read all that has come. The chunks are joined first: aiohttp does a lot for each of them."""
    buffer = _buffer(content)
    if len(buffer) > 1:
        whole = b"".join(buffer)
        buffer.clear()
        buffer.append(whole)
    return content.read_nowait()


@lru_cache(512)
def _name(raw: bytes) -> str:
    return raw.decode("latin-1").lower()


def _seen(closed: "asyncio.Future[None]") -> None:
    closed.exception()  # or asyncio logs an exception that was not retrieved


def limit_passed(error: BaseException | None, limits: Limits) -> ResponseTooLarge | None:
    """Return our error for an error of aiohttp's parser, if that is about one of our limits."""
    if isinstance(error, ResponseTooLarge):
        return error
    words = str(error.message) if isinstance(error, HttpProcessingError) else ""
    if words.startswith("Got more than"):  # after a head, aiohttp keeps only the words of an error
        return head_too_long(limits.max_head or LARGEST_LIMIT)
    if words.startswith("Too many headers"):
        return too_many_headers(limits.max_headers or LARGEST_LIMIT)
    return None
