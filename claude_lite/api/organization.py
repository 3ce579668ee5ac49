"""The Admin API: https://docs.claude.com/en/api/admin-api. It needs an admin key.

The organization, its invites, users and API keys. Workspaces are in `workspaces.py`, reports in
`reports.py`. The models read the shapes of both API versions.
"""

from collections.abc import Sequence
from typing import Any

from claude_lite.core.model import Result, model
from claude_lite.core.operation import Operation, Route, operation
from claude_lite.core.pages import IdPaged
from claude_lite.given.null import Null

__all__ = [
    "APIKey",
    "CreateInvite",
    "DeleteInvite",
    "Deleted",
    "Invite",
    "ListAPIKeys",
    "ListInvites",
    "ListUsers",
    "Organization",
    "RemoveUser",
    "RetrieveAPIKey",
    "RetrieveInvite",
    "RetrieveOrganization",
    "RetrieveUser",
    "UpdateAPIKey",
    "UpdateUser",
    "User",
]

ORGANIZATIONS = "/v1/organizations"


@model
class Organization(Result):
    """The organization that the key belongs to."""

    id: str
    name: str
    type: str = "organization"


@model
class Invite(Result):
    """An invitation. Times are RFC 3339."""

    id: str
    email: str
    role: str
    status: str
    """accepted, deleted, expired or pending."""
    invited_at: str | None = None
    expires_at: str | None = None
    accepted_at: str | None = None
    rbac_group_ids: list[str] | None = None
    type: str = "invite"


@model
class User(Result):
    """A member of the organization."""

    id: str
    email: str
    name: str
    role: str
    """user, developer, billing, admin, ..."""
    added_at: str | None = None
    type: str = "user"


@model
class APIKey(Result):
    """An API key; the secret itself is not shown."""

    id: str
    name: str
    status: str
    """active, inactive, archived or expired."""
    created_at: str | None = None
    created_by: dict[str, Any] | None = None
    expires_at: str | None = None
    partial_key_hint: str | None = None
    principal: dict[str, Any] | None = None
    scope: dict[str, Any] | None = None
    """Where the key is valid, from API version 2026-10-21 on."""
    workspace_id: str | None = None
    """Where the key is valid, under older API versions."""
    type: str = "api_key"


@model
class Deleted(Result):
    """The answer to a deletion or a removal."""

    type: str
    """The kind of the deleted object, such as invite_deleted."""
    id: str | None = None
    user_id: str | None = None
    workspace_id: str | None = None


@operation
class RetrieveOrganization(Operation[Organization]):
    """Look up the organization that the key belongs to."""

    route = Route("organization.retrieve", "GET", f"{ORGANIZATIONS}/me")
    result_type = Organization


# Invites


@operation
class CreateInvite(Operation[Invite]):
    """Invite someone by email; the invitation is valid for 21 days."""

    route = Route("organization.invites.create", "POST", f"{ORGANIZATIONS}/invites", "never")
    result_type = Invite

    email: str
    role: str
    rbac_group_ids: Sequence[str] | None = None


@operation
class RetrieveInvite(Operation[Invite]):
    """Look up one invitation."""

    route = Route("organization.invites.retrieve", "GET", ORGANIZATIONS + "/invites/{invite_id}")
    result_type = Invite

    invite_id: str


@operation
class ListInvites(IdPaged[Invite]):
    """List invitations."""

    route = Route("organization.invites.list", "GET", f"{ORGANIZATIONS}/invites")
    item_type = Invite

    email: str | None = None
    roles: Sequence[str] | None = None
    statuses: Sequence[str] | None = None


@operation
class DeleteInvite(Operation[Deleted]):
    """Withdraw an invitation."""

    route = Route("organization.invites.delete", "DELETE", ORGANIZATIONS + "/invites/{invite_id}")
    result_type = Deleted

    invite_id: str


# Users


@operation
class RetrieveUser(Operation[User]):
    """Look up one user."""

    route = Route("organization.users.retrieve", "GET", ORGANIZATIONS + "/users/{user_id}")
    result_type = User

    user_id: str


@operation
class ListUsers(IdPaged[User]):
    """List the users of the organization."""

    route = Route("organization.users.list", "GET", f"{ORGANIZATIONS}/users")
    item_type = User

    email: str | None = None
    roles: Sequence[str] | None = None


@operation
class UpdateUser(Operation[User]):
    """Change a user's role."""

    route = Route("organization.users.update", "POST", ORGANIZATIONS + "/users/{user_id}")
    result_type = User

    user_id: str
    role: str


@operation
class RemoveUser(Operation[Deleted]):
    """Remove a user from the organization."""

    route = Route("organization.users.remove", "DELETE", ORGANIZATIONS + "/users/{user_id}")
    result_type = Deleted

    user_id: str


# API keys


@operation
class RetrieveAPIKey(Operation[APIKey]):
    """Look up one API key."""

    route = Route("organization.api_keys.retrieve", "GET", ORGANIZATIONS + "/api_keys/{api_key_id}")
    result_type = APIKey

    api_key_id: str


@operation
class ListAPIKeys(IdPaged[APIKey]):
    """List API keys."""

    route = Route("organization.api_keys.list", "GET", f"{ORGANIZATIONS}/api_keys")
    item_type = APIKey

    status: str | None = None
    workspace_id: str | None = None
    created_by_user_id: str | None = None


@operation
class UpdateAPIKey(Operation[APIKey]):
    """Rename an API key, or change its status to active, inactive or archived."""

    route = Route("organization.api_keys.update", "POST", ORGANIZATIONS + "/api_keys/{api_key_id}")
    result_type = APIKey

    api_key_id: str
    name: str | Null | None = None
    status: str | Null | None = None
