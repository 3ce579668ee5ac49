"""What a response says besides its result: errors, when to come back, the rate limits."""

import gzip
import json
import math
import time
from datetime import UTC, datetime, timedelta, timezone
from email.utils import format_datetime

import pytest
from attrs import asdict
from hypothesis import given, settings
from hypothesis import strategies as st
from places import SAMPLES

from claude_lite.api.messages.operations import CreateMessage
from claude_lite.core.limits import LONG_TEXT, parse_json
from claude_lite.core.responses import (
    KEPT_BODY,
    LONGEST_WAIT,
    decompress_body,
    error_from_response,
    retry_after,
    should_retry,
    unexpected,
    with_body,
)
from claude_lite.errors import ClaudeError, ResponseTooLarge, UnexpectedResponse
from claude_lite.wire import Limits, RateLimit, RateLimits, Response, rate_limits

DATE = "Mon, 02 Nov 2026 09:15:00 GMT"
HEADERS = {"request-id": "req_1", "anthropic-organization-id": "org_1", "retry-after": "2"}


def waits(value, **headers):
    """Give the wait that a `retry-after` stands for."""
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return retry_after({"retry-after": value, **named})


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("7", 7.0),
        (" 7 ", 7.0),
        ("0.25", 0.25),
        ("1e2", 100.0),
        ("+3", None),
        ("1_0", None),
        ("\u0663", None),
        ("1e+2", None),
        (".5", None),
        ("5.", None),
        ("1 0", None),
        ("\t8\t", 8.0),
        ("3600", 3600.0),
        ("4294967", 4294967.0),
        ("4294968", LONGEST_WAIT),
        ("1e300", LONGEST_WAIT),
        ("9" * 300, LONGEST_WAIT),
        ("9" * 10_000, None),
        ("0", None),
        ("-0", None),
        ("0.0", None),
        ("-1", None),
        ("-1e300", None),
        ("inf", None),
        ("-Infinity", None),
        ("1e999", None),
        ("nan", None),
        ("", None),
        (" ", None),
        ("soon", None),
        ("7 s", None),
        ("7, 8", None),
        ("7;8", None),
        ("0x10", None),
        ("\xb2", None),
        ("Mon", None),
        ("Mon, 99 Foo 2026 09:15:00 GMT", None),
        ("Mon, 02 Nov 2026", None),
    ],
)
def test_retry_after_in_seconds(value, expected):
    """Positive numbers count, up to 49 days; what is no sensible wait is None."""
    assert waits(value) == expected


@pytest.mark.parametrize(
    ("milliseconds", "seconds", "expected"),
    [
        ("1500", "7", 1.5),
        ("0.5", "7", 0.0005),
        ("1500", None, 1.5),
        ("0", "7", 7.0),
        ("-1", "7", 7.0),
        ("nan", "7", 7.0),
        ("inf", "7", 7.0),
        ("soon", "7", 7.0),
        ("1_0", "7", 7.0),
        ("", "7", 7.0),
        ("1e300", "7", LONGEST_WAIT),
        ("0", "0", None),
        ("x", "y", None),
    ],
)
def test_milliseconds_go_first(milliseconds, seconds, expected):
    """`retry-after-ms` is preferred, unless it says nothing; then `retry-after` is asked."""
    headers = {"retry-after-ms": milliseconds, "retry-after": seconds}
    assert retry_after({k: v for k, v in headers.items() if v is not None}) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("Mon, 02 Nov 2026 09:15:30 GMT", 30.0),
        ("Mon, 02 Nov 2026 09:15:30 +0000", 30.0),
        ("Mon, 02 Nov 2026 09:15:30 -0000", 30.0),
        ("Mon, 02 Nov 2026 10:15:30 +0100", 30.0),
        ("Monday, 02-Nov-26 09:15:30 GMT", 30.0),
        ("Mon Nov  2 09:15:30 2026", 30.0),
        ("2 Nov 2026 09:15:30", 30.0),
        ("Tue, 03 Nov 2026 09:15:00 GMT", 86400.0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", LONGEST_WAIT),
        (DATE, None),
        ("Mon, 02 Nov 2026 09:14:59 GMT", None),
        ("Thu, 01 Jan 1970 00:00:00 GMT", None),
        ("Mon, 01 Jan 0001 00:00:00 GMT", None),
    ],
)
def test_retry_after_as_a_date(value, expected, monkeypatch):
    """All forms of HTTP dates count from the response's own `date`, in any zone of the machine."""
    for zone in ("UTC", "Pacific/Auckland"):
        monkeypatch.setenv("TZ", zone)
        time.tzset()
        try:
            assert waits(value, date=DATE) == expected
        finally:
            monkeypatch.undo()
            time.tzset()


