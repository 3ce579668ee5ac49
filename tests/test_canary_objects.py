"""The key shows in no object: whatever lives while calls are made is looked at, class by class.

A tour of the library is made with a canary for a key and another for a prompt. While all of it
is still held, every object of ours that Python's garbage collector knows is shown, dumped and
pickled. A class that no part of the tour makes fails the test, or stands in a list with the
reason; so a class that is new has to be thought of.
"""

import asyncio
import gc
import importlib
import inspect
import json
import pickle
import pkgutil
import warnings
from contextlib import AsyncExitStack, ExitStack

import attrs
import pytest
from test_canary import CANARY, CREDENTIALS, SONG, everything_logged, provided, silent

import claude_lite
import claude_lite_transports
from claude_lite import (
    AsyncClient,
    ClaudeError,
    Client,
    CreateMessage,
    StreamMessage,
    UsageError,
    bulk,
    never,
)
from claude_lite.api.batch_runs import BatchRun
from claude_lite.api.batches import CreateBatch
from claude_lite.api.files import UploadFile
from claude_lite.api.webhooks import Webhooks
from claude_lite.bulk.requests_file import read_requests
from claude_lite.bulk.results_file import ResultsFile
from claude_lite.cli import bench
from claude_lite.cli.main import main as command
from claude_lite.cli.progress import summary
from claude_lite.client.endpoints import Namespace
from claude_lite.client.tokens import Tokens
from claude_lite.core.exchange import Authenticate, Exchange
from claude_lite.core.model import Model
from claude_lite.core.operation import Operation
from claude_lite.dialects import Bedrock, BedrockMantle, ClaudeOnAWS, Foundry, Vertex
from claude_lite.dialects.sigv4 import AWSKeys
from claude_lite.dialects.vertex import ClaudeOnGoogleCloud
from claude_lite.emulator import Emulator
from claude_lite.governor.pools import key_of
from claude_lite.testing import AsyncStubTransport, StubTransport, message, message_stream
from claude_lite.testing.conformance.loopback import LoopbackServer, reply, replying
from claude_lite.wire import Limits, MaskedStr, Response, Sleep
from claude_lite_transports.aiohttp import AiohttpTransport
from claude_lite_transports.asyncio import AsyncioTransport
from claude_lite_transports.emulator import AsyncEmulatorTransport, EmulatorTransport
from claude_lite_transports.faulty import AsyncFaultTransport, FaultTransport
from claude_lite_transports.recording import AsyncRecordingTransport, RecordingTransport
from claude_lite_transports.recording.cassette import load_cassette
from claude_lite_transports.recording.har import to_har
from claude_lite_transports.recording.redaction import Redactor
from claude_lite_transports.urllib import UrllibTransport

PROMPT = "canary-prompt-Zx82"
ASK = {
    "model": "claude-sonnet-5-5",
    "max_tokens": 9,
    "messages": [{"role": "user", "content": PROMPT}],
}
PROXY = f"http://user:{CANARY}@127.0.0.1:9"
FAULTS = [{"on": {"nth": [2]}, "do": {"fault": "reset"}}]

SERVERS = (
    "claude_lite.emulator.",
    "claude_lite.testing.conformance.loopback",
)  # they are told the key
NOT_SHOWN = {
    "of the caller's code, before anything is called": {
        *("Endpoint", "StreamEndpoint", "MessageStreamEndpoint", "ItemsEndpoint", "SyncOrAsync"),
        *("Method", "Options", "Route", "RetryPolicy", "Case", "Rule", "Selector", "Namespace"),
        *("Empty", "Field", "Hint", "Null", "CachedProperty"),
        *("Deliveries", "DeliveredJob", "Delivery", "Job", "SQLiteResults"),
    },
    "of decoders, whose input is a response": {
        *("SSEDecoder", "ContentDecoder", "MessageDecoder", "CompletionDecoder", "ChatDecoder"),
        *("BytesDecoder", "LinesDecoder", "EventStreamDecoder"),
    },
    "counts and times": {
        *(
            "Governor",
            "Bucket",
            "Cost",
            "State",
            "Ticket",
            "Line",
            "Waiter",
            "LocalPool",
            "LocalTurn",
            "Pace",
        ),
        *("Answer", "Booking", "Known", "LocalTicket", "Member", "Reply", "Shared", "Step", "Want"),
        *("RedisTurn", "DelayQueues", "Waiting"),
        "RateLimit",
        "RateLimits",
        "RetryBudget",
        "FailedAttempt",
    },
    "of fault scripts and recordings, which know no header": {
        *("End", "Tamper", "Fault", "Placed", "Pieces", "VirtualClock"),
        *("ClaudeCassette", "ClaudeEmulator"),  # fixtures, in runs of their own
    },
    "within a transport, for as long as one exchange takes": {
        *("Body", "ChunksInThreads", "InThreads", "Proxy", "RecordedPart", "Upload", "Wait"),
    },
    "of a Redis, with tests of their own": {"RedisDesk", "RedisPool", "RedisResults"},
    "on its way to disk": {"Arrival", "PlainDisplay", "LiveDisplay"},
}


