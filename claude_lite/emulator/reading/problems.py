"""What a route raises to be answered with one of the API's errors."""

from collections.abc import Mapping
from typing import Any, NoReturn

from claude_lite.faults.error_bodies import error_response
from claude_lite.wire import Response


class Problem(Exception):
    """An error answer: its status, message, and perhaps `details` and headers."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        details: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Take the *message* as the API would word it; the status decides the error's type."""
        super().__init__(message)
        self.status = status
        self.message = message
        self.details = details
        self.headers = headers or {}

    def response(self, request_id: str) -> Response:
        """Write it as the API does."""
        return error_response(
            self.status,
            request_id,
            message=self.message,
            details=self.details,
            headers=self.headers,
        )


def fail(path: str, complaint: str) -> NoReturn:
    """Refuse a request for what is at *path*."""
    raise Problem(400, f"{path}: {complaint}")
