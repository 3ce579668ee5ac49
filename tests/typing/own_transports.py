"""Transports of one's own: the protocols are all it takes. Checked, and never run."""
# pyright: reportUnnecessaryTypeIgnoreComment=true

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from claude_lite import AsyncClient, AsyncTransport, Client, Request, Response, Transport
from claude_lite.wire import AsyncHeadAndChunks, HeadAndChunks
from claude_lite_transports.aiohttp import AiohttpTransport
from claude_lite_transports.emulator import AsyncEmulatorTransport, EmulatorTransport
from claude_lite_transports.recording import AsyncRecordingTransport, RecordingTransport
from claude_lite_transports.urllib import UrllibTransport


class Mine:
    """A synchronous transport."""

    def send(self, request: Request, /) -> Response:
        """Answer without a network."""
        return Response(200, dict(request.headers))

    @contextmanager
    def stream(self, request: Request, /) -> Iterator[HeadAndChunks]:
        """Answer in pieces."""
        yield Response(200, dict(request.headers)), [b""]

    def sleep(self, seconds: float, /) -> None:
        """Do not wait."""

    def close(self) -> None:
        """Close nothing."""


class MineAsync:
    """An asynchronous transport."""

    async def send(self, request: Request, /) -> Response:
        """Answer without a network."""
        return Response(200, dict(request.headers))

    @asynccontextmanager
    async def stream(self, request: Request, /) -> AsyncIterator[AsyncHeadAndChunks]:
        """Answer in pieces."""
        yield Response(200, dict(request.headers)), self._chunks()

    async def _chunks(self) -> AsyncIterator[bytes]:
        yield b""

    async def sleep(self, seconds: float, /) -> None:
        """Do not wait."""

    async def close(self) -> None:
        """Close nothing."""


class Half:
    """A transport that cannot stream."""

    def send(self, request: Request, /) -> Response:
        """Answer without a network."""
        return Response(200, dict(request.headers))

    def sleep(self, seconds: float, /) -> None:
        """Do not wait."""

    def close(self) -> None:
        """Close nothing."""


SYNC: list[Transport] = [
    Mine(),
    UrllibTransport(),
    EmulatorTransport(),
    RecordingTransport("calls.json", UrllibTransport()),
]
ASYNC: list[AsyncTransport] = [
    MineAsync(),
    AiohttpTransport(),
    AsyncEmulatorTransport(),
    AsyncRecordingTransport("calls.json", AiohttpTransport()),
]

Client(Mine())
AsyncClient(MineAsync())
Client("mine")
Client(MineAsync())  # type: ignore[arg-type]
AsyncClient(Mine())  # type: ignore[arg-type]
Client(Half())  # type: ignore[arg-type]
RecordingTransport("calls.json", AiohttpTransport())  # type: ignore[arg-type]
