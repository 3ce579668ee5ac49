"""Find the handler of a request by method and path; the types that handlers take and return.

A module of routes lists `ServedRoute`s. A handler takes a `Call` and returns an `Answer` or
raises a `Problem`. The emulator itself checks credentials and versions and applies faults, so
handlers do none of these.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import orjson
from attrs import frozen

from claude_lite.emulator.reading.problems import Problem
from claude_lite.faults.tampering import EVENT_STREAM
from claude_lite.wire import BodySource, Response, Sleep

MEBIBYTE: Final = 1024 * 1024  # bytes
API_VERSIONS: Final = ("2023-01-01", "2023-06-01", "2026-10-21")
"""Values of the `anthropic-version` header, oldest first."""

Refuse = Callable[[Problem, str], Response]


@frozen
class Call:
    """A request whose path, credential and version are accepted."""

    number: int  # of the request, from 1; ids are made from it
    request_id: str
    version: str
    betas: tuple[str, ...]
    params: Mapping[str, str]  # from the path
    query: str
    headers: Mapping[str, str]
    body: bytes | BodySource
    workspace_id: str
    origin: str  # scheme and host of the request, for URLs in answers
    api_key_id: str | None = None  # of the credential; None for an admin key

    @property
    def is_beta(self) -> bool:
        """Whether the request names any beta."""
        return bool(self.betas)

    def json(self) -> dict[str, Any]:
        """Parse the body; raises `Problem` if the body is not a JSON object."""
        body = self.body if isinstance(self.body, bytes) else b"".join(self.body)
        try:
            value = orjson.loads(body)
        except orjson.JSONDecodeError as error:
            raise Problem(400, f"The request body is not valid JSON: {error}") from None
        if not isinstance(value, dict):
            raise Problem(400, "Input should be a valid dictionary")
        return value


@frozen
class Answer:
    """What a handler returns: a body of `size` bytes, or a stream, whose size is None.

    If `chunks` is a tuple, the whole body can be sent at once.
    """

    chunks: Iterable[bytes | Sleep]
    size: int | None = None
    status: int = 200
    headers: Mapping[str, str] = {}
    delay: float = 0.0  # seconds before the head

    @classmethod
    def json(cls, value: Any, headers: Mapping[str, str] | None = None, **more: Any) -> "Answer":
        """Answer with a JSON document."""
        body = orjson.dumps(value)
        kind = {"content-type": "application/json"}
        return cls((body,), len(body), headers={**kind, **(headers or {})}, **more)

    @classmethod
    def events(cls, chunks: Iterable[bytes | Sleep], headers: Mapping[str, str]) -> "Answer":
        """Answer with server-sent events."""
        kind = {"content-type": f"{EVENT_STREAM}; charset=utf-8", "cache-control": "no-cache"}
        return cls(chunks, headers={**kind, **headers})


@frozen
class ServedRoute:
    """One operation that the emulator serves; segments `{name}` of the path are parameters."""

    method: str
    path: str
    handler: Callable[[Call], Answer]
    most: int = 32 * MEBIBYTE  # bytes of body
    per_workspace: bool = True  # False for admin operations: they are per organization
    version: str | None = None  # used if `anthropic-version` is absent
    refuse: Refuse = Problem.response  # writes a problem, given the id of the request


class Router:
    """Finds the route of a request."""

    def __init__(self, routes: Iterable[ServedRoute]) -> None:
        self._plain: dict[str, dict[str, ServedRoute]] = {}
        self._patterns: dict[tuple[str, ...], dict[str, ServedRoute]] = {}
        self.most = 0  # bytes of the largest body that any route takes
        for route in routes:
            self.most = max(self.most, route.most)
            if "{" in route.path:
                methods = self._patterns.setdefault(tuple(route.path.split("/")), {})
            else:
                methods = self._plain.setdefault(route.path, {})
            methods[route.method] = route

    def find(self, method: str, path: str) -> tuple[ServedRoute, Mapping[str, str]]:
        """Return the route and its path parameters; raises `Problem` (404, 405) if none."""
        methods, params = self._methods(path)
        if not methods:
            raise Problem(404, "Not found")
        if method not in methods:
            raise Problem(405, "Method Not Allowed", headers={"allow": ", ".join(sorted(methods))})
        return methods[method], params

    def _methods(self, path: str) -> tuple[Mapping[str, ServedRoute], Mapping[str, str]]:
        if path in self._plain:
            return self._plain[path], {}
        segments = path.split("/")
        for pattern, methods in self._patterns.items():
            if len(pattern) == len(segments) and all(
                (want.startswith("{") and have) or want == have
                for want, have in zip(pattern, segments, strict=True)
            ):
                names = zip(pattern, segments, strict=True)
                return methods, {w[1:-1]: have for w, have in names if w.startswith("{")}
        return {}, {}


def read_workspace(headers: Mapping[str, str], default: str) -> str:
    """Return the workspace that the headers name; a credential may use every workspace."""
    wanted = headers.get("anthropic-workspace-id", default)
    if not wanted.startswith("wrkspc_"):
        raise Problem(400, f'anthropic-workspace-id: "{wanted}" is not a workspace id')
    return wanted


def read_version(headers: Mapping[str, str], default: str | None) -> str:
    """Return the version that the headers name, or else *default*, if that is not None."""
    version = headers.get("anthropic-version", default)
    if version is None:
        raise Problem(400, "anthropic-version: header is required")
    if version not in API_VERSIONS:
        raise Problem(400, f'anthropic-version: "{version}" is not a valid version')
    return version


def read_betas(headers: Mapping[str, str]) -> tuple[str, ...]:
    """Return the betas that the headers name."""
    flags = (flag.strip() for flag in headers.get("anthropic-beta", "").split(","))
    return tuple(flag for flag in flags if flag)
