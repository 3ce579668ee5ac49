"""A long run with many faults, in which every outcome must be right and nothing may grow.

    python -m benchmarks.soak [--requests N] [--concurrency N] [--transport NAME] [--output DIR]

It makes N calls, with the forms and the faults of `soak_cases`, to the emulator in a process of
its own. After each hundredth of the calls it reads memory, sockets, tasks and threads; at the
end, with its client closed, it checks that all of them are gone. It writes a JSON report, a
summary and a chart. Exit codes: 0 all is right, 1 something grew or was wrong, 130 interrupted
(the results so far are written as well).
"""

import argparse
import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from benchmarks import report, soak_report
from benchmarks.soak_calls import AsyncCaller, Outcome, SyncCaller
from benchmarks.soak_cases import FAULTS, RULES, Case, deck
from benchmarks.soak_held import Sample, added, held

REQUESTS: Final = 1_000_000
CONCURRENCY: Final = 64
MOST: Final = 128  # calls in flight: the retry budget holds 100 tokens
SAMPLES: Final = 100
LEAST: Final = 100  # calls between two samples: a sample takes time
EXAMPLES: Final = 20
LOOKS: Final = 20  # the last sockets have some seconds to close
PAUSE: Final = 0.2
INTERRUPTED: Final = 130
ROOT: Final = Path(__file__).parent.parent
TRANSPORTS: Final[dict[str, type[AsyncCaller | SyncCaller]]] = {
    "aiohttp": AsyncCaller,
    "asyncio": AsyncCaller,
    "urllib": SyncCaller,
}


class Server:
    """The process of the emulator. It ends when this process ends, in whatever way."""

    def __init__(self) -> None:
        command = [sys.executable, "-c", "from benchmarks import soak; soak.serve()"]
        self._process = subprocess.Popen(
            command,
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            process_group=0,  # so that Ctrl-C reaches this process only
        )
        assert self._process.stdout is not None
        self.pid = self._process.pid
        self.url = self._process.stdout.readline().strip()

    def end(self) -> dict[str, Any]:
        """End the process, and return its counts."""
        said, _ = self._process.communicate()
        counted: dict[str, Any] = json.loads(said)
        return counted


def serve() -> None:
    """Serve the emulator until the standard input ends; print the URL, and then the counts."""
    from claude_lite.emulator import Emulator
    from claude_lite.emulator.serving import server
    from claude_lite.faults import FaultScript

    script = FaultScript(RULES)
    emulator = Emulator(faults=script)

    def end() -> None:
        sys.stdin.read()
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=end, daemon=True).start()
    server.run_server(emulator, announce=lambda url: print(url, flush=True))
    struck = dict(zip(FAULTS, script.fired, strict=True))
    print(json.dumps({"requests": emulator.requests.total, "faults": struck}))


