"""Operations as values, and as requests: every byte that they put on the wire."""

import copy
import inspect
import json
import os
import pickle
import re
import subprocess
import sys
from datetime import UTC, datetime
from uuid import UUID

import attrs
import orjson
import pytest
from driving import API, HELLO, KEY, UNARY, answer, config, drive, own_host, sample
from hypothesis import given
from hypothesis import strategies as st

from claude_lite import (
    NULL,
    CountTokens,
    CreateMessage,
    CreateWorkspace,
    ListModels,
    Message,
    Operation,
    RawRequest,
    RequestTooLarge,
    Response,
    StreamMessage,
    UnexpectedResponse,
    UpdateAPIKey,
    UpdateWorkspace,
    UsageError,
)
from claude_lite.api.messages.operations import BetaCountTokens
from claude_lite.core.config import Config
from claude_lite.core.operation import MEGABYTE, Route, operation
from claude_lite.core.targets import Target, path_segment, query_string

CONFIG = Config(api_key=KEY, base_url="https://api.anthropic.com")
FACTS = {op["id"]: op for op in json.loads((API / "operations.json").read_text())["operations"]}
SCHEMAS = json.loads((API / "schemas.json").read_text())

CREATES = sorted(path.name for path in (API / "samples/requests").glob("messages.create.*json"))
TOOL = {"name": "f", "description": "ü", "input_schema": {"type": "object", "properties": {}}}

VALUES = {
    **UNARY,
    "stream": StreamMessage(**HELLO, collect=True),
    "full": CreateMessage(
        **HELLO,
        system=[{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}],
        tools=[TOOL],
        tool_choice={"type": "auto"},
        temperature=0.5,
        stop_sequences=["END"],
        metadata={"user_id": "u"},
        extra_body={"new_field": {"a": [1, None, True]}},
        extra_query={"beta": True},
        extra_headers={"x-team": "blue"},
        betas=["one-2026-01-01"],
        workspace_id="wrkspc_1",
    ),
    "raw": RawRequest(method="PATCH", path="/v1/x", json=[1, {"a": None}], query={"q": [1, 2]}),
    "beta count": BetaCountTokens(model="m", messages=[]),
}
each_value = pytest.mark.parametrize("operation", VALUES.values(), ids=VALUES)


def body(operation, made=CONFIG):
    """Read the JSON body of the request for an operation."""
    return json.loads(operation.build(made.target).body)


@each_value
def test_operations_are_frozen(operation):
    """No field of an operation can be set."""
    name = attrs.fields(type(operation))[-1].name
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        setattr(operation, name, "other")


@each_value
def test_operations_are_values(operation):
    """An operation equals its copies, hashes like them, and says in its repr what it is."""
    for other in (copy.copy(operation), copy.deepcopy(operation), operation.replace()):
        assert other == operation
        assert hash(other) == hash(operation)
    assert operation != "something else"
    assert operation not in [other for other in VALUES.values() if other is not operation]
    assert repr(operation).startswith(type(operation).__name__ + "(")


@each_value
def test_operations_survive_queues(operation):
    """Pickle, and JSON by `to_dict` and `from_dict`, give an equal operation and the same bytes."""
    data = json.loads(json.dumps(operation.to_dict()))
    for other in (pickle.loads(pickle.dumps(operation)), Operation.from_dict(data)):  # noqa: S301  # our own
        assert type(other) is type(operation)
        assert other == operation
        assert hash(other) == hash(operation)
        assert other.build(CONFIG.target) == operation.build(CONFIG.target)


