"""Keys go nowhere else, certificates are checked, downloads stay in place, logs tell no lies."""

import asyncio
import io
import json
import logging
import os
import re
import ssl
import stat
import subprocess
import sys
import traceback
import zipfile
from pathlib import Path

import pytest
import structlog
from certificates import TLS
from driving import HELLO, do
from places import ROOT, TESTS

from claude_lite import (
    AsyncClient,
    CertificateRefused,
    ClaudeError,
    Client,
    ConnectionFailed,
    UnexpectedResponse,
    UsageError,
    never,
)
from claude_lite.api.batch_runs import BatchRun
from claude_lite.api.batches import CreateBatch
from claude_lite.api.files import DownloadFile, path_within
from claude_lite.cli.main import main as command
from claude_lite.testing.conformance.loopback import LoopbackServer, reply, replying
from claude_lite_transports.aiohttp import AiohttpTransport
from claude_lite_transports.asyncio import AsyncioTransport
from claude_lite_transports.urllib import UrllibTransport

KEY = "sk-ant-security-0123456789"
PAGE = ROOT / "docs/security.md"
JSON = "content-type: application/json"
MESSAGE = json.dumps(
    {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": [{"type": "text", "text": "Hello"}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": 1, "output_tokens": 1},
    }
).encode()
ANSWER = reply(MESSAGE, JSON)
PROXY_VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


def urllib(*, trusts=None, **options):
    """Make a client over urllib."""
    return Client(UrllibTransport(ssl_context=trusts), api_key=KEY, retry=never(), **options)


def aiohttp(*, trusts=None, **options):
    """Make a client over aiohttp."""
    return AsyncClient(AiohttpTransport(ssl_context=trusts), api_key=KEY, retry=never(), **options)


def asyncio_(*, trusts=None, **options):
    """Make a client over plain asyncio."""
    return AsyncClient(AsyncioTransport(ssl_context=trusts), api_key=KEY, retry=never(), **options)


