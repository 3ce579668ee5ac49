"""The async client and its streams.

    async with client.messages.stream(...) as stream:
        async for text in stream.text_stream:
            print(text, end="")
        message = await stream.final_message()

This module has the same classes and methods as `sync.py`, in the same order.
"""

import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, nullcontext, suppress
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar, Unpack, cast, overload

from claude_lite.api.messages.operations import StreamMessage, text_of
from claude_lite.api.raw_request import RawRequest
from claude_lite.client.calling import BaseClient, BaseStream, discard, wrong_operation
from claude_lite.client.tokens import AsyncTokens
from claude_lite.core.bodies import Decoder
from claude_lite.core.config import Options
from claude_lite.core.exchange import Authenticate, Exchange
from claude_lite.core.operation import Operation, StreamOperation, make
from claude_lite.core.stream_exchange import StreamExchange
from claude_lite.core.turns import Admit
from claude_lite.errors import ClaudeError
from claude_lite.wire import AsyncTransport, Done, Request, Response, Sleep

if TYPE_CHECKING:
    from claude_lite.api.messages.events import Event  # noqa: F401  # quoted, below
    from claude_lite.api.messages.message import Message
    from claude_lite.core.pages import ListOperation, Page
    from claude_lite.core.turns import Gate

__all__ = ["AsyncMessageStream", "AsyncStream", "AsyncioClient"]

E = TypeVar("E")
R = TypeVar("R")
T = TypeVar("T")

ITEMS_PER_TURN: Final = 1000  # after so many items without a wait, other tasks run


class _Items(AsyncIterator[T]):
    """An iterator over the items of a stream. A cancelled `anext` may be called again.

    A cancellation ends an async generator. So this class makes a new generator for the rest of the
    items, which would be lost silently otherwise.
    """

    def __init__(self, items: Callable[[], AsyncGenerator[T, None]]) -> None:
        self._items = items
        self._generator: Any = items()
        self._closed = False

    def __anext__(self) -> Any:
        if self._generator.ag_frame is None and not self._closed:  # the generator has ended
            self._generator = self._items()
        return self._generator.__anext__()

    async def aclose(self) -> None:
        """End the iteration."""
        self._closed = True
        await self._generator.aclose()


