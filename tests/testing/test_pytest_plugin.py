"""The pytest plugin: what its fixtures do, in test runs of their own."""

import json
import os
import subprocess
import sys
from textwrap import dedent

import pytest

from claude_lite.emulator import Emulator
from claude_lite.emulator.serving import emulator_server

pytest_plugins = ["pytester"]

HELLO = """
HELLO = {
    "model": "claude-sonnet-5-5",
    "max_tokens": 50,
    "messages": [{"role": "user", "content": "Hello"}],
}
"""
ONE = """
def test_one(claude_cassette):
    client = claude_cassette.client()
    assert client.messages.create(**HELLO).text.startswith("Echo")
"""


@pytest.fixture(autouse=True)
def _environment(monkeypatch):
    """No key, no CI, no plugin but what a test asks for, and no settings of this run."""
    for name in ("CI", "CLAUDE_LITE_RECORD", "ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    for name in ("PYTEST_ADDOPTS", "ANTHROPIC_BASE_URL", "COV_CORE_SOURCE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")


@pytest.fixture
def server(monkeypatch):
    """Serve an emulator, in the place of the API."""
    emulator = Emulator()
    with emulator_server(emulator) as url:
        monkeypatch.setenv("ANTHROPIC_BASE_URL", url)
        monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-canary-0123456789")
        yield emulator


@pytest.fixture
def run(pytester):
    """Write a test file, and run pytest on it with the plugin and these arguments."""

    def run(source="", *args, plugins=(), **files):
        if source:
            pytester.makepyfile(test_it=HELLO + dedent(source))
        if files:
            pytester.makepyfile(**files)
        loaded = [f"-p{name}" for name in ("claude_lite.testing.pytest_plugin", *plugins)]
        run = pytester.runpytest_subprocess if plugins else pytester.runpytest_inprocess
        return run(*loaded, "-Werror", *args)

    return run


@pytest.mark.slow
def test_a_run_that_does_not_use_it_pays_nothing(pytester):
    """Loading the plugin imports nothing but faces, and running other tests nothing more."""
    code = (
        "import sys, pytest; before = set(sys.modules);"
        "import claude_lite.testing.pytest_plugin; print(sorted(set(sys.modules) - before))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603  # ours
    faces = ["", ".api", ".core", ".core.registry", ".testing", ".testing.pytest_plugin"]
    expected = [f"claude_lite{name}" for name in faces]
    assert [name for name in eval(out.stdout) if "hashlib" not in name] == expected  # noqa: S307  # a list of names
    pytester.makepyfile(
        """
        import sys

        def test_other():
            heavy = {"claude_lite.errors", "orjson", "attrs", "cattrs", "aiohttp", "asyncio"}
            assert not heavy & set(sys.modules)
        """
    )
    plugin = "-pclaude_lite.testing.pytest_plugin"
    pytester.runpytest_subprocess(plugin).assert_outcomes(passed=1)


@pytest.mark.slow
def test_it_is_installed(pytester, monkeypatch):
    """Pytest finds the plugin by its entry point, and tells of its fixtures and markers."""
    with monkeypatch.context() as patch:
        patch.delenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD")
        told = pytester.runpytest_subprocess("--fixtures", "-v").stdout.str()
    assert all(f"claude_{name} " in told for name in ("cassette", "cassette_config", "emulator"))
    plugin = "-pclaude_lite.testing.pytest_plugin"
    told = pytester.runpytest_inprocess(plugin, "--markers").stdout.str()
    assert "@pytest.mark.claude_cassette(" in told
    assert "@pytest.mark.claude_emulator(" in told
    told = pytester.runpytest_inprocess(plugin, "--help").stdout.str()
    assert all(f"--claude-{name}=" in told for name in ("record", "cassettes", "replay-speed"))


def test_record_and_replay(run, pytester, server, monkeypatch):
    """Recorded on request, replayed by default: without a server, and without a key."""
    run(ONE).assert_outcomes(failed=1)
    run("", "--claude-record=once").assert_outcomes(passed=1)
    assert server.requests.total == 1
    path = pytester.path / "cassettes/test_it/test_one.json"
    assert "canary" not in path.read_text()
    monkeypatch.delenv("ANTHROPIC_API_KEY")
    monkeypatch.setenv("ANTHROPIC_BASE_URL", "http://127.0.0.1:9")
    run("").assert_outcomes(passed=1)
    monkeypatch.setenv("CI", "true")
    run("").assert_outcomes(passed=1)
    assert server.requests.total == 1


def test_a_miss_says_what_to_do(run):
    """A request that was not recorded fails the test with the way to record it."""
    result = run(ONE)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*CassetteMiss: no recorded answer to POST /v1/messages*"])
    result.stdout.fnmatch_lines(["*pytest --claude-record=new_episodes*"])


@pytest.mark.usefixtures("server")
def test_async_tests(run, pytester):
    """The asynchronous clients record and replay, alone or beside the others in one file."""
    source = """
        import asyncio

        def test_both(claude_cassette):
            async def ask():
                async with claude_cassette.async_client() as client:
                    async with client.messages.stream(**HELLO) as stream:
                        return await stream.final_message()
            message = asyncio.run(ask())
            assert claude_cassette.client().messages.create(**HELLO).text == message.text
    """
    run(source, "--claude-record=rewrite").assert_outcomes(passed=1)
    run("").assert_outcomes(passed=1)
    path = pytester.path / "cassettes/test_it/test_both.json"
    streamed, whole = json.loads(path.read_text())["interactions"]
    assert "chunks" in streamed["response"]
    assert "json" in whole["response"]


@pytest.mark.usefixtures("server")
def test_only_what_passed_is_saved(run, pytester):
    """A test that fails, or is expected to, leaves no file behind, nor changes one."""
    source = (
        ONE
        + """
    import os
    assert "FAIL" not in os.environ

import pytest

@pytest.mark.xfail
def test_expected(claude_cassette):
    claude_cassette.client().messages.create(**HELLO)
    raise RuntimeError

@pytest.mark.claude_cassette("with_block")
def test_with_block(claude_cassette):
    with claude_cassette.client() as client, claude_cassette.transport:
        client.messages.create(**HELLO)
    raise RuntimeError
"""
    )
    os.environ["FAIL"] = "1"
    try:
        run(source, "--claude-record=rewrite").assert_outcomes(failed=2, xfailed=1)
    finally:
        del os.environ["FAIL"]
    assert not (pytester.path / "cassettes").exists()
    run("", "--claude-record=rewrite", "-k", "one").assert_outcomes(passed=1)
    assert [p.name for p in (pytester.path / "cassettes/test_it").iterdir()] == ["test_one.json"]


@pytest.mark.usefixtures("server")
def test_what_is_unused_is_an_error(run):
    """A test that no longer asks for all that is recorded fails when it ends, unless allowed."""
    twice = (
        ONE + "    client.messages.count_tokens(**{k: HELLO[k] for k in ('model', 'messages')})\n"
    )
    run(twice, "--claude-record=rewrite").assert_outcomes(passed=1)
    result = run(ONE)
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*1 unused in */test_one.json: POST /v1/messages/count_tokens*"])
    allowed = "import pytest\npytestmark = pytest.mark.claude_cassette(strict=False)\n" + ONE
    run(allowed).assert_outcomes(passed=1)


def test_a_miss_cannot_be_kept_quiet(run):
    """Code that takes a miss for any other error does not make its test pass."""
    result = run(
        """
        def test_it(claude_cassette):
            try:
                claude_cassette.client().messages.create(**HELLO)
            except Exception:
                pass
        """
    )
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*the test passed, but no recorded answer to POST*"])


@pytest.mark.usefixtures("server")
def test_a_secret_is_not_saved(run, pytester):
    """What looks like a key fails the test when it ends, and nothing is written."""
    source = """
        def test_it(claude_cassette):
            said = [{"role": "user", "content": "the key is sk-ant-api03-AbCdEfGhIjKl"}]
            claude_cassette.client().messages.create(**{**HELLO, "messages": said})
    """
    result = run(source, "--claude-record=all")
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*was not written: an API key*"])
    assert not (pytester.path / "cassettes").exists()


@pytest.mark.usefixtures("server")
def test_every_test_has_a_file_of_its_own(run, pytester):
    """Classes and parameters are in the name, which any file system takes."""
    source = """
        import pytest

        class TestIt:
            @pytest.mark.parametrize("x", ["a", "b/c", "b:c", "é" * 200, ".."])
            def test_it(self, claude_cassette, x):
                claude_cassette.client().messages.create(**HELLO)
    """
    run(source, "--claude-record=once").assert_outcomes(passed=5)
    names = sorted(path.name for path in (pytester.path / "cassettes/test_it").iterdir())
    assert names[:2] == ["TestIt.test_it[..].json", "TestIt.test_it[a].json"]
    assert len(names) == 5
    assert all(name.isascii() and len(name) < 140 and ":" not in name for name in names)


@pytest.mark.usefixtures("server")
def test_where_files_are(run, pytester):
    """Beside the test, where a marker says, or in the directory of an option or the settings."""
    named = "import pytest\npytestmark = pytest.mark.claude_cassette('shared/hello')\n" + ONE
    run(named, "--claude-record=once").assert_outcomes(passed=1)
    run("", "--claude-record=once", "--claude-cassettes=rec").assert_outcomes(passed=1)
    package = pytester.mkdir("deeper")
    (package / "test_deep.py").write_text(HELLO + ONE)
    run("", "--claude-record=once", "--claude-cassettes=rec", "-k", "deep").assert_outcomes(
        passed=1, deselected=1
    )
    conftest = """
        import pytest

        @pytest.fixture(scope="session")
        def claude_cassette_config():
            return {"directory": "set", "mode": "once"}
    """
    run("", "-k", "deep", conftest=conftest).assert_outcomes(passed=1, deselected=1)
    found = {str(p.relative_to(pytester.path)) for p in pytester.path.rglob("*.json")}
    assert found == {
        "cassettes/shared/hello.json",
        "rec/shared/hello.json",
        "rec/deeper/test_deep/test_one.json",
        "set/deeper/test_deep/test_one.json",
    }


def test_settings(run, pytester, server):
    """Settings and markers add up: secrets, headers, repeats, the mode and what records."""
    conftest = """
        import pytest
        from claude_lite_transports.urllib import UrllibTransport

        @pytest.fixture(scope="session")
        def claude_cassette_config():
            return {
                "redact": ["Hello"],
                "request_headers": ["user-agent"],
                "transport": UrllibTransport(trust_env=False),
            }
    """
    source = """
        import pytest

        @pytest.mark.claude_cassette(mode="once", redact=["sonnet"], allow_repeats=True)
        def test_it(claude_cassette):
            assert claude_cassette.mode in ("none", "rewrite")
            for _ in range(1 if claude_cassette.mode == "rewrite" else 3):
                claude_cassette.client().messages.create(**HELLO)
    """
    run(source, conftest=conftest).assert_outcomes(passed=1)
    text = (pytester.path / "cassettes/test_it/test_it.json").read_text()
    assert "Hello" not in text
    assert "sonnet" not in text
    assert "user-agent" in text
    run("").assert_outcomes(passed=1)
    assert server.requests.total == 1


def test_a_wrong_setting_is_told(run):
    """An option that nothing knows, and a file that is no recording, are errors of the test."""
    source = """
        import pytest

        @pytest.mark.claude_cassette(reduct=["x"])
        def test_it(claude_cassette):
            pass
    """
    result = run(source)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*claude_cassette: *unexpected keyword argument 'reduct'*"])


@pytest.mark.slow
@pytest.mark.usefixtures("server")
def test_ci_records_nothing(run, monkeypatch):
    """Where CI is set a marker cannot record; the option can."""
    monkeypatch.setenv("CI", "1")
    marked = "import pytest\npytestmark = pytest.mark.claude_cassette(mode='rewrite')\n" + ONE
    run(marked).assert_outcomes(failed=1)
    run("", "--claude-record=rewrite").assert_outcomes(passed=1)


def test_the_speed_of_a_replay(run, pytester, server):
    """A replay takes no time, unless a speed is asked for."""
    server._latency = 0.2
    source = """
        import time

        def test_it(claude_cassette):
            began = time.monotonic()
            with claude_cassette.client().messages.stream(**HELLO) as stream:
                stream.final_message()
            assert 0.1 < time.monotonic() - began
    """
    run(source, "--claude-record=once").assert_outcomes(passed=1)
    run("").assert_outcomes(failed=1)
    run("", "--claude-replay-speed=1.0").assert_outcomes(passed=1)
    assert (pytester.path / "cassettes/test_it/test_it.json").exists()


MANY = """
import pytest

@pytest.mark.parametrize("number", range(24))
def test_many(claude_cassette, number):
    said = [{"role": "user", "content": f"number {number}"}]
    for _ in range(3):
        message = claude_cassette.client().messages.create(**{**HELLO, "messages": said})
        assert f"number {number}" in message.text
"""


@pytest.mark.slow
def test_under_xdist(run, pytester, server):
    """Workers record and replay side by side, each test in its file."""
    run(MANY, "-n2", "--claude-record=rewrite", plugins=["xdist"]).assert_outcomes(passed=24)
    assert server.requests.total == 72
    found = [path.name for path in (pytester.path / "cassettes/test_it").iterdir()]
    assert sorted(found) == sorted(f"test_many[{number}].json" for number in range(24))
    run("", "-n2", plugins=["xdist"]).assert_outcomes(passed=24)
    run("").assert_outcomes(passed=24)
    assert server.requests.total == 72


@pytest.mark.slow
@pytest.mark.usefixtures("server")
def test_beside_other_plugins(run, monkeypatch, pytester):
    """With pytest-recording, syrupy, pytest-asyncio and anyio in one run, all do their part."""
    monkeypatch.delenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD")
    pytester.makeini("[pytest]\nasyncio_default_fixture_loop_scope = function\n")
    source = """
        import pytest, urllib.request, os

        @pytest.mark.asyncio
        async def test_asyncio(claude_cassette):
            async with claude_cassette.async_client() as client:
                message = await client.messages.create(**HELLO)
            assert message.text.startswith("Echo")

        @pytest.mark.anyio
        @pytest.mark.parametrize("anyio_backend", ["asyncio"])
        async def test_anyio(claude_cassette, anyio_backend):
            async with claude_cassette.async_client() as client:
                message = await client.messages.create(**HELLO)
            assert message.text.startswith("Echo")

        def test_syrupy(claude_cassette, snapshot):
            message = claude_cassette.client().messages.create(**HELLO)
            assert message.text == snapshot

        @pytest.mark.vcr
        def test_vcr(claude_emulator):
            assert claude_emulator.client().messages.create(**HELLO).text

        @pytest.mark.vcr
        def test_vcr_alone():
            request = urllib.request.Request("http://127.0.0.1:1/")
            with pytest.raises(Exception):
                urllib.request.urlopen(request)
    """
    pytester.makepyfile(test_it=HELLO + dedent(source))
    options = "--claude-record=once", "--snapshot-update"
    recorded = pytester.runpytest_subprocess(*options)
    recorded.assert_outcomes(passed=5)
    pytester.runpytest_subprocess("--record-mode=none").assert_outcomes(passed=5)
    pytester.runpytest_subprocess("--record-mode=none", "-n2").assert_outcomes(passed=5)


def test_the_emulator(run):
    """An emulator in virtual time, with options from markers, in-process and on a port."""
    source = """
        import asyncio, os, urllib.error, urllib.request
        import pytest

        BUSY = {"fault": "status", "status": 529, "headers": {"retry-after": "1800"}}

        @pytest.mark.claude_emulator(seed=3, faults=[{"on": {"times": 2}, "do": BUSY}])
        def test_it(claude_emulator):
            client = claude_emulator.client(deadline=7200)
            assert client.messages.create(**HELLO).stop_reason == "end_turn"
            assert 3600 <= claude_emulator.clock.monotonic() < 3602
            assert claude_emulator.emulator.requests.total == 3

        def test_async(claude_emulator):
            async def main():
                client = claude_emulator.async_client(api_key="mine")
                async with client.messages.stream(**HELLO) as stream:
                    return await stream.final_message()
            assert asyncio.run(main()).text

        @pytest.mark.claude_emulator(api_keys=["good"])
        def test_port(claude_emulator):
            with pytest.raises(urllib.error.HTTPError) as caught:
                urllib.request.urlopen(claude_emulator.url + "/v1/models")
            caught.value.close()
            assert claude_emulator.url == claude_emulator.url
            assert claude_emulator.emulator.requests.total == 1
    """
    run(source).assert_outcomes(passed=3)
