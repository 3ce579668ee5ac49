"""Batches from one end to the other: split requests, wait, match the results, ask again.

    for create in split(requests):                  # any iterable, in batches that the API takes
        job = BatchJob(create)
        for request, result in client.messages.batches.run(job):
            ...                                     # `async for` with an `AsyncClient`
        job.report                                  # counts, and ids that do not match

`run` creates the batch, waits for it, reads its results, and does so again for what expired or
failed for a passing reason. After an error, run the same job: it goes on where it was. `wait`
and `matched` are the steps. What decides is without I/O, in `claude_lite.batch_waiting` and
`claude_lite.api.batch_jobs`; these are drivers, one a colour. Results come from the configured
host: the `results_url` of a batch is never followed.
"""

from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, Final

from claude_lite.api.batch_jobs import BatchJob, BatchReport, Pair, split
from claude_lite.api.batches import BatchResults
from claude_lite.batch_waiting import wait, wait_async
from claude_lite.errors import StreamInterrupted

if TYPE_CHECKING:
    from claude_lite.client import AsyncClient, Client

__all__ = [
    "BatchJob",
    "BatchReport",
    "matched",
    "matched_async",
    "run",
    "run_async",
    "split",
    "wait",
    "wait_async",
]

READINGS: Final = 3  # of results that break off


def matched(client: "Client", job: BatchJob) -> Iterator[Pair]:
    """Read the results of `job.batch_id`, which has ended: pairs of a request and its result.

    They come in any order. One that `job` will ask again is not among them. A reading that
    breaks off is taken up twice, without giving anything twice.
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


async def matched_async(client: "AsyncClient", job: BatchJob) -> AsyncIterator[Pair]:
    """As `matched`, for an `AsyncClient`."""
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


def run(client: "Client", job: BatchJob, *, deadline: float | None = None) -> Iterator[Pair]:
    """Create, wait, match, until nothing is left to ask again: pairs of request and result.

    Each wait may take *deadline* seconds. Raises what the steps raise; run again, the job goes
    on where it was. (A create that may have been heard is not sent twice by itself.)
    """
    while (create := job.pending()) is not None:
        if job.batch_id is None:
            job.batch_id = client.send(create).id
        wait(client, job.batch_id, deadline=deadline, workspace_id=create.workspace_id)
        yield from matched(client, job)


async def run_async(
    client: "AsyncClient", job: BatchJob, *, deadline: float | None = None
) -> AsyncIterator[Pair]:
    """As `run`, for an `AsyncClient`."""
    while (create := job.pending()) is not None:
        if job.batch_id is None:
            job.batch_id = (await client.send(create)).id
        await wait_async(client, job.batch_id, deadline=deadline, workspace_id=create.workspace_id)
        async for pair in matched_async(client, job):
            yield pair
