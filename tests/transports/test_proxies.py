"""Which proxy a request goes through: the one module that decides it for all transports."""

import pytest

from claude_lite.errors import UsageError
from claude_lite.testing.conformance.hiding import exposed
from claude_lite.wire import MaskedStr
from claude_lite_transports.shared.proxies import Proxy, choose_proxy, find_proxy, read_proxy


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
    ("scheme", "proxies", "bypassed", "expected"),
    [
        ("https", {"https": "http://a", "all": "http://b"}, False, "http://a"),
        ("https", {"http": "http://a", "all": "http://b"}, False, "http://b"),
        ("https", {"https": "", "all": "http://b"}, False, "http://b"),
        ("https", {"http": "http://a"}, False, None),
        ("http", {"http": "http://a"}, True, None),
        ("http", {}, False, None),
    ],
)
def test_choosing(scheme, proxies, bypassed, expected):
    """A proxy for the scheme is preferred, then the one for all, unless the place is excepted."""
    asked = []
    found = choose_proxy(scheme, "api.test:443", proxies, lambda at: asked.append(at) or bypassed)
    assert found == expected
    assert set(asked) <= {"api.test:443"}
    assert found is None or "http" not in repr(found)


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


@pytest.mark.parametrize("named", ["HTTPS_PROXY", "ALL_PROXY"])
def test_an_error_names_its_source(environment, named):
    """The error says whether the option or the environment is wrong, and shows no password."""
    environment(**{named: "socks5://me:canary@p:1"})
    with pytest.raises(UsageError, match=r"^HTTPS_PROXY or ALL_PROXY cannot be used") as caught:
        find()
    traceback = caught.value.__traceback__.tb_next  # this test's own variables aside
    assert "canary" not in "".join(exposed(caught.value.with_traceback(traceback)))
    assert "trust_env=False" in caught.value.advice


def test_not_every_transport_encrypts_to_a_proxy():
    """A proxy whose URL begins with https is for the transports that can use one."""
    assert find(proxy="https://p", encrypted=True) == "https://p:443"
    with pytest.raises(UsageError, match="https proxies are not supported by this transport"):
        find(proxy="https://p")
