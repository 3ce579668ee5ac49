"""The answers of a recording transport: those that are in the file, and those being recorded.

It moves no bytes and waits for nothing. Requests that differ have queues of their own, so that
concurrent requests get the same answers every time, in whatever order they come. Recordings are
kept as they came, and lose their secrets when they are saved: so a credential that is first seen in
a later request is replaced in the earlier ones, too.
"""

import itertools
import re
import threading
from collections import defaultdict, deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from attrs import define, field

from claude_lite.errors import TransportError, UnexpectedResponse
from claude_lite.wire import Response
from claude_lite_transports.recording.cassette import (
    CassetteMiss,
    Interaction,
    InteractionsUnused,
    cassette_text,
    encode_body,
    encode_stream,
    load_cassette,
    replace_file,
    strict_json,
)
from claude_lite_transports.recording.matching import explain_miss, match_key
from claude_lite_transports.recording.redaction import Redactor
from claude_lite_transports.recording.review import refuse_secrets

_MOST_NAMED: Final = 3
_HOW_TO_RECORD: Final = (
    "CLAUDE_LITE_RECORD=new_episodes (or pytest --claude-record=new_episodes) records what is "
    'missing; the mode "rewrite" records everything again'
)
_BLANK_LINE: Final = re.compile(rb"\r\n\r\n|\n\n|\r\r")
# No event follows after these, and a reader need not wait for the end of the body.
_LAST_EVENT: Final = re.compile(rb"(?:^|[\r\n])(?:event: ?(?:message_stop|error)|data: ?\[DONE\])")


@define
class Take:
    """A request that is being recorded, and its outcome so far."""

    described: dict[str, Any]
    order: int
    clock: Callable[[], float]
    head: Response | None = None
    streamed: bool = False
    chunks: list[bytes] = field(factory=list)
    times: list[float] = field(factory=list)  # of the start, the head, each chunk
    error: dict[str, Any] | None = None
    over: bool = False
    left_early: bool = False
    saved: bool = False

    def answered(self, response: Response) -> Response:
        """Note a whole response, and return it."""
        self.head, self.over = response, True
        return response

    def asked(self) -> None:
        """Note that the request is sent now."""
        self.times.append(self.clock())

    def began(self, head: Response) -> None:
        """Note the head of a stream."""
        self.head, self.streamed = head, True
        self.times.append(self.clock())

    def heard(self, chunk: bytes) -> bytes:
        """Note a chunk of a stream, and return it."""
        if not self.over:
            self.chunks.append(chunk)
            self.times.append(self.clock())
        return chunk

    def ended(self, how: BaseException) -> None:
        """Note the end: of the body, by a failure of the transport, or by the reader."""
        if self.over:
            return
        if isinstance(how, TransportError | UnexpectedResponse):
            self.error = how.to_dict()
            if not how.attempts:
                del self.error["attempts"]
            self.over = True
        elif isinstance(how, StopIteration | StopAsyncIteration):
            self.over = True
        else:
            self.left()

    def left(self) -> None:
        """Note that the reader stopped: early, unless the last event had come.

        Without a head there is nothing to note.
        """
        if not self.over and self.head:
            self.over = True
            self.left_early = not _has_last_event(b"".join(self.chunks))

    def interaction(self, redactor: Redactor) -> Interaction:
        """Return what was recorded, without its secrets."""
        raw: dict[str, Any] = {"request": self.described, "left_early": self.left_early}
        if self.error:
            raw["error"] = self.error
        raw = redactor.json(raw)
        if self.head:
            headers = redactor.response_headers(self.head.headers)
            raw["response"] = {"status": self.head.status, "headers": headers} | self._body(
                self.head.body, redactor
            )
        return Interaction.from_raw(raw)

    def _body(self, body: bytes, redactor: Redactor) -> dict[str, Any]:
        if not self.streamed:
            return encode_body(redactor.data(body))
        waits = [round((b - a) * 1000) for a, b in itertools.pairwise(self.times)]
        chunks, delays = redactor.chunks(self.chunks, waits[1:])
        return encode_stream(chunks, [waits[0], *delays])


