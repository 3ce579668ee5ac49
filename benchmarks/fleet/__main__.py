"""Run the scenarios, print the table, and write it and the chart.

    python -m benchmarks.fleet [--only TEXT] [--small] [--output DIR]

The exit code is 1 if a goal was missed.
"""

import argparse
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from benchmarks.fleet import report
from benchmarks.fleet.scenarios import SCENARIOS, Figures, Run


def run(name: str, small: bool) -> Figures:  # noqa: FBT001
    """Run one scenario."""
    scenario = SCENARIOS[name]
    return Run(scenario.small() if small else scenario).figures()


def main() -> int:
    """Run what was asked for; give the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fleet", description=__doc__)
    parser.add_argument("--only", default="", help="scenarios whose name has this text")
    parser.add_argument("--small", action="store_true", help="at most 8 processes of 16 tasks")
    parser.add_argument("--output", type=Path, help="the folder for fleet.md and fleet.svg")
    options = parser.parse_args()
    names = [name for name in SCENARIOS if options.only in name]
    # The longest scenarios come last in the table; they begin first, so that no core is idle.
    order = sorted(names, key=lambda name: -SCENARIOS[name].processes * SCENARIOS[name].tasks)
    with ProcessPoolExecutor(os.cpu_count()) as workers:
        figures = dict(
            zip(order, workers.map(run, order, [options.small] * len(order)), strict=True)
        )
    rows = [(SCENARIOS[name], figures[name]) for name in names]
    print(report.text(rows))
    if options.output is not None:
        options.output.mkdir(parents=True, exist_ok=True)
        (options.output / "fleet.md").write_text(report.markdown(rows), encoding="utf-8")
        (options.output / "fleet.svg").write_text(report.chart(rows), encoding="utf-8")
    return any(figures.missed(scenario.goal) for scenario, figures in rows)


if __name__ == "__main__":
    sys.exit(main())
