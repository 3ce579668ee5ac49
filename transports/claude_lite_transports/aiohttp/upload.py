"""A large body on its way, on a connection of aiohttp's, in a task beside the wait for a reply.

It is never held whole if it comes from a disk: pieces are read in a thread, one at a time.
The server may answer before it has all; then there is no use in going on.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import TYPE_CHECKING, Final

from aiohttp.http import StreamWriter

from claude_lite.errors import ConnectionLost, TimedOut, UsageError
from claude_lite.wire import BodySource
from claude_lite_transports.aiohttp.connection import hung_up
from claude_lite_transports.aiohttp.pool import because
from claude_lite_transports.aiohttp.watch import Interrupted

if TYPE_CHECKING:
    from aiohttp.client_proto import ResponseHandler

UPLOAD_PIECE: Final = 256 * 1024


class Upload:
    """A large body on its way while the reply is awaited, in a task of its own."""

    def __init__(
        self,
        protocol: "ResponseHandler",
        body: bytes | BodySource,
        size: int,
        silence: float | None,
    ) -> None:
        self._protocol = protocol
        self._left = size
        self._silence = silence
        self.task: asyncio.Task[None] | None = asyncio.create_task(self._send(body))

    def stop(self) -> None:
        """Give it up, if it is not over; a connection that is owed a rest is not used again."""
        if self.task is not None:
            self.task.cancel()
            self.task = None  # once cancelled, it holds on to its frames, and they to this
        # Up to 3.13, aiohttp keeps the future of a writer that was cancelled; asyncio complains.
        if self._protocol.writing_paused:
            self._protocol.resume_writing()
            self._protocol.pause_writing()  # as its transport still has it
        if self._left:
            self._protocol.force_close()

    async def _send(self, body: bytes | BodySource) -> None:
        try:
            failure = await self._copy(body)
        except Exception as error:  # noqa: BLE001  # of a source that yields something else
            failure = error
        except (asyncio.CancelledError, GeneratorExit) as error:
            if self.task is None:  # it was stopped
                raise
            failure = UsageError(f"the source of a request's body raised {type(error).__name__}")
        if failure is not None:
            self._protocol.set_exception(Interrupted(failure))
        elif self._protocol.transport is not None:
            self._protocol.start_timeout()

    async def _copy(self, body: bytes | BodySource) -> Exception | None:
        """Write a body, holding one piece at a time; what went wrong is returned."""
        protocol = self._protocol
        writer = StreamWriter(protocol, asyncio.get_running_loop())
        following = _slices(body) if isinstance(body, bytes) else _in_a_thread(body)
        while True:
            try:
                piece = await following()
            except Exception as error:  # noqa: BLE001  # the source's own, handed to its owner
                return error
            if piece is None or len(piece) > self._left:
                break
            if protocol.transport is None or hung_up(protocol.transport):
                protocol.force_close()  # whatever the server has said is still to be read
                return None
            try:
                async with asyncio.timeout(self._silence):
                    await writer.write(piece)
                    await writer.drain()
            except TimeoutError:
                return TimedOut("read")
            except OSError as error:
                return because(error, ConnectionLost, "the connection ended during the upload")
            self._left -= len(piece)
            del piece
            await asyncio.sleep(0)  # a reply may have come
        if self._left or piece is not None:
            return UsageError("a request's body is not of the size that it says it is")
        return None


_Following = Callable[[], Awaitable[bytes | memoryview | None]]


def _slices(body: bytes) -> _Following:
    view = memoryview(body)
    pieces = (view[at : at + UPLOAD_PIECE] for at in range(0, len(view), UPLOAD_PIECE))

    async def following() -> memoryview | None:
        return next(pieces, None)

    return following


def _in_a_thread(body: BodySource) -> _Following:
    run = asyncio.get_running_loop().run_in_executor
    opened: list[Iterator[bytes]] = []

    async def following() -> bytes | None:
        if not opened:
            opened.append(await run(None, iter, body))
        return await run(None, _next, opened[0])

    return following


def _next(pieces: Iterator[bytes]) -> bytes | None:
    return next(pieces, None)
