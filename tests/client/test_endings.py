"""Calls at the end of a program, without an event loop, and on one that is closed: no noise."""

import asyncio

import pytest
from programs import EchoServer, python

from claude_lite import AsyncClient, UsageError, never

KINDS = ["aiohttp", "asyncio"]


def test_a_sync_call_at_the_end():
    """A call in a handler of `atexit`, and in a thread that outlives the main one, is answered."""
    code = """
    import atexit
    url = URL.replace("127.0.0.1", "localhost")  # a name, so that a thread has to be started
    client = Client("urllib", base_url=url, api_key=KEY)
    atexit.register(say, client, "at exit")

    def outlive():
        threading.main_thread().join()
        say(client, "in a thread")

    threading.Thread(target=outlive).start()
    """
    with EchoServer() as server:
        python(code, server, dev=True)
        assert {text for _, text in server.heard} == {"at exit", "in a thread"}


@pytest.mark.parametrize("kind", KINDS)
def test_an_async_call_at_the_end(kind):
    """A loop that is run in a handler of `atexit` is answered, over the first connection or not."""
    code = f"""
    import atexit
    client = AsyncClient("{kind}", base_url=URL.replace("127.0.0.1", "localhost"), api_key=KEY)
    atexit.register(lambda: asyncio.run(say_async(client, "at exit")))
    """
    with EchoServer() as server:
        python(code, server)
        assert [text for _, text in server.heard] == ["at exit"]


def test_a_call_of_an_object_that_is_torn_down():
    """What calls when modules are torn down is answered, or gets a `ClaudeError`; nobody hangs."""
    code = """
    class Last:
        def __init__(self):
            self.client = Client("urllib", base_url=URL, api_key=KEY)

        def __del__(self, say=say, ClaudeError=ClaudeError):
            try:
                say(self.client, "the last word")
            except ClaudeError as error:
                assert "interpreter" in error.message

    last = Last()
    """
    with EchoServer() as server:
        python(code, server)


def test_a_function_at_the_end_of_the_interpreter():
    """No thread runs any more then: a credential that has to be asked for is a `ClaudeError`."""
    code = """
    from claude_lite import CredentialMissing

    class Last:
        def __init__(self):
            first = Client("urllib", base_url=URL, api_key=KEY)
            say(first, "loaded")
            self.client = first.with_options(api_key=lambda: KEY, governor=None)

        def __del__(self, say=say, CredentialMissing=CredentialMissing):
            try:
                say(self.client, "the last word")
            except CredentialMissing as error:
                assert "interpreter" in error.message

    last = Last()
    """
    with EchoServer() as server:
        python(code, server)
        assert [text for _, text in server.heard] == ["loaded"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_stream_that_nobody_leaves(kind):
    """A stream that is open when its loop is closed makes no noise."""
    code = f"""
    client = AsyncClient("{kind}", base_url=URL, api_key=KEY)

    async def begin():
        stream = client.messages.stream(**ask("begun"))
        await stream.__aenter__()
        return stream

    loop = asyncio.new_event_loop()
    stream = loop.run_until_complete(begin())
    loop.close()
    del stream
    gc.collect()
    """
    with EchoServer() as server:
        python(code, server)


@pytest.mark.parametrize("kind", KINDS)
def test_a_call_without_an_event_loop(kind):
    """A coroutine that something else than asyncio drives gets a `UsageError` that says so."""
    client = AsyncClient(kind, base_url="http://127.0.0.1:9", api_key="any", retry=never())
    for call in (
        client.messages.create(model="m", max_tokens=1, messages=[]),
        client.messages.stream(model="m", max_tokens=1, messages=[]).__aenter__(),
    ):
        with pytest.raises(UsageError, match="no running asyncio event loop"):
            call.send(None)


@pytest.mark.parametrize("kind", KINDS)
def test_a_call_outside_of_a_task(kind):
    """Where a loop runs a step of a call, but no task of it does, the error gives the reason."""
    client = AsyncClient(kind, base_url="http://127.0.0.1:9", api_key="any", retry=never())
    found = []

    def drive():
        call = client.models.list()
        try:
            while True:
                call.send(None)
        except UsageError as error:
            found.append(error.message)
        loop.stop()

    loop = asyncio.new_event_loop()
    loop.call_soon(drive)
    loop.run_forever()
    loop.run_until_complete(client.close())
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()
    assert [message.startswith("the event loop cannot be used: ") for message in found] == [True]
