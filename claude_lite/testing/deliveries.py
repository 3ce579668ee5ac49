"""A task queue in memory and in virtual time, to test a task without a broker.

    queue = Deliveries(task, seed=1, twice=0.2, killed=0.1, out_of_order=True)
    for call in calls:
        queue.put(Job.of(call).to_dict())
    for job in queue.run():
        assert job.results

The queue does to a task what brokers do: it delivers a job again after a `RetryLater`, delivers
some jobs twice, in another order, and once more if the worker was killed after its work and before
its acknowledgement. A wait takes no time: the queue's clock moves on.
"""

import heapq
import inspect
import itertools
import random
from collections.abc import Callable, Mapping
from typing import Any, Final

from attrs import Factory, define

from claude_lite.errors import ClaudeError, RetryLater, UsageError

REDELIVERY: Final = 60.0  # seconds after which a broker takes a worker for dead
MOST_DELIVERIES: Final = 1000  # of one job: more are a task that never ends


@define
class DeliveredJob:
    """What came of a job.

    Attributes:
        payload: The payload that was put into the queue.
        results: What the task returned, one entry per acknowledged delivery that had a result.
        error: The error that ended the job; None if there was none.
        deliveries: How often the job was delivered.
        killed: How many of these deliveries ended with the worker.

    """

    payload: Mapping[str, Any]
    results: list[Any] = Factory(list)
    error: ClaudeError | None = None
    deliveries: int = 0
    killed: int = 0


class Deliveries:
    """A queue in memory that delivers jobs to a task, as unreliably as it is told to.

    Attributes:
        now: The time of the queue, in seconds since 1970. `time` returns it.

    """

    def __init__(
        self,
        task: Callable[[Any], Any],
        *,
        seed: int = 0,
        twice: float = 0.0,
        killed: float = 0.0,
        out_of_order: bool = False,
        start: float = 1_800_000_000.0,
    ) -> None:
        """Make an empty queue.

        Args:
            task: The function that gets a payload; a coroutine function for `run_async`.
            seed: Decides what happens to which job: the same seed does the same.
            twice: The share of jobs, 0 to 1, that are delivered twice.
            killed: The share of deliveries whose worker is killed between the end of the task and
                the acknowledgement.
            out_of_order: Deliver the jobs that are due in a random order.
            start: The time at which the queue's clock begins, in seconds since 1970.

        """
        self.now = start
        self._task = task
        self._twice = twice
        self._killed = killed
        self._out_of_order = out_of_order
        self._random = random.Random(seed)  # noqa: S311  # repeatable
        self._jobs: list[DeliveredJob] = []
        self._due: list[tuple[float, float, int, DeliveredJob, Mapping[str, Any]]] = []  # a heap
        self._numbers = itertools.count()

    def time(self) -> float:
        """Return the time of the queue; give this function to `handle` as `clock`."""
        return self.now

    def put(self, payload: Mapping[str, Any]) -> None:
        """Put a job into the queue.

        Args:
            payload: The payload, from `Job.to_dict`.

        """
        job = DeliveredJob(payload)
        self._jobs.append(job)
        for _ in range(2 if self._random.random() < self._twice else 1):
            self._push(0.0, job, payload)

    def run(self) -> list[DeliveredJob]:
        """Deliver until the queue is empty; return the jobs in the order of `put`.

        Raises:
            Exception: The task raised something else than a `ClaudeError`.

        """
        while self._due:
            job, payload = self._pop()
            try:
                result = self._task(payload)
                if inspect.isawaitable(result):
                    raise UsageError("the task is a coroutine function: await run_async()")
            except ClaudeError as error:
                self._ended(job, payload, None, error)
            else:
                self._ended(job, payload, result, None)
        return self._jobs

    async def run_async(self) -> list[DeliveredJob]:
        """Deliver to a coroutine function until the queue is empty, one job after the other.

        Raises:
            Exception: The task raised something else than a `ClaudeError`.

        """
        while self._due:
            job, payload = self._pop()
            try:
                result = await self._task(payload)
            except ClaudeError as error:
                self._ended(job, payload, None, error)
            else:
                self._ended(job, payload, result, None)
        return self._jobs

    def _push(self, delay: float, job: DeliveredJob, payload: Mapping[str, Any]) -> None:
        number = next(self._numbers)
        place = self._random.random() if self._out_of_order else number
        heapq.heappush(self._due, (self.now + delay, place, number, job, payload))

    def _pop(self) -> tuple[DeliveredJob, Mapping[str, Any]]:
        due, _, _, job, payload = heapq.heappop(self._due)
        self.now = max(self.now, due)
        job.deliveries += 1
        if job.deliveries > MOST_DELIVERIES:
            raise AssertionError(f"a job was delivered {MOST_DELIVERIES} times, and does not end")
        return job, payload

    def _ended(
        self,
        job: DeliveredJob,
        payload: Mapping[str, Any],
        result: Any,
        error: ClaudeError | None,
    ) -> None:
        if self._random.random() < self._killed:
            job.killed += 1
            self._push(REDELIVERY, job, payload)
        elif isinstance(error, RetryLater):
            self._push(error.delay, job, error.details["job"])
        elif error is not None:
            job.error = error
        else:
            job.results.append(result)
