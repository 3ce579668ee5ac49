"""One API call with all its attempts, as a state machine without I/O.

    while not isinstance(action := exchange.next_action(), Done):
        if isinstance(action, Sleep):
            transport.sleep(action.seconds)
        elif isinstance(action, Authenticate):
            exchange.receive_token(get_token(action.stale))
        elif isinstance(action, Admit):
            exchange.receive_turn(governor.enter(action, transport.sleep))
        else:
            try:
                exchange.receive_response(transport.send(action))
            except ClaudeError as error:
                exchange.receive_failure(error)
    return action.result

The exchange decides the next step. A client (`claude_lite.client`) runs this loop: the client
sends, waits and gets tokens. The exchange reads the time from its clock, and never waits.
"""

import time
from typing import Final, Generic, TypeVar, cast

from attrs import evolve, frozen

from claude_lite.core.config import Config
from claude_lite.core.credentials import mask_error, words_to_mask
from claude_lite.core.logs import call_log, safely
from claude_lite.core.operation import Operation
from claude_lite.core.responses import (
    decompress_body,
    error_from_response,
    should_retry,
    unexpected,
    with_body,
    with_head_fields,
)
from claude_lite.core.retry import CallHistory, FailedAttempt, RetryBudget, budget_for
from claude_lite.core.turns import PATIENCE, Admit, Turn
from claude_lite.errors import (
    AuthenticationFailed,
    ClaudeError,
    ConnectionFailed,
    ConnectionLost,
    RateLimited,
    ResponseTooLarge,
    RetryLater,
    StreamInterrupted,
    TimedOut,
    UnexpectedResponse,
)
from claude_lite.wire import DECISIVE, MASK, Clock, Done, MaskedStr, Request, Response, Sleep

R = TypeVar("R")

ERROR: Final = 400
NOT_FOUND: Final = 404
MAX_REDIRECTS: Final = 3
SAME_METHOD: Final = frozenset({307, 308})
MAX_REFUSALS: Final = 50  # of the rate limit, per call with a governor; further ones are attempts
LONGEST_REFUSAL: Final = 60.0  # seconds: the limits are per minute, so a longer wait is another one


@frozen
class Authenticate:
    """Get a token and report it with `receive_token`.

    Attributes:
        stale: The token that the API has refused. The new token must be different. None at first.

    """

    stale: str | None = None


