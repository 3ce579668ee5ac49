"""A review of existing recordings: which show secrets, and which are recorded twice."""

import json
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from claude_lite.wire import is_secret_header
from claude_lite_transports.recording.cassette import (
    Interaction,
    SecretInCassette,
    encode_body,
    encode_stream,
)
from claude_lite_transports.recording.matching import match_key
from claude_lite_transports.recording.redaction import REPLACEMENT, Redactor


def secrets_in(items: Sequence[Interaction], redactor: Redactor) -> Iterator[tuple[int, str]]:
    """Yield the number of each interaction that shows a secret, and what kind of secret."""
    for number, item in enumerate(items, 1):
        text = json.dumps(item.raw(), ensure_ascii=False)
        if kind := redactor.leak(text) or redactor.leak(b"".join(item.chunks)):
            yield number, kind


def refuse_secrets(items: Sequence[Interaction], redactor: Redactor, path: Path | str) -> None:
    """Raise `SecretInCassette` for the first secret that would be written to *path*."""
    for number, kind in secrets_in(items, redactor):
        item = items[number - 1]
        name = f", {item}" if not redactor.leak(str(item)) else ""
        raise SecretInCassette(
            f"{path} was not written: {kind} would be in interaction {number}{name}",
            advice="Pass the text in redact=[...], or keep it out of the request",
        )


def cleaned(item: Interaction, redactor: Redactor, dropped: Collection[str] = ()) -> Interaction:
    """Return an interaction without its secrets, and without the *dropped* headers."""

    def headers(given: dict[str, str]) -> dict[str, str]:
        return {
            redactor.text(name): REPLACEMENT if is_secret_header(name) else redactor.text(value)
            for name, value in given.items()
            if name not in dropped
        }

    raw = redactor.json(item.raw())
    raw["request"]["url"] = redactor.url(item.request["url"])
    raw["request"]["headers"] = headers(item.request.get("headers", {}))
    if item.head is not None and item.response is not None:
        if "chunks" in item.response:
            chunks, delays = redactor.chunks(item.chunks, item.delays[1:])
            body = encode_stream(chunks, [item.delays[0], *delays])
        else:
            body = encode_body(redactor.data(b"".join(item.chunks)))
        kept = headers(dict(item.head.headers))
        raw["response"] = {"status": item.head.status, "headers": kept} | body
    return Interaction.from_raw(raw)


def repeats_in(items: Sequence[Interaction]) -> Iterator[tuple[int, int]]:
    """Yield the number of each interaction that repeats an earlier one, and the earlier number."""
    seen: dict[tuple[str, str], int] = {}
    for number, item in enumerate(items, 1):
        timeless = {**(item.response or {}), "delays_ms": None}
        key = match_key(item.request), json.dumps([timeless, item.error], sort_keys=True)
        if key in seen:
            yield number, seen[key]
        seen.setdefault(key, number)
