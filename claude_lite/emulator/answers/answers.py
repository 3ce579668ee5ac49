"""Compose an answer: blocks made from the prompt alone, cut where the request demands it.

The first text reads `Echo <hash>: <prompt>`, then the results of tools, then filler. Whole and
streamed answers are composed alike.

A prompt with `[[file:name]]` makes the code execution tool write that file; `[[file:name,bytes]]`
sets its size. The answer then has the tool's call, the result with the id of the file and, in
`messages`, a container. No code is run.
"""

import base64
import random
from collections.abc import Iterator, Mapping, Sequence
from hashlib import blake2b
from typing import Any, Final

import orjson
from attrs import evolve

from claude_lite.emulator.answers.blocks import AnswerDraft, Block, NewId, Save, json_text
from claude_lite.emulator.answers.schema_values import value_for
from claude_lite.emulator.answers.tokens import PER_TOKEN, of_text
from claude_lite.emulator.reading.problems import Problem
from claude_lite.emulator.reading.prompts import Prompt

ECHOED: Final = 200  # characters of the prompt, and of each tool result
THOUGHTS: Final = 48  # tokens of thinking, at most
DEFAULT_FILE_SIZE: Final = 1024  # bytes
FIRST_CODE_TOOL: Final = "code_execution_20250522"  # it runs Python; later ones run bash
FILLER_WORDS: Final = (
    "amber", "basalt", "cedar", "delta", "ember", "fjord", "granite", "harbour",
)  # fmt: skip

# The inputs of tools that the API defines, by the beginning of the type of the tool.
TOOL_INPUTS: Final[Mapping[str, Mapping[str, Any]]] = {
    "bash_": {"command": "echo hello"},
    "computer_": {"action": "screenshot"},
    "memory_": {"command": "view", "path": "/memories"},
    "text_editor_": {"command": "view", "path": "/"},
}


class Filler:
    """An endless text of random words, used to make answers as long as the prompt demands.

    The text is made once; `text` only cuts slices from it.
    """

    def __init__(self, seed: int) -> None:
        words = random.Random(seed).choices(FILLER_WORDS, k=1500)  # noqa: S311  # repeatable
        self._text = " ".join(words) + " "

    def text(self, start: int, length: int) -> str:
        """Return *length* characters of the text from *start* on."""
        start %= len(self._text)
        times = (start + length) // len(self._text) + 1
        return (self._text * times)[start : start + length]


def compose(
    body: Mapping[str, Any], prompt: Prompt, filler: Filler, new_id: NewId, save: Save | None = None
) -> AnswerDraft:
    """Answer a checked request; *save* keeps a file that a tool writes and returns its id."""
    if prompt.has("refuse"):
        category = prompt.values("refuse")[0] or None
        explanation = "This request was declined by a safety classifier."
        details = {"type": "refusal", "category": category, "explanation": explanation}
        return AnswerDraft((), "refusal", stop_details=details)
    blocks = tuple(_blocks(body, prompt, filler, new_id, save))
    reason = "end_turn"
    if any(block.kind == "tool_use" for block in blocks):
        reason = "tool_use"
    elif blocks and blocks[-1].kind == "server_tool_use":
        reason = "pause_turn"
    draft = AnswerDraft(blocks, reason, searches=int(reason == "pause_turn"))
    draft = _limited(_stopped(draft, body.get("stop_sequences", ())), body["max_tokens"])
    forced = next(iter(prompt.values("stop")), None)
    return evolve(draft, stop_reason=forced) if forced else draft


def _blocks(
    body: Mapping[str, Any], prompt: Prompt, filler: Filler, new_id: NewId, save: Save | None
) -> Iterator[Block]:
    seed = int(prompt.hash, 16)
    if _thinks(body, prompt):
        yield _thought(body, filler.text(seed, THOUGHTS * PER_TOKEN - seed % 64))
    if save is not None and prompt.has("file"):
        yield from _code_runs(body, prompt, new_id, save)
    if prompt.has("pause"):
        value = {"query": _echo(prompt, 60)}
        fields = {"id": new_id("srvtoolu_01"), "name": "web_search"}
        yield Block("server_tool_use", json_text(value), fields, value)
        return
    calls = _calls(body, prompt)
    if calls and body.get("tool_choice", {}).get("type") in ("any", "tool"):
        pass  # a forced call comes without text
    elif schema := _output_schema(body):
        value = value_for(schema, _echo(prompt, 60), seed)
        yield Block("text", orjson.dumps(value).decode())
        return
    else:
        yield Block("text", _text(prompt, filler, seed))
    for number, tool in enumerate(calls):
        value = _input(tool, _echo(prompt, 60), seed + number)
        fields = {"id": new_id("toolu_01"), "name": tool["name"]}
        yield Block("tool_use", json_text(value), fields, value)


