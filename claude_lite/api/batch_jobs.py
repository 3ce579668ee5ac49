"""Which requests of a batch have been answered, and which are worth asking again. No I/O.

Of results only a few bytes a request are kept, so memory does not grow with them.
"""

from collections.abc import Iterable, Iterator
from typing import Any, Final

from attrs import frozen

from claude_lite.api.batches import (
    MAX_REQUESTS,
    BatchEntry,
    BatchResult,
    CreateBatch,
    ErroredResult,
    request_json,
)
from claude_lite.core.json_text import dumps
from claude_lite.core.operation import JSON, too_large
from claude_lite.core.retry import is_passing

__all__ = ["BatchJob", "BatchReport", "split_into_batches"]

Pair = tuple[JSON, BatchResult]
"""A request, and what became of it."""

_FRAME: Final = len(b'{"requests":[]}')

_MISSING, _SUCCEEDED, _ERRORED, _CANCELED, _EXPIRED, _PASSED, _OTHER = range(7)
_KIND_OF_TYPE: Final = {"succeeded": _SUCCEEDED, "canceled": _CANCELED, "expired": _EXPIRED}
_ASKED_AGAIN: Final = frozenset({_MISSING, _EXPIRED, _PASSED})


def split_into_batches(
    requests: Iterable[JSON],
    *,
    most: int = MAX_REQUESTS,
    size: int = CreateBatch.route.max_body,
    **fields: Any,
) -> Iterator[CreateBatch]:
    """Put *requests* into batches of at most *most*, and of *size* bytes of JSON.

    They are taken as the batches are: one batch is held at a time. *fields* are further ones of
    `CreateBatch`. Raises `RequestTooLarge` for a request that no batch can hold.
    """
    frame = _FRAME if not fields.get("extra_body") else len(dumps(fields["extra_body"])) + _FRAME
    held: list[JSON] = []
    total = frame
    for request in requests:
        given = request_json(request)
        length = len(dumps(given)) + 1  # and a comma
        if frame + length > size:
            raise too_large(frame + length, size)
        if len(held) == most or total + length > size:
            yield CreateBatch(requests=held, **fields)
            held, total = [], frame
        held.append(given)
        total += length
    if held:
        yield CreateBatch(requests=held, **fields)


@frozen
class BatchReport:
    """How a job stands: counts of requests by their results, and `custom_id`s out of place.

    `missing` ones have no result yet; `duplicate` ones have several in one batch, of which the
    first counts; `unknown` ones nobody asked for. `other` are results of a kind that this
    version does not know. `attempts` is the number of batches that were read to their end.
    """

    succeeded: int
    errored: int
    canceled: int
    expired: int
    other: int
    missing: tuple[str, ...]
    duplicate: tuple[str, ...]
    unknown: tuple[str, ...]
    attempts: int


class BatchJob:
    """The requests of a batch, and for each what became of it.

    What has no result, or expired, or failed for a passing reason (the API's being overloaded,
    say) is asked again: in at most *attempts* batches, the first included. A result is given
    out once, when nothing more will be done about it.
    """

    def __init__(self, create: CreateBatch, attempts: int = 3) -> None:
        self.create = create
        self.attempts = attempts
        self.batch_id: str | None = None
        """The batch under way. To go on in another process, pickle the job: it knows what was
        given out already. Set on a new job, this is right for its first batch only."""
        self._made = 0
        self._places = {
            request.get("custom_id", ""): i for i, request in enumerate(create.requests)
        }
        self._kinds = bytearray(len(create.requests))
        self._read = bytearray(len(create.requests))  # the number of the reading, for duplicates
        self._reading = 0
        self._duplicate: dict[str, None] = {}
        self._unknown: dict[str, None] = {}

    def pending(self) -> CreateBatch | None:
        """The batch to create next; None if there is nothing left to ask, or no attempt."""
        if self._made >= self.attempts:
            return None
        requests = self.create.requests
        if self._made:
            requests = [r for r, k in zip(requests, self._kinds, strict=True) if k in _ASKED_AGAIN]
        return self.create.replace(requests=requests) if requests else None

    def begin(self) -> None:
        """Results will be read from the beginning; what was taken already is passed over."""
        self._reading = self._reading % 255 + 1

    def take(self, entry: BatchEntry) -> Pair | None:
        """Note a result; return it, and its request, if it is one to be given out."""
        place = self._places.get(entry.custom_id)
        if place is None:
            self._unknown[entry.custom_id] = None
            return None
        if self._read[place] == self._reading:
            self._duplicate[entry.custom_id] = None
            return None
        self._read[place] = self._reading
        last = self._made + 1 >= self.attempts
        if self._kinds[place] not in _ASKED_AGAIN:
            return None  # given out in an earlier reading
        kind = _kind(entry.result)
        self._kinds[place] = kind
        if kind in _ASKED_AGAIN and not last:
            return None
        return self.create.requests[place], entry.result

    def end(self) -> None:
        """All results of the batch have been read."""
        self._made += 1
        self.batch_id = None

    @property
    def report(self) -> BatchReport:
        """How the job stands."""
        count = self._kinds.count
        return BatchReport(
            succeeded=count(_SUCCEEDED),
            errored=count(_ERRORED) + count(_PASSED),
            canceled=count(_CANCELED),
            expired=count(_EXPIRED),
            other=count(_OTHER),
            missing=tuple(name for name, i in self._places.items() if self._kinds[i] == _MISSING),
            duplicate=tuple(self._duplicate),
            unknown=tuple(self._unknown),
            attempts=self._made,
        )


def _kind(result: BatchResult) -> int:
    if isinstance(result, ErroredResult):
        return _PASSED if is_passing(result.exception) else _ERRORED
    return _KIND_OF_TYPE.get(result.type, _OTHER)  # type: ignore[attr-defined]  # every member has one
