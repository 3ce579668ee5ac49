"""What the API answers, as values: messages, their content blocks, usage, stream events.

Each model holds the whole JSON object that it was read from, so that nothing is lost that
this version does not know: unknown fields are attributes like any other, and `to_dict` gives
back what came, key for key, overlaid with what was changed since. What has an unknown `type`
becomes the `Unknown…` member of its family, never a known one with holes.

Nothing here parses or checks: that is `claude_lite.codec`.
Field meanings: https://docs.claude.com/en/api/messages
"""

from copy import deepcopy
from types import FunctionType
from typing import Any, ClassVar, Final, Self, TypeVar, dataclass_transform

from attrs import NOTHING, field, fields, frozen
from attrs.exceptions import FrozenInstanceError

from claude_lite.wire import Response

__all__ = [
    "CacheCreation",
    "CharLocation",
    "Citation",
    "CitationsDelta",
    "CompactionBlock",
    "CompactionDelta",
    "Container",
    "ContainerUploadBlock",
    "ContentBlock",
    "ContentBlockDeltaEvent",
    "ContentBlockLocation",
    "ContentBlockStartEvent",
    "ContentBlockStopEvent",
    "Delta",
    "Event",
    "FallbackBlock",
    "InputJSONDelta",
    "MCPToolResultBlock",
    "MCPToolUseBlock",
    "Message",
    "MessageDeltaEvent",
    "MessageStartEvent",
    "MessageStopEvent",
    "Model",
    "PageLocation",
    "PingEvent",
    "RedactedThinkingBlock",
    "Result",
    "SearchResultLocation",
    "ServerToolResultBlock",
    "ServerToolUseBlock",
    "SignatureDelta",
    "StopDetails",
    "TextBlock",
    "TextDelta",
    "ThinkingBlock",
    "ThinkingDelta",
    "TokenCount",
    "ToolUseBlock",
    "UnknownBlock",
    "UnknownCitation",
    "UnknownDelta",
    "UnknownEvent",
    "Usage",
    "WebSearchResultLocation",
]
C = TypeVar("C", bound=type)

LOOKED_UP_ON_CLASSES: Final = frozenset({"__attrs_post_init__", "__eq__", "__hash__"})
PLAIN: Final = frozenset({str, int, float, bool, type(None), dict})


class Method:
    """A method that a received key of the same name does not hide.

    As a data descriptor it goes before the instance's `__dict__`, which holds what the API sent.
    """

    def __init__(self, function: FunctionType) -> None:
        self.__wrapped__ = function

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        return self.__wrapped__.__get__(instance, owner)

    def __set__(self, instance: object, value: object) -> None:
        raise FrozenInstanceError


@dataclass_transform(frozen_default=True, eq_default=False, field_specifiers=(field,))
def model(cls: C) -> C:
    """Make *cls* a frozen attrs class with a `__dict__`, for a declaration of a model."""
    for name, value in list(vars(cls).items()):
        if isinstance(value, FunctionType) and name not in LOOKED_UP_ON_CLASSES:
            setattr(cls, name, Method(value))
    return frozen(eq=False, slots=False)(cls)


