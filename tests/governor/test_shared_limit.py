"""A limit that several processes share through Redis: a real Redis, calls in real time."""

import asyncio
import contextlib
import logging
import os
import pickle
import signal
import threading
import time
import traceback

import pytest
from brokers.servers import running_redis

from claude_lite import AsyncClient, Client, RateLimited, RetryLater, UsageError, defer
from claude_lite.emulator import Emulator
from claude_lite.governor import Governor, governor_for
from claude_lite_transports.emulator import AsyncEmulatorTransport, EmulatorTransport

pytestmark = pytest.mark.slow  # they wait in real time

ASK = {
    "model": "claude-opus-4-5",
    "max_tokens": 50,
    "messages": [{"role": "user", "content": "hello"}],
}
KEY = "sk-ant-canary-0123456789"


@pytest.fixture
def url(redis_server):
    """Give the URL of an empty Redis."""
    import redis

    with redis.Redis.from_url(redis_server.url) as client:
        client.flushall()
    return redis_server.url


@pytest.fixture
def own_redis(tmp_path, redis_server):
    """Give a Redis that the test may kill."""
    del redis_server  # skips where there is none
    with running_redis(tmp_path) as server:
        yield server
        server.signal(signal.SIGCONT)


@pytest.fixture
def governors():
    """Make governors, each as in a process of its own, and end them."""
    made = []

    def make(url, count=1):
        made.extend(Governor(url) for _ in range(count))
        return made[-count:]

    yield make
    for governor in made:
        governor._forget()


def emulator(requests=1200, **options):
    """Give an emulator with a limit; its bucket holds one second of it."""
    return Emulator(limits={"requests": requests, "bucket": 1}, **options)


def async_client(emulator, governor, **options):
    """Give a client of an emulator."""
    options = {"deadline": 60, **options}
    transport = AsyncEmulatorTransport(emulator)
    return AsyncClient(transport, api_key=KEY, governor=governor, **options)


def sync_client(emulator, governor, **options):
    """Give a client of an emulator."""
    return Client(EmulatorTransport(emulator), api_key=KEY, governor=governor, **options)


async def ask(clients, calls):
    """Make many calls at once with each client, and give how many were answered."""
    asked = [client.messages.create(**ASK) for client in clients for _ in range(calls)]
    return len(await asyncio.gather(*asked))


def refusals(emulator, answered):
    """Count the calls that reached the emulator and were refused."""
    return emulator.requests.total - answered


@pytest.mark.slow
def test_processes_share_a_limit(url, governors):
    """Four processes with 50 calls each on a limit of 20 per second: none is refused."""
    server = emulator()
    clients = [async_client(server, governor) for governor in governors(url, 4)]
    began = time.monotonic()
    assert asyncio.run(ask(clients, 50)) == 200
    assert refusals(server, 200) <= 1
    assert time.monotonic() - began < 20
    known = [client.governor.snapshot()[0] for client in clients]
    assert all(one["limits"]["requests"] == 1200 for one in known)
    assert all(one["processes"] == 4 for one in known)
    assert all(one["waiting"] == 0 for one in known)
    assert all(one["redis"] == "there" for one in known)


@pytest.mark.slow
def test_threads_and_loops_share_a_governor(url, governors):
    """Threads with sync clients and a loop with an async one share a governor: none is refused."""
    server, (governor,) = emulator(), governors(url)
    answered = []

    def work():
        client = sync_client(server, governor)
        answered.extend(client.messages.create(**ASK) for _ in range(10))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    assert asyncio.run(ask([async_client(server, governor)], 40)) == 40
    for thread in threads:
        thread.join()
    assert len(answered) == 80
    assert refusals(server, 120) <= 1


@pytest.mark.slow
def test_streams_are_settled(url, governors):
    """A stream takes its turn, too, and gives back what it did not use."""
    server, (governor,) = Emulator(limits={"output_tokens": 60_000, "bucket": 1}), governors(url)
    client = sync_client(server, governor)
    question = ASK | {"max_tokens": 900}
    for _ in range(20):
        with client.messages.stream(**question) as stream:
            stream.final()
    assert refusals(server, 20) == 0
    assert governor.snapshot()[0]["held_s"] < 5


@pytest.mark.slow
def test_a_redis_that_is_not_there(own_redis, governors, caplog):
    """Without a Redis from the first moment, all calls are answered; one line is logged."""
    own_redis.kill()
    server = emulator()
    with caplog.at_level(logging.WARNING):
        (governor,) = governors(own_redis.url.replace("//", "//user:secret-pass@"))
        assert asyncio.run(ask([async_client(server, governor)], 40)) == 40
    assert governor.snapshot()[0]["redis"] == "away"
    lines = [record.message for record in caplog.records if "Redis" in record.message]
    assert len(lines) == 1
    assert "secret" not in lines[0]
    assert f"127.0.0.1:{own_redis.port}" in lines[0]


