"""`NULL`: JSON's null in a request, where None means that a field is left out."""

from enum import Enum
from typing import Final

__all__ = ["NULL", "Null"]


class Null(Enum):
    """The type of `NULL`, which is JSON's null in a request.

    A field of an operation that is None is left out; a field that is `NULL` is sent as null:
    `client.organization.workspaces.update(workspace_id=..., tags=NULL)`.
    """

    NULL = None

    def __repr__(self) -> str:
        return "NULL"


NULL: Final = Null.NULL
