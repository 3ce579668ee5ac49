"""Webhooks are believed only when they are signed, in time, and whole."""

import base64
import json
import pickle
from datetime import UTC, datetime

import pytest
import standardwebhooks
from hypothesis import given
from hypothesis import strategies as st

from claude_lite import ClaudeError, CredentialMissing, Secret, UsageError
from claude_lite.api import webhooks
from claude_lite.api.webhooks import (
    WebhookEvent,
    WebhookForged,
    WebhookOutOfTime,
    WebhookRefused,
    Webhooks,
    WebhookUnreadable,
    WebhookUnsigned,
)
from claude_lite.testing.conformance.hiding import exposed

NOW = 1790000000
SECRET = "whsec_Y2xhdWRlX2xpdGUgdGVzdCBrZXkgMDAwIGZvciB3cyE="
OTHER = "whsec_YW5vdGhlciBrZXkgb2YgMjQgYnl0ZXMu"
BODY = (
    '{"type":"event","id":"wevt_1","created_at":"2026-11-22T10:00:00Z","data":{"type":'
    '"session.idled","id":"session_1","organization_id":"org_1","workspace_id":"wrkspc_1"}}'
)
RIGHT = "50R9fB/2lrqtCYVZGjOt/drCKZWq9tBQHkYdFzotxvg="
HEADERS = {
    "webhook-id": "msg_1",
    "webhook-timestamp": str(NOW),
    "webhook-signature": f"v1,{RIGHT}",
}
ENVIRONMENT = "ANTHROPIC_WEBHOOK_SIGNING_KEY"


def at(seconds=0.0, secrets=SECRET, **options):
    """Make a checker whose clock is so many seconds past the vectors' time."""
    return Webhooks(secrets, clock=lambda: NOW + seconds, **options)


def judge(body=BODY, secret=SECRET, id_="msg_1", when=NOW):
    """Sign as the specification's own library does; give the headers."""
    moment = datetime.fromtimestamp(when, UTC)
    signature = standardwebhooks.Webhook(secret).sign(id_, moment, body)
    return {
        "webhook-id": id_,
        "webhook-timestamp": str(when),
        "webhook-signature": signature,
    }


def refused(kind, body=BODY, headers=None, made=None, **changes):
    """Check that a webhook is refused, and that the error shows no secret; give the error."""
    made = made or at()
    headers = {**(HEADERS if headers is None else headers), **changes}
    with pytest.raises(WebhookRefused) as caught:
        made.verify(body, {name: value for name, value in headers.items() if value is not None})
    assert type(caught.value) is kind
    for text in exposed(caught.value):
        assert SECRET.removeprefix("whsec_") not in text
        assert "test key 000" not in text
        assert RIGHT in str(headers) or RIGHT not in text
    return caught.value


# What is believed


@pytest.mark.parametrize("body", [BODY, BODY.encode()], ids=["text", "bytes"])
def test_a_signature_made_by_openssl(body):
    """A vector that OpenSSL computed is verified, and the event is read."""
    event = at().verify(body, HEADERS)
    assert isinstance(event, WebhookEvent)
    assert (event.id, event.created_at) == ("wevt_1", "2026-11-22T10:00:00Z")
    assert (event.data.type, event.data.id) == ("session.idled", "session_1")
    assert (event.data.organization_id, event.data.workspace_id) == ("org_1", "wrkspc_1")
    assert event.to_dict() == json.loads(BODY)


def test_a_body_beyond_ascii_is_signed_as_its_bytes():
    """The second vector has an accent, a space at the end, and another key."""
    body = '{"id":"é","created_at":"","data":{"id":"","type":"x"},"type":"event"} '
    headers = {
        **HEADERS,
        "webhook-id": "msg_2",
        "webhook-signature": "v1,OGN9u8c+c+SZx0l4VFRGpSyBZLbs0z6lkvfHT8N0YCc=",
    }
    for given_as in (body, body.encode()):
        assert at(secrets=OTHER).verify(given_as, headers).id == "é"


@given(st.text(), st.text("abc_-ABC0123", min_size=1), st.binary(min_size=24, max_size=64))
def test_what_the_specifications_library_signs_is_believed(text, id_, key):
    """Any text, id and key; and to change a byte of the body, the id or the time ends it."""
    body = json.dumps({"id": text, "created_at": text, "data": {"id": "", "type": text}})
    secret = "whsec_" + base64.b64encode(key).decode()
    headers = judge(body, secret, id_)
    made = at(secrets=secret)
    assert made.verify(body, headers).data.type == text
    refused(WebhookForged, body + " ", headers, made)
    refused(WebhookForged, body, {**headers, "webhook-id": id_ + "0"}, made)
    refused(WebhookForged, body, {**headers, "webhook-timestamp": str(NOW + 1)}, made)


