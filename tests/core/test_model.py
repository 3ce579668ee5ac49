"""Models as values: what they hold, what a change changes, what no received key can break."""

import copy
import json
import pickle
from collections import Counter

import attrs
import pytest
from attrs.exceptions import FrozenInstanceError
from hypothesis import given, settings
from hypothesis import strategies as st
from places import SAMPLES

import claude_lite
from claude_lite.api.messages import content, events
from claude_lite.api.messages import message as models
from claude_lite.api.messages.content import (
    ContentBlock,
    TextBlock,
    ThinkingBlock,
    ToolUseBlock,
    UnknownBlock,
)
from claude_lite.api.messages.events import MessageStopEvent
from claude_lite.api.messages.message import CacheCreation, Message, StopDetails, Usage
from claude_lite.core.json_text import dumps, loads
from claude_lite.core.model import Model
from claude_lite.core.structure import structure
from claude_lite.errors import UsageError
from claude_lite.wire import Response

RESPONSES = SAMPLES / "responses"
MESSAGES = sorted(p.name for p in RESPONSES.glob("*messages.create*.json"))
COUNTS = sorted(p.name for p in RESPONSES.glob("*messages.count_tokens*.json"))
SAMPLES = [(name, Message) for name in MESSAGES] + [(name, models.TokenCount) for name in COUNTS]

# Names of methods, properties, attributes and hooks that a received key may have.
TAKEN = [
    *(name for name in dir(Message) if name not in Message.__annotations__),
    *dir(ToolUseBlock),
    *("_response", "_operation", "_partial_json", "_exchange", "received", "TAGS", "INTERNAL_KEYS"),
    *("__deepcopy__", "__copy__", "__getstate__", "__setstate__", "__reduce_ex__", "__reduce__"),
    *("__getnewargs__", "__getnewargs_ex__", "__len__", "__iter__", "keys", "self", "cls", "data"),
    *("__attrs_attrs__", "__replace__", "__slots__", "__init__", "__getattr__", "", "1", "a-b"),
]
TAKEN = sorted(set(TAKEN) - {field.name for field in attrs.fields(Message)} | {"received"})


def sample(name):
    """Read one of the recorded responses."""
    return loads((RESPONSES / name).read_bytes())


def message(name="messages.create.tool_use.json"):
    """Give one of the recorded messages."""
    return structure(sample(name), Message)


def ordered(value):
    """Give JSON in a form that tells the order of keys, and 1 from 1.0 and true."""
    return json.dumps(value)


def test_every_model_is_exported():
    """The module's list, and the package's, name each class that is declared here."""
    for module in (content, models, events):
        declared = {
            name
            for name, value in vars(module).items()
            if isinstance(value, type) and value.__module__ == module.__name__ and name[0] != "_"
        }
        assert declared == set(module.__all__)
        assert all(getattr(claude_lite, name) is getattr(module, name) for name in declared)


def test_the_package_lists_what_it_loads_late():
    """`dir` names the events before one is asked for, and nothing twice."""
    listed = dir(claude_lite)
    assert {*claude_lite.__all__} <= {*listed}
    assert len(listed) == len({*listed})


@pytest.mark.parametrize(("name", "cls"), SAMPLES, ids=lambda x: x if isinstance(x, str) else "")
def test_a_model_is_a_value(name, cls):
    """What is read twice is equal, with one hash, and nothing of it can be set or deleted."""
    one, two = structure(sample(name), cls), structure(sample(name), cls)
    assert one == two
    assert hash(one) == hash(two)
    assert {one: 1}[two] == 1
    field = attrs.fields(cls)[1].name
    for change in (lambda: setattr(one, field, 1), lambda: delattr(one, field)):
        with pytest.raises(FrozenInstanceError):
            change()
    with pytest.raises(FrozenInstanceError):
        one.new = 1


@pytest.mark.parametrize(("name", "cls"), SAMPLES, ids=lambda x: x if isinstance(x, str) else "")
def test_a_model_survives(name, cls):
    """Pickle of every protocol, copies and JSON give an equal model, in the same order of keys."""
    made = structure(sample(name), cls)
    for twin in (
        *(pickle.loads(pickle.dumps(made, p)) for p in range(6)),  # noqa: S301  # our own
        copy.copy(made),
        copy.deepcopy(made),
        structure(loads(json.dumps(made.to_dict()).encode()), cls),
        structure(made.to_dict(), cls),
    ):
        assert twin == made
        assert type(twin) is cls
        assert ordered(twin.to_dict()) == ordered(sample(name))


def test_a_deep_copy_shares_nothing():
    """What is changed by force in a deep copy does not show in the original."""
    made = message()
    copy.deepcopy(made).tool_uses[0].input["city"] = "Lviv"
    assert made.to_dict() == sample("messages.create.tool_use.json")


