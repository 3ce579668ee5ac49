"""The emulator's chat completions, as the OpenAI SDK asks for them."""

import asyncio

import orjson
import pytest
from emulated import Api, message

from claude_lite import AsyncClient, AuthenticationFailed, Client, InvalidRequest, never
from claude_lite.emulator import Emulator, message_hash
from claude_lite.emulator.reading.chat_requests import MAX_TOKENS, read_chat
from claude_lite.wire import Request, Sleep
from claude_lite_transports.emulator import AsyncEmulatorTransport, EmulatorTransport

PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
FUNCTION = {"name": "get_weather", "description": "Look out", "parameters": PARAMETERS}
TOOL = {"type": "function", "function": FUNCTION}
BEARER = {"authorization": "Bearer any"}


def chat(*messages, **more):
    """Make the body of a chat; a text is what the user says."""
    turns = [{"role": "user", "content": m} if isinstance(m, str) else m for m in messages]
    return {"model": "claude-sonnet-5-5", "messages": turns or [user("Hello")], **more}


def user(content):
    """Make a user's turn."""
    return {"role": "user", "content": content}


def respond(body, emulator=None, **headers):
    """Send a chat as the OpenAI SDK does: a bearer token, and no version."""
    content = body if isinstance(body, bytes) else orjson.dumps(body)
    request = Request("POST", "https://x/v1/chat/completions", {**BEARER, **headers}, content)
    return (emulator or Emulator()).handle(request)


def create(body, **options):
    """Send a chat that succeeds and return what it brings."""
    response = respond(body, Emulator(**options))
    assert response.status == 200, response.body
    return response.json()


def chunks(body, **options):
    """Stream a chat and return its chunks, without [DONE]."""
    response = respond({**body, "stream": True}, Emulator(**options))
    assert response.headers["content-type"].startswith("text/event-stream")
    *parts, done, end = response.body.decode().split("\n\n")
    assert (done, end) == ("data: [DONE]", "")
    return [orjson.loads(part.removeprefix("data: ")) for part in parts]


def test_a_chat_is_answered_as_a_message_is():
    """One choice with the same text, and the same tokens by other names."""
    api = Api()
    said = api.call("messages.create", message("Hello"))
    completion = create(chat("Hello"))
    assert completion["object"] == "chat.completion"
    (choice,) = completion["choices"]
    assert choice["message"] == {
        "role": "assistant",
        "content": said["content"][0]["text"],
        "refusal": None,
    }
    assert (choice["index"], choice["finish_reason"], choice["logprobs"]) == (0, "stop", None)
    used = said["usage"]
    assert completion["usage"] == {
        "prompt_tokens": used["input_tokens"],
        "completion_tokens": used["output_tokens"],
        "total_tokens": used["input_tokens"] + used["output_tokens"],
    }
    assert (completion["service_tier"], completion["system_fingerprint"]) == (None, None)


def test_the_headers_have_the_names_of_openai():
    """Limits of requests and tokens; request id and organization are the API's own."""
    response = respond(chat())
    for kind in ("requests", "tokens"):
        for what in ("limit", "remaining", "reset"):
            assert response.headers[f"x-ratelimit-{what}-{kind}"]
    assert not [name for name in response.headers if name.startswith("anthropic-ratelimit")]
    assert response.headers["openai-version"] == "2020-10-01"
    assert response.request_id.startswith("req_")


