"""What a server says about how long its connection can be used again.

`Keep-Alive: timeout=5, max=100`: the server closes the connection after five idle seconds, and
after a hundred replies. A request that is sent as the server closes may be lost, so a connection
is given up early.
"""

import re
from collections.abc import Mapping
from typing import Final

_TIMEOUT: Final = re.compile(r"(?:^|[,;\s])timeout\s*=\s*\"?([0-9]{1,9})(?![0-9])", re.IGNORECASE)
_MAX: Final = re.compile(r"(?:^|[,;\s])max\s*=\s*\"?([0-9]{1,9})(?![0-9])", re.IGNORECASE)
_MARGIN: Final = 1.0  # seconds before the server closes it; half of the time if that is less

NOT_AGAIN: Final = frozenset({408, 421})
"""After these, another request needs another connection (RFC 9110, sections 15.5.9, 15.5.20)."""


KEEP_ALIVE: Final = "keep-alive"
"""The name of the header with the hints."""


def idle_time(status: int, headers: Mapping[str, str], replies: int, longest: float) -> float:
    """Return the seconds for which a connection may be kept idle, 0 if it must not be kept.

    Args:
        status: Of the reply that has come last.
        headers: Of this reply.
        replies: How many replies have come on the connection.
        longest: The seconds that the transport allows.

    """
    if status in NOT_AGAIN:
        return 0.0
    hint = headers.get(KEEP_ALIVE)
    if hint is None:
        return longest
    most, timeout = _MAX.search(hint), _TIMEOUT.search(hint)
    if most is not None and replies >= int(most[1]):
        return 0.0
    if timeout is None:
        return longest
    seconds = float(timeout[1])
    return min(longest, max(seconds - _MARGIN, seconds / 2))
