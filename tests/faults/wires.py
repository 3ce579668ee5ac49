"""What the server sends in the cases, and how: replies as bytes, and the scripts that send them."""

import itertools
import json
from contextlib import AbstractContextManager
from time import sleep
from typing import Any

from expectations import REQUEST_ID, TEXT, USAGE, Serve, Served, serving

from claude_lite.testing.conformance.loopback import Peer, Script, reply

# What is sent


def message(**changes: Any) -> dict[str, Any]:
    """Make a message as the API writes it."""
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": [{"type": "text", "text": TEXT}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": USAGE,
        **changes,
    }


def event(kind: str, **fields: Any) -> bytes:
    """Write an event of a stream."""
    data = json.dumps({"type": kind, **fields}, ensure_ascii=False)
    return f"event: {kind}\ndata: {data}\n\n".encode()


def delta(text: str) -> bytes:
    """Write a piece of text."""
    return event("content_block_delta", index=0, delta={"type": "text_delta", "text": text})


START = event("message_start", message=message(content=[], stop_reason=None))
PING = event("ping")
BLOCK = event("content_block_start", index=0, content_block={"type": "text", "text": ""})
ONE, TWO = delta(TEXT[:9]), delta(TEXT[9:])
END = event("content_block_stop", index=0)
LAST = event("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 5})
STOP = event("message_stop")
EVENTS = (START, PING, BLOCK, ONE, TWO, END, LAST, STOP)
SSE = b"".join(EVENTS)
PINGS = b"%x\r\n%b\r\n" % (len(PING), PING)
JSON = json.dumps(message(), ensure_ascii=False).encode()
JSON_TYPE, SSE_TYPE = "application/json", "text/event-stream"
GZIP = "Content-Encoding: gzip"
HTML = b"<!doctype html><html><title>Sign in</title></html>"


def envelope(type_: str = "api_error", note: str = "no", **details: Any) -> bytes:
    """Write an error as the API does."""
    error = {"type": type_, "message": note, **({"details": details} if details else {})}
    return json.dumps({"type": "error", "error": error}).encode()


def http(
    body: bytes, kind: str = JSON_TYPE, *headers: str, status: str = "200 OK", **how: Any
) -> bytes:
    """Write a response with a content-type and a request id."""
    known = (f"Content-Type: {kind}", f"Request-Id: {REQUEST_ID}")
    return reply(body, *(known if kind else known[1:]), *headers, status=status, **how)


def open_ended(kind: str, *pieces: bytes, end: bool = False) -> list[bytes]:
    """Write a chunked response in pieces, without its end unless *end*."""
    head = (
        f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nRequest-Id: {REQUEST_ID}\r\n"
        "Transfer-Encoding: chunked\r\n\r\n"
    )
    chunks = [b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces]
    return [head.encode(), *chunks, *([b"0\r\n\r\n"] if end else [])]


# How it is sent


def says(*pieces: bytes, then: str = "close", pause: float = 0.0) -> Script:
    """Make a script: these bytes to each request; then close, reset, wait or keep."""

    def script(peer: Peer) -> None:
        while peer.request():
            for piece in pieces:
                peer.send(piece)
                sleep(pause)
            if then == "wait":
                peer.gone(2.0)
            elif then == "reset":
                sleep(0.03)  # what was sent before a reset may be lost with it
                peer.reset()
            if then != "keep":
                return

    return script


def drips(start: bytes, drop: bytes) -> Script:
    """Make a script: begin a reply, and send drops without an end."""

    def script(peer: Peer) -> None:
        if peer.request():
            peer.send(start)
            for _ in range(100):
                peer.send(drop)
                sleep(0.03)

    return script


def choosing(plain: Script, streamed: Script) -> Script:
    """Make a script that depends on the form of the call, by what the request asks for."""

    def script(peer: Peer) -> None:
        head = peer.head()
        whole = head and peer.body(head)
        if whole:
            request = iter([whole])
            peer.request = lambda: next(request, None) or Peer.request(peer)  # type: ignore[method-assign]
            (streamed if b'"stream":true' in whole.body else plain)(peer)

    return script


def good(*headers: str) -> Script:
    """Make a script: the right answer, in either form."""
    return choosing(
        says(http(JSON, JSON_TYPE, *headers), then="keep"),
        says(http(SSE, SSE_TYPE, *headers), then="keep"),
    )


def first(*replies: bytes) -> Serve:
    """Give a server that sends these replies first, and then what it should."""

    def serve() -> AbstractContextManager[Served]:
        count = itertools.count()

        def script(peer: Peer) -> None:
            while whole := peer.request():
                number = next(count)
                right = SSE if b'"stream":true' in whole.body else JSON
                kind = SSE_TYPE if right is SSE else JSON_TYPE
                sent = replies[number] if number < len(replies) else http(right, kind)
                peer.send(sent)

        return serving(script)

    return serve