def test_equality_is_that_of_the_json():
    """Tuples, lists, models and the order of keys make no difference; values do."""
    message = drive(UNARY["create"], answer()).result
    block = {"type": "text", "text": "a"}
    one = CreateMessage(model="m", max_tokens=1, messages=[{"role": "user", "content": [block]}])
    same = CreateMessage(
        model="m",
        max_tokens=1,
        messages=({"content": ({"text": "a", "type": "text"},), "role": "user"},),
    )
    assert one == same
    assert hash(one) == hash(same)
    turn = CreateMessage(model="m", max_tokens=1, messages=[message])
    plain = CreateMessage(model="m", max_tokens=1, messages=[message.to_param()])
    assert turn == plain
    assert hash(turn) == hash(plain)
    assert one != CreateMessage(**HELLO)
    assert CreateMessage(**HELLO) != StreamMessage(**HELLO)
    assert hash(CreateMessage(**HELLO, temperature=1)) == hash(
        CreateMessage(**HELLO, temperature=1.0)
    )


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(st.dictionaries(st.text(min_size=1, max_size=5), json_values, max_size=4))
def test_any_json_survives_queues(extra):
    """Whatever JSON an operation holds, it comes back equal, and hashes alike."""
    operation = CreateMessage(**HELLO, extra_body=extra)
    other = Operation.from_dict(orjson.loads(orjson.dumps(operation.to_dict())))
    assert other == operation
    assert hash(other) == hash(operation)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({}, "no operation is named None"),
        ({"operation": "messages.creat"}, "no operation is named 'messages.creat'"),
        ({"operation": "messages.create", "model": "m"}, "max_tokens"),
        ({"operation": "messages.count_tokens", "model": "m", "messages": [], "odd": 1}, "odd"),
    ],
)
def test_what_is_no_operation(data, said):
    """A dict that is no operation is a `UsageError` that says why."""
    with pytest.raises(UsageError, match=said):
        Operation.from_dict(data)


@pytest.mark.parametrize("name", CREATES)
def test_create_message_as_the_api_has_it(name):
    """Each sample request, given as keyword arguments, is sent as it stands."""
    expected = json.loads(sample(f"requests/{name}"))
    streamed = expected.pop("stream", False)
    operation = (StreamMessage if streamed else CreateMessage)(**expected)
    assert body(operation) == expected | ({"stream": True} if streamed else {})


def test_count_tokens_as_the_api_has_it():
    """The sample request, given as keyword arguments, is sent as it stands."""
    expected = json.loads(sample("requests/messages.count_tokens.json"))
    assert body(CountTokens(**expected)) == expected


def test_batches_as_the_api_has_them():
    """A batch's requests are sent as they stand, and operations among them as their bodies."""
    expected = json.loads(sample("requests/messages.batches.create.json"))
    cls = type(UNARY["never"])
    assert body(cls(**expected)) == expected
    requests = [
        {"custom_id": one["custom_id"], "params": CreateMessage(**one["params"])}
        for one in expected["requests"]
    ]
    assert body(cls(requests=requests)) == expected


@pytest.mark.parametrize(
    ("operation", "name"),
    [
        (UNARY["create"], "messages.create"),
        (VALUES["stream"], "messages.create"),
        (UNARY["count"], "messages.count_tokens"),
        (UNARY["get"], "models.retrieve"),
        (UNARY["never"], "messages.batches.create"),
    ],
)
def test_method_path_and_headers(operation, name):
    """Method, path, content-type, accept, version and credential are those of the API."""
    facts = FACTS[name]
    request = operation.build(CONFIG.target)
    assert request.method == facts["method"]
    assert request.url == "https://api.anthropic.com" + facts["path"].replace("{model_id}", "m")
    assert request.headers.get("content-type") == (facts["request"] or {}).get("content_type")
    assert request.headers["accept"] == facts["accept"]
    assert request.headers["anthropic-version"] == "2023-06-01"
    assert request.headers["x-api-key"] == KEY
    assert request.headers["accept-encoding"] == "identity"
    assert request.headers["user-agent"].startswith("claude-lite/")
    assert not {"authorization", "anthropic-beta"} & request.headers.keys()
    assert all(header == header.lower() for header in request.headers)


@pytest.mark.parametrize("name", ["messages.create", "messages.count_tokens"])
def test_every_field_of_the_api_is_one(name):
    """Each field and header that the API's reference names can be given by name."""
    cls = {"messages.create": CreateMessage, "messages.count_tokens": CountTokens}[name]
    fields = {a.name for a in attrs.fields(cls)}
    schema = SCHEMAS["$defs"][f"req.{name}"]
    assert set(schema["properties"]) - {"stream"} <= fields
    assert {param["arg"] for param in FACTS[name]["header_params"]} <= fields
    required = {a.name for a in attrs.fields(cls) if a.default is attrs.NOTHING}
    assert required == set(schema["required"])


def test_the_newer_version_is_one_argument_away():
    """`api_version` is sent as it is given."""
    made = CONFIG.with_options(api_version="2026-10-21")
    assert UNARY["create"].build(made.target).headers["anthropic-version"] == "2026-10-21"


def test_a_token_is_a_bearer():
    """A token is sent as `authorization: Bearer`, and then no `x-api-key`."""
    headers = UNARY["create"].build(Config(auth_token="token-0123").target).headers
    assert headers["authorization"] == "Bearer token-0123"
    assert "x-api-key" not in headers


