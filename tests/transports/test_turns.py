"""What lies between a request and its turn, a reply and its end, a request and the next one."""

import asyncio
import socket
import ssl
import threading
import time
import tracemalloc

import aiohttp
import pytest
from certificates import PEM

from claude_lite.errors import ClaudeError, ConnectTimedOut, StreamInterrupted
from claude_lite.testing.conformance.cases import get, post, read_whole
from claude_lite.testing.conformance.loopback import LoopbackServer, chunked, reply
from claude_lite.wire import Limits, Request
from claude_lite_transports.aiohttp import AiohttpTransport
from claude_lite_transports.aiohttp.connection import Handler
from claude_lite_transports.shared.read_buffer import ReadBuffer
from claude_lite_transports.urllib import UrllibTransport

try:
    from claude_lite_transports.asyncio import AsyncioTransport

    AsyncioTransport()
except Exception:  # noqa: BLE001  # the extra is not installed
    ASYNCIO = []
else:
    ASYNCIO = ["asyncio"]

try:
    import uvloop
except ImportError:
    RUNS = {"asyncio": asyncio.run}
else:
    RUNS = {"asyncio": asyncio.run, "uvloop": uvloop.run}

RECORD = 16 * 1024  # the most that one record of TLS holds
BODY = bytes(range(256)) * 4000
KINDS = ["aiohttp", *ASYNCIO]


def made(kind, tls=None):
    """Make a transport that ignores the environment."""
    if kind == "aiohttp":
        return AiohttpTransport(ssl_context=tls, trust_env=False)
    return AsyncioTransport(ssl_context=tls, trust_env=False)


@pytest.mark.parametrize("undecrypted", [-1, 0, 1, 30_000, 40_000, 65_536, 10**6])
def test_a_buffer_is_never_filled(undecrypted):
    """It has room for a record more than there is, and small reads share one."""
    buffer = ReadBuffer()
    lent = buffer.lend(undecrypted)
    assert len(lent) > undecrypted + RECORD
    assert (lent is buffer.lend(-1)) == (undecrypted <= 32 * 1024)
    lent = buffer.lend(undecrypted)
    lent[:3] = b"abc"
    assert bytes(buffer.read(3)) == b"abc"


ENDS = {
    "length": reply(BODY, "connection: close"),
    "chunks": chunked(*(BODY[at : at + 1000] for at in range(0, len(BODY), 1000))),
    "its end": b"HTTP/1.1 200 OK\r\n\r\n" + BODY,
}


