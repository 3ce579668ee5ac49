"""The operation for whatever has none of its own: any endpoint, as it is asked for."""

from typing import Any

from claude_lite.codec import dumps
from claude_lite.config import Config
from claude_lite.declaring import JSON, Route, operation
from claude_lite.errors import UsageError
from claude_lite.operations import Operation
from claude_lite.retry import Resend
from claude_lite.targets import with_query
from claude_lite.wire import DEFAULT_LIMITS, Limits, Request, Response


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

    def build(self, config: Config) -> Request:
        """The request as it was asked for."""
        encoded = all("!" <= c <= "~" and c not in "#\\" for c in self.path)
        if not self.path.startswith("/") or not encoded:
            raise UsageError(f"path has to begin with a slash and be encoded, not {self.path!r}")
        if self.path.startswith("//") or ".." in self.path.lower().replace("%2e", "."):
            raise UsageError(f"path must not lead elsewhere: {self.path!r}")
        if not (self.method.isascii() and self.method.isalpha()):
            raise UsageError(f"method has to be one of HTTP's, not {self.method!r}")
        target = with_query(self.path, {**(self.query or {}), **(self.extra_query or {})})
        json = self.json
        if self.extra_body is not None:
            json = {**(json or {}), **self.extra_body}
        headers = config.bare_headers if json is None else config.json_headers
        headers = {**headers, **self.headers(config)}
        body = b"" if json is None else dumps(json)
        return Request(self.method.upper(), config.base_url + target, headers, body, config.limits)

    def parse(self, response: Response, limits: Limits = DEFAULT_LIMITS) -> Response:  # noqa: ARG002  # nothing is parsed
        """The response itself."""
        return response
