"""Credentials as values that are never shown, the headers that hold them, and their removal.

Nothing here writes a credential anywhere: an error names the option or the header, never its value.
"""

import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from claude_lite.errors import ClaudeError, UsageError
from claude_lite.wire import MASK, MaskedStr, is_secret_header

__all__ = ["Secret"]

SHORTEST_SECRET: Final = 8


class Secret:
    """A value that is never shown: a repr masks it, a pickle omits it, JSON refuses it.

    Args:
        value: The value, such as an API key.

    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = MaskedStr(value)

    def reveal(self) -> MaskedStr:
        """Return the value; its repr and its pickle are masked."""
        return self._value

    def __repr__(self) -> str:
        return f"Secret('{MASK}')"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpickle, ()

    def __copy__(self) -> "Secret":
        return self

    def __deepcopy__(self, memo: object) -> "Secret":
        return self


def _unpickle() -> None:
    """Give None for a pickled secret, so that the client looks its credential up again."""


Credential = str | Secret | Callable[[], Any] | None


def concealed(value: Credential) -> "Secret | Callable[[], Any] | None":
    """Give the form in which a credential is kept: text becomes a `Secret`."""
    return Secret(value) if isinstance(value, str) else value


def conceal(options: dict[str, Any]) -> None:
    """Hide the credentials in *options*, in place: tracebacks may show local variables."""
    for name in ("api_key", "auth_token"):
        if name in options:
            options[name] = concealed(options[name])
    if options.get("headers"):
        options["headers"] = masked(options["headers"])


def masked(headers: Mapping[str, Any]) -> dict[str, Any]:
    """Copy headers, with lower-case names, and with each secret value as a `MaskedStr`."""
    return {
        name.lower(): MaskedStr(value) if is_secret_header(name) and value else value
        for name, value in headers.items()
    }


def header_value(name: str, value: object) -> str:
    """Check the header *name*, and give *value* as text.

    Raises:
        UsageError: The name or the value could end the header's line or is not Latin-1 text.

    """
    text = value if isinstance(value, str) else str(value)
    if not name or any(c <= " " or c in ':"(),/;<=>?@[\\]{}\x7f' or c > "~" for c in name):
        raise UsageError(
            f"{name!r} cannot be the name of a header: use letters, digits and hyphens"
        )
    if any((c < " " and c != "\t") or c == "\x7f" for c in text):
        raise UsageError(f"the value of header {name!r} has a line break or control character")
    try:
        text.encode("latin-1")
    except UnicodeEncodeError:
        raise UsageError(f"the value of header {name!r} has characters beyond Latin-1") from None
    return text


def bearer(token: MaskedStr) -> dict[str, str]:
    """Give the header that holds *token*."""
    return {"authorization": MaskedStr(f"Bearer {clean('auth_token', token)}")}


def secret_words(value: str) -> list[MaskedStr]:
    """Give the words of a credential that must be masked.

    Words of fewer than 8 characters are not among them: masking them would hide ordinary text.
    """
    return [MaskedStr(word) for word in value.split() if len(word) >= SHORTEST_SECRET]


def from_environment(name: str) -> MaskedStr | None:
    """Give the value of the environment variable *name*; None if it is missing or empty."""
    return MaskedStr(os.environ[name]) if os.environ.get(name) else None


def clean(name: str, value: object) -> MaskedStr:
    """Strip the spaces around a credential.

    Raises:
        UsageError: It cannot be a credential. The message has its *name*, never its value.

    """
    value = MaskedStr(value.strip() if isinstance(value, str) else "")
    if not value or any(not "!" <= c <= "~" for c in value):
        raise UsageError(f"{name} has to be text in printable ASCII, not empty, without spaces")
    return value


def scrub(error: ClaudeError, secrets: Iterable[str]) -> None:
    """Mask *secrets* in the fields of *error*: a server may repeat a credential in its reply."""
    error.__context__ = None  # the error of a parser would hold the whole reply
    fields = {name: getattr(error, name) for name in error.FIELDS}
    masked_fields = mask_words(fields, secrets)
    if masked_fields != fields:
        error.update(**masked_fields)


def mask_words(value: Any, secrets: Iterable[str]) -> Any:
    """Copy *value*, which is plain data, with *secrets* masked."""
    for secret in secrets:
        value = _mask_word(value, secret)
    return value


def _mask_word(value: Any, secret: str) -> Any:
    """Copy *value*, which is plain data, with *secret* masked."""
    if isinstance(value, str):
        return value.replace(secret, MASK)
    if isinstance(value, dict):
        return {_mask_word(k, secret): _mask_word(v, secret) for k, v in value.items()}
    if isinstance(value, list):
        return [_mask_word(item, secret) for item in value]
    return value
