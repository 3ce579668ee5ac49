"""One call as a state machine: what it asks of its driver, and what it makes of reports."""

import gzip
import json
import zlib

import pytest
from driving import (
    BLOCK,
    HEL,
    KEY,
    LO,
    PING,
    START,
    STOP,
    STREAMED,
    UNARY,
    WHOLE,
    Clock,
    answer,
    config,
    drive,
    error_event,
    refusal,
    stream,
)

from claude_lite import (
    AuthenticationFailed,
    ClaudeError,
    ConnectionFailed,
    ConnectionLost,
    InvalidRequest,
    Message,
    NotFound,
    Overloaded,
    RateLimited,
    RawRequest,
    Request,
    Response,
    ResponseTooLarge,
    ServerError,
    StreamInterrupted,
    StreamTruncated,
    TimedOut,
    UnexpectedResponse,
    UsageError,
    standard,
)
from claude_lite.core.exchange import Authenticate, Exchange
from claude_lite.core.stream_exchange import StreamExchange
from claude_lite.wire import MASK, Done, Sleep


def begin(operation=UNARY["create"], **options):
    """Make an exchange, and ask for its first request."""
    kind = StreamExchange if operation in STREAMED.values() else Exchange
    exchange = kind(operation, config(**options), Clock())
    return exchange, exchange.next_action()


def test_success_is_two_actions():
    """A call is a request, and once its response is reported, done: for as often as asked."""
    exchange, action = begin()
    assert isinstance(action, Request)
    exchange.receive_response(answer())
    done = exchange.next_action()
    assert isinstance(done, Done)
    assert isinstance(done.result, Message)
    assert exchange.next_action() is done
    assert exchange.attempts == 1


def test_a_retry_is_a_sleep_and_the_same_request():
    """After a failure comes the wait, then the request once more, but for its time."""
    exchange, first = begin(retry=standard(wait=2))
    exchange.receive_response(refusal(529))
    assert exchange.next_action() == Sleep(2)
    second = exchange.next_action()
    assert (second.url, second.headers, second.body) == (first.url, first.headers, first.body)
    assert second.body is first.body


def test_no_wait_is_no_sleep():
    """Where there is nothing to wait for, the next action is the request."""
    exchange, _ = begin(retry=standard(wait=0))
    exchange.receive_failure(ConnectionFailed("refused"))
    assert isinstance(exchange.next_action(), Request)


def test_a_token_is_asked_for_before_the_request():
    """With a token provider the first action is `Authenticate`, and the token is sent."""
    exchange, action = begin(auth_token=lambda: "unused")
    assert action == Authenticate(None)
    exchange.receive_token("token-0123")
    request = exchange.next_action()
    assert request.headers["authorization"] == "Bearer token-0123"
    assert "x-api-key" not in request.headers
    exchange.receive_response(refusal(401, "authentication_error"))
    assert exchange.next_action() == Authenticate("token-0123")


@pytest.mark.parametrize("token", ["two words", "line\nbreak", ""])
def test_a_token_that_cannot_be_sent(token):
    """A token that is no header value is a `UsageError` that does not show it."""
    run = drive(UNARY["create"], answer(), auth_token=lambda: "unused", tokens=[token])
    assert isinstance(run.error, UsageError)
    assert not token or token not in str(run.error)
    assert run.requests == []


def test_errors_are_complete():
    """An error of the API carries status, type, code, message, ids, advice and attempts."""
    run = drive(
        UNARY["create"],
        refusal(
            404,
            "not_found_error",
            {"error_code": "file_expired", "file_id": "f"},
            anthropic_organization_id="org",
        ),
    )
    error = run.error
    assert type(error) is NotFound
    assert (error.status, error.type, error.error_code) == (404, "not_found_error", "file_expired")
    assert (error.message, error.request_id, error.organization_id) == ("no", "req_2", "org")
    assert (error.attempts, error.details["file_id"]) == (1, "f")