def test_what_is_used_is_turned_into_a_message():
    """System and developer texts are hoisted and joined, temperature is capped, stop filled."""
    body = chat(
        {"role": "system", "content": "One."},
        "Hello",
        {"role": "developer", "content": [{"type": "text", "text": "Two."}]},
        user(
            [
                {"type": "text", "text": "Look"},
                {"type": "image_url", "image_url": {"url": "https://x/y.png", "detail": "low"}},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}},
                {"type": "input_audio", "input_audio": {"data": "", "format": "wav"}},
                {"type": "file", "file": {"file_id": "f"}},
            ]
        ),
        {"role": "assistant", "content": "Well"},
        max_tokens=5,
        max_completion_tokens=6,
        temperature=1.7,
        top_p=0.5,
        stop=["END", "  ", ""],
        thinking={"type": "disabled"},
        n=1,
    )
    images = [
        {"type": "url", "url": "https://x/y.png"},
        {"type": "base64", "media_type": "image/png", "data": "aGk="},
    ]
    assert read_chat(body) == {
        "model": "claude-sonnet-5-5",
        "max_tokens": 6,
        "system": "One.\nTwo.",
        "messages": [
            user("Hello"),
            user(
                [
                    {"type": "text", "text": "Look"},
                    *({"type": "image", "source": source} for source in images),
                ]
            ),
            {"role": "assistant", "content": [{"type": "text", "text": "Well"}]},
        ],
        "temperature": 1,
        "top_p": 0.5,
        "stop_sequences": ["END"],
        "thinking": {"type": "disabled"},
    }
    assert read_chat(chat(stop="END"))["stop_sequences"] == ["END"]
    assert read_chat(chat())["max_tokens"] == MAX_TOKENS


def test_what_is_ignored_changes_nothing():
    """Whatever is in it; so does null where a field may be left out."""
    ignored = {
        "logprobs": True,
        "top_logprobs": 3,
        "metadata": {"a": "b"},
        "response_format": {"type": "json_object"},
        "prediction": {},
        "presence_penalty": 2,
        "frequency_penalty": 2,
        "seed": 7,
        "service_tier": "flex",
        "audio": {},
        "logit_bias": {"1": 2},
        "store": True,
        "user": "me",
        "modalities": ["audio"],
        "reasoning_effort": "high",
        "of_tomorrow": 1,
    }
    nothing = dict.fromkeys(("temperature", "stop", "n", "tools", "stream", "tool_choice"))
    assert read_chat(chat(**ignored, **nothing)) == read_chat(chat())
    assert create(chat(**ignored))["choices"] == create(chat())["choices"]


@pytest.mark.parametrize(
    ("choice", "wanted"),
    [
        ({}, {"type": "auto"}),
        ({"tool_choice": "none"}, {"type": "none"}),
        ({"tool_choice": "none", "parallel_tool_calls": False}, {"type": "none"}),
        ({"tool_choice": "required"}, {"type": "any"}),
        (
            {"tool_choice": {"type": "function", "function": {"name": "get_weather"}}},
            {"type": "tool", "name": "get_weather"},
        ),
        ({"function_call": {"name": "get_weather"}}, {"type": "tool", "name": "get_weather"}),
        ({"parallel_tool_calls": False}, {"type": "auto", "disable_parallel_tool_use": True}),
    ],
)
def test_tools_and_functions_are_the_same(choice, wanted):
    """Of today and of old, and so is what is to be done with them."""
    tool = {"name": "get_weather", "description": "Look out", "input_schema": PARAMETERS}
    for offered in ({"tools": [TOOL]}, {"functions": [FUNCTION]}):
        asked = read_chat(chat(**offered, **choice))
        assert (asked["tools"], asked["tool_choice"]) == ([tool], wanted)
    bare = read_chat(chat(tools=[{"type": "function", "function": {"name": "now"}}]))
    assert bare["tools"] == [{"name": "now", "input_schema": {"type": "object"}}]


def test_a_tool_is_called_and_its_result_read():
    """The call has an id and JSON arguments; its result comes back in a message of its own."""
    body = chat("[[tool]] [[tool]] and?", tools=[TOOL])
    choice = create(body)["choices"][0]
    assert choice["finish_reason"] == "tool_calls"
    calls = choice["message"]["tool_calls"]
    assert [call["type"] for call in calls] == ["function", "function"]
    assert set(orjson.loads(calls[0]["function"]["arguments"])) == {"city"}
    results = [
        {"role": "tool", "tool_call_id": call["id"], "content": f"sunny {i}"}
        for i, call in enumerate(calls)
    ]
    turns = [*body["messages"], choice["message"], *results]
    said = create({**body, "messages": turns})["choices"][0]["message"]["content"]
    assert 'The tool returned "sunny 0". The tool returned "sunny 1".' in said
    forced = create(chat(tools=[TOOL], tool_choice="required"))["choices"][0]
    assert forced["message"]["content"] is None


