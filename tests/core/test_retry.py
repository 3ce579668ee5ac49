"""When a call is tried again, and when it waits: the truth table, waits, deadlines, budgets."""

import json
import math
import pickle
import random
import subprocess
import sys
from datetime import timedelta

import pytest
from driving import (
    BLOCK,
    HEL,
    PING,
    START,
    STREAMED,
    UNARY,
    Clock,
    answer,
    config,
    drive,
    error_event,
    own_host,
    refusal,
    sample,
    stream,
)
from tenacity import wait_chain, wait_fixed, wait_none

from claude_lite import (
    AuthenticationFailed,
    CertificateRefused,
    ClaudeError,
    ConnectionFailed,
    ConnectionLost,
    ConnectTimedOut,
    InvalidRequest,
    NotFound,
    Overloaded,
    RateLimited,
    Response,
    RetryLater,
    ServerError,
    SpendLimitReached,
    StreamInterrupted,
    TimedOut,
    TransportError,
    UnexpectedResponse,
    defer,
    never,
    standard,
)
from claude_lite.core.retry import REWARD, RetryBudget, budget_for, refill_budgets

SPENT = json.loads(sample("errors/rate_limit_error.enforced_spend_limit_reached.json"))
HTML = Response(200, {"content-type": "text/html"}, b"<html>hello</html>")
ELSEWHERE = {"location": "https://elsewhere.test/v1/messages"}
YES, NO = (3, 3, 3, 3), (1, 1, 1, 1)

# What happened; how many attempts the standard policy of three makes for a GET, for counting
# tokens, for creating a message, and for what must not be done twice; then the same with
# resend_unknown=True.
TABLE = {
    "nothing sent": (ConnectionFailed("refused"), YES, YES),
    "no connection in time": (ConnectTimedOut(), YES, YES),
    "certificate refused": (CertificateRefused("expired"), NO, NO),
    "lost before the head": (ConnectionLost("reset"), (3, 3, 2, 1), YES),
    "lost in the body": (StreamInterrupted("reset"), (3, 3, 2, 1), YES),
    "read timed out": (TimedOut("read"), (3, 3, 1, 1), YES),
    "total timed out": (TimedOut("total"), NO, NO),
    "HTML": (HTML, NO, NO),
    "hollow JSON": (answer({}), NO, NO),
    "broken JSON": (Response(200, {}, b'{"id": '), NO, NO),
    "an empty body": (Response(200, {"content-type": "text/html"}, b""), NO, NO),
    "foreign redirect": (Response(307, ELSEWHERE), NO, NO),
    "429 for a spend limit": (answer(SPENT["body"], 429), NO, NO),
    **{str(status): (refusal(status), YES, YES) for status in (408, 409, 500, 502, 503, 504, 529)},
    "429": (refusal(429, "rate_limit_error"), YES, YES),
    "an empty 503": (Response(503, {}, b""), YES, YES),
    "a proxy's 502": (Response(502, {"content-type": "text/html"}, b"<html>"), YES, YES),
    **{
        str(status): (refusal(status, "invalid_request_error"), NO, NO)
        for status in (400, 401, 402, 403, 404, 413, 418, 422)
    },
    "x-should-retry: true": (refusal(400, x_should_retry="true"), YES, YES),
    "x-should-retry: false": (refusal(529, x_should_retry="false"), NO, NO),
    "x-should-retry: TRUE": (refusal(400, x_should_retry="TRUE"), NO, NO),
}

BEFORE = {name: row for name, row in TABLE.items() if name != "lost in the body"}

