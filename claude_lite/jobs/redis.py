"""Results of jobs in Redis, for the workers of many machines (the extra `redis`).

`RedisResults` keeps nothing but results, each for its `ttl`. A Redis that is away costs no answer:
`handle` goes on without the store, after at most `TIMEOUT` per function.
"""

import asyncio
import json
import math
import os
import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.connection import parse_url
from redis.retry import Retry

from claude_lite.errors import UsageError
from claude_lite.given.addresses import has_password, is_ambiguous
from claude_lite.wire import MaskedStr

__all__ = ["RedisResults"]

JSON = Mapping[str, Any]

WEEK: Final = 7 * 24 * 3600.0
TIMEOUT: Final = 2.0  # seconds; a result is small, and a call must not wait for a store
CONNECTIONS: Final = 20  # per process, or per event loop; calls wait for one
FAILURES: Final = (redis.RedisError, OSError, TypeError, ValueError)

_OPTIONS: Final[Mapping[str, Any]] = {
    "max_connections": CONNECTIONS,
    "timeout": TIMEOUT,  # of the wait for a connection
    "socket_timeout": TIMEOUT,
    "socket_connect_timeout": TIMEOUT,
}


class RedisResults:
    """Results in Redis. Threads, processes, event loops and machines may share them.

    `handle` calls `get` and `put`; `handle_async` calls `get_async` and `put_async`. The URL has no
    pickle if it has a password.

    Args:
        url: The URL of Redis, `redis://[user:password@]host[:port][/database]`, or `rediss://` for
            TLS. Special characters of a password are percent-encoded.
        ttl: The seconds for which a result is kept.
        prefix: The beginning of all keys.

    Raises:
        UsageError: *url* is no URL of Redis, or *ttl* is not positive.

    """

    _shown = "not initialised"  # if `__init__` fails, and a traceback shows this object

    def __init__(self, url: str, *, ttl: float = WEEK, prefix: str = "claude_lite:result:") -> None:
        url = MaskedStr(url)
        self._shown = _checked(url)
        self._url = url
        if not 0 < ttl < math.inf:
            raise UsageError(f"ttl is {ttl!r}: it has to be a positive number of seconds")
        self._milliseconds = max(1, round(ttl * 1000))
        self._prefix = prefix
        self._forget()
        os.register_at_fork(after_in_child=self._forget)

    def _forget(self) -> None:
        self._client: redis.Redis | None = None
        self._clients: WeakKeyDictionary[asyncio.AbstractEventLoop, redis.asyncio.Redis]
        self._clients = WeakKeyDictionary()

    def get(self, key: str, /) -> JSON | None:
        """Return the result of a job; None if there is none.

        Raises:
            ConnectionError: Redis is away.

        """
        found, failure = None, None
        try:
            found = self._open().get(self._prefix + key)
        except FAILURES as error:
            failure = self._failure(error)
        return self._read(found, failure)

    def put(self, key: str, result: JSON, /) -> None:
        """Keep the result of a job.

        Raises:
            ConnectionError: Redis is away.

        """
        failure = None
        try:
            self._open().set(self._prefix + key, json.dumps(result), px=self._milliseconds)
        except FAILURES as error:
            failure = self._failure(error)
        self._read(None, failure)

    async def get_async(self, key: str, /) -> JSON | None:
        """Return the result of a job; None if there is none.

        Raises:
            ConnectionError: Redis is away.

        """
        found, failure = None, None
        try:
            found = await self._open_async().get(self._prefix + key)
        except FAILURES as error:
            failure = self._failure(error)
        return self._read(found, failure)

    async def put_async(self, key: str, result: JSON, /) -> None:
        """Keep the result of a job.

        Raises:
            ConnectionError: Redis is away.

        """
        failure, text = None, json.dumps(result)
        try:
            await self._open_async().set(self._prefix + key, text, px=self._milliseconds)
        except FAILURES as error:
            failure = self._failure(error)
        self._read(None, failure)

    # The frames of the Redis client hold the password, so its errors are not the context of ours.

    def _failure(self, error: Exception) -> ConnectionError:
        return ConnectionError(f"Redis at {self._shown}: {type(error).__name__}: {error}")

    @staticmethod
    def _read(found: Any, failure: ConnectionError | None) -> JSON | None:
        if failure is not None:
            raise failure
        return None if found is None else json.loads(found)

    def _open(self) -> redis.Redis:
        if self._client is None:
            # A connection may be stale after a restart of Redis: one more attempt, at once.
            retry = Retry(NoBackoff(), 1, supported_errors=(redis.ConnectionError,))
            pool = redis.BlockingConnectionPool.from_url(str(self._url), retry=retry, **_OPTIONS)
            self._client = redis.Redis.from_pool(pool)
        return self._client

    def _open_async(self) -> redis.asyncio.Redis:
        loop = asyncio.get_running_loop()
        client = self._clients.get(loop)
        if client is None:
            retry = AsyncRetry(NoBackoff(), 1, supported_errors=(redis.ConnectionError,))
            pool = redis.asyncio.BlockingConnectionPool.from_url(
                str(self._url), retry=retry, **_OPTIONS
            )
            client = self._clients[loop] = redis.asyncio.Redis.from_pool(pool)
        return client

    def close(self) -> None:
        """Close the connections of sync calls. A later call opens new connections."""
        client, self._client = self._client, None
        if client is not None:
            client.close()

    async def close_async(self) -> None:
        """Close the connections of this event loop. A later call opens new connections."""
        client = self._clients.pop(asyncio.get_running_loop(), None)
        if client is not None:
            await client.aclose()

    def __repr__(self) -> str:
        return f"RedisResults({self._shown!r})"

    def __reduce__(self) -> Any:
        if has_password(self._url):
            raise TypeError("RedisResults with a password has no pickle: make it in the worker")
        return _made, (str(self._shown), self._milliseconds / 1000, self._prefix)


def _made(url: str, ttl: float, prefix: str) -> RedisResults:
    return RedisResults(url, ttl=ttl, prefix=prefix)


def _checked(url: MaskedStr) -> str:
    """Return *url* without its password. Raises `UsageError`, which does not show the URL."""
    problem = _problem(url)
    if problem is not None:
        raise UsageError(
            f"the URL of Redis {problem}: write redis://[user:password@]host[:port][/database],"
            " with the special characters of the password percent-encoded"
        )
    return re.sub("//.*@", "//", str(url).partition("?")[0])


def _problem(url: MaskedStr) -> str | None:
    if is_ambiguous(url):
        return "has a line break or the like, or a password with ? or #"
    try:
        parts = urlsplit(str(url))
        port = parts.port
        if parts.scheme in {"redis", "rediss", "unix"}:
            parse_url(str(url))  # type: ignore[no-untyped-call]  # the package has no types here
    except ValueError:
        return "has a port that is no number, or an option that Redis has not"
    if parts.scheme not in {"redis", "rediss", "unix"}:
        return "has to begin with redis://, rediss:// or unix://"
    if parts.scheme != "unix" and not parts.hostname:
        return "has no host"
    if parts.scheme != "unix" and not re.fullmatch(r"/?\d*", parts.path):
        return "has a path that is no number of a database"
    return "has port 0" if port == 0 else None
