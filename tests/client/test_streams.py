"""Streams as callers have them, sync and async: opened, iterated, left early, closed, broken."""

import asyncio
import gc
import itertools
import json
import threading
import time
from contextlib import asynccontextmanager, contextmanager

import pytest
from driving import (
    BLOCK,
    HEL,
    HELLO,
    LO,
    PING,
    START,
    STOP,
    WHOLE,
    AsyncScriptTransport,
    ScriptTransport,
    answer,
    both,
    both_modes,
    client,
    do,
    error_event,
    event,
    refusal,
    sample,
    stream,
)
from timing import Stopwatch

from claude_lite import (
    AsyncClient,
    ClaudeError,
    Client,
    ConnectionLost,
    InvalidRequest,
    Message,
    Overloaded,
    RateLimited,
    Response,
    RetryLater,
    StreamInterrupted,
    StreamMessage,
    StreamTruncated,
    TextBlock,
    TimedOut,
    UnexpectedResponse,
    UsageError,
    defer,
    standard,
)
from claude_lite.api.batches import BatchResults
from claude_lite.testing.conformance.loopback import LoopbackServer
from claude_lite_transports.aiohttp import AiohttpTransport
from claude_lite_transports.asyncio import AsyncioTransport
from claude_lite_transports.urllib import UrllibTransport

OPERATION = StreamMessage(**HELLO)


def opened(made, **changes):
    """Make a stream (sync or async), to be used as an asynchronous context."""
    return both(made.messages.stream(**{**HELLO, **changes}))


async def listed(items):
    """Read an iterable to its end."""
    return [item async for item in items]


async def until_error(items):
    """Read an iterable until it raises; give what came, and the error."""
    seen = []
    try:
        async for item in items:
            seen.append(item)  # noqa: PERF401  # what came before the error counts
    except ClaudeError as error:
        return seen, error
    pytest.fail("there was no error")


@both_modes
def test_events_come_in_order(mode):
    """Iterating a stream gives its events as models, pings included."""

    async def scenario():
        async with opened(client(mode, stream())) as s:
            return [event.type for event in await listed(s)]

    assert asyncio.run(scenario()) == [
        "message_start",
        "ping",
        "content_block_start",
        "content_block_delta",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]


@both_modes
def test_text_and_the_final_message(mode):
    """`text_stream` gives the text as it comes, `final_message` the same as a whole message."""

    async def scenario():
        made = client(mode, stream(sample("streams/text.sse")))
        async with opened(made) as s:
            return await listed(s.text_stream), await s.final_message()

    texts, message = asyncio.run(scenario())
    assert texts == ["Hello", ", ", "wörld 🌍!"]
    assert isinstance(message, Message)
    assert message.text == "Hello, wörld 🌍!"
    assert (message.stop_reason, message.usage.output_tokens) == ("end_turn", 15)
    assert message.request_id == "req_1"


@both_modes
def test_the_final_message_needs_no_iteration(mode):
    """`final_message` reads what has not been read, from anywhere, as often as asked."""

    async def scenario(steps):
        async with opened(client(mode, stream())) as s:
            events = aiter(s)
            for _ in range(steps):
                await anext(events)
            first, second = await s.final_message(), await s.final_message()
            assert first == second
            return first

    for steps in (0, 1, 4, 8):
        assert asyncio.run(scenario(steps)).text == "Hello"


@both_modes
def test_iteration_goes_on_where_it_stopped(mode):
    """A second loop over a stream, or over its text, goes on after the first."""

    async def scenario():
        async with opened(client(mode, stream())) as s:
            async for event in s:
                if event.type == "content_block_start":
                    break
            return await anext(aiter(s.text_stream)), [event.type for event in await listed(s)]

    text, rest = asyncio.run(scenario())
    assert text == "Hel"
    assert rest == [
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]


@both_modes
def test_the_snapshot_is_the_message_so_far(mode):
    """`snapshot` is a message at any time, and equal to the final one at the end."""

    async def scenario():
        async with opened(client(mode, stream())) as s:
            seen = [s.snapshot.text async for _ in s.text_stream]
            assert s.snapshot == await s.final_message()
            return seen

    seen = asyncio.run(scenario())
    assert seen[-1] == "Hello"
    assert seen[0] in ("Hel", "Hello")


