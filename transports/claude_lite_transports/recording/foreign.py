"""What the recordings of other tools have in common: whole requests and whole responses.

It stands between a cassette and `har` or `vcr`. On the way out, a host is put before each path,
and the chunks of a body are joined. On the way in, the host is removed, and a stream is cut after
each event. Content-encoding is undone on the way out, because other tools keep decoded bodies.
"""

import json
import re
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from itertools import pairwise
from typing import Any, Final

from claude_lite.core.encoding import ContentDecoder
from claude_lite.errors import UnexpectedResponse
from claude_lite.wire import Request
from claude_lite_transports.recording.cassette import Interaction, encode_body, encode_stream
from claude_lite_transports.recording.matching import describe
from claude_lite_transports.recording.redaction import Redactor

JsonObject = dict[str, Any]

BASE_URL: Final = "https://api.anthropic.com"

_EVENT_END: Final = re.compile(rb"\r\n\r\n|\n\n|\r\r")


def reason(status: int) -> str:
    """The reason phrase of a status; the API's own 529 is in no standard."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Overloaded" if status == 529 else ""  # noqa: PLR2004  # named in the docstring


def request_text(request: Mapping[str, Any]) -> str:
    """Return the body of a recorded request if it was JSON; other bodies are not kept."""
    if "json" not in request:
        return ""
    return json.dumps(request["json"], ensure_ascii=False, separators=(",", ":"))


def decoded_response(item: Interaction) -> tuple[dict[str, str], bytes, bool]:
    """Return headers, the decoded body, and whether the chunks add up to that body."""
    headers = dict(item.head.headers) if item.head else {}
    body = b"".join(item.chunks)
    encoding = headers.get("content-encoding", "identity")
    if encoding == "identity":
        return headers, body, True
    try:
        body = ContentDecoder(encoding).receive(body)
    except UnexpectedResponse:
        return headers, body, True
    del headers["content-encoding"]
    return headers, body, False


def joined(pairs: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Return headers as the wire types have them: names in lower case, repeats joined."""
    headers: dict[str, str] = {}
    for name, value in ((name.lower(), value) for name, value in pairs):
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers


def imported(
    request: Request,
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    redactor: Redactor,
    sizes: Sequence[int] | None = None,
    delays: Sequence[int] = (),
) -> Interaction:
    """Make an interaction from what another tool has recorded, without its secrets.

    *sizes* are those of the chunks of a stream. If they are unknown or do not add up to the body,
    a stream of events is cut after each event.
    """
    described = describe(request, redactor)
    kept = redactor.response_headers({**headers, "content-encoding": "identity"})
    del kept["content-encoding"]  # it is undone already
    response: dict[str, Any] = {"status": status, "headers": kept}
    if sizes is None and not headers.get("content-type", "").startswith("text/event-stream"):
        return Interaction.from_raw(
            {"request": described, "response": response | encode_body(redactor.data(body))}
        )
    if sizes is None or sum(sizes) != len(body):
        sizes = [b - a for a, b in pairwise([0, *_event_ends(body)])]
        delays = ()
    chunks = _cut(body, sizes)
    waits = (*delays, *[0] * (len(chunks) + 1))[: len(chunks) + 1]
    clean, later = redactor.chunks(chunks, waits[1:])
    stream = encode_stream(clean, [waits[0], *later])
    return Interaction.from_raw({"request": described, "response": response | stream})


def _event_ends(body: bytes) -> list[int]:
    ends = [match.end() for match in _EVENT_END.finditer(body)]
    return ends if ends[-1:] == [len(body)] or not body else [*ends, len(body)]


def _cut(body: bytes, sizes: Sequence[int]) -> list[bytes]:
    chunks, start = [], 0
    for size in sizes:
        chunks.append(body[start : start + size])
        start += size
    return chunks
