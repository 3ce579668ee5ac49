"""Everything that a client is: frozen configuration, and where its credential comes from.

A configuration holds no connection and makes no I/O. It pickles without its secret: the
credential is found again, in the process that unpickles it, where it came from (the
environment, or the importable function that was given).
"""

import math
import os
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Generic, TypedDict, TypeVar, cast

from attrs import evolve, field, fields, frozen

from claude_lite.core.credentials import (
    Credential,
    Secret,
    bearer,
    clean,
    conceal,
    concealed,
    from_environment,
    header_value,
    masked,
    secret_words,
)
from claude_lite.core.logs import Observer
from claude_lite.core.retry import RetryPolicy, standard
from claude_lite.core.spellings import ELSEWHERE
from claude_lite.core.targets import API_VERSION, DEFAULT_BASE_URL, Target
from claude_lite.errors import CredentialMissing, UsageError
from claude_lite.wire import DEFAULT_LIMITS, Dialect, Limits, MaskedStr, is_secret_header

__all__ = ["Config", "Options"]

T = TypeVar("T")


_BASE_URL: Final = re.compile(
    r"https?://(\[[0-9A-Fa-f:.]+\]|[\w.-]+)(:[0-9]{1,5})?(/[\w.~%!$&'()*+,;=:@/-]*)?", re.ASCII
)


def _headers(given: Mapping[str, Any] | None) -> Mapping[str, str]:
    headers = masked(given or {})
    return {name: header_value(name, v) for name, v in headers.items() if v is not None}


def _base_url(given: str | None) -> str:
    url = (given or os.environ.get("ANTHROPIC_BASE_URL") or DEFAULT_BASE_URL).strip().rstrip("/")
    if not _BASE_URL.fullmatch(url):  # it is not shown: there may be a password in it
        raise UsageError(
            "base_url (or ANTHROPIC_BASE_URL) has to be http(s)://host[:port][/path],"
            " in ASCII, with no credential and no query in it"
        )
    return url


def _betas(given: str | Sequence[str]) -> tuple[str, ...]:
    return (given,) if isinstance(given, str) else tuple(given)


def _positive(_: object, attribute: Any, value: float | None) -> None:
    if value is not None and not 0 < value < math.inf:
        raise UsageError(f"{attribute.name} has to be positive, or None for no limit; not {value}")


def _policy(_: object, __: object, value: object) -> None:
    if not isinstance(value, RetryPolicy):
        raise UsageError("retry has to be a policy: standard(), never() or defer()")


class _Kept(Generic[T]):
    """A property that is found out at its first use, and kept.

    There is no lock, as `functools.cached_property` has one up to Python 3.11, for all instances
    together: a slow `api_key` function would hold up all clients, and a forked child for ever.
    """

    def __init__(self, find: Callable[[Any], T]) -> None:
        self._find = find
        self.__doc__ = find.__doc__

    def __get__(self, instance: object, owner: type) -> T:
        found = self._find(instance)
        return cast("T", instance.__dict__.setdefault(self._find.__name__, found))


class Options(TypedDict, total=False):
    """The options of a client by name; `Config` says what they mean."""

    api_key: Credential
    auth_token: Credential
    base_url: str | None
    dialect: Dialect | None
    api_version: str
    betas: str | Sequence[str]
    headers: Mapping[str, Any]
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


