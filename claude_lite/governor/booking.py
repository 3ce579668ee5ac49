"""One rate limit for many callers: two pure functions on a small state. No clock, no lock, no I/O.

    wait, ticket = book(state, now, tokens_in, max_tokens)
    learn(state, now, ticket, status=200, limit=(50, 0, 0), remaining=(9, -1, -1), used=(1, 90, 25))

`book` asks for a turn. A ticket is the turn: the call may start at `ticket.start`. No ticket means
that nothing was booked: ask again after `wait` seconds. `learn` tells what came of a ticket. The
caller brings the time (in seconds, of any clock that all callers share) and the lock.

**A bucket is a clock.** The API has three buckets per family of models: requests, input tokens,
output tokens. Each fills at a steady rate up to its size. Here a bucket is one number, its `clock`:
the moment at which all that was taken from it is paid for. So `now - clock` is what is left, in
seconds of its rate. To take is to move the clock forward by cost / rate. A clock that is ahead of
now is a queue: it says when the last caller that booked may start.

**Book.** A call takes from all buckets in one step, or from none. Its cost is an estimate: one
request, the input tokens that the caller has counted, and for the output `max_tokens` or the mean
output so far, whichever is smaller. The call starts when each bucket has the margin left after it.
A bucket never counts as fuller than its size, but a single call always finds room, even if it is
larger than the bucket.

**The margin.** Half the bucket, at most 2 seconds, stays untouched. It is the only way to see that
others use the same limit: if the planned level were zero, "nothing is left" would be no news. Calls
that go first (`part` below 1) may use some of it.

**Give back.** The end of a call tells what it has really used, and the difference is given back (or
taken). A call that was refused or failed was charged nothing, so all of it is given back. A call
whose fate is unknown keeps its booking, because the API may have charged it.

**Drift.** An answer's headers say what was left when the call started. Its ticket remembers the
level that was planned for that moment. What is missing was taken by others. The drift moves the
clock, so that it is paid for; `Bucket.drift` adds it up, so that other answers of the same time do
not pay for it again. And it lowers our share of the rate, because others will go on. The share
comes back slowly. A level above the margin needs no correction. A turn that was given stays:
changing the order of starts looks like more drift, and costs more than a refusal.

**A refusal (429)** is a drift whose size the server names: `retry-after`. It stops nobody, and does
not halve the rate. If no bucket is short, the refusal has another reason (the API's limit on
acceleration, a gateway's own limit). One such refusal is chance; after a few in a row everybody
stops for the time that was named, and starts again slowly.

**Before the first header** nobody knows the limit. Four calls start at once, and the number doubles
each second. If an answer comes without headers, there is no limit to keep: nobody is held.

**Wrong headers do no harm.** Gateways send such headers. A limit that is absent, or 0, holds
nobody. "Nothing is left" on calls that were let in is not believed after the third. A large drift
that another call of the same time contradicts is not believed. A bucket that is seen much fuller
than planned, again and again, belongs to a pool of keys: our share grows, up to 16 times the rate.

`governor.lua` says the same for Redis. `tests/governor/test_parity.py` compares the two.
"""

# ruff: noqa: FURB136, PLR1730  # max() and min() take three times as long, and each call comes here

from math import log2
from typing import Final

from claude_lite.governor.state import (
    ANSWERED,
    COLD_TICKET,
    MOST_OUTPUTS,
    NORMAL,
    Bucket,
    State,
    Three,
    Ticket,
)

__all__ = ["book", "give_back", "learn"]

