"""The emulator itself: from a request to a reply, by way of faults, routes and rules for all.

First the path, then size, credential and version, and then the route. It does no I/O and does
not wait: waits are steps of the reply. What it shares between threads is behind locks.
"""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final
from urllib.parse import SplitResult, urlsplit

from attrs import evolve

from claude_lite.emulator.catalogue import MODELS, VERSIONS
from claude_lite.emulator.ledger import Entry, Ledger, Requests
from claude_lite.emulator.messages import Messages
from claude_lite.emulator.problems import Problem
from claude_lite.emulator.reply import Reply
from claude_lite.emulator.routing import Answer, Call, Route, Router
from claude_lite.emulator.world import World
from claude_lite.faults import FaultScript
from claude_lite.tampering import End, Step, Tamper
from claude_lite.wire import Request, Response, Sleep

DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
MONTHS: Final = (
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
)  # fmt: skip


class Emulator:
    """The API, turned round: give it a request, get the reply.

    Attributes for tests: `requests` (`total`, `by_path`, `of(body)`), `in_flight` and its
    `peak`, `disconnects` (replies that were closed before their end), `log`.
    """

    def __init__(
        self,
        seed: int = 0,
        *,
        faults: FaultScript | Iterable[Mapping[str, Any]] | None = None,
        api_keys: Iterable[str] | None = None,
        limits: Mapping[str, Any] | None = None,
        models: Iterable[str] = MODELS,
        clock: Callable[[], float] = time.monotonic,
        latency: float = 0.0,
        tokens_per_second: float | None = None,
    ) -> None:
        """Set the API up.

        *seed* decides ids and filler. *faults*: a script, or its rules. *api_keys*: those that
        are let in; None: any that is not empty. *limits* per minute: see `rate_limits`.
        *clock* gives seconds (a test may have its own). *latency*: seconds before each head;
        *tokens_per_second*: the pace of answers, None for at once.

        Raises `UsageError` if faults or limits are wrong.
        """
        if faults is not None and not isinstance(faults, FaultScript):
            faults = FaultScript(list(faults), seed)
        self._faults = faults
        self._api_keys = None if api_keys is None else frozenset(api_keys)
        self._latency = latency
        self._world = World(
            seed=seed,
            models=tuple(models),
            limits=limits,
            clock=clock,
            tokens_per_second=tokens_per_second,
        )
        self._router = Router(_routes(self._world))
        self._ledger = Ledger()
        self._date: tuple[int, str] = (0, "")

    @property
    def clock(self) -> Callable[[], float]:
        """The clock that it was given."""
        return self._world.clock

    @property
    def requests(self) -> Requests:
        """Counters of requests."""
        return self._ledger.requests

    @property
    def in_flight(self) -> int:
        """How many replies have begun and not ended."""
        return self._ledger.in_flight

    @property
    def peak(self) -> int:
        """The highest that `in_flight` has been."""
        return self._ledger.peak

    @property
    def disconnects(self) -> int:
        """How many replies were closed before their end."""
        return self._ledger.disconnects

    @property
    def log(self) -> deque[Entry]:
        """The last requests: (request_id, method, path, status), the oldest first."""
        return self._ledger.log

    @property
    def largest_body(self) -> int:
        """The most bytes that any route takes; a server need not keep more than one above."""
        return self._router.most

    def handle(self, request: Request) -> Response:
        """Answer at once, without waiting; a stream comes as one body.

        Raises the `TransportError` that a client would see where a fault breaks the reply.
        """
        reply = self.reply(request)
        chunks: list[bytes] = []
        try:
            for step in reply.before:
                if isinstance(step, End):
                    raise step.error(begun=False)
            for step in reply.steps:
                if isinstance(step, End) and step.how != "truncate":
                    raise step.error(begun=True)
                if isinstance(step, bytes):
                    chunks.append(step)
        finally:
            reply.close()
        return evolve(reply.head, body=b"".join(chunks))

    def reply(self, request: Request) -> Reply:
        """Answer with a reply to be acted out, waits and faults included."""
        body = request.body if isinstance(request.body, bytes) else b"".join(request.body)
        url = urlsplit(request.url)
        number = self._ledger.arrive(url.path, body)
        request_id = self._world.new_id("req_01", number)
        fault = self._faults.choose(request) if self._faults else None
        replaced = fault.response(request_id) if fault else None
        headers: dict[str, str] = {}
        if replaced is not None:
            answer = _answered(replaced)
        elif fault is not None and not fault.sends:
            answer = Answer((), 0, status=0)
        else:
            answer = self._answer(request, url, body, number, request_id, headers)
        delay = self._latency + answer.delay
        before = (*(fault.before() if fault else ()), *((Sleep(delay),) if delay else ()))
        headless = any(isinstance(step, End) for step in before)
        headers |= {**answer.headers, "date": self._http_date()}
        head = Response(answer.status, headers)
        size = answer.size
        steps: Iterable[Step] = answer.chunks
        if fault is not None:
            head = fault.head(head)
            size = None if size is None else fault.size(size)
            steps = _tampered(answer.chunks, fault.tamper(head))
        status = 0 if headless else head.status
        self._ledger.log.append(Entry(request_id, request.method, url.path, status))
        return Reply(
            head,
            steps,
            size=size,
            before=before,
            at_once=fault is None and not delay and size is not None,
            on_end=self._ledger.leave,
        )

    def _answer(
        self,
        request: Request,
        url: SplitResult,
        body: bytes,
        number: int,
        request_id: str,
        headers: dict[str, str],
    ) -> Answer:
        """Find the route and ask it; *headers* gets those that every answer has."""
        headers["request-id"] = request_id
        headers["anthropic-organization-id"] = self._world.organization_id
        try:
            route, params = self._router.find(request.method, url.path)
            _check_size(body, route.most)
            self._authenticate(request.headers)
            if route.per_workspace:
                headers["anthropic-workspace-id"] = self._world.workspace_id
            call = Call(
                number=number,
                request_id=request_id,
                version=_version(request.headers),
                betas=_betas(request.headers),
                params=params,
                query=url.query,
                headers=request.headers,
                body=body,
            )
            return route.handler(call)
        except Problem as problem:
            return _answered(problem.response(request_id))

    def _authenticate(self, headers: Mapping[str, str]) -> None:
        key, authorization = headers.get("x-api-key"), headers.get("authorization")
        if key is not None and authorization is not None:
            raise Problem(401, "either x-api-key or authorization may be set, not both")
        if key is None and authorization is None:
            raise Problem(401, "x-api-key header is required")
        scheme, _, token = (authorization or "").partition(" ")
        given = token.strip() if key is None and scheme.lower() == "bearer" else key
        if not given or (self._api_keys is not None and given not in self._api_keys):
            raise Problem(401, "invalid bearer token" if key is None else "invalid x-api-key")

    def _http_date(self) -> str:
        second = int(self._world.now())
        if self._date[0] != second:
            t = time.gmtime(second)
            day, month = DAYS[t.tm_wday], MONTHS[t.tm_mon - 1]
            clock = f"{t.tm_hour:02}:{t.tm_min:02}:{t.tm_sec:02}"
            self._date = (second, f"{day}, {t.tm_mday:02} {month} {t.tm_year} {clock} GMT")
        return self._date[1]


def _routes(world: World) -> Iterator[Route]:
    """List every route; a module for another part of the API is added here."""
    yield from Messages(world).routes()


def _answered(response: Response) -> Answer:
    body = response.body
    return Answer((body,), len(body), response.status, response.headers)


def _tampered(chunks: Iterable[bytes | Sleep], tamper: Tamper) -> Iterator[Step]:
    for chunk in chunks:
        if isinstance(chunk, bytes):
            yield from tamper.receive(chunk)
        else:
            yield chunk


def _check_size(body: bytes, most: int) -> None:
    if len(body) > most:
        raise Problem(413, "Request exceeds the maximum size")


def _version(headers: Mapping[str, str]) -> str:
    version = headers.get("anthropic-version")
    if version is None:
        raise Problem(400, "anthropic-version: header is required")
    if version not in VERSIONS:
        raise Problem(400, f'anthropic-version: "{version}" is not a valid version')
    return version


def _betas(headers: Mapping[str, str]) -> tuple[str, ...]:
    flags = (flag.strip() for flag in headers.get("anthropic-beta", "").split(","))
    return tuple(flag for flag in flags if flag)
