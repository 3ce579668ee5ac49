"""Replies on their way in: what they mean, however they are cut, and what is refused."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claude_lite.errors import (
    ClaudeError,
    ConnectionLost,
    ResponseTooLarge,
    StreamInterrupted,
    UnexpectedResponse,
)
from claude_lite.wire import DEFAULT_LIMITS, Limits, Request
from claude_lite_transports.asyncio.incoming import _MAX_NAMES, Incoming, _names

MAX_FIELDS, MAX_HEAD = DEFAULT_LIMITS.max_headers, DEFAULT_LIMITS.max_head
OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"transfer-encoding: chunked\r\n\r\n"
REPLIES = {
    "length": OK + b"Content-Length: 11\r\nX-A: b\r\nx-a: c\r\n\r\nhello world",
    "chunks": CHUNKED + b"6\r\nhello \r\n5;x=y\r\nworld\r\n0\r\nx-t: 1\r\n\r\n",
    "padded": CHUNKED + b"6  \r\nhello \r\n5\r\nworld\r\n0\r\n\r\n",
    "end": b"HTTP/1.0 200 OK\r\n\r\nhello world",
    "interim": b"HTTP/1.1 103 Hints\r\nA: b\r\n\r\n"
    b"HTTP/1.1 200\r\ncontent-length: 11\r\n\r\nhello world",
    "lone LF": b"HTTP/1.1 200 OK\ncontent-length: 11\n\nhello world",
}


def incoming(*pieces, method="POST", whole=True, end=True, limit=None):
    """Feed a reply piece by piece."""
    reply = Incoming(Request(method, "", {}, limits=Limits(max_response=limit)), whole=whole)
    for piece in pieces:
        reply.receive(piece)
    if end and not reply.over:
        reply.end()
    return reply


@pytest.mark.parametrize("name", REPLIES)
@given(cuts=st.lists(st.integers(0, 120), max_size=8))
def test_a_reply_is_the_same_however_it_is_cut(name, cuts):
    """Where the bytes are cut makes no difference to status, headers, body or reuse."""
    data = REPLIES[name]
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    got, whole = incoming(*(data[a:b] for a, b in pairwise(edges))), incoming(data)
    assert (got.status, got.headers, got.reusable) == (200, whole.headers, name != "end")
    assert (got.complete, got.take()) == (True, b"hello world")


@given(st.binary(max_size=300))
def test_garbage_is_an_error_of_ours(data):
    """Whatever is received, nothing but our own errors comes of it."""
    for head in (b"", OK, CHUNKED):
        got = incoming(head + data)
        assert got.over
        assert got.complete or isinstance(got.error, ClaudeError)


@pytest.mark.parametrize(
    "head",
    [
        b"SSH-2.0\r\n\r\n",
        b"POST / HTTP/1.1\r\n\r\n",
        b"HTTP/1.1 99 No\r\n\r\n",
        b"HTTP/1.1 099 No\r\n\r\n",
        b"HTTP/1.1 101 Switching\r\n\r\n",
        b"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: h2\r\n\r\n",
        OK + b"no colon\r\n\r\n",
        OK + b"A: b\0\r\n\r\n",
        OK + b"A: b\r\n folded\r\n\r\n",
        OK + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n",
        OK + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        OK + b"Transfer-Encoding: gzip\r\n\r\n",
        OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n",
        OK + b"a: b\r\n" * (MAX_FIELDS + 1) + b"\r\n",
        OK + b"" + b"".join(b"a%d: b\r\n" % n for n in range(MAX_FIELDS + 1)) + b"\r\n",
        OK + b"a: " + b"b" * MAX_HEAD + b"\r\n\r\n",
        OK + b"a: " + b"b" * MAX_HEAD + b"\r\nContent-Length: 1\r\n\r\nx",
        OK + b"a: " + b"b" * MAX_HEAD,
        b"HTTP/1.1 100 Continue\r\n\r\n" * (MAX_HEAD // 20),
    ],
    ids=range(19),
)
def test_heads_that_are_refused(head):
    """A head that is no HTTP, is ambiguous, or has no bounds, is refused as soon as it is seen."""
    assert isinstance(incoming(head, end=False).error, UnexpectedResponse)


@pytest.mark.parametrize("endless", [b"1;" + b"x" * MAX_HEAD, b"0\r\n" + b"a: b\r\n" * MAX_HEAD])
def test_what_is_no_body_has_bounds_too(endless):
    """A chunk's extension, or trailers, that go on and on are refused."""
    got = incoming(CHUNKED, b"1\r\na\r\n", endless, end=False)
    assert isinstance(got.error, ResponseTooLarge)
    assert (got.error.status, got.take()) == (200, b"a")


