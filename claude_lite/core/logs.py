"""What a call says about itself: one event an attempt, one a call, with fixed keys.

Events `claude_lite.attempt` and `claude_lite.call` have, where they apply: operation,
request_id, organization_id, attempt (of a call: attempts), status, error_type, retry_in (s),
elapsed_ms, ttft_ms (to the first content of a stream), input_tokens, output_tokens and
ratelimit_*. Never a credential, never a body; of the headers only those named here. A call that
is cancelled has the error_type CancelledError; the attempt that was under way has no event. A
stream that is left before its end has the error_type of what it was left with, or else
StreamInterrupted, and no output_tokens.

They go to structlog if the application has configured it, otherwise to the standard logger
`claude_lite`, if it or the root logger has a handler; and to the client's `observe` function.
This module configures nothing. Where nobody listens, nothing is put together.
"""

import functools
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from claude_lite.core.credentials import without
from claude_lite.errors import ClaudeError, RetryLater, StreamInterrupted, visible
from claude_lite.wire import Clock, Response

if TYPE_CHECKING:
    from logging import Logger

Observer = Callable[[str, Mapping[str, Any]], None]
"""Called with an event's name and fields, on the thread or loop of the call."""

Secrets = Callable[[], Iterable[str]]
"""What must not be in an event: a server may write what it was sent into its headers."""

Fields = Mapping[str, Any]
Report = Callable[[str, str, Callable[[], Fields]], None]
"""Takes a level, an event's name, and what puts its fields together if they are wanted."""

RATE_LIMIT: Final = "anthropic-ratelimit-"
LEVELS: Final = {"debug": 10, "info": 20, "warning": 30, "error": 40}


class CallLog:
    """The events of one call."""

    def __init__(self, report: Report, operation: str, clock: Clock) -> None:
        self.ended = False
        self._report = report
        self._operation = operation
        self._clock = clock
        self._ttft: float | None = None
        self.start()

    def start(self) -> None:
        """Count the time of the call from now on."""
        self._started = self._attempt_started = self._clock()

    def begin(self) -> None:
        """An attempt begins."""
        self._attempt_started = self._clock()
        self._ttft = None

    def first_content(self) -> None:
        """There is content; only the first time counts."""
        if self._ttft is None:
            self._ttft = self._clock() - self._started

    def attempt(
        self,
        number: int,
        head: Response | None,
        error: ClaudeError | None,
        retry_in: float | None,
        secrets: Secrets,
    ) -> None:
        """Report an attempt, and in how many seconds the next one comes, if one does."""
        now = self._clock()

        def fields() -> Fields:
            return {
                "operation": self._operation,
                "attempt": number,
                "elapsed_ms": _milliseconds(now - self._attempt_started),
                **without(_head_fields(head), secrets()),
                **(_error_fields(error) if error else {}),
                **_known({"retry_in": retry_in and round(retry_in, 3)}),
            }

        self._report("warning" if error else "debug", "claude_lite.attempt", fields)

    def end(
        self,
        attempts: int,
        head: Response | None,
        result: object,
        error: BaseException | None,
        secrets: Secrets,
        *,
        left: bool = False,
    ) -> None:
        """Report the whole call, once; *left*: the caller wanted no more of it."""
        if self.ended:
            return
        self.ended = True
        now = self._clock()

        def fields() -> Fields:
            return {
                "operation": self._operation,
                "attempts": attempts,
                "elapsed_ms": _milliseconds(now - self._started),
                **without(_head_fields(head), secrets()),
                **(_error_fields(error, ours=not left) if error else {}),
                **_known({"ttft_ms": self._ttft and _milliseconds(self._ttft)}),
                **_usage_fields(result, whole=not left),
            }

        if left:
            level = "info" if isinstance(error, StreamInterrupted) else "warning"
        else:
            failed = isinstance(error, Exception) and not isinstance(error, RetryLater)
            level = "info" if error is None else "error" if failed else "warning"
        self._report(level, "claude_lite.call", fields)


