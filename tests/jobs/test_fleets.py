"""Real engines over RabbitMQ: killed workers, restarts, waits, failures. Counts, never times."""

import json
import signal

import pytest
from brokers.fleet import Fleet, call

ROWS = range(200)
ENGINES = pytest.mark.parametrize("engine", ["taskiq", "celery"])

pytestmark = pytest.mark.slow


@ENGINES
def test_a_worker_is_killed(engine, rabbitmq, tmp_path):
    """No job is lost; the calls made twice are at most those that the dead worker had."""
    with Fleet(engine, tmp_path, rabbitmq) as fleet:
        fleet.start(2)
        fleet.put(ROWS, deadline=600)
        fleet.wait(lambda: len(fleet.results()) >= 60, "60 answers")
        fleet.signal(fleet.workers[0], signal.SIGKILL)
        fleet.wait_for_answers(len(ROWS))
        assert fleet.stop(fleet.workers[1]) == 0
        assert fleet.results().keys() == set(ROWS)
        assert fleet.errors() == []
        assert fleet.doubled(ROWS) <= fleet.slots
        attempts = {row: [r["attempts"] for r in rs] for row, rs in fleet.results().items()}
        assert {max(made) for made in attempts.values()} == {1, 2}
        assert all(max(made) <= fleet.requests(row) for row, made in attempts.items())


@ENGINES
def test_rabbitmq_restarts(engine, rabbitmq, tmp_path):
    """Jobs that waited and jobs that ran while RabbitMQ restarted are answered."""
    with Fleet(engine, tmp_path, rabbitmq) as fleet:
        fleet.start(2)
        fleet.put(ROWS, deadline=600)
        fleet.wait(lambda: len(fleet.results()) >= 60, "60 answers")
        rabbitmq.stop()
        rabbitmq.start()
        fleet.wait_for_answers(len(ROWS))
        assert fleet.results().keys() == set(ROWS)
        assert fleet.errors() == []


@ENGINES
def test_a_worker_stops_gracefully(engine, rabbitmq, tmp_path):
    """A worker that is asked to stop ends its calls: none is made twice."""
    with Fleet(engine, tmp_path, rabbitmq, faults=None) as fleet:
        fleet.start(1)
        fleet.put(ROWS)
        fleet.wait(lambda: len(fleet.results()) >= 60, "60 answers")
        assert fleet.stop(fleet.workers[0]) == 0
        assert len(fleet.results()) < len(ROWS)
        fleet.start(1)
        fleet.wait_for_answers(len(ROWS))
        assert fleet.emulator.requests.total == len(ROWS)


@ENGINES
def test_errors_attempts_and_deadlines(engine, rabbitmq, tmp_path):
    """Permanent errors end a job at once, temporary ones after its attempts or at its deadline."""
    faults = [
        {"on": {"contains": "row 0"}, "do": {"fault": "status", "status": 400}},
        {"on": {"contains": "row 1"}, "do": {"fault": "status", "status": 529}},
        {
            "on": {"contains": "row 2"},
            "do": {"fault": "status", "status": 429, "headers": {"retry-after": "60"}},
        },
    ]
    with Fleet(engine, tmp_path, rabbitmq, faults=faults) as fleet:
        fleet.start(1)
        fleet.put([0, 1, 2], deadline=30, attempts=3)
        fleet.wait(lambda: len(fleet.errors()) == 3, "three errors")
        errors = {e["details"]["meta"]["row"]: e for e in fleet.errors()}
        assert [errors[row]["attempts"] for row in range(3)] == [1, 3, 1]
        assert [fleet.requests(row) for row in range(3)] == [1, 3, 1]
        assert [len(errors[row]["details"]["request_ids"]) for row in range(3)] == [1, 3, 1]
        assert "deadline of the job" in errors[2]["advice"]
        assert {e["details"]["fingerprint"] for e in errors.values()} == {
            call(row).fingerprint() for row in range(3)
        }


@ENGINES
def test_a_long_wait_blocks_no_short_one(engine, rabbitmq, tmp_path):
    """Jobs that wait for 0.25 s are answered while jobs that came first wait for an hour."""
    faults = [
        {
            "on": {"contains": f"row {first}"},
            "do": {"fault": "status", "status": 429, "headers": {"retry-after": seconds}},
        }
        for first, seconds in (("1", "3000"),)
    ]
    faults += [
        {
            "on": {"once_per_body": True},
            "do": {"fault": "status", "status": 429, "headers": {"retry-after-ms": "300"}},
        }
    ]
    short = range(200, 220)
    with Fleet(engine, tmp_path, rabbitmq, faults=faults) as fleet:
        fleet.start(1)
        fleet.put(range(100, 120), deadline=7200)
        fleet.wait(lambda: all(fleet.requests(row) for row in range(100, 120)), "20 waits")
        fleet.put(short)
        fleet.wait_for_answers(len(short))
        assert {row: [r["attempts"] for r in rs] for row, rs in fleet.results().items()} == {
            row: [2] for row in short
        }


@ENGINES
def test_payloads_that_are_no_job(engine, rabbitmq, tmp_path):
    """A payload that is no job ends with an error, and the worker goes on."""
    with Fleet(engine, tmp_path, rabbitmq, faults=None) as fleet:
        fleet.start(1)
        fleet._engine.put(fleet.given, [{"a": 1}, json.loads("null")])
        fleet.put([1])
        fleet.wait(lambda: len(fleet.errors()) == 2, "two errors")
        fleet.wait_for_answers(3)
        assert all("is no job" in json.dumps(error) for error in fleet.errors())