def test_errors_keep_their_cause():
    """The operating system's error stays chained to ours, whether it was tried again or not."""
    for error, retry in ((ConnectionLost("reset"), standard(attempts=1)), (NotFound("no"), None)):
        exchange, _ = begin(**({"retry": retry} if retry else {}))
        error.__cause__ = cause = OSError(104, "reset")
        exchange.receive_failure(error)
        with pytest.raises(type(error)) as caught:
            exchange.next_action()
        assert caught.value is error
        assert caught.value.__cause__ is cause


def test_errors_show_no_frames_of_the_transport():
    """A final error's traceback begins where the exchange raised it."""
    exchange, _ = begin(retry=standard(attempts=1))
    try:
        raise ConnectionLost("reset")  # noqa: TRY301  # for its traceback
    except ConnectionLost as error:
        exchange.receive_failure(error)
    with pytest.raises(ConnectionLost) as caught:
        exchange.next_action()
    files = [entry.path.name for entry in caught.traceback]
    assert files[1:] == ["exchange.py"] * (len(files) - 1)


def test_the_error_is_that_of_the_last_attempt():
    """What ends a call is what happened last, with the count of all attempts."""
    run = drive(
        UNARY["create"], refusal(529), refusal(429, "rate_limit_error"), refusal(400, "odd")
    )
    assert isinstance(run.error, InvalidRequest)
    assert run.error.attempts == 3


def test_a_deadline_that_passed_meanwhile():
    """If the driver comes back after the deadline, nothing more is sent."""
    clock = Clock()
    exchange = Exchange(UNARY["create"], config(deadline=10, retry=standard(wait=5)), clock)
    exchange.next_action()
    exchange.receive_response(refusal(529))
    assert exchange.next_action() == Sleep(5)
    clock.now += 11
    with pytest.raises(TimedOut) as caught:
        exchange.next_action()
    assert (caught.value.phase, caught.value.attempts) == ("total", 1)


# Redirects


def redirect(location, status=307):
    """Make a redirect."""
    return Response(status, {"location": location} if location is not None else {})


@pytest.mark.parametrize("status", [307, 308])
@pytest.mark.parametrize("operation", [UNARY["create"], UNARY["never"], STREAMED["create"]])
def test_redirects_within_the_origin_are_followed(operation, status):
    """A 307 or 308 to the same origin is followed with method, headers and body."""
    good = {"create": answer(), "never": None, "stream": stream()}
    made = config(retry=standard(attempts=1))
    last = good["stream"] if operation is STREAMED["create"] else good["create"]
    if operation is UNARY["never"]:
        last = refusal(404)
    run = drive(operation, redirect("/other?x=1", status), last, made_with=made)
    first, second = run.requests
    assert second.url == made.base_url + "/other?x=1"
    assert (second.method, second.body) == (first.method, first.body) == ("POST", first.body)
    assert second.headers == first.headers
    assert run.exchange.attempts == 1
    assert run.waits == []


def test_three_redirects_are_followed_and_no_more():
    """The fourth redirect is an error, and so is one to the same place."""
    hops = [redirect(f"/{n}") for n in range(4)]
    run = drive(UNARY["create"], *hops[:3], answer())
    assert run.error is None
    assert [request.url[-2:] for request in run.requests[1:]] == ["/0", "/1", "/2"]
    run = drive(UNARY["create"], *hops, answer())
    assert isinstance(run.error, UnexpectedResponse)
    assert len(run.requests) == 4
    run = drive(UNARY["create"], redirect("/v1/messages"), answer())
    assert len(run.requests) == 1