@pytest.mark.parametrize(
    "secret", [SECRET.removeprefix("whsec_"), SECRET.rstrip("="), Secret(SECRET), f" {SECRET}\n"]
)
def test_secrets_in_other_forms(secret):
    """The prefix and the padding may be left out, and spaces around it do not count."""
    assert at(secrets=secret).verify(BODY, HEADERS).id == "wevt_1"


def test_the_names_of_headers_are_in_any_case():
    """As frameworks have them."""
    for change in (str.title, str.upper):
        headers = {change(name): value for name, value in HEADERS.items()}
        assert at().verify(BODY, {"Host": "x", **headers}).id == "wevt_1"


def test_several_signatures_and_secrets_for_rotation():
    """Any one that fits is enough, wherever it stands; versions that are not known are skipped."""
    right = HEADERS["webhook-signature"]
    wrong = judge(secret=OTHER)["webhook-signature"]
    lists = [
        f"{wrong} {right}",
        f"{right} {wrong}",
        f"v1a,{right[3:]} v2,x {right}",
        f"v1 , {right}",
    ]
    for signatures in lists:
        at().verify(BODY, {**HEADERS, "webhook-signature": signatures})
    for secrets in ([SECRET, OTHER], (OTHER, Secret(SECRET))):
        at(secrets=secrets).verify(BODY, HEADERS)
        at(secrets=secrets).verify(BODY, judge(secret=OTHER))
    refused(WebhookForged, headers=judge(secret=OTHER))


def test_the_secret_may_be_in_the_environment(monkeypatch):
    """It is looked up when an event comes, and a secret that was given goes before it."""
    made = at(secrets=())
    monkeypatch.delenv(ENVIRONMENT, raising=False)
    with pytest.raises(CredentialMissing, match=ENVIRONMENT):
        made.verify(BODY, HEADERS)
    monkeypatch.setenv(ENVIRONMENT, SECRET)
    assert made.verify(BODY, HEADERS).id == "wevt_1"
    refused(WebhookForged, made=at(secrets=OTHER))
    monkeypatch.setenv(ENVIRONMENT, "short")
    with pytest.raises(UsageError, match="16 bytes"):
        made.verify(BODY, HEADERS)


def test_what_the_api_adds_is_kept():
    """Unknown types and fields are no reason to fail, and are attributes."""
    body = BODY.replace("session.idled", "moon.risen").replace(
        '"id":"session_1"', '"id":"s","x":[1]'
    )
    event = at().verify(body, judge(body))
    assert (event.data.type, event.data.x) == ("moon.risen", [1])


# What is not


@pytest.mark.parametrize("name", HEADERS)
def test_a_header_that_is_missing(name):
    """The error names it."""
    assert name in refused(WebhookUnsigned, **{name: None}).message
    refused(WebhookUnsigned, **{name: [HEADERS[name]]})


@pytest.mark.parametrize(
    "timestamp",
    [
        "",
        "now",
        f"{NOW}.0",
        f" {NOW}",
        f"+{NOW}",
        "1_790_000_000",
        "\uff11\uff17",
        "-1",
        "9" * 13,
        "nan",
    ],
)
def test_a_timestamp_that_is_none(timestamp):
    """Only digits are seconds, whatever else Python would take for a number."""
    refused(WebhookUnsigned, **{"webhook-timestamp": timestamp})


@pytest.mark.parametrize(
    ("seconds", "options", "fits"),
    [
        (300, {}, True),
        (-300, {}, True),
        (301, {}, False),
        (-301, {}, False),
        (299, {"tolerance": 10}, False),
        (3600, {"tolerance": 3600}, True),
        (0, {"tolerance": 0}, True),
        (-1, {"tolerance": 0}, False),
    ],
)
def test_the_tolerance_is_both_ways(seconds, options, fits):
    """Five minutes, unless it was told otherwise; the error says by how much it was missed."""
    made = at(seconds, **options)
    if fits:
        assert made.verify(BODY, HEADERS).id == "wevt_1"
    else:
        error = refused(WebhookOutOfTime, made=made)
        assert f"{abs(seconds)} s {'ago' if seconds > 0 else 'from now'}" in error.message


