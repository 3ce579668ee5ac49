"""The emulator: what it answers, what it refuses, and that its bytes are the API's."""

import json
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

import orjson
import pytest
from emulated import DEFS, validator
from jsonschema import Draft202012Validator
from places import API

from claude_lite.emulator import MODELS, Emulator, message_hash
from claude_lite.emulator.reading.problems import Problem
from claude_lite.emulator.reading.routing import Answer, Router, ServedRoute
from claude_lite.errors import ConnectionFailed, ConnectionLost, StreamInterrupted, UsageError
from claude_lite.wire import Request, Response, Sleep

OPERATIONS = {
    one["id"]: one for one in orjson.loads((API / "operations.json").read_bytes())["operations"]
}
SAMPLES = sorted(
    path
    for path in (API / "samples" / "requests").glob("messages.*.json")
    if "batches" not in path.name
)
HEADERS = {"x-api-key": "canary", "anthropic-version": "2023-06-01"}
TOOL = {
    "name": "get_weather",
    "input_schema": {
        "type": "object",
        "properties": {"city": {"type": "string"}, "unit": {"enum": ["c", "f"]}},
        "required": ["city"],
    },
}


class Clock:
    """A clock that stands still until it is told otherwise."""

    now = 0.0

    def __call__(self):
        """Tell the time."""
        return self.now


def params(prompt="Hello", **more):
    """Make the body of a message; a field that is None is left out."""
    body = {
        "model": "claude-sonnet-5-5",
        "max_tokens": 1024,
        "messages": [{"role": "user", "content": prompt}],
        **more,
    }
    return {name: value for name, value in body.items() if value is not None}


def post(emulator, body, path="/v1/messages", **headers):
    """Send a body (or bytes) and return the response."""
    fields = {**HEADERS, **{name.replace("_", "-"): text for name, text in headers.items()}}
    fields = {name: text for name, text in fields.items() if text is not None}
    content = body if isinstance(body, bytes) else orjson.dumps(body)
    return emulator.handle(Request("POST", f"https://x{path}", fields, content))


def create(body, **options):
    """Send a body to an emulator of its own and return the message."""
    response = post(Emulator(**options), body)
    assert response.status == 200, response.body
    return response.json()


def events(response):
    """Take a stream apart into (name, data)."""
    parts = response.body.decode().split("\n\n")
    assert parts.pop() == ""
    pairs = (part.split("\n") for part in parts)
    return [(n.removeprefix("event: "), orjson.loads(d.removeprefix("data: "))) for n, d in pairs]


APPENDED = {"text_delta": "text", "thinking_delta": "thinking"}


def fold(response):
    """Put the message of a stream together, as the API's documentation says."""
    message, inputs = None, {}
    for name, data in events(response):
        assert name == data["type"]
        match data:
            case {"type": "message_start"}:
                message = data["message"]
            case {"type": "content_block_start"}:
                assert data["index"] == len(message["content"])
                message["content"].append(data["content_block"])
            case {"delta": {"partial_json": text}, "index": index}:
                inputs[index] = inputs.get(index, "") + text
            case {"delta": {"signature": signature}, "index": index}:
                message["content"][index]["signature"] = signature
            case {"delta": {"type": kind} as delta, "index": index}:
                message["content"][index][APPENDED[kind]] += delta[APPENDED[kind]]
            case {"type": "message_delta"}:
                message |= data["delta"]
                message["usage"] |= data["usage"]
    for index, text in inputs.items():
        message["content"][index]["input"] = orjson.loads(text) if text else {}
    return message


def text_of(message):
    """Join the texts of a message."""
    return "".join(block["text"] for block in message["content"] if block["type"] == "text")


VARIANTS = {
    "text": params(),
    "long text": params("[[tokens:500]]"),
    "refusal": params("[[refuse:cyber]]"),
    "tools": params("[[tool]] [[tool:get_weather]]", tools=[TOOL]),
    "empty input": params("[[tool]]", tools=[{"name": "now", "input_schema": {"type": "object"}}]),
    "thinking": params(thinking={"type": "enabled", "budget_tokens": 1024}, max_tokens=2048),
    "thinking omitted": params(thinking={"type": "adaptive", "display": "omitted"}),
    "thinking cut": params(thinking={"type": "adaptive"}, max_tokens=3),
    "pause": params("[[pause]]"),
    "max_tokens": params("[[tokens:500]]", max_tokens=7),
    "stop sequence": params("one END two", stop_sequences=["END"]),
    "structured": params(output_config={"format": {"type": "json_schema", "schema": {}}}),
    "options": params(speed="fast", inference_geo="us", container={"id": "container_01"}),
}


