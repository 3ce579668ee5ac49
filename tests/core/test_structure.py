"""JSON to models and back: nothing is lost, and what does not fit costs nothing else."""

import copy
import datetime as dt
import enum
import json
import math
import os
import pickle
import subprocess
import sys
from array import array
from collections import OrderedDict, UserDict, UserList, deque
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from places import SAMPLES

import claude_lite
from claude_lite.api.messages import content, events
from claude_lite.api.messages import message as models
from claude_lite.api.messages.content import Citation, ContentBlock, ToolUseBlock
from claude_lite.api.messages.events import Delta, Event
from claude_lite.api.messages.message import Message, TokenCount, Usage
from claude_lite.core.json_text import MAX_DEPTH, SHORT, TooDeep, dumps, loads, loads_reply
from claude_lite.core.model import Model, model
from claude_lite.core.structure import StructureError, converter, reader_for, structure, unstructure
from claude_lite.errors import UsageError

MESSAGES = sorted(p.name for p in (SAMPLES / "responses").glob("*messages.create*.json"))
COUNTS = sorted(p.name for p in (SAMPLES / "responses").glob("*messages.count_tokens*.json"))
TYPED = [(name, Message) for name in MESSAGES] + [(name, TokenCount) for name in COUNTS]
HUGE = [2**63, 2**64 - 1, 2**64, 2**64 + 1, -(2**63), -(2**63) - 1, 10**30, -(10**30)]

CITED = {"cited_text": "c", "document_index": 0, "type": "char_location"}
CHAR = {**CITED, "start_char_index": 0, "end_char_index": 1}
TEXT = {"type": "text", "text": "t"}
CALL = {"id": "toolu_1", "name": "n", "input": {}}
USAGE = {"input_tokens": 1, "output_tokens": 2}
MESSAGE = {"id": "msg_1", "content": [TEXT], "model": "m", "usage": USAGE, "type": "message"}
DELTA = {"type": "text_delta", "text": "t"}
PAGE = {"cited_text": "c", "document_index": 0, "start_page_number": 1, "end_page_number": 2}
BLOCKS = {"start_block_index": 0, "end_block_index": 1}

# The least that each class takes.
LEAST = {
    "CacheCreation": {},
    "CharLocation": CHAR,
    "CitationsDelta": {"type": "citations_delta", "citation": CHAR},
    "CompactionBlock": {"type": "compaction"},
    "CompactionDelta": {"type": "compaction_delta"},
    "Container": {"id": "container_1"},
    "ContainerUploadBlock": {"type": "container_upload", "file_id": "file_1"},
    "ContentBlockDeltaEvent": {"type": "content_block_delta", "index": 0, "delta": DELTA},
    "ContentBlockLocation": {
        "type": "content_block_location",
        "cited_text": "c",
        "document_index": 0,
        **BLOCKS,
    },
    "ContentBlockStartEvent": {"type": "content_block_start", "index": 0, "content_block": TEXT},
    "ContentBlockStopEvent": {"type": "content_block_stop", "index": 0},
    "FallbackBlock": {"type": "fallback", "to": {}, "trigger": {}},
    "InputJSONDelta": {"type": "input_json_delta", "partial_json": ""},
    "MCPToolResultBlock": {"type": "mcp_tool_result", "tool_use_id": "m", "content": None},
    "MCPToolListingBlock": {"type": "mcp_tool_listing", "mcp_server_name": "s", "tools": []},
    "MCPToolUseBlock": {"type": "mcp_tool_use", "server_name": "s", **CALL},
    "Message": MESSAGE,
    "MessageDeltaEvent": {"type": "message_delta", "delta": {}},
    "MessageStartEvent": {"type": "message_start", "message": MESSAGE},
    "MessageStopEvent": {"type": "message_stop"},
    "PageLocation": {"type": "page_location", **PAGE},
    "PingEvent": {"type": "ping"},
    "RedactedThinkingBlock": {"type": "redacted_thinking", "data": "d"},
    "SearchResultLocation": {
        "type": "search_result_location",
        "cited_text": "c",
        "source": "s",
        "search_result_index": 0,
        **BLOCKS,
    },
    "ServerToolResultBlock": {
        "type": "web_search_tool_result",
        "tool_use_id": "srv_1",
        "content": None,
    },
    "ServerToolUseBlock": {"type": "server_tool_use", **CALL},
    "SignatureDelta": {"type": "signature_delta", "signature": "s"},
    "StopDetails": {},
    "TextBlock": TEXT,
    "TextDelta": DELTA,
    "ThinkingBlock": {"type": "thinking", "thinking": "t"},
    "ThinkingDelta": {"type": "thinking_delta", "thinking": "t"},
    "TokenCount": {"input_tokens": 1},
    "ToolUseBlock": {"type": "tool_use", **CALL},
    "UnknownBlock": {"type": "hologram"},
    "UnknownCitation": {"type": "hologram"},
    "UnknownDelta": {"type": "hologram"},
    "UnknownEvent": {"type": "hologram"},
    "Usage": USAGE,
    "WebSearchResultLocation": {
        "type": "web_search_result_location",
        "cited_text": "c",
        "url": "u",
        "encrypted_index": "e",
    },
}
FAMILIES = (Citation, ContentBlock, Delta, Event)
NO_FIELDS = {"Model", "Result", *(cls.__name__ for cls in FAMILIES)}


