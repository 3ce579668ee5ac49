"""An answer before it is written: content blocks, to be written whole or as a stream."""

from collections.abc import Callable, Mapping
from typing import Any, Final

import orjson
from attrs import frozen

from claude_lite.emulator.answers.tokens import of_text

NewId = Callable[[str], str]  # from a prefix, such as "toolu_01", to an id
Save = Callable[[str, int], str]  # from a file's name and size in bytes to the file's id


def json_text(value: Mapping[str, Any]) -> str:
    """Write a tool's input as JSON; an empty input is an empty text, as in the API's streams."""
    return orjson.dumps(value).decode() if value else ""


@frozen
class Block:
    """A content block. A stream brings `body` in pieces, and `fields` at the start.

    For a tool call, the body is the JSON text of the input, and `value` is the whole input, even
    if the body is cut. The result of a server tool has no body.
    """

    kind: str
    body: str
    fields: Mapping[str, Any] = {}
    value: Mapping[str, Any] | None = None
    hidden: bool = False  # thinking whose tokens count, but whose text is not shown

    @property
    def is_call(self) -> bool:
        """Whether the block calls a tool."""
        return self.value is not None

    @property
    def shown(self) -> str:
        """The body as the client sees it."""
        return "" if self.hidden else self.body

    def whole(self) -> dict[str, Any]:
        """Return the block as a whole message has it."""
        if self.kind == "text":
            return {"type": "text", "text": self.body, "citations": None}
        if self.kind == "thinking":
            return {"type": "thinking", "thinking": self.shown, **self.fields}
        if not self.is_call:
            return {"type": self.kind, **self.fields}
        return {"type": self.kind, **self.fields, "input": self._input(), **_CALLER}

    def start(self) -> dict[str, Any]:
        """Return the block as its `content_block_start` event has it."""
        if self.kind == "text":
            return {"type": "text", "text": "", "citations": None}
        if self.kind == "thinking":
            return {"type": "thinking", "thinking": "", "signature": ""}
        if not self.is_call:
            return {"type": self.kind, **self.fields}
        return {"type": self.kind, **self.fields, "input": {}, **_CALLER}

    def _input(self) -> dict[str, Any]:
        """Return the input; of an input that was cut, only the complete members."""
        members = list((self.value or {}).items())
        for n in range(len(members), 0, -1):
            if self.body.startswith(json_text(dict(members[:n]))[:-1]):
                return dict(members[:n])
        return {}


_CALLER: Final = {"caller": {"type": "direct"}}


@frozen
class AnswerDraft:
    """The content of an answer, without the fields of the message around it."""

    blocks: tuple[Block, ...]
    stop_reason: str
    stop_sequence: str | None = None
    stop_details: Mapping[str, Any] | None = None
    searches: int = 0  # requests to the web search tool

    @property
    def ran_code(self) -> bool:
        """Whether the code execution tool was called."""
        return any(block.kind.endswith("code_execution_tool_result") for block in self.blocks)

    @property
    def thinking_tokens(self) -> int:
        """The output tokens that are thinking."""
        return sum(of_text(block.body) for block in self.blocks if block.kind == "thinking")

    @property
    def output_tokens(self) -> int:
        """The output tokens of the answer: at least 1, but none under `max_tokens: 0`."""
        least = 0 if not self.blocks and self.stop_reason == "max_tokens" else 1
        return max(least, sum(of_text(block.body) for block in self.blocks))
