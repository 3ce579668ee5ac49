"""Reading a file of requests: what is a request, and what is said of lines that are none."""

import orjson
import pytest

from claude_lite import ClaudeError, CreateMessage, StreamMessage, UsageError
from claude_lite.bulk import Item
from claude_lite.bulk.requests_file import operation_from, read_requests
from claude_lite.core.config import Config

PARAMS = {
    "model": "claude-sonnet-5-5",
    "max_tokens": 64,
    "messages": [{"role": "user", "content": "Grüße 🙏"}],
}
CONFIG = Config(api_key="canary", base_url="http://file.test")


def line(custom_id="a", params=PARAMS, **more):
    """Make a line."""
    return orjson.dumps({"custom_id": custom_id, "params": params, **more}) + b"\n"


def sent(op):
    """Give the body that an operation sends."""
    return orjson.loads(op.build(CONFIG.target).body)


def complaint(text):
    """Read one bad line, and give its outcome's id and message."""
    (outcome,) = read_requests([text])
    assert isinstance(outcome.result, UsageError)
    assert (outcome.line, outcome.attempts) == (1, 0)
    return outcome.custom_id, outcome.result.message


def test_a_line_becomes_a_request():
    """The params are sent as they are."""
    (item,) = read_requests([line("ticket-17")])
    assert (item.line, item.custom_id, type(item.operation)) == (1, "ticket-17", CreateMessage)
    assert sent(item.operation) == PARAMS


def test_every_field_arrives_whether_it_is_known_or_not():
    """Unknown fields and nulls of the params are in the body, too; nothing is renamed."""
    params = {**PARAMS, "brand_new": {"x": [1]}, "container": None, "temperature": 0.5}
    assert sent(operation_from(params)) == params


@pytest.mark.parametrize("name", ["extra_body", "extra_headers", "betas", "collect", "retry"])
def test_names_of_this_library_are_not_special_in_params(name):
    """A param cannot change how the request is made: it is sent, for the API to refuse."""
    params = {**PARAMS, name: {"x-api-key": "other"}}
    request = operation_from(params).build(CONFIG.target)
    assert orjson.loads(request.body) == params
    assert request.headers["x-api-key"] == "canary"


@pytest.mark.parametrize(
    ("given", "option", "cls"),
    [
        ({}, False, CreateMessage),
        ({"stream": False}, False, CreateMessage),
        ({"stream": True}, False, StreamMessage),
        ({}, True, StreamMessage),
        ({"stream": False}, True, StreamMessage),
    ],
)
def test_streams_where_it_is_asked_for(given, option, cls):
    """A request is streamed if its params or the option say so."""
    op = operation_from({**PARAMS, **given}, stream=option)
    assert type(op) is cls
    assert sent(op).get("stream", False) is (cls is StreamMessage)


def test_empty_lines_a_byte_order_mark_and_a_last_line_without_end():
    """What editors and other systems leave in files is no reason to complain."""
    lines = [b"\xef\xbb\xbf" + line("a"), b"\n", b"  \r\n", line("b").strip()]
    assert [(item.line, item.custom_id) for item in read_requests(lines)] == [(1, "a"), (4, "b")]


def test_lines_are_read_as_they_are_asked_for():
    """Nothing is read ahead."""
    lines = iter([line("a"), line("b"), line("c")])
    reader = read_requests(lines)
    next(reader)
    assert next(lines) == line("b")


@pytest.mark.parametrize(
    ("text", "custom_id", "message"),
    [
        (b"{", None, "line 1: the text is not JSON ("),
        (b'{"custom_id": NaN}', None, "line 1: the text is not JSON ("),
        (b'{"custom_id": "\xff"}', None, "line 1: the text is not JSON ("),
        (b"[1]", None, "line 1: a request has to be a JSON object, not [1]"),
        (b"null", None, "line 1: a request has to be a JSON object, not null"),
        (b'{"params": {}}', None, "line 1: custom_id is missing"),
        (line(7), None, "line 1: custom_id has to be 1 to 64 characters of "),
        (line(""), "", "line 1: custom_id has to be "),
        (line("a b"), "a b", "line 1: custom_id has to be "),
        (line("a\n"), "a\n", "line 1: custom_id has to be "),
        (line("é"), "é", "line 1: custom_id has to be "),
        (line("x" * 65), "x" * 65, "line 1: custom_id has to be "),
        (b'{"custom_id": "a"}', "a", "line 1: params has to be a JSON object, not null"),
        (line(params=[1]), "a", "line 1: params has to be a JSON object, not [1]"),
        (line(params={}), "a", "line 1: params.model is missing"),
        (line(params=PARAMS | {"model": 5}), "a", "line 1: params.model has to be a model's name"),
        (line(params=PARAMS | {"max_tokens": True}), "a", "line 1: params.max_tokens has to be a "),
        (line(params=PARAMS | {"max_tokens": "9"}), "a", "line 1: params.max_tokens has to be a "),
        (line(params=PARAMS | {"max_tokens": 1.5}), "a", "line 1: params.max_tokens has to be a "),
        (line(params=PARAMS | {"messages": "Hi"}), "a", "line 1: params.messages has to be a list"),
        (line(params=PARAMS | {"messages": None}), "a", "line 1: params.messages has to be a list"),
        (line(params=PARAMS | {"stream": "yes"}), "a", "line 1: params.stream has to be true or "),
    ],
)
def test_a_bad_line_is_an_outcome_that_says_what_is_wrong(text, custom_id, message):
    """The line's number, what was wanted, and what was there instead."""
    found, said = complaint(text)
    assert found == custom_id
    assert said.startswith(message)


def test_a_bad_line_does_not_stop_the_others():
    """What comes before and after is read."""
    found = list(read_requests([line("a"), b"{\n", line("b"), b"7\n", line("c")]))
    names = [item.custom_id for item in found if isinstance(item, Item)]
    assert names == ["a", "b", "c"]
    assert [item.line for item in found] == [1, 2, 3, 4, 5]


def test_of_two_lines_of_one_name_the_second_is_bad():
    """The second outcome has no custom_id: under that name there is one answer only."""
    first, second, third = read_requests([line("a"), line("a"), line("b")])
    assert (first.custom_id, second.custom_id, third.custom_id) == ("a", None, "b")
    assert second.result.message == "line 2: custom_id 'a' is already used in line 1"


def test_the_longest_name_is_good():
    """64 characters are allowed."""
    (item,) = read_requests([line("Az09_-" + "x" * 58)])
    assert isinstance(item, Item)


def test_complaints_are_short_and_of_plain_characters():
    """A huge or hostile value is neither repeated whole nor sent to a terminal as it is."""
    _, said = complaint(line(params="\x1b[2J" * 10_000))
    assert len(said) < 200
    assert "\x1b" not in said


def test_large_integers_keep_their_digits():
    """A number past 64 bits arrives as it was written."""
    text = line().replace(b'"max_tokens":64', b'"max_tokens":64,"seed":123456789012345678901234')
    (item,) = read_requests([text])
    assert b'"seed":123456789012345678901234' in item.operation.build(CONFIG.target).body


def test_a_bad_lines_error_can_be_rebuilt():
    """Its error is plain data like any other."""
    (outcome,) = read_requests([b"{"])
    data = outcome.to_dict()["result"]["error"]
    assert type(ClaudeError.from_dict(data)) is UsageError