def test_betas_are_joined_by_commas():
    """The client's betas come first, then the call's, then the operation's own; each once."""
    made = CONFIG.with_options(betas=["a", "b"])
    assert UNARY["create"].build(made.target).headers["anthropic-beta"] == "a,b"
    operation = BetaCountTokens(model="m", messages=[], betas=["c", "a"])
    expected = "a,b,c,token-counting-2024-11-01"
    assert operation.build(made.target).headers["anthropic-beta"] == expected
    operation = CountTokens(model="m", messages=[], betas=["c"])
    assert operation.build(CONFIG.target).headers["anthropic-beta"] == "c"


def test_betas_in_extra_headers_are_added():
    """A header `anthropic-beta` of a call, in any case, is added to all other flags."""
    made = CONFIG.with_options(betas=["a"])
    for name in ("anthropic-beta", "Anthropic-Beta"):
        operation = BetaCountTokens(
            model="m", messages=[], betas=["b"], extra_headers={name: "c, a"}
        )
        expected = "a,b,c,token-counting-2024-11-01"
        assert operation.build(made.target).headers["anthropic-beta"] == expected
    alone = CreateMessage(**HELLO, extra_headers={"Anthropic-Beta": "c"})
    assert alone.build(made.target).headers["anthropic-beta"] == "a,c"
    without = BetaCountTokens(model="m", messages=[], extra_headers={"anthropic-beta": None})
    assert without.build(made.target).headers["anthropic-beta"] == "a"
    target = Target(headers={"Anthropic-Beta": "a"}, betas=("b", "a"))
    assert alone.build(target).headers["anthropic-beta"] == "b,a,c"


def test_flags_of_a_wrong_type():
    """A flag that is not text is a `UsageError` when the operation is made."""
    with pytest.raises(UsageError, match="each flag in betas has to be a str, not int"):
        CreateMessage(**HELLO, betas=["a", 1])
    counted = CreateMessage(**HELLO, extra_headers={"anthropic-beta": 5})
    assert counted.build(CONFIG.target).headers["anthropic-beta"] == "5"


def test_null_is_sent_as_null():
    """`NULL` is null in the body, also in an object; None is left out."""
    call = UpdateWorkspace(workspace_id="w", name=None, tags=NULL, data_residency={"a": NULL})
    assert call.build(CONFIG.target).body == b'{"data_residency":{"a":null},"tags":null}'
    huge = CreateMessage(**HELLO, speed=NULL, metadata={"n": 2**70})
    assert json.loads(huge.build(CONFIG.target).body)["speed"] is None


def test_an_id_of_python_beside_a_null():
    """A UUID is written as text, whether the JSON has a null or not."""
    one = UUID(int=1)
    call = CreateMessage(**HELLO, metadata={"user_id": one, "other": None})
    assert json.loads(call.build(CONFIG.target).body)["metadata"]["user_id"] == str(one)


def test_null_survives_queues():
    """An operation with `NULL` is the same after pickle, copies and JSON, and shows `NULL`."""
    call = UpdateWorkspace(workspace_id="w", tags=NULL)
    assert call.to_dict() == {
        "operation": "organization.workspaces.update",
        "workspace_id": "w",
        "tags": None,
    }
    for again in (
        Operation.from_dict(json.loads(json.dumps(call.to_dict()))),
        pickle.loads(pickle.dumps(call)),  # noqa: S301  # our own
        copy.deepcopy(call),
        call.replace(name=None),
    ):
        assert again.tags is NULL
        assert (again, hash(again), repr(again)) == (call, hash(call), repr(call))
    assert repr(call) == "UpdateWorkspace(workspace_id='w', tags=NULL)"
    assert call != call.replace(tags=None)


def test_null_is_for_bodies_only():
    """A query or a header that is `NULL` is a `UsageError`; null in a stored query is left out."""
    with pytest.raises(UsageError, match="limit is NULL"):
        ListModels(limit=NULL).build(CONFIG.target)
    with pytest.raises(UsageError, match=r"a header of messages.create is NULL"):
        CreateMessage(**HELLO, workspace_id=NULL).build(CONFIG.target)
    stored = Operation.from_dict({"operation": "models.list", "limit": None})
    assert stored.build(CONFIG.target).url.endswith("/v1/models")


