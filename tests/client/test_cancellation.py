"""Cancellation at every point at which a call can be cancelled, found by counting, not by chance.

`Stepped` runs a call's coroutine and counts how often it hands over to the loop. `sweep` runs
the call again and again, and strikes at the first of these points, the second, and so on until
the call ends before it is struck. Whatever the point: the task is cancelled and nothing else,
no socket, task or file is left, the server sees the end of the connection that was in use, and
the next call is answered at once, with its own answer.

CLAUDE_LITE_CANCELLATIONS is the number of cancellations of the last test, which looks whether
anything grows.
"""

import asyncio
import gc
import itertools
import logging
import os
import ssl
from contextlib import aclosing, asynccontextmanager, suppress
from contextvars import Context
from pathlib import Path

import aiohttp
import pytest
from certificates import PEM
from driving import HELLO, own_host

from claude_lite import (
    AsyncClient,
    CreateMessage,
    CredentialMissing,
    StreamInterrupted,
    StreamMessage,
    TimedOut,
)
from claude_lite.api.batch_runs import BatchRun
from claude_lite.api.batches import CreateBatch
from claude_lite.api.files import DownloadFile
from claude_lite.bulk import Item, run
from claude_lite.core.retry import budget_for
from claude_lite.emulator import Emulator
from claude_lite.emulator.serving.http1 import RequestReader, head
from claude_lite.wire import Request
from claude_lite_transports.aiohttp import AiohttpTransport
from claude_lite_transports.emulator import AsyncEmulatorTransport
from claude_lite_transports.recording import AsyncRecordingTransport

try:
    from claude_lite_transports.asyncio import AsyncioTransport

    AsyncioTransport()
except Exception:  # noqa: BLE001  # the extra is not installed
    ASYNCIO = []
else:
    ASYNCIO = ["asyncio"]

PLAIN = ["aiohttp", "one connection", *ASYNCIO, "emulator"]
KINDS = [*PLAIN, "recorded aiohttp", "recorded emulator"]
CANCELLATIONS = int(os.environ.get("CLAUDE_LITE_CANCELLATIONS", "600"))
PATIENCE = 5.0  # seconds after which something hangs
SOME = 60  # objects that caches may still take
TURNS = 60  # of the loop, in which a call without waits is over
SIZE = 600_000  # bytes of a file: larger than what is written at once
MODEL = "claude-sonnet-5-5"
BUSY = {"fault": "status", "status": 529, "headers": {"retry-after-ms": "1"}}
FAULTS = [
    {"on": {"contains": "BUSY", "once_per_body": True}, "do": BUSY},
    {"on": {"contains": "LATE"}, "do": {"fault": "status", "status": 529, "retry_after": 9}},
    {"on": {"contains": "MUTE"}, "do": {"fault": "stall"}},
    {"on": {"contains": "HALF"}, "do": {"fault": "stall", "after_events": 4}},
]


class Line(asyncio.Protocol):
    """The server's end of a connection: an answer goes out in pieces, a turn of the loop each."""

    def __init__(self, site):
        """Belong to a site."""
        self.site = site
        self.reader = RequestReader(site.emulator.largest_body)
        self.busy = False  # from the first byte of a request to the last of its answer
        self.answer = self.reply = None

    def connection_made(self, transport):
        """Begin."""
        self.transport = transport
        self.site.lines.add(self)

    def connection_lost(self, exc):
        """End, and let the emulator know."""
        del exc
        self.site.lines.discard(self)
        self.answer = None
        if self.reply is not None:
            self.reply.close()

    def data_received(self, data):
        """Answer when the request is whole."""
        self.site.mixed += self.answer is not None
        self.busy = True
        self.reader.receive(data)
        request = self.reader.next()
        if request is not None:
            url = f"http://test{request.target}"
            self.reply = self.site.emulator.reply(
                Request(request.method, url, request.headers, request.body)
            )
            self.answer = self._pieces()
            self._go()

    def _go(self):
        if self.answer is None:
            return
        piece = next(self.answer, None)
        if piece is not None:
            self.transport.write(piece)
            asyncio.get_running_loop().call_soon(self._go)

    def _pieces(self):
        reply = self.reply
        if any(getattr(step, "how", "") == "stall" for step in reply.before):
            yield None
        headers = dict(reply.head.headers)
        if reply.size is None:
            headers["transfer-encoding"] = "chunked"
        opening = head(reply.head.status, headers, size=reply.size, connection="keep-alive")
        yield opening[:40]
        yield opening[40:]
        for step in reply.steps:
            if isinstance(step, bytes):
                yield b"%x\r\n%b\r\n" % (len(step), step) if reply.size is None else step
            elif getattr(step, "how", "") == "stall":
                yield None
        if reply.size is None:
            yield b"0\r\n"
        self.answer = self.reply = None
        self.busy = False
        self.transport.write(b"\r\n" if reply.size is None else b"")
        yield None


