"""`claude-lite bench`: what it counts, what it says of itself, and how it ends."""

import asyncio
import json

import pytest

from claude_lite.bench import Figures, measure, percentiles
from claude_lite.cli import main
from claude_lite.client import AsyncClient
from claude_lite.emulator import Emulator
from claude_lite.retry import never
from claude_lite_transports.emulator import AsyncEmulatorTransport

PARAMS = {
    "model": "claude-sonnet-5-5",
    "max_tokens": 64,
    "messages": [{"role": "user", "content": "Hello"}],
}


def measured(faults=None, **options):
    """Measure an emulator, and give the figures."""
    figures = Figures()
    transport = AsyncEmulatorTransport(Emulator(0, faults=faults))
    client = AsyncClient(transport, api_key="k", base_url="http://emulator", retry=never())
    asyncio.run(measure(client, PARAMS, figures, **options))
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
def test_it_says_when_the_client_is_the_bottleneck(cpu, expected):
    """A process that uses nearly all of a core may be what is measured."""
    figures = Figures(seconds=1.0, cpu=cpu)
    assert expected is figures.saturated
    assert expected is figures.to_dict()["client_is_the_bottleneck"]


def test_the_command_writes_a_report(tmp_path, capsys):
    """The command prints a table and writes the same figures as JSON."""
    path = tmp_path / "report.json"
    options = ["--requests", "6", "--concurrency", "2", "--output", str(path)]
    assert main(["bench", "--emulator", *options]) == 0
    report = json.loads(path.read_text())
    assert (report["succeeded"], report["concurrency"], report["endpoint"]) == (6, 2, "emulator")
    found = capsys.readouterr()
    assert "calls per second" in found.out
    assert "the emulator ran in this process" in found.err


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
