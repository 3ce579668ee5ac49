"""The rules of the governor, one by one, in virtual time."""

import json
import math
from itertools import pairwise

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from claude_lite.governor.booking import FAST_RETURN, LEAST_SHARE, MINUTE, RETURN, book, learn
from claude_lite.governor.state import NORMAL, State, Ticket

START = 1_700_000_000.0


def known(limit=(2400, 0, 0), remaining=(40, -1, -1), now=START):
    """Give a state that has learnt *limit* from one answer; the bucket holds what it names."""
    state = State()
    _, ticket = book(state, now, 1, 1)
    learn(state, now, ticket, status=200, limit=limit, remaining=remaining, used=(1, 1, 1))
    _, ticket = book(state, now, 1, 1)  # from now on no bucket counts as fuller than its size
    learn(state, now, ticket, status=-1)
    return state


def booked(state, now, tokens_in=1, max_tokens=1, **options):
    """Book as often as there is a ticket, and give the tickets."""
    tickets = []
    while len(tickets) < 10_000:
        _, ticket = book(state, now, tokens_in, max_tokens, **options)
        if ticket is None:
            return tickets
        tickets.append(ticket)
    raise AssertionError("nothing holds these calls")


def clocks(state):
    """Give the clocks of the three buckets."""
    return [bucket.clock for bucket in state.buckets]


def left(state, now, index=0):
    """Give what is left in a bucket, in its units."""
    bucket = state.buckets[index]
    return (now - bucket.clock) * bucket.rate


# Before the first header


def test_four_calls_start_at_once_and_twice_as_many_each_second():
    """4 calls start at once; 8 have started after 1 s, 16 after 2 s, 32 after 3 s."""
    state, started = State(), 0
    for second, most in enumerate((4, 8, 16, 32)):
        started += len(booked(state, START + second))
        assert started in {most, most + 1} if second else started == most


def test_the_wait_before_the_first_header_is_named():
    """The fifth call waits for a part of a second, then it gets its turn."""
    state = State()
    booked(state, START)
    wait, ticket = book(state, START, 1, 1)
    assert ticket is None
    assert 0 < wait < 1
    assert book(state, START + wait, 1, 1)[1] is not None


def test_no_headers_no_limit():
    """After one answer without limits nobody is held."""
    state = State()
    _, ticket = book(state, START, 1, 1)
    learn(state, START, ticket, status=200, used=(1, 1, 1))
    assert state.free
    with pytest.raises(AssertionError, match="nothing holds"):
        booked(state, START)


@pytest.mark.parametrize("limit", [(0, 0, 0), (None, None, None), (0, None, 0)])
def test_a_limit_of_zero_holds_nobody(limit):
    """A limit that is 0 or missing is no limit, whatever is said to be left of it."""
    state = State()
    _, ticket = book(state, START, 1, 1)
    learn(state, START, ticket, status=200, limit=limit, remaining=(0, 0, 0), used=(1, 1, 1))
    assert not state.known
    assert state.free


def test_calls_that_have_ended_do_not_hold_the_first_limit():
    """A thousand failures before the first header take nothing from the bucket it tells of."""
    state, now = State(), START
    for _ in range(1000):
        wait, ticket = book(state, now, 1, 1)
        now += wait
        if ticket is not None:
            learn(state, now, ticket, status=529)
    now += 20
    _, ticket = book(state, now, 1, 1)
    learn(state, now, ticket, status=200, limit=(60, 0, 0), remaining=(30, -1, -1), used=(1, 1, 1))
    assert left(state, now) == pytest.approx(30)


def test_calls_without_an_answer_count_as_taken():
    """The first header is older than the calls that started meanwhile: they are subtracted."""
    state = State()
    first, *others = booked(state, START)
    learn(state, START + 1, first, status=200, limit=(2400, 0, 0), remaining=(40, -1, -1))
    assert left(state, START) == pytest.approx(40 - len(others))


# Booking


