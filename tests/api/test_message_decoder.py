"""Message streams: every transcript, every cut, every disorder; streamed is not streamed."""

import copy
import itertools
import json
import pickle
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from places import SAMPLES

from claude_lite.api.messages.content import TextBlock, ToolUseBlock, UnknownBlock
from claude_lite.api.messages.decoder import MessageDecoder
from claude_lite.api.messages.events import (
    ContentBlockStartEvent,
    Event,
    PingEvent,
    UnknownDelta,
    UnknownEvent,
)
from claude_lite.api.messages.message import Message
from claude_lite.core.json_text import dumps, loads
from claude_lite.core.structure import structure
from claude_lite.errors import (
    ClaudeError,
    ConnectionLost,
    Overloaded,
    ResponseTooLarge,
    StreamInterrupted,
    StreamTruncated,
    TimedOut,
    UnexpectedResponse,
)
from claude_lite.wire import Limits, Response

STREAMS = {p.stem: p.read_bytes() for p in sorted((SAMPLES / "streams").glob("*.sse"))}
STREAMS.pop("completions_legacy")  # another protocol
BROKEN = {"error_mid_stream", "truncated"}
MESSAGES = sorted(p.name for p in (SAMPLES / "responses").glob("*messages.create*.json"))
HEAD = Response(200, {"request-id": "req_head", "anthropic-organization-id": "org_head"})

USAGE = {
    "cache_creation": {"ephemeral_1h_input_tokens": 0, "ephemeral_5m_input_tokens": 0},
    "cache_creation_input_tokens": 0,
    "cache_read_input_tokens": 0,
    "inference_geo": "global",
    "input_tokens": 21,
    "output_tokens": 1,
    "output_tokens_details": None,
    "server_tool_use": None,
    "service_tier": "standard",
    "speed": "standard",
}
THOUGHTS = {"output_tokens_details": {"thinking_tokens": 0}}
FACTS = {"type": "char_location", "document_index": 0, "document_title": "Facts", "file_id": None}
DIRECT = {"type": "direct"}


def text(words, citations=None):
    """Write the text block that comes of a stream."""
    return {"type": "text", "text": words, "citations": citations}


def message(*content, stop="end_turn", usage=None, **fields):
    """Write the message that comes of a stream."""
    return {
        "id": "msg_01SampleStream",
        "type": "message",
        "role": "assistant",
        "model": "claude-sonnet-5-5",
        "content": list(content),
        "container": None,
        "diagnostics": None,
        "stop_details": None,
        "stop_reason": stop,
        "stop_sequence": None,
        "usage": {**USAGE, **(usage or {})},
        **fields,
    }


def result(encrypted, url, age):
    """Write one of the results of the web search."""
    return {
        "type": "web_search_result",
        "title": "Weather in NYC",
        "url": url,
        "encrypted_content": encrypted,
        "page_age": age,
    }


def search(query, caller="srvtoolu_01Sample"):
    """Write the call of the web search."""
    return {
        "type": "server_tool_use",
        "id": caller,
        "name": "web_search",
        "input": {"query": query},
        "caller": DIRECT,
    }


def found(content):
    """Write what the web search came to."""
    return {
        "type": "web_search_tool_result",
        "tool_use_id": "srvtoolu_01Sample",
        "caller": DIRECT,
        "content": content,
    }


def call(id_, name, arguments):
    """Write the call of a tool."""
    return {"type": "tool_use", "id": id_, "name": name, "input": arguments, "caller": DIRECT}


# By hand, from the transcripts.
EXPECTED = {
    "beta_compaction_and_context": message(
        {"type": "compaction", "content": "Summary so far.", "encrypted_content": "ZW5j"},
        text("Continuing."),
        usage={"output_tokens": 20, "fallback_credit": None, "iterations": None},
        context_management={"applied_edits": []},
    ),
    "citations": message(
        text("According to the document, "),
        text(
            "the grass is green and the sky is blue",
            [
                {
                    **FACTS,
                    "cited_text": "The grass is green.",
                    "start_char_index": 0,
                    "end_char_index": 19,
                },
                {
                    **FACTS,
                    "cited_text": "The sky is blue.",
                    "start_char_index": 20,
                    "end_char_index": 36,
                },
            ],
        ),
        usage={"output_tokens": 33},
    ),
    "crlf": message(text("crlf"), usage={"output_tokens": 2}),
    "max_tokens_in_tool_input": message(
        call("toolu_01Cut", "save", {"INVALID_JSON": '{"text": "half a sent'}),
        stop="max_tokens",
        usage={"output_tokens": 64},
    ),
    "message_delta_usage": message(
        text("a"),
        usage={
            **THOUGHTS,
            "input_tokens": 11,
            "output_tokens": 12,
            "cache_creation_input_tokens": 7,
            "cache_read_input_tokens": 101,
        },
    ),
    "minimal_usage": {
        "id": "msg_01Old",
        "type": "message",
        "role": "assistant",
        "content": [{"type": "text", "text": "Hello!"}],
        "model": "claude-sonnet-5-5",
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": 25, "output_tokens": 15},
    },
    "multiline_data": message(text("joined"), usage={"output_tokens": 3}),
    "pings_and_comments": message(text("ok"), usage={"output_tokens": 2}),
    "redacted_thinking": message(
        {"type": "redacted_thinking", "data": "ZW5jcnlwdGVkLXNhbXBsZQ=="},
        text("I cannot show that step."),
        usage={"output_tokens": 30},
    ),
    "refusal": message(
        stop="refusal",
        stop_details={"type": "refusal", "category": "cyber", "explanation": None},
        usage={"output_tokens": 15},
    ),
    "text": message(text("Hello, wörld 🌍!"), usage={"output_tokens": 15}),
    "thinking": message(
        {"type": "thinking", "thinking": "17 * 23 = 391.", "signature": "c2lnLXNhbXBsZQ=="},
        text("391"),
        usage={"output_tokens": 48, "output_tokens_details": {"thinking_tokens": 29}},
    ),
    "thinking_omitted": message(
        {"type": "thinking", "thinking": "", "signature": "b25seQ=="},
        text("Done."),
        usage={"output_tokens": 9},
    ),
    "tool_use": message(
        text("Okay."),
        call("toolu_01SampleWeather", "get_weather", {"location": "San Francisco, CA", "days": 3}),
        call("toolu_02SampleNow", "now", {}),
        stop="tool_use",
        usage={**THOUGHTS, "input_tokens": 472, "output_tokens": 89},
    ),
    "unknown_block_and_delta": message(
        {"type": "hologram", "frames": 0},
        text("seen"),
        stop="brand_new_reason",
        usage={"output_tokens": 4},
    ),
    "unknown_event_type": message(text("fine"), usage={"output_tokens": 2}),
    "web_search": message(
        text("I'll check."),
        search("weather NYC"),
        found(
            [
                result("RW5jcnlwdGVk", "https://example.com/nyc", "2 hours ago"),
                result("RW5jcnlwdGVk", "https://example.org/w", None),
            ]
        ),
        text(
            "It is 72 F and sunny.",
            [
                {
                    "type": "web_search_result_location",
                    "url": "https://example.com/nyc",
                    "title": "Weather in NYC",
                    "encrypted_index": "RW5jSW5kZXg=",
                    "cited_text": "72 F and sunny",
                }
            ],
        ),
        usage={
            **THOUGHTS,
            "input_tokens": 10682,
            "output_tokens": 510,
            "server_tool_use": {"web_search_requests": 1, "web_fetch_requests": 0},
        },
    ),
    "web_search_error": message(
        search("x"),
        found({"type": "web_search_tool_result_error", "error_code": "max_uses_exceeded"}),
        stop="pause_turn",
        usage={"output_tokens": 20},
    ),
}


