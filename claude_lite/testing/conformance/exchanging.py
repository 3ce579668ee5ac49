"""Conformance: requests on the wire, byte for byte, and the responses read from it."""

import gzip
from collections.abc import Iterator
from typing import Final

from claude_lite.testing.conformance.cases import Case, both_ways, case, get, holds, post, same
from claude_lite.testing.conformance.loopback import (
    LoopbackServer,
    Peer,
    Received,
    chunked,
    reply,
    replying,
)
from claude_lite.wire import AsyncTransport, Request

CASES: Final[list[Case]] = []

OWN_HEADERS: Final = {"host", "content-length", "connection"}


class Pieces:
    """A body source that can be read again and again: pieces of bytes that differ."""

    def __init__(self, count: int, size: int) -> None:
        self.size = count * size
        self._count = count

    def __iter__(self) -> Iterator[bytes]:
        length = self.size // self._count
        return (bytes([number % 256]) * length for number in range(self._count))


async def exchange(transport: AsyncTransport, request: Request, server: LoopbackServer) -> Received:
    """Send a request; return the request as the server received it."""
    await transport.send(request)
    return server.received[-1]


@case(CASES)
async def method_and_target_go_out_as_they_are(transport: AsyncTransport) -> None:
    """The method, and the path and query of the URL, are sent unchanged, byte for byte."""
    targets = (
        "/v1/messages",
        "/v1/files/file_1/content?beta=true",
        "/v1/models?after_id=a%20b&x[]=%5B1%5D&y=a+b&z=%7E~&empty=",
        "/v1/a%2Fb%2fc/%41/..%2e/;p=1:2@3!$&'()*,=",
    )
    with LoopbackServer(replying(reply())) as server:
        for method in ("GET", "DELETE", "POST"):
            for target in targets:
                request = Request(method, server.url(target), {})
                got = await exchange(transport, request, server)
                same((got.method, got.target), (method, target), "the request line")


@case(CASES)
async def headers_go_out_as_they_are(transport: AsyncTransport) -> None:
    """Each header is sent once, with its value unchanged."""
    headers = {
        "x-api-key": "sk-ant-test",
        "anthropic-version": "2023-06-01",
        "anthropic-beta": "a-2026-01-01,b-2026-01-01",
        "accept": "application/json",
        "x-odd": 'two  spaces; "quotes", commas',
    }
    with LoopbackServer(replying(reply())) as server:
        got = await exchange(transport, post(server, headers=headers), server)
        for name, value in headers.items():
            same(got.values(name), [value], f"header {name}")
        host = server.url("").removeprefix("http://")
        same(got.values("host"), [host], "header host")


@case(CASES)
async def no_header_is_made_up(transport: AsyncTransport) -> None:
    """A transport adds `host`, `content-length` and `connection`, and no other header."""
    with LoopbackServer(replying(reply())) as server:
        for request in (get(server), post(server)):
            got = await exchange(transport, request, server)
            names = {name.lower() for name, _ in got.headers}
            same(names - set(request.headers) - OWN_HEADERS, set(), "headers added")


@case(CASES)
async def bytes_go_out_with_their_length(transport: AsyncTransport) -> None:
    """A body of bytes, of any size, arrives unchanged, with its content-length."""
    with LoopbackServer(replying(reply())) as server:
        for body in (b'{"text":"\xc3\xa9 \x00\r\n\r\n"}', bytes(range(256)) * 8192):
            got = await exchange(transport, post(server, body), server)
            same(got.values("content-length"), [str(len(body))], "header content-length")
            same(got.values("transfer-encoding"), [], "header transfer-encoding")
            holds(got.body == body, f"{len(body)} bytes did not arrive as they were")


@case(CASES)
async def an_empty_body_is_empty(transport: AsyncTransport) -> None:
    """A request without a body announces no body."""
    with LoopbackServer(replying(reply())) as server:
        for method in ("GET", "DELETE", "POST"):
            request = Request(method, server.url(), {})
            got = await exchange(transport, request, server)
            length = got.values("content-length") or ["0"]
            same((length, got.values("transfer-encoding")), (["0"], []), f"framing of {method}")


@case(CASES)
async def a_body_source_goes_out_with_its_length(transport: AsyncTransport) -> None:
    """A body source arrives whole, with its exact content-length, each time it is sent."""
    source = Pieces(40, 50_000)
    with LoopbackServer(replying(reply())) as server:
        request = post(server, source)
        for attempt in ("first", "second"):
            got = await exchange(transport, request, server)
            same(got.values("content-length"), [str(source.size)], "header content-length")
            same(got.values("transfer-encoding"), [], "header transfer-encoding")
            holds(got.body == b"".join(source), f"the {attempt} did not arrive whole")


@case(CASES)
async def an_early_answer_is_delivered(transport: AsyncTransport) -> None:
    """The answer of a server that refuses a large body before reading it is delivered."""

    def refuse(peer: Peer) -> None:
        if peer.head():
            peer.send(reply(b"too large", "Connection: close", status="413 Too Large"))
            peer.finish()
            peer.gone()

    with LoopbackServer(refuse) as server:
        for body in (Pieces(200, 100_000), bytes(20_000_000)):
            response = await transport.send(post(server, body))
            same((response.status, response.body), (413, b"too large"), "the early answer")


