"""The command: exit codes, files, what it prints, and what it never prints."""

import io
import itertools
import json
import os
import pty
import re
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import contextmanager
from pathlib import Path

import pytest

from claude_lite import AuthenticationFailed, Client, RateLimited, never
from claude_lite.bulk import ResultsFile
from claude_lite.cli.main import DEFAULT_MODEL, main
from claude_lite.emulator import Emulator, message_hash
from claude_lite.emulator.serving import emulator_server
from claude_lite.testing.conformance.loopback import LoopbackServer

CANARY = "sk-ant-api03-canary-Zq7"
CLI = [sys.executable, "-W", "error", "-c", "from claude_lite.cli.main import main; exit(main())"]
SAMPLE = [  # every request is struck once at most
    {
        "on": {"probability": 0.1, "once_per_body": True},
        "do": {"fault": "status", "status": 529, "headers": {"retry-after-ms": "5"}},
    },
    {
        "on": {"probability": 0.1, "once_per_body": True},
        "do": {"fault": "status", "status": 429, "headers": {"retry-after-ms": "5"}},
    },
    {
        "on": {"contains": '"stream":true', "once_per_body": True},
        "do": {"fault": "reset", "after_events": 5},
    },
]


@pytest.fixture(autouse=True)
def _alone(tmp_path, monkeypatch):
    """Work in a folder of one's own, with no credential around."""
    for name in ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def cli(capsys):
    """Give a function that runs the command here: it returns exit code, output and errors."""

    def run(*args):
        try:
            code = main([str(arg) for arg in args])
        except SystemExit as exit_:  # argparse's
            code = exit_.code
        found = capsys.readouterr()
        return code, found.out, found.err

    return run


def request(number, **params):
    """Make a line of requests."""
    body = {
        "model": "claude-sonnet-5-5",
        "max_tokens": 64,
        "messages": [{"role": "user", "content": f"Question {number}, bitte für 5 €"}],
        **params,
    }
    return json.dumps({"custom_id": f"q-{number}", "params": body})


def save(name, *lines):
    """Write a file of lines."""
    Path(name).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return name


def results(name="out.jsonl"):
    """Read a file of results."""
    return [json.loads(line) for line in Path(name).read_text(encoding="utf-8").splitlines()]


def row(summary, name):
    """Read a row of the summary."""
    found = re.search(rf"│ {name} +│ +([\d.,]+)", summary)
    return found and int(found[1].replace(",", ""))


def asked(count):
    """Write a file of good requests."""
    return save("in.jsonl", *(request(n, stream=n % 8 == 0) for n in range(count)))


# What run does


def test_every_request_is_answered_once_with_its_own_answer(cli):
    """With retries on the way, each custom_id has one result, that of its own question."""
    faults = save("faults.json", json.dumps(SAMPLE))
    args = ("run", asked(80), "-o", "out.jsonl", "--emulator", "--faults", faults)
    code, out, err = cli(*args)
    assert (code, err) == (0, "")
    found = {result["custom_id"]: result for result in results()}
    assert len(results()) == len(found) == 80
    for line in Path("in.jsonl").read_text(encoding="utf-8").splitlines():
        wanted = json.loads(line)
        message = found[wanted["custom_id"]]["result"]["message"]
        assert f"Echo {message_hash(wanted['params']['messages'])}" in message["content"][0]["text"]
    assert row(out, "succeeded") == 80
    assert row(out, "retries") == sum(result["attempts"] - 1 for result in results()) > 20
    assert row(out, "output tokens") == sum(r["usage"]["output_tokens"] for r in results())


def test_over_the_network_it_is_the_same(cli, monkeypatch):
    """Without --emulator it asks the server of ANTHROPIC_BASE_URL, with the key."""
    emulator = Emulator(faults=SAMPLE, api_keys=[CANARY])
    with emulator_server(emulator) as url:
        monkeypatch.setenv("ANTHROPIC_BASE_URL", url)
        monkeypatch.setenv("ANTHROPIC_API_KEY", CANARY)
        code, out, err = cli("run", asked(60), "-o", "out.jsonl")
    assert (code, row(out, "succeeded")) == (0, 60)
    assert not err or " 0 failed" in err  # progress, if the refusals have slowed the run
    assert emulator.requests.total == sum(result["attempts"] for result in results()) > 60


