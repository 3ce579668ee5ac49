"""The clients: methods from operations, transports by name, a sync and an async driver."""

import asyncio
import inspect
import json
import pickle
import subprocess
import sys
import threading
import time

import pytest
from driving import (
    API,
    HELLO,
    KEY,
    PING,
    START,
    UNARY,
    AsyncScriptTransport,
    ScriptTransport,
    answer,
    both,
    both_modes,
    client,
    do,
    refusal,
    stream,
)
from timing import Stopwatch

from claude_lite import (
    AsyncClient,
    Client,
    ConnectionFailed,
    CountTokens,
    CreateMessage,
    Message,
    Overloaded,
    RawRequest,
    Response,
    StreamMessage,
    TimedOut,
    TokenCount,
    UsageError,
    never,
    standard,
)
from claude_lite.client.batches import Batches
from claude_lite.testing.conformance.cases import GRACE
from claude_lite.testing.conformance.loopback import LoopbackServer, chunked, reply
from claude_lite_transports.aiohttp import AiohttpTransport
from claude_lite_transports.urllib import UrllibTransport

OPERATION = CreateMessage(**HELLO)


def run(call, *args, **kwargs):
    """Call a method (sync or async) and give its result."""
    return asyncio.run(do(call, *args, **kwargs))


@both_modes
def test_send_runs_an_operation(mode):
    """`send` sends the operation's request and returns its result."""
    made = client(mode, answer())
    message = run(made.send, OPERATION)
    assert isinstance(message, Message)
    (request,) = made.transport.requests
    assert request == OPERATION.build(made.config.target)


@both_modes
def test_methods_are_operations(mode):
    """A method takes the fields of its operation, and sends just that."""
    made = client(mode, answer(), answer({"input_tokens": 7}))
    message = run(made.messages.create, **HELLO, temperature=0.5)
    count = run(made.messages.count_tokens, model="m", messages=[])
    assert isinstance(message, Message)
    assert isinstance(count, TokenCount)
    assert [json.loads(request.body) for request in made.transport.requests] == [
        HELLO | {"temperature": 0.5},
        {"model": "m", "messages": []},
    ]


@both_modes
def test_a_retry_waits_by_the_transport(mode):
    """Waits between attempts are the transport's `sleep`, and its clock is the call's."""
    made = client(mode, refusal(529), ConnectionFailed("no"), answer(), retry=standard(wait=7))
    run(made.send, OPERATION)
    assert made.transport.waits == [7, 7]
    assert [request.limits.total for request in made.transport.requests] == [3600, 3593, 3586]


@both_modes
def test_errors_come_out_of_the_call(mode):
    """What ends a call is raised from it, with the attempts made."""
    made = client(mode, refusal(529), retry=standard(attempts=2, wait=0))
    with pytest.raises(Overloaded) as caught:
        run(made.send, OPERATION)
    assert caught.value.attempts == 2
    assert caught.value.__context__ is None


@both_modes
def test_foreign_errors_pass_through(mode):
    """An error of the transport that is no `ClaudeError` is not tried again, nor changed."""
    made = client(mode, ZeroDivisionError("odd"))
    with pytest.raises(ZeroDivisionError):
        run(made.send, OPERATION)
    assert len(made.transport.requests) == 1


@both_modes
def test_send_takes_streams_as_wholes(mode):
    """A streamed operation that is sent gives the whole result."""
    made = client(mode, stream())
    message = run(made.send, StreamMessage(**HELLO))
    assert isinstance(message, Message)
    assert (message.text, made.transport.left) == ("Hello", 1)


@both_modes
def test_request_reaches_any_endpoint(mode):
    """`request` sends what it is told, with the client's retries, and returns the response."""
    made = client(mode, refusal(503), answer({"new": 1}))
    response = run(made.request, "GET", "/v1/new", query={"a": True})
    assert isinstance(response, Response)
    assert response.json() == {"new": 1}
    assert made.transport.requests[1].url.endswith("/v1/new?a=true")
    made = client(mode, refusal(503), answer())
    assert run(made.request, "POST", "/v1/new", json={"a": 1}).status == 200
    with pytest.raises(TypeError, match="jsn"):
        run(made.request, "POST", "/v1/new", jsn={"a": 1})