def sse(events):
    """Write events as the API does."""
    return b"".join(
        b"event: %s\ndata: %s\n\n" % (str(e.get("type")).encode(), json.dumps(e).encode())
        for e in events
    )


def raw_events(name):
    """Read the events of a transcript, without the decoder."""
    lines = STREAMS[name].decode().replace("\r\n", "\n").split("\n\n")
    data = [
        "".join(line.removeprefix("data: ") for line in block.split("\n") if "data:" in line[:5])
        for block in lines[:-1]
    ]
    return [json.loads(each) for each in data if each]


def fed(chunks, limit=None, *, close=True):
    """Feed a decoder; give it, and the events that it returned."""
    decoder = MessageDecoder(HEAD, Limits(max_event=limit))
    events = [event for chunk in chunks for event in decoder.receive(chunk)]
    if close:
        decoder.close()
    return decoder, events


def outcome(chunks, limit=None):
    """Give all that came of some chunks: events, result, error, and what it says of itself."""
    decoder, events = fed(chunks, limit)
    try:
        final = json.dumps(decoder.result().to_dict())
    except ClaudeError as error:
        final = error.args
    error = decoder.error and (type(decoder.error), decoder.error.args)
    return json.dumps(events), final, error, decoder.begun, decoder.complete


def started(*events, usage=None):
    """Give the events of a message that has begun, and then some more."""
    start = {
        "id": "msg_1",
        "content": [],
        "model": "m",
        "stop_reason": None,
        "usage": usage or {"input_tokens": 1, "output_tokens": 1},
    }
    return [{"type": "message_start", "message": start}, *events]


def block_start(block, index=0):
    """Write the beginning of a block."""
    return {"type": "content_block_start", "index": index, "content_block": block}


def delta(kind, index=0, **fields):
    """Write a delta."""
    return {"type": "content_block_delta", "index": index, "delta": {"type": kind, **fields}}


def block_stop(index=0):
    """Write the end of a block."""
    return {"type": "content_block_stop", "index": index}


END = [
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 9}},
    {"type": "message_stop"},
]
OVERLOADED = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
TEXT = {"type": "text", "text": "", "citations": None}
CALL = {"type": "tool_use", "id": "t", "name": "n", "input": {}}


# The transcripts


def test_every_transcript_is_expected():
    """No recorded stream goes untested."""
    assert set(STREAMS) == set(EXPECTED) | BROKEN


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_a_transcript(name):
    """A recorded stream comes to the message that its events say, and knows its response."""
    decoder, _ = fed([STREAMS[name]])
    final = decoder.result()
    assert final.to_dict() == EXPECTED[name]
    assert (decoder.begun, decoder.complete, decoder.error) == (True, True, None)
    assert final.response is HEAD
    assert final.request_id == "req_head"
    assert final == structure(copy.deepcopy(EXPECTED[name]), Message)


@pytest.mark.parametrize("name", sorted(STREAMS))
def test_the_events_of_a_transcript(name):
    """Every event but the error is returned as it came, pings and unknown ones included."""
    _, events = fed([STREAMS[name]])
    expected = (
        [e for e in raw_events(name) if e["type"] != "error"]
        if name != "truncated"
        else (raw_events(name))
    )
    assert json.dumps(events) == json.dumps(expected)


@pytest.mark.parametrize("name", sorted(STREAMS))
def test_the_items_of_a_transcript(name):
    """Every event is a value of its class, and gives back what came."""
    decoder, events = fed([STREAMS[name]])
    for event in events:
        item = decoder.item(copy.deepcopy(event))
        assert item.type == ("unknown" if isinstance(item, UnknownEvent) else event["type"])
        assert json.dumps(item.to_dict()) == json.dumps(event)
        assert isinstance(item, UnknownEvent) == (event["type"] == "message_hint")


def test_unknown_parts_are_visible():
    """Unknown blocks, deltas and events come as their unknown classes, with their fields."""
    decoder, events = fed([STREAMS["unknown_block_and_delta"]])
    items = [decoder.item(event) for event in events]
    assert isinstance(items[1], ContentBlockStartEvent)
    assert isinstance(items[1].content_block, UnknownBlock)
    unknown = [i.delta for i in items if isinstance(getattr(i, "delta", None), UnknownDelta)]
    assert [d.to_dict() for d in unknown] == [
        {"type": "hologram_delta", "frames": 3},
        {"type": "sparkle_delta", "level": 2},
    ]
    decoder, events = fed([STREAMS["unknown_event_type"]])
    assert decoder.item(events[1]).hint == {"k": 1}
    decoder, events = fed([STREAMS["pings_and_comments"]])
    assert sum(isinstance(decoder.item(e), PingEvent) for e in events) == 5


def test_an_error_in_mid_stream():
    """It is of the class that it would have over HTTP, and has what came before it."""
    decoder, events = fed([STREAMS["error_mid_stream"]])
    error = decoder.error
    assert type(error) is Overloaded
    assert (error.status, error.type, error.message) == (200, "overloaded_error", "Overloaded")
    assert (error.request_id, error.organization_id) == ("req_011SampleAbCdEf", "org_head")
    assert error.partial == message(text("Once upon"), stop=None)
    assert error.usage == USAGE
    assert len(events) == 3
    assert (decoder.begun, decoder.complete) == (True, False)
    assert decoder.result().text == "Once upon"


