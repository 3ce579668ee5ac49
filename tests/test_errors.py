"""The error tree: one class for one cause, as plain data, whatever it has been through."""

import copy
import json
import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from places import API

import claude_lite
from claude_lite import errors
from claude_lite.api.messages.decoder import MessageDecoder
from claude_lite.core.responses import error_from_response
from claude_lite.errors import (
    APIError,
    AuthenticationFailed,
    ClaudeError,
    Conflict,
    ConnectTimedOut,
    InvalidRequest,
    NotFound,
    Overloaded,
    PaymentRequired,
    PermissionDenied,
    RateLimited,
    RequestTimeout,
    RequestTooLarge,
    RetryLater,
    ServerError,
    ServerTimeout,
    SpendLimitReached,
    TimedOut,
    TransportError,
    UsageError,
    error_class,
)
from claude_lite.wire import Response, rate_limits

CLASSES = [getattr(errors, name) for name in errors.__all__]
CODES = json.loads((API / "errors.json").read_bytes())["by_error_code"]
SAMPLES = {path.stem: json.loads(path.read_bytes()) for path in (API / "samples/errors").iterdir()}
EXPECTED = {
    "api_error": ServerError,
    "authentication_error": AuthenticationFailed,
    "billing_error": PaymentRequired,
    "conflict_error": Conflict,
    "empty_503": ServerError,
    "invalid_request_error": InvalidRequest,
    "invalid_request_error.unknown_code": InvalidRequest,
    "invalid_request_error.user_profile_required": InvalidRequest,
    "non_json_502": ServerError,
    "not_found_error": NotFound,
    "not_found_error.file_expired": NotFound,
    "overloaded_error": Overloaded,
    "permission_error": PermissionDenied,
    "rate_limit_error": RateLimited,
    "rate_limit_error.enforced_spend_limit_reached": SpendLimitReached,
    "request_too_large": RequestTooLarge,
    "timeout_error": ServerTimeout,
}
# What the API calls an error of this status, and what we do.
BY_STATUS = {
    400: ("invalid_request_error", InvalidRequest),
    401: ("authentication_error", AuthenticationFailed),
    402: ("billing_error", PaymentRequired),
    403: ("permission_error", PermissionDenied),
    404: ("not_found_error", NotFound),
    409: ("conflict_error", Conflict),
    412: ("invalid_request_error", InvalidRequest),
    413: ("request_too_large", RequestTooLarge),
    429: ("rate_limit_error", RateLimited),
    500: ("api_error", ServerError),
    503: ("api_error", ServerError),
    504: ("timeout_error", ServerTimeout),
    529: ("overloaded_error", Overloaded),
}
SPEND = {
    "contract_spend_limit_reached",
    "enforced_spend_limit_reached",
    "linked_organization_spend_limit_reached",
}
FIELDS = {
    "message": "It broke",
    "status": 429,
    "type": "rate_limit_error",
    "error_code": "some_code",
    "request_id": "req_1",
    "organization_id": "org_1",
    "retry_after": 1.5,
    "attempts": 3,
    "advice": "Wait",
    "details": {"partial": {"id": "msg_1"}, "usage": {"output_tokens": 10**30}, "k": [None, "é"]},
}
OWN = {"phase": "content", "delay": 2.25}


def fields(error):
    """Give all that an error says of itself."""
    return {name: getattr(error, name) for name in error.FIELDS}


def full(cls):
    """Make an error with every field set."""
    return cls(**{name: FIELDS.get(name, OWN.get(name)) for name in cls.FIELDS})


def as_event(body):
    """Give the error that a stream ends with when *body* is its `error` event."""
    decoder = MessageDecoder(Response(200, {"request-id": "req_head"}))
    decoder.receive(b"event: error\ndata: " + json.dumps(body).encode() + b"\n\n")
    return decoder.error


def from_sample(sample):
    """Give the error of a recorded response."""
    body = sample["body_text"].encode() if "body_text" in sample else json.dumps(sample["body"])
    body = body if isinstance(body, bytes) else body.encode()
    return error_from_response(Response(sample["status"], sample["headers"], body), body)


