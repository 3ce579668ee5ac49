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
from claude_lite_transports._aiohttp_pool import because, hung_up

if TYPE_CHECKING:
    from aiohttp.client_proto import ResponseHandler

PIECE: Final = 256 * 1024


class NotUploaded(Exception):
    """Tells the coroutine that waits for a reply why the body could not be sent."""

    def __init__(self, failure: Exception) -> None:
        super().__init__()
        self.failure = failure


async def upload_body(
    protocol: "ResponseHandler", body: bytes | BodySource, left: list[int], silence: float | None
) -> None:
    """Send a large body while the reply is awaited; `left` is one number, of bytes to be sent."""
    try:
        failure = await _copy(protocol, body, left, silence)
    except Exception as error:  # noqa: BLE001  # of a source that yields something else than bytes
        failure = error
    if failure is not None:
        protocol.set_exception(NotUploaded(failure))
    elif protocol.transport is not None:
        protocol.start_timeout()


def stop(upload: "asyncio.Task[None]", protocol: "ResponseHandler | None") -> None:
    """Give up an upload, if it is not over."""
    upload.cancel()
    _unblock(protocol)


def _unblock(protocol: "ResponseHandler | None") -> None:
    # Up to 3.13, aiohttp keeps the future of a writer that was cancelled, and asyncio complains.
    if protocol is not None and protocol.writing_paused:
        protocol.resume_writing()
        protocol.pause_writing()  # as its transport still has it


async def _copy(
    protocol: "ResponseHandler", body: bytes | BodySource, left: list[int], silence: float | None
) -> Exception | None:
    """Write a body, holding one piece at a time; what went wrong is returned."""
    writer = StreamWriter(protocol, asyncio.get_running_loop())
    following = _slices(body) if isinstance(body, bytes) else _in_a_thread(body)
    while True:
        try:
            piece = await following()
        except Exception as error:  # noqa: BLE001  # the source's own, handed to its owner
            return error
        if piece is None or len(piece) > left[0]:
            break
        if protocol.transport is None or hung_up(protocol.transport):
            protocol.force_close()  # whatever the server has said is still to be read
            return None
        try:
            async with asyncio.timeout(silence):
                await writer.write(piece)
                await writer.drain()
        except TimeoutError:
            return TimedOut("read")
        except OSError as error:
            return because(error, ConnectionLost, "the connection ended during the upload")
        left[0] -= len(piece)
        del piece
        await asyncio.sleep(0)  # a reply may have come
    if left[0] or piece is not None:
        return UsageError("a request's body is not of the size that it says it is")
    return None


_Following = Callable[[], Awaitable[bytes | memoryview | None]]


def _slices(body: bytes) -> _Following:
    view = memoryview(body)
    pieces = (view[at : at + PIECE] for at in range(0, len(view), PIECE))

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
