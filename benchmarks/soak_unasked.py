"""Servers that send what nobody asked for: no caller may get it, and no call may fail for it.

    python -m benchmarks.soak_unasked [--requests N] [--transport NAME] [--seed N]

After each answer the server sends something unasked on the same connection, as a proxy does that
has lost count: a whole answer, a stream, part of a head, a single byte, the end of the
connection. The caller waits until it has arrived, with the event loop busy or free, and makes
its next call. Each answer names its call, so an answer that belongs to another call is detected.
Exit codes: 0 every call got its own answer, 1 some did not.
"""

import argparse
import asyncio
import json
import random
import socket
import struct
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import AsyncExitStack
from typing import Any, Final

from benchmarks.answers import MODEL
from claude_lite import AsyncClient, Client, CreateMessage, StreamMessage, never

REQUESTS: Final = 10_000
CALLERS: Final = 8
ARRIVAL: Final = 0.0005  # seconds that bytes may take over loopback
LONGEST: Final = 0.005  # seconds between an answer and what follows it
PATIENCE: Final = 10.0
RESET: Final = struct.pack("ii", 1, 0)  # SO_LINGER of 0 seconds: closing sends RST
STRAY: Final = "msg_stray"
TRANSPORTS: Final = ("aiohttp", "session", "asyncio", "urllib")


def _reply(body: bytes, kind: str = "application/json") -> bytes:
    head = f"HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body


def _message(message_id: str, text: str | None = None) -> dict[str, Any]:
    return {
        "id": message_id,
        "type": "message",
        "role": "assistant",
        "model": MODEL,
        "content": [] if text is None else [{"type": "text", "text": text}],
        "stop_reason": None if text is None else "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": 1, "output_tokens": 1},
    }


def _answer(message_id: str, *, stream: bool) -> bytes:
    if not stream:
        return _reply(json.dumps(_message(message_id, message_id)).encode())
    delta = {"type": "text_delta", "text": message_id}
    ended = {"stop_reason": "end_turn", "stop_sequence": None}
    events: tuple[dict[str, Any], ...] = (
        {"type": "message_start", "message": _message(message_id)},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": delta},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": ended, "usage": {"output_tokens": 1}},
        {"type": "message_stop"},
    )
    text = "".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events)
    return _reply(text.encode(), "text/event-stream")


UNASKED: Final = {
    "an answer": _answer(STRAY, stream=False),
    "a stream": _answer(STRAY, stream=True),
    "two answers": _answer(STRAY, stream=False) * 2,
    "half of an answer": _answer(STRAY, stream=False)[:-50],
    "an empty answer": b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
    "a timeout": b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
    "an interim answer": b"HTTP/1.1 100 Continue\r\n\r\n",
    "half of a head": b"HTTP/1.1 200 OK\r\ncontent-le",
    "a byte": b"H",
    "an end of line": b"\r\n",
    "no HTTP": b"\x00\xff" * 40,
    "much": _answer(STRAY, stream=False) * 500,
    "nothing": b"",
    "an end": b"",
    "an answer and an end": _answer(STRAY, stream=False),
    "a reset": b"",
}


class Server:
    """A server on threads. `sent` is set for a call when all that was unasked is sent."""

    def __init__(self, seed: int, kinds: list[str]) -> None:
        self._kinds = kinds
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self._random = random.Random(seed)  # noqa: S311  # repeatable
        self._ended = False
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.sent: dict[int, threading.Event] = {}
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                peer, _ = self._listener.accept()
            except OSError:  # closed
                return
            threading.Thread(target=self._serve, args=(peer,), daemon=True).start()

    def _serve(self, peer: socket.socket) -> None:
        with peer, peer.makefile("rb") as lines:
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while (asked := _request(lines)) is not None:
                serial = int(asked["messages"][0]["content"])
                what = self._random.choice(self._kinds)
                try:
                    peer.sendall(_answer(f"msg_{serial}", stream=asked.get("stream", False)))
                    time.sleep(self._random.random() * LONGEST)
                    peer.sendall(UNASKED[what])
                    if what.endswith("an end"):
                        peer.shutdown(socket.SHUT_WR)
                    elif what == "a reset":
                        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                        peer.close()
                        return
                except OSError:  # the client has closed the connection; what follows is lost
                    return
                finally:
                    self.sent[serial].set()

    def close(self) -> None:
        """Accept no more connections."""
        self._listener.close()


