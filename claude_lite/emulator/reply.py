"""One reply as it is to be acted out: waits and bad ends included, and who hears of its end.

A driver (the in-process transport, the server on a port, `Emulator.handle`) takes the steps
`before` the head, sends the `head`, takes the `steps` of the body, and closes the reply. It
never needs to know what caused them.
"""

from collections.abc import Callable, Iterable, Iterator

from claude_lite.faults.tampering import End, Step
from claude_lite.wire import Response, Sleep


class Reply:
    """What the emulator has to say to one request.

    Attributes: `before`, the steps that come before the head (an `End` there: no head comes);
    `head`, a `Response` without a body; `size`, the length of the body, None for a stream;
    `steps`, the body's; `at_once`: nothing but bytes in it, and nothing before the head.
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
        """Call *on_end* once: with True if the driver closes the reply before its end."""
        self.head = head
        self.before = before
        self.size = size
        self.at_once = at_once
        self.steps: Iterator[Step] = self._run(steps)
        self._on_end = on_end
        self._ended = False

    def close(self) -> None:
        """Say that no more of it is wanted. Idempotent."""
        cut_off = any(isinstance(step, End) and step.how != "stall" for step in self.before)
        self._end(left=not cut_off)

    def _run(self, steps: Iterable[Step]) -> Iterator[Step]:
        for step in steps:
            if isinstance(step, End) and step.how != "stall":  # who is stalled is still there
                self._end(left=False)
                yield step
                return
            yield step
        self._end(left=False)

    def _end(self, *, left: bool) -> None:
        if not self._ended:
            self._ended = True
            self._on_end(left)
