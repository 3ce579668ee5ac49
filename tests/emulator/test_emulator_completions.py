"""The emulator's legacy text completions."""

import asyncio

import orjson
import pytest
from emulated import API, Api, message, validator

from claude_lite import AsyncClient, Client, RateLimited, never
from claude_lite.emulator import Emulator, message_hash
from claude_lite.wire import Request, Sleep
from claude_lite_transports.emulator import AsyncEmulatorTransport, EmulatorTransport

CREATE = "completions.create"
PROMPT = "\n\nHuman: Hello\n\nAssistant:"


def asked(prompt=PROMPT, **more):
    """Make the body of a completion."""
    return {"model": "claude-2.1", "max_tokens_to_sample": 256, "prompt": prompt, **more}


def events(body):
    """Take a stream apart into (name, data); the name is None where there is none."""
    *parts, end = body.decode().split("\n\n")
    assert end == ""
    for part in parts:
        name, _, data = part.rpartition("\n")
        yield name.removeprefix("event: ") or None, data.removeprefix("data: ")


def test_the_sample_is_answered():
    """The documented request gets a completion of the conversation that it stands for."""
    api = Api()
    body = orjson.loads((API / "samples/requests/completions.create.json").read_bytes())
    response = api.respond(CREATE, body)
    completion = api.call(CREATE, body)
    hashed = message_hash([{"role": "user", "content": "Hello"}])
    assert completion["completion"].startswith(f" Echo {hashed}: Hello ")
    assert (completion["stop_reason"], completion["model"]) == ("stop_sequence", "claude-2.1")
    assert "anthropic-ratelimit-requests-limit" in response.headers
    assert response.workspace_id is not None


def test_a_prompt_is_the_messages_that_it_stands_for():
    """Turns alternate, what comes before them is the system prompt, a beginning is gone on from."""
    prompt = "Be brief.\n\nHuman: One\n\nAssistant: Two\n\nHuman: Three\n\nAssistant: Four"
    completion = Api().call(CREATE, asked(prompt, model="claude-opus-5-5"))
    turns = [("user", "One"), ("assistant", "Two"), ("user", "Three"), ("assistant", "Four")]
    hashed = message_hash([{"role": role, "content": text} for role, text in turns])
    assert completion["completion"].startswith(f" Echo {hashed}: Three ")


@pytest.mark.parametrize(
    ("more", "reason", "end"),
    [
        ({"max_tokens_to_sample": 2}, "max_tokens", " Echo 82"),
        ({"stop_sequences": ["Hello"]}, "stop_sequence", ": "),
        ({"prompt": "\n\nHuman: [[refuse]]\n\nAssistant:"}, "refusal", ""),
        ({"prompt": "\n\nHuman: [[stop:new]]\n\nAssistant:"}, "new", ""),
    ],
)
def test_a_completion_says_why_it_stopped(more, reason, end):
    """At max_tokens_to_sample, a stop sequence, or the end, which is one as well."""
    completion = Api().call(CREATE, {**asked(), **more})
    assert completion["stop_reason"] == reason
    if reason == "max_tokens":
        assert len(completion["completion"]) == 1 + 8
    assert "Hello" not in completion["completion"][: 20 if "stop_sequences" in more else 0]


@pytest.mark.parametrize(
    ("more", "complaint"),
    [
        ({"prompt": "Hello"}, 'prompt: prompt must start with "\n\nHuman:" turn'),
        ({"prompt": "\n\nHuman: Hello"}, 'prompt: prompt must end with "\n\nAssistant:" turn'),
        ({"prompt": None}, "prompt: Input should be a valid string"),
        ({"max_tokens_to_sample": 0}, "max_tokens_to_sample: Input should be greater than"),
        ({"temperature": 1.1}, "temperature: Input should be between 0 and 1"),
        ({"max_tokens": 1}, "max_tokens: Extra inputs are not permitted"),
        ({"metadata": {"user": "x"}}, "metadata.user: Extra inputs are not permitted"),
    ],
)
def test_requests_are_checked(more, complaint):
    """What is wrong is named by its path."""
    found, _ = Api().refuse(CREATE, 400, {**asked(), **more})
    assert found.startswith(complaint)


