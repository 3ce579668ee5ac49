"""Retry policies: after which errors to try again, and how long to wait.

    retry=standard()                                    the default, three attempts
    retry=standard(attempts=5, resend_unknown=True)     also if the API may have had the request
    retry=standard().on(Overloaded, attempts=8).off(RateLimited)
    retry=never()                                       one attempt
    retry=defer(tried=2)                                raise RetryLater, so that a queue waits

A policy is a frozen value. The function `should_try_again` is the standard policy. In short: if the
API surely has not processed the request, there is another attempt. If the API may have processed
the request, `Resend` says how often it may be sent again.

The option `wait` can be any wait object of tenacity, or a function of tenacity's state. Such a
function must not block: an async client calls it on the event loop. If it raises an exception, the
call ends with the error of its last attempt. Nothing here waits: an exchange asks the policy for
the seconds, and the client waits.
"""

import math
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
    from tenacity import RetryCallState
    from tenacity.wait import WaitBaseT

    Wait = WaitBaseT | float | timedelta

__all__ = ["RetryPolicy", "defer", "never", "refill_budgets", "standard"]

Resend = Literal["safe", "once", "never"]
"""What happens if the API gets a request twice.

"safe": nothing. "once": a second bill; so, after a broken connection, the request is sent again at
most one time. "never": a second object, such as a second batch.

A stream that breaks before the caller has seen content is restarted as often as the policy's
`attempts` allow, whatever this value is.
"""

TEMPORARY_ERRORS: Final = (Conflict, RateLimited, RequestTimeout, ServerError)
TEMPORARY_STATUSES: Final = frozenset({408, 409, 429, 500, 502, 503, 504, 529})


@frozen
class Rule:
    """A rule of `on` or `off`. It replaces the decision of `should_try_again` for some errors.

    Attributes:
        errors: The classes of the errors; their subclasses are included.
        try_again: Whether to try again.
        attempts: The largest number of attempts. None: the policy's `attempts`.
        wait: The wait if the server does not ask for one. None: the policy's `wait`.

    """

    errors: tuple[type[ClaudeError], ...]
    try_again: bool = True
    attempts: int | None = None
    wait: "Wait | None" = None


@frozen
class RetryPolicy:
    """When to make another attempt. `standard`, `never` and `defer` make policies.

    Attributes:
        attempts: The largest number of attempts of a call, the first attempt included.
        wait: The wait if the server does not ask for a wait: seconds, a timedelta, or a wait of
            tenacity. None means a random wait between 0 and a limit that doubles with each attempt,
            from 0.5 s to 8 s (exponential backoff with full jitter). This random wait is then also
            added to a wait that the server asks for.
        resend_unknown: Whether to try again even if the API may have processed the request.
        defers: Whether to raise `RetryLater` instead of waiting.
        tried: The number of attempts that a queue has made before this call.
        rules: The rules of `on` and `off`, the last rule first.
        budget: How many retries the calls of this process may have in reserve, per origin; see
            `RetryBudget`. None means no limit.

    """

    attempts: int = 3
    wait: "Wait | None" = None
    resend_unknown: bool = False
    defers: bool = False
    tried: int = 0
    rules: tuple[Rule, ...] = ()
    budget: float | None = 100.0

    def __attrs_post_init__(self) -> None:
        if any(callable(wait) for wait in (self.wait, *(rule.wait for rule in self.rules))):
            import tenacity  # noqa: F401  # slow to import, and a failing call must not import

    def on(
        self,
        *errors: type[ClaudeError],
        attempts: int | None = None,
        wait: "Wait | None" = None,
    ) -> "RetryPolicy":
        """Return a copy of the policy that tries again after *errors*.

        Args:
            *errors: The classes of the errors; their subclasses are included.
            attempts: The largest number of attempts. None: the policy's `attempts`.
            wait: The wait if the server does not ask for one. None: the policy's `wait`.

        """
        return evolve(self, rules=(Rule(errors, True, attempts, wait), *self.rules))  # noqa: FBT003  # the value of the field `try_again`

    def off(self, *errors: type[ClaudeError]) -> "RetryPolicy":
        """Return a copy of the policy that does not try again after *errors*.

        Args:
            *errors: The classes of the errors; their subclasses are included.

        """
        return evolve(self, rules=(Rule(errors, try_again=False), *self.rules))

    def wait_after(self, failure: "FailedAttempt", history: "CallHistory") -> float | None:
        """Return the seconds to wait before the next attempt; None if there is no next attempt.

        Args:
            failure: The attempt that failed.
            history: The history of the call.

        """
        rule = self.rule_for(failure.error)
        if self.tried:
            history = evolve(history, attempts=history.attempts + self.tried)
            # The errors of the queue's attempts are unknown: count each as a broken connection.
            failure = evolve(failure, resent=failure.resent + self.tried)
        if rule is None:
            wanted = should_try_again(failure, resend_unknown=self.resend_unknown)
        else:
            wanted = rule.try_again
        allowed = rule.attempts if rule and rule.attempts else self.attempts
        if not wanted or history.attempts >= allowed:
            return None
        wait = self.wait if rule is None or rule.wait is None else rule.wait
        named = failure.error.retry_after
        if named is not None:  # with a random part, so that those who wait do not come back at once
            return named + (_seconds(None, failure, history) if wait is None else 0.0)
        try:
            return _seconds(wait, failure, history)
        except Exception as fault:  # noqa: BLE001  # whatever the user's function raises
            advice = f"The wait of the retry policy failed ({type(fault).__name__}): correct it."
            failure.error.update(advice=advice).__cause__ = fault
            return None

    def rule_for(self, error: ClaudeError) -> Rule | None:
        """Return the user's rule for *error*; None if no rule fits. The last rule added wins."""
        return next((rule for rule in self.rules if isinstance(error, rule.errors)), None)


