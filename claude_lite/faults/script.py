"""The language of fault scripts: which fault happens to which request, as plain JSON data.

    [
        {"on": {"nth": [1]}, "do": {"fault": "status", "status": 529}},
        {"on": {"probability": 0.1, "once_per_body": true},
         "do": {"fault": "reset", "after_events": 3}}
    ]

A script is a list of rules. It only chooses faults; it neither waits nor sends. The emulator,
its server and the transport `claude_lite_transports.faulty` act out the same scripts. At most
one rule fires per request: the first that matches.

`on` says which requests a rule matches. All given fields must hold; `{}` matches every request:

    nth            list of positions, from 1, among the requests for which `path`, `contains`
                   and `headers` hold; requests that other rules matched count as well
    every          each k-th of these requests
    probability    0 to 1; drawn from the seed, the request's body and how often the body came,
                   so that the outcome does not depend on the order of concurrent requests
    path           the URL's path begins with this text
    contains       the body contains this text
    headers        object: header name -> exact value, or null for any value
    times          the rule fires at most so many times
    once_per_body  do not match a body that any rule of the script has matched before, so that
                   a retry succeeds

`do` names its `fault`; the other fields belong to the fault, here with their defaults in
parentheses:

    refuse    refuse the connection; nothing is sent
    reset     reset the connection (RST); before the head, unless placed
    close     close the connection (FIN) too early; before the head, unless placed
    stall     send nothing for `seconds` (null: for ever); before the head, unless placed
    slow      send `bytes_per_second`, in pieces of `chunk` bytes (16)
    truncate  end the body in good order, but too early; must be placed
    status    give another answer: `status`, `body` (a text, an object, or by default the
              API's error of that status), `retry_after` in seconds, `headers`
    error     end a stream with an `error` event of this `type` (overloaded_error), with
              `message` (the usual text of the type); must be placed
    corrupt   invert `count` bytes (1) from offset `at` on
    headers   `set`: object of header name -> value, or null to remove the header

A fault is placed in the body by `after_bytes` or by `after_events`. A body that is no event
stream has no events, so `after_events` never takes effect there. `contains` and
`once_per_body` treat a body that is a source of bytes, such as an upload, as empty.
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

REMEMBERED_BODIES: Final = 100_000  # the oldest is forgotten first


@frozen
class Selector:
    """Which requests a rule matches; the docstring of the module describes the fields."""

    nth: Sequence[int] | None = checked(IS_PLACES, None)
    every: int | None = checked(IS_POSITIVE, None)
    probability: float | None = checked(IS_SHARE, None)
    path: str | None = checked(IS_TEXT, None)
    contains: str | None = checked(IS_TEXT, None)
    headers: Mapping[str, str | None] | None = checked(IS_HEADERS, None)
    times: int | None = checked(IS_COUNT, None)
    once_per_body: bool = checked(IS_FLAG, default=False)

    def admits(self, request: Request) -> bool:
        """Whether `path`, `contains` and `headers` hold for a request."""
        if self.path is not None and not urlsplit(request.url).path.startswith(self.path):
            return False
        if self.contains is not None and self.contains.encode() not in _content(request):
            return False
        return all(
            name.lower() in request.headers and value in (None, request.headers[name.lower()])
            for name, value in (self.headers or {}).items()
        )

    def counts(self, position: int) -> bool:
        """Whether `nth` and `every` hold for this position (from 1) among the admitted requests."""
        if self.nth is not None and position not in self.nth:
            return False
        return self.every is None or position % self.every == 0


@frozen
class FaultRule:
    """A selector, and the fault for the requests that it matches."""

    on: Selector
    do: Fault

    @classmethod
    def read(cls, data: Any, where: str) -> "FaultRule":
        """Build a rule from a JSON object; a `UsageError` names the rule and the field."""
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
            raise UsageError(f"{where}.after_bytes: cannot be given together with after_events")
        if fault.must_be_placed and not fault.is_placed:
            raise UsageError(f"{where}.after_bytes: missing; give after_bytes or after_events")
    return fault


class FaultScript:
    """A script: rules, and the memory of the requests they matched.

    Safe to share between threads. A script pickles as its rules and seed, so a copy starts with
    an empty memory.

    Attributes:
        rules: The rules as plain JSON data.
        seed: The seed of the `probability` fields.
        fired: How often each rule has fired, in the order of the rules.

    """

    def __init__(self, rules: Sequence[Mapping[str, Any]], seed: int = 0) -> None:
        """Parse the rules of a script.

        Args:
            rules: The rules as plain JSON data, `{"on": {...}, "do": {...}}` each; see
                `claude_lite.faults.script`.
            seed: Decides the outcome of `probability`: the same rules and seed match the same
                requests.

        Raises:
            UsageError: A rule is wrong; the message names the rule (from 0) and the field.

        """
        try:
            self.rules: list[dict[str, Any]] = orjson.loads(orjson.dumps(list(rules)))
        except TypeError as error:
            raise UsageError(f"rules: expected plain JSON data: {error}") from None
        self.seed = seed
        self._rules = [FaultRule.read(rule, f"rule {i}") for i, rule in enumerate(self.rules)]
        self._by_body = any(r.on.once_per_body or r.on.probability is not None for r in self._rules)
        self._admitted = [0] * len(self._rules)
        self.fired = [0] * len(self._rules)
        self._sights: OrderedDict[bytes, int] = OrderedDict()
        self._struck: OrderedDict[bytes, None] = OrderedDict()
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"FaultScript({self.rules!r}, seed={self.seed!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return FaultScript, (self.rules, self.seed)

    def choose(self, request: Request) -> Fault | None:
        """Count a request and choose its fault.

        Args:
            request: The request as a transport gets it.

        Returns:
            The fault of the first rule that matches, or None.

        """
        body = _digest(request) if self._by_body else b""
        admitted = [rule.on.admits(request) for rule in self._rules]
        with self._lock:
            self._sights[body] = sight = self._sights.get(body, 0) + 1
            for i, admits in enumerate(admitted):
                self._admitted[i] += admits
            due = (i for i, admits in enumerate(admitted) if admits and self._due(i, body, sight))
            chosen = next(due, None)
            if chosen is not None:
                self.fired[chosen] += 1
                self._struck[body] = None
            for memory in (self._sights, self._struck):
                if len(memory) > REMEMBERED_BODIES:
                    memory.popitem(last=False)
        return None if chosen is None else self._rules[chosen].do

    def _due(self, index: int, body: bytes, sight: int) -> bool:
        on = self._rules[index].on
        if on.times is not None and self.fired[index] >= on.times:
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
