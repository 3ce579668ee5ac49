"""Run batches: create them, wait for them, match results with requests."""

from collections.abc import AsyncIterator, Iterator
from typing import Final

from claude_lite.api.batch_runs import BatchRun, Pair
from claude_lite.api.batches import BatchResults
from claude_lite.batching.senders import AsyncSender, SyncSender
from claude_lite.batching.waiting import wait, wait_async
from claude_lite.core.credentials import wrong_type
from claude_lite.errors import StreamInterrupted

READ_ATTEMPTS: Final = 3  # how often the results of one batch are read at most


def matched(client: SyncSender, run: BatchRun) -> Iterator[Pair]:
    """Iterate the results of a batch that has ended: pairs of a request and the result.

    The pairs have any order. Requests that the run will send again are left out. If the connection
    breaks, the results are read again, at most twice. No pair comes twice.

    Args:
        client: The client that reads the results.
        run: The run. `run.batch_id` is the id of the batch.

    Raises:
        StreamInterrupted: The connection broke three times.
        ClaudeError: Reading failed for another reason.

    """
    if not isinstance(run, BatchRun):
        raise (run := wrong_type("run", "a BatchRun", run))
    attempt = 1
    while True:
        run.begin()
        try:
            with client.stream(_results(run)) as entries:
                yield from filter(None, map(run.take, entries))
        except StreamInterrupted:
            if attempt == READ_ATTEMPTS:
                raise
            attempt += 1
        else:
            break
    run.end()


async def matched_async(client: AsyncSender, run: BatchRun) -> AsyncIterator[Pair]:
    """Iterate the results of a batch that has ended. The arguments are those of `matched`."""
    if not isinstance(run, BatchRun):
        raise (run := wrong_type("run", "a BatchRun", run))
    attempt = 1
    while True:
        run.begin()
        try:
            async with client.stream(_results(run)) as entries:
                async for entry in entries:
                    if (pair := run.take(entry)) is not None:
                        yield pair
        except StreamInterrupted:
            if attempt == READ_ATTEMPTS:
                raise
            attempt += 1
        else:
            break
    run.end()


def _results(run: BatchRun) -> BatchResults:
    # Without a batch, the empty id raises a `UsageError`.
    return BatchResults(message_batch_id=run.batch_id or "", workspace_id=run.create.workspace_id)


def run_batch(
    client: SyncSender, run: BatchRun, *, deadline: float | None = None
) -> Iterator[Pair]:
    """Create a batch, wait, and iterate pairs of a request and the result.

    The steps are repeated while requests have to be sent again. If it is unknown whether the API
    created a batch (the connection broke), this function raises the error. Before you pass the run
    again, look for the batch with `list`, and set `run.batch_id`: otherwise a second batch is
    created.

    Args:
        client: The client that sends the requests.
        run: The run. After any error but the one above, pass the same run again: it continues
            where it stopped.
        deadline: The time to wait for each batch (not for all batches), in seconds.

    Raises:
        ClaudeError: A step failed. Each step raises its own errors.

    """
    if not isinstance(run, BatchRun):
        raise (run := wrong_type("run", "a BatchRun", run))
    while (create := run.pending()) is not None:
        if run.batch_id is None:
            run.batch_id = client.send(create).id
        wait(client, run.batch_id, deadline=deadline, workspace_id=create.workspace_id)
        yield from matched(client, run)


async def run_batch_async(
    client: AsyncSender, run: BatchRun, *, deadline: float | None = None
) -> AsyncIterator[Pair]:
    """Iterate pairs of a request and the result. The arguments are those of `run_batch`."""
    if not isinstance(run, BatchRun):
        raise (run := wrong_type("run", "a BatchRun", run))
    while (create := run.pending()) is not None:
        if run.batch_id is None:
            run.batch_id = (await client.send(create)).id
        await wait_async(client, run.batch_id, deadline=deadline, workspace_id=create.workspace_id)
        async for pair in matched_async(client, run):
            yield pair
