"""The usage of models by minute, and its cost: the data of the usage and cost reports.

There is one row per minute and `UsageGroup`, so a million messages in one minute take the
memory of one row. Prices are round figures of the emulator, not those of the API.
"""

import threading
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any, Final, NamedTuple

from attrs import define

MINUTE: Final = 60  # seconds
REMEMBERED_ROWS: Final = 50_000  # the oldest is forgotten first
REPORTED_GEOS: Final = ("global", "us")
LONG_PROMPT: Final = 200_000  # input tokens; a longer prompt costs more

MILLION: Final = Decimal(1_000_000)
INPUT_CENTS: Final[Mapping[str, int]] = {"haiku": 100, "sonnet": 300, "opus": 500}
"""Cents per million input tokens, by the line of the model."""
OTHER_INPUT_CENTS: Final = 1000  # cents per million input tokens of any other model
OUTPUT_FACTOR: Final = 5  # times the price of input, as are the factors below
WRITTEN_5M_FACTOR: Final = Decimal("1.25")
WRITTEN_1H_FACTOR: Final = Decimal(2)
READ_FACTOR: Final = Decimal("0.1")
BATCH_FACTOR: Final = Decimal("0.5")
LONG_FACTOR: Final = Decimal(2)
SEARCH_CENTS: Final = Decimal(1)  # per web search


class UsageGroup(NamedTuple):
    """The fields by which usage is grouped."""

    model: str
    workspace_id: str
    api_key_id: str | None
    service_tier: str
    context_window: str
    inference_geo: str
    speed: str


@define
class TokenCounts:
    """Numbers of tokens, and of web searches."""

    uncached: int = 0
    cache_read: int = 0
    written_5m: int = 0
    written_1h: int = 0
    output: int = 0
    searches: int = 0

    def add(self, other: "TokenCounts") -> None:
        """Add *other*."""
        self.uncached += other.uncached
        self.cache_read += other.cache_read
        self.written_5m += other.written_5m
        self.written_1h += other.written_1h
        self.output += other.output
        self.searches += other.searches


class UsageRecords:
    """The usage of an organization. Safe to share between threads."""

    def __init__(self) -> None:
        self._rows: dict[tuple[int, UsageGroup], TokenCounts] = {}
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
        """Count a message answered at *now*; *usage* is the field of the message."""
        created, geo = usage["cache_creation"], usage["inference_geo"]
        tokens = TokenCounts(
            uncached=usage["input_tokens"],
            cache_read=usage["cache_read_input_tokens"],
            written_5m=created["ephemeral_5m_input_tokens"],
            written_1h=created["ephemeral_1h_input_tokens"],
            output=usage["output_tokens"],
            searches=(usage.get("server_tool_use") or {}).get("web_search_requests", 0),
        )
        prompt = tokens.uncached + tokens.cache_read + tokens.written_5m + tokens.written_1h
        group = UsageGroup(
            model=model,
            workspace_id=workspace_id,
            api_key_id=api_key_id,
            service_tier=usage["service_tier"],
            context_window="0-200k" if prompt <= LONG_PROMPT else "200k-1M",
            inference_geo=geo if geo in REPORTED_GEOS else "not_available",
            speed=usage.get("speed", "standard"),
        )
        key = (int(now) // MINUTE * MINUTE, group)
        with self._lock:
            row = self._rows.get(key)
            if row is None:
                row = self._rows[key] = TokenCounts()
                if len(self._rows) > REMEMBERED_ROWS:
                    del self._rows[next(iter(self._rows))]
            row.add(tokens)

    def between(self, start: float, end: float) -> Iterator[tuple[int, UsageGroup, TokenCounts]]:
        """Yield (first second of the minute, group, tokens) from *start* until before *end*."""
        with self._lock:
            rows = [(at, group, tokens) for (at, group), tokens in self._rows.items()]
        for at, group, tokens in rows:
            if start <= at < end:
                yield at, group, tokens


def costs(group: UsageGroup, tokens: TokenCounts) -> Iterator[tuple[str, Decimal]]:
    """Yield (token_type, cents) for every type of token with usage."""
    price = Decimal(
        next((c for line, c in INPUT_CENTS.items() if line in group.model), OTHER_INPUT_CENTS)
    )
    price *= BATCH_FACTOR if group.service_tier == "batch" else 1
    price *= LONG_FACTOR if group.context_window != "0-200k" else 1
    for token_type, count, factor in (
        ("uncached_input_tokens", tokens.uncached, Decimal(1)),
        ("cache_creation.ephemeral_5m_input_tokens", tokens.written_5m, WRITTEN_5M_FACTOR),
        ("cache_creation.ephemeral_1h_input_tokens", tokens.written_1h, WRITTEN_1H_FACTOR),
        ("cache_read_input_tokens", tokens.cache_read, READ_FACTOR),
        ("output_tokens", tokens.output, Decimal(OUTPUT_FACTOR)),
    ):
        if count:
            yield token_type, count * price * factor / MILLION


def amount_text(cents: Decimal) -> str:
    """Write an amount as decimal text, without an exponent."""
    return f"{cents.normalize():f}"
