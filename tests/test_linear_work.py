"""Work that grows as its input does: counted in bytes touched and calls made, not in time."""

import sys
import time
import tracemalloc

import pytest

from claude_lite.api.completions import ChatDecoder
from claude_lite.api.messages.decoder import MessageDecoder
from claude_lite.api.uploads import FormBody, Part
from claude_lite.testing import message_stream, sse, tool_use
from claude_lite.wire import Limits, Request, Response
from claude_lite_transports.recording import redaction
from claude_lite_transports.recording.redaction import Redactor
from claude_lite_transports.shared import http1 as _http1
from claude_lite_transports.shared.http1 import ReplyParser

NO_LIMITS = Limits(max_response=None, max_head=None, max_headers=None)
HEAD = Response(200, {})


class Counted(bytearray):
    """A buffer that counts the bytes that are searched, copied or moved in it."""

    touched = 0

    def find(self, sub, start=0):
        """Search, and count."""
        found = super().find(sub, start)
        Counted.touched += (len(self) if found < 0 else found) - start
        return found

    def __getitem__(self, key):
        """Copy, and count."""
        found = super().__getitem__(key)
        Counted.touched += len(found) if isinstance(key, slice) else 1
        return found

    def __setitem__(self, key, value):
        """Insert, and count what is moved."""
        Counted.touched += len(self)
        super().__setitem__(key, value)


class CountedPattern:
    """A pattern that counts how far it looks."""

    def __init__(self, pattern):
        self.pattern = pattern

    def search(self, buffer, start):
        """Search, and count."""
        found = self.pattern.search(buffer, start)
        Counted.touched += (found.end() if found else len(buffer)) - start
        return found

    def match(self, buffer):
        """Match, and count; what does not match is looked at as far as there is."""
        found = self.pattern.match(buffer)
        Counted.touched += found.end() if found else len(buffer)
        return found


def touched(data, step, monkeypatch):
    """How many bytes a reply touches that comes in steps of so many bytes."""
    for name in ("_BLANK", "_CHUNK"):
        pattern = getattr(_http1, name)
        if not isinstance(pattern, CountedPattern):
            monkeypatch.setattr(_http1, name, CountedPattern(pattern))
    reply = ReplyParser("GET", NO_LIMITS)
    reply._buffer = Counted()
    Counted.touched = 0
    for at in range(0, len(data), step):
        reply.receive(data[at : at + step])
        if reply.has_head():
            while reply.take():
                pass
    assert reply.complete
    assert type(reply._buffer) is Counted
    return Counted.touched


OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
HEADS = {
    "a long header": lambda n: OK + b"Content-Length: 0\r\nX: " + b"x" * n + b"\r\n\r\n",
    "many headers": lambda n: OK + b"Content-Length: 0\r\n" + b"X: y\r\n" * (n // 6) + b"\r\n",
    "interim replies": lambda n: (
        b"HTTP/1.1 100 Continue\r\n\r\n" * (n // 25) + OK + b"Content-Length: 0\r\n\r\n"
    ),
    "tiny chunks": lambda n: CHUNKED + b"1\r\nx\r\n" * (n // 6) + b"0\r\n\r\n",
    "a large chunk": lambda n: CHUNKED + b"%x\r\n" % n + b"x" * n + b"\r\n0\r\n\r\n",
    "a long extension": lambda n: CHUNKED + b"1;" + b"x" * n + b"\r\nx\r\n0\r\n\r\n",
    "a last one": lambda n: CHUNKED + b"0;" + b"x" * n + b"\r\nX: y\r\n\r\n",
    "long trailers": lambda n: CHUNKED + b"0\r\n" + b"X: y\r\n" * (n // 6) + b"\r\n",
    "a counted body": lambda n: OK + b"Content-Length: %d\r\n\r\n" % n + b"x" * n,
}


@pytest.mark.parametrize("step", [1, 1000])
@pytest.mark.parametrize("name", HEADS)
@pytest.mark.slow
def test_reading_a_reply(name, step, monkeypatch):
    """Twice the reply is twice the work, however it is cut: heads, chunks and what is between."""
    make, size = HEADS[name], 12_000
    once, twice = (touched(make(n), step, monkeypatch) for n in (size, 2 * size))
    assert once >= size // 3
    assert twice < 2.2 * once + 2000
    assert once < 25 * size


def calls(work):
    """How many calls of functions something makes, those in C included."""
    count = 0

    def profile(_, kind, __):
        nonlocal count
        count += kind in {"call", "c_call"}

    sys.setprofile(profile)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count


def accumulated(chunks):
    """Feed a message to a decoder, and give the message."""
    decoder = MessageDecoder(HEAD)
    for chunk in chunks:
        decoder.receive(chunk)
    assert decoder.complete
    return decoder.result()


STREAMS = {
    "text": lambda n: message_stream("x" * n),
    "a tool's input": lambda n: message_stream(tool_use("t", {"a": "x" * n})),
    "blocks": lambda n: message_stream(*["x"] * (n // 20)),
    "tiny cuts": lambda n: message_stream("x" * (n // 4), cut=5),
    "long raw": lambda n: message_stream(*["x" * 1000] * (n // 100)),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", STREAMS)
def test_accumulating_a_message(name):
    """Twice the message is twice the calls, and twice the memory at most."""
    figures = []
    for size in (8000, 16_000):
        chunks = STREAMS[name](size)
        accumulated(chunks)
        count = calls(lambda chunks=chunks: accumulated(chunks))
        tracemalloc.start()
        accumulated(chunks)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        figures.append((count, peak))
    (calls_once, peak_once), (calls_twice, peak_twice) = figures
    assert calls_once > 100
    assert calls_twice < 2.2 * calls_once
    assert peak_twice < 2.5 * peak_once + 10_000


def test_weighing_a_message_is_rarely():
    """A message of far more bytes than its text has is not weighed again at every chunk."""
    weighed = []

    class Watched(MessageDecoder):
        def _weigh(self, before):
            weighed.append(self._came)
            super()._weigh(before)

    decoder = Watched(HEAD, Limits(max_event=100_000, max_response=100_000))
    for chunk in message_stream("x" * 80_000):
        decoder.receive(chunk)
    assert decoder.complete
    raw = decoder._came
    assert raw > 300_000
    assert 1 <= len(weighed) <= 8 * raw // 100_000 + 1  # each time it may be 100,000 letters


def test_a_chat_is_put_together_once():
    """The pieces of a chat's text and calls are joined, not added to what there is each time."""

    def whole(pieces):
        decoder = ChatDecoder(HEAD)
        call = {"index": 0, "id": "a", "function": {"name": "f", "arguments": "12"}}
        delta = {"content": "xy", "tool_calls": [call]}
        piece = {"id": "c", "model": "m", "choices": [{"index": 0, "delta": delta}]}
        for _ in range(pieces):
            decoder.receive(b"data: " + sse(piece, "x").partition(b"data: ")[2])
        decoder.receive(b"data: [DONE]\n\n")
        return decoder.result()

    made = whole(300)
    (choice,) = made.choices
    assert made.text == "xy" * 300
    (call,) = choice["message"]["tool_calls"]
    assert call["function"] == {"name": "f" * 300, "arguments": "12" * 300}
    assert calls(lambda: whole(600)) < 2.2 * calls(lambda: whole(300))


def test_building_a_form(tmp_path):
    """A form of twice the fields or files takes twice the calls; files are read piece by piece."""
    path = tmp_path / "file"
    path.write_bytes(b"x" * 2_000_000)

    def build(count):
        fields = [(f"name-{n}", "x" * 100) for n in range(count)]
        parts = [Part("files[]", f"{n}.txt", b"x" * 100) for n in range(count)]
        form = FormBody(fields, parts)
        assert sum(map(len, form)) == form.size

    build(1)
    assert calls(lambda: build(400)) < 2.2 * calls(lambda: build(200))
    tracemalloc.start()
    assert sum(map(len, FormBody([], [Part("file", "f", path)]))) > 2_000_000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1_000_000


@pytest.mark.slow
def test_millions_of_tiny_chunks_are_not_kept_apart():
    """A body of one-byte chunks takes its own size, not that of an object for each of them."""
    incoming = pytest.importorskip("claude_lite_transports.asyncio.incoming")
    request = Request("POST", "", {}, limits=Limits(max_response=10_000_000))
    reply = incoming.Incoming(request, whole=True)
    tiny = b"2\r\nxy\r\n" * 5000
    tracemalloc.start()
    reply.receive(CHUNKED)
    for _ in range(40):
        reply.receive(tiny)
    reply.receive(b"0\r\n\r\n")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert reply.complete
    assert reply.take() == b"xy" * 200_000
    assert peak < 1_500_000


LEAKS = {
    "blanks after Bearer": lambda n: b"Bearer" + b" " * n,
    "plus signs after Bearer": lambda n: b"Bearer" + b"+" * n,
    "many times Bearer": lambda n: b"Bearer+" * (n // 7),
    "escaped blanks": lambda n: b"Bearer%20" * (n // 9),
    "a long token without a digit": lambda n: b"Bearer " + b"a" * n,
    "starts of keys": lambda n: b"sk-ant- AKIA " * (n // 13),
    "a delta without its end": lambda n: b'"text":"' + b"\\" * n,
    "starts of deltas": lambda n: b'"text":"' * (n // 8),
    "base64": lambda n: b"A" * n,
    "short runs of base64": lambda n: b"AAAAAAAAAAAAAAAAAAA " * (n // 20),
    "escapes": lambda n: b"\\u0041" * (n // 6),
}


@pytest.mark.parametrize("make", LEAKS.values(), ids=LEAKS)
def test_looking_for_secrets(make):
    """Eight times the recording takes eight times as long, and not 64 times, to be searched."""
    redactor = Redactor(["hunter2 hunter2"])

    def seconds(size):
        data = make(size)
        times = []
        for _ in range(3):
            began = time.thread_time()
            assert redactor.leak(data) is None
            times.append(time.thread_time() - began)
        return min(times)

    assert seconds(8 * 8192) < 24 * seconds(8192) + 0.01


def test_learning_many_keys(monkeypatch):
    """The keys in one body are learnt at once: the pattern is made once, and not for each."""
    made = []
    monkeypatch.setattr(
        redaction,
        "_pattern",
        lambda secrets, make=redaction._pattern: made.append(1) or make(secrets),
    )
    redactor = Redactor()
    body = b" ".join(b"sk-ant-%08d" % number for number in range(1000))
    redactor.learn_live(body)
    assert len(made) == 2  # one of them for a redactor without a secret
    assert redactor.data(body) == b" ".join([b"REDACTED"] * 1000)
