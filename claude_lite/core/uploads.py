"""multipart/form-data bodies, read from disk piece by piece and never held whole.

The length is known before the first byte is sent, and a retry reads the files again. A file
that changes meanwhile is an error, not a broken request.
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

PIECE: Final = 256 * 1024
MAX_NAME: Final = 255
FORBIDDEN: Final = frozenset('<>:"|?*\\')


@frozen
class Part:
    """One file of a form: its field, the name the API shall see, and where its bytes are."""

    name: str
    filename: str
    source: Path | bytes = field(
        repr=lambda s: str(s) if isinstance(s, Path) else f"<{len(s)} bytes>"
    )
    content_type: str | None = None

    @property
    def size(self) -> int:
        """The number of bytes; raises `UsageError` if there is no such file."""
        if isinstance(self.source, bytes):
            return len(self.source)
        try:
            return self.source.stat().st_size
        except OSError as error:
            raise UsageError(f"{self.source} cannot be read: {error.strerror}") from None

    def read(self, size: int) -> Iterator[bytes]:
        """The bytes; raises `UsageError` if there are not *size* of them."""
        if isinstance(self.source, bytes):
            yield self.source
            return
        left = size
        try:
            with self.source.open("rb") as file:
                while piece := file.read(PIECE):
                    left -= len(piece)
                    if left < 0:
                        break
                    yield piece
        except OSError as error:
            raise UsageError(f"{self.source} cannot be read: {error.strerror}") from None
        if left:
            raise UsageError(f"{self.source} changed while it was being sent")


class FormBody:
    """A form as the body of a request (a `claude_lite.wire.BodySource`)."""

    def __init__(self, fields: Sequence[tuple[str, str]], parts: Iterable[Part]) -> None:
        self.boundary = secrets.token_hex(16)
        self._parts = [(self._head(part), part, part.size) for part in parts]
        self._lead = b"".join(self._field(name, value) for name, value in fields)
        self._tail = f"--{self.boundary}--\r\n".encode()
        framing = sum(len(head) + 2 for head, _, _ in self._parts)
        content = sum(size for _, _, size in self._parts)
        self.size = len(self._lead) + framing + content + len(self._tail)

    @property
    def content_type(self) -> str:
        """The value of the content-type header."""
        return f"multipart/form-data; boundary={self.boundary}"

    def __iter__(self) -> Iterator[bytes]:
        if self._lead:
            yield self._lead
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
            raise UsageError(f"the name of file {part.filename!r} has a line break or NUL in it")
        return _encoded("\r\n".join(lines)) + b"\r\n\r\n"


def _encoded(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise UsageError("a name or value has half a surrogate pair in it: no text") from None


def file_part(name: str, file: object, filename: str | None, content_type: str | None) -> Part:
    """The part for *file*: a path, or bytes. Raises `UsageError` for a name the API refuses."""
    if isinstance(file, (bytes, bytearray, memoryview)):
        source: Path | bytes = bytes(file)
        shown = filename or "unnamed"
    elif isinstance(file, (str, os.PathLike)):
        source = Path(file)
        shown = filename or source.name
    else:
        raise UsageError(
            f"file has to be a path or bytes, not {type(file).__name__}: a retry reads it again"
        )
    base = shown.rpartition("/")[2]
    if not 1 <= len(base) <= MAX_NAME or any(c in FORBIDDEN or c < " " for c in base):
        raise UsageError(
            f"{base!r} cannot be the name of a file: 1 to 255 characters, no {'<>:|?*'}"
        )
    return Part(name, shown, source, content_type)


def skill_parts(files: object, most: int) -> list[Part]:
    """The parts for a skill: a folder that holds SKILL.md, or a .zip of one.

    Raises `RequestTooLarge` for a .zip of more than *most* bytes once unpacked.
    """
    if not isinstance(files, (str, os.PathLike)):
        raise UsageError(
            f"files has to be the path of a folder or .zip, not {type(files).__name__}"
        )
    path = Path(files)
    if path.is_file():
        unpacked = _unpacked_size(path)
        if unpacked > most:
            raise RequestTooLarge(
                f"the skill has {unpacked} bytes once unpacked, and the API takes {most}",
                type="request_too_large",
                advice="Nothing was sent.",
            )
        return [Part("files[]", path.name, path, "application/zip")]
    if not (path / "SKILL.md").is_file():
        raise UsageError(f"{path} is no skill: it is neither a .zip nor a folder with a SKILL.md")
    root = path.resolve()
    found = sorted(root.rglob("*"))
    for p in found:
        if p.is_symlink() and not (p.is_file() and p.resolve().is_relative_to(root)):
            raise UsageError(f"{p} is a link to what is no file of the skill's folder")
    found = [p for p in found if p.is_file()]
    return [Part("files[]", f"{root.name}/{p.relative_to(root).as_posix()}", p) for p in found]


def _unpacked_size(path: Path) -> int:
    from zipfile import BadZipFile, ZipFile  # dear, and only for skills

    try:
        with ZipFile(path) as archive:
            return sum(member.file_size for member in archive.infolist())
    except (BadZipFile, OSError) as error:
        raise UsageError(f"{path} is no .zip that can be read: {error}") from None


@operation
class UploadOperation(WorkspaceOperation[R], Generic[R]):
    """An operation whose body is a form, streamed from disk."""

    def form(self) -> FormBody:
        """The body; raises `UsageError` for a file that cannot be sent."""
        raise NotImplementedError

    def build(self, target: Target) -> Request:
        """Build the request for this operation; of the files only the sizes are read."""
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
