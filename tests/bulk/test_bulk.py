"""Many requests through one client: outcomes, rate limits, counting, and ends before the end."""

import asyncio
import warnings

import pytest

from claude_lite import (
    AsyncClient,
    ClaudeError,
    CreateMessage,
    RateLimited,
    SpendLimitReached,
    StreamMessage,
    UsageError,
    never,
    standard,
)
from claude_lite.bulk import Item, Outcome, Tally, run
from claude_lite.emulator import Emulator, message_hash
from claude_lite_transports.emulator import AsyncEmulatorTransport

CANARY = "sk-ant-api03-canary-Zq7"


class Time:
    """Virtual time: sleeping takes none."""

    def __init__(self):
        """Begin at zero."""
        self.now = 0.0

    def __call__(self):
        """Tell the time."""
        return self.now

    async def sleep(self, seconds):
        """Let time pass, and others run."""
        self.now += seconds
        await asyncio.sleep(0)


class World:
    """An emulator in virtual time, and a client of it."""

    def __init__(self, faults=None, limits=None, **options):
        """Set it up; the *options* are the client's."""
        self.time = Time()
        self.emulator = Emulator(faults=faults, limits=limits, clock=self.time)
        self.client = AsyncClient(
            AsyncEmulatorTransport(self.emulator, sleep=self.time.sleep),
            api_key=CANARY,
            base_url="http://bulk.test",
            **options,
        )
        self.outcomes = []

    def run(self, items, **options):
        """Run *items* and return the tally."""
        return asyncio.run(run(self.client, items, self.outcomes.append, **options))


def message(number, cls=CreateMessage, **more):
    """Make a message to ask."""
    prompt = [{"role": "user", "content": f"Question {number}"}]
    return cls(model="claude-sonnet-5-5", max_tokens=64, messages=prompt, **more)


def items(count, cls=CreateMessage):
    """Make requests."""
    return [Item(n, f"q-{n}", message(n, cls)) for n in range(1, count + 1)]


def status(code, **more):
    """Make a rule that answers every request with a status."""
    return [{"on": {}, "do": {"fault": "status", "status": code, **more}}]


@pytest.mark.parametrize("cls", [CreateMessage, StreamMessage])
def test_each_request_is_answered_once_and_by_its_own_answer(cls):
    """Every item has one outcome, with the answer to its own question."""
    world = World()
    world.run(items(100, cls), concurrency=8)
    answers = {outcome.custom_id: outcome.result.text for outcome in world.outcomes}
    assert len(world.outcomes) == len(answers) == 100
    for item in items(100):
        assert f"Echo {message_hash(item.operation.messages)}" in answers[item.custom_id]
    assert world.emulator.requests.total == 100


def test_no_more_than_the_concurrency_is_in_flight_or_taken():
    """Items are taken as there is room for them: the input is never read ahead."""
    world = World()
    taken = ended = ahead = 0

    def source():
        nonlocal taken, ahead
        for item in items(50):
            taken += 1
            ahead = max(ahead, taken - ended)
            yield item

    def finished(_):
        nonlocal ended
        ended += 1

    asyncio.run(run(world.client, source(), finished, concurrency=5))
    assert (ahead, ended) == (5, 50)
    assert world.emulator.peak <= 5


def test_an_outcome_is_a_line_of_results():
    """A success has the message, its request id, attempts, usage, time and line."""
    world = World()
    world.run(items(1))
    (outcome,) = world.outcomes
    found = outcome.to_dict()
    assert list(found) == [
        "custom_id",
        "result",
        "request_id",
        "attempts",
        "usage",
        "elapsed_ms",
        "line",
        "request_hash",
    ]
    assert found["result"] == {"type": "succeeded", "message": outcome.result.to_dict()}
    assert found["request_id"] == outcome.result.request_id
    assert (found["attempts"], found["line"]) == (1, 1)
    assert found["usage"] == outcome.result.usage.to_dict()