@both_modes
def test_a_stream_has_a_head(mode):
    """Status, headers, request id and attempts are there once the stream is open."""

    async def scenario():
        made = client(mode, refusal(529), stream(x_team="blue"))
        async with opened(made) as s:
            return s.response, s.request_id, s.attempts

    response, request_id, attempts = asyncio.run(scenario())
    assert (response.status, response.headers["x-team"], response.body) == (200, "blue", b"")
    assert (request_id, attempts) == ("req_1", 2)


@both_modes
def test_a_stream_that_is_not_open(mode):
    """Whatever is asked of a stream outside its context is a `UsageError` that says so."""

    async def scenario():
        made = client(mode, stream())
        s = opened(made)
        for ask in (
            lambda: s.response,
            lambda: s.request_id,
            lambda: s.snapshot,
            lambda: s.text_stream,
        ):
            with pytest.raises(UsageError, match="stream is not open"):
                ask()
        with pytest.raises(UsageError, match="stream is not open"):
            await listed(s)
        with pytest.raises(UsageError, match="stream is not open"):
            await s.final_message()
        assert made.transport.requests == []

    asyncio.run(scenario())


@both_modes
def test_a_stream_is_read_once(mode):
    """To iterate what was read to its end is a `UsageError`, not an empty loop."""

    async def scenario(read):
        async with opened(client(mode, stream())) as s:
            await read(s)
            with pytest.raises(UsageError, match="has been read"):
                await listed(s)
            with pytest.raises(UsageError, match="has been read"):
                s.text_stream  # noqa: B018  # the property raises
            assert (await s.final_message()).text == "Hello"
        with pytest.raises(UsageError, match="has been read"):
            await listed(s)
        assert (await s.final_message()).text == s.snapshot.text == "Hello"

    asyncio.run(scenario(listed))
    asyncio.run(scenario(lambda s: listed(s.text_stream)))
    asyncio.run(scenario(lambda s: s.final_message()))


@both_modes
def test_a_stream_is_opened_once(mode):
    """A context that was entered cannot be entered again, and sends nothing more."""

    async def scenario():
        made = client(mode, stream())
        s = opened(made)
        async with s:
            with pytest.raises(UsageError, match="opened before"):
                await s.__aenter__()
        with pytest.raises(UsageError, match="opened before"):
            await s.__aenter__()
        closed = opened(made)
        await closed.close()
        with pytest.raises(UsageError, match="opened before"):
            await closed.__aenter__()
        assert len(made.transport.requests) == 1

    asyncio.run(scenario())


@both_modes
@pytest.mark.parametrize("chunks", [WHOLE, [b"".join(WHOLE)]], ids=["many chunks", "one chunk"])
def test_reading_on_after_leaving(mode, chunks):
    """After it was left early, a stream raises with what had come, however the bytes were cut."""

    async def scenario():
        async with opened(client(mode, stream(*chunks))) as s:
            await anext(aiter(s))
        for _ in range(2):
            seen, error = await until_error(s)
            assert seen == []
            assert type(error) is StreamInterrupted
            assert "program closed the stream" in error.message
            assert len(chunks) == 1 or error.partial["content"][0]["text"] == "Hel"
            assert (error.request_id, error.attempts) == ("req_1", 1)
            with pytest.raises(StreamInterrupted, match="program closed the stream"):
                await s.final_message()
        assert s.snapshot.text.startswith("Hel")

    asyncio.run(scenario())


@both_modes
@pytest.mark.parametrize("way", ["end", "break", "error", "close", "nothing", "failure"])
def test_the_connection_is_left_exactly_once(mode, way):
    """However a stream ends for the caller, the transport's context is left once."""
    answers = {"failure": [stream(START, BLOCK, HEL, StreamInterrupted("reset"))]}

    async def use(s):
        if way == "nothing":
            return
        async for _ in s:
            if way == "break":
                return
            if way == "error":
                raise KeyError(way)
            if way == "close":
                await s.close()
                await s.close()
                return

    async def scenario():
        made = client(mode, *answers.get(way, [stream()]))
        try:
            async with opened(made) as s:
                await use(s)
        except (KeyError, StreamInterrupted):
            assert way in ("error", "failure")
        await s.close()
        return made.transport.left

    assert asyncio.run(scenario()) == 1


class BadEnd(ScriptTransport):
    """A transport that fails when the context of a stream is left."""

    @contextmanager
    def stream(self, request):
        """Give the next answer in pieces, and fail at the end."""
        with super().stream(request) as reply:
            yield reply
        raise StreamInterrupted("the connection cannot be closed")


