"""AWS event-stream frames: bytes in, the first-party server-sent events out.

A frame is a length, the length of its headers, a checksum of both, the headers, a payload and
a checksum of it all. Bedrock puts one event of the API into each `chunk` frame; an exception
frame becomes the API's `error` event, with the code of AWS in its details. Frames that carry
no event (metrics) are skipped. Bytes may be cut anywhere, and work is linear in them.

Source: https://docs.aws.amazon.com/AmazonS3/latest/API/RESTSelectObjectAppendix.html and
https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_InvokeModelWithResponseStream.html
"""

import binascii
import struct
from collections.abc import Iterator
from typing import Any, Final
from zlib import crc32

import orjson

from claude_lite.core.json_text import loads
from claude_lite.core.responses import unexpected
from claude_lite.errors import ResponseTooLarge, UnexpectedResponse
from claude_lite.wire import Response

CONTENT_TYPE: Final = "application/vnd.amazon.eventstream"

MAX_FRAME: Final = 24 * 1024 * 1024
"""The longest frame that AWS sends, in bytes."""

FRAME_PRELUDE: Final = struct.Struct(">III")
FRAME_CHECKSUM: Final = struct.Struct(">I")
TEXT_VALUE: Final = 7
SIZES: Final = {0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16}
"""The size of a header's value by its type; 6 and 7, bytes and text, tell theirs."""

ERROR_TYPES: Final = {
    "accessdenied": "permission_error",
    "internalserver": "api_error",
    "modelerror": "api_error",
    "modelnotready": "overloaded_error",
    "modelstreamerror": "api_error",
    "modeltimeout": "timeout_error",
    "resourcenotfound": "not_found_error",
    "servicequotaexceeded": "rate_limit_error",
    "serviceunavailable": "overloaded_error",
    "throttling": "rate_limit_error",
    "validation": "invalid_request_error",
}
"""What the API calls the errors of AWS, whose names end in "Exception"; others keep theirs."""


class EventStreamDecoder:
    """Feed it chunks; it gives the events that they complete, as server-sent events."""

    __slots__ = ("_buffer", "_head", "_length", "_limit")

    def __init__(self, head: Response, max_frame: int = MAX_FRAME) -> None:
        """No frame may be longer than *max_frame* bytes; *head* is named in errors."""
        self._head = head
        self._limit = max_frame
        self._buffer = bytearray()
        self._length = 0  # of the frame that is arriving; 0 until its prelude is there

    def receive(self, data: bytes) -> Iterator[bytes]:
        """Take a chunk; iterating gives one event at a time.

        It raises `UnexpectedResponse` where a frame is malformed, and `ResponseTooLarge`.
        """
        self._buffer += data
        start = 0
        try:
            while end := self._end(start):
                frame = bytes(memoryview(self._buffer)[start:end])
                start, self._length = end, 0
                event = self._event(*self._opened(frame))
                if event:
                    yield event
        finally:
            del self._buffer[:start]

    def _end(self, start: int) -> int:
        """Where the frame at *start* ends; 0 if it is not all there."""
        if not self._length:
            if len(self._buffer) - start < FRAME_PRELUDE.size:
                return 0
            length, headers, checksum = FRAME_PRELUDE.unpack_from(self._buffer, start)
            if crc32(memoryview(self._buffer)[start : start + 8]) != checksum:
                raise self._malformed("whose prelude does not fit its checksum")
            if length < FRAME_PRELUDE.size + headers + FRAME_CHECKSUM.size:
                raise self._malformed(f"of {length} bytes with headers of {headers}")
            if length > self._limit:
                raise ResponseTooLarge(f"an event-stream frame of over {self._limit} bytes")
            self._length = length
        end = start + self._length
        return end if len(self._buffer) >= end else 0

    def _opened(self, frame: bytes) -> tuple[dict[str, str], bytes]:
        """The headers that are text, and the payload."""
        (checksum,) = FRAME_CHECKSUM.unpack_from(frame, len(frame) - FRAME_CHECKSUM.size)
        if crc32(memoryview(frame)[: -FRAME_CHECKSUM.size]) != checksum:
            raise self._malformed("that does not fit its checksum")
        end = FRAME_PRELUDE.size + FRAME_PRELUDE.unpack_from(frame)[1]
        try:
            headers = _headers(frame[FRAME_PRELUDE.size : end])
        except (ValueError, IndexError, KeyError, struct.error):
            raise self._malformed("whose headers cannot be read") from None
        return headers, frame[end : -FRAME_CHECKSUM.size]

    def _event(self, headers: dict[str, str], payload: bytes) -> bytes:
        """The event in a frame; empty if there is none."""
        kind = headers.get(":message-type", "event")
        if kind == "exception":
            code = headers.get(":exception-type", "exception")
            return _error(code, _message(payload))
        if kind == "error":
            return _error(headers.get(":error-code", "error"), headers.get(":error-message", ""))
        if kind != "event" or headers.get(":event-type") != "chunk":
            return b""
        try:
            data = binascii.a2b_base64(loads(payload)["bytes"], strict_mode=True)
            event = loads(data)
            name = event.get("type")
        except (ValueError, TypeError, KeyError, AttributeError):
            raise self._malformed("whose payload is not an event of the API") from None
        if name is None:
            return b""
        if not isinstance(name, str) or not name.isascii() or not name.isprintable():
            raise self._malformed("whose event has no proper type")
        if b"\n" in data or b"\r" in data:  # between tokens, for JSON has none elsewhere
            data = data.replace(b"\r", b" ").replace(b"\n", b" ")
        return b"event: %b\ndata: %b\n\n" % (name.encode(), data)

    def _malformed(self, how: str) -> UnexpectedResponse:
        return unexpected(self._head, f"an event-stream frame {how}")


def _headers(data: bytes) -> dict[str, str]:
    """Read a frame's headers: a name, a type and a value each; those that are not text are left."""
    found = {}
    at = 0
    while at < len(data):
        end = at + 1 + data[at]
        name, kind, at = data[at + 1 : end].decode(), data[end], end + 1
        if kind in SIZES:
            size = SIZES[kind]
        elif kind in {TEXT_VALUE - 1, TEXT_VALUE}:
            size, at = int.from_bytes(data[at : at + 2]), at + 2
        else:
            raise ValueError(kind)
        if at + size > len(data):
            raise ValueError(size)
        if kind == TEXT_VALUE:
            found[name] = data[at : at + size].decode()
        at += size
    return found


def _message(payload: bytes) -> str:
    """What an exception says of itself."""
    try:
        said: Any = orjson.loads(payload)
    except ValueError:
        return payload.decode("utf-8", "replace")
    message = said.get("message", said.get("Message")) if isinstance(said, dict) else None
    return message if isinstance(message, str) else payload.decode()


def _error(code: str, message: str) -> bytes:
    """The API's error event for an error of AWS."""
    plain = code.removesuffix("Exception")
    type_ = ERROR_TYPES.get(plain.lower(), code)
    error = {"type": type_, "message": message, "details": {"error_code": code}}
    return b"event: error\ndata: %b\n\n" % orjson.dumps({"type": "error", "error": error})
