"""Configuration: where things come from, what is refused, what is derived, what never shows."""

import copy
import gc
import json
import math
import pickle
import traceback
from typing import get_type_hints

import pytest
from attrs import fields
from driving import KEY, UNARY, answer, client, drive

from claude_lite import AsyncClient, Client, CredentialMissing, Secret, UsageError, never
from claude_lite.core.config import Config, Options
from claude_lite.core.credentials import words_to_mask
from claude_lite.core.targets import DEFAULT_BASE_URL
from claude_lite.dialects import Foundry
from claude_lite.testing.conformance.hiding import exposed
from claude_lite.wire import MASK

SECONDS = ("timeout", "connect_timeout", "content_timeout", "deadline")
COUNTS = ("max_response", "max_event", "max_head", "max_headers", "max_depth", "max_values")
ENVIRONMENT = (
    "ANTHROPIC_API_KEY",
    "ANTHROPIC_AUTH_TOKEN",
    "ANTHROPIC_BASE_URL",
    "ANTHROPIC_CUSTOM_HEADERS",
)


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    """Begin with an environment that says nothing; give what changes it."""
    for name in ENVIRONMENT:
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def key_from_environment():
    """Give a key, as a function of an application would."""
    return KEY


def credential(**options):
    """Give the header that carries the credential."""
    headers = Config(**options).target.headers
    return {k: str(v) for k, v in headers.items() if k in ("x-api-key", "authorization")}


def test_the_defaults():
    """Without any option a configuration is for the API itself, by the older version."""
    config = Config()
    assert config.base_url == DEFAULT_BASE_URL == "https://api.anthropic.com"
    assert config.api_version == "2023-06-01"
    assert (config.timeout, config.connect_timeout, config.deadline) == (600, 10, 3600)
    assert config.retry.attempts == 3


def test_options_are_the_fields_of_config():
    """What type checkers know as options is what a configuration has."""
    assert set(get_type_hints(Options)) == {a.name for a in fields(Config)}


def test_the_order_of_credentials(environment):
    """An argument goes before ANTHROPIC_API_KEY, which goes before ANTHROPIC_AUTH_TOKEN."""
    environment.setenv("ANTHROPIC_AUTH_TOKEN", "token-of-the-environment")
    assert credential() == {"authorization": "Bearer token-of-the-environment"}
    environment.setenv("ANTHROPIC_API_KEY", "key-of-the-environment")
    assert credential() == {"x-api-key": "key-of-the-environment"}
    assert credential(auth_token="given") == {"authorization": "Bearer given"}
    assert credential(api_key="given") == {"x-api-key": "given"}
    assert credential(api_key=Secret("given")) == {"x-api-key": "given"}


def test_an_empty_variable_is_no_credential(environment):
    """A variable that is set to nothing counts as not set."""
    environment.setenv("ANTHROPIC_API_KEY", "")
    environment.setenv("ANTHROPIC_AUTH_TOKEN", "token-of-the-environment")
    assert credential() == {"authorization": "Bearer token-of-the-environment"}


def test_a_header_may_be_the_credential(environment):
    """Where `headers` has a credential, no other is added: the API takes one."""
    environment.setenv("ANTHROPIC_API_KEY", "key-of-the-environment")
    assert credential(headers={"Authorization": "Bearer mine"}) == {"authorization": "Bearer mine"}
    assert credential(headers={"X-Api-Key": "mine"}) == {"x-api-key": "mine"}


def test_two_credentials_are_refused():
    """A key and a token together are a `UsageError`, at construction."""
    with pytest.raises(UsageError, match="api_key or auth_token, not both"):
        Client(api_key=KEY, auth_token="token")


@pytest.mark.parametrize("cls", [Client, AsyncClient])
def test_no_credential_is_an_error_of_the_first_call(cls):
    """A client without a credential can be made; its first call says what is missing."""
    made = cls()
    with pytest.raises(CredentialMissing, match="ANTHROPIC_API_KEY"):
        UNARY["create"].build(made.config.target)
    run = drive(UNARY["create"], answer(), made_with=made.config)
    assert isinstance(run.error, CredentialMissing)
    assert run.requests == []


