"""Everything that can go wrong, by what a caller would do about it.

    ClaudeError
    ├── UsageError                  the call itself is wrong; nothing was sent (a ValueError)
    │   └── CredentialMissing       no API key or token to be found
    ├── TransportError              no (whole) response; raised by transports
    │   ├── ConnectionFailed        nothing was sent: DNS, refused, TLS, connect timeout
    │   │   ├── CertificateRefused  the server is not who it should be; do not try again
    │   │   └── ConnectTimedOut     no connection in time (a TimedOut, too)
    │   ├── ConnectionLost          sent, and no reply came: it may have been done
    │   ├── TimedOut                a clock ran out; `phase` says which
    │   └── StreamInterrupted       the reply began and broke off
    │       └── StreamTruncated     it even ended in good order, but too early
    ├── APIError                    the API said no, by status or by an error event
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
    │   ├── ServerError             500 and other 5xx
    │   ├── ServerTimeout           504: the API gave up; stream, or ask for less
    │   └── Overloaded              529: the API is busy; not your fault
    ├── UnexpectedResponse          a response, but not one that the API sends (a proxy's?)
    │   └── ResponseTooLarge        past a limit of this client's own
    └── RetryLater                  `retry=defer()`: run the call again in `delay` seconds

Errors are plain data: no library objects, no secrets. `type(error)(*error.args)` rebuilds
one, so that they survive pickle and the JSON of task queues; `to_dict` and `from_dict` do so
by name. A status and the `error.type` of an SSE error event lead to the same classes.
Source: https://docs.claude.com/en/api/errors
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Final, Self, TypeVar

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

KINDS: Final[Mapping[str, type | tuple[type, ...]]] = {
    **dict.fromkeys(("message", "type", "error_code", "advice", "phase"), str),
    **dict.fromkeys(("request_id", "organization_id"), str),
    **dict.fromkeys(("status", "attempts"), int),
    **dict.fromkeys(("retry_after", "delay"), (int, float)),
    "details": dict,
}
"""The type of an error's fields as plain data, by name."""


def visible(text: str) -> str:
    """*text* in one line, with escapes for what would not show, or would steer a terminal."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


class ClaudeError(Exception):
    """Base of every error that this library raises.

    Attributes: `message`; `status` of the HTTP response; `type` and `error_code` in the API's
    words; `request_id`; `organization_id`; `retry_after` in seconds, as the server asked;
    `attempts` made; `advice` for the reader; `details`, a JSON object of whatever else is
    known. Those that do not apply are None.
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

    def amend(self, **changes: Any) -> Self:
        """Set fields by name, keeping `args` in step, and return the error itself."""
        for name, value in changes.items():
            if name not in self.FIELDS:
                raise TypeError(f"{type(self).__name__} has no field {name!r}")
            setattr(self, name, value)
        self.args = self._values()
        return self

    def to_dict(self) -> dict[str, Any]:
        """The error as a JSON object: its class in `error`, and the fields that are set."""
        fields = {name: getattr(self, name) for name in self.FIELDS}
        return {
            "error": type(self).__name__,
            **{name: value for name, value in fields.items() if value not in (None, {})},
        }

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> "ClaudeError":
        """Rebuild an error from `to_dict`; an unknown class becomes a `ClaudeError`.

        Raises `UsageError` for fields that `to_dict` does not write.
        """
        cls = _by_name().get(str(data.get("error")), ClaudeError)
        given = {name: data[name] for name in cls.FIELDS if data.get(name) is not None}
        wrong = [name for name in given if not isinstance(given[name], KINDS.get(name, object))]
        if wrong:
            raise UsageError(f"not an error: {', '.join(wrong)} cannot be what it is")
        return cls(**given)

    def _detail(self, name: str, kind: type[D]) -> D | None:
        """One of `details`; None if it is of another *kind*, for the server may add its own."""
        value = self.details.get(name)
        return value if isinstance(value, kind) else None

    @property
    def partial(self) -> dict[str, Any] | None:
        """The part of the message that a broken stream had brought, as the API writes it."""
        return self._detail("partial", dict)

    @property
    def workspace_id(self) -> str | None:
        """The workspace that the credential belongs to (`wrkspc_…`), if the response said so."""
        return self._detail("workspace_id", str)

    @property
    def rate_limits(self) -> RateLimits:
        """The rate limits that were in force, as far as the response told them."""
        return rate_limits(self._detail("rate_limits", dict) or {})

    @property
    def usage(self) -> dict[str, Any] | None:
        """The usage known so far when a stream broke, as the API writes it."""
        return self._detail("usage", dict)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), self.args

    def __str__(self) -> str:
        return visible(self._text())  # a server's words must not look like lines of a log

    def _text(self) -> str:
        where = [
            str(self.status) if self.status else "",
            self.type or "",
            self.error_code or "",
            self.request_id or "",
            f"attempts: {self.attempts}" if self.attempts > 1 else "",
        ]
        known = ", ".join(part for part in where if part)
        text = self.message or type(self).__name__
        return text + (f" ({known})" if known else "") + (f". {self.advice}" if self.advice else "")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self)!r})"


class UsageError(ClaudeError, ValueError):
    """The call is wrong as it stands; nothing was sent."""

    def __str__(self) -> str:
        return self._text()  # our own words, sometimes in several lines


