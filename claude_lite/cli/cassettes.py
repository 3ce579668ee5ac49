"""The command `claude-lite cassettes`: show, check, redact and convert recordings.

It can show recordings in `git diff`. In .gitconfig:

    [diff "claude"]
        textconv = claude-lite cassettes show

and in .gitattributes:

    tests/**/cassettes/**/*.json diff=claude

Recordings and their rules belong to `claude_lite_transports`, which is imported only when one of
these commands runs. None of them makes a request.
"""

import argparse
import json
import os
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from claude_lite.cli.terminal import CONTROLS, EXIT_DONE, EXIT_FAILED, KEY
from claude_lite.errors import UsageError
from claude_lite.wire import MASK

if TYPE_CHECKING:
    from claude_lite_transports.recording.cassette import Interaction
    from claude_lite_transports.recording.redaction import Redactor

RECORDING_KINDS: Final = ("cassette", "har", "vcr")
SUFFIXES: Final = {".har": "har", ".yaml": "vcr", ".yml": "vcr"}

_TEST: Final = re.compile(r"(?:.*\.)?(test\w*)")


def add_commands(commands: Any) -> None:
    """Add the command `cassettes` to the subparsers *commands*; each parser sets `command`."""
    made = commands.add_parser(
        "cassettes",
        help="show, check, redact and convert recordings",
        description="Show, check, redact and convert recordings.",
    )
    actions = made.add_subparsers(title="commands", metavar="COMMAND", required=True)
    add = actions.add_parser("show", help="print a recording as text, also for git diff")
    add.add_argument("files", metavar="FILE", type=Path, nargs="+")
    add.set_defaults(command=_show)
    add = actions.add_parser(
        "check",
        help="look for broken files, secrets, repeated answers, and files that no test uses",
        epilog="exit code: 0 fine, 1 something is wrong, 2 wrong usage",
    )
    add.add_argument("files", metavar="PATH", type=Path, nargs="+", help="files or directories")
    add.add_argument("--strict", action="store_true", help="fail for odd findings, too")
    add.set_defaults(command=_check)
    add = actions.add_parser(
        "redact",
        help="remove more secrets from recordings",
        description="Remove secrets from recordings: what looks like a key, and what you give. "
        "To replay them, give the recording transport the same secrets as redact=[...].",
    )
    add.add_argument("files", metavar="PATH", type=Path, nargs="+", help="files or directories")
    add.add_argument(
        "--env",
        metavar="NAME",
        action="append",
        default=[],
        help="environment variable that holds a secret",
    )
    add.add_argument("--text", metavar="TEXT", action="append", default=[], help="text to remove")
    add.add_argument("--header", metavar="NAME", action="append", default=[], help="header to drop")
    add.set_defaults(command=_redact)
    add = actions.add_parser(
        "convert",
        help="convert a recording to or from HAR 1.2 and vcrpy",
        description="Convert between a cassette, HAR 1.2, and the YAML or JSON of vcrpy. The "
        "format of IN is recognised. The format of OUT follows from its suffix (.har, .yaml, else "
        "a cassette).",
    )
    add.add_argument("source", metavar="IN", type=Path)
    add.add_argument("target", metavar="OUT", type=Path)
    add.add_argument("--to", choices=RECORDING_KINDS, help="the format of OUT")
    add.add_argument(
        "--base-url", metavar="URL", help="address before the paths (default: the API's)"
    )
    add.set_defaults(command=_convert)


def _show(args: argparse.Namespace) -> int:
    from claude_lite_transports.recording.cassette import load_cassette
    from claude_lite_transports.recording.listing import listed

    for path in args.files:
        items = load_cassette(_existing(path))
        _say("".join(f"{line}\n" for line in listed(items)))
    return EXIT_DONE


def _check(args: argparse.Namespace) -> int:
    wrong = odd = 0
    paths = list(_cassettes(args.files))
    for path in paths:
        for grave, text in findings(path):
            wrong, odd = wrong + grave, odd + (not grave)
            _say(f"{path}: {text}\n")
    _say(f"{len(paths)} checked, {wrong} wrong, {odd} odd\n")
    return EXIT_FAILED if wrong or (args.strict and odd) else EXIT_DONE


def _redact(args: argparse.Namespace) -> int:
    from claude_lite_transports.recording.cassette import cassette_text, load_cassette, replace_file
    from claude_lite_transports.recording.redaction import Redactor
    from claude_lite_transports.recording.review import cleaned, refuse_secrets

    for name in args.env:
        if not os.environ.get(name):
            raise UsageError(f"the environment has no variable {name}")
    redactor = Redactor([*args.text, *(os.environ[name] for name in args.env)])
    dropped = {name.lower() for name in args.header}
    loaded = {path: load_cassette(path) for path in _cassettes(args.files)}
    for items in loaded.values():
        _learn(items, redactor)
    for path, items in loaded.items():
        clean = [cleaned(item, redactor, dropped) for item in items]
        refuse_secrets(clean, redactor, path)
        if (text := cassette_text(clean)) != path.read_text(encoding="utf-8"):
            replace_file(path, text)
            _say(f"{path}: rewritten\n")
    return EXIT_DONE


