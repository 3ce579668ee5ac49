"""The blocking transport: pooling, forks, TLS, proxies, limits, and what its errors show."""

import gc
import os
import pickle
import select
import signal
import socket
import ssl
import subprocess
import sys
import textwrap
import threading
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from math import inf
from queue import Queue
from time import sleep

import pytest
from certificates import PEM
from each_transport import black_hole, stalling
from timing import Stopwatch

from claude_lite.errors import (
    ConnectionFailed,
    ConnectionLost,
    TimedOut,
    UsageError,
)
from claude_lite.testing.conformance.cases import get, post
from claude_lite.testing.conformance.hiding import exposed
from claude_lite.testing.conformance.loopback import LoopbackServer, reply, replying
from claude_lite.wire import Limits, Request
from claude_lite_transports.shared.dial import Way
from claude_lite_transports.shared.http1 import ReplyParser
from claude_lite_transports.urllib import UrllibTransport
from claude_lite_transports.urllib.idle import Idle, Kept

BRIEF = 0.1


@pytest.fixture
def transport():
    """A transport without proxies, closed at the end."""
    transport = UrllibTransport(trust_env=False)
    yield transport
    transport.close()


@pytest.fixture
def server_tls():
    """The TLS of a server that says it is localhost."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(PEM)
    return context


@pytest.fixture
def trusting():
    """A transport that trusts the certificate of `server_tls`, closed at the end."""
    transport = UrllibTransport(ssl_context=ssl.create_default_context(cafile=PEM), trust_env=False)
    yield transport
    transport.close()


def python(code: str, *args: str) -> str:
    """Run code in an interpreter where warnings are errors; return what it wrote to stderr."""
    done = subprocess.run(  # noqa: S603  # this interpreter, code of our own
        [sys.executable, "-X", "dev", "-W", "error", "-c", textwrap.dedent(code), *args],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
        env={"PYTHONPATH": ":".join(sys.path)},
    )
    return done.stderr + (f"exit status {done.returncode}" if done.returncode else "")


def shows(error: BaseException) -> str:
    """Return all that an error shows, but for the variables of the test that caught it."""
    return "".join(exposed(error.with_traceback(error.__traceback__.tb_next)))


# Connections


def test_64_threads_share_one_transport(transport):
    """64 threads get their own answers, over at most 64 connections, of which 64 are kept."""

    def echo(peer):
        while got := peer.request():
            peer.send(reply(got.target.encode()))

    def ask(number):
        return transport.send(get(server, f"/{number}")).body == f"/{number}".encode()

    with LoopbackServer(echo) as server, ThreadPoolExecutor(64) as threads:
        assert all(threads.map(ask, range(640)))
        assert server.connections <= 64


def test_the_pool_keeps_no_more_than_its_size():
    """Of eight connections used at the same time, two are kept and six are closed."""
    together = threading.Barrier(8)
    closed = Queue()

    def script(peer):
        while peer.request():
            together.wait(2.0)
            peer.send(reply())
        closed.put(peer.number)

    transport = UrllibTransport(trust_env=False, pool_size=2)
    with LoopbackServer(script) as server, ThreadPoolExecutor(8) as threads:
        list(threads.map(transport.send, [get(server)] * 8))
        gone = {closed.get(timeout=2) for _ in range(6)}
        assert len(gone) == 6
        assert closed.empty()
        transport.close()


def test_a_forked_child_makes_its_own_connections():
    """Parent and child use the same transport after a fork, and never the same connection."""
    numbers = []

    def script(peer):
        while got := peer.request():
            numbers.append((got.target, peer.number))
            peer.send(reply(got.target.encode()))

    code = """
        import os, sys
        from claude_lite.wire import Request
        from claude_lite_transports.urllib import UrllibTransport

        def ask(what):
            body = transport.send(Request("GET", sys.argv[1] + what, {})).body
            assert body == what.encode(), body

        transport = UrllibTransport(trust_env=False)
        ask("/before")
        if os.fork() == 0:
            ask("/child")
            transport.close()
            sys.exit()
        os.wait()
        ask("/parent")
    """
    with LoopbackServer(script) as server:
        assert python(code, server.url("")) == ""
    assert numbers == [("/before", 0), ("/child", 1), ("/parent", 0)]


def test_nothing_is_left_open_at_exit():
    """A transport that is never closed gives no warning when the interpreter ends."""
    code = """
        import sys
        from claude_lite.wire import Request
        from claude_lite_transports.urllib import UrllibTransport
        transport = UrllibTransport(trust_env=False)
        transport.send(Request("GET", sys.argv[1], {}))
    """
    with LoopbackServer(replying(reply())) as server:
        assert python(code, server.url()) == ""


def test_importing_it_is_cheap():
    """It imports no more of the core than the boundary, and no HTTP library, urllib's included."""
    code = """
        import sys
        import claude_lite.wire
        before = set(sys.modules)
        from claude_lite_transports.urllib import UrllibTransport
        UrllibTransport()
        after = set(sys.modules) - before
        assert not {"urllib.request", "http.client", "aiohttp"} & after, after
    """
    assert python(code) == ""


