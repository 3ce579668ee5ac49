"""The table and the chart of a run."""

from html import escape
from typing import Final

from benchmarks.fleet.scenarios import Figures, Goal, Scenario

Row = tuple[Scenario, Figures]

FILL: Final = "#d97757"
REFUSED_FILL: Final = "#5b6b7b"
WIDTH: Final = 300
HEADER: Final = ("scenario", "use", "429", "Jain", "wait p50", "p99", "goal")


def cells(row: Row) -> tuple[str, ...]:
    """Write a row: the scenario, what was reached, and the goal with what was missed."""
    scenario, figures = row
    missed = figures.missed(scenario.goal)
    verdict = f"MISSED: {', '.join(missed)}" if missed else "reached"
    return (
        scenario.title,
        f"{figures.use:.1%}",
        f"{figures.refused:.2%}",
        f"{figures.jain:.3f}" if scenario.processes > 1 else "",
        f"{max(0.0, figures.wait(0.5)):.2f} s",
        f"{max(0.0, figures.wait(0.99)):.2f} s",
        f"{_goal(scenario.goal)}: {verdict}",
    )


def _goal(goal: Goal) -> str:
    parts = (
        ("use ≥ {:.0%}", goal.use),
        ("429 ≤ {:.1%}", goal.refused),
        ("Jain ≥ {}", goal.jain),
        ("p50 ≤ {} s", goal.p50),
        ("p99 ≤ {} s", goal.p99),
    )
    return ", ".join(text.format(value) for text, value in parts if value is not None) or "answers"


def text(rows: list[Row]) -> str:
    """Write the table for a terminal."""
    table = [HEADER, *map(cells, rows)]
    widths = [max(len(line[column]) for line in table) for column in range(len(HEADER))]
    return "\n".join(
        line[0].ljust(widths[0])
        + "".join(
            cell.rjust(width + 2) for cell, width in zip(line[1:-1], widths[1:-1], strict=True)
        )
        + f"  {line[-1]}"
        for line in table
    )


def markdown(rows: list[Row]) -> str:
    """Write the table in Markdown."""
    lines = [f"| {' | '.join(HEADER)} |", f"|{'---|' * len(HEADER)}"]
    lines += [f"| {' | '.join(cells(row))} |" for row in rows]
    return "\n".join(lines) + "\n"


def chart(rows: list[Row]) -> str:
    """Draw the use of the limit as bars in SVG, with the part that was refused."""
    drawn = [row for row in rows if row[0].goal.use is not None]
    out, y = [], 34
    for scenario, figures in drawn:
        use = min(figures.use, 1.0) * WIDTH
        out += [
            f'<text x="400" y="{y + 10}" text-anchor="end">{escape(scenario.title)}</text>',
            f'<rect x="408" y="{y}" width="{use:.1f}" height="11" fill="{FILL}"/>',
            (
                f'<text x="{412 + WIDTH}" y="{y + 10}">{figures.use:.1%}, '
                f"429: {figures.refused:.2%}</text>"
            ),
        ]
        y += 15
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="830" height="{y + 10}" '
        f'viewBox="0 0 830 {y + 10}" font-family="sans-serif" font-size="11" fill="#333">\n'
        '<rect width="100%" height="100%" fill="#fff"/>\n'
        '<text x="10" y="18" font-size="13">Use of the limit, and calls refused with 429, '
        "in virtual time</text>\n"
    )
    return head + "\n".join(out) + "\n</svg>\n"
