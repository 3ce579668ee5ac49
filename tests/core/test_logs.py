"""What a call says about itself: to whom, with which keys, and never what."""

import asyncio
import logging
import logging.config
import subprocess
import sys
import textwrap
import warnings
from contextlib import suppress

import pytest
import structlog
from attrs import evolve
from driving import (
    API,
    BLOCK,
    HEL,
    HELLO,
    KEY,
    START,
    STREAMED,
    UNARY,
    StreamExchange,
    answer,
    both,
    both_modes,
    client,
    config,
    do,
    drive,
    error_event,
    refusal,
    stream,
)
from scripted import Script
from structlog.testing import capture_logs

from claude_lite import (
    ClaudeError,
    Client,
    ConnectionFailed,
    NotFound,
    RetryLater,
    StreamInterrupted,
    TimedOut,
    defer,
    never,
    standard,
)
from claude_lite.core import logs
from claude_lite.core.exchange import Exchange
from claude_lite.wire import MASK

KEYS = {
    "operation",
    "request_id",
    "organization_id",
    "attempt",
    "attempts",
    "status",
    "error_type",
    "retry_in",
    "elapsed_ms",
    "ttft_ms",
    "input_tokens",
    "output_tokens",
}
LIMITS = {
    "anthropic_ratelimit_requests_remaining": "3",
    "anthropic_ratelimit_tokens_reset": "2026-11-02T09:15:31Z",
    "anthropic_organization_id": "org",
    "x_secret_of_the_gateway": "hush",
}


@pytest.fixture(autouse=True)
def logger():
    """Give the logger `claude_lite`, and put it and structlog back as they were."""
    own = logging.getLogger("claude_lite")
    handlers, propagate = own.handlers[:], own.propagate
    yield own
    own.handlers[:], own.propagate = handlers, propagate
    own.setLevel(logging.NOTSET)
    structlog.reset_defaults()


def hush(logger):
    """Take pytest's own handlers away, which it adds as late as when the test begins."""
    logger.handlers[:] = []
    logger.propagate = False


class Heard(list):
    """An observer that remembers: a list of (event, fields)."""

    def __call__(self, event, fields):
        """Hear one event."""
        self.append((event, dict(fields)))

    def of(self, event):
        """Give the fields of the events of one name."""
        return [fields for name, fields in self if name == f"claude_lite.{event}"]


def observed(operation, *answers, **options):
    """Drive a call, and give what an observer heard."""
    heard = Heard()
    run = drive(operation, *answers, observe=heard, **options)
    return heard, run


def test_one_event_an_attempt_and_one_a_call():
    """A call of three attempts says three things about attempts, and one about the call."""
    heard, _ = observed(UNARY["create"], refusal(529), ConnectionFailed("no"), answer())
    assert [name for name, _ in heard] == ["claude_lite.attempt"] * 3 + ["claude_lite.call"]
    assert [fields["attempt"] for fields in heard.of("attempt")] == [1, 2, 3]
    (call,) = heard.of("call")
    assert call["attempts"] == 3


def test_the_keys_of_a_success():
    """Of a success: operation, ids, status, times, tokens and rate limits, and nothing else."""
    heard, _ = observed(UNARY["create"], answer(**LIMITS), takes=1.5)
    attempt = {
        "operation": "messages.create",
        "attempt": 1,
        "elapsed_ms": 1500.0,
        "status": 200,
        "request_id": "req_1",
        "organization_id": "org",
        "ratelimit_requests_remaining": "3",
        "ratelimit_tokens_reset": "2026-11-02T09:15:31Z",
    }
    assert heard.of("attempt") == [attempt]
    call = {**attempt, "attempts": 1, "input_tokens": 21, "output_tokens": 34}
    del call["attempt"]
    assert heard.of("call") == [call]