def exported():
    """List the public classes of both packages, but for models, operations and the emulator."""
    for package in (claude_lite, claude_lite_transports):
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            last = found.name.rpartition(".")[2]
            if last.startswith("_") or found.name.startswith(SERVERS):
                continue
            module = importlib.import_module(found.name)
            for name, cls in vars(module).items():
                if not inspect.isclass(cls) or cls.__module__ != found.name:
                    continue
                inner = name.startswith("_") or getattr(cls, "_is_protocol", False)
                if not inner and not issubclass(cls, (Model, Operation, Namespace, BaseException)):
                    yield cls


def shown(thing):
    """Yield all the texts that can be made of an object without taking it apart."""
    yield repr(thing)
    if not isinstance(thing, MaskedStr):  # what a transport sends
        yield str(thing)
        yield f"{thing}"
    yield repr([thing])
    if not isinstance(thing, Redactor):  # it has to know what it looks for
        yield repr(getattr(thing, "__dict__", None))
    if attrs.has(type(thing)):
        yield repr(attrs.asdict(thing, recurse=False))
        yield repr(attrs.asdict(thing))
        yield repr(attrs.astuple(thing))
    if hasattr(thing, "to_dict"):
        yield json.dumps(thing.to_dict())
    try:
        yield pickle.dumps(thing).decode("latin-1")
    except (TypeError, AttributeError, UsageError, pickle.PicklingError) as error:
        yield str(error)
    except DeprecationWarning as warning:  # 3.13's, of a counter; 3.14 does not pickle it at all
        yield str(warning)


def living():
    """List all objects of ours that are alive, whatever holds them, but for a server's."""
    for thing in gc.get_objects():
        cls = type(thing)
        module = str(cls.__module__)
        ours = module.startswith(("claude_lite.", "claude_lite_transports."))
        if ours and not module.startswith(SERVERS) and not issubclass(cls, type):
            yield thing


def emulator():
    """Make an emulator that takes the canary, and only that."""
    return Emulator(api_keys=[CANARY], faults=FAULTS)


def synchronous(held, folder, url):
    """Make calls with every credential, over every transport, and hold on to all of it."""
    transports = [
        UrllibTransport(),
        EmulatorTransport(emulator()),
        FaultTransport(EmulatorTransport(emulator()), FAULTS),
        RecordingTransport(folder / "a.json", UrllibTransport(), mode="rewrite"),
        StubTransport(*[message("Hello")] * 3, *[message_stream("Hello")] * 2),
    ]
    for options in CREDENTIALS.values():
        for transport in transports:
            made = Client(transport, base_url=url, retry=never(), **options)
            held += [made, made.messages, made.beta.messages]
            try:
                held += [made.messages.create(**ASK), made.send(StreamMessage(**ASK))]
            except (ClaudeError, AssertionError) as error:
                held.append(error)
    transports[3].close()
    held += transports


async def asynchronous(held, folder, url):
    """Do the same with the async transports."""
    transports = [
        AiohttpTransport(),
        AsyncioTransport(),
        AsyncEmulatorTransport(emulator()),
        AsyncFaultTransport(AsyncEmulatorTransport(emulator()), FAULTS),
        AsyncRecordingTransport(folder / "b.json", AiohttpTransport(), mode="rewrite"),
        AsyncStubTransport(*[message("Hello")] * 3, *[message_stream("Hello")] * 2),
    ]
    for options in CREDENTIALS.values():
        for transport in transports:
            made = AsyncClient(transport, base_url=url, retry=never(), **options)
            held += [made, made.messages]
            try:
                held.append(await made.messages.create(**ASK))
                held.append(await made.send(StreamMessage(**ASK)))
            except (ClaudeError, AssertionError) as error:
                held.append(error)
    return transports