def test_stream_streams_everything(cli, monkeypatch):
    """--stream streams every request, and the results are whole messages all the same."""
    emulator = Emulator(faults=[{"on": {"contains": '"stream":true'}, "do": SAMPLE[0]["do"]}])
    with emulator_server(emulator) as url:
        monkeypatch.setenv("ANTHROPIC_BASE_URL", url)
        monkeypatch.setenv("ANTHROPIC_API_KEY", CANARY)
        code, _, _ = cli("run", asked(5), "-o", "out.jsonl", "--stream", "--attempts", 1)
    assert code == 1
    assert {result["result"]["error"]["error"] for result in results()} == {"Overloaded"}
    code, _, _ = cli("run", "in.jsonl", "-o", "out.jsonl", "--stream", "--emulator", "--force")
    assert code == 0
    assert all(result["result"]["message"]["stop_reason"] for result in results())


def test_a_failure_for_good_is_exit_code_1(cli):
    """The failed request has its error in the results and in the summary; the others succeed."""
    rule = {"on": {"contains": "Question 3,"}, "do": {"fault": "status", "status": 500}}
    faults = save("faults.json", json.dumps([rule]))
    args = ("run", asked(10), "-o", "out.jsonl", "--emulator", "--faults", faults)
    code, out, _ = cli(*args, "--attempts", 2)
    assert (code, row(out, "succeeded"), row(out, "failed: ServerError")) == (1, 9, 1)
    (failed,) = [result for result in results() if result["result"]["type"] == "errored"]
    error = failed["result"]["error"]
    assert (failed["custom_id"], failed["attempts"], error["status"]) == ("q-3", 2, 500)
    assert failed["request_id"] == error["request_id"] is not None


def test_the_deadline_bounds_each_request(cli):
    """A server that says nothing costs no more than --deadline."""
    faults = save("faults.json", json.dumps([{"on": {}, "do": {"fault": "stall"}}]))
    args = ("run", asked(3), "-o", "out.jsonl", "--emulator", "--faults", faults)
    code, out, _ = cli(*args, "--deadline", 0.1)
    assert (code, row(out, "failed: TimedOut")) == (1, 3)


# What run does with lines that are no requests


def test_bad_lines_are_reported_and_do_not_stop_the_others(cli):
    """Each is on standard error and in the results, by its number, and makes the exit code 1."""
    save(
        "in.jsonl",
        request(1),
        "{broken",
        '{"params": {}}',
        request(1),
        json.dumps({"custom_id": "x" * 65, "params": {}}),
        '{"custom_id": "no-params"}',
        "",
        request(2),
    )
    code, out, err = cli("run", "in.jsonl", "-o", "out.jsonl", "--emulator")
    assert (code, row(out, "succeeded"), row(out, "bad lines")) == (1, 2, 5)
    assert sorted(re.findall(r"^claude-lite: line (\d+): ", err, re.MULTILINE)) == list("23456")
    errored = {r["line"]: r for r in results() if r["result"]["type"] == "errored"}
    assert sorted(errored) == [2, 3, 4, 5, 6]
    assert errored[6]["custom_id"] == "no-params"
    assert all(r["result"]["error"]["error"] == "UsageError" for r in errored.values())
    assert Counter(r["custom_id"] for r in results())["q-1"] == 1


def test_an_empty_file_is_no_failure(cli):
    """Nothing to do is exit code 0."""
    assert cli("run", save("in.jsonl"), "-o", "out.jsonl", "--emulator")[0] == 0
    assert results() == []


# What run does with files


def test_results_that_are_there_are_not_overwritten(cli):
    """An existing output is wrong usage, unless --force or --resume says what to do with it."""
    asked(2)
    save("out.jsonl", "precious")
    code, _, err = cli("run", "in.jsonl", "-o", "out.jsonl", "--emulator")
    assert (code, Path("out.jsonl").read_text()) == (2, "precious\n")
    assert "--resume" in err
    assert "--force" in err
    assert cli("run", "in.jsonl", "-o", "out.jsonl", "--emulator", "--force")[0] == 0
    assert len(results()) == 2


