"""The prepared answers of all benchmarks: made once, always the same bytes."""

import json
from typing import Any, Final

MODEL: Final = "claude-sonnet-5-5"
PROMPT: Final = "Describe how a request travels from a client to a model and back. " * 9
QUESTION: Final[dict[str, Any]] = {
    "model": MODEL,
    "max_tokens": 1024,
    "messages": [{"role": "user", "content": PROMPT}],
}
DELTAS: Final = 200
TOOL_DELTAS: Final = 4000
_TEXT: Final = "The quick brown fox jumps over the lazy dog; 12 lines \u2014 of text.\n"
_USAGE: Final = {
    "input_tokens": 150,
    "cache_creation_input_tokens": 0,
    "cache_read_input_tokens": 0,
    "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
    "output_tokens": 250,
    "service_tier": "standard",
}


def message(size: int) -> bytes:
    """A message of about *size* bytes, as JSON."""
    value: dict[str, Any] = {
        "id": "msg_013Zva2CMHLNnXjNJJKqJ2EF",
        "type": "message",
        "role": "assistant",
        "model": MODEL,
        "content": [{"type": "text", "text": ""}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": _USAGE,
    }
    return _filled(value, value["content"][0], "text", size)


def completion(size: int) -> bytes:
    """An answer of the same size in the form that OpenAI's client reads."""
    reply: dict[str, Any] = {"role": "assistant", "content": ""}
    value = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": MODEL,
        "choices": [{"index": 0, "message": reply, "finish_reason": "stop", "logprobs": None}],
        "usage": {"prompt_tokens": 150, "completion_tokens": 250, "total_tokens": 400},
    }
    return _filled(value, reply, "content", size)


def _filled(value: Any, holder: dict[str, Any], key: str, size: int) -> bytes:
    room = size - len(_dumps(value))
    holder[key] = (_TEXT * (room // len(_TEXT) + 1))[: max(room - room // 12, 1)]
    return _dumps(value)


def _dumps(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _event(value: dict[str, Any]) -> bytes:
    return b"event: " + str(value["type"]).encode() + b"\ndata: " + _dumps(value) + b"\n\n"


def _stream(block: dict[str, Any], deltas: list[dict[str, Any]]) -> list[bytes]:
    start = json.loads(message(600))
    start["content"] = []
    return [
        _event({"type": "message_start", "message": start}),
        _event({"type": "content_block_start", "index": 0, "content_block": block}),
        *(_event({"type": "content_block_delta", "index": 0, "delta": d}) for d in deltas),
        _event({"type": "content_block_stop", "index": 0}),
        _event(
            {
                "type": "message_delta",
                "delta": {"stop_reason": "end_turn", "stop_sequence": None},
                "usage": {"output_tokens": 250},
            }
        ),
        _event({"type": "message_stop"}),
    ]


def text_stream(deltas: int = DELTAS) -> list[bytes]:
    """The events of a text, one string of bytes each."""
    texts = [{"type": "text_delta", "text": _words(n)} for n in range(deltas)]
    return _stream({"type": "text", "text": ""}, texts)


def _words(n: int) -> str:
    return f"a few words, no. {n:3} "  # all differ: litellm takes repeated ones for a failure


def tool_stream(deltas: int = TOOL_DELTAS) -> list[bytes]:
    """The events of a tool call whose input is one long JSON text in small pieces."""
    block = {"type": "tool_use", "id": "toolu_1", "name": "write", "input": {}}
    text = json.dumps({"lines": [f"line {n}" for n in range(deltas)]})
    size = len(text) // deltas + 1
    pieces = [text[at : at + size] for at in range(0, len(text), size)]
    return _stream(block, [{"type": "input_json_delta", "partial_json": piece} for piece in pieces])


def huge_stream(size: int) -> list[bytes]:
    """A stream with one event whose line has *size* bytes."""
    return _stream({"type": "text", "text": ""}, [{"type": "text_delta", "text": "x" * size}])


def completion_stream(deltas: int = DELTAS) -> list[bytes]:
    """The events of a text in the form that OpenAI's client reads."""
    chunk = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": MODEL}
    choices = [
        *(
            {"index": 0, "delta": {"content": _words(n)}, "finish_reason": None}
            for n in range(deltas)
        ),
        {"index": 0, "delta": {}, "finish_reason": "stop"},
    ]
    data = [_dumps({**chunk, "choices": [choice]}) for choice in choices]
    return [b"data: " + text + b"\n\n" for text in (*data, b"[DONE]")]
