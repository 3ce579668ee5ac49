"""The command `claude-lite run`: from a file of requests to a file of results, and a summary.

It opens files, shows progress and chooses the exit code; `claude_lite.bulk` does the work.
"""

import argparse
import asyncio
import sys
from collections.abc import Container, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO, Final, Literal

from attrs import define

from claude_lite import bulk
from claude_lite.bulk.requests_file import read_requests
from claude_lite.bulk.results_file import ResultsFile
from claude_lite.bulk.run import RATE_LIMITED, Item, Outcome, Tally
from claude_lite.cli.clients import async_client
from claude_lite.cli.progress import display, summary
from claude_lite.cli.terminal import EXIT_DONE, EXIT_FAILED, EXIT_INTERRUPTED, say
from claude_lite.client.clients import AsyncClient
from claude_lite.core.retry import standard
from claude_lite.errors import UsageError

_BLOCK: Final = 1 << 20


def run_command(args: argparse.Namespace) -> int:
    """Run the command; return its exit code. Raises `UsageError`."""
    client = _configured(async_client(args), args)
    tally = Tally()
    rest = _Rest()
    try:
        with ExitStack() as stack:
            code = _run_file(client, args, tally, rest, stack)
    except OSError as error:  # such as a full disk
        say(f"stopped: {error.strerror or error}. To go on, use --resume")
        code = EXIT_FAILED
    _summarise(tally, rest.skipped)
    return code or (EXIT_FAILED if tally.failed or tally.bad_lines else EXIT_DONE)


def _run_file(
    client: AsyncClient, args: argparse.Namespace, tally: Tally, rest: "_Rest", stack: ExitStack
) -> int:
    requests = stack.enter_context(_opened(args.requests, "rb"))
    _keep_apart(args)
    if args.log_file is not None:
        _log_to(stack.enter_context(_opened(args.log_file, "ab")), stack)
    results = stack.enter_context(_results(args))
    shown = stack.enter_context(display(tally, _total(args.requests, results), sys.stderr))
    rest.items = read_requests(requests, stream=args.stream)
    rest.answered = results.answered

    def finished(outcome: Outcome) -> None:
        results.write(outcome)
        if isinstance(outcome.result, UsageError):
            shown.complain(f"claude-lite: {outcome.result.message}")
        shown.update()

    async def ask() -> None:
        async with client.with_options(observe=lambda _event, _fields: shown.update()) as asked:
            await bulk.run(
                asked,
                rest,
                finished,
                concurrency=args.concurrency,
                rate_limited=args.attempts or RATE_LIMITED,
                started=None if args.log_file is None else _name_in_logs,
                tally=tally,
            )

    try:
        asyncio.run(ask())
    except KeyboardInterrupt:
        shown.complain("claude-lite: interrupted. To go on, use --resume")
        return EXIT_INTERRUPTED
    return EXIT_DONE


def _configured(client: AsyncClient, args: argparse.Namespace) -> AsyncClient:
    changes: dict[str, Any] = {}
    if args.attempts is not None:
        changes["retry"] = standard(attempts=args.attempts)
    if args.deadline is not None:
        changes["deadline"] = args.deadline
    client = client.with_options(**changes)
    client.config.target  # noqa: B018  # report a missing key once, before the first request
    return client


@define
class _Rest:
    """The requests that have no answer yet."""

    items: Iterable[Item | Outcome] = ()
    answered: Container[str] = ()
    skipped: int = 0

    def __iter__(self) -> Iterator[Item | Outcome]:
        for item in self.items:
            if isinstance(item, Item) and item.custom_id in self.answered:
                self.skipped += 1
            else:
                yield item


def _opened(path: Path, mode: Literal["rb", "ab"]) -> BinaryIO:
    try:
        return path.open(mode)
    except OSError as error:
        what = "read" if mode == "rb" else "write"
        raise UsageError(f"cannot {what} {path}: {error.strerror}") from None


def _results(args: argparse.Namespace) -> ResultsFile:
    path: Path = args.output
    try:
        return ResultsFile(path, "replace" if args.force else "resume" if args.resume else "new")
    except FileExistsError:
        raise UsageError(
            f"{path} exists: use --resume to add missing results, or --force to replace the file"
        ) from None
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}") from None


def _keep_apart(args: argparse.Namespace) -> None:
    """Refuse to read and write, or to write twice, the same file."""
    paths = [args.requests, args.output, args.faults, args.log_file]
    given = [path.resolve() for path in paths if path is not None]
    if len(set(given)) < len(given):
        raise UsageError("the files of requests, results, faults and logs have to differ")


def _total(path: Path, results: ResultsFile) -> int | None:
    """About how many requests are to be made; None if *path* is not a file on disk."""
    if not path.is_file():  # a pipe can be read only once
        return None
    last = b"\n"
    lines = 0
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            lines += block.count(b"\n")
            last = block[-1:]
    return max(0, lines + (last != b"\n") - len(results.answered))


def _log_to(file: BinaryIO, stack: ExitStack) -> None:
    """Make structlog write JSON lines to *file*, until *stack* is closed."""
    import orjson  # only for --log-file
    import structlog  # slow to import, and only for --log-file

    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(serializer=orjson.dumps),
        ],
        logger_factory=structlog.BytesLoggerFactory(file),
    )
    stack.callback(structlog.reset_defaults)


def _name_in_logs(item: Item) -> None:
    """Add the `custom_id` of the request to what this task logs from now on."""
    import structlog  # `_log_to` has imported it

    structlog.contextvars.bind_contextvars(custom_id=item.custom_id)


def _summarise(tally: Tally, skipped: int) -> None:
    from rich.console import Console  # slow to import

    Console().print(summary(tally, skipped))