def test_half_the_bucket_stays():
    """Of a bucket of 40 calls, 20 are given at once; the others wait."""
    state = known(remaining=(40, -1, -1))
    assert len(booked(state, START)) == 20


def test_at_most_two_seconds_stay():
    """Of a bucket of a minute, all but 2 seconds are given at once."""
    state = known(remaining=(2400, -1, -1))
    assert len(booked(state, START)) == 2400 - 80


def test_who_goes_first_may_use_half_the_margin():
    """With `part` 0.5 ten calls more are given at once."""
    state = known(remaining=(40, -1, -1))
    booked(state, START)
    assert len(booked(state, START, part=0.5)) == 10


def test_the_wait_is_exact():
    """After the named wait there is room, and not 2 ms before."""
    state = known()
    booked(state, START)
    wait, ticket = book(state, START, 1, 1)
    assert ticket is None
    assert book(state, START + wait - 0.002, 1, 1)[1] is None
    assert book(state, START + wait + 1e-6, 1, 1)[1] is not None


def test_nothing_is_taken_without_a_ticket():
    """A call that does not get a turn takes from no bucket."""
    state = known(limit=(2400, 600_000, 0), remaining=(40, 10_000, -1))
    booked(state, START)
    before = clocks(state)
    assert book(state, START, 1_000_000, 1)[1] is None
    assert clocks(state) == before


def test_a_turn_is_booked_ahead():
    """With `ahead` calls are booked one after the other, at the rate of the limit."""
    state = known()
    booked(state, START)
    starts = [ticket.start for ticket in booked(state, START, ahead=0.5)]
    assert 19 <= len(starts) <= 20
    assert all(b - a == pytest.approx(1 / 40, abs=1e-5) for a, b in pairwise(starts))


def test_each_bucket_has_to_have_room():
    """The fullest bucket does not help: the emptiest one decides."""
    state = known(limit=(2400, 60_000, 0), remaining=(40, 1000, -1))
    assert book(state, START, 500, 1)[1] is not None
    wait, ticket = book(state, START, 300, 1)
    assert ticket is None
    assert wait == pytest.approx((500 + 300 + 500 - 1000) / 1000, abs=1e-3)


def test_the_output_is_that_of_the_calls_before():
    """A call with a large `max_tokens` is booked with the mean output so far."""
    state = State()
    for output in (100, 300, 200):
        _, ticket = book(state, START, 1, 1000)
        assert ticket.cost[2] == (1000 if output == 100 else state.output_mean)
        learn(state, START, ticket, status=200, used=(1, 1, output))
    assert state.output_mean == pytest.approx(200)
    assert book(state, START, 1, 50)[1].cost[2] == 50


@pytest.mark.parametrize("tokens", [5_000, 1_000_000])
def test_a_call_that_is_larger_than_the_bucket_finds_room(tokens):
    """A single call starts at once when the bucket is full, however large it is."""
    state = known(limit=(0, 60_000, 0), remaining=(-1, 1000, -1))
    wait, ticket = book(state, START + 100, tokens, 1)
    assert (wait, ticket.start) == (0, START + 100)


def test_a_booking_is_at_most_a_minute():
    """One huge call holds the others for a minute, not for longer; neither does its usage."""
    state = known(limit=(0, 1000, 0), remaining=(-1, 1000, -1))
    _, ticket = book(state, START + 100, 1_000_000, 1)
    assert book(state, START + 100, 1, 1)[0] < MINUTE + 2
    learn(state, START + 101, ticket, status=200, used=(1, 2_000_000, 1))
    assert book(state, START + 101, 1, 1)[0] < MINUTE + 2


# What comes back


def test_what_was_not_used_comes_back():
    """The end of a call gives back the difference between its estimate and its usage."""
    state = known(limit=(0, 0, 60_000), remaining=(-1, -1, 60_000))
    state.output_mean = -1.0
    before = left(state, START, 2)
    _, ticket = book(state, START, 1, 4000)
    assert left(state, START, 2) == pytest.approx(before - 4000)
    learn(state, START, ticket, status=200, used=(1, 1, 500))
    assert left(state, START, 2) == pytest.approx(before - 500)


