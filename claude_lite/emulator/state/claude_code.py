"""Made-up records of the use of Claude Code in the seeded organization, by day.

The seed and the day decide the records. As in the API, removed users stay in the records. Days
before the organization was founded, and days in the future, have no records.
"""

import random
from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import Any, Final

from attrs import frozen

from claude_lite.emulator.state.seeded import FOUNDED, PEOPLE, email_of

TERMINALS: Final = ("vscode", "iTerm.app", "tmux", "pycharm")
CODING_MODELS: Final = ("claude-sonnet-5-5", "claude-opus-5-5", "claude-haiku-5-5")
TOOLS: Final = ("edit_tool", "multi_edit_tool", "write_tool", "notebook_edit_tool")
CODERS: Final = ("admin", "developer", "claude_code_user")  # roles that use Claude Code
KEY_NAME: Final = "ci"
WEEKEND: Final = 5  # the weekday on which it begins: Saturday


@frozen
class Record:
    """The work of one actor; `serial` counts down through a day."""

    id: str
    serial: int
    shown: dict[str, Any]


def records(day: date, seed: int, organization_id: str, now: float) -> list[Record]:
    """Return the records of a day."""
    founded = datetime.fromtimestamp(FOUNDED, UTC).date()
    today = datetime.fromtimestamp(now, UTC).date()
    if not founded <= day <= today:
        return []
    shown = list(_records(day, random.Random(f"{seed} {day}"), organization_id))  # noqa: S311  # repeatable
    return [Record(str(i), len(shown) - i, one) for i, one in enumerate(shown)]


def _records(day: date, dice: random.Random, organization_id: str) -> Iterator[dict[str, Any]]:
    actors: list[dict[str, str]] = [
        {"type": "user_actor", "email_address": email_of(name)}
        for name, role in PEOPLE
        if role in CODERS
    ]
    if day.weekday() >= WEEKEND:
        actors = actors[:1]
    for actor in (*actors, {"type": "api_actor", "api_key_name": KEY_NAME}):
        by_key = actor["type"] == "api_actor"
        sessions = dice.randint(1, 9)
        yield {
            "actor": actor,
            "core_metrics": {
                "commits_by_claude_code": dice.randint(0, sessions),
                "lines_of_code": {
                    "added": dice.randint(0, 400),
                    "removed": dice.randint(0, 200),
                },
                "num_sessions": sessions,
                "pull_requests_by_claude_code": dice.randint(0, 2),
            },
            "customer_type": "api",
            "date": f"{day}T00:00:00Z",
            "is_remote": by_key,
            "model_breakdown": [
                _model(model, dice) for model in dice.sample(CODING_MODELS, dice.randint(1, 2))
            ],
            "organization_id": organization_id,
            "terminal_type": "unknown" if by_key else dice.choice(TERMINALS),
            "tool_actions": {
                tool: {"accepted": dice.randint(0, 40), "rejected": dice.randint(0, 6)}
                for tool in TOOLS
            },
            "subscription_type": None,
        }


def _model(model: str, dice: random.Random) -> dict[str, Any]:
    return {
        "model": model,
        "estimated_cost": {"amount": dice.randint(10, 900), "currency": "USD"},
        "tokens": {
            "input": dice.randint(1_000, 90_000),
            "output": dice.randint(500, 30_000),
            "cache_creation": dice.randint(0, 20_000),
            "cache_read": dice.randint(0, 200_000),
        },
    }
