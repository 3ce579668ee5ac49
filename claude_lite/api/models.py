"""The models that the API offers: https://docs.claude.com/en/api/models-list."""

from collections.abc import Sequence
from typing import Any

from claude_lite.core.model import Result, model
from claude_lite.core.operation import Route, WorkspaceOperation, operation
from claude_lite.core.pages import IdPaged, Page

__all__ = ["ListModels", "ModelInfo", "RetrieveModel"]


@model
class ModelInfo(Result):
    """A model that the API offers. Times are RFC 3339."""

    id: str
    display_name: str | None = None
    created_at: str | None = None
    lifecycle: str | None = None
    line: dict[str, Any] | None = None
    max_input_tokens: int | None = None
    """The longest input, in tokens."""
    max_tokens: int | None = None
    """The longest output, in tokens."""
    deprecated_at: str | None = None
    retires_at: str | None = None
    capabilities: dict[str, Any] | None = None
    allowed_fallback_models: list[str] | None = None
    type: str = "model"


@operation
class ListModels(WorkspaceOperation[Page[ModelInfo]], IdPaged[ModelInfo]):
    """List the models, newest first."""

    route = Route("models.list", "GET", "/v1/models")
    item_type = ModelInfo

    lifecycle: Sequence[str] | None = None
    """Any of active, deprecated, retired."""


@operation
class RetrieveModel(WorkspaceOperation[ModelInfo]):
    """Look up one model, by its id or an alias."""

    route = Route("models.retrieve", "GET", "/v1/models/{model_id}")
    result_type = ModelInfo

    model_id: str
