"""The rate limit of one process: a state per limit, and the lines of those who wait."""

import threading
import warnings
from collections.abc import Awaitable, Callable, Generator, Hashable
from contextlib import suppress
from typing import Any, Final

from claude_lite.core.turns import PATIENCE, Admit
from claude_lite.governor.booking import SOON, book, give_back, learn
from claude_lite.governor.lines import POLL, Bell, Line, Waiter, running_loop
from claude_lite.governor.pools import OK, Cost, cost_of, news_of, used_of, weight_of
from claude_lite.governor.state import State, Ticket
from claude_lite.wire import Clock, Response

__all__ = ["LocalPool", "LocalTurn"]

LONGEST_SLEEP: Final = 1.0  # seconds; then ask again, because much may be known by then
LONG: Final = 60.0  # seconds: a call without a deadline that waits so long is reported
MIXED: Final = 10.0  # seconds for which the last background call counts

UNKNOWN: Final = 0.05  # seconds between calls that go back to a queue while no limit is known
READ_EVERY: Final = 0.02  # seconds
BUCKETS: Final = ("requests", "input_tokens", "output_tokens")

Pause = float | None
"""What a call that waits does next: sleep so many seconds, or (None) wait until it is woken."""


class LocalTurn:
    """A turn of a `LocalPool`."""

    __slots__ = ("_pool", "_ticket", "held")

    def __init__(self, pool: "LocalPool", ticket: Ticket, held: float = 0.0) -> None:
        self._pool = pool
        self._ticket = ticket
        self.held = held

    def settle(
        self, head: Response | None = None, usage: object = None, *, sent: bool = True
    ) -> None:
        """Tell what became of the attempt; see `claude_lite.core.turns.Turn`."""
        pool = self._pool
        ticket, now = self._ticket, pool.clock()
        used = None if usage is None else used_of(usage, pool.weight)
        if head is not None:
            # Of many answers at once, the headers of a few are enough.
            is_quick = now - pool.read_at < READ_EVERY and (ticket.clocks or pool.state.free)
            if head.status == OK and is_quick:
                if used is not None:  # else it is a stream, which has its usage at its end
                    with pool.lock:
                        give_back(pool.state, ticket, used)
                return
            pool.read_at = now
        status, limits, left, named = news_of(head, usage, sent=sent)
        if status is not None or used is not None:
            with pool.lock:
                learn(pool.state, now, ticket, status, limits, left, named, used)


