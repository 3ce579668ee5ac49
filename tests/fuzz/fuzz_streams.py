"""Streams: server-sent events, messages, older completions, JSON lines, frames of AWS.

Whatever comes, however it is cut: the same items, the same result, the same error, which is one
of ours.
"""

import base64
import copy
import json
import pickle
import zlib
from contextlib import suppress

from fuzz_input import changed, cut, plain
from sse_reference import reference

from claude_lite.api.batches import BatchEntry, ErroredResult
from claude_lite.api.bodies import LinesDecoder
from claude_lite.api.completions import ChatDecoder, CompletionDecoder
from claude_lite.api.messages.decoder import MessageDecoder
from claude_lite.api.messages.message import Message
from claude_lite.core.json_text import loads_reply
from claude_lite.core.sse import SSEDecoder
from claude_lite.core.structure import structure, unstructure
from claude_lite.dialects.eventstream import EventStreamDecoder
from claude_lite.errors import ClaudeError, ResponseTooLarge, UnexpectedResponse
from claude_lite.wire import Limits, Response

HEAD = Response(200, {"request-id": "req_1", "anthropic-organization-id": "org_1"})
LIMITS = (None, 40, 400, 4000)
CALL = {"id": "t", "index": 0, "function": {"name": "n", "arguments": "{}"}}
CHAT = [
    {"id": "c", "model": "m", "choices": [{"index": 0, "delta": delta, "finish_reason": None}]}
    for delta in ({"content": "Hello"}, {"tool_calls": [CALL, {**CALL, "index": 1}]})
]
PIECES = [
    {"type": "completion", "id": "c", "completion": " x", "model": "m", "stop_reason": reason}
    for reason in (None, "stop_sequence")
]
REFUSED = {"type": "error", "error": {"type": "api_error", "message": "no"}}
ENTRIES = [
    {"custom_id": "a", "result": {"type": "errored", "error": REFUSED}},
    {"custom_id": "a", "result": {"type": "expired"}},
]
VALUES = (
    *(None, True, 0, 1, -1, 10**9, 2**64, 0.5, "", "x", "ping", [], [None], [{}], {}, {"a": 1}),
    *([{"delta": {"tool_calls": [{"index": 10**9}]}}], [[]], {"type": "text"}, REFUSED),
)
KEYS = ("type", "error", "choices", "delta", "tool_calls", "function", "index", "content", "result")


def sse(given):
    """Decode server-sent events whole and in pieces, under a limit or none."""
    seed, limit, data = given.number(), given.pick((None, 8, 64, 512)), given.rest()
    whole = _sse([data], limit)
    assert _sse(cut(data, seed), limit) == whole
    events, met = whole
    assert events == reference(data)[: len(events)]
    assert met or events == reference(data)
    assert limit is not None or not met


def _sse(chunks, limit):
    decoder, events = SSEDecoder(limit), []
    try:
        for chunk in chunks:
            events += (
                (name, data.decode("utf-8", "replace")) for name, data in _each(decoder, chunk)
            )
    except ResponseTooLarge as error:
        plain(error)
        return events, True
    return events, False


def _each(decoder, chunk):
    """Give events one by one, so that those before an error are not lost."""
    yield from decoder.receive(chunk)


def message(given):
    """Decode any bytes as the stream of a message."""
    seed, limit, data = given.number(), given.pick(LIMITS), given.rest()
    check_message(data, seed, limit)


def check_message(data, seed, limit=None):
    """Decode a stream whole and in pieces; the outcome, the message and its copies agree."""
    decoder, expected = _drive(lambda: MessageDecoder(HEAD, Limits(max_event=limit)), [data])
    assert (
        _drive(lambda: MessageDecoder(HEAD, Limits(max_event=limit)), cut(data, seed))[1]
        == expected
    )
    assert decoder.complete is (decoder.error is None)
    try:
        final = decoder.result()
    except ClaudeError:
        return decoder
    assert isinstance(final, Message)
    assert final.response is HEAD
    assert structure(unstructure(final), Message) == final
    assert pickle.loads(pickle.dumps(final)) == final == copy.deepcopy(final)  # noqa: S301  # our own
    return decoder


def completion(given):
    """Decode anything as the stream of a text completion."""
    seed, limit, data = given.number(), given.pick(LIMITS), _pieces(given, PIECES)
    _drive_both(lambda: CompletionDecoder(HEAD, Limits(max_event=limit)), data, seed)


