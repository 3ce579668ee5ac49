"""Conformance: what a server or the system may do at any time harms nobody.

A reply is bounded in all of its parts, a stray reply reaches nobody, a child process uses no
connection of its parent, and a process without descriptors says so.
"""

import asyncio
import os
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from queue import Queue
from threading import Event
from typing import Final

from claude_lite.errors import (
    ClaudeError,
    ConnectionFailed,
    StreamInterrupted,
    UnexpectedResponse,
)
from claude_lite.testing.conformance.cases import (
    Case,
    both_ways,
    case,
    fails,
    get,
    holds,
    post,
    same,
)
from claude_lite.testing.conformance.connecting import told
from claude_lite.testing.conformance.loopback import LoopbackServer, Peer, chunked, reply
from claude_lite.wire import AsyncTransport, Limits

CASES: Final[list[Case]] = []


@case(CASES, strict=True)
async def heads_are_counted(transport: AsyncTransport) -> None:
    """A head with more headers than `max_headers` is refused, one with as many is not."""
    limits = Limits(read=2.0, total=4.0, max_headers=20)

    def script(peer: Peer) -> None:
        while got := peer.request():
            count = int(got.body) - 1  # `reply` writes one more
            peer.send(reply(b"fine", *(f"X-{number}: a" for number in range(count))))

    with LoopbackServer(script) as server:
        for call in both_ways(transport):
            same((await call(post(server, b"20", limits=limits))).body, b"fine", "body")
            await fails(UnexpectedResponse, call(post(server, b"21", limits=limits)))


def flooding(start: bytes, drop: bytes) -> LoopbackServer:
    """Make a server that begins a reply, and then sends *drop* for as long as it can."""

    def script(peer: Peer) -> None:
        if peer.request():
            peer.send(start)
            for _ in range(4000):
                peer.send(drop * 16)

    return LoopbackServer(script)


@case(CASES, strict=True)
async def interim_heads_and_trailers_are_bounded(transport: AsyncTransport) -> None:
    """`max_head` bounds replies with status 1xx and trailers, however many there are."""
    limits = Limits(read=2.0, total=10.0, max_head=16 * 1024)
    for start, drop in (
        (b"", b"HTTP/1.1 103 Early Hints\r\nX-Early: 1\r\n\r\n"),
        (chunked(b"a", end=b"0\r\n"), b"X-Trailer: something\r\n"),
    ):
        for call in both_ways(transport):
            with flooding(start, drop) as server:
                error = await fails(ClaudeError, call(post(server, limits=limits)), within=3.0)
                # Some parsers say of too many trailers only that the reply is malformed.
                is_right = isinstance(error, (UnexpectedResponse, StreamInterrupted))
                holds(is_right, f"it raised {error!r}")


@case(CASES)
async def finish_waits_for_the_end(transport: AsyncTransport) -> None:
    """`finish()`, if there is one, waits a moment for the end: then the connection is kept."""
    go = Event()
    gone: Queue[object] = Queue()

    def script(peer: Peer) -> None:
        while got := peer.request():
            peer.send(chunked(b"all", end=b""))
            if got.target == "/ends":
                go.wait(2.0)
                time.sleep(0.01)
                peer.send(b"0\r\n\r\n")
            elif got.target == "/stalls":
                gone.put(peer.gone())
                return

    with LoopbackServer(script) as server:
        for target in ("/ends", "/ends", "/stalls"):
            async with transport.stream(get(server, target)) as (_, chunks):
                finish = getattr(chunks, "finish", None)
                if finish is None:
                    return
                same(await anext(aiter(chunks)), b"all", "the first chunk")
                go.set()
                began = time.monotonic()
                await finish()
                holds(time.monotonic() - began < 1.0, "`finish` waits for too long")
        same(server.connections, 1, "connections for three streams")
        holds(await told(gone), "a connection without the end of its reply was not closed")


@case(CASES)
async def a_stray_reply_reaches_nobody(transport: AsyncTransport) -> None:
    """A reply that comes when nothing was asked is given to nobody, also if the loop is busy."""
    sent = Event()

    def script(peer: Peer) -> None:
        while got := peer.request():
            peer.send(reply(got.body))
            if got.body == b"first":
                time.sleep(0.01)  # or it would come with the answer
                peer.send(reply(b"of somebody else"))
                sent.set()

    with LoopbackServer(script) as server:
        for pause in (0.0, 0.05, 0.2):
            for call in both_ways(transport):
                sent.clear()
                same((await call(post(server, b"first"))).body, b"first", "the first answer")
                sent.wait(2.0)
                time.sleep(pause)  # noqa: ASYNC251  # the loop is to be busy
                for body in (b"second", b"third"):
                    try:
                        same((await call(post(server, body))).body, body, "the answer")
                    except ClaudeError:  # it may be noticed too late for an answer
                        continue


@contextmanager
def no_descriptors() -> Iterator[None]:
    """Let the process open no more files or sockets for a while."""
    import resource  # there is none on Windows

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken: list[int] = []
    last = os.open(os.devnull, os.O_RDONLY)
    os.close(last)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, last + 32), hard))
    try:
        with suppress(OSError):
            while True:
                taken.append(os.open(os.devnull, os.O_RDONLY))
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for number in taken:
            os.close(number)


@case(CASES)
async def no_descriptor_is_connection_failed(transport: AsyncTransport) -> None:
    """Where the process can open no more sockets: `ConnectionFailed`; later calls work."""
    if sys.platform == "win32":
        return

    def echo(peer: Peer) -> None:
        while got := peer.request():
            peer.send(reply(got.body))

    with LoopbackServer(echo) as first, LoopbackServer(echo) as second:
        for call in both_ways(transport):
            same((await call(post(first, b"before"))).body, b"before", "the answer before")
            await asyncio.sleep(0.05)  # until all that is closed has given its descriptor back
            with no_descriptors():
                error = await fails(ClaudeError, call(post(second, b"meanwhile")))
            holds(isinstance(error, ConnectionFailed), f"it raised {error!r}")
            same((await call(post(second, b"after"))).body, b"after", "the answer after")
            await transport.close()


@case(CASES, strict=True)
async def a_child_uses_no_connection_of_its_parent(transport: AsyncTransport) -> None:
    """A forked child opens connections of its own, and the parent's connection lives on."""
    if not hasattr(os, "fork"):
        return

    def script(peer: Peer) -> None:
        while peer.request():
            peer.send(reply(str(peer.number).encode()))

    def child() -> int:
        try:
            answer = asyncio.run(transport.send(post(server)))
        except BaseException:  # noqa: BLE001  # its exit status says that it failed
            return 2
        return int(answer.body == b"0")

    with LoopbackServer(script) as server:
        same((await transport.send(post(server))).body, b"0", "the number of the connection")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # the server has threads
            pid = os.fork()
        if not pid:
            os._exit(child())
        _, status = await asyncio.to_thread(os.waitpid, pid, 0)
        same(os.waitstatus_to_exitcode(status), 0, "exit status of the child: 1 if it took ours")
        holds((await transport.send(post(server))).body != b"1", "the parent uses the child's")
