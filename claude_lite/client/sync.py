"""The sync client and its streams.

    with client.messages.stream(...) as stream:
        for text in stream.text_stream:
            print(text, end="")
        message = stream.final_message()

Entering the `with` block sends the request, with retries, and waits for the first content. Leaving
the block closes the connection, also before the end of the stream. The exchange decides each step
(`claude_lite.core.exchange`); this module does the I/O. `aio.py` has the same classes and methods
in the same order.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, nullcontext, suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar, Unpack, cast, overload

from claude_lite.api.messages.operations import StreamMessage, text_of
from claude_lite.api.raw_request import RawRequest
from claude_lite.client.calling import BaseClient, BaseStream, discard, wrong_operation
from claude_lite.client.tokens import Tokens
from claude_lite.core.bodies import Decoder
from claude_lite.core.config import Options
from claude_lite.core.exchange import Authenticate, Exchange
from claude_lite.core.operation import Operation, StreamOperation, make
from claude_lite.core.stream_exchange import StreamExchange
from claude_lite.core.turns import Admit
from claude_lite.errors import ClaudeError
from claude_lite.wire import Done, Request, Response, Sleep, Transport

if TYPE_CHECKING:
    from claude_lite.api.messages.events import Event  # noqa: F401  # quoted, below
    from claude_lite.api.messages.message import Message
    from claude_lite.core.pages import ListOperation, Page
    from claude_lite.core.turns import Gate

__all__ = ["MessageStream", "Stream", "SyncClient"]

E = TypeVar("E")
R = TypeVar("R")
T = TypeVar("T")


class Stream(BaseStream[E, R]):
    """A streamed response, for the sync client. Its items can be iterated once."""

    def __init__(
        self,
        exchange: StreamExchange[E, R],
        transport: Transport,
        serve: "Callable[[Sleep | Authenticate | Admit, Exchange[Any]], None]",
    ) -> None:
        super().__init__(exchange)
        self._transport = transport
        self._serve = serve
        self._stack = ExitStack()
        self._chunks: Iterator[bytes] = iter(())

    def __enter__(self) -> Self:
        exchange = self._require_new()
        try:
            self._decoder = self._open(exchange)
        except BaseException as error:
            exchange.abandon(error)
            raise
        if self._closed:  # another thread closed the stream during the opening
            self.close()
        return self

    def _open(self, exchange: StreamExchange[E, R]) -> Decoder[E, R]:
        while not isinstance(action := self._next_action(), Done):
            if not isinstance(action, Request):
                self._serve(action, exchange)
            else:
                with ExitStack() as stack:
                    try:
                        self._attempt = self._transport.stream(action)
                        head, chunks = stack.enter_context(self._attempt)
                        self._chunks, self._body = iter(chunks), chunks
                        self._rest = b""
                        exchange.receive_head(head)
                        # A server may repeat the API key, and tracebacks may show variables.
                        del head
                        while exchange.wants_data:
                            self._read_chunk()
                    except ClaudeError as error:
                        exchange.receive_failure(error)
                    # `pop_all` keeps the connection for the caller; else this block closes it.
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
        """Close the connection, also before the end of the stream. Later reads raise an error.

        Any thread may call this method. A thread that waits for the stream gets the error
        `StreamInterrupted` at once, or after a wait between two attempts.
        """
        self._close(None)

    def _close(self, error: BaseException | None) -> None:
        # A failure to close must not hide the answer.
        with suppress(ClaudeError) if self._finished else nullcontext(), self._stack:
            self._leave(error)
            if self._finished and hasattr(self._body, "finish"):
                self._body.finish()
            elif hasattr(self._attempt, "stop"):
                self._attempt.stop()

    def __iter__(self) -> Iterator[E]:
        return self._iterate(self._require_unread().item)

    def final(self) -> R:
        """Read to the end, and return the result.

        The result of a download has only the bytes that were not iterated. The result of JSON lines
        is None.
        """
        next(self._iterate(discard), None)  # runs to the end: `discard` drops all items
        return self._require_open().result()

    def _iterate(self, convert: Callable[[Any], T | None]) -> Iterator[T]:
        """Yield `convert(raw)` for each raw item; skip None."""
        items = self._exchange.items
        while True:
            while items and not self._closed:
                if (value := convert(items.popleft())) is not None:
                    yield value
            if self._check_end():
                return
            try:
                self._read_chunk()
            except ClaudeError as error:
                if not self._closed:
                    self._exchange.receive_failure(error)

    def _read_chunk(self) -> None:
        chunk = self._rest or next(self._chunks, None)
        if chunk is None:
            self._exchange.receive_end()
        else:
            self._exchange.receive_data(self._cut(chunk))


class MessageStream(Stream["Event", "Message"]):
    """A stream of a message: iterate the events, or only the text."""

    @property
    def text_stream(self) -> Iterator[str]:
        """The text as it arrives, without the other events."""
        self._require_unread()
        return self._iterate(text_of)

    @property
    def snapshot(self) -> "Message":
        """The message, as far as it has arrived."""
        return self._require_open().result()

    def final_message(self) -> "Message":
        """Read to the end, and return the whole message."""
        return self.final()


class SyncClient(BaseClient[Transport]):
    """The sync client without the groups of methods, which `Client` adds."""

    def __init__(self, transport: str | Transport = "urllib", **options: Unpack[Options]) -> None:
        super().__init__(transport, cast("dict[str, Any]", options))

    def send(self, operation: Operation[R]) -> R:
        """Send *operation*, with retries, and return the result.

        An operation that streams is read to the end; a stream that breaks is restarted.

        Args:
            operation: Any operation, such as `CreateMessage(...)`.

        Raises:
            ClaudeError: The call failed; `claude_lite.errors` has a class per reason.

        """
        if isinstance(operation, StreamOperation):
            with self.stream(operation, collect=True).without_items() as stream:
                return cast("R", stream.final())
        if not isinstance(operation, Operation):
            raise (operation := wrong_operation(operation))
        transport = self._link.get()
        governor = self.governor
        governed = governor is not None
        exchange = Exchange(operation, self.config, self._link.clock, governed=governed)
        try:
            while not isinstance(action := exchange.next_action(), Done):
                if isinstance(action, Request):
                    try:
                        response = transport.send(action)
                    except ClaudeError as error:
                        exchange.receive_failure(error)
                    else:
                        exchange.receive_response(response)
                        del response  # as for `head` in `_open`
                elif isinstance(action, Admit) and governor is not None:  # in one step, for speed
                    exchange.receive_turn(governor.enter(action, transport.sleep))
                else:
                    self._serve(action, exchange)
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
        """Return a context manager that opens the response of *operation* for reading.

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
        cls = MessageStream if isinstance(operation, StreamMessage) else Stream
        return cls(exchange, self._link.get(), self._serve)

    def request(self, method: str, path: str, **fields: Any) -> Response:
        """Send a request to any path. Retries, logs and recordings work as for operations.

        Args:
            method: The HTTP method.
            path: The path after the base URL. It begins with a slash and is percent-encoded.
            **fields: Other fields of `RawRequest`: `json`, `query`, `extra_headers`, `resend`, ...

        """
        return self.send(make(RawRequest, fields, method=method, path=path))

    def pages(self, operation: "ListOperation[E]") -> "Iterator[Page[E]]":
        """Iterate the pages of a list, from the page of *operation* to the last page."""
        if not isinstance(operation, Operation):
            raise (operation := wrong_operation(operation))
        yield (page := self.send(operation))
        while (following := page.next) is not None:
            yield (page := self.send(following))

    def items(self, operation: "ListOperation[E]") -> Iterator[E]:
        """Iterate the items of a list, from the page of *operation* to the last page."""
        return (item for page in self.pages(operation) for item in page.data)

    def download(
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
        with Arrival(path, overwrite=overwrite) as file, self.stream(operation) as stream:
            for piece in stream:
                file.write(piece)
        return file.size

    def _serve(self, action: Sleep | Authenticate | Admit, exchange: Exchange[Any]) -> None:
        """Do what *exchange* asks for besides requests: wait, get a token, wait for a turn."""
        if isinstance(action, Admit):
            governor = cast("Gate", self.governor)
            exchange.receive_turn(governor.enter(action, self._link.get().sleep))
        elif isinstance(action, Sleep):
            self._link.get().sleep(action.seconds)
        else:
            tokens = self._link.tokens(Tokens, self.config.credential_function)
            exchange.receive_token(tokens.get(action.stale, exchange.time_left))

    def close(self) -> None:
        """Close the connections. A later call opens new connections.

        A client that `with_options` made closes nothing.
        """
        if not self._derived and (transport := self._link.transport) is not None:
            transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
