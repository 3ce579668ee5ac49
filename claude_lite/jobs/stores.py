"""A store of results: a second delivery of a job gets the result of the first one.

`SQLiteResults` keeps results in a file, for the workers of one machine. It keeps nothing but
results, and forgets each after its `ttl`. `handle_async` calls a store on a thread. Any object with
the functions `get` and `put` is a store.
"""

import json
import math
import sqlite3
import time
from collections.abc import Mapping
from contextlib import closing
from os import PathLike, fspath
from typing import Any, Final

from claude_lite.errors import UsageError

__all__ = ["SQLiteResults"]

JSON = Mapping[str, Any]

WEEK: Final = 7 * 24 * 3600.0
BUSY: Final = 10.0  # seconds to wait for another process that writes

_TABLE: Final = """
CREATE TABLE IF NOT EXISTS results (
    key TEXT PRIMARY KEY, expires REAL NOT NULL, result TEXT NOT NULL
) WITHOUT ROWID
"""
_PUT: Final = "INSERT OR REPLACE INTO results VALUES (?, ?, ?)"
_GET: Final = "SELECT result FROM results WHERE key = ? AND expires > ?"
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

    def get(self, key: str, /) -> JSON | None:
        """Return the result of a job; None if there is none."""
        with closing(self._open()) as database:
            row = database.execute(_GET, (key, time.time())).fetchone()
        return None if row is None else json.loads(row[0])

    def put(self, key: str, result: JSON, /) -> None:
        """Keep the result of a job."""
        with closing(self._open()) as database, database:
            database.execute(_PUT, (key, time.time() + self._ttl, json.dumps(result)))


def _checked_ttl(ttl: float) -> float:
    if not 0 < ttl < math.inf:
        raise UsageError(f"ttl is {ttl!r}: it has to be a positive number of seconds")
    return ttl
