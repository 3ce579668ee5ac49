"""When to come back, and whether."""

from contextlib import AbstractContextManager
from email.utils import formatdate
from time import time

from expectations import ANSWER, TRIES, Served, case, error, group
from wires import HTML, JSON_TYPE, envelope, first, http, says

BY_STATUS = {
    401: "AuthenticationFailed",
    403: "PermissionDenied",
    404: "NotFound",
    413: "RequestTooLarge",
}
group("When to come back")


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


def soon() -> AbstractContextManager[Served]:
    """Serve an error that says to come back at a time of day."""
    return first(busy(f"Retry-After: {formatdate(time() + 1, usegmt=True)}"))()


case(
    "retry-after: in a second, as a date",
    soon,
    ANSWER,
    None,
    serves=False,
    requests=2,
    within=2.0,
    **TRIES,
)
for what, headers in {
    "in milliseconds": ["Retry-After-Ms: 20"],
    "in garbled milliseconds": ["Retry-After-Ms: x", "Retry-After: 0.02"],
    "twice": ["Retry-After: 0.02", "Retry-After: 0.03"],
}.items():
    case(f"retry-after: {what}", first(busy(*headers)), ANSWER, serves=False, requests=2, **TRIES)
for status in (408, 409, 500, 502, 503, 504):
    case(
        f"{status}, then right",
        first(busy(status=f"{status} Oh")),
        ANSWER,
        serves=False,
        requests=2,
        **TRIES,
    )
for status in (401, 403, 404, 413, 422):
    case(
        f"{status} is not tried again",
        first(busy(status=f"{status} Oh", body=b"no")),
        BY_STATUS.get(status, "InvalidRequest"),
        serves=False,
        requests=1,
        **TRIES,
    )
case(
    "x-should-retry: perhaps",
    first(busy("X-Should-Retry: perhaps", status="529 Busy")),
    ANSWER,
    serves=False,
    requests=2,
    **TRIES,
)
