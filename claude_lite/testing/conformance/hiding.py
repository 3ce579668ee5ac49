"""Conformance: no error shows a secret, in its text, causes, or traceback variables."""

import traceback
from collections.abc import Iterator
from typing import Final

from structlog.tracebacks import ExceptionDictTransformer

from claude_lite.errors import ClaudeError
from claude_lite.testing.conformance.cases import Case, both_ways, case, fails, post
from claude_lite.testing.conformance.failing import (
    BRIEF,
    BROKEN_CHUNKS,
    CUT_SHORT,
    MALFORMED,
    closed_port,
    saying,
    silent,
)
from claude_lite.testing.conformance.loopback import LoopbackServer, Peer, chunked
from claude_lite.wire import AsyncTransport, Limits, MaskedStr, Request

CASES: Final[list[Case]] = []

# Longer than what structlog and rich show of a text, which they cut, by default.
CANARY: Final = "sk-ant-canary-Zx81" + "-0123456789" * 7
_SONG: Final = "canary-Zx81"


def echo(peer: Peer) -> None:
    """Send the headers of a request back, within a malformed head or in place of a head."""
    if got := peer.request():
        lines = "".join(f"{name}: {value}\r\n" for name, value in sorted(got.headers))
        start = "HTTP/1.1 200 " if peer.number % 2 else ""
        peer.send(f"{start}{lines}no colon here\r\n\r\n".encode())


def exposed(error: BaseException) -> Iterator[str]:
    """Yield every text that an error and its causes show, with the variables of their frames.

    The variables are shown as the standard library, structlog and rich show them by default: the
    latter two cut a long text before they take its repr, and look into objects of attrs.
    """
    yield from _told(error)
    for use_rich in (True, False):
        transform = ExceptionDictTransformer(use_rich=use_rich)
        yield repr(transform((type(error), error, error.__traceback__)))


def _told(error: BaseException | None) -> Iterator[str]:
    while error is not None:
        yield from (str(error), repr(error), repr(error.args), repr(vars(error)))
        report = traceback.TracebackException.from_exception(error, capture_locals=True)
        yield from report.format()
        if error.__cause__ is not error.__context__:
            yield from _told(error.__context__)
        error = error.__cause__


def keeps_secrets(error: ClaudeError) -> None:
    """Fail if the key is anywhere in an error."""
    for text in exposed(error):
        if _SONG in text:
            raise AssertionError("the key shows: " + text.replace(_SONG, "<the key>"))


@case(CASES)
async def no_error_shows_a_secret(transport: AsyncTransport) -> None:
    """The key is not in an error, its causes, or the variables of its traceback."""
    headers = {"x-api-key": MaskedStr(CANARY), "authorization": MaskedStr(f"Bearer {CANARY}")}
    limits = Limits(connect=BRIEF, read=BRIEF, max_response=10)
    split = Request("GET", closed_port(), {"x-api-key": MaskedStr(f"{CANARY}\r\n")}, limits=limits)
    with LoopbackServer(silent) as mute:
        url = mute.url().replace("http:", "https:")
        for wrong in (
            split,
            Request("GET", closed_port(), headers, limits=limits),
            Request("GET", url, headers, limits=limits),
        ):
            for call in both_ways(transport):
                keeps_secrets(await fails(ClaudeError, call(wrong)))
    for script in (
        echo,
        saying(b""),
        saying(b"", "reset"),
        saying(b"", "wait"),
        saying(CUT_SHORT[0]),
        saying(CUT_SHORT[2], "reset"),
        saying(chunked(b"one", end=BROKEN_CHUNKS[0])),
        saying(MALFORMED[0]),
    ):
        with LoopbackServer(script) as server:
            for call in both_ways(transport):
                request = post(server, headers=headers, limits=limits)
                keeps_secrets(await fails(ClaudeError, call(request)))
