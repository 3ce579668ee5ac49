"""Replies as bytes of HTTP/1.1, by each parser that the transports have, and compressed bodies."""

import gzip
import zlib

from fuzz_input import cut, plain

from claude_lite.core.encoding import ContentDecoder
from claude_lite.errors import (
    ConnectionLost,
    ResponseTooLarge,
    StreamInterrupted,
    UnexpectedResponse,
)
from claude_lite.wire import Limits, Request
from claude_lite_transports.asyncio.incoming import Incoming
from claude_lite_transports.shared.http1 import ReplyParser

METHODS = ("POST", "GET", "HEAD")
LARGEST = 10_000
EXPECTED = (ConnectionLost, StreamInterrupted, UnexpectedResponse)


def own(given):
    """Read a reply by the parser of the urllib transport, whole and in pieces."""
    seed, method, data = given.number(), given.pick(METHODS), given.rest()
    assert _own(cut(data, seed), method) == _own([data], method)


def _own(chunks, method):
    """Give status, headers, body, whether another reply may follow, and the error."""
    reply, body = ReplyParser(method), bytearray()
    try:
        for chunk in [*filter(None, chunks), b""]:
            reply.receive(chunk)
            while reply.has_head() and not reply.complete:
                piece = reply.take()
                body += piece
                if not piece:
                    break
            if reply.complete:
                break
    except EXPECTED as error:
        plain(error)
        assert not reply.complete
        return reply.status, type(error), str(error), bytes(body)
    assert reply.complete
    return reply.status, reply.headers, bytes(body)


def own_outcome(chunks, method):
    """Give status and body of a reply that is whole; None for any other."""
    found = _own(chunks, method)
    return (found[0], found[2]) if isinstance(found[1], dict) else None


def llhttp(given):
    """Read a reply by the parser of the asyncio transport, whole and in pieces."""
    seed, method, data = given.number(), given.pick(METHODS), given.rest()
    pieces, whole = _llhttp(cut(data, seed), method), _llhttp([data], method)
    assert pieces == whole
    _agreed(_own([data], method), whole)


def _llhttp(chunks, method):
    reply = Incoming(Request(method, "", {}, limits=Limits(max_response=LARGEST)), whole=True)
    for chunk in chunks:
        if reply.over:
            break
        reply.receive(chunk)
    if not reply.over:
        reply.end()
    assert reply.over
    if reply.error is not None:
        assert not reply.complete
        assert not reply.reusable
        plain(reply.error)
        return reply.status, type(reply.error), str(reply.error)
    body = reply.take()
    assert len(body) <= LARGEST
    return reply.status, reply.headers, body


def _agreed(own, other):
    """Two parsers that take a reply for whole take it for the same."""
    if isinstance(own[1], dict) and isinstance(other[1], dict):
        assert own[0] == other[0]
        assert own[2] == other[2]


CODINGS = ("gzip", "deflate", "identity", "x-gzip", "br")


def encoded(given):
    """Undo a content-encoding of any bytes, or of any body that was compressed and then broken."""
    seed, coding, how = given.number(), given.pick(CODINGS), given.number(4)
    place, change, limit = given.number(512), given.number(), given.pick((None, 100, 10_000))
    data = given.rest()
    if how:
        packed = gzip.compress(data, mtime=0) if "gzip" in coding else zlib.compress(data)
        packed *= how  # several members
        if change and place < len(packed):
            packed = packed[:place] + bytes([packed[place] ^ change]) + packed[place + 1 :]
        elif not change and coding == "gzip":
            assert _encoded([packed], coding, None) == (data * how, None)
        data = packed
    pieces, whole = _encoded(cut(data, seed), coding, limit), _encoded([data], coding, limit)
    failed = pieces[1] and whole[1]  # what is both too large and broken may be either
    assert failed or pieces == whole


def _encoded(chunks, coding, limit):
    body = bytearray()
    try:
        decoder = ContentDecoder(coding, limit)
        for chunk in chunks:
            body += decoder.receive(chunk)
        decoder.close()
    except (UnexpectedResponse, ResponseTooLarge) as error:
        return b"", plain(error)
    assert limit is None or decoder._zlib is None or len(body) <= limit
    return bytes(body), None