@both_modes
def test_options_of_one_call(mode):
    """A derived client makes calls with its own options over the same transport."""
    made = client(mode, refusal(529), answer())
    with pytest.raises(Overloaded):
        run(made.with_options(retry=never()).messages.create, **HELLO)
    run(made.with_options(api_version="2026-10-21", timeout=5).messages.create, **HELLO)
    last = made.transport.requests[-1]
    assert last.headers["anthropic-version"] == "2026-10-21"
    assert last.limits.read == 5


def test_methods_say_what_they_take():
    """Help, signature and docstring of a method are those of its operation."""
    method = Client(api_key=KEY).messages.create
    assert method.__doc__ == CreateMessage.__doc__
    assert inspect.signature(method) == inspect.signature(CreateMessage)
    assert method.__wrapped__ is CreateMessage


def test_methods_are_found_on_their_class():
    """What a class has is its declaration; it takes an instance to have a client."""
    assert Batches.wait is Batches.__dict__["wait"]
    assert Batches.create is Batches.__dict__["create"]


def test_methods_are_made_once():
    """A namespace and its methods are kept, so that later calls find them."""
    made = Client(api_key=KEY)
    assert made.messages is made.messages
    assert made.messages.create is made.messages.create
    assert "create" in vars(made.messages)


@pytest.mark.parametrize("cls", [Client, AsyncClient])
def test_namespaces_are_listed_before_they_are_made(cls):
    """`dir`, and with it the completion of a shell, names what a client has, and no more."""
    made = cls(api_key=KEY)
    assert {"messages", "organization", "beta", "send", "with_options"} <= set(dir(made))
    assert all(hasattr(made, name) for name in dir(made) if not name.startswith("_"))


def test_misspelt_fields():
    """A field that an operation does not have is a `TypeError` that names it, sync and async."""
    for made in (Client(api_key=KEY), AsyncClient(api_key=KEY)):
        with pytest.raises(TypeError, match="temprature"):
            made.messages.create(**HELLO, temprature=1)
        with pytest.raises(TypeError, match="max_tokens"):
            made.messages.create(model="m", messages=[])
        with pytest.raises(AttributeError, match="mesages"):
            made.mesages  # noqa: B018  # the attribute raises


def test_transports_by_name():
    """The registered names give the shipped transports, made at first use and shared."""
    one = Client(api_key=KEY)
    assert one._link.transport is None
    assert isinstance(one.transport, UrllibTransport)
    assert one.with_options(timeout=1).transport is one.transport
    assert isinstance(AsyncClient(api_key=KEY).transport, AiohttpTransport)
    assert Client("urllib", api_key=KEY).transport is not one.transport


def test_a_derived_client_makes_the_transport_for_all():
    """It does not matter which of the clients derived from one another is used first."""
    one = Client(api_key=KEY)
    derived = one.with_options(timeout=1)
    assert derived.transport is one.transport


@pytest.mark.parametrize("cls", [Client, AsyncClient])
def test_an_unknown_name(cls):
    """A name that no package registers is a `UsageError` when the client is made."""
    with pytest.raises(UsageError, match=r"no transport is named 'aoihttp'.*urllib"):
        cls("aoihttp", api_key=KEY)


@pytest.mark.parametrize(
    ("cls", "given", "said"),
    [
        (AsyncClient, "urllib", "needs an AsyncTransport, not UrllibTransport"),
        (Client, "aiohttp", "needs a Transport, not AiohttpTransport"),
    ],
)
def test_names_that_do_not_fit(cls, given, said):
    """A name that is only for the other client is a `UsageError` at first use."""
    made = cls(given, api_key=KEY)
    with pytest.raises(UsageError, match=said):
        run(made.send, OPERATION)


@pytest.mark.parametrize(
    ("cls", "given"),
    [
        (Client, AsyncScriptTransport()),
        (AsyncClient, ScriptTransport()),
        (Client, object()),
        (Client, None),
    ],
    ids=["async in sync", "sync in async", "object", "None"],
)
def test_instances_that_do_not_fit(cls, given):
    """A sync transport for an async client, or the reverse, is refused at construction."""
    with pytest.raises(UsageError, match="Transport"):
        cls(given, api_key=KEY)


