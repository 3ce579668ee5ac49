"""The key shows in no rendering of a failure: rich, structlog, `traceback` and pytest, by default.

A key is often slightly wrong (a comment after it, a quote, a line break), or in a wrong place. Then
an error is raised while the key is in the hands of the library, and the reports of errors show the
variables of each frame. They cut long texts, look into objects, and do not take the repr of all.
"""

import asyncio
import functools
import inspect
import io
import json
import os
import subprocess
import sys
import tempfile
import traceback
from base64 import b64encode
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import structlog
from places import ROOT, TESTS
from rich.console import Console
from rich.traceback import Traceback
from test_canary import CANARY, PARAMS, SONG, silent

from claude_lite import (
    AsyncClient,
    BatchRun,
    ClaudeError,
    Client,
    CreateMessage,
    Operation,
    RawRequest,
    Secret,
    Target,
    UsageError,
    never,
    split_into_batches,
)
from claude_lite.api.webhooks import Webhooks
from claude_lite.bulk.run import run
from claude_lite.core.config import Config
from claude_lite.dialects import (
    Bedrock,
    BedrockMantle,
    ClaudeOnAWS,
    ClaudeOnGoogleCloud,
    Foundry,
    Vertex,
)
from claude_lite.dialects.sigv4 import AWSKeys
from claude_lite.jobs import Job, handle, handle_async
from claude_lite_transports.aiohttp import AiohttpTransport
from claude_lite_transports.asyncio import AsyncioTransport
from claude_lite_transports.recording import RecordingTransport
from claude_lite_transports.recording.cassette import load_cassette
from claude_lite_transports.recording.har import from_har
from claude_lite_transports.recording.redaction import Redactor
from claude_lite_transports.recording.vcr import from_vcr
from claude_lite_transports.urllib import UrllibTransport

REQUEST = {"custom_id": "a", "params": PARAMS}
BEARER = f"Bearer {CANARY}"
PROXY = f"socks5://user:{CANARY}@127.0.0.1:1"
REFUSED = f"http://user:{CANARY}@127.0.0.1:9"
BAD_KEYS = {
    "a comment": f"{CANARY} # prod",
    "a blank": f"{CANARY[:90]} {CANARY[90:]}",
    "quotes": f"“{CANARY}”",
    "a line break": f"{CANARY}\n{CANARY}",
    "a NUL": f"{CANARY}\0",
    "bytes": CANARY.encode(),
    "a list": [CANARY],
}


ANSWERED = {
    "request": {"method": "GET", "url": "/", "headers": {}},
    "response": {"status": 200, "headers": {}, "base64": f"{CANARY}é"},
}
NETWORKS = (UrllibTransport, AsyncioTransport, AiohttpTransport)
GIVEN = {"a key": lambda: CANARY, "bytes": CANARY.encode, "a list": lambda: [CANARY]}


class GoogleCredentials:
    """What google-auth gives, with a token that cannot be sent."""

    valid = True
    token = BAD_KEYS["a comment"]


def made(**options):
    """Give options for a client that makes one attempt."""
    return {"retry": never(), "base_url": "http://127.0.0.1:9", **options}


