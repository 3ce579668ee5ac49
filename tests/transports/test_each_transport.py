"""Facts that are true of every transport: one test for each fact, run for each transport."""

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
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import entry_points
from queue import Queue
from time import sleep

import pytest
from certificates import PEM
from each_transport import (
    BRIEF,
    client_tls,
    each_async_transport,
    each_that,
    each_transport,
    echo,
    server_tls,
    shows,
    stalling,
    told,
)
from timing import Stopwatch

from claude_lite.errors import (
    CertificateRefused,
    ClaudeError,
    ConnectionFailed,
    ConnectionLost,
    ConnectTimedOut,
    StreamInterrupted,
    TimedOut,
    UsageError,
)
from claude_lite.testing.conformance.cases import fails, get, post
from claude_lite.testing.conformance.loopback import LoopbackServer, chunked, reply, replying
from claude_lite.wire import AsyncTransport, Limits, MaskedStr, Request, Transport

KEY = "sk-ant-canary-Zx81"

# What it is


@each_transport
@pytest.mark.parametrize("method", ["GE T", "GET\r\nx: y", "", "GÉT"])
def test_what_is_no_method_is_refused(kind, method):
    """A method that is no token is a `UsageError`, and no byte of the request is sent."""

    async def main(transport):
        request = Request(method, server.url(), {})
        with pytest.raises(UsageError, match="HTTP"):
            await transport.send(request)

    with LoopbackServer(echo) as server:
        kind.run(main)
        assert server.received == []


@each_transport
def test_it_is_a_transport(kind):
    """A transport has the methods of its protocol, needs no arguments, and opens nothing."""
    transport = kind.factory()
    assert isinstance(transport, AsyncTransport if kind.loop else Transport)
    assert kind.sockets(transport) == []


@each_transport
def test_it_is_found_by_its_name(kind):
    """The entry point of its name leads to it."""
    (entry,) = entry_points(group="claude_lite.transports", name=kind.name.split()[0])
    assert entry.load() is kind.factory


@each_transport
def test_it_pickles_its_options(kind):
    """A pickle or a copy has the options of the original, no connection and no header."""

    async def main(transport):
        await transport.send(post(server, headers={"x-api-key": MaskedStr(KEY)}))
        made = transport if kind.loop else transport._transport
        data = pickle.dumps(made)
        assert KEY.encode() not in data
        for twin in (pickle.loads(data), copy.deepcopy(made)):  # noqa: S301  # made here
            assert twin._options == made._options
            assert twin._options.keepalive_timeout == 7.0
            assert kind.sockets(twin) == []

    with LoopbackServer(echo) as server:
        kind.run(main, keepalive_timeout=7.0)


# Connections


@each_transport
def test_closing_is_idempotent_and_not_the_end(kind):
    """`close` closes the connections; the next use opens new ones."""

    async def main(transport):
        await transport.close()
        for _ in range(2):
            assert (await transport.send(post(server, b"x"))).body == b"x"
            await transport.close()
            await transport.close()

    with LoopbackServer(echo) as server:
        kind.run(main)
        assert server.connections == 2


@each_transport
def test_connections_are_tuned(kind):
    """Small writes go out at once, and TCP keep-alive finds a dead peer."""

    async def main(transport):
        await transport.send(get(server))
        (sock,) = kind.idle_sockets(transport)
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        for option, value in (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 60), ("TCP_KEEPCNT", 5)):
            if hasattr(socket, option):
                assert sock.getsockopt(socket.IPPROTO_TCP, getattr(socket, option)) == value

    with LoopbackServer(echo) as server:
        kind.run(main)


@each_transport
def test_a_small_request_is_one_write(kind):
    """Head and body of a small request arrive in one piece."""
    sizes = Queue()

    def script(peer):
        sizes.put(len(peer._sock.recv(65536)))
        peer.send(reply())

    with LoopbackServer(script) as server:
        kind.run(lambda transport: transport.send(post(server, b"x" * 1000)))
    assert sizes.get() > 1000


@each_transport
def test_old_connections_are_not_used(kind):
    """An idle connection is not used for longer than `keepalive_timeout` seconds."""

    async def main(transport):
        await transport.send(get(server))
        await asyncio.sleep(0.05)
        await transport.send(get(server))

    for seconds in (0.0, 0.02):
        with LoopbackServer(echo) as server:
            kind.run(main, keepalive_timeout=seconds)
            assert server.connections == 2