def test_more_than_the_estimate_is_taken():
    """A call that used more than was booked takes the rest."""
    state = known(limit=(0, 60_000, 0), remaining=(-1, 60_000, -1))
    before = left(state, START, 1)
    _, ticket = book(state, START, 100, 1)
    learn(state, START, ticket, status=200, used=(1, 700, 1))
    assert left(state, START, 1) == pytest.approx(before - 700)


@pytest.mark.parametrize("status", [400, 404, 413, 429, 500, 503, 529, -1])
def test_a_failure_costs_nothing(status):
    """What was refused, failed or never sent gives all of its booking back, in each bucket."""
    state = known(limit=(2400, 60_000, 60_000), remaining=(40, 50_000, 50_000))
    before = clocks(state)
    _, ticket = book(state, START, 100, 1000)
    assert all(a > b for a, b in zip(clocks(state), before, strict=True))
    learn(state, START, ticket, status=status)
    assert clocks(state) == pytest.approx(before, abs=1e-6)


def test_an_overload_changes_nothing_else():
    """A 529 gives the booking back, and neither stops nor slows anybody."""
    state = known()
    book(state, START + 1, 1, 1)
    kept = State.from_dict(state.to_dict())
    _, ticket = book(state, START + 1, 1, 1)
    learn(state, START + 1, ticket, status=529, retry_after=60)
    assert state.buckets[0].clock == pytest.approx(kept.buckets[0].clock, abs=1e-6)
    state.buckets[0].clock = kept.buckets[0].clock
    assert state == kept


def test_an_unknown_fate_costs_all():
    """A call that the API may have made keeps its booking."""
    state = known(limit=(2400, 60_000, 0), remaining=(40, 50_000, -1))
    _, ticket = book(state, START, 100, 1000)
    before = clocks(state)
    learn(state, START, ticket, status=0)
    assert clocks(state) == before


def test_a_booking_comes_back_once():
    """The head and the end of a stream settle its booking once, however often they are told."""
    state = known(limit=(0, 0, 60_000), remaining=(-1, -1, 50_000))
    before = left(state, START, 2)
    _, ticket = book(state, START, 1, 1000)
    learn(state, START, ticket, status=200)
    for _ in range(3):
        learn(state, START, ticket, used=(1, 1, 400))
    learn(state, START, ticket, status=-1)
    assert left(state, START, 2) == pytest.approx(before - 400)


# Headers


def test_the_first_header_says_what_is_left():
    """The bucket holds what the header says; of tokens, 999 more: they are rounded down."""
    state = State()
    _, ticket = book(state, START, 1, 1)
    learn(state, START, ticket, status=200, limit=(2400, 60_000, 0), remaining=(17, 5000, -1))
    assert left(state, START, 0) == pytest.approx(17)
    assert left(state, START, 1) == pytest.approx(5999)


def test_a_bucket_is_as_large_as_it_was_ever_seen():
    """The size grows with what is seen, to a minute at most."""
    state = known(remaining=(40, -1, -1))
    assert state.buckets[0].size == pytest.approx(1)
    for now, remaining, size in ((100, 80, 2), (200, 20, 2), (300, 10_000, 60)):
        _, ticket = book(state, START + now, 1, 1)
        learn(
            state,
            START + now,
            ticket,
            status=200,
            limit=(2400, 0, 0),
            remaining=(remaining, -1, -1),
        )
        assert state.buckets[0].size == pytest.approx(size)


def test_a_changed_limit_holds_at_once():
    """After a header with a tenth of the limit, calls start at a tenth of the rate."""
    state = known()
    _, ticket = book(state, START + 10, 1, 1)
    learn(
        state,
        START + 10,
        ticket,
        status=200,
        limit=(240, 0, 0),
        remaining=(0, -1, -1),
        used=(1, 1, 1),
    )
    assert state.rates == (4, 0, 0)
    booked(state, START + 100)
    starts = [ticket.start for ticket in booked(state, START + 100, ahead=2)]
    assert starts[-1] - starts[-2] == pytest.approx(1 / 4)


