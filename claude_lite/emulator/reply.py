"""One reply as a list of steps to act out: bytes, waits and broken ends.

A driver (the in-process transport, the server on a port, `Emulator.handle`) takes the steps
`before` the head, sends the `head`, takes the `steps` of the body, and closes the reply. The
driver does not need to know which fault, or which route, caused a step.
"""

from collections.abc import Callable, Iterable, Iterator

from claude_lite.faults.tampering import End, Step
from claude_lite.wire import Response, Sleep


class Reply:
    """The emulator's reply to one request.

    Attributes:
        before: The steps before the head. If one of them is an `End`, no head comes.
        head: A `Response` without a body.
        size: The length of the body in bytes; None for a stream.
        steps: The steps of the body.
        at_once: True if the body consists of bytes only and nothing comes before the head.

    """

    __slots__ = ("_ended", "_on_end", "at_once", "before", "head", "size", "steps")

    def __init__(
        self,
        head: Response,
        steps: Iterable[Step],
        *,
        size: int | None,
        before: tuple[Sleep | End, ...] = (),
        at_once: bool = False,
        on_end: Callable[[bool], None] = lambda _left: None,
    ) -> None:
        """Take the parts of the reply.

        Args:
            head: A `Response` without a body.
            steps: The steps of the body.
            size: The length of the body in bytes; None for a stream.
            before: The steps before the head.
            at_once: Whether the body consists of bytes only, with nothing before the head.
            on_end: Called once, when the reply ends: with True if the driver closed the reply
                before its end, else with False.

        """
        self.head = head
        self.before = before
        self.size = size
        self.at_once = at_once
        self.steps: Iterator[Step] = self._run(steps)
        self._on_end = on_end
        self._ended = False

    def close(self) -> None:
        """End the reply, whatever is left of it. May be called more than once."""
        cut_off = any(isinstance(step, End) and step.how != "stall" for step in self.before)
        self._end(left=not cut_off)

    def _run(self, steps: Iterable[Step]) -> Iterator[Step]:
        for step in steps:
            if (
                isinstance(step, End) and step.how != "stall"
            ):  # after a stall the client still waits
                self._end(left=False)
                yield step
                return
            yield step
        self._end(left=False)

    def _end(self, *, left: bool) -> None:
        if not self._ended:
            self._ended = True
            self._on_end(left)