def test_an_error_is_an_outcome_that_can_be_rebuilt():
    """A failure has the error as plain data, and stops nothing."""
    rules = [{"on": {"contains": "Question 2"}, "do": {"fault": "status", "status": 400}}]
    world = World(faults=rules)
    tally = world.run(items(3))
    (failed,) = [outcome for outcome in world.outcomes if not outcome.succeeded]
    found = failed.to_dict()
    assert (found["custom_id"], found["result"]["type"]) == ("q-2", "errored")
    rebuilt = ClaudeError.from_dict(found["result"]["error"])
    assert (type(rebuilt), rebuilt.args) == (type(failed.result), failed.result.args)
    assert found["request_id"] == failed.result.request_id
    assert (tally.succeeded, dict(tally.failed)) == (2, {"InvalidRequest": 1})


@pytest.mark.parametrize("cls", [CreateMessage, StreamMessage])
def test_attempts_of_a_success_are_counted(cls):
    """A request that was retried and then answered says how many attempts it took."""
    rules = [{"on": {"once_per_body": True}, "do": {"fault": "status", "status": 529}}]
    world = World(faults=rules)
    tally = world.run(items(20, cls))
    assert {outcome.attempts for outcome in world.outcomes} == {2}
    assert (tally.succeeded, tally.retries) == (20, 20)


def test_a_broken_stream_starts_over():
    """A stream cut in the middle is asked for again: only whole messages are outcomes."""
    rules = [{"on": {"once_per_body": True}, "do": {"fault": "reset", "after_events": 5}}]
    world = World(faults=rules)
    tally = world.run(items(10, StreamMessage))
    assert (tally.succeeded, tally.retries) == (10, 10)


def test_tokens_are_counted():
    """The tally has the tokens of all answers."""
    world = World()
    tally = world.run(items(10))
    usages = [outcome.result.usage for outcome in world.outcomes]
    assert tally.input_tokens == sum(usage.total_input_tokens for usage in usages)
    assert tally.output_tokens == sum(usage.output_tokens for usage in usages)


def test_a_rate_limit_is_waited_out_by_all_together():
    """Far more requests than a minute allows are all answered, at the pace of the limit."""
    world = World(limits={"requests": 60})
    tally = world.run(items(300))
    assert (tally.succeeded, dict(tally.failed)) == (300, {})
    assert 235 < world.time.now < 300  # 60 at once, and then one a second
    assert max(outcome.attempts for outcome in world.outcomes) <= 10
    assert tally.retries < 300


def test_attempts_against_a_rate_limit_are_bounded():
    """A limit that never lets one through is an error in the end, with all its attempts."""
    world = World(faults=status(429, retry_after=2))
    tally = world.run(items(1))
    (outcome,) = world.outcomes
    assert isinstance(outcome.result, RateLimited)
    assert outcome.attempts == outcome.result.attempts == 53  # 50 refusals, and three attempts
    assert tally.retries == 52


def test_waits_for_rate_limits_end_at_the_deadline():
    """A request that a limit refuses again and again fails by its deadline."""
    world = World(faults=status(429, retry_after=4), deadline=30.0)
    world.run(items(1))
    assert isinstance(world.outcomes[0].result, RateLimited)
    assert world.time.now <= 30.0
    assert 2 <= world.outcomes[0].attempts <= 8


def test_a_run_goes_last():
    """An interactive call that comes during a run does not wait for the run."""
    world = World(limits={"requests": 60})

    async def scenario():
        task = asyncio.create_task(run(world.client, items(200), world.outcomes.append))
        while world.time.now < 20:  # noqa: ASYNC110  # virtual time, which the run moves
            await asyncio.sleep(0)
        began = world.time.now
        await world.client.send(message(999))
        ahead = sum(outcome.result is not None for outcome in world.outcomes)
        await task
        return world.time.now - began, ahead

    _, ahead = asyncio.run(scenario())
    assert ahead < 120
    assert len(world.outcomes) == 200


@pytest.mark.parametrize(
    ("options", "attempts"),
    [
        ({"retry": never()}, 1),
        ({"retry": standard().on(RateLimited, attempts=2)}, 2),
        ({"retry": standard().off(RateLimited)}, 1),
    ],
)
def test_a_policy_with_a_word_on_rate_limits_is_obeyed(options, attempts):
    """Where the client's policy says what to do about a rate limit, that is done."""
    world = World(faults=status(429, retry_after=1), **options)
    world.run(items(1))
    assert world.outcomes[0].attempts == attempts


