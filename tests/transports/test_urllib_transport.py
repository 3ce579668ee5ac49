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
from contextlib import contextmanager
from math import inf
from queue import Queue
from time import sleep

import pytest
from places import PEM
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
from claude_lite.testing.conformance.cases import get, post
from claude_lite.testing.conformance.hiding import exposed
from claude_lite.testing.conformance.loopback import LoopbackServer, chunked, reply, replying
from claude_lite.wire import Limits, MaskedStr, Request, Transport
from claude_lite_transports.shared.dial import Way
from claude_lite_transports.urllib import UrllibTransport
from claude_lite_transports.urllib.idle import Idle

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


@contextmanager
def stalling(answer: bytes = b""):
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


@contextmanager
def black_hole():
    """Give the address of a listener that accepts nothing more: connecting to it never ends."""
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


# Connections


def test_it_is_a_transport():
    """It has the methods of the protocol, and needs no arguments."""
    assert isinstance(UrllibTransport(), Transport)


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


def test_the_newest_idle_connection_is_used_first(transport):
    """The pool is a stack, so that connections that are not needed grow old."""
    numbers = []

    def script(peer):
        while peer.request():
            numbers.append(peer.number)
            peer.send(chunked(b"a"))

    with LoopbackServer(script) as server:
        with transport.stream(get(server)), transport.stream(get(server)) as (_, second):
            pass
        with (
            transport.stream(get(server)) as (_, first),
            transport.stream(get(server)) as (_, second),
        ):
            list(first)
            list(second)
        transport.send(get(server))
        transport.send(get(server))
    assert numbers == [0, 1, 2, 3, 3, 3]


def test_old_connections_are_not_used():
    """An idle connection is not used for longer than `keepalive` seconds."""
    transport = UrllibTransport(trust_env=False, keepalive_timeout=0.0)
    with LoopbackServer(replying(reply())) as server:
        transport.send(get(server))
        transport.send(get(server))
        assert server.connections == 2
        transport.close()


def test_connections_are_tuned(transport):
    """Small writes go out at once, and a dead peer is found out by TCP keep-alive."""
    with LoopbackServer(replying(reply())) as server:
        transport.send(get(server))
        ((sock, _),) = next(iter(transport._idle._stacks.values()))
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        for option, value in (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 60), ("TCP_KEEPCNT", 5)):
            if hasattr(socket, option):
                assert sock.getsockopt(socket.IPPROTO_TCP, getattr(socket, option)) == value


def test_a_small_request_is_one_write(transport):
    """Head and body of a small request arrive in one piece."""
    sizes = Queue()

    def script(peer):
        sizes.put(len(peer._sock.recv(65536)))
        peer.send(reply())

    with LoopbackServer(script) as server:
        transport.send(post(server, b"x" * 1000))
    assert sizes.get() > 1000


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


def test_a_forgotten_transport_closes_its_connections():
    """When the last reference to a transport goes, its idle connections do."""
    closed = Queue()

    def script(peer):
        while peer.request():
            peer.send(reply())
        closed.put(peer.number)

    with LoopbackServer(script) as server:
        UrllibTransport(trust_env=False).send(get(server))
        gc.collect()
        assert closed.get(timeout=2) == 0


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


def test_it_pickles_its_options():
    """A pickled transport has the options of the original, and no connection."""
    with LoopbackServer(replying(reply())) as server:
        transport = UrllibTransport(pool_size=3, keepalive_timeout=7.0, trust_env=False)
        transport.send(get(server))
        twin = pickle.loads(pickle.dumps(transport))  # noqa: S301  # made here
        transport.close()
    assert twin._options == transport._options
    assert (twin._pool_size, twin._options.keepalive_timeout) == (3, 7.0)
    assert not twin._idle._stacks


