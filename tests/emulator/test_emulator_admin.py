"""The emulator's Admin API: organization, invites, users, workspaces, members and API keys."""

import asyncio

import orjson
import pytest
from emulated import API, OPERATIONS, Api

from claude_lite import AsyncClient, AuthenticationFailed, Client, NotFound, PermissionDenied
from claude_lite.api.organization import ListUsers
from claude_lite.api.workspaces import ListWorkspaces
from claude_lite.emulator import Emulator
from claude_lite.wire import Request
from claude_lite_transports.emulator import AsyncEmulatorTransport, EmulatorTransport

NEWEST = {"anthropic-version": "2026-10-21"}
DAY = 86400
SAMPLES = API / "samples"
LISTS = ["invites", "users", "workspaces", "api_keys"]
ADMIN, WORKSPACE = "sk-ant-admin01-a", "sk-ant-api03-" + "w" * 30


def every(api, what, **query):
    """List all that there is of something."""
    return api.call(f"organization.{what}.list", query={"limit": 1000, **query}, headers=NEWEST)[
        "data"
    ]


def user(api, role="developer"):
    """Find a user with a role."""
    return every(api, "users", roles=[role])[0]


def workspace(api, **fields):
    """Create a workspace."""
    return api.call("organization.workspaces.create", {"name": "New", **fields})


def sample(path):
    """Read a sample."""
    return orjson.loads((SAMPLES / path).read_bytes())


def types(value):
    """Say which types a document is made of, with null as a type of its own."""
    if isinstance(value, dict):
        return {name: types(inner) for name, inner in value.items()}
    return type(value).__name__


def test_an_organization_is_there_from_the_start():
    """It has a name, people, workspaces and keys, the same ones for the same seed."""
    api = Api()
    assert api.call("organization.retrieve")["name"] == "Lantern Labs"
    for what in LISTS:
        assert every(api, what)
        assert every(Api(), what)[-1]["id"] == every(api, what)[-1]["id"]
    assert every(Api(seed=1), "users")[0]["id"] != every(api, "users")[0]["id"]


def test_admin_responses_name_no_workspace():
    """Only the organization is in their headers, whoever asks."""
    response = Api().respond(
        "organization.retrieve", headers={"anthropic-workspace-id": "wrkspc_1"}
    )
    assert "anthropic-workspace-id" not in response.headers
    assert response.organization_id == response.json()["id"]


@pytest.mark.parametrize("what", LISTS)
def test_lists_are_walked_in_both_directions(what):
    """Pages of two, forward by last_id and backward by first_id, bring every item once."""
    api, name = Api(), f"organization.{what}.list"
    ids = [item["id"] for item in every(api, what)]
    seen, query = [], {"limit": 2}
    while True:
        page = api.call(name, query=query, headers=NEWEST)
        seen += [item["id"] for item in page["data"]]
        if not page["has_more"]:
            break
        query = {"limit": 2, "after_id": page["last_id"]}
    assert seen == ids
    back, query = [], {"limit": 2, "before_id": ids[-1]}
    while True:
        page = api.call(name, query=query, headers=NEWEST)
        back = [item["id"] for item in page["data"]] + back
        if not page["has_more"]:
            break
        query = {"limit": 2, "before_id": page["first_id"]}
    assert back == ids[:-1]


@pytest.mark.parametrize(
    ("query", "complaint"),
    [
        ({"limit": 0}, "limit: Input should be greater than or equal to 1"),
        ({"limit": 1001}, "limit: Input should be less than or equal to 1000"),
        ({"after_id": "user_x"}, "after_id: no such id: user_x"),
        (
            {"after_id": "a", "before_id": "b"},
            "after_id: may not be given together with `before_id`",
        ),
    ],
)
def test_limits_and_cursors_are_checked(query, complaint):
    """A page that cannot be is refused with the parameter's name."""
    assert Api().refuse("organization.users.list", 400, query=query) == (complaint, None)


def test_an_invite_is_pending_for_21_days():
    """It expires then, and can be had back; another one may be sent."""
    api = Api()
    made = api.call(
        "organization.invites.create", sample("requests/organization.invites.create.json")
    )
    assert (made["status"], made["role"], made["rbac_group_ids"]) == ("pending", "developer", [])
    assert made["id"] in [one["id"] for one in every(api, "invites", statuses=["pending"])]
    api.clock.now += 21 * DAY - 1
    assert api.call("organization.invites.retrieve", invite_id=made["id"])["status"] == "pending"
    api.clock.now += 1
    assert api.call("organization.invites.retrieve", invite_id=made["id"])["status"] == "expired"
    assert made["id"] in [one["id"] for one in every(api, "invites", statuses=["expired"])]
    api.call("organization.invites.create", {"email": made["email"], "role": "user"})


