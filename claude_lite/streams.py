"""A response that is read as it comes, for callers: open it, iterate, close it.

    with client.messages.stream(...) as stream:
        for text in stream.text_stream:
            print(text, end="")
        message = stream.final_message()

Opening it makes the call, retries included, up to the first content. Leaving the context
closes the connection, wherever the stream is. Each class is a thin driver around
`claude_lite.stream_exchange.StreamExchange`.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Final, Generic, Self, TypeVar, cast

from claude_lite.api.messages.decoder import Decoder
from claude_lite.api.messages.events import Event
from claude_lite.api.messages.message import Message
from claude_lite.errors import ClaudeError, StreamInterrupted, UsageError
from claude_lite.exchange import Authenticate
from claude_lite.stream_exchange import StreamExchange
from claude_lite.wire import Done, Response, Sleep, Transport

E = TypeVar("E")
R = TypeVar("R")
T = TypeVar("T")

MANY: Final = 1000
CLOSED: Final = "the stream was closed here before its end"


class BaseStream(Generic[E, R]):
    """What both colours have in common: the state without the I/O."""

    def __init__(self, exchange: StreamExchange[E, R]) -> None:
        self._exchange = exchange
        self._decoder: Decoder[E, R] | None = None
        self._body: Any = None
        self._closed = False
        self._finished = False
        self._rest: bytes | memoryview = b""

    @property
    def response(self) -> Response:
        """Status and headers of the response."""
        head = self._exchange.head
        if head is None:
            raise UsageError("the stream is not open: use it as a context manager")
        return head

    @property
    def request_id(self) -> str | None:
        """The API's name for the request (`req_…`), to be quoted to support."""
        return self.response.request_id

    @property
    def attempts(self) -> int:
        """How many attempts it took."""
        return self._exchange.attempts

    def without_items(self) -> Self:
        """The same stream, of which only the result is wanted: what it is made of is not kept."""
        self._exchange.drop_items()
        return self

    def _opened(self) -> Decoder[E, R]:
        if self._decoder is None:
            raise UsageError("the stream is not open: use it as a context manager")
        return self._decoder

    def _unopened(self) -> StreamExchange[E, R]:
        if self._decoder is not None or self._closed:
            raise UsageError("a stream is opened once: make another one")
        self._exchange.start()
        return self._exchange

    def _unread(self) -> Decoder[E, R]:
        decoder = self._opened()
        if self._finished:
            raise UsageError("a stream is read once, and this one was; all of it is kept")
        return decoder

    def _first(self, chunk: bytes | memoryview) -> bytes:
        """As much of *chunk* as is to be read at once; the rest comes next."""
        stride = self._exchange.stride
        if len(chunk) > stride:
            view = memoryview(chunk)
            chunk, self._rest = view[:stride], view[stride:]
        else:
            self._rest = b""
        return bytes(chunk)

    def _at_end(self) -> bool:
        """Whether there is nothing more to read; raises what ended it early."""
        decoder = self._opened()
        if decoder.complete and not self._closed:
            self._finished = True
            self._exchange.finish()
        if self._finished:
            return True
        self._exchange.check()
        if self._closed:  # all of it had come, and was not read
            raise StreamInterrupted(CLOSED, request_id=self.request_id, attempts=self.attempts)
        return False

    def _leave(self, error: BaseException | None) -> None:
        """From here on reading is an error, unless the stream was read to its end."""
        self._closed = True
        if self._decoder is None or self._decoder.complete:
            self._exchange.finish()
        else:
            interrupted = StreamInterrupted(CLOSED)
            self._exchange.finish(left=error or interrupted)
            self._decoder.fail(interrupted)


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


class MessageStream(Stream[Event, Message]):
    """A message as it is written: iterate its events, or only its text."""

    @property
    def text_stream(self) -> Iterator[str]:
        """The text as it comes, without the other events."""
        self._unread()
        return self._each(text_of)

    @property
    def snapshot(self) -> Message:
        """The message so far."""
        return self._opened().result()

    def final_message(self) -> Message:
        """Read to the end and return the whole message."""
        return self.final()


def text_of(raw: dict[str, Any]) -> str | None:
    """The text of a raw event, if it is one that brings text."""
    if raw["type"] == "content_block_delta" and raw["delta"]["type"] == "text_delta":
        return cast("str", raw["delta"]["text"]) or None
    return None


def nothing(_: object) -> None:
    """Of an item that nobody wants."""
