"""The two clients: one table of operations, and a loop of a dozen lines a colour.

A client is frozen configuration and the name of a transport. It makes no I/O and holds no
connection until its first call; sessions belong to the transport, which keeps one a process
and loop. So one client at module level serves threads, prefork workers and successive event
loops, and can be pickled (without its secret).
"""

import functools
import inspect
import time
from collections.abc import Callable, Coroutine, Mapping
from importlib.metadata import entry_points
from typing import Any, Generic, ParamSpec, Self, TypeVar, Unpack, cast, overload

from claude_lite.config import Config, Options
from claude_lite.errors import ClaudeError, UsageError
from claude_lite.exchange import Exchange, StreamExchange
from claude_lite.operations import (
    CountTokens,
    CreateMessage,
    Operation,
    RawRequest,
    StreamMessage,
    StreamOperation,
)
from claude_lite.streams import AsyncMessageStream, AsyncStream, MessageStream, Stream
from claude_lite.tokens import AsyncTokens, Tokens
from claude_lite.wire import AsyncTransport, Clock, Done, Request, Response, Sleep, Transport

P = ParamSpec("P")
R = TypeVar("R")
E = TypeVar("E")
T = TypeVar("T")
C_co = TypeVar("C_co", covariant=True)
K = TypeVar("K", Tokens, AsyncTokens)

GROUP = "claude_lite.transports"


class Endpoint(Generic[P, R]):
    """An operation as a method of either client: `client.messages.create(...)`."""

    def __init__(self, operation: Callable[P, Operation[R]]) -> None:
        self.operation = operation

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, owner: None, cls: type, /) -> Self: ...
    @overload
    def __get__(self, owner: "Namespace[Client]", cls: type, /) -> Callable[P, R]: ...
    @overload
    def __get__(
        self, owner: "Namespace[AsyncClient]", cls: type, /
    ) -> Callable[P, Coroutine[Any, Any, R]]: ...
    def __get__(self, owner: Any, cls: type, /) -> Any:
        if owner is None:
            return self
        send, operation = owner.client.send, self.operation

        @functools.wraps(operation, updated=())  # for help() and notebooks
        def call(*args: P.args, **kwargs: P.kwargs) -> Any:
            return send(operation(*args, **kwargs))

        owner.__dict__[self.name] = call  # found there next time
        return call


class MessageStreamEndpoint(Generic[P]):
    """A streamed message as a method of either client: `client.messages.stream(...)`."""

    def __init__(self, operation: Callable[P, StreamMessage]) -> None:
        self.operation = operation

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, owner: None, cls: type, /) -> Self: ...
    @overload
    def __get__(self, owner: "Namespace[Client]", cls: type, /) -> Callable[P, MessageStream]: ...
    @overload
    def __get__(
        self, owner: "Namespace[AsyncClient]", cls: type, /
    ) -> Callable[P, AsyncMessageStream]: ...
    def __get__(self, owner: Any, cls: type, /) -> Any:
        if owner is None:
            return self
        stream, operation = owner.client.stream, self.operation

        @functools.wraps(operation, updated=())  # for help() and notebooks
        def call(*args: P.args, **kwargs: P.kwargs) -> Any:
            return stream(operation(*args, **kwargs))

        owner.__dict__[self.name] = call
        return call


class Namespace(Generic[C_co]):
    """A group of operations, as the API groups them."""

    def __init__(self, client: C_co) -> None:
        self.client = client


class Messages(Namespace[C_co]):
    """Messages: https://docs.claude.com/en/api/messages."""

    create = Endpoint(CreateMessage)
    stream = MessageStreamEndpoint(StreamMessage)
    count_tokens = Endpoint(CountTokens)


class Link(Generic[T]):
    """A transport, made at first use where a name was given; shared by derived clients."""

    def __init__(self, given: "str | T", *, asynchronous: bool) -> None:
        self.given = given
        self._asynchronous = asynchronous
        self._tokens: dict[Any, Any] = {}
        self._made: T | None = None if isinstance(given, str) else self._checked(given)

    def get(self) -> T:
        """The transport; raises `UsageError` for a name that no package registers."""
        if self._made is None:
            self._made = self._checked(self._load(cast("str", self.given)))
        return self._made

    @property
    def clock(self) -> Clock:
        """The transport's own clock, where it has one (a virtual one, in tests)."""
        return getattr(self.get(), "monotonic", time.monotonic)

    def _load(self, name: str) -> T:
        found = {entry.name: entry for entry in entry_points(group=GROUP)}
        entry = (self._asynchronous and found.get(f"{name}-async")) or found.get(name)
        if entry is None:
            raise UsageError(f"no transport is named {name!r}; there are {', '.join(found)}")
        return cast("T", entry.load()())

    def _checked(self, transport: T) -> T:
        methods = [getattr(transport, name, None) for name in ("send", "sleep", "close")]
        asynchronous = any(inspect.iscoroutinefunction(method) for method in methods)
        if None in methods or asynchronous is not self._asynchronous:
            wanted = "an AsyncTransport" if self._asynchronous else "a Transport"
            raise UsageError(f"{type(transport).__name__} is not {wanted}, which this client needs")
        return transport

    def tokens(self, kind: "type[K]", config: Config) -> K:
        """The tokens of the configured provider, shared by all who have the same one."""
        provider = cast("Callable[[], Any]", config.token_provider)
        return cast("K", self._tokens.setdefault(provider, kind(provider)))

    def __getstate__(self) -> dict[str, Any]:
        return {"given": self.given, "asynchronous": self._asynchronous}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["given"], asynchronous=state["asynchronous"])  # type: ignore[misc]  # it is how it is made


