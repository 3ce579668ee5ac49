"""Work of one call without I/O: by hand, by this library, by the SDK.

Each function prepares the work and returns a function that does one unit of it. The SDK has no
public function for this work, so its private functions between its public method and the socket
are called. If their names have changed, the peer is skipped with the error.
"""

import json
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final

from benchmarks import answers
from benchmarks.answers import QUESTION
from benchmarks.peers import KEY

PIECE: Final = 64 * 1024
Unit = Callable[[], Any]


def _pieces(data: bytes) -> list[bytes]:
    return [data[at : at + PIECE] for at in range(0, len(data), PIECE)]


def roundtrip_by_hand(size: int) -> Unit:
    """Write a request as JSON, and parse an answer."""
    body = answers.message(size)

    def unit() -> None:
        json.dumps(QUESTION).encode()
        assert json.loads(body)["content"]

    return unit


def roundtrip_ours(size: int) -> Unit:
    """Write a request and parse an answer with an operation, which is made each time."""
    from claude_lite import AsyncClient, CreateMessage, Response

    body, config = answers.message(size), AsyncClient(api_key=KEY).config
    headers = {"content-type": "application/json", "request-id": "req_1"}

    def unit() -> None:
        operation = CreateMessage(**QUESTION)
        operation.build(config.target)
        assert operation.parse(Response(200, headers, body)).content

    return unit


def exchange_ours() -> Unit:
    """Do one exchange of a trivial operation: the cost of retries, deadline and logging."""
    from claude_lite import AsyncClient, CreateMessage, Response
    from claude_lite.core.exchange import Exchange

    config = AsyncClient(api_key=KEY).config
    response = Response(200, {"content-type": "application/json", "request-id": "req_1"}, b"{}")
    request = CreateMessage(**QUESTION).build(config.target)
    message = CreateMessage(**QUESTION).parse(
        Response(200, response.headers, answers.message(1200))
    )

    class Free(CreateMessage):
        def build(self, _: Any) -> Any:
            return request

        def parse(self, _: Any, __: Any = None) -> Any:
            return message

    operation = Free(**QUESTION)

    def unit() -> None:
        exchange = Exchange(operation, config)
        exchange.next_action()
        exchange.receive_response(response)
        exchange.next_action()

    return unit


def roundtrip_sdk(size: int) -> Unit:
    """Write a request and parse an answer with the SDK."""
    import anthropic
    from anthropic._models import FinalRequestOptions, construct_type
    from anthropic.types import Message

    client, body = anthropic.Anthropic(api_key=KEY), answers.message(size)

    def unit() -> None:
        options = FinalRequestOptions(method="post", url="/v1/messages", json_data=QUESTION)
        client._build_request(options)  # private: see the module's docstring
        made: Any = construct_type(type_=Message, value=json.loads(body))
        assert made.content

    return unit


def _events(pieces: list[bytes]) -> Iterator[Any]:
    buffer = b""
    for piece in pieces:
        *lines, buffer = (buffer + piece).split(b"\n")
        for line in lines:
            if line.startswith(b"data: "):
                yield json.loads(line[6:])


def _stream_by_hand(pieces: list[bytes], *, whole: bool) -> Unit:
    def unit() -> None:
        text = [
            event["delta"]["text"]
            for event in _events(pieces)
            if whole and event["type"] == "content_block_delta"
        ]
        assert "".join(text) or not whole

    return unit


def _stream_ours(pieces: list[bytes], *, whole: bool) -> Unit:
    from claude_lite import Response
    from claude_lite.api.messages.decoder import MessageDecoder

    head = Response(200, {"content-type": "text/event-stream"})

    def unit() -> None:
        decoder = MessageDecoder(head)
        for piece in pieces:
            for raw in decoder.receive(piece):
                if not whole:
                    decoder.item(raw)
        assert decoder.complete, decoder.error
        if whole:
            assert decoder.result().content

    return unit


