"""Everything that a client is: frozen configuration, and where its credential comes from.

A configuration holds no connection and makes no I/O. It pickles without its secret: the
credential is found again, in the process that unpickles it, where it came from (the
environment, or the importable function that was given).
"""

import functools
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypedDict
from urllib.parse import urlsplit

from attrs import evolve, field, fields, frozen

from claude_lite.errors import CredentialMissing, UsageError
from claude_lite.logs import Observer
from claude_lite.retry import RetryPolicy, standard
from claude_lite.wire import MASK, Limits, MaskedStr

DEFAULT_BASE_URL: Final = "https://api.anthropic.com"
__version__: Final = "0.1.0"
USER_AGENT: Final = f"claude-lite/{__version__} python/{sys.version_info[0]}.{sys.version_info[1]}"
MEGABYTE: Final = 1024 * 1024


class Secret:
    """A value that does not show: not in a repr, a pickle, a copy's pickle, or JSON."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The value itself."""
        return self._value

    def __repr__(self) -> str:
        return f"Secret('{MASK}')"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __reduce__(self) -> tuple[Any, ...]:
        return _forgotten, ()


def _forgotten() -> None:
    """What a secret becomes in a pickle: nothing, so that it is looked up again."""


Credential = str | Secret | Callable[[], Any] | None


def _conceal(value: Credential) -> "Secret | Callable[[], Any] | None":
    return Secret(value) if isinstance(value, str) else value


def header_value(name: str, value: object) -> str:
    """A header's value, refused if it could end the line it is on."""
    text = value if isinstance(value, str) else str(value)
    if not name or any(c <= " " or c in ':"(),/;<=>?@[\\]{}\x7f' or c > "~" for c in name):
        raise UsageError(f"{name!r} cannot be the name of a header")
    if any(c in text for c in "\r\n\0"):
        raise UsageError(f"the value of header {name!r} has a line break or NUL in it")
    try:
        text.encode("latin-1")
    except UnicodeEncodeError:
        raise UsageError(f"the value of header {name!r} is not Latin-1 text") from None
    return text


def _headers(given: Mapping[str, Any] | None) -> Mapping[str, str]:
    return {name.lower(): header_value(name, value) for name, value in (given or {}).items()}


def _base_url(given: str | None) -> str:
    url = (given or os.environ.get("ANTHROPIC_BASE_URL") or DEFAULT_BASE_URL).rstrip("/")
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise UsageError(f"base_url has to be an http(s) URL, not {url!r}")
    if parts.username or parts.query or parts.fragment or any(c <= " " for c in url):
        raise UsageError("base_url has to be scheme, host and path only, with no credential in it")
    return url


def _betas(given: str | Sequence[str]) -> tuple[str, ...]:
    return (given,) if isinstance(given, str) else tuple(given)


def _positive(_: object, attribute: Any, value: float | None) -> None:
    if value is not None and not value > 0:
        raise UsageError(f"{attribute.name} has to be positive, or None for no limit; not {value}")


class Options(TypedDict, total=False):
    """The options of a client by name; `Config` says what they mean."""

    api_key: Credential
    auth_token: Credential
    base_url: str | None
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
    observe: Observer | None


