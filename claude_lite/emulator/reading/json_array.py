"""Find the elements of a large JSON array without parsing it.

Parsing a batch of 100,000 requests as a whole would make millions of objects. `find_elements`
reads the document once, keeps none of the elements, and returns their positions, so that each
element can be parsed alone. Invalid JSON is found later, when the elements and the rest of the
document are parsed.
"""

import re
from array import array
from collections.abc import Iterable
from typing import Final

from attrs import define, field

_STRING: Final = rb'"[^"\\]*(?:\\.[^"\\]*)*"'
_SHALLOW: Final = re.compile(rb'(?:[^][{}",]+|%b)*' % _STRING, re.DOTALL)  # to a comma or bracket
_DEEP: Final = re.compile(rb'(?:[^][{}"]+|%b)*' % _STRING, re.DOTALL)
_IN_STRING: Final = re.compile(rb'[^"\\]*')  # in a string that began or ends in another piece
_KEY: Final = re.compile(rb'"([^"\\]*)"\s*:\s*\Z')
_LONGEST_KEY: Final = 200  # bytes
_QUOTE, _BACKSLASH, _COMMA, _BRACKET = b'"\\,['
_OPEN: Final = frozenset(b"[{")
_INSIDE: Final = 2  # how deep an element is


@define
class Elements:
    """The document with an empty array, and the positions of the elements of the array."""

    rest: bytearray = field(factory=bytearray)
    starts: "array[int]" = field(factory=lambda: array("Q"))
    stops: "array[int]" = field(factory=lambda: array("Q"))


def find_elements(pieces: Iterable[bytes], key: str, most: int) -> Elements:
    """Find the elements of the array that is the value of *key*; stop after *most* + 1 elements."""
    found = Elements()
    scanner = _Scanner(key.encode(), found)
    for piece in pieces:
        scanner.receive(piece)
        if len(found.stops) > most:
            break
    return found


class _Scanner:
    def __init__(self, key: bytes, found: Elements) -> None:
        self._key = key
        self._found = found
        self._base = 0  # position of the piece in the document
        self._skip = 0  # bytes of the next piece that belong to an escape
        self._depth = 0
        self._in_string = False
        self._inside = False  # of the array
        self._copied = 0  # bytes of the piece that are in the rest already

    def receive(self, piece: bytes) -> None:
        place, self._copied = self._skip, 0
        while place < len(piece):
            passed = _IN_STRING if self._in_string else _DEEP if self._depth > _INSIDE else _SHALLOW
            at = passed.match(piece, place).end()  # type: ignore[union-attr]  # it always matches, if only an empty text
            if at == len(piece):
                place = at
                break
            place = at + 1
            if piece[at] == _QUOTE:
                self._in_string = not self._in_string
            elif piece[at] == _BACKSLASH:
                place += 1
            elif piece[at] in _OPEN:
                self._open(piece, at)
            else:
                self._end(piece[at], at)
        if not self._inside:
            self._found.rest += piece[self._copied :]
        self._skip = max(0, place - len(piece))
        self._base += len(piece)

    def _open(self, piece: bytes, at: int) -> None:
        found = self._found
        if piece[at] == _BRACKET and self._depth == 1 and not found.starts:
            found.rest += piece[self._copied : at]
            self._copied = at
            if self._is_key():
                found.rest += b"["
                found.starts.append(self._base + at + 1)
                self._inside = True
        self._depth += 1

    def _end(self, char: int, at: int) -> None:
        """Take a comma or a closing bracket."""
        is_comma = char == _COMMA
        if self._inside and self._depth == _INSIDE:
            self._found.stops.append(self._base + at)
            if is_comma:
                self._found.starts.append(self._base + at + 1)
            else:
                self._inside, self._copied = False, at
        if not is_comma:
            self._depth -= 1

    def _is_key(self) -> bool:
        before = _KEY.search(bytes(self._found.rest[-_LONGEST_KEY:]))
        return before is not None and before[1] == self._key
