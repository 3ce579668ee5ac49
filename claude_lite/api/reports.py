"""Usage and cost reports of an organization: https://docs.claude.com/en/api/usage-cost-api.

A report comes in pages. The items of a page are buckets: spans of time, each with its figures.
Times are RFC 3339.
"""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any

from claude_lite.api.organization import ORGANIZATIONS
from claude_lite.core.model import Model, model
from claude_lite.core.operation import Route, operation
from claude_lite.core.pages import CursorPaged

__all__ = [
    "ClaudeCodeUsage",
    "ClaudeCodeUsageReport",
    "Cost",
    "CostBucket",
    "CostReport",
    "MessagesUsage",
    "MessagesUsageBucket",
    "MessagesUsageReport",
]


@model
class MessagesUsage(Model):
    """The tokens that one group used in one bucket. Fields outside of `group_by` are None."""

    uncached_input_tokens: int = 0
    cache_read_input_tokens: int = 0
    output_tokens: int = 0
    cache_creation: dict[str, Any] | None = None
    server_tool_use: dict[str, Any] | None = None
    model: str | None = None
    workspace_id: str | None = None
    api_key_id: str | None = None
    account_id: str | None = None
    service_account_id: str | None = None
    service_tier: str | None = None
    context_window: str | None = None
    inference_geo: str | None = None


@model
class MessagesUsageBucket(Model):
    """The usage between `starting_at` (included) and `ending_at` (excluded)."""

    starting_at: str
    ending_at: str
    results: list[MessagesUsage]


@model
class Cost(Model):
    """The cost of one group in one bucket."""

    amount: str
    """Decimal text in the lowest unit of the currency: cents, for USD."""
    currency: str
    cost_type: str | None = None
    description: str | None = None
    model: str | None = None
    service_tier: str | None = None
    token_type: str | None = None
    context_window: str | None = None
    inference_geo: str | None = None
    workspace_id: str | None = None


@model
class CostBucket(Model):
    """The cost between `starting_at` (included) and `ending_at` (excluded)."""

    starting_at: str
    ending_at: str
    results: list[Cost]


@model
class ClaudeCodeUsage(Model):
    """The use of Claude Code by one actor on one day."""

    actor: dict[str, Any]
    """A user or an API key."""
    date: str
    core_metrics: dict[str, Any]
    model_breakdown: list[Any]
    tool_actions: dict[str, Any]
    organization_id: str | None = None
    customer_type: str | None = None
    subscription_type: str | None = None
    terminal_type: str | None = None
    is_remote: bool | None = None


@operation
class MessagesUsageReport(CursorPaged[MessagesUsageBucket]):
    """Report the tokens used by messages, in buckets."""

    route = Route(
        "organization.usage_report.messages", "GET", f"{ORGANIZATIONS}/usage_report/messages"
    )
    item_type = MessagesUsageBucket

    starting_at: str | datetime
    ending_at: str | datetime | None = None
    bucket_width: str | None = None
    """1m, 1h or 1d."""
    group_by: Sequence[str] | None = None
    models: Sequence[str] | None = None
    workspace_ids: Sequence[str] | None = None
    api_key_ids: Sequence[str] | None = None
    account_ids: Sequence[str] | None = None
    service_account_ids: Sequence[str] | None = None
    service_tiers: Sequence[str] | None = None
    context_window: Sequence[str] | None = None
    inference_geos: Sequence[str] | None = None
    speeds: Sequence[str] | None = None


@operation
class ClaudeCodeUsageReport(CursorPaged[ClaudeCodeUsage]):
    """Report the use of Claude Code on one day."""

    route = Route(
        "organization.usage_report.claude_code", "GET", f"{ORGANIZATIONS}/usage_report/claude_code"
    )
    item_type = ClaudeCodeUsage

    starting_at: str | date
    """The day."""


@operation
class CostReport(CursorPaged[CostBucket]):
    """Report the cost, in buckets of a day."""

    route = Route("organization.cost_report", "GET", f"{ORGANIZATIONS}/cost_report")
    item_type = CostBucket

    starting_at: str | datetime
    ending_at: str | datetime | None = None
    bucket_width: str | None = None
    group_by: Sequence[str] | None = None