MISPLACED = {
    **{
        f"{name} for `{method}` of {cls.__name__}": lambda g=given, m=method, a=more, c=cls: used(
            lambda: getattr(c(api_key="k"), m)(g(), *a)
        )
        for cls in (Client, AsyncClient)
        for method, more in {
            "send": (),
            "stream": (),
            "pages": (),
            "items": (),
            "download": ("none",),
        }.items()
        for name, given in GIVEN.items()
    },
    **{
        f"{name} as {option}": lambda g=given, o=option: Client(api_key="k", **{o: g()})
        for option in ("api_version", "betas", "retry", "observe", "dialect", "timeout")
        for name, given in GIVEN.items()
    },
    "a key among betas of a derived client": lambda: Client(api_key="k").with_options(
        betas=("a", CANARY)
    ),
    **{
        f"{name} as {option} of {cls.__name__}": lambda g=given, c=cls, o=option, r=right: c(
            **{**r, o: g()}
        )
        for cls, right in {
            Bedrock: {"region": "r", "profile": "p"},
            BedrockMantle: {"region": "r", "profile": "p"},
            ClaudeOnAWS: {"region": "r", "workspace_id": "w", "profile": "p"},
            ClaudeOnGoogleCloud: {"project": "p", "workspace_id": "w", "location": "l"},
            Foundry: {"resource": "r"},
            Vertex: {"project": "p", "region": "r"},
        }.items()
        for option in right
        for name, given in {**GIVEN, "a wrong key": lambda: f"{SONG} {SONG}"}.items()
        if (option, name) != ("profile", "a wrong key")  # a name of a profile may have a blank
    },
    **{
        f"a key in {name}": lambda n=name, d=dialect: with_variable(n, d)
        for name, dialect in {
            "AWS_REGION": Bedrock,
            "ANTHROPIC_VERTEX_PROJECT_ID": lambda: Vertex(region="r"),
            "ANTHROPIC_FOUNDRY_RESOURCE": Foundry,
        }.items()
    },
    **{
        f"{name} as {option} of {cls.__name__}": lambda g=given, c=cls, o=option: c(**{o: g()})
        for cls, option in (
            *((cls, "ssl_context") for cls in NETWORKS),
            *((cls, "trust_env") for cls in (UrllibTransport, AsyncioTransport, AiohttpTransport)),
            (UrllibTransport, "pool_size"),
            (AsyncioTransport, "keepalive_timeout"),
            (AiohttpTransport, "max_connections"),
            (AiohttpTransport, "session"),
        )
        for name, given in GIVEN.items()
    },
    **{
        f"{name} for `{job}`": lambda g=given, f=function: used(lambda: f(g()))
        for job, function in {
            "Job.of": Job.of,
            "Job.from_dict": Job.from_dict,
            "handle": functools.partial(handle, Client(api_key="k")),
            "handle_async": functools.partial(handle_async, AsyncClient(api_key="k")),
        }.items()
        for name, given in {**GIVEN, "a dict": lambda: {"api_key": CANARY}}.items()
    },
    **{
        f"{name} in a run": lambda i=items: used(
            lambda: run(AsyncClient(api_key="k"), i(), print, concurrency=1)
        )
        for name, items in {**GIVEN, "bytes": CANARY.encode}.items()
    },
    **{
        f"{name} as {option} of a job": lambda g=given, o=option: Job.of(
            CreateMessage(**PARAMS), **{o: g()}
        )
        for option in ("deadline", "attempts")
        for name, given in GIVEN.items()
    },
    "a key as the client of a job": lambda: handle(CANARY, {}),
    "a key as the async client of a job": lambda: used(lambda: handle_async(CANARY, {})),
    **{
        f"{name} for `batches.{method}` of {cls.__name__}": lambda g=given, m=method, c=cls: used(
            lambda: getattr(c(api_key="k").messages.batches, m)(g())
        )
        for cls in (Client, AsyncClient)
        for method in ("run", "matched", "wait")
        for name, given in GIVEN.items()
        if (method, name) != ("wait", "a key")  # a text is an id
    },
    **{f"{name} for a batch": lambda g=given: BatchRun(g()) for name, given in GIVEN.items()},
    **{
        f"{name} for batches": lambda g=given: list(split_into_batches(g()))
        for name, given in GIVEN.items()
    },
    **{
        f"a recording with {name}": lambda t=text: loaded(t)
        for name, text in {
            "no JSON": lambda: f'{{"headers": "{CANARY}" ',
            "another version": lambda: json.dumps({"version": CANARY}),
            "another shape": lambda: json.dumps({"version": 1, "interactions": [CANARY]}),
            "a request of another shape": lambda: json.dumps(
                {"version": 1, "interactions": [{"request": {"url": CANARY}}]}
            ),
            "bad base64": lambda: json.dumps({"version": 1, "interactions": [ANSWERED]}),
        }.items()
    },
    "a HAR": lambda: from_har({"log": {"entries": [{"request": {"url": CANARY}}]}}, Redactor()),
    "a recording of vcrpy": lambda: from_vcr({"interactions": [{"request": CANARY}]}, Redactor()),
    "a key as the client of a run": lambda: used(lambda: run(CANARY, [], print)),
}