def test_import_loads_no_event_loop_and_no_http_library():
    """Importing the emulator costs neither asyncio nor aiohttp."""
    code = (
        "import sys, claude_lite.emulator;"
        "sys.exit(bool({'asyncio', 'aiohttp', 'http.client', 'ssl'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0  # noqa: S603  # our own code


CALLS = [
    {"role": "assistant", "content": [{"type": "tool_use", "id": n, "name": "t", "input": {}}]}
    for n in ("toolu_1", "toolu_2")
]
RESULTS = [
    {"role": "user", "content": [{"type": "tool_result", "tool_use_id": n}]}
    for n in ("toolu_1", "toolu_2")
]
TOGETHER = {"role": "user", "content": [block for one in RESULTS for block in one["content"]]}
ASKED = {"role": "user", "content": "Hello"}


@pytest.mark.parametrize(
    "body",
    [
        params(messages=[ASKED, *CALLS, *RESULTS]),
        params(messages=[ASKED, ASKED, *CALLS, TOGETHER]),
        params(tools=[TOOL], tool_choice={"type": "any"}, thinking={"type": "adaptive"}),
    ],
    ids=["results apart", "results together", "adaptive thinking and a forced tool"],
)
def test_what_the_api_takes_is_accepted(body):
    """Messages of one role in a row are one turn; adaptive thinking gives way to a forced tool."""
    assert post(Emulator(), body).status == 200


def test_a_display_that_only_the_beta_form_has():
    """`updates` is a display of thinking in a beta request, and in no other."""
    body = params(thinking={"type": "adaptive", "display": "updates"})
    assert post(Emulator(), body).status == 400
    assert post(Emulator(), body, anthropic_beta="any-2026-01-01").status == 200


def test_an_alias_is_answered_by_the_model_that_it_names():
    """The answer names the dated model."""
    answer = post(Emulator(), params(model="claude-haiku-4-5")).json()
    assert answer["model"] == "claude-haiku-4-5-20251001"


def test_edits_of_the_context_are_reported():
    """Where edits were asked for, the answer says which were made; otherwise it does not."""
    beta = {"anthropic_beta": "context-management-2025-06-27"}
    asked = params(context_management={"edits": []})
    assert post(Emulator(), asked, **beta).json()["context_management"] == {"applied_edits": []}
    assert "context_management" not in post(Emulator(), params(), **beta).json()


def test_a_pause_is_once():
    """A paused turn that is sent back goes on to its end."""
    emulator = Emulator()
    body = params("Search. [[pause]]")
    first = post(emulator, body).json()
    assert first["stop_reason"] == "pause_turn"
    body["messages"].append({"role": "assistant", "content": first["content"]})
    assert post(emulator, body).json()["stop_reason"] == "end_turn"


@pytest.mark.parametrize(
    ("type_", "name"),
    [
        ("bash_20250124", "bash"),
        ("memory_20250818", "memory"),
        ("text_editor_20250728", "str_replace_based_edit_tool"),
    ],
)
def test_tools_of_the_api_are_called_as_they_can_be(type_, name):
    """A tool whose schema is the API's gets an input that who runs it understands."""
    body = params("Go. [[tool]]", tools=[{"type": type_, "name": name}])
    (call,) = [b for b in post(Emulator(), body).json()["content"] if b["type"] == "tool_use"]
    assert call["input"]["command"]


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
@pytest.mark.parametrize("version", ["2023-06-01", "2026-10-21"])
def test_the_official_samples_are_accepted(path, version):
    """What the API documents as a request gets an answer of the documented shape."""
    counting = "count_tokens" in path.name
    operation = OPERATIONS["messages.count_tokens" if counting else "messages.create"]
    emulator = Emulator()
    emulator.add_file("report.pdf", b"%PDF", file_id="file_011SampleDoc")  # a sample shows it
    response = post(emulator, path.read_bytes(), operation["path"], anthropic_version=version)
    assert response.status == 200
    if orjson.loads(path.read_bytes()).get("stream"):
        assert events(response)[-1] == ("message_stop", {"type": "message_stop"})
    else:
        name = operation["response"]["schema"]["$ref"].removeprefix("#/$defs/")
        validator(name).validate(response.json())


@pytest.mark.parametrize("body", VARIANTS.values(), ids=VARIANTS)
def test_a_message_has_the_apis_shape(body):
    """Every key that the API always sends is there, in every kind of message."""
    response = post(Emulator(), body, anthropic_version="2026-10-21")
    message = response.json()
    STRICT.validate(message)
    sample = orjson.loads((API / "samples/responses/messages.create.json").read_bytes())
    assert set(message) == set(sample)
    assert set(message["usage"]) == set(sample["usage"])


@pytest.mark.parametrize("body", VARIANTS.values(), ids=VARIANTS)
@pytest.mark.parametrize("flags", [{}, {"anthropic_beta": "context-management-2025-06-27"}])
def test_older_versions_leave_keys_out(body, flags):
    """Under 2023-06-01 no key is null but those of the stop, whole or streamed."""
    whole = post(Emulator(), body, **flags).json()
    streamed = [data for _, data in events(post(Emulator(), {**body, "stream": True}, **flags))]
    for value in (whole, *streamed):
        assert set(nulls(value)) <= {"stop_reason", "stop_sequence", "stop_details", *BETA_NULLS}
    asked = {name for name in ("container", "speed") if body.get(name)}
    assert asked == {"container", "speed"} & (whole.keys() | whole["usage"].keys())


BETA_NULLS = {"fallback_credit_token", "fallback_has_prefill_claim", "recommended_model"}
STRICT = Draft202012Validator({"$defs": DEFS, "$ref": "#/$defs/Message"})


def nulls(value):
    """Yield the keys that are null, at any depth, but for those of inputs."""
    for key, inner in value.items() if isinstance(value, dict) else ():
        if inner is None:
            yield key
        elif key != "input":
            yield from nulls(inner)
    for inner in value if isinstance(value, list) else ():
        yield from nulls(inner)


def test_a_batch_leaves_keys_out_as_well():
    """The results of a batch have the form of the version with which it was created."""
    for version, absent in (("2023-06-01", True), ("2026-10-21", False)):
        emulator = Emulator(batches={"seconds": 0})
        requests = [{"custom_id": "a", "params": params()}]
        headers = {"anthropic_version": version}
        made = post(emulator, {"requests": requests}, "/v1/messages/batches", **headers).json()
        path = f"https://x/v1/messages/batches/{made['id']}/results"
        line = emulator.handle(Request("GET", path, HEADERS, b"")).json()
        message = line["result"]["message"]
        assert ("diagnostics" not in message) is absent
        assert ("citations" not in message["content"][0]) is absent


@pytest.mark.parametrize("stream", [False, True])
def test_a_cache_is_warmed_by_no_tokens(stream):
    """`max_tokens: 0` writes the cache, and has no content and no output tokens."""
    emulator = Emulator()
    system = [{"type": "text", "text": "s" * 20_000, "cache_control": {"type": "ephemeral"}}]
    response = post(emulator, params(max_tokens=0, system=system, stream=stream))
    message = fold(response) if stream else response.json()
    assert (message["content"], message["stop_reason"]) == ([], "max_tokens")
    assert message["usage"]["output_tokens"] == 0
    assert message["usage"]["cache_creation_input_tokens"] > 0
    again = post(emulator, params(system=system)).json()
    assert again["usage"]["cache_read_input_tokens"] > 0


@pytest.mark.parametrize(
    ("model", "efforts"),
    [
        ("claude-haiku-4-5", ""),
        ("claude-sonnet-4-5-20250929", ""),
        ("claude-opus-4-0", ""),
        ("claude-opus-4-5", "low medium high"),
        ("claude-opus-4-6", "low medium high max"),
        ("claude-opus-4-7", "low medium high xhigh max"),
        ("claude-haiku-5-5", "low medium high xhigh max"),
    ],
)
def test_each_model_has_its_efforts(model, efforts):
    """An effort that the model has not is refused, and is not among its capabilities."""
    emulator = Emulator()
    for effort in ("low", "medium", "high", "xhigh", "max"):
        body = params(model=model, output_config={"effort": effort})
        response = post(emulator, body)
        assert (response.status == 200) is (effort in efforts.split())
        if response.status != 200:
            said = response.json()["error"]["message"]
            assert said.startswith("output_config.effort: ")
    shown = emulator.handle(Request("GET", f"https://x/v1/models/{model}", HEADERS, b"")).json()
    found = shown["capabilities"]["effort"]
    assert [e for e in found if e != "supported" and found[e]["supported"]] == efforts.split()
    assert found["supported"] is bool(efforts)


@pytest.mark.parametrize("body", VARIANTS.values(), ids=VARIANTS)
def test_a_stream_folds_into_the_message_that_is_not_streamed(body):
    """The same body, streamed or not, brings the same message."""
    clock = Clock()
    whole, streamed = (Emulator(clock=clock) for _ in range(2))
    assert fold(post(streamed, {**body, "stream": True})) == post(whole, body).json()


@pytest.mark.parametrize("body", VARIANTS.values(), ids=VARIANTS)
def test_stream_events_have_the_apis_shape_and_order(body):
    """Every event is valid; a ping follows the first block's start; message_stop is last."""
    valid = validator("RawMessageStreamEvent")
    names = []
    for name, data in events(post(Emulator(), {**body, "stream": True})):
        names.append(name)
        if name != "ping":
            valid.validate(data)
    assert names[0] == "message_start"
    assert names[-2:] == ["message_delta", "message_stop"]
    if "content_block_start" in names:
        assert names[1:3] == ["content_block_start", "ping"]
    assert names.count("content_block_start") == names.count("content_block_stop")


def test_each_event_is_a_chunk():
    """A driver that writes chunks writes events."""
    body = orjson.dumps(params(stream=True))
    reply = Emulator().reply(Request("POST", "https://x/v1/messages", HEADERS, body))
    chunks = list(reply.steps)
    assert all(chunk.endswith(b"\n\n") and chunk.count(b"\n\n") == 1 for chunk in chunks)
    assert reply.head.headers["content-type"].startswith("text/event-stream")
    assert (reply.head.body, reply.size) == (b"", None)


def test_the_beta_api_has_a_shape_of_its_own():
    """With a beta header the message and its events are those of the beta API."""
    emulator = Emulator()
    body = params("[[tool]]", tools=[TOOL], context_management={"edits": []})
    flags = {"anthropic_beta": "context-management-2025-06-27"}
    message = post(emulator, body, **flags).json()
    validator("BetaMessage").validate(message)
    valid = validator("BetaRawMessageStreamEvent")
    streamed = post(emulator, {**body, "stream": True}, **flags)
    for name, data in events(streamed):
        if name != "ping":
            valid.validate(data)
    assert set(fold(streamed)) == set(message)


def test_the_answer_shows_its_question():
    """The text begins with a hash of the messages, and the prompt."""
    body = params("What grows on a lawn?")
    start = f"Echo {message_hash(body['messages'])}: What grows on a lawn?"
    assert text_of(create(body)).startswith(start)


def test_answers_depend_on_the_messages_alone():
    """Order, earlier requests, and other fields change nothing in the text."""
    emulator = Emulator()
    first = [text_of(post(emulator, params(f"prompt {i}")).json()) for i in range(20)]
    again = [
        text_of(post(emulator, params(f"prompt {i}", model="claude-opus-5-5")).json())
        for i in reversed(range(20))
    ]
    assert first == again[::-1]
    assert len(set(first)) == 20


def test_the_hash_covers_the_whole_conversation():
    """Two conversations with the same last turn have different answers."""
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    last = {"role": "user", "content": "c"}
    assert text_of(create(params(messages=[last]))) != text_of(
        create(params(messages=[*turns, last]))
    )


def test_the_same_seed_and_requests_give_the_same_bytes():
    """Ids and answers repeat with the seed, and change with it."""
    bodies = [params(f"prompt {i}") for i in range(5)]
    runs = [[post(e, b) for b in bodies] for e in (Emulator(3), Emulator(3), Emulator(4))]
    seen = [[(r.body, r.request_id) for r in run] for run in runs]
    assert seen[0] == seen[1]
    assert seen[0] != seen[2]
    ids = [json.loads(body)["id"] for body, _ in seen[0]]
    assert len(set(ids)) == 5
    assert all(one.startswith("msg_01") for one in ids)


def test_tokens_control_the_length():
    """`[[tokens:500]]` is a text of 500 tokens, and the usage says so."""
    message = create(params("[[tokens:500]]"))
    assert message["usage"]["output_tokens"] == 500
    assert 1996 < len(text_of(message)) <= 2000


def test_a_refusal_has_details():
    """A refusal has no content, its reason, and the category that was asked for."""
    message = create(params("[[refuse:cyber]]"))
    assert (message["content"], message["stop_reason"]) == ([], "refusal")
    assert message["stop_details"]["category"] == "cyber"
    assert create(params("[[refuse]]"))["stop_details"]["category"] is None


def test_any_stop_reason_can_be_had():
    """Even one that nobody knows."""
    assert create(params("[[stop:brand_new]]"))["stop_reason"] == "brand_new"
    assert create(params("[[stop:max_tokens]]"))["stop_reason"] == "max_tokens"


def test_a_pause_is_a_server_tool_call_that_was_cut_short():
    """The turn is paused after a search."""
    message = create(params("[[pause]]"))
    assert message["stop_reason"] == "pause_turn"
    assert message["content"][0]["id"].startswith("srvtoolu_01")
    assert message["usage"]["server_tool_use"]["web_search_requests"] == 1


def test_tools_are_called_when_the_prompt_says_so():
    """A control calls a tool by name or the first one, with input that its schema accepts."""
    other = {"name": "other", "input_schema": {"type": "object"}}
    message = create(params("[[tool]] [[tool:other]] [[tool:none]]", tools=[TOOL, other]))
    text, first, second = message["content"]
    assert (text["type"], first["name"], second["name"]) == ("text", "get_weather", "other")
    assert message["stop_reason"] == "tool_use"
    assert first["id"].startswith("toolu_01")
    assert first["id"] != second["id"]
    Draft202012Validator(TOOL["input_schema"]).validate(first["input"])
    assert second["input"] == {}


def test_tools_are_not_called_without_a_reason():
    """With `auto` and no control there is only text; without tools a control does nothing."""
    assert create(params(tools=[TOOL]))["stop_reason"] == "end_turn"
    assert create(params("[[tool]]"))["stop_reason"] == "end_turn"
    none = {"type": "none"}
    assert create(params("[[tool]]", tools=[TOOL], tool_choice=none))["stop_reason"] == "end_turn"


@pytest.mark.parametrize("choice", [{"type": "any"}, {"type": "tool", "name": "get_weather"}])
def test_tool_choice_forces_a_call(choice):
    """A call that is forced comes alone, and its input shows the question."""
    message = create(params("Kyiv?", tools=[TOOL], tool_choice=choice))
    (block,) = message["content"]
    assert block["name"] == "get_weather"
    assert "Kyiv?" in block["input"]["city"]


def test_parallel_calls_can_be_forbidden():
    """With `disable_parallel_tool_use` there is one call."""
    choice = {"type": "auto", "disable_parallel_tool_use": True}
    message = create(params("[[tool]] [[tool]]", tools=[TOOL], tool_choice=choice))
    assert [block["type"] for block in message["content"]] == ["text", "tool_use"]


def test_a_tool_result_is_quoted():
    """The turn after a tool's result says what the tool returned."""
    call = {"type": "tool_use", "id": "toolu_1", "name": "get_weather", "input": {}}
    for content in ("4 C, clear", [{"type": "text", "text": "4 C, clear"}]):
        result = {"type": "tool_result", "tool_use_id": "toolu_1", "content": content}
        message = create(
            params(
                tools=[TOOL],
                messages=[
                    {"role": "user", "content": "Weather? [[tool]]"},
                    {"role": "assistant", "content": [call]},
                    {"role": "user", "content": [result]},
                ],
            )
        )
        assert '"4 C, clear"' in text_of(message)
        assert message["stop_reason"] == "end_turn"


def test_thinking_is_shown_or_omitted():
    """Thinking comes first and signed; omitted, it still counts as output."""
    shown = create(params(thinking={"type": "adaptive"}))
    hidden = create(params(thinking={"type": "adaptive", "display": "omitted"}))
    block = shown["content"][0]
    assert (block["type"], bool(block["thinking"])) == ("thinking", True)
    assert hidden["content"][0] == {**block, "thinking": ""}
    assert shown["usage"] == hidden["usage"]
    assert shown["usage"]["output_tokens_details"]["thinking_tokens"] > 0


@pytest.mark.parametrize(
    ("prompt", "tools"), [("[[tokens:500]]", None), ("[[tool]]" + "x" * 200, [TOOL])]
)
@pytest.mark.parametrize("most", [1, 5, 60])
def test_max_tokens_cuts(prompt, tools, most):
    """No more than max_tokens are produced, whatever they would have become."""
    message = create(params(prompt, tools=tools, max_tokens=most))
    assert (message["stop_reason"], message["usage"]["output_tokens"]) == ("max_tokens", most)


def test_max_tokens_cuts_a_streamed_input_in_the_middle():
    """The JSON of a tool's input stops half way; whole, the message has what was complete."""
    schema = {"type": "object", "properties": {"n": {"const": 1}, "text": {"type": "string"}}}
    body = params(
        "some words",
        tools=[{"name": "save", "input_schema": schema}],
        tool_choice={"type": "any"},
        max_tokens=6,
    )
    response = post(Emulator(), {**body, "stream": True})
    pieces = [d["delta"]["partial_json"] for n, d in events(response) if n.endswith("block_delta")]
    assert "".join(pieces).startswith('{"n":1,"text":"Echo')
    with pytest.raises(orjson.JSONDecodeError):
        orjson.loads("".join(pieces))
    assert create(body)["content"][0]["input"] == {"n": 1}


def test_a_stop_sequence_ends_the_text():
    """The text ends before the first of the sequences."""
    message = create(params("one two three", stop_sequences=["three", " two"]))
    assert (message["stop_reason"], message["stop_sequence"]) == ("stop_sequence", " two")
    assert text_of(message).endswith("one")


SCHEMAS = [
    {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]},
    {"type": "object", "properties": {"a": {"type": ["integer", "null"]}}, "required": ["a", "b"]},
    {"type": "array", "items": {"type": "integer", "minimum": 3, "maximum": 4}, "minItems": 3},
    {"type": "array", "items": {"enum": [1, 2, 3]}, "minItems": 3, "uniqueItems": True},
    {"type": "array", "prefixItems": [{"type": "string"}, {"type": "boolean"}], "items": False},
    {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 0.1},
    {"type": "integer", "multipleOf": 7, "minimum": 15},
    {"type": "integer", "maximum": -5},
    {"type": "number", "multipleOf": 0.5, "minimum": 0.1},
    {"type": "number", "minimum": 0.1, "maximum": 0.2},
    {"minimum": 5},
    {"items": {"type": "null"}, "minItems": 1},
    {"required": ["a"]},
    {"anyOf": [{"type": "null"}, {"type": "string", "maxLength": 3}]},
    {"oneOf": [{"const": "x"}, {"type": "integer"}]},
    {"allOf": [{"required": ["a"]}, {"properties": {"a": {"const": 2}}}], "type": "object"},
    {"type": "string", "minLength": 90},
    {"type": "string", "format": "date-time"},
    {"type": "string", "pattern": "^(\\D|\\d)[\\w\\-][^0-9a-z]\\s.é*$"},
    {"type": "string", "pattern": "^[A-Z]{2}-\\d{3,5}(x|y)?[^a]$"},
    {
        "$defs": {
            "node": {
                "type": "object",
                "properties": {
                    "next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]},
                    "all": {"type": "array", "items": {"$ref": "#/$defs/node"}},
                },
                "required": ["next", "all"],
                "additionalProperties": False,
            }
        },
        "$ref": "#/$defs/node",
    },
]


