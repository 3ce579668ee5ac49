"""HTTP/1.1 as bytes: the head of a request out, a reply in. No sockets, no clock.

Why not `http.client`: it takes a body that is shorter than its content-length, or whose last
chunk is missing, for a whole one; it puts headers through the parser for e-mail, most of the
cost of a small call; and its frames hold the head of the request, key included, in variables
that a traceback shows. Here a broken body is an error, and no frame that an error passes
through holds what was sent.
"""

import re
from typing import Final

from claude_lite.errors import ConnectionLost, StreamInterrupted, UnexpectedResponse, UsageError
from claude_lite.wire import MaskedStr, Request

SMALL: Final = 16 * 1024
MAX_HEAD: Final = 64 * 1024
MAX_FIELDS: Final = 256
MAX_CHUNK_LINE: Final = 4096

_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_UNSAFE: Final = re.compile("[\0\r\n\ud800-\udfff]")
_FRAMING: Final = frozenset({"content-length", "transfer-encoding"})
_VERSION: Final = b"HTTP/1."
_STATUS: Final = re.compile(r"HTTP/1\.([01]) ([1-9][0-9]{2})(?: .*)?")
_BLANK: Final = re.compile(rb"\n\r?\n")
_FOLD: Final = re.compile(r"\n[ \t]+")
_LENGTH: Final = re.compile(r"[0-9]{1,18}")
_CHUNK: Final = re.compile(rb"\r\n([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\r\n]*)?\r\n")

_SWITCHING_PROTOCOLS: Final = 101
_OK: Final = 200


def opening(
    request: Request, target: str, host: str, credential: MaskedStr | None = None
) -> memoryview:
    """Serialise the head of a request, with its body if that is small: one write, one packet.

    `credential` is for a proxy. The result is a memoryview, as its repr shows nothing.
    Raises `UsageError` for what cannot stand in a head: nothing gets to add lines to it.
    """
    headers, body = request.headers, request.body
    if not _TOKEN.fullmatch(request.method):
        raise UsageError(f"not an HTTP method: {request.method!r}")
    wrong = [
        name
        for name, value in headers.items()
        if _UNSAFE.search(value) or not _TOKEN.fullmatch(name) or name in _FRAMING
    ]
    if wrong:
        raise UsageError(f"these headers cannot be sent as they are: {wrong}")
    size = len(body) if isinstance(body, bytes) else body.size
    lines = [f"{request.method} {target} HTTP/1.1\r\n"]
    if "host" not in headers:
        lines.append(f"host: {host}\r\n")
    lines += [f"{name}: {value}\r\n" for name, value in headers.items()]
    if credential is not None:
        lines.append(f"proxy-authorization: {credential}\r\n")
    if size or request.method in ("POST", "PUT", "PATCH"):
        lines.append(f"content-length: {size}\r\n")
    lines.append("\r\n")
    small = body if isinstance(body, bytes) and size <= SMALL else b""
    return memoryview("".join(lines).encode() + small)


class Reply:
    """One reply, fed with what arrives and cut anywhere.

    `receive` the bytes, b"" for their end; ask `has_head`, then `take` the body until it is
    `complete`. `status` and `headers` are those of the final head; `length` is the body's, if
    announced; `keep` says whether another request may follow on the same connection.
    """

    def __init__(self, method: str) -> None:
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
        self._broken = False

    def receive(self, data: bytes) -> None:
        """Take what arrived; b"" is the end of the connection. Raises nothing."""
        if data:
            self._buffer += data
        else:
            self._ended, self.keep = True, False

    def has_head(self) -> bool:
        """Say whether the final head has arrived; interim ones (1xx) are passed over.

        Raises `ConnectionLost` if the connection ended without it, `UnexpectedResponse` if
        what arrived is not HTTP/1.1 or is past the limits.
        """
        while not self.status:
            if self._buffer[: len(_VERSION)] != _VERSION[: len(self._buffer)]:
                raise UnexpectedResponse("the reply is not HTTP")
            blank = _BLANK.search(self._buffer, self._searched)
            end = blank.end() if blank else len(self._buffer)
            if self._head_size + end > MAX_HEAD:
                raise UnexpectedResponse("the head of the reply is too long")
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
        """Read status, headers and framing; False if they are malformed."""
        text = self._buffer[:size].decode("latin-1").replace("\r\n", "\n")[:-2]
        del self._buffer[:size]
        first, *lines = _FOLD.sub(" ", text).split("\n")
        status = _STATUS.fullmatch(first)
        if status is None or len(lines) > MAX_FIELDS or "\r" in text or "\0" in text:
            return False
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
        """Find out where the body ends (RFC 9112, section 6.3); False if that is ambiguous."""
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

        Raises `StreamInterrupted` if it can never be complete, once all before is taken.
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
        if not body and not self.complete and (self._ended or self._broken):
            raise StreamInterrupted("the reply broke off")
        return body

    def _take_counted(self) -> bytearray:
        body = self._buffer[: self._left]
        del self._buffer[: len(body)]
        self._left -= len(body)
        return body

    def _take_chunks(self) -> bytes:
        """Undo chunked transfer-encoding (RFC 9112, section 7.1); trailers are dropped."""
        pieces: list[bytearray] = []
        while not self.complete:
            pieces.append(self._take_counted())
            if self._left or not self._next_chunk():
                break
        return b"".join(pieces)

    def _next_chunk(self) -> bool:
        """Read the line between two chunks; False if it is incomplete, broken or the last."""
        line = _CHUNK.match(self._buffer)
        if line is None:
            self._broken = (
                self._buffer[:2] != b"\r\n"[: len(self._buffer)]
                or b"\n" in self._buffer[2:MAX_CHUNK_LINE]
                or len(self._buffer) > MAX_CHUNK_LINE
            )
            return False
        self._left = int(line[1], 16)
        if self._left:
            del self._buffer[: line.end()]
            return True
        end = self._buffer.find(b"\r\n\r\n", line.end() - 2)
        if end < 0:
            self._broken = len(self._buffer) > MAX_HEAD
        else:
            self.complete = True
            del self._buffer[: end + 4]
        return False
