"""A recording as lines of text, for people and for `git diff`; it cannot be read back."""

import json
from collections.abc import Iterable, Iterator
from typing import Any

from claude_lite.core.sse import SSEDecoder
from claude_lite_transports.recording.cassette import Interaction


def listed(items: Iterable[Interaction]) -> Iterator[str]:
    """Yield the lines of a recording."""
    for number, item in enumerate(items, 1):
        if number > 1:
            yield ""
        yield f"[{number}] {item}"
        yield from _headers(item.request.get("headers", {}))
        for name in ("json", "multipart", "sha256", "size"):
            if name in item.request:
                yield from _value(item.request[name], name)
        if item.head is not None:
            streamed = "chunks" in (item.response or {})
            cut = f", a stream in {len(item.chunks)} chunks" if streamed else ""
            took = f", {sum(item.delays)} ms" if any(item.delays) else ""
            yield f" => {item.head.status}{cut}{took}"
            yield from _headers(item.head.headers)
            yield from _body(item, b"".join(item.chunks))
        if item.left_early:
            yield " => left early"
        if item.error is not None:
            yield f" => {item.error.get('error')}: {item.error.get('message', '')}"


def _headers(headers: Any) -> Iterator[str]:
    yield from (f"    {name}: {value}" for name, value in headers.items())


def _body(item: Interaction, body: bytes) -> Iterator[str]:
    if "json" in (item.response or {}):
        yield from _value(item.response["json"], "json")  # type: ignore[index]  # it is there
        return
    try:
        text = body.decode()
    except UnicodeDecodeError:
        yield f"    {len(body)} bytes"
        return
    events = list(SSEDecoder().receive(body)) if "\ndata:" in f"\n{text}" else []
    yield from _events(events) if events else (f"    {line}" for line in text.splitlines())


def _events(events: list[tuple[str, bytes]]) -> Iterator[str]:
    """A line per event; successive deltas are one line, since where they are cut is chance."""
    last, joined = None, ""
    for name, data in [*events, ("", b"")]:
        where, text = _delta(data)
        if where is not None and where == last:
            joined += text
            continue
        if last is not None:
            yield f"    {last} {json.dumps(joined, ensure_ascii=False)}"
        last, joined = where, text
        if where is None and name:
            yield f"    {name} {data.decode(errors='replace')}"


def _delta(data: bytes) -> tuple[str | None, str]:
    """Return a name for the place of a delta, and its text."""
    try:
        event = json.loads(data)
        kind, text = event["delta"]["type"], [v for k, v in event["delta"].items() if k != "type"]
    except (ValueError, KeyError, TypeError, AttributeError):
        return None, ""
    if len(text) != 1 or not isinstance(text[0], str):
        return None, ""
    return f"{event.get('index')} {kind}", text[0]


def _value(value: Any, name: str) -> Iterator[str]:
    if isinstance(value, dict | list):
        text = json.dumps(value, ensure_ascii=False, indent=2)
        yield from (f"    {line}" for line in text.splitlines())
    else:
        yield f"    {name}: {value}"
