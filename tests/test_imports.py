"""Who imports whom: imports run down the floors, in no circle, and the core makes no I/O.

Every kind of import counts: at the top of a module, within a function, for type checkers only.
"""

import ast
import functools
import re
import subprocess
import sys
from collections import defaultdict
from importlib import import_module
from pathlib import Path

import pytest
from house import LIBRARY, MOST_OF_A_MODULE, MOST_OF_THE_LIBRARY, code_lines, size
from places import ROOT

import claude_lite
import claude_lite_transports
from claude_lite.client.link import LAZY_MODULES

PACKAGES = {
    package.__name__: Path(package.__file__).parent
    for package in (claude_lite, claude_lite_transports)
}

# The floors, from the ground up. A room may import what it names, and all that these may.
FLOORS = {
    "wire": set(),
    "given": set(),
    "errors": {"wire", "given"},
    "core": {"errors"},
    "faults": {"errors"},
    "api": {"core"},
    "batching": {"api"},
    "dialects": {"core"},
    "emulator": {"faults"},
    "governor": {"core"},
    "client": {"batching", "governor"},
    "transports": {"errors"},
    "testing": {"client", "emulator", "transports"},
    "bulk": {"client"},
    "jobs": {"client"},
    "cli": {"bulk", "dialects", "testing"},
    "": {"bulk", "dialects", "jobs", "testing"},  # the face of the package
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


GROUND_FLOORS = {"wire", "given", "errors", "core", "api", "batching", "client"}
GROUND = [name for name in modules() if room(name).partition(".")[0] in GROUND_FLOORS]


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


@pytest.mark.parametrize("name", modules())
def test_no_module_is_long(name):
    """No module has over 350 lines of code: neither blank, nor comment, nor docstring."""
    assert size(modules()[name]) <= MOST_OF_A_MODULE


def test_lines_of_code_are_counted():
    """Blank lines, comments and docstrings are no code; each line of a text or a call is."""
    source = '"""Title.\n\nMore."""\n\n# why\nX = f(\n    1,  # one\n)\n"""About X."""\n'
    assert code_lines(source) == 3
    assert code_lines('def f():\n    """Say."""\n    return """a\nb"""\n') == 3


def test_the_library_is_small():
    """Wire, errors, core and client together have at most 4,300 lines of code."""
    folders = {name.removesuffix(".py") for name in LIBRARY}
    found = [path for name, path in modules().items() if room(name).partition(".")[0] in folders]
    assert sum(map(size, found)) <= MOST_OF_THE_LIBRARY


# Late imports


def late_imports():
    """Give what the library imports within functions: pairs of a module and what it imports."""
    return {
        (room(name), module)
        for name in GROUND
        for module, late, typing in imports(modules()[name])
        if late and not typing
    }


# Late imports that `LAZY_MODULES` does not have, and why none of them happens in a call.
EXCUSED = {
    ("client.tokens", "asyncio"),  # a coroutine that waits for a token has a loop already
    ("client.link", "importlib.metadata"),  # imported with the first client, too
    ("client.link", "logging"),  # imported with the first client, too
    ("core.logs", "logging"),  # used only if another module has loaded it
    ("core.logs", "structlog"),  # used only if another module has loaded it
    ("core.retry", "tenacity"),  # imported with a policy that has a function
    ("core.structure", "cattrs.preconf.orjson"),  # for callers' own hooks; no call imports it
}
# Entries of `LAZY_MODULES` that no import statement of the library names.
NAMED_ONLY = {"encodings.cp437", "encodings.utf_16_le", "urllib.request"}


def test_what_is_imported_late():
    """A client loads all that the functions of the library import, but for what is excused.

    `tests/client/test_late_imports.py` makes calls, and finds none that imports.
    """
    # The loader of `claude_lite.api` runs for `Operation.from_dict` and the face, in no call.
    found = {(name, module) for name, module in late_imports() if name != "api"}
    assert found >= EXCUSED
    assert {module for _, module in found - EXCUSED} | NAMED_ONLY == set(LAZY_MODULES)


# The face of the package

SLOW_TO_IMPORT = {
    *("aiohttp", "asyncio", "cattrs", "concurrent.futures", "decimal", "http.client", "httptools"),
    *("importlib.metadata", "logging", "orjson", "rich", "ssl", "structlog", "tenacity"),
    *("email.utils", "urllib.parse", "urllib.request", "zipfile"),
}
SUCCESS = """
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


def test_importing_the_package_is_cheap():
    """`import claude_lite` loads no transport, and no package that is slow to import."""
    loaded = set(fresh("import sys, claude_lite; print(*sys.modules)"))
    assert not SLOW_TO_IMPORT & loaded
    assert not [name for name in loaded if name.startswith("claude_lite_transports")]
    ours = {name for name in loaded if name.startswith("claude_lite")}
    assert ours == {
        *("claude_lite", "claude_lite.api"),
        "claude_lite.core",
        "claude_lite.core.registry",
    }


def test_a_sync_client_loads_no_event_loop():
    """A sync client loads no event loop, and no package that only some callers need."""
    assert not {"asyncio", "cattrs", "structlog", "tenacity"} & set(fresh(SUCCESS))


def test_a_name_is_loaded_when_asked_for():
    """The events are not loaded with the package, and `from claude_lite import` loads them."""
    code = """
import sys, claude_lite
import claude_lite.core.structure
assert "claude_lite.api.messages.events" not in sys.modules
from claude_lite import TextDelta
from claude_lite.api.messages.events import TextDelta as same
assert TextDelta is same
assert "TextDelta" in vars(claude_lite)
assert not hasattr(claude_lite, "Fine")
print("done")
"""
    assert fresh(code) == ["done"]


def public_modules():
    """Give the modules whose `__all__` is public, as the face of the package lists them."""
    return [import_module(f"claude_lite.{name}") for name in claude_lite._WHERE]


def test_every_public_name_can_be_imported():
    """`from claude_lite import NAME` gives what the module that declares the name has."""
    for module in public_modules():
        for name in module.__all__:
            assert getattr(claude_lite, name) is getattr(module, name), name
    assert claude_lite.__all__ == sorted({n for m in public_modules() for n in m.__all__})


def test_names_are_listed():
    """`dir(claude_lite)` has every public name once, and nothing that cannot be had."""
    names = dir(claude_lite)
    assert set(claude_lite.__all__) <= set(names)
    assert len(set(names)) == len(names)
    assert all(hasattr(claude_lite, name) for name in names)


def test_a_public_name_means_one_thing():
    """No name is in the `__all__` of two modules, unless both have the same object."""
    found = {}
    for module in public_modules():
        for name in module.__all__:
            assert found.setdefault(name, getattr(module, name)) is getattr(module, name), name


def test_the_face_forgets_no_module():
    """Each module of the library that has an `__all__` is among those that the face asks."""
    declaring = {
        room(name)
        for name in GROUND
        if any(
            isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
            for node in tree(modules()[name]).body
        )
    }
    folders = {room(name) for name, path in modules().items() if path.name == "__init__.py"}
    assert declaring - folders == set(claude_lite._WHERE)


def test_type_checkers_see_the_same_names():
    """The face imports for type checkers from the modules that it asks when a program runs."""
    face = imports(modules()["claude_lite"])
    assert {room(name) for name, _, typing in face if typing and name in modules()} == set(
        claude_lite._WHERE
    )