def test_the_list_is_the_tree():
    """Every class of the module is exported, by the package too, and comes from one base."""
    defined = {
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, Exception)
    }
    assert defined == set(errors.__all__)
    assert all(issubclass(cls, ClaudeError) for cls in CLASSES)
    assert all(getattr(claude_lite, name) is getattr(errors, name) for name in errors.__all__)


def test_the_tree_is_as_drawn():
    """The picture in the module's docstring shows each class under one of its bases."""
    lines = [line for line in errors.__doc__.splitlines() if line.startswith("    ")]
    above: list[type] = []
    drawn = set()
    for line in lines:
        name = line.strip("│├└─ ").split()[0]
        depth = (len(line) - len(line.lstrip("│├└─ "))) // 4 - 1
        cls = getattr(errors, name)
        assert depth == 0 or issubclass(cls, above[depth - 1])
        above[depth:] = [cls]
        drawn.add(name)
    assert drawn == set(errors.__all__)


@pytest.mark.parametrize("cls", CLASSES)
@pytest.mark.parametrize("make", [full, lambda cls: cls()], ids=["full", "empty"])
def test_an_error_can_be_rebuilt(cls, make):
    """Its args, its pickle, its copies and its dict give the same class with the same fields."""
    error = make(cls)
    for twin in (
        cls(*error.args),
        cls(*json.loads(json.dumps(error.args))),
        ClaudeError.from_dict(json.loads(json.dumps(error.to_dict()))),
        copy.copy(error),
        copy.deepcopy(error),
        *(pickle.loads(pickle.dumps(error, p)) for p in range(2, 6)),  # noqa: S301  # our own
    ):
        assert type(twin) is cls
        assert fields(twin) == fields(error)
        assert twin.args == error.args
        assert (str(twin), repr(twin)) == (str(error), repr(error))


@pytest.mark.parametrize("cls", CLASSES)
def test_a_copy_has_details_of_its_own(cls):
    """To add to the details of a copy does not change the original."""
    error = full(cls)
    for twin in (copy.copy(error), cls(*error.args), ClaudeError.from_dict(error.to_dict())):
        twin.details["more"] = 1
        assert "more" not in error.details
        assert "more" in twin.args[-1]


def test_amending_keeps_the_args_in_step():
    """A field that is set later is in the args, in the dict and in the pickle."""
    error = TimedOut("read").update(phase="total", attempts=2, message="too late")
    assert error.args == (*("total", "too late", None, None, None, None, None, None, 2, None, {}),)
    assert pickle.loads(pickle.dumps(error)).phase == "total"  # noqa: S301  # our own
    assert error.to_dict() == {
        "error": "TimedOut",
        "phase": "total",
        "message": "too late",
        "attempts": 2,
    }


def test_only_fields_can_be_amended():
    """A name that is no field is a `TypeError` that says so."""
    with pytest.raises(TypeError, match="NotFound has no field 'shape'"):
        NotFound("x").update(shape="round")


def test_the_dict_of_a_class_of_another_version():
    """It becomes a `ClaudeError` with what is known of it."""
    error = ClaudeError.from_dict({"error": "Sunspot", "message": "m", "status": 1, "new": 2})
    assert (type(error), error.message, error.status) == (ClaudeError, "m", 1)


def test_the_dict_of_an_applications_own_class():
    """A subclass that an application adds is found by its name."""

    class Refused(InvalidRequest):
        """One of an application's own."""

    assert type(ClaudeError.from_dict(Refused("no").to_dict())) is Refused


def test_the_text_says_what_is_known():
    """The message comes first, then status, type, code, request and attempts, then advice."""
    assert str(full(RateLimited)) == (
        "It broke (429, rate_limit_error, some_code, req_1, attempts: 3). Wait"
    )
    assert str(NotFound("no such file", attempts=1)) == "no such file"
    assert str(NotFound()) == "NotFound"
    assert repr(NotFound("x", 404)) == "NotFound('x (404)')"


