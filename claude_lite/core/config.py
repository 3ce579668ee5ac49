"""The options of a client, as one frozen value, and the search for its credential.

A `Config` has no connection and does no I/O. Its pickle has no secret. After unpickling, the
credential comes from the environment, or from the function that was given as `api_key` or
`auth_token` (pickle imports the function by its name).
"""

import math
import os
import re
import typing
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from types import NoneType
from typing import Any, Final, Generic, TypedDict, TypeVar, Unpack, cast

from attrs import evolve, field, fields, frozen

from claude_lite.core.credentials import (
    FRAMING_HEADERS,
    Credential,
    Secret,
    bearer,
    checked_credential,
    from_environment,
    header_value,
    mask_headers,
    misplaced,
    words_to_mask,
    wrong_type,
)
from claude_lite.core.retry import RetryPolicy, standard
from claude_lite.core.targets import API_VERSION, DEFAULT_BASE_URL, Target, checked_url
from claude_lite.core.turns import Gate
from claude_lite.errors import CredentialMissing, UsageError
from claude_lite.given.addresses import has_password, header_lines, union_of_betas
from claude_lite.given.refusals import LIVE
from claude_lite.given.spellings import OPTIONS
from claude_lite.wire import DEFAULT_LIMITS, Dialect, Limits, MaskedStr

__all__ = ["Config", "Options"]

T = TypeVar("T")

Observer = Callable[[str, Mapping[str, Any]], None]
"""A function that gets an event's name and fields, on the thread or event loop of the call.

The call waits for the function, so the function has to be fast.
"""


def _to_headers(given: Mapping[str, Any] | None) -> Mapping[str, str]:
    if wrong := FRAMING_HEADERS.intersection(given or ()):
        raise UsageError(f"headers cannot have {min(wrong)!r}: the transport sets this header")
    return {name: header_value(name, v) for name, v in (given or {}).items() if v is not None}


def _to_base_url(given: str | None) -> str:
    name = "base_url" if given else "ANTHROPIC_BASE_URL"
    return checked_url(name, MaskedStr(given or os.environ.get(name) or DEFAULT_BASE_URL))


def _custom_headers() -> Mapping[str, str]:
    name = "ANTHROPIC_CUSTOM_HEADERS"
    with suppress(UsageError):
        headers = header_lines(os.environ.get(name, ""))
        if headers is not None:
            return _to_headers(mask_headers(headers))
    headers = None  # a traceback may show local variables
    raise UsageError(f"{name} has a line that is not `Name: value`, or not a valid header")


def _to_betas(given: str | Sequence[str]) -> tuple[str, ...]:
    flags = (given,) if isinstance(given, str) else tuple(given)
    if wrong := [flag for flag in flags if not isinstance(flag, str)]:
        raise wrong_type("each flag in betas", "a str", wrong[0])
    return tuple(map(str, flags))


def _to_governor(given: Gate | str | None) -> Gate | str | None:
    if given == "auto":
        given = from_environment("CLAUDE_LITE_GOVERNOR") or "auto"
        given = None if given == "none" else given
    if not isinstance(given, str) or given in {"auto", "local"}:
        return str(given) if isinstance(given, str) else given
    if "://" not in given:
        raise UsageError('governor has to be "local", redis://host[:port], a Governor, or None')
    return MaskedStr(given)  # it may have a password


def _check_priority(_: object, __: object, value: str) -> None:
    if value not in {"interactive", "background"}:
        raise UsageError('priority has to be "interactive" or "background"')


def _check_positive(_: object, attribute: Any, value: float | None) -> None:
    if value is not None and not 0 < value < math.inf:
        name = attribute.name
        raise UsageError(f"{name} is {value}: it has to be positive, or None for no limit")


class CachedProperty(Generic[T]):
    """A property that is computed at its first use and then kept in the instance's `__dict__`.

    This class has no lock. Up to Python 3.11, `functools.cached_property` uses one lock for all
    instances. With that lock, a slow `api_key` function would block all clients, and a forked child
    could wait for ever.
    """

    def __init__(self, find: Callable[[Any], T]) -> None:
        self._find = find
        self.__doc__ = find.__doc__

    def __get__(self, instance: object, owner: type) -> T:
        found = self._find(instance)
        return cast("T", instance.__dict__.setdefault(self._find.__name__, found))


class Options(TypedDict, total=False):
    """The types of a client's options, as keyword arguments. `Config` explains each option."""

    api_key: Credential
    auth_token: Credential
    base_url: str | None
    dialect: Dialect | None
    api_version: str
    betas: str | Sequence[str]
    headers: Mapping[str, Any] | None
    retry: RetryPolicy
    timeout: float | None
    connect_timeout: float | None
    content_timeout: float | None
    deadline: float | None
    max_response: int | None
    max_event: int | None
    max_head: int | None
    max_headers: int | None
    max_depth: int | None
    max_values: int | None
    observe: Observer | None
    governor: Gate | str | None
    priority: str


