"""Show the progress of a run: a live line on a terminal, a line of text now and then elsewhere.

All of it goes to standard error. `summary` is the table at the end of a run. The numbers come
from the `Tally` of the run; nothing is counted here.
"""

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final, Protocol, Self, TextIO

from claude_lite.bulk.run import Tally
from claude_lite.cli.terminal import presentable

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

PLAIN_EVERY: Final = 5.0  # seconds between lines of text


class Display(Protocol):
    """What shows the tally of a run: a context manager for the time of the run."""

    def update(self) -> None:
        """Show the tally, which has changed."""

    def complain(self, text: str) -> None:
        """Show a line that stays."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *exc: object) -> None: ...


class PlainDisplay:
    """Lines of text, at most one every few seconds."""

    def __init__(self, tally: Tally, total: int | None, out: TextIO) -> None:
        self._tally = tally
        self._total = total
        self._out = out
        self._next = time.monotonic() + PLAIN_EVERY

    def update(self) -> None:
        """Print the tally, if it is time for the next line."""
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + PLAIN_EVERY
            self.complain(progress(self._tally, self._total))

    def complain(self, text: str) -> None:
        """Print a line."""
        print(presentable(text), file=self._out, flush=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        pass


class LiveDisplay:
    """A bar and a line that change in place, with rich."""

    def __init__(self, tally: Tally, total: int | None, out: TextIO) -> None:
        from rich import live  # slow to import, and only for terminals
        from rich.console import Console  # slow to import, and only for terminals

        self._tally = tally
        self._total = total
        self._live = live.Live(get_renderable=self._picture, console=Console(file=out))

    def _picture(self) -> "RenderableType":
        from rich.console import Group  # slow to import, and only for terminals
        from rich.progress_bar import ProgressBar  # slow to import, and only for terminals
        from rich.text import Text  # slow to import, and only for terminals

        done = self._tally.done
        line = Text(progress(self._tally, self._total), no_wrap=True, overflow="ellipsis")
        bar = ProgressBar(self._total, done, width=72, pulse=self._total is None)
        return Group(line, bar)  # the bar comes last, because it does not end its line

    def update(self) -> None:
        """Do nothing: rich shows the tally a few times per second."""

    def complain(self, text: str) -> None:
        """Print a line above the live lines."""
        self._live.console.print(presentable(text), markup=False, highlight=False, soft_wrap=True)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._live.stop()


def display(tally: Tally, total: int | None, out: TextIO) -> Display:
    """Make the display for *out*; *total* is the number of requests, or None if unknown."""
    return (LiveDisplay if out.isatty() else PlainDisplay)(tally, total, out)


def progress(tally: Tally, total: int | None) -> str:
    """The tally as a line of about 80 characters."""
    of = "" if total is None else f"/{total:,}"
    failed = tally.failed.total() + tally.bad_lines
    return (
        f"{tally.done:,}{of} done, {_rate(tally):,.0f}/s, {tally.in_flight} in flight, "
        f"{tally.retries:,} retries, {failed:,} failed, "
        f"{_short(tally.input_tokens)}+{_short(tally.output_tokens)} tokens"
    )


def summary(tally: Tally, skipped: int = 0) -> "Table":
    """Make the table for the end of a run; *skipped* requests had an answer before the run."""
    from rich.table import Table  # slow to import

    table = Table(show_header=False)
    table.add_column()
    table.add_column(justify="right")
    for name, value in _rows(tally, skipped):
        table.add_row(name, value)
    return table


def _rows(tally: Tally, skipped: int) -> Iterator[tuple[str, str]]:
    yield "succeeded", f"{tally.succeeded:,}"
    if skipped:
        yield "answered before", f"{skipped:,}"
    for name, number in tally.failed.most_common():
        yield f"failed: {name}", f"{number:,}"
    if tally.bad_lines:
        yield "bad lines", f"{tally.bad_lines:,}"
    if tally.in_flight:
        yield "cancelled in flight", f"{tally.in_flight:,}"
    yield "retries", f"{tally.retries:,}"
    yield "input tokens", f"{tally.input_tokens:,}"
    yield "output tokens", f"{tally.output_tokens:,}"
    yield "duration", f"{tally.seconds:,.1f} s"
    yield "rate", f"{_rate(tally):,.1f}/s"


def _short(number: int) -> str:
    """The number as about four characters."""
    for size, unit in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if number >= size:
            return f"{number / size:.3g}{unit}"
    return str(number)


def _rate(tally: Tally) -> float:
    return tally.done / max(tally.seconds, 1e-3)
