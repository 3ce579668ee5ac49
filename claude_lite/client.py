"""The two clients: one table of operations, and a loop of a dozen lines a colour.

A client is frozen configuration and the name of a transport. It makes no I/O and holds no
connection until its first call; sessions belong to the transport, which keeps one a process
and loop. So one client at module level serves threads, prefork workers and successive event
loops, and can be pickled (without its secret).
"""

import os
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar, Unpack, cast, overload

from claude_lite.api.messages.operations import CountTokens, CreateMessage, StreamMessage
from claude_lite.api.raw_request import RawRequest
from claude_lite.config import Config, Options
from claude_lite.credentials import conceal
from claude_lite.endpoints import C_co, Endpoint, MessageStreamEndpoint, Namespace
from claude_lite.errors import ClaudeError, UsageError
from claude_lite.exchange import Exchange
from claude_lite.link import Link
from claude_lite.operations import Operation, StreamOperation
from claude_lite.tokens import AsyncTokens, Tokens
from claude_lite.wire import AsyncTransport, Clock, Done, Request, Response, Sleep, Transport

if TYPE_CHECKING:
    from claude_lite import namespaces
    from claude_lite.async_streams import AsyncMessageStream, AsyncStream
    from claude_lite.pages import ListOperation, Page
    from claude_lite.stream_exchange import StreamExchange
    from claude_lite.streams import MessageStream, Stream

R = TypeVar("R")
E = TypeVar("E")
T = TypeVar("T")

GROUPS = {
    "messages": "Messages",
    "models": "Models",
    "files": "Files",
    "skills": "Skills",
    "organization": "Organization",
    "completions": "Completions",
    "chat": "Chat",
    "beta": "Beta",
}


def _namespaces() -> Any:
    """The module of namespaces, with all operations: loaded when one is first asked for."""
    from claude_lite import namespaces  # as said

    return namespaces


class Messages(Namespace[C_co]):
    """Messages: https://docs.claude.com/en/api/messages."""

    create = Endpoint(CreateMessage)
    stream = MessageStreamEndpoint(StreamMessage)
    count_tokens = Endpoint(CountTokens)

    @property
    def batches(self) -> "namespaces.Batches[C_co]":
        """Message batches."""
        from claude_lite.namespaces import Batches  # with all operations

        return Batches(self.client)


class _Client(Generic[T]):
    """What both clients have in common: configuration and a transport."""

    _ASYNC = False

    messages: "Messages[Self]"
    models: "namespaces.Models[Self]"
    files: "namespaces.Files[Self]"
    skills: "namespaces.Skills[Self]"
    organization: "namespaces.Organization[Self]"
    completions: "namespaces.Completions[Self]"
    chat: "namespaces.Chat[Self]"
    beta: "namespaces.Beta[Self]"

    def __init__(self, transport: "str | T", options: dict[str, Any]) -> None:
        self.config = Config.of(options)
        self._link: Link[T] = Link(transport, asynchronous=self._ASYNC)

    if not TYPE_CHECKING:  # pragma: no branch  # checkers know them from their declarations

        def __getattr__(self, name: str) -> Any:
            """Make a namespace when it is first asked for, and keep it."""
            if name not in GROUPS:
                raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")
            cls = Messages if name == "messages" else getattr(_namespaces(), GROUPS[name])
            made = self.__dict__[name] = cls(self)
            return made

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *GROUPS]

    def with_options(self, **options: Unpack[Options]) -> Self:
        """A client with some options changed, which shares this one's connections.

        `headers` are added to the ones there are; None removes one.
        """
        conceal(cast("dict[str, Any]", options))
        derived = object.__new__(type(self))
        derived.__dict__.update(config=self.config.with_options(**options), _link=self._link)
        return derived

    @property
    def transport(self) -> T:
        """The transport in use."""
        return self._link.get()

    @property
    def clock(self) -> Clock:
        """The time that calls are measured by: the transport's own clock, where it has one."""
        return self._link.clock

    def _stream_exchange(
        self, operation: StreamOperation[E, R], *, collect: bool
    ) -> "StreamExchange[E, R]":
        from claude_lite.stream_exchange import StreamExchange  # only for streams

        if not isinstance(operation, StreamOperation):
            raise UsageError(
                f"this is no operation whose answer is streamed, but a {type(operation).__name__}"
            )
        if not hasattr(self._link.get(), "stream"):
            raise UsageError(f"{type(self._link.get()).__name__} has no `stream`: it cannot stream")
        collect = collect or getattr(operation, "collect", False)
        return StreamExchange(operation, self.config, self._link.clock, collect=collect)

    def __getstate__(self) -> dict[str, Any]:
        return {"config": self.config, "_link": self._link}

    def __repr__(self) -> str:
        if "_link" not in self.__dict__:  # in the traceback of an error in its options
            return f"<{type(self).__name__} in the making>"
        return f"{type(self).__name__}({self._link.given!r}, base_url={self.config.base_url!r})"


