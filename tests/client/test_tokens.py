"""Tokens of a provider: created when needed, once for all who wait, and again after a 401."""

import asyncio
import threading
import time

import pytest
from driving import HELLO, answer, both, both_modes, client, do, refusal, stream

from claude_lite import AuthenticationFailed, UsageError, never
from claude_lite.client.link import MAX_PROVIDERS
from claude_lite.client.tokens import AsyncTokens, Tokens

MANY = 50


class Provider:
    """A provider that counts; its tokens are numbered. Creating one takes a moment."""

    def __init__(self, *, fails=0):
        """Fail so many times at first."""
        self.count, self.fails = 0, fails

    def __call__(self):
        """Create a token."""
        time.sleep(0.002)
        return self._next()

    async def later(self):
        """Create a token, while other tasks run."""
        await asyncio.sleep(0.002)
        return self._next()

    def _next(self):
        if self.fails:
            self.fails -= 1
            raise OSError("the identity service is down")
        self.count += 1
        return f"token-000{self.count}"


class Gate:
    """A server that lets in the bearer of one token, and can change its mind."""

    def __init__(self, good):
        """Let this token in."""
        self.good = good
        self.refused = 0

    def __call__(self, request):
        """Answer one request."""
        if request.headers["authorization"] == f"Bearer {self.good}":
            return answer()
        self.refused += 1
        return refusal(401, "authentication_error")


def run_many(mode, made):
    """Make calls at the same time, on tasks or on threads."""
    if mode == "async":

        async def scenario():
            await asyncio.gather(*(made.messages.create(**HELLO) for _ in range(MANY)))

        asyncio.run(scenario())
        return
    threads = [threading.Thread(target=lambda: made.messages.create(**HELLO)) for _ in range(MANY)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


PROVIDERS = [("sync", "plain"), ("async", "plain"), ("async", "async")]


@pytest.mark.parametrize(("mode", "kind"), PROVIDERS)
def test_one_token_serves_all(mode, kind):
    """Fifty calls at once create one token; after it is refused, they create exactly one more."""
    source = Provider()
    gate = Gate("token-0001")
    provider = source if kind == "plain" else source.later
    made = client(mode, gate, auth_token=provider, retry=never())
    run_many(mode, made)
    assert (source.count, gate.refused) == (1, 0)
    gate.good = "token-0002"
    run_many(mode, made)
    assert source.count == 2
    assert 1 <= gate.refused <= MANY
    run_many(mode, made)
    assert source.count == 2


@pytest.mark.parametrize(("mode", "kind"), PROVIDERS)
def test_a_token_that_stays_wrong(mode, kind):
    """A call creates at most one more token, and then raises the 401."""
    source = Provider()
    made = client(mode, Gate("none"), auth_token=source if kind == "plain" else source.later)

    async def scenario():
        with pytest.raises(AuthenticationFailed) as caught:
            await do(made.messages.create, **HELLO)
        return caught.value.attempts

    assert asyncio.run(scenario()) == 2
    assert source.count == 2


@both_modes
def test_derived_clients_share_tokens(mode):
    """Clients derived from one another create one token; an unrelated client creates its own."""
    source = Provider()
    one = client(mode, Gate("token-0001"), auth_token=source)

    async def scenario():
        await do(one.messages.create, **HELLO)
        await do(one.with_options(timeout=5).messages.create, **HELLO)
        await do(one.with_options(timeout=6).messages.create, **HELLO)

    asyncio.run(scenario())
    assert source.count == 1


@both_modes
def test_a_provider_that_fails_is_asked_again(mode):
    """An error of the provider passes through as it is, and the next call asks anew."""
    source = Provider(fails=1)
    made = client(mode, Gate("token-0001"), auth_token=source)

    async def scenario():
        with pytest.raises(OSError, match="identity service"):
            await do(made.messages.create, **HELLO)
        await do(made.messages.create, **HELLO)

    asyncio.run(scenario())
    assert source.count == 1


@both_modes
@pytest.mark.parametrize("token", [None, 7, "", b"bytes"])
def test_what_is_no_token(mode, token):
    """A provider that returns no text is a `UsageError`, and nothing is sent."""
    made = client(mode, answer(), auth_token=lambda: token)

    async def scenario():
        with pytest.raises(UsageError, match="token provider"):
            await do(made.messages.create, **HELLO)

    asyncio.run(scenario())
    assert made.transport.requests == []


def test_an_async_provider_needs_an_async_client():
    """A synchronous client refuses a coroutine function, without a warning about it."""
    made = client("sync", answer(), auth_token=Provider().later)
    with pytest.raises(UsageError, match="AsyncClient"):
        made.messages.create(**HELLO)


def test_successive_loops_share_a_token():
    """The token of a client outlives the event loop in which it was created."""
    source = Provider()
    made = client("async", Gate("token-0001"), auth_token=source.later)
    for _ in range(3):
        asyncio.run(made.messages.create(**HELLO))
    assert source.count == 1


def test_a_cancelled_new_token_is_taken_over():
    """If the task that creates a token is cancelled, another task creates it."""
    source = Provider()
    tokens = AsyncTokens(source.later)

    async def scenario():
        first, second = (asyncio.create_task(tokens.get(None)) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        return await second

    assert asyncio.run(scenario()) == "token-0001"


def test_only_the_refused_token_is_replaced():
    """Who comes late with a token that is replaced already gets the new one, unminted."""
    source = Provider()
    tokens = Tokens(source)
    assert tokens.get(None) == tokens.get(None) == "token-0001"
    assert tokens.get("token-0001") == "token-0002"
    assert tokens.get("token-0001") == "token-0002"
    assert source.count == 2


async def text_of(made):
    """Read a streamed message (sync or async)."""
    async with both(made.messages.stream(**HELLO)) as s:
        return (await s.final_message()).text


def test_streams_have_tokens_too():
    """A stream that is refused with 401 is opened with a fresh token."""
    source = Provider()

    def gate(request):
        good = request.headers["authorization"] == "Bearer token-0002"
        return stream() if good else refusal(401, "authentication_error")

    for mode in ("sync", "async"):
        source.count = 0
        made = client(mode, gate, auth_token=source)
        assert asyncio.run(text_of(made)) == "Hello"
        assert source.count == 2


def test_functions_that_are_made_for_each_call_do_not_pile_up():
    """Each call has the token of its own function, and the client does not keep them all."""
    made = client("sync", answer())
    for n in range(2 * MAX_PROVIDERS):
        made.with_options(auth_token=lambda n=n: f"token-{n}").messages.create(**HELLO)
        assert made.transport.requests[-1].headers["authorization"] == f"Bearer token-{n}"
    assert len(made._link._tokens) <= MAX_PROVIDERS + 1
