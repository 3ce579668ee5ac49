"""The key shows nowhere: not in pickles, reprs, tracebacks with locals, logs, URLs or errors."""

import asyncio
import contextlib
import gc
import io
import json
import logging
import pickle
import warnings

import pytest
import structlog
from driving import API, BLOCK, HEL, HELLO, START, WHOLE, both, client, do, event, stream

from claude_lite import (
    AsyncClient,
    ClaudeError,
    Client,
    CreateMessage,
    Secret,
    UsageError,
    defer,
    never,
    standard,
)
from claude_lite.core.config import Config
from claude_lite.emulator import Emulator
from claude_lite.testing.conformance.failing import closed_port
from claude_lite.testing.conformance.hiding import exposed
from claude_lite.testing.conformance.loopback import LoopbackServer, chunked, reply
from claude_lite_transports.aiohttp import AiohttpTransport
from claude_lite_transports.emulator import AsyncEmulatorTransport, EmulatorTransport
from claude_lite_transports.urllib import UrllibTransport

# Longer than what structlog and rich show of a text, which they cut, by default.
CANARY = "sk-ant-canary-Zx81-0123456789abcdef" + "-0123456789" * 6
SONG = "Zx81-0123456789"  # whatever is done to the key, this much of it would be recognised
PARAMS = {**HELLO, "model": "claude-sonnet-5-5"}


def provided():
    """Give the canary, as a token provider."""
    return CANARY


async def provided_later():
    """Give the canary, as an async token provider."""
    return CANARY


CREDENTIALS = {
    "key": {"api_key": CANARY},
    "key function": {"api_key": provided},
    "token": {"auth_token": CANARY},
    "provider": {"auth_token": provided},
    "header": {"headers": {"Authorization": f"Bearer {CANARY}"}},
}


def silent(text):
    """Fail if the canary sings."""
    found = text.decode("latin-1") if isinstance(text, bytes) else text
    assert SONG not in found, "the key shows: " + found.replace(SONG, "<the key>")[-2000:]


def hides(error):
    """Fail if an error shows the key, in any form, or in the variables of its traceback."""
    for text in exposed(error):
        silent(text)
    if isinstance(error, ClaudeError):
        silent(pickle.dumps(error))
        silent(json.dumps(error.to_dict()))
        silent(json.dumps(error.args))


# What can be stored


@pytest.mark.parametrize("options", CREDENTIALS.values(), ids=CREDENTIALS)
def test_nothing_that_can_be_stored_or_shown_has_the_key(options):
    """Pickles and reprs of clients, configurations, requests, operations and results are clean."""
    operation = CreateMessage(**PARAMS)
    for mode in ("sync", "async"):
        made = client(mode, stream()[0], **options)
        named = (Client if mode == "sync" else AsyncClient)(**options)
        request = operation.build(made.config.target)
        for thing in (made, named, made.config, request, request.headers, operation):
            silent(repr(thing))
            silent(str(thing))
        for thing in (named, named.config, request, operation, dict(request.headers)):
            silent(pickle.dumps(thing))
        silent(request.url)
        silent(request.body)
        silent(json.dumps(operation.to_dict()))


def test_results_do_not_have_the_key():
    """A result, with the response that it refers to, pickles and shows without the key."""
    for name, options in CREDENTIALS.items():
        made = Client(EmulatorTransport(), **options)
        message = made.messages.create(**PARAMS)
        silent(pickle.dumps(message))
        silent(repr(message) + repr(message.response) + repr(vars(message)) + name)


def test_secrets_are_strings_to_a_transport_only():
    """The header's value is the key for who sends it, and masked for who shows it."""
    request = CreateMessage(**PARAMS).build(Config(api_key=CANARY).target)
    value = request.headers["x-api-key"]
    assert value == CANARY
    silent(repr(value) + repr([value]) + repr({"a": value}))
    silent(pickle.dumps(value))


# Errors before anything is sent


