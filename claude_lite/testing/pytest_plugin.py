"""The pytest plugin: recorded calls and the emulator as fixtures.

    def test_it(claude_cassette):
        client = claude_cassette.client()

This module is loaded in every test run where claude_lite is installed, so it imports nothing
else: what the fixtures give is in `claude_lite.testing.fixtures`, which is loaded with the first
test that asks for one.
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
    """Add the options."""
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
    """Note whether a test has passed: what others record is not saved."""
    report = yield
    if report.when == "setup":
        item.stash[_PASSED] = False
    elif report.when == "call":
        item.stash[_PASSED] = report.passed
    return report


@pytest.fixture(scope="session")
def claude_cassette_config() -> Mapping[str, Any]:
    """Override this in a conftest.py: the settings of all cassettes.

    A dict of options of the recording transport (`redact`, `request_headers`,
    `response_headers`, `mode`, `allow_repeats`, `strict`, `speed`), of `transport` and
    `async_transport`, which record (names or instances), and of `directory`, where recordings
    are kept (relative to the root directory).
    """
    return {}


@pytest.fixture
def claude_cassette(
    request: pytest.FixtureRequest, claude_cassette_config: Mapping[str, Any]
) -> "Iterator[ClaudeCassette]":
    """Clients whose calls are recorded in a file, and replayed from it.

    The file is `cassettes/<module>/<test>.json` beside the test. It is saved if the test
    passes. It is an error if something recorded is not asked for, or something asked for is
    not recorded.
    """
    from claude_lite.errors import UsageError  # see the module's docstring
    from claude_lite.testing.fixtures import ClaudeCassette  # likewise

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
    """An emulator of the API with its clients, in virtual time, and on a port if need be."""
    from claude_lite.testing.fixtures import ClaudeEmulator  # as above

    options: dict[str, Any] = {}
    for marker in reversed(list(request.node.iter_markers("claude_emulator"))):
        options |= marker.kwargs
    with ClaudeEmulator(**options) as emulator:
        yield emulator


def _file(node: pytest.Item, directory: str | None, path: str | None) -> Path:
    """Say where the recording of a test is: a file of its own, unless a marker names another."""
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
    """Make a name that every file system takes; what is lost by that is told apart by a hash."""
    safe = _UNSAFE.sub("-", name)[:_LONGEST_NAME]
    if safe == name:
        return name
    return f"{safe}-{hashlib.blake2b(name.encode(), digest_size=4).hexdigest()}"
