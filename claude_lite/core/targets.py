"""The address of a request: a `Target` for all requests of a client, and encoded paths and queries.

A value in a path that would lead to another endpoint is refused.
"""

import sys
from collections.abc import Iterable, Mapping
from typing import Any, Final

from attrs import field, frozen

from claude_lite.core.credentials import header_value, mask_headers
from claude_lite.errors import UsageError
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


def _with_standard(given: Mapping[str, str]) -> dict[str, str]:
    headers = {name: header_value(name, value) for name, value in mask_headers(given).items()}
    return {**STANDARD_HEADERS, **headers}


@frozen(slots=False, repr=False)
class Target:
    """What all requests of a client have in common, for `Operation.build`.

    `Config.target` is the target of a client. A target made by hand builds requests without a
    client: `Target(headers={"x-api-key": key})`.

    Attributes:
        base_url: The address to which paths are added, without a slash at its end.
        headers: The headers of a request without a body. Names become lower-case. The standard
            headers (`accept`, `anthropic-version`, ...) are added if they are missing.
        betas: The beta flags in `headers`, in order, to which an operation adds its own flags.
        limits: The limits of each attempt.
        json_headers: `headers` with the content type of a JSON body. It cannot be given.

    """

    base_url: str = DEFAULT_BASE_URL
    headers: Mapping[str, str] = field(factory=dict, converter=_with_standard)
    betas: tuple[str, ...] = ()
    limits: Limits = DEFAULT_LIMITS
    json_headers: Mapping[str, str] = field(init=False, eq=False)

    def __attrs_post_init__(self) -> None:
        self.__dict__["json_headers"] = {**self.headers, "content-type": JSON_TYPE}

    def __repr__(self) -> str:
        headers = self.__dict__.get(
            "headers", {}
        )  # missing in the traceback of an error about them
        return f"Target({self.base_url!r}, {repr_headers(headers)})"


def path_segment(name: str, value: object) -> str:
    """Encode an id for a path.

    Args:
        name: The name of the field, for the error.
        value: The id.

    Raises:
        UsageError: The value is not an id, or would lead to another endpoint.

    """
    text = str(value)
    plain = text.lower().replace("%2e", ".")
    # Some servers ignore what follows a ";" in a segment before they look for dots in it.
    if not isinstance(value, str) or plain.partition(";")[0] in {"", ".", ".."}:
        raise UsageError(f"{name} has to be an id, not {value!r}")
    if any(c in text for c in "/\\?#") or any(c <= " " or c == "\x7f" for c in text):
        raise UsageError(f"{name} has characters that an id cannot have: {value!r}")
    if "%2f" in plain or "%5c" in plain or "%2e" in text.lower():
        raise UsageError(f"{name} has escapes that an id cannot have: {value!r}")
    return _quoted(text, "-._~!$&'()*+,;=:@")


def with_query(path: str, query: Mapping[str, Any]) -> str:
    """Add *query* to *path*, encoded. A value that is None, or an empty list, is left out."""
    text = query_string(query)
    return f"{path}{'&' if '?' in path else '?'}{text}" if text else path


def query_string(query: Mapping[str, Any]) -> str:
    """Encode a query as the API reads it: `a[]=1&a[]=2`, `a[b]=1`, `true`; None is left out."""
    return "&".join(
        f"{_quoted(key, '[]')}={_quoted(text, '-._~')}" for key, text in _pairs("", query)
    )


def _quoted(text: str, safe: str) -> str:
    from urllib.parse import quote  # slow to import, and most calls have nothing to quote

    try:
        return quote(text, safe=safe)
    except UnicodeEncodeError:
        raise UsageError(f"{text!r} is not Unicode text: it has half a surrogate pair") from None


def _pairs(prefix: str, value: Any) -> Iterable[tuple[str, str]]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _pairs(f"{prefix}[{key}]" if prefix else key, item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _pairs(f"{prefix}[]", item)
    elif isinstance(value, bool):
        yield prefix, str(value).lower()
    elif value is not None:
        yield prefix, value.isoformat() if hasattr(value, "isoformat") else str(value)
