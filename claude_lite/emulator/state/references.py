"""Check the files and skills to which a message refers by id: each must exist, and fit."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from claude_lite.emulator.reading.problems import fail
from claude_lite.emulator.state.world import World

MOST_SKILLS: Final = 20
SOURCE_TYPES: Final[Mapping[str, tuple[str, ...]]] = {
    "image": ("image/",),
    "document": ("application/pdf", "text/plain"),
}
"""The beginnings of the types that a file may have, by the type of the block that uses it."""


def check_references(body: Mapping[str, Any], workspace_id: str, world: World) -> None:
    """Refuse a message with a missing file or skill (404), or with one that does not fit (400)."""
    for path, block in _blocks(body):
        source = block.get("source")
        if block["type"] == "container_upload":
            world.files.usable(workspace_id, block["file_id"])
        elif isinstance(source, dict) and source.get("type") == "file":
            _check_file(
                block["type"], source, f"{path}.{block['type']}.source", workspace_id, world
            )
    skills = container_skills(body)
    if not skills:
        return
    if len(skills) > MOST_SKILLS:
        fail("container.skills", f"List should have at most {MOST_SKILLS} items")
    for wanted in skills:
        world.skills.resolve(workspace_id, wanted)


def container_skills(body: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """Return the skills that a message names for its container."""
    container = body.get("container")
    return container.get("skills") or () if isinstance(container, dict) else ()


def _check_file(
    kind: str, source: Mapping[str, Any], path: str, workspace_id: str, world: World
) -> None:
    file_id = source.get("file_id")
    if not isinstance(file_id, str):
        fail(f"{path}.file_id", "Field required")
    file = world.files.usable(workspace_id, file_id)
    if kind in SOURCE_TYPES and not file.mime_type.startswith(SOURCE_TYPES[kind]):
        fail(f"{path}.file_id", f"a file of type {file.mime_type} cannot be the source of a {kind}")


def _blocks(body: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for i, message in enumerate(body["messages"]):
        if not isinstance(message["content"], str):
            yield from _inner(message["content"], f"messages.{i}.content")


def _inner(
    blocks: Sequence[Mapping[str, Any]], path: str
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for i, block in enumerate(blocks):
        yield f"{path}.{i}", block
        content = block.get("content")
        if block["type"] == "tool_result" and isinstance(content, list):
            yield from _inner(content, f"{path}.{i}.tool_result.content")
