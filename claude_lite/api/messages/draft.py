"""A message that is being written: the events of a stream are folded into the message.

Meaning of deltas: https://docs.claude.com/en/api/messages-streaming
A draft shares no object with the events that it takes, nor with its results. It keeps the pieces
of a text apart and joins them once, so that the work is linear. It parses no event and never
waits.
"""

from typing import TYPE_CHECKING, Any, Final, cast

from claude_lite.api.messages.content import INVALID_JSON, TOOL_USES
from claude_lite.api.messages.message import Message
from claude_lite.core.limits import in_memory, parse_json, values_in
from claude_lite.core.responses import unexpected
from claude_lite.core.structure import reader_for
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
BLOCK_EVENTS: Final = frozenset(
    {"content_block_start", "content_block_delta", "content_block_stop"}
)
TYPE_OF_KEY: Final = {
    **{key: type_ for type_, key in APPENDED.items()},
    "citation": "citations_delta",
    "signature": "signature_delta",
}
NOT_REPLACED: Final = frozenset({"type", "input", *APPENDED.values()})
REPLACED: Final = frozenset({"stop_reason", "stop_sequence", "stop_details"})
NOT_MERGED: Final = frozenset({"type", "delta", "usage", "content"})
GROWING: Final[dict[str, tuple[str, type[str] | type[dict[str, Any]]]]] = {
    "text": ("text", str),
    "thinking": ("thinking", str),
    **{tag: ("input", dict) for cls in TOOL_USES for tag in cls.TAGS},
}
"""The field of a block that its deltas fill, and the class of the field, by the block's type."""
MISSHAPEN: Final = (
    KeyError,
    IndexError,
    TypeError,
    AttributeError,
    ValueError,
    RecursionError,
)


class Draft:
    """The message of one stream.

    An event out of order raises `UnexpectedResponse`. `fit` has to be called with the event before:
    an event of an unexpected shape may raise one of `MISSHAPEN`.
    """

    def __init__(self, head: Response, limits: Limits) -> None:
        self.message: dict[str, Any] | None = None
        self._head = head
        self._limits = limits
        self._values = self._size = 0  # of JSON other than appended texts
        self._blocks: list[dict[str, Any]] = []
        self._parts: list[
            dict[str, list[Any]] | None
        ] = []  # by block: pieces to append; None once closed
        self._read_message = reader_for(Message)

    @property
    def blocks(self) -> int:
        """The number of blocks that have begun."""
        return len(self._blocks)

    @property
    def has_stop_reason(self) -> bool:
        """Whether the message has a stop reason: nothing is missing but `message_stop`."""
        return bool(self.message and self.message.get("stop_reason"))

    def fold(self, event: dict[str, Any], text: bytes) -> bool:
        """Fold in an event, whose JSON was *text*; return False if it is not part of a message."""
        kind = event["type"]
        if kind not in FOLDED:
            return False
        if kind != "content_block_delta" or event["delta"].get("type") not in APPENDED:
            self._add(text)  # `weigh` counts the appended texts of the other deltas
        getattr(self, f"_{kind}")(_copied(event))
        return True

    def appender(self, index: int, key: str) -> "Callable[[str], None]":
        """The function that appends text to field *key* of block *index*, if the block is open."""
        append: Callable[[str], None] = self._open(index).setdefault(key, []).append
        return append

    def result(self) -> Message:
        """The message so far; there has to be a `message`."""
        try:
            blocks = [self._block(index) for index in range(len(self._blocks))]
            message = self._read_message(_copied({**(self.message or {}), "content": blocks}))
        except MISSHAPEN as error:
            raise unexpected(self._head, f"the message has an unexpected shape ({error})") from None
        message.__dict__["_response"] = self._head
        return cast("Message", message)

    def details(self) -> dict[str, Any]:
        """Details for an error: the message as JSON (None if it does not fit), and its usage."""
        if self.message is None:
            return {}
        try:
            partial = self.result().to_dict()
        except ClaudeError:
            partial = None
        return {"partial": partial, "usage": _copied(self.message.get("usage"))}

    def weigh(self) -> int:
        """The bytes of memory that the message takes. This is slow: it joins all texts."""
        size = self._size
        for block in self._blocks:
            texts = (block.get("text"), block.get("thinking"))
            size += sum(in_memory(text) for text in texts if isinstance(text, str))
        for parts in filter(None, self._parts):
            for key in parts.keys() - {"citations"}:
                parts[key][:] = ["".join(parts[key])]  # pieces take several times as much memory
                size += in_memory(parts[key][0])
        return size

    def _message_start(self, event: dict[str, Any]) -> None:
        if self.message is not None:
            raise unexpected(self._head, "the stream has a second message_start")
        self.message = event["message"]
        for block in event["message"]["content"]:
            self._blocks.append(block)
            self._parts.append(None)

    def _content_block_start(self, event: dict[str, Any]) -> None:
        if self.message is None or event["index"] != len(self._blocks):
            raise unexpected(
                self._head, f"block {event['index']} starts where block {len(self._blocks)} is next"
            )
        block = event["content_block"]
        to = block.get("to")
        if block.get("type") == "fallback" and isinstance(to, dict) and "model" in to:
            self.message = {**self.message, "model": to["model"]}  # it writes from here on
        self._blocks.append(block)
        self._parts.append({})

    def _content_block_delta(self, event: dict[str, Any]) -> None:
        """Fold in a delta that `MessageDecoder` did not append as text."""
        index, delta = event["index"], event["delta"]
        parts = self._open(index)
        kind = delta.get("type")
        if kind in APPENDED:
            parts.setdefault(APPENDED[kind], []).append(delta[APPENDED[kind]])
        elif kind == "citations_delta":
            parts.setdefault("citations", []).append(delta.get("citation"))
        elif kind in {"signature_delta", "compaction_delta"}:
            changes = {key: value for key, value in delta.items() if key not in NOT_REPLACED}
            self._blocks[index] = {**self._blocks[index], **changes}

    def _open(self, index: int) -> dict[str, list[Any]]:
        """The pieces to append to block *index*, which has to be open."""
        parts = self._parts[index] if index.__class__ is int and index >= 0 else None
        if parts is None:
            raise unexpected(self._head, f"there is a delta for block {index!r}, which is not open")
        return parts

    def _content_block_stop(self, event: dict[str, Any]) -> None:
        """Complete the block. Only here the input of a tool is parsed."""
        index = event["index"]
        parts = self._open(index).get("partial_json", ())
        text = b"".join([part.encode("utf-8", "surrogatepass") for part in parts])
        block = self._joined(index)
        if text:
            block["input"] = self._tool_input(text)
        self._blocks[index] = block
        self._parts[index] = None

    def _message_delta(self, event: dict[str, Any]) -> None:
        if self.message is None:
            raise unexpected(self._head, "message_delta came before message_start")
        usage = self.message.get("usage")
        message = {**self.message, "usage": {**usage} if isinstance(usage, dict) else {}}
        for key, value in {**event["delta"], **event}.items():
            if key not in NOT_MERGED and (
                value is not None or key in REPLACED or key not in message
            ):
                message[key] = value
        for key, value in (event.get("usage") or {}).items():
            if value is not None or key not in message["usage"]:
                message["usage"][key] = value
        self.message = message

    def _message_stop(self, _: dict[str, Any]) -> None:
        if self.message is None:
            raise unexpected(self._head, "message_stop came before message_start")
        for index, parts in enumerate(self._parts):
            if parts is not None:
                self._content_block_stop({"index": index})

    def _tool_input(self, text: bytes) -> dict[str, Any]:
        """Parse the input of a tool. The text is kept if it is not a JSON object: it may be cut."""
        try:
            value = parse_json(text, self._limits, strict=True)
        except ValueError:
            value = None
        if isinstance(value, dict):
            self._add(text)
            return value
        kept = text.decode("utf-8", "surrogatepass")
        self._size += in_memory(kept)
        return {INVALID_JSON: kept}

    def _add(self, data: bytes) -> None:
        """Count JSON that becomes part of the message; raises `ResponseTooLarge`."""
        self._size += len(data)
        self._values += values_in(data)
        most = self._limits.max_values
        if most is not None and self._values > most:
            raise ResponseTooLarge.over_limit(
                "max_values", most, f"the message has over {most} values"
            )

    def _block(self, index: int) -> dict[str, Any]:
        """Block *index* so far. The input of a tool cannot be read before the block is complete."""
        block, parts = self._joined(index), self._parts[index]
        if parts is not None and ("partial_json" in parts or block.get("input") == {}):
            block["input"] = {INVALID_JSON: "".join(parts.get("partial_json", ()))}
        return block

    def _joined(self, index: int) -> dict[str, Any]:
        """Block *index* with everything from its deltas except the input of a tool."""
        block = {**self._blocks[index]}
        for key, parts in (self._parts[index] or {}).items():
            old = block.get(key)
            if key == "citations":
                block[key] = [*(old if isinstance(old, list) else ()), *parts]
            elif key != "partial_json":
                # Neither "" + text nor the join of one text makes a copy, which may be large.
                block[key] = (old if isinstance(old, str) else "") + "".join(parts)
                if not isinstance(block.get("type"), str):
                    block["type"] = key  # a text delta makes a text block of it
        return block


