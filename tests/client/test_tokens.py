"""Credentials of functions: asked when needed, once for all who wait, and again after a 401."""

import asyncio
import functools
import threading
import time
from contextvars import ContextVar

import pytest
from attrs import define
from driving import HELLO, KEY, answer, both, both_modes, client, do, refusal, stream
from programs import EchoServer, python

from claude_lite import (
    AuthenticationFailed,
    CredentialMissing,
    Overloaded,
    TimedOut,
    UsageError,
    never,
)
from claude_lite.client.link import MAX_PROVIDERS
from claude_lite.client.tokens import SPARE_THREADS, AsyncTokens, Tokens

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
    """An error of the function ends the call, as the cause of a typed error; the next call asks."""
    source = Provider(fails=1)
    made = client(mode, Gate("token-0001"), auth_token=source)

    async def scenario():
        with pytest.raises(CredentialMissing, match="auth_token raised OSError") as caught:
            await do(made.messages.create, **HELLO)
        assert isinstance(caught.value.__cause__, OSError)
        assert (caught.value.attempts, made.transport.requests, made.transport.waits) == (0, [], [])
        await do(made.messages.create, **HELLO)

    asyncio.run(scenario())
    assert source.count == 1


@both_modes
@pytest.mark.parametrize("is_async", [False, True])
def test_an_error_of_this_library_keeps_its_class(mode, is_async):
    """A function that itself uses this library fails with the class of its error, a new object."""
    failure = Overloaded("no", 529)

    def plain():
        raise failure

    async def later():
        raise failure

    made = client(mode, answer(), api_key=later if is_async and mode == "async" else plain)

    async def scenario():
        with pytest.raises(Overloaded) as caught:
            await do(made.messages.create, **HELLO)
        assert caught.value.__cause__ is failure

    asyncio.run(scenario())
    assert (failure.attempts, made.transport.requests) == (0, [])


@both_modes
@pytest.mark.parametrize("option", ["api_key", "auth_token"])
@pytest.mark.parametrize("token", [None, 7, "", b"bytes", " ", "two words"])
def test_what_is_no_token(mode, option, token):
    """A function that returns no credential is a `UsageError`, and nothing is sent."""
    made = client(mode, answer(), **{option: lambda: token})

    async def scenario():
        with pytest.raises(UsageError, match=option):
            await do(made.messages.create, **HELLO)

    asyncio.run(scenario())
    assert made.transport.requests == []


class Later:
    """An object that is an async function."""

    async def __call__(self):
        """Create a token."""
        return "token-0001"


@pytest.mark.parametrize(
    "function", [Provider().later, Later(), functools.partial(Provider().later)]
)
def test_an_async_function_needs_an_async_client(function):
    """A sync client refuses an async function when the client is made, or derived."""
    for option in ("api_key", "auth_token"):
        with pytest.raises(UsageError, match=f"{option} is an async function.*AsyncClient"):
            client("sync", answer(), **{option: function})
        with pytest.raises(UsageError, match="AsyncClient"):
            client("sync", answer()).with_options(**{option: function})
        made = client("async", answer(), **{option: function})
        assert asyncio.run(made.messages.create(**HELLO)).text


def test_a_function_that_returns_a_coroutine_needs_an_async_client():
    """A plain function that returns a coroutine is a `UsageError`, without a warning about it."""
    made = client("sync", answer(), auth_token=lambda: Provider().later())
    with pytest.raises(UsageError, match="AsyncClient"):
        made.messages.create(**HELLO)


def test_a_plain_function_may_return_a_coroutine():
    """An async client awaits what a plain function returns, once for all calls at once."""
    source = Provider()
    made = client("async", Gate("token-0001"), auth_token=lambda: source.later())  # noqa: PLW0108  # a plain function

    async def scenario():
        await asyncio.gather(*(made.messages.create(**HELLO) for _ in range(9)))

    asyncio.run(scenario())
    asyncio.run(scenario())
    assert source.count == 1


class Keys:
    """A server that takes one API key, and can change its mind."""

    def __init__(self, good):
        """Let this key in."""
        self.good, self.refused = good, 0

    def __call__(self, request):
        """Answer one request."""
        if request.headers["x-api-key"] == self.good:
            return answer()
        self.refused += 1
        return refusal(401, "authentication_error")


@pytest.mark.parametrize(("mode", "kind"), PROVIDERS)
def test_a_key_that_is_rotated(mode, kind):
    """A function given as `api_key` is asked once, again after a 401, and shared by derivation."""
    source = Provider()
    gate = Keys("token-0001")
    made = client(mode, gate, api_key=source if kind == "plain" else source.later, retry=never())
    run_many(mode, made)
    run_many(mode, made.with_options(timeout=5))
    assert (source.count, gate.refused) == (1, 0)
    gate.good = "token-0002"
    run_many(mode, made)
    assert source.count == 2
    assert 1 <= gate.refused <= MANY


