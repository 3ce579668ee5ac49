"""The table of faults: its rules, its lines, the SDK's column, and the page that shows it."""

import re
from itertools import groupby

import pytest
from cases import CASES
from expectations import KEY, TEXT, Served
from judging import Outcome, judge
from official import ALSO, BACKENDS, Official, installed
from places import ROOT
from running import TRANSPORTS
from table import MARKER, Row, lines, measured, shown

from claude_lite.testing.conformance.loopback import Received

PAGE = ROOT / "docs/faults.md"
BY_NAME = {case.name: case for case in CASES}
HERE = Served("http://here")
AWAY = Received("POST", "/", (("x-api-key", KEY),), b"")


def told(name, outcome, served=HERE, form="streamed"):
    """Judge an outcome of a case."""
    case = BY_NAME[name]
    return judge(case, getattr(case, form), outcome, served)


@pytest.mark.parametrize(
    ("name", "outcome"),
    [
        ("right", Outcome("answer", "answer", 0.1, TEXT)),
        ("refused", Outcome("Mine", "connection", 0.1)),
        ("close in a chunk", Outcome("Mine", "reply", 0.1)),
        ("HTML called 'text/html'", Outcome("Mine", "status", 0.1, labels=(200,))),
        ("529, HTML", Outcome("Mine", "status", 0.1, labels=(529,))),
        (
            "an error event after 3 events",
            Outcome("M", "status", 0.1, labels=("overloaded_error",)),
        ),
        ("in a stream: data NaN", Outcome("answer", "answer", 0.1, TEXT)),
    ],
)
def test_what_is_right(name, outcome):
    """The whole answer is, and an error of the right kind, whatever its name."""
    assert told(name, outcome).right


@pytest.mark.parametrize(
    ("name", "outcome", "says"),
    [
        ("right", Outcome("answer", "answer", 0.1, TEXT[:9]), "no error, and another text"),
        ("right", Outcome("answer", "answer", 9.0, TEXT), "answer, too late"),
        ("right", Outcome("answer", "answer", 0.1, TEXT, leaked=True), "a socket was left open"),
        ("right", Outcome("Mine", "connection", 0.1), "Mine, not the answer"),
        ("refused", Outcome("OSError", "foreign", 0.1), "a raw OSError"),
        ("refused", Outcome("", "hung", 9.0), "no end in time"),
        ("silence in the head", Outcome("Mine", "connection", 0.1), "Mine, not a timeout"),
        ("529, HTML", Outcome("Mine", "status", 0.1, labels=(500,)), "Mine, not what it was"),
        ("529, HTML", Outcome("answer", "answer", 0.1, TEXT), "an answer and no error"),
        (
            "a stream that ends after 5 events",
            Outcome("answer", "answer", 0.1, TEXT, finished=False),
            "no error, and half a message",
        ),
        ("200 with {}", Outcome("a str", "answer", 0.1), "no error, and a str"),
    ],
)
def test_what_is_wrong(name, outcome, says):
    """Silence, foreign exceptions, the wrong kind, lateness and leaks are, and it says which."""
    verdict = told(name, outcome)
    assert (verdict.right, verdict.excused, verdict.shown) == (False, False, says)


def test_how_often_and_where_a_request_was_sent_counts():
    """A right outcome is wrong if the server saw another number of requests, or another one."""
    lost = Outcome("Mine", "connection", 0.1)
    assert told("closed before the head", lost, Served("", [AWAY])).right
    twice = told("closed before the head", lost, Served("", [AWAY, AWAY]))
    assert twice.shown == "2 requests instead of 1"
    away = told("307 to another port that answers", lost, Served("", [AWAY], [AWAY]))
    assert away.shown == "the key was sent to another server"


def test_a_limit_that_a_client_does_not_have_is_an_excuse_for_lateness_only():
    """Where a case needs such a limit; silence and foreign exceptions have none."""
    name = "a body drop by drop"
    assert told(name, Outcome("", "hung", 9.0)).excused
    assert told(name, Outcome("Mine", "connection", 0.1)).excused
    assert not told(name, Outcome("OSError", "foreign", 0.1)).excused
    assert not told(name, Outcome("answer", "answer", 0.1, "")).excused


def test_lines_of_the_table():
    """Cases alike are one line, and clients or forms that differ are named."""
    served = measured(BY_NAME["right"], None)
    refused = [measured(BY_NAME[name], None) for name in ("refused", "refused, tried again")]
    mixed = Row(
        BY_NAME["closed before the head"],
        {
            **served.verdicts,
            (TRANSPORTS[0], "streamed"): told("right", Outcome("", "hung", 9.0)),
        },
    )
    *_, first, second, third = lines([*refused, served, mixed])
    assert first == "| refused … refused, tried again (2 cases) | ConnectionFailed |\n"
    assert second == "| right | answer |\n"
    others = ", ".join(TRANSPORTS[1:])
    wrong = f"{TRANSPORTS[0]}: **wrong**: no end in time; {others}: answer"
    assert third == f"| closed before the head | plain: answer; streamed: {wrong} |\n"


@pytest.mark.skipif(not installed(), reason="the SDK is in the dependency group `peers`")
@pytest.mark.slow
def test_the_official_sdk_goes_through_the_same_cases():
    """It is right where it is known to be, over each of its backends; a call that hangs ends."""
    with Official() as official:
        rows = [measured(BY_NAME[name], official) for name in ("right", "529, HTML")]
        case = BY_NAME["retry-after: 3600, past the deadline"]
        with case.serve() as served:
            (hung,) = official.run(case, "httpx2", "create", served.url)
    assert hung.kind == "hung"
    assert all(row.right(f"SDK {backend}") for row in rows for backend in BACKENDS)


def test_what_is_right_for_the_sdk_besides_is_about_cases():
    """No case that it names is gone."""
    assert set(ALSO) <= set(BY_NAME)


def test_the_page_shows_the_cases():
    """Group by group and in order, with an outcome of ours that the case expects."""
    page = PAGE.read_text(encoding="utf-8").partition(MARKER)[2]
    for title, some in groupby(CASES, lambda case: case.group):
        section = page.partition(f"\n## {title}\n")[2].partition("\n## ")[0]
        left = list(some)
        for line in section.splitlines()[3:]:
            label, ours = re.split(r"(?<!\\)\|", line)[1:3]
            many = re.fullmatch(r" (.*) … (.*) \((\d+) cases\) ", label)
            first, last, count = many.groups() if many else (label[1:-1], label[1:-1], 1)
            same, left = left[: int(count)], left[int(count) :]
            assert (first, last) == (shown(same[0].name), shown(same[-1].name))
            for case in same:
                names = (
                    f"{case.plain and case.plain.outcome}|{case.streamed and case.streamed.outcome}"
                )
                assert set(names.split("|")) & set(re.findall(r"\w+", ours)), case.name
            assert "wrong" not in ours
        assert not left, f"not on the page: {left[0].name}"