ROUNDED: Final = (0, 999, 999)
"""What the headers hide: the API rounds `remaining` of tokens down to thousands."""
MINUTE: Final = 60.0
"""Limits are per minute, and a bucket of the API holds one minute of its rate at most."""
SMALLEST: Final = 0.25
"""The size of a bucket, in seconds, that was empty when it was first seen."""
LOWER: Final = 0.1
"""The part of our share that is given up per second of drift."""
LEAST_SHARE: Final = 0.05
RETURN: Final = 0.002
"""The share that comes back per second."""
FAST_RETURN: Final = 0.01
"""The share that comes back per second while the bucket is seen rather full."""
LATELY: Final = 2.0
"""How long, in seconds, a sight of the bucket counts."""
RICHER: Final = 1.05
"""By what the share grows per second while the bucket is seen much fuller than planned."""
MOST_SHARE: Final = 16.0
COLD: Final = 4
"""How many calls start at once while nothing is known. The number doubles each second."""
SOON: Final = 0.001
"""A wait that is no wait, in seconds: shorter than a timer of an event loop is exact."""
ODD: Final = 4.0
"""So many refusals in a row, about, that no bucket explains are a limit; one alone is chance."""
FORGOTTEN: Final = 0.75
"""What is left of their number after an answer."""
SLOW: Final = 1 / 8
"""The part of the rate after a refusal that no bucket explains."""
SLOWER: Final = 0.5
"""What is left of that part after one more such refusal."""
SLOWEST: Final = 0.004
FASTER: Final = 1.03
"""By what that part grows per second."""
LONGEST_STOP: Final = 5.0
"""The longest stop, in seconds, after a refusal that no bucket explains."""
LONGEST_DEBT: Final = 10.0
"""The largest debt, in seconds, that `retry-after` can tell."""
MEMORY: Final = 10.0
"""Calls of about so many seconds are counted, to guess a rate where no header tells one."""
GUESS: Final = 0.08
"""The guessed rate, per call counted: four fifths of the mean rate."""
LEAST_GUESS: Final = 1.0
GUESS_FALLS: Final = 0.7
"""What is left of a guessed rate after one more refusal."""
LEAST_OF_GUESS: Final = 0.05
GUESS_GROWS: Final = 0.02
"""By what a guessed rate grows per second."""
GUESS_ENDS: Final = 8.0
"""How many times the first guess is as good as no limit."""
LIARS: Final = 3
"""So many calls were let in with "nothing left": such headers are not believed any more."""
LONG_PAUSE: Final = 300.0
"""What grows with time grows as after so many seconds at most."""
SMALL: Final = 0.01
"""Drift that is no news, in seconds."""
CONTRADICTED: Final = 1.0
"""Calls that start within so many seconds see the same bucket."""
OK: Final = 200
REDIRECTED: Final = 300
REFUSED: Final = 429
OUTPUT: Final = 2
"""The index of the bucket of output tokens. It lags: output is charged while it is made."""
NOTHING: Final = (0.0, 0.0, 0.0)
SET_BACK: Final = -1.0
"""Time that runs back by more (in seconds) is a clock that was set."""


def book(  # noqa: C901  # one function: each call comes here
    state: State,
    now: float,
    tokens_in: float,
    max_tokens: float,
    ahead: float = SOON,
    part: float = 1.0,
) -> tuple[float, Ticket | None]:
    """Book a turn for one call.

    Args:
        state: What all callers have in common.
        now: The time, in seconds.
        tokens_in: The input tokens of the call, estimated.
        max_tokens: The largest output of the call, in tokens.
        ahead: Book only a start that is at most so many seconds away.
        part: The part of the margin that has to be left: 1, or less for calls that go first.

    Returns:
        The wait in seconds, and the ticket. Without a ticket nothing was booked, and the wait is
        that before the next try.

    """
    elapsed = now - state.seen
    if elapsed > 0 and not state.moving:  # mostly; this saves a step
        state.seen = now
    elif elapsed:
        _advance(state, now, elapsed)
    start = state.hold_until if state.hold_until > now else now
    mean = state.output_mean
    cost = (1, tokens_in, mean if 0 <= mean < max_tokens else max_tokens)
    buckets = state.buckets
    if not state.known:
        return _book_cold(state, now, start, cost)
    clocks = []
    for bucket, units in zip(buckets, cost, strict=True):
        rate, clock = bucket.rate, bucket.clock
        if rate:
            need = units / rate
            if need > MINUTE:
                need = MINUTE
            margin = bucket.margin * part
            if need + margin > bucket.room:
                margin = max(0.0, bucket.room - need)
            most = need + margin
            full = now - (bucket.size if bucket.size > most else most)
            clock = (clock if clock > full else full) + need
            if clock + margin > start:
                start = clock + margin
        clocks.append(clock)
    if state.moving and state.pace < NORMAL and buckets[0].rate:
        start = max(start, state.pace_clock)
    if start - now > ahead:
        return start - now, None
    if state.moving:
        state.recent += 1
        if state.pace < NORMAL and buckets[0].rate:
            state.pace_clock = max(state.pace_clock, now) + 1 / (buckets[0].rate * state.pace)
    one, two, three = buckets
    one.clock, two.clock, three.clock = clocks
    drifts = (one.drift, two.drift, three.drift)
    return start - now, Ticket(
        start, cost, (one.clock, two.clock, three.clock), drifts, state.epoch
    )


