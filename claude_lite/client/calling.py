"""The base classes of both clients and of their streams.

A client holds a frozen `Config` and a `Link` to its transport. A client opens no connection before
the first call. The transport holds the connections, in one session per process and event loop. So
threads, forked workers and several `asyncio.run` calls can share one client at module level, and a
client can be pickled, without the credential. This module does no I/O; `sync.py` and `aio.py` do.
"""

from typing import Any, Final, Generic, Self, TypeVar, Unpack, cast

from claude_lite.client.link import Link
from claude_lite.client.tokens import is_async
from claude_lite.core.bodies import Decoder
from claude_lite.core.config import CachedProperty, Config, Options, hide_credentials
from claude_lite.core.exchange import Authenticate
from claude_lite.core.operation import Operation, StreamOperation
from claude_lite.core.stream_exchange import StreamExchange
from claude_lite.core.turns import Admit, Gate
from claude_lite.errors import StreamInterrupted, UsageError
from claude_lite.given.spellings import STREAMS, add_hints
from claude_lite.wire import Clock, Done, Request, Response, Sleep

E = TypeVar("E")
R = TypeVar("R")
T = TypeVar("T")

CLOSED: Final = "the program closed the stream before the end of the response"


class BaseClient(Generic[T]):
    """A client without I/O: a configuration, and a link to a transport."""

    _ASYNC = False
    _derived = False

    def __init__(self, transport: "str | T", options: dict[str, Any]) -> None:
        self.config = Config.from_options(options)
        self._link: Link[T] = Link(transport, is_async=self._ASYNC)
        self._link.load()
        self._check_function()

    def with_options(self, **options: Unpack[Options]) -> Self:
        """Return a client with some options changed. Both clients share their connections.

        To close the new client, or to leave it as a context manager, closes nothing: the
        connections stay open for the client that they belong to.

        Args:
            **options: Options of `Config`, by name. `headers` are added to the headers of this
                client; a header whose value is None is removed.

        Raises:
            UsageError: An option is unknown, or the value of an option is not valid.

        """
        hide_credentials(cast("dict[str, Any]", options))
        derived = object.__new__(type(self))
        config = self.config.with_options(**options)
        derived.__dict__.update(config=config, _link=self._link, _derived=True)
        derived._check_function()
        return derived

    def _check_function(self) -> None:
        option, function = self.config.credential_function or ("", None)
        if not self._ASYNC and is_async(function):
            raise UsageError(f"{option} is an async function: only an AsyncClient can call it")

    @property
    def transport(self) -> T:
        """The transport. If only a name was given, the transport is created at the first use."""
        return self._link.get()

    @property
    def clock(self) -> Clock:
        """The clock that measures calls: the transport's clock, or else `time.monotonic`."""
        return self._link.clock

    @CachedProperty
    def governor(self) -> Gate | None:
        """What admits the calls of this client under the rate limit; None if nothing does."""
        given = self.config.governor
        if given == "auto":
            given = "local" if getattr(self._link.get(), "governed", True) else None
        if not isinstance(given, str):
            return given
        from claude_lite.governor import governor_for  # imported with the first client

        return governor_for(given)

    def _stream_exchange(
        self, operation: StreamOperation[E, R], *, collect: bool
    ) -> StreamExchange[E, R]:
        if not hasattr(self._link.get(), "stream"):
            name = type(self._link.get()).__name__
            raise UsageError(f"the transport {name} has no method `stream`: use another transport")
        collect = collect or getattr(operation, "collect", False)
        governed = self.governor is not None
        return StreamExchange(
            operation, self.config, self._link.clock, governed=governed, collect=collect
        )

    def __copy__(self) -> Self:
        return self.with_options()

    def __getstate__(self) -> dict[str, Any]:
        return {"config": self.config, "_link": self._link}

    def __repr__(self) -> str:
        if "_link" not in self.__dict__:  # `__init__` failed, and a traceback shows this object
            return f"<{type(self).__name__}, not initialised>"
        return f"{type(self).__name__}({self._link.given!r}, base_url={self.config.base_url!r})"


