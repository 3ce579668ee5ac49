"""What recordings of other tools have in common: whole requests and responses, nothing cut.

Between a cassette and `har` or `vcr`: a host is put in front of paths, and taken off again;
bodies are joined, and streams cut again after each event. Content-encoding is undone on the
way out, because other tools keep bodies as they read.
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
    """Name a status; the API's own 529 has a name that no standard knows."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Overloaded" if status == 529 else ""  # noqa: PLR2004  # as above


def request_text(request: Mapping[str, Any]) -> str:
    """Restore the body of a recorded request, as far as it was kept: JSON was."""
    if "json" not in request:
        return ""
    return json.dumps(request["json"], ensure_ascii=False, separators=(",", ":"))


def decoded_response(item: Interaction) -> tuple[dict[str, str], bytes, bool]:
    """Give headers, the body as it reads, and whether its chunks add up to that."""
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
    """Give headers as the wire types have them: names in lower case, repeated ones joined."""
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
    """Make an interaction of what another tool has recorded, its secrets taken out.

    *sizes* are those of the chunks of a stream; where they are not known, or do not add up, a
    stream of events is cut after each of them.
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
