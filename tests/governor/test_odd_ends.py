"""What ends in an odd way under a governor: deadlines, event loops, forks, headers, governors."""

import asyncio
import gc
import threading
import time
import warnings

import pytest
from programs import EchoServer, python

from claude_lite import AsyncClient, Client, RateLimited
from claude_lite.core.turns import Admit
from claude_lite.governor import Governor
from claude_lite.governor.booking import book, learn
from claude_lite.governor.local import LocalPool
from claude_lite.governor.state import State
from claude_lite.testing import (
    AsyncStubTransport,
    StubTransport,
    message,
    message_stream,
)
from claude_lite.testing.fixtures import ClaudeEmulator
from claude_lite.wire import Request, Response

ASK = {
    "model": "claude-opus-4-5",
    "max_tokens": 50,
    "messages": [{"role": "user", "content": "hello"}],
}
NAMES = [
    f"anthropic-ratelimit-{bucket}-{word}"
    for bucket in ("requests", "input-tokens", "output-tokens")
    for word in ("limit", "remaining")
]
USED = {"input_tokens": 1, "output_tokens": 1}


class Operation:
    """What a pool asks of an operation."""

    model, max_tokens = "m", 50


def admit(clock, time_left=None, *, defers=False):
    """Make an attempt that waits."""
    request = Request("POST", "http://h/v1/messages", {"x-api-key": "any"}, b"{}")
    return Admit(Operation(), request, ("http://h", ""), "interactive", defers, time_left, clock)


def answer(limit, left, status=200):
    """Make the head of an answer that names the limit of requests."""
    return Response(status, dict(zip(NAMES, (str(limit), str(left)), strict=False)), b"")


def short_pool(clock):
    """Make a pool whose next call has to wait for long."""
    pool = LocalPool("http://h", clock)
    pool.enter(admit(clock), time.sleep).settle(answer(6, 0), USED)
    return pool


def test_a_shorter_deadline_that_comes_later():
    """A call ends at its deadline, though the call before it sleeps for longer."""
    with ClaudeEmulator(limits={"requests": 6, "bucket": 1}) as emulated:

        async def scenario():
            client = emulated.async_client(governor=Governor())
            await client.messages.create(**ASK)
            first = asyncio.create_task(client.messages.create(**ASK))
            await client.transport.sleep(0.1)
            for deadline in (0.05, 0.3):
                began = emulated.clock.monotonic()
                with pytest.raises(RateLimited):
                    await client.with_options(deadline=deadline).messages.create(**ASK)
                assert emulated.clock.monotonic() - began == pytest.approx(deadline, abs=0.01)
            await first

        asyncio.run(scenario())


def test_the_garbage_collector_ends_calls():
    """Calls of a closed loop that end while their pool is locked take themselves out."""
    pool = short_pool(time.monotonic)

    async def scenario():
        for _ in range(3):
            asyncio.ensure_future(pool.enter_async(admit(pool.clock), asyncio.sleep))  # noqa: RUF006
        await asyncio.sleep(0)

    loop = asyncio.new_event_loop()
    loop.set_exception_handler(lambda *_: None)  # it would tell of each task
    gc.disable()
    try:
        loop.run_until_complete(scenario())
        loop.close()
        del loop
        assert pool.snapshot()["waiting"] == 3
        locked = threading.Thread(target=collect, args=(pool.lock,), daemon=True)
        locked.start()
        locked.join(10)
        assert not locked.is_alive()
    finally:
        gc.enable()
    assert pool.snapshot()["waiting"] == 0


def collect(lock):
    """Collect the garbage while the lock is held."""
    with lock:
        gc.collect()


def test_a_fork_while_a_pool_is_locked():
    """A child ends a stream that began before a fork at which another thread held the lock."""
    program = """
        from claude_lite.governor import Governor
        from claude_lite.testing import StubTransport, message_stream

        governor = Governor()
        client = Client(StubTransport(message_stream("whole")), api_key=KEY, governor=governor)
        taken = threading.Event()

        def hold():
            with pool.lock:
                taken.set()
                time.sleep(30)

        def child():
            assert stream.final_message().text == "whole"

        with client.messages.stream(**ask("whole")) as stream:
            (pool,) = governor._pools.values()
            threading.Thread(target=hold, daemon=True).start()
            taken.wait()
            wait_for([fork(child)])
            os._exit(0)  # the lock is still held here
    """
    with EchoServer() as server:
        python(program, server)


