"""One client on many threads: each gets its own answers, and closing it does no harm."""

import asyncio
import socket
import sys
import threading
from contextlib import contextmanager

import pytest
from driving import KEY
from programs import EchoServer, ask, python

from claude_lite import AsyncClient, ClaudeError, Client, never
from claude_lite_transports.shared.dial import Way
from claude_lite_transports.shared.http1 import ReplyParser
from claude_lite_transports.urllib.idle import Idle

ASYNC = ["aiohttp", "asyncio"]


@pytest.fixture
def server():
    """Serve echoes."""
    with EchoServer() as running:
        yield running


@contextmanager
def often():
    """Let threads take turns a thousand times more often than usual."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(5e-6)
    try:
        yield
    finally:
        sys.setswitchinterval(usual)


def on_threads(number, work):
    """Call `work(n)` on so many threads at once, and give the results; none may raise."""
    results = [None] * number
    start = threading.Barrier(number)

    def run(n):
        start.wait()
        results[n] = work(n)

    threads = [threading.Thread(target=run, args=(n,)) for n in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30.0)
    assert not any(thread.is_alive() for thread in threads)
    return results


def test_64_threads(server):
    """64 threads get their own answers, on no more connections than there are threads."""
    client = Client(api_key=KEY, base_url=server.url(""))

    def work(n):
        texts = [f"{n} {turn}" for turn in range(10)]
        return [client.messages.create(**ask(text)).text for text in texts] == texts

    with often():
        assert on_threads(64, work) == [True] * 64
    assert len(server.heard) == 640
    assert server.connections <= 64
    client.close()
    assert sorted(server.left.get(timeout=5.0) for _ in range(server.connections)) == list(
        range(server.connections)
    )


def test_64_threads_that_are_the_first(server):
    """All that is made or imported at a first use is, by whichever of 64 threads comes first."""
    code = """
        sys.setswitchinterval(5e-6)
        client = Client(api_key=KEY, base_url=URL)
        start, right = threading.Barrier(64), []

        def work(n):
            start.wait()
            try:
                client.messages.create(**ask("missing"))
            except ClaudeError as error:
                copy = ClaudeError.from_dict(error.to_dict())
                right.append(type(copy).__name__ == "NotFound")
            say(client.with_options(timeout=5), f"{n}")
            right.append(client.models is client.models)

        threads = [threading.Thread(target=work, args=(n,)) for n in range(64)]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
        assert right == [True] * 128, len(right)
    """
    python(code, server)
    assert len(server.heard) == 128
    assert server.connections <= 64


def test_the_first_operations_from_a_queue(server):
    """Threads that read the first operations of a process at once find all of them."""
    code = """
        from concurrent.futures import ThreadPoolExecutor
        from claude_lite.core.operation import Operation

        sys.setswitchinterval(5e-6)
        start, names = threading.Barrier(8), ["skills.list", "organization.users.list"] * 4

        def read(name):
            start.wait()
            return Operation.from_dict({"operation": name}).route.name

        with ThreadPoolExecutor(8) as pool:
            assert list(pool.map(read, names)) == names
    """
    python(code, server)


def test_closing_while_threads_call(server):
    """Whoever calls while another thread closes the client gets his answer all the same."""
    client = Client(api_key=KEY, base_url=server.url(""), retry=never())
    over = threading.Event()

    def work(n):
        if n == 0:
            while not over.wait(0.001):
                client.close()
            return True
        texts = [f"{n} {turn}" for turn in range(20)]
        right = [client.messages.create(**ask(text)).text for text in texts] == texts
        done.append(n)
        if len(done) == 16:
            over.set()
        return right

    done = []
    assert on_threads(17, work) == [True] * 17
    assert len(server.heard) == 320


@pytest.mark.parametrize("name", ASYNC)
def test_closing_while_tasks_call(name):
    """Calls under way when their loop closes the client end in typed errors; the next goes well."""

    async def main():
        async def outcome(text):
            try:
                return (await client.messages.create(**ask(text))).text == text
            except ClaudeError as error:
                return error.attempts == 1

        calls = [asyncio.create_task(outcome(f"{n}")) for n in range(32)]
        while len(server.heard) < 32:  # noqa: ASYNC110  # threads of the server add to it
            await asyncio.sleep(0.001)
        await client.close()
        done, waiting = await asyncio.wait(calls, timeout=5.0)
        assert not waiting
        assert all(call.result() for call in done)
        assert (await client.messages.create(**ask("after"))).text == "after"
        await client.close()

    with EchoServer(after=0.3) as server:
        client = AsyncClient(name, api_key=KEY, base_url=server.url(""), retry=never())
        asyncio.run(main())


@pytest.mark.parametrize("name", ASYNC)
def test_threads_with_a_loop_each(name, server):
    """Eight threads that each run loops share one client, without a warning or a wrong answer."""
    code = f"""
        client = AsyncClient({name!r}, api_key=KEY, base_url=URL)
        done = []

        async def main(n):
            await asyncio.gather(*[say_async(client, f"{{n}} {{i}}") for i in range(10)])
            done.append(n)

        def work(n):
            asyncio.run(main(n))
            asyncio.run(main(n))

        threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
        assert len(done) == 16
    """
    python(code, server)
    assert len(server.heard) == 160
    users = {}
    for number, text in server.heard:
        users.setdefault(number, set()).add(text.split()[0])
    assert all(len(user) == 1 for user in users.values())


@pytest.mark.parametrize("name", ASYNC)
def test_concurrent_loops_do_not_share_connections(name, server):
    """Two loops that run at the same time use connections of their own, each the same again."""
    client = AsyncClient(name, api_key=KEY, base_url=server.url(""))
    barrier = threading.Barrier(2)

    async def main():
        await client.messages.create(**ask("first"))
        barrier.wait()
        await client.messages.create(**ask("second"))

    on_threads(2, lambda _: asyncio.run(main()))
    assert (len(server.heard), server.connections) == (4, 2)


def test_idle_connections_end_while_threads_use_them():
    """All idle connections can be closed for good while threads bring back and take others."""
    way = Way("http", "host", 80)
    with often():
        for _ in range(20):
            idle, over = Idle(64, 30.0), threading.Event()
            for _ in range(30):
                idle.keep(way, socket.socket(), ReplyParser("GET"), 1, idle.epoch)

            def work(n, idle=idle, over=over):
                if n == 0:
                    idle.end()
                    over.set()
                    return True
                while not over.is_set():
                    idle.keep(way, socket.socket(), ReplyParser("GET"), 1, idle.epoch)
                return True

            assert on_threads(4, work) == [True] * 4
            assert not any(idle._stacks.values())


def test_what_comes_back_after_the_end_is_closed():
    """A connection that a daemon thread still has at exit is closed when it is done with it."""
    idle, sock = Idle(64, 30.0), socket.socket()
    idle.end()
    idle.keep(Way("http", "host", 80), sock, ReplyParser("GET"), 1, idle.epoch)
    assert sock.fileno() == -1
