"""What a response says besides its result: an error, and when to come back.

Source: https://docs.claude.com/en/api/errors and https://docs.claude.com/en/api/rate-limits
"""

import math
import time
from collections.abc import Mapping
from datetime import UTC
from typing import Any, Final, TypeVar

from claude_lite.core.encoding import ContentDecoder
from claude_lite.core.limits import ERROR_BODY, parse_json
from claude_lite.errors import (
    APIError,
    ClaudeError,
    ResponseTooLarge,
    UnexpectedResponse,
    class_for,
)
from claude_lite.wire import DEFAULT_LIMITS, Limits, Response

E = TypeVar("E", bound=ClaudeError)

RAW_TEXT: Final = 1000
LONGEST_WAIT: Final = 2.0**32 / 1000  # seconds; 49 days, and no clock overflows

RATE_LIMITS: Final = ("anthropic-ratelimit-", "anthropic-priority-", "anthropic-fast-")


def retry_after(headers: Mapping[str, str]) -> float | None:
    """The seconds that the server asks to wait; None if it does not, or not sensibly.

    `retry-after-ms` goes before `retry-after`, which is a number of seconds or an HTTP date.
    No wait is longer than 49 days.
    """
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        value = headers.get(name)
        if value is None:
            continue
        try:
            seconds = float(value) * unit
        except ValueError:
            seconds = _seconds_until(value, headers.get("date"))
        if math.isfinite(seconds) and seconds > 0:
            return min(seconds, LONGEST_WAIT)
    return None


def _seconds_until(date: str, now: str | None) -> float:
    """The seconds from the response's own date, or from now, to *date*; NaN if it is none."""
    start = _timestamp(now or "")
    return _timestamp(date) - (time.time() if math.isnan(start) else start)


def _timestamp(date: str) -> float:
    from email.utils import parsedate_to_datetime  # dear, and seldom needed

    try:
        moment = parsedate_to_datetime(date)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return math.nan


def decoded(response: Response, limit: int | None) -> bytes:
    """The body with its content-encoding undone; raises `UnexpectedResponse` if it cannot be."""
    encoding = response.headers.get("content-encoding")
    if encoding is None:
        return response.body
    try:
        decoder = ContentDecoder(encoding, limit)
        body = decoder.receive(response.body)
        decoder.close()
    except UnexpectedResponse as error:
        raise placed(error, response) from None
    return body


def json_body(response: Response, limits: Limits = DEFAULT_LIMITS) -> Any:
    """The body as JSON; raises `UnexpectedResponse` if it is something else, or too large."""
    try:
        return parse_json(decoded(response, limits.max_response), limits)
    except ResponseTooLarge as error:
        raise placed(error, response) from None
    except ValueError:
        kind = response.headers.get("content-type", "no content-type")
        raise unexpected(response, f"{len(response.body)} bytes of {kind}, not JSON") from None


def head_of(response: Response) -> Response:
    """The response without its body."""
    return Response(response.status, response.headers)


def error_from_response(response: Response, body: bytes) -> APIError:
    """The error that a response of status 400 or above stands for; *body* is decompressed."""
    try:
        envelope = parse_json(body[:ERROR_BODY])
    except (ValueError, ResponseTooLarge):
        envelope = None
    if isinstance(envelope, dict) and isinstance(envelope.get("error"), dict):
        return error_from_envelope(envelope, response)
    text = body[:RAW_TEXT].decode("utf-8", "replace").strip()
    said = {"body": text} if text else {}
    return class_for(response.status, None, None)(
        _words(envelope, response.status),
        **_head_fields(response),
        details={**said, **_details(response)},
    )


def _words(envelope: Any, status: int) -> str:
    """What a foreign error says of itself, where it is JSON as gateways and AWS write it."""
    said = envelope if isinstance(envelope, dict) else {}
    found = (_text(said.get(name)) for name in ("message", "Message", "error"))
    return next((text for text in found if text), f"HTTP status {status}")


def error_from_envelope(envelope: Mapping[str, Any], head: Response) -> APIError:
    """The error in the API's envelope: a response's body, or the data of an `error` event.

    Within a stream the head's status (200) says nothing, so the error's type decides.
    """
    inner = envelope["error"] if isinstance(envelope.get("error"), dict) else {}
    api_details = inner.get("details")
    api_details = api_details if isinstance(api_details, dict) else {}
    type_, code = _text(inner.get("type")), _text(api_details.get("error_code"))
    status = head.status if head.status >= 400 else None  # noqa: PLR2004
    fields = _head_fields(head)
    if _text(envelope.get("request_id")):
        fields["request_id"] = envelope["request_id"]
    return class_for(status, type_, code)(
        _text(inner.get("message")) or "no message",
        type=type_,
        error_code=code,
        **fields,
        details={**_details(head), **api_details},
    )


def placed(error: E, head: Response) -> E:
    """Give *error* the status and the ids of the response that it is about."""
    return error.amend(**_head_fields(head))


def unexpected(head: Response, what: str) -> UnexpectedResponse:
    """The error for a response that the API does not send."""
    return placed(UnexpectedResponse(f"not a response of the API: {what}"), head)


def _head_fields(head: Response) -> dict[str, Any]:
    fields = {
        "status": head.status,
        "request_id": head.request_id,
        "organization_id": head.organization_id,
        "retry_after": retry_after(head.headers),
    }
    return {name: value for name, value in fields.items() if value is not None}


def _details(head: Response) -> dict[str, Any]:
    """What else the head says that callers ask for: the workspace, and the rate limits."""
    limits = {k: v for k, v in head.headers.items() if k.startswith(RATE_LIMITS)}
    found = {"workspace_id": head.workspace_id, "rate_limits": limits}
    return {name: value for name, value in found.items() if value}


def should_retry(headers: Mapping[str, str]) -> bool | None:
    """What `x-should-retry` says, if it says anything."""
    return {"true": True, "false": False}.get(headers.get("x-should-retry", ""))


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