def test_an_old_function_call_is_read():
    """Without ids, its result is matched by the function's name."""
    body = chat(
        "Weather?",
        {
            "role": "assistant",
            "content": None,
            "function_call": {"name": "get_weather", "arguments": '{"city":"Bonn"}'},
        },
        {"role": "function", "name": "get_weather", "content": "rain"},
        "And?",
        functions=[FUNCTION],
    )
    _, called, result, _ = read_chat(body)["messages"]
    assert called["content"][0]["input"] == {"city": "Bonn"}
    assert result["content"][0]["tool_use_id"] == called["content"][0]["id"]
    assert create(body)["choices"][0]["finish_reason"] == "stop"


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"max_tokens": 2}, "length"),
        ({"stop": "Hello"}, "stop"),
        ({"messages": [user("[[refuse]]")]}, "content_filter"),
    ],
)
def test_finish_reasons_are_those_of_openai(more, reason):
    """Length, stop, tool_calls, content_filter."""
    assert create({**chat("Hello"), **more})["choices"][0]["finish_reason"] == reason


def test_thinking_is_billed_and_not_shown():
    """It is asked for by an extra field of the body."""
    thinking = {"type": "enabled", "budget_tokens": 2000}
    plain, thought = create(chat()), create(chat(thinking=thinking))
    assert thought["choices"] == plain["choices"]
    extra = thought["usage"]["completion_tokens"] - plain["usage"]["completion_tokens"]
    assert extra > 0


@pytest.mark.parametrize(
    "body",
    [
        chat("Hello"),
        chat("[[tool]] and [[tool]]", tools=[TOOL]),
        chat(tools=[TOOL], tool_choice="required"),
        chat("[[refuse]]"),
        chat("[[tokens:100]]", max_tokens=7),
    ],
)
def test_a_stream_brings_what_the_whole_would(body):
    """Role first, pieces of text and arguments, the reason last."""
    whole = create(body)
    told = chunks(body)
    assert {chunk["object"] for chunk in told} == {"chat.completion.chunk"}
    assert {chunk["id"] for chunk in told} == {whole["id"]}
    assert not any("usage" in chunk for chunk in told)
    deltas = [chunk["choices"][0]["delta"] for chunk in told]
    assert deltas[0] == {"role": "assistant", "content": "", "refusal": None}
    wanted = whole["choices"][0]["message"]
    assert "".join(delta.get("content") or "" for delta in deltas) == (wanted["content"] or "")
    calls = {}
    for delta in deltas:
        for call in delta.get("tool_calls", ()):
            arguments = call["function"]["arguments"]
            if "id" in call:
                calls[call["index"]] = {
                    "id": call["id"],
                    "type": call["type"],
                    "function": {"name": call["function"]["name"], "arguments": ""},
                }
            calls[call["index"]]["function"]["arguments"] += arguments
    assert list(calls.values()) == wanted.get("tool_calls", [])
    reasons = [chunk["choices"][0]["finish_reason"] for chunk in told]
    assert reasons == [None] * (len(told) - 1) + [whole["choices"][0]["finish_reason"]]


def test_usage_is_streamed_on_request():
    """In a last chunk without choices; it is null in those before."""
    *before, last = chunks(chat(stream_options={"include_usage": True}))
    assert {chunk["usage"] for chunk in before} == {None}
    assert last["choices"] == []
    assert last["usage"] == create(chat())["usage"]


