"""The container for objects of one kind: by workspace and id, in the order of arrival."""

import threading
from collections.abc import Callable
from itertools import count
from typing import Generic, Protocol, TypeVar

from claude_lite.emulator.reading.problems import Problem


class Kept(Protocol):
    """An object that a shelf can keep."""

    @property
    def id(self) -> str:
        """The id, unique within a workspace."""
        ...


T = TypeVar("T", bound=Kept)


class Shelf(Generic[T]):
    """Objects of one kind. Safe to share between threads."""

    def __init__(self, what: str) -> None:
        """Take the name of the kind, for the error when an object is missing."""
        self._what = what
        self._things: dict[str, dict[str, T]] = {}
        self._serials = count(1)
        self._lock = threading.Lock()

    def serial(self) -> int:
        """Return a number that is higher than all numbers returned before."""
        return next(self._serials)

    def put(self, workspace_id: str, thing: T) -> T:
        """Keep an object, unless one with its id is kept; return the kept object."""
        with self._lock:
            return self._things.setdefault(workspace_id, {}).setdefault(thing.id, thing)

    def get(self, workspace_id: str, id_: str) -> T:
        """Return an object; raises `Problem` (404) if there is none."""
        with self._lock:
            thing = self._things.get(workspace_id, {}).get(id_)
        if thing is None:
            raise self.missing(id_)
        return thing

    def change(self, workspace_id: str, id_: str, how: Callable[[T], T]) -> T:
        """Replace an object by `how(object)`; raises `Problem` (404) if there is none."""
        with self._lock:
            things = self._things.get(workspace_id, {})
            if id_ not in things:
                raise self.missing(id_)
            things[id_] = changed = how(things[id_])
        return changed

    def remove(self, workspace_id: str, id_: str) -> None:
        """Delete an object; raises `Problem` (404) if there is none."""
        with self._lock:
            thing = self._things.get(workspace_id, {}).pop(id_, None)
        if thing is None:
            raise self.missing(id_)

    def newest_first(self, workspace_id: str) -> list[T]:
        """Return the objects of a workspace, newest first."""
        with self._lock:
            return list(self._things.get(workspace_id, {}).values())[::-1]

    def missing(self, id_: str) -> Problem:
        """Make the error for a missing object."""
        return Problem(404, f"{self._what} not found: {id_}")
