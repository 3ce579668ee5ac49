"""No connection: refused, silent, or not who it should be."""

import socket
import ssl
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext

from certificates import TLS
from expectations import ANSWER, BRIEF, TRIES, Serve, Served, case, error, group, serving
from wires import BLOCK, JSON, ONE, SSE, SSE_TYPE, START, choosing, good, http, says

from claude_lite.testing.conformance.loopback import LoopbackServer, Peer, Script

group("Connecting")


@contextmanager
def closed_port() -> Iterator[Served]:
    """Give an address where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    yield Served(f"http://127.0.0.1:{port}")


@contextmanager
def black_hole() -> Iterator[Served]:
    """Give an address that does not answer: a listener whose backlog is full."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.settimeout(0)
            filler.connect_ex(listener.getsockname())
        yield Served(f"http://127.0.0.1:{listener.getsockname()[1]}")


def tls(pem: str, script: Script | None = None) -> Serve:
    """Give a TLS server with this certificate, which answers rightly, if not by *script*."""

    def serve() -> AbstractContextManager[Served]:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(TLS / pem)
        return serving(script or good(), context)

    return serve


@contextmanager
def no_tls(script: Script) -> Iterator[Served]:
    """Give an https address of a server that does not speak TLS."""
    with LoopbackServer(script) as server:
        yield Served(server.url("").replace("http:", "https:"))


NOT_SENT = error("ConnectionFailed", attempts=1)
case("refused", closed_port, NOT_SENT, serves=False)
case(
    "refused, tried again",
    closed_port,
    error("ConnectionFailed", attempts=3),
    serves=False,
    **TRIES,
)
case(
    "blackholed connect",
    black_hole,
    error("ConnectTimedOut", phase="connect"),
    serves=False,
    connect_timeout=BRIEF,
)
case("TLS: right", tls("localhost.pem"), ANSWER, serves=False, trusts="localhost.pem")
for pem, trusts, what in (
    ("localhost.pem", None, "self-signed"),
    ("other.pem", "other.pem", "another host's"),
    ("expired.pem", "expired.pem", "expired"),
):
    case(
        f"TLS: {what}",
        tls(pem),
        error("CertificateRefused", attempts=1),
        serves=False,
        trusts=trusts,
        **TRIES,
    )
case(
    "TLS: the server speaks HTTP",
    lambda: no_tls(lambda peer: peer.send(http(JSON))),
    NOT_SENT,
    serves=False,
)
case(
    "TLS: silence",
    lambda: no_tls(lambda peer: peer.gone(2.0)),
    error("ConnectTimedOut", phase="connect"),
    serves=False,
    connect_timeout=BRIEF,
)
case("TLS: closed in the handshake", lambda: no_tls(Peer.close), NOT_SENT, serves=False)
case(
    "TLS: an alert instead of a handshake",
    lambda: no_tls(lambda peer: peer.send(b"\x15\x03\x03\x00\x02\x02\x28")),
    NOT_SENT,
    serves=False,
)
for what, script, outcome, calls in (
    ("closed after each answer", choosing(says(http(JSON)), says(http(SSE, SSE_TYPE))), ANSWER, 3),
    (
        "cut in the body",
        choosing(
            says(http(JSON[:50], length=len(JSON))),
            says(http(START + BLOCK + ONE, SSE_TYPE, length=len(SSE))),
        ),
        "StreamInterrupted",
        1,
    ),
):
    case(
        f"TLS: {what}",
        tls("localhost.pem", script),
        outcome,
        serves=False,
        trusts="localhost.pem",
        calls=calls,
    )
case(
    "a name that is too long",
    lambda: nullcontext(Served(f"http://{'x' * 64}.invalid")),
    NOT_SENT,
    serves=False,
)
