"""Runs one case of `cases.py` over one transport, and says what came of it."""

import asyncio
import pickle
import ssl
import threading
import time
from pathlib import Path

from attrs import frozen
from certificates import TLS
from expectations import ANSWER, BRIEF, KEY
from timing import Stopwatch

from claude_lite import AsyncClient, Client, never
from claude_lite.api.messages.message import Message
from claude_lite_transports.aiohttp import AiohttpTransport
from claude_lite_transports.urllib import UrllibTransport

try:
    import httptools  # noqa: F401  # it is an extra; without it there is one transport less
except ImportError:
    ASYNCIO = []
else:
    ASYNCIO = ["asyncio"]

TRANSPORTS = ["urllib", "aiohttp", *ASYNCIO]
FORMS = {"plain": ["create"], "streamed": ["final", "events"]}
GRACE = 0.5
HELD_UP = 0.1  # seconds of waiting for a processor that make a limit of 0.5 s pass too early


@frozen
class Outcome:
    """What one call came to: a message or an error, in so many seconds."""

    message: Message | None
    error: Exception | None
    took: float

    @property
    def text(self):
        """All text of the message."""
        return self.message and "".join(
            block.text for block in self.message.content if block.type == "text"
        )

    @property
    def name(self):
        """The class of the error, or that it was an answer."""
        return ANSWER if self.error is None else type(self.error).__name__


def trusting(pem):
    """Make a TLS context that trusts this certificate only; None for the default one."""
    return pem and ssl.create_default_context(cafile=TLS / pem)


def asynchronous(transport, pem):
    """Make the asynchronous transport of this name."""
    if transport == "aiohttp":
        return AiohttpTransport(trust_env=False, **({"ssl_context": trusting(pem)} if pem else {}))
    from claude_lite_transports.asyncio import AsyncioTransport  # see ASYNCIO

    return AsyncioTransport(ssl_context=trusting(pem), trust_env=False)


def options(case, url):
    """The options of the client."""
    short = {"timeout": 0.5, "connect_timeout": 0.5, "content_timeout": None, "deadline": 5.0}
    return {"api_key": KEY, "base_url": url, "retry": never(), **short, **case.options}


def body(case):
    """The fields of the request."""
    text = "x" * case.size
    return {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": text}]}


def call(client, form, fields):
    """Make the call synchronously."""
    if form == "create":
        return client.messages.create(**fields)
    with client.messages.stream(**fields) as stream:
        if form == "final":
            return stream.final_message()
        for _ in stream:
            pass
        return stream.snapshot


async def acall(client, form, fields):
    """Make the call asynchronously."""
    if form == "create":
        return await client.messages.create(**fields)
    async with client.messages.stream(**fields) as stream:
        if form == "final":
            return await stream.final_message()
        async for _ in stream:
            pass
        return stream.snapshot


def run(case, transport, form, url):
    """Run the calls of a case and give their outcomes."""
    if transport == "urllib":
        return run_sync(case, form, url)
    return asyncio.run(run_async(case, transport, form, url))


def run_sync(case, form, url):
    """Run the calls of a case with a `Client`."""
    outcomes = []
    made = UrllibTransport(ssl_context=trusting(case.trusts), trust_env=False)
    with Client(transport=made, **options(case, url)) as client:
        for _ in range(case.calls):
            watch = Stopwatch()
            message = error = None
            try:
                message = call(client, form, body(case))
            except Exception as raised:  # noqa: BLE001  # a foreign one is a result, too
                error = raised
            outcomes.append(Outcome(message, error, watch.seconds))
            if case.calls > 1:
                time.sleep(0.02)
    return outcomes


async def run_async(case, transport, form, url):
    """Run the calls of a case with an `AsyncClient`; no task may be left."""
    outcomes = []
    made = asynchronous(transport, case.trusts)
    async with AsyncClient(transport=made, **options(case, url)) as client:
        for _ in range(case.calls):
            watch = Stopwatch()
            message = error = None
            try:
                message = await acall(client, form, body(case))
            except Exception as raised:  # noqa: BLE001  # a foreign one is a result, too
                error = raised
            outcomes.append(Outcome(message, error, watch.seconds))
            if case.calls > 1:
                await asyncio.sleep(0.02)
    left = asyncio.all_tasks() - {asyncio.current_task()}
    assert not left, f"tasks left: {left}"
    return outcomes


def sockets():
    """The sockets that this process has open."""
    found = []
    for fd in Path("/proc/self/fd").iterdir():
        try:
            target = str(fd.readlink())
        except OSError:
            continue
        if target.startswith("socket:"):
            found.append(target)
    return sorted(found)


def problems(case, expected, outcome):
    """What is wrong with an outcome, as lines; none is right."""
    wrong = []
    if outcome.name not in expected.outcome.split("|"):
        wrong.append(f"{outcome.name} instead of {expected.outcome}: {outcome.error!r}")
        return wrong
    limits = [case.options.get(k) for k in ("connect_timeout", "timeout", "deadline")]
    bound = max(case.within, BRIEF if BRIEF in limits else 0) + GRACE
    if outcome.took > bound:
        wrong.append(f"took {outcome.took:.2f} s, over {bound:.2f} s")
    error = outcome.error
    if error is None:
        if outcome.text != expected.text:
            wrong.append(f"the text was {outcome.text[:50]!r}")
        return wrong
    return wrong + flaws(expected, error)


def flaws(expected, error):
    """What is wrong with an error of the right class."""
    wrong = []
    for name, value in expected.fields.items():
        if getattr(error, name, None) != value:
            wrong.append(f"{name} is {getattr(error, name, None)!r}, not {value!r}")
    if expected.partial is not None:
        found = "".join(b.get("text", "") for b in (error.partial or {}).get("content", []))
        if error.partial is None or found != expected.partial:
            wrong.append(f"the partial text is {found!r} of {error.partial!r}")
    shown = f"{error!r} {error} {error.to_dict()} {error.args} {error.__cause__!r}"
    if KEY in shown:
        wrong.append("the key shows in the error")
    again = pickle.loads(pickle.dumps(error))  # noqa: S301  # our own
    if again.to_dict() != error.to_dict():
        wrong.append("a pickle does not give the same error")
    return wrong


def check(case, transport):
    """Run a case in every form, and list what is wrong.

    The limits are short. A case that fails while others kept the processors busy is run again.
    """
    for _ in range(3):
        watch = Stopwatch()
        wrong = once(case, transport)
        if not wrong or watch.waited < HELD_UP:
            break
    return wrong


def once(case, transport):
    """Run a case in every form, once, and list what is wrong."""
    threads, open_before = set(threading.enumerate()), sockets()
    wrong = []
    for kind, forms in FORMS.items():
        expected = getattr(case, kind)
        for form in forms if expected else ():
            with case.serve() as served:
                outcomes = run(case, transport, form, served.url)
            for outcome in outcomes:
                wrong += [f"{form}: {line}" for line in problems(case, expected, outcome)]
            if case.requests is not None and served.received is not None:
                seen = len(served.received)
                if seen != case.requests * case.calls:
                    wrong.append(f"{form}: {seen} requests instead of {case.requests}")
    if set(threading.enumerate()) - threads:
        wrong.append(f"threads left: {set(threading.enumerate()) - threads}")
    if sockets() != open_before:
        wrong.append(f"sockets left: {len(sockets())} instead of {len(open_before)}")
    return wrong