@pytest.mark.parametrize(
    ("cls", "schema"),
    [
        (CreateMessage, "beta.messages.create"),
        (CountTokens, "beta.messages.count_tokens"),
        (CreateWorkspace, "organization.workspaces.create"),
        (UpdateWorkspace, "organization.workspaces.update"),
        (UpdateAPIKey, "organization.api_keys.update"),
    ],
)
def test_null_is_typed_where_the_api_takes_null(cls, schema):
    """The fields whose type has `Null` are those for which the API's schema has null."""
    declared = {a.name: str(a.type) for a in attrs.fields(cls)}
    facts = SCHEMAS["$defs"][f"req.{schema}"]["properties"]
    takes_null = {name for name, fact in facts.items() if "null" in json.dumps(fact)}
    typed = {name for name, kind in declared.items() if "Null" in kind or kind == "typing.Any"}
    assert typed == takes_null & declared.keys()


def test_fields_that_are_headers():
    """Workspace and user profile travel as headers, not in the body."""
    operation = CreateMessage(**HELLO, workspace_id="wrkspc_1", user_profile_id="up_1")
    request = operation.build(CONFIG.target)
    assert request.headers["anthropic-workspace-id"] == "wrkspc_1"
    assert request.headers["anthropic-user-profile-id"] == "up_1"
    assert json.loads(request.body) == HELLO


def test_extras_are_merged():
    """`extra_body`, `extra_query` and `extra_headers` go where they say, above what is there."""
    operation = CreateMessage(
        **HELLO,
        extra_body={"max_tokens": 5, "new": None},
        extra_query={"beta": True, "none": None},
        extra_headers={"X-Team": "blue", "anthropic-version": "2026-10-21"},
    )
    request = operation.build(CONFIG.target)
    assert json.loads(request.body) == HELLO | {"max_tokens": 5, "new": None}
    assert request.url.endswith("/v1/messages?beta=true")
    assert request.headers["x-team"] == "blue"
    assert request.headers["anthropic-version"] == "2026-10-21"


def test_an_empty_query_is_none():
    """Where nothing is left of a query there is no question mark."""
    operation = CreateMessage(**HELLO, extra_query={"a": None, "b": []})
    assert operation.build(CONFIG.target).url.endswith("/v1/messages")


@pytest.mark.parametrize(
    "name", ["x-api-key", "Authorization", "Cookie", "Proxy-Authorization", "api-key"]
)
def test_operations_hold_no_credential(name):
    """A credential in an operation is refused: operations are stored, queued and shown."""
    with pytest.raises(UsageError, match="in extra_headers is a credential") as caught:
        CreateMessage(**HELLO, extra_headers={name: "secret-0123"})
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "options",
    [
        {"betas": ["a\r\nx: y"]},
        {"workspace_id": "w\nx: y"},
        {"user_profile_id": "w\r\n\r\nGET / HTTP/1.1"},
    ],
    ids=str,
)
def test_header_injection_is_refused(options):
    """What would break out of a header is a `UsageError`, and nothing is sent."""
    run = drive(CreateMessage(**HELLO, **options), answer())
    assert isinstance(run.error, UsageError)
    assert run.requests == []


@pytest.mark.parametrize(
    "headers",
    [
        {"x": "a\r\nx-evil: 1"},
        {"x": "a\0"},
        {"x": "日"},
        {"x": ["a"]},
        {"x": b"a"},
        {"x y": "a"},
        {"x\r\ny": "a"},
        {"": "a"},
        {1: "a"},
        {":authority": "other.test"},
        [("x", "a")],
        "x: a",
    ],
    ids=str,
)
def test_extra_headers_that_cannot_be_sent(headers):
    """A header that HTTP cannot carry is refused when the operation is made."""
    with pytest.raises(UsageError, match="header"):
        CreateMessage(**HELLO, extra_headers=headers)


@pytest.mark.parametrize(
    "name",
    [
        *("content-length", "transfer-encoding", "host", "connection", "te", "upgrade", "expect"),
        *("trailer", "keep-alive", "proxy-connection", "proxy-authenticate", "http2-settings"),
        *("Content-Length", "TRANSFER-ENCODING", "content_length", "Proxy_Connection", "Host"),
    ],
)
def test_framing_headers_of_an_operation(name):
    """What says where a request goes or ends is refused when the operation is made or read."""
    told = f"the header {name.lower()!r} in extra_headers would change where the request goes"
    for value in ("chunked", None):
        extra = {"x-fine": "1", name: value}
        task = {"operation": "messages.create", **HELLO, "extra_headers": extra}
        for make in (
            lambda extra=extra: CreateMessage(**HELLO, extra_headers=extra),
            lambda extra=extra: CreateMessage(**HELLO).replace(extra_headers=extra),
            lambda extra=extra: RawRequest(method="GET", path="/", extra_headers=extra),
            lambda task=task: Operation.from_dict(json.loads(json.dumps(task))),
        ):
            with pytest.raises(UsageError, match=re.escape(told)):
                make()


