"""A worker that makes calls: taskiq over RabbitMQ, with results and one rate limit in Redis.

    taskiq worker worker:broker --workers 1 --max-async-tasks 40

The environment has the URLs: CLAUDE_LITE_BROKER of RabbitMQ, CLAUDE_LITE_GOVERNOR of Redis, and
ANTHROPIC_BASE_URL if the API is an emulator. `ask.kiq(Job.of(call).to_dict())` enqueues a call.
"""

import os

from taskiq_aio_pika import AioPikaBroker

from claude_lite import AsyncClient
from claude_lite.jobs import RedisResults
from claude_lite.jobs.taskiq import call_task

REDIS = os.environ["CLAUDE_LITE_GOVERNOR"]

broker = AioPikaBroker(os.environ["CLAUDE_LITE_BROKER"], qos=40)
results = RedisResults(REDIS)
ask = call_task(broker, AsyncClient(deadline=900), store=results)