def _seconds(wait: "Wait | None", failure: "FailedAttempt", history: "CallHistory") -> float:
    if wait is None:  # as `tenacity.wait_random_exponential(multiplier=0.5, max=8)`
        from random import uniform  # loaded with the first client

        return uniform(0.0, min(8.0, 0.5 * 2.0 ** (history.attempts - 1)))  # noqa: S311
    if isinstance(wait, timedelta):
        return wait.total_seconds()
    seconds = float(wait(_state(failure, history)) if callable(wait) else wait)
    if math.isfinite(seconds):
        return seconds
    raise ValueError("the wait is not a finite number of seconds")


def _state(failure: "FailedAttempt", history: "CallHistory") -> "RetryCallState":
    """Make the state from which tenacity computes a wait."""
    from tenacity import Future, RetryCallState, Retrying  # loaded with the policy

    state = RetryCallState(Retrying(), None, (failure,), {})
    state.start_time, state.outcome_timestamp = history.started, history.now
    state.attempt_number, state.idle_for = history.attempts, history.waited
    state.outcome = Future(history.attempts)
    state.outcome.set_exception(failure.error)
    return state


def standard(
    *,
    attempts: int = 3,
    resend_unknown: bool = False,
    wait: "Wait | None" = None,
    budget: float | None = 100.0,
) -> RetryPolicy:
    """Return the default policy: the table in `should_try_again`.

    Args:
        attempts: The largest number of attempts of a call, the first attempt included.
        resend_unknown: Try again even if the API may have processed the request: after a broken
            connection, or a timeout.
        wait: The wait if the server does not ask for a wait: seconds, a timedelta, or a wait of
            tenacity. The default is exponential, up to 8 s, with full jitter; it is also added to
            a wait that the server asks for.
        budget: How many retries the calls of this process may have in reserve, per origin. When
            every call fails, the reserve is soon empty, and each call then makes one attempt. None
            means no limit.

    """
    return RetryPolicy(attempts, wait, resend_unknown, budget=budget)


def never() -> RetryPolicy:
    """Return the policy of one attempt per call."""
    return RetryPolicy(attempts=1)


def defer(
    *,
    tried: int = 0,
    attempts: int = 3,
    resend_unknown: bool = False,
    wait: "Wait | None" = None,
) -> RetryPolicy:
    """Return a policy that raises `RetryLater` instead of waiting. Your queue then waits.

    The policy tries again after the same errors as `standard`. After the last attempt the call
    raises the error of this attempt, not `RetryLater`.

    Args:
        tried: The number of attempts that the queue has made before this call. Without this number
            each attempt counts as the first attempt: waits do not grow, and no attempt is the last.
        attempts: The largest number of attempts, *tried* included.
        resend_unknown: Try again even if the API may have processed the request.
        wait: The delay if the server does not ask for a wait; see `standard`.

    """
    return RetryPolicy(attempts, wait, resend_unknown, defers=True, tried=tried)


