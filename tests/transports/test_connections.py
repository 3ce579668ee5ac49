"""How many connections a transport opens, who waits for one, and for how long one is kept."""

import asyncio
import gc
import json
import os
import resource
import socket
import ssl
import subprocess
import sys
import textwrap
import threading
import time
from contextlib import AsyncExitStack, contextmanager
from math import inf
from pathlib import Path
from queue import Queue

import aiohttp
import pytest
from driving import WHOLE
from each_transport import KINDS, black_hole, each_async_transport, each_transport, echo, stalling
from programs import MESSAGE
from timing import Stopwatch

from claude_lite import Client
from claude_lite.errors import ConnectionFailed, ConnectTimedOut, UsageError
from claude_lite.testing.conformance.cases import fails, get, post
from claude_lite.testing.conformance.guarding import no_descriptors
from claude_lite.testing.conformance.loopback import LoopbackServer, chunked, reply
from claude_lite.wire import Limits, Request
from claude_lite_transports.aiohttp import AiohttpTransport
from claude_lite_transports.shared.dial import default_context
from claude_lite_transports.shared.hints import idle_time
from claude_lite_transports.shared.lookup import in_order
from claude_lite_transports.shared.places import Places, PlacesByProcess, default_most
from claude_lite_transports.shared.share import Share
from claude_lite_transports.urllib import UrllibTransport

ANSWER = json.dumps({**MESSAGE, "content": [{"type": "text", "text": "Hello"}]}).encode()

# How many


class Counting(LoopbackServer):
    """Answers each request after a moment, and counts the connections that are open at once."""

    def __init__(self, after=0.02):
        """Begin with none."""
        super().__init__(self._count)
        self.open = self.most = 0
        self._lock = threading.Lock()
        self._after = after

    def _count(self, peer):
        with self._lock:
            self.open += 1
            self.most = max(self.most, self.open)
        while got := peer.request():
            time.sleep(self._after)
            peer.send(reply(got.body))
        with self._lock:
            self.open -= 1


@each_transport
def test_connections_are_capped(kind):
    """Thirty calls at once over three connections: each gets its answer, in its turn."""

    async def main(transport):
        calls = [transport.send(post(server, str(n).encode())) for n in range(30)]
        answers = [response.body for response in await asyncio.gather(*calls)]
        assert answers == [str(n).encode() for n in range(30)]
        assert server.most <= 3

    with Counting() as server:
        kind.run(main, max_connections=3)


@each_transport
def test_no_header_contradicts_the_end_of_a_request(kind):
    """A request from other code than the core brings no second length and host either."""

    async def main(transport):
        for name in ("content-length", "transfer-encoding"):
            for written in (name, name.title()):
                with pytest.raises(UsageError):
                    await transport.send(Request("POST", server.url(), {written: "1"}, b"{}"))
        with pytest.raises(UsageError):
            await transport.send(Request("POST", server.url(), {"Host": "evil.test"}, b"{}"))

    with LoopbackServer(echo) as server:
        kind.run(main)
    assert not server.received


@each_transport
def test_idle_connections_make_room(kind):
    """Idle connections to other servers are closed, the oldest first, where all places are used."""

    async def main(transport):
        for server in servers:
            assert (await transport.send(post(server, b"x"))).body == b"x"
        assert (await transport.send(post(servers[3], b"y"))).body == b"y"
        await asyncio.sleep(0.1)
        assert [server.open for server in servers] == [0, 0, 1, 1]
        assert [server.connections for server in servers] == [1, 1, 1, 1]

    servers = [Counting(0) for _ in range(4)]
    with servers[0], servers[1], servers[2], servers[3]:
        kind.run(main, max_connections=2)