def _learn(items: "Iterable[Interaction]", redactor: "Redactor") -> None:
    for item in items:
        redactor.learn_live(json.dumps(item.raw(), ensure_ascii=False).encode("utf-8", "replace"))
        redactor.learn_live(b"".join(item.chunks))


def _convert(args: argparse.Namespace) -> int:
    from claude_lite_transports.recording import har, vcr
    from claude_lite_transports.recording.cassette import cassette_text, replace_file
    from claude_lite_transports.recording.foreign import BASE_URL
    from claude_lite_transports.recording.redaction import Redactor
    from claude_lite_transports.recording.review import refuse_secrets

    redactor = Redactor()
    items = _read(_existing(args.source), redactor)
    refuse_secrets(items, redactor, args.target)
    kind = args.to or SUFFIXES.get(args.target.suffix.lower(), "cassette")
    base_url = args.base_url or BASE_URL
    if kind == "har":
        text = json.dumps(har.to_har(items, base_url), ensure_ascii=False, indent=2) + "\n"
    elif kind == "vcr":
        data = vcr.to_vcr(items, base_url)
        is_yaml = SUFFIXES.get(args.target.suffix.lower()) == "vcr"
        text = vcr.dump_yaml(data) if is_yaml else vcr.dump_json(data)
        if lost := len(items) - len(data["interactions"]):
            _say(f"left out {lost} failed requests: the format of vcrpy cannot hold them\n")
    else:
        text = cassette_text(items)
    replace_file(args.target, text)
    return EXIT_DONE


def _read(path: Path, redactor: "Redactor") -> "list[Interaction]":
    """Read a recording of any kind."""
    from claude_lite_transports.recording import har, vcr
    from claude_lite_transports.recording.cassette import load_cassette

    try:
        text = path.read_bytes().decode("utf-8-sig")
        data = vcr.load_yaml(text) if SUFFIXES.get(path.suffix) == "vcr" else json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path} is neither JSON nor YAML: {error}") from None
    if isinstance(data, dict) and "log" in data:
        return har.from_har(data, redactor)
    items: Any = data.get("interactions") if isinstance(data, dict) else None
    first: Any = items[0] if isinstance(items, list) and items else None
    request: Any = first.get("request") if isinstance(first, dict) else None
    if isinstance(request, dict) and "uri" in request:
        return vcr.from_vcr(data, redactor)
    return load_cassette(path)


def findings(path: Path) -> "Iterator[tuple[bool, str]]":
    """Yield what is wrong (True) or odd (False) about a recording, in words."""
    from claude_lite_transports.recording.cassette import load_cassette
    from claude_lite_transports.recording.redaction import Redactor
    from claude_lite_transports.recording.review import repeats_in, secrets_in

    try:
        items = load_cassette(path)
    except UsageError as error:
        yield True, error.message.removeprefix(f"{path} ")
        return
    for number, kind in secrets_in(items, Redactor()):
        yield True, f"interaction {number} has {kind}"
    if not items:
        yield False, "the recording is empty"
    for number, earlier in repeats_in(items):
        yield (
            False,
            f"interaction {number} repeats {earlier} (allow_repeats=True replays one for both)",
        )
    if missing := _unused_by(path):
        yield False, missing


def _unused_by(path: Path) -> str | None:
    """Name the test that is missing, for a recording in the place of the pytest plugin."""
    match = _TEST.match(path.stem)
    if path.parent.parent.name != "cassettes" or match is None:
        return None
    module = path.parent.parent.parent / f"{path.parent.name}.py"
    if not module.exists():
        return f"no test uses it: there is no {module}"
    if not re.search(rf"def {match[1]}\b", module.read_text(encoding="utf-8")):
        return f"no test uses it: there is no {match[1]} in {module}"
    return None


def _cassettes(paths: Iterable[Path]) -> Iterator[Path]:
    """Yield the files, and of each directory all JSON files that look like recordings."""
    for path in paths:
        if path.is_dir():
            yield from (p for p in sorted(path.rglob("*.json")) if b'"interactions"' in _head(p))
        else:
            yield _existing(path)


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(200)


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise UsageError(f"there is no file {path}")
    return path


def _say(text: str) -> None:
    sys.stdout.write(KEY.sub(MASK, text).translate(CONTROLS))
