"""The calls of the soak, their faults, and their expected outcomes.

A header of the request orders the fault. So it is known in advance for each call whether it ends
with an answer or with an error, with which error, and after how many attempts. Each prompt has
the number of its call, and the emulator answers with the prompt, its length or its hash, so an
answer that belongs to another call is detected.
"""

import random
from collections.abc import Mapping
from typing import Any, Final

from attrs import frozen

from benchmarks.answers import MODEL
from claude_lite import CountTokens, CreateMessage, Operation, StreamMessage
from claude_lite.api.files import UploadFile
from claude_lite.api.models import ListModels
from claude_lite.emulator import message_hash
from claude_lite.emulator.answers import tokens

HEADER: Final = "x-soak"
LONG: Final = 300  # tokens of a stream that is left early
ECHOED: Final = 200  # characters of a prompt that come back
MODELS: Final = 15  # at least; the emulator has a few more
ANSWER: Final = "answer"
CANCELLED: Final = "cancelled"

_OVERLOADED: Final = {"fault": "status", "status": 529}
_BROKEN: Final = {"fault": "status", "status": 500}
_LIMITED: Final = {"fault": "status", "status": 429, "retry_after": 0.01}
_HTML: Final = {"fault": "status", "status": 200, "body": "<html>Welcome</html>"}
FAULTS: Final[Mapping[str, Mapping[str, Any]]] = {
    "overloaded": _OVERLOADED,
    "overloaded once": _OVERLOADED,
    "overloaded for long": {**_OVERLOADED, "retry_after": 600},
    "broken": _BROKEN,
    "broken once": _BROKEN,
    "limited once": _LIMITED,
    "refused": {"fault": "status", "status": 400},
    "reset": {"fault": "reset"},
    "reset once": {"fault": "reset"},
    "cut": {"fault": "close", "after_bytes": 200},
    "cut once": {"fault": "close", "after_bytes": 200},
    "short": {"fault": "truncate", "after_bytes": 10},
    "html": _HTML,
    "garbled": {"fault": "corrupt", "at": 10, "count": 3},
    "late": {"fault": "stall", "seconds": 0.02},
    "slow": {"fault": "slow", "bytes_per_second": 40_000, "chunk": 128},
    "silent": {"fault": "stall"},
    "stream cut early once": {"fault": "close", "after_events": 2},
    "stream cut": {"fault": "close", "after_events": 8},
    "stream cut once": {"fault": "close", "after_events": 8},
    "stream reset": {"fault": "reset", "after_events": 8},
    "stream truncated": {"fault": "truncate", "after_events": 8},
    "stream error": {"fault": "error", "type": "overloaded_error", "after_events": 8},
    "stream error once": {"fault": "error", "type": "overloaded_error", "after_events": 8},
    "stream garbled": {"fault": "corrupt", "at": 60, "count": 3},
    "stream silent": {"fault": "stall", "after_events": 8},
}
KEPT: Final = frozenset(
    {"stream cut", "stream truncated", "stream error"}
)  # the error has a partial message
ONCE: Final = " once"
RULES: Final = [
    {"on": {"headers": {HEADER: name}, "once_per_body": name.endswith(ONCE)}, "do": fault}
    for name, fault in FAULTS.items()
]


@frozen
class Case:
    """A form of call, its fault, its share of a thousand calls, and its allowed outcomes.

    *outcomes* are "answer", "cancelled" or the names of errors. *attempts* is the number that
    the error must have (None: any number). *client* "hasty" has a short `timeout`, "brief" a
    short `deadline`. The call is cancelled *after* so many seconds.
    """

    form: str
    fault: str | None
    share: int
    outcomes: tuple[str, ...] = (ANSWER,)
    attempts: int | None = 1
    client: str = "patient"
    after: float | None = None


def _fails(form: str, fault: str, share: int, error: str, attempts: int | None = 1) -> Case:
    return Case(form, fault, share, (error,), attempts)


def _retried(form: str, share: int, *faults: str) -> tuple[Case, ...]:
    return tuple(Case(form, f"{fault}{ONCE}", share) for fault in faults)


def _impatient(form: str, fault: str, client: str, attempts: int | None = 1) -> Case:
    outcomes = ("TimedOut", "ConnectTimedOut") if client == "brief" else ("TimedOut",)
    return Case(form, fault, 3, outcomes, attempts, client)


def _cancelled(form: str, fault: str | None) -> tuple[Case, ...]:
    """Return cases of calls that are cancelled while they hang, or at different moments."""
    if fault is not None:
        return (Case(form, fault, 5, (CANCELLED,), after=0.02),)
    moments = (0.0, 0.0005, 0.001, 0.002, 0.004)
    return tuple(Case(form, None, 4, (ANSWER, CANCELLED), after=moment) for moment in moments)


