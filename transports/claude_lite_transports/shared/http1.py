"""HTTP/1.1 as bytes: the head of a request out, a reply in. No sockets, no clock.

`http.client` is not used, for three reasons. It accepts a body that is shorter than its
content-length, or whose last chunk is missing. It passes headers through the parser for e-mail,
which is most of the cost of a small call. Its frames hold the head of the request, with the API
key, in variables that a traceback shows. Here a broken body is an error, and no frame that an
error passes through holds what was sent.
"""

import re
from math import inf
from typing import Final

from claude_lite.errors import (
    ConnectionLost,
    ResponseTooLarge,
    StreamInterrupted,
    UnexpectedResponse,
    UsageError,
)
from claude_lite.wire import DEFAULT_LIMITS, Limits, MaskedStr, Request

SMALL: Final = 16 * 1024

_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_UNSAFE: Final = re.compile("[\0\r\n\ud800-\udfff]")
_FRAMING: Final = frozenset({"content-length", "transfer-encoding"})
_CRLF: Final = b"\r\n"
_VERSION: Final = b"HTTP/1."
_STATUS: Final = re.compile(r"HTTP/1\.([01]) ([1-9][0-9]{2})(?: .*)?")
_BLANK: Final = re.compile(rb"\n\r?\n")
_FOLD: Final = re.compile(r"\n[ \t]+")
_LENGTH: Final = re.compile(r"[0-9]{1,18}")
_CHUNK: Final = re.compile(rb"\r\n([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\r\n]*)?\r\n")

_SWITCHING_PROTOCOLS: Final = 101
_OK: Final = 200


def is_framing(name: str) -> bool:
    """Tell whether a header says where the request ends, or would be a second `host`."""
    lower = name.lower()
    return lower in _FRAMING or (lower == "host" and name != "host")


def is_method(name: str) -> bool:
    """Tell whether *name* can be the method of a request."""
    return _TOKEN.fullmatch(name) is not None


def opening(
    request: Request, target: str, host: str, credential: MaskedStr | None = None
) -> memoryview:
    """Serialise the head of a request, and its body if that is small: one write, one packet.

    `credential` is for a proxy. The result is a memoryview, because its repr shows nothing.
    Raises `UsageError` for what cannot stand in a head: no value can add a line to it.
    """
    headers, body = request.headers, request.body
    if not is_method(request.method):
        raise UsageError(f"{request.method!r} is not an HTTP method")
    wrong = [
        name
        for name, value in headers.items()
        if _UNSAFE.search(value) or not _TOKEN.fullmatch(name) or is_framing(name)
    ]
    if wrong:
        raise UsageError(
            f"these headers have a name or a value that HTTP cannot carry: {wrong}",
            advice="Leave out line ends, and content-length and transfer-encoding.",
        )
    size = len(body) if isinstance(body, bytes) else body.size
    lines = [f"{request.method} {target} HTTP/1.1"]
    if "host" not in headers:
        lines.append(f"host: {host}")
    lines += map(": ".join, headers.items())
    if credential is not None:
        lines.append(f"proxy-authorization: {credential}")
    if size or request.method in ("POST", "PUT", "PATCH"):
        lines.append(f"content-length: {size}")
    lines.append("\r\n")
    small = body if isinstance(body, bytes) and size <= SMALL else b""
    return memoryview("\r\n".join(lines).encode() + small)


def head_too_long(limit: float) -> ResponseTooLarge:
    """The error for a head, a line between two chunks, or trailers longer than `max_head`."""
    what = f"the headers, trailers and interim replies have over {limit} bytes"
    return ResponseTooLarge.over_limit("max_head", int(limit), what)


def too_many_headers(limit: float) -> ResponseTooLarge:
    """The error for a head with more than `max_headers`."""
    return ResponseTooLarge.over_limit(
        "max_headers", int(limit), f"the reply has over {limit} headers"
    )