class AsyncBadEnd(AsyncScriptTransport):
    """The same for asyncio."""

    @asynccontextmanager
    async def stream(self, request):
        """Give the next answer in pieces, and fail at the end."""
        async with super().stream(request) as reply:
            yield reply
        raise StreamInterrupted("the connection cannot be closed")


@both_modes
def test_a_failure_to_close_hides_no_answer(mode):
    """A transport that cannot close a connection does not take the message that has arrived."""
    made = {"sync": lambda: Client(BadEnd(stream()), api_key="k")}
    made["async"] = lambda: AsyncClient(AsyncBadEnd(stream()), api_key="k")

    async def scenario():
        one = made[mode]()
        first = await do(one.send, OPERATION)
        async with opened(one) as s:
            second = await s.final_message()
        with pytest.raises(StreamInterrupted, match="cannot be closed"):
            async with opened(one) as s:
                await anext(aiter(s))
        return first.text, second.text, one.transport.left

    assert asyncio.run(scenario()) == ("Hello", "Hello", 3)


@both_modes
def test_every_broken_attempt_is_left(mode):
    """Each attempt's context is left before the next one is opened."""
    broken = stream(START, StreamInterrupted("reset"))

    async def scenario():
        made = client(mode, broken, broken, stream())
        async with opened(made) as s:
            assert made.transport.left == 2
            await s.final_message()
        return made.transport.left

    assert asyncio.run(scenario()) == 3


@both_modes
@pytest.mark.parametrize(
    "trouble",
    [error_event(), StreamInterrupted("reset"), b"", ConnectionLost("reset")],
    ids=["event", "reset", "end", "lost"],
)
def test_trouble_before_the_first_content_is_invisible(mode, trouble):
    """A stream that breaks before its content is started over, and the caller sees one stream."""
    given = trouble if isinstance(trouble, ConnectionLost) else stream(START, PING, BLOCK, trouble)

    async def scenario():
        made = client(mode, given, stream())
        async with opened(made) as s:
            assert s.attempts == 2
            types = [event.type for event in await listed(s)]
            return types, (await s.final_message()).text

    types, text = asyncio.run(scenario())
    assert types.count("message_start") == types.count("ping") == 1
    assert text == "Hello"


@both_modes
@pytest.mark.parametrize(
    ("trouble", "kind"),
    [
        (error_event(), Overloaded),
        (error_event("rate_limit_error"), RateLimited),
        (StreamInterrupted("reset"), StreamInterrupted),
        (TimedOut("read"), TimedOut),
        (b"", StreamTruncated),
        (b"event: message_delta\ndata: {\n\n", UnexpectedResponse),
    ],
    ids=["event", "rate limit", "reset", "read", "end", "garbage"],
)
def test_trouble_after_the_first_content_is_the_callers(mode, trouble, kind):
    """Later it is a typed error with all that is known, after the events that came, untried."""

    async def scenario():
        made = client(mode, stream(START, BLOCK, HEL, LO, trouble))
        async with opened(made) as s:
            texts, error = await until_error(s.text_stream)
        assert len(made.transport.requests) == 1
        assert type(error) is kind
        return texts, error

    texts, error = asyncio.run(scenario())
    assert texts == ["Hel", "lo"]
    assert error.partial["content"] == [{"type": "text", "text": "Hello"}]
    assert error.usage == {"input_tokens": 21, "output_tokens": 1}
    assert (error.request_id, error.attempts) == ("req_1", 1)


@both_modes
def test_an_error_in_the_same_chunk_comes_after_its_content(mode):
    """What arrives together is still content first, then the error."""

    async def scenario():
        made = client(mode, stream(START + BLOCK + HEL + error_event()))
        async with opened(made) as s:
            return await until_error(s)

    events, error = asyncio.run(scenario())
    assert [event.type for event in events] == [
        "message_start",
        "content_block_start",
        "content_block_delta",
    ]
    assert type(error) is Overloaded


