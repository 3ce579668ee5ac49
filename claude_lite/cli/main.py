"""The command `claude-lite`: run a file of requests, send one prompt, serve the emulator.

The command uses the library as any program does. Only the command configures logging. What a
subcommand needs is imported when the subcommand runs. Exit codes: 0 done, 1 failed, 2 wrong
usage, 130 interrupted. Keys come from the environment only, and no credential is printed.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NoReturn

from claude_lite.cli import cassettes
from claude_lite.cli.arguments import count, limits, port, seconds
from claude_lite.cli.clients import make_emulator, sync_client
from claude_lite.cli.terminal import (
    EXIT_DONE,
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    EXIT_MISUSED,
    discard_output,
    escape_unwritable,
    explained,
    is_open,
    log_line,
    presentable,
    say,
    show,
)
from claude_lite.core.targets import __version__
from claude_lite.errors import ClaudeError, UsageError

DEFAULT_MODEL: Final = "claude-sonnet-5-5"
DEFAULT_MAX_TOKENS: Final = 4096


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code.

    Args:
        argv: The arguments; None takes those of the process.

    """
    escape_unwritable()
    args = parser().parse_args(argv)
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115  # to the end
    if sys.stdout is None:
        if args.command is not _run or str(args.output) == "-":
            say("standard output is closed: nothing was sent")
            return EXIT_FAILED
        sys.stdout = sys.stderr  # only the summary goes there
    try:
        return int(args.command(args))
    except UsageError as error:
        say(error.message + (f". {error.advice}" if error.advice else ""))
        return EXIT_MISUSED
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:  # the reader of our output has closed it
        discard_output()
        return EXIT_FAILED
    except OSError as error:  # such as a full disk
        say(f"standard output cannot be written: {error.strerror or error}")
        discard_output()
        return EXIT_FAILED


class _Parser(argparse.ArgumentParser):
    """A parser, also of subcommands, whose errors show no key and do not steer the terminal."""

    def error(self, message: str) -> NoReturn:
        super().error(presentable(message))


def parser() -> argparse.ArgumentParser:
    """Make the parser of the command line."""
    made = _Parser(
        prog="claude-lite",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Call the Claude API from the command line.",
        epilog="""\
environment:
  ANTHROPIC_API_KEY   your API key (or ANTHROPIC_AUTH_TOKEN, a bearer token);
                      not needed with --emulator
  ANTHROPIC_BASE_URL  another server instead of https://api.anthropic.com

try it without a key:
  claude-lite message "Hello" --emulator
  claude-lite run examples/requests.jsonl -o results.jsonl --emulator

"claude-lite COMMAND --help" explains a command.""",
    )
    made.add_argument("--version", action="version", version=f"claude-lite {__version__}")
    commands = made.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_run(commands)
    _add_message(commands)
    _add_serve(commands)
    _add_bench(commands)
    cassettes.add_commands(commands)
    return made


def _add_run(commands: Any) -> None:
    add = commands.add_parser(
        "run",
        help="send a file of requests, and write each answer to a file",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="""\
Send a file of requests, many at a time, and write each answer when it ends.

REQUESTS is JSON Lines as in the Batches API; params has the fields of a
message:
  {"custom_id": "q1", "params": {"model": "claude-sonnet-5-5",
   "max_tokens": 1024, "messages": [{"role": "user", "content": "Hello"}]}}

RESULTS gets a line per request, in the order in which the requests end:
custom_id, result (type "succeeded" with the message, or "errored" with the
error), request_id, attempts, usage, elapsed_ms, the line of the request, and
request_hash, a name of the request. With --resume a request that is not the
one that was answered under its custom_id is reported, and not sent.

"-" is standard input (read to its end first) and standard output.
Bad lines are reported and do not stop the other requests. After a rate limit
the command waits, and it retries other failures that pass.

Stop with Ctrl-C, and go on with --resume: no answer is requested twice.""",
        epilog="exit code: 0 all answered, 1 some failed, 2 wrong usage, 130 interrupted",
    )
    add.set_defaults(command=_run)
    add.add_argument("requests", metavar="REQUESTS", type=Path, help='file of requests, or "-"')
    add.add_argument(
        "-o",
        "--output",
        metavar="RESULTS",
        type=Path,
        required=True,
        help='file of results, or "-"',
    )
    add.add_argument(
        "--concurrency",
        type=count,
        default=32,
        metavar="N",
        help="requests at a time (default: 32)",
    )
    add.add_argument(
        "--attempts",
        type=count,
        metavar="N",
        help="attempts per request; refusals of the rate limit do not count (default: 3)",
    )
    add.add_argument(
        "--deadline",
        type=seconds,
        metavar="S",
        help="seconds per request, including retries and waits (default: 3600)",
    )
    add.add_argument("--stream", action="store_true", help="stream every answer")
    exists = add.add_mutually_exclusive_group()
    exists.add_argument("--resume", action="store_true", help="add the missing results to RESULTS")
    exists.add_argument("--force", action="store_true", help="replace RESULTS if it exists")
    add.add_argument(
        "--log-file", type=Path, metavar="F", help="append a JSON line for each attempt and call"
    )
    _add_emulator(add)
    add.add_argument(
        "--faults", type=Path, metavar="F", help="JSON file of faults that the emulator injects"
    )


