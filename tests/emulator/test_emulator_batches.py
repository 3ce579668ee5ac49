"""The emulator's Message Batches API."""

import resource
import sys

import orjson
import pytest
from emulated import HEADERS, Api, form, message
from hypothesis import given
from hypothesis import strategies as st

from claude_lite import Client
from claude_lite.api.batches import BatchResults, CreateBatch, RetrieveBatch
from claude_lite.emulator import Emulator, message_hash
from claude_lite.emulator.reading.blobs import Blob
from claude_lite.emulator.reading.json_array import find_elements
from claude_lite.emulator.serving import emulator_server
from claude_lite.errors import UsageError
from claude_lite.wire import Request

PARAMS = orjson.dumps(message())
UNIT = 1024 if sys.platform == "linux" else 1  # of the resident set size, in bytes
CREATE = "messages.batches.create"
RETRIEVE = "messages.batches.retrieve"
RESULTS = "messages.batches.results"
CANCEL = "messages.batches.cancel"
DELETE = "messages.batches.delete"


def batch(*prompts, **more):
    """Make the body of a batch: a message each, with ids r0, r1 ..."""
    return {
        "requests": [
            {"custom_id": f"r{i}", "params": message(prompt, **more)}
            for i, prompt in enumerate(prompts)
        ]
    }


def run(api, body, seconds=100.0, **how):
    """Send a batch, wait, and return the batch with its results by custom_id."""
    created = api.call(CREATE, body, **how)
    api.clock.now += seconds
    ended = api.call(RETRIEVE, message_batch_id=created["id"])
    assert ended["processing_status"] == "ended"
    lines = api.call(RESULTS, message_batch_id=created["id"])
    results = {line["custom_id"]: line["result"] for line in lines}
    assert len(results) == len(lines)
    return ended, results


def counted(**counts):
    """Write the counts of a batch."""
    names = ("processing", "succeeded", "errored", "canceled", "expired")
    return {**dict.fromkeys(names, 0), **counts}


def test_a_batch_goes_on_and_ends():
    """It is in progress with nothing but `processing`, and then ended, with its results."""
    api = Api(batches={"seconds": 10})
    created = api.call(CREATE, batch("one", "two", "three"))
    assert created["processing_status"] == "in_progress"
    assert created["request_counts"] == counted(processing=3)
    assert (created["results_url"], created["ended_at"]) == (None, None)
    api.clock.now = 9.9
    assert api.call(RETRIEVE, message_batch_id=created["id"]) == created
    api.clock.now = 10
    ended = api.call(RETRIEVE, message_batch_id=created["id"])
    assert ended["processing_status"] == "ended"
    assert ended["request_counts"] == counted(succeeded=3)
    assert ended["ended_at"] > created["created_at"]
    assert ended["results_url"] == (f"https://api.test/v1/messages/batches/{created['id']}/results")


def test_each_result_answers_its_request():
    """The answer is that of a single message, billed as a batch's; the order is its own."""
    api = Api()
    prompts = [f"prompt {i}" for i in range(50)]
    created = api.call(CREATE, batch(*prompts))
    api.clock.now = 10
    lines = api.call(RESULTS, message_batch_id=created["id"])
    assert [line["custom_id"] for line in lines] != [f"r{i}" for i in range(50)]
    ids = set()
    for line in lines:
        prompt = prompts[int(line["custom_id"][1:])]
        answer = line["result"]["message"]
        expected = message_hash([{"role": "user", "content": prompt}])
        assert answer["content"][0]["text"].startswith(f"Echo {expected}: {prompt}")
        assert answer["usage"]["service_tier"] == "batch"
        ids.add(answer["id"])
    assert len(ids) == 50
    assert api.call(RESULTS, message_batch_id=created["id"]) == lines