# A call that fails for good takes tokens from the retry budget, and a call that succeeds at once
# adds a tenth of a token. The budget must not run out: calls that must succeed here would fail.
CASES: Final = (
    Case("create", None, 454),
    *_retried("create", 8, "overloaded", "broken", "limited", "reset", "cut"),
    Case("create", "late", 8),
    Case("create", "slow", 4),
    _fails("create", "overloaded", 3, "Overloaded", 3),
    _fails("create", "overloaded for long", 3, "Overloaded"),
    _fails("create", "broken", 3, "ServerError", 3),
    _fails("create", "refused", 4, "InvalidRequest"),
    _fails("create", "reset", 3, "ConnectionLost", 2),
    _fails("create", "cut", 3, "StreamInterrupted", 2),
    _fails("create", "short", 4, "UnexpectedResponse"),
    _fails("create", "html", 4, "UnexpectedResponse"),
    Case("create", "garbled", 4),  # a character of its id
    _impatient("create", "silent", "hasty"),
    _impatient("create", "silent", "brief"),
    *_cancelled("create", "silent"),
    *_cancelled("create", None),
    Case("stream", None, 70),
    *_retried("stream", 6, "overloaded", "reset", "stream cut early"),
    Case("stream", "slow", 2),
    _fails("stream", "stream cut", 6, "StreamInterrupted"),
    _fails("stream", "stream reset", 6, "StreamInterrupted", None),  # an RST may overtake content
    _fails("stream", "stream truncated", 6, "StreamTruncated"),
    _fails("stream", "stream error", 6, "Overloaded"),
    _fails("stream", "stream garbled", 4, "UnexpectedResponse"),
    _fails("stream", "html", 4, "UnexpectedResponse"),
    _impatient("stream", "stream silent", "hasty"),
    _impatient("stream", "stream silent", "brief"),
    *_cancelled("stream", "stream silent"),
    *_cancelled("stream", None),
    Case("text of a stream", None, 35),
    Case("stream left early", None, 10),
    Case("collected", None, 40),
    *_retried("collected", 5, "overloaded", "stream cut", "stream error"),
    _fails("collected", "stream truncated", 3, "StreamTruncated", 3),
    _impatient("collected", "stream silent", "brief"),
    Case("count", None, 70),
    *_retried("count", 5, "overloaded", "reset"),
    _fails("count", "reset", 2, "ConnectionLost", 3),
    _fails("count", "short", 2, "UnexpectedResponse"),
    _impatient("count", "silent", "hasty", 3),
    Case("models", None, 60),
    _fails("models", "overloaded", 2, "Overloaded", 3),
    _fails("models", "html", 2, "UnexpectedResponse"),
    Case("file", None, 20),
    _fails("file", "overloaded", 2, "Overloaded", 3),
)


def deck(seed: int = 0) -> list[Case]:
    """Return one round of calls, shuffled: each case as often as its share says."""
    cards = [case for case in CASES for _ in range(case.share)]
    random.Random(seed).shuffle(cards)  # noqa: S311  # repeatable
    return cards


def messages(case: Case, serial: int) -> list[dict[str, Any]]:
    """Return the prompt of a call: all prompts differ, and few neighbours have equal lengths."""
    control = f"[[tokens:{LONG}]]" if case.form == "stream left early" else ""
    return [{"role": "user", "content": f"{serial} says {'hey ' * (serial % 29)}{control}"}]


def operation(case: Case, serial: int) -> Operation[Any]:
    """Return the operation of a call."""
    headers = {HEADER: case.fault} if case.fault else None
    asked = messages(case, serial)
    match case.form:
        case "create":
            return CreateMessage(model=MODEL, max_tokens=500, messages=asked, extra_headers=headers)
        case "count":
            return CountTokens(model=MODEL, messages=asked, extra_headers=headers)
        case "models":
            return ListModels(limit=1 + serial % MODELS, extra_headers=headers)
        case "file":
            name = f"{serial}.txt"
            return UploadFile(file=b"x" * (serial % 997), filename=name, extra_headers=headers)
    return StreamMessage(model=MODEL, max_tokens=2000, messages=asked, extra_headers=headers)


def wrong_answer(case: Case, serial: int, result: Any) -> str | None:
    """Say what is wrong with an answer: the text of a message, or the result of an operation."""
    if ANSWER not in case.outcomes:
        return f"an answer instead of {case.outcomes[0]}"
    asked = messages(case, serial)
    seen: object
    wanted: object
    match case.form:
        case "count":
            seen, wanted = result.input_tokens, tokens.count({"messages": asked})
        case "models":
            seen, wanted = len(result.data), 1 + serial % MODELS
        case "file":
            seen, wanted = (result.filename, result.size_bytes), (f"{serial}.txt", serial % 997)
        case _:
            seen, wanted = result, _echo(asked)
            if result and _agree(result, _echo(asked)):
                return None
    return None if seen == wanted else f"{seen!r} instead of {wanted!r}"


def wrong_error(case: Case, serial: int, error: Any) -> str | None:
    """Say what is wrong with an error: its class, phase, attempts or partial answer."""
    name = type(error).__name__
    if name not in case.outcomes:
        return f"{error!r} instead of {' or '.join(case.outcomes)}"
    if case.attempts not in {None, error.attempts}:
        return f"{error.attempts} attempts instead of {case.attempts}: {error!r}"
    phase = {"hasty": "read", "brief": "total"}.get(case.client)
    if getattr(error, "phase", phase) != phase:
        return f"{error!r} instead of one of phase {phase}"
    if error.partial is not None:
        text = "".join(block["text"] for block in error.partial["content"])
        if not _agree(text, _echo(messages(case, serial))):
            return f"{name} with a partial answer of {text!r}"
    elif case.fault in KEPT and case.form == "stream" and case.client == "patient":
        return f"{name} without what had come"
    return None


def _agree(text: str, echo: str) -> bool:
    """Whether one text is the beginning of the other: a text may be cut, or longer."""
    return text.startswith(echo) or echo.startswith(text)


def _echo(asked: list[dict[str, Any]]) -> str:
    """Return the beginning of the emulator's answer; the rest is not checked."""
    return f"Echo {message_hash(asked)}: {asked[0]['content'][:ECHOED]}".rstrip()