def test_resume_asks_only_for_what_is_missing(cli):
    """Answered requests are not asked again; in the end each has one line."""
    rule = {"on": {"contains": "Question 3,"}, "do": {"fault": "status", "status": 400}}
    faults = save("faults.json", json.dumps([rule]))
    save("in.jsonl", *(request(n) for n in range(8)), "{bad")
    first = ("run", "in.jsonl", "-o", "out.jsonl", "--emulator")
    assert cli(*first, "--faults", faults)[0] == 1
    before = {r["custom_id"]: r for r in results() if r["result"]["type"] == "succeeded"}
    save("in.jsonl", *(request(n) for n in range(9)))
    code, out, _ = cli(*first, "--resume", "--seed", 5)
    assert (code, row(out, "succeeded"), row(out, "answered before")) == (0, 2, 7)
    after = {r["custom_id"]: r for r in results()}
    assert sorted(after) == [f"q-{n}" for n in range(9)]
    assert len(results()) == 9
    assert {name: after[name] for name in before} == before


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["run", "missing.jsonl", "-o", "out.jsonl", "--emulator"], "cannot read missing.jsonl"),
        (["run", ".", "-o", "out.jsonl", "--emulator"], "cannot read ."),
        (["run", "in.jsonl", "-o", "no/such/out.jsonl", "--emulator"], "cannot write no/such"),
        (["run", "in.jsonl", "-o", "in.jsonl", "--emulator", "--force"], "have to differ"),
        (["run", "in.jsonl", "-o", "o", "--log-file", "o", "--emulator"], "have to differ"),
        (["run", "in.jsonl", "-o", "o", "--log-file", "no/log", "--emulator"], "cannot write no/"),
        (["run", "in.jsonl", "-o", "out.jsonl"], "no API key"),
        (["run", "in.jsonl", "-o", "out.jsonl", "--faults", "f.json"], "add --emulator"),
        (["run", "in.jsonl", "-o", "out.jsonl", "--seed", "0"], "add --emulator"),
        (["run", "in.jsonl", "-o", "o", "--emulator", "--faults", "none.json"], "cannot read none"),
        (["run", "in.jsonl", "-o", "o", "--emulator", "--faults", "in.jsonl"], "is not JSON"),
        (["run", "in.jsonl", "-o", "o", "--emulator", "--faults", "f.json"], "f.json: rule 0"),
        (["run", "in.jsonl", "-o", "o", "--emulator", "--faults", "g.json"], "list of faults"),
        (["run", "in.jsonl", "-o", "o", "--emulator", "--resume", "--force"], "not allowed with"),
        (["run", "in.jsonl", "--emulator"], "required: -o"),
        (["run", "in.jsonl", "-o", "o", "--emulator", "--concurrency", "0"], "1 or more"),
        (
            ["run", "in.jsonl", "-o", "o", "--emulator", "--concurrency", "x"],
            "a whole number, 1 or more",
        ),
        (["run", "in.jsonl", "-o", "o", "--emulator", "--deadline", "-1"], "above 0"),
        (["run", "in.jsonl", "-o", "o", "--emulator", "--deadline", "nan"], "above 0"),
        (["message", "Hi", "--seed", "1"], "add --emulator"),
        (["message", "  ", "--emulator"], "prompt is empty"),
        (["message"], "PROMPT"),
        (["serve", "--port", "70000"], "65535"),
        (["dance"], "invalid choice"),
        ([], "COMMAND"),
    ],
)
def test_wrong_usage_is_exit_code_2_and_touches_nothing(cli, args, said):
    """What is wrong is said in a line or two, and no file appears or changes."""
    save("in.jsonl", request(1), request(2))
    save("f.json", '[{"on": {}, "do": {"fault": "rain"}}]')
    save("g.json", "{}")
    before = {path: path.read_bytes() for path in Path().iterdir()}
    code, _, err = cli(*args)
    assert code == 2
    assert said in err
    assert "Traceback" not in err
    assert {path: path.read_bytes() for path in Path().iterdir()} == before


def test_a_full_disk_ends_the_run_with_a_line(cli):
    """When results cannot be written, it stops, says so, and counts none of them."""
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    code, out, err = cli("run", asked(50), "-o", "/dev/full", "--emulator", "--force")
    assert (code, row(out, "succeeded")) == (1, 0)
    assert "No space left" in err
    assert "Traceback" not in err


def test_requests_may_come_from_a_pipe(cli):
    """They are read once, as they come; how many there are is not known before."""
    os.mkfifo("pipe.jsonl")
    lines = Path(asked(5)).read_bytes()
    writer = threading.Thread(target=Path("pipe.jsonl").write_bytes, args=(lines,))
    writer.start()
    code, out, err = cli("run", "pipe.jsonl", "-o", "out.jsonl", "--emulator")
    writer.join()
    assert (code, err, row(out, "succeeded"), len(results())) == (0, "", 5, 5)


# What interrupts run


def ran(*args, **how):
    """Run the command as a process of its own, to its end."""
    given = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "encoding": "utf-8", **how}
    return subprocess.run([*CLI, *args], check=False, **given)  # noqa: S603  # our own code