def test_the_keys_of_a_failure():
    """Of a failure: the error's type, when it is tried again, and the rate limits as well."""
    given = refusal(429, "rate_limit_error", retry_after="2.5", **LIMITS)
    heard, _ = observed(UNARY["create"], given, retry=standard(attempts=2, wait=1))
    first, last = heard.of("attempt")
    assert first == {
        "operation": "messages.create",
        "attempt": 1,
        "elapsed_ms": 0.0,
        "status": 429,
        "request_id": "req_2",
        "organization_id": "org",
        "error_type": "rate_limit_error",
        "retry_in": 2.5,
        "ratelimit_requests_remaining": "3",
        "ratelimit_tokens_reset": "2026-11-02T09:15:31Z",
    }
    assert "retry_in" not in last
    (call,) = heard.of("call")
    assert (call["attempts"], call["elapsed_ms"], call["error_type"]) == (
        2,
        2500.0,
        "rate_limit_error",
    )


def test_errors_without_a_type_have_their_class():
    """An error that is not the API's is named by its class; what does not apply is left out."""
    heard, _ = observed(UNARY["create"], ConnectionFailed("no"), retry=never())
    assert heard.of("attempt") == [
        {
            "operation": "messages.create",
            "attempt": 1,
            "elapsed_ms": 0.0,
            "error_type": "ConnectionFailed",
        }
    ]


def test_rate_limits_are_those_of_this_attempt():
    """An attempt that got no response does not repeat the headers of the one before."""
    heard, _ = observed(UNARY["create"], refusal(529, **LIMITS), ConnectionFailed("no"))
    second = heard.of("attempt")[1]
    assert not {"status", "request_id", "ratelimit_requests_remaining"} & second.keys()


def test_a_stream_has_a_time_to_its_first_content():
    """Of a stream the call says `ttft_ms`, and is told when all of it was read."""

    async def scenario(mode):
        heard = Heard()
        given = stream(5.0, START, BLOCK, 2.0, HEL, 3.0, *stream()[5:])
        made = client(mode, given, observe=heard)
        async with both(made.messages.stream(**HELLO)) as s:
            assert len(heard.of("attempt")) == 1
            assert heard.of("call") == []
            await s.final_message()
            assert len(heard.of("call")) == 1
            await s.final_message()
        return heard

    for mode in ("sync", "async"):
        heard = asyncio.run(scenario(mode))
        assert [name for name, _ in heard] == ["claude_lite.attempt", "claude_lite.call"]
        (call,) = heard.of("call")
        assert (call["ttft_ms"], call["elapsed_ms"]) == (7000.0, 10000.0)
        assert (call["input_tokens"], call["output_tokens"]) == (21, 15)


def test_the_first_content_of_a_collected_stream():
    """`ttft_ms` is the time to the first content also where the caller waits for the last."""
    given = stream(5.0, START, BLOCK, HEL, 3.0, *stream()[5:])
    heard, run = observed(STREAMED["create"], given, collect=True)
    run.exchange.finish()
    (call,) = heard.of("call")
    assert (call["ttft_ms"], call["elapsed_ms"]) == (5000.0, 8000.0)


def test_the_first_content_of_an_attempt_that_broke():
    """`ttft_ms` is of the last attempt; where that never came to be, there is none."""

    class Late(Script):
        def sleep(self, seconds):
            super().sleep(seconds + 10.0)

    heard = Heard()
    script = Late([1.0, b"".join((START, BLOCK, HEL)), StreamInterrupted("it broke")])
    made = Client(script, api_key=KEY, deadline=5.0, observe=heard)
    with pytest.raises(TimedOut), made.messages.stream(**HELLO, collect=True):
        pass
    (call,) = heard.of("call")
    assert call["attempts"] == 1
    assert "ttft_ms" not in call


@both_modes
@pytest.mark.parametrize("way", ["break", "error", "failure"])
def test_every_stream_ends_in_one_call_event(mode, way):
    """Left early, left by an error, or broken: the call is told once, with what is known."""

    async def use(s):
        async with s:
            async for event in s:
                if event.type == "content_block_delta" and way != "failure":
                    break
            if way == "error":
                raise KeyError

    async def scenario():
        heard = Heard()
        steps = [START, BLOCK, HEL, error_event() if way == "failure" else HEL]
        made = client(mode, stream(*steps), observe=heard)
        s = both(made.messages.stream(**HELLO))
        with suppress(KeyError, ClaudeError):
            await use(s)
        with pytest.raises(ClaudeError):
            await s.final_message()
        return heard

    heard = asyncio.run(scenario())
    assert [name for name, _ in heard] == ["claude_lite.attempt", "claude_lite.call"]
    (call,) = heard.of("call")
    types = {"break": "StreamInterrupted", "error": "KeyError", "failure": "overloaded_error"}
    assert call["error_type"] == types[way]
    assert call.get("input_tokens") == (None if way == "failure" else 21)
    assert "output_tokens" not in call