@each_transport
def test_a_forgotten_transport_closes_its_connections(kind):
    """When the last reference to a transport goes, its idle connections do."""
    gone = Queue()

    def script(peer):
        echo(peer)
        gone.put(peer.number)

    async def main(_):
        if kind.loop:
            await kind.make().send(get(server))
        else:
            kind.make().send(get(server))
        gc.collect()
        assert await told(gone) == 0
        await asyncio.sleep(0.01)

    with LoopbackServer(script) as server:
        kind.run(main)


@each_that("uses the newest idle connection first")
def test_the_newest_idle_connection_is_used_first(kind):
    """The pool is a stack, so that connections that are not needed grow old."""
    numbers, begun, go = [], Queue(), threading.Event()

    def script(peer):
        while got := peer.request():
            numbers.append((got.target, peer.number))
            if got.target == "/slow":
                begun.put("begun")
                go.wait(2.0)
            peer.send(reply())

    async def main(transport):
        slow = asyncio.ensure_future(transport.send(get(server, "/slow")))
        await told(begun)
        await transport.send(get(server, "/quick"))
        go.set()
        await slow
        await transport.send(get(server, "/next"))
        await transport.send(get(server, "/next"))

    with LoopbackServer(script) as server:
        kind.run(main)
    assert numbers == [("/slow", 0), ("/quick", 1), ("/next", 0), ("/next", 0)]


@each_async_transport
def test_a_close_that_the_loop_has_not_seen(kind):
    """A connection that the server closed while the loop was busy otherwise is not used."""
    closed = threading.Event()

    def script(peer):
        got = peer.request()
        peer.send(reply(got.body))
        peer.close()
        closed.set()

    async def main(transport):
        for _ in range(3):
            closed.clear()
            assert (await transport.send(post(server, b"x"))).body == b"x"
            assert closed.wait(2.0)  # the loop cannot know it
            sleep(0.12)  # noqa: ASYNC251  # that is the point

    with LoopbackServer(script) as server:
        kind.run(main)
        assert (len(server.received), server.connections) == (3, 3)


@each_transport
def test_closing_spares_calls_under_way(kind):
    """`close` lets calls under way end, in whatever phase; their connections are closed then."""
    go = threading.Event()
    closed = Queue()

    def script(peer):
        got = peer.request()
        head, body = reply(got.body).split(b"\r\n\r\n")
        peer.send(head + b"\r\n\r\n" if got.target == "/begun" else b"")
        arrived.release()
        go.wait(3.0)
        peer.send(body if got.target == "/begun" else head + b"\r\n\r\n" + body)
        closed.put(peer.gone())

    async def read(transport):
        async with transport.stream(Request("POST", server.url("/begun"), {}, b"b")) as (_, chunks):
            return b"".join([chunk async for chunk in chunks])

    async def main(transport):
        calls = [asyncio.ensure_future(transport.send(post(server, b"a")))]
        calls.append(asyncio.ensure_future(read(transport)))
        for _ in calls:
            await asyncio.to_thread(arrived.acquire, timeout=3.0)
        await transport.close()
        go.set()
        whole, streamed = await asyncio.gather(*calls)
        assert (whole.body, streamed) == (b"a", b"b")
        assert [await told(closed) for _ in calls] == [True, True]
        assert (await transport.send(post(server, b"next"))).body == b"next"
        assert server.connections == 3

    arrived = threading.Semaphore(0)
    with LoopbackServer(script) as server:
        kind.run(main)


@each_async_transport
def test_what_a_closed_transport_has_left_ends_with_its_loop(kind):
    """A stream that is open when `close` comes, and never ends, is closed with its loop."""

    async def main(transport):
        stream = transport.stream(get(endless))
        _, chunks = await stream.__aenter__()
        assert await anext(aiter(chunks)) == b"first"
        await transport.close()
        left.append(stream)

    left = []
    with stalling(chunked(b"first", end=b"")) as endless:
        kind.run(main)


# Loops and threads


