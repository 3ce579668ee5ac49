"""The time by which attempts have to end, watched by one timer per loop while there are any.

A timer per request would cost more than everything else that is done about time.
"""

import asyncio
import socket
import sys
from math import inf
from typing import TYPE_CHECKING, Final, Protocol

from claude_lite.errors import TimedOut

if TYPE_CHECKING:
    from aiohttp.client_proto import ResponseHandler

TICK: Final = 0.1
_LAST_HEARD: Final = slice(52, 56)  # `tcpi_last_data_recv` of Linux's `struct tcp_info`, in ms


class Timed(Protocol):
    """Something that has to end by a certain time."""

    def time_up(self) -> None:
        """Act on the end of its time."""
        ...


class Watch:
    """A watch that calls `time_up` on what is late, at most a tenth of a second after its time."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.now = self.loop.time
        self._due: dict[Timed, float] = {}
        self._ticking = False

    def add(self, timed: Timed, when: float) -> None:
        """Call `time_up` on *timed* when the loop's clock says *when*, unless that is infinite."""
        if when == inf:
            return
        self._due[timed] = when
        if not self._ticking:
            self._ticking = True
            self.loop.call_at(min(self.now() + TICK, when), self._look)

    def drop(self, timed: Timed) -> None:
        """Forget *timed*."""
        self._due.pop(timed, None)

    def _look(self) -> None:
        now = self.now()
        late = [timed for timed, when in self._due.items() if when <= now]
        for timed in late:
            self.drop(timed)
        self._ticking = bool(self._due)
        if self._ticking:
            self.loop.call_later(TICK, self._look)
        for timed in late:
            timed.time_up()


class Interrupted(Exception):
    """An error for the coroutine that waits for a reply; `failure` says why none will come."""

    def __init__(self, failure: Exception) -> None:
        super().__init__()
        self.failure = failure


class Wait:
    """The wait for the head of a reply, which may be silent for *silence*, and ends at *end*.

    Every byte ends a silence, even if a head comes in pieces. aiohttp would set its own timer
    again for each piece, which costs more than the rest of a wait.
    """

    __slots__ = ("_end", "_protocol", "_silence", "_transport", "_watch")

    def __init__(
        self,
        watch: Watch,
        protocol: "ResponseHandler",
        transport: asyncio.BaseTransport,
        silence: float,
        end: float,
    ) -> None:
        self._watch = watch
        self._protocol = protocol
        self._transport = transport
        self._silence = silence
        self._end = end

    def begin(self, now: float) -> None:
        """Begin to wait."""
        self._watch.add(self, min(now + self._silence, self._end))

    def over(self) -> None:
        """End the wait."""
        self._watch.drop(self)

    def time_up(self) -> None:
        """End the wait if it was too long or too silent; otherwise go on for what is left."""
        now = self._watch.now()
        if now >= self._end:
            self._interrupt(TimedOut("total"))
        elif (left := self._silence - _unheard(self._transport)) > 0:
            self._watch.add(self, min(now + left, self._end))
        else:
            self._interrupt(TimedOut("read"))

    def _interrupt(self, failure: TimedOut) -> None:
        self._protocol.set_exception(Interrupted(failure))  # read after the bytes that have come


def _unheard(transport: asyncio.BaseTransport) -> float:
    """The seconds since anything came, or a little more; infinite if the system does not say."""
    if sys.platform != "linux":
        return inf
    sock = transport.get_extra_info("socket")
    if sock is None:  # a transport that the caller made
        return inf
    try:
        info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _LAST_HEARD.stop)
    except OSError:  # closed in the meantime, or not TCP
        return inf
    return int.from_bytes(info[_LAST_HEARD], sys.byteorder) / 1000