@pytest.mark.parametrize(
    "location",
    [
        "https://evil.test/v1/messages",
        "//evil.test/v1/messages",
        "http://{host}:81/v1/messages",
        "https://{host}/v1/messages",
        "http://user@{host}/v1/messages",
        "http://{host}.evil.test/",
        "http://{host}@evil.test/",
        "http://{host}\\@evil.test/",
        "http://[::1",
        "http://[",
        "javascript:alert(1)",
        "/with space",
        "/höm",
        "",
        None,
    ],
)
@pytest.mark.parametrize("kind", ["unary", "stream", "get"])
def test_redirects_elsewhere_are_errors(location, kind):
    """To another host, port or scheme, or to nowhere, nothing is sent: a typed error."""
    operation = {"unary": UNARY["create"], "stream": STREAMED["create"], "get": UNARY["get"]}[kind]
    made = config()
    host = made.base_url.removeprefix("http://")
    where = location and location.replace("{host}", host)
    run = drive(operation, redirect(where), answer(), made_with=made)
    assert type(run.error) is UnexpectedResponse
    assert run.error.status == 307
    assert len(run.requests) == 1


@pytest.mark.parametrize("status", [300, 301, 302, 303, 304])
def test_redirects_that_change_the_method_are_errors(status):
    """A redirect that would turn a POST into a GET is not followed."""
    run = drive(UNARY["create"], redirect("/other", status), answer())
    assert isinstance(run.error, UnexpectedResponse)
    assert len(run.requests) == 1


def test_redirected_requests_have_what_is_left_of_the_deadline():
    """Redirects take their time from the same deadline as everything else."""
    run = drive(UNARY["create"], redirect("/other"), answer(), deadline=30, takes=10)
    assert [request.limits.total for request in run.requests] == [30, 20]
    run = drive(
        UNARY["create"], *[redirect(f"/{n}") for n in range(3)], answer(), deadline=30, takes=16
    )
    assert isinstance(run.error, TimedOut)
    assert run.seconds == 30


def test_a_retry_after_a_redirect_goes_where_that_led():
    """What was redirected once is sent there directly when it is tried again."""
    run = drive(UNARY["create"], redirect("/other"), refusal(529), answer(), retry=standard(wait=1))
    assert [request.url[-6:] for request in run.requests[1:]] == ["/other", "/other"]
    assert run.exchange.attempts == 2


# Bodies


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "x-gzip"])
def test_compressed_responses_are_decoded(encoding):
    """A gateway that compresses unasked does no harm, to results, errors and raw responses."""
    squeeze = zlib.compress if encoding == "deflate" else gzip.compress
    for operation in (UNARY["create"], RawRequest(method="GET", path="/v1/x")):
        plain = answer(content_encoding=encoding)
        run = drive(operation, Response(200, plain.headers, squeeze(plain.body)))
        assert run.error is None
    assert run.result.json()["type"] == "message"
    plain = refusal(404, "not_found_error", content_encoding=encoding)
    run = drive(UNARY["create"], Response(404, plain.headers, squeeze(plain.body)))
    assert (type(run.error), run.error.message) == (NotFound, "no")


def test_a_bomb_is_defused():
    """A response is bounded as it is decompressed, too."""
    body = gzip.compress(b" " * 2_000_000 + answer().body)
    response = Response(200, {"content-encoding": "gzip", "request-id": "req_1"}, body)
    run = drive(UNARY["create"], response, max_response=1_000_000)
    assert type(run.error) is ResponseTooLarge
    assert run.error.request_id == "req_1"
    refused = Response(503, {"content-encoding": "gzip"}, body)
    run = drive(UNARY["create"], refused, max_response=1_000_000, retry=standard(attempts=1))
    assert run.error.status == 503


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, gzip"])
def test_encodings_that_were_not_asked_for(encoding):
    """A body that cannot be decoded is `UnexpectedResponse`; of an error the status remains."""
    run = drive(UNARY["create"], answer(content_encoding=encoding))
    assert (type(run.error), run.error.request_id) == (UnexpectedResponse, "req_1")
    run = drive(UNARY["create"], refusal(404, content_encoding=encoding))
    assert type(run.error) is NotFound
    run = drive(STREAMED["create"], stream(content_encoding=encoding))
    assert (type(run.error), run.error.request_id) == (UnexpectedResponse, "req_1")