def test_a_truncated_stream():
    """An end without `message_stop` is `StreamTruncated`, with what came before it."""
    decoder, events = fed([STREAMS["truncated"]], close=False)
    assert decoder.error is None
    decoder.close()
    error = decoder.error
    assert type(error) is StreamTruncated
    assert (error.request_id, error.organization_id) == ("req_head", "org_head")
    assert error.partial == message(text("cut"), stop=None)
    assert error.usage == USAGE
    assert len(events) == 3
    decoder.close()
    assert decoder.error is error


@pytest.mark.parametrize("line_end", [b"\n", b"\r", b"\r\n"])
def test_every_prefix_is_truncated(line_end):
    """A stream cut off before the end of the JSON of `message_stop` is never a message."""
    data = STREAMS["tool_use"].replace(b"\n", line_end)
    whole = data.rindex(b"}") + 1
    for end in range(len(data) + 1):
        decoder, _ = fed([data[:end]])
        assert decoder.complete is (end >= whole)
        assert decoder.complete or type(decoder.error) is StreamTruncated


@pytest.mark.parametrize("tail", [b"", b"\n", b"\r", b"\r\n", b"\nid: 1", b"\n: comment"])
@pytest.mark.parametrize("broken", [None, StreamInterrupted("cut"), TimedOut("read")], ids=str)
def test_a_last_event_without_its_blank_line(tail, broken):
    """`message_stop` and an error event count without their blank line, however the body ends."""
    for last, kind in (({"type": "message_stop"}, None), (OVERLOADED, Overloaded)):
        decoder = MessageDecoder(HEAD)
        decoder.receive(sse(started(END[0])) + sse([last]).rstrip(b"\n") + tail)
        assert (decoder.complete, decoder.error) == (False, None)
        events = decoder.close() if broken is None else decoder.fail(broken)
        assert decoder.complete is (kind is None)
        assert kind is None or type(decoder.error) is kind
        assert events == ([last] if kind is None and broken is None else events and [])
        assert decoder.result().stop_reason == "end_turn"


def test_a_last_delta_without_its_blank_line():
    """The text of a whole event is returned and in the partial, if the end was in good order."""
    wire = sse(started(block_start(TEXT), delta("text_delta", text="all"))).rstrip(b"\n")
    for cut, words in ((wire, "all"), (wire[:-1], "")):
        decoder, _ = fed([cut], close=False)
        assert len(decoder.close()) == bool(words)
        assert type(decoder.error) is StreamTruncated
        assert decoder.error.partial["content"] == [{**TEXT, "text": words}]


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(STREAMS))
def test_every_split_of_a_transcript(name):
    """Cut once at each byte, or into single bytes, a stream gives the same in every respect."""
    data = STREAMS[name]
    expected = outcome([data])
    for place in range(1, len(data)):
        assert outcome([data[:place], data[place:]]) == expected
    for size in (1, 2, 3, 64):
        assert outcome([data[i : i + size] for i in range(0, len(data), size)]) == expected


@pytest.mark.parametrize("limit", [100, 400, 600, 700, 800, 1000])
def test_a_limit_gives_the_same_however_it_is_cut(limit):
    """Events before the one that is too long are returned, and are in the error's partial."""
    data = STREAMS["web_search"]
    expected = outcome([data], limit)
    for size in (1, 7, 50, 333, 1000):
        chunks = [data[i : i + size] for i in range(0, len(data), size)]
        assert outcome(chunks, limit) == expected
    decoder, events = fed([data], limit)
    longest = [len(json.dumps(e, separators=(",", ":"))) for e in raw_events("web_search")]
    assert (type(decoder.error) is ResponseTooLarge) == (max(longest) > limit)
    if decoder.error and events:
        assert decoder.error.partial["id"] == "msg_01SampleStream"


# Streamed and not streamed


@st.composite
def streamed(draw):
    """Give a recorded message, and the events of the stream that it would have been."""
    name = draw(st.sampled_from(MESSAGES))
    data = loads((SAMPLES / "responses" / name).read_bytes())

    def cut(words):
        places = sorted(draw(st.lists(st.integers(0, len(words)), max_size=4)))
        ends = [0, *places, len(words)]
        return [words[a:b] for a, b in itertools.pairwise(ends)]

    unset = {"content": [], "stop_reason": None, "stop_sequence": None, "stop_details": None}
    usage = {**data["usage"], "output_tokens": 1, "server_tool_use": None}
    start = {**data, **unset, "container": None, "usage": usage}
    events = [{"type": "message_start", "message": start}]
    for index, block in enumerate(data["content"]):
        first, deltas = dict(block), []
        if block["type"] == "text":
            first["text"] = ""
            deltas = [delta("text_delta", index, text=words) for words in cut(block["text"])]
            if block["citations"] is not None:
                first["citations"] = []
                deltas += [
                    delta("citations_delta", index, citation=each) for each in block["citations"]
                ]
        elif block["type"] == "thinking":
            first |= {"thinking": "", "signature": ""}
            deltas = [delta("thinking_delta", index, thinking=w) for w in cut(block["thinking"])]
            deltas.append(delta("signature_delta", index, signature=block["signature"]))
        elif block["type"] in {"tool_use", "server_tool_use"}:
            first["input"] = {}
            words = json.dumps(block["input"], ensure_ascii=draw(st.booleans()))
            deltas = [delta("input_json_delta", index, partial_json=w) for w in cut(words)]
        events += [block_start(first, index), *deltas, block_stop(index)]
    stops = {k: data[k] for k in ("stop_reason", "stop_sequence", "stop_details", "container")}
    events.append({"type": "message_delta", "delta": stops, "usage": data["usage"]})
    events.append({"type": "message_stop"})
    for _ in range(draw(st.integers(0, 3))):
        events.insert(draw(st.integers(0, len(events) - 1)), {"type": "ping"})
    return data, events


@given(streamed(), st.integers(1, 2000))
@settings(deadline=None, max_examples=150)
def test_streamed_is_not_streamed(case, size):
    """A message that comes in pieces is, to the last key, the one that comes at once."""
    data, events = case
    wire = sse(events)
    decoder, seen = fed([wire[i : i + size] for i in range(0, len(wire), size)])
    assert decoder.error is None
    assert json.dumps(decoder.result().to_dict()) == json.dumps(data)
    assert decoder.result() == structure(data, Message)
    assert dumps(decoder.result()) == dumps(structure(data, Message))
    assert seen == events


