"""Write the figures as text: lines for the terminal, Markdown tables, a chart in SVG.

Everything is made from the JSON report, so an old report can be written again.
"""

import os
import platform
from collections.abc import Iterator
from datetime import UTC, datetime
from html import escape
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

PACKAGES: Final = (
    *("claude-lite", "aiohttp", "orjson", "attrs", "cattrs", "httptools", "uvloop"),
    *("anthropic", "openai", "litellm"),
)
CHARTED: Final = ("unary 32", "large 32", "stream burst", "stream whole", "storm")
FILLS: Final = {"claude_lite": "#d97757", "anthropic": "#5b6b7b", "bare": "#7aa874"}
LONGEST_BAR: Final = 20.0

Report = dict[str, Any]


def about(*, quick: bool) -> Report:
    """Return the machine, the versions and the date."""
    cpu = [
        line.split(":", 1)[1].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "machine": f"{cpu[0] if cpu else platform.machine()}, {os.cpu_count()} cores",
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in PACKAGES},
        "load": [round(load, 2) for load in os.getloadavg()],
        "quick": quick,
    }


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def line(row: Report) -> str:
    """Write a row as a few lines for the terminal."""
    parts = [f"{row['title']}"]
    for peer in row["peers"]:
        if "skipped" in peer:
            parts.append(f"  {peer['peer']:32} skipped: {peer['skipped']}")
            continue
        goal = "" if peer["goal"] is None else f"  goal {peer['goal']:g} {_verdict(peer)}"
        cost = f"  {_cost(row, peer):>14}"
        parts.append(f"  {peer['peer']:32}{_ratio(peer):>24}{cost}{goal}")
    return "\n".join(parts)


def _verdict(peer: Report) -> str:
    return {None: "not compared", True: "met", False: "MISSED"}[peer["met"]]


def _ratio(peer: Report) -> str:
    ratio = peer["ratio"]
    if ratio is None:
        return "-"
    return f"{ratio['median']:.2f} ({ratio['min']:.2f}-{ratio['max']:.2f})"


def server_check(made: Report) -> str:
    """Say whether the server was slower than a client in any row that used the server."""
    busiest, where, slower = 0.0, "", []
    for row, peer in _measured(made):
        theirs, wall = peer["server_us"]["median"], peer["wall_us"]["median"]
        if not theirs or not wall:
            continue
        place = f"{row['title']}, {peer['peer']}"
        if theirs / wall > busiest:
            busiest, where = theirs / wall, place
        if row["metric"] == "us" and theirs > peer["value"]["median"]:
            slower.append(place)
    if not where:
        return "The server had no part in these rows."
    verdict = "less CPU a unit than every client"
    if slower:
        verdict = f"more CPU a unit than these clients: {'; '.join(slower)}. Otherwise less"
    return (
        f"The server used {verdict}. It was busy {busiest:.0%} of the time at most ({where}). "
        "Waiting for it costs a client no CPU."
    )


def _measured(made: Report) -> Iterator[tuple[Report, Report]]:
    for row in made["rows"]:
        for peer in row["peers"]:
            if "skipped" not in peer:
                yield row, peer


def markdown(made: Report) -> str:
    """Write the report in Markdown: a table per group of rows with the same peers."""
    facts = made["about"]
    versions = ", ".join(f"{name} {v}" for name, v in facts["versions"].items() if v)
    out = [
        "# Benchmarks",
        "",
        *(["**A smoke test: these figures say nothing.**", ""] if facts["quick"] else []),
        (
            f"{facts['date']}; {facts['machine']}; {facts['system']}; Python {facts['python']}; "
            f"{versions}. Load of the machine at the end: {facts['load'][0]}."
        ),
        "",
        (
            "CPU of the client's process (or its peak memory, where it says so), as a ratio to the "
            "first peer of each row in the same round: median (least-greatest)."
        ),
        "",
        server_check(made),
    ]
    for row in made["rows"]:
        out += ["", f"## {row['title'][:1].upper()}{row['title'][1:]}", ""]
        out += ["| peer | ratio | a unit | goal |", "|---|---|---|---|"]
        for peer in row["peers"]:
            if "skipped" in peer:
                out.append(f"| {peer['peer']} | skipped: {peer['skipped'].replace('|', '/')} | | |")
                continue
            goal = "" if peer["goal"] is None else f"≤ {peer['goal']:g}: {_verdict(peer)}"
            out.append(f"| {peer['peer']} | {_ratio(peer)} | {_cost(row, peer)} | {goal} |")
    return "\n".join(out) + "\n"


def _cost(row: Report, peer: Report) -> str:
    text = f"{peer['value']['median']:,.1f} {row['metric'].removeprefix('absolute ')}"
    if row["key"].startswith("import"):
        text += f", {peer['peak_mb']['median']:,.0f} MB in all"
    return text


def chart(made: Report) -> str:
    """Draw the ratio of each peer as a bar in SVG, a group per row; bars are cut off (») at 20."""
    groups = [row for row in made["rows"] if row["key"] in CHARTED]
    out, y = [], 40
    for row in groups:
        out.append(f'<text x="10" y="{y}" font-weight="bold">{escape(row["title"])}</text>')
        y += 8
        for peer in row["peers"]:
            if "skipped" in peer or peer["ratio"] is None:
                continue
            value = peer["ratio"]["median"]
            width = max(1.0, min(value, LONGEST_BAR) / LONGEST_BAR * 480)
            cut = " »" if value > LONGEST_BAR else ""
            fill = next((c for n, c in FILLS.items() if peer["peer"].startswith(n)), "#a9a9a9")
            out += [
                f'<text x="170" y="{y + 11}" text-anchor="end">{escape(peer["peer"])}</text>',
                f'<rect x="178" y="{y + 2}" width="{width:.1f}" height="11" fill="{fill}"/>',
                f'<text x="{182 + width:.0f}" y="{y + 11}">{value:.2f}{cut}</text>',
            ]
            y += 16
        y += 24
    about_line = f"{made['about']['date']}, {made['about']['machine']}"
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="720" height="{y}" '
        f'viewBox="0 0 720 {y}" font-family="sans-serif" font-size="11" fill="#333">\n'
        '<rect width="100%" height="100%" fill="#fff"/>\n'
        '<text x="10" y="18" font-size="13">CPU of the client for a call, '
        f"1 = aiohttp + json by hand ({escape(about_line)})</text>\n"
    )
    return head + "\n".join(out) + "\n</svg>\n"
