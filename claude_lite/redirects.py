"""Redirects, and which are followed: those that stay where the credential belongs."""

from typing import Final
from urllib.parse import SplitResult, urljoin, urlsplit

from attrs import evolve

from claude_lite.responses import unexpected
from claude_lite.wire import Request, Response

MAX_REDIRECTS: Final = 3
SAME_METHOD: Final = frozenset({307, 308})


def follow(request: Request, response: Response, before: int) -> Request:
    """The request to make after a redirect, if there were no more than three *before*.

    Raises `UnexpectedResponse` for a redirect that is not followed.
    """
    try:
        url = urljoin(request.url, response.headers.get("location", ""))
        target = urlsplit(url)
    except ValueError:  # no URL at all
        url, target = "", urlsplit("")
    if before < MAX_REDIRECTS and _is_harmless(request, response, url, target):
        return evolve(request, url=url)
    to = target.hostname or "nowhere"
    raise unexpected(response, f"a redirect to {to} that is not followed")


def _is_harmless(request: Request, response: Response, url: str, target: SplitResult) -> bool:
    return (
        target[:2] == urlsplit(request.url)[:2]
        and (response.status in SAME_METHOD or request.method == "GET")
        and url != request.url
        and all("!" <= c <= "~" and c != "\\" for c in url)
    )
