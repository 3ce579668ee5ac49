"""Two older ways to ask: text completions, and chat completions as the OpenAI SDK sends them.

https://docs.claude.com/en/api/complete (legacy) and
https://docs.claude.com/en/api/openai-sdk (meant for trials).
"""

from collections.abc import Sequence
from typing import Any

import orjson

from claude_lite.codec import StructureError, hook_for
from claude_lite.config import Config
from claude_lite.errors import ClaudeError, StreamTruncated
from claude_lite.model import Result, model
from claude_lite.operations import JSON, Operation, Route, StreamOperation, operation
from claude_lite.responses import error_from_envelope, unexpected
from claude_lite.sse import SSEDecoder
from claude_lite.wire import Response


@model
class Completion(Result):
    """Text that goes on from a prompt; streamed, one piece of it."""

    id: str
    completion: str
    model: str
    stop_reason: str | None = None
    type: str = "completion"


@model
class ChatCompletion(Result):
    """A chat completion in OpenAI's shape; there is one choice."""

    id: str
    choices: list[Any]
    model: str
    created: int | None = None
    usage: dict[str, Any] | None = None
    object: str = "chat.completion"

    @property
    def text(self) -> str:
        """The text of the first choice."""
        message = self.choices[0].get("message") or self.choices[0].get("delta") or {}
        return message.get("content") or ""


class _PiecesDecoder:
    """The decoder of a stream of events that are all of one kind, up to the last one."""

    def __init__(self, head: Response, cls: Any, max_event: int | None) -> None:
        self.head = head
        self.begun = False
        self.complete = False
        self.error: ClaudeError | None = None
        self.pieces: list[dict[str, Any]] = []
        self._sse = SSEDecoder(max_event)
        self._hook = hook_for(cls)

    def receive(self, data: bytes) -> list[dict[str, Any]]:
        """Take a chunk; return the pieces that it completes."""
        found: list[dict[str, Any]] = []
        try:
            for name, text in self._sse.receive(data):
                if not self.complete and self.error is None:
                    found += self._piece(name, text)
        except ClaudeError as error:
            self.error = error
        return found

    def fail(self, error: ClaudeError) -> None:
        """The body broke off with *error*."""
        if self.complete or self.error is not None:
            return
        self.error = error.amend(
            request_id=error.request_id or self.head.request_id,
            details={**error.details, "partial": {"pieces": self.pieces}},
        )

    def close(self) -> list[dict[str, Any]]:
        """The body is over; without its last piece it was truncated."""
        self.fail(StreamTruncated("the stream ended before its last piece"))
        return []

    def item(self, raw: dict[str, Any]) -> Any:
        """The value that one piece stands for."""
        try:
            return self._hook({**raw})
        except StructureError as error:
            raise unexpected(self.head, str(error)) from None

    def _piece(self, name: str, text: bytes) -> list[dict[str, Any]]:
        if text.strip() == b"[DONE]":
            self.complete = True
            return []
        try:
            piece = orjson.loads(text)
        except ValueError:
            piece = None
        if not isinstance(piece, dict):
            raise unexpected(self.head, f"an event {name!r} that is not a JSON object")
        if "error" in piece:
            self.fail(error_from_envelope(piece, self.head))
            return []
        if name == "ping" or piece.get("type") == "ping":
            return []
        self.begun = True
        self.pieces.append(piece)
        self.complete = self.is_last(piece)
        return [piece]

    def is_last(self, piece: dict[str, Any]) -> bool:
        """Whether nothing comes after *piece*."""
        raise NotImplementedError


class CompletionDecoder(_PiecesDecoder):
    """The decoder of a text completion. The result has the pieces joined."""

    def is_last(self, piece: dict[str, Any]) -> bool:
        """The piece with a stop reason is the last."""
        return piece.get("stop_reason") is not None

    def result(self) -> Completion:
        """All of it."""
        last = self.pieces[-1] if self.pieces else {}
        text = "".join(str(piece.get("completion", "")) for piece in self.pieces)
        return self.item({**last, "completion": text})  # type: ignore[no-any-return]  # a generated function