def test_an_invite_that_is_deleted_is_no_longer_listed():
    """It is shown as deleted to who knows its id, cannot be deleted again, but sent again."""
    api = Api()
    body = {"email": "new@example.com", "role": "user"}
    id_ = api.call("organization.invites.create", body)["id"]
    deleted = api.call("organization.invites.delete", invite_id=id_)
    assert deleted == {"id": id_, "type": "invite_deleted"}
    assert api.call("organization.invites.retrieve", invite_id=id_)["status"] == "deleted"
    assert id_ not in [one["id"] for one in every(api, "invites")]
    api.refuse("organization.invites.delete", 404, invite_id=id_)
    api.call("organization.invites.create", body)


def test_nobody_is_invited_twice():
    """A pending invite and a user each refuse another one with the API's error_code."""
    api = Api()
    body = {"email": "new@example.com", "role": "user"}
    api.call("organization.invites.create", body)
    body["email"] = "NEW@example.com"
    _, details = api.refuse("organization.invites.create", 400, body)
    assert details == {"error_code": "invite_already_exists"}
    body["email"] = user(api)["email"]
    _, details = api.refuse("organization.invites.create", 400, body)
    assert details == {"error_code": "already_member"}


def test_an_accepted_invite_stays():
    """It is history, and cannot be deleted."""
    api = Api()
    (accepted,) = every(api, "invites", statuses=["accepted"])
    assert every(api, "invites", email=accepted["email"].upper(), roles=["developer"]) == [accepted]
    api.refuse("organization.invites.delete", 400, invite_id=accepted["id"])


@pytest.mark.parametrize(
    ("name", "params", "body", "complaint"),
    [
        ("invites.create", {}, {"role": "user"}, "email: Field required"),
        ("invites.create", {}, {"email": "a@b.c", "role": "admin"}, "role: Input should be"),
        ("invites.create", {}, {"email": "nobody", "role": "user"}, "email: String should match"),
        ("users.update", {"user_id": "user_x"}, {"role": "owner"}, "role: Input should be"),
        ("workspaces.create", {}, {}, "name: Field required"),
        ("workspaces.create", {}, {"name": "n", "x": 1}, "x: Extra inputs are not permitted"),
        ("workspaces.create", {}, {"name": "n", "tags": {"a": 1}}, "tags.a: Input should be"),
        ("workspaces.create", {}, {"name": "n", "tags": {"anthropic_a": ""}}, "tags.anthropic_a:"),
        (
            "workspaces.create",
            {},
            {"name": "n", "data_residency": {"allowed_inference_geos": "some"}},
            "data_residency.allowed_inference_geos: Input should be a valid list",
        ),
        (
            "workspaces.create",
            {},
            {"name": "n", "data_residency": {"allowed_inference_geos": ["us"]}},
            "data_residency: default_inference_geo 'global' is not allowed",
        ),
        (
            "workspaces.members.add",
            {"workspace_id": "wrkspc_x"},
            {"user_id": "u", "workspace_role": "workspace_billing"},
            "workspace_role: Input should be",
        ),
        ("api_keys.update", {"api_key_id": "k"}, {"status": "expired"}, "status: Input should be"),
    ],
)
def test_bodies_are_checked(name, params, body, complaint):
    """What is wrong is named by its path."""
    message, _ = Api().refuse(f"organization.{name}", 400, body, **params)
    assert message.startswith(complaint)


@pytest.mark.parametrize(
    "name",
    [
        one
        for one in OPERATIONS
        if one.startswith("organization.")
        and OPERATIONS[one]["tier"] == "core"
        and OPERATIONS[one]["path_params"]
    ],
)
def test_what_is_not_there_is_404(name):
    """For every operation that names a thing."""
    params = {param["name"]: "nobody" for param in OPERATIONS[name]["path_params"]}
    bodies = SAMPLES / "requests" / f"{name}.json"
    body = orjson.loads(bodies.read_bytes()) if bodies.exists() else None
    _, details = Api().refuse(name, 404, body, **params)
    assert details is None


