"""The in-process transport: waits, limits and bad ends as a network would have them."""

import asyncio
import subprocess
import sys
import threading
import time

import orjson
import pytest

from claude_lite.emulator import Emulator
from claude_lite.errors import (
    ConnectionFailed,
    ConnectionLost,
    ResponseTooLarge,
    StreamInterrupted,
    TimedOut,
)
from claude_lite.wire import AsyncTransport, Limits, Request, Transport
from claude_lite_transports.emulator import AsyncEmulatorTransport, EmulatorTransport

HEADERS = {"x-api-key": "canary", "anthropic-version": "2023-06-01"}


class Time:
    """Virtual time: sleeping takes none."""

    def __init__(self):
        """Begin at zero."""
        self.now = 0.0

    def clock(self):
        """Tell the time."""
        return self.now

    def sleep(self, seconds):
        """Let time pass."""
        self.now += seconds

    async def asleep(self, seconds):
        """Let time pass, and others run."""
        self.now += seconds
        await asyncio.sleep(0)


class Sync:
    """A transport for sync code, with calls that sync and async share."""

    def __init__(self, **options):
        """Set up virtual time, and a transport in it."""
        self.time = Time()
        self.emulator = Emulator(clock=self.time.clock, **options)
        self.transport = EmulatorTransport(self.emulator, sleep=self.time.sleep)

    def send(self, request):
        """Send a request."""
        return self.transport.send(request)

    def stream(self, request, chunks):
        """Stream a request, adding to *chunks* what arrives."""
        with self.transport.stream(request) as (head, body):
            chunks.extend(body)
        return head

    def leave(self, request):
        """Stream a request, and leave after the first chunk."""
        with self.transport.stream(request) as (_, body):
            next(iter(body))


class Async(Sync):
    """The same, for async code."""

    def __init__(self, **options):
        """Set up virtual time, and a transport in it."""
        super().__init__(**options)
        self.transport = AsyncEmulatorTransport(self.emulator, sleep=self.time.asleep)

    def send(self, request):
        """Send a request."""
        return asyncio.run(self.transport.send(request))

    def stream(self, request, chunks):
        """Stream a request, adding to *chunks* what arrives."""

        async def run():
            async with self.transport.stream(request) as (head, body):
                async for chunk in body:
                    chunks.append(chunk)  # what arrived before an error counts
            return head

        return asyncio.run(run())

    def leave(self, request):
        """Stream a request, and leave after the first chunk."""

        async def run():
            async with self.transport.stream(request) as (_, body):
                await anext(aiter(body))

        asyncio.run(run())


@pytest.fixture(params=[Sync, Async])
def driver(request):
    """Run a test sync and async."""
    return request.param


def ask(prompt="Hello", limits=None, **more):
    """Make a request for a message."""
    body = {
        "model": "claude-sonnet-5-5",
        "max_tokens": 1024,
        "messages": [{"role": "user", "content": prompt}],
        **more,
    }
    url = "https://api.anthropic.com/v1/messages"
    return Request("POST", url, HEADERS, orjson.dumps(body), limits or Limits())


def faulty(**do):
    """Make the script that strikes every request."""
    return [{"on": {}, "do": do}]


def test_import_loads_no_event_loop():
    """The module costs no asyncio until something is awaited."""
    code = (
        "import sys; sys.path[:0] = sys.argv[1:];"
        "import claude_lite_transports.emulator;"
        "sys.exit(bool({'asyncio', 'aiohttp'} & set(sys.modules)))"
    )
    command = [sys.executable, "-c", code, *sys.path]
    assert subprocess.run(command, check=False).returncode == 0  # noqa: S603  # our own code


def test_both_modes_are_what_they_should_be():
    """Each has the methods of its protocol."""
    assert isinstance(EmulatorTransport(), Transport)
    assert isinstance(AsyncEmulatorTransport(), AsyncTransport)