@both_modes
def test_collected_streams_start_over_at_any_point(mode):
    """With `collect`, and through `send`, a break after content is retried, and counted."""
    broken = stream(START, BLOCK, HEL, error_event())

    async def scenario():
        made = client(mode, broken, broken, stream())
        async with both(made.stream(OPERATION, collect=True)) as s:
            assert s.attempts == 3
            assert (await s.final_message()).text == "Hello"
        made = client(mode, broken, stream())
        async with opened(made, collect=True) as s:
            assert s.attempts == 2
        made = client(mode, broken, stream())
        message = await do(made.send, OPERATION)
        assert isinstance(message, Message)
        assert (message.text, len(made.transport.requests)) == ("Hello", 2)
        assert made.transport.left == 2
        made = client(mode, broken)
        with pytest.raises(Overloaded) as caught:
            await do(made.send, OPERATION)
        assert (caught.value.attempts, caught.value.partial["content"][0]["text"]) == (3, "Hel")

    asyncio.run(scenario())


@both_modes
@pytest.mark.parametrize(
    "given",
    [
        [Response(200, {"content-type": "text/html"}), b"<html>"],
        answer(),
        refusal(400, "invalid_request_error"),
        stream(START, error_event("invalid_request_error")),
    ],
    ids=["html", "json", "400", "event"],
)
def test_what_is_no_stream_fails_to_open(mode, given):
    """The error comes on entering; the body of the `with` is never run, nothing is sent again."""

    async def scenario():
        made = client(mode, given)
        with pytest.raises(ClaudeError):
            async with opened(made):
                pytest.fail("the stream was opened")
        return len(made.transport.requests), made.transport.left

    assert asyncio.run(scenario()) == (1, 1)


@both_modes
def test_deferred_streams(mode):
    """With `defer()` a stream that cannot be opened now raises `RetryLater` on entering."""

    async def scenario():
        made = client(mode, refusal(529, retry_after="9"), retry=defer(wait=1))
        with pytest.raises(RetryLater) as caught:
            async with opened(made):
                pass
        return caught.value.delay, made.transport.waits

    assert asyncio.run(scenario()) == (9, [])


@both_modes
def test_nothing_but_pings(mode):
    """Pings are visible to the caller, and limited by `content_timeout`."""

    async def scenario():
        quiet = [step for _ in range(9) for step in (20.0, PING)]
        made = client(mode, stream(START, BLOCK, HEL, *quiet), content_timeout=100)
        async with opened(made) as s:
            events, error = await until_error(s)
        return [event.type for event in events].count("ping"), type(error), error.phase

    assert asyncio.run(scenario()) == (6, TimedOut, "content")


@both_modes
def test_empty_text_is_no_text(mode):
    """`text_stream` leaves out empty deltas, and the deltas of tools and of thinking."""

    async def scenario(name):
        made = client(mode, stream(sample(f"streams/{name}.sse")))
        async with opened(made) as s:
            texts = await listed(s.text_stream)
            message = await s.final_message()
        return texts, "".join(b.text for b in message.content if isinstance(b, TextBlock))

    for name in (
        "text",
        "tool_use",
        "thinking",
        "citations",
        "web_search",
        "unknown_block_and_delta",
    ):
        texts, text = asyncio.run(scenario(name))
        assert "".join(texts) == text
        assert "" not in texts


@both_modes
@pytest.mark.parametrize("where", ["message_start", "content_block_start"])
def test_words_that_come_before_the_first_delta(mode, where):
    """Text in the start of the message or of a block is in `text_stream` and in every snapshot."""
    hel = {"type": "text", "text": "Hel"}
    block = event("content_block_start", index=0, content_block=hel)
    begun = START.replace(b'"content": []', b'"content": [%b]' % json.dumps(hel).encode())
    more = event("content_block_start", index=1, content_block={"type": "text", "text": "lo"})
    stop = event("message_stop")
    start = {
        "message_start": [begun, more, stop],
        "content_block_start": [START, block, LO, stop],
    }

    async def scenario():
        made = client(mode, stream(*start[where]))
        async with opened(made) as s:
            texts = []
            async for text in s.text_stream:
                texts.append(text)
                assert s.snapshot.text.startswith("".join(texts))
            return texts, (await s.final_message()).text

    assert asyncio.run(scenario()) == (["Hel", "lo"], "Hello")


@both_modes
def test_a_message_whose_last_blank_line_is_missing(mode):
    """The message is whole when the JSON of `message_stop` is, also if the connection is cut."""
    cut = STOP.rstrip(b"\n")
    for collect, broken in itertools.product((False, True), ([], [StreamInterrupted("reset")])):

        async def scenario(collect=collect, broken=broken):
            made = client(mode, stream(START, BLOCK, HEL, LO, cut, *broken))
            async with opened(made, collect=collect) as s:
                message = await s.final_message()
            return message.text, message.stop_reason, len(made.transport.requests)

        assert asyncio.run(scenario()) == ("Hello", "end_turn", 1)


