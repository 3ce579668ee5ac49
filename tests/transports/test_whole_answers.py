"""An answer that is whole is given, however its connection ends: it is paid for."""

import asyncio
import gzip
import json
import zlib

import pytest
from each_transport import each_transport, shows

from claude_lite import AsyncClient, Client, CreateMessage, StreamInterrupted, TimedOut
from claude_lite.testing.conformance.cases import post
from claude_lite.testing.conformance.loopback import LoopbackServer
from claude_lite.wire import Limits

KEY = "sk-ant-canary-Zx81"
ANSWER = {"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "usage": {}}
ANSWER |= {"content": [{"type": "text", "text": 'brackets } ] and a quote " é'}]}
ANSWER |= {"stop_reason": "end_turn"}
JSON = json.dumps(ANSWER, ensure_ascii=False).encode()
CREATE = CreateMessage(model="m", max_tokens=9, messages=[{"role": "user", "content": "hi"}])
JSON_TYPE = "Content-Type: application/json; charset=utf-8"

FRAMES = {
    "a length that is too long": lambda body: counted(body, len(body) + 9),
    "no last chunk": lambda body: in_chunks(body, b""),
    "half of a last chunk": lambda body: in_chunks(body, b"0\r\n"),
    "a chunk that is too long": lambda body: in_chunks(b"", b"fff\r\n" + body),
}
ENDS = {
    "closed": lambda _: None,
    "reset": lambda peer: (peer.gone(0.1), peer.reset()),
    "silent": lambda peer: peer.gone(2.0),
}


def counted(body, length, kind=JSON_TYPE):
    """Write a reply with a content-length."""
    return f"HTTP/1.1 200 OK\r\n{kind}\r\nContent-Length: {length}\r\n\r\n".encode() + body


def in_chunks(body, end, kind=JSON_TYPE):
    """Write a reply in one chunk, or in none, with *end*."""
    head = f"HTTP/1.1 200 OK\r\n{kind}\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    return head + (b"%x\r\n%b\r\n" % (len(body), body) if body else b"") + end


def saying(data, end=ENDS["closed"]):
    """Make a script: each request gets these bytes, and then the connection ends."""

    def script(peer):
        while peer.request():
            peer.send(data)
            end(peer)
            return

    return script


def asked(kind, data, end=ENDS["closed"], **limits):
    """Send one request to a server that says *data*; return the response."""
    with LoopbackServer(saying(data, end)) as server:
        return kind.run(lambda made: made.send(post(server, **limits)))


@each_transport
@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("frame", FRAMES)
def test_a_whole_answer_is_given(kind, frame, end):
    """JSON that is one whole object is the body, whatever is wrong with the end of the reply."""
    limits = Limits(read=0.3) if end == "silent" else Limits()
    response = asked(kind, FRAMES[frame](JSON + b"\n"), ENDS[end], limits=limits)
    assert json.loads(response.body) == ANSWER


@each_transport
@pytest.mark.parametrize("pack", [gzip.compress, zlib.compress])
def test_a_whole_answer_that_is_compressed(kind, pack):
    """The end of the compressed data, with its checksum, says that all of it has come."""
    head = f"{JSON_TYPE}\r\nContent-Encoding: {'gzip' if pack is gzip.compress else 'deflate'}"
    packed = pack(JSON)
    assert asked(kind, in_chunks(packed, b"", head)).body == packed
    with pytest.raises(StreamInterrupted) as caught:
        asked(kind, in_chunks(packed[:-1], b"", head))
    assert caught.value.details["body"] == JSON.decode()


@each_transport
def test_garbage_after_a_whole_answer(kind):
    """Bytes that are no chunk cost nothing if they come after the whole answer."""
    data = in_chunks(JSON, b"zz\r\nabc\r\n")
    response = asked(kind, data, ENDS["silent"], limits=Limits(read=0.3))
    assert json.loads(response.body) == ANSWER


@each_transport
@pytest.mark.parametrize("frame", FRAMES)
def test_an_answer_that_was_cut_is_in_the_error(kind, frame):
    """What came of an answer stays in the error, and in no variable of a frame."""
    cut = JSON[:-1].replace(b"quote", KEY.encode())
    with pytest.raises(StreamInterrupted) as caught:
        asked(kind, FRAMES[frame](cut))
    assert caught.value.details["body"] == cut.decode()
    assert caught.value.status == 200
    caught.value.update(details={})
    assert KEY not in shows(caught.value)


@each_transport
def test_an_answer_that_falls_silent_is_in_the_error(kind):
    """What came before a silence is in the error."""
    data = counted(JSON[:-1], len(JSON))
    with pytest.raises(TimedOut) as caught:
        asked(kind, data, ENDS["silent"], limits=Limits(read=0.2))
    assert caught.value.details["body"] == JSON[:-1].decode()


@each_transport
@pytest.mark.parametrize(
    ("body", "kind_of_body"),
    [
        (JSON, "Content-Type: text/plain"),
        (JSON, f"{JSON_TYPE}\r\nContent-Encoding: gzip"),
        (b"[" + JSON, JSON_TYPE),
        (b"[1]", JSON_TYPE),
        (JSON + JSON, JSON_TYPE),
        (b"[" * 100_000 + b"{}", JSON_TYPE),
        (b"", JSON_TYPE),
    ],
)
def test_what_may_not_be_whole_is_an_error(kind, body, kind_of_body):
    """Other bodies do not say whether they are whole."""
    with pytest.raises(StreamInterrupted):
        asked(kind, counted(body, len(body) + 1, kind_of_body))


@pytest.mark.parametrize("transport", ["urllib", "aiohttp", "asyncio"])
def test_no_client_pays_twice(transport):
    """A client sends one request, and gives the answer."""
    pytest.importorskip("httptools" if transport == "asyncio" else "ssl")

    async def ask(url):
        async with AsyncClient(transport, api_key="k", base_url=url) as client:
            return await client.send(CREATE)

    with LoopbackServer(saying(counted(JSON, len(JSON) + 1))) as server:
        if transport == "urllib":
            with Client(transport, api_key="k", base_url=server.url("")) as client:
                message = client.send(CREATE)
        else:
            message = asyncio.run(ask(server.url("")))
        assert (message.text, len(server.received)) == (ANSWER["content"][0]["text"], 1)
