"""Calls in task queues: a job as JSON in, its result as JSON out, typed errors in between.

    payload = Job.of(call, deadline=3600).to_dict()      where the job is put into the queue
    result = await handle_async(client, payload)         where a worker takes it

No queue is imported here: a task of any queue calls `handle` or `handle_async`, and puts the
payload of a `RetryLater` back into its queue. `claude_lite.jobs.taskiq` and
`claude_lite.jobs.celery` do so for their engines.
"""

from typing import TYPE_CHECKING, Any

from claude_lite.jobs.handling import AsyncResultStore, ResultStore, handle, handle_async
from claude_lite.jobs.job import Job
from claude_lite.jobs.stores import SQLiteResults
from claude_lite.jobs.times import check_times

if TYPE_CHECKING:
    from claude_lite.jobs.redis import RedisResults

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


if not TYPE_CHECKING:  # pragma: no branch  # checkers see the name imported above

    def __getattr__(name: str) -> Any:
        """Import what needs an extra when it is asked for."""
        if name != "RedisResults":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        try:
            from claude_lite.jobs.redis import RedisResults
        except ModuleNotFoundError as error:
            if error.name != "redis":
                raise
            message = "RedisResults needs the package redis: pip install 'claude-lite[redis]'"
            raise ModuleNotFoundError(message, name="redis") from None
        return RedisResults
