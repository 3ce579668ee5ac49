"""Calls driven without I/O and without time: scripted answers, and a clock that is told.

`drive` runs an `Exchange` or `StreamExchange` by itself; `ScriptTransport` and its
asynchronous twin put the same script under a client; `both` makes a sync or async client
look async, so that what holds for both is written once. An answer is a `Response`, an
error to be raised, or a list: a head, then chunks, seconds to let pass, and perhaps an error.
"""

import asyncio
import itertools
import json
import logging
from contextlib import asynccontextmanager, contextmanager

import pytest
from attrs import evolve, frozen
from places import API

from claude_lite import (
    AsyncClient,
    Client,
    CountTokens,
    CreateMessage,
    Response,
    StreamMessage,
    TimedOut,
)
from claude_lite.api.batches import CreateBatch
from claude_lite.api.models import RetrieveModel
from claude_lite.core.config import Config
from claude_lite.core.exchange import Authenticate, Exchange
from claude_lite.core.operation import Route, StreamOperation, operation
from claude_lite.core.stream_exchange import StreamExchange
from claude_lite.errors import ClaudeError
from claude_lite.wire import Done, Request, Sleep

KEY = "sk-ant-test-0123456789"
HELLO = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "Hello"}]}
TEXT = "Hello, wörld 🌍!"

JSON_TYPE = {"content-type": "application/json", "request-id": "req_1"}
SSE_TYPE = {"content-type": "text/event-stream; charset=utf-8", "request-id": "req_1"}

both_modes = pytest.mark.parametrize("mode", ["sync", "async"])

_hosts = itertools.count(1)


def sample(path):
    """Read a sample of the wire."""
    return (API / "samples" / path).read_bytes()


def answer(body=None, status=200, **headers):
    """Make a whole response with a JSON body, by default a message."""
    data = sample("responses/messages.create.json") if body is None else json.dumps(body).encode()
    return Response(status, {**JSON_TYPE, **_dashed(headers)}, data)


def refusal(status, type_="api_error", details=None, **headers):
    """Make the API's error of this status and type."""
    error = {"type": type_, "message": "no", "details": details}
    return answer({"type": "error", "error": error, "request_id": "req_2"}, status, **headers)


def _dashed(headers):
    return {name.replace("_", "-"): value for name, value in headers.items()}


def event(kind, **fields):
    """Write one event of a stream."""
    data = json.dumps({"type": kind, **fields})
    return f"event: {kind}\ndata: {data}\n\n".encode()


def _delta(text):
    return event("content_block_delta", index=0, delta={"type": "text_delta", "text": text})


