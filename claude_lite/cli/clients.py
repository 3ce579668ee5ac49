"""The client of a command: a client of the API, or of an emulator in this process."""

import json
from typing import TYPE_CHECKING, Any, Final

from claude_lite.client.clients import AsyncClient, Client
from claude_lite.errors import UsageError

if TYPE_CHECKING:
    import argparse
    from pathlib import Path

    from claude_lite.emulator import Emulator

EMULATED: Final[dict[str, Any]] = {"api_key": "emulator", "base_url": "http://emulator"}


def sync_client(args: "argparse.Namespace") -> Client:
    """Make the client for a command without an event loop; raises `UsageError`."""
    if not needs_emulator(args):
        return Client()
    from claude_lite_transports.emulator import (  # only for --emulator
        EmulatorTransport,
    )

    return Client(EmulatorTransport(make_emulator(args.seed)), **EMULATED)


def async_client(args: "argparse.Namespace") -> AsyncClient:
    """Make the client for a command with an event loop; raises `UsageError`."""
    if not needs_emulator(args):
        return AsyncClient()
    from claude_lite_transports.emulator import (  # only for --emulator
        AsyncEmulatorTransport,
    )

    return AsyncClient(AsyncEmulatorTransport(make_emulator(args.seed, args.faults)), **EMULATED)


def needs_emulator(args: "argparse.Namespace") -> bool:
    """Whether to use the emulator; raises `UsageError` for its options without --emulator."""
    for name in ("faults", "seed"):
        if getattr(args, name, None) is not None and not args.emulator:
            raise UsageError(f"--{name} is for the emulator: add --emulator")
    return bool(args.emulator)


def make_emulator(seed: int | None, faults: "Path | None" = None, **options: Any) -> "Emulator":
    """Make an emulator.

    Args:
        seed: The seed of ids, filler and faults; None is 0.
        faults: A JSON file with a list of faults.
        options: More arguments of `Emulator`.

    Raises:
        UsageError: The file cannot be read, or has no valid list of faults.

    """
    from claude_lite.emulator import Emulator  # only for --emulator

    rules = None
    if faults is not None:
        try:
            rules = json.loads(faults.read_bytes())
        except OSError as error:
            raise UsageError(f"cannot read {faults}: {error.strerror}") from None
        except ValueError as error:
            raise UsageError(f"{faults} is not JSON: {error}") from None
        if not isinstance(rules, list):
            raise UsageError(
                f"{faults} has to be a JSON list of faults, not {type(rules).__name__}"
            )
    try:
        return Emulator(seed or 0, faults=rules, **options)
    except UsageError as error:
        raise error.update(message=f"{faults}: {error.message}") from None