every_transport = pytest.mark.parametrize(
    "kind", [urllib, aiohttp, asyncio_], ids=lambda k: k.__name__
)


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    """Take out of the environment what would change where requests go."""
    for name in (*PROXY_VARIABLES, "SSL_CERT_FILE", "SSL_CERT_DIR", "NETRC", "REQUEST_METHOD"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


async def created(made):
    """Make a call, close the client, and give the result or the error."""
    try:
        return await do(made.messages.create, **HELLO)
    except ClaudeError as error:
        return error
    finally:
        await do(made.close)


def ask(kind, url, **options):
    """Make a call over a transport, from its first step to its last."""
    return asyncio.run(created(kind(base_url=url, **options)))


def identity(pem="localhost.pem"):
    """Make a server's TLS context."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(TLS / pem)
    return context


def trusting(pem="localhost.pem"):
    """Make a client's TLS context that trusts one certificate more."""
    context = ssl.create_default_context()
    context.load_verify_locations(TLS / pem)
    return context


# Where the key goes


LOCATIONS = {
    "another port": "http://127.0.0.1:{other}/v1/messages",
    "no scheme": "//127.0.0.1:{other}/v1/messages",
    "userinfo": "http://user:password@127.0.0.1:{port}/v1/messages",
    "the host as userinfo": "http://127.0.0.1:{port}@127.0.0.1:{other}/",
    "a name for the same address": "http://localhost:{port}/v1/messages",
    "another scheme": "https://127.0.0.1:{port}/v1/messages",
    "a scheme that is none": "file:///etc/passwd",
    "backslashes": "\\\\127.0.0.1:{other}\\",
    "a backslash before the at": "http://127.0.0.1:{other}\\@127.0.0.1:{port}/",
    "spaces": "http://127.0.0.1:{port} @127.0.0.1:{other}/",
    "no URL": "http://[::1/",
}


@every_transport
@pytest.mark.parametrize("status", ["301 A", "302 B", "303 C", "307 D", "308 E"])
def test_a_redirect_elsewhere_is_not_followed(kind, status):
    """Whatever the way in which it is written, the other server is not even connected to."""

    def script(peer):
        while peer.request():
            where = LOCATIONS[current].format(port=port, other=other.url("").rpartition(":")[2])
            peer.send(reply(b"", f"location: {where}", status=status))

    with LoopbackServer(replying(ANSWER)) as other, LoopbackServer(script) as server:
        port = server.url("").rpartition(":")[2]
        for number, current in enumerate(LOCATIONS, 1):
            assert isinstance(ask(kind, server.url("")), UnexpectedResponse), current
            assert len(server.received) == number, current
        assert other.connections == 0


@every_transport
def test_https_is_not_left_for_http(kind):
    """A redirect from https to http, to the same name and another port or the same one."""
    with LoopbackServer(replying(ANSWER)) as plain:
        for where in (plain.url("/v1"), "http://127.0.0.1:{port}/v1"):

            def script(peer, where=where):
                while peer.request():
                    port = server.url("").rpartition(":")[2]
                    peer.send(reply(b"", f"location: {where.format(port=port)}", status="307 X"))

            with LoopbackServer(script, tls=identity()) as server:
                error = ask(kind, server.url(""), trusts=trusting())
                assert isinstance(error, UnexpectedResponse)
                assert len(server.received) == 1
        assert plain.connections == 0


def batch(**fields):
    """Write a batch as the API does."""
    counts = dict.fromkeys(("processing", "succeeded", "errored", "canceled", "expired"), 0)
    times = dict.fromkeys(("created_at", "expires_at", "ended_at"), "2026-11-22T10:00:00Z")
    known = {"id": "msgbatch_1", "type": "message_batch", "processing_status": "ended"}
    return reply(json.dumps({**known, "request_counts": counts, **times, **fields}).encode(), JSON)


async def run_batch(made):
    """Run a batch of one request; give its results."""
    run = BatchRun(CreateBatch(requests=[{"custom_id": "a", "params": HELLO}]))
    results = made.messages.batches.run(run)
    try:
        if isinstance(made, Client):
            return list(results)
        return [one async for one in results]
    finally:
        await do(made.close)


@every_transport
def test_the_results_url_is_not_followed(kind):
    """Wherever it points, results are fetched from where the batch was made."""

    def script(peer):
        while got := peer.request():
            if got.target.endswith("/results"):
                result = {"type": "succeeded", "message": json.loads(MESSAGE)}
                peer.send(reply(json.dumps({"custom_id": "a", "result": result}).encode()))
            else:
                peer.send(batch(results_url=other.url("/v1/messages/batches/msgbatch_1/results")))

    with LoopbackServer(replying(ANSWER)) as other, LoopbackServer(script) as server:
        ((request, result),) = asyncio.run(run_batch(kind(base_url=server.url(""))))
        assert (request["custom_id"], result.type) == ("a", "succeeded")
        assert other.connections == 0
        assert server.received[-1].target == "/v1/messages/batches/msgbatch_1/results"


@every_transport
@pytest.mark.parametrize(
    "id_", ["../../organizations/me", "..", "x?y", "//evil.test", "a/b", "\r\nx"]
)
def test_an_id_that_a_server_made_up_leads_nowhere(kind, id_):
    """An answer whose id would change the next path ends the batch with an error."""
    with LoopbackServer(replying(batch(id=id_))) as server:
        with pytest.raises(UsageError, match="message_batch_id"):
            asyncio.run(run_batch(kind(base_url=server.url(""))))
        assert len(server.received) == 1


@every_transport
def test_a_cursor_that_a_server_made_up_is_text(kind):
    """A page's cursor is encoded into the query, and goes to the same host."""
    hostile = "x&limit=9#/../?\r\nx-evil: 1 http://evil.test"
    page = {
        "data": [],
        "has_more": True,
        "first_id": None,
        "last_id": hostile,
        "next_page": hostile,
    }
    last = {"data": [], "has_more": False, "first_id": None, "last_id": None, "next_page": None}

    def script(peer):
        while got := peer.request():
            body = last if "?" in got.target else page
            peer.send(reply(json.dumps(body).encode(), JSON))

    async def main(made):
        if isinstance(made, Client):
            list(made.skills.items())
        else:
            [one async for one in made.skills.items()]
        await do(made.close)

    with LoopbackServer(script) as server:
        asyncio.run(main(kind(base_url=server.url(""))))
        assert [one.target for one in server.received] == [
            "/v1/skills",
            "/v1/skills?page=x%26limit%3D9%23%2F..%2F%3F%0D%0Ax-evil%3A%201%20http%3A%2F%2Fevil.test",
        ]


@pytest.mark.parametrize(
    "url",
    [
        "http://user:password@host.test",
        "https://key@host.test",
        "https://host.test\\@evil.test",
        "https://host.test#@evil.test",
        "https://host.test?x",
        "https://host.test\n.evil.test",
        "https://h\u00f6st.test",
        "//host.test",
        "host.test",
        "ftp://host.test",
        "file:///etc/passwd",
        "https://",
        "https://host.test:port",
        "https://host.test:80:80",
    ],
)
def test_a_base_url_that_two_could_read_differently(url):
    """Is refused, and not shown: there may be a password in it."""
    with pytest.raises(UsageError) as caught:
        Client(api_key=KEY, base_url=url)
    assert "password" not in str(caught.value)


@every_transport
def test_netrc_is_not_read(kind, tmp_path, monkeypatch):
    """A credential for the host in `.netrc` is not sent, nor does it replace ours."""
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login canary password canary\n")
    (tmp_path / ".netrc").chmod(0o600)
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    monkeypatch.setenv("HOME", str(tmp_path))
    with LoopbackServer(replying(ANSWER)) as server:
        assert ask(kind, server.url("")).text == "Hello"
    (request,) = server.received
    assert request.values("authorization") == []
    assert request.values("x-api-key") == [KEY]


@every_transport
def test_a_proxy_of_https_sees_no_key(kind, monkeypatch):
    """The environment's proxy gets a name, a port and its own password, which goes no further."""
    asked = []

    def proxy(peer):
        asked.append(peer.head())
        peer.send(b"HTTP/1.1 200 Tunnel\r\n\r\n")
        peer.secure(identity())
        if peer.request():
            peer.send(ANSWER)

    with LoopbackServer(proxy) as server:
        monkeypatch.setenv("HTTPS_PROXY", server.url("").replace("://", "://user:secret@"))
        assert ask(kind, "https://localhost:9", trusts=trusting()).text == "Hello"
    (tunnel,), (request,) = asked, server.received
    assert (tunnel.method, tunnel.target) == ("CONNECT", "localhost:9")
    assert KEY not in str(tunnel)
    assert tunnel.values("proxy-authorization") == ["Basic dXNlcjpzZWNyZXQ="]
    assert request.values("x-api-key") == [KEY]
    assert request.values("proxy-authorization") == []


@every_transport
def test_a_proxy_cannot_pose_as_the_api(kind, monkeypatch):
    """What answers behind the tunnel has to have the certificate, or gets nothing."""

    def proxy(peer):
        peer.head()
        peer.send(b"HTTP/1.1 200 Tunnel\r\n\r\n")
        peer.secure(identity("other.pem"))
        peer.request()

    with LoopbackServer(proxy) as server:
        monkeypatch.setenv("HTTPS_PROXY", server.url(""))
        assert isinstance(ask(kind, "https://localhost:9", trusts=trusting()), CertificateRefused)
    assert server.received == []


@every_transport
def test_a_header_of_a_web_request_is_no_proxy(kind, monkeypatch):
    """In a CGI program HTTP_PROXY is what a visitor's header `Proxy` said."""
    monkeypatch.setenv("REQUEST_METHOD", "GET")
    with LoopbackServer(replying(ANSWER)) as evil, LoopbackServer(replying(ANSWER)) as server:
        monkeypatch.setenv("HTTP_PROXY", evil.url(""))
        assert ask(kind, server.url("")).text == "Hello"
        assert (evil.connections, server.connections) == (0, 1)


# Certificates


@every_transport
def test_certificates_are_verified_by_default(kind):
    """Neither a certificate of nobody known, nor one for another name, gets a request."""
    for pem, trusts in (("localhost.pem", None), ("other.pem", trusting("other.pem"))):
        with LoopbackServer(replying(ANSWER), tls=identity(pem)) as server:
            error = ask(kind, server.url(""), trusts=trusts)
        assert isinstance(error, CertificateRefused)
        assert server.received == []


@every_transport
def test_what_speaks_no_tls_gets_nothing(kind):
    """An https URL is not tried without TLS."""
    with LoopbackServer(replying(ANSWER)) as server:
        error = ask(kind, server.url("").replace("http:", "https:"), connect_timeout=0.5)
    assert isinstance(error, ConnectionFailed)
    assert KEY not in str(server.received)


def blocks():
    """Find the programs in the page, by their names."""
    pattern = re.compile(r'^```python title="([\w.]+)"\n(.*?)^```$', re.DOTALL | re.MULTILINE)
    return dict(pattern.findall(PAGE.read_text(encoding="utf-8")))


def run_block(name):
    """Run a program of the page; give what it defines."""
    defined = {}
    exec(compile(blocks()[name], name, "exec"), defined)  # noqa: S102  # our own page
    return defined


@pytest.mark.parametrize("name", ["company_ca.py", "pinned.py"])
def test_certificates_as_the_page_shows(name, tmp_path, monkeypatch):
    """Its programs reach a server with that certificate, over both, and no other server."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
    for pem in ("company-ca.pem", "gateway.pem"):
        Path(pem).write_bytes((TLS / "localhost.pem").read_bytes())
    defined = run_block(name)
    for which in ("client", "async_client"):
        for pem, expected in (("localhost.pem", "Hello"), ("expired.pem", None)):
            with LoopbackServer(replying(ANSWER), tls=identity(pem)) as server:
                made = defined[which].with_options(base_url=server.url(""), retry=never())
                result = asyncio.run(created(made))
            assert getattr(result, "text", None) == expected
            assert (expected is None) is isinstance(result, CertificateRefused)


def test_a_pinned_certificate_is_the_only_one(tmp_path, monkeypatch):
    """The page's context trusts no authority of the system's."""
    monkeypatch.chdir(tmp_path)
    Path("gateway.pem").write_bytes((TLS / "localhost.pem").read_bytes())
    context = run_block("pinned.py")["context"]
    assert len(context.get_ca_certs()) == 1
    assert context.check_hostname
    assert context.verify_mode is ssl.CERT_REQUIRED


@pytest.mark.slow
def test_the_environment_names_authorities():
    """With SSL_CERT_FILE all transports trust what is in that file."""
    program = """
import sys
from test_security import *
for kind in (urllib, aiohttp, asyncio_):
    print(ask(kind, sys.argv[1]).text)
"""
    with LoopbackServer(replying(ANSWER), tls=identity()) as server:
        done = subprocess.run(  # noqa: S603  # this interpreter
            [sys.executable, "-c", program, server.url("")],
            env={**os.environ, "SSL_CERT_FILE": str(TLS / "localhost.pem")},
            cwd=TESTS,
            capture_output=True,
            text=True,
            check=False,
        )
    assert (done.stdout.split(), done.stderr) == (["Hello"] * 3, "")


# Downloads


FILE = reply(b"content", "content-type: application/octet-stream")

NAMES = [
    *(
        "",
        ".",
        "..",
        "../x",
        "..\\x",
        "a/b",
        "a\\b",
        "/etc/passwd",
        "\\\\host\\x",
        "C:\\x",
        "C:x",
        "C:",
    ),
    *("a:stream", "a\0b", "a\nb", "a\rb", "\x1b[2J", "a\x7f", "a\x85b", "\ud800", "a\u202egpj.exe"),
    *(
        "a\u2028b",
        "a\u200bb",
        "\ufeffa",
        "a*",
        "a?",
        "a|b",
        "a<b",
        'a"b',
        "a.",
        "a ",
        "...",
        "~/../x",
    ),
    *("con", "CON", "nul.txt", "Aux.tar.gz", "prn", "com1", "LPT9.x", "COM\u00b2", "con .txt"),
    *("CONIN$", "conout$.txt"),
    *("x" * 256, "ü" * 128),
]


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_a_name_that_leads_elsewhere_is_refused(name, tmp_path):
    """Whatever system it would mislead; the error shows the name, and no more than the name."""
    with pytest.raises(UsageError) as caught:
        path_within(tmp_path, name)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    "name",
    [
        *("a", "a.txt", "a b (1).tar.gz", ".hidden", "..a", "a..b", "-rf", "~", "ünïcode 日本.csv"),
        *(
            "console",
            "com",
            "com10.txt",
            "null",
            "x" * 255,
            "ü" * 127,
            "%2e%2e%2fx",
            "$HOME",
            "a;b",
        ),
    ],
)
def test_any_other_name_is_a_file_in_the_folder(name, tmp_path):
    """It can be written, and is the one file that is there then."""
    path = path_within(tmp_path, name)
    asyncio.run(download(urllib, path))
    assert [(one.name, one.read_bytes()) for one in tmp_path.iterdir()] == [(name, b"content")]


async def downloaded(made, path, **options):
    """Download a file and close the client."""
    try:
        return await do(made.download, DownloadFile(file_id="file_1"), path, **options)
    finally:
        await do(made.close)


async def download(kind, path, answer=FILE, **options):
    """Download from a server with this answer; give the number of requests that it got."""
    with LoopbackServer(replying(answer)) as server:
        try:
            await downloaded(kind(base_url=server.url("")), path, **options)
        except UsageError:
            assert server.received == []
            raise


@every_transport
def test_a_name_that_the_server_gives_is_not_used(kind, tmp_path):
    """Content-disposition, whatever it says, names no file."""
    told = reply(b"content", 'content-disposition: attachment; filename="../evil"')
    (tmp_path / "in").mkdir()
    asyncio.run(download(kind, tmp_path / "in" / "mine", told))
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["in", "mine"]


@every_transport
def test_nothing_is_overwritten_unless_told(kind, tmp_path):
    """A file, a folder or a link that is there ends the download before it is asked for."""
    there, folder = tmp_path / "there", tmp_path / "folder"
    there.write_bytes(b"before")
    folder.mkdir()
    link, dangling = tmp_path / "link", tmp_path / "dangling"
    link.symlink_to(there)
    dangling.symlink_to(tmp_path / "target")
    for path in (there, folder, link, dangling):
        with pytest.raises(UsageError, match="exists"):
            asyncio.run(download(kind, path))
    assert there.read_bytes() == b"before"
    assert not (tmp_path / "target").exists()
    asyncio.run(download(kind, there, overwrite=True))
    assert there.read_bytes() == b"content"


@every_transport
def test_a_link_in_the_way_is_replaced_and_not_followed(kind, tmp_path):
    """What it points to stays as it is."""
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_bytes(b"before")
    link.symlink_to(target)
    asyncio.run(download(kind, link, overwrite=True))
    assert (target.read_bytes(), link.read_bytes()) == (b"before", b"content")
    assert not link.is_symlink()


def test_a_file_that_appears_meanwhile_is_kept(tmp_path):
    """Who else writes it while it is being downloaded does not lose it."""
    path = tmp_path / "a"

    def script(peer):
        peer.request()
        path.write_bytes(b"theirs")
        peer.send(FILE)

    with LoopbackServer(script) as server, pytest.raises(UsageError, match="exists"):
        asyncio.run(downloaded(urllib(base_url=server.url("")), path))
    assert [(one.name, one.read_bytes()) for one in tmp_path.iterdir()] == [("a", b"theirs")]


def test_a_file_has_the_permissions_of_any_other(tmp_path):
    """As the umask has it: neither more, nor those of a temporary file."""
    before = os.umask(0o027)
    try:
        asyncio.run(download(urllib, tmp_path / "a"))
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o640


@pytest.mark.parametrize("name", ["a\0b", "\ud800"], ids=ascii)
def test_a_path_that_can_be_none(name, tmp_path):
    """Is a `UsageError`, before anything is asked for."""
    with pytest.raises(UsageError):
        asyncio.run(download(urllib, f"{tmp_path}/{name}"))


def evil_zip(path, *members):
    """Write an archive of (name, content, mode) as nobody should."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content, mode in members:
            info = zipfile.ZipInfo(name)
            info.external_attr = mode << 16
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, content)
    return path


