"""Claude in Microsoft Foundry: the API's own paths on the host of a resource, with its key.

To use an Azure AD token, give the client `auth_token=`: the token, or a function that gets one.
"""

import os
from typing import Any

from attrs import Factory, field, frozen

from claude_lite.core.credentials import checked_credential
from claude_lite.dialects.rewriting import (
    checked_name,
    environment,
    hiding,
    lacks,
    path_of,
    required,
    with_headers,
    without_slash,
)
from claude_lite.errors import CredentialMissing, UsageError
from claude_lite.wire import MaskedStr, Request, Response

LACKING = ("/v1/messages/batches/", "/v1/models/")


@hiding
@frozen(kw_only=True)
class Foundry:
    """Microsoft Foundry: the API without batches and models.

    `base_url` defaults to the address of the `resource`; without a `resource`, to
    ANTHROPIC_FOUNDRY_BASE_URL, else to the address of ANTHROPIC_FOUNDRY_RESOURCE. The key is the
    client's `api_key=`, else ANTHROPIC_FOUNDRY_API_KEY.
    """

    resource: str | None = None
    base_url: str = field(default=Factory(lambda self: self._own_url(), takes_self=True))

    __attrs_post_init__ = without_slash

    def _own_url(self) -> str:
        url = environment("ANTHROPIC_FOUNDRY_BASE_URL")
        if self.resource is None and url:
            return url
        resource = self.resource or required("resource", "ANTHROPIC_FOUNDRY_RESOURCE")
        resource = checked_name("resource", resource)
        if isinstance(resource, UsageError):
            raise resource
        return f"https://{resource}.services.ai.azure.com/anthropic"

    def adapt(self, request: Request) -> Request:
        """Leave the request as it is, but send a key in both headers that Foundry reads."""
        path = path_of(request, self.base_url)
        if f"{path.partition('?')[0]}/".startswith(LACKING):
            raise lacks("Microsoft Foundry", request, path)
        key = request.headers.get("x-api-key")
        return request if key is None else with_headers(request, {"api-key": key})

    def sign(self, request: Request) -> Request:
        """Add the key of the environment to a request that has no credential.

        Raises `CredentialMissing` if the environment has no key.
        """
        if any(name in request.headers for name in ("authorization", "api-key", "x-api-key")):
            return request
        if not environment("ANTHROPIC_FOUNDRY_API_KEY"):
            raise CredentialMissing(
                "no Foundry key: give api_key=... or auth_token=...,"
                " or set ANTHROPIC_FOUNDRY_API_KEY"
            )
        name = "ANTHROPIC_FOUNDRY_API_KEY"
        key = checked_credential(name, MaskedStr(os.environ[name]))
        return with_headers(request, {"x-api-key": key, "api-key": key})

    def decode(self, head: Response) -> Any:  # noqa: ARG002  # part of the protocol
        """Return None: streams are server-sent events."""
        return None
