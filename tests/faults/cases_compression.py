"""Compressed replies: good, broken, and far too large."""

import gzip
import zlib
from collections.abc import Callable

from expectations import ANSWER, REQUEST_ID, UNEXPECTED, case, error, group
from wires import GZIP, JSON, JSON_TYPE, SSE, SSE_TYPE, choosing, envelope, http, says

from claude_lite.testing.conformance.loopback import Script

group("Compression")


def packed(pack: Callable[[bytes], bytes], encoding: str) -> Script:
    """Make a script: the right answer, compressed."""
    header = f"Content-Encoding: {encoding}"
    return choosing(
        says(http(pack(JSON), JSON_TYPE, header)), says(http(pack(SSE), SSE_TYPE, header))
    )


bomb = gzip.compress(bytes(60_000_000), 1)
case("gzip", packed(gzip.compress, "gzip"), ANSWER)
case("GZIP", packed(gzip.compress, " GZip "), ANSWER)
case("deflate", packed(zlib.compress, "deflate"), ANSWER)
case("bare deflate", packed(lambda d: zlib.compress(d)[2:-4], "deflate"), ANSWER)
case("identity", packed(bytes, "identity"), ANSWER)
case(
    "gzip of two members",
    packed(lambda d: gzip.compress(d[:99]) + gzip.compress(d[99:]), "gzip"),
    ANSWER,
)
case("x-gzip", packed(gzip.compress, "x-gzip"), ANSWER)
case("no encoding's name", packed(bytes, ""), ANSWER)
case("zstd", packed(bytes, "zstd"), UNEXPECTED)
case("an encoding of tomorrow", packed(bytes, "new"), UNEXPECTED)
case(
    "gzip and garbage",
    packed(lambda d: gzip.compress(d) + b"garbage", "gzip"),
    ANSWER,
)
case("gzip that is not", packed(bytes, "gzip"), UNEXPECTED)
case(
    "gzip, checksum wrong",
    packed(lambda d: gzip.compress(d)[:-8] + bytes(8), "gzip"),
    UNEXPECTED,
    "answer|UnexpectedResponse",
)
case(
    "gzip cut short",
    packed(lambda d: gzip.compress(d)[:-60], "gzip"),
    UNEXPECTED,
    "UnexpectedResponse|StreamTruncated",
)
case("gzip of nothing", packed(lambda _: gzip.compress(b""), "gzip"), UNEXPECTED, "StreamTruncated")
case("brotli", packed(bytes, "br"), UNEXPECTED)
case("gzip, gzip", packed(bytes, "gzip, gzip"), UNEXPECTED)
case(
    "a gzip bomb",
    choosing(says(http(bomb, JSON_TYPE, GZIP)), says(http(bomb, SSE_TYPE, GZIP))),
    "ResponseTooLarge",
    max_response=1_000_000,
    max_event=1_000_000,
    within=2.0,
)
case(
    "a gzip bomb in an error",
    says(http(bomb, JSON_TYPE, GZIP, status="500 Oh")),
    "ServerError",
    max_response=1_000_000,
    within=2.0,
)
case(
    "an error, gzip",
    says(http(gzip.compress(envelope("new_error", "hm")), JSON_TYPE, GZIP, status="400 Bad")),
    error("InvalidRequest", message="hm"),
)
case(
    "an error, gzip that is not",
    says(http(envelope(), JSON_TYPE, GZIP, status="529 Busy")),
    error("Overloaded", request_id=REQUEST_ID),
)
