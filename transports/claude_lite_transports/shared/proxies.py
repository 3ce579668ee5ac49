"""Which proxy a request goes through: the option `proxy`, or what the environment says.

The one place for all transports. It opens no connection and sends nothing. `is_excepted` and
`read_proxy` are pure; `find_proxy` looks at the environment. The URL of a proxy may hold a
password: no error shows the URL, and no frame that raises an error holds it unmasked.

NO_PROXY is read as curl, Go and requests read it; where they differ, an entry excepts what it
excepts for one of them. A key that goes to a server without a proxy goes to fewer hands.
"""

import os
import re
import socket
import sys
from base64 import b64encode
from contextlib import suppress
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final
from urllib.parse import unquote

from attrs import frozen

from claude_lite.errors import UsageError
from claude_lite.wire import MaskedStr

_AUTHORITY: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[\w-][\w.-]*)(?::([0-9]{1,5}))?")
_PORTS: Final = {"http": 80, "https": 443}
_MAX_PORT: Final = 65535
_MAPPED: Final = 96  # bits before an IPv4 address within IPv6
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


def is_excepted(place: str, no_proxy: str) -> bool:
    """Whether NO_PROXY says that a server is reached without a proxy.

    Entries stand between commas or blanks. An entry is `*`; the name of a host, which stands for
    all names below it, too, with or without a dot or `*.` before it; an address; or a network
    such as `10.0.0.0/8` or `fd00::/8`. A port after a name or an address restricts the entry to
    this port. IPv6 may stand in brackets. An entry that is none of these excepts nothing.

    Args:
        place: Host and port of the server, `host:port`. IPv6 stands in brackets.
        no_proxy: The value of the variable.

    """
    host, _, port = place.rpartition(":")
    name = _plain(host)
    address = _address(name)
    for entry in no_proxy.lower().replace(",", " ").split():
        if entry == "*":
            return True
        wanted, _, its_port = entry.rpartition(":")
        is_name = ":" not in wanted or wanted.endswith("]")  # else it is IPv6 without brackets
        if not (wanted and is_name and its_port.isdecimal()):
            wanted, its_port = entry, port
        if its_port != port:
            continue
        if address is None and f".{name}".endswith(f".{_plain(wanted.removeprefix('*'))}"):
            return True
        if address is not None and (network := _network(wanted)) and address in network:
            return True
    return False


def _plain(host: str) -> str:
    """Write a host without brackets, outer dots and a zone, in lower case and ASCII."""
    name = host.strip("[]").partition("%")[0].strip(".").lower()
    if not name.isascii():
        with suppress(UnicodeError):
            return name.encode("idna").decode()
    return name or " "  # nothing ends with a blank


def _address(name: str) -> IPv4Address | IPv6Address | None:
    """Read an address, in each form that the system reads, such as 127.1."""
    with suppress(ValueError):
        address = ip_address(name)
        return getattr(address, "ipv4_mapped", None) or address
    if name[-1].isdecimal() or "0x" in name:
        with suppress(OSError):
            return IPv4Address(socket.inet_aton(name))
    return None


def _network(entry: str) -> IPv4Network | IPv6Network | None:
    name, slash, length = entry.replace("[", "").replace("]", "").partition("/")
    with suppress(ValueError):
        network = ip_network(f"{_plain(name)}{slash}{length}", strict=False)
        mapped = getattr(network.network_address, "ipv4_mapped", None)
        if mapped is not None and network.prefixlen >= _MAPPED:
            return IPv4Network((mapped, network.prefixlen - _MAPPED), strict=False)
        return network
    return None


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
    # Surrogates that stand for bytes which are not UTF-8, in a variable, can be sent; others not.
    if re.search("[\ud800-\udc7f\udd00-\udfff]", userinfo):
        return "its user or password has half a surrogate pair"
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
        source, url = found
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


def _from_environment(scheme: str, place: str) -> tuple[str, MaskedStr] | None:
    """Return the URL of the proxy for a server, and where the URL comes from."""
    set_by = {kind: _variable(kind) for kind in (scheme, "all", "no")}
    name = next((name for kind in (scheme, "all") if (name := set_by[kind])), None)
    if name is not None:
        no_proxy = os.environ[set_by["no"]] if set_by["no"] else ""
        found = f"the variable {name}", MaskedStr(os.environ[name])
        return None if is_excepted(place, no_proxy) else found
    if sys.platform in ("darwin", "win32") and not any(set_by.values()):  # pragma: no cover
        from urllib.request import getproxies, proxy_bypass  # slow to import

        url = getproxies().get(scheme)
        if url and not proxy_bypass(place):
            return f"the system's proxy for {scheme}", MaskedStr(url)
    return None


def _variable(kind: str) -> str | None:
    """Return the name of the variable that is set; in lower case it is preferred, set or empty.

    HTTP_PROXY is not read within CGI: there it is the header `Proxy` of a request (httpoxy).
    """
    name = f"{kind}_proxy"
    if name not in os.environ:
        name = name.upper()
        if name == "HTTP_PROXY" and "REQUEST_METHOD" in os.environ:
            return None
    return name if os.environ.get(name) else None
