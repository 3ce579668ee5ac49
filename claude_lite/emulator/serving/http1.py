"""HTTP/1.1, the server's side of it: bytes in, requests out, in whatever pieces they come.

No sockets and no clock. It reads heads, bodies with a length and chunked ones, pipelined
requests, `Expect: 100-continue`. Of a body it keeps no more than one byte above the most that
anyone takes: enough to be refused as too large, and the sender still gets to read the answer.
What is too large to hold goes to a temporary file as it comes.
"""

from collections.abc import Generator, Mapping
from typing import Final

from attrs import frozen

from claude_lite.emulator.reading.blobs import Spool
from claude_lite.wire import BodySource

HELD: Final = 4 * 1024 * 1024  # bytes of a body in memory
TAKEN_AT_ONCE: Final = 256 * 1024
LONGEST_HEAD: Final = 64 * 1024
LONGEST_LINE: Final = 4096  # of a chunk's size, or a trailer
HEAD_END: Final = b"\r\n\r\n"
LINE_END: Final = b"\r\n"
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


class BadRequest(Exception):
    """What arrived is not HTTP/1.1 as we know it; the connection is of no more use."""


@frozen
class ParsedRequest:
    """A whole request; `keep_alive`: another may follow, `chunkable`: it knows chunked bodies."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes | BodySource
    keep_alive: bool
    chunkable: bool


class RequestReader:
    """Reads the requests of one connection: `receive` bytes, then ask for the `next` request.

    `wants_continue` is set while the sender waits to be told to go on (status 100).
    """

    def __init__(self, most: int) -> None:
        """Keep up to *most* + 1 bytes of a body."""
        self.wants_continue = False
        self._most = most
        self._buffer = bytearray()
        self._requests = self._read()

    def receive(self, data: bytes) -> None:
        """Take what arrived."""
        self._buffer += data

    def next(self) -> ParsedRequest | None:
        """Return the next request, None if it is not complete; raises `BadRequest`."""
        return next(self._requests)

    def _read(self) -> Generator[ParsedRequest | None, None, None]:
        while True:
            head = yield from self._until(HEAD_END, LONGEST_HEAD)
            first, *lines = head.decode("latin-1").split("\r\n")
            method, target, version = _start(first)
            headers = _headers(lines)
            tokens = {token.strip() for token in headers.get("connection", "").lower().split(",")}
            chunkable = version == "HTTP/1.1"
            self.wants_continue = headers.get("expect", "").lower() == "100-continue"
            spool = Spool(HELD)
            if "chunked" in headers.get("transfer-encoding", "").lower():
                yield from self._chunks(spool)
            else:
                yield from self._exactly(_length(headers), spool)
            body = spool.blob()
            self.wants_continue = False
            keep = "close" not in tokens if chunkable else "keep-alive" in tokens
            whole = body if body.size > HELD else body.read()
            yield ParsedRequest(method, target, headers, whole, keep, chunkable)

    def _until(self, mark: bytes, most: int) -> Generator[None, None, bytes]:
        """Take what comes before *mark*, and the mark."""
        searched = 0
        while (end := self._buffer.find(mark, searched)) < 0:
            if len(self._buffer) > most:
                raise BadRequest("a line or head is too long")
            searched = max(0, len(self._buffer) - len(mark))
            yield
        taken = bytes(self._buffer[:end])
        del self._buffer[: end + len(mark)]
        return taken

    def _exactly(self, size: int, spool: Spool) -> Generator[None, None, None]:
        """Take *size* bytes, and keep as many of them as there is room for."""
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
                raise BadRequest("a chunk is longer than its size")
        while (yield from self._until(LINE_END, LONGEST_LINE)):  # trailers
            pass


def _start(line: str) -> tuple[str, str, str]:
    parts = line.split(" ")
    if len(parts) != 3 or parts[2] not in ("HTTP/1.1", "HTTP/1.0"):  # noqa: PLR2004  # words
        raise BadRequest("not an HTTP/1.1 request")
    return parts[0], parts[1], parts[2]


def _headers(lines: list[str]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not name or name != name.strip():
            raise BadRequest("malformed header")
        name = name.lower()
        headers[name] = f"{headers[name]}, {value.strip()}" if name in headers else value.strip()
    return headers


def _length(headers: Mapping[str, str]) -> int:
    length = headers.get("content-length", "0")
    if not (length.isascii() and length.isdecimal()):
        raise BadRequest("malformed content-length")
    return int(length)


def _hexadecimal(line: bytes) -> int:
    try:
        return int(line.partition(b";")[0].strip(), 16)
    except ValueError:
        raise BadRequest("malformed chunk size") from None


def head(status: int, headers: Mapping[str, str], *, size: int | None, connection: str) -> bytes:
    """Write the head of a reply; *size* None: the body comes in chunks or ends with the line."""
    lines = [f"HTTP/1.1 {status} {REASONS.get(status, 'Other')}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if size is not None and "content-length" not in headers:  # a fault may have its own
        lines.append(f"content-length: {size}")
    lines += [f"connection: {connection}", "", ""]
    return "\r\n".join(lines).encode("latin-1", "replace")