@pytest.mark.parametrize("number", [2**64 + 1, 10**30, -(10**40), 1e300])
def test_no_digit_is_lost(number):
    """Numbers of any size survive in every event, whatever else is in it, and in the message."""
    new = {"new": [number]}
    citation = {"type": "new_location", **new}
    usage = {"input_tokens": 1, "output_tokens": 1, **new}
    events = [
        *started(block_start({**TEXT, **new}), usage=usage),
        delta("citations_delta", citation=citation),
        {**delta("text_delta", text="x"), **new},
        delta("text_delta", text="y", **new),
        delta("new_delta", **new),
        {"type": "new_event", **new},
        block_stop(),
        block_start(CALL, 1),
        delta("input_json_delta", 1, partial_json=f'{{"n":{json.dumps(number)}}}'),
        block_stop(1),
        {"type": "message_delta", "delta": {"stop_reason": "x", **new}, "usage": new},
        {"type": "message_stop"},
    ]
    decoder, seen = fed([sse(events)])
    assert json.dumps(seen) == json.dumps(events)
    first, second = decoder.result().to_dict()["content"]
    assert first == {**TEXT, "text": "xy", "citations": [citation], **new}
    assert second["input"] == {"n": number}
    assert decoder.result().to_dict()["new"] == decoder.result().usage.new == [number]


def test_depth_is_bounded():
    """A hundred levels are no problem in any event; a thousand and more are a typed error."""
    for depth, fits in ((100, True), (1000, False), (100_000, False)):
        deep = b"[" * depth + b"]" * depth
        for wire in (
            b'event: x\ndata: {"type":"x","a":%s}\n\n' % deep,
            sse([block_start(TEXT)]).replace(b'"text": ""', b'"text": "", "a": %s' % deep),
            sse([block_start(TEXT), delta("x", a=1)]).replace(b": 1}}", b": %s}}" % deep),
        ):
            decoder, _ = fed([sse(started()), wire, sse([{"type": "message_stop"}])])
            assert (decoder.error is None) is fits
            assert fits or type(decoder.error) is ResponseTooLarge
    text = '{"a":' * 5000 + "1" + "}" * 5000
    decoder, _ = fed(
        [sse(started(block_start(CALL), delta("input_json_delta", partial_json=text), *END))]
    )
    assert type(decoder.error) is ResponseTooLarge
    assert decoder.error.partial["content"][0]["type"] == "tool_use"
    (block,) = decoder.result().content
    assert (block.input, block.partial_json) == unreadable(text)
    assert decoder.error.partial["content"][0]["input"] == {"INVALID_JSON": text}


# What is shared, and what is not


def scramble(value):
    """Change everything that can be changed within JSON."""
    if isinstance(value, dict):
        for key in list(value):
            scramble(value[key])
            value[key] = "scrambled"
        value["more"] = 1
    elif isinstance(value, list):
        for item in value:
            scramble(item)
        value.append("scrambled")


def test_the_model_that_answered_in_the_end():
    """After a fallback block the message is of the model that the block names."""
    block = {"type": "fallback", "to": {"model": "claude-haiku-4-5"}, "trigger": {}}
    start = {"type": "content_block_start", "index": 0, "content_block": block}
    head, _, _ = STREAMS["text"].partition(b"event: content_block_start")
    decoder = MessageDecoder(HEAD)
    decoder.receive(head + b"data: " + json.dumps(start).encode() + b"\n\n")
    assert decoder.error is None
    assert decoder.result().model == "claude-haiku-4-5"


@pytest.mark.parametrize("name", sorted(STREAMS))
def test_events_are_the_callers_own(name):
    """To change an event changes neither the message nor the error's account of it."""
    data = STREAMS[name]
    decoder = MessageDecoder(HEAD)
    for i in range(0, len(data), 40):
        for event in decoder.receive(data[i : i + 40]):
            scramble(event)
    decoder.close()
    error = decoder.error and (type(decoder.error), decoder.error.args)
    _, final, expected, _, _ = outcome([data])
    assert json.dumps(decoder.result().to_dict()) == final
    assert error == expected


@pytest.mark.parametrize("name", sorted(STREAMS))
def test_events_do_not_change_later(name):
    """What was returned, as JSON or as a value, stays what it was while the stream goes on."""
    data = STREAMS[name]
    decoder = MessageDecoder(HEAD)
    seen, before = [], []
    for i in range(0, len(data), 40):
        for event in decoder.receive(data[i : i + 40]):
            item = decoder.item(copy.deepcopy(event))
            seen += [event, item, decoder.result()]
            before += [copy.deepcopy(event), copy.deepcopy(item), copy.deepcopy(decoder.result())]
    decoder.close()
    assert seen == before


@pytest.mark.parametrize("name", sorted(STREAMS))
def test_a_snapshot_disturbs_nothing(name):
    """After each event the message so far is a whole one; to change it does not change the next."""
    data = STREAMS[name]
    decoder = MessageDecoder(HEAD)
    words = ""
    for i in range(0, len(data), 40):
        if decoder.receive(data[i : i + 40]):
            snapshot = decoder.result()
            assert snapshot == decoder.result()
            assert snapshot.text.startswith(words)
            words = snapshot.text
            for block in snapshot.content:
                scramble(block.__dict__)
            scramble(snapshot.to_dict())
            scramble(snapshot.__dict__["usage"].__dict__)
    decoder.close()
    assert json.dumps(decoder.result().to_dict()) == outcome([data])[1]


def unreadable(text):
    """Give `input` and `partial_json` of a tool call whose input is this text so far."""
    return {"INVALID_JSON": text}, text


def test_snapshots_on_the_way():
    """Each shows what has come so far, and no more."""
    events = started(
        block_start(TEXT),
        delta("text_delta", text="a"),
        delta("text_delta", text="b"),
        block_stop(),
        block_start(CALL, 1),
        delta("input_json_delta", 1, partial_json='{"a'),
        delta("input_json_delta", 1, partial_json='": 1}'),
        block_stop(1),
        *END,
    )
    decoder = MessageDecoder(HEAD)
    seen = []
    for event in events:
        decoder.receive(sse([event]))
        last = decoder.result().content[-1:]
        one = last[0] if last else None
        seen.append(
            (one.input, one.partial_json) if isinstance(one, ToolUseBlock) else one and one.text
        )
    assert seen == [
        *(None, "", "a", "ab", "ab"),
        *(unreadable(""), unreadable('{"a'), unreadable('{"a": 1}'), ({"a": 1}, None)),
        *(({"a": 1}, None), ({"a": 1}, None)),
    ]