def test_the_response_comes_along():
    """A pickle, a copy and a changed message still know the response; equality ignores it."""
    made = message()
    made.__dict__["_response"] = Response(200, {"request-id": "req_1"})
    assert made == message()
    assert made.request_id == "req_1"
    for twin in (
        pickle.loads(pickle.dumps(made)),  # noqa: S301  # our own
        copy.deepcopy(made),
        attrs.evolve(made, stop_reason=None),
    ):
        assert twin.response == made.response
        assert "_response" not in twin.to_dict()
    assert (message().response, message().request_id) == (None, None)


@pytest.mark.parametrize("name", MESSAGES)
def test_a_message_as_a_param(name):
    """It goes into the next request as its role and its blocks, byte for byte as they came."""
    data = sample(name)
    assert dumps(message(name).to_param()) == dumps(
        {"role": data["role"], "content": data["content"]}
    )
    assert dumps([message(name)]) == dumps([message(name).to_param()])


def test_signatures_go_back_as_they_came():
    """Thinking keeps its signature, and a thinking block made here writes one, too."""
    thinking = message("messages.create.thinking.json").content[0]
    assert isinstance(thinking, ThinkingBlock)
    assert thinking.to_param()["signature"] == "c2lnLXNhbXBsZQ=="
    assert ThinkingBlock("x").to_dict() == {"thinking": "x", "signature": "", "type": "thinking"}


def test_a_param_of_plain_blocks():
    """A message whose content was replaced by JSON gives that JSON."""
    block = {"type": "text", "text": "x"}
    assert attrs.evolve(message(), content=[block]).to_param() == {
        "role": "assistant",
        "content": [block],
    }


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, {}),
        ({"stop_reason": None}, {"stop_reason": None}),
        ({"stop_reason": "new"}, {"stop_reason": "new"}),
        ({"container": None, "id": "msg_2"}, {"id": "msg_2"}),
        ({"context_management": {"a": 1}}, {"context_management": {"a": 1}}),
        ({"context_management": None}, {}),
        ({"content": [TextBlock("x")]}, {"content": [{"text": "x", "type": "text"}]}),
        ({"content": (TextBlock("x"),)}, {"content": [{"text": "x", "type": "text"}]}),
        ({"usage": Usage(1, 2)}, {"usage": {"input_tokens": 1, "output_tokens": 2}}),
    ],
)
def test_evolve_changes_only_what_it_is_told(changes, expected):
    """Unknown fields, the order of keys and what was null stay; nothing is added."""
    data = {**sample("messages.create.tool_use.json"), "new": {"field": [1]}}
    made = attrs.evolve(structure(loads(dumps(data)), Message), **changes)
    assert ordered(made.to_dict()) == ordered({**data, **expected})
    assert ordered(attrs.evolve(made).to_dict()) == ordered(made.to_dict())


def test_evolve_of_what_came_empty():
    """An object that came without any key gets only the key that it is told."""
    assert attrs.evolve(structure({}, StopDetails)).to_dict() == {}
    assert attrs.evolve(structure({}, StopDetails), category="x").to_dict() == {"category": "x"}
    assert attrs.evolve(structure({}, CacheCreation)).to_dict() == {}


def test_evolve_leaves_the_original():
    """The model that was changed is what it was."""
    made = message()
    attrs.evolve(made, usage=attrs.evolve(made.usage, input_tokens=1), stop_reason="x")
    assert made == message()


def test_a_model_made_here():
    """It writes what it was given and its type, and leaves out what is None."""
    assert TextBlock("x").to_dict() == {"text": "x", "type": "text"}
    assert MessageStopEvent().to_dict() == {"type": "message_stop"}
    assert TextBlock("x", citations=[]).to_dict() == {"text": "x", "citations": [], "type": "text"}
    assert TextBlock("x") == structure({"type": "text", "text": "x"}, ContentBlock)


def test_values_that_json_has_no_class_for():
    """A value of a class of one's own goes through `to_dict` as it is."""

    class Shout(str):
        __slots__ = ()

    text = Shout("HELLO")
    assert TextBlock(text=text).to_dict()["text"] is text


def test_defaults_of_what_did_not_come():
    """Fields that did not come read as their defaults, and are not written."""
    made = structure({"type": "text", "text": "x"}, TextBlock)
    assert (made.text, made.citations, made.type) == ("x", None, "text")
    assert made.to_dict() == {"type": "text", "text": "x"}


def test_what_is_equal():
    """The JSON and the class decide, not the order of keys, nor where it comes from."""
    block = structure({"text": "x", "type": "text"}, TextBlock)
    assert block == structure({"type": "text", "text": "x"}, TextBlock)
    assert block != structure({"type": "text", "text": "x", "new": 1}, TextBlock)
    assert block != structure({"type": "text", "text": "x", "citations": None}, TextBlock)
    assert block != structure({"type": "text", "text": "x"}, UnknownBlock)
    assert block != {"type": "text", "text": "x"}


@given(st.dictionaries(st.sampled_from("abc"), st.sampled_from([0, False, 0.0, 1, True, 1.0, "1"])))
@settings(deadline=None, max_examples=100)
def test_equal_models_have_equal_hashes(data):
    """Numbers of different types that are equal do not tell hashes apart, as in any dict."""
    one = structure({"type": "x", **data}, UnknownBlock)
    other = {k: v if isinstance(v, str) else float(v) for k, v in reversed(data.items())}
    two = structure({**other, "type": "x"}, UnknownBlock)
    assert one == two
    assert hash(one) == hash(two)


