"""The options of every transport over a network: the same names, defaults and checks.

A wrong option is an error when the transport is made, and not at its first request. No error
shows the value of `proxy`, which may hold a password.
"""

import functools
import math
from collections.abc import Callable
from ssl import SSLContext
from typing import Any, Final, ParamSpec

from attrs import frozen

from claude_lite.errors import UsageError
from claude_lite.wire import MaskedStr
from claude_lite_transports.shared.proxies import Proxy, find_proxy

P = ParamSpec("P")

KEEPALIVE_TIMEOUT: Final = 50.0
"""Seconds: fewer than the minute after which common load balancers close idle connections."""


@frozen
class TransportOptions:
    """The checked options of a transport.

    Attributes:
        ssl_context: What verifies the certificates of servers; None is the shared default.
        proxy: The URL of the proxy for all requests; None leaves it to `trust_env`.
        trust_env: Whether the environment says which proxies to use.
        keepalive_timeout: Seconds for which an idle connection is kept.
        max_connections: How many connections may be open; None leaves it to the limit of the
            process on open files.
        encrypts_to_proxy: Whether the transport can use a proxy whose URL begins with https.

    """

    ssl_context: SSLContext | None
    proxy: MaskedStr | None
    trust_env: bool
    keepalive_timeout: float
    max_connections: int | None
    encrypts_to_proxy: bool

    def proxy_for(self, scheme: str, place: str) -> Proxy | None:
        """Find the proxy for a server at `host:port`; raises `UsageError` if it is unusable."""
        return find_proxy(
            scheme,
            place,
            proxy=self.proxy,
            trust_env=self.trust_env,
            encrypted=self.encrypts_to_proxy,
        )

    def for_pickle(self) -> dict[str, Any]:
        """Give the arguments that make the transport again.

        Raises:
            TypeError: There is an SSLContext, which has no pickle, or a proxy's password.

        """
        if self.ssl_context is not None:
            raise TypeError("a transport with an `ssl_context` cannot be pickled")
        if self.proxy is not None and "@" in self.proxy:
            raise TypeError("a proxy's password is not pickled: set HTTPS_PROXY, not `proxy`")
        return {
            "proxy": None if self.proxy is None else str(self.proxy),
            "trust_env": self.trust_env,
            "keepalive_timeout": self.keepalive_timeout,
            "max_connections": self.max_connections,
        }


def check_options(
    ssl_context: SSLContext | None,
    proxy: str | None,
    trust_env: bool,  # noqa: FBT001  # as the options of transports, in their order
    keepalive_timeout: float,
    max_connections: int | None,
    *,
    encrypts_to_proxy: bool = False,
) -> TransportOptions:
    """Check the values of options whose types `checking` has checked; raises `UsageError`."""
    if not 0 <= keepalive_timeout < math.inf:
        raise UsageError(
            f"`keepalive_timeout` has to be finite, and 0 seconds or more: {keepalive_timeout}"
        )
    if max_connections is not None and max_connections < 1:
        raise UsageError(f"`max_connections` has to be 1 or more: {max_connections}")
    options = TransportOptions(
        ssl_context,
        None if proxy is None else MaskedStr(proxy),
        trust_env,
        keepalive_timeout,
        max_connections,
        encrypts_to_proxy,
    )
    if proxy is not None:
        options.proxy_for("https", "")
    return options


def checking(init: Callable[P, None]) -> Callable[P, None]:
    """Check the types of a transport's options before its `__init__` has them. A decorator.

    A traceback may show the variables of `__init__`, and an option may be a key, by mistake. So a
    value of a wrong type never gets there: the `UsageError` stands in its place. The URL of a proxy
    gets there masked.
    """

    @functools.wraps(init)
    def checked(*args: P.args, **options: P.kwargs) -> None:
        options.update({name: _checked(name, value) for name, value in options.items()})
        for value in options.values():
            if isinstance(value, UsageError):
                raise value
        init(*args, **options)

    return checked


def _checked(name: str, value: Any) -> Any:
    """Mask the URL of a proxy. In place of a value of a wrong type, return the error."""
    wanted, fits = _TYPES.get(name, ("", None))
    if fits is not None and not fits(value):
        return UsageError(f"`{name}` has to be {wanted}, not {type(value).__name__}")
    return MaskedStr(value) if name == "proxy" and value is not None else value


def _is_int(value: object) -> bool:
    return type(value) is int


_TYPES: Final[dict[str, tuple[str, Callable[[Any], bool]]]] = {
    # No check for ssl.SSLContext: gevent and truststore put classes of their own in its place.
    "ssl_context": ("an ssl.SSLContext or None", lambda v: v is None or hasattr(v, "wrap_bio")),
    "session": ("an aiohttp.ClientSession", lambda v: v is None or hasattr(v, "connector")),
    "proxy": ("a URL or None", lambda v: v is None or isinstance(v, str)),
    "trust_env": ("True or False", lambda v: isinstance(v, bool)),
    "keepalive_timeout": ("a number of seconds", lambda v: _is_int(v) or isinstance(v, float)),
    "max_connections": ("an int or None", lambda v: v is None or _is_int(v)),
    "pool_size": ("an int, 0 or more", _is_int),
}
