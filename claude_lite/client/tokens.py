"""Tokens from a provider function. A client, and those derived from it, share one token.

A token is kept until the API refuses the token (401). Then one call asks the provider for a new
token; the other calls wait, and use the new token, too. This module does not know when a token
expires. A provider may keep tokens itself.
"""

import inspect
import threading
from collections.abc import Callable
from typing import Any

from claude_lite.errors import TimedOut, UsageError
from claude_lite.wire import MaskedStr


class Tokens:
    """The tokens of one provider, for the sync client on any number of threads."""

    def __init__(self, provider: Callable[[], Any]) -> None:
        self._provider = provider
        self._token: MaskedStr | None = None
        self._lock = threading.Lock()

    def get(self, stale: str | None) -> MaskedStr:
        """Return the current token, or a new token if the API refused the current one (*stale*)."""
        with self._lock:
            if self._token is None or self._token == stale:
                self._token = _checked(self._provider())
            return self._token


class AsyncTokens:
    """The tokens of one provider, for asyncio tasks. The provider may be a coroutine function.

    The tasks of one event loop wait for each other. Two event loops do not wait for each other, so
    both may ask the provider at the same time.
    """

    def __init__(self, provider: Callable[[], Any]) -> None:
        self._provider = provider
        self._token: MaskedStr | None = None
        self._locks: dict[Any, Any] = {}

    async def get(self, stale: str | None, within: float | None = None) -> str:
        """Return the current token, or a new token if the API refused the current one.

        If the task that asks the provider times out, the next waiting task asks the provider.

        Args:
            stale: The token that the API refused, if any.
            within: How long to wait for a token, in seconds; None means no limit.

        Raises:
            TimedOut: The provider returned no token in time.
            UsageError: The provider did not return a token.

        """
        import asyncio  # only async clients need this slow import

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
            if not scope.expired():  # the provider raised this error
                raise
        raise TimedOut("total", "the token provider returned no token before the deadline")


def _checked(token: object) -> MaskedStr:
    if isinstance(token, str) and token:
        return MaskedStr(token)
    kind = type(token).__name__
    if inspect.iscoroutine(token):
        token.close()
        kind = "a coroutine (only an AsyncClient can await it)"
    del token  # tracebacks may show variables, and this object may hold a token
    raise UsageError(f"the token provider has to return a non-empty str, but returned {kind}")


async def _awaited(given: Any) -> object:
    return await given if inspect.isawaitable(given) else given