def test_a_skill_is_unpacked_as_the_page_shows(tmp_path, monkeypatch):
    """Members that climb, are absolute or are links end up in the folder, as plain files."""
    monkeypatch.chdir(tmp_path)
    unpack = run_block("unpack.py")["unpack"]
    link = stat.S_IFLNK | 0o777
    archive = evil_zip(
        tmp_path / "skill.zip",
        ("skill/SKILL.md", b"text", 0o644),
        ("../../climbed", b"x", 0o644),
        (f"{tmp_path}/absolute", b"x", 0o644),
        ("link", b"/etc", link),
        ("out", str(tmp_path).encode(), link),
    )
    unpack(str(archive), "new")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["new", "skill.zip"]
    assert not [p for p in tmp_path.rglob("*") if p.is_symlink()]
    assert (tmp_path / "new/skill/SKILL.md").read_bytes() == b"text"
    with pytest.raises(FileExistsError):
        unpack(str(archive), "new")


@pytest.mark.slow
def test_an_archive_that_is_too_large_is_not_unpacked(tmp_path, monkeypatch):
    """A bomb is noticed before, and one that lies about its size grows no further than that."""
    monkeypatch.chdir(tmp_path)
    unpack = run_block("unpack.py")["unpack"]
    bomb = evil_zip(tmp_path / "bomb.zip", *[(f"{n}", bytes(30 << 20), 0o644) for n in range(4)])
    with pytest.raises(ValueError, match="too large"):
        unpack(str(bomb), "new")
    assert not (tmp_path / "new").exists()
    lying = evil_zip(tmp_path / "lying.zip", ("a", bytes(1 << 20), 0o644))
    said = (1 << 20).to_bytes(4, "little")
    lying.write_bytes(lying.read_bytes().replace(said, (10).to_bytes(4, "little")))
    with pytest.raises(zipfile.BadZipFile):
        unpack(str(lying), "small")
    assert sum(p.stat().st_size for p in tmp_path.glob("small/*")) <= 10