def test_options_make_an_emulator(driver):
    """Without an emulator, the options are for a new one."""
    made = type(driver().transport)(seed=7, models=["m"])
    assert made.emulator.reply(ask(model="m")).head.status == 200
    assert made.emulator.reply(ask()).head.status == 404


def test_a_call_brings_the_emulators_response(driver):
    """`send` returns what `handle` does."""
    one, other = driver(seed=1), Emulator(1)
    response = one.send(ask())
    assert response.body == other.handle(ask()).body
    assert response.headers["content-type"] == "application/json"


def test_an_error_status_is_a_response(driver):
    """Statuses raise nothing here."""
    assert driver().send(ask(max_tokens=-1)).status == 400


def test_a_stream_comes_event_by_event(driver):
    """The head has no body, and each chunk is one event."""
    chunks = []
    head = driver().stream(ask(stream=True), chunks)
    assert (head.status, head.body) == (200, b"")
    assert len(chunks) > 5
    assert all(chunk.startswith(b"event: ") for chunk in chunks)


@pytest.mark.parametrize(
    ("do", "error"),
    [
        ({"fault": "refuse"}, ConnectionFailed),
        ({"fault": "reset"}, ConnectionLost),
        ({"fault": "close"}, ConnectionLost),
        ({"fault": "reset", "after_bytes": 9}, StreamInterrupted),
        ({"fault": "close", "after_bytes": 9}, StreamInterrupted),
    ],
)
def test_a_broken_reply_is_the_error_of_a_transport(driver, do, error):
    """Whole or streamed, the error says how far the reply had come."""
    one = driver(faults=faulty(**do))
    with pytest.raises(error):
        one.send(ask())
    chunks = []
    with pytest.raises(error):
        one.stream(ask(stream=True), chunks)
    assert b"".join(chunks) == (b"event: me" if error is StreamInterrupted else b"")
    assert (one.emulator.in_flight, one.emulator.disconnects) == (0, 0)


@pytest.mark.parametrize("how", ["reset", "close", "stall"])
def test_a_broken_error_keeps_its_status(driver, how):
    """An error whose body breaks off or stalls is returned with what came, within a second."""
    one = driver(faults=faulty(fault=how, after_bytes=9))
    response = one.send(ask(model="none"))
    assert (response.status, response.body) == (404, b'{"type":"')
    assert one.time.now == (how == "stall")
    assert one.send(ask(model="none", limits=Limits(max_response=5))).body == b""


def test_a_truncated_body_ends_in_good_order(driver):
    """Nothing is raised: it is for the reader to see that it is not whole."""
    one = driver(faults=faulty(fault="truncate", after_bytes=9))
    chunks = []
    one.stream(ask(stream=True), chunks)
    assert (one.send(ask()).body, b"".join(chunks)) == (b'{"id":"ms', b"event: me")


@pytest.mark.parametrize("place", [{}, {"after_bytes": 9}])
def test_silence_ends_with_the_read_limit(driver, place):
    """A stall is over after `limits.read` seconds, before the head and in the body."""
    one = driver(faults=faulty(fault="stall", **place))
    with pytest.raises(TimedOut) as caught:
        one.send(ask(limits=Limits(read=3.0)))
    assert (caught.value.phase, one.time.now) == ("read", 3.0)
    assert (one.emulator.in_flight, one.emulator.disconnects) == (0, 1)


def test_a_stall_shorter_than_the_limits_is_waited_out(driver):
    """The reply comes after its seconds."""
    one = driver(faults=faulty(fault="stall", seconds=2.5))
    assert one.send(ask(limits=Limits(read=3.0, total=3.0))).status == 200
    assert one.time.now == 2.5


def test_the_total_limit_spans_the_body(driver):
    """A reply that keeps trickling meets no read limit, but the total one."""
    one = driver(faults=faulty(fault="slow", bytes_per_second=10, chunk=10))
    with pytest.raises(TimedOut) as caught:
        one.send(ask(limits=Limits(read=2.0, total=4.5)))
    assert (caught.value.phase, one.time.now) == ("total", 4.5)


