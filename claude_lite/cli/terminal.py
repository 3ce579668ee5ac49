"""Write to the terminal safely: answers to standard output, messages to standard error."""

import sys
from typing import TYPE_CHECKING, Final, TextIO

from claude_lite.errors import escape_invisible

if TYPE_CHECKING:
    from claude_lite.errors import ClaudeError

EXIT_DONE: Final = 0
EXIT_FAILED: Final = 1
EXIT_MISUSED: Final = 2
EXIT_INTERRUPTED: Final = 130

# Control characters are removed: they can move the cursor or reconfigure the terminal, and
# answers and errors are text that others wrote.
CONTROLS: Final = dict.fromkeys({*range(0x20), *range(0x7F, 0xA0)} - {*map(ord, "\n\t")})


def explained(error: "ClaudeError") -> str:
    """The error as one line of text."""
    return " ".join(f"{type(error).__name__}: {error}".split())


def say(text: str, *, newline: bool = False) -> None:
    """Write a message to standard error; *newline* ends the line of an answer before it."""
    _write(sys.stderr, ("\n" if newline else "") + f"claude-lite: {escape_invisible(text)}\n")


def show(text: str) -> str:
    """Write a piece of an answer to standard output, and return the piece."""
    _write(sys.stdout, text)
    return text


def _write(out: TextIO, text: str) -> None:
    out.write(text.translate(CONTROLS) if out.isatty() else text)
    out.flush()


def is_open(written: str) -> bool:
    """Whether the output, whose last piece is *written*, is in the middle of a line."""
    return written != "" and not written.endswith("\n")
