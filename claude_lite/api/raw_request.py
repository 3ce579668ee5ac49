"""The operation for whatever has none of its own: any endpoint, as it is asked for."""

from typing import Any

from claude_lite.core.json_text import dumps
from claude_lite.core.operation import JSON, Operation, Route, operation
from claude_lite.core.retry import Resend
from claude_lite.core.targets import Target, with_query
from claude_lite.errors import UsageError
from claude_lite.wire import DEFAULT_LIMITS, Limits, Request, Response

__all__ = ["RawRequest"]


@operation
class RawRequest(Operation[Response]):
    """Any endpoint: `path` begins with a slash; `json` is the body, if there is one."""

    route = Route("request", "POST", "")

    method: str
    path: str
    json: Any = None
    query: JSON | None = None
    resend: Resend | None = None

    @property
    def resends(self) -> Resend:
        """As it was asked for; by default a GET is safe to repeat, and nothing else."""
        return self.resend or ("safe" if self.method.upper() in {"GET", "HEAD"} else "never")

    def build(self, target: Target) -> Request:
        """The request as it was asked for."""
        encoded = all("!" <= c <= "~" and c not in "#\\" for c in self.path)
        if not self.path.startswith("/") or not encoded:
            raise UsageError(f"path has to begin with a slash and be encoded, not {self.path!r}")
        if self.path.startswith("//") or ".." in self.path.lower().replace("%2e", "."):
            raise UsageError(f"path must not lead elsewhere: {self.path!r}")
        if not (self.method.isascii() and self.method.isalpha()):
            raise UsageError(f"method has to be one of HTTP's, not {self.method!r}")
        path = with_query(self.path, {**(self.query or {}), **(self.extra_query or {})})
        json = self.json
        if self.extra_body is not None:
            json = {**(json or {}), **self.extra_body}
        headers = target.headers if json is None else target.json_headers
        headers = {**headers, **self.headers(target)}
        body = b"" if json is None else dumps(json)
        return Request(self.method.upper(), target.base_url + path, headers, body, target.limits)

    def parse(self, response: Response, limits: Limits = DEFAULT_LIMITS) -> Response:  # noqa: ARG002  # nothing is parsed
        """The response itself."""
        return response
