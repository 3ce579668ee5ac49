"""A client's link to its transport: a name or an instance, resolved at the first call.

Transports are found through the entry-point group `claude_lite.transports`, ours like all others.
Where one name serves both clients, the asynchronous transport is registered as `NAME-async`.
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
from claude_lite.wire import Clock

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")
K = TypeVar("K", Tokens, AsyncTokens)

GROUP = "claude_lite.transports"
MAX_PROVIDERS: Final = 256

LAZY_MODULES: Final = (
    *("email.utils", "encodings.idna", "tenacity", "urllib.parse", "urllib.request", "zipfile"),
    *("claude_lite.api.messages.decoder", "claude_lite.client.arrival"),
    *("claude_lite.client.batching", "claude_lite.client.namespaces"),
)
"""The modules that a call may import after its transport was imported."""

_loading = threading.RLock()


def _before_fork() -> None:
    """Wait until no other thread imports a module that a call needs; then this thread forks.

    A forked child has the lock of a module that was being imported, but not the thread that holds
    the lock: the child's first call would wait for ever.
    """
    _loading.acquire()
    if Link.in_use:
        for name in LAZY_MODULES:
            import_module(name)


@functools.cache
def _watch_forks() -> None:
    """Have `_before_fork` called at a fork, before other functions that hold a lock over it.

    The function that registered last is called first. `logging` and asyncio's executor register
    one each, so both are imported before. If `logging` held its lock already, a module that is
    being imported might wait for that lock for ever. If the executor registered while a fork is
    under way, its lock would be released without having been acquired.
    """
    import concurrent.futures.thread  # noqa: F401  # slow to import; it imports logging

    os.register_at_fork(
        before=_before_fork, after_in_parent=_loading.release, after_in_child=_loading.release
    )


class Link(Generic[T]):
    """A transport, made at the first call if a name was given; derived clients share the link."""

    transport: T | None = None
    """The transport; None before the first call, if a name was given."""

    in_use: ClassVar[bool] = False
    """Whether this process has made or been given a transport."""

    def __init__(self, given: "str | T", *, asynchronous: bool) -> None:
        _watch_forks()
        self.given = given
        self._asynchronous = asynchronous
        self._tokens: dict[Any, Any] = {}
        if not isinstance(given, str):
            self.transport = self._checked(given)

    def get(self) -> T:
        """Return the transport. Raises `UsageError` for a name that no package registers."""
        if self.transport is None:
            with _loading:
                made = self._checked(self._load(cast("str", self.given)))
            return cast(
                "T", self.__dict__.setdefault("transport", made)
            )  # if two threads made one, the first is kept
        return self.transport

    @property
    def clock(self) -> Clock:
        """The transport's own clock, if it has one (a virtual one, in tests), or the system's."""
        return getattr(self.get(), "monotonic", time.monotonic)

    def _load(self, name: str) -> T:
        from importlib.metadata import entry_points  # slow to import

        found = {entry.name: entry for entry in entry_points(group=GROUP)}
        entry = (self._asynchronous and found.get(f"{name}-async")) or found.get(name)
        if entry is None:
            raise UsageError(f"no transport is named {name!r}: the names are {', '.join(found)}")
        return cast("T", entry.load()())

    def _checked(self, transport: T) -> T:
        methods = [getattr(transport, name, None) for name in ("send", "sleep", "close")]
        asynchronous = any(inspect.iscoroutinefunction(method) for method in methods)
        Link.in_use = True
        if None in methods or asynchronous is not self._asynchronous:
            wanted = "an AsyncTransport" if self._asynchronous else "a Transport"
            raise UsageError(f"{type(transport).__name__} is not {wanted}: this client needs one")
        return transport

    def tokens(self, kind: "type[K]", config: Config) -> K:
        """Return the tokens of the configured provider, shared by all clients that have it.

        A forked process has its own tokens: their lock may have been held in its parent.
        """
        provider = cast("Callable[[], Any]", config.token_provider)
        if len(self._tokens) > MAX_PROVIDERS:  # programs that make a provider per call
            self._tokens.clear()
        return cast("K", self._tokens.setdefault((os.getpid(), provider), kind(provider)))

    def __getstate__(self) -> dict[str, Any]:
        return {"given": self.given, "asynchronous": self._asynchronous}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["given"], asynchronous=state["asynchronous"])  # type: ignore[misc]  # it is how it is made
