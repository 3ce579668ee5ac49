"""Calls under a governor, with an emulator that has rate limits, in virtual time."""

import asyncio
import json
import threading

import pytest
from programs import EchoServer, python

from claude_lite import (
    AsyncClient,
    Client,
    CreateMessage,
    RateLimited,
    RetryLater,
    UsageError,
    defer,
    never,
    standard,
)
from claude_lite.core.exchange import Exchange
from claude_lite.emulator import Emulator
from claude_lite.errors import Overloaded
from claude_lite.governor import Governor, forget
from claude_lite.governor.pools import cost_of, family_of
from claude_lite.testing import StubTransport, VirtualClock, message
from claude_lite.testing.fixtures import ClaudeEmulator
from claude_lite.wire import Response
from claude_lite_transports.emulator import EmulatorTransport

ASK = {
    "model": "claude-opus-4-5",
    "max_tokens": 50,
    "messages": [{"role": "user", "content": "hello"}],
}


@pytest.fixture
def emulated():
    """An emulator that allows 150 requests per minute."""
    with ClaudeEmulator(limits={"requests": 150}) as emulator:
        yield emulator


def test_many_calls_at_once(emulated):
    """300 calls at once against 150 per minute are all answered, and none of them is refused."""

    async def scenario():
        client = emulated.async_client(governor=Governor())
        answers = await asyncio.gather(*(client.messages.create(**ASK) for _ in range(300)))
        assert len(answers) == 300
        assert emulated.emulator.requests.total == 300
        assert 50 < emulated.clock.monotonic() < 75

    asyncio.run(scenario())


def test_a_deadline_bounds_the_wait(emulated):
    """A call for which there is no room before its deadline is a rate limit, and was never sent."""

    async def scenario():
        client = emulated.async_client(governor=Governor(), deadline=20)
        calls = (client.messages.create(**ASK) for _ in range(300))
        answers = await asyncio.gather(*calls, return_exceptions=True)
        late = [answer for answer in answers if isinstance(answer, RateLimited)]
        assert emulated.clock.monotonic() <= 20
        assert len(late) == 300 - emulated.emulator.requests.total > 50
        assert {error.attempts for error in late} == {0}
        assert all(error.retry_after > 0 for error in late)

    asyncio.run(scenario())


def test_a_short_deadline_behind_others(emulated):
    """A call with a short deadline behind calls without one ends at its deadline."""

    async def scenario():
        client = emulated.async_client(governor=Governor())
        first = [asyncio.create_task(client.messages.create(**ASK)) for _ in range(250)]
        await asyncio.sleep(0)
        began = emulated.clock.monotonic()
        with pytest.raises(RateLimited):
            await client.with_options(deadline=5).messages.create(**ASK)
        assert emulated.clock.monotonic() - began == pytest.approx(5, abs=0.1)
        await asyncio.gather(*first)
        assert emulated.emulator.requests.total == 250

    asyncio.run(scenario())


def test_calls_that_a_queue_repeats(emulated):
    """With `defer`, a long wait is RetryLater without an attempt, and the delays are spread."""

    async def scenario():
        client = emulated.async_client(governor=Governor(), retry=defer())
        calls = (client.messages.create(**ASK) for _ in range(300))
        answers = await asyncio.gather(*calls, return_exceptions=True)
        later = [answer for answer in answers if isinstance(answer, RetryLater)]
        assert len(later) > 100
        assert {error.attempts for error in later} == {0}
        assert len({round(error.delay, 1) for error in later}) > 50
        assert emulated.clock.monotonic() <= 2.1

    asyncio.run(scenario())


def test_cancelled_calls_give_their_place_back(emulated):
    """Of calls that wait, some are cancelled: the others go as if these had never been."""

    async def scenario():
        client = emulated.async_client(governor=Governor())
        await asyncio.gather(*(client.messages.create(**ASK) for _ in range(150)))
        tasks = [asyncio.create_task(client.messages.create(**ASK)) for _ in range(80)]
        await asyncio.sleep(0)
        for task in tasks[:40]:
            task.cancel()
        began = emulated.clock.monotonic()
        answers = await asyncio.gather(*tasks, return_exceptions=True)
        assert sum(isinstance(answer, asyncio.CancelledError) for answer in answers) == 40
        assert emulated.emulator.requests.total == 190
        assert emulated.clock.monotonic() - began < 40 / 2.5 + 3
        assert client.governor.snapshot()[0]["waiting"] == 0

    asyncio.run(scenario())


def test_streams_take_turns(emulated):
    """A stream takes a turn as well, and its usage comes at its end."""

    async def scenario():
        client = emulated.async_client(governor=Governor())

        async def read():
            async with client.messages.stream(**ASK) as stream:
                return await stream.final_message()

        messages = await asyncio.gather(*(read() for _ in range(200)))
        assert len(messages) == emulated.emulator.requests.total == 200

    asyncio.run(scenario())


