"""Event-stream frames, built by hand as Bedrock sends them."""

import base64
import json
import struct
import zlib

A, B = {"type": "ping"}, {"type": "content_block_stop", "index": 0, "x": "wörld"}


def text_header(name, value):
    """Write a header of type 7, text."""
    return bytes([len(name)]) + name.encode() + b"\x07" + struct.pack(">H", len(value)) + value


def frame(headers, payload, *, prelude=0, message=0):
    """Write a frame; *prelude* and *message* are added to its checksums."""
    raw = b"".join(
        text_header(name, value.encode()) if isinstance(value, str) else value
        for name, value in headers.items()
    )
    lengths = struct.pack(">II", 12 + len(raw) + len(payload) + 4, len(raw))
    body = lengths + struct.pack(">I", zlib.crc32(lengths) ^ prelude) + raw + payload
    return body + struct.pack(">I", zlib.crc32(body) ^ message)


def chunk(event, **broken):
    """Write the frame of one event."""
    data = event if isinstance(event, bytes) else json.dumps(event).encode()
    payload = json.dumps({"bytes": base64.b64encode(data).decode(), "p": "abcdef"}).encode()
    headers = {
        ":event-type": "chunk",
        ":content-type": "application/json",
        ":message-type": "event",
    }
    return frame(headers, payload, **broken)


def failure(code, message):
    """Write the frame of an exception."""
    headers = {":exception-type": code, ":message-type": "exception"}
    return frame(headers, json.dumps({"message": message}).encode())
