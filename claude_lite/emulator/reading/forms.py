"""Read multipart/form-data: where each part begins and ends in a body.

Parts are not copied: each part is a cut of the body, which may be on disk. Names are read as
browsers, the SDKs and curl write them: raw UTF-8, a quote as `%22` or with a backslash.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Final

from attrs import frozen

from claude_lite.emulator.reading.blobs import Blob
from claude_lite.emulator.reading.problems import Problem, fail
from claude_lite.wire import BodySource

LONGEST_BOUNDARY: Final = 70  # characters
LONGEST_PART_HEAD: Final = 16 * 1024  # bytes
LONGEST_FIELD: Final = 64 * 1024  # bytes
HEAD_END: Final = b"\r\n\r\n"
_PARAMETER: Final = re.compile(r';\s*([\w*-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^;]*))')
_ESCAPES: Final = (("%22", '"'), ("%0D", "\r"), ("%0A", "\n"), ('\\"', '"'))


@frozen
class ReceivedPart:
    """A part of a form: a file if it has a file name or a content type, else a field."""

    name: str
    filename: str | None
    content_type: str | None
    body: Blob

    @property
    def is_file(self) -> bool:
        """Whether the part is a file rather than a field."""
        return self.filename is not None or self.content_type is not None

    def text(self) -> str:
        """Return the value of a field; raises `Problem` if it is too long or not UTF-8."""
        if self.body.size > LONGEST_FIELD:
            fail(self.name, f"String should have at most {LONGEST_FIELD} characters")
        try:
            return self.body.read().decode()
        except UnicodeDecodeError:
            fail(self.name, "Input should be a valid string")


def read_form(
    headers: Mapping[str, str],
    body: bytes | BodySource,
    *,
    files: Collection[str],
    fields: Collection[str],
) -> Iterator[ReceivedPart]:
    """Yield the parts of a form; raises `Problem` (400) for a part not in *files* or *fields*."""
    for part in _parts(_boundary(headers.get("content-type", "")), Blob.of(body)):
        if part.name not in files and part.name not in fields:
            fail(part.name, "Extra inputs are not permitted")
        if part.is_file is not (part.name in files):
            wanted = "be a valid string" if part.is_file else "be a file"
            fail(part.name, f"Input should {wanted}")
        yield part


def _boundary(content_type: str) -> bytes:
    kind, parameters = _header(content_type)
    boundary = parameters.get("boundary", "")
    if kind.lower() != "multipart/form-data" or not 0 < len(boundary) <= LONGEST_BOUNDARY:
        raise Problem(400, "content-type: expected multipart/form-data with a boundary")
    return b"--" + boundary.encode()


def _parts(mark: bytes, body: Blob) -> Iterator[ReceivedPart]:
    if body.read(0, len(mark)) != mark:
        raise _malformed("it does not begin with the boundary")
    place = len(mark)
    between = b"\r\n" + mark
    while (after := body.read(place, 2)) == b"\r\n":
        head_end = body.read(place, LONGEST_PART_HEAD).find(HEAD_END)
        if head_end < 0:
            raise _malformed("a part without content")
        start = place + head_end + len(HEAD_END)
        stop = body.find(between, start)
        if stop < 0:
            raise _malformed("it ends before its last boundary")
        yield _part(body.read(place, head_end), body.cut(start, stop))
        place = stop + len(between)
    if after != b"--":
        raise _malformed("a boundary has to end its line")


def _part(head: bytes, body: Blob) -> ReceivedPart:
    try:
        lines = head.decode().split("\r\n")
    except UnicodeDecodeError:
        raise _malformed("a part's headers are not UTF-8") from None
    headers = {
        name.strip().lower(): text.strip() for name, _, text in (x.partition(":") for x in lines)
    }
    kind, parameters = _header(headers.get("content-disposition", ""))
    if kind != "form-data" or not parameters.get("name"):
        raise _malformed("a part without a name")
    content_type = headers.get("content-type")
    return ReceivedPart(parameters["name"], parameters.get("filename"), content_type, body)


def _header(text: str) -> tuple[str, dict[str, str]]:
    parameters: dict[str, str] = {}
    for name, quoted, plain in _PARAMETER.findall(text):
        value = quoted or plain.strip()
        for escape, char in _ESCAPES:
            value = value.replace(escape, char)
        parameters.setdefault(name.lower(), value)
    return text.partition(";")[0].strip(), parameters


def _malformed(why: str) -> Problem:
    return Problem(400, f"The request body is not a valid form: {why}")
