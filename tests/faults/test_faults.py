"""Fault scripts: which request is struck, and what becomes of the bytes of its reply."""

import itertools
import json
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claude_lite.errors import (
    ConnectionFailed,
    ConnectionLost,
    StreamInterrupted,
    TimedOut,
    UsageError,
)
from claude_lite.faults import End, FaultScript
from claude_lite.wire import Request, Response, Sleep

URL = "https://api.anthropic.com/v1/messages"
REFUSE = {"fault": "refuse"}
JSON = Response(200, {"content-type": "application/json"})
STREAM = Response(200, {"content-type": "text/event-stream; charset=utf-8", "request-id": "req_01"})
EVENTS = [b"event: a\ndata: 1\n\n", b"event: b\ndata: 2\n\n", b"event: c\ndata: 3\n\n"]


def request(body=b"{}", url=URL, **headers):
    """Make a request."""
    return Request("POST", url, headers, body)


def struck(on, requests, seed=0):
    """Run *requests* through a script of one rule and tell which of them it struck."""
    script = FaultScript([{"on": on, "do": REFUSE}], seed)
    return [script.choose(one) is not None for one in requests]


def fault(**do):
    """Make the fault that a rule for every request has."""
    return FaultScript([{"on": {}, "do": do}]).choose(request())


def steps(do, chunks, head=STREAM):
    """Run chunks through a fault up to its end."""
    tamper = fault(**do).tamper(head)
    made = [step for chunk in chunks for step in tamper.receive(chunk)]
    ends = [i for i, step in enumerate(made) if isinstance(step, End)]
    return made[: ends[0] + 1] if ends else made


def test_an_empty_selector_holds_for_every_request():
    """`{}` selects everything."""
    assert struck({}, [request(), request(b"x")]) == [True, True]


def test_nth_counts_from_one():
    """Positions are those of a human being."""
    assert struck({"nth": [1, 3]}, [request()] * 4) == [True, False, True, False]


def test_every_strikes_each_kth():
    """Every third request is the 3rd, the 6th ..."""
    assert struck({"every": 3}, [request()] * 6) == [False, False, True] * 2


def test_positions_count_only_what_the_rule_admits():
    """The first request to a path is the first, however many went elsewhere before."""
    other = request(url="https://api.anthropic.com/v1/models")
    on = {"nth": [1], "path": "/v1/messages"}
    assert struck(on, [other, other, request(), request()]) == [False, False, True, False]


def test_contains_looks_into_the_body():
    """A substring of the body selects, written as it is in UTF-8."""
    assert struck({"contains": "wörld"}, [request(), request("wörld".encode())]) == [False, True]


def test_headers_select_by_value_or_presence():
    """A value has to be equal; null asks for presence; names are not case-sensitive."""
    asked = [request(), request(**{"x-fault": "b"}), request(**{"x-fault": "a"})]
    assert struck({"headers": {"X-Fault": "a"}}, asked) == [False, False, True]
    assert struck({"headers": {"x-fault": None}}, asked) == [False, True, True]


def test_times_caps_a_rule():
    """A rule that may fire twice fires twice."""
    assert struck({"times": 2}, [request()] * 3) == [True, True, False]


def test_once_per_body_lets_the_retry_through():
    """The same request again is spared; another is not."""
    asked = [request(b"1"), request(b"1"), request(b"2"), request(b"2")]
    assert struck({"once_per_body": True}, asked) == [True, False, True, False]


def test_once_per_body_holds_across_rules():
    """A body that one rule struck is safe from every other such rule, too."""
    rule = {"on": {"once_per_body": True}, "do": REFUSE}
    script = FaultScript([{"on": {"nth": [1]}, "do": REFUSE}, rule, rule])
    assert [script.choose(request()) is not None for _ in range(3)] == [True, False, False]


def test_probability_does_not_depend_on_order():
    """With equal seeds the same bodies are struck, whatever order they come in."""
    bodies = [b"%d" % i for i in range(1000)]
    hits = dict(zip(bodies, struck({"probability": 0.2}, map(request, bodies)), strict=True))
    back = bodies[::-1]
    again = dict(zip(back, struck({"probability": 0.2}, map(request, back)), strict=True))
    other = dict(
        zip(bodies, struck({"probability": 0.2}, map(request, bodies), seed=1), strict=True)
    )
    assert hits == again
    assert hits != other
    assert 150 < sum(hits.values()) < 250


def test_probability_draws_again_for_a_repeated_request():
    """The same request many times over is struck in its share of the cases."""
    assert 150 < sum(struck({"probability": 0.2}, [request()] * 1000)) < 250


def test_the_first_rule_that_fires_is_the_only_one():
    """A later rule does not add to an earlier one."""
    script = FaultScript(
        [{"on": {"nth": [2]}, "do": {"fault": "reset"}}, {"on": {}, "do": {"fault": "close"}}]
    )
    chosen = [script.choose(request()).before() for _ in range(3)]
    assert [(End("close"),), (End("reset"),), (End("close"),)] == chosen


