"""Clients that share the connections of another client: they close nothing."""

import asyncio
import copy
import pickle
import threading

import pytest
from driving import KEY, answer, both_modes, client, do
from programs import EchoServer, ask

from claude_lite import AsyncClient, Client, never

ASYNC = ["aiohttp", "asyncio"]


async def leave(made):
    """Enter a client and leave it (sync or async)."""
    if hasattr(made, "__enter__"):
        with made:
            pass
    else:
        async with made:
            pass


@both_modes
def test_who_closes_the_transport(mode):
    """A client that was derived or copied from another closes nothing; the first client does."""
    made = client(mode, answer())
    derived = made.with_options(timeout=5)
    shared = [derived, derived.with_options(deadline=9), copy.copy(made), copy.copy(derived)]

    async def scenario():
        for one in shared:
            assert one.transport is made.transport
            await leave(one)
            await do(one.close)
        assert made.transport.closed == 0
        await leave(made)
        assert made.transport.closed == 1

    asyncio.run(scenario())


@pytest.mark.parametrize("copier", [copy.deepcopy, lambda made: pickle.loads(pickle.dumps(made))])  # noqa: S301  # our own
@pytest.mark.parametrize("cls", [Client, AsyncClient])
def test_a_copy_of_its_own(cls, copier):
    """A deep copy, or what comes out of a pickle, has connections of its own, and closes them."""
    made = cls(api_key=KEY).with_options(timeout=5)
    copied = copier(made)
    assert copied.transport is not made.transport
    assert (made._derived, copied._derived) == (True, False)
    assert copied.config.timeout == 5


@pytest.mark.parametrize("name", ASYNC)
def test_leaving_a_derived_client_while_others_call(name):
    """Twenty calls go on, once each, while a client that shares their connections is left."""

    async def main(url):
        async with AsyncClient(name, api_key=KEY, base_url=url, retry=never()) as made:
            calls = [asyncio.create_task(made.messages.create(**ask(f"{n}"))) for n in range(20)]
            while len(server.heard) < 20:  # noqa: ASYNC110  # threads of the server add to it
                await asyncio.sleep(0.001)
            async with made.with_options(timeout=5) as derived:
                assert (await derived.messages.create(**ask("derived"))).text == "derived"
            assert [(await call).text for call in calls] == [f"{n}" for n in range(20)]

    with EchoServer(after=0.3) as server:
        asyncio.run(main(server.url("")))
        assert len(server.heard) == 21


def test_leaving_a_derived_sync_client_while_others_call():
    """The same for threads; a stream that is read goes on as well."""
    with EchoServer(after=0.05) as server, Client(api_key=KEY, base_url=server.url("")) as made:
        texts = []

        def call(n):
            texts.append(made.messages.create(**ask(f"{n}")).text)

        threads = [threading.Thread(target=call, args=(n,)) for n in range(9)]
        for thread in threads:
            thread.start()
        with made.messages.stream(**ask("whole")) as stream:
            with made.with_options(timeout=5) as derived:
                assert derived.messages.create(**ask("derived")).text == "derived"
            for thread in threads:
                thread.join()
            assert stream.final_message().text == "Hello"
        assert sorted(texts) == [f"{n}" for n in range(9)]
        assert len(server.heard) == 11


@pytest.mark.parametrize("name", ASYNC)
def test_a_client_that_is_closed_before_those_derived_from_it(name):
    """A derived client works on after the first client was closed: it opens new connections."""

    async def main(url):
        async with AsyncClient(name, api_key=KEY, base_url=url) as made:
            derived = made.with_options(timeout=5)
            await derived.messages.create(**ask("one"))
        assert (await derived.messages.create(**ask("two"))).text == "two"
        await made.close()

    with EchoServer() as server:
        asyncio.run(main(server.url("")))
        assert (len(server.heard), server.connections) == (2, 2)