def _add_message(commands: Any) -> None:
    add = commands.add_parser(
        "message",
        help="send one prompt, and stream the answer to the terminal",
        description="Send one prompt, and stream the answer to the terminal.",
        epilog="exit code: 0 answered, 1 failed, 2 wrong usage, 130 interrupted",
    )
    add.set_defaults(command=_message)
    add.add_argument("prompt", metavar="PROMPT", help='the prompt; "-" reads standard input')
    add.add_argument("--model", default=DEFAULT_MODEL, help=f"default: {DEFAULT_MODEL}")
    add.add_argument(
        "--max-tokens",
        type=count,
        default=DEFAULT_MAX_TOKENS,
        metavar="N",
        help=f"the longest answer, in tokens (default: {DEFAULT_MAX_TOKENS})",
    )
    add.add_argument("--system", metavar="TEXT", help="system prompt")
    add.add_argument(
        "-v", "--verbose", action="store_true", help="print usage and request id to standard error"
    )
    _add_emulator(add)


def _add_serve(commands: Any) -> None:
    add = commands.add_parser(
        "serve",
        help="serve the emulator of the API on a port",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="""\
Serve the emulator of the API on a port, until Ctrl-C. Each request is a line
on standard error: method, path, status, milliseconds, request id.""",
        epilog="""\
Any client of the API can use it; without --api-key, with any key. On
127.0.0.1 it answers requests to names of this machine only: a request whose
Host is another name needs --host 0.0.0.0, for example.

a limit that is soon reached, and answers at the pace of a model:
  claude-lite serve --limits requests=50,input_tokens=30000 --bucket 1 \\
    --tokens-per-second 80""",
    )
    add.set_defaults(command=_serve)
    add.add_argument("--port", type=port, default=8080, help="0 picks a free port (default: 8080)")
    add.add_argument("--host", default="127.0.0.1", help="default: 127.0.0.1, this machine only")
    add.add_argument("--faults", type=Path, metavar="F", help="JSON file of faults to inject")
    add.add_argument(
        "--seed", type=int, default=0, help="seed of ids, filler text and faults (default: 0)"
    )
    add.add_argument(
        "--latency", type=seconds, default=0.0, metavar="S", help="seconds before each answer"
    )
    add.add_argument(
        "--limits",
        type=limits,
        metavar="L",
        help="rate limits per minute and model: requests=N,input_tokens=N,output_tokens=N",
    )
    add.add_argument(
        "--bucket",
        type=seconds,
        metavar="S",
        help="seconds of a limit that can be used at once (default: 60)",
    )
    add.add_argument(
        "--tokens-per-second", type=seconds, metavar="N", help="pace of answers (default: at once)"
    )
    add.add_argument(
        "--api-key",
        action="append",
        metavar="KEY",
        help="accept this key and no other; may be repeated (default: any key is accepted)",
    )
    add.add_argument("--quiet", action="store_true", help="do not log requests")


