"""What the two clients share: a client's configuration and transport, and an open stream's state.

A client is frozen configuration and the name of a transport. It makes no I/O and holds no
connection until its first call; sessions belong to the transport, which keeps one a process
and loop. So one client at module level serves threads, prefork workers and successive event
loops, and can be pickled (without its secret). Nothing here sends or waits: `sync.py` and
`aio.py` do.
"""

from typing import Any, Final, Generic, Self, TypeVar, Unpack, cast

from claude_lite.client.link import Link
from claude_lite.core.bodies import Decoder
from claude_lite.core.config import Config, Options
from claude_lite.core.credentials import conceal
from claude_lite.core.operation import StreamOperation
from claude_lite.core.stream_exchange import StreamExchange
from claude_lite.errors import StreamInterrupted, UsageError
from claude_lite.wire import Clock, Response

E = TypeVar("E")
R = TypeVar("R")
T = TypeVar("T")

CLOSED: Final = "the stream was closed here before its end"


class BaseClient(Generic[T]):
    """What both clients have in common: configuration and a transport."""

    _ASYNC = False

    def __init__(self, transport: "str | T", options: dict[str, Any]) -> None:
        self.config = Config.of(options)
        self._link: Link[T] = Link(transport, asynchronous=self._ASYNC)

    def with_options(self, **options: Unpack[Options]) -> Self:
        """A client with some options changed, which shares this one's connections.

        `headers` are added to the ones there are; None removes one.
        """
        conceal(cast("dict[str, Any]", options))
        derived = object.__new__(type(self))
        derived.__dict__.update(config=self.config.with_options(**options), _link=self._link)
        return derived

    @property
    def transport(self) -> T:
        """The transport in use."""
        return self._link.get()

    @property
    def clock(self) -> Clock:
        """The time that calls are measured by: the transport's own clock, where it has one."""
        return self._link.clock

    def _stream_exchange(
        self, operation: StreamOperation[E, R], *, collect: bool
    ) -> StreamExchange[E, R]:
        if not isinstance(operation, StreamOperation):
            raise UsageError(
                f"this is no operation whose answer is streamed, but a {type(operation).__name__}"
            )
        if not hasattr(self._link.get(), "stream"):
            raise UsageError(f"{type(self._link.get()).__name__} has no `stream`: it cannot stream")
        collect = collect or getattr(operation, "collect", False)
        return StreamExchange(operation, self.config, self._link.clock, collect=collect)

    def __getstate__(self) -> dict[str, Any]:
        return {"config": self.config, "_link": self._link}

    def __repr__(self) -> str:
        if "_link" not in self.__dict__:  # in the traceback of an error in its options
            return f"<{type(self).__name__} in the making>"
        return f"{type(self).__name__}({self._link.given!r}, base_url={self.config.base_url!r})"


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


def text_of(raw: dict[str, Any]) -> str | None:
    """The text of a raw event, if it is one that brings text."""
    if raw["type"] == "content_block_delta" and raw["delta"]["type"] == "text_delta":
        return cast("str", raw["delta"]["text"]) or None
    return None


def nothing(_: object) -> None:
    """Of an item that nobody wants."""