class Site:
    """A client, the server that it calls, and what the two have open."""

    def __init__(self, tmp_path, **pace):
        """Begin with a new emulator; `pace` is how slow it is."""
        self.pace = pace
        self.folder = tmp_path
        self.lines = set()
        self.mixed = 0  # requests that came before the last answer was out
        self.numbers = itertools.count(1)
        self.file = tmp_path / "big.bin"
        self.file.write_bytes(bytes(SIZE))
        self.errors = []
        self.renew()

    def renew(self):
        """Forget all that the emulator has seen."""
        self.emulator = Emulator(faults=FAULTS, batches={"seconds": 0}, **self.pace)
        if hasattr(self, "client") and hasattr(self.client.transport, "emulator"):
            self.client.transport.emulator = self.emulator
        self.file_id = self.emulator.add_file("copy.bin", bytes(SIZE))

    def ask(self, *marks):
        """Make the fields of a request that has not been made before."""
        prompt = " ".join(["number", f"{next(self.numbers):07}", *marks])
        messages = [{"role": "user", "content": prompt}]
        return {"model": MODEL, "max_tokens": 64, "messages": messages}

    def tasks(self):
        """Count the tasks of the loop."""
        return len(asyncio.all_tasks())

    async def quiet(self, tasks):
        """Wait until the server has nothing to do and there are no more than so many tasks."""
        loop = asyncio.get_running_loop()
        late = loop.time() + PATIENCE
        while (
            self.emulator.in_flight or any(line.busy for line in self.lines) or self.tasks() > tasks
        ):
            assert loop.time() < late, (self.emulator.in_flight, self.lines, asyncio.all_tasks())
            await asyncio.sleep(0)
        assert self.mixed == 0

    async def works(self):
        """Make another call, and look whether it gets its own answer, and at once."""
        async with asyncio.timeout(PATIENCE):
            await create(self)


def objects():
    """Count what is alive, but for timers that were cancelled: the loop keeps up to a hundred."""
    gc.collect()
    return sum(type(one) not in {asyncio.TimerHandle, Context} for one in gc.get_objects())


def descriptors():
    """List the open files and sockets of this process, but for those that the emulator keeps."""
    found = []
    for one in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            found.append(f"{one.name} {one.readlink()}")
    return sorted(one for one in found if not one.endswith("(deleted)"))


def transports(kind, site, client_tls):
    """Make a transport of this kind, and the session that it needs, if it does."""
    name = kind.removeprefix("recorded ")
    session = None
    if name == "asyncio":
        transport = AsyncioTransport(ssl_context=client_tls, trust_env=False)
    elif name == "emulator":
        transport = AsyncEmulatorTransport(site.emulator)
        site.url = own_host()
    elif name == "one connection":
        session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=1))
        transport = AiohttpTransport(session=session, trust_env=False)
    else:
        transport = AiohttpTransport(ssl_context=client_tls, trust_env=False)
    if kind != name:
        tape = site.folder / "tape.json"
        transport = AsyncRecordingTransport(tape, transport, mode="rewrite", force=True)
        transport._tape.holds += 1  # nothing is to be written in between
    return transport, session


