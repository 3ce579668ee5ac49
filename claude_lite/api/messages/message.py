"""Messages with their usage, and counts of tokens: https://docs.claude.com/en/api/messages.

The content blocks are in `content.py`, the events of streams in `events.py`.
"""

from typing import Any

from claude_lite.api.messages.content import ContentBlock, TextBlock, ToolUseBlock
from claude_lite.core.model import Model, Result, as_json, model

__all__ = [
    "CacheCreation",
    "Container",
    "Message",
    "StopDetails",
    "TokenCount",
    "Usage",
]


@model
class CacheCreation(Model):
    """The tokens written to the prompt cache, by time to live."""

    ephemeral_5m_input_tokens: int = 0
    ephemeral_1h_input_tokens: int = 0


@model
class Usage(Model):
    """The tokens of a message, as they are billed."""

    input_tokens: int
    """Only the tokens that were neither read from nor written to the prompt cache."""
    output_tokens: int
    cache_creation_input_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_creation: CacheCreation | None = None
    output_tokens_details: dict[str, Any] | None = None
    server_tool_use: dict[str, Any] | None = None
    service_tier: str | None = None
    inference_geo: str | None = None
    speed: str | None = None
    iterations: list[Any] | None = None
    fallback_credit: dict[str, Any] | None = None

    @property
    def total_input_tokens(self) -> int:
        """All tokens of the prompt: not cached, written to the cache, and read from the cache."""
        cached = (self.cache_creation_input_tokens, self.cache_read_input_tokens)
        return self.input_tokens + sum(n for n in cached if isinstance(n, int | float))


@model
class Container(Model):
    """The code execution container of a message. Give its `id` to use the container again."""

    id: str
    expires_at: str | None = None
    skills: list[Any] | None = None


@model
class StopDetails(Model):
    """The reason why the model refused to answer."""

    type: str = "refusal"
    category: str | None = None
    explanation: str | None = None
    recommended_model: str | None = None
    """A model that may answer instead (beta)."""
    fallback_credit_token: str | None = None
    """The token for the price reduction of a request to another model (beta)."""
    fallback_has_prefill_claim: bool | None = None


@model
class Message(Result):
    """The answer of a model."""

    ESSENTIAL = ("content",)
    id: str
    content: list[ContentBlock]
    model: str
    usage: Usage
    stop_reason: str | None = None
    """end_turn, max_tokens, stop_sequence, tool_use, pause_turn, compaction, refusal,
    model_context_window_exceeded, or a reason that is newer than this version."""
    stop_sequence: str | None = None
    stop_details: StopDetails | None = None
    container: Container | None = None
    diagnostics: dict[str, Any] | None = None
    context_management: dict[str, Any] | None = None
    input_transformations: list[Any] | None = None
    role: str = "assistant"
    type: str = "message"

    @property
    def text(self) -> str:
        """The text of all text blocks, joined."""
        return "".join([b.text for b in self.content if isinstance(b, TextBlock)])

    @property
    def tool_uses(self) -> list[ToolUseBlock]:
        """The blocks that call your tools."""
        return [block for block in self.content if isinstance(block, ToolUseBlock)]

    def to_param(self) -> dict[str, Any]:
        """The message for `messages` of the next request, with every block as it came."""
        return {"role": self.role, "content": as_json(self.content)}


@model
class TokenCount(Result):
    """The number of input tokens that a request would have."""

    ESSENTIAL = ("input_tokens",)
    input_tokens: int
    context_management: dict[str, Any] | None = None