@both_modes
def test_an_error_event_whose_last_blank_line_is_missing(mode):
    """The API's error decides about a retry, not the broken connection after the error."""
    cut = error_event("invalid_request_error").rstrip(b"\n")
    for broken in ([], [StreamInterrupted("reset")]):

        async def scenario(broken=broken):
            made = client(mode, stream(START, cut, *broken))
            with pytest.raises(InvalidRequest):
                async with opened(made):
                    pass
            return len(made.transport.requests)

        assert asyncio.run(scenario()) == 1


@both_modes
def test_what_only_the_end_completes(mode):
    """An item that is complete only at the end of the body, such as a last line, is not lost."""
    line = json.dumps({"custom_id": "a", "result": {"type": "expired"}}).encode()

    async def scenario():
        head = Response(200, {"content-type": "application/x-jsonl"})
        made = client(mode, [head, line + b"\n" + line.replace(b'"a"', b'"b"')])
        async with both(made.stream(BatchResults(message_batch_id="batch"))) as s:
            return [entry.custom_id for entry in await listed(s)]

    assert asyncio.run(scenario()) == ["a", "b"]


@both_modes
def test_foreign_errors_pass_through(mode):
    """An error that is no `ClaudeError`, of the transport or the caller, is not touched."""

    async def scenario():
        made = client(mode, ZeroDivisionError("odd"))
        with pytest.raises(ZeroDivisionError):
            async with opened(made):
                pass
        made = client(mode, stream(START, BLOCK, HEL, ZeroDivisionError("odd")))
        with pytest.raises(ZeroDivisionError):
            async with opened(made) as s:
                await listed(s)
        return made.transport.left

    assert asyncio.run(scenario()) == 1


# Over real connections


def serve(peer, *chunks, then="hold"):
    """Answer one request with a stream, then hold the connection until the client leaves."""
    if peer.request() is None:
        return
    peer.send(
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    )
    for chunk in chunks:
        peer.send(b"%x\r\n%b\r\n" % (len(chunk), chunk))
    if then == "hold":
        peer.gone()
    elif then == "end":
        peer.send(b"0\r\n\r\n")


def test_close_from_another_task_ends_a_waiting_read():
    """A read that waits for more ends promptly when another task closes the stream."""

    async def scenario(url):
        made = AsyncClient(AiohttpTransport(), api_key="any", base_url=url)
        async with made.messages.stream(**HELLO) as s:

            async def close():
                await asyncio.sleep(0.05)
                await s.close()

            closing = asyncio.create_task(close())
            watch = Stopwatch()
            with pytest.raises(StreamInterrupted, match="program closed the stream") as caught:
                await listed(s)
            took = watch.seconds
            await closing
        await made.close()
        return took, caught.value.partial["content"][0]["text"]

    with LoopbackServer(lambda peer: serve(peer, START + BLOCK + HEL)) as server:
        took, text = asyncio.run(scenario(server.url("")))
    assert took < 1
    assert text == "Hel"


@both_modes
def test_a_stream_that_is_closed_while_it_opens(mode):
    """Its connection is left at once, and reading is an error."""

    async def scenario():
        def closed_meanwhile(_request):
            closing.append(asyncio.ensure_future(do(s.close)) if mode == "async" else s.close())
            return stream()

        closing = []
        made = client(mode, closed_meanwhile)
        s = made.messages.stream(**HELLO)
        async with both(s):
            assert made.transport.left == 1
            with pytest.raises(StreamInterrupted, match="program closed the stream"):
                await do(s.final_message)
        assert len(closing) == 1

    asyncio.run(scenario())


def test_a_read_that_fails_because_of_close():
    """The error says that the stream was closed, not what became of the read."""

    class Torn(ScriptTransport):
        def _chunks(self, steps):
            yield from super()._chunks(steps)
            s.close()  # as another thread would
            raise ConnectionLost("read of a closed socket")

    made = Client(Torn(stream(START, BLOCK, HEL)), api_key="any", base_url="http://torn.test")
    with made.messages.stream(**HELLO) as s:
        with pytest.raises(StreamInterrupted, match="program closed the stream") as caught:
            s.final_message()
        assert caught.value.partial["content"][0]["text"] == "Hel"


