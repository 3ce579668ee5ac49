"""The compared clients: each makes a call, or reads a stream, as its users usually do.

A class imports its library when an instance is made. If the import fails, the peer is skipped,
and the error says why. Clients written by hand retry in a loop.
"""

import asyncio
import json
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import urlsplit

from benchmarks.answers import MODEL, QUESTION

OVERLOADED: Final = 529
KEY: Final = "sk-ant-none"
HEADERS: Final = {
    "x-api-key": KEY,
    "anthropic-version": "2023-06-01",
    "content-type": "application/json",
}


class Aiohttp:
    """By hand, with aiohttp and json: the baseline of all other clients."""

    def __init__(self, base_url: str) -> None:
        import aiohttp

        self._url = base_url + "/v1/messages"
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(None)
        )
        self.dumps: Callable[[Any], bytes] = lambda value: json.dumps(value).encode()
        self.loads: Callable[[bytes], Any] = json.loads

    async def call(self) -> None:
        """One call, answered whole."""
        while True:
            data = self.dumps(QUESTION)
            async with self._session.post(self._url, data=data, headers=HEADERS) as response:
                body = await response.read()
            if response.status != OVERLOADED:
                break
            await asyncio.sleep(float(response.headers["retry-after-ms"]) / 1000)
        assert self.loads(body)["content"][0]["text"]

    async def stream(self, *, whole: bool) -> None:
        """One stream: each event, or the final message."""
        data = self.dumps({**QUESTION, "stream": True})
        loads, text, seen, buffer = self.loads, [], 0, b""
        async with self._session.post(self._url, data=data, headers=HEADERS) as response:
            async for chunk in response.content.iter_any():
                *lines, buffer = (buffer + chunk).split(b"\n")
                for line in lines:
                    if line.startswith(b"data: "):
                        event = loads(line[6:])
                        seen += 1
                        if whole and event["type"] == "content_block_delta":
                            text.append(event["delta"]["text"])
        assert seen
        assert "".join(text) or not whole

    async def close(self) -> None:
        """Close its connections."""
        await self._session.close()


class AiohttpOrjson(Aiohttp):
    """By hand, with aiohttp and orjson."""

    def __init__(self, base_url: str) -> None:
        import orjson

        super().__init__(base_url)
        self.dumps, self.loads = orjson.dumps, orjson.loads


