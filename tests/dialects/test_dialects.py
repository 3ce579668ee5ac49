"""Other platforms: what they are sent, byte for byte, how it is signed, what comes back."""

import asyncio
import hashlib
import hmac
import json
import pickle
import sys
import traceback
from urllib.parse import quote, urlsplit

import pytest
from driving import HELLO, WHOLE
from frames import chunk, failure

from claude_lite import AsyncClient, Client, CountTokens, CreateMessage, StreamMessage
from claude_lite.api.batches import CreateBatch
from claude_lite.api.files import UploadFile
from claude_lite.api.models import ListModels
from claude_lite.api.raw_request import RawRequest
from claude_lite.core.config import Config
from claude_lite.dialects import (
    AWSKeys,
    Bedrock,
    BedrockMantle,
    ClaudeOnAWS,
    ClaudeOnGoogleCloud,
    Foundry,
    Vertex,
    google_token,
)
from claude_lite.errors import (
    ConnectionFailed,
    CredentialMissing,
    RateLimited,
    RequestTooLarge,
    UnexpectedResponse,
    UsageError,
)
from claude_lite.testing import AsyncStubTransport, StubTransport
from claude_lite.wire import Response

SECRET = "wJalrXUtnFEMI-canary-K7MDENG"
KEYS = AWSKeys("AKIDEXAMPLE", SECRET, "session-canary-token")
FRAMES = Response(200, {"content-type": "application/vnd.amazon.eventstream"})
MESSAGE = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "m",
    "stop_reason": None,
    "content": [],
    "stop_sequence": None,
    "usage": {"input_tokens": 1, "output_tokens": 1},
}
BODY = '"max_tokens":9,"messages":[{"role":"user","content":"Hello"}]'
CREATE, STREAM = CreateMessage(**HELLO), StreamMessage(**HELLO)
COUNT = CountTokens(model="m", messages=HELLO["messages"])
ARN = "arn:aws:bedrock:us-east-1:1:inference-profile/us.anthropic.claude-v1:0"
VARIABLES = (
    *("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_BEARER_TOKEN_BEDROCK", "AWS_PROFILE"),
    *("ANTHROPIC_BEDROCK_BASE_URL", "ANTHROPIC_AWS_API_KEY", "CLOUD_ML_REGION"),
    *("ANTHROPIC_VERTEX_PROJECT_ID", "GOOGLE_CLOUD_PROJECT", "ANTHROPIC_FOUNDRY_API_KEY"),
    *("ANTHROPIC_FOUNDRY_BASE_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"),
)


