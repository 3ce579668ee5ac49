"""Which recorded request is the same as another, and what is said if none is."""

import hashlib
import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claude_lite.wire import Request
from claude_lite_transports.recording import RecordingTransport
from claude_lite_transports.recording.cassette import (
    CassetteMiss,
    Interaction,
    cassette_text,
    replace_file,
)
from claude_lite_transports.recording.matching import describe, match_key
from claude_lite_transports.recording.multipart import split_parts
from claude_lite_transports.recording.redaction import Redactor

URL = "https://api.anthropic.com/v1/messages"


def key(url=URL, body=b"", method="POST", **headers):
    """Give the key by which a request is matched."""
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    return match_key(describe(Request(method, url, headers, body), Redactor()))


def form(boundary, *parts):
    """Encode parts, each of a disposition, further header lines, and content."""
    lines = b""
    for disposition, extra, content in parts:
        head = f"--{boundary}\r\nContent-Disposition: form-data; {disposition}\r\n{extra}\r\n"
        lines += head.encode() + content + b"\r\n"
    return lines + f"--{boundary}--\r\n".encode()


class Pieces:
    """A body source that gives its bytes in pieces of a given size."""

    def __init__(self, body, step):
        """Hold the body, which is read in pieces all the same."""
        self.body, self.step, self.size, self.passes = body, step, len(body), 0

    def __iter__(self):
        """Start over, and count how often."""
        self.passes += 1
        for start in range(0, self.size, self.step):
            yield self.body[start : start + self.step]


def test_what_is_the_same_request():
    """Host, headers, the order of keys and of parameters, and JSON spelling do not count."""
    a = key(URL + "?a=1&b=%32", b'{"x": 1.50, "y": ["\\u00e9"]}', x_api_key="k")
    b = key("http://[::1]:8080/v1/messages?b=2&a=1", '{"y":["é"],"x":1.5}'.encode())
    assert a == b


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ({"method": "GET"}, {"method": "POST"}),
        ({"url": URL}, {"url": URL + "/batches"}),
        ({"url": URL + "?a=1"}, {"url": URL + "?a=2"}),
        ({"url": URL + "?a=1&a=2"}, {"url": URL + "?a=2&a=1"}),
        ({"url": URL + "?a="}, {"url": URL}),
        ({"body": b"1"}, {"body": b"1.0"}),
        ({"body": b"[true]"}, {"body": b"[1]"}),
        ({"body": b"[1,2]"}, {"body": b"[2,1]"}),
        ({"body": b"null"}, {"body": b""}),
        ({"body": b"plain"}, {"body": b"other"}),
    ],
)
def test_what_is_another_request(a, b):
    """Method, path, each query value, and each JSON value with its type count."""
    assert key(**a) != key(**b)


@given(st.binary(max_size=60), st.integers(1, 40), st.randoms())
def test_multipart_is_split_however_it_is_cut(content, step, rnd):
    """A form gives the same parts for every cut and every boundary."""
    file = ('name="file"; filename="a.txt"', "Content-Type: text/plain\r\n", content)
    field = ('name="expires_in_seconds"', "", b"86400")
    boundary = f"b{rnd.getrandbits(64):x}"
    parts = split_parts(Pieces(form(boundary, field, file), step), boundary.encode())
    assert [part.described() for part in parts] == [
        {"name": "expires_in_seconds", "value": "86400"},
        {
            "name": "file",
            "filename": "a.txt",
            "content_type": "text/plain",
            "sha256": hashlib.sha256(content).hexdigest(),
            "size": len(content),
        },
    ]


def test_a_form_matches_by_its_parts():
    """Two boundaries, one from memory and one read in pieces: the same form, read once."""
    part = ('name="file"; filename="a.txt"', "Content-Type: text/plain\r\n", b"hello" * 999)
    other = ('name="file"; filename="b.txt"', *part[1:])
    source = Pieces(form("two", part), 100)
    one = key(body=form("one", part), content_type="multipart/form-data; boundary=one")
    two = key(body=source, content_type='multipart/form-data; charset=utf-8; boundary="two"')
    assert one == two
    assert source.passes == 1
    assert one != key(body=form("one", other), content_type="multipart/form-data; boundary=one")