def fit(event: dict[str, Any], blocks: int) -> None:
    """Put into *event* what it needs to be folded, and lacks or has with a wrong type.

    *blocks* is the number of blocks that have begun. A delta without a `type` gets the type that
    goes with its other key.
    """
    kind = event["type"]
    if kind == "message_start":
        content = _object(event, "message").get("content")
        content = content if isinstance(content, list) else []
        event["message"]["content"] = [block for block in content if isinstance(block, dict)]
    elif kind == "message_delta":
        _object(event, "delta")
        if event.get("usage") is not None:
            _object(event, "usage")
    elif kind in BLOCK_EVENTS:
        if event.get("index").__class__ is not int:
            event["index"] = blocks - (kind != "content_block_start")
        if kind == "content_block_start":
            _fill(_object(event, "content_block"))
        elif kind == "content_block_delta":
            delta = _object(event, "delta")
            if not isinstance(delta.get("type"), str):
                delta["type"] = next((t for key, t in TYPE_OF_KEY.items() if key in delta), "")
            key = APPENDED.get(delta["type"])
            if key is not None and not isinstance(delta.get(key), str):
                delta[key] = ""


def _object(event: dict[str, Any], key: str) -> dict[str, Any]:
    """Return the object under *key*, after putting an empty one there if there is none."""
    if not isinstance(event.get(key), dict):
        event[key] = {}
    found: dict[str, Any] = event[key]
    return found


def _fill(block: dict[str, Any]) -> None:
    """Add the empty field that the deltas of *block* fill, if the start of the block lacks it."""
    type_ = block.get("type")
    key, kind = GROWING.get(type_ if isinstance(type_, str) else "", ("", str))
    value = block.get(key)
    if key and (value is None or value == ""):
        block[key] = kind()
    elif kind is dict and isinstance(value, str):
        block[key] = {INVALID_JSON: value}


def _copied(value: Any) -> Any:
    """Copy JSON deeply."""
    if value.__class__ is dict:
        return {k: v if v.__class__ is str else _copied(v) for k, v in value.items()}
    if value.__class__ is list:
        return [_copied(item) for item in value]
    return value
