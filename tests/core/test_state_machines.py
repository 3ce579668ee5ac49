"""Calls, parsers and messages driven step by step in any order that their interfaces allow.

Each machine has a model beside it that is simple enough to be right, or rules that no state may
break. Hypothesis chooses the steps, and shortens what fails.
"""

import itertools
import json
import math

import pytest
from driving import (
    BLOCK,
    HEL,
    KEY,
    LO,
    PING,
    SSE_TYPE,
    START,
    STREAMED,
    UNARY,
    Clock,
    answer,
    config,
    error_event,
    event,
    refusal,
    sample,
)
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sse_reference import reference

from claude_lite.api.messages.decoder import MessageDecoder
from claude_lite.core.exchange import MAX_REDIRECTS, Authenticate, Exchange
from claude_lite.core.retry import budget_for, defer, never, standard
from claude_lite.core.sse import SSEDecoder
from claude_lite.core.stream_exchange import StreamExchange
from claude_lite.errors import (
    ClaudeError,
    ConnectionFailed,
    ConnectionLost,
    ConnectTimedOut,
    InvalidRequest,
    Overloaded,
    ResponseTooLarge,
    RetryLater,
    StreamInterrupted,
    StreamTruncated,
    TimedOut,
    UnexpectedResponse,
)
from claude_lite.wire import Done, Request, Response, Sleep

RUN = settings(deadline=None, stateful_step_count=30, suppress_health_check=[HealthCheck.too_slow])
LONGER = settings(RUN, max_examples=200)

# Calls

POLICIES = {
    "standard": standard(),
    "five": standard(attempts=5),
    "unknown": standard(resend_unknown=True),
    "steady": standard(attempts=4, wait=2),
    "never": never(),
    "defer": defer(),
}
FAILURES = {
    "refused": lambda: ConnectionFailed("refused"),
    "connect": ConnectTimedOut,
    "lost": lambda: ConnectionLost("reset"),
    "read": lambda: TimedOut("read"),
    "total": lambda: TimedOut("total"),
    "broken": lambda: StreamInterrupted("reset"),
    "large": lambda: ResponseTooLarge("of 65 MB"),
}
UNKNOWN = {"lost", "read", "content", "broken"}
"""Failures after which a request may have been served."""

HOPELESS = {400, 401, 403, 404, 413}
STATUSES = sorted({*HOPELESS, 408, 409, 429, 500, 503, 529})
AFTER = st.sampled_from([None, "0", "1", "7", "-1", "2000", "x", "nan", "1e400"])
SECONDS = st.sampled_from([0.0, 0.25, 1.0, 9.0, 40.0])


