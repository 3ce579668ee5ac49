"""The routes of the Models API, and the description of each model.

The ids of the models, and which of them are deprecated, are those of the API. Sizes are made
up, and so are dates that are not part of an id.
"""

import re
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from attrs import frozen

from claude_lite.emulator.reading.checks import literal
from claude_lite.emulator.reading.known_models import (
    ALIASES,
    DEPRECATED,
    EFFORTS,
    MODELS,
    RETIRED,
    efforts_of,
)
from claude_lite.emulator.reading.paging import id_page, read_query
from claude_lite.emulator.reading.problems import Problem
from claude_lite.emulator.reading.routing import Answer, Call, ServedRoute
from claude_lite.emulator.state.rate_limits import timestamp
from claude_lite.emulator.state.world import World

LINES: Final = ("haiku", "sonnet", "opus", "fable", "mythos")
NEWEST: Final = datetime(
    2026, 11, 9, tzinfo=UTC
)  # of the newest model; each model before it is `APART` older
APART: Final = timedelta(days=14)
NOTICE: Final = 60 * 86400  # seconds from deprecation to retirement
SINCE_ADAPTIVE: Final = (4, 6)
_DATE: Final = re.compile(r"-(20\d{6})$")
_VERSION: Final = re.compile(r"-(\d+)(?:-(\d))?(?:-|$)")
_LIFECYCLE: Final = literal("active", "deprecated", "retired")


@frozen
class ListedModel:
    """A model as the API describes it."""

    id: str
    created_at: int  # seconds since 1970
    lifecycle: str = "active"
    retires_at: int | None = None

    @property
    def line(self) -> str | None:
        """The line of the model, such as "sonnet"; None if it is unknown."""
        return next((line for line in LINES if f"-{line}-" in f"{self.id}-"), None)

    @property
    def version(self) -> tuple[int, ...]:
        """The version of the model within its line."""
        found = _VERSION.search(_DATE.sub("", self.id))
        return tuple(int(part) for part in found.groups("0")) if found else (0,)

    @property
    def display_name(self) -> str:
        """The name of the model for people."""
        words = _DATE.sub("", self.id).split("-")
        name = " ".join(word.capitalize() for word in words if not word.isdecimal())
        number = ".".join(word for word in words if word.isdecimal())
        return f"{name} {number}".strip()


class ModelRoutes:
    """Answers `/v1/models` and the paths below it."""

    def __init__(self, world: World) -> None:
        models = [
            _model(id_, number) for number, id_ in enumerate(world.models) if id_ not in ALIASES
        ]
        models.sort(key=lambda model: -model.created_at)
        self._models = {model.id: model for model in models}

    def routes(self) -> tuple[ServedRoute, ...]:
        """List the routes."""
        return (
            ServedRoute("GET", "/v1/models", self.list),
            ServedRoute("GET", "/v1/models/{model_id}", self.retrieve),
        )

    def list(self, call: Call) -> Answer:
        """List the models, the newest first; retired models only if the query names them."""
        query = read_query(call.query)
        wanted = query.get("lifecycle") or ["active", "deprecated"]
        for number, lifecycle in enumerate(wanted):
            _LIFECYCLE(lifecycle, f"lifecycle.{number}")
        models = [model for model in self._models.values() if model.lifecycle in wanted]
        return Answer.json(id_page(models, query, lambda model: _shown(model, call)))

    def retrieve(self, call: Call) -> Answer:
        """Show one model, by its id or an alias."""
        id_ = call.params["model_id"]
        model = self._models.get(ALIASES.get(id_, id_))
        if model is None:
            raise Problem(404, f"model: {id_}")
        return Answer.json(_shown(model, call))


def _model(id_: str, number: int) -> ListedModel:
    dated = _DATE.search(id_)
    place = MODELS.index(id_) if id_ in MODELS else number
    created = NEWEST - APART * place
    if dated:
        created = datetime.strptime(dated[1], "%Y%m%d").replace(tzinfo=UTC)
    retires = DEPRECATED.get(id_)
    retires_at = None if retires is None else int(datetime.fromisoformat(retires).timestamp())
    lifecycle = "retired" if id_ in RETIRED else "deprecated" if retires else "active"
    return ListedModel(id_, int(created.timestamp()), lifecycle, retires_at)


def _shown(model: ListedModel, call: Call) -> dict[str, Any]:
    known = model.line is not None
    retires = model.retires_at
    shown = {
        "id": model.id,
        "type": "model",
        "display_name": model.display_name,
        "created_at": timestamp(model.created_at),
        "lifecycle": model.lifecycle,
        "line": model.line,
        "max_input_tokens": 1_000_000 if known else None,
        "max_tokens": 128_000 if known else None,
        "deprecated_at": None if retires is None else timestamp(retires - NOTICE),
        "retires_at": None if retires is None else timestamp(retires),
        "capabilities": _capabilities(model, call) if known else None,
    }
    return {**shown, "allowed_fallback_models": None} if call.is_beta else shown


def _capabilities(model: ListedModel, call: Call) -> dict[str, Any]:
    adaptive = model.version >= SINCE_ADAPTIVE
    yes, no = {"supported": True}, {"supported": False}
    efforts = efforts_of(model.id)
    edits = ("clear_thinking_20251015", "clear_tool_uses_20250919", "compact_20260112")
    capabilities = {
        "batch": yes,
        "citations": yes,
        "code_execution": yes,
        "context_management": {**yes, **dict.fromkeys(edits, yes)},
        "effort": {
            **(yes if efforts else no),
            **{effort: yes if effort in efforts else no for effort in EFFORTS},
        },
        "image_input": yes,
        "pdf_input": yes,
        "server_tools": {**yes, "code_execution": yes, "web_search": yes},
        "structured_outputs": yes,
        "thinking": {
            **yes,
            "types": {
                "adaptive": yes if adaptive else no,
                "between_tools": yes if adaptive else no,
                "disabled": yes,
                "enabled": no if adaptive else yes,
            },
        },
    }
    return (
        {**capabilities, "compaction": {**yes, "summarize": yes}} if call.is_beta else capabilities
    )
