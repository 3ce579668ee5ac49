"""multipart/form-data bodies, read from disk in chunks and never completely in memory.

The size of a body is known before its first byte is sent. A retry reads the files again. If the
size of a file changes during an upload, the call raises an error, and the request is not completed.
"""

import mimetypes
import os
import secrets
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final, Generic, TypeVar

from attrs import field, frozen

from claude_lite.core.operation import WorkspaceOperation, operation, too_large
from claude_lite.core.targets import Target
from claude_lite.errors import RequestTooLarge, UsageError
from claude_lite.wire import Request

__all__ = ["FormBody", "UploadOperation"]

R = TypeVar("R")

CHUNK: Final = 256 * 1024
MAX_NAME: Final = 255
FORBIDDEN: Final = frozenset('<>:"|?*\\')


@frozen
class Part:
    """One file of a form.

    Attributes:
        name: The name of the form's field.
        filename: The name of the file that is sent to the API.
        source: The path of the file, or the bytes.
        content_type: The type of the file; None: guessed from `filename`.

    """

    name: str
    filename: str
    source: Path | bytes = field(
        repr=lambda s: str(s) if isinstance(s, Path) else f"<{len(s)} bytes>"
    )
    content_type: str | None = None

    @property
    def size(self) -> int:
        """The number of bytes. Raises `UsageError` if the file cannot be read."""
        if isinstance(self.source, bytes):
            return len(self.source)
        try:
            return self.source.stat().st_size
        except OSError as error:
            raise UsageError(f"{self.source} cannot be read: {error.strerror}") from None

    def read(self, size: int) -> Iterator[bytes]:
        """Yield the bytes. Raises `UsageError` if the file no longer has *size* bytes."""
        if isinstance(self.source, bytes):
            yield self.source
            return
        left = size
        try:
            with self.source.open("rb") as file:
                while chunk := file.read(CHUNK):
                    left -= len(chunk)
                    if left < 0:
                        break
                    yield chunk
        except OSError as error:
            raise UsageError(f"{self.source} cannot be read: {error.strerror}") from None
        if left:
            raise UsageError(
                f"the file {self.source} changed during the upload: upload the file again"
            )


class FormBody:
    """A form as the body of a request: a `claude_lite.wire.BodySource`.

    Args:
        fields: The names and values of fields that are not files.
        parts: The files. The sizes are read at once, the bytes when the body is sent.

    """

    def __init__(self, fields: Sequence[tuple[str, str]], parts: Iterable[Part]) -> None:
        self.boundary = secrets.token_hex(16)
        self._parts = [(self._head(part), part, part.size) for part in parts]
        self._fields = b"".join(self._field(name, value) for name, value in fields)
        self._tail = f"--{self.boundary}--\r\n".encode()
        framing = sum(len(head) + 2 for head, _, _ in self._parts)  # 2: the CRLF after each file
        content = sum(size for _, _, size in self._parts)
        self.size = len(self._fields) + framing + content + len(self._tail)

    @property
    def content_type(self) -> str:
        """The value of the content-type header."""
        return f"multipart/form-data; boundary={self.boundary}"

    def __iter__(self) -> Iterator[bytes]:
        if self._fields:
            yield self._fields
        for head, part, size in self._parts:
            yield head
            yield from part.read(size)
            yield b"\r\n"
        yield self._tail

    def _field(self, name: str, value: str) -> bytes:
        lines = (f"--{self.boundary}", f'content-disposition: form-data; name="{name}"', "", value)
        return _encoded("\r\n".join(lines)) + b"\r\n"

    def _head(self, part: Part) -> bytes:
        kind = part.content_type or mimetypes.guess_type(part.filename)[0]
        filename = part.filename.replace('"', "%22")
        lines = (
            f"--{self.boundary}",
            f'content-disposition: form-data; name="{part.name}"; filename="{filename}"',
            f"content-type: {kind or 'application/octet-stream'}",
        )
        if any(c in line for line in lines for c in "\r\n\0"):
            raise UsageError(
                f"the name or content_type of the file {part.filename!r} has a line break or NUL:"
                " remove it"
            )
        return _encoded("\r\n".join(lines)) + b"\r\n\r\n"


