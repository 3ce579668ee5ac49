"""AWS Signature Version 4, by botocore: its credentials, and its signer.

It makes no request of its own; botocore may, to find a credential (a metadata server, a
role to be assumed), and keeps what it found. A signature has a date in it, and is good for
some minutes: each attempt is signed anew.
"""

import functools
import hashlib
from typing import TYPE_CHECKING, Any, Final

from attrs import evolve, field, frozen
from attrs.converters import optional

from claude_lite.core.credentials import Secret
from claude_lite.dialects.rewriting import missing
from claude_lite.errors import CredentialMissing
from claude_lite.wire import MaskedStr, Request

if TYPE_CHECKING:
    from collections.abc import Mapping

SIGNED: Final = ("content-type", "anthropic-version", "anthropic-beta", "anthropic-workspace-id")
"""Headers that are signed beyond the host and AWS's own: none that a proxy may change."""


def _secret(value: "str | Secret") -> Secret:
    return Secret(value) if isinstance(value, str) else value


@frozen
class AWSKeys:
    """An access key of AWS, its secret, and the session token of a temporary one.

    They show in no repr, and a pickle has none: there botocore looks for others.
    """

    access_key: Secret = field(converter=_secret)
    secret_key: Secret = field(converter=_secret)
    session_token: Secret | None = field(default=None, converter=optional(_secret))

    def __reduce__(self) -> tuple[Any, ...]:
        return _forgotten, ()


def _forgotten() -> None:
    """What keys become in a pickle."""


def signed(
    request: Request, service: str, region: str, keys: AWSKeys | None, profile: str | None
) -> Request:
    """*request* with its signature; without *keys* botocore finds some.

    Raises `CredentialMissing`. A body that is streamed from disk is read once more for it, by
    the calling thread.
    """
    try:
        from botocore.auth import SigV4Auth  # an extra
        from botocore.awsrequest import AWSRequest  # as above
        from botocore.exceptions import BotoCoreError  # as above
    except ImportError:
        raise missing("bedrock", "botocore") from None
    body = request.body if isinstance(request.body, bytes) else b""
    headers = {name: request.headers[name] for name in SIGNED if name in request.headers}
    if not isinstance(request.body, bytes):
        headers["x-amz-content-sha256"] = _digest(request)
    url = request.url.replace("[", "%5B").replace("]", "%5D")  # in a query, as AWS has it
    unsigned = AWSRequest(request.method, url, headers, body)
    try:
        SigV4Auth(_credentials(keys, profile), service, region).add_auth(unsigned)
    except BotoCoreError as error:
        raise CredentialMissing(f"no AWS credential: {error}") from None
    made: Mapping[str, str] = {name.lower(): value for name, value in unsigned.headers.items()}
    for name in ("authorization", "x-amz-security-token"):
        if name in made:
            made = {**made, name: MaskedStr(made[name])}
    return evolve(request, url=url, headers={**request.headers, **made})


def _digest(request: Request) -> str:
    digest = hashlib.sha256()
    for piece in request.body:
        digest.update(piece)  # type: ignore[arg-type]  # not bytes, whose pieces are numbers
    return digest.hexdigest()


def _credentials(keys: AWSKeys | None, profile: str | None) -> Any:
    """Credentials that do not change while they are used; None if there are none."""
    from botocore.credentials import Credentials  # an extra

    if keys is not None:
        token = keys.session_token and keys.session_token.reveal()
        return Credentials(keys.access_key.reveal(), keys.secret_key.reveal(), token)
    found = _session(profile).get_credentials()
    return found and found.get_frozen_credentials()


@functools.cache
def _session(profile: str | None) -> Any:
    """Where botocore gets a credential, which it refreshes in time; one a process."""
    from botocore.session import Session  # an extra

    return Session(profile=profile)