def python(kind, code, *args):
    """Run code in an interpreter where warnings are errors; return what it wrote to stderr.

    The code has `transport` and `ask(text)`, a coroutine function. asyncio's complaint that a step
    was slow is no error.
    """
    prelude = f"""
        import asyncio, gc, logging, sys
        from importlib import import_module
        from claude_lite.wire import Request

        logging.getLogger("asyncio").setLevel("ERROR")
        new_loop = {"__import__('uvloop').new_event_loop" if "uvloop" in kind.name else "None"}
        make = import_module({kind.factory.__module__!r}).{kind.factory.__name__}
        transport = make(trust_env=False)

        async def ask(text):
            response = await transport.send(Request("POST", sys.argv[1], {{}}, text.encode()))
            assert response.body == text.encode(), (text, response.body)
    """
    done = subprocess.run(  # noqa: S603  # this interpreter, code of our own
        [
            *(sys.executable, "-X", "dev", "-W", "error", "-c"),
            textwrap.dedent(prelude) + textwrap.dedent(code),
            *args,
        ],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        env={"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    return done.stderr + (f"exit status {done.returncode}" if done.returncode else "")


@pytest.mark.slow
@each_async_transport
def test_50_loops_one_after_another(kind):
    """In 50 runs of an event loop each call is one POST, nothing stays open, nothing warns."""
    code = """
        async def main(number):
            for turn in range(2):
                await ask(f"{number}-{turn}")

        for number in range(50):
            with asyncio.Runner(loop_factory=new_loop) as runner:
                runner.run(main(number))
        gc.collect()
        assert not transport._pools.held
    """
    with LoopbackServer(echo) as server:
        assert python(kind, code, server.url()) == ""
        assert (len(server.received), server.connections) == (100, 50)


@pytest.mark.parametrize("secure", [False, True])
@each_that("warns of nothing when its loop is closed first")
def test_loops_that_are_just_closed(kind, secure):
    """A loop that is closed without further ado leaves neither a warning nor a connection."""
    code = """
        import ssl
        if sys.argv[2]:
            context = ssl.create_default_context(cafile=sys.argv[2])
            transport = make(trust_env=False, ssl_context=context)
        for number in range(5):
            loop = (new_loop or asyncio.new_event_loop)()
            loop.run_until_complete(ask(str(number)))
            loop.close()
            assert len(transport._pools.held) == 1
        del transport, loop
        gc.collect()
    """
    gone = Queue()

    def script(peer):
        echo(peer)
        gone.put(peer.number)

    with LoopbackServer(script, server_tls() if secure else None) as server:
        assert python(kind, code, server.url(), str(PEM) if secure else "") == ""
        assert sorted(gone.get(timeout=2) for _ in range(5)) == [0, 1, 2, 3, 4]


@pytest.mark.filterwarnings("ignore:unclosed resource <TCPTransport")  # uvloop's own
@pytest.mark.parametrize("secure", [False, True])
@each_async_transport
def test_connections_of_a_closed_loop_are_closed(kind, secure):
    """The first call on another loop closes what a loop left that was closed with them."""
    gone = Queue()

    def script(peer):
        echo(peer)
        gone.put(peer.number)

    transport = kind.make(ssl_context=client_tls())
    with LoopbackServer(script, server_tls() if secure else None) as server:
        loop = kind.loop()
        loop.run_until_complete(transport.send(post(server, b"first")))
        loop.close()
        assert len(transport._pools.held) == 1
        with asyncio.Runner(loop_factory=kind.loop) as runner:
            assert runner.run(transport.send(post(server, b"second"))).body == b"second"
            assert gone.get(timeout=2) == 0
        assert transport._pools.held == {}
    gc.collect()  # what is left open would be a warning, which is an error


@pytest.mark.filterwarnings("ignore:unclosed resource <TCPTransport")  # uvloop's own
@each_async_transport
def test_a_call_whose_loop_was_closed_ends_in_silence(kind):
    """A call that waits when its loop is closed raises nothing when it is thrown away."""
    transport = kind.make()
    with stalling() as server:
        loop = kind.loop()
        task = loop.create_task(transport.send(post(server, b"x")))
        while not server.received and not server.connections:
            loop.run_until_complete(asyncio.sleep(0.01))
        loop.run_until_complete(asyncio.sleep(0.05))
        task._log_destroy_pending = False
        loop.close()
        del task
        gc.collect()  # what it raises would be a warning, which is an error


@each_async_transport
@pytest.mark.slow
def test_threads_with_loops_of_their_own(kind):
    """Eight threads share a transport, each with successive loops, and get their own answers."""
    transport = kind.make()

    def work(number):
        async def ask():
            bodies = [b"%d-%d" % (number, turn) for turn in range(20)]
            calls = [transport.send(post(server, body)) for body in bodies]
            return [response.body for response in await asyncio.gather(*calls)] == bodies

        def run():
            with asyncio.Runner(loop_factory=kind.loop) as runner:
                return runner.run(ask())

        return all(run() for _ in range(3))

    with LoopbackServer(echo) as server, ThreadPoolExecutor(8) as threads:
        assert all(threads.map(work, range(8)))
        assert len(server.received) == 8 * 3 * 20
    assert transport._pools.held == {}


# Requests


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("", "/"),
        ("?a=1", "/?a=1"),
        ("/p?q#part", "/p?q"),
        ("/a//b", "/a//b"),
        ("/a//b/../c", "/a//b/../c"),
        ("/v1/files/a%2Fb%2fc;x=%20?y[]=%41&z", "/v1/files/a%2Fb%2fc;x=%20?y[]=%41&z"),
    ],
)
@each_transport
def test_targets(kind, url, target):
    """The path goes out byte for byte; an empty one is "/", and a fragment is not sent."""
    with LoopbackServer(echo) as server:
        kind.run(lambda transport: transport.send(Request("GET", server.url(url), {})))
        assert server.received[0].target == target