def test_what_others_wrote_is_scrubbed():
    """A server that echoes the key does not get it into the error, wherever it puts it."""
    echo = {"error": {"type": KEY, "message": f"bad key {KEY}!", "details": {KEY: [KEY]}}}
    run = drive(UNARY["create"], answer(echo, 400, request_id=KEY, retry_after="1"))
    text = json.dumps(run.error.to_dict()) + repr(run.error.args)
    assert KEY not in text
    assert run.error.message == f"bad key {MASK}!"


@pytest.mark.parametrize("start", range(960, 1010, 7))
def test_half_a_key_is_scrubbed(start):
    """A key that stands where a raw body is cut short does not leave its beginning there."""
    body = b"x" * start + KEY.encode() + b"y" * 2000
    run = drive(UNARY["create"], Response(400, {}, body))
    assert KEY[:12] not in str(run.error.args)


def test_tokens_are_scrubbed():
    """Tokens of a provider, the refused one as well, do not show either."""
    echo = {"error": {"type": "authentication_error", "message": "token-0001 token-0002"}}
    options = {"auth_token": lambda: "unused", "tokens": ["token-0001", "token-0002"]}
    run = drive(UNARY["create"], answer(echo, 401), **options)
    assert isinstance(run.error, AuthenticationFailed)
    assert run.error.message == f"{MASK} {MASK}"


def test_partial_messages_are_scrubbed():
    """What a broken stream had brought is scrubbed like all else."""
    clock = Clock()
    exchange = StreamExchange(STREAMED["create"], config(), clock)
    exchange.next_action()
    exchange.receive_head(stream()[0])
    delta = LO.replace(b'"lo"', f'"{KEY}"'.encode())
    exchange.receive_data(START + BLOCK + delta + error_event())
    with pytest.raises(Overloaded) as caught:
        exchange.raise_stream_error()
    assert caught.value.partial["content"][0]["text"] == MASK


# Streams


def test_a_stream_is_done_at_its_first_content():
    """Until the first delta the exchange wants data; then the stream is the caller's."""
    exchange, _ = begin(STREAMED["create"])
    assert not exchange.wants_data
    exchange.receive_head(stream()[0])
    for chunk in (START, PING, BLOCK):
        assert exchange.wants_data
        exchange.receive_data(chunk)
    exchange.receive_data(HEL)
    assert not exchange.wants_data
    assert isinstance(exchange.next_action(), Done)
    assert [item["type"] for item in exchange.items] == [
        "message_start",
        "ping",
        "content_block_start",
        "content_block_delta",
    ]


def test_a_collected_stream_is_done_at_its_end():
    """With collect the exchange wants data until `message_stop`."""
    exchange = StreamExchange(STREAMED["create"], config(), Clock(), collect=True)
    exchange.next_action()
    exchange.receive_head(stream()[0])
    for chunk in WHOLE:
        assert exchange.wants_data
        exchange.receive_data(chunk)
    assert not exchange.wants_data
    assert exchange.next_action().result.result().text == "Hello"


def test_any_cut_of_the_bytes_is_the_same_stream():
    """However the bytes are cut, the result is the same."""
    data = b"".join(WHOLE)
    for size in (1, 7, 100):
        chunks = [data[i : i + size] for i in range(0, len(data), size)]
        run = drive(STREAMED["create"], stream(*chunks), collect=True)
        assert run.result.result().text == "Hello"


def test_a_new_attempt_begins_anew():
    """Nothing of a broken attempt shows in the next one's items, partial message or ids."""
    broken = stream(START, PING, BLOCK, StreamInterrupted("reset"))
    run = drive(STREAMED["create"], broken, stream())
    assert [item["type"] for item in run.exchange.items][:2] == ["message_start", "ping"]
    run = drive(STREAMED["create"], broken, refusal(404, "not_found_error"))
    assert (type(run.error), run.error.request_id, run.error.partial) == (NotFound, "req_2", None)
    run = drive(STREAMED["create"], broken, NotFound("no"), retry=standard(wait=0))
    assert (run.error.partial, run.error.request_id, run.exchange.head) == (None, None, None)


