"""Functions that dialects share: read a request, change it, refuse it, read the environment."""

import functools
import os
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final, TypeVar
from urllib.parse import quote

from attrs import Factory, evolve

from claude_lite.core.credentials import bearer, misplaced, wrong_type
from claude_lite.core.json_text import dumps, loads
from claude_lite.core.operation import MEGABYTE, make, too_large
from claude_lite.core.targets import checked_url
from claude_lite.errors import UsageError
from claude_lite.given.addresses import union_of_betas
from claude_lite.given.refusals import LIVE
from claude_lite.wire import MaskedStr, Request

C = TypeVar("C", bound=type)

NAME_IN_URL: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]*")

CHAT: Final = {"POST /v1/messages", "POST /v1/messages/count_tokens"}
"""The operations that a platform with some operations only has."""

PLATFORM_VERSIONS: Final = {"bedrock": "bedrock-2023-05-31", "vertex": "vertex-2023-10-16"}
"""The platform's name for the API version 2023-06-01, if it has a name of its own."""


def environment(*names: str) -> str | None:
    """The value of the first of these variables that is set and not empty."""
    return next((value for name in names if (value := os.environ.get(name))), None)


def required(what: str, *names: str) -> str:
    """The value of the first of these variables that is set; raises `UsageError` if none is."""
    value = environment(*names)
    if value is None:
        raise UsageError(f"no {what}: give {what}=..., or set {' or '.join(names)}")
    return value


def hiding(cls: C) -> C:
    """Hide what may be a credential in the arguments of a dialect. A class decorator.

    The variables of `__init__` of attrs are its arguments, and a traceback may show them. A base
    URL may hold a password; keys that are no object would show themselves. The repr of a dialect
    whose `__init__` failed must not fail, because a traceback may show this dialect, too.
    """
    init: Any = cls.__init__  # type: ignore[misc]  # of a class that attrs has made
    shown: Any = cls.__repr__

    @functools.wraps(init)
    def hidden(self: Any, **options: Any) -> None:
        options.update({name: _hidden(name, value) for name, value in options.items()})
        wrong = [value for value in options.values() if isinstance(value, UsageError)]
        if wrong:
            raise wrong[0]
        make(init, options, self)

    @functools.wraps(shown)
    def described(self: Any) -> str:
        try:
            return str(shown(self))
        except AttributeError:
            return f"<{cls.__name__}, not initialised>"

    cls.__init__ = hidden  # type: ignore[misc]
    cls.__repr__ = described  # type: ignore[assignment]
    return cls


def _hidden(name: str, value: Any) -> Any:
    """Mask a base URL. In place of a value that cannot be used, return the error."""
    if name in {"keys", "credentials"}:
        if not isinstance(value, str | bytes | Mapping | Sequence):
            return value
        wanted = "AWSKeys(...)" if name == "keys" else "an object of google-auth"
        return wrong_type(name, wanted, value)
    if value is None and name in {"profile", "resource"}:
        return None
    if not isinstance(value, str):
        return wrong_type(name, "a str", value)
    return MaskedStr(value) if name == "base_url" else checked_name(name, value)


def without_slash(dialect: Any) -> None:
    """Clean the base URL of *dialect*, which is being made, as `Config` cleans its own."""
    name = f"base_url of {type(dialect).__name__}"
    object.__setattr__(dialect, "base_url", MaskedStr(dialect.base_url))  # a traceback may show it
    object.__setattr__(dialect, "base_url", checked_url(name, dialect.base_url))


def checked_name(name: str, value: str) -> Any:
    """Return *value* if it can be part of a host or a path, and else the error, without *value*."""
    if LIVE.search(value):
        return misplaced(name)
    if name == "profile" or NAME_IN_URL.fullmatch(value):
        return value
    wanted = "a letter or digit, then letters, digits and . _ : - only"
    return UsageError(f"{name} has to be {wanted}; these {len(value)} characters are not")