def test_many_chunks_are_no_head():
    """However much framing a body has, it is the framing between two pieces that is bounded."""
    assert incoming(*[CHUNKED, *[b"1\r\na\r\n"] * MAX_HEAD, b"0\r\n\r\n"]).complete


@pytest.mark.parametrize("surplus", [b"x", OK + b"Content-Length: 0\r\n\r\n"])
def test_surplus_bytes_end_a_connection(surplus):
    """What comes after a reply is in no reply, and the connection is not used again."""
    for method, data in (("GET", REPLIES["length"]), ("HEAD", REPLIES["length"][:-11])):
        got = incoming(data + surplus, method=method)
        assert (got.complete, got.reusable) == (True, False)
        assert got.headers["x-a"] == "b, c"
        assert got.take() == (b"hello world" if method == "GET" else b"")


def test_head_has_no_body():
    """The answer to HEAD ends with its head, and the connection goes on."""
    got = incoming(OK + b"Content-Length: 999\r\n\r\n", method="HEAD", limit=10)
    assert (got.complete, got.reusable, got.take()) == (True, True, b"")


def test_a_limit_holds_for_the_whole_body_only():
    """`max_response` is for a body that is wanted whole: announced, or as it comes."""
    for data in (REPLIES["length"], REPLIES["chunks"], REPLIES["end"]):
        assert isinstance(incoming(data, limit=10).error, ResponseTooLarge)
        assert incoming(data, limit=11).complete
        assert incoming(data, limit=10, whole=False).complete


def test_an_early_end():
    """The end of a connection within a head is a loss; within a body, an interruption."""
    for data, error in (
        (b"", ConnectionLost),
        (OK, ConnectionLost),
        (OK + b"Content-Length: 5\r\n\r\nfour", StreamInterrupted),
        (CHUNKED + b"5\r\nfour", StreamInterrupted),
        (CHUNKED + b"4\r\nfour\r\n0\r\n", StreamInterrupted),
    ):
        assert type(incoming(data).error) is error


def test_a_reset_is_no_end():
    """A body that lasts as long as its connection is not whole if that breaks."""
    got = incoming(REPLIES["end"], end=False)
    got.lose(ConnectionResetError("reset"))
    assert isinstance(got.error, StreamInterrupted)
    assert isinstance(got.error.__cause__, ConnectionResetError)


def test_an_error_is_told_what_is_known():
    """The status and the request's id go with an error that comes after the head."""
    got = incoming(OK + b"Request-Id: req_1\r\nContent-Length: 5\r\n\r\nfour")
    assert (got.error.status, got.error.request_id) == (200, "req_1")


def test_an_error_is_raised_once():
    """What is raised is not kept, as it holds on to frames; whoever comes back gets another."""
    got = incoming(CHUNKED)
    first, second = got.failure(), got.failure()
    assert first is not second
    assert {type(first), type(second)} == {StreamInterrupted}


def test_names_of_headers_do_not_pile_up():
    """Names are remembered up to a number; past it, old and new ones are still read right."""
    for number in range(_MAX_NAMES + 10):
        head = f"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-{number}: {number}\r\n\r\n"
        assert incoming(head.encode()).headers == {
            "content-length": "0",
            f"x-{number}": f"{number}",
        }
        assert len(_names) <= _MAX_NAMES
