"""Processes that make calls under one limit, and the Redis between them, in virtual time."""

import heapq
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from math import exp
from random import Random
from typing import Any, Final

from benchmarks.fleet.server import Head, Server
from claude_lite.governor.booking import book, learn
from claude_lite.governor.shared import MOST_WANTS, Member, Reply, Shared, Want
from claude_lite.governor.state import State, Ticket

NETWORK: Final = 0.01  # seconds from a process to the server, at least
REFUSAL: Final = 0.03  # seconds until a refusal is back
HEAD: Final = 0.4  # seconds until the head of a stream
LONGEST_SLEEP: Final = 1.0
TELL: Final = 0.1  # answers are told after so many seconds, if no call asks before
KNOCK: Final = 0.5
LIMIT_OF_REDIS: Final = 0.5  # seconds until a call of Redis that hangs has failed
MOST_BACKOFF: Final = 8.0


@dataclass(slots=True)
class Call:
    """One call, from the moment at which it is wanted."""

    tokens_in: int
    tokens_out: int
    max_tokens: int
    born: float
    is_background: bool = True
    attempts: int = 0
    started: float = 0.0
    ended: float = -1.0


class Simulation:
    """Events in virtual time."""

    def __init__(self, seed: int) -> None:
        self.now = 0.0
        self.random = Random(seed)  # noqa: S311  # no secret
        self._events: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._count = 0

    def at(self, moment: float, act: Callable[..., None], *arguments: Any) -> None:
        """Do something at a moment."""
        self._count += 1
        heapq.heappush(self._events, (moment, self._count, act, arguments))

    def after(self, seconds: float, act: Callable[..., None], *arguments: Any) -> None:
        """Do something in some seconds."""
        self.at(self.now + seconds, act, *arguments)

    def run(self, until: float) -> None:
        """Let time pass."""
        while self._events and self._events[0][0] <= until:
            self.now, _, act, arguments = heapq.heappop(self._events)
            act(*arguments)
        self.now = until

    def size(self, mean: float, sigma: float) -> int:
        """Give the size of something whose mean is *mean*, at least 1."""
        return max(1, int(mean * exp(self.random.gauss(-sigma * sigma / 2, sigma))))


class Redis:
    """The shared state, behind a network."""

    def __init__(self, simulation: Simulation, round_trip: float = 0.001) -> None:
        self._simulation = simulation
        self.round_trip = round_trip
        self.shared = Shared()
        self.is_away = False
        self.hangs = True
        self.calls = 0

    def go(self, *, hangs: bool) -> None:
        """Hang, or refuse connections."""
        self.is_away, self.hangs = True, hangs

    def come_back(self, *, empty: bool) -> None:
        """Be there again."""
        self.is_away = False
        if empty:
            self.shared = Shared()

    @property
    def failure(self) -> float:
        """How long a call takes that fails."""
        return LIMIT_OF_REDIS if self.hangs else 0.001

    def step(self, member: Member, wants: list[Want]) -> Reply:
        """Make a step for a process."""
        self.calls += 1
        now = self._simulation.now
        return self.shared.step(now, member.step(now, wants))


@dataclass(frozen=True)
class Wire:
    """What lies between the processes and the server.

    Attributes:
        latency: The median time of an answer, in seconds.
        jitter: The largest delay of a request, in seconds.
        streams: Whether heads come before the ends.

    """

    latency: float = 1.0
    jitter: float = 0.02
    streams: bool = False


