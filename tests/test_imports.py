"""What is imported by whom: the core makes no I/O, and imports run one way."""

import ast
import functools
import re
import subprocess
import sys
from pathlib import Path

import pytest

import claude_lite
import claude_lite_transports

ROOT = Path(__file__).parent.parent
CORE = Path(claude_lite.__file__).parent
TRANSPORTS = Path(claude_lite_transports.__file__).parent

# Each module imports only from modules that stand before it.
ORDER = [
    *("rate_limits", "wire", "errors", "encoding", "model"),
    *("api.__init__", "api.messages.__init__"),
    *("api.messages.content", "api.messages.message", "api.messages.events"),
    *("codec", "responses", "redirects", "scrubbing", "sse"),
    *("api.messages.draft", "api.messages.decoder"),
    *("logs", "retry", "credentials", "elsewhere", "config"),
    *("uploads", "targets", "declaring", "operations"),
    *("api.raw_request", "api.messages.operations"),
    *("exchange", "stream_exchange"),
    *("tokens", "link", "streams", "async_streams", "arrival", "endpoints", "client", "__init__"),
    *("bodies", "pages", "api.batches", "batch_waiting", "api.batch_jobs", "batching"),
    *("api.models", "api.completions", "api.files", "api.organization", "api.workspaces"),
    *("api.reports", "api.skills", "namespaces"),
]

NO_IO = {"asyncio", "socket", "ssl", "http", "urllib.request", "aiohttp", "select", "subprocess"}

# Loaded only where they are needed: dear, or of no use to who does not need them.
LAZY = {
    "wire": {"claude_lite.rate_limits"},
    "errors": {"claude_lite.rate_limits"},
    "model": {"claude_lite.codec"},
    "logs": {"logging", "structlog"},
    "targets": {"urllib.parse"},
    "tokens": {"asyncio"},
    "retry": {"tenacity"},
    "exchange": {"claude_lite.redirects"},
    "codec": {"cattrs.preconf.orjson"},
    "link": {"concurrent.futures.thread", "importlib.metadata"},
    "api.messages.operations": {"claude_lite.api.messages.decoder"},
    "client": {
        *("claude_lite.arrival", "claude_lite.namespaces"),
        *("claude_lite.stream_exchange", "claude_lite.streams", "claude_lite.async_streams"),
    },
    "__init__": {"claude_lite.api.messages"},
    "responses": {"email.utils"},
    "uploads": {"zipfile"},
    "operations": {"claude_lite.namespaces"},
}

# What some transports need of the core beyond `wire` and `errors`, and why.
BEYOND = {
    "emulator": {"emulator", "faults"},  # it is the emulator's
    "faulty": {"faults"},  # it acts out fault scripts around another transport
    "recording.foreign": {"encoding"},  # recordings of other tools may hold compressed bodies
    "recording.har": {"config"},  # a HAR file names its creator's version
    "recording.listing": {"sse"},  # recorded streams are listed event by event
    "pytest_plugin": {"testing"},  # it is for tests
}


@functools.cache
def tree(path):
    """Parse a file, once."""
    return ast.parse(path.read_text())


