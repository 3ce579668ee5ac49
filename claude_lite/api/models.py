"""The models that can be used: https://docs.claude.com/en/api/models-list."""

from collections.abc import Sequence
from typing import Any

from claude_lite.core.model import model
from claude_lite.core.operation import Route, WorkspaceOperation, operation
from claude_lite.core.pages import IdPaged, Page
from claude_lite.core.structure import Result

__all__ = ["ListModels", "ModelInfo", "RetrieveModel"]


@model
class ModelInfo(Result):
    """A model that the API offers. Lengths in tokens, times in RFC 3339."""

    id: str
    display_name: str
    created_at: str
    lifecycle: str | None = None
    line: dict[str, Any] | None = None
    max_input_tokens: int | None = None
    max_tokens: int | None = None
    deprecated_at: str | None = None
    retires_at: str | None = None
    capabilities: dict[str, Any] | None = None
    allowed_fallback_models: list[str] | None = None
    type: str = "model"


@operation
class ListModels(WorkspaceOperation[Page[ModelInfo]], IdPaged[ModelInfo]):
    """List the models, newest first. `lifecycle`: active, deprecated, retired."""

    route = Route("models.list", "GET", "/v1/models")
    item_type = ModelInfo

    lifecycle: Sequence[str] | None = None


@operation
class RetrieveModel(WorkspaceOperation[ModelInfo]):
    """Look up one model, by its id or an alias of it."""

    route = Route("models.retrieve", "GET", "/v1/models/{model_id}")
    result_type = ModelInfo

    model_id: str