def test_a_credential_may_come_later(environment):
    """A credential that was missing is looked for again at the next call."""
    config = Config()
    with pytest.raises(CredentialMissing):
        UNARY["create"].build(config.target)
    environment.setenv("ANTHROPIC_API_KEY", KEY)
    assert UNARY["create"].build(config.target).headers["x-api-key"] == KEY


@pytest.mark.parametrize("option", ["api_key", "auth_token"])
def test_white_space_around_a_credential_is_not_part_of_it(option, environment):
    """A key read from a file may end in a line break."""
    assert KEY in credential(**{option: f" {KEY}\n"}).popitem()[1].split()
    environment.setenv(f"ANTHROPIC_{option.upper()}", f"{KEY}\r\n")
    assert KEY in credential().popitem()[1].split()


@pytest.mark.parametrize("value", ["", "  ", "two words", "line\nbreak", "schlüssel", "\x00key"])
@pytest.mark.parametrize("option", ["api_key", "auth_token"])
def test_what_cannot_be_a_credential(option, value):
    """A credential is printable ASCII; the error names the option and shows nothing of it."""
    with pytest.raises(UsageError, match=option) as caught:
        credential(**{option: value})
    assert value.strip() == "" or value not in str(caught.value)


def test_the_base_url_comes_from_the_environment(environment):
    """ANTHROPIC_BASE_URL stands in for the default, and an argument for both."""
    environment.setenv("ANTHROPIC_BASE_URL", " https://gateway.test/anthropic/\n")
    assert Config().base_url == "https://gateway.test/anthropic"
    assert Config(base_url="http://localhost:8080").base_url == "http://localhost:8080"


@pytest.mark.parametrize(
    ("base_url", "url"),
    [
        ("https://api.anthropic.com/", "https://api.anthropic.com/v1/messages"),
        ("http://127.0.0.1:80", "http://127.0.0.1:80/v1/messages"),
        ("http://[::1]:8080", "http://[::1]:8080/v1/messages"),
        ("https://gateway.test/a/b%20c/", "https://gateway.test/a/b%20c/v1/messages"),
        ("https://xn--bcher-kva.test", "https://xn--bcher-kva.test/v1/messages"),
        ("https://gateway.test/v1", "https://gateway.test/v1/messages"),
        ("https://gateway.test/v1/", "https://gateway.test/v1/messages"),
        ("https://gateway.test/a/v1/messages/", "https://gateway.test/a/v1/messages"),
        ("https://gateway.test/v1/v1", "https://gateway.test/v1/v1/messages"),
        ("https://gateway.test/v1/v1/messages", "https://gateway.test/v1/v1/messages"),
        ("https://gateway.test/messages", "https://gateway.test/messages/v1/messages"),
        ("https://gateway.test/api-v1", "https://gateway.test/api-v1/v1/messages"),
        ("HTTPS://Gateway.TEST/Path", "https://gateway.test/Path/v1/messages"),
        ("https://gateway.test.", "https://gateway.test/v1/messages"),
        ("https://gateway.test.:8443/", "https://gateway.test:8443/v1/messages"),
        (" 'https://gateway.test/' ", "https://gateway.test/v1/messages"),
        ('"https://gateway.test"\n', "https://gateway.test/v1/messages"),
    ],
)
def test_a_prefix_of_the_path_is_kept(base_url, url):
    """The operation's path is put behind that of the base URL."""
    assert UNARY["create"].build(Config(base_url=base_url, api_key=KEY).target).url == url


def test_v1_is_cut_once():
    """A client that is derived from another one, or made like it, asks the same URL."""
    made = Client(api_key=KEY, base_url="https://gateway.test/v1/v1")
    again = pickle.loads(pickle.dumps(made)).with_options(timeout=6, api_key=KEY)  # noqa: S301  # our own
    alike = Client(api_key=KEY, base_url=again.config.base_url)
    for each in (made, made.with_options(timeout=5), again, alike):
        assert each.config.target.base_url == "https://gateway.test/v1"