@each_transport
def test_a_stream_holds_its_place_until_it_is_closed(kind):
    """A call that waits behind a stream is sent when the stream ends, or is left."""

    async def main(transport):
        for how in ("left", "read"):
            async with transport.stream(get(server)) as (_, chunks):
                call = asyncio.ensure_future(transport.send(post(server, b"x")))
                await asyncio.sleep(0.1)
                assert not call.done()
                if how == "read":
                    assert b"".join([chunk async for chunk in chunks]) == b"ab"
            assert (await call).body == b"x"

    def script(peer):
        while got := peer.request():
            peer.send(reply(got.body) if got.body else chunked(b"a", end=b""))
            if not got.body:
                time.sleep(0.2)
                peer.send(b"1\r\nb\r\n0\r\n\r\n")

    with LoopbackServer(script) as server:
        kind.run(main, max_connections=1)


def test_the_advice_of_a_call_past_its_deadline_names_the_option():
    """What a client says about the deadline does not replace what its transport says."""
    with stalling(chunked(b"first", end=b"")) as endless:
        transport = UrllibTransport(max_connections=1, trust_env=False)
        with transport.stream(get(endless)), pytest.raises(ConnectTimedOut) as caught:
            Client(transport, api_key="k", base_url=endless.url(""), deadline=0.1).models.list()
        assert "`max_connections`" in caught.value.advice
        transport.close()


@each_transport
def test_waiting_for_a_place_is_no_part_of_connecting(kind):
    """The wait for a place may be longer than the connect limit, but not than the total one."""

    async def main(transport):
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(transport.stream(get(endless)))
            patient = post(server, b"x", limits=Limits(connect=0.1, total=3.0))
            call = asyncio.ensure_future(transport.send(patient))
            hurried = post(server, b"x", limits=Limits(connect=5.0, total=0.2))
            watch = Stopwatch()
            error = await fails(ConnectTimedOut, transport.send(hurried), within=0.2)
            assert (error.phase, watch.elapsed >= 0.19) == ("total", True)
            assert error.message.startswith("all 1 connections of the transport were in use")
            assert "`max_connections`" in error.advice
            assert not call.done()
        assert (await call).body == b"x"
        assert len(server.received) == 1

    with stalling(chunked(b"first", end=b"")) as endless, LoopbackServer(echo) as server:
        kind.run(main, max_connections=1)


@each_async_transport
def test_who_gives_up_waiting_gives_the_place_on(kind):
    """Cancelled at any step, a waiting call takes no place with it."""

    async def main(transport):
        for steps in range(12):
            calls = [
                asyncio.ensure_future(transport.send(post(server, str(n).encode())))
                for n in range(8)
            ]
            for _ in range(steps):
                await asyncio.sleep(0)
            for call in calls[1::2]:
                call.cancel()
            done = await asyncio.wait_for(asyncio.gather(*calls[::2]), 3)
            assert [answer.body for answer in done] == [b"0", b"2", b"4", b"6"]

    with LoopbackServer(echo) as server:
        kind.run(main, max_connections=1)


@each_async_transport
def test_a_failed_call_gives_its_place_back(kind):
    """A call that cannot connect, is refused, times out or breaks off leaves a place."""

    async def main(transport):
        brief = Limits(read=0.05)
        for _ in range(2):
            await fails(Exception, transport.send(Request("GET", "http://127.0.0.1:1/", {})))
            await fails(Exception, transport.send(get(mute, limits=brief)))
            await fails(Exception, transport.send(Request("GET", "http://127.0.0.1:0/", {})))
            await fails(Exception, transport.send(post(server, headers={"a": "b\nc"})))
        assert (await transport.send(post(server, b"x"))).body == b"x"

    with stalling() as mute, LoopbackServer(echo) as server:
        kind.run(main, max_connections=1)


