"""What came of a body that broke off: often it is the whole answer, and the answer is paid for.

A server or proxy may announce a byte too many, leave out the last chunk, reset the connection after
the last byte, or fall silent. Whether JSON is whole, its text says itself.
"""

import json
import zlib
from collections.abc import Mapping
from typing import Final

from claude_lite.errors import ClaudeError, StreamInterrupted, TimedOut

_LONGEST: Final = 4 * 1024 * 1024  # bytes to parse here; longer answers are hardly ever text
_GZIP_OR_ZLIB: Final = 32 + zlib.MAX_WBITS
_KEPT: Final = 64 * 1024  # bytes of a body in an error, as in other errors


def unless_whole(
    error: ClaudeError, headers: Mapping[str, str], body: bytes | bytearray
) -> ClaudeError | None:
    """Return the error of a body that broke off, with what came of it; None if the body is whole.

    A body is whole if its type is JSON, and its text one JSON object. In gzip or deflate, the end
    with its checksum has to be there, too.

    Args:
        error: Why the body ended.
        headers: The headers of the response, with names in lower case.
        body: What came of the body.

    """
    if not body or not isinstance(error, StreamInterrupted | TimedOut):
        return error
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    is_packed = "content-encoding" in headers
    plain, ended = _unpacked(body) if is_packed else (body, True)
    if ended and kind == "application/json" and _is_object(plain):
        return None
    if not plain:
        return error
    text = plain[:_KEPT].decode("utf-8", "replace")
    if len(plain) > _KEPT:  # half of a credential in it would not be masked
        text = text.rpartition(" ")[0]
    return error.update(details={**error.details, "body": text})


def _unpacked(body: bytes | bytearray) -> tuple[bytes, bool]:
    """Decompress gzip or deflate, up to a limit; also return whether all of it was there."""
    unpacking = zlib.decompressobj(_GZIP_OR_ZLIB)
    try:
        return unpacking.decompress(body, _LONGEST), unpacking.eof
    except zlib.error:
        return b"", False


def _is_object(body: bytes | bytearray) -> bool:
    if len(body) > _LONGEST or not body.rstrip(b"\0 \t\r\n").endswith(b"}"):
        return False
    text = body.decode("utf-8", "replace").strip("\ufeff\0 \t\r\n")
    try:
        value = json.loads(text, strict=False, parse_int=len, parse_float=len)
    except (ValueError, RecursionError):
        return False
    return isinstance(value, dict)
