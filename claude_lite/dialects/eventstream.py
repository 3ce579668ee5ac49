"""AWS event-stream frames: bytes of frames in, server-sent events of the API out.

A frame has a length, the length of its headers, a checksum of these two numbers, the headers, a
payload, and a checksum of the whole frame. Bedrock puts one event of the API into each `chunk`
frame. An exception frame becomes an `error` event of the API, with the code of AWS in its
details. Frames without an event (metrics) are skipped. The bytes may be cut anywhere, and the
work is linear in their number.

Source: https://docs.aws.amazon.com/AmazonS3/latest/API/RESTSelectObjectAppendix.html and
https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_InvokeModelWithResponseStream.html
"""

import binascii
import struct
from collections.abc import Iterator
from typing import Any, Final
from zlib import crc32

import orjson

from claude_lite.core.json_text import loads, loads_reply
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
"""The size of a header's value by its type. Values of types 6 (bytes) and 7 (text) begin with
their size."""

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
"""The API's error type for an error of AWS, by the AWS name without "Exception". An error that
is not listed keeps its AWS name."""


class EventStreamDecoder:
    """Decoder of event-stream frames: chunks in, server-sent events out."""

    __slots__ = ("_buffer", "_head", "_length", "_limit")

    def __init__(self, head: Response, max_frame: int = MAX_FRAME) -> None:
        """Start to decode.

        Args:
            head: The head of the response, which errors refer to.
            max_frame: The largest size of a frame, in bytes.

        """
        self._head = head
        self._limit = max_frame
        self._buffer = bytearray()
        self._length = 0  # of the arriving frame; 0 until its prelude has arrived

    def receive(self, data: bytes) -> Iterator[bytes]:
        """Take a chunk; yield the events that the chunk completes, one at a time.

        Raises:
            UnexpectedResponse: A frame is malformed.
            ResponseTooLarge: A frame is too large.

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
        """The end of the frame at *start*; 0 if the frame is not complete."""
        if not self._length:
            if len(self._buffer) - start < FRAME_PRELUDE.size:
                return 0
            length, headers, checksum = FRAME_PRELUDE.unpack_from(self._buffer, start)
            if crc32(memoryview(self._buffer)[start : start + 8]) != checksum:
                raise self._malformed("has a prelude that does not fit its checksum")
            if length < FRAME_PRELUDE.size + headers + FRAME_CHECKSUM.size:
                raise self._malformed(f"has {length} bytes, but headers of {headers} bytes")
            if length > self._limit:
                raise ResponseTooLarge(f"an event-stream frame has over {self._limit} bytes")
            self._length = length
        end = start + self._length
        return end if len(self._buffer) >= end else 0

    def _opened(self, frame: bytes) -> tuple[dict[str, str], bytes]:
        """Check the frame; return its headers that are text, and its payload."""
        (checksum,) = FRAME_CHECKSUM.unpack_from(frame, len(frame) - FRAME_CHECKSUM.size)
        if crc32(memoryview(frame)[: -FRAME_CHECKSUM.size]) != checksum:
            raise self._malformed("does not fit its checksum")
        end = FRAME_PRELUDE.size + FRAME_PRELUDE.unpack_from(frame)[1]
        try:
            headers = _headers(frame[FRAME_PRELUDE.size : end])
        except (ValueError, IndexError, KeyError, struct.error):
            raise self._malformed("has malformed headers") from None
        return headers, frame[end : -FRAME_CHECKSUM.size]

    def _event(self, headers: dict[str, str], payload: bytes) -> bytes:
        """The event in a frame; empty if the frame has no event."""
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
            event = loads_reply(data)
            name = event.get("type")
        except (ValueError, TypeError, KeyError, AttributeError):
            raise self._malformed("has a payload that is not an event of the API") from None
        if name is None:
            return b""
        if not isinstance(name, str) or not name.isascii() or not name.isprintable():
            raise self._malformed("has an event whose type is not printable ASCII text")
        if b"\n" in data or b"\r" in data:  # JSON has them only between tokens
            data = data.replace(b"\r", b" ").replace(b"\n", b" ")
        return b"event: %b\ndata: %b\n\n" % (name.encode(), data)

    def _malformed(self, how: str) -> UnexpectedResponse:
        return unexpected(self._head, f"an event-stream frame {how}")


def _headers(data: bytes) -> dict[str, str]:
    """Read the headers of a frame (each a name, a type and a value); return those that are text."""
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
    """The message in the payload of an exception."""
    try:
        said: Any = orjson.loads(payload)
    except ValueError:
        return payload.decode("utf-8", "replace")
    message = said.get("message", said.get("Message")) if isinstance(said, dict) else None
    return message if isinstance(message, str) else payload.decode()


def _error(code: str, message: str) -> bytes:
    """Make the error event of the API for an error of AWS."""
    name = code.removesuffix("Exception").lower()
    type_ = ERROR_TYPES.get(name, code)
    error = {"type": type_, "message": message, "details": {"error_code": code}}
    return b"event: error\ndata: %b\n\n" % orjson.dumps({"type": "error", "error": error})
