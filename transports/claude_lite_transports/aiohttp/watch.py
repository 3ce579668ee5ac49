"""The time that attempts have to end by, watched by one timer a loop while there are any.

A timer of its own for every request costs more than all else that is done about time.
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
_LAST_HEARD: Final = slice(52, 56)  # of Linux's `struct tcp_info`, in milliseconds


class Timed(Protocol):
    """Something that has to end in time."""

    def time_up(self) -> None:
        """Its time has passed."""
        ...


class Watch:
    """Ends what is late, a tenth of a second after its time at most."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.now = self._loop.time
        self._due: dict[Timed, float] = {}
        self._ticking = False

    def add(self, timed: Timed, when: float) -> None:
        """Tell *timed* that its time is up when the loop's clock says *when*, if ever."""
        if when == inf:
            return
        self._due[timed] = when
        if not self._ticking:
            self._ticking = True
            self._loop.call_at(min(self.now() + TICK, when), self._look)

    def drop(self, timed: Timed) -> None:
        """Forget about *timed*."""
        self._due.pop(timed, None)

    def _look(self) -> None:
        now = self.now()
        late = [timed for timed, when in self._due.items() if when <= now]
        for timed in late:
            self.drop(timed)
        self._ticking = bool(self._due)
        if self._ticking:
            self._loop.call_later(TICK, self._look)
        for timed in late:
            timed.time_up()


class Interrupted(Exception):
    """Tells the coroutine that waits for a reply why it waits in vain."""

    def __init__(self, failure: Exception) -> None:
        super().__init__()
        self.failure = failure


class Wait:
    """The wait for the head of a reply: for so long there may be silence, and then is the end.

    Silence ends with all that comes, though a head come in pieces. aiohttp's own timer is set
    anew by each of them, which costs more than the rest of a wait.
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
        """Listen from now on."""
        self._watch.add(self, min(now + self._silence, self._end))

    def over(self) -> None:
        """Listen no longer."""
        self._watch.drop(self)

    def time_up(self) -> None:
        """Look whether it is the end, or nothing has come, or how much of the silence is left."""
        now = self._watch.now()
        if now >= self._end:
            self._interrupt(TimedOut("total"))
        elif (left := self._silence - _unheard(self._transport)) > 0:
            self._watch.add(self, min(now + left, self._end))
        else:
            self._interrupt(TimedOut("read"))

    def _interrupt(self, failure: TimedOut) -> None:
        self._protocol.set_exception(Interrupted(failure))  # what has come is read before it


def _unheard(transport: asyncio.BaseTransport) -> float:
    """The seconds since anything came, not much more; forever, where the system does not say."""
    if sys.platform != "linux":
        return inf
    sock = transport.get_extra_info("socket")
    if sock is None:  # of a caller's own making
        return inf
    try:
        info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _LAST_HEARD.stop)
    except OSError:  # closed meanwhile, or no TCP
        return inf
    return int.from_bytes(info[_LAST_HEARD], sys.byteorder) / 1000