# Logs and terminals


FORGED = (
    "x\r\n2026-11-22 ERROR claude_lite.call status=200\x1b[2J\x1b]0;title\x07\x85\u2028\u202e\x9b1m"
)
LIMIT = "anthropic-ratelimit-requests-limit"
IN_HEADER = FORGED.replace("\r\n", "").encode("latin-1", "ignore").decode("latin-1")


def liar(status="400 No", **headers):
    """Write an error in which everything is a lie."""
    error = {"type": FORGED, "message": FORGED, "details": {"error_code": FORGED}}
    body = {"type": "error", "error": error, "request_id": FORGED}
    lines = {
        "request-id": IN_HEADER,
        "anthropic-organization-id": "org status=200 attempt=7",
        LIMIT: IN_HEADER,
        **headers,
    }
    head = [JSON, *[f"{name}: {value}" for name, value in lines.items()]]
    out = reply(json.dumps(body).encode(), status=status)
    return out.replace(b"\r\n\r\n", b"\r\n" + "\r\n".join(head).encode("latin-1") + b"\r\n\r\n", 1)


def tame(text):
    """Check that a text is lines of printable characters; give the lines."""
    assert all(line.isprintable() for line in text.split("\n")), ascii(text)
    return text.splitlines()


def forged(lines):
    """Name the lines that a server wrote."""
    return [line for line in lines if line.startswith(("2026-11-22 ERROR", "x"))]


