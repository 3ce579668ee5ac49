"""Answers: bodies read as models, refusals, headers, and whole calls that meet any of them."""

import copy
import json
import pickle
from contextlib import suppress
from datetime import datetime

from attrs import NOTHING, fields
from driving import KEY, STREAMED, UNARY, WHOLE, Clock, answer, drive, stream
from fuzz_input import changed, cut, plain
from places import SAMPLES

import claude_lite.client.namespaces  # noqa: F401  # all operations there are
from claude_lite.api.completions import StreamCompletion
from claude_lite.api.raw_request import RawRequest
from claude_lite.api.uploads import UploadOperation
from claude_lite.core import retry
from claude_lite.core.config import Config
from claude_lite.core.json_text import dumps, loads
from claude_lite.core.model import Model
from claude_lite.core.operation import Operation, StreamOperation
from claude_lite.core.pages import ListOperation
from claude_lite.core.responses import error_from_response, retry_after, should_retry
from claude_lite.core.structure import structure, unstructure
from claude_lite.dialects.bedrock import Bedrock
from claude_lite.errors import APIError, ClaudeError, UnexpectedResponse, UsageError
from claude_lite.wire import RateLimits, Response

GIVEN = {"requests": [], "messages": [], "max_tokens": 1, "max_tokens_to_sample": 1}


def _operations():
    """Make one of each operation that reads a JSON body."""
    pending, found = [Operation], {}
    while pending:
        cls = pending.pop()
        pending += cls.__subclasses__()
        read = getattr(cls, "result_type", None) or hasattr(cls, "item_type")
        if not read or "route" not in vars(cls) or cls.__module__.startswith("test"):
            continue
        if not issubclass(cls, StreamOperation | UploadOperation):
            wanted = [a.name for a in fields(cls) if a.default is NOTHING]
            found[cls.route.name] = cls(**{name: GIVEN.get(name, "x") for name in wanted})
    return [found[name] for name in sorted(found)]


OPERATIONS = _operations()
READ = [json.loads(p.read_bytes()) for p in sorted((SAMPLES / "responses").glob("*.json"))]
VALUES = (
    *(None, True, False, 0, 1, -1, 1.5, 2**63, -(2**63) - 1, 10**30, "", "x", "text", "tool_use"),
    *([], [[]], [None], [{}], {}, {"type": "text"}, {"type": "text", "text": "x"}, {"type": []}),
    *({"_response": 1, "_operation": 2, "_partial_json": 3, "received": {}, "__class__": None},),
)
KEYS = (
    "type",
    "data",
    "content",
    "_response",
    "_operation",
    "_partial_json",
    "received",
    "to_dict",
)


def body(given):
    """Read any bytes as the answer to any operation."""
    operation, data = given.pick(OPERATIONS), given.rest()
    check_answer(operation, data)


def mutant(given):
    """Read a recorded answer, changed in some places, as the answer to any operation."""
    operation = given.pick(OPERATIONS)
    data = changed(given, given.pick(READ), VALUES, KEYS)
    check_answer(operation, json.dumps(data).encode())


def check_answer(operation, data):
    """A body is a model that stands for all of it, or no answer of the API."""
    response = Response(200, {"request-id": "req_1"}, data)
    try:
        made = operation.parse(response)
    except UnexpectedResponse as error:
        plain(error)
        return
    assert isinstance(made, Model)
    assert made.response.status == 200  # that of the head above
    assert made.request_id == "req_1"
    shown = unstructure(made)
    assert json.dumps(shown) == json.dumps(loads(data))  # each key, in its place
    if not isinstance(operation, ListOperation):
        assert structure(copy.deepcopy(shown), type(made)) == made
        hash(made)
    else:
        follower = made.next
        assert follower is None or isinstance(follower, type(operation))
    assert pickle.loads(pickle.dumps(made)) == made == copy.deepcopy(made)  # noqa: S301  # our own
    assert isinstance(repr(made), str)
    with suppress(UsageError):  # a number too large for a float reads as infinite
        assert loads(dumps(shown)) == loads(data)


def refusal(given):
    """Read any bytes as the body of a refusal, under any headers."""
    status = 300 + given.number(300)
    headers = _headers(given)
    data = given.rest()
    error = error_from_response(Response(status, headers, data), data)
    assert isinstance(error, APIError)
    assert error.status == status
    assert isinstance(error.partial, dict | None)
    assert isinstance(error.usage, dict | None)
    assert isinstance(error.workspace_id, str | None)
    assert error.should_retry in (None, True, False)
    assert isinstance(error.rate_limits, RateLimits)
    plain(error)
    twin = pickle.loads(pickle.dumps(error))  # noqa: S301  # our own
    assert (type(twin), twin.to_dict()) == (type(error), error.to_dict())
    assert isinstance(repr(error), str)
    check_headers(Response(status, headers))


