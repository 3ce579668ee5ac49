"""The transport on aiohttp: loops, threads, forks, TLS, proxies, uploads, and what errors show."""

import asyncio
import gc
import os
import pickle
import socket
import ssl
import subprocess
import sys
import textwrap
import threading
import traceback
import tracemalloc
from contextlib import asynccontextmanager, suppress
from math import inf
from queue import Queue
from time import sleep

import aiohttp
import pytest
from aiohttp.abc import AbstractResolver
from certificates import PEM
from each_transport import echo, stalling
from timing import Stopwatch

from claude_lite.errors import (
    CertificateRefused,
    ClaudeError,
    ConnectionLost,
    ResponseTooLarge,
    StreamInterrupted,
    TimedOut,
    UsageError,
)
from claude_lite.testing.conformance.cases import get, post
from claude_lite.testing.conformance.hiding import exposed
from claude_lite.testing.conformance.loopback import (
    LoopbackServer,
    Received,
    chunked,
    reply,
    replying,
)
from claude_lite.wire import Limits, MaskedStr, Request
from claude_lite_transports.aiohttp import AiohttpTransport
from claude_lite_transports.aiohttp.connection import hung_up
from claude_lite_transports.aiohttp.exchange import _COUNTS, _measured
from claude_lite_transports.aiohttp.reply import OpenReply
from claude_lite_transports.aiohttp.upload import Upload
from claude_lite_transports.aiohttp.watch import Interrupted, Watch, _unheard
from claude_lite_transports.shared.per_loop import prune
from claude_lite_transports.shared.tcp import tcp_socket

BRIEF = 0.1
EVENT_LOOPS = ["asyncio"]
try:
    import uvloop
except ImportError:
    uvloop = None
else:
    EVENT_LOOPS.append("uvloop")


def run(main, **options):
    """Run `main(transport)` with a transport that ignores the environment; nothing is left."""
    complaints = []

    async def whole():
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: complaints.append(context))
        transport = AiohttpTransport(**{"trust_env": False, **options})
        result = await main(transport)
        await asyncio.sleep(0)
        assert asyncio.all_tasks() == {asyncio.current_task()}
        return result

    result = asyncio.run(whole())
    gc.collect()
    assert complaints == []
    return result


async def fails(kind, call):
    """Return the error of this kind that a call raises."""
    with pytest.raises(kind) as caught:
        await call
    return caught.value


async def slowly(chunks, pause, got=None):
    """Read a stream, pausing after each chunk."""
    async for chunk in chunks:
        if got is not None:
            got.append(chunk)
        await asyncio.sleep(pause)


def python(code, *args, dev=True):
    """Run code in an interpreter where warnings are errors; return what it wrote to stderr."""
    prelude = """
        import asyncio, gc, os, sys
        from claude_lite.wire import Request
        from claude_lite_transports.aiohttp import AiohttpTransport

        transport = AiohttpTransport(trust_env=False)

        async def ask(what):
            response = await transport.send(Request("POST", sys.argv[1], {}, what.encode()))
            assert response.body == what.encode(), (what, response.body)
    """
    done = subprocess.run(  # noqa: S603  # this interpreter, code of our own
        [
            sys.executable,
            *(["-X", "dev"] if dev else []),
            *("-W", "error", "-c", textwrap.dedent(prelude) + textwrap.dedent(code)),
            *args,
        ],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        env={"PYTHONPATH": ":".join(sys.path)},
    )
    return done.stderr + (f"exit status {done.returncode}" if done.returncode else "")


def shows(error):
    """Return all that an error shows, but for the variables of the test that caught it."""
    return "".join(exposed(error.with_traceback(error.__traceback__.tb_next.tb_next)))


@pytest.fixture
def server_tls():
    """The TLS of a server that says it is localhost."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(PEM)
    return context


@pytest.fixture
def client_tls():
    """The TLS of a client that trusts `server_tls`."""
    return ssl.create_default_context(cafile=PEM)


# What it is


def test_a_session_is_not_pickled():
    """A transport with a session of the caller's cannot be pickled."""

    async def main(transport):
        async with aiohttp.ClientSession() as session:
            with pytest.raises(TypeError, match="pickled"):
                pickle.dumps(AiohttpTransport(session=session))

    run(main)


# Loops, threads and processes


