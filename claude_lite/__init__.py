"""A small, fast Claude API client: sans-I/O core, pluggable transports, calls that queue.

`AsyncClient` and `Client` make calls; `CreateMessage` and its kin are calls as values; the
leaves of `ClaudeError` are what can go wrong; `standard`, `never` and `defer` are retry
policies. Transports live in the package `claude_lite_transports`. Importing this loads none
of them, and makes no I/O. What only streams need is loaded with the first one.
"""

from typing import TYPE_CHECKING, Any

from claude_lite.api.messages.content import *  # noqa: F403  # all of them, by their __all__
from claude_lite.api.messages.content import __all__ as _content
from claude_lite.api.messages.message import *  # noqa: F403  # likewise
from claude_lite.api.messages.message import __all__ as _models
from claude_lite.api.messages.operations import CountTokens, CreateMessage, StreamMessage
from claude_lite.api.raw_request import RawRequest
from claude_lite.client import AsyncClient, Client
from claude_lite.config import __version__
from claude_lite.credentials import Secret
from claude_lite.errors import *  # noqa: F403  # likewise
from claude_lite.errors import __all__ as _errors
from claude_lite.model import Model, Result
from claude_lite.operations import Operation
from claude_lite.retry import RetryPolicy, defer, never, standard
from claude_lite.wire import AsyncTransport, Request, Response, Transport

if TYPE_CHECKING:
    from claude_lite.api.messages.events import *  # noqa: F403  # likewise

_events = (
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
)
"""All that there is in `claude_lite.api.messages.events`."""

__all__ = [  # noqa: PLE0604  # strings all
    "AsyncClient",
    "AsyncTransport",
    "Client",
    "CountTokens",
    "CreateMessage",
    "Model",
    "Operation",
    "RawRequest",
    "Request",
    "Response",
    "Result",
    "RetryPolicy",
    "Secret",
    "StreamMessage",
    "Transport",
    "__version__",
    "defer",
    "never",
    "standard",
    *_content,
    *_errors,
    *_events,
    *_models,
]

if not TYPE_CHECKING:  # pragma: no branch  # a checker sees them imported above

    def __getattr__(name: str) -> Any:
        """Load the events when one is first asked for."""
        if name not in _events:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from claude_lite.api.messages import events  # as said

        return getattr(events, name)

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
