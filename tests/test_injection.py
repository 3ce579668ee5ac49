"""No value of a caller's gets to change where a request goes, or what stands around it.

Every operation of the API's table is built with hostile values in each place that it has, and
what was not refused is sent over every transport to a server that keeps the bytes.
"""

import asyncio
import re
from email.parser import BytesParser
from email.policy import HTTP
from functools import cache
from urllib.parse import parse_qsl, unquote, urlsplit

import pytest
from attrs import evolve
from driving import do
from operations_table import CORE, arguments, class_of, is_form

from claude_lite import Client, RawRequest, UsageError
from claude_lite.api.files import UploadFile
from claude_lite.api.skills import CreateSkill
from claude_lite.core.config import Config
from claude_lite.core.operation import Operation
from claude_lite.testing.conformance.loopback import LoopbackServer, reply, replying
from claude_lite.wire import Request
from claude_lite_transports.aiohttp import AiohttpTransport
from claude_lite_transports.asyncio import AsyncioTransport
from claude_lite_transports.urllib import UrllibTransport

KEY = "sk-ant-injection-0123456789"
SPLIT = "x\r\nx-evil: 1\r\n\r\nGET /evil HTTP/1.1\r\n\r\n"

HOSTILE = [
    *("", ".", "..", "...", "../..", "../x", "..\\x", "..;", "..;x", ".;", ";", ";x", "x;y=z"),
    *("%2e%2e", "%2E%2e/", ".%2e", "..%2fx", "x%2f..%2fy", "%5c..", "%252e%252e", "%00", "%0d%0a"),
    *(
        "/",
        "//evil.test",
        "x/y",
        "\\\\evil",
        "?",
        "?x=1",
        "x&y=1",
        "x=1",
        "#",
        "#x",
        "x#y",
        "@evil",
    ),
    *("http://evil.test/", "x y", " x", "x ", "x+y", "\t", "\0", "x\0y", "\n", "x\ny", "\r", SPLIT),
    *("\x0b", "\x0c", "\x1b[2J", "\x7f", "\x85", "\xa0", "é", "日本", "\u2028", "\u202e", "\ufeff"),
    *("\uff0e\uff0e", "\uff0f", "\u2024\u2024", "\u010a\u010d", "\ud800", "\U0001f300", "x" * 3000),
    *(
        "{",
        "{x}",
        "{0.__class__}",
        "%s",
        "'",
        '"',
        "<>",
        "|",
        "^",
        "`",
        "*",
        ",",
        "x,y",
        "[]",
        "a[b]",
    ),
]
TEMPLATE = re.compile(r"\{\w+\}")

TRANSPORTS = {
    "urllib": lambda: UrllibTransport(trust_env=False),
    "aiohttp": lambda: AiohttpTransport(trust_env=False),
    "asyncio": lambda: AsyncioTransport(trust_env=False),
}


def places(one):
    """Name the places of an operation that a caller's text goes to, outside of its body."""
    for kind in ("path", "query", "header"):
        for part in one[f"{kind}_params"]:
            yield kind, part.get("arg") or part["name"]
    yield "query", "extra_query"
    yield "query name", "extra_query"
    yield "header", "extra_headers"
    yield "header name", "extra_headers"


def given(one, kind, name, value, harmless):
    """Give the arguments of an operation with a hostile value in one place."""
    if kind.endswith(" name"):
        return {**harmless, name: {value: "x"}}
    if name == "betas":
        return {**harmless, "betas": [value]}
    if name.startswith("extra_"):
        return {**harmless, name: {"x-it": value}}
    schemas = {p["name"]: p["schema"] for p in one["query_params"]}
    if "array" in schemas.get(name, {}).get("type", ""):
        value = [value]
    return {**harmless, name: value}


def built(name, config, folder):
    """Build the requests of an operation that are not refused, with the place and the value."""
    one = CORE[name]
    path, _, _, body = arguments(one, folder)
    required = {part["name"]: "x" for part in one["query_params"] if part["required"]}
    harmless = {**path, **required, **body}
    for kind, place in places(one):
        for value in HOSTILE:
            try:
                fields = given(one, kind, place, value, harmless)
                yield kind, place, value, class_of(name)(**fields).build(config.target)
            except UsageError:
                continue


