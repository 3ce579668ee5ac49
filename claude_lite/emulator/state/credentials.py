"""Check credentials: the keys that the emulator was given, or any credential that is not empty.

If the emulator was given keys, those that begin `sk-ant-admin` are admin keys. An admin key
opens the Admin API and nothing else; every other key opens everything else (403). The other
keys are keys of the organization: they are listed there, and a key that is made inactive or
archived opens nothing (401). Without given keys, every credential may do everything, and its
usage counts as usage of the seeded key `ci`.
"""

from collections.abc import Iterable, Mapping
from typing import Final

from claude_lite.emulator.reading.problems import Problem
from claude_lite.emulator.state.stored_organization import StoredAPIKey
from claude_lite.emulator.state.world import World

ADMIN_KEY_PREFIX: Final = "sk-ant-admin"
LONG_KEY: Final = 32  # characters; of a shorter key none are shown in its hint


class Credentials:
    """The credentials that the emulator accepts."""

    def __init__(self, world: World, api_keys: Iterable[str] | None) -> None:
        """Accept *api_keys*; None accepts every credential that is not empty."""
        self._organization = world.organization
        self._any = api_keys is None
        self._ids: dict[str, str | None] = {}  # None: an admin key
        for number, key in enumerate(dict.fromkeys(api_keys or ())):
            self._ids[key] = (
                None if key.startswith(ADMIN_KEY_PREFIX) else _register(world, key, number)
            )
        self._default = world.organization.oldest_key_id()

    def check(self, headers: Mapping[str, str], *, admin: bool) -> str | None:
        """Return the id of the key in *headers*, None for an admin key.

        Raises `Problem` (401, 403) if the key is not accepted. *admin*: the request is for the
        Admin API.
        """
        key, authorization = headers.get("x-api-key"), headers.get("authorization")
        if key is not None and authorization is not None:
            raise Problem(401, "either x-api-key or authorization may be set, not both")
        if key is None and authorization is None:
            raise Problem(401, "x-api-key header is required")
        scheme, _, token = (authorization or "").partition(" ")
        given = token.strip() if key is None and scheme.lower() == "bearer" else key
        if given and self._any:
            return None if admin else self._default
        if not given or given not in self._ids or not self._is_active(self._ids[given]):
            raise Problem(401, "invalid bearer token" if key is None else "invalid x-api-key")
        key_id = self._ids[given]
        if admin and key_id is not None:
            raise Problem(403, "The Admin API requires an admin API key.")
        if not admin and key_id is None:
            raise Problem(403, "An admin API key can only be used for the Admin API.")
        return key_id

    def _is_active(self, key_id: str | None) -> bool:
        if key_id is None:
            return True
        return self._organization.api_keys.get(self._organization.id, key_id).status == "active"


def _register(world: World, key: str, number: int) -> str:
    """Add a key to the keys of the organization; return its id."""
    organization = world.organization
    id_ = world.new_id("apikey_01", 0, 1000 + number)
    registered = StoredAPIKey(
        id=id_,
        name=f"key {number + 1}",
        created_at=int(world.now()),
        workspace_id=world.workspace_id,
        hint=f"{key[:14]}...{key[-4:]}" if len(key) >= LONG_KEY else None,
    )
    return organization.api_keys.put(organization.id, registered).id
