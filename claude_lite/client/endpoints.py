"""Operations as methods of a client: one declaration for both clients, with full types.

`create = Endpoint(CreateMessage)` in a namespace makes `client.messages.create(...)` take the
fields of `CreateMessage`. A `Client` returns the result, an `AsyncClient` a coroutine of it. Type
checkers see this from the overloads of `__get__`; no code is generated.
"""

import functools
import inspect
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import (
    TYPE_CHECKING,
    Any,
    ClassVar,
    Concatenate,
    Generic,
    ParamSpec,
    Self,
    TypeVar,
    overload,
)

from claude_lite.client.aio import AsyncioClient, AsyncMessageStream, AsyncStream
from claude_lite.client.sync import MessageStream, Stream, SyncClient

if TYPE_CHECKING:
    from claude_lite.api.messages.operations import StreamMessage
    from claude_lite.core.operation import Operation, StreamOperation
    from claude_lite.core.pages import ListOperation

P = ParamSpec("P")
R = TypeVar("R")
E = TypeVar("E")
A = TypeVar("A")
C_co = TypeVar("C_co", covariant=True)


_mark: Callable[[Any], Any] = getattr(inspect, "markcoroutinefunction", lambda _: None)  # from 3.12


class Namespace(Generic[C_co]):
    """A group of operations, as the API groups them."""

    def __init__(self, client: C_co) -> None:
        self.client = client


class _Bound(Generic[P]):
    """A method made of an operation: the client's method *verb* is called with the operation."""

    verb: ClassVar[str]

    def __init__(self, operation: Callable[P, Any]) -> None:
        self.operation = operation

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def bind(self, owner: Any) -> Any:
        """Make the method for *owner*'s client, and keep it there: the next access finds it."""
        act, operation = getattr(owner.client, self.verb), self.operation

        @functools.wraps(operation, updated=())  # for help() and notebooks
        def call(*args: P.args, **kwargs: P.kwargs) -> Any:
            return act(operation(*args, **kwargs))

        if inspect.iscoroutinefunction(act):
            _mark(call)
        owner.__dict__[self.name] = call
        return call


class Endpoint(_Bound[P], Generic[P, R]):
    """Send the operation and return its result."""

    verb = "send"

    if TYPE_CHECKING:

        def __init__(self, operation: Callable[P, Operation[R]]) -> None: ...

    @overload
    def __get__(self, owner: None, cls: type, /) -> Self: ...
    @overload
    def __get__(self, owner: Namespace[SyncClient], cls: type, /) -> Callable[P, R]: ...
    @overload
    def __get__(
        self, owner: Namespace[AsyncioClient], cls: type, /
    ) -> Callable[P, Coroutine[Any, Any, R]]: ...
    def __get__(self, owner: Any, cls: type, /) -> Any:
        return self if owner is None else self.bind(owner)


class StreamEndpoint(_Bound[P], Generic[P, E, R]):
    """Open the operation's response for reading: a context manager."""

    verb = "stream"

    if TYPE_CHECKING:

        def __init__(self, operation: Callable[P, StreamOperation[E, R]]) -> None: ...

    @overload
    def __get__(self, owner: None, cls: type, /) -> Self: ...
    @overload
    def __get__(self, owner: Namespace[SyncClient], cls: type, /) -> Callable[P, Stream[E, R]]: ...
    @overload
    def __get__(
        self, owner: Namespace[AsyncioClient], cls: type, /
    ) -> Callable[P, AsyncStream[E, R]]: ...
    def __get__(self, owner: Any, cls: type, /) -> Any:
        return self if owner is None else self.bind(owner)


class MessageStreamEndpoint(_Bound[P]):
    """Open a message for reading: a stream that knows about text."""

    verb = "stream"

    if TYPE_CHECKING:

        def __init__(self, operation: "Callable[P, StreamMessage]") -> None: ...

    @overload
    def __get__(self, owner: None, cls: type, /) -> Self: ...
    @overload
    def __get__(self, owner: Namespace[SyncClient], cls: type, /) -> Callable[P, MessageStream]: ...
    @overload
    def __get__(
        self, owner: Namespace[AsyncioClient], cls: type, /
    ) -> Callable[P, AsyncMessageStream]: ...
    def __get__(self, owner: Any, cls: type, /) -> Any:
        return self if owner is None else self.bind(owner)


class ItemsEndpoint(_Bound[P], Generic[P, E]):
    """Iterate the items of all pages of a list."""

    verb = "items"

    if TYPE_CHECKING:

        def __init__(self, operation: "Callable[P, ListOperation[E]]") -> None: ...

    @overload
    def __get__(self, owner: None, cls: type, /) -> Self: ...
    @overload
    def __get__(self, owner: Namespace[SyncClient], cls: type, /) -> Callable[P, Iterator[E]]: ...
    @overload
    def __get__(
        self, owner: Namespace[AsyncioClient], cls: type, /
    ) -> Callable[P, AsyncIterator[E]]: ...
    def __get__(self, owner: Any, cls: type, /) -> Any:
        return self if owner is None else self.bind(owner)


class SyncOrAsync(Generic[P, R, A]):
    """A method that makes several calls: a function per client, which takes the client first."""

    def __init__(
        self,
        synchronous: Callable[Concatenate[SyncClient, P], R],
        asynchronous: Callable[Concatenate[AsyncioClient, P], A],
    ) -> None:
        self.functions: tuple[Any, Any] = (synchronous, asynchronous)

    @overload
    def __get__(self, owner: None, cls: type, /) -> Self: ...
    @overload
    def __get__(self, owner: Namespace[SyncClient], cls: type, /) -> Callable[P, R]: ...
    @overload
    def __get__(self, owner: Namespace[AsyncioClient], cls: type, /) -> Callable[P, A]: ...
    def __get__(self, owner: Any, cls: type, /) -> Any:
        if owner is None:
            return self
        synchronous, asynchronous = self.functions
        is_async = inspect.iscoroutinefunction(owner.client.send)
        return functools.partial(asynchronous if is_async else synchronous, owner.client)
