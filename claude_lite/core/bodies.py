"""What decodes a streamed body: the protocol `Decoder`. The decoders are in `claude_lite.api`.

A decoder does no I/O. An exchange calls it with the chunks of a body. Four words are used with a
fixed meaning:

- A chunk is some bytes of the body, as the transport read them.
- A raw item is a unit of the body: the parsed JSON of an event or line, or the bytes of a chunk.
- An item is the value that the caller gets for a raw item, such as a model.
- The result is one value for the whole body, such as the message that all events make.
"""

from typing import Any, Protocol, TypeVar

from claude_lite.errors import ClaudeError

__all__ = ["Decoder"]

E_co = TypeVar("E_co", covariant=True)
R_co = TypeVar("R_co", covariant=True)


class Decoder(Protocol[E_co, R_co]):
    """A decoder of one streamed body: chunks in, items out, and a result.

    Attributes:
        begun: Whether content has arrived. After the first content a broken stream is not
            restarted, because the caller may have used the content (unless it is collected).
        complete: Whether the whole body has arrived.
        error: The error that ended the body early, or None. The items that were returned before
            it are still valid: the caller gets them first.

    """

    begun: bool
    complete: bool
    error: ClaudeError | None

    def receive(self, data: bytes, /) -> list[Any]:
        """Decode a chunk of the body. Never raises: an error is kept in `error`.

        Args:
            data: The chunk. A chunk may end anywhere, also within an item.

        Returns:
            The raw items that the chunk completes, in order.

        """
        ...

    def close(self) -> list[Any]:
        """End the body, and set `error` if the end came too early.

        Returns:
            The raw items that the end completes, in order.

        """
        ...

    def fail(self, error: ClaudeError, /) -> None:
        """Keep *error* in `error`, as the reason why the body ended early.

        Args:
            error: The error. The decoder adds the known facts to *error*, such as the request id.

        """

    def item(self, raw: Any, /) -> E_co:
        """Convert a raw item to the item for the caller. Called once per raw item, in order.

        Args:
            raw: A raw item, as `receive` or `close` returned it.

        """
        ...

    def result(self) -> R_co:
        """Return one value for all of the body that has arrived so far."""
        ...
