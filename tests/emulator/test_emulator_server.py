"""The emulator on a port: HTTP/1.1 over real sockets, and faults acted out on them."""

import asyncio
import http.client
import itertools
import re
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from urllib.parse import urlsplit

import aiohttp
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from claude_lite.emulator import Emulator, Reply, message_hash
from claude_lite.emulator.serving import emulator_server, serve
from claude_lite.emulator.serving.http1 import BadRequest, RequestReader
from claude_lite.wire import Response

HEADERS = {"x-api-key": "canary", "anthropic-version": "2023-06-01"}


def params(prompt="Hello", **more):
    """Make the body of a message."""
    body = {
        "model": "claude-sonnet-5-5",
        "max_tokens": 1024,
        "messages": [{"role": "user", "content": prompt}],
        **more,
    }
    return orjson.dumps(body)


def echo(prompt):
    """Say what the answer to a prompt has to contain, in one piece even if it is streamed."""
    return message_hash([{"role": "user", "content": prompt}]).encode()


def faulty(**do):
    """Make an emulator that strikes every request."""
    return Emulator(faults=[{"on": {}, "do": do}])


@contextmanager
def connection(url):
    """Open an HTTP connection."""
    opened = http.client.HTTPConnection(urlsplit(url).netloc, timeout=5)
    try:
        yield opened
    finally:
        opened.close()


@contextmanager
def wire(url):
    """Open a plain socket."""
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname, parts.port), timeout=5) as sock:
        yield sock


def post(url, body, path="/v1/messages"):
    """Send a body on a connection of its own; return status, headers and body."""
    with connection(url) as opened:
        opened.request("POST", path, body, HEADERS)
        response = opened.getresponse()
        return response.status, response.headers, response.read()


def raw(body, *lines, start="POST /v1/messages HTTP/1.1"):
    """Write a request by hand."""
    fields = [f"{name}: {value}" for name, value in HEADERS.items()]
    return "\r\n".join([start, "host: localhost", *fields, *lines, "", ""]).encode() + body


def until_closed(sock):
    """Read a socket to its end."""
    received = b""
    while piece := sock.recv(65536):
        received += piece
    return received


def until(condition):
    """Wait for what another thread does."""
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_a_message_over_a_socket_is_the_emulators():
    """The body is byte for byte what `handle` gives, and the headers are there."""
    with emulator_server(Emulator(3)) as url:
        status, headers, body = post(url, params())
    with emulator_server(Emulator(3)) as url:
        again = post(url, params())[2]
    assert (status, body) == (200, again)
    assert headers["request-id"].startswith("req_01")
    assert headers["content-length"] == str(len(body))


def test_a_connection_serves_many_requests():
    """Keep-alive holds over answers and errors alike."""
    with emulator_server() as url, connection(url) as opened:
        seen = []
        for body in (params(), b"{", params()):
            opened.request("POST", "/v1/messages", body, HEADERS)
            response = opened.getresponse()
            response.read()
            seen.append((response.status, opened.sock.getsockname()))
    assert [status for status, _ in seen] == [200, 400, 200]
    assert len({name for _, name in seen}) == 1


def test_a_stream_is_chunked_event_by_event():
    """Each event is an HTTP chunk of its own, and the connection lives on."""
    with emulator_server() as url, connection(url) as opened:
        opened.request("POST", "/v1/messages", params(stream=True), HEADERS)
        response = opened.getresponse()
        assert response.headers["transfer-encoding"] == "chunked"
        first = response.read1()
        rest = response.read()
        assert first.startswith(b"event: message_start")
        assert rest.endswith(b'event: message_stop\ndata: {"type":"message_stop"}\n\n')
        opened.request("GET", "/v1/nothing", headers=HEADERS)
        assert opened.getresponse().status == 404


def test_events_arrive_as_they_are_told():
    """With a pace, the first event is there long before the last."""
    with emulator_server(Emulator(tokens_per_second=400)) as url, connection(url) as opened:
        opened.request("POST", "/v1/messages", params("[[tokens:60]]", stream=True), HEADERS)
        response = opened.getresponse()
        response.read1()
        began = time.monotonic()
        response.read()
    assert time.monotonic() - began > 0.1


