"""Text completions and chat completions, two older ways to call a model.

Text completions (legacy): https://docs.claude.com/en/api/complete.
Chat completions as the OpenAI SDK sends them (the API offers them for trials):
https://docs.claude.com/en/api/openai-sdk.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

from claude_lite.api.bodies import no_event_stream
from claude_lite.core.limits import check_collected_values, parse_json, values_in
from claude_lite.core.model import Result, model
from claude_lite.core.operation import JSON, Operation, Route, StreamOperation, operation
from claude_lite.core.responses import error_from_envelope, unexpected
from claude_lite.core.sse import SSEDecoder
from claude_lite.core.structure import StructureError, reader_for
from claude_lite.errors import ClaudeError, ResponseTooLarge, StreamTruncated
from claude_lite.wire import DEFAULT_LIMITS, Limits, Response

__all__ = [
    "ChatCompletion",
    "Completion",
    "CreateChatCompletion",
    "CreateCompletion",
    "StreamChatCompletion",
    "StreamCompletion",
]


@model
class Completion(Result):
    """Text that continues a prompt. In a stream, one piece of the text."""

    ESSENTIAL = ("completion",)
    id: str
    completion: str
    model: str
    stop_reason: str | None = None
    type: str = "completion"


@model
class ChatCompletion(Result):
    """A chat completion in the shape of OpenAI's API."""

    ESSENTIAL = ("choices",)
    id: str
    choices: list[Any]
    """One choice, as JSON."""
    model: str
    created: int | None = None
    usage: dict[str, Any] | None = None
    object: str = "chat.completion"

    @property
    def text(self) -> str:
        """The text of the first choice; empty if there is no text."""
        choice = _object(self.choices[0]) if self.choices else {}
        message = _object(choice.get("message")) or _object(choice.get("delta"))
        return str(message.get("content") or "")


class _PiecesDecoder(ABC):
    """Base of decoders for streams whose events all have one shape."""

    result_type: ClassVar[Any]

    def __init__(self, head: Response, limits: Limits = DEFAULT_LIMITS) -> None:
        self.head = head
        self.begun = False
        self.complete = False
        self.error: ClaudeError | None = None
        self.pieces: list[dict[str, Any]] = []
        self._sse = SSEDecoder(limits.max_event)
        self._read = reader_for(self.result_type)
        self._limits = limits
        self._values = 0

    def receive(self, data: bytes) -> list[dict[str, Any]]:
        """Take a chunk; return the pieces that the chunk completes."""
        found: list[dict[str, Any]] = []
        try:
            for name, text in self._sse.receive(data):
                if not self.complete and self.error is None:
                    found += self._piece(name, text)
        except ClaudeError as error:
            self.fail(error)
        return found

    def fail(self, error: ClaudeError) -> None:
        """Note that the body broke off with *error*."""
        if self.complete or self.error is not None:
            return
        self.error = error.update(
            request_id=error.request_id or self.head.request_id,
            details={**error.details, "partial": {"pieces": self.pieces}},
        )

    def close(self) -> list[dict[str, Any]]:
        """Note the end of the body: without its last piece the stream was truncated.

        The last piece may lack the blank line after it, if its JSON is whole.
        """
        _, text = self._sse.unfinished() or ("", b"")
        found = self.receive(b"\n\n") if self._is_whole(text) else []
        other = None if self.pieces else no_event_stream(self.head, self._sse)
        self.fail(other or StreamTruncated("the stream ended before its last piece"))
        return found

    def _is_whole(self, text: bytes) -> bool:
        try:
            return text.strip() == b"[DONE]" or isinstance(parse_json(text, self._limits), dict)
        except (ValueError, ResponseTooLarge):
            return False

    def item(self, raw: dict[str, Any]) -> Any:
        """The model of one piece."""
        try:
            return self._read({**raw})
        except StructureError as error:
            raise unexpected(self.head, str(error)) from None

    def _piece(self, name: str, text: bytes) -> list[dict[str, Any]]:
        if text.strip() == b"[DONE]":
            self.complete = True
            return []
        try:
            piece = parse_json(text, self._limits)
        except ValueError:
            piece = None
        if not isinstance(piece, dict):
            reason = f"the data of event {name!r} is not a JSON object"
            raise unexpected(self.head, reason, text)
        if "error" in piece:
            self.fail(error_from_envelope(piece, self.head))
            return []
        if name == "ping" or piece.get("type") == "ping":
            return []
        self._values += values_in(text)
        check_collected_values(self._values, self._limits)
        self.begun = True
        self.pieces.append(piece)
        self.complete = self.is_last(piece)
        return [piece]

    @abstractmethod
    def is_last(self, piece: dict[str, Any]) -> bool:
        """Whether *piece* is the last piece."""


