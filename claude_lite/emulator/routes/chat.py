"""The route of the API's OpenAI SDK compatibility: `POST /v1/chat/completions`.

A request is turned into a message (`chat_requests`) and answered as a message. The answer is
written in OpenAI's shape: one choice, no thinking, and OpenAI's headers for rate limits. Errors
have OpenAI's shape, too, except for the errors of a fault script, which stay as they are.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import orjson
from attrs import evolve, frozen

from claude_lite.emulator.answers.events import DONE_EVENT, pieces
from claude_lite.emulator.answers.tokens import PER_TOKEN
from claude_lite.emulator.reading.chat_requests import read_chat
from claude_lite.emulator.reading.problems import Problem
from claude_lite.emulator.reading.routing import Answer, Call, ServedRoute
from claude_lite.emulator.routes.messages import MessageRoutes
from claude_lite.emulator.state.world import World
from claude_lite.wire import Response, Sleep

CHAT_VERSION: Final = "2023-06-01"  # of the API; the OpenAI SDK sends no version
FINISHES: Final[Mapping[str, str]] = {
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "refusal": "content_filter",
    "tool_use": "tool_calls",
}
OPENAI_HEADERS: Final[Mapping[str, str]] = {"openai-version": "2020-10-01"}
LIMIT_KINDS: Final = ("requests", "tokens")


class ChatRoutes:
    """Answers `/v1/chat/completions`."""

    def __init__(self, world: World, messages: MessageRoutes) -> None:
        self._world = world
        self._messages = messages

    def routes(self) -> Sequence[ServedRoute]:
        """List the routes."""
        path = "/v1/chat/completions"
        return (ServedRoute("POST", path, self.create, version=CHAT_VERSION, refuse=refusal),)

    def create(self, call: Call) -> Answer:
        """Answer a chat, whole or as a stream."""
        body = call.json()
        asked = read_chat(body)
        self._messages.check(asked, evolve(call, version=CHAT_VERSION, betas=()))
        message, draft, limits = self._messages.answer(asked, call)
        reply = _Reply(message, int(self._world.now()))
        headers = {**OPENAI_HEADERS, **_renamed(limits)}
        pace = self._world.seconds_per_token
        if not body.get("stream"):
            return Answer.json(reply.whole(), headers, delay=draft.output_tokens * pace)
        with_usage = bool((body.get("stream_options") or {}).get("include_usage"))
        return Answer.events(reply.stream(pace / PER_TOKEN, with_usage=with_usage), headers)


@frozen
class _Reply:
    """A message that is written in OpenAI's shape."""

    message: Mapping[str, Any]
    created: int

    @property
    def text(self) -> str:
        return "".join(b["text"] for b in self.message["content"] if b["type"] == "text")

    @property
    def calls(self) -> list[dict[str, Any]]:
        return [
            {
                "id": block["id"],
                "type": "function",
                "function": {
                    "name": block["name"],
                    "arguments": orjson.dumps(block["input"]).decode(),
                },
            }
            for block in self.message["content"]
            if block["type"] == "tool_use"
        ]

    @property
    def finish(self) -> str:
        return FINISHES.get(self.message["stop_reason"], "stop")

    @property
    def usage(self) -> dict[str, int]:
        used = self.message["usage"]
        kinds = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")
        prompt, completion = sum(used[kind] for kind in kinds), used["output_tokens"]
        return {
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "total_tokens": prompt + completion,
        }

    def whole(self) -> dict[str, Any]:
        """Write the whole answer."""
        calls = self.calls
        said = {"role": "assistant", "content": self.text or None, "refusal": None}
        choice = {
            "index": 0,
            "message": {**said, **({"tool_calls": calls} if calls else {})},
            "finish_reason": self.finish,
            "logprobs": None,
        }
        return {**self._envelope("chat.completion", [choice]), "usage": self.usage}

    def stream(self, seconds: float, *, with_usage: bool) -> Iterator[bytes | Sleep]:
        """Write the answer as a stream; each character takes *seconds*."""
        extra = {"usage": None} if with_usage else {}
        for delta in self._deltas():
            if seconds and (text := _new_text(delta)):
                yield Sleep(len(text) * seconds)
            yield self._chunk(delta, None, extra)
        yield self._chunk({}, self.finish, extra)
        if with_usage:
            yield _data({**self._envelope("chat.completion.chunk", []), "usage": self.usage})
        yield DONE_EVENT

    def _deltas(self) -> Iterator[dict[str, Any]]:
        yield {"role": "assistant", "content": "", "refusal": None}
        for piece in pieces(self.text):
            yield {"content": piece}
        for index, call in enumerate(self.calls):
            function = call["function"]
            begun = {**call, "function": {**function, "arguments": ""}}
            yield {"tool_calls": [{"index": index, **begun}]}
            for piece in pieces(function["arguments"]):
                yield {"tool_calls": [{"index": index, "function": {"arguments": piece}}]}

    def _chunk(
        self, delta: Mapping[str, Any], finish: str | None, extra: Mapping[str, Any]
    ) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": finish, "logprobs": None}
        return _data({**self._envelope("chat.completion.chunk", [choice]), **extra})

    def _envelope(self, kind: str, choices: list[Any]) -> dict[str, Any]:
        return {
            "id": self.message["id"],
            "object": kind,
            "created": self.created,
            "model": self.message["model"],
            "choices": choices,
            "service_tier": None,
            "system_fingerprint": None,
        }


def refusal(problem: Problem, request_id: str) -> Response:
    """Write an error in OpenAI's shape."""
    response = problem.response(request_id)
    error = response.json()["error"]
    code = (problem.details or {}).get("error_code")
    body = {"message": error["message"], "type": error["type"], "param": None, "code": code}
    headers = {**response.headers, **OPENAI_HEADERS, **_renamed(response.headers)}
    kept = {k: v for k, v in headers.items() if not k.startswith("anthropic-ratelimit-")}
    return Response(problem.status, kept, orjson.dumps({"error": body}))


def _renamed(headers: Mapping[str, str]) -> dict[str, str]:
    """Rename the headers of rate limits as OpenAI names them."""
    names = {
        f"x-ratelimit-{what}-{kind}": f"anthropic-ratelimit-{kind}-{what}"
        for what in ("limit", "remaining", "reset")
        for kind in LIMIT_KINDS
    }
    return {ours: headers[theirs] for ours, theirs in names.items() if theirs in headers}


def _new_text(delta: Mapping[str, Any]) -> str:
    calls = delta.get("tool_calls") or [{"function": {"arguments": ""}}]
    return str(delta.get("content") or calls[0]["function"]["arguments"])


def _data(value: Mapping[str, Any]) -> bytes:
    return b"data: %b\n\n" % orjson.dumps(value)
