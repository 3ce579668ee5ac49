"""Workers of a real engine, which make calls to an emulator on a port."""

import os
import signal
import subprocess
import time
import uuid
from contextlib import ExitStack
from pathlib import Path

from brokers import celery_worker, lines, taskiq_worker

from claude_lite import CreateMessage, Target
from claude_lite.emulator import Emulator
from claude_lite.emulator.serving import emulator_server
from claude_lite.jobs import Job

ENGINES = {"taskiq": taskiq_worker, "celery": celery_worker}
TESTS = Path(__file__).parent.parent

# Of ten calls two fail at first, one of them with a wait that the server asks for.
FAULTS = [
    {
        "on": {"probability": 0.1, "once_per_body": True},
        "do": {"fault": "status", "status": 529},
    },
    {
        "on": {"probability": 0.1, "once_per_body": True},
        "do": {"fault": "status", "status": 429, "headers": {"retry-after": "1"}},
    },
]


def call(row):
    """Make the call of a row."""
    asked = [{"role": "user", "content": f"row {row}"}]
    return CreateMessage(model="claude-sonnet-5-5", max_tokens=20, messages=asked)


class Fleet:
    """Some workers, their queue, and the API that they call. A context manager.

    Attributes:
        emulator: The API.
        workers: The processes; each leads a group of its own.

    """

    def __init__(self, engine, folder, rabbitmq, *, slots=20, faults=FAULTS, latency=0.1, **given):
        self._engine = ENGINES[engine]
        self._log = Path(folder) / "workers.log"
        self._stack = ExitStack()
        self.emulator = Emulator(faults=faults, latency=latency)
        self.slots = slots
        self.workers = []
        self.given = {
            "TEST_AMQP": rabbitmq.url,
            "TEST_API": "",
            "TEST_QUEUE": f"calls-{uuid.uuid4().hex}",
            "TEST_RESULTS": str(Path(folder) / "results"),
            "TEST_SLOTS": str(slots),
            **given,
        }

    def __enter__(self):
        self.given["TEST_API"] = self._stack.enter_context(emulator_server(self.emulator))
        return self

    def __exit__(self, *exc):
        for worker in self.workers:
            self.signal(worker, signal.SIGKILL)
            worker.wait()
        self._stack.close()

    def start(self, workers=2):
        """Start workers."""
        environment = {**os.environ, **self.given, "PYTHONPATH": str(TESTS)}
        for _ in range(workers):
            with self._log.open("ab") as log:
                worker = subprocess.Popen(  # noqa: S603  # our own module
                    self._engine.command(self.given),
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            self.workers.append(worker)

    @staticmethod
    def signal(worker, number):
        """Send a signal to a worker and its children."""
        if worker.poll() is None:
            os.killpg(worker.pid, number)

    def stop(self, worker, timeout=60):
        """Ask a worker to end what it has begun; return its exit code."""
        os.kill(worker.pid, signal.SIGTERM)
        return worker.wait(timeout)

    def put(self, rows, **options):
        """Put the calls of rows into the queue."""
        self._engine.put(
            self.given, [Job.of(call(row), meta={"row": row}, **options).to_dict() for row in rows]
        )

    def results(self):
        """Give the results so far, a list per row."""
        found = {}
        for line in lines.read(self.given["TEST_RESULTS"]):
            if line["error"] is None:
                found.setdefault(line["result"]["meta"]["row"], []).append(line["result"])
        return found

    def errors(self):
        """Give the errors that ended jobs."""
        return [line["error"] for line in lines.read(self.given["TEST_RESULTS"]) if line["error"]]

    def wait(self, wanted, what, timeout=120.0):
        """Wait until *wanted* returns true. The limit is for a fleet that hangs."""
        end = time.monotonic() + timeout
        while not wanted():
            if time.monotonic() > end:
                told = self._log.read_text(errors="replace")[-3000:]
                raise AssertionError(f"{what}: not within {timeout} s; the workers say:\n{told}")
            time.sleep(0.05)

    def wait_for_answers(self, number):
        """Wait until so many rows have an answer or an error."""
        self.wait(lambda: len(self.results()) + len(self.errors()) >= number, f"{number} answers")

    def requests(self, row):
        """Tell how many requests the API has had for a row."""
        return self.emulator.requests.of(call(row).build(Target()).body)

    def doubled(self, rows):
        """Count the requests that no answer needed: those of deliveries that were lost."""
        results = self.results()
        return sum(self.requests(row) - max(r["attempts"] for r in results[row]) for row in rows)