def test_an_overtaken_answer_does_not_change_the_limit():
    """The limit is that of the call that started last, in whatever order the answers come."""
    state = known()
    _, older = book(state, START + 10, 1, 1)
    _, newer = book(state, START + 11, 1, 1)
    learn(state, START + 12, newer, status=200, limit=(240, 0, 0), remaining=(3, -1, -1))
    learn(state, START + 13, older, status=200, limit=(2400, 0, 0), remaining=(30, -1, -1))
    assert state.buckets[0].limit == 240


def test_a_missing_header_changes_nothing():
    """An answer without headers keeps the limits that are known."""
    state = known()
    kept = [evolve(bucket) for bucket in state.buckets]
    _, ticket = book(state, START, 1, 1)
    learn(state, START, ticket, status=529)
    assert state.buckets[0].limit == kept[0].limit
    assert state.known


# Drift


def drifted(missing, size=40.0):
    """Give a state after an answer that shows *missing* requests less than planned."""
    state = known(remaining=(size, -1, -1))
    tickets = booked(state, START)
    planned = left(state, START)
    learn(
        *(state, START + 0.01, tickets[-1]),
        status=200,
        limit=(2400, 0, 0),
        remaining=(planned - missing, -1, -1),
        used=(1, 1, 1),
    )
    return state, tickets


def test_what_others_took_is_taken():
    """Ten requests less than planned move the clock by ten requests, and lower the share."""
    state, _ = drifted(10)
    assert left(state, START) == pytest.approx(10, abs=0.01)
    assert state.buckets[0].share == pytest.approx(1 - 0.1 * 10 / 40)


def test_drift_is_taken_once():
    """Other answers of the same time, which show the same, change nothing."""
    state, tickets = drifted(10)
    share, level = state.buckets[0].share, left(state, START)
    for ticket in tickets[10:19]:
        remaining = 40 - 1 - tickets.index(ticket) - 10
        learn(
            *(state, START + 0.01, ticket),
            status=200,
            limit=(2400, 0, 0),
            remaining=(remaining, -1, -1),
            used=(1, 1, 1),
        )
    assert left(state, START) == pytest.approx(level, abs=0.01)
    assert state.buckets[0].share == pytest.approx(share, abs=1e-4)


def test_above_the_margin_nothing_is_corrected():
    """An answer that shows at least the margin is as planned, whatever was planned."""
    state = known(remaining=(40, -1, -1))
    _, ticket = book(state, START, 1, 1)
    learn(
        state, START, ticket, status=200, limit=(2400, 0, 0), remaining=(21, -1, -1), used=(1, 1, 1)
    )
    assert left(state, START) == pytest.approx(39)
    assert state.shares == (1, 1, 1)


def test_the_share_slows_us():
    """With a share of 0.5, calls start at half the rate."""
    state = known()
    state.buckets[0].share, state.moving = 0.5, True
    booked(state, START)
    starts, now = [], START
    while len(starts) < 50:
        wait, ticket = book(state, now, 1, 1)
        if ticket is not None:
            starts.append(now)
        now += wait or 1e-6
    assert (starts[-1] - starts[0]) / 49 == pytest.approx(1 / 20, rel=0.05)


@pytest.mark.parametrize(("full", "speed"), [(False, RETURN), (True, FAST_RETURN)])
def test_the_share_comes_back(full, speed):
    """The share grows by 0.2 % a second; by 1 % while the bucket is seen rather full."""
    state, _ = drifted(10)
    share = state.buckets[0].share
    state.buckets[0].full_at = START + 1 if full else START - 100
    book(state, START + 1, 1, 1)
    state.buckets[0].full_at = START + 1 if full else START - 100
    book(state, START + 2, 1, 1)
    assert state.buckets[0].share - share == pytest.approx(2 * speed, rel=0.02)