@asynccontextmanager
async def opened(kind, tmp_path, *, tls=False):
    """Open a site whose client has a transport of this kind; afterwards nothing may be left."""
    loop = asyncio.get_running_loop()
    slow = {"latency": 1e-4, "tokens_per_second": 1e4} if kind.endswith("emulator") else {}
    site = Site(tmp_path, **slow)
    loop.set_exception_handler(lambda _, context: site.errors.append(context))
    server_tls = client_tls = None
    if tls:
        server_tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server_tls.load_cert_chain(PEM)
        client_tls = ssl.create_default_context(cafile=PEM)
    server = await loop.create_server(lambda: Line(site), "127.0.0.1", 0, ssl=server_tls)
    port = server.sockets[0].getsockname()[1]
    site.url = f"https://localhost:{port}" if tls else f"http://127.0.0.1:{port}"
    transport, session = transports(kind, site, client_tls)
    site.client = AsyncClient(transport, api_key="any", base_url=site.url, deadline=PATIENCE * 2)
    before = descriptors()
    try:
        yield site
        await site.client.close()
        if session is not None:
            await session.close()
        await site.quiet(site.tasks())
        late = loop.time() + PATIENCE
        while site.lines or descriptors() != before:  # a thread may read its file yet
            assert loop.time() < late, (site.lines, before, descriptors())
            await asyncio.sleep(0.001)
    finally:
        if session is not None:
            await session.close()
        server.close()
        await server.wait_closed()
        for line in tuple(site.lines):
            line.transport.abort()
        await asyncio.sleep(0)
    gc.collect()
    await asyncio.sleep(0)
    assert site.errors == []


# The ways to make a call


def answers(text, fields):
    """Tell whether this is the answer to that request; the emulator repeats the prompt."""
    return fields["messages"][0]["content"] in text


async def create(site):
    """Ask for a message."""
    fields = site.ask()
    message = await site.client.messages.create(**fields)
    assert answers(message.text, fields)


async def send(site):
    """Send an operation, one whose response is streamed, and have its result as a whole."""
    fields = site.ask()
    message = await site.client.send(StreamMessage(**fields))
    assert answers(message.text, fields)


async def final(site):
    """Read a stream to its end."""
    fields = site.ask()
    async with site.client.messages.stream(**fields) as stream:
        assert answers((await stream.final_message()).text, fields)


async def events(site):
    """Iterate the events of a stream."""
    async with site.client.messages.stream(**site.ask()) as stream:
        kinds = [event.type async for event in stream]
    assert kinds[-1] == "message_stop"


async def texts(site):
    """Iterate the text of a stream."""
    fields = site.ask()
    async with site.client.messages.stream(**fields) as stream:
        assert answers("".join([text async for text in stream.text_stream]), fields)


async def leave(site):
    """Leave a stream in the middle."""
    async with site.client.messages.stream(**site.ask("HALF")) as stream:
        await anext(aiter(stream))


async def close(site):
    """Close a stream before it is left."""
    async with site.client.messages.stream(**site.ask()) as stream:
        await stream.final_message()
        await stream.close()


async def break_off(site):
    """Break off the iteration of a stream, and come back for the rest."""
    fields = site.ask()
    async with site.client.messages.stream(**fields) as stream:
        async for _ in stream:
            break
        assert answers((await stream.final_message()).text, fields)


async def throw_off(site):
    """Close the iterator of a stream, which raises GeneratorExit in it."""
    async with (
        site.client.messages.stream(**site.ask()) as stream,
        aclosing(aiter(stream)) as each,
    ):
        await anext(each)


async def count(site):
    """Count tokens."""
    fields = site.ask()
    del fields["max_tokens"]
    assert (await site.client.messages.count_tokens(**fields)).input_tokens


async def pages(site):
    """Iterate the pages of a list."""
    assert len([model async for model in site.client.models.items(limit=4)]) > 4


async def upload(site):
    """Upload a file from the disk."""
    made = await site.client.files.upload(file=site.file)
    assert made.size_bytes == SIZE


async def download(site):
    """Download a file to the disk; it is there whole or not at all."""
    path = site.folder / "copy.bin"
    path.unlink(missing_ok=True)
    try:
        await site.client.download(DownloadFile(file_id=site.file_id), path)
    finally:
        assert [one.name for one in site.folder.glob("*copy.bin*")] in ([], ["copy.bin"])
    assert path.stat().st_size == SIZE