@pytest.mark.parametrize("headers", [{}, {"date": ""}, {"date": "garbage"}])
def test_a_date_without_a_date(headers):
    """Where the response does not say when it was sent, the wait counts from now."""
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=100), usegmt=True)
    assert 90 < waits(later, **headers) <= 100


def test_no_retry_after():
    """Without the headers there is no wait."""
    assert retry_after({}) is None
    assert retry_after({"date": DATE}) is None


@given(st.text(max_size=30), st.text(max_size=30), st.text(max_size=30))
@settings(deadline=None, max_examples=200)
def test_retry_after_of_any_text(value, milliseconds, date):
    """Whatever the headers say, the wait is None or a positive number of bounded size."""
    wait = waits(value, retry_after_ms=milliseconds, date=date)
    assert wait is None or 0 < wait <= LONGEST_WAIT


@given(st.datetimes(), st.sampled_from(["", " GMT", " +0000", " -9959", " EST", " x"]))
@settings(deadline=None, max_examples=200)
def test_retry_after_of_any_date(moment, zone):
    """Any date that can be written is a wait, or is in the past."""
    wait = waits(f"{moment:%a, %d %b %Y %H:%M:%S}{zone}", date=DATE)
    assert wait is None or 0 < wait <= LONGEST_WAIT


def test_the_longest_wait_can_be_waited():
    """No clock of the standard library overflows with it."""
    assert math.isfinite(LONGEST_WAIT)
    assert timedelta(seconds=LONGEST_WAIT) < timedelta(days=50)


@pytest.mark.parametrize(
    ("value", "expected"),
    [("true", True), ("false", False), ("True", None), ("1", None), ("", None), (None, None)],
)
def test_should_retry(value, expected):
    """Only the two words of the API count, in lower case."""
    headers = {} if value is None else {"x-should-retry": value}
    assert should_retry(Response(429, headers)) is expected


def test_the_rate_limits_of_the_sample():
    """The recorded headers give these limits, and nothing for the kinds that are not there."""
    headers = json.loads((SAMPLES / "errors/rate_limit_error.json").read_bytes())["headers"]

    def at(second):
        return datetime(2026, 11, 2, 9, 15, second, tzinfo=UTC)

    assert rate_limits(headers) == RateLimits(
        requests=RateLimit(1000, 0, at(7)),
        tokens=RateLimit(2_400_000, 1_200_000, at(31)),
        input_tokens=RateLimit(2_000_000, 900_000, at(30)),
        output_tokens=RateLimit(400_000, 300_000, at(15)),
    )


def test_every_kind_of_rate_limit():
    """Each kind is read from headers of its own."""
    names = {
        "requests": "anthropic-ratelimit-requests",
        "tokens": "anthropic-ratelimit-tokens",
        "input_tokens": "anthropic-ratelimit-input-tokens",
        "output_tokens": "anthropic-ratelimit-output-tokens",
        "priority_input_tokens": "anthropic-priority-input-tokens",
        "priority_output_tokens": "anthropic-priority-output-tokens",
        "fast_input_tokens": "anthropic-fast-input-tokens",
        "fast_output_tokens": "anthropic-fast-output-tokens",
    }
    headers = {f"{name}-limit": str(i) for i, name in enumerate(names.values())}
    expected = {kind: RateLimit(i) for i, kind in enumerate(names)}
    assert asdict(rate_limits(headers), recurse=False) == expected
    assert set(names) == {a.name for a in RateLimits.__attrs_attrs__}


