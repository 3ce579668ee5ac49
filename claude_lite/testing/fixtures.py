"""The objects that the fixtures of the pytest plugin give to tests.

The plugin itself is `claude_lite.testing.pytest_plugin`. This module does not import pytest.
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
from claude_lite.governor import forget
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
    """A cassette: a file of recorded calls, with clients that record to the file or replay it.

    Sync and async clients share the file.

    Attributes:
        path: The file.
        transport: The sync transport that records or replays.
        async_transport: The async transport that records or replays.

    """

    def __init__(
        self,
        path: Path,
        *,
        transport: str | Transport = "urllib",
        async_transport: str | AsyncTransport = "aiohttp",
        mode: Mode = "none",
        **options: Any,
    ) -> None:
        """Open the cassette.

        Args:
            path: The file.
            transport: The sync transport that records: an instance or a name.
            async_transport: The async transport that records: an instance or a name.
            mode: Whether to record or to replay; the modes are those of `RecordingTransport`.
            options: Other options of `RecordingTransport`, such as `redact` or `strict`.

        Raises:
            UsageError: An option is unknown.

        """
        self.path = path
        inner: Link[Transport] = Link(transport, is_async=False)
        async_inner: Link[AsyncTransport] = Link(async_transport, is_async=True)
        try:
            self.transport = RecordingTransport(path, inner.get, mode, **options)
        except TypeError as error:  # an unknown option
            raise UsageError(f"{error}") from None
        self.async_transport = AsyncRecordingTransport.sharing(self.transport, async_inner.get)

    @property
    def mode(self) -> Mode:
        """The mode: "none" replays. The mode "once" has become "none" or "rewrite"."""
        return self.transport.mode

    def client(self, **options: Unpack[Options]) -> Client:
        """Make a sync client. A client that only replays needs no key.

        Args:
            options: The options of `Client`.

        """
        return Client(self.transport, **self._keyed(options))

    def async_client(self, **options: Unpack[Options]) -> AsyncClient:
        """Make an async client. A client that only replays needs no key.

        Args:
            options: The options of `AsyncClient`.

        """
        return AsyncClient(self.async_transport, **self._keyed(options))

    def _keyed(self, options: Options) -> Options:
        keyless = self.mode == "none" and not {"api_key", "auth_token"} & options.keys()
        return {**options, "api_key": "replayed"} if keyless else options

    @contextmanager
    def lent(self, passed: Callable[[], bool]) -> Iterator[Self]:
        """Lend the cassette to a test; save the recording if the test has passed.

        Args:
            passed: Returns whether the test has passed; called at the end of the block.

        Raises:
            CassetteMiss: The test passed although a request had no recorded answer.
            InteractionsUnused: The test passed and did not use all recorded answers.
            SecretInCassette: The recording contains a secret, so it was not saved.

        """
        refill_budgets()
        forget()
        with suppress(_Failed), self.transport:
            yield self
            self._judge(passed=passed())

    def _judge(self, *, passed: bool) -> None:
        if not passed:
            raise _Failed
        for miss in self.transport.misses:
            raise miss.update(message=f"the test passed, but {miss.message}")


class _Failed(Exception):
    """Ends the block of a transport that records, so that the recording is not saved."""


class ClaudeEmulator:
    """An emulator of the API, with clients that call it in virtual time. A context manager.

    Time passes only when the clock sleeps: waits between retries, and waits of the emulator,
    take no real time. `clock.sleep(60)` moves the time on, for example to refill rate limits.

    Attributes:
        clock: The `VirtualClock` of the emulator and of the transports.
        emulator: The `Emulator`.
        transport: The sync transport to the emulator.
        async_transport: The async transport to the emulator.

    """

    def __init__(self, **options: Any) -> None:
        """Set up the emulator.

        Args:
            options: The options of `claude_lite.emulator.Emulator`.

        """
        self.clock = VirtualClock()
        self.emulator = Emulator(**{"clock": self.clock.monotonic, **options})
        self.transport = EmulatorTransport(self.emulator, sleep=self.clock.sleep)
        self.async_transport = AsyncEmulatorTransport(self.emulator, sleep=self.clock.sleep_async)
        self._stack = ExitStack()

    def client(self, **options: Unpack[Options]) -> Client:
        """Make a sync client of the emulator; it needs no key.

        Args:
            options: The options of `Client`.

        """
        return Client(self.transport, **_any_key(options))

    def async_client(self, **options: Unpack[Options]) -> AsyncClient:
        """Make an async client of the emulator; it needs no key.

        Args:
            options: The options of `AsyncClient`.

        """
        return AsyncClient(self.async_transport, **_any_key(options))

    @cached_property
    def url(self) -> str:
        """The URL of the same emulator on a port; there the emulator waits in real time."""
        return self._stack.enter_context(emulator_server(self.emulator))

    def __enter__(self) -> Self:
        refill_budgets()
        forget()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stack.close()


def _any_key(options: Options) -> Options:
    return options if {"api_key", "auth_token"} & options.keys() else {**options, "api_key": "any"}