def check_path(one, kind, place, value, target):
    """Check that all of the path is the table's, but for the one segment."""
    wanted, found = one["path"].split("/"), target.split("/")
    assert len(found) == len(wanted)
    for expected, segment in zip(wanted, found, strict=True):
        if kind == "path" and expected == f"{{{place}}}":
            assert unquote(segment) == value
            assert unquote(segment).partition(";")[0] not in {"", ".", ".."}
            assert not set("/\\?#") & set(unquote(unquote(segment)))
        elif TEMPLATE.fullmatch(expected):
            assert segment == f"{expected[1:-1]}_1"
        else:
            assert segment == expected


@pytest.mark.parametrize("name", CORE)
def test_a_hostile_value_stays_in_its_place(name, skill):
    """Of path, query and headers nothing else changes, and there is nothing to be decoded twice."""
    one, config = CORE[name], Config(api_key=KEY)
    path, _, _, body = arguments(one, skill)
    required = {part["name"]: "x" for part in one["query_params"] if part["required"]}
    plain = class_of(name)(**path, **required, **body).build(config.target)
    names = set(plain.headers) | {part["name"] for part in one["header_params"]}
    taken = 0
    for kind, place, value, request in built(name, config, skill):
        taken += 1
        split = urlsplit(request.url)
        assert f"{split.scheme}://{split.netloc}" == config.base_url
        assert request.url.isascii()
        assert request.url.isprintable()
        assert not split.fragment
        check_path(one, kind, place, value, split.path)
        pairs = parse_qsl(split.query, keep_blank_values=True)
        others = [pair for pair in pairs if pair[1] != "x"]
        if kind == "query":
            assert [pair[1] for pair in others] in ([value], [])
        elif kind == "query name":
            assert (value, "x") in pairs
        else:
            assert not others
        assert (kind == "header name") or set(request.headers) <= names | {"x-it"}
        assert all(len(v.splitlines()) <= 1 or "\x85" in v for v in request.headers.values())
        assert not any(set(v) & set("\r\n\0\x1b\x7f") for v in request.headers.values())
        assert request.headers["x-api-key"] == KEY
    assert taken > len(HOSTILE)


def test_every_operation_is_in_the_table():
    """So that none is left out above; the others are streams of those, or have no such value."""
    ours = {cls.route.name for cls in subclasses(Operation) if "route" in vars(cls)}
    assert set(CORE) <= ours | {f"beta.{name}" for name in ours}


def subclasses(cls):
    """List the classes of our own below a class."""
    for sub in cls.__subclasses__():
        if sub.__module__.startswith("claude_lite."):
            yield sub
            yield from subclasses(sub)


@cache
def for_the_wire():
    """Pick requests: each place of each operation, and each value in each kind of place."""
    picked, seen = [], set()
    for name in CORE:
        if is_form(CORE[name]):
            continue  # below
        for kind, place, value, request in built(name, Config(api_key=KEY), None):
            if {(name, place), (kind, value)} - seen:
                seen |= {(name, place), (kind, value)}
                picked.append(evolve(request, body=b""))
    return picked


@pytest.mark.parametrize("kind", TRANSPORTS)
def test_the_bytes_that_arrive_are_those_of_the_request(kind):
    """One request for each, with its target and its headers, byte for byte."""

    async def main(url):
        transport = TRANSPORTS[kind]()
        origin = Config(api_key=KEY).base_url
        for request in for_the_wire():
            await do(transport.send, evolve(request, url=request.url.replace(origin, url, 1)))
        await do(transport.close)

    with LoopbackServer(replying(reply(b"{}"))) as server:
        asyncio.run(main(server.url("")))
        assert len(server.received) == len(for_the_wire()) > 500
        for request, received in zip(for_the_wire(), server.received, strict=True):
            assert request.url.endswith(received.target)
            assert received.target.startswith("/v1/")
            assert received.method == request.method
            ours = {"host", "content-length", "connection"}
            assert {name for name, _ in received.headers} <= {*request.headers} | ours
            for name, value in request.headers.items():
                (arrived,) = received.values(name)
                assert arrived.encode("latin-1") in {
                    value.strip(" ").encode("latin-1"),
                    value.strip(" ").encode(),
                }


