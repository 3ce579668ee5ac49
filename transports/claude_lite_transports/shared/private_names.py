"""The names of aiohttp and asyncio that these libraries do not promise, and why each is used.

The aiohttp transport needs properties that aiohttp's public API cannot give: what a server sends
unasked is never taken for a reply, one clock watches all attempts, the end of a body is exact, and
a close waits for nothing. So it uses names that may be gone in any version of aiohttp. All of them
stand here. They are checked once, when a transport is loaded or made, and never in a call: a name
that is missing is then an error that says what to do, and not a failure in the middle of a request.

A name is written `module:Class.attribute`, or `module:Class.method(parameter)`. This module
imports neither library: the asyncio transport does without aiohttp.
"""

import sys
from collections.abc import Iterable
from functools import cache
from importlib import import_module
from typing import Final

from claude_lite.errors import UsageError

TESTED: Final = ("3.12.15", "3.14.5")
"""The oldest and the newest version of aiohttp that the tests of the transport passed with."""

AIOHTTP: Final = {
    # A connection: it is read into our buffer, and is asked for a reply without a session.
    "aiohttp.client_proto:ResponseHandler": "the protocol of a connection, which we extend",
    "aiohttp.client_proto:ResponseHandler._loop": "makes the future that `read` awaits",
    "aiohttp.client_proto:ResponseHandler._waiter": "tells whether a task waits for a head, which "
    "then parses what has come itself, and wakes it",
    "aiohttp.client_proto:ResponseHandler._buffer": "tells whether a head has been parsed",
    "aiohttp.client_proto:ResponseHandler._exception": "tells that bytes were refused, which are "
    "then parsed head by head",
    "aiohttp.client_proto:ResponseHandler._eof": "tells whether no head will come",
    "aiohttp.client_proto:ResponseHandler._payload": "the body under way, which is told of a reset",
    "aiohttp.client_proto:ResponseHandler._reading_paused": "saves the cost of a resume that "
    "aiohttp asks for after each read, paused or not",
    "aiohttp.client_proto:ResponseHandler.read": "awaits a head",
    "aiohttp.client_proto:ResponseHandler.feed_data": "tells the status, before the body is read",
    "aiohttp.client_proto:ResponseHandler.data_received": "parses what has come",
    "aiohttp.client_proto:ResponseHandler.connection_lost": "ends the reply",
    "aiohttp.client_proto:ResponseHandler.pause_reading": "stops the socket under TLS, not TLS",
    "aiohttp.client_proto:ResponseHandler.resume_reading": "starts the socket under TLS again",
    "aiohttp.client_proto:ResponseHandler.transport": "is written to, polled and aborted",
    "aiohttp.client_proto:ResponseHandler.abort": "closes without waiting for unsent bytes",
    "aiohttp.client_proto:ResponseHandler.closed": "tells a reader of the end that it waits for",
    "aiohttp.client_proto:ResponseHandler.exception": "tells which limit the trailers have passed",
    "aiohttp.client_proto:ResponseHandler.set_exception": "wakes who waits for a head in vain",
    "aiohttp.client_proto:ResponseHandler.force_close": "keeps a connection that is owed the rest "
    "of a body from being used again",
    "aiohttp.client_proto:ResponseHandler.should_close": "tells whether it can be used again",
    "aiohttp.client_proto:ResponseHandler.read_timeout": "switches off aiohttp's clock for a body",
    "aiohttp.client_proto:ResponseHandler.start_timeout": "starts aiohttp's clock after an upload",
    "aiohttp.client_proto:ResponseHandler.writing_paused": "tells whether an upload waits",
    "aiohttp.client_proto:ResponseHandler.pause_writing": "puts that back, once the upload ends",
    "aiohttp.client_proto:ResponseHandler.resume_writing": "ends the wait of a cancelled upload",
    "aiohttp.client_proto:ResponseHandler.set_response_params(skip_payload)": "a reply to HEAD "
    "has no body",
    "aiohttp.client_proto:ResponseHandler.set_response_params(read_until_eof)": "some bodies end "
    "with the connection",
    "aiohttp.client_proto:ResponseHandler.set_response_params(auto_decompress)": "the core "
    "decompresses, within a limit",
    "aiohttp.client_proto:ResponseHandler.set_response_params(read_timeout)": "the limit on "
    "silence, for large uploads",
    "aiohttp.client_proto:ResponseHandler.set_response_params(read_bufsize)": "bounds what is read "
    "ahead of a reader",
    "aiohttp.client_proto:ResponseHandler.set_response_params(max_line_size)": "bounds a head",
    "aiohttp.client_proto:ResponseHandler.set_response_params(max_field_size)": "bounds a head",
    # What is read.
    "aiohttp.http:RawResponseMessage": "a head, in the bytes that it came in",
    "aiohttp.http:HttpProcessingError": "what a parser raises, and in which words a limit is told",
    "aiohttp.http:StreamWriter": "awaits room for the next piece of an upload",
    "aiohttp.streams:StreamReader._buffer": "joins pieces before they are read: aiohttp has a lot "
    "to do for every HTTP chunk",
    "aiohttp.streams:StreamReader._read_nowait": "takes what came before an error, which "
    "`read_nowait` would raise instead",
    "aiohttp.streams:StreamReader._wait": "awaits more without reading, as `readany` does",
    "aiohttp.streams:StreamReader.total_bytes": "tells whether a body is within its limit",
    "aiohttp.streams:StreamReader.set_exception": "tells a reader that its time is up",
    # Where to connect to.
    "aiohttp.client_reqrep:ClientRequest.connection_key": "is made once for each server",
    "aiohttp.client_reqrep:ClientRequest.headers": "have the `host` of a request",
    "aiohttp.client_reqrep:ClientRequest.host": "is named in errors",
    "aiohttp.client_reqrep:ClientRequest.port": "is named in errors",
    "aiohttp.client_reqrep:ClientRequest.is_ssl": "tells whether a proxy is asked for a tunnel",
    "aiohttp.client_reqrep:ClientRequest.proxy": "tells whether a proxy is asked at all",
    "aiohttp.client_reqrep:ClientRequest.__init__(loop)": "is made without a session",
    "aiohttp.client_reqrep:ClientRequest.__init__(ssl)": "has the context for this server",
    "aiohttp.client_reqrep:ClientRequest.__init__(proxy)": "has the proxy for this server",
    "aiohttp.client_reqrep:ClientRequest.__init__(proxy_headers)": "has the proxy's credential",
    "aiohttp.client_reqrep:ClientRequest.__init__(server_hostname)": "has no dot at its end",
    "aiohttp.client_reqrep:ConnectionKey": "the type of a server's key in the pool",
    # The pool.
    "aiohttp.connector:BaseConnector.connect": "takes a connection from the pool, or opens one",
    "aiohttp.connector:BaseConnector._loop": "is that of the protocols which we make",
    "aiohttp.connector:BaseConnector._factory": "makes our protocol for each connection",
    "aiohttp.connector:BaseConnector._get": "passes over connections that the server has closed",
    "aiohttp.connector:BaseConnector._available_connections": "tells whether a caller's session "
    "has a place, so that the wait for one is no part of the time to connect",
    "aiohttp.connector:BaseConnector._wait_for_available_connection": "waits for such a place",
    "aiohttp.connector:BaseConnector._release_waiter": "gives on the turn of who gave up waiting "
    "for a connection, which aiohttp loses",
    "aiohttp.connector:BaseConnector._conns": "has the idle connections, to be closed at once",
    "aiohttp.connector:BaseConnector._acquired": "has the busy connections, to be closed at once",
    "aiohttp.connector:BaseConnector._close": "closes a pool whose loop is closed already",
    "aiohttp.connector:TCPConnector._create_connection": "refuses a connection that ended before "
    "its use, so that nothing counts as sent",
    "aiohttp.connector:TCPConnector._wrap_create_connection": "sets TLS up on a socket that we "
    "know, so that the socket can be paused",
    "aiohttp.connector:TCPConnector._start_tls_connection": "tells the socket under TLS",
    "aiohttp.connector:TCPConnector.__init__(socket_factory)": "sets the options of TCP",
    "aiohttp.connector:TCPConnector.__init__(timeout_ceil_threshold)": "keeps timeouts exact",
    "aiohttp.connector:Connection.protocol": "is what a request is made on",
    "aiohttp.connector:AddrInfoType": "the type of an address",
    "aiohttp.abc:AbstractResolver": "looks addresses up in our own threads",
    "aiohttp.abc:ResolveResult": "the type of what it finds",
    "aiohttp.tracing:Trace": "the type of an argument that we hand on",
}