@pytest.mark.parametrize(
    "url",
    [
        "ftp://127.0.0.1/",
        "http:///path",
        "http://127.0.0.1:99999/",
        "http://user:canary@127.0.0.1/",
        "http://127.0.0.1/a b",
        "http://h/ a",
        "http://127.0.0.1/\r\nx: y",
        "http://127.0.0.1\r\n/",
        "http://127.0.0.1/\u00e9",
        "",
    ],
)
@each_transport
def test_urls_that_cannot_be_used(kind, url):
    """A URL that is not encoded, has no usable origin or has credentials is refused, unseen."""
    call = lambda transport: fails(UsageError, transport.send(Request("GET", url, {})))  # noqa: E731
    assert "canary" not in str(kind.run(call))


@each_that("refuses port 0")
def test_port_0_cannot_be_used(kind):
    """No server listens on port 0: a URL with it is refused."""
    request = Request("GET", "http://127.0.0.1:0/", {})
    kind.run(lambda transport: fails(UsageError, transport.send(request)))


def unsent(kind, headers):
    """Check that a request with these headers is refused, unsent, without showing another one."""

    async def main(transport):
        request = Request("POST", server.url(), {**headers, "x-api-key": MaskedStr("canary")}, b"")
        assert "canary" not in shows(await fails(UsageError, transport.send(request)))

    with LoopbackServer(echo) as server:
        kind.run(main)
        assert server.received == []


@pytest.mark.parametrize("headers", [{"x": "a\r\nb: c"}, {"a\n": "b"}, {"x": "\0"}])
@each_transport
def test_headers_that_cannot_be_sent(kind, headers):
    """A header with a line end or a zero byte is refused unsent."""
    unsent(kind, headers)


@each_that("refuses headers beyond Latin-1")
def test_headers_beyond_latin_1(kind):
    """A header of characters that HTTP does not have is refused unsent."""
    unsent(kind, {"x": "\u20ac"})


class Source:
    """A body of 5 bytes that gives these pieces, and then perhaps an error."""

    size = 5

    def __init__(self, *pieces, error=None):
        """Hold the pieces and the error."""
        self.pieces, self.error = pieces, error

    def __iter__(self):
        """Yield the pieces."""
        yield from self.pieces
        if self.error is not None:
            raise self.error


