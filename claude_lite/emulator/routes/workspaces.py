"""The routes of the Admin API for workspaces and their members.

The list has the default workspace if the query has `include_default`, and archived workspaces
if it has `include_archived`. An archived workspace can be read, but not changed.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from attrs import evolve

from claude_lite.emulator.reading.checks import (
    Check,
    filled,
    listing,
    literal,
    mapping,
    nullable,
    pattern,
    record,
    string,
)
from claude_lite.emulator.reading.paging import Query, id_page, only, read_query
from claude_lite.emulator.reading.problems import Problem, fail
from claude_lite.emulator.reading.routing import Answer, Call, ServedRoute
from claude_lite.emulator.routes.organization import ORGANIZATIONS_PATH
from claude_lite.emulator.state.rate_limits import timestamp
from claude_lite.emulator.state.stored_organization import RESIDENCY, StoredMember, StoredWorkspace
from claude_lite.emulator.state.world import World

MOST_IDS: Final = 100  # in the query of a list
DISPLAY_COLORS: Final = ("#6C5BB9", "#2E7D6B", "#C2410C", "#A0522D", "#1D4ED8")
RESERVED_TAG_PREFIX: Final = "anthropic"  # no name of a tag may begin with this

_GEOS = listing(literal("global", "us"))
_ROLES = ("workspace_admin", "workspace_developer", "workspace_restricted_developer")
_GIVEN: Final = literal(*_ROLES, "workspace_user")
_ROLE: Final = literal(*_ROLES, "workspace_user", "workspace_billing")
_NEW_MEMBER: Final = record({"user_id": filled, "workspace_role": _GIVEN}, closed=True)
_CHANGED_MEMBER: Final = record({"workspace_role": _ROLE}, closed=True)


def _geos(value: Any, path: str) -> None:
    if value != "unrestricted":
        _GEOS(value, path)


def _tags(inner: Check) -> Check:
    def check(value: Any, path: str) -> None:
        mapping(value, path)
        for name, text in value.items():
            if name.startswith(RESERVED_TAG_PREFIX):
                fail(f"{path}.{name}", f"Tag keys may not begin with '{RESERVED_TAG_PREFIX}'")
            inner(text, f"{path}.{name}")

    return check


_RESIDENCY: Final[Mapping[str, Check]] = {
    "allowed_inference_geos": nullable(_geos),
    "default_inference_geo": nullable(literal("global", "us")),
}
_COLOR: Final = pattern("^#[0-9A-Fa-f]{6}$")
_CREATE: Final = record(
    {"name": filled},
    {
        "data_residency": nullable(
            record({}, {**_RESIDENCY, "workspace_geo": nullable(literal("us"))}, closed=True)
        ),
        "display_color": nullable(_COLOR),
        "external_key_id": nullable(string),
        "tags": nullable(_tags(string)),
        "user_profile_id": nullable(string),
    },
    closed=True,
)
_UPDATE: Final = record(
    {},
    {
        "data_residency": nullable(record({}, _RESIDENCY, closed=True)),
        "display_color": _COLOR,
        "external_key_id": string,
        "name": filled,
        "tags": nullable(_tags(nullable(string))),
        "user_profile_id": string,
    },
    closed=True,
)


class WorkspaceRoutes:
    """Answers `/v1/organizations/workspaces` and the paths below it."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._organization = world.organization

    def routes(self) -> Sequence[ServedRoute]:
        """List the routes."""
        every = f"{ORGANIZATIONS_PATH}/workspaces"
        one = f"{every}/{{workspace_id}}"
        members, member = f"{one}/members", f"{one}/members/{{user_id}}"
        plain = (
            ("POST", every, self.create),
            ("GET", every, self.list),
            ("GET", one, self.retrieve),
            ("POST", one, self.update),
            ("POST", f"{one}/archive", self.archive),
            ("POST", members, self.add_member),
            ("GET", members, self.list_members),
            ("GET", member, self.retrieve_member),
            ("POST", member, self.update_member),
            ("DELETE", member, self.remove_member),
        )
        return [ServedRoute(m, path, answer, per_workspace=False) for m, path, answer in plain]

    def create(self, call: Call) -> Answer:
        """Create a workspace."""
        body = call.json()
        _CREATE(body, "")
        given = {name: value for name, value in body.items() if value is not None}
        residency = _filled(given.pop("data_residency", {}))
        color = DISPLAY_COLORS[call.number % len(DISPLAY_COLORS)]
        workspace = StoredWorkspace(
            id=self._world.new_id("wrkspc_01", call.number),
            created_at=int(self._world.now()),
            compartment_id=self._world.new_id("cmpt_01", call.number),
            data_residency={**RESIDENCY, **residency},
            **{"display_color": color, **given},
        )
        _check_residency(workspace)
        kept = self._organization.workspaces.put(self._organization.id, workspace)
        return Answer.json(_show(kept))

    def list(self, call: Call) -> Answer:
        """List workspaces, the newest first."""
        query = read_query(call.query)
        ids, default = query.get("ids"), self._organization.default_workspace_id
        if ids and len(ids) > MOST_IDS:
            fail("ids", f"List should have at most {MOST_IDS} items")
        archived, with_default = _flag(query, "include_archived"), _flag(query, "include_default")
        found = [
            it
            for it in self._organization.workspaces.newest_first(self._organization.id)
            if (archived or it.archived_at is None)
            and (with_default or it.id != default)
            and (not ids or it.id in ids)
        ]
        return Answer.json(id_page(found, query, _show))

    def retrieve(self, call: Call) -> Answer:
        """Show one workspace."""
        return Answer.json(_show(self._workspace(call)))

    def update(self, call: Call) -> Answer:
        """Change a workspace; a tag with value null is removed."""
        body = call.json()
        _UPDATE(body, "")
        old = self._organization.open_workspace(call.params["workspace_id"])
        for name in ("external_key_id", "user_profile_id"):
            before = getattr(old, name)
            if name in body and before not in (None, body[name]):
                fail(name, "cannot be replaced once it is set")

        def change(it: StoredWorkspace) -> StoredWorkspace:
            tags = {**it.tags, **(body.get("tags") or {})}
            residency = {**it.data_residency, **_filled(body.get("data_residency") or {})}
            new = evolve(
                it,
                **{
                    **body,
                    "tags": {name: text for name, text in tags.items() if text is not None},
                    "data_residency": residency,
                },
            )
            _check_residency(new)
            return new

        workspaces = self._organization.workspaces
        return Answer.json(_show(workspaces.change(self._organization.id, old.id, change)))

    def archive(self, call: Call) -> Answer:
        """Archive a workspace and its API keys."""
        return Answer.json(_show(self._organization.archive(call.params["workspace_id"])))

    def add_member(self, call: Call) -> Answer:
        """Add a user to a workspace."""
        body = call.json()
        _NEW_MEMBER(body, "")
        member = StoredMember(body["user_id"], call.params["workspace_id"], body["workspace_role"])
        return Answer.json(_show_member(self._organization.add_member(member)))

    def list_members(self, call: Call) -> Answer:
        """List the members of a workspace, the newest first; their ids are those of the users."""
        found = self._organization.members.newest_first(self._workspace(call).id)
        return Answer.json(id_page(found, read_query(call.query), _show_member))

    def retrieve_member(self, call: Call) -> Answer:
        """Show one member."""
        found = self._organization.members.get(self._workspace(call).id, call.params["user_id"])
        return Answer.json(_show_member(found))

    def update_member(self, call: Call) -> Answer:
        """Change a member's role."""
        body = call.json()
        _CHANGED_MEMBER(body, "")
        role, user_id = body["workspace_role"], call.params["user_id"]
        workspace = self._organization.open_workspace(call.params["workspace_id"])
        members = self._organization.members
        changed = members.change(workspace.id, user_id, lambda it: evolve(it, role=role))
        return Answer.json(_show_member(changed))

    def remove_member(self, call: Call) -> Answer:
        """Remove a user from a workspace."""
        workspace = self._organization.open_workspace(call.params["workspace_id"])
        user_id = call.params["user_id"]
        self._organization.members.remove(workspace.id, user_id)
        kind = "workspace_member_deleted"
        return Answer.json({"type": kind, "user_id": user_id, "workspace_id": workspace.id})

    def _workspace(self, call: Call) -> StoredWorkspace:
        return self._organization.workspaces.get(self._organization.id, call.params["workspace_id"])


