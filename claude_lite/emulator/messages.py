"""The routes of the Messages API: create (whole or streamed) and token counting."""

from collections.abc import Mapping
from itertools import count
from typing import Any, Final

from claude_lite.emulator import tokens
from claude_lite.emulator.answers import Draft, compose
from claude_lite.emulator.events import stream
from claude_lite.emulator.prompt_cache import Split
from claude_lite.emulator.prompts import read_prompt
from claude_lite.emulator.rate_limits import timestamp
from claude_lite.emulator.routing import Answer, Call, Route
from claude_lite.emulator.tokens import PER_TOKEN
from claude_lite.emulator.validation import check_count, check_create
from claude_lite.emulator.world import World

CONTAINER_LIFE: Final = 3600  # seconds


class Messages:
    """Answers `/v1/messages` and `/v1/messages/count_tokens`."""

    def __init__(self, world: World) -> None:
        self._world = world

    def routes(self) -> tuple[Route, ...]:
        """List the routes."""
        return (
            Route("POST", "/v1/messages", self.create),
            Route("POST", "/v1/messages/count_tokens", self.count_tokens),
        )

    def create(self, call: Call) -> Answer:
        """Answer a message, whole or as a stream."""
        body = call.json()
        beta = bool(call.betas)
        check_create(body, call.version, beta=beta, models=self._world.models)
        draft, split, headers = self._work(body, call.number)
        message = self._message(body, draft, split, call.number)
        if beta:
            message["context_management"] = None
            message["usage"] |= {"iterations": None, "fallback_credit": None}
        pace = self._world.seconds_per_token
        if body.get("stream"):
            return Answer.events(stream(message, draft, pace / PER_TOKEN), headers)
        return Answer.json(message, headers, delay=draft.output_tokens * pace)

    def count_tokens(self, call: Call) -> Answer:
        """Count a prompt's tokens."""
        body = call.json()
        check_count(body, call.version, beta=bool(call.betas), models=self._world.models)
        world = self._world
        headers = world.limits.take_count(body["model"], world.clock(), world.now())
        return Answer.json({"input_tokens": tokens.count(body)}, headers)

    def _work(self, body: Mapping[str, Any], number: int) -> tuple[Draft, Split, dict[str, str]]:
        """Compose the answer and charge for it."""
        world, model = self._world, body["model"]
        parts = count()
        draft = compose(
            body,
            read_prompt(body["messages"]),
            world.filler,
            lambda prefix: world.new_id(prefix, number, next(parts)),
        )
        now = world.clock()
        split = world.cache.split(model, tokens.segments(body), now)
        headers = world.limits.take(
            model,
            now,
            world.now(),
            input_tokens=split.uncached + sum(split.created.values()),
            output_tokens=draft.output_tokens,
        )
        world.cache.learn(split, now)
        return draft, split, headers

    def _message(
        self, body: Mapping[str, Any], draft: Draft, split: Split, number: int
    ) -> dict[str, Any]:
        return {
            "id": self._world.new_id("msg_01", number),
            "type": "message",
            "role": "assistant",
            "model": body["model"],
            "content": [block.whole() for block in draft.blocks],
            "container": self._container(body.get("container"), number),
            "diagnostics": _diagnostics(body.get("diagnostics")),
            "stop_details": draft.stop_details,
            "stop_reason": draft.stop_reason,
            "stop_sequence": draft.stop_sequence,
            "usage": _usage(body, draft, split),
        }

    def _container(self, wanted: str | dict[str, Any] | None, number: int) -> dict[str, Any] | None:
        if wanted is None:
            return None
        given: dict[str, Any] = {"id": wanted} if isinstance(wanted, str) else wanted
        skills = [{"version": "latest", **skill} for skill in given.get("skills") or ()]
        return {
            "id": given.get("id") or self._world.new_id("container_01", number),
            "expires_at": timestamp(int(self._world.now()) + CONTAINER_LIFE),
            "skills": skills or None,
        }


def _diagnostics(wanted: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Say why the cache missed: unknown, for the emulator keeps no earlier messages."""
    return {"cache_miss_reason": {"type": "unavailable"}} if wanted else None


def _usage(body: Mapping[str, Any], draft: Draft, split: Split) -> dict[str, Any]:
    searches = {"web_search_requests": draft.searches, "web_fetch_requests": 0}
    return {
        "cache_creation": {
            "ephemeral_1h_input_tokens": split.created.get("1h", 0),
            "ephemeral_5m_input_tokens": split.created.get("5m", 0),
        },
        "cache_creation_input_tokens": sum(split.created.values()),
        "cache_read_input_tokens": split.read,
        "inference_geo": body.get("inference_geo") or "global",
        "input_tokens": split.uncached,
        "output_tokens": draft.output_tokens,
        "output_tokens_details": {"thinking_tokens": draft.thinking_tokens},
        "server_tool_use": searches if draft.searches else None,
        "service_tier": "standard",
        "speed": body.get("speed") or "standard",
    }