class _Client(Generic[T]):
    """What both clients have in common: configuration and a transport."""

    _ASYNC = False

    def __init__(self, transport: "str | T", options: Mapping[str, Any]) -> None:
        self.config = Config(**options)
        self._link: Link[T] = Link(transport, asynchronous=self._ASYNC)

    def with_options(self, **options: Unpack[Options]) -> Self:
        """A client with some options changed, which shares this one's connections.

        `headers` are added to the ones there are; None removes one.
        """
        derived = object.__new__(type(self))
        derived.__dict__.update(config=self.config.with_options(**options), _link=self._link)
        return derived

    @property
    def transport(self) -> T:
        """The transport in use."""
        return self._link.get()

    def __getstate__(self) -> dict[str, Any]:
        return {"config": self.config, "_link": self._link}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._link.given!r}, base_url={self.config.base_url!r})"


class Client(_Client[Transport]):
    """The Claude API, synchronously; safe to share between threads.

    *transport* is a name ("urllib", "emulator", or one that a package registers) or an
    instance; the options are those of `claude_lite.config.Config`. Without a credential the
    environment is asked, at the first call: ANTHROPIC_API_KEY, then ANTHROPIC_AUTH_TOKEN.
    """

    def __init__(self, transport: str | Transport = "urllib", **options: Unpack[Options]) -> None:
        super().__init__(transport, options)

    @functools.cached_property
    def messages(self) -> "Messages[Client]":
        """Messages."""
        return Messages(self)

    def send(self, operation: Operation[R]) -> R:
        """Run *operation* and return its result; raises the leaves of `ClaudeError`."""
        if isinstance(operation, StreamOperation):
            with self.stream(operation, collect=True) as stream:
                return cast("R", stream.final())
        transport = self._link.get()
        exchange = Exchange(operation, self.config, self._link.clock)
        while not isinstance(action := exchange.next_action(), Done):
            if isinstance(action, Request):
                try:
                    response = transport.send(action)
                except ClaudeError as error:
                    exchange.receive_failure(error)
                else:
                    exchange.receive_response(response)
            elif isinstance(action, Sleep):
                transport.sleep(action.seconds)
            else:
                exchange.receive_token(self._token(action.stale))
        return action.result

    @overload
    def stream(self, operation: StreamMessage, *, collect: bool = False) -> MessageStream: ...
    @overload
    def stream(
        self, operation: StreamOperation[E, R], *, collect: bool = False
    ) -> Stream[E, R]: ...
    def stream(self, operation: StreamOperation[Any, Any], *, collect: bool = False) -> Any:
        """Open *operation*'s response for reading: a context manager.

        With *collect* nothing is given before all has come, so that a stream that breaks can
        start over at any point.
        """
        collect = collect or getattr(operation, "collect", False)
        exchange = StreamExchange(operation, self.config, self._link.clock, collect=collect)
        cls = MessageStream if isinstance(operation, StreamMessage) else Stream
        return cls(exchange, self._link.get(), self._token)

    def request(self, method: str, path: str, **fields: Any) -> Response:
        """Reach any endpoint; the fields are those of `RawRequest`: `json`, `query`, ..."""
        return self.send(RawRequest(method=method, path=path, **fields))

    def _token(self, stale: str | None) -> str:
        return self._link.tokens(Tokens, self.config).get(stale)

    def close(self) -> None:
        """Close the connections; the next call opens new ones."""
        self._link.get().close()

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
        super().__init__(transport, options)

    @functools.cached_property
    def messages(self) -> "Messages[AsyncClient]":
        """Messages."""
        return Messages(self)

    async def send(self, operation: Operation[R]) -> R:
        """Run *operation* and return its result; raises the leaves of `ClaudeError`."""
        if isinstance(operation, StreamOperation):
            async with self.stream(operation, collect=True) as stream:
                return cast("R", await stream.final())
        transport = self._link.get()
        exchange = Exchange(operation, self.config, self._link.clock)
        while not isinstance(action := exchange.next_action(), Done):
            if isinstance(action, Request):
                try:
                    response = await transport.send(action)
                except ClaudeError as error:
                    exchange.receive_failure(error)
                else:
                    exchange.receive_response(response)
            elif isinstance(action, Sleep):
                await transport.sleep(action.seconds)
            else:
                exchange.receive_token(await self._token(action.stale))
        return action.result

    @overload
    def stream(self, operation: StreamMessage, *, collect: bool = False) -> AsyncMessageStream: ...
    @overload
    def stream(
        self, operation: StreamOperation[E, R], *, collect: bool = False
    ) -> AsyncStream[E, R]: ...
    def stream(self, operation: StreamOperation[Any, Any], *, collect: bool = False) -> Any:
        """Open *operation*'s response for reading: an asynchronous context manager.

        With *collect* nothing is given before all has come, so that a stream that breaks can
        start over at any point.
        """
        collect = collect or getattr(operation, "collect", False)
        exchange = StreamExchange(operation, self.config, self._link.clock, collect=collect)
        cls = AsyncMessageStream if isinstance(operation, StreamMessage) else AsyncStream
        return cls(exchange, self._link.get(), self._token)

    async def request(self, method: str, path: str, **fields: Any) -> Response:
        """Reach any endpoint; the fields are those of `RawRequest`: `json`, `query`, ..."""
        return await self.send(RawRequest(method=method, path=path, **fields))

    async def _token(self, stale: str | None) -> str:
        return await self._link.tokens(AsyncTokens, self.config).get(stale)

    async def close(self) -> None:
        """Close this loop's connections; the next call opens new ones."""
        await self._link.get().close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()