_TYPES: Final[dict[str, tuple[Any, ...]]] = {
    name: tuple(typing.get_origin(kind) or kind for kind in typing.get_args(hint) or (hint,))
    for name, hint in Options.__annotations__.items()
}
_WANTED: Final = {"retry": "standard(), never() or defer()", "headers": "a dict"}


def hide_credentials(options: dict[str, Any]) -> None:
    """Mask the texts in *options* where they are: no traceback shows a credential from now on.

    Raises:
        UsageError: An option is unknown, or has a wrong type.

    """
    if unknown := options.keys() - _TYPES.keys():
        options.clear()
        advice = "; ".join(OPTIONS[name] for name in sorted(unknown & OPTIONS.keys()))
        names = ", ".join(sorted(unknown))
        raise UsageError(f"unknown option: {names}", advice=advice or "`Config` lists the options.")
    options.update({name: _hidden(name, value) for name, value in options.items()})
    for value in options.values():
        if isinstance(value, UsageError):
            raise value


def _hidden(name: str, value: Any) -> Any:
    """Mask the text in an option. In place of a value of a wrong type, return the error."""
    kinds = (*_TYPES[name], int) if float in _TYPES[name] else _TYPES[name]
    if isinstance(value, (bytes, bool)) or not isinstance(value, kinds):
        names = " | ".join("None" if kind is NoneType else kind.__name__ for kind in _TYPES[name])
        return wrong_type(name, _WANTED.get(name, names), value)
    if isinstance(value, Mapping):
        return mask_headers(value)
    if name in {"api_version", "betas"} and LIVE.search(str(value)):
        return misplaced(name)
    if isinstance(value, str):
        return Secret(value) if Secret in kinds else MaskedStr(value)
    return value


