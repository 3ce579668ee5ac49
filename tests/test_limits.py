"""Limits on what a reply may cost: typed errors that name their option, over every transport."""

import asyncio
import gzip
import json
import pickle

import pytest
from attrs import evolve

from claude_lite import AsyncClient, ClaudeError, Client, StreamMessage, never
from claude_lite.api.batches import BatchResults
from claude_lite.api.completions import ChatDecoder, StreamChatCompletion
from claude_lite.api.files import DownloadFile
from claude_lite.core.config import Config
from claude_lite.core.limits import COLLECTED_FACTOR, parse_json, values_in
from claude_lite.errors import ResponseTooLarge, UsageError
from claude_lite.testing import message, message_stream
from claude_lite.testing.conformance.loopback import LoopbackServer, reply
from claude_lite.wire import DEFAULT_LIMITS, Limits, Request, Response
from claude_lite_transports.aiohttp import AiohttpTransport
from claude_lite_transports.recording import RecordingTransport
from claude_lite_transports.shared.http1 import ReplyParser
from claude_lite_transports.urllib import UrllibTransport

try:
    import httptools  # noqa: F401  # it is an extra; without it there is one transport less

    from claude_lite_transports.asyncio import AsyncioTransport
except ImportError:
    TRANSPORTS = ["urllib", "aiohttp"]
else:
    TRANSPORTS = ["urllib", "aiohttp", "asyncio"]

ASK = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "x"}]}
HEAD = b"HTTP/1.1 200 OK\r\nRequest-Id: req_1\r\n"
JSON, SSE = b"Content-Type: application/json\r\n", b"Content-Type: text/event-stream\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"
SETTINGS = ("max_response", "max_event", "max_head", "max_headers", "max_depth", "max_values")


def chunk(data):
    """Write a chunk."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def event(kind, **fields):
    """Write an event."""
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n".encode()


def text_delta(text):
    """Write a piece of text."""
    return event("content_block_delta", index=0, delta={"type": "text_delta", "text": text})


BODY = {**message("Hello"), "id": "msg_1"}
START = event("message_start", message={**BODY, "content": []})
BLOCK = event("content_block_start", index=0, content_block={"type": "text", "text": ""})
TOOL = event(
    "content_block_start",
    index=0,
    content_block={"type": "tool_use", "id": "t", "name": "n", "input": {}},
)
END = event("content_block_stop", index=0) + event("message_stop")


def plain(extra=b"", head=b"", body=None):
    """Write a message, with something more in it, or in its head."""
    data = body or json.dumps(BODY).encode()[:-1] + extra + b"}"
    return HEAD + JSON + head + b"Content-Length: %d\r\n\r\n" % len(data) + data


def streamed(*events, end=b"0\r\n\r\n", head=b""):
    """Write a stream."""
    return HEAD + SSE + head + CHUNKED + b"".join(map(chunk, events)) + end


def nested(depth):
    """Write another field of an object, so deep."""
    return b',"more":' + b"[" * depth + b"]" * depth


def partial_json(text):
    """Write a piece of a tool's input."""
    return event("content_block_delta", index=0, delta={"type": "input_json_delta", **text})


def with_input(text):
    """Write a stream that calls a tool with this input."""
    return streamed(START, TOOL, partial_json({"partial_json": text}), END)


DEEP = b"[" * 30 + b"]" * 30
MANY = b',"more":[' + b",".join([b"1"] * 200) + b"]"
TEXT = "x" * 3000
ZIPPED = gzip.compress(json.dumps({**BODY, "more": TEXT}).encode())
GZIP = b"Content-Encoding: gzip\r\n"
LINE = json.dumps({"custom_id": TEXT, "result": {"type": "expired"}}).encode() + b"\n"