def test_nothing_is_left_open_at_exit():
    """A client that is open when its loop and its interpreter end gives no warning."""
    code = """
        async def main():
            await asyncio.gather(*map(ask, "abc"))
            asyncio.create_task(ask("not to be waited for"))
            await asyncio.sleep(0.01)

        asyncio.run(main())
    """
    with LoopbackServer(echo) as server:
        assert python(code, server.url()) == ""


@pytest.mark.slow
def test_forked_children_get_their_own_answers():
    """Eight children of a process that has used the transport make 50 right calls each."""
    code = """
        loop = asyncio.new_event_loop()
        loop.run_until_complete(ask("before"))

        async def many(child):
            await asyncio.gather(*[ask(f"{child}-{number}") for number in range(50)])

        children = []
        for child in range(8):
            children.append(os.fork())
            if not children[-1]:
                asyncio.run(many(child))
                gc.collect()
                os._exit(0)
        assert [os.waitpid(child, 0)[1] for child in children] == [0] * 8
        loop.run_until_complete(ask("after"))
        loop.run_until_complete(transport.close())
        loop.close()
    """
    numbers = {}

    def script(peer):
        while got := peer.request():
            numbers[got.body] = peer.number
            peer.send(reply(got.body))

    with LoopbackServer(script) as server:
        assert python(code, server.url(), dev=False) == ""
    assert len(numbers) == 402
    assert numbers[b"before"] == numbers[b"after"] == 0
    assert [number for number in numbers.values() if number == 0] == [0, 0]


def test_a_child_that_exits_does_not_disturb_its_parent():
    """A child may use, close and finalise the transport; the parent's connection stays alive."""
    code = """
        loop = asyncio.new_event_loop()
        loop.run_until_complete(ask("before"))
        if not os.fork():
            asyncio.set_event_loop(None)
            asyncio.run(ask("child"))
            asyncio.run(transport.close())
            del transport
            gc.collect()
            loop.close = lambda: None  # asyncio's own hazard: the queue of events is shared
            sys.exit()
        assert os.wait()[1] == 0
        loop.run_until_complete(ask("after"))
        loop.run_until_complete(transport.close())
        loop.close()
    """
    numbers = []

    def script(peer):
        while got := peer.request():
            numbers.append((got.body, peer.number))
            peer.send(reply(got.body))

    with LoopbackServer(script) as server:
        assert "Unclosed" not in python(code, server.url(), dev=False)  # asyncio's say "unclosed"
    assert numbers == [(b"before", 0), (b"child", 1), (b"after", 0)]


@pytest.mark.parametrize("kind", EVENT_LOOPS)
def test_event_loops(kind, server_tls, client_tls):
    """Calls, streams, uploads, TLS and early leaving do the same on asyncio and on uvloop."""
    large = bytes(range(256)) * 8000

    async def main():
        transport = AiohttpTransport(trust_env=False, ssl_context=client_tls)
        for server in (plain, secure):
            bodies = [b"%d" % number for number in range(20)]
            replies = await asyncio.gather(*[transport.send(post(server, b)) for b in bodies])
            assert [response.body for response in replies] == bodies
            assert (await transport.send(post(server, large))).body == large
            async with transport.stream(post(server, large)) as (_, chunks):
                assert b"".join([chunk async for chunk in chunks]) == large
            async with transport.stream(post(server, large)):
                pass
        await transport.close()
        return transport

    with LoopbackServer(echo) as plain, LoopbackServer(echo, server_tls) as secure:
        for _ in range(2):
            if kind == "uvloop":
                assert uvloop.run(main())._pools.held == {}
            else:
                assert asyncio.run(main())._pools.held == {}
    gc.collect()


# Connections


def closing_after(requests):
    """Make a script that serves so many requests on a connection, and tells of its end."""
    closed = threading.Event()

    def script(peer):
        for _ in range(requests):
            got = peer.request()
            if got is None:
                return
            peer.send(reply(got.body))
        peer.close()
        closed.set()

    return script, closed


def wait(closed):
    """Block the loop until a connection is closed, so that the loop cannot know it."""
    assert closed.wait(2)
    sleep(0.01)


def test_nothing_is_sent_on_a_connection_known_to_be_closed():
    """Where the pool is the caller's and hands out a closed one, another one is opened."""
    script, closed = closing_after(1)

    async def main(transport):
        async with aiohttp.ClientSession() as session:
            borrowing = AiohttpTransport(session=session, trust_env=False)
            await borrowing.send(post(server))
            wait(closed)
            assert (await borrowing.send(post(server, b"x"))).body == b"x"
            await borrowing.close()
            assert not session.closed

    with LoopbackServer(script) as server:
        run(main)
        assert (len(server.received), server.connections) == (2, 2)


