"""The emulator's usage and cost reports: what they say is what was served."""

from datetime import UTC, datetime
from decimal import Decimal
from email.utils import parsedate_to_datetime

import pytest
from emulated import Api, message

from claude_lite import Client
from claude_lite.api.reports import MessagesUsageReport
from claude_lite.emulator import Emulator
from claude_lite.emulator.state.usage import REMEMBERED_ROWS, UsageRecords
from claude_lite_transports.emulator import EmulatorTransport

DAY = 86400
MESSAGES = "organization.usage_report.messages"
CODE = "organization.usage_report.claude_code"
COST = "organization.cost_report"
MARKED = [{"type": "text", "text": "x" * 4000, "cache_control": {"type": "ephemeral"}}]


def now(api):
    """Tell the emulator's time of day, in whole seconds since 1970."""
    date = api.respond("organization.retrieve").headers["date"]
    return int(parsedate_to_datetime(date).timestamp())


def text(seconds):
    """Write a time as the reports do."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def at_noon(**options):
    """Make an emulator, and turn its clock to the noon that comes next; return both."""
    api = Api(**options)
    time = now(api)
    noon = time - time % DAY + DAY + DAY // 2
    api.clock.now += noon - time
    return api, noon


def used(api, name=MESSAGES, **query):
    """Return the results of the only bucket that has any."""
    page = api.call(name, query=query)
    (found,) = [bucket["results"] for bucket in page["data"] if bucket["results"]]
    return found


def test_a_report_adds_up_what_was_served():
    """Tokens, cache and searches of every message are in it, those that failed are not."""
    api, noon = at_noon()
    bodies = [
        message(),
        message("[[tokens:50]]", system=MARKED),
        message("again", system=MARKED),
        message("[[pause]]"),
    ]
    usages = [api.call("messages.create", body)["usage"] for body in bodies]
    api.refuse("messages.create", 404, message(model="claude-nobody"))
    (result,) = used(api, starting_at=text(noon))
    assert result == {
        **dict.fromkeys(
            (
                "account_id",
                "api_key_id",
                "context_window",
                "inference_geo",
                "model",
                "service_account_id",
                "service_tier",
                "workspace_id",
            )
        ),
        "uncached_input_tokens": sum(one["input_tokens"] for one in usages),
        "cache_read_input_tokens": usages[2]["cache_read_input_tokens"],
        "cache_creation": usages[1]["cache_creation"],
        "output_tokens": sum(one["output_tokens"] for one in usages),
        "server_tool_use": {"web_search_requests": 1},
    }
    assert result["cache_read_input_tokens"] == 1000


def test_streams_completions_and_chats_are_counted():
    """Whatever way a model is asked, its tokens are in the report."""
    api, noon = at_noon()
    api.respond("messages.create", message(stream=True))
    legacy = {
        "model": "claude-2.1",
        "max_tokens_to_sample": 9,
        "prompt": "\n\nHuman: a\n\nAssistant:",
    }
    api.call("completions.create", legacy)
    chat = {"model": "claude-opus-5-5", "messages": [{"role": "user", "content": "a"}]}
    assert api.respond("compat.openai.chat_completions", chat).status == 200
    results = used(api, starting_at=text(noon), group_by=["model"])
    assert {one["model"] for one in results} == {
        "claude-sonnet-5-5",
        "claude-2.1",
        "claude-opus-5-5",
    }
    assert all(one["output_tokens"] for one in results)


def test_a_batch_is_counted_once_at_half_the_price():
    """When its results are read, in a service tier of its own."""
    api, noon = at_noon(batches={"seconds": 0})
    requests = [{"custom_id": f"r{i}", "params": message("[[tokens:500]]")} for i in range(2)]
    batch = api.call("messages.batches.create", {"requests": requests})
    for _ in range(2):
        api.call("messages.batches.results", message_batch_id=batch["id"])
    (result,) = used(api, starting_at=text(noon), group_by=["service_tier"])
    assert (result["service_tier"], result["output_tokens"]) == ("batch", 1000)
    items = used(api, COST, starting_at=text(noon), group_by=["description"])
    (output,) = [one["amount"] for one in items if one["token_type"] == "output_tokens"]
    assert Decimal(output) == Decimal(1000 * 750) / 1_000_000


def test_usage_has_a_bound():
    """The minute that was counted first is forgotten first."""
    usage = UsageRecords()
    body = Api().call("messages.create", message())["usage"]
    for minute in range(REMEMBERED_ROWS + 1):
        usage.record(minute * 60, body, model="m", workspace_id="w", api_key_id=None)
    rows = [at for at, _, _ in usage.between(0, (REMEMBERED_ROWS + 1) * 60)]
    assert (len(rows), rows[0]) == (REMEMBERED_ROWS, 60)


def test_usage_is_grouped_and_filtered():
    """By every field that a message has; nobody's account is known."""
    api, noon = at_noon()
    start = text(noon)
    elsewhere = {"anthropic-workspace-id": "wrkspc_elsewhere"}
    api.call("messages.create", message())
    api.call("messages.create", message(speed="fast", inference_geo="us"), headers=elsewhere)
    api.call("messages.create", message("x" * 900_000, inference_geo="mars"))
    groups = {
        "model": ["claude-sonnet-5-5"],
        "workspace_id": [None, "wrkspc_elsewhere"],
        "context_window": ["0-200k", "200k-1M"],
        "inference_geo": ["global", "us", "not_available"],
        "speed": ["standard", "fast"],
        "service_tier": ["standard"],
        "account_id": [None],
        "service_account_id": [None],
    }
    for name, values in groups.items():
        results = used(api, starting_at=start, group_by=[name])
        assert [one[name] for one in results] == values
    (key_id,) = {one["api_key_id"] for one in used(api, starting_at=start, group_by=["api_key_id"])}
    assert api.respond("organization.api_keys.retrieve", api_key_id=key_id).json()["name"] == "ci"
    (all_of_it,) = used(api, starting_at=start)
    filters = {
        "speeds": ["fast"],
        "inference_geos": ["us", "not_available"],
        "context_window": ["200k-1M"],
        "workspace_ids": ["wrkspc_elsewhere"],
    }
    for name, values in filters.items():
        (part,) = used(api, starting_at=start, **{name: values})
        assert 0 < part["uncached_input_tokens"] < all_of_it["uncached_input_tokens"]
    for name, values in (("models", ["claude-sonnet-5-5"]), ("api_key_ids", [key_id])):
        assert used(api, starting_at=start, **{name: values}) == [all_of_it]
    for name in ("account_ids", "service_account_ids", "models"):
        page = api.call(MESSAGES, query={"starting_at": start, name: ["nobody"]})
        assert [bucket["results"] for bucket in page["data"]] == [[]]


