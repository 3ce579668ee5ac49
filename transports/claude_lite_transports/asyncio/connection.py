"""One connection as an `asyncio.BufferedProtocol`: a request at a time, and its reply.

What arrives goes straight from the event loop into the parser, and the task that waits is
woken when there is something for it: no reader, no queue and no task lie in between. A request
that is not large is one write. The clocks of a request are looked at from outside, by `check`.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from math import inf
from typing import Any, Final, Protocol, cast

from claude_lite.errors import ClaudeError, StreamInterrupted, TimedOut, UsageError
from claude_lite.wire import BodySource
from claude_lite_transports.asyncio.incoming import Incoming
from claude_lite_transports.shared.dial import Way, bare, ready
from claude_lite_transports.shared.per_loop import close_without_loop
from claude_lite_transports.shared.read_buffer import ReadBuffer

_HIGH_WATER: Final = 256 * 1024  # bytes of a stream that nobody reads
_PIECE: Final = 64 * 1024  # as much as asyncio buffers before it says that this is enough


class Keeper(Protocol):
    """Whoever keeps connections: it is told when one is free again, or closed."""

    @property
    def buffer(self) -> ReadBuffer:
        """The buffer that all its connections read into."""
        ...

    def keep(self, connection: "Connection", /) -> None:
        """Take back a connection that another request can use."""
        ...

    def forget(self, connection: "Connection", /) -> None:
        """Let go of a connection that was closed."""
        ...


class Connection(asyncio.BufferedProtocol):
    """A connection of a *keeper*.

    While it is `busy`, the request's clocks are `deadline`, in the loop's time, and `silence`,
    in seconds since `quiet_since`.
    """

    __slots__ = (
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
        "idle_since",
        "quiet_since",
        "silence",
        "way",
    )

    _incoming: Incoming
    _transport: asyncio.Transport
    _tcp: asyncio.Transport  # under TLS: what that has not decrypted when it is paused can be lost

    def __init__(self, keeper: Keeper, way: Way) -> None:
        self.way = way
        self.busy = False
        self.idle_since = 0.0
        self.deadline = self.silence = inf
        self.quiet_since = 0.0
        self._keeper = keeper
        self._closed = False
        self._full = False
        self._sent = True
        self._unsent = 0
        self._heard = False
        self._ours = False

    # What the pool and the readers of replies call

    def start(self, incoming: Incoming, data: memoryview, *, whole: bool) -> bool:
        """Send the `whole` request, or begin to; False if it is closed and nothing was sent."""
        if not self._transport.is_closing():
            self._transport.write(data)
        if self._transport.is_closing():  # found out by writing, perhaps
            self.close()
            return False
        self._incoming = incoming
        self._sent = whole
        self._heard = self._ours = False
        self.busy = True
        return True

    async def upload(self, incoming: Incoming, body: bytes | BodySource) -> None:
        """Send a large body, until all of it is sent or the reply comes.

        Raises `UsageError` if it is not as long as it says, and whatever its reading raises.
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
                raise UsageError("a request body has to have the size that it says it has")
        self._sent = not incoming.begun

    async def _step(self, incoming: Incoming, read: Callable[..., Any], *args: object) -> Any:
        """Read on in a thread; the silence is ours. None if the reply comes first."""

        def heed(done: "asyncio.Future[Any]") -> None:
            if not done.cancelled():
                done.exception()  # seen, wanted or not
            incoming.wake()

        result = asyncio.get_running_loop().run_in_executor(None, read, *args)
        result.add_done_callback(heed)
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
                await asyncio.sleep(0)  # a write that fails would drop the reply that is there
            if incoming.begun or self._transport.is_closing():
                return
            self._transport.write(data[start : start + _PIECE])
            if self._transport.is_closing() and self.way.scheme == "http":
                self._hear_out()

    def _hear_out(self) -> None:
        """Read what came before a write failed: asyncio will not, once it has."""
        with suppress(OSError), self._transport.get_extra_info("socket").dup() as sock:
            while self.busy and (nbytes := sock.recv_into(self._keeper.buffer.lend(-1))):
                self.buffer_updated(nbytes)

    def spoken(self) -> bool:
        """Say whether there is something to read, or the end, that the loop has not seen yet."""
        transport = self._transport
        return transport.is_closing() or any(
            ready(transport.get_extra_info("socket"), 0, write=False)
        )

    def resume(self, incoming: Incoming) -> None:
        """Read on, after a stream that nobody read has been read."""
        incoming.paused = False
        if self.busy and self._incoming is incoming:
            self._heard, self._ours = True, False
            self._tcp.resume_reading()

    def check(self, now: float) -> None:
        """End the request that is under way if one of its clocks has run out."""
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
        """Give a request up if it is still under way, and the connection with it."""
        if self.busy and self._incoming is incoming:
            self._fail(StreamInterrupted("the stream was left before its end"))

    def close(self) -> None:
        """Close it at once: no unsent bytes, and no other side's end of TLS, are waited for."""
        if not self._closed:
            self._closed = True
            self._keeper.forget(self)
            self._transport.abort()
        if self.busy:
            self.busy = False
            self._incoming.lose()
            self._incoming.wake()

    def bury(self) -> None:
        """Close it after its loop, none of whose callbacks will run any more."""
        close_without_loop(self._transport)

    def _fail(self, error: ClaudeError) -> None:
        self._incoming.fail(error)
        self.close()

    def _settle(self) -> None:
        """The reply is over: serve another request, or close."""
        incoming = self._incoming
        unsent = not self._sent or self._transport.get_write_buffer_size()
        if incoming.complete and incoming.reusable and not unsent:
            self.busy = False
            self._keeper.keep(self)
            incoming.wake()
        else:
            self.close()

    # What asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin; once more when TLS has been laid over it."""
        if not hasattr(self, "_tcp"):
            self._tcp = cast("asyncio.Transport", transport)
        self._transport = cast("asyncio.Transport", transport)

    def get_buffer(self, sizehint: int) -> memoryview:
        """Lend the buffer to read into."""
        return self._keeper.buffer.lend(sizehint)

    def buffer_updated(self, nbytes: int) -> None:
        """Pass on what has come, and tell who waits for it."""
        if not self.busy:
            self.close()  # nobody asked
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
        """Take note that no more should be written for now."""
        self._full = True

    def resume_writing(self) -> None:
        """Tell who waits that there is room again."""
        self._full = False
        self._incoming.wake()

    def eof_received(self) -> None:
        """Take the end that the server made; asyncio would close the connection next."""
        self.connection_lost(None)

    def connection_lost(self, exc: Exception | None) -> None:
        """Take the end, of whatever kind."""
        if self.busy and exc is None:
            self._incoming.end()
        elif self.busy:
            self._incoming.lose(bare(exc) if isinstance(exc, OSError) else None)
        self.close()
