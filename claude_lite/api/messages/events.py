"""The events of a message stream, and the deltas in them.

Order and meaning: https://docs.claude.com/en/api/messages-streaming
"""

from typing import Any

from claude_lite.api.messages.content import Citation, ContentBlock
from claude_lite.api.messages.message import Message
from claude_lite.api.unknown import Unknown
from claude_lite.core.model import Model, model

__all__ = [
    "CitationsDelta",
    "CompactionDelta",
    "ContentBlockDeltaEvent",
    "ContentBlockStartEvent",
    "ContentBlockStopEvent",
    "Delta",
    "Event",
    "InputJSONDelta",
    "MessageDeltaEvent",
    "MessageStartEvent",
    "MessageStopEvent",
    "PingEvent",
    "SignatureDelta",
    "TextDelta",
    "ThinkingDelta",
    "UnknownDelta",
    "UnknownEvent",
]

# Deltas of a stream


@model
class Delta(Model):
    """What one `content_block_delta` event adds to its block. The subclasses differ by `type`."""


@model
class TextDelta(Delta):
    """Text to append."""

    TAGS = ("text_delta",)
    text: str
    type: str = "text_delta"


@model
class InputJSONDelta(Delta):
    """JSON text of the input of a tool to append. Only the text of a whole block parses."""

    TAGS = ("input_json_delta",)
    partial_json: str
    type: str = "input_json_delta"


@model
class ThinkingDelta(Delta):
    """Reasoning to append."""

    TAGS = ("thinking_delta",)
    thinking: str
    estimated_tokens: int | None = None
    type: str = "thinking_delta"


@model
class SignatureDelta(Delta):
    """The signature of the thinking block."""

    TAGS = ("signature_delta",)
    signature: str
    type: str = "signature_delta"


@model
class CitationsDelta(Delta):
    """One more citation for the text block."""

    TAGS = ("citations_delta",)
    citation: Citation
    type: str = "citations_delta"


@model
class CompactionDelta(Delta):
    """The content of the compaction block (beta)."""

    TAGS = ("compaction_delta",)
    content: str | None = None
    encrypted_content: str | None = None
    type: str = "compaction_delta"


@model
class UnknownDelta(Unknown, Delta):
    """A delta whose type this version does not know, or that does not fit its class."""


# Events of a stream


@model
class Event(Model):
    """One event of a message stream. The subclasses differ by `type`."""


@model
class MessageStartEvent(Event):
    """The message begins: it has no content yet, and the usage that is known so far."""

    TAGS = ("message_start",)
    message: Message
    type: str = "message_start"


@model
class ContentBlockStartEvent(Event):
    """Block number `index` begins."""

    TAGS = ("content_block_start",)
    index: int
    content_block: ContentBlock
    type: str = "content_block_start"


@model
class ContentBlockDeltaEvent(Event):
    """Block number `index` grows."""

    TAGS = ("content_block_delta",)
    index: int
    delta: Delta
    type: str = "content_block_delta"


@model
class ContentBlockStopEvent(Event):
    """Block number `index` is complete."""

    TAGS = ("content_block_stop",)
    index: int
    type: str = "content_block_stop"


@model
class MessageDeltaEvent(Event):
    """Changes to the message: `delta` has the stop reason, `usage` has running totals."""

    TAGS = ("message_delta",)
    delta: dict[str, Any]
    usage: dict[str, Any] | None = None
    context_management: dict[str, Any] | None = None
    type: str = "message_delta"


@model
class MessageStopEvent(Event):
    """The message is complete."""

    TAGS = ("message_stop",)
    type: str = "message_stop"


@model
class PingEvent(Event):
    """A sign that the connection is alive."""

    TAGS = ("ping",)
    type: str = "ping"


@model
class UnknownEvent(Unknown, Event):
    """An event whose type this version does not know, or that does not fit its class."""
