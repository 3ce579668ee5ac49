"""The server's side of HTTP/1.1: takes bytes in pieces of any size, returns requests.

No sockets and no clock. What RFC 9112 does not allow is refused, because two servers may read it in
two ways. The reader understands bodies with a length, chunked bodies, pipelined
requests and `Expect: 100-continue`. It reads every body to its end, but keeps at most one byte
more than the largest body that a route takes: enough to refuse the body as too large, and the
client can still read the answer. Large bodies go to a temporary file as they arrive.
"""

import re
from collections.abc import Generator, Mapping
from typing import Final

from attrs import frozen

from claude_lite.emulator.reading.blobs import Spool
from claude_lite.wire import BodySource

HELD: Final = 4 * 1024 * 1024  # bytes of a body that are kept in memory
TAKEN_AT_ONCE: Final = 256 * 1024  # bytes
LONGEST_HEAD: Final = 64 * 1024  # bytes
LONGEST_LINE: Final = 4096  # bytes of a line with a chunk's size, or of a trailer
HEAD_END: Final = b"\r\n\r\n"
LINE_END: Final = b"\r\n"
MOST_TRAILERS: Final = 100
BARE_LINE_FEED: Final = re.compile(rb"(?<!\r)\n")
TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
TARGET: Final = re.compile(r"/[!-~]*|\*")
VALUE: Final = re.compile(r"[\t -~\x80-\xff]*")
LENGTH: Final = re.compile(r"[0-9]{1,15}")
CHUNK_SIZE: Final = re.compile(rb"([0-9A-Fa-f]{1,12})(?:[ \t]*;[\t -~\x80-\xff]*)?")
REASONS: Final[Mapping[int, str]] = {
    200: "OK",
    400: "Bad Request",
    401: "Unauthorized",
    402: "Payment Required",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    409: "Conflict",
    413: "Content Too Large",
    429: "Too Many Requests",
    500: "Internal Server Error",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Gateway Timeout",
}


ONCE: Final = frozenset({"host", "content-length", "transfer-encoding"})


class BadRequest(Exception):
    """The bytes are not HTTP/1.1 that this server reads; the connection must be closed."""


@frozen
class ParsedRequest:
    """A whole request.

    `keep_alive`: another request may follow. `chunkable`: the client understands chunked bodies.
    """

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes | BodySource
    keep_alive: bool
    chunkable: bool


