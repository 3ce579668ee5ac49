"""A reply that is arriving: bytes go in, cut anywhere; a head, pieces of body or an error come out.

The parser is that of httptools (llhttp, as in Node.js). What llhttp leaves to its users is added
here: limits, the end of the connection, HEAD. There is no socket and no clock.

Receiving raises nothing. An error is kept until the task that wants the reply raises it in its own
frame, so that no traceback shows what was received. A reply may outlive its time on a connection:
the connection can carry the next request while the last bytes of this reply wait to be taken.
"""

import asyncio
from math import inf
from typing import Final

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from claude_lite.errors import (
    ClaudeError,
    ConnectionLost,
    ResponseTooLarge,
    StreamInterrupted,
    UnexpectedResponse,
    UsageError,
)
from claude_lite.wire import DECISIVE, Request
from claude_lite_transports.shared.http1 import head_too_long, too_many_headers

_CONTINUE: Final = 100
_SWITCHING_PROTOCOLS: Final = 101
_OK: Final = 200

_MAX_NAMES: Final = 512
_MANY: Final = 1024
_STATUS_LINE: Final = 19  # bytes of the shortest, with the blank line after it
_names: Final[dict[bytes, str]] = {}


def _lower(name: bytes) -> str:
    """Decode the name of a header and remember it: there are only a few dozen."""
    if len(_names) >= _MAX_NAMES:
        _names.clear()
    _names[name] = lower = name.decode("latin-1").lower()
    return lower


def _size_of(headers: dict[str, str]) -> int:
    return _STATUS_LINE + sum(len(name) + len(text) + 4 for name, text in headers.items())