class ChatDecoder(_PiecesDecoder):
    """The decoder of a chat completion. The result is in the shape of an unstreamed one."""

    def is_last(self, piece: dict[str, Any]) -> bool:
        """`[DONE]` ends it, and nothing else."""
        return bool(piece.get("done"))

    def result(self) -> ChatCompletion:
        """All of it."""
        message: dict[str, Any] = {"role": "assistant", "content": ""}
        finish: str | None = None
        whole: dict[str, Any] = {}
        for piece in self.pieces:
            whole |= {k: v for k, v in piece.items() if v is not None}
            for choice in piece.get("choices") or []:
                _add(message, choice.get("delta") or {})
                finish = choice.get("finish_reason") or finish
        choice = {"index": 0, "message": message, "finish_reason": finish}
        return self.item({**whole, "object": "chat.completion", "choices": [choice]})  # type: ignore[no-any-return]  # a generated function


def _add(message: dict[str, Any], delta: dict[str, Any]) -> None:
    """Fold one delta into the message, tool calls by their index."""
    message["content"] += delta.get("content") or ""
    for call in delta.get("tool_calls") or []:
        calls = message.setdefault("tool_calls", [])
        while len(calls) <= call.get("index", 0):
            calls.append(
                {"id": None, "type": "function", "function": {"name": "", "arguments": ""}}
            )
        known, function = calls[call.get("index", 0)], call.get("function") or {}
        known["id"] = call.get("id") or known["id"]
        known["function"]["name"] += function.get("name") or ""
        known["function"]["arguments"] += function.get("arguments") or ""


@operation
class _CompletionParams(Operation[Any]):
    model: str
    prompt: str
    max_tokens_to_sample: int
    stop_sequences: Sequence[str] | None = None
    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    metadata: JSON | None = None


@operation
class CreateCompletion(_CompletionParams, Operation[Completion]):
    """Complete a text (legacy); in the prompt `Human:` and `Assistant:` take turns."""

    route = Route("completions.create", "POST", "/v1/complete", "once")
    result_type = Completion


@operation
class StreamCompletion(_CompletionParams, StreamOperation[Completion, Completion]):
    """Complete a text (legacy) and read it as it is written."""

    route = Route("completions.stream", "POST", "/v1/complete", "once")

    def body(self) -> dict[str, Any]:
        """The JSON object that is sent."""
        return {**super().body(), "stream": True}

    def decoder(self, head: Response, config: Config) -> CompletionDecoder:
        """What the body of the response is fed to."""
        return CompletionDecoder(head, Completion, config.max_event)


@operation
class _ChatParams(Operation[Any]):
    model: str
    messages: Sequence[JSON]
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    tools: Sequence[JSON] | None = None
    tool_choice: Any = None
    parallel_tool_calls: bool | None = None
    stop: str | Sequence[str] | None = None
    temperature: float | None = None
    top_p: float | None = None
    thinking: JSON | None = None


@operation
class CreateChatCompletion(_ChatParams, Operation[ChatCompletion]):
    """Create a chat completion as the OpenAI SDK does."""

    route = Route("chat.completions.create", "POST", "/v1/chat/completions", "once")
    result_type = ChatCompletion


@operation
class StreamChatCompletion(_ChatParams, StreamOperation[ChatCompletion, ChatCompletion]):
    """Create a chat completion as the OpenAI SDK does, and read it as it is written."""

    route = Route("chat.completions.stream", "POST", "/v1/chat/completions", "once")

    stream_options: JSON | None = None

    def body(self) -> dict[str, Any]:
        """The JSON object that is sent."""
        return {**super().body(), "stream": True}

    def decoder(self, head: Response, config: Config) -> ChatDecoder:
        """What the body of the response is fed to."""
        return ChatDecoder(head, ChatCompletion, config.max_event)