def test_the_text_is_free_of_the_details():
    """Neither a partial message nor the rest of the details shows, nor a later `raise` of it."""
    error = ServerError("broke", details={"partial": {"content": "a prompt"}, "body": "raw"})
    assert "prompt" not in str(error) + repr(error)
    assert "raw" not in str(error) + repr(error)


def test_partial_and_usage():
    """They are read from the details, and None where a stream had nothing to do with it."""
    error = full(ServerError)
    assert (error.partial, error.usage) == ({"id": "msg_1"}, {"output_tokens": 10**30})
    assert (ServerError().partial, ServerError().usage) == (None, None)


def test_classes_that_are_two_things():
    """A usage error is a `ValueError`; a connect timeout is a timeout and a failed connection."""
    assert issubclass(UsageError, ValueError)
    assert issubclass(ConnectTimedOut, TimedOut)
    assert issubclass(ConnectTimedOut, errors.ConnectionFailed)
    assert ConnectTimedOut().phase == "connect"
    assert TimedOut("total").message == "the call took longer than the option `deadline` allows"


def test_retry_later_says_how_long_and_why():
    """It has the delay, and the error behind it as that error's dict."""
    cause = Overloaded("busy", 529)
    later = RetryLater(2.5).update(details={"cause": cause.to_dict()})
    assert (later.delay, later.message) == (2.5, "the call failed: run it again in 2.5 s")
    assert type(ClaudeError.from_dict(later.cause)) is Overloaded
    assert RetryLater().cause is None


def test_every_transport_error_is_one():
    """What a transport may raise is below `TransportError`, and the API's errors are not."""
    below = {cls.__name__ for cls in CLASSES if issubclass(cls, TransportError)}
    assert below == {
        "TransportError",
        "ConnectionFailed",
        "CertificateRefused",
        "ConnectTimedOut",
        "ConnectionLost",
        "TimedOut",
        "StreamInterrupted",
        "StreamTruncated",
    }


def test_every_sample_is_expected():
    """No recorded error goes untested."""
    assert set(SAMPLES) == set(EXPECTED)


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_a_sample_as_a_response(name):
    """A recorded response becomes its class, with all that it says."""
    sample = SAMPLES[name]
    error = from_sample(sample)
    inner = sample.get("body", {}).get("error", {})
    assert type(error) is EXPECTED[name]
    assert error.status == sample["status"]
    assert error.request_id == sample["headers"].get("request-id")
    assert error.organization_id == sample["headers"].get("anthropic-organization-id")
    assert error.type == inner.get("type")
    assert error.error_code == inner.get("details", {}).get("error_code")
    unsaid = {"empty_503": "HTTP status 503", "non_json_502": "502 Bad Gateway"}
    assert error.message == inner.get("message", unsaid.get(name))
    assert error.retry_after == (7.0 if name == "rate_limit_error" else None)


@pytest.mark.parametrize("name", sorted(n for n in EXPECTED if "body" in SAMPLES[n]))
def test_a_sample_as_an_event(name):
    """The same envelope within a stream becomes the same class."""
    body = SAMPLES[name]["body"]
    error = as_event(body)
    assert type(error) is EXPECTED[name]
    assert (error.status, error.request_id) == (200, body["request_id"])
    assert (error.type, error.message) == (body["error"]["type"], body["error"]["message"])


def test_the_head_names_the_request_of_an_event_that_does_not():
    """Where the event has no `request_id`, or null, that of the head is taken."""
    for given_id in ({}, {"request_id": None}):
        error = as_event({"type": "error", "error": {"type": "api_error"}, **given_id})
        assert error.request_id == "req_head"
        assert error.message == "the API sent an error without a message"


@pytest.mark.parametrize("entry", CODES, ids=lambda e: f"{e['status']}-{e['error_code']}")
def test_every_error_code(entry):
    """A known (status, code) pair has the class of its status; only spend limits have their own."""
    status, code = entry["status"], entry["error_code"]
    type_, by_status = BY_STATUS[status]
    expected = SpendLimitReached if code in SPEND else by_status
    envelope = {
        "type": "error",
        "error": {"type": type_, "message": "m", "details": {"error_code": code, "extra": [1]}},
        "request_id": "req_1",
    }
    body = json.dumps(envelope).encode()
    unary = error_from_response(Response(status, {}, body), body)
    assert (type(unary), type(as_event(envelope))) == (expected, expected)
    for error in (unary, as_event(envelope)):
        assert (error.type, error.error_code) == (type_, code)
        assert error.details == {"error_code": code, "extra": [1]}