def test_a_session_of_the_callers_is_not_closed():
    """A caller's session lends its connections, and adds nothing; its loop may end first."""

    async def main(transport):
        session = aiohttp.ClientSession(
            headers={"x-extra": "1"}, cookies={"a": "b"}, raise_for_status=True
        )
        borrowing = AiohttpTransport(session=session, trust_env=False)
        for _ in range(2):
            response = await borrowing.send(get(server))
            assert response.status == 404
        await borrowing.close()
        await borrowing.send(get(server))
        assert not session.closed
        names = {name.lower() for got in server.received for name, _ in got.headers}
        assert names == {"host", "accept"}
        await session.close()
        await borrowing.close()
        await fails(UsageError, borrowing.send(get(server)))

    with LoopbackServer(replying(reply(status="404 Not Found"))) as server:
        run(main)
        assert server.connections == 1


def test_another_process_has_no_use_of_a_session():
    """A session that was given before a fork is refused in the child."""
    code = """
        import aiohttp

        async def main():
            global transport
            session = aiohttp.ClientSession()
            transport = AiohttpTransport(session=session, trust_env=False)
            await ask("parent")
            await session.close()
            return session

        session = asyncio.run(main())
        if not os.fork():
            try:
                asyncio.run(ask("child"))
            except ValueError as error:
                os._exit(0 if "process" in str(error) else 2)
            os._exit(1)
        assert os.wait()[1] == 0
    """
    with LoopbackServer(echo) as server:
        assert python(code, server.url()) == ""
        assert len(server.received) == 1


# Requests


class Piece(bytes):
    """Bytes that count how many of their kind are alive."""

    alive = most = 0

    def __new__(cls, *args):
        """Count one more."""
        Piece.alive += 1
        Piece.most = max(Piece.most, Piece.alive)
        return super().__new__(cls, *args)

    def __del__(self):
        """Count one less."""
        Piece.alive -= 1


class Source:
    """A body in pieces, which tells where it is read."""

    def __init__(self, pieces, size, error=None):
        """Hold what is to be read, and perhaps an error at the end."""
        self.pieces, self.size, self.error, self.threads = pieces, size, error, set()

    def __iter__(self):
        """Yield the pieces."""
        for number in range(self.pieces):
            self.threads.add(threading.get_ident())
            yield Piece(bytes([number % 256]) * 100_000)
        if self.error is not None:
            raise self.error


def test_a_body_source_is_read_in_a_thread_piece_by_piece():
    """A source is read outside of the loop, and no piece is held while another is sent."""
    Piece.most = 0
    source = Source(40, 4_000_000)

    async def main(transport):
        return [(await transport.send(post(server, source))).body for _ in range(2)]

    with LoopbackServer(echo) as server:
        bodies = run(main)
        assert server.received[0].values("content-length") == ["4000000"]
        assert server.received[0].values("transfer-encoding") == []
    assert threading.get_ident() not in source.threads
    assert (Piece.alive, Piece.most <= 4) == (0, True)  # a thread may be slow to let go of one
    assert bodies == [b"".join(source)] * 2


def test_a_source_that_is_slow_to_end():
    """Once all of a source is sent, its connection is used again, even if it has not ended yet."""
    answered = threading.Semaphore(0)

    class Slow:
        size = 3

        def __iter__(self):
            yield b"all"
            assert answered.acquire(timeout=3.0)

    async def main(transport):
        for _ in range(3):
            assert (await transport.send(post(server, Slow()))).body == b"all"
            answered.release()

    with LoopbackServer(echo) as server:
        run(main)
        assert server.connections == 1


def test_large_bytes_are_sent_without_warning():
    """A body of many megabytes gets there, unlike in aiohttp without a ResourceWarning."""
    body = os.urandom(5_000_001)
    with LoopbackServer(replying(reply())) as server:
        run(lambda transport: transport.send(post(server, body)))
        assert server.received[0].body == body