def test_a_field_that_is_no_text_is_hashed():
    """A value is shown if it is short and in UTF-8; any other is hashed as a file is."""
    parts = [('name="a"', "", content) for content in (b"ok", b"\xff", b"x" * 1025)]
    described = [part.described() for part in split_parts([form("b", *parts)], b"b")]
    assert [sorted(part) for part in described] == [
        ["name", "value"],
        ["name", "sha256", "size"],
        ["name", "sha256", "size"],
    ]


@pytest.mark.parametrize("kind", ["multipart/form-data", "multipart/form-data; boundary=else"])
def test_a_broken_form_is_hashed_whole(kind):
    """Without its boundary a form is bytes like any other."""
    body = form("one", ('name="a"', "", b"1"))
    described = describe(Request("POST", URL, {"content-type": kind}, body), Redactor())
    assert described["sha256"] == hashlib.sha256(body).hexdigest()


def test_another_source_is_hashed_whole():
    """A body source that is no form is known by its hash and size."""
    body = random.Random(1).randbytes(1000)  # noqa: S311  # any bytes
    described = describe(Request("POST", URL, {}, Pieces(body, 64)), Redactor())
    assert described["sha256"] == hashlib.sha256(body).hexdigest()
    assert described["size"] == 1000


def miss(tmp_path, *bodies, now, url=URL, allow_repeats=False):
    """Replay `bodies` once each, then give the error for `now`."""
    items = [
        Interaction.from_raw(
            {
                "request": {"method": "POST", "url": "/v1/messages", "json": body},
                "response": {"status": 200, "json": {}},
            }
        )
        for body in bodies
    ]
    replace_file(tmp_path / "x.json", cassette_text(items))
    transport = RecordingTransport(tmp_path / "x.json", force=True, allow_repeats=allow_repeats)
    with pytest.raises(CassetteMiss) as caught:
        transport.send(Request("POST", url, {}, json.dumps(now).encode()))
    return caught.value


def test_a_miss_says_what_differs(tmp_path):
    """The error names the closest interaction and the paths that differ, values shortened."""
    long = "word " * 100
    error = miss(
        tmp_path,
        {"model": "a", "messages": []},
        {"model": "b", "messages": [{"content": long + "one" + long}], "top_k": 1},
        now={"model": "b", "messages": [{"content": long + "two" + long}, 5]},
    )
    assert str(error) == (
        f"no recorded answer to POST /v1/messages in {tmp_path}/x.json\n"
        "  closest is interaction 2, POST /v1/messages (not used)\n"
        "    body.messages[0].content: recorded"
        " ...d word word oneword word word word word word wor...,"
        " now ...d word word twoword word word word word word wor...\n"
        "    body.messages[1]: recorded nothing, now 5\n"
        "    body.top_k: recorded 1, now nothing\n"
        "  2 recorded, 0 used, 2 left."
        " CLAUDE_LITE_RECORD=new_episodes (or pytest --claude-record=new_episodes)"
        ' records what is missing; the mode "rewrite" records everything again'
    )
    assert error.details == {
        "path": str(tmp_path / "x.json"),
        "method": "POST",
        "url": "/v1/messages",
        "closest": 2,
        "differ": ["body.messages[0].content", "body.messages[1]", "body.top_k"],
        "recorded": 2,
        "used": 0,
        "left": 2,
    }


def test_a_miss_shows_a_few_differences(tmp_path):
    """Of many differences the first are shown and the rest counted."""
    error = miss(tmp_path, list(range(20)), now=list(range(1, 21)))
    assert "    and 12 more" in error.message.splitlines()


def test_a_miss_prefers_the_same_path(tmp_path):
    """A request to another path is farther than one with another body."""
    error = miss(tmp_path, 1, now=1, url=URL + "/batches")
    assert error.details["differ"] == ["path"]


def test_a_miss_without_a_file(tmp_path):
    """The error says that there is no file at all."""
    transport = RecordingTransport(tmp_path / "x.json", force=True)
    with pytest.raises(CassetteMiss, match="no such file"):
        transport.send(Request("GET", URL, {}))
