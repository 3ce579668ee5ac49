"""Faults by script: what goes wrong with which request, as plain JSON data.

    [
        {"on": {"nth": [1]}, "do": {"fault": "status", "status": 529}},
        {"on": {"probability": 0.1, "once_per_body": true},
         "do": {"fault": "reset", "after_events": 3}}
    ]

A script only chooses; it neither waits nor sends. The emulator, its server and a transport
that wraps another all act out one script. The first rule that fires is the only one. The
fields of `on` (each that is given must hold; `{}` holds for every request):

    nth            list of positions, from 1, among the requests that path, contains and
                   headers let through (whatever other rules do with them)
    every          each k-th of those
    probability    0 to 1; drawn from the seed, the request's body and how often it was seen,
                   so that the outcome does not depend on the order of concurrent requests
    path           prefix of the URL's path
    contains       substring of the body
    headers        object: header name -> exact value, or null for any value
    times          at most so many firings of this rule
    once_per_body  not on a body that any rule of the script has struck: a retry gets through

`do` names its `fault`; the rest are its fields:

    refuse    the connection; nothing is sent
    reset     the connection is torn down (RST); before the head, unless placed
    close     the connection ends (FIN) too early; before the head, unless placed
    stall     `seconds` of silence (null: for good); before the head, unless placed
    slow      `bytes_per_second`, in pieces of `chunk` bytes (16)
    truncate  the body ends in good order, but too early; must be placed
    status    another answer: `status`, `body` (a text, an object, or by default the API's own
              error of that status), `retry_after` in seconds, `headers`
    error     an `error` event of this `type` (overloaded_error) ends a stream; must be placed
    corrupt   `count` bytes (1) from offset `at` on are inverted
    headers   `set`: object of header name -> value, or null to remove it

Placed: `after_bytes` of the body, or `after_events` (a body that is no event stream has none,
and the place is never reached). A body that is a source rather than bytes is not looked into.
"""

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Any, Final
from urllib.parse import urlsplit

import orjson
from attrs import frozen

from claude_lite.errors import UsageError
from claude_lite.faults.reading import (
    IS_COUNT,
    IS_FLAG,
    IS_HEADERS,
    IS_PLACES,
    IS_POSITIVE,
    IS_SHARE,
    IS_TEXT,
    checked,
    read_fields,
)
from claude_lite.faults.tampering import FAULT_KINDS, End, Fault, Placed, Step, Tamper
from claude_lite.wire import Request

__all__ = ["End", "Fault", "FaultRule", "FaultScript", "Selector", "Step", "Tamper"]

REMEMBERED_BODIES: Final = 100_000  # bodies; the oldest is forgotten first


@frozen
class Selector:
    """Which requests a rule is for; the module's docstring has the fields."""

    nth: Sequence[int] | None = checked(IS_PLACES, None)
    every: int | None = checked(IS_POSITIVE, None)
    probability: float | None = checked(IS_SHARE, None)
    path: str | None = checked(IS_TEXT, None)
    contains: str | None = checked(IS_TEXT, None)
    headers: Mapping[str, str | None] | None = checked(IS_HEADERS, None)
    times: int | None = checked(IS_COUNT, None)
    once_per_body: bool = checked(IS_FLAG, default=False)

    def admits(self, request: Request) -> bool:
        """Whether path, contents and headers are what this rule is for."""
        if self.path is not None and not urlsplit(request.url).path.startswith(self.path):
            return False
        if self.contains is not None and self.contains.encode() not in _content(request):
            return False
        return all(
            name.lower() in request.headers and value in (None, request.headers[name.lower()])
            for name, value in (self.headers or {}).items()
        )

    def counts(self, position: int) -> bool:
        """Whether the request at this position (from 1) among those admitted is due."""
        if self.nth is not None and position not in self.nth:
            return False
        return self.every is None or position % self.every == 0


