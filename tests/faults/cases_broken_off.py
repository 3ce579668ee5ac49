"""Replies that break off, and connections that do not last."""

import json

from expectations import ANSWER, INTERRUPTED, REQUEST_ID, TEXT, TRIES, Expect, case, error, group
from wires import (
    BLOCK,
    JSON,
    JSON_TYPE,
    ONE,
    PING,
    SSE,
    SSE_TYPE,
    START,
    choosing,
    good,
    http,
    message,
    open_ended,
    says,
)

from claude_lite.testing.conformance.loopback import Peer, Script

group("Broken off")
KEEP = "Keep-Alive: timeout=0, max=1"
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
case(
    "keep-alive: timeout=0",
    choosing(says(http(JSON, JSON_TYPE, KEEP)), says(http(SSE, SSE_TYPE, KEEP))),
    ANSWER,
    calls=3,
    **TRIES,
)


def forgetful(peer: Peer) -> None:
    """Answer once a connection, and close it when the next request has come."""
    for ending in (True, False):
        if (whole := peer.request()) and ending:
            stream = b'"stream":true' in whole.body
            peer.send(http(SSE, SSE_TYPE) if stream else http(JSON))


case("closed as the next request comes, tried once more", forgetful, ANSWER, calls=3, **TRIES)


def chatty(after: bytes, *, closes: bool) -> Script:
    """Make a script: the right answer, and bytes that nobody asked for."""
    end = "close" if closes else "keep"
    return choosing(says(http(JSON) + after, then=end), says(http(SSE, SSE_TYPE) + after, then=end))


other = message(content=[{"type": "text", "text": "for somebody else"}])
case(
    "an answer too many",
    chatty(http(json.dumps(other).encode()), closes=False),
    ANSWER,
    calls=3,
)
case(
    "bytes after the answer",
    chatty(b"\r\nmore\r\n", closes=False),
    "answer|UnexpectedResponse",
    calls=3,
)
case(
    "408 for an idle connection",
    chatty(http(b"", "", "Connection: close", status="408 Oh"), closes=True),
    ANSWER,
    calls=3,
)
case(
    "a length too short",
    choosing(
        says(http(JSON, length=50), then="keep"),
        says(http(SSE, SSE_TYPE, length=len(START + PING)), then="keep"),
    ),
    "UnexpectedResponse",
    "StreamTruncated|UnexpectedResponse",
    calls=2,
)
for end in ("wait", "reset"):
    case(
        f"{end} after message_stop",
        says(*open_ended(SSE_TYPE, SSE), then=end),
        None,
        ANSWER,
        within=0.4,
    )