@pytest.fixture(autouse=True)
def _no_cloud(monkeypatch, tmp_path):
    """Find no credential on this machine but the API's own, which must never be sent."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-first-party")


class Google:
    """Credentials as google-auth has them, which count how often they are refreshed."""

    def __init__(self):
        """Begin without a token."""
        self.token, self.refreshed = None, 0

    @property
    def valid(self):
        """Whether there is a token."""
        return self.token is not None

    def refresh(self, _request):
        """Make a token."""
        self.refreshed += 1
        self.token = "google-token"


def sent(dialect, operation, **options):
    """Build, adapt and sign: what goes to the transport."""
    config = Config(dialect=dialect, **options)
    return dialect.sign(dialect.adapt(operation.build(config.target)))


def headers(request):
    """Pick the headers that platforms look at."""
    shared = {"accept", "accept-encoding", "user-agent"}
    return {name: str(v) for name, v in request.headers.items() if name not in shared}


JSON = {"content-type": "application/json"}
FIRST = {"anthropic-version": "2023-06-01", **JSON}
BEARER = {"authorization": "Bearer tok"}
AMAZON = "https://bedrock-runtime.us-east-1.amazonaws.com/model"
MANTLE = "https://bedrock-mantle.us-east-1.api.aws/anthropic"
PLATFORM = "https://aws-external-anthropic.us-east-1.api.aws"
MODELS = "/projects/p/locations/{}/publishers/anthropic/models/"
GOOGLE = "https://claude.googleapis.com/v1/projects/p/locations/global/"
AZURE = "https://res.services.ai.azure.com/anthropic"
V = ',"anthropic_version":"bedrock-2023-05-31"'
G = ',"anthropic_version":"vertex-2023-10-16"'


@pytest.mark.parametrize(
    ("dialect", "operation", "url", "head", "body"),
    [
        (Bedrock(region="us-east-1"), CREATE, f"{AMAZON}/m/invoke", JSON, f"{{{BODY}{V}}}"),
        (
            Bedrock(region="us-east-1"),
            STREAM.replace(model=ARN, betas=["b-1", "b-2"], user_profile_id="up_1"),
            f"{AMAZON}/{ARN.replace('/', '%2F')}/invoke-with-response-stream",
            {**JSON, "anthropic-beta": "b-1,b-2"},
            f'{{{BODY}{V},"anthropic_beta":["b-1","b-2"],"user_profile_id":"up_1"}}',
        ),
        (
            BedrockMantle(region="us-east-1"),
            STREAM.replace(user_profile_id="up_1"),
            f"{MANTLE}/v1/messages",
            FIRST,
            f'{{"user_profile_id":"up_1","model":"m",{BODY},"stream":true}}',
        ),
        (
            ClaudeOnAWS(region="us-east-1", workspace_id="wrkspc_1"),
            ListModels(limit=2),
            f"{PLATFORM}/v1/models?limit=2",
            {"anthropic-version": "2023-06-01", "anthropic-workspace-id": "wrkspc_1"},
            "",
        ),
        (
            Vertex(project="p", region="us-east5"),
            CREATE.replace(model="claude@1", betas=["b-1"]),
            (
                f"https://us-east5-aiplatform.googleapis.com/v1{MODELS.format('us-east5')}"
                "claude@1:rawPredict"
            ),
            {**JSON, "anthropic-beta": "b-1"},
            f"{{{BODY}{G}}}",
        ),
        (
            Vertex(project="p", region="global"),
            STREAM,
            f"https://aiplatform.googleapis.com/v1{MODELS.format('global')}m:streamRawPredict",
            JSON,
            f'{{{BODY},"stream":true{G}}}',
        ),
        (
            Vertex(project="p", region="eu"),
            COUNT,
            (
                f"https://aiplatform.eu.rep.googleapis.com/v1{MODELS.format('eu')}"
                "count-tokens:rawPredict"
            ),
            JSON,
            f'{{"model":"m","messages":[{{"role":"user","content":"Hello"}}]{G}}}',
        ),
        (Foundry(resource="res"), CREATE, f"{AZURE}/v1/messages", FIRST, f'{{"model":"m",{BODY}}}'),
        (
            ClaudeOnGoogleCloud(project="p", workspace_id="w"),
            CREATE,
            f"{GOOGLE}workspaces/w/invoke/v1/messages",
            FIRST,
            f'{{"model":"m",{BODY}}}',
        ),
        (
            ClaudeOnGoogleCloud(project="p", workspace_id="w"),
            RawRequest(method="GET", path="/v1/organizations/users", query={"limit": 1}),
            f"{GOOGLE}claudeOrganization/invoke/v1/organizations/users?limit=1",
            {"anthropic-version": "2023-06-01"},
            "",
        ),
    ],
)
def test_the_request_of_a_platform(dialect, operation, url, head, body):
    """Method, URL, headers and body are the platform's; a token of the client is kept."""
    request = sent(dialect, operation, auth_token="tok")
    assert request.method == ("POST" if body else "GET")
    assert (request.url, request.body.decode()) == (url, body)
    assert headers(request) == {**head, **BEARER}
    assert request == sent(dialect, operation, auth_token="tok")


def test_a_newer_version_has_one_name():
    """Versions after the first are called alike everywhere; one that is given stays."""
    request = sent(Bedrock(region="r"), CREATE, auth_token="tok", api_version="2026-10-21")
    assert json.loads(request.body)["anthropic_version"] == "2026-10-21"
    own = CREATE.replace(extra_body={"anthropic_version": "x"})
    request = sent(Vertex(project="p", region="r"), own, auth_token="tok")
    assert json.loads(request.body)["anthropic_version"] == "x"


@pytest.mark.parametrize(
    ("dialect", "operation"),
    [
        (Bedrock(region="r"), COUNT),
        (Bedrock(region="r"), ListModels()),
        (BedrockMantle(region="r"), ListModels()),
        (Vertex(project="p", region="r"), ListModels()),
        (Vertex(project="p", region="r"), CreateBatch(requests=[])),
        (Foundry(resource="r"), CreateBatch(requests=[])),
        (Foundry(resource="r"), ListModels(limit=1)),
    ],
)
def test_what_a_platform_lacks_is_not_sent(dialect, operation):
    """The error names the platform and the operation."""
    with pytest.raises(UsageError, match=r"has no (GET|POST) /v1/[\w/]+; nothing was sent"):
        Client(StubTransport(), dialect=dialect).send(operation)


