"""A client's link to a transport: a name or an instance. A name is resolved at the first call.

Packages register transports as entry points of the group `claude_lite.transports`. If a sync and
an async transport have the same name, the async transport is registered as `NAME-async`. The
transports of this package are found without entry points: a program that is frozen, zipped or
vendored has the modules of its packages, but not their metadata.
"""

import functools
import inspect
import os
import threading
import time
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar, Final, Generic, TypeVar, cast

from claude_lite.client.tokens import AsyncTokens, Tokens
from claude_lite.core.config import Config
from claude_lite.errors import UsageError
from claude_lite.wire import Clock, MaskedStr

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")
K = TypeVar("K", Tokens, AsyncTokens)

GROUP = "claude_lite.transports"
OURS: Final = frozenset({"aiohttp", "asyncio", "emulator", "urllib"})
MAX_PROVIDERS: Final = 256

LAZY_MODULES: Final = (
    *("email.utils", "encodings.idna", "tenacity", "urllib.parse", "urllib.request", "zipfile"),
    *("claude_lite.api.messages.decoder", "claude_lite.client.arrival"),
    *("claude_lite.client.batching", "claude_lite.client.namespaces"),
)
"""The modules that a call may import, besides the transport. `_before_fork` imports them first."""

_loading = threading.RLock()


def _before_fork() -> None:
    """Import all modules that a call needs, and hold `_loading` during the fork.

    If another thread imports a module during the fork, the child inherits a locked import lock, but
    not the thread that would release the lock. The child's first call would wait for ever.
    """
    _loading.acquire()
    if Link.in_use:
        for name in LAZY_MODULES:
            import_module(name)


@functools.cache
def _watch_forks() -> None:
    """Register `_before_fork`, to run before the fork handlers of `logging` and of thread pools.

    Before a fork, handlers run in reverse order: the last registered handler runs first. So
    `logging` and `concurrent.futures.thread` are imported here, before the registration. In the
    other order, the handler of `logging` would take the lock of `logging` first. Then
    `_before_fork` would wait for an import in another thread, and this import could wait for the
    lock of `logging`: a deadlock.

    `concurrent.futures.thread` registers two handlers: one acquires a lock before a fork, the other
    releases the lock after the fork. If `_before_fork` were the first to import this module, both
    would be registered when the fork has already begun. That is too late for the first handler, but
    the second would run, and release a lock that nobody holds: an error.
    """
    import concurrent.futures.thread  # noqa: F401  # slow to import; it imports logging

    os.register_at_fork(
        before=_before_fork, after_in_parent=_loading.release, after_in_child=_loading.release
    )


class Link(Generic[T]):
    """A link to a transport. Clients that `with_options` derives share one link."""

    transport: T | None = None
    """The transport; None if a name was given, and no call has loaded the transport yet."""

    in_use: ClassVar[bool] = False
    """Whether this process has a transport. If so, a fork imports `LAZY_MODULES` first."""

    def __init__(self, given: "str | T", *, is_async: bool) -> None:
        _watch_forks()
        # A name or an instance. A key that is given by mistake is masked from here on.
        is_key = isinstance(given, str) and given.startswith("sk-")
        self.given = MaskedStr(given) if is_key else given
        self._is_async = is_async
        self._tokens: dict[Any, Any] = {}
        if not isinstance(given, str):
            self.transport = self._check(given)

    def get(self) -> T:
        """Return the transport. Raises `UsageError` for a name that no package registers."""
        if self.transport is None:
            with _loading:
                loaded = self._check(self._load(cast("str", self.given)))
            # Atomic: if two threads load a transport, both use the first.
            return cast("T", self.__dict__.setdefault("transport", loaded))
        return self.transport

    @property
    def clock(self) -> Clock:
        """The transport's clock if the transport has a clock (for tests), or else the system's."""
        return getattr(self.get(), "monotonic", time.monotonic)

    def _load(self, name: str) -> T:
        if name in OURS:
            module = import_module(f"claude_lite_transports.{name}")
            kind = f"{name.title()}Transport"
            made = getattr(module, f"Async{kind}" if self._is_async else kind, None)
            return cast("T", (made or getattr(module, kind))())
        from importlib.metadata import entry_points  # slow to import

        found = {entry.name: entry for entry in entry_points(group=GROUP)}
        entry = (self._is_async and found.get(f"{name}-async")) or found.get(name)
        if entry is None:
            names = ", ".join(sorted(OURS.union(found)))
            advice = "The first argument is the transport: give a key as api_key=..."
            raise UsageError(f"no transport is named {name!r}; installed: {names}", advice=advice)
        return cast("T", entry.load()())

    def _check(self, transport: T) -> T:
        methods = [getattr(transport, name, None) for name in ("send", "sleep", "close")]
        is_async = any(inspect.iscoroutinefunction(method) for method in methods)
        if None in methods or is_async is not self._is_async:
            wanted = "an AsyncTransport" if self._is_async else "a Transport"
            raise UsageError(f"this client needs {wanted}, not {type(transport).__name__}")
        Link.in_use = True
        return transport

    def tokens(self, kind: "type[K]", config: Config) -> K:
        """Return the tokens of the configured provider. Clients of this link share the tokens.

        After a fork, the child has tokens of its own: the lock of the parent's tokens may be held.
        """
        provider = cast("Callable[[], Any]", config.token_provider)
        if len(self._tokens) > MAX_PROVIDERS:  # a program may make a provider per call
            self._tokens.clear()
        return cast("K", self._tokens.setdefault((os.getpid(), provider), kind(provider)))

    def __getstate__(self) -> dict[str, Any]:
        return {"given": self.given, "is_async": self._is_async}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["given"], is_async=state["is_async"])  # type: ignore[misc]  # sets all attributes, as for a new link
