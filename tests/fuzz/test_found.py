"""What fuzzing has found, by hand: the smallest case of each bug, so that it stays fixed."""

import json
from pathlib import Path

import pytest

from claude_lite.api.batches import BatchEntry
from claude_lite.api.bodies import LinesDecoder
from claude_lite.api.completions import ChatCompletion, ChatDecoder, CompletionDecoder
from claude_lite.api.models import ListModels
from claude_lite.core.responses import error_from_response
from claude_lite.errors import (
    ClaudeError,
    ConnectionLost,
    ResponseTooLarge,
    UnexpectedResponse,
    UsageError,
)
from claude_lite.wire import Limits, RateLimits, Response
from claude_lite_transports.recording.cassette import load_cassette
from claude_lite_transports.shared.http1 import ReplyParser

HEAD = Response(200, {"request-id": "req_1"})


@pytest.mark.parametrize("data", ["", {}, "x", None, 5])
def test_a_page_whose_data_is_no_list(data):
    """Even an empty text or object is no empty page."""
    body = json.dumps({"data": data, "has_more": False}).encode()
    with pytest.raises(UnexpectedResponse, match="a page of the wrong shape"):
        ListModels().parse(Response(200, {}, body))


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_a_line_past_the_limit_however_it_is_cut(size):
    """The limit of a line holds in the middle of a chunk as well, after the lines before it."""
    good = b'{"custom_id": "a", "result": {"type": "expired"}}\n'
    data = good + b" " * 100 + good + good
    decoder = LinesDecoder(HEAD, BatchEntry, Limits(max_event=100))
    found = [
        item for i in range(0, len(data), size) for item in decoder.receive(data[i : i + size])
    ]
    assert [item["custom_id"] for item in found] == ["a"]
    assert type(decoder.error) is ResponseTooLarge


def chat(*choices):
    """Give the decoder of a chat completion that has come to its end."""
    decoder = ChatDecoder(HEAD)
    pieces = [{"id": "c", "model": "m", "choices": choice} for choice in choices]
    decoder.receive(b"".join(b"data: %b\n\n" % json.dumps(piece).encode() for piece in pieces))
    decoder.receive(b"data: [DONE]\n\n")
    return decoder


@pytest.mark.parametrize(
    "choices",
    [
        *(5, ["x"], [None], [{"delta": "x"}], [{"delta": {"content": [5]}}]),
        *([{"delta": {"tool_calls": call}}] for call in (5, [None], [{"function": "x"}])),
        *([{"delta": {"tool_calls": [{"index": index}, {}]}}] for index in ("x", [5])),
    ],
)
def test_a_chat_out_of_shape(choices):
    """It is our error, not Python's."""
    with pytest.raises(UnexpectedResponse, match="the chat completion has an unexpected shape"):
        chat(choices).result()


def test_a_chat_with_a_huge_index():
    """The index of a tool's call is a name for it, not a number of places to keep."""
    call = {"index": 10**12, "id": "t", "function": {"name": "n", "arguments": "{}"}}
    first = {**call, "index": 3, "id": "s"}
    final = chat([{"delta": {"tool_calls": [call]}}], [{"delta": {"tool_calls": [first]}}]).result()
    assert [each["id"] for each in final.choices[0]["message"]["tool_calls"]] == ["s", "t"]


@pytest.mark.parametrize("choices", [[], ["x"], [{}], [{"message": 5}], [{"delta": []}]])
def test_a_chat_without_text(choices):
    """The text of what has none is empty."""
    assert ChatCompletion(id="c", model="m", choices=choices).text == ""


def test_what_comes_after_the_end_of_a_completion():
    """Past its end a stream cannot fail any more, wherever it is cut."""
    last = b'data: {"id": "c", "completion": "x", "model": "m", "stop_reason": "end"}\n\n'
    decoder = CompletionDecoder(HEAD, Limits(max_event=100))
    decoder.receive(last + b"data: " + b"x" * 200)
    assert (decoder.complete, decoder.error) == (True, None)


