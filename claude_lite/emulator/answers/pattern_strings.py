"""Make a short string that a regular expression matches, for the `pattern` of a JSON schema.

`matching` walks the parsed expression and takes the first alternative of every choice. It does
not support look-around and back references. The string is tried against the expression before
it is returned.
"""

import importlib
import re
import string
from typing import Any, Final

CANDIDATES: Final = string.ascii_lowercase + string.digits + string.ascii_uppercase + " -_./:@"


def matching(pattern: str) -> str | None:
    """Return a string that *pattern* matches; None if none was found."""
    parser: Any = importlib.import_module(
        "re._parser"
    )  # private, but the only parser of patterns in Python
    try:
        made = _spell(parser.parse(pattern))
    except (re.error, RecursionError):
        return None
    return made if re.search(pattern, made) else None


def _spell(parsed: Any) -> str:
    return "".join(_spell_one(str(kind), argument) for kind, argument in parsed)


def _spell_one(kind: str, argument: Any) -> str:  # noqa: PLR0911  # one per kind
    match kind:
        case "LITERAL":
            return chr(argument)
        case "NOT_LITERAL":
            return next(c for c in CANDIDATES if ord(c) != argument)
        case "ANY":
            return CANDIDATES[0]
        case "IN":
            return next((c for c in CANDIDATES if _is_in(argument, c)), _first(argument))
        case "MAX_REPEAT" | "MIN_REPEAT" | "POSSESSIVE_REPEAT":
            least, _, inner = argument
            return _spell(inner) * int(least)
        case "SUBPATTERN":
            return _spell(argument[-1])
        case "BRANCH":
            return _spell(argument[1][0])
        case _:  # anchors and similar kinds match no characters
            return ""


def _is_in(members: Any, char: str) -> bool:
    kinds = [(str(kind), argument) for kind, argument in members]
    negated = kinds[0][0] == "NEGATE"
    return negated != any(_is_member(kind, argument, char) for kind, argument in kinds)


def _is_member(kind: str, argument: Any, char: str) -> bool:
    match kind:
        case "LITERAL":
            return bool(ord(char) == argument)
        case "RANGE":
            return bool(argument[0] <= ord(char) <= argument[1])
        case "CATEGORY":
            letter = {"DIGIT": r"\d", "SPACE": r"\s", "WORD": r"\w"}[str(argument).split("_")[-1]]
            return bool(re.match(letter, char)) != ("_NOT_" in str(argument))
        case _:
            return False


def _first(members: Any) -> str:
    kind, argument = members[0]
    return chr(argument[0] if str(kind) == "RANGE" else argument) if argument else ""
