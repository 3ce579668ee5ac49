"""Webhooks: check that an event came from the API, and recently, before you read the event.

The signatures follow the Standard Webhooks specification, version 1.0:
https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
A signature is an HMAC-SHA256 over the id, the time and the bytes of the body. This module runs
no server and keeps no state: the API may send an event twice, so keep the ids of the events that
you handled.
"""

import math
import os
import re
import time
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping, Sequence
from hmac import compare_digest
from hmac import digest as hmac_digest
from typing import Any, Final

from attrs import frozen

from claude_lite.core.credentials import Secret, wrong_type
from claude_lite.core.json_text import loads
from claude_lite.core.model import Model, model
from claude_lite.core.structure import StructureError, reader_for
from claude_lite.errors import ClaudeError, CredentialMissing, UsageError

__all__ = [
    "WebhookEvent",
    "WebhookEventData",
    "WebhookForged",
    "WebhookOutOfTime",
    "WebhookRefused",
    "WebhookUnreadable",
    "WebhookUnsigned",
    "Webhooks",
]

WEBHOOK_VARIABLE: Final = "ANTHROPIC_WEBHOOK_SIGNING_KEY"
WEBHOOK_PREFIX: Final = "whsec_"
SHORTEST_KEY: Final = 16  # bytes; the specification has 24 to 64; an empty key would prove nothing
SIGNATURE_HEADERS: Final = ("webhook-id", "webhook-timestamp", "webhook-signature")

_SECONDS: Final = re.compile(r"[0-9]{1,12}")


class WebhookRefused(ClaudeError):
    """The request is not a proven webhook: answer with status 400 and do nothing else."""


class WebhookUnsigned(WebhookRefused):
    """One of the three headers is missing or malformed: a proxy may have dropped the header."""


class WebhookOutOfTime(WebhookRefused):
    """The time is too long ago (the request may be a replay) or in the future: check the clock."""


class WebhookForged(WebhookRefused):
    """No signature fits: another sender, another secret, or a changed body."""


class WebhookUnreadable(WebhookRefused):
    """The signature fits, but the body is not an event of the API."""


@model
class WebhookEventData(Model):
    """What happened, and to which object. Other fields depend on `type`."""

    ESSENTIAL = ("id",)
    id: str
    """The id of the object."""
    type: str
    """Such as "session.idled"."""
    organization_id: str | None = None
    workspace_id: str | None = None


@model
class WebhookEvent(Model):
    """One event."""

    ESSENTIAL = ("data",)
    id: str
    """The API may send an event more than once, each time with the same id."""
    created_at: str
    """RFC 3339."""
    data: WebhookEventData
    type: str = "event"