def test_the_share_has_a_floor():
    """However much others take, a twentieth of the rate stays ours."""
    state = known()
    for second in range(500):
        _, ticket = book(state, START + second, 1, 1, ahead=1e9)
        if ticket:
            learn(
                *(state, START + second, ticket),
                status=429,
                limit=(2400, 0, 0),
                remaining=(0, -1, -1),
                retry_after=10,
            )
    assert state.buckets[0].share >= LEAST_SHARE
    assert state.buckets[0].share < 2 * LEAST_SHARE


def test_a_large_drift_that_another_call_contradicts_is_not_believed():
    """A header that shows an empty bucket, between others that show plenty, is no news."""
    state = known(remaining=(2400, -1, -1))
    _, one = book(state, START, 1, 1)
    _, two = book(state, START, 1, 1)
    learn(state, START, one, status=200, limit=(2400, 0, 0), remaining=(2000, -1, -1))
    level = left(state, START)
    learn(state, START, two, status=200, limit=(2400, 0, 0), remaining=(1, -1, -1))
    assert left(state, START) == pytest.approx(level)
    assert state.shares == (1, 1, 1)


def test_nothing_left_is_believed_three_times():
    """Zero on calls that were let in is not believed after the third such call."""
    state, now, levels = known(remaining=(2400, -1, -1)), START, []
    for _ in range(5):
        now += 100
        _, ticket = book(state, now, 1, 1)
        learn(
            state,
            now,
            ticket,
            status=200,
            limit=(2400, 0, 0),
            remaining=(0, -1, -1),
            used=(1, 1, 1),
        )
        levels.append(left(state, now))
    assert max(levels[:3]) < 1
    assert min(levels[3:]) > 1000


def test_a_refusal_makes_zeros_true_again():
    """After a 429 "nothing left" is believed again."""
    state = known()
    state.zeros = 5
    _, ticket = book(state, START, 1, 1)
    learn(state, START, ticket, status=429, limit=(2400, 0, 0), remaining=(0, -1, -1))
    assert state.zeros == 0


def test_a_pool_of_keys_is_used():
    """A bucket that is seen much fuller than planned, for a minute, gives many times its rate."""
    state, now = known(limit=(240, 0, 0), remaining=(4, -1, -1)), START
    started = 0
    while now < START + 60:
        wait, ticket = book(state, now, 1, 1)
        if ticket is not None:
            started += 1
            learn(
                state,
                now,
                ticket,
                status=200,
                limit=(240, 0, 0),
                remaining=(240, -1, -1),
                used=(1, 1, 1),
            )
        now += wait or 1e-6
    assert started > 3 * 240
    assert 8 < state.buckets[0].share <= 16


# Refusals


def test_a_refusal_is_paid_with_its_wait():
    """A 429 that names 3 seconds holds the next call for 2 to 3.5 s, and stops nobody."""
    state = known()
    _, ticket = book(state, START, 1, 1)
    learn(
        *(state, START, ticket),
        status=429,
        limit=(2400, 0, 0),
        remaining=(0, -1, -1),
        retry_after=3,
    )
    assert state.hold_until < START
    assert 2 <= book(state, START, 1, 1)[0] <= 3.5
    assert state.shares[0] == pytest.approx(0.9)


def test_two_refusals_of_one_time_are_one():
    """A second refusal of the same time moves nothing."""
    state = known()
    _, one = book(state, START, 1, 1)
    _, two = book(state, START, 1, 1)
    refusal = {"status": 429, "limit": (2400, 0, 0), "remaining": (0, -1, -1), "retry_after": 3}
    learn(state, START, one, **refusal)
    wait = book(state, START, 1, 1)[0]
    learn(state, START, two, **refusal)
    assert book(state, START, 1, 1)[0] == pytest.approx(wait, abs=0.1)


