"""Credentials: hide them in reprs and pickles, put them into headers, and mask them in texts.

An error of this module shows the name of the option or header, and never the value.
"""

import os
import re
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

from claude_lite.errors import ClaudeError, UsageError
from claude_lite.given.refusals import LIVE
from claude_lite.wire import MASK, Masked, MaskedStr, is_secret_header

__all__ = ["Secret"]

SHORTEST_SECRET: Final = 8

FRAMING_HEADERS: Final = frozenset(
    {"content-length", "expect", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"}
)
"""Headers that only a transport may set: they say where a request ends, and what follows it."""


_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_UNSAFE: Final = re.compile(r"[^\t -~\x80-\xff]")
_CREDENTIAL: Final = re.compile(r"[!-~]+")


class Secret(Masked):
    """A hidden value: a repr shows a mask, a pickle holds None, JSON raises an error.

    Args:
        value: The value, such as an API key.

    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        if not isinstance(value, str):
            raise (value := wrong_type("a Secret", "made of a str", value))
        self._value = MaskedStr(value)

    def reveal(self) -> MaskedStr:
        """Return the value as text. The repr and the pickle of the text are masked."""
        return self._value

    def __repr__(self) -> str:
        return f"Secret('{MASK}')"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __reduce_ex__(self, protocol: object, /) -> tuple[Any, ...]:
        return _unpickle_as_none, ()


def _unpickle_as_none() -> None:
    """Return None for a pickled secret: a client without a credential reads the environment."""


Credential = str | Secret | Callable[[], Any] | None


def wrong_type(name: str, wanted: str, value: object) -> UsageError:
    """Return the error for an option of a wrong type. The error does not show the value."""
    return UsageError(f"{name} has to be {wanted}, not {type(value).__name__}")


def misplaced(name: str) -> UsageError:
    """Return the error for a credential that is given as the option *name*."""
    return UsageError(f"{name} looks like a credential: give a key to the client as api_key=...")


def mask_headers(headers: Any) -> dict[str, Any]:
    """Return a copy of *headers* with lower-case names. Each secret value is a `MaskedStr`.

    A value is secret by its name, or if it looks like a credential: "Bearer ...", or text with a
    key in it, such as a gateway's configuration. In place of a value of a wrong type there is an
    error, which `header_value` raises.
    """
    if not isinstance(headers, Mapping):
        return {"": wrong_type("headers", "a dict", headers)}
    return {_lower(name): _masked_value(name, value) for name, value in headers.items()}


def _lower(name: Any) -> str:
    return MaskedStr(name).lower() if LIVE.search(str(name)) else str(name).lower()


def _masked_value(name: Any, value: Any) -> Any:
    if not isinstance(name, str):
        return wrong_type("the name of a header", "a str", name)
    if not isinstance(value, str | int | float | UsageError | None):
        return wrong_type(f"the header {name!r}", "a str", value)
    is_secret = is_secret_header(name) or (isinstance(value, str) and LIVE.search(value))
    return MaskedStr(value) if isinstance(value, str) and is_secret else value


def header_value(name: str, value: object) -> str:
    """Check the header *name*, and return *value* as text.

    Raises:
        UsageError: The name has other characters than HTTP allows, or the value has a line break,
            another control character, or characters outside Latin-1.

    """
    if isinstance(value, UsageError):
        raise value
    text = value if isinstance(value, str) else str(value)
    if not _TOKEN.fullmatch(name):
        raise UsageError(
            f"{name!r} cannot be the name of a header: use letters, digits and hyphens"
        )
    if wrong := _UNSAFE.search(text):
        kind = "characters outside Latin-1" if wrong[0] > "\xff" else "a line break or the like"
        raise UsageError(f"the value of header {name!r} has {kind}: remove it")
    return text


def bearer(token: MaskedStr) -> dict[str, str]:
    """Return the header that holds *token*."""
    return {"authorization": MaskedStr(f"Bearer {checked_credential('auth_token', token)}")}


def words_to_mask(value: str) -> list[MaskedStr]:
    """Return the words of a credential that must be masked.

    A server may repeat a key that is within other text, such as JSON, and escape the text. Words
    under 8 characters stay: masking short words would hide ordinary text.
    """
    words = dict.fromkeys((*value.split(), *LIVE.findall(value)))
    return [MaskedStr(word) for word in words if len(word) >= SHORTEST_SECRET]


def from_environment(name: str) -> MaskedStr | None:
    """Return the environment variable *name*; None if the variable is missing or empty."""
    return MaskedStr(os.environ[name]) if os.environ.get(name) else None


def checked_credential(name: str, value: object) -> MaskedStr:
    """Return a credential without the spaces around it.

    Raises:
        UsageError: *value* is not a valid credential. The message shows *name*, never *value*.

    """
    value = MaskedStr(value.strip()) if isinstance(value, str) else wrong_type(name, "a str", value)
    if isinstance(value, UsageError):
        raise value
    if not _CREDENTIAL.fullmatch(value):
        fault = "has a space or a character outside printable ASCII" if value else "is empty"
        raise UsageError(f"{name} {fault}: copy the credential again")
    return value


def mask_error(error: ClaudeError, secrets: Collection[str]) -> None:
    """Mask *secrets* in the fields of *error*: a server may repeat a credential in its reply."""
    error.__context__ = None  # may be the error of a JSON parser, which holds the whole reply
    if not secrets:
        return
    fields = {name: getattr(error, name) for name in error.FIELDS}
    masked_fields = mask_words(fields, secrets)
    if masked_fields != fields:
        error.update(**masked_fields)


def mask_words(value: Any, secrets: Collection[str]) -> Any:
    """Return *value* (texts, dicts, lists, other scalars) with each secret masked.

    Parts without a secret are not copied: the message so far may be large.
    """
    if isinstance(value, dict):
        masked: Any = {mask_words(k, secrets): mask_words(v, secrets) for k, v in value.items()}
        return value if masked == value else masked
    if isinstance(value, list):
        masked = [mask_words(item, secrets) for item in value]
        return value if masked == value else masked
    for secret in secrets if isinstance(value, str) else ():
        value = value.replace(secret, MASK)
    return value