def call_log(operation: str, observe: Observer | None, clock: Clock) -> CallLog | None:
    """The log of a call of the *operation* of that name; None where nobody listens."""
    report = listener(observe)
    return None if report is None else CallLog(report, operation, clock)


def listener(observe: Observer | None) -> Report | None:
    """The function to report to, or None where nobody listens."""
    report = _structlog_report() or _standard_report()
    if observe is None:
        return report

    def both(level: str, event: str, fields: Callable[[], Fields]) -> None:
        made = fields()
        if report is not None:
            report(level, event, lambda: made)
        observe(event, made)

    return both


# Both are dear to import, and an application that configured one has imported it.


def _structlog_report() -> Report | None:
    if "structlog" not in sys.modules:
        return None
    import structlog  # as said; another thread may be at it still

    if not structlog.is_configured():
        return None
    try:
        logger = structlog.get_logger("claude_lite").bind()
    except RuntimeError:  # an asynchronous one, and no loop is running
        return None
    logger = logger.sync_bl if hasattr(type(logger), "sync_bl") else logger

    def report(level: str, event: str, fields: Callable[[], Fields]) -> None:
        if _hears(logger, LEVELS[level]):
            getattr(logger, level)(event, **fields())

    return report


def _hears(logger: Any, level: int) -> bool:
    """Whether a logger of structlog does anything with a level; not all can say."""
    if not hasattr(type(logger), "is_enabled_for"):  # itself: any name may be of what it wraps
        return True
    try:
        return bool(logger.is_enabled_for(level))
    except AttributeError:  # of `structlog.stdlib`, around a logger that is not of `logging`
        return True


def _standard_report() -> Report | None:
    if "logging" not in sys.modules:
        return None
    import logging  # as above

    logger = _logger()
    heard = logger.handlers or (logger.propagate and logging.root.handlers)
    return _to_standard if heard and logger.isEnabledFor(logging.ERROR) else None


@functools.cache
def _logger() -> "Logger":
    import logging  # as above

    return logging.getLogger("claude_lite")


def _to_standard(level: str, event: str, fields: Callable[[], Fields]) -> None:

    number = LEVELS[level]
    if _logger().isEnabledFor(number):
        text = " ".join(f"{key}={_word(value)}" for key, value in fields().items())
        _logger().log(number, "%s %s", event, text)


def _word(value: object) -> str:
    """A value as one word: what comes from a server cannot add fields to a line."""
    text = str(value)
    return repr(text) if not text or any(c in " \"'=" for c in text) else text


def _milliseconds(seconds: float) -> float:
    return round(seconds * 1000, 1)


def _head_fields(head: Response | None) -> dict[str, Any]:
    """What is logged of a response: its status, its ids and the rate limits."""
    if head is None:
        return {}
    limits = {
        "ratelimit_" + name.removeprefix(RATE_LIMIT).replace("-", "_"): value
        for name, value in head.headers.items()
        if name.startswith(RATE_LIMIT)
    }
    ids = {"request_id": head.request_id, "organization_id": head.organization_id}
    return _known({"status": head.status, **ids, **limits})


def _error_fields(error: BaseException, *, ours: bool = True) -> dict[str, Any]:
    """What is logged of an error: its class and ids, not its message, which may quote a body.

    One that is not *ours*, with which a stream was left, may be another call's, and has its ids.
    """
    if not (ours and isinstance(error, ClaudeError)):
        return {"error_type": type(error).__name__}
    return _known(
        {
            "status": error.status,
            "request_id": error.request_id,
            "organization_id": error.organization_id,
            "error_type": error.type or type(error).__name__,
        }
    )


def _usage_fields(result: object, *, whole: bool) -> dict[str, Any]:
    """Tokens, where *result* has them; how many come out is known of a *whole* one only."""
    usage = getattr(result, "usage", None)
    names = ("input_tokens", "output_tokens") if whole else ("input_tokens",)
    return _known({name: getattr(usage, name, None) for name in names})


def _known(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that have a value; text without what could make lines, or steer a terminal."""
    return {
        name: visible(value) if isinstance(value, str) else value
        for name, value in fields.items()
        if value is not None
    }
