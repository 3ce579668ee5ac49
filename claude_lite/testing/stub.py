"""Transports with prepared answers, for answers that the emulator cannot give.

    transport = StubTransport(message("Hello"), error_response(529), message_stream("Bye"))

A stub transport sends nothing and does not wait. Wrapped by `VirtualClock.transport`, its waits
take virtual time.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any, ClassVar

import orjson
from attrs import evolve

from claude_lite.wire import AsyncHeadAndChunks, HeadAndChunks, Request, Response

StubAnswer = Response | Mapping[str, Any] | Iterable[bytes] | Exception
"""A response; the JSON body of a response with status 200; the chunks of a stream; an error."""


class _Stub:
    """The part that sync and async stubs share: the answers, and the `requests` so far."""

    governed: ClassVar[bool] = False

    def __init__(self, *answers: StubAnswer) -> None:
        """Take the answers, one per request; a further request raises `AssertionError`.

        Args:
            answers: Per answer: a `Response`; a JSON object, sent with status 200; an iterable
                of bytes, sent as a stream of events; or an exception to raise.

        """
        self.requests: list[Request] = []
        self._answers = iter(answers)

    def _next(self, request: Request) -> HeadAndChunks:
        self.requests.append(request)
        answer = next(self._answers, None)
        if answer is None:
            count = len(self.requests)
            asked = f"{request.method} {request.url}"
            raise AssertionError(f"no answer left for {asked}: it is call {count}")
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, Response):
            return evolve(answer, body=b""), [answer.body]
        if isinstance(answer, Mapping):
            return Response(200, {"content-type": "application/json"}), [orjson.dumps(answer)]
        return Response(200, {"content-type": "text/event-stream"}), answer


class StubTransport(_Stub):
    """A sync transport with prepared answers.

    Attributes:
        requests: The requests that were made so far.

    """

    def send(self, request: Request, /) -> Response:
        """Return the next answer whole."""
        head, chunks = self._next(request)
        return evolve(head, body=b"".join(chunks))

    @contextmanager
    def stream(self, request: Request, /) -> Iterator[HeadAndChunks]:
        """Give the next answer chunk by chunk."""
        yield self._next(request)

    def sleep(self, seconds: float, /) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


class AsyncStubTransport(_Stub):
    """An async transport with prepared answers.

    Attributes:
        requests: The requests that were made so far.

    """

    async def send(self, request: Request, /) -> Response:
        """Return the next answer whole."""
        head, chunks = self._next(request)
        await asyncio.sleep(0)  # let other tasks run, as a network does
        return evolve(head, body=b"".join(chunks))

    @asynccontextmanager
    async def stream(self, request: Request, /) -> AsyncIterator[AsyncHeadAndChunks]:
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
