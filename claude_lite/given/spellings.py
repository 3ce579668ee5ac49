"""Names that other clients have, and what to write in this one.

Each table has names, with a sentence per name. After `add_hints`, reading such a name of a class is
an `AttributeError` with the sentence. Other names of the class are not read slower. `hasattr` is
False for such a name, and `dir` does not show it.
"""

from collections.abc import Mapping
from typing import Any, Final

OPTIONS: Final = {
    "api_base": "use `base_url`",
    "api_type": "use `dialect`, from `claude_lite.dialects`",
    "aws_region": "use `dialect=Bedrock(region=...)`, from `claude_lite.dialects`",
    "credentials": "use `auth_token`: it takes a function that returns a token",
    "default_headers": "use `headers` in place of `default_headers`",
    "default_query": "use `extra_query` of the operation",
    "http_client": "use `transport` in place of `http_client`",
    "idempotency_key": "leave it out: the API has no idempotency keys; `retry` has the rules",
    "max_retries": "use `retry=standard(attempts=3)` for `max_retries=2`: the first attempt counts",
    "num_retries": "use `retry=standard(attempts=3)` for `num_retries=2`: the first attempt counts",
    "organization": "leave it out: the key belongs to an organization",
    "project": "leave it out: the key belongs to a workspace; operations have `workspace_id`",
    "proxies": "use the transport's option, as in `UrllibTransport(proxy=...)`",
    "proxy": "use the transport's option, as in `UrllibTransport(proxy=...)`",
    "request_timeout": "use the option `timeout`, or `deadline` for the whole call",
    "stream": "use the method `stream` in place of the argument",
    "timeout": "use the client's option, as in `client.with_options(timeout=60)`",
    "token": "use `auth_token`",
    "verify": "use the transport's option, as in `UrllibTransport(ssl_context=...)`",
    # Fields of operations.
    "functions": "use `tools`",
    "max_completion_tokens": "use `max_tokens`",
    "max_tokens_to_sample": "use `max_tokens`",
    "output_format": "use `output_config={'format': ...}`",
    "prompt": "use `messages=[{'role': 'user', 'content': ...}]`",
    "reasoning_effort": "use `output_config={'effort': ...}`",
    "response_format": "use `output_config={'format': ...}`",
    "stop": "use `stop_sequences`",
    "user": "use `metadata={'user_id': ...}`",
}
"""Options of clients and fields of operations."""

_RAW: Final = "use `result.response`: each result has the status and the headers"
CLIENTS: Final = {
    "acompletion": "use `await AsyncClient(...).messages.create(...)`",
    "aclose": "use `await client.close()`",
    "api_key": "use `client.config.api_key`; `client.with_options(api_key=...)` changes the key",
    "auth_token": "use `client.config.auth_token`; `client.with_options(auth_token=...)` sets it",
    "base_url": "use `client.config.base_url`; `client.with_options(base_url=...)` changes it",
    "completion": "use `client.messages.create(...)`",
    "converse": "use `client.messages.create(...)` with `dialect=Bedrock(...)`",
    "copy": "use `client.with_options(...)`",
    "count_tokens": "use `client.messages.count_tokens(...)`",
    "default_headers": "use `client.config.headers`",
    "delete": "use `client.request('DELETE', path)`",
    "embeddings": "the API has no embeddings",
    "get": "use `client.request('GET', path)`",
    "images": "the API makes no images",
    "invoke_model": "use `client.messages.create(...)` with `dialect=Bedrock(...)`",
    "is_closed": "a client needs no check: it opens a connection whenever it needs one",
    "max_retries": "use `client.config.retry`; `client.with_options(retry=...)` changes it",
    "patch": "use `client.request('PATCH', path)`",
    "post": "use `client.request('POST', path, json=...)`",
    "put": "use `client.request('PUT', path, json=...)`",
    "responses": "use `client.messages.create(...)`",
    "timeout": "use `client.config.timeout`; `client.with_options(timeout=...)` changes it",
    "with_raw_response": _RAW,
    "with_streaming_response": "use `client.stream(operation)`",
}
"""Names of clients."""

GROUPS: Final = {
    "acreate": "use `create` of an `AsyncClient`, and await it",
    "auto_paging_iter": "use `items(...)`",
    "get": "use `retrieve(...)`",
    "iter": "use `items(...)`",
    "list_all": "use `items(...)`",
    "parse": "use `create(..., output_config={'format': ...})`, and `json.loads(message.text)`",
    "retrieve_content": "use `download(...)`",
    "tool_runner": "use `create(...)` in a loop while `message.stop_reason == 'tool_use'`",
    "with_raw_response": _RAW,
    "with_streaming_response": "use `stream(...)`",
}
"""Names of groups of methods, such as `client.messages`."""

STREAMS: Final = {
    "current_message_snapshot": "use `stream.snapshot`",
    "get_final_completion": "use `stream.final()`",
    "get_final_message": "use `stream.final_message()`",
    "get_final_text": "use `stream.final_message().text`",
    "text_deltas": "use `stream.text_stream`",
    "until_done": "use `stream.final()`",
}
"""Names of streams."""

