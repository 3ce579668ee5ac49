"""Bytes of any number: in memory up to a limit, beyond the limit in a temporary file.

A `Spool` takes bytes as they arrive and becomes a `Blob`. A blob can be read from any position
and by any number of threads, and can be cut without a copy. The temporary file has no name, so
the system deletes it after its last use, however the process ends.
"""

import os
import tempfile
import weakref
from collections.abc import Iterator
from typing import IO, Final

from attrs import frozen

from claude_lite.wire import BodySource

KEPT_IN_MEMORY: Final = 256 * 1024  # bytes; a spool with more of them goes to a file
READ_SIZE: Final = 256 * 1024  # bytes


class _Disk:
    """A temporary file, closed after its last use. Reads give a position, as threads share it."""

    def __init__(self) -> None:
        self.file: IO[bytes] = tempfile.TemporaryFile(buffering=READ_SIZE)  # noqa: SIM115  # the finalizer closes it
        weakref.finalize(self, self.file.close)

    def read(self, start: int, size: int) -> bytes:
        return os.pread(self.file.fileno(), size, start)


@frozen
class Blob:
    """A piece of spooled bytes: a `claude_lite.wire.BodySource` that can be read anywhere."""

    _store: bytes | _Disk
    _start: int
    size: int

    @classmethod
    def of(cls, source: bytes | BodySource) -> "Blob":
        """Keep the bytes of *source*; a blob is returned as it is."""
        if isinstance(source, cls):
            return source
        spool = Spool()
        for piece in (source,) if isinstance(source, bytes) else source:
            spool.write(piece)
        return spool.blob()

    def __iter__(self) -> Iterator[bytes]:
        for start in range(0, self.size, READ_SIZE):
            yield self.read(start, READ_SIZE)

    def read(self, start: int = 0, size: int | None = None) -> bytes:
        """Return *size* bytes from *start* on, fewer at the end; None returns all that follow."""
        left = max(0, self.size - start)
        size = left if size is None else min(size, left)
        if isinstance(self._store, bytes):
            return self._store[self._start + start : self._start + start + size]
        return self._store.read(self._start + start, size)

    def find(self, needle: bytes, start: int = 0) -> int:
        """Return the first position of *needle* from *start* on; -1 if there is none."""
        overlap = len(needle) - 1
        for place in range(start, self.size, READ_SIZE):
            found = self.read(place, READ_SIZE + overlap).find(needle)
            if found >= 0:
                return place + found
        return -1

    def cut(self, start: int, stop: int) -> "Blob":
        """Return the bytes from *start* to *stop* as a blob, without a copy."""
        return Blob(self._store, self._start + start, stop - start)


class Spool:
    """Takes bytes as they arrive. More than *kept* bytes are all on disk."""

    def __init__(self, kept: int = KEPT_IN_MEMORY) -> None:
        self.size = 0
        self._kept = kept
        self._pieces: list[bytes] = []
        self._disk: _Disk | None = None

    def write(self, data: bytes) -> int:
        """Take bytes, as a file's `write` does."""
        self.size += len(data)
        if self._disk is not None:
            return self._disk.file.write(data)
        self._pieces.append(data)
        if self.size > self._kept:
            self._disk = _Disk()
            self._disk.file.writelines(self._pieces)
            self._pieces.clear()
        return len(data)

    def flush(self) -> None:
        """Do nothing: callers that expect a file call this."""

    def close(self) -> None:
        """Do nothing: the blob closes the file."""

    def blob(self) -> Blob:
        """Return the written bytes as a blob; call `write` no more after this."""
        if self._disk is None:
            return Blob(b"".join(self._pieces), 0, self.size)
        self._disk.file.flush()
        return Blob(self._disk, 0, self.size)
