"""A message stream as a state machine: bytes in, events out, a message at the end.

`MessageDecoder` is what a stream's chunks are fed to. It decodes them, folds the events into
the message, and says when the message has begun (`begun`), is complete (`complete`) or has
failed (`error`). It never reads or waits; a stream that ends is told so by `close`.
Order of events and meaning of deltas: https://docs.claude.com/en/api/messages-streaming
"""

from typing import Any, Final, Protocol, TypeVar, cast

import orjson

from claude_lite.codec import StructureError, hook_for, loads
from claude_lite.errors import ClaudeError, StreamTruncated
from claude_lite.models import Event, Message
from claude_lite.responses import error_from_envelope, unexpected
from claude_lite.sse import SSEDecoder
from claude_lite.wire import Response

E_co = TypeVar("E_co", covariant=True)
R_co = TypeVar("R_co", covariant=True)

APPENDED: Final = {
    "text_delta": "text",
    "thinking_delta": "thinking",
    "input_json_delta": "partial_json",
}
REPLACED: Final = frozenset({"stop_reason", "stop_sequence", "stop_details"})
PRELUDE: Final = frozenset({"message_start", "content_block_start"})
FOLDED: Final = PRELUDE | {"content_block_stop", "message_delta"}

MISSHAPEN: Final = (KeyError, IndexError, TypeError, AttributeError, StructureError)


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

    def close(self) -> None:
        """The body is over; if that is too early, `error` is set."""

    def fail(self, error: ClaudeError, /) -> None:
        """The body broke off with *error*, which is given what is known so far."""

    def item(self, raw: Any, /) -> E_co:
        """The value that one raw item stands for."""
        ...

    def result(self) -> R_co:
        """All of it, so far."""
        ...


