"""What others wrote without our secrets: a server, or a proxy, may quote what it was sent."""

from collections.abc import Iterable
from typing import Any

from claude_lite.errors import ClaudeError
from claude_lite.wire import MASK


def scrub(error: ClaudeError, secrets: Iterable[str]) -> None:
    """Take *secrets* out of what others wrote into *error*."""
    error.__context__ = None  # of a parser, it would hold all that came
    said = {f: getattr(error, f) for f in error.FIELDS}
    clean = without(said, secrets)
    if clean != said:
        error.amend(**clean)


def without(value: Any, secrets: Iterable[str]) -> Any:
    """*value*, plain data, without *secrets*."""
    for secret in secrets:
        value = _without(value, secret)
    return value


def _without(value: Any, secret: str) -> Any:
    """*value*, plain data, without *secret*."""
    if isinstance(value, str):
        return value.replace(secret, MASK)
    if isinstance(value, dict):
        return {_without(k, secret): _without(v, secret) for k, v in value.items()}
    if isinstance(value, list):
        return [_without(item, secret) for item in value]
    return value
