"""The fast transport, on asyncio's loop and on uvloop: connections, streams, limits, secrets."""

import asyncio
import copy
import os
import pickle
import ssl
import subprocess
import sys
import textwrap
import threading
from collections import Counter
from contextlib import asynccontextmanager
from queue import Queue
from time import sleep

import pytest
from certificates import PEM
from each_transport import stalling, told
from timing import Stopwatch

from claude_lite.errors import (
    ConnectionFailed,
    StreamInterrupted,
    TimedOut,
    UsageError,
)
from claude_lite.testing import ASYNC_CASES
from claude_lite.testing.conformance.cases import fails, get, post
from claude_lite.testing.conformance.hiding import exposed
from claude_lite.testing.conformance.loopback import LoopbackServer, Peer, reply, replying
from claude_lite.wire import Limits, MaskedStr, Request
from claude_lite_transports.asyncio import AsyncioTransport
from claude_lite_transports.asyncio.opening import Opening
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
    """A loop whose clock can be put forward."""

    skew = 0.0

    def time(self):
        """Tell the time, which may be that of a later hour."""
        return super().time() + self.skew


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


def test_a_stream_is_entered_once(run):
    """The chunks of a stream that was left cannot be entered again; each read is an error."""

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


# Clocks


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


def test_a_head_is_not_pickled():
    """The head of a request, which has the key, is neither pickled nor copied nor shown."""
    request = Request("GET", "http://a/", {"x-api-key": MaskedStr(KEY)})
    opening = Opening(request, Way("http", "a", 80), ("http", "a", "/"))
    for body in (b"", b"body"):
        sent = opening.with_body(body, len(body))
        assert KEY.encode() in bytes(sent)
        assert KEY not in repr(opening) + repr(sent)
    for attempt in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError):
            attempt(opening)


def test_the_extra_is_asked_for():
    """Without httptools it can be imported, and says what is missing when it is made."""
    code = """
        import sys
        sys.modules["httptools"] = None
        from claude_lite.errors import UsageError
        from claude_lite_transports.asyncio import AsyncioTransport
        try:
            AsyncioTransport()
        except UsageError as error:
            sys.stderr.write(str(error))
    """
    assert "claude-lite[fast]" in python(code)


# Secrets


@pytest.mark.slow
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


# TLS


@pytest.fixture
def server_tls():
    """The TLS of a server that says it is localhost."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(PEM)
    return context


def trust():
    """Make a context that trusts the certificate of `server_tls`."""
    return ssl.create_default_context(cafile=PEM)


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


def test_a_stream_that_was_held_back_goes_on_after_a_close(run):
    """A stream that was held back as the transport was closed is read to its end."""

    async def main():
        with LoopbackServer(flood) as server:
            async with opened() as transport, transport.stream(post(server)) as (_, chunks):
                await held_back(chunks)
                await transport.close()
                size = sum([len(chunk) async for chunk in chunks])
                assert size > 256 * 1024

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
