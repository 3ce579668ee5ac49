"""The fast transport, on asyncio's loop and on uvloop: connections, streams, limits, secrets."""

import asyncio
import copy
import gc
import os
import pickle
import select
import socket
import ssl
import subprocess
import sys
import textwrap
import threading
from collections import Counter
from contextlib import asynccontextmanager, contextmanager
from queue import Queue
from time import sleep

import pytest
from places import PEM
from timing import Stopwatch

from claude_lite.errors import (
    CertificateRefused,
    ConnectionFailed,
    ConnectionLost,
    ConnectTimedOut,
    StreamInterrupted,
    TimedOut,
    UsageError,
)
from claude_lite.testing import ASYNC_CASES
from claude_lite.testing.conformance.cases import fails, get, post
from claude_lite.testing.conformance.hiding import exposed
from claude_lite.testing.conformance.loopback import LoopbackServer, Peer, chunked, reply, replying
from claude_lite.wire import AsyncTransport, Limits, MaskedStr, Request
from claude_lite_transports.asyncio import AsyncioTransport
from claude_lite_transports.asyncio.opening import Opening
from claude_lite_transports.asyncio.reach import _alternating
from claude_lite_transports.shared.dial import Way

try:
    import uvloop
except ImportError:
    uvloop = None

BRIEF = 0.1
QUIET = "import logging; logging.getLogger('asyncio').setLevel('ERROR')\n"  # slow is no error
KEY = "sk-ant-canary-Zx81"
CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
ENDLESS = CHUNKED + b"5\r\nfirst\r\n"


class Skewed(asyncio.SelectorEventLoop):
    """A loop whose clock can be put forward, and whose resolver can be told what to answer."""

    skew = 0.0
    addresses = None

    def time(self):
        """Tell the time, which may be that of a later hour."""
        return super().time() + self.skew

    async def getaddrinfo(self, host, port, **options):
        """Resolve as usual, unless told otherwise."""
        if self.addresses is not None:
            return [(socket.AF_INET, socket.SOCK_STREAM, 0, "", one) for one in self.addresses]
        return await super().getaddrinfo(host, port, **options)


LOOPS = {"asyncio": asyncio.SelectorEventLoop, "uvloop": uvloop and uvloop.new_event_loop}


@pytest.fixture(params=LOOPS)
def run(request):
    """Run a coroutine on a new loop, of either kind."""
    if LOOPS[request.param] is None:
        pytest.skip("uvloop is not installed")

    def run(coroutine):
        with asyncio.Runner(loop_factory=LOOPS[request.param]) as runner:
            return runner.run(coroutine)

    return run


def on_a_skewed_loop(main):
    """Run a coroutine function, given its loop, on a loop with a clock that can be put forward."""
    with asyncio.Runner(loop_factory=Skewed) as runner:
        return runner.run(main(runner.get_loop()))


@asynccontextmanager
async def opened(**options):
    """Give a transport without proxies, closed at the end."""
    transport = AsyncioTransport(**{"trust_env": False, **options})
    try:
        yield transport
    finally:
        await transport.close()


async def told(news):
    """Wait for what a server has to tell, while the loop runs on."""
    return await asyncio.to_thread(news.get, timeout=3)


