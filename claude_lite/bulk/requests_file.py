"""Read requests from JSON lines, in the form of the Batches API.

    {"custom_id": "ticket-17", "params": {"model": ..., "max_tokens": ..., "messages": [...]}}

`params` is the body of `POST /v1/messages`. A line is bad if no request can be made from it; what
else is wrong with a request, the API says. A bad line becomes an outcome, and reading goes on.
Lines are read when they are needed. Only their `custom_id`s are kept, because they have to differ.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from attrs import fields

from claude_lite.api.messages.message import Message
from claude_lite.api.messages.operations import CreateMessage, StreamMessage
from claude_lite.bulk.run import Item, Outcome
from claude_lite.core.json_text import loads
from claude_lite.core.operation import EXTRA_FIELDS, Operation
from claude_lite.core.sse import BOM
from claude_lite.errors import UsageError

CUSTOM_ID: Final = re.compile(r"[a-zA-Z0-9_-]{1,64}")

_KNOWN: Final = {
    attribute.name
    for attribute in fields(CreateMessage)  # type: ignore[arg-type]  # attrs, by our decorator
    if not attribute.metadata  # metadata marks fields that are not in the body
} - EXTRA_FIELDS
_SHOWN: Final = 80  # characters of a value in an error message


def read_requests(lines: Iterable[bytes], *, stream: bool = False) -> Iterator[Item | Outcome]:
    """Turn lines into requests, and bad lines into outcomes that have a `UsageError`.

    Args:
        lines: Lines of JSON, such as a file that is open for reading bytes. Empty lines are
            skipped.
        stream: Stream all answers; by default, the answers whose params have `stream` true. A
            streamed answer is still given out whole, and retried if the stream breaks.

    """
    seen: dict[str, int] = {}
    for number, line in enumerate(lines, 1):
        text = (line.removeprefix(BOM) if number == 1 else line).strip()
        if not text:
            continue
        name: Any = None
        try:
            data = _object(text)
            name = data.get("custom_id")
            custom_id = _checked(name)
            first = seen.setdefault(custom_id, number)
            if first != number:
                name = None  # the result with this name belongs to the first line
            _check_first(custom_id, first, number)
            item = Item(number, custom_id, operation_from(data.get("params"), stream=stream))
        except UsageError as error:
            error.update(message=f"line {number}: {error.message}")
            yield Outcome(number, name if isinstance(name, str) else None, error)
        else:
            yield item


def operation_from(params: Any, *, stream: bool = False) -> Operation[Message]:
    """Make the operation for the body of a request.

    Fields that `CreateMessage` does not have, and nulls, are sent as they are.

    Args:
        params: The body of `POST /v1/messages`, as parsed JSON.
        stream: Stream the answer, even if *params* do not say so.

    Raises:
        UsageError: A field is missing or has the wrong type.

    """
    if not isinstance(params, dict):
        raise UsageError(f"params has to be a JSON object, not {_shown(params)}")
    _check(params, "model", str, "a model's name")
    _check(params, "max_tokens", int, "a whole number")
    _check(params, "messages", list, "a list")
    if "stream" in params:
        _check(params, "stream", bool, "true or false")
    known = {k: v for k, v in params.items() if k in _KNOWN and v is not None}
    rest = {k: v for k, v in params.items() if k not in known and k != "stream"}
    kind = StreamMessage if stream or params.get("stream") else CreateMessage
    return kind(**known, extra_body=rest or None)


def _object(text: bytes) -> Mapping[str, Any]:
    try:
        data = loads(text)
    except ValueError as error:
        raise UsageError(f"the text is not JSON ({error})") from None
    if not isinstance(data, dict):
        raise UsageError(f"a request has to be a JSON object, not {_shown(data)}")
    return data


def _checked(custom_id: Any) -> str:
    if custom_id is None:
        raise UsageError("custom_id is missing")
    if not isinstance(custom_id, str) or not CUSTOM_ID.fullmatch(custom_id):
        raise UsageError(
            "custom_id has to be 1 to 64 characters of a-z, A-Z, 0-9, - and _, "
            f"not {_shown(custom_id)}"
        )
    return custom_id


def _check_first(custom_id: str, first: int, number: int) -> None:
    if first != number:
        raise UsageError(f"custom_id {custom_id!r} is already used in line {first}")


def _check(params: Mapping[str, Any], name: str, kind: type, wanted: str) -> None:
    if name not in params:
        raise UsageError(f"params.{name} is missing")
    value = params[name]
    if type(value) is not kind:  # not isinstance: a bool is an int, too
        raise UsageError(f"params.{name} has to be {wanted}, not {_shown(value)}")


def _shown(value: Any) -> str:
    """A value for an error message: short, without characters that move a terminal's cursor."""
    text = "null" if value is None else repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
