"""Run 2,000 calls through RabbitMQ, kill a worker midway, and count what came of it.

    make demo-queue

RabbitMQ and Redis run on free ports, with their data in a folder that is deleted at the end. The
API is `claude-lite serve`, with a rate limit and faults. One of two workers
is killed when a third of the calls is answered. No key and no network are needed.
"""

import argparse
import asyncio
import importlib
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
sys.path[:0] = [str(HERE), str(ROOT / "tests")]

from brokers.servers import (  # noqa: E402  # of this repository
    HOW_TO_INSTALL,
    are_installed,
    free_port,
    running_rabbitmq,
    running_redis,
)

from claude_lite import CreateMessage  # noqa: E402
from claude_lite.jobs import Job  # noqa: E402

LIMIT = 9000  # requests per minute
COMMAND = str(Path(sys.executable).with_name("claude-lite"))
PATIENCE = 300.0  # seconds
SLOTS = 40  # calls at once per worker
STATUS = re.compile(rb"POST /v1/messages (\d{3})")


def job(row):
    """Make the job of a row."""
    asked = [{"role": "user", "content": f"Say {row}."}]
    return Job.of(CreateMessage(model="claude-sonnet-5-5", max_tokens=20, messages=asked))


def statuses(log):
    """Count the statuses in the log of the API."""
    return Counter(int(found[1]) for found in STATUS.finditer(log.read_bytes()))


class Demo:
    """The processes of the demo."""

    def __init__(self, folder, stack):
        self.folder = Path(folder)
        self._stack = stack

    def start(self, name, *command):
        """Start a process in a group of its own; its output goes to a file."""
        log = self._stack.enter_context((self.folder / f"{name}.log").open("wb"))
        process = subprocess.Popen(  # noqa: S603  # our own modules
            command,
            cwd=HERE,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        self._stack.callback(self.kill, process)
        return process

    @staticmethod
    def kill(process):
        """Kill a process and its children."""
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


async def run(demo, rows):
    """Enqueue the calls, kill a worker midway, wait for the answers; return the seconds."""
    worker = importlib.import_module("worker")
    jobs = [job(row) for row in range(rows)]
    await worker.broker.startup()
    began = time.monotonic()
    for one in jobs:
        await worker.ask.kiq(one.to_dict())
    print(f"{rows} calls are in the queue")
    workers = [
        demo.start(
            f"worker-{number}",
            *(sys.executable, "-m", "taskiq", "worker", "worker:broker", "--workers", "1"),
            *("--max-async-tasks", str(SLOTS)),
        )
        for number in range(2)
    ]
    left = {one.key for one in jobs}
    killed = False
    while left:
        for key in list(left):
            if await worker.results.get_async(key) is not None:
                left.discard(key)
        if not killed and len(left) < rows * 2 / 3:
            killed = True
            os.killpg(workers[0].pid, signal.SIGKILL)
            print(f"{rows - len(left)} calls are answered: one of two workers is killed")
        if time.monotonic() - began > PATIENCE:
            said = (demo.folder / "worker-1.log").read_text(errors="replace")[-2000:]
            raise SystemExit(f"{len(left)} calls have no answer; a worker says:\n{said}")
        await asyncio.sleep(0.5)
    seconds = time.monotonic() - began
    await worker.broker.shutdown()
    await worker.results.close_async()
    os.kill(workers[1].pid, signal.SIGTERM)
    workers[1].wait(60)
    return seconds


def main():
    """Run the demo; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--calls", type=int, default=2000, metavar="N")
    rows = parser.parse_args().calls
    if not are_installed():
        print(HOW_TO_INSTALL)
        return 1
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        rabbitmq = stack.enter_context(running_rabbitmq(folder))
        redis = stack.enter_context(running_redis(folder))
        port = free_port()
        os.environ.update(
            CLAUDE_LITE_BROKER=rabbitmq.url,
            CLAUDE_LITE_RESULTS=redis.url,
            ANTHROPIC_BASE_URL=f"http://127.0.0.1:{port}",
            ANTHROPIC_API_KEY="none",
        )
        demo = Demo(folder, stack)
        demo.start(
            "api",
            *(COMMAND, "serve", "--port", str(port), "--latency", "0.2"),
            *("--limits", f"requests={LIMIT}", "--bucket", "1"),
            *("--faults", str(HERE / "faults.json")),
        )
        seconds = asyncio.run(run(demo, rows))
        seen = statuses(demo.folder / "api.log")
        total, answered = seen.total(), seen[200]
        print(f"{rows} of {rows} calls are answered, in {seconds:.0f} s")
        print(f"requests: {total}, by status {dict(sorted(seen.items()))}")
        print(f"429: {100 * seen[429] / total:.1f} % of the requests, those of faults included")
        print(f"use of the limit: {100 * total / (LIMIT / 60 * seconds):.0f} %")
        print(f"calls paid twice: {answered - rows}, at most {SLOTS} were lost with the worker")
        return 0 if answered - rows <= SLOTS else 1


if __name__ == "__main__":
    sys.exit(main())