# The same for streams, once the head has come: safe, creating a message, not to be repeated.
SOME, NONE = (3, 3, 3), (1, 1, 1)
BEGUN = {
    "overloaded": (stream(START, error_event("overloaded_error")), SOME),
    "api_error": (stream(error_event("api_error")), SOME),
    "timeout_error": (stream(START, BLOCK, error_event("timeout_error")), SOME),
    "rate_limit_error": (stream(START, error_event("rate_limit_error")), SOME),
    "invalid_request_error": (stream(START, error_event("invalid_request_error")), NONE),
    "an unknown error": (stream(START, error_event("odd_error")), NONE),
    "interrupted": (stream(START, StreamInterrupted("reset")), SOME),
    "interrupted at once": (stream(StreamInterrupted("reset")), SOME),
    "ended too early": (stream(START, PING, BLOCK), SOME),
    "no event at all": (stream(b""), SOME),
    "read timed out": (stream(START, TimedOut("read")), (3, 1, 1)),
    "only pings": (stream(START, 700.0, PING), (3, 1, 1)),
    "not JSON": (stream(b"event: message_start\ndata: {\n\n"), NONE),
    "misshapen": (stream(HEL), NONE),
    "HTML": ([Response(200, {"content-type": "text/html"}), b"<html>"], NONE),
    "no content-type": ([Response(200, {}), START], SOME),
    "no content-type, nor events": ([Response(200, {}), b"upstream error"], NONE),
}


def attempts(operation, given, **options):
    """Count the attempts that a call makes when the same thing happens every time."""
    run = drive(operation, given, **options)
    assert isinstance(run.error, ClaudeError)
    assert run.error.attempts == len(run.requests) == len(run.waits) + 1
    return len(run.requests)


@pytest.mark.parametrize("unknown", [False, True], ids=["standard", "resend_unknown"])
@pytest.mark.parametrize(("given", "expected", "expected_unknown"), TABLE.values(), ids=TABLE)
def test_truth_table(given, expected, expected_unknown, unknown):
    """Each kind of operation is tried again exactly where the table says so."""
    retry = standard(resend_unknown=unknown)
    found = tuple(attempts(op, given, retry=retry) for op in UNARY.values())
    assert (expected_unknown if unknown else expected) == found


@pytest.mark.parametrize("unknown", [False, True], ids=["standard", "resend_unknown"])
@pytest.mark.parametrize(("given", "expected", "expected_unknown"), BEFORE.values(), ids=BEFORE)
def test_truth_table_for_streams(given, expected, expected_unknown, unknown):
    """What happens before a stream's head decides as it does for a whole response."""
    retry = standard(resend_unknown=unknown)
    found = tuple(attempts(op, given, retry=retry) for op in STREAMED.values())
    assert (expected_unknown if unknown else expected)[1:] == found


@pytest.mark.parametrize("unknown", [False, True], ids=["standard", "resend_unknown"])
@pytest.mark.parametrize(("given", "expected"), BEGUN.values(), ids=BEGUN)
def test_truth_table_before_the_first_content(given, expected, unknown):
    """A stream that breaks before its first delta is tried again, as for the error's type."""
    retry = standard(resend_unknown=unknown)
    found = tuple(attempts(op, given, retry=retry) for op in STREAMED.values())
    assert (SOME if unknown and expected != NONE else expected) == found


@pytest.mark.parametrize("operation", STREAMED.values(), ids=STREAMED)
@pytest.mark.parametrize(
    "trouble", [error_event(), StreamInterrupted("reset"), TimedOut("read"), b""], ids=repr
)
def test_nothing_is_tried_again_after_the_first_content(operation, trouble):
    """Once the caller has seen content, the call is done: no policy starts it over."""
    run = drive(operation, stream(START, BLOCK, HEL, trouble), retry=standard(resend_unknown=True))
    assert run.error is None
    assert run.exchange.attempts == len(run.requests) == 1


@pytest.mark.parametrize(
    "trouble", [error_event(), StreamInterrupted("reset"), b""], ids=["event", "reset", "end"]
)
def test_collected_streams_start_over_after_content(trouble):
    """With collect, content that the caller has not seen is no reason not to start over."""
    broken = stream(START, BLOCK, HEL, trouble)
    run = drive(STREAMED["create"], broken, broken, stream(), collect=True)
    assert run.result.result().text == "Hello"
    assert run.exchange.attempts == len(run.requests) == 3


