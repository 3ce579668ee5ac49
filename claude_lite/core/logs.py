"""The log events of a call: one per attempt and one per call, with fixed keys.

- Both events, `claude_lite.attempt` and `claude_lite.call`, have the keys operation, elapsed_ms,
  status, request_id, organization_id, error_type and ratelimit_*.
- An attempt also has attempt (its number) and retry_in (seconds until the next attempt).
- Both have held_ms if a governor held the call: the time of all its waits for turns.
- A call also has attempts (their number), ttft_ms (until the first content of a stream),
  input_tokens and output_tokens.

Fields of `ADDED_FIELDS` are in both: a job adds its fingerprint and the id of its task.

A key without a value is left out. Events have no credentials, no bodies, and no headers but those
of request_id, organization_id and ratelimit_*.

For a cancelled call, error_type is CancelledError, and the last attempt has no event. If the caller
leaves a stream before its end, the call has no output_tokens. If an exception ended the `with`
block, error_type is its class; if not, error_type is StreamInterrupted.

Events go to structlog if the application has configured structlog. Otherwise they go to the
standard logger `claude_lite`, if this logger or the root logger has a handler. They also go to the
client's `observe` function. This module configures no logging. If nobody listens to an event, its
fields are not computed.

Telemetry never changes the outcome of a call. If a logger, one of its processors or handlers, or
`observe` raises an exception, the event is lost there, and the call goes on. Each client reports
this once per place, as a `RuntimeWarning`. An exception that is not an `Exception`, such as
KeyboardInterrupt, ends the call. Loggers and `observe` run on the thread or the event loop of the
call, and the call waits for them: a slow one should put its events into a queue.
"""

import functools
import sys
import warnings
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final

from claude_lite.core.credentials import mask_words
from claude_lite.errors import ClaudeError, RetryLater, StreamInterrupted, escape_invisible
from claude_lite.wire import Clock, Response

if TYPE_CHECKING:
    from logging import Logger

    from claude_lite.core.config import Config

Secrets = Callable[[], Collection[str]]
"""A function that returns the texts to mask: a server may repeat a credential in its headers."""

Fields = Mapping[str, Any]
Report = Callable[[str, str, Callable[[], Fields]], None]
"""A function that writes an event: a level, a name, and a function that returns the fields."""

ADDED_FIELDS: Final = ContextVar[Fields]("ADDED_FIELDS", default={})  # noqa: B039  # never changed
"""Fields that the events of calls in this context have, too."""

RATE_LIMIT: Final = "anthropic-ratelimit-"
LEAST_HELD: Final = 0.0005  # seconds: a shorter wait is none
LEVELS: Final = {"debug": 10, "info": 20, "warning": 30, "error": 40}


class CallLog:
    """The log of one call: measures times, and reports one event per attempt and one per call."""

    def __init__(self, report: Report, operation: str, clock: Clock) -> None:
        self.ended = False
        self.held = 0.0  # seconds of waiting for turns
        self._report = report
        self._given = {"operation": operation, **ADDED_FIELDS.get()}
        self._clock = clock
        self._ttft: float | None = None
        self.start_call()

    def start_call(self) -> None:
        """Start to measure the time of the call."""
        self._started = self._attempt_started = self._clock()

    def start_attempt(self) -> None:
        """Start to measure the time of an attempt."""
        self._attempt_started = self._clock()
        self._ttft = None

    def first_content(self) -> None:
        """Keep the time of the first content. Later calls of this method change nothing."""
        if self._ttft is None:
            self._ttft = self._clock() - self._started

    def log_attempt(
        self,
        number: int,
        head: Response | None,
        error: ClaudeError | None,
        retry_in: float | None,
        secrets: Secrets,
    ) -> None:
        """Report an attempt. *retry_in* is the wait before the next attempt, in seconds, if any."""
        now = self._clock()

        def fields() -> Fields:
            return {
                **self._given,
                "attempt": number,
                "elapsed_ms": _milliseconds(now - self._attempt_started),
                **mask_words(_head_fields(head), secrets()),
                **(_error_fields(error) if error else {}),
                **_clean_fields(
                    {"retry_in": retry_in and round(retry_in, 3), "held_ms": self._held_ms()}
                ),
            }

        self._report("warning" if error else "debug", "claude_lite.attempt", fields)

    def log_call(
        self,
        attempts: int,
        head: Response | None,
        result: object,
        error: BaseException | None,
        secrets: Secrets,
        *,
        left: bool = False,
    ) -> None:
        """Report the call, once. *left* says that the caller left a stream before its end."""
        if self.ended:
            return
        self.ended = True
        now = self._clock()

        def fields() -> Fields:
            return {
                **self._given,
                "attempts": attempts,
                "elapsed_ms": _milliseconds(now - self._started),
                **mask_words(_head_fields(head), secrets()),
                **(_error_fields(error, ours=not left) if error else {}),
                **_clean_fields(
                    {
                        "ttft_ms": self._ttft and _milliseconds(self._ttft),
                        "held_ms": self._held_ms(),
                    }
                ),
                **_usage_fields(result, whole=not left),
            }

        if left:
            # StreamInterrupted means that the `with` block ended without an exception.
            level = "info" if isinstance(error, StreamInterrupted) else "warning"
        else:
            failed = isinstance(error, Exception) and not isinstance(error, RetryLater)
            # A warning: the call was cancelled, or has to be run again later.
            level = "info" if error is None else "error" if failed else "warning"
        self._report(level, "claude_lite.call", fields)

    def _held_ms(self) -> float | None:
        return _milliseconds(self.held) if self.held >= LEAST_HELD else None


