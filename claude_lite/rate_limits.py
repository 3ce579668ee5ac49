"""The rate limits that a response reports: https://docs.claude.com/en/api/rate-limits."""

from collections.abc import Mapping
from datetime import UTC, datetime

from attrs import fields, frozen


@frozen
class RateLimit:
    """One limit: `limit` and `remaining` in its unit, `reset` when it will be full again."""

    limit: int | None = None
    remaining: int | None = None
    reset: datetime | None = None


@frozen
class RateLimits:
    """The rate limits in force, by kind; a kind that the response does not name is None.

    Tokens are counted a minute; `remaining` is rounded to thousands by the API.
    """

    requests: RateLimit | None = None
    tokens: RateLimit | None = None
    input_tokens: RateLimit | None = None
    output_tokens: RateLimit | None = None
    priority_input_tokens: RateLimit | None = None
    priority_output_tokens: RateLimit | None = None
    fast_input_tokens: RateLimit | None = None
    fast_output_tokens: RateLimit | None = None


def rate_limits(headers: Mapping[str, str]) -> RateLimits:
    """Read the `anthropic-ratelimit-*`, `-priority-*` and `-fast-*` headers."""
    found: dict[str, RateLimit] = {}
    for name in (attribute.name for attribute in fields(RateLimits)):
        prefix = "anthropic-" + name.replace("_", "-")
        if not name.startswith(("priority", "fast")):
            prefix = prefix.replace("anthropic-", "anthropic-ratelimit-")
        values = [headers.get(f"{prefix}-{what}") for what in ("limit", "remaining", "reset")]
        if values != [None, None, None]:
            limit, remaining, reset = values
            found[name] = RateLimit(_number(limit), _number(remaining), _time(reset))
    return RateLimits(**found)


def _number(value: str | None) -> int | None:
    try:
        return int(value or "")
    except (ValueError, TypeError):  # of an error's plain data it may be anything
        return None


def _time(value: str | None) -> datetime | None:
    try:
        moment = datetime.fromisoformat(value or "")
    except (ValueError, TypeError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
