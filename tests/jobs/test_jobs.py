"""Jobs: payloads, handlers, stores; attempts and deadlines over many deliveries."""

import asyncio
import json
import subprocess
import sys
import warnings

import pytest
from attrs import evolve

from claude_lite import AsyncClient, ClaudeError, Client, CreateMessage, RetryLater, standard
from claude_lite.errors import InvalidRequest, Overloaded, RateLimited, TimedOut, UsageError
from claude_lite.jobs import Job, SQLiteResults, check_times, handle, handle_async
from claude_lite.testing import (
    AsyncStubTransport,
    Deliveries,
    StubTransport,
    error_response,
    message,
)

FINGERPRINT = "6eab0579618e3417e55e036bfa8b83ac"  # of CALL, in every version of the library
CALL = CreateMessage(model="m", max_tokens=5, messages=[{"role": "user", "content": "Hello"}])


def through_json(payload):
    """Give a payload as it leaves a queue."""
    return json.loads(json.dumps(payload))


def worker(*answers, sync=True, **options):
    """Make a handler with a client of its own, which gets these answers."""
    options = {"api_key": "none", **options}
    if sync:
        client = Client(StubTransport(*answers), **options)
        return lambda payload, store=None, **given: handle(client, payload, store, **given)
    client = AsyncClient(AsyncStubTransport(*answers), **options)
    return lambda payload, store=None, **given: asyncio.run(
        handle_async(client, payload, store, **given)
    )


BOTH = pytest.mark.parametrize("sync", [True, False], ids=["sync", "async"])


def test_a_job_is_json():
    """A payload survives JSON, and keeps the call, its limits and the user's own data."""
    job = Job.of(CALL, deadline=60, attempts=3, meta={"row": 7})
    assert Job.from_dict(through_json(job.to_dict())) == job
    assert (job.attempts_allowed, job.meta) == (3, {"row": 7})
    assert job.fingerprint == CALL.fingerprint()


def test_a_fingerprint_is_the_same_everywhere():
    """Another process gives the same fingerprint, another call has another one."""
    code = (
        "from claude_lite import CreateMessage as C;"
        "asked = [{'content': 'Hello', 'role': 'user'}];"
        "print(C(messages=asked, max_tokens=5, model='m').fingerprint())"
    )
    there = subprocess.run(  # noqa: S603  # our own code
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert there.stdout.strip() == CALL.fingerprint() == FINGERPRINT
    assert CALL.replace(max_tokens=6).fingerprint() != CALL.fingerprint()


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        (None, "is no job"),
        ({"a": 1}, "is no job"),
        ({"claude_lite_job": 2}, "version 2"),
        ({"claude_lite_job": 1, "call": {}}, "'attempts_allowed'"),
        ({"claude_lite_job": 1, "call": {}, "attempts_allowed": "8"}, "cannot be str"),
        ({"claude_lite_job": 1, "call": {}, "attempts_allowed": 8, "x": 1}, "unknown key 'x'"),
        ({"claude_lite_job": 1, "call": {}, "attempts_allowed": 8}, "no operation is named"),
    ],
)
@BOTH
def test_a_payload_that_is_no_job(payload, said, sync):
    """A payload that is no job is refused for good, with the reason."""
    with pytest.raises(UsageError, match=said):
        worker(sync=sync)(payload)


@pytest.mark.parametrize(
    "given", [{"deadline": 0}, {"deadline": float("inf")}, {"attempts": 0}, {"meta": None}]
)
def test_limits_of_a_job(given):
    """A deadline or a number of attempts that makes no sense is refused; no meta is none."""
    if given == {"meta": None}:
        assert Job.of(CALL, **given).meta == {}
        return
    with pytest.raises(UsageError, match=next(iter(given))):
        Job.of(CALL, **given)
    with pytest.raises(UsageError, match="an operation, not dict"):
        Job.of(CALL.to_dict())


