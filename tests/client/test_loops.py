"""One client on many event loops, of any kind: asyncio's, uvloop's, trio's, or none."""

import asyncio
import gc
import weakref
from itertools import count

import anyio
import pytest
import trio
import uvloop
from driving import HELLO, KEY
from programs import EchoServer, ask, python
from trio_transport import TrioTransport

from claude_lite import AsyncClient, Client, NotFound, TimedOut, UsageError
from claude_lite.client.tokens import AsyncTokens
from claude_lite.emulator import Emulator
from claude_lite.testing import ASYNC_CASES
from claude_lite_transports.aiohttp import AiohttpTransport
from claude_lite_transports.emulator import AsyncEmulatorTransport

ASYNC = pytest.mark.parametrize("name", ["aiohttp", "asyncio"])


@pytest.fixture
def server():
    """Serve echoes."""
    with EchoServer() as running:
        yield running


# asyncio's loops, and uvloop's


@pytest.mark.slow
@ASYNC
@pytest.mark.parametrize("run", ["asyncio", "uvloop"])
def test_fifty_loops_one_after_the_other(name, run, server):
    """A client at module level in fifty loops sends exactly a request a call, unwarned."""
    code = f"""
        import {run} as loops
        client = AsyncClient({name!r}, api_key=KEY, base_url=URL)
        for n in range(50):
            loops.run(say_async(client, f"loop {{n}}"))
    """
    python(code, server)
    assert server.heard == [(n, f"loop {n}") for n in range(50)]


@pytest.mark.parametrize("case", ASYNC_CASES, ids=str)
@pytest.mark.slow
def test_aiohttp_on_uvloop(case):
    """The transport on aiohttp conforms on uvloop as well."""

    async def main():
        transport = AiohttpTransport(trust_env=False)
        try:
            await case.check(transport)
        finally:
            await transport.close()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())


@ASYNC
def test_two_loops_in_turn(name, server):
    """Each of two open loops keeps its connection; closing the client on one leaves the other's."""
    client = AsyncClient(name, api_key=KEY, base_url=server.url(""))

    async def say(text):
        assert (await client.messages.create(**ask(text))).text == text

    with asyncio.Runner() as one, asyncio.Runner() as other:
        for turn in range(3):
            one.run(say(f"one {turn}"))
            other.run(say(f"other {turn}"))
        one.run(client.close())
        other.run(say("other still"))
        one.run(say("one again"))
    assert [number for number, _ in server.heard] == [0, 1, 0, 1, 0, 1, 1, 2]


@ASYNC
def test_a_stream_on_another_loop(name, server):
    """A stream that is read on a loop other than its own is a `UsageError`, and does not hang."""
    client = AsyncClient(name, api_key=KEY, base_url=server.url(""))

    async def read(stream):
        return [event async for event in stream]

    with asyncio.Runner() as one, asyncio.Runner() as other:
        stream = client.messages.stream(**ask("hello"))
        one.run(stream.__aenter__())
        with pytest.raises(UsageError, match="event loop that opened it"):
            other.run(asyncio.wait_for(read(stream), 5.0))
        one.run(stream.close())


@ASYNC
def test_a_loop_within_a_loop(name, server):
    """`asyncio.run` within a loop is refused by asyncio, which does the client no harm."""
    client = AsyncClient(name, api_key=KEY, base_url=server.url(""))

    async def main():
        call = client.messages.create(**ask("nested"))
        with pytest.raises(RuntimeError, match="running event loop"):
            asyncio.run(call)
        call.close()
        assert (await client.messages.create(**ask("hello"))).text == "hello"

    asyncio.run(main())
    assert [text for _, text in server.heard] == ["hello"]


def test_a_sync_client_within_a_loop(server):
    """A synchronous client blocks the loop that it is called on, and answers."""
    client = Client(api_key=KEY, base_url=server.url(""))

    async def main():
        return client.messages.create(**ask("hello")).text

    assert asyncio.run(main()) == "hello"
    client.close()


@ASYNC
def test_clients_that_nobody_closes(name, server):
    """A client that is let go of on a loop has its connection closed, without a warning."""

    async def main():
        for n in range(3):
            client = AsyncClient(name, api_key=KEY, base_url=server.url(""))
            assert (await client.messages.create(**ask(f"{n}"))).text == f"{n}"
            del client
            gc.collect()
            assert await asyncio.to_thread(server.left.get, timeout=5.0) == n

    asyncio.run(main())


