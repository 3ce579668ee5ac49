"""A TCP socket with the options that all transports want: sent at once, and kept alive.

It is not connected here. The probes find a peer that is gone while a long answer is awaited,
and they keep the connection known to the routers in between, which forget silent ones.
"""

# The look-up of a name imports the first two modules. They are imported here, because a call must
# not import (`claude_lite.client.link` says why).
import concurrent.futures.thread  # noqa: F401
import encodings.idna  # noqa: F401
import socket
from typing import Final

_OPTIONS: Final = [
    (getattr(socket, level), getattr(socket, name), value)
    for level, name, value in (
        ("IPPROTO_TCP", "TCP_NODELAY", 1),
        ("SOL_SOCKET", "SO_KEEPALIVE", 1),
        ("IPPROTO_TCP", "TCP_KEEPIDLE", 60),  # Linux
        ("IPPROTO_TCP", "TCP_KEEPALIVE", 60),  # the same on macOS
        ("IPPROTO_TCP", "TCP_KEEPINTVL", 60),
        ("IPPROTO_TCP", "TCP_KEEPCNT", 5),
    )
    if hasattr(socket, name)
]


def tcp_socket(family: int, kind: int, protocol: int) -> socket.socket:
    """Make a socket; raises `OSError` if the system does not take an option."""
    made = socket.socket(family, kind, protocol)
    try:
        for level, name, value in _OPTIONS:
            made.setsockopt(level, name, value)
    except BaseException:
        made.close()
        raise
    return made