def values(held, folder):
    """Make what holds a credential, or is made of what does, without a call."""
    client = Client(api_key=CANARY)
    operation = CreateMessage(**ASK)
    request = operation.build(client.config.target)
    tokens = Tokens(provided, "auth_token")
    tokens.get(None)
    exchange = Exchange(operation, client.config, governed=True)
    admitted = exchange.next_action()
    keys = AWSKeys("an-id", CANARY)  # botocore logs ids and session tokens; see SECURITY.md
    held.append(AWSKeys(CANARY, CANARY, CANARY))
    upload = UploadFile(file=b"abc")
    held += [
        *(client.config, request, operation, upload.form(), upload.build(client.config.target)),
        *(MaskedStr(CANARY), MaskedStr(CANARY).encode(), Limits(), Sleep(1.0), Response(200, {})),
        *(admitted, client.governor, key_of(admitted)),
        *(exchange, Authenticate(MaskedStr(CANARY)), tokens),
        *(UrllibTransport(proxy=PROXY), AsyncioTransport(proxy=PROXY)),
        *(AiohttpTransport(proxy=PROXY), Webhooks(f"whsec_{CANARY.replace('-', '+')}aaa")),
        BatchRun(CreateBatch(requests=[{"custom_id": "a", "params": ASK}])),
    ]
    held.append(held[-1].report)
    for dialect in (
        Bedrock(region="eu-west-1", keys=keys),
        BedrockMantle(region="eu-west-1", keys=keys),
        ClaudeOnAWS(region="eu-west-1", keys=keys, workspace_id="w"),
        Foundry(resource="r"),
        Vertex(project="p", region="global"),
        ClaudeOnGoogleCloud(project="p", workspace_id="w"),
    ):
        options = {} if getattr(dialect, "keys", None) else {"auth_token": CANARY}
        made = Client(dialect=dialect, **options)
        built = dialect.adapt(operation.build(made.config.target))
        held += [dialect, made, built, dialect.sign(built)]
    (folder / "requests.jsonl").write_text(json.dumps({"custom_id": "a", "params": ASK}))
    held += load_cassette(folder / "a.json")
    with (folder / "requests.jsonl").open("rb") as file:
        held += read_requests(file, stream=False)


async def many(held, folder):
    """Run a file of requests, and a benchmark."""
    client = AsyncClient(AsyncEmulatorTransport(emulator()), api_key=CANARY)
    tally, figures = bulk.Tally(), bench.Figures()
    outcomes = []
    items = [item for item in held if isinstance(item, bulk.Item)]
    await bulk.run(client, items, outcomes.append, concurrency=1, tally=tally)
    await bench.measure(client, ASK, figures, concurrency=1, requests=2, seconds=None, stream=True)
    with ResultsFile(folder / "results.jsonl") as results:
        for outcome in outcomes:
            results.write(outcome)
        held.append(results)
    held += [client, tally, figures, *outcomes, summary(tally)]
    for text in (repr(tally), repr(figures), json.dumps(figures.to_dict())):
        assert PROMPT not in text


ANSWERS = replying(
    reply(json.dumps(message(f"Hello {PROMPT}")).encode(), "content-type: application/json")
)


