"""One attempt at a request on one connection, within its limits.

Every wait on the socket ends with the limit that passes first, and every error of a socket
becomes an error of `claude_lite` here. Only a `memoryview`, whose repr shows nothing, holds the
serialised request, so no variable in a traceback shows the API key.
"""

import ssl
from collections.abc import Iterator
from contextlib import suppress
from os import getpid
from socket import SHUT_RDWR, socket
from types import TracebackType
from typing import Final

from claude_lite.errors import (
    ClaudeError,
    ConnectionFailed,
    ConnectionLost,
    ResponseTooLarge,
    StreamInterrupted,
    UsageError,
)
from claude_lite.wire import (
    DECISIVE,
    ERROR_BODY_SECONDS,
    HeadAndChunks,
    Limits,
    Request,
    Response,
)
from claude_lite_transports.shared.dial import RECEIVE, Clocks, Way, bare, is_timeout, ready
from claude_lite_transports.shared.http1 import SMALL, ReplyParser
from claude_lite_transports.shared.places import Places
from claude_lite_transports.urllib.idle import Idle

# Bytes per write. Over TLS a write returns when all of its bytes are out, and until then no reply
# is noticed. One record goes out without a wait if there is any room.
_RECORD: Final = 16 * 1024

_LINGER: Final = Limits(read=0.1, total=0.1)