def test_the_codes_of_spend_limits():
    """Waiting is useless for exactly those codes of the list that name a spend limit."""
    named = {e["error_code"] for e in CODES if e["error_code"].endswith("spend_limit_reached")}
    assert named == SPEND == errors.SPEND_LIMIT_CODES


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (400, InvalidRequest),
        (405, InvalidRequest),
        (408, RequestTimeout),
        (412, InvalidRequest),
        (418, InvalidRequest),
        (422, InvalidRequest),
        (431, InvalidRequest),
        (499, InvalidRequest),
        (500, ServerError),
        (501, ServerError),
        (502, ServerError),
        (503, ServerError),
        (520, ServerError),
        (599, ServerError),
        (None, APIError),
        *((status, cls) for status, (_, cls) in BY_STATUS.items()),
    ],
)
def test_an_unknown_type_falls_back_to_the_status(status, expected):
    """A type, a code or both that are not known leave the decision to the status."""
    for type_, code in ((None, None), ("new_error", None), ("new_error", "new_code")):
        assert error_class(status, type_, code) is expected


@pytest.mark.parametrize("type_", sorted(errors.BY_TYPE))
def test_a_type_without_a_status_of_its_own(type_):
    """Within a stream, and under 400 and 5xx that stand for many things, the type decides."""
    expected = errors.BY_TYPE[type_]
    assert {error_class(status, type_, None) for status in (None, 400, 500, 503)} == {expected}


@pytest.mark.parametrize("details", [None, {}, [], "x", {"error_code": None}, {"error_code": 7}])
def test_details_without_a_code(details):
    """An envelope whose details are missing, null or odd has no code, and its type's class."""
    body = {"error": {"type": "not_found_error", "message": "m", "details": details}}
    error = as_event({"type": "error", **body})
    assert (type(error), error.error_code) == (NotFound, None)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"   \n",
        b"<html>\xff oops</html>",
        b"null",
        b'"text"',
        b"[]",
        b'{"message":"Forbidden"}',
        b'{"error":"plain"}',
        b'{"error":null}',
        b'{"type":"error"}',
        b"x" * 100_000,
        b"[" * 100_000,
    ],
)
@pytest.mark.parametrize("status", [400, 404, 413, 500, 502, 529])
def test_a_body_that_is_no_envelope(status, body):
    """The status gives the class; the first thousand bytes of the raw text are kept."""
    error = error_from_response(Response(status, {"retry-after": "3"}, body), body)
    text = body[:1000].decode("utf-8", "replace").strip()
    assert type(error) is error_class(status, None, None)
    assert (error.status, error.retry_after) == (status, 3.0)
    assert error.details == ({"body": text} if text else {})
    said = {
        b'{"message":"Forbidden"}': "Forbidden",
        b'{"error":"plain"}': "plain",
        b'"text"': "text",
        b"<html>\xff oops</html>": "\ufffd oops",
        b"x" * 100_000: "x" * 1000,
        b"[" * 100_000: "[" * 1000,
    }
    assert error.message == said.get(body, f"HTTP status {status}")