@pytest.mark.parametrize("kind", TRANSPORTS)
@pytest.mark.parametrize(
    "change",
    [
        {"headers": {"x": SPLIT}},
        {"headers": {SPLIT: "x"}},
        {"headers": {"x": "a\0b"}},
        {"headers": {"x": "a\nb"}},
        {"headers": {"x": "a\rb"}},
        {"method": "GET /evil HTTP/1.1\r\nx: y\r\n\r\nGET"},
        {"target": "/v1 HTTP/1.1\r\nx: y\r\n\r\nGET /"},
        {"target": "/a b"},
        {"target": "/a\tb"},
        {"target": "/\u010a"},
        {"target": "/\r\n"},
        {"target": "@evil.test/"},
    ],
    ids=str,
)
def test_a_transport_refuses_what_the_core_would_not_build(kind, change):
    """A request that a wrapper or a dialect spoiled is refused by the transport itself."""

    async def main(request):
        transport = TRANSPORTS[kind]()
        try:
            with pytest.raises(UsageError):
                await do(transport.send, request)
        finally:
            await do(transport.close)

    with LoopbackServer(replying(reply(b"{}"))) as server:
        url = server.url(change.get("target", "/v1"))
        headers = change.get("headers", {})
        asyncio.run(main(Request(change.get("method", "GET"), url, headers)))
        assert server.received == []


# Raw requests


@pytest.mark.parametrize("value", HOSTILE, ids=ascii)
def test_a_raw_path_stays_on_its_host(value):
    """`client.request` takes a path that is encoded, or refuses it."""
    config = Config(api_key=KEY)
    for path in (value, f"/{value}", f"/v1/{value}", f"/v1/models/{value}/x"):
        try:
            url = RawRequest(method="GET", path=path).build(config.target).url
        except UsageError:
            continue
        split = urlsplit(url)
        assert f"{split.scheme}://{split.netloc}" == config.base_url
        assert url == config.base_url + path
        assert url.isascii()
        assert ".." not in re.split("[/;]", unquote(split.path))
        assert not set(url) & set("\\\r\n\0 #")


# Forms


def parts_of(form):
    """Read a form as a server does: name, filename, type, content of each part."""
    head = f"content-type: {form.content_type}\r\n\r\n".encode()
    body = b"".join(form)
    assert body.count(form.boundary.encode()) == body.count(b"\r\n--") + 1
    assert len(body) == form.size
    return [
        (
            part.get_param("name", header="content-disposition"),
            part.get_filename(),
            sorted(name.lower() for name in part),
            part.get_payload(decode=True),
        )
        for part in BytesParser(policy=HTTP).parsebytes(head + body).iter_parts()
    ]


@pytest.mark.parametrize(
    "value", [*HOSTILE, '"; name="other', 'x"\r\nx-evil: 1\r\n\r\n'], ids=ascii
)
def test_the_name_of_a_file_stays_in_its_part(value):
    """Neither a quote nor a line break in it makes another header, field or part."""
    taken = 0
    for how in ({"filename": value}, {"filename": f"{value}/a.txt"}, {"content_type": value}):
        try:
            form = UploadFile(file=b"abc", expires_in_seconds=1, **how).form()
        except UsageError:
            continue
        taken += 1
        plain, file = parts_of(form)
        assert plain == ("expires_in_seconds", None, ["content-disposition"], b"1")
        assert file[0] == "file"
        assert file[2:] == (["content-disposition", "content-type"], b"abc")
        lines = b"".join(form).split(b"\r\n")
        assert sum(line.lower().startswith(b"content-disposition:") for line in lines) == 2
        assert sum(line.lower().startswith(b"content-type:") for line in lines) == 1
        assert not any(line.startswith(b"x-evil") for line in lines)
    assert taken or set(value) & set("\0\r\n\ud800")


@pytest.mark.parametrize("value", HOSTILE, ids=ascii)
def test_a_field_of_a_form_stays_in_its_part(value, skill):
    """A display name may be any text, and is the content of its part: the boundary is random."""
    if value == "\ud800":
        with pytest.raises(UsageError, match="half a surrogate pair"):
            CreateSkill(files=skill, display_name=value).form()
        return
    one, other = (CreateSkill(files=skill, display_name=value).form() for _ in range(2))
    assert one.boundary != other.boundary
    body = b"".join(one)
    part = b'content-disposition: form-data; name="display_name"\r\n\r\n%b\r\n--' % value.encode()
    assert body.count(part + one.boundary.encode()) == 1


def test_a_file_whose_name_is_no_text(tmp_path):
    """A name in another encoding, as a disk may have it, is a `UsageError` and not a crash."""
    path = tmp_path / "caf\udce9.txt"
    path.write_bytes(b"abc")
    with pytest.raises(UsageError, match="half a surrogate pair"):
        Client(api_key=KEY).files.upload(file=path)
