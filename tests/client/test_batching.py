"""Batches from one end to the other, on the emulator and in virtual time."""

import asyncio
import json
import resource
import sys
from pathlib import Path

import pytest
from driving import Clock, answer, both_modes, client, do, each, refusal

from claude_lite import AsyncClient, Client, CreateMessage, Response, never
from claude_lite.api.batch_runs import BatchReport, BatchRun, split_into_batches
from claude_lite.api.batches import (
    BatchEntry,
    BatchResults,
    CreateBatch,
    MessageBatch,
    RetrieveBatch,
)
from claude_lite.batching.waiting import PATIENCE, Waiting
from claude_lite.core.config import Config
from claude_lite.core.json_text import dumps
from claude_lite.core.operation import Operation
from claude_lite.core.structure import structure
from claude_lite.emulator import Emulator
from claude_lite.errors import (
    ConnectionLost,
    InvalidRequest,
    NotFound,
    Overloaded,
    RateLimited,
    RequestTooLarge,
    SpendLimitReached,
    StreamInterrupted,
    TimedOut,
    UsageError,
)
from claude_lite.testing import VirtualClock
from claude_lite.wire import Done, Sleep
from claude_lite_transports.emulator import AsyncEmulatorTransport, EmulatorTransport

MIB = 1024 * 1024


def params(prompt="Hello"):
    """Make the params of one message."""
    return {
        "model": "claude-sonnet-5-5",
        "max_tokens": 64,
        "messages": [{"role": "user", "content": prompt}],
    }


def requests(*prompts):
    """Make a request for each prompt, with ids r0, r1 ..."""
    return [{"custom_id": f"r{i}", "params": params(prompt)} for i, prompt in enumerate(prompts)]


def run_of(*prompts, attempts=3):
    """Make a run of a request for each prompt."""
    return BatchRun(CreateBatch(requests=requests(*prompts)), attempts)


def emulated(mode, **batches):
    """Make a client of an emulator of its own, in virtual time, and its clock."""
    clock = VirtualClock()
    emulator = Emulator(batches=batches, clock=clock.monotonic)
    if mode == "sync":
        return Client(EmulatorTransport(emulator, sleep=clock.sleep), api_key="canary"), clock
    transport = AsyncEmulatorTransport(emulator, sleep=clock.sleep_async)
    return AsyncClient(transport, api_key="canary"), clock


def emulator_of(made):
    """Give the emulator under a client."""
    return made.transport.emulator


async def collected(pairs):
    """Collect pairs (sync or async): the type of each result by `custom_id`."""
    return {request["custom_id"]: result.type async for request, result in each(pairs)}


def state(status="in_progress", **more):
    """Make a batch as the API shows it."""
    counts = dict.fromkeys(("processing", "succeeded", "errored", "canceled", "expired"), 0)
    return {
        "id": "msgbatch_1",
        "type": "message_batch",
        "processing_status": status,
        "request_counts": counts,
        "created_at": "2026-11-01T00:00:00Z",
        "expires_at": "2026-11-02T00:00:00Z",
        **more,
    }


def batch(status="in_progress", **more):
    """Make a batch as a value."""
    return structure(state(status, **more), MessageBatch)


def entry(custom_id, kind="succeeded", error=None):
    """Make a line of results."""
    result = {"type": kind}
    if kind == "succeeded":
        message = json.loads(answer().body)
        result["message"] = message
    if error is not None:
        result["error"] = {"type": "error", "error": {"type": error, "message": "no"}}
    return structure({"custom_id": custom_id, "result": result}, BatchEntry)


def lines(*entries):
    """Make the response that brings these lines."""
    body = b"".join(dumps(one) + b"\n" for one in entries)
    return Response(200, {"content-type": "application/x-jsonl"}, body)


# Waiting


@both_modes
def test_wait_returns_the_batch_once_it_has_ended(mode):
    """The pauses are slept by the transport, and the batch is given as it is at its end."""

    async def main():
        made, clock = emulated(mode, seconds=3600)
        created = await do(made.messages.batches.create, requests=requests("a", "b"))
        ended = await do(made.messages.batches.wait, created)
        return created, ended, clock.monotonic(), emulator_of(made).requests.total

    created, ended, seconds, asked = asyncio.run(main())
    assert (created.id, "ended") == (ended.id, ended.processing_status)
    assert ended.request_counts.succeeded == 2
    assert 3600 <= seconds <= 3660
    assert asked < 150


