"""The file of recordings: what is in it, and that it gives back every byte and error."""

import json
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claude_lite.errors import ClaudeError, ConnectTimedOut, TransportError, UsageError
from claude_lite_transports.recording.cassette import (
    CassetteMiss,
    Interaction,
    InteractionsUnused,
    SecretInCassette,
    cassette_text,
    encode_body,
    encode_chunk,
    load_cassette,
    replace_file,
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def interaction(**response):
    """Build an interaction with the given response."""
    raw = {"request": {"method": "GET", "url": "/v1/models"}, "response": {"status": 200}}
    return Interaction.from_raw(raw | {"response": {"status": 200, **response}})


@given(
    st.binary()
    | JSON.map(lambda value: json.dumps(value, ensure_ascii=False)).map(
        lambda text: text.encode("utf-8", "backslashreplace")
    )
    | JSON.map(lambda value: json.dumps(value, separators=(",", ":"))).map(str.encode)
)
def test_a_body_is_restored_to_the_byte(body):
    """Whatever the body, the text of the file gives back exactly its bytes."""
    text = cassette_text([interaction(**encode_body(body))])
    back = Interaction.from_raw(json.loads(text)["interactions"][0])
    assert b"".join(back.chunks) == body


@given(st.lists(st.binary(max_size=8)))
def test_chunks_are_restored_to_the_byte(chunks):
    """Chunks come back with their bytes and their boundaries, empty ones included."""
    text = cassette_text([interaction(chunks=[encode_chunk(chunk) for chunk in chunks])])
    back = Interaction.from_raw(json.loads(text)["interactions"][0])
    assert list(back.chunks) == chunks


@pytest.mark.parametrize(
    ("body", "form"),
    [
        (b'{"a":[1,2.5,"\xc3\xa9"],"b":null}', "json"),
        (b'{"a": 1}', "text"),
        (b'{"a":1,"a":2}', "text"),
        (b'{"a":1e3}', "text"),
        (b'{"a":"\\u00e9"}', "text"),
        (b'{"a":"\\ud800"}', "text"),
        (b"[" * 200 + b"]" * 200, "text"),
        (b"[" * 200_000 + b"]" * 200_000, "text"),
        (b"NaN", "text"),
        (b"1e999", "text"),
        (b"\xff\xfe", "base64"),
    ],
)
def test_json_only_where_it_is_exact(body, form):
    """A body is kept as JSON only if compact JSON restores it; else as a text, or base64."""
    assert list(encode_body(body)) == [form]


def test_the_file_reads_and_diffs_well(tmp_path):
    """A file is indented, with one chunk a line, and delays in one line; this is version 1."""
    chunks = ["event: ping\n\n", {"base64": "4oI="}, "line\u2028end"]
    item = interaction(headers={"a": "b"}, chunks=chunks, delays_ms=[5, 0, 1, 20])
    replace_file(tmp_path / "new" / "x.json", cassette_text([item]))
    assert (
        (tmp_path / "new" / "x.json").read_text()
        == r"""{
  "version": 1,
  "interactions": [
    {
      "request": {
        "method": "GET",
        "url": "/v1/models"
      },
      "response": {
        "status": 200,
        "headers": {
          "a": "b"
        },
        "chunks": [
          "event: ping\n\n",
          {"base64": "4oI="},
          "line\u2028end"
        ],
        "delays_ms": [5, 0, 1, 20]
      }
    }
  ]
}
"""
    )
    assert load_cassette(tmp_path / "new" / "x.json") == [item]
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["x.json"]


def test_half_a_surrogate_pair_survives(tmp_path):
    """Text that UTF-8 cannot say is written as its JSON escape."""
    item = Interaction.from_raw(
        {"request": {"method": "POST", "url": "/", "json": "\ud800"}, "error": {"error": "X"}}
    )
    replace_file(tmp_path / "x.json", cassette_text([item]))
    assert load_cassette(tmp_path / "x.json") == [item]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"version": 1}',
        '{"version": 2, "interactions": []}',
        '{"version": 1, "interactions": [{}]}',
        '{"version": 1, "interactions": [{"request": {"method": "GET", "url": "/"}}]}',
    ],
)
def test_a_broken_file_is_a_usage_error(tmp_path, text):
    """What is not a recording, or of another version, is refused with the name of the file."""
    path = tmp_path / "x.json"
    path.write_text(text)
    with pytest.raises(UsageError, match=r"x\.json"):
        load_cassette(path)


def test_a_missing_file_is_empty(tmp_path):
    """No file, no interactions: a miss will say what to do."""
    assert load_cassette(tmp_path / "x.json") == []


def test_a_failed_write_leaves_the_old_file(tmp_path):
    """The file is replaced in one step, or not at all."""
    path = tmp_path / "x.json"
    replace_file(path, "old")
    with pytest.raises(AttributeError):
        replace_file(path, None)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("cls", [CassetteMiss, SecretInCassette, InteractionsUnused])
def test_errors_are_data(cls):
    """The errors rebuild from their args, survive pickle, and turn into JSON and back."""
    error = cls("m", advice="a", details={"left": 1})
    for back in (
        cls(*error.args),
        pickle.loads(pickle.dumps(error)),  # noqa: S301  # its own
        ClaudeError.from_dict(json.loads(json.dumps(error.to_dict()))),
    ):
        assert (type(back), back.args, str(back)) == (cls, error.args, str(error))


def test_the_leaf_of_an_absent_transport():
    """An error class that is not known here comes back as a TransportError with its message."""
    item = Interaction.from_raw(
        {
            "request": {"method": "GET", "url": "/"},
            "error": {"error": "SocksRefused", "message": "no"},
        }
    )
    with pytest.raises(TransportError, match="no"):
        item.whole()


def test_errors_keep_their_leaf_and_args():
    """An error comes back as the same leaf with the same args."""
    error = ConnectTimedOut(retry_after=1.5, details={"host": "x"})
    raw = {"request": {"method": "GET", "url": "/"}, "error": error.to_dict()}
    with pytest.raises(ConnectTimedOut) as caught:
        Interaction.from_raw(json.loads(json.dumps(raw))).begin()
    assert caught.value.args == error.args
