"""One connection as an `asyncio.BufferedProtocol`: one request at a time, and its reply.

Bytes go from the event loop straight into the parser, and the task that waits for the reply is
woken when there is something for it; no reader, queue or task stands in between. A request that
is not large is one write. The pool calls `check` to see whether a limit of the request passed.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from math import inf
from typing import Any, Final, Protocol, cast

from claude_lite.errors import ClaudeError, StreamInterrupted, TimedOut, UsageError
from claude_lite.wire import DECISIVE, ERROR_BODY_SECONDS, BodySource
from claude_lite_transports.asyncio.incoming import Incoming
from claude_lite_transports.shared.dial import Way, bare, ready
from claude_lite_transports.shared.per_loop import close_without_loop
from claude_lite_transports.shared.read_buffer import ReadBuffer
from claude_lite_transports.shared.share import in_thread

_HIGH_WATER: Final = 256 * 1024  # bytes of a stream that were not read; reading then pauses
_PIECE: Final = 64 * 1024  # what asyncio buffers before it calls `pause_writing`


class Keeper(Protocol):
    """The owner of connections, which is told when one of them is free again or closed."""

    @property
    def buffer(self) -> ReadBuffer:
        """The buffer that all connections read into."""
        ...

    def keep(self, connection: "Connection", incoming: Incoming, /) -> None:
        """Take back a connection that can carry another request after this reply."""
        ...

    def forget(self, connection: "Connection", /) -> None:
        """Forget a connection that was closed."""
        ...


class Connection(asyncio.BufferedProtocol):
    """A connection that belongs to a *keeper*.

    While it is `busy`, the limits of its request are `deadline`, in the loop's time, and
    `silence`, in seconds since `quiet_since`. `replies` counts the replies that it has carried.
    """

    __slots__ = (
        "_brief",
        "_closed",
        "_full",
        "_heard",
        "_incoming",
        "_keeper",
        "_ours",
        "_sent",
        "_tcp",
        "_transport",
        "_unsent",
        "busy",
        "deadline",
        "epoch",
        "idle_since",
        "idle_until",
        "quiet_since",
        "replies",
        "silence",
        "way",
    )

    _incoming: Incoming
    _transport: asyncio.Transport
    _tcp: asyncio.Transport  # under TLS; it is paused instead of TLS, which could lose bytes

    def __init__(self, keeper: Keeper, way: Way) -> None:
        self.way = way
        self.busy = False
        self.epoch = self.replies = 0
        self.idle_since = self.idle_until = 0.0
        self.deadline = self.silence = inf
        self.quiet_since = 0.0
        self._keeper = keeper
        self._closed = False
        self._full = False
        self._sent = True
        self._unsent = 0
        self._heard = False
        self._ours = False
        self._brief = False

    # What the pool and the readers of replies call

    def start(self, incoming: Incoming, data: memoryview, *, whole: bool) -> bool:
        """Send a request, or its beginning; False if the connection is closed and sent nothing."""
        if not self._transport.is_closing():
            self._transport.write(data)
        if self._transport.is_closing():  # perhaps since the write
            self.close()
            return False
        self._incoming = incoming
        self._sent = whole
        self._heard = self._ours = self._brief = False
        self.busy = True
        return True

    async def upload(self, incoming: Incoming, body: bytes | BodySource) -> None:
        """Send a large body until all of it is sent, or the reply comes.

        Raises `UsageError` if its size is not what it says, and whatever its source raises.
        """
        if isinstance(body, bytes):
            await self._push(incoming, memoryview(body))
        else:
            left = body.size
            pieces = await self._step(incoming, iter, body)
            while (piece := await self._step(incoming, next, pieces, None)) is not None:
                left -= len(piece)
                if left < 0:
                    break
                await self._push(incoming, memoryview(piece))
                del piece  # before the next one is read
            if left and not incoming.begun:
                raise UsageError(
                    "the source of a body has to yield exactly the bytes that its `size` says"
                )
        self._sent = not incoming.begun

    async def _step(self, incoming: Incoming, read: Callable[..., Any], *args: object) -> Any:
        """Read the source in a thread; None if the reply comes first.

        The limit on silence does not apply meanwhile: the server waits for the source.
        """

        def finished(done: "asyncio.Future[Any]") -> None:
            if not done.cancelled():
                done.exception()  # or asyncio logs an exception that was not retrieved
            incoming.wake()

        result = in_thread(read, *args)
        result.add_done_callback(finished)
        self._ours = True
        try:
            while not (result.done() or incoming.begun):
                await incoming.wait()
            return None if incoming.begun else result.result()
        finally:
            self._ours, self._heard = False, True
            result.cancel()

    async def _push(self, incoming: Incoming, data: memoryview) -> None:
        self._heard = True
        for start in range(0, len(data), _PIECE):
            while self._full and not incoming.begun:
                await incoming.wait()
            if not incoming.begun and self.spoken():
                await asyncio.sleep(0)  # read the reply first: a write that fails would drop it
            if incoming.begun or self._transport.is_closing():
                return
            self._transport.write(data[start : start + _PIECE])
            if self._transport.is_closing() and self.way.scheme == "http":
                self._hear_out()

    def _hear_out(self) -> None:
        """Read what came before a write failed: asyncio reads nothing after that."""
        with suppress(OSError), self._transport.get_extra_info("socket").dup() as sock:
            while self.busy and (nbytes := sock.recv_into(self._keeper.buffer.lend(-1))):
                self.buffer_updated(nbytes)

    def spoken(self) -> bool:
        """Whether there are bytes to read, or the end, that the loop has not seen yet."""
        transport = self._transport
        return transport.is_closing() or any(
            ready(transport.get_extra_info("socket"), 0, write=False)
        )

    def resume(self, incoming: Incoming) -> None:
        """Resume reading for a stream whose reader has caught up."""
        incoming.paused = False
        if self.busy and self._incoming is incoming:
            self._heard, self._ours = True, False
            self._tcp.resume_reading()

    def check(self, now: float) -> None:
        """End the request that is under way if one of its limits has passed."""
        if self._incoming.status >= DECISIVE and not self._brief:
            self._brief = True
            self.deadline = min(self.deadline, now + ERROR_BODY_SECONDS)
        if now >= self.deadline:
            self._fail(TimedOut("total"))
        elif self._heard or self._ours or self._drains():
            self._heard = False
            self.quiet_since = now
        elif now - self.quiet_since >= self.silence:
            self._fail(TimedOut("read"))

    def _drains(self) -> bool:
        before, self._unsent = self._unsent, self._transport.get_write_buffer_size()
        return self._unsent != before

    def drop(self, incoming: Incoming) -> None:
        """Give up a request that is still under way, and close its connection."""
        if self.busy and self._incoming is incoming:
            self._fail(StreamInterrupted("the stream was closed before its end"))

    def close(self) -> None:
        """Close it at once, without a wait for unsent bytes or for the end of TLS."""
        if not self._closed:
            self._closed = True
            self._keeper.forget(self)
            try:
                self._transport.abort()
            except RuntimeError:  # its loop is closed
                self.bury()
        if self.busy:
            self.busy = False
            self._incoming.lose()
            with suppress(RuntimeError):
                self._incoming.wake()

    def bury(self) -> None:
        """Close it after its loop was closed, when no callback will run any more."""
        close_without_loop(self._transport)

    def _fail(self, error: ClaudeError) -> None:
        self._incoming.fail(error)
        self.close()

    def _settle(self) -> None:
        """End the exchange: keep the connection for another request, or close it."""
        incoming = self._incoming
        unsent = not self._sent or self._transport.get_write_buffer_size()
        if incoming.complete and incoming.reusable and not unsent:
            self.busy = False
            self._keeper.keep(self, incoming)
            incoming.wake()
        else:
            self.close()

    # What asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport; called once more with the transport of TLS."""
        if not hasattr(self, "_tcp"):
            self._tcp = cast("asyncio.Transport", transport)
        self._transport = cast("asyncio.Transport", transport)

    def get_buffer(self, sizehint: int) -> memoryview:
        """Lend the buffer that all connections of the pool read into."""
        return self._keeper.buffer.lend(sizehint)

    def buffer_updated(self, nbytes: int) -> None:
        """Parse the bytes that came, and wake the task that waits for them."""
        if not self.busy:
            self.close()  # no request asked for these bytes
            return
        self._heard = True
        incoming = self._incoming
        incoming.receive(self._keeper.buffer.read(nbytes))
        if incoming.over:
            self._settle()
        elif incoming.status and not (incoming.whole and self._sent):
            incoming.wake()
            if incoming.size > _HIGH_WATER and not (incoming.whole or incoming.paused):
                incoming.paused = self._ours = True
                self._tcp.pause_reading()

    def pause_writing(self) -> None:
        """Note that no more should be written for now."""
        self._full = True

    def resume_writing(self) -> None:
        """Wake the upload that waits: there is room again."""
        self._full = False
        self._incoming.wake()

    def eof_received(self) -> None:
        """Take the end that the server sent, after which asyncio would close the connection."""
        self.connection_lost(None)

    def connection_lost(self, exc: Exception | None) -> None:
        """Take the end of the connection, for whatever reason."""
        if self.busy and exc is None:
            self._incoming.end()
        elif self.busy:
            self._incoming.lose(bare(exc) if isinstance(exc, OSError) else None)
        self.close()
