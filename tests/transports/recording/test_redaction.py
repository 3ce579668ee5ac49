"""What never gets into a recording, and what stops one from being saved."""

import asyncio
import base64
import gzip
import itertools
import json
import zlib
from contextlib import contextmanager, suppress
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claude_lite.errors import ConnectionLost
from claude_lite.wire import MaskedStr, Request, Response
from claude_lite_transports.recording import (
    AsyncRecordingTransport,
    RecordingTransport,
    SecretInCassette,
)
from claude_lite_transports.recording.redaction import Redactor

URL = "https://api.anthropic.com/v1/messages"
CANARY = 'canary/+"key é-0123456789'
LIVE = "sk-ant-api03-AbCdEfGhIjKl"


class Answers:
    """A transport that gives one answer to everything: a Response, chunks, or an error."""

    def __init__(self, answer):
        """Hold the answer."""
        self.answer = answer

    def send(self, request):  # noqa: ARG002  # the protocol
        """Give the answer as a whole."""
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    @contextmanager
    def stream(self, request):  # noqa: ARG002  # the protocol
        """Give the answer as a stream."""
        yield Response(200, {}), iter(self.answer)

    def sleep(self, seconds):
        """Wait for nothing."""

    def close(self):
        """Have nothing to close."""


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch):
    """No say for the environment in which the tests run."""
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.delenv("CLAUDE_LITE_RECORD", raising=False)


@pytest.fixture
def path(tmp_path):
    """Give a path at which there is no file."""
    return tmp_path / "x.json"


def record(path, answer, request=None, **options):
    """Record one answer, whole or as a stream; give the text of the file."""
    transport = RecordingTransport(path, Answers(answer), "rewrite", **options)
    request = request or Request("POST", URL, {}, b'{"a":1}')
    with transport:
        if isinstance(answer, list):
            with transport.stream(request) as (_, chunks):
                list(chunks)
        elif isinstance(answer, Exception):
            with pytest.raises(type(answer)):
                transport.send(request)
        else:
            transport.send(request)
    return path.read_text()


def spellings(secret):
    """Give the forms in which a secret could be found."""
    encoded = base64.b64encode(secret.encode()).decode()
    return secret, secret.encode("unicode_escape").decode(), quote(secret), encoded.rstrip("=")


GATEWAYS = ["X-Gateway-Token", "cf-access-client-secret", "Ocp-Apim-Subscription-Key"]


@pytest.mark.parametrize(
    "header", ["x-api-key", "api-key", "authorization", "proxy-authorization", "x-any", *GATEWAYS]
)
def test_the_canary_is_nowhere(path, header):
    """A credential is not in the file, wherever else it also was, and no list names it."""
    value = f"Bearer {CANARY}" if "authorization" in header else CANARY
    value = MaskedStr(value) if header == "x-any" else value
    headers = {header: value, "anthropic-beta": CANARY, "user-agent": CANARY}
    body = json.dumps({"system": f"it is {CANARY}", CANARY: [CANARY]}).encode()
    url = f"{URL}/{quote(CANARY, safe='')}?q={quote(CANARY, safe='')}&n=1"
    answer = Response(200, {"request-id": CANARY, "set-cookie": CANARY}, body)
    text = record(path, answer, Request("POST", url, headers, body))
    assert not [form for form in spellings(CANARY) if form in text]
    (item,) = json.loads(text)["interactions"]
    assert item["request"] == {
        "method": "POST",
        "url": "/v1/messages/REDACTED?q=REDACTED&n=1",
        "headers": {"anthropic-beta": "REDACTED"},
        "json": {"system": "it is REDACTED", "REDACTED": ["REDACTED"]},
    }
    assert item["response"]["headers"] == {"request-id": "REDACTED"}


