"""What a Celery worker of the tests runs: `celery -A brokers.celery_worker worker`."""

import os
import sys
import uuid

from brokers import lines
from celery import Celery
from celery.signals import task_failure, task_success

from claude_lite import AsyncClient
from claude_lite.jobs.celery import call_task


def make(given):
    """Make the app and the task; *given* says where RabbitMQ, the API and the results are."""
    app = Celery("calls", broker=given["TEST_AMQP"], set_as_current=False)
    app.conf.task_default_queue = given["TEST_QUEUE"]
    client = AsyncClient(base_url=given["TEST_API"], api_key="none", deadline=900, governor=None)
    return app, call_task(app, client)


def put(given, payloads):
    """Put jobs into the queue."""
    app, ask = make(given)
    for payload in payloads:
        ask.delay(payload)
    app.close()


def command(given):
    """Give the command of a worker."""
    return [
        *(sys.executable, "-m", "celery", "-A", "brokers.celery_worker", "worker"),
        *("-P", given.get("TEST_POOL", "threads"), "-c", given["TEST_SLOTS"]),
        *("-n", f"{uuid.uuid4().hex}@%h", "--without-gossip", "--without-mingle"),
    ]


if "TEST_AMQP" in os.environ:
    app, ask = make(os.environ)

    @task_success.connect
    def succeeded(result, **_):
        """Write a line."""
        lines.append(os.environ["TEST_RESULTS"], result, None)

    @task_failure.connect
    def failed(exception, **_):
        """Write a line."""
        lines.append(os.environ["TEST_RESULTS"], None, exception)