@pytest.mark.parametrize("schema", SCHEMAS, ids=str)
def test_a_structured_answer_is_valid_for_its_schema(schema):
    """The text is JSON that the schema accepts, whatever the prompt."""
    valid = Draft202012Validator(schema)
    wanted = {"format": {"type": "json_schema", "schema": schema}}
    for i in range(20):
        message = create(params(f"prompt {i}", output_config=wanted))
        valid.validate(orjson.loads(text_of(message)))


@pytest.mark.parametrize(
    "schema",
    [
        {"not": {}},
        {"$ref": "#/nowhere"},
        {"$ref": "#"},
        {"type": "array", "items": {"const": 1}, "minItems": 2, "uniqueItems": True},
        {"type": "object", "properties": ["a"]},
        {"type": "integer", "minimum": 3, "maximum": 2},
        {"type": "string", "pattern": "(?=a)b"},
        {"type": "string", "pattern": "("},
    ],
    ids=str,
)
def test_a_schema_that_cannot_be_satisfied_is_refused(schema):
    """It is a 400 rather than a wrong answer."""
    wanted = {"format": {"type": "json_schema", "schema": schema}}
    response = post(Emulator(), params(output_config=wanted))
    assert response.status == 400
    assert "output schema" in response.json()["error"]["message"]


