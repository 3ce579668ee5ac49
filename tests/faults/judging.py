"""Says whether what a caller got is right, by one set of rules for every client.

It asks less than `running.problems`, which asks of this library what it promises: here counts
what any caller has to know. The rules are written out in `docs/faults.md`. Which client an
outcome comes from is not known here.
"""

from typing import Final, Literal

from attrs import frozen
from expectations import ANSWER, BRIEF, KEY

from claude_lite import errors

Kind = Literal["answer", "connection", "reply", "timeout", "status", "foreign", "hung"]

GRACE: Final = 1.0
BACKOFF: Final = 2.0
"""What two waits between attempts may take, in seconds: not every client lets them be set."""

BROKEN: Final = {"connection", "reply"}
NOT_THE_API: Final = {"connection", "reply", "status"}
NEEDED: Final = {
    ANSWER: {"answer"},
    "ConnectionFailed": {"connection"},
    "CertificateRefused": {"connection"},
    "ConnectionLost": {"connection"},
    "ConnectTimedOut": {"timeout"},
    "TimedOut": {"timeout"},
    "StreamInterrupted": BROKEN,
    "StreamTruncated": BROKEN,
    "UnexpectedResponse": NOT_THE_API,
    "ResponseTooLarge": NOT_THE_API,
}
SETTINGS: Final = {"deadline", "content_timeout", "max_response", "max_event"}
"""Limits that not every client has."""


@frozen
class Outcome:
    """What one call came to. `labels` are the status and the type of an error of the API.

    `finished` is whether the answer has a stop reason: a message without one was cut short.
    """

    name: str
    kind: Kind
    took: float
    text: str | None = None
    finished: bool = True
    labels: tuple[int | str, ...] = ()
    leaked: bool = False


@frozen
class Verdict:
    """What is shown of an outcome, and whether it is right.

    `excused` is one that is not, for want of a setting that the client does not have.
    """

    shown: str
    right: bool = True
    excused: bool = False


def judge(case, expected, outcome, served, also=frozenset()):
    """Give the verdict; *also* are kinds that are right in this case, for this client."""
    late = outcome.kind == "hung" or outcome.took > bound(case)
    flaw = _lateness(outcome) if late else _flaw(expected, outcome, also) or _trace(outcome, served)
    if flaw is None and case.requests and served.received is not None and "again" not in also:
        seen, right = len(served.received), case.requests * case.calls
        flaw = None if seen == right else f"{seen} requests instead of {right}"
    if flaw is None:
        return Verdict(outcome.name)
    lacks = SETTINGS & set(case.options) and (late or outcome.kind not in {"answer", "foreign"})
    return Verdict(flaw, right=False, excused=bool(lacks))


def bound(case):
    """How many seconds a call of this case may take."""
    limits = [case.options.get(k) for k in ("connect_timeout", "timeout", "deadline")]
    waits = BACKOFF if "retry" in case.options else 0
    return max(case.within, BRIEF if BRIEF in limits else 0) + waits + GRACE


def _lateness(outcome):
    return "no end in time" if outcome.kind == "hung" else f"{outcome.name}, too late"


def _flaw(expected, outcome, also):
    """Say what is wrong with an outcome that came in time; None if nothing is."""
    names = expected.outcome.split("|")
    allowed = set(also).union(*(NEEDED.get(name, set()) for name in names))
    if outcome.kind == "foreign":
        return f"a raw {outcome.name}"
    if outcome.kind == "answer":
        complete = outcome.finished or ANSWER in names
        right = complete and outcome.text == expected.text
        if right and allowed & {"answer", "reply"}:
            return None
        return _silence(outcome, right=right)
    if outcome.kind in allowed or any(_is_meant(name, expected, outcome) for name in names):
        return None
    return f"{outcome.name}, not {_meaning(names)}"


def _is_meant(name, expected, outcome):
    """Whether an error of the API is the one of this class."""
    if name in NEEDED or outcome.kind != "status":
        return False
    given = {expected.fields.get(key) for key in ("status", "type")} - {None}
    return name == "APIError" or not (given or labels_of(name)).isdisjoint(outcome.labels)


def labels_of(name):
    """Which statuses and types a class of error stands for."""
    tables = (errors.BY_STATUS, errors.BY_TYPE)
    found = {key for table in tables for key in table if table[key].__name__ == name}
    more = {
        "InvalidRequest": range(400, 500),
        "ServerError": range(500, 600),
        "SpendLimitReached": (429,),
    }
    return found.union(more.get(name, ()))


def _silence(outcome, *, right):
    if right:
        return "an answer and no error"
    if outcome.text is None:
        return f"no error, and {'no message' if outcome.name == ANSWER else outcome.name}"
    return "no error, and another text" if outcome.finished else "no error, and half a message"


def _meaning(names):
    needed = set().union(*(NEEDED.get(name, {"status"}) for name in names))
    if "answer" in needed:
        return "the answer"
    return "a timeout" if needed == {"timeout"} else "what it was"


def _trace(outcome, served):
    """Say what a call left behind that it must not."""
    sent = [value for request in served.strayed for _, value in request.headers]
    if any(KEY in value for value in sent):
        return "the key was sent to another server"
    if served.strayed:
        return "the prompt was sent to another server"
    return "a socket was left open" if outcome.leaked else None
