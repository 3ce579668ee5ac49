"""The routes of the usage and cost reports, made from the requests that the emulator served.

Buckets are in UTC. A report begins with the bucket of `starting_at` and ends with the bucket of
`ending_at`, or with the current one. Reports are up to date, while those of the API are minutes
late. The emulator does not serve Claude Code, so the records of Claude Code are made up
(`claude_lite.emulator.state.claude_code`).
"""

import base64
import binascii
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Final

from attrs import frozen

from claude_lite.emulator.reading.checks import Check, literal
from claude_lite.emulator.reading.paging import CURSOR_PREFIX, Query, cursor_page, only, read_query
from claude_lite.emulator.reading.problems import fail
from claude_lite.emulator.reading.routing import Answer, Call, ServedRoute
from claude_lite.emulator.routes.organization import ORGANIZATIONS_PATH
from claude_lite.emulator.state.claude_code import records
from claude_lite.emulator.state.rate_limits import timestamp
from claude_lite.emulator.state.usage import (
    SEARCH_CENTS,
    TokenCounts,
    UsageGroup,
    amount_text,
    costs,
)
from claude_lite.emulator.state.world import World

BUCKET_WIDTHS: Final[Mapping[str, tuple[int, int, int]]] = {
    "1m": (60, 60, 1440),
    "1h": (3600, 24, 168),
    "1d": (86400, 7, 31),
}
"""Seconds of a bucket; buckets on a page by default, and at most."""

Filter = tuple[str, Check]
_ANY: Final[Check] = lambda _value, _path: None  # noqa: E731  # one of several checks
_FILTERS: Final[Mapping[str, Filter]] = {  # from a parameter to the field that it filters
    "models": ("model", _ANY),
    "workspace_ids": ("workspace_id", _ANY),
    "api_key_ids": ("api_key_id", _ANY),
    "account_ids": ("account_id", _ANY),
    "service_account_ids": ("service_account_id", _ANY),
    "context_window": ("context_window", literal("0-200k", "200k-1M")),
    "inference_geos": ("inference_geo", literal("global", "not_available", "us")),
    "service_tiers": (
        "service_tier",
        literal("batch", "flex", "flex_discount", "priority", "priority_on_demand", "standard"),
    ),
    "speeds": ("speed", literal("fast", "standard")),
}
_FIELDS: Final = (
    "account_id",
    "api_key_id",
    "context_window",
    "inference_geo",
    "model",
    "service_account_id",
    "service_tier",
    "speed",
    "workspace_id",
)
_GROUP_USAGE: Final = literal(*_FIELDS)
_GROUP_COST: Final = literal("description", "workspace_id")
_COST_FIELDS: Final = (
    "context_window",
    "cost_type",
    "description",
    "inference_geo",
    "model",
    "service_tier",
    "token_type",
    "workspace_id",
)


@frozen
class ReportPage:
    """The buckets of one page: their first seconds, since 1970."""

    starts: range
    next_page: str | None

    def answer(self, results: Mapping[int, Sequence[Any]]) -> Answer:
        """Answer with the results of each bucket."""
        data = [
            {
                "starting_at": timestamp(start),
                "ending_at": timestamp(start + self.starts.step),
                "results": results.get(start, ()),
            }
            for start in self.starts
        ]
        more = self.next_page is not None
        return Answer.json({"data": data, "has_more": more, "next_page": self.next_page})


class ReportRoutes:
    """Answers the reports below `/v1/organizations/`."""

    def __init__(self, world: World) -> None:
        self._world = world

    def routes(self) -> Sequence[ServedRoute]:
        """List the routes."""
        plain = (
            ("GET", f"{ORGANIZATIONS_PATH}/usage_report/messages", self.messages),
            ("GET", f"{ORGANIZATIONS_PATH}/usage_report/claude_code", self.claude_code),
            ("GET", f"{ORGANIZATIONS_PATH}/cost_report", self.cost),
        )
        return [ServedRoute(m, path, answer, per_workspace=False) for m, path, answer in plain]

    def messages(self, call: Call) -> Answer:
        """Report the tokens of messages."""
        query = read_query(call.query)
        page = _page(query, tuple(BUCKET_WIDTHS), self._world.now())
        by = _choices(query, "group_by", _GROUP_USAGE)
        wanted = {field: _choices(query, name, it) for name, (field, it) in _FILTERS.items()}
        found: dict[int, dict[tuple[Any, ...], TokenCounts]] = {}
        for start, group, tokens in self._rows(page):
            if all(not values or _of(group, name) in values for name, values in wanted.items()):
                key = tuple(self._shown(group, name) if name in by else None for name in _FIELDS)
                found.setdefault(start, {}).setdefault(key, TokenCounts()).add(tokens)
        return page.answer(
            {
                start: [_shown_usage(key, tokens, by) for key, tokens in groups.items()]
                for start, groups in found.items()
            }
        )

    def cost(self, call: Call) -> Answer:
        """Report the costs."""
        query = read_query(call.query)
        page = _page(query, ("1d",), self._world.now())
        by = _choices(query, "group_by", _GROUP_COST)
        found: dict[int, dict[tuple[Any, ...], Decimal]] = {}
        for start, group, tokens in self._rows(page):
            for item, cents in _costs(group, tokens):
                shown = item if "description" in by else {}
                place = self._shown(group, "workspace_id") if "workspace_id" in by else None
                key = (*(shown.get(name) for name in _COST_FIELDS[:-1]), place)
                sums = found.setdefault(start, {})
                sums[key] = sums.get(key, Decimal(0)) + cents
        return page.answer(
            {
                start: [
                    {
                        "amount": amount_text(cents),
                        "currency": "USD",
                        **dict(zip(_COST_FIELDS, key, strict=True)),
                    }
                    for key, cents in sums.items()
                ]
                for start, sums in found.items()
            }
        )

    def claude_code(self, call: Call) -> Answer:
        """Report the use of Claude Code on a day."""
        query = read_query(call.query)
        text = only(query, "starting_at") or fail("starting_at", "Field required")
        try:
            day = date.fromisoformat(text)
        except ValueError:
            fail("starting_at", "Input should be a valid date in the format YYYY-MM-DD")
        world = self._world
        found = records(day, world.seed, world.organization_id, world.now())
        page = cursor_page(found, query, lambda record: record.shown)
        return Answer.json({**page, "has_more": page["next_page"] is not None})

    def _shown(self, group: UsageGroup, field: str) -> str | None:
        """Return a field as reports show it: the default workspace is null."""
        value = _of(group, field)
        return None if value == self._world.workspace_id else value

    def _rows(self, page: ReportPage) -> Iterator[tuple[int, UsageGroup, TokenCounts]]:
        """Yield (first second of the bucket, group, tokens)."""
        width = page.starts.step
        for at, group, tokens in self._world.usage.between(page.starts.start, page.starts.stop):
            yield at // width * width, group, tokens


