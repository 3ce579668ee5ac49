"""How a route refuses a request: it raises an error, which is answered in the API's form."""

from collections.abc import Mapping
from typing import Any, NoReturn

from claude_lite.faults.error_bodies import error_response
from claude_lite.wire import Response


class Problem(Exception):
    """An error answer of the API: status, message, and perhaps `details` and headers."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        details: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Take the *message* in the API's words; the *status* decides the type of the error."""
        super().__init__(message)
        self.status = status
        self.message = message
        self.details = details
        self.headers = headers or {}

    def response(self, request_id: str) -> Response:
        """Write the error as the API does."""
        return error_response(
            self.status,
            request_id,
            message=self.message,
            details=self.details,
            headers=self.headers,
        )


def fail(path: str, complaint: str) -> NoReturn:
    """Refuse a request because of the value at *path*."""
    raise Problem(400, f"{path}: {complaint}")
