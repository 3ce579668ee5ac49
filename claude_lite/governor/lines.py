"""Who waits for turns: a line per event loop, and one for all threads.

The first in a line asks for a turn, sleeps, and asks again; the others wait until they are woken.
Nobody holds a task or a thread of its own, so nothing has to be stopped. Each loop has a line of
its own, so that a loop that is busy holds up no other.
"""

import heapq
import itertools
import sys
import threading
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Union

if TYPE_CHECKING:
    import asyncio

__all__ = ["POLL", "Bell", "Line", "Waiter", "running_loop"]

Bell = Union[threading.Event, "asyncio.Future[None]"]
"""What wakes a call: an event for a thread, a future for a task."""

SPARE: Final = 64
POLL: Final = 0.05  # seconds between the looks of a call that nobody wakes


def running_loop() -> "asyncio.AbstractEventLoop | None":
    """Return the running event loop; None if there is none, or none of asyncio."""
    if "asyncio" not in sys.modules:
        return None
    import asyncio  # slow to import, and sync clients do not need it

    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


class Waiter:
    """One call that waits.

    Attributes:
        deadline: When the wait is too long, on the clock of the call; None if never.
        is_background: Whether all others go first.
        gone: Whether the call waits no more.

    """

    __slots__ = ("_bell", "deadline", "gone", "is_background")

    def __init__(self, deadline: float | None, bell: Bell | None, *, is_background: bool) -> None:
        self.deadline = deadline
        self.is_background = is_background
        self.gone = False
        self._bell: Any = bell

    def wake(self) -> None:
        """Wake the call."""
        if isinstance(self._bell, threading.Event):
            self._bell.set()
        elif self._bell is not None and not self._bell.done():
            with suppress(RuntimeError):  # the loop was closed, and this call ends with it
                self._bell.set_result(None)

    def wait(self) -> None:
        """Wait on this thread until `wake` is called."""
        self._bell.wait()
        self._bell.clear()

    async def wait_async(self) -> None:
        """Wait on the running loop until `wake` is called."""
        await self._bell
        self._bell = self._bell.get_loop().create_future()


class Line:
    """The calls that wait for turns: interactive ones first, then background ones, in order.

    Attributes:
        length: The number of calls.
        looks_at: When the first, which sleeps, looks again for those whose deadline has passed.

    """

    def __init__(self) -> None:
        self._lock = threading.RLock()  # the garbage collector may end a call anywhere
        self._interactive: deque[Waiter] = deque()
        self._background: deque[Waiter] = deque()
        self._deadlines: list[tuple[float, int, Waiter]] = []  # a heap
        self._numbers = itertools.count()
        self.length = 0
        self.looks_at = 0.0

    def add(self, waiter: Waiter) -> None:
        """Put *waiter* at the end."""
        with self._lock:
            self.length += 1
            (self._background if waiter.is_background else self._interactive).append(waiter)
            if waiter.deadline is not None:
                heapq.heappush(self._deadlines, (waiter.deadline, next(self._numbers), waiter))

    def first(self) -> Waiter | None:
        """Return whose turn comes next; None if nobody waits."""
        with self._lock:
            return self._first()

    def _first(self) -> Waiter | None:
        for queue in (self._interactive, self._background):
            while queue and queue[0].gone:
                queue.popleft()
            if queue:
                return queue[0]
        return None

    def leave(self, waiter: Waiter) -> None:
        """Take *waiter* out, and wake the one that is first now."""
        with self._lock:
            waiter.gone = True
            self.length -= 1
            if len(self._deadlines) > 2 * self.length + SPARE:  # most of them are gone
                self._deadlines = [entry for entry in self._deadlines if not entry[2].gone]
                heapq.heapify(self._deadlines)
            first = self._first()
            if first is not None:
                first.wake()

    def pause(self, waiter: Waiter, now: float) -> float | None:
        """Return how long *waiter*, which is not first, sleeps; None until it is woken.

        The first, which sleeps, does not know of a deadline that came later and ends sooner.
        """
        if waiter.deadline is None or waiter.deadline >= self.looks_at:
            return None
        return min(POLL, waiter.deadline - now)

    def wake_late(self, now: float) -> None:
        """Wake all whose deadline has passed."""
        with self._lock:
            while self._deadlines and self._deadlines[0][0] <= now:
                heapq.heappop(self._deadlines)[2].wake()

    def next_deadline(self) -> float | None:
        """Return the earliest deadline of those who wait."""
        with self._lock:
            while self._deadlines and self._deadlines[0][2].gone:
                heapq.heappop(self._deadlines)
            return self._deadlines[0][0] if self._deadlines else None
