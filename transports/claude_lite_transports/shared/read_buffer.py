"""What the connections of an event loop are read into: one buffer, emptied before it is lent again.

asyncio itself would allocate four times as much for every read, which costs more than reading.
"""

from typing import Final

_SIZE: Final = 64 * 1024
_MORE: Final = 32 * 1024  # than two records of TLS


class ReadBuffer:
    """To be lent to an `asyncio.BufferedProtocol`, and asked at once for what has come."""

    __slots__ = ("_lent", "_own")

    def __init__(self) -> None:
        self._own = self._lent = memoryview(bytearray(_SIZE))

    def lend(self, undecrypted: int) -> memoryview:
        """Lend more than those bytes can fill, of which TLS has so many; of a socket any number.

        asyncio's TLS looks for more only later where a read fills what it was lent, and if the
        peer has hung up by then the rest is lost.
        """
        room = undecrypted + _MORE
        self._lent = self._own if room <= _SIZE else memoryview(bytearray(room))
        return self._lent

    def read(self, nbytes: int) -> memoryview:
        """What has come; it is gone once the buffer is lent again."""
        lent, self._lent = self._lent, self._own
        return lent[:nbytes]
