"""One client in many processes: forked and spawned ones, and at the end of an interpreter."""

import asyncio
import pickle
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest
from driving import KEY
from programs import EchoServer, ask, python

from claude_lite import AsyncClient, Client, CreateMessage, NotFound
from claude_lite.client.link import LAZY_MODULES

ASYNC = ["aiohttp", "asyncio"]
# Modules that calls use, of which a thread might just import some.
MISSING = [*LAZY_MODULES, "encodings.idna", "urllib.request", "tenacity", "random", "ssl"]
SAY = {
    "urllib": "say(client, {})",
    "aiohttp": "asyncio.run(say_async(client, {}))",
    "asyncio": "asyncio.run(say_async(client, {}))",
}
MAKE = {
    "urllib": "client = Client(api_key=KEY, base_url=URL)",
    "aiohttp": "client = AsyncClient(api_key=KEY, base_url=URL)",
    "asyncio": "client = AsyncClient('asyncio', api_key=KEY, base_url=URL)",
}


@pytest.fixture
def server():
    """Serve echoes."""
    with EchoServer() as running:
        yield running


def families(server):
    """Tell who used each connection: the first words of what was said on it."""
    users = {}
    for number, text in server.heard:
        users.setdefault(number, set()).add(text.split()[0])
    return users


# Forks


@pytest.mark.slow
def test_100_children_of_a_sync_client(server):
    """100 forked children make 20 calls each: all answers are right, and no socket is shared."""
    code = """
        client = Client(api_key=KEY, base_url=URL)
        say(client, "parent before")

        def child(n):
            for i in range(20):
                say(client, f"{n} {i}")

        fork_many(100, child)
        say(client, "parent after")
    """
    python(code, server)
    assert len(server.heard) == 2002
    assert all(len(users) == 1 for users in families(server).values())
    assert server.heard[0][0] == server.heard[-1][0] == 0  # the parent's connection is still good


@pytest.mark.slow
@pytest.mark.parametrize("name", ASYNC)
def test_100_children_of_an_async_client(name, server):
    """The same for children of a running loop, which goes on after them."""
    code = """
        async def five(n, task):
            for i in range(5):
                await say_async(client, f"{n} {task} {i}")

        async def calls(n):
            await asyncio.gather(*[five(n, task) for task in range(4)])

        async def main():
            await say_async(client, "parent before")
            fork_many(100, lambda n: asyncio.run(calls(n)))
            await say_async(client, "parent after")

        asyncio.run(main())
    """
    python(MAKE[name] + code.replace("\n        ", "\n"), server)
    assert len(server.heard) == 2002
    assert all(len(users) == 1 for users in families(server).values())
    assert server.heard[0][0] == server.heard[-1][0] == 0


@pytest.mark.slow
@pytest.mark.parametrize("name", SAY)
def test_forks_while_threads_make_their_first_calls(name, server):
    """A child's call is answered whatever other threads of its parent did, or loaded, just then."""
    code = f"""
{MAKE[name]}
going = True

def work(n):
    while going:
        {SAY[name].format('f"thread {n}"')}

def child(n):
    {SAY[name].format('f"child{n}"')}

threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
for thread in threads: thread.start()
fork_many(24, child)
going = False
for thread in threads: thread.join()
"""
    python(code, server)
    assert {text for _, text in server.heard} >= {f"child{n}" for n in range(24)}
    assert all(len(users) == 1 for users in families(server).values())


# Each holds a lock in a thread (`held` is set once it does), until it may `go_on`.
HOLDERS = {
    "a token that is being created": """
        def create_token():
            held.set()
            go_on.wait()
            return "token-0123"

        client = Client(auth_token=create_token, base_url=URL)
        call = lambda: say(client, "hello")
    """,
    "a key that is being looked up": """
        def look_up():
            if not held.is_set():
                held.set()
                go_on.wait()
            return KEY

        client = Client(api_key=look_up, base_url=URL)
        call = lambda: say(client, "hello")
    """,
    "a Google token that is being refreshed": """
        from claude_lite.dialects.google_token import token

        class Credentials:
            token, valid = "ya29.token", False

            def refresh(self, request):
                held.set()
                go_on.wait()

        call = lambda: token(Credentials())
    """,
    "a retry that is being counted": """
        from claude_lite.core.retry import budget_for
        client = Client(api_key=KEY, base_url=URL)

        def hold():
            with budget_for(client.config.origin)._lock:
                held.set()
                go_on.wait()

        def call():
            if threading.current_thread() is threading.main_thread():
                assert budget_for(client.config.origin).take()
            else:
                hold()
    """,
    "a transport that is being loaded": """
        from claude_lite.client.link import _loading
        client = Client(api_key=KEY, base_url=URL)

        def call():
            if threading.current_thread() is threading.main_thread():
                say(client, "hello")
            else:
                with _loading:
                    held.set()
                    go_on.wait(0.2)  # the fork waits for it
                    logging.getLogger("as transports make one")
    """,
}