def test_a_structured_answer_shows_its_question():
    """Free strings carry the echo."""
    schema = {"type": "object", "properties": {"name": {"type": "string"}}}
    body = params("Who?", output_config={"format": {"type": "json_schema", "schema": schema}})
    assert orjson.loads(text_of(create(body)))["name"].endswith(": Who?")


def test_counting_and_usage_agree():
    """`count_tokens` says what `usage.input_tokens` will be."""
    body = params("Hello", tools=[TOOL], system="Be brief.")
    emulator = Emulator()
    count = {name: value for name, value in body.items() if name != "max_tokens"}
    counted = post(emulator, count, "/v1/messages/count_tokens").json()
    assert counted == {"input_tokens": post(emulator, body).json()["usage"]["input_tokens"]}


def test_the_token_rule_can_be_worked_out_by_hand():
    """Four characters a token, 3 tokens a message, 1,500 an image."""
    image = {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}}
    body = params([{"type": "text", "text": "x" * 9}, image], system="12345678")
    assert create(body)["usage"]["input_tokens"] == 2 + 3 + 3 + 1500


def test_a_cached_prefix_is_read_the_second_time():
    """The first sight of a breakpoint creates, the second reads, and an hour later it is gone."""
    clock = Clock()
    emulator = Emulator(clock=clock)
    mark = {"cache_control": {"type": "ephemeral"}}

    def usage(question):
        system = [{"type": "text", "text": "x" * 400, **mark}]
        found = post(emulator, params(question, system=system)).json()["usage"]
        keys = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")
        return tuple(found[key] for key in keys)

    assert usage("aaaa") == (4, 100, 0)
    assert usage("bbbb") == (4, 0, 100)
    clock.now += 301
    assert usage("aaaa") == (4, 100, 0)