class Attempt:
    """The context around a reply, and the iterator of its chunks.

    `start` has the head of the request as bytes, and its body if that is small. `max_size` is
    the limit on the body of the reply.
    """

    _clocks: Clocks
    _sock: socket
    _pid = 0
    _stopped = _busy = False
    _replies = 0
    _has_place = _open = False

    def __init__(
        self,
        request: Request,
        start: memoryview,
        way: Way,
        idle: Idle,
        places: Places,
        context: ssl.SSLContext | None,
        max_size: int | None,
    ) -> None:
        self._request = request
        self._start = start
        self._way = way
        self._idle = idle
        self._places = places
        self._epoch = idle.epoch
        self._context = context
        self._max_size = max_size
        self._reply = ReplyParser(request.method, request.limits)
        self._size = 0
        self._sent = 0
        self._whole = False

    def __enter__(self) -> HeadAndChunks:
        reply, way = self._reply, self._way
        self._pid, self._busy = getpid(), True
        self._clocks = Clocks(self._request.limits)
        if not self._places.take():
            if not self._places.wait(self._clocks.total_left()):
                raise self._places.too_late()
            self._clocks.start_connecting()
        self._has_place = True
        try:
            self._sock, self._replies = self._idle.take(way) or (self._connect(), 0)
            self._open = True
            self._clocks.connecting = False
            self._whole = self._push(self._start) and all(map(self._push, self._pieces()))
            while not reply.has_head():
                self._receive()
            if reply.status >= DECISIVE:
                self._clocks.shorten(ERROR_BODY_SECONDS)
        except BaseException:
            self._busy = False
            self._abandon()
            raise
        self._busy = False
        return Response(reply.status, reply.headers), self

    def __del__(self) -> None:
        self._abandon()  # of a stream that was never closed

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()
        self._abandon()

    def stop(self) -> None:
        """End the attempt. Any thread may call this while another thread waits for the reply.

        The waiting thread wakes up, because the socket is shut down, and then closes the socket. If
        this thread closed it, its number could be that of another connection at once, from which
        the waiting thread would read. A forked child shuts nothing down that its parent may use.
        """
        self._stopped = True  # first this, then look: the waiting thread does it the other way
        if self._open and self._busy and getpid() == self._pid:
            sock = self._sock
            with suppress(OSError):
                if isinstance(sock, ssl.SSLSocket):  # its own `shutdown` drops the TLS layer
                    super(ssl.SSLSocket, sock).shutdown(SHUT_RDWR)
                else:
                    sock.shutdown(SHUT_RDWR)

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        self._busy = True
        try:
            chunk = self._take()
        except ClaudeError as error:
            reply = self._reply
            if reply.status >= DECISIVE:
                self._stopped = True  # the connection is closed below
                raise StopIteration from None
            error.update(status=reply.status, request_id=reply.headers.get("request-id"))
            raise
        finally:
            self._busy = False
            if self._stopped:
                self._abandon()
        if not chunk:
            raise StopIteration
        return chunk

    def finish(self) -> None:
        """Wait a moment for the end of a body whose rest is not needed."""
        self._clocks = Clocks(_LINGER)
        self._clocks.connecting = False
        with suppress(ClaudeError):
            while self._take():
                pass

    def _take(self) -> bytes:
        """Return the next chunk, or b"" after the last, when the connection is free again."""
        reply, limit = self._reply, self._max_size
        while self._open:
            chunk = reply.take()
            self._size += len(chunk)
            announced = 0 if reply.status >= DECISIVE else reply.length or 0
            if limit is not None and max(self._size, announced) > limit:
                raise ResponseTooLarge.over_max_response(limit)
            if reply.complete:
                self._finish()
            if chunk:
                return chunk
            if not reply.complete:
                self._receive()
        if not reply.complete:
            raise StreamInterrupted("the stream was closed before its end")
        return b""

    def _connect(self) -> socket:
        self._places.make_room(self._idle)
        return self._way.connect(self._clocks, self._context)

    def _pieces(self) -> Iterator[memoryview]:
        """Yield the body, unless `opening` has included it; its size has to be what it says."""
        body = self._request.body
        if isinstance(body, bytes):
            if len(body) > SMALL:
                yield memoryview(body)
            return
        left = body.size
        for piece in body:
            left -= len(piece)
            if left < 0:
                break
            yield memoryview(piece)
        if left:
            raise UsageError(
                "the source of a body has to yield exactly the bytes that its `size` says"
            )

    def _push(self, data: memoryview) -> bool:
        """Send bytes; False if the reply or the end came before all were sent."""
        while data:
            self._check_stopped()
            if self._sent and self._answered():
                return False
            self._sock.settimeout(self._clocks.left())
            try:
                sent = self._sock.send(data[:_RECORD])
            except OSError as error:
                if is_timeout(error):
                    raise self._clocks.over() from bare(error)
                if self._sent:
                    return False  # a reply may say why
                raise ConnectionFailed(
                    "the connection was closed before anything was sent"
                ) from bare(error)
            self._sent += sent
            data = data[sent:]
        return True

    def _answered(self) -> bool:
        """Wait for room to write; True if the reply, or the end, came in the meantime."""
        readable, writable = ready(self._sock, self._clocks.left(), write=True)
        if not readable and not writable:
            raise self._clocks.over()
        if not readable:
            return False
        self._sock.settimeout(0)
        try:
            self._reply.receive(self._sock.recv(RECEIVE))
        except (
            BlockingIOError,
            ssl.SSLWantReadError,
        ):  # TLS has read a session ticket, for example
            return False
        except OSError:
            return True
        return self._reply.has_head()

    def _receive(self) -> None:
        """Wait for the next bytes of the reply."""
        self._check_stopped()
        self._sock.settimeout(self._clocks.left())
        try:
            self._reply.receive(self._sock.recv(RECEIVE))
        except OSError as error:
            if is_timeout(error):
                raise self._clocks.over() from bare(error)
            if not self._reply.status:
                raise ConnectionLost("the connection broke before the reply") from bare(error)
            raise StreamInterrupted("the connection broke before the end of the reply") from bare(
                error
            )

    def _finish(self) -> None:
        """Keep the connection for another request if it can carry one; close it otherwise."""
        self._open = False  # first this, then look whether another thread has called `stop`
        reply = self._reply
        if self._whole and reply.keep and not self._stopped:
            replies = self._replies + 1
            self._idle.keep(self._way, self._sock, reply, replies, self._epoch)
        else:
            self._sock.close()
        self._leave()

    def _check_stopped(self) -> None:
        if self._stopped:
            raise StreamInterrupted("the stream was closed before its end")

    def _abandon(self) -> None:
        if self._busy:
            return  # the thread that waits does it
        if self._open:
            self._open = False
            self._sock.close()
        self._leave()

    def _leave(self) -> None:
        if self.__dict__.pop("_has_place", False):  # one of two threads
            self._places.give()