@pytest.mark.parametrize(
    "base_url",
    [
        "api.anthropic.com",
        "https://..",
        "https://gateway..test",
        "ftp://api.anthropic.com",
        "https://",
        "https:///v1",
        "https://user:secret@host.test",
        "https://:secret@host.test",
        "https://@host.test",
        "https://host.test?x=1",
        "https://host.test/?",
        "https://host.test/#",
        "https://host.test:port",
        "https://host.test:",
        "https://[::1",
        "https://ho st.test",
        "https://host.test/a b",
        "https://host.test\\@evil.test",
        "https://höst.test",
        "https://host.test/\x7f",
        "https://host.test\r\nx: y",
        "//host.test",
    ],
)
def test_what_cannot_be_a_base_url(base_url):
    """A base URL is http(s), host, port and path; the error shows nothing of what is none."""
    with pytest.raises(UsageError, match="base_url") as caught:
        Client(base_url=base_url)
    assert "secret" not in str(caught.value)


CUSTOM = "X-Team: search\r\n\nOcp-Apim-Subscription-Key:  abcdefgh \nanthropic-beta: env-1\n"


def test_custom_headers_of_the_environment(environment):
    """Each line of ANTHROPIC_CUSTOM_HEADERS is a header; what the program gives goes first."""
    environment.setenv("ANTHROPIC_CUSTOM_HEADERS", CUSTOM)
    made = Config(api_key=KEY, headers={"x-team": "own"}, betas="own-1")
    headers = UNARY["create"].build(made.target).headers
    assert (headers["x-team"], headers["ocp-apim-subscription-key"]) == ("own", "abcdefgh")
    assert headers["anthropic-beta"] == "own-1,env-1"
    assert "abcdefgh" not in repr(made.target)
    assert b"abcdefgh" not in pickle.dumps(made)


def test_a_credential_in_the_custom_headers(environment):
    """A gateway's credential in ANTHROPIC_CUSTOM_HEADERS stands in for the API's own."""
    environment.setenv("ANTHROPIC_CUSTOM_HEADERS", "Authorization: Basic abcdefgh")
    environment.setenv("ANTHROPIC_API_KEY", KEY)
    assert set(Config().target.headers) >= {"authorization"}
    assert "x-api-key" not in Config().target.headers


def test_platforms_get_no_custom_headers(environment):
    """With a dialect, as in the official SDK, the API's own variables are not read."""
    environment.setenv("ANTHROPIC_CUSTOM_HEADERS", "x-team: search")
    assert "x-team" not in Config(dialect=Foundry(resource="r")).target.headers


@pytest.mark.parametrize(
    "line",
    ["secret-0123", "Bearer secret-0123", ": secret-0123", "x y: secret-0123", "x: ✓secret-0123"],
)
def test_a_malformed_custom_header_names_the_variable(environment, line):
    """The error names ANTHROPIC_CUSTOM_HEADERS, and shows nothing of its value."""
    environment.setenv("ANTHROPIC_CUSTOM_HEADERS", f"x-a: 1\n{line}")
    with pytest.raises(UsageError, match="ANTHROPIC_CUSTOM_HEADERS") as caught:
        Config(api_key=KEY).target  # noqa: B018  # a property that raises
    shown = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    local = [frame.locals for frame in shown.stack if frame.filename.endswith("core/config.py")]
    assert "secret" not in repr(local)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "changes", "flags"),
    [
        ({"headers": {"anthropic-beta": "a, b"}, "betas": ["b", "c"]}, {}, ("b", "c", "a")),
        ({"headers": {"Anthropic-Beta": "a"}}, {"betas": "b"}, ("a", "b")),
        ({"betas": "a"}, {"headers": {"ANTHROPIC-BETA": "b,a"}}, ("a", "b")),
        ({"betas": "a,b"}, {"betas": ["c", "a"]}, ("a", "b", "c")),
        ({"betas": "a"}, {"timeout": 5}, ("a",)),
        ({"betas": "a"}, {"headers": {"Anthropic-beta": None}}, ()),
        ({"betas": "a"}, {"headers": {"anthropic-beta": None}, "betas": "b"}, ("b",)),
    ],
)
def test_beta_flags_are_a_union(options, changes, flags):
    """The flags of options, headers and derived clients are sent together, each once."""
    made = Client(api_key=KEY, **options).with_options(**changes).config
    assert made.betas == flags
    sent = UNARY["create"].build(made.target).headers.get("anthropic-beta", "")
    assert tuple(filter(None, sent.split(","))) == flags