@pytest.mark.parametrize("answer", [reply(length=9), chunked(end=b"5\r\n")])
def test_silence_after_an_early_answer(answer):
    """A server that begins to answer, and then neither reads nor speaks, is silent: no break."""
    over = threading.Event()

    def script(peer):
        peer.head()
        peer.send(answer)
        sleep(0.15)  # the upload has been waiting for longer than the reader will be
        peer.send(b"first")
        over.wait(3.0)

    async def main(transport):
        request = post(server, bytes(20_000_000), limits=Limits(read=0.25))
        error = await fails(TimedOut, transport.send(request))
        assert (error.phase, error.status) == ("read", 200)
        async with transport.stream(request) as (_, chunks):
            assert await anext(chunks) == b"first"
            assert (await fails(TimedOut, anext(chunks))).phase == "read"
        over.set()

    with LoopbackServer(script) as server:
        run(main)


@pytest.mark.parametrize("reads", [False, True])
def test_an_early_answer_may_take_its_time(reads):
    """An answer that comes slowly is read, whether or not the server takes more of the body."""
    left = Queue()

    def script(peer):
        peer.head()
        peer.send(chunked(end=b""))
        for _ in range(6):
            sleep(0.1)
            peer.send(b"1\r\na\r\n")
        if reads:
            peer._sock.settimeout(0.1)
            with suppress(TimeoutError):
                left.put(len(peer.body(Received("", "", (("content-length", "20000000"),), b""))))
        peer.send(b"0\r\n\r\n")
        peer.gone()

    async def main(transport):
        for _ in range(2):
            request = post(server, bytes(20_000_000), limits=Limits(read=0.4))
            assert (await transport.send(request)).body == b"aaaaaa"

    with LoopbackServer(script) as server:
        run(main)
        assert (server.connections, left.qsize()) == (2, 0)


# Limits


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a head has to come at once")
def test_a_head_may_come_in_pieces():
    """The clock for silence starts anew with each piece of a head."""

    def script(peer):
        peer.request()
        for piece in (b"HTTP/1.1 200 OK\r\n", b"content-length: 2\r\n", b"a: b\r\n", b"\r\nok"):
            sleep(0.25)
            peer.send(piece)

    async def main(transport):
        response = await transport.send(post(server, limits=Limits(read=0.4)))
        assert response.body == b"ok"

    with LoopbackServer(script) as server:
        run(main)


def test_a_held_loop_is_not_silence():
    """What came while other code held the loop is not taken for silence."""

    def script(peer):
        peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n")
        for piece in (b"a", b"b", b"c", b"d"):
            sleep(0.15)
            peer.send(piece)

    async def main(transport):
        call = asyncio.create_task(transport.send(post(server, limits=Limits(read=0.6))))
        await asyncio.sleep(0.1)
        sleep(1.0)  # noqa: ASYNC251  # as others do
        assert (await call).body == b"abcd"

    with LoopbackServer(script) as server:
        run(main)


def test_no_limit_is_rounded():
    """Times are kept to the millisecond, above five seconds as well."""

    async def main(transport):
        loop = asyncio.get_running_loop()
        call = asyncio.create_task(transport.send(post(server, limits=Limits(read=7.3))))
        await asyncio.sleep(0.05)
        watch = (await transport.pool()).watch
        ends = [when - loop.time() for when in watch._due.values()]
        assert any(7.2 < left <= 7.3 for left in ends)
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)

    with stalling() as server:
        run(main)


def test_a_flood_ends_in_time():
    """The total limit ends a stream whose data never runs out, however it is read."""

    def flood(peer):
        peer.request()
        peer.send(chunked(end=b""))
        while True:
            peer.send(b"1000\r\n" + bytes(4096) + b"\r\n")

    async def main(transport):
        watch = Stopwatch()
        async with transport.stream(get(server, limits=Limits(total=0.2))) as (_, chunks):
            error = await fails(TimedOut, slowly(chunks, 0.001))
        assert error.phase == "total"
        assert watch.elapsed > 0.15
        assert watch.seconds < 0.6

    with LoopbackServer(flood) as server:
        run(main)


def test_a_reply_in_time_may_be_read_later():
    """What had arrived whole before the total limit is delivered after it."""

    async def main(transport):
        async with transport.stream(get(server, limits=Limits(total=0.8))) as (_, chunks):
            await asyncio.sleep(0.9)
            assert [chunk async for chunk in chunks] == [b"whole"]

    with LoopbackServer(replying(reply(b"whole"))) as server:
        run(main)