class CompletionDecoder(_PiecesDecoder):
    """The decoder of a text completion."""

    result_type = Completion

    def is_last(self, piece: dict[str, Any]) -> bool:
        """The piece with a stop reason is the last piece."""
        return piece.get("stop_reason") is not None

    def result(self) -> Completion:
        """The completion so far: the last piece, with the text of all pieces."""
        last = self.pieces[-1] if self.pieces else {}
        text = "".join(str(piece.get("completion", "")) for piece in self.pieces)
        return self.item({**last, "completion": text})  # type: ignore[no-any-return]  # a generated function


class ChatDecoder(_PiecesDecoder):
    """The decoder of a chat completion."""

    result_type = ChatCompletion

    def is_last(self, piece: dict[str, Any]) -> bool:
        """No piece is the last: `[DONE]` ends the stream, and `_piece` reads it."""
        return bool(piece.get("done"))

    def result(self) -> ChatCompletion:
        """The completion so far, in the shape of one that was not streamed."""
        try:
            return self.item(self._whole())  # type: ignore[no-any-return]  # a generated function
        except (AttributeError, TypeError) as error:
            raise unexpected(
                self.head, f"the chat completion has an unexpected shape ({error})"
            ) from None

    def _whole(self) -> dict[str, Any]:
        message: dict[str, Any] = {"role": "assistant", "content": ""}
        calls: dict[int, dict[str, Any]] = {}
        texts: list[str] = []
        finish: str | None = None
        whole: dict[str, Any] = {}
        for piece in self.pieces:
            whole |= {k: v for k, v in piece.items() if v is not None}
            for choice in piece.get("choices") or []:
                delta = choice.get("delta") or {}
                texts.append(delta.get("content") or "")
                for call in delta.get("tool_calls") or []:
                    _add(calls, call)
                finish = choice.get("finish_reason") or finish
        message["content"] = "".join(texts)
        if calls:
            message["tool_calls"] = [_joined(calls[index]) for index in sorted(calls)]
        choice = {"index": 0, "message": message, "finish_reason": finish}
        return {**whole, "object": "chat.completion", "choices": [choice]}


def _add(calls: dict[int, dict[str, Any]], piece: dict[str, Any]) -> None:
    """Add a piece of a tool call to *calls*, which are keyed by their index."""
    known = calls.setdefault(
        piece.get("index") or 0,
        {"id": None, "type": "function", "function": {"name": [], "arguments": []}},
    )
    function = piece.get("function") or {}
    known["id"] = piece.get("id") or known["id"]
    known["function"]["name"].append(function.get("name") or "")
    known["function"]["arguments"].append(function.get("arguments") or "")


def _joined(call: dict[str, Any]) -> dict[str, Any]:
    """The call with its texts joined. Joining them once, at the end, keeps the work linear."""
    return {**call, "function": {name: "".join(v) for name, v in call["function"].items()}}


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


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
    """Complete a text (legacy). In the prompt, turns of `Human:` and `Assistant:` alternate."""

    route = Route("completions.create", "POST", "/v1/complete", "once")
    result_type = Completion


@operation
class StreamCompletion(_CompletionParams, StreamOperation[Completion, Completion]):
    """Complete a text (legacy) and read the text while the model writes it."""

    route = Route("completions.stream", "POST", "/v1/complete", "once")

    def body(self) -> dict[str, Any]:
        """The JSON object that is sent."""
        return {**super().body(), "stream": True}

    def decoder(self, head: Response, limits: Limits = DEFAULT_LIMITS) -> CompletionDecoder:
        """Return the decoder for the body of the response."""
        return CompletionDecoder(head, limits)


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
    """Create a chat completion as the OpenAI SDK does, and read it while the model writes it."""

    route = Route("chat.completions.stream", "POST", "/v1/chat/completions", "once")

    stream_options: JSON | None = None

    def body(self) -> dict[str, Any]:
        """The JSON object that is sent."""
        return {**super().body(), "stream": True}

    def decoder(self, head: Response, limits: Limits = DEFAULT_LIMITS) -> ChatDecoder:
        """Return the decoder for the body of the response."""
        return ChatDecoder(head, limits)
