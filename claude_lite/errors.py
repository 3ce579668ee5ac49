"""The errors of this library. The class of an error says what the caller can do.

    ClaudeError
    ├── UsageError                  wrong use of the library, or a local file failed (a ValueError)
    │   └── CredentialMissing       no API key or token was found
    ├── TransportError              no response, or only a part; raised by transports
    │   ├── ConnectionFailed        nothing was sent: DNS, refused, TLS, connect timeout
    │   │   ├── CertificateRefused  the certificate is not trusted; do not try again
    │   │   └── ConnectTimedOut     no connection in time (also a TimedOut)
    │   ├── ConnectionLost          sent, no reply came; the API may have processed it
    │   ├── TimedOut                a time limit ran out; `phase` names the limit
    │   └── StreamInterrupted       the reply began, then the connection broke
    │       └── StreamTruncated     the server closed the stream before its end
    ├── APIError                    the API answered with an error status or an error event
    │   ├── InvalidRequest          400 and other 4xx: fix the request
    │   ├── AuthenticationFailed    401: fix the credential
    │   ├── PaymentRequired         402: see the billing page
    │   ├── PermissionDenied        403: ask for access
    │   ├── NotFound                404: no such model, file, batch ...
    │   ├── RequestTimeout          408: try again
    │   ├── Conflict                409: changed by someone else; try again
    │   ├── RequestTooLarge         413: send less
    │   ├── RateLimited             429: wait `retry_after` seconds
    │   │   └── SpendLimitReached   429, but waiting will not help
    │   └── ServerError             500 and other 5xx
    │       ├── ServerTimeout       504: the API took too long; stream, or ask for less
    │       └── Overloaded          529: the API is busy for everyone; try again
    ├── UnexpectedResponse          not a response of the API; maybe a proxy sent it
    │   └── ResponseTooLarge        the response is larger than a limit of this client
    └── RetryLater                  `retry=defer()`: run the call again in `delay` seconds

An error holds plain data: no library objects, no secrets. `type(error)(*error.args)` makes an equal
error, so errors survive pickle. For a queue, `to_dict` makes JSON of an error, and `from_dict`
makes the error again. An HTTP status and an error event in a stream raise the same class for the
same problem. Source: https://docs.claude.com/en/api/errors
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Final, Self, TypeVar

from claude_lite.given.spellings import ERRORS, add_hints
from claude_lite.wire import RateLimits, rate_limits

__all__ = [
    "APIError",
    "AuthenticationFailed",
    "CertificateRefused",
    "ClaudeError",
    "Conflict",
    "ConnectTimedOut",
    "ConnectionFailed",
    "ConnectionLost",
    "CredentialMissing",
    "InvalidRequest",
    "NotFound",
    "Overloaded",
    "PaymentRequired",
    "PermissionDenied",
    "RateLimited",
    "RequestTimeout",
    "RequestTooLarge",
    "ResponseTooLarge",
    "RetryLater",
    "ServerError",
    "ServerTimeout",
    "SpendLimitReached",
    "StreamInterrupted",
    "StreamTruncated",
    "TimedOut",
    "TransportError",
    "UnexpectedResponse",
    "UsageError",
]

D = TypeVar("D")

FIELD_TYPES: Final[Mapping[str, type | tuple[type, ...]]] = {
    **dict.fromkeys(("message", "type", "error_code", "advice", "phase"), str),
    **dict.fromkeys(("request_id", "organization_id"), str),
    **dict.fromkeys(("status", "attempts"), int),
    **dict.fromkeys(("retry_after", "delay"), (int, float)),
    "details": dict,
}
"""The type of each field in the JSON of `ClaudeError.to_dict`."""


def escape_invisible(text: str) -> str:
    """Return *text* as one line, with escapes in place of invisible and control characters."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


