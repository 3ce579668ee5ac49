"""What was used of the models, by the minute: what the reports are made from.

There is a row for each minute and each `Group` that had something to do in it, so that a
million messages take no more room than the minutes that they came in.
"""

import threading
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from attrs import define

MINUTE: Final = 60  # seconds
REMEMBERED: Final = 50_000  # rows; the oldest is forgotten first
GEOS: Final = ("global", "us")
LONG: Final = 200_000  # input tokens of a prompt, past which it is dearer


class Group(NamedTuple):
    """What usage is told apart by."""

    model: str
    workspace_id: str
    api_key_id: str | None
    service_tier: str
    context_window: str
    inference_geo: str
    speed: str


@define
class Tokens:
    """How much was used; `searches` are requests to the web."""

    uncached: int = 0
    cache_read: int = 0
    written_5m: int = 0
    written_1h: int = 0
    output: int = 0
    searches: int = 0

    def add(self, other: "Tokens") -> None:
        """Count *other* in."""
        self.uncached += other.uncached
        self.cache_read += other.cache_read
        self.written_5m += other.written_5m
        self.written_1h += other.written_1h
        self.output += other.output
        self.searches += other.searches


class Usage:
    """The usage of an organization. Safe to share between threads."""

    def __init__(self) -> None:
        self._rows: dict[tuple[int, Group], Tokens] = {}
        self._lock = threading.Lock()

    def record(
        self,
        now: float,
        usage: Mapping[str, Any],
        *,
        model: str,
        workspace_id: str,
        api_key_id: str | None,
    ) -> None:
        """Count a message that was answered at *now*; *usage* is as the message carries it."""
        created, geo = usage["cache_creation"], usage["inference_geo"]
        tokens = Tokens(
            uncached=usage["input_tokens"],
            cache_read=usage["cache_read_input_tokens"],
            written_5m=created["ephemeral_5m_input_tokens"],
            written_1h=created["ephemeral_1h_input_tokens"],
            output=usage["output_tokens"],
            searches=(usage["server_tool_use"] or {}).get("web_search_requests", 0),
        )
        prompt = tokens.uncached + tokens.cache_read + tokens.written_5m + tokens.written_1h
        group = Group(
            model=model,
            workspace_id=workspace_id,
            api_key_id=api_key_id,
            service_tier=usage["service_tier"],
            context_window="0-200k" if prompt <= LONG else "200k-1M",
            inference_geo=geo if geo in GEOS else "not_available",
            speed=usage["speed"],
        )
        key = (int(now) // MINUTE * MINUTE, group)
        with self._lock:
            row = self._rows.get(key)
            if row is None:
                row = self._rows[key] = Tokens()
                if len(self._rows) > REMEMBERED:
                    del self._rows[next(iter(self._rows))]
            row.add(tokens)

    def between(self, start: float, end: float) -> Iterator[tuple[int, Group, Tokens]]:
        """Yield the minutes (their first second, since 1970) from *start* until *end*."""
        with self._lock:
            rows = [(at, group, tokens) for (at, group), tokens in self._rows.items()]
        for at, group, tokens in rows:
            if start <= at < end:
                yield at, group, tokens
