"""Prove that a piece of code makes no connection: whoever tries fails, and is told of.

    with assert_no_network():
        service.answer("Hello")

Python's audit events are listened to, so that every socket of this process is seen, in every
thread and library that uses Python's sockets, and nothing is patched. What is not seen:
connections that are open already, other processes, extensions that talk to the system
themselves (uvloop, libcurl, gRPC), and sockets of the Unix domain, which are no network.
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

    Each raises `NetworkUsed` where it is tried, and leaving the block raises it again, whatever
    became of the first. *allow_loopback* lets through what goes to this machine.
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
    """Somebody tried to. As an `OSError` it makes whoever tried clean up."""


class _Guard:
    """One block, and what was tried while it lasted."""

    def __init__(self, *, allow_loopback: bool) -> None:
        self._allow_loopback = allow_loopback
        self.tried: list[str] = []

    def refuse(self, what: str, host: str) -> None:
        if not (self._allow_loopback and _is_loopback(host)):
            self.tried.append(f"{what} {host}")
            raise NetworkUsed(f"no network is to be used here: {what} {host}")

    def judge(self, _: object, error: BaseException | None, __: object) -> None:
        """Leave the block."""
        if self.tried:
            raise NetworkUsed(f"the network was used: {', '.join(self.tried)}") from error


_guards: Final[list[_Guard]] = []
_lock: Final = threading.Lock()
_listening: Final[list[bool]] = []


def _listen() -> None:
    """Begin to listen, once: an audit hook cannot be taken back."""
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


vars(_heard)["__cantrace__"] = True  # or neither debuggers nor coverage could follow it


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
