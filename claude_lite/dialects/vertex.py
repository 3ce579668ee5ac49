"""Claude on Google Cloud: Vertex AI, and the Claude Platform on Google Cloud.

Both take a Google OAuth token: the client's `auth_token=`; or that of the `credentials`, a
google-auth object; or that of Application Default Credentials. A pickle has no `credentials`.
"""

from typing import Any, Final

from attrs import Factory, field, fields, frozen

from claude_lite.dialects import google_token
from claude_lite.dialects.rewriting import (
    as_bearer,
    body_of,
    default_from_environment,
    environment,
    lacks,
    named,
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
    """What the platforms on Google Cloud have in common."""

    credentials: Any = field(default=None, repr=False, eq=False)

    __attrs_post_init__ = without_slash

    def sign(self, request: Request) -> Request:
        """Add a token; raises `CredentialMissing`."""
        if "authorization" in request.headers:
            return request
        return with_headers(request, as_bearer(google_token.token(self.credentials)))

    def decode(self, head: Response) -> Any:  # noqa: ARG002  # part of the protocol
        """Streams are server-sent events."""
        return None

    def __reduce__(self) -> tuple[Any, ...]:
        names = [a.name for a in fields(type(self)) if a.name != "credentials"]
        return _made, (type(self), {name: getattr(self, name) for name in names})


def _made(cls: Any, values: dict[str, Any]) -> Any:
    return cls(**values)


@frozen(kw_only=True)
class Vertex(_OnGoogleCloud):
    """Google Vertex AI: messages, streamed or not, and counting their tokens.

    `project` defaults to ANTHROPIC_VERTEX_PROJECT_ID or GOOGLE_CLOUD_PROJECT, `region` to
    CLOUD_ML_REGION ("global", "us" and "eu" are regions, too), `base_url` to
    ANTHROPIC_VERTEX_BASE_URL or the region's own. The API version 2023-06-01 is sent as
    `vertex-2023-10-16`.
    """

    project: str = field(
        default=default_from_environment(
            "project", "ANTHROPIC_VERTEX_PROJECT_ID", "GOOGLE_CLOUD_PROJECT"
        ),
        validator=named,
    )
    region: str = field(
        default=default_from_environment("region", "CLOUD_ML_REGION"), validator=named
    )
    base_url: str = field(default=Factory(lambda self: self._own_url(), takes_self=True))

    def _own_url(self) -> str:
        own = f"https://{self.region}-aiplatform.googleapis.com/v1"
        return environment("ANTHROPIC_VERTEX_BASE_URL") or REGIONLESS.get(self.region, own)

    def adapt(self, request: Request) -> Request:
        """POST …/models/{model}:rawPredict: the model leaves the body, the version enters it."""
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


@frozen(kw_only=True)
class ClaudeOnGoogleCloud(_OnGoogleCloud):
    """The Claude Platform on Google Cloud: all of the API, in a workspace, paid through Google.

    `project` defaults to ANTHROPIC_GOOGLE_CLOUD_PROJECT or GOOGLE_CLOUD_PROJECT,
    `workspace_id` and `location` to ANTHROPIC_GOOGLE_CLOUD_WORKSPACE_ID and …_LOCATION (or
    "global"), `base_url` to ANTHROPIC_GOOGLE_CLOUD_BASE_URL or the workspace's own.
    """

    project: str = field(
        default=default_from_environment(
            "project", "ANTHROPIC_GOOGLE_CLOUD_PROJECT", "GOOGLE_CLOUD_PROJECT"
        ),
        validator=named,
    )
    location: str = field(
        default=default_from_environment(
            "location", "ANTHROPIC_GOOGLE_CLOUD_LOCATION", default="global"
        ),
        validator=named,
    )
    workspace_id: str = field(
        default=default_from_environment("workspace_id", "ANTHROPIC_GOOGLE_CLOUD_WORKSPACE_ID"),
        validator=named,
    )
    base_url: str = field(default=Factory(lambda self: self._own_url(), takes_self=True))

    def _own_url(self) -> str:
        place = f"projects/{self.project}/locations/{self.location}/workspaces/{self.workspace_id}"
        own = f"https://claude.googleapis.com/v1/{place}/invoke"
        return environment("ANTHROPIC_GOOGLE_CLOUD_BASE_URL") or own

    def adapt(self, request: Request) -> Request:
        """The API's own request; those of the organization leave the workspace."""
        path = path_of(request, self.base_url)
        _no_key(request)
        inside, workspaces, _ = self.base_url.rpartition("/workspaces/")
        plain = f"{path.partition('?')[0]}/"
        if workspaces and plain.startswith(("/v1/organizations/", "/v1/user_profiles/")):
            url = f"{inside}/claudeOrganization/invoke{path}"
            return Request(request.method, url, request.headers, request.body, request.limits)
        return request


def _no_key(request: Request) -> None:
    if "x-api-key" in request.headers:
        raise UsageError("Google Cloud takes no API key: give auth_token=..., or neither")
