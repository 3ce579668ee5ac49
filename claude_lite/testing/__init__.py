"""What helps to test code that uses claude_lite, and transports written for it."""

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
