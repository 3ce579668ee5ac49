"""Idle blocking connections, kept for the next request of the same process to the same server.

There is no lock: if a process forked while another thread held it, the child would have a lock
that nothing releases. The operations of `dict` and `deque` that are used here are atomic.
"""

import os
from collections import deque
from contextlib import suppress
from socket import socket
from time import monotonic

from claude_lite_transports.shared.dial import Way, ready


class Idle:
    """A stack per way to a server, of up to *size* connections, each kept *keepalive* seconds.

    A forked child never takes a connection of its parent, and never looks at one.
    """

    def __init__(self, size: int, keepalive: float) -> None:
        self._size = size
        self._keepalive = keepalive
        self._stacks: dict[tuple[int, Way], deque[tuple[socket, float]]] = {}

    def take(self, way: Way) -> socket | None:
        """Take the usable connection that was idle for the shortest time, if there is one.

        A connection with something to read is not usable: the server has closed it, or has sent
        what was not asked for.
        """
        stack = self._stacks.get((os.getpid(), way))
        while stack:
            with suppress(IndexError):  # another thread was faster
                sock, until = stack.pop()
                if until > monotonic() and not any(ready(sock, 0, write=False)):
                    return sock
                sock.close()
        return None

    def keep(self, way: Way, sock: socket) -> None:
        """Keep a connection; close those that are too old or too many."""
        now = monotonic()
        stack = self._stacks.setdefault((os.getpid(), way), deque())
        stack.append((sock, now + self._keepalive))
        with suppress(IndexError):
            while len(stack) > self._size or stack[0][1] <= now:
                stack.popleft()[0].close()

    def close(self) -> None:
        """Close all idle connections of this process."""
        for (pid, _), stack in list(self._stacks.items()):
            if pid == os.getpid():
                _empty(stack)

    def end(self) -> None:
        """Close all connections for good, inherited ones too.

        No TLS goodbye is sent, so the parent can go on using its own copy. At exit daemon threads
        may still be at work: the connections that they bring back are closed, too.
        """
        self._size = 0
        for stack in list(self._stacks.values()):
            _empty(stack)


def _empty(stack: deque[tuple[socket, float]]) -> None:
    while stack:
        with suppress(IndexError):  # another thread was faster
            stack.pop()[0].close()
