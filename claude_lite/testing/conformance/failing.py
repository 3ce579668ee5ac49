"""Conformance: each failure raises its own error, in time."""

import socket
from contextlib import closing
from time import sleep
from typing import Final

from claude_lite.errors import (
    ClaudeError,
    ConnectionFailed,
    ConnectionLost,
    ConnectTimedOut,
    ResponseTooLarge,
    StreamInterrupted,
    TimedOut,
    UnexpectedResponse,
)
from claude_lite.testing.conformance.cases import (
    LIMITS,
    Case,
    both_ways,
    case,
    fails,
    holds,
    post,
    read_whole,
    same,
)
from claude_lite.testing.conformance.loopback import (
    LoopbackServer,
    Peer,
    Script,
    chunked,
    reply,
    replying,
)
from claude_lite.wire import AsyncTransport, Limits, Request

CASES: Final[list[Case]] = []

BRIEF: Final = 0.1  # seconds

CUT_SHORT: Final = (
    reply(b"half", length=8),
    reply(b"", length=8),
    chunked(b"one", end=b""),
    chunked(b"one", end=b"0\r\n"),
    chunked(b"one", end=b"5\r\ntw"),
    chunked(end=b""),
)
BROKEN_CHUNKS: Final = (
    b"zz\r\ntwo\r\n0\r\n\r\n",
    b"2\r\ntwo\r\n0\r\n\r\n",
    b"-3\r\ntwo\r\n0\r\n\r\n",
)
MALFORMED: Final = (
    b"SSH-2.0-OpenSSH_9.7\r\n\r\n",
    b"HTTP/1.1 abc OK\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nno colon here\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: five\r\n\r\nabcde",
    b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nabcde",
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef",
    b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 300_000 + b"\r\nContent-Length: 0\r\n\r\n",
)


def saying(data: bytes, end: str = "close") -> Script:
    """Make a script: answer each request with *data*, then close, reset, or wait."""

    def script(peer: Peer) -> None:
        if peer.request():
            peer.send(data)
            if end == "wait":
                peer.gone()
            elif end == "reset":
                sleep(0.05)  # a reset can discard bytes that were sent just before it
                peer.reset()

    return script


def trickling(start: bytes, drop: bytes) -> Script:
    """Make a script: begin a reply with *start*, then send *drop* again and again."""

    def script(peer: Peer) -> None:
        if peer.request():
            peer.send(start)
            for _ in range(150):
                peer.send(drop)
                sleep(0.02)

    return script


def silent(peer: Peer) -> None:
    """Accept a connection, and send nothing."""
    peer.gone()