# What is sent, the limit that it is past, and how it is asked for.
CASES = {
    "a body that is announced": (plain(b',"more":"%b"' % TEXT.encode()), "max_response", 2000),
    "a body that is not": (
        HEAD + JSON + CHUNKED + chunk(json.dumps({**BODY, "a": TEXT}).encode()) + b"0\r\n\r\n",
        "max_response",
        2000,
    ),
    "a body of tiny chunks": (
        HEAD
        + JSON
        + CHUNKED
        + b"1\r\n \r\n" * 3000
        + chunk(json.dumps(BODY).encode())
        + b"0\r\n\r\n",
        "max_response",
        2000,
    ),
    "a body once decompressed": (plain(head=GZIP, body=ZIPPED), "max_response", 2000),
    "the text of a stream": (
        streamed(START, BLOCK, *[text_delta(TEXT[:99])] * 3000, END),
        "max_event",
        100_000,
    ),
    "the input for a tool in a stream": (
        streamed(START, TOOL, *[partial_json({"partial_json": "1" * 99})] * 3000, END),
        "max_event",
        100_000,
    ),
    "a download that is held": (
        HEAD + CHUNKED + chunk(TEXT.encode()) * 2 + b"0\r\n\r\n",
        "max_event",
        4000,
    ),
    "an event": (streamed(START, BLOCK, text_delta(TEXT), END), "max_event", 2000),
    "an event without an end": (
        streamed(START, BLOCK, b"data: " + TEXT.encode()),
        "max_event",
        2000,
    ),
    "a line": (HEAD + CHUNKED + chunk(LINE) + b"0\r\n\r\n", "max_event", 2000),
    "a long header": (plain(head=b"X: %b\r\n" % TEXT.encode()), "max_head", 2000),
    "long headers together": (
        plain(head=b"".join(b"X-%d: %b\r\n" % (n, TEXT[:500].encode()) for n in range(6))),
        "max_head",
        2000,
    ),
    "interim replies": (b"HTTP/1.1 103 Hints\r\nA: b\r\n\r\n" * 100 + plain(), "max_head", 2000),
    "a trailer after lines": (
        HEAD + CHUNKED + chunk(LINE) + b"0\r\nX: %b\r\n\r\n" % TEXT.encode(),
        "max_head",
        2000,
    ),
    "a chunk's extension": (
        HEAD + JSON + CHUNKED + b"1;%b\r\n{\r\n" % (TEXT.encode() * 70),
        "max_head",
        2000,
    ),
    "many headers": (plain(head=b"X: y\r\n" * 40), "max_headers", 30),
    "the depth of a body": (plain(nested(30)), "max_depth", 20),
    "the depth of an event": (
        streamed(START, BLOCK.replace(b'"text": ""', b'"text": "", "more": ' + DEEP), END),
        "max_depth",
        20,
    ),
    "the depth of a tool's input": (with_input('{"a":' * 30 + "1" + "}" * 30), "max_depth", 20),
    "the values of a body": (plain(MANY), "max_values", 150),
    "the values of an event": (
        streamed(START.replace(b'"content": []', b'"content": []' + MANY), BLOCK, END),
        "max_values",
        150,
    ),
    "the values of a tool's input": (with_input('{"a":[1%s]}' % (",1" * 199)), "max_values", 150),
    "the values of a message": (
        streamed(
            START,
            *[BLOCK.replace(b'"index": 0', b'"index": %d' % n) for n in range(60)],
            event("message_stop"),
        ),
        "max_values",
        150,
    ),
    "the values before the content of a stream": (
        streamed(START, *[event("ping")] * 12_000, BLOCK, text_delta("Hi"), END),
        "max_values",
        1000,
    ),
}
# The parser of aiohttp counts no extensions; what there is no end of, the clocks end.
UNCOUNTED = {("aiohttp", "a chunk's extension")}


def operation(name):
    """Choose what to ask for, and whether to read it as a stream."""
    if "download" in name:
        return DownloadFile(file_id="f"), False
    if "line" in name:
        return BatchResults(message_batch_id="b"), True
    is_stream = CASES[name][0].startswith(HEAD + SSE)
    return StreamMessage(**ASK), True if is_stream else None


def run(transport, url, how, **options):
    """Make a call; the error that it comes to, or None."""
    asked, is_stream = how
    options = {"api_key": "key", "base_url": url, "retry": never(), "deadline": 5.0, **options}
    if transport == "urllib":
        with Client(UrllibTransport(trust_env=False), **options) as client:
            return call(client, asked, is_stream)
    made = (
        AiohttpTransport(trust_env=False)
        if transport == "aiohttp"
        else AsyncioTransport(trust_env=False)
    )
    return asyncio.run(acall(AsyncClient(made, **options), asked, is_stream))


def call(client, asked, is_stream):
    """Make a call synchronously."""
    try:
        if is_stream is None:
            client.messages.create(**ASK)
        elif not is_stream:
            client.send(asked)
        else:
            with client.stream(asked) as stream:
                for _ in stream:
                    pass
    except ClaudeError as error:
        return error
    return None


async def acall(client, asked, is_stream):
    """Make a call asynchronously."""
    try:
        async with client:
            if is_stream is None:
                await client.messages.create(**ASK)
            elif not is_stream:
                await client.send(asked)
            else:
                async with client.stream(asked) as stream:
                    async for _ in stream:
                        pass
    except ClaudeError as error:
        return error
    return None


def options(setting, value):
    """Limit one thing; a message may be as long as the greater of two settings allows."""
    more = {"max_response": 1} if setting == "max_event" and value is not None else {}
    return {**more, setting: value}


