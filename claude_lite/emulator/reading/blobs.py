"""Bytes that may be too many to hold: in memory while they are few, else in a temporary file.

A `Spool` takes them as they come. The `Blob` that it becomes can be read from any place and by
any number of threads, and be cut without being copied. The file has no name: it is gone when
nobody refers to it any more, however the process ends.
"""

import os
import tempfile
import weakref
from collections.abc import Iterator
from typing import IO, Final

from attrs import frozen

from claude_lite.wire import BodySource

KEPT_IN_MEMORY: Final = 256 * 1024  # bytes that are not worth a file
READ_SIZE: Final = 256 * 1024


class _Disk:
    """A temporary file, read without a position, for threads share it; closed with the last."""

    def __init__(self) -> None:
        self.file: IO[bytes] = tempfile.TemporaryFile(buffering=READ_SIZE)  # noqa: SIM115  # see below
        weakref.finalize(self, self.file.close)

    def read(self, start: int, size: int) -> bytes:
        return os.pread(self.file.fileno(), size, start)


@frozen
class Blob:
    """A piece of what was spooled: a `claude_lite.wire.BodySource` that can be read anywhere."""

    _store: bytes | _Disk
    _start: int
    size: int

    @classmethod
    def of(cls, source: bytes | BodySource) -> "Blob":
        """Keep what *source* has; a blob is as good as its own copy."""
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
        """Return *size* bytes from *start* on: fewer at the end, all that follow for None."""
        left = max(0, self.size - start)
        size = left if size is None else min(size, left)
        if isinstance(self._store, bytes):
            return self._store[self._start + start : self._start + start + size]
        return self._store.read(self._start + start, size)

    def find(self, needle: bytes, start: int = 0) -> int:
        """Say where *needle* is first, from *start* on; -1 if nowhere."""
        overlap = len(needle) - 1
        for place in range(start, self.size, READ_SIZE):
            found = self.read(place, READ_SIZE + overlap).find(needle)
            if found >= 0:
                return place + found
        return -1

    def cut(self, start: int, stop: int) -> "Blob":
        """Return the part from *start* to *stop*, which shares the bytes."""
        return Blob(self._store, self._start + start, stop - start)


class Spool:
    """Where bytes are put as they come: in memory up to *kept* of them, beyond that all on disk."""

    def __init__(self, kept: int = KEPT_IN_MEMORY) -> None:
        self.size = 0
        self._kept = kept
        self._pieces: list[bytes] = []
        self._disk: _Disk | None = None

    def write(self, data: bytes) -> int:
        """Take some bytes, as a file's `write` does."""
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
        """Do nothing: for those who expect a file."""

    def close(self) -> None:
        """Do nothing: what it became goes with the last who reads it."""

    def blob(self) -> Blob:
        """Return what was written; nothing may be written after that."""
        if self._disk is None:
            return Blob(b"".join(self._pieces), 0, self.size)
        self._disk.file.flush()
        return Blob(self._disk, 0, self.size)