def _encoded(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise UsageError(
            f"{text!r} cannot be sent as UTF-8: it has half a surrogate pair"
        ) from None


def file_part(name: str, file: object, filename: str | None, content_type: str | None) -> Part:
    """Return a form part for a file.

    Args:
        name: The name of the form's field.
        file: The path of the file, or its bytes.
        filename: The name that is sent to the API; None: the last part of the path.
        content_type: The type of the file; None: guessed from the file name.

    Raises:
        UsageError: *file* is not a path or bytes, or the API does not allow the name.

    """
    if isinstance(file, (bytes, bytearray, memoryview)):
        source: Path | bytes = bytes(file)
        sent_name = filename or "unnamed"
    elif isinstance(file, (str, os.PathLike)):
        source = Path(file)
        sent_name = filename or source.name
    else:
        raise UsageError(
            f"file has to be a path or bytes, not {type(file).__name__}:"
            " a retry must be able to read the file again; `filename` is a field of its own"
        )
    base = sent_name.rpartition("/")[2]
    if not 1 <= len(base) <= MAX_NAME or any(c in FORBIDDEN or c < " " for c in base):
        raise UsageError(
            f"{base!r} cannot be the name of a file: it needs 1 to {MAX_NAME} characters, none of"
            " them a control character or one of " + " ".join(sorted(FORBIDDEN))
        )
    return Part(name, sent_name, source, content_type)


def skill_parts(files: object, max_unpacked: int) -> list[Part]:
    """Return the form parts for a skill.

    Args:
        files: The path of a folder with a file SKILL.md, or of a .zip of such a folder.
        max_unpacked: The largest unpacked size of a .zip, in bytes.

    Raises:
        UsageError: *files* is not such a path, or the folder has a link to something else than a
            file in the folder.
        RequestTooLarge: The .zip is too large after unpacking.

    """
    if not isinstance(files, (str, os.PathLike)):
        raise UsageError(
            f"files has to be the path of a folder or .zip, not {type(files).__name__}"
        )
    path = Path(files)
    if path.is_file():
        unpacked = _unpacked_size(path)
        if unpacked > max_unpacked:
            raise RequestTooLarge(
                f"the skill has {unpacked} bytes unpacked; the API takes at most {max_unpacked}",
                type="request_too_large",
                advice="Nothing was sent.",
            )
        return [Part("files[]", path.name, path, "application/zip")]
    if not (path / "SKILL.md").is_file():
        raise UsageError(f"{path} is not a skill: give a .zip, or a folder with a file SKILL.md")
    root = path.resolve()
    found = sorted(root.rglob("*"))
    for p in found:
        if p.is_symlink() and not (p.is_file() and p.resolve().is_relative_to(root)):
            raise UsageError(
                f"{p} is a link, but not to a file in the skill's folder: replace it by a copy"
            )
    found = [p for p in found if p.is_file()]
    return [Part("files[]", f"{root.name}/{p.relative_to(root).as_posix()}", p) for p in found]


def _unpacked_size(path: Path) -> int:
    from zipfile import BadZipFile, ZipFile  # slow to import, and only skills need it

    try:
        with ZipFile(path) as archive:
            return sum(member.file_size for member in archive.infolist())
    except (BadZipFile, OSError) as error:
        raise UsageError(f"{path} cannot be read as a .zip: {error}") from None


@operation
class UploadOperation(WorkspaceOperation[R], Generic[R]):
    """An operation whose body is a form, streamed from disk."""

    def form(self) -> FormBody:
        """Return the body.

        Raises:
            UsageError: A file cannot be sent.

        """
        raise NotImplementedError

    def build(self, target: Target) -> Request:
        """Build the request for this operation. Only the sizes of the files are read.

        Args:
            target: The base URL, headers, beta flags and limits that all requests share.

        Raises:
            UsageError: A value or a file cannot be sent.
            RequestTooLarge: The body is larger than the API allows.

        """
        form = self.form()
        if form.size > self.route.max_body:
            raise too_large(form.size, self.route.max_body)
        headers = {
            **target.headers,
            **self.headers(target),
            "content-type": form.content_type,
        }
        url = target.base_url + self.path_with_query()
        return Request("POST", url, headers, form, target.limits)
