"""The routes of the Admin API for the organization itself: invites, users and API keys.

The module `workspaces` has the routes for workspaces; `claude_lite.emulator.state.credentials`
says which keys may use the Admin API.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from attrs import evolve

from claude_lite.emulator.reading.checks import (
    filled,
    listing,
    literal,
    nullable,
    pattern,
    record,
    string,
)
from claude_lite.emulator.reading.paging import id_page, only, read_query
from claude_lite.emulator.reading.problems import Problem
from claude_lite.emulator.reading.routing import Answer, Call, ServedRoute
from claude_lite.emulator.state.rate_limits import timestamp
from claude_lite.emulator.state.stored_organization import (
    ADMIN_ROLE,
    StoredAPIKey,
    StoredInvite,
    StoredUser,
    same_email,
)
from claude_lite.emulator.state.world import World

ORGANIZATIONS_PATH: Final = "/v1/organizations"
SCOPES_SINCE: Final = (
    "2026-10-21"  # from this version on, keys have a scope instead of a workspace_id
)

_GIVEN: Final = literal("billing", "claude_code_user", "developer", "managed", "user")
_INVITE: Final = record(
    {"email": pattern(r"^[^@\s]+@[^@\s]+\.[^@\s]+$"), "role": _GIVEN},
    {"rbac_group_ids": listing(filled)},
    closed=True,
)
_USER: Final = record({"role": _GIVEN}, closed=True)
_API_KEY: Final = record(
    {},
    {"name": nullable(string), "status": nullable(literal("active", "archived", "inactive"))},
    closed=True,
)
_KEY_STATUS: Final = literal("active", "archived", "expired", "inactive")
_INVITE_STATUS: Final = literal("accepted", "expired", "pending")


class OrganizationRoutes:
    """Answers the paths `me`, `invites`, `users` and `api_keys` below `/v1/organizations/`."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._organization = world.organization

    def routes(self) -> Sequence[ServedRoute]:
        """List the routes."""
        invites, users, keys = (
            f"{ORGANIZATIONS_PATH}/{name}" for name in ("invites", "users", "api_keys")
        )
        plain = (
            ("GET", f"{ORGANIZATIONS_PATH}/me", self.retrieve),
            ("POST", invites, self.create_invite),
            ("GET", invites, self.list_invites),
            ("GET", invites + "/{id}", self.retrieve_invite),
            ("DELETE", invites + "/{id}", self.delete_invite),
            ("GET", users, self.list_users),
            ("GET", users + "/{id}", self.retrieve_user),
            ("POST", users + "/{id}", self.update_user),
            ("DELETE", users + "/{id}", self.remove_user),
            ("GET", keys, self.list_keys),
            ("GET", keys + "/{id}", self.retrieve_key),
            ("POST", keys + "/{id}", self.update_key),
        )
        return [ServedRoute(m, path, answer, per_workspace=False) for m, path, answer in plain]

    def retrieve(self, _call: Call) -> Answer:
        """Show the organization."""
        it = self._organization
        return Answer.json({"id": it.id, "type": "organization", "name": it.name})

    def create_invite(self, call: Call) -> Answer:
        """Create an invitation."""
        body = call.json()
        _INVITE(body, "")
        invite = StoredInvite(
            id=self._world.new_id("invite_01", call.number),
            email=body["email"],
            role=body["role"],
            invited_at=int(self._world.now()),
            rbac_group_ids=tuple(body.get("rbac_group_ids", ())),
        )
        return Answer.json(self._show_invite(self._organization.invite(invite)))

    def list_invites(self, call: Call) -> Answer:
        """List invitations, the newest first, without deleted ones."""
        query, now = read_query(call.query), self._world.now()
        email, roles, statuses = only(query, "email"), query.get("roles"), query.get("statuses")
        for i, status in enumerate(statuses or ()):
            _INVITE_STATUS(status, f"statuses.{i}")
        found = [
            it
            for it in self._organization.invites.newest_first(self._organization.id)
            if not it.deleted
            and (email is None or same_email(it.email, email))
            and (not roles or it.role in roles)
            and (not statuses or it.status(now) in statuses)
        ]
        return Answer.json(id_page(found, query, self._show_invite))

    def retrieve_invite(self, call: Call) -> Answer:
        """Show one invitation, even if it is deleted."""
        found = self._organization.invites.get(self._organization.id, call.params["id"])
        return Answer.json(self._show_invite(found))

    def delete_invite(self, call: Call) -> Answer:
        """Delete an invitation."""
        self._organization.withdraw(call.params["id"])
        return Answer.json({"id": call.params["id"], "type": "invite_deleted"})

    def list_users(self, call: Call) -> Answer:
        """List users, the newest first."""
        query = read_query(call.query)
        email, roles = only(query, "email"), query.get("roles")
        found = [
            it
            for it in self._organization.users.newest_first(self._organization.id)
            if (email is None or same_email(it.email, email)) and (not roles or it.role in roles)
        ]
        return Answer.json(id_page(found, query, _show_user))

    def retrieve_user(self, call: Call) -> Answer:
        """Show one user."""
        return Answer.json(_show_user(self._user(call)))

    def update_user(self, call: Call) -> Answer:
        """Change a user's role."""
        body = call.json()
        _USER(body, "")
        if self._user(call).role == ADMIN_ROLE:
            raise Problem(400, "The role admin cannot be changed through the API.")
        users, role = self._organization.users, body["role"]
        changed = users.change(
            self._organization.id, call.params["id"], lambda it: evolve(it, role=role)
        )
        return Answer.json(_show_user(changed))

    def remove_user(self, call: Call) -> Answer:
        """Remove a user from the organization and all of its workspaces."""
        self._organization.remove_user(call.params["id"])
        return Answer.json({"id": call.params["id"], "type": "user_deleted"})

    def list_keys(self, call: Call) -> Answer:
        """List API keys, the newest first."""
        query = read_query(call.query)
        status, workspace_id = only(query, "status"), only(query, "workspace_id")
        creator = only(query, "created_by_user_id")
        if status is not None:
            _KEY_STATUS(status, "status")
        found = [
            it
            for it in self._organization.api_keys.newest_first(self._organization.id)
            if (status is None or it.status == status)
            and (workspace_id is None or it.workspace_id == workspace_id)
            and (creator is None or it.user_id == creator)
        ]
        return Answer.json(id_page(found, query, lambda it: self._show_key(it, call.version)))

    def retrieve_key(self, call: Call) -> Answer:
        """Show one API key."""
        found = self._organization.api_keys.get(self._organization.id, call.params["id"])
        return Answer.json(self._show_key(found, call.version))

    def update_key(self, call: Call) -> Answer:
        """Rename a key, or change its status; an archived key stays archived."""
        body = call.json()
        _API_KEY(body, "")
        changes = {name: value for name, value in body.items() if value is not None}

        def change(it: StoredAPIKey) -> StoredAPIKey:
            if it.status == "archived" and changes.get("status", it.status) != "archived":
                raise Problem(400, "An archived API key cannot be activated again.")
            return evolve(it, **changes)

        keys = self._organization.api_keys
        changed = keys.change(self._organization.id, call.params["id"], change)
        return Answer.json(self._show_key(changed, call.version))

    def _user(self, call: Call) -> StoredUser:
        return self._organization.users.get(self._organization.id, call.params["id"])

    def _show_invite(self, it: StoredInvite) -> Mapping[str, Any]:
        return {
            "id": it.id,
            "type": "invite",
            "email": it.email,
            "role": it.role,
            "status": it.status(self._world.now()),
            "invited_at": timestamp(it.invited_at),
            "expires_at": timestamp(it.expires_at),
            "accepted_at": None if it.accepted_at is None else timestamp(it.accepted_at),
            "rbac_group_ids": it.rbac_group_ids,
        }

    def _show_key(self, it: StoredAPIKey, version: str) -> Mapping[str, Any]:
        shown = {
            "id": it.id,
            "type": "api_key",
            "name": it.name,
            "status": it.status,
            "created_at": timestamp(it.created_at),
            "created_by": {"id": it.user_id, "type": "user"} if it.user_id else None,
            "expires_at": None,
            "partial_key_hint": it.hint,
        }
        if version < SCOPES_SINCE:
            default = self._organization.default_workspace_id
            there = None if it.workspace_id == default else it.workspace_id
            return {**shown, "principal": _old_principal(it), "workspace_id": there}
        scope = {"type": "organization"}
        if it.workspace_id is not None:
            scope = {"type": "workspace", "workspace_id": it.workspace_id}
        return {**shown, "principal": _principal(it), "scope": scope}


def _show_user(it: StoredUser) -> Mapping[str, Any]:
    return {
        "id": it.id,
        "type": "user",
        "email": it.email,
        "name": it.name,
        "role": it.role,
        "added_at": timestamp(it.added_at),
    }


def _principal(it: StoredAPIKey) -> Mapping[str, Any] | None:
    if it.service_account_id:
        return {"type": "service_account_actor", "service_account_id": it.service_account_id}
    return {"type": "user_actor", "user_id": it.user_id} if it.user_id else None


def _old_principal(it: StoredAPIKey) -> Mapping[str, Any] | None:
    if it.service_account_id:
        return {"id": it.service_account_id, "type": "service_account"}
    return {"id": it.user_id, "type": "user"} if it.user_id else None
