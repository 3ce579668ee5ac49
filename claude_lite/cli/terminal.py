"""Write to the terminal safely: answers to standard output, messages to standard error."""

import errno
import io
import os
import re
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Final, TextIO

from claude_lite.errors import escape_invisible
from claude_lite.wire import MASK

if TYPE_CHECKING:
    from claude_lite.errors import ClaudeError

EXIT_DONE: Final = 0
EXIT_FAILED: Final = 1
EXIT_MISUSED: Final = 2
EXIT_INTERRUPTED: Final = 130

# Answers and errors are text that others wrote. Control characters can move the cursor or
# reconfigure the terminal; those for the direction of text show it in another order. Both are
# shown as escapes, so that nothing in an answer is hidden.
_DIRECTION: Final = (0x61C, 0x200E, 0x200F, *range(0x2028, 0x202F), *range(0x2066, 0x206A))
CONTROLS: Final = {
    code: repr(chr(code))[1:-1]
    for code in (*range(0x20), *range(0x7F, 0xA0), *_DIRECTION)
    if chr(code) not in "\n\t"
}


KEY: Final = re.compile(r"sk-[\w-]{12,}")


def presentable(text: str) -> str:
    """Return a message as one line, with a mask in place of what looks like an API key.

    A message may quote an argument or a file, and a key may be in a wrong place there.
    """
    return escape_invisible(KEY.sub(MASK, text))


def explained(error: "ClaudeError") -> str:
    """The error as one line of text."""
    return " ".join(f"{type(error).__name__}: {error}".split())


def say(text: str, *, newline: bool = False) -> None:
    """Write a message to standard error; *newline* ends the line of an answer before it."""
    with suppress(OSError):  # there is no other place for it
        _write(sys.stderr, ("\n" if newline else "") + f"claude-lite: {presentable(text)}\n")


def log_line(text: str) -> None:
    """Write a line about a request to standard error."""
    with suppress(OSError):
        _write(sys.stderr, presentable(text) + "\n")


def show(text: str) -> str:
    """Write a piece of an answer to standard output, and return the piece."""
    _write(sys.stdout, text)
    return text


def _write(out: TextIO | None, text: str) -> None:
    if out is None:  # the process was started without this file
        raise OSError(errno.EBADF, "the file is closed")
    out.write(text.translate(CONTROLS) if out.isatty() else text)
    out.flush()


def escape_unwritable() -> None:
    """Let standard output write escapes for what its encoding lacks, such as an emoji in cp1252."""
    for out in (sys.stdout, sys.stderr):
        if isinstance(out, io.TextIOWrapper):
            out.reconfigure(errors="backslashreplace")


def discard_output() -> None:
    """Let standard output go nowhere: at the end of the process Python would write the rest."""
    if sys.stdout is not None:
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def is_open(written: str) -> bool:
    """Whether the output, whose last piece is *written*, is in the middle of a line."""
    return written != "" and not written.endswith("\n")