@pytest.mark.parametrize(
    "name",
    [
        *("cf-aig-authorization", "helicone-auth", "x-portkey-api-key", "x-goog-api-key"),
        *("ocp-apim-subscription-key", "cf-access-client-secret", "x-litellm-api-key", "apikey"),
        *("x-gateway-token", "x-auth-token", "x-api-secret", "kong-api-key", "x-functions-key"),
        *("x-api-key", "Authorization", "proxy-authorization", "Cookie", "x_api_key", "x-api-key2"),
        *("x-jwt-assertion", "x-amz-signature", "x-user-passwd", "authorization ", "x-api-key:"),
    ],
)
def test_credentials_in_an_operation(name):
    """A header that is a credential by its name is refused, whoever it is for."""
    for extra in ({name: "s3cret"}, {name: None}):
        with pytest.raises(UsageError, match="in extra_headers is a credential"):
            CreateMessage(**HELLO, extra_headers=extra)


@pytest.mark.parametrize("value", ["Bearer s3cret", "basic czNjcmV0", "sk-ant-s3cret", " BEARER x"])
def test_credentials_of_any_name_in_an_operation(value):
    """A value that begins as a credential does is refused, whatever its header is named."""
    with pytest.raises(UsageError, match="'x-upstream' in extra_headers is a credential"):
        CreateMessage(**HELLO, extra_headers={"X-Upstream": value})
    config = Config(api_key=KEY, headers={"X-Upstream": value})
    assert "s3cret" not in repr(config)
    assert "x-upstream" not in pickle.loads(pickle.dumps(config)).headers  # noqa: S301  # our own
    assert config.target.headers["x-upstream"] == value


@pytest.mark.parametrize("name", ["Idempotency-Key", "idempotency_key", "x-idempotency-key"])
def test_what_is_no_credential_in_an_operation(name):
    """An idempotency key is no secret, though its name ends as those of secrets do."""
    operation = CreateMessage(**HELLO, extra_headers={name: "once"})
    assert operation.build(CONFIG.target).headers[name.lower()] == "once"


@pytest.mark.parametrize("method", ["CONNECT", "connect", "TRACE"])
def test_methods_that_are_not_sent(method):
    """No request opens a tunnel on a kept connection, or has its credential echoed."""
    with pytest.raises(UsageError, match="method cannot be"):
        RawRequest(method=method, path="/v1").build(CONFIG.target)


def test_a_copy_of_the_headers_is_kept():
    """A header that is added later to what was given is not sent. Names become lower-case."""
    given = {"X-One": "1"}
    operation = CreateMessage(**HELLO, extra_headers=given)
    given["x-api-key"] = "s3cret"
    assert operation.extra_headers == {"x-one": "1"}


@pytest.mark.parametrize(
    "id_",
    [
        "",
        ".",
        "..",
        "%2e",
        "%2E%2e",
        ".%2e",
        "a%2eb",
        "a/b",
        "a%2fb",
        "a%2Fb",
        "a\\b",
        "a%5cb",
        "?a",
        "a#b",
        "a b",
        "a\tb",
        "a\r\nb",
        "a\0b",
        "a\x7fb",
        ";a",
        "\ud800",
        None,
        7,
    ],
    ids=repr,
)
def test_ids_that_lead_elsewhere_are_refused(id_):
    """An id that is empty, or would change the path, is a `UsageError`, and nothing is sent."""
    run = drive(type(UNARY["get"])(model_id=id_), answer())
    assert isinstance(run.error, UsageError)
    assert run.requests == []