def test_errors_of_a_stream_carry_what_had_come():
    """An error before the content has ids and usage; after it, the partial message as well."""
    run = drive(STREAMED["create"], stream(START, error_event("invalid_request_error")))
    assert type(run.error) is InvalidRequest
    assert (run.error.request_id, run.error.status) == ("req_1", 200)
    assert run.error.usage["input_tokens"] == 21
    for trouble, kind in (
        (error_event(), Overloaded),
        (error_event("rate_limit_error"), RateLimited),
        (StreamInterrupted("reset"), StreamInterrupted),
        (TimedOut("read"), TimedOut),
        (None, StreamTruncated),
    ):
        exchange, _ = begin(STREAMED["create"])
        exchange.receive_head(stream()[0])
        exchange.receive_data(START + BLOCK + HEL)
        exchange.next_action()
        if isinstance(trouble, bytes):
            exchange.receive_data(trouble)
        elif trouble is None:
            exchange.receive_end()
        else:
            exchange.receive_failure(trouble)
        for _ in range(2):
            with pytest.raises(ClaudeError) as caught:
                exchange.raise_stream_error()
            error = caught.value
            assert type(error) is kind
            assert error.partial["content"] == [{"type": "text", "text": "Hel"}]
            assert (error.usage["input_tokens"], error.request_id, error.attempts) == (
                21,
                "req_1",
                1,
            )


@pytest.mark.parametrize("status", [400, 404, 429, 529])
def test_error_statuses_of_streams(status):
    """A stream that is refused is the same error as a refused message, body and all."""
    given = refusal(status, "invalid_request_error" if status == 400 else "odd")
    options = {"retry": standard(attempts=1), "base_url": "http://gateway.test"}
    whole = drive(UNARY["create"], given, **options).error
    streamed = drive(STREAMED["create"], given, **options).error
    assert type(streamed) is type(whole)
    assert streamed.args == whole.args


def test_a_rate_limit_of_zero_is_not_tried_again():
    """No wait helps against a limit of 0: one attempt, and advice."""
    name = "anthropic_ratelimit_input_tokens_limit"
    for call in (UNARY["create"], STREAMED["create"]):
        run = drive(call, refusal(429, "rate_limit_error", retry_after="1", **{name: "0"}))
        assert (run.error.attempts, type(run.error)) == (1, RateLimited)
        assert "A rate limit of your organization is 0" in run.error.advice
        again = drive(call, refusal(429, "rate_limit_error", retry_after="1", **{name: "10"}))
        assert again.error.attempts == 3
        assert again.error.advice is None


@pytest.mark.parametrize("call", [UNARY["create"], STREAMED["create"]])
def test_a_404_says_what_was_asked(call):
    """The error of a 404 names the method and the URL, without the query."""
    call = call.replace(extra_query={"tag": "private"})
    error = drive(call, refusal(404), base_url="http://gateway.test/a").error
    assert error.advice == "The request was POST http://gateway.test/a/v1/messages"
    assert "private" not in str(error)


@pytest.mark.parametrize(
    "rest",
    [
        [StreamInterrupted("reset")],
        [b'{"type":"error","err', StreamInterrupted("reset")],
        [b"{", TimedOut("read")],
        [b"{", TimedOut("total")],
        [ResponseTooLarge("large")],
        [UnexpectedResponse("chunks")],
        [*[b" ", 0.3] * 9],
        [*[0.3, b"\xff"] * 9, ConnectionLost("odd")],
    ],
    ids=repr,
)
def test_the_status_of_a_stream_decides_whatever_the_body(rest):
    """Of an error status nothing is lost, on any transport, though the body breaks off."""
    for status, kind in ((429, RateLimited), (401, AuthenticationFailed), (503, ServerError)):
        given = [Response(status, {"retry-after": "7", "request-id": "req_3"}), *rest]
        run = drive(STREAMED["create"], given, retry=standard(), deadline=5.0)
        assert type(run.error) is kind
        assert (run.error.status, run.error.retry_after) == (status, 7.0)
        assert (run.error.request_id, run.error.attempts, len(run.requests)) == ("req_3", 1, 1)
        assert run.seconds <= 1.5


