"""One request and its reply, on a connection of aiohttp's.

The request is written here, whole and at once; aiohttp's parser reads the reply. What lies
between the two in aiohttp (sessions, requests, responses) adds cookies, redirects, `.netrc`,
repeats and rounded timeouts, which a transport must not do, and half of the CPU of a call.

Errors are returned rather than raised, so that the frame that raises them has nothing to
show: here it would have headers and the connection.
"""

import asyncio
from functools import lru_cache
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

import aiohttp
from aiohttp.http import HttpProcessingError

from claude_lite.errors import (
    ClaudeError,
    ConnectionFailed,
    ConnectionLost,
    ResponseTooLarge,
    StreamInterrupted,
    TimedOut,
    UnexpectedResponse,
    UsageError,
)
from claude_lite.wire import Request, Response
from claude_lite_transports._aiohttp_pool import because, hung_up, let_go
from claude_lite_transports._aiohttp_upload import PIECE, NotUploaded, stop, upload_body

if TYPE_CHECKING:
    from aiohttp.client_proto import ResponseHandler
    from aiohttp.connector import Connection
    from aiohttp.http import RawResponseMessage

_BODILESS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_ONE_WRITE: Final = 64 * 1024  # a body up to this is written with its head, without a task
_HEAD_LIMIT: Final = 32 * 1024  # bytes of one header; those of the API have about 100


async def ask(
    connection: "Connection", to: aiohttp.ClientRequest, target: str, request: Request, size: int
) -> "Reply | Exception":
    """Send a request with a body of `size` bytes, and wait for the head of the reply."""
    protocol, transport = connection.protocol, connection.transport
    upload = None
    try:
        if protocol is None or transport is None or transport.is_closing() or hung_up(transport):
            let_go(connection)
            return ConnectionFailed("the connection was closed before its use")
        silence = request.limits.read
        if silence is not None:
            silence = max(silence, 1e-3)  # aiohttp takes 0 for "no limit"
        protocol.set_response_params(
            skip_payload=request.method == "HEAD",
            read_until_eof=True,
            auto_decompress=False,
            read_timeout=silence,
            read_bufsize=PIECE,
            max_line_size=_HEAD_LIMIT,
            max_field_size=_HEAD_LIMIT,
        )
        if isinstance(request.body, bytes) and size <= _ONE_WRITE:
            transport.write(_head(request, to, target, size) + request.body)
            protocol.start_timeout()
        else:
            transport.write(_head(request, to, target, size))
            upload = asyncio.create_task(upload_body(protocol, request.body, size, silence))
        while True:
            message, content = await protocol.read()
            if message.code >= HTTPStatus.OK or message.code == HTTPStatus.SWITCHING_PROTOCOLS:
                return Reply(connection, protocol, message, content, upload)
    except BaseException as error:
        if upload is not None:
            stop(upload, protocol)
        let_go(connection)
        if not isinstance(error, Exception):
            raise
        return _unanswered(error)


def _head(request: Request, to: aiohttp.ClientRequest, target: str, size: int) -> bytes:
    lines = [f"{request.method} {target} HTTP/1.1"]
    if "host" not in request.headers:
        lines.append(f"host: {to.headers['host']}")
    lines += [f"{name}: {value}" for name, value in request.headers.items()]
    if size or request.method not in _BODILESS:
        lines.append(f"content-length: {size}")
    if to.proxy is not None and not to.is_ssl() and "proxy-authorization" in to.headers:
        lines.append(f"proxy-authorization: {to.headers['proxy-authorization']}")
    head = "\r\n".join(lines)
    if head.count("\r") + head.count("\n") != 2 * len(lines) - 2 or "\0" in head:
        raise ValueError("a header cannot contain line ends")
    return (head + "\r\n\r\n").encode("latin-1")


def _unanswered(error: Exception) -> Exception:
    """Say what it means that `error` came instead of the head of a reply."""
    match error:
        case NotUploaded():
            return error.failure
        case aiohttp.SocketTimeoutError():
            return TimedOut("read")
        case HttpProcessingError():
            return UnexpectedResponse("the reply is not HTTP, or its head is too long")
        case ValueError():
            return UsageError(f"the request cannot be put into HTTP ({type(error).__name__})")
        case _:
            return because(error, ConnectionLost, "sent, but the connection ended without a reply")


