"""Counters and a log of the requests that the emulator received, for tests to read."""

import threading
from collections import Counter, OrderedDict, deque
from hashlib import blake2b
from typing import Final, NamedTuple

from attrs import Factory, define

from claude_lite.wire import BodySource

LOGGED_REQUESTS: Final = 10_000
REMEMBERED_BODIES: Final = 100_000  # the oldest is forgotten first
COUNTED_PATHS: Final = 10_000  # a limit, because ids in paths make ever more paths


class Entry(NamedTuple):
    """A line of the log; the status is 0 if no head was sent."""

    request_id: str
    method: str
    path: str
    status: int


@define
class Requests:
    """Counts of requests: `total`, `by_path`, and `by_body` (read by `of`).

    Only the latest 100,000 bodies and the first 10,000 paths are counted by themselves; every
    request is in the total.
    """

    total: int = 0
    by_path: Counter[str] = Factory(Counter)
    by_body: OrderedDict[bytes, int] = Factory(OrderedDict)

    def of(self, body: bytes) -> int:
        """Return how many requests had exactly this body."""
        return self.by_body.get(fingerprint(body), 0)


def fingerprint(body: bytes | BodySource) -> bytes:
    """Return the key of a body in `Requests.by_body`: BLAKE2b, 8 bytes."""
    digest = blake2b(digest_size=8)
    for piece in (body,) if isinstance(body, bytes) else body:
        digest.update(piece)
    return digest.digest()


class Ledger:
    """Counts requests from arrival to end. Safe to share between threads."""

    def __init__(self) -> None:
        self.requests = Requests()
        self.in_flight = 0
        self.peak = 0
        self.disconnects = 0
        self.log: deque[Entry] = deque(maxlen=LOGGED_REQUESTS)
        self._lock = threading.Lock()

    def arrive(self, path: str, body: bytes | BodySource) -> int:
        """Count a request; return its number, from 1."""
        key = fingerprint(body)
        with self._lock:
            seen = self.requests
            seen.total += 1
            if path in seen.by_path or len(seen.by_path) < COUNTED_PATHS:
                seen.by_path[path] += 1
            seen.by_body[key] = seen.by_body.get(key, 0) + 1
            if len(seen.by_body) > REMEMBERED_BODIES:
                seen.by_body.popitem(last=False)
            self.in_flight += 1
            self.peak = max(self.peak, self.in_flight)
            return seen.total

    def leave(self, left: bool) -> None:  # noqa: FBT001  # a callback of one argument
        """Count the end of a reply; *left*: the client closed the connection before the end."""
        with self._lock:
            self.in_flight -= 1
            self.disconnects += left
