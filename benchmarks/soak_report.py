"""Judge a soak from its JSON report: is it flat? Write a summary in Markdown, a chart in SVG.

A measure is flat if the median of the last fifth of its samples exceeds the median of the second
fifth by no more than the room of the measure. The first fifth is for warming up.
"""

import statistics
from collections import Counter
from html import escape
from typing import Any, Final

from attrs import frozen

from benchmarks.report import FILLS

FEWEST: Final = 10  # samples that are needed to judge
TALL: Final = 90  # pixels of a panel, as are the next two
WIDE: Final = 560
LEFT: Final = 110

Report = dict[str, Any]


@frozen
class Measure:
    """A sampled figure, and how much it may grow: in all, and per call in flight.

    A measure without room is shown, but not judged.
    """

    key: str
    title: str
    room: float | None = None
    room_in_flight: float = 0.0

    def allowed(self, concurrency: int) -> float | None:
        """Return how much the measure may grow; None: it is not judged."""
        return None if self.room is None else self.room + self.room_in_flight * concurrency


MEASURES: Final = (
    Measure("rss_mb", "memory of the client, MB", 8),
    Measure("objects", "objects that the collector knows", 2000, 100),
    Measure("sockets", "sockets of the client", 0, 1),
    Measure("tasks", "tasks", 0, 1),
    Measure("threads", "threads", 0, 1),
    Measure("server_rss_mb", "memory of the emulator, MB", 32),  # it remembers 100,000 bodies
    Measure("server_sockets", "sockets of the emulator", 0, 1),
    Measure("rate", "calls a second"),
)


def line(sample: Report, failures: int) -> str:
    """Write a sample as a line for the terminal."""
    return (
        f"{sample['done']:>9,} calls {sample['seconds']:8.1f} s {sample['rate']:7.0f}/s"
        f" {sample['rss_mb']:7.1f} MB {sample['sockets']:4} sockets {sample['tasks']:4} tasks"
        f" {sample['threads']:3} threads {sample['objects']:,} objects"
        f" | emulator {sample['server_rss_mb']:7.1f} MB {sample['server_sockets']:4} sockets"
        f" | wrong: {failures}"
    )


