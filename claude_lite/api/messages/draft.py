"""A message as far as it has been written: the events of its stream are folded into it.

What it keeps shares nothing with the events that it is given, nor with its results. Pieces of
a text are kept apart, and joined once. It never parses an event, and never waits.
Meaning of deltas: https://docs.claude.com/en/api/messages-streaming
"""

from typing import TYPE_CHECKING, Any, Final, cast

from claude_lite.api.messages.content import (
    ContentBlock,
    MCPToolUseBlock,
    ServerToolUseBlock,
    ToolUseBlock,
)
from claude_lite.api.messages.message import Message
from claude_lite.core.limits import in_memory, parse_json, values_in
from claude_lite.core.responses import unexpected
from claude_lite.core.structure import hook_for
from claude_lite.errors import ClaudeError, ResponseTooLarge
from claude_lite.wire import Limits, Response

if TYPE_CHECKING:
    from collections.abc import Callable

OPENING_EVENTS: Final = frozenset({"message_start", "content_block_start"})
APPENDED: Final = {
    "text_delta": "text",
    "thinking_delta": "thinking",
    "input_json_delta": "partial_json",
}
FOLDED: Final = OPENING_EVENTS | {
    "content_block_delta",
    "content_block_stop",
    "message_delta",
    "message_stop",
}
REPLACED: Final = frozenset({"stop_reason", "stop_sequence", "stop_details"})
NOT_MERGED: Final = frozenset({"type", "delta", "usage", "content"})
TOOL_USES: Final = (ToolUseBlock, ServerToolUseBlock, MCPToolUseBlock)
MISSHAPEN: Final = (
    KeyError,
    IndexError,
    TypeError,
    AttributeError,
    ValueError,
    RecursionError,
)


