"""What a reply may cost, whatever it is: memory, the event loop's time, work, and requests."""

import gzip
import json
import subprocess
import sys
import zlib
from functools import cache
from itertools import repeat
from pathlib import Path

import pytest

from claude_lite.core.config import Config
from claude_lite.core.limits import BYTES_PER_LETTER
from claude_lite.testing import message
from claude_lite.testing.conformance.loopback import LoopbackServer
from claude_lite.wire import DEFAULT_LIMITS

try:
    import httptools  # noqa: F401  # it is an extra; without it there is one transport less
except ImportError:
    TRANSPORTS = ["urllib", "aiohttp"]
else:
    TRANSPORTS = ["urllib", "aiohttp", "asyncio"]

pytestmark = pytest.mark.slow

PROBE = Path(__file__).with_name("bounds_probe.py")
MEGABYTE = 1 << 20
MOST_MEMORY = 120
LONGEST_HOLD = 100
MOST = DEFAULT_LIMITS.max_response

OK = b"HTTP/1.1 200 OK\r\n"
JSON, SSE = b"Content-Type: application/json\r\n", b"Content-Type: text/event-stream\r\n"
ERROR = b"HTTP/1.1 529 Busy\r\n" + JSON
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"
LAST = b"0\r\n\r\n"


def chunks(data, size=65536):
    """Write chunks, many at once."""
    return b"".join(
        b"%x\r\n%b\r\n" % (len(piece), piece)
        for piece in (data[at : at + size] for at in range(0, len(data), size))
    )


def event(kind, **fields):
    """Write an event."""
    data = json.dumps({"type": kind, **fields}, ensure_ascii=False)
    return f"event: {kind}\ndata: {data}\n\n".encode()


def delta(text, key="text"):
    """Write a piece of text, or of a tool's input."""
    kind = {"text": "text_delta", "partial_json": "input_json_delta"}[key]
    return event("content_block_delta", index=0, delta={"type": kind, key: text})


def whole(data, *headers):
    """Write a reply with a body that is JSON."""
    return [OK + JSON + b"".join(headers) + b"Content-Length: %d\r\n\r\n" % len(data), data]


def stream(*events, start=b"", headers=b"", ends=False):
    """Write a stream, the last piece of which goes on for ever, unless it *ends*."""
    begun = OK + SSE + headers + CHUNKED + chunks(start)
    return [begun, *map(chunks, events), *([LAST, None] if ends else [])]


def in_message(extra):
    """Write a message with something more in it."""
    return json.dumps(message("Hi")).encode()[:-1] + b',"more":' + extra + b"}"