def test_a_typo_is_named():
    """An option that does not exist is a `UsageError` that names it, in every place."""
    with pytest.raises(UsageError, match="unknown option: timeoot"):
        Client(timeoot=3)
    with pytest.raises(UsageError, match="unknown option: deadlin, timeoot"):
        AsyncClient(timeoot=3, deadlin=4)
    with pytest.raises(UsageError, match="unknown option: transport"):
        Client().with_options(transport="urllib")


@pytest.mark.parametrize("value", [0, -1, math.nan, math.inf])
@pytest.mark.parametrize(
    "option",
    ["timeout", "connect_timeout", "content_timeout", "deadline", "max_response", "max_event"],
)
def test_limits_are_positive(option, value):
    """A limit is a positive number, or None; the error names the option."""
    with pytest.raises(UsageError, match=option):
        Client(**{option: value})
    with pytest.raises(UsageError, match=option):
        Client().with_options(**{option: value})
    assert getattr(Config(**{option: None}), option) is None


@pytest.mark.parametrize("value", [never, 3, None])
def test_retry_is_a_policy(value):
    """`retry` is a policy: not a number, nor the function that makes one."""
    with pytest.raises(UsageError, match="standard"):
        Client(retry=value)


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("api_key", b"s3cret", "api_key has to be str | Secret | Callable | None, not bytes"),
        ("auth_token", ["s3cret"], "auth_token has to be str | Secret | Callable | None, not list"),
        ("base_url", b"https://u:s3cret@h", "base_url has to be str | None, not bytes"),
        ("dialect", "bedrock", "dialect has to be Dialect | None, not str"),
        ("api_version", None, "api_version has to be str, not NoneType"),
        ("betas", None, "betas has to be str | Sequence, not NoneType"),
        ("betas", b"s3cret", "betas has to be str | Sequence, not bytes"),
        ("betas", [1], "each flag in betas has to be a str, not int"),
        ("headers", [("x-api-key", "s3cret")], "headers has to be a dict, not list"),
        ("headers", "x-api-key: s3cret", "headers has to be a dict, not str"),
        ("headers", {"x-api-key": b"s3cret"}, "the header 'x-api-key' has to be a str, not bytes"),
        ("headers", {"x-team": ["s3cret"]}, "the header 'x-team' has to be a str, not list"),
        ("headers", {b"x-api-key": "s3cret"}, "the name of a header has to be a str, not bytes"),
        ("observe", "s3cret", "observe has to be Callable | None, not str"),
        ("retry", 3, "retry has to be standard(), never() or defer(), not int"),
        *((name, "5", f"{name} has to be float | None, not str") for name in SECONDS),
        *((name, True, f"{name} has to be float | None, not bool") for name in SECONDS),
        *((name, "5", f"{name} has to be int | None, not str") for name in COUNTS),
    ],
)
def test_options_of_a_wrong_type(option, value, said):
    """The error, as the client is made or derived, names the option and both types, no value."""
    for make in (Client, AsyncClient, Client().with_options, Config, Config().with_options):
        with pytest.raises(UsageError) as caught:
            make(**{option: value})
        assert str(caught.value) == said
        inner = caught.value.with_traceback(caught.value.__traceback__.tb_next)
        assert "s3cret" not in "".join(exposed(inner))  # this frame shows it


@pytest.mark.parametrize("value", [b"s3cret", ["s3cret"], None])
def test_a_secret_is_a_text(value):
    """A `Secret` of anything else is refused: it would be sent as Python shows it."""
    with pytest.raises(UsageError, match="a Secret has to be made of a str, not"):
        Secret(value)


