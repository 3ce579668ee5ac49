"""Answers before the request is whole."""

from time import sleep

from expectations import BRIEF, case, group
from wires import http, says

from claude_lite.testing.conformance.loopback import Peer, Script

group("Answers before the request is whole")


def hasty(status: str, *, drains: bool) -> Script:
    """Make a script: answer once the head is there; then read the rest, or do not."""

    def script(peer: Peer) -> None:
        if peer.head():
            peer.send(http(b"", "", "Connection: close", status=status))
            peer.finish()
            if drains:
                peer.gone(2.0)
            else:
                sleep(0.1)

    return script


case(
    "413 before the body is sent",
    hasty("413 Large", drains=True),
    "RequestTooLarge",
    size=8_000_000,
    within=2.0,
)
case(
    "413 before the body is sent, then closed",
    hasty("413 Large", drains=False),
    "RequestTooLarge|ConnectionLost",
    size=8_000_000,
    within=2.0,
)


def deaf(peer: Peer) -> None:
    """Read the head, and nothing after it."""
    peer.head()
    sleep(1.0)


case(
    "a server that stops reading",
    deaf,
    "TimedOut|ConnectionLost",
    size=8_000_000,
    timeout=BRIEF,
    within=1.2,
)
for status, outcome in (
    ("400 Bad", "InvalidRequest"),
    ("401 No", "AuthenticationFailed"),
    ("529 Busy", "Overloaded"),
):
    case(
        f"{status[:3]} before the body is sent",
        hasty(status, drains=True),
        outcome,
        size=8_000_000,
        within=2.0,
    )


def asking(peer: Peer) -> None:
    """Ask for the body with a continue, and refuse it then."""
    if (head := peer.head()) and not peer.send(b"HTTP/1.1 100 Continue\r\n\r\n"):
        peer.body(head)
        peer.send(http(b"", "", "Connection: close", status="413 Large"))


case("100, and then 413", asking, "RequestTooLarge", size=200_000)
case(
    "closed between 100 and the answer",
    says(b"HTTP/1.1 100 Continue\r\n\r\n"),
    "ConnectionLost|StreamInterrupted",
    size=200_000,
)