def _flag(query: Query, name: str) -> bool:
    text = only(query, name) or "false"
    if text not in ("true", "false"):
        fail(name, "Input should be a valid boolean")
    return text == "true"


def _filled(residency: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in residency.items() if value is not None}


def _check_residency(workspace: StoredWorkspace) -> None:
    residency = workspace.data_residency
    allowed, default = residency["allowed_inference_geos"], residency["default_inference_geo"]
    if allowed != "unrestricted" and default not in allowed:
        raise Problem(400, f"data_residency: default_inference_geo '{default}' is not allowed")


def _show(it: StoredWorkspace) -> Mapping[str, Any]:
    return {
        "id": it.id,
        "type": "workspace",
        "name": it.name,
        "display_color": it.display_color,
        "created_at": timestamp(it.created_at),
        "archived_at": None if it.archived_at is None else timestamp(it.archived_at),
        "compartment_id": it.compartment_id,
        "data_residency": it.data_residency,
        "external_key_id": it.external_key_id,
        "tags": it.tags,
        "user_profile_id": it.user_profile_id,
    }


def _show_member(it: StoredMember) -> Mapping[str, Any]:
    return {
        "type": "workspace_member",
        "user_id": it.id,
        "workspace_id": it.workspace_id,
        "workspace_role": it.role,
    }