def test_a_refusal_that_no_bucket_explains_stops_everybody():
    """With room in each bucket, a 429 is another limit: a stop, then an eighth of the rate."""
    state = known(remaining=(2400, -1, -1))
    for ticket in [book(state, START, 1, 1)[1] for _ in range(4)]:
        learn(
            *(state, START, ticket),
            status=429,
            limit=(2400, 0, 0),
            remaining=(2300, -1, -1),
            retry_after=2,
        )
    assert book(state, START, 1, 1)[0] == pytest.approx(2)
    starts, now = [], START
    while now < START + 12:
        wait, ticket = book(state, now, 1, 1)
        if ticket is not None:
            starts.append(now)
        now += wait or 1e-6
    assert starts[0] == pytest.approx(START + 2, abs=0.01)
    assert len(starts) / 10 == pytest.approx(40 / 8, rel=0.3)


def test_the_stop_is_short():
    """No refusal without a reason stops everybody for more than 5 seconds."""
    state = known(remaining=(2400, -1, -1))
    for ticket in [book(state, START, 1, 1)[1] for _ in range(4)]:
        learn(state, START, ticket, status=429, retry_after=3600)
    assert book(state, START, 1, 1)[0] == pytest.approx(5)


def test_one_refusal_alone_stops_nobody():
    """Now and then a 429 that no bucket explains is chance: all others go on at the full rate."""
    state, now = known(remaining=(2400, -1, -1)), START
    for number in range(400):
        now += 0.1
        wait, ticket = book(state, now, 1, 1)
        assert wait == 0
        status = 429 if number % 20 == 0 else 200
        learn(state, now, ticket, status=status, limit=(2400, 0, 0), remaining=(2390, -1, -1))
    assert state.pace == pytest.approx(16)


def test_calls_of_before_the_stop_do_not_prolong_it():
    """Twenty refusals of one burst are one stop, and one slowdown."""
    state = known(remaining=(2400, -1, -1))
    tickets = [book(state, START, 1, 1)[1] for _ in range(20)]
    for ticket in tickets:
        learn(state, START + 1, ticket, status=429, retry_after=2)
    assert state.hold_until == START + 3
    assert state.pace == 1 / 8


def test_the_pace_comes_back():
    """After a few minutes without refusals nobody is slowed."""
    state = known(remaining=(2400, -1, -1))
    _, ticket = book(state, START, 1, 1)
    for _ in range(4):
        learn(state, START, ticket, status=429)
    for second in range(300):
        book(state, START + second, 1, 1)
    assert state.pace == NORMAL


def test_a_rate_is_guessed_where_no_header_tells_one():
    """After a 429 without headers, calls start at less than the rate that was refused."""
    state, now = State(), START
    state.free = True
    for _ in range(400):
        now += 1 / 40
        _, ticket = book(state, now, 1, 1)
    for _ in range(4):
        learn(state, now, ticket, status=429, retry_after=1)
    assert 10 < state.guess < 32
    assert 10 < state.rates[0] < 32
    assert book(state, now, 1, 1)[0] == pytest.approx(1)


def test_a_guess_is_given_up_in_time():
    """A guess grows by 2 % a second, and is no limit any more when it is eight times as large."""
    state = State()
    _, ticket = book(state, START, 1, 1)
    for _ in range(4):
        learn(state, START, ticket, status=429)
    for second in range(90):
        book(state, START + second, 1, 1)
    assert state.guess
    for second in range(90, 120):
        book(state, START + second, 1, 1)
    assert not state.guess
    assert not state.known


@pytest.mark.parametrize(
    ("limit", "remaining"), [((2400, 0, 0), (30, -1, -1)), ((0, 60_000, 0), (-1, 9, -1))]
)
def test_a_header_ends_a_guess(limit, remaining):
    """A header of whatever bucket replaces the guess."""
    state = State()
    _, ticket = book(state, START, 1, 1)
    learn(state, START, ticket, status=429)
    _, ticket = book(state, START + 10, 1, 1)
    learn(state, START + 10, ticket, status=200, limit=limit, remaining=remaining)
    assert not state.guess
    assert [bucket.limit for bucket in state.buckets] == [*limit]
    assert state.rates == tuple(number / 60 for number in limit)


