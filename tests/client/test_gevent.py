"""The synchronous client on gevent's greenlets: patched sockets and waits, nothing of our own."""

import ssl

import pytest
from certificates import PEM
from programs import EchoServer, python

PATCH = "from gevent import monkey; monkey.patch_all(); import gevent\n"
GREENLETS = """
def together(number, work):
    jobs = [gevent.spawn(work, n) for n in range(number)]
    gevent.joinall(jobs, raise_error=True)
"""


def on_gevent(code, server):
    """Run a program in which all is patched before anything of ours is imported."""
    return python(GREENLETS + code.replace("\n        ", "\n"), server, first=PATCH)


@pytest.fixture
def server_tls():
    """The TLS of a server that says it is localhost."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(PEM)
    return context


@pytest.mark.slow
def test_fifty_greenlets_at_once():
    """Fifty calls of half a second each take less than ten such calls one by one."""
    code = """
        client = Client(api_key=KEY, base_url=URL)
        say(client, "first")
        began = time.monotonic()
        together(50, lambda n: say(client, f"{n}"))
        assert time.monotonic() - began < 5.0
        together(50, lambda n: say(client, f"{n} again"))
    """
    with EchoServer(after=0.5) as server:
        on_gevent(code, server)
        assert len(server.heard) == 101
        assert server.connections == 50


@pytest.mark.slow
def test_limits_among_greenlets():
    """A deadline ends a call while other greenlets run; gevent's own timeout does as well."""
    code = """
        client = Client(api_key=KEY, base_url=URL, retry=never())
        turns = []

        def turn():
            while True:
                turns.append(time.monotonic())
                gevent.sleep(0.01)

        turning = gevent.spawn(turn)
        began = time.monotonic()
        try:
            client.with_options(deadline=0.3).messages.create(**ask("late"))
        except ClaudeError as error:
            assert (type(error).__name__, error.phase) == ("TimedOut", "total")
        assert 0.3 <= time.monotonic() - began < 2.0
        assert len(turns) > 3
        try:
            with gevent.Timeout(0.1):
                client.messages.create(**ask("late, too"))
            raise AssertionError
        except gevent.Timeout:
            pass
        turning.kill()
        say(client, "in time")
        assert sum(map(len, client.transport._idle._stacks.values())) == 1
    """
    with EchoServer(after=2.2) as server:
        on_gevent(code, server)
        assert server.connections == 3


def test_streams_among_greenlets():
    """Greenlets read streams side by side, and killing one closes its connection."""
    code = """
        client, reading = Client(api_key=KEY, base_url=URL), []

        def read(n):
            with client.messages.stream(**ask(f"{n}")) as stream:
                for text in stream.text_stream:
                    reading.append(text)

        jobs = [gevent.spawn(read, n) for n in range(20)]
        while len(reading) < 20:
            gevent.sleep(0.01)
        gevent.killall(jobs)
        assert reading == ["Hel"] * 20
    """
    with EchoServer() as server:
        on_gevent(code, server)
        assert sorted(server.left.get(timeout=5.0) for _ in range(20)) == list(range(20))


def test_stale_connections_are_noticed():
    """An idle connection that the server has closed is not used again on gevent either."""
    code = """
        client = Client(api_key=KEY, base_url=URL, retry=never())
        for n in range(10):
            say(client, f"{n}")
            time.sleep(0.02)
    """
    with EchoServer(once=True) as server:
        on_gevent(code, server)
        assert server.connections == 10


def test_tls_among_greenlets(server_tls):
    """TLS is as it should be with gevent's patched `ssl`, and connections are used again."""
    code = f"""
        import ssl
        from claude_lite_transports.urllib import UrllibTransport
        context = ssl.create_default_context(cafile={str(PEM)!r})
        client = Client(UrllibTransport(ssl_context=context), api_key=KEY, base_url=URL)
        for turn in range(2):
            together(10, lambda n: say(client, f"{{n}} {{turn}}"))
        try:
            Client(api_key=KEY, base_url=URL).messages.create(**ask("trust me"))
        except ClaudeError as error:
            assert type(error).__name__ == "CertificateRefused"
    """
    with EchoServer(server_tls, after=0.1) as server:
        on_gevent(code, server)
        assert len(server.heard) == 20
        assert server.connections == 11
