"""What a case is, and the list of them all, which the `cases_*` modules fill.

Each case is a script for the raw server on loopback and the outcome over any transport, for a
plain call and for a streamed one. Nothing here knows a client.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from ssl import SSLContext
from typing import Any, Final

from attrs import field, frozen

from claude_lite import standard
from claude_lite.testing.conformance.loopback import LoopbackServer, Received, Script

KEY: Final = "sk-ant-fault-0123456789"
TEXT: Final = "Hello, wörld 🌍!\u2028"
REQUEST_ID: Final = "req_fault"
USAGE: Final = {"input_tokens": 3, "output_tokens": 5}
BRIEF: Final = 0.15

ANSWER: Final = "answer"
TRIES: Final = {"retry": standard(wait=0.01)}


@frozen
class Expect:
    """The outcome: a class of error or `ANSWER`, and what the error has to say.

    Where two errors are right (a race decides), `outcome` has a "|" between them. `fields` are
    attributes of the error; `partial` is the text that a broken stream had brought.
    """

    outcome: str
    fields: Mapping[str, Any] = field(factory=dict)
    partial: str | None = None
    text: str = TEXT


@frozen
class Served:
    """Where a case is served, and the requests that came: there, and where none may come."""

    url: str
    received: list[Received] | None = None
    strayed: list[Received] = field(factory=list)


Serve = Callable[[], AbstractContextManager[Served]]


@frozen
class Case:
    """One fault. `plain` or `streamed` is None where the case makes no sense of that form.

    `calls` are made one after the other with one client; `requests` is how many the server
    has to see of one call, if that is certain; `within` bounds a call, in seconds.
    """

    group: str
    name: str
    serve: Serve
    plain: Expect | None
    streamed: Expect | None
    options: Mapping[str, Any]
    within: float
    calls: int
    requests: int | None
    size: int
    trusts: str | None


CASES: Final[list[Case]] = []
GROUPS: Final[list[str]] = []


def group(title: str) -> None:
    """Let the cases that follow be of this group."""
    GROUPS.append(title)


def case(
    name: str,
    server: Script | Serve,
    plain: Expect | str | None,
    streamed: Expect | str | None = "same",
    *,
    serves: bool = True,
    within: float = 0.7,
    calls: int = 1,
    requests: int | None = None,
    size: int = 10,
    trusts: str | None = None,
    **options: Any,
) -> None:
    """Add a case; *server* is a script, or (with *serves* false) serves by itself."""
    one = Expect(plain) if isinstance(plain, str) else plain
    other = one if streamed == "same" else streamed
    other = Expect(other) if isinstance(other, str) else other
    assert all(name != known.name for known in CASES), name
    serve = (lambda: serving(server)) if serves else server
    CASES.append(
        Case(GROUPS[-1], name, serve, one, other, options, within, calls, requests, size, trusts)
    )


@contextmanager
def serving(script: Script, tls: SSLContext | None = None) -> Iterator[Served]:
    """Run a server."""
    with LoopbackServer(script, tls) as server:
        yield Served(server.url(""), server.received)


def error(outcome: str, **fields: Any) -> Expect:
    """Expect an error with these attributes."""
    return Expect(outcome, fields)


UNEXPECTED: Final = error("UnexpectedResponse", request_id=REQUEST_ID)
INTERRUPTED: Final = error("StreamInterrupted")
LARGE: Final = error("UnexpectedResponse|ResponseTooLarge", request_id=REQUEST_ID)
READ: Final = error("TimedOut", phase="read")
TOTAL: Final = error("TimedOut", phase="total")
