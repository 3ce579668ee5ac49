"""The asynchronous client, and its streams: responses that are read as they come.

    async with client.messages.stream(...) as stream:
        async for text in stream.text_stream:
            print(text, end="")
        message = await stream.final_message()

The same as `sync.py`, awaited, in the same order with the same names.
"""

import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar, Unpack, cast, overload

from claude_lite.api.messages.operations import StreamMessage
from claude_lite.api.raw_request import RawRequest
from claude_lite.client.calling import BaseClient, BaseStream, nothing, text_of
from claude_lite.client.tokens import AsyncTokens
from claude_lite.core.bodies import Decoder
from claude_lite.core.config import Options
from claude_lite.core.exchange import Authenticate, Exchange
from claude_lite.core.operation import Operation, StreamOperation
from claude_lite.core.stream_exchange import StreamExchange
from claude_lite.errors import ClaudeError
from claude_lite.wire import AsyncTransport, Done, Request, Response, Sleep

if TYPE_CHECKING:
    from claude_lite.api.messages.events import Event  # noqa: F401  # quoted, below
    from claude_lite.api.messages.message import Message
    from claude_lite.core.pages import ListOperation, Page

__all__ = ["AsyncMessageStream", "AsyncStream", "AsyncioClient"]

E = TypeVar("E")
R = TypeVar("R")
T = TypeVar("T")

MANY: Final = 1000  # items that wait: after so many, other tasks get a turn


class _Items(AsyncIterator[T]):
    """The items of a stream. The wait for the next item may be cancelled, and begun anew.

    A generator ends when a wait within it is cancelled: alone, it would lose the rest silently.
    """

    def __init__(self, items: Callable[[], AsyncGenerator[T, None]]) -> None:
        self._items = items
        self._generator: Any = items()
        self._closed = False

    def __anext__(self) -> Any:
        if self._generator.ag_frame is None and not self._closed:
            self._generator = self._items()
        return self._generator.__anext__()

    async def aclose(self) -> None:
        """End the iteration."""
        self._closed = True
        await self._generator.aclose()


class AsyncStream(BaseStream[E, R]):
    """A streamed response, for the asynchronous client. It is iterated once, and gives items."""

    def __init__(
        self,
        exchange: StreamExchange[E, R],
        transport: AsyncTransport,
        token: Callable[[str | None, float | None], Coroutine[Any, Any, str]],
    ) -> None:
        super().__init__(exchange)
        self._transport = transport
        self._get_token = token
        self._stack = AsyncExitStack()
        self._chunks: AsyncIterator[bytes] | None = None

    async def __aenter__(self) -> Self:
        exchange = self._unopened()
        try:
            self._decoder = await self._open(exchange)
        except BaseException as error:
            exchange.abandon(error)
            raise
        if self._closed:  # by another task, while it was being opened
            await self.close()
        return self

    async def _open(self, exchange: StreamExchange[E, R]) -> Decoder[E, R]:
        while not isinstance(action := exchange.next_action(), Done):
            if isinstance(action, Sleep):
                await self._transport.sleep(action.seconds)
            elif isinstance(action, Authenticate):
                exchange.receive_token(await self._get_token(action.stale, exchange.time_left))
            else:
                async with AsyncExitStack() as stack:
                    try:
                        opening = self._transport.stream(action)
                        head, chunks = await stack.enter_async_context(opening)
                        self._chunks, self._body = aiter(chunks), chunks
                        self._rest = b""
                        exchange.receive_head(head)
                        del head  # from tracebacks that show variables: it may quote our key
                        while exchange.wants_data:
                            await self._read()
                    except ClaudeError as error:
                        exchange.receive_failure(error)
                    if exchange.ready:  # pragma: no branch  # 3.11 does not trace it
                        self._stack = stack.pop_all()
        return action.result

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._close(error)

    async def close(self) -> None:
        """Close the connection, wherever the stream is; any task of its loop may call this."""
        await self._close(None)

    async def _close(self, error: BaseException | None) -> None:
        self._leave(error)
        try:
            if self._finished and hasattr(self._body, "finish"):
                await self._body.finish()
        finally:
            await self._stack.aclose()

    def __aiter__(self) -> AsyncIterator[E]:
        return _Items(partial(self._each, self._unread().item))

    async def final(self) -> R:
        """Read to the end and return the whole result."""
        await anext(self._each(nothing), None)
        return self._opened().result()

    async def _each(self, convert: Callable[[Any], T | None]) -> AsyncGenerator[T, None]:
        """Iterate the values that *convert* makes of the raw items, without those that are None."""
        items = self._exchange.items
        while True:
            while items and not self._closed:
                if len(items) > MANY and len(items) % MANY == 0:
                    await self._transport.sleep(0)  # a turn for other tasks
                if (value := convert(items.popleft())) is not None:
                    yield value
            if self._at_end():
                return
            try:
                await self._read()
            except ClaudeError as error:
                if not self._closed:
                    self._exchange.receive_failure(error)

    async def _read(self) -> None:
        if self._rest:
            await self._transport.sleep(0)  # a turn for other tasks
            chunk: bytes | memoryview | None = self._rest
        else:
            chunk = await anext(cast("AsyncIterator[bytes]", self._chunks), None)
        if chunk is None:
            self._exchange.receive_end()
        else:
            self._exchange.receive_data(self._first(chunk))