def chat(given):
    """Decode anything as the stream of a chat completion."""
    seed, limit, data = given.number(), given.pick(LIMITS), _pieces(given, CHAT)
    decoder = _drive_both(lambda: ChatDecoder(HEAD, Limits(max_event=limit)), data, seed)
    for piece in decoder.pieces:
        with suppress(UnexpectedResponse):
            assert isinstance(decoder.item(piece).text, str)


def lines(given):
    """Decode anything as the results of a batch."""
    seed, limit, data = given.number(), given.pick(LIMITS), _pieces(given, ENTRIES, b"%b\n")
    decoder = _drive_both(
        lambda: LinesDecoder(HEAD, BatchEntry, Limits(max_event=limit)), data, seed
    )
    assert decoder.complete is (decoder.error is None)
    for line in data.split(b"\n") if decoder.complete else ():
        if line.strip():
            try:
                raw = loads_reply(line)
            except ValueError:
                raw = line.decode("utf-8", "replace")
            result = decoder.item(raw).result
            if isinstance(result, ErroredResult):
                plain(result.exception)


def _pieces(given, samples, form=b"data: %b\n\n"):
    """Give any bytes, or JSON in its form with some values changed."""
    if given.number(4) == 0:
        return given.rest()
    written = [form % b"[DONE]"] if given.number(2) else []
    while given.left and len(written) < 20:  # enough for any state
        piece = changed(given, given.pick(samples), VALUES, KEYS)
        written.insert(0, form % json.dumps(piece).encode())
    return b"".join(written)


def _drive_both(make, data, seed):
    decoder, expected = _drive(make, [data])
    assert _drive(make, cut(data, seed))[1] == expected
    return decoder


def _drive(make, chunks):
    """Feed a decoder, and give it with all that came of it."""
    decoder = make()
    raw = [each for chunk in chunks for each in decoder.receive(chunk)] + decoder.close()
    items = [_item(decoder, each) for each in raw]
    try:
        final = decoder.result()
        final = final and json.dumps(final.to_dict())
    except ClaudeError as error:
        final = plain(error)
    error = decoder.error and plain(decoder.error)
    return decoder, (items, final, error, decoder.begun, decoder.complete)


def _item(decoder, raw):
    """Make the value of a raw item; it holds what came, and nothing else."""
    text = json.dumps(raw)
    try:
        made = decoder.item(copy.deepcopy(raw))
    except UnexpectedResponse as error:  # a piece is looked at only now
        assert not isinstance(decoder, MessageDecoder | LinesDecoder)
        return plain(error)
    assert json.dumps(made.to_dict()) == text
    return text


def frames(given):
    """Decode any bytes as frames of AWS, and any payloads within frames that are in order."""
    seed, kind = given.number(), given.number(4)
    data = given.rest()
    if kind:
        parts = data.split(b"\xff")
        data = b"".join(_frame(part, kind) for part in parts)
    events, error = _frames([data])
    assert _frames(cut(data, seed)) == (events, error)
    stream = b"".join(events)
    assert len(reference(stream)) == len(events)  # each is one event, and no more than one
    check_message(stream, seed)


def _frames(chunks):
    decoder, events = EventStreamDecoder(HEAD, 100_000), []
    try:
        for chunk in chunks:
            for event in decoder.receive(chunk):
                events.append(event)  # noqa: PERF402  # those before an error count
    except (UnexpectedResponse, ResponseTooLarge) as error:
        return events, plain(error)
    return events, None


def _frame(part, kind):
    """Write a frame: of an event, of an exception, or of headers and a payload as they come."""
    if kind == 1:
        part = json.dumps({"bytes": base64.b64encode(part).decode()}).encode()
        headers = _text(b":event-type", b"chunk")
    elif kind == 2:  # the second kind
        code, _, part = part.partition(b"\n")
        headers = _text(b":exception-type", code) + _text(b":message-type", b"exception")
    else:
        size = part[0] if part else 0
        headers, part = part[1 : 1 + size], part[1 + size :]
    lengths = (16 + len(headers) + len(part)).to_bytes(4) + len(headers).to_bytes(4)
    body = lengths + zlib.crc32(lengths).to_bytes(4) + headers + part
    return body + zlib.crc32(body).to_bytes(4)


def _text(name, value):
    return bytes([len(name)]) + name + b"\x07" + len(value).to_bytes(2) + value
