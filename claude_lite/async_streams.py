"""The asynchronous streams: `claude_lite.streams`, on an event loop.

async with client.messages.stream(...) as stream:
    async for text in stream.text_stream:
        print(text, end="")
    message = await stream.final_message()
"""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack
from functools import partial
from types import TracebackType
from typing import Any, Final, Self, TypeVar, cast

from claude_lite.api.messages.decoder import Decoder
from claude_lite.api.messages.events import Event
from claude_lite.api.messages.message import Message
from claude_lite.errors import ClaudeError
from claude_lite.exchange import Authenticate
from claude_lite.stream_exchange import StreamExchange
from claude_lite.streams import BaseStream, nothing, text_of
from claude_lite.wire import AsyncTransport, Done, Sleep

E = TypeVar("E")
R = TypeVar("R")
T = TypeVar("T")

MANY: Final = 1000


class _Items(AsyncIterator[T]):
    """What comes of a stream, one by one; a wait for the next one may be cancelled, and begun anew.

    A generator alone would be over once it is cancelled, and the rest be lost without a word.
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
        """Give no more."""
        self._closed = True
        await self._generator.aclose()


class AsyncStream(BaseStream[E, R]):
    """A streamed response, asynchronously. Iterating gives its items, once."""

    def __init__(
        self,
        exchange: StreamExchange[E, R],
        transport: AsyncTransport,
        token: Callable[[str | None, float | None], Coroutine[Any, Any, str]],
    ) -> None:
        super().__init__(exchange)
        self._transport = transport
        self._mint = token
        self._stack = AsyncExitStack()
        self._chunks: AsyncIterator[bytes] | None = None

    async def __aenter__(self) -> Self:
        exchange = self._unopened()
        try:
            self._decoder = await self._open(exchange)
        except BaseException as error:
            exchange.abandon(error)
            raise
        if self._closed:  # by another task, meanwhile
            await self.close()
        return self

    async def _open(self, exchange: StreamExchange[E, R]) -> Decoder[E, R]:
        while not isinstance(action := exchange.next_action(), Done):
            if isinstance(action, Sleep):
                await self._transport.sleep(action.seconds)
            elif isinstance(action, Authenticate):
                exchange.receive_token(await self._mint(action.stale, exchange.left))
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
        """Close the connection, wherever the stream is, from any task of its loop."""
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
        """Read to the end and return all of it."""
        await anext(self._each(nothing), None)
        return self._opened().result()

    async def _each(self, made: Callable[[Any], T | None]) -> AsyncGenerator[T, None]:
        """What is *made* of each raw item, where that is anything."""
        items = self._exchange.items
        while True:
            while items and not self._closed:
                if len(items) > MANY and len(items) % MANY == 0:
                    await self._transport.sleep(0)  # others have their turn
                if (value := made(items.popleft())) is not None:
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
            await self._transport.sleep(0)  # others have their turn
            chunk: bytes | memoryview | None = self._rest
        else:
            chunk = await anext(cast("AsyncIterator[bytes]", self._chunks), None)
        if chunk is None:
            self._exchange.receive_end()
        else:
            self._exchange.receive_data(self._first(chunk))


class AsyncMessageStream(AsyncStream[Event, Message]):
    """A message as it is written: iterate its events, or only its text."""

    @property
    def text_stream(self) -> AsyncIterator[str]:
        """The text as it comes, without the other events."""
        self._unread()
        return _Items(partial(self._each, text_of))

    @property
    def snapshot(self) -> Message:
        """The message so far."""
        return self._opened().result()

    async def final_message(self) -> Message:
        """Read to the end and return the whole message."""
        return await self.final()
