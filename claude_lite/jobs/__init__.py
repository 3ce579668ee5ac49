"""Calls in task queues: a job as JSON in, its result as JSON out, typed errors in between.

    payload = Job.of(call, deadline=3600).to_dict()      where the job is put into the queue
    result = await handle_async(client, payload)         where a worker takes it

No queue is imported here. `claude_lite.jobs.taskiq` and `claude_lite.jobs.celery` are adapters; the
page on queues has recipes for other queues.
"""

from claude_lite.jobs.handling import AsyncResultStore, ResultStore, handle, handle_async
from claude_lite.jobs.job import Job
from claude_lite.jobs.stores import RedisResults, SQLiteResults
from claude_lite.jobs.times import check_times

__all__ = [
    "AsyncResultStore",
    "Job",
    "RedisResults",
    "ResultStore",
    "SQLiteResults",
    "check_times",
    "handle",
    "handle_async",
]
