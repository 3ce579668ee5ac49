"""The organization behind the Admin API: its users, invites, workspaces, members and keys.

The organization starts with a few made-up people and workspaces (`seeded`), so that no list is
empty. Times are whole seconds since 1970.
"""

import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final

from attrs import evolve, frozen

from claude_lite.emulator.reading.problems import Problem
from claude_lite.emulator.state.shelves import Shelf

DAY: Final = 86400  # seconds
INVITED_FOR: Final = 21 * DAY
RESIDENCY: Final[Mapping[str, Any]] = {
    "workspace_geo": "us",
    "default_inference_geo": "global",
    "allowed_inference_geos": "unrestricted",
}
ADMIN_ROLE: Final = "admin"  # the API can neither give this role nor take it away


@frozen
class StoredUser:
    """A user of the organization."""

    id: str
    email: str
    name: str
    role: str
    added_at: int


@frozen
class StoredInvite:
    """An invitation to join the organization."""

    id: str
    email: str
    role: str
    invited_at: int
    rbac_group_ids: tuple[str, ...] = ()
    accepted_at: int | None = None
    deleted: bool = False

    @property
    def expires_at(self) -> int:
        """When the invitation expires."""
        return self.invited_at + INVITED_FOR

    def status(self, now: float) -> str:
        """Return the status of the invitation."""
        if self.deleted:
            return "deleted"
        if self.accepted_at is not None:
            return "accepted"
        return "pending" if now < self.expires_at else "expired"


@frozen
class StoredWorkspace:
    """A workspace of the organization."""

    id: str
    name: str
    created_at: int
    compartment_id: str
    display_color: str
    archived_at: int | None = None
    data_residency: Mapping[str, Any] = RESIDENCY
    external_key_id: str | None = None
    tags: Mapping[str, str] = {}
    user_profile_id: str | None = None


@frozen
class StoredMember:
    """A user in a workspace; `id` is the id of the user."""

    id: str
    workspace_id: str
    role: str


@frozen
class StoredAPIKey:
    """The metadata of an API key. A key without a workspace belongs to the organization."""

    id: str
    name: str
    created_at: int
    workspace_id: str | None = None
    user_id: str | None = None  # the user who created the key, and for whom it acts
    service_account_id: str | None = None  # the account for which the key acts instead
    hint: str | None = None
    status: str = "active"


class StoredOrganization:
    """Users, invites, workspaces, members and keys. Safe to share between threads."""

    def __init__(
        self, id_: str, default_workspace_id: str, name: str, now: Callable[[], float]
    ) -> None:
        self.id = id_
        self.default_workspace_id = default_workspace_id
        self.name = name
        self.users: Shelf[StoredUser] = Shelf("User")
        self.invites: Shelf[StoredInvite] = Shelf("Invite")
        self.workspaces: Shelf[StoredWorkspace] = Shelf("Workspace")
        self.members: Shelf[StoredMember] = Shelf("Workspace member")
        self.api_keys: Shelf[StoredAPIKey] = Shelf("API key")
        self._now = now
        self._lock = threading.Lock()

    def invite(self, invite: StoredInvite) -> StoredInvite:
        """Keep an invitation; raises `Problem` if the address has a user or a pending invite."""
        with self._lock:
            for user in self.users.newest_first(self.id):
                if same_email(user.email, invite.email):
                    raise _refused("already_member", f"{invite.email} is already user {user.id}.")
            for other in self.invites.newest_first(self.id):
                if same_email(other.email, invite.email) and self._is_pending(other):
                    message = f"Invite {other.id} for {invite.email} is still pending."
                    raise _refused("invite_already_exists", message)
            return self.invites.put(self.id, invite)

    def withdraw(self, id_: str) -> None:
        """Delete an invitation; raises `Problem` if it is missing or was accepted."""
        with self._lock:
            invite = self.invites.get(self.id, id_)
            if invite.deleted:
                raise self.invites.missing(id_)
            if invite.accepted_at is not None:
                raise Problem(400, "An invite that was accepted cannot be deleted.")
            self.invites.change(self.id, id_, lambda it: evolve(it, deleted=True))

    def remove_user(self, id_: str) -> None:
        """Remove a user, and from all workspaces; raises `Problem` for an admin or the last."""
        with self._lock:
            user = self.users.get(self.id, id_)
            if len(self.users.newest_first(self.id)) == 1:
                raise _refused("cannot_remove_last_member", f"{id_} is the only member.")
            if user.role == ADMIN_ROLE:
                raise Problem(400, "Users with the role admin cannot be removed through the API.")
            self.users.remove(self.id, id_)
            for workspace in self.workspaces.newest_first(self.id):
                with suppress(Problem):
                    self.members.remove(workspace.id, id_)

    def add_member(self, member: StoredMember) -> StoredMember:
        """Add a user to a workspace; raises `Problem` if missing, or a member already."""
        with self._lock:
            self.open_workspace(member.workspace_id)
            self.users.get(self.id, member.id)
            if any(member.id == it.id for it in self.members.newest_first(member.workspace_id)):
                raise Problem(400, f"User {member.id} is already a member of this workspace.")
            return self.members.put(member.workspace_id, member)

    def archive(self, id_: str) -> StoredWorkspace:
        """Archive a workspace and its keys; raises `Problem` for the default workspace."""
        with self._lock:
            if id_ == self.default_workspace_id:
                raise Problem(400, "The default workspace cannot be archived.")
            self.open_workspace(id_)
            for key in self.api_keys.newest_first(self.id):
                if key.workspace_id == id_:
                    self.api_keys.change(self.id, key.id, lambda it: evolve(it, status="archived"))
            at = int(self._now())
            return self.workspaces.change(self.id, id_, lambda it: evolve(it, archived_at=at))

    def open_workspace(self, id_: str) -> StoredWorkspace:
        """Return a workspace that may be changed; raises `Problem` if it is archived."""
        workspace = self.workspaces.get(self.id, id_)
        if workspace.archived_at is not None:
            raise Problem(400, f"Workspace {id_} is archived.")
        return workspace

    def oldest_key_id(self) -> str:
        """Return the id of the oldest key."""
        return self.api_keys.newest_first(self.id)[-1].id

    def _is_pending(self, invite: StoredInvite) -> bool:
        return invite.status(self._now()) == "pending"


def same_email(one: str, other: str) -> bool:
    """Compare addresses as the API does, without regard to case."""
    return one.strip().lower() == other.strip().lower()


def _refused(code: str, message: str) -> Problem:
    return Problem(400, message, details={"error_code": code})
