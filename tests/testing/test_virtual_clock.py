"""The virtual clock: whose sleep ends when, and when time stands still."""

import asyncio
import random
import threading
from contextlib import asynccontextmanager

import pytest
from timing import Stopwatch

from claude_lite import AsyncClient, Client
from claude_lite.emulator import Emulator
from claude_lite.emulator.serving import emulator_server
from claude_lite.testing import (
    AsyncStubTransport,
    StubTransport,
    VirtualClock,
    error_response,
    message,
)
from claude_lite.wire import AsyncTransport, Request, Response, Transport
from claude_lite_transports.emulator import AsyncEmulatorTransport

ASK = Request("POST", "https://api.anthropic.com/v1/messages", {}, b"{}")
HOUR = 3600


def hello():
    """Give the fields of a message."""
    said = [{"role": "user", "content": "Hello"}]
    return {"model": "claude-sonnet-5-5", "max_tokens": 50, "messages": said}


def test_sleeping_is_all_that_takes_time():
    """The synchronous sleep moves the time on; nothing else does, and it never goes back."""
    clock = VirtualClock(5)
    clock.sleep(HOUR)
    clock.sleep(-1)
    assert clock.monotonic() == HOUR + 5


def test_tasks_wake_in_the_order_of_their_ends():
    """A hundred tasks that sleep at once wake by their ends, and equal ends as they began."""

    async def main(seed):
        clock, woken = VirtualClock(), []
        rnd = random.Random(seed)  # noqa: S311  # any order

        async def sleep(number, seconds):
            await clock.sleep_async(seconds)
            woken.append((clock.monotonic(), number))

        spans = [(number, rnd.randrange(20) * HOUR) for number in range(100)]
        watch = Stopwatch()
        await asyncio.gather(*[sleep(*span) for span in spans])
        assert watch.seconds < 1
        assert woken == sorted((seconds, number) for number, seconds in spans)

    for seed in range(5):
        asyncio.run(main(seed))


def test_whoever_has_something_to_do_comes_first():
    """Time passes only when every task is waiting, however many steps one has to take."""

    async def main():
        clock, log = VirtualClock(), []
        queue = asyncio.Queue(1)

        async def produce():
            for number in range(200):
                await queue.put(number)
                clock.monotonic()

        async def consume():
            for _ in range(200):
                await queue.get()
            log.append("consumed")

        async def sleep():
            await clock.sleep_async(1)
            log.append("slept")

        await asyncio.gather(sleep(), produce(), consume())
        assert log == ["consumed", "slept"]

    asyncio.run(main())


def test_sleeps_in_a_row_add_up_in_each_task():
    """Two tasks with many sleeps each interleave as they would in real time."""

    async def main():
        clock, log = VirtualClock(), []

        async def tick(name, seconds):
            for _ in range(3):
                await clock.sleep_async(seconds)
                log.append((clock.monotonic(), name))

        await asyncio.gather(tick("a", 20), tick("b", 30))
        assert log == [(20, "a"), (30, "b"), (40, "a"), (60, "b"), (60, "a"), (90, "b")]

    asyncio.run(main())


def test_a_cancelled_sleeper_holds_nobody_up():
    """A sleep that is cancelled is forgotten: time does not pass for its sake."""

    async def main():
        clock = VirtualClock()
        task = asyncio.create_task(clock.sleep_async(10))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        await clock.sleep_async(HOUR)
        assert clock.monotonic() == pytest.approx(HOUR, abs=8)

    asyncio.run(main())


def test_a_clock_outlives_loops():
    """One clock serves successive loops, even if one of them ended in the middle of a sleep."""
    clock = VirtualClock()

    async def leave():
        task = asyncio.create_task(clock.sleep_async(10))
        await asyncio.sleep(0)
        assert not task.done()

    for _ in range(3):
        asyncio.run(leave())
        asyncio.run(clock.sleep_async(HOUR))
    assert clock.monotonic() == 3 * HOUR


def test_a_thread_wakes_tasks():
    """A synchronous sleep elsewhere wakes the tasks whose time has come by it."""

    async def main():
        clock = VirtualClock()
        with clock.standing():  # so that nobody but the thread moves the time
            task = asyncio.create_task(clock.sleep_async(HOUR))
            await asyncio.sleep(0)
            thread = threading.Thread(target=clock.sleep, args=(HOUR,))
            thread.start()
            await asyncio.wait_for(task, 2)
            thread.join()
        assert clock.monotonic() == pytest.approx(HOUR, abs=8)

    asyncio.run(main())