@frozen
class FaultRule:
    """A selector and the fault for what it selects."""

    on: Selector
    do: Fault

    @classmethod
    def read(cls, data: Any, where: str) -> "FaultRule":
        """Build a rule from an object; raises `UsageError` naming the rule and the field."""
        if not isinstance(data, Mapping) or set(data) != {"on", "do"}:
            raise UsageError(f'{where}: expected {{"on": ..., "do": ...}}, got {data!r}')
        return cls(
            read_fields(Selector, data["on"], f"{where}.on"), _fault(data["do"], f"{where}.do")
        )


def _fault(data: Any, where: str) -> Fault:
    kind = FAULT_KINDS.get(data.get("fault", "")) if isinstance(data, Mapping) else None
    if kind is None:
        raise UsageError(f"{where}.fault: expected one of {', '.join(FAULT_KINDS)}, got {data!r}")
    fault = read_fields(
        kind, {name: value for name, value in data.items() if name != "fault"}, where
    )
    if isinstance(fault, Placed):
        if fault.after_bytes is not None and fault.after_events is not None:
            raise UsageError(f"{where}.after_bytes: not together with after_events")
        if fault.must_be_placed and not fault.is_placed:
            raise UsageError(f"{where}.after_bytes: required, or after_events")
    return fault


class FaultScript:
    """Rules, and the memory of what they have done. Safe to share between threads.

    Raises `UsageError` that names the rule (from 0) and the field where *rules* are wrong.
    It pickles as its rules and seed: a copy starts with an empty memory.
    """

    def __init__(self, rules: Sequence[Mapping[str, Any]], seed: int = 0) -> None:
        """Parse *rules*; the same rules and *seed* strike the same requests."""
        try:
            self.rules: list[dict[str, Any]] = orjson.loads(orjson.dumps(list(rules)))
        except TypeError as error:
            raise UsageError(f"rules: not plain JSON data: {error}") from None
        self.seed = seed
        self._rules = [FaultRule.read(rule, f"rule {i}") for i, rule in enumerate(self.rules)]
        self._by_body = any(r.on.once_per_body or r.on.probability is not None for r in self._rules)
        self._admitted = [0] * len(self._rules)
        self._fired = [0] * len(self._rules)
        self._sights: OrderedDict[bytes, int] = OrderedDict()
        self._struck: OrderedDict[bytes, None] = OrderedDict()
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"FaultScript({self.rules!r}, seed={self.seed!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return FaultScript, (self.rules, self.seed)

    def choose(self, request: Request) -> Fault | None:
        """Choose the fault for *request*, which counts as one more request; None: no fault."""
        body = _digest(request) if self._by_body else b""
        admitted = [rule.on.admits(request) for rule in self._rules]
        with self._lock:
            self._sights[body] = sight = self._sights.get(body, 0) + 1
            for i, admits in enumerate(admitted):
                self._admitted[i] += admits
            due = (i for i, admits in enumerate(admitted) if admits and self._due(i, body, sight))
            chosen = next(due, None)
            if chosen is not None:
                self._fired[chosen] += 1
                self._struck[body] = None
            for memory in (self._sights, self._struck):
                if len(memory) > REMEMBERED_BODIES:
                    memory.popitem(last=False)
        return None if chosen is None else self._rules[chosen].do

    def _due(self, index: int, body: bytes, sight: int) -> bool:
        on = self._rules[index].on
        if on.times is not None and self._fired[index] >= on.times:
            return False
        if on.once_per_body and body in self._struck:
            return False
        if not on.counts(self._admitted[index]):
            return False
        return on.probability is None or self._draw(index, body, sight) < on.probability

    def _draw(self, index: int, body: bytes, sight: int) -> float:
        drawn = blake2b(b"%d %d %d %b" % (self.seed, index, sight, body), digest_size=8).digest()
        return int.from_bytes(drawn) / 2**64


def _content(request: Request) -> bytes:
    return request.body if isinstance(request.body, bytes) else b""


def _digest(request: Request) -> bytes:
    target = f"{request.method} {request.url}\n".encode()
    return blake2b(target + _content(request), digest_size=8).digest()
