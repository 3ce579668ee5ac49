"""Calls as tasks of taskiq (the extra `taskiq`; RabbitMQ also needs the package taskiq-aio-pika).

    broker = AioPikaBroker("amqp://...", qos=100)       # as many calls at once per worker process
    ask = call_task(broker, AsyncClient(deadline=900))  # defines the task
    task = await ask.kiq(Job.of(call).to_dict())        # puts a call into the queue

A job that has to wait goes back to RabbitMQ, into a queue of its class of delay: 0.25, 0.5, 1, 2,
4, ... seconds. All messages of such a queue wait equally long, so no wait blocks a shorter one; the
rest of a wait is another, shorter one. RabbitMQ confirms that it has the job before the delivery is
acknowledged. With other brokers, and while RabbitMQ cannot be reached, the job waits in the worker,
and stays unacknowledged.
"""

import asyncio
import logging
import math
import time
import warnings
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Annotated, Any, Final

from taskiq import AsyncBroker, AsyncTaskiqDecoratedTask, Context, TaskiqDepends, TaskiqEvents
from taskiq.exceptions import NoResultError
from taskiq.labels import prepare_label

from claude_lite.client.clients import AsyncClient
from claude_lite.errors import RetryLater, UsageError
from claude_lite.jobs.handling import JSON, AsyncResultStore, ResultStore, handle_async
from claude_lite.jobs.times import check_times

if TYPE_CHECKING:
    from aio_pika.abc import AbstractChannel
    from taskiq.message import TaskiqMessage

__all__ = ["call_task"]

CONSUMER_TIMEOUT: Final = 1800.0  # of RabbitMQ, by default
SHORTEST: Final = -2  # the shortest class of delay is 2 ** -2 s
LONGEST: Final = 12
PUBLISH_TIMEOUT: Final = 10.0
DUE: Final = "claude_lite_due"
"""The label with the Unix time before which a job must not run."""

LOSING: Final = ("ListQueue", "PubSub", "ZeroMQ")
STRANDING: Final = ("RedisStream",)

_log = logging.getLogger("claude_lite")


def call_task(
    broker: AsyncBroker,
    client: AsyncClient,
    *,
    store: AsyncResultStore | ResultStore | None = None,
    name: str = "claude.call",
    timeout: float | None = None,
    consumer_timeout: float | None = None,
    **labels: Any,
) -> AsyncTaskiqDecoratedTask[..., Coroutine[Any, Any, JSON]]:
    """Define the task that makes calls; `await task.kiq(Job.of(call).to_dict())` enqueues one.

    The task returns the result as JSON; see `claude_lite.jobs.handle`. The error that ends a job is
    the error of the task's result. A delivery is acknowledged when its result is saved. When the
    worker shuts down, the client is closed.

    Args:
        broker: The broker. `AioPikaBroker` (RabbitMQ) loses no job; `InMemoryBroker` is for tests.
        client: The client that makes the calls. Its retry rules and other options hold.
        store: Keeps results, so that a second delivery of a job gets the first one's result.
        name: The name of the task.
        timeout: The seconds after which taskiq ends a task; None means never.
        consumer_timeout: RabbitMQ's `consumer_timeout`, in seconds, if it is not the default of
            1,800. A job that runs longer is delivered again.
        **labels: Other labels of the task.

    Raises:
        UsageError: The broker loses the jobs of a worker that is killed, the client is no
            `AsyncClient`, or the time limits do not fit.

    """
    if not isinstance(client, AsyncClient):
        raise UsageError(f"tasks of taskiq need an AsyncClient, not {type(client).__name__}")
    _check_broker(broker)
    on_rabbitmq = _is_a(broker, "AioPikaBroker")
    if consumer_timeout is None and on_rabbitmq:
        consumer_timeout = CONSUMER_TIMEOUT
    deadline = client.config.deadline or math.inf
    check_times(attempt=deadline, job=timeout, redelivery=consumer_timeout)
    labels = {**labels, "ack_type": "when_saved"}
    if timeout is not None:
        labels["timeout"] = timeout
    later = DelayQueues(broker) if on_rabbitmq else None

    async def call(job: dict[str, Any], context: Annotated[Context, TaskiqDepends()]) -> JSON:
        message = context.message
        wait = message.labels.pop(DUE, 0.0) - time.time()
        while True:
            if wait > 0:
                if later is not None and await later.put(message, job, wait):
                    raise NoResultError  # the job has no result yet
                await asyncio.sleep(wait)
            try:
                return await handle_async(client, job, store, task_id=message.task_id)
            except RetryLater as error:
                job, wait = error.details["job"], error.delay

    async def close(_: object) -> None:
        await client.close()

    broker.add_event_handler(TaskiqEvents.WORKER_SHUTDOWN, close)
    return broker.register_task(call, task_name=name, **labels)


