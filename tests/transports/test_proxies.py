"""Which proxy a request goes through: the one module that decides it for all transports."""

import pytest

from claude_lite.errors import UsageError
from claude_lite.testing.conformance.hiding import exposed
from claude_lite.wire import MaskedStr
from claude_lite_transports.shared.proxies import Proxy, find_proxy, is_excepted, read_proxy


@pytest.mark.parametrize(
    ("url", "scheme", "host", "port", "credential"),
    [
        ("http://proxy.test:3128", "http", "proxy.test", 3128, None),
        ("HTTP://proxy.test:3128/", "http", "proxy.test", 3128, None),
        ("proxy.test:3128", "http", "proxy.test", 3128, None),
        ("proxy", "http", "proxy", 80, None),
        ("https://proxy", "https", "proxy", 443, None),
        ("http://[::1]:8080", "http", "[::1]", 8080, None),
        ("http://bücher.test:1", "http", "bücher.test", 1, None),
        ("http://me:p%40ss@proxy:1", "http", "proxy", 1, "Basic bWU6cEBzcw=="),
        ("http://me:p@ss@proxy:1", "http", "proxy", 1, "Basic bWU6cEBzcw=="),
        ("me:p@ss@proxy:1", "http", "proxy", 1, "Basic bWU6cEBzcw=="),
        ("http://me@proxy:1", "http", "proxy", 1, "Basic bWU6"),
        ("http://me:a/b#c@proxy:1", "http", "proxy", 1, "Basic bWU6YS9iI2M="),
        ("http://me:a://b@proxy:1", "http", "proxy", 1, "Basic bWU6YTovL2I="),
        ("http://m%C3%A9:ü@proxy:1", "http", "proxy", 1, "Basic bcOpOsO8"),
        ("http://me:%FF@proxy:1", "http", "proxy", 1, "Basic bWU677+9"),
    ],
)
def test_reading(url, scheme, host, port, credential):
    """The scheme and the port may be left out, and a password may be pasted as it is."""
    found = read_proxy(MaskedStr(url))
    assert found == Proxy(scheme, host, port, credential)
    assert found.url == f"{scheme}://{host}:{port}"
    assert credential is None or credential not in repr(found)


@pytest.mark.parametrize(
    ("url", "wrong"),
    [
        ("", "it is not http://"),
        ("http://", "it is not http://"),
        ("http://:1", "it is not http://"),
        ("http://a b:1", "it is not http://"),
        ("http://a:0", "it is not http://"),
        ("http://a:65536", "it is not http://"),
        ("http://a:1/proxy.pac", "it is not http://"),
        ("http://me:canary@", "it is not http://"),
        ("canary://a:1", "it is not http://"),
        ("me:canary://p@a:1", "it is not http://"),
        ("socks5://me:canary@a:1", "socks5 proxies are not supported"),
        ("SOCKS5H://a:1", "socks5h proxies are not supported"),
    ],
)
def test_a_url_that_cannot_be_used(url, wrong):
    """What is wrong is said without a word of the URL, which may hold a password."""
    found = read_proxy(MaskedStr(url))
    assert isinstance(found, str)
    assert found.startswith(wrong)
    assert "canary" not in found


@pytest.mark.parametrize(
    ("place", "no_proxy"),
    [
        ("api.test:443", "*"),
        ("api.test:443", "other.test, *"),
        ("api.test:443", "api.test"),
        ("api.test:443", "other.test,api.test"),
        ("api.test:443", " other.test , api.test "),
        ("api.test:443", "other.test api.test"),
        ("api.test:443", ",,api.test,"),
        ("api.test:443", "test"),
        ("api.test:443", ".test"),
        ("api.test:443", "*.test"),
        ("api.test:443", ".api.test"),
        ("api.test:443", "API.Test"),
        ("API.test:443", "api.test"),
        ("api.test.:443", "api.test"),
        ("api.test:443", "api.test."),
        ("api.test:443", "api.test:443"),
        ("api.test:443", ".test:443"),
        ("xn--bcher-kva.test:443", "bücher.test"),
        ("10.1.2.3:80", "10.1.2.3"),
        ("10.1.2.3:80", "10.1.2.3:80"),
        ("10.1.2.3:80", "10.0.0.0/8"),
        ("10.1.2.3:80", "10.1.2.3/8"),
        ("10.1.2.3:80", "10.0.0.0/255.0.0.0"),
        ("10.1.2.3:80", "fd00::/8,10.0.0.0/8,junk/99"),
        ("10.1.2.3:80", "::ffff:10.0.0.0/104"),
        ("10.1.2.3:80", "0.0.0.0/0"),
        ("127.1:80", "127.0.0.0/8"),
        ("2130706433:80", "127.0.0.1"),
        ("0x7f.1:80", "127.0.0.1"),
        ("[::1]:80", "::1"),
        ("[::1]:80", "[::1]"),
        ("[::1]:80", "[::1]:80"),
        ("[::1]:80", "::1/128"),
        ("[::1]:80", "0:0:0:0:0:0:0:1"),
        ("[FD00::A]:80", "fd00::/8"),
        ("[fd00::a]:80", "[fd00::]/8"),
        ("[fd00::a]:80", "FD00:0::000A"),
        ("[fe80::1%25eth0]:80", "fe80::/10"),
        ("[::ffff:10.1.2.3]:80", "10.0.0.0/8"),
        ("localhost:80", "localhost"),
    ],
)
def test_what_no_proxy_excepts(place, no_proxy):
    """Names with those below them, addresses in every form, and networks are excepted."""
    assert is_excepted(place, no_proxy)


