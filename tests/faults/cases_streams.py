"""Streams that are not whole, errors within them, and every way to write a good one."""

import json

from expectations import (
    ANSWER,
    BRIEF,
    LARGE,
    REQUEST_ID,
    TEXT,
    TRIES,
    UNEXPECTED,
    Expect,
    case,
    error,
    group,
)
from wires import (
    BLOCK,
    END,
    EVENTS,
    JSON_TYPE,
    LAST,
    ONE,
    PING,
    SSE,
    SSE_TYPE,
    START,
    STOP,
    TWO,
    choosing,
    delta,
    envelope,
    event,
    first,
    http,
    message,
    open_ended,
    says,
)

from claude_lite.testing.conformance.loopback import Script

group("Streams")


def streams(*pieces: bytes, kind: str = SSE_TYPE, pause: float = 0.0) -> Script:
    """Make a script: a stream in pieces, ended in good order."""
    return says(*open_ended(kind, *pieces, end=True), pause=pause, then="keep")


def whole_until(count: int) -> str | None:
    """Give the text that so many events bring; None before there is a message."""
    return TEXT[: {4: 9}.get(count, 99 if count > 4 else 0)] if count else None


oops = b"event: error\ndata: " + envelope("overloaded_error") + b"\n\n"
for count in range(len(EVENTS)):
    partial = whole_until(count)
    case(
        f"a stream that ends after {count} events",
        streams(*EVENTS[:count]),
        None,
        Expect("StreamTruncated", {"request_id": REQUEST_ID, "attempts": 1}, partial),
    )
for count in range(len(EVENTS)):
    partial = whole_until(count)
    case(
        f"an error event after {count} events",
        streams(*EVENTS[:count], oops),
        None,
        Expect("Overloaded", {"request_id": REQUEST_ID, "type": "overloaded_error"}, partial),
    )
case("an error event after message_stop", streams(SSE, oops), None, ANSWER)
case(
    "an error event before content, then right",
    first(http(START + PING + oops, SSE_TYPE)),
    None,
    ANSWER,
    serves=False,
    requests=2,
    **TRIES,
)
case(
    "an error event after content is not tried again",
    streams(START, BLOCK, ONE, oops),
    None,
    Expect("Overloaded", {"attempts": 1}, TEXT[:9]),
    requests=1,
    **TRIES,
)
for type_, name in (
    ("invalid_request_error", "InvalidRequest"),
    ("rate_limit_error", "RateLimited"),
    ("api_error", "ServerError"),
    ("timeout_error", "ServerTimeout"),
    ("billing_error", "PaymentRequired"),
    ("new_error", "APIError"),
):
    case(
        f"an error event: {type_}",
        streams(START, b"event: error\ndata: " + envelope(type_) + b"\n\n"),
        None,
        error(name, type=type_),
    )
for hollow in (
    "{}",
    '{"error":"text"}',
    '{"error":{"message":1,"type":2}}',
    '{"error":null}',
    '{"error":[]}',
    '{"error":{}}',
    "\ufeff{}",
):
    case(
        f"an error event: {hollow}",
        streams(START, f"event: error\ndata: {hollow}\n\n".encode()),
        None,
        "APIError",
    )
for hollow in ("", "[]", "null", "1", '"x"', "nope", "{"):
    case(
        f"an error event: {hollow!r}",
        streams(START, f"event: error\ndata: {hollow}\n\n".encode()),
        None,
        UNEXPECTED,
    )
for what, bad in {
    "delta for no block": (START, ONE),
    "delta for a block far off": (START, BLOCK, ONE.replace(b'"index": 0', b'"index": 99')),
    "negative index": (START, BLOCK, ONE.replace(b'"index": 0', b'"index": -1')),
    "block 1 first": (START, BLOCK.replace(b'"index": 0', b'"index": 1')),
    "a second start": (START, START),
    "stop before the start": (STOP,),
    "delta before the start": (LAST,),
    "stop of block 3": (START, BLOCK, event("content_block_stop", index=3)),
    "data []": (START, b"event: message_stop\ndata: []\n\n"),
    "data null": (START, b"event: message_stop\ndata: null\n\n"),
    "data not JSON": (START, b"event: message_stop\ndata: {nope\n\n"),
    "nested 100,000 deep": (
        START,
        b'data: {"type":"new","a":' + b"[" * 100_000 + b"]" * 100_000 + b"}\n\n",
    ),
    "nested 500 deep": (START, b'data: {"type":"new","a":' + b"[" * 500 + b"]" * 500 + b"}\n\n"),
}.items():
    good_ones = [EVENTS.index(one) for one in bad if one in (START, BLOCK)]
    rest = EVENTS[max(good_ones, default=-1) + 1 :]
    right = LARGE if what.startswith("nested") else UNEXPECTED
    case(f"in a stream: {what}", streams(*bad, *rest), None, right)
