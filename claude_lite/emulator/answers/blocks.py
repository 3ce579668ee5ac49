"""A message before it is written: its content blocks, whole or to be told in pieces."""

from collections.abc import Callable, Mapping
from typing import Any, Final

import orjson
from attrs import frozen

from claude_lite.emulator.answers.tokens import of_text

NewId = Callable[[str], str]  # from a prefix ("toolu_01")
Save = Callable[[str, int], str]  # from a file's name and size


def json_text(value: Mapping[str, Any]) -> str:
    """Write a tool's input; nothing at all if it is empty, as the API streams it."""
    return orjson.dumps(value).decode() if value else ""


@frozen
class Block:
    """A content block: `body` is what a stream brings in pieces, `fields` what it brings whole.

    For a tool's input the body is JSON text, and `value` what it was before it was cut. A
    server tool's result has no body: it comes whole.
    """

    kind: str
    body: str
    fields: Mapping[str, Any] = {}
    value: Mapping[str, Any] | None = None
    hidden: bool = False  # thinking that is counted but not shown

    @property
    def is_call(self) -> bool:
        """Whether the body is a tool's input."""
        return self.value is not None

    @property
    def shown(self) -> str:
        """The body as the caller gets to see it."""
        return "" if self.hidden else self.body

    def whole(self) -> dict[str, Any]:
        """Write the block as a message carries it."""
        if self.kind == "text":
            return {"type": "text", "text": self.body, "citations": None}
        if self.kind == "thinking":
            return {"type": "thinking", "thinking": self.shown, **self.fields}
        if not self.is_call:
            return {"type": self.kind, **self.fields}
        return {"type": self.kind, **self.fields, "input": self._input(), **_CALLER}

    def start(self) -> dict[str, Any]:
        """Write the block as its stream begins."""
        if self.kind == "text":
            return {"type": "text", "text": "", "citations": None}
        if self.kind == "thinking":
            return {"type": "thinking", "thinking": "", "signature": ""}
        if not self.is_call:
            return {"type": self.kind, **self.fields}
        return {"type": self.kind, **self.fields, "input": {}, **_CALLER}

    def _input(self) -> dict[str, Any]:
        """Return the input, or as many of its members as were complete when it was cut."""
        members = list((self.value or {}).items())
        for n in range(len(members), 0, -1):
            if self.body.startswith(json_text(dict(members[:n]))[:-1]):
                return dict(members[:n])
        return {}


_CALLER: Final = {"caller": {"type": "direct"}}


@frozen
class AnswerDraft:
    """An answer without an envelope."""

    blocks: tuple[Block, ...]
    stop_reason: str
    stop_sequence: str | None = None
    stop_details: Mapping[str, Any] | None = None
    searches: int = 0  # of the web

    @property
    def ran_code(self) -> bool:
        """Whether code was run in a container."""
        return any(block.kind.endswith("code_execution_tool_result") for block in self.blocks)

    @property
    def thinking_tokens(self) -> int:
        """How many of the output tokens are thinking."""
        return sum(of_text(block.body) for block in self.blocks if block.kind == "thinking")

    @property
    def output_tokens(self) -> int:
        """How many tokens it is: one at least."""
        return max(1, sum(of_text(block.body) for block in self.blocks))