def _page(query: Query, widths: Sequence[str], now: float) -> ReportPage:
    name = only(query, "bucket_width") or "1d"
    literal(*widths)(name, "bucket_width")
    width, default, most = BUCKET_WIDTHS[name]
    start = _time(query, "starting_at")
    if start is None:
        fail("starting_at", "Field required")
    end = _time(query, "ending_at")
    if end is not None and end <= start:
        fail("ending_at", "must be after `starting_at`")
    start = start // width * width
    stop = int(now) // width * width + width if end is None else -(-end // width) * width
    cursor = only(query, "page")
    if cursor:
        start = max(start, _read_cursor(cursor) // width * width)
    last = min(start + _limit(query, default, most) * width, max(start, stop))
    return ReportPage(range(start, last, width), _cursor(last) if last < stop else None)


def _limit(query: Query, default: int, most: int) -> int:
    text = only(query, "limit")
    if text is None:
        return default
    if not text.isascii() or not text.isdecimal() or not 1 <= int(text) <= most:
        fail("limit", f"Input should be an integer between 1 and {most}")
    return int(text)


def _time(query: Query, name: str) -> int | None:
    text = only(query, name)
    if text is None:
        return None
    try:
        return _seconds(text)
    except ValueError:
        fail(name, "Input should be a valid datetime in RFC 3339")


def _seconds(text: str) -> int:
    time = datetime.fromisoformat(text)
    return int((time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp())


def _cursor(start: int) -> str:
    return CURSOR_PREFIX + base64.urlsafe_b64encode(timestamp(start).encode()).decode()


def _read_cursor(cursor: str) -> int:
    try:
        return _seconds(base64.urlsafe_b64decode(cursor.removeprefix(CURSOR_PREFIX)).decode())
    except (ValueError, binascii.Error):
        fail("page", "not a page of this report")


def _choices(query: Query, name: str, check: Check) -> Sequence[str]:
    values = query.get(name, [])
    for i, value in enumerate(values):
        check(value, f"{name}.{i}")
    return values


def _of(group: UsageGroup, field: str) -> str | None:
    """Return a field of a group; None for account fields, which the emulator does not know."""
    return getattr(group, field, None)


def _shown_usage(key: tuple[Any, ...], tokens: TokenCounts, by: Sequence[str]) -> Mapping[str, Any]:
    fields = dict(zip(_FIELDS, key, strict=True))
    if "speed" not in by:
        del fields["speed"]
    return {
        **fields,
        "uncached_input_tokens": tokens.uncached,
        "cache_creation": {
            "ephemeral_1h_input_tokens": tokens.written_1h,
            "ephemeral_5m_input_tokens": tokens.written_5m,
        },
        "cache_read_input_tokens": tokens.cache_read,
        "output_tokens": tokens.output,
        "server_tool_use": {"web_search_requests": tokens.searches},
    }


def _costs(group: UsageGroup, tokens: TokenCounts) -> Iterator[tuple[Mapping[str, str], Decimal]]:
    for token_type, cents in costs(group, tokens):
        words = token_type.rpartition(".")[2].replace("_", " ")
        item = {
            "cost_type": "tokens",
            "description": f"{group.model} usage - {words}",
            "context_window": group.context_window,
            "inference_geo": group.inference_geo,
            "model": group.model,
            "service_tier": group.service_tier,
            "token_type": token_type,
        }
        yield item, cents
    if tokens.searches:
        yield (
            {"cost_type": "web_search", "description": "Web search"},
            tokens.searches * SEARCH_CENTS,
        )
