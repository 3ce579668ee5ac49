"""What a server can do to its clients, and what the caller has to get: a table.

Each case is a script for the raw server on loopback and the outcome over any transport, for a
plain call and for a streamed one. `test_every_fault.py` runs them, `table.py` prints them.
"""

import gzip
import itertools
import json
import socket
import ssl
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from time import sleep
from typing import Any, Final

from attrs import field, frozen

from claude_lite import standard
from claude_lite.testing.loopback import LoopbackServer, Peer, Script, reply

TLS: Final = Path(__file__).parents[1] / "data/tls"
KEY: Final = "sk-ant-fault-0123456789"
TEXT: Final = "Hello, wörld 🌍!\u2028"
REQUEST_ID: Final = "req_fault"
USAGE: Final = {"input_tokens": 3, "output_tokens": 5}
BRIEF: Final = 0.15

ANSWER: Final = "answer"
TRIES: Final = {"retry": standard(wait=0.01)}


@frozen
class Expect:
    """The outcome: a class of error or `ANSWER`, and what the error has to say.

    Where two errors are right (a race decides), `outcome` has a "|" between them. `fields` are
    attributes of the error; `partial` is the text that a broken stream had brought.
    """

    outcome: str
    fields: Mapping[str, Any] = field(factory=dict)
    partial: str | None = None
    text: str = TEXT


@frozen
class Case:
    """One fault. `plain` or `streamed` is None where the case makes no sense of that form.

    `calls` are made one after the other with one client; `requests` is how many the server
    has to see of one call, if that is certain; `within` bounds a call, in seconds.
    """

    name: str
    serve: Callable[[], Any]
    plain: Expect | None
    streamed: Expect | None
    options: Mapping[str, Any]
    within: float
    calls: int
    requests: int | None
    size: int
    trusts: str | None


CASES: Final[list[Case]] = []


def case(
    name: str,
    server: Script | Callable[[], Any],
    plain: Expect | str | None,
    streamed: Expect | str | None = "same",
    *,
    serves: bool = True,
    within: float = 0.7,
    calls: int = 1,
    requests: int | None = None,
    size: int = 10,
    trusts: str | None = None,
    **options: Any,
) -> None:
    """Add a case; *server* is a script, or (with *serves* false) gives a context of a URL."""
    one = Expect(plain) if isinstance(plain, str) else plain
    other = one if streamed == "same" else streamed
    other = Expect(other) if isinstance(other, str) else other
    assert all(name != known.name for known in CASES), name
    serve = (lambda: serving(server)) if serves else server
    CASES.append(Case(name, serve, one, other, options, within, calls, requests, size, trusts))


@contextmanager
def serving(script: Script, tls: ssl.SSLContext | None = None) -> Iterator[tuple[str, Any]]:
    """Run a server; its address and itself."""
    with LoopbackServer(script, tls) as server:
        yield server.url(""), server


# What is sent


def message(**changes: Any) -> dict[str, Any]:
    """Make a message as the API writes it."""
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": [{"type": "text", "text": TEXT}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": USAGE,
        **changes,
    }


def event(kind: str, **fields: Any) -> bytes:
    """Write an event of a stream."""
    data = json.dumps({"type": kind, **fields}, ensure_ascii=False)
    return f"event: {kind}\ndata: {data}\n\n".encode()


def delta(text: str) -> bytes:
    """Write a piece of text."""
    return event("content_block_delta", index=0, delta={"type": "text_delta", "text": text})


