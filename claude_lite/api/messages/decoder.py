"""A message stream as a state machine: bytes in, events out, a message at the end.

Order of events and meaning of deltas: https://docs.claude.com/en/api/messages-streaming
Feed the chunks of a stream to a `MessageDecoder`. It decodes them, folds the events into the
message, and says when the message has begun (`begun`), is complete (`complete`) or has failed
(`error`). It never reads or waits: call `close` when the stream ends.
"""

from typing import TYPE_CHECKING, Any, Final, cast

import orjson

from claude_lite.api.bodies import no_event_stream
from claude_lite.api.messages.draft import (
    APPENDED,
    FOLDED,
    MISSHAPEN,
    OPENING_EVENTS,
    Draft,
    fit,
)
from claude_lite.api.messages.events import (
    ContentBlockDeltaEvent,
    Delta,
    Event,
    InputJSONDelta,
    TextDelta,
    ThinkingDelta,
)
from claude_lite.api.messages.message import Message
from claude_lite.core.limits import BYTES_PER_LETTER, parse_json
from claude_lite.core.responses import error_from_envelope, unexpected, with_body
from claude_lite.core.sse import SSEDecoder
from claude_lite.core.structure import reader_for, set_values
from claude_lite.errors import (
    ClaudeError,
    ResponseTooLarge,
    StreamTruncated,
    TransportError,
    UnexpectedResponse,
)
from claude_lite.wire import DEFAULT_LIMITS, Limits, Response

if TYPE_CHECKING:
    from collections.abc import Callable


DELTA: Final = "content_block_delta"
FREQUENT_DELTAS: Final[dict[str, type[Delta]]] = {
    "text_delta": TextDelta,
    "thinking_delta": ThinkingDelta,
    "input_json_delta": InputJSONDelta,
}
LONG_EVENT: Final = (
    64 * 1024
)  # bytes; shorter events are parsed without limits: only their text is used
LAST_EVENTS: Final = frozenset({"message_stop", "error"})
BLANK_LINE: Final = b"\n\n"
NEEDS_DATA: Final = FOLDED | {"", "error"}  # events that have to have data

new: Final = object.__new__
appended_key: Final = APPENDED.get