NEWER_AIOHTTP: Final = {
    "aiohttp.client_proto:ResponseHandler.set_response_params(max_headers)": "bounds a head; "
    "older ones have no such bound, and the heads are counted after they were parsed",
    "aiohttp.client_proto:ResponseHandler._pause_transport_reading": "stops the socket under TLS; "
    "older ones have `pause_reading` alone (from 3.14.4 on)",
    "aiohttp.client_proto:ResponseHandler._resume_transport_reading": "starts it again",
}
"""Names that only newer versions have; older ones are used without them."""

ASYNCIO: Final = {
    "asyncio.selector_events:_SelectorTransport._call_connection_lost": "closes the socket of a "
    "transport whose loop is closed: nothing public does that without the loop",
    "asyncio.sslproto:_SSLProtocolTransport._ssl_protocol": "finds the transport under TLS",
    "asyncio.sslproto:SSLProtocol._transport": "is the transport under TLS",
}


@cache
def require_aiohttp() -> None:
    """Check, once, that aiohttp has all that the transport uses; raises `UsageError`."""
    import aiohttp

    if lost := missing_names(AIOHTTP):
        raise UsageError(
            f"aiohttp {aiohttp.__version__} has no {', '.join(lost)}",
            advice=f"Pin aiohttp to a version from {TESTED[0]} to {TESTED[1]}, or use "
            'transport="asyncio" (or "urllib" in a Client). Please report it.',
        )