def _request(lines: Any) -> dict[str, Any] | None:
    """Read a request; None at the end of the connection."""
    size = 0
    try:
        while (line := lines.readline()) not in {b"\r\n", b""}:
            name, _, value = line.lower().partition(b":")
            size = int(value) if name == b"content-length" else size
        asked: dict[str, Any] | None = json.loads(lines.read(size)) if line else None
    except OSError:
        return None
    return asked


class Soak:
    """The calls to make, and what came of them."""

    def __init__(self, requests: int, server: Server, seed: int) -> None:
        self._random = random.Random(seed)  # noqa: S311  # repeatable
        self._serials = iter(range(requests))
        self._server = server
        self.outcomes: Counter[str] = Counter()

    def todo(self) -> Iterator[tuple[int, bool, bool]]:
        """Yield a number, whether it is a stream, and whether the loop is busy after it."""
        for serial in self._serials:
            self._server.sent[serial] = threading.Event()
            yield serial, self._random.random() < 0.3, self._random.random() < 0.5  # noqa: PLR2004

    def judge(self, serial: int, result: Any) -> None:
        """Count a call: its own answer, that of another, or an error."""
        right = not isinstance(result, Exception) and result.id == f"msg_{serial}"
        self.outcomes["right" if right else repr(result)] += 1

    def wait(self, serial: int) -> None:
        """Wait, blocking, until all that was unasked has arrived."""
        self._server.sent[serial].wait(PATIENCE)
        del self._server.sent[serial]
        time.sleep(ARRIVAL)


def _operation(serial: int, *, stream: bool) -> CreateMessage | StreamMessage:
    cls = StreamMessage if stream else CreateMessage
    asked = [{"role": "user", "content": str(serial)}]
    return cls(model=MODEL, max_tokens=5, messages=asked)


def _options(url: str) -> dict[str, Any]:
    return {
        "api_key": "none",
        "base_url": url,
        "timeout": PATIENCE,
        "retry": never(),
        "governor": None,
    }


# Each caller has a client of its own: only then it knows that its connection is idle.
def _call_on_threads(soak: Soak, url: str) -> None:
    def work() -> None:
        with Client("urllib", **_options(url)) as client:
            for serial, stream, _ in soak.todo():
                result: Any
                try:
                    result = client.send(_operation(serial, stream=stream))
                except Exception as error:  # noqa: BLE001  # whatever it is, it is wrong
                    result = error
                soak.judge(serial, result)
                soak.wait(serial)

    threads = [threading.Thread(target=work) for _ in range(CALLERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


async def _call_in_tasks(soak: Soak, url: str, transport: str) -> None:
    async with AsyncExitStack() as stack, asyncio.TaskGroup() as group:
        for _ in range(CALLERS):
            used: Any = transport
            if transport == "session":
                import aiohttp

                from claude_lite_transports.aiohttp import AiohttpTransport

                session = await stack.enter_async_context(aiohttp.ClientSession())
                used = AiohttpTransport(session=session)
            client = await stack.enter_async_context(AsyncClient(used, **_options(url)))
            group.create_task(_work(soak, client))


async def _work(soak: Soak, client: AsyncClient) -> None:
    for serial, stream, busy in soak.todo():
        result: Any
        try:
            result = await client.send(_operation(serial, stream=stream))
        except Exception as error:  # noqa: BLE001  # whatever it is, it is wrong
            result = error
        soak.judge(serial, result)
        if busy:
            soak.wait(serial)
        else:
            await asyncio.to_thread(soak.wait, serial)


def run(transport: str, requests: int, seed: int) -> Counter[str]:
    """Make the calls; return how often each outcome came."""
    # aiohttp's own connections refuse an answer if bytes that are no HTTP come along with it.
    kinds = [kind for kind in UNASKED if transport != "session" or kind != "no HTTP"]
    server = Server(seed, kinds)
    soak = Soak(requests, server, seed)
    if transport == "urllib":
        _call_on_threads(soak, server.url)
    else:
        asyncio.run(_call_in_tasks(soak, server.url, transport))
    server.close()
    return soak.outcomes


def main() -> int:
    """Run the soak over one transport, or over each, and print the outcomes."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak_unasked", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--requests", type=int, default=REQUESTS, help=f"default: {REQUESTS:,}")
    parser.add_argument("--transport", choices=TRANSPORTS, help="default: each in turn")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    wrong = 0
    for transport in [args.transport] if args.transport else TRANSPORTS:
        outcomes = run(transport, args.requests, args.seed)
        wrong += args.requests - outcomes["right"]
        print(f"{transport}: {outcomes['right']:,} of {args.requests:,} right", flush=True)
        for outcome, times in outcomes.items():
            if outcome != "right":
                print(f"  {times:,} times: {outcome}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
