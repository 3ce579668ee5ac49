"""Read the prompt of a request: its last user message, and the controls in it.

A control is `[[name]]` or `[[name:value]]` in a text of the last user message; the docstring of
`claude_lite.emulator` lists the controls. Earlier messages decide nothing but the hash. The
hash is in the answer, and shows that a question and an answer belong together.
"""

import re
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any, Final

import orjson
from attrs import frozen

CONTROL: Final = re.compile(r"\[\[([a-z]+)(?::([^\[\]]*))?\]\]")


def message_hash(messages: Any) -> str:
    """Hash the messages of a request.

    Args:
        messages: The value of the field `messages`, as plain JSON data.

    Returns:
        BLAKE2b (4 bytes, in hexadecimal) of the JSON of *messages* with sorted keys.

    """
    canonical = orjson.dumps(messages, option=orjson.OPT_SORT_KEYS)
    return blake2b(canonical, digest_size=4).hexdigest()


@frozen
class Prompt:
    """The parts of a request that decide the answer."""

    hash: str
    text: str  # of the last user message
    results: tuple[str, ...]  # of tools, in the last user message
    controls: tuple[tuple[str, str], ...]  # name and value; the value is "" if there is none

    def has(self, control: str) -> bool:
        """Whether the text has this control."""
        return any(name == control for name, _ in self.controls)

    def values(self, control: str) -> list[str]:
        """Return the values of all occurrences of a control."""
        return [value for name, value in self.controls if name == control]


def read_prompt(messages: list[Mapping[str, Any]]) -> Prompt:
    """Read the last user message of a conversation."""
    content = next((m["content"] for m in reversed(messages) if m["role"] == "user"), "")
    blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
    text = "\n".join(block["text"] for block in blocks if block["type"] == "text")
    results = tuple(_result(block) for block in blocks if block["type"] == "tool_result")
    found = ((name, value or "") for name, value in CONTROL.findall(text))
    goes_on = messages[-1]["role"] == "assistant"  # the client sends back the paused answer
    controls = tuple(each for each in found if not (goes_on and each[0] == "pause"))
    return Prompt(message_hash(messages), text, results, controls)


def _result(block: Mapping[str, Any]) -> str:
    content = block.get("content") or "(nothing)"
    if isinstance(content, list):
        parts = (b["text"] if b["type"] == "text" else f"({b['type']})" for b in content)
        content = "\n".join(parts)
    return f"error {content}" if block.get("is_error") else str(content)