def test_cache_lifetimes_are_told_apart():
    """Tokens of an hour and of five minutes are counted apart; automatic caching takes all."""
    hour = {"type": "ephemeral", "ttl": "1h"}
    body = params(
        "x" * 40,
        system=[{"type": "text", "text": "x" * 400, "cache_control": hour}],
        cache_control={"type": "ephemeral"},
    )
    usage = create(body)["usage"]
    assert usage["cache_creation"] == {
        "ephemeral_1h_input_tokens": 100,
        "ephemeral_5m_input_tokens": 13,
    }
    assert usage["input_tokens"] == 0


def user(content):
    """Make a conversation of one message."""
    return [{"role": "user", "content": content}]


CALLED = [
    {"role": "user", "content": "x"},
    {
        "role": "assistant",
        "content": [{"type": "tool_use", "id": "t1", "name": "a", "input": {}}],
    },
]
REFUSALS = [
    (params(max_tokens=None), "max_tokens: Field required"),
    (params(model=None), "model: Field required"),
    (params(messages=None), "messages: Field required"),
    (params(max_tokens=-1), "max_tokens: Input should be greater than or equal to 0"),
    (params(max_tokens="9"), "max_tokens: Input should be a valid integer"),
    (params(max_tokens=True), "max_tokens: Input should be a valid integer"),
    (params(stream="yes"), "stream: Input should be a valid boolean"),
    (params(messages="x"), "messages: Input should be a valid list"),
    (params(messages=[]), "messages: at least one message is required"),
    (params(messages=["x"]), "messages.0: Input should be a valid dictionary"),
    (params(messages=[{"role": "user"}]), "messages.0.content: Field required"),
    (
        params(messages=[{"role": "robot", "content": "x"}]),
        "messages.0.role: Input should be 'user', 'assistant' or 'system'",
    ),
    (params(""), "messages.0: all messages must have non-empty content"),
    (params([]), "messages.0: all messages must have non-empty content"),
    (params([{"text": "x"}]), "messages.0.content.0.type: Field required"),
    (params([{"type": "text"}]), "messages.0.content.0.text.text: Field required"),
    (params([{"type": "text", "text": ""}]), "messages: text content blocks must be non-empty"),
    (params([{"type": "odd"}]), "messages.0.content.0: Input tag 'odd' found using 'type'"),
    (params(5), "messages.0.content: Input should be a valid list"),
    (params(extra=1), "extra: Extra inputs are not permitted"),
    (params(metadata={"x": "y"}), "metadata.x: Extra inputs are not permitted"),
    (params(mcp_servers=[]), "mcp_servers: Extra inputs are not permitted"),
    (params(temperature=2), "temperature: Input should be between 0 and 1"),
    (params(temperature="hot"), "temperature: Input should be a valid number"),
    (params(stop_sequences=[""]), "stop_sequences.0: String should have at least 1 character"),
    (params(service_tier="fast"), "service_tier: Input should be 'auto' or 'standard_only'"),
    (params(system=[{"type": "image"}]), "system.0: Input tag 'image' found"),
    (params(tools=[{"name": "a"}]), "tools.0.custom.input_schema: Field required"),
    (
        params(tools=[{"name": "a b", "input_schema": {"type": "object"}}]),
        "tools.0.custom.name: String should match pattern",
    ),
    (params(tools=[{"type": "odd_1"}]), "tools.0: Input tag 'odd_1' found"),
    (params(tools=[TOOL, TOOL]), "tools: Tool names must be unique."),
    (params(tool_choice={"type": "any"}), "tool_choice: may only be specified while"),
    (
        params(tools=[TOOL], tool_choice={"type": "tool", "name": "x"}),
        "tool_choice: Tool 'x' not found",
    ),
    (
        params(
            tools=[TOOL],
            tool_choice={"type": "any"},
            max_tokens=2048,
            thinking={"type": "enabled", "budget_tokens": 1024},
        ),
        "Thinking may not be enabled when tool_choice forces tool use.",
    ),
    (
        params(thinking={"type": "enabled", "budget_tokens": 10}),
        "thinking.enabled.budget_tokens: Input should be greater than or equal to 1024",
    ),
    (
        params(thinking={"type": "enabled", "budget_tokens": 1024}),
        "`max_tokens` must be greater than `thinking.budget_tokens`",
    ),
    (params(messages=CALLED), "messages: `tool_use` ids without `tool_result`: t1"),
    (
        params(messages=[*CALLED, *user("and?")]),
        "messages.2: `tool_use` ids were found without `tool_result` blocks",
    ),
    (
        params([{"type": "tool_result", "tool_use_id": "t2", "content": "x"}]),
        "messages.0.content: unexpected `tool_use_id` in `tool_result`: t2",
    ),
    (params(cache_control={"type": "odd"}), "cache_control.type: Input should be 'ephemeral'"),
    (b"{", "The request body is not valid JSON"),
    (b"[]", "Input should be a valid dictionary"),
]


