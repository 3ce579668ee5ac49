"""A file that appears only when it is complete: it is written beside its place, then moved."""

import os
import secrets
from pathlib import Path
from types import TracebackType
from typing import Self

from claude_lite.errors import UsageError


class AtomicFile:
    """The file *path* while it is being downloaded: a context manager.

    If the context ends with an exception, no file appears. A file that exists is replaced only
    with *overwrite*; of a link, the link is replaced, and never its target.
    """

    def __init__(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        self.path = Path(path)
        self.size = 0
        self._overwrite = overwrite
        # The name is random: the name of the file may already be as long as names can be.
        self._partial = self.path.parent / f".{secrets.token_hex(8)}.part"

    def __enter__(self) -> Self:
        self._check()
        try:
            self._file = self._partial.open("xb")
        except OSError as error:
            raise UsageError(f"{self.path} cannot be written: {error.strerror}") from None
        return self

    def _check(self) -> None:
        try:
            self.path.lstat()
        except FileNotFoundError:
            return
        except ValueError:  # NUL, or half a surrogate pair
            raise UsageError(
                f"{str(self.path)!r} cannot be the path of a file: it has a NUL or half a character"
            ) from None
        except OSError as error:
            raise UsageError(f"{self.path} cannot be written: {error.strerror}") from None
        if not self._overwrite:
            raise UsageError(f"the file {self.path} exists: overwrite=True replaces it")

    def write(self, piece: bytes) -> None:
        """Add a piece. Raises `OSError` if the disk does not take it."""
        self.size += self._file.write(piece)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            self._file.close()
            if kind is None:
                self._check()  # another process may have made the file meanwhile
                self._partial.replace(self.path)
        except OSError as failure:
            if kind is None:
                raise UsageError(f"{self.path} cannot be written: {failure.strerror}") from None
        finally:
            self._partial.unlink(missing_ok=True)