# The clock


def test_a_clock_that_is_set_back_holds_nobody():
    """After the clock was set back by an hour, the next call waits no longer than before."""
    state = known()
    booked(state, START)
    _, old = book(state, START, 1, 1, ahead=1)
    wait = book(state, START, 1, 1)[0]
    assert book(state, START - 3600, 1, 1)[0] == pytest.approx(wait)
    learn(state, START - 3600, old, status=200, limit=(2400, 0, 0), remaining=(0, -1, -1))
    assert book(state, START - 3600, 1, 1)[0] < 1


def test_a_clock_that_jumps_ahead_fills_the_bucket_once():
    """After a night's sleep of the machine the bucket is full, not fuller."""
    state = known()
    assert len(booked(state, START + 30_000)) == 20


# Snapshots


def test_a_state_is_json():
    """A state becomes JSON and the same state again, also in the middle of things."""
    state, _ = drifted(10)
    copy = State.from_dict(json.loads(json.dumps(state.to_dict())))
    assert copy == state
    assert copy.buckets[0].margin == state.buckets[0].margin
    assert book(copy, START + 1, 10, 10)[0] == book(state, START + 1, 10, 10)[0]
    assert State.from_dict(json.loads(json.dumps(State().to_dict()))) == State()


# Whatever comes