def test_too_large_ends_at_the_limit():
    """A body past `max_response` is given up where the limit is, and the connection closed."""
    gone = Queue()

    def script(peer):
        peer.request()
        peer.send(chunked(bytes(1000), end=b""))
        gone.put(peer.gone())

    async def main(transport):
        limits = Limits(max_response=999)
        error = await fails(ResponseTooLarge, transport.send(get(server, limits=limits)))
        assert error.status == 200
        assert await asyncio.to_thread(gone.get, timeout=2)

    with LoopbackServer(script) as server:
        run(main)


@pytest.mark.parametrize(
    ("trailers", "setting"),
    [
        (b"X: " + b"x" * 3000, "max_head"),
        pytest.param(
            b"X: y\r\n" * 40,
            "max_headers",
            marks=pytest.mark.skipif(not _COUNTS, reason="this aiohttp does not count them"),
        ),
    ],
)
def test_trailers_that_come_late_are_bounded(trailers, setting):
    """Trailers past a limit are too large even if they come after all that went before was read."""
    read = threading.Semaphore(0)

    def script(peer):
        peer.request()
        peer.send(chunked(b"one", end=b"").replace(b"OK", b"OK\r\nRequest-Id: req_1"))
        assert read.acquire(timeout=3.0)
        peer.send(b"0\r\n", trailers + b"\r\n\r\n")
        peer.gone()

    async def main(transport):
        request = get(server, limits=Limits(max_head=2000, max_headers=30))
        async with transport.stream(request) as (_, chunks):
            assert await anext(chunks) == b"one"
            read.release()
            errors = [await fails(ResponseTooLarge, anext(chunks))]
        asyncio.get_running_loop().call_later(0.1, read.release)
        errors.append(await fails(ResponseTooLarge, transport.send(request)))
        for error in errors:
            assert (error.setting, error.status, error.request_id) == (setting, 200, "req_1")
            assert "canary" not in shows(error)

    with LoopbackServer(script) as server:
        run(main)


def test_an_endless_extension_is_silence():
    """A chunk's extension is no body: if there is no end of it, the clock for silence runs out."""

    def script(peer):
        peer.request()
        peer.send(chunked(b"one", end=b"1;"))
        while True:
            peer.send(b"x" * 65536)

    async def main(transport):
        tracemalloc.start()
        try:
            request = get(server, limits=Limits(read=0.3))
            error = await fails(TimedOut, transport.send(request))
            assert (error.phase, error.status) == ("read", 200)
            assert tracemalloc.get_traced_memory()[1] < 2_000_000  # nothing of it is kept
        finally:
            tracemalloc.stop()

    with LoopbackServer(script) as server:
        run(main)


# Streams


def test_what_came_before_a_break_is_delivered():
    """What had arrived is delivered before the error, to a slow reader as well."""

    def script(peer):
        peer.request()
        peer.send(chunked(b"one", end=b""))
        sleep(0.03)
        peer.send(b"3\r\ntwo\r\n")

    async def main(transport):
        got = []
        async with transport.stream(get(server)) as (_, chunks):
            error = await fails(StreamInterrupted, slowly(chunks, 0.1, got))
        assert got == [b"one", b"two"]
        assert error.status == 200

    with LoopbackServer(script) as server:
        run(main)


def test_leaving_from_another_task_ends_a_reader():
    """A reader that waits learns at once that the stream was left, and so does a later one."""

    async def main(transport):
        stream = transport.stream(get(server))
        _, chunks = await stream.__aenter__()
        assert await anext(chunks) == b"first"
        reader = asyncio.create_task(anext(chunks))
        await asyncio.sleep(0.01)
        await stream.__aexit__(None, None, None)
        await asyncio.wait_for(fails(StreamInterrupted, reader), 0.2)
        await fails(StreamInterrupted, anext(chunks))

    with stalling(chunked(b"first", end=b"")) as server:
        run(main)


def test_a_read_may_be_given_up_and_made_again():
    """Cancelling one read of a stream (a content clock does) loses nothing."""

    def script(peer):
        peer.request()
        peer.send(chunked(b"one", end=b""))
        sleep(0.1)
        peer.send(b"3\r\ntwo\r\n0\r\n\r\n")

    async def main(transport):
        async with transport.stream(get(server)) as (_, chunks):
            assert await anext(chunks) == b"one"
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(anext(chunks), 0.02)
            assert [chunk async for chunk in chunks] == [b"two"]

    with LoopbackServer(script) as server:
        run(main)


