"""The pytest plugin: recorded calls and the emulator as fixtures.

    def test_it(claude_cassette):
        client = claude_cassette.client()

Every test run loads this module where claude_lite is installed, so it imports nothing else of
claude_lite. The first test that uses a fixture imports `claude_lite.testing.fixtures`.
"""

import hashlib
import re
from collections.abc import Generator, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

if TYPE_CHECKING:
    from claude_lite.testing.fixtures import ClaudeCassette, ClaudeEmulator

MODES: Final = ("none", "once", "new_episodes", "all", "rewrite", "off")
LISTS: Final = ("redact", "request_headers", "response_headers")

_PASSED: Final = pytest.StashKey[bool]()
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9_.\[\]-]+")
_LONGEST_NAME: Final = 120


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the command-line options."""
    group = parser.getgroup("claude-lite", "recorded calls of the Claude API")
    group.addoption(
        "--claude-record",
        choices=MODES,
        metavar="MODE",
        help=f"record or replay: {', '.join(MODES)} (default: none, which needs no key)",
    )
    group.addoption(
        "--claude-cassettes",
        metavar="DIR",
        help="keep recordings in this directory (default: cassettes beside each test)",
    )
    group.addoption(
        "--claude-replay-speed",
        type=float,
        metavar="X",
        help="replay at X times the recorded pace (default: at once)",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Register the markers."""
    config.addinivalue_line(
        "markers",
        "claude_cassette(path=None, **options): the file of the fixture claude_cassette, in its "
        "directory, and options of the recording transport, such as mode, redact or strict",
    )
    config.addinivalue_line(
        "markers",
        "claude_emulator(**options): options of the emulator of the fixture claude_emulator, "
        "such as seed, faults or limits",
    )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Note whether a test has passed: recordings of failed tests are not saved."""
    report = yield
    if report.when == "setup":
        item.stash[_PASSED] = False
    elif report.when == "call":
        item.stash[_PASSED] = report.passed
    return report


@pytest.fixture(scope="session")
def claude_cassette_config() -> Mapping[str, Any]:
    """The settings of all cassettes: override this fixture in a conftest.py.

    Returns:
        A dict with any of these keys: options of the recording transport (`redact`,
        `request_headers`, `response_headers`, `mode`, `allow_repeats`, `strict`, `speed`);
        `transport` and `async_transport`, the transports that record (names or instances);
        `directory`, where recordings are kept, relative to the root directory.

    """
    return {}


@pytest.fixture
def claude_cassette(
    request: pytest.FixtureRequest, claude_cassette_config: Mapping[str, Any]
) -> "Iterator[ClaudeCassette]":
    """A `ClaudeCassette`: clients whose calls are recorded in a file, and replayed from it.

    The file is `cassettes/<module>/<test>.json` beside the test. A recording is saved if the
    test passes. The test fails if it does not use a recorded answer, or if it makes a request
    without a recorded answer.
    """
    from claude_lite.errors import UsageError  # late: see the module's docstring
    from claude_lite.testing.fixtures import ClaudeCassette  # late: see the module's docstring

    option = request.config.getoption
    settings = dict(claude_cassette_config)
    directory = option("--claude-cassettes") or settings.pop("directory", None)
    settings.pop("directory", None)
    path = None
    for marker in reversed(list(request.node.iter_markers("claude_cassette"))):
        path = marker.args[0] if marker.args else path
        lists = {name: [*settings.get(name, ()), *marker.kwargs.get(name, ())] for name in LISTS}
        settings |= {**marker.kwargs, **lists}
    if option("--claude-record"):
        settings |= {"mode": option("--claude-record"), "force": True}
    if option("--claude-replay-speed"):
        settings["speed"] = option("--claude-replay-speed")
    try:
        cassette = ClaudeCassette(_file(request.node, directory, path), **settings)
        with cassette.lent(lambda: request.node.stash.get(_PASSED, False)):
            yield cassette
    except UsageError as error:
        pytest.fail(f"claude_cassette: {error}", pytrace=False)


@pytest.fixture
def claude_emulator(request: pytest.FixtureRequest) -> "Iterator[ClaudeEmulator]":
    """A `ClaudeEmulator`: an emulator of the API with clients, in virtual time or on a port."""
    from claude_lite.testing.fixtures import ClaudeEmulator  # late: see the module's docstring

    options: dict[str, Any] = {}
    for marker in reversed(list(request.node.iter_markers("claude_emulator"))):
        options |= marker.kwargs
    with ClaudeEmulator(**options) as emulator:
        yield emulator


def _file(node: pytest.Item, directory: str | None, path: str | None) -> Path:
    """Return the file of a test's recording: a file per test, unless a marker names another."""
    here = node.path.parent
    if directory is None:
        base = here / "cassettes"
    else:
        root = node.config.rootpath
        within = here.relative_to(root) if here.is_relative_to(root) else Path()
        base = root / directory / within
    if path is None:
        name = _safe(".".join(node.nodeid.split("::")[1:]))
        return base / node.path.stem / f"{name}.json"
    return base / (path if path.endswith(".json") else f"{path}.json")


def _safe(name: str) -> str:
    """Make a name that every file system accepts; a hash keeps changed names different."""
    safe = _UNSAFE.sub("-", name)[:_LONGEST_NAME]
    if safe == name:
        return name
    return f"{safe}-{hashlib.blake2b(name.encode(), digest_size=4).hexdigest()}"
