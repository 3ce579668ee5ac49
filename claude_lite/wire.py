"""The types that cross the boundary between the core and its transports.

The core and the transports exchange only these types. The core says which `Request` to send and how
long to `Sleep`. A transport returns the `Response`, or the head of the response and the chunks of
its body, or it raises a subclass of `claude_lite.errors.TransportError`. Core and transports import
this module, and do not import each other.
"""

import re
from collections.abc import AsyncIterable, Callable, Iterable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from datetime import UTC, datetime
from typing import Any, Final, Generic, Protocol, Self, TypeVar, runtime_checkable

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

DECISIVE: Final = 300
"""From this status on the status is enough to know what happened, however the body ends."""

ERROR_BODY_SECONDS: Final = 1.0
"""The longest time for the body of such a response; `claude_lite.core.limits` says why."""

MASK: Final = "**********"

# An idempotency key is not a secret.
_SECRET_NAME: Final = re.compile(
    r"(?<!idempotency[-_])(?:key|token|secret|sig|signature|credentials?|password|passwd|passphrase|pwd"
    r"|jwt|assertion|bearer|authorization|auth|cookie)[^a-z]*$"
)


def is_secret_header(name: str) -> bool:
    """Tell whether the header *name* holds a secret: *name* ends with `key`, `token`, `auth`, ...

    The code base has no other rule for secret headers. Secret values are masked when they are
    shown, left out of pickles and recordings, and refused in an operation. The rule covers the
    API's credentials, cookies, and the credentials of gateways (`x-portkey-api-key`,
    `cf-access-client-secret`, `helicone-auth`, ...).
    """
    return _SECRET_NAME.search(name.lower()) is not None


class Masked:
    """A value whose repr and pickle are a mask."""

    __slots__ = ()

    def __repr__(self) -> str:
        return repr(MASK)

    def __reduce_ex__(self, protocol: object, /) -> tuple[type[str], tuple[str]]:
        return str, (MASK,)

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self


class MaskedStr(Masked, str):
    """A text that holds a credential, such as the value of a header.

    A transport uses the value like any string. Its repr is a mask, because tracebacks and the repr
    of a dict of headers show the repr. All that its methods make of it is masked, too: slices,
    pieces, copies, sums, bytes. A pickle holds only the mask. `str(value)` is the text in clear; so
    is what `str.join`, `json.dumps`, and an f-string with other text make of the value.
    """

    __slots__ = ()


class MaskedBytes(Masked, bytes):
    """The bytes that `MaskedStr.encode` returns."""

    __slots__ = ()
    __str__ = Masked.__repr__


def _mask(made: Any) -> Any:
    """Mask what a method of a masked value returned: text, bytes, or a list or iterator of them."""
    if isinstance(made, str):
        return MaskedStr(made)
    if isinstance(made, bytes):
        return MaskedBytes(made)
    if isinstance(made, (list, tuple)):
        return type(made)(map(_mask, made))
    return map(_mask, made) if isinstance(made, Iterator) else made


def _mask_methods(masked: Any, plain: Any) -> None:
    def masking(method: Any) -> Any:
        return lambda self, *args, **kwargs: _mask(method(self, *args, **kwargs))

    # rich and structlog cut a long text before they take its repr.
    operators = {"__getitem__", "__iter__", "__add__", "__mul__", "__rmul__", "__mod__", "__rmod__"}
    named = {name for name in vars(plain) if name[0] != "_"} - {"maketrans", "fromhex"}
    for name in operators | named | {"__format__"}:
        setattr(masked, name, masking(getattr(plain, name)))
    masked.__radd__ = masking(lambda self, other: plain.__add__(other, self))


_mask_methods(MaskedStr, str)
_mask_methods(MaskedBytes, bytes)


class BodySource(Protocol):
    """A request body that is too large for memory.

    The size is known before the body is sent. A retry reads the body again from its beginning.
    """

    @property
    def size(self) -> int:
        """The exact number of bytes in the body."""
        ...

    def __iter__(self) -> Iterator[bytes]:
        """Yield the body from its beginning, in chunks. Reading from a disk may block."""
        ...


