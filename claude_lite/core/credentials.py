"""Credentials, as values that do not show, and the headers that carry them."""

import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from claude_lite.errors import ClaudeError, UsageError
from claude_lite.wire import MASK, MaskedStr, is_secret_header

__all__ = ["Secret"]

SHORTEST_SECRET: Final = 8


class Secret:
    """A value that does not show: not in a repr, a pickle, a copy's pickle, or JSON."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = MaskedStr(value)

    def reveal(self) -> MaskedStr:
        """The value itself."""
        return self._value

    def __repr__(self) -> str:
        return f"Secret('{MASK}')"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __reduce__(self) -> tuple[Any, ...]:
        return _forgotten, ()

    def __copy__(self) -> "Secret":
        return self

    def __deepcopy__(self, memo: object) -> "Secret":
        return self


def _forgotten() -> None:
    """What a secret becomes in a pickle: nothing, so that it is looked up again."""


Credential = str | Secret | Callable[[], Any] | None


def concealed(value: Credential) -> "Secret | Callable[[], Any] | None":
    """A credential as it is kept."""
    return Secret(value) if isinstance(value, str) else value


def conceal(options: dict[str, Any]) -> None:
    """Hide the credentials among *options*, in place: tracebacks may show local variables."""
    for name in ("api_key", "auth_token"):
        if name in options:
            options[name] = concealed(options[name])
    if options.get("headers"):
        options["headers"] = masked(options["headers"])


def masked(headers: Mapping[str, Any]) -> dict[str, Any]:
    """Headers by their lower-case names; what is secret does not show."""
    return {
        name.lower(): MaskedStr(value) if is_secret_header(name) and value else value
        for name, value in headers.items()
    }


def header_value(name: str, value: object) -> str:
    """A header's value, refused if it could end the line it is on."""
    text = value if isinstance(value, str) else str(value)
    if not name or any(c <= " " or c in ':"(),/;<=>?@[\\]{}\x7f' or c > "~" for c in name):
        raise UsageError(f"{name!r} cannot be the name of a header")
    if any((c < " " and c != "\t") or c == "\x7f" for c in text):
        raise UsageError(f"the value of header {name!r} has a line break or other control in it")
    try:
        text.encode("latin-1")
    except UnicodeEncodeError:
        raise UsageError(f"the value of header {name!r} is not Latin-1 text") from None
    return text


def bearer(token: MaskedStr) -> dict[str, str]:
    """The header that carries *token*."""
    return {"authorization": MaskedStr(f"Bearer {clean('auth_token', token)}")}


def secret_words(value: str) -> list[MaskedStr]:
    """What of a credential must not show; anything shorter would blot out ordinary words."""
    return [MaskedStr(word) for word in value.split() if len(word) >= SHORTEST_SECRET]


def from_environment(name: str) -> MaskedStr | None:
    """The environment's variable of that name, unless it is empty."""
    return MaskedStr(os.environ[name]) if os.environ.get(name) else None


def clean(name: str, value: object) -> MaskedStr:
    """A credential without the spaces around it; raises `UsageError`, which names it only."""
    value = MaskedStr(value.strip() if isinstance(value, str) else "")
    if not value or any(not "!" <= c <= "~" for c in value):
        raise UsageError(f"{name} has to be printable ASCII without spaces, and not empty")
    return value


def scrub(error: ClaudeError, secrets: Iterable[str]) -> None:
    """Take *secrets* out of what others wrote into *error*."""
    error.__context__ = None  # of a parser, it would hold all that came
    said = {f: getattr(error, f) for f in error.FIELDS}
    clean = without(said, secrets)
    if clean != said:
        error.amend(**clean)


def without(value: Any, secrets: Iterable[str]) -> Any:
    """*value*, plain data, without *secrets*."""
    for secret in secrets:
        value = _without(value, secret)
    return value


def _without(value: Any, secret: str) -> Any:
    """*value*, plain data, without *secret*."""
    if isinstance(value, str):
        return value.replace(secret, MASK)
    if isinstance(value, dict):
        return {_without(k, secret): _without(v, secret) for k, v in value.items()}
    if isinstance(value, list):
        return [_without(item, secret) for item in value]
    return value
