"""Which failures are tried again, and when: policies keyed on error types.

    retry=standard()                                    what follows, three attempts
    retry=standard(attempts=5, resend_unknown=True)
    retry=standard().on(Overloaded, attempts=8).off(RateLimited)
    retry=never()
    retry=defer(tried=2)                                raise RetryLater instead of waiting

A policy is a frozen value; tenacity's strategies do the deciding, and any of its waits can be
given. Nothing here sleeps: `claude_lite.core.exchange` asks, and its driver waits.

What the standard policy does is the table in `again`. In short: what was surely not done is
tried again, what may have been done is only where doing it twice is harmless.
"""

import os
import threading
from datetime import timedelta
from typing import TYPE_CHECKING, Final, Literal

from attrs import evolve, frozen

from claude_lite.errors import (
    APIError,
    CertificateRefused,
    ClaudeError,
    Conflict,
    ConnectionFailed,
    ConnectionLost,
    RateLimited,
    RequestTimeout,
    ServerError,
    SpendLimitReached,
    StreamInterrupted,
    TimedOut,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from tenacity import RetryCallState
    from tenacity.wait import WaitBaseT

    Wait = WaitBaseT | float | timedelta

__all__ = ["RetryPolicy", "defer", "never", "refill_budgets", "standard"]

Resend = Literal["safe", "once", "never"]
"""What doing a call twice means: nothing; a second bill; a second thing of its kind."""

TRANSIENT: Final = frozenset({408, 409, 429, 500, 502, 503, 504, 529})


@frozen
class Rule:
    """What to do about some types of error, instead of what the table says."""

    errors: tuple[type[ClaudeError], ...]
    again: bool = True
    attempts: int | None = None
    wait: "Wait | None" = None


@frozen
class RetryPolicy:
    """When to try again. Made by `standard`, `never` or `defer`; extended by `on` and `off`.

    `attempts` counts the first one, too. `wait` is a tenacity wait, used where the server does
    not say how long; by default exponential, 0.5 s to 8 s, with full jitter. `tried` counts
    attempts that are not this process's: a queue's.
    """

    attempts: int = 3
    wait: "Wait | None" = None
    resend_unknown: bool = False
    defers: bool = False
    tried: int = 0
    rules: tuple[Rule, ...] = ()

    def on(
        self,
        *errors: type[ClaudeError],
        attempts: int | None = None,
        wait: "Wait | None" = None,
    ) -> "RetryPolicy":
        """Try again after *errors*, whatever the table says of them."""
        return evolve(self, rules=(Rule(errors, True, attempts, wait), *self.rules))  # noqa: FBT003  # it reads as the field it is

    def off(self, *errors: type[ClaudeError]) -> "RetryPolicy":
        """Do not try again after *errors*."""
        return evolve(self, rules=(Rule(errors, again=False), *self.rules))

    def wait_after(self, failure: "Failure", course: "Course") -> float | None:
        """The seconds to wait before the next attempt; None if there is to be none."""
        rule = self.rule_for(failure.error)
        if self.tried:
            course = evolve(course, attempts=course.attempts + self.tried)
            failure = evolve(failure, resent=failure.resent + self.tried)  # for all that is known
        wanted = rule.again if rule else again(failure, resend_unknown=self.resend_unknown)
        if not wanted or course.attempts >= ((rule and rule.attempts) or self.attempts):
            return None
        if failure.error.retry_after is not None:
            return float(failure.error.retry_after)
        wait = self.wait if rule is None or rule.wait is None else rule.wait
        if wait is not None and not callable(wait):
            return wait.total_seconds() if isinstance(wait, timedelta) else float(wait)
        return float((wait or _full_jitter())(_state(failure, course)))

    def rule_for(self, error: ClaudeError) -> Rule | None:
        """The user's rule for *error*: the one added last goes first."""
        return next((rule for rule in self.rules if isinstance(error, rule.errors)), None)


def _state(failure: "Failure", course: "Course") -> "RetryCallState":
    """What tenacity's strategies look at."""
    from tenacity import Future, RetryCallState, Retrying  # dear; seldom needed

    state = RetryCallState(Retrying(), None, (failure,), {})
    state.start_time, state.outcome_timestamp = course.started, course.now
    state.attempt_number, state.idle_for = course.attempts, course.waited
    state.outcome = Future(course.attempts)
    state.outcome.set_exception(failure.error)
    return state


def _full_jitter() -> "Callable[[RetryCallState], float]":
    from tenacity import wait_random_exponential  # as above

    return wait_random_exponential(multiplier=0.5, max=8)


def standard(
    *, attempts: int = 3, resend_unknown: bool = False, wait: "Wait | None" = None
) -> RetryPolicy:
    """The default policy. *resend_unknown*: also what may have been done already."""
    return RetryPolicy(attempts=attempts, resend_unknown=resend_unknown, wait=wait)


def never() -> RetryPolicy:
    """One attempt."""
    return RetryPolicy(attempts=1)


def defer(
    *,
    tried: int = 0,
    attempts: int = 3,
    resend_unknown: bool = False,
    wait: "Wait | None" = None,
) -> RetryPolicy:
    """Decide as `standard` does, but raise `RetryLater` where it would wait.

    *tried* is how often the queue has had this call run already. Without it each attempt is
    the first one: waits do not grow, and there is no last one, whose error is the call's own.
    """
    return RetryPolicy(attempts, wait, resend_unknown, defers=True, tried=tried)


@frozen
class Course:
    """What became of a call so far: attempts made; seconds on a clock; seconds waited in all."""

    attempts: int
    started: float
    now: float
    waited: float = 0.0


@frozen
class Failure:
    """One failed attempt, and what its retry depends on."""

    error: ClaudeError
    resend: Resend = "safe"
    resent: int = 0
    """How often it was sent again already after its fate was unknown."""
    streaming: bool = False
    """The head of a stream had come, and nothing of its content."""


def again(failure: Failure, *, resend_unknown: bool = False) -> bool:  # noqa: PLR0911  # a table
    """The retry truth table: whether the standard policy tries again."""
    error, resend = failure.error, failure.resend
    harmless = resend == "safe" or resend_unknown
    match error:
        case CertificateRefused():
            return False
        case ConnectionFailed():  # nothing was sent
            return True
        case TimedOut(phase="total"):
            return False
        case TimedOut():  # it may be at work still
            return harmless
        case StreamInterrupted() if failure.streaming:
            return True
        case ConnectionLost() | StreamInterrupted():
            return harmless or (resend == "once" and failure.resent == 0)
        case SpendLimitReached():
            return False
        case APIError():
            return _again_for(error)
    return False


def _again_for(error: APIError) -> bool:
    if error.should_retry is not None:
        return error.should_retry
    if error.status is None or error.status < 400:  # noqa: PLR2004  # an event of a stream
        return isinstance(error, RateLimited | RequestTimeout | Conflict | ServerError)
    return error.status in TRANSIENT


class RetryBudget:
    """How many retries a process may have open towards one origin: a token bucket.

    Each retry takes a token. A call that succeeds puts back what it took; one that succeeds at
    once adds a tenth. So an origin that answers now and then can be tried for ever, and one
    that only fails is soon left with one attempt a call.
    """

    def __init__(self, capacity: float = 100.0) -> None:
        self.capacity = capacity
        self.tokens = capacity
        self._lock = threading.Lock()

    def take(self) -> bool:
        """Take the token for one retry, if there is one."""
        with self._lock:
            if self.tokens < 1:
                return False
            self.tokens -= 1
            return True

    def put_back(self, taken: int) -> None:
        """A call succeeded after *taken* retries."""
        if self.tokens < self.capacity:
            with self._lock:
                self.tokens = min(self.capacity, self.tokens + (taken or REWARD))


REWARD: Final = 0.1
_budgets: dict[str, RetryBudget] = {}
os.register_at_fork(after_in_child=_budgets.clear)  # a lock may have been held in the parent


def refill_budgets() -> None:
    """Start with full budgets: for tests, of which none should bear what others did."""
    _budgets.clear()


def budget_for(origin: str) -> RetryBudget:
    """The budget that all clients of this process share for *origin*."""
    return _budgets.get(origin) or _budgets.setdefault(origin, RetryBudget())


PASSING: Final = (Conflict, RateLimited, RequestTimeout, ServerError)


def is_passing(error: ClaudeError) -> bool:
    """Whether the same request may well succeed later."""
    return isinstance(error, PASSING) and not isinstance(error, SpendLimitReached)
