"""The Vercel AI SDK, a client that checks the shape of each answer, against the emulator."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from claude_lite.emulator import Emulator
from claude_lite.emulator.serving import emulator_server

MODULES = Path(os.environ.get("NODE_PATH", "").partition(os.pathsep)[0] or "none")


@pytest.mark.skipif(not shutil.which("node"), reason="node is not installed")
@pytest.mark.skipif(
    not (MODULES / "ai").is_dir() or not (MODULES / "@ai-sdk" / "anthropic").is_dir(),
    reason="the Vercel AI SDK is not on NODE_PATH: npm install ai @ai-sdk/anthropic",
)
def test_the_vercel_ai_sdk_takes_every_answer(tmp_path):
    """Text, tool calls and thinking, whole and streamed, are all valid for its schemas."""
    (tmp_path / "node_modules").symlink_to(MODULES)  # `import` does not read NODE_PATH
    script = shutil.copy(Path(__file__).with_name("vercel_ai.mjs"), tmp_path)
    with emulator_server(Emulator()) as url:
        done = subprocess.run(  # noqa: S603  # our own script
            [shutil.which("node"), script, url],
            capture_output=True,
            text=True,
            check=False,
            cwd=tmp_path,
            timeout=60,
        )
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
