"""Holding back together, when a rate limit refuses one of many."""

import asyncio

import pytest

from claude_lite.bulk.pace import Pace


class Time:
    """Virtual time: sleeping takes none."""

    def __init__(self):
        """Begin at some moment."""
        self.now = 1000.0

    def __call__(self):
        """Tell the time."""
        return self.now

    async def sleep(self, seconds):
        """Let time pass, and others run."""
        self.now += seconds
        await asyncio.sleep(0)


def run(scenario, most=4):
    """Run a scenario, a coroutine function of a pace and its time."""

    async def main():
        time = Time()
        await scenario(Pace(most, time, time.sleep), time)

    asyncio.run(main())


async def others():
    """Let the other tasks run until they wait."""
    for _ in range(5):
        await asyncio.sleep(0)


def test_at_most_so_many_are_let_in():
    """Who comes when all turns are taken waits until one has left."""

    async def scenario(pace, time):
        for _ in range(4):
            await pace.enter()
        fifth = asyncio.create_task(pace.enter())
        await others()
        assert (fifth.done(), pace.in_flight) == (False, 4)
        pace.leave()
        await fifth
        assert (pace.in_flight, time.now) == (4, 1000.0)

    run(scenario)


def test_a_refusal_stops_everyone_until_the_moment_named():
    """After a refusal nobody enters before the time is over, though there is room."""

    async def scenario(pace, time):
        await pace.enter()
        pace.slow_down(7.0)
        pace.leave()
        entering = asyncio.create_task(pace.enter())
        await others()
        assert not entering.done()
        await pace.resumed()
        await pace.enter(again=True)
        await entering
        assert time.now == 1007.0

    run(scenario)


def test_a_burst_of_refusals_halves_the_limit_once():
    """Refusals of requests that were in flight together count as one."""

    async def scenario(pace, time):
        for _ in range(4):
            await pace.enter()
        for _ in range(4):
            pace.slow_down(1.0)
            pace.leave()
        assert pace.limit == 2.0
        await pace.resumed()
        pace.slow_down(1.0)
        pace.slow_down(1.0)
        await pace.resumed()
        pace.slow_down(1.0)
        assert (pace.limit, time.now) == (1.0, 1002.0)

    run(scenario)


def test_the_longest_stop_counts():
    """A shorter stop does not cut a longer one short."""

    async def scenario(pace, time):
        pace.slow_down(9.0)
        pace.slow_down(2.0)
        await pace.resumed()
        assert time.now == 1009.0

    run(scenario)


def test_who_was_refused_goes_first_and_the_others_in_order():
    """A refused request overtakes those that have not been asked, which keep their order."""

    async def scenario(pace, time):
        order = []

        async def ask(name, **how):
            await pace.enter(**how)
            order.append(name)
            pace.leave()

        await pace.enter()
        pace.slow_down(1.0)
        tasks = [asyncio.create_task(ask(name)) for name in ("second", "third")]
        await others()
        pace.leave()
        await pace.resumed()
        await ask("first", again=True)
        await asyncio.gather(*tasks)
        assert order == ["first", "second", "third"]

    run(scenario, most=1)


def test_answers_bring_back_the_full_speed_and_no_more():
    """The limit grows by about one a round, up to where it began."""

    async def scenario(pace, time):
        pace.slow_down(0.0)
        assert pace.limit == 2.0
        pace.speed_up()
        pace.speed_up()
        assert 2.8 < pace.limit < 3.0
        for _ in range(100):
            pace.speed_up()
        assert pace.limit == 4.0

    run(scenario)


def test_a_turn_that_comes_too_late_is_given_back():
    """A task that is cancelled as it is let in leaves its turn to the next."""

    async def scenario(pace, time):
        await pace.enter()
        leaver, stayer = (asyncio.create_task(pace.enter()) for _ in range(2))
        await others()
        pace.leave()
        leaver.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaver
        await stayer
        assert pace.in_flight == 1

    run(scenario, most=1)


def test_a_task_that_is_cancelled_while_it_waits_takes_no_turn():
    """A cancelled waiter is passed over."""

    async def scenario(pace, time):
        await pace.enter()
        leaver, stayer = (asyncio.create_task(pace.enter()) for _ in range(2))
        await others()
        leaver.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaver
        pace.leave()
        await stayer
        assert pace.in_flight == 1

    run(scenario, most=1)
