"""Write messages and streams as the API sends them, for tests of code that reads them.

    message("Hello")                                 the JSON of a message, as a dict
    message(tool_use("search", {"q": "x"}))          stop_reason is tool_use
    message_stream("Hello")                          a stream: bytes, one event per chunk
    message_stream("Hello", cut=7)                   a stream in chunks of 7 bytes
    message_stream("Hello", keep=4, end=error_event("overloaded_error"))   a stream that fails
    sse({"type": "ping"})                            one event

Every value is plain data. Equal arguments give equal values.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

import orjson

from claude_lite.faults.error_bodies import ERRORS, error_response

__all__ = ["error_event", "error_response", "message", "message_stream", "sse", "tool_use"]

DELTA_CHARACTERS: Final = 8  # per delta of a stream

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
    """Write a message, as the JSON that the API sends.

    Args:
        content: The content blocks; a string becomes a text block.
        fields: Fields of the message that replace the usual ones, such as `stop_reason`.

    """
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
    """Write a content block that calls a tool.

    Args:
        name: The name of the tool.
        input: The input of the tool, a JSON object.
        id: The id of the call.

    """
    return {"type": "tool_use", "id": id, "name": name, "input": dict(input)}


def message_stream(
    *content: str | Mapping[str, Any],
    cut: int | None = None,
    keep: int | None = None,
    end: bytes = b"",
    **fields: Any,
) -> list[bytes]:
    """Write a message as the chunks of a stream, one event per chunk.

    Args:
        content: The content blocks; a string becomes a text block.
        cut: The size of the chunks in bytes; None makes a chunk per event.
        keep: The number of events to keep from the start; a negative number drops events from
            the end; None keeps all events.
        end: Bytes after the kept events, such as an `error_event`.
        fields: Fields of the message that replace the usual ones.

    """
    events = [sse(event) for event in _events(message(*content, **fields))][:keep]
    chunks = [*events, end] if end else events
    if cut is None:
        return chunks
    whole = b"".join(chunks)
    return [whole[at : at + cut] for at in range(0, len(whole), cut)]


def sse(data: Mapping[str, Any], event: str | None = None) -> bytes:
    """Write one event of a stream.

    Args:
        data: The data of the event, a JSON object.
        event: The name of the event; None takes the field `type` of *data*.

    """
    return f"event: {event or data['type']}\n".encode() + b"data: " + orjson.dumps(data) + b"\n\n"


def error_event(type: str = "overloaded_error", message: str | None = None) -> bytes:  # noqa: A002  # the API's word
    """Write the event with which a stream fails.

    Args:
        type: The type of the error.
        message: The message of the error; None takes the usual message of the type.

    """
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
    """Split a block into its start and its deltas; most kinds of blocks have no deltas."""
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
