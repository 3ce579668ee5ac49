"""What all callers of one rate limit have in common, and the ticket of one call."""

from collections.abc import Sequence
from typing import Any, Final

from attrs import asdict, define, field

__all__ = ["Bucket", "State", "Three", "Ticket"]

MARGIN: Final = 0.5
"""The part of a bucket that stays, so that the use of others shows."""
MOST_MARGIN: Final = 2.0
"""The largest margin, in seconds: answers are that late at most."""
NORMAL: Final = 16.0
"""Where that part ends: nobody is slowed. It is above 1, because the rate may be wrong."""
MOST_OUTPUTS: Final = 100
"""The mean output is that of about so many calls."""
COLD_TICKET: Final = -1
"""The epoch of a ticket that was booked while no limit was known."""
ANSWERED: Final = -2
"""The epoch of such a ticket after its answer."""
NEVER: Final = -1e9

Three = Sequence[float | None]
"""A number per bucket: requests, input tokens, output tokens."""


@define
class Bucket:
    """One of the three limits, as seen from here. Moments are seconds of the callers' clock.

    Attributes:
        limit: The limit per minute. 0: none is known.
        rate: The same per second.
        size: How many seconds of the rate it holds: the most that was seen.
        clock: The moment at which all that was taken is paid for.
        share: The part of the rate that is ours. Above 1: there is more than the headers say.
        drift: All that others took beyond their share, in seconds of the rate.
        full_at: When the bucket was last seen rather full.
        rich_at: When it was last seen much fuller than planned.
        plenty_at: The start of the latest call that saw no shortage.

    """

    limit: float = 0.0
    rate: float = 0.0
    size: float = 0.0
    clock: float = 0.0
    share: float = 1.0
    drift: float = 0.0
    full_at: float = NEVER
    rich_at: float = NEVER
    plenty_at: float = NEVER
    # These follow from the size. They are kept, because each call needs them.
    margin: float = field(default=0.0, init=False)
    room: float = field(default=1.0, init=False)
    rather_full: float = field(default=0.0, init=False)
    much_fuller: float = field(default=1.0, init=False)

    def __attrs_post_init__(self) -> None:
        self.resize(self.size)

    def resize(self, size: float) -> None:
        """Set the size, and what follows from it."""
        self.size = size
        self.margin = min(size * MARGIN, MOST_MARGIN)
        self.room = max(size, 1.0)
        self.rather_full = (size + self.margin) / 2
        self.much_fuller = max(1.0, 0.8 * (size - self.margin))


@define
class State:
    """All that callers of one limit have in common.

    Attributes:
        buckets: Requests, input tokens, output tokens.
        known: Whether any limit is known, or guessed.
        epoch: How often a limit has changed. Tickets of another epoch say nothing about drift.
        told_at: The start of the latest call that told the limits. Answers overtake each other.
        output_mean: The mean output of a call, in tokens. Negative: no call has ended yet.
        outputs: Of how many calls that mean is, at most `MOST_OUTPUTS`.
        seen: The moment of the last step.
        moving: Whether anything here changes with time: a share, the pace, a guess.
        hold_until: Nobody starts before.
        pace: The part of the request rate that is used after a refusal that no bucket explains.
        pace_clock: When the next call may start at that pace.
        cold: How many calls were let in while no limit was known.
        cold_since: When the first of them was.
        cold_open: How many of them have no answer yet.
        free: Whether answers come without limits: nobody is held.
        recent: How many calls were let in, about, in the last 10 seconds without a limit.
        guess: The request rate per second that was guessed first. 0: there is no guess.
        odd: How many refusals in a row, about, no bucket has explained; each answer forgets some.
        zeros: How many calls were let in with "nothing left" since the last refusal.

    """

    buckets: tuple[Bucket, Bucket, Bucket] = field(factory=lambda: (Bucket(), Bucket(), Bucket()))
    known: bool = False
    epoch: int = 0
    told_at: float = NEVER
    output_mean: float = -1.0
    outputs: int = 0
    seen: float = 0.0
    moving: bool = True
    hold_until: float = NEVER
    pace: float = NORMAL
    pace_clock: float = NEVER
    cold: int = 0
    cold_since: float = NEVER
    cold_open: int = 0
    free: bool = False
    recent: float = 0.0
    guess: float = 0.0
    odd: float = 0.0
    zeros: int = 0

    @property
    def rates(self) -> tuple[float, float, float]:
        """The rate of each bucket, per second. 0: no limit is known."""
        one, two, three = self.buckets
        return one.rate, two.rate, three.rate

    @property
    def shares(self) -> tuple[float, float, float]:
        """The part of each rate that is ours."""
        one, two, three = self.buckets
        return one.share, two.share, three.share

    def to_dict(self) -> dict[str, Any]:
        """Give the state as JSON."""
        return asdict(self, filter=lambda attribute, _: attribute.init)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "State":
        """Make the state again from what `to_dict` gave."""
        one, two, three = (Bucket(**bucket) for bucket in data["buckets"])
        return cls(**{**data, "buckets": (one, two, three)})


@define(eq=False)
class Ticket:
    """The turn of one call.

    Attributes:
        start: When the call may start.
        cost: What was booked, per bucket, in requests and tokens.
        clocks: The clocks of the buckets after that. None: no limit was known.
        drifts: The drift of each bucket at that time.
        epoch: The epoch of the state at that time; or `COLD_TICKET`, then `ANSWERED`.
        open: Whether what the call has really used is still to be told.

    """

    start: float
    cost: tuple[float, float, float]
    clocks: tuple[float, float, float] | None = None
    drifts: tuple[float, float, float] = (0.0, 0.0, 0.0)
    epoch: int = COLD_TICKET
    open: bool = True