@BOTH
def test_a_result(sync):
    """The result has the answer, the ids, the attempts, the fingerprint and the meta."""
    done = worker(message("Hi"), sync=sync)(through_json(Job.of(CALL, meta={"n": 1}).to_dict()))
    assert json.loads(json.dumps(done)) == done
    assert done["result"]["content"][0]["text"] == "Hi"
    assert (done["attempts"], done["meta"]) == (1, {"n": 1})
    assert done["fingerprint"] == CALL.fingerprint()


@BOTH
def test_attempts_and_ids_travel(sync):
    """A failed delivery gives the payload of the next one; the last error has them all."""
    run = worker(*[error_response(529)] * 3, sync=sync)
    payload = Job.of(CALL, attempts=3).to_dict()
    for made in (1, 2):
        with pytest.raises(RetryLater) as later:
            run(payload)
        payload = through_json(later.value.details["job"])
        assert (payload["attempts_made"], later.value.attempts) == (made, made)
        assert len(payload["request_ids"]) == made
    with pytest.raises(Overloaded) as error:
        run(payload)
    assert error.value.attempts == 3
    assert len(error.value.details["request_ids"]) == 3
    assert ClaudeError.from_dict(through_json(error.value.to_dict())).attempts == 3


@BOTH
def test_the_clients_rules_hold(sync):
    """Rules of `on` and `off` decide in a job as they do in a call."""
    policy = standard().off(Overloaded).on(InvalidRequest, wait=7)
    with pytest.raises(Overloaded):
        worker(error_response(529), sync=sync, retry=policy)(Job.of(CALL).to_dict())
    with pytest.raises(RetryLater) as later:
        worker(error_response(400), sync=sync, retry=policy)(Job.of(CALL).to_dict())
    assert later.value.delay == 7


@BOTH
def test_no_wait_passes_the_deadline(sync):
    """A wait that would pass the job's deadline ends the job with the error of the attempt."""
    limited = evolve(error_response(429), headers={"retry-after": "30"})
    with pytest.raises(RateLimited, match="deadline of the job") as error:
        worker(limited, sync=sync)(Job.of(CALL, deadline=20).to_dict())
    assert (error.value.attempts, error.value.retry_after) == (1, 30)
    with pytest.raises(RetryLater):
        worker(limited, sync=sync)(Job.of(CALL, deadline=60).to_dict())


@BOTH
def test_a_deadline_that_passed_in_the_queue(sync):
    """A job that comes too late makes no call."""
    payload = Job.of(CALL, deadline=20).to_dict()
    with pytest.raises(TimedOut, match="in the queue") as error:
        worker(sync=sync)(payload, clock=lambda: payload["until"] + 1)
    assert (error.value.phase, error.value.attempts) == ("total", 0)


@BOTH
def test_a_second_delivery_is_free(sync, tmp_path):
    """With a store, a second delivery gets the result of the first one and makes no call."""
    store = SQLiteResults(tmp_path / "results.db")
    run, payload = worker(message("Hi"), sync=sync), Job.of(CALL).to_dict()
    first = run(payload, store)
    assert run(payload, SQLiteResults(tmp_path / "results.db")) == first


@BOTH
def test_jobs_of_equal_calls(sync, tmp_path):
    """Equal calls share an answer, each with its own meta; a key of its own gets its own answer."""
    store = SQLiteResults(tmp_path / "results.db")
    run = worker(message("one"), message("two"), sync=sync)
    done = [
        run(through_json(Job.of(CALL, key=key, meta={"row": row}).to_dict()), store)
        for row, key in enumerate((None, None, "sample-2"))
    ]
    assert [d["result"]["content"][0]["text"] for d in done] == ["one", "one", "two"]
    assert [d["meta"]["row"] for d in done] == [0, 1, 2]


def test_results_are_forgotten(tmp_path):
    """A result is kept for the store's `ttl`."""
    store = SQLiteResults(tmp_path / "results.db", ttl=1e-9)
    store.put("a", {"x": 1})
    assert store.get("a") is None


class Broken:
    """A store that cannot be reached."""

    def get(self, _):
        """Fail."""
        raise ConnectionError("away")

    def put(self, *_):
        """Fail."""
        raise ConnectionError("away")


