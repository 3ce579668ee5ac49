"""The server of the benchmarks: it writes prepared bytes.

The server runs in a process of its own, on uvloop if that is installed. The first part of a path
chooses the answer (`ROUTES`), so a scenario is a base URL. The server only finds where a request
ends. `GET /cpu` returns the CPU seconds that the server has used, from which `run` computes
whether the server slowed down a client.
"""

import asyncio
import contextlib
import resource
import time
from collections.abc import Callable
from typing import Final

from benchmarks import answers

DELAY: Final = 0.2
STORM: Final = 3  # every third request is refused


def _reply(body: bytes, kind: str, status: str = "200 OK", more: str = "") -> bytes:
    head = (
        f"HTTP/1.1 {status}\r\ncontent-type: {kind}\r\nrequest-id: req_011CSHoEeqs5C35K2UUqR7Fy\r\n"
        "anthropic-organization-id: 1a2b3c4d-0000-4000-8000-000000000000\r\n"
        "anthropic-ratelimit-requests-limit: 4000\r\n"
        "anthropic-ratelimit-requests-remaining: 3999\r\n"
        "anthropic-ratelimit-requests-reset: 2026-11-20T12:00:00Z\r\n"
        f"{more}content-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def _pair(ours: bytes, theirs: bytes, kind: str) -> tuple[bytes, bytes]:
    return _reply(ours, kind), _reply(theirs, kind)


def _chunked(events: list[bytes]) -> list[bytes]:
    head = _reply(b"", "text/event-stream").replace(
        b"content-length: 0", b"transfer-encoding: chunked"
    )
    framed = [b"%x\r\n%b\r\n" % (len(event), event) for event in events]
    return [head, *framed, b"0\r\n\r\n"]


JSON: Final = "application/json"
SMALL: Final = _pair(answers.message(1200), answers.completion(1200), JSON)
LARGE: Final = _pair(answers.message(40_000), answers.completion(40_000), JSON)
EVENTS: Final = _chunked(answers.text_stream()), _chunked(answers.completion_stream())
BURST: Final = tuple(b"".join(events) for events in EVENTS)
OVERLOADED: Final = _reply(
    b'{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}',
    JSON,
    "529 Overloaded",
    "retry-after-ms: 1\r\n",
)


class Canned(asyncio.Protocol):
    """One connection."""

    refused = 0

    def __init__(self) -> None:
        self._buffer = b""
        self._loop = asyncio.get_running_loop()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport: asyncio.WriteTransport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        """Answer each complete request."""
        buffer = self._buffer + data if self._buffer else data
        while (end := buffer.find(b"\r\n\r\n")) >= 0:
            head = buffer[:end].lower()
            at = head.find(b"\r\ncontent-length:")
            size = int(head[at + 17 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            if len(buffer) < end + 4 + size:
                break
            buffer = buffer[end + 4 + size :]
            path = head[head.find(b" ") + 1 : head.find(b" http/")]
            ROUTES[path.split(b"/", 2)[1]](self, path.endswith(b"/chat/completions"))
        self._buffer = buffer

    def _small(self, theirs: int) -> None:
        self._transport.write(SMALL[theirs])

    def _large(self, theirs: int) -> None:
        self._transport.write(LARGE[theirs])

    def _burst(self, theirs: int) -> None:
        self._transport.write(BURST[theirs])

    def _trickle(self, theirs: int) -> None:
        pieces = iter(EVENTS[theirs])

        def write() -> None:
            for piece in pieces:
                self._transport.write(piece)
                self._loop.call_soon(write)  # after the written bytes have been sent
                return

        write()

    def _slow(self, theirs: int) -> None:
        self._loop.call_later(DELAY, self._transport.write, SMALL[theirs])

    def _storm(self, theirs: int) -> None:
        Canned.refused = (Canned.refused + 1) % STORM
        self._transport.write(SMALL[theirs] if Canned.refused else OVERLOADED)

    def _cpu(self, _: int) -> None:
        self._transport.write(_reply(b"%.6f" % time.process_time(), "text/plain"))


ROUTES: Final[dict[bytes, Callable[[Canned, int], None]]] = {
    b"small": Canned._small,
    b"large": Canned._large,
    b"burst": Canned._burst,
    b"trickle": Canned._trickle,
    b"slow": Canned._slow,
    b"storm": Canned._storm,
    b"cpu": Canned._cpu,
}


async def _serve() -> None:
    server = await asyncio.get_running_loop().create_server(
        Canned, "127.0.0.1", 0, backlog=8192, reuse_address=True
    )
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def main() -> None:
    """Serve on a free port, and print its number."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    run: Callable[..., None] = asyncio.run
    with contextlib.suppress(ImportError):
        import uvloop  # uvloop is optional

        run = uvloop.run
    with contextlib.suppress(KeyboardInterrupt):
        run(_serve())


if __name__ == "__main__":
    main()
