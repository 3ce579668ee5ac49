"""Turn a chat completion, as the OpenAI SDK requests it, into the body of a message.

Fields that the compatibility layer of the API ignores are not checked: `logprobs`,
`response_format`, `seed`, `user`, `strict`, audio and file parts. System and developer messages
are joined into the system prompt. This module checks the fields of OpenAI only; the resulting
message is checked as every message is.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import orjson

from claude_lite.emulator.reading.checks import (
    Check,
    anything,
    boolean,
    filled,
    integer,
    listing,
    literal,
    mapping,
    nullable,
    number,
    record,
    string,
    string_or,
    tagged,
)
from claude_lite.emulator.reading.problems import fail

MAX_TOKENS: Final = 16_384  # if the request gives none

_PARTS: Final = listing(
    tagged(
        {
            "text": record({"text": string}),
            "image_url": record({"image_url": record({"url": filled})}),
            "refusal": record({"refusal": string}),
            **dict.fromkeys(("input_audio", "file"), anything),
        }
    )
)
_CONTENT: Final = string_or(_PARTS)
_FUNCTION: Final = record(
    {"name": filled},
    {"description": nullable(string), "parameters": nullable(mapping)},
)
_CALL: Final = record({"name": filled, "arguments": string})
_MESSAGES: Final = listing(
    tagged(
        {
            "system": record({"content": _CONTENT}),
            "developer": record({"content": _CONTENT}),
            "user": record({"content": _CONTENT}),
            "assistant": record(
                {},
                {
                    "content": nullable(_CONTENT),
                    "tool_calls": nullable(listing(record({"id": filled, "function": _CALL}))),
                    "function_call": nullable(_CALL),
                },
            ),
            "tool": record({"content": _CONTENT, "tool_call_id": filled}),
            "function": record({"content": nullable(_CONTENT), "name": filled}),
        },
        tag="role",
    )
)
_CHOICE: Final = record({"function": record({"name": filled})})
_NAMED: Final = record({"name": filled})


def _one(value: Any, path: str) -> None:
    if value != 1:
        fail(path, "Input should be 1")


_CHECK: Final = record(
    {"model": filled, "messages": _MESSAGES},
    {
        "max_tokens": nullable(integer(1)),
        "max_completion_tokens": nullable(integer(1)),
        "stream": nullable(boolean),
        "stream_options": nullable(record({}, {"include_usage": nullable(boolean)})),
        "temperature": nullable(number(0, 2)),
        "top_p": nullable(number(0, 1)),
        "stop": nullable(string_or(listing(string))),
        "n": nullable(_one),
        "parallel_tool_calls": nullable(boolean),
        "tools": nullable(listing(tagged({"function": record({"function": _FUNCTION})}))),
        "functions": nullable(listing(_FUNCTION)),
        "tool_choice": nullable(string_or(_CHOICE)),
        "function_call": nullable(string_or(_NAMED)),
    },
)
_WORD: Final[Check] = literal("auto", "none", "required")
_INLINE: Final = re.compile(r"^data:([^;,]+);base64,(.*)$", re.DOTALL)


def read_chat(body: Mapping[str, Any]) -> dict[str, Any]:
    """Check a request and return the body of its message; raises `Problem` for a bad request."""
    _CHECK(body, "")
    given = {name: value for name, value in body.items() if value is not None}
    asked: dict[str, Any] = {
        "model": given["model"],
        "max_tokens": given.get("max_completion_tokens", given.get("max_tokens", MAX_TOKENS)),
        "messages": list(_turns(given["messages"])),
    }
    if system := _system(given["messages"]):
        asked["system"] = system
    if "temperature" in given:
        asked["temperature"] = min(1, given["temperature"])
    for name in ("top_p", "thinking"):
        if name in given:
            asked[name] = given[name]
    stop = given.get("stop", [])
    stop = [text for text in ([stop] if isinstance(stop, str) else stop) if text.strip()]
    return asked | ({"stop_sequences": stop} if stop else {}) | _tools(given)


def _system(messages: Sequence[Mapping[str, Any]]) -> str:
    roles = ("system", "developer")
    texts = [_text(message["content"]) for message in messages if message["role"] in roles]
    return "\n".join(text for text in texts if text)


def _turns(messages: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield the turns; consecutive results of tools are one turn."""
    results: list[dict[str, Any]] = []
    call_ids: dict[str, str] = {}  # by function name: results of functions have no ids
    for i, message in enumerate(messages):
        role, content = message["role"], message.get("content") or ""
        if role in ("tool", "function"):
            known = call_ids.get(message.get("name", ""), "")
            call_id = message["tool_call_id"] if role == "tool" else known
            text = _text(content)
            results.append({"type": "tool_result", "tool_use_id": call_id, "content": text})
            continue
        if results:
            yield {"role": "user", "content": results}
            results = []
        if role == "user":
            yield {"role": "user", "content": _blocks(content)}
        elif role == "assistant":
            calls = list(_calls(message, i))
            call_ids |= {call["name"]: call["id"] for call in calls}
            said = _text(content)
            yield {
                "role": "assistant",
                "content": [*([{"type": "text", "text": said}] if said else ()), *calls],
            }
    if results:
        yield {"role": "user", "content": results}