def test_threads_get_one_transport():
    """Threads that make the first call at the same time share the transport."""
    made = Client(api_key=KEY)
    barrier = threading.Barrier(8)
    found = []

    def first():
        barrier.wait()
        found.append(made.transport)

    threads = [threading.Thread(target=first) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len({id(transport) for transport in found}) == 1


def test_contexts_close_the_transport():
    """A client is a context manager that closes its transport, which may be used again."""
    made = client("sync", answer())
    with made as same:
        assert same is made
    assert made.transport.closed == 1
    made.messages.create(**HELLO)

    async def scenario(made):
        async with made as same:
            assert same is made
        assert made.transport.closed == 1
        await made.messages.create(**HELLO)

    asyncio.run(scenario(client("async", answer())))


def test_closing_what_was_never_opened():
    """Closing a client that made no call does nothing, and makes no transport."""
    with Client(api_key=KEY) as made:
        pass
    made.close()
    async_made = AsyncClient(api_key=KEY)
    asyncio.run(async_made.close())
    assert made._link.transport is async_made._link.transport is None


def test_reprs_say_what_a_client_is():
    """The repr names transport and base URL, and no secret."""
    made = Client(api_key=KEY, base_url="https://gateway.test")
    assert repr(made) == "Client('urllib', base_url='https://gateway.test')"
    assert repr(AsyncClient(api_key=KEY)).startswith("AsyncClient('aiohttp', base_url=")


def test_clients_pickle_with_their_transport():
    """A client pickles with the name or the instance of its transport, and what it was told."""
    made = pickle.loads(pickle.dumps(Client("urllib", api_key=KEY, timeout=5)))  # noqa: S301  # our own
    assert (made._link.given, made.config.timeout) == ("urllib", 5)
    made = pickle.loads(pickle.dumps(AsyncClient(AiohttpTransport(), api_key=KEY)))  # noqa: S301  # our own
    assert isinstance(made.transport, AiohttpTransport)
    used = Client("urllib", api_key=KEY)
    assert used.messages
    assert used.transport
    assert pickle.loads(pickle.dumps(used)).messages.client is not used  # noqa: S301  # our own


@both_modes
def test_concurrent_calls_do_not_mix(mode):
    """Calls of one client at the same time each get their own answer."""

    def echo(request):
        model = json.loads(request.body)["model"]
        return Response(200, {}, answer().body.replace(b"claude-sonnet-5-5", model.encode()))

    made = client(mode, echo)

    async def scenario():
        calls = (do(made.messages.create, **{**HELLO, "model": f"m{n}"}) for n in range(30))
        return [message.model for message in await asyncio.gather(*calls)]

    assert asyncio.run(scenario()) == [f"m{n}" for n in range(30)]


@both_modes
def test_what_cannot_be_streamed_is_said(mode):
    """An operation that is none, one that is not streamed, a transport that cannot stream."""

    class Whole:
        def send(self, _request): ...
        def sleep(self, _seconds): ...
        def close(self): ...

    class WholeAsync:
        async def send(self, _request): ...
        async def sleep(self, _seconds): ...
        async def close(self): ...

    made = client(mode)
    for wrong in (RawRequest(method="GET", path="/v1/models"), "file_1"):
        with pytest.raises(
            UsageError, match=r"does not stream: use|takes an operation .*, not str"
        ):
            made.stream(wrong)
    whole = Client(Whole(), api_key=KEY) if mode == "sync" else AsyncClient(WholeAsync())
    with pytest.raises(UsageError, match="has no method `stream`"):
        whole.messages.stream(**HELLO)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="there is no way to mark a function")
def test_methods_of_an_asynchronous_client_say_so():
    """Decorators that ask whether a function is a coroutine's get the right answer."""
    made = AsyncClient("emulator", api_key=KEY)
    assert inspect.iscoroutinefunction(made.messages.create)
    assert inspect.iscoroutinefunction(made.models.list)
    assert not inspect.iscoroutinefunction(made.messages.stream)
    assert not inspect.iscoroutinefunction(Client("emulator", api_key=KEY).messages.create)


@both_modes
def test_a_transport_of_ones_own(mode):
    """Four methods are a transport; no base class, no registration."""

    class Mine:
        def send(self, _request):
            return answer()

        def stream(self, request):
            raise NotImplementedError

        def sleep(self, seconds):
            pass

        def close(self):
            pass

    class MineAsync(Mine):
        async def send(self, _request):
            return answer()

        async def sleep(self, seconds):
            pass

        async def close(self):
            pass

    made = Client(Mine(), api_key=KEY) if mode == "sync" else AsyncClient(MineAsync(), api_key=KEY)
    assert run(made.send, OPERATION).text == "Hello! How can I help?"