@frozen(init=False, repr=False)
class Webhooks:
    """A check for webhooks. A pickle of it has no secrets."""

    secrets: tuple[Secret, ...]
    tolerance: float
    clock: Callable[[], float]

    def __init__(
        self,
        secrets: str | Secret | Sequence[str | Secret] | None = None,
        *,
        tolerance: float = 300.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Keep the secrets.

        Args:
            secrets: One secret (`whsec_...`), or several: a webhook that is signed with any of
                them is accepted, so that secrets can be rotated. The default is read from
                ANTHROPIC_WEBHOOK_SIGNING_KEY at each event.
            tolerance: The seconds that a timestamp may be before or after the clock's time.
            clock: A function that returns Unix time, in seconds.

        Raises:
            UsageError: A secret is malformed, or the tolerance is negative or infinite.

        """
        hidden = _concealed(secrets)
        del secrets  # tracebacks may show local variables
        if isinstance(hidden, UsageError):
            raise hidden
        if not 0 <= tolerance < math.inf:
            raise UsageError(f"tolerance has to be a number of seconds, 0 or more, not {tolerance}")
        for secret in hidden:
            _key(secret)
        set_up = self.__attrs_init__  # pyright: ignore[reportAttributeAccessIssue]  # of attrs
        set_up(hidden, tolerance, clock)

    def verify(self, body: bytes | str, headers: Mapping[str, str]) -> WebhookEvent:
        """Check a webhook, and return its event.

        Args:
            body: The body exactly as it came: a body that was parsed and formatted again has
                other bytes, and no signature fits them.
            headers: The headers of the request; their names may be in any case.

        Raises:
            WebhookRefused: The check failed; the subclass says how.
            CredentialMissing: There is no secret.
            UsageError: *body* is neither bytes nor text.

        """
        if not isinstance(body, bytes | str):
            raise UsageError(f"body has to be the bytes that came, not {type(body).__name__}")
        if not isinstance(headers, Mapping):
            raise (headers := wrong_type("headers", "a mapping", headers))
        data = body.encode("utf-8", "replace") if isinstance(body, str) else body
        given = {name.lower(): value for name, value in headers.items()}
        missing = [name for name in SIGNATURE_HEADERS if not isinstance(given.get(name), str)]
        if missing:
            raise WebhookUnsigned(f"the header {missing[0]} is missing")
        id_, timestamp, signatures = (given[name] for name in SIGNATURE_HEADERS)
        if not _SECONDS.fullmatch(timestamp):
            raise WebhookUnsigned("the header webhook-timestamp is not a number of seconds")
        late = self.clock() - int(timestamp)
        if abs(late) > self.tolerance:
            how = f"{late:.0f} s ago" if late > 0 else f"{-late:.0f} s from now"
            raise WebhookOutOfTime(
                f"the webhook was sent {how}: the tolerance is {self.tolerance:.0f} s",
                advice="Check this machine's clock.",
            )
        signed = f"{id_}.{timestamp}.".encode("utf-8", "replace") + data
        if not any(_fits(signed, signatures, secret) for secret in self._secrets()):
            raise WebhookForged(
                "no signature fits the body",
                advice="Check the secret, and that the body is passed on byte for byte.",
            )
        return _event(data)

    def _secrets(self) -> tuple[Secret, ...]:
        if self.secrets:
            return self.secrets
        found: tuple[Secret, ...] = _concealed(os.environ.get(WEBHOOK_VARIABLE, ""))
        if not found:
            raise CredentialMissing(
                f"no secret for webhooks: give secrets=..., or set {WEBHOOK_VARIABLE}"
            )
        return found

    def __repr__(self) -> str:
        return "Webhooks(...)"

    def __reduce__(self) -> tuple[Any, ...]:
        return _without_secrets, (self.tolerance, self.clock)


def _without_secrets(tolerance: float, clock: Callable[[], float]) -> Webhooks:
    return Webhooks(tolerance=tolerance, clock=clock)


def _concealed(secrets: str | Secret | Sequence[str | Secret] | None) -> Any:
    """Return the secrets, hidden. For a secret of a wrong type, return the error."""
    given = (secrets,) if isinstance(secrets, str | bytes | Secret) else secrets or ()
    wrong = {type(secret).__name__ for secret in given if not isinstance(secret, str | Secret)}
    if wrong:
        return UsageError(
            f"a webhook secret has to be text as the Console shows it, not {min(wrong)}"
        )
    hidden = (Secret(secret) if isinstance(secret, str) else secret for secret in given if secret)
    return tuple(hidden)


def _key(secret: Secret) -> bytes:
    """Decode *secret*; its prefix and its padding may be missing."""
    key = _decoded(secret)
    if len(key) < SHORTEST_KEY:
        del key
        raise UsageError(
            f"a webhook secret has to be {WEBHOOK_PREFIX} and at least 16 bytes in base64: "
            "copy it from the Console"
        )
    return key


def _decoded(secret: Secret) -> bytes:
    try:
        text = secret.reveal().strip().removeprefix(WEBHOOK_PREFIX).rstrip("=")
        return b64decode(text + "=" * (-len(text) % 4), validate=True)
    except ValueError:
        return b""


def _fits(signed: bytes, signatures: str, secret: Secret) -> bool:
    """Whether *secret* made one of the signatures; the comparison takes constant time."""
    expected = b"v1," + b64encode(hmac_digest(_key(secret), signed, "sha256"))
    given = signatures.encode("utf-8", "replace").split(b" ")
    return any(compare_digest(expected, one) for one in given)


def _event(data: bytes) -> WebhookEvent:
    try:
        made: WebhookEvent = reader_for(WebhookEvent)(loads(data))
    except StructureError as error:
        raise WebhookUnreadable(f"the body is not an event of the API: {error}") from None
    except ValueError:
        raise WebhookUnreadable("the body is not JSON") from None
    return made