def test_a_spend_limit_is_not_waited_out():
    """A 429 for a spend limit ends at once."""
    error = {
        "type": "rate_limit_error",
        "message": "Limit reached",
        "details": {"error_code": "enforced_spend_limit_reached"},
    }
    world = World(faults=status(429, body={"type": "error", "error": error}))
    world.run(items(1))
    assert (type(world.outcomes[0].result), world.outcomes[0].attempts) == (SpendLimitReached, 1)


def test_outcomes_among_the_items_pass_through():
    """A bad line keeps its place among the outcomes, and is counted apart."""
    world = World()
    bad = Outcome(2, None, UsageError("line 2: not JSON"))
    tally = world.run([items(1)[0], bad], concurrency=1)
    assert world.outcomes[1] is bad
    assert (tally.succeeded, tally.bad_lines, tally.failed.total(), tally.done) == (1, 1, 0, 2)


def test_a_bug_in_one_request_costs_only_that_one():
    """An exception that is no ClaudeError becomes an outcome, without the key in it."""

    class Broken(AsyncEmulatorTransport):
        async def send(self, request, /):
            if b"Question 2" in request.body:
                raise RuntimeError(f"broken, with {CANARY}")
            return await super().send(request)

    client = AsyncClient(Broken(), api_key=CANARY, base_url="http://bulk.test")
    outcomes = []
    tally = asyncio.run(run(client, items(3), outcomes.append))
    assert (tally.succeeded, dict(tally.failed)) == (2, {"ClaudeError": 1})
    (failed,) = [outcome for outcome in outcomes if not outcome.succeeded]
    assert "RuntimeError" in failed.result.message
    assert CANARY not in str(failed.to_dict())


def test_an_exception_of_the_callback_ends_the_run():
    """When an outcome cannot be kept, nothing more is asked, and the exception is raised."""
    world = World()

    def finished(outcome):
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space"):
        asyncio.run(run(world.client, items(1000), finished, concurrency=4))
    assert world.emulator.requests.total <= 8


def test_a_cancelled_run_keeps_what_has_ended():
    """Cancelling drops what is in flight; what was handed over before stays."""
    stall = [{"on": {"contains": "Question 3"}, "do": {"fault": "stall"}}]
    emulator = Emulator(faults=stall)
    client = AsyncClient(
        AsyncEmulatorTransport(emulator), api_key=CANARY, base_url="http://bulk.test"
    )
    outcomes, tally = [], Tally()

    async def main():
        two = asyncio.Event()

        def finished(outcome):
            outcomes.append(outcome)
            if len(outcomes) == 2:
                two.set()

        task = asyncio.create_task(run(client, items(3), finished, concurrency=3, tally=tally))
        await two.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert sorted(outcome.custom_id for outcome in outcomes) == ["q-1", "q-2"]
    assert (tally.succeeded, tally.in_flight, emulator.in_flight) == (2, 1, 0)


def test_an_observer_that_fails_costs_no_outcome():
    """Each request has its answer and its count of attempts, though `observe` raises each time."""

    def broken(*_):
        raise KeyError("telemetry")

    world = World(observe=broken)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        tally = world.run(items(5))
    assert (tally.succeeded, len(world.outcomes)) == (5, 5)
    assert {outcome.attempts for outcome in world.outcomes} == {1}
    assert {"a report was lost" in str(warning.message) for warning in caught} == {True}


def test_the_clients_own_observer_still_hears_everything():
    """Counting attempts does not take the client's `observe` away."""
    heard = []
    world = World(observe=lambda event, _: heard.append(event))
    world.run(items(3))
    assert (heard.count("claude_lite.attempt"), heard.count("claude_lite.call")) == (3, 3)


def test_started_is_called_in_the_task_that_asks():
    """Each request is announced before it is made, in its own task."""
    world = World()
    begun = []
    world.run(items(5), started=lambda item: begun.append((item, asyncio.current_task())))
    assert [item.custom_id for item, _ in begun] == [f"q-{n}" for n in range(1, 6)]
    assert len({task for _, task in begun}) == 5


def test_nothing_to_do_is_done():
    """No items, no requests, no failure."""
    world = World()
    tally = world.run([])
    assert (tally.done, tally.in_flight, world.outcomes) == (0, 0, [])
