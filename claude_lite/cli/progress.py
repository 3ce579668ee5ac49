"""Show how a run comes along: a live line on a terminal, now and then a plain one elsewhere.

All of it goes to standard error. At the end `summary` is a table of what came of it. Nothing
here counts: the numbers are those of the run's `Tally`.
"""

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final, Protocol, Self, TextIO

from claude_lite.bulk.run import Tally
from claude_lite.errors import visible

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

PLAIN_EVERY: Final = 5.0  # seconds between plain lines


class Display(Protocol):
    """Something that shows a tally; a context manager, for as long as the run takes."""

    def update(self) -> None:
        """The tally has changed."""

    def complain(self, text: str) -> None:
        """Show a line that should not be lost."""

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
        """The tally has changed."""
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + PLAIN_EVERY
            self.complain(progress(self._tally, self._total))

    def complain(self, text: str) -> None:
        """Print a line."""
        print(visible(text), file=self._out, flush=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        pass


class LiveDisplay:
    """A bar and a line that change in place, by rich."""

    def __init__(self, tally: Tally, total: int | None, out: TextIO) -> None:
        from rich import live  # dear, and only for terminals
        from rich.console import Console  # likewise

        self._tally = tally
        self._total = total
        self._live = live.Live(get_renderable=self._picture, console=Console(file=out))

    def _picture(self) -> "RenderableType":
        from rich.console import Group  # see above
        from rich.progress_bar import ProgressBar  # likewise
        from rich.text import Text  # likewise

        done = self._tally.done
        line = Text(progress(self._tally, self._total), no_wrap=True, overflow="ellipsis")
        bar = ProgressBar(self._total, done, width=72, pulse=self._total is None)
        return Group(line, bar)  # in this order: a bar does not end its line

    def update(self) -> None:
        """The tally has changed; it is looked at a few times a second anyway."""

    def complain(self, text: str) -> None:
        """Print a line above the live ones."""
        self._live.console.print(visible(text), markup=False, highlight=False, soft_wrap=True)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._live.stop()


def display(tally: Tally, total: int | None, out: TextIO) -> Display:
    """The display that suits *out*; *total* is the number of requests, where it is known."""
    return (LiveDisplay if out.isatty() else PlainDisplay)(tally, total, out)


def progress(tally: Tally, total: int | None) -> str:
    """The tally in a line of about 80 characters."""
    of = "" if total is None else f"/{total:,}"
    failed = tally.failed.total() + tally.bad_lines
    return (
        f"{tally.done:,}{of} done, {_rate(tally):,.0f}/s, {tally.in_flight} in flight, "
        f"{tally.retries:,} retries, {failed:,} failed, "
        f"{_short(tally.input_tokens)}+{_short(tally.output_tokens)} tokens"
    )


def summary(tally: Tally, skipped: int = 0) -> "Table":
    """The table that a run ends with; *skipped* requests had been answered before."""
    from rich.table import Table  # dear, and only needed here

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
    """A number in about four characters."""
    for size, unit in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if number >= size:
            return f"{number / size:.3g}{unit}"
    return str(number)


def _rate(tally: Tally) -> float:
    return tally.done / max(tally.seconds, 1e-3)
