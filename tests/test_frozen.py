"""Programs that are frozen, zipped or vendored have the modules, but not the package's metadata."""

import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import claude_lite
import claude_lite_transports
from claude_lite.testing.conformance.loopback import LoopbackServer, reply, replying

PROGRAM = """
import asyncio, importlib.metadata, sys
sys.path.insert(0, sys.argv[1])
importlib.metadata.entry_points = lambda **_: importlib.metadata.EntryPoints()
import claude_lite, claude_lite_transports
from claude_lite import AsyncClient, Client, UsageError

assert claude_lite.__file__.startswith(sys.argv[1]), claude_lite.__file__
assert claude_lite_transports.__file__.startswith(sys.argv[1])
assert claude_lite.__version__
ask = dict(model="claude-sonnet-5-5", messages=[dict(role="user", content="x")])
options = dict(base_url=sys.argv[2], api_key="any")

async def count(name):
    async with AsyncClient(name, **options) as client:
        return (await client.messages.count_tokens(**ask)).input_tokens

assert Client("urllib", **options).messages.count_tokens(**ask).input_tokens == 7
assert Client("emulator", **options).messages.count_tokens(**ask).input_tokens
for name in ("aiohttp", "asyncio"):
    assert asyncio.run(count(name)) == 7
assert asyncio.run(count("emulator"))
try:
    Client("mine", **options).messages.count_tokens(**ask)
except UsageError as error:
    assert error.message.endswith("installed: aiohttp, asyncio, emulator, urllib")
else:
    raise AssertionError
"""


def test_the_packages_own_transports_need_no_metadata(tmp_path):
    """From a zip, without entry points, each of our transports is found by its name."""
    archive = tmp_path / "program.zip"
    with ZipFile(archive, "w") as made:
        for package in (claude_lite, claude_lite_transports):
            folder = Path(package.__file__).parent
            for path in folder.rglob("*"):
                if path.is_file() and path.suffix != ".pyc":
                    made.write(path, path.relative_to(folder.parent))
    answer = reply(b'{"input_tokens": 7}', "content-type: application/json")
    with LoopbackServer(replying(answer)) as server:
        done = subprocess.run(  # noqa: S603  # this interpreter, code of our own
            [sys.executable, "-W", "error", "-c", PROGRAM, str(archive), server.url("")],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert (done.returncode, done.stderr) == (0, "")
