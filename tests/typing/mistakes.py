"""Mistakes that both type checkers find. Checked by mypy and pyright, and never run.

An ignored error that is not there is an error itself (mypy: `warn_unused_ignores`; pyright:
`reportUnnecessaryTypeIgnoreComment`), so that each line proves that both find the mistake.
"""
# pyright: reportUnnecessaryTypeIgnoreComment=true

import aiohttp

from claude_lite import (
    NULL,
    AsyncClient,
    Client,
    CreateMessage,
    RawRequest,
    StreamMessage,
    standard,
)
from claude_lite_transports.aiohttp import AiohttpTransport
from claude_lite_transports.urllib import UrllibTransport


def arguments(client: Client) -> None:
    """Arguments of a wrong type, missing ones, misspelt ones, and positional ones."""
    client.messages.create(model="m", max_tokens="1", messages=[])  # type: ignore[arg-type]
    client.messages.create(model=None, max_tokens=1, messages=[])  # type: ignore[arg-type]
    client.messages.create(model="m", messages=[])  # type: ignore[call-arg]
    client.messages.create(model="m", max_tokens=1, messages=[], temprature=0)  # type: ignore[call-arg]
    client.messages.create("m", 1, [])  # type: ignore[arg-type,call-arg]
    client.messages.count_tokens(model="m")  # type: ignore[call-arg]
    client.messages.count_tokens(model="m", messages=[], max_tokens=1)  # type: ignore[call-arg]
    client.messages.stream(model="m", max_tokens=1.5, messages=[])  # type: ignore[arg-type]
    client.organization.workspaces.update(workspace_id="w", tags=NULL)
    client.organization.workspaces.update(workspace_id="w", name=NULL)  # type: ignore[arg-type]
    client.messages.creat(model="m", max_tokens=1, messages=[])  # type: ignore[attr-defined]


def operations(client: Client) -> None:
    """The same of operations as values, which are frozen as well."""
    CreateMessage(model="m", max_tokens="1", messages=[])  # type: ignore[arg-type]
    CreateMessage(model="m", messages=[])  # type: ignore[call-arg]
    CreateMessage(model="m", max_tokens=1, messages=[], stream=True)  # type: ignore[call-arg]
    RawRequest(method="GET", path="/v1/x", resend="twice")  # type: ignore[arg-type]
    create = CreateMessage(model="m", max_tokens=1, messages=[])
    create.model = "other"  # type: ignore[misc]
    client.send("messages.create")  # type: ignore[arg-type]
    client.stream(create)  # type: ignore[call-overload]


async def forgotten_await(client: AsyncClient) -> None:
    """A coroutine that is not awaited, and what is asked of it instead of its result."""
    client.messages.create(model="m", max_tokens=1, messages=[])  # type: ignore[unused-coroutine]
    client.send(CreateMessage(model="m", max_tokens=1, messages=[]))  # type: ignore[unused-coroutine]
    message = client.messages.create(model="m", max_tokens=1, messages=[])
    message.text  # type: ignore[attr-defined]  # noqa: B018  # the mistake
    await message


async def wrong_kind(client: Client, async_client: AsyncClient) -> None:
    """`await` on a result, `with` on an asynchronous stream, `for` on its events."""
    await client.messages.create(model="m", max_tokens=1, messages=[])  # type: ignore[misc]
    with async_client.messages.stream(model="m", max_tokens=1, messages=[]):  # type: ignore[attr-defined]
        pass
    async with async_client.stream(StreamMessage(model="m", max_tokens=1, messages=[])) as stream:
        for _ in stream:  # type: ignore[attr-defined]
            pass


def options(client: Client, async_client: AsyncClient) -> None:
    """Unknown options, and options of a wrong type, of both clients and of `with_options`."""
    Client(timeoot=3)  # type: ignore[call-arg]
    Client(timeout="3")  # type: ignore[arg-type]
    AsyncClient(api_kee="k")  # type: ignore[call-arg]
    AsyncClient(retry=3)  # type: ignore[arg-type]
    AsyncClient(retry=standard)  # type: ignore[arg-type]
    client.with_options(deadlin=3)  # type: ignore[call-arg]
    client.with_options(transport="urllib")  # type: ignore[call-arg]
    async_client.with_options(timeout="3")  # type: ignore[arg-type]


def transports(session: aiohttp.ClientSession) -> None:
    """A transport of the other kind (sync or async), or none at all."""
    Client(UrllibTransport(), api_key="k")
    AsyncClient(AiohttpTransport(session=session), api_key="k")
    Client(AiohttpTransport(), api_key="k")  # type: ignore[arg-type]
    AsyncClient(UrllibTransport(), api_key="k")  # type: ignore[arg-type]
    AsyncClient(session, api_key="k")  # type: ignore[arg-type]
    Client(3)  # type: ignore[arg-type]