class RequestReader:
    """Reads the requests of one connection: pass bytes to `receive`, then call `next`.

    `wants_continue` is true while the client waits for status 100 before it sends the body.
    """

    def __init__(self, most: int) -> None:
        """Keep at most *most* + 1 bytes of a body."""
        self.wants_continue = False
        self._most = most
        self._buffer = bytearray()
        self._requests = self._read()

    def receive(self, data: bytes) -> None:
        """Take bytes that arrived."""
        self._buffer += data

    def next(self) -> ParsedRequest | None:
        """Return the next request, or None if it is not complete; raises `BadRequest`."""
        return next(self._requests)

    def _read(self) -> Generator[ParsedRequest | None, None, None]:
        while True:
            head = yield from self._until(HEAD_END, LONGEST_HEAD)
            first, *lines = head.decode("latin-1").split("\r\n")
            method, target, version = _start(first)
            headers = _headers(lines)
            tokens = {token.strip() for token in headers.get("connection", "").lower().split(",")}
            chunkable = version == "HTTP/1.1"
            coding = headers.get("transfer-encoding")
            if chunkable and "host" not in headers:
                raise BadRequest("a request of HTTP/1.1 has to have a host")
            if coding is not None and ("content-length" in headers or not chunkable):
                raise BadRequest("transfer-encoding is not allowed beside content-length or 1.0")
            if coding is not None and coding.lower() != "chunked":
                raise BadRequest("transfer-encoding has to be chunked")
            self.wants_continue = headers.get("expect", "").lower() == "100-continue"
            spool = Spool(HELD)
            if coding is not None:
                yield from self._chunks(spool)
            else:
                yield from self._exactly(_length(headers), spool)
            body = spool.blob()
            self.wants_continue = False
            keep = "close" not in tokens if chunkable else "keep-alive" in tokens
            whole = body if body.size > HELD else body.read()
            yield ParsedRequest(method, target, headers, whole, keep, chunkable)

    def _until(self, mark: bytes, most: int) -> Generator[None, None, bytes]:
        """Take and return the bytes before *mark*; drop the mark."""
        searched = 0
        while (end := self._buffer.find(mark, searched)) < 0:
            self._check_line_ends(searched, len(self._buffer))
            if len(self._buffer) > most:
                raise BadRequest(f"a line or a head has more than {most} bytes")
            searched = max(0, len(self._buffer) - len(mark))
            yield
        self._check_line_ends(searched, end)
        taken = bytes(self._buffer[:end])
        del self._buffer[: end + len(mark)]
        return taken

    def _check_line_ends(self, start: int, end: int) -> None:
        if BARE_LINE_FEED.search(self._buffer, start, end):
            raise BadRequest("a line has to end with CR and LF")

    @property
    def held(self) -> int:
        """Bytes that arrived and are not part of a request yet."""
        return len(self._buffer)

    def _exactly(self, size: int, spool: Spool) -> Generator[None, None, None]:
        """Take *size* bytes; keep as many of them as `most` allows."""
        while size:
            if not self._buffer:
                yield
            taken = min(size, len(self._buffer), TAKEN_AT_ONCE)
            kept = min(taken, self._most + 1 - spool.size)
            if kept:
                spool.write(bytes(self._buffer[:kept]))
            del self._buffer[:taken]
            size -= taken

    def _chunks(self, spool: Spool) -> Generator[None, None, None]:
        while True:
            line = yield from self._until(LINE_END, LONGEST_LINE)
            size = _hexadecimal(line)
            if not size:
                break
            yield from self._exactly(size, spool)
            if (yield from self._until(LINE_END, LONGEST_LINE)):
                raise BadRequest("a chunk has more bytes than its size line says")
        for _ in range(MOST_TRAILERS):
            if not (yield from self._until(LINE_END, LONGEST_LINE)):
                return
        raise BadRequest(f"a body has more than {MOST_TRAILERS} trailers")


def _start(line: str) -> tuple[str, str, str]:
    method, _, rest = line.partition(" ")
    target, _, version = rest.partition(" ")
    good = TOKEN.fullmatch(method) and TARGET.fullmatch(target)
    if not good or version not in ("HTTP/1.1", "HTTP/1.0"):
        raise BadRequest("the first line is not that of an HTTP/1.1 request")
    return method, target, version


def _headers(lines: list[str]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not TOKEN.fullmatch(name) or not VALUE.fullmatch(value):
            raise BadRequest("a header line is not 'name: value'")
        name = name.lower()
        if name in headers and name in ONCE:
            raise BadRequest(f"there is more than one {name}")
        headers[name] = f"{headers[name]}, {value.strip()}" if name in headers else value.strip()
    return headers


def _length(headers: Mapping[str, str]) -> int:
    length = headers.get("content-length", "0")
    if not LENGTH.fullmatch(length):
        raise BadRequest("content-length is not a decimal number")
    return int(length)


def _hexadecimal(line: bytes) -> int:
    found = CHUNK_SIZE.fullmatch(line)
    if found is None:
        raise BadRequest("a chunk size is not a hexadecimal number")
    return int(found[1], 16)


def head(status: int, headers: Mapping[str, str], *, size: int | None, connection: str) -> bytes:
    """Write the head of a reply; *size* None: the body is chunked or ends with the connection."""
    lines = [f"HTTP/1.1 {status} {REASONS.get(status, 'Other')}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if size is not None and "content-length" not in headers:  # a fault may have set one
        lines.append(f"content-length: {size}")
    lines += [f"connection: {connection}", "", ""]
    return "\r\n".join(lines).encode("latin-1", "replace")