async def batches(site):
    """Create a batch, wait for it, and read its results."""
    requests = [{"custom_id": name, "params": site.ask()} for name in "abc"]
    run = BatchRun(CreateBatch(requests=requests))
    batch = await site.client.send(run.pending())
    run.batch_id = batch.id
    await site.client.messages.batches.wait(batch, longest=0.001)
    pairs = [pair async for pair in site.client.messages.batches.matched(run)]
    assert len(pairs) == len(requests)


async def retry(site):
    """Ask, be told that the server is busy, wait, and ask again."""
    fields = site.ask("BUSY")
    message = await site.client.messages.create(**fields)
    assert answers(message.text, fields)


async def retry_stream(site):
    """The same for a stream."""
    fields = site.ask("BUSY")
    async with site.client.messages.stream(**fields) as stream:
        assert answers((await stream.final_message()).text, fields)


async def many(site):
    """Ask many things, two at a time."""
    outcomes = []
    items = [Item(n, str(n), CreateMessage(**site.ask())) for n in range(4)]
    await run(site.client, items, outcomes.append, concurrency=2)
    assert [outcome.succeeded for outcome in outcomes] == [True] * 4


async def created(site):
    """Ask with a token that nobody has created yet."""

    async def create_token():
        await asyncio.sleep(0)
        return "token-0001"

    fields = site.ask()
    message = await site.client.with_options(auth_token=create_token).messages.create(**fields)
    assert answers(message.text, fields)


FORMS = [
    *(create, send, final, events, texts, leave, close, break_off, throw_off, count),
    *(pages, upload, download, batches, retry, retry_stream, many, created),
]
FEW = [create, events, leave, upload, download, retry_stream]


# The strikes


class Stepped:
    """Runs a coroutine in the task that awaits this, and strikes as it hands over for the nth time.

    `strike` is called with what the coroutine waits for, a future or None.
    """

    def __init__(self, coroutine, at, strike):
        """Count from 1."""
        self.coroutine, self.at, self.strike = coroutine, at, strike
        self.steps = 0

    def __await__(self):
        """Run it; everything that goes in and out is passed on as it is."""
        step, value = self.coroutine.send, None
        try:
            while True:
                try:
                    awaited = step(value)
                except StopIteration as end:
                    return end.value
                self.steps += 1
                self.strike(self, awaited)
                try:
                    value, step = (yield awaited), self.coroutine.send
                except BaseException as error:  # noqa: BLE001  # it is for the coroutine
                    value, step = error, self.coroutine.throw
        finally:
            del value  # which has this frame in its traceback


def early(stepped, awaited):
    """Cancel before anything can have come of what is awaited."""
    del awaited
    if stepped.steps == stepped.at:
        asyncio.current_task().cancel()


def late(stepped, awaited):
    """Cancel when what is awaited has come, and the task has not learnt it yet."""
    if stepped.steps == stepped.at:
        task = asyncio.current_task()
        if awaited is None:
            task.cancel()
        else:
            awaited.add_done_callback(lambda _: task.cancel())


def often(stepped, awaited):
    """Cancel once, and again wherever the cleaning up waits for something."""
    del awaited
    if stepped.steps >= stepped.at:
        asyncio.current_task().cancel()


def in_time(stepped, awaited):
    """Have `asyncio.timeout` cancel."""
    del awaited
    if stepped.steps == stepped.at:
        stepped.scope.reschedule(asyncio.get_running_loop().time())


STRIKES = [early, late, often, in_time]


async def stricken(site, form, strike, at):
    """Run a call to its end or to the strike, and check its outcome; tell whether it was struck.

    Where `strike` is None the task is cancelled after so many turns of the loop, wherever it
    and the tasks that work for it are then.
    """
    stepped = Stepped(form(site), at, strike or (lambda *_: None))

    async def work():
        if strike is not in_time:
            return await stepped
        async with asyncio.timeout(None) as stepped.scope:
            return await stepped

    task = asyncio.create_task(work())
    struck = False
    if strike is None:
        for _ in range(at):
            await asyncio.sleep(0)
        struck = task.cancel()
    await asyncio.wait([task], timeout=PATIENCE)
    assert task.done(), "it hangs"
    struck = struck or (strike is not None and stepped.steps >= at)
    if not struck:
        task.result()
    elif strike is in_time:
        assert type(task.exception()) is TimeoutError
        assert task.cancelling() == 0
    else:
        assert task.cancelled(), task
    return struck


