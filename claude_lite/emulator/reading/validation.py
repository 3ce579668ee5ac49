"""Check the bodies of the Messages API, with the error messages of the API.

`check_create` and `check_count` raise a `Problem`: 400 with the path of the field, or 404 for
an unknown model. As in the API, unknown top-level fields are refused. Any `anthropic-beta`
header allows the fields of the beta API, and unknown blocks and tools as well.
"""

from collections.abc import Collection, Mapping
from itertools import groupby
from typing import Any, Final

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
from claude_lite.emulator.reading.known_models import efforts_of
from claude_lite.emulator.reading.problems import Problem, fail
from claude_lite.emulator.reading.shapes import (
    BLOCKS,
    CACHE_CONTROL,
    TEXT_BLOCK,
    beta_tool,
    open_to,
    tool,
)

MOST_MESSAGES: Final = 100_000
LEAST_BUDGET: Final = 1024  # tokens of thinking
SAMPLING_ENDS: Final = "2026-10-21"  # the version that refuses the fields of SAMPLING

_ROLE = literal("user", "assistant", "system")
_PARALLEL = {"disable_parallel_tool_use": boolean}
_FORMAT = record({"type": literal("json_schema"), "schema": mapping}, closed=True)
_SKILLS = nullable(listing(record({"type": literal("anthropic", "custom"), "skill_id": filled})))


def _thinking(*displays: str) -> Check:
    display = {"display": nullable(literal(*displays))}
    return tagged(
        {
            "enabled": record({"type": string, "budget_tokens": integer(LEAST_BUDGET)}, display),
            "disabled": record({"type": string}),
            "between_tools": record({"type": string}),
            "adaptive": record({"type": string}, display),
        },
        path_has_tag=True,
    )


_PROMPT: Final[Mapping[str, Check]] = {
    "model": filled,
    "messages": listing(
        record(
            {
                "role": _ROLE,
                "content": string_or(listing(tagged(BLOCKS, path_has_tag=True))),
            },
            closed=True,
        )
    ),
}
_PROMPT_OPTIONS: Final[Mapping[str, Check]] = {
    "cache_control": CACHE_CONTROL,
    "output_config": record(
        {},
        {
            "effort": nullable(literal("low", "medium", "high", "xhigh", "max")),
            "format": nullable(_FORMAT),
        },
    ),
    "speed": nullable(literal("standard", "fast")),
    "system": string_or(listing(tagged({"text": TEXT_BLOCK}))),
    "thinking": _thinking("summarized", "omitted"),
    "tool_choice": tagged(
        {
            "auto": record({"type": string}, _PARALLEL),
            "any": record({"type": string}, _PARALLEL),
            "tool": record({"type": string, "name": filled}, _PARALLEL),
            "none": record({"type": string}),
        }
    ),
    "tools": listing(tool),
}
_CREATE_OPTIONS: Final[Mapping[str, Check]] = {
    **_PROMPT_OPTIONS,
    "container": nullable(string_or(record({}, {"id": nullable(string), "skills": _SKILLS}))),
    "diagnostics": nullable(mapping),
    "inference_geo": nullable(string),
    "metadata": record({}, {"user_id": nullable(string)}, closed=True),
    "service_tier": literal("auto", "standard_only"),
    "stop_sequences": listing(filled),
    "stream": boolean,
}
_SAMPLING: Final[Mapping[str, Check]] = {
    "temperature": number(0, 1),
    "top_p": number(0, 1),
    "top_k": integer(0),
}
_BETA: Final[Mapping[str, Check]] = {
    "billing_policy": anything,
    "compaction": anything,
    "context_management": anything,
    "fallback_credit_token": anything,
    "fallbacks": anything,
    "mcp_servers": anything,
    "output_format": nullable(_FORMAT),
    "thinking": _thinking("summarized", "omitted", "updates"),
    "thread": nullable(
        tagged(
            {
                "create": record({"type": string}, closed=True),
                "continue": record({"type": string, "previous_message_id": filled}, closed=True),
            }
        )
    ),
    "tools": listing(beta_tool),
}
_BETA_MESSAGES: Final = listing(
    record({"role": _ROLE, "content": string_or(listing(open_to(BLOCKS)))})
)

_Dialect = tuple[bool, bool]  # (takes sampling parameters, is beta)


def _dialects(
    required: Mapping[str, Check], optional: Mapping[str, Check], sampling: Mapping[str, Check]
) -> Mapping[_Dialect, Check]:
    beta_required = {**required, "messages": _BETA_MESSAGES}
    beta_optional = {**optional, **_BETA}
    return {
        (True, False): record(required, {**optional, **sampling}, closed=True),
        (False, False): record(required, optional, closed=True),
        (True, True): record(beta_required, {**beta_optional, **sampling}, closed=True),
        (False, True): record(beta_required, beta_optional, closed=True),
    }


