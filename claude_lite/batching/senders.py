"""What the functions of this folder need of a client. Both clients have it."""

from collections.abc import AsyncIterable, Iterable
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Protocol, Self, TypeVar, Unpack

from claude_lite.core.config import Config, Options
from claude_lite.core.operation import Operation, StreamOperation
from claude_lite.wire import AsyncTransport, Clock, Transport

E = TypeVar("E")
R = TypeVar("R")


class _Sender(Protocol):
    config: Config

    @property
    def clock(self) -> Clock:
        """The clock of the client's calls."""
        ...

    def with_options(self, **options: Unpack[Options]) -> Self:
        """Return a client with some options changed."""
        ...


class SyncSender(_Sender, Protocol):
    """A sync client."""

    @property
    def transport(self) -> Transport:
        """The transport."""
        ...

    def send(self, operation: Operation[R]) -> R:
        """Send an operation, and return the result."""
        ...

    def stream(self, operation: StreamOperation[E, R]) -> AbstractContextManager[Iterable[E]]:
        """Open the response of an operation."""
        ...


class AsyncSender(_Sender, Protocol):
    """An async client."""

    @property
    def transport(self) -> AsyncTransport:
        """The transport."""
        ...

    async def send(self, operation: Operation[R]) -> R:
        """Send an operation, and return the result."""
        ...

    def stream(
        self, operation: StreamOperation[E, R]
    ) -> AbstractAsyncContextManager[AsyncIterable[E]]:
        """Open the response of an operation."""
        ...
