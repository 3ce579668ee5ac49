"""Which proxy a request goes through: the option `proxy`, or what the environment says.

The one place for all transports. It opens no connection and sends nothing. `choose_proxy` and
`read_proxy` are pure; `find_proxy` alone looks at the environment. The URL of a proxy may hold
a password: no error shows the URL, and no frame that raises an error holds it unmasked.
"""

import re
from base64 import b64encode
from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import unquote

from attrs import frozen

from claude_lite.errors import UsageError
from claude_lite.wire import MaskedStr

_AUTHORITY: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[\w-][\w.-]*)(?::([0-9]{1,5}))?")
_PORTS: Final = {"http": 80, "https": 443}
_MAX_PORT: Final = 65535
_KNOWN: Final = frozenset({"ftp", "https", "socks", "socks4", "socks4a", "socks5", "socks5h"})
_FORM: Final = "http://[user:password@]host[:port]"


@frozen
class Proxy:
    """An HTTP proxy: where it is, and the value of the header that opens it.

    `scheme` is "https" if the connection to the proxy itself is encrypted.
    """

    scheme: str
    host: str
    port: int
    credential: MaskedStr | None = None

    @property
    def url(self) -> str:
        """The URL of the proxy, without its credential."""
        return f"{self.scheme}://{self.host}:{self.port}"


def choose_proxy(
    scheme: str, place: str, proxies: Mapping[str, str], bypasses: Callable[[str], object]
) -> MaskedStr | None:
    """Choose the URL of the proxy for a server, if there is one.

    Args:
        scheme: Of the request's URL, "http" or "https".
        place: Host and port of the server, `host:port`. The port is always there: an entry
            of NO_PROXY may name it.
        proxies: URLs of proxies by scheme; "all" stands for every scheme without one.
        bypasses: Whether a place is to be reached without a proxy.

    """
    url = proxies.get(scheme) or proxies.get("all")
    return MaskedStr(url) if url and not bypasses(place) else None


def read_proxy(url: MaskedStr) -> Proxy | str:
    """Read the URL of a proxy; the scheme may be left out. A text says what is wrong with it.

    A user and a password are percent-decoded. They may contain "@", ":" after the first one,
    and "/" as they are, because passwords are often pasted. This function raises nothing: its
    variables hold the password.
    """
    scheme, slashes, rest = url.partition("://")
    scheme = scheme.lower() if slashes else "http"
    if scheme not in _PORTS:
        return f"{scheme} proxies are not supported" if scheme in _KNOWN else f"it is not {_FORM}"
    userinfo, at, authority = (rest if slashes else url).rstrip("/").rpartition("@")
    parts = _AUTHORITY.fullmatch(authority)
    port = int(parts[2] or _PORTS[scheme]) if parts else 0
    if parts is None or not 0 < port <= _MAX_PORT:
        return f"it is not {_FORM}"
    user, _, password = userinfo.partition(":")
    pair = f"{unquote(user)}:{unquote(password)}".encode("utf-8", "surrogateescape")
    credential = MaskedStr(f"Basic {b64encode(pair).decode()}") if at else None
    return Proxy(scheme, parts[1], port, credential)


def find_proxy(
    scheme: str,
    place: str,
    *,
    proxy: str | None,
    trust_env: bool,
    encrypted: bool = False,
) -> Proxy | None:
    """Find the proxy for a server.

    Args:
        scheme: Of the request's URL, "http" or "https".
        place: Host and port of the server, `host:port`.
        proxy: The option `proxy`: the URL of a proxy for every server, NO_PROXY or not.
        trust_env: The option `trust_env`: without `proxy`, HTTP_PROXY, HTTPS_PROXY, ALL_PROXY
            and NO_PROXY decide, in either case, or else the settings of macOS or Windows.
        encrypted: Whether the transport can encrypt its connection to the proxy itself.

    Raises:
        UsageError: The URL of the proxy cannot be used.

    """
    if proxy is not None:
        source, url = "the option `proxy`", MaskedStr(proxy)
    elif trust_env and (found := _from_environment(scheme, place)):
        source, url = f"{scheme.upper()}_PROXY or ALL_PROXY", found
    else:
        return None
    read = read_proxy(url)
    if isinstance(read, Proxy):
        if encrypted or read.scheme == "http":
            return read
        read = "https proxies are not supported by this transport"
    raise UsageError(
        f"{source} cannot be used: {read}",
        advice=f"Give the proxy as {_FORM}, or pass trust_env=False to use none.",
    )


def _from_environment(scheme: str, place: str) -> MaskedStr | None:
    # Imported late: urllib.request takes as long to import as a whole transport.
    from urllib.request import getproxies, proxy_bypass

    return choose_proxy(scheme, place, getproxies(), proxy_bypass)
