"""A job: a call, and what has to travel with the call through a queue.

A queue delivers a job more than once: after a wait, after a kill. The payload of a job is JSON, and
holds what each delivery must know of the deliveries before: attempts made, request ids, the
deadline. A monotonic clock means nothing in another process, so the deadline is a Unix time.
"""

import math
import time
from collections.abc import Mapping
from typing import Any, Final

from attrs import Factory, evolve, field, fields, frozen

from claude_lite.core.credentials import wrong_type
from claude_lite.core.operation import Operation, fingerprint_of
from claude_lite.errors import ClaudeError, UsageError

__all__ = ["Job"]

VERSION: Final = 1
REMEMBERED_IDS: Final = 20
"""A job remembers so many request ids, the newest: a payload must not grow with each delivery."""

_KEYS: Final[Mapping[str, tuple[type, ...]]] = {
    "claude_lite_job": (int,),
    "call": (dict,),
    "fingerprint": (str,),
    "key": (str,),
    "attempts_made": (int,),
    "attempts_allowed": (int,),
    "until": (int, float, type(None)),
    "request_ids": (list,),
    "meta": (dict,),
}
_REQUIRED: Final = ("claude_lite_job", "call", "attempts_allowed")


@frozen
class Job:
    """A call for a queue, with its limits and its history. `Job.of` makes one.

    Attributes:
        operation: The call.
        call: The JSON of the call, from `Operation.to_dict`.
        fingerprint: The digest of the call; see `Operation.fingerprint`.
        key: Jobs with the same key share a result in a store; the default is the fingerprint.
        attempts_made: The attempts of all deliveries so far.
        attempts_allowed: The largest number of attempts, over all deliveries.
        until: The Unix time at which the job is over, in seconds; None means never.
        request_ids: The request ids of earlier attempts, the newest last, 20 at most.
        meta: JSON of the user's own, which the result has, too.

    """

    operation: Operation[Any] = field(repr=False, eq=False)
    call: Mapping[str, Any]
    fingerprint: str
    key: str
    attempts_made: int = 0
    attempts_allowed: int = 8
    until: float | None = None
    request_ids: tuple[str, ...] = ()
    meta: Mapping[str, Any] = field(default=Factory(dict))

    @classmethod
    def of(
        cls,
        call: Operation[Any],
        *,
        deadline: float | None = None,
        attempts: int = 8,
        key: str | None = None,
        meta: Mapping[str, Any] | None = None,
    ) -> "Job":
        """Make a job of a call.

        Args:
            call: The call, such as `CreateMessage(...)`.
            deadline: The seconds from now after which no attempt begins, and no wait ends; None
                means no deadline.
            attempts: The largest number of attempts, over all deliveries.
            key: Jobs with the same key share a result in a store; None means the fingerprint of the
                call. To sample one call several times, give each job a key of its own.
            meta: JSON of your own, which the result has, too.

        Raises:
            UsageError: *call* is no operation, or *deadline* or *attempts* is not positive.

        """
        if not isinstance(call, Operation):
            raise (call := wrong_type("the call of a job", "an operation", call))
        if not isinstance(deadline, int | float | None):
            raise (deadline := wrong_type("deadline", "a number of seconds or None", deadline))
        if not isinstance(attempts, int):
            raise (attempts := wrong_type("attempts", "an int", attempts))
        if deadline is not None and not 0 < deadline < math.inf:
            raise UsageError(f"deadline is {deadline!r}: it has to be positive, or None")
        if attempts < 1:
            raise UsageError(f"attempts is {attempts!r}: a job needs at least one")
        until = None if deadline is None else time.time() + deadline
        data = call.to_dict()
        digest = fingerprint_of(data)
        meta = dict(meta or {})
        return cls(call, data, digest, key or digest, 0, attempts, until, (), meta)

    def to_dict(self) -> dict[str, Any]:
        """Return the payload for a queue, a JSON object; `from_dict` reads the payload."""
        data: dict[str, Any] = {"claude_lite_job": VERSION}
        values = ((name, getattr(self, name)) for name in _FIELDS)
        data |= {name: value for name, value in values if value not in (None, (), {})}
        if self.key == self.fingerprint:
            del data["key"]
        if self.request_ids:
            data["request_ids"] = list(self.request_ids)
        return data

    @classmethod
    def from_dict(cls, payload: Mapping[str, Any]) -> "Job":
        """Rebuild a job from its payload.

        Args:
            payload: The JSON object that `to_dict` returned.

        Raises:
            UsageError: The payload is no job, or was written by a later version of this library.

        """
        job = read_job(payload)
        del payload  # a traceback may show variables, and these may hold a credential
        if isinstance(job, ClaudeError):
            raise job
        return job

    @classmethod
    def _parse(cls, payload: Any) -> "Job":
        if not isinstance(payload, Mapping) or "claude_lite_job" not in payload:
            what = f"keys {sorted(map(str, payload))[:8]}" if isinstance(payload, Mapping) else ""
            raise UsageError(
                f"this payload is no job ({type(payload).__name__} {what}): put"
                " Job.of(call).to_dict() into the queue"
            )
        if payload["claude_lite_job"] != VERSION:
            raise UsageError(
                f"the payload has version {payload['claude_lite_job']!r} of a job, and this library"
                f" reads version {VERSION}: update claude-lite in the worker"
            )
        for name in _REQUIRED:
            if name not in payload:
                raise UsageError(f"the payload of a job has no {name!r}")
        for name, value in payload.items():
            kinds = _KEYS.get(name)
            if kinds is None:
                raise UsageError(f"the payload of a job has an unknown key {name!r}")
            if not isinstance(value, kinds) or isinstance(value, bool):
                raise UsageError(f"{name!r} of a job cannot be {type(value).__name__}")
        values = {name: value for name, value in payload.items() if name != "claude_lite_job"}
        values["operation"] = Operation.from_dict(values["call"])
        values["fingerprint"] = values.get("fingerprint") or fingerprint_of(values["call"])
        values["key"] = values.get("key") or values["fingerprint"]
        values["request_ids"] = tuple(map(str, values.get("request_ids", ())))
        return cls(**values)

    def after(self, error: ClaudeError) -> "Job":
        """Return the job as it is after a delivery that failed.

        Args:
            error: The error of the delivery; its `attempts` are those of this delivery.

        """
        ids = (*self.request_ids, *([error.request_id] if error.request_id else []))
        made = self.attempts_made + error.attempts
        return evolve(self, attempts_made=made, request_ids=ids[-REMEMBERED_IDS:])


_FIELDS: Final = tuple(attribute.name for attribute in fields(Job) if attribute.name != "operation")


def read_job(payload: Any) -> Job | ClaudeError:
    """Rebuild a job from its payload; an error is returned, without the frames that have read it.

    Args:
        payload: The JSON object that `Job.to_dict` returned.

    """
    try:
        return Job._parse(payload)  # noqa: SLF001  # of this module
    except ClaudeError as error:
        return error.with_traceback(None)
