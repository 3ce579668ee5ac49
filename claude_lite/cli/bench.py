"""The command `claude-lite bench`: how fast an endpoint answers, at a concurrency of your choice.

It makes a number of calls, or makes calls for some time. It reports throughput, percentiles of
the latency and of the time to the first token, and tokens per second. Calls that fail are counted
and not repeated. If this process uses all of its CPU, the figures measure the client and not the
endpoint: the report says so.
"""

import argparse
import asyncio
import json
import math
import sys
import time
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from attrs import Factory, define, field

from claude_lite.api.messages.events import ContentBlockDeltaEvent
from claude_lite.api.messages.operations import CreateMessage, StreamMessage
from claude_lite.cli.clients import async_client, needs_emulator
from claude_lite.cli.terminal import EXIT_DONE, EXIT_FAILED, EXIT_INTERRUPTED, say
from claude_lite.client.clients import AsyncClient
from claude_lite.core.retry import never
from claude_lite.core.targets import __version__
from claude_lite.errors import ClaudeError, UsageError

if TYPE_CHECKING:
    from rich.table import Table

SATURATED: Final = 0.9  # of one core; above it the client may be the limit
PERCENTILES: Final = (50, 90, 99, 100)
REFRESH: Final = 0.25  # seconds between two updates of the display


@define
class Figures:
    """What was measured so far."""

    latency: list[float] = Factory(list)
    """Milliseconds, one per call."""
    first_token: list[float] = Factory(list)
    """Milliseconds until the first token, one per stream."""
    speed: list[float] = Factory(list)
    """Tokens per second after the first token, one per stream."""
    failed: Counter[str] = Factory(Counter)
    """Calls that failed, by the name of the error's class."""
    input_tokens: int = 0
    output_tokens: int = 0
    seconds: float = 0.0
    cpu: float = 0.0
    """Seconds of CPU time that this process used."""
    _began: float = field(factory=time.perf_counter, init=False)
    _used: float = field(factory=time.process_time, init=False)

    def take_time(self) -> None:
        """Bring `seconds` and `cpu` up to date."""
        self.seconds = time.perf_counter() - self._began
        self.cpu = time.process_time() - self._used

    @property
    def busy(self) -> float:
        """The share of the time in which this process used one core."""
        return self.cpu / self.seconds if self.seconds else 0.0

    @property
    def saturated(self) -> bool:
        """Whether the client may have been the limit."""
        return self.busy >= SATURATED

    def to_dict(self) -> dict[str, Any]:
        """The figures as a JSON object."""
        seconds = max(self.seconds, 1e-9)
        return {
            "succeeded": len(self.latency),
            "failed": dict(self.failed),
            "seconds": round(self.seconds, 3),
            "calls_per_second": round(len(self.latency) / seconds, 2),
            "latency_ms": percentiles(self.latency),
            "time_to_first_token_ms": percentiles(self.first_token),
            "input_tokens": self.input_tokens,
            "output_tokens": self.output_tokens,
            "output_tokens_per_second": round(self.output_tokens / seconds, 1),
            "stream_tokens_per_second": percentiles(self.speed),
            "client_busy": round(self.busy, 3),
            "client_is_the_bottleneck": self.saturated,
        }


def percentiles(values: Sequence[float]) -> dict[str, float]:
    """The percentiles of *values*, by nearest rank; empty if there are no values."""
    ranked = sorted(values)
    return {
        f"p{percent}": round(ranked[math.ceil(len(ranked) * percent / 100) - 1], 2)
        for percent in PERCENTILES
        if ranked
    }


async def measure(
    client: AsyncClient,
    params: dict[str, Any],
    figures: Figures,
    *,
    concurrency: int = 32,
    requests: int | None = None,
    seconds: float | None = None,
    stream: bool = True,
) -> None:
    """Make calls, a fixed number at a time, and keep *figures* up to date.

    Args:
        client: The client that makes the calls.
        params: The fields of the message to create.
        figures: The figures to keep up to date.
        concurrency: The number of calls at a time.
        requests: The number of calls in all; None for no end.
        seconds: The time after which no new call starts; None for no end.
        stream: Stream the answers.

    Raises:
        UsageError: The calls cannot be made.

    """
    end = math.inf if seconds is None else time.perf_counter() + seconds
    left = iter(range(requests)) if requests is not None else iter(int, 1)
    one = _streamed if stream else _whole

    async def share() -> None:
        for _ in left:
            if time.perf_counter() >= end:
                return
            try:
                await one(client, params, figures)
            except UsageError:
                raise
            except ClaudeError as error:
                figures.failed[type(error).__name__] += 1
                await asyncio.sleep(0)  # a call that failed may not have awaited anything

    async with asyncio.TaskGroup() as group:
        for _ in range(concurrency):
            group.create_task(share())


async def _whole(client: AsyncClient, params: dict[str, Any], figures: Figures) -> None:
    started = time.perf_counter()
    message = await client.send(CreateMessage(**params))
    figures.latency.append((time.perf_counter() - started) * 1000)
    figures.input_tokens += message.usage.total_input_tokens
    figures.output_tokens += message.usage.output_tokens


