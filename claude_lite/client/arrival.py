"""A file that appears only when it is complete, under a name that no other process has taken."""

import os
import secrets
from pathlib import Path
from types import TracebackType
from typing import Self

from claude_lite.errors import UsageError


class Arrival:
    """A context manager that writes the file *path*.

    If an exception leaves the `with` block, no file appears. An existing file is replaced only if
    *overwrite* is true. If *path* is a link, the link is replaced, and never the target.
    """

    def __init__(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        self.path = Path(path)
        self.size = 0
        self._overwrite = overwrite
        # A random name, not the file's name with a suffix, which may be too long for the disk.
        self._partial = self.path.parent / f".{secrets.token_hex(8)}.part"

    def __enter__(self) -> Self:
        self._check_target()
        try:
            self._file = self._partial.open("xb")
        except OSError as error:
            raise self._failure(error) from None
        return self

    def _check_target(self) -> None:
        """Raise `UsageError` if the path is not valid, or has a file that may not be replaced."""
        try:
            self.path.lstat()
        except FileNotFoundError:
            return
        except ValueError:  # a NUL or a lone surrogate
            raise UsageError(
                f"{str(self.path)!r} cannot be the path of a file: it has a NUL or a lone surrogate"
            ) from None
        except OSError as error:
            raise self._failure(error) from None
        if not self._overwrite:
            raise self._failure(FileExistsError())

    def _failure(self, error: OSError) -> UsageError:
        if isinstance(error, FileExistsError):
            return UsageError(f"the file {self.path} exists: set overwrite=True to replace it")
        return UsageError(f"{self.path} cannot be written: {error.strerror}")

    def write(self, piece: bytes) -> None:
        """Add a piece. Raises `UsageError` if that fails, for example because the disk is full."""
        try:
            self.size += self._file.write(piece)
        except OSError as error:
            raise self._failure(error) from None

    def _appear(self) -> None:
        """Give the complete file its name. Without *overwrite*, only one process succeeds."""
        if not self._overwrite:
            try:
                self.path.hardlink_to(self._partial)
            except FileExistsError:
                raise
            except OSError:  # a file system without hard links: take the name, then replace
                self.path.touch(exist_ok=False)
            else:
                return
        self._partial.replace(self.path)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            self._file.close()
            if kind is None:
                self._appear()
        except OSError as failure:
            if kind is None:
                raise self._failure(failure) from None
        finally:
            self._partial.unlink(missing_ok=True)
