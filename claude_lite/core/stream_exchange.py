"""One call whose body is read as it comes: the state machine of `exchange`, for streams.

Until the first content a failed attempt may be followed by another one. After the first content a
failure ends the call, because the caller may have used the content.
"""

import time
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from attrs import evolve

from claude_lite.core.bodies import Decoder
from claude_lite.core.config import Config
from claude_lite.core.credentials import scrub
from claude_lite.core.encoding import ContentDecoder
from claude_lite.core.exchange import REDIRECT, Exchange
from claude_lite.core.limits import (
    COMPRESSED_SLICE,
    ERROR_BODY,
    SLICE,
    check_collected_values,
    estimate_values,
)
from claude_lite.core.operation import Operation, StreamOperation
from claude_lite.core.responses import unexpected, with_head_fields
from claude_lite.core.retry import FailedAttempt, budget_for
from claude_lite.errors import ClaudeError, TimedOut
from claude_lite.wire import Clock, Done, Request, Response

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

R = TypeVar("R")
E = TypeVar("E")


class StreamExchange(Exchange[Decoder[E, R]], Generic[E, R]):
    """The state of one call whose body is read as it comes.

    `next_action` returns `Done`, with the decoder, at the first content. After `Done` the client
    repeats three steps: report a chunk with `receive_data`, take all raw items from `items`, and
    call `raise_stream_error`.

    Args:
        operation: The operation to call.
        config: The options of the client.
        clock: The clock for deadlines and for the times in logs.
        collect: Give `Done` only at the end of the body, so that another attempt is possible until
            then.

    """

    def __init__(
        self,
        operation: StreamOperation[E, R],
        config: Config,
        clock: Clock = time.monotonic,
        *,
        collect: bool = False,
    ) -> None:
        super().__init__(cast("Operation[Any]", operation), config, clock)
        self.items: deque[Any] = deque()
        self._streamed = operation
        self._collect = collect
        self._reading = False
        self._decoder: Decoder[E, R] | None = None
        self._encoding: ContentDecoder | None = None
        self._translate: Callable[[bytes], Iterable[bytes]] | None = None
        self._refused = bytearray()  # the body of an error
        self._content_at = self._started  # when the last content came
        self._values = 0  # in the items of this attempt

    @property
    def slice_size(self) -> int:
        """The most bytes to report at once, so that decoding them does not block for long."""
        return SLICE if self._encoding is None else COMPRESSED_SLICE

    def drop_items(self) -> None:
        """Keep no items, for a caller who wants only the result."""
        self.items = deque(maxlen=0)

    @property
    def wants_data(self) -> bool:
        """Whether to read another chunk before asking for the next action."""
        return self._reading and self._error is None and self._done is None

    @property
    def ready(self) -> bool:
        """Whether the caller can have the stream."""
        return self._done is not None

    def receive_head(self, head: Response) -> None:
        """Report the head of the response to the last request."""
        self.head = head
        self._reading = True
        self._content_at = self._clock()
        if head.status >= REDIRECT:
            return
        kind = head.headers.get("content-type", "").partition(";")[0].strip().lower()
        if self.config.dialect is not None and self._streamed.content_type is not None:
            self._translate = self.config.dialect.decode(head)
        if self._translate is None and self._streamed.content_type not in {None, kind}:
            wanted = self._streamed.content_type
            self._error = unexpected(head, f"{kind or 'no content-type'} in place of {wanted}")
            return
        encoding = head.headers.get("content-encoding")
        try:
            self._encoding = ContentDecoder(encoding) if encoding else None
        except ClaudeError as error:
            self._error = with_head_fields(error, head)
        self._decoder = self._streamed.decoder(head, self.config.limits)

    def receive_data(self, data: bytes) -> None:
        """Report a chunk of the body."""
        decoder = self._decoder
        if decoder is None:
            self._refused += data
            if len(self._refused) > ERROR_BODY:
                self.receive_end()
            return
        plain = self._encoding is None and self._translate is None
        items = self._feed(decoder, data) if plain else self._feed_decoded(decoder, data)
        self.items.extend(items)
        self._check_content_timeout(decoder, items)
        self._progress(decoder)

    def _feed_decoded(self, decoder: Decoder[E, R], data: bytes) -> list[Any]:
        """Decompress and translate a chunk, feed it, and give its items up to the first error."""
        items: list[Any] = []
        encoding, translate = self._encoding, self._translate
        try:
            for start in range(0, len(data), self.slice_size):
                plain = data[start : start + self.slice_size]
                plain = encoding.receive(plain) if encoding is not None else plain
                for part in translate(plain) if translate is not None else (plain,):
                    items += self._feed(decoder, part)
            left = self.time_left  # decoding may be slow; the transport does not check the time
            if left is not None and left < 0:
                decoder.fail(TimedOut("total"))
        except ClaudeError as error:
            decoder.fail(error)
        return items

    def _feed(self, decoder: Decoder[E, R], data: bytes) -> list[Any]:
        """Feed a chunk and give its items.

        Until the call is done nobody takes the items, so the values in them are bounded.
        """
        items = decoder.receive(data)
        if self._done is None and self.items.maxlen is None and data not in items:
            self._values += estimate_values(data)
            try:
                check_collected_values(self._values, self.config.limits)
            except ClaudeError as error:
                decoder.fail(error)
        return items

    def receive_end(self) -> None:
        """Report the end of the body."""
        self._reading = False
        if self._decoder is not None:
            self.items.extend(self._decoder.close())
            self._progress(self._decoder)
        else:
            head = cast("Response", self.head)
            self.receive_response(evolve(head, body=bytes(self._refused)))

    def receive_failure(self, error: ClaudeError) -> None:
        """Report the error with which the last request failed, or the stream broke off."""
        if self._decoder is not None:
            self._decoder.fail(error)
        if self._done is None:
            self._error = error

    def raise_stream_error(self) -> None:
        """Raise the error that ended the stream early, if there is one."""
        if self._decoder is not None and self._decoder.error is not None:
            scrub(self._decoder.error, self._secrets())
            raise self._end_with(self._decoder.error)

    def finish(self, *, exit_error: BaseException | None = None) -> None:
        """Log the end of the call. The caller has read the stream to its end, or has left it.

        Args:
            exit_error: The exception that left the stream before its end; None if there was none.

        """
        if self._log is None or self._decoder is None or self._log.ended:
            return
        error, result = self._decoder.error, None
        if error is None:
            with suppress(ClaudeError):  # without a result the log has no usage
                result = self._decoder.result()
        if self._decoder.complete or error is not None:
            self._log_end(result, error)
        else:
            secrets = self._secrets
            self._log.end(self.attempts, self.head, result, exit_error, secrets, left=True)

    def _progress(self, decoder: Decoder[E, R]) -> None:
        if self._done is not None:
            return
        if decoder.begun and self._log is not None:
            self._log.first_content()
        if decoder.complete or (decoder.begun and not self._collect):
            self._log_attempt(None)
            budget_for(self.config.origin).put_back(self._retries)
            self._done = Done(decoder)
        elif decoder.error is not None:
            self._error = decoder.error
            self.items.clear()

    def _check_content_timeout(self, decoder: Decoder[E, R], items: list[Any]) -> None:
        limit = self.config.content_timeout
        if limit is None:
            return
        now = self._clock()
        for item in items:
            if item.__class__ is not dict or item.get("type") != "ping":
                self._content_at = now
                return
        if now - self._content_at > limit and not decoder.complete:
            decoder.fail(TimedOut("content", f"a stream brought only pings for {limit:g} s"))

    def _attempt(self) -> Request:
        self._decoder = self._encoding = self._translate = None
        self._values = 0
        self._reading = False
        self.items.clear()
        self._refused.clear()
        return super()._attempt()

    def _failure(self, error: ClaudeError) -> FailedAttempt:
        return FailedAttempt(error, self.operation.resends, self._resent, self._decoder is not None)
