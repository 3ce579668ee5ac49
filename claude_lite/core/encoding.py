"""Decompression of bodies (gzip and deflate), up to a limit: bytes in, bytes out.

Transports never decompress: they return a body as it came over the wire. It is decompressed here,
for all transports, and bounded, because a few kilobytes can become gigabytes.
"""

import zlib
from collections.abc import Iterator
from typing import Final

from claude_lite.core.limits import ZLIB_INPUT, ZLIB_OUTPUT
from claude_lite.errors import ResponseTooLarge, UnexpectedResponse

_GZIP: Final = 16 + zlib.MAX_WBITS


class ContentDecoder:
    """Undo one `content-encoding`: identity, gzip (with any number of members) or deflate."""

    def __init__(self, encoding: str, limit: int | None = None) -> None:
        """Raise `UnexpectedResponse` for an *encoding* that is not one of these.

        *limit* is the most bytes that the whole body may decompress to; None means no limit.
        """
        name = encoding.strip().lower()
        if name not in {"", "identity", "gzip", "x-gzip", "deflate"}:
            raise UnexpectedResponse(f"content-encoding {name!r}, which was not asked for")
        self._zlib = None if name in {"", "identity"} else zlib.decompressobj(_GZIP)
        self._is_gzip = name != "deflate"
        self._begun = False
        self._limit = limit
        self._size = 0

    def receive(self, data: bytes) -> bytes:
        """Decompress a chunk; raises `UnexpectedResponse` or `ResponseTooLarge`."""
        if self._zlib is None or not data:
            return data
        if not self._begun and not self._is_gzip:
            # RFC 9110 (section 8.4.1.2) demands a zlib header; some servers send none.
            self._zlib = zlib.decompressobj(15 if data[0] & 15 == zlib.DEFLATED else -15)
        self._begun = True
        starts = range(0, len(data), ZLIB_INPUT)
        return b"".join(
            [p for start in starts for p in self._pieces(data[start : start + ZLIB_INPUT])]
        )

    def _pieces(self, data: bytes) -> Iterator[bytes]:
        more = True
        while self._zlib is not None and (data or more):
            if self._zlib.eof and not self._is_gzip:
                raise UnexpectedResponse("a compressed body is followed by more bytes")
            if self._zlib.eof:
                self._zlib = zlib.decompressobj(_GZIP)
            try:
                piece = self._zlib.decompress(data, ZLIB_OUTPUT)
            except zlib.error as error:
                raise UnexpectedResponse(f"a body cannot be decompressed: {error}") from None
            self._size += len(piece)
            if self._limit is not None and self._size > self._limit:
                what = f"a body of over {self._limit} bytes once decompressed"
                raise ResponseTooLarge.past("max_response", self._limit, what)
            yield piece
            data = self._zlib.unused_data or self._zlib.unconsumed_tail
            # zlib may hold output back for input that it has already read.
            more = len(piece) == ZLIB_OUTPUT and not self._zlib.eof

    def close(self) -> None:
        """Take the end of the body; raises `UnexpectedResponse` if the compressed data goes on."""
        if self._zlib is not None and self._begun and not self._zlib.eof:
            raise UnexpectedResponse("a compressed body ends too early")
