"""`Target` (base URL, headers and limits of a client), and the encoding of paths and queries.

An id that would change the endpoint, such as "../x", raises `UsageError`.
"""

import sys
from collections.abc import Iterable, Mapping
from typing import Any, Final

from attrs import field, frozen

from claude_lite.core.credentials import header_value, mask_headers
from claude_lite.errors import UsageError
from claude_lite.given.addresses import clean_url, union_of_betas
from claude_lite.given.null import NULL
from claude_lite.wire import DEFAULT_LIMITS, Limits, repr_headers

__all__ = ["Target", "__version__"]

__version__: Final = "0.1.0"

DEFAULT_BASE_URL: Final = "https://api.anthropic.com"
API_VERSION: Final = "2023-06-01"
USER_AGENT: Final = f"claude-lite/{__version__} python/{sys.version_info[0]}.{sys.version_info[1]}"
JSON_TYPE: Final = "application/json"
STANDARD_HEADERS: Final = {
    "accept": JSON_TYPE,
    "accept-encoding": "identity",
    "user-agent": USER_AGENT,
    "anthropic-version": API_VERSION,
}


def checked_url(name: str, given: str) -> str:
    """Return a base URL, cleaned by `clean_url`.

    Raises:
        UsageError: *given* is no base URL. The message shows *name*, and never the URL: the URL may
            contain a password.

    """
    url = clean_url(given)
    if url is None:
        raise UsageError(
            f"{name} has to be http(s)://host[:port][/path], in ASCII, without a query and a"
            " credential: give a credential by api_key or headers"
        )
    return url


@frozen(slots=False, repr=False, init=False)
class Target:
    """The base URL, headers, beta flags and limits that all requests of a client share.

    `client.config.target` is the target of a client. `Operation.build` can also build requests
    without a client: give it `Target(headers={"x-api-key": key})`.

    Attributes:
        base_url: The address to which paths are added, without a slash at its end.
        headers: The headers of a request without a body. Names become lower-case. The standard
            headers (`accept`, `anthropic-version`, ...) are added if they are missing.
        betas: The beta flags, in order. The flags in the header `anthropic-beta` of `headers` are
            added to them, each flag once.
        limits: The limits of each attempt.
        json_headers: `headers` with the content type of a JSON body. Computed, not an argument.

    """

    base_url: str
    headers: Mapping[str, str]
    betas: tuple[str, ...]
    limits: Limits
    json_headers: Mapping[str, str] = field(eq=False)

    def __init__(
        self,
        base_url: str = DEFAULT_BASE_URL,
        headers: Mapping[str, str] | None = None,
        betas: tuple[str, ...] = (),
        limits: Limits = DEFAULT_LIMITS,
    ) -> None:
        headers = mask_headers(headers or {})  # first, because a traceback may show variables
        headers = STANDARD_HEADERS | {k: header_value(k, value) for k, value in headers.items()}
        betas = union_of_betas(*betas, headers.get("anthropic-beta", ""))
        if betas:
            headers["anthropic-beta"] = header_value("anthropic-beta", ",".join(betas))
        self.__dict__.update(base_url=base_url, headers=headers, betas=betas, limits=limits)
        self.__dict__["json_headers"] = {**headers, "content-type": JSON_TYPE}

    def __repr__(self) -> str:
        known = self.__dict__  # empty if `__init__` failed, and a traceback shows this object
        return f"Target({known.get('base_url')!r}, {repr_headers(known.get('headers', {}))})"


def path_segment(name: str, value: object) -> str:
    """Return an id, encoded for a path.

    Args:
        name: The name of the field, for the error.
        value: The id.

    Raises:
        UsageError: The value is not an id, or would change the endpoint.

    """
    text = str(value)
    plain = text.lower().replace("%2e", ".")
    # A segment of dots, or an encoded dot or slash, would lead to another path. Some servers cut a
    # segment at ";", and then read "..;x" as "..".
    if not isinstance(value, str) or not value:
        kind = "empty" if value == "" else type(value).__name__
        raise UsageError(f"{name} has to be an id (a non-empty string), not {kind}")
    if plain.partition(";")[0] in {"", ".", ".."}:
        raise UsageError(f"{name} cannot be {value!r}: this value would change the path")
    if any(c in text for c in "/\\?#") or any(c <= " " or c == "\x7f" for c in text):
        raise UsageError(f"{name} has characters that an id cannot have: {value!r}")
    if "%2f" in plain or "%5c" in plain or "%2e" in text.lower():
        raise UsageError(f"{name} has escapes that an id cannot have: {value!r}")
    return _quoted(text, "-._~!$&'()*+,;=:@")


def with_query(path: str, query: Mapping[str, Any]) -> str:
    """Add *query* to *path*, which may have a query. None and empty lists are left out."""
    text = query_string(query)
    return f"{path}{'&' if '?' in path else '?'}{text}" if text else path


def query_string(query: Mapping[str, Any]) -> str:
    """Return the query, encoded: lists as `a[]=1&a[]=2`, objects as `a[b]=1`, True as `true`.

    Values that are None are left out.
    """
    return "&".join(
        f"{_quoted(key, '[]')}={_quoted(text, '-._~')}" for key, text in _pairs("", query)
    )


def _quoted(text: str, safe: str) -> str:
    from urllib.parse import quote  # slow to import, and most calls have nothing to quote

    try:
        return quote(text, safe=safe)
    except UnicodeEncodeError:
        raise UsageError(
            f"{text!r} cannot be sent as UTF-8: it has half a surrogate pair"
        ) from None


def _pairs(prefix: str, value: Any) -> Iterable[tuple[str, str]]:
    """Yield the pairs of key and text of a nested value."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _pairs(f"{prefix}[{key}]" if prefix else key, item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _pairs(f"{prefix}[]", item)
    elif isinstance(value, bool):
        yield prefix, str(value).lower()
    elif value is NULL:
        raise UsageError(f"{prefix} is NULL: only a JSON body can have null; None leaves it out")
    elif value is not None:
        yield prefix, value.isoformat() if hasattr(value, "isoformat") else str(value)
