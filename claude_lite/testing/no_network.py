"""Prove that a piece of code makes no connection: each attempt fails and is reported.

    with assert_no_network():
        service.answer("Hello")

The guard listens to Python's audit events and patches nothing. So it sees all sockets that
Python makes in this process, in every thread and library. It does not see connections that are
open already, other processes, extensions that call the system themselves (uvloop, libcurl,
gRPC), and Unix domain sockets, which are not network.
"""

import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from ipaddress import ip_address
from typing import Any, Final

_INTERNET: Final = (socket.AF_INET, socket.AF_INET6)


@contextmanager
def assert_no_network(*, allow_loopback: bool = False) -> Iterator[None]:
    """Make new connections, datagrams and look-ups of names fail in this process.

    Args:
        allow_loopback: Allow connections to this machine.

    Raises:
        NetworkUsed: Code in the block tried to use the network. The error is raised at the
            attempt, and again when the block ends, even if the code caught the first error.

    """
    guard = _Guard(allow_loopback=allow_loopback)
    with _lock:
        if not _guards:
            _listen()
        _guards.append(guard)
    with ExitStack() as stack:
        stack.push(guard.judge)
        stack.callback(_guards.remove, guard)
        yield


class NetworkUsed(AssertionError, OSError):
    """Code tried to use the network. It is an `OSError`, so that the code cleans up as usual."""


class _Guard:
    """One block, and the attempts that were made in it."""

    def __init__(self, *, allow_loopback: bool) -> None:
        self._allow_loopback = allow_loopback
        self.tried: list[str] = []

    def refuse(self, what: str, host: str) -> None:
        if not (self._allow_loopback and _is_loopback(host)):
            self.tried.append(f"{what} {host}")
            raise NetworkUsed(f"network use is not allowed in this block: {what} {host}")

    def judge(self, _: object, error: BaseException | None, __: object) -> None:
        """Raise at the end of the block if the network was used."""
        if self.tried:
            raise NetworkUsed(f"the network was used: {', '.join(self.tried)}") from error


_guards: Final[list[_Guard]] = []
_lock: Final = threading.Lock()
_listening: Final[list[bool]] = []


def _listen() -> None:
    """Start to listen, once per process: an audit hook cannot be removed."""
    if not _listening:
        _listening.append(True)
        sys.addaudithook(_heard)


def _heard(event: str, args: tuple[Any, ...]) -> None:
    if not _guards or not event.startswith("socket."):
        return
    if event in {"socket.connect", "socket.sendto", "socket.sendmsg"}:
        used, address = args
        if used.family not in _INTERNET or not address:
            return
        what, host = event.removeprefix("socket."), str(address[0])
    elif event == "socket.getaddrinfo" and args[0] and not _is_address(args[0]):
        what, host = "look-up of", _text(args[0])
    else:
        return
    for guard in tuple(_guards):
        guard.refuse(what, host)


vars(_heard)["__cantrace__"] = True  # without this, debuggers and coverage cannot trace it


def _text(host: str | bytes) -> str:
    return host.decode(errors="replace") if isinstance(host, bytes) else host


def _is_address(host: str | bytes) -> bool:
    try:
        ip_address(_text(host).partition("%")[0])
    except ValueError:
        return False
    return True


def _is_loopback(host: str) -> bool:
    return host == "localhost" or (
        _is_address(host) and ip_address(host.partition("%")[0]).is_loopback
    )