def test_collected_streams_give_up_in_the_end():
    """With collect, the attempts are counted, and the last error carries what had come."""
    run = drive(STREAMED["create"], stream(START, BLOCK, HEL, error_event()), collect=True)
    assert isinstance(run.error, Overloaded)
    assert run.error.attempts == 3
    assert run.error.partial["content"][0]["text"] == "Hel"
    assert run.error.usage["input_tokens"] == 21


def test_one_unknown_fate_is_resent_once_in_a_call():
    """A message may be sent again once, not once for each time that its fate is unknown."""
    lost, busy = ConnectionLost("reset"), refusal(529)
    run = drive(UNARY["create"], lost, busy, lost, retry=standard(attempts=9))
    assert isinstance(run.error, ConnectionLost)
    assert len(run.requests) == 3


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"retry_after": "7"}, 7.0),
        ({"retry_after": "0.25"}, 0.25),
        ({"retry_after_ms": "1500", "retry_after": "9"}, 1.5),
        (
            {
                "retry_after": "Sun, 22 Nov 2026 10:00:30 GMT",
                "date": "Sun, 22 Nov 2026 10:00:00 GMT",
            },
            30.0,
        ),
    ],
)
def test_the_server_says_how_long(headers, expected):
    """`retry-after-ms`, `retry-after` in seconds or as a date, in this order, are obeyed."""
    retry = standard(wait=1.0)
    run = drive(UNARY["create"], refusal(429, **headers), answer(), retry=retry)
    assert run.waits == [expected]


def test_callers_who_are_told_the_same_wait_come_apart():
    """To a wait that the server names, a random part is added, which grows with the attempts."""
    busy = [refusal(529, retry_after="7")] * 5
    runs = [drive(UNARY["create"], *busy, retry=standard(attempts=5)) for _ in range(40)]
    for number in range(4):
        added = [run.waits[number] - 7 for run in runs]
        most = 0.5 * 2**number
        assert len(set(added)) == 40
        assert 0 <= min(added) <= most / 4
        assert most * 3 / 4 <= max(added) <= most


def test_a_named_wait_takes_nothing_from_the_budget():
    """A 429 that names its wait costs no retry of the budget; an overload costs one."""
    named = config(retry=standard(budget=2))
    for _ in range(5):
        run = drive(UNARY["create"], refusal(429, retry_after="1"), answer(), made_with=named)
        assert run.error is None
    for _ in range(2):
        run = drive(UNARY["create"], *[refusal(529)] * 3, made_with=named)
        assert isinstance(run.error, Overloaded)
    assert "retry budget is empty" in run.error.advice
    assert budget_for(named.origin, 2).tokens == 0


def test_no_budget():
    """With `budget=None` retries never run out."""
    made = config(retry=standard(budget=None))
    for _ in range(120):
        run = drive(UNARY["create"], *[refusal(529)] * 3, made_with=made)
        assert len(run.requests) == 3


@pytest.mark.parametrize("value", ["-1", "0", "soon", "nan", "inf", ""])
def test_nonsense_from_the_server_is_not_obeyed(value):
    """A `retry-after` that is no time to wait leaves the wait to the policy."""
    run = drive(
        UNARY["create"], refusal(429, retry_after=value), answer(), retry=standard(wait=2.0)
    )
    assert run.waits == [2.0]


def test_the_backoff_is_exponential_with_full_jitter():
    """The n-th wait is anywhere from 0 to 0.5 s doubled n times, and 8 s at most."""
    random.seed(7)
    bounds = [0.5, 1, 2, 4, 8, 8, 8]
    seen = [[] for _ in bounds]
    for _ in range(60):
        run = drive(UNARY["create"], refusal(529), retry=standard(attempts=8))
        for waits, wait in zip(seen, run.waits, strict=True):
            waits.append(wait)
    for waits, bound in zip(seen, bounds, strict=True):
        assert 0 <= min(waits) < 0.2 * bound
        assert 0.8 * bound < max(waits) <= bound


