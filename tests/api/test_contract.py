"""The 73 core operations against the API's own table of them: requests, responses, paging."""

import asyncio
import json
import re
from email.parser import BytesParser
from email.policy import HTTP
from urllib.parse import parse_qsl, urlsplit

import pytest
from attrs import NOTHING, fields
from driving import KEY, answer, both, both_modes, client, do, each
from operations_table import CORE, arguments, body_schema, class_of, is_form, method, properties
from places import API, ROOT

import claude_lite
from claude_lite import AsyncClient, Client, CreateMessage, Message, Response, StreamMessage
from claude_lite.api.batches import BatchEntry, ListBatches
from claude_lite.api.completions import StreamCompletion
from claude_lite.api.files import ListFiles
from claude_lite.api.reports import CostReport
from claude_lite.api.skills import ListSkills
from claude_lite.core.config import Config
from claude_lite.core.model import Result
from claude_lite.core.operation import EXTRA_FIELDS, Operation
from claude_lite.core.pages import ListOperation, Page
from claude_lite.emulator import Emulator
from claude_lite_transports.emulator import AsyncEmulatorTransport, EmulatorTransport

INDEX = json.loads((API / "samples" / "index.json").read_text())["samples"]
RESPONSES = [one for one in INDEX if one["file"].startswith("responses/")]
JSON_SAMPLES = [one["file"] for one in RESPONSES if one.get("format", "json") == "json"]
REQUESTS = [one for one in INDEX if one["file"].startswith("requests/")]
OF_SAMPLE = {one["file"]: one["op"] for one in INDEX if "op" in one}
VERSIONS = ("2023-06-01", "2026-10-21")

# Fields of a message beyond the newest table: older versions of the API take them.
OLDER = {"temperature", "top_p", "top_k"}
# Fields of the form of an upload that say how its file is called.
OF_THE_PART = {"filename", "content_type"}
# Cursors of the older shape of the list of files.
OLDER_CURSORS = {"after_id", "before_id"}
# `stream` is not a field: to stream is an operation of its own.
STREAMED = {CreateMessage: StreamMessage}

every_operation = pytest.mark.parametrize("name", CORE)
every_sample = pytest.mark.parametrize("file", JSON_SAMPLES)


def sample(file):
    """Read a sample's bytes."""
    return (API / "samples" / file).read_bytes()


def query_text(value):
    """Write a query parameter as the API reads it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def expected_query(query):
    """List the pairs of a query."""
    pairs = []
    for name, value in query.items():
        if isinstance(value, list):
            pairs += [(f"{name}[]", item) for item in value]
        else:
            pairs.append((name, query_text(value)))
    return sorted(pairs)


def response_of(name):
    """Find a response for an operation among the samples."""
    for one in RESPONSES:
        if one["op"] == name:
            kind = CORE[name]["accept"]
            return Response(200, {"content-type": kind, "request-id": "req_1"}, sample(one["file"]))
    raise AssertionError(f"no sample of {name}")


async def call(made, name, given):
    """Call a method (sync or async) to its end; of a stream return the list of its items."""
    result = method(made, name)(**given)
    if not hasattr(result, "__enter__") and not hasattr(result, "__aenter__"):
        return await do(lambda: result)
    async with both(result) as stream:
        return [item async for item in stream]


def form_of(body, content_type):
    """Read a form: its parts by name."""
    head = f"content-type: {content_type}\r\n\r\n".encode()
    parts = BytesParser(policy=HTTP).parsebytes(head + b"".join(body)).iter_parts()
    return [
        (
            part.get_param("name", header="content-disposition"),
            part.get_filename(),
            part.get_content_type(),
            part.get_payload(decode=True),
        )
        for part in parts
    ]


# Requests


def test_there_are_73_core_operations():
    """The table is whole."""
    assert len(CORE) == 73


@every_operation
@both_modes
def test_the_request_on_the_wire_is_that_of_the_table(mode, name, skill):
    """Method, path, query, headers and body are what the API's table says, and nothing more."""
    one = CORE[name]
    path, query, headers, body = arguments(one, skill)
    made = client(mode, response_of(name))
    asyncio.run(call(made, name, {**path, **query, **headers, **body}))
    (request,) = made.transport.requests
    split = urlsplit(request.url)
    assert f"{split.scheme}://{split.netloc}" == made.config.base_url
    assert (request.method, split.path) == (one["method"], one["path"].format(**path))
    assert sorted(parse_qsl(split.query)) == expected_query({**query, **one["fixed_query"]})
    assert "+" not in split.query
    expected = {"accept": one["accept"], "x-api-key": KEY, "anthropic-version": VERSIONS[0]}
    for part in one["header_params"]:
        expected[part["name"]] = headers[part["arg"]]
    flags = [*headers.get("betas", ()), *one["betas"]["sent_by_default"]]
    if flags:
        expected["anthropic-beta"] = ",".join(flags)
    content_type = one["request"]["content_type"]
    sent = dict(request.headers)
    for of_the_client in ("user-agent", "accept-encoding"):
        sent.pop(of_the_client, None)
    given_type = sent.pop("content-type", None)
    assert sent == expected
    assert (given_type or "").partition(";")[0] == (content_type or "")
    if content_type is None:
        assert request.body == b""
    elif is_form(one):
        check_form(one, form_of(request.body, given_type))
    else:
        assert json.loads(request.body) == body