@both_modes
def test_wait_bears_with_a_batch_that_is_not_there_yet(mode):
    """Right after its creation a batch may not be found; that is no error yet."""

    async def main():
        made, _ = emulated(mode, seconds=1, appears_after=9)
        created = await do(made.messages.batches.create, requests=requests("a"))
        return await do(made.messages.batches.wait, created.id)

    assert asyncio.run(main()).processing_status == "ended"


@both_modes
def test_a_batch_that_does_not_appear_is_not_found(mode):
    """After the grace it is an error."""

    async def main():
        made, clock = emulated(mode)
        with pytest.raises(NotFound):
            await do(made.messages.batches.wait, "msgbatch_none", grace=10)
        return clock.monotonic()

    assert 10 <= asyncio.run(main()) <= 20


@both_modes
def test_wait_ends_by_its_deadline(mode):
    """With a last look at the deadline itself, and an error that names the batch."""

    async def main():
        made, clock = emulated(mode, seconds=3600)
        created = await do(made.messages.batches.create, requests=requests("a"))
        with pytest.raises(TimedOut, match=created.id):
            await do(made.messages.batches.wait, created, deadline=100)
        return clock.monotonic()

    assert asyncio.run(main()) == pytest.approx(100)


@both_modes
def test_no_look_goes_on_past_the_deadline(mode):
    """The client's retries end by it, too."""

    async def main():
        made = client(mode, refusal(529, "overloaded_error", retry_after="40"))
        with pytest.raises(TimedOut, match="msgbatch_1"):
            await do(made.messages.batches.wait, "msgbatch_1", deadline=100)
        return sum(made.transport.waits)

    assert asyncio.run(main()) <= 101


@both_modes
def test_a_batch_that_has_ended_is_not_asked_for(mode):
    """It is given back."""
    made = client(mode, refusal(500))
    ended = batch("ended")
    assert asyncio.run(do(made.messages.batches.wait, ended)) is ended
    assert made.transport.requests == []


def pauses(waiting, count):
    """Give the seconds of the next pauses, with a batch in progress in between."""
    found = []
    while len(found) < count:
        action = waiting.next_action()
        if isinstance(action, Sleep):
            found.append(action.seconds)
        else:
            waiting.receive(batch())
    return found


def test_pauses_grow_to_the_longest_with_jitter():
    """Each is between half of its length and all of it, and no two runs are alike."""
    first, second = (pauses(Waiting("b", Clock(), longest=20), 30) for _ in range(2))
    assert first != second
    for i, seconds in enumerate(first):
        full = min(1.5**i, 20 * 1.5)
        assert min(full, 20) * 0.5 <= seconds <= 20
    assert max(first[:3]) <= 1.5**2


@pytest.mark.parametrize("error", [Overloaded("no"), ConnectionLost("no"), RateLimited("no")])
def test_failures_that_pass_are_borne_for_a_while(error):
    """A day's waiting does not end by a minute's outage, but by a longer one."""
    clock = Clock()
    waiting = Waiting("b", clock)
    assert isinstance(waiting.next_action(), RetrieveBatch)
    waiting.receive_failure(error)
    assert isinstance(waiting.next_action(), Sleep)
    clock.now += PATIENCE - 1
    assert isinstance(waiting.next_action(), RetrieveBatch)
    waiting.receive(batch())
    clock.now += PATIENCE - 1
    waiting.receive_failure(error)
    clock.now += 1
    with pytest.raises(type(error)):
        waiting.receive_failure(error)


@pytest.mark.parametrize("error", [InvalidRequest("no"), SpendLimitReached("no")])
def test_failures_that_last_end_the_waiting(error):
    """They are raised at once."""
    waiting = Waiting("b", Clock())
    with pytest.raises(type(error)):
        waiting.receive_failure(error)


def test_a_batch_that_was_deleted_meanwhile_is_not_found():
    """What has been seen and is gone will not appear."""
    waiting = Waiting("b", Clock())
    waiting.receive(batch())
    with pytest.raises(NotFound):
        waiting.receive_failure(NotFound("no"))


