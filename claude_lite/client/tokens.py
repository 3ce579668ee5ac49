"""Tokens from a provider function: minted when needed, once for all who wait for one.

A token is kept until the API refuses it (401); then one caller mints the next, and the others
take that one. Expiry is the provider's business: it may return a token that it keeps itself.
"""

import inspect
import threading
from collections.abc import Callable
from typing import Any

from claude_lite.errors import TimedOut, UsageError
from claude_lite.wire import MaskedStr


class Tokens:
    """The tokens of one provider, for synchronous callers on any number of threads."""

    def __init__(self, provider: Callable[[], Any]) -> None:
        self._provider = provider
        self._token: MaskedStr | None = None
        self._lock = threading.Lock()

    def get(self, stale: str | None) -> MaskedStr:
        """A token that is not *stale*."""
        with self._lock:
            if self._token is None or self._token == stale:
                self._token = _checked(self._provider())
            return self._token


class AsyncTokens:
    """The tokens of one provider, a coroutine function or a plain one, for asyncio tasks.

    Tasks of one event loop wait for each other; loops on other threads mint for themselves.
    """

    def __init__(self, provider: Callable[[], Any]) -> None:
        self._provider = provider
        self._token: MaskedStr | None = None
        self._locks: dict[Any, Any] = {}

    async def get(self, stale: str | None, within: float | None = None) -> str:
        """A token that is not *stale*; raises `TimedOut` if none comes *within* so many seconds.

        Whoever runs out of time while minting stops doing so, and the next in line mints.
        """
        import asyncio  # only callers with a provider need it

        loop = asyncio.get_running_loop()
        lock = self._locks.get(loop)
        if lock is None:
            for other in [other for other in list(self._locks) if other.is_closed()]:
                self._locks.pop(other, None)
            lock = self._locks[loop] = asyncio.Lock()
        scope = asyncio.timeout(within)
        try:
            async with scope, lock:
                if self._token is None or self._token == stale:
                    self._token = _checked(await _settled(self._provider()))
                return self._token
        except TimeoutError:
            if not scope.expired():  # the provider's own
                raise
        raise TimedOut("total", "no token came before the deadline")


def _checked(token: object) -> MaskedStr:
    if isinstance(token, str) and token:
        return MaskedStr(token)
    kind = type(token).__name__
    if inspect.iscoroutine(token):
        token.close()
        kind = "a coroutine, for which it takes an AsyncClient"
    del token  # from tracebacks that show variables: there may be a token in it
    raise UsageError(f"what the token provider returned is no token: {kind}")


async def _settled(minted: Any) -> object:
    return await minted if inspect.isawaitable(minted) else minted
