"""The official SDKs, pointed at the emulator: every core operation that they have, no error.

The SDKs are in the dependency group `peers`. The tour itself is `sdk_tour.py`, a process of its
own, as a user would run it against `claude-lite serve`.
"""

import re
import subprocess
import sys
from importlib.util import find_spec

import orjson
import pytest
from places import TESTS

from claude_lite.emulator import Emulator
from claude_lite.emulator.serving import emulator_server

OPERATIONS = orjson.loads((TESTS / "data/api/operations.json").read_bytes())["operations"]
KEYS = ["sk-ant-api03-tour", "sk-ant-admin01-tour"]
GONE = "completions.create"  # no SDK of today has it


def take(sdk):
    """Run the tour of one SDK and return the emulator that it was pointed at."""
    if find_spec(sdk) is None:
        pytest.skip(f"the {sdk} SDK is not installed: it is in the dependency group `peers`")
    emulator = Emulator(api_keys=KEYS, batches={"seconds": 0.05})
    with emulator_server(emulator) as url:
        tour = subprocess.run(  # noqa: S603  # our own script
            [sys.executable, TESTS / "sdk_tour.py", url, sdk],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    assert tour.returncode == 0, tour.stderr
    return emulator


def called(emulator):
    """Say which operations (method and path) were answered with success."""
    return {(entry.method, entry.path) for entry in emulator.log if entry.status == 200}


@pytest.mark.slow
def test_the_anthropic_sdk_uses_every_core_operation_that_it_has():
    """Both namespaces, synchronous and not, with the SDK's own strict check of responses."""
    seen = called(take("anthropic"))
    missing = [
        operation["id"]
        for operation in OPERATIONS
        if operation["tier"] == "core" and operation["id"] != GONE
        if not any(_is(operation, method, path) for method, path in seen)
    ]
    assert missing == []


def _is(operation, method, path):
    pattern = re.sub(r"\{\w+\}", "[^/]+", operation["path"])
    return method == operation["method"] and re.fullmatch(pattern, path) is not None


@pytest.mark.slow
def test_the_openai_sdk_has_its_chats():
    """Whole and streamed, with tools, usage and errors."""
    assert called(take("openai")) == {("POST", "/v1/chat/completions")}