async def sweep(site, form, strike, *, cold=False, most=TURNS):
    """Strike a call at each point in turn, and check what is left; tell how many there were."""
    tasks = site.tasks()
    for at in range(1, most):
        try:
            budget_for(site.url).put_back(1)
            if cold:
                await site.client.close()
            struck = await stricken(site, form, strike, at)
            await site.quiet(tasks)
            await site.works()
        except BaseException as error:
            error.add_note(f"{form.__name__}, struck {strike and strike.__name__} at point {at}")
            raise
        if not struck:
            return at - 1
    return most


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_cancelled_at_any_point(kind, tmp_path):
    """Cancelled at any point, in any way, on a new connection or a used one: nothing is left."""

    async def main():
        async with opened(kind, tmp_path) as site:
            for form in FORMS if kind in {"aiohttp", "asyncio"} else FEW:
                for strike, cold in zip(STRIKES, itertools.cycle([True, False])):
                    assert await sweep(site, form, strike, cold=cold) > 0

    asyncio.run(main())


@pytest.mark.parametrize("form", [upload, many], ids=["an upload", "many calls"])
@pytest.mark.parametrize("kind", PLAIN)
def test_cancelled_at_any_turn(kind, form, tmp_path):
    """Nor is anything left where other tasks, or threads, are at work for the cancelled one."""

    async def main():
        async with opened(kind, tmp_path) as site:
            return await sweep(site, form, None, cold=True)

    assert asyncio.run(main()) > 4


@pytest.mark.parametrize("kind", ["aiohttp", *ASYNCIO])
def test_cancelled_while_connecting(kind, tmp_path):
    """Cancelled during DNS, TCP or TLS, no socket is left behind."""

    async def main():
        async with opened(kind, tmp_path, tls=True) as site:
            for strike in [*STRIKES, None]:
                assert await sweep(site, create, strike, cold=True) > 3

    asyncio.run(main())


@pytest.mark.parametrize("strike", STRIKES[:2])
@pytest.mark.parametrize("kind", PLAIN)
def test_cancelled_in_a_queue(kind, strike, tmp_path):
    """Of three calls for one connection the second is cancelled: the third has its turn."""

    async def main():
        async with opened(kind, tmp_path) as site:
            for at in itertools.count(1):
                await site.client.close()
                first = asyncio.create_task(create(site))
                await asyncio.sleep(0)
                second = asyncio.create_task(stricken(site, create, strike, at))
                await asyncio.sleep(0)
                third = asyncio.create_task(create(site))
                async with asyncio.timeout(PATIENCE):
                    _, struck, _ = await asyncio.gather(first, second, third)
                if not struck:
                    break
            assert at > 1

    asyncio.run(main())


@pytest.mark.slow
@pytest.mark.parametrize("mark", ["MUTE", "HALF"])
@pytest.mark.parametrize("form", [CreateMessage, StreamMessage])
@pytest.mark.parametrize("kind", PLAIN)
def test_cancelled_while_the_server_is_silent(kind, form, mark, tmp_path):
    """A call that is cancelled, also in the moment of its deadline, is cancelled and hung up on."""

    async def main():
        async with opened(kind, tmp_path) as site:
            for strike, deadline in ((early, None), (late, 0.01)):
                client = site.client.with_options(deadline=deadline)

                async def silent(site, client=client):
                    with suppress(TimedOut, TimeoutError):
                        async with asyncio.timeout(0.3):
                            await client.send(form(**site.ask(mark)))

                assert await sweep(site, silent, strike, cold=strike is early) > 0

    asyncio.run(main())