@pytest.mark.parametrize(
    "options",
    [
        {"api_key": f"{CANARY} two words"},
        {"api_key": f"{CANARY}\nline"},
        {"auth_token": f"{CANARY} ü"},
        {"api_key": lambda: f"{CANARY} two"},
        {"auth_token": lambda: f"{CANARY} two"},
        {"auth_token": lambda: [CANARY]},
        {"headers": {"x-api-key": f"{CANARY}\r\nx: y"}},
        {"headers": {"Cookie": f"{CANARY}日"}},
        {"api_key": CANARY, "auth_token": CANARY},
        {"api_key": CANARY, "timeoot": 3},
        {"api_key": CANARY, "timeout": -1},
        {"api_key": CANARY, "retry": 3},
        {"api_key": CANARY, "base_url": "nowhere"},
        {"auth_token": CANARY, "headers": {"a b": "c"}},
        {"api_key": CANARY, "api_version": "a\nb"},
    ],
    ids=range(15),
)
@pytest.mark.parametrize("derived", [False, True], ids=["made", "derived"])
def test_errors_of_the_configuration(options, derived):
    """A credential that cannot be sent, or options that cannot be, do not show it in the error."""
    options = dict(options)
    try:
        made = Client().with_options(**options) if derived else Client(**options)
        made.messages.create(**PARAMS)
    except UsageError as error:
        options.clear()
        hides(error)
    else:
        pytest.fail("there was no error")


@pytest.mark.parametrize("name", ["ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"])
def test_errors_of_the_environment(name, monkeypatch):
    """A variable that cannot be a credential is named, and its value is not shown."""
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    monkeypatch.setenv(name, f"{CANARY} two words")
    with pytest.raises(UsageError) as caught:
        Client().messages.create(**PARAMS)
    hides(caught.value)


def test_a_secret_in_a_traceback():
    """A `Secret` among the variables of a frame does not show."""

    def fail(secret):
        return secret.missing

    with pytest.raises(AttributeError) as caught:
        fail(Secret(CANARY))
    hides(caught.value)


# Errors of every layer


def echo(peer):
    """Send everything that came back: in an error's JSON, as text, as HTML, in odd places."""
    while got := peer.request():
        lines = "; ".join(f"{name}: {value}" for name, value in got.headers)
        error = {"type": lines, "message": f"you said {lines}", "details": {lines: [lines]}}
        body = json.dumps({"type": "error", "error": error, "request_id": lines}).encode()
        way = (got.values("x-way") or ["json"])[0]
        if way == "json":
            peer.send(reply(body, "content-type: application/json", status="401 No"))
        elif way == "text":
            cut = b"x" * (1000 - lines.index("canary")) + lines.encode()
            peer.send(reply(cut, "content-type: text/plain", status="500 No"))
        elif way == "html":
            kind = "content-type: text/html; " + lines[-60:]
            peer.send(reply(lines.encode(), kind, f"request-id: {lines}"))
        elif way == "redirect":
            peer.send(reply(b"", f"location: https://evil.test/{lines}", status="307 Away"))
        else:
            kind = b"\r\ncontent-type: text/event-stream\r\n"
            said = event("error", error=error)
            peer.send(chunked(START, BLOCK, HEL, said).replace(b"\r\n", kind, 1))


def truncated(peer):
    """Send a stream that ends in good order, but too early."""
    while peer.request():
        data = b"".join(WHOLE[:4])
        peer.send(reply(data, "content-type: text/event-stream"))


def resetting(peer):
    """Break the connection off instead of a reply."""
    peer.request()
    peer.reset()


def garbage(peer):
    """Answer with something that is not HTTP."""
    peer.request()
    peer.send(b"SSH-2.0-OpenSSH\r\n\r\n")


def plain(peer):
    """Speak before the client does, and no TLS."""
    peer.send(b"220 ready\r\n")
    peer.gone()


@contextlib.contextmanager
def everything_logged():
    """Log all there is at DEBUG; fail at the end if the key is in it."""
    text = io.StringIO()
    handler = logging.StreamHandler(text)
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        yield text
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
    assert text.getvalue()
    silent(text.getvalue())


