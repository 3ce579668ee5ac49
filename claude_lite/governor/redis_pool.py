"""The calls of one process that wait for turns under a limit that processes share."""

import contextlib
import hashlib
import math
import os
import threading
import time
import uuid
from collections import deque
from collections.abc import Awaitable, Callable
from random import random
from typing import TYPE_CHECKING, Any, Final, Protocol

from claude_lite.core.turns import PATIENCE, Admit
from claude_lite.governor.lines import POLL, running_loop
from claude_lite.governor.local import BUCKETS, LONGEST_SLEEP, MIXED, UNKNOWN
from claude_lite.governor.pools import NOT_SENT, Key, cost_of, news_of, used_of, weight_of
from claude_lite.governor.shared import MOST_WANTS, Member, Reply, Step, Want
from claude_lite.governor.state import Ticket
from claude_lite.wire import Response

if TYPE_CHECKING:
    import asyncio

__all__ = ["NEVER", "Desk", "RedisPool"]

PREFIX: Final = "claude-lite-1"  # the number changes with the meaning of the state
TELL: Final = 0.1  # seconds until answers are told, if no call asks before
LOOK: Final = 0.1  # seconds between two looks for calls whose deadline has passed
NEVER: Final = math.inf


class Desk(Protocol):
    """What talks to Redis."""

    def wake(self, pool: "RedisPool", moment: float, /) -> None:
        """Work for *pool* at *moment*."""
        ...

    def ask(self, pool: "RedisPool", step: Step, /) -> Reply | None:
        """Make a step in Redis; give None if Redis is away."""
        ...


class Waiter:
    """One call that waits.

    Attributes:
        want: What the call wants.
        is_background: Whether all others go first.
        deadline: When the wait is too long, on the clock of this module.
        ticket: Its turn, once there is one.
        start: When the turn begins, on the clock of this module.
        wait: What to tell the call if its wait is too long.
        is_gone: Whether the call waits no more.

    """

    __slots__ = (
        *("deadline", "event", "future", "is_background", "is_gone", "start", "ticket"),
        *("wait", "want"),
    )

    def __init__(self, want: Want, deadline: float, *, is_background: bool) -> None:
        self.want = want
        self.deadline = deadline
        self.is_background = is_background
        self.ticket: Ticket | None = None
        self.start = 0.0
        self.wait: float | None = None
        self.is_gone = False
        self.event: threading.Event | None = None
        self.future: asyncio.Future[None] | None = None

    @property
    def is_served(self) -> bool:
        """Whether the call has a turn, or knows that its wait is too long."""
        return self.ticket is not None or self.wait is not None


class RedisTurn:
    """A turn of a `RedisPool`."""

    __slots__ = ("_pool", "_ticket", "held")

    def __init__(self, pool: "RedisPool", ticket: Ticket, held: float) -> None:
        self._pool = pool
        self._ticket = ticket
        self.held = held

    def settle(
        self, head: Response | None = None, usage: object = None, *, sent: bool = True
    ) -> None:
        """Tell what became of the attempt; see `claude_lite.core.turns.Turn`."""
        pool = self._pool
        used = None if usage is None else used_of(usage, pool.weight)
        pool.settle(self._ticket, *news_of(head, usage, sent=sent), used)


