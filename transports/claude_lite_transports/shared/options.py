"""The options of every transport over a network: the same names, defaults and checks.

A wrong option is an error when the transport is made, and not at its first request. No error
shows the value of `proxy`, which may hold a password.
"""

import math
from ssl import SSLContext
from typing import Any, Final

from attrs import frozen

from claude_lite.errors import UsageError
from claude_lite.wire import MaskedStr
from claude_lite_transports.shared.proxies import Proxy, find_proxy

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
    ssl_context: Any,
    proxy: Any,
    trust_env: Any,
    keepalive_timeout: Any,
    max_connections: Any,
    *,
    encrypts_to_proxy: bool = False,
) -> TransportOptions:
    """Check the options of a transport; raises `UsageError`, which names a wrong one."""
    proxy = mask_proxy(proxy)
    # No check for ssl.SSLContext: gevent and truststore put classes of their own in its place.
    if ssl_context is not None and not hasattr(ssl_context, "wrap_bio"):
        raise _wrong("ssl_context", "an ssl.SSLContext or None", ssl_context)
    if isinstance(proxy, UsageError):
        raise proxy
    if not isinstance(trust_env, bool):
        raise _wrong("trust_env", "True or False", trust_env)
    if isinstance(keepalive_timeout, bool) or not isinstance(keepalive_timeout, int | float):
        raise _wrong("keepalive_timeout", "a number of seconds", keepalive_timeout)
    if not 0 <= keepalive_timeout < math.inf:
        raise UsageError(
            f"`keepalive_timeout` has to be finite, and 0 seconds or more: {keepalive_timeout}"
        )
    if max_connections is not None and type(max_connections) is not int:
        raise _wrong("max_connections", "an int or None", max_connections)
    if max_connections is not None and max_connections < 1:
        raise UsageError(f"`max_connections` has to be 1 or more: {max_connections}")
    options = TransportOptions(
        ssl_context,
        proxy,
        trust_env,
        keepalive_timeout,
        max_connections,
        encrypts_to_proxy,
    )
    if proxy is not None:
        options.proxy_for("https", "")
    return options


def mask_proxy(proxy: Any) -> Any:
    """Mask the URL of a proxy: from here on, no traceback that shows variables shows it.

    In place of a value of a wrong type this returns the error, which `check_options` raises.
    """
    if proxy is None or isinstance(proxy, UsageError):
        return proxy
    return MaskedStr(proxy) if isinstance(proxy, str) else _wrong("proxy", "a URL or None", proxy)


def _wrong(name: str, wanted: str, value: object) -> UsageError:
    return UsageError(f"`{name}` has to be {wanted}, not {type(value).__name__}")