def test_the_server_may_ask_for_a_longer_pause():
    """A `retry-after` is waited for."""
    waiting = Waiting("b", Clock(), longest=5)
    waiting.next_action()
    waiting.receive_failure(RateLimited("no", retry_after=77.0))
    assert waiting.next_action() == Sleep(77.0)
    waiting.next_action()
    assert waiting.next_action().seconds <= 5


def test_waiting_is_done_when_the_batch_has_ended():
    """And stays so."""
    waiting = Waiting(batch(), Clock())
    assert isinstance(waiting.next_action(), Sleep)
    assert isinstance(waiting.next_action(), RetrieveBatch)
    ended = batch("ended")
    waiting.receive(ended)
    assert [waiting.next_action(), waiting.next_action()] == [Done(ended)] * 2


# Matching


def test_results_are_matched_and_what_does_not_match_is_reported():
    """The first of several results counts; unknown ids and missing ones are named."""
    work = run_of("a", "b", "c", "d", "e", attempts=1)
    work.begin()
    pairs = [
        work.take(entry("r2")),
        work.take(entry("r2", "errored", "api_error")),
        work.take(entry("zz")),
        work.take(entry("r0", "expired")),
        work.take(entry("r1", "canceled")),
        work.take(entry("r3", "astonished")),
    ]
    work.end()
    given = [pair and (pair[0]["params"]["messages"][0]["content"], pair[1].type) for pair in pairs]
    assert given == [
        ("c", "succeeded"),
        None,
        None,
        ("a", "expired"),
        ("b", "canceled"),
        ("d", "unknown"),
    ]
    assert work.report == BatchReport(
        succeeded=1,
        errored=0,
        canceled=1,
        expired=1,
        other=1,
        missing=("r4",),
        duplicate=("r2",),
        unknown=("zz",),
        attempts=1,
    )


def test_only_what_may_pass_is_asked_again():
    """Expired and missing requests and passing failures, until there are no attempts left."""
    work = run_of(*"abcdefg", attempts=2)
    assert work.pending() == work.create
    work.begin()
    given = [
        work.take(entry("r0")),
        work.take(entry("r1", "expired")),
        work.take(entry("r2", "canceled")),
        work.take(entry("r3", "errored", "overloaded_error")),
        work.take(entry("r4", "errored", "invalid_request_error")),
        work.take(entry("r5", "errored", "rate_limit_error")),
    ]
    assert [pair and pair[0]["custom_id"] for pair in given] == ["r0", None, "r2", None, "r4", None]
    work.end()
    assert [r["custom_id"] for r in work.pending().requests] == ["r1", "r3", "r5", "r6"]
    work.begin()
    again = [work.take(entry("r1", "expired")), work.take(entry("r3", "errored", "api_error"))]
    assert [pair[1].type for pair in again] == ["expired", "errored"]
    work.end()
    assert work.pending() is None
    assert (work.report.attempts, work.report.missing) == (2, ("r6",))
    assert (work.report.expired, work.report.errored) == (1, 3)


def test_a_second_batch_keeps_the_fields_of_the_first():
    """The workspace and the betas are those of the run."""
    create = CreateBatch(requests=requests("a", "b"), workspace_id="wrkspc_1", betas=["x"])
    work = BatchRun(create)
    work.begin()
    work.take(entry("r0"))
    work.end()
    assert work.pending() == create.replace(requests=create.requests[1:])


def test_a_second_reading_gives_nothing_twice():
    """What was given is passed over, and is no duplicate."""
    work = run_of("a", "b")
    work.begin()
    assert work.take(entry("r0")) is not None
    work.begin()
    assert work.take(entry("r0")) is None
    assert work.take(entry("r1")) is not None
    assert work.report.duplicate == ()


# Running


