"""Redirects: only those that stay with the server, and keep the method, are followed."""

import itertools
import ssl
from collections.abc import Iterator
from contextlib import contextmanager

from certificates import TLS
from expectations import ANSWER, UNEXPECTED, Served, case, group
from wires import JSON, SSE, SSE_TYPE, envelope, first, good, http, says

from claude_lite.testing.conformance.loopback import LoopbackServer, Peer, Script
from claude_lite.wire import ERROR_BODY_SECONDS

group("Redirects")


def redirect(location: str, status: str = "307 Oh") -> bytes:
    """Write a redirect."""
    return http(b"", "", f"Location: {location}", status=status)


def round_and_round(peer: Peer) -> None:
    """Send the client from one address to the next."""
    for number in itertools.count():
        if not peer.request():
            return
        peer.send(redirect(f"/{number}"))


for status in (307, 308):
    case(
        f"{status} within the host",
        first(redirect("/other", f"{status} Oh")),
        ANSWER,
        serves=False,
        requests=2,
    )
for status in (301, 302, 303):
    case(
        f"{status} within the host",
        first(redirect("/other", f"{status} Oh")),
        UNEXPECTED,
        serves=False,
        requests=1,
    )
for location in (
    "http://localhost:9/",
    "https://127.0.0.1/",
    "//localhost:9/",
    "http://[",
    "",
    "javascript:1",
    "http://user:pw@127.0.0.1/",
    "/a b",
    "/\u00e9",
    "\\\\localhost",
    "http:///x",
    "?" * 5000,
    "http://127.0.0.1:99999999/",
    "http://127.0.0.1:x/",
):
    stays = location.startswith(("?", "http:///"))  # within the origin, odd as it is
    outcome = ANSWER if stays else UNEXPECTED
    case(
        f"307 to {location[:40]!r}",
        first(redirect(location)),
        outcome,
        serves=False,
        requests=2 if outcome is ANSWER else 1,
    )
case("307 round and round", round_and_round, UNEXPECTED, requests=4)
case(
    "307 without a location",
    first(http(b"", "", status="307 Oh")),
    UNEXPECTED,
    serves=False,
    requests=1,
)


def broken(head: bytes, end: str) -> Script:
    """Make a script: a redirect whose body breaks off, and the right answer at its target."""

    def script(peer: Peer) -> None:
        if whole := peer.request():
            right = http(SSE, SSE_TYPE) if b'"stream":true' in whole.body else http(JSON)
            peer.send(right if whole.target == "/other" else head)
            if end == "wait":
                peer.gone(3.0)

    return script


CUT = redirect("/other").replace(b"Length: 0", b"Length: 9")
NO_CHUNKS = redirect("/other").replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
for what, reply, end in (
    ("a body cut short", CUT, "close"),
    ("a body that stalls", CUT, "wait"),
    ("chunks that are not", NO_CHUNKS + b"zz\r\n", "wait"),
):
    case(
        f"307 with {what}",
        broken(reply, end),
        ANSWER,
        requests=2,
        timeout=60.0,
        within=ERROR_BODY_SECONDS,
    )


@contextmanager
def leading_away(host: str, *, downgrade: bool = False) -> Iterator[Served]:
    """Serve a redirect to another server, which would answer."""
    context = None
    if downgrade:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(TLS / "localhost.pem")
    with LoopbackServer(good()) as far:
        there = far.url("/v1/messages").replace("127.0.0.1", host)
        with LoopbackServer(says(redirect(there), then="keep"), context) as near:
            yield Served(near.url(""), near.received, far.received)


for what, host in (("port", "127.0.0.1"), ("host", "localhost")):
    case(
        f"307 to another {what} that answers",
        lambda host=host: leading_away(host),
        UNEXPECTED,
        serves=False,
        requests=1,
    )
case(
    "307 from https to http",
    lambda: leading_away("127.0.0.1", downgrade=True),
    UNEXPECTED,
    serves=False,
    requests=1,
    trusts="localhost.pem",
)
case(
    "307 within the host, 8 MB",
    first(redirect("/other")),
    ANSWER,
    serves=False,
    requests=2,
    size=8_000_000,
    within=2.0,
)
case(
    "307 to an error",
    first(redirect("/other"), http(envelope(), status="529 Busy")),
    "Overloaded",
    serves=False,
    requests=2,
)