@pytest.mark.parametrize("stream", [False, True])
def test_pipelined_requests_are_answered_in_order(stream):
    """Requests that arrive together get their answers one after the other."""
    requests = [
        raw(body, f"content-length: {len(body)}", *last)
        for body, last in (
            (params("one", stream=stream), ()),
            (params("two", stream=stream), ()),
            (params("three"), ("connection: close",)),
        )
    ]
    with emulator_server() as url, wire(url) as sock:
        sock.sendall(b"".join(requests))
        received = until_closed(sock)
    places = [received.index(echo(prompt)) for prompt in ("one", "two", "three")]
    assert places == sorted(places)
    assert received.count(b"HTTP/1.1 200 OK") == 3


def test_a_body_may_come_in_chunks():
    """A chunked request is as good as one with a length."""
    body = params()
    chunks = b"".join(b"%x;ext=1\r\n%b\r\n" % (len(p), p) for p in (body[:10], body[10:]))
    message = raw(
        chunks + b"0\r\ntrailer: x\r\n\r\n", "transfer-encoding: chunked", "connection: close"
    )
    with emulator_server() as url, wire(url) as sock:
        sock.sendall(message)
        assert until_closed(sock).startswith(b"HTTP/1.1 200 OK")


def test_an_expectation_is_met():
    """Who asks whether to continue is told to."""
    body = params()
    head = raw(b"", f"content-length: {len(body)}", "expect: 100-continue", "connection: close")
    with emulator_server() as url, wire(url) as sock:
        sock.sendall(head)
        assert sock.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        sock.sendall(body)
        assert until_closed(sock).startswith(b"HTTP/1.1 200 OK")


def test_http_1_0_gets_no_chunks():
    """An old client reads a stream to the end of the connection."""
    body = params(stream=True)
    message = raw(body, f"content-length: {len(body)}", start="POST /v1/messages HTTP/1.0")
    with emulator_server() as url, wire(url) as sock:
        sock.sendall(message)
        received = until_closed(sock)
    assert b"chunked" not in received
    assert received.endswith(b'{"type":"message_stop"}\n\n')


START = b"POST / HTTP/1.1\r\nhost: localhost\r\n"
CHUNKED = b"transfer-encoding: chunked\r\n"
FRAMINGS = [
    *(b"content-length: %b\r\n\r\n" % n for n in (b"+5", b"5_0", b"0x5", b"", b"5, 5", b"9" * 20)),
    b"content-length: 5\r\ncontent-length: 5\r\n\r\n",
    b"content-length : 5\r\n\r\n",
    b"content-length: 5\r\n" + CHUNKED + b"\r\n",
    CHUNKED + CHUNKED + b"\r\n",
    *(b"transfer-encoding: %b\r\n\r\n" % n for n in (b"xchunked", b"chunked, gzip", b"gzip", b"")),
    b"a: 1\r\n b: 2\r\n\r\n",
    b"a: 1\n\r\n",
    b"a: 1\rb: 2\r\n\r\n",
    b"a: \0\r\n\r\n",
    b"a b: 1\r\n\r\n",
    *(
        CHUNKED + b"\r\n" + size + b"\r\nhello\r\n"
        for size in (b"0x5", b"+5", b"-5", b" 5", b"5_0", b"")
    ),
    CHUNKED + b"\r\n" + b"F" * 20 + b"\r\n",
    CHUNKED + b"\r\n5\nhello\r\n",
    CHUNKED + b"\r\n0\r\n" + b"a: 1\r\n" * 200,
]