def check_form(one, parts):
    """Hold the parts of a form to the table: plain fields first, each with its name."""
    found = [(name, filename) for name, filename, _, _ in parts]
    files = [("files[]", "my-skill/SKILL.md")] if "files" in properties(one) else []
    files += [("file", "unnamed")] if "file" in properties(one) else []
    plain = [(part["name"], None) for part in one["request"]["parts"] if part["kind"] == "field"]
    assert found == plain + files
    for name, filename, kind, payload in parts:
        if filename is None:
            assert payload.decode() in {"1", "Mine"}
        elif name == "file":
            assert (kind, payload) == ("application/octet-stream", b"abc")


@every_operation
@both_modes
def test_only_what_is_required_has_to_be_given(mode, name, skill):
    """The rest is left out of the request, not sent as null."""
    one = CORE[name]
    path, query, _, body = arguments(one, skill)
    query = {part["name"]: query[part["name"]] for part in one["query_params"] if part["required"]}
    body = {key: body[key] for key in body_schema(one).get("required", ())}
    made = client(mode, response_of(name))
    asyncio.run(call(made, name, {**path, **query, **body}))
    (request,) = made.transport.requests
    assert sorted(parse_qsl(urlsplit(request.url).query)) == expected_query(query)
    assert request.headers.get("anthropic-beta") == (
        ",".join(one["betas"]["sent_by_default"]) or None
    )
    if one["request"]["content_type"] == "application/json":
        assert json.loads(request.body) == body


@every_operation
def test_what_is_required_is_what_the_table_requires(name):
    """No more and no less, so that a type checker knows it."""
    one = CORE[name]
    required = {a.name for a in fields(class_of(name)) if a.default is NOTHING}
    wanted = {part["name"] for part in one["path_params"]}
    wanted |= {part["name"] for part in one["query_params"] if part["required"]}
    assert required == wanted | set(body_schema(one).get("required", ()))


@every_operation
def test_no_field_is_invented(name):
    """Each field is in the table: for this operation, or for its beta form."""
    plain = name.removeprefix("beta.")
    twins = [CORE[each_] for each_ in (plain, f"beta.{plain}") if each_ in CORE]
    known = EXTRA_FIELDS | {"workspace_id", "user_profile_id"}
    for one in twins:
        for kind in ("path_params", "query_params"):
            known |= {part["name"] for part in one[kind]}
        known |= properties(one)
        if is_form(one):
            known |= OF_THE_PART
    if class_of(name) is CreateMessage:
        known |= OLDER
    if class_of(name) is ListFiles:
        known |= OLDER_CURSORS
    assert {a.name for a in fields(class_of(name))} <= known


@pytest.mark.parametrize(
    ("create", "stream"),
    [
        ("messages.create", "messages.stream"),
        ("beta.messages.create", "beta.messages.stream"),
        ("completions.create", "completions.stream"),
    ],
)
@both_modes
def test_to_stream_is_an_operation_with_the_same_fields(mode, create, stream, skill):
    """Its body says `stream`, and is that of the other otherwise; so are its headers."""
    path, query, headers, body = arguments(CORE[create], skill)
    made = client(mode, response_of(create))
    operation = class_of(stream)(**path, **query, **headers, **body)
    assert isinstance(operation, StreamMessage | StreamCompletion)
    request = operation.build(made.config.target)
    other = class_of(create)(**headers, **body).build(made.config.target)
    assert json.loads(request.body) == {**body, "stream": True}
    assert (request.url, dict(request.headers)) == (other.url, dict(other.headers))