@pytest.mark.slow
@pytest.mark.parametrize("kind", PLAIN)
def test_nothing_grows(kind, tmp_path, caplog):
    """However many calls are cancelled: after the first ones no memory is taken, nor a socket."""

    async def main():
        async with opened(kind, tmp_path) as site:
            for form in FORMS:  # fills the caches
                await form(site)
                await sweep(site, form, early, most=3)
            forms = [form for form in FORMS if form is not created]  # it keeps tokens
            rounds = itertools.cycle(itertools.product(forms, STRIKES))
            done, sizes = 0, []
            for part in range(5):
                while done < part * CANCELLATIONS / len(PLAIN) / 4:
                    done += await sweep(site, *next(rounds), cold=done % 2 == 0)
                await site.client.close()
                for _ in range(TURNS):  # the server has to see it
                    await asyncio.sleep(0)
                site.renew()
                sizes.append((done, objects(), len(descriptors()), site.tasks()))
            return sizes

    caplog.set_level(logging.CRITICAL + 1, "claude_lite")
    sizes = asyncio.run(main())
    (_, before, *others), *later = sizes
    assert all(same == others for _, _, *same in later)
    assert min(after - done / 5 for done, after, *_ in later[-2:]) - before < SOME, sizes


# What else ends, or is told, when a call is given up


@pytest.mark.parametrize("streamed", [False, True])
def test_a_provider_that_hangs_is_not_waited_for(streamed):
    """A call that gets no token ends by its deadline, and so does one that waits behind it."""

    async def main():
        created = []

        async def create_token():
            created.append(1)
            if len(created) < 3:
                await asyncio.Event().wait()
            return "token-0001"

        client = AsyncClient("emulator", auth_token=create_token, base_url=own_host())

        async def ask(deadline):
            bound = client.with_options(deadline=deadline)
            fields = {"model": MODEL, "max_tokens": 9, "messages": HELLO["messages"]}
            if not streamed:
                return await bound.messages.create(**fields)
            async with bound.messages.stream(**fields) as stream:
                return await stream.final_message()

        loop = asyncio.get_running_loop()
        began = loop.time()
        async with asyncio.timeout(PATIENCE):
            ends = await asyncio.gather(ask(0.1), ask(0.05), ask(0.15), return_exceptions=True)
        assert [(type(end), end.phase, end.attempts) for end in ends] == [
            (TimedOut, "total", 0)
        ] * 3
        assert loop.time() - began < 0.15 + 0.5
        assert len(created) == 2  # the one in the middle gave up before its turn
        assert (await ask(5)).text

    asyncio.run(main())


def test_an_error_of_the_provider_is_no_deadline():
    """A function's own `TimeoutError` is not taken for the deadline."""

    async def create_token():
        raise TimeoutError("the identity service is slow")

    client = AsyncClient("emulator", auth_token=create_token, base_url=own_host())
    with pytest.raises(CredentialMissing, match="auth_token raised TimeoutError") as caught:
        asyncio.run(client.messages.create(**HELLO))
    assert str(caught.value.__cause__) == "the identity service is slow"


@pytest.mark.parametrize("mark", ["MUTE", "LATE"])
@pytest.mark.parametrize("streamed", [False, True])
def test_a_cancelled_call_is_told(mark, streamed, tmp_path):
    """A call that is cancelled in an attempt, or between two, is reported once, as that."""

    async def main():
        heard = []
        async with opened("emulator", tmp_path) as site:
            client = site.client.with_options(
                observe=lambda event, fields: heard.append((event, fields))
            )
            cls = StreamMessage if streamed else CreateMessage
            task = asyncio.create_task(client.send(cls(**site.ask(mark))))
            await asyncio.sleep(0.05)
            task.cancel()
            await asyncio.wait([task])
        return [fields for event, fields in heard if event == "claude_lite.call"]

    (call,) = asyncio.run(main())
    assert (call["error_type"], call["attempts"]) == ("CancelledError", 1)
    assert 0 < call["elapsed_ms"] < PATIENCE * 1000


@pytest.mark.parametrize("kind", ["aiohttp", *ASYNCIO, "emulator"])
def test_a_reader_is_woken(kind, tmp_path):
    """Who waits for the next piece of a stream is woken when another task closes it."""

    async def main():
        async with opened(kind, tmp_path) as site:
            async with site.client.messages.stream(**site.ask("HALF")) as stream:
                reader = asyncio.create_task(stream.final_message())
                await asyncio.sleep(0.05)
                await stream.close()
                async with asyncio.timeout(PATIENCE):
                    with pytest.raises(StreamInterrupted):
                        await reader
            await site.works()

    asyncio.run(main())