@pytest.mark.parametrize(
    "dialect", [Bedrock(region="r"), BedrockMantle(region="r"), Vertex(project="p", region="r")]
)
def test_platforms_take_no_query(dialect):
    """The error says that the query is what the platform does not take."""
    call = CREATE.replace(extra_query={"beta": "true"})
    with pytest.raises(UsageError, match=r"takes no query: leave out extra_query"):
        Client(StubTransport(), dialect=dialect).send(call)


def test_betas_of_a_body_and_of_headers_on_bedrock():
    """`anthropic_beta` in the body has the flags of all places, each once."""
    call = CREATE.replace(betas=["a"], extra_body={"anthropic_beta": ["b", "a"]})
    made = sent(Bedrock(region="r", keys=KEYS), call.replace(extra_headers={"Anthropic-Beta": "c"}))
    assert json.loads(made.body)["anthropic_beta"] == ["a", "c", "b"]


def test_a_base_url_of_a_platform_is_cleaned():
    """Blanks, quotes and capitals go; `/v1` stays, because the platform's paths follow it."""
    dialect = Vertex(project="p", region="r", base_url=' "HTTPS://Gateway.TEST/v1/" ')
    assert dialect.base_url == "https://gateway.test/v1"
    assert sent(dialect, CREATE, auth_token="t").url.startswith("https://gateway.test/v1/projects")
    with pytest.raises(UsageError, match="base_url of Bedrock has to be") as caught:
        Bedrock(region="r", base_url="https://user:secret@host.test")
    assert "secret" not in str(caught.value)


def test_limits_of_platforms():
    """A body past the platform's own limit is not sent."""
    big = CREATE.replace(messages=[{"role": "user", "content": "x" * 21 * 1024 * 1024}])
    with pytest.raises(RequestTooLarge):
        sent(Bedrock(region="r"), big)


def test_other_urls_are_refused():
    """A request that was built for another host is not rewritten."""
    with pytest.raises(UsageError):
        Bedrock(region="r").adapt(CREATE.build(Config().target))


@pytest.mark.parametrize("model", ["", ".", "..", 7])
def test_a_model_has_to_be_an_id(model):
    """It becomes a part of the path, and leads nowhere else."""
    for dialect in (Bedrock(region="r"), Vertex(project="p", region="r", credentials=Google())):
        with pytest.raises(UsageError, match="model has to be the id"):
            sent(dialect, CREATE.replace(model=model))


@pytest.mark.parametrize("json", [None, [1], "text"])
def test_what_is_rewritten_is_an_object(json):
    """A raw request without a JSON object is refused, and says what it lacks."""
    raw = RawRequest(method="POST", path="/v1/messages", json=json)
    with pytest.raises(UsageError, match="has to have a JSON object"):
        sent(Bedrock(region="r"), raw)


# Credentials


def test_keys_and_tokens_of_the_environment(monkeypatch):
    """Each platform has its own; a key that is given is a bearer token on AWS."""
    monkeypatch.setenv("AWS_BEARER_TOKEN_BEDROCK", "aws-token")
    monkeypatch.setenv("ANTHROPIC_AWS_API_KEY", "aws-key")
    monkeypatch.setenv("ANTHROPIC_FOUNDRY_API_KEY", "azure-key")
    for dialect, token in [
        (Bedrock(region="r"), "aws-token"),
        (BedrockMantle(region="r"), "aws-token"),
        (ClaudeOnAWS(region="r", workspace_id="w"), "aws-key"),
    ]:
        assert sent(dialect, CREATE).headers["authorization"] == f"Bearer {token}"
        given = sent(dialect, CREATE, api_key="given").headers
        assert given["authorization"] == "Bearer given"
        assert "x-api-key" not in given
    for options, key in [({}, "azure-key"), ({"api_key": "given"}, "given")]:
        found = sent(Foundry(resource="r"), CREATE, **options).headers
        assert (found["api-key"], found["x-api-key"]) == (key, key)


def test_no_credential_is_a_typed_error():
    """The API's own key, which is in the environment, is not one."""
    for dialect in (Bedrock(region="r"), Foundry(resource="r")):
        with pytest.raises(CredentialMissing):
            sent(dialect, CREATE)
    with pytest.raises(UsageError, match="no API key"):
        sent(Vertex(project="p", region="r"), CREATE, api_key="k" * 9)