@contextmanager
def running(*args):
    """Run the command as a process of its own, and end it at last."""
    with subprocess.Popen(  # noqa: S603  # our own code
        [*CLI, *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def wait_for(condition):
    """Wait until a condition holds."""
    for _ in range(1000):
        if condition():
            return
        time.sleep(0.01)
    pytest.fail("waited in vain")


def lines_in(name):
    """Count the lines of a file that may not be there yet."""
    path = Path(name)
    return path.read_bytes().count(b"\n") if path.exists() else 0


@pytest.fixture
def stalled():
    """Write requests of which the last ones are never answered; give the arguments to run them."""
    rule = {"on": {"contains": "never"}, "do": {"fault": "stall"}}
    save("faults.json", json.dumps([rule]))
    never = {"messages": [{"role": "user", "content": "never"}]}
    save("in.jsonl", *(request(n) for n in range(20)), *(request(n, **never) for n in (20, 21)))
    return ["run", "in.jsonl", "-o", "out.jsonl", "--emulator", "--concurrency", "4"]


def test_ctrl_c_keeps_what_has_ended(stalled, cli):
    """Exit code 130, a summary, every answer on disk; --resume then finishes the rest."""
    with running(*stalled, "--faults", "faults.json") as process:
        wait_for(lambda: lines_in("out.jsonl") == 20)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=10)
    assert process.returncode == 130
    assert "interrupted" in err
    assert "Traceback" not in err
    assert (row(out, "succeeded"), row(out, "cancelled in flight")) == (20, 2)
    assert sorted(r["custom_id"] for r in results()) == sorted(f"q-{n}" for n in range(20))
    code, out, _ = cli(*stalled, "--resume")
    assert (code, row(out, "succeeded"), len(results())) == (0, 2, 22)


def interrupt(peer):
    """Press Ctrl-C in this process once there is a request, which is never answered."""
    peer.request()
    os.kill(os.getpid(), signal.SIGINT)
    peer.gone()


def test_ctrl_c_before_the_first_answer(cli, monkeypatch):
    """There is a summary of nothing, and nothing in the results."""
    with LoopbackServer(interrupt) as server:
        monkeypatch.setenv("ANTHROPIC_BASE_URL", server.url(""))
        monkeypatch.setenv("ANTHROPIC_API_KEY", CANARY)
        code, out, err = cli("run", asked(1), "-o", "out.jsonl")
    assert (code, row(out, "succeeded"), results()) == (130, 0, [])
    assert "interrupted. To go on, use --resume" in err


def test_a_killed_run_keeps_what_has_ended(stalled, cli):
    """Even SIGKILL loses no answer that was there."""
    with running(*stalled, "--faults", "faults.json") as process:
        wait_for(lambda: lines_in("out.jsonl") == 20)
        process.kill()
    assert len(results()) == 20
    assert cli(*stalled, "--resume")[0] == 0
    assert len(results()) == 22


# What run logs, and what it never does


def test_the_log_file_has_a_line_for_each_attempt_and_call(cli):
    """JSON lines with the documented keys, level, time, and the request they are about."""
    faults = save("faults.json", json.dumps(SAMPLE))
    args = ("run", asked(40), "-o", "out.jsonl", "--emulator", "--faults", faults)
    assert cli(*args, "--log-file", "log.jsonl")[0] == 0
    log = results("log.jsonl")
    attempts = Counter(r["custom_id"] for r in log if r["event"] == "claude_lite.attempt")
    assert attempts == {r["custom_id"]: r["attempts"] for r in results()}
    calls = [r for r in log if r["event"] == "claude_lite.call" and r["level"] == "info"]
    assert len(calls) == 40
    for call in calls:
        assert call.keys() >= {
            "operation",
            "request_id",
            "organization_id",
            "status",
            "attempts",
            "elapsed_ms",
            "input_tokens",
            "output_tokens",
            "ratelimit_requests_remaining",
            "timestamp",
            "custom_id",
        }
    retried = [r for r in log if "retry_in" in r]
    assert retried
    assert {r["error_type"] for r in retried} <= {
        "overloaded_error",
        "StreamInterrupted",
        "rate_limit_error",
    }


def test_the_log_file_is_added_to(cli):
    """An existing log is not replaced."""
    save("log.jsonl", '{"old": true}')
    args = ("run", asked(1), "-o", "out.jsonl", "--emulator", "--log-file", "log.jsonl")
    assert cli(*args)[0] == 0
    assert results("log.jsonl")[0] == {"old": True}


def test_the_key_is_nowhere(monkeypatch):
    """Neither success nor refusal shows the key: not in output, errors, results or logs."""
    echo = {"type": "error", "error": {"type": "api_error", "message": f"no: {CANARY}"}}
    rules = [
        {
            "on": {"contains": "Question 1,"},
            "do": {"fault": "status", "status": 500, "body": echo, "retry_after": 0.01},
        },
        {"on": {"contains": "Question 2,"}, "do": {"fault": "status", "status": 401}},
        {
            "on": {"contains": "Question 3,"},
            "do": {"fault": "status", "status": 200, "body": CANARY},
        },
        {"on": {"contains": "Question 4,"}, "do": {"fault": "reset"}},
    ]
    asked(8)
    with emulator_server(Emulator(faults=rules)) as url:
        monkeypatch.setenv("ANTHROPIC_BASE_URL", url)
        monkeypatch.setenv("ANTHROPIC_API_KEY", CANARY)
        args = ["run", "in.jsonl", "-o", "out.jsonl", "--log-file", "log.jsonl", "--attempts", "2"]
        bulk, single = ran(*args), ran("message", "Question 1,")
    assert (bulk.returncode, single.returncode) == (1, 1)
    assert [r["result"]["type"] for r in results()].count("errored") == 4
    seen = [bulk.stdout, bulk.stderr, single.stdout, single.stderr]
    seen += [path.read_text(encoding="utf-8") for path in Path().iterdir()]
    assert not [text for text in seen if CANARY in text]


def test_a_key_that_cannot_be_one_is_not_repeated(cli, monkeypatch):
    """A malformed key, or a URL with a password in it, is refused without being shown."""
    monkeypatch.setenv("ANTHROPIC_API_KEY", f"{CANARY} and more")
    for args in (["run", asked(1), "-o", "out.jsonl"], ["message", "Hi"]):
        code, out, err = cli(*args)
        assert code in {1, 2}
        assert CANARY not in out + err


@pytest.mark.parametrize(
    "args",
    [
        ["message", "Hi", "--api-key", CANARY],
        ["--api-key", CANARY, "message", "Hi"],
        ["message", "Hi", CANARY],
        ["serve", "--port", CANARY],
        ["cassettes", "redact", "--env", CANARY, "none.json"],
        ["cassettes", "check", "bad.json"],
        ["message", "Hi", "--\x1b]0;title\x07"],
    ],
    ids=" ".join,
)
def test_a_key_in_a_wrong_place_is_not_repeated(cli, args):
    """A message about arguments or files shows no key that is in them, and no escape sequence."""
    save("bad.json", json.dumps({"version": CANARY, "interactions": []}))
    code, out, err = cli(*args)
    assert code in {1, 2}
    assert out + err
    assert CANARY not in out + err
    assert "\x1b" not in out + err


# What run shows


@contextmanager
def terminal():
    """Give a terminal to write to, and a function that reads what is on it."""
    master, slave = pty.openpty()
    try:
        yield slave, lambda: os.read(master, 1 << 16).decode()
    finally:
        os.close(master)
        os.close(slave)


def test_progress_goes_to_a_terminal_where_there_is_one():
    """On a terminal there is a live line; the summary is on standard output."""
    with terminal() as (tty, shown):
        done = ran("run", asked(30), "-o", "out.jsonl", "--emulator", stderr=tty)
        assert "30/30 done" in (text := shown())
        assert "in flight" in text
    assert (done.returncode, row(done.stdout, "succeeded")) == (0, 30)


# What message does


def test_message_streams_the_answer(cli):
    """The text is on standard output, and nothing else anywhere."""
    code, out, err = cli("message", "Where is the tea?", "--emulator")
    assert (code, err) == (0, "")
    question = [{"role": "user", "content": "Where is the tea?"}]
    assert out.startswith(f"Echo {message_hash(question)}: Where is the tea?")
    assert out.endswith("\n")


def test_message_takes_model_limit_and_system_prompt(monkeypatch, cli):
    """The options are sent; the default model is a current one."""
    emulator = Emulator()
    with emulator_server(emulator) as url:
        monkeypatch.setenv("ANTHROPIC_BASE_URL", url)
        monkeypatch.setenv("ANTHROPIC_API_KEY", CANARY)
        args = ("message", "Hi", "--model", "claude-haiku-5-5", "--max-tokens", 7, "--system", "S")
        code, _, err = cli(*args, "-v")
        assert (code, cli("message", "Hi")[0]) == (0, 0)
    assert DEFAULT_MODEL == "claude-sonnet-5-5"
    assert "stop_reason max_tokens" in err
    assert re.search(r"claude-haiku-5-5, \d+ tokens in, 7 out, 1 attempt.*req_", err)


def test_message_reads_standard_input():
    """With "-" the prompt is what comes in."""
    env = {**os.environ, "PYTHONIOENCODING": "utf-8"}
    done = ran("message", "-", "--emulator", input="Grüße 🙏", env=env)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Grüße 🙏" in done.stdout


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ({"fault": "status", "status": 401}, "AuthenticationFailed: invalid x-api-key (401, "),
        ({"fault": "status", "status": 400}, "InvalidRequest: "),
        ({"fault": "error", "type": "api_error", "after_events": 6}, "ServerError: "),
        ({"fault": "truncate", "after_events": 6}, "StreamTruncated: "),
    ],
)
def test_an_error_is_one_clear_line(monkeypatch, cli, rule, said):
    """A typed error is exit code 1, and its line stands by itself after what came."""
    with emulator_server(Emulator(faults=[{"on": {}, "do": rule}])) as url:
        monkeypatch.setenv("ANTHROPIC_BASE_URL", url)
        monkeypatch.setenv("ANTHROPIC_API_KEY", CANARY)
        code, out, err = cli("message", "Hi")
    assert code == 1
    assert err.lstrip("\n").startswith(f"claude-lite: {said}")
    assert err.strip().count("\n") == 0
    assert err.startswith("\n") is bool(out)


