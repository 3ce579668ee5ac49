"""A large body that is being sent, on a connection of aiohttp, in a task of its own.

A body from a disk is never held whole: a thread reads it piece by piece. The server may answer
before it has the whole body; then the upload ends.
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
from claude_lite_transports.shared.share import in_thread

if TYPE_CHECKING:
    from aiohttp.client_proto import ResponseHandler

UPLOAD_PIECE: Final = 256 * 1024


class Upload:
    """The upload of a large body while another task waits for the reply."""

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
        """End the upload; if a part of the body was not sent, the connection is not used again."""
        if self.task is not None:
            self.task.cancel()
            self.task = None  # a cancelled task keeps its frames, and they keep this object
        # aiohttp up to 3.13 keeps the future of a cancelled writer, of which asyncio complains.
        if self._protocol.writing_paused:
            self._protocol.resume_writing()
            self._protocol.pause_writing()  # its transport is still paused
        if self._left:
            self._protocol.force_close()

    async def _send(self, body: bytes | BodySource) -> None:
        try:
            failure = await self._copy(body)
        except Exception as error:  # noqa: BLE001  # from a source that yields no bytes
            failure = error
        except (asyncio.CancelledError, GeneratorExit) as error:
            if self.task is None:  # `stop` cancelled it
                raise
            failure = UsageError(f"the source of a request's body raised {type(error).__name__}")
        if failure is not None:
            self._protocol.set_exception(Interrupted(failure))
        elif self._protocol.transport is not None:
            self._protocol.start_timeout()

    async def _copy(self, body: bytes | BodySource) -> Exception | None:
        """Write a body, one piece at a time; a failure is returned."""
        protocol = self._protocol
        writer = StreamWriter(protocol, asyncio.get_running_loop())
        following = _slices(body) if isinstance(body, bytes) else _in_a_thread(body)
        while True:
            try:
                piece = await following()
            except Exception as error:  # noqa: BLE001  # raised by the source: the caller gets it
                return error
            if piece is None or len(piece) > self._left:
                break
            if protocol.transport is None or hung_up(protocol.transport):
                protocol.force_close()  # what the server has sent is still read
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
            await asyncio.sleep(0)  # lets the loop read a reply
        if self._left or piece is not None:
            return UsageError(
                "the source of a body has to yield exactly the bytes that its `size` says"
            )
        return None


_Following = Callable[[], Awaitable[bytes | memoryview | None]]


def _slices(body: bytes) -> _Following:
    view = memoryview(body)
    pieces = (view[at : at + UPLOAD_PIECE] for at in range(0, len(view), UPLOAD_PIECE))

    async def following() -> memoryview | None:
        return next(pieces, None)

    return following


def _in_a_thread(body: BodySource) -> _Following:
    opened: list[Iterator[bytes]] = []

    async def following() -> bytes | None:
        if not opened:
            opened.append(await in_thread(iter, body))
        return await in_thread(_next, opened[0])

    return following


def _next(pieces: Iterator[bytes]) -> bytes | None:
    return next(pieces, None)