def python(code, *args):
    """Run code in an interpreter where warnings are errors; return what it wrote to stderr."""
    code = QUIET + textwrap.dedent(code)
    done = subprocess.run(  # noqa: S603  # this interpreter, code of our own
        [sys.executable, "-X", "dev", "-W", "error", "-c", code, *args],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
        env={"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    return done.stderr + (f"exit status {done.returncode}" if done.returncode else "")


def echo(peer):
    """Answer each request with its target."""
    while got := peer.request():
        peer.send(reply(got.target.encode()))


# The conformance suite


@pytest.mark.parametrize("case", ASYNC_CASES, ids=str)
def test_conformance(case, run):
    """It does what every transport has to do."""

    async def main():
        async with opened() as transport:
            await case.check(transport)

    run(main())


def test_it_is_a_transport():
    """It has the methods of the protocol, and needs no arguments."""
    assert isinstance(AsyncioTransport(), AsyncTransport)


# One write, and few timers


def test_a_request_costs_one_write_one_read_and_no_timer():
    """A small call is one `send`, one `recv_into` and no timer of its own, on asyncio's loop."""
    counts = Counter()

    def profile(frame, event, function):
        if event in ("call", "c_call"):
            name = frame.f_code.co_name if event == "call" else function.__name__
            counts[event, name] += 1

    async def main():
        with LoopbackServer(replying(reply(b"x" * 1000))) as server:
            async with opened() as transport:
                request = post(server, b"y" * 1000)
                await transport.send(request)
                sys.setprofile(profile)
                for _ in range(50):
                    await transport.send(request)
                sys.setprofile(None)
                assert server.connections == 1

    asyncio.run(main())
    assert (counts["c_call", "send"], counts["c_call", "recv_into"]) == (50, 50)
    assert (counts["c_call", "recv"], counts["call", "opening"]) == (0, 0)
    assert counts["call", "call_at"] < 10


def test_a_small_request_is_one_packet(run):
    """Head and body arrive in one piece, on every loop."""
    sizes = Queue()

    def script(peer):
        sizes.put(len(peer._sock.recv(65536)))
        peer.send(reply())

    async def main():
        with LoopbackServer(script) as server:
            async with opened() as transport:
                await transport.send(post(server, b"x" * 1000))

    run(main())
    assert sizes.get() > 1000


def test_headers_are_known_again_and_may_change():
    """A head is serialised once for a mapping of headers, and anew when that has changed."""
    headers = {"x-a": "1"}

    async def main():
        with LoopbackServer(replying(reply())) as server:
            async with opened() as transport:
                for value in ("1", "1", "2", "2"):
                    headers["x-a"] = value
                    await transport.send(Request("GET", server.url(), headers))
                    await transport.send(Request("POST", server.url(), headers, b"body"))
                    await transport.send(Request("POST", server.url("/other"), headers))
                ((pool, _),) = transport._pools.held.values()
                assert len(pool._openings) == 3
            got = [(one.method, one.values("x-a"), one.body) for one in server.received]
            expected = [
                one
                for value in "1122"
                for one in (
                    ("GET", [value], b""),
                    ("POST", [value], b"body"),
                    ("POST", [value], b""),
                )
            ]
            assert got == expected

    asyncio.run(main())


def test_heads_do_not_pile_up():
    """Of the heads that were serialised only so many are kept."""

    async def main():
        with LoopbackServer(replying(reply())) as server:
            async with opened() as transport:
                for number in range(300):
                    await transport.send(get(server, f"/{number}"))
                ((pool, _),) = transport._pools.held.values()
                assert len(pool._openings) <= 256

    asyncio.run(main())


# Connections


def test_the_newest_idle_connection_is_used_first(run):
    """The pool is a stack, so that connections that are not needed grow old."""
    numbers = []
    begun = Queue()
    go = threading.Event()

    def script(peer):
        while got := peer.request():
            numbers.append((got.target, peer.number))
            if got.target == "/slow":
                begun.put("begun")
                go.wait(2.0)
            peer.send(reply())

    async def main():
        with LoopbackServer(script) as server:
            async with opened() as transport:
                slow = asyncio.ensure_future(transport.send(get(server, "/slow")))
                await told(begun)
                await transport.send(get(server, "/quick"))
                go.set()
                await slow
                await transport.send(get(server, "/next"))
                await transport.send(get(server, "/next"))

    run(main())
    assert numbers == [("/slow", 0), ("/quick", 1), ("/next", 0), ("/next", 0)]


def test_idle_connections_expire():
    """An idle connection is closed once it is as old as `keepalive`, and not before."""
    closed = Queue()

    def script(peer):
        echo(peer)
        closed.put(peer.number)

    async def main(loop):
        with LoopbackServer(script) as server:
            async with opened(keepalive_timeout=20.0) as transport:
                await transport.send(get(server))
                loop.skew = 15.0
                await transport.send(get(server))
                loop.skew = 30.0
                await asyncio.sleep(0.01)
                await transport.send(get(server))
                assert (server.connections, closed.empty()) == (1, True)
                loop.skew = 60.0
                await asyncio.sleep(0.01)
                assert await told(closed) == 0
                await transport.send(get(server))
                assert server.connections == 2

    on_a_skewed_loop(main)


def test_old_connections_are_not_used(run):
    """Where `keepalive` is nothing, every request has its own connection."""

    async def main():
        with LoopbackServer(echo) as server:
            async with opened(keepalive_timeout=0.0) as transport:
                await transport.send(get(server))
                await transport.send(get(server))
                assert server.connections == 2

    run(main())


def test_a_close_that_the_loop_has_not_seen(run):
    """A connection that the server closed while the loop was busy otherwise is not used."""
    closed = threading.Event()

    def script(peer):
        peer.request()
        peer.send(reply(b"fine"))
        peer.close()
        closed.set()

    async def main():
        with LoopbackServer(script) as server:
            async with opened() as transport:
                for _ in range(2):
                    assert (await transport.send(post(server))).body == b"fine"
                    closed.wait(2.0)
                    closed.clear()
                    sleep(0.12)  # noqa: ASYNC251  # that is the point
                assert server.connections == 2

    run(main())


def test_connections_are_tuned(run):
    """Small writes go out at once, and a dead peer is found out by TCP keep-alive."""

    async def main():
        with LoopbackServer(echo) as server:
            async with opened() as transport:
                await transport.send(get(server))
                ((pool, _),) = transport._pools.held.values()
                (connection,) = pool._connections()
                sock = connection._transport.get_extra_info("socket")
                assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
                assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
                for option, value in (
                    ("TCP_KEEPIDLE", 60),
                    ("TCP_KEEPINTVL", 60),
                    ("TCP_KEEPCNT", 5),
                ):
                    if hasattr(socket, option):
                        number = getattr(socket, option)
                        assert sock.getsockopt(socket.IPPROTO_TCP, number) == value

    run(main())


def test_256_calls_at_once(run):
    """Many calls at the same time get their own answers, over as many connections at most."""

    async def main():
        with LoopbackServer(echo) as server:
            async with opened() as transport:
                for _ in range(2):
                    calls = (transport.send(get(server, f"/{n}")) for n in range(256))
                    bodies = [answer.body for answer in await asyncio.gather(*calls)]
                    assert bodies == [f"/{n}".encode() for n in range(256)]
                assert server.connections <= 256

    run(main())


def test_what_is_said_out_of_turn_ends_a_connection(run):
    """A server that speaks while nothing was asked is not asked anything more."""
    spoken = Queue()

    def script(peer):
        if peer.request():
            peer.send(reply(b"fine"))
            sleep(0.02)
            peer.send(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n")
            spoken.put(peer.gone())

    async def main():
        with LoopbackServer(script) as server:
            async with opened() as transport:
                for _ in range(2):
                    assert (await transport.send(get(server))).body == b"fine"
                    assert await told(spoken) is True
                assert server.connections == 2

    run(main())


def test_close_while_a_call_connects(run):
    """A call that connects while the transport is closed is answered, and keeps nothing open."""
    closed = Queue()

    def script(peer):
        echo(peer)
        closed.put(peer.number)

    async def main():
        with LoopbackServer(script) as server:
            async with opened() as transport:
                call = asyncio.ensure_future(transport.send(get(server, "/a")))
                for _ in range(2):  # the first is its wait for its turn
                    await asyncio.sleep(0)
                await transport.close()
                assert (await call).body == b"/a"
                watch = Stopwatch()
                assert await told(closed) == 0
                assert watch.seconds < 1.0

    run(main())


def test_close_ends_what_is_under_way(run):
    """`close` ends calls that wait and streams that are read, each with its error."""

    async def main():
        begun = Queue()

        def script(peer):
            if got := peer.request():
                if got.target == "/stream":
                    peer.send(ENDLESS)
                begun.put("begun")
                peer.gone()

        with LoopbackServer(script) as server:
            async with opened() as transport:
                call = asyncio.ensure_future(transport.send(get(server)))
                await told(begun)
                async with transport.stream(get(server, "/stream")) as (_, chunks):
                    assert await anext(aiter(chunks)) == b"first"
                    read = asyncio.ensure_future(anext(aiter(chunks)))
                    await asyncio.sleep(0)
                    await transport.close()
                    await fails(ConnectionLost, call)
                    await fails(StreamInterrupted, read)

    run(main())


# Streams


def test_finish_keeps_the_connection_if_the_end_comes(run):
    """`finish` waits for the end of a body, dropping what else comes, and keeps the connection."""

    def script(peer):
        while peer.request():
            peer.send(ENDLESS)
            sleep(0.02)
            peer.send(b"4\r\nrest\r\n")
            sleep(0.02)
            peer.send(b"0\r\n\r\n")

    async def main():
        with LoopbackServer(script) as server:
            async with opened() as transport:
                for _ in range(3):
                    async with transport.stream(post(server)) as (_, chunks):
                        assert await anext(aiter(chunks)) == b"first"
                        await chunks.finish()
                        await chunks.finish()
                assert server.connections == 1

    run(main())


def test_finish_does_not_wait_for_long(run):
    """Where no end comes in a tenth of a second, `finish` closes the connection in silence."""
    gone = Queue()

    def script(peer):
        if peer.request():
            peer.send(ENDLESS)
            gone.put(peer.gone())

    async def main():
        with LoopbackServer(script) as server:
            async with opened() as transport, transport.stream(post(server)) as (_, chunks):
                assert await anext(aiter(chunks)) == b"first"
                watch = Stopwatch()
                await chunks.finish()
                assert watch.elapsed > 0.05
                assert watch.seconds < 0.3
                assert await told(gone)

    run(main())


def test_a_stream_that_was_left_cannot_be_read(run):
    """The chunks of a stream end with an error, not in silence, once the context was left."""

    async def main():
        with LoopbackServer(replying(ENDLESS)) as server:
            async with opened() as transport:
                async with transport.stream(get(server)) as (_, chunks):
                    assert await anext(aiter(chunks)) == b"first"
                for _ in range(2):
                    with pytest.raises(StreamInterrupted):
                        await anext(aiter(chunks))
                with pytest.raises(UsageError):
                    await chunks.__aenter__()

    run(main())


def test_a_stream_is_for_one_reader(run):
    """A second task that reads the same stream is told so, and the first one goes on."""

    def script(peer):
        if peer.request():
            peer.send(CHUNKED)
            peer.send(b"5\r\nfirst\r\n") if go.wait(2.0) else None

    async def main():
        with LoopbackServer(script) as server:
            async with opened() as transport, transport.stream(get(server)) as (_, chunks):
                first = asyncio.ensure_future(anext(aiter(chunks)))
                await asyncio.sleep(0)
                with pytest.raises(UsageError):
                    await anext(aiter(chunks))
                go.set()
                assert await first == b"first"

    go = threading.Event()
    run(main())


def test_a_stream_that_nobody_reads_is_held_back(run):
    """A reader that pauses has the server wait, is not timed out, and misses nothing."""
    size = 20_000_000
    sent = Queue()

    def script(peer):
        if peer.request():
            peer.send(reply(length=size))
            for _ in range(200):
                peer.send(bytes(size // 200))
                sent.put("piece")

    async def main():
        with LoopbackServer(script) as server:
            async with opened() as transport:
                limits = Limits(read=BRIEF)
                async with transport.stream(post(server, limits=limits)) as (_, chunks):
                    await asyncio.sleep(0.3)
                    assert chunks._incoming.size < 1_000_000
                    assert sent.qsize() < 200
                    got = [len(chunk) async for chunk in chunks]
                    assert (sum(got), max(got) < 1_000_000) == (size, True)

    run(main())


# Uploads


class Source(list):
    """A body source with a size of its own."""

    size = 5


@contextmanager
def stalling(answer=b""):
    """Serve: begin to read a request, answer or not, and then neither read nor close."""
    over = threading.Event()

    def script(peer):
        peer.head()
        peer.send(answer)
        over.wait(3.0)

    with LoopbackServer(script) as server:
        try:
            yield server
        finally:
            over.set()


def test_a_body_source_must_have_its_size(run):
    """A source that yields less or more than its size is refused, and the connection closed."""

    class Broken(Source):
        def __iter__(self):
            yield b"abc"
            raise KeyError("mine")

    class Unreadable(Source):
        def __iter__(self):
            raise KeyError("mine")

    closed = Queue()

    async def main():
        with LoopbackServer(lambda peer: closed.put(peer.request())) as server:
            async with opened() as transport:
                for source, error in (
                    (Source([b"abcd"]), UsageError),
                    (Source([b"abc", b"def"]), UsageError),
                    (Broken(), KeyError),
                    (Unreadable(), KeyError),
                ):
                    watch = Stopwatch()
                    with pytest.raises(error):
                        await transport.send(post(server, source))
                    assert await told(closed) is None
                    assert watch.seconds < 1.0

    run(main())


def test_a_refusal_gets_through_a_reset(run):
    """An answer that comes before a large body is sent is delivered, even if a reset follows."""

    def refuse(peer):
        peer.head()
        peer.send(reply(b"too large", status="413 Too Large"))

    async def main():
        with LoopbackServer(refuse) as server:
            async with opened() as transport:
                for _ in range(10):
                    response = await transport.send(post(server, bytes(10_000_000)))
                    assert (response.status, response.body) == (413, b"too large")

    run(main())


def test_a_refusal_is_seen_while_the_server_reads_nothing(run):
    """A server that answers, stops reading and keeps the connection does not stall the upload."""

    async def main():
        with stalling(reply(b"", status="413 Too Large")) as server:
            async with opened() as transport:
                watch = Stopwatch()
                response = await transport.send(post(server, bytes(20_000_000)))
                assert (response.status, watch.seconds < 0.4) == (413, True)

    run(main())


def test_an_interim_response_does_not_end_an_upload(run):
    """100 (Continue) in the middle of a large body is passed over; the connection is kept."""

    def script(peer):
        while head := peer.head():
            peer.send(b"HTTP/1.1 100 Continue\r\n\r\n")
            peer.body(head)
            peer.send(reply(b"done"))

    async def main():
        with LoopbackServer(script) as server:
            async with opened() as transport:
                body = bytes(range(256)) * 40_000
                for _ in range(2):
                    assert (await transport.send(post(server, body))).body == b"done"
                assert [got.body == body for got in server.received] == [True, True]
                assert server.connections == 1

    run(main())


@pytest.mark.parametrize(
    ("limits", "phase"),
    [(Limits(read=BRIEF), "read"), (Limits(read=9.0, total=BRIEF), "total")],
)
def test_a_stalled_upload_times_out(run, limits, phase):
    """The clocks run while a body is sent, too."""

    async def main():
        with stalling() as server:
            async with opened() as transport:
                call = transport.send(post(server, bytes(20_000_000), limits=limits))
                assert (await fails(TimedOut, call, within=BRIEF)).phase == phase

    run(main())


def test_a_slow_upload_is_no_silence(run):
    """While bytes are taken, however slowly, the limit on silence does not end an upload."""
    size = 16_000_000

    def script(peer):
        peer.head()
        for _ in range(10):
            sleep(0.06)
            taken = 0
            while taken < size // 12:
                taken += len(peer._sock.recv(65536))
        peer.send(reply(b"enough", "Connection: close"))
        peer.gone()

    async def main():
        with LoopbackServer(script) as server:
            async with opened() as transport:
                call = transport.send(post(server, bytes(size), limits=Limits(read=0.25)))
                assert (await call).body == b"enough"

    run(main())


class Slow(Source):
    """A source on a disk that takes its time."""

    size = 4
    pause = 0.25

    def __iter__(self):
        """Read slowly."""
        yield b"ab"
        sleep(self.pause)
        yield b"cd"


def test_a_slow_source_is_not_the_servers_silence(run):
    """The limit on silence is for the server; it does not run while a file is read."""

    async def main():
        with LoopbackServer(replying(reply(b"done"))) as server:
            async with opened() as transport:
                call = transport.send(post(server, Slow(), limits=Limits(read=BRIEF)))
                assert (await call).body == b"done"
                assert server.received[0].body == b"abcd"

    run(main())


def test_a_slow_source_does_not_outlast_the_limits(run):
    """The total limit, an answer, or a cancellation does not wait for a file to be read."""

    class Slower(Slow):
        pause = 0.9

    def refuse(peer):
        peer.head()
        sleep(0.05)
        peer.send(reply(b"no", status="413 Too Large"))
        peer.gone()

    async def main():
        limits = Limits(total=BRIEF)
        with stalling() as server, LoopbackServer(refuse) as refusing:
            async with opened() as transport:
                watch = Stopwatch()
                call = transport.send(post(server, Slower(), limits=limits))
                await fails(TimedOut, call, within=BRIEF)
                assert (await transport.send(post(refusing, Slower()))).status == 413
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0.05):
                        await transport.send(post(server, Slower()))
                assert watch.seconds < 0.8

    run(main())


def test_a_lost_upload_is_connection_lost(run):
    """A connection that breaks in the middle of a body, without an answer, is lost."""

    async def main():
        with LoopbackServer(lambda peer: peer.head()) as server:
            async with opened() as transport:
                await fails(ConnectionLost, transport.send(post(server, bytes(20_000_000))))

    run(main())


# Clocks


def test_no_time_is_no_connection(run):
    """A total limit that is over before it began ends the call before anything is sent."""

    async def main():
        with LoopbackServer(echo) as server:
            async with opened() as transport:
                call = transport.send(get(server, limits=Limits(total=0.0)))
                error = await fails(ConnectTimedOut, call)
                assert (error.phase, server.connections) == ("total", 0)

    run(main())


def test_the_total_limit_spans_the_connection(run):
    """A total limit that runs out in a TLS handshake says that nothing was sent."""

    async def main():
        with LoopbackServer(lambda peer: peer.gone()) as server:
            async with opened() as transport:
                url = server.url().replace("http:", "https:")
                call = transport.send(Request("GET", url, {}, limits=Limits(total=BRIEF)))
                error = await fails(ConnectTimedOut, call, within=BRIEF)
                assert error.phase == "total"

    run(main())


def test_what_arrived_while_the_loop_was_held_up_is_in_time():
    """When a loop has stood still for longer than a limit, what is there is read first."""

    def script(peer):
        if peer.request():
            sleep(0.06)
            peer.send(reply(b"in time"))

    async def main(loop):
        with LoopbackServer(script) as server:
            async with opened() as transport:
                limits = Limits(read=5.0, total=50.0)
                call = asyncio.ensure_future(transport.send(get(server, limits=limits)))
                await asyncio.sleep(0.02)
                loop.skew = 100.0
                assert (await call).body == b"in time"

    on_a_skewed_loop(main)


def test_nothing_runs_while_nothing_is_asked():
    """With no request under way no timer ticks; one waits for the idle connection to expire."""

    async def main(loop):
        with LoopbackServer(echo) as server:
            async with opened() as transport:
                await transport.send(get(server))
                await asyncio.sleep(0.15)
                timers = [timer for timer in loop._scheduled if not timer.cancelled()]
                assert [round(timer.when() - loop.time()) for timer in timers] == [50]

    on_a_skewed_loop(main)


# Processes, loops and threads


def test_50_loops_one_after_another():
    """In 50 runs of `asyncio.run` each call is one POST, nothing stays open, nothing warns."""
    code = """
        import asyncio, sys
        from claude_lite.wire import Request
        from claude_lite_transports.asyncio import AsyncioTransport

        transport = AsyncioTransport(trust_env=False)
        for number in range(50):
            async def main():
                for _ in range(2):
                    await transport.send(Request("POST", sys.argv[1], {}, b"body"))
            asyncio.run(main())
            assert not transport._pools.held
    """
    with LoopbackServer(replying(reply())) as server:
        assert python(code, server.url()) == ""
        assert (len(server.received), server.connections) == (100, 50)


def test_uvloop_one_after_another():
    """The same with uvloop."""
    if uvloop is None:
        pytest.skip("uvloop is not installed")
    code = """
        import sys, uvloop
        from claude_lite.wire import Request
        from claude_lite_transports.asyncio import AsyncioTransport

        transport = AsyncioTransport(trust_env=False)
        for number in range(20):
            async def main():
                for _ in range(2):
                    await transport.send(Request("POST", sys.argv[1], {}, b"body"))
            uvloop.run(main())
            assert not transport._pools.held
    """
    with LoopbackServer(replying(reply())) as server:
        assert python(code, server.url()) == ""
        assert (len(server.received), server.connections) == (40, 20)


def test_a_loop_that_was_closed_without_ceremony():
    """A loop that was just closed leaves nothing open once the transport is used again, or gone."""
    code = """
        import asyncio, gc, sys
        from claude_lite.wire import Request
        from claude_lite_transports.asyncio import AsyncioTransport

        transport = AsyncioTransport(trust_env=False)
        for number in range(3):
            loop = asyncio.new_event_loop()
            loop.run_until_complete(transport.send(Request("POST", sys.argv[1], {}, b"body")))
            loop.close()
            assert len(transport._pools.held) == 1
        del transport, loop
        gc.collect()
    """
    with LoopbackServer(replying(reply())) as server:
        assert python(code, server.url()) == ""
        assert (len(server.received), server.connections) == (3, 3)


def test_a_forgotten_transport_closes_its_connections(run):
    """When the last reference to a transport goes, its idle connections do."""
    closed = Queue()

    def script(peer):
        echo(peer)
        closed.put(peer.number)

    async def main():
        with LoopbackServer(script) as server:
            await AsyncioTransport(trust_env=False).send(get(server))
            assert await told(closed) == 0

    run(main())


def test_a_forked_child_makes_its_own_connections():
    """Parent and child use the same transport after a fork, and never the same connection."""
    numbers = []

    def script(peer):
        while got := peer.request():
            numbers.append((got.target, peer.number))
            peer.send(reply(got.target.encode()))

    code = """
        import asyncio, os, sys
        from claude_lite.wire import Request
        from claude_lite_transports.asyncio import AsyncioTransport

        async def ask(what):
            body = (await transport.send(Request("GET", sys.argv[1] + what, {}))).body
            assert body == what.encode(), body

        transport = AsyncioTransport(trust_env=False)
        loop = asyncio.new_event_loop()
        loop.run_until_complete(ask("/before"))
        if os.fork() == 0:
            ((pool, _),) = transport._pools.held.values()
            (parents,) = pool._connections()
            asyncio.run(ask("/child"))
            asyncio.run(transport.close())
            assert not (parents._closed or transport._pools.held)
            os._exit(0)
        os.wait()
        loop.run_until_complete(ask("/parent"))
        loop.run_until_complete(transport.close())
        loop.close()
    """
    with LoopbackServer(script) as server:
        assert python(code, server.url("")) == ""
    assert numbers == [("/before", 0), ("/child", 1), ("/parent", 0)]


def test_threads_have_their_own_loops():
    """Threads share a transport, each with the connections of its own loop."""
    transport = AsyncioTransport(trust_env=False)
    right = Queue()

    def work(server, number):
        async def main():
            return [
                (await transport.send(get(server, f"/{number}/{turn}"))).body for turn in range(20)
            ]

        right.put(asyncio.run(main()) == [f"/{number}/{turn}".encode() for turn in range(20)])

    with LoopbackServer(echo) as server:
        threads = [threading.Thread(target=work, args=(server, number)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [right.get() for _ in threads] == [True] * 8
        assert (server.connections, transport._pools.held) == (8, {})


def test_it_pickles_its_options():
    """A pickled transport has the options of the original, and no connection."""

    async def main():
        with LoopbackServer(echo) as server:
            transport = AsyncioTransport(keepalive_timeout=7.0, trust_env=False)
            headers = {"x-api-key": MaskedStr(KEY)}
            await transport.send(Request("GET", server.url(), headers))
            data = pickle.dumps(transport)
            assert KEY.encode() not in data
            twin = pickle.loads(data)  # noqa: S301  # made here
            assert twin._options == transport._options
            assert twin._options.keepalive_timeout == 7.0
            assert not twin._pools.held
            assert not copy.deepcopy(transport)._pools.held
            await transport.close()

    asyncio.run(main())


def test_what_cannot_be_pickled_is_refused():
    """Neither a password, nor a TLS context, nor a head gets into a pickle."""
    with pytest.raises(TypeError):
        pickle.dumps(AsyncioTransport(proxy="http://u:canary@p:1"))
    with pytest.raises(TypeError):
        pickle.dumps(AsyncioTransport(ssl_context=ssl.create_default_context()))
    request = Request("GET", "http://a/", {"x-api-key": MaskedStr(KEY)})
    opening = Opening(request, Way("http", "a", 80), ("http", "a", "/"))
    for body in (b"", b"body"):
        sent = opening.with_body(body, len(body))
        assert KEY.encode() in bytes(sent)
        assert KEY not in repr(opening) + repr(sent)
    for attempt in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError):
            attempt(opening)


def test_the_extra_is_asked_for(monkeypatch):
    """Without httptools it can be imported, and says what is missing when it is made."""
    monkeypatch.setitem(sys.modules, "httptools", None)
    with pytest.raises(UsageError, match=r"claude-lite\[fast\]"):
        AsyncioTransport()
    code = """
        import sys
        sys.modules["httptools"] = None
        import claude_lite_transports.asyncio
    """
    assert python(code) == ""


# Secrets


def test_no_traceback_shows_a_secret(run):
    """Whatever ends a call, a cancellation included, no variable in its traceback has the key."""
    headers = {"x-api-key": MaskedStr(KEY)}

    class Broken(Source):
        def __iter__(self):
            raise KeyError("mine")

    async def shown(call):
        try:
            async with asyncio.timeout(0.15):
                await call
        except Exception as error:  # noqa: BLE001  # of whatever kind
            return "".join(exposed(error))
        raise AssertionError("it should have failed")

    async def read(transport, request):
        async with transport.stream(request) as (_, chunks):
            async for _ in chunks:
                pass

    async def main():
        with stalling() as stalled, LoopbackServer(replying(ENDLESS)) as endless:
            async with opened() as transport:
                url = stalled.url()
                for request in (
                    Request("POST", url, headers, bytes(5_000_000), Limits(read=0.0)),
                    Request("POST", url, headers, bytes(5_000_000)),
                    Request("POST", url, headers, Broken()),
                    Request("POST", url, headers, b"x"),
                    Request("GET", url.replace("http:", "https:"), headers),
                    Request("GET", endless.url(), headers),
                ):
                    assert KEY not in await shown(transport.send(request))
                    assert KEY not in await shown(read(transport, request))

    run(main())


# Addresses and TLS


@pytest.mark.parametrize("host", ["a" * 64 + ".test", "a..test"])
def test_no_address_is_connection_failed(run, host):
    """A host that has no address, or cannot be one, is a failed connection."""

    async def main():
        async with opened() as transport:
            request = Request("GET", f"http://{host}:9/", {}, limits=Limits(connect=BRIEF))
            await fails(ConnectionFailed, transport.send(request))

    run(main())


@pytest.mark.parametrize(
    "url", ["ftp://127.0.0.1/", "http:///a", "http://u:canary@h/", "http://h/ a"]
)
def test_urls_that_cannot_be_used(url):
    """A URL that is not encoded, or has no usable origin, is refused; it is not shown."""
    with pytest.raises(UsageError) as caught:
        asyncio.run(AsyncioTransport(trust_env=False).send(Request("GET", url, {})))
    assert "canary" not in str(caught.value)


def test_families_take_turns():
    """The addresses of a host are tried one family after the other, in the resolver's order."""
    found = [(6, "a"), (6, "b"), (6, "c"), (4, "d"), (4, "e")]
    assert "".join(name for _, name in _alternating(found)) == "adbec"


@contextmanager
def black_hole():
    """Give the port of a listener that accepts nothing more: connecting to it takes for ever."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        where = listener.getsockname()
        full = [socket.socket() for _ in range(4)]
        for sock in full:
            sock.setblocking(False)  # noqa: FBT003  # socket's way
            sock.connect_ex(where)
        try:
            yield where
        finally:
            for sock in full:
                sock.close()


def test_an_address_that_hangs_is_passed_by():
    """Where one address does not answer, the next is tried soon; where it refuses, at once."""

    async def main(loop):
        with black_hole() as hole, LoopbackServer(echo) as server:
            good = server._listener.getsockname()
            with socket.socket() as unused:
                unused.bind(("127.0.0.1", 0))
                refusing = unused.getsockname()
                for addresses, least, most in (
                    ([hole, good], 0.2, 0.5),
                    ([refusing, good], 0.0, 0.15),
                    ([good, hole], 0.0, 0.15),
                ):
                    loop.addresses = addresses
                    watch = Stopwatch()
                    async with opened() as transport:
                        await transport.send(Request("GET", "http://many.test/", {}))
                    assert watch.elapsed >= least
                    assert watch.seconds < most
                loop.addresses = [refusing, refusing]
                async with opened() as transport:
                    call = transport.send(Request("GET", "http://many.test/", {}))
                    await fails(ConnectionFailed, call)
        gc.collect()

    on_a_skewed_loop(main)


def test_a_race_that_is_cancelled_leaves_nothing():
    """A call that is cancelled at any step of connecting leaves no socket behind."""

    async def main(loop):
        with LoopbackServer(echo) as server:
            loop.addresses = [server._listener.getsockname()] * 2
            async with opened() as transport:
                request = Request("GET", "http://many.test/", {})
                for turns in range(40):
                    task = asyncio.ensure_future(transport.send(request))
                    for _ in range(turns % 20):
                        await asyncio.sleep(0)
                    task.cancel()
                    await asyncio.wait({task})
                    await transport.close()
                await asyncio.sleep(0.01)
                gc.collect()

    on_a_skewed_loop(main)


@pytest.fixture
def server_tls():
    """The TLS of a server that says it is localhost."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(PEM)
    return context


def trust():
    """Make a context that trusts the certificate of `server_tls`."""
    return ssl.create_default_context(cafile=PEM)


def test_tls_connections_are_used_again(run, server_tls):
    """Over TLS all is as without: large bodies both ways, streams, and one connection."""
    body = bytes(range(256)) * 8000

    async def main():
        with LoopbackServer(replying(reply(body), chunked(body)), server_tls) as server:
            async with opened(ssl_context=trust()) as transport:
                for _ in range(2):
                    assert (await transport.send(post(server, body))).body == body
                async with transport.stream(get(server)) as (_, chunks):
                    assert b"".join([chunk async for chunk in chunks]) == body
                assert [got.body == body for got in server.received] == [True, True, False]
                assert server.connections == 1

    run(main())


def test_a_refusal_gets_through_tls(run, server_tls):
    """An early answer is delivered over TLS."""

    def refuse(peer):
        peer.head()
        peer.send(reply(b"too large", status="413 Too Large"))
        peer.gone()

    async def main():
        with LoopbackServer(refuse, server_tls) as server:
            async with opened(ssl_context=trust()) as transport:
                response = await transport.send(post(server, bytes(20_000_000)))
                assert response.body == b"too large"

    run(main())


def test_an_unknown_certificate_is_refused(run, server_tls):
    """Without trust in its certificate, a server gets nothing, and it is not a passing failure."""

    async def main():
        with LoopbackServer(replying(reply()), server_tls) as server:
            async with opened() as transport:
                for _ in range(2):
                    error = await fails(CertificateRefused, transport.send(get(server)))
                    assert "self" in str(error)
                    assert isinstance(error.__cause__, ssl.SSLCertVerificationError)
                assert server.received == []

    run(main())


def test_a_certificate_is_for_its_name(run, server_tls):
    """A trusted certificate is refused from a server that was asked for by another name."""

    async def main():
        with LoopbackServer(replying(reply()), server_tls) as server:
            async with opened(ssl_context=trust()) as transport:
                url = server.url().replace("127.0.0.1", "127.1")  # the same to the resolver
                await fails(CertificateRefused, transport.send(Request("GET", url, {})))

    run(main())


# Proxies


def relay(sock, server):
    """Pass bytes between a client and a server, until one of them ends."""
    with socket.create_connection(server._listener.getsockname()) as other:
        ends = {sock: other, other: sock}
        while True:
            for end in select.select(list(ends), [], [], 2.0)[0]:
                if not (data := end.recv(65536)):
                    return
                ends[end].sendall(data)


def through(proxy, user=""):
    """Write the URL of a proxy."""
    return proxy.url("").replace("http://", f"http://{user}")


def test_an_http_proxy_gets_the_whole_url(run):
    """Without TLS the proxy is asked for the URL, and given the credentials in its own."""
    url = "http://api.test/v1/models?x=%2F"

    async def main():
        with LoopbackServer(replying(reply(b"proxied"))) as proxy:
            async with opened(proxy=through(proxy, "me:p%40ss@")) as transport:
                for _ in range(2):
                    assert (await transport.send(Request("GET", url, {}))).body == b"proxied"
            got = proxy.received[0]
            assert (got.target, got.values("host")) == (url, ["api.test"])
            assert got.values("proxy-authorization") == ["Basic bWU6cEBzcw=="]
            assert proxy.connections == 1

    run(main())


def test_tls_goes_through_a_tunnel(run, server_tls):
    """With TLS the proxy opens a tunnel, and sees nothing of what is sent through it."""
    asked = []

    def tunnel(peer):
        asked.append(peer.head())
        peer.send(b"HTTP/1.0 200 Connection established\r\nContent-Length: 0\r\n\r\n")
        relay(peer._sock, server)

    async def main():
        for _ in range(2):
            assert (await transport.send(post(server))).body == b"safe"
        await transport.close()

    with LoopbackServer(replying(reply(b"safe")), server_tls) as server:
        with LoopbackServer(tunnel) as proxy:
            via = through(proxy, "me:p%40ss@")
            transport = AsyncioTransport(ssl_context=trust(), proxy=via)
            run(main())
            origin = server.url("").removeprefix("https://")
        (connect,) = asked
        assert (connect.method, connect.target) == ("CONNECT", origin)
        assert connect.values("proxy-authorization") == ["Basic bWU6cEBzcw=="]
        assert server.received[0].values("proxy-authorization") == []


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (reply(b"", status="407 Proxy Authentication Required"), ConnectionFailed),
        (reply(b"", status="502 Bad Gateway"), ConnectionFailed),
        (b"SSH-2.0\r\n", ConnectionFailed),
        (b"HTTP/1.1 200", ConnectionFailed),
        (b"", ConnectionFailed),
        (b"HTTP/1.1 200 OK\r\n\r\n", ConnectionFailed),
        (b"HTTP/1.1 200 OK\r\n\r\nnot TLS at all", ConnectionFailed),
        (None, ConnectTimedOut),
    ],
)
def test_no_tunnel_is_no_connection(run, answer, error):
    """Whatever a proxy does instead of opening a tunnel, nothing was sent; no secret shows."""

    def refuse(peer):
        peer.head()
        if answer is None:
            peer.gone()
        else:
            peer.send(answer)
            peer.finish()
            peer.gone()

    async def main():
        with LoopbackServer(refuse) as proxy:
            async with opened(proxy=through(proxy, "me:canary@")) as transport:
                headers = {"x-api-key": MaskedStr("canary")}
                limits = Limits(connect=BRIEF if answer is None else 2.0)
                request = Request("GET", "https://api.test/", headers, limits=limits)
                failure = await fails(error, transport.send(request))
                shown = "".join(exposed(failure.with_traceback(failure.__traceback__.tb_next)))
                assert "canary" not in shown + repr(transport)
                assert "bWU6Y2FuYXJ5" not in shown

    run(main())


def test_proxies_come_from_the_environment(monkeypatch):
    """By default the variables that urllib knows are obeyed, `no_proxy` included."""
    for name in ("http_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name.upper(), raising=False)
    proxied, direct = replying(reply(b"proxied")), replying(reply(b"direct"))
    with LoopbackServer(proxied) as proxy, LoopbackServer(direct) as server:
        monkeypatch.setenv("http_proxy", proxy.url(""))
        for bypass, expected in (("", b"proxied"), ("localhost,127.0.0.1", b"direct")):
            monkeypatch.setenv("no_proxy", bypass)
            assert asyncio.run(AsyncioTransport().send(get(server))).body == expected


# Rare events


class Late(asyncio.SelectorEventLoop):
    """A loop on which whoever connects hears of it late."""

    async def create_connection(self, *args, **options):
        """Connect as usual, and take a while to say so."""
        made = await super().create_connection(*args, **options)
        await asyncio.sleep(0.1)
        return made


def test_a_connection_that_ends_before_its_use_has_sent_nothing():
    """A server that accepts and hangs up at once is a failed connection: nothing was sent."""

    async def main():
        with LoopbackServer(Peer.close) as server:
            async with opened() as transport:
                await fails(ConnectionFailed, transport.send(get(server)))
                ((pool, _),) = transport._pools.held.values()
                assert pool._connections() == []

    with asyncio.Runner(loop_factory=Late) as runner:
        runner.run(main())


def test_a_connection_that_just_ended_is_passed_over(run):
    """A connection whose end the loop is about to tell of is not used: another one is."""

    async def main():
        with LoopbackServer(echo) as server:
            async with opened() as transport:
                await transport.send(get(server, "/a"))
                ((pool, _),) = transport._pools.held.values()
                (connection,) = pool._connections()
                connection._transport.abort()
                assert (await transport.send(get(server, "/b"))).body == b"/b"
                assert (len(server.received), server.connections) == (2, 2)

    run(main())


def flood(peer):
    """Answer with more than anyone buffers, as one body."""
    while peer.request():
        peer.send(reply(bytes(2_000_000)))


async def held_back(chunks):
    """Wait until a stream that nobody reads is held back."""
    while not chunks._incoming.paused:  # noqa: ASYNC110  # nobody tells
        await asyncio.sleep(0.01)


def test_what_a_reader_was_slow_to_read_is_read_after_a_close(run):
    """Of a stream that was held back and then closed, what had come is read, then the error."""

    async def main():
        with LoopbackServer(flood) as server:
            async with opened() as transport, transport.stream(post(server)) as (_, chunks):
                await held_back(chunks)
                await transport.close()
                assert len(await anext(aiter(chunks))) > 256 * 1024
                with pytest.raises(StreamInterrupted):
                    await anext(aiter(chunks))

    run(main())


def test_finish_reads_on_where_a_stream_was_held_back(run):
    """`finish` takes what nobody read and lets the rest come, so that the connection is kept."""

    async def main():
        with LoopbackServer(flood) as server:
            async with opened() as transport:
                for _ in range(2):
                    async with transport.stream(post(server)) as (_, chunks):
                        await held_back(chunks)
                        await chunks.finish()
                        assert chunks._incoming.complete
                assert server.connections == 1

    run(main())


@pytest.mark.filterwarnings("ignore:unclosed resource <TCPTransport")  # uvloop's own
@pytest.mark.parametrize("secure", [False, True])
@pytest.mark.parametrize("kind", LOOPS)
def test_connections_of_a_closed_loop_are_closed(kind, secure, server_tls):
    """The first call on another loop closes what a loop left that was closed with them."""
    if LOOPS[kind] is None:
        pytest.skip("uvloop is not installed")
    gone = Queue()

    def script(peer):
        echo(peer)
        gone.put(peer.number)

    transport = AsyncioTransport(trust_env=False, ssl_context=trust())
    with LoopbackServer(script, server_tls if secure else None) as server:
        loop = LOOPS[kind]()
        loop.run_until_complete(transport.send(get(server, "/first")))
        loop.close()
        assert len(transport._pools.held) == 1
        with asyncio.Runner(loop_factory=LOOPS[kind]) as runner:
            assert runner.run(transport.send(get(server, "/second"))).body == b"/second"
            assert gone.get(timeout=2) == 0
        assert not transport._pools.held
    gc.collect()  # what is left open would be a warning, which is an error


def test_an_address_that_hangs_does_not_hide_that_another_refuses():
    """Where one address refuses and the other hangs, the call waits for that one, to its limit."""

    async def main(loop):
        with black_hole() as hole, socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            loop.addresses = [hole, unused.getsockname()]
            async with opened() as transport:
                limits = Limits(connect=0.5)
                call = transport.send(Request("GET", "http://many.test/", {}, limits=limits))
                assert (await fails(ConnectTimedOut, call, within=0.5)).phase == "connect"

    on_a_skewed_loop(main)
