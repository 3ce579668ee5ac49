"""Files, uploaded once and used in messages: https://docs.claude.com/en/api/files-create."""

import os
from collections.abc import Sequence
from typing import Final

from claude_lite.bodies import BytesDecoder
from claude_lite.config import Config
from claude_lite.model import Result, model
from claude_lite.operations import (
    MEGABYTE,
    Route,
    StreamOperation,
    UploadOperation,
    WorkspaceOperation,
    local,
    operation,
)
from claude_lite.pages import CursorPaged, IdPaged, ListOperation, Page
from claude_lite.uploads import FormBody, file_part
from claude_lite.wire import Response

MAX_FILE: Final = 500 * MEGABYTE


@model
class FileMetadata(Result):
    """A file. Only what tools made can be downloaded (`downloadable`); times in RFC 3339."""

    id: str
    filename: str
    mime_type: str
    size_bytes: int
    created_at: str
    downloadable: bool | None = None
    expires_at: str | None = None
    type: str = "file"


@model
class DeletedFile(Result):
    """The file is gone."""

    id: str
    type: str = "file_deleted"


@operation
class UploadFile(UploadOperation[FileMetadata]):
    """Upload a file of up to 500 MB, streamed from disk.

    `file` is a path or bytes; `filename` and `content_type` are guessed from the path where
    they are not given. `expires_in_seconds` is 3,600 to 7,776,000.
    """

    route = Route("files.upload", "POST", "/v1/files", "never", MAX_FILE)
    result_type = FileMetadata

    file: str | os.PathLike[str] | bytes
    filename: str | None = local()
    content_type: str | None = local()
    expires_in_seconds: int | None = None

    def form(self) -> FormBody:
        """The body."""
        expiry = self.expires_in_seconds
        fields = [] if expiry is None else [("expires_in_seconds", str(expiry))]
        return FormBody(fields, [file_part("file", self.file, self.filename, self.content_type)])


@operation
class ListFiles(
    WorkspaceOperation[Page[FileMetadata]], CursorPaged[FileMetadata], IdPaged[FileMetadata]
):
    """List the files of the workspace.

    `after_id` and `before_id` are for the older shape, under the beta files-api-2025-04-14;
    `scope_id` is beta.
    """

    route = Route("files.list", "GET", "/v1/files")
    item_type = FileMetadata

    ids: Sequence[str] | None = None
    scope_id: str | None = None

    def after(self, page: Page[FileMetadata]) -> "ListOperation[FileMetadata] | None":
        """Go on in the way that the page has."""
        return CursorPaged.after(self, page) or IdPaged.after(self, page)


@operation
class RetrieveFileMetadata(WorkspaceOperation[FileMetadata]):
    """Look up one file."""

    route = Route("files.retrieve_metadata", "GET", "/v1/files/{file_id}")
    result_type = FileMetadata

    file_id: str


@operation
class DownloadFile(WorkspaceOperation[bytes], StreamOperation[bytes, bytes]):
    """Download a file that a tool made; `client.download` writes it to disk as it comes."""

    route = Route(
        "files.download", "GET", "/v1/files/{file_id}/content", accept="application/binary"
    )
    content_type = None

    file_id: str

    def decoder(self, head: Response, config: Config) -> BytesDecoder:  # noqa: ARG002  # bounded by the file
        """What the body of the response is fed to."""
        return BytesDecoder(head)


@operation
class DeleteFile(WorkspaceOperation[DeletedFile]):
    """Delete a file."""

    route = Route("files.delete", "DELETE", "/v1/files/{file_id}")
    result_type = DeletedFile

    file_id: str
