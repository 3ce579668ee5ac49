"""AWS Signature Version 4, with the credentials and the signer of botocore.

Signing makes no request. To find a credential botocore may make requests (to a metadata server,
or to assume a role); botocore keeps the credential. A signature has a date and is valid for some
minutes, so each attempt is signed anew.
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv.html
"""

import functools
import hashlib
import os
from typing import Any, Final

from attrs import evolve, frozen

from claude_lite.core.credentials import Secret, checked_credential, mask_headers, wrong_type
from claude_lite.dialects.rewriting import missing_extra
from claude_lite.errors import CredentialMissing, UsageError
from claude_lite.wire import Request

SIGNED: Final = ("content-type", "anthropic-version", "anthropic-beta", "anthropic-workspace-id")
"""The headers that are signed besides `host` and those of AWS. A proxy may change the others."""


_found: Final[dict[tuple[int, str | None], Any]] = {}
"""What botocore found, by process and profile."""


def _secret(name: str, value: "str | Secret | None") -> Any:
    """Hide a key. In place of a value of a wrong type, return the error."""
    if value is None or isinstance(value, Secret):
        return value
    return Secret(value) if isinstance(value, str) else wrong_type(name, "a str", value)


@frozen(init=False)
class AWSKeys:
    """An access key of AWS, its secret key, and a session token if the key is temporary.

    No repr shows them. A pickle becomes None: in the other process botocore looks for keys.
    """

    access_key: Secret
    secret_key: Secret
    session_token: Secret | None

    def __init__(
        self,
        access_key: str | Secret,
        secret_key: str | Secret,
        session_token: str | Secret | None = None,
    ) -> None:
        """Hide the keys; raises `UsageError` for one that is not a text."""
        # Rebound before an error is raised: a traceback may show variables.
        access_key = _secret("access_key", access_key)
        secret_key = _secret("secret_key", secret_key)
        session_token = _secret("session_token", session_token)
        keys = {"access_key": access_key, "secret_key": secret_key, "session_token": session_token}
        for name, key in keys.items():
            object.__setattr__(self, name, key)
        for key in keys.values():
            if isinstance(key, UsageError):
                raise key

    def __reduce__(self) -> tuple[Any, ...]:
        return _forgotten, ()


def _forgotten() -> None:
    """Stand in a pickle for the keys: unpickled, they are None."""


def signed(
    request: Request, service: str, region: str, keys: AWSKeys | None, profile: str | None
) -> Request:
    """Sign *request*.

    A body that is streamed from disk is read once more for the signature, by the calling thread.

    Args:
        request: The request to sign.
        service: The name of the service in AWS.
        region: The region of the service.
        keys: The keys to sign with; None lets botocore find keys.
        profile: The profile that botocore reads; None for its default.

    Raises:
        CredentialMissing: botocore finds no keys.
        UsageError: botocore is not installed.

    """
    try:
        from botocore.auth import SigV4Auth  # an extra
        from botocore.awsrequest import AWSRequest  # an extra
        from botocore.exceptions import BotoCoreError  # an extra
    except ImportError:
        raise missing_extra("bedrock", "botocore") from None
    body = request.body if isinstance(request.body, bytes) else b""
    headers = {name: request.headers[name] for name in SIGNED if name in request.headers}
    if not isinstance(request.body, bytes):
        headers["x-amz-content-sha256"] = _digest(request)
    # AWS signs a query with its brackets encoded.
    url = request.url.replace("[", "%5B").replace("]", "%5D")
    unsigned = AWSRequest(request.method, url, headers, body)
    try:
        SigV4Auth(_credentials(keys, profile), service, region).add_auth(unsigned)
    except BotoCoreError as error:
        raise CredentialMissing(f"no AWS credential: {error}") from None
    made = mask_headers(dict(unsigned.headers))
    return evolve(request, url=url, headers={**request.headers, **made})


def _digest(request: Request) -> str:
    digest = hashlib.sha256()
    for piece in request.body:
        digest.update(piece)  # type: ignore[arg-type]  # a streamed body: its pieces are bytes
    return digest.hexdigest()


def find(keys: AWSKeys | None, profile: str | None) -> None:
    """Find keys, and refresh them if they need it; raises what `signed` raises."""
    try:
        from botocore.exceptions import BotoCoreError  # an extra
    except ImportError:
        raise missing_extra("bedrock", "botocore") from None
    try:
        _credentials(keys, profile)
    except BotoCoreError as error:
        raise CredentialMissing(f"no AWS credential: {error}") from None


def is_ready(profile: str | None) -> bool:
    """Tell whether botocore has keys for the profile that need no refresh."""
    found = _found.get((os.getpid(), profile))
    return found is not None and not getattr(found, "refresh_needed", bool)()


def _credentials(keys: AWSKeys | None, profile: str | None) -> Any:
    """The credentials, as a value that does not change; None if there are none."""
    from botocore.credentials import Credentials  # an extra

    if keys is not None:
        names = ("access_key", "secret_key", "session_token")
        given = {name: key.reveal() for name in names if (key := getattr(keys, name)) is not None}
        checked = [checked_credential(name, value) for name, value in given.items()]
        return Credentials(*checked)
    found = _found[os.getpid(), profile] = _session(profile).get_credentials()
    return found and found.get_frozen_credentials()


@functools.cache
def _session(profile: str | None) -> Any:
    """The session of botocore that finds and refreshes credentials; one per process and profile."""
    from botocore.session import Session  # an extra

    return Session(profile=profile)