def _code_tool(body: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the code execution tool of the request, or None."""
    tools: Sequence[Mapping[str, Any]] = body.get("tools") or ()
    return next((t for t in tools if str(t.get("type")).startswith("code_execution_")), None)


def _code_runs(
    body: Mapping[str, Any], prompt: Prompt, new_id: NewId, save: Save
) -> Iterator[Block]:
    """Yield the blocks of each run of code: the call, and its result."""
    tool = _code_tool(body)
    if tool is None:
        return
    name, key = "bash_code_execution", "command"
    if tool["type"] == FIRST_CODE_TOOL:
        name, key = "code_execution", "code"
    for wanted in prompt.values("file"):
        filename, _, size = wanted.partition(",")
        filename = filename.strip() or "output.txt"
        length = int(size) if size.strip().isdecimal() else DEFAULT_FILE_SIZE
        call_id = new_id("srvtoolu_01")
        command = {key: f"# write {length} bytes to {filename}"}
        yield Block(
            "server_tool_use",
            json_text(command),
            {"id": call_id, "name": name},
            command,
        )
        result = {
            "type": f"{name}_result",
            "stdout": f"wrote {filename}\n",
            "stderr": "",
            "return_code": 0,
            "content": [{"type": f"{name}_output", "file_id": save(filename, length)}],
        }
        fields = {"tool_use_id": call_id, "content": result}
        yield Block(f"{name}_tool_result", "", fields)


def _echo(prompt: Prompt, most: int) -> str:
    said = [prompt.text[:most]] if prompt.text else []
    said += [f'The tool returned "{result[:most]}".' for result in prompt.results]
    return f"Echo {prompt.hash}: {' '.join(said) or '(no text)'}"


def _text(prompt: Prompt, filler: Filler, seed: int) -> str:
    echo = _echo(prompt, ECHOED)
    wanted = [int(value) for value in prompt.values("tokens") if value.isdecimal()]
    length = wanted[0] * PER_TOKEN if wanted else len(echo) + 32 + seed % 128
    return f"{echo} {filler.text(seed, max(0, length - len(echo) - 1))}"[:length].rstrip() or "."


def _thinks(body: Mapping[str, Any], prompt: Prompt) -> bool:
    kind = body.get("thinking", {}).get("type", "disabled")
    return kind in ("enabled", "adaptive") or (kind == "between_tools" and bool(prompt.results))


def _thought(body: Mapping[str, Any], text: str) -> Block:
    signature = base64.b64encode(blake2b(text.encode(), digest_size=48).digest()).decode()
    hidden = body["thinking"].get("display") == "omitted"
    return Block("thinking", text, {"signature": signature}, hidden=hidden)


def _calls(body: Mapping[str, Any], prompt: Prompt) -> list[Mapping[str, Any]]:
    """Return the tools to call: those in controls, or one if the request demands a call."""
    choice = body.get("tool_choice", {"type": "auto"})
    tools = {tool["name"]: tool for tool in body.get("tools", ()) if _is_callable(tool)}
    if not tools or choice["type"] == "none":
        return []
    first = next(iter(tools))
    names = [name or first for name in prompt.values("tool")]
    if choice["type"] == "tool":
        names = [choice["name"]]
    elif choice["type"] == "any":
        names = names or [first]
    if choice.get("disable_parallel_tool_use"):
        names = names[:1]
    return [tools[name] for name in names if name in tools]


def _is_callable(tool: Mapping[str, Any]) -> bool:
    """Whether the client, not the API, runs the tool."""
    ours = ("web_", "code_execution", "tool_search", "mcp_")
    return "name" in tool and not (tool.get("type") or "").startswith(ours)


def _input(tool: Mapping[str, Any], text: str, seed: int) -> dict[str, Any]:
    for prefix, value in TOOL_INPUTS.items():
        if (tool.get("type") or "").startswith(prefix):
            return dict(value)
    try:
        value = value_for(tool.get("input_schema", {"type": "object"}), text, seed)
    except Problem:  # a model answers whatever the schema is
        return {}
    return value if isinstance(value, dict) else {}


def _output_schema(body: Mapping[str, Any]) -> Mapping[str, Any] | None:
    wanted = body.get("output_config", {}).get("format") or body.get("output_format")
    return wanted["schema"] if wanted else None


def _stopped(draft: AnswerDraft, sequences: list[str]) -> AnswerDraft:
    """Cut the answer before the first stop sequence in its text."""
    for i, block in enumerate(draft.blocks):
        found = {
            block.body.find(s): s for s in sequences if block.kind == "text" and s in block.body
        }
        if found:
            place, sequence = min(found.items())
            kept = (*draft.blocks[:i], evolve(block, body=block.body[:place]))
            return evolve(draft, blocks=kept, stop_reason="stop_sequence", stop_sequence=sequence)
    return draft


def _limited(draft: AnswerDraft, most: int) -> AnswerDraft:
    """Cut the answer after *most* tokens, even in the middle of a tool's input."""
    left = most
    for i, block in enumerate(draft.blocks):
        tokens = of_text(block.body)
        if tokens > left:
            cut = (evolve(block, body=block.body[: left * PER_TOKEN]),) if left else ()
            kept = (*draft.blocks[:i], *cut)
            return evolve(draft, blocks=kept, stop_reason="max_tokens", stop_sequence=None)
        left -= tokens
    return draft
