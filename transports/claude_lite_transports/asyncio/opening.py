"""The heads of requests, each serialised once for all the requests that share it.

Nearly all requests of a client have the same method, URL and headers, and differ in their
bodies only. What is kept has the API key in it: it is held where no repr and no pickle get at
it, and there is little of it at a time.
"""

from collections.abc import Mapping
from typing import Final, NoReturn

from attrs import evolve

from claude_lite.wire import Request
from claude_lite_transports.shared.dial import Way
from claude_lite_transports.shared.http1 import opening

_NO_BODY: Final = b"\r\ncontent-length: 0\r\n\r\n"


class Opening:
    """What requests to `way` begin with, up to the size of their bodies.

    Raises `UsageError` for what cannot stand in a head.
    """

    __slots__ = ("_empty", "_head", "_headers", "way")

    def __init__(self, request: Request, way: Way, url: tuple[str, str, str]) -> None:
        scheme, authority, target = url
        credential = None
        if way.proxy is not None and not way.tunnel:
            target, credential = f"{scheme}://{authority}{target}", way.proxy.credential
        bare = evolve(request, body=b"")
        self.way = way
        self._headers = dict(request.headers)
        self._empty = bytes(opening(bare, target, authority, credential))
        self._head = self._empty.removesuffix(_NO_BODY).removesuffix(b"\r\n\r\n")

    def __reduce__(self) -> NoReturn:
        raise TypeError("what has a credential in it is not pickled")

    def fits(self, headers: Mapping[str, str]) -> bool:
        """Say whether it was made for such headers, which may have been changed since."""
        return self._headers == headers

    def with_body(self, body: bytes, size: int) -> memoryview:
        """Return a head for `size` bytes, and `body`. As a memoryview: its repr shows nothing."""
        if not size:
            return memoryview(self._empty)
        return memoryview(b"%b\r\ncontent-length: %d\r\n\r\n%b" % (self._head, size, body))