def test_no_key_is_one_clear_line(cli):
    """Without a credential it says which variable to set."""
    code, out, err = cli("message", "Hi")
    assert (code, out) == (1, "")
    assert "ANTHROPIC_API_KEY" in err
    assert err.count("\n") == 1


def test_a_refusal_says_so(cli):
    """An answer without text is explained on standard error."""
    code, out, err = cli("message", "[[refuse]]", "--emulator")
    assert (code, out) == (0, "")
    assert "stop_reason refusal" in err


def test_an_answer_cannot_play_with_the_terminal():
    """Control characters and bidi overrides are escapes on a terminal; elsewhere all is whole."""
    prompt = "bell \x07, escape \x1b[2J, \x9b31m, \u202eleft, \u2066right, \u2028line, 日本"
    with terminal() as (tty, shown):
        done = ran("message", prompt, "--emulator", stdout=tty)
        assert (done.returncode, done.stderr) == (0, "")
        escaped = r"bell \x07, escape \x1b[2J, \x9b31m, \u202eleft, \u2066right, \u2028line, 日本"
        assert escaped in shown()
    assert prompt in ran("message", prompt, "--emulator").stdout


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "latin-1", "utf-8"])
def test_an_answer_fits_any_encoding(encoding):
    """What the encoding of standard output lacks is written as an escape."""
    prompt = "caf\u00e9 \U0001f600 done"
    done = ran(
        "message",
        prompt,
        "--emulator",
        env={**os.environ, "PYTHONIOENCODING": encoding},
        encoding=None,
    )
    expected = prompt.encode(encoding, "backslashreplace")
    assert (done.returncode, done.stderr) == (0, b"")
    assert expected in done.stdout


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_a_summary_fits_any_encoding(encoding):
    """The table of `run` is written in any encoding, too."""
    done = ran(
        *("run", asked(2), "-o", "out.jsonl", "--emulator"),
        env={**os.environ, "PYTHONIOENCODING": encoding},
        encoding=None,
    )
    assert (done.returncode, b"Traceback" in done.stderr) == (0, False)
    assert b"succeeded" in done.stdout


