"""The names of aiohttp and asyncio that are not promised: all are listed, used, and checked."""

import ast
import re
import subprocess
import sys
import textwrap
from functools import cache
from pathlib import Path

import aiohttp
import pytest

import claude_lite_transports
from claude_lite_transports.shared.private_names import (
    AIOHTTP,
    ASYNCIO,
    NEWER_AIOHTTP,
    TESTED,
    exists,
    missing_names,
)

FOLDER = Path(claude_lite_transports.__file__).parent

# The classes that our variables are of, where they hold objects of aiohttp's.
HOLDS = {
    "protocol": "aiohttp.client_proto:ResponseHandler",
    "content": "aiohttp.streams:StreamReader",
    "connection": "aiohttp.connector:Connection",
    "connector": "aiohttp.connector:BaseConnector",
    "to": "aiohttp.client_reqrep:ClientRequest",
    "req": "aiohttp.client_reqrep:ClientRequest",
    "message": "aiohttp.http:RawResponseMessage",
}

# The classes of ours that extend one of aiohttp's.
EXTENDS = {
    "Handler": "aiohttp.client_proto:ResponseHandler",
    "Connector": "aiohttp.connector:TCPConnector",
    "Origin": "aiohttp.client_reqrep:ClientRequest",
}

# What aiohttp's documentation has, or what a listed class is made of.
DOCUMENTED = {
    *(f"aiohttp.streams:StreamReader.{name}" for name in ("exception", "is_eof", "read_nowait")),
    *(f"aiohttp.connector:Connection.{name}" for name in ("close", "release", "transport")),
    "aiohttp.connector:Connection.add_callback",
    *(f"aiohttp.connector:BaseConnector.{name}" for name in ("close", "closed")),
    "aiohttp.connector:TCPConnector.close",
    *(
        f"aiohttp.connector:TCPConnector.__init__({name})"
        for name in ("limit", "keepalive_timeout", "force_close", "resolver", "use_dns_cache")
    ),
    "aiohttp.abc:AbstractResolver",
    *(f"aiohttp.http:RawResponseMessage.{name}" for name in ("code", "headers", "raw_headers")),
}
OURS = {"is_idle", "tcp", "credential", "bury"}
LISTED = {**AIOHTTP, **NEWER_AIOHTTP}


@cache
def trees():
    """Parse the modules of the transport."""
    return {path.name: ast.parse(path.read_text()) for path in (FOLDER / "aiohttp").glob("*.py")}


def nodes(*kinds):
    """Yield the nodes of these kinds in the modules of the transport."""
    for tree in trees().values():
        yield from (node for node in ast.walk(tree) if isinstance(node, kinds))


def own_names():
    """Name the private attributes that our own classes have."""
    found = set()
    for cls in nodes(ast.ClassDef):
        for part in cls.body:
            if isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef):
                found.add(part.name)
            elif isinstance(part, ast.AnnAssign):
                found.add(part.target.id)
            if isinstance(part, ast.FunctionDef) and part.name == "__init__":
                stored = (n for n in ast.walk(part) if isinstance(n, ast.Attribute))
                found |= {n.attr for n in stored if isinstance(n.ctx, ast.Store)}
    return found


def holder(node):
    """Give the class of aiohttp's that a variable or an attribute holds, by its name."""
    name = getattr(node, "attr", None) or getattr(node, "id", "")
    return HOLDS.get(name.lstrip("_"))


def listed(name):
    """Tell whether a name, or a parameter of that name, is in the list, or is documented."""
    owner, _, attribute = name.partition(".") if ":" not in name else name.rpartition(".")
    bases = {"aiohttp.connector:TCPConnector": "aiohttp.connector:BaseConnector"}
    names = {name, f"{bases.get(owner, owner)}.{attribute}"}
    return any(
        one in LISTED or one in DOCUMENTED or any(key.startswith(f"{one}(") for key in LISTED)
        for one in names
    )


def test_all_are_there():
    """The aiohttp and the Python that run this test have all the names that are needed."""
    assert missing_names(AIOHTTP) == missing_names(ASYNCIO) == []


def test_each_has_a_reason():
    """No name is listed without a word on what it is for."""
    assert all(len(reason.split()) > 2 for reason in (LISTED | ASYNCIO).values())


def test_imports_are_listed():
    """What is imported from within aiohttp, for types too, is in the list."""
    for node in nodes(ast.ImportFrom):
        if node.module.startswith("aiohttp."):
            for alias in node.names:
                name = f"{node.module}:{alias.name}"
                assert any(key.split(".__")[0].startswith(name) for key in LISTED), name


def test_attributes_of_what_aiohttp_gave_are_listed():
    """What is asked of a connection, a body, a head or a server is in the list, or documented."""
    found = {
        f"{holder(node.value)}.{node.attr}"
        for node in nodes(ast.Attribute)
        if holder(node.value) and node.attr not in OURS
    }
    assert len(found) > 25
    assert {name for name in found if not listed(name)} == set()


def test_private_attributes_are_listed():
    """An attribute that begins with an underscore is our own class's, or it is in the list."""
    private = {node.attr for node in nodes(ast.Attribute) if re.match("_[^_]", node.attr)}
    known = {key.rpartition(".")[2] for key in LISTED}
    assert private - own_names() - known == set()


