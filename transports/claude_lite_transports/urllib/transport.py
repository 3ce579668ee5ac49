"""The synchronous transport: blocking sockets and the standard library, nothing else.

It finds its proxies as `urllib` does, hence the name. It keeps idle connections, counts the
limits of each attempt, and maps what goes wrong to the errors of `claude_lite`. It never
retries, follows a redirect, decompresses, keeps a cookie, or starts a thread.
"""

import ssl
import time
import weakref
from collections.abc import Mapping
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

from attrs import Factory, field, frozen

from claude_lite.wire import Head, MaskedStr, Request, Response
from claude_lite_transports.shared.dial import Way, find_way, split_url
from claude_lite_transports.shared.http1 import opening
from claude_lite_transports.urllib.attempt import Attempt
from claude_lite_transports.urllib.idle import Idle


def _mask(proxies: Mapping[str, str] | None) -> Mapping[str, str] | None:
    return proxies and {scheme: MaskedStr(url) for scheme, url in proxies.items()}


@frozen(eq=False, kw_only=True)
class UrllibTransport:
    """A `claude_lite.wire.Transport` over blocking sockets.

    `context` verifies TLS; by default one context, made on first use, is shared by all.
    `proxies` maps "http", "https" or "all" to `http://[user:password@]host:port`; by default
    they are looked up in the environment (or the system) once for each origin, and `{}` is
    none. Up to `pool_size` idle connections to an origin are kept, for `keepalive` seconds.

    An idle connection is looked at before it is used again, and one that the server has closed
    is passed over. If the server closes it just as a request is under way, nobody can tell
    whether that was read: the error is `ConnectionLost`, unless not a byte had gone out.

    One instance serves any number of threads (and of gevent's greenlets); a forked process
    makes connections of its own. It can be pickled, unless it has a `context` or the password
    of a proxy.
    """

    context: ssl.SSLContext | None = None
    proxies: Mapping[str, str] | None = field(default=None, converter=_mask)
    pool_size: int = 64
    keepalive: float = 30.0
    _idle: Idle = field(
        default=Factory(lambda self: Idle(self.pool_size, self.keepalive), takes_self=True),
        init=False,
        repr=False,
    )
    _ways: dict[tuple[str, str], Way] = field(factory=dict, init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        weakref.finalize(self, self._idle.end)

    def __reduce__(self) -> tuple[Any, ...]:
        if any("@" in url for url in (self.proxies or {}).values()):
            raise TypeError("a proxy's password is not pickled; leave it to the environment")
        make = partial(
            type(self),
            context=self.context,
            proxies=self.proxies and {scheme: str(url) for scheme, url in self.proxies.items()},
            pool_size=self.pool_size,
            keepalive=self.keepalive,
        )
        return make, ()

    def send(self, request: Request, /) -> Response:
        """Send a request and return the whole response, whatever its status.

        Raises the leaves of `TransportError`, `UnexpectedResponse` if the reply is not HTTP,
        `ResponseTooLarge`, and `UsageError` if the request cannot be put on the wire.
        """
        with self._attempt(request, request.limits.max_response) as (head, chunks):
            body = bytearray()
            for chunk in chunks:
                body += chunk  # not kept apart: there may be millions, of two bytes each
        return Response(head.status, head.headers, bytes(body))

    def stream(self, request: Request, /) -> AbstractContextManager[Head]:
        """Send a request; the context is the head of the response, and its chunks as they come.

        Raises as `send` does: here, on entering, and while the chunks are read.
        """
        return self._attempt(request, None)

    def sleep(self, seconds: float, /) -> None:
        """Block this thread for so many seconds."""
        time.sleep(max(0.0, seconds))

    def close(self) -> None:
        """Close the idle connections of this process; the next request opens new ones."""
        self._idle.close()

    def _attempt(self, request: Request, max_size: int | None) -> Attempt:
        scheme, authority, target = split_url(request.url)
        way = self._ways.get((scheme, authority))
        if way is None:
            way = find_way(scheme, authority, self.proxies)
            way = self._ways.setdefault((scheme, authority), way)
        if way.proxy is None or way.tunnel:
            start = opening(request, target, authority)
        else:
            url = f"{scheme}://{authority}{target}"
            start = opening(request, url, authority, way.proxy.credential)
        return Attempt(request, start, way, self._idle, self.context, max_size)