def test_a_stream_keeps_its_pace():
    """At 1,000 tokens a second, 500 tokens take half a second."""
    emulator = Emulator(tokens_per_second=1000)
    body = orjson.dumps(chat("[[tokens:500]]", stream=True))
    reply = emulator.reply(Request("POST", "https://x/v1/chat/completions", BEARER, body))
    waits = [step.seconds for step in reply.steps if isinstance(step, Sleep)]
    assert sum(waits) == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize(
    ("body", "status", "complaint"),
    [
        (b"{", 400, "The request body is not valid JSON"),
        ({"model": "claude-sonnet-5-5"}, 400, "messages: Field required"),
        (chat(model="gpt-x"), 404, "model: gpt-x"),
        (chat(n=2), 400, "n: Input should be 1"),
        (chat(temperature=3), 400, "temperature: Input should be between 0 and 2"),
        (chat(max_tokens=0), 400, "max_tokens: Input should be greater"),
        (chat({"role": "robot", "content": ""}), 400, "messages.0: Input tag 'robot'"),
        (chat(user([{"type": "video"}])), 400, "messages.0.content.0: Input tag 'video'"),
        (chat(tools=[TOOL], tool_choice="maybe"), 400, "tool_choice: Input should be"),
        (chat(tools=[TOOL, TOOL]), 400, "tools: Tool names must be unique."),
        (
            chat(
                {
                    "role": "assistant",
                    "tool_calls": [{"id": "1", "function": {"name": "f", "arguments": "["}}],
                }
            ),
            400,
            "messages.0.tool_calls.0.function.arguments: Input should be a JSON object",
        ),
        (
            chat("a", {"role": "tool", "tool_call_id": "1", "content": "b"}),
            400,
            "messages.1.content: unexpected `tool_use_id`",
        ),
    ],
)
def test_errors_have_the_shape_of_openai(body, status, complaint):
    """An `error` with message, type, param and code; the request id is in the header."""
    response = respond(body)
    assert response.status == status
    assert set(response.json()) == {"error"}
    error = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["message"].startswith(complaint)
    assert error["type"] == ("not_found_error" if status == 404 else "invalid_request_error")
    assert response.headers["openai-version"] == "2020-10-01"


def test_a_wrong_key_and_an_empty_bucket_are_refused_in_that_shape():
    """401 and 429, the latter with its limits and retry-after."""
    refused = respond(chat(), Emulator(api_keys=["other"]))
    assert (refused.status, set(refused.json())) == (401, {"error"})
    emulator = Emulator(limits={"requests": 1}, clock=lambda: 0.0)
    assert respond(chat(), emulator).status == 200
    limited = respond(chat(), emulator)
    assert limited.status == 429
    assert limited.headers["retry-after"] == "60"
    assert limited.headers["x-ratelimit-remaining-requests"] == "0"
    assert not [name for name in limited.headers if name.startswith("anthropic-ratelimit")]


def test_the_client_reads_both_forms():
    """`client.chat.completions.create` and `.stream` bring the same text and calls."""
    client = Client(EmulatorTransport(), api_key="any", retry=never())
    for body in (chat(), chat("[[tool]]", tools=[TOOL])):
        made = client.chat.completions.create(**body)
        with client.chat.completions.stream(**body) as stream:
            for _ in stream:
                pass
            final = stream.final()
        assert final.text == made.text
        assert made.text.startswith(f"Echo {message_hash(body['messages'])}")
        found = [one.choices[0]["message"].get("tool_calls", ()) for one in (made, final)]
        functions = [[call["function"] for call in calls] for calls in found]
        assert functions[0] == functions[1]
    with pytest.raises(InvalidRequest, match="messages"):
        client.chat.completions.create(model="claude-sonnet-5-5", messages=[])

    async def main():
        async with AsyncClient(AsyncEmulatorTransport(), api_key="any") as other:
            return await other.chat.completions.create(**chat())

    assert asyncio.run(main()).text == client.chat.completions.create(**chat()).text
    stranger = Client(EmulatorTransport(Emulator(api_keys=["k"])), api_key="any")
    with pytest.raises(AuthenticationFailed):
        stranger.chat.completions.create(**chat())
