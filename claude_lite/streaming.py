"""A message stream as a state machine: bytes in, events out, a message at the end.

`MessageDecoder` is what a stream's chunks are fed to. It decodes them, folds the events into
the message, and says when the message has begun (`begun`), is complete (`complete`) or has
failed (`error`). It never reads or waits; a stream that ends is told so by `close`.
Order of events and meaning of deltas: https://docs.claude.com/en/api/messages-streaming
"""

from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar, cast

import orjson

from claude_lite.codec import hook_for
from claude_lite.content import ContentBlock, MCPToolUseBlock, ServerToolUseBlock, ToolUseBlock
from claude_lite.errors import ClaudeError, ResponseTooLarge, StreamTruncated
from claude_lite.events import (
    ContentBlockDeltaEvent,
    Delta,
    Event,
    InputJSONDelta,
    TextDelta,
    ThinkingDelta,
)
from claude_lite.model import set_values
from claude_lite.models import Message
from claude_lite.responses import error_from_envelope, parse_json, unexpected, values_in
from claude_lite.sse import WIDEST, SSEDecoder, in_memory
from claude_lite.wire import DEFAULT_LIMITS, Limits, Response

if TYPE_CHECKING:
    from collections.abc import Callable

E_co = TypeVar("E_co", covariant=True)
R_co = TypeVar("R_co", covariant=True)

APPENDED: Final = {
    "text_delta": "text",
    "thinking_delta": "thinking",
    "input_json_delta": "partial_json",
}
DELTA: Final = "content_block_delta"
DELTAS: Final[dict[str, type[Delta]]] = {
    "text_delta": TextDelta,
    "thinking_delta": ThinkingDelta,
    "input_json_delta": InputJSONDelta,
}
REPLACED: Final = frozenset({"stop_reason", "stop_sequence", "stop_details"})
LONG: Final = 64 * 1024
PRELUDE: Final = frozenset({"message_start", "content_block_start"})
FOLDED: Final = PRELUDE | {
    DELTA,
    "content_block_stop",
    "message_delta",
    "message_stop",
}
SPEAKING: Final = FOLDED | {"", "error"}  # events that have something to say

TOOL_USES: Final = (ToolUseBlock, ServerToolUseBlock, MCPToolUseBlock)
MISSHAPEN: Final = (
    KeyError,
    IndexError,
    TypeError,
    AttributeError,
    ValueError,
    RecursionError,
)
new: Final = object.__new__
NOT_MERGED: Final = frozenset({"type", "delta", "usage", "content"})


class Decoder(Protocol[E_co, R_co]):
    """What a streamed operation's bytes are fed to.

    `begun`: the caller has something to lose by starting over. `complete`: the end was seen.
    `error`: what went wrong, after the items returned so far.
    """

    begun: bool
    complete: bool
    error: ClaudeError | None

    def receive(self, data: bytes, /) -> list[Any]:
        """Take a chunk; return the raw items that it completes. Never raises."""
        ...

    def close(self) -> list[Any]:
        """The body is over; return what that completes. If it is too early, `error` is set."""
        ...

    def fail(self, error: ClaudeError, /) -> None:
        """The body broke off with *error*, which is given what is known so far."""

    def item(self, raw: Any, /) -> E_co:
        """The value that one raw item stands for."""
        ...

    def result(self) -> R_co:
        """All of it, so far."""
        ...


