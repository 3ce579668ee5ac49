"""Recordings of any kind, read from a file: ours, HAR, vcrpy's JSON and YAML.

What is no recording is a `UsageError`. What is one can be listed, searched, replayed and written
in every other form.
"""

import json

from attrs import frozen
from fuzz_input import changed, plain

from claude_lite.cli.cassettes import _read
from claude_lite.errors import ClaudeError, UsageError
from claude_lite.wire import Response
from claude_lite_transports.recording import har, vcr
from claude_lite_transports.recording.cassette import (
    Interaction,
    cassette_text,
    encode_body,
    encode_stream,
    load_cassette,
)
from claude_lite_transports.recording.listing import listed
from claude_lite_transports.recording.redaction import Redactor
from claude_lite_transports.recording.review import cleaned, repeats_in, secrets_in


@frozen
class File:
    """What reading takes of a path, without a disk: to open a file takes longer than to read it."""

    suffix: str
    data: bytes

    def read_bytes(self):
        """Give all of it."""
        return self.data

    def read_text(self, encoding):
        """Give all of it as text."""
        return self.data.decode(encoding)


ASKED = {
    "method": "POST",
    "url": "/v1/messages?beta=true",
    "headers": {"content-type": "application/json"},
    "json": {"model": "m", "stream": True},
}
STREAM = encode_stream([b"event: ping\n", b'data: {"type": "ping"}\n\n', b"\xff"], [1, 0, 2, 3])
OURS = [
    Interaction.from_raw(raw)
    for raw in (
        {
            "request": ASKED,
            "response": {"status": 200, "headers": {"request-id": "req_1"}, **encode_body(b"{}")},
        },
        {
            "request": {**ASKED, "method": "GET", "url": "/v1/models"},
            "response": {
                "status": 529,
                "headers": {"content-type": "text/event-stream", "date": "Mon, 2 Nov 2026"},
                **STREAM,
            },
            "left_early": True,
        },
        {"request": ASKED, "error": {"error": "ConnectionLost", "message": "reset"}},
    )
]
WHOLE = (
    (".json", json.loads(cassette_text(OURS))),
    (".har", har.to_har(OURS)),
    (".json", json.loads(json.dumps(vcr.to_vcr(OURS[:1])))),
    (".yaml", json.loads(json.dumps(vcr.to_vcr(OURS[:1])))),
)
VALUES = (
    *(
        None,
        True,
        0,
        1,
        -1,
        200,
        2.5,
        10**30,
        "",
        "x",
        "\u2028",
        "200",
        "Mon, 2 Nov 2026 1:2:3 GMT",
    ),
    *([], [[]], [None], [1], {}, [{}], {"base64": "/w=="}, {"base64": "!"}, {"x": 1}, "gzip"),
    *(["x"], {"status": 200}, {"error": "TimedOut", "phase": "read"}, "https://a.test/b?key=c"),
)
KEYS = (
    *("json", "text", "base64", "chunks", "delays_ms", "headers", "status", "error", "left_early"),
    *("multipart", "sha256", "size", "_chunks", "_delays_ms", "_error", "_left_early", "encoding"),
    *("content-encoding", "content-type", "date", "postData", "url", "uri", "body", "version"),
)
SUFFIXES = (".json", ".har", ".yaml")


def recording(given):
    """Read any bytes as a recording."""
    check_recording(given.pick(SUFFIXES), given.rest())


def mutant(given):
    """Read a recording that was changed in some places."""
    suffix, data = given.pick(WHOLE)
    check_recording(suffix, json.dumps(changed(given, data, VALUES, KEYS)).encode())


def check_recording(suffix, data):
    """It is a `UsageError`, or a recording that everything can be done with."""
    redactor = Redactor()
    try:
        items = _read(File(suffix, data), redactor)
    except UsageError as error:
        plain(error)
        return
    "\n".join(listed(items)).encode("utf-8", "backslashreplace")
    list(secrets_in(items, redactor))
    list(repeats_in(items))
    for item in items:
        cleaned(item, redactor)
        try:
            assert isinstance(item.whole(), Response)
        except ClaudeError as error:
            plain(error)
    again = cassette_text(items).encode("utf-8", "backslashreplace")
    assert load_cassette(File(".json", again)) == items
    exported = json.loads(json.dumps(har.to_har(items)))
    assert len(har.from_har(exported, Redactor())) == len(items)
    written = vcr.to_vcr(items)
    try:
        text = vcr.dump_json(written)
    except UsageError as error:
        plain(error)
    else:
        imported = vcr.from_vcr(json.loads(text), Redactor())
        assert len(imported) == len(written["interactions"])
