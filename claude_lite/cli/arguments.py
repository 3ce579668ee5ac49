"""The types of arguments of the command: each reads a text, or says what it has to be."""

import argparse
import math
from typing import Final

LAST_PORT: Final = 65535
LIMITS: Final = ("requests", "input_tokens", "output_tokens")


def count(text: str) -> int:
    """Read a whole number, 1 or more."""
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"has to be a whole number, 1 or more, not {text!r}")
    return value


def seconds(text: str) -> float:
    """Read a number above 0."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not (0 < value < math.inf):
        raise argparse.ArgumentTypeError(f"has to be a number above 0, not {text!r}")
    return value


def limits(text: str) -> dict[str, int]:
    """Read rate limits, such as `requests=50,input_tokens=30000`."""
    found = {}
    for part in text.split(","):
        name, _, number = part.partition("=")
        if name.strip() not in LIMITS:
            raise argparse.ArgumentTypeError(f"has to be of {', '.join(LIMITS)}, not {name!r}")
        found[name.strip()] = count(number)
    return found


def port(text: str) -> int:
    """Read a port."""
    try:
        value = int(text)
    except ValueError:
        value = -1
    if not 0 <= value <= LAST_PORT:
        raise argparse.ArgumentTypeError(f"has to be a port from 0 to 65535, not {text!r}")
    return value