def test_what_is_wrong_with_a_request_is_its_result():
    """Requests are validated late: the batch is taken, and the others are answered."""
    body = batch("fine")
    wrong = {
        "no max_tokens": {"model": "claude-sonnet-5-5", "messages": []},
        "no model": message(model="claude-none"),
        "stream": message(stream=True),
        "speed": message(speed="fast"),
        "nothing": message(max_tokens=0),
        "schema": message(output_config={"format": {"type": "json_schema", "schema": {"not": {}}}}),
        "file": message([{"type": "document", "source": {"type": "file", "file_id": "file_none"}}]),
    }
    body["requests"] += [
        {"custom_id": name.replace(" ", "_"), "params": params} for name, params in wrong.items()
    ]
    ended, results = run(Api(), body)
    assert ended["request_counts"] == counted(succeeded=1, errored=len(wrong))
    errors = {name: result["error"]["error"] for name, result in results.items() if name != "r0"}
    assert errors["no_max_tokens"]["message"] == "max_tokens: Field required"
    assert errors["no_model"] == {"type": "not_found_error", "message": "model: claude-none"}
    assert errors["file"]["type"] == "not_found_error"
    assert errors["stream"]["message"] == "stream: not available in a batch"
    assert results["no_model"]["error"]["request_id"].startswith("req_")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"{", "not valid JSON"),
        (b'{"requests": [{]}', "not valid JSON"),
        ([], "requests: Input should be a valid dictionary"),
        ({}, "requests: Field required"),
        ({"requests": {}}, "requests: Input should be a valid list"),
        ({"requests": []}, "requests: List should have at least 1 item"),
        ({"requests": [], "more": 1}, "more: Extra inputs are not permitted"),
        ({"requests": [7]}, "requests.0: Input should be a valid dictionary"),
        ({"requests": [{"params": {}}]}, "requests.0.custom_id: Field required"),
        ({"requests": [{"custom_id": "a"}]}, "requests.0.params: Field required"),
        ({"requests": [{"custom_id": "a b", "params": {}}]}, "requests.0.custom_id: String"),
        ({"requests": [{"custom_id": "a" * 65, "params": {}}]}, "requests.0.custom_id: String"),
        ({"requests": [{"custom_id": "a\n", "params": {}}]}, "requests.0.custom_id: String"),
        ({"requests": [{"custom_id": "a", "params": 1}]}, "requests.0.params: Input"),
        ({"requests": [{"custom_id": "a", "params": {}}] * 2}, "requests.1.custom_id: must be"),
        ({"requests": [{"custom_id": "a", "params": {}, "b": 1}]}, "requests.0.b: Extra"),
    ],
    ids=str,
)
def test_a_malformed_batch_is_refused_at_once(body, words):
    """What is wrong with the batch itself is a 400 that names the field."""
    content = body if isinstance(body, bytes) else orjson.dumps(body)
    assert words in Api().refuse(CREATE, 400, content)[0]


def test_more_than_100000_requests_are_too_many():
    """One above the limit is a 413."""
    request = b'{"custom_id":"a","params":{}}'
    body = b'{"requests":[' + b",".join([request] * 100_001) + b"]}"
    assert "100000" in Api().refuse(CREATE, 413, body)[0]


def test_a_canceled_batch_keeps_what_was_done():
    """It is canceling, then ended: what was not done by then is canceled."""
    api = Api(batches={"seconds": 10, "canceling": 2})
    created = api.call(CREATE, batch(*"abcdefghij"))
    api.clock.now = 4
    canceled = api.call(CANCEL, message_batch_id=created["id"])
    assert canceled["processing_status"] == "canceling"
    assert canceled["cancel_initiated_at"] is not None
    assert canceled["request_counts"] == counted(processing=10)
    api.clock.now = 5
    assert api.call(CANCEL, message_batch_id=created["id"]) == canceled
    api.clock.now = 6
    ended = api.call(RETRIEVE, message_batch_id=created["id"])
    assert ended["request_counts"] == counted(succeeded=4, canceled=6)
    lines = api.call(RESULTS, message_batch_id=created["id"])
    kinds = {line["custom_id"]: line["result"]["type"] for line in lines}
    assert [kinds[f"r{i}"] for i in range(10)] == ["succeeded"] * 4 + ["canceled"] * 6
    api.refuse(CANCEL, 400, message_batch_id=created["id"])


def test_what_is_not_done_in_its_lifetime_expires():
    """A batch ends with its lifetime, done or not."""
    api = Api(batches={"seconds": 10, "lifetime": 5})
    ended, results = run(api, batch(*"abcd"), seconds=5)
    assert ended["request_counts"] == counted(succeeded=2, expired=2)
    assert ended["expires_at"] == ended["ended_at"]
    assert results["r3"] == {"type": "expired"}


