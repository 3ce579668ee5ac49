"""When a recording transport records, waits and saves, and when it refuses to."""

import asyncio
import json
import os

import pytest
from scripted import Async, AsyncScript, Script, Sync, answer, ask, record, told

from claude_lite.errors import TimedOut, UsageError
from claude_lite_transports.recording import (
    AsyncRecordingTransport,
    CassetteMiss,
    InteractionsUnused,
    RecordingTransport,
)


@pytest.fixture(params=[Sync, Async], ids=["sync", "async"])
def driver(request):
    """Give the sync driver, then the async one."""
    return request.param


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch):
    """No say for the environment in which the tests run."""
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.delenv("CLAUDE_LITE_RECORD", raising=False)


@pytest.fixture
def path(tmp_path):
    """Give a path at which there is no file."""
    return tmp_path / "x.json"


def test_none_never_records(driver, path):
    """Replay only is the default, and the transport inside is not asked even if there is one."""
    script = driver.script(answer(1))
    ((_, _, error),) = driver.block(driver.transport(path, script), (ask(1), "send"))
    assert type(error) is CassetteMiss
    assert script.requests == []
    assert not path.exists()


def test_once(driver, path):
    """Without a file "once" records; with one it replays only, and needs no transport."""
    record(driver, path, (answer(1), ask(1), "send"), mode="once")
    results = driver.block(driver.transport(path, mode="once"), (ask(1), "send"), (ask(2), "send"))
    assert [told(result) for result in results] == [1, CassetteMiss]


def test_new_episodes(driver, path):
    """What is known is replayed, what is not is recorded and added at the end."""
    record(driver, path, (answer(1), ask(1), "send"))
    script = driver.script(answer(2), answer(3))
    results = driver.block(
        driver.transport(path, script, "new_episodes"), *[(ask(i), "send") for i in (2, 1, 1)]
    )
    assert [told(result) for result in results] == [2, 1, 3]
    results = driver.block(driver.transport(path), *[(ask(i), "send") for i in (1, 1, 2)])
    assert [told(result) for result in results] == [1, 3, 2]


def test_all_replaces_what_is_asked_for_again(driver, path):
    """A new answer takes the old one's place, superfluous old ones go, all others stay."""
    first = [("a", "x"), ("b", "y"), ("c", "x"), ("d", "z"), ("e", "x")]
    record(driver, path, *[(answer(a), ask(q), "send") for a, q in first])
    second = [("1", "z"), ("2", "x"), ("3", "w"), ("4", "x")]
    record(driver, path, *[(answer(a), ask(q), "send") for a, q in second], mode="all")
    saved = json.loads(path.read_text())["interactions"]
    assert [
        (item["request"]["json"]["ask"], json.loads(item["response"]["text"])["told"])
        for item in saved
    ] == [("x", "2"), ("y", "b"), ("x", "4"), ("z", "1"), ("w", "3")]


def test_rewrite_begins_anew(driver, path):
    """A rewritten file has nothing of the old one, not even if that was broken."""
    path.write_text("broken")
    record(driver, path, (answer(2), ask(2), "send"))
    results = driver.block(driver.transport(path), (ask(1), "send"), (ask(2), "send"))
    assert [told(result) for result in results] == [CassetteMiss, 2]


def test_off_passes_through(driver, path):
    """Nothing is read, nothing is written, and requests and failures are those of the inside."""
    path.write_text("broken")
    steps = [(answer(1), ask(1), "send"), ([b"a"], ask(1), "stream"), (TimedOut(), ask(1), "send")]
    results = record(driver, path, *steps, mode="off")
    assert [told(results[0]), results[1][1], told(results[2])] == [1, [b"a"], TimedOut]
    assert path.read_text() == "broken"


@pytest.mark.parametrize(
    ("given", "environment", "force", "expected"),
    [
        ("all", {}, False, "all"),
        ("all", {"CI": "true"}, False, "none"),
        ("off", {"CI": "1"}, False, "none"),
        ("once", {"CI": "1"}, False, "none"),
        ("all", {"CI": ""}, False, "all"),
        ("all", {"CI": "false"}, False, "all"),
        ("all", {"CI": "1"}, True, "all"),
        ("none", {"CLAUDE_LITE_RECORD": "rewrite"}, False, "rewrite"),
        ("none", {"CLAUDE_LITE_RECORD": "rewrite", "CI": "1"}, False, "rewrite"),
        ("none", {"CLAUDE_LITE_RECORD": "rewrite"}, True, "none"),
        ("once", {}, False, "rewrite"),
    ],
)
def test_the_environment_has_a_say(path, monkeypatch, given, environment, force, expected):
    """CI means replay only; CLAUDE_LITE_RECORD overrules it; `force` overrules both."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert RecordingTransport(path, Script(), given, force=force).mode == expected


@pytest.mark.parametrize("mode", ["new_episodes", "all", "rewrite", "off", "once"])
def test_nothing_to_record_from(path, mode):
    """A mode that needs a transport says so at once if there is none."""
    with pytest.raises(UsageError, match="needs a transport"):
        RecordingTransport(path, mode=mode)


@pytest.mark.parametrize(
    "options", [{"mode": "sometimes"}, {"speed": 0}, {"redact": [""]}, {"redact": ["ACT"]}]
)
def test_wrong_settings(path, options):
    """An unknown mode, a speed of nothing and a secret that cannot be replaced are refused."""
    with pytest.raises(UsageError):
        RecordingTransport(path, **options)


def test_a_factory_is_called_when_needed(driver, path):
    """A function makes the transport for the first request to record, once, and never to replay."""
    made = []

    def factory():
        made.append(driver.script(answer(1), answer(2)))
        return made[-1]

    steps = (ask(1), "send"), (ask(2), "send")
    driver.block(driver.transport(path, factory, "once"), *steps)
    assert [script.closed for script in made] == [1]
    driver.block(driver.transport(path, factory, "once"), *steps)
    assert len(made) == 1


@pytest.mark.parametrize(("speed", "expected"), [(None, 0.0), (1.0, 3.35), (2.0, 1.675)])
def test_the_pace_of_a_replay(driver, path, speed, expected):
    """A replay waits not at all, or as long as the recording took, scaled; so do retries."""
    record(driver, path, ([0.25, b"a", 0.0001, b"b", 0.1, b"c"], ask(1), "stream"))
    assert "delays_ms" in json.loads(path.read_text())["interactions"][0]["response"]
    clock = driver.script()
    transport = driver.transport(path, clock, speed=speed)
    driver.block(transport, (ask(1), "stream"))
    driver.sleep(transport, 3.0)
    assert clock.now == pytest.approx(expected)


def test_delays_are_told_by_the_clock_inside(driver, path):
    """The clock of a transport counts from its first stream on, even if a function made it."""
    script = driver.script([b"a", 0.02, b"b"])
    script.now = 1e6
    driver.block(driver.transport(path, lambda: script, "rewrite"), (ask(1), "stream"))
    assert '"delays_ms": [0, 0, 20]' in path.read_text()


def test_a_recording_waits_as_the_inside_does(driver, path):
    """While it may record, time is the inner transport's."""
    script = driver.script()
    transport = driver.transport(path, script, "new_episodes")
    driver.sleep(transport, 3.0)
    assert (script.now, transport.monotonic()) == (3.0, 3.0)


