"""A small, fast Claude API client: sans-I/O core, pluggable transports, calls that queue.

`AsyncClient` and `Client` make calls; `CreateMessage` and the other operations are calls as
values; the classes below `ClaudeError` are what can go wrong; `standard`, `never` and `defer` are
retry policies. Every public name is importable from here. A name is loaded when it is first asked
for: importing the package loads no transport and makes no I/O.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

import claude_lite.api  # noqa: F401  # it tells the registry where operations are

if TYPE_CHECKING:
    from claude_lite.api.batch_runs import *
    from claude_lite.api.batches import *
    from claude_lite.api.bodies import *
    from claude_lite.api.completions import *
    from claude_lite.api.files import *
    from claude_lite.api.messages.content import *
    from claude_lite.api.messages.events import *
    from claude_lite.api.messages.message import *
    from claude_lite.api.messages.operations import *
    from claude_lite.api.models import *
    from claude_lite.api.organization import *
    from claude_lite.api.raw_request import *
    from claude_lite.api.reports import *
    from claude_lite.api.skills import *
    from claude_lite.api.unknown import *
    from claude_lite.api.uploads import *
    from claude_lite.api.webhooks import *
    from claude_lite.api.workspaces import *
    from claude_lite.client.aio import *
    from claude_lite.client.clients import *
    from claude_lite.client.sync import *
    from claude_lite.core.bodies import *
    from claude_lite.core.config import *
    from claude_lite.core.credentials import *
    from claude_lite.core.model import *
    from claude_lite.core.operation import *
    from claude_lite.core.pages import *
    from claude_lite.core.retry import *
    from claude_lite.core.structure import *
    from claude_lite.core.targets import *
    from claude_lite.errors import *
    from claude_lite.given.null import *
    from claude_lite.wire import *

_WHERE = (
    "client.clients",
    "client.sync",
    "client.aio",
    "errors",
    "wire",
    "core.credentials",
    "core.retry",
    "core.config",
    "core.targets",
    "core.operation",
    "core.pages",
    "core.bodies",
    "given.null",
    "core.model",
    "core.structure",
    "api.messages.operations",
    "api.messages.message",
    "api.messages.content",
    "api.raw_request",
    "api.messages.events",
    "api.batches",
    "api.batch_runs",
    "api.bodies",
    "api.files",
    "api.models",
    "api.skills",
    "api.completions",
    "api.uploads",
    "api.unknown",
    "api.organization",
    "api.workspaces",
    "api.reports",
    "api.webhooks",
)
"""The modules that declare the public names, in the order in which they are asked."""

_FOLDERS = (
    "bulk",
    "client",
    "core",
    "dialects",
    "emulator",
    "errors",
    "faults",
    "governor",
    "jobs",
    "testing",
    "wire",
)


def _public() -> dict[str, str]:
    """All public names, and the modules that declare them; this imports them all."""
    return {
        name: where for where in _WHERE for name in import_module(f"claude_lite.{where}").__all__
    }


if not TYPE_CHECKING:  # pragma: no branch  # checkers see the names imported above

    def __getattr__(name: str) -> Any:
        """Load a public name, and keep it."""
        if name == "__all__":
            return sorted(_public())
        if name in _FOLDERS:
            return import_module(f"claude_lite.{name}")
        if name.startswith("_") and name != "__version__":  # tools ask for names like __wrapped__
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        for where in _WHERE:
            module = import_module(f"claude_lite.{where}")
            if name in module.__all__:
                globals()[name] = getattr(module, name)
                return globals()[name]
        from claude_lite.given.spellings import FACE  # `import claude_lite` needs no table

        hint = f": {FACE[name]}" if name in FACE else ""
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}{hint}")

    def __dir__() -> list[str]:
        return sorted({*globals(), *_FOLDERS, *_public()})