@pytest.mark.parametrize("size", [10, 20_000_000])
def test_cancelling_leaves_nothing(size):
    """A cancelled call is cancelled, its connection closed at once, its upload over."""
    gone = Queue()

    def script(peer):
        peer.head()
        gone.put(peer.gone())

    async def main(transport):
        call = asyncio.create_task(transport.send(post(server, bytes(size))))
        await asyncio.sleep(0.05)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert await asyncio.to_thread(gone.get, timeout=2)

    with LoopbackServer(script) as server:
        run(main)


# DNS and TLS


def test_a_certificate_is_for_its_name(server_tls, client_tls):
    """A trusted certificate is refused from a server that was asked for by another name."""

    class Resolver(AbstractResolver):
        async def resolve(self, host, port=0, family=socket.AF_INET):
            name = {"hostname": host, "host": "127.0.0.1", "port": port}
            return [{**name, "family": family, "proto": 0, "flags": 0}]

        async def close(self):
            pass

    async def main(transport):
        connector = aiohttp.TCPConnector(resolver=Resolver())
        async with aiohttp.ClientSession(connector=connector) as session:
            borrowing = AiohttpTransport(session=session, ssl_context=client_tls, trust_env=False)
            url = server.url().replace("127.0.0.1", "api.test")
            await fails(CertificateRefused, borrowing.send(Request("GET", url, {})))
            await borrowing.close()

    with LoopbackServer(replying(reply()), server_tls) as server:
        run(main)
        assert server.received == []


# Proxies


def through(proxy, user=""):
    """Write the URL of a proxy."""
    return proxy.url("").replace("http://", f"http://{user}")


# Errors


@asynccontextmanager
async def broken_by(script, **options):
    """Serve a script, and give the error that a call with a canary in its headers raises."""
    with LoopbackServer(script) as server:
        transport = AiohttpTransport(trust_env=False, **options)
        headers = {"x-api-key": "canary", "authorization": "Bearer canary"}
        limits = Limits(connect=BRIEF, read=BRIEF, max_response=10)
        call = transport.send(post(server, b"x", headers, limits))
        yield await fails(ClaudeError, call)
        await transport.close()


@pytest.mark.parametrize(
    "answer",
    [b"", b"HTTP/1.1 200 OK\r\nCont", reply(b"a", length=2), b"nonsense\r\n\r\n", reply(b"a" * 11)],
)
def test_no_error_shows_a_header(answer):
    """Not even plain strings among the headers show in errors, causes, frames or pickles."""

    def script(peer):
        peer.request()
        peer.send(answer)

    async def main(transport):
        async with broken_by(script) as error:
            assert "canary" not in shows(error)
            assert b"canary" not in pickle.dumps(error)
            assert error.__context__ is None
            cause = error.__cause__
            assert cause is None or isinstance(cause, OSError)
            assert not isinstance(cause, aiohttp.ClientError)

    run(main)


# Rare events


def test_a_host_of_the_callers_own_is_left():
    """A request's own header `host` is sent instead of the URL's."""
    with LoopbackServer(echo) as server:
        run(lambda transport: transport.send(post(server, b"", {"host": "else.where"})))
        assert server.received[0].values("host") == ["else.where"]


def test_headers_are_counted_whether_aiohttp_does_or_not():
    """A head with more headers than allowed is refused even where its parser let it through."""

    async def main(transport):
        async with transport.stream(get(server)) as (_, chunks):
            message = chunks._reply._message
        assert _measured(message, 0, Limits(max_headers=3)) > 0
        with pytest.raises(ResponseTooLarge, match="over 2 headers"):
            _measured(message, 0, Limits(max_headers=2))

    with LoopbackServer(replying(reply(b"x", "a: b", "c: d"))) as server:
        run(main)


