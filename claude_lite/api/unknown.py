"""JSON that fits no known class of its family."""

from typing import Literal

from claude_lite.core.model import Model, model

__all__ = ["Unknown"]


@model
class Unknown(Model):
    """Base of the classes for JSON that fits no other class of its family.

    The keys of the JSON are attributes. `to_dict` and `to_param` return the JSON as it came.
    """

    @property
    def type(self) -> Literal["unknown"]:
        """The value that tells this class from the others. The API's word is `kind`."""
        return "unknown"

    @property
    def kind(self) -> str:
        """The API's `type`: a new one, or that of a class that the JSON does not fit.

        Empty if the JSON has no `type` that is text.
        """
        kind = self.__dict__.get("type")
        return kind if isinstance(kind, str) else ""

    def __repr__(self) -> str:
        return f"{type(self).__name__}(kind={self.kind!r})"