@pytest.mark.parametrize("what", HOLDERS)
@pytest.mark.slow
def test_a_lock_that_is_held_at_the_fork(what, server):
    """What another thread has locked when a process forks is free in the child."""
    code = """
thread = threading.Thread(target=call)
thread.start()
held.wait()
pid = fork(lambda: (go_on.set(), call()))
wait_for([pid])
go_on.set()
thread.join()
"""
    events = "held, go_on = threading.Event(), threading.Event()\n"
    python(events + dedented(what) + code, server, first="import claude_lite\n", within=15.0)


def dedented(what):
    """Give one of the holders as a program."""
    return HOLDERS[what].replace("\n        ", "\n")


@pytest.mark.parametrize("name", SAY)
def test_a_child_imports_nothing(name, server):
    """Whatever other threads import during a fork, the child's first calls do not wait for it."""
    code = f"""
{MAKE[name]}

class Slow:  # in a thread, the import of a module never ends
    def find_spec(self, name, path=None, target=None):
        if threading.current_thread() is not threading.main_thread():
            return importlib.util.spec_from_loader(name, self)

    def create_module(self, spec):
        return None

    def exec_module(self, module):
        stuck.append(module)
        threading.Event().wait()

stuck, missing = [], {MISSING!r}
missing = [name for name in missing if name not in sys.modules]
sys.meta_path.insert(0, Slow())
for name in missing:
    threading.Thread(target=__import__, args=(name,), daemon=True).start()
while len(stuck) < len(missing):
    time.sleep(0.001)

def child():
    {SAY[name].format('"child"')}
    client.files, client.models, client.messages.batches
    try:
        download = client.download(DownloadFile(file_id="f"), "/nowhere/file")
        asyncio.run(download) if asyncio.iscoroutine(download) else download
    except UsageError:
        pass

wait_for([fork(child)])
os._exit(0)
"""
    first = "import importlib.util\nfrom claude_lite import DownloadFile, UsageError\n"
    python(code, server, first=first)
    assert [text for _, text in server.heard] == ["child"]


# Pools of processes


def call(client, operation):
    """Make a call with what came in a pickle."""
    if isinstance(client, Client):
        return client.send(operation)
    return asyncio.run(client.send(operation))


@pytest.mark.parametrize("kind", ["client", "async client", "options"])
@pytest.mark.slow
def test_spawned_processes(kind, server, monkeypatch):
    """Client, call and answer travel to a spawned process and back, an error as itself."""
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
    mode = AsyncClient if kind == "async client" else Client
    client = mode(api_key="sk-ant-not-this-one", base_url=server.url(""))
    if kind == "options":
        client = client.with_options(headers={"x-app": "spawned"})
    assert b"not-this-one" not in pickle.dumps(client)
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        hello = pool.submit(call, client, CreateMessage(**ask("hello")))
        missing = pool.submit(call, client, CreateMessage(**ask("missing")))
        answer, error = hello.result(), missing.exception()
    assert (answer.text, answer.response.status) == ("hello", 200)
    assert isinstance(error, NotFound)
    assert (error.message, error.attempts, error.status) == ("no such thing", 1, 404)
    assert [got.values("x-api-key") for got in server.received] == [[KEY], [KEY]]
    expected = ["spawned"] if kind == "options" else []
    assert [got.values("x-app") for got in server.received] == [expected, expected]


@pytest.mark.parametrize("name", SAY)
@pytest.mark.slow
def test_a_pool_of_forked_processes(name, server):
    """The workers of a `ProcessPoolExecutor` inherit a client that was used, and use it."""
    code = """
        from concurrent.futures import ProcessPoolExecutor
        from multiprocessing import get_context
        from claude_lite import CreateMessage

        def call(text):
            answer = client.send(CreateMessage(**ask(text)))
            return asyncio.run(answer) if asyncio.iscoroutine(answer) else answer

        assert call("parent").text == "parent"
        with ProcessPoolExecutor(4, get_context("fork")) as pool:
            texts = [f"child {n}" for n in range(100)]
            assert [answer.text for answer in pool.map(call, texts)] == texts
            error = pool.submit(call, "missing").exception()
        assert (type(error).__name__, error.status) == ("NotFound", 404)
        assert call("parent").text == "parent"
    """
    python(MAKE[name] + code.replace("\n        ", "\n"), server)
    assert len(server.heard) == 103
    assert all("parent" not in users or len(users) == 1 for users in families(server).values())


