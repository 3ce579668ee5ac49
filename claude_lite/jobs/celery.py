"""Calls as tasks of Celery (the extra `celery`).

    app = Celery("calls", broker="amqp://...", backend="redis://...")
    ask = call_task(app, AsyncClient(deadline=900))     # defines the task
    result = ask.delay(Job.of(call).to_dict())          # puts a call into the queue

    celery -A module worker -P threads -c 100           # 100 calls at once in one process

With an `AsyncClient` all calls of a process run on one event loop, on a thread of its own, however
many threads or greenlets wait for them. A `Client` makes each call on the thread of its task.

A delivery is acknowledged when the task has ended, and goes to another worker if its worker was
killed. Each process takes one job per slot in advance, not four as is Celery's default.
"""

import asyncio
import math
import os
import threading
import time
from collections.abc import Coroutine
from typing import Any, Final, TypeVar, cast

from celery import Celery, Task
from celery.exceptions import Reject
from celery.signals import worker_process_shutdown, worker_shutdown

from claude_lite.client.clients import AsyncClient, Client
from claude_lite.errors import ClaudeError, RetryLater
from claude_lite.jobs.handling import JSON, AsyncResultStore, ResultStore, handle, handle_async
from claude_lite.jobs.times import check_times

__all__ = ["call_task"]

AMQP: Final = frozenset({"amqp", "amqps", "pyamqp"})
CONSUMER_TIMEOUT: Final = 1800.0  # of RabbitMQ, by default
R = TypeVar("R")

VISIBILITY_TIMEOUT: Final = {"redis": 3600.0, "rediss": 3600.0, "sqs": 1800.0}  # by default


def call_task(
    app: Celery,
    client: AsyncClient | Client,
    *,
    store: AsyncResultStore | ResultStore | None = None,
    name: str = "claude.call",
    consumer_timeout: float = CONSUMER_TIMEOUT,
    **options: Any,
) -> Task:
    """Define the task that makes calls; `task.delay(Job.of(call).to_dict())` enqueues one.

    The task returns the result as JSON; see `claude_lite.jobs.handle`. The error that ends a job is
    the error of the task's result. Permanent errors are not tried again.

    Args:
        app: The app. Its `worker_prefetch_multiplier` is set to 1, its
            `worker_enable_prefetch_count_reduction` to False, and publisher confirms are enabled.
        client: The client that makes the calls. Its retry rules and other options hold.
        store: Keeps results, so that a second delivery of a job gets the first one's result. A
            `Client` needs a store whose functions are no coroutines.
        name: The name of the task.
        consumer_timeout: RabbitMQ's `consumer_timeout`, in seconds, if it is not the default. For
            Redis and SQS the `visibility_timeout` of `broker_transport_options` is read.
        **options: Other options of the task, such as `time_limit`.

    Raises:
        UsageError: The time limits do not fit.

    """
    _configure(app)
    limit = options.get("time_limit") or app.conf.task_time_limit
    redelivery = _redelivery(app, consumer_timeout)
    check_times(attempt=client.config.deadline or math.inf, job=limit, redelivery=redelivery)
    loop = _LoopThread()

    def close(**_: object) -> None:
        if isinstance(client, Client):
            client.close()
        else:
            loop.run(client.close())

    worker_process_shutdown.connect(close, weak=False)
    worker_shutdown.connect(close, weak=False)

    def run(payload: JSON, task_id: str | None) -> JSON:
        if isinstance(client, Client):
            return handle(client, payload, store, task_id=task_id)  # type: ignore[arg-type]  # a sync store
        return loop.run(handle_async(client, payload, store, task_id=task_id))

    @app.task(  # type: ignore[untyped-decorator]  # Celery has no types
        bind=True,
        name=name,
        max_retries=None,  # the job has its own number of attempts
        acks_late=True,
        reject_on_worker_lost=True,
        throws=(ClaudeError,),
        **options,
    )
    def call(self: Task, job: JSON) -> JSON:
        while True:
            try:
                return run(job, self.request.id)
            except RetryLater as error:
                job, delay = error.details["job"], error.delay
                if not self.request.is_eager:
                    raise _next(self, job, error) from None
                time.sleep(delay)  # without a queue

    return cast("Task", call)  # the decorator makes a task


def _configure(app: Celery) -> None:
    app.conf.worker_prefetch_multiplier = 1
    # With it, Celery 5.7 sets the count from a pool thread after a lost connection, while the main
    # thread uses the same connection: the worker may hang for ever.
    app.conf.worker_enable_prefetch_count_reduction = False
    if _scheme(app) in AMQP:
        # RabbitMQ has the next delivery of a job before this one is acknowledged.
        given = app.conf.broker_transport_options or {}
        app.conf.broker_transport_options = {"confirm_publish": True, **given}


def _scheme(app: Celery) -> str:
    return str(app.conf.broker_url or "amqp").partition(":")[0]


def _next(task: Task, job: JSON, error: RetryLater) -> BaseException:
    """Put a job back into the queue; return the exception that ends the delivery."""
    # The result backend keeps the error: the job's call would be there once more.
    shown = error.update(details={k: v for k, v in error.details.items() if k != "job"})
    try:
        ended: BaseException = task.retry(
            args=(job,), kwargs={}, exc=shown, countdown=error.delay, throw=False
        )
    except Reject as rejected:
        # The broker did not take the job. Celery would drop it: the delivery goes back instead.
        ended = Reject(rejected.reason, requeue=True)
    return ended


def _redelivery(app: Celery, consumer_timeout: float) -> float | None:
    """Return the seconds after which the broker delivers a job again; None if not known."""
    scheme = _scheme(app)
    if scheme in VISIBILITY_TIMEOUT:
        given = (app.conf.broker_transport_options or {}).get("visibility_timeout")
        return float(given or VISIBILITY_TIMEOUT[scheme])
    return consumer_timeout if scheme in AMQP else None


class _LoopThread:
    """An event loop on a thread of its own, one per process, made at the first use."""

    def __init__(self) -> None:
        self._forget()
        os.register_at_fork(after_in_child=self._forget)

    def _forget(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None

    def run(self, coroutine: Coroutine[Any, Any, R]) -> R:
        """Run a coroutine on the loop, and wait for its result."""
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                name = "claude_lite.jobs.celery"
                threading.Thread(target=self._loop.run_forever, name=name, daemon=True).start()
        future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()  # a time limit of Celery, for example, ends the task
            raise