@pytest.mark.parametrize(
    ("source", "error"),
    [
        (Source(b"abcd"), UsageError),
        (Source(b"abc", b"def"), UsageError),
        (Source(b"abc", error=KeyError("mine")), KeyError),
        (Source(b"abc", error=FileNotFoundError("gone")), FileNotFoundError),
        (Source(error=KeyError("mine")), KeyError),
        (Source(error=TimeoutError("slow disk")), TimeoutError),
    ],
    ids=["short", "long", "breaks", "goes", "unreadable", "slow"],
)
@each_transport
def test_a_body_source_that_fails(kind, source, error):
    """A source's own error comes to its owner; a wrong size is refused; the connection closes."""
    closed = Queue()

    async def main(transport):
        watch = Stopwatch()
        request = post(server, source, {"x-api-key": MaskedStr("canary")}, Limits(total=2.0))
        raised = await fails(error, transport.send(request))
        assert "canary" not in shows(raised)
        assert await told(closed) is None
        assert watch.seconds < 1.0

    with LoopbackServer(lambda peer: closed.put(peer.request())) as server:
        kind.run(main)
        assert server.received == []


def refused_early(kind, *, resets):
    """Check that an answer gets through that comes before a large body is sent."""

    def refuse(peer):
        peer.head()
        peer.send(reply(b"too large", status="413 Too Large"))
        if not resets:
            peer.finish()
            assert peer.gone()

    async def main(transport):
        for _ in range(10):
            response = await transport.send(post(server, bytes(10_000_000)))
            assert (response.status, response.body) == (413, b"too large")

    with LoopbackServer(refuse) as server:
        kind.run(main)
        assert server.connections == 10


@each_transport
def test_an_early_answer_gets_through(kind):
    """An answer that comes before a large body is sent is delivered, and the connection closed."""
    refused_early(kind, resets=False)


@each_that("delivers an early answer before a reset")
def test_an_early_answer_gets_through_a_reset(kind):
    """An answer that comes before a large body is sent is delivered, even if a reset follows."""
    refused_early(kind, resets=True)


@each_transport
def test_an_early_answer_gets_through_tls(kind):
    """An early answer is delivered over TLS, where a socket is readable for other reasons, too."""

    def refuse(peer):
        peer.head()
        peer.send(reply(b"too large", status="413 Too Large"))
        peer.gone()

    async def main(transport):
        response = await transport.send(post(server, bytes(20_000_000)))
        assert response.body == b"too large"

    with LoopbackServer(refuse, server_tls()) as server:
        kind.run(main, ssl_context=client_tls())


@each_transport
def test_an_early_answer_ends_a_stalled_upload(kind):
    """A server that answers, stops reading and keeps the connection does not stall the call."""

    async def main(transport):
        watch = Stopwatch()
        response = await transport.send(post(server, bytes(20_000_000)))
        assert (response.status, watch.seconds < 0.4) == (413, True)

    with stalling(reply(b"", status="413 Too Large")) as server:
        kind.run(main)


@each_transport
def test_an_interim_response_does_not_end_an_upload(kind):
    """100 (Continue) in the middle of a large body is passed over; the connection is kept."""

    def script(peer):
        while head := peer.head():
            peer.send(b"HTTP/1.1 100 Continue\r\n\r\n")
            peer.body(head)
            peer.send(reply(b"done"))

    async def main(transport):
        for _ in range(2):
            assert (await transport.send(post(server, body))).body == b"done"

    body = bytes(range(256)) * 40_000
    with LoopbackServer(script) as server:
        kind.run(main)
        assert [got.body == body for got in server.received] == [True, True]
        assert server.connections == 1


@each_transport
def test_a_lost_upload_is_connection_lost(kind):
    """A connection that breaks in the middle of a body, without an answer, is lost."""
    with LoopbackServer(lambda peer: peer.head()) as server:
        request = post(server, bytes(20_000_000))
        kind.run(lambda transport: fails(ConnectionLost, transport.send(request)))


# Limits


@pytest.mark.parametrize(
    ("limits", "phase"),
    [(Limits(read=BRIEF), "read"), (Limits(read=9.0, total=BRIEF), "total")],
    ids=["read", "total"],
)
@pytest.mark.parametrize("size", [10, 20_000_000])
@each_transport
def test_stalled_calls_time_out(kind, limits, phase, size):
    """The clocks run while a body is sent as well as while a reply is awaited."""

    async def main(transport):
        watch = Stopwatch()
        error = await fails(TimedOut, transport.send(post(server, bytes(size), limits=limits)))
        assert (error.phase, watch.seconds < BRIEF + 0.4) == (phase, True)
        assert not isinstance(error, ConnectionFailed)

    with stalling() as server:
        kind.run(main)