@pytest.mark.slow
@pytest.mark.parametrize("hangs", [True, False])
def test_a_redis_that_goes_and_comes_back(own_redis, governors, hangs):
    """A Redis that hangs, or is killed and comes back empty: no call is lost, few are refused."""
    server = emulator()
    clients = [async_client(server, governor) for governor in governors(own_redis.url, 3)]

    def go():
        time.sleep(2)
        if hangs:
            own_redis.signal(signal.SIGSTOP)
        else:
            own_redis.kill()
        time.sleep(2)
        if hangs:
            own_redis.signal(signal.SIGCONT)
        else:
            own_redis.start()

    async def scenario():
        thread = threading.Thread(target=go)
        thread.start()
        answered = await ask(clients, 60)
        states = {client.governor.snapshot()[0]["redis"] for client in clients}
        thread.join()
        return answered, states

    answered, states = asyncio.run(scenario())
    assert answered == 180
    assert states == {"there"}
    assert refusals(server, 180) <= 4


@pytest.mark.slow
def test_telling_never_waits(own_redis, governors):
    """A call whose turn is there does not notice that Redis hangs when its answer comes."""
    server = emulator()
    (governor,) = governors(own_redis.url)

    async def scenario():
        client = async_client(server, governor)
        await client.messages.create(**ASK)
        own_redis.signal(signal.SIGSTOP)
        slowest = 0.0
        for _ in range(10):
            began = time.perf_counter()
            await client.messages.create(**ASK)
            slowest = max(slowest, time.perf_counter() - began)
        return slowest

    # The first call finds out, in half a second; no other waits for Redis.
    assert asyncio.run(scenario()) < 5
    assert governor.snapshot()[0]["redis"] == "away"


def test_a_deadline_bounds_the_wait(url, governors):
    """A call for which there is no room before its deadline is a rate limit, and is not sent."""
    server, (governor,) = emulator(60), governors(url)

    async def scenario():
        client = async_client(server, governor, deadline=1.5)
        calls = (client.messages.create(**ASK) for _ in range(30))
        return await asyncio.gather(*calls, return_exceptions=True)

    began = time.monotonic()
    answers = asyncio.run(scenario())
    late = [answer for answer in answers if isinstance(answer, RateLimited)]
    assert time.monotonic() - began < 10
    assert len(late) >= 20
    assert server.requests.total <= 10
    assert governor.snapshot()[0]["waiting"] == 0


def test_a_queue_waits_instead(url, governors):
    """With `defer`, a long wait is RetryLater without an attempt, and the delays are spread."""
    server, (governor,) = emulator(60), governors(url)

    async def scenario():
        client = async_client(server, governor, retry=defer())
        await client.messages.create(**ASK)
        calls = (client.messages.create(**ASK) for _ in range(40))
        return await asyncio.gather(*calls, return_exceptions=True)

    answers = asyncio.run(scenario())
    later = [answer for answer in answers if isinstance(answer, RetryLater)]
    assert len(later) > 30
    assert {error.attempts for error in later} == {0}
    assert len({round(error.delay, 1) for error in later}) > 20


def test_cancelled_calls_give_their_place_back(url, governors):
    """Cancelled calls leave the line; the others get their turns, and nothing stays behind."""
    server, (governor,) = emulator(), governors(url)

    async def scenario():
        client = async_client(server, governor)
        await client.messages.create(**ASK)
        tasks = [asyncio.create_task(client.messages.create(**ASK)) for _ in range(100)]
        await asyncio.sleep(0.3)
        for task in tasks[20:]:
            task.cancel()
        answers = await asyncio.gather(*tasks, return_exceptions=True)
        await client.messages.create(**ASK)
        return sum(not isinstance(answer, BaseException) for answer in answers)

    began = time.monotonic()
    assert asyncio.run(scenario()) >= 20
    assert time.monotonic() - began < 10
    (state,) = governor.snapshot()
    assert state["waiting"] == 0
    time.sleep(0.6)  # what is booked ahead is counted until it would have started
    (pool,) = governor._pools.values()
    assert pool.member.sleeping(time.monotonic()) == 0