# Tool input


def calls_of(name, function):
    """Count the calls of a function by its name, while *function* runs."""
    count = 0

    def trace(frame, event, _):
        nonlocal count
        count += event == "call" and frame.f_code.co_name == name

    sys.setprofile(trace)
    try:
        function()
    finally:
        sys.setprofile(None)
    return count


def test_tool_input_is_parsed_once():
    """However many deltas it comes in, and however often one looks, its JSON is parsed once."""
    value = {"text": "x" * 500, "n": [1, 2]}
    deltas = [delta("input_json_delta", partial_json=c) for c in json.dumps(value)]
    decoder = MessageDecoder(HEAD)

    def stream():
        for event in started(block_start(CALL), *deltas, block_stop(), *END):
            decoder.receive(sse([event]))
            decoder.result()

    assert calls_of("_tool_input", stream) == 1
    assert decoder.result().tool_uses[0].input == value


NO_OBJECT = (
    *('{"a": 1', "[1]", '["ls"]', '"x"', "nul", "null", "5", '{"a":1}}', " ", '{"a":1} {"a":2}'),
    *('{"a":NaN}', '{"a":-Infinity}', '{"a":1e999}', '{"a":"x\ny"}', '{"a":"\0"}', "{'a':1}"),
    *('{"a":1,}', "{a:1}", '{"a":01}', "\ufeff{}", '{"a":%s}' % ("9" * 5000), '{"a":"wörld 🌍'),
)  # fmt: skip


@pytest.mark.parametrize(
    "block",
    [
        CALL,
        {**CALL, "type": "server_tool_use"},
        {**CALL, "type": "mcp_tool_use", "server_name": "s"},
    ],
    ids=lambda block: block["type"],
)
@pytest.mark.parametrize("cut", NO_OBJECT, ids=lambda text: text[:20])
def test_tool_input_that_is_no_object(block, cut):
    """It is `{"INVALID_JSON": text}` and says so, in every form in which it is kept or sent."""
    half = len(cut) // 2
    parts = [delta("input_json_delta", partial_json=text) for text in (cut[:half], cut[half:])]
    decoder, _ = fed([sse(started(block_start(block), *parts, block_stop(), *END))])
    final = decoder.result()
    expected = {**block, "input": {"INVALID_JSON": cut}}
    for message in (
        final,
        Message.from_dict(json.loads(json.dumps(final.to_dict()))),
        pickle.loads(pickle.dumps(final)),  # noqa: S301  # our own
        copy.deepcopy(final),
    ):
        (made,) = message.content
        assert (made.input, made.partial_json) == unreadable(cut)
        assert made.input_unreadable
        for shown in (made.to_param(), made.to_dict(), message.to_param()["content"][0]):
            assert shown == expected
        assert json.loads(dumps(made)) == expected


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("{}", {}),
        (' {"a":\n1}\n', {"a": 1}),
        ('{"a":1,"a":2}', {"a": 2}),
        (f'{{"n":{2**70}}}', {"n": 2**70}),
        ('{"INVALID":"x"}', {"INVALID": "x"}),
    ],
)
def test_tool_input_that_is_an_object(text, value):
    """It is read as the standard library reads it: of a doubled key the last counts."""
    events = started(
        block_start(CALL), delta("input_json_delta", partial_json=text), block_stop(), *END
    )
    (made,) = fed([sse(events)])[0].result().tool_uses
    assert (made.input, made.input_unreadable, made.partial_json) == (value, False, None)


def test_tool_input_that_was_cut_before_its_first_word():
    """While a call is open its input is unreadable, also in the partial message of an error."""
    decoder, _ = fed([sse(started(block_start(CALL)))])
    (block,) = decoder.result().tool_uses
    assert (block.input, block.partial_json) == unreadable("")
    assert decoder.error.partial["content"] == [{**CALL, "input": {"INVALID_JSON": ""}}]


def test_unreadable_inputs_count_against_the_limit():
    """Texts that are no JSON objects stay in memory, so they count as other texts do."""
    cut = delta("input_json_delta", partial_json="[" + "1" * 700)
    calls = [[block_start(CALL, i), {**cut, "index": i}, block_stop(i)] for i in range(9)]
    wire = sse(started(*itertools.chain(*calls), *END))
    decoder = MessageDecoder(HEAD, Limits(max_event=2000, max_response=2000))
    for i in range(0, len(wire), 100):
        decoder.receive(wire[i : i + 100])
    assert type(decoder.error) is ResponseTooLarge


def test_tool_input_in_the_transcripts():
    """The input that `max_tokens` cut is unreadable and has its text; the others were read."""
    (cut,) = fed([STREAMS["max_tokens_in_tool_input"]])[0].result().tool_uses
    assert cut.partial_json == '{"text": "half a sent'
    whole = fed([STREAMS["tool_use"]])[0].result().tool_uses
    assert [block.partial_json for block in whole] == [None, None]


def test_tool_input_that_came_at_the_start():
    """Input that is whole in the block's first event stays, if no delta says otherwise."""
    for deltas in ([], [delta("input_json_delta", partial_json="")]):
        events = started(block_start({**CALL, "input": {"a": 1}}), *deltas, block_stop(), *END)
        assert fed([sse(events)])[0].result().tool_uses[0].input == {"a": 1}


@pytest.mark.parametrize("value", [None, "", ...])
def test_a_block_that_starts_without_its_empty_field(value):
    """A start without `text`, `thinking` or `input`, or with null, is filled by the deltas."""
    call = {**CALL, "input": value}
    cases = (
        ({"type": "text", "text": value}, delta("text_delta", text="a"), "a"),
        ({"type": "thinking", "thinking": value}, delta("thinking_delta", thinking="a"), "a"),
        (call, delta("input_json_delta", partial_json='{"a":1}'), {"a": 1}),
        (call, delta("input_json_delta", partial_json=""), {}),
    )
    for block, part, filled in cases:
        key = "input" if block is call else block["type"]
        start = {k: v for k, v in block.items() if v is not ...}
        decoder, events = fed([sse(started(block_start(start), part, block_stop(), *END))])
        assert decoder.error is None
        assert decoder.result().to_dict()["content"] == [{**start, key: filled}]
        first = decoder.item(events[1]).content_block
        assert (type(first), first.to_dict()[key]) == (
            type(decoder.result().content[0]),
            {} if key == "input" else "",
        )