def test_what_a_stream_is_left_with_is_another_calls():
    """Where another call's error ends the block, the event has the stream's own ids and status."""
    heard = Heard()
    made = client("sync", stream(START, BLOCK, HEL, HEL), observe=heard)
    with suppress(NotFound), made.messages.stream(**HELLO):
        raise NotFound(status=404, request_id="req_other")
    (call,) = heard.of("call")
    assert (call["status"], call["request_id"]) == (200, "req_1")
    assert call["error_type"] == "NotFound"


@pytest.mark.parametrize("status", [200, 429])
def test_headers_that_quote_the_key_are_logged_without_it(status):
    """A gateway that writes the key into an id or a rate limit does not write it into the log."""
    headers = {"request-id": f"req {KEY}", "anthropic-ratelimit-odd": KEY}
    given = answer(status=status)
    given = evolve(given, headers={**given.headers, **headers})
    heard, _ = observed(UNARY["create"], given, retry=never())
    assert [name for name, _ in heard] == ["claude_lite.attempt", "claude_lite.call"]
    for _, fields in heard:
        assert fields["ratelimit_odd"] == MASK
        assert KEY not in repr(fields)


def test_a_deferred_call_is_an_end():
    """`RetryLater` ends the call: one attempt with `retry_in`, one call with that name."""
    heard, run = observed(UNARY["create"], refusal(529, retry_after="9"), retry=defer(wait=1))
    assert isinstance(run.error, RetryLater)
    assert [fields["retry_in"] for fields in heard.of("attempt")] == [9.0]
    assert [fields["error_type"] for fields in heard.of("call")] == ["RetryLater"]


def test_a_fresh_token_is_another_attempt():
    """The attempt that got a 401 is told, tried again at once."""
    options = {"auth_token": lambda: "unused", "tokens": ["token-0001", "token-0002"]}
    heard, _ = observed(UNARY["create"], refusal(401, "authentication_error"), answer(), **options)
    assert [fields.get("retry_in") for fields in heard.of("attempt")] == [0.0, None]
    assert [fields["status"] for fields in heard.of("attempt")] == [401, 200]


@pytest.mark.parametrize("operation", [*UNARY.values(), *STREAMED.values()])
def test_no_other_keys(operation):
    """Whatever happens, the keys are those that are documented."""
    for given in (refusal(529, **LIMITS), refusal(400), ConnectionFailed("no"), answer({})):
        heard, _ = observed(operation, given)
        for _, fields in heard:
            assert {k for k in fields if not k.startswith("ratelimit_")} <= KEYS
            assert None not in fields.values()


@both_modes
def test_calls_of_clients_are_told(mode):
    """The observer of a client hears its calls, on the thread and loop that they are made on."""
    heard = Heard()
    made = client(mode, answer(), observe=heard)
    asyncio.run(do(made.messages.create, **HELLO))
    assert [name for name, _ in heard] == ["claude_lite.attempt", "claude_lite.call"]


def test_where_nobody_listens_nothing_is_put_together(logger):
    """Without structlog, handlers or observer there is nobody to report to, and no report."""
    hush(logger)
    assert logs.reporter(config()) is None
    assert Exchange(UNARY["create"], config())._log is None
    assert StreamExchange(STREAMED["create"], config())._log is None


def test_what_is_filtered_is_not_put_together(logger):
    """A logger that takes errors only hears of them, and no other fields are put together."""

    def fields():
        pytest.fail("the fields were put together")

    hush(logger)
    logger.addHandler(logging.StreamHandler())
    logger.setLevel(logging.CRITICAL)
    assert logs.reporter(config()) is None
    logger.setLevel(logging.ERROR)
    report = logs.reporter(config())
    for level in ("debug", "info", "warning"):
        report(level, "claude_lite.call", fields)
    heard = []
    report("error", "claude_lite.call", lambda: heard.append("error") or {})
    assert heard == ["error"]