class Server:
    """A server with the three plain buckets, which charges at arrival."""

    def __init__(self, limit, seconds):
        self.limit, self.seconds = limit, seconds
        self.levels = [number / 60 * seconds for number in limit]
        self.at = START

    def answer(self, now, cost):
        """Charge a call, or refuse it; give what `learn` takes."""
        for index, limit in enumerate(self.limit):
            full = limit / 60 * self.seconds
            self.levels[index] = min(full, self.levels[index] + (now - self.at) * limit / 60)
        self.at = now
        short = [
            (units - level) * 60 / limit
            for units, level, limit in zip(cost, self.levels, self.limit, strict=True)
            if limit and units > level
        ]
        told = {"limit": self.limit}
        if not short:
            self.levels = [a - b for a, b in zip(self.levels, cost, strict=True)]
            told |= {"status": 200, "used": cost}
        else:
            told |= {"status": 429, "retry_after": max(1, math.ceil(max(short)))}
        rounded = [int(max(0, level)) for level in self.levels]
        return {**told, "remaining": [rounded[0], *(n // 1000 * 1000 for n in rounded[1:])]}


CALLS = st.lists(
    st.tuples(
        st.sampled_from([0.0, 0.0, 0.01, 0.2, 1.0, 20.0]),  # seconds until the call comes
        st.integers(1, 400),
        st.integers(1, 400),
        st.sampled_from([0.0, 0.1, 1.0, 5.0]),  # seconds until its answer
    ),
    min_size=20,
    max_size=150,
)


@given(
    calls=CALLS,
    limit=st.sampled_from([(600, 0, 0), (0, 60_000, 0), (0, 0, 60_000), (600, 60_000, 30_000)]),
    seconds=st.sampled_from([2, 10, 60]),
)
def test_no_call_is_refused_by_a_plain_bucket(calls, limit, seconds):
    """A server with plain buckets refuses none of the calls, in whatever order they come and end.

    Calls of at most 400 tokens, estimated exactly; one call tells the limits before.
    """
    server, state, now, open_calls = Server(limit, seconds), State(), START, []
    _, ticket = book(state, now, 1, 1)
    learn(state, now, ticket, **server.answer(now, (1, 1, 1)))
    state.output_mean = -1.0
    for pause, tokens_in, tokens_out, lasts in calls:
        now += pause
        while True:
            for call in sorted(open_calls, key=lambda call: call[0]):
                if call[0] <= now:
                    open_calls.remove(call)
                    learn(state, now, call[1], **call[2])
            state.output_mean = -1.0
            wait, ticket = book(state, now, tokens_in, tokens_out)
            if ticket is not None:
                break
            now += max(wait, 1e-3)
        told = server.answer(now, (1, tokens_in, tokens_out))
        assert told["status"] == 200
        open_calls.append((now + lasts, ticket, told))


STEPS = st.lists(
    st.tuples(
        st.sampled_from([-10.0, -0.1, 0.0, 0.001, 0.1, 3.0, 1000.0]),
        st.sampled_from([None, 0, -1, 200, 201, 400, 429, 500, 529]),
        st.sampled_from([None, (0, 0, 0), (60, 1000, None), (2400, 2_000_000, 400_000), (1, 1, 1)]),
        st.sampled_from([None, (0, 0, 0), (-1, None, 3), (10**9, 10**9, 10**9), (30, 9000, 0)]),
        st.sampled_from([None, 0.0, 0.3, 5.0, 1e6]),
        st.sampled_from([None, (1, 0, 0), (1, 10**9, 7), (1, 300, 20)]),
        st.integers(0, 1_000_000),
        st.booleans(),
    ),
    max_size=60,
)


@given(steps=STEPS)
def test_nonsense_does_no_harm(steps):
    """Whatever is told, in whatever order: numbers stay finite, shares and paces in their bounds.

    And a call that comes 20 minutes later, to an idle governor, starts at once.
    """
    state, now, tickets = State(), START, []
    for pause, status, limit, remaining, retry_after, used, tokens, is_booking in steps:
        now += pause
        if is_booking or not tickets:
            wait, ticket = book(state, now, tokens, tokens, ahead=0.5)
            assert math.isfinite(wait)
            assert wait >= 0
            if ticket is not None:
                tickets.append(ticket)
                assert ticket.start >= now
        else:
            learn(
                *(state, now, tickets.pop(tokens % len(tickets))),
                status=status,
                limit=limit,
                remaining=remaining,
                retry_after=retry_after,
                used=used,
            )
        numbers = [state.hold_until, state.output_mean, state.pace, state.recent, *clocks(state)]
        assert all(map(math.isfinite, numbers))
        assert all(LEAST_SHARE <= share <= 16 for share in state.shares)
        assert state.cold_open >= 0
    later = max([now, *clocks(state)]) + 1200
    assert book(state, later, 1, 1)[0] == 0


@given(
    costs=st.lists(
        st.tuples(st.integers(1, 10**6), st.integers(1, 10**6)), min_size=1, max_size=20
    ),
    status=st.sampled_from([400, 500, 529, -1]),
)
def test_refused_calls_cost_nothing(costs, status):
    """What calls that all fail have booked, one after the other, comes back to the last token."""
    state = known(limit=(2400, 60_000, 60_000), remaining=(40, 1000, 1000))
    before = clocks(state)
    tickets = [book(state, START, *cost, ahead=math.inf)[1] for cost in costs]
    for ticket in tickets:
        learn(state, START, ticket, status=status)
    assert all(a <= b + 1e-4 for a, b in zip(clocks(state), before, strict=True))


@given(pauses=st.lists(st.sampled_from([0.0, 0.001, 0.5, 30.0]), min_size=1, max_size=100))
def test_clocks_of_bookings_never_run_back(pauses):
    """While calls are only booked, no clock moves back, and starts are in order."""
    state, now, last = known(limit=(2400, 60_000, 0), remaining=(40, 1000, -1)), START, 0.0
    before = clocks(state)
    for pause in pauses:
        now += pause
        _, ticket = book(state, now, 100, 1, ahead=math.inf)
        assert isinstance(ticket, Ticket)
        assert ticket.start >= last
        assert all(a >= b for a, b in zip(clocks(state), before, strict=True))
        last, before = ticket.start, clocks(state)
