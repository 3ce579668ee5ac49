"""A Google OAuth token, from google-auth: by given credentials, or by those that it finds.

google-auth may read files and ask Google for a token, and it blocks the calling thread while it
does. A token is valid for an hour. Credentials that google-auth found (Application Default
Credentials) are kept for the life of the process.
"""

import functools
import os
from threading import Lock
from typing import Any, Final

from claude_lite.core.credentials import checked_credential
from claude_lite.dialects.rewriting import missing_extra
from claude_lite.errors import ConnectionFailed, CredentialMissing
from claude_lite.wire import MaskedStr

SCOPES: Final = ("https://www.googleapis.com/auth/cloud-platform",)

_refreshing: Final[
    dict[int, Lock]
] = {}  # by process: in a fork, the lock of the parent may be locked


def token(credentials: Any) -> MaskedStr:
    """Get a valid token.

    Args:
        credentials: An object of google-auth; None lets google-auth find credentials.

    Raises:
        CredentialMissing: google-auth found no credentials, or cannot use them.
        ConnectionFailed: The server that gives tokens did not answer.
        UsageError: The token is not a text that a header can carry.

    """
    try:
        from google.auth import exceptions  # an extra
        from google.auth.transport.requests import Request  # an extra
    except ImportError:
        raise missing_extra("vertex", "google-auth (with requests)") from None
    try:
        used = _default() if credentials is None else credentials
        with _refreshing.setdefault(os.getpid(), Lock()):
            if not used.valid:
                used.refresh(Request())
    except exceptions.TransportError as error:
        raise ConnectionFailed(f"no Google token: {error}") from None
    except exceptions.GoogleAuthError as error:
        raise CredentialMissing(f"no Google token: {error}") from None
    return checked_credential("the token of google-auth", used.token)


def is_ready(credentials: Any) -> bool:
    """Tell whether `token` would return at once."""
    if credentials is None:
        return bool(_default.cache_info().currsize and _default().valid)
    return bool(credentials.valid)


@functools.cache
def _default() -> Any:
    from google.auth import default  # an extra

    return default(scopes=SCOPES)[0]
