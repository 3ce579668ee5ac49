"""A transport of your own, on httpx: `AsyncClient(HttpxTransport())`.

It passes the conformance tests of `claude_lite.testing`.
"""
# ruff: noqa: ANN001, ANN201, ANN202, ANN204, D102  # types and docstrings are in AsyncTransport

import asyncio
from contextlib import asynccontextmanager

import httpx

from claude_lite import Response, errors
from claude_lite.wire import DECISIVE, ERROR_BODY_SECONDS


class HttpxTransport:
    """An `AsyncTransport` for one event loop. The client of httpx is not used: it redirects."""

    sleep = staticmethod(asyncio.sleep)

    def __init__(self):
        self._pool = httpx.AsyncHTTPTransport(limits=httpx.Limits())

    async def send(self, request, /):
        most, body = request.limits.max_response or float("inf"), b""
        async with self.stream(request) as (head, chunks):
            decided = head.status >= DECISIVE  # then no trouble with the body is raised
            announced = "" if decided or request.method == "HEAD" else "content-length"
            size = int(head.headers.get(announced, 0))
            try:
                while max(size, len(body)) <= most and (chunk := await anext(chunks, None)):
                    body += chunk
            except errors.ClaudeError:
                if not decided:
                    raise
            if decided or max(size, len(body)) <= most:
                return Response(head.status, head.headers, body)
        raise errors.ResponseTooLarge(f"more than {most} bytes")

    @asynccontextmanager
    async def stream(self, request, /):
        end = asyncio.get_running_loop().time() + (request.limits.total or float("inf"))
        reply = await _ours(end, lambda: self._pool.handle_async_request(_theirs(request)))
        if reply.status_code >= DECISIVE:
            end = min(end, asyncio.get_running_loop().time() + ERROR_BODY_SECONDS)
        headers = {name: ", ".join(reply.headers.get_list(name)) for name in reply.headers}
        try:
            yield Response(reply.status_code, headers), _chunks(reply, end)
        finally:
            await reply.aclose()
            connection = reply.stream._httpcore_stream._stream._connection  # noqa: SLF001  # no public way
            if connection._h11_state.trailing_data[0]:  # noqa: SLF001  # bytes after the reply
                await connection.aclose()

    async def close(self):
        await self._pool.aclose()


def _theirs(request):
    body, limits = request.body, request.limits
    pieces, size = ([body], len(body)) if isinstance(body, bytes) else (body, body.size)
    headers = {**request.headers, "content-length": str(size)}
    waits = {"timeout": {"connect": limits.connect, "read": limits.read}}
    options = {"headers": headers, "content": _slowly(pieces), "extensions": waits}
    return httpx.Request(request.method, request.url, **options)


async def _slowly(pieces):
    for piece in pieces:
        yield piece


async def _chunks(reply, end):
    chunks = reply.aiter_raw()
    while chunk := await _ours(end, lambda: anext(chunks, None), begun=True):
        yield chunk


async def _ours(end, call, *, begun=False):
    try:
        async with asyncio.timeout_at(end):
            return await call()
    except httpx.ConnectTimeout:
        error = errors.ConnectTimedOut()
    except (TimeoutError, httpx.TimeoutException) as late:
        error = errors.TimedOut("total" if isinstance(late, TimeoutError) else "read")
    except httpx.ConnectError:
        error = errors.ConnectionFailed("no connection")
    except (httpx.NetworkError, httpx.RemoteProtocolError) as lost:
        malformed = isinstance(lost, httpx.RemoteProtocolError) and "disconnected" not in str(lost)
        unread = errors.UnexpectedResponse if malformed else errors.ConnectionLost
        error = (errors.StreamInterrupted if begun else unread)("the reply is not complete")
    except (httpx.LocalProtocolError, ValueError):
        error = errors.UsageError("httpx cannot send this request")
    raise error  # outside of `except`: an error of httpx in the traceback may show the key
