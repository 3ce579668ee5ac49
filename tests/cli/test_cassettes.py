"""The command `claude-lite cassettes`: what it prints, writes and returns."""

import argparse
import json

import pytest
from recordings import CANARY, STREAMS, record, steps
from scripted import answer, ask

from claude_lite.cli.cassettes import add_commands
from claude_lite.cli.main import main
from claude_lite.errors import UsageError
from claude_lite.wire import Response
from claude_lite_transports.recording.cassette import SecretInCassette, load_cassette

LIVE = "sk-ant-api03-AbCdEfGhIjKl"


def run(*args):
    """Run the command; give its exit code."""
    parser = argparse.ArgumentParser()
    add_commands(parser.add_subparsers())
    parsed = parser.parse_args(["cassettes", *map(str, args)])
    return parsed.command(parsed)


@pytest.fixture
def path(tmp_path):
    """Give a path at which there is no file."""
    return tmp_path / "x.json"


def test_show(path, capsys):
    """Requests and answers are told in lines, with deltas joined however they were cut."""
    text = next(p for p in STREAMS if p.stem == "text").read_bytes()
    given = [
        (answer(1), ask("é"), "send", None),
        ([0.5, text[:999], text[999:]], ask(2), "stream", None),
        *list(steps())[1:9],
    ]
    record(path, given)
    assert run("show", path) == 0
    out = capsys.readouterr().out
    assert (
        '[1] POST /v1/messages\n    {\n      "ask": "é"\n    }\n => 200\n    request-id: req_1\n'
        in out
    )
    assert " => 200, a stream in 2 chunks, 500 ms\n" in out
    assert '    0 text_delta "' in out
    assert out.count("text_delta") == 1
    assert " => 529\n    content-type: text/html\n    retry-after: 1\n    7 bytes\n" in out
    assert " => ConnectionFailed: refused\n" in out
    assert " => StreamInterrupted: cut\n" in out
    assert " => left early\n" in out
    assert "    size: 7\n" in out
    assert "\x1b" not in out
    record(path)
    assert run("show", path) == 0
    out = capsys.readouterr().out
    assert '"delta":{"type":"compaction_delta","content":"Summary so far."' in out


def test_show_diffs_well(path, capsys):
    """A change of a word is a change of a line, wherever the deltas are cut: git's textconv."""
    shown = []
    for words in ("the old ", "word"), ("the new", " word"):
        chunks = [b'data: {"delta":{"type":"t","text":"%b"}}\n\n' % w.encode() for w in words]
        record(path, [(chunks, ask(1), "stream", None)])
        run("show", path)
        shown.append(capsys.readouterr().out.splitlines())
    changed = [pair for pair in zip(*shown, strict=True) if pair[0] != pair[1]]
    assert changed == [('    None t "the old word"', '    None t "the new word"')]


def test_check_finds_nothing(path, tmp_path, capsys):
    """A directory of good recordings is fine; other JSON in it is none of our business."""
    record(path)
    (tmp_path / "other.json").write_text("{}")
    assert run("check", "--strict", tmp_path) == 0
    assert capsys.readouterr().out == "1 checked, 0 wrong, 0 odd\n"


def test_check_finds_what_is_wrong(tmp_path, capsys):
    """Broken files, other versions and secrets fail; the secret itself is not printed."""
    record(tmp_path / "a.json", [(answer("KEY"), ask(1), "send", None)])
    text = (tmp_path / "a.json").read_text()
    (tmp_path / "a.json").write_text(text.replace("KEY", LIVE))
    (tmp_path / "b.json").write_text('{"version": 1, "interactions": [{}]}')
    (tmp_path / "c.json").write_text('{"version": 2, "interactions": []}')
    assert run("check", tmp_path) == 1
    out = capsys.readouterr().out
    assert f"{tmp_path}/a.json: interaction 1 has an API key (sk-ant-...)" in out
    assert "b.json: is not a recording" in out
    assert "c.json: is not a recording: its version is 2" in out
    assert LIVE not in out
    assert out.endswith("3 checked, 3 wrong, 0 odd\n")


def test_check_finds_what_is_odd(tmp_path, capsys):
    """Repeated answers and recordings of no test are told, and fail only if that is asked for."""
    (tmp_path / "test_a.py").write_text(
        "def test_one(): ...\nclass TestB:\n  def test_two(): ...\n"
    )
    names = [
        "test_a/test_one.json",
        "test_a/TestB.test_two[x-1].json",
        "test_a/test_gone.json",
        "test_b/test_one.json",
        "shared/hello.json",
    ]
    for name in names:
        record(tmp_path / "cassettes" / name, [(answer(1), ask(1), "send", None)])
    again = [(answer(n), ask(1), "send", None) for n in (1, 2, 1)]
    record(tmp_path / "cassettes/test_a/test_one.json", again)
    (tmp_path / "empty.json").write_text('{"version": 1, "interactions": []}')
    assert run("check", tmp_path) == 0
    out = capsys.readouterr().out
    assert "test_one.json: interaction 3 repeats 1" in out
    assert f"test_gone.json: no test uses it: there is no test_gone in {tmp_path}/test_a.py" in out
    assert f"no test uses it: there is no {tmp_path}/test_b.py" in out
    assert "empty.json: the recording is empty" in out
    assert out.endswith("6 checked, 0 wrong, 4 odd\n")
    assert run("check", "--strict", tmp_path) == 1