class Lines(logging.Handler):
    """A handler that remembers."""

    def __init__(self):
        """Begin with nothing."""
        super().__init__()
        self.records = []

    def emit(self, record):
        """Remember one record."""
        self.records.append(record)


@pytest.mark.parametrize("name", ["claude_lite", None], ids=["own logger", "root logger"])
def test_without_structlog_the_standard_logger_is_used(name, logger):
    """Events go to the logger `claude_lite`, as `key=value` text, by level."""
    lines = Lines()
    logging.getLogger(name).addHandler(lines)
    logger.propagate = name is None
    logger.setLevel(logging.DEBUG)
    try:
        drive(UNARY["create"], refusal(529), answer(), retry=standard(wait=2))
        drive(UNARY["create"], refusal(400, "invalid_request_error"))
        drive(UNARY["create"], refusal(529), retry=defer(wait=2))
    finally:
        logging.getLogger(name).removeHandler(lines)
    assert [(record.levelname, record.args[0]) for record in lines.records] == [
        ("WARNING", "claude_lite.attempt"),
        ("DEBUG", "claude_lite.attempt"),
        ("INFO", "claude_lite.call"),
        ("WARNING", "claude_lite.attempt"),
        ("ERROR", "claude_lite.call"),
        ("WARNING", "claude_lite.attempt"),
        ("WARNING", "claude_lite.call"),
    ]
    assert lines.records[0].getMessage() == (
        "claude_lite.attempt operation=messages.create attempt=1 elapsed_ms=0.0 status=529"
        " request_id=req_2 error_type=api_error retry_in=2.0"
    )
    assert {record.name for record in lines.records} == {"claude_lite"}


def test_a_logger_configured_by_dict_is_heard(logger):
    """What `logging.config.dictConfig` sets up is listened to."""
    logging.config.dictConfig(
        {
            "version": 1,
            "incremental": False,
            "disable_existing_loggers": False,
            "handlers": {"one": {"class": "logging.StreamHandler"}},
            "loggers": {"claude_lite": {"handlers": ["one"], "propagate": False}},
        }
    )
    assert logs.reporter(config()) is not None
    logger.handlers[:] = []
    assert logs.reporter(config()) is None


def test_structlog_is_used_where_it_is_configured(logger):
    """Events go to structlog as the application configured it, with its fields."""
    hush(logger)
    assert not structlog.is_configured()
    assert logs.reporter(config()) is None
    structlog.configure(processors=[structlog.processors.JSONRenderer()])
    with capture_logs() as captured:
        drive(UNARY["create"], refusal(529), answer(), retry=standard(wait=2))
    assert [(entry["event"], entry["log_level"]) for entry in captured] == [
        ("claude_lite.attempt", "warning"),
        ("claude_lite.attempt", "debug"),
        ("claude_lite.call", "info"),
    ]
    assert captured[0]["retry_in"] == 2
    assert captured[2]["input_tokens"] == 21


ERRORS_ONLY = structlog.make_filtering_bound_logger(logging.ERROR)


@pytest.mark.skipif(not hasattr(ERRORS_ONLY, "is_enabled_for"), reason="it cannot be asked")
def test_what_structlog_filters_is_not_put_together():
    """A level that structlog is not to hear costs no fields; the others are heard."""
    built = []
    structlog.configure(wrapper_class=ERRORS_ONLY)
    with capture_logs() as captured:
        report = logs.reporter(config())
        for level in logs.LEVELS:
            report(level, "claude_lite.call", lambda level=level: built.append(level) or {})
    assert built == ["error"]
    assert [entry["log_level"] for entry in captured] == ["error"]


def test_asynchronous_loggers_of_structlog_are_heard():
    """Where an application logs by awaiting, a call logs without."""
    heard = []

    def hear(_logger, level, event):
        heard.append((level, event["event"]))
        raise structlog.DropEvent

    async def call():
        drive(UNARY["create"], answer())

    structlog.configure(processors=[hear], wrapper_class=structlog.stdlib.AsyncBoundLogger)
    assert drive(UNARY["create"], answer()).error is None
    assert heard == []
    asyncio.run(call())
    assert heard == [("debug", "claude_lite.attempt"), ("info", "claude_lite.call")]