@both_modes
def test_a_header_goes_before_a_function(mode):
    """Where `headers` has a credential, the function given as `api_key` is not asked."""
    source = Provider()
    made = client(mode, answer(), api_key=source, headers={"x-api-key": KEY})

    async def scenario():
        await do(made.messages.create, **HELLO)

    asyncio.run(scenario())
    assert (source.count, made.transport.requests[0].headers["x-api-key"]) == (0, KEY)


class Hanging:
    """A function that hangs until it is told to go on."""

    def __init__(self):
        """Hang at first."""
        self.calls, self.on = 0, threading.Event()

    def __call__(self):
        """Return a token, later."""
        self.calls += 1
        self.on.wait(20.0)
        return "token-0001"


@both_modes
@pytest.mark.parametrize("option", ["api_key", "auth_token"])
def test_a_function_that_hangs(mode, option):
    """A plain function that hangs ends with the deadline; it runs on a few threads at most."""
    source = Hanging()
    made = client(mode, answer(), **{option: source}).with_options(deadline=0.02)

    async def scenario():
        for _ in range(SPARE_THREADS + 3):
            with pytest.raises(TimedOut, match=f"{option} did not return") as caught:
                await do(made.messages.create, **HELLO)
            assert caught.value.phase == "total"
        assert source.calls == SPARE_THREADS + 1
        source.on.set()
        await do(made.with_options(deadline=9.0).messages.create, **HELLO)

    asyncio.run(scenario())
    assert source.calls == SPARE_THREADS + 1
    assert len(made.transport.requests) == 1


def test_a_plain_function_does_not_block_the_loop():
    """While a plain function waits, other tasks of the loop run."""
    source = Hanging()
    made = client("async", answer(), api_key=source)

    async def scenario():
        call = asyncio.create_task(made.messages.create(**HELLO))
        while not source.calls:  # noqa: ASYNC110  # the function runs on a thread
            await asyncio.sleep(0.001)
        source.on.set()  # this would come too late if the loop were blocked
        await call

    asyncio.run(asyncio.wait_for(scenario(), 10.0))


TENANT = ContextVar("TENANT", default="nobody")


@both_modes
def test_a_function_sees_the_context_of_its_caller(mode):
    """A plain function runs with the context variables of the call that asks it."""
    made = client(mode, answer(), api_key=lambda: f"key-of-{TENANT.get()}")

    async def scenario():
        TENANT.set("tenant")
        await do(made.messages.create, **HELLO)

    asyncio.run(scenario())
    assert made.transport.requests[0].headers["x-api-key"] == "key-of-tenant"


@define
class Unhashable:
    """A function that has no hash."""

    calls: int = 0

    def __call__(self):
        """Return a key."""
        self.calls += 1
        return "token-0001"


@both_modes
def test_an_object_without_a_hash(mode):
    """A function may be an object that has no hash."""
    source = Unhashable()
    made = client(mode, answer(), api_key=source)

    async def scenario():
        await do(made.messages.create, **HELLO)
        await do(made.with_options(timeout=5).messages.create, **HELLO)

    asyncio.run(scenario())
    assert source.calls == 1


def test_a_cancelled_caller_leaves_the_run_to_the_others():
    """If a task that waits for a plain function is cancelled, the others get its token."""
    source = Hanging()
    tokens = AsyncTokens(source, "api_key")

    async def scenario():
        first, second = (asyncio.create_task(tokens.get(None)) for _ in range(2))
        while not source.calls:  # noqa: ASYNC110  # the function runs on a thread
            await asyncio.sleep(0.001)
        first.cancel()
        await asyncio.sleep(0)
        source.on.set()
        return await second

    assert asyncio.run(scenario()) == "token-0001"
    assert source.calls == 1


def test_a_call_at_the_end_of_the_interpreter():
    """Where no thread can be started any more, a function is called on the caller's thread."""
    code = """
        import atexit
        from claude_lite import Response

        class Mine:
            def send(self, request):
                return Response(200, {}, b'{"input_tokens": 7}')
            def stream(self, request): ...
            def sleep(self, seconds): ...
            def close(self): ...

        client = Client(Mine(), api_key=lambda: KEY)
        count = lambda: client.messages.count_tokens(model="m", messages=[])
        threading._register_atexit(lambda: atexit.register(count))
    """
    with EchoServer() as server:
        python(code, server)


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
    tokens = AsyncTokens(source.later, "auth_token")

    async def scenario():
        first, second = (asyncio.create_task(tokens.get(None)) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        return await second

    assert asyncio.run(scenario()) == "token-0001"


def test_only_the_refused_token_is_replaced():
    """Who comes late with a token that is replaced already gets the new one, unminted."""
    source = Provider()
    tokens = Tokens(source, "auth_token")
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