class MessageDecoder:
    """The decoder of a message stream. Items are events, the result is the `Message`.

    What it keeps shares nothing with the events that it returns, nor with its results.
    """

    def __init__(
        self, head: Response, max_event: int | None = None, limits: Limits = DEFAULT_LIMITS
    ) -> None:
        self.head = head
        self.begun = False
        self.complete = False
        self.error: ClaudeError | None = None
        self.message: dict[str, Any] | None = None
        self._sse = SSEDecoder(max_event)
        self._limits = limits
        self._came = 0
        wholes = (max_event, limits.max_response)
        self._most = None if None in wholes else max(filter(None, wholes))
        self._weigh_at = (self._most or 0) // WIDEST  # what came until then cannot be too much
        self._values = self._size = 0  # of the events that bring more than a text to append
        self._blocks: list[dict[str, Any]] = []
        self._parts: list[dict[str, list[Any]] | None] = []  # what to append; None once closed
        self._index: int | None = None  # of the block that `_append` adds to, under `_key`
        self._key = ""
        self._append: Callable[[str], None]  # set with them
        self._cut: dict[int, str] = {}  # input that came to no JSON object, by block
        self._event_hook, self._message_hook = hook_for(Event), hook_for(Message)
        self._block_hook = hook_for(ContentBlock)

    def receive(self, data: bytes) -> list[dict[str, Any]]:
        """Take a chunk and return the events that it completes, as JSON objects."""
        events: list[dict[str, Any]] = []
        name = ""
        self._came += len(data)
        try:
            if self._most is not None and self._came > self._weigh_at:
                self._weigh(self._most)
            for name, text in self._sse.receive(data):
                if self.complete or self.error:
                    break
                event = self._appended(text) if name == DELTA else None
                event = event or self._event(name, text)
                if event is not None:
                    events.append(event)
        except ClaudeError as error:
            self.fail(error)
        except MISSHAPEN as error:
            self.fail(unexpected(self.head, f"an event {name[:99]!r} out of shape ({error!r})"))
        return events

    def close(self) -> list[dict[str, Any]]:
        """The body is over: without `message_stop` it was truncated."""
        self.fail(StreamTruncated("the stream ended before message_stop"))
        return []

    def fail(self, error: ClaudeError) -> None:
        """The body broke off with *error*, which is given what is known so far."""
        if not self.complete and self.error is None:
            self.error = self._explain(error)

    def item(self, raw: dict[str, Any]) -> Event:
        """The event that *raw*, which was `receive`'s, becomes; it fits, or would not be there."""
        if raw["type"] == DELTA:  # most events; what the hook does, in one step
            said = raw["delta"]
            cls = DELTAS.get(said["type"])
            if cls is not None:
                raw["delta"] = delta = new(cls)
                set_values(delta, said)
                event = new(ContentBlockDeltaEvent)
                set_values(event, raw)
                return event
        return cast("Event", self._event_hook(raw))

    def result(self) -> Message:
        """The message so far; raises `UnexpectedResponse` if it has not even begun."""
        if self.message is None:
            raise self.error or unexpected(self.head, "no message_start")
        try:
            blocks = [self._block(index) for index in range(len(self._blocks))]
            message = self._message_hook(_copied({**self.message, "content": blocks}))
        except MISSHAPEN as error:
            raise unexpected(self.head, f"a message out of shape ({error})") from None
        for index, block in enumerate(message.content):
            text = self._cut.get(index) or self._json_text(index)
            if text and isinstance(block, TOOL_USES):
                block.__dict__["_partial_json"] = text
        message.__dict__["_response"] = self.head
        return cast("Message", message)

    def _event(self, name: str, text: bytes) -> dict[str, Any] | None:
        if text.strip() == b"[DONE]":
            return None
        bare = not text.strip() and name not in SPEAKING  # a heartbeat, say: its name is all of it
        event: dict[str, Any] = {"type": name} if bare else parse_json(text, self._limits)
        if event.get("type") is None:
            event["type"] = name
        kind = event["type"]
        if kind == "error":
            raise error_from_envelope(event, self.head)
        self._event_hook(event)
        if kind in FOLDED:
            if kind != DELTA or event["delta"]["type"] not in APPENDED:  # of those the text is kept
                self._add(text)
            getattr(self, f"_{kind}")(_copied(event))
            self.begun = self.begun or kind not in PRELUDE
        return event

    def _appended(self, text: bytes) -> dict[str, Any] | None:
        """Append what a delta brings that has only text, and return it; most events are this."""
        event: dict[str, Any]
        event = orjson.loads(text) if len(text) < LONG else parse_json(text, self._limits)
        if len(event) != 3 or event.get("type") != DELTA:  # noqa: PLR2004  # type, index, delta
            return None
        delta = event["delta"]
        key = APPENDED.get(delta["type"])
        if key is None or len(delta) != 2:  # noqa: PLR2004  # type and text
            return None
        part = delta[key]
        if part.__class__ is not str:
            raise unexpected(self.head, f"a {delta['type']} without text")
        index = event["index"]
        if index is not self._index or key is not self._key:
            self._append = self._open(index).setdefault(key, []).append
            self._index, self._key = index, key
            self.begun = True
        self._append(part)
        return event

    def _message_start(self, event: dict[str, Any]) -> None:
        if self.message is not None:
            raise unexpected(self.head, "a second message_start")
        self.message = event["message"]
        for block in event["message"]["content"]:
            self._blocks.append(block)
            self._parts.append(None)

    def _content_block_start(self, event: dict[str, Any]) -> None:
        if self.message is None or event["index"] != len(self._blocks):
            raise unexpected(self.head, f"block {event['index']} where {len(self._blocks)} is next")
        self._blocks.append(event["content_block"])
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
            raise unexpected(self.head, f"a delta for block {index!r}, which is not open")
        return parts

    def _content_block_stop(self, event: dict[str, Any]) -> None:
        """Put the block together; the input of a tool is parsed here, and only here."""
        index = event["index"]
        self._index = None
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
            raise unexpected(self.head, "message_delta before message_start")
        message = {**self.message, "usage": {**self.message["usage"]}}
        for key, value in {**event["delta"], **event}.items():
            if key not in NOT_MERGED and (
                value is not None or key in REPLACED or key not in message
            ):
                message[key] = value
        for key, value in (event.get("usage") or {}).items():
            if value is not None or key not in message["usage"]:
                message["usage"][key] = value
        self._message_hook({**message, "content": []})
        self.message = message

    def _message_stop(self, _: dict[str, Any]) -> None:
        if self.message is None:
            raise unexpected(self.head, "message_stop before message_start")
        for index, parts in enumerate(self._parts):
            if parts is not None:
                self._content_block_stop({"index": index})
        self.complete = True

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

    def _weigh(self, most: int) -> None:
        """Refuse a message that has grown too long. It is not looked at often: texts are short."""
        size = self._size
        for block in self._blocks:
            size += sum(in_memory(block.get(key) or "") for key in ("text", "thinking"))
        for parts in filter(None, self._parts):
            for key in parts.keys() - {"citations"}:
                parts[key][:] = ["".join(parts[key])]  # in pieces it takes many times as much
                size += in_memory(parts[key][0])
        if size > most:
            raise ResponseTooLarge.past("max_event", most, f"a message of over {most} bytes")
        self._weigh_at = self._came + max((most - size) // WIDEST, most // 8)

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

    def _explain(self, error: ClaudeError) -> ClaudeError:
        """Give *error* the head's ids and the message so far."""
        details = dict(error.details)
        if self.message is not None:
            details["partial"] = self._partial()
            details["usage"] = _copied(self.message["usage"])
        return error.amend(
            details=details,
            request_id=error.request_id or self.head.request_id,
            organization_id=error.organization_id or self.head.organization_id,
        )

    def _partial(self) -> dict[str, Any] | None:
        try:
            return self.result().to_dict()
        except ClaudeError:
            return None


def _copied(value: Any) -> Any:
    """JSON that shares nothing with *value*."""
    if value.__class__ is dict:
        return {k: v if v.__class__ is str else _copied(v) for k, v in value.items()}
    if value.__class__ is list:
        return [_copied(item) for item in value]
    return value
