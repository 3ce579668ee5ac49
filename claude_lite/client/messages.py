"""`client.messages`, the group of methods that nearly every program uses.

The other groups are in `namespaces.py`, which imports all operations.
"""

from typing import TYPE_CHECKING

from claude_lite.api.messages.operations import (
    BetaCountTokens,
    CountTokens,
    CreateMessage,
    StreamMessage,
)
from claude_lite.client.endpoints import C_co, Endpoint, MessageStreamEndpoint, Namespace

if TYPE_CHECKING:
    from claude_lite.client.batches import Batches


class Messages(Namespace[C_co]):
    """Messages: https://docs.claude.com/en/api/messages."""

    create = Endpoint(CreateMessage)
    stream = MessageStreamEndpoint(StreamMessage)
    count_tokens = Endpoint(CountTokens)

    @property
    def batches(self) -> "Batches[C_co]":
        """Message batches."""
        from claude_lite.client.batches import Batches

        return Batches(self.client)


class BetaMessages(Messages[C_co]):
    """`client.beta.messages`: like `client.messages`, but `count_tokens` sends a beta header."""

    count_tokens = Endpoint(BetaCountTokens)
