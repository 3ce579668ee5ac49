"""The soak runs, is interrupted in good order, and says so when something is not well."""

import asyncio
import json
import logging
import signal
import socket
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections import Counter

import pytest
from places import ROOT

from claude_lite import Overloaded, Request, StreamInterrupted
from claude_lite.emulator import Emulator, ledger, message_hash
from claude_lite.emulator.serving import serve
from claude_lite.faults import FaultScript
from claude_lite.faults.script import REMEMBERED_BODIES

if not (ROOT / "benchmarks").is_dir():
    pytest.skip("benchmarks are not part of what is installed", allow_module_level=True)
sys.path.append(str(ROOT))

from benchmarks import soak_cases, soak_report, soak_unasked  # found there only from here on


def soak(folder, *args):
    """Start the command."""
    return subprocess.Popen(  # noqa: S603  # our own module
        [sys.executable, "-m", "benchmarks.soak", "--output", str(folder), *args],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
def test_every_case_comes_out_right_and_nothing_is_left(tmp_path):
    """A round of all cases ends in what each of them has to, and the run is found to be flat."""
    calls = sum(case.share for case in soak_cases.CASES)
    ended = soak(tmp_path, "--requests", str(calls))
    said, errors = ended.communicate(timeout=120)
    made = json.loads((tmp_path / "soak.json").read_text())
    assert (made["wrong"], made["left"], made["complaints"]) == ([], [], []), said
    assert (ended.returncode, errors) == (0, "")
    seen = Counter()
    for row in made["outcomes"]:
        seen[row["form"], row["fault"]] += row["calls"]
    wanted = Counter()
    for case in soak_cases.CASES:
        wanted[case.form, case.fault] += case.share
    assert seen == wanted
    assert "| answer |" in (tmp_path / "soak.md").read_text()


@pytest.mark.slow
def test_an_interrupted_run_reports_what_it_has_seen(tmp_path):
    """After Ctrl-C the calls under way end, nothing is left over, and the report is written."""
    started = soak(tmp_path, "--transport", "urllib", "--requests", "20000")
    started.stdout.readline()  # the first sample: it is under way
    started.send_signal(signal.SIGINT)
    _, errors = started.communicate(timeout=120)
    made = json.loads((tmp_path / "soak.json").read_text())
    assert (started.returncode, errors) == (130, "")
    assert made["interrupted"]
    assert (made["wrong"], made["left"]) == ([], [])
    assert 0 < made["done"] < made["requests"]
    assert ET.fromstring((tmp_path / "soak.svg").read_text()).findall(".//{*}polyline")  # noqa: S314  # our own


@pytest.mark.parametrize("transport", soak_unasked.TRANSPORTS)
def test_what_nobody_asked_for_reaches_nobody(transport):
    """Every call gets its own answer, whatever the server sends after the answer before."""
    assert soak_unasked.run(transport, 200, seed=1) == {"right": 200}


def flat(samples=100):
    """A report in which all is well."""
    values = {measure.key: 50 for measure in soak_report.MEASURES}
    return {
        "transport": "aiohttp",
        "concurrency": 64,
        "requests": samples * 100,
        "done": samples * 100,
        "interrupted": False,
        "seconds": 1.0,
        "samples": [{**values, "done": n * 100 + 100} for n in range(samples)],
        "outcomes": [{"form": "create", "fault": "reset", "outcome": "ConnectionLost", "calls": 3}],
        "failures": 0,
        "left": [],
        "server": {"requests": samples, "faults": {"reset": 6}},
    }


def test_what_is_flat_is_no_reason_to_complain():
    """Values that stay where they are, and warming up before the second fifth, are well."""
    made = flat()
    for sample in made["samples"][:20]:
        sample["rss_mb"] = 10
    assert soak_report.complaints(made) == []


@pytest.mark.parametrize("measure", soak_report.MEASURES, ids=lambda measure: measure.key)
def test_what_grows_is_complained_about(measure):
    """A measure that grows by more than its room is named; the rate is shown and not judged."""
    made, room = flat(), measure.allowed(64)
    for number, sample in enumerate(made["samples"]):
        sample[measure.key] += number / 100 * 2 * (room or 1000)  # 1.2 times the room is seen
    found = soak_report.complaints(made)
    assert [text.partition(":")[0] for text in found] == ([measure.title] if room else [])


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"failures": 2}, "2 outcomes were wrong"),
        ({"left": ["sockets, 1"]}, "left over in the end: sockets, 1"),
        ({"done": 9999}, "only 9,999 of 10,000 calls were made"),
        (
            {"server": {"requests": 1, "faults": {"reset": 2}}},
            "3 calls asked for 'reset', and it did not strike all of them",
        ),
        ({"samples": []}, "the run was too short to say what grows"),
    ],
)
def test_what_went_wrong_is_complained_about(change, complaint):
    """Wrong outcomes, leftovers, calls not made, faults that did not strike: each is enough."""
    assert soak_report.complaints({**flat(), **change}) == [complaint]