@both_modes
def test_run_asks_again_what_failed_for_a_while(mode):
    """Expired and overloaded requests succeed in later batches, and each is given once."""
    prompts = (
        "a",
        "[[expire:1]]",
        "[[error:overloaded_error,2]]",
        "[[error:invalid_request_error]]",
    )

    async def main():
        made, _ = emulated(mode, seconds=60)
        work = run_of(*prompts)
        given = await collected(made.messages.batches.run(work))
        return given, work.report, [path for _, method, path, _ in log(made) if method == "POST"]

    given, report, posts = asyncio.run(main())
    assert given == {"r0": "succeeded", "r1": "succeeded", "r2": "succeeded", "r3": "errored"}
    assert (report.succeeded, report.errored, report.attempts) == (3, 1, 3)
    assert posts == ["/v1/messages/batches"] * 3


def log(made):
    """Give the requests that the emulator has had."""
    return [tuple(one) for one in emulator_of(made).log]


@both_modes
def test_run_gives_failures_when_there_are_no_attempts_left(mode):
    """The last result stands."""

    async def main():
        made, _ = emulated(mode, seconds=1)
        work = run_of("[[expire]]", "[[error:overloaded_error]]", attempts=2)
        return await collected(made.messages.batches.run(work)), work.report

    given, report = asyncio.run(main())
    assert given == {"r0": "expired", "r1": "errored"}
    assert (report.expired, report.errored, report.attempts) == (1, 1, 2)


@both_modes
def test_run_goes_on_where_it_was(mode):
    """After a deadline the same run waits for the same batch, and creates no second one."""

    async def main():
        made, _ = emulated(mode, seconds=1000)
        work = run_of("a", "b")
        with pytest.raises(TimedOut):
            await collected(made.messages.batches.run(work, deadline=10))
        batch_id = work.batch_id
        other = BatchRun(work.create)
        other.batch_id = batch_id
        given = await collected(made.messages.batches.run(other))
        return given, [one for one in log(made) if one[1] == "POST"]

    given, posts = asyncio.run(main())
    assert given == {"r0": "succeeded", "r1": "succeeded"}
    assert len(posts) == 1


@both_modes
def test_results_that_break_off_are_read_again(mode):
    """And nothing is given twice, or lost."""
    whole = lines(entry("r0"), entry("r1"))
    first = whole.body.index(b"\n") + 5
    broken = [Response(200, whole.headers), whole.body[:first], StreamInterrupted("cut")]

    async def main(*answers):
        made = client(mode, *answers, retry=never())
        work = run_of("a", "b")
        work.batch_id = "msgbatch_1"
        given = [r["custom_id"] async for r, _ in each(made.messages.batches.matched(work))]
        return given, work.report

    given, report = asyncio.run(main(broken, whole))
    assert given == ["r0", "r1"]
    assert (report.succeeded, report.duplicate, report.missing) == (2, (), ())
    with pytest.raises(StreamInterrupted):
        asyncio.run(main(broken))


@both_modes
def test_results_come_from_the_configured_host_only(mode):
    """A `results_url` of another host is never asked, and so never sees the key."""
    ended = state("ended", results_url="https://elsewhere.example/v1/steal")

    async def main():
        made = client(mode, answer(state()), answer(ended), lines(entry("r0")))
        work = run_of("a")
        assert await collected(made.messages.batches.run(work)) == {"r0": "succeeded"}
        return made

    made = asyncio.run(main())
    assert [
        request.url.removeprefix(made.config.base_url) for request in made.transport.requests
    ] == [
        "/v1/messages/batches",
        "/v1/messages/batches/msgbatch_1",
        "/v1/messages/batches/msgbatch_1/results",
    ]


# Splitting


def test_requests_are_split_by_count():
    """The last batch has the rest; no requests make no batch."""
    batches = list(split_into_batches(requests(*"abcdefg"), most=3))
    assert [len(one.requests) for one in batches] == [3, 3, 1]
    assert [r for one in batches for r in one.requests] == requests(*"abcdefg")
    assert list(split_into_batches([])) == []


@pytest.mark.parametrize("extra", [None, {"added": "x" * 100}])
def test_requests_are_split_by_the_bytes_that_are_sent(extra):
    """No body is larger than the limit, and none has room for the next request."""
    size = 1000
    given = requests(*("x" * (i * 37 % 300) + "ü" for i in range(50)))
    batches = list(split_into_batches(given, size=size, extra_body=extra))
    bodies = [one.build(Config(api_key="canary").target).body for one in batches]
    assert max(map(len, bodies)) <= size
    for body, following in zip(bodies, batches[1:], strict=False):
        assert len(body) + len(dumps(following.requests[0])) + 1 > size - 1
    assert [r for one in batches for r in one.requests] == given


