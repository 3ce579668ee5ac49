"""Server-sent events by three parsers that know nothing of one another: ours and two of others.

Where the three agree, they are right. Where they do not, the standard decides, and each case in
which it is known to be on our side is a predicate here, with the reason; all else is compared.
"""

import itertools

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sse_reference import reference

from claude_lite.core.sse import BOM, SSEDecoder

httpx_sse = pytest.importorskip("httpx_sse")
sseclient = pytest.importorskip("sseclient")


def ours(chunks):
    """Give the events of our parser; no name is the name `message`."""
    decoder = SSEDecoder()
    found = [event for chunk in chunks for event in decoder.receive(chunk)]
    return [(name or "message", data.decode("utf-8", "replace")) for name, data in found]


def by_httpx_sse(chunks):
    """Give the events of httpx-sse, which reads text that httpx has decoded."""
    headers = {"content-type": "text/event-stream; charset=utf-8"}
    response = httpx.Response(200, headers=headers, content=iter(chunks))
    return [(event.event, event.data) for event in httpx_sse.EventSource(response).iter_sse()]


def by_sseclient(chunks):
    """Give the events of sseclient-py, which reads bytes."""
    return [(event.event, event.data) for event in sseclient.SSEClient(iter(chunks)).events()]


# In what the others differ from the standard


def has_bom(data):
    """A leading byte order mark is no part of the stream; both take it for a part of its line."""
    return data.startswith(BOM)


def without_empty(events):
    """An event whose data is empty is one if it had a line `data`, and none if it had not.

    httpx-sse gives both, once there is a name or an id, and they look the same.
    """
    return [event for event in events if event[1] != ""]


def mixes_line_ends(data):
    """LF CR, LF CRLF and the like are blank lines, too: sseclient joins the events around them."""
    rest = data.replace(b"\r\n", b"")
    return sum((b"\r\n" in data, b"\r" in rest, b"\n" in rest)) > 1


def is_unfinished(data):
    """Without its blank line an event is dropped; sseclient gives it."""
    plain = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return plain not in (b"", b"\n") and not plain.endswith(b"\n\n")


def is_not_utf8(data):
    """What is not UTF-8 reads as U+FFFD; sseclient raises."""
    try:
        data.decode()
    except UnicodeDecodeError:
        return True
    return False


def has_no_peer(data):
    """Say whether sseclient's answer to a stream is known to be another than the standard's."""
    return has_bom(data) or mixes_line_ends(data) or is_unfinished(data) or is_not_utf8(data)


# Streams

FIELDS = st.sampled_from(["data", "data", "data", "event", "id", "retry", "Data", "x", "", " data"])
VALUES = st.sampled_from(
    [
        *("", " ", "  two", "x", '{"a": "b"}', "a:b", ":", "15", "\0", "\ufeff", "é🌍", "\u2028"),
        *("\x85", "\x0b\x0c", "\x1c\x1d\x1e", "a\u2029b", "data: x", "\t"),
    ]
)
ODD = st.sampled_from([b"data: \xff", b"data: \xe2\x80", b"event: \xc3", b"\xf0\x9f: x"])
TEXT_LINES = st.tuples(FIELDS, st.sampled_from([":", ": ", ""]), VALUES).map(
    lambda parts: "".join(parts if parts[1] else parts[:1]).encode()
)
BLANK = st.just(b"")
LINES = st.lists(TEXT_LINES | TEXT_LINES | BLANK, max_size=14)
ENDINGS = st.sampled_from([b"\n", b"\r", b"\r\n"])


@st.composite
def streams(draw):
    """Write a stream: of one kind of line ends or of all, whole or not, and cut anywhere."""
    lines = draw(st.lists(ODD | TEXT_LINES | BLANK, max_size=14) | LINES)
    one = draw(st.none() | ENDINGS)
    data = b"".join(line + (one or draw(ENDINGS)) for line in lines)
    data = draw(st.sampled_from([b"", b"", b"", BOM])) + data
    data += draw(st.sampled_from([(one or b"\n") * 2, b"", b"data: x", b"\xe2"]))
    places = draw(st.lists(st.integers(0, len(data)), max_size=8))
    ends = [0, *sorted(places), len(data)]
    return data, [data[a:b] for a, b in itertools.pairwise(ends)]


@pytest.mark.slow
@given(streams())
@settings(deadline=None, max_examples=500)
def test_all_agree(case):
    """On any stream, cut anywhere, the three give the same, but for what is excluded above."""
    data, chunks = case
    found = ours(chunks)
    assert found == [(name or "message", text) for name, text in reference(data)]
    if not has_bom(data):
        assert without_empty(by_httpx_sse(chunks)) == without_empty(found)
    if not has_no_peer(data):
        assert by_sseclient(chunks) == found


@given(LINES, ENDINGS, st.integers(1, 9))
@settings(deadline=None, max_examples=200)
def test_all_agree_on_what_is_sent(lines, ending, size):
    """On streams as servers write them, with nothing excluded, all three are compared."""
    data = b"".join(line + ending for line in lines) + ending * 2
    chunks = [data[i : i + size] for i in range(0, len(data), size)]
    assert by_sseclient(chunks) == ours(chunks)
    assert without_empty(by_httpx_sse(chunks)) == without_empty(ours(chunks))


@pytest.mark.parametrize(
    ("data", "excluded", "standard"),
    [
        (BOM + b"data: x\n\n", has_bom, [("message", "x")]),
        (b"data: x\n\r\ndata: y\n\n", mixes_line_ends, [("message", "x"), ("message", "y")]),
        (b"data: x\n\rdata: y\n\n", mixes_line_ends, [("message", "x"), ("message", "y")]),
        (b"data: x\n\ndata: y\n", is_unfinished, [("message", "x")]),
        (b"data: \xff\n\n", is_not_utf8, [("message", "\ufffd")]),
    ],
)
def test_what_is_excluded(data, excluded, standard):
    """Each predicate knows its example, in which the standard says what we do."""
    assert excluded(data)
    assert has_no_peer(data)
    assert ours([data]) == standard


def test_events_without_data():
    """A name or an id alone is no event, as the standard has it; a line `data` is one."""
    data = b"event: a\n\nid: 7\n\n\ndata\n\n"
    assert ours([data]) == [("message", "")]
    assert by_sseclient([data]) == [("message", "")]
    assert without_empty(by_httpx_sse([data])) == []


@pytest.mark.parametrize("character", ["\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c", "\x1e"])
def test_what_other_standards_take_for_a_line_end(character):
    """Only CR and LF end a line, for all three: these are text within it."""
    data = f"data: a{character}data: b\n\n".encode()
    expected = [("message", f"a{character}data: b")]
    assert ours([data]) == by_httpx_sse([data]) == by_sseclient([data]) == expected