def test_it_pickles_its_pool_size():
    """A pickled transport keeps as many connections as the original."""
    assert pickle.loads(pickle.dumps(UrllibTransport(pool_size=3)))._pool_size == 3  # noqa: S301  # made here


# Requests


def test_an_interrupt_in_a_body_source(transport):
    """A Ctrl-C while a source is read comes to the caller, and the connection is closed."""

    class Broken:
        size = 5

        def __iter__(self):
            yield b"abc"
            raise KeyboardInterrupt

    closed = Queue()
    with LoopbackServer(lambda peer: closed.put(peer.request())) as server:
        with pytest.raises(KeyboardInterrupt):
            transport.send(post(server, Broken()))
        assert closed.get(timeout=2) is None


# Proxies


def test_a_proxy_behind_tls_cannot_be_used():
    """A proxy that is spoken to over TLS is refused, without its password being shown."""
    with pytest.raises(UsageError, match="`proxy`") as caught:
        UrllibTransport(proxy="https://me:canary@p")
    assert "canary" not in shows(caught.value)


# Rare events


def test_a_connection_that_takes_nothing_any_more_has_sent_nothing(transport):
    """Where the first write of a request fails, the error says that nothing was sent."""
    over = threading.Event()

    def script(peer):
        peer.request()
        peer.send(reply())
        over.wait(3.0)

    with LoopbackServer(script) as server:
        transport.send(get(server))
        (((sock, *_),),) = transport._idle._stacks.values()
        sock.shutdown(socket.SHUT_WR)
        with pytest.raises(ConnectionFailed, match="before anything was sent"):
            transport.send(get(server))
        over.set()
        assert transport.send(get(server)).status == 200
        assert (len(server.received), server.connections) == (2, 2)


class Waiting:
    """A body whose second half is read when the server has done something."""

    size = 8

    def __init__(self):
        """Hold what both sides wait for."""
        self.half, self.done = threading.Event(), threading.Event()

    def __iter__(self):
        """Yield both halves."""
        yield b"half"
        self.half.set()
        assert self.done.wait(3.0)
        sleep(0.05)
        yield b"half"


def test_a_reset_between_two_pieces_is_connection_lost(transport):
    """A connection that is reset while the source of a body is read is found to be lost."""
    source = Waiting()

    def script(peer):
        peer.head()
        assert source.half.wait(3.0)
        peer.reset()
        source.done.set()

    with LoopbackServer(script) as server:
        with pytest.raises(ConnectionLost):
            transport.send(post(server, source))
        assert server.received == []