@frozen(kw_only=True, slots=False, repr=False)
class Config:
    """The options of a client. Times are in seconds, sizes in bytes; None means no limit.

    The `max_...` options limit the memory and the time of a reply. A reply over a limit raises
    `ResponseTooLarge`, which names the option. With the defaults a reply takes at most 120 MB and
    blocks an event loop for at most a tenth of a second (`claude_lite.core.limits` says why). Of
    the body of an error only the first megabyte is used.

    Attributes:
        api_key: An API key, or a function that returns a key. The default is the key in
            ANTHROPIC_API_KEY, or else the token in ANTHROPIC_AUTH_TOKEN. A function is called
            before the first request, and again after a 401: once per call, and once for all calls
            that wait. Derived clients share the key. A plain function runs on a thread of its own;
            an async function, which only an `AsyncClient` takes, runs on the event loop.
        auth_token: A bearer token in place of `api_key`, or a function that returns a token.
        base_url: The address of the API. The default is ANTHROPIC_BASE_URL, or else the public API.
            One `/v1` or `/v1/messages` at its end is cut, because operations add it. If the paths
            of a gateway begin with `/v1/v1/`, write both.
        api_version: The value of the header `anthropic-version`.
        betas: The beta flags for every request: a string, or a sequence of strings. The flags in
            `headers` are added to them.
        headers: More headers for every request. A header with the value None is left out. Without a
            dialect, the lines `Name: value` of ANTHROPIC_CUSTOM_HEADERS are added; `headers` win.
        retry: The retry policy: `standard()`, `never()` or `defer()`.
        timeout: The longest time without a byte from the server, before and during a reply.
        connect_timeout: The time for DNS, TCP and TLS together.
        content_timeout: The longest time without content in a stream. Pings are not content.
        deadline: The time for the whole call, with all its attempts and the waits between them.
        max_response: The largest size of a body that is completely in memory. For a compressed body
            the limit applies to its compressed size and to its decompressed size.
        max_event: The largest size of one event or line of a stream. A whole streamed message, and
            a download that is read in one piece, are limited by the larger of `max_event` and
            `max_response`. In events, long text that is not plain ASCII counts six times, because
            such text may take six times its size in memory.
        max_head: The largest size of a reply outside its body: all heads (also those of 1xx
            replies) and the trailers. The size lines of chunked encoding do not count.
        max_headers: The largest number of headers in one head.
        max_depth: The largest nesting depth of JSON. Python cannot compare, copy or pickle many
            more levels.
        max_values: The largest number of values (numbers, texts, lists, objects) in one reply or
            event: two bytes of JSON can take 100 bytes of memory. All events of a collected stream
            together may have three times this number.
        observe: A function that gets the name and the fields of each log event of a call
            (`claude_lite.core.logs`). The call waits for the function. If the function raises an
            exception, the exception is reported as a warning, and the call goes on.
        governor: What holds a call until the rate limit has room for it (`claude_lite.governor`):
            "local" (one per process, for all its clients), the URL of a Redis that many processes
            share (redis://...), a `Governor`, or None. The default is CLAUDE_LITE_GOVERNOR (where
            "none" means None), or else "auto": "local" for transports that reach a server, and None
            for recordings, stubs, and an emulator without limits.
        priority: "interactive", or "background" for a call that lets the others go first.
        dialect: Another platform, from `claude_lite.dialects`. It sets `base_url`. Only
            the platform's own credentials are then read from the environment.

    """

    api_key: "Secret | Callable[[], Any] | None" = None
    auth_token: "Secret | Callable[[], Any] | None" = None
    base_url: str = field(default=None, converter=_to_base_url)
    api_version: str = field(default=API_VERSION, converter=str)
    betas: tuple[str, ...] = field(default=(), converter=_to_betas)
    headers: Mapping[str, str] = field(factory=dict, converter=_to_headers)
    retry: RetryPolicy = field(factory=standard)
    timeout: float | None = field(default=600.0, validator=_check_positive)
    connect_timeout: float | None = field(default=10.0, validator=_check_positive)
    content_timeout: float | None = field(default=600.0, validator=_check_positive)
    deadline: float | None = field(default=3600.0, validator=_check_positive)
    max_response: int | None = field(default=DEFAULT_LIMITS.max_response, validator=_check_positive)
    max_event: int | None = field(default=DEFAULT_LIMITS.max_event, validator=_check_positive)
    max_head: int | None = field(default=DEFAULT_LIMITS.max_head, validator=_check_positive)
    max_headers: int | None = field(default=DEFAULT_LIMITS.max_headers, validator=_check_positive)
    max_depth: int | None = field(default=DEFAULT_LIMITS.max_depth, validator=_check_positive)
    max_values: int | None = field(default=DEFAULT_LIMITS.max_values, validator=_check_positive)
    observe: Observer | None = None
    governor: "Gate | str | None" = field(default="auto", converter=_to_governor)
    priority: str = field(default="interactive", validator=_check_priority)
    dialect: Dialect | None = None

    def __init__(self, **options: Unpack[Options]) -> None:
        hide_credentials(cast("dict[str, Any]", options))
        set_up = self.__attrs_init__  # type: ignore[attr-defined]  # of attrs
        set_up(**options)

    def __attrs_post_init__(self) -> None:
        if self.dialect is not None:
            url = checked_url("the base_url of the dialect", self.dialect.base_url)
            object.__setattr__(self, "base_url", url)
        in_headers = self.headers.pop("anthropic-beta", "")  # type: ignore[attr-defined]  # a dict of our own
        object.__setattr__(self, "betas", union_of_betas(*self.betas, in_headers))
        if self.api_key is not None and self.auth_token is not None:
            raise UsageError("give api_key or auth_token, not both: the API takes one credential")

    def with_options(self, **changes: Any) -> "Config":
        """Copy the configuration with some options changed.

        Args:
            **changes: Options by name. `headers` are merged with the present headers; the value
                None removes a header. `betas` are added to the present flags; the header
                `anthropic-beta` with the value None removes those first. A new `api_key` removes
                `auth_token`, and the reverse.

        Raises:
            UsageError: An option is unknown, or has an invalid value.

        """
        hide_credentials(changes)
        betas = self.betas
        if "headers" in changes:
            headers = changes["headers"] or {}
            if headers.get("anthropic-beta", "") is None:
                betas = ()
            changes["headers"] = {**self.headers, **headers}
        changes["betas"] = (*betas, *_to_betas(changes.get("betas", ())))
        for new, old in (("api_key", "auth_token"), ("auth_token", "api_key")):
            if changes.get(new) is not None:
                changes.setdefault(old, None)
        if "dialect" in changes and changes["dialect"] is None:  # go back to the API's own URL
            changes.setdefault("base_url", None)
        _check_dialect(changes, changes.get("dialect", self.dialect))
        return evolve(self, **changes)

    @classmethod
    def from_options(cls, options: dict[str, Any]) -> "Config":
        """Make a configuration from *options* by name, and mask the credentials in *options*."""
        hide_credentials(options)
        _check_dialect(options, options.get("dialect"))
        return cls(**options)

    @CachedProperty
    def origin(self) -> str:
        """The scheme, host and port of `base_url`."""
        return "/".join(self.base_url.split("/")[:3]).lower()

    @CachedProperty
    def limits(self) -> Limits:
        """The limits of each attempt."""
        return Limits(
            connect=self.connect_timeout,
            read=self.timeout,
            total=self.deadline,
            max_response=self.max_response,
            max_head=self.max_head,
            max_headers=self.max_headers,
            max_depth=self.max_depth,
            max_values=self.max_values,
            max_event=self.max_event,
        )

    @CachedProperty
    def credential_function(self) -> "tuple[str, Callable[[], Any]] | None":
        """The option that is a function, by name, and the function; None if there is none."""
        if callable(self.auth_token):
            return "auth_token", self.auth_token
        if callable(self.api_key) and not {"x-api-key", "authorization"} & self.headers.keys():
            return "api_key", self.api_key
        return None

    @CachedProperty
    def account(self) -> tuple[str, str]:
        """The origin, and the name of the function that gives the credential ("" without one).

        A function within another, a lambda and a method have no name here: each may give a
        credential of its own.
        """
        option, function = self.credential_function or ("", None)
        name = getattr(function, "__qualname__", "<")
        if "<" in name or hasattr(function, "__self__"):
            return self.origin, ""
        return self.origin, f"{option} {function.__module__}.{name}"

    def headers_of(self, credential: MaskedStr) -> dict[str, str]:
        """Return the headers for a *credential* that the credential function returned."""
        if callable(self.auth_token):
            return bearer(credential)
        return {"x-api-key": checked_credential("api_key", credential)}

    @CachedProperty
    def target(self) -> Target:
        """The address and the headers that all requests of the client share, for `Operation.build`.

        Raises:
            CredentialMissing: Neither an option nor the environment gives a credential.

        """
        headers: dict[str, str] = {
            "anthropic-version": self.api_version,
            **(_custom_headers() if self.dialect is None else {}),
            **self.headers,
        }
        headers |= {} if self.credential_function else self._credential(headers)
        url = self.base_url
        if self.dialect is None:
            url = re.sub("/v1(/messages)?$", "", url)  # operations bring this part
        return Target(url, headers, self.betas, self.limits)

    def _credential(self, headers: Mapping[str, str]) -> dict[str, str]:
        given = self.api_key is not None or self.auth_token is not None
        dialect_has_it = self.dialect is not None and not given  # it adds the platform's credential
        if dialect_has_it or any(name in headers for name in ("x-api-key", "authorization")):
            return {}
        if self.auth_token is not None:
            return bearer(self.auth_token.reveal())  # type: ignore[union-attr]  # not callable here
        if self.api_key is not None:
            key = self.api_key.reveal()  # type: ignore[union-attr]  # not callable here
            return {"x-api-key": checked_credential("api_key", key)}
        if key := from_environment("ANTHROPIC_API_KEY"):
            return {"x-api-key": checked_credential("ANTHROPIC_API_KEY", key)}
        if token := from_environment("ANTHROPIC_AUTH_TOKEN"):
            return bearer(token)
        raise CredentialMissing(
            "no API key: give api_key=... or auth_token=..., or set ANTHROPIC_API_KEY",
            advice="If the client was unpickled: keys are not pickled, so set the variable here.",
        )

    def words_to_mask(self) -> list[MaskedStr]:
        """Return the parts of the credential that are masked in replies and errors."""
        try:
            return self._words_to_mask
        except UsageError:
            return []

    @CachedProperty
    def _words_to_mask(self) -> list[MaskedStr]:
        values = [value for value in self.target.headers.values() if isinstance(value, MaskedStr)]
        return [word for value in values for word in words_to_mask(value)]

    def __getstate__(self) -> dict[str, Any]:
        state = {a.name: getattr(self, a.name) for a in fields(Config)}
        secret = {k for k, v in mask_headers(self.headers).items() if isinstance(v, MaskedStr)}
        state["headers"] = {k: v for k, v in self.headers.items() if k not in secret}
        if isinstance(self.governor, MaskedStr):
            state["governor"] = "auto" if has_password(self.governor) else str(self.governor)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, governor=_to_governor(state["governor"]))

    def __repr__(self) -> str:
        # attrs sets the options in order. If one is invalid, a traceback may show this object
        # before the options after it are set.
        known = self.__dict__
        shown = (a.name for a in fields(Config) if a.name in known)
        return f"Config({', '.join(f'{name}={known[name]!r}' for name in shown)})"

    def __copy__(self) -> "Config":
        return self

    def __deepcopy__(self, memo: object) -> "Config":
        return self


def _check_dialect(options: Mapping[str, Any], dialect: object) -> None:
    if dialect is not None and options.get("base_url") is not None:
        raise UsageError(
            "the dialect sets base_url: give base_url to the dialect, not to the client"
        )
