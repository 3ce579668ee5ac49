"""What things cost in the emulator: round figures of its own, not the API's price list."""

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Final

from claude_lite.emulator.state.usage import Group, Tokens

MILLION: Final = Decimal(1_000_000)
INPUT: Final[Mapping[str, int]] = {"haiku": 100, "sonnet": 300, "opus": 500}
"""Cents for a million input tokens, by the line of the model."""
OTHERS: Final = 1000  # cents for a million input tokens of any other model
OUTPUT: Final = 5  # times the price of input
WRITTEN_5M: Final = Decimal("1.25")
WRITTEN_1H: Final = Decimal(2)
READ: Final = Decimal("0.1")
BATCH: Final = Decimal("0.5")
LONG: Final = Decimal(2)
SEARCH: Final = Decimal(1)  # cent


def of_tokens(group: Group, tokens: Tokens) -> Iterator[tuple[str, Decimal]]:
    """Yield (token_type, cents) for every type of token that was used."""
    price = Decimal(next((c for line, c in INPUT.items() if line in group.model), OTHERS))
    price *= BATCH if group.service_tier == "batch" else 1
    price *= LONG if group.context_window != "0-200k" else 1
    for token_type, count, factor in (
        ("uncached_input_tokens", tokens.uncached, Decimal(1)),
        ("cache_creation.ephemeral_5m_input_tokens", tokens.written_5m, WRITTEN_5M),
        ("cache_creation.ephemeral_1h_input_tokens", tokens.written_1h, WRITTEN_1H),
        ("cache_read_input_tokens", tokens.cache_read, READ),
        ("output_tokens", tokens.output, Decimal(OUTPUT)),
    ):
        if count:
            yield token_type, count * price * factor / MILLION


def as_text(cents: Decimal) -> str:
    """Write an amount as decimal text, without an exponent."""
    return f"{cents.normalize():f}"
