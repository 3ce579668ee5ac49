"""What the fixtures of the pytest plugin give: clients to record and replay, or of an emulator.

The plugin itself is `claude_lite.testing.pytest_plugin`. Nothing here knows of pytest.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import Any, Self, Unpack

from claude_lite.client.clients import AsyncClient, Client
from claude_lite.client.link import Link
from claude_lite.core.config import Options
from claude_lite.core.retry import refill_budgets
from claude_lite.emulator import Emulator
from claude_lite.emulator.serving import emulator_server
from claude_lite.errors import UsageError
from claude_lite.testing.virtual_clock import VirtualClock
from claude_lite.wire import AsyncTransport, Transport
from claude_lite_transports.emulator import AsyncEmulatorTransport, EmulatorTransport
from claude_lite_transports.recording.transport import (
    AsyncRecordingTransport,
    Mode,
    RecordingTransport,
)

__all__ = ["ClaudeCassette", "ClaudeEmulator"]


class ClaudeCassette:
    """A recording and those who use it. Both colours of transport share the file."""

    def __init__(
        self,
        path: Path,
        *,
        transport: str | Transport = "urllib",
        async_transport: str | AsyncTransport = "aiohttp",
        mode: Mode = "none",
        **options: Any,
    ) -> None:
        """Record to *path* by these transports, or replay; the rest is as for a recorder."""
        self.path = path
        inner: Link[Transport] = Link(transport, asynchronous=False)
        async_inner: Link[AsyncTransport] = Link(async_transport, asynchronous=True)
        try:
            self.transport = RecordingTransport(path, inner.get, mode, **options)
        except TypeError as error:  # an option of that name is not known
            raise UsageError(f"{error}") from None
        self.async_transport = AsyncRecordingTransport.sharing(self.transport, async_inner.get)

    @property
    def mode(self) -> Mode:
        """What is done: "none" replays; "once" has become "none" or "rewrite"."""
        return self.transport.mode

    def client(self, **options: Unpack[Options]) -> Client:
        """Make a client. In a replay it needs no key."""
        return Client(self.transport, **self._keyed(options))

    def async_client(self, **options: Unpack[Options]) -> AsyncClient:
        """Make an asynchronous client. In a replay it needs no key."""
        return AsyncClient(self.async_transport, **self._keyed(options))

    def _keyed(self, options: Options) -> Options:
        keyless = self.mode == "none" and not {"api_key", "auth_token"} & options.keys()
        return {**options, "api_key": "replayed"} if keyless else options

    @contextmanager
    def lent(self, passed: Callable[[], bool]) -> Iterator[Self]:
        """Give this to a test, and then save, if it has *passed*.

        Raises `CassetteMiss` for a request without an answer that a test passed in spite of,
        `InteractionsUnused`, and `SecretInCassette`.
        """
        refill_budgets()
        with suppress(_Failed), self.transport:
            yield self
            self._judge(passed=passed())

    def _judge(self, *, passed: bool) -> None:
        if not passed:
            raise _Failed
        for miss in self.transport.misses:
            raise miss.amend(message=f"the test passed, but {miss.message}")


class _Failed(Exception):
    """Ends a block in which something is being recorded, so that it is not saved."""


class ClaudeEmulator:
    """An emulator of the API and those who use it. A context manager.

    Time passes by sleeping only (`clock`): waits between retries and the emulator's own take
    none, and rate limits refill when the clock is moved on, by `clock.sleep(60)`.
    """

    def __init__(self, **options: Any) -> None:
        """Set it up; the options are those of `claude_lite.emulator.Emulator`."""
        self.clock = VirtualClock()
        self.emulator = Emulator(**{"clock": self.clock.monotonic, **options})
        self.transport = EmulatorTransport(self.emulator, sleep=self.clock.sleep)
        self.async_transport = AsyncEmulatorTransport(self.emulator, sleep=self.clock.sleep_async)
        self._stack = ExitStack()

    def client(self, **options: Unpack[Options]) -> Client:
        """Make a client."""
        return Client(self.transport, **_any_key(options))

    def async_client(self, **options: Unpack[Options]) -> AsyncClient:
        """Make an asynchronous client."""
        return AsyncClient(self.async_transport, **_any_key(options))

    @cached_property
    def url(self) -> str:
        """The address of the same emulator on a port, where it waits in real time."""
        return self._stack.enter_context(emulator_server(self.emulator))

    def __enter__(self) -> Self:
        refill_budgets()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stack.close()


def _any_key(options: Options) -> Options:
    return options if {"api_key", "auth_token"} & options.keys() else {**options, "api_key": "any"}
