"""An asynchronous transport on trio and h11: it shows that the core needs no asyncio.

It opens a connection for each request and knows of the limits only that on the whole. It is
for tests, and an example of how little a transport has to be.
"""

from contextlib import aclosing, asynccontextmanager
from math import inf
from urllib.parse import urlsplit

import h11
import trio

from claude_lite import ConnectionFailed, ConnectionLost, Response, TimedOut


class TrioTransport:
    """A `claude_lite.wire.AsyncTransport`; `open` counts the connections that are."""

    sleep = staticmethod(trio.sleep)

    def __init__(self):
        """Open nothing."""
        self.open = 0

    async def send(self, request):
        """Give the whole response."""
        async with self.stream(request) as (head, chunks):
            body = b"".join([chunk async for chunk in chunks])
        return Response(head.status, head.headers, body)

    @asynccontextmanager
    async def stream(self, request):
        """Give the head of the response, and the chunks as they come."""
        total = request.limits.total
        try:
            with trio.fail_after(inf if total is None else total):
                async with await self._connect(request) as wire:
                    self.open += 1
                    try:
                        head, chunks = await self._exchange(wire, request)
                        async with aclosing(chunks):
                            yield head, chunks
                    finally:
                        self.open -= 1
        except trio.TooSlowError:
            raise TimedOut("total") from None

    async def close(self):
        """Nothing is kept."""

    async def _connect(self, request):
        url = urlsplit(request.url)
        try:
            return await trio.open_tcp_stream(url.hostname, url.port)
        except OSError as error:
            raise ConnectionFailed(str(error)) from None

    async def _exchange(self, wire, request):
        url, http = urlsplit(request.url), h11.Connection(h11.CLIENT)
        headers = {"host": url.netloc, **request.headers, "content-length": len(request.body)}
        lines = [(name, str(value)) for name, value in headers.items()]
        sent = [
            h11.Request(method=request.method, target=url.path, headers=lines),
            h11.Data(data=request.body),
            h11.EndOfMessage(),
        ]
        await wire.send_all(b"".join(http.send(event) for event in sent))
        head = await self._next(wire, http)
        names = {name.decode(): value.decode() for name, value in head.headers}
        return Response(head.status_code, names), self._chunks(wire, http)

    async def _chunks(self, wire, http):
        while isinstance(event := await self._next(wire, http), h11.Data):
            yield bytes(event.data)

    async def _next(self, wire, http):
        while (event := http.next_event()) is h11.NEED_DATA:
            try:
                http.receive_data(await wire.receive_some())
            except trio.BrokenResourceError:
                raise ConnectionLost("the connection broke off") from None
        return event