class Calls(RuleBasedStateMachine):
    """One call, its driver, and what no call may do."""

    operations = tuple(UNARY[name] for name in ("get", "create", "never"))

    @initialize(
        number=st.integers(0, 2),
        policy=st.sampled_from(sorted(POLICIES)),
        deadline=st.sampled_from([None, 5.0, 60.0, 3600.0]),
        created=st.booleans(),
        collect=st.booleans(),
    )
    def begin(self, number, policy, deadline, created, collect):
        """Choose the operation and the configuration."""
        self.operation = self.operations[number]
        self.policy, self.deadline, self.created = POLICIES[policy], deadline, created
        self.collect = collect  # for a stream
        options = {"auth_token": lambda: "unused"} if created else {}
        self.config = config(retry=self.policy, deadline=deadline, content_timeout=60, **options)
        self.clock = Clock()
        self.began = self.clock.now
        self.exchange = self.made()
        self.action = None
        self.ended = None
        self.sent = self.redirected = self.resent = self.refreshed = 0
        self.retried = 0
        self.fate = None

    def made(self):
        """Make the exchange."""
        return Exchange(self.operation, self.config, self.clock)

    def _is(self, kind):
        return isinstance(self.action, kind) and self.ended is None

    # What a driver does

    @precondition(lambda self: self.ended is None and not isinstance(self.action, Request | Sleep))
    @rule()
    def go_on(self):
        """Ask what to do."""
        self._ask()

    def _ask(self):
        fate, self.fate = self.fate, None
        try:
            action = self.exchange.next_action()
        except ClaudeError as error:
            self._failed(error)
            return
        self.action = action
        if isinstance(action, Sleep):
            self._may_try_again(fate)
            self.retried += 1
            assert 0 < action.seconds < math.inf
            assert self.deadline is None or action.seconds < self._left()
        elif isinstance(action, Request):
            if fate not in (None, "redirect", "slept", "stale"):
                self._may_try_again(fate)
                self.retried += 1
            self._sending(action)
        elif isinstance(action, Authenticate):
            assert self.created
            assert action.stale is None or action.stale == f"token-{self.refreshed:04}"
            if fate not in (None, "slept", "stale", "redirect"):
                assert fate == 401  # refused credential
        else:
            assert isinstance(action, Done)
            self.ended = action

    @precondition(lambda self: self._is(Sleep))
    @rule(late=st.sampled_from([0.0, 0.0, 0.5, 30.0]))
    def wait(self, late):
        """Wait as long as it was asked for, or somewhat longer."""
        self.clock.now += self.action.seconds + late
        self.fate = "slept"
        self._ask()

    @precondition(lambda self: self._is(Authenticate))
    @rule()
    def create_token(self):
        """Hand in a token."""
        self.refreshed += 1
        self.exchange.receive_token(f"token-{self.refreshed:04}")
        self.action, self.fate = None, "stale"

    @rule(seconds=SECONDS)
    def let_time_pass(self, seconds):
        """Be slow, at any moment."""
        self.clock.now += seconds

    @precondition(lambda self: self._is(Request))
    @rule(name=st.sampled_from(sorted(FAILURES)))
    def fail(self, name):
        """Report that the transport has failed."""
        self.exchange.receive_failure(FAILURES[name]())
        self._reported(name)

    @precondition(lambda self: self.is_awaited())
    @rule(path=st.sampled_from(["/a", "/b", "https://evil.test/", ""]))
    def redirect(self, path):
        """Report a redirect, within the origin or out of it."""
        follows = path.startswith("/") and not self.action.url.endswith(path)
        self.respond(Response(307, {"location": path}))
        if follows and self.redirected < MAX_REDIRECTS:
            self.redirected += 1
            self._reported("redirect")
        else:
            self._reported("unexpected")

    @precondition(lambda self: self.is_awaited())
    @rule(
        status=st.sampled_from(STATUSES),
        after=AFTER,
        verdict=st.sampled_from([None, None, None, "true", "false"]),
    )
    def refuse(self, status, after, verdict):
        """Report an error of the API."""
        said = {"retry_after": after, "x_should_retry": verdict}
        said = {name: text for name, text in said.items() if text is not None}
        self.respond(refusal(status, **said))
        renewed = status == 401 and self.created and self.refreshed == 1
        fate = status if verdict is None or renewed else f"told {verdict}"
        self._reported(fate)

    @precondition(lambda self: self.is_awaited() and self.created)
    @rule()
    def reject(self):
        """Report that the token is not taken, which is worth one other token."""
        self.refuse(401, None, None)

    @precondition(lambda self: self.is_awaited())
    @rule(body=st.sampled_from([b"", b"<html>", b"[]", b'{"id": 5}', b'{"a":', b"\xff"]))
    def confuse(self, body):
        """Report a success that the API would not send."""
        self.respond(Response(200, {"content-type": "application/json"}, body))
        self._reported("unexpected")

    def is_awaited(self):
        """Say whether a request was sent, and nothing of its response has come."""
        return self._is(Request)

    def respond(self, response):
        """Report a whole response."""
        self.exchange.receive_response(response)

    def _reported(self, fate):
        self.action, self.fate = None, fate

    # What must hold

    def _left(self):
        return self.began + self.deadline - self.clock.now

    def _may_try_again(self, fate):
        """Never twice what may have been done, unless that is harmless or was asked for."""
        assert not self.policy.defers
        assert fate not in HOPELESS
        assert fate not in ("total", "large", "unexpected", "told false")
        if fate in UNKNOWN and not self.policy.resend_unknown:
            assert self.operation.resend_rule != "never"
            if self.operation.resend_rule == "once":
                assert fate not in ("read", "content")
                assert self.resent == 0
        self.resent += fate in ("lost", "broken", "broken stream")

    def _sending(self, request):
        self.sent += 1
        assert request.url.startswith(f"{self.config.base_url}/")
        assert "x-api-key" in request.headers or "authorization" in request.headers
        assert self.exchange.attempts == self.sent - self.redirected
        renewals = max(0, self.refreshed - 1)
        assert renewals <= 1
        assert self.exchange.attempts <= self.policy.attempts + renewals
        if self.deadline is not None:
            assert request.limits.total <= self.deadline
            assert self.sent == 1 or 0 < request.limits.total <= self._left()

    def _failed(self, error):
        self.ended = error
        assert error.attempts == self.exchange.attempts
        assert KEY not in json.dumps(error.to_dict())
        assert ClaudeError.from_dict(error.to_dict()).args == error.args
        if isinstance(error, RetryLater):
            assert self.policy.defers
            assert 0 <= error.delay < math.inf

    @invariant()
    def the_end_is_the_end(self):
        """Whatever ended the call is all that it says from then on, and nothing more is sent."""
        ended = getattr(self, "ended", None)
        if isinstance(ended, Done):
            assert self.exchange.next_action() is ended
        elif ended is not None:
            with pytest.raises(type(ended)) as caught:
                self.exchange.next_action()
            assert caught.value is ended

    @invariant()
    def retries_are_paid_for(self):
        """The origin's budget has lost what was taken for retries, and nothing when all is well."""
        if hasattr(self, "exchange"):
            tokens = budget_for(self.config.origin).tokens
            succeeded = isinstance(self.ended, Done) or self.fate == "success"
            taken = 0 if succeeded else self.retried
            assert tokens == 100.0 - taken  # what it begins with