@each_transport
def test_no_time_is_no_connection(kind):
    """A total limit that is over before it began ends the call before anything is sent."""

    async def main(transport):
        request = get(server, limits=Limits(total=0.0))
        for call in (transport.send(request), transport.stream(request).__aenter__()):
            assert (await fails(ConnectTimedOut, call)).phase == "total"

    with LoopbackServer(echo) as server:
        kind.run(main)
        assert server.connections == 0


@each_transport
def test_the_total_limit_spans_the_connection(kind):
    """A total limit that runs out in a TLS handshake says that nothing was sent."""

    async def main(transport):
        url = server.url().replace("http:", "https:")
        call = transport.send(Request("GET", url, {}, limits=Limits(total=BRIEF)))
        assert (await fails(ConnectTimedOut, call, within=BRIEF)).phase == "total"

    with LoopbackServer(lambda peer: peer.gone()) as server:
        kind.run(main)


# Streams


@each_transport
def test_a_stream_that_was_left_cannot_be_read(kind):
    """The chunks of a stream end with an error, not in silence, once the context was left."""

    async def main(transport):
        async with transport.stream(get(server)) as (_, chunks):
            assert await anext(aiter(chunks)) == b"first"
        await fails(StreamInterrupted, anext(aiter(chunks)))

    with LoopbackServer(replying(chunked(b"first", end=b""))) as server:
        kind.run(main)


@each_transport
def test_a_stream_read_to_its_end_gives_its_connection_back(kind):
    """The connection is free when the last chunk was read, even before the stream is left."""

    async def main(transport):
        async with transport.stream(get(server)) as (_, chunks):
            assert [chunk async for chunk in chunks] == [b"all"]
            await transport.send(get(server))
        async with transport.stream(get(server)) as (_, chunks):
            assert await anext(aiter(chunks)) == b"all"
        await transport.send(get(server))

    with LoopbackServer(replying(reply(b"all"))) as server:
        kind.run(main)
        assert server.connections == 1


UNASKED = {
    "no HTTP": b"\x00\xff" * 40,
    "words": b"GARBAGE GARBAGE\r\n\r\n",
    "a bad head": b"HTTP/1.1 200 OK\r\nno header\r\n\r\n",
    "a reply": reply(b"somebody else's"),
}


@pytest.mark.parametrize("secure", [False, True], ids=["tcp", "tls"])
@pytest.mark.parametrize(
    "framed",
    [reply(b"asked"), reply(b"asked", "connection: close"), chunked(b"as", b"ked")],
    ids=["length", "closed", "chunks"],
)
@pytest.mark.parametrize("unasked", UNASKED)
@each_transport
def test_what_follows_a_reply_costs_it_nothing(kind, unasked, framed, secure):
    """A whole reply is the answer, whatever comes with it; its connection is used no more."""

    def script(peer):
        if peer.request() is not None:
            peer.send(framed + UNASKED[unasked])
            peer.request()

    async def main(transport):
        with LoopbackServer(script, server_tls() if secure else None) as server:
            for _ in range(2):
                assert (await transport.send(get(server))).body == b"asked"
            async with transport.stream(get(server)) as (head, chunks):
                assert (head.status, b"".join([c async for c in chunks])) == (200, b"asked")

    kind.run(main, ssl_context=client_tls())


@each_transport
def test_errors_name_the_response_that_broke(kind):
    """Once the head has come, errors carry its status and request id."""

    async def main(transport):
        for limits in (Limits(read=BRIEF), Limits(max_response=5), Limits(total=BRIEF)):
            error = await fails(ClaudeError, transport.send(get(server, limits=limits)))
            if getattr(error, "phase", "read") != "total":
                assert (error.status, error.request_id) == (200, "req_1")

    with LoopbackServer(replying(reply(b"half", "Request-Id: req_1", length=8))) as server:
        kind.run(main)


# DNS and TLS


@pytest.mark.parametrize("host", ["a" * 64 + ".test", "a..test"])
@each_transport
def test_no_address_is_connection_failed(kind, host):
    """A host that has no address, or cannot be one, is a failed connection."""
    request = Request("GET", f"http://{host}:9/", {}, limits=Limits(connect=BRIEF))
    kind.run(lambda transport: fails(ConnectionFailed, transport.send(request)))