@pytest.mark.parametrize(
    ("redirection", "said"),
    [(">&-", "standard output is closed"), (">/dev/full", "standard output cannot be written")],
)
@pytest.mark.parametrize("errors", ["", "2>&-"])
def test_an_output_that_takes_nothing(redirection, said, errors):
    """It is exit code 1, a sentence where there is room for one, and no traceback."""
    done = shell(f"{COMMAND} message Hi --emulator {redirection} {errors}")
    assert (done.returncode, done.stdout) == (1, "")
    assert errors or (said in done.stderr and done.stderr.count("\n") == 1)


@pytest.mark.parametrize("errors", ["", "2>&-"])
def test_run_needs_no_standard_output(errors):
    """With a file of results nothing but the summary is lost."""
    done = shell(f"{COMMAND} run {asked(3)} -o out.jsonl --emulator >&- {errors}")
    assert (done.returncode, len(results())) == (0, 3)
    assert "Traceback" not in done.stderr


def test_a_prompt_that_is_not_text():
    """Bytes that are not of the encoding of standard input are wrong usage."""
    done = shell(f"printf '\\377' | PYTHONIOENCODING=utf-8 {COMMAND} message - --emulator")
    assert done.returncode == 2
    assert done.stderr.startswith("claude-lite: standard input is not utf-8")
    closed = shell(f"{COMMAND} message - --emulator <&-")
    assert (closed.returncode, "standard input is closed" in closed.stderr) == (2, True)