MODEL = json.loads(sample("responses/models.retrieve.json"))
BATCH = json.loads(sample("responses/messages.batches.create.json"))


class UnaryCalls(Calls):
    """A call whose response is reported as a whole."""

    @precondition(lambda self: self.is_awaited())
    @rule()
    def succeed(self):
        """Report what was asked for."""
        made = {"get": MODEL, "never": BATCH}
        name = next(name for name, each in UNARY.items() if each is self.operation)
        self.respond(answer(made.get(name)))
        self._reported("success")


EVENTS = [
    ("message_start", START),
    ("content_block_start", BLOCK),
    ("content_block_delta", HEL),
    ("content_block_delta", LO),
    ("content_block_stop", event("content_block_stop", index=0)),
    ("message_delta", event("message_delta", delta={}, usage={"output_tokens": 15})),
    ("message_stop", event("message_stop")),
]
SPOILT = {
    "overloaded": error_event(),
    "invalid": error_event("invalid_request_error"),
    "junk": b"event: message_delta\ndata: {]\n\n",
    "order": event("content_block_stop", index=7),
}


class StreamedCalls(Calls):
    """A call whose response comes in pieces: a head, the events of "Hello", and what can go wrong.

    Before the first content it may start over, and after it the caller has it; where the message
    is collected, it may start over until the end.
    """

    operations = tuple(STREAMED[name] for name in ("safe", "create", "never"))

    def made(self):
        """Make the exchange; nothing is being read."""
        self.reading = self.over = False
        self.came = []
        self.content_at = 0.0
        return StreamExchange(self.operation, self.config, self.clock, collect=self.collect)

    def is_awaited(self):
        """Say whether a request was sent, and nothing of its response has come."""
        return self._is(Request) and not self.reading

    def is_read(self):
        """Say whether more of the stream can come."""
        return self.reading and not self.over and (self._is(Request) or self.is_handed_over())

    def is_handed_over(self):
        """Say whether the caller has the stream."""
        return isinstance(self.ended, Done)

    def respond(self, response):
        """Report a response that is no stream, as far as it is wanted."""
        self.exchange.receive_head(Response(response.status, response.headers))
        if self.exchange.wants_data:
            self.exchange.receive_data(response.body)
        if self.exchange.wants_data:
            self.exchange.receive_end()

    @precondition(lambda self: self.is_awaited())
    @rule()
    def start(self):
        """Report the head of a stream."""
        self.exchange.receive_head(Response(200, SSE_TYPE))
        self.reading, self.over, self.came = True, False, []
        self.content_at = self.clock.now

    @precondition(lambda self: self.is_read())
    @rule(number=st.integers(1, 3))
    def read(self, number):
        """Report the next events of the message, in one chunk."""
        at = len([kind for kind in self.came if kind != "ping"])
        found = EVENTS[at : at + number]
        self.exchange.receive_data(b"".join(data for _, data in found))
        self.came += [kind for kind, _ in found]
        self.content_at = self.clock.now
        self._look()

    @precondition(lambda self: self.is_read())
    @rule()
    def ping(self):
        """Report that the stream is alive: not for ever, if nothing else comes."""
        self.exchange.receive_data(PING)
        if self.came[-1:] != ["message_stop"]:
            self.came.append("ping")
            if self.clock.now - self.content_at > 60:  # the configured timeout
                self._broken("content")
                return
        self._look()

    @precondition(lambda self: self.is_read() and self.came[-1:] != ["message_stop"])
    @rule(how=st.sampled_from(["overloaded", "invalid", "junk", "order", "end"]))
    def spoil(self, how):
        """Report an error event, what is no event, one out of order, or the end."""
        if how == "end":
            self.exchange.receive_end()
        else:
            self.exchange.receive_data(SPOILT[how])
        self._broken({"overloaded": 529, "end": "broken stream"}.get(how, "unexpected"))

    @precondition(lambda self: self._is(Request) or self.is_read())
    @rule(name=st.sampled_from(sorted(FAILURES)))
    def fail(self, name):
        """Report that the transport has failed, before the head or after it."""
        if self.came[-1:] == ["message_stop"]:
            return
        self.exchange.receive_failure(FAILURES[name]())
        if self.reading:
            self._broken("broken stream" if name == "broken" else name)
        else:
            self._reported(name)

    def _look(self):
        """After good news: either more is wanted, or the stream is handed over."""
        begun = len([kind for kind in self.came if kind != "ping"]) > 2  # start, block
        self.over = self.came[-1:] == ["message_stop"]
        done = self.over if self.collect else begun
        if self.ended is None:
            assert self.exchange.wants_data is not done
        if self.ended is None and done:
            self._reported("success")
            self._ask()
            assert self.is_handed_over()

    def _broken(self, fate):
        """After bad news: the stream is over; whoever has it learns that, and nobody else."""
        self.over = True
        if not self.is_handed_over():
            assert not self.exchange.wants_data
            self._reported(fate)
            return
        with pytest.raises(ClaudeError) as caught:
            self.exchange.raise_stream_error()
        kind = {529: Overloaded, "unexpected": (UnexpectedResponse, InvalidRequest)}
        named = {"broken stream": StreamInterrupted, "content": TimedOut}
        expected = {**kind, **named}.get(fate) or type(FAILURES[fate]())
        assert isinstance(caught.value, expected)
        assert caught.value.partial["content"][0]["text"] == self._text()

    def _sending(self, request):
        super()._sending(request)
        self.reading = self.over = False
        self.came = []

    def _text(self):
        return "Hello"[: 3 * self.came.count("content_block_delta")]

    @invariant()
    def nothing_is_lost(self):
        """What waits for the caller is what this attempt has brought, in its order, once."""
        if getattr(self, "reading", False) and (self.is_handed_over() or not self.over):
            assert [item["type"] for item in self.exchange.items] == self.came
        if self.ended_well():
            self.exchange.raise_stream_error()
            assert self.ended.result.result().text == "Hello"

    def ended_well(self):
        """Say whether all of the message has come."""
        return getattr(self, "came", [])[-1:] == ["message_stop"]