@pytest.mark.parametrize(("body", "message"), REFUSALS, ids=[m for _, m in REFUSALS])
def test_a_wrong_body_is_refused_by_field(body, message):
    """The message begins with the path of the field, as the API's does."""
    response = post(Emulator(), body)
    assert (response.status, response.json()["error"]["type"]) == (400, "invalid_request_error")
    assert response.json()["error"]["message"].startswith(message)
    validator("docs.ErrorEnvelope").validate(response.json())


def test_the_newest_version_refuses_what_it_dropped():
    """2026-10-21: no sampling parameters, no documents by the assistant, no user citations."""
    source = {"type": "text", "media_type": "text/plain", "data": "x"}
    cited = {"type": "text", "text": "x", "citations": [{"type": "char_location"}]}
    bodies = [
        params(temperature=1),
        params(top_p=0.5),
        params(top_k=5),
        params(
            messages=[
                *user("x"),
                {"role": "assistant", "content": [{"type": "document", "source": source}]},
                *user("y"),
            ]
        ),
        params([cited]),
        params([{"type": "search_result", "source": "s", "title": "t", "content": [cited]}]),
    ]
    statuses = [
        [post(Emulator(), body, anthropic_version=version).status for body in bodies]
        for version in ("2023-06-01", "2026-10-21")
    ]
    assert statuses == [[200] * 6, [400] * 6]


def test_beta_fields_need_a_beta_header():
    """With a flag, the fields, blocks and tools of the beta API pass."""
    body = orjson.loads((API / "samples/requests/beta.messages.create.json").read_bytes())
    assert post(Emulator(), body).status == 400
    assert post(Emulator(), body, anthropic_beta="mcp-client-2025-11-20").status == 200
    odd = params([{"type": "new_block", "x": 1}], tools=[{"type": "new_tool_20270101"}])
    assert post(Emulator(), odd, anthropic_beta="a, b").status == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"x_api_key": None, "authorization": "Bearer canary"}, 200),
        ({"x_api_key": None}, 401),
        ({"x_api_key": ""}, 401),
        ({"x_api_key": "wrong"}, 401),
        ({"x_api_key": None, "authorization": "Bearer wrong"}, 401),
        ({"x_api_key": None, "authorization": "Basic canary"}, 401),
        ({"authorization": "Bearer canary"}, 401),
        ({"anthropic_version": None}, 400),
        ({"anthropic_version": "2020-01-01"}, 400),
    ],
)
def test_a_request_needs_one_good_credential_and_a_version(headers, status):
    """A key or a bearer token, not both; and a version that exists."""
    response = post(Emulator(api_keys=["canary"]), params(), **headers)
    assert response.status == status
    if status == 401:
        assert response.json()["error"]["type"] == "authentication_error"
        assert "anthropic-workspace-id" not in response.headers


