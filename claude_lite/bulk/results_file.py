"""Keep the outcomes of a run in a file: JSON Lines, one a request, written as each ends.

A line is on disk (in the system's hands) before the next request is taken, so that whatever
ends the run, no answer is lost. A file that is there is not touched, unless it is to be
replaced or taken up again. Taken up, its answers stay; a failure in it stays until the same
request has ended anew, so that in the end there is one line a request. It asks nothing itself.
"""

import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, Final, Literal, Self

import orjson

from claude_lite.bulk.run import Outcome
from claude_lite.core.json_text import dumps
from claude_lite.errors import UsageError

ResultsMode = Literal["new", "replace", "resume"]
"""What to do with a file that is there: refuse it, empty it, or add what is missing in it."""

_FLAGS: Final = {"new": "xb", "replace": "wb", "resume": "ab"}

Span = tuple[int, int]
_BEGINNING: Final = b'{"custom_id":'


class ResultsFile:
    """An open file of results; `answered` are the `custom_id`s that it had answers for."""

    def __init__(self, path: str | os.PathLike[str], mode: ResultsMode = "new") -> None:
        """Open or make it.

        Raises `FileExistsError` for a file that is there with mode "new", other `OSError`s as
        they come, and `UsageError` for a file to be resumed that is not one of results.
        """
        self.path = Path(path)
        self.answered: set[str] = set()
        self._failures: dict[str | int, Span] = {}  # by custom_id, or by line where there is none
        self._outdated: list[Span] = []
        found = b""
        if mode == "resume":
            with suppress(FileNotFoundError), self.path.open("rb") as file:
                found = self._read(file)
        self._file: BinaryIO = self.path.open(_FLAGS[mode])  # type: ignore[assignment]  # all are binary
        if found:
            self._mend(found)

    def _read(self, file: BinaryIO) -> bytes:
        """Take stock; return the last line."""
        start = 0
        line = b""
        for number, line in enumerate(file, 1):
            end = start + len(line) + (not line.endswith(b"\n"))  # which `_mend` will add
            try:
                self._take(orjson.loads(line), (start, end))
            except (ValueError, TypeError, KeyError):
                if not _is_torn(line):
                    raise UsageError(f"{self.path}, line {number}: not a line of results") from None
            start = end
        for custom_id in self.answered & self._failures.keys():
            self._outdated.append(self._failures.pop(custom_id))
        return line

    def _take(self, data: Any, span: Span) -> None:
        custom_id, ending = data["custom_id"], data["result"]["type"]
        key = data["line"] if custom_id is None else custom_id
        if ending == "succeeded":
            self.answered.add(key)
            return
        if key in self._failures:
            self._outdated.append(self._failures[key])
        self._failures[key] = span

    def _mend(self, last: bytes) -> None:
        """End the last line, or remove it where a run was killed in the middle of writing it."""
        if last.endswith(b"\n"):
            return
        try:
            orjson.loads(last)
        except ValueError:
            self._file.truncate(self._file.seek(0, os.SEEK_END) - len(last))
        else:
            self._file.write(b"\n")
            self._file.flush()

    def write(self, outcome: Outcome) -> None:
        """Add an outcome; when this returns, it is written."""
        self._file.write(dumps(outcome.to_dict()) + b"\n")
        self._file.flush()
        for key in (outcome.custom_id, outcome.line):
            if key in self._failures:
                self._outdated.append(self._failures.pop(key))

    def close(self) -> None:
        """Close it, and leave out the failures of earlier runs that have ended anew."""
        self._file.close()
        if self._outdated:
            self._leave_out(sorted(self._outdated))
            self._outdated.clear()

    def _leave_out(self, spans: list[Span]) -> None:
        path = self.path.resolve()  # where it is a link, the file itself is replaced
        new = tempfile.NamedTemporaryFile(dir=path.parent, prefix=path.name, delete=False)  # noqa: SIM115  # closed below
        try:
            with path.open("rb") as old, new:
                for start, end in spans:
                    while (missing := start - old.tell()) > 0:
                        new.write(old.read(min(missing, 1 << 20)))
                    old.seek(end)
                shutil.copyfileobj(old, new)
            shutil.copymode(path, new.name)
            Path(new.name).replace(path)
        except BaseException:
            Path(new.name).unlink(missing_ok=True)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def _is_torn(line: bytes) -> bool:
    """Whether it is the beginning of a line of ours."""
    return not line.endswith(b"\n") and _BEGINNING.startswith(line[: len(_BEGINNING)])