@pytest.mark.parametrize(
    ("id_", "encoded"),
    [
        ("claude-sonnet-5-5", "claude-sonnet-5-5"),
        ("a.b_c~d!$&'()*+,;=:@", "a.b_c~d!$&'()*+,;=:@"),
        ("50%", "50%25"),
        ("%41", "%2541"),
        ("...", "..."),
        ("ü", "%C3%BC"),
        ("日本", "%E6%97%A5%E6%9C%AC"),
        ('"<>', "%22%3C%3E"),
    ],
)
def test_other_ids_are_encoded(id_, encoded):
    """What an id may hold is percent-encoded as UTF-8, but for what a path may hold."""
    assert path_segment("id", id_) == encoded
    assert (
        UNARY["get"]
        .replace(model_id=id_)
        .build(CONFIG.target)
        .url.endswith(f"/v1/models/{encoded}")
    )


@given(st.text(min_size=1, max_size=20))
def test_no_id_leaves_its_place_in_the_path(id_):
    """Whatever the text, it is refused or is one segment, in ASCII, that is not dots."""
    try:
        segment = path_segment("id", id_)
    except UsageError:
        return
    assert segment.isascii()
    assert not set(segment) & set("/?#\\ \r\n")
    assert segment not in (".", "..")


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"limit": 20, "after_id": "a"}, "limit=20&after_id=a"),
        ({"name": ["a", "b"]}, "name[]=a&name[]=b"),
        ({"created": {"gte": "x", "lt": 3}}, "created[gte]=x&created[lt]=3"),
        ({"yes": True, "no": False, "none": None}, "yes=true&no=false"),
        ({"q": "a b&c=d/ü?#+"}, "q=a%20b%26c%3Dd%2F%C3%BC%3F%23%2B"),
        ({"at": datetime(2026, 11, 22, 10, 0, tzinfo=UTC)}, "at=2026-11-22T10%3A00%3A00%2B00%3A00"),
        ({"a b": "-._~"}, "a%20b=-._~"),
        ({"empty": [], "zero": 0, "text": ""}, "zero=0&text="),
        ({"nested": [{"a": 1}]}, "nested[][a]=1"),
    ],
)
def test_queries_as_the_api_reads_them(query, expected):
    """Lists by `[]`, nesting by `[key]`, booleans in lower case, spaces as %20, None left out."""
    assert query_string(query) == expected


def test_half_a_surrogate_pair_is_refused():
    """Text that is not Unicode is a `UsageError`, in the query and in the body."""
    for options in ({"extra_query": {"q": "\ud800"}}, {"system": "\ud800"}):
        with pytest.raises(UsageError):
            CreateMessage(**HELLO, **options).build(CONFIG.target)


def test_bodies_are_compact_utf8():
    """JSON goes out without spaces, with text unescaped, and without absent fields."""
    operation = CreateMessage(
        model="m", max_tokens=1, messages=[{"role": "user", "content": "ü日"}]
    )
    expected = '{"model":"m","max_tokens":1,"messages":[{"role":"user","content":"ü日"}]}'
    assert operation.build(CONFIG.target).body == expected.encode()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {1, 2}, object(), {3: 4}, b"x"])
def test_what_is_not_json_is_refused(value):
    """NaN, sets, keys that are no text, foreign objects: a `UsageError`, and nothing is sent."""
    run = drive(CreateMessage(**HELLO, extra_body={"x": value}), answer())
    assert isinstance(run.error, UsageError)
    assert run.requests == []


def test_bodies_do_not_depend_on_the_order_of_the_call():
    """The same fields give the same bytes, in whatever order they were given."""
    fields = {**HELLO, "system": "Be brief.", "top_k": 3}
    backwards = dict(reversed(fields.items()))
    assert list(backwards) != list(fields)
    one, two = CreateMessage(**fields), CreateMessage(**backwards)
    assert one.build(CONFIG.target).body == two.build(CONFIG.target).body
    assert repr(one) == repr(two)


def test_fields_are_checked_by_name():
    """A missing field and one that there is not are a `TypeError` which names it."""
    with pytest.raises(TypeError, match="CreateMessage has no field 'max_token'"):
        CreateMessage(**HELLO, max_token=1)
    with pytest.raises(TypeError, match="CreateMessage is missing the fields max_tokens, messages"):
        CreateMessage(model="m")  # type: ignore[call-arg]


def test_signatures_show_the_fields():
    """What help() and notebooks show of an operation are its fields, with their defaults."""
    shown = inspect.signature(CreateMessage).parameters
    assert [name for name, p in shown.items() if p.default is p.empty] == [*HELLO]
    assert list(shown) == [a.name for a in attrs.fields(CreateMessage)]
    assert inspect.signature(StreamMessage).parameters["collect"].default is False