def test_calls_of_unknown_fate_are_no_debt():
    """After 200 calls that timed out before any limit was known, nobody pays for them."""
    now = [100.0]
    pool = LocalPool("http://h", lambda: now[0])

    def sleep(seconds):
        now[0] += seconds

    for _ in range(200):
        pool.enter(admit(pool.clock), sleep).settle()
        sleep(1)
    sleep(3600)
    pool.enter(admit(pool.clock), sleep).settle(answer(60, 30), USED)
    began = now[0]
    pool.enter(admit(pool.clock), sleep)
    assert now[0] == began


@pytest.mark.parametrize("odd", ["5e-324", "1e-300", "0.5", "1e308", "-1", "nan", "\uff11"])
def test_odd_limits_cost_no_answer(odd):
    """Limits that nobody can mean end no call with an error, and hold nobody for minutes."""
    for name in NAMES:
        now = [100.0]
        pool = LocalPool("http://h", lambda now=now: now[0])
        for headers in ({name: "60"}, {name: odd}, dict.fromkeys(NAMES, odd), {name: "60"}):
            turn = pool.enter(admit(pool.clock), lambda s, now=now: now.__setitem__(0, now[0] + s))
            now[0] += 1
            turn.settle(Response(200, headers, b""), USED)
        assert now[0] < 300


def test_a_limit_that_becomes_tiny():
    """What was booked under a large limit is a minute of debt at most under a small one."""
    state = State()
    _, first = book(state, 100.0, 1, 1)
    learn(state, 101.0, first, 200, (10**14, 0, 0), (10**14, -1, -1), None, (1, 1, 1))
    _, second = book(state, 101.0, 1, 1)
    state.buckets[0].clock += 2.0  # what others have booked since
    learn(state, 102.0, second, 200, (60, 0, 0), (30, -1, -1), None, (1, 1, 1))
    wait, _ = book(state, 102.0, 1, 1)
    assert wait < 60


class BrokenTurn:
    """A turn that cannot be told anything."""

    held = 0.0

    def settle(self, *_told, **_more):
        """Fail."""
        raise LookupError("of the governor")


class BrokenGovernor:
    """A governor of somebody else whose turns fail."""

    def enter(self, *_asked):
        """Give a turn at once."""
        return BrokenTurn()

    async def enter_async(self, *_asked):
        """Give a turn at once."""
        return BrokenTurn()


def test_a_governor_that_fails_costs_no_answer():
    """The answer is given though the turn raises an exception, which is reported once."""
    stub = StubTransport(message("plain"), message_stream("streamed"), message("again"))
    client = Client(stub, api_key="any", governor=BrokenGovernor())
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert client.messages.create(**ASK).text == "plain"
        with client.messages.stream(**ASK) as stream:
            assert stream.final_message().text == "streamed"
        assert client.messages.create(**ASK).text == "again"
    (warning,) = caught
    assert "a report was lost: LookupError" in str(warning.message)


def test_a_governor_that_fails_costs_no_answer_async():
    """The same holds for the async client."""

    async def scenario():
        stub = AsyncStubTransport(message("plain"), message_stream("streamed"))
        client = AsyncClient(stub, api_key="any", governor=BrokenGovernor())
        assert (await client.messages.create(**ASK)).text == "plain"
        async with client.messages.stream(**ASK) as stream:
            assert (await stream.final_message()).text == "streamed"

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        asyncio.run(scenario())
    assert sum("a report was lost: LookupError" in str(w.message) for w in caught) == 1


def test_no_thread_is_left_for_redis():
    """Where the thread for Redis cannot start, a call fails with the reason; later calls work."""
    program = """
        from claude_lite.governor import Governor
        from claude_lite.testing import StubTransport, message

        stub = StubTransport(message("hello"))
        client = Client(stub, api_key=KEY, governor=Governor("redis://127.0.0.1:9"))
        threading.stack_size(1 << 46)  # more than there is
        for _ in range(2):
            try:
                client.messages.create(**ask("hello"))
            except ClaudeError as error:
                assert "no thread" in str(error)
            else:
                raise AssertionError
        threading.stack_size(0)
        say(client, "hello")
    """
    with EchoServer() as server:
        python(program, server, said="the Redis at redis://127.0.0.1:9 is away")