def test_leaving_early_does_not_wait_for_the_rest():
    """Leaving a stream that goes on returns promptly, sync and async."""

    async def scenario(url):
        made = AsyncClient(AiohttpTransport(), api_key="any", base_url=url)
        async with made.messages.stream(**HELLO) as s:
            await anext(s.text_stream)
        await made.close()

    with LoopbackServer(lambda peer: serve(peer, START + BLOCK + HEL)) as server:
        watch = Stopwatch()
        asyncio.run(scenario(server.url("")))
        made = Client(UrllibTransport(), api_key="any", base_url=server.url(""))
        with made.messages.stream(**HELLO) as s:
            assert next(iter(s.text_stream)) == "Hel"
        assert watch.seconds < 2
    gc.collect()


def test_streams_over_real_connections():
    """The shipped transports give the same stream as the script, and use the connection again."""

    async def scenario(url):
        made = AsyncClient(AiohttpTransport(), api_key="any", base_url=url)
        async with made.messages.stream(**HELLO) as s:
            texts = [text async for text in s.text_stream]
        await made.close()
        return texts

    with LoopbackServer(lambda peer: serve(peer, *WHOLE, then="end")) as server:
        assert asyncio.run(scenario(server.url(""))) == ["Hel", "lo"]
        made = Client(UrllibTransport(), api_key="any", base_url=server.url(""))
        with made.messages.stream(**HELLO) as s:
            assert list(s.text_stream) == ["Hel", "lo"]
        made.close()


def test_a_cancelled_task_leaves_its_stream():
    """Cancelling a task that reads a stream closes the connection, and raises nothing else."""

    async def scenario():
        made = client("async", stream(START, BLOCK, HEL, *[PING] * 10_000, STOP))

        async def read():
            async with made.messages.stream(**HELLO) as s:
                await listed(s)

        task = asyncio.create_task(read())
        for _ in range(50):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return made.transport.left

    assert asyncio.run(scenario()) == 1


def test_streams_side_by_side():
    """Streams of one client do not mix, on tasks or on threads."""

    async def scenario():
        made = client("async", lambda request: stream(START, BLOCK, echo(request), STOP))

        async def ask(n):
            async with made.messages.stream(**{**HELLO, "model": f"m{n}"}) as s:
                return (await s.final_message()).text

        return await asyncio.gather(*(ask(n) for n in range(30)))

    def echo(request):
        name = request.body.split(b'"model":"')[1].split(b'"')[0]
        return HEL.replace(b"Hel", name)

    assert asyncio.run(scenario()) == [f"m{n}" for n in range(30)]
    made = client("sync", lambda request: stream(START, BLOCK, echo(request), STOP))
    found = {}

    def ask(n):
        with made.messages.stream(**{**HELLO, "model": f"m{n}"}) as s:
            found[n] = s.final_message().text

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {n: f"m{n}" for n in range(16)}


def test_a_slow_policy_is_asked_by_both_drivers():
    """Waits between the attempts of a stream go through the transport's `sleep`."""
    for mode in ("sync", "async"):
        made = client(mode, refusal(529), stream(), retry=standard(wait=3))

        async def scenario(made=made):
            async with opened(made) as s:
                await s.final_message()

        asyncio.run(scenario())
        assert made.transport.waits == [3]


@pytest.mark.parametrize("made", [AiohttpTransport, AsyncioTransport])
def test_a_wait_for_the_next_event_may_be_given_up(made):
    """A timeout around the wait for a text loses none: the next wait goes on where it was."""

    async def scenario(url):
        found, given_up = [], 0
        asked = AsyncClient(made(), api_key="any", base_url=url)
        async with asked, asked.messages.stream(**HELLO) as s:
            texts = aiter(s.text_stream)
            while True:
                try:
                    found.append(await asyncio.wait_for(anext(texts), 0.05))
                except TimeoutError:
                    given_up += 1
                except StopAsyncIteration:
                    return found, given_up

    def script(peer):
        serve(peer, START, BLOCK, HEL, then="")
        time.sleep(0.2)
        for chunk in (LO, STOP):
            peer.send(b"%x\r\n%b\r\n" % (len(chunk), chunk))
        peer.send(b"0\r\n\r\n")

    with LoopbackServer(script) as server:
        found, given_up = asyncio.run(scenario(server.url("")))
    assert found == ["Hel", "lo"]
    assert given_up >= 2