def _stream_sdk(pieces: list[bytes], *, whole: bool) -> Unit:
    from anthropic._models import construct_type
    from anthropic._streaming import SSEDecoder
    from anthropic.lib.streaming._messages import accumulate_event
    from anthropic.types import RawMessageStreamEvent

    def unit() -> None:
        snapshot: Any = None
        buffers: dict[int, bytes] = {}
        for sse in SSEDecoder().iter_bytes(iter(pieces)):
            event: Any = construct_type(type_=RawMessageStreamEvent, value=sse.json())
            if whole:
                snapshot = accumulate_event(
                    event=event, current_snapshot=snapshot, json_bufs=buffers
                )
        assert not whole or snapshot.content

    return unit


def tool_by_hand() -> Unit:
    """Join a tool's input from 4,000 deltas, and parse it once."""
    pieces = _pieces(b"".join(answers.tool_stream()))

    def unit() -> None:
        parts = [
            event["delta"]["partial_json"]
            for event in _events(pieces)
            if event["type"] == "content_block_delta"
        ]
        assert json.loads("".join(parts))["lines"]

    return unit


def _huge_by_hand(size: int) -> Unit:
    """Collect a line of *size* bytes without copying, and parse it once."""
    pieces = _pieces(b"".join(answers.huge_stream(size)))

    def unit() -> None:
        for line in b"".join(pieces).split(b"\n"):
            if line.startswith(b"data: "):
                json.loads(line[6:])

    return unit


def construct_ours() -> Unit:
    """One client."""
    from claude_lite import AsyncClient

    return partial(AsyncClient, api_key=KEY)


def construct_sdk() -> Unit:
    """One client."""
    import anthropic

    return partial(anthropic.AsyncAnthropic, api_key=KEY)


def construct_openai() -> Unit:
    """One client."""
    import openai

    return partial(openai.AsyncOpenAI, api_key=KEY)


def _text() -> list[bytes]:
    return _pieces(b"".join(answers.text_stream()))


def _tool() -> list[bytes]:
    return _pieces(b"".join(answers.tool_stream()))


def _huge(size: int) -> list[bytes]:
    return _pieces(b"".join(answers.huge_stream(size)))


MEGABYTE: Final = 1 << 20
UNITS: Final[dict[str, dict[str, Callable[[], Unit]]]] = {
    "roundtrip small": {
        "json by hand": lambda: roundtrip_by_hand(1200),
        "claude_lite": lambda: roundtrip_ours(1200),
        "anthropic": lambda: roundtrip_sdk(1200),
    },
    "roundtrip large": {
        "json by hand": lambda: roundtrip_by_hand(40_000),
        "claude_lite": lambda: roundtrip_ours(40_000),
        "anthropic": lambda: roundtrip_sdk(40_000),
    },
    "stream raw": {
        "json by hand": lambda: _stream_by_hand(_text(), whole=False),
        "claude_lite": lambda: _stream_ours(_text(), whole=False),
        "anthropic": lambda: _stream_sdk(_text(), whole=False),
    },
    "stream whole": {
        "json by hand": lambda: _stream_by_hand(_text(), whole=True),
        "claude_lite": lambda: _stream_ours(_text(), whole=True),
        "anthropic": lambda: _stream_sdk(_text(), whole=True),
    },
    "tool": {
        "json by hand": tool_by_hand,
        "claude_lite": lambda: _stream_ours(_tool(), whole=True),
        "anthropic": lambda: _stream_sdk(_tool(), whole=True),
    },
    "line 32 MB": {
        "json by hand": lambda: _huge_by_hand(32 * MEGABYTE),
        "claude_lite": lambda: _stream_ours(_huge(32 * MEGABYTE), whole=False),
        "anthropic": lambda: _stream_sdk(_huge(32 * MEGABYTE), whole=False),
    },
    "line 4 MB": {
        "claude_lite": lambda: _stream_ours(_huge(4 * MEGABYTE), whole=False),
    },
    "line 16 MB": {
        "claude_lite": lambda: _stream_ours(_huge(16 * MEGABYTE), whole=False),
    },
    "exchange": {
        "claude_lite": exchange_ours,
    },
    "construct": {
        "claude_lite": construct_ours,
        "anthropic": construct_sdk,
        "openai": construct_openai,
    },
}
