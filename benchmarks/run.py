"""Measure the peers in turn, round after round, and write the cost of a call.

    python -m benchmarks.run [--quick] [--rounds N] [--only TEXT] [--output DIR]

Each round measures every peer of a row once (A B A B), so that other load on the machine affects
all peers alike; every second round has the reverse order. A ratio is between two figures of one
round. The report has the median, the least and the greatest of the rounds. Only CPU seconds of
the client's process count, so waiting costs nothing.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

from benchmarks import report
from benchmarks.scenarios import OTHERS, Entry, Row, rows

ROUNDS: Final = 5
LONGEST: Final = 300.0
ROOT: Final = Path(__file__).parent.parent

Figure = dict[str, Any]
METRICS: Final[dict[str, Callable[[Figure], float]]] = {
    "us": lambda figure: figure["cpu"] / figure["n"] * 1e6,
    "absolute us": lambda figure: figure["cpu"] / figure["n"] * 1e6,
    "MB": lambda figure: figure["peak"] / 2**20,
    "absolute kB": lambda figure: figure["grown"] / figure["n"] / 1024,
}
ABSOLUTE: Final = ("absolute us", "absolute kB")

IMPORT: Final = """
import sys, time
start = time.process_time()
for name in sys.argv[1:]:
    __import__(name)
cpu = time.process_time() - start
peak = [line for line in open("/proc/self/status") if line.startswith("VmHWM")][0].split()[1]
print(cpu, peak)
"""


class Server:
    """The server's process."""

    def __init__(self, stack: ExitStack) -> None:
        command = [sys.executable, "-m", "benchmarks.server"]
        process = stack.enter_context(
            subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        )
        stack.callback(process.terminate)
        assert process.stdout is not None
        self.url = f"http://127.0.0.1:{int(process.stdout.readline())}"


class Worker:
    """A peer's process."""

    def __init__(self, stack: ExitStack) -> None:
        self._process = stack.enter_context(
            subprocess.Popen(
                [sys.executable, "-m", "benchmarks.worker"],
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
        )
        stack.callback(self._process.terminate)

    def do(self, job: dict[str, Any]) -> dict[str, Any]:
        """Give a job to the worker, and wait for the answer."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(json.dumps(job) + "\n")
        stdin.flush()
        line = stdout.readline()
        return json.loads(line) if line else {"skip": "its process ended"}


@contextmanager
def _fresh() -> Iterator[Worker]:
    with ExitStack() as stack:
        yield Worker(stack)


def _imported(modules: list[str]) -> dict[str, Any]:
    command = [sys.executable, "-c", IMPORT, *modules]
    # Write bytecode: without it, an edited module would be compiled each time.
    env = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    ended = subprocess.run(
        command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=LONGEST, check=False
    )
    if ended.returncode:
        return {"skip": ended.stderr.strip().split("\n")[-1][:200]}
    cpu, peak = ended.stdout.split()
    return {"cpu": float(cpu), "wall": 0.0, "n": 1, "peak": int(peak) * 1024, "grown": 0}


class Bench:
    """One run: the server, a process per peer, and the figures."""

    def __init__(self, stack: ExitStack, *, rounds: int, quick: bool) -> None:
        self._stack = stack
        self._rounds = rounds
        self._quick = quick
        self._server = Server(stack)
        self._workers: dict[str, Worker] = {}

    def measure(self, row: Row) -> dict[str, Any]:
        """Measure a row; return plain values for the JSON report."""
        found: dict[str, list[dict[str, Any]]] = {entry.label: [] for entry in row.entries}
        skipped: dict[str, str] = {}
        for number in range(self._rounds):
            for entry in row.entries[:: -1 if number % 2 else 1]:
                if entry.label not in skipped:
                    figure = self._one(row, entry)
                    if "skip" in figure:
                        skipped[entry.label] = figure["skip"]
                    else:
                        found[entry.label].append(figure)
        base = found[row.entries[0].label]
        peers = []
        for entry in row.entries:
            if entry.label in skipped:
                peers.append({"peer": entry.label, "skipped": skipped[entry.label]})
            else:
                peers.append(_summary(entry, found[entry.label], base, row.metric))
        return {"key": row.key, "title": row.title, "metric": row.metric, "peers": peers}

    def _one(self, row: Row, entry: Entry) -> dict[str, Any]:
        url = self._server.url
        job = {**entry.job, "url": f"{url}/{row.route}", "cpu_url": f"{url}/cpu"}
        if self._quick and job["peer"] in OTHERS:
            return {"skip": "left out of a smoke test"}
        if self._quick:
            job["concurrency"] = min(job.get("concurrency", 1), 4)
            job["n"] = max(job["concurrency"], min(job["n"] // 50, 8))
        if job["kind"] == "import":
            return _imported(job["modules"])
        if row.fresh:
            with _fresh() as worker:
                figure = worker.do(job)
        else:
            if job["peer"] not in self._workers:
                self._workers[job["peer"]] = Worker(self._stack)
            figure = self._workers[job["peer"]].do(job)
        if "skip" not in figure:
            figure["cpu"] *= job.get("per", 1)
        return figure


def _summary(
    entry: Entry, figures: list[Figure], base: list[Figure], metric: str
) -> dict[str, Any]:
    one = METRICS[metric]
    ratios = [one(a) / one(b) for a, b in zip(figures, base, strict=False) if one(b)]
    judged = [one(figure) for figure in figures] if metric in ABSOLUTE else ratios
    return {
        "peer": entry.label,
        "ratio": _spread(ratios),
        "goal": entry.goal,
        "met": statistics.median(judged) <= entry.goal if entry.goal and judged else None,
        "value": _spread([one(figure) for figure in figures]),
        "wall_us": _spread([figure["wall"] / figure["n"] * 1e6 for figure in figures]),
        "server_us": _spread([figure.get("server", 0) / figure["n"] * 1e6 for figure in figures]),
        "peak_mb": _spread([figure["peak"] / 2**20 for figure in figures]),
        "n": figures[0]["n"],
        "rounds": len(figures),
    }


def _spread(values: list[float]) -> dict[str, float] | None:
    if not values:
        return None
    middle = statistics.median(values)
    return {
        "median": round(middle, 4),
        "min": round(min(values), 4),
        "max": round(max(values), 4),
    }


def main() -> None:
    """Run the benchmarks."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--quick", action="store_true", help="a smoke test: the figures say little")
    parser.add_argument("--rounds", type=int, help=f"default: {ROUNDS}")
    parser.add_argument("--only", default="", help="only rows whose key has this text in it")
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "results")
    args = parser.parse_args()
    results = []
    with ExitStack() as stack:
        bench = Bench(stack, rounds=args.rounds or (1 if args.quick else ROUNDS), quick=args.quick)
        for row in rows():
            if args.only in row.key:
                results.append(bench.measure(row))
                print(report.line(results[-1]), flush=True)
    made = {"about": report.about(quick=args.quick), "rows": results}
    args.output.mkdir(parents=True, exist_ok=True)
    (args.output / "results.json").write_text(json.dumps(made, indent=1) + "\n")
    (args.output / "results.md").write_text(report.markdown(made))
    (args.output / "results.svg").write_text(report.chart(made))
    print(report.server_check(made))
    print(f"written: {args.output}/results.json, .md, .svg")


if __name__ == "__main__":
    main()