def test_a_replay_without_a_transport_waits_really(driver, path):
    """With a speed and nothing inside, the waits are real ones."""
    transport = driver.transport(path, speed=100.0)
    before = transport.monotonic()
    driver.sleep(transport, 2.0)
    assert 0.02 <= transport.monotonic() - before < 0.3


def test_delays_are_only_kept_if_there_are_any(driver, path):
    """A stream without pauses has no delays in the file."""
    record(driver, path, ([b"a", 0.0004, b"b"], ask(1), "stream"))
    assert "delays_ms" not in path.read_text()


def test_nothing_recorded_nothing_written(driver, path):
    """A block without a request leaves no file, and an old one untouched."""
    record(driver, path)
    assert not path.exists()
    path.write_text("old")
    record(driver, path)
    assert path.read_text() == "old"


@pytest.mark.parametrize("save_on_error", [False, True])
def test_a_block_left_by_an_error(path, save_on_error):
    """An error in the block discards what was recorded, even if a client closes in between."""
    script = Script(answer(1), answer(2))
    transport = RecordingTransport(path, script, "rewrite", save_on_error=save_on_error)

    def fail():
        with transport:
            transport.send(ask(1))
            transport.close()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    transport.close()
    assert path.exists() is save_on_error
    assert script.closed == 3


def test_an_async_block_left_by_an_error(path):
    """The same is true of `async with`."""

    async def main():
        async with AsyncRecordingTransport(path, AsyncScript(answer(1)), "rewrite") as transport:
            await transport.send(ask(1))
            await transport.close()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        asyncio.run(main())
    assert not path.exists()


def test_save_and_close(path):
    """`save` writes what is complete; `close` what came after; neither writes twice."""
    transport = RecordingTransport(path, Script(answer(1), [b"a"]), "rewrite")
    transport.send(ask(1))
    with transport.stream(ask(2)) as (_, chunks):
        transport.save()
        assert len(json.loads(path.read_text())["interactions"]) == 1
        assert list(chunks) == [b"a"]
    transport.close()
    assert len(json.loads(path.read_text())["interactions"]) == 2
    path.unlink()
    transport.close()
    assert not path.exists()


def test_unused(driver, path):
    """What was not asked for is listed, and an error at the end of a block, unless allowed."""
    record(driver, path, *[(answer(i), ask(i), "send") for i in range(3)])
    transport = driver.transport(path, strict=False)
    driver.block(transport, (ask(1), "send"))
    assert [item.request["json"]["ask"] for item in transport.unused()] == [0, 2]
    with pytest.raises(InteractionsUnused, match="2 unused"):
        driver.block(driver.transport(path), (ask(1), "send"))
    driver.block(driver.transport(path), *[(ask(i), "send") for i in range(3)])
    assert driver.transport(path, driver.script(), "all").unused() == []


def test_both_modes_share_a_file(path):
    """A sync and an async transport can share the file: one saves what both recorded."""
    blocking = RecordingTransport(path, Script(answer(1)), "rewrite")
    other = AsyncRecordingTransport.sharing(blocking, AsyncScript(answer(2)))
    with blocking:
        blocking.send(ask(1))
        assert told(asyncio.run(Async.run(other, ask(2), "send"))) == 2
        asyncio.run(other.close())
        assert not path.exists()
    assert len(json.loads(path.read_text())["interactions"]) == 2
    replay = RecordingTransport(path)
    with replay:
        assert told(Sync.run(replay, ask(2), "send")) == 2
        other = AsyncRecordingTransport.sharing(replay)
        assert told(asyncio.run(Async.run(other, ask(1), "send"))) == 1
    with pytest.raises(UsageError):
        AsyncRecordingTransport.sharing(blocking)


def test_the_file_is_like_any_other(path):
    """The file has the permissions that the umask gives, and stays where a link points."""
    link, plain = path.with_name("link.json"), path.with_name("plain")
    link.symlink_to(path)
    record(Sync, link, (answer(1), ask(1), "send"))
    plain.touch()
    assert link.is_symlink()
    assert os.stat(path).st_mode == plain.stat().st_mode  # noqa: PTH116  # not of the link