@pytest.mark.parametrize("one", REQUESTS, ids=lambda one: one["file"])
def test_request_samples_are_what_is_sent(one, tmp_path):
    """A sample's body is that of the operation with its fields."""
    text = sample(one["file"])
    cls, table = class_of(one["op"]), CORE[one["op"]]
    config = Config(api_key=KEY)
    path = {part["name"]: "id_1" for part in table["path_params"]}
    if one.get("format") == "multipart":
        wanted = form_of([text], f"multipart/form-data; boundary={one['boundary']}")
        request = cls(**form_fields(wanted, tmp_path)).build(config.target)
        found = form_of(request.body, request.headers["content-type"])
        assert [(n, f, p.strip()) for n, f, _, p in found] == [
            (n, f, p.strip()) for n, f, _, p in wanted
        ]
        return
    body = json.loads(text)
    given = dict(body)
    if given.pop("stream", False):
        cls = STREAMED[cls]
    assert json.loads(cls(**path, **given).build(config.target).body) == body


def form_fields(parts, folder):
    """Give the fields of the operation that makes this form, with its files on disk."""
    found = {}
    for name, filename, _, payload in parts:
        if filename is None:
            found[name] = payload.decode().strip()
            continue
        path = folder / filename
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(payload)
        key = name.removesuffix("[]")
        found[key] = folder / filename.split("/")[0]
    return found


@every_operation
def test_an_operation_survives_a_queue(name, skill):
    """As JSON and back it is equal; bytes of a file are the one thing that JSON cannot say."""
    path, query, headers, body = arguments(CORE[name], skill)
    if "file" in body:
        body["file"] = str(skill / "SKILL.md")
    if "files" in body:
        body["files"] = str(skill)
    operation = class_of(name)(**path, **query, **headers, **body)
    data = json.loads(json.dumps(operation.to_dict()))
    assert Operation.from_dict(data) == operation


# Responses


def parsed(file, data):
    """Read *data* as the operation of a JSON sample reads it."""
    cls = class_of(OF_SAMPLE[file])
    given = {a.name: "id_1" for a in fields(cls) if a.default is NOTHING}
    operation = cls(**{**given, **({"requests": []} if "requests" in given else {})})
    body = json.dumps(data).encode()
    return operation.parse(Response(200, {"content-type": "application/json"}, body))


@every_sample
@both_modes
def test_a_response_is_read_without_loss(mode, file, skill):
    """Sync and async and under both versions, older shapes included: JSON in, the same out."""
    name = OF_SAMPLE[file]
    one = CORE[name]
    path, query, headers, body = arguments(one, skill)
    response = Response(200, {"content-type": "application/json", "request-id": "r"}, sample(file))
    for version in VERSIONS:
        made = client(mode, response, api_version=version)
        result = asyncio.run(call(made, name, {**path, **query, **headers, **body}))
        (request,) = made.transport.requests
        assert request.headers["anthropic-version"] == version
        assert json.dumps(result.to_dict()) == json.dumps(json.loads(sample(file)))
        assert isinstance(result, Result)
        assert result.request_id == "r"


@pytest.mark.parametrize(
    "file", [one["file"] for one in RESPONSES if one.get("format") in {"jsonl", "binary"}]
)
@both_modes
def test_a_streamed_response_is_read_without_loss(mode, file, skill):
    """Lines of JSON come as values, other bodies as bytes."""
    name = OF_SAMPLE[file]
    path, query, headers, body = arguments(CORE[name], skill)
    response = Response(200, {"content-type": "application/binary"}, sample(file))
    items = asyncio.run(call(client(mode, response), name, {**path, **query, **headers, **body}))
    if file.endswith(".bin"):
        assert b"".join(items) == sample(file)
        return
    assert all(isinstance(item, BatchEntry) for item in items)
    lines = sample(file).splitlines()
    assert [item.to_dict() for item in items] == [json.loads(line) for line in lines if line]


# What is not known yet


def places(value, path=()):
    """Yield the path to every value in a JSON document, itself included."""
    yield path, value
    if isinstance(value, dict | list):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from places(item, (*path, key))


def changed(value, path, change):
    """Copy a JSON document, with one place in it changed."""
    if not path:
        return change(value)
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = changed(value[path[0]], path[1:], change)
    return copy


NEW = {"deep": [1, {"type": "newer"}, None], "big": 12345678901234567890123}