def leaky(path):
    """Write a recording with secrets in it, which no recorder would have saved."""
    told = Response(200, {"request-id": "req_hunter2", "retry-after": "7"}, b'{"a":"KEY_HERE"}')
    record(
        path,
        [
            (told, ask("Bob"), "send", None),
            ([b"data: KEY_", b"HERE hunter2\n\n"], ask("Bobby"), "stream", None),
        ],
    )
    text = path.read_text().replace("KEY_", LIVE[:12]).replace("HERE", LIVE[12:])
    path.write_text(text.replace("/v1/messages", "/v1/messages?api_key=1234"))


def test_redact(path, monkeypatch, capsys):
    """Texts, values of variables and live keys are replaced, and headers dropped."""
    leaky(path)
    monkeypatch.setenv("MY_SECRET", "hunter2")
    assert run("check", path) == 1
    assert run("redact", "--env=MY_SECRET", "--text=Bob", "--header=Retry-After", path) == 0
    text = path.read_text()
    assert not [
        secret for secret in (LIVE[:12], LIVE[12:], "hunter2", "Bob", "1234") if secret in text
    ]
    whole, stream = load_cassette(path)
    assert whole.request["json"] == {"ask": "REDACTED"}
    assert whole.request["url"] == "/v1/messages?api_key=REDACTED"
    assert whole.head.headers == {"request-id": "req_REDACTED"}
    assert whole.whole().json() == {"a": "REDACTED"}
    assert b"".join(stream.chunks) == b"data: REDACTED REDACTED\n\n"
    assert run("check", path) == 0
    assert run("redact", path) == 0
    assert capsys.readouterr().out.count("rewritten") == 1


def test_redact_changes_nothing_else(path):
    """A recording without secrets stays as it is, to the byte."""
    record(path)
    before = path.read_bytes()
    assert run("redact", "--text=nowhere", path) == 0
    assert path.read_bytes() == before


def test_redact_refuses_what_it_cannot_remove(path):
    """A key that deltas add up to is in no chunk: the file is left alone, and said to leak."""
    parts = ['data: {"delta":{"text":"XX"}}\n\n', 'data: {"delta":{"text":"YY"}}\n\n']
    record(path, [([part.encode() for part in parts], ask(1), "stream", None)])
    text = path.read_text().replace("XX", LIVE[:9]).replace("YY", LIVE[9:])
    path.write_text(text)
    with pytest.raises(SecretInCassette):
        run("redact", path)
    assert path.read_text() == text
    with pytest.raises(SecretInCassette):
        run("convert", path, path.with_suffix(".har"))
    assert not path.with_suffix(".har").exists()


@pytest.mark.parametrize("name", ["x.har", "x.yaml", "vcr.json"])
def test_convert_there_and_back(path, tmp_path, name, capsys):
    """A recording becomes HAR or vcrpy's by the suffix, and what is read is recognised."""
    whole = [step for step in steps() if step[2] == "send" and isinstance(step[0], Response)]
    texts = [step for step in whole if b"\xff" not in step[0].body and "multi" not in str(step[1])]
    record(path, texts[:2])
    other, back = tmp_path / name, tmp_path / "back.json"
    to = ["--to=vcr"] if name == "vcr.json" else []
    assert run("convert", path, other, "--base-url=https://example.com", *to) == 0
    assert "https://example.com/v1/messages" in other.read_text()
    assert run("convert", other, back) == 0
    assert back.read_text() == path.read_text()
    assert run("convert", back, tmp_path / "again.json") == 0
    assert capsys.readouterr().out == ""


def test_convert_says_what_is_lost(path, capsys):
    """Failures have no place in vcrpy's files, and are counted."""
    record(path)
    assert run("convert", path, path.with_suffix(".yml")) == 0
    assert (
        "left out 2 failed requests: the format of vcrpy cannot hold them"
        in capsys.readouterr().out
    )


def test_an_import_loses_its_secrets(path, tmp_path):
    """The credential of a foreign recording is taken out, also where it occurs before its use."""
    entry = {
        "request": {"method": "GET", "url": "https://x/", "headers": []},
        "response": {"status": 200, "headers": [], "content": {"text": CANARY}},
    }
    key = [{"name": "authorization", "value": f"Bearer {CANARY}"}]
    later = {**entry, "request": {**entry["request"], "headers": key}}
    har = tmp_path / "x.har"
    har.write_text("\ufeff" + json.dumps({"log": {"entries": [entry, later]}}))
    assert run("convert", har, path) == 0
    assert CANARY not in path.read_text()
    assert [item.whole().body for item in load_cassette(path)] == [b"REDACTED"] * 2


def test_wrong_usage(path, tmp_path):
    """Files that are not there or are neither kind, and absent variables, are usage errors."""
    nothing = tmp_path / "nothing"
    path.write_text("no")
    for args in (
        ("show", nothing),
        ("check", nothing),
        ("redact", nothing),
        ("redact", "--env=NO_SUCH_VARIABLE", path),
        ("convert", nothing, path),
        ("convert", path, nothing),
    ):
        with pytest.raises(UsageError):
            run(*args)


def test_it_is_a_command(path, capsys):
    """The program has it, with its exit codes and errors."""
    record(path)
    assert main(["cassettes", "check", str(path)]) == 0
    assert main(["cassettes", "show", str(path.with_name("nothing"))]) == 2
    assert "there is no file" in capsys.readouterr().err