@pytest.mark.parametrize(
    ("broken", "place"),
    [
        ("json", "request"),
        ("json", "error"),
        ("url json", "url"),
        ("text", "header"),
        ("data", "answer"),
        ("chunks", "stream"),
    ],
)
def test_the_guard_refuses_what_redaction_lets_through(path, broken, place):
    """With the part of the redaction that is for a place broken by hand, nothing is written."""
    answer = {
        "answer": Response(200, {}, CANARY.encode()),
        "stream": [CANARY[:5].encode(), CANARY[5:].encode()],
        "error": ConnectionLost(CANARY),
    }.get(place, Response(200, {"request-id": CANARY if place == "header" else "x"}))
    body = json.dumps({"a": CANARY if place == "request" else "b"}).encode()
    url = f"{URL}/{quote(CANARY, safe='')}" if place == "url" else URL
    request = Request("POST", url, {"x-api-key": CANARY}, body)
    transport = RecordingTransport(path, Answers(answer), "rewrite", force=True)
    for name in broken.split():
        setattr(transport._redactor, name, _unredacted)
    with suppress(ConnectionLost):
        if place == "stream":
            with transport.stream(request) as (_, chunks):
                list(chunks)
        else:
            transport.send(request)
    with pytest.raises(SecretInCassette):
        transport.save()
    assert not path.exists()


def _unredacted(value, *delays):
    return (value, *delays) if delays else value


def test_a_replay_needs_no_key(path):
    """The request with another key, or none, matches the one that was redacted."""
    body = json.dumps({"a": CANARY}).encode()
    record(path, Response(200, {}, b"ok"), Request("POST", URL, {"x-api-key": CANARY}, body))
    for key in ({}, {"x-api-key": "another-key-1"}):
        value = key.get("x-api-key", "REDACTED")
        request = Request("POST", URL, key, json.dumps({"a": value}).encode())
        assert RecordingTransport(path).send(request).body == b"ok"


def test_the_async_transport_redacts_too(path):
    """Sync and async share what keeps secrets out."""

    class Inner(Answers):
        async def send(self, request):  # noqa: ARG002  # the protocol
            return self.answer

        async def close(self):
            """Have nothing to close."""

    async def main():
        inner = Inner(Response(200, {}, CANARY.encode()))
        async with AsyncRecordingTransport(path, inner, "rewrite") as transport:
            await transport.send(Request("GET", URL, {"x-api-key": CANARY}))

    asyncio.run(main())
    assert "REDACTED" in path.read_text()
    assert CANARY not in path.read_text()


def test_a_credential_seen_later_is_replaced_earlier(path):
    """A token that one request fetched is no more in its answer than in later requests."""
    grant = Response(200, {}, json.dumps({"access_token": "tok-0123456789"}).encode())
    body = json.dumps({"assertion": "jwt-0123456789"}).encode()
    text = record(path, grant, Request("POST", URL, {}, body))
    assert "0123456789" not in text
    again = Request("POST", URL, {}, json.dumps({"assertion": "jwt-9876543210"}).encode())
    assert RecordingTransport(path).send(again).json() == {"access_token": "REDACTED"}


def test_literals_are_replaced_in_errors(path):
    """The message of a recorded failure loses its secrets, too."""
    url = f"{URL}?api_key=0123456789&page_token=p1"
    text = record(
        path, ConnectionLost(f"lost {url} (hunter2)"), Request("GET", url, {}), redact=["hunter2"]
    )
    (item,) = json.loads(text)["interactions"]
    assert item["request"]["url"] == "/v1/messages?api_key=REDACTED&page_token=p1"
    assert item["error"] == {
        "error": "ConnectionLost",
        "message": f"lost {URL}?api_key=REDACTED&page_token=p1 (REDACTED)",
    }


@pytest.mark.parametrize("key", ["test", "anthropic", "x" * 7])
def test_a_dummy_is_no_secret(path, key):
    """A word that stands for a key is left alone where it occurs."""
    text = record(path, Response(200, {}, key.encode()), Request("GET", URL, {"x-api-key": key}))
    assert json.loads(text)["interactions"][0]["response"]["text"] == key


