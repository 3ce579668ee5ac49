"""The file of recorded interactions: JSON that people can read and diff.

Version 1 is an object of `version` and `interactions`, in the order in which the requests
began. An interaction has

    request     method, url (path and query), headers, and one of
                json       the body, as JSON
                multipart  its parts: name, filename, content_type, sha256, size; or name, value
                sha256     of any other body, with its size
    response    status, headers, and one of
                json       a body that compact JSON restores to the byte
                text       any other body in UTF-8
                base64     any other body
                chunks     of a stream, each a string or {"base64": ...} if cut inside a character
                and, for a stream that took time, delays_ms: before its head, before each chunk
    error       the error's `to_dict`, if it failed; there is no response if it failed before
                the head
    left_early  true if the reader stopped before the end of the stream

Keys that do not apply are left out. The file never has a host or a credential, and no time of day
but the server's `date` header.
"""

import base64
import json
import os
import re
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Self

from attrs import field, frozen

from claude_lite.errors import ClaudeError, TransportError, UnexpectedResponse, UsageError
from claude_lite.wire import Response

CASSETTE_VERSION: Final = 1
_DEEPEST: Final = 100
_AROUND: Final = 8  # levels of the file that are around a body

_ONE_LINE: Final = re.compile(r'\{\s*\n\s*("base64": "[^"]*")\s*\n\s*\}')
_DELAYS: Final = re.compile(r'(?<="delays_ms": )\[[\d\s,]*\]')
# Characters that an editor takes for a line end, or does not show.
_INVISIBLE: Final = re.compile("[\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]")


class CassetteMiss(UsageError):
    """No recorded interaction answers this request, or the recording ends too early.

    `details` has `path`, `method`, `url`, the number of the `closest` interaction (from 1), the
    paths of the values that `differ`, and how many interactions are `recorded`, `used` and `left`.
    """


class SecretInCassette(UsageError):
    """A recording was not saved, because a text in it looks like a secret."""


class InteractionsUnused(UsageError):
    """A strict replay ended without an error, and some recorded interactions were not used."""


@frozen
class Interaction:
    """A request and its outcome.

    Attributes:
        request: The request, as the file has it.
        response: The response, as the file has it; None if the request failed before the head.
        error: The error that ended the interaction, as its `to_dict`, if there was one.
        left_early: Whether the reader stopped before the end of the stream.
        head: The head that `response` stands for; None if there is none.
        chunks: The chunks of the body that `response` stands for.
        delays: Milliseconds before the head, and before each chunk.

    """

    request: dict[str, Any]
    response: dict[str, Any] | None = field(default=None, repr=False)
    error: dict[str, Any] | None = None
    left_early: bool = False
    head: Response | None = field(default=None, repr=False, eq=False)
    chunks: tuple[bytes, ...] = field(default=(), repr=False, eq=False)
    delays: tuple[int, ...] = field(default=(), repr=False, eq=False)

    @classmethod
    def from_raw(cls, raw: dict[str, Any]) -> Self:
        """Read an interaction as the file has it.

        Raises `ValueError`, `KeyError`, `TypeError` or `AttributeError` if it is broken.
        """
        request, response, error = raw["request"], raw.get("response"), raw.get("error")
        _of_texts({name: request[name] for name in ("method", "url")})
        _of_texts(request.get("headers", {}))
        for part in request.get("multipart", ()):
            part.items()
        early = bool(raw.get("left_early"))
        if response is None or error is not None:
            error = {**raw["error"]}
            ClaudeError.from_dict(error)  # raises if the error cannot be rebuilt
        if response is None:
            return cls(request, error=error)
        chunks = _decoded(response)
        delays = (*response.get("delays_ms", ()), *[0] * (len(chunks) + 1))[: len(chunks) + 1]
        sum(delays)
        head = Response(int(response["status"]), _of_texts(response.get("headers", {})))
        return cls(request, response, error, early, head, chunks, delays)

    def raw(self) -> dict[str, Any]:
        """Return the interaction as the file has it."""
        parts = {"request": self.request, "response": self.response, "error": self.error}
        kept = {name: part for name, part in parts.items() if part is not None}
        return kept | ({"left_early": True} if self.left_early else {})

    def begin(self) -> Response:
        """Return the head; raises the recorded error if there is no head."""
        if self.head is None:
            raise self._failure()
        return self.head

    def end(self) -> None:
        """Raise what followed the last chunk: an error, or `CassetteMiss` if nothing is known."""
        if self.error is not None:
            raise self._failure()
        if self.left_early:
            raise CassetteMiss(
                f"the recording of {self} ends here, because its reader stopped early",
                advice="Record it again, and read the stream to its end",
            )

    def _failure(self) -> ClaudeError:
        error = ClaudeError.from_dict(self.error or {})
        if isinstance(error, TransportError | UnexpectedResponse):
            return error
        # An error class of a transport that is not imported here.
        return TransportError(error.message, details={"recorded": self.error})

    def whole(self) -> Response:
        """Return the response with its body; raises what `begin` and `end` raise."""
        head = self.begin()
        self.end()
        return Response(head.status, head.headers, b"".join(self.chunks))

    def __str__(self) -> str:
        """Method and URL, for error messages."""
        return f"{self.request['method']} {self.request['url']}"


