"""Checks of the content blocks and tools in a request: required fields and their types.

Unknown fields of a block or a tool are accepted.
"""

from collections.abc import Mapping
from typing import Any, Final

from claude_lite.emulator.reading.checks import (
    Check,
    anything,
    boolean,
    filled,
    listing,
    literal,
    mapping,
    nullable,
    pattern,
    record,
    string,
    string_or,
    tagged,
)
from claude_lite.emulator.reading.problems import Problem

CACHE_CONTROL: Final = nullable(
    record({"type": literal("ephemeral")}, {"ttl": literal("5m", "1h")}, closed=True)
)


def _text(value: Any, path: str) -> None:
    string(value, path)
    if not value:
        raise Problem(400, "messages: text content blocks must be non-empty")


def _block(required: Mapping[str, Check], optional: Mapping[str, Check] | None = None) -> Check:
    return record(
        {"type": string, **required}, {"cache_control": CACHE_CONTROL, **(optional or {})}
    )


def open_to(kinds: Mapping[str, Check]) -> Check:
    """Require a block; check it only if its type is in *kinds*."""

    def check(value: Any, path: str) -> None:
        record({"type": string})(value, path)
        kinds.get(value["type"], anything)(value, f"{path}.{value['type']}")

    return check


TEXT_BLOCK: Final = _block({"text": _text})
_SOURCE = record({"type": string})
_ATTACHED: Final[Mapping[str, Check]] = {
    "text": TEXT_BLOCK,
    "image": _block({"source": _SOURCE}),
    "document": _block(
        {"source": _SOURCE}, {"title": nullable(string), "context": nullable(string)}
    ),
    "search_result": _block({"source": string, "title": string, "content": listing(TEXT_BLOCK)}),
}
_CALL = _block({"id": filled, "name": filled, "input": mapping})
_RESULT = _block({"tool_use_id": filled, "content": anything})

BLOCKS: Final[Mapping[str, Check]] = {
    **_ATTACHED,
    "thinking": record({"type": string, "thinking": string, "signature": string}),
    "redacted_thinking": record({"type": string, "data": string}),
    "tool_use": _CALL,
    "tool_result": _block(
        {"tool_use_id": filled},
        {"content": string_or(listing(open_to(_ATTACHED))), "is_error": boolean},
    ),
    "server_tool_use": _CALL,
    "web_search_tool_result": _RESULT,
    "web_fetch_tool_result": _RESULT,
    "code_execution_tool_result": _RESULT,
    "bash_code_execution_tool_result": _RESULT,
    "text_editor_code_execution_tool_result": _RESULT,
    "tool_search_tool_result": _RESULT,
    "container_upload": _block({"file_id": filled}),
}

_NAMED = record(
    {
        "name": pattern("^[a-zA-Z0-9_-]{1,128}$"),
        "input_schema": record({"type": literal("object")}),
    },
    {
        "cache_control": CACHE_CONTROL,
        "description": string,
        "strict": boolean,
        "defer_loading": boolean,
    },
)
_PREDEFINED = tagged(
    dict.fromkeys(
        (
            "bash_20250124",
            "browser_toolset_20260801",
            "code_execution_20250522",
            "code_execution_20250825",
            "code_execution_20260120",
            "code_execution_20260521",
            "computer_toolset_20260801",
            "memory_20250818",
            "text_editor_20250124",
            "text_editor_20250429",
            "text_editor_20250728",
            "tool_search_tool_bm25",
            "tool_search_tool_bm25_20251119",
            "tool_search_tool_regex",
            "tool_search_tool_regex_20251119",
            "web_fetch_20250910",
            "web_fetch_20260209",
            "web_fetch_20260309",
            "web_fetch_20260318",
            "web_search_20250305",
            "web_search_20260209",
            "web_search_20260318",
        ),
        _block({}, {"name": filled}),
    )
)


def tool(value: Any, path: str) -> None:
    """Require a tool: a custom tool with its schema, or a tool that the API defines."""
    mapping(value, path)
    if value.get("type") in (None, "custom"):
        _NAMED(value, f"{path}.custom")
    else:
        _PREDEFINED(value, path)


def beta_tool(value: Any, path: str) -> None:
    """Require a tool; a tool with a type may have any type."""
    mapping(value, path)
    if value.get("type") in (None, "custom"):
        _NAMED(value, f"{path}.custom")
