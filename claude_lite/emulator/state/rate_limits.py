"""Rate limits as in the API: buckets that refill continuously, and their headers.

Each model has a bucket of requests, one of input tokens and one of output tokens. Limits are
plain data, per minute: `{"requests": 50, "input_tokens": 30000, "output_tokens": 8000,
"models": {"claude-opus-5-5": {"requests": 5}}}`. A limit that is left out is so high that no
test reaches it. A bucket holds what comes in a minute; with `"bucket": 1` it holds what comes
in one second, at least 1: the API, too, may cut bursts within a minute. A request is refused if its
input tokens do not fit; output tokens are charged as they are produced, so only an empty bucket of
output tokens refuses a request.
"""

import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from math import ceil
from typing import Any, Final

from attrs import define, frozen

from claude_lite.emulator.reading.problems import Problem
from claude_lite.faults.reading import IS_POSITIVE, IS_RATE, checked, read_fields

MINUTE: Final = 60.0  # seconds


@frozen
class PerMinute:
    """The limits of one model per minute."""

    requests: int = checked(IS_POSITIVE, 1_000_000)
    input_tokens: int = checked(IS_POSITIVE, 10_000_000_000)
    output_tokens: int = checked(IS_POSITIVE, 2_000_000_000)
    bucket: float = checked(IS_RATE, MINUTE)
    """Seconds of the limit that a bucket holds."""


@define
class _Bucket:
    capacity: int
    """Per minute."""
    size: float
    level: float
    at: float

    def refill(self, now: float) -> None:
        gained = (now - self.at) * self.capacity / MINUTE
        self.level = min(self.size, self.level + gained)
        self.at = now

    def seconds_until(self, amount: float) -> float:
        return (min(amount, self.size) - self.level) * MINUTE / self.capacity


class RateLimiter:
    """The buckets of all models. Safe to share between threads."""

    def __init__(self, limits: Mapping[str, Any] | None = None) -> None:
        """Read *limits*; raises `UsageError` that names the wrong field."""
        plain = dict(limits or {})
        models = plain.pop("models", {})
        self._default = read_fields(PerMinute, plain, "limits")
        self._models = {
            name: read_fields(PerMinute, {**plain, **own}, f"limits.models.{name}")
            for name, own in models.items()
        }
        self._buckets: dict[tuple[str, str], _Bucket] = {}
        self._lock = threading.Lock()

    def take(
        self, model: str, now: float, wall: float, *, input_tokens: int, output_tokens: int
    ) -> dict[str, str]:
        """Charge a message and return the headers of the rate limits.

        *now* is the time of the clock, *wall* the time of day in seconds since 1970. Raises
        `Problem` (429, with `retry-after`) if a bucket is empty; then nothing is charged.
        """
        with self._lock:
            requests = self._bucket(model, "requests", now)
            inputs = self._bucket(model, "input_tokens", now)
            outputs = self._bucket(model, "output_tokens", now)
            needs = (
                ("requests", requests, 1),
                ("input tokens", inputs, input_tokens),
                ("output tokens", outputs, 1),
            )
            short = [need for need in needs if need[2] > need[1].level]
            if not short:
                requests.level -= 1
                inputs.level -= input_tokens
                outputs.level -= output_tokens
            both = _Bucket(
                inputs.capacity + outputs.capacity,
                inputs.size + outputs.size,
                inputs.level + outputs.level,
                now,
            )
            headers = {
                **_headers("requests", wall, requests, grain=1),
                **_headers("tokens", wall, both),
                **_headers("input-tokens", wall, inputs),
                **_headers("output-tokens", wall, outputs),
            }
        if short:
            raise _refusal(*max(short, key=lambda need: need[1].seconds_until(need[2])), headers)
        return headers

    def take_count(self, model: str, now: float, wall: float) -> dict[str, str]:
        """Charge a token count, as `take` does; token counts have a bucket of their own."""
        with self._lock:
            requests = self._bucket(f"count_tokens {model}", "requests", now)
            refused = requests.level < 1
            if not refused:
                requests.level -= 1
            headers = _headers("requests", wall, requests, grain=1)
        if refused:
            raise _refusal("requests", requests, 1, headers)
        return headers

    def _bucket(self, key: str, kind: str, now: float) -> _Bucket:
        found = self._buckets.get((key, kind))
        if found is None:
            limits = self._models.get(key.rpartition(" ")[2], self._default)
            capacity = getattr(limits, kind)
            size = max(1.0, capacity * limits.bucket / MINUTE)
            found = self._buckets[key, kind] = _Bucket(capacity, size, size, now)
        found.refill(now)
        return found


def _refusal(kind: str, bucket: _Bucket, amount: float, headers: dict[str, str]) -> Problem:
    wait = max(1, ceil(bucket.seconds_until(amount)))
    return Problem(
        429,
        f"This request would exceed your rate limit of {bucket.capacity:,} {kind} per minute",
        headers={**headers, "retry-after": str(wait)},
    )


def _headers(kind: str, wall: float, bucket: _Bucket, grain: int = 1000) -> dict[str, str]:
    """Write `-limit`, `-remaining` (rounded down to *grain*) and `-reset`, when it is full."""
    left = max(0, int(bucket.level)) // grain * grain
    return {
        f"anthropic-ratelimit-{kind}-limit": str(bucket.capacity),
        f"anthropic-ratelimit-{kind}-remaining": str(left),
        f"anthropic-ratelimit-{kind}-reset": timestamp(
            ceil(wall + bucket.seconds_until(bucket.size))
        ),
    }


@lru_cache(maxsize=256)
def timestamp(seconds: int) -> str:
    """Write seconds since 1970 as RFC 3339 text, in UTC."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
