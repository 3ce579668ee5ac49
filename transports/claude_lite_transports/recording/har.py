"""Recordings as HAR 1.2, which browsers' tools, proxies and load testers read, and back.

What HAR has no field for is in fields that begin with an underscore, as the format allows:
`_chunks` (sizes in bytes), `_delays_ms`, `_error`, `_left_early`, and for a request body that was
not kept `_multipart`, or `_sha256` and `_size`. So a cassette can be exported and imported again
without a loss, except for content-encoding, which is undone. Cassettes have no time of day: an
entry begins at the server's `date`, or in 1970.

The format: http://www.softwareishard.com/blog/har-12-spec/
"""

import base64
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, Final
from urllib.parse import parse_qsl

from claude_lite.core.targets import __version__
from claude_lite.errors import UsageError
from claude_lite.wire import Request
from claude_lite_transports.recording.cassette import Interaction, what_is_wrong
from claude_lite_transports.recording.foreign import (
    BASE_URL,
    JsonObject,
    decoded_response,
    imported,
    joined,
    reason,
    request_text,
)
from claude_lite_transports.recording.matching import describe
from claude_lite_transports.recording.redaction import Redactor

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_UNKNOWN: Final = -1


def to_har(items: Iterable[Interaction], base_url: str = BASE_URL) -> JsonObject:
    """Return interactions as a HAR; *base_url* is put before their paths."""
    creator = {"name": "claude-lite", "version": __version__}
    entries = [_entry(item, base_url.rstrip("/")) for item in items]
    return {"log": {"version": "1.2", "creator": creator, "entries": entries}}


def _entry(item: Interaction, base_url: str) -> JsonObject:
    wait, receive = item.delays[:1], item.delays[1:]
    timings = {"send": 0, "wait": sum(wait), "receive": sum(receive)}
    entry: JsonObject = {
        "startedDateTime": _started(item).isoformat().replace("+00:00", "Z"),
        "time": sum(item.delays),
        "request": _request(item.request, base_url),
        "response": _response(item),
        "cache": {},
        "timings": timings,
    }
    if any(item.delays):
        entry["_delays_ms"] = list(item.delays)
    if item.error is not None:
        entry["_error"] = item.error
    if item.left_early:
        entry["_left_early"] = True
    return entry


def _started(item: Interaction) -> datetime:
    try:
        date = parsedate_to_datetime((item.head.headers if item.head else {})["date"])
    except (KeyError, ValueError):
        return _EPOCH
    if date.tzinfo is None:
        return _EPOCH
    return date.astimezone(UTC) - timedelta(milliseconds=sum(item.delays[:1]))


def _request(request: JsonObject, base_url: str) -> JsonObject:
    headers = request.get("headers", {})
    text = request_text(request)
    written: JsonObject = {
        "method": request["method"],
        "url": base_url + request["url"],
        "httpVersion": "HTTP/1.1",
        "cookies": [],
        "headers": _pairs(headers),
        "queryString": [
            {"name": name, "value": value}
            for name, value in parse_qsl(request["url"].partition("?")[2], keep_blank_values=True)
        ],
        "headersSize": _UNKNOWN,
        "bodySize": len(text.encode("utf-8", "surrogatepass")),
    }
    for name in ("multipart", "sha256", "size"):
        if name in request:
            written[f"_{name}"] = request[name]
            written["bodySize"] = request.get("size", _UNKNOWN)
    if text:
        written["postData"] = {"mimeType": headers.get("content-type", ""), "text": text}
    return written


def _response(item: Interaction) -> JsonObject:
    headers, body, as_it_came = decoded_response(item)
    kind = headers.get("content-type", "")
    content: JsonObject = {"size": len(body), "mimeType": kind or "application/octet-stream"}
    try:
        content["text"] = body.decode()
    except UnicodeDecodeError:
        content |= {"text": base64.b64encode(body).decode(), "encoding": "base64"}
    status = item.head.status if item.head else 0
    written: JsonObject = {
        "status": status,
        "statusText": reason(status),
        "httpVersion": "HTTP/1.1",
        "cookies": [],
        "headers": _pairs(headers),
        "content": content,
        "redirectURL": headers.get("location", ""),
        "headersSize": _UNKNOWN,
        "bodySize": len(b"".join(item.chunks)),
    }
    if as_it_came and "chunks" in (item.response or {}):
        written["_chunks"] = [len(chunk) for chunk in item.chunks]
    return written


def _pairs(headers: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"name": name, "value": value} for name, value in headers.items()]


def from_har(har: Any, redactor: Redactor) -> list[Interaction]:
    """Read a HAR of any tool, without its secrets; raises `UsageError` if it is not a HAR."""
    try:
        entries = [(entry, _asked(entry["request"])) for entry in har["log"]["entries"]]
        for _, request in entries:
            redactor.learn(request)  # a credential may occur before the request that uses it
        return [_interaction(entry, request, redactor) for entry, request in entries]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        reason = what_is_wrong(error)
    del har  # it may hold a credential, and a traceback may show variables
    raise UsageError(f"this is not a HAR: {reason}")


def _asked(given: JsonObject) -> Request:
    headers = joined([(pair["name"], pair["value"]) for pair in given["headers"]])
    text = given.get("postData", {}).get("text") or ""
    return Request(given["method"], given["url"], headers, text.encode("utf-8", "surrogatepass"))


def _interaction(entry: JsonObject, request: Request, redactor: Redactor) -> Interaction:
    given, answer = entry["request"], entry["response"]
    if not answer["status"]:
        described = describe(request, redactor) | _kept(given, redactor)
        unknown = {"error": "ConnectionLost", "message": "there is no response"}
        error = redactor.json(entry.get("_error") or unknown)
        return Interaction.from_raw({"request": described, "error": error})
    item = imported(
        request,
        answer["status"],
        joined([(pair["name"], pair["value"]) for pair in answer["headers"]]),
        _content(answer["content"]),
        redactor,
        answer.get("_chunks"),
        entry.get("_delays_ms", ()),
    )
    raw = item.raw() | {"request": item.request | _kept(given, redactor)}
    for name in ("error", "left_early"):
        if f"_{name}" in entry:
            raw[name] = redactor.json(entry[f"_{name}"])
    return Interaction.from_raw(raw)


def _kept(given: JsonObject, redactor: Redactor) -> JsonObject:
    """Return the fields that stand for a request body that was not kept."""
    names = ("multipart", "sha256", "size")
    kept: JsonObject = redactor.json({n: given[f"_{n}"] for n in names if f"_{n}" in given})
    return kept


def _content(content: JsonObject) -> bytes:
    text = content.get("text") or ""
    if content.get("encoding") == "base64":
        return base64.b64decode(text)
    return bytes(text.encode("utf-8", "surrogatepass"))