def encode_body(body: bytes) -> dict[str, Any]:
    """Encode a whole body as `json`, `text` or `base64`: the first that restores it exactly."""
    if not body:
        return {}
    try:
        value = strict_json(body)
        if _compact(value) == body:
            return {"json": value}
    except ValueError:
        pass
    chunk = encode_chunk(body)
    return {"text": chunk} if isinstance(chunk, str) else dict(chunk)


def encode_chunk(chunk: bytes) -> str | dict[str, str]:
    """Encode a chunk as a string, or as base64 if it is not UTF-8 by itself."""
    try:
        return chunk.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(chunk).decode()}


def encode_stream(chunks: Sequence[bytes], delays: Sequence[int]) -> dict[str, Any]:
    """Encode a stream; *delays* are milliseconds before its head and before each chunk."""
    encoded: dict[str, Any] = {"chunks": [encode_chunk(chunk) for chunk in chunks]}
    return encoded | ({"delays_ms": list(delays)} if any(delays) else {})


def _of_texts(value: dict[str, Any]) -> dict[str, str]:
    """Copy an object whose values are strings; raises `TypeError` if one is not."""
    if not all(isinstance(text, str) for text in value.values()):
        raise TypeError("a value has to be a string")
    return dict(value)


def _decoded(response: dict[str, Any]) -> tuple[bytes, ...]:
    if "chunks" in response:
        return tuple(map(_decoded_chunk, response["chunks"]))
    if "json" in response:
        return (_compact(response["json"]),)
    if "base64" in response:
        return (_decoded_chunk({"base64": response["base64"]}),)
    return (response["text"].encode(),) if "text" in response else ()


def _decoded_chunk(chunk: str | dict[str, str]) -> bytes:
    if isinstance(chunk, str):
        return chunk.encode()
    return base64.b64decode(chunk["base64"], validate=True)


def _compact(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()


def strict_json(body: bytes) -> Any:
    """Parse JSON; raises `ValueError` for all else, also for NaN and for too many levels."""
    try:
        value = json.loads(body.decode(), parse_constant=_refuse)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    _check(value, _DEEPEST)
    return value


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def _check(value: Any, room: int) -> None:
    """Refuse numbers that JSON cannot say, and more levels than later code can walk."""
    if isinstance(value, float) and value in (float("inf"), float("-inf")):
        raise ValueError("a number is too large for JSON")
    if isinstance(value, dict | list):
        if not room:
            raise ValueError("nested too deeply")
        for item in value.values() if isinstance(value, dict) else value:
            _check(item, room - 1)


def cassette_text(interactions: Sequence[Interaction]) -> str:
    """Return the text of a file: indented, one line per chunk."""
    raw = {"version": CASSETTE_VERSION, "interactions": [item.raw() for item in interactions]}
    # JSON has raw line ends only between its tokens, so no string is changed.
    text = _ONE_LINE.sub(r"{\1}", json.dumps(raw, ensure_ascii=False, indent=2))
    text = _DELAYS.sub(lambda match: "".join(match[0].split()).replace(",", ", "), text)
    return _INVISIBLE.sub(lambda match: f"\\u{ord(match[0]):04x}", text) + "\n"


def load_cassette(path: Path) -> list[Interaction]:
    """Read a file; a file that does not exist is empty. Raises `UsageError` if it is broken."""
    try:
        return _read(path)
    except FileNotFoundError:
        return []
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        reason = what_is_wrong(error)
    # Outside of `except`: the frames of the error hold the file, and a report may show them.
    raise UsageError(f"{path} is not a recording: {reason}")


def _read(path: Path) -> list[Interaction]:
    raw = json.loads(path.read_text(encoding="utf-8"))
    _check(raw, _DEEPEST + _AROUND)
    if raw["version"] != CASSETTE_VERSION:
        version = raw["version"] if isinstance(raw["version"], int) else "no number"
        raise ValueError(f"its version is {version}, and claude_lite reads {CASSETTE_VERSION}")
    return [Interaction.from_raw(item) for item in raw["interactions"]]


def what_is_wrong(error: Exception) -> str:
    """Say what is wrong with a file, without any value in it: it may hold a credential."""
    if isinstance(error, json.JSONDecodeError):
        return f"it is not JSON (line {error.lineno}, column {error.colno})"
    if type(error) is ValueError:  # our own, and those of `int` and `base64`, which quote
        return re.sub("'.*'", "...", str(error), flags=re.DOTALL)
    return f"no key {error}" if isinstance(error, KeyError) else type(error).__name__


def replace_file(path: Path, text: str) -> None:
    """Write a file in one step, so that no reader ever sees half of it."""
    target = path.resolve()
    target.parent.mkdir(parents=True, exist_ok=True)
    # Not made by tempfile, which would make it readable by its owner only.
    part = target.with_name(f".{target.name}.{secrets.token_hex(8)}")
    try:
        # Half a surrogate pair becomes its JSON escape, which reads back as the same.
        part.write_bytes(text.encode("utf-8", "backslashreplace"))
        os.replace(part, target)  # noqa: PTH105  # os.replace is known to be atomic
    finally:
        part.unlink(missing_ok=True)