def _add_bench(commands: Any) -> None:
    add = commands.add_parser(
        "bench",
        help="measure an endpoint: throughput, latency, time to first token",
        description="Measure an endpoint: throughput, latency, time to first token, tokens per "
        "second. Failures are counted, not repeated. The calls are billed; calls with --emulator "
        "are free.",
        epilog="exit code: 0 done, 1 no call succeeded, 2 wrong usage, 130 interrupted",
    )
    add.set_defaults(command=_bench)
    add.add_argument(
        "--concurrency", type=count, default=32, metavar="N", help="calls at a time (default: 32)"
    )
    length = add.add_mutually_exclusive_group()
    length.add_argument(
        "--requests", type=count, default=200, metavar="N", help="number of calls (default: 200)"
    )
    length.add_argument(
        "--seconds", type=seconds, metavar="S", help="make calls for S seconds instead"
    )
    add.add_argument("--model", default=DEFAULT_MODEL, help=f"default: {DEFAULT_MODEL}")
    add.add_argument(
        "--max-tokens",
        type=count,
        default=256,
        metavar="N",
        help="the longest answer, in tokens (default: 256)",
    )
    add.add_argument("--prompt", default="Count from one to fifty, in words.", help="the prompt")
    add.add_argument("--no-stream", action="store_true", help="do not stream the answers")
    add.add_argument(
        "--transport", metavar="NAME", help="transport of the client (default: aiohttp)"
    )
    add.add_argument(
        "--processes",
        type=count,
        metavar="N",
        help="as many processes that do this: how well do they share a rate limit? Failures are "
        "tried again; --requests and --concurrency are those of each process",
    )
    add.add_argument(
        "--governor",
        metavar="NAME",
        help="with --processes: local, none, or redis://host (default: CLAUDE_LITE_GOVERNOR, "
        "or local)",
    )
    add.add_argument("-o", "--output", type=Path, metavar="F", help="write the report as JSON")
    _add_emulator(add)
    add.add_argument(
        "--faults", type=Path, metavar="F", help="JSON file of faults that the emulator injects"
    )


def _add_emulator(add: argparse.ArgumentParser) -> None:
    add.add_argument(
        "--emulator", action="store_true", help="use the built-in emulator: no key, no network"
    )
    add.add_argument("--seed", type=int, metavar="N", help="seed of the emulator (default: 0)")


def _run(args: argparse.Namespace) -> int:
    from claude_lite.cli.run import run_command  # it imports asyncio

    return run_command(args)


def _bench(args: argparse.Namespace) -> int:
    if args.processes is not None:
        from claude_lite.cli.fleet import bench_processes  # it imports asyncio

        return bench_processes(args)
    from claude_lite.cli.bench import bench_command  # it imports asyncio

    return bench_command(args)


def _message(args: argparse.Namespace) -> int:
    prompt = _standard_input() if args.prompt == "-" else args.prompt
    if not prompt.strip():
        raise UsageError("the prompt is empty: write what to ask")
    asked = sync_client(args)
    written = ""
    try:
        with (
            asked,
            asked.messages.stream(
                model=args.model,
                max_tokens=args.max_tokens,
                messages=[{"role": "user", "content": prompt}],
                system=args.system,
            ) as stream,
        ):
            for text in stream.text_stream:
                written = show(text) or written
            message = stream.final_message()
    except ClaudeError as error:
        say(explained(error), newline=is_open(written))
        return EXIT_FAILED
    except KeyboardInterrupt:
        say("interrupted", newline=is_open(written))
        return EXIT_INTERRUPTED
    show("\n" if is_open(written) else "")
    if message.stop_reason != "end_turn":
        say(f"the answer ended with stop_reason {message.stop_reason}")
    if args.verbose:
        usage = message.usage
        say(
            f"{message.model}, {usage.total_input_tokens} tokens in, {usage.output_tokens} out, "
            f"{stream.attempts} attempt(s), request id {message.request_id}"
        )
    return EXIT_DONE


def _standard_input() -> str:
    if sys.stdin is None:
        raise UsageError("standard input is closed: give the prompt as an argument")
    try:
        return sys.stdin.read()
    except UnicodeDecodeError as error:
        raise UsageError(f"standard input is not {error.encoding}: {error.reason}") from None


def _serve(args: argparse.Namespace) -> int:
    from claude_lite.emulator.serving import server  # it imports asyncio

    def announce(url: str) -> None:
        show("The emulator is running; stop it with Ctrl-C. To use it:\n")
        key = "..." if args.api_key else "any"
        show(f"  export ANTHROPIC_BASE_URL={url} ANTHROPIC_API_KEY={key}\n")

    limits = {**(args.limits or {}), **({"bucket": args.bucket} if args.bucket else {})}
    made = make_emulator(
        args.seed,
        args.faults,
        latency=args.latency,
        limits=limits,
        tokens_per_second=args.tokens_per_second,
        api_keys=args.api_key,
    )
    log = None if args.quiet else log_line
    try:
        server.run_server(made, args.host, args.port, announce=announce, log=log)
    except OSError as error:
        say(f"cannot listen on {args.host}:{args.port}: {error.strerror or error}")
        return EXIT_FAILED
    return EXIT_DONE