def test_content_of_a_start():
    """Text, thoughts, citations and a signature of a block's start come before the deltas."""
    citation = {"type": "new_location", "n": 1}
    thoughts = {"type": "thinking", "thinking": "hm", "signature": "early"}
    events = started(
        block_start(thoughts),
        delta("thinking_delta", thinking=", yes"),
        block_stop(),
        block_start({"type": "text", "text": "Hel", "citations": [citation]}, 1),
        delta("text_delta", 1, text="lo"),
        delta("citations_delta", 1, citation={**citation, "n": 2}),
        block_stop(1),
        block_start({**CALL, "input": '{"a":'}, 2),
    )
    decoder, seen = fed([sse([*events, *END])])
    assert seen[:-2] == [*events[:-1], block_start({**CALL, "input": {"INVALID_JSON": '{"a":'}}, 2)]
    assert decoder.result().to_dict()["content"] == [
        {**thoughts, "thinking": "hm, yes"},
        {"type": "text", "text": "Hello", "citations": [citation, {**citation, "n": 2}]},
        {**CALL, "input": {"INVALID_JSON": '{"a":'}},
    ]


def test_a_key_that_is_called_partial_json():
    """One that the API sends in a block is the API's, and stays."""
    block = {"type": "new_tool_use", "partial_json": "x"}
    decoder, _ = fed([sse(started(block_start(block), block_stop(), *END))])
    assert decoder.result().content[0].to_dict() == block
    assert decoder.result().content[0].partial_json == "x"


# Order, and what is lenient


def test_a_message_that_begins_with_content():
    """Blocks in `message_start` are complete, and the next one is numbered after them."""
    events = started(block_start(TEXT, 1), delta("text_delta", 1, text="b"), block_stop(1), *END)
    events[0]["message"]["content"] = [{"type": "text", "text": "a"}]
    assert fed([sse(events)])[0].result().text == "ab"
    decoder, _ = fed([sse([events[0], delta("text_delta", 0, text="x")])])
    assert "not open" in str(decoder.error)


def test_blocks_may_overlap():
    """Deltas go to the block that they name, so that open blocks may take turns."""
    events = started(
        block_start(TEXT),
        block_start(TEXT, 1),
        delta("text_delta", 1, text="b"),
        delta("text_delta", 0, text="a"),
        block_stop(1),
        block_stop(0),
        *END,
    )
    blocks = fed([sse(events)])[0].result().content
    assert [b.text for b in blocks if isinstance(b, TextBlock)] == ["a", "b"]


def test_a_block_that_is_not_stopped():
    """`message_stop` completes what is still open, tool input included."""
    events = started(
        block_start(CALL), delta("input_json_delta", partial_json='{"a":1}'), END[0], END[1]
    )
    decoder, _ = fed([sse(events)])
    assert (decoder.complete, decoder.error) == (True, None)
    assert decoder.result().tool_uses[0].input == {"a": 1}


def test_the_type_decides_not_the_name():
    """`data.type` says what an event is; a name that is missing or another changes nothing."""
    data = STREAMS["tool_use"]
    expected = outcome([data])
    unnamed = b"\n".join(x for x in data.split(b"\n") if not x.startswith(b"event:"))
    assert outcome([unnamed]) == expected
    for name in (b"message_stop", b"content_block_delta", b"error", b"x"):
        lines = [b"event: " + name if x[:6] == b"event:" else x for x in data.split(b"\n")]
        assert outcome([b"\n".join(lines)]) == expected


def test_the_name_stands_in_for_a_missing_type():
    """Where `data` has no type, or null, the event's name is its type."""
    for missing in ({}, {"type": None}):
        events = [{**e, **missing} if missing else e for e in started(*END)]
        wire = b"".join(
            b"event: %s\ndata: %s\n\n"
            % (
                named["type"].encode(),
                json.dumps({k: v for k, v in e.items() if missing or k != "type"}).encode(),
            )
            for named, e in zip(started(*END), events, strict=True)
        )
        decoder, seen = fed([wire])
        assert decoder.complete
        assert [e["type"] for e in seen] == ["message_start", "message_delta", "message_stop"]


@pytest.mark.parametrize("data", [b"{}", b'{"type": null}', b'{"type": 1}', b'{"type": NaN}'])
def test_a_name_alone_ends_no_message_that_has_no_stop_reason(data):
    """What comes after such a `message_stop` is read; after a stop reason it ends the message."""
    named = b"event: message_stop\ndata: " + data + b"\n\n"
    decoder, _ = fed([sse(started()), named, sse(END[:1])], close=False)
    assert not decoder.complete
    decoder.receive(named)
    assert decoder.complete
    assert decoder.result().stop_reason == "end_turn"


def test_what_gateways_append():
    """`[DONE]`, and anything after `message_stop`, is not looked at."""
    wire = sse(started(*END[:1])) + b"data: [DONE]\n\n" + sse(END[1:])
    for tail in (b"data: [DONE]\n\n", sse(started()), b"data: {]\n\n", b"x" * 5000):
        decoder, events = fed([wire + tail, tail], 1000)
        assert (decoder.complete, decoder.error, len(events)) == (True, None, 3)


def test_null_counts_and_nothing_else_is_skipped():
    """In `message_delta` null counts and containers keep what was, null stop reasons do not."""
    start = started()
    start[0]["message"] |= {"container": {"id": "c"}, "stop_sequence": "s"}
    change = {"stop_reason": None, "stop_sequence": None, "container": None, "new": None}
    counts = {"input_tokens": None, "output_tokens": 5, "new": None}
    events = [
        *start,
        {"type": "message_delta", "delta": change, "usage": counts, "extra": {"a": 1}},
    ]
    final = fed([sse(events)])[0].result().to_dict()
    assert final == {
        "id": "msg_1",
        "content": [],
        "model": "m",
        "stop_reason": None,
        "usage": {"input_tokens": 1, "output_tokens": 5, "new": None},
        "container": {"id": "c"},
        "stop_sequence": None,
        "new": None,
        "extra": {"a": 1},
    }


def test_begun():
    """There is something to lose from the first content on, not before."""
    decoder = MessageDecoder(HEAD)
    begun = []
    for event in started(
        {"type": "ping"}, {"type": "new"}, block_start(TEXT), delta("text_delta", text="")
    ):
        decoder.receive(sse([event]))
        begun.append(decoder.begun)
    assert begun == [False, False, False, False, True]
    for events in (
        [block_start(TEXT), block_stop()],
        END,
        END[1:],
        [block_start(TEXT), delta("x")],
    ):
        assert fed([sse(started(*events))])[0].begun
    assert not fed([sse([*started(), {"type": "error", "error": {}}])])[0].begun