class AsyncStream(BaseStream[E, R]):
    """A streamed response, for the async client. Its items can be iterated once."""

    def __init__(
        self,
        exchange: StreamExchange[E, R],
        transport: AsyncTransport,
        serve: Callable[[Sleep | Authenticate | Admit, Exchange[Any]], Coroutine[Any, Any, None]],
        prepare: Callable[[float | None], Coroutine[Any, Any, None]],
    ) -> None:
        super().__init__(exchange)
        self._transport = transport
        self._serve = serve
        self._prepare = prepare
        self._stack = AsyncExitStack()
        self._chunks: AsyncIterator[bytes] | None = None

    async def __aenter__(self) -> Self:
        exchange = self._require_new()
        try:
            self._decoder = await self._open(exchange)
        except BaseException as error:
            exchange.abandon(error)
            raise
        if self._closed:  # another task closed the stream during the opening
            await self.close()
        return self

    async def _open(self, exchange: StreamExchange[E, R]) -> Decoder[E, R]:
        await self._prepare(exchange.time_left)
        while not isinstance(action := self._next_action(), Done):
            if not isinstance(action, Request):
                await self._serve(action, exchange)
            else:
                async with AsyncExitStack() as stack:
                    try:
                        opening = self._transport.stream(action)
                        head, chunks = await stack.enter_async_context(opening)
                        self._chunks, self._body = aiter(chunks), chunks
                        self._rest = b""
                        exchange.receive_head(head)
                        # A server may repeat the API key, and tracebacks may show variables.
                        del head
                        while exchange.wants_data:
                            await self._read_chunk()
                    except ClaudeError as error:
                        exchange.receive_failure(error)
                    # `pop_all` keeps the connection for the caller; else this block closes it.
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
        """Close the connection, also before the end of the stream. Later reads raise an error.

        Any task on the same event loop may call this method.
        """
        await self._close(None)

    async def _close(self, error: BaseException | None) -> None:
        # A failure to close must not hide the answer.
        with suppress(ClaudeError) if self._finished else nullcontext():
            async with self._stack:
                self._leave(error)
                if self._finished and hasattr(self._body, "finish"):
                    await self._body.finish()

    def __aiter__(self) -> AsyncIterator[E]:
        return _Items(partial(self._iterate, self._require_unread().item))

    async def final(self) -> R:
        """Read to the end, and return the result.

        The result of a download has only the bytes that were not iterated. The result of JSON lines
        is None.
        """
        await anext(self._iterate(discard), None)  # runs to the end: `discard` drops all items
        return self._require_open().result()

    async def _iterate(self, convert: Callable[[Any], T | None]) -> AsyncGenerator[T, None]:
        """Yield `convert(raw)` for each raw item; skip None."""
        items = self._exchange.items
        while True:
            while items and not self._closed:
                if len(items) > ITEMS_PER_TURN and len(items) % ITEMS_PER_TURN == 0:
                    await self._transport.sleep(0)  # lets other tasks run
                if (value := convert(items.popleft())) is not None:
                    yield value
            if self._check_end():
                return
            try:
                await self._read_chunk()
            except ClaudeError as error:
                if not self._closed:
                    self._exchange.receive_failure(error)

    async def _read_chunk(self) -> None:
        if self._rest:
            await self._transport.sleep(0)  # lets other tasks run
            chunk: bytes | memoryview | None = self._rest
        else:
            chunk = await anext(cast("AsyncIterator[bytes]", self._chunks), None)
        if chunk is None:
            self._exchange.receive_end()
        else:
            self._exchange.receive_data(self._cut(chunk))


class AsyncMessageStream(AsyncStream["Event", "Message"]):
    """A stream of a message: iterate the events, or only the text."""

    @property
    def text_stream(self) -> AsyncIterator[str]:
        """The text as it arrives, without the other events."""
        self._require_unread()
        return _Items(partial(self._iterate, text_of))

    @property
    def snapshot(self) -> "Message":
        """The message, as far as it has arrived."""
        return self._require_open().result()

    async def final_message(self) -> "Message":
        """Read to the end, and return the whole message."""
        return await self.final()


