"""HTTP/1.1 as bytes: what a reply means, however it is cut, and what is refused."""

from contextlib import suppress
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claude_lite.errors import ConnectionLost, StreamInterrupted, UnexpectedResponse, UsageError
from claude_lite.wire import DEFAULT_LIMITS, MaskedStr, Request
from claude_lite_transports.shared.http1 import SMALL, ReplyParser, opening

CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
REPLIES = {
    "length": b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\nX-A: b\r\n\r\nhello world",
    "chunks": CHUNKED + b"6\r\nhello \r\n5;x=y\r\nworld\r\n0\r\nx-t: 1\r\n\r\n",
    "end": b"HTTP/1.0 200 OK\r\n\r\nhello world",
    "interim": b"HTTP/1.1 103 Hints\r\nA: b\r\n\r\n"
    b"HTTP/1.1 200\r\ncontent-length: 11\r\n\r\nhello world",
    "lone LF": b"HTTP/1.1 200 OK\ncontent-length: 11\n\nhello world",
}


def parse(*pieces: bytes, method: str = "POST") -> tuple[ReplyParser, bytes]:
    """Feed a reply piece by piece, taking the body as it comes, up to the end."""
    reply, body = ReplyParser(method), b""
    for piece in pieces:
        if piece:
            reply.receive(piece)
        if reply.has_head():
            body += reply.take()
    if not reply.complete:
        reply.receive(b"")
        reply.has_head()
        while not reply.complete:
            body += reply.take()
    return reply, body


def read(head: str, method: str = "POST") -> ReplyParser:
    """Parse a head alone."""
    reply = ReplyParser(method)
    reply.receive(head.replace("\n", "\r\n").encode("latin-1"))
    assert reply.has_head()
    return reply


@pytest.mark.parametrize("name", REPLIES)
@given(cuts=st.lists(st.integers(0, 120), max_size=8))
def test_a_reply_is_the_same_however_it_is_cut(name, cuts):
    """Where the bytes are cut makes no difference to status, headers, body or reuse."""
    data = REPLIES[name]
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    reply, body = parse(*(data[a:b] for a, b in pairwise(edges)))
    whole, _ = parse(data)
    assert body == b"hello world"
    assert (reply.status, reply.headers, reply.keep) == (200, whole.headers, name != "end")


@given(st.binary(max_size=300))
def test_garbage_is_an_error_of_ours(data):
    """Whatever is received after a good head, only our errors come out."""
    for head in (b"", b"HTTP/1.1 200 OK\r\n", CHUNKED):
        with suppress(ConnectionLost, StreamInterrupted, UnexpectedResponse):
            parse(head + data)


def test_headers_are_lower_case_joined_and_stripped():
    """Names come in lower case, repeats are joined by comma and space, folds by a space."""
    reply = read("HTTP/1.1 200 OK\nX-A: 1\nx-a:\t2 \nFolded: a\n  b\nEmpty:\nLatin: \xe9\n\n")
    assert reply.headers == {
        "x-a": "1, 2",
        "folded": "a b",
        "empty": "",
        "latin": "\xe9",
    }


@pytest.mark.parametrize(
    "head",
    [
        "HTTP/2 200 OK\n\n",
        "HTTP/1.1 99 Low\n\n",
        "HTTP/1.1 101 Switching Protocols\n\n",
        "HTTP/1.1  200 OK\n\n",
        "ICY 200 OK\n\n",
        "HTTP/1.1 200 OK\nname with spaces: 1\n\n",
        "HTTP/1.1 200 OK\n: no name\n\n",
        "HTTP/1.1 200 OK\nX: a\0b\n\n",
        "HTTP/1.1 200 OK\nX: a\rb\n\n",
        "HTTP/1.1 200 OK\nContent-Length: +5\n\n",
        "HTTP/1.1 200 OK\nContent-Length: 5, 6\n\n",
        "HTTP/1.1 200 OK\nContent-Length: \u00b2\n\n",
        "HTTP/1.1 200 OK\nContent-Length: 5\nTransfer-Encoding: chunked\n\n",
        "HTTP/1.1 200 OK\nTransfer-Encoding: gzip, chunked\n\n",
        "HTTP/1.1 200 OK\n" + "a: b\n" * 300 + "\n",
        "HTTP/1.1 200 OK\nX: " + "x" * DEFAULT_LIMITS.max_head + "\n\n",
        "HTTP/1.1 100 Continue\n\n" * 4000,
    ],
)
def test_a_bad_head_is_unexpected(head):
    """What is not HTTP/1.x, is ambiguous or past the limits is no response."""
    with pytest.raises(UnexpectedResponse):
        read(head)