def test_what_cannot_be_pickled_is_refused():
    """Neither a password nor a TLS context gets into a pickle."""
    with pytest.raises(TypeError):
        pickle.dumps(UrllibTransport(proxy="http://u:canary@p:1"))
    with pytest.raises(TypeError):
        pickle.dumps(UrllibTransport(ssl_context=ssl.create_default_context()))


# Requests


@pytest.mark.parametrize(
    ("url", "target"), [("", "/"), ("?a=1", "/?a=1"), ("/p?q#part", "/p?q"), ("/a//b", "/a//b")]
)
def test_targets(transport, url, target):
    """An empty path is "/", and a fragment is not sent."""
    with LoopbackServer(replying(reply())) as server:
        transport.send(Request("GET", server.url(url), {}))
        assert server.received[0].target == target


@pytest.mark.parametrize(
    "url",
    [
        "ftp://127.0.0.1/",
        "http:///path",
        "http://127.0.0.1:99999/",
        "http://127.0.0.1:0/",
        "http://user:canary@127.0.0.1/",
        "http://127.0.0.1/a b",
        "http://127.0.0.1/\r\nx: y",
        "http://127.0.0.1\r\n/",
        "http://127.0.0.1/\u00e9",
        "",
    ],
)
def test_urls_that_cannot_be_used(transport, url):
    """A URL that is not encoded, or has no usable origin, is refused; it is not shown."""
    with pytest.raises(UsageError) as caught:
        transport.send(Request("GET", url, {}))
    assert "canary" not in str(caught.value)


def test_a_body_source_must_have_its_size(transport):
    """A source that yields less or more than its size is refused, and the connection closed."""

    class Source(list):
        size = 5

    class Broken(Source):
        def __iter__(self):
            yield b"abc"
            raise KeyboardInterrupt

    closed = Queue()
    with LoopbackServer(lambda peer: closed.put(peer.request())) as server:
        for source, error in (
            (Source([b"abcd"]), UsageError),
            (Source([b"abc", b"def"]), UsageError),
            (Broken(), KeyboardInterrupt),
        ):
            with pytest.raises(error):
                transport.send(post(server, source))
            assert closed.get(timeout=2) is None


def test_a_refusal_gets_through_a_reset(transport):
    """An answer that comes before a large body is sent is delivered, even if a reset follows."""

    def refuse(peer):
        peer.head()
        peer.send(reply(b"too large", status="413 Too Large"))

    with LoopbackServer(refuse) as server:
        for _ in range(10):
            response = transport.send(post(server, bytes(10_000_000)))
            assert (response.status, response.body) == (413, b"too large")


def test_a_refusal_is_seen_while_the_server_reads_nothing(transport):
    """A server that answers, stops reading and keeps the connection does not stall the upload."""
    with stalling(reply(b"", status="413 Too Large")) as server:
        watch = Stopwatch()
        response = transport.send(post(server, bytes(20_000_000)))
        assert (response.status, watch.seconds < 0.4) == (413, True)


def test_an_interim_response_does_not_end_an_upload(transport):
    """100 (Continue) in the middle of a large body is passed over."""

    def script(peer):
        head = peer.head()
        peer.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        peer.body(head)
        peer.send(reply(b"done"))

    with LoopbackServer(script) as server:
        body = bytes(10_000_000)
        assert transport.send(post(server, body)).body == b"done"
        assert server.received[0].body == body


@pytest.mark.parametrize(
    ("limits", "phase"),
    [(Limits(read=BRIEF), "read"), (Limits(read=9.0, total=BRIEF), "total")],
)
def test_a_stalled_upload_times_out(transport, limits, phase):
    """The clocks run while a body is sent, too."""
    with stalling() as server:
        watch = Stopwatch()
        with pytest.raises(TimedOut) as caught:
            transport.send(post(server, bytes(20_000_000), limits=limits))
        assert (caught.value.phase, watch.seconds < BRIEF + 0.5) == (phase, True)


