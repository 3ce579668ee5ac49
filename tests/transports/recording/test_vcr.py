"""Export for vcrpy and import from it: vcrpy itself replays and records."""

import json
import sys
import urllib.error
import urllib.request

import pytest
import vcr as vcrpy
from recordings import CANARY, EVENTS, leaking, record, run, steps, zipped
from scripted import ask

from claude_lite.emulator.serving import emulator_server
from claude_lite.errors import UsageError
from claude_lite.wire import Request, Response
from claude_lite_transports.recording import CassetteMiss, RecordingTransport
from claude_lite_transports.recording.cassette import cassette_text, replace_file
from claude_lite_transports.recording.redaction import Redactor
from claude_lite_transports.recording.vcr import dump_json, dump_yaml, from_vcr, load_yaml, to_vcr

MATCH = ["method", "scheme", "host", "port", "path", "query", "body"]


@pytest.fixture
def path(tmp_path):
    """Give a path at which there is no file."""
    return tmp_path / "x.json"


def textual():
    """Give the steps whose answers are text, which JSON can hold."""
    for given in steps():
        answer = given[0]
        if not (isinstance(answer, Response) and b"\xff" in answer.body):
            yield given


def fetch(url, data, headers):
    """Send a request with nothing but the standard library; give status and body."""
    request = urllib.request.Request(url, data, headers, method="POST")  # noqa: S310  # ours
    try:
        with urllib.request.urlopen(request) as response:  # noqa: S310  # ours
            return response.status, response.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["yaml", "json"])
def test_vcrpy_replays_it(path, tmp_path, suffix):
    """Vcrpy finds every whole answer by method, host, path, query and body, to the byte."""
    items = record(path, [step for step in textual() if b"{" in bytes(step[1].body)])
    data = to_vcr(items, "https://api.test/")
    file = tmp_path / f"export.{suffix}"
    file.write_text(dump_yaml(data) if suffix == "yaml" else dump_json(data), "utf-8")
    whole = [item for item in items if item.head and not item.error]
    assert len(whole) > 20
    replay = vcrpy.VCR(record_mode="none", match_on=MATCH, serializer=suffix)
    with replay.use_cassette(str(file)) as tape:
        for item in whole:
            body = json.dumps(item.request["json"], separators=(",", ":"), ensure_ascii=False)
            url = f"https://api.test{item.request['url']}"
            got = fetch(url, body.encode(), {"Content-Type": "application/json"})
            assert got == (item.head.status, b"".join(item.chunks))
        assert tape.all_played


def test_there_and_back(path):
    """Requests and responses survive; chunks are events then, and failures are left out."""
    given = list(steps())
    items = record(path, given)
    again = from_vcr(load_yaml(dump_yaml(to_vcr(items))), Redactor())
    whole = [item for item in items if item.head and not item.error]
    assert len(whole) == len(again) < len(items)
    for old, new in zip(whole, again, strict=True):
        assert new.head == old.head
        assert b"".join(new.chunks) == b"".join(old.chunks)
        if not {"multipart", "sha256"} & old.request.keys():
            assert new.request == old.request
    streams = [
        item for item in again if item.head.headers.get("content-type") == EVENTS["content-type"]
    ]
    assert all("chunks" in item.response for item in streams)


def test_what_json_cannot_hold(path):
    """A body that is no text goes into YAML; JSON says so. Compressed ones read as text."""
    answer, body = zipped()
    raw = Response(200, {}, b"\xff")
    items = record(path, [(answer, ask(1), "send", None), (raw, ask(2), "send", None)])
    with pytest.raises(UsageError, match="is not text"):
        dump_json(to_vcr(items))
    again = from_vcr(load_yaml(dump_yaml(to_vcr(items))), Redactor())
    assert [item.whole().body for item in again] == [body, b"\xff"]


def test_what_vcrpy_records_is_imported(tmp_path):
    """A file that vcrpy has written, keys and all, becomes a cassette without them."""
    body = json.dumps(
        {
            "model": "claude-sonnet-5-5",
            "max_tokens": 50,
            "messages": [{"role": "user", "content": f"I am {CANARY}"}],
        }
    ).encode()
    headers = {
        "x-api-key": CANARY,
        "anthropic-version": "2023-06-01",
        "content-type": "application/json",
    }
    file = tmp_path / "recorded.yaml"
    with emulator_server() as url, vcrpy.use_cassette(str(file)):
        status, answer = fetch(f"{url}/v1/messages", body, headers)
        streaming = body[:-1] + b', "stream": true}'
        _, stream = fetch(f"{url}/v1/messages", streaming, headers)
    assert status == 200
    assert CANARY in file.read_text()
    items = from_vcr(load_yaml(file.read_text()), Redactor())
    path = tmp_path / "cassette.json"
    replace_file(path, cassette_text(items))
    assert CANARY not in path.read_text()
    asked = [Request("POST", "https://h/v1/messages", headers, data) for data in (body, streaming)]
    given = [
        (None, request, how, None) for request, how in zip(asked, ("send", "stream"), strict=True)
    ]
    with RecordingTransport(path, force=True) as transport:
        results = run(transport, given)
    expected = [data.replace(CANARY.encode(), b"REDACTED") for data in (answer, stream)]
    assert results == [(data, None) for data in expected]
    assert len(items[1].chunks) == stream.count(b"\n\n")
    with pytest.raises(CassetteMiss):
        RecordingTransport(path, force=True).send(ask(1))


def test_older_shapes():
    """Headers that are no lists, and bodies that are bytes or bare, are read as well."""
    item = {
        "request": {
            "method": "GET",
            "uri": "https://x/a",
            "body": None,
            "headers": {"Accept": "b"},
        },
        "response": {"status": {"code": 200}, "headers": None, "body": b"text"},
    }
    (read,) = from_vcr({"interactions": [item]}, Redactor())
    assert read.request == {"method": "GET", "url": "/a", "headers": {"accept": "b"}}
    assert read.whole().body == b"text"


@pytest.mark.parametrize("data", [None, [], {"interactions": [{}]}, {"interactions": 1}])
def test_what_is_none(data):
    """Whatever vcrpy did not write is a usage error."""
    with pytest.raises(UsageError, match="not a recording of vcrpy"):
        from_vcr(data, Redactor())
    with pytest.raises(UsageError, match="not YAML"):
        load_yaml("a: [")


def test_what_is_not_yaml_is_not_quoted():
    """The error for broken YAML says where it breaks, and shows nothing of the line."""
    with pytest.raises(UsageError, match=r"not YAML: mapping values.*line 2") as caught:
        load_yaml("a:\n  x-api-key: sk-ant-canary: x\n")
    assert "canary" not in str(caught.value)
    assert caught.value.__context__ is None


def test_without_pyyaml(monkeypatch):
    """YAML without PyYAML is a usage error that says what to install."""
    monkeypatch.setitem(sys.modules, "yaml", None)
    with pytest.raises(UsageError, match="pip install pyyaml"):
        dump_yaml({})


def test_the_canary_is_nowhere(path):
    """A credential of any place in a request is in no export."""
    items = record(path, leaking())
    for text in (dump_json(to_vcr(items)), dump_yaml(to_vcr(items))):
        assert "REDACTED" in text
        assert not [piece for piece in (CANARY, CANARY[:12], CANARY[-12:]) if piece in text]
