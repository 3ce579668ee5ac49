"""Operations as methods of a client: one declaration for both clients, with full types.

`create = Endpoint(CreateMessage)` in a namespace makes `client.messages.create(...)` take the
fields of `CreateMessage`. With a `Client` the method returns the result; with an `AsyncClient` the
method returns a coroutine. Type checkers read both types from the overloads of `__get__`; no code
is generated.
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
from claude_lite.core.operation import make
from claude_lite.given.spellings import GROUPS, add_hints

if TYPE_CHECKING:
    from claude_lite.api.messages.operations import StreamMessage
    from claude_lite.core.operation import Operation, StreamOperation
    from claude_lite.core.pages import ListOperation

P = ParamSpec("P")
R = TypeVar("R")
E = TypeVar("E")
A = TypeVar("A")
C_co = TypeVar("C_co", covariant=True)


# Since Python 3.12 a function can be marked, so that `inspect` reports a coroutine function.
_mark: Callable[[Any], Any] = getattr(inspect, "markcoroutinefunction", lambda _: None)


class Namespace(Generic[C_co]):
    """A group of methods on a client, such as `client.messages`."""

    def __init__(self, client: C_co) -> None:
        self.client = client


add_hints(Namespace, GROUPS)


class _OperationMethod(Generic[P]):
    """A descriptor: `group.method(**fields)` passes `operation(**fields)` to a client's method.

    The class attribute `client_method` is the name of the client's method, such as "send".
    """

    client_method: ClassVar[str]

    def __init__(self, operation: Callable[P, Any]) -> None:
        self.operation = operation

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def bind(self, owner: Any) -> Any:
        """Return the method for *owner*'s client, and store the method in `owner.__dict__`.

        The next access finds the stored method and does not call the descriptor again.
        """
        client_method, operation = getattr(owner.client, self.client_method), self.operation

        # For help() and notebooks. `updated=()`: the `__dict__` of the class is not copied.
        @functools.wraps(operation, updated=())
        def call(*args: P.args, **kwargs: P.kwargs) -> Any:
            args = (None,) * len(args)  # type: ignore[assignment]  # a traceback may show variables
            return client_method(make(operation, kwargs, *args))

        if inspect.iscoroutinefunction(client_method):
            _mark(call)
        owner.__dict__[self.name] = call
        return call


class Endpoint(_OperationMethod[P], Generic[P, R]):
    """A method that sends the operation and returns the result."""

    client_method = "send"

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


class StreamEndpoint(_OperationMethod[P], Generic[P, E, R]):
    """A method that returns a stream, which is a context manager."""

    client_method = "stream"

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


class MessageStreamEndpoint(_OperationMethod[P]):
    """A method that returns a stream of a message, with `text_stream`."""

    client_method = "stream"

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


class ItemsEndpoint(_OperationMethod[P], Generic[P, E]):
    """A method that iterates the items of all pages of a list."""

    client_method = "items"

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
    """A method made of two functions, sync and async. The first argument of both is the client."""

    def __init__(
        self,
        sync_function: Callable[Concatenate[SyncClient, P], R],
        async_function: Callable[Concatenate[AsyncioClient, P], A],
    ) -> None:
        self.functions: tuple[Any, Any] = (sync_function, async_function)

    @overload
    def __get__(self, owner: None, cls: type, /) -> Self: ...
    @overload
    def __get__(self, owner: Namespace[SyncClient], cls: type, /) -> Callable[P, R]: ...
    @overload
    def __get__(self, owner: Namespace[AsyncioClient], cls: type, /) -> Callable[P, A]: ...
    def __get__(self, owner: Any, cls: type, /) -> Any:
        if owner is None:
            return self
        sync_function, async_function = self.functions
        # Decided as in `_OperationMethod.bind`: any object with a method `send` can be the client.
        is_async = inspect.iscoroutinefunction(owner.client.send)
        return functools.partial(async_function if is_async else sync_function, owner.client)