class AsyncioClient(BaseClient[AsyncTransport]):
    """The async client without the groups of methods, which `AsyncClient` adds."""

    _ASYNC = True

    def __init__(
        self, transport: str | AsyncTransport = "aiohttp", **options: Unpack[Options]
    ) -> None:
        super().__init__(transport, cast("dict[str, Any]", options))

    async def send(self, operation: Operation[R]) -> R:
        """Send *operation*, with retries, and return the result.

        An operation that streams is read to the end; a stream that breaks is restarted.

        Args:
            operation: Any operation, such as `CreateMessage(...)`.

        Raises:
            ClaudeError: The call failed; `claude_lite.errors` has a class per reason.

        """
        if isinstance(operation, StreamOperation):
            async with self.stream(operation, collect=True).without_items() as stream:
                return cast("R", await stream.final())
        if not isinstance(operation, Operation):
            raise (operation := wrong_operation(operation))
        transport = self._link.get()
        governor = self.governor
        governed = governor is not None
        exchange = Exchange(operation, self.config, self._link.clock, governed=governed)
        try:
            if self.config.dialect is not None:
                await self._prepare(exchange.time_left)
            while not isinstance(action := exchange.next_action(), Done):
                if isinstance(action, Request):
                    try:
                        response = await transport.send(action)
                    except ClaudeError as error:
                        exchange.receive_failure(error)
                    else:
                        exchange.receive_response(response)
                        del response  # as for `head` in `_open`
                elif isinstance(action, Admit) and governor is not None:  # in one step, for speed
                    exchange.receive_turn(await governor.enter_async(action, transport.sleep))
                else:
                    await self._serve(action, exchange)
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
        """Return an async context manager that opens the response of *operation* for reading.

        Args:
            operation: An operation that streams, such as `StreamMessage(...)`.
            collect: Wait for the whole response before the first item, so that a stream that
                breaks can be restarted at any point.

        Raises:
            UsageError: The operation or the transport does not support streams.

        """
        if not isinstance(operation, StreamOperation):
            raise (operation := wrong_operation(operation))
        exchange = self._stream_exchange(operation, collect=collect)
        cls = AsyncMessageStream if isinstance(operation, StreamMessage) else AsyncStream
        return cls(exchange, self._link.get(), self._serve, self._prepare)

    async def request(self, method: str, path: str, **fields: Any) -> Response:
        """Send a request to any path. Retries, logs and recordings work as for operations.

        Args:
            method: The HTTP method.
            path: The path after the base URL. It begins with a slash and is percent-encoded.
            **fields: Other fields of `RawRequest`: `json`, `query`, `extra_headers`, `resend`, ...

        """
        return await self.send(make(RawRequest, fields, method=method, path=path))

    async def pages(self, operation: "ListOperation[E]") -> "AsyncIterator[Page[E]]":
        """Iterate the pages of a list, from the page of *operation* to the last page."""
        if not isinstance(operation, Operation):
            raise (operation := wrong_operation(operation))
        yield (page := await self.send(operation))
        while (following := page.next) is not None:
            yield (page := await self.send(following))

    def items(self, operation: "ListOperation[E]") -> AsyncIterator[E]:
        """Iterate the items of a list, from the page of *operation* to the last page."""
        return (item async for page in self.pages(operation) for item in page.data)

    async def download(
        self,
        operation: StreamOperation[bytes, bytes],
        path: str | os.PathLike[str],
        *,
        overwrite: bool = False,
    ) -> int:
        """Write the download of *operation* to a file, and return the size in bytes.

        The file appears only when it is complete. Do not use a file name from the API as *path*:
        call `claude_lite.path_within(folder, name)`, which checks the name.

        Args:
            operation: An operation that downloads, such as `DownloadFile(...)`.
            path: The path of the file.
            overwrite: Whether to replace an existing file.

        Raises:
            UsageError: The file exists and *overwrite* is false, or the file cannot be written,
                for example because the disk is full. No part of the file is left.
            ClaudeError: The call failed; `claude_lite.errors` has a class per reason.

        """
        from claude_lite.client.arrival import Arrival  # only for downloads

        if not isinstance(operation, StreamOperation):
            raise (operation := wrong_operation(operation))
        with Arrival(path, overwrite=overwrite) as file:
            async with self.stream(operation) as stream:
                async for piece in stream:
                    file.write(piece)
        return file.size

    async def _prepare(self, within: float | None) -> None:
        """Let the dialect find its credential on a thread: `sign` would block the event loop."""
        config = self.config
        given = config.api_key or config.auth_token or "authorization" in config.headers
        if not given and not getattr(config.dialect, "is_ready", lambda: True)():
            named = "of the dialect", cast("Any", config.dialect).prepare
            await self._link.tokens(AsyncTokens, named).get("ready", within)

    async def _serve(self, action: Sleep | Authenticate | Admit, exchange: Exchange[Any]) -> None:
        """Do what *exchange* asks for besides requests: wait, get a token, wait for a turn."""
        if isinstance(action, Admit):
            governor = cast("Gate", self.governor)
            exchange.receive_turn(await governor.enter_async(action, self._link.get().sleep))
        elif isinstance(action, Sleep):
            await self._link.get().sleep(action.seconds)
        else:
            tokens = self._link.tokens(AsyncTokens, self.config.credential_function)
            exchange.receive_token(await tokens.get(action.stale, exchange.time_left))

    async def close(self) -> None:
        """Close the connections of the running event loop. A later call opens new connections.

        A client that `with_options` made closes nothing.
        """
        if not self._derived and (transport := self._link.transport) is not None:
            await transport.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()