def test_transports_get_a_clock():
    """What wraps a transport is one, with this clock, and passes everything else on."""
    clock, log = VirtualClock(), []
    stub, other = StubTransport(message("a"), [b"b"]), AsyncStubTransport(message("a"), [b"b"])
    stub.close = lambda: log.append("closed")
    inner, async_inner = clock.transport(stub), clock.async_transport(other)
    assert isinstance(inner, Transport)
    assert isinstance(async_inner, AsyncTransport)
    assert inner.send(ASK).status == 200
    with inner.stream(ASK) as (_, chunks):
        assert list(chunks) == [b"b"]
    inner.close()
    inner.sleep(HOUR)

    async def main():
        assert (await async_inner.send(ASK)).status == 200
        async with async_inner.stream(ASK) as (_, chunks):
            assert [chunk async for chunk in chunks] == [b"b"]
        await async_inner.sleep(HOUR)
        await async_inner.sleep(0)
        await async_inner.close()

    asyncio.run(main())
    assert (clock.monotonic(), async_inner.monotonic(), log) == (2 * HOUR, 2 * HOUR, ["closed"])


def test_clients_go_by_it():
    """A client waits, and reckons its deadline, by the clock of its transport."""
    clock = VirtualClock()
    busy = error_response(429, "req_1", headers={"retry-after": str(HOUR)})
    transport = clock.transport(StubTransport(busy, message("Hello")))
    assert Client(transport, api_key="any", deadline=2 * HOUR).messages.create(**hello()).text
    transport = clock.async_transport(AsyncStubTransport(busy, message("Hello")))
    client = AsyncClient(transport, api_key="any", deadline=2 * HOUR)
    assert asyncio.run(client.messages.create(**hello())).text
    assert clock.monotonic() == pytest.approx(2 * HOUR, abs=1)


class Slow(AsyncStubTransport):
    """Takes a real moment for everything, as a network does."""

    @asynccontextmanager
    async def stream(self, request):
        """Give two chunks, with a moment before each."""
        del request

        async def chunks():
            for chunk in (b"a", b"b"):
                await asyncio.sleep(0.03)
                yield chunk

        await asyncio.sleep(0.03)
        yield Response(200, {}), chunks()

    async def send(self, request):
        """Give an answer after a moment."""
        del request
        await asyncio.sleep(0.03)
        return Response(200, {})


def test_time_stands_still_during_calls():
    """While a real call is under way nobody's sleep ends; between its steps time may pass."""

    async def main():
        clock, log = VirtualClock(), []
        transport = clock.async_transport(Slow())

        async def call():
            await transport.send(ASK)
            log.append(("sent", clock.monotonic()))
            async with transport.stream(ASK) as (_, chunks):
                log.append(("head", clock.monotonic()))
                async for chunk in chunks:
                    log.append((chunk, clock.monotonic()))
                    await clock.sleep_async(1)

        async def sleep():
            await clock.sleep_async(HOUR)
            log.append(("slept", clock.monotonic()))

        await asyncio.gather(sleep(), call())
        assert log == [("sent", 0), ("head", 0), (b"a", 0), (b"b", 1), ("slept", HOUR)]

    asyncio.run(main())


def test_a_transport_in_virtual_time_can_be_wrapped():
    """What sleeps by this clock inside a call does not hold it up."""

    async def main():
        clock = VirtualClock()
        emulator = Emulator(clock=clock.monotonic, latency=HOUR)
        inner = AsyncEmulatorTransport(emulator, sleep=clock.sleep_async)
        client = AsyncClient(clock.async_transport(inner), api_key="any", timeout=2 * HOUR)
        calls = [client.messages.create(**hello()) for _ in range(10)]
        await asyncio.wait_for(asyncio.gather(*calls), 2)
        assert clock.monotonic() == pytest.approx(HOUR, abs=8)

    asyncio.run(main())


@pytest.mark.parametrize("count", [20])
def test_retries_against_a_real_server(count):
    """Over real sockets the waits between attempts are virtual, and all are waited together."""
    busy = {"fault": "status", "status": 529, "headers": {"retry-after": str(HOUR)}}
    emulator = Emulator(faults=[{"on": {"nth": list(range(1, count + 1))}, "do": busy}])

    async def main(url):
        clock = VirtualClock()
        options = {"api_key": "any", "base_url": url, "deadline": 2 * HOUR}
        transport = clock.async_transport(AsyncClient("aiohttp").transport)
        async with AsyncClient(transport, **options) as client:
            calls = [client.messages.create(**hello()) for _ in range(count)]
            await asyncio.gather(*calls)
        assert clock.monotonic() == pytest.approx(HOUR, abs=8)

    with emulator_server(emulator) as url:
        asyncio.run(main(url))
    assert emulator.requests.total == 2 * count