def test_more_headers_can_be_kept(path):
    """The lists of headers can be extended, but never by one that carries a credential."""
    headers = {"x-trace": "1", "x-other": "2", "authorization": "Bearer 1"}
    answer = Response(200, {"x-trace": "3", "x-env-a": "4", "server": "5"})
    text = record(
        path,
        answer,
        Request("GET", URL, headers),
        request_headers=["x-trace", "authorization"],
        response_headers=["x-env-*"],
    )
    (item,) = json.loads(text)["interactions"]
    assert item["request"]["headers"] == {"authorization": "REDACTED", "x-trace": "1"}
    assert item["response"]["headers"] == {"x-env-a": "4"}


def test_the_usual_headers_are_kept(path):
    """The headers that a client reads are saved, and all others are not."""
    kept = {
        "anthropic-organization-id": "o",
        "anthropic-ratelimit-tokens-reset": "r",
        "content-type": "c",
        "date": "d",
        "request-id": "q",
        "retry-after": "1",
        "retry-after-ms": "1000",
        "x-should-retry": "true",
    }
    text = record(path, Response(200, {"via": "x", "cf-ray": "y", **kept}))
    assert json.loads(text)["interactions"][0]["response"]["headers"] == kept


@given(st.lists(st.integers(0, 40)), st.lists(st.integers(0, 9), min_size=41, max_size=41))
def test_a_secret_cut_in_two_is_replaced(cuts, delays):
    """However a stream is cut, its secrets go, other bytes and cuts stay, and no time is lost."""
    data = b"before <hunter2> between <hunter2> after"
    edges = [0, *sorted({cut for cut in cuts if 0 < cut < len(data)}), len(data)]
    chunks = [data[a:b] for a, b in itertools.pairwise(edges)]
    new, waits = Redactor(["hunter2"]).chunks(chunks, delays[: len(chunks)])
    assert b"".join(new) == data.replace(b"hunter2", b"REDACTED")
    assert b"" not in new
    assert len(new) == len(chunks)
    assert sum(waits) == sum(delays[: len(chunks)])
    assert new[0].startswith(chunks[0][:8])
    assert new[-1].endswith(chunks[-1][-7:])


def test_a_long_secret_in_short_chunks(path):
    """Chunks of which nothing is left are dropped, and the file has no trace of the secret."""
    chunks = [bytes([byte]) for byte in f"<{CANARY}>".encode()]
    text = record(path, chunks, redact=[CANARY])
    assert json.loads(text)["interactions"][0]["response"]["chunks"] == list("<REDACTED>")


def sse(*texts):
    """Give a stream of text deltas."""
    return [f"data: {json.dumps({'delta': {'text': text}})}\n\n".encode() for text in texts]


LEAKS = {
    "plain": Response(200, {}, LIVE.encode()),
    "json": Response(200, {}, f'{{"a":"{LIVE}"}}'.encode()),
    "escaped": Response(200, {}, b'{"a":"\\u0073k-ant-api03-AbCdEfGhIjKl"}'),
    "url": Response(200, {}, b"sk%2Dant%2Dapi03-AbCdEfGhIjKl"),
    "base64": Response(200, {}, base64.b64encode(f"ab {LIVE}".encode())),
    "base64 inside": Response(200, {}, b"x" + base64.b64encode(LIVE.encode())),
    "urlsafe": Response(200, {}, base64.urlsafe_b64encode(b"\xff\xfe\xfd" + LIVE.encode())),
    "not text": Response(200, {}, b"\xff" + LIVE.encode()),
    "gzip": Response(200, {"content-encoding": "gzip"}, gzip.compress(LIVE.encode())),
    "cut gzip": Response(200, {}, gzip.compress(LIVE.encode())[:-4]),
    "header": Response(200, {"request-id": LIVE}),
    "cut": [LIVE[:5].encode(), LIVE[5:].encode()],
    "deltas": sse("it is sk-", "ant-", "api03-AbCd", "EfGh"),
    "bearer": Response(200, {}, b"authorization: Bearer abcdefghij0123456789"),
    "aws": Response(200, {}, b"AKIAIOSFODNN7EXAMPLE"),
    "error": ConnectionLost(LIVE),
}


