"""The command `claude-lite bench --processes N`: how well several processes share a rate limit.

Each process is started anew and makes the same calls; all begin at the same moment. Refused calls
are tried again as in any program, and counted. The report has the part of the requests that was
refused with a 429, the part of the limit that was used, and Jain's index of fairness: 1 if all
processes got the same number of answers, 1/N if one got all.
"""

import argparse
import asyncio
import multiprocessing
from contextlib import suppress
from typing import Any, Final

from claude_lite.cli.bench import Figures, measure, params_of, percentiles, print_table, save
from claude_lite.cli.terminal import EXIT_DONE, EXIT_FAILED, EXIT_INTERRUPTED, say
from claude_lite.client.clients import AsyncClient
from claude_lite.errors import ClaudeError, UsageError

__all__ = ["bench_processes"]

START: Final = 60.0  # seconds for the processes to start
REFUSED: Final = 429
TOKENS: Final = ("input_tokens", "output_tokens")

Found = dict[str, Any]


def bench_processes(args: argparse.Namespace) -> int:
    """Run the command; return its exit code. Raises `UsageError`."""
    if args.emulator:
        raise UsageError(
            "--processes and --emulator exclude each other: start the emulator with "
            "`claude-lite serve`, and set ANTHROPIC_BASE_URL"
        )
    client = _client(args)  # a mistake in the options is told once, and here
    client.config.target  # noqa: B018  # the same for a missing key
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(args.processes)
    pipes, children = [], []
    for _ in range(args.processes):
        receiver, sender = context.Pipe(duplex=False)
        child = context.Process(target=_child, args=(args, barrier, sender))
        child.start()
        sender.close()
        pipes.append(receiver)
        children.append(child)
    found: list[Found] = []
    try:
        for pipe in pipes:
            with suppress(EOFError):  # the process has ended without figures, and said why
                found.append(pipe.recv())
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    finally:
        for child in children:
            child.join()
    if lost := args.processes - len(found):
        say(f"{lost} of {args.processes} processes ended without figures")
    if not found:
        return EXIT_FAILED
    report = merged(found)
    print_table(report)
    save(args, client.config.origin, report)
    return EXIT_FAILED if lost or not report["succeeded"] else EXIT_DONE


def _client(args: argparse.Namespace, **options: Any) -> AsyncClient:
    if args.governor is not None:
        options["governor"] = None if args.governor == "none" else args.governor
    return AsyncClient(args.transport, **options) if args.transport else AsyncClient(**options)


def _child(args: argparse.Namespace, barrier: Any, sender: Any) -> None:
    """Make the calls of one process."""
    try:
        sender.send(asyncio.run(_measured(args, barrier)))
    except KeyboardInterrupt:
        barrier.abort()
    except BaseException as error:
        barrier.abort()  # the others end, too
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        if not isinstance(error, (ClaudeError, OSError, RuntimeError)):
            raise
        say(str(error) or type(error).__name__)


async def _measured(args: argparse.Namespace, barrier: Any) -> Found:
    refused = 0

    def observe(event: str, fields: dict[str, Any]) -> None:
        nonlocal refused
        refused += event == "claude_lite.attempt" and fields.get("status") == REFUSED

    async with _client(args, observe=observe) as client:
        client.transport  # noqa: B018  # import it before the first call is measured
        governor = client.governor
        await asyncio.to_thread(barrier.wait, START)
        figures = Figures()
        await measure(
            client,
            params_of(args),
            figures,
            concurrency=args.concurrency,
            requests=None if args.seconds else args.requests,
            seconds=args.seconds,
            stream=not args.no_stream,
        )
        figures.take_time()
    # With `--governor none` there is no governor.
    states: list[Any] = getattr(governor, "snapshot", list)()
    return {
        **figures.to_dict(),
        "latencies": figures.latency,
        "refused": refused,
        "limits": states[0]["limits"] if states else {},
        "held_s": sum(state["held_s"] for state in states),
    }


def merged(found: list[Found]) -> Found:
    """Make one report of those of all processes.

    Args:
        found: What each process has measured.

    """
    answers = [one["succeeded"] for one in found]
    succeeded, refused = sum(answers), sum(one["refused"] for one in found)
    seconds = max(one["seconds"] for one in found)
    failed: dict[str, int] = {}
    for one in found:
        for name, number in one["failed"].items():
            failed[name] = failed.get(name, 0) + number
    totals = {name: sum(one[name] for one in found) for name in TOKENS} | {"requests": succeeded}
    limits: dict[str, int] = next((one["limits"] for one in found if one["limits"]), {})
    used = [totals[name] / seconds * 60 / limit for name, limit in limits.items()]
    latencies = [latency for one in found for latency in one["latencies"]]
    return {
        "processes": len(found),
        "succeeded": succeeded,
        "failed": failed,
        "seconds": seconds,
        "calls_per_second": round(succeeded / seconds, 2),
        "latency_ms": percentiles(latencies),
        "held_s": round(sum(one["held_s"] for one in found), 3),
        "refused": refused,
        "refused_share": round(refused / max(1, succeeded + refused), 5),
        "limits": limits,
        "use_of_the_limit": round(max(used), 4) if used else None,
        "jain": round(jain(answers), 4),
    }


def jain(numbers: list[int]) -> float:
    """Return Jain's index of fairness: 1 if all are equal, 1/n if one has all.

    Args:
        numbers: What each has got.

    """
    squares = sum(number * number for number in numbers)
    return sum(numbers) ** 2 / (len(numbers) * squares) if squares else 1.0
