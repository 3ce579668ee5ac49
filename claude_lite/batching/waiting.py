"""Wait until a batch has ended."""

import random
import time
from typing import Final, TypeVar

from claude_lite.api.batches import MessageBatch, RetrieveBatch
from claude_lite.batching.senders import AsyncSender, SyncSender
from claude_lite.core.credentials import wrong_type
from claude_lite.core.retry import is_temporary
from claude_lite.errors import CertificateRefused, ClaudeError, NotFound, TimedOut, TransportError
from claude_lite.wire import Clock, Done, Sleep

C = TypeVar("C", SyncSender, AsyncSender)

FIRST_PAUSE: Final = 1.0  # seconds between two requests for the state of a batch
GROWTH: Final = 1.5  # of the pause, from request to request
MIN_TIMEOUT: Final = 1.0  # the shortest deadline of one request, in seconds
PATIENCE: Final = 600.0  # seconds of failed requests after which waiting fails


class Waiting:
    """The state machine that waits for a batch, without I/O. All times are in seconds.

    Do what `next_action` returns. If `next_action` returns an operation, send the operation, and
    call `receive` with the batch or `receive_failure` with the error. Pauses grow from one second
    to *longest*, each with jitter.
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
        self._began = self._last_answer_at = clock()
        self._seen = False
        self._pause = FIRST_PAUSE
        self._retry_after = 0.0
        self._ended: MessageBatch | None = None
        self._ask_next = isinstance(batch, str)
        if not isinstance(batch, str):
            self._check_ended(batch)

    def next_action(self) -> RetrieveBatch | Sleep | Done[MessageBatch]:
        """Return the next step. Raises `TimedOut` at the deadline."""
        if self._ended is not None:
            return Done(self._ended)
        ask_now, self._ask_next = self._ask_next, not self._ask_next  # ask, sleep, ask, sleep, ...
        if ask_now:
            return self._ask
        pause = self._pause * random.uniform(0.5, 1.0)  # noqa: S311  # random to spread the load
        self._pause = min(self._pause * GROWTH, max(self._longest, FIRST_PAUSE))
        # At most `longest`, but not less than the server asked for.
        pause = max(min(pause, self._longest), self._retry_after)
        self._retry_after = 0.0
        left = self.left
        if left is not None and left <= 0:
            name = self._ask.message_batch_id
            raise TimedOut("total", f"{name} has not ended within {self._deadline:g} s: wait again")
        return Sleep(pause if left is None else min(pause, left))

    @property
    def left(self) -> float | None:
        """Seconds until the deadline; None if there is no deadline."""
        return None if self._deadline is None else self._began + self._deadline - self._clock()

    def receive(self, batch: MessageBatch) -> None:
        """Report the batch that the API returned."""
        self._seen = True
        self._last_answer_at = self._clock()
        self._check_ended(batch)

    def receive_failure(self, error: ClaudeError) -> None:
        """Report that the request failed. Raises *error* if another request would not help."""
        if isinstance(error, NotFound):  # the API may not know a new batch for some seconds
            ask_again = not self._seen and self._clock() - self._began < self._grace
        else:
            lost = isinstance(error, TransportError) and not isinstance(error, CertificateRefused)
            ask_again = (
                lost or is_temporary(error)
            ) and self._clock() - self._last_answer_at < PATIENCE
        if not ask_again:
            raise error
        self._retry_after = error.retry_after or 0.0

    def _check_ended(self, batch: MessageBatch) -> None:
        if batch.processing_status == "ended" or (batch.ended_at and not batch.processing_status):
            self._ended = batch


def _with_deadline(client: C, waiting: Waiting) -> C:
    """Return a client whose calls end at the deadline; a call has at least `MIN_TIMEOUT`."""
    limits = [limit for limit in (waiting.left, client.config.deadline) if limit is not None]
    return client.with_options(deadline=max(min(limits), MIN_TIMEOUT)) if limits else client


def wait(
    client: SyncSender,
    batch: MessageBatch | str,
    *,
    longest: float = 60.0,
    deadline: float | None = None,
    grace: float = 30.0,
    workspace_id: str | None = None,
) -> MessageBatch:
    """Wait until a batch has ended, and return the batch.

    Temporary errors are ignored for up to ten minutes.

    Args:
        client: The client that sends the requests.
        batch: The batch, or the id of the batch.
        longest: The longest pause between two requests, in seconds. Pauses grow to this length.
        deadline: The total time to wait, in seconds. The last request may take one second more.
        grace: How long the batch may be unknown to the API, in seconds.
        workspace_id: The workspace of the batch, if the credential has several workspaces.

    Raises:
        TimedOut: The batch has not ended within *deadline*.
        NotFound: The API did not know the batch within *grace*.
        ClaudeError: A request failed for another reason.

    """
    if not isinstance(batch, MessageBatch | str):
        raise (batch := wrong_type("batch", "a MessageBatch or the id of one", batch))
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
            waiting.receive(_with_deadline(client, waiting).send(action))
        except ClaudeError as error:
            waiting.receive_failure(error)
    return action.result


async def wait_async(
    client: AsyncSender,
    batch: MessageBatch | str,
    *,
    longest: float = 60.0,
    deadline: float | None = None,
    grace: float = 30.0,
    workspace_id: str | None = None,
) -> MessageBatch:
    """Wait until a batch has ended, and return the batch. The arguments are those of `wait`."""
    if not isinstance(batch, MessageBatch | str):
        raise (batch := wrong_type("batch", "a MessageBatch or the id of one", batch))
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
            waiting.receive(await _with_deadline(client, waiting).send(action))
        except ClaudeError as error:
            waiting.receive_failure(error)
    return action.result
