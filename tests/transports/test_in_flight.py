"""What a call in flight is made of: the garbage collector looks at all of it, for every call.

Where thousands are in flight this is what makes one cost more than it does alone. Guarded by
counting objects, beside those of a call made by hand in the same run.
"""

import asyncio
import gc
import socket
import threading
import time
from contextlib import closing

import aiohttp
import pytest
from aiohttp.client_proto import ResponseHandler

from claude_lite import AsyncClient, UsageError
from claude_lite.testing.conformance.cases import get
from claude_lite.testing.conformance.loopback import LoopbackServer, reply
from claude_lite_transports.aiohttp import AiohttpTransport
from claude_lite_transports.aiohttp.reply import OpenReply

try:
    from claude_lite_transports.asyncio import AsyncioTransport

    AsyncioTransport()
except UsageError:  # the extra is not installed
    PARTS = {"aiohttp": 0.6}
else:
    PARTS = {"aiohttp": 0.6, "asyncio": 0.5}

FEW, MANY = 20, 120
QUESTION = {"role": "user", "content": "Hello"}


class Deaf:
    """A server that takes requests, and never answers."""

    def __init__(self):
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=2 * MANY)
        self._listener.settimeout(5)
        self._peers = []
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def take(self, count):
        """Wait for so many more requests."""
        for _ in range(count):
            peer, _ = self._listener.accept()
            self._peers.append(peer)
            peer.settimeout(5)
            assert peer.recv(4)

    def close(self):
        """Hang up on all."""
        for each in (self._listener, *self._peers):
            each.close()


async def objects_of_each(server, call):
    """Count the objects that the garbage collector has to look at for each call in flight."""
    tasks, counts = [], []
    for wanted in (FEW, MANY):
        fresh = [asyncio.ensure_future(call()) for _ in range(wanted - len(tasks))]
        tasks += fresh
        await asyncio.to_thread(server.take, len(fresh))
        gc.collect()
        counts.append(len(gc.get_objects()))
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return (counts[1] - counts[0]) / (MANY - FEW)


async def by_hand(server):
    """Count them where a request is made with aiohttp alone."""
    body = {"model": "claude-sonnet-4-5", "max_tokens": 1, "messages": [QUESTION]}

    async def call():
        async with session.post(f"{server.url}/v1/messages", json=body) as response:
            return await response.json()

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        return await objects_of_each(server, call)


async def by_client(server, kind):
    """Count them where this library is used."""
    async with AsyncClient(kind, api_key="any", base_url=server.url, governor=None) as client:

        async def call():
            return await client.messages.create(
                model="claude-sonnet-4-5", max_tokens=1, messages=[QUESTION]
            )

        return await objects_of_each(server, call)


@pytest.mark.parametrize("kind", PARTS)
def test_what_a_call_in_flight_is_made_of(kind):
    """It is far less than what a call over aiohttp's own session is made of."""
    with closing(Deaf()) as server:
        ours, theirs = asyncio.run(by_client(server, kind)), asyncio.run(by_hand(server))
    assert 10 < ours <= PARTS[kind] * theirs


def test_a_reply_is_parsed_by_who_waits_for_it(monkeypatch):
    """Of replies that are ready at once, each is parsed and done with before the next one is."""
    order, received, asked = [], threading.Semaphore(0), threading.Event()
    parse, finish = ResponseHandler.data_received, OpenReply.response

    def parsed(handler, data):
        order.append("parsed")
        parse(handler, data)

    def finished(self, body=b""):
        order.append("finished")
        return finish(self, body)

    def script(peer):
        peer.request()
        received.release()
        assert asked.wait(5)
        peer.send(reply(b"whole"))

    async def main():
        transport = AiohttpTransport(trust_env=False)
        calls = [asyncio.ensure_future(transport.send(get(server))) for _ in range(8)]
        for _ in calls:
            assert await asyncio.to_thread(received.acquire, timeout=5)
        asked.set()
        time.sleep(0.2)  # noqa: ASYNC251  # until all replies are there
        assert [response.body for response in await asyncio.gather(*calls)] == [b"whole"] * 8
        await transport.close()

    monkeypatch.setattr(ResponseHandler, "data_received", parsed)
    monkeypatch.setattr(OpenReply, "response", finished)
    with LoopbackServer(script) as server:
        asyncio.run(main())
    assert order == ["parsed", "finished"] * 8