@frozen(kw_only=True, slots=False, repr=False)
class Config:
    """How calls are made. Times in seconds, sizes in bytes; None is no limit.

    `timeout` is the longest silence, `content_timeout` the longest a stream may bring nothing
    but pings, `deadline` the whole call with its retries and waits. With a `dialect` (another
    platform, of `claude_lite.dialects`) `base_url` is its own, and no credential in the
    environment is sent but that platform's.

    What a reply may cost is bounded, and past a bound is `ResponseTooLarge`, which names it:

    - `max_response`: a body that is held whole, as it came and decompressed.
    - `max_event`: one event or line of a stream; unless `max_response` is more, the message
      that events come to, and a download that is not taken piece by piece. Of events, text that
      is not plain ASCII counts six times, as it may in memory.
    - `max_head`: all that is neither body nor its size, interim replies and trailers included.
    - `max_headers`: the number of headers in a head.
    - `max_depth`: the levels of JSON. Python cannot compare, copy or pickle many more.
    - `max_values`: the numbers, texts, lists and objects in one reply or event, since a byte of
      JSON can stand for fifty in memory. The events of a collected stream may have three times
      that together.

    By default no reply costs more than 120 MB, or holds an event loop for over a tenth of a
    second. Of an error's body the first megabyte is read; its status says enough.
    """

    api_key: "Secret | Callable[[], Any] | None" = field(default=None, converter=concealed)
    auth_token: "Secret | Callable[[], Any] | None" = field(default=None, converter=concealed)
    base_url: str = field(default=None, converter=_base_url)
    api_version: str = API_VERSION
    betas: tuple[str, ...] = field(default=(), converter=_betas)
    headers: Mapping[str, str] = field(factory=dict, converter=_headers)
    retry: RetryPolicy = field(factory=standard, validator=_policy)
    timeout: float | None = field(default=600.0, validator=_positive)
    connect_timeout: float | None = field(default=10.0, validator=_positive)
    content_timeout: float | None = field(default=600.0, validator=_positive)
    deadline: float | None = field(default=3600.0, validator=_positive)
    max_response: int | None = field(default=DEFAULT_LIMITS.max_response, validator=_positive)
    max_event: int | None = field(default=DEFAULT_LIMITS.max_event, validator=_positive)
    max_head: int | None = field(default=DEFAULT_LIMITS.max_head, validator=_positive)
    max_headers: int | None = field(default=DEFAULT_LIMITS.max_headers, validator=_positive)
    max_depth: int | None = field(default=DEFAULT_LIMITS.max_depth, validator=_positive)
    max_values: int | None = field(default=DEFAULT_LIMITS.max_values, validator=_positive)
    observe: Observer | None = None
    dialect: Dialect | None = None

    def __attrs_post_init__(self) -> None:
        if self.dialect is not None:
            object.__setattr__(self, "base_url", _base_url(self.dialect.base_url))
        if self.api_key is not None and self.auth_token is not None:
            raise UsageError("give api_key or auth_token, not both: the API takes one credential")

    def with_options(self, **changes: Any) -> "Config":
        """A copy with some options changed; `headers` are added, with None to remove one."""
        conceal(changes)
        if "headers" in changes:
            changes["headers"] = {**self.headers, **changes["headers"]}
        for one, other in (("api_key", "auth_token"), ("auth_token", "api_key")):
            if changes.get(one) is not None:
                changes.setdefault(other, None)
        if changes.get("dialect", self) is None:
            changes.setdefault("base_url", None)
        _check_names(changes, changes.get("dialect", self.dialect))
        return evolve(self, **changes)

    @classmethod
    def of(cls, options: dict[str, Any]) -> "Config":
        """The configuration of a client with these *options*, whose credentials get hidden."""
        conceal(options)
        _check_names(options, options.get("dialect"))
        return cls(**options)

    @_Kept
    def origin(self) -> str:
        """Scheme, host and port of `base_url`."""
        return "/".join(self.base_url.split("/")[:3]).lower()

    @_Kept
    def limits(self) -> Limits:
        """What each attempt is held to."""
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

    @property
    def token_provider(self) -> "Callable[[], Any] | None":
        """The function that mints tokens, if there is one."""
        return self.auth_token if callable(self.auth_token) else None

    @_Kept
    def target(self) -> Target:
        """What all requests have in common; an operation's `build` takes it.

        Raises:
            CredentialMissing: Neither an option nor the environment gives a credential.

        """
        headers = {
            "anthropic-version": self.api_version,
            **({"anthropic-beta": ",".join(self.betas)} if self.betas else {}),
            **self.headers,
            **({} if self.token_provider else self._credential()),
        }
        return Target(self.base_url, headers, self.betas, self.limits)

    def _credential(self) -> dict[str, str]:
        given = self.api_key is not None or self.auth_token is not None
        own = self.dialect is not None and not given  # the dialect finds one of its own
        if own or any(name in self.headers for name in ("x-api-key", "authorization")):
            return {}
        if self.auth_token is not None:
            return bearer(self.auth_token.reveal())  # type: ignore[union-attr]  # not callable here
        if isinstance(self.api_key, Secret):
            return {"x-api-key": clean("api_key", self.api_key.reveal())}
        if self.api_key is not None:
            return {"x-api-key": clean("api_key", self.api_key())}
        if key := from_environment("ANTHROPIC_API_KEY"):
            return {"x-api-key": clean("ANTHROPIC_API_KEY", key)}
        if token := from_environment("ANTHROPIC_AUTH_TOKEN"):
            return bearer(token)
        raise CredentialMissing(
            "no API key: give api_key=... or auth_token=..., or set ANTHROPIC_API_KEY",
            advice="A key is never pickled: who unpickles a client has to have one of its own.",
        )

    def secrets(self) -> list[MaskedStr]:
        """The credential as it is on the wire; to be taken out of what others wrote."""
        try:
            return self._secrets
        except UsageError:
            return []

    @_Kept
    def _secrets(self) -> list[MaskedStr]:
        values = [value for value in self.target.headers.values() if isinstance(value, MaskedStr)]
        return [word for value in values for word in secret_words(value)]

    def __getstate__(self) -> dict[str, Any]:
        state = {a.name: getattr(self, a.name) for a in fields(Config)}
        state["headers"] = {k: v for k, v in self.headers.items() if not is_secret_header(k)}
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)

    def __repr__(self) -> str:
        known = self.__dict__  # not all are, in the traceback of an error in one of them
        shown = (a.name for a in fields(Config) if a.name in known)
        return f"Config({', '.join(f'{name}={known[name]!r}' for name in shown)})"

    def __copy__(self) -> "Config":
        return self

    def __deepcopy__(self, memo: object) -> "Config":
        return self


def _check_names(options: Mapping[str, Any], dialect: object) -> None:
    unknown = options.keys() - {a.name for a in fields(Config)}
    if unknown:
        advice = "; ".join(ELSEWHERE[name] for name in sorted(unknown & ELSEWHERE.keys()))
        raise UsageError(f"no such option: {', '.join(sorted(unknown))}", advice=advice or None)
    if dialect is not None and options.get("base_url") is not None:
        raise UsageError("give the base_url to the dialect: with one, the client has none")