def variants(data):
    """Yield the document with one thing that nobody knows: a field, a value, a block."""
    for path, value in places(data):
        if isinstance(value, dict):
            yield changed(data, path, lambda old: {**old, "added": NEW})
            yield changed(data, path, lambda old: {"received": 1, "to_dict": 2, **old})
        elif isinstance(value, str):
            yield changed(data, path, lambda _: "never_seen")
        elif isinstance(value, list) and path and path[-1] in {"content", "citations"}:
            yield changed(data, path, lambda old: [{"type": "never_seen", **NEW}, *old])


@every_sample
def test_what_is_unknown_breaks_nothing_and_is_kept(file):
    """At every place of every response: a new field, a new value, a new kind of block."""
    count = 0
    for data in variants(json.loads(sample(file))):
        result = parsed(file, data)
        assert result.to_dict() == data
        if isinstance(result, Message):
            following = CreateMessage(model="m", max_tokens=1, messages=[result])
            sent = json.loads(following.build(Config(api_key=KEY).target).body)
            assert sent["messages"][0]["content"] == data["content"]
        count += 1
    assert count >= 2


@pytest.mark.parametrize("file", [f["file"] for f in RESPONSES if f.get("format") == "jsonl"])
@both_modes
def test_what_is_unknown_in_results_is_kept(mode, file):
    """The same for each line of a batch's results."""
    given = [
        variant
        for line in sample(file).splitlines()
        if line
        for variant in variants(json.loads(line))
    ]
    body = b"\n".join(json.dumps(one).encode() for one in given)
    made = client(mode, Response(200, {"content-type": "application/binary"}, body))
    items = asyncio.run(call(made, OF_SAMPLE[file], {"message_batch_id": "b"}))
    assert [item.to_dict() for item in items] == given


# Paging

MODEL = json.loads(sample("responses/models.retrieve.json"))
FILE = json.loads(sample("responses/files.retrieve_metadata.json"))
SKILL = json.loads(sample("responses/skills.retrieve.json"))
BATCH = json.loads(sample("responses/messages.batches.retrieve.json"))
COST = json.loads(sample("responses/organization.cost_report.json"))["data"][0]


@pytest.mark.parametrize(
    ("operation", "page", "following"),
    [
        (ListBatches(), {"has_more": True, "first_id": "a", "last_id": "b"}, {"after_id": "b"}),
        (
            ListBatches(before_id="x", limit=5),
            {"has_more": True, "first_id": "a", "last_id": "b"},
            {"before_id": "a", "limit": 5},
        ),
        (ListBatches(), {"has_more": False, "first_id": "a", "last_id": "b"}, None),
        (ListBatches(), {"has_more": True, "last_id": "b", "data": []}, None),
        (
            ListBatches(),
            {"has_more": True, "first_id": "a", "last_id": None},
            {"after_id": "msgbatch_01SampleBatchAbCd"},  # of the last item
        ),
        (
            ListBatches(before_id="x"),
            {"has_more": True, "last_id": "b"},
            {"before_id": "msgbatch_01SampleBatchAbCd"},  # of the first item
        ),
        (ListBatches(), {"first_id": "a", "last_id": None}, None),
        (ListBatches(), {"first_id": "a", "last_id": "b"}, {"after_id": "b"}),
        (ListSkills(source="custom"), {"next_page": "p2"}, {"page": "p2", "source": "custom"}),
        (ListSkills(page="p2"), {"next_page": "p3", "data": []}, {"page": "p3"}),
        (ListSkills(page="p2"), {"next_page": None}, None),
        (ListSkills(page="p2"), {"next_page": ""}, None),
        (ListSkills(page="p2"), {}, None),
        (ListFiles(), {"next_page": "p2"}, {"page": "p2"}),
        (ListFiles(), {"next_page": None}, None),
        (
            ListFiles(betas=["files-api-2025-04-14"]),
            {"has_more": True, "first_id": "a", "last_id": "b"},
            {"after_id": "b", "betas": ["files-api-2025-04-14"]},
        ),
        (
            CostReport(starting_at="t"),
            {"has_more": True, "next_page": "p2"},
            {"page": "p2", "starting_at": "t"},
        ),
        (CostReport(starting_at="t"), {"has_more": False, "next_page": "p2"}, None),
        (CostReport(starting_at="t"), {"has_more": True, "next_page": None}, None),
        (
            CostReport(starting_at="t"),
            {"has_more": True, "next_page": "p2", "data": []},
            {"page": "p2", "starting_at": "t"},
        ),
    ],
)
def test_next_follows_the_stop_rules(operation, page, following):
    """By ids in the direction that was asked for, by a cursor also past an empty page."""
    item = {ListBatches: BATCH, ListSkills: SKILL, ListFiles: FILE, CostReport: COST}
    data = {"data": [item[type(operation)]], **page}
    found = operation.parse(answer(data))
    assert isinstance(found, Page)
    expected = None if following is None else type(operation)(**following)
    assert expected == found.next


