"""A program that makes calls and says what they cost, run by `test_bounds.py` as a process.

    python bounds_probe.py TRANSPORT URL CASE:FORM ...

It prints a list per call, as JSON: the call, the class of its error ("" for an answer), how far the
peak of memory was above the memory of the idle process, in megabytes, and for how long the event
loop was held at most, in milliseconds of processor time on the machine for which the bound was set.

For the last figure a fixed piece of work is timed before and after each call: scanning and parsing
8 MB of JSON, by the standard library and orjson, without any code of ours. The call's time is
divided by the time of the slower piece and multiplied by `USUAL`.
"""

import asyncio
import gc
import json
import re
import sys
import time
from pathlib import Path

import orjson

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

WORK = b'"' + b"[{," * (8 * 1024 * 1024 // 3) + b'"'
OTHER = bytes(set(range(256)) - set(b",[{"))
TEXT = re.compile(rb'"[^"\\]*+"')
USUAL = 65.0  # milliseconds that the work takes on the machine for which the bound was set

OPTIONS = {"api_key": "key", "retry": never(), "deadline": 20.0}


class Loop(asyncio.SelectorEventLoop):
    """An event loop that knows how long it was held, at most, without waiting for anything."""

    held = 0.0

    def _run_once(self):
        before = time.thread_time()
        super()._run_once()
        self.held = max(self.held, time.thread_time() - before)


def work():
    """Do the fixed piece of work; give the milliseconds of processor time that it took."""
    before = time.thread_time()
    WORK.translate(None, OTHER)
    TEXT.match(WORK)
    orjson.loads(WORK)
    return (time.thread_time() - before) * 1000


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


def report(case, idle, held, error, before):
    """Print what a call cost; *before* is how long the fixed work took before the call."""
    peak = round(memory("VmHWM") - idle, 1)
    outcome = type(error).__name__ if error else ""
    slower = max(before, work())
    sys.stdout.write(
        json.dumps([case, outcome, peak, round(held * 1000 * USUAL / slower, 1)]) + "\n"
    )


def run_sync(url, cases):
    """Make the calls with a `Client`."""
    idle = 0.0
    base = Client("urllib", **OPTIONS)
    for case in cases:
        name, form = case.split(":")
        client = base.with_options(base_url=f"{url}/{name}")
        before = work()
        forget_peak()
        error = None
        try:
            call(client, form)
        except ClaudeError as raised:
            error = raised
        if idle:
            report(case, idle, 0.0, error, before)
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
        before = work()
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
            report(case, idle, loop.held, error, before)
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
