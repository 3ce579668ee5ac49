"""The API's side: three token buckets, headers, refusals, and what gateways make of them."""

# ruff: noqa: ARG001  # the functions for headers get the same arguments

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from math import ceil
from random import Random
from typing import Final, Literal, NamedTuple

Three = list[float]
Charge = Literal["arrival", "end", "max"]
Headers = Callable[[Three, Three, Random], tuple[Three, Three] | None]

WINDOW: Final = 10.0  # the limit on acceleration compares the last 10 s with the 10 s before
LEAST_STEEP: Final = 50


class Head(NamedTuple):
    """The head of an answer."""

    status: int
    limit: Three | None = None
    remaining: Three | None = None
    retry_after: float | None = None


def no_headers(limits: Three, remaining: Three, random: Random) -> None:
    """Send no headers."""


def zero_limits(limits: Three, remaining: Three, random: Random) -> tuple[Three, Three]:
    """Send limits of 0."""
    return [0.0, 0.0, 0.0], remaining


def zero_remaining(limits: Three, remaining: Three, random: Random) -> tuple[Three, Three]:
    """Say that nothing is left."""
    return limits, [0.0, 0.0, 0.0]


def all_remaining(limits: Three, remaining: Three, random: Random) -> tuple[Three, Three]:
    """Say that all is left."""
    return limits, limits


def random_remaining(limits: Three, remaining: Three, random: Random) -> tuple[Three, Three]:
    """Say anything about what is left."""
    return limits, [int(limit * random.random()) for limit in limits]


def one_of_ten_keys(limits: Three, remaining: Three, random: Random) -> tuple[Three, Three]:
    """Send the headers of one key of ten, between which a gateway distributes calls."""
    return [limit / 10 for limit in limits], [number / 10 for number in remaining]


@dataclass
class Server:
    """The buckets of one family of models.

    Attributes:
        random: The source of randomness.
        limits: The limits per minute: requests, input tokens, output tokens.
        seconds: The size of the buckets, in seconds of the limits.
        charge: When the output is charged: at the arrival of the call, at its end, or `max_tokens`
            at the arrival and the difference at the end.
        lag: How old the headers are, in seconds.
        headers: What a gateway makes of the headers.
        has_acceleration_limit: Whether too steep a rise is refused.
        overloaded: From when until when all calls are answered with 529.

    """

    random: Random
    limits: Three
    seconds: float = 1.0
    charge: Charge = "arrival"
    lag: float = 0.0
    headers: Headers | None = None
    has_acceleration_limit: bool = False
    overloaded: tuple[float, float] = (0.0, 0.0)
    calls: int = 0
    refused: int = 0
    charged: list[tuple[float, float, float]] = field(default_factory=list)
    refusals: list[float] = field(default_factory=list)
    arrivals: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._levels = [limit / 60 * self.seconds for limit in self.limits]
        self._at = 0.0
        self._heads: deque[tuple[float, Three]] = deque()
        self._started: deque[float] = deque()

    def change(self, limits: Three) -> None:
        """Change the limits."""
        self.limits = limits
        self._levels = [
            min(level, limit / 60 * self.seconds)
            for level, limit in zip(self._levels, limits, strict=True)
        ]

    def arrive(
        self, now: float, tokens_in: int, tokens_out: int, max_tokens: int, *, foreign: bool = False
    ) -> Head:
        """Charge a call, or refuse it."""
        self._refill(now)
        if not foreign:
            self.calls += 1
            self.arrivals.append(now)
        if self.overloaded[0] <= now < self.overloaded[1]:
            return Head(529)
        levels = self._levels
        output = {"arrival": tokens_out, "end": 0, "max": max_tokens}[self.charge]
        needed = (1, tokens_in, max_tokens if self.charge == "max" else 1)
        if needed[0] > levels[0] or needed[1] > levels[1] or needed[2] > levels[2]:
            wait = max(
                (units - level) * 60 / limit
                for units, level, limit in zip(needed, levels, self.limits, strict=True)
            )
            return self._refuse(now, max(1, ceil(wait)), foreign=foreign)
        if self.has_acceleration_limit and self._is_steep(now):
            return self._refuse(now, 5, foreign=foreign)
        levels[0] -= 1
        levels[1] -= tokens_in
        levels[2] -= output
        self.charged.append((now, tokens_in, tokens_out))
        return Head(200, *self._headers(now))

    def end(self, now: float, tokens_out: int, max_tokens: int) -> None:
        """Charge the output of a call that ends."""
        if self.charge != "arrival":
            self._refill(now)
            self._levels[2] -= tokens_out - (max_tokens if self.charge == "max" else 0)

    def _refill(self, now: float) -> None:
        elapsed, self._at = now - self._at, now
        levels, limits = self._levels, self.limits
        for index in (0, 1, 2):
            rate = limits[index] / 60
            levels[index] = min(rate * self.seconds, levels[index] + elapsed * rate)

    def _refuse(self, now: float, retry_after: float, *, foreign: bool) -> Head:
        if not foreign:
            self.refused += 1
            self.refusals.append(now)
        return Head(429, *self._headers(now), retry_after)

    def _headers(self, now: float) -> tuple[Three | None, Three | None]:
        one, two, three = (max(0, int(level)) for level in self._levels)
        remaining: Three = [one, two // 1000 * 1000, three // 1000 * 1000]
        if self.lag:
            self._heads.append((now, remaining))
            while len(self._heads) > 1 and self._heads[1][0] <= now - self.lag:
                self._heads.popleft()
            remaining = self._heads[0][1]
        if self.headers is None:
            return self.limits, remaining
        return self.headers(self.limits, remaining, self.random) or (None, None)

    def _is_steep(self, now: float) -> bool:
        started = self._started
        while started and started[0] <= now - 2 * WINDOW:
            started.popleft()
        before = 0
        for at in started:
            if at > now - WINDOW:
                break
            before += 1
        steep = len(started) - before > max(LEAST_STEEP, 2 * before)
        if not steep:
            started.append(now)
        return steep