@pytest.mark.parametrize(
    ("wait", "expected"),
    [
        (3, [3, 3]),
        (0.5, [0.5, 0.5]),
        (timedelta(minutes=1), [60, 60]),
        (wait_chain(wait_fixed(1), wait_fixed(5)), [1, 5]),
        (lambda state: state.attempt_number * 10, [10, 20]),
        (0, []),
        (timedelta(0), []),
        (wait_none(), []),
    ],
    ids=["int", "float", "timedelta", "tenacity", "function", "0", "timedelta 0", "none"],
)
def test_waits_are_tenacitys_or_numbers(wait, expected):
    """A policy's wait is seconds, a timedelta, or any of tenacity's; 0 is at once."""
    run = drive(UNARY["create"], refusal(529), retry=standard(wait=wait))
    assert run.waits == expected
    assert len(run.requests) == 3


def test_rules_are_keyed_on_errors():
    """`on` and `off` change what the table says for the errors that they name, and only those."""
    policy = standard(wait=1).on(NotFound, attempts=5, wait=2).off(Overloaded)
    assert drive(UNARY["create"], refusal(404), retry=policy).waits == [2, 2, 2, 2]
    assert drive(UNARY["create"], refusal(529), retry=policy).waits == []
    assert drive(UNARY["create"], refusal(500), retry=policy).waits == [1, 1]


def test_the_rule_added_last_goes_first():
    """A later rule goes before an earlier one, also where it names a base class."""
    assert len(drive(UNARY["create"], refusal(529), retry=standard().off(ServerError)).waits) == 0
    policy = standard().off(ServerError).on(Overloaded)
    assert len(drive(UNARY["create"], refusal(529), retry=policy).waits) == 2
    assert len(drive(UNARY["create"], refusal(500), retry=policy).waits) == 0
    policy = standard().on(Overloaded).off(ClaudeError)
    assert len(drive(UNARY["create"], refusal(529), retry=policy).waits) == 0


def test_a_rule_may_resend_what_the_table_does_not():
    """A rule speaks for its errors alone: whatever it means to send that operation twice."""
    policy = standard().on(TimedOut)
    assert attempts(UNARY["never"], TimedOut("read"), retry=policy) == 3
    assert attempts(UNARY["never"], ConnectionLost("reset"), retry=policy) == 1


def test_policies_are_values():
    """Policies are equal, hashable, picklable, and not changed by `on` and `off`."""
    policy = standard(attempts=4).on(Overloaded, attempts=8, wait=wait_fixed(1))
    base = standard(attempts=4)
    assert base == standard(attempts=4)
    assert base.rules == ()
    assert hash(base.off(RateLimited)) == hash(base.off(RateLimited))
    copy = pickle.loads(pickle.dumps(policy))  # noqa: S301  # our own
    assert drive(UNARY["create"], refusal(529), retry=copy).waits == [1] * 7


def test_never_is_one_attempt():
    """`never()` makes one attempt, whatever happens."""
    for given, *_ in TABLE.values():
        assert attempts(UNARY["get"], given, retry=never()) == 1


def test_never_may_still_have_rules():
    """`never().on(...)` tries again after those errors only."""
    policy = never().on(Overloaded, attempts=4)
    assert attempts(UNARY["create"], refusal(529), retry=policy) == 4
    assert attempts(UNARY["create"], refusal(500), retry=policy) == 1


def test_a_wait_past_the_deadline_ends_the_call_at_once():
    """`retry-after: 3600` with 30 s to go is `RateLimited` now, with advice, and no wait."""
    run = drive(UNARY["create"], refusal(429, retry_after="3600"), deadline=30)
    assert type(run.error) is RateLimited
    assert (run.error.retry_after, run.error.attempts, run.seconds) == (3600, 1, 0)
    assert run.error.advice.startswith("Call again in 3600.")
    assert run.waits == []


