"""Conformance: connections that are kept or closed, streams without delay, concurrent calls."""

import asyncio
from contextlib import suppress
from queue import Queue
from threading import Event
from time import monotonic
from typing import Final

from claude_lite.errors import ClaudeError, ConnectionFailed
from claude_lite.testing.conformance.cases import (
    GRACE,
    Case,
    both_ways,
    case,
    get,
    holds,
    post,
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
from claude_lite.wire import AsyncTransport

CASES: Final[list[Case]] = []
ASYNC_CASES: Final[list[Case]] = []

HEAD: Final = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


async def told(news: "Queue[object]") -> object:
    """Wait for a value from a script, while the event loop runs on."""
    return await asyncio.to_thread(news.get, timeout=4)


@case(CASES)
async def a_connection_is_used_again(transport: AsyncTransport) -> None:
    """Consecutive requests share a connection, also after a stream that was read to its end."""
    replies = reply(b"a"), chunked(b"b", b"c"), reply(b"no", status="404 Not Found"), reply(b"d")
    with LoopbackServer(replying(*replies)) as server:
        for call in both_ways(transport) * 2:
            await call(post(server))
        same(server.connections, 1, "connections for four requests")


@case(CASES)
async def connection_close_is_obeyed(transport: AsyncTransport) -> None:
    """After `connection: close` the next request goes over a new connection."""
    with LoopbackServer(replying(reply(b"a", "Connection: close"))) as server:
        for call in both_ways(transport):
            same((await call(post(server))).body, b"a", "body")
        same(server.connections, 2, "connections for two requests")


@case(CASES)
async def chunks_come_without_delay(transport: AsyncTransport) -> None:
    """A chunk is handed over when it arrives, not only when more chunks have arrived."""
    seen = Event()
    in_time: Queue[object] = Queue()

    def script(peer: Peer) -> None:
        if peer.request():
            peer.send(HEAD, b"7\r\nfirst\n\n\r\n")
            in_time.put(seen.wait(0.5))
            peer.send(b"8\r\nsecond\n\n\r\n0\r\n\r\n")

    with LoopbackServer(script) as server:
        got = b""
        async with transport.stream(post(server)) as (_, chunks):
            async for chunk in chunks:
                got += chunk
                seen.set()
        same(got, b"first\n\nsecond\n\n", "the stream")
        holds(await told(in_time), "the first chunk came only after the second was sent")


@case(CASES)
async def the_head_comes_without_delay(transport: AsyncTransport) -> None:
    """The head of a stream is handed over before any of its body arrives."""
    seen = Event()
    in_time: Queue[object] = Queue()

    def script(peer: Peer) -> None:
        if peer.request():
            peer.send(HEAD)
            in_time.put(seen.wait(0.5))
            peer.send(b"1\r\na\r\n0\r\n\r\n")

    with LoopbackServer(script) as server:
        async with transport.stream(post(server)) as (head, chunks):
            seen.set()
            same((head.status, head.body), (200, b""), "the head")
            same([chunk async for chunk in chunks], [b"a"], "the chunks")
        holds(await told(in_time), "the head came only after the body was sent")


def endless(gone: "Queue[object]") -> LoopbackServer:
    """Make a server whose first reply never ends; *gone* gets whether the client closed."""

    def script(peer: Peer) -> None:
        while peer.request():
            if peer.number:
                peer.send(reply(b"next"))
            else:
                peer.send(HEAD, b"5\r\nfirst\r\n")
                gone.put(peer.gone())

    return LoopbackServer(script)


@case(CASES)
async def leaving_a_stream_closes_it(transport: AsyncTransport) -> None:
    """A stream left early, by return or by error, closes its connection; the next call works."""
    for error in (None, KeyError("mine")):
        gone: Queue[object] = Queue()
        with endless(gone) as server:
            try:
                async with transport.stream(post(server)) as (_, chunks):
                    same(await anext(aiter(chunks)), b"first", "the first chunk")
                    if error:
                        raise error
            except KeyError as raised:
                holds(raised is error, "the error is not the caller's own")
            holds(await told(gone), "the connection was not closed")
            same((await transport.send(get(server))).body, b"next", "the next answer")


@case(CASES)
async def a_stale_connection_does_no_harm(transport: AsyncTransport) -> None:
    """After the server closed an idle connection, the next call works, or sent nothing."""
    closed: Queue[object] = Queue()

    def script(peer: Peer) -> None:
        if peer.request():
            peer.send(reply(b"fine"))
            peer.close()
            closed.put("done")

    with LoopbackServer(script) as server:
        for call in both_ways(transport) * 2:
            try:
                same((await call(post(server))).body, b"fine", "body")
            except ConnectionFailed:
                continue
            await told(closed)
            await asyncio.sleep(0.05)


@case(CASES)
async def bytes_too_many_answer_nothing(transport: AsyncTransport) -> None:
    """Bytes that a server sends past the end of a reply are not read as the next reply."""

    def script(peer: Peer) -> None:
        while peer.request():
            right = reply(b"right")
            peer.send(right if peer.number else right + reply(b"wrong"))

    with LoopbackServer(script) as server:
        same((await transport.send(post(server))).body, b"right", "the first answer")
        await asyncio.sleep(0.05)
        with suppress(ClaudeError):
            same((await transport.send(post(server))).body, b"right", "the second answer")


@case(CASES)
async def calls_side_by_side_get_their_own_answers(transport: AsyncTransport) -> None:
    """Concurrent calls do not wait for one another, and each gets its own reply."""
    together = Event()
    alone: list[str] = []
    count = 16

    def echo(peer: Peer) -> None:
        while got := peer.request():
            if len(server.received) == count:
                together.set()
            if not together.wait(1.0):
                alone.append(got.target)
                together.set()
            body = got.target.encode()
            peer.send(reply(body) if peer.number % 2 else chunked(body))

    async def call(number: int) -> bool:
        target = f"/{10**number}"
        one_of_two = both_ways(transport)[number % 2]
        return (await one_of_two(get(server, target))).body == target.encode()

    with LoopbackServer(echo) as server:
        right = await asyncio.gather(*map(call, range(count)))
        same((sum(right), alone), (count, []), "right answers, and calls that had to wait")
        right = await asyncio.gather(*map(call, range(count)))
        same(sum(right), count, "right answers over connections used before")


@case(CASES)
async def sleep_sleeps(transport: AsyncTransport) -> None:
    """`sleep` takes as long as its argument says, and returns at once for 0."""
    for seconds in (0.05, 0.0):
        began = monotonic()
        await transport.sleep(seconds)
        took = monotonic() - began
        holds(seconds * 0.9 <= took < seconds + GRACE, f"{took:.3f} s instead of {seconds} s")


@case(CASES)
async def close_closes_and_opens_again(transport: AsyncTransport) -> None:
    """`close` closes idle connections, may be called again, and the transport still works."""
    gone: Queue[object] = Queue()

    def script(peer: Peer) -> None:
        if peer.request():
            peer.send(reply(b"fine"))
            gone.put(peer.gone())

    await transport.close()
    with LoopbackServer(script) as server:
        for call in both_ways(transport):
            same((await call(post(server))).body, b"fine", "body")
            await transport.close()
            holds(await told(gone), "the connection was not closed")
            await transport.close()


def hanging(begin: bytes, asked: "Queue[object]", gone: "Queue[object]") -> Script:
    """Make a script: begin a reply, never end it, and report whether the client closed."""

    def script(peer: Peer) -> None:
        if peer.request():
            peer.send(begin)
            asked.put("done")
            gone.put(peer.gone())

    return script


@case(ASYNC_CASES)
async def cancelling_a_call_closes_it(transport: AsyncTransport) -> None:
    """A task that is cancelled, in any phase of a call, leaves no connection open."""
    for begin in (b"", b"HTTP/1.1 200 OK\r\nContent-", HEAD, HEAD + b"5\r\nfirst\r\n"):
        asked: Queue[object] = Queue()
        gone: Queue[object] = Queue()
        with LoopbackServer(hanging(begin, asked, gone)) as server:
            for call in both_ways(transport):
                task = asyncio.ensure_future(call(post(server)))
                await told(asked)
                task.cancel()
                done, _ = await asyncio.wait({task}, timeout=2.0)
                holds(done and task.cancelled(), "the call was not cancelled")
                holds(await told(gone), "the connection was not closed")


@case(ASYNC_CASES)
async def cancelled_calls_cost_no_connection(transport: AsyncTransport) -> None:
    """After many calls were cancelled in a short time, the next call still works."""
    with LoopbackServer(replying(reply(b"fine"))) as server:
        for turns in range(60):
            task = asyncio.ensure_future(transport.send(post(server)))
            for _ in range(turns % 12):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait({task}, timeout=2.0)
        same((await transport.send(post(server))).body, b"fine", "body")