def mask_values(headers: Mapping[str, str]) -> dict[str, str]:
    """Return a copy of *headers* with a mask in place of each secret value."""
    secret = {k for k, v in headers.items() if isinstance(v, MaskedStr) or is_secret_header(k)}
    return {k: MASK if k in secret else v for k, v in headers.items()}


def repr_headers(headers: Mapping[str, str]) -> str:
    """Return the repr of headers, with a mask in place of each secret value."""
    return repr(mask_values(headers))


def _repr_body(body: "bytes | BodySource") -> str:
    return f"<{len(body) if isinstance(body, bytes) else body.size} bytes>"


# Every call makes instances of `Limits`, `Request` and `Response`. Their classes have no slots,
# because a `__dict__` is faster to fill.


@frozen(slots=False)
class Limits:
    """The limits of one attempt. None means no limit.

    The transport enforces the first six limits, the core the last three; the core checks
    `max_response` once more, after decompression. If a time runs out,
    `claude_lite.errors.TimedOut` is raised. A reply over one of the `max_...` limits raises
    `claude_lite.errors.ResponseTooLarge`. `claude_lite.core.limits` explains the defaults.

    Attributes:
        connect: Seconds for DNS, TCP and TLS together. Waiting for a free connection does not
            count.
        read: The longest silence, in seconds: while the request is written, before the reply, and
            during the reply.
        total: Seconds for the attempt, to the end of the body, streamed or not.
        max_response: The largest number of bytes of a body that is not streamed. A streamed body
            has no such limit: `max_event` limits each event of a stream.
        max_head: The largest number of bytes of a reply outside its body: all heads, those of 1xx
            replies included, and the trailers. The size lines of chunked encoding do not count.
        max_headers: The largest number of headers in one head.
        max_depth: The largest nesting depth of one JSON text.
        max_values: The largest number of values in one JSON text.
        max_event: The largest number of bytes of one event or line of a stream.

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
    def max_in_memory(self) -> int | None:
        """The largest total size of a stream whose parts are all kept in memory, in bytes."""
        if self.max_event is None or self.max_response is None:
            return None
        return max(self.max_event, self.max_response)


DEFAULT_LIMITS: Final = Limits()


@frozen(slots=False)
class Request:
    """An HTTP request that is ready to be sent.

    A transport adds only the headers `host`, `content-length` and `connection`. It sends no
    cookies, follows no redirects, decompresses nothing, and retries nothing.

    Attributes:
        method: The HTTP method, in upper case.
        url: The whole URL, encoded.
        headers: The headers, by lower-case names.
        body: The body, or a source that yields it in chunks.
        limits: The limits of the attempt that sends this request.

    """

    method: str
    url: str
    headers: Mapping[str, str] = field(repr=repr_headers)
    body: "bytes | BodySource" = field(default=b"", repr=_repr_body)
    limits: Limits = DEFAULT_LIMITS

    @property
    def masked_headers(self) -> dict[str, str]:
        """The headers with a mask in place of each secret value: log these, not `headers`."""
        return mask_values(self.headers)

    def within(self, seconds: float) -> "Request":
        """Copy the request with `limits.total` set to *seconds*."""
        # Copy both `__dict__`s by hand: `attrs.evolve` takes ten times as long.
        limits, request = object.__new__(Limits), object.__new__(Request)
        limits.__dict__.update(self.limits.__dict__, total=seconds)
        request.__dict__.update(self.__dict__, limits=limits)
        return request


@frozen
class RateLimit:
    """The state of one rate limit in a response. A field that the response lacks is None.

    Attributes:
        limit: The largest number of requests or tokens per minute.
        remaining: The requests or tokens that are left. The API rounds tokens to thousands.
        reset: The time when `remaining` is back at `limit`.

    """

    limit: int | None = None
    remaining: int | None = None
    reset: datetime | None = None


@frozen
class RateLimits:
    """The rate limits in force. A limit for which the response has no headers is None.

    The limits `priority_...` belong to the Priority Tier, the limits `fast_...` to fast mode.
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
    """Read the headers `anthropic-ratelimit-*`, `anthropic-priority-*` and `anthropic-fast-*`."""
    found: dict[str, RateLimit] = {}
    for name in (attribute.name for attribute in fields(RateLimits)):
        prefix = "anthropic-" + name.replace("_", "-")
        if not name.startswith(("priority", "fast")):
            prefix = prefix.replace("anthropic-", "anthropic-ratelimit-")
        values = [headers.get(f"{prefix}-{part}") for part in ("limit", "remaining", "reset")]
        if values != [None, None, None]:
            limit, remaining, reset = values
            found[name] = RateLimit(_number(limit), _number(remaining), _time(reset))
    return RateLimits(**found)