FAILURES = {
    **{
        f"{option} with {name}, {cls.__name__}": lambda o=option, n=name, c=cls: ask(
            c, lambda: {o: BAD_KEYS[n]}
        )
        for option in ("api_key", "auth_token")
        for name in BAD_KEYS
        for cls in (Client, AsyncClient)
    },
    **{
        f"headers with {name}, {cls.__name__}": lambda n=name, c=cls: ask(
            c, lambda: {"headers": {"Authorization": BAD_KEYS[n]}}
        )
        for name in BAD_KEYS
        for cls in (Client, AsyncClient)
        if name not in ("a comment", "a blank")  # these can be sent
    },
    **{
        f"a function's {option} with {name}": lambda o=option, n=name: ask(
            Client, lambda: {o: lambda: BAD_KEYS[n]}
        )
        for option in ("api_key", "auth_token")
        for name in BAD_KEYS
    },
    **{
        f"key beside {option}": lambda o=option, w=wrong: ask(
            Client, lambda: {"api_key": CANARY, "headers": {"x-gateway-key": CANARY}, o: w}
        )
        for option, wrong in {
            "timeout": -1,
            "timeoot": 1,
            "retry": 3,
            "betas": None,
            "base_url": "nowhere",
            "dialect": "bedrock",
            "api_version": "a\nb",
            "observe": 3,
            "auth_token": "another",
        }.items()
    },
    "an unknown option": lambda: Client(apikey=CANARY),
    "an unknown header option": lambda: Client(default_headers={"authorization": BEARER}),
    "headers as pairs": lambda: Client(headers=[("authorization", BEARER)]),
    "headers as text": lambda: Client(headers=f"authorization: {BEARER}"),
    "a header with a list": lambda: Client(headers={"authorization": [BEARER]}),
    "a header's name with a colon": lambda: Client(headers={"authorization:": BEARER}),
    "a derived client": lambda: Client().with_options(api_key=CANARY, timeout=-1),
    "a derived client's headers": lambda: Client().with_options(headers={"x-key": CANARY, "": ""}),
    "a configuration": lambda: Config(headers={"x-api-key": CANARY}, timeout=-1),
    "a target": lambda: Target(headers={"x-api-key": CANARY, "a b": "c"}),
    "a target's headers": lambda: Target(headers={"x-api-key": f"{CANARY}\n"}),
    **{
        f"{name} for a transport, {cls.__name__}": lambda g=given, c=cls: asked(c(g()))
        for cls in (Client, AsyncClient)
        for name, given in {
            "the key": lambda: CANARY,
            "a quoted key": lambda: f'"{CANARY}"',
            "an authorization": lambda: BEARER,
            "a key in bytes": CANARY.encode,
            "a list of keys": lambda: [CANARY],
            "options": lambda: {"api_key": CANARY},
        }.items()
    },
    **MISPLACED,
    "a key by position": lambda: Client(api_key="k").messages.create(CANARY),
    "a key by position, async": lambda: AsyncClient(api_key="k").messages.create(CANARY),
    "a key by position, streamed": lambda: Client(api_key="k").messages.stream(CANARY),
    "a key by position, items": lambda: Client(api_key="k").models.items(CANARY),
    "an operation's key by position": lambda: CreateMessage(CANARY),
    "a gateway's configuration": lambda: Client(
        headers={"x-portkey-config": json.dumps({"api_key": CANARY})}, timeout=-1
    ),
    "a key in the name of a header": lambda: Client(headers={f"x-api-key: {CANARY}": ""}),
    "an operation's gateway configuration": lambda: CreateMessage(
        **PARAMS, extra_headers={"x-portkey-config": json.dumps({"api_key": CANARY})}
    ),
    **{
        f"base URL of {cls.__name__}": lambda c=cls, o=options: c(
            **o, base_url=f"https://user:{CANARY}@host.test"
        )
        for cls, options in {
            Bedrock: {"region": "r"},
            BedrockMantle: {"region": "r"},
            ClaudeOnAWS: {"region": "r", "workspace_id": "w"},
            ClaudeOnGoogleCloud: {"project": "p", "workspace_id": "w"},
            Foundry: {"resource": "r"},
            Vertex: {"project": "p", "region": "r"},
        }.items()
    },
    "an unknown option of a dialect": lambda: Bedrock(region="r", api_key=CANARY),
    "AWS keys as a text": lambda: Bedrock(region="r", keys=CANARY),
    "AWS keys as a pair": lambda: Bedrock(region="r", keys=("id", CANARY)),
    "AWS keys as a dict": lambda: Bedrock(region="r", keys={"secret_key": CANARY}),
    "a Google token as credentials": lambda: Vertex(project="p", region="r", credentials=CANARY),
    "base URL": lambda: Client(base_url=f"https://user:{CANARY}@host.test"),
    "a call's headers": lambda: Client(api_key="k").messages.create(
        **PARAMS, extra_headers={"authorization": BEARER}
    ),
    "a call's headers as pairs": lambda: Client(api_key="k").messages.create(
        **PARAMS, extra_headers=[("authorization", BEARER)]
    ),
    "a call's unknown field": lambda: Client(api_key="k").messages.create(**PARAMS, api_key=CANARY),
    "a stream's headers": lambda: Client(api_key="k").messages.stream(
        **PARAMS, extra_headers={"x-api-key": CANARY}
    ),
    "an async call's headers": lambda: AsyncClient(api_key="k").messages.create(
        **PARAMS, extra_headers={"authorization": BEARER}
    ),
    "a request's headers": lambda: Client(api_key="k").request(
        "GET", "/", extra_headers={"authorization": BEARER}
    ),
    "a request's unknown field": lambda: Client(api_key="k").request(
        "GET", "/", headers={"authorization": BEARER}
    ),
    "an async request's headers": lambda: asyncio.run(
        AsyncClient(api_key="k").request("GET", "/", extra_headers={"authorization": BEARER})
    ),
    "an operation's headers": lambda: CreateMessage(**PARAMS, extra_headers={"x-api-key": CANARY}),
    "an operation's query": lambda: CreateMessage(**PARAMS, extra_query={"a": [CANARY]}),
    "a request's query": lambda: Client(api_key="k").request("GET", "/", query={"key": CANARY}),
    "a request's query in Base64": lambda: Client(api_key="k").request(
        "GET", "/", query={"a": b64encode(CANARY.encode()).decode()}
    ),
    "a call's headers in Base64": lambda: Client(api_key="k").messages.create(
        **PARAMS, extra_headers={"x-gateway": b64encode(CANARY.encode()).decode()}
    ),
    "an operation's unknown field": lambda: RawRequest(method="GET", path="/", api_key=CANARY),
    "a changed operation": lambda: CreateMessage(**PARAMS).replace(
        extra_headers={"x-api-key": CANARY}
    ),
    "an operation from a queue": lambda: Operation.from_dict(
        {"operation": "messages.create", **PARAMS, "extra_headers": {"x-api-key": CANARY}}
    ),
    "an operation of a queue that is none": lambda: Operation.from_dict(
        {"operation": "messages.creat", **PARAMS, "extra_headers": {"x-api-key": CANARY}}
    ),
    "an operation as text": lambda: Operation.from_dict(json.dumps({"api_key": CANARY})),
    "a batch's headers": lambda: list(
        split_into_batches([REQUEST], extra_headers={"x-api-key": CANARY})
    ),
    "a Secret of bytes": lambda: Secret(CANARY.encode()),
    "AWS keys in bytes": lambda: AWSKeys("id", CANARY.encode()),
    "an AWS session token": lambda: ask(
        Client, lambda: {"dialect": bedrock(keys=AWSKeys("id", "s" * 40, f"{CANARY}\nx"))}
    ),
    "an AWS secret key": lambda: ask(
        Client, lambda: {"dialect": bedrock(keys=AWSKeys("id", f"{CANARY}\ud800"))}
    ),
    "an AWS bearer token": lambda: with_variable("AWS_BEARER_TOKEN_BEDROCK", bedrock),
    "a Foundry key": lambda: with_variable(
        "ANTHROPIC_FOUNDRY_API_KEY", lambda: Foundry(resource="r")
    ),
    "a Google token": lambda: ask(
        Client,
        lambda: {"dialect": Vertex(project="p", region="global", credentials=GoogleCredentials())},
    ),
    "the variable of the key": lambda: with_variable("ANTHROPIC_API_KEY"),
    "the variable of the token": lambda: with_variable("ANTHROPIC_AUTH_TOKEN"),
    "the variable of the base URL": lambda: with_variable("ANTHROPIC_BASE_URL"),
    "the variable of a proxy": lambda: with_variable("HTTP_PROXY", value=lambda: PROXY),
    "the variable of all proxies": lambda: with_variable("ALL_PROXY", value=lambda: PROXY),
    "a webhook secret in bytes": lambda: Webhooks(f"whsec_{CANARY}".encode()),
    "a webhook secret": lambda: Webhooks(f"whsec_{CANARY}!!"),
    "texts to redact": lambda: Redactor([CANARY, ""]),
    "bytes to redact": lambda: Redactor([CANARY.encode()]),
    "texts to redact in a recording": lambda: RecordingTransport(
        "none.json", redact=[CANARY], mode="rewrite", force=True
    ),
    **{
        f"{name} of {cls.__name__}": lambda c=cls, o=options: c(**o())
        for cls in NETWORKS
        for name, options in {
            "proxy": lambda: {"proxy": PROXY},
            "proxy in bytes": lambda: {"proxy": PROXY.encode()},
            "proxy with a lone surrogate": lambda: {"proxy": f"http://u:{CANARY}\ud800@127.0.0.1"},
            "proxy in a dict": lambda: {"proxy": {"https": PROXY}},
            "proxy beside another option": lambda: {"proxy": REFUSED, "trust_env": 3},
        }.items()
    },
    **{
        f"a proxy that is not there, {cls.__name__}": lambda c=cls, t=transport: ask(
            c, lambda: {"api_key": CANARY}, t
        )
        for cls, transport in (
            (Client, lambda: UrllibTransport(proxy=REFUSED)),
            (AsyncClient, lambda: AiohttpTransport(proxy=REFUSED)),
            (AsyncClient, lambda: AsyncioTransport(proxy=REFUSED)),
        )
    },
}


