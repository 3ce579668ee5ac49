"""The command `claude-lite run`: from a file of requests to a file of results, and a summary.

It opens files, shows progress and chooses the exit code; `claude_lite.bulk` does the work.
"""

import argparse
import asyncio
import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO, Final, Literal, Self

from attrs import define, field

from claude_lite import bulk
from claude_lite.bulk.requests_file import read_requests
from claude_lite.bulk.results_file import ResultsFile
from claude_lite.bulk.run import Item, Outcome, Tally
from claude_lite.cli.clients import async_client
from claude_lite.cli.progress import Display, display, summary
from claude_lite.cli.terminal import (
    EXIT_DONE,
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    discard_output,
    say,
)
from claude_lite.client.clients import AsyncClient
from claude_lite.core.json_text import dumps
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
    except BrokenPipeError:  # the reader of the results has closed its end
        discard_output()
        code = EXIT_FAILED
    except OSError as error:  # such as a full disk
        go_on = "" if args.output == STANDARD else ". To go on, use --resume"
        say(f"stopped: {error.strerror or error}{go_on}")
        if args.output == STANDARD:
            discard_output()
        code = EXIT_FAILED
    _summarise(tally, rest.skipped, args.output)
    return code or (EXIT_FAILED if tally.failed or tally.bad_lines else EXIT_DONE)


def _run_file(
    client: AsyncClient, args: argparse.Namespace, tally: Tally, rest: "_Rest", stack: ExitStack
) -> int:
    requests = stack.enter_context(_requests(args.requests))
    _keep_apart(args)
    if args.log_file is not None:
        _log_to(stack.enter_context(_opened(args.log_file, "ab")), stack)
    results = _results(args)
    stack.enter_context(results)
    total = _total(requests, results)
    shown = stack.enter_context(display(tally, total, sys.stderr))
    rest.items = read_requests(requests, stream=args.stream)
    rest.answered = results.answered
    rest.changed = lambda item: _report_change(item, args.output, tally, shown)

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
    answered: Mapping[str, str | None] = field(factory=dict)
    skipped: int = 0
    changed: Callable[[Item], object] = print

    def __iter__(self) -> Iterator[Item | Outcome]:
        for item in self.items:
            if not isinstance(item, Item) or item.custom_id not in self.answered:
                yield item
            elif self.answered[item.custom_id] in (None, item.request_hash):
                self.skipped += 1
            else:
                self.changed(item)


def _report_change(item: Item, output: Path, tally: Tally, shown: Display) -> None:
    """Report a request that is not the one which was answered; its answer stays."""
    tally.bad_lines += 1
    shown.complain(
        f"claude-lite: line {item.line}: the request {item.custom_id} is not the one that was"
        f" answered, and was not sent: give it another custom_id, or remove its line from {output}"
    )


STANDARD: Final = Path("-")


def _requests(path: Path) -> BinaryIO:
    """Open the requests. Standard input is copied first: reading it would stop the event loop."""
    if path != STANDARD:
        return _opened(path, "rb")
    if sys.stdin is None:
        raise UsageError("standard input is closed: name a file of requests")
    copy = tempfile.TemporaryFile()  # noqa: SIM115  # closed by the caller
    shutil.copyfileobj(sys.stdin.buffer, copy)
    copy.seek(0)
    return copy


class _StandardOutput:
    """Results on standard output: a line per request, and nothing to resume."""

    answered: Mapping[str, str | None] = {}

    def write(self, outcome: Outcome) -> None:
        """Write an outcome."""
        sys.stdout.buffer.write(dumps(outcome.to_dict()) + b"\n")
        sys.stdout.buffer.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        pass


def _opened(path: Path, mode: Literal["rb", "ab"]) -> BinaryIO:
    try:
        return path.open(mode)
    except OSError as error:
        what = "read" if mode == "rb" else "write"
        raise UsageError(f"cannot {what} {path}: {error.strerror}") from None


def _results(args: argparse.Namespace) -> "ResultsFile | _StandardOutput":
    path: Path = args.output
    if path == STANDARD:
        if args.resume or args.force:
            raise UsageError(
                "standard output has no earlier results: leave out --resume and --force"
            )
        return _StandardOutput()
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
    given = [path.resolve() for path in paths if path not in (None, STANDARD)]
    if len(set(given)) < len(given):
        raise UsageError("the files of requests, results, faults and logs have to differ")


def _total(file: BinaryIO, results: "ResultsFile | _StandardOutput") -> int | None:
    """About how many requests are to be made; None if *file* is not a file on disk."""
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):  # a pipe can be read only once
        return None
    last = b"\n"
    lines = 0
    while block := file.read(_BLOCK):
        lines += block.count(b"\n")
        last = block[-1:]
    file.seek(0)
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


def _summarise(tally: Tally, skipped: int, output: Path) -> None:
    from rich.console import Console  # slow to import

    Console(stderr=output == STANDARD).print(summary(tally, skipped))
