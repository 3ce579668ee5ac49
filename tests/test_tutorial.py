"""The tutorial in docs/testing.md: its files, taken out of it, are recorded and replayed."""

import re

import pytest
from places import ROOT

from claude_lite.emulator.serving import emulator_server
from claude_lite.testing import CASES

pytest_plugins = ["pytester"]

PAGE = ROOT / "docs/testing.md"
FILE = re.compile(r'^```python title="([\w.]+)"\n(.*?)^```$', re.DOTALL | re.MULTILINE)
PLUGIN = "-pclaude_lite.testing.pytest_plugin"


@pytest.fixture
def project(pytester, monkeypatch):
    """Write the files of the tutorial, with no key in the environment."""
    for name in ("CI", "CLAUDE_LITE_RECORD", "ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    for name in ("PYTEST_ADDOPTS", "ANTHROPIC_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    for name, text in FILE.findall(PAGE.read_text(encoding="utf-8")):
        (pytester.path / name).write_text(text, encoding="utf-8")
    pytester.syspathinsert()
    return pytester


def test_the_tutorial_can_be_followed(project, monkeypatch):
    """As it stands: a miss, a recording with a key, and replays that need neither key nor API."""
    result = project.runpytest_inprocess(PLUGIN, "-Werror", "test_service.py")
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(["*CassetteMiss: no recorded answer to POST /v1/messages in *"])
    with emulator_server() as url, monkeypatch.context() as patch:
        patch.setenv("ANTHROPIC_BASE_URL", url)
        patch.setenv("ANTHROPIC_API_KEY", "sk-ant-canary-0123456789")
        files = "test_service.py", "test_settings.py"
        result = project.runpytest_inprocess(PLUGIN, "-Werror", "--claude-record=once", *files)
        result.assert_outcomes(passed=3)
    found = sorted(str(p.relative_to(project.path)) for p in project.path.rglob("*.json"))
    assert found == [
        "cassettes/shared/whales.json",
        "cassettes/test_service/test_stream_summary.json",
        "cassettes/test_service/test_summarise.json",
    ]
    assert not any("canary" in (project.path / name).read_text() for name in found)
    assert "Acme Corp" not in (project.path / found[0]).read_text()
    result = project.runpytest_inprocess(PLUGIN, "-Werror", "-k", "not conformance")
    result.assert_outcomes(passed=5, deselected=len(CASES))


def test_every_file_of_it_is_python():
    """Nothing with a title is left out, and all of it compiles."""
    files = FILE.findall(PAGE.read_text(encoding="utf-8"))
    assert len(files) == PAGE.read_text(encoding="utf-8").count(" title=")
    for name, text in files:
        compile(text, name, "exec")
