"""The organization with which an emulator starts: made-up people, workspaces and keys."""

from collections.abc import Callable
from typing import Final

from claude_lite.emulator.state.stored_organization import (
    DAY,
    StoredAPIKey,
    StoredInvite,
    StoredMember,
    StoredOrganization,
    StoredUser,
    StoredWorkspace,
)

ORGANIZATION_NAME: Final = "Lantern Labs"
FOUNDED: Final = 1_767_600_000  # 2026-01-05T08:00:00Z
PEOPLE: Final = (  # name, role
    ("Mara Lindqvist", "admin"),
    ("Tomas Okafor", "developer"),
    ("Ines Duarte", "developer"),
    ("Ken Sato", "billing"),
    ("Priya Nair", "claude_code_user"),
    ("Noor Haddad", "user"),
)
"""Ordered by the day on which they joined."""

NewNumberedId = Callable[[str, int, int], str]  # from a prefix, 0 and a number, to an id


def email_of(name: str) -> str:
    """Return the address of a person in the organization."""
    return f"{name.partition(' ')[0].lower()}@lantern.example"


def settle(organization: StoredOrganization, new_id: NewNumberedId, now: float) -> None:
    """Fill an empty *organization*. *new_id* makes ids; *now* decides when one invite was sent."""
    root = organization.id
    users = [
        StoredUser(new_id("user_01", 0, i), email_of(name), name, role, FOUNDED + i * DAY)
        for i, (name, role) in enumerate(PEOPLE)
    ]
    for user in users:
        organization.users.put(root, user)
    mara, tomas, ines, *_ = users

    default = organization.default_workspace_id
    workspaces = [
        StoredWorkspace(
            id=new_id("wrkspc_01", 0, i) if i else default,
            name=name,
            created_at=FOUNDED + i * DAY,
            compartment_id=new_id("cmpt_01", 0, i),
            display_color=color,
            archived_at=FOUNDED + 60 * DAY if name == "Prototype" else None,
        )
        for i, (name, color) in enumerate(
            (
                ("Default", "#6C5BB9"),
                ("Prototype", "#A0522D"),
                ("Research", "#2E7D6B"),
                ("Production", "#C2410C"),
            )
        )
    ]
    for workspace in workspaces:
        organization.workspaces.put(root, workspace)
    _, prototype, research, production = workspaces
    for workspace, user, role in (
        (prototype, tomas, "workspace_admin"),
        (research, tomas, "workspace_admin"),
        (research, ines, "workspace_developer"),
        (production, mara, "workspace_admin"),
        (production, ines, "workspace_restricted_developer"),
    ):
        organization.members.put(workspace.id, StoredMember(user.id, workspace.id, role))

    keys: tuple[tuple[str, str | None, StoredUser | None, str], ...] = (
        ("ci", default, mara, "active"),
        ("prototype", prototype.id, tomas, "archived"),
        ("notebooks", research.id, ines, "inactive"),
        ("serving", production.id, mara, "active"),
        ("nightly-reports", None, None, "active"),
    )
    for i, (name, workspace_id, owner, status) in enumerate(keys):
        id_ = new_id("apikey_01", 0, i)
        key = StoredAPIKey(
            id=id_,
            name=name,
            created_at=FOUNDED + (10 + i) * DAY,
            workspace_id=workspace_id,
            user_id=owner.id if owner else None,
            service_account_id=None if owner else new_id("svac_01", 0, i),
            hint=f"sk-ant-api03-{id_[-7:-4]}...{id_[-4:]}",
            status=status,
        )
        organization.api_keys.put(root, key)

    invites = (
        StoredInvite(
            new_id("invite_01", 0, 0),
            ines.email,
            ines.role,
            invited_at=ines.added_at - DAY,
            accepted_at=ines.added_at,
        ),
        StoredInvite(
            new_id("invite_01", 0, 1), "lena@lantern.example", "user", invited_at=FOUNDED + 9 * DAY
        ),
        StoredInvite(
            new_id("invite_01", 0, 2),
            "omar@lantern.example",
            "developer",
            invited_at=int(now) - 2 * DAY,
        ),
    )
    for invite in invites:
        organization.invites.put(root, invite)