class AsyncMessageStream(AsyncStream["Event", "Message"]):
    """A message as it is written: iterate its events, or only its text."""

    @property
    def text_stream(self) -> AsyncIterator[str]:
        """The text as it comes, without the other events."""
        self._unread()
        return _Items(partial(self._each, text_of))

    @property
    def snapshot(self) -> "Message":
        """The message so far."""
        return self._opened().result()

    async def final_message(self) -> "Message":
        """Read to the end and return the whole message."""
        return await self.final()


class AsyncioClient(BaseClient[AsyncTransport]):
    """The asynchronous client, without the groups of methods: `AsyncClient` adds those."""

    _ASYNC = True

    def __init__(
        self, transport: str | AsyncTransport = "aiohttp", **options: Unpack[Options]
    ) -> None:
        super().__init__(transport, cast("dict[str, Any]", options))

    async def send(self, operation: Operation[R]) -> R:
        """Make the call that *operation* describes, retries included, and return its result.

        An operation that streams is read to its end; a stream that breaks is restarted.

        Args:
            operation: Any operation, such as `CreateMessage(...)`.

        Raises:
            ClaudeError: One of its leaves: `claude_lite.errors` has the tree.

        """
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
                    exchange.receive_token(await self._token(action.stale, exchange.time_left))
        except BaseException as error:
            exchange.abandon(error)
            raise
        return action.result

    @overload
    def stream(self, operation: StreamMessage, *, collect: bool = False) -> AsyncMessageStream: ...
    @overload
    def stream(
        self, operation: StreamOperation[E, R], *, collect: bool = False
    ) -> AsyncStream[E, R]: ...
    def stream(self, operation: StreamOperation[Any, Any], *, collect: bool = False) -> Any:
        """Return *operation*'s response, to be read as it comes: an asynchronous context manager.

        Args:
            operation: An operation that streams, such as `StreamMessage(...)`.
            collect: Give no item before the whole response has come, so that a stream that
                breaks can be restarted at any point.

        Raises:
            UsageError: The operation does not stream, or the transport cannot.

        """
        exchange = self._stream_exchange(operation, collect=collect)
        cls = AsyncMessageStream if isinstance(operation, StreamMessage) else AsyncStream
        return cls(exchange, self._link.get(), self._token)

    async def request(self, method: str, path: str, **fields: Any) -> Response:
        """Send a request to any endpoint, with the same retries, logs and recording.

        Args:
            method: The HTTP method.
            path: The path, which begins with a slash.
            **fields: Those of `RawRequest`: `json`, `query`, `extra_headers`, `resend`, ...

        """
        return await self.send(RawRequest(method=method, path=path, **fields))

    async def pages(self, operation: "ListOperation[E]") -> "AsyncIterator[Page[E]]":
        """Iterate the pages of a list, from the page that *operation* asks for to the last."""
        following: ListOperation[E] | None = operation
        while following is not None:
            page = await self.send(following)
            yield page
            following = page.next

    def items(self, operation: "ListOperation[E]") -> AsyncIterator[E]:
        """Iterate the items of a list, over all its pages."""
        return (item async for page in self.pages(operation) for item in page.data)

    async def download(
        self,
        operation: StreamOperation[bytes, bytes],
        path: str | os.PathLike[str],
        *,
        overwrite: bool = False,
    ) -> int:
        """Write the download of *operation* to a file, and return its size in bytes.

        The file appears only once it is complete. A name that the API gave is not a path:
        `path_within` makes one of it.

        Args:
            operation: An operation that downloads, such as `DownloadFile(...)`.
            path: The path of the file.
            overwrite: Replace a file that exists.

        Raises:
            UsageError: The file exists (and *overwrite* is not set), or cannot be written.

        """
        from claude_lite.client.arrival import Arrival  # only for downloads

        with Arrival(path, overwrite=overwrite) as arrival:
            async with self.stream(operation) as stream:
                async for piece in stream:
                    arrival.write(piece)
        return arrival.size

    async def _token(self, stale: str | None, within: float | None) -> str:
        return await self._link.tokens(AsyncTokens, self.config).get(stale, within)

    async def close(self) -> None:
        """Close the connections of the running loop. A later call opens new ones."""
        if (transport := self._link.made) is not None:
            await transport.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()