def required():
    """Give each required field of each model, with what is of the wrong type for it."""
    odd = [None, "x", 7, 1.5, True, [], {}]
    for name, least in LEAST.items():
        for field in attrs.fields(getattr(claude_lite, name)):
            if field.default is not attrs.NOTHING:
                continue
            right = type(least[field.name])
            free = right is type(None)  # any JSON, but it has to be there
            wrong = [] if free else [value for value in odd if type(value) is not right]
            yield from ((name, field.name, value) for value in [..., *wrong])


def without(least, field, value):
    """Put *value* where *field* was, or nothing."""
    rest = {k: v for k, v in least.items() if k != field}
    return rest if value is ... else {**rest, field: value}


def family(cls):
    """Give the family of a class, or itself."""
    return next((base for base in FAMILIES if issubclass(cls, base)), cls)


def sample(name):
    """Read a recorded response."""
    return loads((SAMPLES / "responses" / name).read_bytes())


def ordered(value):
    """Give JSON in a form that tells the order of keys, and 1 from 1.0 and true."""
    return json.dumps(value)


def nest(depth, opening=b"[", closing=b"]"):
    """Give JSON text of that depth."""
    return opening * depth + closing * depth


# The law


@pytest.mark.parametrize(("name", "cls"), TYPED, ids=lambda x: x if isinstance(x, str) else "")
def test_a_sample_comes_back(name, cls):
    """What the API sent is what `unstructure` and `to_dict` give, in the same order of keys."""
    data = sample(name)
    made = structure(copy.deepcopy(data), cls)
    assert type(made) is cls
    assert ordered(unstructure(made)) == ordered(data)
    assert ordered(made.to_dict()) == ordered(data)
    assert ordered(unstructure([made, made])) == ordered([data, data])


@pytest.mark.parametrize("name", sorted(LEAST))
def test_the_least_comes_back(name):
    """Every class reads the least that it takes, by itself and by its family, and adds nothing."""
    cls = getattr(claude_lite, name)
    for asked in {cls, family(cls)}:
        made = structure(copy.deepcopy(LEAST[name]), asked)
        assert type(made) is cls
        assert ordered(unstructure(made)) == ordered(LEAST[name])


def test_every_class_has_a_least():
    """No model goes untested."""
    assert (
        set(LEAST)
        == {*content.__all__, *events.__all__, *models.__all__, "Model", "Result"} - NO_FIELDS
    )


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from(HUGE)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
)
JSON = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3)
    ),
    max_leaves=6,
)
KEYS = st.text(max_size=6).map("x_".__add__) | st.sampled_from(
    [
        "to_dict",
        "text",
        "response",
        "received",
        "_response",
        "__class__",
        "__dict__",
        "_partial_json",
    ]
)
TYPES = st.text(max_size=6).map("new_".__add__)
ENUMS = ("stop_reason", "service_tier", "speed", "role", "inference_geo", "category", "model")