def test_a_script_survives_pickle_and_json():
    """A copy has the rules and the seed, and none of the memory."""
    script = FaultScript([{"on": {"times": 1}, "do": REFUSE}], seed=5)
    assert script.choose(request()) is not None
    for copy in (
        pickle.loads(pickle.dumps(script)),  # noqa: S301  # our own
        FaultScript(json.loads(json.dumps(script.rules)), script.seed),
    ):
        assert (script.rules, 5) == (copy.rules, copy.seed)
        assert copy.choose(request()) is not None


@pytest.mark.parametrize(
    ("rule", "complaint"),
    [
        ({"on": {}}, "rule 1: expected"),
        ({"on": {}, "do": {"fault": "explode"}}, "rule 1.do.fault: expected one of refuse"),
        ({"on": {}, "do": {}}, "rule 1.do.fault: expected one of"),
        ({"on": {"nth": 3}, "do": REFUSE}, "rule 1.on.nth: expected a list of positions"),
        ({"on": {"nth": [0]}, "do": REFUSE}, "rule 1.on.nth"),
        ({"on": {"every": True}, "do": REFUSE}, "rule 1.on.every"),
        ({"on": {"probability": 2}, "do": REFUSE}, "rule 1.on.probability"),
        ({"on": {"once": True}, "do": REFUSE}, "rule 1.on.once: unknown"),
        ({"on": [], "do": REFUSE}, "rule 1.on: expected an object"),
        ({"on": {}, "do": {"fault": "slow"}}, "rule 1.do.bytes_per_second: missing; expected"),
        ({"on": {}, "do": {"fault": "truncate"}}, "rule 1.do.after_bytes: missing; give"),
        ({"on": {}, "do": {"fault": "status", "status": 99}}, "rule 1.do.status"),
        ({"on": {}, "do": {"fault": "reset", "after_bytes": -1}}, "rule 1.do.after_bytes"),
        (
            {"on": {}, "do": {"fault": "reset", "after_bytes": 1, "after_events": 1}},
            "rule 1.do.after_bytes: cannot be given together",
        ),
        ({"on": {}, "do": {"fault": "headers", "set": {"a": 1}}}, "rule 1.do.set"),
        ({"on": {"times": {1}}, "do": REFUSE}, "rules: expected plain JSON data"),
    ],
)
def test_a_wrong_rule_is_named(rule, complaint):
    """The error says which rule, which field, and what was expected."""
    with pytest.raises(UsageError) as caught:
        FaultScript([{"on": {}, "do": REFUSE}, rule])
    assert complaint in caught.value.message


@pytest.mark.parametrize("how", ["reset", "close"])
def test_a_break_strikes_before_the_head_or_at_its_place(how):
    """Without a place there is no head; with one, all before the place arrives."""
    assert (End(how),) == fault(fault=how).before()
    assert fault(fault=how, after_bytes=3).before() == ()
    assert [b"abc", End(how)] == steps({"fault": how, "after_bytes": 3}, [b"abcdef"])
    assert [b"ab", b"c", End(how)] == steps({"fault": how, "after_bytes": 3}, [b"ab", b"cd"])
    assert [End(how)] == steps({"fault": how, "after_bytes": 0}, [b"abc"])
    assert steps({"fault": how, "after_bytes": 3}, [b"ab"]) == [b"ab"]


def test_a_place_may_be_counted_in_events():
    """After two events two have arrived, and after none not a byte."""
    assert [*EVENTS[:2], End("reset")] == steps({"fault": "reset", "after_events": 2}, EVENTS)
    assert [End("reset")] == steps({"fault": "reset", "after_events": 0}, EVENTS)


@pytest.mark.parametrize("places", [0, 1])
def test_what_is_no_stream_has_no_events(places):
    """A JSON body never reaches a place that is counted in events."""
    assert steps({"fault": "reset", "after_events": places}, [b"{}\n\n"], JSON) == [b"{}\n\n"]


@given(
    st.sampled_from([b"\n", b"\r\n"]),
    st.integers(1, 3),
    st.lists(st.integers(0, 60), max_size=12),
)
def test_events_are_counted_whatever_way_they_are_cut(line_end, place, cuts):
    """Any chunks of the same bytes are struck at the same byte."""
    whole = b"".join(EVENTS).replace(b"\n", line_end)
    edges = sorted({0, len(whole), *(min(cut, len(whole)) for cut in cuts)})
    chunks = [whole[a:b] for a, b in itertools.pairwise(edges)]
    made = steps({"fault": "close", "after_events": place}, chunks)
    expected = b"".join(EVENTS[:place]).replace(b"\n", line_end)
    assert (expected, End("close")) == (b"".join(made[:-1]), made[-1])