@pytest.mark.parametrize(("deadline", "waits"), [(10, [4, 4]), (8.5, [4, 4]), (8, [4]), (4, [])])
def test_the_deadline_counts_over_attempts(deadline, waits):
    """Waits and attempts count towards one deadline; a wait that ends upon it is too long."""
    run = drive(UNARY["create"], refusal(529), retry=standard(wait=4), deadline=deadline)
    assert run.waits == waits
    assert isinstance(run.error, Overloaded)


def test_later_attempts_have_less_time():
    """Each attempt is limited to what is left of the deadline."""
    policy = standard(attempts=4, wait=5)
    for operation in (UNARY["create"], STREAMED["create"]):
        run = drive(operation, refusal(529), retry=policy, deadline=60, takes=10)
        assert [request.limits.total for request in run.requests] == [60, 45, 30, 15]


@pytest.mark.parametrize("takes", [3, 10, 100])
@pytest.mark.parametrize("operation", ["create", "get"])
def test_every_call_ends_by_its_deadline(operation, takes):
    """However long attempts and waits take, no call outlasts its deadline."""
    policy = standard(attempts=100, wait=1).on(TimedOut, attempts=100)
    run = drive(UNARY[operation], refusal(500), retry=policy, deadline=20, takes=takes)
    assert isinstance(run.error, TimedOut | ServerError)
    assert run.seconds <= 20


def test_no_deadline():
    """Without a deadline any wait is waited for."""
    run = drive(UNARY["create"], refusal(429, retry_after="86400"), answer(), deadline=None)
    assert run.waits == [pytest.approx(86400, abs=0.5)]
    assert run.requests[1].limits.total is None


def test_defer_raises_instead_of_waiting():
    """`defer()` hands the wait over: `RetryLater` with the delay and the error behind it."""
    run = drive(UNARY["create"], refusal(429, "rate_limit_error", retry_after="7"), retry=defer())
    later = run.error
    assert type(later) is RetryLater
    assert (int(later.delay), later.attempts, run.waits) == (7, 1, [])
    assert later.cause["error"] == "RateLimited"
    assert later.cause["retry_after"] == 7
    assert isinstance(later.__cause__, RateLimited)


def test_retry_later_survives_queues():
    """`RetryLater` comes back whole from pickle, from its args, and from its JSON."""
    later = drive(UNARY["create"], refusal(529), retry=defer(wait=3)).error
    for copy in (
        pickle.loads(pickle.dumps(later)),  # noqa: S301  # our own
        RetryLater(*json.loads(json.dumps(later.args))),
        ClaudeError.from_dict(json.loads(json.dumps(later.to_dict()))),
    ):
        assert type(copy) is RetryLater
        assert (copy.delay, copy.cause, copy.args) == (3, later.cause, later.args)


def test_defer_decides_as_standard_does():
    """What would not be tried again is raised as it is; the attempts of a policy are counted."""
    for given, expected, _ in TABLE.values():
        error = drive(UNARY["create"], given, retry=defer()).error
        assert isinstance(error, RetryLater) == (expected[2] > 1)
    assert isinstance(
        drive(UNARY["create"], refusal(529), retry=defer(attempts=1)).error, Overloaded
    )


def test_a_queue_says_how_often_it_has_tried():
    """With `tried` waits grow as they would here, and the last failure is the call's own."""
    seen = []
    for tried in range(4):
        policy = defer(tried=tried, attempts=4, wait=lambda state: 10.0 * state.attempt_number)
        error = drive(UNARY["create"], refusal(529), retry=policy).error
        seen.append(error.delay if isinstance(error, RetryLater) else type(error))
    assert seen == [10.0, 20.0, 30.0, Overloaded]


def test_a_queue_does_not_pay_again_and_again():
    """What may have been billed is sent by a queue once more at most, as it is here."""
    errors = [
        drive(UNARY["create"], ConnectionLost(), retry=defer(tried=tried)).error for tried in (0, 1)
    ]
    assert [type(error) for error in errors] == [RetryLater, ConnectionLost]


