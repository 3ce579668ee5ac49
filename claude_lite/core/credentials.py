"""Credentials: hide them in reprs and pickles, put them into headers, and mask them in texts.

An error of this module shows the name of the option or header, and never the value.
"""

import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from claude_lite.errors import ClaudeError, UsageError
from claude_lite.wire import MASK, MaskedStr, is_secret_header

__all__ = ["Secret"]

SHORTEST_SECRET: Final = 8


class Secret:
    """A hidden value: a repr shows a mask, a pickle holds None, JSON raises an error.

    Args:
        value: The value, such as an API key.

    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
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

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpickle_as_none, ()

    def __copy__(self) -> "Secret":
        return self

    def __deepcopy__(self, memo: object) -> "Secret":
        return self


def _unpickle_as_none() -> None:
    """Return None for a pickled secret: a client without a credential reads the environment."""


Credential = str | Secret | Callable[[], Any] | None


def to_secret(value: Credential) -> "Secret | Callable[[], Any] | None":
    """Convert text to a `Secret`; return any other value unchanged."""
    return Secret(value) if isinstance(value, str) else value


def hide_credentials(options: dict[str, Any]) -> None:
    """Replace the credentials in *options* by masked values: tracebacks may show *options*."""
    for name in ("api_key", "auth_token"):
        if name in options:
            options[name] = to_secret(options[name])
    if options.get("headers"):
        options["headers"] = mask_headers(options["headers"])


def mask_headers(headers: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of *headers* with lower-case names. Each secret value is a `MaskedStr`."""
    return {
        name.lower(): MaskedStr(value) if is_secret_header(name) and value else value
        for name, value in headers.items()
    }


def header_value(name: str, value: object) -> str:
    """Check the header *name*, and return *value* as text.

    Raises:
        UsageError: The name has other characters than HTTP allows, or the value has a line break,
            another control character, or characters outside Latin-1.

    """
    text = value if isinstance(value, str) else str(value)
    if not name or any(c <= " " or c in ':"(),/;<=>?@[\\]{}\x7f' or c > "~" for c in name):
        raise UsageError(
            f"{name!r} cannot be the name of a header: use letters, digits and hyphens"
        )
    if any((c < " " and c != "\t") or c == "\x7f" for c in text):
        raise UsageError(
            f"the value of header {name!r} has a line break or control character: remove it"
        )
    try:
        text.encode("latin-1")
    except UnicodeEncodeError:
        raise UsageError(
            f"the value of header {name!r} has characters outside Latin-1: remove them"
        ) from None
    return text


def bearer(token: MaskedStr) -> dict[str, str]:
    """Return the header that holds *token*."""
    return {"authorization": MaskedStr(f"Bearer {checked_credential('auth_token', token)}")}


def words_to_mask(value: str) -> list[MaskedStr]:
    """Return the words of a credential that must be masked.

    Words under 8 characters stay: masking short words would hide ordinary text.
    """
    return [MaskedStr(word) for word in value.split() if len(word) >= SHORTEST_SECRET]


def from_environment(name: str) -> MaskedStr | None:
    """Return the environment variable *name*; None if the variable is missing or empty."""
    return MaskedStr(os.environ[name]) if os.environ.get(name) else None


def checked_credential(name: str, value: object) -> MaskedStr:
    """Return a credential without the spaces around it.

    Raises:
        UsageError: *value* is not a valid credential. The message shows *name*, never *value*.

    """
    if not isinstance(value, str):
        raise UsageError(f"{name} has to be a str, not {type(value).__name__}")
    value = MaskedStr(value.strip())
    if not value or any(not "!" <= c <= "~" for c in value):
        fault = "has a space or a character outside printable ASCII" if value else "is empty"
        raise UsageError(f"{name} {fault}: copy the credential again")
    return value


def mask_error(error: ClaudeError, secrets: Iterable[str]) -> None:
    """Mask *secrets* in the fields of *error*: a server may repeat a credential in its reply."""
    error.__context__ = None  # may be the error of a JSON parser, which holds the whole reply
    fields = {name: getattr(error, name) for name in error.FIELDS}
    masked_fields = mask_words(fields, secrets)
    if masked_fields != fields:
        error.update(**masked_fields)


def mask_words(value: Any, secrets: Iterable[str]) -> Any:
    """Return a copy of *value* (texts, dicts, lists, other scalars) with each secret masked."""
    for secret in secrets:
        value = _mask_word(value, secret)
    return value


def _mask_word(value: Any, secret: str) -> Any:
    """Return a copy of *value* (texts, dicts, lists, other scalars) with *secret* masked."""
    if isinstance(value, str):
        return value.replace(secret, MASK)
    if isinstance(value, dict):
        return {_mask_word(k, secret): _mask_word(v, secret) for k, v in value.items()}
    if isinstance(value, list):
        return [_mask_word(item, secret) for item in value]
    return value
