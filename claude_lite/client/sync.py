"""The blocking client, and a response that is read as it comes.

    with client.messages.stream(...) as stream:
        for text in stream.text_stream:
            print(text, end="")
        message = stream.final_message()

Opening a stream makes the call, retries included, up to the first content. Leaving the context
closes the connection, wherever the stream is. What decides is a state machine of the core;
here are the loops that do what it says. `aio.py` is the same, awaited, in the same order.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar, Unpack, cast, overload

from claude_lite.api.messages.operations import StreamMessage
from claude_lite.api.raw_request import RawRequest
from claude_lite.client.calling import BaseClient, BaseStream, nothing, text_of
from claude_lite.client.tokens import Tokens
from claude_lite.core.bodies import Decoder
from claude_lite.core.config import Options
from claude_lite.core.exchange import Authenticate, Exchange
from claude_lite.core.operation import Operation, StreamOperation
from claude_lite.core.stream_exchange import StreamExchange
from claude_lite.errors import ClaudeError
from claude_lite.wire import Done, Request, Response, Sleep, Transport

if TYPE_CHECKING:
    from claude_lite.api.messages.events import Event  # noqa: F401  # quoted, below
    from claude_lite.api.messages.message import Message
    from claude_lite.core.pages import ListOperation, Page

__all__ = ["MessageStream", "Stream", "SyncClient"]

E = TypeVar("E")
R = TypeVar("R")
T = TypeVar("T")


class Stream(BaseStream[E, R]):
    """A streamed response, synchronously. Iterating gives its items, once."""

    def __init__(
        self,
        exchange: StreamExchange[E, R],
        transport: Transport,
        token: Callable[[str | None], str],
    ) -> None:
        super().__init__(exchange)
        self._transport = transport
        self._mint = token
        self._stack = ExitStack()
        self._chunks: Iterator[bytes] = iter(())

    def __enter__(self) -> Self:
        exchange = self._unopened()
        try:
            self._decoder = self._open(exchange)
        except BaseException as error:
            exchange.abandon(error)
            raise
        if self._closed:  # by another thread, meanwhile
            self.close()
        return self

    def _open(self, exchange: StreamExchange[E, R]) -> Decoder[E, R]:
        while not isinstance(action := exchange.next_action(), Done):
            if isinstance(action, Sleep):
                self._transport.sleep(action.seconds)
            elif isinstance(action, Authenticate):
                exchange.receive_token(self._mint(action.stale))
            else:
                with ExitStack() as stack:
                    try:
                        head, chunks = stack.enter_context(self._transport.stream(action))
                        self._chunks, self._body = iter(chunks), chunks
                        self._rest = b""
                        exchange.receive_head(head)
                        del head  # from tracebacks that show variables: it may quote our key
                        while exchange.wants_data:
                            self._read()
                    except ClaudeError as error:
                        exchange.receive_failure(error)
                    if exchange.ready:
                        self._stack = stack.pop_all()
        return action.result

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._close(error)

    def close(self) -> None:
        """Close the connection, wherever the stream is; reading on then is an error."""
        self._close(None)

    def _close(self, error: BaseException | None) -> None:
        self._leave(error)
        try:
            if self._finished and hasattr(self._body, "finish"):
                self._body.finish()
        finally:
            self._stack.close()

    def __iter__(self) -> Iterator[E]:
        return self._each(self._unread().item)

    def final(self) -> R:
        """Read to the end and return all of it."""
        next(self._each(nothing), None)
        return self._opened().result()

    def _each(self, made: Callable[[Any], T | None]) -> Iterator[T]:
        """What is *made* of each raw item, where that is anything."""
        items = self._exchange.items
        while True:
            while items and not self._closed:
                if (value := made(items.popleft())) is not None:
                    yield value
            if self._at_end():
                return
            try:
                self._read()
            except ClaudeError as error:
                if not self._closed:
                    self._exchange.receive_failure(error)

    def _read(self) -> None:
        chunk = self._rest or next(self._chunks, None)
        if chunk is None:
            self._exchange.receive_end()
        else:
            self._exchange.receive_data(self._first(chunk))


class MessageStream(Stream["Event", "Message"]):
    """A message as it is written: iterate its events, or only its text."""

    @property
    def text_stream(self) -> Iterator[str]:
        """The text as it comes, without the other events."""
        self._unread()
        return self._each(text_of)

    @property
    def snapshot(self) -> "Message":
        """The message so far."""
        return self._opened().result()

    def final_message(self) -> "Message":
        """Read to the end and return the whole message."""
        return self.final()


class SyncClient(BaseClient[Transport]):
    """The blocking client, without the groups of methods: `Client` adds those."""

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
        from claude_lite.client.arrival import Arrival  # only for downloads

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