class Process:
    """One process: its calls wait for turns in two queues; those in the background go last."""

    def __init__(
        self,
        simulation: Simulation,
        server: Server,
        wire: Wire,
        *,
        redis: Redis | None = None,
        name: str = "",
        mixed: bool = False,
    ) -> None:
        self._simulation = simulation
        self._server = server
        self._wire = wire
        self.redis = redis
        self.state = State()
        self.member = Member(name)
        self.mixed = mixed
        self.ended: list[Call] = []
        self.lost = 0
        self.is_dead = False
        self.when_ended: Callable[[Process, Call], None] = lambda _process, _call: None
        self._queues: tuple[deque[Call], deque[Call]] = (deque(), deque())
        self._timer = -1.0
        self._is_busy = False

    @property
    def waiting(self) -> int:
        """How many calls wait here."""
        return len(self._queues[0]) + len(self._queues[1])

    def put(self, call: Call, *, first: bool = False) -> None:
        """Let a call wait for its turn."""
        queue = self._queues[call.is_background]
        (queue.appendleft if first else queue.append)(call)
        self._wake(0)

    # The queue

    def _wake(self, wait: float) -> None:
        moment = self._simulation.now + wait
        if self._timer > self._simulation.now - 1e-9 and self._timer <= moment:
            return
        self._timer = moment
        self._simulation.at(moment, self._look)

    def _look(self) -> None:
        if self._simulation.now + 1e-9 < self._timer or self.is_dead:
            return
        self._timer = -1.0
        if self.redis is not None and not self.member.is_away:
            self._ask()
        else:
            self._book_here()

    def _book_here(self) -> None:
        now = self._simulation.now
        while queue := self._queues[0] or self._queues[1]:
            call = queue[0]
            want = self._want(call)
            if self.redis is None:
                wait, ticket = book(
                    self.state, now, want.tokens_in, want.max_tokens, part=want.part
                )
            else:
                wait, ticket = self.member.book(now, want)
            if ticket is None:
                self._wake(min(wait, LONGEST_SLEEP))
                return
            queue.popleft()
            self._send(call, ticket)

    def _want(self, call: Call) -> Want:
        part = 0.5 if self.mixed and not call.is_background else 1.0
        return Want(call.tokens_in, call.max_tokens, part)

    # Redis

    def _ask(self) -> None:
        if self._is_busy or self.redis is None:
            return
        self._is_busy = True
        if self.redis.is_away:
            self._simulation.after(self.redis.failure, self._lose)
        else:
            self._simulation.after(self.redis.round_trip / 2, self._at_redis)

    def _at_redis(self) -> None:
        assert self.redis is not None
        if self.redis.is_away:
            self._simulation.after(self.redis.failure, self._lose)
            return
        calls: list[Call] = []
        for queue in self._queues:
            for call in queue:
                if len(calls) == MOST_WANTS:
                    break
                calls.append(call)
        reply = self.redis.step(self.member, [self._want(call) for call in calls])
        self._simulation.after(self.redis.round_trip / 2, self._booked, calls, reply)

    def _booked(self, calls: list[Call], reply: Reply) -> None:
        self._is_busy = False
        if self.is_dead:
            return
        now = self._simulation.now
        self.member.receive(now, reply)
        again = 0.0
        for call, booking in zip(calls, reply.bookings, strict=False):
            if booking.ticket is None:
                again = self.member.pause(booking.wait, self._simulation.random.random())
                break
            queue = self._queues[call.is_background]
            if queue[0] is call:
                queue.popleft()
            else:
                queue.remove(call)
            self._simulation.at(max(now, booking.ticket.start), self._start, call, booking.ticket)
        if self.waiting:
            self._wake(again)

    def _start(self, call: Call, ticket: Ticket) -> None:
        if not self.is_dead:
            self._send(call, ticket)

    def _lose(self) -> None:
        self._is_busy = False
        self.member.lose(self._simulation.now)
        self._simulation.after(KNOCK, self._knock)
        self._wake(0)

    def _knock(self) -> None:
        if self.is_dead or self.redis is None:
            return
        if self.redis.is_away:
            self._simulation.after(KNOCK + self.redis.failure, self._knock)
            return
        self.member.receive(self._simulation.now, self.redis.step(self.member, []))
        self._wake(0)

    # Calls

    def _send(self, call: Call, ticket: Ticket) -> None:
        call.attempts += 1
        delay = NETWORK + self._simulation.random.random() * self._wire.jitter
        self._simulation.after(delay, self._arrive, call, ticket)

    def _arrive(self, call: Call, ticket: Ticket) -> None:
        simulation = self._simulation
        head = self._server.arrive(simulation.now, call.tokens_in, call.tokens_out, call.max_tokens)
        if head.status != 200:  # noqa: PLR2004
            simulation.after(REFUSAL, self._refused, call, ticket, head)
            return
        call.started = simulation.now
        spread = exp(simulation.random.gauss(0, 0.6))
        latency = min(20.0, max(0.3, self._wire.latency * spread))
        if self._wire.streams:
            simulation.after(HEAD, self._settle, ticket, head, None)
            simulation.after(max(HEAD, latency), self._finish, call, ticket, None)
        else:
            simulation.after(latency, self._finish, call, ticket, head)

    def _finish(self, call: Call, ticket: Ticket, head: Head | None) -> None:
        now = self._simulation.now
        self._server.end(now, call.tokens_out, call.max_tokens)
        if self.is_dead:
            return
        self._settle(ticket, head, (1, call.tokens_in, call.tokens_out))
        call.ended = now
        self.ended.append(call)
        self.when_ended(self, call)

    def _refused(self, call: Call, ticket: Ticket, head: Head) -> None:
        if self.is_dead:
            return
        self._settle(ticket, head, None)
        if head.status == 429:  # noqa: PLR2004
            self.put(call, first=True)
        else:  # the client's own backoff
            most = min(MOST_BACKOFF, 0.5 * 2 ** min(call.attempts, 5))
            self._simulation.after(self._simulation.random.random() * most, self.put, call)

    def _settle(self, ticket: Ticket, head: Head | None, used: tuple[int, int, int] | None) -> None:
        if self.is_dead:
            return
        now = self._simulation.now
        status, limit, remaining, retry_after = head or Head(0)
        told = None if head is None else status
        if self.redis is None:
            learn(self.state, now, ticket, told, limit, remaining, retry_after, used)
        else:
            self.member.settle(now, ticket, told, limit, remaining, retry_after, used)
        if self.redis is None or self.member.is_away:
            if self.waiting:
                self._wake(0)
        elif not self._is_busy and not now - 1e-9 <= self._timer <= now + TELL:
            self._wake(TELL)
