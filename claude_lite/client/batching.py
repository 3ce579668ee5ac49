"""Batches from one end to the other: split requests, wait, match results, send again.

    for create in split_into_batches(requests):     # any iterable, in batches that the API takes
        job = BatchJob(create)
        for request, result in client.messages.batches.run(job):
            ...                                     # `async for` with an `AsyncClient`
        job.report                                  # counts, and ids that do not match

`run` creates the batch, waits for it and reads its results; requests that expired, or failed for
a reason that passes, go into another batch. After an error, run the same job: it goes on where it
was. `wait` and `matched` are the steps. The decisions are made without I/O, by `Waiting` here and
by `claude_lite.api.batch_jobs`; the functions here only act on them, one function per client.
Results come from the configured host: the `results_url` of a batch is never followed.
"""

import random
import time
from collections.abc import AsyncIterator, Iterator
from typing import Final, TypeVar

from claude_lite.api.batch_jobs import BatchJob, BatchReport, Pair, split_into_batches
from claude_lite.api.batches import (
    BatchResults,
    CancelBatch,
    CreateBatch,
    DeleteBatch,
    ListBatches,
    MessageBatch,
    RetrieveBatch,
)
from claude_lite.client.aio import AsyncioClient
from claude_lite.client.endpoints import (
    C_co,
    EitherWay,
    Endpoint,
    ItemsEndpoint,
    Namespace,
    StreamEndpoint,
)
from claude_lite.client.sync import SyncClient
from claude_lite.core.retry import is_temporary
from claude_lite.errors import (
    CertificateRefused,
    ClaudeError,
    NotFound,
    StreamInterrupted,
    TimedOut,
    TransportError,
)
from claude_lite.wire import Clock, Done, Sleep

__all__ = [
    "BatchJob",
    "BatchReport",
    "Batches",
    "matched",
    "matched_async",
    "run_job",
    "run_job_async",
    "split_into_batches",
    "wait",
    "wait_async",
]

C = TypeVar("C", SyncClient, AsyncioClient)

READINGS: Final = 3  # how often the results of one batch are read, if reading breaks off
FIRST_PAUSE: Final = 1.0  # seconds between two looks at a batch
GROWTH: Final = 1.5
LAST_LOOK: Final = 1.0  # seconds
PATIENCE: Final = 600.0  # seconds without a good answer, in the course of a day


class Waiting:
    """The decisions of waiting for a batch, without I/O: ask, sleep, done. Times in seconds.

    `next_action` says what to do. After it has given an operation, report the batch to `receive`,
    or the error to `receive_failure`. Pauses grow from a second to *longest*, each with jitter.
    """

    def __init__(
        self,
        batch: MessageBatch | str,
        clock: Clock = time.monotonic,
        *,
        longest: float = 60.0,
        deadline: float | None = None,
        grace: float = 30.0,
        workspace_id: str | None = None,
    ) -> None:
        self._ask = RetrieveBatch(
            message_batch_id=batch if isinstance(batch, str) else batch.id,
            workspace_id=workspace_id,
        )
        self._clock = clock
        self._longest = longest
        self._deadline = deadline
        self._grace = grace
        self._began = self._heard = clock()
        self._seen = False
        self._asked = True
        self._pause = FIRST_PAUSE
        self._at_least = 0.0
        self._ended: MessageBatch | None = None
        if isinstance(batch, str):
            self._asked = False
        else:
            self._look(batch)

    def next_action(self) -> RetrieveBatch | Sleep | Done[MessageBatch]:
        """Return what to do now. Raises `TimedOut` at the deadline."""
        if self._ended is not None:
            return Done(self._ended)
        self._asked = not self._asked
        if self._asked:
            return self._ask
        pause = self._pause * random.uniform(0.5, 1.0)  # noqa: S311  # it spreads load, no secret
        self._pause = min(self._pause * GROWTH, max(self._longest, FIRST_PAUSE))
        pause = max(min(pause, self._longest), self._at_least)
        self._at_least = 0.0
        left = self.left
        if left is not None and left <= 0:
            name = self._ask.message_batch_id
            raise TimedOut("total", f"{name} has not ended within {self._deadline:g} s")
        return Sleep(pause if left is None else min(pause, left))

    @property
    def left(self) -> float | None:
        """Seconds until the deadline; None if there is no deadline."""
        return None if self._deadline is None else self._began + self._deadline - self._clock()

    def receive(self, batch: MessageBatch) -> None:
        """Report the batch as the API describes it now."""
        self._seen = True
        self._heard = self._clock()
        self._look(batch)

    def receive_failure(self, error: ClaudeError) -> None:
        """Report that asking failed. Raises *error* if asking again would not help."""
        if isinstance(error, NotFound):
            bearable = not self._seen and self._clock() - self._began < self._grace
        else:
            lost = isinstance(error, TransportError) and not isinstance(error, CertificateRefused)
            bearable = (lost or is_temporary(error)) and self._clock() - self._heard < PATIENCE
        if not bearable:
            raise error
        self._at_least = error.retry_after or 0.0

    def _look(self, batch: MessageBatch) -> None:
        if batch.processing_status == "ended":
            self._ended = batch


def _in_time(client: C, waiting: Waiting) -> C:
    """Derive a client whose calls end by the deadline; the last call gets a second at least."""
    limits = [limit for limit in (waiting.left, client.config.deadline) if limit is not None]
    return client.with_options(deadline=max(min(limits), LAST_LOOK)) if limits else client