@pytest.mark.parametrize("name", ["model", "prompt", "max_tokens_to_sample"])
def test_required_fields_are_demanded(name):
    """Each by its name."""
    body = asked()
    del body[name]
    assert Api().refuse(CREATE, 400, body)[0] == f"{name}: Field required"


def test_an_unknown_model_is_not_found():
    """As with messages; and the old models are unknown there."""
    assert Api().refuse(CREATE, 404, asked(model="claude-0"))[0] == "model: claude-0"
    Api().refuse("messages.create", 404, message(model="claude-2.1"))


def test_a_stream_has_named_events_and_pings():
    """Each brings a piece, the last one the reason; together they are the completion."""
    api = Api()
    whole = api.call(CREATE, asked())
    response = api.respond(CREATE, asked(stream=True))
    assert response.headers["content-type"].startswith("text/event-stream")
    pieces, pings = [], 0
    for name, data in events(response.body):
        if name == "ping":
            assert orjson.loads(data) == {"type": "ping"}
            pings += 1
            continue
        assert name == "completion"
        piece = orjson.loads(data)
        validator("docs.Completion").validate(piece)
        pieces.append(piece)
    assert pings == 1
    assert "".join(piece["completion"] for piece in pieces) == whole["completion"]
    reasons = [piece["stop_reason"] for piece in pieces]
    assert reasons == [None] * (len(pieces) - 1) + ["stop_sequence"]
    assert len({piece["id"] for piece in pieces}) == 1


def test_the_first_version_streams_beginnings():
    """Under 2023-01-01 events have no names, repeat all text so far, and [DONE] is last."""
    api = Api()
    whole = api.call(CREATE, asked())
    old = {"anthropic-version": "2023-01-01"}
    *parts, (name, done) = events(api.respond(CREATE, asked(stream=True), headers=old).body)
    assert (name, done) == (None, "[DONE]")
    texts = [orjson.loads(data)["completion"] for _, data in parts]
    assert all(whole["completion"].startswith(text) for text in texts)
    assert texts[-1] == whole["completion"]


def test_a_stream_keeps_its_pace():
    """At 100 tokens a second, 50 tokens take half a second, streamed or not."""
    emulator = Emulator(tokens_per_second=100)
    body = asked("\n\nHuman: [[tokens:50]]\n\nAssistant:")

    def waits(body, version="2023-06-01"):
        headers = {"x-api-key": "any", "anthropic-version": version}
        reply = emulator.reply(
            Request("POST", "https://x/v1/complete", headers, orjson.dumps(body))
        )
        steps = [*reply.before, *reply.steps]
        return sum(step.seconds for step in steps if isinstance(step, Sleep))

    assert waits(body) == pytest.approx(0.5, abs=0.02)
    for version in ("2023-06-01", "2023-01-01"):
        assert waits({**body, "stream": True}, version) == pytest.approx(0.5, abs=0.02)


def test_the_client_reads_both_forms():
    """`client.completions.create` and `.stream` bring the same text."""
    client = Client(EmulatorTransport(), api_key="any")
    made = client.completions.create(**asked())
    with client.completions.stream(**asked()) as stream:
        pieces = [piece.completion for piece in stream]
        assert stream.final().completion == "".join(pieces) == made.completion
    assert len(pieces) > 2

    async def main():
        async with (
            AsyncClient(AsyncEmulatorTransport(), api_key="any") as other,
            other.completions.stream(**asked()) as stream,
        ):
            return [piece.completion async for piece in stream]

    assert asyncio.run(main()) == pieces


def test_completions_are_limited_as_messages_are():
    """They empty the same kind of bucket."""
    client = Client(
        EmulatorTransport(limits={"requests": 1}, clock=lambda: 0.0), api_key="any", retry=never()
    )
    client.completions.create(**asked())
    with pytest.raises(RateLimited):
        client.completions.create(**asked())