def test_waits_add_up_to_one_silence(driver):
    """Latency and the pace of an answer are one wait for the head."""
    one = driver(latency=2.0, tokens_per_second=10)
    with pytest.raises(TimedOut):
        one.send(ask(limits=Limits(read=2.5)))
    assert one.time.now == 2.5


def test_a_slow_reader_can_use_up_the_total():
    """Time that passes between chunks counts, whoever spends it."""
    one = Sync()
    with one.transport.stream(ask(stream=True, limits=Limits(total=1.0))) as (_, body):
        chunks = iter(body)
        next(chunks)
        one.time.sleep(1.1)
        with pytest.raises(TimedOut):
            next(chunks)


def test_a_response_may_be_too_large(driver):
    """`limits.max_response` bounds a body that is read whole."""
    with pytest.raises(ResponseTooLarge):
        driver().send(ask(limits=Limits(max_response=100)))


def test_leaving_a_stream_is_a_disconnect(driver):
    """The emulator sees that nobody is listening."""
    one = driver()
    one.leave(ask(stream=True))
    assert (one.emulator.in_flight, one.emulator.disconnects) == (0, 1)


def test_the_transport_tells_the_time_of_the_emulator(driver):
    """Virtual time is the same for the client, the transport and the emulator."""
    one = driver()
    one.time.now = 5.0
    assert one.transport.monotonic() == 5.0


def test_real_time_is_the_default():
    """Without a sleep of its own a transport really waits."""
    began = time.monotonic()
    EmulatorTransport(latency=0.05).send(ask())
    asyncio.run(AsyncEmulatorTransport(latency=0.05).send(ask()))
    assert time.monotonic() - began >= 0.1


def test_a_body_source_is_read():
    """A body that is not bytes is as good as one that is."""

    class Source:
        def __init__(self, body):
            self.body, self.size = body, len(body)

        def __iter__(self):
            yield self.body[:5]
            yield self.body[5:]

    plain = ask()
    request = Request(plain.method, plain.url, HEADERS, Source(plain.body))
    assert EmulatorTransport().send(request).body == EmulatorTransport().send(plain).body


def test_tasks_overlap():
    """Calls of one loop are in flight together, and each gets its own answer."""

    async def run():
        transport = AsyncEmulatorTransport(latency=0.01)
        prompts = [f"prompt {i}" for i in range(50)]
        answers = await asyncio.gather(*(transport.send(ask(p)) for p in prompts))
        return transport.emulator.peak, [
            f": {p} ".encode() in a.body for p, a in zip(prompts, answers, strict=True)
        ]

    peak, right = asyncio.run(run())
    assert peak == 50
    assert all(right)


def test_a_cancelled_call_is_a_disconnect():
    """Cancelling the task closes the reply."""

    async def run():
        transport = AsyncEmulatorTransport(faults=faulty(fault="stall"))
        task = asyncio.create_task(transport.send(ask()))
        await asyncio.sleep(0.01)
        assert transport.emulator.in_flight == 1
        task.cancel()
        await asyncio.wait([task])
        return transport.emulator

    emulator = asyncio.run(run())
    assert (emulator.in_flight, emulator.disconnects) == (0, 1)


def test_threads_may_share_a_transport():
    """Threads' calls overlap, too."""
    transport = EmulatorTransport(latency=0.05)
    threads = [threading.Thread(target=transport.send, args=(ask(),)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (transport.emulator.peak, transport.emulator.in_flight) == (8, 0)


def test_closing_spares_calls_under_way():
    """A call and a stream that are under way when the transport is closed go on to their ends."""

    async def run():
        transport = AsyncEmulatorTransport(latency=0.1)
        call = asyncio.create_task(transport.send(ask()))
        async with transport.stream(ask(stream=True)) as (_, body):
            await transport.close()
            assert b"message_stop" in b"".join([chunk async for chunk in body])
        assert (await call).status == 200

    asyncio.run(run())
