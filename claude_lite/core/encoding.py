"""Decompression of bodies (gzip and deflate), up to a limit: bytes in, bytes out.

No transport decompresses. This module decompresses the bodies of all transports, and only up to a
limit, because a few kilobytes can become gigabytes.
"""

import zlib
from collections.abc import Iterator
from typing import Final

from claude_lite.core.limits import ZLIB_INPUT, ZLIB_OUTPUT
from claude_lite.errors import ResponseTooLarge, UnexpectedResponse

_GZIP: Final = 16 + zlib.MAX_WBITS  # 16: zlib expects a gzip header
_MAGIC: Final = b"\x1f\x8b"  # a gzip member begins so


class ContentDecoder:
    """A decoder of one `content-encoding`: identity, gzip (of any number of members) or deflate.

    Bytes after the whole body are ignored: the answer that came before them may have been paid for.
    """

    def __init__(self, encoding: str, limit: int | None = None) -> None:
        """Make a decoder. Raises `UnexpectedResponse` for any other *encoding*.

        *limit* is the largest size of the whole decompressed body, in bytes; None means no limit.
        """
        name = encoding.strip().lower()
        if name not in {"", "identity", "gzip", "x-gzip", "deflate"}:
            raise UnexpectedResponse(
                f"the response has content-encoding {name!r}: only gzip and deflate can be undone"
            )
        self._zlib = None if name in {"", "identity"} else zlib.decompressobj(_GZIP)
        self._is_gzip = name != "deflate"
        self._begun = False
        self._after = b""  # the first two bytes after a member
        self._limit = limit
        self._size = 0

    def receive(self, data: bytes) -> bytes:
        """Decompress a chunk. Raises `UnexpectedResponse` or `ResponseTooLarge`."""
        if self._zlib is None or not data:
            return data
        if not self._begun and not self._is_gzip:
            # RFC 9110 (section 8.4.1.2) demands a zlib header; some servers send none.
            # A zlib header has 8 in its low four bits; -15 means deflate without a header.
            self._zlib = zlib.decompressobj(15 if data[0] & 15 == zlib.DEFLATED else -15)
        self._begun = True
        starts = range(0, len(data), ZLIB_INPUT)
        return b"".join(
            [p for start in starts for p in self._pieces(data[start : start + ZLIB_INPUT])]
        )

    def _pieces(self, data: bytes) -> Iterator[bytes]:
        """Decompress *data* in pieces of at most `ZLIB_OUTPUT` bytes, over all gzip members."""
        more = True
        while self._zlib is not None and (data or more):
            if self._zlib.eof:
                # What follows a whole body, and is no other member, is ignored, as gzip does it.
                data = self._after + data
                self._after = data[:2]
                if not self._is_gzip or self._after != _MAGIC:
                    return
                self._after, self._zlib = b"", zlib.decompressobj(_GZIP)
            try:
                piece = self._zlib.decompress(data, ZLIB_OUTPUT)
            except zlib.error as error:
                raise UnexpectedResponse(f"the body cannot be decompressed: {error}") from None
            self._size += len(piece)
            if self._limit is not None and self._size > self._limit:
                what = f"the decompressed body has over {self._limit} bytes"
                raise ResponseTooLarge.over_limit("max_response", self._limit, what)
            yield piece
            data = self._zlib.unused_data or self._zlib.unconsumed_tail
            # After a full piece, zlib may have more output without more input: ask again.
            more = len(piece) == ZLIB_OUTPUT and not self._zlib.eof

    def close(self) -> None:
        """End the body. Raises `UnexpectedResponse` if the compressed data is incomplete."""
        if self._zlib is not None and self._begun and not self._zlib.eof:
            raise UnexpectedResponse("the compressed body ends too early")
