"""Count tokens by a rule that can be worked out by hand, without a tokenizer.

- Text has a token per 4 characters, rounded up.
- An image, and a document that is not plain text, has 1,500 tokens.
- Any other block, and a tool's definition, has a token per 4 bytes of its compact JSON.
- A message has 3 tokens more than its content.

The rule holds for `count_tokens` and for `usage`, for prompts and for answers.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

import orjson
from attrs import frozen

PER_TOKEN: Final = 4  # characters
ATTACHMENT: Final = 1500  # tokens
MESSAGE: Final = 3  # tokens


@frozen
class Segment:
    """A piece of a prompt.

    `ttl` is "5m" or "1h" if a cache breakpoint follows the piece, else None.
    """

    tokens: int
    value: Any
    ttl: str | None = None


def of_text(text: str) -> int:
    """Count the tokens of a text."""
    return -(-len(text) // PER_TOKEN)


def of_block(block: Mapping[str, Any]) -> int:
    """Count the tokens of a content block."""
    kind = block.get("type")
    if kind == "text":
        return of_text(block["text"])
    if kind == "image" or (kind == "document" and block["source"].get("type") != "text"):
        return ATTACHMENT
    if kind == "tool_result" and isinstance(block.get("content"), list):
        return sum(of_block(inner) for inner in block["content"])
    return -(-len(orjson.dumps(_without_cache_control(block))) // PER_TOKEN)


def segments(body: Mapping[str, Any]) -> Iterator[Segment]:
    """Yield the pieces of a prompt: tools, then the system prompt, then the messages."""
    automatic = body.get("cache_control")
    pieces = list(_pieces(body))
    if automatic and pieces:  # a breakpoint after the last piece
        last = pieces[-1]
        pieces[-1] = Segment(last.tokens, last.value, automatic.get("ttl", "5m"))
    yield from pieces


def count(body: Mapping[str, Any]) -> int:
    """Count the tokens of a prompt."""
    return sum(piece.tokens for piece in _pieces(body))


def _pieces(body: Mapping[str, Any]) -> Iterator[Segment]:
    for tool in body.get("tools") or ():
        yield _segment(tool)
    yield from _content(body.get("system") or ())
    for message in body["messages"]:
        yield Segment(MESSAGE, message["role"])
        yield from _content(message["content"])


def _content(content: Any) -> Iterator[Segment]:
    if isinstance(content, str):
        yield Segment(of_text(content), content)
    else:
        yield from map(_segment, content)


def _segment(block: Mapping[str, Any]) -> Segment:
    control = block.get("cache_control")
    ttl = control.get("ttl", "5m") if control else None
    return Segment(of_block(block), _without_cache_control(block), ttl)


def _without_cache_control(block: Mapping[str, Any]) -> Mapping[str, Any]:
    return {k: v for k, v in block.items() if k != "cache_control"}
