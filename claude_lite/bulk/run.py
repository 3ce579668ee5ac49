"""Run many requests through an `AsyncClient`, a limited number at a time.

    with open("requests.jsonl", "rb") as lines:
        tally = await run(client, read_requests(lines), finished, concurrency=32)

Requests are taken from an iterable when a new request may start, and each outcome is handed over
when its request ends: only the requests in flight are in memory. A failure is an outcome, too,
and does not stop the others. The governor holds all requests to the rate limit together; the client
does the retries. This module opens no file and prints nothing: `requests_file.py`
reads requests, `results_file.py` keeps outcomes, and the command `claude-lite run` uses both.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from hashlib import sha256
from typing import Any

import orjson
from attrs import Factory, define, field, frozen

from claude_lite.api.messages.message import Message
from claude_lite.client.clients import AsyncClient
from claude_lite.core.credentials import wrong_type
from claude_lite.core.json_text import dumps, loads
from claude_lite.core.operation import Operation
from claude_lite.errors import ClaudeError, UsageError
from claude_lite.governor import Governor
from claude_lite.wire import MASK


@frozen
class Item:
    """A request to make."""

    line: int
    """The line of the request in its file, from 1."""
    custom_id: str
    """The name of the request, which its outcome has, too."""
    operation: Operation[Message]

    @property
    def request_hash(self) -> str:
        """A name of the request: SHA-256 of its JSON, whatever the order of keys, cut to 16 digits.

        `stream` does not count: it changes how the answer comes, not the answer.
        """
        body = {k: v for k, v in self.operation.body().items() if k != "stream"}
        text = orjson.dumps(loads(dumps(body)), option=orjson.OPT_SORT_KEYS)
        return sha256(text).hexdigest()[:16]


@frozen
class Outcome:
    """How a request ended: with a message or with an error."""

    line: int
    custom_id: str | None
    """None if the line is bad and has no `custom_id` of its own."""
    result: Message | ClaudeError
    """A bad line ends with a `UsageError` and no attempt."""
    attempts: int = 0
    elapsed_ms: float = 0.0
    """Milliseconds, with retries and waits."""
    request_hash: str | None = None
    """The `request_hash` of the request; None for a bad line."""

    @property
    def succeeded(self) -> bool:
        """Whether the request ended with a message."""
        return isinstance(self.result, Message)

    def to_dict(self) -> dict[str, Any]:
        """The outcome as a JSON object: a result as in the Batches API, with more fields."""
        result = self.result
        if isinstance(result, Message):
            ending: dict[str, Any] = {"type": "succeeded", "message": result.to_dict()}
            usage: Any = result.usage.to_dict()
        else:
            ending = {"type": "errored", "error": result.to_dict()}
            usage = result.usage
        return {
            "custom_id": self.custom_id,
            "result": ending,
            "request_id": result.request_id,
            "attempts": self.attempts,
            "usage": usage,
            "elapsed_ms": self.elapsed_ms,
            "line": self.line,
            **({} if self.request_hash is None else {"request_hash": self.request_hash}),
        }


@define
class Tally:
    """The figures of a run, up to date at any time."""

    succeeded: int = 0
    failed: Counter[str] = Factory(Counter)
    """Requests that failed, by the name of the error's class."""
    bad_lines: int = 0
    in_flight: int = 0
    retries: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    started: float = field(factory=time.monotonic)
    """Seconds, of `time.monotonic`."""

    @property
    def done(self) -> int:
        """The number of lines that have ended: answered, failed or bad."""
        return self.succeeded + self.failed.total() + self.bad_lines

    @property
    def seconds(self) -> float:
        """The seconds since the run started."""
        return time.monotonic() - self.started

    def add(self, outcome: Outcome) -> None:
        """Count an outcome."""
        result = outcome.result
        if isinstance(result, Message):
            self.succeeded += 1
            self.input_tokens += result.usage.total_input_tokens
            self.output_tokens += result.usage.output_tokens
        elif isinstance(result, UsageError):
            self.bad_lines += 1
        else:
            self.failed[type(result).__name__] += 1