@pytest.mark.parametrize(
    "events",
    [
        [block_start(TEXT)],
        [END[0]],
        [END[1]],
        [delta("text_delta", text="x")],
        [block_stop()],
        [*started(), *started()],
        started(block_start(TEXT, 1)),
        started(block_start(TEXT, -1)),
        started(block_start(TEXT), block_start(TEXT)),
        started(block_start(TEXT), delta("text_delta", 1, text="x")),
        started(block_start(TEXT), delta("text_delta", -1, text="x")),
        started(block_start(TEXT), block_stop(), delta("text_delta", text="x")),
        started(block_start(TEXT), block_stop(), block_stop()),
    ],
    ids=lambda events: json.dumps(events[-2:])[:100],
)
def test_what_is_out_of_order(events):
    """It is a typed error with what came before it, and nothing after it is taken in."""
    decoder, seen = fed([sse(events), sse(END)], close=False)
    error = decoder.error
    assert type(error) is UnexpectedResponse
    assert (error.status, error.request_id, error.organization_id) == (200, "req_head", "org_head")
    assert json.loads(error.details["body"]) == events[-1]
    assert len(seen) == len(events) - 1
    assert decoder.complete is False
    if events[0]["type"] == "message_start" and seen:
        assert error.partial["id"] == "msg_1"
        assert error.usage == {"input_tokens": 1, "output_tokens": 1}
    twin = pickle.loads(pickle.dumps(error))  # noqa: S301  # our own
    assert json.dumps(twin.args) == json.dumps(error.args)


@pytest.mark.parametrize(
    ("events", "content"),
    [
        ([block_start(TEXT, True)], [TEXT]),  # noqa: FBT003  # it equals 1
        ([block_start(TEXT, None)], [TEXT]),
        ([block_start(TEXT), delta("text_delta", None, text="x")], [{**TEXT, "text": "x"}]),
        ([block_start(TEXT), delta("text_delta", 0.0, text="x")], [{**TEXT, "text": "x"}]),
        ([block_start(TEXT), delta("text_delta", text=None)], [TEXT]),
        ([block_start(TEXT), delta("text_delta", text=5)], [TEXT]),
        ([block_start(TEXT), delta("text_delta")], [TEXT]),
        ([block_start(TEXT), delta(None, text="x")], [{**TEXT, "text": "x"}]),
        ([block_start(TEXT), delta(["text_delta"], text="x")], [{**TEXT, "text": "x"}]),
        (
            [block_start(TEXT), delta("citations_delta", citation={"type": "char_location"})],
            [{**TEXT, "citations": [{"type": "char_location"}]}],
        ),
        ([block_start(TEXT), delta("citations_delta")], [{**TEXT, "citations": [None]}]),
        (
            [block_start(TEXT), delta("signature_delta", signature="s", text=5)],
            [{**TEXT, "signature": "s"}],
        ),
        ([block_start(TEXT), delta(None)], [TEXT]),
        ([block_start(TEXT), {"type": "content_block_delta", "index": 0}], [TEXT]),
        ([block_start(TEXT), {"type": "content_block_delta", "index": 0, "delta": "x"}], [TEXT]),
        ([block_start({"text": "x"})], [{"text": "x"}]),
        ([block_start(None)], [{}]),
        ([{"type": "message_delta", "delta": None}], []),
        ([{"type": "message_delta", "delta": {}, "usage": [1]}], []),
        (
            [block_start({"type": "new", "text": 5}), delta("text_delta", text="x")],
            [{"type": "new", "text": "x"}],
        ),
    ],
    ids=json.dumps,
)
def test_events_that_lack_something(events, content):
    """What is missing, or has another type, costs nothing else, and the text goes on."""
    more = [block_start(TEXT, len(content)), delta("text_delta", len(content), text="more")]
    decoder, seen = fed([sse(started(*events, *more)), sse(END)])
    assert (decoder.error, decoder.complete) == (None, True)
    assert decoder.result().to_dict()["content"] == [*content, {**TEXT, "text": "more"}]
    assert all(decoder.item(event).to_dict() for event in seen)


@pytest.mark.parametrize(
    "start", [{}, {"message": None}, {"message": {"id": "msg_1"}}, {"message": {"content": [5]}}]
)
def test_a_start_that_lacks_something(start):
    """A message without an id or usage still has its text."""
    events = [{"type": "message_start", **start}, block_start(TEXT), delta("text_delta", text="x")]
    decoder, _ = fed([sse([*events, *END])])
    assert decoder.error is None
    assert decoder.result().text == "x"


NO_OBJECTS = (
    b"",
    b"{",
    b"<html>",
    b"null",
    b"5",
    b'"x"',
    b"[]",
    b"\xff",
    b"1e400",
)


@pytest.mark.parametrize("name", [b"content_block_delta", b"message_start", b"error", b""])
@pytest.mark.parametrize("data", NO_OBJECTS)
def test_data_that_is_no_object(name, data):
    """An event whose data is not a JSON object is a typed error that names the event."""
    decoder, _ = fed([sse(started()), b"event: " + name + b"\ndata: " + data + b"\n\n"])
    assert type(decoder.error) is UnexpectedResponse
    assert repr(name.decode()) in decoder.error.message
    assert decoder.error.partial["id"] == "msg_1"


@pytest.mark.parametrize("name", ["ping", "new"])
@pytest.mark.parametrize("data", NO_OBJECTS[1:])
def test_data_that_is_no_object_of_an_event_that_does_not_matter(name, data):
    """An event that adds nothing to the message cannot spoil it; the event has its data as text."""
    decoder, seen = fed(
        [sse(started()), f"event: {name}\ndata: ".encode() + data + b"\n\n"], close=False
    )
    assert decoder.error is None
    assert seen[-1] == {"type": name, "data": data.decode("utf-8", "replace")}


@pytest.mark.parametrize(
    ("wire", "words"),
    [
        (b'"\\ud83d \\ud83d\\ude00"', "\ufffd \U0001f600"),
        (b'"a\xffb"', "a\ufffdb"),
        (b'"a\tb"', "a\tb"),
    ],
)
def test_a_text_with_a_mistake(wire, words):
    """A surrogate without a partner, or a byte that is not UTF-8, costs one character."""
    bad = b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,'
    bad += b'"delta":{"type":"text_delta","text":' + wire + b"}}\n\n"
    decoder, _ = fed([sse(started(block_start(TEXT))), bad, sse(END)])
    assert decoder.error is None
    assert decoder.result().text == words
    assert dumps(decoder.result())