# Server-sent events

ENDING = st.sampled_from([b"\n", b"\r", b"\r\n"])
LINES = (
    *(b"", b"", b"", b"", b"", b"", b"data: x", b"data: x"),
    *(b"data", b"data:", b"data: x", b"data:  y", b"event: a", b"event", b"id: 7", b": c"),
    *(
        b"retry: 1",
        b"\xef\xbb\xbfdata: b",
        "data: \u2028\x85é".encode(),
        b"data: \xe2\x80",
        b"\0: \0",
    ),
)


class Events(RuleBasedStateMachine):
    """A parser that gets lines with any ends, cut anywhere, under a limit or none.

    After each chunk its events are those of the standard for the bytes so far, no later.
    """

    @initialize(limit=st.sampled_from([None, None, None, 20, 60]), bom=st.booleans())
    def begin(self, limit, bom):
        """Choose the limit, and how the stream begins."""
        self.decoder, self.limit = SSEDecoder(limit), limit
        self.written = bytearray(b"\xef\xbb\xbf" if bom else b"")
        self.sent = bytearray()
        self.events = []
        self.refused = False

    @rule(lines=st.lists(st.tuples(st.sampled_from(LINES), ENDING), max_size=5))
    def write(self, lines):
        """Write lines; nothing of them is sent yet."""
        self.written += b"".join(line + ending for line, ending in lines)

    @rule(data=st.binary(max_size=5))
    def scribble(self, data):
        """Write any bytes."""
        self.written += data

    @rule(kind=st.sampled_from([b"data: x", b"event: a", b"data: y"]), ending=ENDING)
    def write_event(self, kind, ending):
        """Write an event as servers do."""
        self.written += kind + ending + b"data: z" + ending * 2

    @precondition(lambda self: not self.refused)
    @rule(sizes=st.lists(st.sampled_from([0, 1, 1, 2, 3, 5, 8, 40]), min_size=1, max_size=12))
    def send(self, sizes):
        """Send some of what was written, in chunks."""
        for size in itertools.takewhile(lambda _: not self.refused, sizes):
            self._receive(size)
            self.they_are_those_of_the_standard()

    def _receive(self, size):
        chunk = bytes(self.written[:size])
        del self.written[:size]
        self.sent += chunk
        try:
            for name, data in self.decoder.receive(chunk):
                self.events.append((name, data.decode("utf-8", "replace")))
        except ResponseTooLarge:
            self.refused = True

    @invariant()
    def they_are_those_of_the_standard(self):
        """No event is missing, late or made up; past the limit they are those before it."""
        expected = reference(bytes(getattr(self, "sent", b"")))
        found = getattr(self, "events", [])
        if getattr(self, "refused", False):
            assert self.limit is not None
            assert found == expected[: len(found)]
        else:
            assert found == expected


