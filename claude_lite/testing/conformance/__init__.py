"""The conformance suite: what any transport has to do, as cases that anyone can run.

A case is a script for a server on loopback and what the transport has to make of it.
`check_transport` and `check_async_transport` run them all and raise for the first that fails.
"""

from claude_lite.testing.conformance.cases import Case
from claude_lite.testing.conformance.checking import (
    ASYNC_CASES,
    CASES,
    check_async_transport,
    check_transport,
)

__all__ = ["ASYNC_CASES", "CASES", "Case", "check_async_transport", "check_transport"]