def test_a_removed_user_is_gone():
    """It is not found, not listed, and no member of any workspace; its keys stay."""
    api = Api()
    gone = user(api)
    home = next(
        one["id"]
        for one in every(api, "workspaces")
        if gone["id"] in [it["user_id"] for it in every_member(api, one["id"])]
    )
    keys = every(api, "api_keys", created_by_user_id=gone["id"])
    removed = api.call("organization.users.remove", user_id=gone["id"])
    assert removed == {"id": gone["id"], "type": "user_deleted"}
    api.refuse("organization.users.retrieve", 404, user_id=gone["id"])
    api.refuse("organization.users.remove", 404, user_id=gone["id"])
    assert gone["id"] not in [one["id"] for one in every(api, "users")]
    assert gone["id"] not in [one["user_id"] for one in every_member(api, home)]
    api.refuse(
        "organization.workspaces.members.retrieve", 404, workspace_id=home, user_id=gone["id"]
    )
    assert every(api, "api_keys", created_by_user_id=gone["id"]) == keys


def every_member(api, workspace_id):
    """List the members of a workspace."""
    return api.call("organization.workspaces.members.list", workspace_id=workspace_id)["data"]


def test_an_admin_can_be_neither_removed_nor_changed():
    """And whoever is left last cannot be removed, with the API's error_code."""
    api = Api()
    admin = user(api, "admin")
    api.refuse("organization.users.update", 400, {"role": "user"}, user_id=admin["id"])
    _, details = api.refuse("organization.users.remove", 400, user_id=admin["id"])
    assert details is None
    for one in every(api, "users"):
        if one["id"] != admin["id"]:
            api.call("organization.users.remove", user_id=one["id"])
    _, details = api.refuse("organization.users.remove", 400, user_id=admin["id"])
    assert details == {"error_code": "cannot_remove_last_member"}


def test_a_user_gets_another_role():
    """The role is changed, and filters see it."""
    api = Api()
    id_ = user(api)["id"]
    body = sample("requests/organization.users.update.json")
    changed = api.call("organization.users.update", body, user_id=id_)
    assert changed["role"] == "billing"
    assert changed in every(api, "users", roles=["billing", "user"])
    assert every(api, "users", email=changed["email"].upper()) == [changed]


def test_a_workspace_is_created_and_changed():
    """Given fields are kept, the others have defaults; a tag that is null goes."""
    api = Api()
    body = sample("requests/organization.workspaces.create.json")
    made = api.call("organization.workspaces.create", body)
    assert {name: made[name] for name in body} == body
    assert (
        made["data_residency"]
        == sample("responses/organization.workspaces.create.json")["data_residency"]
    )
    id_ = made["id"]
    assert every(api, "workspaces")[0] == made
    changed = api.call(
        "organization.workspaces.update",
        {
            "name": "Renamed",
            "tags": {"team": None, "cost": "7"},
            "data_residency": {"allowed_inference_geos": ["us"], "default_inference_geo": "us"},
            "external_key_id": "key_1",
        },
        workspace_id=id_,
    )
    assert (changed["name"], changed["tags"]) == ("Renamed", {"cost": "7"})
    assert changed["data_residency"]["workspace_geo"] == "us"
    free = {"data_residency": {"allowed_inference_geos": "unrestricted"}}
    changed = api.call("organization.workspaces.update", free, workspace_id=id_)
    assert changed["data_residency"]["default_inference_geo"] == "us"
    assert api.call("organization.workspaces.retrieve", workspace_id=id_) == changed
    other = {"external_key_id": "key_2"}
    message, _ = api.refuse("organization.workspaces.update", 400, other, workspace_id=id_)
    assert message == "external_key_id: cannot be replaced once it is set"


def test_the_default_workspace_is_listed_on_request():
    """So are archived ones; ids pick some, and a flag is true or false."""
    api = Api()
    plain = {one["name"] for one in every(api, "workspaces")}
    assert plain == {"Research", "Production"}
    default = every(api, "workspaces", include_default=True)
    assert {one["name"] for one in default} == plain | {"Default"}
    archived = every(api, "workspaces", include_archived=True, include_default=False)
    assert {one["name"] for one in archived} == plain | {"Prototype"}
    ids = [archived[0]["id"], "wrkspc_nobody"]
    assert every(api, "workspaces", ids=ids) == archived[:1]
    api.refuse("organization.workspaces.list", 400, query={"include_archived": "maybe"})
    api.refuse("organization.workspaces.list", 400, query={"ids": ["wrkspc_1"] * 101})
    usual = api.respond("models.list").workspace_id
    assert usual in [one["id"] for one in default]


