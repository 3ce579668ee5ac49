"""Credentials from functions of the user. A client, and those derived from it, share them.

A credential is kept until the API refuses it (401). Then one call asks the function for a new one;
the other calls wait, and use the new credential, too. This module does not know when a credential
expires. A function may keep credentials itself.

A plain function runs on a thread of its own, with a copy of the caller's context variables. So it
never blocks an event loop, and each caller stops waiting at its deadline. An async function runs on
the event loop of its caller.
"""

import inspect
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, Final

from claude_lite.core.credentials import checked_credential
from claude_lite.errors import ClaudeError, CredentialMissing, TimedOut, UsageError
from claude_lite.wire import MaskedStr

if TYPE_CHECKING:
    from concurrent.futures import Future

    Run = Future[tuple[MaskedStr | None, BaseException | None]]

SPARE_THREADS: Final = 3
"""How many threads may hang in one function before the callers only wait for the last thread."""


class Tokens:
    """The credentials of one function, for the sync client on any number of threads.

    Args:
        function: A function without arguments that returns a credential.
        option: The name of the option that the function was given as.

    """

    def __init__(self, function: Callable[[], Any], option: str) -> None:
        self._function = function
        self._option = option
        self._is_async = is_async(function)
        self._lock = threading.RLock()
        self._run: Run | None = None  # the last run of the function on a thread
        self._spare = SPARE_THREADS

    def get(self, stale: str | None, within: float | None = None) -> MaskedStr:
        """Return the current credential, or a new one if the API refused the current one.

        Args:
            stale: The credential that the API refused, if any.
            within: How long to wait for a credential, in seconds; None means no limit.

        Raises:
            TimedOut: The function did not return in time.
            CredentialMissing: The function raised an exception, which is the cause of this error.
            UsageError: The function did not return a credential.

        """
        run = self._join(stale)
        with suppress(TimeoutError):
            run.result(within and max(within, 0.0))
        return self._result(run)

    def _join(self, stale: str | None) -> "Run":
        """Return the last run, or begin a run if the last one has no other result than *stale*."""
        with self._lock:
            run = self._run
            if run is None or (run.done() and run.result()[0] in (None, stale)):
                if sys.is_finalizing():  # no thread would run
                    raise CredentialMissing(
                        f"{self._option} is not asked: the interpreter is ending"
                    )
                from concurrent.futures import Future  # loaded with the first client

                run = self._run = Future()
                run.set_running_or_notify_cancel()  # so no caller can cancel it for the others
                copied = copy_context().run
                try:
                    threading.Thread(target=copied, args=(self._call, run), daemon=True).start()
                except RuntimeError:  # there are too many threads, or the interpreter ends
                    self._call(run)
            return run

    def _call(self, run: "Run") -> None:
        try:
            run.set_result((self._checked(self._function()), None))
        except BaseException as error:  # noqa: BLE001  # the callers raise it
            run.set_result((None, error))
        self._spare = SPARE_THREADS

    def _result(self, run: "Run") -> MaskedStr:
        if not run.done():
            with self._lock:
                if self._run is run and self._spare:
                    self._run, self._spare = None, self._spare - 1
            raise self._too_slow()
        token, error = run.result()
        if isinstance(error, Exception):
            raise self._failure(error) from error
        if error is not None:
            raise error
        return MaskedStr(token)

    def _failure(self, error: Exception) -> ClaudeError:
        """Return the error for an exception of the function; each caller gets its own."""
        if isinstance(error, ClaudeError):
            return type(error)(*error.args)
        kind = type(error).__name__
        return CredentialMissing(f"no credential: the function {self._option} raised {kind}")

    def _too_slow(self) -> TimedOut:
        return TimedOut("total", f"the function {self._option} did not return before the deadline")

    def _checked(self, value: object) -> MaskedStr:
        if isinstance(value, str) and value:
            value = MaskedStr(value)  # tracebacks may show variables
            return checked_credential(self._option, value)
        kind = type(value).__name__
        if inspect.isawaitable(value):
            self._is_async = True
            kind = "a coroutine (only an AsyncClient can await it)"
            getattr(value, "close", int)()  # a coroutine that is not awaited would warn
        del value  # this object may hold a credential
        wanted = "has to return a non-empty str"
        raise UsageError(f"the function {self._option} {wanted}, but returned {kind}")


class AsyncTokens(Tokens):
    """The credentials of one function, for asyncio tasks. The function may be async.

    If the function is async, the tasks of one event loop wait for each other. Two event loops do
    not wait for each other, so both may ask the function at the same time.
    """

    def __init__(self, function: Callable[[], Any], option: str) -> None:
        super().__init__(function, option)
        self._token: MaskedStr | None = None
        self._locks: dict[Any, Any] = {}

    async def get(self, stale: str | None, within: float | None = None) -> MaskedStr:  # type: ignore[override]  # the async form
        """Return the current credential, or a new one if the API refused the current one.

        If the task that asks an async function times out, the next waiting task asks the function.
        See `Tokens.get` for the arguments and the errors.
        """
        import asyncio  # only async clients need this slow import

        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # a loop of another library, such as trio
            return super().get(stale, within)
        if not self._is_async:
            run = self._join(stale)
            with suppress(TimeoutError):
                async with asyncio.timeout(within):
                    await asyncio.wrap_future(run)
            if not self._is_async:  # a plain function may return a coroutine
                return self._result(run)
        lock = self._locks.get(loop)
        if lock is None:
            for other in [other for other in list(self._locks) if other.is_closed()]:
                self._locks.pop(other, None)
            lock = self._locks[loop] = asyncio.Lock()
        try:
            async with asyncio.timeout(within), lock:
                if self._token is None or self._token == stale:
                    self._token = self._checked(await self._ask())
                return self._token
        except TimeoutError:
            raise self._too_slow() from None

    async def _ask(self) -> object:
        try:
            return await self._function()
        except Exception as error:
            raise self._failure(error) from error


def is_async(function: object) -> bool:
    """Tell whether *function* is an async function, or an object with an async `__call__`."""
    call = getattr(function, "__call__", None)  # noqa: B004
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(call)