class _Wire(asyncio.Protocol):
    """A connection of the bare client: it collects one response after another."""

    def __init__(self) -> None:
        self.chunks: list[bytes] = []
        self.waiter: asyncio.Future[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport

    def data_received(self, data: bytes) -> None:
        self.chunks.append(data)
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_result(None)

    async def more(self) -> bytes:
        if not self.chunks:
            self.waiter = asyncio.get_running_loop().create_future()
            await self.waiter
        data = b"".join(self.chunks)
        self.chunks.clear()
        return data


class Bare:
    """A protocol on a socket, and orjson, without any checks: the limit of what Python can do."""

    def __init__(self, base_url: str) -> None:
        import orjson

        self._dumps, self._loads = orjson.dumps, orjson.loads
        parts = urlsplit(base_url)
        self._address = str(parts.hostname), int(parts.port or 80)
        names = "".join(f"{name}: {value}\r\n" for name, value in HEADERS.items())
        self._head = (
            f"POST {parts.path}/v1/messages HTTP/1.1\r\nhost: {parts.netloc}\r\n{names}"
            "content-length: "
        ).encode()
        self._idle: list[_Wire] = []

    async def _ask(self, question: dict[str, Any]) -> _Wire:
        if self._idle:
            wire = self._idle.pop()
        else:
            loop = asyncio.get_running_loop()
            _, wire = await loop.create_connection(_Wire, *self._address)
        body = self._dumps(question)
        wire.transport.write(b"%b%d\r\n\r\n%b" % (self._head, len(body), body))
        return wire

    async def call(self) -> None:
        """One call, answered whole."""
        while True:
            wire = await self._ask(QUESTION)
            data = await wire.more()
            while (end := data.find(b"\r\n\r\n")) < 0:
                data += await wire.more()
            at = data.index(b"content-length: ") + 16
            size = end + 4 + int(data[at : data.index(b"\r\n", at)])
            while len(data) < size:
                data += await wire.more()
            self._idle.append(wire)
            if not data.startswith(b"HTTP/1.1 529"):
                break
            await asyncio.sleep(0.001)
        assert self._loads(data[end + 4 :])["content"][0]["text"]

    async def stream(self, *, whole: bool) -> None:
        """One stream: each event, or the final message."""
        wire = await self._ask({**QUESTION, "stream": True})
        text, buffer, last = [], b"", False
        while not last:
            *lines, buffer = (buffer + await wire.more()).split(b"\n")
            for line in lines:
                if line.startswith(b"data: "):
                    event = self._loads(line[6:])
                    if whole and event["type"] == "content_block_delta":
                        text.append(event["delta"]["text"])
                elif line == b"0\r":
                    last = True
        while buffer != b"" or lines[-1] != b"\r":
            *lines, buffer = (buffer + await wire.more()).split(b"\n")
        self._idle.append(wire)
        assert "".join(text) or not whole

    async def close(self) -> None:
        """Close its connections."""
        for wire in self._idle:
            wire.transport.close()


class Ours:
    """claude_lite, over aiohttp unless another transport is named."""

    def __init__(self, base_url: str, transport: Any = None) -> None:
        from claude_lite import AsyncClient, standard

        self._client = AsyncClient(
            transport or _transport("aiohttp"),
            api_key=KEY,
            base_url=base_url,
            retry=standard(attempts=10_000, wait=0.0),  # clients by hand retry without a limit
            governor=None,  # and no other client has one
        )
        self._create = self._client.messages.create
        self._stream = self._client.messages.stream

    async def call(self) -> None:
        """One call, answered whole."""
        message: Any = await self._create(**QUESTION)
        assert message.content[0].text

    async def stream(self, *, whole: bool) -> None:
        """One stream: each event, or the final message."""
        event: Any
        async with self._stream(**QUESTION) as stream:
            if whole:
                assert (await stream.final_message()).content
            else:
                async for event in stream:
                    assert event.type

    async def close(self) -> None:
        """Close its connections."""
        await self._client.close()


def _transport(name: str) -> Any:
    if name == "aiohttp":
        from claude_lite_transports.aiohttp import AiohttpTransport

        return AiohttpTransport()
    from claude_lite_transports.asyncio import AsyncioTransport

    return AsyncioTransport()


def _ours_asyncio(base_url: str) -> Ours:
    return Ours(base_url, _transport("asyncio"))


class OursRecording(Ours):
    """claude_lite with every call recorded to a file that is deleted."""

    def __init__(self, base_url: str) -> None:
        import tempfile
        from pathlib import Path

        from claude_lite_transports.recording import AsyncRecordingTransport

        self._folder = tempfile.TemporaryDirectory()
        path = Path(self._folder.name) / "cassette.json"
        inner = _transport("aiohttp")
        super().__init__(base_url, AsyncRecordingTransport(path, inner, "rewrite", force=True))

    async def close(self) -> None:
        """Save the recording, and delete it."""
        await super().close()
        self._folder.cleanup()


def _ours_logging(base_url: str) -> Ours:
    """claude_lite with a JSON line per attempt and call, written to /dev/null."""
    import os
    from pathlib import Path

    import orjson
    import structlog

    nowhere = Path(os.devnull).open("wb")  # noqa: SIM115  # open as long as the process lives
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(serializer=orjson.dumps),
        ],
        logger_factory=structlog.BytesLoggerFactory(nowhere),
        cache_logger_on_first_use=True,
    )
    return Ours(base_url)


class Sdk:
    """The official SDK, on its default backend."""

    def __init__(self, base_url: str, http_client: Any = None) -> None:
        import anthropic

        self._client = anthropic.AsyncAnthropic(
            api_key=KEY, base_url=base_url, max_retries=50, http_client=http_client
        )

    async def call(self) -> None:
        """One call, answered whole."""
        message = await self._client.messages.create(**QUESTION)
        assert message.content[0].text

    async def stream(self, *, whole: bool) -> None:
        """One stream: each event, or the final message."""
        if whole:
            async with self._client.messages.stream(**QUESTION) as stream:
                assert (await stream.get_final_message()).content
        else:
            async for event in await self._client.messages.create(**QUESTION, stream=True):
                assert event.type

    async def close(self) -> None:
        """Close its connections."""
        await self._client.close()