@frozen(kw_only=True, slots=False)
class Config:
    """How calls are made. Times in seconds, sizes in bytes; None is no limit.

    `timeout` is the longest silence, `content_timeout` the longest a stream may bring nothing
    but pings, `deadline` the whole call with its retries and waits.
    """

    api_key: "Secret | Callable[[], Any] | None" = field(default=None, converter=_conceal)
    auth_token: "Secret | Callable[[], Any] | None" = field(default=None, converter=_conceal)
    base_url: str = field(default=None, converter=_base_url)
    api_version: str = "2023-06-01"
    betas: tuple[str, ...] = field(default=(), converter=_betas)
    headers: Mapping[str, str] = field(factory=dict, converter=_headers, repr=False)
    retry: RetryPolicy = field(factory=standard)
    timeout: float | None = field(default=600.0, validator=_positive)
    connect_timeout: float | None = field(default=10.0, validator=_positive)
    content_timeout: float | None = field(default=600.0, validator=_positive)
    deadline: float | None = field(default=3600.0, validator=_positive)
    max_response: int | None = field(default=64 * MEGABYTE, validator=_positive)
    max_event: int | None = field(default=64 * MEGABYTE, validator=_positive)

    observe: Observer | None = None

    def __attrs_post_init__(self) -> None:
        if self.api_key is not None and self.auth_token is not None:
            raise UsageError("give api_key or auth_token, not both: the API takes one credential")

    def with_options(self, **changes: Any) -> "Config":
        """A copy with some options changed; `headers` are added, with None to remove one."""
        if "headers" in changes:
            merged = {**self.headers, **_lowered(changes["headers"])}
            changes["headers"] = {k: v for k, v in merged.items() if v is not None}
        for one, other in (("api_key", "auth_token"), ("auth_token", "api_key")):
            if changes.get(one) is not None:
                changes.setdefault(other, None)
        unknown = changes.keys() - {a.name for a in fields(Config)}
        if unknown:
            raise UsageError(f"no such option: {', '.join(sorted(unknown))}")
        return evolve(self, **changes)

    @functools.cached_property
    def limits(self) -> Limits:
        """What transports have to hold an attempt to."""
        return Limits(self.connect_timeout, self.timeout, self.deadline, self.max_response)

    @property
    def token_provider(self) -> "Callable[[], Any] | None":
        """The function that mints tokens, if there is one."""
        return self.auth_token if callable(self.auth_token) else None

    @functools.cached_property
    def json_headers(self) -> Mapping[str, str]:
        """The headers of a request with a JSON body, made once and shared by all of them."""
        return {**self.bare_headers, "content-type": "application/json"}

    @functools.cached_property
    def bare_headers(self) -> Mapping[str, str]:
        """The headers of a request without a body. Raises `CredentialMissing`."""
        return {
            "accept": "application/json",
            "accept-encoding": "identity",
            "user-agent": USER_AGENT,
            "anthropic-version": header_value("anthropic-version", self.api_version),
            **({"anthropic-beta": ",".join(self.betas)} if self.betas else {}),
            **_mask(self.headers),
            **({} if self.token_provider else self._credential()),
        }

    def _credential(self) -> dict[str, str]:
        if any(name in self.headers for name in ("x-api-key", "authorization")):
            return {}
        if self.auth_token is not None:
            return bearer(self.auth_token.reveal())  # type: ignore[union-attr]  # not callable here
        if self.api_key is not None:
            key = self.api_key() if callable(self.api_key) else self.api_key.reveal()
            return {"x-api-key": _clean("api_key", key)}
        if key := os.environ.get("ANTHROPIC_API_KEY"):
            return {"x-api-key": _clean("ANTHROPIC_API_KEY", key)}
        if token := os.environ.get("ANTHROPIC_AUTH_TOKEN"):
            return bearer(token)
        raise CredentialMissing(
            "no API key: give api_key=... or auth_token=..., or set ANTHROPIC_API_KEY",
            advice="A client that was unpickled has to find its key again; it is never pickled.",
        )

    def secrets(self) -> list[str]:
        """The credential as it is on the wire; to be taken out of what others wrote."""
        try:
            headers = self.bare_headers
        except UsageError:
            return []
        values = [str(v) for v in headers.values() if isinstance(v, MaskedStr)]
        return [value.removeprefix("Bearer ") for value in values]

    def __getstate__(self) -> dict[str, Any]:
        state = {a.name: getattr(self, a.name) for a in fields(Config)}
        state["headers"] = {k: v for k, v in self.headers.items() if k not in SENSITIVE}
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)


SENSITIVE: Final = frozenset({"x-api-key", "api-key", "authorization", "cookie"})


def bearer(token: str) -> dict[str, str]:
    """The header that carries *token*."""
    return {"authorization": MaskedStr(f"Bearer {_clean('auth_token', token)}")}


def _clean(name: str, value: object) -> MaskedStr:
    text = value.strip() if isinstance(value, str) else ""
    if not text or any(not "!" <= c <= "~" for c in text):
        raise UsageError(f"{name} has to be printable ASCII without spaces, and not empty")
    return MaskedStr(text)


def _mask(headers: Mapping[str, str]) -> dict[str, str]:
    return {k: MaskedStr(v) if k in SENSITIVE else v for k, v in headers.items()}


def _lowered(headers: Mapping[str, Any]) -> dict[str, Any]:
    return {name.lower(): value for name, value in headers.items()}