def test_a_lost_upload_is_connection_lost(transport):
    """A connection that breaks in the middle of a body, without an answer, is lost."""
    with LoopbackServer(lambda peer: peer.head()) as server, pytest.raises(ConnectionLost):
        transport.send(post(server, bytes(20_000_000)))


def test_a_stream_that_was_left_cannot_be_read(transport):
    """The chunks of a stream end with an error, not in silence, once the context was left."""
    with LoopbackServer(replying(chunked(bytes(100), end=b""))) as server:
        with transport.stream(get(server)) as (_, chunks):
            assert next(chunks) == bytes(100)
        with pytest.raises(StreamInterrupted):
            next(chunks)


def test_errors_name_the_response_that_broke(transport):
    """Once the head has come, errors carry its status and request id."""
    with LoopbackServer(replying(reply(b"half", "Request-Id: req_1", length=8))) as server:
        for limits in (Limits(read=BRIEF), Limits(max_response=5)):
            with pytest.raises(ClaudeError) as caught:
                transport.send(get(server, limits=limits))
            assert (caught.value.status, caught.value.request_id) == (200, "req_1")


def test_no_time_is_no_connection(transport):
    """A total limit that is over before it began ends the call before anything is sent."""
    with LoopbackServer(replying(reply())) as server:
        with pytest.raises(ConnectTimedOut) as caught:
            transport.send(get(server, limits=Limits(total=0.0)))
        assert (caught.value.phase, server.connections) == ("total", 0)


# DNS and TLS


@pytest.mark.parametrize("host", ["a" * 64 + ".test", "a..test"])
def test_no_address_is_connection_failed(transport, host):
    """A host that has no address, or cannot be one, is a failed connection."""
    with pytest.raises(ConnectionFailed):
        transport.send(Request("GET", f"http://{host}:9/", {}, limits=Limits(connect=BRIEF)))


def test_every_address_is_tried(transport):
    """Where `localhost` is ::1 first, the server on 127.0.0.1 is reached all the same."""
    with LoopbackServer(replying(reply(b"here"))) as server:
        url = server.url().replace("127.0.0.1", "localhost")
        assert transport.send(Request("GET", url, {})).body == b"here"


def test_tls_connections_are_used_again(trusting, server_tls):
    """Over TLS all is as without: large bodies both ways, streams, and one connection."""
    body = bytes(range(256)) * 8000
    with LoopbackServer(replying(reply(body), chunked(body)), server_tls) as server:
        for _ in range(2):
            assert trusting.send(post(server, body)).body == body
        with trusting.stream(get(server)) as (_, chunks):
            assert b"".join(chunks) == body
        assert [got.body == body for got in server.received] == [True, True, False]
        assert server.connections == 1


def test_a_refusal_gets_through_tls(trusting, server_tls):
    """An early answer is delivered over TLS, where a socket is readable for other reasons, too."""

    def refuse(peer):
        peer.head()
        peer.send(reply(b"too large", status="413 Too Large"))
        peer.gone()

    with LoopbackServer(refuse, server_tls) as server:
        assert trusting.send(post(server, bytes(20_000_000))).body == b"too large"


def test_an_unknown_certificate_is_refused(transport, server_tls):
    """Without trust in its certificate, a server gets nothing, and it is not a passing failure."""
    with LoopbackServer(replying(reply()), server_tls) as server:
        for _ in range(2):
            with pytest.raises(CertificateRefused) as caught:
                transport.send(get(server))
        assert "self" in str(caught.value)
        assert server.received == []


def test_a_certificate_is_for_its_name(trusting, server_tls):
    """A trusted certificate is refused from a server that was asked for by another name."""
    with LoopbackServer(replying(reply()), server_tls) as server:
        url = server.url().replace("127.0.0.1", "127.1")  # the same address to the resolver
        with pytest.raises(CertificateRefused):
            trusting.send(Request("GET", url, {}))


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


def through(proxy: LoopbackServer, user: str = "") -> str:
    """Write the URL of a proxy."""
    return proxy.url("").replace("http://", f"http://{user}")


