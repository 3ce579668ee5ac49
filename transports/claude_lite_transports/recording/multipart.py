"""The parts of a multipart/form-data body, described without their contents.

This module only reads; `claude_lite.api.uploads` sends forms. The body comes in pieces of any
size. Of a file only the name, type, size and hash are kept, which is enough to tell one large file
from another.
"""

import hashlib
import re
from collections.abc import Iterable
from typing import Any, Final

_PARAMETER: Final = re.compile(r';\s*(name|filename)="((?:\\.|[^"\\])*)"')
_LONGEST_VALUE: Final = 1024


class RecordedPart:
    """A part of a multipart body, of which only the value of a short field is kept."""

    def __init__(self, head: bytes) -> None:
        """Begin a part with its header lines."""
        self._headers = dict(map(_header, head.decode(errors="replace").split("\r\n")))
        self._hash = hashlib.sha256()
        self._size = 0
        self._start = b""

    def add(self, data: bytes) -> None:
        """Add a piece of its content."""
        self._hash.update(data)
        self._size += len(data)
        self._start += data[: _LONGEST_VALUE + 1 - len(self._start)]

    def described(self) -> dict[str, Any]:
        """Describe the part as the cassette has it, without the content of a file."""
        given = dict(_PARAMETER.findall(self._headers.get("content-disposition", "")))
        described: dict[str, Any] = {"name": given.get("name", "")}
        if "filename" in given:
            described["filename"] = given["filename"]
        if "content-type" in self._headers:
            described["content_type"] = self._headers["content-type"]
        if len(described) == 1 and self._size <= _LONGEST_VALUE:
            try:
                return described | {"value": self._start.decode()}
            except UnicodeDecodeError:
                pass
        return described | {"sha256": self._hash.hexdigest(), "size": self._size}


def _header(line: str) -> tuple[str, str]:
    name, _, value = line.partition(":")
    return name.strip().lower(), value.strip()


def split_parts(pieces: Iterable[bytes], boundary: bytes) -> list[RecordedPart]:
    """Split a multipart body that comes in pieces; empty if it is not multipart."""
    mark = b"\r\n--" + boundary
    found: list[RecordedPart] = []
    preamble = part = RecordedPart(b"")
    rest = b"\r\n"
    for piece in pieces:
        rest += piece
        while True:
            content, hit, after = rest.partition(mark)
            if not hit:
                # The last bytes may be the beginning of a mark.
                part.add(rest[: 1 - len(mark)])
                rest = rest[1 - len(mark) :]
                break
            part.add(content)
            head, blank, body = after.partition(b"\r\n\r\n")
            if not blank or after.startswith(b"--"):
                # The head has not come whole, or this is the end of the body.
                part = preamble
                rest = mark + after
                break
            part = RecordedPart(head)
            found.append(part)
            rest = body
    if not rest.startswith(mark):
        part.add(rest)
    return found