def objects(value):
    """Give every object within *value*, at whatever depth."""
    if isinstance(value, dict):
        yield value
        for inner in value.values():
            yield from objects(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from objects(inner)


@st.composite
def mutated(draw):
    """Give a recorded message or count as a newer API might send it, and its class."""
    name, cls = draw(st.sampled_from(TYPED))
    data = sample(name)
    for _ in range(draw(st.integers(1, 5))):
        target = draw(st.sampled_from(list(objects(data))))
        change = draw(st.sampled_from(["key", "null", "enum", "block", "citation", "reorder"]))
        if change in {"key", "null"}:
            target.setdefault(draw(KEYS), None if change == "null" else draw(JSON))
        elif change == "enum":
            target.update({k: draw(st.text()) for k in ENUMS if isinstance(target.get(k), str)})
        elif change == "reorder":
            target.update({k: target.pop(k) for k in draw(st.permutations(list(target)))})
        elif change == "block" and "content" in data:
            data["content"].append({"type": draw(TYPES), **draw(st.dictionaries(KEYS, JSON))})
        elif change == "citation" and target.get("type") == "text":
            new = {"type": draw(TYPES), **draw(st.dictionaries(KEYS, JSON))}
            target["citations"] = [*(target.get("citations") or []), new]
    return data, cls


@given(mutated())
@settings(deadline=None, max_examples=200)
def test_nothing_that_is_new_is_lost(case):
    """Unknown keys, blocks, citations, values and nulls come back as they came, at any depth."""
    data, cls = case
    made = structure(loads(json.dumps(data).encode()), cls)
    assert ordered(unstructure(made)) == ordered(data)
    assert structure(made.to_dict(), cls) == made
    if cls is Message:
        blocks = made.to_param()["content"]
        assert ordered(blocks) == ordered(data["content"])
        assert loads(dumps(made.to_param())) == {"role": data["role"], "content": data["content"]}


@pytest.mark.parametrize("base", FAMILIES)
def test_an_unknown_type_is_unknown(base):
    """What has a type that no member has becomes the unknown member, with its fields."""
    data = {"type": "from_the_future", "text": "t", "content": [], "input": {"n": 10**30}}
    made = structure(copy.deepcopy(data), base)
    assert type(made).__name__.startswith("Unknown")
    assert (made.type, made.kind, made.text) == ("unknown", "from_the_future", "t")
    assert ordered(made.to_dict()) == ordered(data)


def test_every_type_is_one_members():
    """No two classes of a family claim the same type, and each family has one for the rest."""
    for base in FAMILIES:
        tags = [tag for cls in base.__subclasses__() for tag in cls.TAGS]
        assert len(tags) == len(set(tags))
        assert len([cls for cls in base.__subclasses__() if not cls.TAGS]) == 1


# What does not fit


def empty(name, field):
    """Give the value that a required field has if the JSON has none that fits."""
    kinds = {type(None): None, dict: {}, list: [], str: "", int: 0}
    if (name, field) == ("Message", "usage"):
        return structure({}, Usage)
    return kinds[type(LEAST[name][field])]


@pytest.mark.parametrize(("name", "field", "value"), list(required()))
def test_a_member_of_a_family_that_does_not_fit(name, field, value):
    """It becomes the unknown member of its family, which has its type as `kind`, and its JSON."""
    cls = getattr(claude_lite, name)
    if family(cls) is cls:
        return
    hollow = without(LEAST[name], field, value)
    made = structure(copy.deepcopy(hollow), family(cls))
    nested = field in {"citation", "content_block", "delta"} and name != "MessageDeltaEvent"
    if nested and value is not ...:
        made = getattr(made, field)  # any JSON has a member in its own family
        hollow = value
        assert made.kind == ""
    elif value is ... and type(made) is cls:
        assert (name, field) in {
            ("MCPToolResultBlock", "content"),
            ("ServerToolResultBlock", "content"),
        }
        assert getattr(made, field) is None
        return
    elif type(made) is cls:  # numbers are numbers
        assert (type(LEAST[name][field]), value) == (int, 1.5)
        return
    else:
        assert made.kind == (hollow["type"] if isinstance(hollow.get("type"), str) else "")
    assert type(made).__name__.startswith("Unknown")
    assert made.type == "unknown"
    assert ordered(made.to_dict()) == ordered(made.to_param()) == ordered(hollow)
    for twin in (pickle.loads(pickle.dumps(made)), copy.copy(made), copy.deepcopy(made)):  # noqa: S301  # our own
        assert twin == made
        assert ordered(twin.to_dict()) == ordered(hollow)


@pytest.mark.parametrize(("name", "field", "value"), list(required()))
def test_a_required_field_that_does_not_fit(name, field, value):
    """In a class without a family it reads as the empty value of its type; the JSON stays."""
    cls = getattr(claude_lite, name)
    if family(cls) is not cls:
        return
    hollow = without(LEAST[name], field, value)
    if field in (cls.ESSENTIAL or ()) and not (value == 1.5 and field == "input_tokens"):
        with pytest.raises(StructureError, match=rf"^{name}: missing or of a wrong type: {field}$"):
            structure(hollow, cls)
        return
    made = structure(copy.deepcopy(hollow), cls)
    expected = value if (type(LEAST[name][field]), value) == (int, 1.5) else empty(name, field)
    for twin in (made, pickle.loads(pickle.dumps(made)), copy.deepcopy(made), attrs.evolve(made)):  # noqa: S301  # our own
        assert getattr(twin, field) == expected
        assert twin == made
        assert ordered(twin.to_dict()) == ordered(hollow)
    changed = attrs.evolve(made, **{field: LEAST[name][field]})
    assert getattr(changed, field) == LEAST[name][field]
    assert changed.to_dict() == LEAST[name]


@pytest.mark.parametrize("value", [..., None, 7, [], {}, True])
@pytest.mark.parametrize("base", FAMILIES)
def test_a_member_without_a_type(base, value):
    """Without a type that is text, a block, citation, delta or event is unknown, of no kind."""
    data = without({"type": "x", "text": "t"}, "type", value)
    made = structure(copy.deepcopy(data), base)
    assert (made.type, made.kind, made.text) == ("unknown", "", "t")
    assert ordered(made.to_dict()) == ordered(data)


@pytest.mark.parametrize("value", [None, "x", "", 7, 0, 1.5, True, False, [], [{}]])
def test_what_is_no_object(value):
    """It becomes an unknown member of a family, and its JSON stays; a result is refused."""
    for base in FAMILIES:
        made = structure(value, base)
        assert (made.type, made.kind, made.to_dict()) == ("unknown", "", value)
    data = {**MESSAGE, "content": [TEXT, value]}
    made = structure(copy.deepcopy(data), Message)
    assert (made.text, made.content[1].type) == ("t", "unknown")
    for twin in (made, pickle.loads(pickle.dumps(made)), copy.deepcopy(made)):  # noqa: S301  # our own
        assert ordered(twin.to_dict()) == ordered(data)
        assert ordered(loads(dumps(twin))["content"]) == ordered(data["content"])
    for cls in (Message, TokenCount):
        with pytest.raises(StructureError, match=f"^{cls.__name__}: not a JSON object$"):
            structure(value, cls)


@pytest.mark.parametrize(
    "data",
    [{}, {"type": "error", "error": {"message": "m"}}, {"detail": "no"}, {"id": None}, [MESSAGE]],
    ids=str,
)
def test_a_result_of_which_nothing_fits(data):
    """It is the answer of somebody else: an error, not an empty result."""
    for name in ("Message", "TokenCount", "ModelInfo", "MessageBatch", "FileMetadata", "Page"):
        with pytest.raises(StructureError, match=name):
            structure(data, getattr(claude_lite, name))


@pytest.mark.parametrize(("field", "read"), [("container", None), ("stop_details", None)])
def test_an_optional_object_of_a_wrong_type(field, read):
    """It reads as its default, and its JSON stays."""
    for value in ("x", 7, True, [[]]):
        data = {**MESSAGE, field: value}
        made = structure(copy.deepcopy(data), Message)
        assert getattr(made, field) is read
        assert ordered(made.to_dict()) == ordered(data)
        assert ordered(attrs.evolve(made).to_dict()) == ordered(data)


def test_fields_that_are_never_none():
    """A field whose type has no None reads as its default if it is null, or of another type."""
    for value in (None, 5, []):
        data = {**MESSAGE, "role": value, "usage": {**USAGE, "cache_creation": {}}}
        data["usage"]["cache_creation"]["ephemeral_5m_input_tokens"] = "many"
        made = structure(copy.deepcopy(data), Message)
        assert made.role == made.to_param()["role"] == "assistant"
        assert made.usage.cache_creation.ephemeral_5m_input_tokens == 0
        assert made.to_dict() == data


def test_nested_models_are_made_when_first_read():
    """Reading a field makes its model once, and changes neither the JSON, nor equality."""
    data = {
        **MESSAGE,
        "container": {"id": "c", "new": 1},
        "content": [{**TEXT, "citations": [CHAR]}],
    }
    made, untouched = (structure(copy.deepcopy(data), Message) for _ in "ab")
    assert made.container is made.container
    assert (made.container.id, made.container.new) == ("c", 1)
    (citation,) = made.content[0].citations
    assert type(citation).__name__ == "CharLocation"
    assert made.content[0].citations is made.content[0].citations
    assert made == untouched
    assert ordered(made.to_dict()) == ordered(untouched.to_dict()) == ordered(data)
    assert pickle.loads(pickle.dumps(untouched)).container == made.container  # noqa: S301  # our own
    assert repr(untouched) == repr(made)


def test_a_nested_model_in_another_process():
    """A pickled model makes its nested models in a process that has read no JSON yet."""
    made = structure({**TEXT, "citations": [dict(CHAR), None]}, ContentBlock)
    code = (
        "import pickle, sys; made = pickle.loads(sys.stdin.buffer.read()); "
        "print([type(c).__name__ for c in made.citations])"
    )
    shown = subprocess.run(  # noqa: S603  # our own interpreter
        [sys.executable, "-c", code], input=pickle.dumps(made), capture_output=True, check=True
    )
    assert shown.stdout.decode().strip() == "['CharLocation', 'UnknownCitation']"


def test_optional_scalars_are_taken_as_they_come():
    """The API may change what it does not promise, and the message still is read."""
    data = {**MESSAGE, "stop_reason": {"kind": "new"}, "usage": {**USAGE, "speed": 3}}
    assert structure(copy.deepcopy(data), Message).to_dict() == data


def test_what_is_read_is_not_touched():
    """The JSON stays as it is, whether it is refused, or fits in part or wholly."""
    for data in (
        MESSAGE,
        {**MESSAGE, "content": [TEXT, {"type": "text"}]},
        {**MESSAGE, "content": 5},
    ):
        before = copy.deepcopy(data)
        with suppress(StructureError):
            structure(data, Message)
        assert data == before


def test_other_types_go_through_cattrs():
    """Lists of models and plain types are read, and refused with the same error."""
    assert structure([MESSAGE], list[Message]) == [structure(MESSAGE, Message)]
    for data in (5, None, [5], [{}]):
        with pytest.raises(StructureError):
            structure(data, list[Message])
    assert converter() is converter()
    assert converter().structure(dict(MESSAGE), Message) == structure(MESSAGE, Message)


def test_a_subclass_does_not_replace_its_base():
    """An application's own subclass of `Message` is read only where it is asked for."""

    @model
    class Answer(Message):
        """One of an application's own."""

    for cls in (Message, Answer):
        reader_for.cache_clear()
        assert type(structure(dict(MESSAGE), cls)) is cls


# Numbers, depth, text


@pytest.mark.parametrize("number", HUGE)
@pytest.mark.parametrize("padding", [0, 2 * SHORT])
def test_no_digit_is_lost(number, padding):
    """Integers of any size are read as they are, wherever they stand, in short texts and long."""
    data = {**copy.deepcopy(MESSAGE), "pad": "x" * padding}
    for node in [data, data["usage"], data["content"][0]]:
        node["new"] = {"deep": [number, {"n": number}]}
    data["content"].append({"type": "tool_use", **CALL, "input": {"n": number}})
    made = structure(loads(json.dumps(data).encode()), Message)
    assert ordered(made.to_dict()) == ordered(data)
    assert loads(dumps(made.to_dict())) == data
    assert loads(str(number).encode()) == number
    assert type(loads(str(number).encode())) is int


@pytest.mark.parametrize("text", ["1e20", "-1e300", "1.5e19", "0.1", "-0.0", "1e-400", "5e-324"])
def test_floats_stay_floats(text):
    """A float however large is that float."""
    for data in (text, f'[{text}, "{"x" * 3000}"]'):
        value = loads(data.encode())
        value = value[0] if isinstance(value, list) else value
        assert type(value) is float
        assert math.copysign(1, value) == math.copysign(1, float(text))
        assert value == float(text)


@pytest.mark.parametrize("padding", ["", "x" * 3000])
@pytest.mark.parametrize(
    "text",
    ["1e400", "-1e400", "1" * 400, "1" * 10_000, "NaN", "Infinity", "-Infinity", "nan", "[1,]", ""],
)
def test_what_is_not_json(text, padding):
    """Numbers past all bounds, constants that JSON does not have and junk are a `ValueError`."""
    with pytest.raises(ValueError, match=r".+"):
        loads(f'{{"pad": "{padding}", "n": {text}}}'.encode())


@pytest.mark.parametrize(
    "data",
    [b'"\\ud800"', b'{"a":"\\udc00\\ud800"}', b'"\xff"', b'"\xed\xa0\x80"', b"\xef\xbb\xbf1"],
)
def test_text_that_is_none(data):
    """Lone surrogates, escaped or not, and what is not UTF-8, are a `ValueError`."""
    with pytest.raises(ValueError, match=r".+"):
        loads(data)


def test_pairs_of_surrogates_are_text():
    """A character beyond the first plane may be written as two escapes."""
    assert loads(b'"\\ud83c\\udf0d"') == "\U0001f30d"


def test_a_key_that_comes_twice():
    """The last value counts, here as in the standard library, for large numbers as well."""
    for text in ('{"a":1,"b":2,"a":3}', f'{{"a":1,"b":2,"a":{10**30}}}'):
        assert ordered(loads(text.encode())) == ordered(json.loads(text))


@pytest.mark.parametrize("pair", [(b"[", b"]"), (b'{"a":', b"}"), (b'[{"a":', b"}]")])
@pytest.mark.parametrize("filling", [b"1", b"18446744073709551617"])
def test_depth(pair, filling):
    """A hundred levels are read, compared and copied; a thousand or more are a `ValueError`."""
    steps = pair[0].count(b"[") + pair[0].count(b"{")
    for depth in (100, MAX_DEPTH - 2):
        text = pair[0] * (depth // steps) + filling + pair[1] * (depth // steps)
        value = loads(text)
        made = structure({"type": "new", "deep": value}, ContentBlock)
        twin = structure({"type": "new", "deep": loads(text)}, ContentBlock)
        assert made == twin
        assert copy.deepcopy(made) == made
        assert loads(dumps(made))["deep"] == value
    for depth in (MAX_DEPTH + steps, 1000, 1024, 100_000):
        with pytest.raises(ValueError, match=r".+"):
            loads(pair[0] * (depth // steps) + filling + pair[1] * (depth // steps))


def test_breadth_is_not_depth():
    """Many shallow lists and objects are no problem."""
    data = [[{"a": []}] for _ in range(10 * MAX_DEPTH)]
    assert loads(json.dumps(data).encode()) == data


@given(st.binary(max_size=40) | st.text(max_size=40).map(str.encode))
@settings(deadline=None, max_examples=200)
def test_any_bytes(data):
    """Whatever the bytes, they are JSON or a `ValueError`, as the standard library sees it."""
    try:
        value = loads(data)
    except ValueError:
        return
    assert value == json.loads(data)


@given(JSON)
@settings(deadline=None, max_examples=200)
def test_json_there_and_back(value):
    """Any JSON is written and read again as it was, in the same order, and as one line."""
    text = dumps(value)
    assert ordered(loads(text)) == ordered(value)
    assert ordered(json.loads(text)) == ordered(value)
    assert b"\n" not in text


# Writing


def test_what_is_written():
    """Compact, in the order given, and text unescaped wherever JSON allows it."""
    assert dumps({"b": [1, "é🌍/\u2028\x7f"], "a": None, "c": True, "n": 1.0}) == (
        '{"b":[1,"é🌍/\u2028\x7f"],"a":null,"c":true,"n":1.0}'.encode()
    )
    assert dumps('"\\\n\x00') == b'"\\"\\\\\\n\\u0000"'


def test_what_stands_for_json():
    """Models, tuples, mappings and sequences of all kinds are written as what they stand for."""
    block = structure({"type": "text", "text": "x", "citations": None}, ContentBlock)
    expected = b'[{"type":"text","text":"x","citations":null}]'
    for value in (
        [block],
        (block,),
        deque([block]),
        UserList([block]),
        [UserDict(block.to_dict())],
    ):
        assert dumps(value) == expected
    assert dumps(MappingProxyType({"a": (1, range(2))})) == b'{"a":[1,[0,1]]}'
    assert dumps(OrderedDict(b=1, a=2)) == b'{"b":1,"a":2}'
    assert dumps({"m": [structure(MESSAGE, Message)]}) == (
        b'{"m":[{"role":"assistant","content":[{"type":"text","text":"t"}]}]}'
    )


@pytest.mark.parametrize("number", HUGE)
def test_large_integers_are_written(number):
    """Past 64 bits the bytes are as compact, and models and mappings are still understood."""
    block = structure({"type": "tool_use", **CALL, "input": {"n": number}}, ContentBlock)
    assert (
        dumps(MappingProxyType({"m": (block, "é")}))
        == (
            f'{{"m":[{{"type":"tool_use","id":"toolu_1","name":"n","input":{{"n":{number}}}}},"é"]}}'
        ).encode()
    )


class Plain:
    """An object of no particular kind."""


class Shape(enum.Enum):
    """An enumeration of things that are not JSON."""

    ROUND = frozenset({1})


@dataclass
class Record:
    """A record, which could be an object, but does not say which."""

    a: int = 1


@pytest.mark.parametrize(
    ("value", "named"),
    [
        (float("nan"), "nan"),
        (float("inf"), "inf"),
        (float("-inf"), "-inf"),
        (Plain(), "Plain"),
        (Plain, "type"),
        ({1, 2}, "set"),
        (frozenset("ab"), "frozenset"),
        ({}.keys(), "dict_keys"),
        (b"bytes", "bytes"),
        (bytearray(b"b"), "bytearray"),
        (memoryview(b"b"), "memoryview"),
        (iter([1]), "list_iterator"),
        ((i for i in [1]), "generator"),
        (1j, "complex"),
        (dt.datetime(2026, 1, 1, tzinfo=dt.UTC), "datetime"),
        (dt.date(2026, 1, 1), "date"),
        (Record(), "Record"),
        (Shape.ROUND, r".+"),
        (Path("x"), "PosixPath"),
        (len, "builtin_function_or_method"),
        ({1: 2}, "key 1"),
        ({None: 2}, "key None"),
        ({True: 2}, "key True"),
        ({1.5: 2}, "key 1.5"),
        ({("a",): 2}, "tuple"),
        ({b"a": 2}, "bytes"),
        ("\ud800", "surrogates"),
        ({"\udfff": 1}, "surrogates"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_json_cannot_say(value, named):
    """It is refused with an error that names it, at any depth and beside any other value."""
    wrapped = structure({"type": "tool_use", **CALL, "input": {"v": value}}, ContentBlock)
    for whole in (
        value,
        [value],
        {"a": [1, {"b": (value,)}]},
        MappingProxyType({"a": value}),
        deque([value]),
        [wrapped],
        [10**30, value],
        [value, 10**30],
        [None, MappingProxyType({"n": 10**30, "v": value})],
        [None, "null", wrapped],
    ):
        with pytest.raises(UsageError, match=named) as caught:
            dumps(whole)
        assert "cannot be written as JSON" in str(caught.value)
        assert caught.value.__cause__ is None


def test_what_is_nested_without_end():
    """Cycles and depth past all reason are refused, not followed."""
    ring: list[object] = [1]
    ring.append(ring)
    table: dict[str, object] = {}
    table["self"] = [table]
    deep: object = 1
    for _ in range(100_000):
        deep = [deep]
    for value in (ring, table, {"m": (ring,)}, MappingProxyType(table), deep):
        with pytest.raises(UsageError, match="cannot be written as JSON"):
            dumps(value)
    while isinstance(deep, list):  # or the interpreter takes it apart recursively
        deep = deep.pop()


def test_depth_is_written():
    """What is read can be written: as deep as `loads` goes, `dumps` goes."""
    text = nest(MAX_DEPTH)
    assert dumps(loads(text)) == text
    assert dumps({"a": loads(text), "n": 10**30}) == b'{"a":' + text + b',"n":1' + b"0" * 30 + b"}"


def test_the_word_null_is_only_a_word():
    """Text with "null" in it, and None, are written as they are."""
    value = {"null": None, "text": "null", "n": [None, 1.5], "array": UserList([None])}
    assert loads(dumps(value)) == {**value, "array": [None]}


def test_arrays_are_sequences():
    """An array of numbers is written as a list."""
    assert dumps(array("i", [1, 2])) == b"[1,2]"


PROGRAM = """
import sys
from claude_lite.core.json_text import dumps
from claude_lite.core.structure import structure
from claude_lite.api.messages.message import Message
value = {"z": 1, "a": {"y": 2, "b": [3, {"x": "\u00e9", "c": None}]}, "m": %r, "n": [1.5, 1e16]}
blocks = [structure(%r, Message), ("t", 2.0)]
for extra in ({}, {"n": 10**30}):
    sys.stdout.buffer.write(dumps({**value, "blocks": blocks, **extra}) + b"\\n")
"""


def test_bytes_are_stable():
    """The same value gives the same bytes in processes with different seeds for hashes."""
    program = PROGRAM % ("null", sample("messages.create.tool_use.json"))
    outputs = {
        subprocess.run(  # noqa: S603  # our own interpreter
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("0", "1", "4711")
    }
    assert len(outputs) == 1
    assert outputs.pop().count(b"\n") == 2


def test_what_was_read_is_not_the_same_object_twice():
    """Two models of one text share nothing that can be changed."""
    one, two = (structure(loads(dumps({"type": "tool_use", **CALL})), ContentBlock) for _ in "ab")
    one.input["x"] = 1
    assert isinstance(one, ToolUseBlock)
    assert two.input == {}


def test_models_are_found_by_their_base():
    """The converter takes every model, whoever declared it."""

    @model
    class Badge(Model):
        """One of an application's own."""

        name: str
        level: int | None = None

    made = structure({"name": "x", "new": 1}, Badge)
    assert (made.name, made.level, made.new) == ("x", None, 1)
    assert converter().unstructure({"badges": [made]}) == {"badges": [{"name": "x", "new": 1}]}
    assert (structure({}, Badge).name, structure({"name": 5}, Badge).to_dict()) == ("", {"name": 5})


# Replies with mistakes


@pytest.mark.parametrize("padding", ["", "x" * 3000])
@pytest.mark.parametrize(
    ("text", "value"),
    [
        (b'"\\ud800"', "\ufffd"),
        (b'"\\ud83d\\ude00 \\ud83d"', "\U0001f600 \ufffd"),
        (b'"\\\\ud800"', "\\ud800"),
        (b'{"\\udfff":1}', {"\ufffd": 1}),
        (b'"a\xffb"', "a\ufffdb"),
        (b'"\xed\xa0\x80"', "\ufffd\ufffd\ufffd"),
        (b'"a\nb\x00"', "a\nb\x00"),
        (b"[NaN,-Infinity,1e999,-1e999,1.5]", [None, None, None, None, 1.5]),
        (b"1" * 5000, None),
        (b"[NaN,%d]" % 10**30, [None, 10**30]),
    ],
)
def test_a_mistake_in_a_reply_costs_what_is_wrong(text, value, padding):
    """One character, or one number: the rest is read, and all of it can be written again."""
    for start, end in ((b"", b""), (b"\xef\xbb\xbf", b"\n"), (b" ", b"\x00\x00\r\n")):
        read = loads_reply(start + b'{"pad":"%b","v":%b}' % (padding.encode(), text) + end)
        assert read == {"pad": padding, "v": value}
        assert loads(dumps(read)) == read
        assert pickle.loads(pickle.dumps(read)) == read  # noqa: S301  # our own


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be", "utf-32"])
def test_a_reply_in_another_encoding(encoding):
    """It is read as the standard library reads it."""
    assert loads_reply('{"text": "é🌍"}'.encode(encoding)) == {"text": "é🌍"}


@pytest.mark.parametrize("data", [b"", b"<html>", b"[1,]", b"{}{}", b'{"a":', b"nan", b"\xff"])
def test_a_reply_that_is_not_json(data):
    """It is a `ValueError`, as it is for the standard library."""
    with pytest.raises(ValueError, match=r".+"):
        loads_reply(data)


@pytest.mark.parametrize("mistake", [b"NaN", b'"\\ud800"', b'"\xff"'])
@pytest.mark.parametrize("pair", [(b"[", b"]"), (b'{"a":', b"}")])
def test_the_depth_of_a_reply_with_a_mistake(mistake, pair):
    """The limit of levels holds for it as well."""
    assert loads_reply(pair[0] * MAX_DEPTH + mistake + pair[1] * MAX_DEPTH)
    for depth in (MAX_DEPTH + 1, 1000, 100_000):
        for limit in (MAX_DEPTH, 1 << 30):
            if depth > limit or depth > MAX_DEPTH + 1:
                with pytest.raises(TooDeep):
                    loads_reply(pair[0] * depth + mistake + pair[1] * depth, limit)


@given(st.binary(max_size=40) | st.text(max_size=40).map(str.encode))
@settings(deadline=None, max_examples=200)
def test_no_reader_is_stricter_than_the_standard_library(data):
    """What the standard library reads, a reply may be; what is read can be written."""
    try:
        expected = json.loads(data)
    except ValueError:
        expected = None
    try:
        read = loads_reply(data)
    except ValueError:
        assert expected is None
    else:
        assert dumps(read)