def test_a_deferred_wait_may_pass_the_deadline():
    """The deadline is that of the call in this worker, and the queue may wait longer."""
    run = drive(UNARY["create"], refusal(429, retry_after="3600"), retry=defer(), deadline=30)
    assert isinstance(run.error, RetryLater)
    assert run.error.delay == pytest.approx(3600, abs=0.5)


def test_deferring_takes_nothing_from_the_budget():
    """A call that is handed over is not resent here: however many, all are handed over."""
    made = config(retry=defer())
    for _ in range(150):
        assert isinstance(drive(UNARY["create"], refusal(529), made_with=made).error, RetryLater)


def test_budgets_are_refilled_for_tests():
    """What one test took from a budget, the next one has."""
    made = config(base_url=own_host(), retry=standard(attempts=200))
    assert len(drive(UNARY["create"], refusal(529), made_with=made).requests) < 150
    assert len(drive(UNARY["create"], refusal(529), answer(), made_with=made).requests) == 1
    refill_budgets()
    assert drive(UNARY["create"], refusal(529), answer(), made_with=made).error is None


def test_a_storm_is_stopped_by_the_budget():
    """200 callers against nothing but 529 send at most 1.2 times their load, and a bucket."""
    host = own_host()
    made = [config(base_url=host, retry=standard(attempts=10)) for _ in range(200)]
    clock = Clock()
    sent = 0
    for round_ in range(3):
        runs = [drive(UNARY["create"], refusal(529), made_with=one, clock=clock) for one in made]
        assert all(isinstance(run.error, Overloaded) for run in runs)
        sent += sum(len(run.requests) for run in runs)
        assert sent <= 1.2 * 200 * (round_ + 1) + RetryBudget().capacity
    advice = "Call again later: too many calls failed, so the retry budget is empty."
    assert runs[-1].error.advice == advice


def test_calls_that_succeed_refill_the_budget():
    """A success puts back what it took; one at once adds a tenth; there is never more than all."""
    made = config(retry=standard(attempts=3, wait=0))
    budget = budget_for(made.origin)
    full = budget.capacity
    drive(UNARY["create"], answer(), made_with=made)
    assert budget.tokens == full
    drive(UNARY["create"], refusal(529), made_with=made)
    assert budget.tokens == full - 2
    drive(UNARY["create"], refusal(529), refusal(529), answer(), made_with=made)
    assert budget.tokens == full - 2
    drive(UNARY["create"], answer(), made_with=made)
    drive(STREAMED["create"], stream(), made_with=made)
    assert budget.tokens == pytest.approx(full - 2 + 2 * REWARD)
    drive(STREAMED["create"], stream(START, error_event()), stream(), made_with=made)
    assert budget.tokens == pytest.approx(full - 2 + 2 * REWARD)


def test_a_new_token_takes_nothing_from_the_budget():
    """The attempt after a 401 is no retry: it takes nothing, and puts nothing back."""
    made = config(auth_token=lambda: "unused", retry=standard(wait=0))
    budget = budget_for(made.origin)
    budget.tokens = 50.0
    drive(UNARY["create"], refusal(401), answer(), made_with=made, tokens=["token-1", "token-2"])
    assert budget.tokens == 50.0 + REWARD


def test_the_budget_is_the_origins():
    """Clients of one scheme, host and port share a budget; others have their own."""
    host = own_host()
    one = config(base_url=host)
    assert config(base_url=host + "/path", retry=never(), timeout=1).origin == one.origin
    assert config(base_url=host.replace("host", "HOST")).origin == one.origin
    others = [host + ":81", host.replace("http:", "https:"), own_host()]
    origins = {config(base_url=other).origin for other in others}
    assert len({*origins, one.origin}) == 4
    assert budget_for(one.origin) is budget_for(one.origin)
    assert budget_for(one.origin) is not budget_for(*list(origins)[:1])


