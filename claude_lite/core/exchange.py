"""One API call with all its attempts, as a state machine without I/O.

    while not isinstance(action := exchange.next_action(), Done):
        ...  # send the Request, wait for the Sleep, or get a token; then report the outcome

The exchange decides what to do next. The client that drives it (`claude_lite.client`) sends, waits
and gets tokens. The exchange reads the time from the clock that it is given, and never waits.
tenacity chooses the waits. It is used only after an attempt has failed: a call that succeeds at
once does not pay for it.
"""

import time
from typing import Final, Generic, TypeVar, cast

from attrs import evolve, frozen

from claude_lite.core.config import Config
from claude_lite.core.credentials import bearer, scrub, secret_words
from claude_lite.core.logs import call_log
from claude_lite.core.operation import Operation
from claude_lite.core.responses import (
    decompress_body,
    error_from_response,
    should_retry,
    unexpected,
    with_head_fields,
)
from claude_lite.core.retry import CallHistory, FailedAttempt, budget_for
from claude_lite.errors import (
    AuthenticationFailed,
    ClaudeError,
    ConnectionLost,
    ResponseTooLarge,
    RetryLater,
    StreamInterrupted,
    TimedOut,
    UnexpectedResponse,
)
from claude_lite.wire import MASK, Clock, Done, MaskedStr, Request, Response, Sleep

R = TypeVar("R")

ERROR: Final = 400
REDIRECT: Final = 300
MAX_REDIRECTS: Final = 3
SAME_METHOD: Final = frozenset({307, 308})


@frozen
class Authenticate:
    """Get a token and report it with `receive_token`.

    Attributes:
        stale: The token that the API has refused, if any: get a different one.

    """

    stale: str | None = None


