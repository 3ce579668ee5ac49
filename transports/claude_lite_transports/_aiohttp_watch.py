"""The time that attempts have to end by, watched by one timer a loop while there are any.

A timer of its own for every request costs more than all else that is done about time.
"""

import asyncio
import socket
import sys
from math import inf
from typing import TYPE_CHECKING, Final, Protocol

import aiohttp

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
        self._due: dict[Timed, float] = {}
        self._ticking = False

    def add(self, timed: Timed, seconds: float) -> None:
        """Tell *timed* in so many seconds that its time is up."""
        self._due[timed] = self._loop.time() + seconds
        if not self._ticking:
            self._ticking = True
            self._loop.call_later(min(TICK, seconds), self._look)

    def drop(self, timed: Timed) -> None:
        """Forget about *timed*."""
        self._due.pop(timed, None)

    def is_late(self, timed: Timed) -> bool:
        """Say whether the time of *timed* is up already."""
        return self._due.get(timed, inf) <= self._loop.time()

    def _look(self) -> None:
        now = self._loop.time()
        for timed in [each for each, when in self._due.items() if when <= now]:
            self.drop(timed)
            timed.time_up()
        self._ticking = bool(self._due)
        if self._ticking:
            self._loop.call_later(TICK, self._look)


class Silence:
    """A context in which nothing may come for so many seconds, though a head come in pieces.

    aiohttp's own timer is set anew by all that comes, which costs more than the rest of a wait.
    """

    __slots__ = ("_protocol", "_seconds", "_transport", "_watch")

    def __init__(
        self,
        watch: Watch,
        protocol: "ResponseHandler",
        transport: asyncio.BaseTransport,
        seconds: float | None,
    ) -> None:
        self._watch = watch
        self._protocol = protocol
        self._transport = transport
        self._seconds = seconds

    def __enter__(self) -> None:
        if self._seconds is not None:
            self._watch.add(self, self._seconds)

    def __exit__(self, *_: object) -> None:
        self._watch.drop(self)

    def time_up(self) -> None:
        """Look whether nothing has come, or how much of the silence is left."""
        left = (self._seconds or 0.0) - _unheard(self._transport)
        if left > 0:
            self._watch.add(self, left)
        elif not self._protocol._buffer:  # noqa: SLF001  # a head that came while the loop was held
            self._protocol.set_exception(aiohttp.SocketTimeoutError())


def _unheard(transport: asyncio.BaseTransport) -> float:
    """The seconds since anything came, not much more; forever, where the system does not say."""
    if sys.platform != "linux":
        return inf
    try:
        info = transport.get_extra_info("socket").getsockopt(
            socket.IPPROTO_TCP, socket.TCP_INFO, _LAST_HEARD.stop
        )
    except OSError:  # closed meanwhile, or no TCP
        return inf
    return int.from_bytes(info[_LAST_HEARD], sys.byteorder) / 1000
