"""The emulator's Models API."""

import pytest
from emulated import Api

from claude_lite.emulator.reading.known_models import MODELS


def ids(page):
    """List the ids on a page."""
    return [model["id"] for model in page["data"]]


def test_the_list_has_each_model_once_newest_first():
    """Aliases and retired models are not listed; dates fall along the list."""
    page = Api().call("models.list", query={"limit": 1000})
    assert ids(page)[0] == MODELS[0]
    assert "claude-haiku-4-5" not in ids(page)
    assert "claude-opus-4-20250514" not in ids(page)
    dates = [model["created_at"] for model in page["data"]]
    assert dates == sorted(dates, reverse=True)


def test_pages_go_forward_and_backward():
    """after_id gives what follows an id, before_id what comes right before it."""
    api = Api()
    everything = ids(api.call("models.list", query={"limit": 1000}))
    first = api.call("models.list", query={"limit": 3})
    assert (ids(first), first["has_more"]) == (everything[:3], True)
    second = api.call("models.list", query={"limit": 3, "after_id": first["last_id"]})
    assert ids(second) == everything[3:6]
    back = api.call("models.list", query={"limit": 2, "before_id": second["first_id"]})
    assert (ids(back), back["has_more"]) == (everything[1:3], True)
    start = api.call("models.list", query={"limit": 3, "before_id": second["first_id"]})
    assert (ids(start), start["has_more"]) == (everything[:3], False)
    end = api.call("models.list", query={"after_id": everything[-1]})
    assert end == {"data": [], "has_more": False, "first_id": None, "last_id": None}


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"limit": 0}, "limit"),
        ({"limit": 1001}, "limit"),
        ({"limit": "x"}, "limit"),
        ({"after_id": "nobody"}, "after_id"),
        ({"after_id": "claude-sonnet-5", "before_id": "claude-sonnet-5"}, "after_id"),
        ({"lifecycle": ["young"]}, "lifecycle.0"),
    ],
    ids=str,
)
def test_a_wrong_query_is_refused_by_the_name_of_the_field(query, field):
    """What cannot be a page is a 400."""
    message, _ = Api().refuse("models.list", 400, query=query)
    assert message.startswith(f"{field}: ")


def test_lifecycle_filters_the_list():
    """Retired models are listed for those who ask for them."""
    api = Api()
    assert ids(api.call("models.list", query={"lifecycle": ["retired"]})) == [
        "claude-opus-4-20250514"
    ]
    listed = api.call("models.list", query={"lifecycle": ["deprecated", "retired"]})
    assert ids(listed) == [
        "claude-mythos-preview",
        "claude-sonnet-4-5-20250929",
        "claude-opus-4-20250514",
    ]
    assert listed["data"][1]["retires_at"] == "2026-11-30T00:00:00Z"


@pytest.mark.parametrize("id_", MODELS)
def test_every_model_can_be_retrieved(id_):
    """An alias leads to the dated model."""
    model = Api().call("models.retrieve", model_id=id_)
    assert model["line"] in model["id"]
    if id_ == "claude-sonnet-4-5":
        assert model["id"] == "claude-sonnet-4-5-20250929"
        assert model["display_name"] == "Claude Sonnet 4.5"
        assert model["created_at"] == "2025-09-29T00:00:00Z"


def test_an_unknown_model_is_not_found():
    """The message names it, as for a message that asks for it."""
    assert Api().refuse("models.retrieve", 404, model_id="claude-none")[0] == "model: claude-none"


def test_the_beta_shape_has_more_fields():
    """With a beta header the responses are those of the beta API."""
    api = Api()
    model = api.call("beta.models.retrieve", betas=["any-2026-01-01"], model_id="claude-sonnet-5")
    assert model["capabilities"]["compaction"]["supported"]
    api.call("beta.models.list", betas=["any-2026-01-01"])


def test_models_of_ones_own_are_listed():
    """The models that the emulator was given are the ones it describes."""
    api = Api(models=["my-model", "claude-sonnet-5"])
    assert ids(api.call("models.list")) == ["my-model", "claude-sonnet-5"]
    assert api.call("models.retrieve", model_id="my-model")["capabilities"] is None