@pytest.fixture(scope="module")
def alone():
    """Leave out of sight what other tests have left alive."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(scope="module")
def seen(alone, tmp_path_factory):
    """Make the tour once, and check all objects that live at its end; give their classes."""
    folder = tmp_path_factory.mktemp("tour")
    held, classes = [], set()

    async def main(url):
        transports = await asynchronous(held, folder, url)
        await many(held, folder)
        async with AsyncExitStack() as stack:
            for transport in (AsyncEmulatorTransport(), AiohttpTransport()):
                made = AsyncClient(transport, base_url=url, api_key=CANARY)
                try:
                    opened = made.messages.stream(**ASK)
                    held.append(await stack.enter_async_context(opened))
                except ClaudeError as error:
                    held.append(error)
                transports.append(transport)
            look(classes)
        for transport in transports:
            await transport.close()

    with LoopbackServer(ANSWERS) as server, ExitStack() as stack, everything_logged() as text:
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            synchronous(held, folder, server.url(""))
            values(held, folder)
            opened = Client(EmulatorTransport(), api_key=CANARY).stream(StreamMessage(**ASK))
            held.append(stack.enter_context(opened))
            asyncio.run(main(server.url("")))
        silent("".join(str(one.message) for one in warned))
        look(classes)
    assert PROMPT not in text.getvalue()
    silent(text.getvalue())
    return folder, classes


def look(classes):
    """Check the objects that are alive, and add their classes."""
    for thing in list(living()):
        try:
            for text in shown(thing):
                silent(text)
        except AssertionError as error:
            raise AssertionError(f"{type(thing).__name__}: {error}") from None
        classes |= set(type(thing).__mro__)


def test_every_class_was_looked_at(seen):
    """Each class that the packages export was alive in the tour, or there is a reason."""
    _, classes = seen
    excused = set().union(*NOT_SHOWN.values())
    missing = {cls.__name__ for cls in exported() if cls not in classes} - excused
    assert not missing


def test_every_namespace_is_silent():
    """What hangs on a client, to any depth, is an object that does not show its key."""
    pending = [Client(api_key=CANARY), AsyncClient(auth_token=CANARY)]
    count = 0
    while pending:
        thing = pending.pop()
        for text in shown(thing):
            silent(text)
        count += 1
        for name in ("messages", "batches", "beta", "files", "skills", "versions", "organization"):
            found = getattr(thing, name, None)
            if isinstance(found, Namespace):
                pending.append(found)
    assert count > 10


def test_what_was_written_is_silent(seen):
    """Recordings, results and what is made of them have no key, whatever they are asked for."""
    folder, _ = seen
    written = sorted(path.name for path in folder.iterdir())
    assert written == ["a.json", "b.json", "requests.jsonl", "results.jsonl"]
    for path in folder.iterdir():
        silent(path.read_bytes())
    for name in ("a.json", "b.json"):
        items = load_cassette(folder / name)
        assert items
        silent(json.dumps(to_har(items)))
        silent(repr(items) + "".join(map(str, items)))


def test_a_prompt_is_not_in_errors_or_reprs(seen):
    """A request's repr has the body as a size, and no error of a call has it in its text."""
    client = Client(StubTransport(Response(400, {}, b"{}")), api_key=CANARY, retry=never())
    request = CreateMessage(**ASK).build(client.config.target)
    assert PROMPT in request.body.decode()
    with pytest.raises(ClaudeError) as caught:
        client.messages.create(**ASK)
    error = caught.value
    for thing in (request, client, client.config, client.messages):
        assert PROMPT not in repr(thing)
    assert PROMPT not in str(error) + repr(error) + json.dumps(error.to_dict()) + repr(vars(error))
    assert seen


@pytest.mark.parametrize(
    "arguments",
    [
        ["message", PROMPT],
        ["message", PROMPT, "-v"],
        ["bench", "--requests", "2", "--prompt", PROMPT, "-o", "report.json"],
        ["run", "requests.jsonl", "-o", "results.jsonl", "--log-file", "log.jsonl"],
    ],
    ids=lambda arguments: arguments[0],
)
@pytest.mark.parametrize("variable", ["ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"])
@pytest.mark.parametrize("status", ["401 No", "500 No", "200 OK"])
def test_commands_are_silent(arguments, variable, status, tmp_path, monkeypatch, capsys):
    """Neither what a command prints, nor the files it writes, have the key; nor logs the prompt."""

    def echo(peer):
        while got := peer.request():
            said = "; ".join(f"{name}: {value}" for name, value in got.headers)
            error = {"type": "error", "error": {"type": said, "message": said}, "request_id": said}
            peer.send(reply(json.dumps(error).encode(), "content-type: text/plain", status=status))

    monkeypatch.chdir(tmp_path)
    for name in ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(variable, CANARY)
    (tmp_path / "requests.jsonl").write_text(json.dumps({"custom_id": "a", "params": ASK}))
    with LoopbackServer(echo) as server:
        monkeypatch.setenv("ANTHROPIC_BASE_URL", server.url(""))
        more = ["--attempts", "1"] if arguments[0] == "run" else []
        assert command([*arguments, *more]) == 1
        assert CANARY in str(server.received)
    out, err = capsys.readouterr()
    silent(out + err)
    assert PROMPT not in out + err
    for path in tmp_path.iterdir():
        silent(path.read_bytes())
        assert path.name == "requests.jsonl" or PROMPT not in path.read_text()


@pytest.mark.usefixtures("alone")
def test_it_would_be_noticed():
    """An object of ours that shows a key fails the check."""
    leaky = Response(200, {"x-odd": CANARY})
    with pytest.raises(AssertionError, match="Response: the key shows"):
        look(set())
    assert SONG in repr(leaky)