def test_any_key_will_do_unless_keys_are_given():
    """By default only an empty key is refused."""
    assert post(Emulator(), params(), x_api_key="anything").status == 200
    assert post(Emulator(), params(), x_api_key="").status == 401


def test_an_unknown_model_is_not_found():
    """The API's own words for it."""
    response = post(Emulator(), params(model="claude-none"))
    assert (response.status, response.json()["error"]) == (
        404,
        {"type": "not_found_error", "message": "model: claude-none"},
    )
    assert post(Emulator(models=["claude-none"]), params(model="claude-none")).status == 200


def test_every_known_model_is_known():
    """The ids are those of the current facts."""
    known = orjson.loads((API / "models.json").read_bytes())["known_ids"]
    assert set(known) <= set(MODELS)


def test_unknown_paths_and_methods_are_refused():
    """404 for a path, 405 (with `allow`) for a method."""
    emulator = Emulator()
    assert post(emulator, params(), "/v1/nothing").status == 404
    response = emulator.handle(Request("GET", "https://x/v1/messages", HEADERS))
    assert (response.status, response.headers["allow"]) == (405, "POST")
    assert response.json()["error"]["type"] == "invalid_request_error"


def test_routes_may_hold_names():
    """A path with names in it is found, an exact path before it, and nothing in between."""

    def handler(call):
        return Answer.json(dict(call.params))

    router = Router(
        [
            ServedRoute("GET", "/v1/things/{thing_id}", handler),
            ServedRoute("POST", "/v1/things/{thing_id}/parts/{part}", handler, most=5),
            ServedRoute("GET", "/v1/things/all", handler),
        ]
    )
    assert router.find("GET", "/v1/things/7")[1] == {"thing_id": "7"}
    assert router.find("GET", "/v1/things/all")[1] == {}
    route, names = router.find("POST", "/v1/things/7/parts/x")
    assert (route.most, names) == (5, {"thing_id": "7", "part": "x"})
    for method, path in (("GET", "/v1/things/"), ("GET", "/v1/things/7/parts"), ("GET", "/")):
        with pytest.raises(Problem) as caught:
            router.find(method, path)
        assert caught.value.status == 404
    with pytest.raises(Problem) as caught:
        router.find("PUT", "/v1/things/7")
    assert (caught.value.status, caught.value.headers) == (405, {"allow": "GET"})


def test_a_body_may_have_32_megabytes():
    """A byte more is too large."""
    size = 32 * 1024 * 1024
    body = orjson.dumps(params("x"))
    padded = body + b" " * (size - len(body))
    assert post(Emulator(), padded).status == 200
    response = post(Emulator(), padded + b" ")
    assert (response.status, response.json()["error"]["type"]) == (413, "request_too_large")


def test_the_headers_say_who_answered():
    """The request id is that of the body; organization, workspace, date and type are there."""
    response = post(Emulator(), params(model="claude-none"))
    assert response.request_id == response.json()["request_id"]
    assert response.request_id.startswith("req_01")
    assert response.organization_id.count("-") == 4
    assert response.workspace_id.startswith("wrkspc_01")
    assert response.headers["content-type"] == "application/json"
    assert datetime.strptime(response.headers["date"], "%a, %d %b %Y %H:%M:%S %Z")  # noqa: DTZ007  # the shape is the point


def test_rate_limit_headers_follow_the_buckets():
    """Limits, what is left, and when it will be full again, for each kind of bucket."""
    clock = Clock()
    limits = {"requests": 60, "input_tokens": 60_000, "output_tokens": 6_000}
    emulator = Emulator(limits=limits, clock=clock)
    headers = post(emulator, params("x" * 4000, max_tokens=10)).headers

    def about(kind):
        name = f"anthropic-ratelimit-{kind}"
        datetime.strptime(headers[f"{name}-reset"], "%Y-%m-%dT%H:%M:%S%z")
        return headers[f"{name}-limit"], headers[f"{name}-remaining"]

    assert about("requests") == ("60", "59")
    assert about("input-tokens") == ("60000", "58000")
    assert about("output-tokens") == ("6000", "5000")
    assert about("tokens") == ("66000", "64000")


def test_an_empty_bucket_refuses_until_it_is_refilled():
    """429 with `retry-after`, and after that many seconds 200 again."""
    clock = Clock()
    emulator = Emulator(limits={"requests": 6}, clock=clock)
    assert [post(emulator, params()).status for _ in range(7)] == [200] * 6 + [429]
    refused = post(emulator, params())
    assert refused.json()["error"]["type"] == "rate_limit_error"
    assert refused.headers["retry-after"] == "10"
    assert refused.headers["anthropic-ratelimit-requests-remaining"] == "0"
    clock.now += 10
    assert [post(emulator, params()).status for _ in range(2)] == [200, 429]


def test_input_tokens_have_to_fit_and_output_tokens_are_charged():
    """A long prompt waits for room; answers may overdraw, and the next one waits."""
    clock = Clock()
    emulator = Emulator(limits={"input_tokens": 1000}, clock=clock)
    assert [post(emulator, params("x" * 2400)).status for _ in range(2)] == [200, 429]
    emulator = Emulator(limits={"output_tokens": 100}, clock=clock)
    body = params("[[tokens:500]]")
    first, second = (post(emulator, body) for _ in range(2))
    assert (first.status, second.status) == (200, 429)
    assert second.headers["retry-after"] == "241"


def test_cache_reads_do_not_count_as_input():
    """A prompt that is read from the cache passes a bucket that is too small for it."""
    emulator = Emulator(limits={"input_tokens": 1000}, clock=Clock())
    body = params("x" * 3000, cache_control={"type": "ephemeral"})
    assert [post(emulator, body).status for _ in range(5)] == [200] * 5