class LocalPool:
    """The calls of one process that share a rate limit. Threads and event loops may share it.

    Args:
        origin: The origin of the API.
        clock: The clock of the calls.

    Attributes:
        held: The seconds that calls have waited in all.

    """

    def __init__(self, origin: str, clock: Clock) -> None:
        self.state = State()
        self.clock = clock
        self.held = 0.0
        self.weight = weight_of(origin)
        self.lock = threading.RLock()  # the garbage collector may end a call anywhere
        self._waiters: set[Waiter] = set()
        self._lines: dict[Hashable, Line] = {}
        self._background_at = float("-inf")
        self.read_at = float("-inf")  # when the headers of an answer were read
        self._deferred_until = float("-inf")  # the delays of calls that went back to a queue
        self._warned = False

    def enter(self, admit: Admit, sleep: Callable[[float], None]) -> LocalTurn | float:
        """Wait on this thread for a turn; see `claude_lite.core.turns.Gate`."""
        found = self._enter_now(admit)
        if found is not None:
            return found
        waiter = self._waiter(admit, threading.Event())
        steps = self._steps(admit, self._line_of(None), waiter)
        try:
            while True:
                pause = next(steps)
                if pause is None:
                    waiter.wait()
                else:
                    sleep(pause)
        except StopIteration as end:
            return _ended(end)
        finally:
            steps.close()

    async def enter_async(
        self, admit: Admit, sleep: Callable[[float], Awaitable[None]]
    ) -> LocalTurn | float:
        """Wait on the running loop for a turn; see `claude_lite.core.turns.Gate`."""
        found = self._enter_now(admit)
        if found is not None:
            return found
        loop = running_loop()
        line = self._line_of(loop or threading.get_ident())
        waiter = self._waiter(admit, None if loop is None else loop.create_future())
        steps = self._steps(admit, line, waiter)
        try:
            while True:
                pause = next(steps)
                if pause is not None:
                    await sleep(pause)
                elif loop is None:  # on other loops than asyncio's nobody can be woken
                    await sleep(POLL)
                else:
                    await waiter.wait_async()
        except StopIteration as end:
            return _ended(end)
        finally:
            steps.close()

    def renew_lock(self) -> None:
        """Take a new lock, in a forked child: nobody there would release the old one."""
        self.lock = threading.RLock()

    def snapshot(self) -> dict[str, Any]:
        """Return the state as JSON, for a dashboard; see `Governor.snapshot`."""
        with self.lock:
            rates = dict(zip(BUCKETS, self.state.rates, strict=True))
            shares = dict(zip(BUCKETS, self.state.shares, strict=True))
        return {
            "limits": {name: round(rate * 60) for name, rate in rates.items() if rate},
            "shares": {name: round(shares[name], 3) for name, rate in rates.items() if rate},
            "waiting": len(self._waiters),
            "held_s": round(self.held, 3),
        }

    def _enter_now(self, admit: Admit) -> LocalTurn | float | None:
        """Give a turn at once, or the wait if that is too long; None if the call has to wait."""
        cost = cost_of(admit)
        if self._waiters:
            wait = len(self._waiters) * self._seconds_per_call(cost)
            is_long = admit.defers and wait > PATIENCE
            return self._delay(admit, wait, cost) if is_long else None
        wait, ticket = self._book(cost, admit.priority)
        if ticket is not None:
            return LocalTurn(self, ticket)
        return self._delay(admit, wait, cost) if _is_too_long(admit, wait) else None

    def _book(self, cost: Cost, priority: str) -> tuple[float, Ticket | None]:
        with self.lock:
            now, part = self.clock(), 1.0
            if priority == "background":
                self._background_at = now
            elif now - self._background_at < MIXED:
                part = 0.5  # who goes first needs less of the margin: something is always left
            return book(self.state, now, cost[0], cost[1] * self.weight, SOON, part)

    def _seconds_per_call(self, cost: Cost) -> float:
        """Return how long the limit needs for one such call."""
        costs = (1.0, float(cost[0]), float(cost[1] * self.weight))
        pairs = zip(costs, self.state.rates, strict=True)
        return max(cost / rate if rate else 0.0 for cost, rate in pairs) or UNKNOWN

    def _delay(self, admit: Admit, wait: float, cost: Cost) -> float:
        """Return the wait to tell a call that cannot wait here: a queue gets different delays."""
        if admit.defers:
            now = self.clock()
            with self.lock:
                start = max(now + wait, self._deferred_until)
                self._deferred_until = start + self._seconds_per_call(cost)
            wait = start - now
        return wait

    def _steps(
        self, admit: Admit, line: Line, waiter: Waiter
    ) -> Generator[Pause, None, LocalTurn | float]:
        """Say step by step what a call that waits does; return what `enter` returns."""
        clock, cost = self.clock, cost_of(admit)
        began = clock()
        line.add(waiter)
        self._waiters.add(waiter)
        try:
            while True:
                now = clock()
                if waiter.deadline is not None and now >= waiter.deadline:
                    wait = len(self._waiters) * self._seconds_per_call(cost)
                    return self._delay(admit, wait, cost)
                if line.first() is not waiter:
                    yield line.pause(waiter, now)
                    continue
                wait, ticket = self._book(cost, admit.priority)
                if ticket is not None:
                    self.held += now - began
                    return LocalTurn(self, ticket, now - began)
                if _is_too_long(admit, wait, now - began):
                    return self._delay(admit, wait, cost)
                self._report(admit, now - began + wait)
                pause = min(wait, LONGEST_SLEEP)
                line.looks_at = now + pause  # before `next_deadline`, so no newcomer is missed
                until = line.next_deadline()
                yield pause if until is None else min(pause, max(0.0, until - now))
                line.wake_late(clock())
        finally:
            self._waiters.discard(waiter)
            line.leave(waiter)

    def _waiter(self, admit: Admit, bell: Bell | None) -> Waiter:
        left = admit.time_left
        deadline = None if left is None else self.clock() + left
        return Waiter(deadline, bell, is_background=admit.priority == "background")

    def _line_of(self, place: Hashable) -> Line:
        for other in [*self._lines]:
            if getattr(other, "is_closed", bool)():  # an event loop that has ended
                self._lines.pop(other, None)
        return self._lines.setdefault(place, Line())

    def _report(self, admit: Admit, wait: float) -> None:
        if admit.time_left is None and wait > LONG and not self._warned:
            self._warned = True
            text = f"a call without a deadline waits {wait:.0f} s for the rate limit"
            with suppress(RuntimeWarning):  # the application may have made warnings exceptions
                warnings.warn(text, RuntimeWarning, stacklevel=2)


def _ended(end: StopIteration) -> LocalTurn | float:
    found: LocalTurn | float = end.value
    return found


def _is_too_long(admit: Admit, wait: float, waited: float = 0.0) -> bool:
    """Tell whether a call that has *waited* cannot wait for *wait* more seconds."""
    if admit.defers and waited + wait > PATIENCE:
        return True
    return admit.time_left is not None and waited + wait >= admit.time_left