@model
class Model:
    """Base of everything that the API answers with.

    The instance's `__dict__` *is* the received JSON object, with nested models in their
    places; fields that did not come read as their class's defaults. Two models are equal when
    they are of one class and stand for the same JSON. `attrs.evolve` keeps what it is not
    told to change, unknown fields included.
    """

    TAGS: ClassVar[tuple[str, ...]] = ()
    OURS: ClassVar[frozenset[str]] = frozenset()
    """Keys in `__dict__` that are not JSON; received ones of these names are there as bytes."""

    received: dict[str, Any] | None = field(default=None, kw_only=True, repr=False)

    @classmethod
    def __attrs_init_subclass__(cls) -> None:
        for attribute in fields(cls):  # type: ignore[arg-type]  # an attrs class
            if attribute.default is not NOTHING and attribute.name != "received":
                setattr(cls, attribute.name, attribute.default)

    def __attrs_post_init__(self) -> None:
        """Keep what was received, and of the fields those that say more than that."""
        values = self.__dict__
        received = values.pop("received")
        set_values(self, {**(received or {}), **_telling(type(self), values, received)})

    def to_dict(self) -> dict[str, Any]:
        """The model as a JSON object: what was received, overlaid with what was changed."""
        ours = type(self).OURS
        values = _shown(self.__dict__, ours) if ours else self.__dict__
        return {k: v if v.__class__ in PLAIN else _plain(v) for k, v in values.items()}

    def to_param(self) -> dict[str, Any]:
        """The model as a part of the next request: exactly what was received."""
        return self.to_dict()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Model) or type(other) is not type(self):
            return NotImplemented
        return self.to_dict() == other.to_dict()

    def __hash__(self) -> int:
        # As JSON text 1 and 1.0 would differ, and yet such models are equal.
        scalars = ((k, v) for k, v in self.__dict__.items() if isinstance(v, (str, int, float)))
        return hash((type(self), frozenset(scalars)))

    def __reduce_ex__(self, protocol: object) -> tuple[Any, ...]:
        return _rebuilt, (type(self), self.__dict__)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return _rebuilt(type(self), deepcopy(self.__dict__, memo))


M = TypeVar("M", bound=Model)


def _rebuilt(cls: type[M], values: dict[str, Any]) -> M:
    """Make a model of what was in the `__dict__` of another."""
    made = object.__new__(cls)
    set_values(made, dict(values))
    return made


set_values = Model.__dict__["__dict__"].__set__
"""`set_values(model, values)` makes *values* the `__dict__` of a frozen model."""

Model.received = property(lambda self: self.__dict__)  # type: ignore[assignment]  # for attrs.evolve


def _telling(
    cls: type[Model], values: dict[str, Any], received: dict[str, Any] | None
) -> dict[str, Any]:
    """The values that a JSON object has to have: not the defaults that never came."""
    if received is None:
        return {k: v for k, v in values.items() if v is not None}
    defaults = {a.name: a.default for a in fields(cls)}  # type: ignore[arg-type]  # an attrs class
    return {k: v for k, v in values.items() if k in received or v != defaults[k]}


def hidden(data: dict[str, Any], ours: frozenset[str]) -> dict[Any, Any]:
    """Received keys as a model holds them: those that are named like ours as bytes."""
    return {name.encode() if name in ours else name: value for name, value in data.items()}


def _shown(values: dict[Any, Any], ours: frozenset[str]) -> dict[str, Any]:
    """The JSON among a model's values."""
    return {
        name.decode() if name.__class__ is bytes else name: value
        for name, value in values.items()
        if name not in ours
    }


def _plain(value: Any) -> Any:
    """The JSON of a value; models stand in fields and in lists, and nowhere deeper."""
    if isinstance(value, Model):
        return value.to_dict()
    if isinstance(value, (list, tuple)):
        return [item.to_dict() if isinstance(item, Model) else item for item in value]
    return value


@model
class Result(Model):
    """Base of what a call returns: it can give the head of the `response` it came from."""

    OURS = frozenset({"_response", "_operation"})

    @property
    def response(self) -> Response | None:
        """Status and headers of the response (its body is what `to_dict` gives)."""
        return self.__dict__.get("_response")

    @property
    def request_id(self) -> str | None:
        """The API's name for the request (`req_…`), to be quoted to support."""
        return self.response.request_id if self.response else None


# Citations


@model
class Citation(Model):
    """Where a text block's words come from; the members differ by `type`."""


@model
class CharLocation(Citation):
    """A span of characters of a plain text document."""

    TAGS = ("char_location",)
    cited_text: str
    document_index: int
    start_char_index: int
    end_char_index: int
    document_title: str | None = None
    file_id: str | None = None
    type: str = "char_location"


@model
class PageLocation(Citation):
    """A range of pages of a PDF."""

    TAGS = ("page_location",)
    cited_text: str
    document_index: int
    start_page_number: int
    end_page_number: int
    document_title: str | None = None
    file_id: str | None = None
    type: str = "page_location"