HTML = """<html><head><title>502 Bad Gateway</title><style>a{b}</style></head>
<body><center><h1>502 Bad Gateway</h1></center><hr>nginx</body></html>"""
FASTAPI = """{"detail": [
    {"type": "missing", "loc": ["body", "model"], "msg": "Field required", "input": {}},
    {"type": "int_type", "loc": ["body", "max_tokens"], "msg": "Input should be an integer"}
]}"""
PROBLEM = '{"type": "about:blank", "title": "Forbidden", "status": 403, "detail": "No quota."}'
EVENT = 'event: error\ndata: {"type": "error", "error": {"type": "TYPE", "message": "Busy."}}\n\n'


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ('{"detail": "Not authenticated"}', "Not authenticated"),
        (
            FASTAPI,
            "body.model: Field required; body.max_tokens: Input should be an integer",
        ),
        ('{"error": "No such route"}', "No such route"),
        ('{"error": {"message": "Budget exceeded", "code": 429}}', "Budget exceeded"),
        ('{"error": {"error": {"message": "Nested"}}}', "Nested"),
        ('{"message": "Forbidden"}', "Forbidden"),
        ('{"Message": "Access denied"}', "Access denied"),
        ('{"errors": ["One", "Two"]}', "One; Two"),
        ('{"errors": [{"message": "One"}, {"detail": "Two"}]}', "One; Two"),
        ('{"detail": {"error": "Deep"}}', "Deep"),
        (PROBLEM, "No quota."),
        ('{"title": "Forbidden"}', "Forbidden"),
        ('[{"message": "In a list"}]', "In a list"),
        (EVENT, "Busy."),
        (EVENT.replace("\n", "\r\n"), "Busy."),
        ("data: " + '{"error": "Busy."}', "Busy."),
        (
            HTML,
            "502 Bad Gateway 502 Bad Gateway nginx",
        ),
        ("upstream connect error\nreset reason: overflow", None),
        ("<html></html>", "HTTP status STATUS"),
        ("", "HTTP status STATUS"),
        ('{"error": ""}', "HTTP status STATUS"),
        ('{"detail": 5}', "HTTP status STATUS"),
    ],
)
@pytest.mark.parametrize("status", [400, 401, 403, 404, 422, 429, 500, 503, 529])
def test_an_error_of_a_gateway_says_what_the_body_says(status, body, message):
    """The text of the body is the message, in whatever form it comes; the status is the class."""
    error = error_from_response(Response(status, {}), body.encode())
    expected = " ".join(body.split()) if message is None else message
    assert error.message == expected.replace("STATUS", str(status))
    assert type(error) is error_class(status, None, None)


@pytest.mark.parametrize(
    "body",
    [
        EVENT.replace("TYPE", "overloaded_error"),
        '{"type": "overloaded_error", "message": "Busy."}',
        '{"type": "overloaded_error", "error": "Busy."}',
    ],
)
def test_an_error_of_a_gateway_keeps_its_type(body):
    """The API's type of error is kept, and is the class where the status does not say more."""
    error = error_from_response(Response(400, {}), body.encode())
    assert (type(error), error.type, error.message) == (Overloaded, "overloaded_error", "Busy.")


def test_a_message_that_is_nested_without_end():
    """A body of many levels is no message, and no error of Python's."""
    body = b'{"error":' * 200 + b'"x"' + b"}" * 200
    error = error_from_response(Response(500, {}), body)
    assert error.message == "the API sent an error without a message"


def test_an_error_has_the_rate_limits_and_the_workspace():
    """What the head of a refusal says of limits and workspace is on the error, pickled too."""
    headers = {
        "anthropic-workspace-id": "wrkspc_1",
        "anthropic-ratelimit-requests-limit": "50",
        "anthropic-ratelimit-requests-remaining": "0",
        "anthropic-ratelimit-requests-reset": "2026-11-02T09:15:07Z",
    }
    error = error_from_response(Response(429, headers, b""), b"")
    copied = pickle.loads(pickle.dumps(error))  # noqa: S301  # our own
    assert (copied.workspace_id, copied.rate_limits) == ("wrkspc_1", rate_limits(headers))
    assert copied.rate_limits.requests.remaining == 0


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)


@given(JSON, st.sampled_from([400, 429, 500]))
@settings(max_examples=150, deadline=None)
def test_any_envelope_is_an_error(error, status):
    """Whatever JSON stands where the error belongs, an `APIError` that is plain data results."""
    body = json.dumps({"type": "error", "error": error, "request_id": error}).encode()
    made = error_from_response(Response(status, {}, body), body)
    assert isinstance(made, APIError)
    assert fields(type(made)(*json.loads(json.dumps(made.args)))) == fields(made)