def test_structlog_and_observer_hear_the_same():
    """An observer hears what the log does, besides it."""
    structlog.configure(processors=[structlog.processors.JSONRenderer()])
    with capture_logs() as captured:
        heard, _ = observed(UNARY["create"], refusal(529), answer())
    logged = [
        (entry.pop("event"), {k: v for k, v in entry.items() if k != "log_level"})
        for entry in captured
    ]
    assert logged == list(heard)


def test_neither_key_nor_body_is_logged(logger):
    """No event has the key, the prompt, the answer or an error's message in it."""
    lines = Lines()
    logger.addHandler(lines)
    logger.setLevel(logging.DEBUG)
    echo = {"type": "error", "error": {"type": "api_error", "message": f"{KEY} said Hello"}}
    heard, _ = observed(UNARY["create"], answer(echo, 500), answer(echo, 400))
    more, _ = observed(UNARY["create"], answer())
    text = repr(list(heard) + list(more)) + "".join(line.getMessage() for line in lines.records)
    assert "operation" in text
    for secret in (KEY, "Hello", "said", "How can I help"):
        assert secret not in text


@pytest.mark.parametrize("absent", [["structlog"], ["structlog", "logging"]], ids=str)
def test_who_has_not_imported_a_logger_is_not_logged_to(absent, monkeypatch):
    """Neither is imported for it: without both nobody listens, unless there is an observer."""
    for name in absent:
        monkeypatch.delitem(sys.modules, name)
    report = logs.reporter(config())
    assert (report is None) == ("logging" in absent)
    assert not {*absent} & {*sys.modules}
    heard = []
    logs.reporter(config(observe=lambda *what: heard.append(what)))(
        "debug", "event", lambda: {"a": 1}
    )
    assert heard == [("event", {"a": 1})]