@pytest.mark.slow
def test_bodies_are_the_same_in_every_process():
    """The same value gives the same bytes, whatever the hash seed: prompt caching needs it."""
    code = (
        "import sys; sys.path.insert(0, 'tests')\n"
        "from test_operations import CONFIG, VALUES\n"
        "for operation in VALUES.values(): print(operation.build(CONFIG.target).body)"
    )
    outputs = {
        subprocess.run(  # noqa: S603  # this interpreter
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)},
            cwd=API.parent.parent.parent,
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    expected = "".join(f"{operation.build(CONFIG.target).body}\n" for operation in VALUES.values())
    assert outputs == {expected.encode()}


@pytest.mark.parametrize("cls", [CreateMessage, StreamMessage, CountTokens])
def test_too_much_is_not_sent(cls):
    """A body over 32 MB is `RequestTooLarge`, as the API would say, and nothing is sent."""
    params = {name: value for name, value in HELLO.items() if name != "max_tokens"}
    if cls is not CountTokens:
        params["max_tokens"] = 1
    empty = len(cls(**params, system="").build(CONFIG.target).body)
    fits = cls(**params, system="x" * (32 * MEGABYTE - empty))
    assert len(fits.build(CONFIG.target).body) == 32 * MEGABYTE
    run = drive(fits.replace(system=fits.system + "x"), answer())
    assert type(run.error) is RequestTooLarge
    assert (run.error.status, run.error.type, run.requests) == (None, "request_too_large", [])


def test_results_are_parsed():
    """An operation reads its response as the model that it declares, with the head beside it."""
    message = UNARY["create"].parse(answer())
    assert isinstance(message, Message)
    assert message.text == "Hello! How can I help?"
    assert (message.request_id, message.response.status, message.response.body) == (
        "req_1",
        200,
        b"",
    )
    assert UNARY["count"].parse(answer({"input_tokens": 7})).input_tokens == 7


@pytest.mark.parametrize("data", [b"", b"[]", b"null", b"7", b'"text"', b"{}", b"<html>", b'{"a":'])
def test_what_is_no_result_is_an_error(data):
    """A body of another shape is `UnexpectedResponse` with the request id, never half a model."""
    for asked in (UNARY["create"], UNARY["count"]):
        with pytest.raises(UnexpectedResponse) as caught:
            asked.parse(Response(200, {"request-id": "req_9"}, data))
        assert caught.value.request_id == "req_9"


def test_the_body_of_a_result_is_not_kept():
    """A result refers to the head of its response, and its JSON is what the body was."""
    message = UNARY["create"].parse(answer())
    assert message.to_dict() == json.loads(sample("responses/messages.create.json"))


def test_raw_requests_reach_any_endpoint():
    """A `RawRequest` is sent as it says, with the client's headers, and gives the response."""
    operation = RawRequest(
        method="patch",
        path="/v1/new/thing?a=1",
        json={"x": 1},
        query={"b": [2]},
        extra_query={"c": True},
        extra_body={"y": 2},
        extra_headers={"x-team": "blue"},
    )
    request = operation.build(CONFIG.target)
    assert request.method == "PATCH"
    assert request.url == "https://api.anthropic.com/v1/new/thing?a=1&b[]=2&c=true"
    assert json.loads(request.body) == {"x": 1, "y": 2}
    assert request.headers["content-type"] == "application/json"
    assert (request.headers["x-team"], request.headers["x-api-key"]) == ("blue", KEY)
    response = answer({"anything": 1})
    assert operation.parse(response) is response


def test_raw_requests_without_a_body():
    """Without `json` there is no body, and no content-type."""
    request = RawRequest(method="GET", path="/v1/models").build(CONFIG.target)
    assert (request.body, request.headers.get("content-type")) == (b"", None)


@pytest.mark.parametrize(
    ("method", "resend", "expected"),
    [
        ("GET", None, "safe"),
        ("head", None, "safe"),
        ("POST", None, "never"),
        ("DELETE", None, "never"),
        ("POST", "once", "once"),
        ("GET", "never", "never"),
    ],
)
def test_raw_requests_are_repeated_where_that_is_safe(method, resend, expected):
    """Only GET and HEAD count as safe to repeat, unless the caller says otherwise."""
    assert RawRequest(method=method, path="/v1/x", resend=resend).resend_rule == expected


