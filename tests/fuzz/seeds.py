"""Write the first inputs of each target, from the samples of the wire: python tests/fuzz/seeds.py.

They go into the corpus as `seed-*`, and take the place of those there. What is named `new-*`
reached code that no seed does, and `found-*` has crashed once: those are kept.
"""

import gzip
import hashlib
import json
import random
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from frames import A, B, chunk, failure  # noqa: E402
from fuzz_answers import NAMES, OPERATIONS  # noqa: E402  # found by the line above
from fuzz_recordings import WHOLE  # noqa: E402
from fuzz_targets import TARGETS  # noqa: E402

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"transfer-encoding: chunked\r\n\r\n"
REPLIES = (
    OK + b"Content-Length: 5\r\nX-A: b\r\nx-a: c\r\nconnection: close\r\n\r\nhello",
    CHUNKED + b"3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\nx-t: 1\r\n\r\n",
    b"HTTP/1.0 200 OK\r\n\r\nhello",
    b"HTTP/1.1 103 Hints\r\nA: b\r\n\r\nHTTP/1.1 200\r\ncontent-length: 5\r\n\r\nhello",
    b"HTTP/1.1 200 OK\ncontent-length: 5\n\nhello",
    b"HTTP/1.1 204 No Content\r\nA: b\r\n c\r\n\r\n",
)
SAMPLES = HERE.parent / "data/api/samples"
LONGEST = 1300
CALL = {"id": "t", "index": 0, "function": {"name": "n", "arguments": '{"a": 1}'}}
CHOICES = (
    {"index": 0, "delta": {"role": "assistant", "content": "Hello"}, "finish_reason": None},
    {"index": 0, "delta": {"tool_calls": [CALL]}, "finish_reason": "tool_calls"},
)
PAIRS = (
    ("retry-after", "Mon, 02 Nov 2026 09:15:07 GMT"),
    ("date", "Mon, 02 Nov 2026 09:15:00 GMT"),
    ("anthropic-ratelimit-tokens-reset", "2026-11-02T09:15:31Z"),
    ("retry-after-ms", "1500"),
)
PROGRAMS = 12
PROGRAMMED = ("events", "answer", "tampered", "completion", "chat", "lines")  # by decisions


def read(pattern):
    """Read the samples that are not too long."""
    found = [path.read_bytes() for path in sorted(SAMPLES.glob(pattern))]
    return [data for data in found if len(data) <= LONGEST]


def header(name, value):
    """Write a header as `Given.text` reads it."""
    return bytes([NAMES.index(name), len(value)]) + value.encode("latin-1")


def programs(name):
    """Make rows of decisions, the same each time."""
    rng = random.Random(name)  # noqa: S311  # no secret
    return [rng.randbytes(rng.randrange(20, 200)) for _ in range(PROGRAMS)]


def seeds():
    """Give the first inputs of the targets by name."""
    streams, answers = read("streams/*.sse"), read("responses/*.json")
    errors = [json.loads(data).get("body") for data in read("errors/*.json")]
    pieces = [{"id": "c", "model": "m", "choices": [choice]} for choice in CHOICES]
    chat = b"".join(b"data: %b\n\n" % json.dumps(piece).encode() for piece in pieces)
    replies = [b"\x03\x00" + data for data in REPLIES]
    kinds = (".json", ".har", ".yaml")
    numbered = zip(range(len(OPERATIONS)), answers * 3, strict=False)
    return {
        "sse": [b"\x07\x00" + data for data in streams[:3]],
        "message": [b"\x07\x00" + data for data in streams],
        "completion": [b"\x07\x00\x00" + data for data in read("streams/completions*")],
        "chat": [b"\x07\x00\x00" + chat + b"data: [DONE]\n\n"],
        "lines": [b"\x07\x00\x00" + data for data in read("responses/*.jsonl")],
        "frames": [
            b"\x07\x00" + chunk(A) + failure("throttlingException", "slow") + chunk(B),
            b"\x07\x01" + b"\xff".join(json.dumps(event).encode() for event in (A, B)),
            b"\x07\x02code\nmessage",
        ],
        "body": [bytes([number]) + data for number, data in numbered],
        "refusal": [
            b"\x00\x64\x01" + header("retry-after", "7") + json.dumps(body).encode()
            for body in errors
        ],
        "headers": [header(*pair) for pair in PAIRS],
        "call": [
            bytes([operation, 0, 0, 0, 0, 0, 0, 7, 0]) + data
            for operation in (3, 4)
            for data in streams[:6]
        ],
        "http1": replies,
        "llhttp": replies,
        "aiohttp": replies,
        "encoded": [
            bytes(7) + gzip.compress(answers[0], mtime=0),
            bytes([7, 1, 1, 0, 9, 0, 0]) + answers[0],
        ],
        "recording": [
            bytes([kinds.index(kind)]) + json.dumps(data).encode() for kind, data in WHOLE
        ],
    }


def main():
    """Write all of them."""
    made = seeds()
    for name in TARGETS:
        folder = HERE / "corpus" / name
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.glob("seed-*"):
            old.unlink()
        more = programs(name) if name in PROGRAMMED else []
        for data in made.get(name, []) + more:
            digest = hashlib.sha256(data).hexdigest()[:12]
            (folder / f"seed-{digest}").write_bytes(data)


if __name__ == "__main__":
    main()
