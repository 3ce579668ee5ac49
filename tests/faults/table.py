"""Prints every fault and what callers get for it, measured, as Markdown.

    python tests/faults/table.py                                          of this library
    python tests/faults/table.py --official                               and of the official SDK
    python tests/faults/table.py --official --output docs/faults.md       into the documentation

`--output` replaces what follows the page's marker. Cases in a row with one outcome are one line.
"""

import argparse
import platform
import re
import sys
from contextlib import nullcontext
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import groupby
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))  # `timing`

from attrs import frozen
from cases import CASES
from expectations import ANSWER
from judging import Outcome, Verdict, judge
from official import ALSO, BACKENDS, Official
from running import FORMS, TRANSPORTS, run, sockets

from claude_lite import APIError, ConnectionFailed, ConnectionLost, TimedOut, TransportError
from claude_lite.errors import ClaudeError, UnexpectedResponse

MARKER = "<!-- what follows is written by tests/faults/table.py -->\n"
OURS, THEIRS = "claude_lite", "the official SDK"


@frozen
class Row:
    """A case and its verdicts, by client and form."""

    case: object
    verdicts: dict[tuple[str, str], Verdict]

    def summary(self, clients):
        """What these clients do in this case, in a cell."""
        cells = {}
        for form in FORMS:
            found = {c: cell(self.verdicts[c, form]) for c in clients if (c, form) in self.verdicts}
            if found:
                cells[form] = merged(found)
        return merged(cells)

    def right(self, client):
        """Whether this client is right in this case, in every form; None if it is excused."""
        found = [self.verdicts[client, form] for form in FORMS if (client, form) in self.verdicts]
        wrong = [verdict for verdict in found if not verdict.right]
        return not wrong or (None if all(verdict.excused for verdict in wrong) else False)


def cell(verdict):
    """Show a verdict."""
    if verdict.right:
        return verdict.shown
    return f"no setting: {verdict.shown}" if verdict.excused else f"**wrong**: {verdict.shown}"


def merged(cells):
    """Join cells by what they say; without their names if all say the same."""
    by_text = {}
    for name, text in cells.items():
        by_text.setdefault(text, []).append(name)
    if len(by_text) == 1:
        return next(iter(by_text))
    return "; ".join(f"{', '.join(names)}: {text}" for text, names in by_text.items())


def described(outcome, *, leaked):
    """Describe an outcome of ours in the words of `judging`."""
    error, message = outcome.error, outcome.message
    if error is None:
        done = message.stop_reason is not None
        return Outcome(ANSWER, "answer", outcome.took, outcome.text, done, leaked=leaked)
    phase = f" ({error.phase})" if isinstance(error, TimedOut) else ""
    labels = tuple(
        label
        for label in (getattr(error, "status", None), getattr(error, "type", None))
        if label is not None
    )
    shown = outcome.name + phase
    return Outcome(shown, kind_of(error), outcome.took, labels=labels, leaked=leaked)


def kind_of(error):
    """Say which kind of error of ours this is."""
    kinds = {
        TimedOut: "timeout",
        ConnectionFailed: "connection",
        ConnectionLost: "connection",
        TransportError: "reply",
        UnexpectedResponse: "reply",
        APIError: "status",
        ClaudeError: "reply",
    }
    return next((kind for base, kind in kinds.items() if isinstance(error, base)), "foreign")


def ours(case, expected, transport, form):
    """Run a case over one transport, and judge it."""
    before = sockets()
    with case.serve() as served:
        outcomes = run(case, transport, form, served.url)
    leaked = sockets() != before
    return worst(case, expected, [described(o, leaked=leaked) for o in outcomes], served)


def theirs(case, expected, official, backend, form):
    """Run a case with the official SDK, and judge it."""
    with case.serve() as served:
        outcomes = official.run(case, backend, form, served.url)
    also, _ = ALSO.get(case.name, (frozenset(), ""))
    return worst(case, expected, outcomes, served, also)


def worst(case, expected, outcomes, served, also=frozenset()):
    """Judge the calls of a case: the first that is wrong, or the last."""
    verdicts = [judge(case, expected, outcome, served, also) for outcome in outcomes]
    return next((verdict for verdict in verdicts if not verdict.right), verdicts[-1])