def test_a_redirect_of_a_stream_is_followed_whatever_its_body():
    """The body of a redirect says nothing, so it may break off."""
    for rest in ([StreamInterrupted("reset")], [b"<html", TimedOut("read")]):
        given = [Response(307, {"location": "/elsewhere"}), *rest]
        run = drive(STREAMED["create"], given, stream())
        assert [request.url[-10:] for request in run.requests] == ["1/messages", "/elsewhere"]
        assert run.error is None


def test_a_refusal_without_end_is_cut_off():
    """Of an error's body a megabyte is read, whatever more there is."""
    head = Response(400, {"content-type": "text/plain"})
    exchange, _ = begin(STREAMED["create"])
    exchange.receive_head(head)
    count = 0
    while exchange.wants_data:
        exchange.receive_data(b"x" * 65536)
        count += 1
    assert count == 17
    with pytest.raises(InvalidRequest) as caught:
        exchange.next_action()
    assert len(caught.value.details["body"]) == 1000


@pytest.mark.parametrize("kind", ["text/plain; charset=utf-8", ""])
def test_a_stream_may_lack_its_type(kind):
    """Events are read without a content-type, or as plain text: a gateway may have changed it."""
    head = Response(200, {"content-type": kind} if kind else {})
    run = drive(STREAMED["create"], [head, *WHOLE], collect=True)
    assert run.result.result().text == "Hello"


@pytest.mark.parametrize("name", STREAMED)
@pytest.mark.parametrize("kind", ["text/plain", "text/event-stream", ""])
def test_what_is_no_stream_is_in_the_error(name, kind):
    """A body without any event is in the error: JSON under another type may be an answer."""
    for body in (b'{"content": [{"text": "hi"}]}', b"upstream connect error"):
        run = drive(STREAMED[name], [Response(200, {"content-type": kind}), body])
        assert type(run.error) is UnexpectedResponse
        assert (run.error.details["body"], run.error.attempts) == (body.decode(), 1)


@pytest.mark.parametrize("body", [b"", b"ev", b"event: message_start\nda", b": hello"])
def test_a_stream_that_was_cut_in_its_first_event(body):
    """What may be the beginning of an event was cut, and is no other kind of body."""
    run = drive(STREAMED["create"], stream(body))
    assert type(run.error) is StreamTruncated


@pytest.mark.parametrize("kind", ["text/html", "text/event-streams"])
def test_a_stream_has_to_be_one(kind):
    """Another content-type where a stream belongs is an error that names it, at once."""
    exchange, _ = begin(STREAMED["create"])
    exchange.receive_head(Response(200, {"content-type": kind, "request-id": "req_1"}))
    assert not exchange.wants_data
    with pytest.raises(UnexpectedResponse, match=kind or "content-type is missing") as caught:
        exchange.next_action()
    assert (caught.value.request_id, caught.value.attempts) == ("req_1", 1)


@pytest.mark.parametrize("end", [None, StreamInterrupted("reset"), TimedOut("read")])
def test_an_answer_that_is_not_streamed_is_in_the_error(end):
    """A gateway may ignore `stream`: the message is paid for, and the error has its JSON."""
    exchange, _ = begin(STREAMED["create"])
    exchange.receive_head(Response(200, {"content-type": "application/json; charset=utf-8"}))
    for start in range(0, 60, 20):
        exchange._clock.now += 5
        exchange.receive_data(json.dumps({"content": [KEY, "x" * 60]}).encode()[start : start + 20])
    exchange.receive_end() if end is None else exchange.receive_failure(end)
    with pytest.raises(
        UnexpectedResponse, match="application/json, not text/event-stream"
    ) as caught:
        exchange.next_action()
    assert caught.value.details["body"].startswith(f'{{"content": ["{MASK}", "xx')


