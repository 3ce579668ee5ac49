"""A Google OAuth token, by google-auth: Application Default Credentials, or given ones.

google-auth may read files and ask Google for a token, by the calling thread; a token lasts
for an hour. Credentials that it found are kept for the process.
"""

import functools
import os
from threading import Lock
from typing import Any, Final

from claude_lite.dialects.rewriting import missing
from claude_lite.errors import ConnectionFailed, CredentialMissing
from claude_lite.wire import MaskedStr

SCOPES: Final = ("https://www.googleapis.com/auth/cloud-platform",)

_refreshing: Final[dict[int, Lock]] = {}  # by process: a fork may find its parent's locked


def token(credentials: Any) -> MaskedStr:
    """A token that is valid; raises `CredentialMissing`, or `ConnectionFailed`."""
    try:
        from google.auth import exceptions  # an extra
        from google.auth.transport.requests import Request  # as above
    except ImportError:
        raise missing("vertex", "google-auth (with requests)") from None
    try:
        used = _default() if credentials is None else credentials
        with _refreshing.setdefault(os.getpid(), Lock()):
            if not used.valid:
                used.refresh(Request())
    except exceptions.TransportError as error:
        raise ConnectionFailed(f"no Google token: {error}") from None
    except exceptions.GoogleAuthError as error:
        raise CredentialMissing(f"no Google token: {error}") from None
    return MaskedStr(used.token)


@functools.cache
def _default() -> Any:
    from google.auth import default  # an extra

    return default(scopes=SCOPES)[0]