def test_background_calls_go_last(emulated):
    """While background calls wait, an interactive call goes first."""

    async def scenario():
        client = emulated.async_client(governor=Governor())
        slow = client.with_options(priority="background")
        await asyncio.gather(*(client.messages.create(**ASK) for _ in range(140)))
        tasks = [asyncio.create_task(slow.messages.create(**ASK)) for _ in range(60)]
        await asyncio.sleep(0)
        began = emulated.clock.monotonic()
        await client.messages.create(**ASK)
        assert emulated.clock.monotonic() - began < 2
        assert sum(not task.done() for task in tasks) > 30
        await asyncio.gather(*tasks)

    asyncio.run(scenario())


def test_counting_has_a_limit_of_its_own(emulated):
    """Calls that count tokens wait for no message, and a list of models waits for nothing."""

    async def scenario():
        client = emulated.async_client(governor=Governor())
        calls = [asyncio.create_task(client.messages.create(**ASK)) for _ in range(300)]
        await asyncio.sleep(0.01)
        began = emulated.clock.monotonic()
        await client.messages.count_tokens(model=ASK["model"], messages=ASK["messages"])
        await client.models.list()
        assert emulated.clock.monotonic() - began < 0.1
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)

    asyncio.run(scenario())


def test_threads_wait():
    """Threads of a sync client share the limit, and each of them waits for its turn."""
    emulator = Emulator(limits={"requests": 24_000, "bucket": 1}, latency=0.01)  # 400 per second
    client = Client(EmulatorTransport(emulator), api_key="any", governor=Governor())
    errors = []

    def work():
        try:
            for _ in range(20):
                client.messages.create(**ASK)
        except Exception as error:  # noqa: BLE001  # shown below
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert 800 <= emulator.requests.total <= 808


def stubbed(*answers, **options):
    """Make a client of prepared answers in virtual time."""
    clock = VirtualClock()
    transport = StubTransport(*answers)
    options = {"api_key": "any", "governor": Governor(), **options}
    return Client(clock.transport(transport), **options), transport, clock


def failed(status, kind, headers=(), **fields):
    """An error of the API."""
    body = {"type": "error", "error": {"type": kind, "message": "no", **fields}}
    head = {"content-type": "application/json", **dict(headers)}
    return Response(status, head, json.dumps(body).encode())


def refused(retry_after="1", **headers):
    """A refusal of the rate limit."""
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return failed(429, "rate_limit_error", {"retry-after": retry_after, **names})


def test_refusals_are_no_attempts():
    """A call that the rate limit refuses more often than it has attempts is answered in the end."""
    client, transport, clock = stubbed(*[refused()] * 6, message("Hi"))
    assert client.messages.create(**ASK).text == "Hi"
    assert len(transport.requests) == 7
    assert clock.monotonic() >= 5


def test_refusals_end():
    """A server that refuses for ever ends the call in the end."""
    client, transport, _ = stubbed(*[refused()] * 80, deadline=None)
    with pytest.raises(RateLimited):
        client.messages.create(**ASK)
    assert len(transport.requests) == 53


@pytest.mark.parametrize(
    "answer",
    [
        refused(anthropic_ratelimit_requests_limit="0"),
        failed(429, "rate_limit_error", details={"error_code": "enforced_spend_limit_reached"}),
    ],
    ids=["a limit of 0", "a spend limit"],
)
def test_limits_of_nobody_are_final(answer):
    """A limit of 0 and a spend limit end the call: no wait helps."""
    client, transport, _ = stubbed(answer)
    with pytest.raises(RateLimited):
        client.messages.create(**ASK)
    assert len(transport.requests) == 1


def test_the_rules_of_the_user_hold():
    """`never` and `off` end the call at its first refusal."""
    for retry in (never(), standard().off(RateLimited)):
        client, transport, _ = stubbed(refused(), retry=retry)
        with pytest.raises(RateLimited) as caught:
            client.messages.create(**ASK)
        assert caught.value.attempts == len(transport.requests) == 1


def test_a_long_wait_is_the_users():
    """A wait of more than a minute is no limit per minute: the rules of retries decide."""
    client, transport, _ = stubbed(refused("300"), deadline=100)
    with pytest.raises(RateLimited) as caught:
        client.messages.create(**ASK)
    assert caught.value.retry_after == 300
    assert len(transport.requests) == 1


def test_overloads_are_attempts():
    """An overload counts as an attempt, and takes nothing of the limit."""
    client, transport, _ = stubbed(*[failed(529, "overloaded_error")] * 3)
    with pytest.raises(Overloaded):
        client.messages.create(**ASK)
    assert len(transport.requests) == 3


def test_who_takes_part():
    """Stubs take no part, and an emulator only with limits, unless a governor is asked for."""
    assert Client(StubTransport(), api_key="any").governor is None
    assert Client(StubTransport(), api_key="any", governor="local").governor is not None
    with ClaudeEmulator() as emulated:
        assert emulated.client().governor is None
    with ClaudeEmulator(limits={"requests": 5}) as emulated:
        assert emulated.client().governor is not None
        assert emulated.client(governor=None).governor is None
    assert Client("urllib", api_key="any").governor is not None


