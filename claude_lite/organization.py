"""The Admin API: https://docs.claude.com/en/api/admin-api. It takes an admin key.

Organization, invites, users, workspaces and their members, API keys. Reports are in
`claude_lite.reports`. Models read the shapes of both API versions.
"""

from collections.abc import Sequence
from typing import Any

from claude_lite.model import Result, model
from claude_lite.operations import JSON, Operation, Route, operation
from claude_lite.pages import IdPaged

ROOT = "/v1/organizations"


@model
class Organization(Result):
    """The organization that the key belongs to."""

    id: str
    name: str
    type: str = "organization"


@model
class Invite(Result):
    """An invitation. `status` is accepted, deleted, expired or pending; times in RFC 3339."""

    id: str
    email: str
    role: str
    status: str
    invited_at: str | None = None
    expires_at: str | None = None
    accepted_at: str | None = None
    rbac_group_ids: list[str] | None = None
    type: str = "invite"


@model
class User(Result):
    """A member of the organization. `role` is user, developer, billing, admin, ..."""

    id: str
    email: str
    name: str
    role: str
    added_at: str | None = None
    type: str = "user"


@model
class Workspace(Result):
    """A workspace; archived ones keep their history."""

    id: str
    name: str
    created_at: str | None = None
    archived_at: str | None = None
    display_color: str | None = None
    data_residency: dict[str, Any] | None = None
    compartment_id: str | None = None
    external_key_id: str | None = None
    tags: dict[str, str] | None = None
    user_profile_id: str | None = None
    type: str = "workspace"


@model
class WorkspaceMember(Result):
    """A user's membership of a workspace."""

    user_id: str
    workspace_id: str
    workspace_role: str
    type: str = "workspace_member"


@model
class APIKey(Result):
    """An API key, without the key. `status` is active, inactive, archived or expired.

    `scope` says where it holds; under API versions before 2026-10-21 `workspace_id` does.
    """

    id: str
    name: str
    status: str
    created_at: str | None = None
    created_by: dict[str, Any] | None = None
    expires_at: str | None = None
    partial_key_hint: str | None = None
    principal: dict[str, Any] | None = None
    scope: dict[str, Any] | None = None
    workspace_id: str | None = None
    type: str = "api_key"


@model
class Deleted(Result):
    """What was deleted or removed: `type` says which kind of thing."""

    type: str
    id: str | None = None
    user_id: str | None = None
    workspace_id: str | None = None


@operation
class RetrieveOrganization(Operation[Organization]):
    """Look up the organization that the key belongs to."""

    route = Route("organization.retrieve", "GET", f"{ROOT}/me")
    result_type = Organization


# Invites


@operation
class CreateInvite(Operation[Invite]):
    """Invite someone by email; the invitation holds for 21 days."""

    route = Route("organization.invites.create", "POST", f"{ROOT}/invites", "never")
    result_type = Invite

    email: str
    role: str
    rbac_group_ids: Sequence[str] | None = None


@operation
class RetrieveInvite(Operation[Invite]):
    """Look up one invitation."""

    route = Route("organization.invites.retrieve", "GET", ROOT + "/invites/{invite_id}")
    result_type = Invite

    invite_id: str


@operation
class ListInvites(IdPaged[Invite]):
    """List invitations."""

    route = Route("organization.invites.list", "GET", f"{ROOT}/invites")
    item_type = Invite

    email: str | None = None
    roles: Sequence[str] | None = None
    statuses: Sequence[str] | None = None


@operation
class DeleteInvite(Operation[Deleted]):
    """Withdraw an invitation."""

    route = Route("organization.invites.delete", "DELETE", ROOT + "/invites/{invite_id}")
    result_type = Deleted

    invite_id: str


# Users


@operation
class RetrieveUser(Operation[User]):
    """Look up one user."""

    route = Route("organization.users.retrieve", "GET", ROOT + "/users/{user_id}")
    result_type = User

    user_id: str


@operation
class ListUsers(IdPaged[User]):
    """List the users of the organization."""

    route = Route("organization.users.list", "GET", f"{ROOT}/users")
    item_type = User

    email: str | None = None
    roles: Sequence[str] | None = None


@operation
class UpdateUser(Operation[User]):
    """Change a user's role."""

    route = Route("organization.users.update", "POST", ROOT + "/users/{user_id}")
    result_type = User

    user_id: str
    role: str