def test_details_of_an_error_that_are_named_like_ours():
    """What the server puts there does not break what reads ours."""
    ours = {"rate_limits": {"anthropic-ratelimit-tokens-limit": []}, "should_retry": "no"}
    details = {**ours, "usage": 5, "partial": [], "workspace_id": {}}
    for given in (details, {"rate_limits": "x"}):
        body = json.dumps({"error": {"type": "api_error", "details": given}}).encode()
        error = error_from_response(Response(500, {}, body), body)
        assert isinstance(error.rate_limits, RateLimits)
        found = (error.partial, error.usage, error.workspace_id, error.should_retry)
        assert found == (None, None, None, None)
        assert error.details == given


@pytest.mark.parametrize(
    "data",
    [
        *({"error": "ConnectionLost", "message": {}}, {"status": "529"}),
        *({"details": []}, {"retry_after": "7"}, {"error": "TimedOut", "phase": 5}),
    ],
)
def test_what_is_no_error(data):
    """`from_dict` takes what `to_dict` gives, and says so where a field is something else."""
    with pytest.raises(UsageError, match="not the JSON of an error"):
        ClaudeError.from_dict(data)


def test_an_error_of_no_name():
    """It is a plain one, as is one of a name that is not known."""
    assert type(ClaudeError.from_dict({"error": {}, "message": "m"})) is ClaudeError


def test_an_error_with_nulls():
    """Fields that are null are fields that were not given."""
    assert ClaudeError.from_dict({"error": "ConnectionLost", "attempts": None}).attempts == 0
    assert type(ClaudeError.from_dict({"error": "ConnectionLost"})) is ConnectionLost


ASKED = {"method": "GET", "url": "/v1/models"}
ANSWERED = {"status": 200, "headers": {}}


@pytest.mark.parametrize(
    "item",
    [
        {"request": {**ASKED, "headers": 5}, "response": ANSWERED},
        {"request": {**ASKED, "headers": {"accept": 5}}, "response": ANSWERED},
        {"request": {"method": ["GET"], "url": ["/"]}, "response": ANSWERED},
        {"request": {**ASKED, "multipart": [5]}, "response": ANSWERED},
        {"request": ASKED, "response": {**ANSWERED, "headers": {"date": {}}}},
        {"request": ASKED, "response": {**ANSWERED, "delays_ms": [None]}},
        {"request": ASKED, "response": ANSWERED, "error": "x"},
        {"request": ASKED, "response": ANSWERED, "error": []},
        {"request": ASKED, "error": {"error": "ConnectionLost", "message": []}},
        {"request": ASKED, "response": {**ANSWERED, "json": json.loads("[" * 200 + "]" * 200)}},
    ],
)
def test_a_recording_out_of_shape(tmp_path, item):
    """It is a `UsageError` when it is read, and no other error when it is used."""
    path = Path(tmp_path, "x.json")
    path.write_text(json.dumps({"version": 1, "interactions": [item]}))
    with pytest.raises(UsageError, match="is not a recording"):
        load_cassette(path)


def test_a_recording_that_has_no_bottom(tmp_path):
    """What is nested too deep to be read is no recording, either."""
    path = Path(tmp_path, "x.json")
    path.write_text("[" * 100_000)
    with pytest.raises(UsageError, match="is not a recording"):
        load_cassette(path)


@pytest.mark.parametrize("line", [b" ", b"\t", b" content-length: 0", b" x"])
def test_a_line_that_is_folded_to_the_status(line):
    """White space before the first header is no header, and no part of the status: malformed."""
    reply = ReplyParser("GET")
    reply.receive(b"HTTP/1.1 200 OK\r\n" + line + b"\r\nA: b\r\n\r\nbody")
    with pytest.raises(UnexpectedResponse, match="malformed"):
        reply.has_head()
