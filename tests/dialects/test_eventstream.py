"""Event-stream frames: built here by hand, decoded whatever the cut, refused when broken."""

import json
import struct
import zlib

import pytest
from frames import A, B, chunk, failure, frame

from claude_lite.dialects.eventstream import CONTENT_TYPE, EventStreamDecoder
from claude_lite.errors import ResponseTooLarge, UnexpectedResponse
from claude_lite.wire import Response

HEAD = Response(200, {"content-type": CONTENT_TYPE, "request-id": "req_1"})


def sse(event):
    """Write the event as the API streams it."""
    return f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode()


def decoded(*chunks, **options):
    """Decode the chunks: what came out, and the error that ended it."""
    decoder, found = EventStreamDecoder(HEAD, **options), []
    try:
        for data in chunks:
            found += decoder.receive(data)
    except (UnexpectedResponse, ResponseTooLarge) as error:
        return found, error
    return found, None


def test_a_frame_is_an_event():
    """The payload's `bytes` are the event, and its type is the event's name."""
    assert decoded(chunk(A) + chunk(B)) == ([sse(A), sse(B)], None)


def test_every_cut_gives_the_same_events():
    """Cut in two anywhere, or into single bytes, the events and the error are the same."""
    data = chunk(A) + failure("throttlingException", "slow") + chunk(B) + chunk(A, message=1)
    events, error = decoded(data)
    assert [event.split(b"\n")[0] for event in events] == [
        b"event: ping",
        b"event: error",
        b"event: content_block_stop",
    ]
    cuts = [(data[:i], data[i:]) for i in range(len(data) + 1)]
    for cut in [*cuts, tuple(bytes([b]) for b in data)]:
        found, broken = decoded(*cut)
        assert (found, str(broken)) == (events, str(error))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (chunk(A, prelude=1), "prelude"),
        (chunk(A, message=1), "checksum"),
        (chunk(A)[:60] + b"~" + chunk(A)[61:], "checksum"),
        (struct.pack(">II", 15, 0) + struct.pack(">I", zlib.crc32(b"\0\0\0\x0f\0\0\0\0")), "15"),
        (frame({"x": b"\x01a\x63"}, b""), "headers"),
        (frame({"x": b"\x09abc"}, b""), "headers"),
        (frame({"x": b"\x01a\x07\xff\xff"}, b""), "headers"),
        (frame({":event-type": "chunk"}, b"not JSON"), "payload"),
        (frame({":event-type": "chunk"}, b'{"p": 1}'), "payload"),
        (frame({":event-type": "chunk"}, b'{"bytes": "%%%"}'), "payload"),
        (chunk(b"[1]"), "payload"),
        (chunk(b'{"type": "a\\ndata: {}"}'), "type"),
    ],
)
def test_a_malformed_frame_is_a_typed_error(data, said):
    """It names what is wrong and the request, after the events that came before it."""
    events, error = decoded(chunk(B) + data + chunk(A))
    assert events == [sse(B)]
    assert type(error) is UnexpectedResponse
    assert said in error.message
    assert error.request_id == "req_1"


def test_frames_without_an_event_are_skipped():
    """Metrics, other kinds of frames, and headers of every type lead to nothing."""
    odd = b"\x01a\x00\x01b\x02x\x01c\x03xx\x01d\x04xxxx\x01e\x05" + b"x" * 8
    odd += b"\x01f\x06\x00\x02xx\x01g\x08" + b"x" * 8 + b"\x01h\x09" + b"x" * 16
    data = chunk({"amazon-bedrock-invocationMetrics": {}}) + frame({":event-type": "m"}, b"?")
    data += frame({":message-type": "ping"}, b"") + frame({"x": odd}, b"") + frame({}, b"")
    assert decoded(data + chunk(A)) == ([sse(A)], None)


def test_line_ends_in_the_json_do_not_end_the_event():
    """White space between tokens stays on its line."""
    (event,), _ = decoded(chunk(b'{\r\n"type":\n"ping"}'))
    assert event == b'event: ping\ndata: {  "type": "ping"}\n\n'


@pytest.mark.parametrize(
    ("code", "type_"),
    [
        ("throttlingException", "rate_limit_error"),
        ("ValidationException", "invalid_request_error"),
        ("internalServerException", "api_error"),
        ("modelStreamErrorException", "api_error"),
        ("modelTimeoutException", "timeout_error"),
        ("serviceUnavailableException", "overloaded_error"),
        ("novelException", "novelException"),
    ],
)
def test_an_exception_is_an_error_event(code, type_):
    """Its type is what the API calls it, or the code of AWS, which is in the details too."""
    (event,), _ = decoded(failure(code, "because"))
    name, data = event.decode().strip().split("\n")
    assert name == "event: error"
    assert json.loads(data.removeprefix("data: ")) == {
        "type": "error",
        "error": {"type": type_, "message": "because", "details": {"error_code": code}},
    }


def test_an_error_frame_is_an_error_event():
    """AWS's errors that no model made have their words in the headers."""
    headers = {":message-type": "error", ":error-code": "oops", ":error-message": "sorry"}
    (event,), _ = decoded(frame(headers, b""))
    assert json.loads(event.split(b"data: ")[1])["error"]["message"] == "sorry"


def test_a_frame_has_a_limit():
    """A frame past it is an error as soon as its length is known."""
    data = chunk(B)
    events, error = decoded(chunk(A) + data[:12], max_frame=len(data) - 1)
    assert events == [sse(A)]
    assert type(error) is ResponseTooLarge
    assert decoded(data, max_frame=len(data)) == ([sse(B)], None)
