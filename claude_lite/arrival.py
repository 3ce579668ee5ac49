"""A file that appears only once all of it has come: written beside its place, then moved."""

import os
import secrets
from pathlib import Path
from types import TracebackType
from typing import Self

from claude_lite.errors import UsageError


class Arrival:
    """The file *path* while it is being downloaded; left by an exception, there is no file."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.size = 0
        self._partial = self.path.with_name(f".{self.path.name}.{secrets.token_hex(4)}.part")

    def __enter__(self) -> Self:
        try:
            self._file = self._partial.open("xb")
        except OSError as error:
            raise UsageError(f"{self.path} cannot be written: {error.strerror}") from None
        return self

    def write(self, piece: bytes) -> None:
        """Add a piece; raises `OSError` if the disk does not take it."""
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
                self._partial.replace(self.path)
        except OSError as failure:
            if kind is None:
                raise UsageError(f"{self.path} cannot be written: {failure.strerror}") from None
        finally:
            self._partial.unlink(missing_ok=True)