def test_a_record_of_tls_that_does_not_get_out_times_out(trusting, server_tls):
    """A write of TLS may wait for the peer; the limit on silence ends that as well."""
    over = threading.Event()

    def script(peer):
        peer.request()
        peer.send(reply())
        peer.head()
        over.wait(3.0)

    with LoopbackServer(script, server_tls) as server:
        server._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        trusting.send(get(server))
        (((sock, *_),),) = trusting._idle._stacks.values()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        watch = Stopwatch()
        with pytest.raises(TimedOut) as caught:
            trusting.send(post(server, bytes(20_000_000), limits=Limits(read=0.5)))
        over.set()
        assert (caught.value.phase, watch.seconds < 0.9) == ("read", True)  # one silence


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="there are no such signals")
def test_an_interrupt_leaves_no_socket_that_connects(transport):
    """Ctrl-C while a connection is being made ends the call, and its socket is closed."""

    def interrupt(*_):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        with black_hole() as (host, port):
            signal.setitimer(signal.ITIMER_REAL, 0.05)
            with pytest.raises(KeyboardInterrupt):
                transport.send(Request("GET", f"http://{host}:{port}/", {}))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)
    gc.collect()  # an open socket would be a warning, which is an error


def test_the_resolvers_word_is_told(transport):
    """A name that the resolver refuses is a failed connection, with what it said of it."""
    host = ".".join(["a" * 63] * 5)  # too long for anyone to be asked
    with pytest.raises(ConnectionFailed, match=r"no address for a+\S+: \w") as caught:
        transport.send(Request("GET", f"http://{host}:9/", {}))
    assert isinstance(caught.value.__cause__, socket.gaierror)


def test_select_does_where_there_is_no_poll(transport, monkeypatch):
    """On a system without `poll`, calls, uploads and refusals of them do the same."""
    monkeypatch.delattr(select, "poll", raising=False)
    body = bytes(1_000_000)
    with LoopbackServer(replying(reply(b"done"))) as server:
        for _ in range(2):
            assert transport.send(post(server, body)).body == b"done"
        assert server.connections == 1
    with stalling() as server, pytest.raises(TimedOut):
        transport.send(post(server, bytes(20_000_000), limits=Limits(read=BRIEF)))


def test_connections_of_another_process_are_closed_only_at_the_end():
    """`close` leaves alone what was idle at a fork; `end` closes the copy of it."""
    way = Way("http", "127.0.0.1", 9)
    idle = Idle(8, 60.0)
    ours, inherited = socket.socket(), socket.socket()
    idle.keep(way, ours, ReplyParser("GET"), 1, idle.epoch)
    idle._stacks[os.getppid(), way] = deque([Kept(inherited, 0.0, inf, 1)])
    idle.close()
    assert (ours.fileno(), inherited.fileno() >= 0) == (-1, True)
    assert idle.take(way) is None
    idle.end()
    assert inherited.fileno() == -1


def test_tickets_of_tls_are_no_answer(trusting, server_tls):
    """What TLS itself has to say in the middle of an upload does not end it."""
    source = Waiting()

    def script(peer):
        head = peer.head()
        assert source.half.wait(3.0)
        source.done.set()
        peer.body(head)
        peer.send(reply(b"done"))

    with LoopbackServer(script, server_tls) as server:
        assert trusting.send(post(server, source)).body == b"done"
        assert server.received[0].body == b"halfhalf"


def test_a_refusal_is_read_where_the_rest_cannot_be_sent(transport):
    """Where a later write of a request fails, the reply that says why is waited for."""

    def script(peer):
        peer.request()
        peer.send(reply())
        head = peer.head()
        assert peer.body(head) is None  # it ends in the middle
        sleep(0.1)
        peer.send(reply(b"half", status="400 Bad Request"))

    class Cut:
        size = 8

        def __iter__(self):
            yield b"half"
            sock.shutdown(socket.SHUT_WR)
            yield b"half"

    with LoopbackServer(script) as server:
        transport.send(get(server))
        (((sock, *_),),) = transport._idle._stacks.values()
        response = transport.send(post(server, Cut()))
        assert (response.status, response.body) == (400, b"half")
        assert server.connections == 1
