"""The synchronous transport: blocking sockets and the standard library, nothing else.

It is named for `urllib`, because it finds proxies as `urllib` does. It keeps idle connections,
holds each attempt to its limits, and turns failures into the errors of `claude_lite`. It never
retries, follows a redirect, decompresses, keeps a cookie, or starts a thread.
"""

import ssl
import time
import weakref
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

from claude_lite.errors import ClaudeError, UsageError
from claude_lite.wire import HeadAndChunks, Request, Response
from claude_lite_transports.shared.dial import Way, find_way, split_url
from claude_lite_transports.shared.http1 import opening
from claude_lite_transports.shared.options import KEEPALIVE_TIMEOUT, check_options, checking
from claude_lite_transports.shared.places import PlacesByProcess
from claude_lite_transports.shared.whole import unless_whole
from claude_lite_transports.urllib.attempt import Attempt
from claude_lite_transports.urllib.idle import Idle


class UrllibTransport:
    """A `claude_lite.wire.Transport` over blocking sockets.

    One transport serves any number of threads (and of gevent's greenlets); a forked process
    makes connections of its own. It can be pickled if it has neither an `ssl_context` nor a
    proxy with a password.

    An idle connection is looked at before it is used again, and one that the server has closed
    is passed over. If the server closes it just as a request is under way, nobody can tell
    whether the request was read: the error is `ConnectionLost`, unless no byte had gone out.
    """

    @checking
    def __init__(
        self,
        *,
        ssl_context: ssl.SSLContext | None = None,
        proxy: str | None = None,
        trust_env: bool = True,
        keepalive_timeout: float = KEEPALIVE_TIMEOUT,
        max_connections: int | None = None,
        pool_size: int = 64,
    ) -> None:
        """Make a transport; its connections are opened by requests.

        Args:
            ssl_context: What verifies the certificates of servers. By default one context,
                made at the first use, is shared by all transports.
            proxy: The URL of a proxy for every request, `http://[user:password@]host[:port]`.
                NO_PROXY does not apply to it.
            trust_env: Whether HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY decide where
                there is no `proxy`. They are read at the first request to each server.
            keepalive_timeout: Seconds for which an idle connection is kept, 0 for none.
            max_connections: How many connections may be open, of all hosts and threads of a
                process together; further calls wait, first come, first served. By default
                half of the files that the process may open (`ulimit -n`).
            pool_size: How many idle connections to one server are kept.

        Raises:
            UsageError: An option has a wrong type or value.

        """
        self._options = check_options(
            ssl_context, proxy, trust_env, keepalive_timeout, max_connections
        )
        self._places = PlacesByProcess(max_connections)
        if pool_size < 0:
            raise UsageError(f"`pool_size` has to be an int, 0 or more, not {pool_size}")
        self._pool_size = pool_size
        self._idle = Idle(pool_size, keepalive_timeout)
        self._ways: dict[tuple[str, str], Way] = {}
        weakref.finalize(self, self._idle.end)

    def __reduce__(self) -> tuple[Any, ...]:
        options = self._options.for_pickle()
        return partial(type(self), pool_size=self._pool_size, **options), ()

    def send(self, request: Request, /) -> Response:
        """Send a request and return the whole response, whatever its status.

        Raises the leaves of `TransportError`, `UnexpectedResponse` if the reply is not HTTP,
        `ResponseTooLarge`, and `UsageError` if the request cannot be put on the wire.
        """
        body, error = bytearray(), None
        with self._attempt(request, request.limits.max_response) as (head, chunks):
            try:
                for chunk in chunks:
                    body += chunk  # not kept apart: there may be millions, of two bytes each
            except ClaudeError as failure:
                error = unless_whole(failure, head.headers, body)
                chunk = b""  # a server may repeat the API key, and tracebacks may show variables
        if error is not None:
            del head, body
            raise error.with_traceback(None)
        return Response(head.status, head.headers, bytes(body))

    def stream(self, request: Request, /) -> AbstractContextManager[HeadAndChunks]:
        """Send a request; the context gives the head of the response and an iterator of chunks.

        Raises what `send` raises: here, on entering, and while the chunks are read.
        """
        return self._attempt(request, None)

    def sleep(self, seconds: float, /) -> None:
        """Block this thread for *seconds*."""
        time.sleep(max(0.0, seconds))

    def close(self) -> None:
        """Close this process's connections: idle ones now, others when their calls are over.

        The next request opens new ones.
        """
        self._idle.close()

    def _attempt(self, request: Request, max_size: int | None) -> Attempt:
        scheme, authority, target = split_url(request.url)
        way = self._ways.get((scheme, authority))
        if way is None:
            way = find_way(scheme, authority, self._options)
            way = self._ways.setdefault((scheme, authority), way)
        if way.proxy is None or way.tunnel:
            start = opening(request, target, authority)
        else:
            url = f"{scheme}://{authority}{target}"
            start = opening(request, url, authority, way.proxy.credential)
        places, context = self._places.here(self._idle), self._options.ssl_context
        return Attempt(request, start, way, self._idle, places, context, max_size)
