"""Messages and streams as the API sends them, from a few words: for tests of what reads them.

    message("Hello")                                 the JSON of a message, as a dict
    message(tool_use("search", {"q": "x"}))          stop_reason is tool_use
    message_stream("Hello")                          the same as a stream: bytes, an event a chunk
    message_stream("Hello", cut=7)                   cut every 7 bytes, wherever that is
    message_stream("Hello", keep=4, end=error_event("overloaded_error"))   it fails on the way
    sse({"type": "ping"})                            one event

Every value is plain data, and the same each time.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

import orjson

from claude_lite.faults.error_bodies import ERRORS, error_response

__all__ = ["error_event", "error_response", "message", "message_stream", "sse", "tool_use"]

DELTA_CHARACTERS: Final = 8
"""Characters in a delta."""

USAGE: Final[Mapping[str, Any]] = {
    "input_tokens": 10,
    "cache_creation_input_tokens": 0,
    "cache_read_input_tokens": 0,
    "output_tokens": 5,
    "service_tier": "standard",
}
_STREAMED: Final = {
    "text": ("text", "text_delta", "text"),
    "thinking": ("thinking", "thinking_delta", "thinking"),
}


def message(*content: str | Mapping[str, Any], **fields: Any) -> dict[str, Any]:
    """Write a message. A text is a text block; *fields* replace those of the message."""
    blocks = [{"type": "text", "text": b} if isinstance(b, str) else dict(b) for b in content]
    calls = any(block["type"] == "tool_use" for block in blocks)
    return {
        "id": "msg_test",
        "type": "message",
        "role": "assistant",
        "model": "claude-sonnet-5-5",
        "content": blocks,
        "stop_reason": "tool_use" if calls else "end_turn",
        "stop_sequence": None,
        "usage": dict(USAGE),
        **fields,
    }


def tool_use(name: str, input: Mapping[str, Any], id: str = "toolu_test") -> dict[str, Any]:  # noqa: A002  # the API's words
    """Write a block that calls a tool."""
    return {"type": "tool_use", "id": id, "name": name, "input": dict(input)}


def message_stream(
    *content: str | Mapping[str, Any],
    cut: int | None = None,
    keep: int | None = None,
    end: bytes = b"",
    **fields: Any,
) -> list[bytes]:
    """Write a message as the chunks of a stream, an event each.

    *cut*: chunks of so many bytes instead. *keep*: the first so many events only (negative:
    all but the last so many), followed by *end*. The rest is as for `message`.
    """
    events = [sse(event) for event in _events(message(*content, **fields))][:keep]
    chunks = [*events, end] if end else events
    if cut is None:
        return chunks
    whole = b"".join(chunks)
    return [whole[at : at + cut] for at in range(0, len(whole), cut)]


def sse(data: Mapping[str, Any], event: str | None = None) -> bytes:
    """Write an event of a stream; its name is the `type` in its data, unless given."""
    return f"event: {event or data['type']}\n".encode() + b"data: " + orjson.dumps(data) + b"\n\n"


def error_event(type: str = "overloaded_error", message: str | None = None) -> bytes:  # noqa: A002  # the API's word
    """Write the event with which a stream fails."""
    usual: dict[str, str] = dict(ERRORS.values())
    error = {"type": type, "message": message or usual.get(type, "Error")}
    return sse({"type": "error", "error": error})


def _events(whole: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    start: dict[str, Any] = {"content": [], "stop_reason": None, "stop_sequence": None}
    usage = {**whole["usage"], "output_tokens": 1}
    yield {"type": "message_start", "message": {**whole, **start, "usage": usage}}
    for index, block in enumerate(whole["content"]):
        begun, deltas = _deltas(block)
        yield {"type": "content_block_start", "index": index, "content_block": begun}
        for delta in deltas:
            yield {"type": "content_block_delta", "index": index, "delta": delta}
        yield {"type": "content_block_stop", "index": index}
    ended = {name: whole[name] for name in ("stop_reason", "stop_sequence")}
    total = {"output_tokens": whole["usage"]["output_tokens"]}
    yield {"type": "message_delta", "delta": ended, "usage": total}
    yield {"type": "message_stop"}


def _deltas(block: Mapping[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Split a block into its beginning and what is added to it; most come whole."""
    kind = block["type"]
    if kind == "tool_use":
        text = orjson.dumps(block["input"]).decode() if block["input"] else ""
        pieces = ["", *_pieces(text)]
        deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in pieces]
        return {**block, "input": {}}, deltas
    if kind not in _STREAMED:
        return dict(block), []
    field, delta, key = _STREAMED[kind]
    deltas = [{"type": delta, key: piece} for piece in _pieces(block[field])]
    if "signature" not in block:
        return {**block, field: ""}, deltas
    signed = {"type": "signature_delta", "signature": block["signature"]}
    return {**block, field: "", "signature": ""}, [*deltas, signed]


def _pieces(text: str) -> list[str]:
    return [text[at : at + DELTA_CHARACTERS] for at in range(0, len(text), DELTA_CHARACTERS)]
