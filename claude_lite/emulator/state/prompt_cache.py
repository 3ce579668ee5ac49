"""The prompt cache: a marked prefix of a prompt is read from the cache the next time.

A prefix goes from the start of the prompt (tools, system, messages) to a breakpoint. It lives
for 5 minutes or an hour after its last use. Unlike the API's, this cache takes prefixes of any
length, so that tests can use short prompts.
"""

import threading
from collections.abc import Iterable, Mapping
from hashlib import blake2b
from typing import Final

import orjson
from attrs import frozen

from claude_lite.emulator.answers.tokens import Segment

TTL_SECONDS: Final = {"5m": 300.0, "1h": 3600.0}
REMEMBERED_PREFIXES: Final = 10_000  # the one unused for longest is forgotten first


@frozen
class Split:
    """The tokens of a prompt as they are billed; `written` has the prefixes to put in the cache."""

    uncached: int
    read: int = 0
    created: Mapping[str, int] = {}  # tokens by ttl
    written: tuple[tuple[bytes, str], ...] = ()  # key and ttl


class PromptCache:
    """The prefixes of one organization. Safe to share between threads."""

    def __init__(self) -> None:
        self._until: dict[bytes, float] = {}
        self._lock = threading.Lock()

    def split(self, model: str, prompt: Iterable[Segment], now: float) -> Split:
        """Count the tokens of *prompt* that are read from the cache, written to it, or neither."""
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
        """Put the prefixes of an answered prompt into the cache; renew those that were read."""
        with self._lock:
            for key, ttl in split.written:
                self._until.pop(key, None)  # so that the key goes to the end of the order
                self._until[key] = now + TTL_SECONDS[ttl]
            while len(self._until) > REMEMBERED_PREFIXES:
                del self._until[next(iter(self._until))]