class Tape:
    """The interactions in a file, which of them were used, and those that are being recorded."""

    def __init__(
        self,
        path: Path,
        mode: str,
        redactor: Redactor,
        *,
        allow_repeats: bool,
    ) -> None:
        """Read the file, unless the mode ignores it.

        `holds` counts the open `with` blocks, which save at their end; `misses` has the errors for
        requests without an answer.
        """
        self.holds = 0
        self.misses: list[CassetteMiss] = []
        self.replays = mode in ("none", "new_episodes")
        self.records = mode in ("new_episodes", "all", "rewrite")
        self._path = path
        self._redactor = redactor
        self._allow_repeats = allow_repeats
        self._keeps_others = mode == "all"
        self._recorded = [] if mode in ("rewrite", "off") else load_cassette(path)
        self._waiting = _queues(self._recorded)
        self._last: dict[str, int] = {}
        self._used: set[int] = set()
        self._takes: list[Take] = []
        self._numbers = itertools.count()
        self._lock = threading.Lock()

    def number(self) -> int:
        """Return the place of a request among all; call it when the request starts."""
        return next(self._numbers)

    def turn(
        self, number: int, described: dict[str, Any], clock: Callable[[], float]
    ) -> Interaction | Take:
        """Return the recorded answer, or a `Take` to record a new one.

        Raises `CassetteMiss` if there is no answer and the mode does not record.
        """
        with self._lock:
            if self.replays:
                key = match_key(described)
                index = self._next(key)
                if index is not None:
                    self._used.add(index)
                    self._last[key] = index
                    return self._recorded[index]
            if self.records:
                take = Take(described, number, clock)
                self._takes.append(take)
                return take
            used = set(self._used)
        miss = explain_miss(self._path, described, self._recorded, used, self._advice())
        self.misses.append(miss)
        raise miss

    def _next(self, key: str) -> int | None:
        if self._waiting[key]:
            return self._waiting[key].popleft()
        return self._last.get(key) if self._allow_repeats else None

    def _advice(self) -> str:
        missing = "" if self._path.exists() else "There is no such file. "
        return missing + _HOW_TO_RECORD

    def unused(self) -> list[Interaction]:
        """List the interactions that were not used; empty if the mode does not replay."""
        with self._lock:
            items = enumerate(self._recorded if self.replays else [])
            return [item for index, item in items if index not in self._used]

    def check_unused(self) -> None:
        """Raise `InteractionsUnused` if an interaction was not used."""
        if unused := self.unused():
            some = ", ".join(map(str, unused[:_MOST_NAMED]))
            more = ", ..." if len(unused) > _MOST_NAMED else ""
            raise InteractionsUnused(
                f"{len(unused)} unused in {self._path}: {some}{more}",
                advice=f"strict=False allows it. {_HOW_TO_RECORD}",
            )

    def forget(self) -> None:
        """Drop recordings that are not saved yet."""
        with self._lock:
            self._takes = [take for take in self._takes if take.saved]

    def save(self) -> None:
        """Write the file, if there are new recordings.

        Requests that are under way are left out. Raises `SecretInCassette`, and writes nothing, if
        a text looks like a secret.
        """
        with self._lock:
            takes = sorted((take for take in self._takes if take.over), key=lambda t: t.order)
            if all(take.saved for take in takes):
                return
            for take in takes:
                self._learn(take)
            items = self._merged([take.interaction(self._redactor) for take in takes])
            refuse_secrets(items, self._redactor, self._path)
            replace_file(self._path, cassette_text(items))
            for take in takes:
                take.saved = True

    def _learn(self, take: Take) -> None:
        """Remember the tokens in a response: they are the credentials of later requests."""
        with suppress(ValueError):
            self._redactor.learn_fields(strict_json(take.head.body if take.head else b""))

    def _merged(self, fresh: list[Interaction]) -> list[Interaction]:
        if not self._keeps_others:
            return [*self._recorded, *fresh]
        # A request that was made again replaces its earlier recordings; the others stay.
        queues = _queues(fresh)
        placed: set[int] = set()
        merged = []
        for item in self._recorded:
            key = match_key(item.request)
            if key not in queues:
                merged.append(item)
            elif queues[key]:
                index = queues[key].popleft()
                placed.add(index)
                merged.append(fresh[index])
        return merged + [item for index, item in enumerate(fresh) if index not in placed]


def _has_last_event(stream: bytes) -> bool:
    *events, rest = _BLANK_LINE.split(stream)
    return not rest and bool(events) and _LAST_EVENT.search(events[-1]) is not None


def _queues(items: list[Interaction]) -> defaultdict[str, deque[int]]:
    queues: defaultdict[str, deque[int]] = defaultdict(deque)
    for index, item in enumerate(items):
        queues[match_key(item.request)].append(index)
    return queues
