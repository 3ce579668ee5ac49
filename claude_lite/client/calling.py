"""What both clients share: configuration and transport, and the state of an open stream.

A client is frozen configuration and the name of a transport. It makes no I/O and holds no
connection until its first call. Sessions belong to the transport, which keeps one session per
process and event loop. So one client at module level serves threads, prefork workers and
successive event loops, and it can be pickled (without its secret). Nothing here sends or waits:
`sync.py` and `aio.py` do.
"""

from typing import Any, Final, Generic, Self, TypeVar, Unpack, cast

from claude_lite.client.link import Link
from claude_lite.core.bodies import Decoder
from claude_lite.core.config import Config, Options
from claude_lite.core.credentials import conceal
from claude_lite.core.operation import Operation, StreamOperation
from claude_lite.core.stream_exchange import StreamExchange
from claude_lite.errors import StreamInterrupted, UsageError
from claude_lite.wire import Clock, Response

E = TypeVar("E")
R = TypeVar("R")
T = TypeVar("T")

CLOSED: Final = "the stream was closed by its reader before its end"


class BaseClient(Generic[T]):
    """A client without I/O: its configuration, and a link to its transport."""

    _ASYNC = False

    def __init__(self, transport: "str | T", options: dict[str, Any]) -> None:
        self.config = Config.from_options(options)
        self._link: Link[T] = Link(transport, asynchronous=self._ASYNC)

    def with_options(self, **options: Unpack[Options]) -> Self:
        """Derive a client with some options changed. It shares the connections of this client.

        Args:
            **options: Those of `Config`. `headers` are added to the headers of this client; a
                header whose value is None is removed.

        Raises:
            UsageError: An option is unknown, or its value cannot be used.

        """
        conceal(cast("dict[str, Any]", options))
        derived = object.__new__(type(self))
        derived.__dict__.update(config=self.config.with_options(**options), _link=self._link)
        return derived

    @property
    def transport(self) -> T:
        """The transport in use; it is made now if a name was given and no call was made yet."""
        return self._link.get()

    @property
    def clock(self) -> Clock:
        """The clock that times calls: the transport's own, if it has one (virtual, in tests)."""
        return self._link.clock

    def _stream_exchange(
        self, operation: StreamOperation[E, R], *, collect: bool
    ) -> StreamExchange[E, R]:
        if not isinstance(operation, StreamOperation):
            raise _not_streamed(operation)
        if not hasattr(self._link.get(), "stream"):
            name = type(self._link.get()).__name__
            raise UsageError(f"the transport {name} has no method `stream`: use another transport")
        collect = collect or getattr(operation, "collect", False)
        return StreamExchange(operation, self.config, self._link.clock, collect=collect)

    def __getstate__(self) -> dict[str, Any]:
        return {"config": self.config, "_link": self._link}

    def __repr__(self) -> str:
        if "_link" not in self.__dict__:  # in the traceback of an error in its options
            return f"<{type(self).__name__} in the making>"
        return f"{type(self).__name__}({self._link.given!r}, base_url={self.config.base_url!r})"


def _not_streamed(operation: object) -> UsageError:
    name = type(operation).__name__
    wanted = "an operation that streams, such as StreamMessage(...)"
    cure = ": use `send`" if isinstance(operation, Operation) else ""
    return UsageError(f"`stream` takes {wanted}, and {name} does not stream{cure}")


class BaseStream(Generic[E, R]):
    """An open stream without I/O: how far it has been read, and how it ended."""

    def __init__(self, exchange: StreamExchange[E, R]) -> None:
        self._exchange = exchange
        self._decoder: Decoder[E, R] | None = None
        self._body: Any = None
        self._closed = False
        self._finished = False
        self._rest: bytes | memoryview = b""

    @property
    def response(self) -> Response:
        """The status and headers of the response.

        Raises:
            UsageError: The stream is not open.

        """
        head = self._exchange.head
        if head is None:
            raise UsageError("the stream is not open: use it as a context manager")
        return head

    @property
    def request_id(self) -> str | None:
        """The API's name for the request (`req_…`); support asks for it."""
        return self.response.request_id

    @property
    def attempts(self) -> int:
        """How many attempts the call has made so far."""
        return self._exchange.attempts

    def without_items(self) -> Self:
        """Drop the items as they come, and return this stream: only its result is wanted."""
        self._exchange.drop_items()
        return self

    def _opened(self) -> Decoder[E, R]:
        if self._decoder is None:
            raise UsageError("the stream is not open: use it as a context manager")
        return self._decoder

    def _unopened(self) -> StreamExchange[E, R]:
        if self._decoder is not None or self._closed:
            raise UsageError("this stream was opened before: make a new one for each call")
        self._exchange.start()
        return self._exchange

    def _unread(self) -> Decoder[E, R]:
        decoder = self._opened()
        if self._finished:
            raise UsageError("this stream has been read: `final()` still has the whole")
        return decoder

    def _first(self, chunk: bytes | memoryview) -> bytes:
        """Cut off as much of *chunk* as is decoded at once, and keep the rest for the next read."""
        stride = self._exchange.slice_size
        if len(chunk) > stride:
            view = memoryview(chunk)
            chunk, self._rest = view[:stride], view[stride:]
        else:
            self._rest = b""
        return bytes(chunk)

    def _at_end(self) -> bool:
        """Whether all has been read. Raises the error that ended the stream early."""
        decoder = self._opened()
        if decoder.complete and not self._closed:
            self._finished = True
            self._exchange.finish()
        if self._finished:
            return True
        self._exchange.raise_stream_error()
        if self._closed:  # the whole body had come, but the caller closed the stream
            raise StreamInterrupted(CLOSED, request_id=self.request_id, attempts=self.attempts)
        return False

    def _leave(self, error: BaseException | None) -> None:
        """Make reading an error from now on, unless the stream was read to its end."""
        self._closed = True
        if self._decoder is None or self._decoder.complete:
            self._exchange.finish()
        else:
            interrupted = StreamInterrupted(CLOSED)
            self._exchange.finish(exit_error=error or interrupted)
            self._decoder.fail(interrupted)


def text_of(raw: dict[str, Any]) -> str | None:
    """Return the text that a raw event brings; None if it brings no text."""
    if raw["type"] == "content_block_delta" and raw["delta"]["type"] == "text_delta":
        return cast("str", raw["delta"]["text"]) or None
    return None


def nothing(_: object) -> None:
    """Discard the item."""
