"""What a client holds of its transport: a name or an instance, resolved at first use.

Transports are found through the entry-point group `claude_lite.transports`, ours like anyone's.
Where one name serves both colours, the asynchronous one is registered as `NAME-async`.
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
MOST_PROVIDERS: Final = 256

LATE: Final = (
    *("email.utils", "encodings.idna", "tenacity", "urllib.parse", "urllib.request", "zipfile"),
    *("claude_lite.api.messages.decoder", "claude_lite.client.arrival"),
    *("claude_lite.client.batching", "claude_lite.client.namespaces"),
)
"""What a call may import that importing its transport has not."""

_loading = threading.RLock()


def _before_fork() -> None:
    """See to it that no other thread is importing something of ours when this one forks.

    A child has the lock of a module that is being imported and not the thread that holds it:
    its own first call would wait for ever.
    """
    _loading.acquire()
    if Link.in_use:
        for name in LATE:
            import_module(name)


@functools.cache
def _heed_forks() -> None:
    """Have `_before_fork` called, before all others that hold a lock over a fork.

    Who registered last is called first. If `logging` held its lock already, which what is being
    imported may want, this would wait for ever; if asyncio's executor registered meanwhile, its
    lock would be released without having been acquired. So they are to register before.
    """
    import concurrent.futures.thread  # noqa: F401  # dear; it brings logging

    os.register_at_fork(
        before=_before_fork, after_in_parent=_loading.release, after_in_child=_loading.release
    )


class Link(Generic[T]):
    """A transport, made at first use where a name was given; shared by derived clients."""

    made: T | None = None
    """The transport, once there is one."""

    in_use: ClassVar[bool] = False
    """Whether there has been a transport in this process."""

    def __init__(self, given: "str | T", *, asynchronous: bool) -> None:
        _heed_forks()
        self.given = given
        self._asynchronous = asynchronous
        self._tokens: dict[Any, Any] = {}
        if not isinstance(given, str):
            self.made = self._checked(given)

    def get(self) -> T:
        """The transport; raises `UsageError` for a name that no package registers."""
        if self.made is None:
            with _loading:
                made = self._checked(self._load(cast("str", self.given)))
            return cast("T", self.__dict__.setdefault("made", made))  # of two threads, the first
        return self.made

    @property
    def clock(self) -> Clock:
        """The transport's own clock, where it has one (a virtual one, in tests)."""
        return getattr(self.get(), "monotonic", time.monotonic)

    def _load(self, name: str) -> T:
        from importlib.metadata import entry_points  # a third of our import time

        found = {entry.name: entry for entry in entry_points(group=GROUP)}
        entry = (self._asynchronous and found.get(f"{name}-async")) or found.get(name)
        if entry is None:
            raise UsageError(f"no transport is named {name!r}; there are {', '.join(found)}")
        return cast("T", entry.load()())

    def _checked(self, transport: T) -> T:
        methods = [getattr(transport, name, None) for name in ("send", "sleep", "close")]
        asynchronous = any(inspect.iscoroutinefunction(method) for method in methods)
        Link.in_use = True
        if None in methods or asynchronous is not self._asynchronous:
            wanted = "an AsyncTransport" if self._asynchronous else "a Transport"
            raise UsageError(f"{type(transport).__name__} is not {wanted}, which this client needs")
        return transport

    def tokens(self, kind: "type[K]", config: Config) -> K:
        """The tokens of the configured provider, shared by all who have the same one.

        A forked process has its own: a lock may have been held in its parent.
        """
        provider = cast("Callable[[], Any]", config.token_provider)
        if len(self._tokens) > MOST_PROVIDERS:  # one that is made for each call, it seems
            self._tokens.clear()
        return cast("K", self._tokens.setdefault((os.getpid(), provider), kind(provider)))

    def __getstate__(self) -> dict[str, Any]:
        return {"given": self.given, "asynchronous": self._asynchronous}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["given"], asynchronous=state["asynchronous"])  # type: ignore[misc]  # it is how it is made