# Messages

BLOCKS = {
    "text": {"type": "text", "text": ""},
    "cited": {"type": "text", "text": "a", "citations": [{"type": "new", "n": 0}]},
    "thinking": {"type": "thinking", "thinking": "", "signature": ""},
    "tool_use": {"type": "tool_use", "id": "t", "name": "n", "input": {}},
    "new": {"type": "new", "frames": []},
}
DELTAS = {
    "text": ("text_delta", "text"),
    "cited": ("text_delta", "text"),
    "thinking": ("thinking_delta", "thinking"),
    "tool_use": ("input_json_delta", "partial_json"),
    "new": ("new_delta", "frames"),
}
WORDS = st.sampled_from(["", "x", "é🌍", '{"a":', "1", "}", "\u2028"])


class Messages(RuleBasedStateMachine):
    """A message that grows by events in any order that is allowed, and ends by one that is not.

    Beside it grows a plain list of blocks, which is what the message has to be.
    """

    @initialize(size=st.integers(1, 90), named=st.booleans())
    def begin(self, size, named):
        """Send the first event; choose how bytes are cut, and whether events are named."""
        self.decoder = MessageDecoder(Response(200, {"request-id": "req_1"}))
        self.size, self.named = size, named
        self.blocks, self.kinds, self.open = [], [], set()
        self.inputs, self.stop, self.usage = {}, None, dict(FIRST["usage"])
        self.given, self.expected = [], []
        self.complete = self.broken = False
        self._send({"type": "message_start", "message": FIRST})

    def _send(self, event):
        """Send an event, which is to be taken."""
        self.expected.append(event)
        self._write(event)

    def _write(self, event):
        name = f"event: {event['type']}\n" if self.named and "type" in event else ""
        data = f"{name}data: {json.dumps(event)}\n\n".encode()
        for start in range(0, len(data), self.size):
            self.given += self.decoder.receive(data[start : start + self.size])

    def going(self):
        """Say whether the message has not ended."""
        return not self.complete and not self.broken

    @precondition(lambda self: self.going())
    @rule(kind=st.sampled_from(sorted(BLOCKS)))
    def open_block(self, kind):
        """Begin a block; others may be open."""
        index = len(self.blocks)
        self._send({"type": "content_block_start", "index": index, "content_block": BLOCKS[kind]})
        self.blocks.append(json.loads(json.dumps(BLOCKS[kind])))
        self.kinds.append(kind)
        self.open.add(index)

    @precondition(lambda self: self.going() and self.open)
    @rule(data=st.data(), word=WORDS, extra=st.booleans())
    def grow(self, data, word, extra):
        """Add to any block that is open, by a delta with or without a field that is new."""
        index = data.draw(st.sampled_from(sorted(self.open)))
        kind, key = DELTAS[self.kinds[index]]
        delta = {"type": kind, key: word, **({"new": 1} if extra else {})}
        self._send({"type": "content_block_delta", "index": index, "delta": delta})
        if kind == "input_json_delta":
            self.inputs[index] = self.inputs.get(index, "") + word
        elif kind != "new_delta":
            self.blocks[index][key] += word

    @precondition(lambda self: self.going() and self.open)
    @rule(data=st.data(), number=st.integers(0, 9))
    def cite_or_sign(self, data, number):
        """Add a citation to a text, or set the signature of a thought."""
        index = data.draw(st.sampled_from(sorted(self.open)))
        block, kind = self.blocks[index], self.kinds[index]
        if kind in {"text", "cited"}:
            citation = {"type": "new", "n": number}
            delta = {"type": "citations_delta", "citation": citation}
            block["citations"] = [*block.get("citations", []), citation]
        elif kind == "thinking":
            delta = {"type": "signature_delta", "signature": f"s{number}"}
            block["signature"] = f"s{number}"
        else:
            return
        self._send({"type": "content_block_delta", "index": index, "delta": delta})

    @precondition(lambda self: self.going() and self.open)
    @rule(data=st.data())
    def close_block(self, data):
        """End any block that is open."""
        index = data.draw(st.sampled_from(sorted(self.open)))
        self._send({"type": "content_block_stop", "index": index})
        self._closed(index)

    def _closed(self, index):
        self.open.remove(index)
        text = self.inputs.get(index)
        if text:
            self.blocks[index]["input"] = parsed(text)

    @precondition(lambda self: self.going())
    @rule(reason=st.sampled_from(["end_turn", "tool_use", None]), count=st.integers(0, 99))
    def change(self, reason, count):
        """Set the stop reason and a count of tokens."""
        usage = {"output_tokens": count, "input_tokens": None}
        self._send({"type": "message_delta", "delta": {"stop_reason": reason}, "usage": usage})
        self.stop, self.usage["output_tokens"] = reason, count

    @precondition(lambda self: self.going())
    @rule(kind=st.sampled_from(["ping", "new_event"]))
    def pass_time(self, kind):
        """Send an event that changes nothing."""
        self._send({"type": kind, "index": 0})

    @precondition(lambda self: self.going() and len(self.expected) > 4)  # not at once
    @rule()
    def end(self):
        """End the message, and with it all blocks."""
        self._send({"type": "message_stop"})
        for index in sorted(self.open):
            self._closed(index)
        self.complete = True

    @precondition(lambda self: self.going() and len(self.expected) > 4)  # not at once
    @rule(how=st.sampled_from(["twice", "skip", "closed", "beyond"]))
    def spoil(self, how):
        """Send an event that is out of order, and what would be fine without it."""
        closed = next((i for i in range(len(self.blocks)) if i not in self.open), len(self.blocks))
        text = {"type": "text_delta", "text": "x"}
        wrong = {
            "twice": {"type": "message_start", "message": FIRST},
            "skip": {
                "type": "content_block_start",
                "index": len(self.blocks) + 1,
                "content_block": BLOCKS["text"],
            },
            "closed": {"type": "content_block_stop", "index": closed},
            "beyond": {"type": "content_block_delta", "index": len(self.blocks), "delta": text},
        }[how]
        self._write(wrong)
        self.broken = True
        assert type(self.decoder.error) is UnexpectedResponse
        self._write({"type": "message_stop"})

    @precondition(lambda self: self.going() and len(self.expected) > 4)  # not at once
    @rule()
    def break_off(self):
        """End the stream too early."""
        self.given += self.decoder.close()
        self.broken = True
        assert type(self.decoder.error) is StreamTruncated

    @precondition(lambda self: not self.going())
    @rule(data=st.sampled_from([b"data: {]\n\n", b"event: message_stop\ndata: {}\n\n", b"x"]))
    def come_too_late(self, data):
        """Send what nobody looks at any more."""
        self.given += self.decoder.receive(data) + self.decoder.close()

    @invariant()
    def it_is_what_was_sent(self):
        """The message so far, the events and the error are those of what was sent."""
        if not hasattr(self, "decoder"):
            return
        decoder = self.decoder
        assert self.given == self.expected
        assert decoder.complete is self.complete
        assert (decoder.error is not None) is self.broken
        usage = {**FIRST["usage"], **self.usage}
        content = [
            {**block, "input": {"INVALID_JSON": self.inputs.get(index, "")}}
            if index in self.open and "input" in block
            else block
            for index, block in enumerate(self.blocks)
        ]
        whole = {**FIRST, "content": content, "stop_reason": self.stop, "usage": usage}
        assert decoder.result().to_dict() == whole
        if self.broken:
            assert decoder.error.partial == whole
            assert decoder.error.usage == usage
        for index, block in enumerate(decoder.result().content):
            text = self.inputs.get(index)
            if text and (index in self.open or not text_is_object(text)):
                assert block.partial_json == text


FIRST = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "m",
    "content": [],
    "stop_reason": None,
    "usage": {"input_tokens": 3, "output_tokens": 1},
}


def parsed(text):
    """Read the input of a tool; a text that is not an object is kept under one key."""
    return json.loads(text) if text_is_object(text) else {"INVALID_JSON": text}


def text_is_object(text):
    """Say whether a text is a JSON object."""
    try:
        return isinstance(json.loads(text), dict)
    except ValueError:
        return False


@pytest.mark.slow
def test_calls():
    """Any order of answers, failures, waits, tokens, times: safe, counted, in time and final."""
    run_state_machine_as_test(UnaryCalls, settings=LONGER)


@pytest.mark.slow
def test_streamed_calls():
    """The same of streams, which start over before their content only, and lose none of it."""
    run_state_machine_as_test(StreamedCalls, settings=LONGER)


@pytest.mark.slow
def test_events():
    """Whatever is written, with any line ends and cuts, gives its events, each in its moment."""
    run_state_machine_as_test(Events, settings=RUN)


@pytest.mark.slow
def test_messages():
    """Any order of valid events is the message that they say; any other is our error."""
    run_state_machine_as_test(Messages, settings=RUN)