def test_every_option_has_a_type():
    """No option is left out of the check."""
    assert set(Options.__annotations__) == {field.name for field in fields(Config)}


@pytest.mark.parametrize("name", ["content-length", "Transfer-Encoding", "te", "upgrade", "expect"])
def test_framing_headers_of_a_client(name):
    """What says where a request ends is the transport's to say; `host` may be set."""
    with pytest.raises(UsageError, match=f"headers cannot have '{name.lower()}'"):
        Client(headers={name: "0"})
    assert Client(headers={"Host": "other.test"}).config.headers == {"host": "other.test"}


def test_limits_of_an_attempt():
    """A transport is told the limits that the options set."""
    config = Config(connect_timeout=1, timeout=2, deadline=3, max_response=4)
    limits = config.limits
    assert (limits.connect, limits.read, limits.total, limits.max_response) == (1, 2, 3, 4)
    assert UNARY["get"].build(config.with_options(api_key=KEY).target).limits == limits


def test_headers_of_the_client_are_sent():
    """The client's headers go with each request, by lower-case names, above the defaults."""
    config = Config(api_key=KEY, headers={"X-Team": "blue", "User-Agent": "mine", "X-Number": 7})
    headers = UNARY["create"].build(config.target).headers
    assert (headers["x-team"], headers["user-agent"], headers["x-number"]) == ("blue", "mine", "7")


@pytest.mark.parametrize(
    "headers",
    [
        {"x": "a\r\nx-evil: 1"},
        {"x": "a\nb"},
        {"x": "a\0b"},
        {"x y": "a"},
        {"x:": "a"},
        {"": "a"},
        {"x\r\ny": "a"},
        {"ü": "a"},
        {"x": "日"},
    ],
)
def test_headers_cannot_break_out(headers):
    """A header that would end its line, or has no valid name, is refused where it is given."""
    with pytest.raises(UsageError, match="header"):
        Client(headers=headers)


@pytest.mark.parametrize("options", [{"betas": ["a", "b\r\nx: y"]}, {"api_version": "1\r\nx: y"}])
def test_betas_and_version_cannot_break_out(options):
    """Betas and the version are headers as well, and are refused at the first call, too."""
    with pytest.raises(UsageError, match="line break"):
        UNARY["create"].build(Config(api_key=KEY, **options).target)


def test_with_options_changes_what_it_is_told():
    """A derived client differs in the named options, and shares the transport."""
    one = client("sync", answer(), timeout=5, betas="a")
    two = one.with_options(deadline=7, betas=["b", "c"])
    assert (two.config.timeout, two.config.deadline, two.config.betas) == (5, 7, ("a", "b", "c"))
    assert (one.config.deadline, one.config.betas) == (3600, ("a",))
    assert two.transport is one.transport
    assert type(two) is type(one)
    assert two.messages is not one.messages


def test_with_options_merges_headers():
    """`headers` are added to those that there are, in any case; None removes one."""
    one = Client(api_key=KEY, headers={"X-One": "1", "X-Two": "2"})
    two = one.with_options(headers={"x-one": None, "X-TWO": "zwei", "x-three": "3"})
    assert two.config.headers == {"x-two": "zwei", "x-three": "3"}
    assert one.config.headers == {"x-one": "1", "x-two": "2"}
    assert Client(headers={"x-none": None}).config.headers == {}


def test_with_options_swaps_the_credential():
    """A key takes a token's place, and the other way round."""
    one = Client(api_key=KEY)
    two = one.with_options(auth_token="token-0123")
    assert set(credential_names(two)) == {"authorization"}
    assert set(credential_names(two.with_options(api_key=KEY))) == {"x-api-key"}
    assert set(credential_names(two.with_options(timeout=1))) == {"authorization"}
    with pytest.raises(UsageError, match="not both"):
        one.with_options(api_key="a", auth_token="b")


def credential_names(made):
    """Name the headers that carry the credential of a client."""
    return {"x-api-key", "authorization"} & made.config.target.headers.keys()


