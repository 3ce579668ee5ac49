"""What a command says, safely: its answer on standard output, the rest on standard error."""

import sys
from typing import TYPE_CHECKING, Final, TextIO

from claude_lite.errors import visible

if TYPE_CHECKING:
    from claude_lite.errors import ClaudeError

EXIT_DONE: Final = 0
EXIT_FAILED: Final = 1
EXIT_MISUSED: Final = 2
EXIT_INTERRUPTED: Final = 130

# What would move a terminal's cursor, or worse: answers and errors are text that others wrote.
CONTROLS: Final = dict.fromkeys({*range(0x20), *range(0x7F, 0xA0)} - {*map(ord, "\n\t")})


def explained(error: "ClaudeError") -> str:
    """An error in a line."""
    return " ".join(f"{type(error).__name__}: {error}".split())


def say(text: str, *, newline: bool = False) -> None:
    """Tell the user something, on standard error; *newline*: on a line of its own."""
    _write(sys.stderr, ("\n" if newline else "") + f"claude-lite: {visible(text)}\n")


def show(text: str) -> str:
    """Write a piece of the answer, and return it."""
    _write(sys.stdout, text)
    return text


def _write(out: TextIO, text: str) -> None:
    out.write(text.translate(CONTROLS) if out.isatty() else text)
    out.flush()


def is_open(written: str) -> bool:
    """Whether the last line, of which this is the last piece, has not been ended."""
    return written != "" and not written.endswith("\n")
