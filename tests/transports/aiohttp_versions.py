"""Run the tests of the aiohttp transport on the oldest and the newest aiohttp that is allowed.

And on a pre-release, if the index has one that is newer: so a name that aiohttp takes away is
missed here, before users miss it. `make test-aiohttp` calls this; it takes some minutes, and
keeps its environments in `.venv/aiohttp`.
"""

import re
import subprocess
import sys
import tomllib
import venv
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
FOLDER = ROOT / ".venv" / "aiohttp"
TESTS = [
    *("transports/test_aiohttp_transport.py", "transports/test_each_transport.py"),
    "transports/test_private_names.py",
    *("transports/test_options.py", "transports/test_proxies.py", "transports/test_turns.py"),
    *("transports/test_in_flight.py", "testing/test_conformance.py", "client/test_loops.py"),
]
NEEDED = [
    "anyio",
    "cryptography",
    "httptools",
    "httpx",
    "hypothesis",
    "jsonschema",
    "pytest",
    "pytest-xdist",
    "trio",
    "uvloop",
]


def say(text: str) -> None:
    """Write a line at once, before what a subprocess writes."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def python(name: str) -> Path:
    """Give the interpreter of an environment, which is made if it is not there."""
    if not (FOLDER / name).exists():
        venv.create(FOLDER / name, with_pip=True)
    return FOLDER / name / "bin" / "python"


def install(name: str, *what: str) -> str:
    """Install the package with what its tests need, and give the version of aiohttp."""
    pip = [python(name), "-m", "pip", "install", "--quiet", "--upgrade"]
    subprocess.run([*pip, "--editable", ROOT, *NEEDED, *what], check=True)  # noqa: S603  # pip
    ask = [python(name), "-c", "import aiohttp; print(aiohttp.__version__)"]
    asked = subprocess.run(ask, capture_output=True, text=True, check=True)  # noqa: S603  # ours
    return asked.stdout.strip()


def test(name: str, version: str) -> int:
    """Run the tests in an environment."""
    say(f"--- aiohttp {version}, the {name}")
    run = [python(name), "-m", "pytest", "-p", "no:cacheprovider", "-o", "addopts=--quiet", "-n2"]
    return subprocess.run([*run, *TESTS], cwd=ROOT / "tests", check=False).returncode  # noqa: S603


def main() -> int:
    """Try the versions that are named, or all; the exit code is 0 if all tests pass on each."""
    wanted = sys.argv[1:] or ["oldest", "newest", "pre-release"]
    with (ROOT / "pyproject.toml").open("rb") as file:
        needs = tomllib.load(file)["project"]["dependencies"]
    (allowed,) = (one for one in needs if one.startswith("aiohttp"))
    oldest = re.sub(r".*>=([\w.]+).*", r"\1", allowed)
    failed = 0
    if "oldest" in wanted:
        failed |= test("oldest", install("oldest", f"aiohttp=={oldest}"))
    if "newest" in wanted:
        failed |= test("newest", install("newest", allowed))
    if "pre-release" in wanted:
        version = install("pre-release", "--pre", allowed)
        if re.fullmatch(r"[\d.]+", version):
            say(f"--- there is no pre-release of aiohttp that is newer than {version}")
        else:
            failed |= test("pre-release", version)
    return failed


if __name__ == "__main__":
    sys.exit(main())
