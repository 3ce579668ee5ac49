"""Faults around any transport: each kind, sync and async, in virtual time."""

import asyncio

import pytest
from attrs import evolve
from places import SAMPLES

from claude_lite import AsyncClient, Client, Overloaded, RateLimited, standard
from claude_lite.emulator import Emulator
from claude_lite.errors import (
    ConnectionFailed,
    ConnectionLost,
    ResponseTooLarge,
    StreamInterrupted,
    TimedOut,
    UsageError,
)
from claude_lite.faults import FaultScript
from claude_lite.testing import (
    ASYNC_CASES,
    CASES,
    AsyncStubTransport,
    StubTransport,
    VirtualClock,
    check_async_transport,
    check_transport,
)
from claude_lite.wire import AsyncTransport, Limits, Request, Response, Transport
from claude_lite_transports.aiohttp import AiohttpTransport
from claude_lite_transports.emulator import AsyncEmulatorTransport, EmulatorTransport
from claude_lite_transports.faulty import AsyncFaultTransport, FaultTransport
from claude_lite_transports.recording import RecordingTransport
from claude_lite_transports.urllib import UrllibTransport

STREAM = (SAMPLES / "streams/text.sse").read_bytes()
EVENTS = [event + b"\n\n" for event in STREAM.split(b"\n\n")[:-1]]
ASK = Request("POST", "https://api.anthropic.com/v1/messages", {}, b"{}", Limits(5, 30, 120))


def hello(text="Hello"):
    """Give the fields of a message."""
    said = [{"role": "user", "content": text}]
    return {"model": "claude-sonnet-5-5", "max_tokens": 50, "messages": said}


HEAD = Response(200, {"content-type": "text/event-stream"})


def slowly(chunks, clock, seconds):
    """Give chunks with so many seconds before each."""
    for chunk in chunks:
        clock.sleep(seconds)
        yield chunk


class Sync:
    """Runs requests through the sync path."""

    faulty = FaultTransport

    @staticmethod
    def inside(stub, clock):
        """Give answers their clock."""
        return clock.transport(StubTransport(*stub))

    @staticmethod
    def run(transport, request=ASK, how="stream"):
        """Give head, chunks, error."""
        head, chunks = None, []
        try:
            if how == "send":
                return transport.send(request), chunks, None
            with transport.stream(request) as (head, parts):
                for chunk in parts:
                    chunks.append(chunk)  # noqa: PERF402  # those before an error count
        except Exception as error:  # noqa: BLE001  # it is the result
            return head, chunks, error
        return head, chunks, None


class Async:
    """Runs requests through the async path."""

    faulty = AsyncFaultTransport

    @staticmethod
    def inside(stub, clock):
        """Give answers their clock."""
        return clock.async_transport(AsyncStubTransport(*stub))

    @staticmethod
    def run(transport, request=ASK, how="stream"):
        """Give head, chunks, error."""

        async def main():
            head, chunks = None, []
            try:
                if how == "send":
                    return await transport.send(request), chunks, None
                async with transport.stream(request) as (head, parts):
                    async for chunk in parts:
                        chunks.append(chunk)  # noqa: PERF401  # what came before an error counts
            except Exception as error:  # noqa: BLE001  # it is the result
                return head, chunks, error
            return head, chunks, None

        return asyncio.run(main())


@pytest.fixture(params=[Sync, Async], ids=["sync", "async"])
def driver(request):
    """Give the sync driver, then the async one."""
    return request.param


def struck(driver, do, answer=(STREAM,), how="stream", request=ASK):
    """Strike one request; give head, bytes, error, and the seconds that it took."""
    clock = VirtualClock()
    inside = driver.inside([answer], clock)
    transport = driver.faulty(inside, [{"on": {}, "do": do}])
    head, chunks, error = driver.run(transport, request, how)
    return head, b"".join(chunks), error, clock.monotonic()