@pytest.mark.parametrize("part", ["limit", "remaining", "reset"])
def test_a_part_of_a_rate_limit(part):
    """One header of the three is enough, the others are None."""
    value = "2026-11-02T09:15:07.5+01:00" if part == "reset" else "5"
    limit = rate_limits({f"anthropic-ratelimit-requests-{part}": value}).requests
    expected = {"limit": 5, "remaining": 5}.get(
        part, datetime(2026, 11, 2, 9, 15, 7, 500_000, tzinfo=timezone(timedelta(hours=1)))
    )
    assert limit == RateLimit(**{part: expected})


@given(st.text(max_size=25), st.text(max_size=25))
@settings(deadline=None, max_examples=200)
def test_rate_limits_of_any_text(count, moment):
    """What is no number or no time is None, never an exception; times know their zone."""
    limit = rate_limits(
        {
            "anthropic-ratelimit-tokens-limit": count,
            "anthropic-ratelimit-tokens-remaining": count,
            "anthropic-ratelimit-tokens-reset": moment,
        }
    ).tokens
    assert limit is not None
    assert limit.limit is None or limit.limit == limit.remaining
    assert limit.reset is None or limit.reset.tzinfo is not None


def test_times_without_a_zone_are_utc():
    """A reset that does not name a zone is in UTC, as all of the API's times are."""
    headers = {"anthropic-ratelimit-tokens-reset": "2026-11-02T09:15:07"}
    limit = rate_limits(headers).tokens
    assert limit == RateLimit(reset=datetime(2026, 11, 2, 9, 15, 7, tzinfo=UTC))


def test_no_rate_limits():
    """Without any of the headers every kind is None."""
    assert rate_limits({"anthropic-ratelimit-new-limit": "1"}) == RateLimits()


def test_a_body_is_decoded():
    """A body comes as it is, or decompressed if the response says so."""
    for headers, body in (({}, b"x"), ({"content-encoding": "gzip"}, gzip.compress(b"x"))):
        assert decompress_body(Response(200, headers, body), None) == b"x"


@pytest.mark.parametrize(
    ("encoding", "body", "expected"),
    [
        ("br", b"x", UnexpectedResponse),
        ("gzip", b"x", UnexpectedResponse),
        ("gzip", gzip.compress(b"x", mtime=0)[:-1], UnexpectedResponse),
        ("gzip", gzip.compress(bytes(1001), mtime=0), ResponseTooLarge),
    ],
)
def test_a_body_that_cannot_be_decoded(encoding, body, expected):
    """The error is typed, and has the status and the ids of the response."""
    with pytest.raises(UnexpectedResponse) as caught:
        decompress_body(Response(200, {**HEADERS, "content-encoding": encoding}, body), 1000)
    error = caught.value
    assert type(error) is expected
    assert (error.status, error.request_id, error.organization_id) == (200, "req_1", "org_1")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>Sign in to continue</html>",
        b"null",
        b"[]",
        b'"text"',
        b"{}",
        b'{"type":"message"}',
        b'{"id":"msg_1","model":"m","usage":{}}',
        b'{"id":"msg_1","content":null,"model":"m","usage":{"input_tokens":1,"output_tokens":1}}',
        b'{"id":1e400}',
        b'{"id":"\\ud800"}',
        b'{"id":"\xff"}',
        b"[" * 100_000,
        b'{"a":' * 1000 + b"1" + b"}" * 1000,
    ],
)
def test_a_success_that_is_none(body):
    """A 200 that is not what the API sends is a typed error with status and ids, never a model."""
    operation = CreateMessage(model="m", max_tokens=1, messages=[])
    with pytest.raises(UnexpectedResponse, match=r"unexpected response|max_depth") as caught:
        operation.parse(Response(200, HEADERS, body))
    error = caught.value
    assert (error.status, error.request_id, error.organization_id) == (200, "req_1", "org_1")