@pytest.mark.parametrize("answer", LEAKS.values(), ids=LEAKS)
def test_what_looks_like_a_key_is_not_saved(path, answer):
    """Nothing is written if a live key is there in any form, and the error does not say it."""
    with pytest.raises(SecretInCassette, match="interaction 1, POST /v1/messages") as caught:
        record(path, answer)
    assert LIVE[8:] not in repr(caught.value.args)
    assert list(path.parent.iterdir()) == []


@pytest.mark.parametrize(
    "form",
    [
        base64.b64encode(f"a {CANARY} b".encode()).decode(),
        base64.b64encode(CANARY.encode()).decode(),
    ],
)
def test_a_known_secret_in_base64_is_not_saved(path, form):
    """A secret that cannot be replaced where it is encoded stops the saving."""
    with pytest.raises(SecretInCassette, match="a known secret"):
        record(path, Response(200, {}, form.encode()), redact=[CANARY])


@pytest.mark.parametrize(
    "text",
    [
        "Set sk-ant-... as your key",
        "Authorization: Bearer $ANTHROPIC_API_KEY",
        "Bearer YOUR_TOKEN_WHICH_YOU_HAVE_TO_FILL_IN",
        "base64 " + base64.b64encode(bytes(range(256)) * 40).decode(),
        "XAKIAIOSFODNN7EXAMPLE",
    ],
)
def test_what_does_not_look_like_a_key_is_saved(path, text):
    """Placeholders and binary data do not stop the saving."""
    record(path, Response(200, {}, text.encode()))


def test_broken_gzip_is_only_bytes(path):
    """A body that begins like gzip and is none is looked at as it is."""
    record(path, Response(200, {}, b"\x1f\x8b\x08" + zlib.compress(b"x")))


def test_multipart_files_are_not_kept(path):
    """Of a file that is uploaded only name, type, size and hash are in the recording."""
    lines = [
        "--b",
        'Content-Disposition: form-data; name="file"; filename="secret.txt"',
        "",
        "the content",
        "--b--",
        "",
    ]
    headers = {"content-type": "multipart/form-data; boundary=b"}
    request = Request("POST", URL, headers, "\r\n".join(lines).encode())
    text = record(path, Response(200, {}), request)
    assert "the content" not in text
    assert '"secret.txt"' in text
    assert "boundary" not in text


def test_a_leak_in_the_url_is_not_told(path):
    """The error that reports a key in a URL does not repeat the URL."""
    with pytest.raises(SecretInCassette, match=r"interaction 1\.") as caught:
        record(path, Response(200, {}), Request("GET", f"{URL}/{LIVE}", {}))
    assert LIVE not in str(caught.value)


@pytest.mark.parametrize("url", ["http://[", "", "/v1/messages", "https://u:hunter22@h/v1/x#f"])
def test_any_url_can_be_redacted(url):
    """A URL that is none is left to the transport to refuse; user info and host are not kept."""
    redactor = Redactor()
    redactor.learn(Request("GET", url, {}))
    assert redactor.url(url) in {"/", "/v1/messages", "/v1/x"}
    assert redactor.text("hunter22") == ("REDACTED" if "@" in url else "hunter22")


def test_an_old_leak_is_noticed(path):
    """What was in the file before is looked at again when it is saved."""
    raw = {"request": {"method": "GET", "url": "/"}, "response": {"status": 200, "text": LIVE}}
    old = json.dumps({"version": 1, "interactions": [raw]})
    path.write_text(old)
    transport = RecordingTransport(path, Answers(Response(200, {})), "new_episodes")
    transport.send(Request("POST", URL, {}))
    with pytest.raises(SecretInCassette, match="interaction 1, GET /"):
        transport.close()
    assert path.read_text() == old


def test_only_strings_are_secrets(path):
    """What a secret field has instead of a secret (null, a number) is recorded, and not learned."""
    answer = Response(200, {}, b'{"id_token":12345678,"access_token":null,"a":"12345678"}')
    (item,) = json.loads(record(path, answer))["interactions"]
    assert item["response"]["json"]["a"] == "12345678"
