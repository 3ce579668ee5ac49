"""What the emulator reads in a request before it answers: the last turn, and controls in it.

A control is `[[name]]` or `[[name:value]]` in a text of the last user message; the package's
docstring lists them. Nothing else of the conversation decides what the answer is, apart from
its hash, which proves that question and answer belong together.
"""

import re
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any, Final

import orjson
from attrs import frozen

CONTROL: Final = re.compile(r"\[\[([a-z]+)(?::([^\[\]]*))?\]\]")


def message_hash(messages: Any) -> str:
    """Hash a request's `messages`: BLAKE2b (4 bytes, hex) of their JSON with sorted keys."""
    canonical = orjson.dumps(messages, option=orjson.OPT_SORT_KEYS)
    return blake2b(canonical, digest_size=4).hexdigest()


@frozen
class Prompt:
    """A request, read."""

    hash: str
    text: str  # of the last user message
    results: tuple[str, ...]  # what tools returned in it
    controls: tuple[tuple[str, str], ...]  # name and value, "" if it has none

    def has(self, control: str) -> bool:
        """Whether a control is in the text."""
        return any(name == control for name, _ in self.controls)

    def values(self, control: str) -> list[str]:
        """List the values of every occurrence of a control."""
        return [value for name, value in self.controls if name == control]


def read_prompt(messages: list[Mapping[str, Any]]) -> Prompt:
    """Read the last user message of a conversation."""
    content = next((m["content"] for m in reversed(messages) if m["role"] == "user"), "")
    blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
    text = "\n".join(block["text"] for block in blocks if block["type"] == "text")
    results = tuple(_result(block) for block in blocks if block["type"] == "tool_result")
    found = ((name, value or "") for name, value in CONTROL.findall(text))
    goes_on = messages[-1]["role"] == "assistant"  # from what it wrote before it paused
    controls = tuple(each for each in found if not (goes_on and each[0] == "pause"))
    return Prompt(message_hash(messages), text, results, controls)


def _result(block: Mapping[str, Any]) -> str:
    content = block.get("content") or "(nothing)"
    if isinstance(content, list):
        parts = (b["text"] if b["type"] == "text" else f"({b['type']})" for b in content)
        content = "\n".join(parts)
    return f"error {content}" if block.get("is_error") else str(content)