def test_nothing_is_written_by_default():
    """A program that configures nothing sees nothing on its outputs, of success or failure."""
    code = """
        import sys
        sys.path.insert(0, "tests")
        from driving import UNARY, answer, drive, refusal
        drive(UNARY["create"], refusal(529), refusal(529), answer())
        drive(UNARY["create"], refusal(400))
        assert "structlog" not in sys.modules
    """
    done = subprocess.run(  # noqa: S603  # this interpreter
        [sys.executable, "-W", "error", "-c", textwrap.dedent(code)],
        capture_output=True,
        check=False,
        cwd=API.parent.parent.parent,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


# Telemetry that fails


class Full(logging.Handler):
    """A handler whose disk is full, and which does not hide it as the handlers of `logging` do."""

    def emit(self, record):
        """Fail."""
        raise OSError(28, f"No space left on device: {record.levelname}")


class Odd:
    """What structlog may be configured with by mistake: nothing about it works."""

    def __getattr__(self, name):
        """Fail."""
        raise LookupError(name)


def broken(*_):
    """Fail as an observer, as a filter and as a processor of structlog."""
    raise KeyError("telemetry")


def broken_observer(_):
    """Give the options of a client whose observer fails."""
    return {"observe": broken}


def broken_processor(_):
    """Configure structlog with a processor that fails."""
    structlog.configure(processors=[broken])
    return {}


def broken_structlog(_):
    """Configure structlog with a factory that fails."""
    structlog.configure(logger_factory=Odd(), cache_logger_on_first_use=False)
    return {}


def broken_bound_logger(_):
    """Configure structlog with a class of loggers that cannot log."""
    structlog.configure(wrapper_class=lambda *_: Odd(), cache_logger_on_first_use=False)
    return {}


def broken_handler(logger):
    """Add a handler that fails."""
    logger.addHandler(Full())
    return {}


def broken_filter(logger):
    """Add a filter that fails."""
    handler = logging.StreamHandler()
    handler.addFilter(broken)
    logger.addHandler(handler)
    return {}


def broken_text(logger):
    """Let each handler fail to format a record, and report it nowhere."""
    handler = Full()
    handler.setFormatter(Odd())
    logger.addHandler(handler)
    return {"observe": broken}


every_failure = pytest.mark.parametrize(
    "breaks",
    [
        *(broken_observer, broken_processor, broken_structlog, broken_bound_logger),
        *(broken_handler, broken_filter, broken_text),
    ],
    ids=lambda breaks: breaks.__name__,
)


def told(caught):
    """Give the texts of the warnings about lost events."""
    return [str(w.message) for w in caught if "a report was lost" in str(w.message)]


@both_modes
@every_failure
def test_the_answer_is_given_though_telemetry_fails(mode, breaks, logger):
    """Plain, streamed, listed and tried again: a call has its answer, and one warning comes."""
    logger.setLevel(logging.DEBUG)
    options = breaks(logger)

    async def scenario():
        made = client(mode, refusal(529), answer(), **options)
        plain = await do(made.messages.create, **HELLO)
        made = client(mode, stream(), **options)
        async with both(made.messages.stream(**HELLO)) as s:
            texts = [text async for text in s.text_stream]
            final = await s.final_message()
        made = client(mode, stream(), **options)
        async with both(made.messages.stream(**HELLO)) as s:
            first = await anext(aiter(s))
        return plain.text, texts, final.text, first.type

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        seen = asyncio.run(scenario())
    assert seen == ("Hello! How can I help?", ["Hel", "lo"], "Hello", "message_start")
    lost = told(caught)
    assert len(lost) >= 3  # one by each client
    assert all("test_logs.py:" in text or "structlog" in text for text in lost)
    assert "telemetry" not in str(lost)


@both_modes
@every_failure
def test_the_error_of_the_api_is_raised_though_telemetry_fails(mode, breaks, logger):
    """Status, event in a stream, exception of the caller: each is raised as it is."""
    options = {"retry": never(), **breaks(logger)}

    async def scenario():
        made = client(mode, refusal(404, "not_found_error"), **options)
        with pytest.raises(NotFound) as caught:
            await do(made.messages.create, **HELLO)
        assert caught.value.request_id == "req_2"
        made = client(mode, stream(START, BLOCK, HEL, error_event("not_found_error")), **options)
        with pytest.raises(NotFound) as caught:
            async with both(made.messages.stream(**HELLO)) as s:
                await s.final_message()
        assert caught.value.partial["content"][0]["text"] == "Hel"
        made = client(mode, stream(), **options)
        with pytest.raises(ZeroDivisionError):
            async with both(made.messages.stream(**HELLO)):
                raise ZeroDivisionError
        assert made.transport.left == 1

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        asyncio.run(scenario())


def test_a_failure_is_reported_once_by_each_client():
    """However many events are lost at one place, a client warns once; the next client again."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(2):
            made = client("sync", answer(), observe=broken)
            for _ in range(3):
                made.messages.create(**HELLO)
    first, second = told(caught)
    assert first == second
    assert "KeyError in " in first
    assert {w.category for w in caught} == {RuntimeWarning}


def test_warnings_may_be_errors_too():
    """A program that turns warnings into errors has its answers all the same."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made = client("sync", answer(), observe=broken)
        assert made.messages.create(**HELLO).text == "Hello! How can I help?"


def test_one_listener_that_fails_silences_no_other(logger):
    """The observer hears what a broken handler loses, and the reverse."""
    hush(logger)
    logger.addHandler(Full())
    heard = Heard()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        client("sync", answer(), observe=heard).messages.create(**HELLO)
        logger.handlers[:] = [Listed()]
        logger.setLevel(logging.DEBUG)
        client("sync", answer(), observe=broken).messages.create(**HELLO)
    names = ["claude_lite.attempt", "claude_lite.call"]
    assert [name for name, _ in heard] == names
    assert [text.split()[0] for text in logger.handlers[0].texts] == names


class Listed(logging.Handler):
    """A handler that remembers the texts."""

    def __init__(self):
        """Remember nothing yet."""
        super().__init__()
        self.texts = []

    def emit(self, record):
        """Remember one."""
        self.texts.append(record.getMessage())


@both_modes
@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_what_is_no_exception_ends_the_call(mode, stop):
    """KeyboardInterrupt and its like pass through an observer, and the connection is left."""

    def stopped(*_):
        raise stop

    async def scenario():
        plain = client(mode, answer(), observe=stopped)
        with pytest.raises(stop):
            await do(plain.messages.create, **HELLO)
        streamed = client(mode, stream(), observe=stopped)
        with pytest.raises(stop):
            async with both(streamed.messages.stream(**HELLO)) as s:
                await s.final_message()
        return streamed.transport.left

    assert asyncio.run(scenario()) == 1