@every_transport
def test_lines_of_a_log_are_ours(kind):
    """The standard logger has a line for each event, and a server's words add no fields."""
    text = io.StringIO()
    handler = logging.StreamHandler(text)
    logger = logging.getLogger("claude_lite")
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    try:
        # httptools takes no head with control characters in it.
        plain = {} if kind is not asyncio_ else {"request-id": "r", LIMIT: "status=1 2"}
        with LoopbackServer(replying(liar(**plain))) as server:
            error = ask(kind, server.url(""))
            logger.error("the call failed: %s", error)
            logger.error("%r", error)
    finally:
        logger.removeHandler(handler)
        logger.setLevel(logging.NOTSET)
    lines = tame(text.getvalue())
    assert [line.split()[0] for line in lines] == [
        "claude_lite.attempt",
        "claude_lite.call",
        "the",
        type(error).__name__ + "(" + repr(str(error)).split()[0],
    ]
    for line in lines[:2]:
        fields = dict(re.findall(r"(?<= )(\w+)=('(?:[^'\\]|\\.)*'|\S+)", line))
        assert (fields["status"], fields["organization_id"]) == (
            "400",
            "'org status=200 attempt=7'",
        )
        assert "attempt" not in fields or fields["attempt"] == "1"


def test_structlog_and_observers_get_no_controls():
    """Whatever renders the events: the values are clean already."""
    heard = []
    text = io.StringIO()
    structlog.configure(
        processors=[structlog.processors.KeyValueRenderer(repr_native_str=False)],
        logger_factory=structlog.PrintLoggerFactory(text),
    )
    try:
        with LoopbackServer(replying(liar())) as server:
            ask(urllib, server.url(""), observe=lambda _, fields: heard.append(fields))
    finally:
        structlog.reset_defaults()
    assert len(tame(text.getvalue())) == len(heard) == 2
    for fields in heard:
        assert all(str(value).isprintable() for value in fields.values())