def test_an_archived_workspace_can_only_be_read():
    """Its keys are archived with it, for good; its members can be read and not changed."""
    api = Api()
    (key,) = every(api, "api_keys", status="inactive")
    id_ = key["scope"]["workspace_id"]
    member = every_member(api, id_)[0]
    archived = api.call("organization.workspaces.archive", workspace_id=id_)
    assert archived["archived_at"] is not None
    assert api.call("organization.workspaces.retrieve", workspace_id=id_) == archived
    assert id_ not in [one["id"] for one in every(api, "workspaces")]
    assert [one["status"] for one in every(api, "api_keys", workspace_id=id_)] == ["archived"]
    again = {"status": "active"}
    api.refuse("organization.api_keys.update", 400, again, api_key_id=key["id"])
    assert member in every_member(api, id_)
    newcomer = {"user_id": user(api, "user")["id"], "workspace_role": "workspace_user"}
    api.refuse("organization.workspaces.members.add", 400, newcomer, workspace_id=id_)
    known = {"workspace_id": id_, "user_id": member["user_id"]}
    role = {"workspace_role": "workspace_user"}
    api.refuse("organization.workspaces.members.update", 400, role, **known)
    api.refuse("organization.workspaces.members.remove", 400, **known)
    api.refuse("organization.workspaces.update", 400, {"name": "n"}, workspace_id=id_)
    api.refuse("organization.workspaces.archive", 400, workspace_id=id_)


def test_the_default_workspace_cannot_be_archived():
    """The API does not let go of it."""
    api = Api()
    id_ = api.respond("models.list").workspace_id
    api.refuse("organization.workspaces.archive", 400, workspace_id=id_)


def test_members_come_and_go():
    """A user is added once, found, given another role, and removed."""
    api = Api()
    id_, user_id = workspace(api)["id"], user(api)["id"]
    body = {"user_id": user_id, "workspace_role": "workspace_developer"}
    added = api.call("organization.workspaces.members.add", body, workspace_id=id_)
    assert added == {"type": "workspace_member", "workspace_id": id_, **body}
    page = api.call("organization.workspaces.members.list", workspace_id=id_)
    assert (page["data"], page["first_id"], page["last_id"]) == ([added], user_id, user_id)
    api.refuse("organization.workspaces.members.add", 400, body, workspace_id=id_)
    stranger = {**body, "user_id": "user_nobody"}
    api.refuse("organization.workspaces.members.add", 404, stranger, workspace_id=id_)
    known = {"workspace_id": id_, "user_id": user_id}
    role = sample("requests/organization.workspaces.members.update.json")
    changed = api.call("organization.workspaces.members.update", role, **known)
    assert changed["workspace_role"] == "workspace_admin"
    assert api.call("organization.workspaces.members.retrieve", **known) == changed
    removed = api.call("organization.workspaces.members.remove", **known)
    assert removed == {"type": "workspace_member_deleted", **known}
    assert every_member(api, id_) == []
    api.refuse("organization.workspaces.members.remove", 404, **known)


def test_api_keys_are_filtered_and_changed():
    """By status, workspace and creator; a name and a status can be given."""
    api = Api()
    keys = every(api, "api_keys")
    assert {key["status"] for key in keys} == {"active", "inactive", "archived"}
    assert [key for key in keys if key["status"] == "active"] == every(
        api, "api_keys", status="active"
    )
    key = every(api, "api_keys", workspace_id=api.respond("models.list").workspace_id)[0]
    assert key in every(api, "api_keys", created_by_user_id=key["created_by"]["id"])
    body = sample("requests/organization.api_keys.update.json")
    changed = api.call("organization.api_keys.update", body, api_key_id=key["id"], headers=NEWEST)
    assert changed == {**key, **body}
    again = api.call("organization.api_keys.retrieve", api_key_id=key["id"], headers=NEWEST)
    assert again == changed
    api.refuse("organization.api_keys.list", 400, query={"status": "lost"})


def test_an_api_key_has_the_shape_of_its_version():
    """A scope and an actor in the newest; a workspace and a plain principal before."""
    api = Api()
    for key in every(api, "api_keys"):
        old = api.respond("organization.api_keys.retrieve", api_key_id=key["id"]).json()
        assert set(old) == set(
            sample("responses/legacy/organization.api_keys.retrieve.2023-06-01.json")
        )
        assert old["workspace_id"] in (None, key["scope"].get("workspace_id"))
        actor = next((v for k, v in key["principal"].items() if k != "type"), None)
        assert old["principal"]["id"] == actor
        assert key["principal"]["type"] == f"{old['principal']['type']}_actor"
    scopes = {key["scope"]["type"] for key in every(api, "api_keys")}
    assert scopes == {"workspace", "organization"}
    serving = next(key for key in every(api, "api_keys") if key["name"] == "serving")
    old = api.respond("organization.api_keys.retrieve", api_key_id=serving["id"]).json()
    legacy = sample("responses/legacy/organization.api_keys.retrieve.2023-06-01.json")
    assert types(old) == types(legacy)