@each_transport
def test_a_refusal_of_the_system_is_not_waited_for(kind):
    """An address that the system refuses at once fails at once, whatever the limits."""

    async def main(transport):
        watch = Stopwatch()
        request = Request("GET", "http://255.255.255.255:9", {}, limits=Limits(connect=30.0))
        await fails(ConnectionFailed, transport.send(request))
        assert watch.seconds < 5

    kind.run(main)


@each_transport
def test_every_address_is_tried(kind):
    """Where `localhost` is ::1 first, the server on 127.0.0.1 is reached all the same."""
    with LoopbackServer(replying(reply(b"here"))) as server:
        url = server.url().replace("127.0.0.1", "localhost")
        call = lambda transport: transport.send(Request("GET", url, {}))  # noqa: E731
        assert kind.run(call).body == b"here"


@each_transport
def test_tls_connections_are_used_again(kind):
    """Over TLS all is as without: large bodies both ways, streams, and one connection."""
    body = bytes(range(256)) * 8000

    async def main(transport):
        for _ in range(2):
            assert (await transport.send(post(server, body))).body == body
        async with transport.stream(get(server)) as (_, chunks):
            assert b"".join([chunk async for chunk in chunks]) == body

    with LoopbackServer(replying(reply(body), chunked(body)), server_tls()) as server:
        kind.run(main, ssl_context=client_tls())
        assert [got.body == body for got in server.received] == [True, True, False]
        assert server.connections == 1


@each_transport
def test_an_unknown_certificate_is_refused(kind):
    """A server whose certificate is not trusted gets nothing, and the error is no passing one."""

    async def main(transport):
        for _ in range(2):
            error = await fails(CertificateRefused, transport.send(post(server)))
            assert "self" in str(error)
            assert isinstance(error.__cause__, ssl.SSLCertVerificationError)

    with LoopbackServer(replying(reply()), server_tls()) as server:
        kind.run(main)
        assert server.received == []


@each_that("resolves names like 127.1")
def test_a_certificate_is_for_its_name(kind):
    """A trusted certificate is refused from a server that was asked for by another name."""

    async def main(transport):
        url = server.url().replace("127.0.0.1", "127.1")  # the same address to the resolver
        await fails(CertificateRefused, transport.send(Request("GET", url, {})))

    with LoopbackServer(replying(reply()), server_tls()) as server:
        kind.run(main, ssl_context=client_tls())
        assert server.received == []


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


@each_transport
def test_an_http_proxy_gets_the_whole_url(kind):
    """Without TLS the proxy is asked for the URL, and given the credentials in its own."""
    url = "http://api.test/v1/models?x=%2F"

    async def main(transport):
        for _ in range(2):
            assert (await transport.send(Request("GET", url, {}))).body == b"proxied"

    with LoopbackServer(replying(reply(b"proxied"))) as proxy:
        kind.run(main, proxy=through(proxy, "me:p%40ss@"))
        for got in proxy.received:
            assert (got.target, got.values("host")) == (url, ["api.test"])
            assert got.values("proxy-authorization") == ["Basic bWU6cEBzcw=="]
        assert (len(proxy.received), proxy.connections) == (2, 1)