def _book_cold(
    state: State, now: float, start: float, cost: tuple[float, float, float]
) -> tuple[float, Ticket | None]:
    """Book while no limit is known."""
    if not state.free:
        if not state.cold:
            state.cold_since = now
        if state.cold >= COLD:
            start = max(start, state.cold_since + log2((state.cold + 1) / COLD))
    if start - now > SOON:
        return start - now, None
    state.cold += 1
    state.cold_open += 1
    state.recent += 1
    return 0.0, Ticket(now, cost)


def learn(  # noqa: C901, PLR0912, PLR0915  # one function: each call comes here
    state: State,
    now: float,
    ticket: Ticket,
    status: int | None = None,
    limit: Three | None = None,
    remaining: Three | None = None,
    retry_after: float | None = None,
    used: Three | None = None,
) -> None:
    """Learn what came of a ticket: from an answer's head, from its end, or from both at once.

    A refusal that is the account's own (a spend limit, a limit of 0) is no news about a bucket.
    Tell it as status 400, without limits.

    Args:
        state: What all callers have in common.
        now: The time, in seconds.
        ticket: What `book` gave.
        status: The status of the answer. 0: nobody knows whether the call was made; -1: it surely
            was not. None: the head was told before.
        limit: The limits per minute of the answer's headers. 0 or None: there is no such header.
        remaining: What the headers say is left. -1 or None: there is no such header.
        retry_after: The wait in seconds that a refusal names.
        used: What the call has really used: 1, input tokens (without those read from a cache),
            output tokens.

    """
    elapsed = now - state.seen
    if elapsed:
        _advance(state, now, elapsed)
    is_success = False
    if status is not None:
        is_success = OK <= status < REDIRECTED
        if ticket.epoch == COLD_TICKET:
            ticket.epoch = ANSWERED
            state.cold_open = max(0, state.cold_open - 1)  # a state may have been lost since
        if status and not is_success:
            used = NOTHING
    if used is not None and used is not NOTHING:
        _count_output(state, used[2])
    is_newest = False
    if limit is not None:
        is_newest = state.told_at <= ticket.start <= now
        if state.guess and any(limit):
            _end_guess(state)
    was_known = state.known
    is_short = False
    for index, bucket in enumerate(state.buckets):
        said = limit[index] if limit is not None else 0
        left = remaining[index] if remaining is not None else None
        if said and said != bucket.limit and (is_newest or not bucket.rate):
            _change_limit(state, now, ticket, index, said, left)
        rate = bucket.rate
        if not rate:
            continue
        back = 0.0
        if used is not None:
            taken, spent = ticket.cost[index] / rate, (used[index] or 0) / rate
            back = taken - spent
            if taken > MINUTE or spent > MINUTE:
                back = min(taken, MINUTE) - min(spent, MINUTE)
            if ticket.open:
                bucket.clock -= back
        if left is not None and left >= 0 and said == bucket.limit:
            level = left / rate
            if level > bucket.size:
                bucket.resize(min(level, MINUTE))
            if level > bucket.rather_full:
                bucket.full_at = now
            if status == REFUSED:
                is_short |= _see_refusal(state, ticket, index, level, retry_after, back, was_known)
            elif level < bucket.margin:
                _see_shortage(state, ticket, index, level, back)
            else:
                if ticket.start > bucket.plenty_at:
                    bucket.plenty_at = ticket.start
                if level > bucket.much_fuller and index != OUTPUT and is_success:
                    _see_riches(state, now, ticket, index, level)
    if used is not None:
        ticket.open = False
    if is_newest:
        state.told_at = ticket.start
    if is_success:
        if remaining is not None and remaining[0] == 0:
            state.zeros += 1
        if not state.known:
            state.free = True
        state.odd *= FORGOTTEN
    elif status == REFUSED:
        state.zeros = 0
        if not is_short:
            _stop(state, now, ticket, retry_after)