class MessageDecoder:
    """The decoder of a message stream. Items are events, the result is the `Message`."""

    def __init__(self, head: Response, max_event: int | None = None) -> None:
        self.head = head
        self.begun = False
        self.complete = False
        self.error: ClaudeError | None = None
        self.message: dict[str, Any] | None = None
        self._sse = SSEDecoder(max_event)
        self._blocks: list[dict[str, Any]] = []
        self._parts: list[dict[str, list[Any]]] = []
        self._closed: list[bool] = []
        self._event_hook, self._message_hook = hook_for(Event), hook_for(Message)

    def receive(self, data: bytes) -> list[dict[str, Any]]:
        """Take a chunk and return the events that it completes, as JSON objects."""
        events: list[dict[str, Any]] = []
        try:
            for name, text in self._sse.receive(data):
                if self.complete or self.error:
                    break
                event = self._event(name, text)
                if event is not None:
                    events.append(event)
        except ClaudeError as error:
            self.error = error
        except MISSHAPEN as error:
            self.error = unexpected(self.head, f"an event out of order or shape ({error!r})")
        if self.error:
            self._explain(self.error)
        return events

    def close(self) -> None:
        """The body is over: without `message_stop` it was truncated."""
        if not self.complete and self.error is None:
            self.error = StreamTruncated(
                "the stream ended before message_stop",
                request_id=self.head.request_id,
                organization_id=self.head.organization_id,
            )
            self._explain(self.error)

    def fail(self, error: ClaudeError) -> None:
        """The body broke off with *error*, which is given what is known so far."""
        self._explain(error)
        self.error = error

    def item(self, raw: dict[str, Any]) -> Event:
        """The event that one JSON object stands for."""
        try:
            return cast("Event", self._event_hook(raw))
        except StructureError as error:
            raise self._explain(unexpected(self.head, str(error))) from None

    def result(self) -> Message:
        """The message so far; raises `UnexpectedResponse` if it has not even begun."""
        if self.message is None:
            raise self.error or unexpected(self.head, "no message_start")
        try:
            blocks = [self._block(index) for index in range(len(self._blocks))]
            usage = dict(self.message["usage"])
            message = self._message_hook({**self.message, "content": blocks, "usage": usage})
        except MISSHAPEN as error:
            raise unexpected(self.head, f"a message out of shape ({error})") from None
        for block in message.content:
            partial = block.__dict__.pop("partial_json", None)
            if partial is not None:
                block.__dict__["_partial_json"] = partial
        message.__dict__["_response"] = self.head
        return cast("Message", message)

    def _event(self, name: str, text: bytes) -> dict[str, Any] | None:
        try:
            event = orjson.loads(text)
        except ValueError:
            if text.strip() == b"[DONE]":
                return None
            raise unexpected(self.head, f"an event {name!r} that is not JSON") from None
        kind = event.get("type")
        if kind is None:
            kind = event["type"] = name
        if kind == "content_block_delta":
            self.begun = True
            self._delta(event["index"], event["delta"])
        elif kind == "error":
            raise error_from_envelope(event, self.head)
        elif kind == "message_stop":
            if self.message is None:
                raise unexpected(self.head, "message_stop before message_start")
            self.begun = self.complete = True
        elif kind in FOLDED:
            self.begun = self.begun or kind not in PRELUDE
            getattr(self, f"_{kind}")(loads(text))  # its own copy, with every digit
        return event  # type: ignore[no-any-return]  # parsed JSON

    def _message_start(self, event: dict[str, Any]) -> None:
        if self.message is not None:
            raise unexpected(self.head, "a second message_start")
        message: dict[str, Any] = event["message"]
        self._message_hook({**message, "usage": {**message["usage"]}, "content": []})
        self.message = message
        for block in message["content"]:
            self._add(block, closed=True)

    def _content_block_start(self, event: dict[str, Any]) -> None:
        if event["index"] != len(self._blocks) or self.message is None:
            raise unexpected(self.head, f"block {event['index']} where {len(self._blocks)} is next")
        self._add(event["content_block"], closed=False)

    def _add(self, block: dict[str, Any], *, closed: bool) -> None:
        self._blocks.append({**block})
        self._parts.append({})
        self._closed.append(closed)

    def _delta(self, index: int, delta: dict[str, Any]) -> None:
        block, parts = self._open(index)
        kind = delta["type"]
        key = APPENDED.get(kind)
        if key is not None:
            part = delta[key]
            if part.__class__ is not str:
                raise unexpected(self.head, f"a {kind} without text")
            parts.setdefault(key, []).append(part)
        elif kind == "citations_delta":
            parts.setdefault("citations", []).append(delta["citation"])
        elif kind in {"signature_delta", "compaction_delta"}:
            block.update({k: v for k, v in delta.items() if k != "type"})

    def _open(self, index: int) -> tuple[dict[str, Any], dict[str, list[Any]]]:
        if index.__class__ is not int or index < 0 or self._closed[index]:
            raise unexpected(self.head, f"a delta for block {index!r}, which is not open")
        return self._blocks[index], self._parts[index]

    def _content_block_stop(self, event: dict[str, Any]) -> None:
        index = event["index"]
        self._open(index)
        self._blocks[index] = self._block(index)
        self._parts[index] = {}
        self._closed[index] = True

    def _message_delta(self, event: dict[str, Any]) -> None:
        message = self.message
        if message is None:
            raise unexpected(self.head, "message_delta before message_start")
        extra = {k: v for k, v in event.items() if k not in {"type", "delta", "usage"}}
        for key, value in {**event["delta"], **extra}.items():
            if value is not None or key in REPLACED or key not in message:
                message[key] = value
        usage = message["usage"]
        for key, value in (event.get("usage") or {}).items():
            if value is not None or key not in usage:
                usage[key] = value

    def _block(self, index: int) -> dict[str, Any]:
        """Block *index* with all that its deltas brought; a tool's input is parsed once closed."""
        block = dict(self._blocks[index])
        for key, parts in self._parts[index].items():
            if key == "citations":
                block[key] = [*(block.get(key) or []), *parts]
            elif key == "partial_json":
                block.update(_tool_input("".join(parts)))
            else:
                block[key] = (block.get(key) or "") + "".join(parts)
        return block

    def _explain(self, error: ClaudeError) -> ClaudeError:
        """Give *error* the head's ids and the message so far."""
        details = dict(error.details)
        if self.message is not None:
            details["partial"] = self._partial()
            details["usage"] = self.message["usage"]
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


def _tool_input(text: str) -> dict[str, Any]:
    """The `input` that streamed JSON text stands for; where it was cut, the text itself."""
    try:
        value = loads(text.encode()) if text else {}
    except ValueError:
        value = None
    return {"input": value} if isinstance(value, dict) else {"input": {}, "partial_json": text}