def serving(data):
    """Serve the same reply to each request."""

    def script(peer):
        while peer.request():
            peer.send(data)
            peer.gone(2.0)

    return LoopbackServer(script)


@pytest.mark.parametrize(
    ("name", "transport"),
    [(n, t) for n in CASES for t in TRANSPORTS if (t, n) not in UNCOUNTED],
)
def test_a_reply_past_a_limit(name, transport):
    """It is a `ResponseTooLarge` that names the option and its value, and says how to go on."""
    data, setting, limit = CASES[name]
    with serving(data) as server:
        error = run(transport, server.url(""), operation(name), **options(setting, limit))
    assert type(error) is ResponseTooLarge, error
    assert (error.setting, error.limit, error.attempts) == (setting, limit, 1)
    assert f"set a larger {setting}" in str(error)
    assert error.request_id == "req_1" or setting in {"max_head", "max_headers"}
    for copy in (pickle.loads(pickle.dumps(error)), ClaudeError.from_dict(error.to_dict())):  # noqa: S301  # our own
        assert (copy.setting, copy.limit) == (setting, limit)


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize(
    "name", [n for n in CASES if "without an end" not in n and "exten" not in n]
)
def test_a_limit_can_be_raised(name, transport):
    """With twice the limit, or none, the same reply is an answer: only the limit was in the way."""
    data, setting, limit = CASES[name]
    for value in (limit * 10, None):
        with serving(data) as server:
            given = options(setting, value)
            assert run(transport, server.url(""), operation(name), **given) is None


@pytest.mark.parametrize("name", SETTINGS)
def test_limits_are_options(name):
    """Each is an option of a client, safe by default, and `Limits` hands it on as it is."""
    assert getattr(Config(), name) is not None
    assert getattr(Config(**{name: 7}), name) == 7
    if name != "max_event":
        assert getattr(Config().limits, name) == getattr(Limits(), name)
        assert getattr(Config(**{name: 7}).limits, name) == 7
    with pytest.raises(UsageError, match=name):
        Config(**{name: 0})


def test_retries_do_not_help():
    """What is too large is not asked for again."""
    data, setting, limit = CASES["many headers"]
    with serving(data) as server:
        client = Client(api_key="k", base_url=server.url(""), **{setting: limit})
        error = call(client, StreamMessage(**ASK), None)
        assert (type(error), error.attempts, server.connections) == (ResponseTooLarge, 1, 1)


@pytest.mark.parametrize("status", [429, 500, 529])
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_long_error_is_that_error(transport, status):
    """Of an error's body only so much is read; its status decides, streamed or not."""
    body = b'{"error":{"message":"%b","type":"x"}}' % (b"x" * 3_000_000)
    data = reply(body, "Content-Type: application/json", status=f"{status} No")
    names = {429: "RateLimited", 500: "ServerError", 529: "Overloaded"}
    with serving(data) as server:
        for is_stream in (None, True):
            error = run(transport, server.url(""), (StreamMessage(**ASK), is_stream))
            assert (type(error).__name__, error.status) == (names[status], status)
            assert len(str(error)) < 5000


def test_a_transport_without_limits_has_them_all_the_same(tmp_path):
    """What a transport hands over whole, a replay for example, is measured by the core, too."""

    class Careless:
        def send(self, _):
            return Response(200, {}, json.dumps({**BODY, "more": TEXT}).encode())

        def sleep(self, seconds): ...

        def close(self): ...

    path = tmp_path / "cassette.json"
    with RecordingTransport(path, Careless(), "once") as transport:
        Client(transport, api_key="k").messages.create(**ASK)
    for transport in (Careless(), RecordingTransport(path)):
        error = call(Client(transport, api_key="k", max_response=2000), None, None)
        assert (type(error), error.setting) == (ResponseTooLarge, "max_response")


def test_a_stream_that_is_collected_for_its_items():
    """Its events are all kept, and so their number is bounded; those of `send` are not kept."""
    events = [START, BLOCK, *[text_delta("x")] * 2000, END]
    with serving(streamed(*events)) as server:
        options = {"api_key": "k", "base_url": server.url(""), "max_values": 1000}
        client = Client(UrllibTransport(trust_env=False), **options)
        with (
            pytest.raises(ResponseTooLarge) as caught,
            client.stream(StreamMessage(**ASK), collect=True),
        ):
            pass
        assert (caught.value.setting, caught.value.limit) == ("max_values", 1000)
        assert client.send(StreamMessage(**ASK)).text == "x" * 2000


