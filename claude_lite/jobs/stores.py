"""Stores of results: a second delivery of a job gets the result of the first one.

`SQLiteResults` keeps results in a file, for the workers of one machine. `RedisResults` keeps them
in Redis (the extra `redis`), for the workers of many machines. A store keeps nothing but results,
and forgets each after its `ttl`. `handle_async` calls a store on a thread.
"""

import json
import math
import sqlite3
import time
from collections.abc import Mapping
from contextlib import closing
from os import PathLike, fspath
from typing import TYPE_CHECKING, Any, Final

from claude_lite.errors import UsageError

if TYPE_CHECKING:
    import redis

__all__ = ["RedisResults", "SQLiteResults"]

JSON = Mapping[str, Any]

WEEK: Final = 7 * 24 * 3600.0
PREFIX: Final = "claude_lite:result:"
BUSY: Final = 10.0  # seconds to wait for another process that writes
PATIENCE: Final = 5.0  # seconds to wait for Redis, which answers within a millisecond

_TABLE: Final = """
CREATE TABLE IF NOT EXISTS results (
    fingerprint TEXT PRIMARY KEY, expires REAL NOT NULL, result TEXT NOT NULL
) WITHOUT ROWID
"""
_PUT: Final = "INSERT OR REPLACE INTO results VALUES (?, ?, ?)"
_GET: Final = "SELECT result FROM results WHERE fingerprint = ? AND expires > ?"
_FORGET: Final = "DELETE FROM results WHERE expires <= ?"


class SQLiteResults:
    """Results in a SQLite file. Threads and processes of one machine may share the file.

    Args:
        path: The file; it is made if it does not exist.
        ttl: The seconds for which a result is kept.

    Raises:
        UsageError: *ttl* is not positive, or the file cannot be opened.

    """

    def __init__(self, path: str | PathLike[str], *, ttl: float = WEEK) -> None:
        self._path = fspath(path)
        self._ttl = _checked_ttl(ttl)
        try:
            with closing(self._open()) as database, database:
                # Readers and a writer do not wait for each other.
                database.execute("PRAGMA journal_mode = WAL")
                database.execute(_TABLE)
                database.execute(_FORGET, (time.time(),))
        except sqlite3.Error as error:
            raise UsageError(f"{self._path} cannot be opened as a SQLite file: {error}") from None

    # A connection per call: it belongs to one thread, and must not be carried over a fork.
    def _open(self) -> sqlite3.Connection:
        return sqlite3.connect(self._path, timeout=BUSY)

    def get(self, fingerprint: str, /) -> JSON | None:
        """Return the result of a job; None if there is none."""
        with closing(self._open()) as database:
            row = database.execute(_GET, (fingerprint, time.time())).fetchone()
        return None if row is None else json.loads(row[0])

    def put(self, fingerprint: str, result: JSON, /) -> None:
        """Keep the result of a job."""
        with closing(self._open()) as database, database:
            database.execute(_PUT, (fingerprint, time.time() + self._ttl, json.dumps(result)))


class RedisResults:
    """Results in Redis. Threads share the store; a forked process may go on to use it.

    Args:
        url: The URL, such as `redis://localhost:6379/0`.
        ttl: The seconds for which a result is kept.
        prefix: The beginning of the keys.

    Raises:
        UsageError: *ttl* is not positive, *url* is no URL of Redis, or the extra is missing.

    """

    def __init__(self, url: str, *, ttl: float = WEEK, prefix: str = PREFIX) -> None:
        self._ttl = _checked_ttl(ttl)
        self._prefix = prefix
        self._client: redis.Redis = _connect(url)

    def get(self, fingerprint: str, /) -> JSON | None:
        """Return the result of a job; None if there is none."""
        found: Any = self._client.get(self._prefix + fingerprint)
        return None if found is None else json.loads(found)

    def put(self, fingerprint: str, result: JSON, /) -> None:
        """Keep the result of a job."""
        self._client.set(self._prefix + fingerprint, json.dumps(result), px=int(self._ttl * 1000))


def _connect(url: str) -> "redis.Redis":
    try:
        import redis
    except ImportError:
        raise UsageError(
            "a store in Redis needs the extra `redis`: pip install 'claude-lite[redis]'"
        ) from None
    try:
        return redis.Redis.from_url(url, socket_timeout=PATIENCE, socket_connect_timeout=PATIENCE)
    except ValueError:  # its text may repeat the URL, which may hold a password
        raise UsageError(
            "url is no URL of Redis: give redis://host:port/db, rediss://... or unix://path"
        ) from None


def _checked_ttl(ttl: float) -> float:
    if not 0 < ttl < math.inf:
        raise UsageError(f"ttl is {ttl!r}: it has to be a positive number of seconds")
    return ttl
