"""The table of measurements: rows, each with a baseline and the peers compared with it.

The first entry of a row is its baseline: ratios are to the CPU seconds of the baseline in the
same round. A goal is a ratio that this library must reach; a row without a goal informs only.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from attrs import evolve, frozen

AIOHTTP, ASYNCIO = "claude_lite aiohttp", "claude_lite asyncio"
FLOOR: Final = "aiohttp + json"
LIMIT: Final = "bare protocol"
# Slow peers do so many times fewer units, so that a round takes seconds.
SLOW: Final = {"anthropic": 32, "anthropic aiohttp": 20, "openai": 64, "litellm": 64}
OTHERS: Final = ("anthropic", "anthropic aiohttp", "openai", "litellm")


@frozen
class Entry:
    """One peer of a row: its job for the worker, without the address of the server."""

    label: str
    job: Mapping[str, Any]
    goal: float | None = None


@frozen
class Row:
    """One line of the table. `metric` is the compared figure; `fresh` starts new processes.

    A goal is a ratio to the baseline, unless the metric is "absolute".
    """

    key: str
    title: str
    entries: tuple[Entry, ...]
    metric: str = "us"
    fresh: bool = False
    route: str = "small"


def _calls(
    n: int, concurrency: int, goals: Mapping[str, float], labels: tuple[str, ...], **more: Any
) -> tuple[Entry, ...]:
    shared = {"kind": "calls", "concurrency": concurrency, "mode": "call", "warm": True, **more}
    return tuple(
        Entry(
            label,
            {**shared, "peer": label, "n": max(n // SLOW.get(label, 1), concurrency)},
            goals.get(label),
        )
        for label in labels
    )


WIRE: Final = (FLOOR, "aiohttp + orjson", LIMIT, AIOHTTP, ASYNCIO, *OTHERS)
WITH_UVLOOP: Final = (*WIRE[:5], LIMIT + " uvloop", ASYNCIO + " uvloop", *OTHERS)


def _wire() -> Iterator[Row]:
    best = {AIOHTTP: 1.0, ASYNCIO: 0.45}
    yield Row("unary 1", "unary, concurrency 1", _calls(1600, 1, best, WIRE))
    yield Row("unary 32", "unary, concurrency 32", _calls(3200, 32, best, WITH_UVLOOP))
    yield Row("unary 256", "unary, concurrency 256", _calls(4096, 256, best, WIRE))
    goals = {AIOHTTP: 0.85, ASYNCIO: 0.85}
    title = "unary, 40 KB answers, concurrency 32"
    yield Row("large 32", title, _calls(2000, 32, goals, WIRE), route="large")
    for key, title, route, mode, goal in (
        ("stream burst", "stream, all events in one write", "burst", "events", 0.70),
        ("stream trickle", "stream, a write an event", "trickle", "events", 0.75),
        ("stream whole", "stream, accumulated message", "burst", "whole", 0.65),
    ):
        entries = _calls(320, 8, {AIOHTTP: goal, ASYNCIO: goal}, WIRE, mode=mode)
        yield Row(key, title, entries, route=route)
    quick = WIRE[:5]  # 500 units of the other peers take half a minute
    entries = _calls(1500, 500, {}, quick, mode="events")
    yield Row("stream 500", "500 streams at once", entries, route="burst")
    goals = {AIOHTTP: 1.0, ASYNCIO: 1.0}
    title = "storm, every third call 529"
    yield Row("storm", title, _calls(2000, 32, goals, WIRE), route="storm")


def _many() -> Iterator[Row]:
    """Many calls in flight: each peer in a new process, so that its memory can be measured."""
    labels = (FLOOR, AIOHTTP, ASYNCIO, "anthropic")
    for key, title, metric, goal in (
        ("2000 cpu", "2,000 in flight at 200 ms: CPU", "us", 1.05),
        ("2000 memory", "2,000 in flight at 200 ms: peak memory", "MB", 1.1),
    ):
        entries = _calls(2000, 2000, {AIOHTTP: goal, ASYNCIO: goal}, labels, warm=False)
        yield Row(key, title, entries, metric=metric, fresh=True, route="slow")
    for peer in (AIOHTTP, ASYNCIO, FLOOR):
        entries = tuple(
            Entry(
                f"{peer} at {concurrency}",
                _calls(max(500, 3 * concurrency), concurrency, {}, (peer,))[0].job,
                1.15 if concurrency > 50 and peer != FLOOR else None,  # noqa: PLR2004  # the least
            )
            for concurrency in (50, 500, 5000)
        )
        title = f"CPU a call as more are in flight at 200 ms, {peer}"
        yield Row(f"flat {peer}", title, entries, route="slow")


def _unit(work: str, n: int, **goals: float) -> tuple[Entry, ...]:
    from benchmarks.offline import UNITS  # the names of the peers only

    return tuple(
        Entry(
            peer,
            {"kind": "unit", "work": work, "peer": peer, "n": max(n // SLOW.get(peer, 1), 1)},
            goals.get(peer),
        )
        for peer in UNITS[work]
    )


def _offline() -> Iterator[Row]:
    for work, title, n, goal in (
        ("roundtrip small", "build + parse, 1.2 KB", 16_000, 0.7),
        ("roundtrip large", "build + parse, 40 KB", 3200, 1.0),
        ("stream raw", "stream events", 240, 0.7),
        ("stream whole", "stream events, accumulated", 240, 0.7),
        ("tool", "tool input of 4,000 deltas, to parsing once", 16, 1.5),
        ("line 32 MB", "a line of 32 MB", 1, None),
    ):
        goals = {} if goal is None else {"claude_lite": goal}
        yield Row(f"offline {work}", f"no I/O: {title}", _unit(work, n, **goals))
    (entry,) = _unit("exchange", 20_000, claude_lite=10.0)
    title = "no I/O: retries, deadline and logging (off) of a call that succeeds"
    yield Row("exchange", title, (entry,), metric="absolute us")
    # Past 16 MB the allocator decides the result: it gives pages back to the system.
    quarter, whole = _unit("line 4 MB", 16)[0], _unit("line 16 MB", 4)[0]
    entries = (
        Entry("four lines of 4 MB", {**quarter.job, "per": 4}),
        Entry("one line of 16 MB", whole.job, 1.25),
    )
    yield Row("linear", "no I/O: stream cost is linear in bytes", entries)


def _start() -> Iterator[Row]:
    imported = (
        ("asyncio, ssl, json", ("asyncio", "ssl", "json"), None),
        ("claude_lite", ("claude_lite",), 3.0),
        ("claude_lite + aiohttp", ("claude_lite", "claude_lite_transports.aiohttp"), None),
        ("claude_lite + asyncio", ("claude_lite", "claude_lite_transports.asyncio.pool"), None),
        ("aiohttp", ("aiohttp",), None),
        ("anthropic", ("anthropic",), None),
        ("openai", ("openai",), None),
        ("litellm", ("litellm",), None),
    )
    entries = tuple(
        Entry(label, {"kind": "import", "modules": modules, "peer": label, "n": 1}, goal)
        for label, modules, goal in imported
    )
    yield Row("import", "import, to that of asyncio, ssl and json", entries, fresh=True)
    goals = {"claude_lite": 0.06}
    pair = tuple(
        Entry(e.label, e.job, goals.get(e.label)) for e in (entries[5], entries[1], entries[6])
    )
    yield Row("import sdk", "import, to that of the SDK", pair, fresh=True)
    ours, *few = _unit("construct", 1000)
    few = [evolve(entry, job={**entry.job, "n": 10}) for entry in few]
    for key, title, metric, goal in (
        ("construct", "a client: time to make", "absolute us", 100.0),
        ("construct memory", "a client: memory", "absolute kB", 5.0),
    ):
        yield Row(key, title, (evolve(ours, goal=goal), *few), metric=metric, fresh=True)


def _sync() -> Iterator[Row]:
    for threads in (1, 32):
        entries = tuple(
            Entry(
                label,
                {
                    "kind": "sync",
                    "peer": label,
                    "concurrency": threads,
                    "n": max(2560 // SLOW.get(label, 1), threads * 2),
                },
                1.25 if label == "claude_lite urllib" and threads == 1 else None,
            )
            for label in ("http.client + json", "claude_lite urllib", "anthropic")
        )
        yield Row(f"sync {threads}", f"synchronous, threads: {threads}", entries)


def _options() -> Iterator[Row]:
    for key, title in (
        ("recording", "recording on (but for saving at the end), to recording off"),
        ("logging", "logging on, to logging off"),
    ):
        yield Row(key, title, _calls(500, 32, {}, (AIOHTTP, f"claude_lite {key}")))


def rows() -> list[Row]:
    """Return the rows in the order of the report."""
    return [*_wire(), *_offline(), *_many(), *_sync(), *_options(), *_start()]
