"""The types that cross the boundary: what they show, what they hide, what they are."""

import copy
import inspect
import json
import pickle
import traceback

import pytest
from attrs import evolve
from attrs.exceptions import FrozenInstanceError

from claude_lite import wire
from claude_lite.wire import (
    MASK,
    Done,
    Limits,
    MaskedStr,
    Request,
    Response,
    Sleep,
    is_secret_header,
)

KEY = "sk-ant-api03-canary"


class Source:
    """A body that is read again and again."""

    size = 6

    def __iter__(self):
        """Give it in two pieces."""
        return iter((b"abc", b"def"))


def request(**changes):
    """Make a request with a credential in each place where one may be."""
    headers = {
        "x-api-key": MaskedStr(KEY),
        "authorization": MaskedStr(f"Bearer {KEY}"),
        "accept": "application/json",
    }
    return evolve(Request("POST", "https://api.anthropic.com/v1/messages", headers), **changes)


def test_a_masked_string_is_the_string_for_a_transport():
    """It can be joined, encoded, compared and formatted like any other."""
    masked = MaskedStr(KEY)
    assert masked == KEY
    assert f"Bearer {masked}" == f"Bearer {KEY}"
    assert masked.encode() == KEY.encode()
    assert {masked: 1}[KEY] == 1


def test_a_masked_string_does_not_show():
    """Neither its repr, nor that of what holds it, nor a traceback has the value."""
    masked = MaskedStr(KEY)
    assert repr(masked) == repr(MASK)
    assert f"{masked!r}" == repr(MASK)
    assert KEY not in repr({"x": [masked, (masked,)]})

    def fail(headers):
        raise LookupError(headers)

    try:
        fail({"x-api-key": masked})
    except LookupError as error:
        text = traceback.TracebackException.from_exception(error, capture_locals=True)
        assert KEY not in "".join(text.format())


MADE = {
    "slice": lambda masked: masked[:80],
    "index": lambda masked: masked[0],
    "strip": lambda masked: masked.strip(),
    "split": lambda masked: masked.split("-"),
    "partition": lambda masked: masked.partition("-"),
    "lines": lambda masked: masked.splitlines(),
    "replace": lambda masked: masked.replace("sk", "ks"),
    "case": lambda masked: masked.upper().lower().title(),
    "sum": lambda masked: masked + "x",
    "sum from the right": lambda masked: "Bearer " + masked,
    "product": lambda masked: (masked * 2, 2 * masked),
    "percent": lambda masked: "Bearer %s" % masked,  # noqa: UP031  # the operator is tested
    "format": lambda masked: f"{masked:>200}",
    "characters": lambda masked: [*masked, *reversed(masked)],
    "bytes": lambda masked: masked.encode(),
    "slice of bytes": lambda masked: masked.encode()[:80],
    "sum of bytes": lambda masked: b"Bearer " + masked.encode() + b"x",
    "text of bytes": lambda masked: str(masked.encode()),
    "decoded": lambda masked: masked.encode().decode(),
    "hex": lambda masked: masked.encode().hex(),
    "join": lambda masked: masked.join(["a", "b"]),
    "twice": lambda masked: masked.split("-")[0][1:].encode()[1:].strip(),
}


@pytest.mark.parametrize("make", MADE.values(), ids=MADE)
def test_what_is_made_of_a_masked_string_is_masked(make):
    """A part, a copy, a sum, the bytes: what a method or an operator returns does not show."""
    made = make(MaskedStr(KEY))
    shown = repr(made)
    shown = shown.replace(repr(MASK), "")
    assert not set(shown.casefold()) & set("skant")
    for part in made if isinstance(made, (list, tuple)) else [made]:
        assert pickle.loads(pickle.dumps(part)) in (MASK, repr(MASK))  # noqa: S301  # our own


def test_str_of_a_masked_string_is_in_clear():
    """`str()` is how a transport gets a plain text, where a library takes no subclass of `str`."""
    assert type(str(MaskedStr(KEY))) is str
    assert str(MaskedStr(KEY)) == KEY
    assert json.dumps(MaskedStr(KEY)) == json.dumps(KEY)  # documented: log `masked_headers`


def test_headers_that_are_safe_to_log():
    """`masked_headers` has the names, and a plain mask for each secret value."""
    sent = Request("GET", "https://x", {"accept": "a", "x-odd": MaskedStr(KEY), "x-api-key": KEY})
    assert sent.masked_headers == {"accept": "a", "x-odd": MASK, "x-api-key": MASK}
    assert json.loads(json.dumps(sent.masked_headers))["x-odd"] == MASK
    assert KEY not in repr(sent)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_masked_string_is_not_pickled(protocol):
    """What comes out of any pickle is the mask."""
    data = pickle.dumps({"key": MaskedStr(KEY)}, protocol)
    assert KEY.encode() not in data
    assert pickle.loads(data) == {"key": MASK}  # noqa: S301  # our own


