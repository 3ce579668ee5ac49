"""What a run shows of itself, and the table that it ends with."""

import io
import re

import pytest
from rich.console import Console

from claude_lite import Overloaded, UsageError
from claude_lite.bulk import Outcome, Tally
from claude_lite.cli import progress as module
from claude_lite.cli.progress import LiveDisplay, PlainDisplay, display, progress, summary


class Terminal(io.StringIO):
    """A terminal of the mind."""

    def isatty(self):
        """Say that it is one."""
        return True


@pytest.fixture
def tally():
    """Give a tally with something of everything in it."""
    made = Tally(succeeded=1200, retries=31, in_flight=7, input_tokens=1_234_567, output_tokens=89)
    made.add(Outcome(1, "a", Overloaded(), 3))
    made.add(Outcome(2, None, UsageError()))
    return made


def printed(table):
    """Print a table into a string."""
    out = io.StringIO()
    Console(file=out, width=80).print(table)
    return out.getvalue()


def test_a_line_of_progress_fits_a_terminal(tally):
    """Done of how many, rate, in flight, retries, failures and tokens, in about 80 characters."""
    line = progress(tally, 1500)
    assert line.startswith("1,202/1,500 done, ")
    assert line.endswith("7 in flight, 31 retries, 2 failed, 1.23M+89 tokens")
    assert progress(tally, None).startswith("1,202 done, ")


def test_no_terminal_gets_a_plain_line_now_and_then(tally, monkeypatch):
    """The first comes after some seconds, and more are not printed than one each so often."""
    out = io.StringIO()
    with display(tally, 1500, out) as shown:
        assert isinstance(shown, PlainDisplay)
        shown.update()
        assert out.getvalue() == ""
    monkeypatch.setattr(module, "PLAIN_EVERY", 0.0)
    with display(tally, 1500, out) as shown:
        shown.update()
    assert re.fullmatch(r"1,202/1,500 done, [^\n]*\n", out.getvalue())


def test_a_terminal_gets_a_live_line(tally):
    """On a terminal the line is there at the end, and complaints stand above it."""
    out = Terminal()
    with display(tally, 1500, out) as shown:
        assert isinstance(shown, LiveDisplay)
        shown.update()
        shown.complain("line 2: [bold]not markup[/bold]")
    text = out.getvalue()
    assert "1,202/1,500 done" in text
    assert "line 2: [bold]not markup[/bold]" in text


def test_the_summary_has_all_that_happened(tally):
    """Successes, failures by class, bad lines, retries, tokens, time and rate."""
    text = printed(summary(tally, skipped=40))
    for row in (
        "succeeded +│ +1,200",
        "answered before +│ +40",
        "failed: Overloaded +│ +1",
        "bad lines +│ +1",
        "cancelled in flight +│ +7",
        "retries +│ +31",
        "input tokens +│ +1,234,567",
        "output tokens +│ +89",
        r"duration +│ +[\d.]+ s",
        r"rate +│ +[\d.,]+/s",
    ):
        assert re.search(f"│ {row} │", text), row


def test_the_summary_leaves_out_what_did_not_happen():
    """Without failures there are no rows about them."""
    text = printed(summary(Tally(succeeded=1)))
    assert "failed" not in text
    assert "bad lines" not in text
    assert "before" not in text
