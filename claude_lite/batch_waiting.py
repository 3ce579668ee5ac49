"""Waiting for a batch to end, for a day if need be: ask, with growing pauses, and bear failures.

`Waiting` decides and makes no I/O; `wait` and `wait_async` are its drivers, and
`client.messages.batches.wait(batch)` is either.
"""

import random
import time
from typing import TYPE_CHECKING, Final, TypeVar

from claude_lite.api.batches import MessageBatch, RetrieveBatch
from claude_lite.errors import (
    CertificateRefused,
    ClaudeError,
    Conflict,
    NotFound,
    RateLimited,
    RequestTimeout,
    ServerError,
    SpendLimitReached,
    TimedOut,
    TransportError,
)
from claude_lite.wire import Clock, Done, Sleep

if TYPE_CHECKING:
    from claude_lite.client import AsyncClient, Client

C = TypeVar("C", "Client", "AsyncClient")

PASSING: Final = (Conflict, RateLimited, RequestTimeout, ServerError)
FIRST_PAUSE: Final = 1.0  # seconds between two looks at a batch
GROWTH: Final = 1.5
LAST_LOOK: Final = 1.0  # seconds
PATIENCE: Final = 600.0  # seconds without a good answer, in the course of a day


def is_passing(error: ClaudeError) -> bool:
    """Whether the same request may well succeed later."""
    return isinstance(error, PASSING) and not isinstance(error, SpendLimitReached)


class Waiting:
    """The decisions of waiting for a batch: ask, sleep, done. Times in seconds.

    After `next_action` has given an operation, report how it ended to `receive` or
    `receive_failure`. Pauses grow from a second to *longest*, each with jitter.
    """

    def __init__(
        self,
        batch: MessageBatch | str,
        clock: Clock = time.monotonic,
        *,
        longest: float = 60.0,
        deadline: float | None = None,
        grace: float = 30.0,
        workspace_id: str | None = None,
    ) -> None:
        self._ask = RetrieveBatch(
            message_batch_id=batch if isinstance(batch, str) else batch.id,
            workspace_id=workspace_id,
        )
        self._clock = clock
        self._longest = longest
        self._deadline = deadline
        self._grace = grace
        self._began = self._heard = clock()
        self._seen = False
        self._asked = True
        self._pause = FIRST_PAUSE
        self._at_least = 0.0
        self._ended: MessageBatch | None = None
        if isinstance(batch, str):
            self._asked = False
        else:
            self._look(batch)

    def next_action(self) -> RetrieveBatch | Sleep | Done[MessageBatch]:
        """Say what to do now; raises `TimedOut` at the deadline."""
        if self._ended is not None:
            return Done(self._ended)
        self._asked = not self._asked
        if self._asked:
            return self._ask
        pause = self._pause * random.uniform(0.5, 1.0)  # noqa: S311  # it spreads load, no secret
        self._pause = min(self._pause * GROWTH, max(self._longest, FIRST_PAUSE))
        pause = max(min(pause, self._longest), self._at_least)
        self._at_least = 0.0
        left = self.left
        if left is not None and left <= 0:
            name = self._ask.message_batch_id
            raise TimedOut("total", f"{name} has not ended within {self._deadline:g} s")
        return Sleep(pause if left is None else min(pause, left))

    @property
    def left(self) -> float | None:
        """Seconds until the deadline, if there is one."""
        return None if self._deadline is None else self._began + self._deadline - self._clock()

    def receive(self, batch: MessageBatch) -> None:
        """Report how far the batch is."""
        self._seen = True
        self._heard = self._clock()
        self._look(batch)

    def receive_failure(self, error: ClaudeError) -> None:
        """Report that asking failed; raises *error* if there is no use in asking again."""
        if isinstance(error, NotFound):
            bearable = not self._seen and self._clock() - self._began < self._grace
        else:
            lost = isinstance(error, TransportError) and not isinstance(error, CertificateRefused)
            bearable = (lost or is_passing(error)) and self._clock() - self._heard < PATIENCE
        if not bearable:
            raise error
        self._at_least = error.retry_after or 0.0

    def _look(self, batch: MessageBatch) -> None:
        if batch.processing_status == "ended":
            self._ended = batch


def _in_time(client: C, waiting: Waiting) -> C:
    """The client, bound to end a call by the deadline; the last look gets a second."""
    limits = [limit for limit in (waiting.left, client.config.deadline) if limit is not None]
    return client.with_options(deadline=max(min(limits), LAST_LOOK)) if limits else client


def wait(
    client: "Client",
    batch: MessageBatch | str,
    *,
    longest: float = 60.0,
    deadline: float | None = None,
    grace: float = 30.0,
    workspace_id: str | None = None,
) -> MessageBatch:
    """Wait until *batch*, or the one of that id, has ended, and return it as it is then.

    Pauses grow to *longest* seconds. Raises `TimedOut` after *deadline* seconds (a last look
    may take one more); `NotFound` if it does not appear within *grace* seconds; and what a look
    at it raises, though not for a failure that passes within ten minutes.
    """
    waiting = Waiting(
        batch,
        client.clock,
        longest=longest,
        deadline=deadline,
        grace=grace,
        workspace_id=workspace_id,
    )
    while not isinstance(action := waiting.next_action(), Done):
        if isinstance(action, Sleep):
            client.transport.sleep(action.seconds)
            continue
        try:
            waiting.receive(_in_time(client, waiting).send(action))
        except ClaudeError as error:
            waiting.receive_failure(error)
    return action.result


async def wait_async(
    client: "AsyncClient",
    batch: MessageBatch | str,
    *,
    longest: float = 60.0,
    deadline: float | None = None,
    grace: float = 30.0,
    workspace_id: str | None = None,
) -> MessageBatch:
    """As `wait`, for an `AsyncClient`."""
    waiting = Waiting(
        batch,
        client.clock,
        longest=longest,
        deadline=deadline,
        grace=grace,
        workspace_id=workspace_id,
    )
    while not isinstance(action := waiting.next_action(), Done):
        if isinstance(action, Sleep):
            await client.transport.sleep(action.seconds)
            continue
        try:
            waiting.receive(await _in_time(client, waiting).send(action))
        except ClaudeError as error:
            waiting.receive_failure(error)
    return action.result