def growth(made: Report, measure: Measure) -> tuple[float, float]:
    """Return the medians of the second and of the last fifth of the samples."""
    values = [sample[measure.key] for sample in made["samples"]]
    size = len(values)
    early, late = values[size // 5 : 2 * size // 5], values[4 * size // 5 :]
    return statistics.median(early), statistics.median(late)


def complaints(made: Report) -> list[str]:
    """List everything that is wrong; an empty list means that the soak is passed."""
    found = []
    if made["done"] < made["requests"] and not made["interrupted"]:
        found.append(f"only {made['done']:,} of {made['requests']:,} calls were made")
    if made["failures"]:
        found.append(f"{made['failures']} outcomes were wrong")
    found += [f"left over in the end: {thing}" for thing in made["left"]]
    struck: Counter[str] = Counter()
    for row in made["outcomes"]:
        if row["fault"] is not None and row["outcome"] != "cancelled":
            struck[row["fault"]] += row["calls"]
    for fault, calls in struck.items():
        if made["server"]["faults"][fault] < calls:
            found.append(f"{calls} calls asked for {fault!r}, and it did not strike all of them")
    if len(made["samples"]) < FEWEST:
        return [*found, "the run was too short to say what grows"]
    for measure in MEASURES:
        room = measure.allowed(made["concurrency"])
        early, late = growth(made, measure)
        if room is not None and late - early > room:
            found.append(f"{measure.title}: from {early:,g} to {late:,g}, room for {room:g}")
    return found


def verdict(made: Report) -> str:
    """Write the result in a few lines."""
    head = f"{made['done']:,} calls in {made['seconds']:,.0f} s by {made['transport']}"
    if made["interrupted"]:
        head += f", interrupted before {made['requests']:,}"
    if not made["complaints"]:
        return f"{head}: every outcome was right, and all is flat after warming up."
    return "\n".join([f"{head}: NOT WELL.", *(f"- {each}" for each in made["complaints"])])


def markdown(made: Report) -> str:
    """Write the summary in Markdown."""
    facts, samples = made["about"], made["samples"]
    out = [
        "# Soak",
        "",
        verdict(made),
        "",
        (
            f"{facts['date']}; {facts['machine']}; {facts['system']}; Python {facts['python']}; "
            f"{made['concurrency']} calls in flight; {made['server']['requests']:,} HTTP requests; "
            f"{sum(made['server']['faults'].values()):,} faults."
        ),
    ]
    if made["wrong"]:
        out += ["", "## Wrong outcomes", "", *(f"- {each}" for each in made["wrong"])]
    if len(samples) >= FEWEST:
        out += ["", "## What was held", ""]
        out += ["| | at 10 % | 50 % | the end | second fifth | last fifth | room |"]
        out += ["|---" * 7 + "|"]
        at = [len(samples) // 10, len(samples) // 2, len(samples) - 1]
        for measure in MEASURES:
            room = measure.allowed(made["concurrency"])
            cells = [samples[place][measure.key] for place in at] + [*growth(made, measure)]
            shown = " | ".join(f"{cell:,.10g}" for cell in cells)
            out.append(f"| {measure.title} | {shown} | {'' if room is None else f'{room:g}'} |")
    out += ["", "## What came of the calls", "", "| outcome | calls |", "|---|---|"]
    totals: Counter[str] = Counter()
    for row in made["outcomes"]:
        totals[row["outcome"]] += row["calls"]
    out += [f"| {outcome} | {calls:,} |" for outcome, calls in totals.most_common()]
    out += ["", "| form | fault | outcome | calls |", "|---|---|---|---|"]
    out += [
        f"| {row['form']} | {row['fault'] or ''} | {row['outcome']} | {row['calls']:,} |"
        for row in sorted(made["outcomes"], key=lambda row: (row["form"], row["fault"] or ""))
    ]
    return "\n".join(out) + "\n"


def chart(made: Report) -> str:
    """Draw a panel per measure, from zero up, over the number of calls."""
    out, y = [], 50
    for measure in MEASURES:
        out += _panel(made, measure, y)
        y += TALL + 42
    title = f"{verdict(made).splitlines()[0]} {made['about']['date']}"
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="720" height="{y}" '
        f'viewBox="0 0 720 {y}" font-family="sans-serif" font-size="11" fill="#333">\n'
        '<rect width="100%" height="100%" fill="#fff"/>\n'
        f'<text x="10" y="18" font-size="12">{escape(title)}</text>\n'
    )
    return head + "\n".join(out) + "\n</svg>\n"


def _panel(made: Report, measure: Measure, y: int) -> list[str]:
    points = [(sample["done"], sample[measure.key]) for sample in made["samples"]]
    if not points:
        return []
    most = max(value for _, value in points) or 1
    last = max(done for done, _ in points)
    line_ = " ".join(
        f"{LEFT + done / last * WIDE:.1f},{y + TALL - value / most * TALL:.1f}"
        for done, value in points
    )
    fill = FILLS["anthropic" if measure.key.startswith("server") else "claude_lite"]
    bottom = y + TALL
    return [
        f'<text x="{LEFT}" y="{y - 8}" font-weight="bold">{escape(measure.title)}</text>',
        f'<path d="M{LEFT} {y}V{bottom}H{LEFT + WIDE}" fill="none" stroke="#999"/>',
        f'<path d="M{LEFT} {y}H{LEFT + WIDE}" stroke="#ddd"/>',
        f'<text x="{LEFT - 6}" y="{y + 4}" text-anchor="end">{most:,.10g}</text>',
        f'<text x="{LEFT - 6}" y="{bottom + 4}" text-anchor="end">0</text>',
        f'<text x="{LEFT}" y="{bottom + 14}">0</text>',
        f'<text x="{LEFT + WIDE}" y="{bottom + 14}" text-anchor="end">{last:,} calls</text>',
        f'<polyline points="{line_}" fill="none" stroke="{fill}" stroke-width="1.5"/>',
    ]
