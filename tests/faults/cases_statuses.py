"""Every status, with every body that a proxy might send."""

from expectations import BRIEF, KEY, REQUEST_ID, UNEXPECTED, case, error, group
from wires import HTML, JSON, JSON_TYPE, drips, envelope, http, open_ended, says

from claude_lite import standard
from claude_lite.wire import ERROR_BODY_SECONDS

group("Statuses")
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
    error("ServerError", status=503, request_id=REQUEST_ID),
    max_response=1_000_000,
    within=ERROR_BODY_SECONDS,
)
# Once the head has come the status decides: nothing of it is lost, whatever becomes of the body.
LIMITED = envelope("rate_limit_error", "slow down")
WAITS = "Retry-After: 60"
DECIDED = {
    "requests": 1,
    "deadline": 5.0,
    "retry": standard(wait=0.01),
    "within": ERROR_BODY_SECONDS,
}
for status, name, body in (
    (429, "RateLimited", LIMITED),
    (401, "AuthenticationFailed", envelope("authentication_error", "who?")),
    (503, "ServerError", envelope("api_error", "oh")),
    (413, "RequestTooLarge", HTML),
):
    cut = http(body, JSON_TYPE, WAITS, status=f"{status} Oh", length=999)
    chunked = open_ended(JSON_TYPE, body[:30])[0].replace(
        b"200 OK", f"{status} Oh\r\n{WAITS}".encode()
    )
    chunk = b"%x\r\n%b\r\n" % (len(body), body)
    right = error(name, status=status, request_id=REQUEST_ID, retry_after=60.0, attempts=1)
    for what, script in {
        "cut short": says(cut),
        "cut short, then reset": says(cut, then="reset"),
        "cut before its first byte": says(cut[: cut.index(b"\r\n\r\n") + 4]),
        "cut in its chunks": says(chunked, chunk),
        "cut in a chunk": says(chunked, b"fff\r\nabc", then="reset"),
        "with chunks that are not": says(chunked, chunk, b"zz\r\n", then="wait"),
        "with chunks that are not, in one piece": says(chunked + chunk + b"zz\r\n", then="wait"),
        "with a trailer too long": says(chunked, chunk, b"0\r\nX: " + b"y" * 100_000, then="wait"),
        "of gzip that is not": says(
            http(body, JSON_TYPE, WAITS, "Content-Encoding: gzip", status=f"{status} Oh")
        ),
        "of an unknown encoding": says(
            http(body, JSON_TYPE, WAITS, "Content-Encoding: zz", status=f"{status} Oh")
        ),
        "of 9 GB": says(http(body, JSON_TYPE, WAITS, status=f"{status} Oh", length=9 << 30)),
        "of bytes that are not UTF-8": says(
            http(b'{"error":{"message":"\xff\xfe"}}', JSON_TYPE, WAITS, status=f"{status} Oh")
        ),
    }.items():
        case(
            f"{status} with a body {what}",
            script,
            right,
            **DECIDED,
        )
    if status != 429:  # each of the others takes a second
        continue
    for what, script in {
        "that stalls": says(cut, then="wait"),
        "that never begins": says(cut[: cut.index(b"\r\n\r\n") + 4], then="wait"),
        "drop by drop": drips(chunked, b"1\r\n \r\n"),
        "without an end": says(chunked, *[b"10000\r\n" + b"x" * 65536 + b"\r\n"] * 40, then="wait"),
    }.items():
        case(
            f"{status} with a body {what}",
            script,
            right,
            timeout=60.0,
            **DECIDED,
        )
case(
    "a deadline in the body of an error",
    says(http(LIMITED, JSON_TYPE, status="429 Oh", length=999), then="wait"),
    error("RateLimited", status=429, request_id=REQUEST_ID),
    deadline=BRIEF,
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
