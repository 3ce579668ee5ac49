"""Recorded calls: a transport around any other that writes what passes through, and replays it.

`transport.py` is what a client calls, `recorder.py` has its settings, and `tape.py` finds answers
and collects new ones. `cassette.py` is the file, `matching.py` tells requests apart, `redaction.py`
and `review.py` keep secrets out. `har.py`, `vcr.py` and `foreign.py` read and write the formats of
other tools. The transport is loaded when it is first asked for: the files can be read without an
event loop.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from claude_lite_transports.recording.transport import (
        AsyncRecordingTransport,
        CassetteMiss,
        Interaction,
        InteractionsUnused,
        Mode,
        RecordingTransport,
        SecretInCassette,
    )

__all__ = [
    "AsyncRecordingTransport",
    "CassetteMiss",
    "Interaction",
    "InteractionsUnused",
    "Mode",
    "RecordingTransport",
    "SecretInCassette",
]

if not TYPE_CHECKING:  # pragma: no branch  # checkers see the names imported above

    def __getattr__(name: str) -> Any:
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from claude_lite_transports.recording import transport  # late: it loads asyncio

        return getattr(transport, name)
