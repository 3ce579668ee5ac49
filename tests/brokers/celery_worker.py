"""What a Celery worker of the tests runs: `celery -A brokers.celery_worker worker`.

The environment says where RabbitMQ, Redis and the emulator are.
"""

import os

from celery import Celery

from claude_lite import AsyncClient
from claude_lite.jobs.celery import call_task

app = Celery(
    "calls",
    broker=os.environ["CLAUDE_LITE_TEST_AMQP"],
    backend=os.environ["CLAUDE_LITE_TEST_RESULTS"],
)
client = AsyncClient(base_url=os.environ["CLAUDE_LITE_TEST_API"], api_key="none", deadline=900)
ask = call_task(app, client)
