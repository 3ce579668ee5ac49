"""Paths and queries, encoded as the API reads them; what would lead elsewhere is refused."""

from collections.abc import Iterable, Mapping
from typing import Any

from claude_lite.errors import UsageError


def path_segment(name: str, value: object) -> str:
    """Encode an id for a path; raises `UsageError` for one that would lead elsewhere."""
    text = str(value)
    plain = text.lower().replace("%2e", ".")
    # Some servers cut a segment off at its first ";" before they look for dots in it.
    if not isinstance(value, str) or plain.partition(";")[0] in {"", ".", ".."}:
        raise UsageError(f"{name} has to be an id, not {value!r}")
    if any(c in text for c in "/\\?#") or any(c <= " " or c == "\x7f" for c in text):
        raise UsageError(f"{name} has characters in it that no id has: {value!r}")
    if "%2f" in plain or "%5c" in plain or "%2e" in text.lower():
        raise UsageError(f"{name} has escapes in it that no id has: {value!r}")
    return _quoted(text, "-._~!$&'()*+,;=:@")


def with_query(path: str, query: Mapping[str, Any]) -> str:
    """Add *query* to *path*; what is None, or an empty list, is left out."""
    text = query_string(query)
    return f"{path}{'&' if '?' in path else '?'}{text}" if text else path


def query_string(query: Mapping[str, Any]) -> str:
    """Encode a query as the API reads it: `a[]=1&a[]=2`, `a[b]=1`, `true`; None is left out."""
    return "&".join(
        f"{_quoted(key, '[]')}={_quoted(text, '-._~')}" for key, text in _pairs("", query)
    )


def _quoted(text: str, safe: str) -> str:
    from urllib.parse import quote  # the calls made most have nothing to quote

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
