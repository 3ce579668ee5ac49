"""Any one field of any answer may be missing, null or of another type: the rest is still read.

Every sample is taken with each of its fields changed, at every depth.
"""

import copy
import functools
import json
import pickle
from inspect import getattr_static

import attrs
import pytest
from operations_table import class_of
from places import API, SAMPLES

from claude_lite import Message, Response
from claude_lite.api.batches import BatchEntry
from claude_lite.api.bodies import LinesDecoder
from claude_lite.api.messages.decoder import MessageDecoder
from claude_lite.api.messages.operations import text_of
from claude_lite.core.json_text import dumps
from claude_lite.core.model import Model
from claude_lite.core.sse import SSEDecoder
from claude_lite.core.structure import StructureError, structure
from claude_lite.errors import ClaudeError, UnexpectedResponse

INDEX = json.loads((API / "samples" / "index.json").read_text())["samples"]
ANSWERS = {
    one["file"]: one["op"]
    for one in INDEX
    if one["file"].startswith("responses/") and one.get("format", "json") == "json"
}
STREAMS = sorted((SAMPLES / "streams").glob("*.sse"))
HEAD = Response(200, {"request-id": "req_1"})
WRONG = (..., None, "x", 7, True, [], {}, ["x"], {"new": 1})
UNCHECKED = {"exception", "next", "received"}  # an error, an operation, and the model itself
# Without these the answer is no answer: the path of the field.
NEEDED = {("content",), ("data",), ("input_tokens",), ("completion",), ("choices",)}


def paths(value, path=()):
    """Give the path of each field and item, at every depth."""
    inner = value.items() if isinstance(value, dict) else enumerate(value)
    for key, item in inner:
        yield (*path, key)
        if isinstance(item, (dict, list)):
            yield from paths(item, (*path, key))


def changed(data, path, value):
    """Copy *data* with *value* at *path*; `...` removes the field."""
    data = copy.deepcopy(data)
    node = data
    for key in path[:-1]:
        node = node[key]
    if value is ...:
        del node[path[-1]]
    else:
        node[path[-1]] = value
    return data


def every_change(data):
    """Give each path, and *data* with another value there."""
    for path in paths(data):
        for value in WRONG:
            yield path, value, changed(data, path, value)


@functools.cache
def readable(cls):
    """List the declared fields and the properties of a class."""
    names = {one.name for one in attrs.fields(cls)}
    names |= {name for name in dir(cls) if isinstance(getattr_static(cls, name), property)}
    return names - UNCHECKED


def read_everything(value):
    """Read each declared field of each model within *value*, and each property."""
    if isinstance(value, list):
        for item in value:
            read_everything(item)
    if isinstance(value, Model):
        for name in readable(type(value)):
            read_everything(getattr(value, name))


def survives(made, data):
    """Check that a model is *data*, also as a pickle and in a request."""
    assert json.dumps(made.to_dict()) == json.dumps(data)
    read_everything(made)
    repr(made)
    twin = pickle.loads(pickle.dumps(made))  # noqa: S301  # our own
    assert twin == made
    read_everything(twin)
    assert json.dumps(twin.to_dict()) == json.dumps(data)


@pytest.mark.parametrize("file", ANSWERS)
def test_an_answer_with_one_field_off(file):
    """It is read, and nothing of it is lost. Without what makes it an answer it is an error."""
    cls = class_of(ANSWERS[file])
    operation = object.__new__(cls)
    data = json.loads((API / "samples" / file).read_bytes())
    for path, value, odd in every_change(data):
        body = json.dumps(odd).encode()
        is_text = isinstance(odd, dict) and isinstance(odd.get("content"), str)
        if path in NEEDED and type(value) is not type(data[path[0]]) and not is_text:
            with pytest.raises(UnexpectedResponse) as caught:
                operation.parse(Response(200, {}, body))
            assert json.loads(caught.value.details["body"]) == odd
            continue
        made = operation.parse(Response(200, {}, body))
        survives(made, odd)
        if is_text:  # as some gateways send it
            assert made.text == odd["content"]
            assert made.to_param()["content"] == [{"type": "text", "text": odd["content"]}]
        elif isinstance(made, Message):
            texts = [b.get("text") for b in odd["content"] if isinstance(b, dict)]
            assert all(
                text in made.text for text in texts if text != "x" and isinstance(text, str)
            ) or (path[-1] in {"type", "text"})
            param = json.loads(dumps(made.to_param()))
            assert param["content"] == odd["content"]


def test_a_line_of_results_with_one_field_off():
    """It is an entry, which has the JSON of the line; the other lines are read as ever."""
    text = (SAMPLES / "responses" / "messages.batches.results.jsonl").read_bytes()
    for line in text.rstrip().split(b"\n"):
        for _, _, odd in every_change(json.loads(line)):
            decoder = LinesDecoder(HEAD, BatchEntry)
            body = line + b"\n" + json.dumps(odd).encode() + b"\n" + line + b"\n"
            entries = [decoder.item(raw) for raw in decoder.receive(body) + decoder.close()]
            assert (decoder.error, decoder.complete, len(entries)) == (None, True, 3)
            survives(entries[1], odd)
            assert isinstance(entries[1].custom_id, str)
            assert entries[0] == entries[2] == structure(json.loads(line), BatchEntry)


def decoded(events):
    """Decode a stream of *events*; give the decoder, and the text of `text_stream`."""
    decoder = MessageDecoder(HEAD)
    body = b"".join(b"event: %b\ndata: %b\n\n" % (n, json.dumps(e).encode()) for n, e in events)
    raw = decoder.receive(body) + decoder.close()
    text = "".join(filter(None, map(text_of, raw)))
    for event in raw:
        item = decoder.item(event)
        read_everything(item)
    return decoder, text


@pytest.mark.parametrize("file", STREAMS, ids=lambda path: path.stem)
@pytest.mark.slow
def test_a_stream_with_one_field_off(file):
    """The message is read to its end, and its text is that of the deltas."""
    wire = SSEDecoder().receive(file.read_bytes())
    events = [(name.encode(), json.loads(data)) for name, data in wire]
    whole, _ = decoded(events)
    if whole.error is not None:
        return
    expected = whole.result()
    for number, (name, data) in enumerate(events):
        for path, value, odd in every_change(data):
            if isinstance(value, str) and path[-1] == "type":
                continue  # another type that fits
            if value == 7 and path == ("index",):
                continue  # out of order
            decoder, text = decoded([*events[:number], (name, odd), *events[number + 1 :]])
            assert decoder.error is None, (name, path, value)
            message = decoder.result()
            survives(message, message.to_dict())
            assert message.text == text
            if path[-1] not in {"text", "delta", "content_block", "message", "content", "type"}:
                assert message.text == expected.text, (name, path, value)


def test_an_error_holds_what_was_understood():
    """An answer that is refused is in the error, as text; a stream's has the message so far."""
    with pytest.raises(
        StructureError, match=r"^Message: missing or of a wrong type: content, model, usage$"
    ):
        structure({"id": "msg_1", "choices": [{"text": "paid"}]}, Message)
    decoder = MessageDecoder(HEAD)
    start = {"type": "message_start", "message": {"id": "msg_1", "content": []}}
    decoder.receive(b"event: message_start\ndata: %b\n\n" % json.dumps(start).encode())
    decoder.receive(b"event: content_block_delta\ndata: <html>paid</html>\n\n")
    assert isinstance(decoder.error, ClaudeError)
    assert decoder.error.details["body"] == "<html>paid</html>"
    assert decoder.error.partial["id"] == "msg_1"
