"""Keep the outcomes of a run in a file: JSON lines, one per request, written as requests end.

A line is a JSON object with these keys:

    custom_id       the name of the request; null for a bad line without one
    result          {"type": "succeeded", "message": ...} or {"type": "errored", "error": ...}
    request_id      the API's id of the last attempt, or null
    attempts        the number of attempts
    usage           the tokens, or null
    elapsed_ms      milliseconds, with retries and waits
    line            the line of the request in its file
    request_hash    a name of the request (`Item.request_hash`); bad lines have none

A line is handed to the operating system before the next request is taken, so no answer is lost,
whatever ends the run. An existing file is changed only in the modes "replace" and "resume". In
the mode "resume" answers stay, and a failure stays until the same request has ended again: in
the end the file has one line per request. While a file is open it is locked, by the operating
system: a second run on the same file is refused.
"""

import os
import shutil
import stat
import sys
import tempfile
from pathlib import Path
from typing import Any, BinaryIO, Final, Literal, Self

import orjson

from claude_lite.bulk.run import Outcome
from claude_lite.core.json_text import dumps
from claude_lite.errors import UsageError

ResultsMode = Literal["new", "replace", "resume"]
"""What to do with an existing file: refuse it, empty it, or add the results that it lacks."""

Span = tuple[int, int]
_BEGINNING: Final = b'{"custom_id":'


IS_WINDOWS: Final = sys.platform == "win32"


def lock(file: BinaryIO, path: Path) -> None:
    """Lock *file* for this process until the file is closed.

    A file system without locks locks nothing.

    Raises:
        UsageError: Another process has locked the file, or has just replaced it.

    """
    try:
        _lock(file.fileno())
        free = os.path.samestat(os.fstat(file.fileno()), path.stat())
    except (BlockingIOError, PermissionError, FileNotFoundError):
        free = False
    except OSError:  # a file system without locks
        return
    if not free:
        raise UsageError(
            f"another run is writing {path}: wait until it has ended, or name another file"
        )


if sys.platform == "win32":  # pragma: no cover

    def _lock(number: int) -> None:
        import msvcrt  # only on Windows

        os.lseek(number, LOCKED_BYTE, os.SEEK_SET)
        msvcrt.locking(number, msvcrt.LK_NBLCK, 1)
        os.lseek(number, 0, os.SEEK_END)
else:

    def _lock(number: int) -> None:
        import fcntl  # not on Windows

        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)


LOCKED_BYTE: Final = 1 << 40
"""Windows locks bytes against reading, too: this one is past the end of any file of results."""


class ResultsFile:
    """An open file of results."""

    def __init__(self, path: str | os.PathLike[str], mode: ResultsMode = "new") -> None:
        """Open the file, or create it.

        Args:
            path: The path of the file.
            mode: What to do if the file exists.

        Raises:
            FileExistsError: The file exists, and the mode is "new".
            OSError: The file cannot be opened.
            UsageError: The mode is "resume", and the file has a line that is no result.

        """
        self.path = Path(path)
        self.answered: dict[str, str | None] = {}
        """The `custom_id`s that the file had answers for when it was opened, with the
        `request_hash` of each; None for a line of an older version."""
        self._failures: dict[str | int, Span] = {}  # by custom_id, or by line without one
        self._outdated: list[Span] = []
        found = b""
        self._file: BinaryIO = self.path.open("xb" if mode == "new" else "ab")
        try:
            if stat.S_ISREG(os.fstat(self._file.fileno()).st_mode):  # not a pipe or a device
                lock(self._file, self.path)
                if mode == "replace":
                    self._file.truncate(0)
            if mode == "resume":
                with self.path.open("rb") as file:
                    found = self._read(file)
            if found:
                self._mend(found)
        except BaseException:
            self._file.close()
            raise

    def _read(self, file: BinaryIO) -> bytes:
        """Note the answers and failures in the file; return its last line."""
        start = 0
        line = b""
        for number, line in enumerate(file, 1):
            end = start + len(line) + (not line.endswith(b"\n"))  # `_mend` adds a missing line end
            try:
                self._take(orjson.loads(line), (start, end))
            except (ValueError, TypeError, KeyError):
                if not _is_torn(line):
                    raise UsageError(
                        f"cannot resume {self.path}: line {number} is not a result of a run"
                    ) from None
            start = end
        for custom_id in self.answered.keys() & self._failures.keys():
            self._outdated.append(self._failures.pop(custom_id))
        return line

    def _take(self, data: Any, span: Span) -> None:
        custom_id, ending = data["custom_id"], data["result"]["type"]
        key = data["line"] if custom_id is None else custom_id
        if ending == "succeeded":
            self.answered[key] = data.get("request_hash")
            return
        if key in self._failures:
            self._outdated.append(self._failures[key])
        self._failures[key] = span

    def _mend(self, last: bytes) -> None:
        """End the last line, or remove it if a run was killed while writing it."""
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
        """Add an outcome. When this returns, the operating system has the line."""
        self._file.write(dumps(outcome.to_dict()) + b"\n")
        self._file.flush()
        for key in (outcome.custom_id, outcome.line):
            if key in self._failures:
                self._outdated.append(self._failures.pop(key))

    def close(self) -> None:
        """Close the file, and remove earlier failures of requests that have ended again."""
        if IS_WINDOWS:  # Windows replaces no open file
            self._file.close()
        try:
            if self._outdated:
                self._leave_out(sorted(self._outdated))
                self._outdated.clear()
        finally:
            self._file.close()  # and with it the lock

    def _leave_out(self, spans: list[Span]) -> None:
        path = self.path.resolve()  # of a link, replace the file that it points to
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
    """Whether *line* is the beginning of a result whose writing was interrupted.

    After a power cut a file may end with NULs in place of what was written last.
    """
    start = line[: len(_BEGINNING)].rstrip(b"\0")
    return not line.endswith(b"\n") and _BEGINNING.startswith(start)
