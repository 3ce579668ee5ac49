"""Workspaces and their members, in the Admin API: https://docs.claude.com/en/api/admin-api.

These operations need an admin key. The models read the shapes of both API versions.
"""

from collections.abc import Sequence
from typing import Any

from claude_lite.api.organization import ORGANIZATIONS, Deleted
from claude_lite.core.model import Result, model
from claude_lite.core.operation import JSON, Operation, Route, operation
from claude_lite.core.pages import IdPaged
from claude_lite.given.null import Null

__all__ = [
    "AddWorkspaceMember",
    "ArchiveWorkspace",
    "CreateWorkspace",
    "ListWorkspaceMembers",
    "ListWorkspaces",
    "RemoveWorkspaceMember",
    "RetrieveWorkspace",
    "RetrieveWorkspaceMember",
    "UpdateWorkspace",
    "UpdateWorkspaceMember",
    "Workspace",
    "WorkspaceMember",
]


@model
class Workspace(Result):
    """A workspace. An archived workspace keeps its history."""

    id: str
    name: str
    created_at: str | None = None
    archived_at: str | None = None
    display_color: str | None = None
    data_residency: dict[str, Any] | None = None
    compartment_id: str | None = None
    external_key_id: str | None = None
    inference_data_privacy: dict[str, Any] | None = None
    tags: dict[str, str] | None = None
    user_profile_id: str | None = None
    type: str = "workspace"


@model
class WorkspaceMember(Result):
    """The membership of a user in a workspace."""

    user_id: str
    workspace_id: str
    workspace_role: str
    type: str = "workspace_member"


@operation
class CreateWorkspace(Operation[Workspace]):
    """Create a workspace."""

    route = Route("organization.workspaces.create", "POST", f"{ORGANIZATIONS}/workspaces", "never")
    result_type = Workspace

    name: str
    data_residency: JSON | Null | None = None
    display_color: str | Null | None = None
    external_key_id: str | Null | None = None
    tags: JSON | Null | None = None
    user_profile_id: str | Null | None = None


@operation
class RetrieveWorkspace(Operation[Workspace]):
    """Look up one workspace."""

    route = Route(
        "organization.workspaces.retrieve", "GET", ORGANIZATIONS + "/workspaces/{workspace_id}"
    )
    result_type = Workspace

    workspace_id: str


@operation
class ListWorkspaces(IdPaged[Workspace]):
    """List workspaces."""

    route = Route("organization.workspaces.list", "GET", f"{ORGANIZATIONS}/workspaces")
    item_type = Workspace

    ids: Sequence[str] | None = None
    include_archived: bool | None = None
    include_default: bool | None = None


@operation
class UpdateWorkspace(Operation[Workspace]):
    """Change a workspace."""

    route = Route(
        "organization.workspaces.update", "POST", ORGANIZATIONS + "/workspaces/{workspace_id}"
    )
    result_type = Workspace

    workspace_id: str
    name: str | None = None
    data_residency: JSON | Null | None = None
    display_color: str | None = None
    external_key_id: str | None = None
    tags: JSON | Null | None = None
    user_profile_id: str | None = None


@operation
class ArchiveWorkspace(Operation[Workspace]):
    """Archive a workspace. Its API keys stop working."""

    route = Route(
        "organization.workspaces.archive",
        "POST",
        ORGANIZATIONS + "/workspaces/{workspace_id}/archive",
        has_body=False,
    )
    result_type = Workspace

    workspace_id: str


# Members of a workspace

MEMBERS = ORGANIZATIONS + "/workspaces/{workspace_id}/members"


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
    """Change the role of a member."""

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