NAMES = (
    *("retry-after", "retry-after-ms", "date", "x-should-retry", "request-id", "content-type"),
    *("anthropic-ratelimit-tokens-limit", "anthropic-ratelimit-tokens-remaining", "location"),
    *("anthropic-ratelimit-tokens-reset", "anthropic-fast-input-tokens-reset", "content-encoding"),
    *("anthropic-priority-input-tokens-limit", "anthropic-organization-id", "x-other"),
)


def _headers(given):
    return {given.pick(NAMES): given.text() for _ in range(given.number(6))}


def headers(given):
    """Read any text as what the headers say."""
    found = {}
    while given.left:
        found[given.pick(NAMES)] = given.text()
    check_headers(Response(200, found))


def check_headers(head):
    """What headers say is a sensible value or nothing."""
    wait = retry_after(head.headers)
    assert wait is None or 0 < wait < 2**32
    assert should_retry(head) in (None, True, False)
    for name in ("requests", "tokens", "priority_input_tokens", "fast_input_tokens"):
        limit = getattr(head.rate_limits, name)
        if limit is not None:
            assert limit.limit is None or isinstance(limit.limit, int)
            assert limit.reset is None or isinstance(limit.reset, datetime)
            assert limit.reset is None or limit.reset.tzinfo is not None


CALLS = (
    *(UNARY["create"], UNARY["never"], UNARY["get"], STREAMED["create"], STREAMED["never"]),
    *(RawRequest(method="GET", path="/v1/x"),),
    *(StreamCompletion(model="m", prompt="p", max_tokens_to_sample=1),),
)
CONFIGS = [
    Config(api_key=KEY, base_url="http://host.test", **options)
    for options in (
        {"deadline": 100.0},
        {"deadline": None, "max_response": 300, "max_event": 300},
        {"content_timeout": 5.0, "retry": retry.standard(resend_unknown=True)},
        {"retry": retry.defer()},
        {"retry": retry.never()},
    )
]
CONFIGS.append(
    Config(api_key=KEY, dialect=Bedrock(region="us-east-1"), retry=retry.standard(wait=1))
)
STATUSES = (200, 200, 200, 200, 204, 304, 307, 308, 400, 401, 404, 413, 429, 500, 503, 529, 599)
KINDS = ("text/event-stream", "application/json", "application/vnd.amazon.eventstream", None)
ENCODINGS = (None, None, None, "gzip", "deflate", "br", "identity")


def call(given):
    """Make a call whose first answer is anything, and whose second is good."""
    retry._budgets.clear()
    operation, made = given.pick(CALLS), given.pick(CONFIGS)
    said = {
        "content-type": given.pick(KINDS),
        "content-encoding": given.pick(ENCODINGS),
        **_headers(given),
    }
    head = Response(given.pick(STATUSES), {k: v for k, v in said.items() if v is not None})
    collect, seed, pause = given.number(2), given.number(), given.number(3)
    chunks = cut(given.rest(), seed)
    steps = [step for chunk in chunks for step in ((chunk, 3.0) if pause else (chunk,))]
    good = stream(*WHOLE) if isinstance(operation, StreamOperation) else answer()
    first = [head, *steps]
    if not isinstance(operation, StreamOperation):
        first = Response(head.status, head.headers, b"".join(chunks))
    clock = Clock()
    run = drive(operation, first, good, made_with=made, collect=bool(collect), clock=clock)
    if run.error is not None:
        text = plain(run.error)
        assert KEY not in text
    limit = made.retry.attempts
    assert len(run.requests) <= limit + 3 + (run.error is None)  # three redirects
    assert all(0 < wait < 2**32 for wait in run.waits)
    assert made.deadline is None or sum(run.waits) < made.deadline
    if run.error is None and isinstance(operation, StreamOperation):
        _drained(run)


def _drained(run):
    """Take what a stream's exchange has: values, and in the end an error of ours or none."""
    exchange, decoder = run.exchange, run.result
    while exchange.items:
        raw = exchange.items.popleft()
        try:
            decoder.item(raw)
        except ClaudeError as error:
            plain(error)
    try:
        exchange.raise_stream_error()
        decoder.result()
    except ClaudeError as error:
        plain(error)