async def _streamed(client: AsyncClient, params: dict[str, Any], figures: Figures) -> None:
    started = time.perf_counter()
    first = None
    async with client.stream(StreamMessage(**params)) as stream:
        async for event in stream:
            if first is None and isinstance(event, ContentBlockDeltaEvent):
                first = time.perf_counter()
        ended = time.perf_counter()
        usage = stream.snapshot.usage
    figures.latency.append((ended - started) * 1000)
    figures.input_tokens += usage.total_input_tokens
    figures.output_tokens += usage.output_tokens
    if first is not None:
        figures.first_token.append((first - started) * 1000)
        if ended > first and usage.output_tokens > 1:
            figures.speed.append((usage.output_tokens - 1) / (ended - first))


def bench_command(args: argparse.Namespace) -> int:
    """Run the command; return its exit code. Raises `UsageError`."""
    if args.governor is not None:
        raise UsageError("--governor is for several processes: add --processes N")
    if needs_emulator(args) and args.transport:
        raise UsageError("--transport and --emulator exclude each other: leave one out")
    client = AsyncClient(args.transport) if args.transport else async_client(args)
    client = client.with_options(retry=never())
    client.config.target  # noqa: B018  # report a missing key once, before the first call
    client.transport  # noqa: B018  # import it before the first call is measured
    figures = Figures()
    code = EXIT_DONE
    try:
        asyncio.run(_shown(client, args, figures))
    except KeyboardInterrupt:
        code = EXIT_INTERRUPTED
    except BaseExceptionGroup as group:
        raise _leaf(group) from None
    figures.take_time()
    _report(args, client, figures)
    return code or (EXIT_DONE if figures.latency else EXIT_FAILED)


def _leaf(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def params_of(args: argparse.Namespace) -> dict[str, Any]:
    """The fields of the message that each call creates."""
    return {
        "model": args.model,
        "max_tokens": args.max_tokens,
        "messages": [{"role": "user", "content": args.prompt}],
    }


async def _shown(client: AsyncClient, args: argparse.Namespace, figures: Figures) -> None:
    async with client:
        showing = asyncio.create_task(_show(figures)) if sys.stderr.isatty() else None
        try:
            await measure(
                client,
                params_of(args),
                figures,
                concurrency=args.concurrency,
                requests=None if args.seconds else args.requests,
                seconds=args.seconds,
                stream=not args.no_stream,
            )
        finally:
            if showing is not None:
                showing.cancel()


async def _show(figures: Figures) -> None:
    """Show the figures a few times per second, which costs little CPU."""
    from rich.console import Console  # slow to import, and only for terminals
    from rich.live import Live  # slow to import, and only for terminals

    with Live(console=Console(stderr=True), auto_refresh=False, transient=True) as live:
        while True:
            figures.take_time()
            live.update(_line(figures), refresh=True)
            await asyncio.sleep(REFRESH)


def _line(figures: Figures) -> str:
    seconds = max(figures.seconds, 1e-9)
    recent = percentiles(figures.latency[-1000:])
    return (
        f"{len(figures.latency):,} done, {figures.failed.total():,} failed, "
        f"{len(figures.latency) / seconds:,.0f}/s, p50 {recent.get('p50', 0):,.0f} ms, "
        f"{figures.output_tokens / seconds:,.0f} tokens/s, client {figures.busy:.0%} busy"
    )


def _report(args: argparse.Namespace, client: AsyncClient, figures: Figures) -> None:
    found = figures.to_dict()
    print_table(found)
    if args.emulator:
        say(
            "the emulator ran in the same process: the figures are for client and emulator together"
        )
    elif figures.saturated:
        say(
            f"this process was busy {figures.busy:.0%} of the time: the figures measure the "
            "client, not the endpoint. Lower --concurrency, try --transport asyncio, or run "
            "several processes at once"
        )
    save(args, "emulator" if args.emulator else client.config.origin, found)


def save(args: argparse.Namespace, endpoint: str, found: dict[str, Any]) -> None:
    """Write figures to the file of `--output`, if there is one. Raises `UsageError`."""
    if args.output is None:
        return
    about = {
        "claude_lite": __version__,
        "endpoint": endpoint,
        "model": args.model,
        "concurrency": args.concurrency,
        "streamed": not args.no_stream,
    }
    try:
        args.output.write_text(json.dumps({**about, **found}, indent=2) + "\n")
    except OSError as error:
        raise UsageError(f"cannot write {args.output}: {error.strerror}") from None


def print_table(found: dict[str, Any]) -> None:
    """Print figures as a table."""
    from rich.console import Console  # slow to import

    Console().print(_table(found))


def _table(found: dict[str, Any]) -> "Table":
    from rich.table import Table  # slow to import

    table = Table(show_header=False)
    table.add_column()
    table.add_column(justify="right")
    for name, value in found.items():
        shown = value
        if isinstance(value, dict):
            shown = "  ".join(f"{key} {number:,}" for key, number in value.items())
        table.add_row(name.replace("_", " "), str(shown))
    return table
