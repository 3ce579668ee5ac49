"""The examples do what they say."""

import ast
import importlib.util

import pytest
from places import ROOT

from claude_lite.testing import ASYNC_CASES, check_async_transport

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


def test_the_httpx_transport_is_short():
    """It takes fewer than 60 lines of code, docstrings and imports not counted."""
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
    assert len(lines) < 60
