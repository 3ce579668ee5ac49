"""The examples do what they say."""

import ast
import asyncio
import importlib.util

import pytest
from places import ROOT
from timing import Stopwatch

from claude_lite.testing import ASYNC_CASES, check_async_transport
from claude_lite.testing.conformance.loopback import LoopbackServer, reply
from claude_lite.wire import ERROR_BODY_SECONDS, Request

EXAMPLES = ROOT / "examples"


def load(name):
    """Import an example."""
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


httpx_transport = load("httpx_transport")


@pytest.mark.slow
@pytest.mark.parametrize("case", [case for case in ASYNC_CASES if not case.strict], ids=str)
def test_the_httpx_transport_conforms(case):
    """A transport that somebody might write in an hour passes all that is not strict."""
    check_async_transport(httpx_transport.HttpxTransport, case)


@pytest.mark.parametrize("cut", [reply(b"no", "Retry-After: 9", status="429 No", length=99), b""])
def test_the_httpx_transport_lets_the_status_decide(cut):
    """An error whose body is cut or stalls has its status and headers, after a second at most."""
    whole = cut or reply(b"no", "Retry-After: 9", status="429 No", length=99)

    def script(peer):
        while peer.request():
            peer.send(whole)
            if cut:
                return
            peer.gone(5.0)

    async def check():
        transport = httpx_transport.HttpxTransport()
        try:
            return await transport.send(Request("GET", server.url(""), {}))
        finally:
            await transport.close()

    with LoopbackServer(script) as server:
        watch = Stopwatch()
        response = asyncio.run(check())
    assert (response.status, response.headers["retry-after"], response.body) == (429, "9", b"no")
    assert watch.seconds < 2 * ERROR_BODY_SECONDS


def test_the_httpx_transport_is_short():
    """It takes fewer than 70 lines of code, docstrings and imports not counted."""
    source = (EXAMPLES / "httpx_transport.py").read_text()
    tree = ast.parse(source)
    docstrings = [node for node in ast.walk(tree) if isinstance(node, ast.Expr)]
    apart = [
        line
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        or (node in docstrings and isinstance(node.value, ast.Constant))
        for line in range(node.lineno, node.end_lineno + 1)
    ]
    lines = [
        line
        for number, line in enumerate(source.splitlines(), 1)
        if line.strip() and not line.strip().startswith("#") and number not in apart
    ]
    assert len(lines) < 70
