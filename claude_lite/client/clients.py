"""`Client` and `AsyncClient`, as users have them: with the API's groups of methods."""

from typing import TYPE_CHECKING, Any, Final, Self

from claude_lite.client.aio import AsyncioClient
from claude_lite.client.messages import Messages
from claude_lite.client.sync import SyncClient

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


class Grouped:
    """The API's groups of methods. All but `messages` are loaded when one of them is first used."""

    messages: "Messages[Self]"
    models: "namespaces.Models[Self]"
    files: "namespaces.Files[Self]"
    skills: "namespaces.Skills[Self]"
    organization: "namespaces.OrganizationGroup[Self]"
    completions: "namespaces.Completions[Self]"
    chat: "namespaces.Chat[Self]"
    beta: "namespaces.Beta[Self]"

    if not TYPE_CHECKING:  # pragma: no branch  # checkers know them from their declarations

        def __getattr__(self, name: str) -> Any:
            """Make a group of methods when it is first used, and keep it."""
            if name not in GROUPS:
                raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")
            if name == "messages":
                cls: Any = Messages
            else:
                from claude_lite.client import namespaces

                cls = getattr(namespaces, GROUPS[name])
            made = self.__dict__[name] = cls(self)
            return made

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *GROUPS]


class Client(Grouped, SyncClient):
    """The Claude API, blocking; safe to share between threads.

    Without a credential the environment is asked at the first call: ANTHROPIC_API_KEY, then
    ANTHROPIC_AUTH_TOKEN.

    Args:
        transport: A name ("urllib", "emulator", or one that a package registers), or an instance.
        **options: Those of `Config`.

    Raises:
        UsageError: An option is unknown, or its value cannot be used.

    """


class AsyncClient(Grouped, AsyncioClient):
    """The Claude API, awaited; safe to share between tasks, threads and event loops.

    Without a credential the environment is asked at the first call: ANTHROPIC_API_KEY, then
    ANTHROPIC_AUTH_TOKEN.

    Args:
        transport: A name ("aiohttp", "asyncio", "emulator", or one that a package registers), or
            an instance.
        **options: Those of `Config`.

    Raises:
        UsageError: An option is unknown, or its value cannot be used.

    """
