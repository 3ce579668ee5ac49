"""A transport that gives the answers that it was made with: for what an emulator cannot say.

    transport = StubTransport(message("Hello"), error_response(529), message_stream("Bye"))

It sends nothing and waits for nothing. In a virtual clock (`VirtualClock.transport`) it can
be waited for.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import orjson
from attrs import evolve

from claude_lite.wire import AsyncHead, Head, Request, Response

StubAnswer = Response | Mapping[str, Any] | Iterable[bytes] | Exception
"""A response; the JSON of one with status 200; the chunks of a stream; an error to raise."""


class _Stub:
    """What both colours have in common: the answers, and the `requests` that were made."""

    def __init__(self, *answers: StubAnswer) -> None:
        """Give these answers, one a request, and then none."""
        self.requests: list[Request] = []
        self._answers = iter(answers)

    def _next(self, request: Request) -> Head:
        self.requests.append(request)
        answer = next(self._answers, None)
        if answer is None:
            count = len(self.requests)
            raise AssertionError(f"{request.method} {request.url} is call {count}, one too many")
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, Response):
            return evolve(answer, body=b""), [answer.body]
        if isinstance(answer, Mapping):
            return Response(200, {"content-type": "application/json"}), [orjson.dumps(answer)]
        return Response(200, {"content-type": "text/event-stream"}), answer


class StubTransport(_Stub):
    """The synchronous colour."""

    def send(self, request: Request, /) -> Response:
        """Give the next answer whole."""
        head, chunks = self._next(request)
        return evolve(head, body=b"".join(chunks))

    @contextmanager
    def stream(self, request: Request, /) -> Iterator[Head]:
        """Give the next answer chunk by chunk."""
        yield self._next(request)

    def sleep(self, seconds: float, /) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


class AsyncStubTransport(_Stub):
    """The asynchronous colour."""

    async def send(self, request: Request, /) -> Response:
        """Give the next answer whole."""
        head, chunks = self._next(request)
        await asyncio.sleep(0)  # a network would let others run, too
        return evolve(head, body=b"".join(chunks))

    @asynccontextmanager
    async def stream(self, request: Request, /) -> AsyncIterator[AsyncHead]:
        """Give the next answer chunk by chunk."""
        head, chunks = self._next(request)
        await asyncio.sleep(0)
        yield head, _slowly(chunks)

    async def sleep(self, seconds: float, /) -> None:
        """Let other tasks run."""
        await asyncio.sleep(0 * seconds)

    async def close(self) -> None:
        """Do nothing."""


async def _slowly(chunks: Iterable[bytes]) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk
        await asyncio.sleep(0)