def test_places_come_from_the_environment(monkeypatch):
    """Arguments go before variables, and without either the error names both."""
    for make, name in [
        (Bedrock, "AWS_REGION"),
        (Vertex, "ANTHROPIC_VERTEX_PROJECT_ID"),
        (Foundry, "ANTHROPIC_FOUNDRY_RESOURCE"),
    ]:
        with pytest.raises(UsageError, match=name):
            make()
    monkeypatch.setenv("AWS_DEFAULT_REGION", "two")
    assert Bedrock().region == "two"
    monkeypatch.setenv("AWS_REGION", "one")
    assert (Bedrock().region, Bedrock(region="three").region) == ("one", "three")
    monkeypatch.setenv("ANTHROPIC_BEDROCK_BASE_URL", "http://proxy/")
    assert Bedrock().base_url == "http://proxy"
    assert Bedrock(base_url="http://mine").base_url == "http://mine"
    with pytest.raises(UsageError):
        Bedrock(region="evil.example/")


def signature(request, service, date):
    """Sign as AWS describes it, with nothing of botocore's."""
    auth = str(request.headers["authorization"])
    names = auth.split("SignedHeaders=")[1].split(",", maxsplit=1)[0].split(";")
    url = urlsplit(request.url)
    values = {**request.headers, "host": url.netloc}
    lines = "".join(f"{name}:{values[name].strip()}\n" for name in names)
    digest = hashlib.sha256(request.body).hexdigest()
    canonical = "\n".join(
        [request.method, quote(url.path, safe="/-_.~"), url.query, lines, ";".join(names), digest]
    )
    scope = f"{date[:8]}/us-east-1/{service}/aws4_request"
    hashed = hashlib.sha256(canonical.encode()).hexdigest()
    text = f"AWS4-HMAC-SHA256\n{date}\n{scope}\n{hashed}"
    key = b"AWS4" + SECRET.encode()
    for part in [*scope.split("/"), text]:
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return key.hex()


@pytest.mark.parametrize(
    ("cls", "service", "operation"),
    [
        (Bedrock, "bedrock", CREATE.replace(model=ARN)),
        (BedrockMantle, "bedrock-mantle", CREATE.replace(betas=["b"])),
        (ClaudeOnAWS, "aws-external-anthropic", ListModels(limit=2)),
    ],
)
def test_signatures_are_those_of_aws(cls, service, operation):
    """They are equal to what the published rules, and botocore's signer, give for the date."""
    from botocore.auth import SigV4Auth  # an extra
    from botocore.awsrequest import AWSRequest  # an extra
    from botocore.credentials import Credentials  # an extra

    more = {"workspace_id": "w"} if cls is ClaudeOnAWS else {}
    request = sent(cls(region="us-east-1", keys=KEYS, **more), operation)
    date, auth = request.headers["x-amz-date"], str(request.headers["authorization"])
    assert auth.endswith(f"Signature={signature(request, service, date)}")
    assert request.headers["x-amz-security-token"] == "session-canary-token"

    names = auth.split("SignedHeaders=")[1].split(",", maxsplit=1)[0].split(";")
    signed = {name: request.headers[name] for name in names if name != "host"}
    theirs = AWSRequest(request.method, request.url, signed, request.body)
    theirs.context["timestamp"] = date
    signer = SigV4Auth(Credentials("AKIDEXAMPLE", SECRET), service, "us-east-1")
    text = signer.string_to_sign(theirs, signer.canonical_request(theirs))
    assert auth.endswith(f"Signature={signer.signature(text, theirs)}")


