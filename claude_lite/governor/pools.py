"""Which calls share a rate limit, what a call is expected to cost, and what its answer says.

The API counts per organization and per family of models, in three buckets: requests, input tokens
and output tokens per minute (https://docs.claude.com/en/api/rate-limits). A client knows neither
the organization nor the families, so these are data: `FAMILIES` and `OUTPUT_WEIGHTS`.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final, NamedTuple

from claude_lite.core.responses import retry_after
from claude_lite.core.turns import Admit
from claude_lite.wire import Response

__all__ = ["Cost", "Key", "cost_of", "family_of", "key_of", "limits_of", "news_of", "used_of"]

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

REQUESTS: Final = "anthropic-ratelimit-requests-limit"
REQUESTS_LEFT: Final = "anthropic-ratelimit-requests-remaining"
INPUT: Final = "anthropic-ratelimit-input-tokens-limit"
INPUT_LEFT: Final = "anthropic-ratelimit-input-tokens-remaining"
OUTPUT: Final = "anthropic-ratelimit-output-tokens-limit"
OUTPUT_LEFT: Final = "anthropic-ratelimit-output-tokens-remaining"
NO_LIMITS: Final = (0.0, 0.0, 0.0)
MOST: Final = 1e15  # a larger number cannot be meant

Cost = tuple[int, int]
"""What a call takes at most: its input tokens, and its largest number of output tokens."""

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


@lru_cache(1024)
def family_of(model: str, *, counts: bool = False) -> str:
    """Return the name of the family of *model*: the models that share a limit.

    The counting of tokens has limits of its own; its name begins with "count ".
    """
    family = next((name for name, pattern in FAMILIES if pattern.search(model)), model)
    return f"count {family}" if counts else family


def key_of(admit: Admit) -> Key:
    """Return the key of the limit that applies to an attempt."""
    origin, function = admit.account
    operation, headers = admit.operation, admit.request.headers
    # The credentials of a function change, and its limit does not.
    credential = function or headers.get("x-api-key") or headers.get("authorization") or ""
    counts = not hasattr(operation, "max_tokens")
    return Key(origin, credential, family_of(str(operation.model), counts=counts))


def cost_of(admit: Admit) -> Cost:
    """Estimate the cost of an attempt."""
    body = admit.request.body
    if not isinstance(body, bytes):
        return 0, 0
    size, tokens = len(body), 0
    if BASE64 in body:
        letters, tokens = _files(getattr(admit.operation, "messages", ()))
        size = max(0, size - letters)
    most = getattr(admit.operation, "max_tokens", 0)
    return size // BYTES_PER_TOKEN + tokens, most if isinstance(most, int) else 0


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

    A limit that is missing, no number or below 1 is 0, and says nothing; what is left is then -1.
    """
    get = head.headers.get
    requests, tokens_in, tokens_out = get(REQUESTS), get(INPUT), get(OUTPUT)
    if requests is None and tokens_in is None and tokens_out is None:
        return None
    limits = _limits(requests, tokens_in, tokens_out)
    if limits == NO_LIMITS:
        return None
    return limits, (_left(get(REQUESTS_LEFT)), _left(get(INPUT_LEFT)), _left(get(OUTPUT_LEFT)))


@lru_cache(64)  # they are the same in most answers
def _limits(*given: str | None) -> Three:
    numbers = [_left(text) for text in given]
    requests, tokens_in, tokens_out = (number if number >= 1 else 0.0 for number in numbers)
    return requests, tokens_in, tokens_out


def _left(text: str | None) -> float:
    """Read a number; -1 if there is none, or none that can be meant."""
    try:
        number = float(text or "-1")
    except ValueError:
        return -1.0
    return number if 0 <= number < MOST else -1.0


News = tuple[int | None, Three | None, Three | None, float | None]
"""What `booking.learn` is told of an attempt: status, limits, what is left, and the named wait."""

NOT_SENT: Final = -1
UNKNOWN_FATE: Final = 0
OK: Final = 200


def news_of(head: Response | None, usage: object, *, sent: bool) -> News:
    """Return what became of an attempt; see `claude_lite.core.turns.Turn.settle`."""
    if head is not None:
        limits, left = limits_of(head) or (None, None)
        named = None if head.status == OK else retry_after(head.headers)
        return head.status, limits, left, named
    if not sent:
        return NOT_SENT, None, None, None
    return UNKNOWN_FATE if usage is None else None, None, None, None


def used_of(usage: Any, weight: int) -> Three | None:
    """Return what a call took, by its usage as JSON or as a model; None if that is unknown."""
    try:
        data = usage if isinstance(usage, dict) else usage.__dict__  # of a model: what came
        tokens_in = data["input_tokens"] + (data.get("cache_creation_input_tokens") or 0)
        used = 1.0, float(tokens_in), float(data["output_tokens"] * weight)
    except (AttributeError, LookupError, TypeError, ValueError, OverflowError):
        return None
    return used if 0 <= used[1] < MOST and 0 <= used[2] < MOST else None