@each_async_transport
def test_loops_share_the_places(kind):
    """Event loops in several threads wait for one another, and none is forgotten."""

    async def ask(number):
        calls = [transport.send(post(server, f"{number} {n}".encode())) for n in range(10)]
        answers = await asyncio.gather(*calls)
        await transport.close()
        return [answer.body for answer in answers] == [f"{number} {n}".encode() for n in range(10)]

    def run(number):
        with asyncio.Runner(loop_factory=kind.loop) as runner:
            right.put(runner.run(asyncio.wait_for(ask(number), 5)))

    right = Queue()
    transport = kind.make(max_connections=2)
    with Counting(0.005) as server:
        threads = [threading.Thread(target=run, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [right.get(timeout=1) for _ in threads] == [True] * 4
        assert server.most <= 6  # an idle connection of another loop is closed by that loop


@each_async_transport
def test_a_loop_that_is_gone_holds_no_place(kind):
    """Places that a closed loop had taken are free again at the next loop's first call."""

    async def leave():
        stream = transport.stream(get(endless))
        await stream.__aenter__()
        return stream

    async def ask():
        answer = await asyncio.wait_for(transport.send(post(server, b"x")), 3)
        await transport.close()
        return answer.body

    transport = kind.make(max_connections=1)
    with stalling(chunked(b"first", end=b"")) as endless, LoopbackServer(echo) as server:
        for _ in range(2):
            with asyncio.Runner(loop_factory=kind.loop) as runner:
                left = runner.run(leave())
            with asyncio.Runner(loop_factory=kind.loop) as runner:
                assert runner.run(ask()) == b"x"
            del left


# Without descriptors

CLIENT = """
import asyncio, json, resource, sys, threading
from importlib import import_module
resource.setrlimit(resource.RLIMIT_NOFILE, (LIMIT, LIMIT))
from claude_lite import AsyncClient, ClaudeError, Client, never
NOBODY = "http://127.0.0.1:1"
transport = getattr(import_module(MODULE), NAME)(trust_env=False, **OPTIONS)
ask = dict(model="m", max_tokens=9, messages=[dict(role="user", content="x")])
options = dict(base_url=sys.argv[1], api_key="k" * 20, retry=never())
seen, kept = [], []
def hold():
    kept.extend(open("/dev/null") for _ in range(HELD))
if IS_ASYNC:
    async def main():
        async with AsyncClient(transport, **options) as client:
            async def stream():
                async with client.messages.stream(**ask) as stream:
                    return (await stream.final_message()).text
            async def send():
                return (await client.messages.create(**ask)).text
            await stream()
            try:
                await client.with_options(base_url=NOBODY).messages.create(**ask)
            except ClaudeError:
                hold()  # now all that calls need is imported
            calls = [stream() if n % 3 == 2 else send() for n in range(CALLS)]
            seen.extend(await asyncio.gather(*calls, return_exceptions=True))
    asyncio.run(main())
else:
    client = Client(transport, **options)
    def call(n):
        try:
            if n % 3 == 2:
                with client.messages.stream(**ask) as stream:
                    seen.append(stream.final_message().text)
            else:
                seen.append(client.messages.create(**ask).text)
        except Exception as error:
            seen.append(error)
    threading.stack_size(256 * 1024)
    call(2)
    try:
        client.with_options(base_url=NOBODY).messages.create(**ask)
    except ClaudeError:
        hold()  # now all that calls need is imported
    seen.clear()
    threads = [threading.Thread(target=call, args=(n,)) for n in range(CALLS)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    client.close()
for file in kept: file.close()
def told(one):
    return one if isinstance(one, str) else [type(one).__name__, str(one), one.advice]
print(json.dumps([told(one) for one in seen]))
"""


def in_a_process(kind, server, *, limit, calls, held=0, **options):
    """Make calls at once in a process with so many descriptors; give the answers and errors."""
    settings = {
        "LIMIT": limit,
        "CALLS": calls,
        "HELD": held,
        "MODULE": kind.factory.__module__,
        "NAME": kind.factory.__name__,
        "IS_ASYNC": kind.loop is not None,
        "OPTIONS": options,
    }
    first = "".join(f"{name} = {value!r}\n" for name, value in settings.items())
    done = subprocess.run(  # noqa: S603  # this interpreter, code of our own
        [sys.executable, "-c", first + textwrap.dedent(CLIENT), server.url("")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)


class Api(Counting):
    """Answers as the API does, streamed if that is asked for."""

    def _count(self, peer):
        while got := peer.request():
            time.sleep(self._after)
            if json.loads(got.body).get("stream"):
                events = b"".join(WHOLE)
                peer.send(reply(events, "content-type: text/event-stream"))
            else:
                peer.send(reply(ANSWER, "content-type: application/json"))


@each_transport
@pytest.mark.slow
def test_more_calls_than_descriptors(kind):
    """Four hundred calls at once in a process with 200 descriptors are all answered."""
    with Api() as server:
        assert set(in_a_process(kind, server, limit=200, calls=400)) == {"Hello"}
        assert server.connections <= 100


@each_transport
@pytest.mark.slow
def test_no_descriptor_is_left(kind):
    """Out of descriptors all the same: `ConnectionFailed` says so, and what to do."""
    with Api(after=0.3) as server:
        seen = in_a_process(kind, server, limit=200, calls=80, held=150, max_connections=80)
    errors = [one for one in seen if one != "Hello"]
    assert 0 < len(errors) < 80
    for name, said, advice in errors:
        assert name == "ConnectionFailed"
        assert "Too many open files" in said
        assert "ulimit -n" in advice
        assert "`max_connections`" in advice


# Addresses


@contextmanager
def resolving(monkeypatch, *addresses):
    """Let the resolver answer with these addresses."""
    plain = socket.getaddrinfo

    def resolved(host, *rest, **options):
        if not str(host).endswith(".test"):
            return plain(host, *rest, **options)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", address) for address in addresses]

    with monkeypatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", resolved)
        yield


def test_families_take_turns():
    """The addresses of a host are tried one family after the other, in the resolver's order."""
    found = [(kind, 1, 6, "", (name, 80)) for kind, name in zip("66644", "abcde", strict=True)]
    assert "".join(address[4][0] for address in in_order("turns.test", 80, found)) == "adbec"


@each_transport
def test_an_address_that_hangs_is_passed_by(kind, monkeypatch):
    """Where one address does not answer, the next is tried soon; where it refuses, at once.

    The address that has worked comes first the next time.
    """

    async def ask(transport, where):
        watch = Stopwatch()
        request = Request("GET", f"http://{where}/", {}, limits=Limits(connect=6.0))
        assert (await transport.send(request)).body == b"/"
        await transport.close()
        return watch

    async def main(transport):
        with black_hole() as hole, LoopbackServer(echo) as server:
            good = server._listener.getsockname()
            with socket.socket() as unused:
                unused.bind(("127.0.0.1", 0))
                refusing = unused.getsockname()
                name = kind.name.replace(" ", "-")
                with resolving(monkeypatch, hole, good):
                    watch = await ask(transport, f"a-{name}.test")
                    assert (watch.elapsed >= 0.2, watch.seconds < 0.5) == (True, True)
                    assert (await ask(transport, f"a-{name}.test")).seconds < 0.2
                with resolving(monkeypatch, refusing, good):
                    assert (await ask(transport, f"b-{name}.test")).seconds < 0.2
                with resolving(monkeypatch, good, hole):
                    assert (await ask(transport, f"c-{name}.test")).seconds < 0.2
                with resolving(monkeypatch, refusing, refusing):
                    call = transport.send(Request("GET", f"http://d-{name}.test/", {}))
                    await fails(ConnectionFailed, call)

    kind.run(main)


@each_transport
def test_an_address_that_hangs_does_not_hide_that_another_refuses(kind, monkeypatch):
    """Where one address refuses and the other hangs, the call waits for that one, to its limit."""

    async def main(transport):
        with black_hole() as hole, socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            with resolving(monkeypatch, hole, unused.getsockname()):
                request = Request("GET", "http://many.test/", {}, limits=Limits(connect=0.5))
                error = await fails(ConnectTimedOut, transport.send(request), within=0.5)
                assert error.phase == "connect"

    kind.run(main)


@each_async_transport
def test_a_race_that_is_cancelled_leaves_nothing(kind, monkeypatch):
    """A call that is cancelled at any step of connecting leaves no socket behind."""

    async def main(transport):
        with (
            LoopbackServer(echo) as server,
            resolving(monkeypatch, *[server._listener.getsockname()] * 2),
        ):
            request = Request("GET", "http://many.test/", {})
            for turns in range(40):
                task = asyncio.ensure_future(transport.send(request))
                for _ in range(turns % 20):
                    await asyncio.sleep(0)
                task.cancel()
                await asyncio.wait({task})
                await transport.close()
            await asyncio.sleep(0.01)
            gc.collect()

    kind.run(main)


@each_transport
@pytest.mark.parametrize(
    ("limits", "phase"), [(Limits(connect=0.2), "connect"), (Limits(total=0.2), "total")]
)
def test_a_resolver_that_hangs(kind, limits, phase, monkeypatch):
    """The limits hold while the resolver hangs; what else is asked for is found meanwhile."""
    over = threading.Event()
    plain = socket.getaddrinfo

    def hanging(host, *rest, **options):
        if host != "hangs.test":
            return plain("127.0.0.1", *rest, **options)
        assert over.wait(20)
        raise socket.gaierror(-3, "Temporary failure in name resolution")

    async def main(transport):
        request = Request("GET", "http://hangs.test/", {}, limits=limits)
        calls = [fails(ConnectTimedOut, transport.send(request), within=0.2) for _ in range(5)]
        assert {error.phase for error in await asyncio.gather(*calls)} == {phase}
        threads = [one for one in threading.enumerate() if one.name == "claude-lite-lookup"]
        assert (len(threads), all(one.daemon for one in threads)) == (1, True)
        url = server.url("/").replace("127.0.0.1", "found.test")
        assert (await transport.send(Request("GET", url, {}))).body == b"/"

    with monkeypatch.context() as patch, LoopbackServer(echo) as server:
        patch.setattr(socket, "getaddrinfo", hanging)
        try:
            kind.run(main)
        finally:
            over.set()
            for thread in threading.enumerate():
                if thread.name == "claude-lite-lookup":
                    thread.join()


@each_transport
@pytest.mark.slow
def test_a_program_does_not_wait_for_a_resolver_that_hangs(kind):
    """A process ends though a lookup of its transport hangs, and says nothing."""
    code = """
    import socket, sys, time
    socket.getaddrinfo = lambda *args, **options: time.sleep(30)
    from importlib import import_module
    from claude_lite import AsyncClient, Client, ConnectTimedOut, never
    import asyncio
    transport = getattr(import_module(sys.argv[1]), sys.argv[2])(trust_env=False)
    options = dict(base_url="http://hangs.test", api_key="any", retry=never(), connect_timeout=0.1)
    async def main():
        async with AsyncClient(transport, **options) as client:
            await client.models.list()
    try:
        if hasattr(transport, "_pools"):
            asyncio.run(main())
        else:
            Client(transport, **options).models.list()
    except ConnectTimedOut:
        pass
    """
    done = subprocess.run(  # noqa: S603  # this interpreter, code of our own
        [
            *(sys.executable, "-W", "error", "-c", textwrap.dedent(code)),
            *(kind.factory.__module__, kind.factory.__name__),
        ],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


# The queue


def test_the_default_is_half_of_what_may_be_opened():
    """The default leaves room for the rest of the program, and there always is one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = len([*Path("/dev/fd").iterdir()])
    try:
        for limit, most in ((1000 + used, 492), (used + 2, 8)):
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
            assert abs(default_most() - most) <= 2
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_places_are_given_in_turn():
    """Who waits for the longest time is next, and nobody passes who waits."""
    places = Places(1)
    came = []
    assert places.take()
    turns = [lambda n=n: came.append(n) for n in range(3)]
    for turn in turns:
        places.queue(turn)
    places.leave(turns[1])
    places.give()
    assert (came, places.take(), places.wait(0.01)) == ([0], False, False)
    places.give()
    places.give()
    assert (came, places.take(), places.take()) == ([0, 2], True, False)


def test_a_place_that_came_too_late_is_given_on():
    """Who leaves just as its turn has come gives the place to the next."""
    places = Places(1)
    came = []
    assert places.take()
    first, second = lambda: came.append(1), lambda: came.append(2)
    places.queue(first)
    places.queue(second)
    places.give()
    places.leave(first)
    assert came == [1, 2]


def test_who_cannot_be_called_is_passed_over():
    """The turn of a call whose event loop is closed goes to the next."""
    places = Places(1)
    came = []
    assert places.take()

    def closed():
        raise RuntimeError("Event loop is closed")

    places.queue(closed)
    places.queue(lambda: came.append(1))
    places.give()
    assert came == [1]


def test_a_call_whose_loop_was_closed_gives_nothing_back():
    """It never had the place that went to the next, so there are not more places than before."""
    places = Places(1)
    assert places.take()

    async def begin_to_wait():
        waiting = Share(places).wait(inf)
        waiting.send(None)
        return waiting

    waiting = asyncio.run(begin_to_wait())
    places.give()
    waiting.close()
    assert (places.take(), places.take()) == (True, False)


def test_threads_take_turns():
    """Fifty threads over two places: never more than two at once, and no wake-up is lost."""
    places = Places(2)
    inside, most, rounds = [], [], []

    def work():
        for _ in range(100):
            assert places.wait(10.0)
            inside.append(None)
            most.append(len(inside))
            inside.pop()
            places.give()
        rounds.append(None)

    threads = [threading.Thread(target=work) for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(rounds), max(most) <= 2, places.take(), places.take()) == (50, True, True, True)


def test_a_fork_drops_the_places():
    """A child has places of its own; what it gives back of its parent's changes nothing."""
    by_process = PlacesByProcess(1)
    places = by_process.here()
    assert places.take()
    pid = os.fork()
    if pid == 0:
        own = by_process.here()
        fine = own is not places and own.take() and not own.take()
        places.give()
        os._exit(0 if fine else 1)
    assert os.waitpid(pid, 0)[1] == 0
    assert by_process.here() is places
    assert not places.take()


# For how long


class Saying(LoopbackServer):
    """Answers each request with the number of its connection, and with these lines in its head."""

    def __init__(self, *lines, status="200 OK", version=b"1.1"):
        """Begin to serve."""
        super().__init__(self._say)
        self.gone = Queue()
        self._lines = lines
        self._status = status
        self._version = version

    def _say(self, peer):
        while peer.request():
            answer = reply(str(peer.number).encode(), *self._lines, status=self._status)
            peer.send(answer.replace(b"HTTP/1.1", b"HTTP/" + self._version, 1))
        self.gone.put(peer.number)


async def numbers(transport, server, count, pause=0.0):
    """Make calls one after the other; give the numbers of the connections that carried them."""
    found = []
    for _ in range(count):
        found.append(int((await transport.send(post(server))).body))
        await asyncio.sleep(pause)
    return found


KINDS_AND_SESSION = pytest.mark.parametrize(
    "kind", [*KINDS, "session"], ids=lambda kind: getattr(kind, "name", kind)
)


def run(kind, main, **options):
    """Run a coroutine with a transport, or with one over a caller's session."""
    if kind != "session":
        return kind.run(main, **options)

    async def over_a_session():
        async with aiohttp.ClientSession() as session:
            return await main(AiohttpTransport(session=session, trust_env=False, **options))

    return asyncio.run(over_a_session())


@KINDS_AND_SESSION
@pytest.mark.parametrize(
    ("lines", "options"),
    [
        (["Connection: close"], {}),
        (["Connection: Close, TE"], {}),
        (["connection: TE ,  CLOSE"], {}),
        (["Connection: te", "Connection: close"], {}),
        ([], {"version": b"1.0"}),
        (["Keep-Alive: timeout=0"], {}),
        (["Keep-Alive: timeout=5, max=0"], {}),
        (["keep-alive: MAX=1; Timeout=5"], {}),
        ([], {"status": "408 Request Timeout"}),
        ([], {"status": "421 Misdirected Request"}),
    ],
)
def test_a_server_that_wants_no_more(kind, lines, options):
    """After a reply that says so, the next request goes over a new connection."""

    async def main(transport):
        first, second = await numbers(transport, server, 2)
        assert first != second

    with Saying(*lines, **options) as server:
        run(kind, main)


@KINDS_AND_SESSION
def test_a_connection_is_given_up_before_the_server_closes_it(kind):
    """A connection is not used in the last half of the time that the server keeps it."""

    async def main(transport):
        assert await numbers(transport, server, 3) == [0, 0, 0]
        await asyncio.sleep(0.6)
        assert await numbers(transport, server, 2) == [1, 1]

    with Saying("Keep-Alive: timeout=1, max=1000") as server:
        run(kind, main)


@KINDS_AND_SESSION
def test_a_connection_carries_what_the_server_allows(kind):
    """After `max` replies another connection is used."""

    async def main(transport):
        assert await numbers(transport, server, 5) == [0, 0, 1, 1, 2]

    with Saying("Keep-Alive: timeout=60, max=2") as server:
        run(kind, main)


@pytest.mark.parametrize(
    ("hint", "replies", "seconds"),
    [
        (None, 1, 50.0),
        ("timeout=5", 1, 4.0),
        ("timeout=1", 1, 0.5),
        ("timeout=900", 1, 50.0),
        ('timeout="20"', 1, 19.0),
        ("max=2", 1, 50.0),
        ("max=2", 2, 0.0),
        ("timeout=x, max=-1", 9, 50.0),
        ("xtimeout=1, maximum=1", 9, 50.0),
        ("timeout=" + "9" * 5000, 1, 50.0),
        ("", 1, 50.0),
    ],
)
def test_hints(hint, replies, seconds):
    """A hint shortens the time, and what is no hint changes nothing."""
    headers = {} if hint is None else {"keep-alive": hint}
    assert idle_time(200, headers, replies, 50.0) == seconds


# The session of a caller


def test_a_server_that_always_speaks_first():
    """Three new connections of a session that were spoken on are enough: the call fails."""

    def script(peer):
        peer.send(reply(b"of somebody else"))
        peer.gone()

    class Late(aiohttp.TCPConnector):
        async def _create_connection(self, *args):
            made = await super()._create_connection(*args)
            time.sleep(0.05)  # noqa: ASYNC251  # the bytes arrive, and the loop does not know
            return made

    async def main():
        async with aiohttp.ClientSession(connector=Late()) as session:
            transport = AiohttpTransport(session=session, trust_env=False)
            error = await fails(ConnectionFailed, transport.send(get(server)))
            assert "spoken on" in error.message
            assert server.connections == 3

    with LoopbackServer(script) as server:
        asyncio.run(main())


def test_the_wait_for_a_session_is_no_part_of_connecting():
    """Where the session's own limit makes a call wait, only the total limit counts."""

    async def main():
        connector = aiohttp.TCPConnector(limit=1)
        async with aiohttp.ClientSession(connector=connector) as session:
            transport = AiohttpTransport(session=session, trust_env=False)
            async with transport.stream(get(endless)):
                patient = post(server, b"x", limits=Limits(connect=0.1, total=3.0))
                call = asyncio.ensure_future(transport.send(patient))
                hurried = post(server, b"x", limits=Limits(connect=5.0, total=0.2))
                error = await fails(ConnectTimedOut, transport.send(hurried), within=0.2)
                assert (error.phase, call.done()) == ("total", False)
            assert (await call).body == b"x"

    with stalling(chunked(b"first", end=b"")) as endless, LoopbackServer(echo) as server:
        asyncio.run(main())


def test_a_session_that_is_closed_meanwhile():
    """A call that waits for a session which is then closed is a failed connection."""

    async def main():
        connector = aiohttp.TCPConnector(limit=1)
        session = aiohttp.ClientSession(connector=connector)
        transport = AiohttpTransport(session=session, trust_env=False)
        async with transport.stream(get(endless)):
            call = asyncio.ensure_future(transport.send(get(endless)))
            await asyncio.sleep(0.05)
            await session.close()
            await fails(ConnectionFailed, call)

    with stalling(chunked(b"first", end=b"")) as endless:
        asyncio.run(main())


# Certificates


def test_certificates_that_could_not_be_opened():
    """Out of descriptors, no TLS context without certificates is made, and kept for later."""
    if ssl.get_default_verify_paths().cafile is None:
        pytest.skip("the certificates of this system are in a folder")
    default_context.cache_clear()
    with no_descriptors(), pytest.raises(OSError, match="Too many open files"):
        default_context()
    assert default_context().cert_store_stats()["x509"] > 0
