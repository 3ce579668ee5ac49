"""Track which requests of a batch were answered, and which to ask again. No I/O.

The results: https://docs.claude.com/en/api/retrieving-message-batch-results
A run keeps a few bytes per request and no result, so memory does not grow with the results.
"""

from collections.abc import Iterable, Iterator, Mapping
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
from claude_lite.core.credentials import wrong_type
from claude_lite.core.json_text import dumps
from claude_lite.core.operation import JSON, make, too_large
from claude_lite.core.retry import is_temporary

__all__ = ["BatchReport", "BatchRun", "split_into_batches"]

Pair = tuple[JSON, BatchResult]
"""A request of a batch, and the result of the request."""

_FRAME: Final = len(b'{"requests":[]}')

_MISSING, _SUCCEEDED, _ERRORED, _CANCELED, _EXPIRED, _PASSING, _OTHER = range(7)
_KIND_OF_TYPE: Final = {"succeeded": _SUCCEEDED, "canceled": _CANCELED, "expired": _EXPIRED}
_ASKED_AGAIN: Final = frozenset({_MISSING, _EXPIRED, _PASSING})


def split_into_batches(
    requests: Iterable[JSON],
    *,
    most: int = MAX_REQUESTS,
    size: int = CreateBatch.route.max_body,
    **fields: Any,
) -> Iterator[CreateBatch]:
    """Put *requests* into batches that the API accepts.

    Requests are read while the batches are taken: one batch is in memory at a time.

    Args:
        requests: Requests as `CreateBatch` takes them, from any iterable.
        most: The largest number of requests per batch.
        size: The largest size of a batch, in bytes of JSON.
        fields: Other fields of `CreateBatch`; each batch gets them.

    Yields:
        The operations that create the batches.

    Raises:
        RequestTooLarge: A single request is larger than *size*.

    """
    frame = _FRAME if not fields.get("extra_body") else len(dumps(fields["extra_body"])) + _FRAME
    held: list[JSON] = []
    total = frame
    left, requests = iter(requests), ()  # a traceback may show variables
    for request in left:
        if not isinstance(request, Mapping):
            raise (request := wrong_type("each request", "a dict", request))
        given = request_json(request)
        length = len(dumps(given)) + 1  # the comma after it
        if frame + length > size:
            raise too_large(frame + length, size)
        if len(held) == most or total + length > size:
            yield make(CreateBatch, fields, requests=held)
            held, total = [], frame
        held.append(given)
        total += length
    if held:
        yield make(CreateBatch, fields, requests=held)


@frozen
class BatchReport:
    """The state of a run: how many requests have which result, and which `custom_id`s are odd."""

    succeeded: int
    errored: int
    canceled: int
    expired: int
    other: int
    """Results whose type this version does not know."""
    missing: tuple[str, ...]
    """The `custom_id`s of requests that have no result yet."""
    duplicate: tuple[str, ...]
    """The `custom_id`s that have several results in one batch; the first result counts."""
    unknown: tuple[str, ...]
    """The `custom_id`s of results that belong to no request of the run."""
    attempts: int
    """The number of batches whose results were read to the end."""


class BatchRun:
    """The requests of a batch, and the state of each request.

    A request is asked again, in a later batch, if it has no result, if it expired, or if it
    failed for a reason that passes (the API was overloaded, for example). Each result is given
    out once, when it is final.
    """

    def __init__(self, create: CreateBatch, attempts: int = 3) -> None:
        """Start a run of the requests of *create*.

        Args:
            create: The operation that creates the first batch.
            attempts: The largest number of batches for one request, the first included.

        """
        if not isinstance(create, CreateBatch):
            raise (create := wrong_type("create", "a CreateBatch", create))
        self.create = create
        self.attempts = attempts
        self.batch_id: str | None = None
        """The batch that is being processed. To go on in another process, pickle the run: the run
        knows which results were given out. On a new run, set only the id of its first batch."""
        self._made = 0
        self._places = {
            request.get("custom_id", ""): i for i, request in enumerate(create.requests)
        }
        self._kinds = bytearray(len(create.requests))
        self._read = bytearray(len(create.requests))  # the last reading that had a result of it
        self._reading = 0
        self._duplicate: dict[str, None] = {}
        self._unknown: dict[str, None] = {}

    def pending(self) -> CreateBatch | None:
        """The batch to create next; None if nothing is left to ask, or no attempt is left."""
        if self._made >= self.attempts:
            return None
        requests = self.create.requests
        if self._made:
            requests = [r for r, k in zip(requests, self._kinds, strict=True) if k in _ASKED_AGAIN]
        return self.create.replace(requests=requests) if requests else None

    def begin(self) -> None:
        """Start to read results from the beginning; `take` skips results that it has given out."""
        self._reading = self._reading % 255 + 1

    def take(self, entry: BatchEntry) -> Pair | None:
        """Note a result; return the request and the result if the result is to be given out."""
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
        """Note that all results of the batch have been read."""
        self._made += 1
        self.batch_id = None

    @property
    def report(self) -> BatchReport:
        """The state of the run, now."""
        count = self._kinds.count
        return BatchReport(
            succeeded=count(_SUCCEEDED),
            errored=count(_ERRORED) + count(_PASSING),
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
        return _PASSING if is_temporary(result.exception) else _ERRORED
    return _KIND_OF_TYPE.get(result.type, _OTHER)  # type: ignore[attr-defined]  # every result has a type
