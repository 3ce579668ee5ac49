"""Write errors in the API's form, for the emulator and other stand-ins of the API."""

from collections.abc import Mapping
from typing import Any, Final

import orjson

from claude_lite.wire import Response

ERRORS: Final[Mapping[int, tuple[str, str]]] = {
    400: ("invalid_request_error", "Invalid request"),
    401: ("authentication_error", "invalid x-api-key"),
    402: ("billing_error", "Payment details need attention."),
    403: ("permission_error", "Your API key does not have permission to use this resource."),
    404: ("not_found_error", "Not found"),
    409: ("conflict_error", "The resource was modified concurrently."),
    413: ("request_too_large", "Request exceeds the maximum size"),
    429: ("rate_limit_error", "Number of requests has exceeded your per-minute rate limit"),
    500: ("api_error", "Internal server error"),
    504: ("timeout_error", "The request timed out."),
    529: ("overloaded_error", "Overloaded"),
}


def error_response(
    status: int,
    request_id: str = "req_test",
    *,
    message: str | None = None,
    details: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Write an error response in the API's form.

    Args:
        status: The HTTP status; it decides the type of the error.
        request_id: The id in the body and in the header `request-id`.
        message: The message of the error; None uses a message that suits the status.
        details: The field `details` of the error, if not empty.
        headers: Headers in addition to the usual ones.

    """
    type_, default = ERRORS.get(status) or ERRORS[500 if status >= 500 else 400]  # noqa: PLR2004  # 5xx
    error: dict[str, Any] = {"type": type_, "message": message or default}
    if details:
        error["details"] = dict(details)
    body = {"type": "error", "error": error, "request_id": request_id}
    advice = {"x-should-retry": "true"} if status in {500, 529} else {}
    known = {"content-type": "application/json", "request-id": request_id, **advice}
    return Response(status, {**known, **(headers or {})}, orjson.dumps(body))