def test_a_stall_waits_and_goes_on_or_never_does():
    """Seconds are a wait; none is the end of it."""
    stall = {"fault": "stall", "seconds": 2, "after_bytes": 1}
    assert [b"a", Sleep(2), b"bc", b"d"] == steps(stall, [b"abc", b"d"])
    assert [b"a", End("stall")] == steps({"fault": "stall", "after_bytes": 1}, [b"abc"])
    assert (Sleep(2),) == fault(fault="stall", seconds=2).before()
    assert (End("stall"),) == fault(fault="stall").before()


def test_slow_bytes_take_the_time_that_was_asked_for():
    """The waits of a trickle add up to its size by its rate."""
    made = steps({"fault": "slow", "bytes_per_second": 10, "chunk": 4}, [b"abcdef"])
    assert [Sleep(0.4), b"abcd", Sleep(0.2), b"ef"] == made


def test_a_truncated_body_announces_its_own_length():
    """It ends in good order: the announced size is what arrives."""
    cut = {"fault": "truncate", "after_bytes": 4}
    assert [b"abcd", End("truncate")] == steps(cut, [b"abcdef"], JSON)
    assert (fault(**cut).size(6), fault(**cut).size(2)) == (4, 2)
    assert fault(fault="truncate", after_events=1).size(6) == 6


def test_an_error_event_ends_a_stream():
    """The event has the API's shape and carries the request's id."""
    do = {"fault": "error", "type": "api_error", "after_events": 1}
    first, event, end = steps(do, EVENTS)
    assert (EVENTS[0], End("truncate")) == (first, end)
    name, data = event.decode().rstrip("\n").split("\n")
    assert name == "event: error"
    assert json.loads(data.removeprefix("data: ")) == {
        "type": "error",
        "error": {"type": "api_error", "message": "Internal server error"},
        "request_id": "req_01",
    }
    assert steps(do, [b"{}"], JSON) == [b"{}"]


def test_corrupt_inverts_bytes_wherever_they_are_cut():
    """Bytes at their offset are inverted, and no others."""
    do = {"fault": "corrupt", "at": 1, "count": 2}
    assert b"".join(steps(do, [b"abcd"])) == b"a\x9d\x9cd"
    assert b"".join(steps(do, [b"ab", b"cd"])) == b"a\x9d\x9cd"


def test_headers_are_set_and_removed():
    """A value replaces or adds, null removes."""
    change = fault(fault="headers", set={"Content-Type": "text/html", "request-id": None})
    assert change.head(STREAM).headers == {"content-type": "text/html"}


def test_a_status_is_the_apis_own_error_by_default():
    """Status 429 without more is what the API would send, with the advice that was asked for."""
    answer = fault(fault="status", status=429, retry_after=0.5).response("req_01")
    assert (
        answer.status,
        answer.headers["retry-after"],
        answer.request_id,
    ) == (429, "0.5", "req_01")
    assert (
        answer.json()["error"]["type"],
        answer.json()["request_id"],
    ) == ("rate_limit_error", "req_01")


@pytest.mark.parametrize(
    ("status", "type_"),
    [(529, "overloaded_error"), (503, "api_error"), (418, "invalid_request_error")],
)
def test_any_status_has_a_type(status, type_):
    """A status that the API does not list has the type of its hundred."""
    body = fault(fault="status", status=status).response("req_01").json()
    assert type_ == body["error"]["type"]


def test_a_status_may_have_any_body():
    """A page from a proxy has no request id; an object stays JSON."""
    page = fault(fault="status", status=413, body="<html>too large</html>").response("req_01")
    assert (page.body, page.headers) == (b"<html>too large</html>", {"content-type": "text/html"})
    empty = fault(fault="status", status=503, body="").response("req_01")
    assert empty.body == b""
    odd = fault(fault="status", status=200, body={"a": 1}, headers={"x-a": "b"}).response("r")
    assert (odd.json(), odd.headers["x-a"]) == ({"a": 1}, "b")


def test_an_end_knows_what_a_transport_raises_for_it():
    """The error says how far the reply had come."""
    kinds = [
        (End("refuse"), False, ConnectionFailed),
        (End("reset"), False, ConnectionLost),
        (End("close"), False, ConnectionLost),
        (End("reset"), True, StreamInterrupted),
        (End("stall"), True, TimedOut),
    ]
    assert [kind for *_, kind in kinds] == [type(e.error(begun=b)) for e, b, _ in kinds]


def test_a_body_source_is_not_read():
    """A script does not read an upload twice only to look into it."""

    class Source:
        size = 3

        def __iter__(self):
            raise AssertionError

    script = FaultScript([{"on": {"contains": "x", "once_per_body": True}, "do": REFUSE}])
    assert script.choose(request(Source())) is None
