"""Pages of a list, in both forms of the API: by the ids of neighbours, and by a cursor.

The functions take the whole list, newest item first. Items have an `id`; for cursors they also
have a `serial` that grows. A cursor names the last serial of a page, so it stays valid while
items are added and deleted.
"""

import base64
import binascii
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol, TypeVar
from urllib.parse import parse_qs

from claude_lite.emulator.reading.problems import fail

DEFAULT_PAGE: Final = 20  # items
LARGEST_PAGE: Final = 1000  # items
CURSOR_PREFIX: Final = "page_"

Query = Mapping[str, list[str]]


class Named(Protocol):
    """An item of a list that is paged by ids."""

    @property
    def id(self) -> str:
        """The id of the item."""
        ...


class Numbered(Named, Protocol):
    """An item of a list that is paged by a cursor."""

    @property
    def serial(self) -> int:
        """The number by which the list is sorted, highest first."""
        ...


N = TypeVar("N", bound=Named)
S = TypeVar("S", bound=Numbered)


def read_query(text: str) -> Query:
    """Parse a query string; `name[]` is read as `name`."""
    query: dict[str, list[str]] = {}
    for name, values in parse_qs(text, keep_blank_values=True).items():
        query.setdefault(name.removesuffix("[]"), []).extend(values)
    return query


def only(query: Query, name: str) -> str | None:
    """Return the last value of a parameter; None if the parameter is absent or empty."""
    return (query.get(name) or [""])[-1] or None


def id_page(items: Sequence[N], query: Query, show: Callable[[N], Mapping[str, Any]]) -> Any:
    """Return the page that `after_id`, `before_id` and `limit` name; raises `Problem`."""
    limit = _limit(query)
    after, before = only(query, "after_id"), only(query, "before_id")
    if after and before:
        fail("after_id", "may not be given together with `before_id`")
    if before:
        stop = _place(items, "before_id", before)
        start = max(0, stop - limit)
        more = start > 0
    else:
        start = _place(items, "after_id", after) + 1 if after else 0
        stop = start + limit
        more = stop < len(items)
    shown = items[start:stop]
    return {
        "data": [show(item) for item in shown],
        "has_more": more,
        "first_id": shown[0].id if shown else None,
        "last_id": shown[-1].id if shown else None,
    }


def cursor_page(
    items: Sequence[S], query: Query, show: Callable[[S], Mapping[str, Any]]
) -> dict[str, Any]:
    """Return the page that `page` and `limit` name; raises `Problem` if there is none."""
    limit = _limit(query)
    cursor = only(query, "page")
    if cursor:
        last = _serial(cursor)
        items = [item for item in items if item.serial < last]
    shown = items[:limit]
    more = len(items) > limit
    return {
        "data": [show(item) for item in shown],
        "next_page": _cursor(shown[-1].serial) if more else None,
    }


def _limit(query: Query) -> int:
    text = only(query, "limit")
    if text is None:
        return DEFAULT_PAGE
    if not text.isascii() or not text.isdecimal():
        fail("limit", "Input should be a valid integer, unable to parse string as an integer")
    if not 1 <= int(text) <= LARGEST_PAGE:
        bound = (
            "greater than or equal to 1"
            if int(text) < 1
            else f"less than or equal to {LARGEST_PAGE}"
        )
        fail("limit", f"Input should be {bound}")
    return int(text)


def _place(items: Sequence[Named], name: str, wanted: str) -> int:
    place = next((place for place, item in enumerate(items) if item.id == wanted), None)
    if place is None:
        fail(name, f"no such id: {wanted}")
    return place


def _cursor(serial: int) -> str:
    return CURSOR_PREFIX + base64.urlsafe_b64encode(str(serial).encode()).decode().rstrip("=")


def _serial(cursor: str) -> int:
    text = cursor.removeprefix(CURSOR_PREFIX)
    try:
        return int(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except (ValueError, binascii.Error):
        fail("page", "not a page of this list")