def test_every_list_of_the_table_is_paged_as_it_says():
    """Each operation with pages gives pages, with the cursors of its style."""
    for name, one in CORE.items():
        cls = class_of(name)
        style = (one["pagination"] or {}).get("style")
        assert issubclass(cls, ListOperation) == (style is not None), name
        if style:
            assert {"id_cursor": "after_id"}.get(style, "page") in {a.name for a in fields(cls)}


def emulated(mode):
    """Make a client of an emulator with things in it to list."""
    emulator = Emulator()
    for i in range(7):
        emulator.add_file(f"{i}.txt", b"x")
    if mode == "sync":
        return Client(EmulatorTransport(emulator), api_key="canary")
    return AsyncClient(AsyncEmulatorTransport(emulator), api_key="canary")


DAYS = {"starting_at": "2026-01-01T00:00:00Z", "ending_at": "2026-01-08T00:00:00Z"}


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("models.list", {}),
        ("files.list", {}),
        ("beta.files.list", {"betas": ["files-api-2025-04-14"]}),
        ("skills.list", {}),
        ("messages.batches.list", {}),
        ("organization.users.list", {}),
        ("organization.workspaces.list", {}),
        ("organization.usage_report.messages", DAYS),
        ("organization.cost_report", DAYS),
    ],
)
@both_modes
def test_pages_and_items_of_the_emulator(mode, name, given):
    """Pages of two bring the same items in the same order as one page of all of them."""

    async def main():
        made = emulated(mode)
        for i in range(5):
            request = {"custom_id": f"r{i}", "params": {}}
            await do(made.messages.batches.create, requests=[request])
            await do(made.organization.workspaces.create, name=f"w{i}")
        cls = class_of(name)
        whole = await do(method(made, name), limit=31 if given is DAYS else 100, **given)
        pages = [page async for page in each(made.pages(cls(limit=2, **given)))]
        items = [item async for item in each(made.items(cls(limit=2, **given)))]
        return whole, pages, items

    whole, pages, items = asyncio.run(main())
    assert whole.next is None
    assert items == list(whole.data) == [item for page in pages for item in page.data]
    assert len(pages) == max(1, -(-len(items) // 2))
    assert pages[-1].next is None
    if name != "organization.users.list":
        assert len(pages) > 1


@both_modes
def test_pages_go_backwards_by_ids(mode):
    """From `before_id` on, each page is the one before."""

    async def main():
        made = emulated(mode)
        for i in range(6):
            request = {"custom_id": f"r{i}", "params": {}}
            await do(made.messages.batches.create, requests=[request])
        names = [b.id for b in (await do(made.messages.batches.list)).data]
        last = ListBatches(limit=2, before_id=names[-1])
        return names, [[b.id for b in page.data] async for page in each(made.pages(last))]

    names, pages = asyncio.run(main())
    assert pages == [names[3:5], names[1:3], names[:1]]


# The documentation

METHODS = ROOT / "docs" / "methods.md"
ROW = re.compile(r"\| `([\w.]+)` \| `client\.([\w.]+)` \| `(\w+)` \| `(\w+) (\S+)` \|")


def test_the_table_of_methods_is_whole():
    """It has a row for each core operation, in order, which says what is so."""
    rows = ROW.findall(METHODS.read_text())
    expected = []
    for name, one in CORE.items():
        cls = class_of(name)
        assert getattr(claude_lite, cls.__name__) is cls
        expected.append((name, name, cls.__name__, one["method"], one["path"]))
    assert rows == expected


def test_the_names_in_the_documentation_exist():
    """Each method that it writes as `client.…` is one, sync and async."""
    names = set(re.findall(r"`(?:with )?client\.([\w.]+)", METHODS.read_text()))
    assert len(names) > len(CORE)
    for made in (Client(api_key=KEY), AsyncClient(api_key=KEY)):
        for name in names:
            assert method(made, name) is not None
