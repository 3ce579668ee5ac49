"""The operation for endpoints that have no operation of their own.

All endpoints: https://docs.claude.com/en/api/overview
"""

from typing import Any

from attrs import field

from claude_lite.core.json_text import dumps
from claude_lite.core.operation import JSON, Operation, Route, checked_query, operation
from claude_lite.core.retry import Resend
from claude_lite.core.targets import Target, with_query
from claude_lite.errors import UsageError
from claude_lite.wire import DEFAULT_LIMITS, Limits, Request, Response

__all__ = ["RawRequest"]


@operation
class RawRequest(Operation[Response]):
    """A request to any endpoint; the result is the `Response`."""

    route = Route("request", "POST", "")

    method: str
    path: str
    """The path after the base URL: it begins with a slash and is percent-encoded."""
    json: Any = None
    """The body; None sends no body."""
    query: JSON | None = field(default=None, converter=checked_query)
    resend: Resend | None = None
    """What sending the request twice would mean; the default is "safe" for GET and HEAD, and
    "never" for other methods."""

    @property
    def resend_rule(self) -> Resend:
        """What sending the request twice would mean: `resend`, or its default."""
        return self.resend or ("safe" if self.method.upper() in {"GET", "HEAD"} else "never")

    def build(self, target: Target) -> Request:
        """Build the request; raises `UsageError` for a method or path that cannot be sent."""
        encoded = all("!" <= c <= "~" and c not in "#\\" for c in self.path)
        if not self.path.startswith("/") or not encoded:
            raise UsageError(
                f"path has to begin with a slash and be percent-encoded, not {self.path!r}"
            )
        if self.path.startswith("//") or ".." in self.path.lower().replace("%2e", "."):
            raise UsageError(
                f"path has to be without // at its start and without ..: {self.path!r}"
            )
        if not (self.method.isascii() and self.method.isalpha()):
            raise UsageError(f"method has to be a method of HTTP such as GET, not {self.method!r}")
        if self.method.upper() in {"CONNECT", "TRACE"}:  # a tunnel; an echo of the credential
            raise UsageError(f"method cannot be {self.method!r}: the API has no such endpoint")
        path = with_query(self.path, {**(self.query or {}), **(self.extra_query or {})})
        json = self.json
        if self.extra_body is not None:
            json = {**(json or {}), **self.extra_body}
        headers = target.headers if json is None else target.json_headers
        headers = {**headers, **self.headers(target)}
        body = b"" if json is None else dumps(json)
        return Request(self.method.upper(), target.base_url + path, headers, body, target.limits)

    def parse(self, response: Response, limits: Limits = DEFAULT_LIMITS) -> Response:  # noqa: ARG002  # nothing is parsed
        """Return the response itself."""
        return response
