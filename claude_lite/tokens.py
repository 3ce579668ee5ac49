"""Tokens from a provider function: minted when needed, once for all who wait for one.

A token is kept until the API refuses it (401); then one caller mints the next, and the others
take that one. Expiry is the provider's business: it may return a token that it keeps itself.
"""

import inspect
import threading
import weakref
from collections.abc import Callable
from typing import Any

from claude_lite.errors import UsageError


class Tokens:
    """The tokens of one provider, for synchronous callers on any number of threads."""

    def __init__(self, provider: Callable[[], Any]) -> None:
        self._provider = provider
        self._token: str | None = None
        self._lock = threading.Lock()

    def get(self, stale: str | None) -> str:
        """A token that is not *stale*."""
        with self._lock:
            if self._token is None or self._token == stale:
                self._token = _checked(self._provider())
            return self._token


class AsyncTokens:
    """The tokens of one provider, a coroutine function or a plain one, for asyncio tasks."""

    def __init__(self, provider: Callable[[], Any]) -> None:
        self._provider = provider
        self._token: str | None = None
        self._locks: weakref.WeakKeyDictionary[Any, Any] = weakref.WeakKeyDictionary()

    async def get(self, stale: str | None) -> str:
        """A token that is not *stale*."""
        import asyncio  # noqa: PLC0415  # only callers with a provider need it

        loop = asyncio.get_running_loop()
        lock = self._locks.setdefault(loop, asyncio.Lock())
        async with lock:
            if self._token is None or self._token == stale:
                minted = self._provider()
                self._token = _checked(await minted if inspect.isawaitable(minted) else minted)
            return self._token


def _checked(token: object) -> str:
    if not isinstance(token, str) or not token:
        raise UsageError(f"the token provider returned {type(token).__name__}, not a token")
    return token
