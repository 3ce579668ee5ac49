"""Results in Redis: kept for their time, shared, and never a reason to lose an answer."""

import asyncio
import json
import pickle
import signal
import traceback

import pytest
from test_jobs import BOTH, CALL, through_json, worker

import claude_lite.jobs
from claude_lite.errors import UsageError
from claude_lite.jobs import Job, RedisResults
from claude_lite.testing import message

PASSWORD = "canary-Zx82-password"


@pytest.fixture
def store(redis_server):
    """A store in an empty Redis."""
    made = RedisResults(redis_server.url)
    made._open().flushall()
    yield made
    made.close()


def run_async(store, *steps):
    """Run steps on a loop of their own, and close the connections of this loop."""

    async def main():
        found = [await step() for step in steps]
        await store.close_async()
        return found

    return asyncio.run(main())


def test_results_are_shared(store, redis_server):
    """What one worker puts, sync or async, another gets; a result lives for its ttl."""
    store.put("a", {"x": 1})
    assert run_async(store, lambda: store.get_async("a")) == [{"x": 1}]
    run_async(store, lambda: store.put_async("b", {"x": 2}))
    assert RedisResults(redis_server.url).get("b") == {"x": 2}
    assert store.get("c") is None
    week = 7 * 24 * 3600 * 1000
    assert week - 60_000 < store._open().pttl("claude_lite:result:a") <= week
    brief = RedisResults(redis_server.url, ttl=1e-3)
    brief.put("d", {"x": 1})
    while brief.get("d") is not None:
        pass
    brief.close()


@BOTH
def test_a_second_delivery_is_free(sync, store, redis_server):
    """A second delivery gets the result of the first one and makes no call."""
    run, payload = worker(message("Hi"), sync=sync), through_json(Job.of(CALL).to_dict())
    first = run(payload, Store(store, sync=sync))
    assert run(payload, Store(store, sync=sync)) == first
    kept = json.loads(store._open().get(f"claude_lite:result:{CALL.fingerprint()}"))
    assert kept == first


class Store:
    """A store of which only the functions of one client can be called, which then closes."""

    def __init__(self, store, *, sync):
        self._store = store
        self._sync = sync

    def get(self, key):
        """Get a result."""
        assert self._sync
        return self._store.get(key)

    def put(self, key, result):
        """Put a result."""
        assert self._sync
        self._store.put(key, result)

    async def get_async(self, key):
        """Get a result."""
        return await self._store.get_async(key)

    async def put_async(self, key, result):
        """Put a result."""
        await self._store.put_async(key, result)
        await self._store.close_async()


@pytest.mark.slow
@pytest.mark.parametrize("how", ["killed", "stopped", "empty"])
@BOTH
def test_redis_away(how, sync, redis_server, store):
    """A Redis that is away, hangs, or lost its data costs at most a second call."""
    run, payload = worker(message("Hi"), message("Hi"), sync=sync), Job.of(CALL).to_dict()
    run(payload, Store(store, sync=sync))
    if how == "stopped":
        redis_server.signal(signal.SIGSTOP)
    else:
        redis_server.kill()
    try:
        if how == "empty":
            redis_server.start()
            again = run(payload, Store(store, sync=sync))
        else:
            with pytest.warns(
                RuntimeWarning, match=r"store of results failed.*Redis at redis://127"
            ):
                again = run(payload, Store(store, sync=sync))
    finally:
        redis_server.signal(signal.SIGCONT)
        if how == "killed":
            redis_server.start()
    assert again["result"]["content"][0]["text"] == "Hi"


@pytest.mark.parametrize(
    "url",
    [
        f"http://:{PASSWORD}@host",
        f"redis://:{PASSWORD}/x@host:1",
        f"redis://:{PASSWORD}:x@host:{PASSWORD}",
        f"redis://host/{PASSWORD}",
        f"redis://host?socket_timeout={PASSWORD}",
        f"redis://:0/{PASSWORD}",
        f"redis://u:{PASSWORD}\nx@host",
        f"redis://u:12?{PASSWORD}@host",
        f"redis://u:12#{PASSWORD}@host",
        PASSWORD,
    ],
)
def test_urls_that_are_none(url):
    """A URL that is none is refused, and neither error nor frames show it."""
    with pytest.raises(UsageError, match="redis://") as error:
        RedisResults(url)
    shown = traceback.TracebackException.from_exception(error.value, capture_locals=True)
    # The first frame is ours.
    assert PASSWORD not in "".join(shown.format()).partition("claude_lite/jobs/redis.py")[2]
    assert PASSWORD not in str(error.value)


@BOTH
def test_a_password_is_never_shown(sync):
    """Neither repr, pickle, errors, warnings nor frames show the password of a URL."""
    store = RedisResults(f"redis://:{PASSWORD}@127.0.0.1:1/0?x=1")
    assert repr(store) == "RedisResults('redis://127.0.0.1:1/0')"
    with pytest.raises(TypeError, match="no pickle"):
        pickle.dumps(store)

    with pytest.raises(TypeError, match="no pickle"):
        pickle.dumps(RedisResults(f"redis://127.0.0.1:1/0?password={PASSWORD}"))

    def ask():
        return store.get("a") if sync else run_async(store, lambda: store.get_async("a"))

    with pytest.raises(ConnectionError) as error:
        ask()
    assert error.value.__context__ is None
    shown = traceback.TracebackException.from_exception(error.value, capture_locals=True)
    text = "".join(shown.format())
    assert PASSWORD not in text
    with pytest.warns(RuntimeWarning, match="store of results failed") as seen:
        worker(message("Hi"), sync=sync)(Job.of(CALL).to_dict(), store)
    assert not [w for w in seen if PASSWORD in str(w.message)]


def test_a_store_without_a_password_has_a_pickle(redis_server):
    """A store goes into another process."""
    data = pickle.dumps(RedisResults(redis_server.url, ttl=5, prefix="p:"))
    there = pickle.loads(data)  # noqa: S301  # our own
    there.put("a", {})
    assert 0 < there._open().pttl("p:a") <= 5000
    there.close()


def test_the_package_is_imported_late():
    """Jobs need no Redis; a name that is none is an AttributeError."""
    with pytest.raises(AttributeError, match="Nothing"):
        claude_lite.jobs.Nothing  # noqa: B018  # it raises
