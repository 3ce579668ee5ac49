"""One client in many places: loops one after the other, forks, spawns, threads, and at exit."""

import asyncio
import json
import subprocess
import sys
import textwrap
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest
from driving import BLOCK, HEL, KEY, START, sample

from claude_lite import AsyncClient, Client
from claude_lite.testing.loopback import LoopbackServer, chunked, reply

ROOT = Path(__file__).parent.parent
MESSAGE = json.loads(sample("responses/messages.create.json"))


def ask(text):
    """Make the fields of a request that says this."""
    return {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": text}]}


def echo(peer):
    """Answer each request with its own text."""
    while got := peer.request():
        body = json.loads(got.body)
        text = body["messages"][0]["content"]
        if body.get("stream"):
            kind = b"\r\ncontent-type: text/event-stream\r\n"
            peer.send(chunked(START, BLOCK, HEL, end=b"").replace(b"\r\n", kind, 1))
            peer.gone()
            return
        content = [{"type": "text", "text": text}]
        answer = json.dumps({**MESSAGE, "content": content}).encode()
        peer.send(reply(answer, "content-type: application/json"))


@pytest.fixture
def server():
    """Serve echoes."""
    with LoopbackServer(echo) as running:
        yield running


def python(code, server, within=30.0, said=""):
    """Run a program in an interpreter that makes warnings errors; it may say only this much."""
    prelude = f"""
        import asyncio, os, sys, threading
        from claude_lite import AsyncClient, Client
        URL, KEY = {server.url("")!r}, {KEY!r}

        def ask(text):
            return dict(model="m", max_tokens=9, messages=[dict(role="user", content=text)])
    """
    began = time.monotonic()
    done = subprocess.run(  # noqa: S603  # this interpreter
        [sys.executable, "-W", "error", "-c", textwrap.dedent(prelude) + textwrap.dedent(code)],
        capture_output=True,
        text=True,
        check=False,
        timeout=within,
        cwd=ROOT,
    )
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == "" if not said else said in done.stderr
    return time.monotonic() - began


def test_fifty_loops_one_after_the_other(server):
    """A client at module level in fifty `asyncio.run`s sends exactly fifty requests, unwarned."""
    python(
        """
        client = AsyncClient(api_key=KEY, base_url=URL)

        async def main(n):
            assert (await client.messages.create(**ask(f"loop {n}"))).text == f"loop {n}"

        for n in range(50):
            asyncio.run(main(n))
        """,
        server,
    )
    assert [request.method for request in server.received] == ["POST"] * 50


FORK = """
    def child(n):
        {work}

    children = []
    for n in range(8):
        pid = os.fork()
        if pid == 0:
            try:
                child(n)
            except BaseException:
                import traceback
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        children.append(pid)
    codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children]
    assert codes == [0] * 8, codes
"""


def test_forks_with_the_sync_client(server):
    """Eight forked children make fifty calls each, and every answer is the right one."""
    work = """
        for i in range(50):
            assert client.messages.create(**ask(f"{n} {i}")).text == f"{n} {i}"
    """
    python(
        """
    client = Client(api_key=KEY, base_url=URL)
    assert client.messages.create(**ask("before")).text == "before"
    """
        + FORK.replace("{work}", work.strip())
        + """
    assert client.messages.create(**ask("after")).text == "after"
    """,
        server,
    )
    assert len(server.received) == 402


def test_forks_with_the_async_client(server):
    """The same with an event loop that is open while the children are forked, and goes on."""
    work = """
        async def main():
            for i in range(50):
                assert (await client.messages.create(**ask(f"{n} {i}"))).text == f"{n} {i}"
        asyncio.run(main())
    """
    python(
        """
    client = AsyncClient(api_key=KEY, base_url=URL)
    loop = asyncio.new_event_loop()

    def say(text):
        assert loop.run_until_complete(client.messages.create(**ask(text))).text == text

    say("before")
    """
        + FORK.replace("{work}", work.strip())
        + """
    say("after")
    loop.run_until_complete(client.close())
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()
    """,
        server,
    )
    assert len(server.received) == 402


def test_a_fork_has_locks_of_its_own(server):
    """Retry budgets and token locks that a thread held at the fork do not lock the child."""
    python(
        """
        from claude_lite.retry import budget_for
        minting, go_on = threading.Event(), threading.Event()

        def mint():
            minting.set()
            go_on.wait()
            return "token-0123"

        client = Client(auth_token=mint, base_url=URL)
        thread = threading.Thread(target=lambda: client.messages.create(**ask("parent")))
        thread.start()
        minting.wait()
        budget = budget_for(client.config.origin)
        with budget._lock:
            pid = os.fork()
            if pid == 0:
                go_on.set()
                assert budget_for(client.config.origin) is not budget
                assert budget_for(client.config.origin).take()
                client.messages.create(**ask("child"))
                os._exit(0)
        go_on.set()
        thread.join()
        assert os.waitpid(pid, 0)[1] == 0
        """,
        server,
    )
    texts = {json.loads(got.body)["messages"][0]["content"] for got in server.received}
    assert texts == {"parent", "child"}


def call_in_a_spawned_process(client, text):
    """Make a call with a client that came in a pickle."""
    if isinstance(client, Client):
        return client.messages.create(**ask(text)).text
    return asyncio.run(client.messages.create(**ask(text))).text


def test_spawned_processes(server, monkeypatch):
    """Clients of both colours travel to a spawned process, and find their key there."""
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
    clients = [
        Client(api_key="sk-ant-not-this-one", base_url=server.url("")),
        AsyncClient(api_key="sk-ant-not-this-one", base_url=server.url("")),
    ]
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        texts = list(pool.map(call_in_a_spawned_process, clients, ["one", "two"]))
    assert texts == ["one", "two"]
    assert [got.values("x-api-key") for got in server.received] == [[KEY], [KEY]]


def test_threads_with_a_loop_each(server):
    """Threads that each run a loop share one client, without a warning or a wrong answer."""
    python(
        """
        client = AsyncClient(api_key=KEY, base_url=URL)
        right = []

        async def main(n):
            texts = [f"{n} {i}" for i in range(10)]
            answers = await asyncio.gather(*(client.messages.create(**ask(t)) for t in texts))
            right.append([answer.text for answer in answers] == texts)

        threads = [threading.Thread(target=lambda n=n: asyncio.run(main(n))) for n in range(8)]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
        assert right == [True] * 8
        """,
        server,
    )
    assert len(server.received) == 80


def test_a_sync_client_on_threads(server):
    """Sixteen threads share one synchronous client, and each gets its own answers."""
    client = Client(api_key=KEY, base_url=server.url(""))
    right = []

    def work(n):
        texts = [f"{n} {i}" for i in range(20)]
        right.append([client.messages.create(**ask(text)).text for text in texts] == texts)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert right == [True] * 16
    assert len(server.received) == 320
    assert server.connections <= 16
    client.close()


@pytest.mark.parametrize(
    "code",
    [
        """
        client = Client(api_key=KEY, base_url=URL)
        client.messages.create(**ask("bye"))
        """,
        """
        client = Client(api_key=KEY, base_url=URL)
        with client.messages.stream(**ask("bye")) as stream:
            next(iter(stream))
        """,
        """
        client = AsyncClient(api_key=KEY, base_url=URL)
        asyncio.run(client.messages.create(**ask("bye")))
        """,
        """
        client = AsyncClient(api_key=KEY, base_url=URL)
        loop = asyncio.new_event_loop()
        loop.run_until_complete(client.messages.create(**ask("bye")))
        loop.close()
        """,
        """
        client = AsyncClient(api_key=KEY, base_url=URL)

        async def main():
            async with client.messages.stream(**ask("bye")) as stream:
                async for event in stream:
                    return

        asyncio.run(main())
        """,
    ],
    ids=["sync", "sync stream", "async", "closed loop", "async stream"],
)
def test_the_interpreter_exits_at_once(code, server):
    """A program that ends with a client open ends without a warning, and does not hang."""
    assert python(code, server, within=10.0) < 5


@pytest.mark.parametrize(
    "code",
    [
        """
        stream = Client(api_key=KEY, base_url=URL).messages.stream(**ask("bye")).__enter__()
        next(iter(stream))
        """,
        """
        client = AsyncClient(api_key=KEY, base_url=URL)

        async def main():
            stream = await client.messages.stream(**ask("bye")).__aenter__()
            async for event in stream:
                return

        asyncio.run(main())
        """,
    ],
    ids=["sync", "async"],
)
def test_a_stream_that_is_never_left_does_not_hang(code, server):
    """A stream entered by hand and forgotten is a `ResourceWarning`, and the exit is prompt."""
    assert python(code, server, within=10.0, said="ResourceWarning") < 5


def test_concurrent_loops_do_not_share_connections(server):
    """Two loops that run at the same time use connections of their own."""
    client = AsyncClient(api_key=KEY, base_url=server.url(""))
    barrier = threading.Barrier(2)

    async def main():
        await client.messages.create(**ask("first"))
        barrier.wait()
        await client.messages.create(**ask("second"))

    threads = [threading.Thread(target=lambda: asyncio.run(main())) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(server.received), server.connections) == (4, 2)
