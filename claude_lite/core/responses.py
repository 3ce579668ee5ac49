"""Make errors of responses, read the retry headers, and parse JSON bodies.

Source: https://docs.claude.com/en/api/errors and https://docs.claude.com/en/api/rate-limits
"""

import math
import re
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC
from typing import Any, Final, TypeVar

from claude_lite.core.encoding import ContentDecoder
from claude_lite.core.limits import ERROR_BODY, parse_json
from claude_lite.errors import (
    BY_TYPE,
    APIError,
    ClaudeError,
    ResponseTooLarge,
    UnexpectedResponse,
    error_class,
)
from claude_lite.given.refusals import (
    LIMIT_OF_ZERO,
    event_data,
    limit_is_zero,
    message_in,
    text_of,
)
from claude_lite.wire import DEFAULT_LIMITS, Limits, Response

E = TypeVar("E", bound=ClaudeError)

CHECKSUM: Final = 8  # bytes at the end of gzip
RAW_TEXT: Final = 1000
KEPT_BODY: Final = 64 * 1024  # characters of a body in an error: most answers are shorter
LONGEST_WAIT: Final = 2.0**32 / 1000  # seconds (49 days): a longer wait can overflow a clock

# Digits, as in RFC 9110, also with a fraction or an exponent. `float` takes more, such as "1_0".
_NUMBER: Final = r"[0-9]+(\.[0-9]+)?(e[0-9]+)?"
RATE_LIMITS: Final = ("anthropic-ratelimit-", "anthropic-priority-", "anthropic-fast-")


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that the server asks to wait, 49 days at most.

    The header `retry-after-ms` (milliseconds) wins over `retry-after` (seconds or an HTTP date).
    The result is None if neither header has a positive number or a date in the future.
    """
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        value = headers.get(name, "").strip()
        if re.fullmatch(_NUMBER, value):
            seconds = float(value) * unit
        else:
            seconds = _seconds_until(value, headers.get("date")) if value else math.nan
        if math.isfinite(seconds) and seconds > 0:
            return min(seconds, LONGEST_WAIT)
    return None


def _seconds_until(date: str, now: str | None) -> float:
    """Return the seconds from *now* to *date*; NaN if *date* is not a date.

    *now* is the date of the response. If there is none, the clock of this machine is used.
    """
    start = _timestamp(now or "")
    return _timestamp(date) - (time.time() if math.isnan(start) else start)


def _timestamp(date: str) -> float:
    """Return an HTTP date as seconds since 1970; NaN if *date* is not a date."""
    from email.utils import parsedate_to_datetime  # slow to import, and rarely needed

    try:
        moment = parsedate_to_datetime(date)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return math.nan


def decompress_body(response: Response, limit: int | None) -> bytes:
    """Decompress the body of *response*, to at most *limit* bytes.

    Raises:
        UnexpectedResponse: The body cannot be decompressed.
        ResponseTooLarge: The decompressed body has more than *limit* bytes.

    """
    encoding = response.headers.get("content-encoding")
    if encoding is None:
        return response.body
    body = b""
    try:
        decoder = ContentDecoder(encoding, limit)
        body = decoder.receive(response.body)
        decoder.close()
    except UnexpectedResponse as error:
        with suppress(ClaudeError):  # only the checksum at the end may be wrong
            body = body or ContentDecoder(encoding, limit).receive(response.body[:-CHECKSUM])
        raise with_head_fields(with_body(error, body or response.body), response) from None
    return body


def json_body(response: Response, limits: Limits = DEFAULT_LIMITS) -> Any:
    """Parse the body as JSON.

    Raises:
        UnexpectedResponse: The body is not JSON.
        ResponseTooLarge: The body is larger than *limits* allow.

    """
    body = b""
    try:
        body = decompress_body(response, limits.max_response)
        return parse_json(body, limits)
    except ResponseTooLarge as error:
        raise with_head_fields(with_body(error, body), response) from None
    except ValueError:
        content_type = response.headers.get("content-type", "no content-type")
        reason = f"the body is not JSON ({len(response.body)} bytes, {content_type})"
        raise unexpected(response, reason, body) from None


def head_of(response: Response) -> Response:
    """Copy *response* without its body."""
    return Response(response.status, response.headers)


def error_from_response(response: Response, body: bytes) -> APIError:
    """Make the error for a response with status 400 or more. *body* is the decompressed body."""
    text = body[:RAW_TEXT].decode("utf-8", "replace").strip()
    envelope: Any = text_of(text)
    for data in (event_data(body[:ERROR_BODY]), body[:ERROR_BODY]):
        with suppress(ValueError, ResponseTooLarge):
            envelope = parse_json(data)
    fields = envelope if isinstance(envelope, dict) else {}
    if isinstance(fields.get("error"), dict):
        return error_from_envelope(fields, response)
    type_ = _text_or_none(fields.get("type"))
    type_ = type_ if type_ in BY_TYPE else None
    return error_class(response.status, type_, None)(
        message_in(envelope)[:RAW_TEXT] or f"HTTP status {response.status}",
        type=type_,
        **_error_fields(response),
        details={**({"body": text} if text else {}), **_details(response)},
    )


def error_from_envelope(envelope: Mapping[str, Any], head: Response) -> APIError:
    """Make an error from the API's JSON for an error: `{"type": "error", "error": {...}}`.

    Args:
        envelope: The JSON object: the body of a response, or the data of an event in a stream.
        head: The head of the response. A stream has status 200; then the `type` of the error
            chooses the class.

    """
    inner = envelope["error"] if isinstance(envelope.get("error"), dict) else {}
    api_details = inner.get("details")
    api_details = api_details if isinstance(api_details, dict) else {}
    type_, code = _text_or_none(inner.get("type")), _text_or_none(api_details.get("error_code"))
    status = head.status if head.status >= 400 else None  # noqa: PLR2004
    fields = _error_fields(head)
    if _text_or_none(envelope.get("request_id")):
        fields["request_id"] = envelope["request_id"]
    return error_class(status, type_, code)(
        message_in(inner) or "the API sent an error without a message",
        type=type_,
        error_code=code,
        **fields,
        details={**_details(head), **api_details},
    )


def with_head_fields(error: E, head: Response) -> E:
    """Copy the status, the ids and `retry_after` from *head* to *error*, and return *error*."""
    return error.update(**_error_fields(head))


def unexpected(head: Response, reason: str, body: bytes = b"") -> UnexpectedResponse:
    """Make the error for a response in a form that the API never uses.

    Args:
        head: The response, or its head.
        reason: Why the form is wrong.
        body: The part of the body that is wrong. The default is the body of *head*.

    """
    error = UnexpectedResponse(f"unexpected response: {reason}")
    return with_head_fields(with_body(error, body or head.body), head)


def with_body(error: E, body: bytes) -> E:
    """Add the text of *body* to the details of *error*: the answer in it may be paid for.

    A long text ends with a whole word: half of a credential would not be masked.
    """
    text = body[:KEPT_BODY].decode("utf-8", "replace")
    if len(body) > KEPT_BODY:
        text = text.rpartition(" ")[0]
    return error.update(details={**error.details, **({"body": text} if text else {})})


def _error_fields(head: Response) -> dict[str, Any]:
    """Return the fields of an error that *head* has."""
    fields = {
        "status": head.status,
        "request_id": head.request_id,
        "organization_id": head.organization_id,
        "retry_after": retry_after(head.headers),
        "advice": LIMIT_OF_ZERO if limit_is_zero(head.status, head.headers) else None,
    }
    return {name: value for name, value in fields.items() if value is not None}


def _details(head: Response) -> dict[str, Any]:
    """Return the parts of the head for an error's `details`: workspace and rate limits."""
    limits = {k: v for k, v in head.headers.items() if k.startswith(RATE_LIMITS)}
    found = {"workspace_id": head.workspace_id, "rate_limits": limits}
    return {name: value for name, value in found.items() if value}


def should_retry(head: Response) -> bool | None:
    """Return the header `x-should-retry`; None if it is missing or has another value.

    A 429 without this header is False if a limit is 0, because no wait helps.
    """
    unsaid = False if limit_is_zero(head.status, head.headers) else None
    return {"true": True, "false": False}.get(head.headers.get("x-should-retry", ""), unsaid)


def _text_or_none(value: object) -> str | None:
    return value if isinstance(value, str) else None