@BOTH
def test_a_store_that_fails_loses_no_answer(sync):
    """The answer comes, and a warning says what failed."""
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        done = worker(message("Hi"), sync=sync)(Job.of(CALL).to_dict(), Broken())
    assert done["result"]["content"][0]["text"] == "Hi"
    assert [str(w.message).split(" (")[0] for w in seen] == [
        "the store of results failed in Broken.get",
        "the store of results failed in Broken.put",
    ]


@pytest.mark.parametrize("ttl", [0, -1, float("nan"), float("inf")])
def test_times_to_live_that_make_no_sense(ttl, tmp_path):
    """A time to live has to be positive; a file that is no database is named."""
    with pytest.raises(UsageError, match="ttl"):
        SQLiteResults(tmp_path / "results.db", ttl=ttl)
    with pytest.raises(UsageError, match="cannot be opened"):
        SQLiteResults(tmp_path)


def test_events_of_a_job():
    """Each delivery reports what came of it, with the fingerprint and the queue's id."""
    events = []
    run = worker(
        error_response(529),
        message("Hi"),
        observe=lambda name, fields: events.append((name, dict(fields))),
    )
    with pytest.raises(RetryLater) as later:
        run(Job.of(CALL).to_dict(), task_id="t-1")
    run(later.value.details["job"], task_id="t-1")
    jobs = [fields for name, fields in events if name == "claude_lite.job"]
    assert {name for name, _ in events} == {
        "claude_lite.attempt",
        "claude_lite.call",
        "claude_lite.job",
    }
    assert {(e["fingerprint"], e["task_id"]) for _, e in events} == {(CALL.fingerprint(), "t-1")}
    Client(
        StubTransport(message("Hi")),
        api_key="none",
        observe=lambda name, fields: events.append((name, dict(fields))),
    ).send(CALL)
    assert "fingerprint" not in events[-1][1]
    assert [(e["outcome"], e["attempts"], e["task_id"]) for e in jobs] == [
        ("later", 1, "t-1"),
        ("done", 2, "t-1"),
    ]


@pytest.mark.parametrize(
    ("given", "numbers"),
    [
        ({"attempt": 600, "job": 300}, ("600 s", "300 s")),
        ({"attempt": 600, "job": 700, "redelivery": 700}, ("700 s", "700 s")),
        ({"attempt": 600, "redelivery": 60}, ("600 s", "60 s")),
        ({"attempt": 0}, ("0",)),
    ],
)
def test_times_that_do_not_fit(given, numbers):
    """Limits that do not fit together are refused with both numbers; others pass."""
    with pytest.raises(UsageError) as error:
        check_times(**given)
    assert all(number in str(error.value) for number in numbers)
    check_times(attempt=600, job=900, redelivery=1800)


def test_deliveries_twice_out_of_order_after_kills(tmp_path):
    """With a store, each job has one answer, however its queue delivers it."""
    store, asked = SQLiteResults(tmp_path / "results.db"), []

    class Api(StubTransport):
        def send(self, request):
            asked.append(json.loads(request.body)["messages"][0]["content"])
            if asked.count(asked[-1]) == 1 and int(asked[-1]) % 3 == 0:
                return error_response(529)
            return super().send(request)

    client = Client(Api(*[message("Hi")] * 500), api_key="none")
    queue = Deliveries(
        lambda payload: handle(client, payload, store, clock=queue.time),
        seed=3,
        twice=0.3,
        killed=0.2,
        out_of_order=True,
    )
    calls = [CALL.replace(messages=[{"role": "user", "content": str(n)}]) for n in range(100)]
    for call in calls:
        queue.put(Job.of(call).to_dict())
    jobs = queue.run()
    assert all(job.results and job.error is None for job in jobs)
    assert all(
        {r["fingerprint"] for r in job.results} == {job.payload["fingerprint"]} for job in jobs
    )
    assert sum(job.killed for job in jobs) > 10
    answered = len(asked) - sum(n % 3 == 0 for n in range(100))
    assert answered == 100