@pytest.mark.parametrize("header", ["x-api-key", "authorization"])
def test_keys_that_were_given_are_told_apart(header):
    """An admin key opens the Admin API and nothing else, another one everything else: 403."""
    emulator = Emulator(api_keys=[ADMIN, WORKSPACE])

    def ask(name, key):
        given = f"Bearer {key}" if header == "authorization" else key
        headers = {"anthropic-version": "2026-10-21", header: given}
        return emulator.handle(Request("GET", f"https://x{OPERATIONS[name]['path']}", headers))

    assert ask("organization.retrieve", ADMIN).status == 200
    assert ask("models.list", WORKSPACE).status == 200
    for name, key in (("organization.retrieve", WORKSPACE), ("models.list", ADMIN)):
        refused = ask(name, key)
        assert refused.status == 403
        assert refused.json()["error"]["type"] == "permission_error"
    assert ask("organization.retrieve", "sk-ant-admin01-b").status == 401


def test_a_key_that_is_switched_off_opens_nothing():
    """Keys that were given are listed, by a hint, and obey their status."""
    emulator = Emulator(api_keys=[ADMIN, WORKSPACE])
    admin = Client(EmulatorTransport(emulator), api_key=ADMIN, api_version="2026-10-21")
    client = Client(EmulatorTransport(emulator), api_key=WORKSPACE)
    (key,) = [one for one in admin.organization.api_keys.list().data if one.name == "key 2"]
    assert key.partial_key_hint == "sk-ant-api03-w...wwww"
    client.models.list()
    admin.organization.api_keys.update(api_key_id=key.id, status="inactive")
    with pytest.raises(AuthenticationFailed):
        client.models.list()
    admin.organization.api_keys.update(api_key_id=key.id, status="active")
    client.models.list()
    with pytest.raises(PermissionDenied):
        client.organization.retrieve()


def test_the_namespaces_of_the_client_reach_all_of_it():
    """Invites, users, workspaces, members and keys, by their familiar names."""
    client = Client(EmulatorTransport(), api_key="any", api_version="2026-10-21")
    organization = client.organization
    assert organization.retrieve().name == "Lantern Labs"
    invite = organization.invites.create(email="new@example.com", role="user")
    assert organization.invites.retrieve(invite_id=invite.id) == invite
    assert invite.id in [one.id for one in organization.invites.items(limit=1)]
    assert organization.invites.delete(invite_id=invite.id).type == "invite_deleted"
    users = list(client.items(ListUsers(limit=2)))
    assert len(users) == len(organization.users.list().data)
    ines = next(one for one in users if one.name == "Ines Duarte")
    organization.users.update(user_id=ines.id, role="user")
    made = organization.workspaces.create(name="Search")
    assert organization.workspaces.retrieve(workspace_id=made.id) == made
    members = organization.workspaces.members
    members.add(workspace_id=made.id, user_id=ines.id, workspace_role="workspace_user")
    members.update(workspace_id=made.id, user_id=ines.id, workspace_role="workspace_admin")
    found = members.retrieve(workspace_id=made.id, user_id=ines.id)
    assert found.workspace_role == "workspace_admin"
    assert members.remove(workspace_id=made.id, user_id=ines.id).user_id == ines.id
    organization.workspaces.update(workspace_id=made.id, name="Found")
    assert organization.workspaces.archive(workspace_id=made.id).archived_at is not None
    assert made.id not in [one.id for one in client.items(ListWorkspaces(limit=1))]
    key = organization.api_keys.list(status="active", limit=1).data[0]
    assert organization.api_keys.retrieve(api_key_id=key.id).scope is not None
    organization.users.remove(user_id=ines.id)
    with pytest.raises(NotFound):
        organization.users.retrieve(user_id=ines.id)


def test_the_asynchronous_client_walks_pages():
    """Its items are those of the synchronous one."""

    async def main():
        async with AsyncClient(AsyncEmulatorTransport(), api_key="any") as client:
            users = client.organization.users.items(limit=1)
            return [one.name async for one in users]

    client = Client(EmulatorTransport(), api_key="any")
    assert asyncio.run(main()) == [one.name for one in client.organization.users.list().data]