@pytest.mark.parametrize(("width", "seconds"), [("1m", 60), ("1h", 3600), ("1d", DAY)])
def test_buckets_are_whole_and_follow_each_other(width, seconds):
    """They begin with the one that starting_at is in; what was used is in the right one."""
    api, noon = at_noon()
    api.call("messages.create", message())
    api.clock.now += seconds
    api.call("messages.create", message())
    api.call("messages.create", message())
    query = {"starting_at": text(noon - seconds + 1), "bucket_width": width, "limit": 5}
    page = api.call(MESSAGES, query={**query, "ending_at": text(noon + seconds + 1)})
    starts = [bucket["starting_at"] for bucket in page["data"]]
    first = (noon - seconds + 1) // seconds * seconds
    assert starts == [text(first + i * seconds) for i in range(3)]
    assert [bucket["ending_at"] for bucket in page["data"]][:-1] == starts[1:]
    tokens = [sum(one["output_tokens"] for one in b["results"]) for b in page["data"]]
    assert tokens[0] == 0
    assert tokens[2] == 2 * tokens[1] > 0
    assert api.call(MESSAGES, query=query) == page


def test_a_report_comes_in_pages():
    """Each goes on where the one before ended, to the bucket of now."""
    api, noon = at_noon()
    api.call("messages.create", message())
    client = Client(EmulatorTransport(api.emulator), api_key="any")
    report = MessagesUsageReport(starting_at=text(noon - 20 * DAY), limit=8)
    pages = list(client.pages(report))
    assert [len(page.data) for page in pages] == [8, 8, 5]
    assert [page.has_more for page in pages] == [True, True, False]
    buckets = [bucket for page in pages for bucket in page.data]
    ends = [bucket.ending_at for bucket in buckets]
    assert [bucket.starting_at for bucket in buckets[1:]] == ends[:-1]
    assert [len(bucket.results) for bucket in buckets] == [0] * 20 + [1]
    first = client.organization.usage_report.messages(starting_at=text(noon - 20 * DAY))
    assert len(first.data) == 7