class Exchange(Generic[R]):
    """The state of one call: its requests and responses, with all attempts.

    Make one exchange per call. Do not share an exchange between threads or tasks.

    Args:
        operation: The operation to send.
        config: The options of the client.
        clock: The clock for deadlines and for the times in logs.
        governed: Whether to ask for a turn before each attempt, if the operation takes part.

    """

    def __init__(
        self,
        operation: Operation[R],
        config: Config,
        clock: Clock = time.monotonic,
        *,
        governed: bool = False,
    ) -> None:
        self.operation = operation
        self.config = config
        self.attempts = 0
        self._clock = clock
        self._started = clock()
        self.head: Response | None = None
        self._request: Request | None = None
        self._error: ClaudeError | None = None  # the error of the last attempt, not handled yet
        self._failed: ClaudeError | None = None  # the error that ended the call
        self._done: Done[R] | None = None
        self._token: MaskedStr | None = None
        self._refused_token: MaskedStr | None = None
        self._retries = 0
        self._waited = 0.0
        self._resent = 0  # the number of retries after a broken connection
        self._redirects = 0
        self._signed: Request | None = None
        self._governed = governed and operation.route.governed
        self._turn: Turn | None = None
        self._last_error: ClaudeError | None = None
        self._refused = 0  # the number of attempts that the rate limit refused
        self._log = call_log(operation.route.name, config, clock)

    def next_action(self) -> Request | Sleep | Authenticate | Admit | Done[R]:
        """Decide the next step of the call.

        Returns:
            A `Request`: send the request. A `Sleep`: wait `seconds`. An `Authenticate`: get a
            token. An `Admit`: wait for a turn. A `Done`: the call has succeeded, and `result` is
            its result.

        Raises:
            ClaudeError: The call has failed. From then on this method raises the same error again.

        """
        if self._done is not None:
            return self._done
        if self._failed is not None:
            raise self._failed.with_traceback(None)
        if self._error is not None:
            error, self._error = self._error, None
            wait = self._decide_wait(error)
            self._last_error = error.with_traceback(None)
            if wait > 0:
                return Sleep(wait)
        if self._token is None and self.config.credential_function is not None:
            return Authenticate(self._refused_token)
        if self._governed and self._turn is None:
            return self._admit()
        return self._attempt()

    def start(self) -> None:
        """Start the deadline now. A stream may be created long before it is opened."""
        self._started = self._clock()
        if self._log is not None:
            self._log.start_call()

    def receive_token(self, token: str) -> None:
        """Report the token that `Authenticate` asked for."""
        self._token = MaskedStr(token)
        self._request = None

    def receive_turn(self, turn: Turn | float) -> None:
        """Report the turn that `Admit` asked for, or the seconds until there is a turn."""
        if not isinstance(turn, (float, int)):
            self._turn = turn
            if self._log is not None:
                self._log.held += turn.held
            return
        reason = "the rate limit leaves no room for this call before its deadline"
        error = self._last_error or RateLimited(reason, retry_after=turn)
        if self.config.retry.defers:
            self._defer(error, turn)
        else:
            self._end_with(error, f"Call again in {turn:.1f} s, when the rate limit has room.")

    def receive_response(self, response: Response) -> None:
        """Report the whole response to the last request."""
        try:
            if "content-encoding" in response.headers:
                response = self._decode(response)
            if response.status >= DECISIVE:
                self._handle_error_status(response)
                return
            limits = self.config.limits
            limit = limits.max_response
            if limit is not None and len(response.body) > limit:  # some transports have no limits
                error = with_body(ResponseTooLarge.over_max_response(limit), response.body)
                raise with_head_fields(error, response)
            result = self.operation.call_parse(response, limits)
        except ClaudeError as error:
            self.receive_failure(error)
        else:
            self._succeed(result, response)

    def receive_failure(self, error: ClaudeError) -> None:
        """Report the error of the last request."""
        self._error = error

    @property
    def time_left(self) -> float | None:
        """The seconds until the deadline; None if there is no deadline."""
        deadline = self.config.deadline
        return None if deadline is None else self._started + deadline - self._clock()

    def abandon(self, error: BaseException) -> None:
        """Report that the call ended early: a cancellation, or an error of the token provider.

        The client may also report an error that `next_action` raised: it is not logged twice.
        """
        self._settle()
        if isinstance(error, ClaudeError):
            error.update(attempts=self.attempts)
        self._log_end(None, error)

    # Turns

    def _admit(self) -> Admit:
        if self._request is None:
            self._request = self._build_request()
        config, left = self.config, self.time_left
        defers = config.retry.defers
        ask = (self.operation, self._request, config.account, config.priority, defers, left)
        return Admit(*ask, self._clock)

    def _settle(
        self, head: Response | None = None, usage: object = None, *, sent: bool = True
    ) -> None:
        turn, self._turn = self._turn, None
        if turn is not None:
            safely(self.config, turn.settle, head, usage, sent=sent)  # the answer is paid for

    # Attempts

    def _attempt(self) -> Request:
        request = self._request
        if request is None:
            request = self._request = self._build_request()
        if self._log is not None:
            self._log.start_attempt()
        if self.attempts or self._redirects or self._token is not None:
            # Time has passed since the start: the request gets the time that is left.
            request = self._within_deadline(request)
            self.head = None  # the head of the attempt before
        if self.config.dialect is not None:
            request = self.config.dialect.sign(request)
            self._signed = request  # kept to mask its credential in errors
        self.attempts += 1
        return request

    def _build_request(self) -> Request:
        request = self.operation.build(self.config.target)
        if self._token is not None:
            request = evolve(
                request, headers={**request.headers, **self.config.headers_of(self._token)}
            )
        if self.config.dialect is not None:
            request = self.config.dialect.adapt(request)
        return request

    def _within_deadline(self, request: Request) -> Request:
        left = self.time_left
        if left is None:
            return request
        if left <= 0:
            raise self._end_with(TimedOut("total"))
        return request.within(left)

    def _decode(self, response: Response) -> Response:
        """Decompress the body, up to the limit.

        If the body of an error response is broken, use an empty body: the status is enough.
        """
        try:
            body = decompress_body(response, self.config.max_response)
        except UnexpectedResponse as error:
            if response.status < DECISIVE:
                raise with_head_fields(error, response) from None
            body = b""
        headers = {k: v for k, v in response.headers.items() if k != "content-encoding"}
        return evolve(response, headers=headers, body=body)

    def _succeed(self, result: R, head: Response) -> None:
        self._done = Done(result)
        if self._turn is not None:
            self._settle(head, getattr(result, "usage", None))
        self._budget.put_back(self._retries)
        if self._log is not None:
            self.head = head
            self._log_attempt(None)
            self._log_end(result)

    def _handle_error_status(self, response: Response) -> None:
        """Handle a status of 300 or more: follow a redirect within the origin, or make an error."""
        self.head = response
        if response.status < ERROR:
            self._redirect(response)
            return
        self._settle(response)
        body = response.body
        # Secrets are masked before the body is cut short: half a secret would not be found.
        for secret in self._secrets():
            body = body.replace(secret.encode(), MASK.encode())
        error = error_from_response(response, body)
        if response.status == NOT_FOUND and self._request is not None:
            asked = f"{self._request.method} {self._request.url.partition('?')[0]}"
            error.update(advice=f"The request was {asked}")
        server_says = should_retry(response)
        if server_says is not None:
            error.update(details={**error.details, "should_retry": server_says})
        self.receive_failure(error)

    def _redirect(self, response: Response) -> None:
        try:
            self._request = redirected_request(
                cast("Request", self._request), response, self._redirects
            )
        except UnexpectedResponse as error:
            self.receive_failure(error)
        else:
            self._redirects += 1
            self.attempts -= 1  # a redirect is not an attempt

    # Failures

    def _decide_wait(self, error: ClaudeError) -> float:
        """Return the seconds to wait before the next attempt; raise *error* to end the call."""
        mask_error(error, self._secrets())
        self._settle(sent=not isinstance(error, ConnectionFailed))
        # The API refused the credential of a function: get a new credential, once per call.
        if isinstance(error, AuthenticationFailed) and self._token and not self._refused_token:
            self._refused_token, self._token = self._token, None
            self._log_attempt(error, retry_in=0.0)
            return 0.0
        is_named = isinstance(error, RateLimited) and error.retry_after is not None
        is_refused = self._governed and self._is_refusal(error)
        self._refused += is_refused
        made = max(1, self.attempts - self._refused)
        history = CallHistory(made, self._started, self._clock(), self._waited)
        wait = self.config.retry.wait_after(self._failure(error), history)
        if wait is None:
            raise self._give_up(error)
        # A queue waits, so the deadline and the budget of this call do not apply.
        if self.config.retry.defers and not (is_refused and wait <= PATIENCE):
            self._log_attempt(error, retry_in=wait)
            raise self._defer(error, wait) from error.with_traceback(None)
        left = self.time_left
        if left is not None and wait >= left:
            advice = f"Call again in {wait:.1f} s: the deadline leaves no time for this wait."
            raise self._give_up(error, advice)
        if not (is_named or is_refused):  # a wait that the server names costs the server nothing
            if not self._budget.take():
                advice = "Call again later: too many calls failed, so the retry budget is empty."
                raise self._give_up(error, advice)
            self._retries += 1
        self._waited += wait
        if isinstance(error, ConnectionLost | StreamInterrupted):
            self._resent += 1
        self._log_attempt(error, retry_in=wait)
        return wait

    def _is_refusal(self, error: ClaudeError) -> bool:
        """Tell whether the rate limit refused the attempt: such an attempt does not count."""
        if not isinstance(error, RateLimited) or self.config.retry.rule_for(error) is not None:
            return False
        wait = error.retry_after  # the API's rate limit always names it
        return wait is not None and wait <= LONGEST_REFUSAL and self._refused < MAX_REFUSALS

    def _failure(self, error: ClaudeError) -> FailedAttempt:
        return FailedAttempt(error, self.operation.resend_rule, self._resent)

    def _give_up(self, error: ClaudeError, advice: str | None = None) -> ClaudeError:
        self._log_attempt(error)
        return self._end_with(error, advice)

    def _defer(self, error: ClaudeError, wait: float) -> RetryLater:
        self.attempts -= self._refused  # a queue counts attempts, and a refusal is none
        later = RetryLater(wait).update(
            request_id=error.request_id,
            organization_id=error.organization_id,
            status=error.status,
            retry_after=error.retry_after,
            details={"cause": error.update(attempts=self.attempts).to_dict()},
        )
        self._end_with(later)
        return later

    def _end_with(self, error: ClaudeError, advice: str | None = None) -> ClaudeError:
        """End the call, and return *error* without its traceback."""
        self._settle()
        error.update(
            attempts=self.attempts, advice=" ".join(filter(None, (error.advice, advice))) or None
        )
        self._log_end(None, error)
        self._failed = error
        return error.with_traceback(None)

    @property
    def _budget(self) -> RetryBudget:
        return budget_for(self.config.origin, self.config.retry.budget)

    def _secrets(self) -> list[MaskedStr]:
        tokens = [token for token in (self._token, self._refused_token) if token is not None]
        if self._signed is not None:
            tokens += [v for v in self._signed.headers.values() if isinstance(v, MaskedStr)]
        return self.config.words_to_mask() + [
            word for token in tokens for word in words_to_mask(token)
        ]

    # Logs

    def _log_attempt(self, error: ClaudeError | None, retry_in: float | None = None) -> None:
        if self._log is not None:
            self._log.log_attempt(self.attempts, self.head, error, retry_in, self._secrets)

    def _log_end(self, result: object, error: BaseException | None = None) -> None:
        if self._log is not None:
            self._log.log_call(self.attempts, self.head, result, error, self._secrets)


def redirected_request(request: Request, response: Response, redirects: int) -> Request:
    """Return the request that follows a redirect.

    Args:
        request: The request that was redirected.
        response: The redirect.
        redirects: The number of redirects that the call has followed so far.

    Raises:
        UnexpectedResponse: The redirect leads to another origin or to the same URL, changes the
            method, has a character that a URL cannot have, or is the fourth of this call.

    """
    from urllib.parse import urljoin, urlsplit

    try:
        url = urljoin(request.url, response.headers.get("location", ""))
        target = urlsplit(url)
    except ValueError:  # the header is not a URL
        url, target = "", urlsplit("")
    is_harmless = (
        target[:2] == urlsplit(request.url)[:2]  # the same scheme, host and port
        and (response.status in SAME_METHOD or request.method == "GET")
        and url != request.url
        and all("!" <= c <= "~" and c != "\\" for c in url)  # servers disagree on others
    )
    if redirects < MAX_REDIRECTS and is_harmless:
        return evolve(request, url=url)
    reason = "another origin or method, the same URL, not a valid URL, or more than 3 redirects"
    where = target.hostname or "no host"
    raise unexpected(response, f"the redirect to {where} is not followed ({reason})")
