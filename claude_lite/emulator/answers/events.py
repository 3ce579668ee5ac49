"""Write a message as server-sent events, in the API's shapes and order, a chunk per event."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import orjson

from claude_lite.emulator.answers.blocks import AnswerDraft, Block
from claude_lite.wire import Sleep

DELTA_LENGTHS: Final = (4, 12, 8, 20, 8, 16)  # characters per delta, repeated
DELTA_SHAPES: Final = {"text": ("text_delta", "text"), "thinking": ("thinking_delta", "thinking")}
INPUT_DELTA: Final = ("input_json_delta", "partial_json")
PING: Final = b'event: ping\ndata: {"type":"ping"}\n\n'
DONE_EVENT: Final = b"data: [DONE]\n\n"  # ends the streams of the older operations


LEFT_OUT: Final = frozenset(
    {
        *("citations", "container", "context_management", "diagnostics", "fallback_credit"),
        *("iterations", "server_tool_use", "skills"),
    }
)
"""The keys that the API leaves out, and does not send as null, before `NULLS_SINCE`."""
NULLS_SINCE: Final = "2026-10-21"


def as_of(message: Mapping[str, Any], version: str) -> dict[str, Any]:
    """Return *message* in the form of an API version: older versions leave some keys out."""
    if version >= NULLS_SINCE:
        return {**message}
    shown = _without_nulls(message)
    shown["usage"] = _without_nulls(shown["usage"])
    if shown["usage"]["speed"] == "standard":
        del shown["usage"]["speed"]
    shown["content"] = [_without_nulls(block) for block in shown["content"]]
    return shown


def _without_nulls(data: Mapping[str, Any]) -> dict[str, Any]:
    kept = {k: v for k, v in data.items() if v is not None or k not in LEFT_OUT}
    return {
        k: _without_nulls(v) if k == "container" and v is not None else v for k, v in kept.items()
    }


def stream(
    message: Mapping[str, Any],
    draft: AnswerDraft,
    seconds_per_character: float = 0.0,
    version: str = NULLS_SINCE,
) -> Iterator[bytes | Sleep]:
    """Yield the events of *message*, whose content is *draft*, and the waits between them.

    Args:
        message: The whole message, with all keys.
        draft: The content of the message.
        seconds_per_character: The pace.
        version: The API version of the call.

    """
    shown: Callable[[Any], dict[str, Any]] = dict if version >= NULLS_SINCE else _without_nulls
    yield _event({"type": "message_start", "message": as_of(_beginning(message), version)})
    for index, block in enumerate(draft.blocks):
        yield _event(
            {"type": "content_block_start", "index": index, "content_block": shown(block.start())}
        )
        if index == 0:
            yield PING
        for delta, text in _deltas(block):
            if seconds_per_character:
                yield Sleep(len(text) * seconds_per_character)
            yield b"%b%d%b" % (_DELTA, index, delta)
        yield _event({"type": "content_block_stop", "index": index})
    end = shown(_delta(message))
    yield _event({**end, "delta": shown(end["delta"]), "usage": shown(end["usage"])})
    yield _event({"type": "message_stop"})


_DELTA: Final = b'event: content_block_delta\ndata: {"type":"content_block_delta","index":'


def _event(data: Mapping[str, Any]) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (data["type"].encode(), orjson.dumps(data))


def _deltas(block: Block) -> Iterator[tuple[bytes, str]]:
    """Yield the end of each delta event, and the text that the delta brings."""
    if not block.is_call and block.kind not in DELTA_SHAPES:
        return  # such a block comes whole
    kind, key = INPUT_DELTA if block.is_call else DELTA_SHAPES[block.kind]
    before = f',"delta":{{"type":"{kind}","{key}":'.encode()
    if block.is_call:  # the first piece of an input is empty in the API, too
        yield before + b'""}}\n\n', ""
    for piece in pieces(block.shown):
        yield b"%b%b}}\n\n" % (before, orjson.dumps(piece)), piece
    if "signature" in block.fields:
        delta = {"type": "signature_delta", "signature": block.fields["signature"]}
        yield b',"delta":%b}\n\n' % orjson.dumps(delta), ""


def pieces(text: str) -> Iterator[str]:
    """Cut a text into the pieces that a stream brings."""
    start = number = 0
    while start < len(text):
        size = DELTA_LENGTHS[number % len(DELTA_LENGTHS)]
        yield text[start : start + size]
        start += size
        number += 1


def _beginning(message: Mapping[str, Any]) -> dict[str, Any]:
    usage = {
        **message["usage"],
        "output_tokens": 1,
        "output_tokens_details": {"thinking_tokens": 0},
        "server_tool_use": None,
    }
    ends = {"stop_reason": None, "stop_sequence": None, "stop_details": None, "container": None}
    return {**message, "content": [], **ends, "usage": usage}


def _delta(message: Mapping[str, Any]) -> dict[str, Any]:
    ends = ("stop_reason", "stop_sequence", "stop_details", "container")
    totals = (
        "input_tokens",
        "cache_creation_input_tokens",
        "cache_read_input_tokens",
        "output_tokens",
        "output_tokens_details",
        "server_tool_use",
        *(name for name in ("iterations", "fallback_credit") if name in message["usage"]),
    )
    beta = {k: message[k] for k in ("context_management",) if k in message}
    return {
        "type": "message_delta",
        "delta": {name: message[name] for name in ends},
        "usage": {name: message["usage"][name] for name in totals},
        **beta,
    }
