"""The benchmarks run, and their report has what it should. No figure is judged here."""

import json
import subprocess
import sys
import xml.etree.ElementTree as ET

import pytest
from places import ROOT

KEYS = [
    *("unary 1", "unary 32", "unary 256", "large 32"),
    *("stream burst", "stream trickle", "stream whole", "stream 500", "storm"),
    *("offline roundtrip small", "offline roundtrip large", "offline stream raw"),
    *("offline stream whole", "offline tool", "offline line 32 MB", "exchange", "linear"),
    *("2000 cpu", "2000 memory"),
    *("flat claude_lite aiohttp", "flat claude_lite asyncio", "flat aiohttp + json"),
    *("sync 1", "sync 32", "recording", "logging"),
    *("import", "import sdk", "construct", "construct memory"),
]
OPTIONAL = ("claude_lite asyncio", "asyncio uvloop", "uvloop", "anthropic", "openai", "litellm")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (ROOT / "benchmarks").is_dir(), reason="benchmarks are not part of what is installed"
    ),
]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Run the smoke test once, and give the folder of its reports."""
    folder = tmp_path_factory.mktemp("benchmarks")
    command = [sys.executable, "-m", "benchmarks.run", "--quick", "--output", str(folder)]
    ended = subprocess.run(  # noqa: S603  # our own module
        command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    return folder


def test_all_rows_are_there(written):
    """A quick run measures every row of the table, and says on what machine and when."""
    made = json.loads((written / "results.json").read_text())
    assert [row["key"] for row in made["rows"]] == KEYS
    assert made["about"].keys() >= {"date", "machine", "python", "versions"}


def test_only_what_is_not_installed_is_skipped(written):
    """By-hand peers and ours are measured in each row; who is missing is skipped with a reason."""
    made = json.loads((written / "results.json").read_text())
    for row in made["rows"]:
        for peer in row["peers"]:
            if "skipped" in peer:
                assert peer["skipped"]
                assert any(name in peer["peer"] for name in OPTIONAL), (row["key"], peer)
            else:
                assert peer["value"]["min"] <= peer["value"]["median"] <= peer["value"]["max"]


def test_the_table_and_the_chart_name_the_same_rows(written):
    """The Markdown has a heading for each row, and the chart is well-formed SVG."""
    made = json.loads((written / "results.json").read_text())
    table = (written / "results.md").read_text()
    for row in made["rows"]:
        assert f"## {row['title'][:1].upper()}{row['title'][1:]}\n" in table
    chart = ET.fromstring((written / "results.svg").read_text())  # noqa: S314  # our own
    assert "claude_lite aiohttp" in {text.text for text in chart.findall(".//{*}text")}
