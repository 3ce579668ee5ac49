"""What calls return, sync and async. Checked by mypy and pyright, and never run."""

from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Any, assert_type

from claude_lite import (
    AsyncClient,
    Client,
    CountTokens,
    CreateMessage,
    Message,
    RawRequest,
    Response,
    StreamMessage,
    TokenCount,
)
from claude_lite.api.batches import BatchEntry, BatchResults, CreateBatch, MessageBatch
from claude_lite.api.messages.content import ContentBlock, TextBlock
from claude_lite.api.messages.events import Event
from claude_lite.api.messages.message import Usage
from claude_lite.api.models import ListModels, ModelInfo, RetrieveModel
from claude_lite.client.aio import AsyncMessageStream, AsyncStream
from claude_lite.client.sync import MessageStream, Stream
from claude_lite.core.pages import Page

CREATE = CreateMessage(model="m", max_tokens=1, messages=[])
STREAM = StreamMessage(model="m", max_tokens=1, messages=[])
COUNT = CountTokens(model="m", messages=[])
MODELS = ListModels(limit=20)
RESULTS = BatchResults(message_batch_id="b")


def sync_calls(client: Client) -> None:
    """A method returns the result of its operation, and `send` that of any."""
    assert_type(client.messages.create(model="m", max_tokens=1, messages=[]), Message)
    assert_type(client.messages.count_tokens(model="m", messages=[]), TokenCount)
    assert_type(client.models.retrieve(model_id="m"), ModelInfo)
    assert_type(client.messages.batches.create(requests=[]), MessageBatch)
    assert_type(client.send(CREATE), Message)
    assert_type(client.send(COUNT), TokenCount)
    assert_type(client.send(STREAM), Message)
    assert_type(client.send(RetrieveModel(model_id="m")), ModelInfo)
    assert_type(client.send(CreateBatch(requests=[])), MessageBatch)
    assert_type(client.send(RawRequest(method="GET", path="/v1/models")), Response)
    assert_type(client.request("GET", "/v1/models"), Response)


async def async_calls(client: AsyncClient) -> None:
    """The same with `await`."""
    assert_type(await client.messages.create(model="m", max_tokens=1, messages=[]), Message)
    assert_type(await client.messages.count_tokens(model="m", messages=[]), TokenCount)
    assert_type(await client.models.retrieve(model_id="m"), ModelInfo)
    assert_type(await client.messages.batches.create(requests=[]), MessageBatch)
    assert_type(await client.send(CREATE), Message)
    assert_type(await client.send(COUNT), TokenCount)
    assert_type(await client.send(STREAM), Message)
    assert_type(await client.send(RetrieveModel(model_id="m")), ModelInfo)
    assert_type(await client.send(RawRequest(method="GET", path="/v1/models")), Response)
    assert_type(await client.request("GET", "/v1/models"), Response)


def sync_streams(client: Client) -> None:
    """A stream's events, texts, snapshot and final message have their types."""
    with client.messages.stream(model="m", max_tokens=1, messages=[]) as stream:
        assert_type(stream, MessageStream)
        assert_type(stream.text_stream, Iterator[str])
        assert_type(stream.snapshot, Message)
        assert_type(stream.response, Response)
        assert_type(stream.request_id, str | None)
        for event in stream:
            assert_type(event, Event)
        assert_type(stream.final_message(), Message)
        assert_type(stream.final(), Message)
    with client.stream(STREAM, collect=True) as collected:
        assert_type(collected, MessageStream)
    with client.stream(RESULTS) as results:
        assert_type(results, Stream[BatchEntry, None])
        for entry in results:
            assert_type(entry, BatchEntry)


async def async_streams(client: AsyncClient) -> None:
    """The same asynchronously."""
    async with client.messages.stream(model="m", max_tokens=1, messages=[]) as stream:
        assert_type(stream, AsyncMessageStream)
        assert_type(stream.text_stream, AsyncIterator[str])
        assert_type(stream.snapshot, Message)
        async for event in stream:
            assert_type(event, Event)
        assert_type(await stream.final_message(), Message)
        await stream.close()
    async with client.stream(STREAM, collect=True) as collected:
        assert_type(collected, AsyncMessageStream)
    async with client.stream(RESULTS) as results:
        assert_type(results, AsyncStream[BatchEntry, None])
        async for entry in results:
            assert_type(entry, BatchEntry)


def sync_pages(client: Client) -> None:
    """Pages and their items have their types."""
    assert_type(client.send(MODELS), Page[ModelInfo])
    for page in client.pages(MODELS):
        assert_type(page, Page[ModelInfo])
    for model in client.items(MODELS):
        assert_type(model, ModelInfo)


async def async_pages(client: AsyncClient) -> None:
    """The same asynchronously."""
    assert_type(await client.send(MODELS), Page[ModelInfo])
    async for page in client.pages(MODELS):
        assert_type(page, Page[ModelInfo])
    async for model in client.items(MODELS):
        assert_type(model, ModelInfo)


def results(message: Message, count: TokenCount) -> None:
    """The fields of results have types, and their blocks can be told apart."""
    assert_type(message.content, list[ContentBlock])
    assert_type(message.usage, Usage)
    assert_type(message.usage.input_tokens, int)
    assert_type(message.stop_reason, str | None)
    assert_type(message.text, str)
    assert_type(message.to_dict(), dict[str, Any])
    assert_type(count.input_tokens, int)
    for block in message.content:
        if isinstance(block, TextBlock):
            assert_type(block.text, str)


def operations() -> None:
    """An operation builds a request and parses a response into its result."""
    assert_type(CREATE.parse(Response(200, {})), Message)
    assert_type(COUNT.parse(Response(200, {})), TokenCount)
    assert_type(CREATE.model, str)
    assert_type(CREATE.max_tokens, int)
    assert_type(CREATE.replace(max_tokens=2), CreateMessage)


def derived(client: Client, async_client: AsyncClient) -> None:
    """A derived client is of the same class."""
    assert_type(client.with_options(timeout=5), Client)
    assert_type(async_client.with_options(headers={"x": None}), AsyncClient)
    with client as same:
        assert_type(same, Client)


def passed_on(client: Client, async_client: AsyncClient) -> tuple[object, ...]:
    """Methods can be passed on as functions, with their result's type."""
    create: Callable[..., Message] = client.messages.create
    create_async: Callable[..., Coroutine[Any, Any, Message]] = async_client.messages.create
    return create, create_async
