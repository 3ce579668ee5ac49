"""Which calls share a rate limit, what a call is expected to cost, and what its answer says.

The API counts per organization and per family of models, in three buckets: requests, input tokens
and output tokens per minute (https://docs.claude.com/en/api/rate-limits). A client knows neither
the organization nor the families, so these are data: `FAMILIES` and `OUTPUT_WEIGHTS`.
"""

import functools
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Final, NamedTuple

from claude_lite.core.turns import Admit
from claude_lite.wire import Response

__all__ = ["Cost", "Key", "cost_of", "family_of", "key_of", "limits_of", "used_of"]

FAMILIES: Final = (
    ("opus-4", re.compile(r"opus-4(?!\d)")),
    ("sonnet-4", re.compile(r"sonnet-4(?!\d)")),
    ("haiku-4", re.compile(r"haiku-4(?!\d)")),
)
"""Models that share one limit: the versions 4.x of a class do; any other model is on its own."""

OUTPUT_WEIGHTS: Final[Mapping[str, int]] = {"bedrock": 5}
"""How many tokens of its limit a platform charges per output token, by a word in its host."""

IMAGE_TOKENS: Final = 1600  # of an image of the largest size that is not scaled down
BYTES_PER_TOKEN: Final = 4
BASE64_PER_TOKEN: Final = 100  # base64 letters of a document per token: a page has 50 KB and 500
BASE64: Final = b'"base64"'

LIMITS: Final = (
    ("anthropic-ratelimit-requests-limit", "anthropic-ratelimit-requests-remaining"),
    ("anthropic-ratelimit-input-tokens-limit", "anthropic-ratelimit-input-tokens-remaining"),
    ("anthropic-ratelimit-output-tokens-limit", "anthropic-ratelimit-output-tokens-remaining"),
)

Three = tuple[float, float, float]
"""A number per bucket: requests, input tokens, output tokens."""


class Key(NamedTuple):
    """What calls have in common that share a limit.

    Attributes:
        origin: The scheme, host and port of the API.
        credential: The credential, or the name of the function that gives it.
        family: The family of the model; with "count " before it for the counting of tokens.

    """

    origin: str
    credential: str
    family: str


class Cost(NamedTuple):
    """What a call is expected to take at most.

    Attributes:
        tokens_in: The input tokens.
        max_tokens: The largest number of output tokens, times the weight of the platform.

    """

    tokens_in: int
    max_tokens: int


@lru_cache(1024)
def family_of(model: str) -> str:
    """Return the name of the family of *model*: the models that share a limit."""
    return next((name for name, pattern in FAMILIES if pattern.search(model)), model)


def key_of(admit: Admit) -> Key:
    """Return the key of the limit that applies to an attempt."""
    origin, function = admit.account
    family = family_of(str(getattr(admit.operation, "model", "")))
    if getattr(admit.operation, "max_tokens", None) is None:
        family = f"count {family}"
    headers = admit.request.headers  # the credentials of a function change, and its limit does not
    credential = function or headers.get("x-api-key") or headers.get("authorization") or ""
    return Key(origin, credential, family)


def cost_of(admit: Admit) -> Cost:
    """Estimate what an attempt costs."""
    body = admit.request.body
    size = len(body) if isinstance(body, bytes) else 0
    tokens = size // BYTES_PER_TOKEN
    if isinstance(body, bytes) and BASE64 in body:
        letters, in_files = _files(getattr(admit.operation, "messages", ()))
        tokens = max(0, size - letters) // BYTES_PER_TOKEN + in_files
    max_tokens = getattr(admit.operation, "max_tokens", None) or 0
    return Cost(tokens, max_tokens * weight_of(admit.account[0]))


def _files(value: object) -> tuple[int, int]:
    """Count the base64 letters in a part of a request, and the tokens of these files."""
    letters = tokens = 0
    if isinstance(value, Mapping):
        source = value.get("source")
        if isinstance(source, Mapping) and isinstance(data := source.get("data"), str):
            is_image = value.get("type") == "image"
            return len(data), IMAGE_TOKENS if is_image else len(data) // BASE64_PER_TOKEN
        value = value.get("content")
    if isinstance(value, (list, tuple)):
        for part in value:
            more = _files(part)
            letters, tokens = letters + more[0], tokens + more[1]
    return letters, tokens


@lru_cache(1024)
def weight_of(origin: str) -> int:
    """Return how many tokens of the limit an output token takes."""
    return next((weight for word, weight in OUTPUT_WEIGHTS.items() if word in origin), 1)


def limits_of(head: Response) -> tuple[Three, Three] | None:
    """Read the limits per minute and what is left of them; None if the head names no limit.

    A limit that is missing or no number is 0, and says nothing; what is left is then -1.
    """
    headers = head.headers
    limits, left = [], []
    for limit, remaining in LIMITS:
        found = headers.get(limit)
        limits.append(_number(found, 0.0) if found is not None else 0.0)
        left.append(_number(headers.get(remaining), -1.0) if found is not None else -1.0)
    if limits == NO_LIMITS:
        return None
    return (limits[0], limits[1], limits[2]), (left[0], left[1], left[2])


NO_LIMITS: Final = [0.0, 0.0, 0.0]


def _number(text: str | None, other: float) -> float:
    """Read a number that is neither negative nor too large to be meant."""
    if text is None or not text.isascii() or not text.isdigit() or len(text) > MOST_DIGITS:
        return other
    return float(text)


MOST_DIGITS: Final = 15


def _attribute(value: object, name: str) -> Any:
    return getattr(value, name, None)


def used_of(usage: Any, weight: int) -> Three | None:
    """Return what a call took, by its usage as JSON or as a model; None if that is unknown."""
    get: Callable[[str], Any]
    get = usage.get if isinstance(usage, dict) else functools.partial(_attribute, usage)
    tokens_in, out = get("input_tokens"), get("output_tokens")
    written = get("cache_creation_input_tokens") or 0
    if not (isinstance(tokens_in, int) and isinstance(out, int) and isinstance(written, int)):
        return None
    return 1.0, float(max(0, tokens_in + written)), float(max(0, out) * weight)