_CREATE: Final = _dialects({**_PROMPT, "max_tokens": integer(0)}, _CREATE_OPTIONS, _SAMPLING)
_COUNT: Final = _dialects(_PROMPT, _PROMPT_OPTIONS, {})


def check_create(
    body: Mapping[str, Any], version: str, *, beta: bool, models: Collection[str]
) -> None:
    """Check the body of `POST /v1/messages`."""
    _CREATE[version < SAMPLING_ENDS, beta](body, "")
    _check_prompt(body, version, models)
    effort = (body.get("output_config") or {}).get("effort")
    if effort and effort not in efforts_of(body["model"]):
        fail("output_config.effort", f"{body['model']} does not support effort {effort!r}")
    thinking = body.get("thinking", {})
    if thinking.get("type") == "enabled" and thinking["budget_tokens"] >= body["max_tokens"]:
        raise Problem(400, "`max_tokens` must be greater than `thinking.budget_tokens`")


def check_count(
    body: Mapping[str, Any], version: str, *, beta: bool, models: Collection[str]
) -> None:
    """Check the body of `POST /v1/messages/count_tokens`."""
    _COUNT[version < SAMPLING_ENDS, beta](body, "")
    _check_prompt(body, version, models)


def _check_prompt(body: Mapping[str, Any], version: str, models: Collection[str]) -> None:
    if body["model"] not in models:
        raise Problem(404, f"model: {body['model']}")
    if not body["messages"]:
        fail("messages", "at least one message is required")
    if len(body["messages"]) > MOST_MESSAGES:
        fail("messages", f"List should have at most {MOST_MESSAGES} items")
    _check_turns(body["messages"], version)
    _check_tools(body)


def _check_turns(messages: list[dict[str, Any]], version: str) -> None:
    """Check that every tool call has a result, and every result a call."""
    for i, message in enumerate(messages):
        role, content = message["role"], message["content"]
        if not content and (role != "assistant" or i < len(messages) - 1):
            fail(f"messages.{i}", "all messages must have non-empty content")
        if version >= SAMPLING_ENDS and role != "system":
            _check_newest(_blocks(message), role, f"messages.{i}.content")
    open_calls: list[str] = []
    said = [(i, m) for i, m in enumerate(messages) if m["role"] != "system"]
    for _, of_role in groupby(
        said, lambda each: each[1]["role"]
    ):  # consecutive messages of a role are one turn
        turn = list(of_role)
        blocks = [(i, block) for i, message in turn for block in _blocks(message)]
        results = {b["tool_use_id"]: i for i, b in blocks if b["type"] == "tool_result"}
        for stray, i in results.items():
            if stray not in open_calls:
                fail(f"messages.{i}.content", f"unexpected `tool_use_id` in `tool_result`: {stray}")
        if missing := [call for call in open_calls if call not in results]:
            fail(
                f"messages.{turn[0][0]}",
                "`tool_use` ids were found without `tool_result` blocks immediately after: "
                + ", ".join(missing),
            )
        open_calls = [block["id"] for _, block in blocks if block["type"] == "tool_use"]
    if open_calls:
        fail("messages", f"`tool_use` ids without `tool_result`: {', '.join(open_calls)}")


def _blocks(message: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [] if isinstance(message["content"], str) else message["content"]


def _check_newest(blocks: list[dict[str, Any]], role: str, path: str) -> None:
    """Check rules that only version 2026-10-21 and later have."""
    for i, block in enumerate(blocks):
        if role == "assistant" and block["type"] == "document":
            fail(f"{path}.{i}", "document blocks are not permitted in assistant messages")
        texts = block["content"] if block["type"] == "search_result" else [block]
        if role == "user" and any(
            text.get("citations") for text in texts if text["type"] == "text"
        ):
            fail(f"{path}.{i}.citations", "citations must be empty in user messages")


def _check_tools(body: Mapping[str, Any]) -> None:
    names = [tool["name"] for tool in body.get("tools", ()) if "name" in tool]
    if len(set(names)) < len(names):
        fail("tools", "Tool names must be unique.")
    choice = body.get("tool_choice", {"type": "none"})
    if choice["type"] != "none" and not body.get("tools"):
        fail("tool_choice", "may only be specified while providing `tools`")
    if choice["type"] == "tool" and choice["name"] not in names:
        fail("tool_choice", f"Tool '{choice['name']}' not found in provided tools")
    thinks = (
        body.get("thinking", {}).get("type") == "enabled"
    )  # adaptive thinking is skipped instead
    if thinks and choice["type"] in ("any", "tool"):
        raise Problem(400, "Thinking may not be enabled when tool_choice forces tool use.")
