"""RabbitMQ and Redis for the tests of queues, started when the first test asks for them.

Where they are not installed, these tests are skipped, or fail if CLAUDE_LITE_BROKERS is "required".
"""

import os

import pytest
from brokers.servers import (
    HOW_TO_INSTALL,
    rabbitmq_program,
    redis_program,
    running_rabbitmq,
    running_redis,
)


def need(program):
    """Skip the test, or fail, if a program is missing."""
    if program is None:
        required = os.environ.get("CLAUDE_LITE_BROKERS") == "required"
        (pytest.fail if required else pytest.skip)(HOW_TO_INSTALL)


@pytest.fixture(scope="session")
def rabbitmq(tmp_path_factory):
    """RabbitMQ on a free port."""
    need(rabbitmq_program())
    with running_rabbitmq(tmp_path_factory.mktemp("rabbitmq")) as server:
        yield server


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory):
    """Redis on a free port."""
    need(redis_program())
    with running_redis(tmp_path_factory.mktemp("redis")) as server:
        yield server
