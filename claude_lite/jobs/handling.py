"""Run a job: one handler for every queue.

    handle(client, payload)                      in a sync worker
    await handle_async(client, payload)          in an async worker

Both return the result as JSON, or raise. `RetryLater` means: deliver `error.details["job"]` again
in `error.delay` seconds. Any other `ClaudeError` is the end of the job. The client's own retry
rules hold (`on`, `off`, `resend_unknown`, `wait`); only the attempts made and allowed come from the
job.

A worker can be killed between the answer and the acknowledgement, and the API has no idempotency
key. So a call is made at least once. With a store, a second delivery gets the first answer.
"""

import asyncio
import inspect
import time
import warnings
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

from attrs import evolve

from claude_lite.client.calling import BaseClient
from claude_lite.client.clients import AsyncClient, Client
from claude_lite.core.config import Config
from claude_lite.core.credentials import wrong_type
from claude_lite.core.logs import ADDED_FIELDS, reporter
from claude_lite.errors import ClaudeError, RetryLater, TimedOut, escape_invisible
from claude_lite.jobs.job import Job, read_job

__all__ = ["AsyncResultStore", "ResultStore", "handle", "handle_async"]

JSON = Mapping[str, Any]


class ResultStore(Protocol):
    """Keeps the results of jobs, so that a second delivery costs nothing."""

    def get(self, key: str, /) -> JSON | None:
        """Return the result of a job; None if there is none."""
        ...

    def put(self, key: str, result: JSON, /) -> object:
        """Keep the result of a job."""
        ...


class AsyncResultStore(Protocol):
    """A `ResultStore` whose functions are coroutines."""

    async def get(self, key: str, /) -> JSON | None:
        """Return the result of a job; None if there is none."""
        ...

    async def put(self, key: str, result: JSON, /) -> object:
        """Keep the result of a job."""
        ...


class Delivery:
    """One delivery of a job, without I/O: which options its call gets, and what came of it.

    Attributes:
        job: The job.
        options: The options for `with_options` of the client.

    """

    def __init__(
        self,
        config: Config,
        job: Job | ClaudeError,
        task_id: str | None,
        clock: Callable[[], float],
    ) -> None:
        """Begin the delivery.

        Args:
            config: The options of the client.
            job: The job, or why the payload is none.
            task_id: The id that the queue gave to the job, for the log.
            clock: The clock for the deadline of the job, in seconds since 1970.

        Raises:
            UsageError: The payload is no job.
            TimedOut: The deadline of the job is over.

        """
        if isinstance(job, ClaudeError):
            raise job
        self.job = job
        self._clock = clock
        self._started = time.monotonic()
        names = {"fingerprint": job.fingerprint, "task_id": task_id}  # both from a payload
        self._names = {name: escape_invisible(text) for name, text in names.items() if text}
        self._report = reporter(config)
        policy = config.retry
        self.options: dict[str, Any] = {
            "retry": evolve(
                policy, defers=True, tried=job.attempts_made, attempts=job.attempts_allowed
            )
        }
        left = self._left()
        if left is not None:
            if left <= 0:
                message = "the deadline of the job passed while it was in the queue"
                raise self._ended(TimedOut("total", message))
            self.options["deadline"] = min(left, config.deadline or left)

    def _left(self) -> float | None:
        return None if self.job.until is None else self.job.until - self._clock()

    def known(self, result: JSON) -> JSON:
        """Return a result that the store had; its job may have had another meta."""
        self._log("debug", "known", result.get("attempts"), result.get("request_id"))
        return {**result, "meta": dict(self.job.meta)}

    @contextmanager
    def logged(self) -> Iterator[None]:
        """Add the names of the job to the log events of its call."""
        before = ADDED_FIELDS.get()
        token = ADDED_FIELDS.set({**before, **self._names})
        try:
            yield
        finally:
            ADDED_FIELDS.reset(token)

    def done(self, result: Any) -> dict[str, Any]:
        """Return the result of a job as JSON."""
        job, request_id = self.job, getattr(result, "request_id", None)
        ids = [*job.request_ids, *([request_id] if request_id else [])]
        attempts = job.attempts_made + 1  # with `defers`, a delivery makes one attempt
        self._log("debug", "done", attempts, request_id)
        return {
            "result": result.to_dict() if hasattr(result, "to_dict") else result,
            "request_id": request_id,
            "request_ids": ids,
            "attempts": attempts,
            "fingerprint": job.fingerprint,
            "meta": dict(job.meta),
        }

    def failed(self, error: ClaudeError) -> ClaudeError:
        """Return the error to raise: `RetryLater` with the next payload, or the end of the job."""
        if not isinstance(error, RetryLater):
            return self._ended(error)
        left = self._left()
        if left is not None and error.delay >= left:
            cause = ClaudeError.from_dict(error.cause or {})
            advice = "The deadline of the job comes before the next attempt."
            return self._ended(cause.update(advice=advice))
        later = self.job.after(error)
        self._log("warning", "later", later.attempts_made, error.request_id, error)
        details = {**error.details, "job": later.to_dict()}
        return error.update(attempts=later.attempts_made, details=details)

    def _ended(self, error: ClaudeError) -> ClaudeError:
        job = self.job.after(error)
        details = {
            **error.details,
            "request_ids": list(job.request_ids),
            "fingerprint": job.fingerprint,
            **({"meta": dict(job.meta)} if job.meta else {}),
        }
        self._log("error", "failed", job.attempts_made, error.request_id, error)
        return error.update(attempts=job.attempts_made, details=details)

    def _log(
        self,
        level: str,
        outcome: str,
        attempts: int | None,
        request_id: str | None,
        error: ClaudeError | None = None,
    ) -> None:
        """Report the event `claude_lite.job`; *outcome* is done, known, later or failed."""
        if self._report is None:
            return
        fields = {
            "operation": self.job.operation.route.name,
            "outcome": outcome,
            **self._names,
            "attempts": attempts,
            "request_id": request_id,
            "retry_in": round(error.delay, 3) if isinstance(error, RetryLater) else None,
            "error_type": error and (error.type or type(error).__name__),
            "elapsed_ms": round((time.monotonic() - self._started) * 1000, 1),
        }
        given = {name: value for name, value in fields.items() if value is not None}
        self._report(level, "claude_lite.job", lambda: given)


