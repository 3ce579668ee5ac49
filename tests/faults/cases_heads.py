"""Heads and framings that HTTP does not know, and floods."""

import gzip
from collections.abc import Callable

from expectations import ANSWER, BRIEF, REQUEST_ID, TOTAL, case, error, group
from wires import (
    JSON,
    JSON_TYPE,
    PINGS,
    SSE,
    SSE_TYPE,
    START,
    choosing,
    good,
    http,
    open_ended,
    says,
)

from claude_lite.testing.conformance.loopback import Peer, Script

group("Heads")


def rewritten(old: bytes, new: bytes) -> Script:
    """Make a script: the right answer, its first line another."""
    return choosing(
        says(http(JSON).replace(old, new), then="keep"),
        says(http(SSE, SSE_TYPE).replace(old, new), then="keep"),
    )


def with_line(line: bytes, *, known: bool = True) -> Script:
    """Make a script: the right answer, with a line of a head; each %d in it is the length."""

    def whole(kind: str, body: bytes) -> bytes:
        lengths = line.count(b"%d")
        head = b"" if lengths else b"Content-Length: %d\r\n" % len(body)
        head += b"Request-Id: %b\r\n" % REQUEST_ID.encode() if known else b""
        head += line % ((len(body),) * lengths) if lengths else line
        return b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\n%b\r\n%b" % (kind.encode(), head, body)

    return choosing(says(whole(JSON_TYPE, JSON)), says(whole(SSE_TYPE, SSE)))


def chunked_by(pack: Callable[[bytes], bytes], coding: bytes = b"chunked") -> Script:
    """Make a script: the right answer, in chunks that *pack* writes."""

    def whole(kind: str, body: bytes) -> bytes:
        head = b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\n" % kind.encode()
        return head + b"Transfer-Encoding: %b\r\n\r\n" % coding + pack(body)

    return choosing(
        says(whole(JSON_TYPE, JSON), then="keep"), says(whole(SSE_TYPE, SSE), then="keep")
    )


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
    case(f"a head with {what}", says(head, then="wait"), "UnexpectedResponse|ResponseTooLarge")
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
for what, line in {
    "no reason": b"HTTP/1.1 200\r\n",
    "no reason, and a space": b"HTTP/1.1 200 \r\n",
}.items():
    case(f"a status line with {what}", rewritten(b"HTTP/1.1 200 OK\r\n", line), ANSWER)
for what, line in {
    "empty lines, then": b"\r\n\r\nHTTP/1.1 200 OK\r\n",
    "HTTP/2.0": b"HTTP/2.0 200 OK\r\n",
    "HTTP/0.9": b"HTTP/0.9 200 OK\r\n",
    "http/1.1": b"http/1.1 200 OK\r\n",
    "ICY": b"ICY 200 OK\r\n",
}.items():
    case(
        f"a status line of {what}",
        rewritten(b"HTTP/1.1 200 OK\r\n", line),
        "answer|UnexpectedResponse",
    )
for what, line in {
    "an empty name": b": x\r\n",
    "a space before the colon": b"X-Odd : x\r\n",
    "a continuation line": b"X-Odd: a\r\n b\r\n",
    "a name of odd bytes": b"X-\xff: x\r\n",
    "lines that end in LF": b"X-Odd: a\nX-More: b\n",
    "the same length twice": b"Content-Length: %d\r\nContent-Length: %d\r\n",
    "the same length twice in a line": b"Content-Length: %d, %d\r\n",
}.items():
    case(f"a head with {what}", with_line(line), "answer|UnexpectedResponse")
case("a request id of odd bytes", with_line(b"Request-Id: \xff\x80\r\n", known=False), ANSWER)
case("no request id", with_line(b"", known=False), ANSWER)
case("nothing but 100", says(b"HTTP/1.1 100 Continue\r\n\r\n"), "ConnectionLost|StreamInterrupted")
case("101", says(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n"), "UnexpectedResponse")
case("header bytes past ASCII", good("X-Odd: \u00e9"), ANSWER)
case("60 headers", good(*[f"X-{i}: {i}" for i in range(60)]), ANSWER)
case(
    "a fake rate limit",
    good("anthropic-ratelimit-requests-limit: lots", "anthropic-ratelimit-requests-reset: soon"),
    ANSWER,
)

for what, (header, rest) in {
    "chunks and a length": (b"Content-Length: 7\r\n", b""),
    "an endless chunk size": (b"", b"1" * 300_000),
    "a chunk size past 64 bits": (b"", b"f" * 20 + b"\r\nabc"),
    "an endless chunk extension": (b"", b"1;" + b"x" * 300_000),
    "an endless trailer": (b"", b"0\r\n" + b"X: y\r\n" * 60_000),
}.items():
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Type: "
    case(
        f"a body with {what}",
        choosing(
            says(head + b"application/json\r\n" + header + b"\r\n", rest, then="wait"),
            says(head + b"text/event-stream\r\n" + header + b"\r\n", rest, then="wait"),
        ),
        "UnexpectedResponse|StreamInterrupted|ResponseTooLarge|TimedOut",
    )
for what, pack in {
    "extensions": lambda d: b"%x;a=b\r\n%b\r\n0;c\r\n\r\n" % (len(d), d),
    "trailers": lambda d: b"%x\r\n%b\r\n0\r\nX-Sum: 1\r\nX-More: 2\r\n\r\n" % (len(d), d),
    "capitals and zeros": lambda d: b"000%X\r\n%b\r\n000\r\n\r\n" % (len(d), d),
}.items():
    case(f"chunks with {what}", chunked_by(pack), ANSWER, calls=2)
case(
    "chunks, called Chunked",
    chunked_by(lambda d: b"%x\r\n%b\r\n0\r\n\r\n" % (len(d), d), b"Chunked"),
    ANSWER,
)
for what, pack in {
    "a size of -1": lambda d: b"-1\r\n%b\r\n0\r\n\r\n" % d,
    "a size of 0x10": lambda d: b"0x10\r\n%b\r\n0\r\n\r\n" % d,
    "no size": lambda d: b"\r\n%b\r\n0\r\n\r\n" % d,
    "more than the size": lambda d: b"5\r\n%b\r\n0\r\n\r\n" % d,
}.items():
    case(f"chunks with {what}", chunked_by(pack), "UnexpectedResponse|StreamInterrupted")
case(
    "chunks and a length, whole",
    chunked_by(lambda d: b"%x\r\n%b\r\n0\r\n\r\n" % (len(d), d), b"chunked\r\nContent-Length: 5"),
    "answer|UnexpectedResponse",
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


case("a flood of pings", floods(open_ended(SSE_TYPE)[0], PINGS), None, TOTAL, deadline=BRIEF)
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
    "TimedOut|UnexpectedResponse|ResponseTooLarge|ConnectionLost",
    deadline=BRIEF,
)
case(
    "a flood of 1xx",
    floods(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "TimedOut|UnexpectedResponse|ResponseTooLarge",
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
    error("ServerError", status=500, request_id=REQUEST_ID),
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