def test_content_type_may_have_parameters():
    """Case and parameters of the content-type do not matter."""
    head = Response(200, {"content-type": "Text/Event-Stream;charset=UTF-8"})
    assert drive(STREAMED["create"], [head, *WHOLE]).error is None


@pytest.mark.parametrize("size", [1, 10, 1000])
def test_compressed_streams_are_decoded(size):
    """A compressed stream is decoded as it comes, however it is cut."""
    data = gzip.compress(b"".join(WHOLE))
    chunks = [data[i : i + size] for i in range(0, len(data), size)]
    run = drive(STREAMED["create"], stream(*chunks, content_encoding="gzip"), collect=True)
    assert run.result.result().text == "Hello"


def test_a_compressed_stream_that_is_broken():
    """Bytes that do not decompress are an error, with what had come before."""
    good = gzip.compress(b"".join([START, BLOCK, HEL]))
    exchange, _ = begin(STREAMED["create"])
    exchange.receive_head(stream(content_encoding="gzip")[0])
    exchange.receive_data(good[:-8])
    exchange.next_action()
    exchange.receive_data(b"\xff" * 100)
    with pytest.raises(UnexpectedResponse) as caught:
        exchange.raise_stream_error()
    assert caught.value.partial["content"][0]["text"] == "Hel"


def test_only_pings_run_out_the_content_clock():
    """Pings keep the connection, but not the call: their time is limited by `content_timeout`."""
    quiet = [30.0, PING] * 5
    run = drive(STREAMED["create"], stream(START, *quiet, *WHOLE[2:]), content_timeout=150)
    assert run.error is None
    run = drive(STREAMED["create"], stream(START, *quiet, *WHOLE[2:]), content_timeout=149)
    assert (type(run.error), run.error.phase) == (TimedOut, "content")
    run = drive(STREAMED["create"], stream(START, *quiet, *WHOLE[2:]), content_timeout=None)
    assert run.error is None


def test_the_content_clock_runs_after_the_first_content_too():
    """Content starts the clock anew; comments do not."""
    clock = Clock()
    exchange = StreamExchange(STREAMED["create"], config(content_timeout=10), clock)
    exchange.next_action()
    exchange.receive_head(stream()[0])
    for chunk in (START, BLOCK, HEL, LO):
        clock.now += 9
        exchange.receive_data(chunk)
        exchange.raise_stream_error()
    for chunk in (b": still here\n\n", PING):
        clock.now += 6
        exchange.receive_data(chunk)
    with pytest.raises(TimedOut) as caught:
        exchange.raise_stream_error()
    assert caught.value.phase == "content"
    assert caught.value.partial["content"][0]["text"] == "Hello"


def test_what_follows_the_end_is_ignored():
    """After `message_stop` neither bytes nor an interruption matter."""
    junk = stream(*WHOLE[:-1], STOP + b"event: odd\ndata: {\n\n")
    run = drive(STREAMED["create"], junk, collect=True)
    assert run.result.result().stop_reason == "end_turn"
    assert run.result.error is None


@pytest.mark.parametrize("body", [f"<html>Your key is {KEY}</html>", f'{{"key": "{KEY}"}}'])
def test_a_key_in_the_body_that_an_error_keeps(body):
    """The body of an answer that is none is kept without the key."""
    run = drive(UNARY["create"], Response(200, {"content-type": "text/html"}, body.encode()))
    assert type(run.error) is UnexpectedResponse
    assert run.error.details["body"] == body.replace(KEY, MASK)
    assert KEY not in repr(run.error.to_dict())