def test_an_http_proxy_gets_the_whole_url():
    """Without TLS the proxy is asked for the URL, and given the credentials in its own."""
    url = "http://api.test/v1/models?x=%2F"
    with LoopbackServer(replying(reply(b"proxied"))) as proxy:
        transport = UrllibTransport(proxy=through(proxy, "me:p%40ss@"))
        for _ in range(2):
            assert transport.send(Request("GET", url, {})).body == b"proxied"
        transport.close()
        got = proxy.received[0]
        assert (got.target, got.values("host")) == (url, ["api.test"])
        assert got.values("proxy-authorization") == ["Basic bWU6cEBzcw=="]
        assert proxy.connections == 1


def test_tls_goes_through_a_tunnel(server_tls):
    """With TLS the proxy opens a tunnel, and sees nothing of what is sent through it."""
    asked = []

    def tunnel(peer):
        asked.append(peer.head())
        peer.send(b"HTTP/1.1 200 Connection established\r\n\r\n")
        relay(peer._sock, server)

    context = ssl.create_default_context(cafile=PEM)
    with LoopbackServer(replying(reply(b"safe")), server_tls) as server:
        with LoopbackServer(tunnel) as proxy:
            transport = UrllibTransport(ssl_context=context, proxy=through(proxy, "me:p%40ss@"))
            for _ in range(2):
                assert transport.send(post(server)).body == b"safe"
            transport.close()
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
        (b"HTTP/1.1 200 OK\r\n\r\nnot TLS at all", ConnectionFailed),
        (None, ConnectTimedOut),
    ],
)
def test_no_tunnel_is_no_connection(answer, error):
    """Whatever a proxy does instead of opening a tunnel, nothing was sent; no secret shows."""

    def refuse(peer):
        peer.head()
        if answer is None:
            peer.gone()
        else:
            peer.send(answer)
            peer.finish()
            peer.gone()

    with LoopbackServer(refuse) as proxy:
        transport = UrllibTransport(proxy=through(proxy, "me:canary@"))
        headers = {"x-api-key": MaskedStr("canary")}
        limits = Limits(connect=BRIEF)
        with pytest.raises(error) as caught:
            transport.send(Request("GET", "https://api.test/", headers, limits=limits))
        shown = shows(caught.value) + repr(transport)
        assert "canary" not in shown
        assert "bWU6Y2FuYXJ5" not in shown


@pytest.mark.parametrize("proxy", ["socks5://me:canary@p:1", "https://me:canary@p", "http://a b"])
def test_proxies_that_cannot_be_used(proxy):
    """A proxy of another kind is refused, without its password being shown."""
    with pytest.raises(UsageError, match="`proxy`") as caught:
        UrllibTransport(proxy=proxy)
    assert "canary" not in shows(caught.value)


def test_proxies_come_from_the_environment(monkeypatch):
    """By default the variables that urllib knows are obeyed, `no_proxy` included."""
    for name in ("http_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name.upper(), raising=False)
    with (
        LoopbackServer(replying(reply(b"proxied"))) as proxy,
        LoopbackServer(replying(reply(b"direct"))) as server,
    ):
        monkeypatch.setenv("http_proxy", proxy.url(""))
        for bypass, expected in (("", b"proxied"), ("localhost,127.0.0.1", b"direct")):
            monkeypatch.setenv("no_proxy", bypass)
            transport = UrllibTransport()
            assert transport.send(get(server)).body == expected
            transport.close()


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
        (((sock, _),),) = transport._idle._stacks.values()
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
        (((sock, _),),) = trusting._idle._stacks.values()
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
    idle.keep(way, ours)
    idle._stacks[os.getppid(), way] = deque([(inherited, inf)])
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
        (((sock, _),),) = transport._idle._stacks.values()
        response = transport.send(post(server, Cut()))
        assert (response.status, response.body) == (400, b"half")
        assert server.connections == 1
