"""Every status, with every body that a proxy might send."""

from expectations import KEY, REQUEST_ID, UNEXPECTED, case, error, group
from wires import HTML, JSON, JSON_TYPE, envelope, http, open_ended, says

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