START = event("message_start", message=message(content=[], stop_reason=None))
PING = event("ping")
BLOCK = event("content_block_start", index=0, content_block={"type": "text", "text": ""})
ONE, TWO = delta(TEXT[:9]), delta(TEXT[9:])
END = event("content_block_stop", index=0)
LAST = event("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 5})
STOP = event("message_stop")
EVENTS = (START, PING, BLOCK, ONE, TWO, END, LAST, STOP)
SSE = b"".join(EVENTS)
JSON = json.dumps(message(), ensure_ascii=False).encode()
JSON_TYPE, SSE_TYPE = "application/json", "text/event-stream"


def envelope(type_: str = "api_error", note: str = "no", **details: Any) -> bytes:
    """Write an error as the API does."""
    error = {"type": type_, "message": note, **({"details": details} if details else {})}
    return json.dumps({"type": "error", "error": error}).encode()


def http(
    body: bytes, kind: str = JSON_TYPE, *headers: str, status: str = "200 OK", **how: Any
) -> bytes:
    """Write a response with a content-type and a request id."""
    known = (f"Content-Type: {kind}", f"Request-Id: {REQUEST_ID}")
    return reply(body, *(known if kind else known[1:]), *headers, status=status, **how)


def open_ended(kind: str, *pieces: bytes, end: bool = False) -> list[bytes]:
    """Write a chunked response in pieces, without its end unless *end*."""
    head = (
        f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nRequest-Id: {REQUEST_ID}\r\n"
        "Transfer-Encoding: chunked\r\n\r\n"
    )
    chunks = [b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces]
    return [head.encode(), *chunks, *([b"0\r\n\r\n"] if end else [])]


# How it is sent


def says(*pieces: bytes, then: str = "close", pause: float = 0.0) -> Script:
    """Make a script: these bytes to each request; then close, reset, wait or keep."""

    def script(peer: Peer) -> None:
        while peer.request():
            for piece in pieces:
                peer.send(piece)
                sleep(pause)
            if then == "wait":
                peer.gone(2.0)
            elif then == "reset":
                sleep(0.03)  # what was sent before a reset may be lost with it
                peer.reset()
            if then != "keep":
                return

    return script


def drips(start: bytes, drop: bytes) -> Script:
    """Make a script: begin a reply, and send drops without an end."""

    def script(peer: Peer) -> None:
        if peer.request():
            peer.send(start)
            for _ in range(100):
                peer.send(drop)
                sleep(0.03)

    return script


def choosing(plain: Script, streamed: Script) -> Script:
    """Make a script that depends on the form of the call, by what the request asks for."""

    def script(peer: Peer) -> None:
        head = peer.head()
        whole = head and peer.body(head)
        if whole:
            request = iter([whole])
            peer.request = lambda: next(request, None) or Peer.request(peer)  # type: ignore[method-assign]
            (streamed if b'"stream":true' in whole.body else plain)(peer)

    return script


def good(*headers: str) -> Script:
    """Make a script: the right answer, in either form."""
    return choosing(
        says(http(JSON, JSON_TYPE, *headers), then="keep"),
        says(http(SSE, SSE_TYPE, *headers), then="keep"),
    )


def first(*replies: bytes, rest: Script | None = None) -> Callable[[], Any]:
    """Give a server that sends these replies first, and then what it should."""

    def serve() -> Any:
        count = itertools.count()

        def script(peer: Peer) -> None:
            while whole := peer.request():
                number = next(count)
                right = SSE if b'"stream":true' in whole.body else JSON
                kind = SSE_TYPE if right is SSE else JSON_TYPE
                sent = replies[number] if number < len(replies) else http(right, kind)
                peer.send(sent)

        return serving(rest or script)

    return serve


def error(outcome: str, **fields: Any) -> Expect:
    """Expect an error with these attributes."""
    return Expect(outcome, fields)


UNEXPECTED = error("UnexpectedResponse", request_id=REQUEST_ID)
INTERRUPTED = error("StreamInterrupted")
READ = error("TimedOut", phase="read")
TOTAL = error("TimedOut", phase="total")

# Connecting


@contextmanager
def closed_port() -> Iterator[tuple[str, None]]:
    """Give an address where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    yield f"http://127.0.0.1:{port}", None


@contextmanager
def black_hole() -> Iterator[tuple[str, None]]:
    """Give an address that does not answer: a listener whose backlog is full."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.settimeout(0)
            filler.connect_ex(listener.getsockname())
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", None


def tls(pem: str) -> Callable[[], Any]:
    """Give a TLS server with this certificate."""

    def serve() -> Any:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(TLS / pem)
        return serving(good(), context)

    return serve


@contextmanager
def no_tls(script: Script) -> Iterator[tuple[str, Any]]:
    """Give an https address of a server that does not speak TLS."""
    with LoopbackServer(script) as server:
        yield server.url("").replace("http:", "https:"), None


NOT_SENT = error("ConnectionFailed", attempts=1)
case("refused", closed_port, NOT_SENT, serves=False)
case(
    "refused, tried again",
    closed_port,
    error("ConnectionFailed", attempts=3),
    serves=False,
    **TRIES,
)
case(
    "blackholed connect",
    black_hole,
    error("ConnectTimedOut", phase="connect"),
    serves=False,
    connect_timeout=BRIEF,
)
case("TLS: right", tls("localhost.pem"), ANSWER, serves=False, trusts="localhost.pem")
for pem, trusts, what in (
    ("localhost.pem", None, "self-signed"),
    ("other.pem", "other.pem", "another host's"),
    ("expired.pem", "expired.pem", "expired"),
):
    case(
        f"TLS: {what}",
        tls(pem),
        error("CertificateRefused", attempts=1),
        serves=False,
        trusts=trusts,
        **TRIES,
    )
case(
    "TLS: the server speaks HTTP",
    lambda: no_tls(lambda peer: peer.send(http(JSON))),
    NOT_SENT,
    serves=False,
)
case(
    "TLS: silence",
    lambda: no_tls(lambda peer: peer.gone(2.0)),
    error("ConnectTimedOut", phase="connect"),
    serves=False,
    connect_timeout=BRIEF,
)
case("TLS: closed in the handshake", lambda: no_tls(Peer.close), NOT_SENT, serves=False)


@contextmanager
def _address(url: str) -> Iterator[tuple[str, None]]:
    yield url, None


# Broken off

LOST = error("ConnectionLost", attempts=1)
case("right", good(), ANSWER, requests=1)
case("closed before the head", says(), LOST, requests=1)
case("reset before the head", says(then="reset"), LOST, requests=1)
case(
    "closed before the head, tried once more",
    says(),
    error("ConnectionLost", attempts=2),
    requests=2,
    **TRIES,
)
for end in ("close", "reset"):
    for text in (b"HT", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nContent-Le"):
        case(
            f"{end} in the head after {text!r}",
            says(text, then=end),
            "ConnectionLost|StreamInterrupted",
        )
    case(
        f"{end} after the head",
        choosing(
            says(http(b"", length=500), then=end), says(http(b"", SSE_TYPE, length=500), then=end)
        ),
        INTERRUPTED,
    )
    case(
        f"{end} in a body with a length",
        choosing(
            says(http(JSON[:50], length=len(JSON)), then=end),
            says(http(START + BLOCK + ONE, SSE_TYPE, length=len(SSE)), then=end),
        ),
        INTERRUPTED,
        Expect("StreamInterrupted", {"request_id": REQUEST_ID, "attempts": 1}, TEXT[:9]),
    )
    case(
        f"{end} in a chunked body",
        choosing(
            says(*open_ended(JSON_TYPE, JSON[:50]), then=end),
            says(*open_ended(SSE_TYPE, START + BLOCK, ONE), then=end),
        ),
        INTERRUPTED,
        Expect("StreamInterrupted", {"request_id": REQUEST_ID, "attempts": 1}, TEXT[:9]),
    )
    case(
        f"{end} in a chunk",
        choosing(
            says(*open_ended(JSON_TYPE), b"fff\r\nabc", then=end),
            says(*open_ended(SSE_TYPE, START, BLOCK, ONE), b"fff\r\nabc", then=end),
        ),
        INTERRUPTED,
        Expect("StreamInterrupted", {"request_id": REQUEST_ID}, TEXT[:9]),
    )
case(
    "chunks without the last",
    choosing(says(*open_ended(JSON_TYPE, JSON)), says(*open_ended(SSE_TYPE, SSE))),
    INTERRUPTED,
    ANSWER,
)
case(
    "chunks that are not",
    choosing(
        says(*open_ended(JSON_TYPE, JSON[:9]), b"zz\r\nabc\r\n", pause=0.03, then="wait"),
        says(*open_ended(SSE_TYPE, START, BLOCK, ONE), b"zz\r\nabc\r\n", pause=0.03, then="wait"),
    ),
    INTERRUPTED,
    Expect("StreamInterrupted", {}, TEXT[:9]),
)
case(
    "a body until the end",
    choosing(
        says(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n" + JSON),
        says(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n" + SSE),
    ),
    ANSWER,
)
case(
    "HTTP/1.0",
    choosing(
        says(b"HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n" + JSON),
        says(b"HTTP/1.0 200 OK\r\nContent-Type: text/event-stream\r\n\r\n" + SSE),
    ),
    ANSWER,
    calls=2,
)
case(
    "closed after each answer",
    choosing(says(http(JSON)), says(http(SSE, SSE_TYPE))),
    ANSWER,
    calls=4,
)
case("connection: close", good("Connection: close"), ANSWER, calls=3)
case(
    "stale pooled connections",
    choosing(says(http(JSON)), says(http(SSE, SSE_TYPE))),
    ANSWER,
    calls=3,
    **TRIES,
)

# Slow

case("silence instead of a head", says(then="wait"), READ, timeout=BRIEF, requests=1, **TRIES)
case("silence in the head", says(b"HTTP/1.1 200 OK\r\nCont", then="wait"), READ, timeout=BRIEF)
case(
    "silence in the body",
    choosing(
        says(*open_ended(JSON_TYPE, JSON[:50]), then="wait"),
        says(*open_ended(SSE_TYPE, START, BLOCK, ONE), then="wait"),
    ),
    READ,
    Expect("TimedOut", {"phase": "read", "request_id": REQUEST_ID, "usage": USAGE}, TEXT[:9]),
    timeout=BRIEF,
)
case("a head drop by drop", drips(b"HTTP/1.1 200 OK\r\nX: ", b"x"), TOTAL, deadline=BRIEF)
case("headers without an end", drips(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"), TOTAL, deadline=BRIEF)
case(
    "a body drop by drop",
    choosing(
        drips(open_ended(JSON_TYPE)[0], b"1\r\n \r\n"),
        drips(open_ended(SSE_TYPE)[0], b"1\r\n:\r\n"),
    ),
    TOTAL,
    deadline=BRIEF,
)
case("1xx without an end", drips(b"", b"HTTP/1.1 100 Continue\r\n\r\n"), TOTAL, deadline=BRIEF)
chunk = open_ended(SSE_TYPE, PING)[1]
case(
    "pings only",
    drips(open_ended(SSE_TYPE)[0], chunk),
    None,
    error("TimedOut", phase="content"),
    content_timeout=BRIEF,
)
case(
    "pings only, until the deadline",
    drips(open_ended(SSE_TYPE)[0], chunk),
    None,
    TOTAL,
    deadline=BRIEF,
)
case(
    "pings after content",
    drips(b"".join(open_ended(SSE_TYPE, START, BLOCK, ONE)), chunk),
    None,
    Expect("TimedOut", {"phase": "content"}, TEXT[:9]),
    content_timeout=BRIEF,
)
case(
    "an error's body drop by drop",
    drips(open_ended(JSON_TYPE)[0].replace(b"200 OK", b"500 Oh"), b"1\r\n \r\n"),
    TOTAL,
    deadline=BRIEF,
)

# Streams that are not whole, and errors within them


def streams(*pieces: bytes, kind: str = SSE_TYPE, pause: float = 0.0) -> Script:
    """Make a script: a stream in pieces, ended in good order."""
    return says(*open_ended(kind, *pieces, end=True), pause=pause, then="keep")


for count in range(len(EVENTS)):
    partial = TEXT[: {4: 9}.get(count, 99 if count > 4 else 0)] if count else None
    case(
        f"a stream that ends after {count} events",
        streams(*EVENTS[:count]),
        None,
        Expect("StreamTruncated", {"request_id": REQUEST_ID, "attempts": 1}, partial),
    )
    oops = b"event: error\ndata: " + envelope("overloaded_error") + b"\n\n"
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
):
    case(
        f"an error event: {hollow}",
        streams(START, f"event: error\ndata: {hollow}\n\n".encode()),
        None,
        "APIError",
    )
for hollow in ("", "[]", "null", "1", '"x"', "nope", "{", "\ufeff{}"):
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
    "index true": (START, BLOCK, ONE.replace(b'"index": 0', b'"index": true')),
    "index a float": (START, BLOCK, ONE.replace(b'"index": 0', b'"index": 0.0')),
    "index null": (START, BLOCK, ONE.replace(b'"index": 0', b'"index": null')),
    "index huge": (START, BLOCK, ONE.replace(b'"index": 0', b'"index": ' + b"9" * 5000)),
    "block 1 first": (START, BLOCK.replace(b'"index": 0', b'"index": 1')),
    "a second start": (START, START),
    "stop before the start": (STOP,),
    "delta before the start": (LAST,),
    "a start without a message": (event("message_start"),),
    "a start with null": (event("message_start", message=None),),
    "a start with a list": (event("message_start", message=[]),),
    "a start with content null": (event("message_start", message=message(content=None)),),
    "a start with usage null": (event("message_start", message=message(usage=None)),),
    "a block of null": (START, event("content_block_start", index=0, content_block=None)),
    "a block of text 1": (
        START,
        event("content_block_start", index=0, content_block={"type": "text", "text": 1}),
    ),
    "a delta of null": (START, BLOCK, event("content_block_delta", index=0, delta=None)),
    "a delta of {}": (START, BLOCK, event("content_block_delta", index=0, delta={})),
    "a text of null": (START, BLOCK, delta(None)),  # type: ignore[arg-type]
    "a text of 1": (START, BLOCK, delta(1)),  # type: ignore[arg-type]
    "a delta type of []": (
        START,
        BLOCK,
        event("content_block_delta", index=0, delta={"type": [], "text": "x"}),
    ),
    "stop of block 3": (START, BLOCK, event("content_block_stop", index=3)),
    "message_delta with null": (START, event("message_delta", delta=None)),
    "message_delta with usage 1": (START, event("message_delta", delta={}, usage=1)),
    "message_delta with usage []": (START, event("message_delta", delta={}, usage=[1])),
    "data []": (START, b"event: message_stop\ndata: []\n\n"),
    "data null": (START, b"event: message_stop\ndata: null\n\n"),
    "data not JSON": (START, b"event: message_stop\ndata: {nope\n\n"),
    "data NaN": (START, b'event: message_stop\ndata: {"type":NaN}\n\n'),
    "type 1": (START, b'event: message_stop\ndata: {"type":1}\n\n'),
    "type {}": (START, b'event: message_stop\ndata: {"type":{}}\n\n'),
    "bad UTF-8": (START, BLOCK, ONE.replace(b"Hello", b"H\xffllo")),
    "half a surrogate": (START, BLOCK, ONE.replace(b"Hello", b"\\ud800")),
    "nested 100,000 deep": (
        START,
        b'data: {"type":"new","a":' + b"[" * 100_000 + b"]" * 100_000 + b"}\n\n",
    ),
    "nested 500 deep": (START, b'data: {"type":"new","a":' + b"[" * 500 + b"]" * 500 + b"}\n\n"),
}.items():
    case(f"in a stream: {what}", streams(*bad, BLOCK, STOP), None, UNEXPECTED)
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
    "blank lines": [b"\n\n\n" + SSE.replace(b"\n\n", b"\n\n\n\n")],
}.items():
    case(f"a stream in {what}", streams(*parts), None, ANSWER)
case(
    "a stream with NUL",
    streams(START, BLOCK, ONE.replace(b"Hello", b"H\\u0000llo"), TWO, END, LAST, STOP),
    None,
    Expect(ANSWER, text=TEXT.replace("Hello", "H\0llo")),
)
case(
    "a raw NUL in a stream",
    streams(START, BLOCK, ONE.replace(b"Hello", b"H\0llo")),
    None,
    UNEXPECTED,
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

# 200, but not the API's

HTML = b"<!doctype html><html><title>Sign in</title></html>"
for what, body in {
    "empty": b"",
    "spaces": b" \n",
    "HTML": HTML,
    "cut short": JSON[:-1],
    "two": JSON + JSON,
    "{}": b"{}",
    "[]": b"[]",
    "null": b"null",
    "a text": b'"x"',
    "1": b"1",
    "true": b"true",
    "NaN": b"NaN",
    "bad UTF-8": JSON.replace(b"Hello", b"H\xffllo"),
    "UTF-16": JSON.decode().encode("utf-16"),
    "Latin-1": json.dumps(
        message(content=[{"type": "text", "text": "wörld"}]), ensure_ascii=False
    ).encode("latin-1"),
    "a BOM": b"\xef\xbb\xbf" + JSON,
    "a raw NUL": JSON.replace(b"Hello", b"H\0llo"),
    "nested 100,000 deep": b"[" * 100_000 + b"]" * 100_000,
    "nested 500 deep": JSON.replace(b'"model"', b'"new": ' + b"[" * 500 + b"]" * 500 + b',"model"'),
    "nested 100,000 deep, no end": b'{"a":' * 100_000,
    "an integer of 5,000 digits": JSON.replace(b'"model"', b'"n": ' + b"9" * 5000 + b',"model"'),
    "content null": json.dumps(message(content=None)).encode(),
    "content {}": json.dumps(message(content={})).encode(),
    "content text": json.dumps(message(content="x")).encode(),
    "content of null": json.dumps(message(content=[None])).encode(),
    "content of text": json.dumps(message(content=["x"])).encode(),
    "content of {}": json.dumps(message(content=[{}])).encode(),
    "content of type 1": json.dumps(message(content=[{"type": 1}])).encode(),
    "content of type []": json.dumps(message(content=[{"type": []}])).encode(),
    "text null": json.dumps(message(content=[{"type": "text", "text": None}])).encode(),
    "usage null": json.dumps(message(usage=None)).encode(),
    "usage []": json.dumps(message(usage=[])).encode(),
    "usage of text": json.dumps(message(usage={"input_tokens": "3"})).encode(),
    "id 1": json.dumps(message(id=1)).encode(),
    "an error": envelope(),
    "SSE": SSE,
}.items():
    case(f"200 with {what}", choosing(says(http(body)), says(http(body))), UNEXPECTED)
    case(
        f"200 with {what}, called a stream",
        says(http(body, SSE_TYPE)),
        None,
        ANSWER if what == "SSE" else "StreamTruncated",
    )
for kind in ("text/html", "text/plain", "", "application/octet-stream", ";;", "x" * 3000):
    case(f"HTML called {kind[:30]!r}", says(http(HTML, kind)), UNEXPECTED)
    case(f"a stream called {kind[:30]!r}", says(http(SSE, kind)), None, UNEXPECTED)
for kind in ("; charset=latin-1", "; charset=nonsense", ";charset=utf-16", "; charset"):
    case(
        f"content-type ...{kind}",
        choosing(says(http(JSON, JSON_TYPE + kind)), says(http(SSE, SSE_TYPE + kind))),
        ANSWER,
    )
case(
    "content-type in capitals",
    choosing(says(http(JSON, JSON_TYPE.upper())), says(http(SSE, SSE_TYPE.upper()))),
    ANSWER,
)
case(
    "duplicate keys", says(http(JSON.replace(b'"model"', b'"id": "other", "model"'))), ANSWER, None
)
case(
    "an integer of 40 digits",
    says(http(JSON.replace(b'"model"', b'"n":' + b"9" * 40 + b',"model"'))),
    ANSWER,
    None,
)
case(
    "a line break and a NUL, escaped",
    says(http(json.dumps(message(content=[{"type": "text", "text": "a\0b\r\n\u2028"}])).encode())),
    Expect(ANSWER, text="a\0b\r\n\u2028"),
    None,
)

# Compression

GZIP = "Content-Encoding: gzip"


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

# Heads

for what, head in {
    "not HTTP": b"SSH-2.0-OpenSSH_9.7\r\n\r\n",
    "no status": b"HTTP/1.1 abc OK\r\n\r\n",
    "status 99": b"HTTP/1.1 99 Low\r\nContent-Length: 0\r\n\r\n",
    "status 1000": b"HTTP/1.1 1000 High\r\nContent-Length: 0\r\n\r\n",
    "a line without a colon": b"HTTP/1.1 200 OK\r\nno colon here\r\n\r\n",
    "length five": b"HTTP/1.1 200 OK\r\nContent-Length: five\r\n\r\nabcde",
    "length -1": b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nabcde",
    "length +5": b"HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\nabcde",
    "length of 30 digits": b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 30 + b"\r\n\r\nabcde",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef",
    "a header of 300 KB": b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 300_000 + b"\r\n\r\n",
    "30,000 headers": b"HTTP/1.1 200 OK\r\n" + b"X-Many: y\r\n" * 30_000 + b"\r\n",
    "a NUL": b"HTTP/1.1 200 OK\r\nX-Nul: a\0b\r\nContent-Length: 0\r\n\r\n",
}.items():
    case(f"a head with {what}", says(head, then="wait"), "UnexpectedResponse")
case(
    "an early hint and a continue",
    choosing(
        says(
            b"HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n"
            + http(JSON)
        ),
        says(
            b"HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n"
            + http(SSE, SSE_TYPE)
        ),
    ),
    ANSWER,
)
case("nothing but 100", says(b"HTTP/1.1 100 Continue\r\n\r\n"), "ConnectionLost|StreamInterrupted")
case("101", says(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n"), "UnexpectedResponse")
case("header bytes past ASCII", good("X-Odd: \u00e9"), ANSWER)
case("60 headers", good(*[f"X-{i}: {i}" for i in range(60)]), ANSWER)
case(
    "a fake rate limit",
    good("anthropic-ratelimit-requests-limit: lots", "anthropic-ratelimit-requests-reset: soon"),
    ANSWER,
)

for what, script in {
    "chunks and a length": (b"Content-Length: 7\r\n", b"", b""),
    "an endless chunk size": (b"", b"1" * 300_000, b""),
    "a chunk size past 64 bits": (b"", b"f" * 20 + b"\r\nabc", b""),
    "an endless chunk extension": (b"", b"1;" + b"x" * 300_000, b""),
    "an endless trailer": (b"", b"0\r\n" + b"X: y\r\n" * 60_000, b""),
}.items():
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Type: "
    case(
        f"a body with {what}",
        choosing(
            says(head + b"application/json\r\n" + script[0] + b"\r\n", script[1], then="wait"),
            says(head + b"text/event-stream\r\n" + script[0] + b"\r\n", script[1], then="wait"),
        ),
        "UnexpectedResponse|StreamInterrupted|ResponseTooLarge|TimedOut",
    )
case(
    "transfer-encoding: gzip",
    says(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n" + gzip.compress(JSON)),
    "UnexpectedResponse|StreamInterrupted",
)


def floods(start: bytes, drop: bytes) -> Script:
    """Make a script: begin a reply, and go on as fast as the client reads."""

    def script(peer: Peer) -> None:
        if peer.request():
            peer.send(start)
            piece = drop * (65536 // len(drop))
            for _ in range(100_000):
                peer.send(piece)

    return script


case("a flood of pings", floods(open_ended(SSE_TYPE)[0], chunk), None, TOTAL, deadline=BRIEF)
case(
    "a flood of comments",
    floods(open_ended(SSE_TYPE)[0], b"2\r\n:\n\r\n"),
    None,
    TOTAL,
    deadline=BRIEF,
)
case(
    "a flood of comments for the content clock",
    floods(open_ended(SSE_TYPE)[0], b"2\r\n:\n\r\n"),
    None,
    error("TimedOut", phase="content"),
    content_timeout=BRIEF,
)
case(
    "a flood of empty lines for a head",
    floods(b"", b"\r\n"),
    "TimedOut|UnexpectedResponse|ConnectionLost",
    deadline=BRIEF,
)
case(
    "a flood of 1xx",
    floods(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "TimedOut|UnexpectedResponse",
    deadline=BRIEF,
)
case(
    "a flood of trailers",
    floods(b"".join(open_ended(SSE_TYPE, START)) + b"0\r\n", b"X: y\r\n"),
    "TimedOut|UnexpectedResponse|StreamInterrupted|StreamTruncated|ResponseTooLarge",
    deadline=BRIEF,
)
case(
    "a flood in an error's body",
    floods(open_ended(JSON_TYPE)[0].replace(b"200 OK", b"500 Oh"), b"1\r\nx\r\n"),
    "TimedOut|ServerError|ResponseTooLarge",
    deadline=BRIEF,
)
case(
    "a flood of gzip that says nothing",
    floods(
        open_ended(SSE_TYPE)[0].replace(b"\r\n\r\n", b"\r\nContent-Encoding: gzip\r\n\r\n"),
        b"14\r\n" + gzip.compress(b"", mtime=0) + b"\r\n",
    ),
    None,
    TOTAL,
    deadline=BRIEF,
)

# Statuses

BY_STATUS = {
    401: "AuthenticationFailed",
    402: "PaymentRequired",
    403: "PermissionDenied",
    404: "NotFound",
    408: "RequestTimeout",
    409: "Conflict",
    413: "RequestTooLarge",
    429: "RateLimited",
    504: "ServerTimeout",
    529: "Overloaded",
}
for status in (
    400,
    401,
    402,
    403,
    404,
    405,
    406,
    407,
    408,
    409,
    410,
    413,
    415,
    418,
    421,
    422,
    425,
    428,
    429,
    431,
    444,
    451,
    460,
    494,
    498,
    499,
    500,
    501,
    502,
    503,
    504,
    505,
    508,
    511,
    520,
    522,
    525,
    529,
    530,
    555,
    598,
    599,
):
    name = BY_STATUS.get(status, "InvalidRequest" if status < 500 else "ServerError")
    right = error(name, status=status, request_id=REQUEST_ID, attempts=1)
    case(
        f"{status}, HTML",
        says(http(HTML, "text/html", status=f"{status} Oh"), then="keep"),
        right,
        requests=1,
    )
    case(f"{status}, empty", says(http(b"", "", status=f"{status} ")), right)
    case(f"{status}, no reason", says(http(b"null", status=f"{status}")), right)
for status in (400, 500):
    name = "InvalidRequest" if status == 400 else "ServerError"
    for body in (
        b'{"error":"text"}',
        b'{"error":{"message":1}}',
        b'{"error":{"type":[],"message":{}}}',
        b'{"error":{"type":"x","message":"m","details":7}}',
        b'{"error":null}',
        b'{"error":[]}',
        b"[]",
        b"[1]",
        b"1",
        b'"x"',
        b"{",
        b'{"error":{}}',
        b'{"type":"error"}',
        b"\xff\xfe",
        b'{"error":{"message":"\\ud800","type":"t"}}',
        b"\0",
        b"[" * 10_000,
        b"9" * 5000,
        b'{"request_id":1,"error":{"type":"api_error"}}',
        b'{"error":{"code":"context_length_exceeded","message":"m","type":null}}',
        b'{"error":{"details":{"error_code":["x"]},"message":"m"}}',
    ):
        expected = "ServerError" if b"api_error" in body else name
        case(
            f"{status} with {body[:60]!r}",
            says(http(body, status=f"{status} Oh")),
            error(expected, status=status, request_id=REQUEST_ID),
        )
case(
    "an error that quotes the key",
    says(http(envelope(note=f"bad key {KEY}"), JSON_TYPE, f"Request-Id: {KEY}", status="401 No")),
    "AuthenticationFailed",
)
case(
    "an error of 3 MB",
    says(http(b'{"error":{"message":"' + b"x" * 3_000_000 + b'"}}', status="500 Oh")),
    error("ServerError", status=500),
    within=1.5,
)
case(
    "an error without an end",
    says(
        open_ended("text/html")[0].replace(b"200 OK", b"503 Oh"),
        *[b"10000\r\n" + b"x" * 65536 + b"\r\n"] * 40,
        then="wait",
    ),
    "ServerError|ResponseTooLarge",
    max_response=1_000_000,
)
case(
    "an error cut short",
    says(http(envelope()[:30], status="503 Oh", length=999)),
    "StreamInterrupted|ServerError",
)
for status in (204, 205):
    case(
        f"{status}",
        says(f"HTTP/1.1 {status} Oh\r\nRequest-Id: {REQUEST_ID}\r\n\r\n".encode()),
        UNEXPECTED,
    )
case("206", says(http(JSON[:40], status="206 Partial")), UNEXPECTED)
for status in (300, 304, 305, 399):
    case(
        f"{status}",
        says(
            f"HTTP/1.1 {status} Oh\r\nContent-Length: 0\r\nRequest-Id: "
            f"{REQUEST_ID}\r\n\r\n".encode()
        ),
        UNEXPECTED,
    )
for status in (600, 777, 999):
    case(f"{status}", says(http(HTML, status=f"{status} Oh")), "ServerError|UnexpectedResponse")

# Redirects


def redirect(location: str, status: str = "307 Oh") -> bytes:
    """Write a redirect."""
    return http(b"", "", f"Location: {location}", status=status)


def round_and_round(peer: Peer) -> None:
    """Send the client from one address to the next."""
    for number in itertools.count():
        if not peer.request():
            return
        peer.send(redirect(f"/{number}"))


for status in (307, 308):
    case(
        f"{status} within the host",
        first(redirect("/other", f"{status} Oh")),
        ANSWER,
        serves=False,
        requests=2,
    )
for status in (301, 302, 303):
    case(
        f"{status} within the host",
        first(redirect("/other", f"{status} Oh")),
        UNEXPECTED,
        serves=False,
        requests=1,
    )
for location in (
    "http://localhost:9/",
    "https://127.0.0.1/",
    "//other.invalid/",
    "http://[",
    "",
    "javascript:1",
    "http://user:pw@127.0.0.1/",
    "/a b",
    "/\u00e9",
    "\\\\other.invalid",
    "http:///x",
    "?" * 5000,
    "http://127.0.0.1:99999999/",
    "http://127.0.0.1:x/",
):
    stays = location.startswith(("?", "\\", "http:///"))  # within the origin, odd as it is
    outcome = ANSWER if stays else UNEXPECTED
    case(
        f"307 to {location[:40]!r}",
        first(redirect(location)),
        outcome,
        serves=False,
        requests=2 if outcome is ANSWER else 1,
    )
case("307 round and round", round_and_round, UNEXPECTED, requests=4)
case(
    "307 without a location",
    first(http(b"", "", status="307 Oh")),
    UNEXPECTED,
    serves=False,
    requests=1,
)

# When to come back


def busy(*headers: str, status: str = "429 Slow", body: bytes = b"") -> bytes:
    """Write an error that says when to come back."""
    return http(body or envelope("rate_limit_error"), JSON_TYPE, *headers, status=status)


for value in (
    "0.05",
    "0",
    "-5",
    "soon",
    "",
    "nan",
    "inf",
    "-inf",
    "1e400",
    "0x10",
    "1_0.0e-3",
    "Wed, 21 Oct 2015 07:28:00 GMT",
    "Wed, 99 Foo 2015 07:28:00 GMT",
    "Fri, 31 Dec 0000 23:59:59 GMT",
    "\u00b2",
):
    case(
        f"retry-after: {value}",
        first(busy(f"Retry-After: {value}")),
        ANSWER,
        serves=False,
        requests=2,
        **TRIES,
    )
for value, header in (
    ("3600", "Retry-After: 3600"),
    ("99999999999", "Retry-After: 99999999999"),
    ("a date in 9999", "Retry-After: Fri, 31 Dec 9999 23:59:59 GMT"),
    ("milliseconds", "Retry-After-Ms: 3600000"),
    ("1e300", "Retry-After: 1e300"),
):
    case(
        f"retry-after: {value}, past the deadline",
        first(busy(header)),
        error("RateLimited", attempts=1),
        serves=False,
        requests=1,
        deadline=1.0,
        **TRIES,
    )
case(
    "a spend limit",
    first(busy(body=envelope("rate_limit_error", error_code="enforced_spend_limit_reached"))),
    error("SpendLimitReached", attempts=1),
    serves=False,
    requests=1,
    **TRIES,
)
case("529, then right", first(busy(status="529 Busy")), ANSWER, serves=False, requests=2, **TRIES)
case(
    "529 for ever",
    says(busy(status="529 Busy"), then="keep"),
    error("Overloaded", attempts=3),
    requests=3,
    **TRIES,
)
case(
    "x-should-retry: false",
    first(busy("X-Should-Retry: false")),
    error("RateLimited", attempts=1),
    serves=False,
    requests=1,
    **TRIES,
)
case(
    "400, x-should-retry: true",
    first(busy("X-Should-Retry: true", status="400 Bad")),
    ANSWER,
    serves=False,
    requests=2,
    **TRIES,
)
case(
    "400 is not tried again",
    says(http(envelope("invalid_request_error"), status="400 Bad"), then="keep"),
    error("InvalidRequest", attempts=1),
    requests=1,
    **TRIES,
)
case(
    "HTML is not tried again",
    says(http(HTML, "text/html"), then="keep"),
    error("UnexpectedResponse", attempts=1),
    requests=1,
    **TRIES,
)

# Answers before the request is whole


def hasty(status: str, *, drains: bool) -> Script:
    """Make a script: answer once the head is there; then read the rest, or do not."""

    def script(peer: Peer) -> None:
        if peer.head():
            peer.send(http(b"", "", "Connection: close", status=status))
            peer.finish()
            if drains:
                peer.gone(2.0)
            else:
                sleep(0.1)

    return script


case(
    "413 before the body is sent",
    hasty("413 Large", drains=True),
    "RequestTooLarge",
    size=8_000_000,
    within=2.0,
)
case(
    "413 before the body is sent, then closed",
    hasty("413 Large", drains=False),
    "RequestTooLarge|ConnectionLost",
    size=8_000_000,
    within=2.0,
)


def deaf(peer: Peer) -> None:
    """Read the head, and nothing after it."""
    peer.head()
    sleep(1.0)


case(
    "a server that stops reading",
    deaf,
    "TimedOut|ConnectionLost",
    size=8_000_000,
    timeout=BRIEF,
    within=1.2,
)