def test_run_from_standard_input_to_standard_output():
    """A file named "-" is both; the summary is on standard error."""
    done = shell(f"cat {asked(5)} | {COMMAND} run - -o - --emulator")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0
    assert {row["custom_id"] for row in rows} == {f"q-{n}" for n in range(5)}
    assert all(row["result"]["type"] == "succeeded" for row in rows)
    assert "succeeded" in done.stderr
    assert not Path("-").exists()
    refused = shell(f"{COMMAND} run {asked(1)} -o - --resume --emulator")
    assert (refused.returncode, refused.stdout) == (2, "")
    cut = shell(f"{COMMAND} run {asked(50)} -o - --emulator | head -1 | wc -l")
    assert cut.stdout.strip() == "1"
    assert "Traceback" not in cut.stderr


COMMAND = shlex.join(CLI)


def shell(line):
    """Run a line of shell."""
    return subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=False)  # noqa: S603, S607  # our own


def test_a_request_that_was_changed_is_not_sent(cli):
    """With --resume it is reported by its line, its answer stays, and the exit code is 1."""
    path = asked(3)
    assert cli("run", path, "-o", "out.jsonl", "--emulator")[0] == 0
    before = Path("out.jsonl").read_bytes()
    lines = Path(path).read_text().splitlines()
    changed = json.loads(lines[1])
    changed["params"]["messages"] = HELLO
    reordered = json.loads(lines[2])
    reordered["params"] = dict(reversed(reordered["params"].items()))
    Path(path).write_text("\n".join([lines[0], json.dumps(changed), json.dumps(reordered)]))
    code, out, err = cli("run", path, "-o", "out.jsonl", "--emulator", "--resume")
    assert code == 1
    assert err.startswith("claude-lite: line 2: the request q-1 is not the one that was answered")
    assert err.count("\n") == 1
    assert row(out, "answered before") == 2
    assert Path("out.jsonl").read_bytes() == before


def test_a_second_run_on_the_same_results_is_refused(cli):
    """It is wrong usage, and the first run loses nothing."""
    path = asked(2)
    with ResultsFile("out.jsonl"):
        for mode in ("--resume", "--force"):
            code, out, err = cli("run", path, "-o", "out.jsonl", "--emulator", mode)
            assert (code, out) == (2, "")
            assert "another run is writing out.jsonl" in err
    assert cli("run", path, "-o", "out.jsonl", "--emulator", "--resume")[0] == 0


def test_a_reader_that_leaves_is_no_traceback():
    """Output into a closed pipe ends quietly."""
    with running(
        "message", "Hi [[tokens:40000]]", "--max-tokens", "40000", "--emulator"
    ) as process:
        process.stdout.close()
        assert (process.stderr.read(), process.wait(timeout=10)) == ("", 1)


class Pressing(io.StringIO):
    """An output on which Ctrl-C is pressed when a word is written, or an input when it is read."""

    def __init__(self, word=""):
        """Wait for this word."""
        super().__init__()
        self.word = word

    def write(self, text):
        """Write, and press once."""
        done = super().write(text)
        if self.word and self.word in self.getvalue():
            self.word = ""
            signal.raise_signal(signal.SIGINT)
        return done

    def read(self, size=-1):
        """Press before there is anything."""
        signal.raise_signal(signal.SIGINT)
        return super().read(size)


def test_ctrl_c_within_an_answer(monkeypatch, cli):
    """The line that was begun is ended, the exit code is 130, and there is no traceback."""
    monkeypatch.setattr("sys.stdout", out := Pressing("tea?"))
    code, _, err = cli("message", "Where is the tea?", "--emulator")
    assert (code, err) == (130, "\nclaude-lite: interrupted\n")
    assert out.getvalue().startswith("Echo")


def test_ctrl_c_before_the_question(monkeypatch, cli):
    """Who changes his mind while typing it is told nothing."""
    monkeypatch.setattr("sys.stdin", Pressing())
    assert cli("message", "-", "--emulator") == (130, "", "")


def test_a_closed_pipe_is_left_alone(monkeypatch, cli):
    """After the reader has gone, what is still to be written goes nowhere, and is no error."""
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as out:
        monkeypatch.setattr("sys.stdout", out)
        code, _, err = cli("message", "Hi", "--emulator")
        out.write("more")
    assert (code, err) == (1, "")


# What serve does


