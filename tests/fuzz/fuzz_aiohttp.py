"""Replies as the aiohttp transport reads them: aiohttp's parser and what is made of its results.

The connections are aiohttp's own, but for the socket: what is to be received is handed over
here, because a server would take longer than all else.
"""

import asyncio
import atexit
import socket

import aiohttp
from fuzz_input import cut, plain
from fuzz_replies import LARGEST, METHODS, own_outcome

from claude_lite.errors import (
    ConnectionLost,
    ResponseTooLarge,
    StreamInterrupted,
    UnexpectedResponse,
)
from claude_lite.wire import Limits, Request
from claude_lite_transports.aiohttp import AiohttpTransport

URL = "http://host.test/v1/x"
EXPECTED = (ConnectionLost, StreamInterrupted, UnexpectedResponse, ResponseTooLarge)
NEAR, FAR = socket.socketpair()  # never used: it only has to be alive
LOOP = asyncio.new_event_loop()


class Wire(asyncio.Transport):
    """A connection that receives some chunks once it is written to, and then its end."""

    def __init__(self, protocol, chunks):
        """Begin open."""
        super().__init__({"socket": NEAR})
        self._protocol = protocol
        self._chunks = list(chunks)
        self._asked = self._closed = False
        protocol.connection_made(self)

    def write(self, _):
        """Send it nowhere, and be answered."""
        if not self._asked:
            self._asked = True
            LOOP.call_soon(self._receive)

    def get_write_buffer_size(self):
        """All of it has been sent."""
        return 0

    def _receive(self):
        if self._chunks and not self._closed:
            self._protocol.data_received(self._chunks.pop(0))
            LOOP.call_soon(self._receive)
        else:
            self.close()

    def is_closing(self):
        """Say whether it was closed."""
        return self._closed

    def close(self):
        """Close it, which its protocol learns a moment later."""
        if not self._closed:
            self._closed = True
            LOOP.call_soon(self._protocol.connection_lost, None)

    abort = close

    def pause_reading(self):
        """Ask for a pause, which the little that there is does not need."""

    resume_reading = pause_reading


class Connector(aiohttp.BaseConnector):
    """Connects to nobody."""

    chunks = ()

    async def _create_connection(self, *_):
        protocol = self._factory()
        Wire(protocol, self.chunks)
        return protocol


async def _opened():
    connector = Connector(force_close=True)
    session = aiohttp.ClientSession(connector=connector)
    return connector, session, AiohttpTransport(session=session, trust_env=False)


CONNECTOR, SESSION, TRANSPORT = LOOP.run_until_complete(_opened())


@atexit.register
def _close():
    LOOP.run_until_complete(TRANSPORT.close())
    LOOP.run_until_complete(SESSION.close())
    for held in (LOOP, NEAR, FAR):
        held.close()


def aiohttp_reply(given):
    """Read a reply by aiohttp, whole and in pieces."""
    seed, method, data = given.number(), given.pick(METHODS), given.rest()
    other = own_outcome([data], method)
    found = [LOOP.run_until_complete(_read(c, method)) for c in ([data], cut(data, seed))]
    known = [outcome for outcome in (*found, other) if outcome is not None]
    assert all(outcome == known[0] for outcome in known)


async def _read(chunks, method):
    """Give status and body; None for an error, which has to be one of those expected."""
    CONNECTOR.chunks = [chunk for chunk in chunks if chunk]
    request = Request(method, URL, {}, limits=Limits(read=None, max_response=LARGEST))
    try:
        response = await asyncio.wait_for(TRANSPORT.send(request), 5)
    except EXPECTED as error:
        plain(error)
        return None
    assert all(isinstance(value, str) for value in response.headers.values())
    return response.status, response.body