def test_interactive_calls_go_first(url, governors):
    """Behind 100 background calls, an interactive one waits for less than a second or two."""
    server, (governor,) = emulator(), governors(url)

    async def scenario():
        client = async_client(server, governor)
        background = client.with_options(priority="background")
        tasks = [asyncio.create_task(background.messages.create(**ASK)) for _ in range(100)]
        await asyncio.sleep(1)
        await client.messages.create(**ASK)
        waiting = governor.snapshot()[0]["waiting"]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return waiting

    assert asyncio.run(scenario()) > 20


def test_redis_keeps_no_credential(url, governors):
    """Neither the keys nor the values in Redis have the credential or the origin."""
    import redis

    server, (governor,) = emulator(), governors(url)
    sync_client(server, governor).messages.create(**ASK)
    time.sleep(0.3)
    with redis.Redis.from_url(url) as client:
        keys = client.keys()
        values = [client.dump(key) for key in keys]
        assert all(client.ttl(key) > 0 for key in keys)
    assert len(keys) == 2
    for secret in (b"canary", b"anthropic.com"):
        assert not [text for text in (*keys, *values) if secret in text]


@pytest.mark.slow
def test_a_forked_child_has_a_thread_of_its_own(url):
    """A governor that has worked works in a forked child, too."""
    server, governor = emulator(), governor_for(url)
    client = sync_client(server, governor)
    client.messages.create(**ASK)
    child = os.fork()
    if not child:
        status = 1
        with contextlib.suppress(BaseException):
            client.messages.create(**ASK)
            status = 0
        os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    client.messages.create(**ASK)
    governor._forget()


# URLs

WRONG = [
    "http://127.0.0.1",
    "redis://",
    "redis://h:port",
    "unix://",
    "redis://:secret-pass@h:99999",
    "redis://:secret-pass\nx@h",
    "redis://u:12?secret-pass@h",
    "redis://u:12#secret-pass@h",
    "u:secret-pass@h",
    b"redis://:secret-pass@h",
]


@pytest.mark.parametrize("wrong", WRONG)
def test_a_url_of_no_redis(wrong):
    """A URL that is none of a Redis is a UsageError that shows the right forms, and no password."""
    pytest.importorskip("redis")
    with pytest.raises(UsageError, match=r"redis://host") as caught:
        Governor(wrong)
    assert "secret" not in str(caught.value)
    assert "secret-pass" not in library_frames(caught.value)


@pytest.mark.parametrize(
    "wrong", [url for url in WRONG if isinstance(url, str) and "secret" in url]
)
def test_a_variable_with_no_redis(wrong, monkeypatch):
    """A wrong CLAUDE_LITE_GOVERNOR is an error, and no frame of the library shows its password."""
    pytest.importorskip("redis")
    monkeypatch.setenv("CLAUDE_LITE_GOVERNOR", wrong)
    with pytest.raises(UsageError) as caught:
        Client(api_key=KEY).governor  # noqa: B018  # the property makes it
    assert "secret-pass" not in library_frames(caught.value)


def library_frames(error):
    """Render an error with all variables, without the frame of the test."""
    shown = traceback.TracebackException.from_exception(error, capture_locals=True)
    return "".join(shown.format()).partition("claude_lite/")[2]


@pytest.mark.parametrize("option", ["password", "pass%77ord", "ssl_password"])
def test_a_password_as_an_option_is_not_pickled(option):
    """A password among the options of a URL is in no pickle of a governor or of a client."""
    pytest.importorskip("redis")
    url = f"redis://127.0.0.1:1/2?{option}=secret-pass"
    if option != "ssl_password":  # only `rediss` has it
        with pytest.raises(UsageError, match="CLAUDE_LITE_GOVERNOR"):
            pickle.dumps(Governor(url))
    assert b"secret-pass" not in pickle.dumps(Client(api_key=KEY, governor=url))


def test_a_password_is_never_shown(governors):
    """The password of a URL is in no repr, and a governor with one is not pickled."""
    pytest.importorskip("redis")
    (governor,) = governors("redis://user:secret-pass@127.0.0.1:1/2")
    assert repr(governor) == "Governor('redis://127.0.0.1:1')"
    assert "secret" not in repr(vars(governor))
    with pytest.raises(UsageError, match="CLAUDE_LITE_GOVERNOR"):
        pickle.dumps(governor)


def test_a_url_is_a_name(url):
    """The clients of a process that name the same Redis share a governor."""
    assert governor_for(url) is governor_for(url)
    copy = pickle.loads(pickle.dumps(governor_for(url)))  # noqa: S301  # made here
    assert copy._desk.url == url
    assert Client(api_key=KEY, governor=url).governor is governor_for(url)
    copy._forget()
