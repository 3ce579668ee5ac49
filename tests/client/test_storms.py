"""An overloaded server gets hardly more requests than there are calls, whoever makes them."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest

from claude_lite import AsyncClient, Client, Overloaded, standard
from claude_lite.core.retry import budget_for
from claude_lite.testing.conformance.loopback import LoopbackServer, reply
from claude_lite_transports.aiohttp import AiohttpTransport
from claude_lite_transports.urllib import UrllibTransport

try:
    import httptools  # noqa: F401  # it is an extra; without it there is one transport less

    from claude_lite_transports.asyncio import AsyncioTransport
except ImportError:
    MADE = {"aiohttp": lambda: AiohttpTransport(trust_env=False)}
else:
    MADE = {
        "aiohttp": lambda: AiohttpTransport(trust_env=False),
        "asyncio": lambda: AsyncioTransport(trust_env=False),
    }

CALLERS, EACH = 200, 5
CALLS = CALLERS * EACH
BUSY = b'{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}'
ASK = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "x"}]}


def busy(peer):
    """Be overloaded."""
    while peer.request():
        peer.send(reply(BUSY, "Content-Type: application/json", status="529 Busy"))


def options(server):
    """Retry five times, at once, by a policy that would send six times the load."""
    return {"api_key": "k", "base_url": server.url(""), "retry": standard(attempts=6, wait=0.001)}


def check(server, failed):
    """Each call failed as it should, and the server had what the bound says, and no less."""
    assert failed == CALLS
    bucket = budget_for(server.url("").rstrip("/")).capacity
    assert CALLS + bucket <= len(server.received) + 1
    assert len(server.received) <= 1.2 * CALLS + bucket


@pytest.mark.parametrize("form", ["create", "stream"])
def test_threads_in_a_storm(form):
    """200 threads against a server that only says 529: no more than 1.2 times and the bucket."""
    with (
        LoopbackServer(busy) as server,
        Client(UrllibTransport(trust_env=False), **options(server)) as c,
    ):

        def caller(_):
            failed = 0
            for _ in range(EACH):
                try:
                    if form == "create":
                        c.messages.create(**ASK)
                    else:
                        with c.messages.stream(**ASK):
                            pass
                except Overloaded:
                    failed += 1
            return failed

        with ThreadPoolExecutor(CALLERS) as threads:
            failed = sum(threads.map(caller, range(CALLERS)))
        check(server, failed)


@pytest.mark.parametrize("form", ["create", "stream"])
@pytest.mark.parametrize("name", MADE)
@pytest.mark.slow
def test_tasks_in_a_storm(name, form):
    """200 tasks against a server that only says 529: no more than 1.2 times and the bucket."""

    async def main(server):
        async with AsyncClient(MADE[name](), **options(server)) as client:

            async def caller():
                failed = 0
                for _ in range(EACH):
                    try:
                        if form == "create":
                            await client.messages.create(**ASK)
                        else:
                            async with client.messages.stream(**ASK):
                                pass
                    except Overloaded:
                        failed += 1
                return failed

            return sum(await asyncio.gather(*[caller() for _ in range(CALLERS)]))

    with LoopbackServer(busy) as server:
        failed = asyncio.run(main(server))
        check(server, failed)