@functools.cache
def imported(path, *, lazily=False):
    """Name the modules that a file imports: as it is loaded, or within functions."""
    found = set()

    def walk(node, *, within):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            for child in node.orelse:
                walk(child, within=within)
            return
        if within == lazily:
            if isinstance(node, ast.Import):
                found.update(alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                package = node.module == "claude_lite"
                names = [f"claude_lite.{alias.name}" for alias in node.names] if package else []
                found.update(names or [node.module])
        function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for child in ast.iter_child_nodes(node):
            walk(child, within=within or function)

    walk(tree(path), within=False)
    return found


def ours(modules):
    """Pick our own modules, by their names within the package."""
    return {name.partition(".")[2] for name in modules if name.startswith("claude_lite.")}


def file_of(name):
    """Give the file of a module, by its name within the package."""
    return CORE / f"{name.replace('.', '/')}.py"


def fresh(code):
    """Run a program in a fresh interpreter and give its output."""
    done = subprocess.run(  # noqa: S603  # this interpreter
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    return done.stdout.split()


def test_importing_the_package_is_cheap():
    """`import claude_lite` loads no transport, and none of the packages that take long."""
    loaded = set(fresh("import sys, claude_lite; print(*sys.modules)"))
    dear = {"aiohttp", "cattrs", "structlog", "tenacity", "rich", "http.client", "asyncio", "ssl"}
    dear |= {"concurrent.futures", "logging", "urllib.parse"}
    assert not dear & loaded
    assert not [name for name in loaded if name.startswith("claude_lite_transports")]


def test_a_call_that_succeeds_loads_no_more():
    """Success needs neither retry machinery nor logging packages nor the other operations."""
    code = """
import sys
from claude_lite import Client, Response

class Mine:
    def send(self, request):
        return Response(200, {}, b'{"input_tokens": 7}')
    def stream(self, request): ...
    def sleep(self, seconds): ...
    def close(self): ...

client = Client(Mine(), api_key="any")
assert client.messages.count_tokens(model="m", messages=[]).input_tokens == 7
print(*sys.modules)
"""
    loaded = set(fresh(code))
    assert not {"tenacity", "structlog", "cattrs", "asyncio", "importlib.metadata"} & loaded
    assert (
        not {"claude_lite.namespaces", "claude_lite.streams", "claude_lite.api.messages.events"}
        & loaded
    )


def test_events_are_loaded_when_asked_for():
    """The events are among the names of the package before and after one is asked for."""
    code = """
import sys, claude_lite
from claude_lite import codec
names = dir(claude_lite)
assert "claude_lite.api.messages.events" not in sys.modules
from claude_lite import TextDelta
from claude_lite.api.messages.events import TextDelta as same, __all__ as events
assert TextDelta is same
assert sorted(claude_lite._events) == sorted(events)
assert set(claude_lite.__all__) <= set(names) and len(set(names)) == len(names)
assert all(getattr(claude_lite, name) for name in claude_lite.__all__)
assert not hasattr(claude_lite, "Fine")
print("done")
"""
    assert fresh(code) == ["done"]


def test_the_order_names_all_of_the_core():
    """Whatever the package loads by itself is held to these rules."""
    loaded = fresh(
        "import sys, claude_lite.namespaces, claude_lite.async_streams; print(*sys.modules)"
    )
    core = {name.removeprefix("claude_lite.") for name in loaded if name.startswith("claude_lite.")}
    assert core - {"api", "api.messages"} <= set(ORDER)


@pytest.mark.parametrize("name", ORDER)
def test_imports_run_one_way(name):
    """A module of the core imports only what stands before it."""
    before = set(ORDER[: ORDER.index(name)])
    assert ours(imported(file_of(name))) - {"__version__"} <= before


@pytest.mark.parametrize("name", ORDER)
def test_the_core_makes_no_io(name):
    """No module of the core imports an event loop, a socket, TLS or an HTTP client."""
    modules = imported(file_of(name))
    assert not {module for module in modules if module in NO_IO or module.split(".")[0] in NO_IO}


@pytest.mark.parametrize("name", ORDER)
def test_what_is_imported_late(name):
    """Within functions only what is listed here is imported."""
    assert imported(file_of(name), lazily=True) <= LAZY.get(name, set())


@pytest.mark.parametrize("name", ORDER)
def test_the_core_never_sleeps(name):
    """No module of the core calls `time.sleep`, by whatever name it has imported it."""
    for node in ast.walk(tree(file_of(name))):
        if isinstance(node, ast.Attribute):
            assert ast.unparse(node) != "time.sleep"
        elif isinstance(node, ast.ImportFrom) and node.module == "time":
            assert "sleep" not in {alias.name for alias in node.names}


@pytest.mark.parametrize(
    "name",
    sorted(str(path.relative_to(TRANSPORTS))[:-3] for path in TRANSPORTS.rglob("*.py")),
)
def test_transports_know_the_boundary_only(name):
    """Transports import `wire` and `errors` of the core, but for what is listed here."""
    path = TRANSPORTS / f"{name}.py"
    modules = imported(path) | imported(path, lazily=True)
    allowed = {"wire", "errors"} | BEYOND.get(name.replace("/", "."), set())
    assert not [m for m in ours(modules) if not {m, m.partition(".")[0]} & allowed]


def test_nothing_imports_the_folder_of_the_transports():
    """`import transports` would work here, and nowhere else."""
    wrong = re.compile(r"^\s*(import|from) transports\b", re.MULTILINE)
    for folder in (CORE, TRANSPORTS, ROOT / "tests"):
        assert not [path for path in folder.rglob("*.py") if wrong.search(path.read_text())]


def test_the_core_does_not_know_transports():
    """No module of the core imports a transport: they are found by name, or given."""
    for name in ORDER:
        path = file_of(name)
        modules = imported(path) | imported(path, lazily=True)
        assert not {module for module in modules if module.startswith("claude_lite_transports")}
