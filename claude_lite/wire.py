"""The types that cross the boundary between the core and its transports.

Nothing else does. The core says what to send (`Request`) and how long to wait (`Sleep`);
a transport brings back what arrived (`Response`, or chunks of bytes) or raises one of the
leaves of `claude_lite.errors.TransportError`. Neither side imports the other.
"""

import re
from collections.abc import AsyncIterable, Callable, Iterable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from datetime import UTC, datetime
from typing import Any, Final, Generic, Protocol, TypeVar, runtime_checkable

import orjson
from attrs import field, fields, frozen

__all__ = [
    "AsyncTransport",
    "BodySource",
    "Clock",
    "Dialect",
    "Done",
    "Limits",
    "RateLimit",
    "RateLimits",
    "Request",
    "Response",
    "Sleep",
    "Transport",
]

R = TypeVar("R")

MASK: Final = "**********"

_SECRET_NAME: Final = re.compile(
    r"(?<!idempotency-)(?:key|token|secret|signature|credentials?|password|authorization|auth|cookie)$"
)


def is_secret_header(name: str) -> bool:
    """Whether the value of the header *name* is a secret, by the end of its name.

    The one rule of this code base: what it names is masked when shown, left out of pickles and
    recordings, and refused in an operation. It covers the API's own credentials, cookies, and
    those of gateways (`x-portkey-api-key`, `cf-access-client-secret`, `helicone-auth`, ...).
    """
    return _SECRET_NAME.search(name.lower()) is not None


class MaskedStr(str):
    """A header value that carries a credential.

    It is the string that a transport needs, and yet neither its repr (in tracebacks that show
    local variables, in the repr of a dict of headers) nor its pickle gives the value away.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return repr(MASK)

    def __reduce_ex__(self, protocol: object, /) -> tuple[type[str], tuple[str]]:
        return str, (MASK,)

    def __copy__(self) -> "MaskedStr":
        return self

    def __deepcopy__(self, memo: object) -> "MaskedStr":
        return self


class BodySource(Protocol):
    """A request body too large to hold: its length is known and it can be read again."""

    @property
    def size(self) -> int:
        """The exact number of bytes that one pass yields."""
        ...

    def __iter__(self) -> Iterator[bytes]:
        """Start over and yield the body in pieces of moderate size; may block on a disk."""
        ...


def repr_headers(headers: Mapping[str, str]) -> str:
    """Show headers with the values of the secret ones masked."""
    return repr({k: MASK if is_secret_header(k) else v for k, v in headers.items()})


def _repr_body(body: "bytes | BodySource") -> str:
    return f"<{len(body) if isinstance(body, bytes) else body.size} bytes>"


# Those that are made for every call have a `__dict__`: it is quicker to fill than slots are.


@frozen(slots=False)
class Limits:
    """What one attempt is held to. Seconds, bytes and numbers; None is no limit.

    By the transport: `connect` spans DNS, TCP and TLS; `read` is the longest silence while a
    reply is awaited or arrives; `total` spans the attempt, a streamed body to its end included.
    `max_response` bounds a body that is read whole (streams are bounded by the core, event by
    event), `max_head` all that is neither body nor its size: the heads, interim ones (1xx) and
    the trailers included, and `max_headers` the number of headers in a head.

    By the core: `max_depth` and `max_values`, the levels and the number of values of one JSON
    text; `max_event`, one event or line of a stream. Past any of the last six the error is
    `claude_lite.errors.ResponseTooLarge`.
    """

    connect: float | None = 10.0
    read: float | None = 600.0
    total: float | None = None
    max_response: int | None = 8 * 1024 * 1024
    max_head: int | None = 64 * 1024
    max_headers: int | None = 256
    max_depth: int | None = 250
    max_values: int | None = 120_000
    max_event: int | None = 40 * 1024 * 1024

    @property
    def max_whole(self) -> int | None:
        """What the pieces of a stream may come to, where they are put together."""
        if self.max_event is None or self.max_response is None:
            return None
        return max(self.max_event, self.max_response)


DEFAULT_LIMITS: Final = Limits()


@frozen(slots=False)
class Request:
    """An HTTP request, ready to be sent. Header names are lower-case; the URL is encoded.

    A transport adds `host`, `content-length` and `connection`, and nothing that changes the
    meaning: no cookies, no redirects followed, no decompression, no retries.
    """

    method: str
    url: str
    headers: Mapping[str, str] = field(repr=repr_headers)
    body: "bytes | BodySource" = field(default=b"", repr=_repr_body)
    limits: Limits = DEFAULT_LIMITS

    def within(self, seconds: float) -> "Request":
        """The same request, with so much time in all (`attrs.evolve` takes ten times as long)."""
        limits, request = object.__new__(Limits), object.__new__(Request)
        limits.__dict__.update(self.limits.__dict__, total=seconds)
        request.__dict__.update(self.__dict__, limits=limits)
        return request


@frozen
class RateLimit:
    """One limit: `limit` and `remaining` in its unit, `reset` when it will be full again."""

    limit: int | None = None
    remaining: int | None = None
    reset: datetime | None = None


@frozen
class RateLimits:
    """The rate limits in force, by kind; a kind that the response does not name is None.

    Tokens are counted a minute; `remaining` is rounded to thousands by the API.
    """

    requests: RateLimit | None = None
    tokens: RateLimit | None = None
    input_tokens: RateLimit | None = None
    output_tokens: RateLimit | None = None
    priority_input_tokens: RateLimit | None = None
    priority_output_tokens: RateLimit | None = None
    fast_input_tokens: RateLimit | None = None
    fast_output_tokens: RateLimit | None = None


def rate_limits(headers: Mapping[str, str]) -> RateLimits:
    """Read the `anthropic-ratelimit-*`, `-priority-*` and `-fast-*` headers."""
    found: dict[str, RateLimit] = {}
    for name in (attribute.name for attribute in fields(RateLimits)):
        prefix = "anthropic-" + name.replace("_", "-")
        if not name.startswith(("priority", "fast")):
            prefix = prefix.replace("anthropic-", "anthropic-ratelimit-")
        values = [headers.get(f"{prefix}-{what}") for what in ("limit", "remaining", "reset")]
        if values != [None, None, None]:
            limit, remaining, reset = values
            found[name] = RateLimit(_number(limit), _number(remaining), _time(reset))
    return RateLimits(**found)


def _number(value: str | None) -> int | None:
    try:
        return int(value or "")
    except (ValueError, TypeError):  # of an error's plain data it may be anything
        return None


def _time(value: str | None) -> datetime | None:
    try:
        moment = datetime.fromisoformat(value or "")
    except (ValueError, TypeError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


@frozen(slots=False)
class Response:
    """An HTTP response, of any status. Header names are lower-case.

    The head of a stream is a `Response` without a body. Repeated headers are joined by ", ".
    """

    status: int
    headers: Mapping[str, str] = field(repr=repr_headers)
    body: bytes = field(default=b"", repr=_repr_body)

    @property
    def request_id(self) -> str | None:
        """The API's name for this request (`req_…`), to be quoted to support."""
        return self.headers.get("request-id")

    @property
    def organization_id(self) -> str | None:
        """The organization that the credential belongs to."""
        return self.headers.get("anthropic-organization-id")

    @property
    def workspace_id(self) -> str | None:
        """The workspace that the credential belongs to (`wrkspc_…`)."""
        return self.headers.get("anthropic-workspace-id")

    @property
    def rate_limits(self) -> RateLimits:
        """The rate limits that were in force."""
        return rate_limits(self.headers)

    def json(self) -> Any:
        """Parse the body as JSON; raises `ValueError` if it is not.

        Integers past 64 bits come as floats; `claude_lite.core.json_text.loads` keeps every digit.
        """
        return orjson.loads(self.body)


