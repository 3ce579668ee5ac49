"""What a taskiq worker of the tests runs: `taskiq worker brokers.taskiq_worker:broker`.

The environment says where RabbitMQ and the emulator are, and into which file results go.
"""

import json
import os

from taskiq import AsyncResultBackend
from taskiq_aio_pika import AioPikaBroker

from claude_lite import AsyncClient, ClaudeError
from claude_lite.jobs.taskiq import call_task


class ResultsFile(AsyncResultBackend):
    """Results as lines of a file: one write per line, so that processes can share the file."""

    def __init__(self, path):
        self._path = path

    async def set_result(self, task_id, result):
        """Write a line."""
        error = result.error
        line = {
            "task_id": task_id,
            "result": result.return_value,
            "error": error.to_dict() if isinstance(error, ClaudeError) else error and repr(error),
        }
        handle = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        try:
            os.write(handle, json.dumps(line).encode() + b"\n")
        finally:
            os.close(handle)

    async def is_result_ready(self, task_id):
        """Not asked: the tests read the file."""
        raise NotImplementedError

    async def get_result(self, task_id, with_logs=False):  # noqa: FBT002  # as taskiq has it
        """Not asked: the tests read the file."""
        raise NotImplementedError


broker = AioPikaBroker(
    os.environ["CLAUDE_LITE_TEST_AMQP"],
    qos=20,
).with_result_backend(ResultsFile(os.environ["CLAUDE_LITE_TEST_RESULTS"]))
client = AsyncClient(base_url=os.environ["CLAUDE_LITE_TEST_API"], api_key="none", deadline=900)
ask = call_task(broker, client)
