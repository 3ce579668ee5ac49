"""Claude in Microsoft Foundry: the API's own paths, a host of the resource, and its key.

An Azure AD token is the client's `auth_token=`, a value or the function that mints it.
"""

import os
from typing import Any

from attrs import Factory, field, frozen

from claude_lite.dialects.rewriting import (
    environment,
    lacks,
    named,
    path_of,
    required,
    with_headers,
    without_slash,
)
from claude_lite.errors import CredentialMissing
from claude_lite.wire import MaskedStr, Request, Response

LACKING = ("/v1/messages/batches/", "/v1/models/")


@frozen(kw_only=True)
class Foundry:
    """Microsoft Foundry: the API without batches and models.

    `base_url` defaults to ANTHROPIC_FOUNDRY_BASE_URL, or to the host of the `resource`
    (ANTHROPIC_FOUNDRY_RESOURCE). The key is the client's `api_key=`, or
    ANTHROPIC_FOUNDRY_API_KEY.
    """

    resource: str | None = None
    base_url: str = field(default=Factory(lambda self: self._own_url(), takes_self=True))

    __attrs_post_init__ = without_slash

    def _own_url(self) -> str:
        url = environment("ANTHROPIC_FOUNDRY_BASE_URL")
        if self.resource is None and url:
            return url
        resource = self.resource or required("resource", "ANTHROPIC_FOUNDRY_RESOURCE")
        named(self, _Resource, resource)
        return f"https://{resource}.services.ai.azure.com/anthropic"

    def adapt(self, request: Request) -> Request:
        """The API's own request; a key goes into both of the headers that are looked at."""
        path = path_of(request, self.base_url)
        if f"{path.partition('?')[0]}/".startswith(LACKING):
            raise lacks("Microsoft Foundry", request, path)
        key = request.headers.get("x-api-key")
        return request if key is None else with_headers(request, {"api-key": key})

    def sign(self, request: Request) -> Request:
        """Add the key in the environment, if there is no other; raises `CredentialMissing`."""
        if any(name in request.headers for name in ("authorization", "api-key", "x-api-key")):
            return request
        if not environment("ANTHROPIC_FOUNDRY_API_KEY"):
            raise CredentialMissing(
                "no Foundry key: give api_key=... or auth_token=...,"
                " or set ANTHROPIC_FOUNDRY_API_KEY"
            )
        key = MaskedStr(os.environ["ANTHROPIC_FOUNDRY_API_KEY"].strip())
        return with_headers(request, {"x-api-key": key, "api-key": key})

    def decode(self, head: Response) -> Any:  # noqa: ARG002  # part of the protocol
        """Streams are server-sent events."""
        return None


class _Resource:
    name = "resource"
