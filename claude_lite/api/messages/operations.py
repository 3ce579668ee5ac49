"""Messages: created, streamed, and counted: https://docs.claude.com/en/api/messages."""

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
from claude_lite.wire import DEFAULT_LIMITS, Limits, Response

if TYPE_CHECKING:
    from claude_lite.api.messages.decoder import MessageDecoder
    from claude_lite.api.messages.events import Event  # noqa: F401  # its name is quoted below

__all__ = ["BetaCountTokens", "CountTokens", "CreateMessage", "StreamMessage"]

R = TypeVar("R")


@operation
class _MessageParams(WorkspaceOperation[R], Generic[R]):
    """The fields of a message to be created; https://docs.claude.com/en/api/messages."""

    model: str
    max_tokens: int
    messages: Sequence[JSON | Model]
    system: str | Sequence[JSON] | None = None
    tools: Sequence[JSON] | None = None
    tool_choice: JSON | None = None
    thinking: JSON | None = None
    output_config: JSON | None = None
    stop_sequences: Sequence[str] | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    metadata: JSON | None = None
    service_tier: str | None = None
    cache_control: JSON | None = None
    container: str | JSON | None = None
    inference_geo: str | None = None
    speed: str | None = None
    diagnostics: JSON | None = None
    mcp_servers: Sequence[JSON] | None = None
    context_management: JSON | None = None
    compaction: JSON | None = None
    billing_policy: JSON | None = None
    fallbacks: Any = None
    fallback_credit_token: Any = None
    thread: JSON | None = None
    user_profile_id: str | None = header("anthropic-user-profile-id")


@operation
class CreateMessage(_MessageParams[Message]):
    """Create a message and wait for all of it.

    `max_tokens` bounds what is written, in tokens. `temperature`, `top_p` and `top_k` are for
    older models, under the API version 2023-06-01 only. The fields from `mcp_servers` on are
    beta: they need their flag in `betas`.
    """

    route = Route("messages.create", "POST", "/v1/messages", "once")
    result_type = Message


@operation
class StreamMessage(_MessageParams[Message], StreamOperation["Event", Message]):
    """Create a message and read it as it is written.

    Sent as a whole (`client.send`), or with `collect`, it is streamed all the same and given
    only once complete: nothing is lost by starting over, so a broken stream is retried.
    """

    route = Route("messages.stream", "POST", "/v1/messages", "once")
    result_type = Message

    collect: bool = local(default=False)

    def body(self) -> dict[str, Any]:
        """The JSON object that is sent."""
        return {**super().body(), "stream": True}

    def decoder(self, head: Response, limits: Limits = DEFAULT_LIMITS) -> "MessageDecoder":
        """What the body of the response is fed to."""
        from claude_lite.api.messages.decoder import MessageDecoder  # only for streams

        return MessageDecoder(head, limits)


@operation
class CountTokens(WorkspaceOperation[TokenCount]):
    """Count the input tokens of a message without creating it."""

    route = Route("messages.count_tokens", "POST", "/v1/messages/count_tokens")
    result_type = TokenCount

    model: str
    messages: Sequence[JSON | Model]
    system: str | Sequence[JSON] | None = None
    tools: Sequence[JSON] | None = None
    tool_choice: JSON | None = None
    thinking: JSON | None = None
    output_config: JSON | None = None
    cache_control: JSON | None = None
    speed: str | None = None
    mcp_servers: Sequence[JSON] | None = None
    context_management: JSON | None = None
    compaction: JSON | None = None
    billing_policy: JSON | None = None
    user_profile_id: str | None = header("anthropic-user-profile-id")


@operation
class BetaCountTokens(CountTokens):
    """Count the input tokens of a message without creating it, in the beta form."""

    route = Route(
        "beta.messages.count_tokens",
        "POST",
        "/v1/messages/count_tokens",
        betas=("token-counting-2024-11-01",),
    )