@operation
class RemoveUser(Operation[Deleted]):
    """Remove a user from the organization."""

    route = Route("organization.users.remove", "DELETE", ROOT + "/users/{user_id}")
    result_type = Deleted

    user_id: str


# Workspaces


@operation
class CreateWorkspace(Operation[Workspace]):
    """Create a workspace."""

    route = Route("organization.workspaces.create", "POST", f"{ROOT}/workspaces", "never")
    result_type = Workspace

    name: str
    data_residency: JSON | None = None
    display_color: str | None = None
    external_key_id: str | None = None
    tags: JSON | None = None
    user_profile_id: str | None = None


@operation
class RetrieveWorkspace(Operation[Workspace]):
    """Look up one workspace."""

    route = Route("organization.workspaces.retrieve", "GET", ROOT + "/workspaces/{workspace_id}")
    result_type = Workspace

    workspace_id: str


@operation
class ListWorkspaces(IdPaged[Workspace]):
    """List workspaces."""

    route = Route("organization.workspaces.list", "GET", f"{ROOT}/workspaces")
    item_type = Workspace

    ids: Sequence[str] | None = None
    include_archived: bool | None = None
    include_default: bool | None = None


@operation
class UpdateWorkspace(Operation[Workspace]):
    """Change a workspace."""

    route = Route("organization.workspaces.update", "POST", ROOT + "/workspaces/{workspace_id}")
    result_type = Workspace

    workspace_id: str
    name: str | None = None
    data_residency: JSON | None = None
    display_color: str | None = None
    external_key_id: str | None = None
    tags: JSON | None = None
    user_profile_id: str | None = None


@operation
class ArchiveWorkspace(Operation[Workspace]):
    """Archive a workspace; its API keys stop working."""

    route = Route(
        "organization.workspaces.archive",
        "POST",
        ROOT + "/workspaces/{workspace_id}/archive",
        has_body=False,
    )
    result_type = Workspace

    workspace_id: str


# Members of a workspace

MEMBERS = ROOT + "/workspaces/{workspace_id}/members"


@operation
class AddWorkspaceMember(Operation[WorkspaceMember]):
    """Add a user to a workspace."""

    route = Route("organization.workspaces.members.add", "POST", MEMBERS, "never")
    result_type = WorkspaceMember

    workspace_id: str
    user_id: str
    workspace_role: str


@operation
class RetrieveWorkspaceMember(Operation[WorkspaceMember]):
    """Look up one membership."""

    route = Route("organization.workspaces.members.retrieve", "GET", MEMBERS + "/{user_id}")
    result_type = WorkspaceMember

    workspace_id: str
    user_id: str


@operation
class ListWorkspaceMembers(IdPaged[WorkspaceMember]):
    """List the members of a workspace."""

    route = Route("organization.workspaces.members.list", "GET", MEMBERS)
    item_type = WorkspaceMember

    workspace_id: str


@operation
class UpdateWorkspaceMember(Operation[WorkspaceMember]):
    """Change a member's role."""

    route = Route("organization.workspaces.members.update", "POST", MEMBERS + "/{user_id}")
    result_type = WorkspaceMember

    workspace_id: str
    user_id: str
    workspace_role: str


@operation
class RemoveWorkspaceMember(Operation[Deleted]):
    """Remove a user from a workspace."""

    route = Route("organization.workspaces.members.remove", "DELETE", MEMBERS + "/{user_id}")
    result_type = Deleted

    workspace_id: str
    user_id: str


# API keys


@operation
class RetrieveAPIKey(Operation[APIKey]):
    """Look up one API key."""

    route = Route("organization.api_keys.retrieve", "GET", ROOT + "/api_keys/{api_key_id}")
    result_type = APIKey

    api_key_id: str


@operation
class ListAPIKeys(IdPaged[APIKey]):
    """List API keys."""

    route = Route("organization.api_keys.list", "GET", f"{ROOT}/api_keys")
    item_type = APIKey

    status: str | None = None
    workspace_id: str | None = None
    created_by_user_id: str | None = None


@operation
class UpdateAPIKey(Operation[APIKey]):
    """Rename an API key, or change its status: active, inactive, archived."""

    route = Route("organization.api_keys.update", "POST", ROOT + "/api_keys/{api_key_id}")
    result_type = APIKey

    api_key_id: str
    name: str | None = None
    status: str | None = None
