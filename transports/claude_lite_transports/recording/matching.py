"""Which recorded interaction answers a request, and why none does.

A request is described as the file has it, with its secrets replaced. Two descriptions are the same
request if method, path, query and body are the same. The host does not count, nor do headers, the
order of query parameters and of JSON keys, or a multipart boundary. A body source is read once,
piece by piece, and never held.
"""

import hashlib
import json
import re
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl

from claude_lite.wire import Request
from claude_lite_transports.recording.cassette import CassetteMiss, Interaction, strict_json
from claude_lite_transports.recording.multipart import split_parts
from claude_lite_transports.recording.redaction import Redactor

_BOUNDARY: Final = re.compile(r';\s*boundary=(?:"([^"]+)"|([^;\s]+))', re.IGNORECASE)
_ABSENT: Final = object()
_MOST_SHOWN: Final = 8
_WIDEST: Final = 48
_LEAD: Final = 12
# Larger than any number of differences in a body.
_ANOTHER_ENDPOINT: Final = 1e9

Difference = tuple[str, Any, Any]


def describe(request: Request, redactor: Redactor) -> dict[str, Any]:
    """Describe a request as the file has it. Reads a body source, and so may block on a disk."""
    redactor.learn(request)
    headers = redactor.request_headers(request.headers)
    kind = request.headers.get("content-type", "")
    body: dict[str, Any] = {}
    if kind.lower().startswith("multipart/form-data"):
        headers["content-type"] = "multipart/form-data"
        body = _multipart(request, kind, redactor)
    described = {"method": request.method, "url": redactor.url(request.url), "headers": headers}
    return described | (body or _other(request, redactor))


def _multipart(request: Request, kind: str, redactor: Redactor) -> dict[str, Any]:
    boundary = _BOUNDARY.search(kind)
    if boundary is None:
        return {}
    pieces = [request.body] if isinstance(request.body, bytes) else request.body
    parts = split_parts(pieces, (boundary[1] or boundary[2]).encode())
    return {"multipart": [redactor.json(part.described()) for part in parts]} if parts else {}


def _other(request: Request, redactor: Redactor) -> dict[str, Any]:
    body = request.body
    if not isinstance(body, bytes):
        digest = hashlib.sha256()
        for piece in body:
            digest.update(piece)
        return {"sha256": digest.hexdigest(), "size": body.size}
    if not body:
        return {}
    try:
        value = strict_json(body)
    except ValueError:
        body = redactor.data(body)
        return {"sha256": hashlib.sha256(body).hexdigest(), "size": len(body)}
    redactor.learn_fields(value)
    return {"json": redactor.json(value)}


def match_key(described: dict[str, Any]) -> str:
    """Return a text that is the same for the same request only."""
    return hashlib.sha256(_canonical(_comparable(described)).encode()).hexdigest()


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def _comparable(described: dict[str, Any]) -> dict[str, Any]:
    path, _, query = described["url"].partition("?")
    values: dict[str, list[str]] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        values.setdefault(name, []).append(value)
    request = {"method": described["method"], "path": path, "query": values}
    if "json" in described:
        return request | {"body": described["json"]}
    if "multipart" in described:
        # A content type is guessed from the name, and the hash of the content implies its size.
        names = ("name", "filename", "value", "sha256")
        parts = [{name: part.get(name) for name in names} for part in described["multipart"]]
        return request | {"parts": parts}
    return request | {"sha256": described.get("sha256")}


def explain_miss(
    path: Path,
    described: dict[str, Any],
    recorded: Sequence[Interaction],
    used: Collection[int],
    advice: str,
) -> CassetteMiss:
    """Make the error that says which interaction is closest, and what differs."""
    left = len(recorded) - len(used)
    what = f"{described['method']} {described['url']}"
    lines = [f"no recorded answer to {what} in {path}"]
    differ: list[Difference] = []
    number = None
    if recorded:
        now = _comparable(described)
        found = [list(_differences(_comparable(item.request), now)) for item in recorded]
        index = min(range(len(found)), key=lambda i: (_distance(found[i]), i in used))
        differ, number = found[index], index + 1
        state = "used" if index in used else "not used"
        lines.append(f"  closest is interaction {number}, {recorded[index]} ({state})")
        lines += [f"    {_shown(difference)}" for difference in differ[:_MOST_SHOWN]]
        if len(differ) > _MOST_SHOWN:
            lines.append(f"    and {len(differ) - _MOST_SHOWN} more")
        if not differ:
            lines.append("    it is the same request, made more often than it was recorded")
            advice = f"allow_repeats=True would repeat the last answer. {advice}"
    lines.append(f"  {len(recorded)} recorded, {len(used)} used, {left} left")
    details = {
        "path": str(path),
        "method": described["method"],
        "url": described["url"],
        "closest": number,
        "differ": [where for where, _, _ in differ],
        "recorded": len(recorded),
        "used": len(used),
        "left": left,
    }
    return CassetteMiss("\n".join(lines), advice=advice, details=details)


def _differences(recorded: Any, now: Any, where: str = "") -> Iterator[Difference]:
    if isinstance(recorded, dict) and isinstance(now, dict):
        for name in dict.fromkeys((*recorded, *now)):
            inner = f"{where}.{name}" if where else str(name)
            yield from _differences(recorded.get(name, _ABSENT), now.get(name, _ABSENT), inner)
    elif isinstance(recorded, list) and isinstance(now, list):
        for index in range(max(len(recorded), len(now))):
            old, new = (side[index] if index < len(side) else _ABSENT for side in (recorded, now))
            yield from _differences(old, new, f"{where}[{index}]")
    elif _text(recorded) != _text(now):
        yield where, recorded, now


def _distance(differ: list[Difference]) -> float:
    """Return how far two requests are apart: which values differ, and by how much."""
    return sum(map(_weight, differ))


def _weight(difference: Difference) -> float:
    where, *values = difference
    if where in ("method", "path"):
        return _ANOTHER_ENDPOINT
    recorded, now = map(_text, values)
    alike = _alike(recorded, now) + _alike(recorded[::-1], now[::-1])
    return max(0.0, 1 - alike / max(len(recorded), len(now)))


def _alike(a: str, b: str) -> int:
    """Count the characters that two texts begin with in common; by bisection, for long texts."""
    low, high = 0, min(len(a), len(b))
    while low < high:
        middle = (low + high + 1) // 2
        if a[:middle] == b[:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _text(value: Any) -> str:
    return "nothing" if value is _ABSENT else json.dumps(value, ensure_ascii=False, sort_keys=True)


def _shown(difference: Difference) -> str:
    where, recorded, now = difference
    texts = _text(recorded), _text(now)
    start = max(0, _alike(*texts) - _LEAD)
    cut = [
        ("..." if start else "") + text[start : start + _WIDEST] + ("..." if rest else "")
        for text in texts
        for rest in [text[start + _WIDEST :]]
    ]
    return f"{where}: recorded {cut[0]}, now {cut[1]}"
