"""What a taskiq worker of the tests runs: `taskiq worker brokers.taskiq_worker:broker`."""

import asyncio
import os
import sys

from brokers import lines
from taskiq import AsyncResultBackend
from taskiq_aio_pika import AioPikaBroker, Queue

from claude_lite import AsyncClient
from claude_lite.jobs.taskiq import call_task


class ResultsFile(AsyncResultBackend):
    """Keeps results as lines of a file."""

    def __init__(self, path):
        self._path = path

    async def set_result(self, task_id, result):  # noqa: ARG002  # as taskiq has it
        """Write a line."""
        lines.append(self._path, result.return_value, result.error)

    async def is_result_ready(self, task_id):
        """Not asked: the tests read the file."""
        raise NotImplementedError

    async def get_result(self, task_id, with_logs=False):  # noqa: FBT002  # as taskiq has it
        """Not asked: the tests read the file."""
        raise NotImplementedError


def make(given):
    """Make the broker and the task; *given* says where RabbitMQ, the API and the results are."""
    queue = Queue(name=given["TEST_QUEUE"])
    broker = AioPikaBroker(given["TEST_AMQP"], qos=int(given["TEST_SLOTS"]), task_queues=[queue])
    client = AsyncClient(base_url=given["TEST_API"], api_key="none", deadline=900, governor=None)
    return broker.with_result_backend(ResultsFile(given["TEST_RESULTS"])), call_task(broker, client)


def put(given, payloads):
    """Put jobs into the queue."""

    async def kiq():
        broker, ask = make(given)
        await broker.startup()
        for payload in payloads:
            await ask.kiq(payload)
        await broker.shutdown()

    asyncio.run(kiq())


def command(given):
    """Give the command of a worker."""
    return [
        *(sys.executable, "-m", "taskiq", "worker", "brokers.taskiq_worker:broker"),
        *("--workers", "1", "--max-async-tasks", given["TEST_SLOTS"]),
    ]


if "TEST_AMQP" in os.environ:
    broker, ask = make(os.environ)