class Client(_Client[Transport]):
    """The Claude API, synchronously; safe to share between threads.

    *transport* is a name ("urllib", "emulator", or one that a package registers) or an
    instance; the options are those of `claude_lite.config.Config`. Without a credential the
    environment is asked, at the first call: ANTHROPIC_API_KEY, then ANTHROPIC_AUTH_TOKEN.
    """

    def __init__(self, transport: str | Transport = "urllib", **options: Unpack[Options]) -> None:
        super().__init__(transport, cast("dict[str, Any]", options))

    def send(self, operation: Operation[R]) -> R:
        """Run *operation* and return its result; raises the leaves of `ClaudeError`."""
        if isinstance(operation, StreamOperation):
            with self.stream(operation, collect=True).without_items() as stream:
                return cast("R", stream.final())
        transport = self._link.get()
        exchange = Exchange(operation, self.config, self._link.clock)
        try:
            while not isinstance(action := exchange.next_action(), Done):
                if isinstance(action, Request):
                    try:
                        response = transport.send(action)
                    except ClaudeError as error:
                        exchange.receive_failure(error)
                    else:
                        exchange.receive_response(response)
                        del response  # from tracebacks that show variables: it may quote our key
                elif isinstance(action, Sleep):
                    transport.sleep(action.seconds)
                else:
                    exchange.receive_token(self._token(action.stale))
        except BaseException as error:
            exchange.abandon(error)
            raise
        return action.result

    @overload
    def stream(self, operation: StreamMessage, *, collect: bool = False) -> "MessageStream": ...
    @overload
    def stream(
        self, operation: StreamOperation[E, R], *, collect: bool = False
    ) -> "Stream[E, R]": ...
    def stream(self, operation: StreamOperation[Any, Any], *, collect: bool = False) -> Any:
        """Open *operation*'s response for reading: a context manager.

        With *collect* nothing is given before all has come, so that a stream that breaks can
        start over at any point.
        """
        from claude_lite.streams import MessageStream, Stream  # only for streams

        exchange = self._stream_exchange(operation, collect=collect)
        cls = MessageStream if isinstance(operation, StreamMessage) else Stream
        return cls(exchange, self._link.get(), self._token)

    def request(self, method: str, path: str, **fields: Any) -> Response:
        """Reach any endpoint; the fields are those of `RawRequest`: `json`, `query`, ..."""
        return self.send(RawRequest(method=method, path=path, **fields))

    def pages(self, operation: "ListOperation[E]") -> "Iterator[Page[E]]":
        """The pages of a list, from the one that *operation* asks for to the last."""
        following: ListOperation[E] | None = operation
        while following is not None:
            page = self.send(following)
            yield page
            following = page.next

    def items(self, operation: "ListOperation[E]") -> Iterator[E]:
        """The items of all pages of a list."""
        return (item for page in self.pages(operation) for item in page.data)

    def download(
        self,
        operation: StreamOperation[bytes, bytes],
        path: str | os.PathLike[str],
        *,
        overwrite: bool = False,
    ) -> int:
        """Write what *operation* downloads to the file *path*, and return its size in bytes.

        The file appears only once it is complete. Raises `UsageError` if *path* exists, unless
        *overwrite*, or if it cannot be written. A name that the API gave is not a path: see
        `claude_lite.api.files.path_within`.
        """
        from claude_lite.arrival import Arrival  # only for downloads

        with Arrival(path, overwrite=overwrite) as arrival, self.stream(operation) as stream:
            for piece in stream:
                arrival.write(piece)
        return arrival.size

    def _token(self, stale: str | None) -> str:
        return self._link.tokens(Tokens, self.config).get(stale)

    def close(self) -> None:
        """Close the connections; the next call opens new ones."""
        if (transport := self._link.made) is not None:
            transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class AsyncClient(_Client[AsyncTransport]):
    """The Claude API, asynchronously; safe to share between tasks, threads and loops.

    As `Client`, with "aiohttp" as the default transport.
    """

    _ASYNC = True

    def __init__(
        self, transport: str | AsyncTransport = "aiohttp", **options: Unpack[Options]
    ) -> None:
        super().__init__(transport, cast("dict[str, Any]", options))

    async def send(self, operation: Operation[R]) -> R:
        """Run *operation* and return its result; raises the leaves of `ClaudeError`."""
        if isinstance(operation, StreamOperation):
            async with self.stream(operation, collect=True).without_items() as stream:
                return cast("R", await stream.final())
        transport = self._link.get()
        exchange = Exchange(operation, self.config, self._link.clock)
        try:
            while not isinstance(action := exchange.next_action(), Done):
                if isinstance(action, Request):
                    try:
                        response = await transport.send(action)
                    except ClaudeError as error:
                        exchange.receive_failure(error)
                    else:
                        exchange.receive_response(response)
                        del response  # from tracebacks that show variables: it may quote our key
                elif isinstance(action, Sleep):
                    await transport.sleep(action.seconds)
                else:
                    exchange.receive_token(await self._token(action.stale, exchange.left))
        except BaseException as error:
            exchange.abandon(error)
            raise
        return action.result

    @overload
    def stream(
        self, operation: StreamMessage, *, collect: bool = False
    ) -> "AsyncMessageStream": ...
    @overload
    def stream(
        self, operation: StreamOperation[E, R], *, collect: bool = False
    ) -> "AsyncStream[E, R]": ...
    def stream(self, operation: StreamOperation[Any, Any], *, collect: bool = False) -> Any:
        """Open *operation*'s response for reading: an asynchronous context manager.

        With *collect* nothing is given before all has come, so that a stream that breaks can
        start over at any point.
        """
        from claude_lite.async_streams import (  # only for streams
            AsyncMessageStream,
            AsyncStream,
        )

        exchange = self._stream_exchange(operation, collect=collect)
        cls = AsyncMessageStream if isinstance(operation, StreamMessage) else AsyncStream
        return cls(exchange, self._link.get(), self._token)

    async def request(self, method: str, path: str, **fields: Any) -> Response:
        """Reach any endpoint; the fields are those of `RawRequest`: `json`, `query`, ..."""
        return await self.send(RawRequest(method=method, path=path, **fields))

    async def pages(self, operation: "ListOperation[E]") -> "AsyncIterator[Page[E]]":
        """The pages of a list, from the one that *operation* asks for to the last."""
        following: ListOperation[E] | None = operation
        while following is not None:
            page = await self.send(following)
            yield page
            following = page.next

    def items(self, operation: "ListOperation[E]") -> AsyncIterator[E]:
        """The items of all pages of a list."""
        return (item async for page in self.pages(operation) for item in page.data)

    async def download(
        self,
        operation: StreamOperation[bytes, bytes],
        path: str | os.PathLike[str],
        *,
        overwrite: bool = False,
    ) -> int:
        """Write what *operation* downloads to the file *path*, as `Client.download` does.

        Pieces are small, and written at once.
        """
        from claude_lite.arrival import Arrival  # only for downloads

        with Arrival(path, overwrite=overwrite) as arrival:
            async with self.stream(operation) as stream:
                async for piece in stream:
                    arrival.write(piece)
        return arrival.size

    async def _token(self, stale: str | None, within: float | None) -> str:
        return await self._link.tokens(AsyncTokens, self.config).get(stale, within)

    async def close(self) -> None:
        """Close this loop's connections; the next call opens new ones."""
        if (transport := self._link.made) is not None:
            await transport.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()