def give_back(state: State, ticket: Ticket, used: Three) -> None:
    """Learn of a call that succeeded only what it has used. Much quicker than `learn`.

    Args:
        state: What all callers have in common; it knew a limit when the ticket was booked.
        ticket: What `book` gave.
        used: What the call has really used; see `learn`.

    """
    if ticket.epoch == COLD_TICKET:
        ticket.epoch = ANSWERED
        state.cold_open -= 1
    state.odd *= FORGOTTEN
    _count_output(state, used[2] or 0)
    _, tokens_in, tokens_out = state.buckets
    _, booked_in, booked_out = ticket.cost
    if tokens_in.rate:
        rate = tokens_in.rate
        tokens_in.clock -= min(booked_in / rate, MINUTE) - min((used[1] or 0) / rate, MINUTE)
    if tokens_out.rate:
        rate = tokens_out.rate
        tokens_out.clock -= min(booked_out / rate, MINUTE) - min((used[2] or 0) / rate, MINUTE)
    ticket.open = False


def _see_shortage(state: State, ticket: Ticket, index: int, level: float, back: float) -> None:
    """See less than the margin in a bucket, in the headers of an answer."""
    bucket = state.buckets[index]
    level += ROUNDED[index] / bucket.rate
    if level >= bucket.margin:
        bucket.plenty_at = max(bucket.plenty_at, ticket.start)
    elif ticket.clocks is not None and ticket.epoch == state.epoch and state.zeros < LIARS:
        missing = _expected(bucket, ticket, index, back) - level
        is_large = missing > max(1.0, bucket.size / 4)
        if not (is_large and bucket.plenty_at > ticket.start - CONTRADICTED):
            _drift(state, bucket, missing)


def _see_refusal(
    state: State,
    ticket: Ticket,
    index: int,
    level: float,
    retry_after: float | None,
    back: float,
    was_known: bool,  # noqa: FBT001  # private
) -> bool:
    """See a bucket in the headers of a refusal; tell whether it is short."""
    bucket = state.buckets[index]
    level += ROUNDED[index] / bucket.rate
    need = ticket.cost[index] / bucket.rate
    if level >= max(bucket.margin, need + ROUNDED[index] / bucket.rate):
        bucket.plenty_at = max(bucket.plenty_at, ticket.start)
        return False
    if retry_after:
        level = min(level, need - min(retry_after - 1, LONGEST_DEBT))
    if ticket.clocks is not None and ticket.epoch == state.epoch:
        expected = _expected(bucket, ticket, index, back)
    else:
        expected = ticket.start - bucket.clock
    _drift(state, bucket, expected - level, lower=was_known)
    return True


def _expected(bucket: Bucket, ticket: Ticket, index: int, back: float) -> float:
    """Give the level that we expect for a ticket's start, by all that was learnt since."""
    clock = ticket.clocks[index] if ticket.clocks is not None else bucket.clock
    return ticket.start - clock + back - (bucket.drift - ticket.drifts[index])


def _drift(state: State, bucket: Bucket, missing: float, *, lower: bool = True) -> None:
    """Take what others took, in seconds of the rate, and expect them to go on."""
    if missing <= SMALL:
        return
    bucket.clock += missing
    bucket.drift += missing
    if lower:
        bucket.share = max(LEAST_SHARE, bucket.share * (1 - LOWER * min(missing, 1.0)))
        state.moving = True


def _see_riches(state: State, now: float, ticket: Ticket, index: int, level: float) -> None:
    """See whether a bucket is much fuller than planned."""
    if ticket.clocks is not None and ticket.epoch == state.epoch:
        bucket = state.buckets[index]
        if level - (ticket.start - ticket.clocks[index]) > bucket.much_fuller:
            bucket.rich_at = now
            state.moving = True


