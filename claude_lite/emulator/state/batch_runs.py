"""How a batch goes on with time: pure arithmetic on when it was created and canceled.

Its requests are worked on in their order, evenly over `seconds`. What is not done when the
batch is canceled, or at the end of its `lifetime`, is canceled or expired. As in the API, the
counts move only when all of it has ended.
"""

from collections.abc import Iterator
from math import inf
from typing import TYPE_CHECKING, Final

from attrs import define, frozen

from claude_lite.emulator.reading.blobs import Blob
from claude_lite.emulator.reading.routing import Call
from claude_lite.faults.reading import IS_RATE, IS_SECONDS, checked

if TYPE_CHECKING:
    from array import array

DAY: Final = 86400.0
RESULTS_KEPT: Final = 29 * DAY  # seconds that results can be had
RESULTS_STRIDE: Final = 7919  # a prime: results come in an order of their own

SUCCEEDED, ERRORED, EXPIRED, CANCELED = range(4)
OUTCOMES: Final = ("succeeded", "errored", "expired", "canceled")


@frozen
class BatchPace:
    """How long things take, in seconds.

    `seconds`: all of a batch. `lifetime`: until what is left of it expires. `canceling`: from
    a cancellation to the end. `appears_after`: until it is found (the API's own are late, too).
    """

    seconds: float = checked(IS_SECONDS, 2.0)
    lifetime: float = checked(IS_RATE, DAY)
    canceling: float = checked(IS_SECONDS, 0.5)
    appears_after: float = checked(IS_SECONDS, 0.0)


@define
class StoredBatch:
    """A batch: where its requests are, and what becomes of each that is worked on.

    `call` is the one that created it; times in seconds since 1970.
    """

    id: str
    serial: int
    call: Call
    pace: BatchPace
    created_at: float
    body: Blob
    starts: "array[int]"
    stops: "array[int]"
    outcomes: bytearray
    canceled_at: float | None = None
    is_charged: bool = False  # it is, by the first who reads the results

    @property
    def size(self) -> int:
        """How many requests it has."""
        return len(self.outcomes)

    @property
    def expires_at(self) -> float:
        """When what is left expires."""
        return self.created_at + self.pace.lifetime

    @property
    def archived_at(self) -> float:
        """When its results are gone."""
        return self.created_at + RESULTS_KEPT

    @property
    def ends_at(self) -> float:
        """When all of it has ended."""
        finished = self.created_at + self.pace.seconds
        canceled = inf if self.canceled_at is None else self.canceled_at + self.pace.canceling
        return min(finished, canceled, self.expires_at)

    def status(self, now: float) -> str:
        """Say how far it is."""
        if now >= self.ends_at:
            return "ended"
        return "in_progress" if self.canceled_at is None else "canceling"

    def request(self, item: int) -> bytes:
        """Return the JSON of a request."""
        return self.body.read(self.starts[item], self.stops[item] - self.starts[item])

    def counts(self, now: float) -> dict[str, int]:
        """Count the requests by what became of them."""
        counts = {"processing": self.size, **dict.fromkeys(OUTCOMES, 0)}
        if self.status(now) == "ended":
            done, rest = self._done()
            counts["processing"] = 0
            for number, name in enumerate(OUTCOMES):
                counts[name] = self.outcomes.count(number, 0, done)
            counts[OUTCOMES[rest]] += self.size - done
        return counts

    def results(self) -> Iterator[tuple[int, int]]:
        """Yield each request's number and outcome, in the order of the results."""
        done, rest = self._done()
        stride = RESULTS_STRIDE if self.size % RESULTS_STRIDE else 1
        for step in range(self.size):
            item = step * stride % self.size
            yield item, self.outcomes[item] if item < done else rest

    def _done(self) -> tuple[int, int]:
        """Say how many were worked on, and what became of the others."""
        seconds, left = self.pace.seconds, self.pace.lifetime
        rest = EXPIRED
        if self.canceled_at is not None and self.canceled_at < self.expires_at:
            left, rest = self.canceled_at - self.created_at, CANCELED
        return (self.size if left >= seconds else int(self.size * left / seconds)), rest