def test_botocore_finds_keys(monkeypatch, tmp_path):
    """Without keys and tokens it is asked: the environment first, then files by profile."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKFROMENV")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    from claude_lite.dialects import sigv4  # its cache is cleared

    sigv4._session.cache_clear()
    assert "Credential=AKFROMENV/" in sent(Bedrock(region="r"), CREATE).headers["authorization"]
    path = tmp_path / "credentials"
    path.write_text("[p]\naws_access_key_id = AKFROMFILE\naws_secret_access_key = x\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(path))
    monkeypatch.setenv("AWS_BEARER_TOKEN_BEDROCK", "not this")
    request = sent(Bedrock(region="r", profile="p"), CREATE)
    assert "Credential=AKFROMFILE/" in request.headers["authorization"]
    with pytest.raises(CredentialMissing):
        sent(Bedrock(region="r", profile="none"), CREATE)
    sigv4._session.cache_clear()


def test_a_body_on_disk_is_signed_too(tmp_path):
    """Its digest is sent and signed, and it is still there to be sent."""
    path = tmp_path / "a.txt"
    path.write_bytes(b"text" * 1000)
    platform = ClaudeOnAWS(region="us-east-1", workspace_id="w", keys=KEYS)
    request = sent(platform, UploadFile(file=str(path)))
    assert "x-amz-content-sha256" in str(request.headers["authorization"])
    digest = hashlib.sha256(b"".join(request.body)).hexdigest()
    assert request.headers["x-amz-content-sha256"] == digest


@pytest.mark.parametrize(
    ("dialect", "module", "extra"),
    [
        (Bedrock(region="r", keys=KEYS), "botocore.auth", "bedrock"),
        (Vertex(project="p", region="r"), "google.auth.transport.requests", "vertex"),
    ],
)
def test_a_missing_extra_is_named(dialect, module, extra, monkeypatch):
    """The error says what to install."""
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UsageError, match=rf"claude-lite\[{extra}\]"):
        sent(dialect, CREATE)


def test_google_credentials_are_refreshed_once():
    """A token is asked for when there is none that is valid, and kept while it is."""
    google = Google()
    vertex = Vertex(project="p", region="r", credentials=google)
    for _ in range(2):
        assert sent(vertex, CREATE).headers["authorization"] == "Bearer google-token"
    assert google.refreshed == 1


def test_google_out_of_reach_is_a_failed_connection():
    """It may be within reach the next time, unlike credentials that are wrong."""
    exceptions = pytest.importorskip("google.auth.exceptions")

    class Unreachable(Google):
        def refresh(self, _request):
            raise exceptions.TransportError("no route")

    with pytest.raises(ConnectionFailed, match="no Google token: no route"):
        sent(Vertex(project="p", region="r", credentials=Unreachable()), CREATE)


@pytest.mark.parametrize("token", [b"google-token", None, 3, "", "two words"])
def test_a_token_of_google_has_to_be_one(token):
    """What google-auth gives and a header cannot carry is a `UsageError` without the value."""
    credentials = Google()
    credentials.refresh = lambda _: None
    credentials.token = token
    vertex = Vertex(project="p", region="r", credentials=credentials)
    with pytest.raises(UsageError, match="the token of google-auth") as caught:
        sent(vertex, CREATE)
    assert str(token or "words") not in str(caught.value)


def test_google_has_no_default(monkeypatch, tmp_path):
    """Where google-auth finds nothing the error is typed."""
    google_token._default.cache_clear()
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "none"))
    with pytest.raises(CredentialMissing, match="Google"):
        sent(Vertex(project="p", region="r"), CREATE)


def test_nothing_shows_a_secret():
    """Not reprs, not pickles, not tracebacks with local variables, not errors that quote it."""
    dialect = Bedrock(region="us-east-1", keys=KEYS)
    quoting = Response(403, {}, b"token session-canary-token of " + b"Credential=AKIDEXAMPLE")
    client = Client(StubTransport(quoting), dialect=dialect)
    with pytest.raises(Exception, match="403") as caught:
        client.send(CREATE)
    trace = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    shown = [repr(client), repr(client.config), repr(dialect), *trace.format()]
    shown += [repr(caught.value.to_dict()), repr(pickle.dumps(client.config))]
    shown += [repr(sent(dialect, CREATE)), repr(dict(sent(dialect, CREATE).headers))]
    for text in shown:
        assert SECRET not in text
        assert "session-canary" not in text
    again = pickle.loads(pickle.dumps(dialect))  # noqa: S301  # our own
    assert again == Bedrock(region="us-east-1")
    vertex = Vertex(project="p", region="r", credentials=Google())
    assert pickle.loads(pickle.dumps(vertex)).credentials is None  # noqa: S301  # our own


# In the clients


def call(mode, dialect, use, *answers, **options):
    """Use a client (sync or async): what it gave, and the requests that it made."""
    if mode == "sync":
        transport = StubTransport(*answers)
        return use(Client(transport, dialect=dialect, **options)), transport.requests
    transport = AsyncStubTransport(*answers)

    async def run():
        return await use(AsyncClient(transport, dialect=dialect, **options))

    return asyncio.run(run()), transport.requests


def frames(*events):
    """Make the answer that streams *events*, raw frames or the API's own bytes, from Bedrock."""
    made = [
        e
        if e[:1] == b"\0"
        else b"".join(chunk(part[6:]) for part in e.splitlines() if b": {" in part)
        for e in events
    ]
    return Response(FRAMES.status, FRAMES.headers, b"".join(made))


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_each_attempt_is_signed(mode):
    """A call that is retried is adapted once, signed twice, and gives its result."""
    dialect = Bedrock(region="us-east-1", keys=KEYS)
    answers = Response(503, {"retry-after-ms": "1"}), MESSAGE
    message, requests = call(mode, dialect, lambda c: c.send(CREATE), *answers)
    assert message.id == "msg_1"
    assert [request.url for request in requests] == [f"{AMAZON}/m/invoke"] * 2
    assert all("x-amz-date" in request.headers for request in requests)


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_frames_become_a_message(mode):
    """Bedrock's frames give what the API's own stream gives; an error among them is retried."""
    dialect = Bedrock(region="us-east-1", keys=KEYS)
    answers = frames(failure("throttlingException", "slow down")), frames(*WHOLE)
    message, requests = call(mode, dialect, lambda c: c.send(STREAM), *answers)
    assert message.text == "Hello"
    assert message == Client(StubTransport(WHOLE)).send(STREAM)
    assert len(requests) == 2