def closed_port() -> str:
    """Return the URL of a port on which no server listens."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        return f"http://127.0.0.1:{listener.getsockname()[1]}/v1/messages"


@case(CASES)
async def refused_is_connection_failed(transport: AsyncTransport) -> None:
    """A port without a server: `ConnectionFailed`, as nothing was sent."""
    for call in both_ways(transport):
        error = await fails(
            ConnectionFailed, call(Request("GET", closed_port(), {}, limits=LIMITS))
        )
        holds(not isinstance(error, TimedOut), "a refusal is no timeout")


@case(CASES)
async def no_tls_is_connection_failed(transport: AsyncTransport) -> None:
    """A server that does not speak TLS: `ConnectionFailed`, as nothing was sent."""

    def script(peer: Peer) -> None:
        peer.send(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        peer.gone()

    with LoopbackServer(script) as server:
        url = server.url().replace("http:", "https:")
        for call in both_ways(transport):
            await fails(ConnectionFailed, call(Request("GET", url, {}, limits=LIMITS)))


@case(CASES)
async def a_silent_handshake_is_connect_timed_out(transport: AsyncTransport) -> None:
    """The connect limit includes TLS: it ends the wait for a server that sends nothing."""
    with LoopbackServer(silent) as server:
        url = server.url().replace("http:", "https:")
        request = Request("GET", url, {}, limits=Limits(connect=BRIEF))
        for call in both_ways(transport):
            error = await fails(ConnectTimedOut, call(request), within=BRIEF)
            same(error.phase, "connect", "phase")


@case(CASES)
async def closed_before_the_head_is_connection_lost(transport: AsyncTransport) -> None:
    """The request was sent, and the connection ended (FIN or RST) without a reply."""
    for end in ("close", "reset"):
        with LoopbackServer(saying(b"", end)) as server:
            for call in both_ways(transport):
                await fails(ConnectionLost, call(post(server)))
            same(server.connections, 2, "connections for two calls")


@case(CASES)
async def a_cut_head_is_no_reply(transport: AsyncTransport) -> None:
    """A connection that ends within the head: `ConnectionLost` or `StreamInterrupted`."""
    with LoopbackServer(saying(b"HTTP/1.1 200 OK\r\nContent-Le")) as server:
        for call in both_ways(transport):
            error = await fails(ClaudeError, call(post(server)))
            holds(isinstance(error, ConnectionLost | StreamInterrupted), f"it raised {error!r}")


@case(CASES)
async def a_short_body_is_interrupted(transport: AsyncTransport) -> None:
    """A body with fewer bytes than announced, or without a last chunk: `StreamInterrupted`."""
    for data in CUT_SHORT:
        for end in ("close", "reset"):
            with LoopbackServer(saying(data, end)) as server:
                for call in both_ways(transport):
                    await fails(StreamInterrupted, call(post(server)))


@case(CASES)
async def what_came_before_an_interruption_is_delivered(transport: AsyncTransport) -> None:
    """The chunks of a stream that breaks off are handed over before the error is raised."""
    for data in (reply(b"half", length=8), chunked(b"ha", b"lf", end=b"")):
        with LoopbackServer(saying(data)) as server:
            got = b""

            async def collect(request: Request) -> None:
                nonlocal got
                async with transport.stream(request) as (_, chunks):
                    async for chunk in chunks:
                        got += chunk

            await fails(StreamInterrupted, collect(post(server)))
            same(got, b"half", "what came before")


@case(CASES)
async def broken_chunks_are_interrupted(transport: AsyncTransport) -> None:
    """A malformed chunk raises `StreamInterrupted`, and the connection is closed."""
    for broken in BROKEN_CHUNKS:

        def script(peer: Peer, broken: bytes = broken) -> None:
            if peer.request():
                peer.send(chunked(b"one", end=b""))
                sleep(0.03)  # so that no parser refuses head and chunk together
                peer.send(broken)
                peer.gone()

        with LoopbackServer(script) as server:
            for call in both_ways(transport):
                await fails(StreamInterrupted, call(post(server)))


@case(CASES)
async def silence_is_a_read_timeout(transport: AsyncTransport) -> None:
    """The read limit ends a call that waits for a head, the rest of a head, or more of a body."""
    limits = Limits(read=BRIEF)
    for data in (
        b"",
        b"HTTP/1.1 200 OK\r\nConte",
        reply(b"half", length=8),
        chunked(b"a", end=b""),
    ):
        with LoopbackServer(saying(data, "wait")) as server:
            for call in both_ways(transport):
                error = await fails(TimedOut, call(post(server, limits=limits)), within=BRIEF)
                same(error.phase, "read", "phase")


@case(CASES)
async def a_trickle_is_a_total_timeout(transport: AsyncTransport) -> None:
    """The total limit ends a call whose head or body keeps coming, a byte at a time."""
    limits = Limits(read=2.0, total=BRIEF)
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    for start, drop in (
        (b"HTTP/1.1 200 OK\r\nX: ", b"x"),
        (head, b"1\r\na\r\n"),
        (reply(length=999), b"a"),
    ):
        with LoopbackServer(trickling(start, drop)) as server:
            for call in both_ways(transport):
                error = await fails(TimedOut, call(post(server, limits=limits)), within=BRIEF)
                same(error.phase, "total", "phase")


@case(CASES)
async def too_large_is_too_large(transport: AsyncTransport) -> None:
    """`max_response` ends a `send` when the announced or the received size is larger."""
    limits = Limits(read=2.0, max_response=1000)
    with LoopbackServer(replying(reply(bytes(1000)))) as server:
        same(len((await transport.send(post(server, limits=limits))).body), 1000, "size")
    for data in (reply(b"", length=1001), chunked(bytes(600), bytes(600), end=b"")):
        with LoopbackServer(saying(data, "wait")) as server:
            call = transport.send(post(server, limits=limits))
            await fails(ResponseTooLarge, call, within=BRIEF)


@case(CASES)
async def streams_may_be_large(transport: AsyncTransport) -> None:
    """`max_response` limits bodies that are kept whole, and does not limit streams."""
    with LoopbackServer(replying(chunked(bytes(600), bytes(600)))) as server:
        response = await read_whole(transport, post(server, limits=Limits(max_response=1000)))
        same(len(response.body), 1200, "size")


@case(CASES)
async def a_malformed_head_is_unexpected(transport: AsyncTransport) -> None:
    """A head that is not HTTP, is contradictory, or is too long: `UnexpectedResponse`."""
    for data in MALFORMED:
        with LoopbackServer(saying(data, "wait")) as server:
            for call in both_ways(transport):
                await fails(UnexpectedResponse, call(post(server)))


@case(CASES)
async def no_line_gets_into_the_head(transport: AsyncTransport) -> None:
    """A header with a line break or a NUL is refused before anything is sent."""
    with LoopbackServer(replying(reply())) as server:
        for value in ("a\r\nx-smuggled: 1", "a\nx-smuggled: 1", "a\rb", "a\0b"):
            for headers in ({"x-a": value}, {value: "a"}):
                for call in both_ways(transport):
                    await fails(ClaudeError, call(post(server, headers=headers)))
        same(len(server.received), 0, "requests that were sent")


@case(CASES)
async def a_failure_does_not_last(transport: AsyncTransport) -> None:
    """After a call that failed in the middle of a reply, the next call gets its own reply."""

    def script(peer: Peer) -> None:
        while peer.request():
            peer.send(reply(b"fine") if peer.number % 2 else reply(b"late", length=8))

    with LoopbackServer(script) as server:
        for call in both_ways(transport):
            await fails(TimedOut, call(post(server, limits=Limits(read=BRIEF))), within=BRIEF)
            same((await call(post(server))).body, b"fine", "the next answer")
            await transport.close()