def test_an_origin_that_answers_now_and_then_can_be_tried_for_ever():
    """Retries that lead to success cost nothing, so that they never run out."""
    made = config(retry=standard(attempts=3, wait=0))
    for _ in range(300):
        run = drive(UNARY["create"], refusal(529), refusal(529), answer(), made_with=made)
        assert run.error is None


@pytest.mark.parametrize("operation", [UNARY["create"], STREAMED["create"]])
def test_one_fresh_token_after_401(operation):
    """After a 401 the call is made once more with a fresh token, at once, even by `never()`."""
    good = stream() if operation is STREAMED["create"] else answer()
    options = {"auth_token": lambda: "unused", "retry": never(), "tokens": ["token-1", "token-2"]}
    run = drive(operation, refusal(401, "authentication_error"), good, **options)
    assert run.error is None
    assert run.waits == []
    assert [str(stale) for stale in run.stale] == ["None", "token-1"]
    sent = [str(request.headers["authorization"]) for request in run.requests]
    assert sent == ["Bearer token-1", "Bearer token-2"]


def test_a_second_401_is_final():
    """A fresh token that is refused, too, ends the call."""
    options = {"auth_token": lambda: "unused", "tokens": ["token-1", "token-2"]}
    run = drive(UNARY["create"], refusal(401, "authentication_error"), **options)
    assert isinstance(run.error, AuthenticationFailed)
    assert run.error.attempts == len(run.requests) == 2


def test_a_key_is_not_created_again():
    """With an API key a 401 is final."""
    run = drive(UNARY["create"], refusal(401, "authentication_error"))
    assert isinstance(run.error, AuthenticationFailed)
    assert len(run.requests) == 1


def test_errors_say_what_they_are():
    """The errors that end calls are of the classes that callers catch."""
    expected = {
        "nothing sent": ConnectionFailed,
        "lost before the head": ConnectionLost,
        "read timed out": TimedOut,
        "HTML": UnexpectedResponse,
        "hollow JSON": UnexpectedResponse,
        "foreign redirect": UnexpectedResponse,
        "429 for a spend limit": SpendLimitReached,
        "429": RateLimited,
        "529": Overloaded,
        "400": InvalidRequest,
        "404": NotFound,
    }
    found = {name: type(drive(UNARY["create"], TABLE[name][0]).error) for name in expected}
    assert found == expected
    assert issubclass(ConnectionLost, TransportError)


def broken(_state):
    """Raise, as a wait that has a mistake."""
    raise ZeroDivisionError("mine")


@pytest.mark.parametrize(
    ("wait", "kind"),
    [
        (broken, "ZeroDivisionError"),
        (lambda _: None, "TypeError"),
        (lambda _: "soon", "ValueError"),
        (lambda _: math.nan, "ValueError"),
        (lambda _: math.inf, "ValueError"),
        (math.nan, "ValueError"),
        ("soon", "ValueError"),
    ],
    ids=["raises", "None", "text", "nan", "inf", "a nan", "a text"],
)
@pytest.mark.parametrize("made", [standard, defer])
def test_a_wait_that_fails(wait, kind, made):
    """The call ends with the API's error, which names the fault of the wait as its cause."""
    for policy in (made(wait=wait), made().on(Overloaded, wait=wait)):
        run = drive(UNARY["create"], refusal(529), retry=policy)
        assert isinstance(run.error, Overloaded)
        assert (run.error.status, run.error.request_id, run.error.attempts) == (529, "req_2", 1)
        assert kind in run.error.advice
        assert type(run.error.__cause__).__name__ == kind
        assert (run.waits, len(run.requests)) == ([], 1)


@pytest.mark.parametrize("policy", ["standard(wait=print)", "never().on(ClaudeError, wait=print)"])
def test_a_policy_with_a_function_loads_tenacity(policy):
    """A policy that needs tenacity imports it when it is made; no failing call has to."""
    code = f"import sys; from claude_lite import *; {policy}; print('tenacity' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)  # noqa: S603  # our own code
    assert done.stdout == b"True\n"
