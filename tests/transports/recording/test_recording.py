"""The recording transports: what they replay, in which order, and how it ends."""

import asyncio
import itertools
import json
import random
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from places import SAMPLES
from scripted import URL, Async, AsyncScript, Script, Sync, answer, ask, record, told

from claude_lite.errors import (
    CertificateRefused,
    ConnectionFailed,
    ConnectionLost,
    ConnectTimedOut,
    ResponseTooLarge,
    StreamInterrupted,
    StreamTruncated,
    TimedOut,
)
from claude_lite.testing import ASYNC_CASES, CASES, check_async_transport, check_transport
from claude_lite.wire import AsyncTransport, Request, Response, Transport
from claude_lite_transports.aiohttp import AiohttpTransport
from claude_lite_transports.recording import (
    AsyncRecordingTransport,
    CassetteMiss,
    RecordingTransport,
)
from claude_lite_transports.urllib import UrllibTransport

STREAMS = sorted((SAMPLES / "streams").iterdir())


@pytest.fixture(params=[Sync, Async], ids=["sync", "async"])
def driver(request):
    """Give the sync driver, then the async one."""
    return request.param


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch):
    """No say for the environment in which the tests run."""
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.delenv("CLAUDE_LITE_RECORD", raising=False)


@pytest.fixture
def path(tmp_path):
    """Give a path at which there is no file."""
    return tmp_path / "x.json"


def same(result):
    """Make a result comparable: errors by class and args."""
    head, chunks, error = result
    return head, chunks, error and (type(error), error.args)


def test_they_are_transports(path):
    """Both satisfy the protocols that they wrap."""
    assert isinstance(RecordingTransport(path), Transport)
    assert isinstance(AsyncRecordingTransport(path), AsyncTransport)


@pytest.mark.parametrize("stream", STREAMS, ids=lambda path: path.stem)
@pytest.mark.parametrize("size", [1, 7, 100_000])
def test_streams_are_replayed_to_the_byte(driver, path, stream, size):
    """Each golden stream comes back in the same chunks, cut at every byte, at some, or whole."""
    data = stream.read_bytes()
    cut = [data[start : start + size] for start in range(0, len(data), size)]
    seen = record(driver, path, (cut, ask(1), "stream"))
    replayed = driver.block(driver.transport(path), (ask(1), "stream"))
    assert seen[0][1] == cut
    assert replayed == seen


@settings(max_examples=50)
@given(st.sampled_from(STREAMS), st.lists(st.integers(0, 4000)), st.booleans())
def test_random_cuts_are_replayed_to_the_byte(tmp_path_factory, stream, cuts, blocking):
    """Any cut of a golden stream comes back as it was, characters cut in two included."""
    data = stream.read_bytes() + "\N{GRINNING FACE}é".encode()
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    chunks = [data[a:b] for a, b in itertools.pairwise(edges)]
    driver, path = (Sync if blocking else Async), tmp_path_factory.mktemp("cuts") / "x.json"
    seen = record(driver, path, (chunks, ask(1), "stream"))
    replayed = driver.block(driver.transport(path), (ask(1), "stream"))
    assert seen[0][1] == chunks
    assert replayed == seen


def test_a_response_is_replayed(driver, path):
    """Status, kept headers and body come back; the host and the key play no part."""
    told_off = Response(529, {"retry-after": "1", "server": "x"}, b"<html>\xff")
    record(driver, path, (told_off, ask(1), "send"))
    request = Request("POST", "http://localhost/v1/messages", {"x-api-key": "no"}, ask(1).body)
    (result,) = driver.block(driver.transport(path), (request, "send"))
    assert result == (Response(529, {"retry-after": "1"}, b"<html>\xff"), [], None)


def test_send_and_stream_answer_each_other(driver, path):
    """A recorded stream can be had whole, and a recorded response as a stream of one chunk."""
    record(driver, path, ([b"a", b"b"], ask(1), "stream"), (answer(2), ask(2), "send"))
    results = driver.block(driver.transport(path), (ask(1), "send"), (ask(2), "stream"))
    assert results[0][0].body == b"ab"
    assert results[1][1] == [answer(2).body]


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.slow
def test_recording_changes_nothing(case, path):
    """Around a real transport, recording, it conforms: nothing is held back, lost or late."""

    def make():
        return RecordingTransport(path, UrllibTransport(trust_env=False), "rewrite", force=True)

    check_transport(make, case)