@pytest.mark.parametrize(
    ("place", "no_proxy"),
    [
        ("api.test:443", ""),
        ("api.test:443", " , "),
        ("api.test:443", "."),
        ("api.test:443", "pi.test"),
        ("api.test:443", "other.test"),
        ("api.test:443", "www.api.test"),
        ("api.test:443", "api.test:80"),
        ("api.test:443", ":443"),
        ("api.test:443", "0.0.0.0/0,::/0"),
        ("10.1.2.3:80", "2.3"),
        ("10.1.2.3:80", ".3"),
        ("10.1.2.3:80", "10.1.2.3:443"),
        ("10.1.2.3:80", "11.0.0.0/8"),
        ("10.1.2.3:80", "10.0.0.0/33"),
        ("10.1.2.3:80", "10.0.0.0/"),
        ("10.1.2.3:80", "fd00::/8"),
        ("[::1]:80", "[::1]:443"),
        ("[::1]:80", "1"),
        ("[::1]:80", "::2"),
        ("[::2]:80", "::1"),
        ("[fd00::a]:80", "10.0.0.0/8"),
        ("api.test:443", "bü" + "ü" * 80 + ".test"),
    ],
)
def test_what_no_proxy_does_not_except(place, no_proxy):
    """Entries of other hosts, ports and networks, and entries that mean nothing, do nothing."""
    assert not is_excepted(place, no_proxy)


@pytest.fixture
def environment(monkeypatch):
    """Give what sets the variables of proxies, after none is left."""
    for name in ("http", "https", "all", "no"):
        monkeypatch.delenv(f"{name}_proxy", raising=False)
        monkeypatch.delenv(f"{name.upper()}_PROXY", raising=False)
    return lambda **variables: [monkeypatch.setenv(*pair) for pair in variables.items()]


def find(**options):
    """Find the proxy for https://api.test."""
    found = find_proxy("https", "api.test:443", **{"proxy": None, "trust_env": True, **options})
    return found and found.url


def test_the_option_comes_before_the_environment(environment):
    """An option is used whatever the environment says; without trust in it nothing else is."""
    environment(HTTPS_PROXY="http://outer:1", NO_PROXY="api.test")
    assert find(proxy="http://own:2") == find(proxy="http://own:2", trust_env=False)
    assert find(proxy="http://own:2") == "http://own:2"
    assert find() is None
    environment(NO_PROXY="other.test")
    assert find() == "http://outer:1"
    assert find(trust_env=False) is None


def test_no_proxy_may_name_the_port(environment):
    """The port counts where NO_PROXY names one, though the URL of a request may leave it out."""
    environment(https_proxy="http://outer:1", no_proxy="api.test:443")
    assert find() is None
    environment(no_proxy="api.test:80")
    assert find() == "http://outer:1"


def test_which_variable_counts(environment):
    """The scheme's before the one for all, lower case before upper case, also if it is empty."""
    environment(ALL_PROXY="http://a:1")
    assert find() == "http://a:1"
    environment(HTTPS_PROXY="http://b:1")
    assert find() == "http://b:1"
    environment(https_proxy="http://c:1")
    assert find() == "http://c:1"
    environment(https_proxy="")
    assert find() == "http://a:1"
    environment(HTTP_PROXY="http://d:1", NO_PROXY="api.test", no_proxy="")
    assert find() == "http://a:1"
    environment(no_proxy="api.test")
    assert find() is None


def test_within_cgi(environment, monkeypatch):
    """HTTP_PROXY comes from whoever sends a request to a CGI program, and is not read there."""
    environment(HTTP_PROXY="http://evil.test:1")

    def found():
        return find_proxy("http", "api.test:80", proxy=None, trust_env=True)

    assert found().host == "evil.test"
    monkeypatch.setenv("REQUEST_METHOD", "GET")
    assert found() is None
    environment(http_proxy="http://own.test:1")
    assert found().host == "own.test"


@pytest.mark.parametrize("named", ["HTTPS_PROXY", "ALL_PROXY", "https_proxy", "all_proxy"])
def test_an_error_names_its_source(environment, named):
    """The error says which variable is wrong, and shows no password."""
    environment(**{named: "socks5://me:canary@p:1"})
    with pytest.raises(UsageError, match=rf"^the variable {named} cannot be used") as caught:
        find()
    traceback = caught.value.__traceback__.tb_next  # this test's own variables aside
    assert "canary" not in "".join(exposed(caught.value.with_traceback(traceback)))
    assert "trust_env=False" in caught.value.advice


def test_not_every_transport_encrypts_to_a_proxy():
    """A proxy whose URL begins with https is for the transports that can use one."""
    assert find(proxy="https://p", encrypted=True) == "https://p:443"
    with pytest.raises(UsageError, match="https proxies are not supported by this transport"):
        find(proxy="https://p")