class Soak:
    """The state of a run: the calls to make, the outcomes so far, and the samples."""

    def __init__(self, requests: int, server_pid: int, *, cancels: bool) -> None:
        self.samples: list[Sample] = []
        self.outcomes: Counter[tuple[str, str | None, str]] = Counter()
        self.wrong: list[str] = []
        self.done = self.failures = 0
        self.stopped = False
        plain = Case("create", None, 1)
        self._deck = [case if cancels or case.after is None else plain for case in deck()]
        self._serials = iter(range(requests))
        self._every = max(requests // SAMPLES, LEAST)
        self._pid = server_pid
        self._lock = threading.Lock()
        self.started = time.perf_counter()

    def stop(self) -> None:
        """Begin no more calls. Calls in progress end soon; a second Ctrl-C is ignored."""
        self.stopped = True
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    def todo(self) -> Iterator[tuple[Case, int]]:
        """Yield the calls that have not begun; any number of tasks or threads share them."""
        for serial in self._serials:
            if self.stopped:
                return
            yield self._deck[serial % len(self._deck)], serial

    def record(self, case: Case, serial: int, outcome: Outcome) -> None:
        """Count a call, and take a sample if it is time."""
        with self._lock:
            self.done += 1
            self.outcomes[case.form, case.fault, outcome.name] += 1
            if outcome.wrong is not None:
                self.failures += 1
                self.wrong = [
                    *self.wrong,
                    f"call {serial}, {case.form}, {case.fault or 'no fault'}: {outcome.wrong}",
                ][:EXAMPLES]
            if self.done % self._every == 0:
                self.sample()

    def sample(self) -> None:
        """Take a sample, and print it."""
        last = self.samples[-1] if self.samples else {"done": 0, "seconds": 0.0}
        seconds = time.perf_counter() - self.started
        rate = (self.done - last["done"]) / max(seconds - last["seconds"], 1e-9)
        seen = {"done": self.done, "seconds": round(seconds, 3), "rate": round(rate, 1)}
        self.samples.append({**seen, **held(self._pid)})
        print(soak_report.line(self.samples[-1], self.failures), flush=True)


async def soak_async(soak: Soak, caller: AsyncCaller, concurrency: int, pid: int) -> list[str]:
    """Make all calls with so many tasks; return the resources that are left at the end."""

    async def work() -> None:
        for case, serial in soak.todo():
            soak.record(case, serial, await caller.call(case, serial))

    before = held(pid)
    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(concurrency):
                group.create_task(work())
    except asyncio.CancelledError:
        soak.stop()
    await caller.close()
    await asyncio.get_running_loop().shutdown_default_executor()
    for _ in range(LOOKS):
        if not added(before, held(pid)):
            break
        await asyncio.sleep(PAUSE)
    return added(before, held(pid))


def soak_threads(soak: Soak, caller: SyncCaller, concurrency: int, pid: int) -> list[str]:
    """Make all calls from so many threads; return the resources that are left at the end."""

    def work() -> None:
        for case, serial in soak.todo():
            soak.record(case, serial, caller.call(case, serial))

    before = held(pid)
    signal.signal(signal.SIGINT, lambda *_: soak.stop())
    threads = [threading.Thread(target=work) for _ in range(concurrency)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    caller.close()
    for _ in range(LOOKS):
        if not added(before, held(pid)):
            break
        time.sleep(PAUSE)
    return added(before, held(pid))


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Run the soak; return the report as plain values."""
    server = Server()
    caller = TRANSPORTS[args.transport](args.transport, server.url)
    soak = Soak(args.requests, server.pid, cancels=isinstance(caller, AsyncCaller))
    left: list[str] = []
    if isinstance(caller, AsyncCaller):
        try:
            with asyncio.Runner() as runner:
                left = runner.run(soak_async(soak, caller, args.concurrency, server.pid))
        except KeyboardInterrupt:
            soak.stop()
    else:
        left = soak_threads(soak, caller, args.concurrency, server.pid)
    seconds = time.perf_counter() - soak.started
    made = {
        "about": report.about(quick=False),
        "transport": args.transport,
        "concurrency": args.concurrency,
        "requests": args.requests,
        "done": soak.done,
        "interrupted": soak.stopped,
        "seconds": round(seconds, 1),
        "samples": soak.samples,
        "outcomes": [
            {"form": form, "fault": fault, "outcome": outcome, "calls": calls}
            for (form, fault, outcome), calls in soak.outcomes.items()
        ],
        "failures": soak.failures,
        "wrong": soak.wrong,
        "left": left,
        "server": server.end(),
    }
    return {**made, "complaints": soak_report.complaints(made)}


def main() -> int:
    """Run the soak, and write the report."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--requests", type=int, default=REQUESTS, help=f"default: {REQUESTS:,}")
    parser.add_argument(
        "--concurrency",
        type=int,
        default=CONCURRENCY,
        choices=range(1, MOST + 1),
        metavar="N",
        help=f"tasks or threads, {MOST} at most (default: {CONCURRENCY})",
    )
    parser.add_argument("--transport", choices=TRANSPORTS, default="aiohttp")
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "results")
    args = parser.parse_args()
    # A shell makes background processes ignore Ctrl-C; this process must not ignore it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    made = run(args)
    args.output.mkdir(parents=True, exist_ok=True)
    (args.output / "soak.json").write_text(json.dumps(made, indent=1) + "\n")
    (args.output / "soak.md").write_text(soak_report.markdown(made))
    (args.output / "soak.svg").write_text(soak_report.chart(made))
    print(soak_report.verdict(made))
    print(f"written: {args.output}/soak.json, .md, .svg")
    if made["interrupted"]:
        return INTERRUPTED
    return 1 if made["complaints"] else 0


if __name__ == "__main__":
    sys.exit(main())
