"""The conformance suite: facts that hold for every transport, as cases for any test runner.

A case has a script for a server on loopback, and checks what the transport does with it.
`check_transport` and `check_async_transport` run one case; they raise if the case fails.
"""

from claude_lite.testing.conformance.cases import Case
from claude_lite.testing.conformance.checking import (
    ASYNC_CASES,
    CASES,
    check_async_transport,
    check_transport,
)

__all__ = ["ASYNC_CASES", "CASES", "Case", "check_async_transport", "check_transport"]
