"""Lists that come in pages. A page is a value; `page.next` is the operation for the next page.

    page = client.models.list(limit=20)
    while page.next is not None:            # or put page.next into a queue
        page = client.send(page.next)

`client.pages(operation)` and `client.items(operation)` run this loop, in both clients. The API has
two kinds of paging: by the id of an item (`IdPaged`), and by a cursor (`CursorPaged`).
"""

from typing import Any, ClassVar, Generic, TypeVar, cast

from claude_lite.core.model import Result, model
from claude_lite.core.operation import Operation, operation
from claude_lite.core.responses import decompress_body, head_of, json_body, unexpected
from claude_lite.core.structure import StructureError, item_reader, reader_for
from claude_lite.given.spellings import PAGES, add_hints
from claude_lite.wire import DEFAULT_LIMITS, Limits, Response

__all__ = ["CursorPaged", "IdPaged", "ListOperation", "Page"]

T = TypeVar("T")


@model
class Page(Result, Generic[T]):
    """One page of a list.

    Attributes:
        data: The items.
        has_more: Whether there is another page; None if the API does not say.
        first_id: The id of the first item.
        last_id: The id of the last item.
        next_page: The cursor of the next page.

    """

    ESSENTIAL = ("data",)
    data: list[T]
    has_more: bool | None = None
    first_id: str | None = None
    last_id: str | None = None
    next_page: str | None = None

    @property
    def next(self) -> "ListOperation[T] | None":
        """The operation that gets the next page; None if this is the last page."""
        operation: ListOperation[T] | None = self.__dict__.get("_operation")
        return operation.next_operation(self) if operation is not None else None


add_hints(Page, PAGES)


@operation
class ListOperation(Operation[Page[T]], Generic[T]):
    """An operation that gets one page of a list.

    Attributes:
        item_type: The model of the items, set by each subclass.
        limit: The largest number of items per page.

    """

    item_type: ClassVar[Any]

    limit: int | None = None

    def parse(self, response: Response, limits: Limits = DEFAULT_LIMITS) -> Page[T]:
        """Read one page; see `Operation.parse`."""
        data = json_body(response, limits)
        item = item_reader(self.item_type)
        try:
            page = reader_for(Page)(data)
            items = [item(each) for each in page.data]
        except StructureError as error:
            body = decompress_body(response, limits.max_response)
            raise unexpected(response, f"a page of the wrong shape ({error})", body) from None
        page.__dict__.update(data=items, _response=head_of(response), _operation=self)
        return cast("Page[T]", page)

    def next_operation(self, page: Page[T]) -> "ListOperation[T] | None":
        """Return the operation for the page after *page*; None if *page* is the last page."""
        raise NotImplementedError


@operation
class IdPaged(ListOperation[T], Generic[T]):
    """A list where the next page is found by the id of an item.

    Attributes:
        after_id: Get the items after the item with this id.
        before_id: Get the items before the item with this id.

    """

    after_id: str | None = None
    before_id: str | None = None

    def next_operation(self, page: Page[T]) -> "ListOperation[T] | None":
        """Return the operation for the page after *page*, in the direction of this operation."""
        # If `has_more` is None, the API does not say: ask for the next page.
        if page.has_more is False or not page.data:
            return None
        name, found, item = "after_id", page.last_id, page.data[-1]
        if self.before_id is not None:
            name, found, item = "before_id", page.first_id, page.data[0]
        cursor = found or (page.has_more and getattr(item, "id", None))
        return self.replace(**{name: cursor}) if cursor else None


@operation
class CursorPaged(ListOperation[T], Generic[T]):
    """A list where the next page is found by a cursor. A page without items can have a next page.

    Attributes:
        page: The cursor of the page to get; None for the first page.

    """

    page: str | None = None

    def next_operation(self, page: Page[T]) -> "ListOperation[T] | None":
        """Return the operation for the page after *page*, from the cursor in *page*."""
        if not page.next_page or page.has_more is False:
            return None
        return self.replace(page=page.next_page)
