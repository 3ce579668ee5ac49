"""Calls in task queues: a job as JSON in, its result as JSON out, typed errors in between.

    payload = Job.of(call, deadline=3600).to_dict()      where the job is put into the queue
    result = await handle_async(client, payload)         where a worker takes it

No queue is imported here: a task of any queue calls `handle` or `handle_async`, and puts the
payload of a `RetryLater` back into its queue.
"""

from claude_lite.jobs.handling import AsyncResultStore, ResultStore, handle, handle_async
from claude_lite.jobs.job import Job
from claude_lite.jobs.stores import SQLiteResults
from claude_lite.jobs.times import check_times

__all__ = [
    "AsyncResultStore",
    "Job",
    "ResultStore",
    "SQLiteResults",
    "check_times",
    "handle",
    "handle_async",
]