class CredentialMissing(UsageError):
    """No API key and no token: neither given nor in the environment."""


class TransportError(ClaudeError):
    """No whole response arrived; raised by transports, and only these leaves."""


class ConnectionFailed(TransportError):
    """No connection (DNS, refused, TLS, connect timeout), so nothing was sent."""


class CertificateRefused(ConnectionFailed):
    """The server's certificate does not prove who it is; trying again will not help."""


class ConnectionLost(TransportError):
    """The request was sent, at least in part, and the connection ended without a reply."""


class TimedOut(TransportError):
    """A clock ran out: `phase` is "connect", "read" (silence), "content" (only pings) or "total".

    The first is always a `ConnectTimedOut`: nothing was sent.
    """

    FIELDS = ("phase", *ClaudeError.FIELDS)

    def __init__(self, phase: str = "read", message: str = "", *args: Any, **fields: Any) -> None:
        self.phase = phase
        super().__init__(message or f"timed out ({phase})", *args, **fields)


class ConnectTimedOut(TimedOut, ConnectionFailed):
    """No connection in time, so nothing was sent; `phase` is "connect"."""

    def __init__(self, phase: str = "connect", *args: Any, **fields: Any) -> None:
        super().__init__(phase, *args, **fields)


class StreamInterrupted(TransportError):
    """The reply had begun when the connection broke; `partial` is what had arrived."""


class StreamTruncated(StreamInterrupted):
    """The reply ended in good order before it was complete (no `message_stop`)."""


class APIError(ClaudeError):
    """The API answered with an error."""

    @property
    def should_retry(self) -> bool | None:
        """What the server's `x-should-retry` header says, if it says anything."""
        return self._detail("should_retry", bool)


class InvalidRequest(APIError):
    """400 `invalid_request_error`: the request is malformed; `message` names the field."""


class AuthenticationFailed(APIError):
    """401 `authentication_error`: the credential is wrong, expired or revoked."""


class PaymentRequired(APIError):
    """402 `billing_error`: payment details need attention."""


class PermissionDenied(APIError):
    """403 `permission_error`: the credential may not do this."""


class NotFound(APIError):
    """404 `not_found_error`: there is no such model, file, batch ..."""


class RequestTimeout(APIError):
    """408: the server did not get the whole request in time."""


class Conflict(APIError):
    """409 `conflict_error`: the resource was changed at the same time."""


class RequestTooLarge(APIError):
    """413 `request_too_large`; also raised, without a status, before too much is sent."""


class RateLimited(APIError):
    """429 `rate_limit_error`: wait `retry_after` seconds."""


class SpendLimitReached(RateLimited):
    """429 for a monthly spend limit: waiting does not help, raising the limit does."""


class ServerError(APIError):
    """500 `api_error`, and any other 5xx."""


class ServerTimeout(ServerError):
    """504 `timeout_error`: it took the API too long; stream, batch, or ask for less."""


class Overloaded(ServerError):
    """529 `overloaded_error`: the API is busy for everyone."""


class UnexpectedResponse(ClaudeError):
    """A response that the API does not send: HTML, broken JSON, a foreign redirect ..."""


class ResponseTooLarge(UnexpectedResponse):
    """A response past a limit of this client's own: too long, too many, or too deep."""

    @classmethod
    def past(cls, setting: str, limit: int, what: str) -> Self:
        """The error about *what* is past *limit*, the value of the option *setting*."""
        details = {"setting": setting, "limit": limit}
        return cls(what, advice=f"Raise {setting} to allow it.", details=details)

    @classmethod
    def whole(cls, limit: float) -> Self:
        """The error about a body, to be held whole, past *limit* bytes: `max_response`."""
        limit = int(limit)
        return cls.past("max_response", limit, f"a response of over {limit} bytes")

    @property
    def setting(self) -> str | None:
        """The option of the client that sets the limit: "max_response", "max_event", ..."""
        return self._detail("setting", str)

    @property
    def limit(self) -> int | None:
        """The limit that was passed, in the units of its option."""
        return self._detail("limit", int)


class RetryLater(ClaudeError):
    """With `retry=defer()`: the call should be made again, `delay` seconds from now.

    `cause` is the error that led to it, as its `to_dict`.
    """

    FIELDS = ("delay", *ClaudeError.FIELDS)

    def __init__(self, delay: float = 0.0, message: str = "", *args: Any, **fields: Any) -> None:
        self.delay = delay
        super().__init__(message or f"try again in {round(delay, 3):g} s", *args, **fields)

    @property
    def cause(self) -> dict[str, Any] | None:
        """The error behind it, as its `to_dict`."""
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


def class_for(status: int | None, type_: str | None, error_code: str | None) -> type[APIError]:
    """Choose the error class: by code, then status, then the API's type of error.

    The status of a response decides where it is specific; an error event has none, and there
    its type decides. 400 is the API's catch-all, so that a known type refines it.
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


def _by_name() -> dict[str, type[ClaudeError]]:
    found: dict[str, type[ClaudeError]] = {}
    queue: list[type[ClaudeError]] = [ClaudeError]
    while queue:
        cls = queue.pop()
        found[cls.__name__] = cls
        queue.extend(cls.__subclasses__())
    return found