@pytest.mark.parametrize(
    "body",
    [
        b"<html>Sign in to continue</html>",
        b'{"choices":[{"text":"paid"}],"model":"m"}',
        b'{"id":"msg_1","content":null,"model":"m"}',
        b'{"content":' + b"[" * 300 + b"]" * 300 + b"}",
    ],
)
@pytest.mark.parametrize("encoding", [None, "gzip"])
def test_an_error_about_an_answer_has_the_body(body, encoding):
    """The answer may be paid for: its text is in the error, and in the error's JSON."""
    operation = CreateMessage(model="m", max_tokens=1, messages=[])
    headers = HEADERS | ({"content-encoding": encoding} if encoding else {})
    sent = gzip.compress(body) if encoding else body
    with pytest.raises(UnexpectedResponse) as caught:
        operation.parse(Response(200, headers, sent))
    assert caught.value.details["body"] == body.decode()
    assert ClaudeError.from_dict(caught.value.to_dict()).details["body"] == body.decode()


@pytest.mark.parametrize("encoding", ["none", "utf-8", "identity, identity", "gzip"])
def test_a_body_under_a_wrong_encoding_is_in_the_error(encoding):
    """The answer may be there, though its encoding has the name of another, or of none."""
    with pytest.raises(UnexpectedResponse) as caught:
        decompress_body(Response(200, {"content-encoding": encoding}, b'{"id": 1}'), None)
    assert caught.value.details["body"] == '{"id": 1}'


@pytest.mark.parametrize("end", [bytes(8), b""])
def test_a_body_whose_checksum_is_wrong_is_in_the_error(end):
    """The text may have been changed, so it is no answer; but it is paid for, and not lost."""
    packed = gzip.compress(b'{"text": "Hi"}')[:-8] + end
    with pytest.raises(UnexpectedResponse) as caught:
        decompress_body(Response(200, {"content-encoding": "gzip"}, packed), None)
    assert caught.value.details["body"] == '{"text": "Hi"}'


def test_a_compressed_body_that_is_cut_is_in_the_error():
    """What could be decompressed is kept."""
    sent = gzip.compress(b'{"id": "msg_1"}')[:-4]
    with pytest.raises(UnexpectedResponse, match="ends too early") as caught:
        decompress_body(Response(200, {"content-encoding": "gzip"}, sent), None)
    assert caught.value.details["body"] == '{"id": "msg_1"}'


def test_a_long_body_is_cut_between_words():
    """No half of a credential is left at the end, and the error stays small."""
    secret = b"sk-ant-api03-secretsecretsecret"
    for start in range(KEPT_BODY - len(secret), KEPT_BODY + 1):
        body = b"word " * (start // 5) + b"x" * (start % 5) + secret + b" more" * 100
        text = with_body(UnexpectedResponse("m"), body).details["body"]
        assert len(text) <= KEPT_BODY
        assert "sk-ant" not in text.replace(secret.decode(), "")


def test_values_are_counted_in_long_bodies_too():
    """Over the limit it is an error; long texts, with whatever in them, are few values."""
    limits = Limits(max_values=1000)
    with pytest.raises(ResponseTooLarge, match="more than 1000 values"):
        parse_json(b"[" + b"0," * LONG_TEXT + b"0]", limits)
    for text in ("x" * LONG_TEXT, ",[{" * LONG_TEXT):
        assert parse_json(json.dumps([text]).encode(), limits) == [text]


def test_what_was_not_expected():
    """The error says what came instead, and has what the head says."""
    error = unexpected(Response(302, HEADERS), "a redirect to nowhere")
    assert error.message == "unexpected response: a redirect to nowhere"
    assert (error.status, error.request_id, error.retry_after) == (302, "req_1", 2.0)


def test_numbers_in_details_keep_their_digits():
    """Details of an error are read as exactly as anything else."""
    body = b'{"error":{"type":"api_error","details":{"n":18446744073709551617}}}'
    assert error_from_response(Response(500, {}, body), body).details == {"n": 2**64 + 1}


@given(st.binary(max_size=80), st.integers(400, 599))
@settings(deadline=None, max_examples=200)
def test_any_body_is_an_error(body, status):
    """Whatever the body of a refusal, the error has the status and can be written as JSON."""
    error = error_from_response(Response(status, HEADERS, body), body)
    assert (error.status, error.request_id, error.retry_after) == (status, "req_1", 2.0)
    assert ClaudeError.from_dict(json.loads(json.dumps(error.to_dict()))).args == error.args
