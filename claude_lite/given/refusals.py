"""Errors that did not come from the API: of gateways, web frameworks and platforms.

The forms: FastAPI (`detail`), problem details (RFC 9457: `title`, `detail`), AWS (`Message`),
`{"error": "text"}`, `{"errors": [...]}`, a server-sent event, HTML, plain text.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

LIVE: Final = re.compile(
    r"(?i)^\s*(?:bearer|basic) |\b(?:sk-[\w-]{8,}|eyJ[\w-]{9,999}\.[\w.-]{9,}"
    r"|c2stYW50[\w+/-]{8,}|AIza[\w-]{30,}|ya29\.[\w-]{9,})"
)
"""What a credential looks like: an authorization, a key within other text or in Base64, a JWT."""

MESSAGE_KEYS: Final = ("message", "Message", "detail", "error", "errors", "title", "msg")
LEVELS: Final = 5
RATE_LIMITED: Final = 429
LIMIT_OF_ZERO: Final = (
    "A rate limit of your organization is 0, so no wait helps: choose another model, or have the"
    " limit raised"
)

# Not compiled here: the import would pay for it.
_MARKUP: Final = r"(?is)<(style|script)\b.*?</\1>|<[^<>]*>"


def message_in(value: Any, levels: int = LEVELS) -> str:
    """Return the message in the parsed JSON of an error; an empty text if there is none.

    Args:
        value: The parsed JSON.
        levels: How many levels of objects and lists to search.

    """
    if isinstance(value, str):
        return value
    if not levels:
        return ""
    if isinstance(value, list):
        return "; ".join(filter(None, (message_in(item, levels - 1) for item in value)))
    if not isinstance(value, dict):
        return ""
    if isinstance(value.get("loc"), list) and isinstance(value.get("msg"), str):  # of FastAPI
        return f"{'.'.join(map(str, value['loc']))}: {value['msg']}"
    found = (message_in(value.get(name), levels - 1) for name in MESSAGE_KEYS)
    return next(filter(None, found), "")


def event_data(body: bytes) -> bytes:
    """Return the data of a body that has the form of a server-sent event."""
    return b"".join(line[5:] for line in body.splitlines() if line.startswith(b"data:"))


def text_of(page: str) -> str:
    """Return the text of HTML, or of plain text, as one line."""
    return " ".join(re.sub(_MARKUP, " ", page).split())


def limit_is_zero(status: int, headers: Mapping[str, str]) -> bool:
    """Return whether a refusal is one of a rate limit that is 0, so that no wait helps."""
    return status == RATE_LIMITED and any(
        value == "0" and name.startswith("anthropic-ratelimit-") and name.endswith("-limit")
        for name, value in headers.items()
    )
