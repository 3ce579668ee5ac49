"""Skills and their versions: https://docs.claude.com/en/api/skills-guide.

A skill is a folder with a SKILL.md. The models read today's shape and the shape of the beta
skills-2025-10-02; fields that only the beta has (`display_title`, `latest_version`) are
attributes, too.
"""

import os
from typing import Any, Final

from claude_lite.api.bodies import BytesDecoder
from claude_lite.api.uploads import FormBody, UploadOperation, skill_parts
from claude_lite.core.model import Result, model
from claude_lite.core.operation import (
    MEGABYTE,
    Route,
    StreamOperation,
    WorkspaceOperation,
    operation,
)
from claude_lite.core.pages import CursorPaged, Page
from claude_lite.wire import DEFAULT_LIMITS, Limits, Response

__all__ = [
    "CreateSkill",
    "CreateSkillVersion",
    "DeleteSkill",
    "DeleteSkillVersion",
    "DeletedSkill",
    "DeletedSkillVersion",
    "DownloadSkillVersion",
    "ListSkillVersions",
    "ListSkills",
    "RetrieveSkill",
    "RetrieveSkillVersion",
    "Skill",
    "SkillVersion",
]

MAX_SKILL: Final = 30 * MEGABYTE


@model
class Skill(Result):
    """A skill. Times are RFC 3339."""

    id: str
    created_at: str | None = None
    updated_at: str | None = None
    display_name: str | None = None
    latest_version_id: str | None = None
    source: Any = None
    """An object whose `type` is custom, anthropic, ...; text in the beta."""
    type: str = "skill"


@model
class SkillVersion(Result):
    """One version of a skill. `name` and `description` come from its SKILL.md."""

    id: str
    skill_id: str
    name: str | None = None
    description: str | None = None
    created_at: str | None = None
    type: str = "skill_version"


@model
class DeletedSkill(Result):
    """The answer to `DeleteSkill`: the skill and its versions are deleted."""

    id: str
    type: str = "skill_deleted"


@model
class DeletedSkillVersion(Result):
    """The answer to `DeleteSkillVersion`: the version is deleted."""

    id: str
    type: str = "skill_version_deleted"


@operation
class CreateSkill(UploadOperation[Skill]):
    """Create a skill of up to 30 MB from a folder with a SKILL.md."""

    route = Route("skills.create", "POST", "/v1/skills", "never", MAX_SKILL)
    result_type = Skill

    files: str | os.PathLike[str]
    """The path of the folder, or of a .zip of the folder."""
    display_name: str | None = None

    def form(self) -> FormBody:
        """The body of the request."""
        named = [] if self.display_name is None else [("display_name", self.display_name)]
        return FormBody(named, skill_parts(self.files, MAX_SKILL))


@operation
class ListSkills(WorkspaceOperation[Page[Skill]], CursorPaged[Skill]):
    """List skills."""

    route = Route("skills.list", "GET", "/v1/skills")
    item_type = Skill

    source: str | None = None
    """"custom" or "anthropic"; None lists both."""


@operation
class RetrieveSkill(WorkspaceOperation[Skill]):
    """Look up one skill."""

    route = Route("skills.retrieve", "GET", "/v1/skills/{skill_id}")
    result_type = Skill

    skill_id: str


@operation
class DeleteSkill(WorkspaceOperation[DeletedSkill]):
    """Delete a skill and its versions."""

    route = Route("skills.delete", "DELETE", "/v1/skills/{skill_id}")
    result_type = DeletedSkill

    skill_id: str


@operation
class CreateSkillVersion(UploadOperation[SkillVersion]):
    """Add a version to a skill, from a folder with a SKILL.md."""

    route = Route(
        "skills.versions.create", "POST", "/v1/skills/{skill_id}/versions", "never", MAX_SKILL
    )
    result_type = SkillVersion

    skill_id: str
    files: str | os.PathLike[str]
    """The path of the folder, or of a .zip of the folder."""

    def form(self) -> FormBody:
        """The body of the request."""
        return FormBody([], skill_parts(self.files, MAX_SKILL))


@operation
class ListSkillVersions(WorkspaceOperation[Page[SkillVersion]], CursorPaged[SkillVersion]):
    """List the versions of a skill, newest first."""

    route = Route("skills.versions.list", "GET", "/v1/skills/{skill_id}/versions")
    item_type = SkillVersion

    skill_id: str


@operation
class RetrieveSkillVersion(WorkspaceOperation[SkillVersion]):
    """Look up one version of a skill."""

    route = Route("skills.versions.retrieve", "GET", "/v1/skills/{skill_id}/versions/{version}")
    result_type = SkillVersion

    skill_id: str
    version: str


@operation
class DeleteSkillVersion(WorkspaceOperation[DeletedSkillVersion]):
    """Delete one version of a skill."""

    route = Route("skills.versions.delete", "DELETE", "/v1/skills/{skill_id}/versions/{version}")
    result_type = DeletedSkillVersion

    skill_id: str
    version: str


@operation
class DownloadSkillVersion(WorkspaceOperation[bytes], StreamOperation[bytes, bytes]):
    """Download a version of a skill as a .zip (beta)."""

    route = Route(
        "beta.skills.versions.download",
        "GET",
        "/v1/skills/{skill_id}/versions/{version}/content",
        accept="application/binary",
    )
    content_type = None

    skill_id: str
    version: str

    def decoder(self, head: Response, limits: Limits = DEFAULT_LIMITS) -> BytesDecoder:
        """Return the decoder for the body of the response."""
        return BytesDecoder(head, limits)