def test_overridden_methods_are_listed():
    """What our classes override, and what they use of themselves, is in the list."""
    found = set()
    for cls in nodes(ast.ClassDef):
        if cls.name in EXTENDS:
            owner = EXTENDS[cls.name]
            methods = (ast.FunctionDef, ast.AsyncFunctionDef)
            names = {part.name for part in cls.body if isinstance(part, methods)}
            names |= {
                node.attr
                for node in ast.walk(cls)
                if isinstance(node, ast.Attribute)
                and ast.unparse(node.value) in ("self", "super()")
            }
            theirs = {name for name in names if exists(f"{owner}.{name}")}
            found |= {f"{owner}.{name}" for name in theirs if not name.startswith("__")}
    assert {name for name in found if not listed(name)} == set()


def test_parameters_are_listed():
    """What is passed by name to what is not documented is in the list."""
    found = set()
    for cls in nodes(ast.ClassDef):
        for node in ast.walk(cls):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "super().__init__":
                owner = EXTENDS.get(cls.name)
                found |= {f"{owner}.__init__({word.arg})" for word in node.keywords if word.arg}
    for node in nodes(ast.Call):
        if getattr(node.func, "attr", "") == "set_response_params":
            owner = f"{EXTENDS['Handler']}.set_response_params"
            found |= {f"{owner}({word.arg})" for word in node.keywords if word.arg}
    assert len(found) > 10
    assert found - LISTED.keys() - DOCUMENTED == set()


def test_each_is_used():
    """No name is listed that the transport does without."""
    used = {node.attr for node in nodes(ast.Attribute)}
    used |= {node.arg for node in nodes(ast.keyword)}
    used |= {node.value for node in nodes(ast.Constant) if isinstance(node.value, str)}
    used |= {alias.name for node in nodes(ast.ImportFrom) for alias in node.names}
    used |= {node.name for node in nodes(ast.FunctionDef, ast.AsyncFunctionDef)}
    assert {key for key in LISTED if re.split(r"[.:(]", key.rstrip(")"))[-1] not in used} == set()
    shared = (FOLDER / "shared" / "per_loop.py").read_text()
    assert {key for key in ASYNCIO if f'"{key.rpartition(".")[2]}"' not in shared} == set()


def test_asyncio_is_otherwise_used_as_documented():
    """No other module asks asyncio, or anything, for a private attribute of another class."""
    for path in FOLDER.rglob("*.py"):
        if path.parent.name == "aiohttp":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and re.match("_[^_]", node.attr):
                assert ast.unparse(node.value) in ("self", "new"), (path, ast.unparse(node))
            if isinstance(node, ast.ImportFrom):
                assert not node.module.startswith("asyncio."), path


class Thing:
    """A class to look for names in."""

    there = 0

    def __init__(self):
        self.given = 2

    def method(self, one, *, two):
        """Take two parameters, and use a variable."""
        three = one + two
        self.later = three


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("Thing", True),
        ("Thing.there", True),
        ("Thing.given", True),
        ("Thing.later", True),
        ("Thing.method", True),
        ("Thing.method(one)", True),
        ("Thing.method(two)", True),
        ("Nothing", False),
        ("Nothing.at_all", False),
        ("Thing.missing", False),
        ("Thing.method(three)", False),
        ("Thing.missing(one)", False),
    ],
)
def test_looking_for_a_name(path, expected):
    """A class, what its instances have, and the parameters of its methods are found."""
    assert exists(f"{__name__}:{path}") is expected
    assert not exists(f"no.such.module:{path}")


def run(code):
    """Run a program in a fresh interpreter and give its output."""
    done = subprocess.run(  # noqa: S603  # this interpreter
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": ":".join(filter(None, sys.path))},
    )
    return done.stdout


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ("del ResponseHandler.start_timeout", "ResponseHandler.start_timeout"),
        ("ResponseHandler.set_response_params = lambda self: 0", "params(read_bufsize)"),
        ("sys.modules['aiohttp.http'] = None", "aiohttp.http:StreamWriter"),
        ("del aiohttp.client_proto.ResponseHandler", "aiohttp.client_proto:ResponseHandler._eof"),
    ],
)
@pytest.mark.slow
def test_a_missing_name_of_aiohttp(change, name):
    """The error says which name of which version is missing, and what to do about it."""
    said = run(f"""
        import sys
        import aiohttp
        from aiohttp.client_proto import ResponseHandler
        from claude_lite.errors import UsageError
        {change}
        try:
            from claude_lite_transports.aiohttp import AiohttpTransport
        except UsageError as error:
            print(error)
    """)
    assert said.startswith(f"aiohttp {aiohttp.__version__} has no aiohttp.")
    assert name in said
    for advice in ("Pin aiohttp to a version from 3.12.15 to", 'transport="asyncio"', "report it"):
        assert advice in said


def test_a_missing_name_of_asyncio():
    """Both transports on event loops say that it is Python's; the blocking one does not care."""
    said = run("""
        import asyncio.sslproto
        import sys
        from claude_lite.errors import UsageError
        from claude_lite_transports.urllib import UrllibTransport
        asyncio.sslproto._SSLProtocolTransport = None
        sys.modules["httptools"] = sys  # it need not be installed
        UrllibTransport()
        for make in (
            lambda: __import__("claude_lite_transports.aiohttp"),
            lambda: __import__("claude_lite_transports.asyncio").asyncio.AsyncioTransport(),
        ):
            try:
                make()
            except UsageError as error:
                print(error)
    """)
    version = sys.version.split()[0]
    name = "asyncio.sslproto:_SSLProtocolTransport._ssl_protocol"
    assert said.count(f"Python {version} has no {name}") == 2
    assert 'transport="urllib"' in said


def test_the_oldest_version_is_the_one_that_is_allowed():
    """What the advice calls the oldest version is what the package requires."""
    project = (Path(__file__).parent.parent.parent / "pyproject.toml").read_text()
    assert f'"aiohttp>={TESTED[0]},<4"' in project
