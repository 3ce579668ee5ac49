"""The models that the emulator knows: current ids and aliases, as of November 2026.

`claude_lite.emulator.routes.models` has what the API says about each model.
"""

from collections.abc import Mapping
from typing import Final

MODELS: Final = (
    "claude-fable-5-2",
    "claude-mythos-5-2",
    "claude-haiku-5-5",
    "claude-sonnet-5-5",
    "claude-fable-5-1",
    "claude-opus-5-5",
    "claude-mythos-5-1",
    "claude-sonnet-5",
    "claude-fable-5",
    "claude-mythos-5",
    "claude-opus-5",
    "claude-opus-4-8",
    "claude-opus-4-7",
    "claude-mythos-preview",
    "claude-opus-4-6",
    "claude-sonnet-4-6",
    "claude-haiku-4-5",
    "claude-haiku-4-5-20251001",
    "claude-opus-4-5",
    "claude-opus-4-5-20251101",
    "claude-sonnet-4-5",
    "claude-sonnet-4-5-20250929",
    "claude-opus-4-20250514",
    "claude-opus-4-0",
    "claude-4-opus-20250514",
)
"""Newest first, as `GET /v1/models` lists them; the last three are retired aliases."""

ALIASES: Final[Mapping[str, str]] = {
    "claude-haiku-4-5": "claude-haiku-4-5-20251001",
    "claude-opus-4-5": "claude-opus-4-5-20251101",
    "claude-sonnet-4-5": "claude-sonnet-4-5-20250929",
    "claude-opus-4-0": "claude-opus-4-20250514",
    "claude-4-opus-20250514": "claude-opus-4-20250514",
}
"""From an alias to the dated model that it stands for."""

DEPRECATED: Final[Mapping[str, str]] = {
    "claude-mythos-preview": "2026-06-30T00:00:00+00:00",
    "claude-sonnet-4-5-20250929": "2026-11-30T00:00:00+00:00",
}
"""From a deprecated model to the time when it retires."""

EFFORTS: Final = ("low", "medium", "high", "xhigh", "max")
NO_EFFORT: Final = ("claude-haiku-4-5", "claude-sonnet-4-5", "claude-opus-4-0", "claude-opus-4-2")
"""The beginnings of the ids of models without `output_config.effort`."""
SOME_EFFORTS: Final[Mapping[str, tuple[str, ...]]] = {
    "claude-opus-4-5": ("low", "medium", "high"),
    "claude-opus-4-6": ("low", "medium", "high", "max"),
    "claude-sonnet-4-6": ("low", "medium", "high", "max"),
}
"""The efforts of the models that have some; later models have all."""


def efforts_of(model: str) -> tuple[str, ...]:
    """Return the values of `output_config.effort` that a model takes.

    Args:
        model: The id of the model. A model that is not known takes all values.

    """
    dated = ALIASES.get(model, model)
    if dated.startswith(NO_EFFORT):
        return ()
    return next((some for line, some in SOME_EFFORTS.items() if dated.startswith(line)), EFFORTS)


RETIRED: Final = frozenset({"claude-opus-4-20250514"})
