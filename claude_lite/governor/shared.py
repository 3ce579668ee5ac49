"""One limit for many processes: what each process asks of the shared state, and what it gets.

The shared state is in Redis, and one step there is one call of `governor.lua`: learn from the
answers, then book for those who wait. `Shared.step` is the same step in Python. It says what the
Lua has to do, and takes its place in simulations. `Member` is the part of one process. Nothing here
makes I/O or reads a clock.

**Ahead.** A process books only starts of the next half second, and of these only its share among
the processes that are active. One call may be booked up to 5 seconds ahead, to keep the place of a
process in a long queue. All others wait in the process itself. So little is lost with a process
that is killed, and what is learnt holds for nearly all who wait.

**While Redis is away** a process keeps to its part of the limits that it knows: the limits divided
by the number of processes of the last 30 seconds, less a twentieth, because that number may be old.

**When Redis is back** nobody knows what was used meanwhile. So the bucket counts as empty, and
nobody starts for a second, until all processes are back. A Redis that came back empty is told the
limits by the first process that knows them.
"""

from collections.abc import Sequence
from typing import Final

from attrs import define, field

from claude_lite.governor.booking import book, learn
from claude_lite.governor.state import ANSWERED, NEVER, State, Three, Ticket

__all__ = ["Answer", "Booking", "Known", "Member", "Reply", "Shared", "Step", "Want"]

AHEAD: Final = 0.5
"""How many seconds ahead a process books."""
FIRST_AHEAD: Final = 5.0
"""How many seconds ahead a process books that has nothing booked."""
TO_ASK_AGAIN: Final = 0.75
"""When to ask again for more than the share, as a part of `AHEAD`."""
LEAST_PAUSE: Final = 0.02
LONGEST_PAUSE: Final = 1.0
ACTIVE: Final = 2.0
"""A process that asked in the last 2 seconds is active: it has a share."""
PRESENT: Final = 30.0
"""A process that asked in the last 30 seconds counts while Redis is away."""
CAREFUL: Final = 0.95
PAUSE: Final = 1.0
"""How many seconds nobody starts after an outage: each process knocks twice per second."""
SAME_OUTAGE: Final = 5.0
"""Processes that come back within so many seconds come back from the same outage."""
OUTPUTS_TOLD: Final = 20
"""How many calls a mean output counts for that a process tells."""
MOST_WANTS: Final = 64
"""The largest number of calls that are booked in one step: a step must be short."""
MOST_ANSWERS: Final = 256
"""The largest number of answers that are told in one step, for the same reason."""


@define
class Want:
    """A call that waits for its turn."""

    tokens_in: float
    max_tokens: float
    part: float = 1.0


@define
class Known:
    """The limits that a process knows: to tell them to a Redis that came back empty."""

    limits: tuple[float, float, float]
    sizes: tuple[float, float, float]
    output_mean: float


@define
class Answer:
    """What a process tells about a ticket: the arguments of `learn`."""

    ticket: Ticket
    status: int | None = None
    limit: Three | None = None
    remaining: Three | None = None
    retry_after: float | None = None
    used: Three | None = None


@define
class Step:
    """What one process tells and asks in one step.

    Attributes:
        name: The name of the process.
        ahead: How many seconds ahead to book.
        sleeping: How many calls of the process are booked and have not started.
        is_back: Whether this is the first step after Redis was away.
        known: The limits that the process knows.
        answers: What came of its calls.
        wants: Its calls that wait, in order.

    """

    name: str
    ahead: float = AHEAD
    sleeping: int = 0
    is_back: bool = False
    known: Known | None = None
    answers: Sequence[Answer] = ()
    wants: Sequence[Want] = ()


@define
class Booking:
    """The reply to one want: a ticket, or none; and the wait."""

    wait: float
    ticket: Ticket | None


@define
class Reply:
    """The reply to a step.

    Attributes:
        now: The time of the shared clock.
        processes: How many processes share the limit.
        known: The limits, as far as known.
        shares: The part of each limit that others leave to all these processes.
        bookings: A reply per want, in order. After one without a ticket no more wants were tried.

    """

    now: float
    processes: int
    known: Known | None
    shares: tuple[float, float, float]
    bookings: list[Booking]