@case(CASES)
async def status_headers_and_body_come_back(transport: AsyncTransport) -> None:
    """Headers have lower-case names and trimmed values; repeated headers are joined."""
    head = ("Request-Id: req_1", "X-Twice: a", "x-twice:  b ", "X-Empty:", "X-Colon: a:b")
    with LoopbackServer(replying(reply(b'{"a": 1}', *head))) as server:
        for call in both_ways(transport):
            response = await call(post(server))
            same((response.status, response.body), (200, b'{"a": 1}'), "status and body")
            expected = {"request-id": "req_1", "x-twice": "a, b", "x-empty": "", "x-colon": "a:b"}
            got = {name: response.headers.get(name) for name in expected}
            same(got, expected, "headers")
            same([name for name in response.headers if name != name.lower()], [], "upper case")


@case(CASES)
async def error_statuses_are_responses(transport: AsyncTransport) -> None:
    """A transport raises no error for a status, and does not retry."""
    for status in (400, 401, 404, 408, 409, 413, 429, 500, 503, 529):
        answer = reply(b"no", "Retry-After: 1", "X-Should-Retry: true", status=f"{status} No")
        with LoopbackServer(replying(answer)) as server:
            for call in both_ways(transport):
                response = await call(post(server))
                same((response.status, response.body), (status, b"no"), "the response")
            same(len(server.received), 2, "requests that two calls took")


@case(CASES)
async def redirects_are_responses(transport: AsyncTransport) -> None:
    """A redirect is not followed, so that the key does not go to another server."""
    for status in (301, 302, 303, 307, 308):
        with LoopbackServer(
            replying(reply(b"away", "Location: /elsewhere", status=f"{status} Away"))
        ) as server:
            for call in both_ways(transport):
                response = await call(get(server))
                same(response.status, status, "status")
                same(response.headers.get("location"), "/elsewhere", "header location")
            same(len(server.received), 2, "requests that two calls took")


@case(CASES)
async def compressed_bodies_stay_compressed(transport: AsyncTransport) -> None:
    """A transport returns compressed bytes unchanged; the core decompresses them."""
    packed = gzip.compress(b"hello " * 100)
    with LoopbackServer(replying(reply(packed, "Content-Encoding: gzip"))) as server:
        for call in both_ways(transport):
            response = await call(get(server))
            same(response.body, packed, "body")
            same(response.headers.get("content-encoding"), "gzip", "header content-encoding")


@case(CASES)
async def chunked_bodies_are_whole(transport: AsyncTransport) -> None:
    """Chunked bodies are decoded, wherever the bytes are cut, with extensions and trailers."""
    body = b"one\r\n0\r\n\r\n" + bytes(range(256)) * 300
    plain = chunked(body[:4], body[4:5], body[5:])
    extended = chunked(b"on", end=b'1;ext="v"\r\ne\r\n0;last\r\nX-Trailer: t\r\n\r\n')

    def by_bytes(peer: Peer) -> None:
        while peer.request():
            peer.send(*(extended[at : at + 1] for at in range(len(extended))))

    with LoopbackServer(replying(plain)) as server, LoopbackServer(by_bytes) as slow:
        for call in both_ways(transport):
            holds((await call(get(server))).body == body, "the body is not whole")
            same((await call(get(slow))).body, b"one", "a body with extensions and trailers")


@case(CASES)
async def a_body_may_end_with_the_connection(transport: AsyncTransport) -> None:
    """A body without a content-length ends when the connection ends, as in HTTP/1.0."""

    def script(peer: Peer) -> None:
        if peer.request():
            version = b"1.0" if peer.number % 2 else b"1.1"
            peer.send(b"HTTP/%b 200 OK\r\nConnection: close\r\n\r\n" % version, b"to the", b" end")

    with LoopbackServer(script) as server:
        for call in both_ways(transport) * 2:
            same((await call(get(server))).body, b"to the end", "body")


@case(CASES)
async def some_responses_have_no_body(transport: AsyncTransport) -> None:
    """Responses with status 204 or 304, or to HEAD, have no body, whatever they announce."""
    with LoopbackServer(
        replying(
            b"HTTP/1.1 204 No Content\r\n\r\n",
            b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
            reply(length=5),
        )
    ) as server:
        for method, status in (("DELETE", 204), ("GET", 304), ("HEAD", 200)):
            response = await transport.send(Request(method, server.url(), {}))
            same((response.status, response.body), (status, b""), f"the answer to {method}")


@case(CASES)
async def interim_responses_are_passed_over(transport: AsyncTransport) -> None:
    """Responses with status 100 and 103 are skipped."""
    interim = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nX-Early: 1\r\n\r\n"
    with LoopbackServer(replying(interim + reply(b"final"))) as server:
        for call in both_ways(transport):
            response = await call(post(server))
            same((response.status, response.body), (200, b"final"), "the response")
            holds("x-early" not in response.headers, "an interim header is among the final ones")


@case(CASES)
async def no_cookie_is_kept(transport: AsyncTransport) -> None:
    """A cookie in `set-cookie` is not sent with the next request."""
    with LoopbackServer(replying(reply(b"", "Set-Cookie: a=1; Path=/"))) as server:
        response = await transport.send(get(server))
        same(response.headers.get("set-cookie"), "a=1; Path=/", "header set-cookie")
        got = await exchange(transport, get(server), server)
        same(got.values("cookie"), [], "header cookie of the next request")