class Reply:
    """A reply whose head has arrived; it holds the connection until its body has, too."""

    __slots__ = ("_closed", "_connection", "_content", "_late", "_message", "_upload")

    def __init__(
        self,
        connection: "Connection",
        protocol: "ResponseHandler",
        message: "RawResponseMessage",
        content: aiohttp.StreamReader,
        upload: "asyncio.Task[None] | None",
    ) -> None:
        self._connection: Connection | None = connection
        self._message = message
        self._content = content
        self._upload = upload
        self._late = False
        self._closed: asyncio.Future[None] | None = None
        if not content.is_eof():
            # aiohttp does not tell a body that what comes of it is malformed, it just closes.
            self._closed = protocol.closed
            if self._closed is not None:
                self._closed.add_done_callback(self._lost)
            else:
                self._wake()

    def response(self, body: bytes = b"") -> Response:
        """Put the head into our own form."""
        headers: dict[str, str] = {}
        for raw_name, raw_value in self._message.raw_headers:
            name, value = _name(raw_name), raw_value.decode("latin-1").strip(" \t")
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        return Response(self._message.code, headers, body)

    async def read(self, limit: int | None) -> bytes | ClaudeError:
        """Read the body and let go of the connection; what went wrong is returned."""
        pieces: list[bytes] = []
        size = 0
        try:
            if self._content.is_eof() and (limit is None or self._content.total_bytes <= limit):
                return self._content.read_nowait()
            length = int(self._message.headers.get("content-length", 0))
            while limit is None or max(length, size) <= limit:
                piece = await self.chunk()
                if isinstance(piece, ClaudeError):
                    return piece
                if not piece:
                    return pieces[0] if len(pieces) == 1 else b"".join(pieces)
                pieces.append(piece)
                size += len(piece)
        finally:
            self.end()
        return self._of(ResponseTooLarge(f"a response of more than {limit} bytes"))

    async def chunk(self) -> bytes | ClaudeError:
        """Wait for some of the body (b"" at its end); what went wrong is returned."""
        try:
            return await self._content.readany()
        except Exception as error:  # noqa: BLE001  # foreign errors are mapped here, all of them
            if self._connection is not None and (
                left := self._content._read_nowait(-1)  # noqa: SLF001  # else it would be lost
            ):
                return left
            return self._failure(error)

    def end(self) -> None:
        """Let go of the connection: to its pool if the reply has come to its end."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        whole = self._content.is_eof()
        if self._upload is not None and not self._upload.done():
            stop(self._upload, connection.protocol)
            whole = False
        if self._closed is not None:
            self._closed.remove_done_callback(self._lost)
            self._closed.remove_done_callback(_seen)
            self._closed.add_done_callback(_seen)
        let_go(connection, whole=whole)
        if not whole:
            self._wake()

    def expire(self) -> None:
        """The attempt's time is up; a reader learns it, at once or when it comes back."""
        self._late = True
        self.end()

    def _lost(self, closed: "asyncio.Future[None]") -> None:
        _seen(closed)
        self._wake()

    def _wake(self) -> None:
        if not self._content.is_eof() and self._content.exception() is None:
            self._content.set_exception(aiohttp.ClientPayloadError())

    def _failure(self, error: Exception) -> ClaudeError:
        if self._late:
            return self._of(TimedOut("total"))
        if isinstance(error, aiohttp.SocketTimeoutError):
            return self._of(TimedOut("read"))
        return self._of(because(error, StreamInterrupted, "the reply broke off"))

    def _of(self, failure: ClaudeError) -> ClaudeError:
        request_id = self._message.headers.get("request-id")
        return failure.amend(status=self._message.code, request_id=request_id)


@lru_cache(512)
def _name(raw: bytes) -> str:
    return raw.decode("latin-1").lower()


def _seen(closed: "asyncio.Future[None]") -> None:
    closed.exception()  # else asyncio logs that nobody has asked
