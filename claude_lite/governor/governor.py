"""Governors: what clients share so that all their calls together stay within the rate limit."""

import os
import threading
import weakref
from collections.abc import Awaitable, Callable, Hashable
from typing import TYPE_CHECKING, Any, Final, Protocol

from claude_lite.core.turns import Admit, Turn
from claude_lite.errors import UsageError
from claude_lite.given.addresses import has_password
from claude_lite.governor.local import LocalPool
from claude_lite.governor.pools import Key, key_of
from claude_lite.wire import Clock, MaskedStr

if TYPE_CHECKING:
    from claude_lite.governor.redis import RedisDesk

__all__ = ["Governor", "forget", "governor_for"]


class Pool(Protocol):
    """The calls that share a limit; `LocalPool` is one."""

    def enter(self, admit: Admit, sleep: Callable[[float], None], /) -> Turn | float:
        """Wait for a turn; see `claude_lite.core.turns.Gate`."""
        ...

    def enter_async(
        self, admit: Admit, sleep: Callable[[float], Awaitable[None]], /
    ) -> Awaitable[Turn | float]:
        """Wait for a turn; see `claude_lite.core.turns.Gate`."""
        ...

    def snapshot(self) -> dict[str, Any]:
        """Return the state as JSON."""
        ...

    def renew_lock(self) -> None:
        """Take a new lock, in a forked child."""
        ...


class Governor:
    """Holds calls until the rate limit has room for them, for all clients of this process.

    Clients that were given the same governor share it. It has a state for each limit: for each
    origin, credential and family of models.

    Args:
        redis: The URL of a Redis, with which all processes that use it share their limits:
            `redis://[[user]:password@]host[:port][/database]`, `rediss://` with TLS, or `unix://`
            with the path of a socket. None: the limits are those of this process.

    Raises:
        UsageError: The URL is none of a Redis, or the package `redis` is not installed.

    """

    _desk: "RedisDesk | None" = None  # while `__init__` fails, and a traceback shows this object

    def __init__(self, redis: str | None = None) -> None:
        if redis is not None:
            self._desk = _desk_for(redis := MaskedStr(redis))  # it may have a password
        self._pools: dict[tuple[Key, Clock], Pool] = {}
        self._found: dict[Hashable, Pool] = {}  # by what requests have, for speed
        _governors.add(self)

    def enter(self, admit: Admit, sleep: Callable[[float], None], /) -> Turn | float:
        """Wait for a turn on this thread; see `claude_lite.core.turns.Gate`."""
        return self._pool(admit).enter(admit, sleep)

    def enter_async(
        self, admit: Admit, sleep: Callable[[float], Awaitable[None]], /
    ) -> Awaitable[Turn | float]:
        """Wait for a turn on the running loop; see `claude_lite.core.turns.Gate`."""
        return self._pool(admit).enter_async(admit, sleep)

    def snapshot(self) -> list[dict[str, Any]]:
        """Return what is known, for a dashboard: a JSON object per limit.

        Each has `origin`, `family`, `limits` (per minute, as far as known), `shares` (the part of
        each limit that others leave to this process), `waiting` (calls that wait now) and `held_s`
        (the seconds that calls have waited in all). With a Redis, `processes` (which share the
        limit) and `redis` ("there" or "away"), too.
        """
        return [
            {"origin": key.origin, "family": key.family, **pool.snapshot()}
            for (key, _), pool in [*self._pools.items()]
        ]

    def _pool(self, admit: Admit) -> Pool:
        operation, headers = admit.operation, admit.request.headers
        credential = headers.get("x-api-key") or headers.get("authorization")
        model = operation.model if operation.model.__class__ is str else str(operation.model)
        names = (*admit.account, credential, model, operation.route.name, admit.clock)
        found = self._found.get(names)
        return self._pool_of(admit, names) if found is None else found

    def _pool_of(self, admit: Admit, names: Hashable) -> Pool:
        """Find or make the pool of an attempt, and remember it by *names*, for speed."""
        key = key_of(admit), admit.clock
        if len(self._found) >= MOST_POOLS:  # a program may take a credential per user
            self._forget()
        pool = self._pools.get(key)
        if pool is None:
            pool = self._pools.setdefault(key, self._make_pool(*key))
        return self._found.setdefault(names, pool)

    def _make_pool(self, key: Key, clock: Clock) -> Pool:
        if self._desk is None:
            return LocalPool(key.origin, clock)
        from claude_lite.governor.redis_pool import RedisPool  # imported with the desk

        return RedisPool(self._desk, key)

    def _forget(self) -> None:
        self._found.clear()
        self._pools.clear()
        if self._desk is not None:
            self._desk.forget()

    def __repr__(self) -> str:
        return f"Governor({'' if self._desk is None else repr(self._desk.address)})"

    def __reduce__(self) -> tuple[Any, ...]:
        if self._desk is None:
            return type(self), ()
        if has_password(self._desk.url):
            raise UsageError(
                "a governor whose URL has a password is not pickled: "
                "set CLAUDE_LITE_GOVERNOR where the client is used, and pickle none"
            )
        return type(self), (str(self._desk.url),)


MOST_POOLS: Final = 1024
_governors: weakref.WeakSet[Governor] = weakref.WeakSet()
_named: dict[str, Governor] = {}
_making = threading.Lock()


def governor_for(name: str) -> Governor:
    """Return the governor of this process for *name*.

    Args:
        name: "local", or the URL of a Redis.

    Raises:
        UsageError: *name* is neither, or the package redis is not installed.

    """
    found = _named.get(name)
    if found is None:
        with _making:
            if name in _named:
                return _named[name]
            found = Governor(None if name == "local" else name)
            _named[name] = found
    return found


def _desk_for(url: str) -> "RedisDesk":
    from claude_lite.governor.redis import RedisDesk  # only some need it

    return RedisDesk(url)


def forget() -> None:
    """Forget all that the governors of this process know. Call this between tests."""
    for governor in [*_governors]:
        governor._forget()  # noqa: SLF001  # of this module


def _after_fork() -> None:
    """Forget all: a lock may stay locked for ever in a child, which may still end a stream."""
    global _making  # noqa: PLW0603
    _making = threading.Lock()
    for governor in [*_governors]:
        for pool in [*governor._pools.values()]:  # noqa: SLF001  # of this module
            pool.renew_lock()
    forget()


os.register_at_fork(after_in_child=_after_fork)