class Exchange(Generic[R]):
    """The state of one call. One thread or task uses it, for one call only.

    Args:
        operation: The operation to call.
        config: The options of the client.
        clock: The clock for deadlines and for the times in logs.

    """

    def __init__(
        self, operation: Operation[R], config: Config, clock: Clock = time.monotonic
    ) -> None:
        self.operation = operation
        self.config = config
        self.attempts = 0
        self._clock = clock
        self._started = clock()
        self.head: Response | None = None
        self._request: Request | None = None
        self._error: ClaudeError | None = None  # ended the last attempt
        self._failed: ClaudeError | None = None  # ended the call
        self._done: Done[R] | None = None
        self._token: MaskedStr | None = None
        self._stale: MaskedStr | None = None
        self._retries = 0
        self._waited = 0.0
        self._resent = 0  # retries after the connection broke within an attempt
        self._redirects = 0
        self._signed: Request | None = None
        self._log = call_log(operation.route.name, config.observe, clock)

    def next_action(self) -> Request | Sleep | Authenticate | Done[R]:
        """Decide what to do next.

        Returns:
            What the client has to do: send the `Request`, wait for the `Sleep`, or get a token for
            the `Authenticate`. `Done` has the result of the call.

        Raises:
            ClaudeError: The call has failed. Each later call of this method raises it again.

        """
        if self._done is not None:
            return self._done
        if self._failed is not None:
            raise self._failed.with_traceback(None)
        if self._error is not None:
            error, self._error = self._error, None
            wait = self._decide_wait(error)
            if wait > 0:
                return Sleep(wait)
        if self.config.token_provider is not None and self._token is None:
            return Authenticate(self._stale)
        return self._attempt()

    def start(self) -> None:
        """Count the time of the call from now on, not from the creation of this object."""
        self._started = self._clock()
        if self._log is not None:
            self._log.start()

    def receive_token(self, token: str) -> None:
        """Report the token that `Authenticate` asked for."""
        self._token = MaskedStr(token)
        self._request = None

    def receive_response(self, response: Response) -> None:
        """Report the whole response to the last request."""
        try:
            if "content-encoding" in response.headers:
                response = self._decode(response)
            if response.status >= REDIRECT:
                self._refuse(response)
                return
            limits = self.config.limits
            most = limits.max_response
            if most is not None and len(response.body) > most:  # for transports without limits
                raise with_head_fields(ResponseTooLarge.whole(most), response)
            result = self.operation.read(response, limits)
        except ClaudeError as error:
            self.receive_failure(error)
        else:
            self._succeed(result, response)

    def receive_failure(self, error: ClaudeError) -> None:
        """Report the error with which the last request failed."""
        self._error = error

    @property
    def time_left(self) -> float | None:
        """The seconds until the deadline; None if there is no deadline."""
        deadline = self.config.deadline
        return None if deadline is None else self._started + deadline - self._clock()

    def abandon(self, error: BaseException) -> None:
        """Report an error from outside that ended the call: it was cancelled, or got no token.

        An error that `next_action` has raised may be reported, too; this changes nothing.
        """
        if isinstance(error, ClaudeError):
            error.amend(attempts=self.attempts)
        self._log_end(None, error)

    # Attempts

    def _attempt(self) -> Request:
        request = self._request
        if request is None:
            request = self._request = self._build_request()
        if self._log is not None:
            self._log.begin()
        if self.attempts or self._redirects or self._token is not None:
            request = self._within_deadline(request)
            self.head = None
        if self.config.dialect is not None:
            request = self._signed = self.config.dialect.sign(request)
        self.attempts += 1
        return request

    def _build_request(self) -> Request:
        request = self.operation.build(self.config.target)
        if self._token is not None:
            request = evolve(request, headers={**request.headers, **bearer(self._token)})
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
        """Decompress the body, up to the limit. A broken body of an error becomes empty."""
        try:
            body = decompress_body(response, self.config.max_response)
        except UnexpectedResponse as error:
            if response.status < REDIRECT:
                raise with_head_fields(error, response) from None
            body = b""
        headers = {k: v for k, v in response.headers.items() if k != "content-encoding"}
        return evolve(response, headers=headers, body=body)

    def _succeed(self, result: R, head: Response) -> None:
        self._done = Done(result)
        budget_for(self.config.origin).put_back(self._retries)
        if self._log is not None:
            self.head = head
            self._log_attempt(None)
            self._log_end(result)

    def _refuse(self, response: Response) -> None:
        """Take a response of status 300 or above: follow a redirect within the origin, or fail."""
        self.head = response
        if response.status < ERROR:
            self._redirect(response)
            return
        body = response.body
        for secret in self._secrets():  # before the body is cut, maybe within a secret
            body = body.replace(secret.encode(), MASK.encode())
        error = error_from_response(response, body)
        verdict = should_retry(response.headers)
        if verdict is not None:
            error.amend(details={**error.details, "should_retry": verdict})
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
            self.attempts -= 1

    # Failures

    def _decide_wait(self, error: ClaudeError) -> float:
        """Give the seconds to wait before the next attempt; raise *error* to end the call."""
        scrub(error, self._secrets())
        if isinstance(error, AuthenticationFailed) and self._token and not self._stale:
            self._stale, self._token = self._token, None
            self._log_attempt(error, retry_in=0.0)
            return 0.0
        failure = self._failure(error)
        history = CallHistory(self.attempts, self._started, self._clock(), self._waited)
        wait = self.config.retry.wait_after(failure, history)
        if wait is None:
            raise self._give_up(error)
        if self.config.retry.defers:  # a queue waits: this call's deadline and budget do not count
            self._log_attempt(error, retry_in=wait)
            raise self._defer(error, wait) from error.with_traceback(None)
        left = self.time_left
        if left is not None and wait >= left:
            advice = f"Try again in {wait:.1f} s: the deadline comes before that."
            raise self._give_up(error, advice)
        if not budget_for(self.config.origin).take():
            raise self._give_up(error, "Not tried again: too many calls fail at the moment.")
        self._retries += 1
        self._waited += wait
        if isinstance(error, ConnectionLost | StreamInterrupted):
            self._resent += 1
        self._log_attempt(error, retry_in=wait)
        return wait

    def _failure(self, error: ClaudeError) -> FailedAttempt:
        return FailedAttempt(error, self.operation.resends, self._resent)

    def _give_up(self, error: ClaudeError, advice: str | None = None) -> ClaudeError:
        self._log_attempt(error)
        return self._end_with(error, advice)

    def _defer(self, error: ClaudeError, wait: float) -> RetryLater:
        later = RetryLater(wait).amend(
            request_id=error.request_id,
            organization_id=error.organization_id,
            status=error.status,
            retry_after=error.retry_after,
            details={"cause": error.amend(attempts=self.attempts).to_dict()},
        )
        self._end_with(later)
        return later

    def _end_with(self, error: ClaudeError, advice: str | None = None) -> ClaudeError:
        """End the call. Give *error* for the caller, without the frames of the transport."""
        error.amend(attempts=self.attempts, advice=advice or error.advice)
        self._log_end(None, error)
        self._failed = error
        return error.with_traceback(None)

    def _secrets(self) -> list[MaskedStr]:
        tokens = [token for token in (self._token, self._stale) if token is not None]
        if self._signed is not None:
            tokens += [v for v in self._signed.headers.values() if isinstance(v, MaskedStr)]
        return self.config.words_to_mask() + [
            word for token in tokens for word in secret_words(token)
        ]

    # Logs

    def _log_attempt(self, error: ClaudeError | None, retry_in: float | None = None) -> None:
        if self._log is not None:
            self._log.attempt(self.attempts, self.head, error, retry_in, self._secrets)

    def _log_end(self, result: object, error: BaseException | None = None) -> None:
        if self._log is not None:
            self._log.end(self.attempts, self.head, result, error, self._secrets)


def redirected_request(request: Request, response: Response, before: int) -> Request:
    """Give the request that follows a redirect.

    Args:
        request: The request that was redirected.
        response: The redirect.
        before: How many redirects the call has followed before this one.

    Raises:
        UnexpectedResponse: The redirect leaves the origin, changes the method, leads to the same
            URL, or is the fourth.

    """
    from urllib.parse import urljoin, urlsplit

    try:
        url = urljoin(request.url, response.headers.get("location", ""))
        to = urlsplit(url)
    except ValueError:  # it is not a URL
        url, to = "", urlsplit("")
    is_harmless = (
        to[:2] == urlsplit(request.url)[:2]
        and (response.status in SAME_METHOD or request.method == "GET")
        and url != request.url
        and all("!" <= c <= "~" and c != "\\" for c in url)
    )
    if before < MAX_REDIRECTS and is_harmless:
        return evolve(request, url=url)
    raise unexpected(response, f"a redirect to {to.hostname or 'nowhere'} that is not followed")