def test_a_connection_that_was_lost_at_the_head():
    """Of a reply that turned out to be none before anyone looked, what came is read, not more."""

    async def main(transport):
        pool = await transport.pool()
        to, target = pool.way_to(server.url())
        connection = await pool.connect(to, None, inf)
        connection.protocol.set_response_params(read_until_eof=True)
        connection.transport.write(f"GET {target} HTTP/1.1\r\n\r\n".encode())
        message, content = await connection.protocol.read()
        begun.set()
        while connection.protocol.transport is not None:  # noqa: ASYNC110  # nobody tells
            await asyncio.sleep(0.01)
        reply = OpenReply(connection, connection.protocol, message, content, Limits(), pool, inf)
        assert await reply.chunk() == b"half"
        assert isinstance(await asyncio.wait_for(reply.chunk(), 2.0), StreamInterrupted)
        reply.end()

    def script(peer):
        peer.request()
        peer.send(chunked(b"half", end=b""))
        assert begun.wait(3.0)
        peer.send(b"no chunk\r\n")
        peer.gone()

    begun = threading.Event()
    with LoopbackServer(script) as server:
        run(main)


def test_a_session_is_not_closed_after_its_loop():
    """A caller's connections, on a loop that was closed, are left to the caller."""
    loop = asyncio.new_event_loop()

    async def borrow():
        session = aiohttp.ClientSession()
        transport = AiohttpTransport(session=session)
        await transport.pool()
        return transport, session

    transport, session = loop.run_until_complete(borrow())
    loop.close()
    prune(transport._pools.held)
    assert (transport._pools.held, session.closed) == ({}, False)
    asyncio.run(session.close())


def test_a_socket_that_is_closed_has_hung_up():
    """A socket that is closed, of which nobody was told yet, is of no use and will say nothing."""

    async def main(_):
        _, writer = await asyncio.open_connection(*server._listener.getsockname())
        assert not hung_up(writer.transport)
        writer.transport.abort()
        await asyncio.sleep(0.01)
        assert hung_up(writer.transport)
        assert _unheard(writer.transport) == inf

    with LoopbackServer(echo) as server:
        run(main)


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="there are no such sockets")
def test_a_socket_that_cannot_be_tuned_is_closed():
    """Where the options of TCP are refused, no socket is left open."""
    with pytest.raises(OSError):  # noqa: PT011  # its words are the system's
        tcp_socket(socket.AF_UNIX, socket.SOCK_STREAM, 0)
    gc.collect()  # an open socket would be a warning, which is an error


def test_an_upload_that_breaks_before_anyone_waits():
    """Of a connection that breaks under an upload, whoever waits for a reply later learns it."""

    async def main(transport):
        pool = await transport.pool()
        connection = await pool.connect(pool.way_to(server.url())[0], None, inf)
        upload = Upload(connection.protocol, bytes(20_000_000), 20_000_000, None)
        await asyncio.wait_for(upload.task, 2)
        with pytest.raises(Interrupted) as caught:
            await connection.protocol.read()
        assert type(caught.value.failure) is ConnectionLost
        connection.close()

    def script(peer):
        sleep(0.1)
        peer.reset()

    with LoopbackServer(script) as server:
        run(main)


def test_a_break_after_an_early_answer():
    """An early answer ends its upload; if the connection breaks then, only the reader learns it."""
    begun, broken = threading.Event(), threading.Event()

    def script(peer):
        peer.head()
        peer.send(chunked(b"first", end=b""))
        assert begun.wait(3.0)
        peer.reset()
        broken.set()

    async def main(transport):
        async with transport.stream(post(server, bytes(20_000_000))) as (_, chunks):
            assert await anext(chunks) == b"first"
            await asyncio.sleep(0.05)
            assert asyncio.all_tasks() == {asyncio.current_task()}
            begun.set()
            assert await asyncio.to_thread(broken.wait, 2)
            await asyncio.sleep(0.05)
            await fails(StreamInterrupted, anext(chunks))

    with LoopbackServer(script) as server:
        run(main)


def test_a_source_that_ends_too_early_after_an_answer():
    """Once the server has answered, a fault of the source changes nothing about the answer."""
    half, answered, ended = threading.Event(), threading.Event(), threading.Event()

    class Short:
        size = 8

        def __iter__(self):
            yield b"half"
            half.set()
            assert answered.wait(3.0)
            ended.set()

    def script(peer):
        peer.head()
        assert half.wait(3.0)
        peer.send(chunked(b"first", end=b""))
        assert ended.wait(3.0)
        sleep(0.05)
        peer.send(b"3\r\nall\r\n0\r\n\r\n")

    async def main(transport):
        async with transport.stream(post(server, Short())) as (_, chunks):
            assert await anext(chunks) == b"first"
            answered.set()
            assert await anext(chunks) == b"all"

    with LoopbackServer(script) as server:
        run(main)


