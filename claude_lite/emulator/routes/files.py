"""The routes of the Files API, and its older shape under the beta files-api-2025-04-14."""

import mimetypes
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote

from claude_lite.emulator.reading.forms import ReceivedPart, read_form
from claude_lite.emulator.reading.paging import cursor_page, id_page, only, read_query
from claude_lite.emulator.reading.problems import Problem, fail
from claude_lite.emulator.reading.routing import MEBIBYTE, Answer, Call, ServedRoute
from claude_lite.emulator.state.rate_limits import timestamp
from claude_lite.emulator.state.stored_files import UNKNOWN_TYPE, StoredFile
from claude_lite.emulator.state.world import World

LEGACY_FILES_BETA: Final = "files-api-2025-04-14"
LARGEST_FILE: Final = 500 * MEBIBYTE  # bytes of a file
LONGEST_FILENAME: Final = 255  # characters
FORBIDDEN_CHARACTERS: Final = frozenset('<>:"|?*\\/')
SHORTEST_LIFE: Final = 3600  # seconds
LONGEST_LIFE: Final = 7_776_000  # seconds: 90 days


class FileRoutes:
    """Answers `/v1/files` and the paths below it."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._files = world.files

    def routes(self) -> tuple[ServedRoute, ...]:
        """List the routes."""
        return (
            ServedRoute(
                "POST", "/v1/files", self.upload, most=LARGEST_FILE + MEBIBYTE
            ),  # plus the form around the file
            ServedRoute("GET", "/v1/files", self.list),
            ServedRoute("GET", "/v1/files/{file_id}", self.retrieve_metadata),
            ServedRoute("DELETE", "/v1/files/{file_id}", self.delete),
            ServedRoute("GET", "/v1/files/{file_id}/content", self.download),
        )

    def upload(self, call: Call) -> Answer:
        """Keep a file."""
        form = {
            part.name: part
            for part in read_form(
                call.headers, call.body, files={"file"}, fields={"expires_in_seconds"}
            )
        }
        if "file" not in form:
            fail("file", "Field required")
        part = form["file"]
        if part.body.size > LARGEST_FILE:
            raise Problem(413, f"File exceeds the maximum size of {LARGEST_FILE} bytes")
        file = self._files.add(
            call.workspace_id,
            self._world.new_id("file_01", call.number),
            _filename(part),
            part.body,
            mime_type=part.content_type and part.content_type.partition(";")[0].strip(),
            downloadable=False,
            expires_in=_life(form.get("expires_in_seconds")),
        )
        return Answer.json(_shown(file, call))

    def list(self, call: Call) -> Answer:
        """List files, the newest first."""
        query = read_query(call.query)
        files = self._files.newest_first(call.workspace_id)
        if "ids" in query:
            files = [file for file in files if file.id in query["ids"]]
        if call.is_beta and only(query, "scope_id"):
            files = []  # the emulator has no sessions to which a file could belong
        if LEGACY_FILES_BETA in call.betas:
            return Answer.json(id_page(files, query, lambda file: _shown(file, call)))
        return Answer.json(cursor_page(files, query, lambda file: _shown(file, call)))

    def retrieve_metadata(self, call: Call) -> Answer:
        """Show one file."""
        return Answer.json(_shown(self._files.get(call.workspace_id, call.params["file_id"]), call))

    def delete(self, call: Call) -> Answer:
        """Delete a file."""
        file_id = call.params["file_id"]
        self._files.remove(call.workspace_id, file_id)
        return Answer.json({"id": file_id, "type": "file_deleted"})

    def download(self, call: Call) -> Answer:
        """Send the content of a file that a tool wrote."""
        file = self._files.usable(call.workspace_id, call.params["file_id"])
        if not file.downloadable:
            raise Problem(
                400,
                f"File '{file.id}' is not downloadable.",
                details={"error_code": "file_not_downloadable"},
            )
        headers = {
            "content-type": file.mime_type,
            "content-disposition": f"attachment; filename*=utf-8''{quote(file.filename)}",
        }
        return Answer(file.content, file.content.size, headers=headers)


def _filename(part: ReceivedPart) -> str:
    """Return the name of the file: the last component of the given name."""
    if part.filename is None:
        kind = (part.content_type or UNKNOWN_TYPE).partition(";")[0].strip()
        return "unnamed" + (mimetypes.guess_extension(kind) or "")
    name = part.filename.rpartition("/")[2]
    if not 1 <= len(name) <= LONGEST_FILENAME:
        fail("file", f"filename must have 1 to {LONGEST_FILENAME} characters")
    if any(char in FORBIDDEN_CHARACTERS or not char.isprintable() for char in name):
        fail("file", f"filename has forbidden characters: {name!r}")
    return name


def _life(part: ReceivedPart | None) -> int | None:
    if part is None:
        return None
    text = part.text()
    if not (text.isascii() and text.isdecimal()):
        fail(part.name, "Input should be a valid integer, unable to parse string as an integer")
    if not SHORTEST_LIFE <= int(text) <= LONGEST_LIFE:
        fail(part.name, f"Input should be between {SHORTEST_LIFE} and {LONGEST_LIFE}")
    return int(text)


def _shown(file: StoredFile, call: Call) -> Mapping[str, Any]:
    shown: dict[str, Any] = {
        "id": file.id,
        "type": "file",
        "filename": file.filename,
        "mime_type": file.mime_type,
        "size_bytes": file.content.size,
        "created_at": timestamp(file.created_at),
        "downloadable": file.downloadable,
    }
    if LEGACY_FILES_BETA in call.betas:
        return shown
    shown["expires_at"] = None if file.expires_at is None else timestamp(file.expires_at)
    return {**shown, "scope": None} if call.is_beta else shown