for what, old, new in (
    ("index true", b'"index": 0', b'"index": true'),
    ("index a float", b'"index": 0', b'"index": 0.0'),
    ("index null", b'"index": 0', b'"index": null'),
    ("index huge", b'"index": 0', b'"index": ' + b"9" * 5000),
    ("a delta type of []", b'"text_delta"', b"[]"),
):
    rest = (TWO, END, LAST, STOP)
    case(f"in a stream: {what}", streams(START, BLOCK, ONE.replace(old, new), *rest), None, ANSWER)
for what, old, new, text in (
    ("bad UTF-8", b"Hello", b"H\xffllo", "H\ufffdllo"),
    ("half a surrogate", b"Hello", b"\\ud800", "\ufffd"),
    ("a raw NUL", b"Hello", b"H\0llo", "H\0llo"),
    ("NUL", b"Hello", b"H\\u0000llo", "H\0llo"),
):
    case(
        f"in a stream: {what}",
        streams(START, BLOCK, ONE.replace(old, new), TWO, END, LAST, STOP),
        None,
        Expect(ANSWER, text=TEXT.replace("Hello", text)),
    )
for what, start in {
    "without a message": event("message_start"),
    "with null": event("message_start", message=None),
    "with a list": event("message_start", message=[]),
    "with content null": event("message_start", message=message(content=None, stop_reason=None)),
    "with usage null": event(
        "message_start", message=message(content=[], stop_reason=None, usage=None)
    ),
}.items():
    case(f"in a stream: a start {what}", streams(start, *EVENTS[1:]), None, ANSWER)
for what, block in {"null": None, "text 1": {"type": "text", "text": 1}}.items():
    begin = event("content_block_start", index=0, content_block=block)
    case(f"in a stream: a block of {what}", streams(START, begin, *EVENTS[3:]), None, ANSWER)
for what, count, more in (
    ("a delta of null", 3, event("content_block_delta", index=0, delta=None)),
    ("a delta of {}", 3, event("content_block_delta", index=0, delta={})),
    ("a text of null", 3, delta(None)),  # type: ignore[arg-type]
    ("a text of 1", 3, delta(1)),  # type: ignore[arg-type]
    ("message_delta with null", 1, event("message_delta", delta=None)),
    ("message_delta with usage 1", 1, event("message_delta", delta={}, usage=1)),
    ("message_delta with usage []", 1, event("message_delta", delta={}, usage=[1])),
    ("data NaN", 1, b'event: message_stop\ndata: {"type":NaN}\n\n'),
    ("type 1", 1, b'event: message_stop\ndata: {"type":1}\n\n'),
    ("type {}", 1, b'event: message_stop\ndata: {"type":{}}\n\n'),
):
    parts = (*EVENTS[:count], more, *EVENTS[count:])
    case(f"in a stream: {what}", streams(*parts), None, ANSWER)
case(
    "in a stream: a last event without a type",
    streams(*EVENTS[:-1], b"event: message_stop\ndata: {}\n\n"),
    None,
    ANSWER,
)
odd = event("brand_new", index=0, deep=[[{}]]) + b": note\n\n"
for what, parts in {
    "one byte a chunk": [SSE[i : i + 1] for i in range(len(SSE))],
    "UTF-8 cut in two": [SSE[: SSE.index("🌍".encode()) + 2], SSE[SSE.index("🌍".encode()) + 2 :]],
    "CR": [SSE.replace(b"\n", b"\r")],
    "CRLF": [SSE.replace(b"\n", b"\r\n")],
    "CRLF, cut within": [
        *[p for part in SSE.replace(b"\n", b"\r\n").split(b"\r") for p in (part, b"\r") if p][:-1],
        b"\n",
    ],
    "CR, LF and CRLF mixed": [
        START.replace(b"\n", b"\r"),
        BLOCK,
        ONE.replace(b"\n", b"\r\n"),
        TWO,
        END,
        LAST,
        STOP,
    ],
    "a BOM": [b"\xef\xbb\xbf", SSE],
    "a BOM, cut": [b"\xef", b"\xbb", b"\xbf" + SSE],
    "comments and unknown events": [START, odd, BLOCK, ONE, odd, TWO, END, odd, LAST, STOP],
    "no event names": [line for e in EVENTS for line in [e.partition(b"\n")[2]]],
    "retry and id lines": [b"retry: 0\nid: 1\n" + SSE],
    "data of two lines": [SSE.replace(b'data: {"type"', b'data: {\ndata: "type"')],
    "no space after the colon": [SSE.replace(b"data: ", b"data:")],
    "duplicate keys": [SSE.replace(b'"index": 0', b'"index": 7, "index": 0')],
    "a huge integer": [
        SSE.replace(b'"input_tokens": 3', b'"input_tokens": 3, "new": ' + b"9" * 40)
    ],
    "pings before the start": [PING, PING, SSE],
    "pings everywhere": [part for one in EVENTS for part in (one, PING)],
    "event names that lie": [SSE.replace(b"event: ", b"event: not_")],
    "[DONE] after its end": [SSE, b"data: [DONE]\n\n"],
    "two messages, one after the other": [SSE, SSE.replace(TEXT[:9].encode(), b"never")],
    "fields in another order": [
        SSE.replace(b"event: ping\ndata", b"data").replace(b'"ping"}', b'"ping"}\nevent: ping')
    ],
    "unknown fields": [SSE.replace(b"data: ", b"foo: bar\nbaz\ndata: ")],
    "blank lines": [b"\n\n\n" + SSE.replace(b"\n\n", b"\n\n\n\n")],
}.items():
    case(f"a stream in {what}", streams(*parts), None, ANSWER)
