"""What the documentation shows is true: its Python runs, its commands and files exist."""

import re
import shlex

import pytest
import structlog
from places import ROOT

from claude_lite import __all__ as exported
from claude_lite import errors
from claude_lite.cli.main import parser
from claude_lite.emulator import Emulator
from claude_lite.emulator.serving import emulator_server

PAGES = [ROOT / "README.md", *sorted(ROOT.glob("docs/**/*.md"))]
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def blocks(*languages):
    """List the blocks in some languages: page, line, and text."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for found in FENCE.finditer(text):
            if found[1] in languages:
                line = text.count("\n", 0, found.start(2)) + 1
                yield pytest.param(line, found[2], id=f"{page.name}:{line}")


def commands():
    """List the lines of shell."""
    for block in blocks("sh", "console", "bash"):
        line, text = block.values
        for number, command in enumerate(text.splitlines()):
            yield pytest.param(command, id=f"{block.id.partition(':')[0]}:{line + number}")


@pytest.fixture(scope="module")
def url():
    """Serve the API, and give its URL."""
    with emulator_server(Emulator(api_keys=["documented"])) as url:
        yield url


@pytest.mark.parametrize(("line", "text"), [*blocks("python")])
def test_a_block_of_python_runs(line, text, url, tmp_path, monkeypatch):
    """Pasted into a file of its own, with a key and a server, it does what it says."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ANTHROPIC_BASE_URL", url)
    monkeypatch.setenv("ANTHROPIC_API_KEY", "documented")
    for name in ("ANTHROPIC_AUTH_TOKEN", "CLAUDE_LITE_RECORD", "CI"):
        monkeypatch.delenv(name, raising=False)
    placed = "\n" * (line - 1) + text  # so that a traceback names the line of the page
    try:
        exec(compile(placed, "README.md", "exec"), {"__name__": "__main__"})  # noqa: S102  # our own page
    finally:
        structlog.reset_defaults()


@pytest.mark.parametrize("command", [*commands()])
def test_a_command_exists(command, capsys):
    """Its options are those of the command line, its targets those of the Makefile."""
    program, *args = shlex.split(command, comments=True)
    if program == "claude-lite":
        assert parser().parse_args(args).command
    elif program == "make":
        makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
        assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in args)
    elif program == "python":
        assert (ROOT / args[0]).is_file()
    else:
        installed = {"pip install claude-lite", 'pip install "claude-lite[fast]"'}
        assert command.partition("  #")[0] in installed


def test_the_table_of_errors_is_complete():
    """Every leaf of the tree is in the README's table, and nothing else is."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    section = text.partition("## Errors")[2].partition("\n## ")[0]
    first_cells = [row.split("|")[1] for row in section.splitlines() if row.startswith("| `")]
    named = set(re.findall(r"`(\w+)`", " ".join(first_cells)))
    inner = {"ClaudeError", "TransportError", "APIError"}
    assert named == set(errors.__all__) - inner


def test_names_that_the_readme_imports_are_public():
    """Whatever it imports from `claude_lite` itself is in `__all__`."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for names in re.findall(r"^from claude_lite import (.+)$", text, re.MULTILINE):
        assert set(names.split(", ")) <= set(exported)