def test_an_unknown_event_without_data_is_a_heartbeat():
    """An unknown event without data is passed on by its name, and breaks nothing."""
    decoder, events = fed([sse(started()), b"event: heartbeat\ndata\n\n"], close=False)
    assert decoder.error is None
    assert events[-1] == {"type": "heartbeat"}
    assert type(decoder.item(events[-1])) is UnknownEvent


def test_nothing_at_all():
    """Without a single event there is no message, and the reason is the error."""
    for chunks in ([], [b""], [b": comment\n\n"], [sse([{"type": "ping"}])]):
        decoder, _ = fed(chunks)
        assert type(decoder.error) is StreamTruncated
        assert decoder.error.partial is None
        with pytest.raises(StreamTruncated):
            decoder.result()
    with pytest.raises(UnexpectedResponse, match="no message_start"):
        MessageDecoder(HEAD).result()


def test_what_breaks_off_is_told_what_was_known():
    """A transport's error gets the partial message, the usage and the ids of the head."""
    decoder, _ = fed([STREAMS["truncated"]], close=False)
    error = ConnectionLost("reset")
    decoder.fail(error)
    assert decoder.error is error
    assert error.partial == message(text("cut"), stop=None)
    assert (error.usage, error.request_id) == (USAGE, "req_head")
    decoder.fail(ConnectionLost("again"))
    decoder.close()
    assert decoder.error is error


def test_what_breaks_off_after_the_end():
    """Once the message is complete nothing can go wrong any more."""
    decoder, _ = fed([STREAMS["text"]])
    decoder.fail(ConnectionLost("reset"))
    assert (decoder.complete, decoder.error) == (True, None)


def test_linear_work_for_many_deltas():
    """20,000 deltas are appended, not joined one by one: each is parsed, and that is all."""
    count = 20_000
    wire = sse(started(block_start(TEXT), *[delta("text_delta", text="word ")] * count, *END))
    decoder = MessageDecoder(HEAD)
    assert calls_of("_appended", lambda: decoder.receive(wire)) == count
    assert calls_of("_block", decoder.result) == 1
    assert decoder.result().text == "word " * count


# Disorder


POOL = [event for name in sorted(STREAMS) for event in raw_events(name) if name != "truncated"]
ODD = st.sampled_from([None, True, 0, -1, 1.5, 10**30, "", "x", [], [1], {}, {"type": "x"}])


def places(value, path=()):
    """Give the paths of everything within *value*."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield (*path, key)
            yield from places(inner, (*path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield (*path, index)
            yield from places(inner, (*path, index))


def at(value, path):
    """Give what is at a path."""
    for step in path:
        value = value[step]
    return value


@st.composite
def disordered(draw):
    """Give the events of a transcript after some accidents."""
    events = copy.deepcopy(raw_events(draw(st.sampled_from(sorted(EXPECTED)))))
    for _ in range(draw(st.integers(1, 4))):
        if not events:
            break
        index = draw(st.integers(0, len(events) - 1))
        change = draw(st.sampled_from(["drop", "double", "swap", "strange", "remove", "retype"]))
        if change == "drop":
            events.pop(index)
        elif change == "double":
            events.insert(index, copy.deepcopy(events[index]))
        elif change == "swap":
            other = draw(st.integers(0, len(events) - 1))
            events[index], events[other] = events[other], events[index]
        elif change == "strange":
            events.insert(index, copy.deepcopy(draw(st.sampled_from(POOL))))
        elif spots := list(places(events[index])):
            *path, last = draw(st.sampled_from(spots))
            if change == "remove":
                del at(events[index], path)[last]
            else:
                at(events[index], path)[last] = copy.deepcopy(draw(ODD))
    return events


def endures(events, size):
    """Feed events, look at everything on the way, and let only our own errors pass."""
    wire = sse(events)
    decoder = MessageDecoder(HEAD)
    for i in range(0, len(wire), size):
        for event in decoder.receive(wire[i : i + size]):
            assert json.dumps(decoder.item(copy.deepcopy(event)).to_dict()) == json.dumps(event)
        try:
            snapshot = decoder.result()
        except ClaudeError:
            continue
        assert isinstance(snapshot, Message)
        assert isinstance(snapshot.text, str)
    decoder.close()
    assert decoder.complete is (decoder.error is None)
    if decoder.error is not None:
        assert isinstance(decoder.error, ClaudeError)
        assert decoder.error.request_id
        again = type(decoder.error)(*json.loads(json.dumps(decoder.error.args)))
        assert again.args == decoder.error.args
        return
    final = decoder.result()
    assert structure(final.to_dict(), Message) == final
    assert loads(dumps(final)) == final.to_param()


@given(disordered(), st.integers(20, 2000))
@settings(deadline=None, max_examples=250)
def test_any_disorder(events, size):
    """Dropped, doubled, swapped, foreign or hollow events end in a message or in our error."""
    endures(events, size)


@given(st.lists(st.sampled_from(POOL), max_size=12), st.integers(20, 2000))
@settings(deadline=None, max_examples=150)
def test_any_order(events, size):
    """Valid events in any order end in a message or in one of our errors."""
    endures(copy.deepcopy(events), size)


@given(st.lists(st.binary(max_size=20) | st.sampled_from(list(STREAMS.values())), max_size=6))
@settings(deadline=None, max_examples=100)
def test_any_bytes(chunks):
    """Any bytes, between and within streams, end in a message or in one of our errors."""
    decoder, _ = fed(chunks, 4000)
    assert decoder.complete or isinstance(decoder.error, ClaudeError)


def test_every_event_class_is_streamed():
    """The recorded streams have an event of every class that there is."""
    kinds = {cls.__name__ for cls in Event.__subclasses__()}
    seen = set()
    for data in STREAMS.values():
        decoder, events = fed([data])
        seen |= {type(decoder.item(event)).__name__ for event in events}
    assert seen == kinds


@pytest.mark.parametrize("more", [{}, {"new": 1}], ids=["unnamed", "with more in it"])
@pytest.mark.slow
def test_a_long_text_is_no_matter_of_values(more):
    """A delta counts by its text, also without an event name or with a field that is new."""
    lines = [
        {**one, **more}
        for one in started(block_start(TEXT), *[delta("text_delta", text="x")] * 70_000, *END)
    ]
    wire = b"".join(b"data: " + json.dumps(one).encode() + b"\n\n" for one in lines)
    decoder, _ = fed([wire], close=False)
    assert decoder.error is None
    assert len(decoder.result().text) == 70_000