def wait(
    client: SyncClient,
    batch: MessageBatch | str,
    *,
    longest: float = 60.0,
    deadline: float | None = None,
    grace: float = 30.0,
    workspace_id: str | None = None,
) -> MessageBatch:
    """Wait until a batch has ended, and return it.

    Failures that pass within ten minutes are waited out.

    Args:
        client: The client to ask with.
        batch: The batch, or its id.
        longest: The longest pause between two looks at the batch, in seconds; pauses grow to it.
        deadline: How long to wait in all, in seconds; a last look may take one second more.
        grace: How long the batch may be unknown to the API, in seconds.
        workspace_id: The workspace of the batch, if the credential has several.

    Raises:
        TimedOut: The batch has not ended within *deadline*.
        NotFound: The batch did not appear within *grace*.
        ClaudeError: A look at the batch failed for another reason.

    """
    waiting = Waiting(
        batch,
        client.clock,
        longest=longest,
        deadline=deadline,
        grace=grace,
        workspace_id=workspace_id,
    )
    while not isinstance(action := waiting.next_action(), Done):
        if isinstance(action, Sleep):
            client.transport.sleep(action.seconds)
            continue
        try:
            waiting.receive(_in_time(client, waiting).send(action))
        except ClaudeError as error:
            waiting.receive_failure(error)
    return action.result


async def wait_async(
    client: AsyncioClient,
    batch: MessageBatch | str,
    *,
    longest: float = 60.0,
    deadline: float | None = None,
    grace: float = 30.0,
    workspace_id: str | None = None,
) -> MessageBatch:
    """Wait as `wait` does, with an `AsyncClient`."""
    waiting = Waiting(
        batch,
        client.clock,
        longest=longest,
        deadline=deadline,
        grace=grace,
        workspace_id=workspace_id,
    )
    while not isinstance(action := waiting.next_action(), Done):
        if isinstance(action, Sleep):
            await client.transport.sleep(action.seconds)
            continue
        try:
            waiting.receive(await _in_time(client, waiting).send(action))
        except ClaudeError as error:
            waiting.receive_failure(error)
    return action.result


def matched(client: SyncClient, job: BatchJob) -> Iterator[Pair]:
    """Iterate the results of a batch that has ended: pairs of a request and its result.

    Pairs come in any order. A request that the job will send again is not among them. If reading
    breaks off it is tried twice more, and no pair is given twice.

    Args:
        client: The client to read with.
        job: The job; its `batch_id` names the batch.

    Raises:
        StreamInterrupted: Reading broke off three times.
        ClaudeError: Reading failed for another reason.

    """
    reading = 1
    while True:
        job.begin()
        try:
            with client.stream(_results(job)) as entries:
                yield from filter(None, map(job.take, entries))
        except StreamInterrupted:
            if reading == READINGS:
                raise
            reading += 1
        else:
            break
    job.end()


async def matched_async(client: AsyncioClient, job: BatchJob) -> AsyncIterator[Pair]:
    """Read as `matched` does, with an `AsyncClient`."""
    reading = 1
    while True:
        job.begin()
        try:
            async with client.stream(_results(job)) as entries:
                async for entry in entries:
                    if (pair := job.take(entry)) is not None:
                        yield pair
        except StreamInterrupted:
            if reading == READINGS:
                raise
            reading += 1
        else:
            break
    job.end()


def _results(job: BatchJob) -> BatchResults:
    return BatchResults(message_batch_id=job.batch_id or "", workspace_id=job.create.workspace_id)


def run_job(client: SyncClient, job: BatchJob, *, deadline: float | None = None) -> Iterator[Pair]:
    """Create a batch, wait, match, until no request is left to send again.

    Iterates pairs of a request and its result. A create whose fate is unknown is not sent again.

    Args:
        client: The client to call with.
        job: The job. If running it raised, run it again: it goes on where it was.
        deadline: How long each wait may take, in seconds.

    Raises:
        ClaudeError: Whatever the steps raise.

    """
    while (create := job.pending()) is not None:
        if job.batch_id is None:
            job.batch_id = client.send(create).id
        wait(client, job.batch_id, deadline=deadline, workspace_id=create.workspace_id)
        yield from matched(client, job)


async def run_job_async(
    client: AsyncioClient, job: BatchJob, *, deadline: float | None = None
) -> AsyncIterator[Pair]:
    """Run as `run_job` does, with an `AsyncClient`."""
    while (create := job.pending()) is not None:
        if job.batch_id is None:
            job.batch_id = (await client.send(create)).id
        await wait_async(client, job.batch_id, deadline=deadline, workspace_id=create.workspace_id)
        async for pair in matched_async(client, job):
            yield pair


class Batches(Namespace[C_co]):
    """Message batches."""

    create = Endpoint(CreateBatch)
    retrieve = Endpoint(RetrieveBatch)
    list = Endpoint(ListBatches)
    items = ItemsEndpoint(ListBatches)
    cancel = Endpoint(CancelBatch)
    delete = Endpoint(DeleteBatch)
    results = StreamEndpoint(BatchResults)
    wait = EitherWay(wait, wait_async)
    matched = EitherWay(matched, matched_async)
    run = EitherWay(run_job, run_job_async)