@frozen
class CallHistory:
    """The history of a call.

    Attributes:
        attempts: The number of attempts made so far.
        started: The time at which the call began, in seconds on the clock of the call.
        now: The time now, on the same clock.
        waited: The seconds of all waits so far.

    """

    attempts: int
    started: float
    now: float
    waited: float = 0.0


@frozen
class FailedAttempt:
    """An attempt that failed.

    Attributes:
        error: The error.
        resend: What happens if the API gets the request twice.
        resent: How often the call has sent the request again after a broken connection.
        streaming: Whether a streamed reply had begun. The caller has not seen any of its content:
            after the first content, an exchange ends the call without asking the policy.

    """

    error: ClaudeError
    resend: Resend = "safe"
    resent: int = 0
    streaming: bool = False


def should_try_again(failure: FailedAttempt, *, resend_unknown: bool = False) -> bool:  # noqa: PLR0911  # a table
    """Tell whether the standard policy makes another attempt after *failure*."""
    error, resend = failure.error, failure.resend
    may_repeat = resend == "safe" or resend_unknown
    match error:
        case CertificateRefused():
            return False
        case ConnectionFailed():  # nothing was sent
            return True
        case TimedOut(phase="total"):  # the deadline of the call: no time is left
            return False
        case TimedOut():  # the API may still process the request
            return may_repeat
        case StreamInterrupted() if failure.streaming:  # nothing was seen: a new stream is as good
            return True
        case ConnectionLost() | StreamInterrupted():
            return may_repeat or (resend == "once" and failure.resent == 0)
        case SpendLimitReached():
            return False
        case APIError():
            return _should_try_again_for(error)
    return False


def _should_try_again_for(error: APIError) -> bool:
    """Tell whether to try again after an error that the API sent."""
    if error.should_retry is not None:
        return error.should_retry
    # An error event of a stream: the status of the response (200) says nothing.
    if error.status is None or error.status < 400:  # noqa: PLR2004
        return isinstance(error, TEMPORARY_ERRORS)
    return error.status in TEMPORARY_STATUSES


class RetryBudget:
    """A token bucket, one for each origin. It limits how many retries a process sends there.

    Each retry takes one token. A call that succeeds after retries returns their tokens. A call that
    succeeds without a retry adds 0.1 token. So retries continue if some calls to the origin
    succeed. If every call fails, the bucket becomes empty; then each call makes one attempt. A
    retry after a 429 that names its wait takes nothing: it is no sign of an overload.
    """

    def __init__(self, capacity: float | None = 100.0) -> None:
        self.capacity = math.inf if capacity is None else capacity
        self.tokens = self.capacity
        self._lock = threading.RLock()  # a signal handler may call

    def take(self) -> bool:
        """Take the token for one retry; False if the bucket is empty."""
        with self._lock:
            if self.tokens < 1:
                return False
            self.tokens -= 1
            return True

    def put_back(self, taken: int) -> None:
        """Add tokens for a call that succeeded after *taken* retries."""
        # Tested without the lock: usually the bucket is full. A wrong result costs a few tokens.
        if self.tokens < self.capacity:
            with self._lock:
                self.tokens = min(self.capacity, self.tokens + (taken or REWARD))


REWARD: Final = 0.1
_budgets: dict[tuple[str, float | None], RetryBudget] = {}
os.register_at_fork(after_in_child=_budgets.clear)  # a lock may stay locked for ever in a child


def refill_budgets() -> None:
    """Forget the retry budgets of this process: new budgets are full. Call this between tests."""
    _budgets.clear()


def budget_for(origin: str, capacity: float | None = 100.0) -> RetryBudget:
    """Return the retry budget of *origin*. The clients of this process share it."""
    key = origin, capacity
    return _budgets.get(key) or _budgets.setdefault(key, RetryBudget(capacity))


def is_temporary(error: ClaudeError) -> bool:
    """Tell whether the same request is likely to succeed later."""
    return isinstance(error, TEMPORARY_ERRORS) and not isinstance(error, SpendLimitReached)