def test_sync_clients_that_nobody_closes(server):
    """A synchronous one that is let go of has its connection closed, too."""
    for n in range(3):
        Client(api_key=KEY, base_url=server.url("")).messages.create(**ask("hello"))
        gc.collect()
        assert server.left.get(timeout=5.0) == n


def test_tokens_do_not_keep_loops():
    """Loops on which tasks have waited for a token are let go of once they are closed."""
    numbers, loops = count(), weakref.WeakSet()

    async def create_token():
        await asyncio.sleep(0)
        return f"token-{next(numbers)}"

    tokens, token = AsyncTokens(create_token, "auth_token"), None

    async def main():
        loops.add(asyncio.get_running_loop())
        return await asyncio.gather(*[tokens.get(token) for _ in range(3)])

    for _ in range(5):
        token, *others = asyncio.run(main())
        assert others == [token, token]
    gc.collect()
    assert len(loops) == 1
    assert next(numbers) == 5


# Others: the core has no loop of its own


def on_trio(server, **options):
    """Make a client that runs on trio."""
    return AsyncClient(TrioTransport(), api_key=KEY, base_url=server.url(""), **options)


def test_calls_on_trio(server):
    """On trio calls run side by side, each gets its own answer, and errors are typed."""
    client, right = on_trio(server), []

    async def say(text):
        right.append((await client.messages.create(**ask(text))).text == text)

    async def main():
        async with trio.open_nursery() as nursery:
            for n in range(20):
                nursery.start_soon(say, f"{n}")
        with pytest.raises(NotFound):
            await say("missing")

    trio.run(main)
    assert right == [True] * 20
    assert (server.connections, client.transport.open) == (21, 0)


def test_streams_on_trio(server):
    """On trio a stream is read as it comes, and leaving one early closes its connection."""
    client = on_trio(server)

    async def main():
        async with client.messages.stream(**ask("whole")) as stream:
            assert [text async for text in stream.text_stream] == ["Hel", "lo"]
            assert (await stream.final_message()).text == "Hello"
        async with client.messages.stream(**ask("early")) as stream:
            assert (stream.response.status, client.transport.open) == (200, 1)

    trio.run(main)
    assert sorted(server.left.get(timeout=5.0) for _ in range(2)) == [0, 1]
    assert client.transport.open == 0


def test_a_function_on_trio(server):
    """On trio a plain function gives the key, asked once; there the loop waits for it."""
    asked = []
    client = AsyncClient(
        TrioTransport(), api_key=lambda: asked.append(1) or KEY, base_url=server.url("")
    )

    async def main():
        for text in ("one", "two"):
            assert (await client.messages.create(**ask(text))).text == text

    trio.run(main)
    assert asked == [1]


def test_limits_on_trio(server):
    """On trio a deadline ends a call, and so does trio's own cancellation; neither leaks."""
    client = on_trio(server, deadline=0.2)

    async def main():
        with pytest.raises(TimedOut, match="deadline"):
            async with client.messages.stream(**ask("hello")) as stream:
                await stream.final_message()
        with trio.move_on_after(0.1) as scope:
            async with client.with_options(deadline=9.0).messages.stream(**ask("hi")) as stream:
                await stream.final_message()
        assert scope.cancelled_caught
        assert client.transport.open == 0

    trio.run(main)
    assert sorted(server.left.get(timeout=5.0) for _ in range(2)) == [0, 1]


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_retries_on_anyio(backend):
    """A client on the emulator retries, and waits meanwhile, on either backend of anyio."""
    busy = {"fault": "status", "status": 529, "headers": {"retry-after": "0.01"}}
    emulator = Emulator(faults=[{"on": {"once_per_body": True}, "do": busy}])
    transport = AsyncEmulatorTransport(emulator, sleep=anyio.sleep)
    client = AsyncClient(transport, api_key="any")
    hello = {**HELLO, "model": "claude-sonnet-5-5"}
    answers = []

    async def call(n):
        message = await client.messages.create(**hello, metadata={"user_id": f"{n}"})
        answers.append(message.text)

    async def main():
        async with anyio.create_task_group() as group:
            for n in range(10):
                group.start_soon(call, n)

    anyio.run(main, backend=backend)
    assert len(answers) == 10
    assert emulator.requests.total == 20


@ASYNC
def test_transports_of_asyncio_on_trio(name, server):
    """A transport that needs asyncio says so where there is none, and sends nothing."""
    client = AsyncClient(name, api_key=KEY, base_url=server.url(""))

    async def main():
        with pytest.raises(UsageError, match="no running asyncio event loop"):
            await client.messages.create(**ask("hello"))

    trio.run(main)
    assert server.connections == 0
