"""Lists that come in pages. A page is a value, and what gets the next one is an operation.

    page = client.models.list(limit=20)
    while page.next is not None:            # or park page.next in a queue
        page = client.send(page.next)

`client.pages(operation)` and `client.items(operation)` do this loop, in both colours.
The API has two ways to go on: by the ids at a page's ends, and by a cursor.
"""

from typing import Any, ClassVar, Generic, TypeVar, cast

from claude_lite.core.model import model
from claude_lite.core.operation import Operation, operation
from claude_lite.core.responses import head_of, json_body, unexpected
from claude_lite.core.structure import Result, StructureError, hook_for
from claude_lite.wire import DEFAULT_LIMITS, Limits, Response

__all__ = ["CursorPaged", "IdPaged", "ListOperation", "Page"]

T = TypeVar("T")


@model
class Page(Result, Generic[T]):
    """One page of a list: `data`, and `next`, the operation that gets the page after it."""

    data: list[T]
    has_more: bool | None = None
    first_id: str | None = None
    last_id: str | None = None
    next_page: str | None = None

    @property
    def next(self) -> "ListOperation[T] | None":
        """The operation that gets the next page; None after the last one."""
        made_by: ListOperation[T] | None = self.__dict__.get("_operation")
        return made_by.after(self) if made_by is not None else None


@operation
class ListOperation(Operation[Page[T]], Generic[T]):
    """An operation that gets one page of a list; `limit` bounds its length."""

    item_type: ClassVar[Any]

    limit: int | None = None

    def parse(self, response: Response, limits: Limits = DEFAULT_LIMITS) -> Page[T]:
        """Read one page."""
        data = json_body(response, limits)
        item = hook_for(self.item_type)
        try:
            page = hook_for(Page)(data)
            items = [item(each) for each in page.data]
        except StructureError as error:
            raise unexpected(response, f"a page out of shape ({error})") from None
        page.__dict__.update(data=items, _response=head_of(response), _operation=self)
        return cast("Page[T]", page)

    def after(self, page: Page[T]) -> "ListOperation[T] | None":
        """The operation that gets what comes after *page*."""
        raise NotImplementedError


@operation
class IdPaged(ListOperation[T], Generic[T]):
    """A list with the ids of its neighbours as cursors: after_id forward, before_id backward."""

    after_id: str | None = None
    before_id: str | None = None

    def after(self, page: Page[T]) -> "ListOperation[T] | None":
        """Go on in the direction that this page was asked for."""
        if page.has_more is False or not page.data:
            return None
        if self.before_id is not None:
            return self.replace(before_id=page.first_id) if page.first_id else None
        return self.replace(after_id=page.last_id) if page.last_id else None


@operation
class CursorPaged(ListOperation[T], Generic[T]):
    """A list with a cursor, `page`. An empty page with a cursor is not the end."""

    page: str | None = None

    def after(self, page: Page[T]) -> "ListOperation[T] | None":
        """Go on with the cursor that the page brought."""
        if not page.next_page or page.has_more is False:
            return None
        return self.replace(page=page.next_page)