# The end of an interpreter

AT_EXIT = {
    "sync": """
        client = Client(api_key=KEY, base_url=URL)
        say(client, "bye")
    """,
    "sync, two left open": """
        client = Client(api_key=KEY, base_url=URL)
        threads = [threading.Thread(target=say, args=(client, "bye")) for _ in range(2)]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
    """,
    "sync stream": """
        client = Client(api_key=KEY, base_url=URL)
        with client.messages.stream(**ask("bye")) as stream:
            next(iter(stream))
    """,
    "sync daemons": """
        client = Client(api_key=KEY, base_url=URL)

        def work():
            while True:
                say(client, "bye")

        for _ in range(16): threading.Thread(target=work, daemon=True).start()
        time.sleep(0.2)
    """,
    "sync daemon in a stream": """
        client = Client(api_key=KEY, base_url=URL)
        reading = threading.Event()

        def work():
            with client.messages.stream(**ask("bye")) as stream:
                for event in stream:
                    reading.set()

        threading.Thread(target=work, daemon=True).start()
        reading.wait()
    """,
    "async": """
        client = AsyncClient(NAME, api_key=KEY, base_url=URL)
        asyncio.run(say_async(client, "bye"))
    """,
    "async, a closed loop": """
        client = AsyncClient(NAME, api_key=KEY, base_url=URL)
        loop = asyncio.new_event_loop()
        loop.run_until_complete(say_async(client, "bye"))
        loop.close()
    """,
    "async stream": """
        client = AsyncClient(NAME, api_key=KEY, base_url=URL)

        async def main():
            async with client.messages.stream(**ask("bye")) as stream:
                async for event in stream:
                    return

        asyncio.run(main())
    """,
    "async, calls under way": """
        client = AsyncClient(NAME, api_key=KEY, base_url=URL)

        async def read():
            async with client.messages.stream(**ask("bye")) as stream:
                async for event in stream:
                    reading.set()

        async def main():
            global reading, task
            reading = asyncio.Event()
            task = asyncio.create_task(read())
            await reading.wait()

        asyncio.run(main())
    """,
    "async daemons": """
        client = AsyncClient(NAME, api_key=KEY, base_url=URL)

        async def work():
            while True:
                await asyncio.gather(*[say_async(client, "bye") for _ in range(4)])

        for _ in range(4):
            threading.Thread(target=lambda: asyncio.run(work()), daemon=True).start()
        time.sleep(0.3)
    """,
    "async daemon in a stream": """
        client = AsyncClient(NAME, api_key=KEY, base_url=URL)
        reading = threading.Event()

        async def work():
            async with client.messages.stream(**ask("bye")) as stream:
                async for event in stream:
                    reading.set()

        threading.Thread(target=lambda: asyncio.run(work()), daemon=True).start()
        reading.wait()
    """,
}
ENDINGS = [
    pytest.param(name, what, id=f"{what} ({name})" if name else what)
    for what, code in AT_EXIT.items()
    for name in (ASYNC if "NAME" in code else [None])
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "what"), ENDINGS)
def test_the_interpreter_exits_at_once(name, what, server):
    """A program that ends with a client open ends without a warning, and does not hang."""
    code = AT_EXIT[what].replace("\n        ", "\n")
    assert python(f"NAME = {name!r}{code}", server, dev=True) < 15  # one that hangs takes a minute


@pytest.mark.parametrize(
    "code",
    [
        """
        stream = Client(api_key=KEY, base_url=URL).messages.stream(**ask("bye")).__enter__()
        next(iter(stream))
        """,
        """
        client = AsyncClient(api_key=KEY, base_url=URL)

        async def main():
            stream = await client.messages.stream(**ask("bye")).__aenter__()
            async for event in stream:
                return

        asyncio.run(main())
        """,
    ],
    ids=["sync", "async"],
)
def test_a_stream_that_is_never_left_does_not_hang(code, server):
    """A stream entered by hand and forgotten is closed without noise, and the exit is prompt."""
    assert python(code, server) < 15