class DelayQueues:
    """Queues of RabbitMQ in which jobs wait, one queue per class of delay."""

    def __init__(self, broker: Any) -> None:
        self._broker = broker
        self._connection: object = None
        self._channel: AbstractChannel | None = None
        self._declared: set[str] = set()

    async def put(self, message: "TaskiqMessage", job: JSON, wait: float) -> bool:
        """Put a job back into RabbitMQ, for a delivery in *wait* seconds.

        Returns:
            Whether RabbitMQ confirmed that it has the job.

        """
        level = math.floor(math.log2(wait))
        if level < SHORTEST:  # short enough to wait in the worker
            return False
        seconds = 2.0 ** min(level, LONGEST)
        try:
            async with asyncio.timeout(PUBLISH_TIMEOUT):
                await self._publish(message, job, seconds, time.time() + wait)
        except Exception as error:  # noqa: BLE001  # the job then waits in the worker
            self._channel = None
            kind = type(error).__name__
            _log.warning("RabbitMQ did not take a job that waits (%s): it waits here", kind)
            return False
        return True

    async def _publish(
        self, message: "TaskiqMessage", job: JSON, seconds: float, due: float
    ) -> None:
        from aio_pika import DeliveryMode, Message  # not installed with every broker

        given = {**message.labels, DUE: due}
        prepared = {name: prepare_label(value) for name, value in given.items()}
        next_message = message.model_copy(
            update={
                "args": [job],
                "kwargs": {},
                "labels": {name: text for name, (text, _) in prepared.items()},
                "labels_types": {name: kind for name, (_, kind) in prepared.items()},
            }
        )
        out = self._broker.formatter.dumps(next_message)
        channel = await self._open()
        queue = await self._declare(channel, seconds, message)
        priority = message.labels.get("priority")
        await channel.default_exchange.publish(
            Message(
                out.message,
                headers={"task_id": out.task_id, "task_name": out.task_name, **out.labels},
                delivery_mode=DeliveryMode.PERSISTENT,
                priority=None if priority is None else int(priority),
            ),
            routing_key=queue,
        )

    async def _open(self) -> "AbstractChannel":
        """Return a channel of our own: an error on a channel closes the channel."""
        connection = self._broker.write_conn
        channel = self._channel
        if channel is None or connection is not self._connection:
            # A message that no queue takes is an error, and so is one that is not confirmed.
            channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
            self._connection, self._channel = connection, channel
            self._declared.clear()
        return channel

    async def _declare(
        self, channel: "AbstractChannel", seconds: float, message: "TaskiqMessage"
    ) -> str:
        queues = self._broker._task_queues  # noqa: SLF001  # there is no public name
        names = {queue.routing_key or queue.name: queue.name for queue in queues}
        target = str(message.labels.get("queue_name"))
        target = next(iter(names.values())) if len(names) == 1 else names.get(target, target)
        name = f"{target}.later.{seconds:g}s"
        if name not in self._declared:
            await channel.declare_queue(
                name,
                durable=True,
                arguments={
                    "x-queue-type": "quorum",
                    "x-message-ttl": int(seconds * 1000),
                    "x-dead-letter-exchange": "",
                    "x-dead-letter-routing-key": target,
                    # A job is kept until the queue of tasks has confirmed it.
                    "x-dead-letter-strategy": "at-least-once",
                    "x-overflow": "reject-publish",
                },
            )
            self._declared.add(name)
        return name


def _is_a(broker: object, *beginnings: str) -> bool:
    return any(cls.__name__.startswith(beginnings) for cls in type(broker).__mro__)


def _check_broker(broker: object) -> None:
    name = type(broker).__name__
    if _is_a(broker, *LOSING):
        raise UsageError(
            f"{name} loses the jobs of a worker that is killed: use AioPikaBroker (RabbitMQ)"
        )
    if _is_a(broker, *STRANDING):
        message = f"{name} may strand the jobs of a worker that is killed: prefer AioPikaBroker"
        warnings.warn(message, UserWarning, stacklevel=3)
