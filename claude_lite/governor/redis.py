"""One rate limit for many processes: calls wait here, and a Redis that all share books their turns.

    client = AsyncClient(governor="redis://10.0.0.5:6379/0")      # or Client(...)

One thread per governor talks to Redis. It books for all calls that wait in the process, in
batches, and tells in the same step what came of earlier calls. So it works for threads and for
event loops, and no call opens a connection. `shared` has the rules; `governor.lua` runs them in
Redis.

Redis is no condition of anything. While it is away, the process keeps to its part of the limits
that it knows, and a second thread tries twice per second whether Redis is there. To tell what came
of a call never waits for Redis, and never fails.
"""

import contextlib
import os
import threading
import time
from collections.abc import Callable
from functools import lru_cache
from importlib.resources import files
from typing import Any, Final
from urllib.parse import urlsplit

from claude_lite.errors import ConnectionFailed, UsageError
from claude_lite.given.addresses import is_ambiguous
from claude_lite.governor.packing import pack_step, unpack_reply
from claude_lite.governor.redis_pool import NEVER, RedisPool
from claude_lite.governor.shared import Reply, Step
from claude_lite.wire import MaskedStr

__all__ = ["RedisDesk"]

SCHEMES: Final = ("redis", "rediss", "unix")
TIME_LIMIT: Final = 0.5  # seconds for a call of Redis: all who wait in the process wait for it
KNOCK: Final = 0.5  # seconds between two tries while Redis is away
RECOVERY: Final = 1.0  # seconds until the next try after an error that nobody expected
SCRIPT: Final = "governor.lua"


class RedisDesk:
    """The thread that talks to Redis, for all pools of a governor.

    Args:
        url: The URL of the Redis.

    Raises:
        UsageError: The URL is none of a Redis, or the package `redis` is not installed.

    """

    def __init__(self, url: str) -> None:
        self.url = MaskedStr(url)  # it may have a password
        self.address = _address(self.url)
        self._begin()

    def _begin(self) -> None:
        """Begin without pools. In a forked child nobody ever unlocks what was locked before."""
        self._process = os.getpid()
        self._condition = threading.Condition()
        self._client = _client(self.url)
        self._pools: set[RedisPool] = set()
        self._has_thread = self._is_away = False

    def wake(self, pool: RedisPool, moment: float) -> None:
        """Let the thread work for *pool* at *moment*."""
        if pool.due <= moment:
            return
        with self._condition:
            if not self._has_thread:  # first: if no thread starts, the next call tries again
                self._start(self._run, "claude-lite governor")
                self._has_thread = True
            pool.due = min(pool.due, moment)
            if pool not in self._pools:
                self._pools.add(pool)
                if self._is_away:
                    pool.lose(time.monotonic())
            self._condition.notify()

    def forget(self) -> None:
        """Forget the pools for which there is nothing to do. Without pools the thread ends."""
        if self._process != os.getpid():
            self._begin()
        with self._condition:
            self._pools = {pool for pool in self._pools if pool.waiting}
            self._condition.notify()

    def ask(self, pool: RedisPool, step: Step) -> Reply | None:
        """Make a step in Redis; give None if Redis is away."""
        try:
            return self._make_step(self._client, pool, step)
        except Exception as error:  # noqa: BLE001  # whatever it is: no call is lost for it
            self._lose(error)
            return None

    @staticmethod
    def _make_step(client: Any, pool: RedisPool, step: Step) -> Reply:
        script = client.register_script(_script())
        return unpack_reply(script(keys=pool.keys, args=[pack_step(step)]), step.wants)

    @staticmethod
    def _start(target: Callable[[], None], name: str) -> threading.Thread:
        thread = threading.Thread(target=target, name=name, daemon=True)
        try:
            thread.start()
        except RuntimeError as error:  # the system has no thread left, or the interpreter ends
            raise ConnectionFailed(
                f"the governor has no thread to talk to Redis: {error}"
            ) from None
        return thread

    def _run(self) -> None:
        while True:
            with self._condition:
                if not self._pools:
                    self._has_thread = False
                    return
                now = time.monotonic()
                due = [pool for pool in self._pools if pool.due <= now]
                if not due:
                    first = min(pool.due for pool in self._pools)
                    self._condition.wait(None if first == NEVER else first - now)
                    continue
                for pool in due:
                    pool.due = NEVER
            for pool in due:
                try:
                    pool.work()
                except Exception as error:  # noqa: BLE001  # without it all calls would wait
                    _log(self.address, error)
                    self.wake(pool, time.monotonic() + RECOVERY)

    def _lose(self, error: Exception) -> None:
        with self._condition:
            is_first, self._is_away = not self._is_away, True
            pools = [*self._pools]
        now = time.monotonic()
        for pool in pools:
            pool.lose(now)
            self.wake(pool, now)
        if is_first:
            _log(self.address, error)
            self._start(self._knock, "claude-lite governor, while Redis is away")

    def _knock(self) -> None:
        """Try until Redis is there for all pools; tell it what each of them knows."""
        client = _client(self.url)
        while True:
            time.sleep(KNOCK)
            with self._condition:
                away = [pool for pool in self._pools if pool.member.is_away]
                if not away:
                    self._is_away = False
                    break
            for pool in away:
                step = pool.knock()
                try:
                    reply = self._make_step(client, pool, step)
                except Exception:  # noqa: BLE001  # it is away still
                    break
                pool.come_back(reply)
                self.wake(pool, 0.0)
        with contextlib.suppress(Exception):
            client.close()


@lru_cache(1)
def _script() -> str:
    return files("claude_lite.governor").joinpath(SCRIPT).read_text(encoding="utf-8")


def _address(url: str) -> str:
    """Return the address of a Redis, without a password.

    Raises:
        UsageError: The URL is none of a Redis.

    """
    address = _read_address(url)
    if address is None:
        raise UsageError(
            "the URL of the governor's Redis has to be redis://host[:port][/database], "
            "rediss://host[:port][/database] or unix:///path"
        )
    return address


def _read_address(url: str) -> str | None:
    try:
        parts = urlsplit(str(url))
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return None
    if is_ambiguous(url):
        return None
    if parts.scheme not in SCHEMES or not (parts.path if parts.scheme == "unix" else host):
        return None
    place = parts.path if parts.scheme == "unix" else host + (f":{port}" if port else "")
    return f"{parts.scheme}://{place}"


def _client(url: str) -> Any:
    try:
        import redis  # slow to import, and an extra
        from redis.backoff import NoBackoff
        from redis.retry import Retry
    except ImportError:
        raise UsageError(
            "a governor with a Redis needs the package redis: pip install claude-lite[redis]"
        ) from None
    with contextlib.suppress(ValueError):
        return redis.Redis.from_url(
            str(url),
            socket_timeout=TIME_LIMIT,
            socket_connect_timeout=TIME_LIMIT,
            retry=Retry(NoBackoff(), 0),
        )
    raise UsageError(f"the package redis does not understand what follows {_address(url)}")


def _log(address: str, error: Exception) -> None:
    import logging  # loaded with redis

    logging.getLogger("claude_lite.governor").warning(
        "the Redis at %s is away (%s); each process keeps to its part of the limit",
        address,
        type(error).__name__,
    )