class ClaudeError(Exception):
    """Base of every error that this library raises. A field without a value has its default.

    Attributes:
        message: A sentence that says what went wrong.
        status: The HTTP status of the response.
        type: The API's type of the error, such as "rate_limit_error".
        error_code: A code that says more than `type`: the API's, or another platform's.
        request_id: The API's id for the request (`req_…`). Anthropic's support asks for this id.
        organization_id: The id of the organization that the credential belongs to.
        retry_after: The seconds that the server asks to wait.
        attempts: The number of attempts that the call made.
        advice: A sentence that says what to do.
        details: A JSON object with everything else that is known.

    """

    FIELDS: ClassVar[tuple[str, ...]] = (
        "message",
        "status",
        "type",
        "error_code",
        "request_id",
        "organization_id",
        "retry_after",
        "attempts",
        "advice",
        "details",
    )

    # The parameters are in the order of FIELDS: `type(error)(*error.args)` has to work.
    def __init__(
        self,
        message: str = "",
        status: int | None = None,
        type: str | None = None,  # noqa: A002  # the API's word
        error_code: str | None = None,
        request_id: str | None = None,
        organization_id: str | None = None,
        retry_after: float | None = None,
        attempts: int = 0,
        advice: str | None = None,
        details: dict[str, Any] | None = None,
    ) -> None:
        self.message = message
        self.status = status
        self.type = type
        self.error_code = error_code
        self.request_id = request_id
        self.organization_id = organization_id
        self.retry_after = retry_after
        self.attempts = attempts
        self.advice = advice
        self.details: dict[str, Any] = dict(details or {})
        super().__init__(*self._values())

    def _values(self) -> tuple[Any, ...]:
        return tuple(getattr(self, name) for name in self.FIELDS)

    def update(self, **changes: Any) -> Self:
        """Set fields by name, update `args`, and return the error itself."""
        for name, value in changes.items():
            if name not in self.FIELDS:
                raise TypeError(f"{type(self).__name__} has no field {name!r}")
            setattr(self, name, value)
        self.args = self._values()
        return self

    def to_dict(self) -> dict[str, Any]:
        """Return the error as a JSON object, with the class name as `error`.

        Fields without a value are left out.
        """
        fields = {name: getattr(self, name) for name in self.FIELDS}
        return {
            "error": type(self).__name__,
            **{name: value for name, value in fields.items() if value not in (None, {})},
        }

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> "ClaudeError":
        """Rebuild an error from the JSON object that `to_dict` returned.

        Args:
            data: The JSON object.

        Returns:
            The error. If no class has the name in `error`, the error is a `ClaudeError`.

        Raises:
            UsageError: A field has a type that `to_dict` does not write.

        """
        cls = _by_name().get(str(data.get("error")), ClaudeError)
        given = {name: data[name] for name in cls.FIELDS if data.get(name) is not None}
        wrong = [
            name for name in given if not isinstance(given[name], FIELD_TYPES.get(name, object))
        ]
        if wrong:
            types = ", ".join(f"`{n}` cannot be {type(given[n]).__name__}" for n in wrong)
            raise UsageError(
                f"this is not the JSON of an error: {types}; give from_dict the result of to_dict"
            )
        return cls(**given)

    def _detail(self, name: str, kind: type[D]) -> D | None:
        """Return `details[name]`; None if its type is not *kind*: a server can send any type."""
        value = self.details.get(name)
        return value if isinstance(value, kind) else None

    @property
    def partial(self) -> dict[str, Any] | None:
        """The part of a message that arrived before the stream broke, in the API's JSON."""
        return self._detail("partial", dict)

    @property
    def workspace_id(self) -> str | None:
        """The id of the workspace (`wrkspc_…`), if the response had it."""
        return self._detail("workspace_id", str)

    @property
    def rate_limits(self) -> RateLimits:
        """The rate limits in the headers of the response."""
        return rate_limits(self._detail("rate_limits", dict) or {})

    @property
    def usage(self) -> dict[str, Any] | None:
        """The usage that was known when a stream broke, in the API's JSON."""
        return self._detail("usage", dict)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), self.args

    def __str__(self) -> str:
        return escape_invisible(self._text())  # a server's text must not look like lines of a log

    def _text(self) -> str:
        facts = [
            str(self.status) if self.status else "",
            self.type or "",
            self.error_code or "",
            self.request_id or "",
            f"attempts: {self.attempts}" if self.attempts > 1 else "",
        ]
        known = ", ".join(fact for fact in facts if fact)
        text = self.message or type(self).__name__
        return text + (f" ({known})" if known else "") + (f". {self.advice}" if self.advice else "")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self)!r})"


