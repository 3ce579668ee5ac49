"""Tokens from a provider function, created when needed: one token for all callers who wait.

A token is kept until the API refuses it (401). Then one caller asks the provider for the next
token, and the others use the same. Expiry is the provider's business: it may keep a token itself.
"""

import inspect
import threading
from collections.abc import Callable
from typing import Any

from claude_lite.errors import TimedOut, UsageError
from claude_lite.wire import MaskedStr


class Tokens:
    """The tokens of one provider, for blocking callers on any number of threads."""

    def __init__(self, provider: Callable[[], Any]) -> None:
        self._provider = provider
        self._token: MaskedStr | None = None
        self._lock = threading.Lock()

    def get(self, stale: str | None) -> MaskedStr:
        """Return a token that is not *stale*."""
        with self._lock:
            if self._token is None or self._token == stale:
                self._token = _checked(self._provider())
            return self._token


class AsyncTokens:
    """The tokens of one provider, for asyncio tasks. The provider may be a coroutine function.

    Tasks of one event loop wait for each other; event loops on other threads get their own token.
    """

    def __init__(self, provider: Callable[[], Any]) -> None:
        self._provider = provider
        self._token: MaskedStr | None = None
        self._locks: dict[Any, Any] = {}

    async def get(self, stale: str | None, within: float | None = None) -> str:
        """Return a token that is not *stale*.

        If the caller that waits for the provider runs out of time, the next in line asks it.

        Args:
            stale: The token that the API refused, if there is one.
            within: How long to wait, in seconds; None to wait for ever.

        Raises:
            TimedOut: No token came in time.
            UsageError: The provider returned something else than a token.

        """
        import asyncio  # whoever gets here runs on it

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
                    self._token = _checked(await _awaited(self._provider()))
                return self._token
        except TimeoutError:
            if not scope.expired():  # the provider's own
                raise
        raise TimedOut("total", "the token provider gave no token before the deadline")


def _checked(token: object) -> MaskedStr:
    if isinstance(token, str) and token:
        return MaskedStr(token)
    kind = type(token).__name__
    if inspect.iscoroutine(token):
        token.close()
        kind = "a coroutine, which only an AsyncClient can await"
    del token  # from tracebacks that show variables: there may be a token in it
    raise UsageError(f"the token provider has to return a text that is not empty, not {kind}")


async def _awaited(given: Any) -> object:
    return await given if inspect.isawaitable(given) else given
