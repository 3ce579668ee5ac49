"""The skills of all workspaces with their versions, and the skills that Anthropic provides."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from attrs import evolve, frozen

from claude_lite.emulator.reading.problems import Problem
from claude_lite.emulator.reading.skill_folders import Folder, make_folder
from claude_lite.emulator.state.shelves import Shelf

PROVIDED: Final[Mapping[str, tuple[str, str]]] = {
    "docx": ("Word", "Creates, reads and edits Word documents."),
    "pdf": ("PDF", "Creates, reads and edits PDF documents."),
    "pptx": ("PowerPoint", "Creates, reads and edits presentations."),
    "xlsx": ("Excel", "Creates, reads and edits spreadsheets."),
}
PROVIDED_AT: Final = 1_760_313_600  # 2025-10-13
PROVIDED_VERSION: Final = "20251013"
LATEST: Final = "latest"
MICROSECONDS: Final = 1_000_000
"""Per second: the beta skills-2025-10-02 names a version by its time, in microseconds."""


@frozen
class StoredSkillVersion:
    """One version of a skill; `stamp` is its name in the beta skills-2025-10-02."""

    id: str
    serial: int
    skill_id: str
    stamp: str
    created_at: int
    folder: Folder


@frozen
class StoredSkill:
    """A skill and its versions, newest first. Times are in seconds since 1970."""

    id: str
    serial: int
    source: str  # custom or anthropic
    display_name: str
    created_at: int
    updated_at: int
    versions: tuple[StoredSkillVersion, ...]
    titled: bool = True  # whether a display name was given

    def version(self, name: str) -> StoredSkillVersion:
        """Return the version with this id or stamp; raises `Problem` (404) if there is none."""
        for version in self.versions:
            if name in (version.id, version.stamp):
                return version
        raise Problem(404, f"Skill version not found: {name}")


class StoredSkills:
    """The skills of all workspaces. Safe to share between threads."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._shelf: Shelf[StoredSkill] = Shelf("Skill")
        self._provided = {
            skill_id: _provided(skill_id, -number)
            for number, skill_id in enumerate(sorted(PROVIDED), start=1)
        }

    def create(
        self, workspace_id: str, ids: tuple[str, str], folder: Folder, display_name: str | None
    ) -> StoredSkill:
        """Keep a new skill; *ids* are those of the skill and of its first version."""
        now = self._now()
        return self._shelf.put(
            workspace_id,
            StoredSkill(
                id=ids[0],
                serial=self._shelf.serial(),
                source="custom",
                display_name=display_name or folder.name,
                created_at=int(now),
                updated_at=int(now),
                versions=(self._version(ids[1], ids[0], folder, now),),
                titled=bool(display_name),
            ),
        )

    def add_version(
        self, workspace_id: str, skill_id: str, id_: str, folder: Folder
    ) -> StoredSkillVersion:
        """Keep a new version; raises `Problem` (404) if the skill is missing."""
        now = self._now()
        version = self._version(id_, skill_id, folder, now)
        self._shelf.change(
            workspace_id,
            skill_id,
            lambda skill: evolve(skill, versions=(version, *skill.versions), updated_at=int(now)),
        )
        return version

    def get(self, workspace_id: str, skill_id: str) -> StoredSkill:
        """Return a skill; raises `Problem` (404) if there is none."""
        return self._provided.get(skill_id) or self._shelf.get(workspace_id, skill_id)

    def own(self, workspace_id: str, skill_id: str) -> StoredSkill:
        """Return a skill that may be changed; raises `Problem` (403) if Anthropic provides it."""
        if skill_id in self._provided:
            raise Problem(403, f"Skill {skill_id} is provided by Anthropic and cannot be changed.")
        return self._shelf.get(workspace_id, skill_id)

    def remove(self, workspace_id: str, skill_id: str) -> None:
        """Delete a skill with its versions."""
        self._shelf.remove(workspace_id, self.own(workspace_id, skill_id).id)

    def remove_version(self, workspace_id: str, skill_id: str, version: StoredSkillVersion) -> None:
        """Delete one version of a skill."""
        self._shelf.change(
            workspace_id,
            skill_id,
            lambda skill: evolve(
                skill, versions=tuple(one for one in skill.versions if one.id != version.id)
            ),
        )

    def newest_first(self, workspace_id: str) -> list[StoredSkill]:
        """Return the skills of the workspace, newest first, then those of Anthropic."""
        return [*self._shelf.newest_first(workspace_id), *self._provided.values()]

    def resolve(self, workspace_id: str, wanted: Mapping[str, Any]) -> StoredSkillVersion:
        """Return the version that a container names; raises `Problem` if there is none."""
        skill_id, name = wanted["skill_id"], wanted.get("version") or LATEST
        if (wanted["type"] == "anthropic") is not (skill_id in self._provided):
            raise self._shelf.missing(skill_id)
        skill = self.get(workspace_id, skill_id)
        if name == LATEST and skill.versions:
            return skill.versions[0]
        return skill.version(name)

    def _version(self, id_: str, skill_id: str, folder: Folder, now: float) -> StoredSkillVersion:
        serial = self._shelf.serial()
        # The serial makes stamps differ while a test's clock stands still.
        return StoredSkillVersion(
            id=id_,
            serial=serial,
            skill_id=skill_id,
            stamp=str(int(now * MICROSECONDS) + serial),
            created_at=int(now),
            folder=folder,
        )


def _provided(skill_id: str, serial: int) -> StoredSkill:
    display_name, description = PROVIDED[skill_id]
    folder = make_folder(skill_id, description)
    version = StoredSkillVersion(
        PROVIDED_VERSION, 1, skill_id, PROVIDED_VERSION, PROVIDED_AT, folder
    )
    return StoredSkill(
        id=skill_id,
        serial=serial,
        source="anthropic",
        display_name=display_name,
        created_at=PROVIDED_AT,
        updated_at=PROVIDED_AT,
        versions=(version,),
    )
