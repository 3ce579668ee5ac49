"""The files of all workspaces: uploaded files, and files that tools wrote."""

import mimetypes
from collections.abc import Callable, Iterator
from typing import Final

from attrs import frozen

from claude_lite.emulator.answers.answers import Filler
from claude_lite.emulator.reading.blobs import READ_SIZE
from claude_lite.emulator.reading.problems import Problem
from claude_lite.emulator.state.shelves import Shelf
from claude_lite.wire import BodySource

EXPIRED_KEPT: Final = 30 * 86400  # seconds; so long an expired file's metadata can be read
UNKNOWN_TYPE: Final = "application/octet-stream"


@frozen
class StoredFile:
    """A file. Times are in seconds since 1970."""

    id: str
    serial: int
    filename: str
    mime_type: str
    content: BodySource
    created_at: int
    downloadable: bool
    expires_at: int | None = None


@frozen
class Produced:
    """The content of a file that a tool wrote: filler text, which takes no memory."""

    filler: Filler
    size: int

    def __iter__(self) -> Iterator[bytes]:
        for start in range(0, self.size, READ_SIZE):
            yield self.filler.text(start, min(READ_SIZE, self.size - start)).encode()


class StoredFiles:
    """The files of all workspaces. Safe to share between threads."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._shelf: Shelf[StoredFile] = Shelf("File")

    def add(
        self,
        workspace_id: str,
        id_: str,
        filename: str,
        content: BodySource,
        *,
        mime_type: str | None = None,
        downloadable: bool,
        expires_in: float | None = None,
    ) -> StoredFile:
        """Keep a file, which expires in *expires_in* seconds. Its name decides a missing type."""
        created = int(self._now())
        return self._shelf.put(
            workspace_id,
            StoredFile(
                id=id_,
                serial=self._shelf.serial(),
                filename=filename,
                mime_type=mime_type or mimetypes.guess_type(filename)[0] or UNKNOWN_TYPE,
                content=content,
                created_at=created,
                downloadable=downloadable,
                expires_at=None if expires_in is None else created + int(expires_in),
            ),
        )

    def get(self, workspace_id: str, id_: str) -> StoredFile:
        """Return a file, even if it has expired; raises `Problem` (404) if there is none."""
        file = self._shelf.get(workspace_id, id_)
        if self._is_forgotten(file):
            raise self._shelf.missing(id_)
        return file

    def usable(self, workspace_id: str, id_: str) -> StoredFile:
        """Return a file that has not expired; raises `Problem` (404) if there is none."""
        file = self.get(workspace_id, id_)
        if file.expires_at is not None and file.expires_at <= self._now():
            raise Problem(404, "File has expired.", details={"error_code": "file_expired"})
        return file

    def remove(self, workspace_id: str, id_: str) -> None:
        """Delete a file; raises `Problem` (404) if there is none."""
        self._shelf.remove(workspace_id, self.get(workspace_id, id_).id)

    def newest_first(self, workspace_id: str) -> list[StoredFile]:
        """Return the files of a workspace, newest first."""
        files = self._shelf.newest_first(workspace_id)
        return [file for file in files if not self._is_forgotten(file)]

    def _is_forgotten(self, file: StoredFile) -> bool:
        return file.expires_at is not None and file.expires_at + EXPIRED_KEPT <= self._now()
