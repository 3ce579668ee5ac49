"""Create, stream and count messages: https://docs.claude.com/en/api/messages."""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from claude_lite.api.messages.message import Message, TokenCount
from claude_lite.core.model import Model
from claude_lite.core.operation import (
    JSON,
    Route,
    StreamOperation,
    WorkspaceOperation,
    header,
    local,
    operation,
)
from claude_lite.core.responses import head_of, json_body
from claude_lite.core.structure import structure
from claude_lite.errors import UnexpectedResponse
from claude_lite.given.null import Null
from claude_lite.wire import DEFAULT_LIMITS, Limits, Response

if TYPE_CHECKING:
    from claude_lite.api.messages.decoder import MessageDecoder
    from claude_lite.api.messages.events import Event  # noqa: F401  # its name is quoted below

__all__ = ["BetaCountTokens", "CountTokens", "CreateMessage", "StreamMessage"]

R = TypeVar("R")


@operation
class _MessageParams(WorkspaceOperation[R], Generic[R]):
    """The fields of the operations that create a message."""

    model: str
    max_tokens: int
    """The largest number of tokens that the model may write."""
    messages: Sequence[JSON | Model]
    system: str | Sequence[JSON] | None = None
    tools: Sequence[JSON] | None = None
    tool_choice: JSON | None = None
    thinking: JSON | None = None
    output_config: JSON | None = None
    stop_sequences: Sequence[str] | None = None
    temperature: float | None = None
    """`temperature`, `top_p` and `top_k`: only for older models, and only under the API version
    2023-06-01."""
    top_p: float | None = None
    top_k: int | None = None
    metadata: JSON | None = None
    service_tier: str | None = None
    cache_control: JSON | Null | None = None
    container: str | JSON | Null | None = None
    inference_geo: str | Null | None = None
    speed: str | Null | None = None
    diagnostics: JSON | Null | None = None
    mcp_servers: Sequence[JSON] | None = None
    """This field and the fields down to `thread` are beta: they need their flags in `betas`."""
    context_management: JSON | Null | None = None
    compaction: JSON | Null | None = None
    billing_policy: JSON | Null | None = None
    fallbacks: Any = None
    fallback_credit_token: Any = None
    thread: JSON | Null | None = None
    user_profile_id: str | None = header("anthropic-user-profile-id")


@operation
class CreateMessage(_MessageParams[Message]):
    """Create a message, and wait until the message is complete."""

    route = Route("messages.create", "POST", "/v1/messages", "once", governed=True)
    result_type = Message

    def parse(self, response: Response, limits: Limits = DEFAULT_LIMITS) -> Message:
        """Read the answer. Content that is a text, as some gateways send it, becomes a block."""
        try:
            return super().parse(response, limits)
        except UnexpectedResponse:
            if not re.search(rb'"content"\s*:\s*"', response.body):
                raise  # parsing a large body again would hold up the event loop
            data = json_body(response, limits)
            content = data.get("content") if isinstance(data, dict) else None
            if not isinstance(content, str):
                raise
        message = structure({**data, "content": [{"type": "text", "text": content}]}, Message)
        values: dict[Any, Any] = message.__dict__
        values[b"content"] = content  # `to_dict` gives it in place of the list: what was received
        values["_response"] = head_of(response)
        return message


@operation
class StreamMessage(_MessageParams[Message], StreamOperation["Event", Message]):
    """Create a message, and read the message while the model writes it."""

    route = Route("messages.stream", "POST", "/v1/messages", "once", governed=True)
    result_type = Message

    collect: bool = local(default=False)
    """Stream the message, but give out nothing before the message is complete; `client.send`
    always does so. Nothing is lost by starting over, so a stream that breaks is retried."""

    def body(self) -> dict[str, Any]:
        """The JSON object that is sent."""
        return {**super().body(), "stream": True}

    def decoder(self, head: Response, limits: Limits = DEFAULT_LIMITS) -> "MessageDecoder":
        """Return the decoder for the body of the response."""
        from claude_lite.api.messages.decoder import (
            MessageDecoder,
        )  # only for streams

        return MessageDecoder(head, limits)


@operation
class CountTokens(WorkspaceOperation[TokenCount]):
    """Count the input tokens of a message, without creating the message."""

    route = Route("messages.count_tokens", "POST", "/v1/messages/count_tokens", governed=True)
    result_type = TokenCount

    model: str
    messages: Sequence[JSON | Model]
    system: str | Sequence[JSON] | None = None
    tools: Sequence[JSON] | None = None
    tool_choice: JSON | None = None
    thinking: JSON | None = None
    output_config: JSON | None = None
    cache_control: JSON | Null | None = None
    speed: str | Null | None = None
    mcp_servers: Sequence[JSON] | None = None
    context_management: JSON | Null | None = None
    compaction: JSON | Null | None = None
    billing_policy: JSON | Null | None = None
    user_profile_id: str | None = header("anthropic-user-profile-id")


@operation
class BetaCountTokens(CountTokens):
    """Count the input tokens of a message, in the beta form of the API."""

    route = Route(
        "beta.messages.count_tokens",
        "POST",
        "/v1/messages/count_tokens",
        betas=("token-counting-2024-11-01",),
        governed=True,
    )


def text_of(event: JSON) -> str | None:
    """Return the text in the JSON of an event; None if the event has no text.

    The API sends text only in deltas. Some gateways put the first words into the start of a block
    or of the message.
    """
    kind = event["type"]
    if kind == "content_block_delta":
        delta = event["delta"]
        return delta["text"] or None if delta.get("type") == "text_delta" else None
    if kind == "content_block_start":
        return _text_in([event["content_block"]])
    return _text_in(event["message"]["content"]) if kind == "message_start" else None


def _text_in(blocks: Sequence[JSON]) -> str | None:
    texts = [block.get("text") for block in blocks if block.get("type") == "text"]
    return "".join([text for text in texts if isinstance(text, str)]) or None
