"""A program that makes calls and says what they cost, run by `test_bounds.py` as a process.

    python bounds_probe.py TRANSPORT URL CASE:FORM ...

It prints a list a call, as JSON: the call, the class of its error ("" for an answer), how much the
peak of memory was above what the idle process had, in megabytes, and for how long the event loop
was held at most, in milliseconds of its thread's processor time.
"""

import asyncio
import gc
import json
import sys
import time
from pathlib import Path

from claude_lite import AsyncClient, ClaudeError, Client, StreamMessage, never
from claude_lite.api.batches import BatchResults
from claude_lite.api.completions import StreamChatCompletion
from claude_lite.api.files import DownloadFile

ASK = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "x"}]}
OPERATIONS = {
    "stream": StreamMessage(**ASK),
    "kept": StreamMessage(**ASK),
    "send": StreamMessage(**ASK),
    "lines": BatchResults(message_batch_id="b"),
    "chat": StreamChatCompletion(model="m", messages=[]),
    "download": DownloadFile(file_id="f"),
}

OPTIONS = {"api_key": "key", "retry": never(), "deadline": 20.0}


class Loop(asyncio.SelectorEventLoop):
    """An event loop that knows how long it was held, at most, without waiting for anything."""

    held = 0.0

    def _run_once(self):
        before = time.thread_time()
        super()._run_once()
        self.held = max(self.held, time.thread_time() - before)


def memory(name):
    """A figure of this process's memory, in megabytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) / 1024


def forget_peak():
    """Begin to measure the peak of memory anew, without what is garbage already."""
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")


def call(client, form):
    """Make a call synchronously, and take what it brings."""
    if form == "plain":
        client.messages.create(**ASK)
    elif form in {"send", "download"}:
        client.send(OPERATIONS[form])
    else:
        with client.stream(OPERATIONS[form], collect=form == "kept") as stream:
            for _ in stream:
                pass
            stream.final()


async def acall(client, form):
    """Make a call asynchronously, and take what it brings."""
    if form == "plain":
        await client.messages.create(**ASK)
    elif form in {"send", "download"}:
        await client.send(OPERATIONS[form])
    else:
        async with client.stream(OPERATIONS[form], collect=form == "kept") as stream:
            async for _ in stream:
                pass
            await stream.final()


def report(case, idle, held, error):
    """Print what a call cost."""
    peak = round(memory("VmHWM") - idle, 1)
    outcome = type(error).__name__ if error else ""
    sys.stdout.write(json.dumps([case, outcome, peak, round(held * 1000, 1)]) + "\n")


def run_sync(url, cases):
    """Make the calls with a `Client`."""
    idle = 0.0
    base = Client("urllib", **OPTIONS)
    for case in cases:
        name, form = case.split(":")
        client = base.with_options(base_url=f"{url}/{name}")
        forget_peak()
        error = None
        try:
            call(client, form)
        except ClaudeError as raised:
            error = raised
        if idle:
            report(case, idle, 0.0, error)
        idle = idle or memory("VmRSS")
        del error


async def run_async(transport, url, cases):
    """Make the calls with an `AsyncClient`."""
    idle = 0.0
    loop = asyncio.get_running_loop()
    base = AsyncClient(transport, **OPTIONS)
    for case in cases:
        name, form = case.split(":")
        client = base.with_options(base_url=f"{url}/{name}")
        forget_peak()
        await asyncio.sleep(0)
        loop.held = 0.0
        error = None
        try:
            await acall(client, form)
        except ClaudeError as raised:
            error = raised
        await asyncio.sleep(0)
        if idle:
            report(case, idle, loop.held, error)
        idle = idle or memory("VmRSS")
        del error


def main(transport, url, *cases):
    """Make the calls, the first of which is to warm up."""
    if transport == "urllib":
        run_sync(url, cases)
    else:
        with asyncio.Runner(loop_factory=Loop) as runner:
            runner.run(run_async(transport, url, cases))


if __name__ == "__main__":
    main(*sys.argv[1:])
