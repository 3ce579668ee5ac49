"""The blocking client, and its streams: responses that are read as they come.

    with client.messages.stream(...) as stream:
        for text in stream.text_stream:
            print(text, end="")
        message = stream.final_message()

Opening a stream makes the call, retries included, up to the first content. Leaving the context
closes the connection, wherever the stream is. A state machine of the core decides what to do
next; the loops here do it. `aio.py` is the same, awaited, in the same order.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar, Unpack, cast, overload

from claude_lite.api.messages.operations import StreamMessage
from claude_lite.api.raw_request import RawRequest
from claude_lite.client.calling import BaseClient, BaseStream, discard, text_of
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
    """A streamed response, for the blocking client. It is iterated once, and gives items."""

    def __init__(
        self,
        exchange: StreamExchange[E, R],
        transport: Transport,
        token: Callable[[str | None], str],
    ) -> None:
        super().__init__(exchange)
        self._transport = transport
        self._get_token = token
        self._stack = ExitStack()
        self._chunks: Iterator[bytes] = iter(())

    def __enter__(self) -> Self:
        exchange = self._unopened()
        try:
            self._decoder = self._open(exchange)
        except BaseException as error:
            exchange.abandon(error)
            raise
        if self._closed:  # by another thread, while it was being opened
            self.close()
        return self

    def _open(self, exchange: StreamExchange[E, R]) -> Decoder[E, R]:
        while not isinstance(action := exchange.next_action(), Done):
            if isinstance(action, Sleep):
                self._transport.sleep(action.seconds)
            elif isinstance(action, Authenticate):
                exchange.receive_token(self._get_token(action.stale))
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
        """Close the connection, wherever the stream is. Reading on is an error then."""
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
        """Read to the end and return the whole result."""
        next(self._each(discard), None)
        return self._opened().result()

    def _each(self, convert: Callable[[Any], T | None]) -> Iterator[T]:
        """Iterate the values that *convert* makes of the raw items, without those that are None."""
        items = self._exchange.items
        while True:
            while items and not self._closed:
                if (value := convert(items.popleft())) is not None:
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
        """Make the call that *operation* describes, retries included, and return its result.

        An operation that streams is read to its end; a stream that breaks is restarted.

        Args:
            operation: Any operation, such as `CreateMessage(...)`.

        Raises:
            ClaudeError: One of its leaves: `claude_lite.errors` has the tree.

        """
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
        """Return *operation*'s response, to be read as it comes: a context manager.

        Args:
            operation: An operation that streams, such as `StreamMessage(...)`.
            collect: Give no item before the whole response has come, so that a stream that
                breaks can be restarted at any point.

        Raises:
            UsageError: The operation does not stream, or the transport cannot.

        """
        exchange = self._stream_exchange(operation, collect=collect)
        cls = MessageStream if isinstance(operation, StreamMessage) else Stream
        return cls(exchange, self._link.get(), self._token)

    def request(self, method: str, path: str, **fields: Any) -> Response:
        """Send a request to any endpoint, with the same retries, logs and recording.

        Args:
            method: The HTTP method.
            path: The path, which begins with a slash.
            **fields: Those of `RawRequest`: `json`, `query`, `extra_headers`, `resend`, ...

        """
        return self.send(RawRequest(method=method, path=path, **fields))

    def pages(self, operation: "ListOperation[E]") -> "Iterator[Page[E]]":
        """Iterate the pages of a list, from the page that *operation* asks for to the last."""
        following: ListOperation[E] | None = operation
        while following is not None:
            page = self.send(following)
            yield page
            following = page.next

    def items(self, operation: "ListOperation[E]") -> Iterator[E]:
        """Iterate the items of a list, over all its pages."""
        return (item for page in self.pages(operation) for item in page.data)

    def download(
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
        from claude_lite.client.arrival import AtomicFile  # only for downloads

        with AtomicFile(path, overwrite=overwrite) as arrival, self.stream(operation) as stream:
            for piece in stream:
                arrival.write(piece)
        return arrival.size

    def _token(self, stale: str | None) -> str:
        return self._link.tokens(Tokens, self.config).get(stale)

    def close(self) -> None:
        """Close the connections. A later call opens new ones."""
        if (transport := self._link.transport) is not None:
            transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
