"""Message batches from one end to the other: split requests, wait, match results, send again.

    for create in split_into_batches(requests):     # batches of a size that the API takes
        run = BatchRun(create)
        for request, result in client.messages.batches.run(run):
            ...                                     # `async for` with an `AsyncClient`
        run.report                                  # counts, and ids that do not match

`run` creates a batch, waits until the batch has ended, and reads the results. Requests that expired
or failed temporarily go into another batch. After an error, pass the same `BatchRun` again: the run
continues where it stopped. `run` calls `wait` and `matched`, which you can also call yourself.

`Waiting` and `claude_lite.api.batch_runs` decide what to do, without I/O. The functions here do the
I/O: one function for the sync client, and one for the async client. Results are read from the
configured host; the `results_url` of a batch is never used.
"""

from claude_lite.batching.running import matched, matched_async, run_batch, run_batch_async
from claude_lite.batching.waiting import Waiting, wait, wait_async

__all__ = [
    "Waiting",
    "matched",
    "matched_async",
    "run_batch",
    "run_batch_async",
    "wait",
    "wait_async",
]