def test_silence_ends_a_call_on_any_system(monkeypatch):
    """Where the system does not say when it last heard from a peer, silence has an end, too."""

    async def main(transport):
        monkeypatch.setattr(sys, "platform", "none that is known")
        error = await fails(TimedOut, transport.send(post(server, b"x", limits=Limits(read=BRIEF))))
        assert error.phase == "read"

    with stalling() as server:
        run(main)


CALLERS = ["its own", "the caller's"]


async def held(transport, server, whose):
    """Send a request whose clocks run out while the loop is held, by a connector of either kind."""
    async with aiohttp.ClientSession() as session:
        borrowing = AiohttpTransport(session=session, trust_env=False)
        sending = transport if whose == "its own" else borrowing
        await sending.send(post(server, b"first"))
        limits = Limits(read=0.2, total=0.2)
        call = asyncio.create_task(sending.send(post(server, b"second", limits=limits)))
        await asyncio.sleep(0.1)
        sleep(0.4)  # noqa: ASYNC251  # as others do
        try:
            async with asyncio.timeout(3):
                return await call
        finally:
            await borrowing.close()


@pytest.mark.parametrize("whose", CALLERS)
def test_a_head_that_has_come_is_in_time(whose):
    """What came before the clock ran out, while the loop was held, is read."""

    def script(peer):
        while (got := peer.request()) is not None:
            sleep(0.15 if got.body == b"second" else 0)
            peer.send(reply(got.body))

    async def main(transport):
        assert (await held(transport, server, whose)).body == b"second"

    with LoopbackServer(script) as server:
        run(main)


@pytest.mark.parametrize("whose", CALLERS)
def test_an_interim_head_is_not_the_reply(whose):
    """An interim head that comes as the clock runs out does not stop the clock."""

    def script(peer):
        peer.request()
        peer.send(reply(b"first"))
        peer.request()
        sleep(0.15)
        peer.send(b"HTTP/1.1 102 Processing\r\n\r\n")
        peer.gone()

    async def main(transport):
        with pytest.raises(TimedOut):
            await held(transport, server, whose)

    with LoopbackServer(script) as server:
        run(main)


def test_a_clock_that_breaks_stops_no_other():
    """Of what is late at once, one that fails does not keep the others, or later ones, waiting."""
    told, complaints = [], []

    class Told:
        def time_up(self):
            told.append(self)
            raise KeyError

    async def main(_):
        loop = asyncio.get_running_loop()
        heard = loop.get_exception_handler()
        loop.set_exception_handler(lambda _, context: complaints.append(context["exception"]))
        watch = Watch()
        watch.add(Told(), watch.now() + 0.01)
        watch.add(Told(), watch.now() + 0.2)
        await asyncio.sleep(0.5)
        loop.set_exception_handler(heard)

    run(main)
    assert len(told) == 2
    assert [type(error) for error in complaints] == [KeyError, KeyError]


def test_a_stream_gives_its_connection_back_in_time():
    """At the total limit a reply that came whole, and is not read, lets go of its connection."""

    async def main(_):
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=1)) as session:
            transport = AiohttpTransport(session=session, trust_env=False)
            async with transport.stream(get(server, limits=Limits(total=0.3))) as (_head, chunks):
                other = await transport.send(get(server, limits=Limits(total=3.0)))
                assert other.body == b"whole"
                assert [chunk async for chunk in chunks] == [b"whole"]
            await transport.close()

    with LoopbackServer(replying(reply(b"whole"))) as server:
        run(main)


@pytest.mark.parametrize("error", [asyncio.CancelledError, GeneratorExit])
def test_a_source_that_raises_what_is_no_error(error):
    """A body's source that ends like a cancelled task is an error, and not a call for ever."""

    class Odd:
        size = 5_000_000

        def __iter__(self):
            yield bytes(1000)
            raise error

    async def main(transport):
        await fails(UsageError, transport.send(post(server, Odd())))

    with stalling() as server:
        run(main)


def test_no_frame_holds_the_key():
    """Where a call is cancelled from outside, no variable of a frame has what was written."""

    async def main(transport):
        request = post(server, b"x", headers={"x-api-key": MaskedStr("the" + "-key")})
        with pytest.raises(TimeoutError) as caught:
            async with asyncio.timeout(0.1):
                await transport.send(request)
        shown = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
        text = "".join(shown.format())
        assert "in ask" in text
        assert "the-key" not in text

    with stalling() as server:
        run(main)