def _calls(message: Mapping[str, Any], place: int) -> Iterator[dict[str, Any]]:
    """Yield the tool calls of a message, and the call in the old field `function_call`."""
    calls = [(call["id"], call["function"]) for call in message.get("tool_calls") or ()]
    if old := message.get("function_call"):
        calls.append((f"call_{place}", old))
    for number_, (call_id, function) in enumerate(calls):
        try:
            value = orjson.loads(function["arguments"] or "{}")
        except orjson.JSONDecodeError:
            value = None
        if not isinstance(value, dict):
            path = f"messages.{place}.tool_calls.{number_}.function.arguments"
            fail(path, "Input should be a JSON object")
        yield {"type": "tool_use", "id": call_id, "name": function["name"], "input": value}


def _text(content: str | Sequence[Mapping[str, Any]]) -> str:
    if isinstance(content, str):
        return content
    return "".join(part.get("text") or part.get("refusal") or "" for part in content)


def _blocks(content: str | Sequence[Mapping[str, Any]]) -> str | list[dict[str, Any]]:
    if isinstance(content, str):
        return content
    blocks: list[dict[str, Any]] = []
    for part in content:
        if part["type"] == "text":
            blocks.append({"type": "text", "text": part["text"]})
        elif part["type"] == "image_url":
            blocks.append({"type": "image", "source": _source(part["image_url"]["url"])})
    return blocks


def _source(url: str) -> dict[str, str]:
    inline = _INLINE.match(url)
    if inline is None:
        return {"type": "url", "url": url}
    return {"type": "base64", "media_type": inline[1], "data": inline[2]}


def _tools(given: Mapping[str, Any]) -> dict[str, Any]:
    """Read the tools and the tool choice, from the current fields and from the old ones."""
    functions = [tool["function"] for tool in given.get("tools", ())]
    functions += given.get("functions", ())
    if not functions:
        return {}
    tools = [
        {
            "name": function["name"],
            "input_schema": {"type": "object", **(function.get("parameters") or {})},
            **({"description": function["description"]} if function.get("description") else {}),
        }
        for function in functions
    ]
    name = "tool_choice" if "tool_choice" in given else "function_call"
    wanted = given.get(name, "auto")
    choice: dict[str, Any]
    if isinstance(wanted, str):
        _WORD(wanted, name)
        choice = {"type": "any" if wanted == "required" else wanted}
    else:
        choice = {"type": "tool", "name": wanted.get("function", wanted)["name"]}
    if given.get("parallel_tool_calls") is False and choice["type"] != "none":
        choice["disable_parallel_tool_use"] = True
    return {"tools": tools, "tool_choice": choice}