@model
class ContentBlockLocation(Citation):
    """A range of blocks of a custom content document."""

    TAGS = ("content_block_location",)
    cited_text: str
    document_index: int
    start_block_index: int
    end_block_index: int
    document_title: str | None = None
    file_id: str | None = None
    type: str = "content_block_location"


@model
class WebSearchResultLocation(Citation):
    """A page that the web search tool found."""

    TAGS = ("web_search_result_location",)
    cited_text: str
    url: str
    encrypted_index: str
    title: str | None = None
    type: str = "web_search_result_location"


@model
class SearchResultLocation(Citation):
    """A range of blocks of a search result that the request brought along."""

    TAGS = ("search_result_location",)
    cited_text: str
    source: str
    search_result_index: int
    start_block_index: int
    end_block_index: int
    title: str | None = None
    type: str = "search_result_location"


@model
class UnknownCitation(Citation):
    """A citation of a kind that this version does not know; its fields are attributes."""

    type: str


# Content blocks


@model
class ContentBlock(Model):
    """One piece of a message's content; the members differ by `type`."""


@model
class TextBlock(ContentBlock):
    """Text, with citations where they were asked for."""

    TAGS = ("text",)
    text: str
    citations: list[Citation] | None = None
    type: str = "text"


@model
class ThinkingBlock(ContentBlock):
    """Reasoning before the answer; `signature` must go back byte for byte."""

    TAGS = ("thinking",)
    thinking: str
    signature: str = ""
    type: str = "thinking"


@model
class RedactedThinkingBlock(ContentBlock):
    """Reasoning that is not shown; `data` must go back byte for byte."""

    TAGS = ("redacted_thinking",)
    data: str
    type: str = "redacted_thinking"


class _ToolCall:
    """What the calls of all kinds of tools have in common."""

    OURS = frozenset({"_partial_json"})

    @property
    def partial_json(self) -> str | None:
        """Where a stream was cut inside `input` (`max_tokens`): the JSON text that came."""
        return self.__dict__.get("_partial_json")


@model
class ToolUseBlock(_ToolCall, ContentBlock):
    """A call of one of your tools; answer with a `tool_result` block that names `id`.

    `input` is the parsed JSON; empty where `partial_json` says that it was cut short.
    """

    TAGS = ("tool_use",)
    id: str
    name: str
    input: dict[str, Any]
    caller: dict[str, Any] | None = None
    toolset_name: str | None = None
    type: str = "tool_use"


@model
class ServerToolUseBlock(_ToolCall, ContentBlock):
    """A call of a tool that the API runs itself, such as `web_search`."""

    TAGS = ("server_tool_use",)
    id: str
    name: str
    input: dict[str, Any]
    caller: dict[str, Any] | None = None
    type: str = "server_tool_use"


@model
class MCPToolUseBlock(_ToolCall, ContentBlock):
    """A call of a tool on an MCP server (beta)."""

    TAGS = ("mcp_tool_use",)
    id: str
    name: str
    input: dict[str, Any]
    server_name: str
    type: str = "mcp_tool_use"


@model
class MCPToolResultBlock(ContentBlock):
    """What a tool on an MCP server answered (beta): text, or a list of blocks."""

    TAGS = ("mcp_tool_result",)
    tool_use_id: str
    content: Any
    is_error: bool = False
    type: str = "mcp_tool_result"


@model
class ServerToolResultBlock(ContentBlock):
    """What a tool that the API ran came to; `content` is JSON in the shape of that tool.

    A failure is a result, too: `content` is then an object with an `error_code`.
    """

    TAGS = (
        "web_search_tool_result",
        "web_fetch_tool_result",
        "code_execution_tool_result",
        "bash_code_execution_tool_result",
        "text_editor_code_execution_tool_result",
        "tool_search_tool_result",
        "advisor_tool_result",
    )
    type: str
    tool_use_id: str
    content: Any
    caller: dict[str, Any] | None = None


@model
class ContainerUploadBlock(ContentBlock):
    """A file that was put into the code execution container."""

    TAGS = ("container_upload",)
    file_id: str
    type: str = "container_upload"


@model
class CompactionBlock(ContentBlock):
    """The summary that stands for the conversation so far (beta)."""

    TAGS = ("compaction",)
    content: str | None = None
    encrypted_content: str | None = None
    signature: str | None = None
    type: str = "compaction"


