"""Drives the official SDK through the same cases: equal servers, settings and questions.

The calls are made by `official_calls.py`, in a process of its own; `BACKENDS` are its ways to
the network. What `ALSO` names is right for this SDK besides what is right for all.
"""

import json
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from judging import Outcome, bound

BACKENDS = ["httpx2", "httpx2 async", "aiohttp"]
AGAIN = "it documents that it sends again whatever lost its connection or timed out"
ALSO = {
    "closed before the head, tried once more": ({"again"}, AGAIN),
    "silence instead of a head": ({"again"}, AGAIN),
    "a spend limit": ({"again", "answer"}, "it documents that it retries every 429"),
    "an error event before content, then right": (
        {"again", "status"},
        "it does not promise to retry a stream, and its error says what happened",
    ),
    "an error event after message_stop": (
        {"status"},
        "it reads a stream to its end, and the server did report an error",
    ),
    "an announced 9 GB": ({"timeout"}, "it has no limit, and nothing came but the announcement"),
    "an error, gzip that is not": ({"connection"}, "the reply cannot be read, and it says so"),
    "307 round and round": ({"again"}, "how many redirects are too many is a matter of taste"),
    "307 to 'http:///x'": (
        {"again", "connection"},
        "a URL without a host means little",
    ),
    **{
        f"307 to {location!r}": ({"again"}, "the redirect stays with the server")
        for location in ("", "/a b", "/\u00e9", "\\\\localhost")
    },
}


def installed():
    """Whether the SDK is there: it is in the dependency groups `peers` and `bench`."""
    try:
        return bool(version("anthropic"))
    except PackageNotFoundError:
        return False


class Official:
    """The SDK's process; a context manager."""

    def __enter__(self):
        """Start it; it is ready when it answers the first job."""
        self.process = subprocess.Popen(  # noqa: S603  # our own script
            [sys.executable, Path(__file__).with_name("official_calls.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        return self

    def __exit__(self, *_):
        """Let it end."""
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()

    def run(self, case, backend, form, url):
        """Run the calls of a case and give their outcomes; one that hangs is the only one."""
        seconds = bound(case) * case.calls + 1
        job = [seconds, case.name, backend, form, url]
        self.process.stdin.write(json.dumps(job) + "\n")
        self.process.stdin.flush()
        results = json.loads(self.process.stdout.readline())
        if results is None:
            return [Outcome("", "hung", seconds)]
        return [Outcome(**{**result, "labels": tuple(result["labels"])}) for result in results]