@define
class Shared:
    """The state that processes share, as Redis holds it."""

    state: State = field(factory=State)
    asked: dict[str, float] = field(factory=dict)
    back_at: float = NEVER

    def step(self, now: float, step: Step) -> Reply:
        """Learn from a process's answers, then book for those who wait in it."""
        state = self.state
        if step.wants:
            self.asked[step.name] = now
            if len(self.asked) > 1:
                self._forget_old(now)
        if step.known is not None and (step.is_back or not state.known):
            self._return(now, step, step.known)
        for answer in step.answers:
            learn(
                state,
                now,
                answer.ticket,
                answer.status,
                answer.limit,
                answer.remaining,
                answer.retry_after,
                answer.used,
            )
        bookings: list[Booking] = []
        most = self._share(now, step)
        for number, want in enumerate(step.wants):
            if number >= most:
                bookings.append(Booking(step.ahead * TO_ASK_AGAIN, None))
                break
            keeps_place = not number and not step.sleeping
            ahead = max(step.ahead, FIRST_AHEAD) if keeps_place else step.ahead
            wait, ticket = book(state, now, want.tokens_in, want.max_tokens, ahead, want.part)
            bookings.append(Booking(wait, ticket))
            if ticket is None:
                break
        return Reply(now, max(1, len(self.asked)), known_of(state), state.shares, bookings)

    def _share(self, now: float, step: Step) -> float:
        """Say how many calls the process may book now."""
        state = self.state
        if not state.known or not step.wants:
            return MOST_WANTS
        want, mean = step.wants[0], state.output_mean
        tokens_out = mean if 0 <= mean < want.max_tokens else want.max_tokens
        rate = min(
            bucket.rate * bucket.share / max(1.0, units)
            for bucket, units in zip(state.buckets, (1, want.tokens_in, tokens_out), strict=True)
            if bucket.rate
        )
        active = sum(at >= now - ACTIVE for at in self.asked.values())
        share = int(step.ahead * rate / max(1, active) + 0.999) - step.sleeping
        return max(0 if step.sleeping else 1, share)

    def _return(self, now: float, step: Step, known: Known) -> None:
        """Begin again after an outage, or with an empty Redis."""
        state = self.state
        if not state.known:
            for bucket, limit, size in zip(state.buckets, known.limits, known.sizes, strict=True):
                bucket.limit, bucket.rate = limit, limit / 60
                bucket.resize(size)
            state.output_mean, state.outputs = known.output_mean, OUTPUTS_TOLD
            state.known, state.seen = True, now
            state.epoch += 1
        for bucket in state.buckets:
            bucket.clock = max(bucket.clock, now)
        if step.is_back and now - self.back_at > SAME_OUTAGE:
            state.hold_until = max(state.hold_until, now + PAUSE)
            self.back_at = now

    def _forget_old(self, now: float) -> None:
        """Forget the processes that have not asked for long."""
        if min(self.asked.values()) <= now - PRESENT:
            self.asked = {name: at for name, at in self.asked.items() if at > now - PRESENT}


def known_of(state: State) -> Known | None:
    """Give the limits that are known; None if there are none."""
    one, two, three = state.buckets
    if not (one.limit or two.limit or three.limit):
        return None
    return Known(
        (one.limit, two.limit, three.limit),
        (one.size, two.size, three.size),
        state.output_mean,
    )


@define(eq=False)
class LocalTicket(Ticket):
    """A ticket that was booked in a process while Redis was away."""

    home: State | None = None