def test_they_are_transports():
    """Both satisfy the protocols that they wrap; sleep, clock and close are the inner one's."""
    clock, log = VirtualClock(), []
    inner = clock.transport(StubTransport())
    inner.close = lambda: log.append("closed")
    transport = FaultTransport(inner, [])
    assert isinstance(transport, Transport)
    assert isinstance(AsyncFaultTransport(AsyncStubTransport(), []), AsyncTransport)
    transport.sleep(7)
    transport.close()
    assert (transport.monotonic(), clock.monotonic(), log) == (7, 7, ["closed"])
    assert FaultTransport(StubTransport(), []).monotonic() > 0


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.slow
def test_an_empty_script_changes_nothing(case):
    """Around the synchronous network transport, with no fault, it conforms."""
    check_transport(lambda: FaultTransport(UrllibTransport(trust_env=False), []), case)


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.slow
def test_a_fault_that_does_nothing_changes_nothing(case):
    """The path that faults take conforms as well, where the fault leaves all as it is."""
    rules = [{"on": {}, "do": {"fault": "headers", "set": {}}}]
    check_transport(lambda: FaultTransport(UrllibTransport(trust_env=False), rules), case)


@pytest.mark.parametrize(
    "case", [c for c in ASYNC_CASES if c.name != "broken_chunks_are_interrupted"], ids=str
)
@pytest.mark.slow
def test_the_async_path_changes_nothing(case):
    """The same is true for async code."""
    rules = [{"on": {}, "do": {"fault": "headers", "set": {}}}]
    check_async_transport(lambda: AsyncFaultTransport(AiohttpTransport(), rules), case)


def test_wrong_rules_are_refused():
    """A script is checked when the transport is made."""
    with pytest.raises(UsageError, match="rule 0"):
        FaultTransport(StubTransport(), [{"on": {}, "do": {"fault": "explode"}}])


def test_a_script_can_be_shared(driver):
    """A `FaultScript` counts the requests of all transports that act it out."""
    script = FaultScript([{"on": {"nth": [2]}, "do": {"fault": "refuse"}}])
    results = []
    for _ in range(3):
        inside = driver.inside([[STREAM]], VirtualClock())
        results.append(driver.run(driver.faulty(inside, script))[2])
    assert [type(error) for error in results] == [type(None), ConnectionFailed, type(None)]


@pytest.mark.parametrize("how", ["send", "stream"])
@pytest.mark.parametrize(
    ("do", "error", "asked", "seconds"),
    [
        ({"fault": "refuse"}, ConnectionFailed, 0, 0),
        ({"fault": "reset"}, ConnectionLost, 1, 0),
        ({"fault": "close"}, ConnectionLost, 1, 0),
        ({"fault": "stall"}, TimedOut, 1, 30),
        ({"fault": "stall", "seconds": 31}, TimedOut, 1, 30),
    ],
    ids=str,
)
def test_before_the_head(how, do, error, asked, seconds):
    """The leaf that a network would raise; the server is asked where the request went out."""
    stub, clock = StubTransport([STREAM]), VirtualClock()
    transport = FaultTransport(clock.transport(stub), [{"on": {}, "do": do}])
    head, chunks, raised = Sync.run(transport, how=how)
    assert (head, chunks, type(raised)) == (None, [], error)
    assert (len(stub.requests), clock.monotonic()) == (asked, seconds)
    assert type(struck(Async, do, how=how)[2]) is error


@pytest.mark.parametrize("how", ["reset", "close", "stall"])
@pytest.mark.parametrize("size", [1, 50, 10_000])
def test_after_bytes_and_events(driver, how, size):
    """It strikes at the byte, or after the event, whatever way the chunks are cut."""
    chunks = [STREAM[at : at + size] for at in range(0, len(STREAM), size)]
    error = TimedOut if how == "stall" else StreamInterrupted
    places = {"after_bytes": 100}, {"after_events": 3}
    for place, expected in zip(places, (STREAM[:100], b"".join(EVENTS[:3])), strict=True):
        head, data, raised, _ = struck(driver, {"fault": how, **place}, chunks)
        assert (head, data, type(raised)) == (HEAD, expected, error)


def test_a_stall_that_ends(driver):
    """Silence of some seconds within the limits costs only time."""
    for place in ({}, {"after_events": 2}):
        _, *result = struck(driver, {"fault": "stall", "seconds": 29, **place})
        assert result == [STREAM, None, 29]