class ReplyParser:
    """A parser of one reply, whose bytes may be cut anywhere.

    Pass the bytes to `receive`, and b"" at their end. Ask `has_head`, then `take` the body until
    it is `complete`. `status` and `headers` are those of the final head. `length` is that of the
    body, if it was announced. `keep` says whether another request may follow on the connection.
    """

    def __init__(self, method: str, limits: Limits = DEFAULT_LIMITS) -> None:
        self._max_head = inf if limits.max_head is None else limits.max_head
        self._max_headers = inf if limits.max_headers is None else limits.max_headers
        self.status = 0
        self.headers: dict[str, str] = {}
        self.length: int | None = None
        self.complete = False
        self.keep = True
        self._bodiless = method in ("HEAD", "CONNECT")
        self._buffer = bytearray()
        self._ended = False
        self._searched = 0
        self._head_size = 0
        self._chunked = False
        self._left = 0
        self._trailing = False
        self._broken = self._too_long = False

    def receive(self, data: bytes) -> None:
        """Add bytes that arrived; b"" is the end of the connection. Raises nothing."""
        if data:
            self._buffer += data
        else:
            self._ended, self.keep = True, False

    def has_head(self) -> bool:
        """Whether the final head has arrived; interim heads (1xx) are skipped.

        Raises `ConnectionLost` if the connection ended without it, `UnexpectedResponse` if
        what arrived is not HTTP/1.1, and `ResponseTooLarge`.
        """
        while not self.status:
            if self._buffer[: len(_VERSION)] != _VERSION[: len(self._buffer)]:
                raise UnexpectedResponse("the reply is not HTTP")
            blank = _BLANK.search(self._buffer, self._searched)
            end = blank.end() if blank else len(self._buffer)
            if self._head_size + end > self._max_head:
                raise head_too_long(self._max_head)
            if blank is None:
                if self._ended:
                    raise ConnectionLost("the connection ended before the reply")
                self._searched = max(0, end - 2)
                return False
            self._head_size += end
            self._searched = 0
            if not self._read_head(end):
                raise UnexpectedResponse("the head of the reply is malformed")
        return True

    def _read_head(self, size: int) -> bool:
        """Read status, headers and framing; False if they are malformed, `ResponseTooLarge`."""
        text = self._buffer[:size].decode("latin-1").replace("\r\n", "\n")[:-2]
        del self._buffer[:size]
        first, _, rest = text.partition(
            "\n"
        )  # no line is folded to the first (RFC 9112, section 2.2)
        lines = _FOLD.sub(" ", rest).split("\n") if rest else []
        status = _STATUS.fullmatch(first)
        if status is None or "\r" in text or "\0" in text:
            return False
        if len(lines) > self._max_headers:
            raise too_many_headers(self._max_headers)
        code = int(status[2])
        headers: dict[str, str] = {}
        for line in lines:
            name, colon, value = line.partition(":")
            if not colon or not _TOKEN.fullmatch(name):
                return False
            name, value = name.lower(), value.strip(" \t")
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        self.keep = self.keep and status[1] == "1"
        if code < _OK:
            return code != _SWITCHING_PROTOCOLS
        self.status, self.headers = code, headers
        return self._read_framing()

    def _read_framing(self) -> bool:
        """Find where the body ends (RFC 9112, section 6.3); False if that is ambiguous."""
        coding = self.headers.get("transfer-encoding")
        lengths = {part.strip() for part in self.headers.get("content-length", "").split(",")}
        options = {part.strip().lower() for part in self.headers.get("connection", "").split(",")}
        self.keep = self.keep and "close" not in options
        if self._bodiless or self.status in (204, 304):
            self.length = 0
        elif coding is not None:
            self._chunked = True
            self._buffer[:0] = b"\r\n"  # so that every chunk begins with the end of a line
            if coding.lower() != "chunked" or "content-length" in self.headers:
                return False
        elif lengths != {""}:
            if len(lengths) > 1 or not _LENGTH.fullmatch(length := lengths.pop()):
                return False
            self.length = self._left = int(length)
        else:
            self.keep = False
        self.complete = self.length == 0
        return True

    def take(self) -> bytes:
        """Return what has arrived of the body since the last time, b"" if nothing has.

        Raises `StreamInterrupted` if the body can never be complete, after all that came was
        taken, and `ResponseTooLarge` for a line between its chunks, or trailers, too long.
        """
        if self._chunked:
            body = self._take_chunks()
        elif self.length is None:
            body = bytes(self._buffer)
            self._buffer.clear()
            self.complete = self._ended
        else:
            body = bytes(self._take_counted())
            self.complete = not self._left
        if self.complete and self._buffer:
            self.keep = False  # bytes that no request asked for
        if not body and self._too_long:
            raise head_too_long(self._max_head)
        if not body and not self.complete and (self._ended or self._broken):
            raise StreamInterrupted(
                "the connection ended before the end of the reply, or it is malformed"
            )
        return body

    def _take_counted(self) -> bytearray:
        body = self._buffer[: self._left]
        del self._buffer[: len(body)]
        self._left -= len(body)
        return body

    def _take_chunks(self) -> bytes:
        """Undo chunked transfer-encoding (RFC 9112, section 7.1); trailers are ignored."""
        pieces: list[bytearray] = []
        while not (self.complete or self._too_long):
            pieces.append(self._take_counted())
            if self._left or not self._next_chunk():
                break
        return b"".join(pieces)

    def _next_chunk(self) -> bool:
        """Read the line between two chunks; False if it is incomplete, broken or the last."""
        buffer = self._buffer
        if not self._trailing:
            line = None if self._searched else _CHUNK.match(buffer)
            if line is None and len(buffer) > len(_CRLF) and self._seen(b"\n", len(_CRLF)):
                line = _CHUNK.match(buffer)
                self._broken = line is None
            if line is None:
                self._broken = self._broken or not buffer.startswith(_CRLF[: len(buffer)])
                return False
            end = line.end()
            self._left = int(line[1], 16)
            self._searched = 0
            self._too_long = end > self._max_head
            if self._left:
                del buffer[:end]
                return not self._too_long
            self._trailing = True
            del buffer[: end - len(_CRLF)]  # the last line ends where the trailers may end, too
        if end := self._seen(b"\r\n\r\n", 0):
            self.complete = True
            del buffer[:end]
        return False

    def _seen(self, mark: bytes, start: int) -> int:
        """Where *mark* ends, at or after *start*; 0 if it has not arrived within the limit."""
        start = max(start, self._searched)
        end = self._buffer.find(mark, start) + len(mark)
        if end < len(mark):
            self._searched = max(0, len(self._buffer) - len(mark) + 1)
            end = 0
        self._too_long = max(end, self._searched) > self._max_head
        return 0 if self._too_long else end
