"""Small checks of JSON values, with the error messages of the API.

A `Check` takes a value and its path. It raises a `Problem` (400) whose message begins with the
path: `messages.0.role: Field required`. Checks are built once and have no state.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

from claude_lite.emulator.reading.problems import fail

Check = Callable[[Any, str], None]


def anything(value: Any, path: str) -> None:
    """Accept every value."""


def string(value: Any, path: str) -> None:
    """Require a string."""
    if not isinstance(value, str):
        fail(path, "Input should be a valid string")


def filled(value: Any, path: str) -> None:
    """Require a string that is not empty."""
    string(value, path)
    if not value:
        fail(path, "String should have at least 1 character")


def boolean(value: Any, path: str) -> None:
    """Require true or false."""
    if not isinstance(value, bool):
        fail(path, "Input should be a valid boolean")


def mapping(value: Any, path: str) -> None:
    """Require an object."""
    if not isinstance(value, dict):
        fail(path, "Input should be a valid dictionary")


def integer(least: int) -> Check:
    """Require a whole number, *least* or more."""

    def check(value: Any, path: str) -> None:
        if not isinstance(value, int) or isinstance(value, bool):
            fail(path, "Input should be a valid integer")
        if value < least:
            fail(path, f"Input should be greater than or equal to {least}")

    return check


def number(least: float, most: float) -> Check:
    """Require a number from *least* to *most*."""

    def check(value: Any, path: str) -> None:
        if not isinstance(value, int | float) or isinstance(value, bool):
            fail(path, "Input should be a valid number")
        if not least <= value <= most:
            fail(path, f"Input should be between {least:g} and {most:g}")

    return check


def literal(*values: str) -> Check:
    """Require one of *values*."""
    words = [repr(value) for value in values]
    wanted = " or ".join([", ".join(words[:-1]), words[-1]] if words[1:] else words)

    def check(value: Any, path: str) -> None:
        if value not in values:
            fail(path, f"Input should be {wanted}")

    return check


def pattern(expression: str) -> Check:
    """Require a string that the regular expression matches."""
    compiled = re.compile(expression)

    def check(value: Any, path: str) -> None:
        string(value, path)
        if not compiled.match(value):
            fail(path, f"String should match pattern '{expression}'")

    return check


def nullable(inner: Check) -> Check:
    """Require null, or a value that *inner* accepts."""

    def check(value: Any, path: str) -> None:
        if value is not None:
            inner(value, path)

    return check


def string_or(other: Check) -> Check:
    """Require a string, or a value that *other* accepts."""

    def check(value: Any, path: str) -> None:
        if not isinstance(value, str):
            other(value, path)

    return check


def listing(inner: Check) -> Check:
    """Require a list of values that *inner* accepts."""

    def check(value: Any, path: str) -> None:
        if not isinstance(value, list):
            fail(path, "Input should be a valid list")
        for i, item in enumerate(value):
            inner(item, f"{path}.{i}")

    return check


def record(
    required: Mapping[str, Check],
    optional: Mapping[str, Check] | None = None,
    *,
    closed: bool = False,
) -> Check:
    """Require an object with these fields; *closed* refuses all other fields.

    An object that is not closed may have other fields, so that a new field of the API does not
    need a new emulator.
    """
    known = {**required, **(optional or {})}

    def check(value: Any, path: str) -> None:
        mapping(value, path)
        prefix = f"{path}." if path else ""
        for name in required:
            if name not in value:
                fail(prefix + name, "Field required")
        for name, inner in value.items():
            if name in known:
                known[name](inner, prefix + name)
            elif closed:
                fail(prefix + name, "Extra inputs are not permitted")

    return check


def tagged(kinds: Mapping[str, Check], *, tag: str = "type", path_has_tag: bool = False) -> Check:
    """Require an object whose field *tag* names one of *kinds*; check it as that kind."""
    names = ", ".join(repr(kind) for kind in kinds)

    def check(value: Any, path: str) -> None:
        mapping(value, path)
        if tag not in value:
            fail(f"{path}.{tag}", "Field required")
        kind = value[tag]
        if not isinstance(kind, str) or kind not in kinds:
            fail(
                path,
                f"Input tag '{kind}' found using '{tag}' does not match any of the expected"
                f" tags: {names}",
            )
        kinds[kind](value, f"{path}.{kind}" if path_has_tag else path)

    return check