def test_hashes_of_odd_values():
    """Integers past 64 bits, nesting and objects have a hash as well; few blocks share one."""
    odd = {"type": "x", "n": 10**30, "o": {"a": [1]}, "_response": 1}
    assert hash(structure(odd, UnknownBlock)) == hash(structure(copy.deepcopy(odd), UnknownBlock))
    assert isinstance(hash(message()), int)
    hashes = Counter(hash(TextBlock(str(i))) for i in range(1000))
    assert max(hashes.values()) < 5


@pytest.mark.parametrize("key", TAKEN)
@pytest.mark.parametrize("value", [None, "x", 7, {"a": [1]}, ["b"]], ids=str)
def test_a_received_key_breaks_nothing(key, value):
    """Whatever its name, a key is kept, written back, and hides no method or property."""
    data = sample("messages.create.tool_use.json")
    data["content"][1].pop("caller")
    nodes = [data, data["usage"], *data["content"], data["usage"]["cache_creation"]]
    for node in nodes:
        node.setdefault(key, value)
    made = structure(copy.deepcopy(data), Message)
    made.__dict__["_response"] = Response(200, {"request-id": "req_1"})
    for twin in (
        made,
        copy.copy(made),
        copy.deepcopy(made),
        pickle.loads(pickle.dumps(made)),  # noqa: S301  # our own
        attrs.evolve(made),
        attrs.evolve(made, stop_reason="tool_use"),
    ):
        assert twin == made
        assert hash(twin) == hash(made)
        assert ordered(twin.to_dict()) == ordered(data)
        assert ordered(twin.to_param()["content"]) == ordered(data["content"])
        assert (twin.text, twin.request_id) == ("I will look that up.", "req_1")
        assert twin.tool_uses == [twin.content[1]]
        assert twin.usage.total_input_tokens == 390
        assert type(twin) is twin.__class__ is Message
        assert repr(twin).startswith("Message(id=")


def test_a_repr_shows_the_fields():
    """The repr of a model has its declared fields in order, set or not, and nested models."""
    usage = structure({"input_tokens": 7, "output_tokens": 2, "new": 1}, Usage)
    assert repr(usage).startswith("Usage(input_tokens=7, output_tokens=2, cache_creation_")
    assert repr(usage).endswith(", iterations=None, fallback_credit=None)")
    event = structure({"type": "hologram", "frames": 3}, ContentBlock)
    assert repr([event]) == "[UnknownBlock(kind='hologram')]"
    assert attrs.fields(ContentBlock) == attrs.fields(ContentBlock.__mro__[1])


def test_only_methods_take_their_names():
    """A received key that is no method's or property's name is an attribute."""
    made = structure({"type": "hologram", "frames": 3, "class": "x"}, ContentBlock)
    assert (type(made), made.frames, getattr(made, "class")) == (UnknownBlock, 3, "x")
    with pytest.raises(AttributeError, match="shape"):
        _ = made.shape


def test_methods_are_methods():
    """On the class they are functions with their docstrings, and they cannot be replaced."""
    assert Message.to_dict(message()) == message().to_dict()
    assert Message.to_param.__doc__.startswith("The message for `messages`")
    with pytest.raises(FrozenInstanceError):
        message().to_dict = None
    with pytest.raises(FrozenInstanceError):
        vars(Model)["to_dict"].__set__(message(), None)


def test_the_text_and_the_calls():
    """The text is that of the text blocks, joined; the calls are those of your tools only."""
    made = message("messages.create.citations.json")
    assert made.text == "According to the document, the grass is green."
    assert message("messages.create.container.json").tool_uses == []
    (call,) = message().tool_uses
    assert (call.name, call.input, call.partial_json) == (
        "get_weather",
        {"city": "Kyiv", "unit": "c"},
        None,
    )


def test_all_input_tokens():
    """They are what was not cached, what was written to the cache, and what was read from it."""
    assert message("messages.create.cached.json").usage.total_input_tokens == 12 + 2048 + 4096
    assert Usage(3, 1).total_input_tokens == 3


def test_changing_what_to_dict_gave_at_the_top():
    """The dict is the caller's own: to add to it or to its list does not change the model."""
    made = message()
    data = made.to_dict()
    data["new"] = 1
    data["content"].append(1)
    data["usage"]["input_tokens"] = 0
    assert made == message()


def test_a_result_comes_back_from_a_queue():
    """`from_dict` reads what `to_dict` gave, shares nothing with it, and says what does not fit."""
    made = message()
    data = json.loads(json.dumps(made.to_dict()))
    twin = type(made).from_dict(data)
    assert twin == made
    data["content"].clear()
    assert twin == made
    for wrong in ({"content": "text"}, None, "text", [1]):
        with pytest.raises(UsageError, match="not a Message from to_dict"):
            type(made).from_dict(wrong)