def test_frames_that_are_broken_are_typed_errors():
    """What had come is kept, and the error says what was wrong, or what AWS said."""
    dialect = Bedrock(region="us-east-1", keys=KEYS)
    broken = frames(*WHOLE[:4], chunk({"type": "ping"}, message=1))
    said = frames(*WHOLE[:4], failure("throttlingException", "slow down"))
    for answer, cls in [(broken, UnexpectedResponse), (said, RateLimited)]:
        client = Client(StubTransport(answer), dialect=dialect)
        texts = []
        with pytest.raises(cls) as caught, client.stream(STREAM) as stream:
            texts += stream.text_stream
        assert texts == ["Hel"]
        assert caught.value.partial["content"] == [{"type": "text", "text": "Hel"}]


def test_other_streams_stay_as_they_are():
    """Vertex sends server-sent events, and a body of another type is refused as ever."""
    dialect = Vertex(project="p", region="r", credentials=Google())
    client = Client(StubTransport(WHOLE, FRAMES), dialect=dialect)
    assert client.send(STREAM).text == "Hello"
    with pytest.raises(UnexpectedResponse):
        client.send(STREAM)


@pytest.mark.parametrize(
    "dialect",
    [BedrockMantle(region="r", keys=KEYS), Foundry(base_url="https://foundry.test/anthropic/")],
)
def test_streams_that_are_the_apis_own(dialect):
    """Mantle and Foundry send server-sent events, and nothing is translated."""
    transport = StubTransport(WHOLE)
    assert Client(transport, dialect=dialect, api_key="given").send(STREAM).text == "Hello"


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_a_token_function_goes_first(mode):
    """With `auth_token=` nothing else is looked for, and after a 401 a new token is created."""
    tokens = iter(["one", "two"])
    message, requests = call(
        mode,
        Foundry(resource="res"),
        lambda c: c.send(CREATE),
        Response(401, {}),
        MESSAGE,
        auth_token=lambda: next(tokens),
    )
    assert message.id == "msg_1"
    found = [str(request.headers["authorization"]) for request in requests]
    assert found == ["Bearer one", "Bearer two"]
    assert all("x-api-key" not in request.headers for request in requests)


def test_a_foundry_of_ones_own(monkeypatch):
    """The URL in the environment is for who names no resource."""
    monkeypatch.setenv("ANTHROPIC_FOUNDRY_BASE_URL", "https://foundry.test/anthropic/")
    assert Foundry().base_url == "https://foundry.test/anthropic"
    assert Foundry(resource="res").base_url == AZURE


def test_the_base_url_is_the_dialects():
    """A client takes one or the other, and without a dialect goes back to the API."""
    client = Client(StubTransport(), dialect=Foundry(resource="res"))
    assert client.config.base_url == AZURE
    assert client.with_options(timeout=3).config.base_url == AZURE
    assert client.with_options(dialect=None).config.base_url == Config().base_url
    moved = client.with_options(dialect=Bedrock(region="us-east-1"))
    assert moved.config.origin == "https://bedrock-runtime.us-east-1.amazonaws.com"
    for make in (client.with_options, lambda **o: Client(dialect=Foundry(resource="r"), **o)):
        with pytest.raises(UsageError, match="base_url"):
            make(base_url="http://other")