@pytest.mark.parametrize(
    "signature",
    [
        "",
        "v1,",
        "v1",
        ",",
        "50R9fB/2lrqtCYVZGjOt/drCKZWq9tBQHkYdFzotxvg=",
        "v2,50R9fB/2lrqtCYVZGjOt/drCKZWq9tBQHkYdFzotxvg=",
        "V1,50R9fB/2lrqtCYVZGjOt/drCKZWq9tBQHkYdFzotxvg=",
        "v1,50R9fB/2lrqtCYVZGjOt/drCKZWq9tBQHkYdFzotxvg",
        "v1,50R9fB/2lrqtCYVZGjOt/drCKZWq9tBQHkYdFzotxvh=",
        "v1,50r9fb/2lrqtCYVZGjOt/drCKZWq9tBQHkYdFzotxvg=",
        "v1,50R9fB/2lrqtCYVZGjOt/drCKZWq9tBQHkYdFzotxvg=,v1",
        "v1,\ud800 v1,é",
    ],
)
def test_a_signature_that_is_not_the_one(signature):
    """Nearly is not enough, and odd text is no other error."""
    refused(WebhookForged, **{"webhook-signature": signature})


def test_a_body_that_was_formatted_anew():
    """The same JSON with a space more is another body."""
    for body in (
        json.dumps(json.loads(BODY)),
        BODY.replace("session_1", "session_2"),
        "",
        "\ud800",
    ):
        refused(WebhookForged, body)


@pytest.mark.parametrize("body", ["", "{", "[]", "null", "{}", '{"id":1}', '{"id":"a","data":[]}'])
def test_a_signed_body_that_is_no_event(body):
    """What is signed and cannot be read is refused, too."""
    refused(WebhookUnreadable, body, judge(body))


def test_a_parsed_body_is_the_callers_mistake():
    """A framework's dict is not what was signed."""
    with pytest.raises(UsageError, match="the bytes that came, not dict"):
        at().verify(json.loads(BODY), HEADERS)


@pytest.mark.parametrize(
    "secret",
    ["whsec_", "whsec_c2hvcnQ=", "whsec_not base64 at all, is it?", "é" * 30, [SECRET, "x"]],
)
def test_a_secret_that_can_be_none(secret):
    """It is told when the checker is made, and not shown."""
    with pytest.raises(UsageError, match="16 bytes") as caught:
        Webhooks(secret)
    del secret  # of this frame, which is in the traceback
    for text in exposed(caught.value):
        assert not any(word in text for word in ("c2hvcnQ", "short", "not base64", "ééé", SECRET))


@pytest.mark.parametrize("tolerance", [-1, float("nan"), float("inf")])
def test_a_tolerance_that_is_none(tolerance):
    """It has to be a number of seconds."""
    with pytest.raises(UsageError, match="tolerance"):
        Webhooks(SECRET, tolerance=tolerance)


# Secrets


def test_every_comparison_is_in_constant_time(monkeypatch):
    """Each signature of the list goes through `hmac.compare_digest`, and the last fits."""
    compared = []

    def counted(one, other):
        compared.append(other)
        return real(one, other)

    real = webhooks.compare_digest
    monkeypatch.setattr(webhooks, "compare_digest", counted)
    wrong = "v1,6" + HEADERS["webhook-signature"][4:]
    signatures = f"v1,x {wrong} {HEADERS['webhook-signature']}"
    at().verify(BODY, {**HEADERS, "webhook-signature": signatures})
    assert compared == signatures.encode().split(b" ")


def test_the_secret_does_not_show(monkeypatch):
    """Neither the repr nor a pickle has it; the copy asks the environment."""
    made = Webhooks([SECRET, OTHER], tolerance=10**9)
    copy = pickle.loads(pickle.dumps(made))  # noqa: S301  # our own
    for text in (repr(made), str(made), repr(pickle.dumps(made)), repr(copy.secrets)):
        assert SECRET[6:-1] not in text
        assert OTHER[6:] not in text
    monkeypatch.delenv(ENVIRONMENT, raising=False)
    with pytest.raises(CredentialMissing):
        copy.verify(BODY, HEADERS)
    monkeypatch.setenv(ENVIRONMENT, SECRET)
    assert copy.verify(BODY, HEADERS).id == "wevt_1"


def test_errors_are_plain_data():
    """They pickle, and turn into JSON and back, as all errors do."""
    for kind in (WebhookUnsigned, WebhookOutOfTime, WebhookForged, WebhookUnreadable):
        error = kind("why", advice="so")
        for copy in (
            pickle.loads(pickle.dumps(error)),  # noqa: S301  # our own
            ClaudeError.from_dict(error.to_dict()),
        ):
            assert (type(copy), copy.args) == (kind, error.args)


def test_a_secret_that_is_no_text():
    """Bytes, say, are refused with what a secret has to be; None is to ask the environment."""
    with pytest.raises(UsageError, match="has to be text"):
        Webhooks([b"whsec_x"])
    assert Webhooks(None).secrets == ()