def call_log(operation: str, config: "Config", clock: Clock) -> CallLog | None:
    """Return the log of a call; None if nobody listens. *operation* is the operation's name."""
    report = reporter(config)
    return None if report is None else CallLog(report, operation, clock)


def reporter(config: "Config") -> Report | None:
    """Return the function that writes events and never fails; None if nobody listens."""
    report = safely(config, _structlog_report) or safely(config, _standard_report)
    observe = config.observe
    if observe is None:
        return report and functools.partial(safely, config, report)

    def both(level: str, event: str, fields: Callable[[], Fields]) -> None:
        computed = fields()
        if report is not None:
            safely(config, report, level, event, lambda: computed)
        safely(config, observe, event, computed)

    return functools.partial(safely, config, both)


def safely(config: "Config", function: Callable[..., Any], *args: object, **options: object) -> Any:
    """Call *function*. If it raises an exception, report the exception as a warning."""
    try:
        return function(*args, **options)
    except Exception as error:  # noqa: BLE001  # telemetry never changes the outcome of a call
        at = error.__traceback__
        while at is not None and at.tb_next is not None:
            at = at.tb_next
        where = at and f"{at.tb_frame.f_code.co_filename}:{at.tb_lineno}"
        text = f"a report was lost: {type(error).__name__} in {where}"  # the class is no secret
    warned: set[str] = config.__dict__.setdefault("_warned", set())  # by this client
    if text not in warned:
        warned.add(text)
        with suppress(Exception):  # the application may have made warnings exceptions
            warnings.warn(text, RuntimeWarning, stacklevel=3)
    return None


# structlog and logging are slow to import. If one of them is not imported yet, the application has
# not configured it.


def _structlog_report() -> Report | None:
    if "structlog" not in sys.modules:
        return None
    import structlog  # waits if another thread has not finished the import

    if not structlog.is_configured():
        return None
    try:
        logger = structlog.get_logger("claude_lite").bind()
    except RuntimeError:  # an async logger, and no event loop is running
        return None
    # The async logger of structlog has a sync logger inside.
    logger = logger.sync_bl if hasattr(type(logger), "sync_bl") else logger

    def report(level: str, event: str, fields: Callable[[], Fields]) -> None:
        if _is_enabled(logger, LEVELS[level]):
            getattr(logger, level)(event, **fields())

    return report


def _is_enabled(logger: Any, level: int) -> bool:
    """Tell whether a structlog logger is enabled for *level*; True if the logger cannot tell."""
    # The class is asked: an instance seems to have every attribute of the logger that it wraps.
    if not hasattr(type(logger), "is_enabled_for"):
        return True
    try:
        return bool(logger.is_enabled_for(level))
    except AttributeError:  # the wrapped logger is not from `logging`
        return True


def _standard_report() -> Report | None:
    if "logging" not in sys.modules:
        return None
    import logging  # not slow: already imported

    logger = _logger()
    has_handler = logger.handlers or (logger.propagate and logging.root.handlers)
    # ERROR is the highest level of our events: if ERROR is disabled, all events are.
    return _to_standard if has_handler and logger.isEnabledFor(logging.ERROR) else None


@functools.cache
def _logger() -> "Logger":
    import logging  # not slow: callers have checked that it is imported

    return logging.getLogger("claude_lite")


def _to_standard(level: str, event: str, fields: Callable[[], Fields]) -> None:
    number = LEVELS[level]
    if _logger().isEnabledFor(number):
        text = " ".join(f"{key}={_as_word(value)}" for key, value in fields().items())
        _logger().log(number, "%s %s", event, text)


def _as_word(value: object) -> str:
    """Write a value as one word, so that text from a server cannot add fields to a line."""
    text = str(value)
    return repr(text) if not text or any(c in " \"'=" for c in text) else text


def _milliseconds(seconds: float) -> float:
    return round(seconds * 1000, 1)


def _head_fields(head: Response | None) -> dict[str, Any]:
    """Return the fields of a response: status, ids and rate limits."""
    if head is None:
        return {}
    limits = {
        "ratelimit_" + name.removeprefix(RATE_LIMIT).replace("-", "_"): value
        for name, value in head.headers.items()
        if name.startswith(RATE_LIMIT)
    }
    ids = {"request_id": head.request_id, "organization_id": head.organization_id}
    return _clean_fields({"status": head.status, **ids, **limits})


def _error_fields(error: BaseException, *, ours: bool = True) -> dict[str, Any]:
    """Return the fields of an error: class, status and ids, but no message, which may quote a body.

    If not *ours*, the exception is from the caller's code, and may be the error of another call. So
    only the class is returned.
    """
    if not (ours and isinstance(error, ClaudeError)):
        return {"error_type": type(error).__name__}
    return _clean_fields(
        {
            "status": error.status,
            "request_id": error.request_id,
            "organization_id": error.organization_id,
            "error_type": error.type or type(error).__name__,
        }
    )


def _usage_fields(result: object, *, whole: bool) -> dict[str, Any]:
    """Return the token counts of a result. Output tokens need a *whole* result."""
    usage = getattr(result, "usage", None)
    names = ("input_tokens", "output_tokens") if whole else ("input_tokens",)
    return _clean_fields({name: getattr(usage, name, None) for name in names})


def _clean_fields(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Drop fields that are None. Escape control characters, which could start a new log line."""
    return {
        name: escape_invisible(value) if isinstance(value, str) else value
        for name, value in fields.items()
        if value is not None
    }