def _sdk_aiohttp(base_url: str) -> Sdk:
    import anthropic

    return Sdk(base_url, anthropic.DefaultAioHttpClient())


class OpenAI:
    """OpenAI's client, which reads answers in OpenAI's form; for reference."""

    def __init__(self, base_url: str) -> None:
        import openai

        self._client = openai.AsyncOpenAI(api_key=KEY, base_url=base_url, max_retries=50)

    async def call(self) -> None:
        """One call, answered whole."""
        create = self._client.chat.completions.create
        answer = await create(model=MODEL, messages=QUESTION["messages"])
        assert answer.choices[0].message.content

    async def stream(self, *, whole: bool) -> None:
        """One stream: each event, or the final message."""
        if whole:
            completions = self._client.chat.completions
            async with completions.stream(model=MODEL, messages=QUESTION["messages"]) as stream:
                assert (await stream.get_final_completion()).choices
        else:
            create = self._client.chat.completions.create
            messages = QUESTION["messages"]
            async for event in await create(model=MODEL, messages=messages, stream=True):
                assert event.choices

    async def close(self) -> None:
        """Close its connections."""
        await self._client.close()


class Litellm:
    """litellm, with the same model."""

    def __init__(self, base_url: str) -> None:
        import litellm

        self._module = litellm
        self._options: dict[str, Any] = {
            "model": f"anthropic/{MODEL}",
            "messages": QUESTION["messages"],
            "max_tokens": QUESTION["max_tokens"],
            "api_base": base_url,
            "api_key": KEY,
        }

    async def call(self) -> None:
        """One call, answered whole."""
        while True:
            try:
                answer = await self._module.acompletion(**self._options)
            except self._module.InternalServerError:
                await asyncio.sleep(0.001)
            else:
                break
        assert answer.choices[0].message.content

    async def stream(self, *, whole: bool) -> None:
        """One stream: each event, or the final message."""
        chunks = [c async for c in await self._module.acompletion(**self._options, stream=True)]
        if whole:
            assert self._module.stream_chunk_builder(chunks).choices

    async def close(self) -> None:
        """Do nothing: litellm manages its connections itself."""


ASYNC: Final[dict[str, Callable[[str], Any]]] = {
    "aiohttp + json": Aiohttp,
    "aiohttp + orjson": AiohttpOrjson,
    "bare protocol": Bare,
    "claude_lite aiohttp": Ours,
    "claude_lite asyncio": _ours_asyncio,
    "claude_lite recording": OursRecording,
    "claude_lite logging": _ours_logging,
    "anthropic": Sdk,
    "anthropic aiohttp": _sdk_aiohttp,
    "openai": OpenAI,
    "litellm": Litellm,
}


class HttpClient:
    """By hand, sync: http.client with a connection per thread, and json."""

    def __init__(self, base_url: str) -> None:
        import http.client
        import threading

        parts = urlsplit(base_url)
        self._path = parts.path + "/v1/messages"
        self._own = threading.local()
        self._make = lambda: http.client.HTTPConnection(parts.hostname or "", parts.port)

    def call(self) -> None:
        """One call."""
        connection = getattr(self._own, "connection", None)
        if connection is None:
            connection = self._own.connection = self._make()
        connection.request("POST", self._path, json.dumps(QUESTION).encode(), HEADERS)
        assert json.loads(connection.getresponse().read())["content"][0]["text"]


class OursSync:
    """The sync client of claude_lite."""

    def __init__(self, base_url: str) -> None:
        from claude_lite import Client

        self._create = Client(api_key=KEY, base_url=base_url, governor=None).messages.create

    def call(self) -> None:
        """One call."""
        message: Any = self._create(**QUESTION)
        assert message.content[0].text


class SdkSync:
    """The sync client of the SDK."""

    def __init__(self, base_url: str) -> None:
        import anthropic

        self._create: Any = anthropic.Anthropic(api_key=KEY, base_url=base_url).messages.create

    def call(self) -> None:
        """One call."""
        assert self._create(**QUESTION).content[0].text


SYNC: Final[dict[str, Callable[[str], Any]]] = {
    "http.client + json": HttpClient,
    "claude_lite urllib": OursSync,
    "anthropic": SdkSync,
}