def test_slow_bytes(driver):
    """Bytes trickle at the rate given, and the total limit is held to."""
    slow = {"fault": "slow", "bytes_per_second": 100}
    _, data, error, seconds = struck(driver, slow, [b"x" * 4000])
    assert (len(data), error, seconds) == (4000, None, pytest.approx(40))
    _, data, error, seconds = struck(driver, slow, [b"x" * 16_000])
    assert (type(error), error.phase, len(data)) == (TimedOut, "total", pytest.approx(12_000, 0.01))
    assert seconds == pytest.approx(120)


def test_the_reply_itself_counts(driver):
    """What the reply takes of the total limit is not there for the fault."""
    clock = VirtualClock()
    inside = driver.inside([slowly([b"x"] * 200, clock, 1)], clock)
    transport = driver.faulty(inside, [{"on": {}, "do": {"fault": "headers", "set": {}}}])
    _, chunks, error = driver.run(transport)
    assert (type(error), error.phase, len(chunks)) == (TimedOut, "total", 120)


@pytest.mark.parametrize("how", ["send", "stream"])
def test_truncation(driver, how):
    """The body ends in good order, and its announced length is that of what comes."""
    whole = Response(200, {"content-length": str(len(STREAM))}, STREAM)
    do = {"fault": "truncate", "after_bytes": 100}
    head, data, error, _ = struck(driver, do, whole, how)
    assert (head.headers, error) == ({"content-length": "100"}, None)
    assert (data or head.body) == STREAM[:100]


@pytest.mark.parametrize("how", ["send", "stream"])
def test_another_status(driver, how):
    """The fault answers in the server's place, which is not asked."""
    do = {"fault": "status", "status": 429, "retry_after": 3600}
    head, data, error, _ = struck(driver, do, AssertionError("asked"), how)
    assert (head.status, head.headers["retry-after"], error) == (429, "3600", None)
    assert b"rate_limit_error" in (data or head.body)


def test_an_error_event(driver):
    """An `error` event takes the place of the rest of the stream."""
    _, data, error, _ = struck(driver, {"fault": "error", "after_events": 2})
    assert error is None
    assert data.startswith(b"".join(EVENTS[:2]) + b"event: error\n")
    assert b"overloaded_error" in data


def test_corruption_and_headers(driver):
    """Bytes are inverted in place; headers are set and removed."""
    _, data, _, _ = struck(driver, {"fault": "corrupt", "at": 1, "count": 2})
    assert data == STREAM[:1] + bytes(b ^ 0xFF for b in STREAM[1:3]) + STREAM[3:]
    do = {"fault": "headers", "set": {"X-A": "1", "content-type": None}}
    assert struck(driver, do)[0].headers == {"x-a": "1"}


def test_a_large_body_is_refused(driver):
    """`max_response` holds where a fault is acted out, too."""
    request = evolve(ASK, limits=Limits(max_response=100))
    do = {"fault": "headers", "set": {}}
    assert type(struck(driver, do, how="send", request=request)[2]) is ResponseTooLarge


def test_the_same_seed_strikes_the_same(driver):
    """Which requests fail depends on the seed and the body alone, not on the order."""
    rules = [{"on": {"probability": 0.5}, "do": {"fault": "refuse"}}]
    requests = [evolve(ASK, body=b"%d" % number) for number in range(64)]

    def failed(seed, order):
        transport = driver.faulty(driver.inside([[STREAM]] * 64, VirtualClock()), rules, seed)
        return {r.body for r in order if driver.run(transport, r)[2]}

    first = failed(1, requests)
    assert 16 < len(first) < 48
    assert failed(1, requests[::-1]) == first
    assert failed(2, requests) != first


# Clients, in virtual time.


def virtual(rules, clock, **options):
    """Build a client of an emulator behind faults."""
    emulator = Emulator(clock=clock.monotonic)
    transport = FaultTransport(EmulatorTransport(emulator, sleep=clock.sleep), rules)
    return Client(transport, api_key="any", **options), emulator