def test_the_text_of_an_error_is_one_line():
    """As a string, in a traceback and in a repr; what was said is in `message`, unchanged."""
    with LoopbackServer(replying(liar())) as server:
        error = ask(urllib, server.url(""))
    assert error.message == FORGED
    assert len(tame(str(error))) == len(tame(repr(error))) == 1
    shown = "".join(traceback.format_exception_only(error))
    assert len(tame(shown)) == 1


@pytest.mark.parametrize("tty", [False, True], ids=["file", "terminal"])
def test_a_command_shows_no_controls(tty, capsys, monkeypatch, tmp_path):
    """Whether a terminal or a file reads it, an error is a line of ours."""
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
    requests = tmp_path / "requests.jsonl"
    requests.write_text(json.dumps({"custom_id": f"a{FORGED}", "params": HELLO}) + "\n")
    said = MESSAGE.replace(b'"m"', json.dumps(FORGED).encode())
    said = said.replace(b'"end_turn"', json.dumps(FORGED).encode())
    for stream in (sys.stdout, sys.stderr):
        monkeypatch.setattr(stream, "isatty", lambda: tty, raising=False)
    with LoopbackServer(replying(liar())) as server:
        monkeypatch.setenv("ANTHROPIC_BASE_URL", server.url(""))
        assert command(["message", "Hello"]) == 1
        out, err = capsys.readouterr()
        assert (out, len(tame(err))) == ("", 1)
        assert err.startswith("claude-lite: InvalidRequest: x")
    log = tmp_path / "log"
    with LoopbackServer(replying(liar())) as server:
        monkeypatch.setenv("ANTHROPIC_BASE_URL", server.url(""))
        results = ["-o", str(tmp_path / "results.jsonl"), "--log-file", str(log)]
        assert command(["run", str(requests), *results]) == 1
    out, err = capsys.readouterr()
    assert not forged(tame(out) + ([] if tty else tame(err)))
    for written in (log, tmp_path / "results.jsonl"):
        lines = written.read_text().split("\n")
        assert all(json.loads(line) for line in lines if line)
        assert not forged(lines)
