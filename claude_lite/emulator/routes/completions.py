"""The routes of the legacy Text Completions API: `POST /v1/complete`.

A prompt is turned into messages, and answered as messages are. In version 2023-06-01 and later,
a stream has named events, each with the next piece of text. In version 2023-01-01, events have
no names, repeat all text so far, and end with `[DONE]`.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import orjson

from claude_lite.emulator.answers.events import DONE_EVENT, PING, pieces
from claude_lite.emulator.answers.tokens import PER_TOKEN
from claude_lite.emulator.reading.checks import (
    boolean,
    filled,
    integer,
    listing,
    nullable,
    number,
    record,
    string,
)
from claude_lite.emulator.reading.problems import Problem, fail
from claude_lite.emulator.reading.routing import Answer, Call, ServedRoute
from claude_lite.emulator.routes.messages import MessageRoutes
from claude_lite.emulator.state.world import World
from claude_lite.wire import Sleep

COMPLETION_MODELS: Final = ("claude-2.1", "claude-2.0", "claude-instant-1.2")
"""Models that only this operation takes, in addition to the emulator's other models."""
NAMED_SINCE: Final = "2023-06-01"

_TURN: Final = re.compile(r"\n\n(Human|Assistant):")
_CHECK: Final = record(
    {"max_tokens_to_sample": integer(1), "model": filled, "prompt": filled},
    {
        "metadata": record({}, {"user_id": nullable(string)}, closed=True),
        "stop_sequences": listing(filled),
        "stream": boolean,
        "temperature": number(0, 1),
        "top_k": integer(0),
        "top_p": number(0, 1),
    },
    closed=True,
)


class CompletionRoutes:
    """Answers `/v1/complete`."""

    def __init__(self, world: World, messages: MessageRoutes) -> None:
        self._world = world
        self._messages = messages

    def routes(self) -> Sequence[ServedRoute]:
        """List the routes."""
        return (ServedRoute("POST", "/v1/complete", self.create),)

    def create(self, call: Call) -> Answer:
        """Complete a prompt, whole or as a stream."""
        body = call.json()
        _CHECK(body, "")
        if body["model"] not in (*COMPLETION_MODELS, *self._world.models):
            raise Problem(404, f"model: {body['model']}")
        asked = {
            "model": body["model"],
            "max_tokens": body["max_tokens_to_sample"],
            "stop_sequences": body.get("stop_sequences", []),
            **_conversation(body["prompt"]),
        }
        message, draft, headers = self._messages.answer(asked, call)
        text = "".join(block["text"] for block in message["content"] if block["type"] == "text")
        reason = message["stop_reason"]
        completion = {
            "id": self._world.new_id("compl_01", call.number),
            "type": "completion",
            "completion": f" {text}" if text else "",
            "stop_reason": "stop_sequence" if reason == "end_turn" else reason,
            "model": body["model"],
        }
        pace = self._world.seconds_per_token
        if not body.get("stream"):
            return Answer.json(completion, headers, delay=draft.output_tokens * pace)
        tell = _named if call.version >= NAMED_SINCE else _unnamed
        return Answer.events(tell(completion, pace / PER_TOKEN), headers)


def _conversation(prompt: str) -> dict[str, Any]:
    """Read the messages of a prompt; raises `Problem` if it has not the form of a prompt."""
    before, *turns = _TURN.split(prompt)
    roles, texts = turns[::2], [text.strip() for text in turns[1::2]]
    if "Human" not in roles:
        fail("prompt", 'prompt must start with "\n\nHuman:" turn')
    if roles[-1] != "Assistant":
        fail("prompt", 'prompt must end with "\n\nAssistant:" turn')
    messages = [
        {"role": "user" if role == "Human" else "assistant", "content": text}
        for role, text in zip(roles, texts, strict=True)
    ]
    if not texts[-1]:
        messages.pop()
    return {"messages": messages, **({"system": before.strip()} if before.strip() else {})}


def _named(completion: Mapping[str, Any], seconds: float) -> Iterator[bytes | Sleep]:
    """Yield events with one piece of the completion each."""
    for number_, piece in enumerate(pieces(completion["completion"])):
        if seconds:
            yield Sleep(len(piece) * seconds)
        yield _event(b"event: completion\n", completion, piece, None)
        if not number_:
            yield PING
    yield _event(b"event: completion\n", completion, "", completion["stop_reason"])


def _unnamed(completion: Mapping[str, Any], seconds: float) -> Iterator[bytes | Sleep]:
    """Yield events with all text of the completion so far."""
    text = ""
    for piece in pieces(completion["completion"]):
        text += piece
        if seconds:
            yield Sleep(len(piece) * seconds)
        yield _event(b"", completion, text, None)
    yield _event(b"", completion, text, completion["stop_reason"])
    yield DONE_EVENT


def _event(name: bytes, completion: Mapping[str, Any], text: str, reason: str | None) -> bytes:
    data = {**completion, "completion": text, "stop_reason": reason}
    return b"%bdata: %b\n\n" % (name, orjson.dumps(data))
