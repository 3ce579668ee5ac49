"""Files that are uploaded once and used in messages.

https://docs.claude.com/en/api/files-create
"""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from claude_lite.api.bodies import BytesDecoder
from claude_lite.api.uploads import FORBIDDEN, MAX_NAME, FormBody, UploadOperation, file_part
from claude_lite.core.model import Result, model
from claude_lite.core.operation import (
    MEGABYTE,
    Route,
    StreamOperation,
    WorkspaceOperation,
    local,
    operation,
)
from claude_lite.core.pages import CursorPaged, IdPaged, ListOperation, Page
from claude_lite.errors import UsageError
from claude_lite.wire import DEFAULT_LIMITS, Limits, Response

__all__ = [
    "DeleteFile",
    "DeletedFile",
    "DownloadFile",
    "FileMetadata",
    "ListFiles",
    "RetrieveFileMetadata",
    "UploadFile",
    "path_within",
]

MAX_FILE: Final = 500 * MEGABYTE

# Windows reads these names as devices, with any suffix, and drops these ends of names.
_DEVICE: Final = re.compile(
    r"(con|conin\$|conout\$|prn|aux|nul|(com|lpt)[0-9\u00b9\u00b2\u00b3])\s*(\..*)?", re.IGNORECASE
)
_DROPPED: Final = (".", " ")


@model
class FileMetadata(Result):
    """A file in the workspace. Times are RFC 3339."""

    id: str
    filename: str
    mime_type: str
    size_bytes: int
    created_at: str
    downloadable: bool | None = None
    """True only for files that tools made."""
    expires_at: str | None = None
    scope: dict[str, Any] | None = None
    type: str = "file"


@model
class DeletedFile(Result):
    """The answer to `DeleteFile`: the file is deleted."""

    id: str
    type: str = "file_deleted"


@operation
class UploadFile(UploadOperation[FileMetadata]):
    """Upload a file of up to 500 MB, streamed from disk."""

    route = Route("files.upload", "POST", "/v1/files", "never", MAX_FILE)
    result_type = FileMetadata

    file: str | os.PathLike[str] | bytes
    """The path of a file, or its bytes."""
    filename: str | None = local()
    """The default is the last part of the path."""
    content_type: str | None = local()
    """The default is guessed from the suffix of the file's name."""
    expires_in_seconds: int | None = None
    """3,600 to 7,776,000 (90 days)."""

    def form(self) -> FormBody:
        """The body of the request."""
        expiry = self.expires_in_seconds
        fields = [] if expiry is None else [("expires_in_seconds", str(expiry))]
        return FormBody(fields, [file_part("file", self.file, self.filename, self.content_type)])


@operation
class ListFiles(
    WorkspaceOperation[Page[FileMetadata]], CursorPaged[FileMetadata], IdPaged[FileMetadata]
):
    """List the files of the workspace.

    `after_id` and `before_id` belong to the older shape, under the beta files-api-2025-04-14;
    `scope_id` is beta.
    """

    route = Route("files.list", "GET", "/v1/files")
    item_type = FileMetadata

    ids: Sequence[str] | None = None
    scope_id: str | None = None

    def next_operation(self, page: Page[FileMetadata]) -> "ListOperation[FileMetadata] | None":
        """Go on with the cursor of the page, or with the ids of the older shape."""
        return CursorPaged.next_operation(self, page) or IdPaged.next_operation(self, page)


@operation
class RetrieveFileMetadata(WorkspaceOperation[FileMetadata]):
    """Look up one file."""

    route = Route("files.retrieve_metadata", "GET", "/v1/files/{file_id}")
    result_type = FileMetadata

    file_id: str


@operation
class DownloadFile(WorkspaceOperation[bytes], StreamOperation[bytes, bytes]):
    """Download a file that a tool made. `client.download` writes the file to disk."""

    route = Route(
        "files.download", "GET", "/v1/files/{file_id}/content", accept="application/binary"
    )
    content_type = None

    file_id: str

    def decoder(self, head: Response, limits: Limits = DEFAULT_LIMITS) -> BytesDecoder:
        """Return the decoder for the body of the response."""
        return BytesDecoder(head, limits)


@operation
class DeleteFile(WorkspaceOperation[DeletedFile]):
    """Delete a file."""

    route = Route("files.delete", "DELETE", "/v1/files/{file_id}")
    result_type = DeletedFile

    file_id: str


def path_within(folder: str | os.PathLike[str], filename: str) -> Path:
    """Make the path of a file in *folder* whose name you did not choose, such as a tool's.

    This does not look at the disk.

    Args:
        folder: The folder that the file has to stay in.
        filename: The name of the file.

    Raises:
        UsageError: The name leads out of the folder, is no valid name on some system, names a
            device of Windows, or has characters that are not printable.

    """
    wrong = (
        not filename.isprintable()
        or any(c in FORBIDDEN or c == "/" for c in filename)
        or not 1 <= len(filename.encode()) <= MAX_NAME
        or filename.endswith(_DROPPED)
        or _DEVICE.fullmatch(filename)
    )
    if wrong:
        raise UsageError(
            f"{filename!r} is not a safe name for a file in {os.fspath(folder)}: choose another"
        )
    return Path(folder) / filename