def say_nothing(peer):
    """Take a request, and never answer."""
    peer.request()
    peer.gone()


def say_little(peer):
    """Begin a stream, and go on with pings."""
    if peer.request():
        kind = b"\r\ncontent-type: text/event-stream\r\n"
        peer.send(chunked(START, end=b"").replace(b"\r\n", kind, 1))
        for _ in range(40):
            time.sleep(0.02)
            peer.send(b"%x\r\n%b\r\n" % (len(PING), PING))


def say_no(peer):
    """Refuse every request, after a while."""
    while peer.request():
        time.sleep(0.04)
        peer.send(reply(b"", status="529 Busy"))


@both_modes
@pytest.mark.parametrize("script", [say_nothing, say_little, say_no], ids=lambda s: s.__name__)
def test_calls_end_by_their_deadline(mode, script):
    """Over a real connection, too, neither a call nor a stream outlasts its deadline."""
    policy = standard(attempts=100, wait=0.01).on(TimedOut, attempts=100)
    options = {"api_key": KEY, "deadline": 0.25, "retry": policy}
    with LoopbackServer(script) as server:
        cls = Client if mode == "sync" else AsyncClient
        made = cls(base_url=server.url(""), **options)

        async def scenario():
            for operation in (OPERATION, StreamMessage(**HELLO)):
                if script is say_little and operation is OPERATION:
                    continue
                watch = Stopwatch()
                with pytest.raises((TimedOut, Overloaded)):
                    await do(made.send, operation)
                assert watch.seconds < 0.25 + GRACE
            await do(made.close)

        asyncio.run(scenario())


@both_modes
def test_the_emulator_by_name(mode):
    """`transport="emulator"` needs nothing else: no network, no key that is real."""
    cls = Client if mode == "sync" else AsyncClient
    made = cls("emulator", api_key="any")
    message = run(made.messages.create, **{**HELLO, "model": "claude-sonnet-5-5"})
    assert message.text.startswith("Echo ")

    async def scenario():
        params = {**HELLO, "model": "claude-sonnet-5-5"}
        async with both(made.messages.stream(**params)) as s:
            return (await s.final_message()).content

    assert asyncio.run(scenario()) == message.content


def test_operations_are_found_by_name_in_a_fresh_process():
    """A worker that imports the package alone rebuilds any operation from its JSON."""
    data = json.dumps([op.to_dict() for op in UNARY.values()])
    code = (
        "import json, sys\n"
        "from claude_lite import Operation\n"
        "print([type(Operation.from_dict(one)).__name__ for one in json.load(sys.stdin)])"
    )
    done = subprocess.run(  # noqa: S603  # this interpreter
        [sys.executable, "-c", code],
        input=data,
        capture_output=True,
        text=True,
        check=True,
        cwd=API.parent.parent.parent,
    )
    assert done.stdout.strip() == str([type(op).__name__ for op in UNARY.values()])


def test_results_give_their_response():
    """Raw access needs no other API: a result has its response, an operation its request."""
    made = client("sync", answer(anthropic_organization_id="org"))
    message = made.send(OPERATION)
    assert message.response.headers["content-type"] == "application/json"
    assert message.response.organization_id == "org"
    raw = made.send(RawRequest(method="POST", path="/v1/messages", json=HELLO))
    assert OPERATION.parse(raw) == message
    assert (
        CountTokens(model="m", messages=[]).build(made.config.target).url.endswith("count_tokens")
    )


def test_names_of_other_clients_are_explained():
    """Who comes from another client is told what its options are here."""
    with pytest.raises(UsageError, match="max_retries") as caught:
        Client("emulator", api_key=KEY, max_retries=4)
    assert "retry=standard(attempts" in caught.value.advice
    made = Client("emulator", api_key=KEY)
    with pytest.raises(TypeError, match="use the method `stream`"):
        made.messages.create(**HELLO, stream=True)
    with pytest.raises(TypeError, match="with_options"):
        made.messages.create(**HELLO, timeout=5)