@pytest.mark.parametrize("case", ASYNC_CASES, ids=str)
@pytest.mark.slow
def test_async_recording_changes_nothing(case, path):
    """The same is true for async code."""

    def make():
        return AsyncRecordingTransport(path, AiohttpTransport(), "rewrite", force=True)

    check_async_transport(make, case)


def test_chunks_pass_at_once(path):
    """While recording, each chunk is with the caller before the next one is asked for."""
    asked = []

    def source():
        for chunk in (b"a", b"b"):
            asked.append(chunk)
            yield chunk

    script = Script(source())
    with (
        RecordingTransport(path, script, "rewrite") as transport,
        transport.stream(ask(1)) as (_, chunks),
    ):
        assert [(chunk, list(asked)) for chunk in chunks] == [
            (b"a", [b"a"]),
            (b"b", [b"a", b"b"]),
        ]


@pytest.mark.parametrize(
    "error",
    [
        ConnectionFailed("dns"),
        CertificateRefused("tls", advice="look"),
        ConnectTimedOut(),
        ConnectionLost("gone", details={"reused": True}),
        TimedOut("read", retry_after=0.0),
        TimedOut("total", "too long", attempts=2),
        StreamInterrupted("cut", details={"partial": {"content": []}}),
        StreamTruncated(),
        ResponseTooLarge("64 MiB"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_failures_are_replayed(driver, path, error):
    """The same leaf with the same args, before the head, instead of it, and after a chunk."""
    steps = [(error, "send"), (error, "stream"), ([error], "stream"), ([b"a", error], "stream")]
    seen = record(driver, path, *[(what, ask(i), how) for i, (what, how) in enumerate(steps)])
    asked = [(ask(i), how) for i, (_, how) in enumerate(steps)]
    replayed = driver.block(driver.transport(path), *asked)
    assert [same(result) for result in replayed] == [same(result) for result in seen]
    assert [(type(r[2]), r[2].args) for r in replayed] == [(type(error), error.args)] * 4


def test_a_readers_own_error_is_no_failure(path):
    """An error that the reader raises inside the block is not taken for the transport's."""
    transport = RecordingTransport(path, Script([b"a", b"b"]), "rewrite", save_on_error=True)

    def read():
        with transport, transport.stream(ask(1)) as (_, chunks):
            next(iter(chunks))
            raise StreamTruncated

    with pytest.raises(StreamTruncated):
        read()
    (raw,) = json.loads(path.read_text())["interactions"]
    assert "error" not in raw
    assert raw["left_early"]


def test_leaving_early(driver, path):
    """What was read before the reader left is replayed; reading on is a miss, not an end."""
    record(driver, path, ([b"a", b"b", b"c"], ask(1), "stream", 2))
    for most, error in ((2, type(None)), (None, CassetteMiss)):
        (result,) = driver.block(driver.transport(path), (ask(1), "stream", most))
        assert result[1] == [b"a", b"b"]
        assert type(result[2]) is error
    (result,) = driver.block(driver.transport(path), (ask(1), "send"))
    assert type(result[2]) is CassetteMiss


@pytest.mark.parametrize(
    ("name", "early"),
    [("text", False), ("crlf", False), ("error_mid_stream", False), ("truncated", True)],
)
def test_leaving_after_the_last_event(path, name, early):
    """A reader that knows the last event, and does not wait for the end, has not left early."""
    data = next(stream for stream in STREAMS if stream.stem == name).read_bytes()
    record(Sync, path, ([data[:-3], data[-3:], b"more"], ask(1), "stream", 2))
    (raw,) = json.loads(path.read_text())["interactions"]
    assert raw.get("left_early", False) is early


def test_reading_on_after_the_block(path):
    """What arrives after the reader has left is not recorded, as it might be saved already."""
    script = Script([b"a", b"b"], [b"c"])
    with RecordingTransport(path, script, "rewrite") as transport:
        for i in range(2):
            with transport.stream(ask(i)) as (_, chunks):
                next(chunks)
            assert list(chunks) == [b"b"][i:]
    saved = [item["response"]["chunks"] for item in json.loads(path.read_text())["interactions"]]
    assert saved == [["a"], ["c"]]


def test_a_form_from_a_source(driver, path):
    """A body that is read in pieces is replayed for the same form with another boundary."""

    class Source:
        def __init__(self, boundary):
            head = 'Content-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
            self.pieces = [f"--{boundary}\r\n{head}".encode(), b"x" * 9, b"y\r\n"]
            self.pieces.append(f"--{boundary}--\r\n".encode())
            self.size = sum(map(len, self.pieces))

        def __iter__(self):
            return iter(self.pieces)

    def upload(boundary):
        headers = {"content-type": f"multipart/form-data; boundary={boundary}"}
        return Request("POST", URL, headers, Source(boundary))

    record(driver, path, (answer(1), upload("one"), "send"))
    (result,) = driver.block(driver.transport(path), (upload("two"), "send"))
    assert told(result) == 1


def test_a_cancelled_request_is_not_recorded(path):
    """Nothing is known of a request that was cancelled before its head, so nothing is saved."""

    class Hanging(AsyncScript):
        async def send(self, request):  # noqa: ARG002  # the protocol
            await asyncio.Event().wait()

    async def main():
        async with AsyncRecordingTransport(path, Hanging(), "rewrite") as transport:
            task = asyncio.create_task(transport.send(ask(1)))
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])

    asyncio.run(main())
    assert not path.exists()


def test_identical_requests_are_a_queue(driver, path):
    """Identical requests get their answers in the order recorded, and then a miss."""
    record(driver, path, *[(answer(i), ask("x"), "send") for i in range(2)])
    results = driver.block(driver.transport(path), *[(ask("x"), "send")] * 3)
    assert [told(result) for result in results] == [0, 1, CassetteMiss]
    assert "made more often than it was recorded" in str(results[2][2])
    repeating = driver.transport(path, allow_repeats=True)
    assert [told(r) for r in driver.block(repeating, *[(ask("x"), "send")] * 4)] == [0, 1, 1, 1]


@pytest.mark.slow
def test_shuffled_concurrent_replays_are_equal(path):
    """Two hundred concurrent requests, in a hundred orders, get the same answers."""
    count = 200
    record(Async, path, *[([b"%d" % i, b"!"], ask(i % 50), "stream") for i in range(count)])

    async def replay(seed):
        order = [i % 50 for i in range(count)]
        random.Random(seed).shuffle(order)  # noqa: S311  # any order
        async with AsyncRecordingTransport(path) as transport:
            jobs = [Async.run(transport, ask(i), "stream") for i in order]
            results = await asyncio.gather(*jobs)
        return sorted((i, same(result)) for i, result in zip(order, results, strict=True))

    first = asyncio.run(replay(0))
    assert len({str(result) for result in first}) == count
    assert all(asyncio.run(replay(seed)) == first for seed in range(1, 100))


def test_concurrent_threads_replay_equal(path):
    """Threads share the queues without losing or doubling an answer."""
    record(Sync, path, *[(answer(i), ask("x"), "send") for i in range(100)])
    transport, results = RecordingTransport(path), []
    jobs = [
        lambda: [results.append(told(Sync.run(transport, ask("x"), "send"))) for _ in range(25)]
    ]
    threads = [threading.Thread(target=job) for job in jobs * 4]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == list(range(100))


def test_saved_in_the_order_of_the_requests(path):
    """The file has requests in the order in which they started, not in which they ended."""

    class Slower(AsyncScript):
        async def send(self, request):
            for _ in range(10 - json.loads(request.body)["ask"]):
                await asyncio.sleep(0)
            return await super().send(request)

    async def main():
        script = Slower(*map(answer, range(9)))
        async with AsyncRecordingTransport(path, script, "rewrite") as transport:
            await asyncio.gather(*[transport.send(ask(i)) for i in range(9)])

    asyncio.run(main())
    saved = json.loads(path.read_text())["interactions"]
    assert [item["request"]["json"]["ask"] for item in saved] == list(range(9))
