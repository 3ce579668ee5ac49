"""Makes calls with the official SDK, in a process of its own: a job a line in, a result a line out.

Each job runs in a fork, which is killed if it does not end: calls that hang or busy themselves
for ever cost no other case anything. `official.py` writes the jobs.
"""

import asyncio
import json
import os
import select
import signal
import ssl
import sys
import time
import warnings
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))  # `certificates`, `timing`

import anthropic
from attrs import asdict
from cases import CASES
from certificates import TLS
from expectations import KEY
from judging import Outcome
from running import body, sockets

CLIENTS = {
    "httpx2": (anthropic.Anthropic, anthropic.DefaultHttpxClient),
    "httpx2 async": (anthropic.AsyncAnthropic, anthropic.DefaultAsyncHttpxClient),
    "aiohttp": (anthropic.AsyncAnthropic, anthropic.DefaultAioHttpClient),
}


def client(case, backend, url):
    """Make a client with the settings of the case, as far as it has them."""
    kind, http = CLIENTS[backend]
    verify = {"verify": ssl.create_default_context(cafile=TLS / case.trusts)} if case.trusts else {}
    timeout = case.options.get("timeout", 0.5)
    connect = case.options.get("connect_timeout", 0.5)
    return kind(
        api_key=KEY,
        base_url=url,
        max_retries=2 if "retry" in case.options else 0,
        timeout=anthropic.Timeout(timeout, connect=connect),
        http_client=http(trust_env=False, **verify),
    )


def run_sync(case, backend, form, url):
    """Run the calls of a case with the synchronous client."""
    outcomes = []
    with client(case, backend, url) as made:
        for _ in range(case.calls):
            began, message, error = time.monotonic(), None, None
            try:
                if form == "create":
                    message = made.messages.create(**body(case))
                else:
                    with made.messages.stream(**body(case)) as stream:
                        message = stream.get_final_message()
            except Exception as raised:  # noqa: BLE001  # any may come: it is the result
                error = raised
            outcomes.append(describe(message, error, time.monotonic() - began))
            time.sleep(0.02)
    return outcomes


async def run_async(case, backend, form, url):
    """Run the calls of a case with the asynchronous client."""
    outcomes = []
    async with client(case, backend, url) as made:
        for _ in range(case.calls):
            began, message, error = time.monotonic(), None, None
            try:
                if form == "create":
                    message = await made.messages.create(**body(case))
                else:
                    async with made.messages.stream(**body(case)) as stream:
                        message = await stream.get_final_message()
            except Exception as raised:  # noqa: BLE001  # every error is a result
                error = raised
            outcomes.append(describe(message, error, time.monotonic() - began))
            await asyncio.sleep(0.02)
    return outcomes


def describe(message, error, took):
    """Describe what came of a call in the words of `judging`."""
    if error is not None:
        labels = [getattr(error, name, None) for name in ("status_code", "type")]
        known = tuple(label for label in labels if isinstance(label, int | str))
        return Outcome(name_of(error), kind_of(error), took, labels=known)
    right = isinstance(message, anthropic.types.Message)
    name = "answer" if right else f"a {type(message).__name__}"
    try:
        blocks = [b for b in message.content if getattr(b, "type", None) == "text"]
        text = "".join(block.text for block in blocks)
    except (AttributeError, TypeError):
        return Outcome(name, "answer", took)
    return Outcome(name, "answer", took, text, finished=message.stop_reason is not None)


def kind_of(error):
    """Say which kind of error this is."""
    if isinstance(error, anthropic.APITimeoutError):
        return "timeout"
    if isinstance(error, anthropic.APIConnectionError):
        return "connection"
    if isinstance(error, anthropic.APIStatusError):
        return "status"
    return "reply" if isinstance(error, anthropic.AnthropicError) else "foreign"


def name_of(error):
    """Name the class of an error, with its package if that is another's."""
    package = type(error).__module__.partition(".")[0]
    own = package in {"builtins", "anthropic"}
    return type(error).__name__ if own else f"{package}.{type(error).__name__}"


def work(case, backend, form, url):
    """Run one job; give its outcomes as JSON can hold them."""
    before = set(sockets())
    if backend == "httpx2":
        outcomes = run_sync(case, backend, form, url)
    else:
        outcomes = asyncio.run(run_async(case, backend, form, url))
    leaked = bool(set(sockets()) - before)
    return [asdict(outcome) | {"leaked": leaked} for outcome in outcomes]


def in_a_fork(seconds, *job):
    """Run one job in a process of its own; None if it does not end in so many seconds."""
    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            with os.fdopen(writer, "wb") as pipe:
                pipe.write(json.dumps(work(*job)).encode())
        finally:
            os._exit(0)
    os.close(writer)
    data, until = b"", time.monotonic() + seconds
    with os.fdopen(reader, "rb", buffering=0) as pipe:
        while select.select([pipe], [], [], max(0, until - time.monotonic()))[0]:
            if not (piece := pipe.read(65536)):
                break
            data += piece
        else:
            data = b"null"
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return json.loads(data)


def main():
    """Warm up, so that no case pays for imports; then do what is asked."""
    warnings.simplefilter("ignore")
    known = {case.name: case for case in CASES}
    jobs = [("right", backend, form) for backend in CLIENTS for form in ("create", "final")]
    for name, *job in [*jobs, ("529, HTML", "httpx2", "create")]:
        with known[name].serve() as served:
            work(known[name], *job, served.url)
    for line in sys.stdin:
        seconds, name, *job = json.loads(line)
        sys.stdout.write(json.dumps(in_a_fork(seconds, known[name], *job)) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