def test_controls_decide_about_single_requests():
    """A prompt can ask for an expired or errored result, always or a number of times."""
    api = Api()
    body = batch("[[expire]]", "[[expire:1]]", "[[error:overloaded_error,1]]", "[[error]]")
    ended, results = run(api, body)
    assert ended["request_counts"] == counted(expired=2, errored=2)
    assert results["r2"]["error"]["error"] == {"type": "overloaded_error", "message": "Overloaded"}
    assert results["r3"]["error"]["error"]["type"] == "api_error"
    again, results = run(api, body)
    assert again["request_counts"] == counted(expired=1, errored=1, succeeded=2)
    assert results["r1"]["type"] == results["r2"]["type"] == "succeeded"


def test_an_error_of_an_unknown_type_is_sent_as_it_is():
    """The type in the control need not be one that exists."""
    api = Api()
    created = api.call(CREATE, batch("[[error:new_error]]"))
    api.clock.now = 10
    response = api.respond(RESULTS, message_batch_id=created["id"])
    assert response.json()["result"]["error"]["error"]["type"] == "new_error"


def test_results_and_deletion_wait_for_the_end():
    """Before the end there are no results, and nothing is deleted; after it, all of it goes."""
    api = Api()
    created = api.call(CREATE, batch("a"))
    which = {"message_batch_id": created["id"]}
    api.refuse(RESULTS, 404, **which)
    api.refuse(DELETE, 400, **which)
    api.clock.now = 10
    api.call(RESULTS, **which)
    assert api.call(DELETE, **which) == {"id": created["id"], "type": "message_batch_deleted"}
    for name in (RETRIEVE, RESULTS, CANCEL, DELETE):
        api.refuse(name, 404, **which)


def test_results_are_archived_after_29_days():
    """The batch stays, its results do not."""
    api = Api()
    created = api.call(CREATE, batch("a"))
    api.clock.now = 29 * 86400
    batch_ = api.call(RETRIEVE, message_batch_id=created["id"])
    assert batch_["archived_at"] is not None
    assert batch_["results_url"] is None
    api.refuse(RESULTS, 404, message_batch_id=created["id"])


def test_a_batch_can_be_late_to_appear():
    """With `appears_after`, what was just created is not found for a while."""
    api = Api(batches={"appears_after": 3})
    created = api.call(CREATE, batch("a"))
    api.refuse(RETRIEVE, 404, message_batch_id=created["id"])
    assert api.call("messages.batches.list")["data"] == []
    api.clock.now = 3
    assert api.call(RETRIEVE, message_batch_id=created["id"])["processing_status"] == "ended"


def test_the_list_is_of_the_workspace_newest_first():
    """Another workspace has batches of its own."""
    api = Api()
    made = [api.call(CREATE, batch(str(i)))["id"] for i in range(3)]
    other = {"anthropic-workspace-id": "wrkspc_other"}
    assert [one["id"] for one in api.call("messages.batches.list")["data"]] == made[::-1]
    assert api.call("messages.batches.list", headers=other)["data"] == []
    api.refuse(RETRIEVE, 404, headers=other, message_batch_id=made[0])
    assert api.respond("messages.batches.list", headers=other).workspace_id == "wrkspc_other"
    refused = api.refuse("messages.batches.list", 400, headers={"anthropic-workspace-id": "x"})
    assert refused[0].startswith("anthropic-workspace-id: ")


def test_the_beta_operations_have_the_beta_shapes():
    """With a beta header a message in a batch is a beta message."""
    api = Api()
    betas = ["any-2026-01-01"]
    created = api.call("beta.messages.batches.create", batch("a", mcp_servers=[]), betas=betas)
    which = {"betas": betas, "message_batch_id": created["id"]}
    api.call("beta.messages.batches.cancel", **which)
    api.clock.now = 10
    api.call("beta.messages.batches.retrieve", **which)
    api.call("beta.messages.batches.list", betas=betas)
    api.call("beta.messages.batches.results", **which)
    api.call("beta.messages.batches.delete", **which)


def test_the_version_of_the_batch_is_that_of_its_requests():
    """Under 2026-10-21 a temperature is an error, of the request alone."""
    _, results = run(Api(), batch("a", temperature=0.5))
    assert results["r0"]["type"] == "succeeded"
    newest = {"anthropic-version": "2026-10-21"}
    _, results = run(Api(), batch("a", temperature=0.5), headers=newest)
    assert results["r0"]["error"]["error"]["message"].startswith("temperature: ")


