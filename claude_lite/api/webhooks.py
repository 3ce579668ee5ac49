"""Webhooks: proof that an event came from the API, and is no replay, before it is read.

The signatures are those of the Standard Webhooks specification, version 1.0: HMAC-SHA256 over
id, time and the body's bytes. This module serves nothing and remembers nothing: who must not
do a thing twice keeps the ids of the events that were done.

Source: https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
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

from claude_lite.core.credentials import Secret
from claude_lite.core.json_text import loads
from claude_lite.core.model import Model, model
from claude_lite.core.structure import StructureError, hook_for
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
SHORTEST_KEY: Final = 16  # bytes; the specification has 24 to 64, and an empty one proves nothing
SIGNATURE_HEADERS: Final = ("webhook-id", "webhook-timestamp", "webhook-signature")

_SECONDS: Final = re.compile(r"[0-9]{1,12}")


class WebhookRefused(ClaudeError):
    """Not shown to be a webhook of the API's: answer with status 400, and do nothing else."""


class WebhookUnsigned(WebhookRefused):
    """One of the three headers is missing or malformed: perhaps a proxy dropped it."""


class WebhookOutOfTime(WebhookRefused):
    """Sent too long ago (maybe recorded, and played back), or in the future: check the clock."""


class WebhookForged(WebhookRefused):
    """No signature fits: another sender, another secret, or a body that was changed."""


class WebhookUnreadable(WebhookRefused):
    """Signed as it should be, and yet not an event as the API sends them."""


@model
class WebhookEventData(Model):
    """What happened: `type` (such as "session.idled") to the object `id`; the rest is by type."""

    id: str
    type: str
    organization_id: str | None = None
    workspace_id: str | None = None


@model
class WebhookEvent(Model):
    """One event. The same `id` may come more than once; `created_at` is in RFC 3339."""

    id: str
    created_at: str
    data: WebhookEventData
    type: str = "event"


@frozen(init=False, repr=False)
class Webhooks:
    """Checks webhooks signed with any of *secrets* (`whsec_...`): one, or old and new ones.

    Without any, ANTHROPIC_WEBHOOK_SIGNING_KEY is asked, at the first event. `tolerance` is how
    many seconds a timestamp may be off, either way. `clock` tells Unix time. It pickles without
    its secrets. Raises `UsageError` for a secret that can be none.
    """

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
        secrets = _concealed(secrets)  # rebound: tracebacks may show local variables
        if not 0 <= tolerance < math.inf:
            raise UsageError(f"tolerance has to be seconds, 0 or more; not {tolerance}")
        for secret in secrets:
            _key(secret)
        set_up = self.__attrs_init__  # pyright: ignore[reportAttributeAccessIssue]  # of attrs
        set_up(secrets, tolerance, clock)

    def verify(self, body: bytes | str, headers: Mapping[str, str]) -> WebhookEvent:
        """The event in *body*, which is as it came: not parsed, not formatted anew.

        The names in *headers* are in any case. Raises a leaf of `WebhookRefused`;
        `CredentialMissing`; and `UsageError` for a body that is neither bytes nor text.
        """
        if not isinstance(body, bytes | str):
            raise UsageError(f"body has to be bytes as they came, not {type(body).__name__}")
        data = body.encode("utf-8", "replace") if isinstance(body, str) else body
        given = {name.lower(): value for name, value in headers.items()}
        missing = [name for name in SIGNATURE_HEADERS if not isinstance(given.get(name), str)]
        if missing:
            raise WebhookUnsigned(f"no header {missing[0]}")
        id_, timestamp, signatures = (given[name] for name in SIGNATURE_HEADERS)
        if not _SECONDS.fullmatch(timestamp):
            raise WebhookUnsigned("the header webhook-timestamp is not a number of seconds")
        late = self.clock() - int(timestamp)
        if abs(late) > self.tolerance:
            how = f"{late:.0f} s ago" if late > 0 else f"{-late:.0f} s from now"
            raise WebhookOutOfTime(
                f"sent {how}, and the tolerance is {self.tolerance:.0f} s",
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
        found = _concealed(os.environ.get(WEBHOOK_VARIABLE, ""))
        if not found:
            raise CredentialMissing(f"no secret for webhooks: give one, or set {WEBHOOK_VARIABLE}")
        return found

    def __repr__(self) -> str:
        return "Webhooks(...)"

    def __reduce__(self) -> tuple[Any, ...]:
        return _without_secrets, (self.tolerance, self.clock)


def _without_secrets(tolerance: float, clock: Callable[[], float]) -> Webhooks:
    return Webhooks(tolerance=tolerance, clock=clock)


def _concealed(secrets: str | Secret | Sequence[str | Secret] | None) -> tuple[Secret, ...]:
    given = (secrets,) if isinstance(secrets, str | Secret) else secrets or ()
    if any(not isinstance(secret, str | Secret) for secret in given):
        raise UsageError("a webhook secret has to be text, as the Console shows it")
    hidden = (Secret(secret) if isinstance(secret, str) else secret for secret in given if secret)
    return tuple(hidden)


def _key(secret: Secret) -> bytes:
    """The key that *secret* stands for, with or without its prefix and its padding."""
    key = _decoded(secret)
    if len(key) < SHORTEST_KEY:
        del key
        raise UsageError(
            f"a webhook secret has to be {WEBHOOK_PREFIX}... with at least 16 bytes in base64"
        )
    return key


def _decoded(secret: Secret) -> bytes:
    try:
        text = secret.reveal().strip().removeprefix(WEBHOOK_PREFIX).rstrip("=")
        return b64decode(text + "=" * (-len(text) % 4), validate=True)
    except ValueError:
        return b""


def _fits(signed: bytes, signatures: str, secret: Secret) -> bool:
    """Whether one of the signatures is that of *secret*; the time tells nothing of how nearly."""
    expected = b"v1," + b64encode(hmac_digest(_key(secret), signed, "sha256"))
    given = signatures.encode("utf-8", "replace").split(b" ")
    return any(compare_digest(expected, one) for one in given)


def _event(data: bytes) -> WebhookEvent:
    try:
        made: WebhookEvent = hook_for(WebhookEvent)(loads(data))
    except StructureError as error:
        raise WebhookUnreadable(f"no event of the API: {error}") from None
    except ValueError:
        raise WebhookUnreadable("the body is not JSON") from None
    return made
