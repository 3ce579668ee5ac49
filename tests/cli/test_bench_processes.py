"""`claude-lite bench --processes N`: refusals, use of the limit and fairness."""

import json

import pytest

from claude_lite.cli.fleet import jain, merged
from claude_lite.cli.main import main
from claude_lite.emulator import Emulator
from claude_lite.emulator.serving import emulator_server


@pytest.mark.parametrize(
    ("numbers", "index"), [([5, 5, 5], 1.0), ([9, 0, 0], 1 / 3), ([0, 0], 1.0), ([1, 2], 0.9)]
)
def test_fairness(numbers, index):
    """Jain's index is 1 where all have the same, and 1/n where one has all."""
    assert jain(numbers) == pytest.approx(index)


def test_reports_become_one():
    """Counts are added up; the use is that of the bucket that binds."""
    one = {
        "succeeded": 30,
        "failed": {"Overloaded": 1},
        "seconds": 60.0,
        "latencies": [10.0],
        "refused": 2,
        "limits": {"requests": 100, "input_tokens": 1000},
        "held_s": 1.0,
        "input_tokens": 450,
        "output_tokens": 7,
    }
    report = merged([one, {**one, "succeeded": 10, "limits": {}}])
    assert report["succeeded"] == 40
    assert report["failed"] == {"Overloaded": 2}
    assert report["refused_share"] == pytest.approx(4 / 44, abs=1e-5)
    assert report["use_of_the_limit"] == 0.9
    assert report["jain"] == 0.8


@pytest.mark.slow
def test_two_processes_on_one_limit(tmp_path, monkeypatch, capsys):
    """Two processes with governors of their own: each call and each refusal is reported."""
    emulator = Emulator(limits={"requests": 600, "bucket": 1})
    path = tmp_path / "report.json"
    options = ["--processes", "2", "--requests", "15", "--concurrency", "3", "--no-stream"]
    with emulator_server(emulator) as url:
        monkeypatch.setenv("ANTHROPIC_BASE_URL", url)
        monkeypatch.setenv("ANTHROPIC_API_KEY", "k")
        assert main(["bench", *options, "--governor", "local", "--output", str(path)]) == 0
    report = json.loads(path.read_text())
    assert report["processes"] == 2
    assert report["succeeded"] + sum(report["failed"].values()) == 30
    assert report["limits"]["requests"] == 600
    assert report["jain"] > 0.8
    assert report["refused"] == emulator.requests.total - report["succeeded"]
    assert "refused share" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--processes", "2", "--emulator"], "claude-lite serve"),
        (["--governor", "local"], "--processes"),
        (["--processes", "2", "--governor", "nonsense"], "governor"),
        (["--processes", "0"], "--processes"),
    ],
)
def test_options_that_make_no_sense(options, text, capsys, monkeypatch):
    """A mistake is exit code 2 and a line that says what to write; no process is started."""
    monkeypatch.setenv("ANTHROPIC_API_KEY", "k")
    try:
        code = main(["bench", *options])
    except SystemExit as error:
        code = error.code
    assert code == 2
    assert text in capsys.readouterr().err