def test_a_masked_string_survives_a_copy():
    """Within the process copies are as good as the original, and as silent."""
    for twin in (copy.copy(MaskedStr(KEY)), copy.deepcopy([MaskedStr(KEY)])[0]):
        assert (twin, type(twin)) == (KEY, MaskedStr)


@pytest.mark.parametrize(
    "name", ["x-api-key", "api-key", "authorization", "proxy-authorization", "cookie", "Set-Cookie"]
)
def test_secret_headers_do_not_show(name):
    """The repr of a request and of a response masks them by name, in whatever case."""
    headers = {name: KEY, "accept": "application/json"}
    for shown in (repr(Request("GET", "https://x", headers)), repr(Response(200, headers))):
        assert KEY not in shown
        assert MASK in shown
        assert "application/json" in shown


def test_a_request_pickles_without_its_secrets():
    """All of it survives but the credentials."""
    twin = pickle.loads(pickle.dumps(request(body=b"{}")))  # noqa: S301  # our own
    assert twin == request(
        body=b"{}",
        headers={"x-api-key": MASK, "authorization": MASK, "accept": "application/json"},
    )


@pytest.mark.parametrize("body", [b"prompt", Source()])
def test_a_body_shows_as_its_size(body):
    """No body is ever in a repr, whether it is held or streamed."""
    assert "<6 bytes>" in repr(request(body=body))
    assert "<6 bytes>" in repr(Response(200, {}, b"prompt"))
    assert "prompt" not in repr(request(body=body)) + repr(Response(200, {}, b"prompt"))


def test_a_body_source_is_read_again():
    """Two passes give the same bytes, as many as it said."""
    source = Source()
    assert b"".join(source) == b"".join(source) == b"abcdef"
    assert source.size == len(b"".join(source))


@pytest.mark.parametrize(
    "value", [request(), Response(200, {}), Limits(), Sleep(1.0), Done("result")]
)
def test_what_crosses_is_frozen(value):
    """No field can be set, and none be added."""
    name = type(value).__attrs_attrs__[0].name
    with pytest.raises(FrozenInstanceError):
        setattr(value, name, None)
    with pytest.raises((AttributeError, TypeError)):
        value.another = 1


def test_the_ids_of_a_response():
    """They are read from the headers, and None where these are not."""
    headers = {
        "request-id": "req_1",
        "anthropic-organization-id": "org",
        "anthropic-workspace-id": "wrkspc_1",
    }
    ids = [
        (r.request_id, r.organization_id, r.workspace_id)
        for r in (Response(200, headers), Response(200, {}))
    ]
    assert ids == [("req_1", "org", "wrkspc_1"), (None, None, None)]


def test_the_rate_limits_of_a_response():
    """They are read from the headers, and none of them is known where these are not."""
    limits = Response(200, {"anthropic-ratelimit-requests-remaining": "7"}).rate_limits
    assert (limits.requests.remaining, limits.tokens) == (7, None)
    assert Response(200, {}).rate_limits.requests is None


def test_the_json_of_a_response():
    """It is parsed, and what is not JSON is a `ValueError`."""
    assert Response(200, {}, b'{"a":[1,null]}').json() == {"a": [1, None]}
    for body in (b"", b"<html>", b"NaN", b"\xff", b"[" * 100_000):
        with pytest.raises(ValueError, match=r".+"):
            Response(200, {}, body).json()


def test_the_protocols_differ_in_kind():
    """Both have the same methods, those that wait being coroutines in one of them only."""
    names = {"send", "stream", "sleep", "close"}
    for protocol, waits in ((wire.Transport, False), (wire.AsyncTransport, True)):
        methods = {n: m for n, m in vars(protocol).items() if n in names}
        assert set(methods) == names
        kinds = {n: inspect.iscoroutinefunction(m) for n, m in methods.items()}
        assert kinds == {"send": waits, "stream": False, "sleep": waits, "close": waits}


@pytest.mark.parametrize(
    "name",
    [
        *("x-api-key", "API-Key", "authorization", "Proxy-Authorization", "cookie", "Set-Cookie"),
        *("x-amz-security-token", "cf-aig-authorization", "helicone-auth", "x-portkey-api-key"),
        *("ocp-apim-subscription-key", "x-goog-api-key", "cf-access-client-secret", "apikey"),
        *("x-gateway-token", "x-amz-signature", "x-vault-credential", "db-password"),
    ],
)
def test_secret_headers(name):
    """Credentials of the API, of platforms and of gateways are known by the ends of their names."""
    assert is_secret_header(name)
    assert "canary" not in repr(Request("GET", "https://x", {name: "canary"}))


@pytest.mark.parametrize(
    "name", ["accept", "content-type", "idempotency-key", "anthropic-user-profile-id", "key-id"]
)
def test_headers_that_are_no_secret(name):
    """Other headers are shown."""
    assert not is_secret_header(name)
    assert "canary" in repr(Request("GET", "https://x", {name: "canary"}))