@pytest.mark.parametrize("loop", RUNS)
@pytest.mark.parametrize("framed", ENDS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.slow
def test_a_reply_over_tls_has_its_end(kind, framed, loop):
    """A long reply is whole, though the server hangs up right after it, and the loop was busy."""
    server_tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_tls.load_cert_chain(PEM)
    client_tls = ssl.create_default_context(cafile=PEM)

    def script(peer):
        peer.request()
        peer.send(ENDS[framed])

    async def main():
        transport = made(kind, client_tls)
        for turn in range(12):
            with LoopbackServer(script, server_tls) as server:
                call = asyncio.ensure_future(transport.send(get(server)))
                if turn % 2:
                    await asyncio.sleep(0.01)
                    time.sleep(0.03)  # noqa: ASYNC251  # so that all is there at once
                assert (await call).body == BODY
        await transport.close()

    RUNS[loop](main())


@pytest.mark.parametrize("loop", RUNS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_slow_reader_over_tls_has_the_end(kind, loop):
    """A stream that is read slowly, and so held back, is whole, though the server has hung up."""
    if (kind, loop) == ("aiohttp", "uvloop") and not hasattr(Handler, "_pause_transport_reading"):
        pytest.skip("this aiohttp has no way to pause what lies under TLS")
    server_tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_tls.load_cert_chain(PEM)
    client_tls = ssl.create_default_context(cafile=PEM)
    complaints = []

    def script(peer):
        peer.request()
        peer.send(reply(BODY, "connection: close"))

    async def main():
        asyncio.get_running_loop().set_exception_handler(lambda _, said: complaints.append(said))
        transport = made(kind, client_tls)
        with LoopbackServer(script, tls=server_tls) as server:
            for _ in range(3):
                size = 0
                async with transport.stream(get(server)) as (_, chunks):
                    async for chunk in chunks:
                        size += len(chunk)
                        await asyncio.sleep(0.01)
                assert size == len(BODY)
        await transport.close()

    RUNS[loop](main())
    assert complaints == []


@pytest.mark.parametrize("kind", KINDS)
def test_the_wait_for_its_turn_counts(kind):
    """A request whose time is up before it has its turn on the loop is not sent."""

    def script(peer):
        while (got := peer.request()) is not None:
            peer.send(reply(got.body))

    async def busy():
        time.sleep(0.2)  # noqa: ASYNC251  # holds the loop

    async def main():
        transport = made(kind)
        with LoopbackServer(script) as server:
            await transport.send(post(server, b"warm"))
            late = Request("POST", server.url(), {}, b"late", Limits(total=0.1))
            outcome, _ = await asyncio.gather(transport.send(late), busy(), return_exceptions=True)
            assert isinstance(outcome, ConnectTimedOut)
            assert (await transport.send(post(server, b"next"))).body == b"next"
            assert [got.body for got in server.received] == [b"warm", b"next"]
        await transport.close()

    asyncio.run(main())


@pytest.mark.parametrize("kind", KINDS)
def test_what_begins_as_the_transport_closes_goes_on(kind):
    """A stream that was about to begin when `close` came is read to its end."""

    def script(peer):
        while peer.request() is not None:
            peer.send(chunked(b"a"))

    async def main():
        transport = made(kind)
        with LoopbackServer(script) as server:
            async with transport.stream(get(server)):
                pass
            task = asyncio.ensure_future(read_whole(transport, get(server)))
            await asyncio.sleep(0)
            await transport.close()
            await transport.close()
            assert (await task).body == b"a"
        await transport.close()

    asyncio.run(main())


@pytest.mark.parametrize("loop", RUNS)
@pytest.mark.parametrize("kind", KINDS)
def test_what_speaks_unasked_is_hung_up_on(kind, loop):
    """A connection on which something comes between two requests is closed, and nothing is kept."""
    ended = threading.Event()

    def script(peer):
        if peer.number:
            peer.send(reply(peer.request().body))
            return
        peer.request()
        peer.send(reply(b"one"))
        time.sleep(0.05)
        try:
            while True:
                peer.send(b"HTTP/1.1 200 OK\r\n\r\n" + bytes(1024 * 1024))
        except OSError:
            ended.set()

    async def main():
        transport = made(kind)
        with LoopbackServer(script) as server:
            assert (await transport.send(post(server, b"first"))).body == b"one"
            assert await asyncio.to_thread(ended.wait, 5)
            assert (await transport.send(post(server, b"second"))).body == b"second"
        await transport.close()

    tracemalloc.start()
    try:
        RUNS[loop](main())
        assert tracemalloc.get_traced_memory()[1] < 8 * 1024 * 1024
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("loop", RUNS)
@pytest.mark.parametrize("kind", [*KINDS, "session"])
@pytest.mark.parametrize("busy", [True, False])
def test_a_second_reply_reaches_nobody(kind, loop, busy):
    """A reply that no request asked for ends its connection, whether the loop is busy or not."""
    sent = threading.Event()

    def script(peer):
        while (request := peer.request()) is not None:
            peer.send(reply(request.body))
            if request.body == b"first":
                time.sleep(0.002)  # the first reply is read before the second comes
                peer.send(reply(b"somebody else's"))
                sent.set()

    async def ask(transport):
        with LoopbackServer(script) as server:
            for _ in range(3):
                sent.clear()
                assert (await transport.send(post(server, b"first"))).body == b"first"
                wait = asyncio.to_thread(sent.wait, 5)
                assert sent.wait(5) if busy else await wait
                wait.close()
                time.sleep(0.01)  # noqa: ASYNC251  # the loop is busy; the bytes arrive
                if not busy:
                    await asyncio.sleep(0.01)
                assert (await transport.send(post(server, b"second"))).body == b"second"
                assert (await transport.send(post(server, b"third"))).body == b"third"

    async def main():
        if kind != "session":
            transport = made(kind)
            await ask(transport)
            await transport.close()
            return
        async with aiohttp.ClientSession() as session:
            await ask(AiohttpTransport(session=session, trust_env=False))

    RUNS[loop](main())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("piece", ["text", 5])
def test_a_source_of_something_else(kind, piece):
    """A body's source that yields something else than bytes is a `TypeError`, at once."""

    class Odd:
        size = 100

        def __iter__(self):
            yield piece

    def script(peer):
        peer.request()

    async def main():
        transport = made(kind)
        with LoopbackServer(script) as server, pytest.raises(TypeError):
            async with asyncio.timeout(5):
                await transport.send(post(server, Odd()))
        await transport.close()

    asyncio.run(main())


def outcome(kind, url, tls=None):
    """Ask for what is there, and give the answer, or the error, over a transport of any kind."""

    async def main():
        transport = made(kind, tls)
        try:
            return await transport.send(Request("POST", url, {}, b"x" * 1000))
        except ClaudeError as error:
            return error
        finally:
            await transport.close()

    if kind != "urllib":
        return asyncio.run(main())
    transport = UrllibTransport(ssl_context=tls, trust_env=False)
    try:
        return transport.send(Request("POST", url, {}, b"x" * 1000))
    except ClaudeError as error:
        return error
    finally:
        transport.close()


@pytest.mark.parametrize("kind", [*KINDS, "urllib"])
@pytest.mark.parametrize("status", [200, 407])
def test_a_reset_is_the_end_of_a_refusal_only(kind, status):
    """Of a body that ends with the connection, a reset is a cut; an error says enough by then."""

    def script(peer):
        peer.request()
        peer.send(b"HTTP/1.1 %d Odd\r\nconnection: close\r\n\r\nhalf of it" % status)
        time.sleep(0.2)
        peer.reset()

    with LoopbackServer(script) as server:
        found = outcome(kind, server.url())
    if status == 200:
        assert isinstance(found, StreamInterrupted)
    else:
        assert (found.status, found.body) == (407, b"half of it")


@pytest.mark.parametrize("kind", [*KINDS, "urllib"])
def test_a_name_with_a_dot_at_its_end(kind, monkeypatch):
    """A host that is written as the whole of its name has the certificate of that name."""

    def resolved(host, *args, **kwargs):
        return look_up("127.0.0.1" if host == "localhost." else host, *args, **kwargs)

    look_up = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", resolved)
    server_tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_tls.load_cert_chain(PEM)

    def script(peer):
        peer.request()
        peer.send(reply(b"whole"))

    with LoopbackServer(script, server_tls) as server:
        port = server.url().split(":")[2].partition("/")[0]
        url = f"https://localhost.:{port}/"
        found = outcome(kind, url, ssl.create_default_context(cafile=PEM))
    assert found.body == b"whole"
