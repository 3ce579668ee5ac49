"""Claude on AWS: Bedrock's InvokeModel, Bedrock Mantle, and the Claude Platform on AWS.

All three accept a bearer token or an AWS signature (SigV4). The credential is the first of:

1. the client's `api_key=` or `auth_token=`, sent as a bearer token;
2. the `keys` or the `profile` of the dialect, for a signature;
3. the bearer token in the environment;
4. what botocore finds (environment, files, container, machine), for a signature.
"""

import os
from typing import Any, ClassVar

from attrs import Factory, field, frozen

from claude_lite.dialects import sigv4
from claude_lite.dialects.eventstream import CONTENT_TYPE, EventStreamDecoder
from claude_lite.dialects.rewriting import (
    as_bearer,
    body_of,
    default_from_environment,
    environment,
    hiding,
    key_as_bearer,
    lacks,
    path_of,
    rewritten,
    segment,
    versioned,
    with_betas,
    with_headers,
    without_slash,
)
from claude_lite.dialects.sigv4 import AWSKeys, signed
from claude_lite.wire import MaskedStr, Request, Response

PROFILE_HEADER = "anthropic-user-profile-id"


@frozen(kw_only=True)
class _OnAWS:
    """Base of the dialects for AWS."""

    _SERVICE: ClassVar[str]
    _URL: ClassVar[str]
    _URL_VARIABLE: ClassVar[str]
    _TOKEN_VARIABLE: ClassVar[str] = "AWS_BEARER_TOKEN_BEDROCK"  # noqa: S105  # a variable's name

    region: str = field(
        default=default_from_environment("region", "AWS_REGION", "AWS_DEFAULT_REGION"),
    )
    base_url: str = field(default=Factory(lambda self: self._own_url(), takes_self=True))
    profile: str | None = None
    """A profile in the configuration files of AWS, whose keys sign the requests."""
    keys: AWSKeys | None = None
    """Keys that sign the requests; they go before `profile`."""

    def _own_url(self) -> str:
        return environment(self._URL_VARIABLE) or self._URL.format(region=self.region)

    __attrs_post_init__ = without_slash

    def sign(self, request: Request) -> Request:
        """Add a bearer token or a signature; raises `CredentialMissing` if there is neither."""
        if "authorization" in request.headers:
            return request
        if self._has_token():
            return with_headers(request, as_bearer(MaskedStr(os.environ[self._TOKEN_VARIABLE])))
        return signed(request, self._SERVICE, self.region, self.keys, self.profile)

    def _has_token(self) -> bool:
        own = self.keys is not None or self.profile is not None
        return not own and bool(os.environ.get(self._TOKEN_VARIABLE))

    def is_ready(self) -> bool:
        """Tell whether `sign` gets a credential without I/O."""
        return self._has_token() or self.keys is not None or sigv4.is_ready(self.profile)

    def prepare(self) -> str:
        """Find keys for `sign`; blocks, and raises what `sign` raises."""
        sigv4.find(None, self.profile)
        return "ready"

    def decode(self, head: Response) -> Any:  # noqa: ARG002  # part of the protocol
        """Return None: streams are server-sent events."""
        return None


@hiding
@frozen(kw_only=True)
class Bedrock(_OnAWS):
    """Amazon Bedrock, InvokeModel: creates messages, streamed or not, and nothing else.

    `region` defaults to AWS_REGION or AWS_DEFAULT_REGION. `base_url` defaults to
    ANTHROPIC_BEDROCK_BASE_URL, else to the address for the region. The variable of the bearer
    token is AWS_BEARER_TOKEN_BEDROCK. The API version 2023-06-01 is sent as `bedrock-2023-05-31`.
    """

    _SERVICE = "bedrock"
    _URL = "https://bedrock-runtime.{region}.amazonaws.com"
    _URL_VARIABLE = "ANTHROPIC_BEDROCK_BASE_URL"

    def adapt(self, request: Request) -> Request:
        """Make it POST /model/{model}/invoke.

        `model` and `stream` leave the body; the API version and the betas enter the body.
        """
        path = path_of(request, self.base_url)
        if request.method != "POST" or path != "/v1/messages":
            raise lacks("Amazon Bedrock", request, path)
        body = versioned(body_of(request), request.headers, "bedrock")
        model = segment("model", body.pop("model", None))
        action = "invoke-with-response-stream" if body.pop("stream", None) else "invoke"
        body = with_betas(body, request.headers)
        if PROFILE_HEADER in request.headers:
            body.setdefault("user_profile_id", request.headers[PROFILE_HEADER])
        url = f"{self.base_url}/model/{model}/{action}"
        gone = {"anthropic-version", PROFILE_HEADER}
        return key_as_bearer(rewritten(request, url, body, without=gone, limit=20))

    def decode(self, head: Response) -> Any:
        """Return the decoder of AWS event-stream frames, if the response is made of them."""
        kind = head.headers.get("content-type", "").partition(";")[0].strip().lower()
        return EventStreamDecoder(head).receive if kind == CONTENT_TYPE else None


@hiding
@frozen(kw_only=True)
class BedrockMantle(_OnAWS):
    """Amazon Bedrock Mantle: the operations on /v1/messages, in the API's own form.

    `region` and the bearer token are those of `Bedrock`. `base_url` defaults to
    ANTHROPIC_BEDROCK_MANTLE_BASE_URL, else to the address for the region.
    """

    _SERVICE = "bedrock-mantle"
    _URL = "https://bedrock-mantle.{region}.api.aws/anthropic"
    _URL_VARIABLE = "ANTHROPIC_BEDROCK_MANTLE_BASE_URL"

    def adapt(self, request: Request) -> Request:
        """Leave the request as it is, but move a user profile from its header into the body."""
        path = path_of(request, self.base_url)
        if not f"{path}/".startswith("/v1/messages/"):
            raise lacks("Amazon Bedrock Mantle", request, path)
        if PROFILE_HEADER in request.headers:
            body = {"user_profile_id": request.headers[PROFILE_HEADER], **body_of(request)}
            request = rewritten(request, request.url, body, without={PROFILE_HEADER})
        return key_as_bearer(request)


@hiding
@frozen(kw_only=True)
class ClaudeOnAWS(_OnAWS):
    """The Claude Platform on AWS: the whole API, in one workspace, paid through AWS.

    `workspace_id` defaults to ANTHROPIC_AWS_WORKSPACE_ID. `region` defaults to AWS_REGION or
    AWS_DEFAULT_REGION. `base_url` defaults to ANTHROPIC_AWS_BASE_URL, else to the address for
    the region. The variable of the bearer token is ANTHROPIC_AWS_API_KEY.
    """

    _SERVICE = "aws-external-anthropic"
    _URL = "https://aws-external-anthropic.{region}.api.aws"
    _URL_VARIABLE = "ANTHROPIC_AWS_BASE_URL"
    _TOKEN_VARIABLE = "ANTHROPIC_AWS_API_KEY"  # noqa: S105  # a variable's name

    workspace_id: str = field(
        default=default_from_environment("workspace_id", "ANTHROPIC_AWS_WORKSPACE_ID"),
    )

    def adapt(self, request: Request) -> Request:
        """Leave the request as it is, but add the workspace as a header."""
        path_of(request, self.base_url)
        workspace = {"anthropic-workspace-id": self.workspace_id}
        return key_as_bearer(with_headers(request, {**workspace, **request.headers}))