add_hints(ClaudeError, ERRORS)


class UsageError(ClaudeError, ValueError):
    """The program used the library wrongly, or a local file failed. Also a `ValueError`."""

    def __str__(self) -> str:
        return self._text()  # this library wrote the text, maybe with line breaks


class CredentialMissing(UsageError):
    """No API key or token was given, and the environment has none."""


class TransportError(ClaudeError):
    """The response did not arrive, or arrived only in part. Transports raise the subclasses."""


class ConnectionFailed(TransportError):
    """No connection was made (DNS, refused, TLS, connect timeout), so nothing was sent."""


class CertificateRefused(ConnectionFailed):
    """The server's certificate is not trusted. A retry does not help."""


class ConnectionLost(TransportError):
    """The request was sent, at least in part, but the connection ended without a reply."""


class TimedOut(TransportError):
    """A time limit ran out.

    Attributes:
        phase: The limit:

            - "connect": there was no connection in time. The class is `ConnectTimedOut`.
            - "read": the server was silent.
            - "content": a stream brought only pings.
            - "total": the deadline is over.

    """

    FIELDS = ("phase", *ClaudeError.FIELDS)

    # `phase` is the first of FIELDS, so `phase` is the first parameter (for pickle).
    def __init__(self, phase: str = "read", message: str = "", *args: Any, **fields: Any) -> None:
        self.phase = phase
        super().__init__(message or _TIMED_OUT.get(phase, "timed out"), *args, **fields)


_TIMED_OUT: Final[Mapping[str, str]] = {
    "connect": "connecting took longer than the option `connect_timeout` allows",
    "read": "the server was silent for longer than the option `timeout` allows",
    "content": "a stream brought only pings for longer than the option `content_timeout` allows",
    "total": "the call took longer than the option `deadline` allows",
}


class ConnectTimedOut(TimedOut, ConnectionFailed):
    """No connection was made in time, so nothing was sent. `phase` is "connect" or "total"."""

    def __init__(self, phase: str = "connect", *args: Any, **fields: Any) -> None:
        super().__init__(phase, *args, **fields)


class StreamInterrupted(TransportError):
    """The connection broke during the reply. `partial` has the received part of the message."""


class StreamTruncated(StreamInterrupted):
    """The server closed the connection normally, but before the end of the stream."""


class APIError(ClaudeError):
    """The API answered with an error status, or with an error event in a stream."""

    @property
    def should_retry(self) -> bool | None:
        """The `x-should-retry` header; None if the header is missing or has another value."""
        return self._detail("should_retry", bool)


class InvalidRequest(APIError):
    """400 `invalid_request_error`, and other 4xx: `message` names the field that is wrong."""


class AuthenticationFailed(APIError):
    """401 `authentication_error`: the credential is wrong, expired or revoked."""


class PaymentRequired(APIError):
    """402 `billing_error`: payment details need attention."""


class PermissionDenied(APIError):
    """403 `permission_error`: the credential does not allow this operation."""


class NotFound(APIError):
    """404 `not_found_error`: there is no such model, file, batch ..."""


class RequestTimeout(APIError):
    """408: the server did not get the whole request in time."""


class Conflict(APIError):
    """409 `conflict_error`: someone else changed the resource at the same time."""


class RequestTooLarge(APIError):
    """413 `request_too_large`. If `status` is None, the client did not send the request."""


class RateLimited(APIError):
    """429 `rate_limit_error`: wait `retry_after` seconds."""


class SpendLimitReached(RateLimited):
    """429 for a monthly spend limit. Waiting does not help; raise the limit."""


class ServerError(APIError):
    """500 `api_error`, and any other 5xx."""


class ServerTimeout(ServerError):
    """504 `timeout_error`: the API took too long. Use a stream or a batch, or ask for less."""


class Overloaded(ServerError):
    """529 `overloaded_error`: the API is busy for everyone."""