class Draft:
    """The message of one stream. What does not fit into it raises `UnexpectedResponse`.

    Some of what is out of shape raises one of `MISSHAPEN` instead, as it is come across.
    """

    def __init__(self, head: Response, limits: Limits) -> None:
        self.message: dict[str, Any] | None = None
        self._head = head
        self._limits = limits
        self._values = self._size = 0  # of the events that bring more than a text to append
        self._blocks: list[dict[str, Any]] = []
        self._parts: list[dict[str, list[Any]] | None] = []  # what to append; None once closed
        self._cut: dict[int, str] = {}  # input that came to no JSON object, by block
        self._message_hook, self._block_hook = hook_for(Message), hook_for(ContentBlock)

    def fold(self, event: dict[str, Any], text: bytes) -> bool:
        """Take in an event, and the JSON *text* that it was; False if it is no part of this."""
        kind = event["type"]
        if kind not in FOLDED:
            return False
        if kind != "content_block_delta" or event["delta"]["type"] not in APPENDED:
            self._add(text)  # of the others only their own text is kept
        getattr(self, f"_{kind}")(_copied(event))
        return True

    def appender(self, index: int, key: str) -> "Callable[[str], None]":
        """What to call with more text for *key* of block *index*, as long as that is open."""
        append: Callable[[str], None] = self._open(index).setdefault(key, []).append
        return append

    def result(self) -> Message:
        """The message so far, if it has begun."""
        try:
            blocks = [self._block(index) for index in range(len(self._blocks))]
            message = self._message_hook(_copied({**(self.message or {}), "content": blocks}))
        except MISSHAPEN as error:
            raise unexpected(self._head, f"a message out of shape ({error})") from None
        for index, block in enumerate(message.content):
            text = self._cut.get(index) or self._json_text(index)
            if text and isinstance(block, TOOL_USES):
                block.__dict__["_partial_json"] = text
        message.__dict__["_response"] = self._head
        return cast("Message", message)

    def details(self) -> dict[str, Any]:
        """What an error tells of it: the message as JSON (None if out of shape), and its usage."""
        if self.message is None:
            return {}
        try:
            partial = self.result().to_dict()
        except ClaudeError:
            partial = None
        return {"partial": partial, "usage": _copied(self.message["usage"])}

    def weigh(self) -> int:
        """The bytes that it takes. Not to be asked often: all its texts are put together."""
        size = self._size
        for block in self._blocks:
            size += sum(in_memory(block.get(key) or "") for key in ("text", "thinking"))
        for parts in filter(None, self._parts):
            for key in parts.keys() - {"citations"}:
                parts[key][:] = ["".join(parts[key])]  # in pieces it takes many times as much
                size += in_memory(parts[key][0])
        return size

    def _message_start(self, event: dict[str, Any]) -> None:
        if self.message is not None:
            raise unexpected(self._head, "a second message_start")
        self.message = event["message"]
        for block in event["message"]["content"]:
            self._blocks.append(block)
            self._parts.append(None)

    def _content_block_start(self, event: dict[str, Any]) -> None:
        if self.message is None or event["index"] != len(self._blocks):
            raise unexpected(
                self._head, f"block {event['index']} where {len(self._blocks)} is next"
            )
        block = event["content_block"]
        if block["type"] == "fallback":  # from here on it is another model's
            model = block["to"].get("model", self.message["model"])
            self._replace({**self.message, "model": model})
        self._blocks.append(block)
        self._parts.append({})

    def _content_block_delta(self, event: dict[str, Any]) -> None:
        """Take a delta in that is not only text: all but the most frequent."""
        index, delta = event["index"], event["delta"]
        parts = self._open(index)
        kind = delta["type"]
        if kind in APPENDED:
            parts.setdefault(APPENDED[kind], []).append(delta[APPENDED[kind]])
        elif kind == "citations_delta":
            parts.setdefault("citations", []).append(delta["citation"])
        elif kind in {"signature_delta", "compaction_delta"}:
            block = {**self._blocks[index], **delta, "type": self._blocks[index]["type"]}
            self._block_hook(block)
            self._blocks[index] = block

    def _open(self, index: int) -> dict[str, list[Any]]:
        """What there is to append to block *index*."""
        parts = self._parts[index] if index.__class__ is int and index >= 0 else None
        if parts is None:
            raise unexpected(self._head, f"a delta for block {index!r}, which is not open")
        return parts

    def _content_block_stop(self, event: dict[str, Any]) -> None:
        """Put the block together; the input of a tool is parsed here, and only here."""
        index = event["index"]
        text = b"".join(map(str.encode, self._open(index).get("partial_json", ())))
        block = self._block(index)
        if text:
            value = self._tool_input(text)
            if value is None:
                self._cut[index] = text.decode()
            block["input"] = value or {}
        self._block_hook(block)
        self._blocks[index] = block
        self._parts[index] = None

    def _message_delta(self, event: dict[str, Any]) -> None:
        if self.message is None:
            raise unexpected(self._head, "message_delta before message_start")
        message = {**self.message, "usage": {**self.message["usage"]}}
        for key, value in {**event["delta"], **event}.items():
            if key not in NOT_MERGED and (
                value is not None or key in REPLACED or key not in message
            ):
                message[key] = value
        for key, value in (event.get("usage") or {}).items():
            if value is not None or key not in message["usage"]:
                message["usage"][key] = value
        self._replace(message)

    def _replace(self, message: dict[str, Any]) -> None:
        """Go on with a message that has changed, if it has kept its shape."""
        self._message_hook({**message, "content": []})
        self.message = message

    def _message_stop(self, _: dict[str, Any]) -> None:
        if self.message is None:
            raise unexpected(self._head, "message_stop before message_start")
        for index, parts in enumerate(self._parts):
            if parts is not None:
                self._content_block_stop({"index": index})

    def _tool_input(self, text: bytes) -> dict[str, Any] | None:
        """The JSON object that *text* is; None if it was cut short."""
        try:
            value = parse_json(text, self._limits)
        except ValueError:
            return None
        self._add(text)
        return value if isinstance(value, dict) else None

    def _add(self, data: bytes) -> None:
        """Take account of JSON that becomes a part of the message."""
        self._size += len(data)
        self._values += values_in(data)
        most = self._limits.max_values
        if most is not None and self._values > most:
            raise ResponseTooLarge.past("max_values", most, f"a message of over {most} values")

    def _json_text(self, index: int) -> str:
        """The text of a tool's input so far, if block *index* is open."""
        return "".join((self._parts[index] or {}).get("partial_json", ()))

    def _block(self, index: int) -> dict[str, Any]:
        """Block *index* with all that its deltas brought, but for a tool's input."""
        block = {**self._blocks[index]}
        for key, parts in (self._parts[index] or {}).items():
            if key == "citations":
                block[key] = [*(block.get(key) or []), *parts]
            elif key != "partial_json":
                block[key] = (block.get(key) or "") + "".join(parts)
        return block


def _copied(value: Any) -> Any:
    """JSON that shares nothing with *value*."""
    if value.__class__ is dict:
        return {k: v if v.__class__ is str else _copied(v) for k, v in value.items()}
    if value.__class__ is list:
        return [_copied(item) for item in value]
    return value
