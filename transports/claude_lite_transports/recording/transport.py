"""Record what passes through a transport, and replay it without a network or a key.

Around any transport, it writes a file that people can read (`cassette.py` describes the format).
From that file alone it answers the same requests with the same bytes, in the same chunks, and with
the same failures. In a replay, a request that was not recorded is an error, never a call. It
retries nothing, knows nothing about the API, and keeps secrets out of the file.
"""

import asyncio
import time
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from types import TracebackType
from typing import Self

from claude_lite.wire import (
    AsyncHeadAndChunks,
    AsyncTransport,
    HeadAndChunks,
    Request,
    Response,
    Transport,
)
from claude_lite_transports.recording.cassette import (
    CassetteMiss,
    Interaction,
    InteractionsUnused,
    SecretInCassette,
)
from claude_lite_transports.recording.matching import describe
from claude_lite_transports.recording.recorder import Mode, Recorder
from claude_lite_transports.recording.tape import Take

__all__ = [
    "AsyncRecordingTransport",
    "CassetteMiss",
    "Interaction",
    "InteractionsUnused",
    "Mode",
    "RecordingTransport",
    "SecretInCassette",
]


class RecordingTransport(Recorder[Transport]):
    """Record and replay around a `claude_lite.wire.Transport`."""

    def send(self, request: Request, /) -> Response:
        """Return the recorded response, or that of the inner transport; raises `CassetteMiss`."""
        if self.mode == "off":
            return self._inner().send(request)
        turn = self._turn(request)
        if isinstance(turn, Interaction):
            self._wait(self._pace(sum(turn.delays) / 1000))
            return turn.whole()
        try:
            return turn.answered(self._inner().send(request))
        except BaseException as error:
            turn.ended(error)
            raise

    @contextmanager
    def stream(self, request: Request, /) -> Iterator[HeadAndChunks]:
        """Yield the recorded stream, or that of the inner transport; raises `CassetteMiss`."""
        if self.mode == "off":
            with self._inner().stream(request) as live:
                yield live
            return
        turn = self._turn(request)
        if isinstance(turn, Interaction):
            self._wait(self._pace(next(iter(turn.delays), 0) / 1000))
            yield turn.begin(), self._replayed(turn)
            return
        with ExitStack() as stack:
            try:
                inner = self._inner()
                turn.asked()
                head, chunks = stack.enter_context(inner.stream(request))
            except BaseException as error:
                turn.ended(error)
                raise
            turn.began(head)
            try:
                yield head, _Heard(turn, chunks)
            finally:
                turn.left()

    def _turn(self, request: Request) -> Interaction | Take:
        number = self._tape.number()
        return self._tape.turn(number, describe(request, self._redactor), self.monotonic)

    def _replayed(self, recorded: Interaction) -> Iterator[bytes]:
        for chunk, delay in zip(recorded.chunks, recorded.delays[1:], strict=True):
            self._wait(self._pace(delay / 1000))
            yield chunk
        recorded.end()

    def sleep(self, seconds: float, /) -> None:
        """Wait as the inner transport does; if it only replays, for as long as `speed` says."""
        self._wait(self._patience(seconds))

    def _wait(self, seconds: float) -> None:
        if seconds > 0:
            (self._made or time).sleep(seconds)

    def close(self) -> None:
        """Close the inner transport, and save, unless an open `with` block will save."""
        try:
            if not self._tape.holds:
                self._tape.save()
        finally:
            if self._made is not None:
                self._made.close()

    def __enter__(self) -> Self:
        """Put off saving until the end of the block."""
        self._tape.holds += 1
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Save and close; raises `SecretInCassette`, and `InteractionsUnused` if strict."""
        self._leave(error)
        self.close()
        if error is None and self._strict:
            self._tape.check_unused()


class AsyncRecordingTransport(Recorder[AsyncTransport]):
    """Record and replay around a `claude_lite.wire.AsyncTransport`."""

    async def send(self, request: Request, /) -> Response:
        """Return the recorded response, or that of the inner transport; raises `CassetteMiss`."""
        if self.mode == "off":
            return await self._inner().send(request)
        turn = await self._turn(request)
        if isinstance(turn, Interaction):
            await self._wait(self._pace(sum(turn.delays) / 1000))
            return turn.whole()
        try:
            return turn.answered(await self._inner().send(request))
        except BaseException as error:
            turn.ended(error)
            raise

    @asynccontextmanager
    async def stream(self, request: Request, /) -> AsyncIterator[AsyncHeadAndChunks]:
        """Yield the recorded stream, or that of the inner transport; raises `CassetteMiss`."""
        if self.mode == "off":
            async with self._inner().stream(request) as live:
                yield live
            return
        turn = await self._turn(request)
        if isinstance(turn, Interaction):
            await self._wait(self._pace(next(iter(turn.delays), 0) / 1000))
            yield turn.begin(), self._replayed(turn)
            return
        async with AsyncExitStack() as stack:
            try:
                inner = self._inner()
                turn.asked()
                head, chunks = await stack.enter_async_context(inner.stream(request))
            except BaseException as error:
                turn.ended(error)
                raise
            turn.began(head)
            try:
                yield head, _AsyncHeard(turn, chunks)
            finally:
                turn.left()

    async def _turn(self, request: Request) -> Interaction | Take:
        number = self._tape.number()
        if isinstance(request.body, bytes):
            described = describe(request, self._redactor)
        else:
            # Reading a whole file takes time, in which the loop has other work.
            described = await asyncio.to_thread(describe, request, self._redactor)
        return self._tape.turn(number, described, self.monotonic)

    async def _replayed(self, recorded: Interaction) -> AsyncIterator[bytes]:
        for chunk, delay in zip(recorded.chunks, recorded.delays[1:], strict=True):
            await self._wait(self._pace(delay / 1000))
            yield chunk
        recorded.end()

    async def sleep(self, seconds: float, /) -> None:
        """Wait as the inner transport does; if it only replays, for as long as `speed` says."""
        await self._wait(self._patience(seconds))

    async def _wait(self, seconds: float) -> None:
        # A sleep of 0 seconds lets other tasks run, as a network would.
        await (self._made or asyncio).sleep(max(seconds, 0))

    async def close(self) -> None:
        """Close the inner transport, and save, unless an open `with` block will save."""
        try:
            if not self._tape.holds:
                await asyncio.to_thread(self._tape.save)
        finally:
            if self._made is not None:
                await self._made.close()

    async def __aenter__(self) -> Self:
        """Put off saving until the end of the block."""
        self._tape.holds += 1
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Save and close; raises `SecretInCassette`, and `InteractionsUnused` if strict."""
        self._leave(error)
        await self.close()
        if error is None and self._strict:
            self._tape.check_unused()


class _Heard(Iterator[bytes]):
    """The chunks of a stream; each is noted as it is passed on."""

    def __init__(self, take: Take, chunks: Iterable[bytes]) -> None:
        self._take = take
        self._chunks = iter(chunks)

    def __next__(self) -> bytes:
        try:
            chunk = next(self._chunks)
        except BaseException as error:
            self._take.ended(error)
            raise
        return self._take.heard(chunk)


class _AsyncHeard(AsyncIterator[bytes]):
    """The same for an async stream. A generator could not be closed while it is awaited."""

    def __init__(self, take: Take, chunks: AsyncIterable[bytes]) -> None:
        self._take = take
        self._chunks = aiter(chunks)

    async def __anext__(self) -> bytes:
        try:
            chunk = await anext(self._chunks)
        except BaseException as error:
            self._take.ended(error)
            raise
        return self._take.heard(chunk)