class UnexpectedResponse(ClaudeError):
    """A response in a form that the API never uses: HTML, broken JSON, a foreign redirect ..."""


class ResponseTooLarge(UnexpectedResponse):
    """A response over a limit of this client: too many bytes, values, headers or levels."""

    @classmethod
    def over_limit(cls, setting: str, limit: int, message: str) -> Self:
        """Make the error for a response that is larger than a limit.

        Args:
            setting: The name of the option.
            limit: The value of the option.
            message: The message of the error.

        """
        advice = f"To accept such a response, set a larger {setting}."
        return cls(message, advice=advice, details={"setting": setting, "limit": limit})

    @classmethod
    def over_max_response(cls, limit: float) -> Self:
        """Make the error for a body of more bytes than *limit*, the value of `max_response`."""
        limit = int(limit)
        return cls.over_limit("max_response", limit, f"the response has more than {limit} bytes")

    @property
    def setting(self) -> str | None:
        """The name of the client's option: "max_response", "max_event", ..."""
        return self._detail("setting", str)

    @property
    def limit(self) -> int | None:
        """The value of the option `setting`."""
        return self._detail("limit", int)


class RetryLater(ClaudeError):
    """The call failed, and has to be run again later.

    With `retry=defer()`, the client raises this error, and does not wait and try again itself.

    Attributes:
        delay: The seconds for which the caller, such as a queue, waits before the next run.

    """

    FIELDS = ("delay", *ClaudeError.FIELDS)

    def __init__(self, delay: float = 0.0, message: str = "", *args: Any, **fields: Any) -> None:
        self.delay = delay
        message = message or f"the call failed: run it again in {round(delay, 3):g} s"
        super().__init__(message, *args, **fields)

    @property
    def cause(self) -> dict[str, Any] | None:
        """The JSON (`to_dict`) of the error of the last attempt."""
        return self._detail("cause", dict)


BY_TYPE: Final[Mapping[str, type[APIError]]] = {
    "invalid_request_error": InvalidRequest,
    "authentication_error": AuthenticationFailed,
    "billing_error": PaymentRequired,
    "permission_error": PermissionDenied,
    "not_found_error": NotFound,
    "conflict_error": Conflict,
    "request_too_large": RequestTooLarge,
    "rate_limit_error": RateLimited,
    "api_error": ServerError,
    "timeout_error": ServerTimeout,
    "overloaded_error": Overloaded,
}

BY_STATUS: Final[Mapping[int, type[APIError]]] = {
    401: AuthenticationFailed,
    402: PaymentRequired,
    403: PermissionDenied,
    404: NotFound,
    408: RequestTimeout,
    409: Conflict,
    413: RequestTooLarge,
    429: RateLimited,
    504: ServerTimeout,
    529: Overloaded,
}

SPEND_LIMIT_CODES: Final = frozenset(
    {
        "enforced_spend_limit_reached",
        "contract_spend_limit_reached",
        "linked_organization_spend_limit_reached",
    }
)


def error_class(status: int | None, type_: str | None, error_code: str | None) -> type[APIError]:
    """Return the class for an error of the API.

    An `error_code` of `SPEND_LIMIT_CODES` decides first. Otherwise a status in `BY_STATUS` decides.
    Otherwise the API's type of error decides: an error event has no status, and 400 stands for many
    types.
    """
    if error_code in SPEND_LIMIT_CODES:
        return SpendLimitReached
    if status is not None and status in BY_STATUS:
        return BY_STATUS[status]
    if type_ is not None and type_ in BY_TYPE:
        return BY_TYPE[type_]
    if status is None:
        return APIError
    return ServerError if status >= 500 else InvalidRequest  # noqa: PLR2004


# Not a constant: a program may add subclasses.
def _by_name() -> dict[str, type[ClaudeError]]:
    found: dict[str, type[ClaudeError]] = {}
    queue: list[type[ClaudeError]] = [ClaudeError]
    while queue:
        cls = queue.pop()
        found[cls.__name__] = cls
        queue.extend(cls.__subclasses__())
    return found
