"""`claude-lite bench`: what it counts, what it says of itself, and how it ends."""

import asyncio
import json
import os
import pty
import re
import signal
from contextlib import contextmanager

import pytest

from claude_lite.cli import bench
from claude_lite.cli.bench import Figures, measure, percentiles
from claude_lite.cli.main import main, parser
from claude_lite.client import AsyncClient
from claude_lite.core.retry import never
from claude_lite.emulator import Emulator
from claude_lite.testing.conformance.loopback import LoopbackServer
from claude_lite_transports.emulator import AsyncEmulatorTransport


def measured(faults=None, *, prompt="Hello", max_tokens=64, **options):
    """Measure an emulator, and give the figures."""
    messages = [{"role": "user", "content": prompt}]
    params = {"model": "claude-sonnet-5-5", "max_tokens": max_tokens, "messages": messages}
    figures = Figures()
    transport = AsyncEmulatorTransport(Emulator(0, faults=faults))
    client = AsyncClient(transport, api_key="k", base_url="http://emulator", retry=never())
    asyncio.run(measure(client, params, figures, **options))
    figures.take_time()
    return figures


def test_percentiles_by_nearest_rank():
    """A percentile is one of the values; of none there are none."""
    expected = {"p50": 50, "p90": 90, "p99": 99, "p100": 100}
    assert expected == percentiles(list(range(100, 0, -1)))
    assert percentiles([7]) == {"p50": 7, "p90": 7, "p99": 7, "p100": 7}
    assert percentiles([]) == {}


def test_streams_are_timed_to_their_first_token():
    """Each streamed call gives a latency and a time to first token that is no longer."""
    figures = measured(requests=10, concurrency=3)
    assert (len(figures.latency), len(figures.first_token)) == (10, 10)
    assert all(first <= whole for first, whole in zip(*_timed(figures), strict=True))
    assert figures.output_tokens > 0


def _timed(figures):
    return figures.first_token, figures.latency


def test_whole_answers_have_no_first_token():
    """Without streaming only latency and tokens are told."""
    figures = measured(requests=5, concurrency=2, stream=False)
    assert (len(figures.latency), len(figures.first_token)) == (5, 0)
    assert figures.input_tokens > 0


def test_failures_are_counted_and_not_repeated():
    """A refused call is counted by its class, and is one of the calls that were asked for."""
    faults = [{"on": {"every": 2}, "do": {"fault": "status", "status": 529}}]
    figures = measured(faults, requests=8, concurrency=1)
    assert len(figures.latency) + figures.failed.total() == 8
    assert dict(figures.failed) == {"Overloaded": 4}


def test_it_ends_by_time():
    """With *seconds* it begins no call once they have passed."""
    figures = measured(seconds=0.05, concurrency=2)
    assert figures.latency
    assert figures.seconds >= 0.05


@pytest.mark.parametrize(("cpu", "expected"), [(0.5, False), (0.97, True)])
def test_it_says_when_the_client_is_the_bottleneck(cpu, expected, capsys):
    """A process that uses nearly all of a core may be what is measured."""
    figures = Figures(seconds=1.0, cpu=cpu)
    assert expected is figures.saturated
    assert expected is figures.to_dict()["client_is_the_bottleneck"]
    bench._report(parser().parse_args(["bench"]), AsyncClient(api_key="k"), figures)
    assert expected is (
        "the figures measure the client" in " ".join(capsys.readouterr().err.split())
    )


def test_the_command_writes_a_report(tmp_path, capsys):
    """The command prints a table and writes the same figures as JSON."""
    path = tmp_path / "report.json"
    options = ["--requests", "6", "--concurrency", "2", "--output", str(path)]
    assert main(["bench", "--emulator", *options]) == 0
    report = json.loads(path.read_text())
    assert (report["succeeded"], report["concurrency"], report["endpoint"]) == (6, 2, "emulator")
    found = capsys.readouterr()
    assert "calls per second" in found.out
    assert "the emulator ran in the same process" in found.err


def test_no_answer_at_all_is_a_failure(tmp_path, capsys):
    """The exit code is 1 where no call succeeded."""
    faults = tmp_path / "faults.json"
    faults.write_text(json.dumps([{"on": {"every": 1}, "do": {"fault": "status", "status": 529}}]))
    assert main(["bench", "--emulator", "--requests", "3", "--faults", str(faults)]) == 1
    assert "Overloaded" in capsys.readouterr().out


def test_a_transport_is_not_for_the_emulator(capsys):
    """--emulator and --transport together are a mistake."""
    assert main(["bench", "--emulator", "--transport", "aiohttp"]) == 2
    assert "--transport" in capsys.readouterr().err


def test_an_answer_without_text_has_no_first_token():
    """And one of a single token has no speed: there is nothing after its first."""
    empty = measured(requests=2, concurrency=1, prompt="[[refuse]]")
    assert (len(empty.latency), empty.first_token, empty.speed) == (2, [], [])
    short = measured(requests=2, concurrency=1, max_tokens=1)
    assert (len(short.latency), len(short.first_token), short.speed) == (2, 2, [])


def test_what_cannot_be_asked_is_told_once(capsys):
    """A mistake in the request is a line and exit code 2, not a failure of each call."""
    args = ["--requests", "4", "--concurrency", "2", "--prompt", "half of a pair: \ud800"]
    assert main(["bench", "--emulator", *args]) == 2
    found = capsys.readouterr()
    assert found.err.count("claude-lite:") == 1
    assert found.out == ""


def test_a_report_that_cannot_be_written_is_told(tmp_path, capsys):
    """The figures were shown by then; the exit code is 2."""
    path = tmp_path / "none" / "report.json"
    assert main(["bench", "--emulator", "--requests", "2", "--output", str(path)]) == 2
    found = capsys.readouterr()
    assert "calls per second" in found.out
    assert f"cannot write {path}" in found.err


@contextmanager
def terminal():
    """Give a terminal to write to, and a function that reads what is on it."""
    master, slave = pty.openpty()
    try:
        yield slave, lambda: os.read(master, 1 << 16).decode()
    finally:
        os.close(master)
        os.close(slave)


def interrupt(peer):
    """Press Ctrl-C in this process once there is a request, which is never answered."""
    peer.request()
    os.kill(os.getpid(), signal.SIGINT)
    peer.gone()


def test_a_terminal_shows_the_figures_as_they_come(monkeypatch):
    """Standard error has a live line where it is a terminal."""
    with terminal() as (tty, shown), os.fdopen(os.dup(tty), "w") as screen:
        monkeypatch.setattr("sys.stderr", screen)
        assert main(["bench", "--emulator", "--requests", "20", "--concurrency", "2"]) == 0
        screen.flush()
        assert "done" in (text := shown())
        assert "failed" in text


def test_ctrl_c_ends_it_with_a_report(monkeypatch, capsys):
    """The calls in flight are given up, what was measured is told, and the exit code is 130."""
    with LoopbackServer(interrupt) as server:
        monkeypatch.setenv("ANTHROPIC_BASE_URL", server.url(""))
        monkeypatch.setenv("ANTHROPIC_API_KEY", "any")
        assert main(["bench", "--requests", "1"]) == 130
    assert re.search(r"succeeded[ │]+0", capsys.readouterr().out)
