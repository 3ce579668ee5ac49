"""The emulator itself: takes a request, applies faults and common checks, asks the route.

The order of the checks: path, body size, credential, workspace, version; then the route checks
the body. The emulator does no I/O and does not wait: waits are steps of the reply. Locks guard
all state that threads share.
"""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import count
from typing import Any, Final
from urllib.parse import SplitResult, urlsplit

from attrs import evolve

from claude_lite.emulator.ledger import Entry, Ledger, Requests
from claude_lite.emulator.reading.blobs import Blob
from claude_lite.emulator.reading.known_models import MODELS
from claude_lite.emulator.reading.problems import Problem
from claude_lite.emulator.reading.routing import (
    Answer,
    Call,
    Refuse,
    Router,
    ServedRoute,
    read_betas,
    read_version,
    read_workspace,
)
from claude_lite.emulator.reply import Reply
from claude_lite.emulator.routes.batches import BatchRoutes
from claude_lite.emulator.routes.chat import ChatRoutes
from claude_lite.emulator.routes.completions import CompletionRoutes
from claude_lite.emulator.routes.files import FileRoutes
from claude_lite.emulator.routes.messages import MessageRoutes
from claude_lite.emulator.routes.models import ModelRoutes
from claude_lite.emulator.routes.organization import OrganizationRoutes
from claude_lite.emulator.routes.reports import ReportRoutes
from claude_lite.emulator.routes.skills import SkillRoutes
from claude_lite.emulator.routes.workspaces import WorkspaceRoutes
from claude_lite.emulator.state.batch_runs import BatchPace
from claude_lite.emulator.state.credentials import Credentials
from claude_lite.emulator.state.world import World
from claude_lite.faults.reading import read_fields
from claude_lite.faults.script import FaultScript
from claude_lite.faults.tampering import End, Step, Tamper
from claude_lite.wire import BodySource, Request, Response, Sleep

DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
MONTHS: Final = (
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
)  # fmt: skip


