"""`claude_lite.testing`: made-up answers, a transport that gives them, and no network."""

import asyncio
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claude_lite import AsyncClient, Client, Overloaded, StreamTruncated, never
from claude_lite.emulator.serving import emulator_server
from claude_lite.errors import ConnectionFailed, ConnectionLost, RateLimited
from claude_lite.testing import (
    AsyncStubTransport,
    StubTransport,
    assert_no_network,
    error_event,
    error_response,
    message,
    message_stream,
    sse,
    tool_use,
)
from claude_lite.wire import AsyncTransport, Response, Transport

ASK = {
    "model": "claude-sonnet-5-5",
    "max_tokens": 50,
    "messages": [{"role": "user", "content": "Hello"}],
}
THINKING = {"type": "thinking", "thinking": "Let me think of it", "signature": "c2ln"}
REDACTED = {"type": "redacted_thinking", "data": "ZGF0YQ=="}


def streamed(*chunks):
    """Stream these chunks to a client; give the message."""
    with Client(StubTransport(*chunks), api_key="any").messages.stream(**ASK) as stream:
        return stream.final_message()


# Events


CONTENTS = [
    ["Hello"],
    [""],
    [],
    ["one", "two"],
    [tool_use("search", {"q": "é ✓", "n": [1, 2.5, None]})],
    [tool_use("now", {})],
    [THINKING, "Well", tool_use("a", {"b": 1}), tool_use("c", {}, id="toolu_2")],
    [REDACTED, "text"],
]


@pytest.mark.parametrize("content", CONTENTS, ids=str)
def test_a_stream_adds_up_to_its_message(content):
    """What is streamed is the message that the same words make, however it is cut."""
    whole = message(*content)
    assert Client(StubTransport(whole), api_key="any").messages.create(**ASK).to_dict() == whole
    for cut in (None, 1, 7):
        got = streamed(message_stream(*content, cut=cut)).to_dict()
        assert got["content"] == whole["content"]
        assert (got["stop_reason"], got["usage"]) == (whole["stop_reason"], whole["usage"])


def test_fields_can_be_given():
    """Stop reasons, usage and the like replace those that are made up."""
    got = streamed(message_stream("x", stop_reason="refusal", id="msg_9"))
    assert (got.stop_reason, got.id) == ("refusal", "msg_9")
    assert message(tool_use("a", {}))["stop_reason"] == "tool_use"
    assert message()["stop_reason"] == "end_turn"


def test_a_stream_can_break():
    """A stream may end early, or with an error event, after as many events as one likes."""
    with pytest.raises(StreamTruncated) as caught:
        streamed(message_stream("Hello you", keep=3))
    assert caught.value.partial["content"] == [{"type": "text", "text": "Hello yo"}]
    with pytest.raises(Overloaded, match="busy"):
        streamed(message_stream("Hello", keep=-2, end=error_event(message="busy")))
    with pytest.raises(RateLimited):
        streamed(message_stream("Hello", keep=3, end=error_event("rate_limit_error")))


def test_an_event():
    """An event has its name, its data on one line, and a blank line."""
    assert sse({"type": "ping"}) == b'event: ping\ndata: {"type":"ping"}\n\n'
    assert sse({"a": "é\n"}, "x") == 'event: x\ndata: {"a":"é\\n"}\n\n'.encode()
    assert b'"message":"Error"' in error_event("strange_error")


@given(st.text(), st.integers(1, 50))
def test_any_text_survives(text, cut):
    """Whatever is in a text, and wherever bytes are cut, it arrives."""
    assert streamed(message_stream(text, cut=cut)).text == text


# Stub transports


def test_a_stub_gives_its_answers_in_order():
    """Responses, JSON, streams and errors; the requests are kept; one more is an error."""
    stub = StubTransport(
        error_response(529, "req_1"), ConnectionLost("cut"), message("Hello"), message_stream("Bye")
    )
    assert isinstance(stub, Transport)
    client = Client(stub, api_key="any")
    assert client.messages.create(**ASK).text == "Hello"
    with client.messages.stream(**ASK) as stream:
        assert "".join(stream.text_stream) == "Bye"
    assert [request.method for request in stub.requests] == ["POST"] * 4
    with pytest.raises(AssertionError, match=r"no answer left for POST https://\S+: it is call 5"):
        client.messages.create(**ASK)
    client.close()