def test_hours_of_retries_take_no_time():
    """A server that asks for an hour three times over gets three hours, and then answers."""
    clock = VirtualClock()
    rule = {"on": {"times": 3}, "do": {"fault": "status", "status": 429, "retry_after": 3600}}
    client, emulator = virtual([rule], clock, retry=standard(attempts=5), deadline=5 * 3600)
    assert client.messages.create(**hello()).stop_reason == "end_turn"
    assert clock.monotonic() == pytest.approx(3 * 3600, abs=3.5)
    assert emulator.requests.total == 1
    client, _ = virtual([rule], clock, retry=standard(attempts=5), deadline=2.5 * 3600)
    with pytest.raises(RateLimited, match="deadline"):
        client.messages.create(**hello())


def test_a_lost_reply_was_sent_twice():
    """A message whose reply is lost is asked for once more: the server has seen both."""
    client, emulator = virtual([{"on": {"nth": [1]}, "do": {"fault": "reset"}}], VirtualClock())
    client.messages.create(**hello())
    assert emulator.requests.total == 2


def test_many_callers_share_the_hours():
    """Two hundred tasks that all wait an hour wait one hour, in order, the same each time."""

    async def main():
        clock = VirtualClock()
        emulator = Emulator(clock=clock.monotonic)
        rules = [
            {
                "on": {"once_per_body": True, "contains": f"wait {seconds} "},
                "do": {"fault": "status", "status": 529, "headers": {"retry-after": str(seconds)}},
            }
            for seconds in (1800, 3600, 900)
        ]
        inner = AsyncEmulatorTransport(emulator, sleep=clock.sleep_async)
        transport = AsyncFaultTransport(inner, rules)
        retry = standard(wait=1)  # nothing is random
        client = AsyncClient(transport, api_key="any", deadline=7200, retry=retry)
        ended = []

        async def call(number):
            seconds = (1800, 3600, 900)[number % 3]
            await client.messages.create(**hello(f"wait {seconds} {number}"))
            ended.append((clock.monotonic(), number))

        await asyncio.gather(*map(call, range(90)))
        return ended

    ended = asyncio.run(main())
    assert [seconds for seconds, _ in ended] == [900] * 30 + [1800] * 30 + [3600] * 30
    assert [number % 3 for _, number in ended] == [2] * 30 + [0] * 30 + [1] * 30
    assert asyncio.run(main()) == ended


def test_a_stream_that_falls_silent():
    """An hour of silence in a stream is a typed error with what had arrived."""
    clock = VirtualClock()
    rule = {"on": {}, "do": {"fault": "stall", "after_events": 5}}
    client, _ = virtual([rule], clock, timeout=3600, deadline=7200)
    with client.messages.stream(**hello()) as stream, pytest.raises(TimedOut) as caught:
        stream.final_message()
    assert caught.value.partial["content"]
    assert clock.monotonic() == 3600


def test_an_error_event_before_the_content_is_tried_again():
    """An overloaded stream is opened again; one with content ends in the typed error."""
    rule = {"on": {"nth": [1]}, "do": {"fault": "error", "after_events": 1}}
    client, emulator = virtual([rule], VirtualClock())
    with client.messages.stream(**hello()) as stream:
        assert stream.final_message().stop_reason == "end_turn"
    assert emulator.requests.total == 2
    rule = {"on": {"nth": [1]}, "do": {"fault": "error", "after_events": 6}}
    client, emulator = virtual([rule], VirtualClock())
    with client.messages.stream(**hello()) as stream, pytest.raises(Overloaded):
        stream.final_message()


def test_faults_can_be_recorded(tmp_path):
    """Inside a recording transport faults go into the cassette, and are replayed without it."""
    rules = [{"on": {"nth": [1]}, "do": {"fault": "refuse"}}]
    clock = VirtualClock()
    emulator = Emulator(clock=clock.monotonic)
    inner = FaultTransport(EmulatorTransport(emulator, sleep=clock.sleep), rules)
    path = tmp_path / "x.json"
    with RecordingTransport(path, inner, "rewrite", force=True) as transport:
        recorded = Client(transport, api_key="any").messages.create(**hello())
    with RecordingTransport(path, mode="none", force=True) as transport:
        assert Client(transport, api_key="any").messages.create(**hello()) == recorded
    assert "ConnectionFailed" in path.read_text()
