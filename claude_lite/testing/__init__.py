"""Tools to test code that uses claude_lite, and to test transports written for it.

Messages and streams in the API's form, stub transports, a virtual clock, a queue that delivers as
brokers do, a guard against network use, and the conformance suite for transports;
`claude_lite.testing.pytest_plugin` has fixtures.
A name is imported at its first use: every test run loads the pytest plugin of this package, so
importing the package must be fast.
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
    from claude_lite.testing.deliveries import DeliveredJob, Deliveries
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
    "DeliveredJob",
    "Deliveries",
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

_WHERE = ("conformance", "deliveries", "events", "no_network", "stub", "virtual_clock")

if not TYPE_CHECKING:  # pragma: no branch  # checkers see the names imported above

    def __getattr__(name: str) -> Any:
        """Import a public name at its first use, and keep it."""
        if name in __all__:
            for where in _WHERE:
                module = import_module(f"claude_lite.testing.{where}")
                if hasattr(module, name):
                    globals()[name] = getattr(module, name)
                    return globals()[name]
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