def _change_limit(
    state: State, now: float, ticket: Ticket, index: int, limit: float, left: float | None
) -> None:
    """Take over a limit that was not known, or that has changed."""
    bucket = state.buckets[index]
    before, rate = bucket.rate, limit / 60
    if not before:
        later = min(state.cold_open * ticket.cost[index] / rate, MINUTE)
        bucket.resize(SMALLEST if left is None else min(max(left / rate, SMALLEST), MINUTE))
    elif ticket.clocks is not None:  # what was booked since that call
        later = min(max(0.0, bucket.clock - ticket.clocks[index]) * before / rate, MINUTE)
    else:
        later = 0.0
    bucket.limit, bucket.rate = limit, rate
    bucket.clock = now
    if left is not None and left >= 0:
        bucket.clock = ticket.start - (left + ROUNDED[index]) / rate + later
    state.known = True
    state.epoch += 1


def _stop(state: State, now: float, ticket: Ticket, retry_after: float | None) -> None:
    """Stop everybody after a refusal that no bucket explains, and start again slowly."""
    if ticket.start < state.hold_until:
        return  # it started with the calls of the refusal before this one
    state.odd += 1
    if state.odd < ODD:
        return
    state.hold_until = now + min(retry_after or 1.0, LONGEST_STOP)
    state.moving = True
    requests = state.buckets[0]
    if state.guess:
        requests.rate = max(state.guess * LEAST_OF_GUESS, requests.rate * GUESS_FALLS)
        requests.clock = min(requests.clock, state.hold_until - 1 / requests.rate)
    elif requests.rate:
        state.pace_clock = state.hold_until
        state.pace = SLOW if state.pace >= 1 else max(SLOWEST, state.pace * SLOWER)
    elif not state.known:
        state.guess = requests.rate = max(LEAST_GUESS, GUESS * state.recent)
        requests.resize(1.0)
        requests.clock = min(now, state.hold_until - 1 / requests.rate)  # one call goes then
        state.known = True
        state.epoch += 1


def _end_guess(state: State) -> None:
    """Forget a guessed rate."""
    state.guess = 0.0
    state.known = False
    state.epoch += 1
    state.buckets[0].rate = 0.0


def _count_output(state: State, tokens: float | None) -> None:
    """Count the output of a call into the mean."""
    if tokens is None:
        return
    state.outputs = min(state.outputs + 1, MOST_OUTPUTS)
    if state.output_mean < 0:
        state.output_mean = tokens
    else:
        state.output_mean += (tokens - state.output_mean) / state.outputs


def _advance(state: State, now: float, elapsed: float) -> None:
    """Let time pass: what others take, and what comes back."""
    if elapsed < 0:
        if elapsed > SET_BACK:
            return  # a clock that was read a little earlier
        _set_back(state, elapsed)
        elapsed = 0.0
    state.seen = now
    if state.moving:
        _move(state, now, elapsed)


def _move(state: State, now: float, elapsed: float) -> None:
    """Move all that changes with time."""
    state.recent *= max(0.0, 1 - elapsed / MEMORY)
    if state.guess:
        requests = state.buckets[0]
        requests.rate *= 1 + GUESS_GROWS * min(elapsed, LONG_PAUSE)
        if requests.rate > GUESS_ENDS * state.guess:
            _end_guess(state)
    if state.pace < NORMAL:
        state.pace = min(NORMAL, state.pace * FASTER ** min(elapsed, LONG_PAUSE))
    state.moving = not state.known or state.pace < NORMAL or state.guess > 0
    for bucket in state.buckets:
        share = bucket.share
        if now - bucket.rich_at < LATELY:
            state.moving = True
            if share >= 1 and state.pace >= NORMAL:
                share = min(MOST_SHARE, share * RICHER ** min(elapsed, LATELY))
        if share == 1:
            continue
        if bucket.rate:
            bucket.clock += (1 - share) * elapsed
        if share < 1:
            speed = FAST_RETURN if now - bucket.full_at < LATELY else RETURN
            share = min(1.0, share + speed * elapsed)
        bucket.share = share
        state.moving = True


def _set_back(state: State, by: float) -> None:
    """Move all moments with a clock that was set back."""
    state.told_at += by
    state.hold_until += by
    state.pace_clock += by
    state.cold_since += by
    for bucket in state.buckets:
        bucket.clock += by
        bucket.full_at += by
        bucket.rich_at += by
        bucket.plenty_at += by
    state.epoch += 1