def _number(value: str | None) -> int | None:
    try:
        return int(value or "")
    except (ValueError, TypeError):  # `ClaudeError.rate_limits` may bring any type
        return None


def _time(value: str | None) -> datetime | None:
    try:
        moment = datetime.fromisoformat(value or "")
    except (ValueError, TypeError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


@frozen(slots=False)
class Response:
    """An HTTP response of any status. The head of a stream is a `Response` without a body.

    Attributes:
        status: The HTTP status.
        headers: The headers, by lower-case names; repeated headers are joined by ", ".
        body: The whole body. A transport returns the body without decompressing it.

    """

    status: int
    headers: Mapping[str, str] = field(repr=repr_headers)
    body: bytes = field(default=b"", repr=_repr_body)

    @property
    def request_id(self) -> str | None:
        """The API's id for this request (`req_…`). Anthropic's support asks for this id."""
        return self.headers.get("request-id")

    @property
    def organization_id(self) -> str | None:
        """The id of the organization that the credential belongs to."""
        return self.headers.get("anthropic-organization-id")

    @property
    def workspace_id(self) -> str | None:
        """The id of the workspace that the credential belongs to (`wrkspc_…`)."""
        return self.headers.get("anthropic-workspace-id")

    @property
    def rate_limits(self) -> RateLimits:
        """The rate limits in the headers."""
        return rate_limits(self.headers)

    def json(self) -> Any:
        """Return the body, parsed as JSON.

        Integers of more than 64 bits become floats. `claude_lite.core.json_text.loads` keeps every
        digit.

        Raises:
            ValueError: The body is not JSON.

        """
        return orjson.loads(self.body)


@frozen
class Sleep:
    """Wait, then ask the exchange for the next action.

    Attributes:
        seconds: How long to wait.

    """

    seconds: float


@frozen
class Done(Generic[R]):
    """The call has its result: no further action is needed.

    Attributes:
        result: The result of the call.

    """

    result: R


# The head of a streamed response, and the chunks of its body.
HeadAndChunks = tuple[Response, Iterable[bytes]]
AsyncHeadAndChunks = tuple[Response, AsyncIterable[bytes]]


@runtime_checkable
class Transport(Protocol):
    """All that a sync client needs for I/O.

    Waiting (`sleep`) is a part of it, so that a test can use a virtual clock.

    A transport that has its own clock, such as the virtual clock of a test, also has a method
    `monotonic()` with the signature of `Clock`.
    """

    def send(self, request: Request, /) -> Response:
        """Send *request* and return the whole response.

        Many threads call this method at once. A forked child may call it, too, and must not use a
        connection of its parent.

        From status 300 on (`DECISIVE`) the body must not fail the call: if the body is cut,
        malformed or too large, or takes longer than `ERROR_BODY_SECONDS`, return the response with
        the part of the body that came, and close the connection.

        Args:
            request: The request, with the limits of this attempt.

        Returns:
            The response, whatever its status.

        Raises:
            TransportError: The response did not arrive, or arrived only in part. Raise a subclass
                of `TransportError`, never `TransportError` itself.
            UnexpectedResponse: The reply is not HTTP.
            ResponseTooLarge: The reply is larger than a limit in `request.limits`.
            UsageError: The request cannot be sent: a header value has a line break, for example.

        """
        ...

    def stream(self, request: Request, /) -> AbstractContextManager[HeadAndChunks]:
        """Send *request* and yield the head of its response, and the body in chunks.

        If the context ends before the body does, the transport closes the connection. The iterable
        of chunks may have a method `finish()`. The client calls `finish()` after the last event of
        the message, maybe before the end of the body. `finish()` waits up to 0.1 s for the end of
        the body. If the end comes, the connection can be used again.

        The context manager may have a method `stop()`. The client calls `stop()` if a thread closes
        the stream, perhaps while another thread enters the context or waits for a chunk. Then
        this other thread wakes up at once, with an error. A transport without `stop()` lets it wait
        for the next byte, or for a time limit.

        Args:
            request: The request, with the limits of this attempt.

        Returns:
            A context manager that gives the head, and an iterable of the chunks. Entering the
            context and iterating over the chunks raise the same errors as `send`.

        """
        ...

    def sleep(self, seconds: float, /) -> None:
        """Wait for *seconds*."""
        ...

    def close(self) -> None:
        """Close idle connections now, and busy ones when their calls are over.

        The next call opens new ones.
        """
        ...


@runtime_checkable
class AsyncTransport(Protocol):
    """All that an async client needs for I/O: the methods of `Transport` in their async form.

    `send`, `sleep` and `close` are coroutines. `stream` returns an async context manager.
    """

    async def send(self, request: Request, /) -> Response:
        """Send *request* and return the whole response; see `Transport.send`."""
        ...

    def stream(self, request: Request, /) -> AbstractAsyncContextManager[AsyncHeadAndChunks]:
        """Send *request* and yield the head, and the body in chunks; see `Transport.stream`."""
        ...

    async def sleep(self, seconds: float, /) -> None:
        """Wait for *seconds*, without blocking the event loop."""
        ...

    async def close(self) -> None:
        """Close the connections of the running event loop, as `Transport.close` does."""
        ...


@runtime_checkable
class Dialect(Protocol):
    """The translation between the API and another platform, for requests and for streams.

    A dialect is a frozen value. `adapt` and `decode` do no I/O; `sign` may do I/O to get a
    credential. So that `sign` does not block an event loop, a dialect may also have the methods
    `is_ready()` and `prepare()`. If `is_ready()` is false before a call, and the client has no
    credential of its own, an async client calls `prepare()` on a thread. `prepare()` does the I/O,
    and returns "ready". A client with a dialect never sends the API credential that is in the
    environment. `claude_lite.dialects` has the dialects of Bedrock, Vertex AI, Foundry and others.
    """

    @property
    def base_url(self) -> str:
        """The platform's base URL, without a slash at its end. It replaces the API's base URL."""
        ...

    def adapt(self, request: Request, /) -> Request:
        """Turn a request for the API into a request for the platform.

        Args:
            request: The request, built on `base_url`. If the client has a credential, the request
                has the credential in the header that the API reads.

        Raises:
            UsageError: The platform does not have the operation.

        """
        ...

    def sign(self, request: Request, /) -> Request:
        """Add the platform's credential if *request* has none. Called once per attempt.

        Args:
            request: The request, as `adapt` returned it.

        """
        ...

    def decode(self, head: Response, /) -> Callable[[bytes], Iterable[bytes]] | None:
        """Return a function that turns chunks of a stream into bytes of server-sent events.

        Args:
            head: The head of the stream.

        Returns:
            The function, or None if the stream has server-sent events already. Iterating over the
            function's result raises `UnexpectedResponse` if the stream cannot be read.

        """
        ...


Clock = Callable[[], float]
"""A function that returns the seconds since a fixed moment. Only differences count."""