def test_serve_prints_what_to_export_and_serves(cli, monkeypatch):
    """The printed variables make the command use it; Ctrl-C ends it with exit code 0."""
    faults = save("faults.json", json.dumps([{"on": {"nth": [1]}, "do": SAMPLE[0]["do"]}]))
    with running("serve", "--port", "0", "--faults", faults, "--seed", "3") as process:
        for line in itertools.islice(process.stdout, 2):
            for name, value in re.findall(r"(ANTHROPIC_\w+)=(\S+)", line):
                monkeypatch.setenv(name, value)
        code, out, err = cli("message", "Hello", "-v")
        assert (code, out[:5]) == (0, "Echo ")
        assert "2 attempt(s)" in err
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=10) == 0
        lines = process.stderr.read().splitlines()
    assert [line.rpartition(" req_")[0].split()[:3] for line in lines] == [
        ["POST", "/v1/messages", "529"],
        ["POST", "/v1/messages", "200"],
    ]


def test_serve_has_limits_a_pace_and_keys(monkeypatch, cli):
    """The limits refuse, the bucket is small, the pace is kept, and another key is refused."""
    key = "sk-ant-served-0123456789"
    options = ("--limits", "requests=60,input_tokens=100000", "--bucket", "1")
    more = ("--tokens-per-second", "1000", "--api-key", key, "--port", "0")
    with running("serve", *options, *more) as process:
        line = "".join(itertools.islice(process.stdout, 2))
        assert key not in line
        url = re.search(r"ANTHROPIC_BASE_URL=(\S+)", line)[1]
        with Client(api_key=key, base_url=url, retry=never(), governor=None) as client:
            ask = {"model": "claude-sonnet-5-5", "max_tokens": 9, "messages": HELLO}
            message = client.messages.create(**ask)
            limits = message.response.rate_limits
            assert (limits.requests.limit, limits.input_tokens.limit) == (60, 100_000)
            with pytest.raises(RateLimited, match="60 requests per minute"):
                client.messages.create(**ask)
            with pytest.raises(AuthenticationFailed):
                client.with_options(api_key="sk-ant-other").messages.create(**ask)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=10) == 0
        log = process.stderr.read()
    assert [entry.split()[2] for entry in log.splitlines()] == ["200", "429", "401"]
    assert key not in log


def test_serve_can_be_quiet():
    """With --quiet nothing is logged."""
    with running("serve", "--port", "0", "--quiet") as process:
        url = re.search(r"ANTHROPIC_BASE_URL=(\S+)", "".join(itertools.islice(process.stdout, 2)))[
            1
        ]
        with Client(api_key="any", base_url=url) as client:
            client.models.list()
        process.send_signal(signal.SIGINT)
        assert (process.wait(timeout=10), process.stderr.read()) == (0, "")


HELLO = [{"role": "user", "content": "Hello"}]


def test_ctrl_c_ends_the_server(monkeypatch, cli):
    """It is how one ends it: exit code 0, and no word on standard error."""
    monkeypatch.setattr("sys.stdout", out := Pressing("export"))
    code, _, err = cli("serve", "--port", "0")
    assert (code, err) == (0, "")
    assert re.search(r"ANTHROPIC_BASE_URL=http://127\.0\.0\.1:\d+ ", out.getvalue())


def test_serve_says_when_the_port_is_taken(cli):
    """A port that cannot be had is exit code 1 and a line."""
    with emulator_server() as url:
        code, _, err = cli("serve", "--port", url.rpartition(":")[2])
    assert code == 1
    assert "cannot listen on 127.0.0.1:" in err


# The whole of it


@pytest.mark.parametrize("args", [["--help"], ["run", "-h"], ["message", "-h"], ["serve", "-h"]])
def test_help_fits_a_terminal(cli, args, monkeypatch):
    """Each help has a description, every option its explanation, and no line is too wide."""
    monkeypatch.setenv("COLUMNS", "80")
    code, out, err = cli(*args)
    assert (code, err) == (0, "")
    assert out.startswith("usage: claude-lite")
    assert max(map(len, out.splitlines())) <= 80
    for option in re.findall(r"^  (-\S.*(?:\n {20}.*)?)", out, re.MULTILINE):
        assert re.search(r"\S  +\S|\n +\S", option), option


def test_version(cli):
    """--version prints it."""
    code, out, _ = cli("--version")
    assert (code, out) == (0, "claude-lite 0.1.0\n")


def test_importing_it_is_cheap():
    """Neither an event loop nor a transport nor rich is loaded before it is needed."""
    code = (
        "import sys, claude_lite.cli.main;"
        "print([m for m in ('asyncio', 'aiohttp', 'rich', 'structlog', 'tenacity', 'ssl',"
        " 'claude_lite.emulator') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)  # noqa: S603  # our own code
    assert done.stdout == b"[]\n"
