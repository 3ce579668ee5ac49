"""Places for connections: how many a transport may have open, and who is next.

A call takes a place before it looks for a connection, and gives the place back when the reply is
over. Without a free place it waits in a queue, first come, first served. Idle connections hold no
place; the oldest of them are closed where they and the calls would be too many together.

All threads and event loops of a process share the places of a transport. A forked child has places
of its own, since its parent's lock may be held, and its parent's queue is not its queue.
"""

import os
import sys
import threading
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from errno import EMFILE, ENFILE
from typing import Any, Final, Protocol
from weakref import ref

from claude_lite.errors import ConnectTimedOut

if sys.platform != "win32":  # Windows has no such limit
    import resource

_UNLIMITED: Final = 20_000
_FEWEST: Final = 8
_SPARE: Final = 8

_Turn = Callable[[], Any]
"""What is called when a place has come; it raises `RuntimeError` if nobody is there to take it."""


_forks = 0
"""How often this process and its parents have forked: cheaper to look at than `os.getpid()`."""


def _forked() -> None:
    global _forks  # noqa: PLW0603  # there is one number per process
    _forks += 1


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


def default_most() -> int:
    """Return half of the descriptors that the process may still open.

    The other half is left to the program: its files, its own server, and the second address
    of a host that is tried beside the first.
    """
    if sys.platform == "win32":
        return _UNLIMITED
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if not 0 <= soft < 2 * _UNLIMITED:  # it may be unlimited
        return _UNLIMITED
    used = soft
    with suppress(OSError):  # there may be no descriptor for this, either
        used = sum(1 for _ in os.scandir("/dev/fd"))
    return max(_FEWEST, (soft - used) // 2 - _SPARE)


def advice_for(error: OSError) -> str | None:
    """Return what to do about an error of the system, if the process has no descriptor left."""
    if error.errno not in (EMFILE, ENFILE):
        return None
    return (
        "Raise the limit on open files (`ulimit -n`), or lower the option `max_connections` of the "
        "transport."
    )


class HoldsIdle(Protocol):
    """An owner of idle connections."""

    def idle(self) -> int:
        """Count the idle connections."""
        ...

    def close_oldest(self, number: int) -> None:
        """Close some idle connections, those that were idle for the longest time first."""
        ...


class Places:
    """The places of a transport in one process, of which at most `most` are taken at a time.

    Who gives a place back does so first, and then looks whether somebody waits; who begins to wait
    joins the queue first, and then looks for a place. One of the two sees the other, so that a call
    that need not wait needs no lock. The operations of `list` that are used here are atomic.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._free: list[None] = [None] * most
        self._owners: list[ref[HoldsIdle]] = []
        self._forks = _forks
        # Reentrant: a finalizer that gives a place back may run while this thread has the lock.
        self._lock = threading.RLock()
        self._waiting: OrderedDict[_Turn, None] = OrderedDict()

    def take(self) -> bool:
        """Take a place if one is free and nobody waits."""
        if not self._free or self._waiting:
            return False
        try:
            self._free.pop()
        except IndexError:  # another thread was faster
            return False
        return True

    def queue(self, turn: _Turn) -> None:
        """Stand in the queue: *turn* is called, in any thread, as soon as a place has come."""
        with self._lock:
            self._waiting[turn] = None
        self._serve()

    def leave(self, turn: _Turn) -> None:
        """Give up: leave the queue, or give on the place that has come in the meantime."""
        if not self.withdraw(turn):
            self.give()

    def withdraw(self, turn: _Turn) -> bool:
        """Leave the queue; False if *turn* has been called."""
        with self._lock:
            waited = turn in self._waiting
            self._waiting.pop(turn, None)
        return waited

    def wait(self, seconds: float | None) -> bool:
        """Block this thread until it has a place; False if none came in time."""
        if self.take():
            return True
        came = False
        gate = threading.Lock()
        gate.acquire()
        turn = gate.release
        self.queue(turn)
        try:
            longest = -1 if seconds is None else min(max(0.0, seconds), threading.TIMEOUT_MAX)
            came = gate.acquire(timeout=longest)
        finally:
            if not came:
                self.leave(turn)
        return came

    def give(self) -> None:
        """Give a place back, to the first who waits. Does nothing in a forked child."""
        if self._forks == _forks:
            self._free.append(None)
            if self._waiting:
                self._serve()

    def _serve(self) -> None:
        with self._lock:
            while self._waiting and self._free:
                try:
                    self._free.pop()
                except IndexError:  # another thread was faster
                    return
                turn, _ = self._waiting.popitem(last=False)
                try:
                    turn()
                except RuntimeError:  # its event loop is closed
                    self._free.append(None)

    def add(self, owner: HoldsIdle) -> None:
        """Count the idle connections of *owner*, for as long as it lives."""
        with self._lock:
            living = [known for known in self._owners if known() is not None]
            self._owners = [*living, ref(owner)]

    def make_room(self, mine: HoldsIdle) -> None:
        """Close idle connections, *mine* first, if another connection would be one too many."""
        owners = [owner for known in self._owners if (owner := known()) is not None]
        over = sum(owner.idle() for owner in owners) - len(self._free)
        for owner in (mine, *owners):
            if over <= 0:
                return
            closed = min(over, owner.idle())
            owner.close_oldest(closed)
            over -= closed

    def too_late(self) -> ConnectTimedOut:
        """The error for a call whose time is up before its turn has come."""
        return ConnectTimedOut(
            "total",
            f"all {self.most} connections of the transport were in use for longer than the option "
            "`deadline` allows",
            advice="Call less at once, or raise the transport's option `max_connections`.",
        )


class PlacesByProcess:
    """The places of a transport in each process that uses it, made when they are first needed."""

    def __init__(self, most: int | None) -> None:
        self._most = most
        self._made: dict[int, Places] = {}

    def here(self, owner: HoldsIdle | None = None) -> Places:
        """The places in this process; new ones count the idle connections of *owner*, too."""
        places = self._made.get(_forks)
        if places is None:
            made = Places(default_most() if self._most is None else self._most)
            if owner is not None:
                made.add(owner)
            places = self._made.setdefault(_forks, made)
        return places