def default_from_environment(what: str, *names: str, default: str | None = None) -> Any:
    """The default of a field of attrs: the first of these variables that is set, else *default*.

    Without a *default*, making the object raises `UsageError` if none is set.
    """

    def found() -> str:
        value: Any = (environment(*names) if default else required(what, *names)) or default
        value = checked_name(what, value)
        if isinstance(value, UsageError):
            raise value
        return str(value)

    return Factory(found)


def missing_extra(extra: str, package: str) -> UsageError:
    """Make the error for an extra that is not installed."""
    return UsageError(f"{package} is not installed: pip install 'claude-lite[{extra}]'")


def path_of(request: Request, base_url: str) -> str:
    """The part of the request's URL after *base_url*; raises `UsageError` for another URL."""
    path = request.url.removeprefix(base_url)
    if path == request.url or not path.startswith("/"):
        raise UsageError(
            f"the URL of the request has to begin with {base_url}, not {request.url!r}"
        )
    return path


def with_betas(body: dict[str, Any], headers: Mapping[str, str]) -> dict[str, Any]:
    """Add the beta flags of *headers* to those in *body*, each once."""
    in_body = body.get("anthropic_beta") or ()
    betas = union_of_betas(headers.get("anthropic-beta", ""), *in_body)
    return {**body, "anthropic_beta": list(betas)} if betas else body


def lacks(platform: str, request: Request, path: str) -> UsageError:
    """Make the error for an operation that the platform does not have, or for a query."""
    path, _, query = path.partition("?")
    endpoint = f"{request.method} {path}"
    if query and endpoint in CHAT:
        return UsageError(f"{platform} takes no query: leave out extra_query; nothing was sent")
    return UsageError(f"{platform} has no {endpoint}; nothing was sent")


def segment(name: str, value: object) -> str:
    """Encode the id of a model as one part of a path; the slashes of an ARN are encoded, too."""
    if not isinstance(value, str) or value in {"", ".", ".."}:
        raise UsageError(f"{name} has to be the id of a model, not {value!r}")
    return quote(value, safe="-._~:@")


def body_of(request: Request) -> dict[str, Any]:
    """The JSON object in the body of the request."""
    body = loads(request.body) if isinstance(request.body, bytes) and request.body else None
    if not isinstance(body, dict):
        raise UsageError(f"{request.method} {request.url} has to have a JSON object as its body")
    return body


def versioned(body: dict[str, Any], headers: Mapping[str, str], platform: str) -> dict[str, Any]:
    """Add the API version to *body*, with the *platform*'s name for it."""
    version = headers.get("anthropic-version", "")
    own = PLATFORM_VERSIONS[platform] if version == "2023-06-01" else version
    return {**body, "anthropic_version": body.get("anthropic_version", own)}


def rewritten(
    request: Request,
    url: str,
    body: Mapping[str, Any],
    *,
    without: Collection[str] = (),
    limit: int | None = None,
) -> Request:
    """Change the URL and the body of *request*, and drop headers.

    Args:
        request: The request to change.
        url: The new URL.
        body: The new JSON object.
        without: Names of headers to drop.
        limit: The largest size of the body, in MB; past it `RequestTooLarge` is raised.

    """
    data = dumps(body)
    if limit is not None and len(data) > limit * MEGABYTE:
        raise too_large(len(data), limit * MEGABYTE)
    headers = {name: value for name, value in request.headers.items() if name not in without}
    return evolve(request, url=url, body=data, headers=headers)


def with_headers(request: Request, headers: Mapping[str, str]) -> Request:
    """Add *headers* to *request*."""
    return evolve(request, headers={**request.headers, **headers})


def key_as_bearer(request: Request) -> Request:
    """Send the API key of *request*, if it has one, as a bearer token."""
    headers = dict(request.headers)
    key = headers.pop("x-api-key", None)
    return (
        request
        if key is None
        else evolve(request, headers={**headers, **as_bearer(MaskedStr(key))})
    )


def as_bearer(token: MaskedStr) -> dict[str, str]:
    """Make the header that carries *token*, which is masked where it is read."""
    return bearer(token)