def handle(
    client: Client,
    payload: JSON,
    store: ResultStore | None = None,
    *,
    task_id: str | None = None,
    clock: Callable[[], float] = time.time,
) -> JSON:
    """Run a job in a sync worker.

    Args:
        client: The client that makes the call. Its retry rules, `deadline` and other options hold.
        payload: The payload, from `Job.to_dict` or from `RetryLater.details["job"]`.
        store: Keeps results, so that a second delivery of a job gets the first one's result.
        task_id: The id that the queue gave to the job; it goes to the log.
        clock: The clock for the deadline of the job, in seconds since 1970; for tests.

    Returns:
        The result as JSON: `result` (the answer), `request_id`, `request_ids` (of all attempts),
        `attempts`, `fingerprint` and `meta`.

    Raises:
        RetryLater: Put `error.details["job"]` into the queue, for a delivery in `error.delay` s.
        UsageError: The payload is no job.
        ClaudeError: The job is over; the error has the attempts of all deliveries.

    """
    if not isinstance(client, BaseClient):
        raise (client := wrong_type("client", "a client", client))
    job = read_job(payload)
    del payload  # a traceback may show variables, and these may hold a credential
    delivery = Delivery(client.config, job, task_id, clock)
    if store is not None:
        found = _guarded(store.get, delivery.job.key)
        if found is not None:
            return delivery.known(found)
    try:
        with delivery.logged():
            result = client.with_options(**delivery.options).send(delivery.job.operation)
    except ClaudeError as error:
        raise delivery.failed(error) from None
    done = delivery.done(result)
    if store is not None:
        _guarded(store.put, delivery.job.key, {**done, "meta": {}})
    return done


async def handle_async(
    client: AsyncClient,
    payload: JSON,
    store: "AsyncResultStore | ResultStore | None" = None,
    *,
    task_id: str | None = None,
    clock: Callable[[], float] = time.time,
) -> JSON:
    """Run a job in an async worker.

    Args:
        client: The client that makes the call. Its retry rules, `deadline` and other options hold.
        payload: The payload, from `Job.to_dict` or from `RetryLater.details["job"]`.
        store: Keeps results, so that a second delivery of a job gets the first one's result. The
            functions of a sync store run on a thread. If a store has `get_async` and `put_async`,
            these are called.
        task_id: The id that the queue gave to the job; it goes to the log.
        clock: The clock for the deadline of the job, in seconds since 1970; for tests.

    Returns:
        The result as JSON; see `handle`.

    Raises:
        RetryLater: Put `error.details["job"]` into the queue, for a delivery in `error.delay` s.
        UsageError: The payload is no job.
        ClaudeError: The job is over; the error has the attempts of all deliveries.

    """
    if not isinstance(client, BaseClient):
        raise (client := wrong_type("client", "a client", client))
    job = read_job(payload)
    del payload  # a traceback may show variables, and these may hold a credential
    delivery = Delivery(client.config, job, task_id, clock)
    if store is not None:
        found = await _guarded_async(_async(store, "get"), delivery.job.key)
        if found is not None:
            return delivery.known(found)
    try:
        with delivery.logged():
            result = await client.with_options(**delivery.options).send(delivery.job.operation)
    except ClaudeError as error:
        raise delivery.failed(error) from None
    done = delivery.done(result)
    if store is not None:
        await _guarded_async(_async(store, "put"), delivery.job.key, {**done, "meta": {}})
    return done


# A store that fails costs at most a second call: the answer is never lost for it.


def _async(store: object, name: str) -> Callable[..., Any]:
    return getattr(store, f"{name}_async", None) or getattr(store, name)  # type: ignore[no-any-return]  # of a store of the user's


def _guarded(function: Callable[..., Any], *args: Any) -> Any:
    try:
        return function(*args)
    except Exception as error:  # noqa: BLE001  # a store of the user's
        _warn(function, error)
        return None


async def _guarded_async(function: Callable[..., Any], *args: Any) -> Any:
    try:
        if inspect.iscoroutinefunction(function):
            return await function(*args)
        found = await asyncio.to_thread(function, *args)
        return await found if isinstance(found, Awaitable) else found
    except Exception as error:  # noqa: BLE001  # a store of the user's
        _warn(function, error)
        return None


def _warn(function: Callable[..., Any], error: Exception) -> None:
    name = getattr(function, "__qualname__", repr(function))
    message = f"the store of results failed in {name} ({type(error).__name__}: {error})"
    warnings.warn(message, RuntimeWarning, stacklevel=4)
