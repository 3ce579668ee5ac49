"""The progress of a batch, computed from the times at which it was created and canceled.

The requests of a batch are processed in order, evenly over `seconds`. Requests that are not
done when the batch is canceled, or when its `lifetime` ends, are canceled or expired. As in the
API, the counts change only when the whole batch has ended.
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

DAY: Final = 86400.0  # seconds
RESULTS_KEPT: Final = 29 * DAY  # seconds during which results can be read
RESULTS_STRIDE: Final = 7919  # a prime: results come in another order than the requests

SUCCEEDED, ERRORED, EXPIRED, CANCELED = range(4)
OUTCOMES: Final = ("succeeded", "errored", "expired", "canceled")


@frozen
class BatchPace:
    """How long batches take.

    Attributes:
        seconds: Seconds until a whole batch is processed.
        lifetime: Seconds until the unfinished requests of a batch expire.
        canceling: Seconds from the cancellation of a batch to its end.
        appears_after: Seconds until a new batch can be found (in the API it takes time, too).

    """

    seconds: float = checked(IS_SECONDS, 2.0)
    lifetime: float = checked(IS_RATE, DAY)
    canceling: float = checked(IS_SECONDS, 0.5)
    appears_after: float = checked(IS_SECONDS, 0.0)


@define
class StoredBatch:
    """A batch: the positions of its requests, and the outcome of each processed request.

    `call` is the call that created the batch. Times are in seconds since 1970.
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
    is_charged: bool = False  # set when the results are read for the first time

    @property
    def size(self) -> int:
        """Number of requests."""
        return len(self.outcomes)

    @property
    def expires_at(self) -> float:
        """When the unfinished requests expire."""
        return self.created_at + self.pace.lifetime

    @property
    def archived_at(self) -> float:
        """When the results can no longer be read."""
        return self.created_at + RESULTS_KEPT

    @property
    def ends_at(self) -> float:
        """When the whole batch has ended."""
        finished = self.created_at + self.pace.seconds
        canceled = inf if self.canceled_at is None else self.canceled_at + self.pace.canceling
        return min(finished, canceled, self.expires_at)

    def status(self, now: float) -> str:
        """Return the processing status."""
        if now >= self.ends_at:
            return "ended"
        return "in_progress" if self.canceled_at is None else "canceling"

    def request(self, item: int) -> bytes:
        """Return the JSON text of a request."""
        return self.body.read(self.starts[item], self.stops[item] - self.starts[item])

    def counts(self, now: float) -> dict[str, int]:
        """Count the requests by outcome."""
        counts = {"processing": self.size, **dict.fromkeys(OUTCOMES, 0)}
        if self.status(now) == "ended":
            done, rest = self._done()
            counts["processing"] = 0
            for number, name in enumerate(OUTCOMES):
                counts[name] = self.outcomes.count(number, 0, done)
            counts[OUTCOMES[rest]] += self.size - done
        return counts

    def results(self) -> Iterator[tuple[int, int]]:
        """Yield the number and the outcome of each request, in the order of the results."""
        done, rest = self._done()
        stride = RESULTS_STRIDE if self.size % RESULTS_STRIDE else 1
        for step in range(self.size):
            item = step * stride % self.size
            yield item, self.outcomes[item] if item < done else rest

    def _done(self) -> tuple[int, int]:
        """Return the number of processed requests, and the outcome of all others."""
        seconds, left = self.pace.seconds, self.pace.lifetime
        rest = EXPIRED
        if self.canceled_at is not None and self.canceled_at < self.expires_at:
            left, rest = self.canceled_at - self.created_at, CANCELED
        return (self.size if left >= seconds else int(self.size * left / seconds)), rest
