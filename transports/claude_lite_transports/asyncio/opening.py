"""The heads of requests, each serialised once for all requests that share it.

Nearly all requests of a client have the same method, URL and headers, and differ only in their
bodies. A head contains the API key, so it is held where no repr and no pickle shows it, and the
number of heads that are kept is small.
"""

from collections.abc import Mapping
from typing import Final, NoReturn

from attrs import evolve

from claude_lite.wire import Request
from claude_lite_transports.shared.dial import Way
from claude_lite_transports.shared.http1 import opening

_NO_BODY: Final = b"\r\ncontent-length: 0\r\n\r\n"


class Opening:
    """The head of requests on a way to a server, up to the size of their bodies.

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
        raise TypeError("the head of a request is not pickled: it contains a credential")

    def fits(self, headers: Mapping[str, str]) -> bool:
        """Whether it was made from headers like these: the mapping may have changed since."""
        return self._headers == headers

    def with_body(self, body: bytes, size: int) -> memoryview:
        """Return the head for a body of *size* bytes, and *body*; a memoryview, for its repr."""
        if not size:
            return memoryview(self._empty)
        return memoryview(b"%b\r\ncontent-length: %d\r\n\r\n%b" % (self._head, size, body))
