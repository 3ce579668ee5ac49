"""One buffer that all connections of an event loop read into; it is emptied after each read.

asyncio by itself would allocate four times as much for every read, which costs more than the read.
"""

from typing import Final

_SIZE: Final = 64 * 1024
_MORE: Final = 32 * 1024  # more than two records of TLS


class ReadBuffer:
    """A buffer that an `asyncio.BufferedProtocol` borrows, and empties at once."""

    __slots__ = ("_lent", "_own")

    def __init__(self) -> None:
        self._own = self._lent = memoryview(bytearray(_SIZE))

    def lend(self, undecrypted: int) -> memoryview:
        """Lend more room than *undecrypted* bytes need: those that TLS has; -1 for a socket.

        If a read fills the whole buffer, asyncio's TLS looks for more only later, and if the peer
        has hung up by then, the rest is lost.
        """
        room = undecrypted + _MORE
        self._lent = self._own if room <= _SIZE else memoryview(bytearray(room))
        return self._lent

    def read(self, nbytes: int) -> memoryview:
        """The bytes that were read; they are overwritten when the buffer is lent again."""
        lent, self._lent = self._lent, self._own
        return lent[:nbytes]
