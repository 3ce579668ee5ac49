"""A client's link to a transport: a name or an instance. A name is resolved by the new client.

Packages register transports as entry points of the group `claude_lite.transports`. If a sync and
an async transport have the same name, the async transport is registered as `NAME-async`. The
transports of this package are found without entry points: a program that is frozen, zipped or
vendored has the modules of its packages, but not their metadata.
"""

import functools
import inspect
import os
import sys
import threading
import time
from collections.abc import Hashable
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar, cast

from claude_lite.client.tokens import AsyncTokens, Tokens
from claude_lite.errors import UsageError
from claude_lite.given.refusals import LIVE
from claude_lite.wire import Clock, MaskedStr

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")
K = TypeVar("K", Tokens, AsyncTokens)

GROUP = "claude_lite.transports"
OURS: Final = frozenset({"aiohttp", "asyncio", "emulator", "urllib"})
MAX_PROVIDERS: Final = 256

LAZY_MODULES: Final = (
    *("concurrent.futures", "email.utils", "encodings.cp437", "encodings.utf_16_le"),
    *("random", "urllib.parse", "urllib.request", "zipfile"),
    *("claude_lite.api.messages.decoder", "claude_lite.client.arrival"),
    *("claude_lite.client.batches", "claude_lite.client.namespaces", "claude_lite.governor"),
)
"""The modules that functions of the library import, and Python for them (codecs, one for zipfile).

They are imported with the first client, so that `from claude_lite import Client` stays fast.
Transports import `urllib.request` when they look for proxies in the environment."""

_loading = threading.RLock()


@functools.cache
def _watch_forks() -> None:
    """Make each fork wait until no other thread loads the modules of a client.

    If another thread imports a module during the fork, the child inherits a locked import lock, but
    not the thread that would release the lock. A client that is made in the child would wait for
    ever.

    Before a fork, handlers run in reverse order: the last registered handler runs first. So
    `logging` is imported here, before the registration. In the other order, the handler of
    `logging` would take the lock of `logging` first. Then the fork would wait for an import in
    another thread, and this import could wait for the lock of `logging`: a deadlock.
    """
    import logging  # noqa: F401  # slow to import

    os.register_at_fork(
        before=_loading.acquire, after_in_parent=_loading.release, after_in_child=_loading.release
    )


class Link(Generic[T]):
    """A link to a transport. Clients that `with_options` derives share one link."""

    transport: T | None = None
    """The transport; None if a name was given, and no call has needed the transport yet."""

    def __init__(self, given: "str | T", *, is_async: bool) -> None:
        _watch_forks()
        # A name or an instance. A key that is given by mistake is masked from here on.
        is_key = not hasattr(given, "send") and LIVE.search(str(given)) is not None
        self.given = MaskedStr(given) if is_key else given
        self._is_async = is_async
        self._tokens: dict[Any, Any] = {}
        if not isinstance(self.given, str):
            self.transport = self._check(self.given)

    def load(self) -> None:
        """Import all modules that a call may need, and check the name of the transport.

        A failing call must not import: the import may fail as well, for example if the process has
        no file descriptor left. An import would also stop the event loop for long, and could wait
        for ever in a forked child.
        """
        with _loading:
            for name in LAZY_MODULES:
                import_module(name)
            # A key is refused at the first call: the frames of now hold it as an argument.
            if isinstance(self.given, str) and not isinstance(self.given, MaskedStr):
                _find(self.given, is_async=self._is_async)

    def get(self) -> T:
        """Return the transport. Raises `UsageError` for a name that no package registers."""
        if self.transport is None:
            if sys.is_finalizing():
                raise UsageError("no transport can be loaded any more: the interpreter is ending")
            with _loading:
                found = _find(cast("str", self.given), is_async=self._is_async)
                made = self._check(cast("T", found()))
            # Atomic: if two threads make a transport, both use the first.
            return cast("T", self.__dict__.setdefault("transport", made))
        return self.transport

    @property
    def clock(self) -> Clock:
        """The transport's clock if the transport has a clock (for tests), or else the system's."""
        return getattr(self.get(), "monotonic", time.monotonic)

    def _check(self, transport: T) -> T:
        methods = [getattr(transport, name, None) for name in ("send", "sleep", "close")]
        is_async = any(inspect.iscoroutinefunction(method) for method in methods)
        if None in methods or is_async is not self._is_async:
            wanted = "an AsyncTransport" if self._is_async else "a Transport"
            raise UsageError(f"this client needs {wanted}, not {type(transport).__name__}")
        return transport

    def tokens(self, kind: "type[K]", named: "tuple[str, Callable[[], Any]] | None") -> K:
        """Return the credentials of a function, with its name. Clients of this link share them.

        After a fork, the child has credentials of its own: the parent's lock may be held.
        """
        option, function = cast("tuple[str, Callable[[], Any]]", named)
        # An object such as a dataclass has no hash.
        key = os.getpid(), option, function if isinstance(function, Hashable) else id(function)
        found = self._tokens.get(key)
        if found is None:
            if len(self._tokens) > MAX_PROVIDERS:  # a program may make a function per call
                self._tokens.clear()
            found = self._tokens.setdefault(key, kind(function, option))
        return cast("K", found)

    def __getstate__(self) -> dict[str, Any]:
        return {"given": self.given, "is_async": self._is_async}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["given"], is_async=state["is_async"])  # type: ignore[misc]  # sets all attributes, as for a new link
        self.load()


@functools.cache
def _find(name: str, *, is_async: bool) -> "Callable[[], Any]":
    """Find the class of the transport *name*, and import its module."""
    if name in OURS:
        module = import_module(f"claude_lite_transports.{name}")
        kind = f"{name.title()}Transport"
        made = getattr(module, f"Async{kind}" if is_async else kind, None)
        return cast("Callable[[], Any]", made or getattr(module, kind))
    from importlib.metadata import entry_points  # slow to import

    found = {entry.name: entry for entry in entry_points(group=GROUP)}
    entry = (is_async and found.get(f"{name}-async")) or found.get(name)
    if entry is None:
        names = ", ".join(sorted(OURS.union(found)))
        advice = "The first argument is the transport: give a key as api_key=..."
        raise UsageError(f"no transport is named {name!r}; installed: {names}", advice=advice)
    return cast("Callable[[], Any]", entry.load())
