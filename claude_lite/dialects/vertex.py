"""Claude on Google Cloud: Vertex AI, and the Claude Platform on Google Cloud.

Both need a Google OAuth token. It is the first of: the client's `auth_token=`; a token of the
`credentials`, an object of google-auth; a token of Application Default Credentials.
"""

from typing import Any, Final

from attrs import Factory, field, fields, frozen

from claude_lite.dialects import google_token
from claude_lite.dialects.rewriting import (
    as_bearer,
    body_of,
    default_from_environment,
    environment,
    hiding,
    lacks,
    path_of,
    rewritten,
    segment,
    versioned,
    with_headers,
    without_slash,
)
from claude_lite.errors import UsageError
from claude_lite.wire import Request, Response

REGIONLESS: Final = {
    "global": "https://aiplatform.googleapis.com/v1",
    "us": "https://aiplatform.us.rep.googleapis.com/v1",
    "eu": "https://aiplatform.eu.rep.googleapis.com/v1",
}


@frozen(kw_only=True)
class _OnGoogleCloud:
    """Base of the dialects for Google Cloud."""

    credentials: Any = field(default=None, repr=False, eq=False)
    """An object of google-auth; a pickle of the dialect does not have it."""

    __attrs_post_init__ = without_slash

    def sign(self, request: Request) -> Request:
        """Add a token to a request that has none; raises what `google_token.token` raises."""
        if "authorization" in request.headers:
            return request
        return with_headers(request, as_bearer(google_token.token(self.credentials)))

    def is_ready(self) -> bool:
        """Tell whether `sign` gets a token without I/O."""
        return google_token.is_ready(self.credentials)

    def prepare(self) -> str:
        """Get a token for `sign`; blocks, and raises what `google_token.token` raises."""
        google_token.token(self.credentials)
        return "ready"

    def decode(self, head: Response) -> Any:  # noqa: ARG002  # part of the protocol
        """Return None: streams are server-sent events."""
        return None

    def __reduce__(self) -> tuple[Any, ...]:
        names = [a.name for a in fields(type(self)) if a.name != "credentials"]
        return _made, (type(self), {name: getattr(self, name) for name in names})


def _made(cls: Any, values: dict[str, Any]) -> Any:
    return cls(**values)


@hiding
@frozen(kw_only=True)
class Vertex(_OnGoogleCloud):
    """Google Vertex AI: creates messages, streamed or not, and counts their tokens.

    `project` defaults to ANTHROPIC_VERTEX_PROJECT_ID or GOOGLE_CLOUD_PROJECT. `region` defaults
    to CLOUD_ML_REGION; "global", "us" and "eu" are regions, too. `base_url` defaults to
    ANTHROPIC_VERTEX_BASE_URL, else to the address for the region. The API version 2023-06-01 is
    sent as `vertex-2023-10-16`.
    """

    project: str = field(
        default=default_from_environment(
            "project", "ANTHROPIC_VERTEX_PROJECT_ID", "GOOGLE_CLOUD_PROJECT"
        ),
    )
    region: str = field(default=default_from_environment("region", "CLOUD_ML_REGION"))
    base_url: str = field(default=Factory(lambda self: self._own_url(), takes_self=True))

    def _own_url(self) -> str:
        own = f"https://{self.region}-aiplatform.googleapis.com/v1"
        return environment("ANTHROPIC_VERTEX_BASE_URL") or REGIONLESS.get(self.region, own)

    def adapt(self, request: Request) -> Request:
        """Make it POST …/models/{model}:rawPredict.

        `model` leaves the body of a message; the API version enters the body.
        """
        path = path_of(request, self.base_url)
        if request.method != "POST" or path not in {"/v1/messages", "/v1/messages/count_tokens"}:
            raise lacks("Vertex AI", request, path)
        _no_key(request)
        body = versioned(body_of(request), request.headers, "vertex")
        if path == "/v1/messages":
            model = segment("model", body.pop("model", None))
            target = f"{model}:{'streamRawPredict' if body.get('stream') else 'rawPredict'}"
        else:
            target = "count-tokens:rawPredict"
        place = f"/projects/{self.project}/locations/{self.region}/publishers/anthropic/models/"
        url = f"{self.base_url}{place}{target}"
        return rewritten(request, url, body, without={"anthropic-version"}, limit=30)


@hiding
@frozen(kw_only=True)
class ClaudeOnGoogleCloud(_OnGoogleCloud):
    """The Claude Platform on Google Cloud: the whole API, in one workspace, paid through Google.

    `project` defaults to ANTHROPIC_GOOGLE_CLOUD_PROJECT or GOOGLE_CLOUD_PROJECT. `location`
    defaults to ANTHROPIC_GOOGLE_CLOUD_LOCATION, else to "global". `workspace_id` defaults to
    ANTHROPIC_GOOGLE_CLOUD_WORKSPACE_ID. `base_url` defaults to ANTHROPIC_GOOGLE_CLOUD_BASE_URL,
    else to the address of the workspace.
    """

    project: str = field(
        default=default_from_environment(
            "project", "ANTHROPIC_GOOGLE_CLOUD_PROJECT", "GOOGLE_CLOUD_PROJECT"
        ),
    )
    location: str = field(
        default=default_from_environment(
            "location", "ANTHROPIC_GOOGLE_CLOUD_LOCATION", default="global"
        ),
    )
    workspace_id: str = field(
        default=default_from_environment("workspace_id", "ANTHROPIC_GOOGLE_CLOUD_WORKSPACE_ID"),
    )
    base_url: str = field(default=Factory(lambda self: self._own_url(), takes_self=True))

    def _own_url(self) -> str:
        place = f"projects/{self.project}/locations/{self.location}/workspaces/{self.workspace_id}"
        own = f"https://claude.googleapis.com/v1/{place}/invoke"
        return environment("ANTHROPIC_GOOGLE_CLOUD_BASE_URL") or own

    def adapt(self, request: Request) -> Request:
        """Send requests of the organization outside of the workspace; leave others as they are."""
        path = path_of(request, self.base_url)
        _no_key(request)
        inside, workspaces, _ = self.base_url.rpartition("/workspaces/")
        endpoint = f"{path.partition('?')[0]}/"
        if workspaces and endpoint.startswith(("/v1/organizations/", "/v1/user_profiles/")):
            url = f"{inside}/claudeOrganization/invoke{path}"
            return Request(request.method, url, request.headers, request.body, request.limits)
        return request


def _no_key(request: Request) -> None:
    if "x-api-key" in request.headers:
        raise UsageError(
            "Google Cloud takes no API key: give auth_token=... instead of api_key=..."
        )
