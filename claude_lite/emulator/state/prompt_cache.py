"""The prompt cache: a prefix that was marked once is read, and not paid for, the next time.

Prefixes count from the start of the prompt (tools, system, messages) to a breakpoint; they
live for 5 minutes or an hour after their last use. Unlike the API's, this cache takes prefixes
of any length, so that a test need not write a thousand words.
"""

import threading
from collections.abc import Iterable, Mapping
from hashlib import blake2b
from typing import Final

import orjson
from attrs import frozen

from claude_lite.emulator.answers.tokens import Segment

TTL_SECONDS: Final = {"5m": 300.0, "1h": 3600.0}
REMEMBERED_PREFIXES: Final = (
    10_000  # prefixes; the one that was unused for longest is forgotten first
)


@frozen
class Split:
    """A prompt's tokens, as they are billed; `written` is what the cache is to learn."""

    uncached: int
    read: int = 0
    created: Mapping[str, int] = {}  # by ttl
    written: tuple[tuple[bytes, str], ...] = ()


class PromptCache:
    """The prefixes of one organization. Safe to share between threads."""

    def __init__(self) -> None:
        self._until: dict[bytes, float] = {}
        self._lock = threading.Lock()

    def split(self, model: str, prompt: Iterable[Segment], now: float) -> Split:
        """Say what of *prompt* is read from the cache, written to it, or neither."""
        pieces = list(prompt)
        if not any(piece.ttl for piece in pieces):
            return Split(sum(piece.tokens for piece in pieces))
        digest = blake2b(model.encode(), digest_size=16)
        total = read = marked = 0
        created = dict.fromkeys(TTL_SECONDS, 0)
        written: list[tuple[bytes, str]] = []
        for piece in pieces:
            digest.update(orjson.dumps(piece.value))
            total += piece.tokens
            if not piece.ttl:
                continue
            key = digest.digest()
            written.append((key, piece.ttl))
            if self._until.get(key, -1.0) > now:
                read, created = total, dict.fromkeys(TTL_SECONDS, 0)
            else:
                created[piece.ttl] += total - marked
            marked = total
        return Split(total - marked, read, created, tuple(written))

    def learn(self, split: Split, now: float) -> None:
        """Keep the prefixes of a prompt that was answered, and renew those that were read."""
        with self._lock:
            for key, ttl in split.written:
                self._until.pop(key, None)  # to the end of the order
                self._until[key] = now + TTL_SECONDS[ttl]
            while len(self._until) > REMEMBERED_PREFIXES:
                del self._until[next(iter(self._until))]