@cache
def require_asyncio() -> None:
    """Check, once, that asyncio has all that its transports use; raises `UsageError`."""
    if lost := missing_names(ASYNCIO):
        raise UsageError(
            f"Python {sys.version.split()[0]} has no {', '.join(lost)}",
            advice='Use an older Python, or transport="urllib" in a Client. Please report it.',
        )


def missing_names(names: Iterable[str]) -> list[str]:
    """List the names that are not there."""
    return [name for name in names if not exists(name)]


def exists(name: str) -> bool:
    """Tell whether a module, and the class, attribute or parameter in it, is there."""
    module, _, path = name.partition(":")
    place, _, parameter = path.rstrip(")").partition("(")
    owner, _, attribute = place.partition(".")
    try:
        found = getattr(import_module(module), owner, None)
    except ImportError:
        return False
    if found is None or not attribute:
        return found is not None
    if not parameter:
        return hasattr(found, attribute) or _is_set(found, attribute)
    method = getattr(found, attribute, None)
    code = getattr(method, "__code__", None)
    if code is None:
        return method is not None  # what is compiled cannot be looked into
    return parameter in code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]


def _is_set(owner: type, attribute: str) -> bool:
    """Tell whether a class sets an attribute of its instances, by the code of its methods.

    There is no instance to ask: most need a running loop. A compiled class may have anything.
    """
    for cls in owner.__mro__[:-1]:
        for method in vars(cls).values():
            code = getattr(method, "__code__", None)
            if code is not None and attribute in code.co_names:
                return True
    return not any(hasattr(method, "__code__") for method in vars(owner).values())