def measured(case, official):
    """Run one case in every form with every client."""
    verdicts = {}
    for form, (call, *_) in FORMS.items():
        if (expected := getattr(case, form)) is None:
            continue
        for transport in TRANSPORTS:
            verdicts[transport, form] = twice(ours, case, expected, transport, call)
        for backend in BACKENDS if official else ():
            verdicts[f"SDK {backend}", form] = twice(
                theirs, case, expected, official, backend, call
            )
    return Row(case, verdicts)


def twice(measure, *args):
    """Measure again what is wrong: the machine may have been busy."""
    verdict = measure(*args)
    return verdict if verdict.right or verdict.excused else measure(*args)


def clients(rows):
    """Name who was measured: ours, and theirs."""
    names = dict.fromkeys(client for row in rows for client, _ in row.verdicts)
    return [n for n in names if n in TRANSPORTS], [n for n in names if n not in TRANSPORTS]


def totals(rows):
    """Write how many cases each client gets right, by group."""
    names = [name for side in clients(rows) for name in side]
    yield table_row("", "cases", *names)
    yield table_row(*["---"] * (2 + len(names)))
    groups = [(title, list(some)) for title, some in groupby(rows, lambda row: row.case.group)]
    for title, some in [*groups, ("**all**", rows)]:
        yield table_row(title, str(len(some)), *(count(some, name) for name in names))


def count(rows, client):
    """Count the cases that a client gets right, and those for which it has no setting."""
    found = [row.right(client) for row in rows]
    excused = found.count(None)
    return f"{found.count(True)}{f' (+{excused})' if excused else ''}"


def lines(rows):
    """Write the cases of one group, those alike and in a row as one line."""
    mine, their = clients(rows)
    sides = [side for side in (mine, their) if side]
    yield table_row("the server", *[OURS, THEIRS][: len(sides)])
    yield table_row(*["---"] * (1 + len(sides)))
    for cells, same in groupby(rows, lambda row: tuple(row.summary(side) for side in sides)):
        names = [shown(row.case.name) for row in same]
        label = names[0] if len(names) == 1 else f"{names[0]} … {names[-1]} ({len(names)} cases)"
        yield table_row(label, *cells)


def shown(name):
    """Write the name of a case so that Markdown shows it as it is."""
    text = name.encode("unicode_escape").decode().replace("\\", "\\\\")
    return re.sub(r"([|*_<>\[\]`])", r"\\\1", text)


def table_row(*cells):
    """Write a row of a table."""
    return f"| {' | '.join(cells)} |\n".replace("|  |", "| |")


def page(rows, official):
    """Write what was measured: the totals, then each group."""
    packages = ["claude-lite", "aiohttp", *(["anthropic", "httpx2"] if official else [])]
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    yield f"\nMeasured on {datetime.now(UTC):%Y-%m-%d} with Python {platform.python_version()}: "
    yield f"{versions}.\n\n"
    yield from totals(rows)
    if official:
        yield "\nRight for the SDK besides:\n\n"
        yield from (f"- {shown(name)}: {reason}\n" for name, (_, reason) in ALSO.items())
    for title, some in groupby(rows, lambda row: row.case.group):
        yield f"\n## {title}\n\n"
        yield from lines(list(some))


def main():
    """Measure, and print or write."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--official", action="store_true", help="the official SDK, too")
    parser.add_argument("--output", type=Path, help="a page with the marker")
    args = parser.parse_args()
    rows = []
    with Official() if args.official else nullcontext() as official:
        for case in CASES:
            rows.append(measured(case, official))
            sys.stderr.write(f"\r{len(rows)} of {len(CASES)}")
    sys.stderr.write("\n")
    text = "".join(page(rows, args.official))
    if args.output:
        before, marker, _ = args.output.read_text(encoding="utf-8").partition(MARKER)
        args.output.write_text(before + marker + text, encoding="utf-8")
    else:
        sys.stdout.write(text)


if __name__ == "__main__":
    main()
