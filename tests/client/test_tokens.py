"""Tokens of a provider: minted when needed, once for all who wait, and again after a 401."""

import asyncio
import threading
import time

import pytest
from driving import HELLO, answer, both, both_colours, client, do, refusal, stream

from claude_lite import AuthenticationFailed, UsageError, never
from claude_lite.client.link import MOST_PROVIDERS
from claude_lite.client.tokens import AsyncTokens, Tokens

MANY = 50


class Mint:
    """A provider that counts; its tokens are numbered. A mint takes a moment, as it would."""

    def __init__(self, *, fails=0):
        """Fail so many times at first."""
        self.count, self.fails = 0, fails

    def __call__(self):
        """Mint a token."""
        time.sleep(0.002)
        return self._next()

    async def later(self):
        """Mint a token, while other tasks run."""
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


def run_many(colour, made):
    """Make calls at the same time, on tasks or on threads."""
    if colour == "async":

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


@pytest.mark.parametrize(("colour", "kind"), PROVIDERS)
def test_one_mint_serves_all(colour, kind):
    """Fifty calls at once mint one token; after it is refused, they mint exactly one more."""
    mint = Mint()
    gate = Gate("token-0001")
    provider = mint if kind == "plain" else mint.later
    made = client(colour, gate, auth_token=provider, retry=never())
    run_many(colour, made)
    assert (mint.count, gate.refused) == (1, 0)
    gate.good = "token-0002"
    run_many(colour, made)
    assert mint.count == 2
    assert 1 <= gate.refused <= MANY
    run_many(colour, made)
    assert mint.count == 2


@pytest.mark.parametrize(("colour", "kind"), PROVIDERS)
def test_a_token_that_stays_wrong(colour, kind):
    """A call mints at most once more, and then raises the 401."""
    mint = Mint()
    made = client(colour, Gate("none"), auth_token=mint if kind == "plain" else mint.later)

    async def scenario():
        with pytest.raises(AuthenticationFailed) as caught:
            await do(made.messages.create, **HELLO)
        return caught.value.attempts

    assert asyncio.run(scenario()) == 2
    assert mint.count == 2


@both_colours
def test_derived_clients_share_tokens(colour):
    """Clients derived from one another mint once; an unrelated client for itself."""
    mint = Mint()
    one = client(colour, Gate("token-0001"), auth_token=mint)

    async def scenario():
        await do(one.messages.create, **HELLO)
        await do(one.with_options(timeout=5).messages.create, **HELLO)
        await do(one.with_options(timeout=6).messages.create, **HELLO)

    asyncio.run(scenario())
    assert mint.count == 1


@both_colours
def test_a_provider_that_fails_is_asked_again(colour):
    """An error of the provider passes through as it is, and the next call asks anew."""
    mint = Mint(fails=1)
    made = client(colour, Gate("token-0001"), auth_token=mint)

    async def scenario():
        with pytest.raises(OSError, match="identity service"):
            await do(made.messages.create, **HELLO)
        await do(made.messages.create, **HELLO)

    asyncio.run(scenario())
    assert mint.count == 1


@both_colours
@pytest.mark.parametrize("token", [None, 7, "", b"bytes"])
def test_what_is_no_token(colour, token):
    """A provider that returns no text is a `UsageError`, and nothing is sent."""
    made = client(colour, answer(), auth_token=lambda: token)

    async def scenario():
        with pytest.raises(UsageError, match="token provider"):
            await do(made.messages.create, **HELLO)

    asyncio.run(scenario())
    assert made.transport.requests == []


def test_an_async_provider_needs_an_async_client():
    """A synchronous client refuses a coroutine function, without a warning about it."""
    made = client("sync", answer(), auth_token=Mint().later)
    with pytest.raises(UsageError, match="AsyncClient"):
        made.messages.create(**HELLO)


def test_successive_loops_share_a_token():
    """The token of a client outlives the event loop in which it was minted."""
    mint = Mint()
    made = client("async", Gate("token-0001"), auth_token=mint.later)
    for _ in range(3):
        asyncio.run(made.messages.create(**HELLO))
    assert mint.count == 1


def test_a_cancelled_mint_is_taken_over():
    """If the task that mints is cancelled, another one mints."""
    mint = Mint()
    tokens = AsyncTokens(mint.later)

    async def scenario():
        first, second = (asyncio.create_task(tokens.get(None)) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        return await second

    assert asyncio.run(scenario()) == "token-0001"


def test_only_the_refused_token_is_replaced():
    """Who comes late with a token that is replaced already gets the new one, unminted."""
    mint = Mint()
    tokens = Tokens(mint)
    assert tokens.get(None) == tokens.get(None) == "token-0001"
    assert tokens.get("token-0001") == "token-0002"
    assert tokens.get("token-0001") == "token-0002"
    assert mint.count == 2


async def text_of(made):
    """Read a streamed message of either colour."""
    async with both(made.messages.stream(**HELLO)) as s:
        return (await s.final_message()).text


def test_streams_have_tokens_too():
    """A stream that is refused with 401 is opened with a fresh token."""
    mint = Mint()

    def gate(request):
        good = request.headers["authorization"] == "Bearer token-0002"
        return stream() if good else refusal(401, "authentication_error")

    for colour in ("sync", "async"):
        mint.count = 0
        made = client(colour, gate, auth_token=mint)
        assert asyncio.run(text_of(made)) == "Hello"
        assert mint.count == 2


def test_functions_that_are_made_for_each_call_do_not_pile_up():
    """Each call has the token of its own function, and the client does not keep them all."""
    made = client("sync", answer())
    for n in range(2 * MOST_PROVIDERS):
        made.with_options(auth_token=lambda n=n: f"token-{n}").messages.create(**HELLO)
        assert made.transport.requests[-1].headers["authorization"] == f"Bearer token-{n}"
    assert len(made._link._tokens) <= MOST_PROVIDERS + 1