CREATE = soak_cases.Case("create", None, 1)
CUT = soak_cases.Case("stream", "stream cut", 1, ("StreamInterrupted",))


def echo(serial):
    """The answer to a call."""
    asked = soak_cases.messages(CREATE, serial)
    return f"Echo {message_hash(asked)}: {asked[0]['content'][: soak_cases.ECHOED]} and more"


def test_the_answer_to_another_call_is_found_out():
    """An answer is right for the call that it belongs to, and for no other; none is wrong, too."""
    assert soak_cases.wrong_answer(CREATE, 41, echo(41)) is None
    for text in (echo(42), echo(411), ""):
        assert soak_cases.wrong_answer(CREATE, 41, text)
    assert soak_cases.wrong_answer(CUT, 41, echo(41))  # there should have been an error


@pytest.mark.parametrize(
    ("error", "right"),
    [
        (StreamInterrupted(attempts=1, details={"partial": {"content": [{"text": "own"}]}}), True),
        (StreamInterrupted(attempts=1, details={"partial": {"content": [{"text": "no"}]}}), False),
        (StreamInterrupted(attempts=1), False),
        (StreamInterrupted(attempts=2, details={"partial": {"content": [{"text": "own"}]}}), False),
        (Overloaded(attempts=1), False),
        (KeyError("content"), False),
    ],
)
def test_an_error_that_is_not_the_one_is_found_out(error, right):
    """Its class, its attempts, and the partial answer that it carries have to be those expected."""
    partial = getattr(error, "partial", None)
    if partial and partial["content"][0]["text"] == "own":
        partial["content"][0]["text"] = echo(41)[:40]
    assert (soak_cases.wrong_error(CUT, 41, error) is None) == right


@pytest.mark.slow
def test_the_emulator_forgets_the_oldest_bodies_and_late_paths():
    """However many requests come, it remembers so many bodies and paths, and counts them all."""
    counts = ledger.Ledger()
    for number in range(ledger.REMEMBERED_BODIES + 2):
        counts.arrive(f"/v1/files/{number % 20_000}", b"%d" % number)
    seen = counts.requests
    assert (seen.total, len(seen.by_body), len(seen.by_path)) == (
        ledger.REMEMBERED_BODIES + 2,
        ledger.REMEMBERED_BODIES,
        ledger.COUNTED_PATHS,
    )
    assert (seen.of(b"1"), seen.of(b"2")) == (0, 1)


@pytest.mark.slow
def test_a_fault_script_forgets_the_oldest_bodies():
    """A script that strikes each body once remembers so many of them, and then starts over."""
    script = FaultScript([{"on": {"once_per_body": True}, "do": {"fault": "reset"}}])

    def strikes(number):
        return script.choose(Request("POST", "http://localhost/v1/messages", {}, b"%d" % number))

    assert all(strikes(number) for number in range(REMEMBERED_BODIES + 1))
    assert strikes(0)
    assert not strikes(REMEMBERED_BODIES)


def test_the_emulator_stops_writing_when_its_client_leaves(caplog):
    """Who leaves in the middle of a stream is noticed at once: nothing is written to nobody."""
    emulator = Emulator()
    body = json.dumps(
        {
            "model": "claude-sonnet-5-5",
            "max_tokens": 50_000,
            "stream": True,
            "messages": [{"role": "user", "content": "[[tokens:50000]]"}],
        }
    ).encode()
    head = (
        "POST /v1/messages HTTP/1.1\r\nhost: localhost\r\nx-api-key: any\r\n"
        "anthropic-version: 2023-06-01"
    )
    request = f"{head}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"

    async def main():
        async with serve(emulator) as url:
            host, port = url.removeprefix("http://").split(":")
            for _ in range(5):
                _, writer = await asyncio.open_connection(host, int(port))
                writer.write(request.encode() + body)
                await asyncio.sleep(0.02)
                sock = writer.get_extra_info("socket")
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                writer.transport.abort()
                await asyncio.sleep(0.02)

    with caplog.at_level(logging.WARNING, "asyncio"):
        asyncio.run(main())
    assert emulator.disconnects == 5
    assert caplog.records == []