case("a stream without message_delta", streams(START, BLOCK, ONE, TWO, END, STOP), None, ANSWER)
case(
    "a stream with no usage at its end",
    streams(
        START, BLOCK, ONE, TWO, END, LAST.replace(b', "usage": {"output_tokens": 5}', b""), STOP
    ),
    None,
    ANSWER,
)
case("a block that is not stopped", streams(START, BLOCK, ONE, TWO, LAST, STOP), None, ANSWER)
case(
    "an error event without a name",
    streams(START, BLOCK, ONE, b"data: " + envelope("overloaded_error") + b"\n\n"),
    None,
    Expect("Overloaded", {"type": "overloaded_error"}, TEXT[:9]),
)
for what, cut in {
    "its blank line": SSE[:-1],
    "its line end": SSE[:-2],
    "its last byte": SSE[:-3],
}.items():
    outcome = "StreamTruncated" if cut[-1:] != b"}" and cut[-1:] != b"\n" else ANSWER
    case(f"the last event without {what}", streams(cut), None, outcome)
    broken = "StreamInterrupted" if outcome != ANSWER else ANSWER
    case(
        f"the last event without {what}, then reset",
        says(*open_ended(SSE_TYPE, cut), then="reset"),
        None,
        broken,
    )
case(
    "the last event without its blank line, then silence",
    says(*open_ended(SSE_TYPE, SSE[:-1]), then="wait"),
    None,
    ANSWER,
    timeout=BRIEF,
)
case("an error event without its blank line", streams(START, oops[:-2]), None, "Overloaded")
case(
    "an error event without its blank line, then reset",
    says(*open_ended(SSE_TYPE, START, oops[:-2]), then="reset"),
    None,
    "Overloaded",
)
for what, block in {
    "the first words in the block's start": {"type": "text", "text": TEXT[:9]},
    "no text in the block's start": {"type": "text"},
    "null in the block's start": {"type": "text", "text": None},
}.items():
    parts = (TWO,) if block.get("text") else (ONE, TWO)
    begin = event("content_block_start", index=0, content_block=block)
    case(f"a stream with {what}", streams(START, begin, *parts, END, LAST, STOP), None, ANSWER)
case("nothing but [DONE]", streams(b"data: [DONE]\n\n"), None, "StreamTruncated")
case(
    "another API's chunks",
    streams(
        b'data: {"id":"1","object":"chat.completion.chunk","choices":[]}\n\n',
        b"data: [DONE]\n\n",
    ),
    None,
    "UnexpectedResponse|StreamTruncated",
)
long = "x" * 2_000_000
case(
    "a line of 2 MB",
    choosing(
        says(http(json.dumps(message(content=[{"type": "text", "text": long}])).encode())),
        streams(START, BLOCK, delta(long), END, LAST, STOP),
    ),
    Expect(ANSWER, text=long),
    within=1.5,
)
case(
    "a line without an end",
    choosing(
        says(*open_ended(JSON_TYPE, *[b" " * 65536] * 40), then="wait"),
        says(*open_ended(SSE_TYPE, START, *[b":" * 65536] * 40), then="wait"),
    ),
    "ResponseTooLarge",
    max_event=1_000_000,
    max_response=1_000_000,
)
case(
    "an announced 9 GB",
    says(http(b"", length=9_000_000_000), then="wait"),
    "ResponseTooLarge",
    None,
    within=0.3,
)