class MessageDecoder:
    """The decoder of a message stream. Items are events; the result is the `Message`.

    The decoder shares no object with the events and results that it returns: a caller may
    change them.
    """

    def __init__(self, head: Response, limits: Limits = DEFAULT_LIMITS) -> None:
        self.head = head
        self.begun = False
        self.complete = False
        self.error: ClaudeError | None = None
        self._sse = SSEDecoder(limits.max_event)
        self._limits = limits
        self._came = 0
        self._most = limits.max_in_memory
        # A message cannot be too large before so many bytes have come.
        self._weigh_at = (self._most or 0) // BYTES_PER_LETTER
        self._draft = Draft(head, limits)
        self._index: int | None = None  # the block that `_append` adds to, in its field `_key`
        self._key = ""
        self._append: Callable[[str], None]  # set together with `_index` and `_key`
        self._read_event = reader_for(Event)

    def receive(self, data: bytes) -> list[dict[str, Any]]:
        """Take a chunk; return the events that the chunk completes, as JSON objects."""
        events: list[dict[str, Any]] = []
        over = self.complete or self.error is not None
        if over:
            return events
        name, text = "", b""
        self._came += len(data)
        try:
            if self._most is not None and self._came > self._weigh_at:
                self._weigh(self._most)
            for name, text in self._sse.receive(data):
                event = self._appended(text) if name == DELTA else None
                event = event or self._event(name, text)
                if event is not None:
                    events.append(event)
                    if self.complete:
                        break
        except UnexpectedResponse as error:
            self.fail(with_body(error, text))
        except ClaudeError as error:
            self.fail(error)
        except MISSHAPEN as error:
            reason = f"event {name[:99]!r} has an unexpected shape ({error!r})"
            self.fail(unexpected(self.head, reason, text))
        return events

    def close(self) -> list[dict[str, Any]]:
        """Note the end of the body: without `message_stop` the stream was truncated.

        The last event may lack the blank line after it, if its JSON is whole.
        """
        events = self.receive(BLANK_LINE) if self._unfinished_type() else []
        other = None if self._draft.message else no_event_stream(self.head, self._sse)
        self.fail(other or StreamTruncated("the stream ended before message_stop"))
        return events

    def fail(self, error: ClaudeError) -> None:
        """Note that the body broke off; *error* gets the message so far and the ids of the head.

        If only the blank line after the last event is missing, the stream has ended all the same.
        """
        if isinstance(error, TransportError) and self._unfinished_type() in LAST_EVENTS:
            self.receive(BLANK_LINE)
        if not self.complete and self.error is None:
            self.error = self._explain(error)

    def item(self, raw: dict[str, Any]) -> Event:
        """The event of *raw*, a JSON object from `receive`, which has checked its shape."""
        if raw["type"] == DELTA:  # most events: the work of the hook, in one step
            said = raw["delta"]
            cls = FREQUENT_DELTAS.get(said.get("type"))
            if cls is not None:
                raw["delta"] = delta = new(cls)
                set_values(delta, said)
                event = new(ContentBlockDeltaEvent)
                set_values(event, raw)
                return event
        return cast("Event", self._read_event(raw))

    def result(self) -> Message:
        """The message so far; raises `UnexpectedResponse` if there was no message_start."""
        if self._draft.message is None:
            raise self.error or unexpected(self.head, "the stream has no message_start")
        return self._draft.result()

    @property
    def usage(self) -> object:
        """The usage so far, as JSON; None before the first event."""
        message = self._draft.message
        return None if message is None else message.get("usage")

    def _unfinished_type(self) -> str:
        """The type of an event that lacks only its blank line; "" if there is no such event."""
        name, text = self._sse.unfinished() or ("", b"")
        try:
            event = parse_json(text, self._limits)
        except (ValueError, ResponseTooLarge):
            return ""
        return str(event.get("type") or name) if isinstance(event, dict) else ""

    def _event(self, name: str, text: bytes) -> dict[str, Any] | None:
        if text.strip() == b"[DONE]":
            return None
        event: dict[str, Any] = {"type": name}
        if text.strip() or name in NEEDS_DATA:  # otherwise only a name, such as a heartbeat
            try:
                event = {**parse_json(text, self._limits)}
            except (ValueError, TypeError):  # not an object
                if name in NEEDS_DATA:
                    raise
                event["data"] = text.decode("utf-8", "replace")
        is_named_only = not isinstance(event.get("type"), str)
        if is_named_only:
            event["type"] = name
        kind = event["type"]
        if kind == "error":
            raise error_from_envelope(event, self.head)
        if is_named_only and kind == "message_stop" and not self._draft.has_stop_reason:
            return event  # the name may be wrong, and what comes after `message_stop` is lost
        fit(event, self._draft.blocks)
        self._index = None
        if self._draft.fold(event, text):
            self.begun = self.begun or kind not in OPENING_EVENTS
            self.complete = kind == "message_stop"
        return event

    def _appended(self, text: bytes) -> dict[str, Any] | None:
        """Append a delta that has only text, and return its event. Most events are such deltas."""
        event: dict[str, Any]
        try:
            event = orjson.loads(text) if len(text) < LONG_EVENT else parse_json(text, self._limits)
            if len(event) != 3 or event["type"] != DELTA:  # noqa: PLR2004  # type, index, delta
                return None
            delta, index = event["delta"], event["index"]
            key = appended_key(delta["type"])
            if key is None or len(delta) != 2:  # noqa: PLR2004  # type and text
                return None
            part = delta[key]
        except (ValueError, LookupError, TypeError):
            return None  # `_event` reads it in spite of its mistakes
        if part.__class__ is not str or index.__class__ is not int:
            return None
        if index is not self._index or key is not self._key:
            self._append = self._draft.appender(index, key)
            self._index, self._key = index, key
            self.begun = True
        self._append(part)
        return event

    def _weigh(self, most: int) -> None:
        """Refuse a message that has grown too large. Weighing is slow, so it is done rarely."""
        size = self._draft.weigh()
        if size > most:
            raise ResponseTooLarge.over_limit(
                "max_event", most, f"the message has over {most} bytes"
            )
        self._weigh_at = self._came + max((most - size) // BYTES_PER_LETTER, most // 8)

    def _explain(self, error: ClaudeError) -> ClaudeError:
        """Add the ids of the head and the message so far to *error*."""
        return error.update(
            details={**error.details, **self._draft.details()},
            request_id=error.request_id or self.head.request_id,
            organization_id=error.organization_id or self.head.organization_id,
        )
