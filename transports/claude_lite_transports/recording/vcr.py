"""Recordings in the format of vcrpy, which replays them, and back.

vcrpy keeps the whole bodies of requests that were answered. Where chunks were cut, how long they
took, and failures are lost in an export. The JSON here is what vcrpy's `json` serializer reads;
YAML, its default, needs PyYAML. Only YAML can hold a body that is not text.
"""

import importlib
import json
from collections.abc import Iterable
from typing import Any

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
from claude_lite_transports.recording.redaction import Redactor


def to_vcr(items: Iterable[Interaction], base_url: str = BASE_URL) -> JsonObject:
    """Return the interactions that have a whole response; *base_url* is put before their paths."""
    whole = [item for item in items if item.head is not None and item.error is None]
    return {
        "version": 1,
        "interactions": [_interaction(item, base_url.rstrip("/")) for item in whole],
    }


def _interaction(item: Interaction, base_url: str) -> JsonObject:
    headers, body, _ = decoded_response(item)
    status = item.head.status if item.head else 0
    try:
        text: str | bytes = body.decode()
    except UnicodeDecodeError:
        text = body
    return {
        "request": {
            "method": item.request["method"],
            "uri": base_url + item.request["url"],
            "body": request_text(item.request) or None,
            "headers": {k: [v] for k, v in item.request.get("headers", {}).items()},
        },
        "response": {
            "status": {"code": status, "message": reason(status)},
            "headers": {name: [value] for name, value in headers.items()},
            "body": {"string": text},
        },
    }


def dump_json(data: JsonObject) -> str:
    """Return the recording as JSON; raises `UsageError` for a body that is not text."""
    try:
        return json.dumps(data, indent=4, ensure_ascii=False) + "\n"
    except TypeError:
        raise UsageError(
            "a body is not text, and the JSON of vcrpy cannot hold it", advice="Export to YAML"
        ) from None


def dump_yaml(data: JsonObject) -> str:
    """Return the recording as YAML; raises `UsageError` if PyYAML is not installed."""
    return str(_yaml().safe_dump(data, allow_unicode=True, sort_keys=False))


def load_yaml(text: str) -> Any:
    """Read YAML; raises `UsageError` if it is not YAML, or if PyYAML is not installed."""
    yaml = _yaml()
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        # The error quotes the line, which may hold a credential.
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or type(error).__name__
    raise UsageError(f"this is not YAML: {problem}{where}")


def _yaml() -> Any:
    try:
        return importlib.import_module("yaml")  # vcrpy installs it, claude_lite does not
    except ImportError:
        raise UsageError(
            "YAML needs PyYAML, which is not installed", advice="pip install pyyaml"
        ) from None


def from_vcr(data: Any, redactor: Redactor) -> list[Interaction]:
    """Read a recording of vcrpy, without its secrets; raises `UsageError` if it is broken."""
    try:
        items = [(_asked(item["request"]), item["response"]) for item in data["interactions"]]
        for request, _ in items:
            redactor.learn(request)  # a credential may occur before the request that uses it
        return [_imported(request, answer, redactor) for request, answer in items]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        reason = what_is_wrong(error)
    del data  # it may hold a credential, and a traceback may show variables
    raise UsageError(f"this is not a recording of vcrpy: {reason}")


def _asked(given: JsonObject) -> Request:
    return Request(given["method"], given["uri"], _headers(given), _bytes(given.get("body")))


def _imported(request: Request, answer: JsonObject, redactor: Redactor) -> Interaction:
    body = answer["body"]
    content = _bytes(body.get("string") if isinstance(body, dict) else body)
    return imported(request, answer["status"]["code"], _headers(answer), content, redactor)


def _headers(part: JsonObject) -> dict[str, str]:
    pairs = []
    for name, values in (part.get("headers") or {}).items():
        pairs += [(name, value) for value in ([values] if isinstance(values, str) else values)]
    return joined(pairs)


def _bytes(body: str | bytes | None) -> bytes:
    return body.encode("utf-8", "surrogatepass") if isinstance(body, str) else body or b""