@pytest.mark.parametrize(
    "opened",
    [
        b"HTTP/1.1 200 Connection established\r\n\r\n",
        b"HTTP/1.0 200 Connection established\r\nContent-Length: 0\r\n\r\n",
    ],
    ids=["1.1", "1.0"],
)
@each_transport
def test_tls_goes_through_a_tunnel(kind, opened):
    """With TLS the proxy opens a tunnel, and sees nothing of what is sent through it."""
    asked = []

    def tunnel(peer):
        asked.append(peer.head())
        peer.send(opened)
        relay(peer._sock, server)

    async def main(transport):
        for _ in range(2):
            request = post(server, headers={"x-api-key": MaskedStr("canary")})
            assert (await transport.send(request)).body == b"safe"

    with (
        LoopbackServer(replying(reply(b"safe")), server_tls()) as server,
        LoopbackServer(tunnel) as proxy,
    ):
        kind.run(main, ssl_context=client_tls(), proxy=through(proxy, "me:p%40ss@"))
        (connect,) = asked
        origin = server.url("").removeprefix("https://")
        assert (connect.method, connect.target) == ("CONNECT", origin)
        assert connect.values("proxy-authorization") == ["Basic bWU6cEBzcw=="]
        assert "canary" not in repr(connect)
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
    ids=["407", "502", "ssh", "cut", "nothing", "ends", "no TLS", "silence"],
)
@each_transport
def test_no_tunnel_is_no_connection(kind, answer, error):
    """Whatever a proxy does instead of opening a tunnel, nothing was sent; no secret shows."""

    def refuse(peer):
        peer.head()
        if answer is None:
            peer.gone()
        else:
            peer.send(answer)
            peer.finish()
            peer.gone()

    async def main(transport):
        headers = {"x-api-key": MaskedStr("canary")}
        limits = Limits(connect=BRIEF if answer is None else 2.0)
        request = Request("GET", "https://api.test/", headers, limits=limits)
        raised = await fails(error, transport.send(request))
        shown = shows(raised) + repr(transport if kind.loop else transport._transport)
        assert "canary" not in shown
        assert "bWU6Y2FuYXJ5" not in shown

    with LoopbackServer(refuse) as proxy:
        kind.run(main, proxy=through(proxy, "me:canary@"))


@pytest.mark.parametrize(
    "proxy",
    ["socks5://me:canary@p:1", "http://me:canary@a b", "http://a b", "http://:1"],
)
@each_transport
def test_proxies_that_cannot_be_used(kind, proxy):
    """A proxy of another kind, or without a host, is refused; its password is not shown."""
    with pytest.raises(UsageError, match="`proxy`") as caught:
        kind.factory(proxy=proxy)
    assert "canary" not in shows(caught.value)


@each_transport
def test_proxies_come_from_the_environment(kind, monkeypatch):
    """By default the usual variables are obeyed, `no_proxy` with its networks included."""
    for name in ("http_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name.upper(), raising=False)

    def answer(**options):
        return kind.run(lambda transport: transport.send(get(server)), **options).body

    with (
        LoopbackServer(replying(reply(b"proxied"))) as proxy,
        LoopbackServer(replying(reply(b"direct"))) as server,
    ):
        for variable in ("http_proxy", "all_proxy"):
            monkeypatch.setenv(variable, proxy.url("").removeprefix("http://"))
            monkeypatch.delenv("no_proxy", raising=False)
            assert answer(trust_env=True) == b"proxied"
            assert answer(trust_env=False) == b"direct"
            for exception in ("localhost,127.0.0.1", "10.0.0.0/8 127.0.0.0/8", "::1,0.0.0.0/0"):
                monkeypatch.setenv("no_proxy", exception)
                assert answer(trust_env=True) == b"direct"
            monkeypatch.delenv(variable)


@each_transport
def test_no_netrc_is_read(kind, tmp_path, monkeypatch):
    """A password for the host in `.netrc` does not become a credential of the request."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password canary\n")
    monkeypatch.setenv("NETRC", str(netrc))
    with LoopbackServer(echo) as server:
        kind.run(lambda transport: transport.send(get(server)), trust_env=True)
        assert "authorization" not in repr(server.received).lower()


# Errors


@each_transport
def test_a_cause_is_the_systems_word_alone(kind):
    """A refused connection is caused by the OSError, which has no frames and no history."""

    async def main(transport):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
        headers = {"x-api-key": MaskedStr("canary")}
        request = Request("GET", f"http://127.0.0.1:{port}/", headers)
        error = await fails(ConnectionFailed, transport.send(request))
        assert type(error.__cause__) is ConnectionRefusedError
        assert error.__cause__.__traceback__ is None
        assert error.__cause__.__context__ is None
        assert "canary" not in shows(error)

    kind.run(main)


@each_transport
def test_a_broken_connection_is_caused_by_its_reset(kind):
    """A connection that is reset before the reply names the system's error as its cause."""

    def script(peer):
        peer.request()
        peer.reset()

    async def main(transport):
        error = await fails(ConnectionLost, transport.send(post(server)))
        assert type(error) is ConnectionLost
        assert type(error.__cause__) is ConnectionResetError

    with LoopbackServer(script) as server:
        kind.run(main)
