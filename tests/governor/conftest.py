"""Redis for the tests of the governor; without it they are skipped, or fail in CI."""

import os

import pytest
from brokers.servers import HOW_TO_INSTALL, redis_program, running_redis


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory):
    """Redis on a free port."""
    if redis_program() is None:
        required = os.environ.get("CLAUDE_LITE_BROKERS") == "required"
        (pytest.fail if required else pytest.skip)(HOW_TO_INSTALL)
    with running_redis(tmp_path_factory.mktemp("redis")) as server:
        yield server
