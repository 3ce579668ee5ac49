"""One streamed call with all its attempts, as a state machine without I/O.

Before the first content, a failed attempt can be followed by another attempt. After the first
content, a failure ends the call, because the caller may have used the content. With `collect=True`
the caller gets nothing before the end of the body, so another attempt is possible until the end.
"""

import time
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar, cast

from attrs import evolve

from claude_lite.core.bodies import Decoder
from claude_lite.core.config import Config
from claude_lite.core.credentials import mask_error
from claude_lite.core.encoding import ContentDecoder
from claude_lite.core.exchange import Exchange
from claude_lite.core.limits import (
    COMPRESSED_SLICE,
    ERROR_BODY,
    SLICE,
    check_collected_values,
    estimate_values,
)
from claude_lite.core.logs import safely
from claude_lite.core.operation import Operation, StreamOperation
from claude_lite.core.responses import unexpected, with_head_fields
from claude_lite.core.retry import FailedAttempt
from claude_lite.core.targets import JSON_TYPE
from claude_lite.errors import ClaudeError, TimedOut
from claude_lite.wire import DECISIVE, ERROR_BODY_SECONDS, Clock, Done, Request, Response

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

OK: Final = 200
R = TypeVar("R")
E = TypeVar("E")


class StreamExchange(Exchange[Decoder[E, R]], Generic[E, R]):
    """The state of one call that streams the body of its response.

    `next_action` returns `Done`, with the decoder, at the first content. After `Done` the client
    repeats three steps: report a chunk with `receive_data`, take all raw items from `items`, and
    call `raise_stream_error`.

    Args:
        operation: The operation to send.
        config: The options of the client.
        clock: The clock for deadlines and for the times in logs.
        governed: Whether to ask for a turn before each attempt, if the operation takes part.
        collect: Collect the whole body before `Done`. Then a stream that breaks is tried again.

    """

    def __init__(
        self,
        operation: StreamOperation[E, R],
        config: Config,
        clock: Clock = time.monotonic,
        *,
        governed: bool = False,
        collect: bool = False,
    ) -> None:
        super().__init__(cast("Operation[Any]", operation), config, clock, governed=governed)
        self.items: deque[Any] = deque()
        self._stream_operation = operation
        self._collect = collect
        self._reading = False
        self._decoder: Decoder[E, R] | None = None
        self._encoding: ContentDecoder | None = None
        self._translate: Callable[[bytes], Iterable[bytes]] | None = None
        self._error_body = bytearray()
        self._odd: str | None = None  # what is wrong with the head of a response below status 300
        self._content_at = self._started  # the time of the last item that was not a ping
        self._values = 0  # the number of JSON values in `items`

    @property
    def slice_size(self) -> int:
        """The largest number of bytes to report at once: to decode more would block for long."""
        return SLICE if self._encoding is None else COMPRESSED_SLICE

    def drop_items(self) -> None:
        """Discard the items, for a caller who needs only the result."""
        self.items = deque(maxlen=0)

    @property
    def wants_data(self) -> bool:
        """Whether to read another chunk before asking for the next action."""
        return self._reading and self._error is None and self._done is None

    @property
    def ready(self) -> bool:
        """Whether the next action is `Done`: the caller can read the stream."""
        return self._done is not None

    def receive_head(self, head: Response) -> None:
        """Report the head of the response to the last request."""
        self.head = head
        self._reading = True
        self._content_at = self._clock()
        if head.status >= DECISIVE:  # `receive_data` collects the body of the error
            return
        if self._turn is not None:  # the limits now, the usage at the end
            safely(self.config, self._turn.settle, head)
        wanted = self._stream_operation.content_type
        content_type = head.headers.get("content-type", "").partition(";")[0].strip().lower()
        if (
            content_type in {"", "text/plain"} and head.status == OK
        ):  # the body says whether it is what is wanted
            content_type = wanted or ""
        if self.config.dialect is not None and wanted is not None:
            self._translate = self.config.dialect.decode(head)
        if self._translate is None and wanted not in {None, content_type}:
            reason = f"the content-type is {content_type or 'missing'}, not {wanted}"
            if content_type == JSON_TYPE:  # the answer, not streamed: `receive_data` collects it
                self._odd = reason
            else:
                self._error = unexpected(head, reason)
            return
        encoding = head.headers.get("content-encoding")
        try:
            self._encoding = ContentDecoder(encoding) if encoding else None
        except ClaudeError as error:
            self._error = with_head_fields(error, head)
            return
        self._decoder = self._stream_operation.decoder(head, self.config.limits)

    def receive_data(self, data: bytes) -> None:
        """Report a chunk of the body."""
        decoder = self._decoder
        if decoder is None:
            self._error_body += data
            late = self._clock() - self._content_at > ERROR_BODY_SECONDS
            if (late and self._odd is None) or len(self._error_body) > ERROR_BODY:
                self.receive_end()
            return
        is_plain = self._encoding is None and self._translate is None
        items = self._feed(decoder, data) if is_plain else self._feed_encoded(decoder, data)
        self.items.extend(items)
        self._check_content_timeout(decoder, items)
        self._update_state(decoder)

    def _feed_encoded(self, decoder: Decoder[E, R], data: bytes) -> list[Any]:
        """Decompress and translate a chunk, and return its items up to the first error.

        The decoder keeps the error.
        """
        items: list[Any] = []
        encoding, translate = self._encoding, self._translate
        try:
            for start in range(0, len(data), self.slice_size):
                part = data[start : start + self.slice_size]
                part = encoding.receive(part) if encoding is not None else part
                for plain in translate(part) if translate is not None else (part,):
                    items += self._feed(decoder, plain)
            # Decoding can be slow, and the transport does not check the deadline meanwhile.
            left = self.time_left
            if left is not None and left < 0:
                decoder.fail(TimedOut("total"))
        except ClaudeError as error:
            decoder.fail(error)
        return items

    def _feed(self, decoder: Decoder[E, R], data: bytes) -> list[Any]:
        """Decode a chunk and return its items.

        Before `Done` all items stay in memory, so the number of their values is checked. A download
        returns each chunk unchanged as an item: such a chunk is not JSON, and has no values.
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
            self._update_state(self._decoder)
        else:
            response = evolve(cast("Response", self.head), body=bytes(self._error_body))
            if self._odd is None:
                self.receive_response(response)
            else:
                self._error = unexpected(response, self._odd)

    def receive_failure(self, error: ClaudeError) -> None:
        """Report the error of the last request, or of the stream."""
        if self._decoder is not None:
            self._decoder.fail(error)
            self._update_state(self._decoder)  # the body may have been whole
        elif self.wants_data:  # the body of an error or of a redirect broke off: the status decides
            self.receive_end()
        elif self._error is None:
            self._error = error

    def raise_stream_error(self) -> None:
        """Raise the error that ended the stream early, if there is one."""
        if self._decoder is not None and self._decoder.error is not None:
            mask_error(self._decoder.error, self._secrets())
            raise self._end_with(self._decoder.error)

    def finish(self, *, exit_error: BaseException | None = None) -> None:
        """Log the end of the call. The caller has read the stream to its end, or has left it.

        Args:
            exit_error: The exception that made the caller leave the stream before its end, or None.

        """
        is_whole = self._decoder is not None and self._decoder.complete
        self._settle(usage=getattr(self._decoder, "usage", None) if is_whole else None)
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
            self._log.log_call(self.attempts, self.head, result, exit_error, secrets, left=True)

    def _update_state(self, decoder: Decoder[E, R]) -> None:
        if self._done is not None:
            return
        if decoder.begun and self._log is not None:
            self._log.first_content()  # the time to the first content
        if decoder.complete or (decoder.begun and not self._collect):
            self._log_attempt(None)
            self._budget.put_back(self._retries)
            self._done = Done(decoder)
        elif decoder.error is not None:  # the caller has seen nothing: another attempt is possible
            self._error = decoder.error
            self.items.clear()

    def _check_content_timeout(self, decoder: Decoder[E, R], items: list[Any]) -> None:
        """Fail the stream if only pings came for `content_timeout` seconds."""
        limit = self.config.content_timeout
        if limit is None:
            return
        now = self._clock()
        for item in items:
            if item.__class__ is not dict or item.get("type") != "ping":
                self._content_at = now
                return
        if now - self._content_at > limit and not decoder.complete:
            decoder.fail(TimedOut("content", f"the stream had only pings for {limit:g} s"))

    def _attempt(self) -> Request:
        self._decoder = self._encoding = self._translate = self._odd = None
        self._values = 0
        self._reading = False
        self.items.clear()
        self._error_body.clear()
        return super()._attempt()

    def _failure(self, error: ClaudeError) -> FailedAttempt:
        streaming = self._decoder is not None
        return FailedAttempt(error, self.operation.resend_rule, self._resent, streaming)
