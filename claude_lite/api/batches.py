"""Message batches: https://docs.claude.com/en/api/creating-message-batches.

A batch is up to 100,000 messages in one call, answered within 24 hours. `batch_runs.py` splits
requests into batches and matches results; `claude_lite.batching` waits for a batch.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Any, Final

from attrs import field

from claude_lite.api.bodies import LinesDecoder
from claude_lite.api.messages.message import Message
from claude_lite.api.messages.operations import CreateMessage
from claude_lite.api.unknown import Unknown
from claude_lite.core.model import Model, Result, model
from claude_lite.core.operation import (
    JSON,
    MEGABYTE,
    Route,
    StreamOperation,
    WorkspaceOperation,
    header,
    operation,
)
from claude_lite.core.pages import IdPaged, Page
from claude_lite.core.responses import error_from_envelope
from claude_lite.core.targets import Target
from claude_lite.errors import APIError, RequestTooLarge, ResponseTooLarge, UsageError
from claude_lite.wire import DEFAULT_LIMITS, Limits, Request, Response

__all__ = [
    "BatchEntry",
    "BatchRequestCounts",
    "BatchResult",
    "BatchResults",
    "CancelBatch",
    "CanceledResult",
    "CreateBatch",
    "DeleteBatch",
    "DeletedMessageBatch",
    "ErroredResult",
    "ExpiredResult",
    "ListBatches",
    "MessageBatch",
    "RetrieveBatch",
    "SucceededResult",
    "UnknownResult",
]

MAX_REQUESTS: Final = 100_000
CUSTOM_ID: Final = re.compile(rb'\s*\{\s*"custom_id"\s*:\s*"([^"\\]*)"')


@model
class BatchRequestCounts(Model):
    """The number of requests in each state; all states but `processing` are final."""

    processing: int
    succeeded: int
    errored: int
    canceled: int
    expired: int


@model
class MessageBatch(Result):
    """A batch. Times are RFC 3339."""

    id: str
    processing_status: str
    """in_progress, canceling or ended."""
    request_counts: BatchRequestCounts
    created_at: str
    expires_at: str
    ended_at: str | None = None
    cancel_initiated_at: str | None = None
    archived_at: str | None = None
    results_url: str | None = None
    """Not used by the library: `BatchResults` asks the configured host."""
    type: str = "message_batch"


@model
class DeletedMessageBatch(Result):
    """The answer to `DeleteBatch`: the batch and its results are deleted."""

    id: str
    type: str = "message_batch_deleted"


@model
class BatchResult(Model):
    """The result of one request. The subclasses differ by `type`."""


@model
class SucceededResult(BatchResult):
    """The request was answered with `message`."""

    TAGS = ("succeeded",)
    message: Message
    type: str = "succeeded"


@model
class ErroredResult(BatchResult):
    """The request was refused."""

    TAGS = ("errored",)
    error: dict[str, Any]
    """The body of an error as the API sends it: an object with `type`, `error`, `request_id`."""
    type: str = "errored"

    @property
    def exception(self) -> APIError:
        """The error, of the class that `CreateMessage` would raise for the same refusal."""
        return error_from_envelope(self.error, Response(200, {})).update(status=None)


@model
class CanceledResult(BatchResult):
    """The batch was canceled before the request was sent to the model."""

    TAGS = ("canceled",)
    type: str = "canceled"


@model
class ExpiredResult(BatchResult):
    """The 24 hours of the batch ended before the request was sent to the model."""

    TAGS = ("expired",)
    type: str = "expired"


@model
class UnknownResult(Unknown, BatchResult):
    """A result whose type this version does not know, or that does not fit its class."""


@model
class BatchEntry(Model):
    """One line of the results of a batch. Lines come in any order."""

    custom_id: str
    result: BatchResult


def request_json(request: JSON) -> JSON:
    """Turn a `CreateMessage` in *request* into JSON.

    Raises `UsageError` if the message has a field that only the whole batch can have.
    """
    params = request.get("params")
    if not isinstance(params, CreateMessage):
        return request
    lost = [name for name in _NOT_OF_ONE if getattr(params, name)]
    if lost:
        raise UsageError(
            f"a request in a batch cannot have {lost[0]}: give {lost[0]} to CreateBatch, "
            "for the whole batch"
        )
    return {**request, "params": params.body()}


_NOT_OF_ONE: Final = ("betas", "user_profile_id", "workspace_id", "extra_headers", "extra_query")


def _all_json(requests: Iterable[JSON]) -> list[JSON]:
    return [request_json(request) for request in requests]


@operation
class CreateBatch(WorkspaceOperation[MessageBatch]):
    """Create a batch.

    `build` raises `RequestTooLarge` for more than 100,000 requests or 256 MB, and `UsageError`
    for a `custom_id` that occurs twice. `split_into_batches` splits what is too large.
    """

    route = Route(
        "messages.batches.create", "POST", "/v1/messages/batches", "never", 256 * MEGABYTE
    )
    result_type = MessageBatch

    requests: Sequence[JSON] = field(converter=_all_json)
    """Objects `{"custom_id": ..., "params": ...}`; `params` is a JSON object or a
    `CreateMessage`."""
    user_profile_id: str | None = header("anthropic-user-profile-id")

    def build(self, target: Target) -> Request:
        """Check the requests, and build the request for this operation."""
        if len(self.requests) > MAX_REQUESTS:
            raise RequestTooLarge(
                f"{len(self.requests)} requests in a batch: the API takes {MAX_REQUESTS} at most",
                type="request_too_large",
                advice="Nothing was sent. Use split_into_batches.",
            )
        seen: set[str] = set()
        for request in self.requests:
            custom_id = request.get("custom_id")
            if not isinstance(custom_id, str):
                raise UsageError(f"custom_id has to be text, not {custom_id!r}")
            if custom_id in seen:
                raise UsageError(f"custom_id {custom_id!r} occurs twice in the batch: change one")
            seen.add(custom_id)
        return super().build(target)


@operation
class RetrieveBatch(WorkspaceOperation[MessageBatch]):
    """Look up the state of a batch."""

    route = Route("messages.batches.retrieve", "GET", "/v1/messages/batches/{message_batch_id}")
    result_type = MessageBatch

    message_batch_id: str


@operation
class ListBatches(WorkspaceOperation[Page[MessageBatch]], IdPaged[MessageBatch]):
    """List the batches of the workspace, newest first."""

    route = Route("messages.batches.list", "GET", "/v1/messages/batches")
    item_type = MessageBatch


@operation
class CancelBatch(WorkspaceOperation[MessageBatch]):
    """Cancel a batch. Requests that were sent to the model may still be answered."""

    route = Route(
        "messages.batches.cancel",
        "POST",
        "/v1/messages/batches/{message_batch_id}/cancel",
        has_body=False,
    )
    result_type = MessageBatch

    message_batch_id: str


@operation
class DeleteBatch(WorkspaceOperation[DeletedMessageBatch]):
    """Delete a batch that has ended."""

    route = Route("messages.batches.delete", "DELETE", "/v1/messages/batches/{message_batch_id}")
    result_type = DeletedMessageBatch

    message_batch_id: str


class _EntriesDecoder(LinesDecoder[BatchEntry]):
    """The decoder of the results of a batch."""

    def unreadable(self, line: bytes, error: ResponseTooLarge) -> Any:
        """Return an errored entry for a line that is too deep: the other lines can be read."""
        found = CUSTOM_ID.match(line)
        said = {"type": "response_too_large", "message": str(error)}
        result = {"type": "errored", "error": {"type": "error", "error": said}}
        text = line.decode("utf-8", "replace")
        custom_id = found[1].decode("utf-8", "replace") if found else ""
        return {"custom_id": custom_id, "result": result, "line": text}


@operation
class BatchResults(WorkspaceOperation[None], StreamOperation[BatchEntry, None]):
    """Read the results of a batch that has ended, line by line, in any order.

    The results come from the configured host; the `results_url` of the batch is not used.
    """

    route = Route(
        "messages.batches.results",
        "GET",
        "/v1/messages/batches/{message_batch_id}/results",
        accept="application/binary",
    )
    content_type = None

    message_batch_id: str

    def decoder(self, head: Response, limits: Limits = DEFAULT_LIMITS) -> LinesDecoder[BatchEntry]:
        """Return the decoder for the body of the response."""
        return _EntriesDecoder(head, BatchEntry, limits)
