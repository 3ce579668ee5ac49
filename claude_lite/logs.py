"""What a call says about itself: one event an attempt, one a call, with fixed keys.

Events `claude_lite.attempt` and `claude_lite.call` have, where they apply: operation,
request_id, organization_id, attempt (of a call: attempts), status, error_type, retry_in (s),
elapsed_ms, ttft_ms (to the first content of a stream), input_tokens, output_tokens and
ratelimit_*. Never a credential, never a body; of the headers only those named here.

They go to structlog if the application has configured it, otherwise to the standard logger
`claude_lite`, which is silent by default; and to the client's `observe` function. This module
configures nothing. Where nobody listens, nothing is put together.
"""

import logging
import sys
from collections.abc import Callable, Mapping
from typing import Any, Final

from claude_lite.errors import ClaudeError
from claude_lite.wire import Response

Observer = Callable[[str, Mapping[str, Any]], None]
"""Called with an event's name and fields, on the thread or loop of the call."""

Fields = Mapping[str, Any]
Report = Callable[[str, str, Callable[[], Fields]], None]
"""Takes a level, an event's name, and what puts its fields together if they are wanted."""

RATE_LIMIT: Final = "anthropic-ratelimit-"

_standard: Final = logging.getLogger("claude_lite")
_null: Final = logging.NullHandler()
_standard.addHandler(_null)


def listener(observe: Observer | None) -> Report | None:
    """The function to report to, or None where nobody listens."""
    # Not imported here: it is dear, and an application that configured it has imported it.
    structlog = sys.modules.get("structlog")
    if structlog is not None and structlog.is_configured():
        report = _to_structlog(structlog.get_logger("claude_lite"))
    elif _standard.isEnabledFor(logging.WARNING) and _has_handlers():
        report = _to_standard
    else:
        report = None
    if observe is None:
        return report

    def both(level: str, event: str, fields: Callable[[], Fields]) -> None:
        made = fields()
        if report is not None:
            report(level, event, lambda: made)
        observe(event, made)

    return both


def _has_handlers() -> bool:
    own = _standard.handlers not in ([], [_null])
    return own or (_standard.propagate and bool(logging.root.handlers))


def _to_structlog(logger: Any) -> Report:
    return lambda level, event, fields: getattr(logger, level)(event, **fields())


def _to_standard(level: str, event: str, fields: Callable[[], Fields]) -> None:
    number = getattr(logging, level.upper())
    if _standard.isEnabledFor(number):
        text = " ".join(f"{key}={value}" for key, value in fields().items())
        _standard.log(number, "%s %s", event, text)


def head_fields(head: Response | None) -> dict[str, Any]:
    """What is logged of a response: its status, its ids and the rate limits."""
    if head is None:
        return {}
    limits = {
        "ratelimit_" + name.removeprefix(RATE_LIMIT).replace("-", "_"): value
        for name, value in head.headers.items()
        if name.startswith(RATE_LIMIT)
    }
    ids = {"request_id": head.request_id, "organization_id": head.organization_id}
    return known({"status": head.status, **ids, **limits})


def error_fields(error: ClaudeError) -> dict[str, Any]:
    """What is logged of an error: its class and ids, not its message, which may quote a body."""
    return known(
        {
            "status": error.status,
            "request_id": error.request_id,
            "organization_id": error.organization_id,
            "error_type": error.type or type(error).__name__,
        }
    )


def usage_fields(result: object) -> dict[str, Any]:
    """Tokens, where *result* has them."""
    usage = getattr(result, "usage", None)
    names = ("input_tokens", "output_tokens")
    return known({name: getattr(usage, name, None) for name in names})


def known(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that have a value."""
    return {name: value for name, value in fields.items() if value is not None}