class Incoming:
    """One reply. Pass bytes to `receive` until it is `over`: `complete`, or with an `error`.

    `status` and `headers` are those of the final head. `size` counts the bytes of the body that
    came and were not taken. If the body is wanted `whole`, the limit of the request applies to
    it. `reusable` says whether another request may follow on the connection.
    """

    __slots__ = (
        "_bodiless",
        "_body",
        "_extra",
        "_limit",
        "_max_head",
        "_max_headers",
        "_parser",
        "_pieces",
        "_repeats",
        "_since_body",
        "_until_end",
        "_waiter",
        "complete",
        "error",
        "headers",
        "paused",
        "reusable",
        "size",
        "status",
        "whole",
    )

    def __init__(self, request: Request, *, whole: bool) -> None:
        limits = request.limits
        limit = limits.max_response
        self.whole = whole
        self.status = 0
        self.headers: dict[str, str] = {}
        self.size = 0
        self.complete = False
        self.error: ClaudeError | None = None
        self.reusable = False
        self.paused = False
        self._bodiless = request.method == "HEAD"
        self._limit = limit if whole and limit is not None else inf
        self._max_head = inf if limits.max_head is None else limits.max_head
        self._max_headers = inf if limits.max_headers is None else limits.max_headers
        self._since_body = 0
        self._extra = 0  # bytes of interim heads, and of trailers
        self._pieces: list[bytes] = []
        self._body: bytearray | None = None
        self._repeats = 0
        self._until_end = False
        self._waiter: asyncio.Future[None] | None = None
        self._parser: HttpResponseParser | None = None  # made when bytes come, which may take long

    @property
    def begun(self) -> bool:
        """Whether the head has come, or never will come."""
        return self.status != 0 or self.error is not None

    @property
    def over(self) -> bool:
        """Whether the reply has ended, well or not."""
        return self.complete or self.error is not None

    # What comes in

    def receive(self, data: bytes | memoryview) -> None:
        """Parse bytes that arrived. The memory is not kept: what is needed is copied."""
        if self.over:
            return
        parser = self._parser or self._begin()
        self._since_body += len(data)
        try:
            parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade):
            self.reusable = False
            self._refuse("the reply is malformed")
        if self.size > self._limit:
            self._refuse_size()
        elif self._since_body > self._max_head:
            self.fail(head_too_long(self._max_head))
        if len(self._pieces) > _MANY:
            self._melt()
        if self.complete:
            self._parser = None

    def _begin(self) -> HttpResponseParser:
        self._parser = parser = HttpResponseParser(self)
        # Common and harmless: lines that end in LF alone, and spaces after the size of a chunk.
        parser.set_dangerous_leniencies(
            lenient_optional_cr_before_lf=True, lenient_spaces_after_chunk_size=True
        )
        return parser

    def end(self) -> None:
        """Take the end of the connection, which is also the end of some bodies."""
        if self._until_end and self.error is None:
            self.complete = True
            self._parser = None
        else:
            self.lose()

    def lose(self, cause: OSError | None = None) -> None:
        """Take the loss of the connection."""
        if self.status:
            self.fail(StreamInterrupted("the connection ended before the end of the reply"), cause)
        else:
            self.fail(ConnectionLost("the connection ended before the reply"), cause)

    def fail(self, error: ClaudeError, cause: OSError | None = None) -> None:
        """End the reply, unless it is over: with an error, unless the status decides."""
        if not self.over and self.status >= DECISIVE:
            self.complete, self.reusable, self._parser = True, False, None
        elif not self.over:
            if self.status:
                error.update(status=self.status, request_id=self.headers.get("request-id"))
            error.__cause__ = cause
            self.error = error
            self._parser = None

    def _refuse(self, what: str) -> None:
        self.fail(StreamInterrupted(what) if self.status else UnexpectedResponse(what))

    def _refuse_size(self) -> None:
        if self.status < DECISIVE:
            self.complete = False
            self._pieces.clear()
            self._body = None
        self.fail(ResponseTooLarge.over_max_response(self._limit))

    def _melt(self) -> None:
        """Join the pieces so far: there may be millions of them, of two bytes each."""
        if self._body is None:
            self._body = bytearray()
        self._body += b"".join(self._pieces)
        self._pieces.clear()

    # What goes out

    def take(self) -> bytes:
        """Return the part of the body that came since the last call."""
        if self._body is not None:
            self._melt()
            body, self._body = bytes(self._body), None
        else:
            pieces = self._pieces
            body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
            pieces.clear()
        self.size = 0
        return body

    def failure(self) -> ClaudeError:
        """Return the error to raise, and forget it: a raised error keeps its frames alive."""
        later = StreamInterrupted("the stream was interrupted before")
        error, self.error = self.error, later
        return error or later

    def wait(self) -> "asyncio.Future[None]":
        """Return a future that is done when the reply may have changed; for one task at a time."""
        if self._waiter is not None and not self._waiter.done():
            raise UsageError("two tasks cannot read the same stream at the same time")
        self._waiter = asyncio.get_running_loop().create_future()
        return self._waiter

    def wake(self) -> None:
        """Wake the task that waits: the reply may have changed."""
        waiter = self._waiter
        if waiter is not None:
            self._waiter = None
            if not waiter.done():
                waiter.set_result(None)

    # What the parser calls

    def on_message_begin(self) -> None:
        """Note the beginning of a reply; a second one answers no request."""
        if self.complete:
            self.reusable = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; trailers are counted and ignored."""
        if self.status:
            self._extra += len(name) + len(value) + 4
            if self._extra > self._max_head:
                self.fail(head_too_long(self._max_head))
            return
        key = _names.get(name) or _lower(name)
        text = value.decode("latin-1").strip(" \t")
        if key in self.headers:
            self._repeats += 1
            if self._repeats > self._max_headers:
                return  # `on_headers_complete` refuses the head
            text = f"{self.headers[key]}, {text}"
        self.headers[key] = text

    def on_headers_complete(self) -> None:
        """Take a head, and find where the body ends (RFC 9112, section 6.3)."""
        parser, headers = self._parser, self.headers
        if self.status or parser is None:
            return
        status = parser.get_status_code()
        coding = headers.get("transfer-encoding")
        length = headers.get("content-length")
        if _CONTINUE <= status < _OK and status != _SWITCHING_PROTOCOLS:
            self._extra += _size_of(headers)
            headers.clear()
            return
        if status < _OK or (coding is not None and coding.lower() != "chunked"):
            self._refuse("the head of the reply is malformed")
        elif len(headers) + self._repeats > self._max_headers:
            self.fail(too_many_headers(self._max_headers))
        elif self._is_long():
            self.fail(head_too_long(self._max_head))
        else:
            self.status = status
            self._until_end = coding is None and length is None
            if self._bodiless:
                self.complete = True
                self.reusable = parser.should_keep_alive()
            elif length is not None and int(length) > self._limit and status < DECISIVE:
                self._refuse_size()

    def _is_long(self) -> bool:
        # If head and body came at once, nothing else compares the head with its limit.
        return (
            self._since_body > self._max_head
            and self._extra + _size_of(self.headers) > self._max_head
        )

    def on_body(self, data: bytes) -> None:
        """Take a piece of the body."""
        if self.complete:
            self.reusable = False
        else:
            self._since_body = 0
            self._pieces.append(data)
            self.size += len(data)

    def on_message_complete(self) -> None:
        """Take the end of the body."""
        if self.status and not self.complete and self._parser is not None:
            self.complete = True
            self.reusable = self._parser.should_keep_alive()