USAGE = {"input_tokens": 21, "output_tokens": 1}
START = event(
    "message_start",
    message={
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": USAGE,
    },
)
BLOCK = event("content_block_start", index=0, content_block={"type": "text", "text": ""})
PING = event("ping")
HEL, LO = _delta("Hel"), _delta("lo")
STOP = (
    event("content_block_stop", index=0)
    + event("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 15})
    + event("message_stop")
)
WHOLE = [START, PING, BLOCK, HEL, LO, STOP]


def stream(*steps, status=200, **headers):
    """Make the answer that streams these steps, by default a whole message, "Hello"."""
    return [Response(status, {**SSE_TYPE, **_dashed(headers)}), *(steps or WHOLE)]


def error_event(type_="overloaded_error"):
    """Write the event by which a stream says that it failed."""
    return event("error", error={"type": type_, "message": "no", "details": None})


@operation
class SafeStream(StreamMessage):
    """A stream that is safe to repeat."""

    route = Route("tests.safe", "POST", "/v1/messages", "safe")


@operation
class NeverStream(StreamMessage):
    """A stream that must not be repeated where it may have been heard."""

    route = Route("tests.never", "POST", "/v1/messages", "never")


UNARY = {
    "get": RetrieveModel(model_id="m"),
    "count": CountTokens(model="m", messages=HELLO["messages"]),
    "create": CreateMessage(**HELLO),
    "never": CreateBatch(requests=[{"custom_id": "a", "params": HELLO}]),
}
STREAMED = {
    "safe": SafeStream(**HELLO),
    "create": StreamMessage(**HELLO),
    "never": NeverStream(**HELLO),
}


class Clock:
    """A clock that stands still unless it is told."""

    def __init__(self):
        """Begin at some time that is not zero."""
        self.now = 1000.0

    def __call__(self):
        """Tell the time."""
        return self.now


def own_host():
    """Name an origin that no other test has, and so a retry budget of its own."""
    return f"http://host{next(_hosts)}.test"


def config(**options):
    """Make a configuration for an origin of its own."""
    if "auth_token" not in options:
        options.setdefault("api_key", KEY)
    return Config(**{"base_url": own_host(), **options})


@frozen
class Run:
    """What became of one call: its result or error, and what was asked of the driver."""

    result: object
    error: Exception | None
    requests: list
    waits: list
    stale: list
    seconds: float
    exchange: Exchange


def drive(
    operation,
    *answers,
    collect=False,
    takes=0.0,
    tokens=(),
    clock=None,
    made_with=None,
    **options,
):
    """Run one call; the last answer is repeated. An attempt takes so many seconds.

    Like a transport, it ends an attempt that exceeds its limits; a wait takes virtual time.
    Nobody listens to the logger, unless the test has set its level: pytest does by default.
    """
    logger = logging.getLogger("claude_lite")
    level = logger.level
    logger.setLevel(level or logging.CRITICAL + 1)
    clock = clock or Clock()
    began = clock.now
    made = made_with or config(**options)
    streamed = isinstance(operation, StreamOperation)
    if streamed:
        exchange = StreamExchange(operation, made, clock, collect=collect)
    else:
        exchange = Exchange(operation, made, clock)
    logger.setLevel(level)
    queue, created = list(answers), list(tokens)
    requests, waits, stale = [], [], []
    result = error = None
    try:
        while not isinstance(action := exchange.next_action(), Done):
            if isinstance(action, Sleep):
                waits.append(action.seconds)
                clock.now += action.seconds
            elif isinstance(action, Authenticate):
                stale.append(action.stale)
                exchange.receive_token(created.pop(0))
            else:
                requests.append(action)
                given = queue.pop(0) if len(queue) > 1 else queue[0]
                _attempt(exchange, action, given, clock, takes)
        result = action.result
    except Exception as caught:  # noqa: BLE001  # it is the result
        error = caught
    return Run(result, error, requests, waits, stale, clock.now - began, exchange)


def _attempt(exchange, request, given, clock, takes):
    total = request.limits.total
    if total is not None and takes > total:
        clock.now += total
        exchange.receive_failure(TimedOut("total"))
        return
    clock.now += takes
    try:
        if isinstance(given, Exception):
            raise fresh(given)
        if isinstance(given, Response) and not isinstance(exchange, StreamExchange):
            exchange.receive_response(given)
            return
        feed(exchange, parts(given), clock)
    except ClaudeError as error:
        exchange.receive_failure(error)


def fresh(error):
    """Make the error anew: one that is raised twice would collect tracebacks."""
    return type(error)(*error.args) if isinstance(error, ClaudeError) else error


def parts(given):
    """Cut a whole response into its head and body."""
    if isinstance(given, Response):
        return [evolve(given, body=b""), given.body]
    return given


def feed(exchange, steps, clock):
    """Report a streamed answer, as far as the exchange wants it."""
    head, *rest = steps
    exchange.receive_head(head)
    for step in rest:
        if not exchange.wants_data:
            return
        if isinstance(step, bytes):
            exchange.receive_data(step)
        elif isinstance(step, Exception):
            raise fresh(step)
        else:
            clock.now += step
    if exchange.wants_data:
        exchange.receive_end()


class ScriptTransport:
    """A transport that gives scripted answers in order, at last always the last.

    `requests` are those that were made, `waits` what was slept, `left` how often the context
    of a stream was left.
    """

    def __init__(self, *answers):
        """Hold the answers."""
        self.answers, self.now = list(answers), 1000.0
        self.requests, self.waits, self.left, self.closed = [], [], 0, 0

    def send(self, request):
        """Give the next answer as a whole."""
        return _whole(self._next(request))

    @contextmanager
    def stream(self, request):
        """Give the next answer in pieces."""
        head, *steps = parts(self._next(request))
        try:
            yield head, self._chunks(steps)
        finally:
            self.left += 1

    def sleep(self, seconds):
        """Let virtual time pass."""
        self.waits.append(seconds)
        self.now += seconds

    def monotonic(self):
        """Tell the virtual time."""
        return self.now

    def close(self):
        """Count the calls."""
        self.closed += 1

    def _next(self, request):
        assert isinstance(request, Request)
        self.requests.append(request)
        given = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(given, Exception):
            raise fresh(given)
        return given(request) if callable(given) else given

    def _chunks(self, steps):
        for step in steps:
            if isinstance(step, bytes):
                yield step
            elif isinstance(step, Exception):
                raise fresh(step)
            else:
                self.now += step


def _whole(given):
    if isinstance(given, Response):
        return given
    return evolve(given[0], body=b"".join(given[1:]))


class AsyncScriptTransport(ScriptTransport):
    """The same for asyncio; at each step others may run."""

    async def send(self, request):
        """Give the next answer as a whole."""
        await asyncio.sleep(0)
        return super().send(request)

    @asynccontextmanager
    async def stream(self, request):
        """Give the next answer in pieces."""
        await asyncio.sleep(0)
        with super().stream(request) as (head, chunks):
            yield head, self._slowly(chunks)

    async def _slowly(self, chunks):
        for chunk in chunks:
            await asyncio.sleep(0)
            yield chunk

    async def sleep(self, seconds):
        """Let virtual time pass, and others run."""
        super().sleep(seconds)
        await asyncio.sleep(0)

    async def close(self):
        """Count the calls."""
        super().close()


def client(mode, *answers, **options):
    """Make a client (sync or async) on a script; its `transport` is the script."""
    if "auth_token" not in options:
        options.setdefault("api_key", KEY)
    options.setdefault("base_url", own_host())
    if mode == "sync":
        return Client(ScriptTransport(*answers), **options)
    return AsyncClient(AsyncScriptTransport(*answers), **options)


async def do(call, *args, **kwargs):
    """Call a method (sync or async), and wait for its result if it is to be waited for."""
    result = call(*args, **kwargs)
    return await result if asyncio.iscoroutine(result) else result


class both:  # noqa: N801  # it reads as a function
    """A sync or async stream as an async one."""

    def __init__(self, stream):
        """Wrap *stream*."""
        self.stream = stream

    async def __aenter__(self):
        """Enter it."""
        if hasattr(self.stream, "__enter__"):
            self.stream.__enter__()
        else:
            await self.stream.__aenter__()
        return self

    async def __aexit__(self, *exc):
        """Leave it."""
        if hasattr(self.stream, "__exit__"):
            self.stream.__exit__(*exc)
        else:
            await self.stream.__aexit__(*exc)

    def __aiter__(self):
        """Iterate its items."""
        return each(self.stream)

    @property
    def text_stream(self):
        """Iterate its text."""
        return each(self.stream.text_stream)

    async def final_message(self):
        """Give the whole message."""
        return await do(self.stream.final_message)

    async def close(self):
        """Close it."""
        await do(self.stream.close)

    def __getattr__(self, name):
        """Give what needs no waiting."""
        return getattr(self.stream, name)


async def each(items):
    """Iterate either kind of iterable."""
    if hasattr(items, "__aiter__"):
        async for item in items:
            yield item
    else:
        for item in items:
            yield item
