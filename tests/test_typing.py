"""The types that callers see: `assert_type` and deliberate mistakes, by mypy (CI adds pyright)."""

import ast
import subprocess
import sys

import pytest
from places import ROOT

FILES = sorted((ROOT / "tests" / "typing").glob("*.py"))


@pytest.mark.slow
def test_mypy_agrees():
    """Strict mypy finds each deliberate mistake, nothing else, and the types that are asserted."""
    command = [
        *(sys.executable, "-m", "mypy", "--strict", "--warn-unused-ignores"),
        *("--follow-imports=silent", "--cache-dir=.mypy_cache/typing", "tests/typing"),
    ]
    done = subprocess.run(  # noqa: S603  # this interpreter
        command, capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_mistakes_are_checked_by_both(path):
    """Where errors are ignored, each names its code, and pyright is told to miss none either."""
    text = path.read_text()
    ignored = [line for line in text.splitlines() if "# type: ignore" in line]
    assert all("# type: ignore[" in line for line in ignored)
    assert not ignored or "# pyright: reportUnnecessaryTypeIgnoreComment=true" in text
    assert ast.get_docstring(ast.parse(text))