def filled(size, unit, start=b"[0", end=b"]"):
    """Repeat something up to a size."""
    return start + unit * ((size - len(start) - len(end)) // len(unit)) + end


def squeezed(data, times, wbits=31):
    """Compress so much."""
    made = zlib.compressobj(9, zlib.DEFLATED, wbits)
    return b"".join([*(made.compress(data) for _ in range(times)), made.flush()])


START = event("message_start", message=message())
BLOCK = event("content_block_start", index=0, content_block={"type": "text", "text": ""})
TOOL = event(
    "content_block_start",
    index=0,
    content_block={"type": "tool_use", "id": "t", "name": "n", "input": {}},
)
END = event("content_block_stop", index=0) + event("message_stop")
GZIP, DEFLATE = b"Content-Encoding: gzip\r\n", b"Content-Encoding: deflate\r\n"
WIDE = "x" * 999 + "\U0001f600"  # one such letter makes Python use four bytes for each of a text
EVENT = b'data: {"type":"x"}\n\n'
BIG = MOST - 2000
WIDE_MOST = Config().max_event // BYTES_PER_LETTER - 2000
N = DEFAULT_LIMITS.max_values - 100
INPUT = '"' + WIDE * (BIG // 1004) + '"'
LINE = json.dumps({"custom_id": "a", "result": {"type": "expired"}}).encode() + b"\n"
CHAT = b'data: {"id":"x","model":"m","choices":[{"delta":{"content":"x"}}]}\n\n'


@cache
def replies():
    """Give what is sent by name: pieces, of which the last is sent again and again, or None.

    They are made when they are first asked for: to compress them takes a second.
    """
    bomb = squeezed(bytes(MEGABYTE), 60)
    return {
        "warm": [*whole(json.dumps(message("Hi")).encode()), None],
        # Bodies
        "announced": [OK + JSON + b"Content-Length: 10000000000\r\n\r\n", b"x" * 65536],
        "endless": [OK + JSON + CHUNKED + chunks(b'{"a":"'), chunks(b"x" * 65536)],
        "endless-tiny-chunks": [OK + JSON + CHUNKED, chunks(b"x" * 65536, 16)],
        "endless-chunk": [OK + JSON + CHUNKED + b"fffffffff\r\n", b"x" * 65536],
        "until-closed": [OK + JSON + b"\r\n", b"x" * 65536],
        "endless-error": [ERROR + CHUNKED + chunks(b'{"error":"'), chunks(b"x" * 65536)],
        "long-error": [
            ERROR + b"Content-Length: 7000000\r\n\r\n",
            filled(7_000_000, b"x", b'{"error":{"type":"x","message":"', b'"}}'),
            None,
        ],
        # Heads
        "endless-header": [OK + b"X: ", b"x" * 65536],
        "endless-headers": [OK, b"".join(b"X-%d: y\r\n" % n for n in range(5000))],
        "endless-interim": [b"", b"HTTP/1.1 103 Hints\r\nX: y\r\n\r\n" * 2000],
        "endless-extension": [OK + JSON + CHUNKED + b"1;", b"x" * 65536],
        "endless-trailers": [OK + SSE + CHUNKED + chunks(START) + b"0\r\n", b"X: y\r\n" * 9000],
        # Compression
        "bomb": [*whole(bomb, GZIP), None],
        "bomb-deflate": [*whole(squeezed(bytes(MEGABYTE), 60, 15), DEFLATE), None],
        "bomb-members": [*whole(gzip.compress(bytes(MEGABYTE)) * 60, GZIP), None],
        "bomb-brotli": [*whole(b"x" * MEGABYTE, b"Content-Encoding: br\r\n"), None],
        "bomb-zstd": [*whole(b"x" * MEGABYTE, b"Content-Encoding: zstd\r\n"), None],
        "bomb-twice": [*whole(b"x" * MEGABYTE, b"Content-Encoding: gzip, gzip\r\n"), None],
        "bomb-error": [
            ERROR + GZIP + b"Content-Length: %d\r\n\r\n" % len(bomb),
            bomb,
            None,
        ],
        "bomb-stream": stream(squeezed(b"x" * MEGABYTE, 60), headers=GZIP, ends=True),
        "bomb-events": stream(squeezed(EVENT * 50_000, 12), headers=GZIP, ends=True),
        "bomb-comments": stream(squeezed(b":\n\n" * 300_000, 3), headers=GZIP, ends=True),
        # JSON
        "text": [*whole(in_message(filled(BIG, b"x", b'"', b'"'))), None],
        "text-40": [*whole(in_message(filled(40 * MEGABYTE, b"x", b'"', b'"'))), None],
        "wide-text": [*whole(in_message(filled(BIG, WIDE.encode(), b'"', b'"'))), None],
        "escapes": [*whole(in_message(filled(BIG, b"\\u00e9", b'"', b'"'))), None],
        "lists": [*whole(in_message(filled(BIG, b",[]"))), None],
        "deep-lists": [*whole(in_message(filled(BIG, b"," + b"[" * 200 + b"]" * 200))), None],
        "bottomless": [*whole(filled(BIG, b"[", b"[", b"]")), None],
        "numbers": [*whole(in_message(filled(BIG, b",1e300"))), None],
        "commas-in-text": [*whole(in_message(filled(BIG, b"[{,", b'"', b'"'))), None],
        "empty-texts": [*whole(in_message(filled(BIG, b' ""', b"[" + b"1," * N))), None],
        "most-lists": [*whole(in_message(filled(3 * N // 2, b",[]"))), None],
        "most-deep-lists": [
            *whole(in_message(filled(2 * N - 2000, b"," + b"[" * 200 + b"]" * 200))),
            None,
        ],
        "most-objects": [*whole(in_message(filled(7 * N // 2, b',{"":0}'))), None],
        "most-numbers": [*whole(in_message(filled(6 * N, b",1e300"))), None],
        "most-blocks": [
            *whole(json.dumps(message(*["a"] * (N // 3))).encode()),
            None,
        ],
        # Events
        "endless-line": stream(b"x" * 65536, start=START + BLOCK + b"data: "),
        "line-32": stream(delta("x" * 32 * MEGABYTE), END, start=START + BLOCK, ends=True),
        "line-48": stream(delta("x" * 48 * MEGABYTE), END, start=START + BLOCK, ends=True),
        "endless-event": stream(b"data: x\n" * 8000, start=START),
        "long-event": stream(delta("x" * BIG), END, start=START + BLOCK, ends=True),
        "wide-event": stream(
            delta(WIDE * (WIDE_MOST // 1004)), END, start=START + BLOCK, ends=True
        ),
        "wide-deltas": stream(delta(WIDE * 99), start=START + BLOCK),
        "wide-deltas-that-fit": stream(
            b"".join(repeat(delta(WIDE * 99), BIG // 99_100)), END, start=START + BLOCK, ends=True
        ),
        "wide-input": stream(
            b"".join(
                delta(text, "partial_json")
                for text in (
                    '{"a":' + INPUT[: BIG // 2],
                    INPUT[BIG // 2 :] + "}",
                )
            ),
            END,
            start=START + TOOL,
            ends=True,
        ),
        "deltas": stream(delta("x" * 20) * 2000, start=START + BLOCK),
        "tiny-events": stream(
            *[EVENT * 10_000] * 5, END, start=START + BLOCK + delta("x"), ends=True
        ),
        "tiny-events-first": stream(*[EVENT * 10_000] * 5, END, start=START + BLOCK, ends=True),
        "tiny-comments": stream(*[b":\n\n" * 100_000] * 3, END, start=START + BLOCK, ends=True),
        "unknown-events": stream(event("x", more=[[]] * 500) * 30, start=START),
        "message-of-lists": stream(
            START.replace(b'"usage"', b'"more": %b, "usage"' % filled(N, b",[]")),
            BLOCK + END,
            ends=True,
        ),
        "citations": stream(
            event(
                "content_block_delta",
                index=0,
                delta={"type": "citations_delta", "citation": {"type": "x", "a": [{}] * 50}},
            )
            * 100,
            start=START + BLOCK,
        ),
        # Others
        "endless-lines": [OK + CHUNKED, chunks(LINE * 1000)],
        "lines": [OK + CHUNKED, chunks(LINE * 50_000), LAST, None],
        "line": [OK + CHUNKED, chunks(b"x" * 65536)],
        "chat": [OK + SSE + CHUNKED, chunks(CHAT * 1000)],
        "download": [OK + CHUNKED, chunks(b"x" * 65536)],
    }


# How each is asked for, and what it comes to: an error's class, or "" for an answer.
TOO_LARGE = "ResponseTooLarge"
CALLS = {
    "announced:plain": TOO_LARGE,
    "endless:plain": TOO_LARGE,
    "endless-tiny-chunks:plain": TOO_LARGE,
    "endless-chunk:plain": TOO_LARGE,
    "until-closed:plain": TOO_LARGE,
    "endless-error:plain": "Overloaded",
    "endless-error:stream": "Overloaded",
    "long-error:plain": "Overloaded",
    "long-error:stream": "Overloaded",
    "endless-header:plain": TOO_LARGE,
    "endless-headers:plain": TOO_LARGE,
    "endless-interim:plain": TOO_LARGE,
    "endless-trailers:stream": TOO_LARGE,
    "bomb:plain": TOO_LARGE,
    "bomb-deflate:plain": TOO_LARGE,
    "bomb-members:plain": TOO_LARGE,
    "bomb-brotli:plain": "UnexpectedResponse",
    "bomb-zstd:plain": "UnexpectedResponse",
    "bomb-twice:plain": "UnexpectedResponse",
    "bomb-error:plain": "Overloaded",
    "bomb-error:stream": "Overloaded",
    "bomb-stream:stream": TOO_LARGE,
    "bomb-events:send": "StreamTruncated",
    "bomb-events:kept": TOO_LARGE,
    "bomb-comments:stream": "StreamTruncated",
    "text:plain": "",
    "text-40:plain": TOO_LARGE,
    "wide-text:plain": "",
    "escapes:plain": "",
    "lists:plain": TOO_LARGE,
    "deep-lists:plain": TOO_LARGE,
    "bottomless:plain": TOO_LARGE,
    "numbers:plain": TOO_LARGE,
    "commas-in-text:plain": "",
    "empty-texts:plain": "UnexpectedResponse",
    "most-lists:plain": "",
    "most-deep-lists:plain": "",
    "most-objects:plain": "",
    "most-numbers:plain": "",
    "most-blocks:plain": "",
    "endless-line:stream": TOO_LARGE,
    "line-32:stream": "",
    "line-48:stream": TOO_LARGE,
    "endless-event:stream": TOO_LARGE,
    "long-event:stream": "",
    "wide-event:stream": "",
    "wide-deltas:stream": TOO_LARGE,
    "wide-deltas:send": TOO_LARGE,
    "wide-deltas-that-fit:stream": "",
    "wide-input:stream": "",
    "deltas:kept": TOO_LARGE,
    "tiny-events:stream": "",
    "tiny-events-first:stream": "",
    "tiny-comments:stream": "",
    "unknown-events:stream": TOO_LARGE,
    "message-of-lists:stream": "",
    "citations:stream": TOO_LARGE,
    "lines:lines": "",
    "line:lines": TOO_LARGE,
    "chat:chat": TOO_LARGE,
    "download:download": TOO_LARGE,
}


def serve(peer):
    """Send what the path of the request asks for."""
    while request := peer.request():
        *pieces, last = replies()[request.target.split("/")[1]]
        peer.send(*pieces)
        while last is not None:
            peer.send(last)


def measured(transport, calls):
    """What calls came to and cost over a transport, in a fresh process: a list for each."""
    with LoopbackServer(serve) as server:
        command = [sys.executable, PROBE, transport, server.url(""), "warm:plain", *calls]
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  # our own program
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture(scope="module", params=TRANSPORTS)
def costs(request):
    """All calls over one transport, and its name."""
    return request.param, measured(request.param, CALLS)


def test_what_replies_come_to(costs):
    """Whatever is sent, endless or odd, the call has an end, and it is the right one.

    What is not is measured again: that we hang up may reach us before what made us do so.
    """
    transport, first = costs
    found = {call: outcome for call, outcome, _, _ in first}
    odd = [call for call in CALLS if found[call] != CALLS[call]]
    if odd:
        found |= {call: outcome for call, outcome, _, _ in measured(transport, odd)}
    assert {call: found[call] for call in CALLS} == CALLS


def test_no_reply_costs_much_memory(costs):
    """No reply of any size, form or compression takes more than 120 MB above the idle process."""
    assert not [cost for cost in costs[1] if cost[2] > MOST_MEMORY]
    assert max(peak for _, _, peak, _ in costs[1]) > 30  # it does measure something


def test_no_reply_holds_the_event_loop(costs):
    """No reply keeps the event loop's thread at work for 100 ms without a turn for others.

    The time is processor time, as a multiple of a fixed piece of work in the same process, so that
    a slow or loaded machine does not count. What exceeds the bound is measured again.
    """
    transport, first = costs
    slow = [call for call, _, _, held in first if held > LONGEST_HOLD]
    for _ in range(3):
        if slow:
            again = measured(transport, slow)
            slow = [call for call, _, _, held in again if held > LONGEST_HOLD]
    assert not slow
    assert transport == "urllib" or max(held for _, _, _, held in first) > 5
