"""Server-sent events: the standard's rules, any cut, linear work, a limit that holds."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from places import SAMPLES
from sse_reference import reference

from claude_lite.core.sse import BOM, SSEDecoder
from claude_lite.errors import ResponseTooLarge

STREAMS = sorted((SAMPLES / "streams").glob("*.sse"))
MEGABYTE = 1 << 20


def decoded(chunks, limit=None):
    """Give the events of some chunks, and whether the limit was met."""
    decoder = SSEDecoder(limit)
    events = []
    try:
        for chunk in chunks:
            for name, data in decoder.receive(chunk):
                events.append((name, data.decode("utf-8", "replace")))
    except ResponseTooLarge:
        return events, True
    return events, False


def events(*chunks):
    """Give the events of some chunks."""
    return decoded(chunks)[0]


def cut(data, places):
    """Cut *data* at some places."""
    ends = [0, *sorted(places), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(ends)]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"data: x\n\n", [("", "x")]),
        (b"data:x\n\n", [("", "x")]),
        (b"data:  x \n\n", [("", " x ")]),
        (b"data: a\ndata: b\ndata:c\n\n", [("", "a\nb\nc")]),
        (b"data\n\n", [("", "")]),
        (b"data:\n\n", [("", "")]),
        (b"data: \n\n", [("", "")]),
        (b"data\ndata\n\n", [("", "\n")]),
        (b"data: a\n\ndata: b\n\n", [("", "a"), ("", "b")]),
        (b"data: a\r\n\r\ndata: b\r\r\ndata: c\n\r", [("", "a"), ("", "b"), ("", "c")]),
        (b"data: a\r\rdata: b\r\r", [("", "a"), ("", "b")]),
        (b"data: a\r\ndata: b\rdata: c\n\n", [("", "a\nb\nc")]),
        (b"event: e\ndata: x\n\n", [("e", "x")]),
        (b"data: x\nevent: e\n\n", [("e", "x")]),
        (b"event: a\nevent: b\ndata: x\n\n", [("b", "x")]),
        (b"event: a\nevent\ndata: x\n\n", [("", "x")]),
        (b"event:a\ndata:x\n\n", [("a", "x")]),
        (b"event:  a\ndata:  x\n\n", [(" a", " x")]),
        (b"event: a\n\ndata: x\n\n", [("", "x")]),
        (b"event: a\ndata: x\ndata: y\n\n", [("a", "x\ny")]),
        (b"event: a\nid: 7\nretry: 15\ndata: x\n\n", [("a", "x")]),
        (b"id: 7\nretry: x\nunknown: y\nfield\ndata: x\n\n", [("", "x")]),
        (b": comment\n\n:\n\n: c\ndata: x\n: d\n\n", [("", "x")]),
        (b":data: x\n\n", []),
        (b" data: x\n\n", []),
        (b"Data: x\n\nDATA: y\n\n", []),
        (b"data : x\n\n", []),
        (b"\n\n\n\ndata: x\n\n\n\n\n", [("", "x")]),
        (BOM + b"data: x\n\n", [("", "x")]),
        (BOM + BOM + b"data: x\n\n", []),
        (b"\n" + BOM + b"data: x\n\n", []),
        (b"data: " + BOM + b"\n\n", [("", "\ufeff")]),
        (b"data: a\0b\nid: \0\n\n", [("", "a\0b")]),
        ("data: a\u2028b\u2029c\x85d\x0be\x0cf\x1cg\n\n".encode(), None),
        (b"data: \xff\xfe\nevent: \xe2\x80\n\n", [("\ufffd", "\ufffd\ufffd")]),
        ("event: é🌍\ndata: ü\n\n".encode(), [("é🌍", "ü")]),
        (b'data: {"a": 1}\n\n', [("", '{"a": 1}')]),
        (b"data: x", []),
        (b"data: x\n", []),
        (b"data: x\r", []),
        (b"data: x\r\n", []),
        (b"", []),
    ],
    ids=repr,
)
def test_the_rules(data, expected):
    """Each rule of the standard has an example; the reference agrees, and so do single bytes."""
    if expected is None:  # line ends elsewhere, but not here
        expected = [("", data.decode()[6:-2])]
    assert reference(data) == expected
    assert events(data) == expected
    assert events(*(data[i : i + 1] for i in range(len(data)))) == expected
    assert events(b"", data, b"") == expected


PIECES = st.sampled_from(
    [
        *(b"data", b"event", b"id", b"retry", b":", b": ", b"  ", b"\n", b"\r", b"\r\n", b"\n\n"),
        *(b"event: a\ndata: b\n\n", b"data: b\r\n\r\n", b"event: x\n", b"data: {}\n", b"x", b"\0"),
        *(BOM, b"\xef", b"\xbb", b"\xbf", b"\xff", b"\xe2\x80\xa8", b"\xe2", b"\xc2\x85", b"\x0b"),
    ]
)
STREAM = st.lists(PIECES | st.binary(max_size=4), max_size=16).map(b"".join)


@given(STREAM, st.data())
@settings(deadline=None, max_examples=300)
def test_any_bytes_in_any_cut(data, draw):
    """Whatever comes, however it is cut, the events are those of the reference."""
    places = draw.draw(st.lists(st.integers(0, len(data)), max_size=8))
    assert events(*cut(data, places)) == reference(data)


@given(STREAM, st.integers(0, 24), st.data())
@settings(deadline=None, max_examples=300)
def test_any_bytes_in_any_cut_under_a_limit(data, limit, draw):
    """The limit is met, or not, after the same events, however the bytes are cut."""
    places = draw.draw(st.lists(st.integers(0, len(data)), max_size=8))
    whole = decoded([data], limit)
    assert decoded(cut(data, places), limit) == whole
    assert decoded([data[i : i + 1] for i in range(len(data))], limit) == whole
    assert whole[0] == reference(data)[: len(whole[0])]
    assert whole[1] or whole[0] == reference(data)


@pytest.mark.parametrize("path", STREAMS, ids=lambda p: p.stem)
@pytest.mark.parametrize("ending", [b"\n", b"\r\n", b"\r"], ids=["lf", "crlf", "cr"])
@pytest.mark.slow
def test_every_split_of_a_transcript(path, ending):
    """Cut once at any byte, and into pieces of any small size, a transcript gives its events."""
    data = BOM + path.read_bytes().replace(b"\r\n", b"\n").replace(b"\n", ending)
    expected = reference(data)
    assert len(expected) > 2
    assert events(data) == expected
    for place in range(0, len(data) + 1, 1 if ending == b"\n" else 7):
        assert events(data[:place], data[place:]) == expected
    for size in (1, 2, 3, 5, 7, 64):
        assert events(*(data[i : i + size] for i in range(0, len(data), size))) == expected


class Counted(bytearray):
    """A buffer that counts the bytes that are added to it, searched and copied out of it."""

    touched = 0

    def __iadd__(self, data):
        """Add, and count."""
        type(self).touched += len(data)
        return super().__iadd__(data)

    def find(self, sub, start=0):
        """Search, and count to the end at worst."""
        type(self).touched += len(self) - start
        return super().find(sub, start)

    def __bytes__(self):
        """Copy, and count."""
        type(self).touched += len(self)
        return bytes(memoryview(self))

    def __getitem__(self, where):
        """Copy a part, and count."""
        found = super().__getitem__(where)
        type(self).touched += len(found)
        return found


class Watched(SSEDecoder):
    """A decoder each buffer of which is counted."""

    @property
    def buffer(self):
        """The start of an event."""
        return self.__dict__["buffer"]

    @buffer.setter
    def buffer(self, value):
        self.__dict__["buffer"] = Counted(value)


def work(chunks):
    """Give the events of chunks, and how many bytes of the buffer were touched for them."""
    decoder = Watched(64 * MEGABYTE)
    Counted.touched = 0
    found = [event for chunk in chunks for event in decoder.receive(chunk)]
    assert type(decoder.buffer) is Counted
    return found, Counted.touched


@pytest.mark.parametrize("ending", [b"\n\n", b"\r\n\r\n", b"\r\r"], ids=["lf", "crlf", "cr"])
def test_a_huge_line_is_linear_work(ending):
    """32 MB in chunks of 64 KB: each byte is added, searched and copied once."""
    size = 32 * MEGABYTE
    chunk = b"x" * (64 * 1024)
    found, touched = work([b"data: ", *[chunk] * (size // len(chunk)), ending, ending])
    assert [len(data) for _, data in found] == [size]
    assert touched < 3.1 * size


def test_many_tiny_chunks_are_linear_work():
    """200,000 chunks of one byte within one event: each byte is touched a few times at most."""
    size = 200_000
    found, touched = work([b"data: ", *[b"x"] * size, b"\n", b"\n"])
    assert [len(data) for _, data in found] == [size]
    assert touched < 5 * size


def test_many_small_events_are_linear_work():
    """Events that are each cut in two leave nothing behind that is touched again."""
    event = b"event: a\ndata: b\n\n"
    data = event * 10_000
    found, touched = work(cut(data, range(9, len(data), len(event))))
    assert found == [("a", b"b")] * 10_000
    assert touched < 5 * len(data)


@pytest.mark.parametrize("ending", [b"\n", b"\r\n", b"\r"], ids=["lf", "crlf", "cr"])
@pytest.mark.parametrize("finished", [True, False])
@pytest.mark.parametrize("size", [1, 7, 100, 1 << 20])
def test_the_limit(ending, finished, size):
    """An event of the limit passes; one more byte is too much, finished or not, cut or not."""
    limit = 5000
    for extra, met in ((0, False), (1, True)):
        event = b"data: " + b"x" * (limit - 6 + extra)
        stream = b"data: a" + ending * 2 + event + (ending * 2 if finished else b"")
        chunks = [stream[i : i + size] for i in range(0, len(stream), size)]
        found, too_large = decoded(chunks, limit)
        assert too_large is met
        assert found[0] == ("", "a")
        assert len(found) == 1 + (finished and not met)


def test_the_limit_is_that_of_one_event():
    """A chunk with many events, each below the limit, passes, and so does a stream of them."""
    event = b"event: a\ndata: b\n\n"
    assert decoded([event * 1000], len(event)) == ([("a", "b")] * 1000, False)
    assert decoded([event] * 1000, len(event)) == ([("a", "b")] * 1000, False)


def test_lines_count_together():
    """Many short lines of one event are as large as one long line, comments included."""
    for line in (b"data: x\n", b": x\n", b"id: 1\n"):
        assert decoded([line * 1000], 500) == ([], True)
        assert decoded([line] * 1000, 500) == ([], True)


def test_the_error_says_what_to_do():
    """It has the limit in it, and names the option that raises it."""
    with pytest.raises(ResponseTooLarge, match=r"over 10 bytes of .* set a larger max_event"):
        list(SSEDecoder(10).receive(b"data: " + b"x" * 10))


def test_what_waits_is_bounded():
    """Past the limit nothing is kept that was complete, and no more than came is held."""
    decoder = SSEDecoder(1000)
    for _ in range(100):
        assert list(decoder.receive(b"data: " + b"x" * 900 + b"\n\nda")) != []
        assert len(decoder.buffer) == 2
        list(decoder.receive(b"ta: y\n\n"))
        assert len(decoder.buffer) == 0