def test_a_request_that_no_batch_can_hold_is_too_large():
    """The error is that of the API's 413, before anything is sent."""
    with pytest.raises(RequestTooLarge):
        list(split_into_batches(requests("x" * 1000), size=1000))


def test_splitting_takes_what_it_needs():
    """The iterable may be endless: only one batch of it is held."""

    def endless():
        number = 0
        while True:
            yield {"custom_id": f"r{number}", "params": params()}
            number += 1

    batches = split_into_batches(endless(), most=10, workspace_id="wrkspc_1")
    first, second = next(batches), next(batches)
    assert (first.requests[-1]["custom_id"], second.requests[0]["custom_id"]) == ("r9", "r10")
    assert second.workspace_id == "wrkspc_1"


def test_the_limits_are_those_of_the_api():
    """Past 100,000 requests a second batch begins."""
    small = {"custom_id": "a", "params": {}}
    counts = [len(one.requests) for one in split_into_batches(small for _ in range(100_001))]
    assert counts == [100_000, 1]


# A batch as a value


def test_messages_as_values_may_be_requests():
    """A `CreateMessage` in `params` becomes its body, and the batch still goes through a queue."""
    message = CreateMessage(**params())
    create = CreateBatch(requests=iter([{"custom_id": "a", "params": message}]))
    assert create == CreateBatch(requests=[{"custom_id": "a", "params": params()}])
    assert Operation.from_dict(create.to_dict()) == create


@pytest.mark.parametrize(
    "field", [{"betas": ["x"]}, {"workspace_id": "wrkspc_1"}, {"extra_headers": {"a": "b"}}]
)
def test_what_a_request_in_a_batch_cannot_say_is_refused(field):
    """A header of one message would be lost: it belongs to the batch."""
    message = CreateMessage(**params(), **field)
    with pytest.raises(UsageError, match=next(iter(field))):
        CreateBatch(requests=[{"custom_id": "a", "params": message}])


@pytest.mark.parametrize("ids", [["a", "a"], [None], [1]], ids=str)
def test_each_request_of_a_batch_has_a_name_of_its_own(ids):
    """Results could not be told apart otherwise, and so nothing is sent."""
    create = CreateBatch(requests=[{"custom_id": one, "params": params()} for one in ids])
    with pytest.raises(UsageError, match=r"occurs twice|has to be text"):
        create.build(Config(api_key="canary").target)


def test_a_batch_of_too_many_requests_is_not_sent():
    """The API's limit is checked before the ids, or anything, is looked at."""
    create = CreateBatch(requests=[{}] * 100_001)
    with pytest.raises(RequestTooLarge, match="100001 requests in a batch: the API takes 100000"):
        create.build(Config(api_key="canary").target)


# Many


def resident():
    """Tell the memory that this process has, in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="it looks into /proc")
def test_100000_requests_are_matched_in_flat_memory():
    """Their results are some 150 MB, and reading and matching them takes less than 10."""
    count = 100_000
    made, _ = emulated("sync", seconds=600)
    many = ({"custom_id": f"r{i}", "params": params()} for i in range(count))
    (create,) = split_into_batches(many)
    work = BatchRun(create)
    batches = made.messages.batches
    work.batch_id = batches.create(requests=create.requests).id
    assert batches.wait(work.batch_id).request_counts.succeeded == count
    before = most = resident()
    given = 0
    for _, result in batches.matched(work):
        given += result.type == "succeeded"
        if given % 1000 == 0:
            most = max(most, resident())
    assert (given, work.report.succeeded, work.report.missing) == (count, count, ())
    assert most - before < 10 * MIB


def test_results_are_read_without_holding_them():
    """The stream itself keeps none of the lines that were taken."""
    made, _ = emulated("sync", seconds=0)
    created = made.messages.batches.create(requests=requests(*map(str, range(500))))
    with made.stream(BatchResults(message_batch_id=created.id)) as results:
        assert sum(1 for _ in results) == 500
        assert results.final() is None
