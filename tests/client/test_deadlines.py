"""A call ends within its deadline and half a second, wherever the server keeps it waiting."""

import asyncio
import gzip
import threading
import time

import aiohttp
import pytest
from timing import Stopwatch

from claude_lite import (
    AsyncClient,
    ClaudeError,
    Client,
    Overloaded,
    ServerError,
    TimedOut,
    standard,
)
from claude_lite.testing import message_stream
from claude_lite.testing.conformance.loopback import LoopbackServer, reply
from claude_lite_transports.aiohttp import AiohttpTransport
from claude_lite_transports.urllib import UrllibTransport

try:
    import httptools  # noqa: F401  # it is an extra; without it there is one transport less

    from claude_lite_transports.asyncio import AsyncioTransport
except ImportError:
    TRANSPORTS = ["urllib", "aiohttp"]
else:
    TRANSPORTS = ["urllib", "aiohttp", "asyncio"]

DEADLINE, GRACE, ATTEMPTS = 0.4, 0.5, 3
SSE = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n"
ASK = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "x"}]}


def chunk(data):
    """Write a chunk."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def deaf(peer):
    """Read the head of the request, and none of its body."""
    peer.head()
    time.sleep(DEADLINE + GRACE)


def silent_tls(peer):
    """Take the connection, and say nothing of TLS."""
    peer.gone(2.5)


def comments(peer):
    """Send a stream of comments that takes long to decompress and to look at."""
    if peer.request():
        piece = chunk(gzip.compress(b":\n\n" * 5_000_000))
        peer.send(SSE + b"Content-Encoding: gzip\r\n\r\n")
        for _ in range(1000):
            peer.send(piece)


def slow_error(peer):
    """Send an error's body a byte at a time."""
    if peer.request():
        peer.send(b"HTTP/1.1 500 Oh\r\nContent-Length: 1000\r\n\r\n")
        for _ in range(100):
            peer.send(b"x")
            time.sleep(0.03)


def in_circles(peer):
    """Redirect, slowly."""
    number = 0
    while peer.request():
        time.sleep(0.25)
        number += 1
        peer.send(reply(b"", f"Location: /{number}", status="307 On"))


def busy(peer):
    """Take a while to be overloaded."""
    while peer.request():
        time.sleep(0.15)
        peer.send(reply(b"", status="529 Busy"))


def unending(peer):
    """Send a whole message, and no end of the reply."""
    if peer.request():
        peer.send(SSE + b"\r\n", *map(chunk, message_stream("Hi")))
        peer.gone(2.5)


def run(transport, url, form, size=1, **options):
    """Make a call; the error it comes to, if any, and the seconds it takes."""
    fields = {**ASK, "messages": [{"role": "user", "content": "x" * size}]}
    options = {
        "api_key": "k",
        "base_url": url,
        "deadline": DEADLINE,
        "content_timeout": None,
    } | options
    watch = Stopwatch()
    try:
        if transport == "urllib":
            call(Client(UrllibTransport(trust_env=False), **options), form, fields)
        else:
            own = transport == "asyncio"
            made = AsyncioTransport(trust_env=False) if own else AiohttpTransport(trust_env=False)
            asyncio.run(acall(AsyncClient(made, **options), form, fields))
    except ClaudeError as error:
        return error, watch.seconds
    return None, watch.seconds


def call(client, form, fields):
    """Make a call synchronously."""
    with client:
        if form == "plain":
            client.messages.create(**fields)
        else:
            with client.messages.stream(**fields) as stream:
                stream.final_message()


async def acall(client, form, fields):
    """Make a call asynchronously."""
    async with client:
        if form == "plain":
            await client.messages.create(**fields)
        else:
            async with client.messages.stream(**fields) as stream:
                await stream.final_message()


def in_time(attempt):
    """Make attempts until one ends in time: a busy machine may be late, but not again and again."""
    for _ in range(ATTEMPTS):
        error, took = attempt()
        if took <= DEADLINE + GRACE:
            return error
    raise AssertionError(f"it took {took:.2f} s to get to {error!r}")


CASES = {
    "an upload that is not read": (deaf, "plain", {"size": 20_000_000}),
    "a TLS handshake": (silent_tls, "plain", {}),
    "decompression": (comments, "stream", {}),
    "the body of an error": (slow_error, "plain", {}),
    "the body of an error to a stream": (slow_error, "stream", {}),
    "redirects": (in_circles, "plain", {}),
    "retries": (busy, "plain", {"retry": standard(attempts=99, wait=0.01)}),
    "waits between retries": (busy, "plain", {"retry": standard(attempts=99, wait=9.0)}),
}


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("name", CASES)
@pytest.mark.slow
def test_a_deadline_holds(name, transport):
    """Half a second after its deadline at most the call has failed, with the right error."""
    script, form, options = CASES[name]
    with LoopbackServer(script) as server:
        url = server.url("").replace("http:", "https:" if "TLS" in name else "http:")
        error = in_time(lambda: run(transport, url, form, **options))
    if "waits" in name:  # it is not begun: the deadline comes before its end
        assert type(error) is Overloaded
    elif "the body of an error" in name:  # the status came in time
        assert (type(error), error.status) == (ServerError, 500)
    else:
        assert isinstance(error, TimedOut)
        assert error.phase == "total" or "TLS" in name


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_whole_message_is_not_waited_beyond(transport):
    """A server that does not end its reply after `message_stop` delays nobody."""
    with LoopbackServer(unending) as server:
        assert in_time(lambda: run(transport, server.url(""), "stream", deadline=60)) is None


def test_waiting_for_a_connection_of_the_callers_pool():
    """Where a session of the caller's allows one connection, waiting for it is part of the call."""
    entered = threading.Event()

    def slow(peer):
        if peer.request():
            entered.set()
            peer.gone(2.5)

    async def main(url):
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=1)) as session:
            client = AsyncClient(AiohttpTransport(session=session), api_key="k", base_url=url)
            first = asyncio.create_task(client.messages.create(**ASK))
            await asyncio.to_thread(entered.wait, 2.0)
            watch = Stopwatch()
            with pytest.raises(TimedOut) as caught:
                await client.with_options(deadline=DEADLINE, retry=standard()).messages.create(
                    **ASK
                )
            took = watch.seconds
            first.cancel()
            with pytest.raises(asyncio.CancelledError):
                await first
            return caught.value, took

    def attempt():
        entered.clear()
        with LoopbackServer(slow) as server:
            return asyncio.run(main(server.url("")))

    assert in_time(attempt).phase in {"total", "connect"}


def test_a_provider_of_tokens():
    """A token that does not come is waited for no longer than the call may take."""

    async def provider():
        await asyncio.sleep(30)

    def attempt():
        return run("aiohttp", "http://127.0.0.1:9", "plain", api_key=None, auth_token=provider)

    assert in_time(attempt).phase == "total"