@model
class FallbackBlock(ContentBlock):
    """From here on another model answered: `to["model"]` (beta)."""

    TAGS = ("fallback",)
    to: dict[str, Any]
    trigger: dict[str, Any]
    type: str = "fallback"


@model
class UnknownBlock(ContentBlock):
    """A block of a kind that this version does not know; its fields are attributes."""

    type: str


# Messages


@model
class CacheCreation(Model):
    """Tokens written to the prompt cache, by their time to live."""

    ephemeral_5m_input_tokens: int = 0
    ephemeral_1h_input_tokens: int = 0


@model
class Usage(Model):
    """Tokens billed. `input_tokens` counts only what no cache was read or written for."""

    input_tokens: int
    output_tokens: int
    cache_creation_input_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_creation: CacheCreation | None = None
    output_tokens_details: dict[str, Any] | None = None
    server_tool_use: dict[str, Any] | None = None
    service_tier: str | None = None
    inference_geo: str | None = None
    speed: str | None = None

    @property
    def total_input_tokens(self) -> int:
        """All tokens of the prompt: uncached, written to the cache and read from it."""
        cached = (self.cache_creation_input_tokens or 0) + (self.cache_read_input_tokens or 0)
        return self.input_tokens + cached


@model
class Container(Model):
    """The code execution container that a message used; give `id` to use it again."""

    id: str
    expires_at: str | None = None
    skills: list[Any] | None = None


@model
class StopDetails(Model):
    """Why a message was refused."""

    type: str = "refusal"
    category: str | None = None
    explanation: str | None = None


@model
class Message(Result):
    """What the model wrote.

    `stop_reason` is one of end_turn, max_tokens, stop_sequence, tool_use, pause_turn, refusal,
    model_context_window_exceeded, or one that is newer than this library.
    """

    id: str
    content: list[ContentBlock]
    model: str
    usage: Usage
    stop_reason: str | None = None
    stop_sequence: str | None = None
    stop_details: StopDetails | None = None
    container: Container | None = None
    diagnostics: dict[str, Any] | None = None
    context_management: dict[str, Any] | None = None
    role: str = "assistant"
    type: str = "message"

    @property
    def text(self) -> str:
        """The text blocks, joined."""
        return "".join([b.text for b in self.content if isinstance(b, TextBlock)])

    @property
    def tool_uses(self) -> list[ToolUseBlock]:
        """The calls of your tools."""
        return [block for block in self.content if isinstance(block, ToolUseBlock)]

    def to_param(self) -> dict[str, Any]:
        """The message as the next request's `messages` take it: every block as it came."""
        return {"role": self.role, "content": _plain(self.content)}


@model
class TokenCount(Result):
    """How many tokens a request would have as input."""

    input_tokens: int
    context_management: dict[str, Any] | None = None


# Deltas of a stream


@model
class Delta(Model):
    """What one `content_block_delta` event adds to its block; the members differ by `type`."""


@model
class TextDelta(Delta):
    """Text to append."""

    TAGS = ("text_delta",)
    text: str
    type: str = "text_delta"


@model
class InputJSONDelta(Delta):
    """JSON text of a tool's input to append; it parses only once the block is complete."""

    TAGS = ("input_json_delta",)
    partial_json: str
    type: str = "input_json_delta"


@model
class ThinkingDelta(Delta):
    """Reasoning to append."""

    TAGS = ("thinking_delta",)
    thinking: str
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
class UnknownDelta(Delta):
    """A delta of a kind that this version does not know; its fields are attributes."""

    type: str


# Events of a stream


@model
class Event(Model):
    """One event of a message stream; the members differ by `type`."""


@model
class MessageStartEvent(Event):
    """The message begins, without content and with the usage known so far."""

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
    """`delta` has the stop reason; the counts in `usage` are running totals."""

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
    """The connection is alive."""

    TAGS = ("ping",)
    type: str = "ping"


@model
class UnknownEvent(Event):
    """An event of a kind that this version does not know; its fields are attributes."""

    type: str