@contextlib.contextmanager
def structured(text):
    """Configure structlog as an application in development would: with locals in tracebacks."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.dict_tracebacks,
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.PrintLoggerFactory(text),
    )
    try:
        yield
    finally:
        structlog.reset_defaults()


CLIENTS = {
    "aiohttp": lambda **options: AsyncClient(AiohttpTransport(), **options),
    "urllib": lambda **options: Client(UrllibTransport(), **options),
}


async def failures(made):
    """Make a call, and read a stream, (sync or async); give the errors that they end with."""
    errors = []
    try:
        await do(made.messages.create, **PARAMS)
    except ClaudeError as error:
        errors.append(error)
    try:
        async with both(made.messages.stream(**PARAMS)) as s:
            await s.final_message()
    except ClaudeError as error:
        errors.append(error)
    await do(made.close)
    return errors


def all_failures(kind, options, base_url, **more):
    """Run the calls of `failures` with asyncio's debug mode on, and check their errors."""
    made = CLIENTS[kind](**{**options, "base_url": base_url, "retry": standard(wait=0), **more})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        errors = asyncio.run(failures(made), debug=True)
        del made
        gc.collect()
    assert errors
    for error in errors:
        hides(error)
    return errors


@pytest.mark.slow
@pytest.mark.parametrize("options", CREDENTIALS.values(), ids=CREDENTIALS)
@pytest.mark.parametrize("kind", CLIENTS)
def test_a_server_that_echoes(kind, options):
    """A server that sends the key back, wherever and in whatever way, does not get it shown."""
    with LoopbackServer(echo) as server, everything_logged() as text, structured(text):
        for way in ("json", "text", "html", "redirect", "stream"):
            headers = {**options.get("headers", {}), "x-way": way}
            errors = all_failures(kind, {**options, "headers": headers}, server.url(""))
            assert way == "stream" or len(errors) == 2
    assert all(CANARY in str(request.headers) for request in server.received)
    for request in server.received:
        silent(request.target)
        silent(request.body)


@pytest.mark.slow
@pytest.mark.parametrize("script", [truncated, resetting, garbage], ids=lambda s: s.__name__)
@pytest.mark.parametrize("kind", CLIENTS)
def test_failures_on_the_wire(kind, script):
    """Broken connections and streams, at every layer, show nothing of the key."""
    for options in ({"api_key": CANARY}, {"auth_token": provided}):
        with LoopbackServer(script) as server, everything_logged():
            all_failures(kind, options, server.url(""), content_timeout=5)


@pytest.mark.slow
@pytest.mark.parametrize("kind", CLIENTS)
def test_failures_to_connect(kind):
    """A refused connection, TLS to who speaks none, and a name that does not exist."""
    closed = closed_port().removesuffix("/v1/messages")
    with everything_logged():
        all_failures(kind, {"api_key": CANARY}, closed)
        all_failures(kind, {"api_key": CANARY}, closed, retry=defer())
    with LoopbackServer(plain) as server, everything_logged():
        secure = server.url("").replace("http:", "https:")
        all_failures(kind, {"api_key": CANARY}, secure, connect_timeout=2, retry=never())


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
def test_failures_of_the_emulator(asynchronous):
    """Refused keys, injected faults, broken streams: the emulator shows nothing either."""
    faults = [
        {"on": {"nth": [1]}, "do": {"fault": "status", "status": 529}},
        {"on": {"nth": [2]}, "do": {"fault": "reset"}},
        {"on": {"nth": [4]}, "do": {"fault": "truncate", "after_events": 4}},
    ]
    cls, transport = (
        (AsyncClient, AsyncEmulatorTransport) if asynchronous else (Client, EmulatorTransport)
    )
    for options in ({"api_key": CANARY}, {"auth_token": CANARY}, {"auth_token": provided}):
        for emulator in (Emulator(faults=faults), Emulator(api_keys=["another"])):
            made = cls(transport(emulator), **options, retry=standard(attempts=1))
            with everything_logged():
                for _ in range(3):
                    for error in asyncio.run(failures(made), debug=True):
                        hides(error)
            silent(repr(made.transport))
            silent(repr(vars(emulator)))


def test_an_asynchronous_provider():
    """A token of a coroutine function is as well hidden as any."""
    with LoopbackServer(echo) as server, everything_logged():
        all_failures("aiohttp", {"auth_token": provided_later}, server.url(""))
    assert "canary" in str(server.received[0].headers)


def test_recorded_facts_have_no_canary():
    """The test itself would notice: the canary is what is sent, and is found where it is put."""
    assert SONG in CANARY
    with pytest.raises(AssertionError, match="the key shows"):
        silent(f"here: {CANARY}")
    with pytest.raises(AssertionError, match="the key shows"):
        hides(ClaudeError(CANARY))
    assert API.exists()