@pytest.mark.parametrize(
    "path",
    [
        "v1/x",
        "",
        "//evil.test/v1",
        "/v1/../admin",
        "/v1/%2e%2E/admin",
        "/v1/x#y",
        "/v1\\x",
        "/v1/a b",
        "/v1/x\r\nx: y",
        "/v1/ü",
        "/v1/\x7f",
        "https://evil.test/",
        "@evil.test/",
    ],
)
def test_raw_paths_that_lead_elsewhere_are_refused(path):
    """A path that is not one, or leaves its place, is a `UsageError`, and nothing is sent."""
    run = drive(RawRequest(method="GET", path=path), answer())
    assert isinstance(run.error, UsageError)
    assert run.requests == []


@pytest.mark.parametrize("method", ["", "GET /x HTTP/1.1\r\nx: y\r\n\r\nGET", "G T", "PÖST", "1"])
def test_raw_methods_are_methods(method):
    """A method that is no word is a `UsageError`, and nothing is sent."""
    run = drive(RawRequest(method=method, path="/v1/x"), answer())
    assert isinstance(run.error, UsageError)
    assert run.requests == []


def test_operations_of_ones_own():
    """A `Route` and the fields are all that a new operation takes."""
    from claude_lite.api.messages.message import TokenCount  # as an application would
    from claude_lite.core.operation import header, local, operation

    @operation
    class Thing(Operation[TokenCount]):
        route = Route("tests.thing", "POST", "/v1/things/{thing_id}")
        result_type = TokenCount

        thing_id: str
        size: int
        shape: str | None = None
        team: str | None = header("x-team")
        note: str | None = local()

    thing = Thing(thing_id="a", size=1, team="blue", note="mine")
    request = thing.build(config(base_url=own_host()).target)
    assert request.url.endswith("/v1/things/a")
    assert (request.body, request.headers["x-team"]) == (b'{"size":1}', "blue")
    assert Operation.from_dict(thing.to_dict()) == thing


def test_operations_that_lack_their_own_part():
    """What a base leaves to its subclasses is an error where they do not say it, and no None."""
    from claude_lite.api.uploads import UploadOperation
    from claude_lite.core.operation import StreamOperation
    from claude_lite.core.pages import ListOperation, Page

    with pytest.raises(NotImplementedError):
        StreamOperation().decoder(Response(200, {}), CONFIG.limits)
    with pytest.raises(NotImplementedError):
        UploadOperation().build(CONFIG.target)
    with pytest.raises(NotImplementedError):
        ListOperation().next_operation(Page(data=[]))


@operation
class Report(Operation[str]):
    """An operation of one's own, with defaults that are sent, and a `parse` without limits."""

    route = Route("report", "POST", "/v1/report")

    kind: str = "short"
    limit: int = 20

    def parse(self, response):
        """Give the text."""
        return response.body.decode()


def test_defaults_of_ones_own_are_sent():
    """A default that is not None is sent, in its place, unless another value is given."""
    assert Report().build(CONFIG.target).body == b'{"kind":"short","limit":20}'
    assert Report(limit=3).build(CONFIG.target).body == b'{"kind":"short","limit":3}'
    assert Report(limit=None).build(CONFIG.target).body == b'{"kind":"short"}'
    assert Report.from_dict(Report(limit=3).to_dict()) == Report(limit=3)


def test_parse_of_ones_own_needs_no_limits():
    """An operation that overrides `parse` with one argument is read by it."""
    assert drive(Report(), Response(200, {}, b"text")).result == "text"


def test_what_fields_cannot_have():
    """A factory or a validator, which would not be asked, is refused when the class is made."""
    for odd in (attrs.field(factory=list), attrs.field(default=None, validator=print)):
        with pytest.raises(TypeError, match=r"Odd\.tags"):

            @operation
            class Odd(Operation[str]):
                tags: list[str] = odd


def test_fields_go_by_name():
    """A positional argument is a `TypeError` that names the operation."""
    with pytest.raises(TypeError, match="CreateMessage takes its fields by name"):
        CreateMessage("claude-sonnet-5-5")


def test_one_beta_is_not_its_letters():
    """A flag given as text is that flag."""
    request = CreateMessage(**HELLO, betas="one-2026-01-01").build(CONFIG.target)
    assert request.headers["anthropic-beta"] == "one-2026-01-01"


def test_headers_are_not_shared_with_their_giver():
    """A credential that is put into the dict later does not get into the operation."""
    given = {"x-team": "blue"}
    made = CreateMessage(**HELLO, extra_headers=given)
    given["x-api-key"] = KEY
    assert KEY not in repr(made)