def wrong_operation(value: object) -> UsageError:
    """Return the error for a value that a method of the client cannot send.

    The value may be a key, and a traceback may show variables. So the caller puts the error in
    place of the value before it raises: `raise (operation := wrong_operation(operation))`.
    """
    name = type(value).__name__
    if isinstance(value, Operation):
        return UsageError(f"{name} does not stream: use `send`")
    return UsageError(f"the client takes an operation such as CreateMessage(...), not {name}")


class BaseStream(Generic[E, R]):
    """The state of a stream, without I/O: whether the stream is open, finished or closed."""

    def __init__(self, exchange: StreamExchange[E, R]) -> None:
        self._exchange = exchange
        self._decoder: Decoder[E, R] | None = None
        self._attempt: Any = None  # the context manager of the transport
        self._body: Any = None
        self._closed = False
        self._finished = False
        self._rest: bytes | memoryview = b""  # of the last chunk, not yet decoded

    @property
    def response(self) -> Response:
        """The status and headers of the response.

        Raises:
            UsageError: The stream is not open.

        """
        head = self._exchange.head
        if head is None:
            raise UsageError("the stream is not open: open the stream with `with` or `async with`")
        return head

    @property
    def request_id(self) -> str | None:
        """The API's id of the request (`req_…`). Anthropic's support team asks for this id."""
        return self.response.request_id

    @property
    def attempts(self) -> int:
        """The number of attempts so far."""
        return self._exchange.attempts

    def without_items(self) -> Self:
        """Drop all items, so that only the result is kept. Return this stream."""
        self._exchange.drop_items()
        return self

    def _require_open(self) -> Decoder[E, R]:
        if self._decoder is None:
            raise UsageError("the stream is not open: open the stream with `with` or `async with`")
        return self._decoder

    def _require_new(self) -> StreamExchange[E, R]:
        if self._decoder is not None or self._closed:
            raise UsageError("this stream was opened before: make a new stream for each call")
        self._exchange.start()
        return self._exchange

    def _next_action(self) -> Request | Sleep | Authenticate | Admit | Done[Decoder[E, R]]:
        if self._closed and not self._exchange.ready:  # closed during the opening
            raise StreamInterrupted(CLOSED)
        return self._exchange.next_action()

    def _require_unread(self) -> Decoder[E, R]:
        decoder = self._require_open()
        if self._finished:
            raise UsageError("this stream has been read: make a new stream to read the items again")
        return decoder

    def _cut(self, chunk: bytes | memoryview) -> bytes:
        """Return the first `stride` bytes of *chunk*, and keep the rest for the next read."""
        stride = self._exchange.slice_size
        if len(chunk) > stride:
            view = memoryview(chunk)
            chunk, self._rest = view[:stride], view[stride:]
        else:
            self._rest = b""
        return bytes(chunk)

    def _check_end(self) -> bool:
        """Tell whether all has been read. Raises the error that ended the stream early."""
        decoder = self._require_open()
        if decoder.complete and not self._closed:
            self._finished = True
            self._exchange.finish()
        if self._finished:
            return True
        self._exchange.raise_stream_error()
        if self._closed:
            # The whole body had arrived when the stream was closed, but not all items were read. If
            # the body was incomplete, `_leave` stored an error, which is raised above.
            raise StreamInterrupted(CLOSED, request_id=self.request_id, attempts=self.attempts)
        return False

    def _leave(self, error: BaseException | None) -> None:
        """Close the stream: later reads raise `StreamInterrupted`, unless all was read before."""
        self._closed = True
        if self._decoder is None or self._decoder.complete:  # no body is interrupted
            self._exchange.finish()
        else:
            interrupted = StreamInterrupted(CLOSED)
            self._exchange.finish(exit_error=error or interrupted)
            self._decoder.fail(interrupted)


add_hints(BaseStream, STREAMS)


def discard(_: object) -> None:
    """Return None for any raw item, so that the item is dropped."""