class Emulator:
    """An emulated API: takes requests and returns replies.

    Attributes:
        requests: Counts of requests: `total`, `by_path`, `of(body)`.
        in_flight: Number of replies that have begun and not ended.
        peak: The highest value of `in_flight` so far.
        disconnects: Number of replies that the client closed before their end.
        log: The latest requests.
        clock: The clock that the emulator uses.
        largest_body: Bytes of the largest body that any route takes.

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
        batches: Mapping[str, Any] | None = None,
    ) -> None:
        """Set up the API.

        Args:
            seed: Decides ids and filler text.
            faults: A `FaultScript`, or the rules of one (`claude_lite.faults.script` describes
                them).
            api_keys: The keys that are accepted; None accepts every key. Keys that begin
                `sk-ant-admin` open the Admin API and nothing else.
            limits: Rate limits per minute and model, such as `{"requests": 50}`; what is left
                out has practically no limit (`claude_lite.emulator.state.rate_limits`).
            models: The ids of the models that messages may name.
            clock: Returns seconds. A test may pass a clock of its own.
            latency: Seconds before the head of each answer.
            tokens_per_second: The pace of answers; None sends answers at once.
            batches: How long batches take, such as `{"seconds": 2}`; the fields are those of
                `claude_lite.emulator.state.batch_runs.BatchPace`.

        Raises:
            UsageError: *faults*, *limits* or *batches* have a wrong field or value.

        """
        if faults is not None and not isinstance(faults, FaultScript):
            faults = FaultScript(list(faults), seed)
        self._faults = faults
        self.limited = limits is not None
        self._latency = latency
        self._world = World(
            seed=seed,
            models=tuple(models),
            limits=limits,
            clock=clock,
            tokens_per_second=tokens_per_second,
        )
        self._credentials = Credentials(self._world, api_keys)
        self._router = Router(
            _routes(self._world, read_fields(BatchPace, batches or {}, "batches"))
        )
        self._ledger = Ledger()
        self._added = count()
        self._date: tuple[int, str] = (0, "")

    @property
    def clock(self) -> Callable[[], float]:
        """The clock that the emulator uses."""
        return self._world.clock

    @property
    def requests(self) -> Requests:
        """Counts of requests: `total`, `by_path`, `of(body)`."""
        return self._ledger.requests

    @property
    def in_flight(self) -> int:
        """Number of replies that have begun and not ended."""
        return self._ledger.in_flight

    @property
    def peak(self) -> int:
        """The highest value of `in_flight` so far."""
        return self._ledger.peak

    @property
    def disconnects(self) -> int:
        """Number of replies that the client closed before their end."""
        return self._ledger.disconnects

    @property
    def log(self) -> deque[Entry]:
        """The latest 10,000 requests as (request_id, method, path, status), oldest first."""
        return self._ledger.log

    @property
    def largest_body(self) -> int:
        """Bytes of the largest body that any route takes; a server keeps at most one byte more."""
        return self._router.most

    def add_file(
        self,
        filename: str,
        content: bytes | BodySource,
        *,
        mime_type: str | None = None,
        downloadable: bool = True,
        expires_in: float | None = None,
        workspace_id: str | None = None,
        file_id: str | None = None,
    ) -> str:
        """Add a file, as a tool of the API would, and return the file's id.

        Args:
            filename: The name of the file.
            content: Bytes, or a source of bytes that is read when the file is downloaded.
            mime_type: The type of the file; None guesses the type from the name.
            downloadable: Whether the file can be downloaded.
            expires_in: Seconds until the file expires; None for never.
            workspace_id: The workspace of the file; None for the default workspace.
            file_id: The id of the file; None makes an id.

        """
        world = self._world
        return world.files.add(
            workspace_id or world.workspace_id,
            file_id or world.new_id("file_01", 0, next(self._added)),
            filename,
            Blob.of(content) if isinstance(content, bytes) else content,
            mime_type=mime_type,
            downloadable=downloadable,
            expires_in=expires_in,
        ).id

    def handle(self, request: Request) -> Response:
        """Answer a request at once, without waits; a stream comes as one body.

        Args:
            request: The request, as a transport gets it.

        Raises:
            TransportError: A fault breaks the reply; the error is the one that a transport
                raises for such a reply.

        """
        reply = self.reply(request)
        chunks: list[bytes] = []
        try:
            for first in reply.before:
                if isinstance(first, End):
                    raise first.error(begun=False)
            for step in reply.steps:
                if isinstance(step, End) and step.how != "truncate":
                    raise step.error(begun=True)
                if isinstance(step, bytes):
                    chunks.append(step)
        finally:
            reply.close()
        return evolve(reply.head, body=b"".join(chunks))

    def reply(self, request: Request) -> Reply:
        """Answer a request with a reply for a driver to act out, with waits and faults.

        Args:
            request: The request, as a transport gets it.

        """
        body = request.body
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
            answer = self._answer(request, url, number, request_id, headers)
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
            at_once=fault is None and not delay and isinstance(answer.chunks, tuple),
            on_end=self._ledger.leave,
        )

    def _answer(
        self,
        request: Request,
        url: SplitResult,
        number: int,
        request_id: str,
        headers: dict[str, str],
    ) -> Answer:
        """Ask the route for an answer; put the headers of every answer into *headers*."""
        headers["request-id"] = request_id
        headers["anthropic-organization-id"] = self._world.organization_id
        refuse: Refuse = Problem.response
        try:
            route, params = self._router.find(request.method, url.path)
            refuse = route.refuse
            _check_size(request.body, route.most)
            key_id = self._credentials.check(request.headers, admin=not route.per_workspace)
            workspace_id = self._world.workspace_id
            if route.per_workspace:
                workspace_id = read_workspace(request.headers, workspace_id)
                headers["anthropic-workspace-id"] = workspace_id
            call = Call(
                number=number,
                request_id=request_id,
                version=read_version(request.headers, route.version),
                betas=read_betas(request.headers),
                params=params,
                query=url.query,
                headers=request.headers,
                body=request.body,
                workspace_id=workspace_id,
                origin=f"{url.scheme}://{url.netloc}",
                api_key_id=key_id,
            )
            return route.handler(call)
        except Problem as problem:
            return _answered(refuse(problem, request_id))

    def _http_date(self) -> str:
        second = int(self._world.now())
        if self._date[0] != second:
            t = time.gmtime(second)
            day, month = DAYS[t.tm_wday], MONTHS[t.tm_mon - 1]
            clock = f"{t.tm_hour:02}:{t.tm_min:02}:{t.tm_sec:02}"
            self._date = (second, f"{day}, {t.tm_mday:02} {month} {t.tm_year} {clock} GMT")
        return self._date[1]


def _routes(world: World, pace: BatchPace) -> Iterator[ServedRoute]:
    """Yield every route. Add the routes of a new part of the API here."""
    messages = MessageRoutes(world)
    yield from messages.routes()
    yield from CompletionRoutes(world, messages).routes()
    yield from ChatRoutes(world, messages).routes()
    yield from BatchRoutes(world, messages, pace).routes()
    yield from ModelRoutes(world).routes()
    yield from FileRoutes(world).routes()
    yield from SkillRoutes(world).routes()
    yield from OrganizationRoutes(world).routes()
    yield from WorkspaceRoutes(world).routes()
    yield from ReportRoutes(world).routes()


def _answered(response: Response) -> Answer:
    body = response.body
    return Answer((body,), len(body), response.status, response.headers)


def _tampered(chunks: Iterable[bytes | Sleep], tamper: Tamper) -> Iterator[Step]:
    for chunk in chunks:
        if isinstance(chunk, bytes):
            yield from tamper.receive(chunk)
        else:
            yield chunk


def _check_size(body: bytes | BodySource, most: int) -> None:
    if (len(body) if isinstance(body, bytes) else body.size) > most:
        raise Problem(413, "Request exceeds the maximum size")