def test_clients_share_one_governor():
    """All clients with "local" share one governor; with None there is none."""
    one, two = Client(api_key="any", governor="local"), AsyncClient(api_key="any")
    assert one.governor is two.governor
    assert one.with_options(priority="background").governor is one.governor
    assert one.with_options(governor=None).governor is None


@pytest.mark.parametrize("value", ["redis", "global", "http//x", 5, "ftp://host"])
def test_a_governor_that_is_none(value):
    """What is no governor is refused when the client is made or first used."""
    with pytest.raises(UsageError, match="governor"):
        _ = Client(api_key="any", governor=value).governor


def test_a_priority_that_is_none():
    """A priority that is none is refused."""
    with pytest.raises(UsageError, match="priority"):
        Client(api_key="any", priority="high")


def test_the_log_says_how_long_a_call_was_held(emulated):
    """The events of a call that was held have `held_ms`; those of others have not."""
    events = []
    client = emulated.async_client(
        governor=Governor(), observe=lambda event, fields: events.append((event, fields))
    )

    async def scenario():
        await asyncio.gather(*(client.messages.create(**ASK) for _ in range(160)))

    asyncio.run(scenario())
    calls = [fields for event, fields in events if event == "claude_lite.call"]
    held = [fields["held_ms"] for fields in calls if "held_ms" in fields]
    assert 0 < len(held) < len(calls) == 160
    assert max(held) > 1000
    attempts = [fields for event, fields in events if event == "claude_lite.attempt"]
    assert sum("held_ms" in fields for fields in attempts) == len(held)


def test_the_environment_names_the_governor(monkeypatch):
    """CLAUDE_LITE_GOVERNOR replaces "auto"; "none" there means None."""
    for name, wanted in (("none", False), ("local", True), ("", True)):
        monkeypatch.setenv("CLAUDE_LITE_GOVERNOR", name)
        assert (Client("urllib", api_key="any").governor is not None) is wanted
    monkeypatch.setenv("CLAUDE_LITE_GOVERNOR", "everywhere")
    with pytest.raises(UsageError, match="governor"):
        Client("urllib", api_key="any")


def test_what_is_known_can_be_forgotten(emulated):
    """After `forget`, and in each test of the pytest plugin, governors know nothing."""
    client = emulated.client(governor=Governor())
    client.messages.create(**ASK)
    (state,) = client.governor.snapshot()
    assert state["limits"]["requests"] == 150
    assert (state["family"], state["waiting"]) == ("opus-4", 0)
    forget()
    assert client.governor.snapshot() == []


def test_models_that_share_a_limit():
    """The versions 4.x of a class share a limit; other models, and the counting, do not."""
    one = {family_of("claude-opus-4-5"), family_of("anthropic.claude-opus-4-1-20250805-v1:0")}
    assert one == {"opus-4"}
    assert family_of("claude-opus-4-5", counts=True) == "count opus-4"
    assert family_of("claude-opus-5") == "claude-opus-5"
    assert family_of("claude-opus-45") == "claude-opus-45"


def test_the_cost_of_files(emulated):
    """An image costs 1,600 tokens, however large its base64 is."""
    picture = {"type": "base64", "media_type": "image/png", "data": "A" * 400_000}
    content = [{"type": "image", "source": picture}, {"type": "text", "text": "What is it?"}]
    ask = {**ASK, "messages": [{"role": "user", "content": content}]}
    client = emulated.client(governor=Governor())
    exchange = Exchange(CreateMessage(**ask), client.config, governed=True)
    tokens, most = cost_of(exchange.next_action())
    assert 1600 < tokens < 1800
    assert most == 50


def test_a_fork_while_calls_wait():
    """A child that is forked while calls wait makes calls of its own, and ends."""
    program = """
        from claude_lite.emulator import Emulator
        from claude_lite.governor import Governor
        from claude_lite_transports.emulator import EmulatorTransport

        ASK = {**ask("hello"), "model": "claude-opus-4-5"}
        emulator = Emulator(limits={"requests": 60, "bucket": 1})
        client = Client(EmulatorTransport(emulator), api_key=KEY, governor=Governor())
        calls = [lambda: client.messages.create(**ASK) for _ in range(8)]
        for call in calls:
            threading.Thread(target=call, daemon=True).start()
        time.sleep(0.2)
        wait_for([fork(calls[0])])
        assert client.governor.snapshot()[0]["waiting"] > 0
    """
    with EchoServer() as server:
        python(program, server)


def tenant_key():
    """Give a key, as a function of a module does."""
    return "sk-one"


def test_which_functions_share_a_limit(emulated):
    """Keys of one named function share a limit; keys of lambdas have a limit each."""
    governor = Governor()
    for key in ("sk-one", "sk-two"):
        emulated.client(governor=governor, api_key=lambda key=key: key).messages.create(**ASK)
    assert len(governor.snapshot()) == 2
    for _ in range(2):
        emulated.client(governor=governor, api_key=tenant_key).messages.create(**ASK)
    assert len(governor.snapshot()) == 3
