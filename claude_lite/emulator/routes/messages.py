"""The routes of the Messages API: create (whole or streamed) and token counting."""

from collections.abc import Mapping
from itertools import count
from typing import Any, Final

from claude_lite.emulator.answers import tokens
from claude_lite.emulator.answers.answers import compose
from claude_lite.emulator.answers.blocks import AnswerDraft
from claude_lite.emulator.answers.events import as_of, stream
from claude_lite.emulator.answers.tokens import PER_TOKEN
from claude_lite.emulator.reading.known_models import ALIASES
from claude_lite.emulator.reading.prompts import read_prompt
from claude_lite.emulator.reading.routing import Answer, Call, ServedRoute
from claude_lite.emulator.reading.validation import check_count, check_create
from claude_lite.emulator.state.prompt_cache import PromptCache, Split
from claude_lite.emulator.state.rate_limits import timestamp
from claude_lite.emulator.state.references import check_references, container_skills
from claude_lite.emulator.state.stored_files import Produced
from claude_lite.emulator.state.stored_threads import StoredThreads
from claude_lite.emulator.state.world import World

CONTAINER_LIFE: Final = 3600  # seconds
BETA_REFUSAL: Final = dict.fromkeys(
    ("fallback_credit_token", "fallback_has_prefill_claim", "recommended_model")
)
IDS_PER_ITEM: Final = 1000  # ids reserved for the blocks of one item of a batch


class MessageRoutes:
    """Answers `/v1/messages` and `/v1/messages/count_tokens`."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._threads = StoredThreads()

    def routes(self) -> tuple[ServedRoute, ...]:
        """List the routes."""
        return (
            ServedRoute("POST", "/v1/messages", self.create),
            ServedRoute("POST", "/v1/messages/count_tokens", self.count_tokens),
        )

    def create(self, call: Call) -> Answer:
        """Answer a message, whole or as a stream."""
        body = call.json()
        if call.is_beta:
            body = self._threads.resume(body, call.workspace_id)
        self.check(body, call)
        message, draft, headers = self.answer(body, call)
        shown = as_of(message, call.version)
        self._threads.keep(body, shown, call.workspace_id)
        pace = self._world.seconds_per_token
        if body.get("stream"):
            events = stream(message, draft, pace / PER_TOKEN, call.version)
            return Answer.events(events, headers)
        return Answer.json(shown, headers, delay=draft.output_tokens * pace)

    def answer(
        self, body: Mapping[str, Any], call: Call
    ) -> tuple[dict[str, Any], AnswerDraft, dict[str, str]]:
        """Answer a checked body, and charge for the answer.

        Returns the message, its draft, and the headers of the rate limits.
        """
        draft, split, headers = self._work(body, call)
        message = self._message(body, draft, split, call)
        self.charge(message, call)
        return message, draft, headers

    def charge(self, message: Mapping[str, Any], call: Call) -> None:
        """Count the usage of a message in the reports, for the key and workspace of *call*."""
        self._world.usage.record(
            self._world.now(),
            message["usage"],
            model=message["model"],
            workspace_id=call.workspace_id,
            api_key_id=call.api_key_id,
        )

    def check(self, body: Mapping[str, Any], call: Call) -> None:
        """Check the body of a message of *call*; raises `Problem` if the body is refused."""
        check_create(body, call.version, beta=call.is_beta, models=self._world.models)
        check_references(body, call.workspace_id, self._world)

    def in_batch(self, body: Mapping[str, Any], call: Call, item: int) -> dict[str, Any]:
        """Answer the checked message *item* (from 0) of the batch that *call* created.

        Nothing is charged or cached, so an item has the same answer every time.
        """
        draft = self._draft(body, call, item)
        split = PromptCache().split(body["model"], tokens.segments(body), 0.0)
        message = self._message(body, draft, split, call, item)
        message["usage"]["service_tier"] = "batch"
        return message

    def count_tokens(self, call: Call) -> Answer:
        """Count the tokens of a prompt."""
        body = call.json()
        check_count(body, call.version, beta=call.is_beta, models=self._world.models)
        check_references(body, call.workspace_id, self._world)
        world = self._world
        headers = world.limits.take_count(body["model"], world.clock(), world.now())
        return Answer.json({"input_tokens": tokens.count(body)}, headers)

    def _work(
        self, body: Mapping[str, Any], call: Call
    ) -> tuple[AnswerDraft, Split, dict[str, str]]:
        """Compose the answer, and charge the rate limits and the cache."""
        world, model = self._world, body["model"]
        draft = self._draft(body, call)
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

    def _draft(self, body: Mapping[str, Any], call: Call, item: int = 0) -> AnswerDraft:
        world = self._world
        parts = count(item * IDS_PER_ITEM)

        def new_id(prefix: str) -> str:
            return world.new_id(prefix, call.number, next(parts))

        def save(filename: str, size: int) -> str:
            content = Produced(world.filler, size)
            file_id = new_id("file_01")
            world.files.add(call.workspace_id, file_id, filename, content, downloadable=True)
            return file_id

        return compose(body, read_prompt(body["messages"]), world.filler, new_id, save)

    def _message(
        self, body: Mapping[str, Any], draft: AnswerDraft, split: Split, call: Call, item: int = 0
    ) -> dict[str, Any]:
        message = {
            "id": self._world.new_id("msg_01", call.number, item),
            "type": "message",
            "role": "assistant",
            "model": ALIASES.get(body["model"], body["model"]),
            "content": [block.whole() for block in draft.blocks],
            "container": self._container(body, draft, call, item),
            "diagnostics": _diagnostics(body.get("diagnostics")),
            "stop_details": draft.stop_details,
            "stop_reason": draft.stop_reason,
            "stop_sequence": draft.stop_sequence,
            "usage": _usage(body, draft, split),
        }
        if call.is_beta:
            edits: dict[str, Any] = {"applied_edits": []}
            message["context_management"] = edits if body.get("context_management") else None
            message["usage"] |= {"iterations": None, "fallback_credit": None}
            if draft.stop_details:
                message["stop_details"] = {**BETA_REFUSAL, **draft.stop_details}
        return message

    def _container(
        self, body: Mapping[str, Any], draft: AnswerDraft, call: Call, item: int
    ) -> dict[str, Any] | None:
        """Describe the container that the request names, or in which code ran."""
        wanted = body.get("container")
        if wanted is None and not draft.ran_code:
            return None
        given = wanted if isinstance(wanted, str) else (wanted or {}).get("id")
        skills = [
            {
                "type": skill["type"],
                "skill_id": skill["skill_id"],
                "version": self._world.skills.resolve(call.workspace_id, skill).id,
            }
            for skill in container_skills(body)
        ]
        return {
            "id": given or self._world.new_id("container_01", call.number, item),
            "expires_at": timestamp(int(self._world.now()) + CONTAINER_LIFE),
            "skills": skills or None,
        }


def _diagnostics(wanted: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Give the reason of a cache miss: unknown, as the emulator keeps no earlier messages."""
    return {"cache_miss_reason": {"type": "unavailable"}} if wanted else None


def _usage(body: Mapping[str, Any], draft: AnswerDraft, split: Split) -> dict[str, Any]:
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