async def run(
    client: AsyncClient,
    items: Iterable[Item | Outcome],
    finished: Callable[[Outcome], None],
    *,
    concurrency: int = 32,
    started: Callable[[Item], None] | None = None,
    tally: Tally | None = None,
) -> Tally:
    """Make requests, a limited number at a time, and hand over each outcome.

    The client's governor holds the requests to the rate limit; calls with `priority="interactive"`
    go before them. A run over a client without a governor has a governor of its own. A request that
    the rate limit refuses all the same is made again, within the client's deadline, and that does
    not count as an attempt. The client's retry policy decides otherwise if it makes one attempt,
    defers, or has a rule for `RateLimited`.

    An exception from *items*, *started* or *finished* ends the run. When the run ends so, or is
    cancelled, the requests in flight are cancelled.

    Args:
        client: The client that makes the requests.
        items: Requests to make. An `Outcome` among them (a bad line) is handed over as it is.
        finished: Called with each outcome.
        concurrency: The largest number of requests in flight.
        started: Called with each request before the first attempt, in the task that makes it.
        tally: The figures to keep up to date; the default is a new `Tally`.

    Returns:
        The figures of the run.

    """
    if not isinstance(client, AsyncClient):
        raise (client := wrong_type("client", "an AsyncClient", client))
    tally = tally or Tally()
    if client.governor is None:
        client = client.with_options(governor=Governor())
    workers = [_Worker(client, tally) for _ in range(concurrency)]
    shared, items = iter(items), ()  # a traceback may show variables
    tasks = [asyncio.create_task(worker.work(shared, started, finished)) for worker in workers]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return tally


class _Worker:
    """A task that makes one request after the other."""

    def __init__(self, client: AsyncClient, tally: Tally) -> None:
        # A run gives way to calls of users. Without a governor, it has one of its own: otherwise
        # many requests would be refused together, and come back together.
        self._client = client.with_options(observe=self._event, priority="background")
        self._observe = client.config.observe
        self._tally = tally
        self._clock = client.clock
        self._attempts = 0

    async def work(
        self,
        items: Iterator[Item | Outcome],
        started: Callable[[Item], None] | None,
        finished: Callable[[Outcome], None],
    ) -> None:
        """Take requests from *items*, which all workers share, until there are no more."""
        for item in items:
            if not isinstance(item, Item | Outcome):
                raise (item := wrong_type("each of items", "an Item or an Outcome", item))
            if isinstance(item, Outcome):
                outcome = item
                await asyncio.sleep(0)  # let other tasks run between many bad lines
            else:
                if started is not None:
                    started(item)
                self._tally.in_flight += 1
                outcome = await self._asked(item)
                self._tally.in_flight -= 1
            finished(outcome)
            self._tally.add(outcome)

    async def _asked(self, item: Item) -> Outcome:
        self._attempts = 0
        start = self._clock()
        result: Message | ClaudeError
        try:
            result = await self._client.send(item.operation)
        except ClaudeError as error:
            result = error.update(attempts=self._attempts)
        except Exception as error:  # noqa: BLE001  # after a bug, keep the answers that were paid for
            result = ClaudeError(self._without_secrets(f"{type(error).__name__}: {error}"))
        elapsed = round((self._clock() - start) * 1000, 1)
        name = item.request_hash
        return Outcome(item.line, item.custom_id, result, self._attempts, elapsed, name)

    def _event(self, event: str, fields: Mapping[str, Any]) -> None:
        """Count the attempts and retries that the client reports, and pass the event on."""
        if event == "claude_lite.call":
            self._attempts += fields["attempts"]
        elif "retry_in" in fields:
            self._tally.retries += 1
        if self._observe is not None:
            self._observe(event, fields)

    def _without_secrets(self, text: str) -> str:
        for secret in self._client.config.words_to_mask():
            text = text.replace(secret, MASK)
        return text