@pytest.mark.parametrize(
    "nonsense",
    [
        b"hello\r\n\r\n",
        b"GET / HTTP/2.0\r\n\r\n",
        b"GET / HTTP/1.1\r\nbad\r\n\r\n",
        b"POST / HTTP/1.1\r\ncontent-length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nx\r\n",
        b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n1\r\nab\r\n",
        b"GET /" + b"x" * 70_000,
        *(START + rest for rest in FRAMINGS),
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: localhost\r\nhost: localhost\r\n\r\n",
        b"GET / HTTP/1.1\nhost: localhost\n\n",
        b"GET  / HTTP/1.1\r\nhost: localhost\r\n\r\n",
        b"GET http://localhost/ HTTP/1.1\r\nhost: localhost\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nhost: localhost\r\n\r\n",
        b"POST / HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    ],
)
def test_what_is_not_http_is_refused(nonsense):
    """It gets a 400 and the end of the connection."""
    with emulator_server() as url, wire(url) as sock:
        sock.sendall(nonsense)
        assert until_closed(sock).startswith(b"HTTP/1.1 400 Bad Request")


@pytest.mark.parametrize(
    ("host", "status"),
    [
        *((name, 401) for name in ("localhost", "LOCALHOST:80", "127.0.0.1:1", "127.9.9.9")),
        *((name, 401) for name in ("[::1]", "[::1]:8080", "claude.localhost:80")),
        *((name, 403) for name in ("evil.test", "evil.test:80", "localhost.evil.test", "")),
        *((name, 403) for name in ("localhost@evil.test", "127.0.0.1.evil.test", "10.0.0.1")),
    ],
)
def test_only_names_of_this_machine_are_answered(host, status):
    """A page of the web cannot reach the server by a name of its own (DNS rebinding)."""
    text = f"POST /v1/messages HTTP/1.1\r\nhost: {host}\r\ncontent-length: 2\r\n\r\n{{}}"
    emulator = Emulator()
    with emulator_server(emulator) as url, wire(url) as sock:
        sock.sendall(text.replace("\r\n\r\n", "\r\nconnection: close\r\n\r\n").encode())
        head = until_closed(sock).partition(b"\r\n")[0]
    # 401: the request reached the API, which misses a key.
    assert head.startswith(b"HTTP/1.1 403 Forbidden" if status == 403 else b"HTTP/1.1 401 ")
    assert emulator.requests.total == (status != 403)


def test_an_address_of_this_machine_is_known_in_any_form():
    """The server that listens on 127.1 answers names of this machine, and no other name."""
    for host, status in (("127.1", b"401"), ("localhost:80", b"401"), ("evil.test", b"403")):
        with emulator_server(host="127.1") as url, wire(url) as sock:
            head = f"GET /v1/models HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n"
            sock.sendall(head.encode())
            assert until_closed(sock).split(b" ")[1] == status


def test_any_name_is_answered_on_another_host():
    """A server that listens on more than this machine has names of its own."""
    with emulator_server(host="0.0.0.0") as url, wire(url) as sock:  # noqa: S104  # what is tested
        sock.sendall(b"GET / HTTP/1.1\r\nhost: emulator\r\nconnection: close\r\n\r\n")
        assert until_closed(sock).startswith(b"HTTP/1.1 404 ")


def test_requests_ahead_are_bounded():
    """A client that sends on and on, and does not read, is not read any more."""
    body = params()
    request = raw(body, f"content-length: {len(body)}")
    with emulator_server(Emulator(latency=60)) as url, wire(url) as sock:
        assert flood(sock, request) < 16 * 1024 * 1024
    with emulator_server() as url, wire(url) as sock:
        assert flood(sock, request) < 32 * 1024 * 1024


def flood(sock, request):
    """Send requests until the other side takes no more; return the number of bytes."""
    sock.settimeout(0.5)
    block, sent = request * 200, 0
    try:
        while sent < 64 * 1024 * 1024:
            sent += sock.send(block)
    except TimeoutError:
        pass
    return sent


def test_a_server_logs_each_request():
    """A line has method, path, status, time and request id; the query and the key stay out."""
    lines = []

    async def main():
        async with serve(log=lines.append) as url:
            for path in ("/v1/models?limit=1&secret=x", "/nowhere"):
                await asyncio.to_thread(get, url, path)
            body = params(stream=True)
            await asyncio.to_thread(post, url, body)

    asyncio.run(main())
    patterns = [r"GET /v1/models 200", r"GET /nowhere 404", r"POST /v1/messages 200"]
    assert len(lines) == 3
    for line, start in zip(lines, patterns, strict=True):
        assert re.fullmatch(start + r" \d+\.\d ms req_\w+", line)
    assert HEADERS["x-api-key"] not in "".join(lines)


def get(url, path):
    """Send a GET on a connection of its own."""
    with connection(url) as opened:
        opened.request("GET", path, headers=HEADERS)
        opened.getresponse().read()


@given(st.lists(st.integers(0, 400), max_size=20))
def test_requests_are_read_whatever_way_they_are_cut(cuts):
    """Any pieces of the same bytes are the same requests."""
    whole = (
        raw(b"hello", "content-length: 5")
        + raw(b"2\r\nab\r\n1\r\nc\r\n0\r\n\r\n", "transfer-encoding: chunked")
        + raw(b"")
    )
    edges = sorted({0, len(whole), *(min(cut, len(whole)) for cut in cuts)})
    reader = RequestReader(100)
    bodies = []
    for start, stop in itertools.pairwise(edges):
        reader.receive(whole[start:stop])
        while (received := reader.next()) is not None:
            bodies.append(received.body)
    assert bodies == [b"hello", b"abc", b""]


@pytest.mark.parametrize("chunked", [False, True])
def test_a_reader_keeps_no_more_than_it_needs(chunked):
    """Of a body that is too large one byte too many is kept, and the next request is read."""
    body = b"%x\r\n%b\r\n" % (40, b"x" * 40) * 3 + b"0\r\n\r\n" if chunked else b"x" * 120
    line = "transfer-encoding: chunked" if chunked else "content-length: 120"
    reader = RequestReader(50)
    reader.receive(raw(body, line) + raw(b"ok", "content-length: 2"))
    assert (reader.next().body, reader.next().body) == (b"x" * 51, b"ok")


def test_a_bad_request_is_an_error_of_its_own():
    """The reader raises; what is sent then is the connection's business."""
    reader = RequestReader(1)
    reader.receive(b"\r\n\r\n")
    with pytest.raises(BadRequest):
        reader.next()


def test_a_large_body_is_taken_and_a_larger_one_refused():
    """32 MB pass; beyond, the whole of it is read and a 413 is the answer."""
    body = params()
    padded = body + b" " * (32 * 1024 * 1024 - len(body))
    with emulator_server() as url:
        assert post(url, padded)[0] == 200
        status, _, answer = post(url, padded + b" " * 1024 * 1024 * 4)
        assert (status, orjson.loads(answer)["error"]["type"]) == (413, "request_too_large")


@pytest.mark.parametrize("how", ["reset", "refuse"])
def test_a_reset_before_the_head_leaves_nothing(how):
    """The socket is torn down without a byte."""
    with emulator_server(faulty(fault=how)) as url, wire(url) as sock:
        body = params()
        sock.sendall(raw(body, f"content-length: {len(body)}"))
        with pytest.raises(ConnectionResetError):
            sock.recv(100)


def test_a_reset_in_the_body_comes_after_what_was_sent():
    """All bytes up to the place arrive, then the reset."""
    body = params("[[tokens:500]]", stream=True)
    received = b""
    with emulator_server(faulty(fault="reset", after_events=20)) as url, wire(url) as sock:
        sock.sendall(raw(body, f"content-length: {len(body)}"))
        with pytest.raises(ConnectionResetError):  # noqa: PT012  # it is raised at some recv
            while piece := sock.recv(100):
                received += piece
    assert received.count(b"event: ") == 20
    assert received.endswith(b"\n\n\r\n")


@pytest.mark.parametrize("stream", [False, True])
def test_a_close_in_the_body_leaves_it_unfinished(stream):
    """The connection ends in order, the body does not."""
    with emulator_server(faulty(fault="close", after_bytes=50)) as url, connection(url) as opened:
        opened.request("POST", "/v1/messages", params(stream=stream), HEADERS)
        with pytest.raises(http.client.IncompleteRead):
            opened.getresponse().read()


@pytest.mark.parametrize("stream", [False, True])
def test_a_truncated_body_is_well_formed(stream):
    """HTTP says that all is well; only the content is not whole."""
    with emulator_server(faulty(fault="truncate", after_bytes=7)) as url:
        status, _, body = post(url, params(stream=stream))
    assert (status, body) == (200, b"event: " if stream else b'{"id":"')


def test_a_stall_is_silence_on_an_open_connection():
    """What comes before it arrives, and then nothing; the disconnect is seen."""
    emulator = faulty(fault="stall", after_events=1)
    body = params(stream=True)
    with emulator_server(emulator) as url, wire(url) as sock:
        sock.sendall(raw(body, f"content-length: {len(body)}"))
        sock.settimeout(0.1)
        received = b""
        with pytest.raises(TimeoutError):  # noqa: PT012  # it is raised at some recv
            while piece := sock.recv(4096):
                received += piece
        assert received.count(b"event: ") == 1
        assert (emulator.in_flight, emulator.disconnects) == (1, 0)
        sock.close()
        until(lambda: emulator.disconnects == 1)
    assert emulator.in_flight == 0


def test_slow_bytes_take_their_time():
    """A trickle takes as long as its size by its rate."""
    began = time.monotonic()
    with emulator_server(faulty(fault="slow", bytes_per_second=6000, chunk=64)) as url:
        status, _, body = post(url, params())
    assert status == 200
    assert time.monotonic() - began >= 0.9 * len(body) / 6000


def test_a_fault_may_have_headers_and_any_body():
    """A proxy's page comes as a proxy would send it."""
    page = {"fault": "status", "status": 502, "body": "<html>", "headers": {"server": "proxy"}}
    with emulator_server(faulty(**page)) as url:
        status, headers, body = post(url, params())
    assert (status, headers["server"], body) == (502, "proxy", b"<html>")
    assert headers["request-id"] is None


def test_a_client_that_leaves_a_stream_is_seen():
    """A disconnect in the middle of a long stream ends it."""
    emulator = Emulator(tokens_per_second=1000)
    body = params("[[tokens:10000]]", stream=True, max_tokens=20000)
    with emulator_server(emulator) as url:
        with wire(url) as sock:
            sock.sendall(raw(body, f"content-length: {len(body)}"))
            assert sock.recv(100)
            assert emulator.in_flight == 1
        until(lambda: emulator.disconnects == 1)
        assert emulator.in_flight == 0


class Firehose(Emulator):
    """An emulator whose every reply is 200 MB, and which knows how much was taken of it."""

    taken = 0

    def reply(self, request):
        """Stream zeros."""
        del request

        def chunks():
            for _ in range(200):
                self.taken += 1
                yield bytes(1_000_000)

        return Reply(Response(200, {}), chunks(), size=None)


def test_a_reader_that_is_slow_holds_the_stream_back():
    """The server does not pile up what the client does not read, and goes on when it does."""
    emulator = Firehose()
    with emulator_server(emulator) as url, wire(url) as sock:
        sock.sendall(raw(b"", start="GET / HTTP/1.0"))
        until(lambda: emulator.taken)
        time.sleep(0.2)
        assert emulator.taken < 50
        size = 0
        while size < 60_000_000:
            size += len(sock.recv(1_000_000))
        assert emulator.taken >= 60


def test_aiohttp_is_served():
    """A real client, many calls at once: every answer belongs to its question."""

    async def run():
        emulator = Emulator()
        async with serve(emulator) as url, aiohttp.ClientSession(headers=HEADERS) as session:

            async def ask(i):
                body = params(f"prompt {i}", stream=i % 2 == 0)
                async with session.post(f"{url}/v1/messages", data=body) as response:
                    return response.status, echo(f"prompt {i}") in await response.read()

            return await asyncio.gather(*(ask(i) for i in range(100))), emulator.requests.total

    answers, total = asyncio.run(run())
    assert set(answers) == {(200, True)}
    assert total == 100


def test_a_server_stops_with_connections_open():
    """Idle, stalled and streaming connections are dropped, and nothing is left behind."""

    async def run():
        emulator = Emulator(
            faults=[{"on": {"contains": "stall"}, "do": {"fault": "stall"}}], tokens_per_second=10
        )
        async with serve(emulator) as url:
            parts = urlsplit(url)
            streams = [await asyncio.open_connection(parts.hostname, parts.port) for _ in "abc"]
            for (_, writer), prompt in zip(streams[1:], ("stall", "on"), strict=True):
                body = params(prompt, stream=True)
                writer.write(raw(body, f"content-length: {len(body)}"))
            await asyncio.to_thread(until, lambda: emulator.in_flight == 2)
        left = len(asyncio.all_tasks())
        for _, writer in streams:
            writer.close()
        return emulator.in_flight, emulator.disconnects, left

    assert asyncio.run(run()) == (0, 2, 1)


def test_a_port_that_is_taken_is_an_error():
    """The caller (sync or async) gets the OSError."""
    with emulator_server() as url:
        port = urlsplit(url).port
        with pytest.raises(OSError, match="in use"), emulator_server(port=port):
            pass


def test_ipv6_urls_have_brackets():
    """The URL can be used as it is."""
    if not socket.has_ipv6:
        pytest.skip("no IPv6 here")
    try:
        with emulator_server(host="::1") as url:
            assert url.startswith("http://[::1]:")
            assert post(url, params())[0] == 200
    except OSError:
        pytest.skip("no IPv6 on loopback")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_run_ends_cleanly_by_a_signal(number):
    """It announces the URL, serves, and on a signal ends with status 0 and no noise."""
    code = (
        "from claude_lite.emulator.serving import run_server; "
        "run_server(announce=lambda u: print(u, flush=True))"
    )
    command = [sys.executable, "-W", "error", "-X", "dev", "-c", code]
    with subprocess.Popen(  # noqa: S603  # our own code
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        url = process.stdout.readline().decode().strip()
        assert post(url, params())[0] == 200
        process.send_signal(number)
        _, noise = process.communicate(timeout=5)
    assert (process.returncode, noise) == (0, b"")