def test_an_async_stub_does_the_same():
    """The same answers, and other tasks have their turn between them."""
    stub = AsyncStubTransport(Response(529, {}), message("Hello"), message_stream("Bye"))
    assert isinstance(stub, AsyncTransport)

    async def main():
        async with AsyncClient(stub, api_key="any") as client:
            assert (await client.messages.create(**ASK)).text == "Hello"
            async with client.messages.stream(**ASK) as stream:
                return [text async for text in stream.text_stream]

    assert asyncio.run(main()) == ["Bye"]


# No network


def test_connections_are_refused():
    """A client that calls gets the error, whichever transport, sync or async; later ones do not."""

    async def ask(url):
        async with AsyncClient(base_url=url, api_key="any") as client:
            return await client.messages.create(**ASK)

    with emulator_server() as url:
        client = Client(base_url=url, api_key="any", retry=never())
        told = r"the network was used: connect 127\.0\.0\.1"
        with pytest.raises(AssertionError, match=told) as caught, assert_no_network():
            client.messages.create(**ASK)
        assert type(caught.value.__cause__) is ConnectionFailed
        assert client.messages.create(**ASK).text
        client.close()
        with pytest.raises(AssertionError), assert_no_network():
            asyncio.run(ask(url))
        with assert_no_network(allow_loopback=True):
            assert asyncio.run(ask(url)).text
        assert asyncio.run(ask(url)).text


def test_what_needs_no_network_passes():
    """Event loops, threads, pairs of sockets, listening and addresses are no network."""
    with assert_no_network():
        asyncio.run(asyncio.sleep(0))
        thread = threading.Thread(target=time.sleep, args=(0,))
        thread.start()
        thread.join()
        one, other = socket.socketpair()
        with one, other, socket.create_server(("127.0.0.1", 0)):
            one.send(b"x")
            assert other.recv(1) == b"x"
        assert socket.getaddrinfo("127.0.0.1", 80)
        assert socket.getaddrinfo(None, 80)
        assert Client(StubTransport(message("x")), api_key="any").messages.create(**ASK).text


@pytest.mark.parametrize(
    ("use", "told"),
    [
        (lambda s: s.connect(("127.0.0.1", 1)), "connect 127.0.0.1"),
        (lambda s: s.connect_ex(("192.0.2.1", 1)), "connect 192.0.2.1"),
        (lambda s: s.sendto(b"x", ("192.0.2.1", 1)), "sendto 192.0.2.1"),
        (lambda s: s.sendmsg([b"x"], (), 0, ("192.0.2.1", 1)), "sendmsg 192.0.2.1"),
        (lambda _: socket.getaddrinfo("example.com", 80), "look-up of example.com"),
        (lambda _: socket.getaddrinfo(b"example.com", 80), "look-up of example.com"),
        (lambda _: socket.getaddrinfo("localhost", 80), "look-up of localhost"),
    ],
)
def test_every_way_out_is_watched(use, told):
    """Connections, datagrams and look-ups of names, also where the error is kept quiet."""
    told = f"the network was used: {told}"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        with pytest.raises(AssertionError, match=told), assert_no_network(), suppress(OSError):
            use(sock)
        with pytest.raises(AssertionError, match=told), assert_no_network():
            use(sock)


def test_loopback_can_be_allowed():
    """Then what goes to this machine passes, and nothing else."""
    with emulator_server() as url, assert_no_network(allow_loopback=True):
        with Client(base_url=url, api_key="any") as client:
            assert client.messages.create(**ASK).text
        assert socket.getaddrinfo("localhost", 80)
    with pytest.raises(AssertionError), assert_no_network(allow_loopback=True):
        socket.create_connection(("192.0.2.1", 80), 0.1)


def test_threads_are_watched_and_blocks_nest():
    """Another thread's connection counts, and so does a block within a block."""

    def connect():
        with suppress(OSError):
            socket.create_connection(("127.0.0.1", 1), 1)

    def within():
        with assert_no_network(allow_loopback=True):
            thread = threading.Thread(target=connect)
            thread.start()
            thread.join()

    with pytest.raises(AssertionError, match="the network was used"), assert_no_network():
        within()
    within()


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="the Unix domain is Unix's")
def test_the_unix_domain_is_no_network(tmp_path):
    """Sockets that never leave the machine, and cannot, are let through."""
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as sock:
        listener.bind(path)
        listener.listen()
        with assert_no_network():
            sock.connect(path)


def test_nothing_is_hooked_before_it_is_needed():
    """Importing it does not install the audit hook; the errors of the block itself pass."""
    code = (
        "import sys; from claude_lite.testing import no_network, assert_no_network\n"
        "assert no_network._listening == []\n"
        "try:\n    with assert_no_network(): raise KeyError\n"
        "except KeyError: print('mine')"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)  # noqa: S603  # ours
    assert out.stdout == b"mine\n"
