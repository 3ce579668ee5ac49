"""The options of transports: the same names, defaults and checks, whichever transport it is."""

import asyncio
import inspect
import math
import pickle
import ssl
import threading

import pytest

from claude_lite.errors import UsageError
from claude_lite.testing.conformance.hiding import exposed
from claude_lite.testing.conformance.loopback import LoopbackServer
from claude_lite.wire import Request
from claude_lite_transports.aiohttp import AiohttpTransport
from claude_lite_transports.urllib import UrllibTransport

TRANSPORTS = [AiohttpTransport, UrllibTransport]
try:
    import httptools  # noqa: F401  # of the extra `fast`
except ImportError:  # pragma: no cover
    pass
else:
    from claude_lite_transports.asyncio import AsyncioTransport

    TRANSPORTS.append(AsyncioTransport)

transports = pytest.mark.parametrize("transport", TRANSPORTS)


@transports
def test_the_options_are_the_same(transport):
    """All have the same five options with the same defaults; two have one more."""
    found = {p.name: p.default for p in inspect.signature(transport).parameters.values()}
    own = {"AiohttpTransport": {"session": None}, "UrllibTransport": {"pool_size": 64}}
    common = {
        "ssl_context": None,
        "proxy": None,
        "trust_env": True,
        "keepalive_timeout": 50.0,
        "max_connections": None,
    }
    assert found == common | own.get(transport.__name__, {})


@transports
@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"ssl_context": True}, "`ssl_context` has to be an ssl.SSLContext or None, not bool"),
        ({"ssl_context": "ca.pem"}, "`ssl_context` has to be an ssl.SSLContext or None, not str"),
        ({"proxy": {"https": "http://p"}}, "`proxy` has to be a URL or None, not dict"),
        ({"proxy": b"http://p"}, "`proxy` has to be a URL or None, not bytes"),
        ({"proxy": ""}, "the option `proxy` cannot be used"),
        ({"proxy": "http://me:canary@"}, "the option `proxy` cannot be used"),
        ({"proxy": "socks5://me:canary@p"}, "the option `proxy` cannot be used: socks5 proxies"),
        ({"trust_env": None}, "`trust_env` has to be True or False, not NoneType"),
        ({"trust_env": "no"}, "`trust_env` has to be True or False, not str"),
        ({"keepalive_timeout": None}, "`keepalive_timeout` has to be a number of seconds, not"),
        ({"keepalive_timeout": True}, "`keepalive_timeout` has to be a number of seconds, not"),
        ({"keepalive_timeout": "30"}, "`keepalive_timeout` has to be a number of seconds, not"),
        ({"keepalive_timeout": -1}, "`keepalive_timeout` has to be finite, and 0 seconds or more"),
        ({"keepalive_timeout": math.inf}, "`keepalive_timeout` has to be finite"),
        ({"keepalive_timeout": math.nan}, "`keepalive_timeout` has to be finite"),
        ({"max_connections": 0}, "`max_connections` has to be 1 or more: 0"),
        ({"max_connections": -1}, "`max_connections` has to be 1 or more: -1"),
        ({"max_connections": True}, "`max_connections` has to be an int or None, not bool"),
        ({"max_connections": 9.0}, "`max_connections` has to be an int or None, not float"),
        ({"max_connections": "9"}, "`max_connections` has to be an int or None, not str"),
    ],
)
def test_wrong_options(transport, options, said):
    """A wrong type or value is refused as the transport is made, by its name, and unseen."""
    with pytest.raises(UsageError) as caught:
        transport(**options)
    assert str(caught.value).startswith(said)
    traceback = caught.value.__traceback__.tb_next  # this test's own variables aside
    assert "canary" not in "".join(exposed(caught.value.with_traceback(traceback)))


def test_wrong_options_of_one_transport():
    """The options that only one transport has are checked, too."""
    with pytest.raises(UsageError, match=r"`session` has to be an aiohttp\.ClientSession, not str"):
        AiohttpTransport(session="session")
    for wrong in (-1, 1.0, True, None):
        with pytest.raises(UsageError, match="`pool_size` has to be an int, 0 or more"):
            UrllibTransport(pool_size=wrong)


@transports
def test_what_cannot_be_pickled(transport):
    """An SSLContext and a proxy's password are refused, in the same words everywhere."""
    with pytest.raises(TypeError, match="with an `ssl_context` cannot be pickled"):
        pickle.dumps(transport(ssl_context=ssl.create_default_context()))
    with pytest.raises(TypeError, match="a proxy's password is not pickled"):
        pickle.dumps(transport(proxy="http://me:canary@p:1"))
    made = transport(proxy="http://p:1", trust_env=False, keepalive_timeout=7, max_connections=9)
    twin = pickle.loads(pickle.dumps(made))  # noqa: S301  # made here
    assert twin._options == made._options
    assert "p:1" not in repr(twin._options)


@transports
def test_no_connection_is_kept(transport):
    """Where `keepalive_timeout` is 0, a connection is closed as soon as its reply has come."""
    closed = threading.Event()

    def script(peer):
        peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi")
        peer.gone()
        closed.set()

    made = transport(keepalive_timeout=0, trust_env=False)

    async def call():
        response = await made.send(request)
        await asyncio.to_thread(closed.wait, 3.0)
        return response

    with LoopbackServer(script) as server:
        request = Request("GET", server.url("/"), {})
        if inspect.iscoroutinefunction(transport.send):
            assert asyncio.run(call()).body == b"hi"
        else:
            assert made.send(request).body == b"hi"
        assert closed.wait(3.0)


class Context:
    """What gevent and truststore put in the place of `ssl.SSLContext` may look like."""

    def wrap_bio(self):
        """Have the method that contexts have."""


@transports
def test_contexts_of_other_packages(transport):
    """A context need not be of the class that `ssl.SSLContext` names now."""
    transport(ssl_context=Context())