def test_what_is_not_http_is_noticed_at_once():
    """A reply that cannot become HTTP any more is not waited for."""
    reply = ReplyParser("GET")
    reply.receive(b"HTTP")
    assert not reply.has_head()
    reply.receive(b"S")
    with pytest.raises(UnexpectedResponse):
        reply.has_head()


def test_a_repeated_length_counts_once():
    """The same content-length twice is the same (RFC 9110, section 8.6)."""
    reply = read("HTTP/1.1 200 OK\nContent-Length: 5\nContent-Length: 5\n\n")
    assert reply.length == 5


@pytest.mark.parametrize(
    "chunks",
    [
        b"g\r\n",
        b"-1\r\n",
        b"0x5\r\n",
        b"5\n",
        b"\r\n",
        b" 5\r\n",
        b"1\r\nab",
        b"1\r\na\n",
    ],
)
def test_broken_chunks_are_noticed_at_once(chunks):
    """A chunk that breaks the grammar is an error without waiting for more."""
    reply = ReplyParser("GET")
    reply.receive(CHUNKED + chunks)
    assert reply.has_head()
    with pytest.raises(StreamInterrupted):
        reply.take() and reply.take()


def test_what_came_before_a_break_is_taken_first():
    """The data of good chunks is handed out before the error."""
    reply = ReplyParser("GET")
    reply.receive(CHUNKED + b"2\r\nok\r\nnonsense\r\n")
    assert reply.has_head()
    assert reply.take() == b"ok"
    with pytest.raises(StreamInterrupted):
        reply.take()


def test_bytes_past_the_end_forbid_reuse():
    """A connection that brings more than was asked for is not used again."""
    reply, body = parse(REPLIES["length"] + b"HTTP/1.1 200 OK\r\n\r\n")
    assert (body, reply.keep) == (b"hello world", False)


def test_opening_shows_nothing():
    """The serialised head is all there, and its repr shows nothing of it."""
    request = Request("POST", "http://h/p", {"x-api-key": MaskedStr("canary")}, b"{}")
    data = opening(request, "/p", "h")
    assert (
        bytes(data)
        == b"POST /p HTTP/1.1\r\nhost: h\r\nx-api-key: canary\r\ncontent-length: 2\r\n\r\n{}"
    )
    assert "canary" not in repr(data)


def test_a_large_body_does_not_open():
    """A body that is not small is announced in the head, and sent by itself."""
    data = bytes(opening(Request("PUT", "http://h/", {}, bytes(SMALL + 1)), "/", "h"))
    assert data == f"PUT / HTTP/1.1\r\nhost: h\r\ncontent-length: {SMALL + 1}\r\n\r\n".encode()


def test_a_host_of_the_callers_own_is_left():
    """A `host` header that the caller gives replaces ours."""
    data = bytes(opening(Request("GET", "http://h/", {"host": "other"}), "/", "h"))
    assert data == b"GET / HTTP/1.1\r\nhost: other\r\n\r\n"


@pytest.mark.parametrize(
    ("method", "headers"),
    [
        ("GET /\r\nx:", {}),
        ("", {}),
        ("GET", {"a b": "1"}),
        ("GET", {"a:": "1"}),
        ("GET", {"": "1"}),
        ("GET", {"a": "1\n2"}),
        ("GET", {"a": "1\r2"}),
        ("GET", {"a": "1\x002"}),
        ("GET", {"a": "\ud800"}),
        ("GET", {"content-length": "5"}),
        ("GET", {"transfer-encoding": "chunked"}),
        ("GET", {"Content-Length": "5"}),
        ("GET", {"Transfer-Encoding": "chunked"}),
        ("GET", {"Host": "evil.test"}),
    ],
)
def test_what_cannot_stand_in_a_head_is_refused(method, headers):
    """Nothing gets to add a line to the head, or to contradict its framing."""
    with pytest.raises(UsageError):
        opening(Request(method, "http://h/", headers), "/", "h")