def test_models_have_buckets_of_their_own():
    """One model's limit is not another's, and may be set apart."""
    limits = {"requests": 2, "models": {"claude-opus-5-5": {"requests": 1}}}
    emulator = Emulator(limits=limits, clock=Clock())
    seen = {
        model: [post(emulator, params(model=model)).status for _ in range(3)]
        for model in ("claude-opus-5-5", "claude-sonnet-5-5")
    }
    assert seen == {
        "claude-opus-5-5": [200, 429, 429],
        "claude-sonnet-5-5": [200, 200, 429],
    }


def test_counting_has_a_bucket_of_its_own():
    """Token counts do not use up messages."""
    emulator = Emulator(limits={"requests": 1}, clock=Clock())
    body = params(max_tokens=None)
    counts = [post(emulator, body, "/v1/messages/count_tokens").status for _ in range(2)]
    assert (counts, post(emulator, params()).status) == ([200, 429], 200)


def test_wrong_limits_are_named():
    """The error says which limit is wrong."""
    with pytest.raises(UsageError, match=r"limits\.models\.m\.requests"):
        Emulator(limits={"models": {"m": {"requests": 0}}})
    with pytest.raises(UsageError, match=r"limits\.rpm: unknown"):
        Emulator(limits={"rpm": 5})


def test_counters_know_what_arrived():
    """Totals, paths, bodies and the log, for a test to look at."""
    emulator = Emulator()
    body = orjson.dumps(params())
    for _ in range(3):
        post(emulator, body)
    post(emulator, b"{}", "/v1/nothing")
    assert (emulator.requests.total, emulator.requests.by_path["/v1/messages"]) == (4, 3)
    assert (emulator.requests.of(body), emulator.requests.of(b"x")) == (3, 0)
    assert [(e.method, e.path, e.status) for e in emulator.log][-2:] == [
        ("POST", "/v1/messages", 200),
        ("POST", "/v1/nothing", 404),
    ]
    assert (emulator.in_flight, emulator.peak, emulator.disconnects) == (0, 1, 0)


def test_a_reply_that_is_closed_early_is_a_disconnect():
    """Who goes away before the end is counted; who goes away after it is not."""
    emulator = Emulator()
    request = Request("POST", "https://x/v1/messages", HEADERS, orjson.dumps(params(stream=True)))
    reply = emulator.reply(request)
    next(reply.steps)
    assert emulator.in_flight == 1
    reply.close()
    reply.close()
    whole = emulator.reply(request)
    list(whole.steps)
    whole.close()
    assert (emulator.in_flight, emulator.disconnects) == (0, 1)


def test_time_is_a_step_of_the_reply():
    """Latency comes before the head; the pace of tokens before the body, or between events."""
    request = Request("POST", "https://x/v1/messages", HEADERS, orjson.dumps(params()))
    emulator = Emulator(latency=0.5, tokens_per_second=10)
    reply = emulator.reply(request)
    tokens = orjson.loads(b"".join(reply.steps))["usage"]["output_tokens"]
    assert reply.before == (Sleep(0.5 + tokens / 10),)
    streamed = Request("POST", "https://x/v1/messages", HEADERS, orjson.dumps(params(stream=True)))
    reply = emulator.reply(streamed)
    waits = [step.seconds for step in reply.steps if isinstance(step, Sleep)]
    assert reply.before == (Sleep(0.5),)
    assert sum(waits) == pytest.approx(tokens / 10, abs=0.1)


def test_handle_raises_what_a_client_would_see():
    """A fault that breaks a reply is the error of a transport."""

    def emulator(**do):
        return Emulator(faults=[{"on": {}, "do": do}])

    for kind, do in {
        ConnectionFailed: {"fault": "refuse"},
        ConnectionLost: {"fault": "reset"},
        StreamInterrupted: {"fault": "close", "after_bytes": 5},
    }.items():
        broken = emulator(**do)
        with pytest.raises(kind):
            post(broken, params())
        assert (broken.in_flight, broken.disconnects) == (0, 0)
    assert post(emulator(fault="truncate", after_bytes=5), params()).body == b'{"id"'
    assert post(emulator(fault="status", status=529), params()).status == 529


def test_a_request_that_is_reset_has_been_done():
    """A reset before the head loses the answer, not the deed; a refusal leaves nothing done."""
    for fault, left in {"reset": "57", "refuse": "58"}.items():
        rule = {"on": {"nth": [1]}, "do": {"fault": fault}}
        emulator = Emulator(faults=[rule], limits={"requests": 59}, clock=Clock())
        with pytest.raises((ConnectionFailed, ConnectionLost)):
            post(emulator, params())
        response = post(emulator, params())
        assert response.headers["anthropic-ratelimit-requests-remaining"] == left
        assert [entry.status for entry in emulator.log] == [0, 200]


def test_a_demo_script_lets_every_request_end_well():
    """With `once_per_body` one more attempt is always enough."""
    rules = [
        {"on": {"probability": 0.3, "once_per_body": True}, "do": {"fault": "status", "status": s}}
        for s in (429, 500, 529)
    ]
    emulator = Emulator(faults=rules)
    first = [post(emulator, params(f"{i}")).status for i in range(100)]
    again = [post(emulator, params(f"{i}")).status for i in range(100) if first[i] != 200]
    assert set(first) == {200, 429, 500, 529}
    assert set(again) == {200}


def test_threads_may_share_an_emulator():
    """From eight threads every request is counted, gets its own id, and its own answer."""
    emulator = Emulator(faults=[{"on": {"times": 0}, "do": {"fault": "refuse"}}])

    def ask(i):
        message = post(emulator, params(f"prompt {i}")).json()
        return message["id"], f": prompt {i} " in text_of(message)

    with ThreadPoolExecutor(8) as pool:
        seen = list(pool.map(ask, range(400)))
    assert len({one for one, _ in seen}) == 400
    assert all(right for _, right in seen)
    assert (emulator.requests.total, emulator.in_flight) == (400, 0)


def test_a_response_is_a_plain_value():
    """What the emulator returns is a wire type and nothing of its own."""
    response = post(Emulator(), params())
    assert type(response) is Response
    assert pickle.loads(pickle.dumps(response)) == response  # noqa: S301  # our own
