"""Every sample of the wire, over every way that it can come, sync and async."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from places import SAMPLES

from claude_lite import (
    AsyncClient,
    ClaudeError,
    Client,
    CountTokens,
    CreateMessage,
    StreamMessage,
    never,
)
from claude_lite.emulator import Emulator
from claude_lite.emulator.serving import emulator_server
from claude_lite_transports.aiohttp import AiohttpTransport
from claude_lite_transports.emulator import AsyncEmulatorTransport, EmulatorTransport
from claude_lite_transports.recording import AsyncRecordingTransport, RecordingTransport
from claude_lite_transports.urllib import UrllibTransport

MESSAGES = sorted(SAMPLES.glob("responses/*messages.create*.json"))
COUNTS = sorted(SAMPLES.glob("responses/*messages.count_tokens.json"))
ERRORS = sorted(SAMPLES.glob("errors/*.json"))
STREAMS = [p for p in sorted(SAMPLES.glob("streams/*.sse")) if "completions" not in p.name]
JSON = {"content-type": "application/json"}
KEY = "sk-ant-api-sample"


def rules() -> list[dict[str, Any]]:
    """A script by which the emulator gives the sample whose name is in the request."""
    answers = {p: (200, JSON, p.read_text()) for p in (*MESSAGES, *COUNTS)}
    for path in STREAMS:
        text = path.read_bytes().decode()  # its line ends are part of it
        answers[path] = (200, {"content-type": "text/event-stream; charset=utf-8"}, text)
    for path in ERRORS:
        sample = json.loads(path.read_text())
        text = sample.get("body_text", json.dumps(sample.get("body")))
        answers[path] = (sample["status"], sample["headers"], text)
    return [
        {
            "on": {"contains": f"sample {path.name}"},
            "do": {"fault": "status", "status": status, "headers": headers, "body": body},
        }
        for path, (status, headers, body) in answers.items()
    ]


def asking_for(path: Path) -> Any:
    """The operation that is answered with the sample at *path*."""
    fields: dict[str, Any] = {
        "model": "claude-sonnet-5-5",
        "messages": [{"role": "user", "content": f"sample {path.name}"}],
    }
    if path in COUNTS:
        return CountTokens(**fields)
    cls = StreamMessage if path in STREAMS else CreateMessage
    return cls(max_tokens=64, **fields)


def outcome(result: Any) -> Any:
    """A result or an error as plain data, without what differs from one answer to the next."""
    data = result.to_dict()
    return {k: v for k, v in data.items() if k not in {"request_id", "organization_id"}}


def by_sync(transport: Any, url: str, path: Path) -> Any:
    """What a `Client` makes of the sample."""
    client = Client(transport, api_key=KEY, base_url=url, retry=never())
    try:
        return outcome(client.send(asking_for(path)))
    except ClaudeError as error:
        return outcome(error)


def by_async(transport: Any, url: str, path: Path) -> Any:
    """What an `AsyncClient` makes of the sample."""

    async def call() -> Any:
        client = AsyncClient(transport, api_key=KEY, base_url=url, retry=never())
        try:
            return outcome(await client.send(asking_for(path)))
        except ClaudeError as error:
            return outcome(error)
        finally:
            await client.close()

    return asyncio.run(call())


@pytest.fixture(scope="module")
def emulator():
    """An emulator that answers with samples."""
    return Emulator(faults=rules())


@pytest.fixture(scope="module")
def url(emulator):
    """Where the same emulator is served on a port."""
    with emulator_server(emulator) as served:
        yield served


ALL = [*MESSAGES, *COUNTS, *ERRORS, *STREAMS]


@pytest.mark.parametrize("path", ALL, ids=lambda p: p.name)
def test_every_way_gives_the_same(path, emulator, url, tmp_path):
    """A sample gives the same over urllib, aiohttp, the emulator and a replay, sync and async."""
    expected = by_sync(EmulatorTransport(emulator), url, path)
    wire = UrllibTransport()
    ways = {
        "urllib": by_sync(wire, url, path),
        "aiohttp": by_async(AiohttpTransport(), url, path),
        "emulator, async": by_async(AsyncEmulatorTransport(emulator), url, path),
    }
    recorded = tmp_path / "sample.json"
    with RecordingTransport(recorded, wire, "rewrite", force=True, save_on_error=True) as transport:
        ways["recording"] = by_sync(transport, url, path)
    wire.close()
    ways["replay"] = by_sync(RecordingTransport(recorded), url, path)
    ways["replay, async"] = by_async(AsyncRecordingTransport(recorded), url, path)
    assert dict.fromkeys(ways, expected) == ways


@pytest.mark.parametrize("path", [*MESSAGES, *COUNTS], ids=lambda p: p.name)
def test_a_result_is_what_was_sent(path, url):
    """A result's `to_dict` is the JSON that came over the wire."""
    assert json.loads(path.read_text()) == by_sync("urllib", url, path)


@pytest.mark.parametrize("path", ERRORS, ids=lambda p: p.name)
def test_an_error_has_the_class_of_its_status(path, url):
    """An error sample raises the class that its status and codes stand for."""
    sample = json.loads(path.read_text())
    names = {
        400: "InvalidRequest",
        401: "AuthenticationFailed",
        402: "PaymentRequired",
        403: "PermissionDenied",
        404: "NotFound",
        409: "Conflict",
        413: "RequestTooLarge",
        429: "SpendLimitReached" if "spend" in path.name else "RateLimited",
        500: "ServerError",
        502: "ServerError",
        503: "ServerError",
        504: "ServerTimeout",
        529: "Overloaded",
    }
    got = by_sync("urllib", url, path)
    assert (names[sample["status"]], sample["status"]) == (got["error"], got["status"])
