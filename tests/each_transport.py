"""The transports that make connections, and how a test that is true of all of them runs.

A test that takes `kind` with the mark `each_transport` runs for each of them, with
`each_async_transport` for those that have an event loop, and with `each_that(FACT)` for those that
do not lack a fact: `LACKS` says which lack it, and why. `kind.run(main)` calls `main(transport)`,
a coroutine function: a sync transport is called in threads.
"""

import asyncio
import gc
import socket
import ssl
import threading
from collections.abc import Callable
from contextlib import contextmanager
from typing import Any

import pytest
from attrs import frozen
from certificates import PEM

from claude_lite.errors import UsageError
from claude_lite.testing.conformance.checking import InThreads
from claude_lite.testing.conformance.hiding import exposed
from claude_lite.testing.conformance.loopback import LoopbackServer, reply
from claude_lite_transports.aiohttp import AiohttpTransport
from claude_lite_transports.urllib import UrllibTransport

try:
    from claude_lite_transports.asyncio import AsyncioTransport

    AsyncioTransport()
except UsageError:  # the extra `fast` is not installed
    AsyncioTransport = None
try:
    import uvloop
except ImportError:
    uvloop = None

BRIEF = 0.1

LACKS = {
    "uses the newest idle connection first": {
        "aiohttp": "the pool of aiohttp is a queue: the oldest idle connection is used first",
    },
    "refuses port 0": {
        "aiohttp": "it tries to connect to port 0, which fails as a connection",
    },
    "refuses headers beyond Latin-1": {
        "urllib": "it encodes headers as UTF-8",
        "asyncio": "it encodes headers as UTF-8",
    },
    "delivers an early answer before a reset": {
        "aiohttp on uvloop": "uvloop may report the reset before the answer is read",
    },
    "warns of nothing when its loop is closed first": {
        "urllib": "it has no event loop",
        "aiohttp on uvloop": "uvloop warns of the connections that its closed loop has left",
        "asyncio on uvloop": "uvloop warns of the connections that its closed loop has left",
    },
    "resolves names like 127.1": {
        "aiohttp": "it takes such a name for a wrong address; its own test has a resolver",
    },
}


def urllib_sockets(transport):
    """Give the sockets of the idle connections of a `UrllibTransport`."""
    return [sock for stack in transport._idle._stacks.values() for sock, *_ in stack]


def aiohttp_sockets(transport):
    """Give the sockets of the idle connections of an `AiohttpTransport`."""
    return [
        idle[0].transport.get_extra_info("socket")
        for pool, _ in transport._pools.held.values()
        for idles in pool._connector._conns.values()
        for idle in idles
    ]


def asyncio_sockets(transport):
    """Give the sockets of the connections of an `AsyncioTransport`."""
    return [
        connection._transport.get_extra_info("socket")
        for pool, _ in transport._pools.held.values()
        for connection in pool._connections()
    ]


@frozen
class Kind:
    """A transport on an event loop. A sync transport has no loop of its own."""

    name: str
    factory: type
    sockets: Callable[[Any], list[Any]]
    loop: Callable[[], Any] | None = None

    def make(self, **options):
        """Make a transport that ignores the environment."""
        return self.factory(**{"trust_env": False, **options})

    def run(self, main, **options):
        """Call `main(transport)` and return its result; nothing may be left or be complained of."""
        complaints = []

        async def whole():
            loop = asyncio.get_running_loop()
            loop.set_exception_handler(lambda _, context: complaints.append(context))
            made = self.make(**options)
            transport = made if self.loop else InThreads(made)
            try:
                result = await main(transport)
            finally:
                await transport.close()
            await asyncio.sleep(0)
            assert asyncio.all_tasks() == {asyncio.current_task()}
            return result

        with asyncio.Runner(loop_factory=self.loop) as runner:
            result = runner.run(whole())
        gc.collect()
        assert complaints == []
        return result

    def idle_sockets(self, transport):
        """Give the sockets of a transport that `run` has made."""
        return self.sockets(transport if self.loop else transport._transport)


ALL = {
    "urllib": (UrllibTransport, urllib_sockets, None),
    "aiohttp": (AiohttpTransport, aiohttp_sockets, asyncio.SelectorEventLoop),
    "asyncio": (AsyncioTransport, asyncio_sockets, asyncio.SelectorEventLoop),
}
ON_UVLOOP = {
    f"{name} on uvloop": (factory, sockets, uvloop.new_event_loop)
    for name, (factory, sockets, loop) in ALL.items()
    if loop and uvloop
}
KINDS = [Kind(name, *parts) for name, parts in (ALL | ON_UVLOOP).items() if parts[0]]


def each(found):
    """Give the mark that runs a test for each of these."""
    return pytest.mark.parametrize("kind", found, ids=lambda kind: kind.name)


def each_that(fact):
    """Give the mark that runs a test for each transport that does not lack a fact."""
    lacking = LACKS[fact]
    return each([one for one in KINDS if not {one.name, one.name.split()[0]} & lacking.keys()])


each_transport = each(KINDS)
each_async_transport = each([one for one in KINDS if one.loop])


def server_tls():
    """Make the TLS of a server that says it is localhost."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(PEM)
    return context


def client_tls():
    """Make the TLS of a client that trusts `server_tls`."""
    return ssl.create_default_context(cafile=PEM)


def echo(peer):
    """Answer every request with its body, or with its target if it has none."""
    while got := peer.request():
        peer.send(reply(got.body or got.target.encode()))


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


async def told(news):
    """Wait for what a server has to tell, while the loop runs on."""
    return await asyncio.to_thread(news.get, timeout=3)


def shows(error):
    """Return all that an error shows, but for the variables of the tests that caught it."""
    traceback = error.__traceback__
    while traceback and "/tests/" in traceback.tb_frame.f_code.co_filename:
        traceback = traceback.tb_next
    return "".join(exposed(error.with_traceback(traceback)))