@frozen
class Sleep:
    """Wait this many seconds, then ask for the next action."""

    seconds: float


@frozen
class Done(Generic[R]):
    """The exchange is over, with this result."""

    result: R


Head = tuple[Response, Iterable[bytes]]
AsyncHead = tuple[Response, AsyncIterable[bytes]]


@runtime_checkable
class Transport(Protocol):
    """What a synchronous back end provides. Time is I/O, too.

    `send` returns the whole response; `stream` yields its head and an iterable of its chunks,
    and closes the connection when the context ends before the body does. Both raise nothing
    but `TransportError` leaves. A transport that keeps a clock of its own (a test's virtual
    one) also has a `monotonic()` method. The iterable may have a method `finish()`: it is
    called when the message is complete, though the body may not be, and waits a moment (0.1 s)
    for the end of it, so that the connection can be kept.
    """

    def send(self, request: Request, /) -> Response:
        """Send it and return the whole response."""
        ...

    def stream(self, request: Request, /) -> AbstractContextManager[Head]:
        """Send it and yield the head, and the chunks of the body as they come."""
        ...

    def sleep(self, seconds: float, /) -> None:
        """Wait."""
        ...

    def close(self) -> None:
        """Close what is open; a later call opens it anew."""
        ...


@runtime_checkable
class AsyncTransport(Protocol):
    """What an asynchronous back end provides; see `Transport`."""

    async def send(self, request: Request, /) -> Response:
        """Send it and return the whole response."""
        ...

    def stream(self, request: Request, /) -> AbstractAsyncContextManager[AsyncHead]:
        """Send it and yield the head, and the chunks of the body as they come."""
        ...

    async def sleep(self, seconds: float, /) -> None:
        """Wait."""
        ...

    async def close(self) -> None:
        """Close what this loop has open; a later call opens it anew."""
        ...


class Dialect(Protocol):
    """How another platform wants what the API takes: a pure function over the built request.

    A dialect is a frozen value, and a client with one never sends the first-party credential
    that is in the environment. `claude_lite.dialects` has those that there are.
    """

    @property
    def base_url(self) -> str:
        """Where requests go, in place of the API's own address; no slash at its end."""
        ...

    def adapt(self, request: Request, /) -> Request:
        """The platform's request for the API's own, which was built on `base_url`.

        It may carry a credential that was given to the client, as the API would have it.
        Raises `UsageError` for an operation that the platform lacks.
        """
        ...

    def sign(self, request: Request, /) -> Request:
        """Add a credential, if *request* has none yet; called for each attempt."""
        ...

    def decode(self, head: Response, /) -> Callable[[bytes], Iterable[bytes]] | None:
        """What turns chunks of a stream into server-sent events; None if they are that.

        Iterating its result raises `UnexpectedResponse` for what cannot be read.
        """
        ...


Clock = Callable[[], float]
"""Seconds since some moment; only differences count."""