def test_pieces_of_a_chat_are_bounded():
    """A decoder that keeps the pieces of a stream keeps a number of them."""
    limits = evolve(DEFAULT_LIMITS, max_values=1000)
    config = Config(max_values=1000)
    decoder = StreamChatCompletion(model="m", messages=[]).decoder(Response(200, {}), config.limits)
    assert isinstance(decoder, ChatDecoder)
    piece = b'data: {"choices":[{"delta":{"content":"x"}}]}\n\n'
    count = 0
    while decoder.error is None:
        count += 1
        decoder.receive(piece)
    assert decoder.error.setting == "max_values"
    assert COLLECTED_FACTOR * limits.max_values / 6 < count < COLLECTED_FACTOR * limits.max_values


# Measuring JSON


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("[]", 1),
        ("[1,2]", 3),
        ('{"a":1,"b":[]}', 4),
        ('["a,b,[","{\\",[{","\\\\"]', 4),
        ('["' + "," * 5000 + '"]', 2),
        ('["' + '\\"' * 5000 + '",1]', 3),
        ("[" + ",".join(["1"] * 5000) + "]", 5001),
        ('["' + "[{," * 5000 + '\\\\",' + ",".join(["[]"] * 2000) + "]", 4002),
    ],
)
def test_values_are_counted(text, values):
    """Values are counted, to one more or less, whatever the texts among them look like."""
    data = text.encode()
    assert json.loads(text) is not None
    found = values_in(data)
    assert found >= values - 1
    assert found <= values + 1 or len(data) < 5000
    parse_json(data, Limits(max_values=values + 1))
    if len(data) > 2 * (values // 2):
        with pytest.raises(ResponseTooLarge):
            parse_json(data, Limits(max_values=values // 2 - 1))


def test_a_text_without_an_end_is_no_json():
    """What is no JSON at all is said to be that, however many values it might have had."""
    for data in (b'["' + b"," * 600_000, b'"' * 600_001, b'"\\' * 400_000, b"," * 1000):
        with pytest.raises(ValueError, match=r"(?i)extra data|unterminated|expecting"):
            parse_json(data)
    with pytest.raises(ResponseTooLarge):
        parse_json(b"," * 600_001)


def test_depth_is_counted():
    """The levels that fit are as many as the limit says, also past what parsers read."""
    for depth in (1, 5, 250, 900):
        text = b"[" * depth + b"]" * depth
        assert parse_json(text, Limits(max_depth=depth)) is not None
        if depth > 1:
            with pytest.raises(ResponseTooLarge, match=f"more than {depth - 1} levels") as caught:
                parse_json(text, Limits(max_depth=depth - 1))
            assert caught.value.limit == depth - 1
    for limits in (Limits(), Limits(max_depth=None)):
        with pytest.raises(ResponseTooLarge) as caught:
            parse_json(b"[" * 2000 + b"]" * 2000, limits)
        assert caught.value.setting == "max_depth"


def test_the_head_of_a_proxy_is_bounded():
    """A proxy that answers CONNECT has the limits of any reply."""
    answer = ReplyParser("CONNECT")
    answer.receive(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000)
    with pytest.raises(ResponseTooLarge, match="max_head"):
        answer.has_head()


@pytest.mark.parametrize(
    "data", [b"5" * 70_000, b"1;" + b"x" * 70_000, b"0\r\n" + b"a: b\r\n" * 20_000]
)
@pytest.mark.parametrize("size", [777, 1 << 20])
def test_what_is_between_chunks_is_bounded(data, size):
    """A chunk's size, its extension and trailers have an end; what came before is taken first."""
    data = HEAD + CHUNKED + b"1\r\na\r\n" + data
    taken = []
    with pytest.raises(ResponseTooLarge, match="over 65536 bytes"):
        feed(ReplyParser("GET"), [data[at : at + size] for at in range(0, len(data), size)], taken)
    assert taken == [b"a"]


def feed(answer, pieces, taken):
    """Feed a reply until it raises, and then once more."""
    for piece in [*pieces, b"x"]:
        answer.receive(piece)
        if answer.has_head():
            while body := answer.take():
                taken.append(body)


def test_message_stream_without_limits():
    """`None` is no limit, for all of them together."""
    stream = message_stream("Hello " * 100)
    with serving(streamed(*stream)) as server:
        options = dict.fromkeys(SETTINGS)
        client = Client(
            UrllibTransport(trust_env=False), api_key="k", base_url=server.url(""), **options
        )
        assert client.send(StreamMessage(**ASK)).text == "Hello " * 100
        assert client.config.limits == Limits(10.0, 600.0, 3600.0, *[None] * 6)
        assert Request("GET", "", {}).limits == Limits()
