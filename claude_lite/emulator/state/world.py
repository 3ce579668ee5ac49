"""The state that all routes share: seed, clock, limits, caches, files, and the making of ids."""

import base64
import time
from collections.abc import Callable, Mapping
from hashlib import blake2b
from typing import Any

from claude_lite.emulator.answers.answers import Filler
from claude_lite.emulator.state.prompt_cache import PromptCache
from claude_lite.emulator.state.rate_limits import RateLimiter
from claude_lite.emulator.state.seeded import ORGANIZATION_NAME, settle
from claude_lite.emulator.state.stored_files import StoredFiles
from claude_lite.emulator.state.stored_organization import StoredOrganization
from claude_lite.emulator.state.stored_skills import StoredSkills
from claude_lite.emulator.state.usage import UsageRecords


class World:
    """The state of the emulator, except for state that one module of routes keeps for itself."""

    def __init__(
        self,
        *,
        seed: int,
        models: tuple[str, ...],
        limits: Mapping[str, Any] | None,
        clock: Callable[[], float],
        tokens_per_second: float | None,
    ) -> None:
        """Take the options of the emulator; raises `UsageError` if *limits* are wrong."""
        self.seed = seed
        self.models = models
        self.limits = RateLimiter(limits)
        self.clock = clock
        self.seconds_per_token = 1 / tokens_per_second if tokens_per_second else 0.0
        self.filler = Filler(seed)
        self.cache = PromptCache()
        self.files = StoredFiles(self.now)
        self.skills = StoredSkills(self.now)
        self.organization_id = self._uuid("organization")
        self.workspace_id = self.new_id("wrkspc_01", 0)
        self.usage = UsageRecords()
        self._epoch = time.time() - clock()
        self.organization = StoredOrganization(
            self.organization_id, self.workspace_id, ORGANIZATION_NAME, self.now
        )
        settle(self.organization, self.new_id, self.now())

    def now(self) -> float:
        """Return the time of day by the emulator's clock, in seconds since 1970."""
        return self._epoch + self.clock()

    def new_id(self, prefix: str, number: int, part: int = 0) -> str:
        """Make the id of object *part* (from 0) that request *number* creates."""
        digest = self._digest(f"{prefix} {number} {part}")
        return prefix + base64.b64encode(digest, b"Ab")[:22].decode()

    def _uuid(self, name: str) -> str:
        text = self._digest(name).hex()
        return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))

    def _digest(self, name: str) -> bytes:
        return blake2b(f"{self.seed} {name}".encode(), digest_size=16).digest()