def ask(cls, options, transport=None):
    """Make a call. What may hold the key is a function, so that no variable here shows it."""
    given = [transport()] if transport else []
    client = cls(*given, **made(**options()))
    if isinstance(client, Client):
        return client.messages.create(**PARAMS)
    return asyncio.run(client.messages.create(**PARAMS))


def asked(client):
    """Make a call with a client."""
    made = client.messages.create(**PARAMS)
    return made if isinstance(client, Client) else asyncio.run(made)


def used(make):
    """Use up what *make* returns: a coroutine, an iterator or a stream."""
    made = make()
    if isinstance(made, AsyncIterator):
        made = anext(made)
    if inspect.isawaitable(made):
        return asyncio.run(awaited(made))
    return next(made)


async def awaited(made):
    """Await an awaitable of any kind."""
    return await made


def loaded(text):
    """Load a recording with this text."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "x.json")
        path.write_text(text())
        return load_cassette(path)


def bedrock(**options):
    """Make a dialect that signs."""
    return Bedrock(region="eu-west-1", **options)


def with_variable(name, dialect=None, value=lambda: BAD_KEYS["a comment"]):
    """Make a call with a variable that is wrong in the environment, and no other credential."""
    credentials = ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "NO_PROXY", "no_proxy", name)
    before = {key: os.environ.pop(key, None) for key in credentials}
    os.environ[name] = value()
    try:
        options = {"dialect": dialect()} if dialect else {}
        if name.endswith("PROXY"):
            options = {"api_key": "k", "base_url": "http://10.0.0.1"}
        return Client(retry=never(), **options).messages.create(**PARAMS)
    finally:
        for key, old in before.items():
            os.environ.pop(key, None)
            if old is not None:
                os.environ[key] = old


def reports(error, *, whole=True):
    """Yield what the common tools write about an error by default; *whole* pages are slow."""
    yield "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())
    yield "".join(map(str, (error, repr(error), error.args, vars(error))))
    info = (type(error), error, error.__traceback__)
    for use_rich in (True, False):
        transform = structlog.tracebacks.ExceptionDictTransformer(use_rich=use_rich)
        yield json.dumps(transform(info))
    if not whole:
        return
    page = Console(file=io.StringIO(), width=400, color_system=None)
    page.print(Traceback.from_exception(*info, show_locals=True))
    yield page.file.getvalue()
    event = {"event": "failed", "exc_info": error}
    yield structlog.dev.ConsoleRenderer(colors=False)(None, "error", event)


@pytest.mark.parametrize("whole", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.parametrize("failure", FAILURES.values(), ids=FAILURES)
def test_no_report_shows_the_key(failure, whole):
    """Whatever is wrong, and wherever the key was given, each report of the error is clean."""
    with pytest.raises((ClaudeError, TypeError)) as caught:
        failure()
    for report in reports(caught.value, whole=whole):
        silent(report)


@pytest.mark.parametrize("failure", MISPLACED.values(), ids=MISPLACED)
def test_what_is_in_a_wrong_place_is_refused(failure):
    """A key, or a value of a wrong type, in the place of another value is a `UsageError`."""
    with pytest.raises(UsageError):
        failure()


@pytest.mark.slow
@pytest.mark.parametrize("more", [[], ["-l"], ["-vv", "-l"], ["--tb=short", "-l"]], ids=" ".join)
def test_the_report_of_pytest(more, tmp_path):
    """Pytest shows the arguments and the variables of our frames without the key."""
    (tmp_path / "test_all.py").write_text(
        "import pytest\nfrom test_canary_renderings import FAILURES\n\n"
        '@pytest.mark.parametrize("failure", FAILURES.values(), ids=FAILURES)\n'
        "def test_it(failure):\n    failure()\n"
    )
    path = os.pathsep.join(map(str, (ROOT, ROOT / "transports", TESTS)))
    done = subprocess.run(  # noqa: S603  # our own
        [sys.executable, "-m", "pytest", "-q", "--rootdir", tmp_path, tmp_path, *more],
        env={**os.environ, "PYTHONPATH": path, "COLUMNS": "400"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert f"{len(FAILURES)} failed" in done.stdout
    silent(done.stdout + done.stderr)


def test_a_report_would_show_it():
    """The reports do show variables: a frame that holds the key is seen in each of them."""

    def fail(key):
        raise LookupError(len(key))

    with pytest.raises(LookupError) as caught:
        fail(CANARY)
    assert [SONG in report for report in reports(caught.value)] == [True, False, *[True] * 4]
