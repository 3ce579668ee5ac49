"""The routes of the Skills API, and its older shape under the beta skills-2025-10-02."""

from typing import Any, Final

from claude_lite.emulator.reading.forms import ReceivedPart, read_form
from claude_lite.emulator.reading.paging import cursor_page, only, read_query
from claude_lite.emulator.reading.problems import Problem, fail
from claude_lite.emulator.reading.routing import MEBIBYTE, Answer, Call, ServedRoute
from claude_lite.emulator.reading.skill_folders import LARGEST_SKILL, read_folder
from claude_lite.emulator.state.rate_limits import timestamp
from claude_lite.emulator.state.stored_skills import StoredSkill, StoredSkillVersion
from claude_lite.emulator.state.world import World

LEGACY_SKILLS_BETA: Final = "skills-2025-10-02"
LONGEST_DISPLAY_NAME: Final = 255  # characters
FILE_FIELDS: Final = frozenset({"files[]", "files"})
SKILLS_PATH: Final = "/v1/skills"


class SkillRoutes:
    """Answers `/v1/skills` and the paths below it."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._skills = world.skills

    def routes(self) -> tuple[ServedRoute, ...]:
        """List the routes."""
        most = LARGEST_SKILL + MEBIBYTE  # plus the form around the folder
        one, versions = f"{SKILLS_PATH}/{{skill_id}}", f"{SKILLS_PATH}/{{skill_id}}/versions"
        return (
            ServedRoute("POST", SKILLS_PATH, self.create, most=most),
            ServedRoute("GET", SKILLS_PATH, self.list),
            ServedRoute("GET", one, self.retrieve),
            ServedRoute("DELETE", one, self.delete),
            ServedRoute("POST", versions, self.create_version, most=most),
            ServedRoute("GET", versions, self.list_versions),
            ServedRoute("GET", f"{versions}/{{version}}", self.retrieve_version),
            ServedRoute("DELETE", f"{versions}/{{version}}", self.delete_version),
            ServedRoute("GET", f"{versions}/{{version}}/content", self.download_version),
        )

    def create(self, call: Call) -> Answer:
        """Create a skill from a folder."""
        field = "display_title" if LEGACY_SKILLS_BETA in call.betas else "display_name"
        parts = list(read_form(call.headers, call.body, files=FILE_FIELDS, fields={field}))
        name = next((part.text() for part in parts if part.name == field), None)
        if name is not None and not 1 <= len(name) <= LONGEST_DISPLAY_NAME:
            fail(field, f"String should have 1 to {LONGEST_DISPLAY_NAME} characters")
        if LEGACY_SKILLS_BETA in call.betas and name is not None:
            taken = (skill.display_name for skill in self._skills.newest_first(call.workspace_id))
            if name in taken:
                raise Problem(400, f"Skill cannot reuse an existing display_title: {name}")
        skill = self._skills.create(
            call.workspace_id,
            (self._world.new_id("skill_01", call.number), self._version_id(call)),
            read_folder(_files(parts)),
            name,
        )
        return Answer.json(_shown(skill, call))

    def list(self, call: Call) -> Answer:
        """List skills: the newest first, those of Anthropic last."""
        query = read_query(call.query)
        skills = self._skills.newest_first(call.workspace_id)
        if source := only(query, "source"):
            skills = [skill for skill in skills if skill.source == source]
        page = cursor_page(skills, query, lambda skill: _shown(skill, call))
        return Answer.json(_page(page, call))

    def retrieve(self, call: Call) -> Answer:
        """Show one skill."""
        return Answer.json(_shown(self._skill(call), call))

    def delete(self, call: Call) -> Answer:
        """Delete a skill with its versions."""
        skill = self._skills.own(call.workspace_id, call.params["skill_id"])
        if LEGACY_SKILLS_BETA in call.betas and skill.versions:
            why = "Cannot delete skill with existing versions. Delete all versions first."
            raise Problem(400, why)
        self._skills.remove(call.workspace_id, skill.id)
        return Answer.json({"id": skill.id, "type": "skill_deleted"})

    def create_version(self, call: Call) -> Answer:
        """Add a version to a skill."""
        skill = self._skills.own(call.workspace_id, call.params["skill_id"])
        parts = list(read_form(call.headers, call.body, files=FILE_FIELDS, fields=()))
        version = self._skills.add_version(
            call.workspace_id, skill.id, self._version_id(call), read_folder(_files(parts))
        )
        return Answer.json(_shown_version(version, call))

    def list_versions(self, call: Call) -> Answer:
        """List the versions of a skill, the newest first."""
        versions = self._skill(call).versions
        query = read_query(call.query)
        page = cursor_page(versions, query, lambda version: _shown_version(version, call))
        return Answer.json(_page(page, call))

    def retrieve_version(self, call: Call) -> Answer:
        """Show one version of a skill."""
        version = self._skill(call).version(call.params["version"])
        return Answer.json(_shown_version(version, call))

    def delete_version(self, call: Call) -> Answer:
        """Delete one version of a skill."""
        skill = self._skills.own(call.workspace_id, call.params["skill_id"])
        version = skill.version(call.params["version"])
        self._skills.remove_version(call.workspace_id, skill.id, version)
        name = version.stamp if LEGACY_SKILLS_BETA in call.betas else version.id
        return Answer.json({"id": name, "type": "skill_version_deleted"})

    def download_version(self, call: Call) -> Answer:
        """Send a version as a .zip."""
        folder = self._skill(call).version(call.params["version"]).folder
        headers = {
            "content-type": "application/zip",
            "content-disposition": f'attachment; filename="{folder.name}.zip"',
        }
        return Answer(folder.archive, folder.archive.size, headers=headers)

    def _skill(self, call: Call) -> StoredSkill:
        return self._skills.get(call.workspace_id, call.params["skill_id"])

    def _version_id(self, call: Call) -> str:
        return self._world.new_id("skver_01", call.number)


def _files(parts: list[ReceivedPart]) -> list[ReceivedPart]:
    return [part for part in parts if part.name in FILE_FIELDS]


def _shown(skill: StoredSkill, call: Call) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "id": skill.id,
        "type": "skill",
        "created_at": timestamp(skill.created_at),
        "updated_at": timestamp(skill.updated_at),
    }
    latest = skill.versions[0] if skill.versions else None
    if LEGACY_SKILLS_BETA in call.betas:
        return {
            **shown,
            "display_title": skill.display_name if skill.titled else None,
            "latest_version": latest.stamp if latest else None,
            "source": skill.source,
        }
    return {
        **shown,
        "display_name": skill.display_name,
        "latest_version_id": latest.id if latest else "",
        "source": {"type": skill.source},
    }


def _shown_version(version: StoredSkillVersion, call: Call) -> dict[str, Any]:
    shown = {
        "id": version.id,
        "type": "skill_version",
        "skill_id": version.skill_id,
        "name": version.folder.name,
        "description": version.folder.description,
        "created_at": timestamp(version.created_at),
    }
    if LEGACY_SKILLS_BETA in call.betas:
        id_ = version.id.replace("skver_", "skillver_")
        return {
            **shown,
            "id": id_,
            "version": version.stamp,
            "directory": version.folder.directory,
        }
    return shown


def _page(page: dict[str, Any], call: Call) -> dict[str, Any]:
    if LEGACY_SKILLS_BETA in call.betas:
        return {**page, "has_more": page["next_page"] is not None}
    return page