RESULTS: Final = {
    "_request_id": "use `request_id`",
    "choices": "use `message.text` or `message.content`",
    "completion_tokens": "use `usage.output_tokens`",
    "copy": "use `attrs.evolve(result, field=...)`, or `copy.copy(result)`",
    "dict": "use `to_dict()`",
    "json": "use `json.dumps(result.to_dict())`",
    "model_copy": "use `attrs.evolve(result, field=...)`",
    "model_dump": "use `to_dict()`",
    "model_dump_json": "use `json.dumps(result.to_dict())`",
    "model_validate": "use `from_dict(...)`",
    "output_text": "use `message.text`",
    "parse_obj": "use `from_dict(...)`",
    "parsed": "use `json.loads(message.text)`",
    "parsed_output": "use `json.loads(message.text)`",
    "prompt_tokens": "use `usage.total_input_tokens`",
    "to_json": "use `json.dumps(result.to_dict())`",
    "total_tokens": "use `usage.total_input_tokens + usage.output_tokens`",
}
"""Names of results and of the objects in them."""

_ITERATE: Final = "iterate over `page.data`, or over `client.items(operation)` for all pages"
PAGES: Final = {
    "__aiter__": _ITERATE,
    "__getitem__": "use `page.data[...]`",
    "__iter__": _ITERATE,
    "auto_paging_iter": "use `client.items(operation)`, or `items(...)` in place of `list(...)`",
    "get_next_page": "use `client.send(page.next)`",
    "has_next_page": "use `page.next is not None`",
    "iter_pages": "use `client.pages(operation)`",
    "items": "use `page.data`",
    "next_page_info": "use `page.next`",
}
"""Names of pages."""

ERRORS: Final = {
    "body": "use `error.message` and `error.details`",
    "code": "use `error.error_code`",
    "headers": "use `error.request_id`, `error.retry_after` and `error.rate_limits`",
    "http_body": "use `error.message` and `error.details`",
    "http_status": "use `error.status`",
    "json_body": "use `error.to_dict()`",
    "llm_provider": "there is one provider: `error.type` has the API's type of the error",
    "param": "use `error.message`: it names the field",
    "response": "use `error.status`, `error.request_id`, `error.retry_after` and `error.details`",
    "should_retry_after": "use `error.retry_after`",
    "status_code": "use `error.status`",
    "user_message": "use `error.message`",
}
"""Names of errors."""

FACE: Final = {
    "APIConnectionError": "use `TransportError`",
    "APIStatusError": "use `APIError`",
    "APITimeoutError": "use `TimedOut`",
    "Anthropic": "use `Client`",
    "AnthropicBedrock": "use `Client(dialect=Bedrock())`, from `claude_lite.dialects`",
    "AnthropicError": "use `ClaudeError`",
    "AnthropicVertex": "use `Client(dialect=Vertex())`, from `claude_lite.dialects`",
    "AsyncAnthropic": "use `AsyncClient`",
    "AsyncOpenAI": "use `AsyncClient`",
    "AuthenticationError": "use `AuthenticationFailed`",
    "BadRequestError": "use `InvalidRequest`",
    "ConflictError": "use `Conflict`",
    "InternalServerError": "use `ServerError`",
    "NOT_GIVEN": "use None: a field that is None is left out",
    "NotFoundError": "use `NotFound`",
    "OpenAI": "use `Client`",
    "OverloadedError": "use `Overloaded`",
    "PermissionDeniedError": "use `PermissionDenied`",
    "RateLimitError": "use `RateLimited`",
    "UnprocessableEntityError": "use `InvalidRequest`",
}
"""Names of the package `claude_lite`."""


class Hint:
    """A name that a class does not have: to read it is an `AttributeError` with a hint.

    Python looks for a name in the instance before it asks an object without `__set__`. So a hint
    never hides a key that the API sends.
    """

    def __init__(self, name: str, hint: str) -> None:
        self.name = name
        self.hint = hint

    def __get__(self, instance: object, owner: type) -> Any:
        raise AttributeError(f"{owner.__name__!r} has no attribute {self.name!r}: {self.hint}")


def add_hints(cls: type, hints: Mapping[str, str]) -> None:
    """Add the names of *hints* to *cls*, as names that it does not have.

    Args:
        cls: The class. A subclass may declare any of the names for itself.
        hints: A sentence for each name. The name of a special method, such as `__iter__`, becomes a
            method that raises `TypeError`.

    """
    for name, hint in hints.items():
        setattr(cls, name, _method(name, hint) if name.startswith("__") else Hint(name, hint))
    cls.__dir__ = _dir  # type: ignore[assignment]  # `object` has one, too


def _method(name: str, hint: str) -> Any:
    def refuse(self: object, *_: object) -> Any:
        raise TypeError(f"{type(self).__name__!r} has no {name}: {hint}")

    return refuse


def _dir(self: Any) -> list[str]:
    """List the attributes of *self*, without the names that only have a hint."""
    declared: dict[str, object] = {}
    for cls in reversed(type(self).__mro__):
        declared |= vars(cls)
    hidden = {name for name, value in declared.items() if isinstance(value, Hint)}
    return [n for n in object.__dir__(self) if n not in hidden or n in vars(self)]