class RedisPool:
    """The calls of one process that share a rate limit with those of other processes.

    Args:
        desk: What talks to Redis.
        key: What the calls have in common.

    """

    def __init__(self, desk: Desk, key: Key) -> None:
        self.desk = desk
        self.weight = weight_of(key.origin)
        digest = hashlib.sha256("\n".join(map(str, key)).encode()).hexdigest()[:32]
        # The braces keep both keys on one node of a cluster.
        self.keys = [f"{PREFIX}:{{{digest}}}:state", f"{PREFIX}:{{{digest}}}:processes"]
        self.member = Member(f"{os.getpid()}-{uuid.uuid4().hex[:8]}")
        self.due = NEVER
        self.held = 0.0
        self.waiting = 0
        self._lock = threading.RLock()  # the garbage collector may end a call anywhere
        self._queues: tuple[deque[Waiter], deque[Waiter]] = (deque(), deque())
        self._shares = (1.0, 1.0, 1.0)
        self._background_at = float("-inf")
        self._deferred_until = float("-inf")
        self._looked_at = float("-inf")
        self._next_deadline = NEVER

    # What the client calls

    def enter(self, admit: Admit, sleep: Callable[[float], None]) -> RedisTurn | float:
        """Wait on this thread for a turn; see `claude_lite.core.turns.Gate`."""
        waiter = self._waiter(admit)
        if not isinstance(waiter, Waiter):
            return waiter
        waiter.event = threading.Event()
        began = time.monotonic()
        try:
            self._put(waiter)
            waiter.event.wait()
            pause = waiter.start - time.monotonic()
            if waiter.ticket is not None and pause > 0:
                sleep(pause)
        except BaseException:
            self._leave(waiter)
            raise
        return self._turn(waiter, began)

    async def enter_async(
        self, admit: Admit, sleep: Callable[[float], Awaitable[None]]
    ) -> RedisTurn | float:
        """Wait on the running loop for a turn; see `claude_lite.core.turns.Gate`."""
        waiter = self._waiter(admit)
        if not isinstance(waiter, Waiter):
            return waiter
        loop = running_loop()
        waiter.future = None if loop is None else loop.create_future()
        began = time.monotonic()
        try:
            self._put(waiter)
            if waiter.future is not None:
                await waiter.future
            while not waiter.is_served:  # on other loops than asyncio's nobody can be woken
                await sleep(POLL)
            pause = waiter.start - time.monotonic()
            if waiter.ticket is not None and pause > 0:
                await sleep(pause)
        except BaseException:
            self._leave(waiter)
            raise
        return self._turn(waiter, began)

    def settle(
        self,
        ticket: Ticket,
        status: int | None,
        limits: Any,
        left: Any,
        retry_after: float | None,
        used: Any,
    ) -> None:
        """Learn what came of a ticket."""
        now = time.monotonic()
        with self._lock:
            self.member.settle(now, ticket, status, limits, left, retry_after, used)
            is_away = self.member.is_away
        if not is_away:
            self.desk.wake(self, now + TELL)
        elif self.waiting:
            self.desk.wake(self, now)

    def renew_lock(self) -> None:
        """Take a new lock, in a forked child: nobody there would release the old one."""
        self._lock = threading.RLock()

    def snapshot(self) -> dict[str, Any]:
        """Return the state as JSON, for a dashboard; see `Governor.snapshot`."""
        with self._lock:
            known, shares = self.member.known, self._shares
            limits = (0.0, 0.0, 0.0) if known is None else known.limits
            named = dict(zip(BUCKETS, limits, strict=True))
            return {
                "limits": {name: round(limit) for name, limit in named.items() if limit},
                "shares": {
                    name: round(share, 3)
                    for name, share in zip(BUCKETS, shares, strict=True)
                    if named[name]
                },
                "waiting": self.waiting,
                "held_s": round(self.held, 3),
                "processes": self.member.processes,
                "redis": "away" if self.member.is_away else "there",
            }

    # The queue

    def _waiter(self, admit: Admit) -> Waiter | float:
        """Make the waiter of a call; or give the wait, if that is too long for it."""
        tokens_in, max_tokens = cost_of(admit)
        now = time.monotonic()
        is_background = admit.priority == "background"
        if is_background:
            self._background_at = now
        # Who goes first needs less of the margin, so that something is always left for them.
        part = 0.5 if not is_background and now - self._background_at < MIXED else 1.0
        want = Want(tokens_in, max_tokens * self.weight, part)
        if admit.defers and (wait := self.waiting * self._seconds_per_call(want)) > PATIENCE:
            return self._delay(now, wait, want)
        left = NEVER if admit.time_left is None else admit.time_left
        if admit.defers:
            left = min(left, PATIENCE)
        return Waiter(want, now + left, is_background=is_background)

    def _put(self, waiter: Waiter) -> None:
        with self._lock:
            self._queues[waiter.is_background].append(waiter)
            self._next_deadline = min(self._next_deadline, waiter.deadline)
            self.waiting += 1
        self.desk.wake(self, 0.0)

    def _leave(self, waiter: Waiter) -> None:
        """Take a call back that waits no more: it was cancelled."""
        with self._lock:
            if waiter.ticket is None:
                self.waiting -= not waiter.is_gone and not waiter.is_served
                waiter.is_gone = True
                return
            waiter.is_gone = True
        self.settle(waiter.ticket, NOT_SENT, None, None, None, None)

    def _turn(self, waiter: Waiter, began: float) -> RedisTurn | float:
        held = time.monotonic() - began
        with self._lock:
            self.held += held
            if waiter.ticket is None:
                return waiter.wait or 0.0
        return RedisTurn(self, waiter.ticket, held)

    def _seconds_per_call(self, want: Want) -> float:
        """Return how long this process's part of the limit needs for one such call."""
        known = self.member.known
        if known is None:
            return UNKNOWN
        costs = (1.0, want.tokens_in, want.max_tokens)
        pairs = zip(costs, known.limits, strict=True)
        one = max(cost * 60 / limit if limit else 0.0 for cost, limit in pairs)
        return one * self.member.processes

    def _delay(self, now: float, wait: float, want: Want) -> float:
        """Return the wait to tell a call that cannot wait here: a queue gets different delays."""
        with self._lock:
            start = max(now + wait, self._deferred_until)
            self._deferred_until = start + self._seconds_per_call(want)
        return start - now

    # What the thread calls

    def work(self) -> None:
        """Book for those who wait, and tell what came of others."""
        now = time.monotonic()
        served: list[Waiter] = []
        waiters: list[Waiter] = []
        due, step = NEVER, None
        with self._lock:
            self._look_for_late(now, served)
            if self.member.is_away:
                due = self._book_here(now, served)
            else:
                waiters = self._first()
                step = self._step(waiters)
        if step is not None:
            reply = self.desk.ask(self, step)
            if reply is None:  # Redis is away: book here
                due = now
            else:
                with self._lock:
                    due = self._receive(reply, waiters, served)
        if self.waiting:
            due = min(due, max(self._next_deadline, now + LOOK))
        if self.member.has_answers:
            due = min(due, time.monotonic() + TELL)
        wake(served)
        if due != NEVER:
            self.desk.wake(self, due)

    def lose(self, now: float) -> None:
        """Note that Redis is away."""
        with self._lock:
            self.member.lose(now)

    def knock(self) -> Step:
        """Give the step that asks whether Redis is there again, and tells it what is known."""
        with self._lock:
            return self.member.step(time.monotonic(), [])

    def come_back(self, reply: Reply) -> None:
        """Note that Redis is there again."""
        with self._lock:
            self.member.receive(time.monotonic(), reply)

    def _step(self, waiters: list[Waiter]) -> Step | None:
        if not waiters and not self.member.has_answers:
            return None
        return self.member.step(time.monotonic(), [waiter.want for waiter in waiters])

    def _first(self) -> list[Waiter]:
        """Give those who are first, and drop those who are gone."""
        found: list[Waiter] = []
        for queue in self._queues:
            while queue and (queue[0].is_gone or queue[0].is_served):
                queue.popleft()
            for waiter in queue:
                if len(found) == MOST_WANTS:
                    return found
                if not waiter.is_gone and not waiter.is_served:
                    found.append(waiter)
        return found

    def _receive(self, reply: Reply, waiters: list[Waiter], served: list[Waiter]) -> float:
        """Give out the turns that Redis has booked; return when to ask again."""
        now = time.monotonic()
        self.member.receive(now, reply)
        self._shares = reply.shares
        for waiter, booking in zip(waiters, reply.bookings, strict=False):
            if booking.ticket is None:
                return now + self.member.pause(booking.wait, random())  # noqa: S311  # no secret
            self._serve(waiter, booking.ticket, now + booking.wait, served)
        return now if self.waiting else NEVER

    def _book_here(self, now: float, served: list[Waiter]) -> float:
        """Book while Redis is away; return when to look again."""
        for waiter in self._first():
            wait, ticket = self.member.book(now, waiter.want)
            if ticket is None:
                return now + min(wait, LONGEST_SLEEP)
            self._serve(waiter, ticket, now, served)
        return now if self.waiting else NEVER

    def _serve(self, waiter: Waiter, ticket: Ticket, start: float, served: list[Waiter]) -> None:
        is_late = start >= waiter.deadline
        if waiter.is_gone or waiter.is_served or is_late:
            self.member.settle(time.monotonic(), ticket, NOT_SENT)
            if waiter.is_gone or waiter.is_served:
                return
            waiter.wait = start - time.monotonic()
        else:
            waiter.ticket, waiter.start = ticket, start
        self.waiting -= 1
        served.append(waiter)

    def _look_for_late(self, now: float, served: list[Waiter]) -> None:
        """Find those whose deadline has passed."""
        if now < self._next_deadline or now - self._looked_at < LOOK:
            return
        self._looked_at, self._next_deadline = now, NEVER
        for queue in self._queues:
            for place, waiter in enumerate(queue):
                if waiter.is_gone or waiter.is_served:
                    continue
                if waiter.deadline > now:
                    self._next_deadline = min(self._next_deadline, waiter.deadline)
                    continue
                waiter.wait = max(1.0, place * self._seconds_per_call(waiter.want))
                self.waiting -= 1
                served.append(waiter)


def wake(served: list[Waiter]) -> None:
    """Wake calls that have been served: one message per event loop."""
    loops: dict[asyncio.AbstractEventLoop, list[asyncio.Future[None]]] = {}
    for waiter in served:
        if waiter.event is not None:
            waiter.event.set()
        elif waiter.future is not None:
            loops.setdefault(waiter.future.get_loop(), []).append(waiter.future)
    for loop, futures in loops.items():
        with contextlib.suppress(RuntimeError):  # the loop has ended, and its calls with it
            loop.call_soon_threadsafe(_resolve, futures)


def _resolve(futures: "list[asyncio.Future[None]]") -> None:
    for future in futures:
        if not future.done():
            future.set_result(None)
