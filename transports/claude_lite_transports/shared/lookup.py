"""The addresses of a host: looked up in threads that a call need not wait for, and put in order.

Nothing can interrupt the system's resolver. A call whose time is up leaves its lookup alone; the
thread ends when the resolver returns, and keeps neither the process nor an event loop from ending.
Calls that want the same address at the same time share a lookup, and the threads are bounded.

The address that has worked is remembered for some minutes, and is tried first (RFC 8305).
"""

import os
import socket
import threading
from collections import deque
from concurrent.futures import Future
from itertools import chain, zip_longest
from time import monotonic
from typing import Any, Final

Address = tuple[Any, ...]
"""An address as `socket.getaddrinfo` has it."""

Found = list[Address] | Exception
"""The addresses, or what the resolver has raised: a value, so that nobody's traceback is in it."""

HEAD_START: Final = 0.25  # seconds before the next address is tried beside the last (RFC 8305)

_MOST: Final = 16
_FRESH: Final = 5.0  # seconds for which a lookup is shared: it may hang
_REMEMBERED: Final = 600.0
_MANY: Final = 256

_Key = tuple[str, int]


class _Lookups:
    """The lookups of one process."""

    def __init__(self) -> None:
        self._lock = threading.RLock()  # a signal handler may call
        self._threads = 0
        self._waiting: deque[tuple[_Key, Future[Found]]] = deque()
        self._fresh: dict[_Key, tuple[float, Future[Found]]] = {}

    def start(self, key: _Key) -> "Future[Found]":
        with self._lock:
            began, future = self._fresh.get(key, (0.0, None))
            if future is not None and not future.done() and monotonic() - began < _FRESH:
                return future
            future = Future()
            future.set_running_or_notify_cancel()  # who is cancelled cancels it for nobody else
            self._fresh[key] = monotonic(), future
            self._waiting.append((key, future))
            if self._threads >= _MOST:
                return future
            self._threads += 1
        try:
            threading.Thread(target=self._work, name="claude-lite-lookup", daemon=True).start()
        except RuntimeError:  # the interpreter is about to end, or the system has no thread left
            self._work()
        return future

    def _work(self) -> None:
        while True:
            with self._lock:
                if not self._waiting:
                    self._threads -= 1
                    return
                key, future = self._waiting.popleft()
            found = _ask(key)
            with self._lock:
                if self._fresh.get(key, (0.0, None))[1] is future:
                    del self._fresh[key]
            future.set_result(found)
            del found, future


_by_process: dict[int, _Lookups] = {}
_worked: dict[_Key, tuple[Address, float]] = {}


def _ask(key: _Key) -> Found:
    try:
        return list(socket.getaddrinfo(*key, type=socket.SOCK_STREAM))
    except Exception as error:  # noqa: BLE001  # it is handed to whoever waits
        error.__context__ = error.__cause__ = None
        return error.with_traceback(None)


def _numeric(host: str, port: int) -> Found | None:
    for family, rest in ((socket.AF_INET, ()), (socket.AF_INET6, (0, 0))):
        try:
            socket.inet_pton(family, host)
        except (OSError, ValueError):  # ValueError: a NUL, or beyond ASCII
            continue
        return [(family, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (host, port, *rest))]
    return None


def look_up(host: str, port: int) -> "Found | Future[Found]":
    """Return the addresses of a host, or a future of them, which must not be cancelled.

    An IP address is its own address: no thread is needed. A lookup that fails gives its exception
    as a value.
    """
    pid = os.getpid()
    lookups = _by_process.get(pid) or _by_process.setdefault(pid, _Lookups())
    return _numeric(host, port) or lookups.start((host, port))


def no_address(host: str, found: Found) -> str:
    """Say that there is no address."""
    reason = getattr(found, "strerror", None)
    return f"no address for {host}: {reason}" if reason else f"no address for {host}"


def in_order(host: str, port: int, found: list[Address]) -> list[Address]:
    """Put addresses in the order to try them: families in turn, what has worked first."""
    if len(found) < 2:  # noqa: PLR2004  # there is nothing to put in order
        return found
    families: dict[int, list[Address]] = {}
    for address in found:
        families.setdefault(address[0], []).append(address)
    ordered = [address for address in chain(*zip_longest(*families.values())) if address]
    worked, until = _worked.get((host, port), (None, 0.0))
    for address in ordered:
        if address[4][:2] == worked and monotonic() < until:
            return [address, *(other for other in ordered if other is not address)]
    return ordered


def remember(host: str, port: int, where: Address, tried: Address) -> None:
    """Remember the address *where* that has worked, unless it is the one that was *tried* first."""
    if tried[:2] != where[:2]:
        if len(_worked) >= _MANY:
            _worked.clear()
        _worked[host, port] = where[:2], monotonic() + _REMEMBERED
