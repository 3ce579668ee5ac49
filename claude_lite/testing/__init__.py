"""What helps to test code that uses claude_lite, and transports written for it.

A name is loaded when it is first asked for: the pytest plugin in this package is loaded in every
test run, and costs next to nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from claude_lite.testing.conformance.cases import Case
    from claude_lite.testing.conformance.checking import (
        ASYNC_CASES,
        CASES,
        check_async_transport,
        check_transport,
    )
    from claude_lite.testing.events import (
        error_event,
        error_response,
        message,
        message_stream,
        sse,
        tool_use,
    )
    from claude_lite.testing.no_network import assert_no_network
    from claude_lite.testing.stub import AsyncStubTransport, StubTransport
    from claude_lite.testing.virtual_clock import VirtualClock

__all__ = [
    "ASYNC_CASES",
    "CASES",
    "AsyncStubTransport",
    "Case",
    "StubTransport",
    "VirtualClock",
    "assert_no_network",
    "check_async_transport",
    "check_transport",
    "error_event",
    "error_response",
    "message",
    "message_stream",
    "sse",
    "tool_use",
]

_WHERE = ("conformance", "events", "no_network", "stub", "virtual_clock")

if not TYPE_CHECKING:  # pragma: no branch  # checkers see the names imported above

    def __getattr__(name: str) -> Any:
        """Load a public name, and keep it."""
        if name in __all__:
            for where in _WHERE:
                module = import_module(f"claude_lite.testing.{where}")
                if hasattr(module, name):
                    globals()[name] = getattr(module, name)
                    return globals()[name]
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
