"""Idle blocking connections, kept for the next request of the same process to the same server.

There is no lock: if a process forked while another thread held it, the child would have a lock
that nothing releases. The operations of `dict` and `deque` that are used here are atomic.
"""

import os
from collections import deque
from contextlib import suppress
from socket import socket
from time import monotonic
from typing import NamedTuple

from claude_lite_transports.shared.dial import Way, ready
from claude_lite_transports.shared.hints import idle_time
from claude_lite_transports.shared.http1 import ReplyParser


class Kept(NamedTuple):
    """An idle connection: since when it is idle, until when it can be used, and its replies."""

    sock: socket
    since: float
    until: float
    replies: int


class Idle:
    """A stack per way to a server, of up to *size* connections, each kept *keepalive* seconds.

    A forked child never takes a connection of its parent, and never looks at one.
    """

    def __init__(self, size: int, keepalive: float) -> None:
        self._size = size
        self._keepalive = keepalive
        self._stacks: dict[tuple[int, Way], deque[Kept]] = {}
        self.epoch = 0
        """Counts the calls of `close`: what was taken before is not kept any more."""

    def take(self, way: Way) -> tuple[socket, int] | None:
        """Take the usable connection that was idle for the shortest time, if there is one.

        Returns it with the number of replies that it has carried.

        A connection with something to read is not usable: the server has closed it, or has sent
        what was not asked for.
        """
        stack = self._stacks.get((os.getpid(), way))
        while stack:
            with suppress(IndexError):  # another thread was faster
                sock, _, until, replies = stack.pop()
                if until > monotonic() and not any(ready(sock, 0, write=False)):
                    return sock, replies
                sock.close()
        return None

    def keep(self, way: Way, sock: socket, reply: ReplyParser, replies: int, epoch: int) -> None:
        """Keep a connection; close those that are too old or too many.

        Args:
            way: Where the connection leads to.
            sock: The connection.
            reply: The reply that has come last.
            replies: How many replies have come.
            epoch: The epoch in which the request was made.

        """
        now = monotonic()
        seconds = idle_time(reply.status, reply.headers, replies, self._keepalive)
        if not seconds:
            sock.close()
            return
        stack = self._stacks.setdefault((os.getpid(), way), deque())
        stack.append(Kept(sock, now, now + seconds, replies))
        with suppress(IndexError):
            while len(stack) > self._size or stack[0].until <= now:
                stack.popleft().sock.close()
        if epoch != self.epoch:  # looked at last, as another thread may just close all
            _empty(stack)

    def idle(self) -> int:
        """Count the idle connections of this process."""
        return sum(map(len, self._here()))

    def close_oldest(self, number: int) -> None:
        """Close some idle connections, those that were idle for the longest time first."""
        for _ in range(number):
            with suppress(IndexError):  # another thread was faster
                oldest = min(filter(None, self._here()), key=lambda stack: stack[0].since)
                oldest.popleft().sock.close()

    def _here(self) -> list[deque[Kept]]:
        return [stack for (pid, _), stack in list(self._stacks.items()) if pid == os.getpid()]

    def close(self) -> None:
        """Close all idle connections of this process; those in use are not kept any more."""
        self.epoch += 1
        for stack in self._here():
            _empty(stack)

    def end(self) -> None:
        """Close all connections for good, inherited ones too.

        No TLS goodbye is sent, so the parent can go on using its own copy. At exit daemon threads
        may still be at work: the connections that they bring back are closed, too.
        """
        self._size = 0
        for stack in list(self._stacks.values()):
            _empty(stack)


def _empty(stack: deque[Kept]) -> None:
    while stack:
        with suppress(IndexError):  # another thread was faster
            stack.pop().sock.close()
