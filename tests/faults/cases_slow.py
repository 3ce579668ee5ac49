"""Servers that take their time, for ever."""

from expectations import (
    ANSWER,
    BRIEF,
    READ,
    REQUEST_ID,
    TEXT,
    TOTAL,
    TRIES,
    USAGE,
    Expect,
    case,
    error,
    group,
)
from wires import (
    BLOCK,
    EVENTS,
    JSON,
    JSON_TYPE,
    ONE,
    PINGS,
    SSE_TYPE,
    START,
    choosing,
    drips,
    open_ended,
    says,
)

group("Slow")
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
case(
    "pings only",
    drips(open_ended(SSE_TYPE)[0], PINGS),
    None,
    error("TimedOut", phase="content"),
    content_timeout=BRIEF,
)
case(
    "pings only, until the deadline",
    drips(open_ended(SSE_TYPE)[0], PINGS),
    None,
    TOTAL,
    deadline=BRIEF,
)
case(
    "pings after content",
    drips(b"".join(open_ended(SSE_TYPE, START, BLOCK, ONE)), PINGS),
    None,
    Expect("TimedOut", {"phase": "content"}, TEXT[:9]),
    content_timeout=BRIEF,
)
case(
    "an error's body drop by drop",
    drips(open_ended(JSON_TYPE)[0].replace(b"200 OK", b"500 Oh"), b"1\r\n \r\n"),
    error("ServerError", status=500, request_id=REQUEST_ID),
    deadline=BRIEF,
)
case(
    "slow, and never silent for long",
    choosing(
        says(
            *open_ended(JSON_TYPE, *[JSON[i : i + 40] for i in range(0, len(JSON), 40)], end=True),
            pause=0.05,
        ),
        says(*open_ended(SSE_TYPE, *EVENTS, end=True), pause=0.05),
    ),
    ANSWER,
    timeout=BRIEF,
    within=1.5,
)
