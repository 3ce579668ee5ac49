"""What a runner's environment must not change: tests see a terminal's Ctrl-C, and no CI."""

import gc
import os
import signal

import pytest
from hypothesis import settings

os.environ.pop("CI", None)  # it forbids recordings; tests that are about that set it
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored, where we run in the background

# Hypothesis' limit of 200 ms per example fails on a loaded machine.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")


@pytest.fixture(scope="module", autouse=True)
def _freeze():
    """Let the garbage collector forget what lives before a module's tests.

    Many tests run the collector, which takes half a second where it looks at 10,000 tests.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture
def skill(tmp_path):
    """A folder with a skill."""
    folder = tmp_path / "my-skill"
    folder.mkdir()
    (folder / "SKILL.md").write_text("---\nname: a\ndescription: b\n---\n")
    return folder