@pytest.mark.parametrize(
    ("name", "query", "complaint"),
    [
        (MESSAGES, {}, "starting_at: Field required"),
        (MESSAGES, {"starting_at": "soon"}, "starting_at: Input should be a valid datetime"),
        (MESSAGES, {"bucket_width": "1w"}, "bucket_width: Input should be '1m', '1h' or '1d'"),
        (MESSAGES, {"limit": 32}, "limit: Input should be an integer between 1 and 31"),
        (MESSAGES, {"limit": 169, "bucket_width": "1h"}, "limit: Input should be an integer"),
        (MESSAGES, {"page": "page_x"}, "page: not a page of this report"),
        (MESSAGES, {"group_by": ["shape"]}, "group_by.0: Input should be"),
        (MESSAGES, {"speeds": ["slow"]}, "speeds.0: Input should be"),
        (MESSAGES, {"ending_at": "2026-01-01"}, "ending_at: must be after `starting_at`"),
        (COST, {"bucket_width": "1h"}, "bucket_width: Input should be '1d'"),
        (COST, {"group_by": ["model"]}, "group_by.0: Input should be"),
        (CODE, {}, "starting_at: Field required"),
        (CODE, {"starting_at": "2026-02-30"}, "starting_at: Input should be a valid date"),
        (CODE, {"starting_at": "2026-02-03", "page": "page_x"}, "page: not a page"),
    ],
)
def test_questions_are_checked(name, query, complaint):
    """A parameter that is missing or wrong is named."""
    if query and "starting_at" not in query:
        query = {"starting_at": "2026-02-03T04:05:06Z", **query}
    found, _ = Api().refuse(name, 400, query=query)
    assert found.startswith(complaint)


def test_the_cost_is_that_of_the_tokens():
    """For Sonnet 300 cents a million input tokens, five times as much for output."""
    api, noon = at_noon()
    usage = api.call("messages.create", message("[[tokens:500]]"))["usage"]
    items = used(api, COST, starting_at=text(noon), group_by=["description"])
    amounts = {one["token_type"]: Decimal(one["amount"]) for one in items}
    assert amounts == {
        "uncached_input_tokens": Decimal(usage["input_tokens"] * 300) / 1_000_000,
        "output_tokens": Decimal(500 * 1500) / 1_000_000,
    }
    assert {(one["model"], one["cost_type"], one["currency"]) for one in items} == {
        ("claude-sonnet-5-5", "tokens", "USD")
    }
    (total,) = used(api, COST, starting_at=text(noon))
    assert Decimal(total["amount"]) == sum(amounts.values())
    assert total["model"] is None


def test_the_cost_knows_cache_searches_and_long_prompts():
    """Each has a price of its own, and a workspace can be told from the others."""
    api, noon = at_noon()
    for body in (message(system=MARKED), message("b", system=MARKED), message("[[pause]]")):
        api.call("messages.create", body)
    elsewhere = {"anthropic-workspace-id": "wrkspc_elsewhere"}
    api.call("messages.create", message("x" * 900_000), headers=elsewhere)
    items = used(api, COST, starting_at=text(noon), group_by=["description", "workspace_id"])
    by_type = {
        (one["token_type"] or one["cost_type"], one["workspace_id"]): one["amount"] for one in items
    }
    assert by_type["cache_creation.ephemeral_5m_input_tokens", None] == "0.375"
    assert by_type["cache_read_input_tokens", None] == "0.03"
    assert by_type["web_search", None] == "1"
    long = by_type["uncached_input_tokens", "wrkspc_elsewhere"]
    assert Decimal(long) == Decimal((225_000 + 3) * 600) / 1_000_000


def test_claude_code_is_reported_by_the_day():
    """Its records are made up from the seed and the day, for people who were there."""
    api, noon = at_noon()
    page = api.call(CODE, query={"starting_at": "2026-02-03"})
    assert page == Api().call(CODE, query={"starting_at": "2026-02-03"})
    assert page != Api(seed=1).call(CODE, query={"starting_at": "2026-02-03"})
    assert (page["has_more"], page["next_page"]) == (False, None)
    people = {one["email"] for one in api.call("organization.users.list")["data"]}
    actors = [one["actor"].get("email_address") for one in page["data"]]
    assert set(actors) - {None} < people
    assert {one["date"] for one in page["data"]} == {"2026-02-03T00:00:00Z"}
    weekend = api.call(CODE, query={"starting_at": "2026-02-07"})["data"]
    assert len(weekend) < len(page["data"])
    for day in ("2020-01-01", text(noon + DAY)[:10]):
        assert api.call(CODE, query={"starting_at": day})["data"] == []


def test_claude_code_records_come_in_pages():
    """All of a day's, one after the other."""
    client = Client(EmulatorTransport(Emulator()), api_key="any")
    report = client.organization.usage_report
    whole = report.claude_code(starting_at="2026-02-03")
    first = report.claude_code(starting_at="2026-02-03", limit=2)
    assert first.has_more
    found = [one for page in client.pages(first.next) for one in page.data]
    assert [*first.data, *found] == whole.data
    assert client.organization.cost_report(starting_at="2026-02-03", limit=1).has_more
