"""Names of other clients: each says what to write instead, and hides nothing that exists."""

import copy
import json
import pickle
from inspect import getattr_static

import pytest
from driving import answer, client

import claude_lite
from claude_lite import (
    ClaudeError,
    CreateMessage,
    ListModels,
    Message,
    Model,
    RateLimited,
    UploadFile,
    UsageError,
    structure,
)
from claude_lite.api import load_operations
from claude_lite.client.calling import BaseStream
from claude_lite.client.clients import WithGroups
from claude_lite.client.endpoints import Namespace
from claude_lite.core.config import Config
from claude_lite.core.pages import Page
from claude_lite.given.spellings import (
    CLIENTS,
    ERRORS,
    FACE,
    GROUPS,
    OPTIONS,
    PAGES,
    RESULTS,
    STREAMS,
    Hint,
)

load_operations()
PLACES = [
    (WithGroups, CLIENTS),
    (Namespace, GROUPS),
    (BaseStream, STREAMS),
    (Model, RESULTS),
    (Page, PAGES),
    (ClaudeError, ERRORS),
]
MADE = {
    WithGroups: client("sync"),
    Namespace: client("sync").messages,
    BaseStream: client("sync").messages.stream(model="m", max_tokens=1, messages=[]),
    Model: structure(json.loads(answer().body), Message),
    Page: Page(data=[1, 2]),
    ClaudeError: RateLimited("no"),
}


@pytest.mark.parametrize(
    ("cls", "name"),
    [(cls, name) for cls, names in PLACES for name in names if not name.startswith("__")],
)
def test_a_name_of_another_client_says_what_to_write(cls, name):
    """The error has the name and the sentence; `hasattr`, `getattr` and `dir` know no such name."""
    one = MADE[cls]
    with pytest.raises(AttributeError, match=f"has no attribute '{name}': ") as caught:
        getattr(one, name)
    assert str(caught.value).endswith(dict(PLACES)[cls][name])
    assert not hasattr(one, name)
    assert getattr(one, name, 5) == 5
    assert name not in dir(one)


def test_pages_are_not_iterated():
    """To iterate over a page, or to take an item by number, says that `page.data` has the items."""
    page = MADE[Page]
    for wrong in (iter, aiter, lambda it: it[0], list, dict):
        with pytest.raises(TypeError, match=r"page\.data"):
            wrong(page)
    assert page  # an empty page is true, as any other value without a length


def test_names_that_exist_stay():
    """`dir` lists what there is; a key of the API with such a name is read, and listed."""
    message = structure({**json.loads(answer().body), "json": 7, "choices": [1]}, Message)
    assert (message.json, message.choices) == (7, [1])
    assert {"json", "choices", "text", "content", "to_dict"} <= set(dir(message))
    assert message.to_dict()["json"] == 7
    for again in (copy.copy(message), copy.deepcopy(message), pickle.loads(pickle.dumps(message))):  # noqa: S301  # our own
        assert again == message
    assert {"messages", "with_options", "config"} <= set(dir(MADE[WithGroups]))


def subclasses(cls):
    """Give all subclasses of a class, with the class itself."""
    return {cls}.union(*map(subclasses, cls.__subclasses__()))


@pytest.mark.parametrize(("cls", "names"), PLACES)
def test_no_hint_replaces_a_name_of_our_own(cls, names):
    """The class that has the hints declares none of the names."""
    for name in names:
        found = getattr_static(cls, name, None)
        assert isinstance(found, Hint) or name.startswith("__") or cls is WithGroups
        for base in cls.__mro__[1:]:
            assert name not in vars(base)
    declared = {name for each in subclasses(cls) for name in getattr(each, "__annotations__", ())}
    if cls is not Model:  # the API may name a field so, as it does in chat completions
        assert not declared & set(names)


def test_options_of_other_clients():
    """An unknown option, or field, says which one to use."""
    for name, hint in OPTIONS.items():
        if name == "timeout":
            continue
        with pytest.raises(UsageError) as caught:
            Config(api_key="k").with_options(**{name: 1})
        assert caught.value.advice == hint
    with pytest.raises(TypeError, match="use `stop_sequences`"):
        CreateMessage(model="m", max_tokens=1, messages=[], stop=["x"])


def test_names_of_the_package():
    """Classes of other clients are named by ours, which exist."""
    for name, hint in FACE.items():
        with pytest.raises(AttributeError) as caught:
            getattr(claude_lite, name)
        assert str(caught.value).endswith(hint)
        ours = hint.split("`")[1].partition("(")[0] if "`" in hint else "Client"
        assert hasattr(claude_lite, ours)
    assert not hasattr(claude_lite, "Anthropic")


def test_fields_by_position():
    """Arguments by position name the fields to write."""
    with pytest.raises(TypeError, match=r"write model_id=\.\.\.$"):
        client("sync").models.retrieve("m")
    with pytest.raises(TypeError, match=r"write name=value$"):
        ListModels(5)


def test_a_file_as_a_tuple():
    """A file as a pair of name and bytes says that the name is `filename`."""
    with pytest.raises(UsageError, match=r"not tuple: .*`filename` is a field of its own"):
        UploadFile(file=("n", b"x")).form()