def test_a_batch_is_charged_once_as_one():
    """What its messages used is in the reports, however often its results are read."""
    api = Api()
    ended, results = run(api, batch("a", "[[expire]]"))
    api.call(RESULTS, message_batch_id=ended["id"])
    day = ended["created_at"][:10] + "T00:00:00Z"
    query = {"starting_at": day, "bucket_width": "1d", "group_by": ["service_tier"]}
    report = api.call("organization.usage_report.messages", query=query)
    (row,) = [row for bucket in report["data"] for row in bucket["results"]]
    assert row["service_tier"] == "batch"
    assert row["output_tokens"] == results["r0"]["message"]["usage"]["output_tokens"]


def test_options_are_checked():
    """A pace that is not one is an error that names the field."""
    with pytest.raises(UsageError, match=r"batches\.seconds"):
        Emulator(batches={"seconds": -1})


def test_a_skill_that_goes_before_the_results_are_read_is_an_error_of_its_request():
    """Nothing breaks in the middle of a stream of results."""
    api = Api()
    manifest = b"---\nname: a\ndescription: b\n---\n"
    skill = api.call("skills.create", form(("files[]", "a/SKILL.md", manifest)))
    wanted = [{"type": "custom", "skill_id": skill["id"]}]
    created = api.call(CREATE, batch("a", container={"skills": wanted}))
    api.call("skills.delete", skill_id=skill["id"])
    api.clock.now = 10
    (line,) = api.call(RESULTS, message_batch_id=created["id"])
    assert line["result"]["error"]["error"]["type"] == "not_found_error"


VALUES = st.recursive(
    st.none() | st.integers(-9, 9) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=12,
)


@given(
    st.lists(VALUES, max_size=5), st.dictionaries(st.text(), VALUES, max_size=3), st.integers(1, 9)
)
def test_an_array_is_split_wherever_the_bytes_are_cut(elements, others, size):
    """Its elements and the rest are found as a parser would find them."""
    others.pop("requests", None)
    document = orjson.dumps({**others, "requests": elements, "end": 0})
    pieces = [document[i : i + size] for i in range(0, len(document), size)]
    found = find_elements(pieces, "requests", 100)
    places = zip(found.starts, found.stops, strict=True)
    texts = [document[start:stop] for start, stop in places]
    assert [orjson.loads(text) for text in texts if text] == elements
    assert orjson.loads(bytes(found.rest)) == {**others, "requests": [], "end": 0}


def test_an_array_with_too_many_elements_is_not_read_to_its_end():
    """Past the limit nothing more is looked at."""
    found = find_elements((b'{"requests":[1,2,3,4,5', b"not JSON at all"), "requests", 3)
    assert len(found.stops) == 4


@pytest.mark.slow
def test_a_large_batch_is_kept_on_disk_and_its_results_come_in_pieces():
    """100,000 requests are taken, and reading their results needs no memory to speak of."""
    count = 100_000
    api = Api(batches={"seconds": 0})
    requests = (b'{"custom_id":"r%d","params":%b}' % (i, PARAMS) for i in range(count))
    created = api.call(CREATE, b'{"requests":[' + b",".join(requests) + b"]}")
    ended = api.call(RETRIEVE, message_batch_id=created["id"])
    assert ended["request_counts"] == counted(succeeded=count)
    request = Request("GET", ended["results_url"], HEADERS)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    reply = api.emulator.reply(request)
    lines = longest = 0
    for chunk in reply.steps:
        lines += chunk.count(b"\n")
        longest = max(longest, len(chunk))
    assert (lines, reply.size) == (count, None)
    assert longest < 32 * 1024
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * UNIT < 10_000_000


def test_on_a_port_the_results_url_is_that_of_the_server():
    """A client can take it as it is."""
    with emulator_server(Emulator(batches={"seconds": 0})) as url:
        client = Client(base_url=url, api_key="canary")
        created = client.send(CreateBatch(requests=batch("a")["requests"]))
        ended = client.send(RetrieveBatch(message_batch_id=created.id))
        assert ended.results_url == f"{url}/v1/messages/batches/{created.id}/results"
        with client.stream(BatchResults(message_batch_id=created.id)) as results:
            assert [entry.custom_id for entry in results] == ["r0"]


def test_a_blob_is_its_own_copy():
    """What is kept already is not kept twice."""
    blob = Blob.of(b"x" * 1_000_000)
    assert Blob.of(blob) is blob
