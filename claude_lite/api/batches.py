"""Message batches: up to 100,000 messages in one call, answered within 24 hours.

https://docs.claude.com/en/api/creating-message-batches
What makes them usable (splitting, waiting, matching) is in `claude_lite.client.batching`.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final

from attrs import field

from claude_lite.api.messages.message import Message
from claude_lite.api.messages.operations import CreateMessage
from claude_lite.core.bodies import LinesDecoder
from claude_lite.core.model import Model, model
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
from claude_lite.core.structure import Result
from claude_lite.core.targets import Target
from claude_lite.errors import APIError, RequestTooLarge, UsageError
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


@model
class BatchRequestCounts(Model):
    """How many requests of a batch are in which state; all but `processing` are final."""

    processing: int
    succeeded: int
    errored: int
    canceled: int
    expired: int


@model
class MessageBatch(Result):
    """A batch. `processing_status` is in_progress, canceling or ended; times in RFC 3339."""

    id: str
    processing_status: str
    request_counts: BatchRequestCounts
    created_at: str
    expires_at: str
    ended_at: str | None = None
    cancel_initiated_at: str | None = None
    archived_at: str | None = None
    results_url: str | None = None
    type: str = "message_batch"


@model
class DeletedMessageBatch(Result):
    """The batch is gone, with its results."""

    id: str
    type: str = "message_batch_deleted"


@model
class BatchResult(Model):
    """What became of one request; the members differ by `type`."""


@model
class SucceededResult(BatchResult):
    """It was answered."""

    TAGS = ("succeeded",)
    message: Message
    type: str = "succeeded"


@model
class ErroredResult(BatchResult):
    """It was refused; `error` is the API's envelope."""

    TAGS = ("errored",)
    error: dict[str, Any]
    type: str = "errored"

    @property
    def exception(self) -> APIError:
        """The error as the class that the same refusal of a single message would have."""
        return error_from_envelope(self.error, Response(200, {})).amend(status=None)


@model
class CanceledResult(BatchResult):
    """The batch was canceled before it was sent to the model."""

    TAGS = ("canceled",)
    type: str = "canceled"


@model
class ExpiredResult(BatchResult):
    """The batch ran out of its 24 hours before it was sent to the model."""

    TAGS = ("expired",)
    type: str = "expired"


@model
class UnknownResult(BatchResult):
    """A result of a kind that this version does not know; its fields are attributes."""

    type: str


@model
class BatchEntry(Model):
    """One line of a batch's results; they come in any order."""

    custom_id: str
    result: BatchResult


def request_json(request: JSON) -> JSON:
    """One request of a batch as JSON alone; raises `UsageError` for what would not be sent."""
    params = request.get("params")
    if not isinstance(params, CreateMessage):
        return request
    lost = [name for name in _NOT_OF_ONE if getattr(params, name)]
    if lost:
        raise UsageError(f"{lost[0]} is for a whole batch: give it to CreateBatch")
    return {**request, "params": params.body()}


_NOT_OF_ONE: Final = ("betas", "user_profile_id", "workspace_id", "extra_headers", "extra_query")


def _all_json(requests: Iterable[JSON]) -> list[JSON]:
    return [request_json(request) for request in requests]


@operation
class CreateBatch(WorkspaceOperation[MessageBatch]):
    """Create a batch. Each request is `{"custom_id": ..., "params": ...}`.

    `params` is a JSON object or a `CreateMessage`. Raises `RequestTooLarge` for over 100,000
    requests or 256 MB, and `UsageError` for a `custom_id` that occurs twice.
    """

    route = Route(
        "messages.batches.create", "POST", "/v1/messages/batches", "never", 256 * MEGABYTE
    )
    result_type = MessageBatch

    requests: Sequence[JSON] = field(converter=_all_json)
    user_profile_id: str | None = header("anthropic-user-profile-id")

    def build(self, target: Target) -> Request:
        """The request for this operation, checked."""
        if len(self.requests) > MAX_REQUESTS:
            raise RequestTooLarge(
                f"a batch of {len(self.requests)} requests, and the API takes {MAX_REQUESTS}",
                type="request_too_large",
                advice="Nothing was sent.",
            )
        seen: set[str] = set()
        for request in self.requests:
            custom_id = request.get("custom_id")
            if not isinstance(custom_id, str) or custom_id in seen:
                raise UsageError(f"custom_id has to be text that occurs once, not {custom_id!r}")
            seen.add(custom_id)
        return super().build(target)


@operation
class RetrieveBatch(WorkspaceOperation[MessageBatch]):
    """Look up how far a batch has come."""

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
    """Cancel a batch. What has been sent to the model may still finish."""

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


@operation
class BatchResults(WorkspaceOperation[None], StreamOperation[BatchEntry, None]):
    """Read the results of a batch that has ended, line by line, in any order.

    They are fetched from the configured host, wherever `results_url` points.
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
        """What the body of the response is fed to."""
        return LinesDecoder(head, BatchEntry, limits)
