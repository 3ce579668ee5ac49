"""Who imports whom: imports run down the floors, in no circle, and the core makes no I/O.

Every kind of import counts: at the top of a module, within a function, for type checkers only.
"""

import ast
import functools
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest
from places import ROOT

import claude_lite
import claude_lite_transports

PACKAGES = {
    package.__name__: Path(package.__file__).parent
    for package in (claude_lite, claude_lite_transports)
}

# The floors, from the ground up. A room may import what it names, and all that these may.
FLOORS = {
    "wire": set(),
    "errors": {"wire"},
    "core": {"errors"},
    "faults": {"errors"},
    "api": {"core"},
    "dialects": {"core"},
    "emulator": {"faults"},
    "client": {"api"},
    "transports": {"errors"},
    "testing": {"client", "emulator", "transports"},
    "bulk": {"client"},
    "cli": {"bulk", "dialects", "testing"},
    "": {"bulk", "dialects", "testing"},  # the face of the package
}

# What transports need beyond the boundary, and why.
BEYOND = {
    ("transports.emulator", "emulator"),  # it is the emulator's
    ("transports.emulator", "faults"),  # it acts out what the emulator's replies hold
    ("transports.faulty", "faults"),  # it acts out fault scripts around another transport
    ("transports.recording.foreign", "core.encoding"),  # other tools' recordings are compressed
    ("transports.recording.har", "core.targets"),  # a HAR file names its creator's version
    ("transports.recording.listing", "core.sse"),  # recorded streams are listed event by event
}

# Rooms within a folder, from the ground up.
EMULATOR = ("reply", "ledger", "reading", "answers", "state", "routes", "service", "serving")

NO_IO = {"asyncio", "socket", "ssl", "http", "urllib.request", "aiohttp", "select", "subprocess"}


def room(name):
    """Give the name of a module as the floors have it."""
    package, _, rest = name.partition(".")
    if package == "claude_lite_transports":
        return f"transports.{rest}".rstrip(".")
    return rest


@functools.cache
def modules():
    """Give the files of all modules, by name."""
    found = {}
    for package, folder in PACKAGES.items():
        for path in folder.rglob("*.py"):
            parts = path.relative_to(folder).with_suffix("").parts
            found[".".join((package, *parts)).removesuffix(".__init__")] = path
    return found


@functools.cache
def tree(path):
    """Parse a file, once."""
    return ast.parse(path.read_text())


@functools.cache
def imports(path):
    """List what a file imports: (module, whether within a function, whether for types only)."""
    found = []

    def walk(node, *, late, typing):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            for child in node.body:
                walk(child, late=late, typing=True)
            for child in node.orelse:
                walk(child, late=late, typing=typing)
            return
        if isinstance(node, ast.Import):
            found.extend((alias.name, late, typing) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: a relative import"
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                found.append((full if full in modules() else node.module, late, typing))
        function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for child in ast.iter_child_nodes(node):
            walk(child, late=late or function, typing=typing)

    walk(tree(path), late=False, typing=False)
    return found


def arrows(*, face=False):
    """Give the imports among our own modules; those of the package's face only if asked for."""
    found = defaultdict(set)
    for name, path in modules().items():
        if name == "claude_lite" and not face:
            continue
        found[name] = {to for to, _, _ in imports(path) if to in modules() and to != name}
    return found


@functools.cache
def allowed(floor):
    """Name the floors that *floor* may import."""
    return set().union(FLOORS[floor], *map(allowed, FLOORS[floor]))


def exception(name, to):
    """Give the listed exception that this import is, if it is one."""
    for one in BEYOND:
        if room(name) == one[0] and f"{room(to)}.".startswith(f"{one[1]}."):
            return one
    return None


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


def test_every_module_has_a_floor():
    """There is no folder and no file beside those that the table of floors names."""
    assert {room(name).partition(".")[0] for name in modules()} == FLOORS.keys()
    beside = {path.name for path in PACKAGES["claude_lite"].glob("*.*")}
    assert beside == {"__init__.py", "wire.py", "errors.py", "py.typed"}


def test_imports_run_down_the_floors():
    """No module imports from a floor above its own, nor another room of its own floor."""
    wrong = []
    for name, found in arrows(face=True).items():
        floor = room(name).partition(".")[0]
        for to in found:
            other = room(to).partition(".")[0]
            if other not in {floor, *allowed(floor)} and not exception(name, to):
                wrong.append(f"{name} -> {to}")
    assert wrong == []


def test_each_exception_is_used():
    """What is listed as an exception is one."""
    used = {exception(name, to) for name, found in arrows().items() for to in found}
    assert used - {None} == BEYOND


def test_there_is_no_circle():
    """No module is imported, directly or not, by a module that it imports."""
    found = arrows()
    done, path = set(), []

    def visit(name):
        if name in done:
            return
        assert name not in path, " -> ".join([*path[path.index(name) :], name])
        path.append(name)
        for to in sorted(found[name]):
            visit(to)
        done.add(path.pop())

    for name in sorted(found):
        visit(name)


def test_the_emulator_is_built_floor_by_floor():
    """Within the emulator a folder imports only those below it."""
    for name, found in arrows().items():
        parts = name.split(".")
        if parts[:2] != ["claude_lite", "emulator"] or len(parts) == 2:
            continue
        for to in found:
            if to.startswith("claude_lite.emulator."):
                assert EMULATOR.index(to.split(".")[2]) <= EMULATOR.index(parts[2]), (name, to)


GROUND = [
    name
    for name in modules()
    if room(name).partition(".")[0] in {"wire", "errors", "core", "api", "client"}
]


@pytest.mark.parametrize("name", GROUND)
def test_the_core_makes_no_io(name):
    """No module that is the library imports an event loop, a socket, TLS or an HTTP client.

    The one exception: tokens are waited for on the caller's own loop.
    """
    found = {module for module, _, _ in imports(modules()[name])}
    if name == "claude_lite.client.tokens":
        found -= {"asyncio"}
    assert not {module for module in found if module in NO_IO or module.split(".")[0] in NO_IO}


@pytest.mark.parametrize("name", GROUND)
def test_the_core_never_sleeps(name):
    """No module that is the library calls `time.sleep`, by whatever name it has imported it."""
    for node in ast.walk(tree(modules()[name])):
        if isinstance(node, ast.Attribute):
            assert ast.unparse(node) != "time.sleep"
        elif isinstance(node, ast.ImportFrom) and node.module == "time":
            assert "sleep" not in {alias.name for alias in node.names}


def test_nothing_imports_the_folder_of_the_transports():
    """`import transports` would work here, and nowhere else."""
    wrong = re.compile(r"^\s*(import|from) transports\b", re.MULTILINE)
    for folder in (*PACKAGES.values(), ROOT / "tests"):
        assert not [path for path in folder.rglob("*.py") if wrong.search(path.read_text())]
