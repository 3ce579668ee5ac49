"""The emulator's Skills API."""

import io
import zipfile

import pytest
from emulated import API, Api, form, message

from claude_lite import Client
from claude_lite.api.skills import CreateSkill, DownloadSkillVersion
from claude_lite.emulator import Emulator
from claude_lite.emulator.serving import emulator_server

LEGACY = ["skills-2025-10-02"]
MANIFEST = b"---\nname: my-skill\ndescription: Does things.\n---\n# How\n"
PROVIDED = ["docx", "pdf", "pptx", "xlsx"]


def folder(manifest=MANIFEST, *more, **fields):
    """Make the form of a skill; *more* files are (path, content)."""
    files = [("files[]", "my-skill/SKILL.md", manifest)]
    return form(*files, *(("files[]", *file) for file in more), **fields)


def packed(*files):
    """Make a .zip of (path, content)."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for path, content in files:
            archive.writestr(path, content)
    return buffer.getvalue()


def ids(page):
    """List the ids on a page."""
    return [one["id"] for one in page["data"]]


def wanting(skill_id, kind="custom", **more):
    """Make a message with a skill in its container."""
    return message(container={"skills": [{"type": kind, "skill_id": skill_id, **more}]})


def test_the_documented_form_is_a_skill():
    """The sample is taken, with its display name."""
    sample = (API / "samples" / "requests" / "skills.create.multipart.txt").read_bytes()
    boundary = sample.split(b"\r\n")[0][2:].decode()
    kind = {"content-type": f"multipart/form-data; boundary={boundary}"}
    api = Api()
    made = api.call("skills.create", sample, headers=kind)
    assert (made["display_name"], made["source"]) == ("Quarterly report", {"type": "custom"})
    assert api.call("skills.retrieve", skill_id=made["id"]) == made
    (version,) = api.call("skills.versions.list", skill_id=made["id"])["data"]
    assert version["id"] == made["latest_version_id"]
    assert version["name"] == "quarterly-report"
    assert version["description"] == "Builds the quarterly report."


def test_a_zip_is_a_skill_and_is_sent_back_as_it_was():
    """Its manifest is read from inside."""
    archive = packed(("my-skill/SKILL.md", MANIFEST), ("my-skill/run.py", b"print(1)"))
    api = Api()
    made = api.call("skills.create", form(("files[]", "my-skill.zip", archive)))
    assert made["display_name"] == "my-skill"
    where = {"skill_id": made["id"], "version": made["latest_version_id"]}
    assert api.call("beta.skills.versions.download", **where) == archive


def test_a_folder_is_sent_back_as_a_zip():
    """All of its files are in it, the same bytes every time."""
    api = Api()
    body = folder(MANIFEST, ("my-skill/a/b.bin", bytes(1_000_000)))
    archives = set()
    for _ in range(2):
        made = api.call("skills.create", body)
        where = {"skill_id": made["id"], "version": made["latest_version_id"]}
        archives.add(api.call("beta.skills.versions.download", **where))
    with zipfile.ZipFile(io.BytesIO(archives.pop())) as archive:
        assert archive.namelist() == ["my-skill/SKILL.md", "my-skill/a/b.bin"]
        assert archive.read("my-skill/SKILL.md") == MANIFEST
        assert archive.testzip() is None
    assert not archives


@pytest.mark.parametrize(
    ("manifest", "name", "description"),
    [
        (b"---\nname: 'a'\ndescription: \"b: c\"\n---", "a", "b: c"),
        (b"\xef\xbb\xbf---\r\nname: a\r\ndescription: b\r\n---\r\n", "a", "b"),
        (
            b"---\nlicense: x\nname: a-1\ndescription: >-\n  b\n\n  c\nmore:\n  d: e\n---",
            "a-1",
            "b c",
        ),
    ],
)
def test_the_frontmatter_is_read(manifest, name, description):
    """Quotes, folded text and other fields are what YAML says they are."""
    api = Api()
    skill = api.call("skills.create", folder(manifest))
    version = api.call(
        "skills.versions.retrieve", skill_id=skill["id"], version=skill["latest_version_id"]
    )
    assert (version["name"], version["description"]) == (name, description)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (form(), "files: Field required"),
        (form(("files[]", "SKILL.md", MANIFEST)), "in none"),
        (form(("files[]", "a/b/SKILL.md", MANIFEST)), "SKILL.md must be in the top-level folder"),
        (folder(MANIFEST, ("other/a.py", b"1")), "one top-level folder"),
        (folder(MANIFEST, ("my-skill/../a.py", b"1")), "invalid path"),
        (folder(MANIFEST, ("/etc/passwd", b"1")), "invalid path"),
        (folder(MANIFEST, ("my-skill/SKILL.md", b"1")), "occurs twice"),
        (folder(b"no frontmatter"), "must start with YAML frontmatter"),
        (folder(b"---\nname: a\n"), "must start with YAML frontmatter"),
        (folder(b"\xff"), "must be UTF-8"),
        (folder(b"---\nname: A b\ndescription: c\n---"), "name must be"),
        (folder(b"---\nname: " + b"a" * 65 + b"\ndescription: c\n---"), "name must be"),
        (folder(b"---\ndescription: c\n---"), "name must be"),
        (folder(b"---\nname: a\n---"), "description must have"),
        (folder(b"---\nname: a\ndescription: " + b"b" * 1025 + b"\n---"), "description must have"),
        (folder(display_name="x" * 256), "display_name: String"),
        (folder(display_title="x"), "display_title: Extra inputs"),
        (form(("files[]", "a.zip", b"PK")), "not a valid .zip"),
        (form(("files[]", "a.zip", packed(("SKILL.md", MANIFEST)))), "in none"),
        (form(("files[]", "a.zip", packed())), "one top-level folder"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_no_skill_is_refused(body, words):
    """The message says what is wrong with the folder or its SKILL.md."""
    assert words in Api().refuse("skills.create", 400, body)[0]


def test_over_30_megabytes_is_too_large():
    """What counts is the size when unpacked."""
    api = Api()
    large = ("my-skill/large.bin", bytes(30 * 1024 * 1024))
    api.refuse("skills.create", 413, folder(MANIFEST, large))
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as opened:
        opened.writestr("my-skill/SKILL.md", MANIFEST)
        opened.writestr(*large)
    assert len(archive.getvalue()) < 100_000
    api.refuse("skills.create", 413, form(("files[]", "a.zip", archive.getvalue())))


def test_the_list_has_anthropics_skills_last():
    """`source` picks one kind; a cursor goes through all of them."""
    api = Api()
    made = [api.call("skills.create", folder())["id"] for _ in range(2)]
    assert ids(api.call("skills.list")) == [*made[::-1], *PROVIDED]
    assert ids(api.call("skills.list", query={"source": "custom"})) == made[::-1]
    assert ids(api.call("skills.list", query={"source": "anthropic"})) == PROVIDED
    seen, page = [], None
    while page != "":
        shown = api.call("skills.list", query={"limit": 1, "page": page})
        seen += ids(shown)
        page = shown["next_page"] or ""
    assert seen == [*made[::-1], *PROVIDED]


def test_versions_come_and_go():
    """The newest is the latest; deleting a skill deletes its versions."""
    api = Api()
    skill = api.call("skills.create", folder())
    which = {"skill_id": skill["id"]}
    api.clock.now = 60
    second = api.call(
        "skills.versions.create", folder(MANIFEST.replace(b"Does", b"Undoes")), **which
    )
    newer = api.call("skills.retrieve", **which)
    assert newer["latest_version_id"] == second["id"]
    assert newer["updated_at"] > skill["updated_at"] == newer["created_at"]
    assert ids(api.call("skills.versions.list", **which)) == [
        second["id"],
        skill["latest_version_id"],
    ]
    first = api.call("skills.versions.list", query={"limit": 1}, **which)
    rest = api.call("skills.versions.list", query={"page": first["next_page"]}, **which)
    assert ids(rest) == [skill["latest_version_id"]]
    deleted = api.call("skills.versions.delete", version=second["id"], **which)
    assert deleted == {"id": second["id"], "type": "skill_version_deleted"}
    api.refuse("skills.versions.retrieve", 404, version=second["id"], **which)
    assert api.call("skills.retrieve", **which)["latest_version_id"] == skill["latest_version_id"]
    assert api.call("skills.delete", **which) == {"id": skill["id"], "type": "skill_deleted"}
    for name in ("skills.retrieve", "skills.delete", "skills.versions.list"):
        api.refuse(name, 404, **which)
    api.refuse("skills.versions.create", 404, folder(), **which)


def test_anthropics_skills_can_be_read_and_not_changed():
    """They have a version by date."""
    api = Api()
    skill = api.call("skills.retrieve", skill_id="pdf")
    assert skill["source"] == {"type": "anthropic"}
    (version,) = api.call("skills.versions.list", skill_id="pdf")["data"]
    assert version["id"] == skill["latest_version_id"] == "20251013"
    api.refuse("skills.delete", 403, skill_id="pdf")
    api.refuse("skills.versions.delete", 403, skill_id="pdf", version="20251013")
    api.refuse("skills.versions.create", 403, folder(), skill_id="pdf")


def test_the_older_beta_has_its_own_shapes():
    """display_title, versions by time, and a skill with versions is not deleted."""
    api = Api()
    old = {"betas": LEGACY, "legacy": True}
    skill = api.call("beta.skills.create", folder(display_title="Mine"), **old)
    assert (skill["display_title"], skill["source"]) == ("Mine", "custom")
    taken, _ = api.refuse("beta.skills.create", 400, folder(display_title="Mine"), betas=LEGACY)
    assert "display_title" in taken
    which = {"skill_id": skill["id"], **old}
    page = api.call("beta.skills.list", query={"limit": 1}, **old)
    assert (ids(page), page["has_more"]) == ([skill["id"]], True)
    assert api.call("beta.skills.retrieve", **which) == skill
    version = api.call("beta.skills.versions.create", folder(), **which)
    assert version["directory"] == "my-skill"
    assert int(version["version"]) > int(skill["latest_version"])
    name = {"version": version["version"], **which}
    assert api.call("beta.skills.versions.retrieve", **name) == version
    assert api.refuse("beta.skills.delete", 400, betas=LEGACY, skill_id=skill["id"])
    deleted = api.call("beta.skills.versions.delete", **name)
    assert deleted["id"] == version["version"]
    (left,) = api.call("beta.skills.versions.list", **which)["data"]
    api.call("beta.skills.versions.delete", version=left["version"], **which)
    assert api.call("beta.skills.retrieve", **which)["latest_version"] is None
    api.call("beta.skills.delete", **which)


def test_another_beta_has_todays_shapes():
    """Only its own header brings the older shapes back."""
    api = Api()
    betas = {"betas": ["any-2026-01-01"]}
    skill = api.call("beta.skills.create", folder(), **betas)
    which = {"skill_id": skill["id"], **betas}
    api.call("beta.skills.list", **betas)
    api.call("beta.skills.retrieve", **which)
    version = api.call("beta.skills.versions.create", folder(), **which)
    api.call("beta.skills.versions.list", **which)
    api.call("beta.skills.versions.retrieve", version=version["id"], **which)
    api.call("beta.skills.versions.delete", version=version["id"], **which)
    api.call("beta.skills.delete", **which)


def test_a_message_can_use_a_skill():
    """The container says which version it is; latest is the newest."""
    api = Api()
    skill = api.call("skills.create", folder())
    first = skill["latest_version_id"]
    second = api.call("skills.versions.create", folder(), skill_id=skill["id"])["id"]
    for wanted, version in (
        ({}, second),
        ({"version": "latest"}, second),
        ({"version": first}, first),
    ):
        answer = api.call("messages.create", wanting(skill["id"], **wanted))
        assert answer["container"]["skills"] == [
            {"type": "custom", "skill_id": skill["id"], "version": version}
        ]
    answer = api.call("messages.create", wanting("pdf", "anthropic"))
    assert answer["container"]["skills"][0]["version"] == "20251013"


def test_a_message_cannot_use_a_skill_that_is_not_there():
    """Neither an unknown one, nor one of the other kind, nor an unknown version; 20 at most."""
    api = Api()
    skill_id = api.call("skills.create", folder())["id"]
    api.refuse("messages.create", 404, wanting("skill_none"))
    api.refuse("messages.create", 404, wanting("pdf"))
    api.refuse("messages.create", 404, wanting(skill_id, "anthropic"))
    api.refuse("messages.create", 404, wanting(skill_id, version="skver_none"))
    many = message(container={"skills": [{"type": "anthropic", "skill_id": "pdf"}] * 21})
    assert api.refuse("messages.create", 400, many)[0].startswith("container.skills: ")


def test_skills_are_of_a_workspace():
    """Another workspace does not see them, and has Anthropic's all the same."""
    api = Api()
    skill_id = api.call("skills.create", folder())["id"]
    other = {"anthropic-workspace-id": "wrkspc_other"}
    assert ids(api.call("skills.list", headers=other)) == PROVIDED
    api.refuse("skills.retrieve", 404, headers=other, skill_id=skill_id)
    api.refuse("messages.create", 404, wanting(skill_id), headers=other)


def test_the_library_uploads_a_folder_to_a_port(tmp_path):
    """From a folder on disk to its .zip, by the library's own operations."""
    root = tmp_path / "my-skill"
    root.mkdir()
    (root / "SKILL.md").write_bytes(MANIFEST)
    with emulator_server(Emulator()) as url:
        client = Client(base_url=url, api_key="canary")
        skill = client.send(CreateSkill(files=root, display_name="Mine"))
        archive = client.send(
            DownloadSkillVersion(skill_id=skill.id, version=skill.latest_version_id)
        )
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        assert opened.read("my-skill/SKILL.md") == MANIFEST
