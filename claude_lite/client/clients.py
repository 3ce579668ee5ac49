"""The public clients, `Client` and `AsyncClient`: they have the API's groups of methods."""

from typing import TYPE_CHECKING, Any, Final, Self

from claude_lite.client.aio import AsyncioClient
from claude_lite.client.messages import Messages
from claude_lite.client.sync import SyncClient
from claude_lite.given.spellings import CLIENTS

if TYPE_CHECKING:
    from claude_lite.client import namespaces

__all__ = ["AsyncClient", "Client"]

GROUPS: Final = {
    "messages": "Messages",
    "models": "Models",
    "files": "Files",
    "skills": "Skills",
    "organization": "OrganizationGroup",
    "completions": "Completions",
    "chat": "Chat",
    "beta": "Beta",
}


class WithGroups:
    """The API's groups of methods. Groups other than `messages` are imported at the first use."""

    messages: "Messages[Self]"
    models: "namespaces.Models[Self]"
    files: "namespaces.Files[Self]"
    skills: "namespaces.Skills[Self]"
    organization: "namespaces.OrganizationGroup[Self]"
    completions: "namespaces.Completions[Self]"
    chat: "namespaces.Chat[Self]"
    beta: "namespaces.Beta[Self]"

    if not TYPE_CHECKING:  # pragma: no branch  # type checkers use the annotations

        def __getattr__(self, name: str) -> Any:
            """Create the group of methods *name* at the first use, and keep the group."""
            if name not in GROUPS:
                hint = f": {CLIENTS[name]}" if name in CLIENTS else ""
                raise AttributeError(f"{type(self).__name__!r} has no attribute {name!r}{hint}")
            if name == "messages":
                cls: Any = Messages
            else:
                from claude_lite.client import namespaces

                cls = getattr(namespaces, GROUPS[name])
            group = self.__dict__[name] = cls(self)
            return group

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *GROUPS]


class Client(WithGroups, SyncClient):
    """A sync client of the Claude API. Threads may share one client.

    If no credential is given, the client reads ANTHROPIC_API_KEY, then ANTHROPIC_AUTH_TOKEN from
    the environment, at the first call.

    Args:
        transport: A name ("urllib", "emulator", or one that a package registers), or an instance.
        **options: Options of `Config`, by name.

    Raises:
        UsageError: An option is unknown, or the value of an option is not valid.

    """


class AsyncClient(WithGroups, AsyncioClient):
    """An async client of the Claude API. Tasks, threads and event loops may share one client.

    If no credential is given, the client reads ANTHROPIC_API_KEY, then ANTHROPIC_AUTH_TOKEN from
    the environment, at the first call.

    Args:
        transport: A name ("aiohttp", "asyncio", "emulator", or one that a package registers), or
            an instance.
        **options: Options of `Config`, by name.

    Raises:
        UsageError: An option is unknown, or the value of an option is not valid.

    """