def test_headers_are_made_once():
    """All requests of a client share one map of headers."""
    config = Config(api_key=KEY)
    first, second = UNARY["create"].build(config.target), UNARY["count"].build(config.target)
    assert first.headers is second.headers


@pytest.mark.slow
def test_a_client_is_cheap():
    """A thousand clients are a few thousand objects, and load no transport."""
    made = [Client(api_key=KEY)]
    gc.collect()
    before = len(gc.get_objects())
    made += [Client(api_key=KEY) for _ in range(1000)]
    gc.collect()
    assert (len(gc.get_objects()) - before) / 1000 <= 12
    before = len(gc.get_objects())
    made += [made[0].with_options(timeout=n) for n in range(1, 1001)]
    gc.collect()
    assert (len(gc.get_objects()) - before) / 1000 <= 8
    assert all(one._link.transport is None for one in made)


@pytest.mark.parametrize("cls", [Client, AsyncClient])
def test_a_pickled_client_finds_its_key_again(cls, environment):
    """A client pickles without its secret, and looks for it where it is unpickled."""
    made = cls(api_key=KEY, headers={"authorization": "Bearer secret-1", "x-team": "blue"})
    data = pickle.dumps(made.with_options(timeout=9))
    assert KEY.encode() not in data
    assert b"secret-1" not in data
    copied = pickle.loads(data)  # noqa: S301  # our own
    assert (copied.config.timeout, copied.config.headers) == (9, {"x-team": "blue"})
    with pytest.raises(CredentialMissing, match="not pickled"):
        UNARY["create"].build(copied.config.target)
    environment.setenv("ANTHROPIC_API_KEY", "key-of-the-environment")
    assert (
        UNARY["create"].build(copied.config.target).headers["x-api-key"] == "key-of-the-environment"
    )


def test_a_pickled_client_keeps_its_provider():
    """The function that a credential comes from is pickled by name, and asked again."""
    for option in ("api_key", "auth_token"):
        made = Client(**{option: key_from_environment})
        made = pickle.loads(pickle.dumps(made.with_options(timeout=9)))  # noqa: S301  # our own
        assert made.config.credential_function == (option, key_from_environment)


@pytest.mark.parametrize("copier", [copy.copy, copy.deepcopy])
def test_a_copy_in_this_process_keeps_its_key(copier):
    """Copies, unlike pickles, stay in the process, and with them the secret."""
    made = Client(api_key=KEY, headers={"cookie": "session=0123456789"})
    headers = UNARY["create"].build(copier(made).config.target).headers
    assert (headers["x-api-key"], headers["cookie"]) == (KEY, "session=0123456789")
    assert copier(Secret(KEY)).reveal() == KEY
    assert copier(made.config) is made.config


def test_a_secret_never_shows():
    """A secret shows in no repr, format, pickle or JSON; it can be compared and hashed."""
    secret = Secret(KEY)
    for text in (repr(secret), str(secret), f"{secret}", f"{[secret]}", repr(secret.reveal())):
        assert KEY not in text
        assert MASK in text
    assert KEY.encode() not in pickle.dumps(secret)
    assert pickle.loads(pickle.dumps(secret)) is None  # noqa: S301  # our own
    with pytest.raises(TypeError):
        json.dumps(secret)
    assert secret == Secret(KEY)
    assert secret != Secret("other")
    assert len({secret, Secret(KEY)}) == 1


def test_the_secrets_of_a_configuration():
    """What must not show in what others wrote: credentials in all headers, but no short words."""
    config = Config(
        api_key=KEY, headers={"Cookie": "a=1; session=0123456789", "X-Team": "blue-and-red"}
    )
    assert sorted(config.words_to_mask()) == ["session=0123456789", KEY]
    assert Config(api_key="any").words_to_mask() == []
    assert Config().words_to_mask() == []
    assert words_to_mask("Bearer 0123456789") == ["0123456789"]
    key = "sk-ant-0123456789"
    assert words_to_mask(f'{{"api_key":"{key}"}}') == [f'{{"api_key":"{key}"}}', key]
