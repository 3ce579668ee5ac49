"""The process in which one peer is measured: it reads a job per line, and writes its cost.

Each peer has a process of its own, so that no peer pays for the imports of another, and a peer
that cannot be measured here does not end the others. A job is a JSON object:

    {"peer": ..., "kind": "calls" | "sync" | "unit", "n": ..., ...}

and its answer {"cpu": s, "wall": s, "n": units, "peak": bytes, "grown": bytes}, or {"skip": why}.
Connections are opened, hooks generated and caches filled before the clock starts.
"""

import asyncio
import gc
import json
import os
import resource
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

UVLOOP = " uvloop"
Job = dict[str, Any]


class Clock:
    """CPU seconds of this process, all threads, user and system; and memory."""

    def __init__(self, server: str | None = None) -> None:
        self._server = server
        self._theirs = self._server_cpu()
        gc.collect()
        self._resident = _status("VmRSS")
        Path("/proc/self/clear_refs").write_text("5")  # reset VmHWM
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def stop(self, n: int) -> Job:
        """Return the cost of *n* units of work."""
        cpu, wall = time.process_time() - self._cpu, time.perf_counter() - self._wall
        peak = _status("VmHWM")
        server = self._server_cpu() - self._theirs
        grown = peak - self._resident
        return {"cpu": cpu, "wall": wall, "n": n, "peak": peak, "grown": grown, "server": server}

    def _server_cpu(self) -> float:
        if self._server is None:
            return 0.0
        with urllib.request.urlopen(self._server) as response:  # noqa: S310  # the server's address
            return float(response.read())


def _status(name: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) * 1024
    return 0


def do(job: Job) -> Job:
    """Do the job; if the peer cannot be measured, answer why."""
    try:
        return KINDS[job["kind"]](job)
    except Exception as error:  # noqa: BLE001  # a peer may raise anything
        return {"skip": f"{type(error).__name__}: {error}".split("\n")[0][:200]}


def calls(job: Job) -> Job:
    """Make n calls, or read n streams, with so many tasks."""
    from benchmarks import peers

    name = job["peer"].removesuffix(UVLOOP)
    make, concurrency, n = peers.ASYNC[name], job["concurrency"], job["n"]

    async def share(peer: Any, left: Iterator[int]) -> None:
        for _ in left:
            if job["mode"] == "call":
                await peer.call()
            else:
                await peer.stream(whole=job["mode"] == "whole")

    async def batch(peer: Any, count: int) -> None:
        left = iter(range(count))
        await asyncio.gather(*(share(peer, left) for _ in range(concurrency)))

    async def main() -> Job:
        peer = make(job["url"])
        try:
            await batch(peer, concurrency if job["warm"] else 1)
            clock = Clock(job["cpu_url"])
            await batch(peer, n)
            return clock.stop(n)
        finally:
            await peer.close()

    run: Callable[..., Job] = asyncio.run
    if job["peer"].endswith(UVLOOP):
        import uvloop

        run = uvloop.run
    return run(main())


def sync(job: Job) -> Job:
    """Make n calls from so many threads."""
    from benchmarks import peers

    peer = peers.SYNC[job["peer"]](job["url"])
    threads = job["concurrency"]

    def share(count: int) -> None:
        for _ in range(count):
            peer.call()

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(share, [2] * threads))
        clock = Clock(job["cpu_url"])
        list(pool.map(share, [job["n"] // threads] * threads))
        return clock.stop(job["n"] // threads * threads)


def unit(job: Job) -> Job:
    """Do n units of work without I/O."""
    from benchmarks import offline

    one = offline.UNITS[job["work"]][job["peer"]]()
    kept = [one()]  # keep the results, so that their memory is measured
    clock = Clock()
    kept.extend(one() for _ in range(job["n"]))
    return clock.stop(job["n"])


KINDS: dict[str, Callable[[Job], Job]] = {
    "calls": calls,
    "sync": sync,
    "unit": unit,
}


def main() -> None:
    """Do jobs until there are no more."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    answers = os.fdopen(
        os.dup(1), "w", buffering=1
    )  # so that prints of a peer do not go to the answers
    os.dup2(2, 1)
    for line in sys.stdin:
        answers.write(json.dumps(do(json.loads(line))) + "\n")


if __name__ == "__main__":
    main()
