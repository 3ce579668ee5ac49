"""One request and its reply, on a connection of aiohttp.

The request is written here, whole and at once; aiohttp's parser reads the reply. What aiohttp has
in between (sessions, requests, responses) adds cookies, redirects, `.netrc`, repeated requests and
rounded timeouts, which a transport must not have, and half of the CPU of a call.

Errors are returned and not raised: a frame here holds headers and the connection, and a traceback
through it would show them.
"""

from http import HTTPStatus
from inspect import signature
from itertools import chain
from math import inf
from typing import TYPE_CHECKING, Any, Final, cast

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.http import HttpProcessingError

from claude_lite.errors import (
    ClaudeError,
    ConnectionFailed,
    ConnectionLost,
    TimedOut,
    UnexpectedResponse,
    UsageError,
)
from claude_lite.wire import Limits, Request
from claude_lite_transports.aiohttp.connection import let_go, use
from claude_lite_transports.aiohttp.pool import AiohttpPool, Origin, because
from claude_lite_transports.aiohttp.reply import LARGEST_LIMIT, OpenReply, limit_passed
from claude_lite_transports.aiohttp.upload import UPLOAD_PIECE, Upload
from claude_lite_transports.aiohttp.watch import Interrupted, Wait
from claude_lite_transports.shared.http1 import (
    head_too_long,
    is_framing,
    is_method,
    too_many_headers,
)

if TYPE_CHECKING:
    from aiohttp.http import RawResponseMessage

_STATUS_LINE: Final = 19  # bytes of the shortest status line and of the blank line after a head
_BODILESS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_ONE_WRITE: Final = 64 * 1024  # bytes of a body that is written with its head, without a task
_COUNTS: Final = "max_headers" in signature(ResponseHandler.set_response_params).parameters


async def ask(
    pool: AiohttpPool, request: Request, end: float, *, whole: bool = False
) -> "OpenReply | Exception":
    """Send a request and wait for the head of the reply; a failure is returned.

    The attempt has to be over at *end*, by the loop's clock. A body that is wanted *whole* is
    read as it comes, up to its limit; otherwise reading pauses when its reader does not keep up.
    """
    watch, limits, body = pool.watch, request.limits, request.body
    size = len(body) if isinstance(body, bytes) else body.size
    to, target = pool.way_to(request.url)
    connection = await pool.connect(to, limits.connect, end)
    if isinstance(connection, ClaudeError):
        return connection
    protocol, transport = connection.protocol, connection.transport
    if protocol is None or transport is None or transport.is_closing():
        let_go(connection)
        return ConnectionFailed("the connection was closed before its use")
    upload = None
    silence = (
        None if limits.read is None else max(limits.read, 1e-3)
    )  # aiohttp takes 0 for no limit
    is_short = isinstance(body, bytes) and size <= _ONE_WRITE
    wait = Wait(watch, protocol, transport, silence if is_short and silence else inf, end)
    try:
        at_once = max(UPLOAD_PIECE, limits.max_response or LARGEST_LIMIT) if whole else UPLOAD_PIECE
        counted: Any = {"max_headers": limits.max_headers or LARGEST_LIMIT} if _COUNTS else {}
        use(protocol)
        protocol.set_response_params(
            skip_payload=request.method == "HEAD",
            read_until_eof=True,
            auto_decompress=False,
            read_timeout=None if is_short else silence,  # it runs from the end of the upload
            read_bufsize=at_once,
            max_line_size=limits.max_head or LARGEST_LIMIT,
            max_field_size=limits.max_head or LARGEST_LIMIT,
            **counted,
        )
        if is_short:
            transport.write(_head(request, to, target, size) + cast("bytes", body))
        else:
            transport.write(_head(request, to, target, size))
            upload = Upload(protocol, body, size, silence)
        wait.begin(watch.now())
        size_of_heads = 0
        while True:
            message, content = await protocol.read()
            size_of_heads = _measured(message, size_of_heads, limits)
            if message.code >= HTTPStatus.OK or message.code == HTTPStatus.SWITCHING_PROTOCOLS:
                break
        if upload is not None:
            upload.stop()  # the server may have answered before it had the whole body
        return OpenReply(connection, protocol, message, content, limits, pool, end)
    except BaseException as error:
        if upload is not None:
            upload.stop()
        let_go(connection)
        if not isinstance(error, Exception):
            raise
        return limit_passed(error, limits) or _unanswered(error)
    finally:
        wait.over()


def _measured(message: "RawResponseMessage", before: int, limits: Limits) -> int:
    """The size of a head and the heads *before* it; raises `ResponseTooLarge` past a limit."""
    headers = message.raw_headers
    size = before + _STATUS_LINE + 4 * len(headers) + sum(map(len, chain.from_iterable(headers)))
    if limits.max_head is not None and size > limits.max_head:
        raise head_too_long(limits.max_head)
    if limits.max_headers is not None and len(headers) > limits.max_headers:
        raise too_many_headers(limits.max_headers)
    return size


def _head(request: Request, to: Origin, target: str, size: int) -> bytes:
    if not is_method(request.method):
        raise ValueError("the method is not an HTTP method")
    lines = [f"{request.method} {target} HTTP/1.1"]
    if "host" not in request.headers:
        lines.append(f"host: {to.headers['host']}")
    lines += map(": ".join, request.headers.items())
    if any(map(is_framing, request.headers)):
        raise ValueError("content-length, transfer-encoding and host are for the transport")
    if size or request.method not in _BODILESS:
        lines.append(f"content-length: {size}")
    if to.credential is not None and not to.is_ssl():
        lines.append(f"proxy-authorization: {to.credential}")
    head = "\r\n".join(lines)
    if head.count("\r") + head.count("\n") != 2 * len(lines) - 2 or "\0" in head:
        raise ValueError("a header cannot contain a line end or a null character")
    return (head + "\r\n\r\n").encode("latin-1")


def _unanswered(error: Exception) -> Exception:
    """Turn an error that came instead of a head into one of ours."""
    match error:
        case Interrupted():
            return error.failure
        case aiohttp.SocketTimeoutError():
            return TimedOut("read")
        case HttpProcessingError():
            return UnexpectedResponse("the reply is not HTTP")
        case ValueError():
            return UsageError(
                f"the request has a character that HTTP cannot carry ({type(error).__name__})"
            )
        case _:
            return because(error, ConnectionLost, "the connection ended before the reply")