@define(eq=False)
class Member:
    """The part of one process: what it tells and asks, and what it does while Redis is away.

    Attributes:
        name: The name of the process.
        ahead: How many seconds ahead it books.
        until: When the last of them starts, by the process's own clock.
        processes: How many processes share the limit.
        known: The limits, as far as known.
        is_away: Whether Redis is away.
        local: The state while Redis is away.

    """

    name: str
    ahead: float = AHEAD
    until: float = NEVER
    processes: int = 1
    known: Known | None = None
    is_away: bool = False
    local: State = field(factory=State)
    _is_back: bool = False
    _starts: list[float] = field(factory=list)
    _answers: list[Answer] = field(factory=list)
    _offset: float = 0.0

    @property
    def has_answers(self) -> bool:
        """Whether there is something to tell."""
        return bool(self._answers)

    def sleeping(self, now: float) -> int:
        """Count the calls that are booked and have not started, by their moments alone."""
        self._starts = [start for start in self._starts if start > now]
        return len(self._starts)

    def step(self, now: float, wants: Sequence[Want]) -> Step:
        """Make the next step of what is to be told, and of those who wait."""
        answers, self._answers = self._answers[:MOST_ANSWERS], self._answers[MOST_ANSWERS:]
        sleeping = self.sleeping(now)
        return Step(self.name, self.ahead, sleeping, self._is_back, self.known, answers, wants)

    def receive(self, now: float, reply: Reply) -> None:
        """Take what Redis has replied."""
        self.is_away = self._is_back = False
        self.processes, self.known = reply.processes, reply.known
        self._offset = reply.now - now
        for booking in reply.bookings:
            if booking.ticket is not None:
                self._starts.append(now + booking.wait)
                self.until = max(self.until, now + booking.wait)

    def pause(self, wait: float, random: float) -> float:
        """Say when to ask again for a call that has to wait.

        Args:
            wait: What Redis has replied, in seconds.
            random: A number between 0 and 1: processes that wait together ask at different times.

        """
        return min(LONGEST_PAUSE, max(LEAST_PAUSE, wait - self.ahead / 2) * (1 + 0.2 * random))

    def lose(self, now: float) -> None:
        """Note that Redis is away: keep to a part of the limits."""
        if not self.is_away:
            self.local = State(seen=now)
            if self.known is not None:
                part = CAREFUL / self.processes
                self._tell_local(now, self.known, part)
        self.is_away = self._is_back = True
        self._answers = []

    def _tell_local(self, now: float, known: Known, part: float) -> None:
        state = self.local
        for bucket, limit in zip(state.buckets, known.limits, strict=True):
            bucket.limit = limit * part
            bucket.rate = bucket.limit / 60
            bucket.resize(1.0)
            bucket.clock = now
        state.output_mean, state.outputs = known.output_mean, OUTPUTS_TOLD
        state.known = True

    def book(self, now: float, want: Want) -> tuple[float, Ticket | None]:
        """Book a turn here, while Redis is away; see `book`."""
        if now < self.until:  # those that Redis has booked go first
            return self.until - now, None
        wait, ticket = book(self.local, now, want.tokens_in, want.max_tokens, part=want.part)
        if ticket is None:
            return wait, None
        return wait, LocalTicket(
            ticket.start,
            ticket.cost,
            ticket.clocks,
            ticket.drifts,
            ticket.epoch,
            home=self.local,
        )

    def settle(
        self,
        now: float,
        ticket: Ticket,
        status: int | None = None,
        limit: Three | None = None,
        remaining: Three | None = None,
        retry_after: float | None = None,
        used: Three | None = None,
    ) -> None:
        """Learn what came of a ticket, here or with the next step; see `learn`."""
        if isinstance(ticket, LocalTicket) and ticket.home is not None:
            if self.is_away and ticket.home is self.local:
                part = CAREFUL / self.processes
                limit, remaining = _scaled(limit, part), _scaled(remaining, part)
                learn(self.local, now, ticket, status, limit, remaining, retry_after, used)
                return
            # It was booked in another state, so it only tells what the limits are.
            ticket.start += self._offset
            ticket.clocks, ticket.epoch, ticket.open, ticket.home = None, ANSWERED, False, None
        if self.is_away:
            return
        self._answers.append(Answer(ticket, status, limit, remaining, retry_after, used))


def _scaled(numbers: Three | None, part: float) -> Three | None:
    if numbers is None:
        return None
    return [number * part if number and number > 0 else number for number in numbers]
